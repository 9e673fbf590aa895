"""The rules of elementary and piecewise functions, once, for every executor; see `rules`.

function       f(mid), by the executor's own means; `math`: a function of numbers, of which a rule makes a bound
raised         v + r, or more; `one_plus`: 1 + v − r, or less; `rise`: max(a − b, 0), or more
upwards        what outweighs the rounding of a bound's own computation
bound          of a function K, the format that it counts in, and whether one rounding follows (hypothesis 4)
"""

from __future__ import annotations

import math
from collections.abc import Callable

from gradconform.reference.arithmetic.rules import (
    Executor,
    Number,
    Value,
    add,
    besides,
    divided,
    folded,
    met,
    negative,
    once,
    operand,
    rounded,
)
from gradconform.reference.arithmetic.specials import ANYTHING, DOUBT, NAN, NEGATIVE, OVERFLOWED, POSITIVE
from gradconform.reference.equations import Slope

#: How far a function moves over a ball of radius r about v, where its value is f.
Moves = Callable[[Executor, Number, Number, Number], Number]
#: An argument from which on e^x is infinite in float32 and narrower formats (the logarithm of their largest number is
#: 88.73 at most). What a program holds it in that has it, rounds by no more than 2^−53.
DEEP = 89.0
#: An argument beyond which e^x is infinite, and e^−x is 0, in every format that a program may compute in.
FAR = 1e5
_TWO_OVER_ROOT_PI = math.nextafter(2 / math.sqrt(math.pi), math.inf)

# Hypothesis 4 ---------------------------------------------------------------------------------------------------------


def within(E: Executor, name: str, mid: Number, moved: Number) -> Value:
    """A function's value that moved so far, to K ulp of the exact value at the argument that the program holds."""
    bound, counted, rounds = E.bound(name)
    size = E.sized(name, mid)
    sup = size + moved
    error = E.pick(E.vanishes(sup), E.zero, bound * E.ulp(sup, counted))
    if rounds:
        return once(E, mid, moved + error)
    return rounded(E, mid, size, moved, error)


def moved(E: Executor, moves: Moves, x: Value, mid: Number) -> Number:
    """How far a function, of value `mid`, moves over its argument's ball."""
    r = operand(E, x)
    if E.shortcut(E.vanishes(r)):
        return r
    return E.pick(E.vanishes(r), E.zero, E.upwards(moves(E, E.high(x.mid), r, E.high(mid))))


def function(E: Executor, name: str, moves: Moves, x: Value) -> Value:
    x = folded(E, x)
    mid = E.function(name, x.mid)
    return met(E, name, within(E, name, mid, moved(E, moves, x, mid)), x)


# How far they move ----------------------------------------------------------------------------------------------------


def as_far(E: Executor, v: Number, r: Number, f: Number) -> Number:
    """|f'| <= 1."""
    return r


def exponential(E: Executor, v: Number, r: Number, f: Number) -> Number:
    """e^v·(e^r − 1); or e^(v + r)·(1 − e^−r), of which no factor is too small or too large where the result is not."""
    if E.every((r <= 1) & (f >= E.smallest_normal)):
        return f * E.math("expm1", r)
    return E.math("exp", E.raised(v, r)) * -E.math("expm1", -r)


def exponential_less_one(E: Executor, v: Number, r: Number, f: Number) -> Number:
    """The same of e^v − 1."""
    return exponential(E, v, r, E.pick(f > -0.5, 1 + f, E.zero))


def hyperbolic_sine(E: Executor, v: Number, r: Number, f: Number) -> Number:
    """2·cosh(|v| + r/2)·sinh(r/2)."""
    return 2 * E.math("cosh", abs(v) + r / 2) * E.math("sinh", r / 2)


def hyperbolic_cosine(E: Executor, v: Number, r: Number, f: Number) -> Number:
    """2·sinh(|v| + r/2)·sinh(r/2)."""
    return 2 * E.math("sinh", abs(v) + r / 2) * E.math("sinh", r / 2)


