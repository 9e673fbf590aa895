"""Whether a record is the program: run again elsewhere, the function must be what its record says."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from gradconform.reference.exact import precision
from gradconform.reference.judge import decision
from gradconform.reference.profiles import Profile
from gradconform.reference.programs.allowance import Allowed
from gradconform.reference.programs.exact import holds
from gradconform.reference.programs.record import Ids, Numbers, Record
from gradconform.reference.programs.run import Replay, Run

BITS = 160


def missing(run: Run, profile: Profile) -> Iterator[str]:
    """What left the record or came from outside of it, in words; nothing where the record is complete."""
    yield from run.foreign
    for replay in run.replays:
        yield from _replayed(run, replay, profile)


def _replayed(run: Run, replay: Replay, profile: Profile) -> Iterator[str]:
    given = _numbers([a.ids for a in run.arguments], replay.given)
    cotangents = _numbers(run.cotangents, replay.cotangents)
    there = {**_numbers(run.given, replay.given), **cotangents}
    for record, values, ids, got, what in (
        (run.forward, given, run.outputs, replay.outputs, "the function"),
        (run.backward, there, run.results, replay.gradients, "its backward program"),
    ):
        with precision(BITS):
            if _other_branch(record, values, profile):
                continue  # elsewhere another branch is taken: the record is of this one
            if _differs(record, values, ids, got, profile):
                yield f"run again on other numbers, {what} is not what was recorded: a value left the record"
                return


def _numbers(ids: Sequence[Ids], values: Sequence[Numbers]) -> dict[int, float]:
    found: dict[int, float] = {}
    for of, numbers in zip(ids, values, strict=True):
        found |= dict(zip(of.ravel().tolist(), np.asarray(numbers, dtype=np.float64).ravel().tolist(), strict=True))
    return found


def _other_branch(record: Record, given: dict[int, float], profile: Profile) -> bool:
    """Whether a comparison of the record comes out otherwise, or may."""
    if len(record.decisions) == 1:
        return False
    allowed = Allowed(record, profile, given=given).evaluate()
    ops = allowed.arithmetics["float64"]
    for number, d in enumerate(record.decisions):
        if d.relation is None:
            continue
        x, y = allowed.value(d.left, ops), allowed.value(d.right, ops)
        before = holds(d.relation, float(record.held[d.left] - record.held[d.right]))
        if not (hasattr(x, "exact") and hasattr(y, "exact")):
            continue
        if allowed._may_differ(number, ops) or holds(d.relation, float((x.exact - y.exact).mid())) != before:
            return True
    return False


def _differs(
    record: Record, given: dict[int, float], ids: Sequence[Ids], got: Sequence[Numbers], profile: Profile
) -> bool:
    """Whether what was got elsewhere is outside of what the record gives there by every form of its kernels."""
    forms = max((len(s.forms) for s in record.steps), default=1) or 1
    return all(_outside(Allowed(record, profile, given=given, form=f).evaluate(), ids, got) for f in range(forms))


def _outside(allowed: Allowed, ids: Sequence[Ids], got: Sequence[Numbers]) -> bool:
    ops = allowed.arithmetics["float64"]
    for of, numbers in zip(ids, got, strict=True):
        if of.shape != np.shape(numbers):
            return True
        for i, x in zip(of.ravel().tolist(), np.asarray(numbers, dtype=np.float64).ravel().tolist(), strict=True):
            if decision(x, (allowed.value(i, ops),)) == "outside":
                return True
    return False
