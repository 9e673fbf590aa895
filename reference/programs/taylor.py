"""Scalar functions in double words by Taylor polynomials: tables about evenly spaced nodes, made as they are needed.

About a node x₀ the function is Σ c_k·h^k, h = x − x₀, |h| ≤ 1/32, of 20 terms: the first ten in double words, the rest
in float64. Coefficients are arb's, and so is the bound on the remainder: the twentieth coefficient over all
of the node's interval. Everything else that the sum errs by is bounded by the sizes of its terms.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import numpy as np
from flint import arb, arb_series, ctx

from gradconform.reference.arithmetic.exact import precision
from gradconform.reference.arithmetic.midpoints import LOST, SMALL, Array, Double, DoubleArray

#: Nodes are 1/16 apart, up to 64 away from 0.
SPACING, FURTHEST = 2.0**-4, 64.0
#: Coefficients of a polynomial, and how many of them are double words.
TERMS, WORDS = 20, 10
#: Of the balls that coefficients are taken from: some tails are far smaller than what they are made of.
BITS = 400
#: A value that errs by more, relative to itself, is not known here.
SHARP = 2.0**-90
#: Elements that are evaluated at a time.
BLOCK = 1 << 14


def _sigmoid(x: arb_series) -> arb_series:
    return 1 / (1 + (-x).exp())


#: What the series of functions are; all are analytic at least 1.5 around every real number.
_SERIES: Mapping[str, Callable[[arb_series], arb_series]] = {
    "exp": lambda x: x.exp(),
    "expm1": lambda x: x.exp() - 1,
    "erf": lambda x: x.erf(),
    "erfc": lambda x: x.erfc(),
    "sin": lambda x: x.sin(),
    "cos": lambda x: x.cos(),
    "sigmoid": _sigmoid,
    "tanh": lambda x: (x.exp() - (-x).exp()) / (x.exp() + (-x).exp()),
    "sech": lambda x: 2 / (x.exp() + (-x).exp()),
    "softplus": lambda x: (1 + x.exp()).log(),
    "log_sigmoid": lambda x: -(1 + (-x).exp()).log(),
}
FUNCTIONS = frozenset(_SERIES)


@lru_cache(maxsize=1 << 15)
def _node(name: str, number: int) -> tuple[Any, Any, Array] | None:
    """A node's coefficients, high and low words, and bounds: of the sum's rounding, relative to h, and of what is left.

    The last are Σ |c_k|·H^(k − 1), Σ of the terms in float64 over h^10, and the remainder over h^20. None where a
    coefficient is not known well enough.
    """
    centre, reach = number * SPACING, SPACING / 2
    before = ctx.cap
    ctx.cap = TERMS + 1
    try:
        with precision(BITS):
            series = _SERIES[name](arb_series([arb(centre), 1], TERMS + 1))
            c = [series[k] for k in range(TERMS)]
            around = _SERIES[name](arb_series([arb(centre, reach), 1], TERMS + 1))[TERMS]
    finally:
        ctx.cap = before
    high, low = np.zeros(TERMS), np.zeros(WORDS)
    if not around.is_finite():
        return None
    for k, x in enumerate(c):
        if not x.is_finite() or (float(x.mid()) != 0 and x.rel_accuracy_bits() < 120):
            return None
        high[k] = float(x.mid())
        if k < WORDS:
            with precision(BITS):
                low[k] = float((x - high[k]).mid())
        if high[k] == 0 and float(abs(x).upper()) > 1e-110:
            return None
    if high[0] == 0 and not c[0].contains(0):
        return None
    size = np.abs(high)
    if size[0] and size[0] < SMALL:
        return None
    powers = reach ** np.arange(TERMS)
    first = float((size[1:] * powers[:-1]).sum())
    rest = float((size[WORDS:] * powers[: TERMS - WORDS]).sum())
    bounds = np.array([size[0], first, rest, float(abs(around).upper())]) * (1 + 2.0**-40)
    return high, low, bounds


def evaluated(name: str, x: DoubleArray) -> tuple[DoubleArray, Array, Any]:
    """The function of a row of numbers, what that errs by, and where: elsewhere it is not known here."""
    with np.errstate(all="ignore"):
        inside = np.abs(x.hi) <= FURTHEST
        number = np.rint(np.where(inside, x.hi, 0.0) / SPACING).astype(np.int64)
    distinct, which = np.unique(number, return_inverse=True)
    rows = [_node(name, n) for n in distinct.tolist()]
    fine = np.array([r is not None for r in rows])
    empty = (np.zeros(TERMS), np.zeros(WORDS), np.zeros(4))
    high, low, bounds = (np.stack([(r or empty)[part] for r in rows]).T.copy() for part in range(3))
    hi, lo, error = np.empty(x.hi.size), np.empty(x.hi.size), np.empty(x.hi.size)
    for start in range(0, x.hi.size, BLOCK):
        part = slice(start, start + BLOCK)
        of = which[part]
        with np.errstate(all="ignore"):
            # x − x₀ is exact in the high word: the two are close.
            away = x.hi[part] - distinct[of] * SPACING
            h = Double.add(Double.lift(away), Double.lift(x.lo[part]))
            tail = high[TERMS - 1][of]
            for k in range(TERMS - 2, WORDS - 1, -1):
                tail = tail * h.hi + high[k][of]
            value = Double.lift(tail)
            for k in range(WORDS - 1, -1, -1):
                value = Double.add(Double.multiply(value, h), DoubleArray(high[k][of], low[k][of]))
            off = np.abs(h.hi) * (1 + 2.0**-50)
            power = off**WORDS
            first, rest, around = (bounds[n][of] for n in (1, 2, 3))
            # Twenty operations of double words in a row; as many of float64 in the tail.
            error[part] = (
                2.0**-97 * (np.abs(value.hi) + bounds[0][of] * (off > 0) * 2.0 + off * first)
                + 2.0**-47 * power * rest
                + power * power * around * (1 + 2.0**-40)
                + np.where((np.abs(value.hi) < SMALL) & (off > 0), LOST, 0.0)
            )
        hi[part], lo[part] = value.hi, value.lo
    return DoubleArray(hi, lo), error, inside & fine[which] & (error <= np.abs(hi) * SHARP)