def hyperbolic_tangent(E: Executor, v: Number, r: Number, f: Number) -> Number:
    """Its derivative is at most 4·e^(−2|y|), and at most 1."""
    return r * E.smaller(1, 4 * E.math("exp", -2 * E.larger(abs(v) - r, E.zero)))


def gaussian(E: Executor, v: Number, r: Number, f: Number) -> Number:
    """The derivative of erf is 2/√π·e^(−y²), largest where |y| is smallest."""
    nearest = E.larger(abs(v) - r, E.zero)
    return _TWO_OVER_ROOT_PI * E.math("exp", -nearest * nearest) * r


def root(E: Executor, v: Number, r: Number, f: Number) -> Number:
    """|√y − √x| = |y − x|/(√y + √x)."""
    return E.pick(v > 0, r / (f + E.math("sqrt", E.larger(E.lowered(v, r), E.zero))), E.math("sqrt", r))


def logarithm(E: Executor, v: Number, r: Number, f: Number) -> Number:
    """r/(v − r); where that reaches 0, from the logarithm of the least number that the format has."""
    least = E.lowered(v, r)
    clear = least > 0
    far = r / least
    if E.every(clear):
        return far
    to_zero = E.larger(E.rise(f, E.log_of_tiny), E.rise(E.math("log", v + r), f))
    return E.pick(clear, far, E.pick(v > 0, to_zero, E.zero))


def logarithm_of_one_plus(E: Executor, v: Number, r: Number, f: Number) -> Number:
    """r/(1 + v − r)."""
    least = E.one_plus(v, r)
    return E.pick(least > 0, r / least, E.zero)


# Functions with poles and ends ----------------------------------------------------------------------------------------


def sqrt(E: Executor, x: Value) -> Value:
    """√x; where a program may hold a number below 0 for x it may be NaN, where x is one nothing is known."""
    x = folded(E, x)
    mid = E.function("sqrt", x.mid)
    result = within(E, "sqrt", mid, moved(E, root, x, mid))
    certain = E.high(x.mid) - x.off - E.rest(x.mid) >= 0
    if not E.every(certain):
        result = besides(E, result, E.flag(E.no(certain), NAN))
    result = met(E, "sqrt", result, x)
    known = (E.high(x.mid) >= 0) & ((x.bits & ANYTHING) == 0)
    return result if E.every(known) else E.unknown(result, E.no(known), ANYTHING | OVERFLOWED)


def log(E: Executor, x: Value) -> Value:
    """log x; where a program may hold 0 for x it is infinite, or the logarithm of a number that the format has."""
    x = folded(E, x)
    r, mid = operand(E, x), E.function("log", x.mid)
    result = within(E, "log", mid, moved(E, logarithm, x, mid))
    least = E.high(x.mid) - r - E.rest(x.mid)
    if E.every((least > 0) & (x.bits == 0)):
        return result
    to_zero = E.no(least > 0) & (E.high(x.mid) > 0) & (x.bits == 0)
    ends = E.pick(least >= 0, NEGATIVE, NEGATIVE | NAN)
    result = met(E, "log", besides(E, result, E.pick(to_zero, ends, 0)), x)
    known = to_zero | ((least > 0) & ((x.bits & (NEGATIVE | NAN | ANYTHING)) == 0))
    return E.unknown(result, E.no(known), ANYTHING | OVERFLOWED)


def log1p(E: Executor, x: Value) -> Value:
    """log(1 + x); where x may not be above −1 nothing is known of the result."""
    x = folded(E, x)
    mid = E.function("log1p", x.mid)
    result = met(E, "log1p", within(E, "log1p", mid, moved(E, logarithm_of_one_plus, x, mid)), x)
    known = (E.one_plus(E.high(x.mid), operand(E, x)) > 0) & ((x.bits & (NEGATIVE | NAN | ANYTHING)) == 0)
    return result if E.every(known) else E.unknown(result, E.no(known), ANYTHING | OVERFLOWED)


