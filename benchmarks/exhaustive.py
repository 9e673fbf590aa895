"""Every number of a 16-bit format: what PyTorch's sigmoid and its derivative give, judged by the array arithmetic.

    python benchmarks/exhaustive.py [--function sigmoid]

Both are held against every accepted form of them, all 65,536 bit patterns at once; of the patterns that are infinite or
NaN no formula says anything. Printed are the CPU seconds of the judging, the largest error in ulp, how many finite
inputs are left unknown, and how many answers are outside. Exit status 1 if one is left unknown.
"""

from __future__ import annotations

import argparse
import sys
import time
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from gradconform.reference.arithmetic.arrays import RoundedArray, RoundedArrays
from gradconform.reference.arithmetic.formats import FORMATS
from gradconform.reference.arithmetic.profiles import OPENCL
from gradconform.reference.array_judge import STANDINGS, Screen, standings_of
from gradconform.reference.derivations.activations import ACTIVATIONS
from gradconform.reference.equations import Form

Numbers = NDArray[Any]
PATTERNS = 1 << 16


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


def main() -> int:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--function", default="sigmoid")
    options = parser.parse_args()
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
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
