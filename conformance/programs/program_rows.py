"""What `verify` found as rows of a run file: a user's function is a case, each of its gradients a quantity."""

from __future__ import annotations

import hashlib
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from importlib import import_module
from typing import TYPE_CHECKING, Any

from gradconform.conformance.cases.operators import PREFIX
from gradconform.conformance.known import KnownFile
from gradconform.conformance.run.runner import made_with
from gradconform.reference.judge import Execution, Verdict, noted
from gradconform.reference.measurement import PROGRAM, QUANTITY, Measurement, judged

if TYPE_CHECKING:
    from gradconform.conformance.programs.program_steps import StepFinding
    from gradconform.conformance.programs.report import Report

#: The module that knows a framework's programs, by the framework.
RECORDERS = {"torch": "gradconform.adapters.verify_torch", "jax": "gradconform.adapters.verify_jax"}
#: What a step comes to, which is asked only whether it is executed.
_OF_STEP: Mapping[Execution, Verdict] = {
    "within": "conforms",
    "overflow": "out of range",
    "undecided": "undecided",
    "outside": "deviates",
}


def digest_of(leaves: Iterable[Any]) -> str:
    """Eight characters that tell arguments of these shapes from others; what has no shape is not among them."""
    shapes = [tuple(map(int, x.shape)) for x in leaves if hasattr(x, "shape")]
    return hashlib.sha256(repr(shapes).encode()).hexdigest()[:8]


def dtype_of(leaves: Iterable[Any]) -> str:
    """The dtype of the first array."""
    return next((str(x.dtype).rpartition(".")[2] for x in leaves if hasattr(x, "dtype")), "float64")


def case_of(name: str, digest: str, number: int = 0) -> str:
    """The case that a function's run is; `number` counts earlier arguments of the same shapes."""
    return f"{PROGRAM}{name}/{digest}" + (f"-{number + 1}" if number else "")


def operator_of(name: str) -> str | None:
    """The catalogue's operator whose case is called so, such as operator/gelu/ordinary; of a function None.

    >>> operator_of("operator/gelu/ordinary"), operator_of("losses:focal")
    ('gelu', None)
    """
    return name.split("/")[1] if name.startswith(PREFIX) else None


def judged_gradients(report: Report, case: str = "") -> Iterator[Measurement]:
    """One measurement for each gradient, or in forward mode tangent, and route, as it was judged."""
    for g in report.gradients:
        key: dict[str, Any] = {
            "case": case, "adapter": report.adapter, "route": g.route, "dtype": g.dtype, "level": "whole",
            "quantity": f"{QUANTITY[g.mode]}{g.argument}{g.of}",
        }  # fmt: skip
        if g.judgement.verdict == "unsupported":
            key |= {"level": None, "elements": 0, "verdict": "unsupported"}
            yield Measurement(**key, reason=f"operation: {g.judgement.reason}")
        else:
            of = replace(g.judgement, reason=noted(g.judgement.reason, g.components))
            yield replace(judged(key, of, g.elements), worst_index=g.index or None)


def rows(report: Report, name: str = "", number: int = 0, steps: bool = False) -> list[Measurement]:
    """The rows of a report: its gradients, with the culprits as their cause, and with `steps` its operations.

    The reason says what left the record and what there is to note. `name` is the function's, by default its own.
    """
    case = case_of(name or report.name, report.digest, number)
    cause = "; ".join(_line(c) for c in report.culprits) or None
    noted = [f"record: {_line(m)}" for m in report.missing] + [f"note: {_line(n)}" for n in report.notes]
    found = []
    for m in judged_gradients(report, case):
        why = "; ".join([*([m.reason] if m.reason else []), *noted]) or None
        culprit = cause if m.verdict == "deviates" else None
        found.append(replace(m, operator=operator_of(name), cause=m.cause or culprit, reason=why))
    return found + (list(_step_rows(report, case)) if steps else [])


def _line(text: str) -> str:
    return " ".join(text.split())


def _step_rows(report: Report, case: str) -> Iterator[Measurement]:
    """A row for each operation that was recorded: on the operands that the framework had, as the eager route ran it."""
    times: Counter[tuple[str, str]] = Counter()
    for s in report.findings:
        times[s.operation, s.dtype] += 1
        yield _step_row(s, f"{s.operation} {times[s.operation, s.dtype]}", report.adapter, case)


def _step_row(s: StepFinding, quantity: str, adapter: str, case: str) -> Measurement:
    return Measurement(
        case, adapter, "eager", s.dtype, "step", quantity, s.elements, value=s.value, truth=s.truth, max_ulp=s.max_ulp,
        share=s.share, worst_index=s.worst_index or None, operator=s.operation, execution=s.execution,
        verdict=_OF_STEP[s.execution], cause=f"{s.operation} ({s.line})" if s.execution == "outside" else None,
    )  # fmt: skip


def not_judged(name: str, leaves: Sequence[Any], dtype: str | None, number: int, adapter: str, why: str) -> Measurement:
    """The row of a function that could not be verified, for all of its gradients at once."""
    case = case_of(name, digest_of(leaves), number)
    of = dtype or dtype_of(leaves)
    reason = f"exception: {_line(why)}"
    return Measurement(case, adapter, "eager", of, None, "*", 1, operator=operator_of(name), reason=reason)


def header(
    versions: Mapping[str, Mapping[str, str]], profile: str, known: Sequence[KnownFile] = (), **more: Any
) -> dict[str, Any]:
    """The header of a run file of what was verified; `versions` are those of the frameworks."""
    return {
        **made_with(versions, known, {}), "device": "cpu", "profile": profile, "seed": 0,
        "started": datetime.now(UTC).isoformat(), "command": "verify", "arguments": sys.argv[1:], **more,
    }  # fmt: skip


def recorder_of(framework: str) -> Any:
    """What `verify` needs of a framework: the module of that name in RECORDERS."""
    return import_module(RECORDERS[framework])


def versions_of(framework: str) -> dict[str, str]:
    found: dict[str, str] = recorder_of(framework).versions()
    return found