# Piecewise functions --------------------------------------------------------------------------------------------------


def positive_part(E: Executor, x: Value) -> Value:
    """max(x, 0), which moves no further than x and is not rounded."""
    x = folded(E, x)
    mid = E.positive(x.mid)
    return met(E, "positive_part", rounded(E, mid, E.size(mid), operand(E, x), E.zero), x)


def absolute(E: Executor, x: Value) -> Value:
    x = folded(E, x)
    mid = E.absolute_of(x.mid)
    return met(E, "absolute", rounded(E, mid, E.size(mid), operand(E, x), E.zero), x)


def _never(x: Value, bits: int) -> Number:
    """Where a value is certainly none of some specials."""
    return (x.bits & bits) == 0


def sides(E: Executor, x: Value) -> tuple[Number, Number]:
    """Whether the program certainly finds x > 0, and certainly x <= 0."""
    r, v, rest = operand(E, x), E.high(x.mid), E.rest(x.mid)
    over = (v - r - rest > 0) & _never(x, NEGATIVE | NAN | ANYTHING)
    return over, (v + r + rest <= 0) & _never(x, POSITIVE | NAN | ANYTHING)


def select(E: Executor, x: Value, above: Value, below: Value) -> Value:
    """`above` where x > 0, else `below`: two branches of a function that is continuous at x = 0."""
    x, above, below = folded(E, x), folded(E, E.coerce(above)), folded(E, E.coerce(below))
    over, under = sides(E, x)
    v = E.high(x.mid)
    # What is passed on may be flushed, as by a minimum or maximum.
    ra, rb = operand(E, above), operand(E, below)
    radius = E.pick(v > 0, ra, rb)
    if not E.every(over | under):
        gap = E.apart_mids(above.mid, below.mid)
        either = E.pick(v > 0, E.larger(ra, gap + rb), E.larger(rb, gap + ra))
        radius = E.pick(over | under, radius, E.upwards(either))
    return _chosen(E, x, above, below, E.pick_mid(v > 0, above.mid, below.mid), radius, E.zero, over, under)


def _chosen(
    E: Executor, x: Value, above: Value, below: Value, mid: Number, radius: Number, width: Number,
    over: Number, under: Number,
) -> Value:  # fmt: skip
    """A choice between two branches, with the specials of those that may be taken."""
    bits = x.bits | above.bits | below.bits
    if not E.every(bits == 0):
        bits = E.pick(under, 0, above.bits) | E.pick(over, 0, below.bits)
        # A choice by NaN may be either branch, or NaN itself; it is none where x is certainly on a side.
        bits = bits | (x.bits & (NAN | ANYTHING))
    return E.held(mid, E.zero, radius, bits, width)


def step(E: Executor, x: Value, above: Value, below: Value) -> Value:
    """The slope of a kink at x = 0: `above` for x > 0, `below` for x < 0, all between them where x may be 0."""
    x, above, below = folded(E, x), E.coerce(above), E.coerce(below)
    r, v, rest = operand(E, x), E.high(x.mid), E.rest(x.mid)
    over = (v - r - rest > 0) & _never(x, NEGATIVE | NAN | ANYTHING)
    under = (v + r + rest < 0) & _never(x, POSITIVE | NAN | ANYTHING)
    # Where x is known to be at one side and the program may find itself at the other, the slope is that side's.
    first = over | (v > 0)
    crossing = E.no(over | under) & E.is_away(v, r)
    kink = E.no(over | under | crossing)
    mid = E.pick_mid(first, above.mid, below.mid)
    radius, width = E.pick(first, above.off, below.off), E.pick(first, above.width, below.width)
    if not E.every(over | under):
        a, b = folded(E, above), folded(E, below)
        either = E.apart_mids(a.mid, b.mid) + E.pick(first, b.off, a.off)
        radius = E.pick(crossing, E.larger(radius, E.upwards(either)), radius)
        # A set's ends are numbers that a program takes: it is not enlarged. What is below its last bit is radius.
        half, rest = E.half_width(a.mid, b.mid)
        mid = E.pick_mid(kink, E.middle(a.mid, b.mid), mid)
        radius, width = E.pick(kink, E.larger(a.off, b.off) + rest, radius), E.pick(kink, half, width)
    return _chosen(E, x, above, below, mid, radius, width, over, under)


