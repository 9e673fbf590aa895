"""What `verify_update` found as rows of a run file: a tensor in an update is a case, each result a quantity."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from gradconform.adapters.updates import OWN
from gradconform.conformance.known import KnownFile
from gradconform.conformance.programs import program_rows
from gradconform.conformance.programs.frameworks import leaves
from gradconform.conformance.updates.judging import Finding, Ran
from gradconform.reference.judge import noted
from gradconform.reference.measurement import UPDATE, Measurement, numbers_of

if TYPE_CHECKING:
    from gradconform.conformance.verify_update import UpdateReport


def arrays(weights: Any) -> Iterator[Any]:
    """The arrays of a tree of them, or the parameters of a module."""
    parameters = getattr(weights, "parameters", None)
    yield from leaves(weights if parameters is None else list(parameters()))


def digest_of(weights: Any) -> str:
    """Eight characters that tell weights of these shapes from others."""
    return program_rows.digest_of(arrays(weights))


def case_of(name: str, digest: str, number: int = 0) -> str:
    """How the cases of an optimizer's run begin; `number` counts earlier runs with weights of the same shapes."""
    return f"{UPDATE}{name}/{digest}" + (f"-{number + 1}" if number else "")


def rows(report: UpdateReport, name: str = "", number: int = 0) -> list[Measurement]:
    """The rows of a report, with the equation as the cause of what deviates; `name` is the optimizer's."""
    case = case_of(name or report.name, report.digest, number)
    return [_row(f, case, report) for f in report.findings]


def _row(f: Finding, case: str, report: UpdateReport) -> Measurement:
    # A tensor's name is a path in a tree, such as ['a'] or layer.weight; the number stands last, as in random draws.
    tensor = re.sub(r"[^\w.-]+", ".", f.tensor).strip(".") or "w"
    return measured(f, f"{case}/{tensor}/{f.update}", report.ran.adapter, f.route, f.quantity, report.notes)


def measured(f: Finding, case: str, adapter: str, route: str, quantity: str, notes: Sequence[str] = ()) -> Measurement:
    """The measurement of a finding, with the equation as the cause of what deviates."""
    reason = noted(f.judgement.reason, f.components)
    numbers = {**numbers_of(f.judgement), "worst_index": f.index or None, "reason": reason}
    cause = f.equation if f.judgement.verdict == "deviates" else None
    found = Measurement(case, adapter, route, f.dtype, "step", quantity, f.elements, operator=f.rule or None, **numbers)
    said = "; ".join([*filter(None, (found.reason,)), *(f"note: {' '.join(n.split())}" for n in notes)])
    return replace(found, cause=found.cause or cause, reason=said or None)


def not_judged(name: str, weights: Any, dtype: str | None, number: int, adapter: str, why: str) -> Measurement:
    """The row of an optimizer that could not be run, for all that it would have been asked."""
    given = list(arrays(weights))
    case = case_of(name, program_rows.digest_of(given), number)
    of = dtype or program_rows.dtype_of(given)
    return Measurement(case, adapter, OWN, of, None, "*", 1, reason=f"exception: {' '.join(why.split())}")


def header(ran: Iterable[Ran], profile: str, known: Sequence[KnownFile] = (), **more: Any) -> dict[str, Any]:
    """The header of a run file of optimizers' updates."""
    versions = {r.adapter: dict(r.versions) for r in ran}
    return program_rows.header(versions, profile, known, command="verify-update", **more)
