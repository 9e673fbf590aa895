"""Formulas over arrays that record themselves: what is written with operators and the table's functions is a record.

A definition is a function of such arrays. Its record is the truth of what it defines: evaluated over exact balls it is
the value, differentiated it is the derivative. `gradient` records a derivative too, so that this can be differentiated
once more.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from gradconform.reference.arithmetic.exact import precision
from gradconform.reference.arithmetic.formats import FLOAT64, Format
from gradconform.reference.programs.exact import Exact
from gradconform.reference.programs.functions import FUNCTIONS
from gradconform.reference.programs.operators import Operators
from gradconform.reference.programs.record import ONE, RELATIONS, ZERO, Ids, Record, Relation, Step, every

#: Working precision of what decides: which of two numbers is larger.
BITS = 160
#: What may stand where an array is expected: a number is a literal.
Operand = Any
Axes = int | Sequence[int] | None


@dataclass(frozen=True, eq=False)
class Condition:
    """What a comparison said, element by element, and the decisions that it was made by."""

    holds: NDArray[np.bool_]
    decided: Ids | None

    def __invert__(self) -> Condition:
        return Condition(~self.holds, self.decided)

    def __and__(self, other: Condition) -> Condition:
        return self._with(other, self.holds & other.holds)

    def __or__(self, other: Condition) -> Condition:
        return self._with(other, self.holds | other.holds)

    def _with(self, other: Condition, holds: NDArray[np.bool_]) -> Condition:
        """Both together, where the decision that settles them is one: the other's where this one does not."""
        if self.decided is None or other.decided is None:
            return Condition(holds, other.decided if self.decided is None else self.decided)
        return Condition(holds, np.where(self.holds == holds, other.decided, self.decided))


@dataclass(frozen=True, eq=False)
class Array(Operators["Array"]):
    """Numbers of a record. Arithmetic with arrays, or with Python numbers, adds steps to it; indexing moves ids.

    They are of a `format`. A `setting` is a number of the program's text, which Python has in that format.
    """

    o: Recording
    ids: Ids
    format: Format = FLOAT64
    setting: bool = False

    # Shape ------------------------------------------------------------------------------------------------------------

    @property
    def shape(self) -> tuple[int, ...]:
        return self.ids.shape

    @property
    def ndim(self) -> int:
        return self.ids.ndim

    @property
    def held(self) -> NDArray[np.float64]:
        """The numbers themselves, rounded to float64."""
        self.o.hold()
        return self.o.record.held[self.ids]

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: Any) -> Array:
        return self.moved(lambda ids: ids[index])

    def moved(self, how: Callable[[Ids], Ids]) -> Array:
        """The same numbers elsewhere: `how` moves any array of integers."""
        return replace(self, ids=np.asarray(how(self.ids)))

    def reshape(self, *shape: int) -> Array:
        return self.moved(lambda ids: ids.reshape(shape))

    @property
    def T(self) -> Array:
        return self.moved(lambda ids: np.swapaxes(ids, -1, -2))

    # Arithmetic -------------------------------------------------------------------------------------------------------

    def mapped(self, function: str, *operands: Operand) -> Array:
        return self.o.map(function, *operands)

    def __pow__(self, power: int) -> Array:
        """The square, or a product of so many factors."""
        if power == 2:
            return self.mapped("square", self)
        found = self
        for _ in range(power - 1):
            found = found * self
        return found

    def __matmul__(self, other: Array) -> Array:
        return self.o.dot(self[..., :, None, :], other.T[..., None, :, :])

    # Comparisons ------------------------------------------------------------------------------------------------------

    def __gt__(self, other: Operand) -> Condition:
        return self.o.compared("gt", self, other)

    def __ge__(self, other: Operand) -> Condition:
        return self.o.compared("ge", self, other)

    def __lt__(self, other: Operand) -> Condition:
        return self.o.compared("lt", self, other)

    def __le__(self, other: Operand) -> Condition:
        return self.o.compared("le", self, other)

    # Along axes -------------------------------------------------------------------------------------------------------

    def sum(self, axes: Axes = None, keep: bool = False) -> Array:
        return self.along(axes, keep, self.o.summed)

    def mean(self, axes: Axes = None, keep: bool = False) -> Array:
        rows = self._rows(axes)[1]
        return self.sum(axes, keep) / float(rows.shape[-1])

    def prod(self, axes: Axes = None, keep: bool = False) -> Array:
        return self.along(axes, keep, partial(self.o.combined, "product"))

    def max(self, axes: Axes = None, keep: bool = False) -> Array:
        return self.along(axes, keep, partial(self.o.combined, "maximum"))

    def min(self, axes: Axes = None, keep: bool = False) -> Array:
        return self.along(axes, keep, partial(self.o.combined, "minimum"))

    def _rows(self, axes: Axes) -> tuple[tuple[int, ...], Ids]:
        """The axes that are combined, and the ids with these as one axis, the last."""
        chosen = range(self.ndim) if axes is None else [axes] if isinstance(axes, int) else axes
        over = tuple(sorted(a % self.ndim for a in chosen))
        left = [a for a in range(self.ndim) if a not in over]
        moved = self.ids.transpose(*left, *over)
        return over, moved.reshape(*moved.shape[: len(left)], math.prod(moved.shape[len(left) :]))

    def along(self, axes: Axes, keep: bool, how: Callable[[Array], Array]) -> Array:
        """What `how` makes of the last axis, of the numbers along some axes; `keep` these, with one number each."""
        over, rows = self._rows(axes)
        found = how(replace(self, ids=rows))
        shape = tuple(1 if a in over else n for a, n in enumerate(self.shape))
        return found.reshape(*shape) if keep else found