# Functions of their own -----------------------------------------------------------------------------------------------


def sigmoid(E: Executor, x: Value) -> Value:
    """σ(x) = 1/(1 + e^−x); where x is hardly known, still a number of [0, 1].

    An exponential is not negative, so the divisor as computed is at least 1 and the quotient lies in [0, 1]: that
    bounds it where the ball of 1 + e^−x, being symmetric, reaches down to zero.
    """
    one = E.coerce(1.0)
    divisor = add(E, one, function(E, "exp", exponential, negative(E, x)))
    result = divided(E, one, divisor, E.high(one.mid))
    if E.every((result.bits == 0) & (E.high(x.mid) > -DEEP)):
        return result
    x = folded(E, x)
    vague = ((result.bits & ANYTHING) != 0) & ((x.bits & ANYTHING) == 0)
    # The 0 that an infinite e^−x makes of it is the program's own.
    bits = E.pick(vague, x.bits & (NAN | DOUBT), (result.bits & (OVERFLOWED | ANYTHING)) | (x.bits & DOUBT))
    v, r = E.high(x.mid), x.off
    # At most 1/e^−(x + r), with a few roundings.
    deep = (v + r < -DEEP) & ((x.bits & (POSITIVE | ANYTHING)) == 0)
    size = E.math("exp", E.smaller(E.raised(v, r), E.zero)) * (1 + 2.0**-20) + E.least
    radius = E.pick(deep & (vague | E.no(result.off < size)), size, result.off)
    if E.every(E.no(vague)):
        return E.value(result.mid, radius, bits)
    part, of_one = _part_of_one(E, x)
    return E.value(E.pick_mid(vague, part, result.mid), E.pick(vague & E.no(deep), of_one, radius), bits)


def _part_of_one(E: Executor, x: Value) -> tuple[Number, Number]:
    """σ(x), of which no more is known than that a program, too, has it between 0 and 1."""
    v, one = E.high(x.mid), E.coerce(1.0).mid
    small = E.function("exp", -E.absolute_of(x.mid))
    part = E.pick_mid(v < -FAR, E.nothing, E.pick_mid(v < 0, small, one) / (one + small))
    value = E.high(part)
    return part, E.upwards(E.larger(value, 1 - value))


def derivative(E: Executor, z: Value, rule: Slope) -> Value:
    """f'(z) by any program for it: within K'·(ulp(f') + u·|z·f''|), K' = 4 + 2K·(ulp_K/ulp).

    K is the largest bound of the primitives that programs for it use, counted in ulp_K. Two of them, four roundings
    in units of the result, and the argument's last bit, which counts where f' has a root.
    """
    z = folded(E, z)
    lost = (z.bits & (OVERFLOWED | ANYTHING)) != 0
    if E.every(lost):
        return E.unknown(E.value(E.pick_mid(lost, E.nothing, z.mid)), lost, ANYTHING)
    at = E.value(z.mid)
    slope, bent = rule.slope(E, at), rule.curvature(E, at)
    r, v = operand(E, z), E.high(z.mid)
    curvature, jump = E.bend(z, rule, bent), E.zero
    aside = E.vanishes(r) | (abs(v) > r)
    if not E.every(aside):
        curvature, jump = _about_zero(E, v, r, rule, curvature, E.no(aside))
        jump = E.pick(E.vanishes(slope.width), jump, E.zero)
    curvature = curvature + r * rule.third
    size, moved = E.size(slope.mid), E.upwards(jump + r * curvature)
    sup = size + slope.width + moved
    error = E.own(rule.primitives) * (E.ulp(sup, E.format) + E.unit * (abs(v) + r) * curvature)
    size = E.pick(E.is_zero(slope), size, E.above_zero(size))
    result = rounded(E, slope.mid, size, moved, error)
    result = E.value(result.mid, result.off, result.bits | z.bits, slope.width)
    known = E.finite(sup) & E.finite(error) & (((slope.bits | bent.bits) & ANYTHING) == 0) & E.no(lost)
    if E.every(known):
        return result
    return E.unknown(result, E.no(known), E.pick(lost, ANYTHING, ANYTHING | (result.bits & OVERFLOWED)))


