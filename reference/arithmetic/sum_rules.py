"""The rules of sums and inner products, once, for every executor; see `rules`.

An executor adds up itself: `mid` is its sum, `moved` the sum of how far the terms move, `magnitude` that of the largest
sizes they may have, `bits` all that they may be besides. A rule says what a program's sum, in any order, errs by.

    limits     of a format its u, its smallest normal number, half of its smallest subnormal one, and its Ω
    narrow     whether the format has fewer bits than float32, in which its sums may be accumulated (hypothesis 3)
    sums       how they are: see `rounded.RoundedBalls`
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gradconform.reference.arithmetic.formats import FLOAT32
from gradconform.reference.arithmetic.function_rules import log, within
from gradconform.reference.arithmetic.rules import (
    Executor,
    Number,
    Value,
    divide,
    either,
    folded,
    once,
    operand,
    widened,
)
from gradconform.reference.arithmetic.specials import ANYTHING, NAN, NEGATIVE, OVERFLOWED, POSITIVE

#: Of a sum of numbers that are not negative little is known where its radius is more than a part so large of it.
HARDLY = 16

# Inner products -------------------------------------------------------------------------------------------------------


def of_products(E: Executor, times: Callable[[Number, Number], Number], a: Value, b: Value) -> tuple[Number, Number]:
    """How far products, or sums of them, move, and their largest sizes.

    `times` is the product, or the sum of products, of numbers that are not negative; or an upper bound of it.
    """
    ra, rb = operand(E, a), operand(E, b)
    size_a, size_b = E.size(a.mid), E.size(b.mid)
    return times(size_a, rb) + times(ra, size_b + rb), times(size_a + ra, size_b + rb)


def product_error(E: Executor, magnitude: Number, terms: Any, own: bool = False) -> Number:
    """What Σ a·b of k terms, summed in any order, errs by: at most k·u·Σ|a·b| (hypothesis 2; Higham §3.1).

    C. P. Jeannerod and S. M. Rump, "Improved error bounds for inner products in floating-point arithmetic", SIAM J.
    Matrix Anal. Appl. 34 (2013): k·u and no γ_k. In a 16-bit format the terms are accumulated in float32 or wider
    (hypothesis 3); `own` accumulates them in the format itself.
    """
    narrow = E.narrow and not own
    unit, normal, half_tiny, _ = E.limits(FLOAT32 if narrow else E.format)
    error = terms * (unit * magnitude + E.smaller(normal if E.flush else half_tiny, magnitude))
    return error * (1 + E.unit) if narrow else error


def inner_product(
    E: Executor, mid: Number, moved: Number, magnitude: Number, error: Number, bits: Number, own: bool = False
) -> Value:
    """Σ a·b that errs by `error`, rounded once where it was accumulated in a wider format."""
    narrow = E.narrow and not own
    *_, overflow = E.limits(FLOAT32 if narrow else E.format)
    result = once(E, mid, moved + error) if narrow else E.held(mid, E.size(mid), moved + error, 0)
    ordinary = (bits == 0) & (magnitude + error < overflow)
    if E.every(ordinary):
        return result
    # With an infinity or NaN among its terms no sum is finite; and a partial sum may, in some order, be infinite, and
    # two infinities cancel.
    unknown = (bits & ANYTHING) != 0
    infinite = ((bits & OVERFLOWED) != 0) | E.no(unknown | (magnitude + error < overflow))
    bits = bits | E.flag(infinite, OVERFLOWED) | E.pick(unknown, 0, result.bits)
    return E.value(result.mid, E.pick(unknown, E.zero, result.off), bits)


# Sums -----------------------------------------------------------------------------------------------------------------


def total(
    E: Executor, mid: Number, moved: Number, magnitude: Number, count: Any, bits: Number,
    ends: Callable[[Number], tuple[Number, Number]],
) -> Value:  # fmt: skip
    """Σ x of count + 1 terms that are not 0 (x + 0 = x), in any order: errs by at most count·u·Σ|x| (hypothesis 2).

    Numbers of a format do not underflow when they are added; a subnormal partial sum may be flushed. A 16-bit sum may
    be accumulated in float32 and rounded once (hypothesis 3): sharper by far, but for very few terms. `ends` says what
    partial sums, in some order, that err by so much may reach above 0 and below.
    """
    size = E.size(mid)
    unit, normal, _, _ = E.limits(E.format)
    radius = moved + _accumulated(E, count, unit, normal, magnitude)
    if E.narrow:
        unit, normal, _, _ = E.limits(FLOAT32)
        wide = moved + _accumulated(E, count, unit, normal, magnitude)
        rounded_once = widened(E, size, wide, E.unit * (size + wide))
        some = rounded_once if E.sums == "wide" else E.larger(radius, rounded_once)
        radius = E.pick(count > 0, some, radius)
    inside = magnitude + radius < E.overflow
    if not E.every(inside):
        above, below = ends(radius - moved)
        bits = bits | E.flag(E.no(inside | (above < E.infinite)), POSITIVE)
        bits = bits | E.flag(E.no(inside | (below < E.infinite)), NEGATIVE)
        bits = bits | E.flag(E.no(E.finite(size) & E.finite(radius)), OVERFLOWED)
    if E.every(bits == 0):
        return E.held(mid, size, radius, bits)
    both = (bits & (POSITIVE | NEGATIVE)) == POSITIVE | NEGATIVE  # two infinities make a NaN
    return E.held(mid, size, E.pick((bits & ANYTHING) != 0, E.zero, radius), bits | E.flag(both, NAN))


def _accumulated(E: Executor, count: Any, unit: Number, tiny: Number, magnitude: Number) -> Number:
    """What `count` additions of partial sums of at most `magnitude` err by, flushing included."""
    error = count * unit * magnitude
    return error + E.smaller(count * tiny, magnitude) if E.flush else error


# Sums of numbers that are not negative --------------------------------------------------------------------------------


def reached(E: Executor, x: Value) -> Number:
    """What a sum of numbers that are not negative certainly reaches by one of its terms, if that is not flushed.

    Rounding is monotone, so that such a sum is, in any order, no less than any of its terms. That says something of it
    where the bound on its error reaches down to zero.
    """
    low = E.high(x.mid) - x.off - x.width
    return E.pick(low >= E.smallest_normal, low, E.zero)


def _hardly(E: Executor, total: Value, least: Number) -> tuple[Number, Number, Number]:
    """Where a sum's ball says little more than that it reaches `least`, and what it then lies between.

    Its upper end is more than a sixteenth above the middle: what float64 rounds logarithms and quotients of the ends by
    is far less than `upwards` makes of their distance.
    """
    v = E.high(total.mid)
    hardly = E.no(total.off * HARDLY < v) & (least > 0) & (total.bits == 0)
    return hardly, E.larger(least, v - operand(E, total)), v + total.off


def log_of_total(E: Executor, total: Value, least: Number) -> Value:
    """The logarithm of a sum of numbers that are not negative, which reaches `least`."""
    hardly, low, high = _hardly(E, total, least)
    result = log(E, total)
    if E.every(E.no(hardly)):
        return result
    low, high = E.math("log", low), E.math("log", high)
    middle = E.lift((low + high) / 2) if E.sums == "own" else E.function("log", total.mid)
    moved = E.upwards(E.larger(high - E.high(middle), E.high(middle) - low))
    return either(E, hardly, within(E, "log", middle, E.pick(hardly, moved, E.zero)), result)


def over_total(E: Executor, x: Value, total: Value, least: Number) -> Value:
    """x over a sum of numbers that are not negative, which reaches `least`."""
    hardly, low, high = _hardly(E, total, least)
    hardly = hardly & (x.bits == 0)
    result = divide(E, x, total)
    if E.every(E.no(hardly)):
        return result
    x = folded(E, x)
    r, low, high = operand(E, x), 1 / high, 1 / low
    middle = (low + high) / 2 if E.sums == "own" else 1 / E.high(total.mid)
    mid = x.mid * E.lift(middle) if E.sums == "own" else x.mid / total.mid
    off = E.larger(middle - low, high - middle)
    moved = E.upwards((E.size(x.mid) + r) * off + r * middle)
    moved = E.pick(E.is_zero(x), moved, E.above_zero(moved))
    return either(E, hardly, once(E, mid, E.pick(hardly, moved, E.zero)), result)


def part_of(E: Executor, x: Value, total: Value, least: Number) -> Value:
    """x/total, where x >= 0 is one of the terms of the total, all of them so; at the least a number of [0, 1].

    A term is flushed where it is added and where it is divided, or in neither place; the total may be by itself.
    """
    result = over_total(E, x, total, least)
    vague = ((result.bits & ANYTHING) != 0) & ((total.bits & (OVERFLOWED | ANYTHING)) == 0)
    if E.every(E.no(vague)):
        return result
    part = x.mid / total.mid
    part = E.pick_mid(E.finite(E.size(part)), part, E.lift(E.half))
    radius = E.upwards(E.larger(E.size(part), 1 - E.high(part)))
    # 0/0, where all of them underflow; x/0, where only the sum of such small numbers is flushed.
    bits = E.flag(vague, NAN | POSITIVE if E.flush else NAN)
    return either(E, vague, E.value(part, radius, bits), result)
