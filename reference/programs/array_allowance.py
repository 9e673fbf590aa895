"""A record with rounding, whole arrays at a time: `allowance` over `RoundedArrays`, each step in its own format.

Midpoints and radii of all numbers lie in columns by id. An infinity or NaN that is exactly so is its own midpoint, of
radius 0; what a number may be besides is in its specials. Where a program may overflow its paths are not followed
apart: the specials say what it may give, and the judge asks the balls.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from flint import arb

from gradconform.reference.arithmetic.array_values import NOTHING
from gradconform.reference.arithmetic.arrays import Remembered, RoundedArray, RoundedArrays
from gradconform.reference.arithmetic.formats import FLOAT32, FORMATS, Format
from gradconform.reference.arithmetic.function_rules import within
from gradconform.reference.arithmetic.midpoints import Array, Double, DoubleArray, Plain
from gradconform.reference.arithmetic.profiles import Profile
from gradconform.reference.arithmetic.rounded import ANYTHING, OVERFLOWED, Rounded, Sums
from gradconform.reference.arithmetic.rules import computed_within, converted, quotient
from gradconform.reference.arithmetic.sum_rules import inner_product, of_products, product_error
from gradconform.reference.outcomes import BranchingBalls, Choices, Special
from gradconform.reference.programs.allowance import OF_THE_ARITHMETIC, general, with_table
from gradconform.reference.programs.allowance import OPERATIONS as SCALAR
from gradconform.reference.programs.array_exact import Columned
from gradconform.reference.programs.contractions import blocks, contraction
from gradconform.reference.programs.record import (
    SPECIALS_OF_THEIR_OWN,
    STOPPED,
    ZERO,
    Ids,
    Numbers,
    Record,
    Step,
    Taken,
)
from gradconform.reference.programs.views import Reading, laid, place, reading, without_repeats
from gradconform.reference.programs.words import BY_HOST

_ENLARGED = 1 + 2.0**-30


class ArrayAllowed:
    """What a program may hold for each number of its record; arguments as of `Allowed`, `given` ids with their numbers.

    `wide` holds midpoints in double words, for numbers of float64, also where no step is of that format.
    """

    #: Whether what is NaN for certain is exactly so, as on one way through a program's overflows.
    follows = False

    def __init__(
        self,
        record: Record,
        profile: Profile,
        sums: Sums = "any",
        form: Taken = 0,
        given: Sequence[tuple[Ids, Numbers]] = (),
        wide: bool = False,
    ) -> None:
        self.record, self.form = record, form
        self.decisions = Columned(record.decisions)
        steps = list(all_of(record.steps))
        exact = wide or any(s.format.precision > FLOAT32.precision for s in steps)
        constants = with_table(profile)
        self.arithmetics = {n: RoundedArrays(profile.format(f), constants, exact, sums) for n, f in FORMATS.items()}
        #: One of the arithmetics that read these numbers.
        self.plain = self.arithmetics["float32"]
        size = record.size
        self.high, self.radius = np.array(record.held), np.zeros(size)
        for ids, numbers in given:
            self.high[ids.ravel()] = np.asarray(numbers, dtype=np.float64).ravel()
        self.low = np.zeros(size) if exact else None
        self.specials = np.zeros(size, dtype=np.uint8)
        #: Numbers that are the same as another, as the largest of a row is: `x == max(x)` compares one with itself.
        self.same = np.arange(size)
        self.given = np.ones(size, dtype=bool)
        for s in steps:
            self.given[s.out] = False
        self._unheld: dict[str, Any] = {}

    # Columns ----------------------------------------------------------------------------------------------------------

    def take(self, ids: Ids | Reading, A: RoundedArrays) -> tuple[RoundedArray, Any]:
        """The numbers as an arithmetic reads them; and which are exactly infinite or NaN, with a 1 in their place."""
        at = reading(ids)  # of views that repeat memory each number is looked at once
        high, radius, specials = at.once(self.high), at.once(self.radius), at.once(self.specials)
        odd: Any = None
        if not np.isfinite(high).all():
            odd = ~np.isfinite(high)
            high = np.where(odd, 1.0, high)
        low = None if self.low is None else at.once(self.low)
        unheld = self._not_of(A)
        if unheld is not None and (literal := at.once(unheld)).any():
            mid = high if low is None else DoubleArray(high, low)
            radius = radius + np.where(literal, A.rounding(mid), 0.0)
        seen = at.viewed(high)
        found = RoundedArray(A, seen if low is None else DoubleArray(seen, at.viewed(low)))
        found.radius = at.viewed(radius) if radius.any() else None
        if specials.any():
            found = found.besides(at.viewed(specials))
        return found, None if odd is None else at.viewed(odd)

    def _not_of(self, A: RoundedArrays) -> Any:
        """Which given numbers a format does not hold, or None."""
        name = A.format.name
        if name not in self._unheld:
            with np.errstate(all="ignore"):
                found = self.given & np.isfinite(self.high)
                found[found] = A.format.round(self.high[found]) != self.high[found]
            self._unheld[name] = found if found.any() else None
        return self._unheld[name]

    def put(self, ids: Ids, x: RoundedArray, odd: Any = None, values: Any = None) -> None:
        """Store results; `values` are what is exactly infinite or NaN, or known to be finite, where `odd`."""
        flat = place(ids)
        high, radius = laid(x.high, ids.shape), laid(x.radii(), ids.shape)
        specials: Any = 0 if x.specials is None else laid(x.specials, ids.shape)
        low: Any = 0.0 if self.low is None else laid(x.mid.lo, ids.shape)
        beyond = ~(np.isfinite(high) & np.isfinite(radius))
        if beyond.any():  # of what even float64 does not hold nothing is known
            high, radius, low = (np.where(beyond, 0.0, v) for v in (high, radius, low))
            specials = np.where(beyond, ANYTHING | OVERFLOWED, specials).astype(np.uint8)
        brim = (radius > 0) & ~np.isfinite(np.abs(high) + 2 * radius) & (np.abs(high) > radius)
        if brim.any():
            high, radius, low = _to_the_brim(high, radius, low, brim)
        if odd is not None and odd.any():
            odd, values = laid(odd, ids.shape), laid(np.asarray(values), ids.shape)
            high, radius, low = np.where(odd, values, high), np.where(odd, 0.0, radius), np.where(odd, 0.0, low)
            specials = np.where(odd, 0, specials).astype(np.uint8)
        self.high[flat], self.radius[flat], self.specials[flat] = high, radius, specials
        if self.low is not None:
            self.low[flat] = low

    def copy(self, ids: Ids, source: Ids) -> None:
        """The same numbers under other ids."""
        for column in (self.high, self.low, self.radius, self.specials):
            if column is not None:
                column[place(ids)] = reading(source).of(column).ravel()

    def forget(self, step: Step) -> None:
        """Take the results of a step as the framework held them, whatever was computed for them."""
        for inner in all_of([step]):
            at = place(inner.out)
            self.high[at], self.radius[at], self.specials[at] = self.record.held[at], 0.0, 0
            self.same[at] = inner.out.ravel()
            if self.low is not None:
                self.low[at] = 0.0

    def evaluate(self, steps: Iterable[Step] | None = None) -> ArrayAllowed:
        for step in self.record.steps if steps is None else steps:
            if step.out.size:
                with np.errstate(all="ignore"):
                    _RULES[step.kind](self, step, self.arithmetics[step.format.name])
        return self

    # Steps ------------------------------------------------------------------------------------------------------------

    def _map(self, step: Step, A: RoundedArrays) -> None:
        taken = [self.take(o, A) for o in step.readings]
        x = [_flat(v) for v, _ in taken]
        found = _shaped(mapped(A, step.function, x), step.out.shape)
        if step.function == "subtract":
            found = _without_itself(found, np.asarray(step.operands[0] == step.operands[1]))
        odds = [o for _, o in taken if o is not None]
        if not odds:
            self.put(step.out, found)
            return
        odd: Any = np.zeros(step.out.shape, dtype=bool)
        for o in odds:
            odd = odd | o
        values, surely_nan = self._beyond(step, odd)
        unknown = odd & np.isnan(values)  # NaN for certain, or not known: no path is followed
        if self.follows:
            unknown = unknown & ~surely_nan
        self.put(step.out, _unknown(found, unknown), odd & ~unknown, values)

    def _beyond(self, step: Step, odd: Any) -> tuple[Any, Any]:
        """What a function gives of operands of which some are infinite or NaN, by IEEE 754; NaN where that is not
        known, and where it is NaN for certain."""
        values, surely = np.full(step.out.shape, np.nan), np.zeros(step.out.shape, dtype=bool)
        operation = _OF_INFINITIES.get(step.function)
        if operation is None:
            return values, surely
        ends: list[Any] = []
        known: Any = True
        for o in step.operands:
            x, r = self.high[o[odd]], self.radius[o[odd]]
            clear = np.isinf(x) | (self.specials[o[odd]] == 0)
            known = known & clear
            ends.append([np.where(clear, v, np.nan) for v in (x - r, x + r)])
        results = [operation(*(e[i] for e, i in zip(ends, ends_of, strict=True)))
                   for ends_of in np.ndindex(*(2,) * len(ends))]  # fmt: skip
        agreed = results[0]
        for other in results[1:]:
            agreed = np.where(agreed == other, agreed, np.nan)
        values[odd], surely[odd] = agreed, known & np.isnan(results).all(axis=0)
        return values, surely

    def _sop(self, step: Step, A: RoundedArrays) -> None:
        taken = [self.take(o, A) for o in step.readings]
        if len(taken) == 1:
            self._sum(step, A, *taken[0])
            return
        (a, odd_a), (b, odd_b) = taken
        found = self._products(step, A, a, b)
        if odd_a is not None or odd_b is not None:
            rows: Any = np.zeros(step.out.shape, dtype=bool)
            for odd, operand in ((odd_a, step.operands[1]), (odd_b, step.operands[0])):
                if odd is not None:  # what is multiplied by the number 0 of every record is no term
                    rows = rows | (np.broadcast_to(odd, operand.shape) & (operand != ZERO)).any(axis=-1)
            values = self._of_infinite_terms(step, rows)
            unclear = rows & (np.isnan(values) | (False if found.specials is None else found.specials != 0))
            self.put(step.out, _unknown(found, unclear), rows & ~unclear, values)
            return
        self.put(step.out, found)

    def _of_infinite_terms(self, step: Step, rows: Any) -> Any:
        """What Σ a·b comes to in rows where a factor is infinite, by IEEE 754; NaN where that is not known, or NaN."""
        values = np.full(step.out.shape, np.nan)
        ids = [np.broadcast_to(o, (*step.out.shape, o.shape[-1]))[rows] for o in step.operands]
        term = (ids[0] != ZERO) & (ids[1] != ZERO)
        high = [self.high[i] for i in ids]
        sure = [
            np.isinf(x) | ((np.abs(x) > self.radius[i]) & (self.specials[i] == 0))
            for x, i in zip(high, ids, strict=True)
        ]
        sign = np.where(sure[0] & sure[1], np.sign(high[0]) * np.sign(high[1]), np.nan)
        infinite = term & ~(np.isfinite(high[0]) & np.isfinite(high[1]))
        values[rows] = np.where(infinite, sign * np.inf, 0.0).sum(axis=-1)
        return values

    def _sum(self, step: Step, A: RoundedArrays, x: RoundedArray, odd: Any) -> None:
        if odd is not None:
            held = np.where(odd, self.high[step.operands[0]], 0.0).sum(axis=-1)
            zeros = A.mids.where(odd, A.mids.lift(np.zeros(())), x.mid)
            x = RoundedArray(A, zeros, np.where(odd, 0.0, x.radii()), None, x.specials)
        found = A._sum(x, len(x.shape) - 1, False)
        if odd is None:
            self.put(step.out, found)
            return
        rows = odd.any(axis=-1)
        unclear = rows & (np.isnan(held) | (False if found.specials is None else found.specials != 0))
        self.put(step.out, _unknown(found, unclear), rows & ~unclear, held)

    def _products(self, step: Step, A: RoundedArrays, a: RoundedArray, b: RoundedArray) -> RoundedArray:
        how = contraction(step)
        some = [o != ZERO for o in map(without_repeats, step.operands)]
        padded = not (some[0].all() and some[1].all())
        if how.by_matrices:
            left, right = _moved(how.left, a), _moved(how.right, b)
            terms: Any = how.terms
            if padded:
                terms = how.left(step.operands[0] != ZERO).astype(np.float32) @ np.swapaxes(
                    how.right(step.operands[1] != ZERO).astype(np.float32), -1, -2
                )
            parts = [
                dots(A, x, y, terms[n], True) if padded else A.product(x, y.T)
                for n, x, y in ((n, _piece(left, n), _piece(right, n)) for n in range(how.size(how.batch)))
            ]
            return _moved(how.restored, _together(A, parts, np.stack))
        if not padded:
            counts = np.broadcast_to(how.terms, how.shape)
        else:
            counts = ((step.operands[0] != ZERO) & (step.operands[1] != ZERO)).sum(axis=-1)
        parts = [dots(A, _piece(a, p), _piece(b, p), counts[p]) for p in blocks(how.shape, how.terms)]
        return parts[0] if len(parts) == 1 else _together(A, parts, np.concatenate)

    def _product(self, step: Step, A: RoundedArrays) -> None:
        x, odd = self.take(step.readings[0], A)
        found = _piece(x, (..., 0))
        for k in range(1, step.operands[0].shape[-1]):
            found = A.multiply(found, _piece(x, (..., k)))
        if odd is not None:
            found = _unknown(found, odd.any(axis=-1))
        self.put(step.out, found)

    def _extreme(self, step: Step, A: RoundedArrays) -> None:
        ids = np.ascontiguousarray(step.operands[0])
        x, _ = self.take(ids, A)
        sign = 1.0 if step.kind == "maximum" else -1.0
        high, radius = sign * self.high[ids], x.radii()
        column = np.where(np.isnan(high), np.inf, high).argmax(axis=-1)[..., None]
        best = np.take_along_axis(ids, column, -1)
        top, own = (np.take_along_axis(v, column, -1) for v in (high, radius))
        same = self.same[ids] == self.same[best]
        exactly = (high == top) & (radius == 0) & (own == 0)
        least = (high - radius).max(axis=-1, keepdims=True)
        near = ~same & ~exactly & (high + radius >= least - np.abs(least) * 2.0**-50)
        several = near.any(axis=-1)
        flushed = A.radius_of(x)
        moved = radius if flushed is None else flushed
        wide = np.where(near | same, np.broadcast_to(moved, ids.shape), 0.0).max(axis=-1)
        mid, _ = self.take(best[..., 0], A)
        only = np.take_along_axis(np.broadcast_to(moved, ids.shape), column, -1)[..., 0]
        error = np.where(several, wide, only)
        bits = None
        if x.specials is not None:
            bits = np.bitwise_or.reduce(np.where(near | same, x.specials, x.specials & ANYTHING), axis=-1).astype(
                np.uint8
            )
        found = A.chosen(mid.mid, error) if several.any() else RoundedArray(A, mid.mid, error)
        if several.any() and not several.all():
            found = RoundedArray(A, found.mid, np.where(several, found.radii(), error), None, found.specials)
        if bits is not None:
            bits = bits if found.specials is None else bits | found.specials
            found = RoundedArray(A, found.mid, found.radii(), None, bits)
        taken = self.high[best[..., 0]]
        self.put(step.out, found, ~np.isfinite(taken), taken)
        self.same[step.out] = np.where(several, step.out, self.same[best[..., 0]])

    def _choose(self, step: Step, A: RoundedArrays) -> None:
        assert step.first is not None
        assert step.decided is not None
        taken = np.where(step.first, *step.operands)
        other = np.where(step.first, step.operands[1], step.operands[0])
        x, odd = self.take(taken, A)
        numbers = step.decided
        moved = A.radius_of(x)
        if moved is not x.radius:  # a compiler makes a maximum of what numbers decided, which may be flushed
            x = RoundedArray(A, x.mid, np.where(numbers != 0, moved, x.radii()), x.spread, x.specials)
        open_ = np.asarray((taken != other) & (numbers != 0))
        if open_.any():
            open_[open_] = self.open(numbers[open_], A)
        if open_.any():
            y, odd_other = self.take(other, A)
            radius = np.where(open_, np.maximum(x.radii(), A.separation(x, y) + y.radii()), x.radii())
            bits = [np.zeros(x.shape, np.uint8) if v.specials is None else v.specials for v in (x, y)]
            specials = np.where(open_, bits[0] | bits[1], bits[0])
            for o in (odd, odd_other):
                if o is not None:
                    specials = np.where(open_ & o, ANYTHING | OVERFLOWED, specials)
            odd = None if odd is None else odd & ~open_
            x = RoundedArray(A, x.mid, radius, None, specials.astype(np.uint8))
        self.put(step.out, x, odd, self.high[taken])

    def open(self, numbers: Ids, A: RoundedArrays) -> Any:
        """Which decisions a program may take otherwise than the run did, as far as the rounding says."""
        return self.decisions.asked(numbers, lambda distinct: self._open(distinct, A))

    def elsewhere(self) -> bool:
        """Whether some decision comes out otherwise here than in the run, or may."""
        d, A = self.decisions, self.plain
        numbers = np.flatnonzero(d.relation)
        if not numbers.size:
            return False
        left, right = d.left[numbers], d.right[numbers]
        with np.errstate(all="ignore"):
            before = d.holds(numbers, self.record.held[left] - self.record.held[right])
            now = d.holds(numbers, self.high[left] - self.high[right])
            finite = np.isfinite(self.high[left]) & np.isfinite(self.high[right])
            return bool(((before != now) & finite).any() or self._open(numbers, A).any())

    def _open(self, numbers: Ids, A: RoundedArrays) -> Any:
        d = self.decisions
        left, right = d.left[numbers], d.right[numbers]
        (x, odd_x), (y, odd_y) = self.take(left, A), self.take(right, A)
        both = x.radii() + y.radii()
        found = (both > 0) & ~(A.separation(x, y) / _ENLARGED > both * (1 + A.slack) * _ENLARGED)
        for v, odd in ((x, odd_x), (y, odd_y)):
            if v.specials is not None:
                found = found | ((v.specials & ANYTHING) != 0)
            if odd is not None:
                found = found & ~odd
        return found & (d.relation[numbers] != 0) & (self.same[left] != self.same[right])

    def _fused(self, step: Step, A: RoundedArrays) -> None:
        form = step.form(self.form)
        self.evaluate(form.steps)
        self.copy(step.out, form.results)
        if step.function.startswith(SPECIALS_OF_THEIR_OWN):
            at = np.flatnonzero(np.isnan(self.high[step.out.ravel()]))
            self.high[step.out.ravel()[at]], self.specials[step.out.ravel()[at]] = 0.0, ANYTHING | OVERFLOWED


_RULES: Mapping[str, Callable[[ArrayAllowed, Step, RoundedArrays], None]] = {
    "map": lambda allowed, step, A: allowed._map(step, A),  # which ways through overflows have of their own
    "sop": ArrayAllowed._sop,
    "product": ArrayAllowed._product,
    "maximum": ArrayAllowed._extreme,
    "minimum": ArrayAllowed._extreme,
    "choose": ArrayAllowed._choose,
    "fused": ArrayAllowed._fused,
}


def all_of(steps: Iterable[Step]) -> Iterable[Step]:
    """Steps, and all of the definitions and forms of kernels."""
    for step in steps:
        for form in (*step.forms, *(() if step.definition is None else (step.definition,))):
            yield from all_of(form.steps)
        yield step


# Sums of products -----------------------------------------------------------------------------------------------------


def dots(A: RoundedArrays, a: RoundedArray, b: RoundedArray, terms: Any, matrices: bool = False) -> RoundedArray:
    """Σ a·b over the last axis, of so many `terms` each: as `dot` of `RoundedBalls`.

    Element by element; or each row of a with each row of b, where they are `matrices`.
    """
    count = a.shape[-1]
    grown = 1 + (count + 4) * 2.0**-52

    def total(x: Any, y: Any) -> Any:
        if x is NOTHING or y is NOTHING:
            return NOTHING
        x, y = np.broadcast_to(x, a.shape), np.broadcast_to(y, b.shape)
        return np.asarray((x @ y.T if matrices else (x * y).sum(axis=-1)) * grown)

    propagated, magnitude = of_products(A, total, a, b)
    error = product_error(A, magnitude, terms)
    if matrices:
        mid = A.mids.product(a.mid, b.mid.T, error)
    else:
        mid = A.mids.sum(A.mids.multiply(a.mid, b.mid), len(a.shape) - 1, False)
    none = np.zeros(1 if matrices else (), np.uint8)
    bits = [none if x.specials is None else np.bitwise_or.reduce(x.specials, axis=-1) for x in (a, b)]
    found = bits[0][:, None] | bits[1] if matrices else bits[0] | bits[1]
    return inner_product(A, mid, propagated, magnitude, error, found)  # type: ignore[no-any-return]


# Scalar functions -----------------------------------------------------------------------------------------------------


def _without_itself(x: RoundedArray, same: Any) -> RoundedArray:
    """A difference that is exactly 0 where both numbers are one, whatever that was rounded to."""
    same = same if x.specials is None else same & (x.specials == 0)
    if not same.any():
        return x
    A = x.arithmetic
    mid = A.mids.where(same, A.mids.lift(np.zeros(())), x.mid)
    return RoundedArray(A, mid, np.where(same, 0.0, x.radii()), None, x.specials)


def mapped(A: RoundedArrays, name: str, x: Sequence[RoundedArray]) -> RoundedArray:
    """A function of the table, as a program may compute it."""
    rule = OPERATIONS.get(name)
    if rule is not None:
        return rule(A, *x)
    if name in BY_HOST and A.mids is Plain and not A.profile.lenient:
        return _by_host(A, name, x[0])
    return _by_balls(A, name, tuple(x))


def _by_host(A: RoundedArrays, name: str, x: RoundedArray) -> RoundedArray:
    """A function of numbers known exactly, by this computer's own and K ulp; of others, and of poles, by balls."""
    with np.errstate(all="ignore"):
        mid = np.asarray(BY_HOST[name](x.high))
        moved = A.radius_of(x)
        clear = np.isfinite(mid) & np.broadcast_to(True if moved is None else moved == 0, mid.shape)
        if x.specials is not None:
            clear = clear & (x.specials == 0)
        if 2 * clear.sum() < clear.size:
            return _by_balls(A, name, (x,))
        found: RoundedArray = within(A, name, np.where(clear, mid, 0.0), NOTHING)
    if clear.all():
        return found
    rest = np.flatnonzero(~clear)
    others = _by_balls(A, name, (_piece(_flat(x), rest),))
    radius, bits = np.array(found.radii()), np.zeros(mid.shape, np.uint8)
    bits = bits if found.specials is None else np.array(found.specials)
    mid = np.array(found.mid)
    mid[rest], radius[rest] = others.mid, others.radii()
    bits[rest] = 0 if others.specials is None else others.specials
    return RoundedArray(A, mid, radius, None, bits if bits.any() else None)