def _about_zero(
    E: Executor, v: Number, r: Number, rule: Slope, curvature: Number, crossing: Number
) -> tuple[Number, Number]:
    """The largest |f''| at z and at the ends of a ball that reaches 0, and by how much f' jumps there.

    A kink of f' or f'' is at 0. On either side f'' moves by no more than `r` times its bound from what it is at that
    side's end, or at z; so f' moves by no more than its jump and `r` times the larger of these.
    """

    def bend(end: Number) -> Number:
        return E.bend_of(rule.curvature(E, E.value(E.lift(end))))

    for end in (v - r, v + r):
        curvature = E.larger(curvature, E.there(crossing, bend, end))
    return curvature, E.pick(crossing, 2 * E.upwards(rule.slope(E, E.coerce(0.0)).width), E.zero)


# What is known otherwise ----------------------------------------------------------------------------------------------


def reported(E: Executor, x: Value) -> Value:
    """A number that a framework reported for a value it may have kept in higher precision (hypothesis 9).

    It is known to half an ulp; where it may have been flushed when it was reported, to 2^emin.
    """
    size = E.size(x.mid)
    radius = E.larger(E.unit * size, E.half_tiny)
    if E.flush:
        radius = E.pick(size >= E.smallest_normal, radius, E.smallest_normal)
    return E.value(x.mid, radius, x.bits)


def unrounded(E: Executor, x: Value) -> Value:
    """The result of an operation before it was rounded, and maybe flushed, to x: x may be 0 where it was not."""
    x = folded(E, x)
    size = E.size(x.mid)
    error = E.larger(E.unit * (size + x.off), E.half_tiny)
    if E.flush:
        error = E.pick(size - x.off >= E.smallest_normal, error, E.larger(error, E.smallest_normal))
    return E.value(x.mid, x.off + error, x.bits)


def recentred(E: Executor, x: Value, truth: Value) -> Value:
    """What x may hold, around the truth's exact value: how far they are apart is a part of the radius."""
    gap = E.apart_mids(x.mid, truth.mid) + abs(x.width - truth.width)
    radius = x.off + E.pick(E.indistinct(x, truth, gap), E.zero, gap)
    known = ((x.bits | truth.bits) & ANYTHING) == 0
    if E.every(known):
        return E.value(truth.mid, radius, x.bits, truth.width)
    mid = E.pick_mid((truth.bits & ANYTHING) == 0, truth.mid, x.mid)
    return E.value(mid, E.pick(known, radius, x.off), x.bits, E.pick(known, truth.width, x.width))


def bounded(E: Executor, x: Value, low: Value, high: Value) -> Value:
    """A value that is known to lie between two others where it is finite, if its ball says less than that.

    Where nothing is known of one of them it bounds nothing.
    """
    low, high = folded(E, E.coerce(low)), folded(E, E.coerce(high))
    least, most = E.high(low.mid) - low.off, E.high(high.mid) + high.off
    half = E.half_of(least, most)
    unbounded = ((low.bits | high.bits) & ANYTHING) != 0
    vague = ((x.bits & ANYTHING) != 0) & ((x.bits & OVERFLOWED) != 0) & E.no(unbounded)
    kept = unbounded | (E.no(vague) & (x.off <= half))
    if E.every(kept):
        return x
    mid = E.pick_mid(kept, x.mid, E.lift((least + most) / 2))
    return E.value(mid, E.pick(kept, x.off, half), E.pick(vague, OVERFLOWED, x.bits), E.pick(kept, x.width, E.zero))
