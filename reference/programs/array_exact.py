"""A record without rounding, whole arrays at a time: `exact` in double words, with rigorous radii; or in blunt balls.

The first radius of each number encloses it on the numbers that the record holds, with the middle of each tie's slopes;
the second, where there are literals or ties, also over what literals leave open and over all the slopes of every tie.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradconform.reference.arithmetic.midpoints import Array, Double, DoubleArray
from gradconform.reference.programs import words
from gradconform.reference.programs.contractions import blocks, contraction
from gradconform.reference.programs.functions import FUNCTIONS
from gradconform.reference.programs.record import (
    ONE,
    RELATIONS,
    STOPPED,
    ZERO,
    Decisions,
    Ids,
    Record,
    Relation,
    Step,
    every,
)
from gradconform.reference.programs.views import Reading, laid, place, reading, repeated, without_repeats
from gradconform.reference.programs.words import WORD_OPERATIONS, Words

#: Two radii: on the numbers held, and over literals and ties too.
LEVELS = 2
_NUMBERED: Mapping[Relation | None, int] = {None: 0, **{relation: n for n, relation in enumerate(RELATIONS, 1)}}
#: Those that ask which number is larger: what is asked to be equal is no corner.
_ORDERS = [_NUMBERED[relation] for relation in ("gt", "ge", "lt", "le")]


class Columns:
    """Balls by id; they may be blunt."""

    def __init__(self, size: int, blunt: bool = False) -> None:
        self.blunt, self.hi, self.radius = blunt, np.zeros(size), np.zeros((LEVELS, size))
        self.lo = np.broadcast_to(0.0, size) if blunt else np.zeros(size)

    def take(self, ids: Ids | Reading) -> Words:
        """The balls of an array of ids, in its shape and strides."""
        at = reading(ids)
        high, radius = at.of(self.hi), at.of(self.radius)
        return words.blunt(high, radius) if self.blunt else Words(DoubleArray(high, at.of(self.lo)), radius)

    def copied(self, ids: Ids) -> Words:
        """The balls in arrays of their own."""
        x = self.take(ids)
        return Words(DoubleArray(np.array(x.mid.hi), np.array(x.mid.lo)), np.array(x.radius), self.blunt)

    def flat(self, ids: Ids | Reading) -> Words:
        """The same, as a row."""
        x = self.take(ids)
        radius = x.radius.reshape(LEVELS, -1)
        if self.blunt:
            return words.blunt(x.mid.hi.ravel(), radius)
        return Words(DoubleArray(x.mid.hi.ravel(), x.mid.lo.ravel()), radius)

    def put(self, ids: Ids, x: Words) -> None:
        where, shape = place(ids), x.shape if x.mid.hi.size == ids.size else ids.shape
        if self.blunt:
            x = words.blunted(x)
        else:
            self.lo[where] = laid(x.mid.lo, shape)
        self.hi[where] = laid(x.mid.hi, shape)
        radius = x.radius if x.radius.ndim == 2 else x.radius.reshape(x.radius.shape[0], -1)
        self.radius[:, where] = radius

    def add(self, ids: Ids, x: Words) -> None:
        """x added where the ids say, which may say the same many times."""
        flat = ids.ravel()
        hi, lo, radius = x.mid.hi.ravel(), x.mid.lo.ravel(), x.radius.reshape(LEVELS, -1)
        if self._repeats(flat):
            flat, hi, lo, radius = _gathered(flat, hi, lo, radius)
        with np.errstate(all="ignore"):
            self.put(flat, words.add(self.flat(flat), Words(DoubleArray(hi, lo), radius)))

    @staticmethod
    def _repeats(flat: Ids) -> bool:
        if flat.size < 2 or bool((flat[1:] > flat[:-1]).all()):
            return False
        ordered = np.sort(flat)
        return bool((ordered[1:] == ordered[:-1]).any())


def _gathered(flat: Ids, hi: Array, lo: Array, radius: Array) -> tuple[Ids, Array, Array, Array]:
    """Numbers that belong to the same id, added in pairs until there is one of each."""
    order = np.argsort(flat, kind="stable")
    flat, hi, lo, radius = flat[order], hi[order], lo[order], radius[:, order]
    while True:
        first = np.r_[True, flat[1:] != flat[:-1]]
        if first.all():
            return flat, hi, lo, radius
        places = np.arange(flat.size)
        rank = places - np.maximum.accumulate(np.where(first, places, 0))
        at = np.flatnonzero((rank[:-1] % 2 == 0) & (rank[1:] % 2 == 1))
        a, b = (Words(DoubleArray(hi[i], lo[i]), radius[:, i]) for i in (at, at + 1))
        found = words.add(a, b)
        hi[at], lo[at], radius[:, at] = found.mid.hi, found.mid.lo, found.radius
        kept = np.ones(flat.size, dtype=bool)
        kept[at + 1] = False
        flat, hi, lo, radius = flat[kept], hi[kept], lo[kept], radius[:, kept]


class Columned:
    """A record's decisions as columns."""

    def __init__(self, decisions: Decisions) -> None:
        blocks = list(decisions.blocks())
        relations = [_NUMBERED[relation] for relation, _, _ in blocks]
        self.relation = np.repeat(np.array(relations, np.int8), [left.size for _, left, _ in blocks])
        self.left = np.concatenate([left for _, left, _ in blocks])
        self.right = np.concatenate([right for _, _, right in blocks])
        self.parts = decisions.parts

    def asked(self, numbers: Ids, single: Callable[[Ids], Any]) -> Any:
        """`single` of each decision; of several together whether it is of any."""
        distinct, inverse = np.unique(numbers, return_inverse=True)
        found = single(distinct)
        together = [at for at, number in enumerate(distinct.tolist()) if number in self.parts]
        if together:
            parts = [np.array(self.parts[number], dtype=np.int64) for number in distinct[together].tolist()]
            starts = np.cumsum([0, *(p.size for p in parts[:-1])])
            found[together] = np.logical_or.reduceat(self.asked(np.concatenate(parts), single), starts)
        return found[np.asarray(inverse).reshape(numbers.shape)]

    def holds(self, numbers: Ids, sign: Any) -> Any:
        """Whether each relation holds between two numbers whose difference has this sign."""
        relation = self.relation[numbers]
        asked = [relation == number for number in range(1, len(RELATIONS) + 1)]
        return np.select(asked, [of(sign, 0.0) for of in RELATIONS.values()], False)


