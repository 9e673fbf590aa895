"""The rounding rules, once: what an operation makes of balls, for every executor.

A value x has a midpoint `x.mid`, how far from it a program's number may be (`x.off`, its radius), `x.bits` for what it
may be besides (see `specials`), and `x.width`, half the width of the set that it stands for at a kink. The first
argument of each rule is its executor: `rounded.RoundedBalls` (balls, one number at a time), `arrays.RoundedArrays`
(whole arrays) or `kernels.Compiled` (numba). It has the format's constants and the primitives below; whatever it
computes is an upper bound where a rule adds it to a radius.

    size, high     |mid|, and mid, as a number; `rest` is what `high` leaves out of a midpoint, without its sign
    pick           one or the other by a condition; `larger`, `smaller`, `no` (not), `flag` (a bit or none)
    every          whether a condition holds of every element, as it does of ordinary ones. It guards work that only
                   other elements need: without the guard nothing changes
    shortcut       the same, of a condition that ordinary elements meet or not
    normal         whether every number of a ball is normal, or it is 0 alone, as ordinary ones are
    only           a rule for those elements alone that have special bits
    ulp            the unit in the last place of the largest number of a ball
    value          what the rule gives; `unknown`: the same but for elements of which nothing is known

A condition holds where it is certain. So `no(a >= b)` holds where a < b cannot be excluded.

Every rule widens a radius by

  propagation   what the operands' radii do to the result, in full, not to first order;
  rounding      u·sup|x| for a correctly rounded operation, K ulp for an elementary function (hypotheses 2 and 4),
                half of the smallest subnormal where the result may be subnormal;
  flushing      min(sup|x|, 2^emin) before and after an operation, only where a subnormal is possible (hypothesis 5).

Sources: N. J. Higham, "Accuracy and Stability of Numerical Algorithms", 2nd ed., §2.2, §3.1 and §3.3 (the standard
model, inner products, running error analysis); S. M. Rump, "Fast and parallel interval arithmetic", BIT 39 (1999)
(midpoint-radius arithmetic).
"""

from __future__ import annotations

from typing import Any

from gradconform.reference.arithmetic.specials import (
    ABOVE,
    ANYTHING,
    AT_ZERO,
    BELOW,
    DOUBT,
    NAN,
    NEGATIVE,
    OVERFLOWED,
    POSITIVE,
)

#: An executor; a value of it; a midpoint, a number or a condition of it: of an arb, an array or a float64, by executor.
Executor = Any
Value = Any
Number = Any

# Roundings ------------------------------------------------------------------------------------------------------------


def operand(E: Executor, x: Value) -> Number:
    """The radius of an operand, widened where it may be a subnormal number that the operation flushes."""
    if not E.flush:
        return x.off
    size = E.size(x.mid)
    if E.normal(size, x.off):
        return x.off
    sup = size + x.off
    kept = (size - x.off >= E.smallest_normal) | E.vanishes(sup)
    return x.off + E.pick(kept, E.zero, E.smaller(sup, E.smallest_normal))


def widened(E: Executor, size: Number, moved: Number, error: Number) -> Number:
    """How far from its midpoint a result may be that moved so far, errs by `error` and may be subnormal."""
    radius = moved + error
    normal = size - radius >= E.smallest_normal
    if E.shortcut(normal):
        return radius
    sup = E.number(size + moved)
    tiny = E.larger(error, E.smaller(sup, E.half_tiny))
    if E.flush:
        # What is flushed is the result as computed, below 2^emin: the exact one may be `error` above that.
        tiny = E.larger(tiny, E.smaller(sup, E.smallest_normal + tiny))
    return E.pick(normal, radius, moved + E.pick(E.vanishes(sup), E.zero, tiny))


