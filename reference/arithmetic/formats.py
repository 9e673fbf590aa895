"""Binary floating-point formats: what a dtype can hold and how it rounds (IEEE 754-2019 §3)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True)
class Format:
    """A binary format of `precision` significand bits, normal numbers from 2^emin to just below 2^(emax+1)."""

    name: str
    precision: int
    emin: int
    emax: int

    def round(self, values: ArrayLike) -> NDArray[np.float64]:
        """Round float64 `values` to nearest, ties to even, once; what overflows becomes ±inf.

        Every result is returned as the float64 that equals it, since float64 holds all four formats.
        """
        x = np.asarray(values, dtype=np.float64)
        if self.precision == 53:
            return x.copy()
        if self.precision == 24:  # which this computer rounds to itself
            with np.errstate(over="ignore"):
                return x.astype(np.float32).astype(np.float64)
        _, exponent = np.frexp(x)  # |x| = m·2^exponent with m in [1/2, 1)
        quantum = np.maximum(exponent - self.precision, self.emin - self.precision + 1)
        finite = np.isfinite(x)
        with np.errstate(over="ignore", invalid="ignore"):
            rounded = np.ldexp(np.rint(np.ldexp(x, -quantum)), quantum)
        rounded = np.where(np.abs(rounded) > self.largest, np.copysign(np.inf, x), rounded)
        return np.asarray(np.where(finite, rounded, x), dtype=np.float64)

    def holds(self, x: float) -> bool:
        """Whether x is a number of this format; infinities and NaN are."""
        if not math.isfinite(x) or x == 0:
            return True
        mantissa, exponent = math.frexp(abs(x))  # |x| = mantissa·2^exponent with mantissa in [1/2, 1)
        digits = min(self.precision, exponent - 1 - self.emin + self.precision)
        return digits > 0 and math.ldexp(mantissa, digits).is_integer() and abs(x) <= self.largest

    def shortest(self, values: ArrayLike) -> list[str]:
        """The shortest decimal of each number that is it once it is rounded to the format.

        >>> FLOAT32.shortest(FLOAT32.round(0.15))  # and not 0.15000000596046448
        ['0.15']
        """
        x = np.ravel(np.asarray(values, dtype=np.float64))
        texts = [repr(v).removesuffix(".0") for v in x.tolist()]
        left = np.flatnonzero(np.isfinite(x))
        for digits in range(1, 18):
            short = [f"{v:.{digits}g}" for v in x[left].tolist()]
            values = np.array([float(text) for text in short])
            same = np.isfinite(values) & (self.round(values) == x[left])
            for n in np.flatnonzero(same).tolist():  # 65500, and 2.28e+09
                texts[left[n]] = min(repr(float(values[n])).removesuffix(".0"), short[n], key=len)
            left = left[~same]
        return texts

    @cached_property
    def largest(self) -> float:
        """The largest finite number, (2 − 2^(1−p))·2^emax."""
        return math.ldexp(2.0 - 2.0 ** (1 - self.precision), self.emax)


FLOAT64 = Format("float64", 53, -1022, 1023)
FLOAT32 = Format("float32", 24, -126, 127)
FLOAT16 = Format("float16", 11, -14, 15)
BFLOAT16 = Format("bfloat16", 8, -126, 127)

#: The formats by the name that NumPy, PyTorch and JAX give them.
FORMATS = {f.name: f for f in (FLOAT64, FLOAT32, FLOAT16, BFLOAT16)}
