"""Elementary functions of float64 for kernels, without a branch or a call: loops of them become vector instructions.

Each errs by a few units in the last place, far less than `midpoints.HOST_ULPS`; a test samples all of them. Infinities,
NaN, subnormal numbers and the ends of a domain are as in IEEE 754.

Sources: W. J. Cody and W. Waite, "Software Manual for the Elementary Functions" (1980), for the reduction of arguments;
the functions of what is left are their own Taylor polynomials. N. J. Higham, "Accuracy and Stability of Numerical
Algorithms", 2nd ed., §1.14.1, for log(1 + x) by the logarithm of a rounded sum. Needs numba.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

from gradconform.reference.arithmetic.products import OPTIONS, fma

INLINE = {**OPTIONS, "forceinline": True}


@intrinsic
def bits(context: Any, x: Any) -> Any:
    return types.int64(types.float64), lambda c, b, s, a: b.bitcast(a[0], ir.IntType(64))


@intrinsic
def of_bits(context: Any, x: Any) -> Any:
    return types.float64(types.int64), lambda c, b, s, a: b.bitcast(a[0], ir.DoubleType())


#: ln 2 to 53 bits, and the next 53; its reciprocal.
_LN2, _MORE_LN2, _PER_LN2 = (
    float.fromhex("0x1.62e42fefa39efp-1"),
    float.fromhex("0x1.abc9e3b39803fp-56"),
    1 / math.log(2),
)
#: A float64 number to which others are added that they be rounded to whole ones.
_WHOLE = 1.5 * 2.0**52
_C2, _C3, _C4, _C5, _C6, _C7, _C8, _C9, _C10, _C11, _C12, _C13 = (1 / math.factorial(k) for k in range(2, 14))
_L1, _L2, _L3, _L4, _L5, _L6, _L7, _L8, _L9, _L10, _L11 = (2 / (2 * k + 1) for k in range(1, 12))
_ROOT_OF_HALF = 0x3FE6A09E667F3BCD  # the bits of √½
_LEAST_NORMAL = 2.0**-1022


@njit(**INLINE)
def power(n: Any) -> Any:
    """2^n of a whole number from −2044 to 2046, rounded to 0 or to infinity beyond float64's own."""
    half = n >> 1
    return of_bits((half + 1023) << 52) * of_bits((n - half + 1023) << 52)


@njit(**INLINE)
def _reduced(x: Any) -> tuple[Any, Any]:
    """k and e^r − 1, where x = k·ln 2 + r and |r| <= ½·ln 2: the rest of the polynomial is below 2^−57 of it."""
    whole = fma(x, _PER_LN2, _WHOLE)
    n = whole - _WHOLE
    r = fma(-n, _MORE_LN2, fma(-n, _LN2, x))
    r2 = r * r
    r4 = r2 * r2
    low = fma(r, _C3, _C2)
    middle = fma(r2, fma(r, _C7, _C6), fma(r, _C5, _C4))
    high = fma(r4, fma(r, _C13, _C12), fma(r2, fma(r, _C11, _C10), fma(r, _C9, _C8)))
    return bits(whole) - bits(_WHOLE), fma(r2, fma(r2, fma(r4, high, middle), low), r)


@njit(**INLINE)
def exp(x: Any) -> Any:
    # Beyond these e^x is 0 or infinite. A comparison with NaN is false.
    k, e = _reduced(-746.0 if x < -746 else 710.0 if x > 710 else x)
    half = k >> 1
    return (1 + e) * of_bits((half + 1023) << 52) * of_bits((k - half + 1023) << 52)


@njit(**INLINE)
def expm1(x: Any) -> Any:
    """2^k·((e^r − 1) + (1 − 2^−k)), whose sum is at least a third of the larger term."""
    k, e = _reduced(-40.0 if x < -40 else 710.0 if x > 710 else x)
    half = k >> 1
    of_k = e + (1 - of_bits(max(1023 - k, 0) << 52))
    found = of_k * of_bits((half + 1023) << 52) * of_bits((k - half + 1023) << 52)
    return x if x == 0 else found


@njit(**INLINE)
def tanh(x: Any) -> Any:
    e = expm1(-2 * abs(x))
    return math.copysign(e / (2 + e), x)


@njit(**INLINE)
def log(x: Any) -> Any:
    """k·ln 2 + log m, where x = 2^k·m; log m = 2·artanh(s), s = (m − 1)/(m + 1), its polynomial's rest below 2^−65."""
    small = x < _LEAST_NORMAL
    of_x = bits(x * 2.0**54 if small else x)
    k = (of_x - _ROOT_OF_HALF) >> 52
    f = of_bits(of_x - (k << 52)) - 1
    s = f / (2 + f)
    z = s * s
    z2 = z * z
    z4 = z2 * z2
    low = fma(z2, fma(z, _L4, _L3), fma(z, _L2, _L1))
    high = fma(z4, fma(z2, _L11, fma(z, _L10, _L9)), fma(z2, fma(z, _L8, _L7), fma(z, _L6, _L5)))
    n = float(k - 54 if small else k)
    found = fma(n, _LN2, fma(n, _MORE_LN2, fma(s * z, fma(z4, high, low), 2 * s)))
    ends = math.inf if x > 0 else (-math.inf if x == 0 else math.nan)
    return found if 0 < x < math.inf else ends


@njit(**INLINE)
def log1p(x: Any) -> Any:
    """The logarithm of the sum as it is rounded, and what was rounded off, in proportion."""
    total = 1 + x
    rest = (1 - (total - x)) if x > 1 else (x - (total - 1))
    found = log(total)
    # Of the ends, and of numbers of which nothing was rounded off, the logarithm of the sum is all.
    return x if x == 0 else found if rest == 0 or not (0 < total < math.inf) else found + rest / total


#: What kernels have for functions of `math`.
FUNCTIONS: Mapping[str, Callable[[Any], Any]] = {"exp": exp, "expm1": expm1, "tanh": tanh, "log": log, "log1p": log1p}