def _reciprocal(A: RoundedArrays, x: RoundedArray) -> RoundedArray:
    return A.divide(RoundedArray(A, A.mids.lift(np.ones(x.shape))), x)


def _multiply(A: RoundedArrays, x: RoundedArray, y: RoundedArray) -> RoundedArray:
    """x·y, which is exact where one is a power of two."""
    exactly = _powers_of_two(x) | _powers_of_two(y)
    return A.multiply(x, y, exactly if exactly.any() else None)


def _powers_of_two(x: RoundedArray) -> Any:
    """Where a number is known exactly, and is a power of two."""
    low = x.mid.lo if isinstance(x.mid, DoubleArray) else 0.0
    with np.errstate(all="ignore"):
        found = (np.frexp(x.high)[0] == 0.5) & (low == 0.0) & (x.radii() == 0.0)
    return found if x.specials is None else found & (x.specials == 0)


def _power(A: RoundedArrays, x: RoundedArray, y: RoundedArray) -> RoundedArray:
    """As `allowance._power`, for one whole exponent; others number by number."""
    n = float(y.high.flat[0]) if y.high.size else 0.0
    one = y.radius is None and y.specials is None and bool((y.high == n).all())
    if not (one and n.is_integer() and 0 < abs(n) <= 16):
        return _by_balls(A, "power", (x, y))
    found = x
    for k in range(abs(int(n)) - 1):
        found = A.square(x) if k == 0 else A.multiply(found, x)
    return found if n > 0 else _reciprocal(A, found)


