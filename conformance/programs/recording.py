"""One run of a user's function, recorded, and whether there is anything in it to verify."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import replace
from typing import Any

import numpy as np

from gradconform.conformance.programs.completeness import unused
from gradconform.reference.cases import BadInput, said
from gradconform.reference.programs.record import affordable
from gradconform.reference.programs.run import Mode, NotRecorded, Run, Unsupported, called

#: What is noted of a function that prints.
PRINTS = "it prints, and was run several times"


def recorded(recorder: Any, mode: Mode, f: Any, args: Sequence[Any], options: Mapping[str, Any], along: Any) -> Run:
    """One run of f by a framework's recorder; `along` are the cotangents, or in forward mode the tangents.

    Raises Unsupported where the framework has no derivative in this mode, and BadInput for what cannot be recorded,
    with what to do.
    """
    heard = _Heard(sys.stdout)
    try:
        with redirect_stdout(heard):
            if mode == "reverse":
                run: Run = recorder.record(f, args, cotangents=along, **options)
            else:
                run = recorder.record_forward(f, args, tangents=along, **options)
        notes = (*run.notes, PRINTS) if heard.anything else run.notes
        beside = tuple(replace(other, drawn=along is None) for other in run.beside)
        return replace(run, notes=notes, drawn=along is None, beside=beside)
    except (BadInput, Unsupported):
        raise
    except NotRecorded as error:
        raise BadInput(f"not recorded: {error}") from error
    except (Exception, SystemExit) as error:
        where = f"{called(f)} cannot be verified here: {type(error).__name__}: {said(error)}"
        raise BadInput(where) from error


class _Heard:
    """Standard output while a function runs, which knows whether anything was written to it."""

    def __init__(self, to: Any) -> None:
        self.to, self.anything = to, False

    def write(self, text: str) -> int:
        self.anything = True
        return self.to.write(text)  # type: ignore[no-any-return]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.to, name)


def usable(run: Run, defined: bool = False) -> Run:
    """The run, with a note of arguments that say nothing. Raises BadInput where there is nothing to verify in it.

    What is `defined` may be given no numbers, and be of no slope.
    """
    affordable(run.backward.size)
    empty = [a.name for a in run.arguments if not a.ids.size]
    if empty and defined:
        return run
    if empty:
        raise BadInput(
            f"{', '.join(empty)}: no numbers in it, its shape has a 0; expected one or more, or wrt= without it"
        )
    for argument in run.arguments:
        values = run.forward.held[argument.ids]
        if np.isnan(values).any():
            at = ",".join(str(int(i)) for i in np.argwhere(np.isnan(values))[0])
            raise BadInput(
                f"{argument.name}{f'[{at}]' if at else ''} is NaN, where nothing has a derivative; give a number"
            )
    if not all(np.isfinite(run.backward.held[c]).all() for c in run.cotangents):
        given = "cotangent" if run.mode == "reverse" else "tangent"
        raise BadInput(f"{given}: it holds NaN or an infinity; expected finite numbers")
    idle = [] if run.foreign else unused(run)
    if len(idle) == len(run.arguments) and not (defined or run.rules):  # a rule may give what no operation does
        raise BadInput(
            f"in this run no output of {run.name} is computed from {', '.join(idle)} by floating-point operations: "
            "there is no derivative to verify"
        )
    if run.meant:
        return run
    comes = "its gradient is 0" if run.mode == "reverse" else "its tangent counts for nothing"
    comes += "; a rule that has another by intention is held against gradient_of=" if run.rules else ""
    return replace(run, notes=(*run.notes, *(f"no output is computed from {a}: {comes}" for a in idle)))
