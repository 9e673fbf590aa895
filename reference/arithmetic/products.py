"""Double words compiled by numba, where that is installed: sums and products of them, and products of matrices.

Sums and products of double words are those of `midpoints`, operation by operation, and so the same numbers; the error
of a product of two numbers, which is a number, is taken by fused multiply-add.

Blocks of BLOCK terms are added up as Dot2 of T. Ogita, S. M. Rump and S. Oishi, "Accurate sum and dot product", SIAM J.
Sci. Comput. 26 (2005), which keeps the errors of products and of sums and adds them up; the blocks as double words
(AccurateDWPlusDW, see `midpoints`), so that the error grows with the number of terms and not with its square.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import njit, types
from numba.extending import intrinsic
from numpy.typing import NDArray

OPTIONS = {"nogil": True, "error_model": "numpy", "fastmath": False}
#: Terms of a block.
BLOCK = 8
Array = NDArray[np.float64]


@intrinsic
def fma(context: Any, a: Any, b: Any, c: Any) -> Any:
    """a·b + c, rounded once."""
    return types.float64(types.float64, types.float64, types.float64), lambda _, builder, s, args: builder.fma(*args)


def jitted(kernel: Callable[..., Any], **options: Any) -> Any:
    """A kernel, kept in numba's cache where it finds a folder that it may write to."""
    options = {**OPTIONS, **options}
    try:
        return njit(cache=True, **options)(kernel)
    except RuntimeError:
        return njit(**options)(kernel)


@jitted
def _products(a: Any, b: Any, high: Any, low: Any, size: Any) -> None:
    """Add the rows of a times the columns of b to high + low, and the products' sizes to `size`."""
    columns = b.shape[1]
    h, e = np.empty(columns), np.empty(columns)
    for i in range(a.shape[0]):
        for first in range(0, a.shape[1], BLOCK):
            for j in range(columns):
                h[j] = a[i, first] * b[first, j]
                e[j] = fma(a[i, first], b[first, j], -h[j])
                size[i, j] += abs(h[j])
            for r in range(first + 1, min(first + BLOCK, a.shape[1])):
                for j in range(columns):
                    p = a[i, r] * b[r, j]
                    of_product = fma(a[i, r], b[r, j], -p)
                    s = h[j] + p
                    t = s - h[j]
                    e[j] += of_product + ((h[j] - (s - t)) + (p - t))
                    h[j] = s
                    size[i, j] += abs(p)
            for j in range(columns):
                s = high[i, j] + h[j]
                t = s - high[i, j]
                of_high = (high[i, j] - (s - t)) + (h[j] - t)
                u = low[i, j] + e[j]
                t = u - low[i, j]
                of_low = (low[i, j] - (u - t)) + (e[j] - t)
                of_high += u
                z = s + of_high
                rest = (of_high - (z - s)) + of_low
                s = z + rest
                high[i, j] = s
                low[i, j] = rest - (s - z)


@jitted
def _sums(ah: Any, al: Any, bh: Any, bl: Any, high: Any, low: Any) -> None:
    """AccurateDWPlusDW, as `midpoints.Double.add`."""
    for i in range(high.size):
        s = ah[i] + bh[i]
        t = s - ah[i]
        e = (ah[i] - (s - t)) + (bh[i] - t)
        u = al[i] + bl[i]
        t = u - al[i]
        f = (al[i] - (u - t)) + (bl[i] - t)
        e += u
        z = s + e
        f += e - (z - s)
        high[i] = z + f
        low[i] = f - (high[i] - z)


@jitted
def _multiples(ah: Any, al: Any, bh: Any, bl: Any, high: Any, low: Any) -> None:
    """DWTimesDW1, as `midpoints._product`."""
    for i in range(high.size):
        p = ah[i] * bh[i]
        e = fma(ah[i], bh[i], -p) + (ah[i] * bl[i] + al[i] * bh[i])
        high[i] = p + e
        low[i] = e - (high[i] - p)


def added(ah: Array, al: Array, bh: Array, bl: Array) -> tuple[Array, Array]:
    """The sum of double words."""
    return _of_flat(_sums, ah, al, bh, bl)


def multiplied(ah: Array, al: Array, bh: Array, bl: Array) -> tuple[Array, Array]:
    """The product of double words that are neither too small nor too large for it."""
    return _of_flat(_multiples, ah, al, bh, bl)


def _of_flat(kernel: Any, *words: Array) -> tuple[Array, Array]:
    high, low = np.empty(words[0].shape), np.empty(words[0].shape)
    kernel(*(np.ascontiguousarray(x).reshape(-1) for x in words), high.reshape(-1), low.reshape(-1))
    return high, low


def product(a: Array, b: Array) -> tuple[Array, Array, Array]:
    """A·B as high and low words, and a bound on their error.

    No product of two numbers may underflow: a few powers of two above float64's least normal number its error is a
    float64 number, too.

    Of a block of m terms, S the sum of their sizes: what is added to e comes to (m + 1.1)·u·S at most, each of these m
    sums and of the m − 1 additions to e errs by u of that, and so e by m·(m + 1.1)·u²·S. The addition of two double
    words errs by 3.1·u² of the result.
    """
    shape = (a.shape[0], b.shape[1])
    high, low, size = np.zeros(shape), np.zeros(shape), np.zeros(shape)
    _products(np.ascontiguousarray(a), np.ascontiguousarray(b), high, low, size)
    terms = a.shape[1]
    m, blocks = min(terms, BLOCK), -(-terms // BLOCK)
    # What the sizes' own sum is rounded by is in the last factor.
    size *= (m * (m + 1.1) + 3.1 * blocks) * 2.0**-106 * (1 + terms * 2.0**-52)
    return high, low, size
