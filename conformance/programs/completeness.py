"""Whether a record is the program: run again elsewhere, the function must be what its record says."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Literal

import numpy as np

from gradconform.conformance.programs.accepted import nearest_forms, result
from gradconform.conformance.programs.size import fits, one_record
from gradconform.reference.arithmetic.exact import precision
from gradconform.reference.arithmetic.formats import FORMATS
from gradconform.reference.arithmetic.midpoints import OutOfRange
from gradconform.reference.arithmetic.profiles import Profile, lenient
from gradconform.reference.arithmetic.rounded import Rounded
from gradconform.reference.judge import decision
from gradconform.reference.outcomes import Outcome
from gradconform.reference.programs import words
from gradconform.reference.programs.allowance import Allowed, outcomes_of
from gradconform.reference.programs.array_allowance import ArrayAllowed
from gradconform.reference.programs.array_exact import ArrayExact
from gradconform.reference.programs.exact import Exact, holds
from gradconform.reference.programs.record import Ids, Numbers, Record, Taken, every
from gradconform.reference.programs.run import Replay, Run
from gradconform.reference.programs.views import without_repeats

BITS = 160
#: What is said of a function that is not its record when it is run again.
OTHER = "is not what was recorded: a value left the record, or it does not answer the same twice"
#: Whether a run on other numbers is what the record gives there, took another branch than the record is of, or is not.
Again = Literal["held", "elsewhere", "other"]
#: Bits that a program which is not known may be off by in every number of one that is.
ROUNDINGS = 4
#: Ids, and the numbers that they have.
Given = Sequence[tuple[Ids, Numbers]]


def missing(run: Run, profile: Profile) -> Iterator[str]:
    """What left the record or came from outside of it, in words; nothing where the record is complete."""
    yield from run.foreign
    yield from _found(run, [r for r in run.replays if not r.how], profile)


def otherwise(run: Run, profile: Profile) -> Iterator[str]:
    """Where the backward program gives something else since a cotangent has stride 0, or is undefined; in words."""
    yield from _found(run, [r for r in run.replays if r.how], profile)


def _found(run: Run, replays: Sequence[Replay], profile: Profile) -> Iterator[str]:
    replayed = _replayed_in_arrays if fits(run) else _replayed
    held = False
    for replay in replays:
        if held and _scales(run, replay):
            continue  # what the record says of it is what it says of the run, times a power of two
        found, what = replayed(run, replay, lenient(profile))
        held |= found == "held"
        if found == "other":
            yield _said(replay, what)


def _scales(run: Run, replay: Replay) -> bool:
    """Whether a replay has the run's arguments and outputs, and its cotangents and gradients times a power of two."""

    def same(ids: Sequence[Ids], numbers: Sequence[Numbers], by: float = 1.0) -> bool:
        with np.errstate(over="ignore", under="ignore"):
            return all(np.array_equal(run.backward.held[i] * by, x) for i, x in zip(ids, numbers, strict=True))

    if (
        replay.how
        or run.mode != "reverse"
        or not all(np.array_equal(run.forward.held[i], x) for i, x in zip(run.outputs, replay.outputs, strict=True))
    ):
        return False
    of = [run.backward.held[c] for c in run.cotangents]
    largest = [max((float(np.abs(x).max(initial=0.0)) for x in each), default=0.0) for each in (of, replay.cotangents)]
    if not 0 < largest[0] < math.inf or not math.isfinite(largest[1]):
        return False
    by = largest[1] / largest[0]
    return (
        math.frexp(by)[0] == 0.5
        and same(run.given, replay.given)
        and same(run.cotangents, replay.cotangents, by)
        and same(run.results, replay.gradients, by)
    )


def rounds_otherwise(run: Run, route: str, profile: Profile) -> bool:
    """Whether a program that rounds otherwise than the recorded one, and is the same without rounding, may give what
    this route did: as far as can be seen, where every number of the record may be off by 16 roundings."""
    got, coarse = run.answers[route], replace(lenient(profile), coarser=ROUNDINGS)
    if not fits(run):
        with precision(BITS):
            return not _differs(run.backward, {}, {}, run.results, got, coarse)
    try:
        programs = (ArrayAllowed(run.backward, coarse, form=f) for f in _forms(run.backward, coarse))
        given = list(zip(run.results, got, strict=True))
        return any(not any(_beyond(p, *each) for each in given) for p in map(ArrayAllowed.evaluate, programs))
    except OutOfRange:
        return True