def rounded(E: Executor, mid: Number, size: Number, moved: Number, error: Number) -> Value:
    """A result that is rounded once, and infinite where it may overflow (hypothesis 7)."""
    radius = moved + error
    finite = E.every(size + radius < E.overflow)
    if finite and E.normal(size, radius):
        return E.value(mid, radius)
    radius = widened(E, size, moved, error)
    if finite:  # it is no wider by as much as `overflow` is below the least number that is infinite
        return E.value(mid, radius)
    most, high = E.outwards(size, radius), E.high(mid)
    # What float64 holds no end of (`most` is infinite then) has a sign all the same, where it is far from 0.
    above = E.flag(E.no((high + most < E.infinite) | (high < -2 * radius)), POSITIVE)
    below = E.flag(E.no((most - high < E.infinite) | (high > 2 * radius)), NEGATIVE)
    return E.held(mid, size, radius, above | below)


def once(E: Executor, mid: Number, moved: Number) -> Value:
    """A result that moved so far and is rounded correctly."""
    size = E.size(mid)
    return rounded(E, mid, size, moved, E.unit * (size + moved))


def besides(E: Executor, x: Value, bits: Number) -> Value:
    """The same value, which may also be some specials."""
    return E.value(x.mid, x.off, x.bits | bits, x.width)


def either(E: Executor, condition: Number, a: Value, b: Value) -> Value:
    """One value or the other; neither is a set."""
    mid, radius = E.pick_mid(condition, a.mid, b.mid), E.pick(condition, a.off, b.off)
    return E.value(mid, radius, E.pick(condition, a.bits, b.bits))


def lost(E: Executor, size: Number, a: Value, b: Value) -> Number:
    """The size of a product or quotient, which is 0 only where a midpoint is: where numbers underflow, the least."""
    if not E.underflows or E.shortcut(size > 0):
        return size
    return E.pick((size == 0) & (E.size(a.mid) > 0) & (E.size(b.mid) > 0), E.least, size)


def once_more(E: Executor, x: Value) -> Value:
    """One rounding more of what was rounded to x, as where a quotient is a product with the reciprocal."""
    more = E.unit * (1 + E.unit) * (E.size(x.mid) + x.off)
    return E.value(x.mid, x.off + E.pick(x.bits == 0, more, E.zero), x.bits, x.width)


def converted(E: Executor, x: Value) -> Value:
    """A value of another format, rounded to this one; a number that this one has stays itself."""
    x = folded(E, x)
    result, kept = once(E, x.mid, x.off), E.is_number(x)
    return E.value(result.mid, E.pick(kept, E.zero, result.off), E.pick(kept, 0, result.bits) | x.bits)


def computed_within(E: Executor, x: Value, off: Value) -> Value:
    """x as it is computed with an error of at most |off|, whatever that is by, and rounded."""
    x, off = folded(E, x), folded(E, off)
    result = once(E, x.mid, x.off + E.upwards(E.size(off.mid) + off.off))
    return E.value(result.mid, result.off, result.bits | x.bits | off.bits)


# Sets -----------------------------------------------------------------------------------------------------------------


def folded(E: Executor, x: Value) -> Value:
    """The same value with the set's half width as a part of the radius."""
    return x if E.every(E.vanishes(x.width)) else E.value(x.mid, x.off + x.width, x.bits)


def as_set(E: Executor, whole: Value, width: Number) -> Value:
    """The set of the results, each rounded, of a `whole` that counts the set's half width as an error."""
    return E.value(whole.mid, E.without(whole.off, width), whole.bits, width)


# Infinities -----------------------------------------------------------------------------------------------------------


def ways(E: Executor, x: Value) -> Number:
    """The ways in which an operand can meet an infinity; see `specials`."""
    high, rest, size = E.high(x.mid), E.rest(x.mid), E.size(x.mid)
    positive = E.flag(E.no(high + x.off + rest <= 0), ABOVE)
    negative = E.flag(E.no(high - x.off - rest >= 0), BELOW)
    # It may be zero, or a subnormal number that is flushed.
    zero = E.flag(E.no(size - x.off - rest > (E.smallest_normal if E.flush else E.zero)), AT_ZERO)
    return (x.bits & OVERFLOWED) | positive | negative | zero


