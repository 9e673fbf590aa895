"""Whether every executor has the same rules: arrays the balls and bits of balls, kernels those of arrays.

    python benchmarks/array_rules.py [--operations 1000000] [--kernels 10000000] [--seed 0] [--only NAME] [--jobs 2]

So many operations are done by balls and by arrays, and so many by arrays and by kernels.

The rules are one text, and so this says that the executors' primitives are right; that the rules are is asked elsewhere
(`radii.py`, of programs that are run). Kernels are compared where numba is installed, and a line says whether it is.

Operands are adversarial: zeros, subnormal numbers, numbers about 1, about where exponentials overflow, the largest of
the format and those about it; radii from nothing to far larger than the number, some that reach 0 or the largest number
exactly; any combination of the special bits. The bits must be the same; an array's radius may be larger by 2^−28 of it,
by which its unit roundoff is enlarged, and smaller by no more than what float64 rounds it by. Only where float64 does
not hold the ball arithmetic's number, or its radius, must the array say that nothing is known.

Exit status 1 if one differs.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from typing import Any

import numpy as np

from gradconform.reference.arithmetic import array_values
from gradconform.reference.arithmetic.arrays import RoundedArray, RoundedArrays
from gradconform.reference.arithmetic.exact import precision
from gradconform.reference.arithmetic.formats import FORMATS
from gradconform.reference.arithmetic.midpoints import EXACTLY, OutOfRange, Plain
from gradconform.reference.arithmetic.profiles import OPENCL, STRICT
from gradconform.reference.arithmetic.rounded import ANYTHING, DOUBT, Rounded
from gradconform.reference.programs.array_allowance import _piece, dots

#: Bits of the ball arithmetic.
BITS = 256
#: By how much an array's radius may be larger, and smaller.
WIDER, NARROWER = 2.0**-28, 1e-12

#: Numbers beyond which float64 itself need not hold what is computed of them.
LIMIT = 2.0**1000

ELEMENTARY = (
    *("sqrt", "exp", "expm1", "log", "log1p", "tanh", "erf", "erfc", "sin", "cos", "sinh", "cosh", "sigmoid"),
)
#: Operations that kernels do.
COMPILED = ("add", "multiply", "divide", "square", "absolute", "positive_part", *ELEMENTARY)
Operation = Callable[..., Any]
#: Operations by name, for either arithmetic, with the number of their operands.
OPERATIONS: Mapping[str, tuple[int, Operation]] = {
    "add": (2, lambda ops, x, y: ops.add(x, y)),
    "subtract": (2, lambda ops, x, y: x - y),
    "multiply": (2, lambda ops, x, y: ops.multiply(x, y)),
    "divide": (2, lambda ops, x, y: ops.divide(x, y)),
    "half": (1, lambda ops, x: ops.scale(x, 0.5)),
    "twice": (1, lambda ops, x: ops.scale(x, -2.0)),
    "select": (3, lambda ops, x, y, z: ops.select(x, y, z)),
    "step": (3, lambda ops, x, y, z: ops.step(x, y, z)),
    **{
        name: (1, lambda ops, x, name=name: getattr(ops, name)(x))
        for name in ("square", "absolute", "positive_part", *ELEMENTARY)
    },
    **{f"sum of {k}": (k, lambda ops, *x: _sum(ops, x)) for k in (2, 3, 5)},
    **{f"inner product of {k}": (2 * k, lambda ops, *x: _dot(ops, x)) for k in (1, 2, 4)},
}


def _sum(ops: Any, x: tuple[Any, ...]) -> Any:
    return ops.total_of(x) if isinstance(x[0], Rounded) else _column(ops.row_sum(_beside(ops, x)))


def _dot(ops: Any, x: tuple[Any, ...]) -> Any:
    left, right = x[: len(x) // 2], x[len(x) // 2 :]
    if isinstance(x[0], Rounded):
        return ops.dot(left, right)
    return dots(ops, _beside(ops, left), _beside(ops, right), len(left))


def _beside(ops: RoundedArrays, x: tuple[RoundedArray, ...]) -> RoundedArray:
    bits = [np.zeros(v.shape, np.uint8) if v.specials is None else v.specials for v in x]
    mid = ops.mids.beside([ops.mids.take(v.mid, (slice(None), None)) for v in x])
    return RoundedArray(ops, mid, np.stack([v.radii() for v in x], 1), None, np.stack(bits, 1))


def _column(x: RoundedArray) -> RoundedArray:
    bits = None if x.specials is None else x.specials[:, 0]
    return RoundedArray(x.arithmetic, x.arithmetic.mids.take(x.mid, (slice(None), 0)), x.radii()[:, 0], None, bits)


# Operands -------------------------------------------------------------------------------------------------------------


def operand(A: RoundedArrays, count: int, rng: np.random.Generator, exactly: bool) -> RoundedArray:
    """Balls of every kind, with ends at exact powers of two or not; double words where they hold their digits."""
    f, wide = A.format, A.format.precision == 53
    least = 2.0**-400 if wide else 2.0**f.emin
    edge = math.log(f.largest)
    pool = np.array([0.0, 1.0, 0.5, 3.0, least, least * 0.75, least * 1.5, f.largest, f.largest * (1 - 2.0**-9),
                     f.largest**0.5, f.largest**0.5 * 1.5, edge, edge * 1.01, 2 * edge, 20.0, 0.001])  # fmt: skip
    value = np.where(rng.random(count) < 0.5, rng.choice(pool, count), np.exp(rng.normal(0, 3, count)))
    value = value if exactly else value * rng.uniform(0.7, 1.0, count)
    value = f.round(value) * rng.choice([-1.0, 1.0], count)
    value = np.clip(value, -f.largest, f.largest)
    size, ulps = np.abs(value), 2.0**-f.precision * rng.integers(0, 9, count)
    thrice = np.minimum(size, f.largest / 4) * 3 + least
    kinds = [np.zeros(count), size * ulps, size, size / 2, np.full(count, 1.0), thrice,
             np.abs(f.largest - size), np.full(count, f.largest / 2), np.full(count, 5.0)]  # fmt: skip
    radius = np.choose(rng.choice(len(kinds), count, p=[0.4, 0.2, *[0.4 / 7] * 7]), kinds)
    radius = np.where(np.isfinite(radius), radius, size) * (1.0 if exactly else rng.uniform(0.7, 1.0, count))
    bits = np.where(rng.random(count) < 0.5, 0, rng.integers(0, 32, count)).astype(np.uint8)
    radius = np.where(bits & ANYTHING, 0.0, radius)
    return RoundedArray(A, A.mids.lift(value), radius, None, bits)


# Comparison -----------------------------------------------------------------------------------------------------------


def different(element: Rounded, scalar: Rounded, A: RoundedArrays, wider: float, within: float, large: float) -> str:
    """What an array's element has that a ball has not, in words; empty if nothing.

    Its radius may be larger by `wider` of it, and `within`; `large` is the largest number of its operands.
    """
    mid, radius, spread = (float(v.mid()) for v in (scalar.exact, scalar.radius, scalar.spread))
    top = abs(mid) + radius + spread
    missing = scalar.specials & ~element.specials & ~(DOUBT if element.specials & ANYTHING else 0)
    if missing:
        return f"bits {element.specials} for {scalar.specials}"
    if not max(top, large) < LIMIT:
        return "" if (math.isfinite(mid) and math.isfinite(radius)) or element.specials & ANYTHING else "known"
    if element.specials != scalar.specials:
        # By a part of the radius a midpoint may be off.
        near = any(abs(radius + end - A.infinite) <= 2.0**-18 * radius for end in (mid, -mid))
        return "" if near and not element.specials & ANYTHING else f"bits {element.specials} for {scalar.specials}"
    if scalar.specials & ANYTHING:
        return ""
    off = abs(float(element.exact - scalar.exact)) + abs(float(element.spread) - spread)
    found = float(element.radius)
    # What float64 does not hold of a set's centre and width is radius.
    allowed = 4 * A.mids.slack * radius + max(found - radius, 0.0) + abs(mid) * 2.0**-100 + 5e-324
    if abs(mid) < 2 * A.infinite and off > allowed:
        return "centre"
    mantissa = math.frexp(mid)[0] if mid else 0.75
    straddles = min(abs(abs(mantissa) - 0.5), 1 - abs(mantissa)) < 2.0**-40  # the ulp of either binade may be counted
    if found > radius * (2 + wider if straddles else 1 + wider) + within + spread * 2.0**-52:
        return f"wider by {found / radius - 1 if radius else math.inf:.2g}"
    # What an infinity leads to, and the ball is widened to hold, may lie nearer to a centre that is off itself.
    held = found + (off if element.specials & DOUBT else 0.0)
    return "narrower" if held < radius * (0.49 if straddles else 1 - NARROWER) - 5e-324 else ""


def differences(name: str, A: RoundedArrays, count: int, seed: int) -> Iterator[str]:
    """Operands of which the two arithmetics say something else."""
    arity, operation = OPERATIONS[name]
    rng = np.random.default_rng([seed, list(OPERATIONS).index(name)])
    exactly = name not in ELEMENTARY
    x = [operand(A, count, rng, exactly) for _ in range(arity)]
    if name in ("select", "step"):  # arrays do not say on which side of 0 a number is that is near, beside its radius
        radius = np.minimum(x[0].radii(), np.minimum(np.abs(x[0].high), 2.0**1000) * 2.0**10)
        radius = np.where(radius == np.abs(x[0].high), radius / 2, radius)
        x[0] = RoundedArray(A, x[0].mid, radius, None, x[0].specials)
    for part, found in evaluated(A, operation, x):
        yield from (f"{name} of {said}" for said in compared(name, A, part, found))


def evaluated(
    A: RoundedArrays, operation: Operation, x: list[RoundedArray]
) -> Iterator[tuple[list[RoundedArray], RoundedArray]]:
    """An operation on arrays, without the elements of which double words say that they do not hold their digits."""
    try:
        with np.errstate(all="ignore"):
            yield x, operation(A, *x)
    except OutOfRange:
        half = x[0].shape[0] // 2
        for part in (slice(0, half), slice(half, None)) if half else ():
            yield from evaluated(A, operation, [_piece(v, part) for v in x])


def compared(name: str, A: RoundedArrays, x: list[RoundedArray], found: RoundedArray) -> Iterator[str]:
    """Where the elements of an operation's result are not what balls have, in words."""
    operation = OPERATIONS[name][1]
    # The sigmoid is several operations, and beyond float64 a bound.
    wider, within = (2.0**-18, A.half_tiny) if name == "sigmoid" else (WIDER, 5e-324)
    for i in range(x[0].shape[0]):
        said = ""
        for bits in (BITS, EXACTLY):  # a sum of very large and very small numbers takes many
            with precision(bits):
                at = [A.scalar(v, (i,), v.shape) for v in x]
                element, scalar = A.scalar(found, (i,), found.shape), operation(A.balls, *at)
                large = max(float((abs(v.exact) + v.radius).mid()) for v in at)
                said = different(element, scalar, A, wider, within, large)
            if not said:
                break
        if said:
            yield f"{at} in {A.format.name}: {element}, not {scalar}: {said}"