class ArrayExact:
    """The values of a record's numbers, by id, as `Exact` has them; `jumps` in the second radius."""

    def __init__(
        self, record: Record, given: Mapping[int, float] | None = None, jumps: bool = False, blunt: bool = False
    ) -> None:
        self.record, self.jumps, self.jumped = record, jumps, False
        self.decisions = Columned(record.decisions)
        self.values = Columns(record.size, blunt)
        self.values.hi[:] = record.held
        for i, off in record.literals.items():
            self.values.radius[1, i] = abs(record.held[i]) * off
        for i, x in (given or {}).items():
            self.values.hi[i] = x
        #: How many choices, corners and extremes are ties.
        self.ties = 0
        #: Numbers that are the same as another, as what `relu` makes of a negative number is 0.
        self.same = np.arange(record.size)

    def evaluate(self, steps: Iterable[Step] | None = None) -> ArrayExact:
        for step in self.record.steps if steps is None else steps:
            if step.out.size:
                _FORWARD[step.kind](self, step)
        return self

    # Forward ----------------------------------------------------------------------------------------------------------

    def _map(self, step: Step) -> None:
        x = [self.values.flat(o) for o in step.readings]
        name = "round" if step.function == STOPPED else step.function
        found = words.function(name, *x)
        itself = step.of_itself
        if itself is not None:
            found = words.where(itself.ravel() & words.known(x[0]), words.number(0.0), found)
        self.values.put(step.out, found)

    def _sop(self, step: Step) -> None:
        self.values.put(step.out, self.sum_of_products(step))

    def sum_of_products(self, step: Step, columns: Sequence[Columns] = ()) -> Words:
        """Σ of the operands' products; each operand's numbers from `columns` of its own, where these are given."""
        x = [c.take(o) for c, o in zip(columns or [self.values] * 2, step.readings, strict=False)]
        if len(x) == 1:
            return words.total(x[0])
        how = contraction(step)
        if how.by_matrices:
            left, right = (_transformed(turn, v) for turn, v in zip((how.left, how.right), x, strict=True))
            return _transformed(how.restored, _products(left, _turned(right)))
        shape = how.shape
        found = _empty(shape)
        for part in blocks(shape, how.terms):
            a, b = (_part(v, part) for v in x)
            _assign(found, part, words.total(words.multiply(a, b)))
        return found

    def _product(self, step: Step) -> None:
        x = self.values.take(step.readings[0])
        found = _part(x, (..., 0))
        for k in range(1, x.shape[-1]):
            found = words.multiply(found, _part(x, (..., k)))
        self.values.put(step.out, found)

    def _extreme(self, step: Step) -> None:
        best, others = self.largest(step)
        self.same[step.out] = np.where(others.any(axis=-1), step.out, self.same[best])
        self.values.put(step.out, self.values.flat(best.ravel()))

    def largest(self, step: Step) -> tuple[Ids, Any]:
        """The number that is taken of each row, and which others may be as large (as small)."""
        ids = np.ascontiguousarray(step.operands[0])
        x, sign = self.values.take(ids), 1.0 if step.kind == "maximum" else -1.0
        column = (sign * x.high).argmax(axis=-1)[..., None]
        best = Words(
            DoubleArray(np.take_along_axis(x.mid.hi, column, -1), np.take_along_axis(x.mid.lo, column, -1)),
            np.take_along_axis(x.radius, np.broadcast_to(column, (LEVELS, *column.shape)), -1),
        )
        # Of numbers that are equal to float64 the low words decide.
        with np.errstate(all="ignore"):
            low = np.where(x.high == best.high, sign * (x.mid.lo - best.mid.lo), -np.inf)
        column = np.where(np.isnan(low).any(axis=-1, keepdims=True), column, low.argmax(axis=-1)[..., None])
        taken = np.take_along_axis(ids, column, -1)
        best = self.values.take(taken)
        with np.errstate(all="ignore"):
            off = sign * words.apart(x, best)
            near = off + (x.radius + best.radius).max(axis=0) * words.ENLARGED >= 0
            held = sign * (self.record.held[ids] - self.record.held[taken]) >= 0
        finite = np.isfinite(x.high)
        infinite = ~finite & (x.high == best.high) & ~(x.radius + best.radius).any(axis=0)
        return taken[..., 0], (ids != taken) & (finite & (near | held) | infinite)

    def _choose(self, step: Step) -> None:
        assert step.first is not None
        a, b = (self.values.flat(o) for o in step.operands)
        found = words.where(step.first.ravel(), a, b)
        if self.jumps and step.decided is not None:
            found = self._between(step, found, words.where(step.first.ravel(), b, a))
        self.values.put(step.out, found)

    def _between(self, step: Step, taken: Words, other: Words) -> Words:
        """What was taken; where that was a tie anything between it and the other."""
        assert step.decided is not None
        tie = (step.operands[0] != step.operands[1]).ravel() & (step.decided.ravel() != 0)
        if tie.any():
            tie[tie] = self.undecided(step.decided.ravel()[tie])
        with np.errstate(all="ignore"):
            gap = np.abs(words.apart(taken, other)) * words.ENLARGED
            far = tie & ~(gap <= (taken.radius + other.radius)[0])
            reach = (gap + other.radius[1]) * words.ENLARGED
            radius = np.stack([taken.radius[0], np.where(tie, np.maximum(taken.radius[1], reach), taken.radius[1])])
        self.jumped |= bool(far.any())
        return Words(taken.mid, radius)

    def _fused(self, step: Step) -> None:
        assert step.definition is not None
        self.evaluate(step.definition.steps)
        self.values.put(step.out, self.values.flat(step.definition.results))

    def undecided(self, numbers: Ids) -> Any:
        """Which decisions are ties, or are taken otherwise without rounding than the run took them."""
        return self.decisions.asked(numbers, self._tie)

    def _tie(self, numbers: Ids) -> Any:
        d = self.decisions
        left, right = d.left[numbers], d.right[numbers]
        x, y = self.values.take(left), self.values.take(right)
        off, reach = words.apart(x, y), (x.radius + y.radius).max(axis=0) * words.ENLARGED
        with np.errstate(all="ignore"):
            taken = d.holds(numbers, self.record.held[left] - self.record.held[right])
            certain = np.abs(off) > reach + np.abs(off) * 2.0**-50
            other = d.holds(numbers, np.sign(off)) != taken
            one = (self.same[left] == self.same[right]) & (self.record.held[left] == self.record.held[right])
        asked = np.isin(d.relation[numbers], _ORDERS) & (left != right) & ~one
        return asked & np.isfinite(x.high) & np.isfinite(y.high) & (~certain | other)

    def otherwise(self) -> NDArray[np.bool_]:
        """Which comparisons certainly come out otherwise without rounding than the run's."""
        d, held = self.decisions, self.record.held
        numbers = np.arange(d.relation.size)
        left, right = d.left[numbers], d.right[numbers]
        gap, reach = words.separation(self.values.copied(left), self.values.copied(right))
        with np.errstate(all="ignore"):
            taken = d.holds(numbers, held[left] - held[right])
            off = words.apart(self.values.copied(left), self.values.copied(right))
            other = (gap > reach) & (d.holds(numbers, np.sign(off)) != taken)
        return np.asarray(other & np.isin(d.relation, _ORDERS))

    # Slopes -----------------------------------------------------------------------------------------------------------

    def sign(self, x: Words, held: Array) -> Words:
        """The slopes of |x|: 0 at a corner, and there all of them."""
        with np.errstate(all="ignore"):
            beyond = np.abs(x.high) > x.radius.max(axis=0)
        certain = beyond & ~((x.high > 0) & (held <= 0)) & ~((x.high < 0) & (held >= 0))
        self.ties += int((~certain).sum())
        radius = np.zeros((LEVELS, x.high.size))
        radius[1] = np.where(certain, 0.0, 1.0)
        return Words(Double.lift(np.where(certain, np.sign(x.high), 0.0)), radius)

    # Reverse mode -----------------------------------------------------------------------------------------------------

    def pull(
        self, seeds: Sequence[tuple[Ids, Array]], wanted: Sequence[Ids], steps: Sequence[Step] | None = None
    ) -> list[Words]:
        """The adjoints of the `wanted` numbers through the steps: of Σ seed·number, for the numbers that are seeded."""
        reverse = _Reverse(self, seeds, wanted, self.record.steps if steps is None else steps)
        reverse.through(reverse.steps)
        return [reverse.adjoints.copied(ids) for ids in wanted]


