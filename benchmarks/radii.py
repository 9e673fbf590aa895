"""Radii: every operation of the rounded arithmetics over balls of every magnitude; what a program holds must be inside.

    python benchmarks/radii.py [--quick] [--cases 4000] [--seed 0] [--only TEXT] [--jobs 2]

Operands are balls: midpoints in every binade of the dtype, subnormal, zero and largest numbers too, with radii from
nothing over some ulp to far larger than the midpoint, some of them sets, some of them maybe infinite or NaN. A program
holds numbers of these balls, their ends often, and does the operation as the hypotheses permit: correctly rounded,
subnormal numbers flushed or not, sums in a random order, elementary functions off by up to K ulp of their value to 160
bits. What it gives must lie in the ball that the arithmetic gives, or be one of its specials. The array arithmetic's
ball must hold the centre of the ball arithmetic's, too. It is asked whether radii are too small, never whether they are
too large.

A public method of an arithmetic that is not tried is an error. Exit status 1 if a radius is unsound.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from random import Random
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import numpy as np
import pandas as pd
from flint import arb
from permitted_device import Held, Numbers
from radii_operations import CLASSES, OF_BIT, Balls, Drawn, Machine, Operation, operations, untried

from gradconform.reference.arithmetic.arrays import OutOfRange, RoundedArray, RoundedArrays
from gradconform.reference.arithmetic.ball_arrays import BallArrays
from gradconform.reference.arithmetic.exact import precision
from gradconform.reference.arithmetic.formats import FORMATS
from gradconform.reference.arithmetic.profiles import PROFILES, profile
from gradconform.reference.arithmetic.rounded import ANYTHING, Rounded, RoundedBalls, Sums

#: Bits of the ball arithmetic.
BITS = 256
#: Programs that are run on each case.
PROGRAMS = 8
#: Cases of an operation that are tried at a time.
BATCH = 400
#: What is certainly outside of an array's radius: its midpoint is itself off by so much of it (`midpoints`).
EDGE = 1 + 2.0**-19


@dataclass(frozen=True)
class Setting:
    """What an arithmetic is made for."""

    dtype: str
    profile: str
    sums: Sums

    def __str__(self) -> str:
        return f"{self.dtype} {self.profile}" + ("" if self.sums == "any" else f" sums {self.sums}")


Make = Callable[[Setting], Any]


def arrays(setting: Setting) -> RoundedArrays:
    return RoundedArrays(FORMATS[setting.dtype], profile(setting.profile, "jax"), sums=setting.sums)


def double_words(setting: Setting) -> RoundedArrays:
    return RoundedArrays(FORMATS[setting.dtype], profile(setting.profile, "jax"), exact=True, sums=setting.sums)


def balls(setting: Setting) -> BallArrays:
    target, constants = FORMATS[setting.dtype], profile(setting.profile, "jax")
    return BallArrays(target, constants, RoundedBalls(target, constants, setting.sums))


ARITHMETICS: Mapping[str, Make] = {"balls": balls, "arrays": arrays, "double words": double_words}


@dataclass
class Found:
    """Of one operation by arithmetic and dtype: the cases, those that are unsound, and the shortest of these."""

    tried: Counter[tuple[str, str]] = field(default_factory=Counter)
    refused: Counter[tuple[str, str]] = field(default_factory=Counter)
    unsound: Counter[tuple[str, str]] = field(default_factory=Counter)
    example: dict[tuple[str, str], str] = field(default_factory=dict)

    def report(self, key: tuple[str, str], text: str) -> None:
        self.unsound[key] += 1
        if key not in self.example or len(text) < len(self.example[key]):
            self.example[key] = text

    def add(self, other: Found) -> None:
        for counts, more in ((self.tried, other.tried), (self.refused, other.refused), (self.unsound, other.unsound)):
            counts.update(more)
        for key, text in other.example.items():
            if key not in self.example or len(text) < len(self.example[key]):
                self.example[key] = text


@dataclass(frozen=True)
class Batch:
    """Operands of some cases, and what programs give of them: the numbers that they held, their results, the void."""

    operation: Operation
    setting: Setting
    operands: Sequence[Any]
    programs: Sequence[tuple[Sequence[Numbers], Numbers, Any]]

    def part(self, start: int, stop: int) -> Batch:
        """Some of the cases, where each has its own place on the first axis."""

        def of(x: Any) -> Any:
            return x[start:stop] if np.ndim(x) else x

        operands = [x.part(start, stop) if isinstance(x, Balls) and x.mid.ndim else of(x) for x in self.operands]
        programs = [([of(h) for h in held], of(got), None if void is None else of(void))
                    for held, got, void in self.programs]  # fmt: skip
        return Batch(self.operation, self.setting, operands, programs)

    def case(self, at: tuple[int, ...], program: Sequence[Numbers], got: float) -> str:
        """A case in words: the operands of one element, those that the program held, and what it gave."""
        said = []
        for x, held in zip(self.operands, program, strict=True):
            if held.ndim == 2 and self.operation.apart:  # a whole row
                row = [(at[0], j) for j in range(held.shape[1])]
                said.append("[" + ", ".join(f"{x.text(i)} held {float(held[i])!r}" for i in row) + "]")
                continue
            own = at[len(at) - held.ndim :]
            if len(own) != held.ndim or any(i >= n for i, n in zip(own, held.shape, strict=True)):
                said.append(f"of {'×'.join(map(str, held.shape))}")
            else:
                said.append(
                    f"{x.text(own)} held {float(held[own])!r}" if isinstance(x, Balls) else repr(float(held[own]))
                )
        return f"{self.setting}: {'; '.join(said)} gave {got!r}"


def batch(operation: Operation, setting: Setting, count: int, seed: str) -> Batch:
    """`count` cases, drawn by the seed."""
    random = Random(f"radii {seed} {operation.name} {setting}")
    draw, target = np.random.default_rng(random.getrandbits(64)), FORMATS[setting.dtype]
    operands = operation.draw(Drawn(target, draw), count)
    programs = []
    for _ in range(PROGRAMS):
        machine = Machine(target, random, profile(setting.profile, "jax"), setting.sums)
        wide = operation.wide and target.precision <= 24
        with np.errstate(all="ignore"):
            held = [x.held(target, draw, wide) if isinstance(x, Balls) else x for x in operands]
            of_machine = [Held(machine, h) if isinstance(x, Balls) else h for x, h in zip(operands, held, strict=True)]
            got = operation.run(machine, *of_machine).numbers
        programs.append((held, got, machine.void))
    return Batch(operation, setting, operands, programs)


def tried(cases: Batch, made: Mapping[str, Make] = ARITHMETICS) -> Found:
    """The batch by each arithmetic that has the operation."""
    found, centres = Found(), None
    for name, make in made.items():
        if cases.operation.only not in ("", name):
            continue
        ops, key = make(cases.setting), (name, cases.setting.dtype)
        with precision(BITS), np.errstate(all="ignore"):
            if isinstance(ops, RoundedArrays):
                _try_arrays(cases, ops, key, found, centres)
            else:
                centres = _run(cases, ops).values
                found.tried[key] += math.prod(centres.shape)
                _hold_balls(cases, centres, key, found)
    return found


def _run(cases: Batch, ops: Any) -> Any:
    return cases.operation.run(ops, *[x.over(ops) if isinstance(x, Balls) else x for x in cases.operands])


def _try_arrays(cases: Batch, ops: RoundedArrays, key: tuple[str, str], found: Found, centres: Any) -> None:
    """What double words do not hold is refused as a whole: the others are tried without it."""
    try:
        result = _run(cases, ops)
    except OutOfRange:
        shape = cases.programs[0][1].shape
        if not cases.operation.apart or shape[0] == 1:
            found.refused[key] += math.prod(shape)
            return
        half = shape[0] // 2
        for start, stop in ((0, half), (half, shape[0])):
            of_these = None if centres is None else centres[start:stop]
            _try_arrays(cases.part(start, stop), ops, key, found, of_these)
        return
    found.tried[key] += math.prod(result.shape)
    _hold_arrays(cases, result, key, found, centres)


def _hold_balls(cases: Batch, values: Any, key: tuple[str, str], found: Found) -> None:
    for at in np.ndindex(values.shape):
        value = values[at]
        if value.specials & ANYTHING:
            continue
        reach = value.radius + value.spread
        for held, got, void in cases.programs:
            x = float(got[at])
            if void is not None and void[at]:
                continue
            if not value.exact.is_finite():
                outside = True
            elif math.isfinite(x):
                outside = bool(abs(arb(x) - value.exact) > reach)
            else:
                outside = not value.specials & _bit(x)
            if outside:
                found.report(key, f"{cases.case(at, held, x)}, outside {_ball(value)}")
                break


def _bit(x: float) -> int:
    return next(bit for bit, value in OF_BIT if repr(value) == repr(x))


def _ball(value: Rounded) -> str:
    return f"{value.exact.str(17, radius=False)} ± {(value.radius + value.spread).str(6, radius=False)}"


def _hold_arrays(cases: Batch, result: RoundedArray, key: tuple[str, str], found: Found, centres: Any) -> None:
    shape, mids = result.shape, result.arithmetic.mids
    specials = np.zeros(shape, np.uint8) if result.specials is None else np.broadcast_to(result.specials, shape)
    reach = (result.radii() + (0.0 if result.spread is None else result.spread)) * EDGE
    reported = np.zeros(shape, dtype=bool)
    for held, got, void in cases.programs:
        outside = ~(mids.distance(got, result.mid) <= reach)
        for bit, value in OF_BIT:
            of_kind = np.isnan(got) if math.isnan(value) else got == value
            outside = np.where(of_kind, specials & bit == 0, outside)
        outside = outside & (specials & ANYTHING == 0) & ~reported
        for at in np.argwhere(outside if void is None else outside & ~void):
            index = tuple(at.tolist())
            reported[index] = True
            ball = f"{float(result.high[index])!r} ± {float(reach[index])!r}"
            found.report(key, f"{cases.case(index, held, float(got[index]))}, outside {ball}")
    if centres is not None and cases.setting.sums != "own":
        _hold_centres(cases, result, centres, key, found, np.asarray(specials), np.asarray(reach))


def _hold_centres(
    cases: Batch, result: RoundedArray, centres: Any, key: tuple[str, str], found: Found, specials: Any, reach: Numbers
) -> None:
    """Whether the arrays' balls hold the exact values of the ball arithmetic."""
    void = cases.programs[0][2]
    for at in np.ndindex(result.shape):
        exact = centres[at]
        if void is not None and void[at]:
            continue
        # Beyond the format nothing is held; there a centre has its 53 bits, and no more.
        if (specials[at] | exact.specials) & ANYTHING or not abs(exact.exact) < result.arithmetic.format.largest:
            continue
        if abs(exact.exact - result.arithmetic.mids.ball(result.mid, at)) > arb(float(reach[at])):
            ball = f"{float(result.high[at])!r} ± {float(reach[at])!r}"
            held = cases.programs[0][0]
            said = cases.case(at, held, float(exact.exact.mid()))
            found.report(key, f"{said} exactly, outside {ball}")


