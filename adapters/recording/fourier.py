"""Discrete Fourier transforms as steps: the sum that each stands for, and how far a fast algorithm may be off it.

The definition is Σ x_j·ω^(jk) with exact twiddles. A fast algorithm writes the transform as passes over the factors of
its length. Each pass is a small transform and a product with a twiddle; later passes hand on what a pass errs by with
coefficients of modulus 1, and a pass reads numbers of which each is at most the sum of the moduli of some inputs, each
input in one of them. So every component errs by at most E·Σ|x_j|, 1 + E = Π (1 + ε_r + τ) over the factors r:

- τ, a product with a twiddle: √5·u for the product (R. Brent, C. Percival, P. Zimmermann, *Error bounds on complex
  floating-point multiplication*, Math. Comp. 76 (2007); 2·u with fused multiply-add), √2·u for a twiddle of which each
  part is off by u;
- ε_2 = u, an addition; a factor of 4 or 8 is two or three of 2;
- ε_p = (p + 7)·u of an odd p that forms sums and differences of the inputs j and p − j, multiplies these by cosines and
  sines and adds: three additions, a product and a rounded constant, (p − 1)/2 terms more, with coefficients of at most
  1 of both the sum and the difference.

It is the componentwise form of N. J. Higham, *Accuracy and Stability of Numerical Algorithms*, 2nd ed. (2002), theorem
24.2, which has the norms of radix 2. A real transform may be one of half the length with one pass more, before or
after, which counts its error twice.

A length with a factor beyond 13 may be a convolution with a chirp of up to 2n − 1 numbers of modulus 1, by three
transforms of a length m ≤ 4n (Bluestein, Rader). Normwise a pass of factor r errs by at most √r·(ε_r + τ), which is
below 24·u·log2(r) for the factors up to 13; so a transform of length m by e = 24·u·log2(4n). By Cauchy's inequality
each of the three, and the product between them, then adds at most √(2n − 1) times its own error times Σ|x_j|, and the
products with the chirp before and after add τ each.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from gradconform.adapters.recording.complexes import Complexes, joined
from gradconform.reference.arithmetic.formats import FLOAT64, Format
from gradconform.reference.programs.record import ONE, STOPPED, ZERO, Ids, Numbers, Record

#: The largest factor of a length that passes are made for.
LARGEST_FACTOR = 13


def factors(n: int) -> list[int]:
    """The prime factors of a length."""
    found, p = [], 2
    while n > 1:
        while n % p == 0:
            found.append(p)
            n //= p
        p += 1
    return found


def bound(n: int, unit: float, real: bool = False) -> float:
    """E for a length and a unit roundoff."""
    twiddle = (math.sqrt(5) + math.sqrt(2)) * unit
    grown = math.expm1(sum(math.log1p((unit if p == 2 else (p + 7) * unit) + twiddle) for p in factors(n)))
    if any(p > LARGEST_FACTOR for p in factors(n)):
        once = 24 * unit * math.log2(4 * n)
        grown += math.sqrt(2 * n - 1) * ((1 + once) ** 3 * (1 + math.sqrt(5) * unit) - 1) + 2 * twiddle
    return 2 * (1 + grown) * (1 + twiddle + 2 * unit) - 2 if real and n > 1 else grown


@dataclass(frozen=True)
class Circle:
    """The ids of cos, sin and −sin of 2πk/n, by k; times 2 where the coefficient of a bin counts twice."""

    cos: Ids
    sin: Ids
    negative_sin: Ids

    @staticmethod
    def shown(n: int) -> Numbers:
        """cos and sin of 2πk/n in float64, by the eighth of the circle that k is in: exactly 0, 1 and −1 where they
        are."""
        k = np.arange(n)
        octant = 8 * k // n
        rest = 8 * k - octant * n  # of an eighth, in n-ths
        angle = np.where(octant % 2 == 0, rest, n - rest) * (math.pi / 4 / n)
        near, far = np.cos(angle), np.sin(angle)
        swapped = np.isin(octant, (1, 2, 5, 6))
        cos, sin = np.where(swapped, far, near), np.where(swapped, near, far)
        cos, sin = np.where(np.isin(octant, (2, 3, 4, 5)), -cos, cos), np.where(octant >= 4, -sin, sin)
        return np.stack([cos, sin])


@dataclass(frozen=True)
class Fourier:
    """Fourier transforms that record, in a format; `power` is that of the length by which a result is multiplied."""

    record: Record
    format: Format

    def complex(self, z: Ids, axes: Sequence[int], forward: bool, power: float, held: Numbers) -> Ids:
        def program(how: _Sums) -> Ids:
            found = how.scaled(z, [z.shape[a] for a in axes], power)
            for axis in axes:
                found = how.transform(found, axis, forward)
            return found

        return self._kernel("complex Fourier transform", program, held)

    def of_real(self, x: Ids, axes: Sequence[int], onesided: bool, power: float, held: Numbers) -> Ids:
        """Of real numbers, the last of the axes first; `onesided` gives only the first half of it and one more."""

        def program(how: _Sums) -> Ids:
            found = how.scaled(joined(x, np.full(x.shape, ZERO)), [x.shape[a] for a in axes], power)
            size = x.shape[axes[-1]]
            found = how.transform(found, axes[-1], True, size // 2 + 1 if onesided else size, real=True)
            for axis in axes[:-1]:
                found = how.transform(found, axis, True)
            return found

        return self._kernel("Fourier transform of real numbers", program, held)

    def to_real(self, z: Ids, axes: Sequence[int], size: int, power: float, held: Numbers) -> Ids:
        """The inverse of the transform of `size` real numbers along the last of the axes, of its first half."""

        def program(how: _Sums) -> Ids:
            lengths = [size if a == axes[-1] else z.shape[a] for a in axes]
            found = how.scaled(z, lengths, power)
            for axis in axes[:-1]:
                found = how.transform(found, axis, False)
            return how.real_of_half(found, axes[-1], size)

        return self._kernel("Fourier transform to real numbers", program, held)

    def _kernel(self, name: str, program: Callable[[_Sums], Ids], held: Numbers) -> Ids:
        record, format = self.record, self.format
        return Complexes(record, format).kernel(name, held, {
            "Σ x·ω^(jk)": lambda: program(_Sums(record, format, exactly=True)),
            "by passes": lambda: program(_Sums(record, format, exactly=False)),
        }, stated=1)  # fmt: skip


@dataclass(frozen=True)
class _Sums:
    """The sums of a transform: with exact twiddles, or as far off as a fast algorithm in the format may be.

    The latter are taken in float64 with rounded twiddles, which is part of what they may be off by.
    """

    record: Record
    format: Format
    exactly: bool

    @property
    def of(self) -> Complexes:
        return Complexes(self.record, self.format if self.exactly else FLOAT64)

    def scaled(self, z: Ids, lengths: Sequence[int], power: float) -> Ids:
        if not power:
            return z
        by = self.of.number(float(math.prod(lengths)))
        by = self.of.map("sqrt", by) if power == -0.5 else by
        return joined(*(np.where(x == ZERO, ZERO, self.of.map("divide", x, by)) for x in (z[..., 0], z[..., 1])))

    def circle(self, n: int, twice: bool = False) -> Circle:
        shown = Circle.shown(n) * (2.0 if twice else 1.0)
        if not self.exactly:
            cos, sin, minus = (self.record.constants(v) for v in (*shown, -shown[1]))
            return Circle(cos, sin, minus)
        eighth = self.of.map("divide", self.of.map("atan", np.asarray(ONE)), self.of.number(float(n)))
        angle = self.of.map("multiply", eighth, self.record.constants(8.0 * np.arange(n)))
        found = []
        for function, known in (("cos", shown[0]), ("sin", shown[1])):
            plain = np.isin(known, (0.0, 1.0, -1.0, 2.0, -2.0))
            value = self.of.map(function, angle)
            value = self.of.map("multiply", value, self.of.number(2.0)) if twice else value
            exact = self.record.constants(np.where(plain, known, 0.0))
            found.append(np.where(plain, exact, self.of.map(STOPPED, value)))
        return Circle(found[0], found[1], self.of.negative(found[1]))

    def transform(self, z: Ids, axis: int, forward: bool, outs: int | None = None, real: bool = False) -> Ids:
        """Along an axis of complex numbers; the first `outs` results."""
        x = np.moveaxis(z, axis, -2)
        n = x.shape[-2]
        turn, circle = np.outer(np.arange(outs or n), np.arange(n)) % n, self.circle(n)
        plus, minus = circle.sin[turn], circle.negative_sin[turn]
        of_re = np.stack([circle.cos[turn], plus if forward else minus], -1)
        of_im = np.stack([minus if forward else plus, circle.cos[turn]], -1)
        found = [self._sums(x, c) for c in (of_re, of_im)]
        if not self.exactly:
            found = [self._within(y, x, np.full(n, ONE), bound(n, self._unit, real)) for y in found]
        return np.moveaxis(joined(found[0], found[1]), -2, axis)

    def real_of_half(self, z: Ids, axis: int, n: int) -> Ids:
        """Σ over the whole spectrum, of which the second half is the conjugate of the first."""
        x = np.moveaxis(z, axis, -2)[..., : n // 2 + 1, :]
        bins = np.arange(x.shape[-2])
        single = (bins == 0) | (2 * bins == n)
        once, twice = self.circle(n), self.circle(n, twice=True)
        turn = np.outer(np.arange(n), bins) % n
        cos = np.where(single, once.cos[turn], twice.cos[turn])
        sin = np.where(single, ZERO, twice.negative_sin[turn])
        found = self._sums(x, np.stack([cos, sin], -1))
        if not self.exactly:
            weights = np.where(single, ONE, int(self.of.number(2.0)))
            found = self._within(found, x, weights, bound(n, self._unit, real=True))
        return np.moveaxis(found, -1, axis)

    @property
    def _unit(self) -> float:
        return float(2.0**-self.format.precision)

    def _sums(self, x: Ids, coefficients: Ids) -> Ids:
        flat = x.reshape(*x.shape[:-2], 1, -1)
        return self.record.sop(flat, coefficients.reshape(len(coefficients), -1), self.of.format)

    def _within(self, y: Ids, x: Ids, weights: Ids, relative: float) -> Ids:
        """y, off by at most so much of Σ|x|.

        A factor that the result is scaled by is three roundings more; the rounded twiddles of these sums are two.
        """
        sizes = np.where(x == ZERO, ZERO, self.of.map("absolute", x)).reshape(*x.shape[:-2], -1)
        total = self.record.sop(sizes, np.repeat(weights, 2), FLOAT64)
        off = self.of.map("multiply", total, self.of.number(relative + 5 * self._unit))
        return self.record.map("within", [y, off[..., None]], self.format)
