"""Two sweeps compared: the same operator over the same numbers, of two versions of a framework.

Counted are the numbers that deviate, are lost, undecided or not judged at all, and the largest error in ulp of those
that have one. All numbers were asked in both, so nothing of it is luck: one more that deviates is a regression.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from gradconform.reports.accuracy import QUANTITIES, Sweep
from gradconform.reports.diff import FACTOR, LARGEST, versions

#: What a sweep is of: two are compared that agree in these.
SAME = ("operator", "dtype", "adapter", "profile", "first", "count", "stride")
#: Verdicts of which more numbers are worse.
WORSE = ("deviates", "lost", "undecided")


@dataclass(frozen=True)
class SweepChange:
    """A count, or the largest error in ulp ("largest ulp", and at which number), that is another in NEW."""

    quantity: str
    what: str
    old: float
    new: float
    worse: bool
    at: float | None = None


def compare(old: Sweep, new: Sweep) -> list[SweepChange]:
    """What is different in NEW. Raises ValueError for sweeps of different questions, and for one that is incomplete."""
    for name in SAME:
        if old[0].get(name) != new[0].get(name):
            raise ValueError(
                f"OLD is a sweep with {name} {old[0].get(name)!r}, NEW one with {new[0].get(name)!r}; expected two of "
                "the same numbers of one operator"
            )
    for run, sweep in (("OLD", old), ("NEW", new)):
        if not sweep[2]:
            raise ValueError(f"{run} is an incomplete sweep; go on with it by --resume")
    return [change for quantity in QUANTITIES for change in _changes(quantity, old[2], new[2])]


def _changes(quantity: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[SweepChange]:
    if quantity not in old or quantity not in new:
        if quantity in old or quantity in new:
            asked = [float(footer["asked"]) if quantity in footer else 0.0 for footer in (old, new)]
            yield SweepChange(quantity, "asked", asked[0], asked[1], worse=quantity in old)
        return
    before, after = old[quantity]["verdicts"], new[quantity]["verdicts"]
    for word in dict.fromkeys([*WORSE, *before, *after]):
        was, now = before.get(word, 0), after.get(word, 0)
        if was != now:
            yield SweepChange(quantity, word, float(was), float(now), worse=word in WORSE and now > was)
    worst = [footer[quantity]["largest"] for footer in (old, new)]
    ulps = [float(w["of"]) if w else 0.0 for w in worst]
    if ulps[0] != ulps[1]:
        grown = ulps[1] >= FACTOR * ulps[0] and ulps[1] - ulps[0] >= LARGEST
        yield SweepChange(quantity, "largest ulp", ulps[0], ulps[1], grown, float(worst[1]["x"]) if worst[1] else None)


def named(header: Mapping[str, Any]) -> str:
    """A sweep's operator, dtype and framework, such as "tanh in float16 (torch 2.13.0+cpu)"."""
    return f"{header['operator']} in {header['dtype']} ({versions(header)})"


def told(change: SweepChange) -> str:
    """A line of text."""
    at = "" if change.at is None else f" (at {change.at:.9g})"
    how = " worse" if change.worse else ""
    return f"{change.quantity}: {change.what} {change.old:.6g} → {change.new:.6g}{at}{how}"


def as_json(changes: Sequence[SweepChange], old: Sweep, new: Sweep) -> dict[str, Any]:
    """The changes as plain data, with what either sweep is of."""
    return {
        "old": named(old[0]), "new": named(new[0]), "regressions": sum(c.worse for c in changes),
        "thresholds": {"factor": FACTOR, "largest": LARGEST},
        "changes": [{k: str(v) if v in (float("inf"), float("-inf")) else v for k, v in asdict(c).items()}
                    for c in changes],
    }  # fmt: skip


def markdown(changes: Sequence[SweepChange], old: Sweep, new: Sweep) -> str:
    lines = [f"**{named(old[0])} → {named(new[0])}**: {closing(changes)}", ""]
    return "\n".join([*lines, *(f"- {told(c)}" for c in changes)]) + "\n"


def closing(changes: Sequence[SweepChange]) -> str:
    if not changes:
        return "no difference"
    return f"{len(changes)} difference{'s' if len(changes) > 1 else ''}, {sum(c.worse for c in changes)} of them worse"