@contextmanager
def by_kernels(elements: int) -> Iterator[None]:
    """Operations of so many elements, or more, are done by kernels."""
    kept, array_values.COMPILED_FROM = array_values.COMPILED_FROM, elements
    try:
        yield
    finally:
        array_values.COMPILED_FROM = kept


def differing_kernels(name: str, A: RoundedArrays, count: int, seed: int) -> Iterator[str]:
    """Operands of which a kernel says something else than arrays: other bits, or a radius that is not within 1e-10."""
    arity, operation = OPERATIONS[name]
    rng = np.random.default_rng([seed, list(OPERATIONS).index(name)])
    x = [operand(A, count, rng, name not in ELEMENTARY) for _ in range(arity)]
    with by_kernels(1 << 60):
        array = operation(A, *x)
    with by_kernels(1):
        kernel = operation(A, *x)
    of_array, of_kernel = (np.zeros(count, np.uint8) if v.specials is None else v.specials for v in (array, kernel))
    with np.errstate(all="ignore"):
        apart = np.where((of_array & DOUBT) != 0, np.abs(array.high - kernel.high), 0.0)
        off = np.abs(array.radii() - kernel.radii()) > 1e-10 * array.radii() + apart
        # Beyond the format's largest number an ulp is no part of the number that slack could be held against.
        off |= np.abs(array.high - kernel.high) > A.slack * array.radii() + np.abs(array.high) * 2.0**-45 + 2.0**-1074
    wrong = (of_array != of_kernel) | (off & ((of_array & ANYTHING) == 0))
    for i in np.flatnonzero(wrong):
        at = [(v.high[i], v.radii()[i], v.bits if v.specials is None else v.specials[i]) for v in x]
        found = [(v.high[i], v.radii()[i], b[i]) for v, b in ((array, of_array), (kernel, of_kernel))]
        yield f"{name} of {at} in {A.format.name}: kernel {found[1]}, not {found[0]}"


