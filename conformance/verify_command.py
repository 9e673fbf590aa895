"""`gradconform verify module:function`: a function's gradients, verified from a terminal."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from gradconform.conformance.verify import Report, verify
from gradconform.reference.cases import BadInput, said
from gradconform.reference.judge import VERDICTS


def arguments_of(name: str, cases: str) -> tuple[Callable[..., Any], list[tuple[Any, ...]]]:
    """The function called MODULE:FUNCTION, and the arguments to try it on, from the module's function `cases`.

    The module may stand in the working directory. Raises BadInput for what is not there, and for cases that are no
    sequence of arguments.
    """
    module_name, _, attribute = name.partition(":")
    if not module_name or not attribute:
        raise BadInput(f"{name!r} names no function; expected MODULE:FUNCTION, such as losses:focal")
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        module = import_module(module_name)
    except Exception as error:  # whatever a module does when it is imported
        raise BadInput(f"module {module_name!r} cannot be imported: {said(error)}") from error
    function = _attribute(module, attribute, "the function to verify")
    arguments = _attribute(module, cases, "the function that gives the arguments (--cases names another)")
    try:
        found = [tuple(c) if isinstance(c, list | tuple) else (c,) for c in arguments()]
    except Exception as error:
        raise BadInput(f"{module_name}:{cases} gives no sequence of arguments: {said(error)}") from error
    if not found:
        raise BadInput(f"{module_name}:{cases} gives no arguments; expected one or more, a tuple for each call")
    return function, found


def _attribute(module: Any, name: str, what: str) -> Callable[..., Any]:
    found = getattr(module, name, None)
    if not callable(found):
        raise BadInput(f"{module.__name__} has no callable {name!r}, {what}")
    return found  # type: ignore[no-any-return]


def reports(
    function: Callable[..., Any], cases: Iterable[tuple[Any, ...]], dtypes: Sequence[str], **options: Any
) -> list[Report]:
    """One report for each case and dtype; the arguments' own dtype, where none is named."""
    each: Sequence[str | None] = dtypes or [None]
    return [verify(function, *case, dtype=dtype, **options) for case in cases for dtype in each]


def closing_line(found: Sequence[Report]) -> str:
    counts = Counter(g.judgement.verdict for r in found for g in r.gradients)
    said = ", ".join(f"{v} {counts[v]}" for v in VERDICTS if counts[v])
    incomplete = sum(not r.complete for r in found)
    return f"{sum(counts.values())} gradients of {len(found)} runs: {said}" + (
        f"; {incomplete} runs of which something left the record" if incomplete else ""
    )


def exit_status(found: Sequence[Report]) -> int:
    """1 where a gradient deviates, 3 where something is undecided, unsupported or left the record, else 0."""
    if any(r.verdict == "deviates" for r in found):
        return 1
    words = {g.judgement.verdict for r in found for g in r.gradients}
    return 3 if words & {"undecided", "unsupported"} or not all(r.complete for r in found) else 0