class _Reverse:
    def __init__(
        self,
        exact: ArrayExact,
        seeds: Sequence[tuple[Ids, Array]],
        wanted: Sequence[Ids],
        steps: Sequence[Step],
    ) -> None:
        self.exact, self.values, self.steps = exact, exact.values, steps
        size = 2 + max(
            (int(without_repeats(i).max(initial=0)) for s in every(steps) for i in (s.out, *s.operands)), default=0
        )
        size = max([size, *(2 + int(i.max(initial=0)) for i in (*wanted, *(ids for ids, _ in seeds)))])
        self.adjoints = Columns(size, self.values.blunt)
        #: Which numbers anything has been given to, and which depend on what is asked for.
        self.live, self.needed = np.zeros(size, dtype=bool), np.zeros(size, dtype=bool)
        for ids in wanted:
            self.needed[ids] = True
        self._mark(steps)
        for ids, numbers in seeds:
            flat = Words(Double.lift(np.asarray(numbers, dtype=np.float64).ravel()), np.zeros((LEVELS, ids.size)))
            self.give(ids.ravel(), flat)

    def _mark(self, steps: Iterable[Step]) -> None:
        for step in steps:
            if step.definition is not None:
                self._mark(step.definition.steps)
                self.needed[step.out] = self.needed[step.definition.results]
            elif any(self.needed[without_repeats(o)].any() for o in step.operands):
                self.needed[step.out] = True

    def give(self, ids: Ids, x: Words, live: Any = None) -> None:
        """Add to the adjoints; where `live` is false nothing is given."""
        kept = self.needed[ids] & (ids > ONE)
        if live is not None:
            kept = kept & live
        if not kept.all():
            ids, x = ids[kept], Words(Double.take(x.mid, kept), x.radius[:, kept])
        if ids.size:
            self.live[ids] = True
            self.adjoints.add(ids, x)

    def through(self, steps: Sequence[Step]) -> None:
        for step in reversed(steps):
            outs = step.out.ravel()
            if outs.size and (self.live[outs] & self.needed[outs]).any():
                _BACKWARD[step.kind](self, step)

    def _map(self, step: Step) -> None:
        if step.function == STOPPED:
            return
        x = [self.values.flat(o) for o in step.readings]
        w, live = self.adjoints.flat(step.out), self.live[step.out].ravel()
        itself = step.of_itself
        if itself is not None:
            live = live & ~itself.ravel()
        partials: Sequence[Any]
        if step.function == "absolute":
            partials = (self.exact.sign(x[0], self.exact.record.held[step.operands[0]].ravel()),)
        else:
            needed = [bool(self.needed[without_repeats(o)].any()) for o in step.operands]
            value = self.values.flat(step.out)
            partials = FUNCTIONS[step.function].partials(WORD_OPERATIONS, *x, value)
            partials = [p if n else None for p, n in zip(partials, needed, strict=True)]
        for operand, slope in zip(step.operands, partials, strict=True):
            if slope is None:
                continue
            given = words.multiply(slope, w)
            flows = live & ~(words.exactly_zero(slope) & np.isfinite(w.high))
            self._give_back(operand, given, np.broadcast_to(flows, live.shape))

    def _give_back(self, operand: Ids, given: Words, flows: Any) -> None:
        """What comes back to an operand, summed first where it was broadcast."""
        shape, axes = operand.shape, repeated(operand)
        if not axes or not flows.all():
            self.give(operand.ravel(), given, flows)
            return
        rest = [a for a in range(operand.ndim) if a not in axes]
        order = [*rest, *axes]

        def rows(x: Array) -> Array:
            lead = x.ndim - 1
            wide = x.reshape(*x.shape[:lead], *shape).transpose([*range(lead), *(lead + a for a in order)])
            return wide.reshape(*x.shape[:lead], *(shape[a] for a in rest), -1)

        whole = _transformed(lambda x: np.broadcast_to(x, (*x.shape[:-1], flows.size)), given)
        summed = words.total(_transformed(rows, whole))
        kept = operand[tuple(0 if a in axes else slice(None) for a in range(operand.ndim))]
        self.give(
            np.atleast_1d(kept).ravel(), _transformed(lambda x: x.reshape(*x.shape[: x.ndim - kept.ndim], -1), summed)
        )

    def _sop(self, step: Step) -> None:
        w, live = self.adjoints.take(step.out), self.live[step.out]
        sides = [bool(self.needed[without_repeats(o)].any()) for o in step.operands]
        if len(step.operands) == 1:
            self._spread(step.operands[0], w, live)
            return
        x = [self.values.take(o) for o in step.readings]
        how = contraction(step)
        if how.by_matrices:
            left, right = (_transformed(turn, v) for turn, v in zip((how.left, how.right), x, strict=True))
            of = _transformed(how.gathered, w)
            if sides[0]:
                self.give(how.left(step.operands[0]).ravel(), _row(_products(of, right)))
            if sides[1]:
                self.give(how.right(step.operands[1]).ravel(), _row(_products(_turned(of), left)))
            return
        for part in blocks(how.shape, how.terms):
            rows = _part(w, part)
            wide = _transformed(lambda v: v[..., None], rows)
            flows = live[part][..., None]
            a, b = (o[part] for o in step.operands)
            if sides[0]:
                given = words.multiply(wide, _part(x[1], part))
                self._give_back(a, _row(_whole(given, a.shape)), (flows & (b != ZERO)).ravel())
            if sides[1]:
                given = words.multiply(wide, _part(x[0], part))
                self._give_back(b, _row(_whole(given, b.shape)), (flows & (a != ZERO)).ravel())

    def _spread(self, operand: Ids, w: Words, live: Any) -> None:
        """A sum's adjoint, to each of its terms."""
        for part in blocks(operand.shape[:-1], operand.shape[-1]):
            ids = operand[part]
            given = _whole(_transformed(lambda v: v[..., None], _part(w, part)), ids.shape)
            self._give_back(ids, _row(given), np.broadcast_to(live[part][..., None], ids.shape).ravel())

    def _product(self, step: Step) -> None:
        ids, w = step.operands[0], self.adjoints.take(step.out)
        x, live = self.values.take(ids), self.live[step.out].ravel()
        before = [words.number(1.0)]
        for k in range(ids.shape[-1] - 1):
            before.append(words.multiply(before[-1], _row(_part(x, (..., k)))))
        after = words.number(1.0)
        for k in reversed(range(ids.shape[-1])):
            given = words.multiply(words.multiply(_row(w), before[k]), after)
            self.give(ids[..., k].ravel(), given, live)
            after = words.multiply(after, _row(_part(x, (..., k))))

    def _extreme(self, step: Step) -> None:
        best, tied = self.exact.largest(step)
        w, live = self.adjoints.flat(step.out), self.live[step.out].ravel()
        ids = np.ascontiguousarray(step.operands[0])
        # The same number at several places of a row is one.
        tied = tied & first_of_each(ids)
        count = 1 + tied.sum(axis=-1).ravel()
        self.exact.ties += int((count > 1).sum())
        share = _share(count)
        given = words.multiply(w, share)
        self.give(best.ravel(), given, live)
        if tied.any():
            row = np.repeat(np.arange(count.size), ids.shape[-1]).reshape(ids.shape)[tied]
            self.give(ids[tied], Words(Double.take(given.mid, row), given.radius[:, row]), live[row])

    def _choose(self, step: Step) -> None:
        assert step.first is not None
        assert step.decided is not None
        w, live = self.adjoints.flat(step.out), self.live[step.out].ravel()
        first = step.first
        taken = np.where(first, step.operands[0], step.operands[1]).ravel()
        other = np.where(first, step.operands[1], step.operands[0]).ravel()
        numbers = step.decided.ravel()
        tie = (taken != other) & (numbers != 0) & live
        if tie.any():
            tie[tie] = self.exact.undecided(numbers[tie])
        self.exact.ties += int(tie.sum())
        given = words.multiply(w, _share(np.where(tie, 2, 1))) if tie.any() else w
        self.give(taken, given, live)
        if tie.any():
            self.give(other, given, live & tie)

    def _fused(self, step: Step) -> None:
        assert step.definition is not None
        self.give(step.definition.results.ravel(), self.adjoints.flat(step.out), self.live[step.out].ravel())
        self.through(step.definition.steps)