def met(E: Executor, operation: str, result: Value, x: Value) -> Value:
    """Add what an operation gives where its operand is infinite or NaN."""
    if E.every(x.bits == 0):
        return result
    return E.only(x.bits, _met, operation, result, x)


def met_by_two(E: Executor, operation: str, result: Value, a: Value, b: Value) -> Value:
    """The same of two operands."""
    bits = a.bits | b.bits
    if E.every(bits == 0):
        return result
    return E.only(bits, _met_by_two, operation, result, a, b)


def _met(E: Executor, operation: str, result: Value, x: Value) -> Value:
    return _besides(E, result, x.bits, E.of_one(operation, ways(E, x)))


def _met_by_two(E: Executor, operation: str, result: Value, a: Value, b: Value) -> Value:
    return _besides(E, result, a.bits | b.bits, E.of_two(operation, ways(E, a), ways(E, b)))


def _besides(E: Executor, result: Value, of_operands: Number, outcome: tuple[Number, Number, Number]) -> Value:
    """Add the specials of a table's row; its finite outcomes widen the ball to hold them."""
    specials, least, largest = outcome
    finite = least <= largest
    apart = E.larger(E.apart(result.mid, least), E.apart(result.mid, largest))
    radius = E.pick(finite, E.larger(result.off, apart), result.off)
    bits = result.bits | of_operands
    vague = E.pick((bits & OVERFLOWED) != 0, ANYTHING | OVERFLOWED, ANYTHING)
    unknown = ((bits & ANYTHING) != 0) | E.no(E.finite(radius))
    found = result.bits | (of_operands & DOUBT) | specials | E.flag(finite, DOUBT)
    return E.value(result.mid, E.pick(unknown, E.zero, radius), E.pick(unknown, vague, found))


# Operations -----------------------------------------------------------------------------------------------------------