class Recording:
    """The arithmetic that records: the table's functions by name, on arrays and numbers, and what moves and combines.

    Nothing is evaluated until numbers are asked for: then over exact balls, so that comparisons are those of the exact
    numbers.
    """

    def __init__(self, record: Record | None = None) -> None:
        self.record = record or Record()
        self.exact = Exact(self.record, literals=False)
        self._constants: dict[str, Array] = {}
        self._held = 0

    def hold(self) -> None:
        """Let the record hold its numbers, rounded to float64."""
        self._evaluate(self.record.steps[self._held :])
        self._held = len(self.record.steps)

    def _evaluate(self, steps: Sequence[Step]) -> None:
        self.exact.values += [None] * (self.record.size - len(self.exact.values))
        with precision(BITS):
            for step in steps:
                self.exact.evaluate([step])
                found = [float(self.exact[i].mid()) for i in step.out.ravel().tolist()]
                self.record.held[step.out] = np.reshape(found, step.out.shape)

    def settle(self) -> None:
        """Let the record hold its numbers, when the formula is complete, where decisions and corners ask for them."""
        if len(self.record.decisions) > 1 or any(
            step.kind in ("maximum", "minimum") or step.function == "absolute" for step in every(self.record.steps)
        ):
            self.hold()

    # Numbers ----------------------------------------------------------------------------------------------------------

    def argument(self, values: Any) -> Array:
        """Numbers that the formula is given."""
        values = np.asarray(values, dtype=np.float64)
        return Array(self, self.record.new(values.shape, values))

    def number(self, x: Operand) -> Array:
        """A literal, or an array of constants; a literal that looks rounded is known to an ulp of float64."""
        if isinstance(x, Array):
            return x
        return Array(self, self.record.constants(np.asarray(x, dtype=np.float64), FLOAT64))

    def pi(self) -> Array:
        if "pi" not in self._constants:
            self._constants["pi"] = 4.0 * self.atan(1.0)
        return self._constants["pi"]

    def ln2(self) -> Array:
        if "ln2" not in self._constants:
            self._constants["ln2"] = self.log(2.0)
        return self._constants["ln2"]

    # Functions --------------------------------------------------------------------------------------------------------

    def __getattr__(self, name: str) -> Callable[..., Array]:
        if name not in FUNCTIONS and name != "absolute":
            raise AttributeError(f"the table of functions has no row {name!r}")
        return partial(self.map, name)

    def emit(self, add: Callable[..., Ids], *operands: Operand, rounds: bool = True) -> Array:
        """The step that `add` makes of a format and the operands' ids; one that `rounds` may be of a wider format."""
        return Array(self, np.asarray(add(FLOAT64, *[self.number(x).ids for x in operands])))

    def map(self, function: str, *operands: Operand) -> Array:
        """A function of the table, element by element, on operands that are broadcast."""
        return self.emit(lambda format, *ids: self.record.map(function, ids, format), *operands)

    def dot(self, a: Array, b: Array) -> Array:
        """Σ a·b over the last axis; the others are broadcast."""
        return self.emit(lambda format, x, y: self.record.sop(x, y, format), a, b)

    def summed(self, a: Array) -> Array:
        """Σ a over the last axis; 0 where that is empty."""
        if not a.shape[-1]:
            return replace(a, ids=np.full(a.shape[:-1], ZERO, np.int64))
        return self.emit(lambda format, x: self.record.sop(x, None, format), a)

    def combined(self, kind: Any, a: Array) -> Array:
        """The product, the maximum or the minimum over the last axis."""
        if not a.shape[-1]:
            return replace(a, ids=np.full(a.shape[:-1], ONE, np.int64))
        return self.emit(lambda format, x: self.record.combine(kind, x, format), a, rounds=kind == "product")

    def maximum(self, a: Operand, b: Operand) -> Array:
        return self._extreme("maximum", a, b)

    def minimum(self, a: Operand, b: Operand) -> Array:
        return self._extreme("minimum", a, b)

    def _extreme(self, kind: Literal["maximum", "minimum"], *pair: Operand) -> Array:
        def add(format: Format, *ids: Ids) -> Ids:
            return self.record.combine(kind, np.stack(np.broadcast_arrays(*ids), -1), format)

        return self.emit(add, *pair, rounds=False)

    def clamp(self, x: Operand, low: Operand, high: Operand) -> Array:
        return self.minimum(self.maximum(x, low), high)

    def relu(self, x: Array) -> Array:
        return self.maximum(x, 0.0)

    def largest_of(self, step: Step, row: Sequence[int]) -> list[int]:
        """The number that a maximum or minimum takes of a row, and those that are equal to it."""
        self.hold()
        with precision(BITS):
            return self.exact.largest(step, row)

    def shares(self, step: Step, row: Sequence[int], adjoint: Array) -> list[tuple[int, Array]]:
        """Of a maximum's or minimum's adjoint what each number of a row gets that gets some."""
        tied = self.largest_of(step, row)
        share = adjoint if len(tied) == 1 else adjoint / float(len(tied))
        return [(i, share) for i in tied]

    # Choices ----------------------------------------------------------------------------------------------------------

    def sides(self, step: Step, adjoint: Array) -> tuple[Array, Array]:
        """Of a choice's adjoint what its two sides get."""
        assert step.first is not None
        first, second = (np.where(taken, adjoint.ids, ZERO) for taken in (step.first, ~step.first))
        return replace(adjoint, ids=first), replace(adjoint, ids=second)

    def compared(self, relation: Relation, a: Array, b: Operand) -> Condition:
        x, y = np.broadcast_arrays(a.ids, self.number(b).ids)
        decided = self.record.decide(relation, x, y)
        return Condition(self._holds(relation, x, y), decided)

    def _holds(self, relation: Relation, x: Ids, y: Ids) -> NDArray[np.bool_]:
        self.hold()
        with precision(BITS):
            found = [
                bool(RELATIONS[relation](self.exact[i], self.exact[j]))
                for i, j in zip(x.ravel().tolist(), y.ravel().tolist(), strict=True)
            ]
        return np.array(found, dtype=bool).reshape(x.shape)

    def where(self, condition: Condition | NDArray[np.bool_], a: Operand, b: Operand) -> Array:
        """a where the condition holds, else b; what numbers decided has a corner where they are equal."""
        holds = condition.holds if isinstance(condition, Condition) else condition
        decided = condition.decided if isinstance(condition, Condition) else None
        return self.emit(lambda format, x, y: self.record.choose(holds, decided, x, y, format), a, b, rounds=False)

    # Movement ---------------------------------------------------------------------------------------------------------

    def stack(self, arrays: Sequence[Array], axis: int = 0) -> Array:
        return replace(arrays[0], ids=np.stack([a.ids for a in arrays], axis))

    def concatenate(self, arrays: Sequence[Array], axis: int = 0) -> Array:
        return replace(arrays[0], ids=np.concatenate([a.ids for a in arrays], axis))

    def zeros(self, shape: Sequence[int]) -> Array:
        return Array(self, np.full(tuple(shape), ZERO, np.int64))

    def padded(self, x: Array, widths: Sequence[tuple[int, int]], value: float = 0.0) -> Array:
        filler = int(self.number(value).ids)
        return x.moved(lambda ids: np.pad(ids, widths, constant_values=filler))

    def scattered(self, terms: Array, places: NDArray[np.int64], size: int) -> Array:
        """Of each of `size` places the sum of the terms that go there, over the first axis of both."""
        flat = places.ravel()
        found = []
        for place in range(size):
            chosen = terms[np.flatnonzero(flat == place)]
            found.append(chosen.sum(0) if len(chosen) else self.zeros(terms.shape[1:]))
        return self.stack(found)