def _by(rule: Callable[..., Any]) -> Callable[..., RoundedArray]:
    """A rule over arrays."""

    def operation(A: RoundedArrays, *x: RoundedArray) -> RoundedArray:
        return A.by_rule(rule, (), x)

    return operation


OPERATIONS: Mapping[str, Callable[..., RoundedArray]] = {
    **OF_THE_ARITHMETIC,
    "within": _by(computed_within),
    "multiply": _multiply,
    "divide": _by(quotient),
    "reciprocal": _reciprocal,
    "power": _power,
    "round": _by(converted),
}


#: Operands of one function that are remembered at most.
REMEMBERED = 1 << 15


@lru_cache(maxsize=16)
def _remembered(name: str, format: Format, profile: Profile, sums: Sums, mids: type) -> Remembered:
    """What is remembered of a function: another way through the same program asks it of the same numbers."""
    return {}


def _by_balls(A: RoundedArrays, name: str, x: tuple[RoundedArray, ...]) -> RoundedArray:
    """A function by the scalar arithmetic, once for each of the operands that differ."""
    remembered = _remembered(name, A.format, A.profile, A.sums, A.mids)
    if len(remembered) > REMEMBERED:
        remembered.clear()
    balls, scalar = BranchingBalls(A.balls, Choices()), SCALAR.get(name)

    def operation(*operands: Rounded) -> Rounded:
        balls.decisions = Choices()
        at = [o.under(balls) for o in operands]
        found = scalar(balls, *at) if scalar is not None else general(balls, name, at)
        if isinstance(found, Special):
            return Rounded(A.balls, arb(0), arb(0), ANYTHING | OVERFLOWED)
        specials = found.specials | (OVERFLOWED if balls.decisions.made else 0)
        return Rounded(A.balls, found.exact, found.radius, specials, found.spread)

    shape = np.broadcast_shapes(*[v.shape for v in x])
    special: Any = np.zeros(shape, dtype=bool)
    for v in x:
        special = special if v.specials is None else special | (v.specials != 0)
    nothing = RoundedArray(A, A.mids.lift(np.zeros(shape)), np.zeros(shape))
    return A.unknown(A.mended(nothing, ~special, x, operation, remembered), special)