def negative(E: Executor, x: Value) -> Value:
    bits = x.bits
    bits = (bits & (NAN | ANYTHING | DOUBT)) | ((bits & POSITIVE) * 2) | ((bits & NEGATIVE) // 2)
    return E.value(-x.mid, x.off, bits, x.width)


def add(E: Executor, a: Value, b: Value) -> Value:
    if E.every(E.vanishes(a.width) & E.vanishes(b.width)):
        return _add(E, a, b)
    return as_set(E, _add(E, folded(E, a), folded(E, b)), a.width + b.width)


def _add(E: Executor, a: Value, b: Value) -> Value:
    mid = a.mid + b.mid
    size, moved = E.size(mid), operand(E, a) + operand(E, b)
    error = E.unit * (size + moved)
    inexact = E.no(E.is_zero(a) | E.is_zero(b))
    if not E.shortcut(inexact):  # x + 0 = x
        error = E.pick(inexact, error, E.zero)
    return met_by_two(E, "add", rounded(E, mid, size, moved, error), a, b)


def multiply(E: Executor, a: Value, b: Value, exactly: Any = False) -> Value:
    """a·b; `exactly` says where one is a power of two, so that the product is not rounded."""
    if E.every(E.vanishes(a.width) & E.vanishes(b.width)):
        return _multiply(E, a, b, exactly)
    # The set of the products of one factor that is a set, and of the other as a ball.
    width = E.pick(E.vanishes(a.width), b.width * E.size(a.mid), a.width * E.size(b.mid))
    return as_set(E, _multiply(E, folded(E, a), folded(E, b), exactly), width)


def _multiply(E: Executor, a: Value, b: Value, exactly: Any) -> Value:
    ra, rb = operand(E, a), operand(E, b)
    mid = a.mid * b.mid
    size, moved = lost(E, E.size(mid), a, b), E.size(a.mid) * rb + ra * (E.size(b.mid) + rb)
    error = E.pick(exactly, E.zero, E.unit * (size + moved))
    return met_by_two(E, "multiply", rounded(E, mid, size, moved, error), a, b)


def square(E: Executor, a: Value) -> Value:
    """x·x, both factors the same number."""
    x = folded(E, a)
    r, mid = operand(E, x), x.mid * x.mid
    size, moved = lost(E, E.size(mid), x, x), r * (2 * E.size(x.mid) + r)
    return met(E, "square", rounded(E, mid, size, moved, E.unit * (size + moved)), x)


def scale(E: Executor, a: Value, power: float) -> Value:
    """Multiplication by a power of two: exact unless the result is subnormal or overflows."""
    x = folded(E, a)
    mid = E.scaled(x.mid, power)
    size, moved = lost(E, E.size(mid), x, x), E.times_power(operand(E, x), abs(power))
    result = met_by_two(E, "multiply", rounded(E, mid, size, moved, E.zero), x, E.coerce(power))
    return result if E.every(E.vanishes(a.width)) else as_set(E, result, E.times_power(a.width, abs(power)))


def divide(E: Executor, a: Value, b: Value) -> Value:
    """a/b; where b may be zero nothing is known of the result, but that it may be infinite or NaN."""
    return divided(E, a, b, E.zero)


def divided(E: Executor, a: Value, b: Value, at_least: Number) -> Value:
    """a/b of a divisor that is no smaller than `at_least` where its ball leaves out 0, though the ball may have lost
    the digits that say so.
    """
    a, b = folded(E, a), folded(E, b)
    ra, rb = operand(E, a), operand(E, b)
    mid = a.mid / b.mid
    least = E.size(b.mid) - rb - E.rest(b.mid)
    clear = least > 0
    least = E.larger(least, at_least)
    nothing = E.no(clear)
    if not E.every(clear):  # 0 or 0/0; of others nothing is known
        nothing = nothing & E.is_zero(a) & (b.bits == 0)
        mid = E.pick_mid(nothing, E.nothing, mid)
    size = lost(E, E.size(mid), a, b)
    moved = (ra + size * rb) / least
    result = met_by_two(E, "divide", rounded(E, mid, size, moved, E.unit * (size + moved)), a, b)
    if E.every(clear):
        return result
    return E.unknown(result, E.no(clear), E.pick(nothing, NAN, ANYTHING | OVERFLOWED))


def quotient(E: Executor, a: Value, b: Value) -> Value:
    """a/b, or as compilers have it by a constant or a repeated divisor, a·(1/b): one rounding more."""
    return once_more(E, divide(E, a, b))


def taken(E: Executor, least: int, most: int, x: Value, a: Value, b: Value) -> Value:
    """What a program takes of two for how a and b compare, x: where their difference is certainly of a sign from
    `least` to `most`, that a run had. Of others nothing is known. What is passed on may be flushed.
    """
    gap, reach = E.high(a.mid) - E.high(b.mid), operand(E, a) + operand(E, b)
    clear = E.vanishes(reach) | (abs(gap) > 2 * E.upwards(reach))
    sign = E.pick(gap > 0, 1.0, E.pick(gap < 0, -1.0, 0.0))
    known = clear & (sign >= least) & (sign <= most) & ((a.bits | b.bits) == 0)
    found = E.value(x.mid, operand(E, x), x.bits)
    return found if E.every(known) else E.unknown(found, E.no(known), ANYTHING | OVERFLOWED)


def no_further(E: Executor, least: float, most: float, x: Value) -> Value:
    """x; from the outermost of the two on, an argument that is as far beyond."""
    v, r = E.high(x.mid), x.off
    beyond, below = v - r > most, v + r < least
    mid = E.pick_mid(beyond, E.lift(most), E.pick_mid(below, E.lift(least), x.mid))
    return E.value(mid, E.pick(beyond | below, E.zero, r), x.bits, x.width)
