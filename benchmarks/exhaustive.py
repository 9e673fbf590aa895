"""Every number of a 16-bit format: what PyTorch's sigmoid and its derivative give, judged by the array arithmetic.

    python benchmarks/exhaustive.py [--function sigmoid] [--patterns 4194304]

Both are held against every accepted form of them, all 65,536 bit patterns at once; of the patterns that are infinite or
NaN no formula says anything. Printed are the CPU seconds of the judging, the largest error in ulp, how many finite
inputs are left unknown, and how many answers are outside. Exit status 1 if one is left unknown.

Then float32: so many of its 2^32 bit patterns, blocks of neighbours evenly spread over all of them, infinities and NaN
included, as they come; how many a second and core the rules evaluate, and are judged, by the first form of the value
and of the derivative: by NumPy alone and, where numba is installed, by kernels, block by block in turn.

    python benchmarks/exhaustive.py --sweep torch sigmoid tanh exp gelu softplus erf

does that of a sweep, in which the framework's own program is recorded: so many pieces of all float32 numbers, evenly
spread, asked and judged by a sweep's kernels and without these, piece by piece in turn, when the kernels are compiled.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from gradconform.conformance.sweep import chunk
from gradconform.conformance.sweep.numbers import MOST, Piece
from gradconform.reference.arithmetic import array_values
from gradconform.reference.arithmetic.arrays import RoundedArray, RoundedArrays
from gradconform.reference.arithmetic.formats import FORMATS
from gradconform.reference.arithmetic.profiles import OPENCL
from gradconform.reference.array_judge import STANDINGS, Screen, standings_of
from gradconform.reference.derivations.activations import ACTIVATIONS
from gradconform.reference.equations import Form, Formula

Numbers = NDArray[Any]
PATTERNS = 1 << 16
#: Of float32: so many at a time, which stay in a core's cache.
BLOCK = 1 << 13


def patterns(dtype: str) -> torch.Tensor:
    """Every bit pattern of a 16-bit format, as its numbers."""
    bits = torch.arange(PATTERNS, dtype=torch.int32).to(torch.int16)
    return bits.view(getattr(torch, dtype))


def answers(function: str, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """What PyTorch gives for every number: the value, and the derivative."""
    x = x.clone().requires_grad_()
    value = getattr(torch, function)(x)
    (slope,) = torch.autograd.grad(value, x, torch.ones_like(value))
    return value.detach(), slope


def judged(form: Form, A: RoundedArrays, known: dict[str, RoundedArray], got: Numbers) -> tuple[Screen, Numbers]:
    """How every answer stands by a form, as a place in STANDINGS."""
    value = form.formula(A, *(known[o] for o in form.operands))
    screen = Screen(form.name, A.format, got.shape)
    screen.add(got, value, 0, value)
    return screen, standings_of(value, np.arange(got.size), got, Screen.margin(A.mids))


def float32_patterns(start: int, count: int) -> Numbers:
    """Neighbouring bit patterns of float32."""
    return (np.arange(count, dtype=np.uint64) + np.uint64(start)).astype(np.uint32).view(np.float32)


def rates(function: str, total: int) -> Iterator[str]:
    """How many float32 numbers a second are evaluated and judged, by NumPy and by kernels, which take turns."""
    activation, A = ACTIVATIONS[function], RoundedArrays(FORMATS["float32"], OPENCL)
    ways: dict[str, Callable[..., RoundedArray]] = {"NumPy": over_arrays}
    if array_values.compiled() is not None:
        ways["kernels"] = import_module("gradconform.reference.arithmetic.fused").fused
    evaluated, judged, unknown = Counter[str](), Counter[str](), Counter[str]()
    starts = np.linspace(0, 2**32 - BLOCK, total // BLOCK, dtype=np.uint64).tolist()
    everywhere = np.linspace(0, 2**32 - 1, BLOCK, dtype=np.uint64).astype(np.uint32).view(np.float32)
    for n, x in enumerate([everywhere, *(float32_patterns(start, BLOCK) for start in starts)]):
        value, slope = (v.numpy() for v in answers(function, torch.from_numpy(x)))
        reads = {"g": np.ones_like(x), "z": x, "a": value}
        for what, form, got in (("value", activation.forward[0], value), ("derivative", activation.forms[0], slope)):
            for way, evaluate in ways.items():
                began = time.process_time()
                found = evaluate(A, form.formula, *(reads[o] for o in form.operands))
                middle = time.process_time()
                standing = standings_of(found, np.arange(BLOCK), got, Screen.margin(A.mids))
                if n:  # the first block, of numbers of every size, compiles
                    name = f"{what} by {way}"
                    evaluated[name] += middle - began  # type: ignore[assignment]
                    judged[name] += time.process_time() - began  # type: ignore[assignment]
                    unknown[name] += int((standing[np.isfinite(x)] == STANDINGS.index("unknown")).sum())
    for name in evaluated:
        rate = [len(starts) * BLOCK / seconds[name] / 1e6 for seconds in (evaluated, judged)]
        yield (
            f"float32 {function} {name}: {rate[0]:.1f} million a second and core, {rate[1]:.1f} with their judgement; "
            f"{unknown[name]} left unknown"
        )


def paces(adapter: str, name: str, pieces: int = 8) -> str:
    """How many float32 numbers a second a sweep asks and judges, by kernels and without."""
    seconds, many = Counter[int](), chunk.MANY
    ways = many, MOST + 1
    for n, first in enumerate([0, *np.linspace(0, 2**32 - MOST, pieces, dtype=np.uint64).tolist()]):
        task = chunk.Task(name, "float32", adapter, "opencl", Piece(first, MOST))
        for way in ways:
            chunk.MANY = way
            if way == many:
                chunk.asked(task)  # what is compiled is compiled once for a sweep
            began = time.process_time()
            chunk.asked(task)
            seconds[way] += (time.process_time() - began) if n else 0.0  # type: ignore[assignment]
    chunk.MANY = many
    by_kernels, without = (pieces * MOST / seconds[way] / 1e6 for way in ways)
    return (
        f"float32 sweep of {name} in {adapter}: {by_kernels:.2f} million a second and core by kernels, "
        f"{without:.2f} without, {by_kernels / without:.1f} times"
    )


def over_arrays(A: RoundedArrays, formula: Formula, *numbers: Numbers) -> RoundedArray:
    """As `fused`."""
    found: RoundedArray = formula(A, *map(A.given, numbers))
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--function", default="sigmoid")
    parser.add_argument("--patterns", type=int, default=1 << 22)
    parser.add_argument("--sweep", nargs="+", metavar="NAME", help="an adapter, and operators")
    options = parser.parse_args()
    if options.sweep:
        adapter, *names = options.sweep
        for name in names:
            print(paces(adapter, name), flush=True)
        return 0
    activation, missing = ACTIVATIONS[options.function], 0
    for dtype in ("bfloat16", "float16"):
        x = patterns(dtype)
        value, slope = (v.to(torch.float32).numpy() for v in answers(options.function, x))
        numbers = x.to(torch.float32).numpy()
        finite = np.isfinite(numbers)
        A = RoundedArrays(FORMATS[dtype], OPENCL)
        ones = np.ones_like(numbers)
        for what, forms, got, reads in (
            ("value", activation.forward, value, {"z": numbers}),
            ("derivative", activation.forms, slope, {"g": ones, "z": numbers, "a": value}),
        ):
            if array_values.compiled() is not None:  # which compiles, once for all runs
                for form in forms:
                    form.formula(A, *(A.given(reads[o]) for o in form.operands))
            start = time.process_time()
            known = {name: A.given(v) for name, v in reads.items()}
            best = np.full(PATTERNS, STANDINGS.index("unknown"))
            largest = 0.0
            for form in (f for f in forms if not f.unstable and not f.asked):
                screen, standing = judged(form, A, known, got)
                largest = max(largest, screen.max_ulp) if best.all() else largest
                best = np.where(standing == STANDINGS.index("inside"), standing, best)
                best = np.where(best == STANDINGS.index("unknown"), standing, best)
            seconds = time.process_time() - start
            unknown = int((best[finite] == STANDINGS.index("unknown")).sum())
            missing += unknown
            accepted = int((best[finite] == STANDINGS.index("inside")).sum())
            print(
                f"{dtype} {options.function} {what}: {finite.sum():,} finite inputs, {accepted:,} accepted, "
                f"{int(finite.sum()) - accepted - unknown:,} not certainly inside by arrays, {unknown:,} left unknown, "
                f"at most {largest:.3g} ulp; {seconds:.2f} s"
            )
    with np.errstate(all="ignore"):
        print(*rates(options.function, options.patterns), sep="\n")
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