def another_function(run: Run, other: Run) -> bool:
    """Whether a run by another route is certainly one of another function: without rounding its outputs are not within
    a rounding of the run's, however each rounds on the way."""
    unit = 2.0 ** -min(a.format.precision for a in (*run.arguments, *run.tangents))
    try:
        return (_apart_in_arrays if fits(run) else _apart)(run, other, unit)
    except OutOfRange:
        return False


def _apart(run: Run, other: Run, unit: float) -> bool:
    with precision(BITS):
        values = [Exact(of.forward).evaluate() for of in (run, other)]
        a, b = (
            [exact[i] for ids in of.outputs for i in ids.ravel().tolist()]
            for exact, of in zip(values, (run, other), strict=True)
        )
        return any(abs(x - y) > unit * abs(x) for x, y in zip(a, b, strict=True))


def _apart_in_arrays(run: Run, other: Run, unit: float) -> bool:
    a, b = (ArrayExact(of.forward).evaluate().values for of in (run, other))
    for i, j in zip(run.outputs, other.outputs, strict=True):
        x, y = a.copied(i), b.copied(j)
        gap, reach = words.separation(x, y)
        if (gap > reach + unit * np.abs(x.high)).any():
            return True
    return False


def unused(run: Run) -> list[str]:
    """The arguments that no output is computed from; a comparison is no such computation."""
    record = run.forward
    live = np.zeros(record.size, dtype=np.bool_)
    for ids in run.outputs:
        live[ids] = True
    for step in reversed(record.steps):
        if live[without_repeats(step.out)].any():
            for inner in every([step]):
                for ids in inner.reads():
                    live[ids] = True
    return [a.name for a in run.arguments if a.ids.size and not live[a.ids].any()]


def _replayed(run: Run, replay: Replay, profile: Profile) -> tuple[Again, str]:
    given = _numbers([a.ids for a in run.arguments], replay.given)
    cotangents = _numbers(run.cotangents, replay.cotangents)
    there = {**_numbers(run.given, replay.given), **cotangents}
    said: Again = "held"
    for record, values, ids, got, found, what in (
        (run.forward, given, run.outputs, replay.outputs, replay.solved[0], "the function"),
        (run.backward, there, run.results, replay.gradients, replay.solved[1], "its backward program"),
    ):
        near = _solved(record, found)
        with precision(BITS):
            if _other_branch(record, values, near, profile):
                said = "elsewhere"
            elif _differs(record, values, near, ids, got, profile):
                return "other", what
    return said, ""


def _said(replay: Replay, what: str) -> str:
    if replay.how:
        return f"run again {replay.how}, {what} is not what was recorded"
    return f"run again on other numbers, {what} {OTHER}"


def _replayed_in_arrays(run: Run, replay: Replay, profile: Profile) -> tuple[Again, str]:
    """The same in arrays; of a number that these do not hold nothing is said."""
    given = list(zip([a.ids for a in run.arguments], replay.given, strict=True))
    there = [*zip(run.given, replay.given, strict=True), *zip(run.cotangents, replay.cotangents, strict=True)]
    outputs, gradients = (list(zip(*x, strict=True)) for x in (
        (run.outputs, replay.outputs), (run.results, replay.gradients)))  # fmt: skip
    parts = [(run.forward, given, outputs, "the function"), (run.backward, there, gradients, "its backward program")]
    if one_record(run):
        parts = [(run.backward, there, outputs + gradients, "the program")]
    said: Again = "held"
    for record, values, got, what in parts:
        try:
            found = _held(record, values, got, profile)
        except OutOfRange:
            return "elsewhere", ""
        if found == "other":
            return found, what
        said = found if found == "elsewhere" else said
    return said, ""