def _share(count: Any) -> Words:
    """What one of several equal numbers has of a slope: an equal part, or anything from 0 to 1."""
    part = Double.divide(Double.lift(np.ones(count.shape)), Double.lift(count.astype(np.float64)))
    radius = np.zeros((LEVELS, count.size))
    radius[0] = np.where(count > 2, words.UNIT, 0.0)
    radius[1] = np.where(count > 1, (1 - part.hi) * words.ENLARGED, 0.0)
    radius[1] = np.where(count == 2, 0.5, radius[1])
    return Words(part, radius)


def first_of_each(ids: Ids) -> Any:
    """Where an id stands for the first time in its row."""
    order = np.argsort(ids, axis=-1, kind="stable")
    ordered = np.take_along_axis(ids, order, -1)
    first = np.ones(ids.shape, dtype=bool)
    first[..., 1:] = ordered[..., 1:] != ordered[..., :-1]
    found = np.empty_like(first)
    np.put_along_axis(found, order, first, -1)
    return found


# Arrays of balls ------------------------------------------------------------------------------------------------------


def _transformed(turn: Callable[[Array], Array], x: Words) -> Words:
    """What moves numbers, of midpoints and radii alike; leading axes are kept."""
    return Words(DoubleArray(turn(x.mid.hi), turn(x.mid.lo)), turn(x.radius))