#: Functions of infinities.
_OF_INFINITIES: Mapping[str, Callable[..., Any]] = {
    **{
        name: getattr(np, name)
        for name in (
            *("negative", "add", "subtract", "multiply", "divide", "square", "reciprocal", "absolute", "sqrt"),
            *("exp", "expm1", "log", "log1p", "tanh", "sin", "cos", "sinh", "cosh"),
        )
    },
    "round": lambda x: x,
    STOPPED: lambda x: x,
    "rsqrt": lambda x: 1 / np.sqrt(x),
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "erf": np.sign,
    "erfc": lambda x: 1 - np.sign(x),
}


# Arrays of balls ------------------------------------------------------------------------------------------------------


def _moved(turn: Callable[[Array], Any], x: RoundedArray) -> RoundedArray:
    """What moves numbers, of midpoints, radii and specials alike."""
    A = x.arithmetic
    mid = DoubleArray(turn(x.mid.hi), turn(x.mid.lo)) if A.mids is Double else turn(x.mid)
    radius = None if x.radius is None else turn(x.radii())
    return RoundedArray(A, mid, radius, None, None if x.specials is None else turn(x.specials), excess=x.excess)


def _flat(x: RoundedArray) -> RoundedArray:
    return _moved(lambda v: laid(v, x.shape), x)


