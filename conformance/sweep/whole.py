"""The chunks of a sweep as a whole: what was asked, the worst, the distribution, and stretches put together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from gradconform.conformance.sweep.chunk import ERRORS, QUANTITIES

#: Stretches of one verdict that are told.
SHOWN = 4


def total(chunks: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The whole of a sweep, for each quantity as of one chunk, without the strips; `asked` are all numbers."""
    found: dict[str, Any] = {"asked": sum(c["asked"] for c in chunks)}
    for quantity in QUANTITIES:
        of = [c for c in chunks if quantity in c]
        if of:
            found[quantity] = _together([c[quantity] for c in of], [c.get("ends") for c in of])
    return found


def _together(parts: Sequence[Mapping[str, Any]], ends: Sequence[Sequence[Any] | None]) -> dict[str, Any]:
    verdicts: Counter[str] = Counter()
    for part in parts:
        verdicts.update(part["verdicts"])
    words = dict.fromkeys(word for part in parts for word in part["stretches"])
    return {
        "verdicts": dict(sorted(verdicts.items())),
        **{name: sum(part[name] for part in parts) for name in ("formula unknown", "by balls", "answered outside")},
        "NaN kept": [sum(part["NaN kept"][n] for part in parts) for n in (0, 1)],
        "at infinity": {k: v for part in parts for k, v in part["at infinity"].items()},
        **{name: _largest(part[name] for part in parts) for name in ("largest", "largest share")},
        **{name: [sum(n) for n in zip(*(p[name] for p in parts), strict=True)] for name in ("errors", "shares")},
        "stretches": {word: _joined([p["stretches"].get(word, []) for p in parts], ends) for word in words},
    }


def _largest(of: Iterable[Mapping[str, Any] | None]) -> Mapping[str, Any] | None:
    return max((o for o in of if o is not None), key=lambda o: float(o["of"]), default=None)


def _joined(parts: Sequence[Sequence[Sequence[Any]]], ends: Sequence[Sequence[Any] | None]) -> list[list[Any]]:
    """Stretches of chunks that follow one another, as one where one ends a chunk and the next begins one.

    `ends` are the first and the last number of each chunk; where a file of an earlier version has none, nothing is
    joined.
    """
    found: list[list[Any]] = []
    touching = False
    for part, end in zip(parts, ends, strict=True):
        for stretch in part:
            if touching and end and stretch[0] == end[0]:
                found[-1] = [found[-1][0], stretch[1], found[-1][2] + stretch[2]]
            else:
                found.append(list(stretch))
            touching = False
        touching = bool(part and end and part[-1][1] == end[1])
    return found


def lines(whole: Mapping[str, Any]) -> list[str]:
    """The whole as text, a few lines for each quantity."""
    said = []
    for quantity in QUANTITIES:
        if quantity not in whole:
            said.append(f"{quantity}: the framework has none")
            continue
        of = whole[quantity]
        said.append(f"{quantity}: " + ", ".join(f"{word} {n:,}" for word, n in of["verdicts"].items()))
        if of["largest"]:
            worst = of["largest"]
            said.append(
                f"  largest error {float(worst['of']):.4g} ulp at {_number(worst['x'])}: got {_number(worst['got'])}, "
                f"the truth is {_number(worst['truth'])} ({worst['verdict']})"
            )
        if of["largest share"]:
            worst = of["largest share"]
            said.append(f"  largest share of the allowance {float(worst['of']):.4g} at {float(worst['x']):.9g}")
        said.append(f"  error in ulp: {_distribution(of['errors'])}")
        for word, stretches in of["stretches"].items():
            if word not in ("outside the domain", "out of range"):
                said.append(f"  {word}: {_stretches(stretches)}")
        kept, nans = of["NaN kept"]
        if kept < nans:
            said.append(f"  of {nans:,} NaN {nans - kept:,} gave a number")
        if of["answered outside"]:
            said.append(f"  outside the domain {of['answered outside']:,} gave a number or infinity, not NaN")
        if of["at infinity"]:
            said.append("  " + ", ".join(f"at {x} {_number(g)}" for x, g in of["at infinity"].items()))
    return said


def closing(whole: Mapping[str, Any], of: int, seconds: float) -> str:
    """The last line: how many numbers were asked, of how many, and how fast."""
    rate = whole["asked"] / seconds if seconds else 0.0
    return f"asked {whole['asked']:,} of {of:,} numbers in {seconds:.1f} s, {rate:,.0f} a second"


def _number(x: Any) -> str:
    return f"{float(x):.9g}"


def _distribution(errors: Sequence[int]) -> str:
    there = sum(errors)
    if not there:
        return "none is known"
    halves, ones = (sum(errors[: ERRORS.index(e) + 1]) for e in (-1, 0))
    above = sum(errors[ERRORS.index(4) + 1 :])
    return f"{halves / there:.2%} at most ½, {ones / there:.2%} at most 1, {above:,} above 16, of {there:,}"


def _stretches(stretches: Sequence[Sequence[Any]]) -> str:
    widest = sorted(stretches, key=lambda s: -s[2])[:SHOWN]
    shown = ", ".join(
        f"{_number(a)} … {_number(b)} ({n:,})" if a != b else f"{_number(a)}"
        for a, b, n in (s for s in stretches if s in widest)
    )
    more = len(stretches) - len(widest)
    return f"{shown}, and {more:,} more stretch{'es' if more > 1 else ''}" if more > 0 else shown