def _part(x: Words, index: tuple[Any, ...]) -> Words:
    return Words(Double.take(x.mid, index), x.radius[(slice(None), *index)])


def _row(x: Words) -> Words:
    return Words(DoubleArray(x.mid.hi.ravel(), x.mid.lo.ravel()), x.radius.reshape(x.radius.shape[0], -1))


def _whole(x: Words, shape: tuple[int, ...]) -> Words:
    """Balls, broadcast to a shape."""
    return Words(
        DoubleArray(np.broadcast_to(x.mid.hi, shape), np.broadcast_to(x.mid.lo, shape)),
        np.broadcast_to(x.radius, (x.radius.shape[0], *shape)),
    )


def _turned(x: Words) -> Words:
    return _transformed(lambda v: np.swapaxes(v, -1, -2), x)


def _empty(shape: tuple[int, ...]) -> Words:
    return Words(DoubleArray(np.empty(shape), np.empty(shape)), np.empty((LEVELS, *shape)))


def _assign(x: Words, index: tuple[Any, ...], values: Words) -> None:
    x.mid.hi[index], x.mid.lo[index], x.radius[(slice(None), *index)] = values.mid.hi, values.mid.lo, values.radius


def _products(a: Words, b: Words) -> Words:
    """A batch of products of matrices."""
    found = _empty((a.shape[0], a.shape[1], b.shape[2]))
    for n in range(a.shape[0]):
        _assign(found, (n,), words.matrix_product(_part(a, (n,)), _part(b, (n,))))
    return found


_FORWARD: Mapping[str, Callable[[ArrayExact, Step], None]] = {
    "map": ArrayExact._map,
    "sop": ArrayExact._sop,
    "product": ArrayExact._product,
    "maximum": ArrayExact._extreme,
    "minimum": ArrayExact._extreme,
    "choose": ArrayExact._choose,
    "fused": ArrayExact._fused,
}
_BACKWARD: Mapping[str, Callable[[_Reverse, Step], None]] = {
    "map": _Reverse._map,
    "sop": _Reverse._sop,
    "product": _Reverse._product,
    "maximum": _Reverse._extreme,
    "minimum": _Reverse._extreme,
    "choose": _Reverse._choose,
    "fused": _Reverse._fused,
}
