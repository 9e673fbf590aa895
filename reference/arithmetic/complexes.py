"""Complex rounded arithmetic, as NumPy does it: what the complex-step derivative runs on.

A complex value is a pair of any real arithmetic's values; the real and imaginary parts of each operation follow NumPy's
loops (numpy/_core/src/umath/loops.c.src: `multiply`, and `divide` by Smith's method where |Re| >= |Im|, as it is for
every divisor here: 1 + e^z with a tiny imaginary part).
"""

from __future__ import annotations

from typing import Any

from gradconform.reference.arithmetic.exact import HandWritten


class Complex:
    """re + im·i over a real arithmetic."""

    __slots__ = ("im", "re")

    def __init__(self, re: Any, im: Any) -> None:
        self.re, self.im = re, im

    def _coerce(self, other: Any) -> Complex:
        return other if isinstance(other, Complex) else Complex(other, 0)

    def __neg__(self) -> Complex:
        return Complex(-self.re, -self.im)

    def __add__(self, other: Any) -> Complex:
        other = self._coerce(other)
        return Complex(self.re + other.re, self.im + other.im)

    __radd__ = __add__

    def __sub__(self, other: Any) -> Complex:
        return self + -self._coerce(other)

    def __rsub__(self, other: Any) -> Complex:
        return self._coerce(other) - self

    def __mul__(self, other: Any) -> Complex:
        other = self._coerce(other)
        return Complex(self.re * other.re - self.im * other.im, self.re * other.im + self.im * other.re)

    __rmul__ = __mul__

    def __truediv__(self, other: Any) -> Complex:
        other = self._coerce(other)
        ratio = other.im / other.re
        scale = 1 / (other.re + other.im * ratio)
        return Complex((self.re + self.im * ratio) * scale, (self.im - self.re * ratio) * scale)

    def __rtruediv__(self, other: Any) -> Complex:
        return self._coerce(other) / self

    def __pow__(self, power: int) -> Complex:
        if power != 2:
            raise TypeError(f"only the square is defined, got power {power!r}")
        return self * self


class ComplexOver(HandWritten):
    """Operations on `Complex` values whose parts belong to the real arithmetic `ops`."""

    def __init__(self, ops: Any) -> None:
        self.ops = ops

    def exp(self, z: Any) -> Any:
        """e^z = e^x·cos y + i·e^x·sin y (C17 G.6.3.1)."""
        if not isinstance(z, Complex):
            return self.ops.exp(z)
        modulus = self.ops.exp(z.re)
        return Complex(modulus * self.ops.cos(z.im), modulus * self.ops.sin(z.im))