def _held(record: Record, values: Given, got: Given, profile: Profile) -> Again:
    """Whether what was got elsewhere is what some form of the record's kernels gives there; see `_differs`."""
    for form in _forms(record, profile):
        allowed = ArrayAllowed(record, profile, form=form, given=values).evaluate()
        if form == 0 and allowed.elsewhere():
            return "elsewhere"
        if not any(_beyond(allowed, ids, numbers) for ids, numbers in got):
            return "held"
    return "other"


def _forms(record: Record, profile: Profile) -> Iterator[Taken]:
    """The programs of forms: the n-th of every kernel, and of each the one that it was nearest to in the run."""
    yield from range(record.forms)
    if record.forms > 1:
        yield nearest_forms(record, profile)


def _beyond(allowed: ArrayAllowed, ids: Ids, numbers: Numbers) -> bool:
    """Whether some number is certainly not what the record gives."""
    if ids.shape != np.shape(numbers):
        return True
    value, exactly = result(allowed, ids, allowed.plain)
    with np.errstate(all="ignore"):
        off = value.arithmetic.mids.distance(np.asarray(numbers, dtype=np.float64), value.mid)
        outside = off > value.radii() * (1 + 4 * value.arithmetic.slack)
    special = np.zeros(ids.shape, bool) if value.specials is None else value.specials != 0
    same = (exactly == numbers) | (np.isnan(exactly) & np.isnan(numbers)) | np.isfinite(exactly)
    return bool((outside & ~special).any() or not same.all())


def _numbers(ids: Sequence[Ids], values: Sequence[Numbers]) -> dict[int, float]:
    found: dict[int, float] = {}
    for of, numbers in zip(ids, values, strict=True):
        found |= dict(zip(of.ravel().tolist(), np.asarray(numbers, dtype=np.float64).ravel().tolist(), strict=True))
    return found


def _solved(record: Record, found: Sequence[Numbers]) -> dict[int, float]:
    """By their ids, what the kernels that solve equations found; the record's own numbers where they are others."""
    results = [s.definition.results for s in record.steps if s.definition is not None and s.implicit]
    if [r.size for r in results] != [np.size(x) for x in found]:
        return {}
    return _numbers(results, found)


def _other_branch(record: Record, given: dict[int, float], near: dict[int, float], profile: Profile) -> bool:
    """Whether a comparison of the record comes out otherwise, or may."""
    if len(record.decisions) == 1:
        return False
    allowed = Allowed(record, profile, given=given, near=near).evaluate()
    ops = allowed.arithmetics["float64"]
    for number, d in enumerate(record.decisions):
        if d.relation is None:
            continue
        x, y = allowed.value(d.left, ops), allowed.value(d.right, ops)
        before = holds(d.relation, float(record.held[d.left]) - float(record.held[d.right]))
        if not (isinstance(x, Rounded) and isinstance(y, Rounded)):
            continue
        if allowed.may_differ(number, ops) or holds(d.relation, float((x.exact - y.exact).mid())) != before:
            return True
    return False


def _differs(
    record: Record,
    given: dict[int, float],
    near: dict[int, float],
    ids: Sequence[Ids],
    got: Sequence[Numbers],
    profile: Profile,
) -> bool:
    """Whether what was got elsewhere is outside of what the record gives there by every form of its kernels."""
    if any(of.shape != np.shape(numbers) for of, numbers in zip(ids, got, strict=True)):
        return True
    wanted = [(of, FORMATS["float64"]) for of in ids]
    return all(
        _outside(outcomes_of(record, profile, wanted, form=f, given=given, near=near), got)
        for f in _forms(record, profile)
    )


def _outside(outcomes: Sequence[Sequence[tuple[Outcome, ...]]], got: Sequence[Numbers]) -> bool:
    for of, numbers in zip(outcomes, got, strict=True):
        for known, x in zip(of, np.asarray(numbers, dtype=np.float64).ravel().tolist(), strict=True):
            # Paths through overflows that were not followed may give infinities: those tell nothing.
            if math.isfinite(x) and decision(x, known) == "outside":
                return True
    return False