def _shaped(x: RoundedArray, shape: tuple[int, ...]) -> RoundedArray:
    return _moved(lambda v: v.reshape(shape), x)


def _piece(x: RoundedArray, index: Any) -> RoundedArray:
    return _moved(lambda v: v[index], x)


def _to_the_brim(high: Any, radius: Any, low: Any, where: Any) -> tuple[Any, Any, Any]:
    """Balls that reach beyond float64's largest number, as of a mask of it, in the middle of the numbers that there
    are, so that their ends are numbers, too; the infinity that may be beyond is in their specials.
    """
    most = np.finfo(np.float64).max
    least = (np.abs(high) - radius) * (1 - 2.0**-50)
    middle = least / 2 + most / 2
    off = most - middle  # exact, since the middle is at least half of it (P. H. Sterbenz)
    found = (np.copysign(middle, high), off, np.zeros_like(middle))
    return tuple(np.where(where, of, old) for of, old in zip(found, (high, radius, low), strict=True))


def _unknown(x: RoundedArray, where: Any) -> RoundedArray:
    """The values, and nothing known of some of them."""
    bits = np.zeros(x.shape, np.uint8) if x.specials is None else x.specials
    bits = np.where(where, ANYTHING | OVERFLOWED, bits).astype(np.uint8)
    return RoundedArray(x.arithmetic, x.mid, x.radii(), None, bits)


def _together(A: RoundedArrays, parts: Sequence[RoundedArray], join: Callable[..., Any]) -> RoundedArray:
    if A.mids is Double:
        mid: Any = DoubleArray(join([p.mid.hi for p in parts]), join([p.mid.lo for p in parts]))
    else:
        mid = join([p.mid for p in parts])
    specials = None
    if any(p.specials is not None for p in parts):
        specials = join([np.zeros(p.shape, np.uint8) if p.specials is None else p.specials for p in parts])
    return RoundedArray(A, mid, join([p.radii() for p in parts]), None, specials, excess=max(p.excess for p in parts))