def arithmetics() -> Iterator[RoundedArrays]:
    """Every format, where subnormal numbers are kept and where they are flushed; float32 in double words too."""
    for format in FORMATS.values():
        for profile in (OPENCL, STRICT):
            yield RoundedArrays(format, profile)
    yield RoundedArrays(FORMATS["float32"], OPENCL, exact=True)


def tried(task: tuple[str, int, int, int]) -> tuple[int, int, float, list[str]]:
    """How many operations of one kind were tried in every arithmetic by balls and by kernels, the seconds they took,
    and the first differences."""
    name, count, of_kernels, seed = task
    start, found, by_balls, compiled = time.perf_counter(), [], 0, 0
    for A in arithmetics():
        found += list(differences(name, A, count, seed))
        by_balls += count
        if A.mids is Plain and name in COMPILED and array_values.compiled() is not None:
            found += list(differing_kernels(name, A, of_kernels, seed))
            compiled += of_kernels
    return by_balls, compiled, time.perf_counter() - start, found


def main() -> int:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--operations", type=int, default=1_000_000)
    parser.add_argument("--kernels", type=int, default=10_000_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", help="the operations whose name has this in it")
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    names = [n for n in OPERATIONS if not options.only or options.only in n]
    known = list(arithmetics())
    each = max(1, options.operations // (len(names) * len(known)))
    batches = -(-each // 2000)
    plain = sum(A.mids is Plain for A in known) * max(1, sum(n in COMPILED for n in names))
    of_kernels = -(-options.kernels // (plain * batches))
    tasks = [(n, -(-each // batches), of_kernels, options.seed + k) for n in names for k in range(batches)]
    total, compiled, wrong = 0, 0, 0
    with ProcessPoolExecutor(options.jobs, mp_context=get_context("spawn")) as pool:
        for (name, *_, seed), (count, by_numba, seconds, found) in zip(tasks, pool.map(tried, tasks), strict=True):
            total, compiled, wrong = total + count, compiled + by_numba, wrong + len(found)
            if found:
                print(f"{name}, seed {seed}: {len(found)}, {seconds:.1f} s", *found[:3], sep="\n  ", flush=True)
    kernels = "by kernels" if array_values.compiled() is not None else "by kernels: numba is not installed"
    print(
        f"{total:,} operations by balls and arrays, {compiled:,} {kernels}: {wrong:,} of which they say something else"
    )
    return 1 if wrong or not total else 0


if __name__ == "__main__":
    sys.exit(main())