# The scan -------------------------------------------------------------------------------------------------------------


def settings(operation: Operation) -> Iterator[Setting]:
    """Every dtype and profile; of sums every way to sum."""
    for dtype, target in FORMATS.items():
        ways: tuple[Sums, ...] = ("any", "own", "wide") if operation.sums else ("any",)
        for name in PROFILES:
            for sums in ways if target.precision < 24 else ways[:2]:
                yield Setting(dtype, name, sums)


def scanned(work: tuple[str, int, int]) -> tuple[str, Found]:
    """All of one operation, by its name."""
    name, cases, seed = work
    operation = next(o for o in operations() if o.name == name)
    found, ways = Found(), list(settings(operation))
    each = max(1, round(cases * operation.share * len(FORMATS) / len(ways)))
    for setting in ways:
        for number in range(-(-each // BATCH)):
            found.add(tried(batch(operation, setting, min(BATCH, each - number * BATCH), f"{seed} {number}")))
    return name, found


def said(results: Sequence[tuple[str, Found]], seconds: float) -> int:
    """Print the table and every unsound radius; the exit status."""
    rows = [
        {"operation": name, "arithmetic": key[0], "dtype": key[1], "tried": found.tried[key],
         "refused": found.refused[key], "unsound": found.unsound[key]}
        for name, found in results for key in sorted({*found.tried, *found.refused})
    ]  # fmt: skip
    table = pd.DataFrame(rows).pivot_table(
        index=["operation", "arithmetic"], columns="dtype", values=["tried", "unsound"], aggfunc="sum", fill_value=0
    )
    print(table.astype(int).to_string())
    for name, found in results:
        for key, text in sorted(found.example.items()):
            print(f"{name}, {key[0]}, {found.unsound[key]} unsound: {text}")
    total, unsound, refused = (sum(row[c] for row in rows) for c in ("tried", "unsound", "refused"))
    print(f"{total:,} balls with {PROGRAMS} programs each, {unsound} unsound; {refused:,} refused; {seconds:.0f} s")
    return 1 if unsound else 0


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=4000, help="of each operation in each dtype")
    parser.add_argument("--quick", action="store_true", help="a twentieth of them")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="operations whose name holds this text")
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args(arguments)
    if options.cases < 1:
        parser.error(f"--cases is {options.cases}; expected at least 1")
    missing = untried(*CLASSES)
    if missing:
        print(f"not tried: {', '.join(missing)}; add them to `operations`", file=sys.stderr)
        return 1
    cases = max(1, options.cases // 20) if options.quick else options.cases
    work = [(o.name, cases, options.seed) for o in operations() if options.only in o.name]
    if not work:
        parser.error(f"no operation has {options.only!r} in its name")
    started = time.perf_counter()
    with ProcessPoolExecutor(options.jobs, mp_context=get_context("spawn")) as pool:
        results = list(pool.map(scanned, work))
    return said(results, time.perf_counter() - started)


if __name__ == "__main__":
    sys.exit(main())
