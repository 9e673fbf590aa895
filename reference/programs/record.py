"""The record of one run of a program: every number has an id, and only arithmetic is a step.

Moving data (reshape, gather, transpose, slicing, sorting) only moves ids, and needs no rule. What is left is
straight-line arithmetic in seven kinds of step:

    map       a scalar function, element by element
    sop       Σ a·b, or Σ a: sums, products of matrices, convolutions, scatter-add
    product   Π a
    maximum   the largest of a row
    minimum   the smallest of a row
    choose    one of two numbers, by decisions
    fused     a kernel: the steps of its definition, and those of the forms in which it may be rounded

Operands are arrays of ids; of a sum they may be views that repeat memory (a broadcast, sliding windows), so that a
product of matrices keeps what its two factors take and not what its terms would.
"""

from __future__ import annotations

import math
import operator
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gradconform.reference.arithmetic.formats import FORMATS, Format
from gradconform.reference.cases import BadInput, available_memory
from gradconform.reference.programs.implicit import ONE as ONE
from gradconform.reference.programs.implicit import ZERO as ZERO
from gradconform.reference.programs.implicit import Implicit
from gradconform.reference.programs.views import Reading, reading, without_repeats

Ids = NDArray[np.int64]
Numbers = NDArray[np.float64]
Kind = Literal["map", "sop", "product", "maximum", "minimum", "choose", "fused"]
Relation = Literal["gt", "ge", "lt", "le", "eq", "ne"]
#: Each relation, of two numbers or of two arrays of them.
RELATIONS: Mapping[Relation, Callable[[Any, Any], Any]] = {
    "gt": operator.gt, "ge": operator.ge, "lt": operator.lt, "le": operator.le, "eq": operator.eq, "ne": operator.ne,
}  # fmt: skip
#: Which of a kernel's forms a program of forms takes: the so many-th of every kernel, or of each by its place.
Taken = int | Mapping[int, int]

#: Memory that a number of a record takes until it is judged, in bytes (10^6 numbers of one float32 argument: 146); and
#: so many bytes that every machine has.
BYTES, _ANY = 150, 2**28
#: The name of a map that is the number itself, and whose derivative is 0 by the program's intention.
STOPPED = "stopped"
#: Kernels that do not compute infinities by their forms: of complex functions C lists what these give (C11, annex G),
#: and factorizations compare, exchange and divide by them in orders of their own.
SPECIALS_OF_THEIR_OWN = (
    "complex ", "cholesky", "lu", "triangular_solve", "aten::_linalg_", "aten::cholesky_", "aten::linalg_cholesky",
    "aten::linalg_inv", "aten::linalg_lu", "aten::linalg_solve",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Form:
    """One way in which a kernel may be computed: its steps, and the ids of its results.

    Where results are what solves equations, the steps make what these read, and `solutions` come after them.
    """

    name: str
    steps: tuple[Step, ...]
    results: Ids
    source: str = ""
    solutions: tuple[Implicit, ...] = ()

    def reads(self) -> Iterator[Ids]:
        """The ids that it is computed from, its own among them."""
        for step in self.steps:
            yield from step.reads()
        for solution in self.solutions:
            yield np.array(solution.operands, dtype=np.int64)
        yield self.results  # of a matrix of one number L·U is that number


@dataclass(frozen=True, eq=False)
class Step:
    """One operation on whole tensors.

    `out` has the result's shape. The operands of a map and of a choice have that too; those of a sop, a product, a
    maximum or a minimum one axis more, the last, along which they are combined. `function` is a name of the table for a
    map, of the kernel where it is fused. A choice took its first operand where `first` is true, for the decisions
    `decided`; where that is 0 nothing was decided by numbers. `line` is where the program stands, `index` its number.
    """

    kind: Kind
    function: str
    out: Ids
    operands: tuple[Ids, ...]
    format: Format
    line: str = ""
    first: NDArray[np.bool_] | None = None
    decided: Ids | None = None
    definition: Form | None = None
    forms: tuple[Form, ...] = ()

    @cached_property
    def readings(self) -> tuple[Reading, ...]:
        """How the numbers of the operands are fetched."""
        return tuple(map(reading, self.operands))

    def reads(self) -> Iterator[Ids]:
        """The ids that it is computed from, once where a view repeats them; of a kernel its definition's own, too."""
        yield from map(without_repeats, self.operands)
        if self.definition is not None:
            yield from self.definition.reads()

    @property
    def name(self) -> str:
        """What the operation is called: the function, or the kind of step."""
        return self.function or {"sop": "sum of products"}.get(self.kind, self.kind)

    @property
    def implicit(self) -> bool:
        """Whether it is known as what solves equations, which balls alone evaluate."""
        return any(form.solutions for form in (*self.forms, *((self.definition,) if self.definition else ())))

    @property
    def of_itself(self) -> NDArray[np.bool_] | None:
        """Where it subtracts a number from itself, which is 0 and depends on nothing; None where it does nowhere."""
        if self.kind != "map" or self.function != "subtract":
            return None
        found: NDArray[np.bool_] = self.operands[0] == self.operands[1]
        return found if found.any() else None

    @property
    def place(self) -> int:
        """The id of its first result, which no other step has."""
        return int(self.out.flat[0]) if self.out.size else -1

    def form(self, taken: Taken) -> Form:
        """A kernel's form in a program of forms; its last where it has fewer."""
        number = taken if isinstance(taken, int) else taken.get(self.place, 0)
        return self.forms[min(number, len(self.forms) - 1)]

    def work(self) -> int:
        """How many operations on single numbers it takes."""
        own = 0 if self.definition is None else sum(s.work() for s in self.definition.steps)
        return own + max((o.size for o in self.operands), default=self.out.size)


@dataclass(frozen=True)
class Decision:
    """A comparison of two numbers by which a program chose, or several such decisions together."""

    relation: Relation | None
    left: int = ZERO
    right: int = ZERO
    parts: tuple[int, ...] = ()


class Mark(NamedTuple):
    """How many steps a record had, and of what its `ordered` and `edges` say."""

    steps: int
    ordered: int
    edges: int


class Decisions(Sequence[Decision]):
    """A record's decisions: many of one relation at a time, as columns."""

    def __init__(self) -> None:
        self._size = 0
        self._blocks: list[tuple[int, Relation | None, Ids, Ids]] = []
        #: Of those that are several together their parts, by number.
        self.parts: dict[int, tuple[int, ...]] = {}
        self.add(None, np.zeros(1, np.int64), np.zeros(1, np.int64))

    def add(self, relation: Relation | None, left: Ids, right: Ids) -> int:
        """Decisions by this relation, element by element; the number of the first."""
        first = self._size
        self._blocks.append((first, relation, left, right))
        self._size += left.size
        return first

    def together(self, parts: Sequence[tuple[int, ...]]) -> Ids:
        """What several decisions make together, and several others; their numbers."""
        nothing = np.full(len(parts), ZERO, dtype=np.int64)
        numbers = self.add(None, nothing, nothing) + np.arange(len(parts), dtype=np.int64)
        self.parts.update(zip(numbers.tolist(), parts, strict=True))
        return numbers

    def single(self, numbers: Ids) -> Ids:
        """The decisions that these are made of, each once, in order."""
        numbers = np.unique(numbers)
        while self.parts and (several := [n for n in numbers.tolist() if n in self.parts]):
            parts = np.array([p for n in several for p in self.parts[n]], dtype=np.int64)
            numbers = np.union1d(np.setdiff1d(numbers, several), parts)
        return numbers

    def sides(self, numbers: Ids) -> tuple[NDArray[np.bool_], Ids, Ids]:
        """Of decisions in order whether each compares, and what: both sides."""
        starts = np.array([first for first, *_ in self._blocks])
        which = np.searchsorted(starts, numbers, side="right") - 1
        compares = np.zeros(numbers.shape, dtype=bool)
        sides = np.zeros((2, numbers.size), dtype=np.int64)
        blocks, begins = np.unique(which, return_index=True)
        for block, a, b in zip(blocks.tolist(), begins, [*begins[1:], numbers.size], strict=True):
            first, relation, *both = self._blocks[block]
            compares[a:b] = relation is not None
            sides[:, a:b] = [side[numbers[a:b] - first] for side in both]
        return compares, sides[0], sides[1]

    def blocks(self) -> Iterator[tuple[Relation | None, Ids, Ids]]:
        """Decisions of one relation that follow one another: the relation, and both sides."""
        for _, relation, left, right in self._blocks:
            yield relation, left, right

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[Decision]:
        for first, relation, left, right in self._blocks:
            for n, (x, y) in enumerate(zip(left.tolist(), right.tolist(), strict=True)):
                yield Decision(relation, x, y, self.parts.get(first + n, ()))

    def __getitem__(self, number: Any) -> Any:
        if isinstance(number, slice):
            return [self[n] for n in range(*number.indices(self._size))]
        if not -self._size <= number < self._size:
            raise IndexError(number)
        number %= self._size
        first, relation, left, right = self._blocks[bisect_right(self._blocks, number, key=lambda b: b[0]) - 1]
        at = number - first
        return Decision(relation, int(left[at]), int(right[at]), self.parts.get(number, ()))


@dataclass
class Record:
    """What a program did. `held` is what the framework itself had for each id, in float64; NaN inside of kernels.

    A literal of the program's text that looks rounded is known to one unit in the last place of the format in which it
    was seen: `literals` gives that, relative to the number. `notes` say what the record could not follow.
    """

    steps: list[Step] = field(default_factory=list)
    literals: dict[int, float] = field(default_factory=dict)
    decisions: Decisions = field(default_factory=Decisions)
    notes: list[str] = field(default_factory=list)
    line: str = ""
    #: Numbers that were put in an order, or of which one was picked, as `sort` and `argmax` do: which of equal ones
    #: comes first is the run's own choice, and no step.
    ordered: list[Ids] = field(default_factory=list)
    #: Numbers that were equal where their comparison moved data or took a branch: no step shows the other side.
    edges: list[Ids] = field(default_factory=list)
    #: Whether an operation that is done once more on the same numbers, with the same results, gives the same numbers:
    #: `x / s` less another `x / s` is 0.
    recalls: bool = False

    def __post_init__(self) -> None:
        self._held, self.size = np.full(1024, np.nan), 0
        self._constants: dict[tuple[bytes, int], int] = {}
        self._done: dict[tuple[Any, ...], list[tuple[Sequence[Ids], Ids]]] = {}
        self._into = self.steps
        for x in (0.0, 1.0):
            self.number(x)

    @property
    def forms(self) -> int:
        """How many programs of forms there are: the first form of every kernel, the second, …"""
        return max((len(step.forms) for step in self.steps), default=0) or 1

    @property
    def held(self) -> Numbers:
        return self._held[: self.size]

    # Numbers ----------------------------------------------------------------------------------------------------------

    def new(self, shape: tuple[int, ...], values: Any = None) -> Ids:
        """New ids, with what the framework holds for them, or without where it does not show that."""
        count = math.prod(shape)
        if self.size + count > self._held.size:
            affordable(self.size + count)
            grown = np.full(max(2 * self._held.size, self.size + count), np.nan)
            grown[: self.size] = self._held[: self.size]
            self._held = grown
        ids = np.arange(self.size, self.size + count, dtype=np.int64)
        if values is not None:
            self._held[self.size : self.size + count] = np.asarray(values, dtype=np.float64).reshape(-1)
        self.size += count
        return ids.reshape(shape)

    def number(self, x: float, seen_in: Format | None = None) -> int:
        """The id of a constant. `seen_in` marks a literal of the program's text, with the format it was seen in."""
        precision = 0 if seen_in is None or not looks_rounded(x, seen_in) else seen_in.precision
        key = (np.float64(x).tobytes(), precision)
        if key not in self._constants:
            self._constants[key] = int(self.new((1,), x)[0])
            if precision:
                self.literals[self._constants[key]] = 2.0 ** (1 - precision)
        return self._constants[key]

    def constants(self, values: Any, seen_in: Format | None = None) -> Ids:
        """The ids of an array of constants: equal ones have one id where few differ."""
        values = np.asarray(values, dtype=np.float64)
        if not values.size:
            return np.zeros(values.shape, np.int64)
        few, inverse = np.unique(values.ravel(), return_inverse=True)
        if len(few) > 64:
            return self.new(values.shape, values)
        table = np.array([self.number(float(x), seen_in) for x in few], dtype=np.int64)
        return table[inverse].reshape(values.shape)

    # Steps ------------------------------------------------------------------------------------------------------------

    def _emit(self, kind: Kind, function: str, shape: tuple[int, ...], operands: Sequence[Ids], format: Format,
              held: Any, **more: Any) -> Ids:  # fmt: skip
        recalled = self.recalls and self._into is self.steps and held is not None and _without_ties(kind, function)
        if recalled:
            key = (kind, function, format.name, shape, *(int(o.flat[0]) for o in operands if o.size))
            before = self._done.setdefault(key, [])
            for others, out in before:
                same = all(np.array_equal(a, b) for a, b in zip(operands, others, strict=True))
                if same and np.array_equal(self.held[out], np.reshape(held, shape), equal_nan=True):
                    return out
        out = self.new(shape, held)
        if recalled:
            before.append((operands, out))
        self._into.append(Step(kind, function, out, tuple(operands), format, self.line, **more))
        return out

    def map(self, function: str, operands: Sequence[Ids], format: Format, held: Any = None) -> Ids:
        """A scalar function of operands that are broadcast to one shape."""
        operands = np.broadcast_arrays(*operands)
        return self._emit("map", function, operands[0].shape, operands, format, held)

    def sop(self, a: Ids, b: Ids | None, format: Format, held: Any = None) -> Ids:
        """Σ a·b over the last axis, or Σ a; a and b may be views that are broadcast to one shape."""
        if b is not None:
            a, b = np.broadcast_arrays(a, b)
        elif a.shape[-1] == 1:
            return a[..., 0]
        return self._emit("sop", "", a.shape[:-1], [a] if b is None else [a, b], format, held)

    def combine(self, kind: Literal["product", "maximum", "minimum"], a: Ids, format: Format, held: Any = None) -> Ids:
        """The product of the last axis, or its largest or smallest number; of none, what leaves another as it is."""
        if a.shape[-1] == 0:
            nothing = {"product": 1.0, "maximum": -np.inf, "minimum": np.inf}[kind]
            return np.full(a.shape[:-1], self.number(nothing))
        return a[..., 0] if a.shape[-1] == 1 else self._emit(kind, "", a.shape[:-1], [a], format, held)

    def choose(self, first: Any, decided: Ids | None, a: Ids, b: Ids, format: Format, held: Any = None) -> Ids:
        """`a` where `first` is true, else `b`; no step but data movement where no number decided that."""
        first, decided, a, b = np.broadcast_arrays(first, 0 if decided is None else decided, a, b)
        taken = np.where(first, a, b)
        if not decided.any() or (a == b).all():
            return taken
        held = self.held[taken] if held is None else held
        return self._emit("choose", "", a.shape, [a, b], format, held, first=first, decided=decided)

    def fused(self, kernel: str, definition: Form, forms: Sequence[Form], format: Format, held: Any) -> Ids:
        """A kernel with its definition and the forms it may be rounded by (the definition's own, if none is given)."""
        shape = definition.results.shape
        return self._emit("fused", kernel, shape, [], format, held, definition=definition,
                          forms=tuple(forms) or (definition,))  # fmt: skip

    @contextmanager
    def inside(self) -> Iterator[list[Step]]:
        """Steps that belong to a kernel and not to the program: they go into the list that is given."""
        outer, self._into = self._into, []
        try:
            yield self._into
        finally:
            self._into = outer

    # Decisions --------------------------------------------------------------------------------------------------------

    def decide(self, relation: Relation, a: Ids, b: Ids) -> Ids:
        """The numbers of a comparison's decisions, element by element."""
        a, b = np.broadcast_arrays(a, b)
        start = self.decisions.add(relation, a.ravel(), b.ravel())
        return np.arange(start, start + a.size, dtype=np.int64).reshape(a.shape)

    def together(self, decisions: Sequence[Ids]) -> Ids:
        """What depends on several decisions, element by element."""
        decisions = np.broadcast_arrays(*decisions)
        shape = decisions[0].shape
        rows = np.sort(np.stack([d.ravel() for d in decisions]), axis=0)
        kept = rows != 0
        kept[1:] &= rows[1:] != rows[:-1]
        found: Ids = rows.max(axis=0)
        several = kept.sum(axis=0) > 1
        if several.any():
            parts = [
                tuple(n for n, there in zip(row, of, strict=True) if there)
                for row, of in zip(rows.T[several].tolist(), kept.T[several].tolist(), strict=True)
            ]
            found[several] = self.decisions.together(parts)
        return found.reshape(shape)

    def cut(self, function: str, x: Ids, whole: Numbers) -> list[Ids]:
        """Of numbers a function made whole ones, which are data as long as they stay between the same two: decisions.

        Which of two it was at the bound of both is the run's own choice; no step shows the other.
        """
        low, high = between(function, whole)
        self.edges.append(jumping(function, x, self.held))
        return [self.decide("ge", x, self.constants(low)), self.decide("le", x, self.constants(high))]

    def fmod(self, x: Ids, y: Ids, format: Format, held: Numbers) -> tuple[Ids, list[Ids]]:
        """x − n·y by the whole part n of x/y that the run took, which rounding may have moved; and what decides it.

        Where n is not known from what is held, or has more digits than the format, it is the function that jumps: an
        ulp of y moves n by more than one there.
        """
        x, y = np.broadcast_arrays(x, y)
        with np.errstate(all="ignore"):
            quotient = self.held[x] / self.held[y]
            known = (np.abs(format.round(quotient)) < all_whole(format)) & np.isfinite(self.held[y])
        whole = times(self.held[x], np.asarray(held), self.held[y], known)
        found, at = np.empty(x.shape, np.int64), [x[known], y[known]]
        found[~known] = self.map("fmod", [x[~known], y[~known]], format, held[~known])
        found[known] = self.map("residue", [self.constants(whole[known]), *at], format, held[known])
        return found, self.cut("trunc", self.map("divide", at, format, quotient[known]), whole[known])

    def settle(self, decided: Ids) -> None:
        """By these decisions data was moved, or a branch taken: those of equal numbers stand at an edge."""
        compares, left, right = self.decisions.sides(self.decisions.single(decided))
        equal = compares & (left != right) & (self.held[left] == self.held[right])
        self.edges += list(np.stack([left, right], axis=1)[equal])

    def mark(self) -> Mark:
        """How far it has come."""
        return Mark(len(self.steps), len(self.ordered), len(self.edges))

    def until(self, mark: Mark | None = None) -> Record:
        """The record as it stood then, a program's forward part without its backward one; or a copy of it as it is."""
        steps, ordered, edges = self.mark() if mark is None else mark
        part = Record.__new__(Record)
        part.__dict__.update(self.__dict__)
        part.steps, part.ordered, part.edges = self.steps[:steps], self.ordered[:ordered], self.edges[:edges]
        return part


def _without_ties(kind: Kind, function: str) -> bool:
    """Whether an operation has one slope: at a tie each one done has its own."""
    return kind in ("sop", "product") or (kind == "map" and function not in ("absolute", STOPPED))


def continued(record: Record) -> Record:
    """A record that goes on from this one, which stays as it is."""
    part = record.until()
    part._into, part._held, part._constants = part.steps, record._held.copy(), dict(record._constants)
    return part


def affordable(numbers: int) -> None:
    """Raise BadInput where judging a record of so many numbers takes more memory than there is."""
    needed = BYTES * numbers
    if needed > _ANY and needed > (there := available_memory()):
        raise BadInput(
            f"a record of {numbers:,} numbers takes about {needed / 2**30:,.1f} GiB to judge, and "
            f"{there / 2**30:,.1f} GiB of memory are available; verify at smaller arguments, or the parts one by one"
        )


#: The largest number of each format.
_LARGEST = frozenset(f.largest for f in FORMATS.values())


def looks_rounded(x: float, seen_in: Format) -> bool:
    """Whether a literal may be a rounded decimal or irrational: it has more than a third of the format's digits.

    The largest number of a format, which masks are filled with, has all of them and is meant.
    """
    if x == 0 or not math.isfinite(x) or abs(x) in _LARGEST:
        return False
    mantissa, _ = math.frexp(x)
    return not math.ldexp(mantissa, seen_in.precision // 3).is_integer()


def between(function: str, whole: Numbers) -> tuple[Numbers, Numbers]:
    """Of which numbers floor, ceil, trunc or round gives these: from the least to the largest, or up to it."""
    if function == "round":
        return whole - 0.5, whole + 0.5
    low = whole - ((function == "ceil") | ((function == "trunc") & (whole <= 0)))
    return low, whole + ((function == "floor") | ((function == "trunc") & (whole >= 0)))


def all_whole(format: Format) -> float:
    """From where on every number of the format is a whole one, so that the whole part of a quotient is rounded."""
    return float(2.0 ** (format.precision - 1))


def times(x: Numbers, rest: Numbers, y: Numbers, known: NDArray[np.bool_]) -> Numbers:
    """The whole number n of x = n·y + rest, where it is known; exactly where float64 may give another."""
    with np.errstate(all="ignore"):
        found: Numbers = np.array(np.rint((x - rest) / y))
        close = known & (np.abs(found) >= 2.0**50)  # of so many (x − rest)/y is computed to half a whole number
    for at in np.flatnonzero(close):
        found.flat[at] = round((Fraction(x.flat[at]) - Fraction(rest.flat[at])) / Fraction(y.flat[at]))
    return found


def jumping(function: str, ids: Ids, held: Numbers) -> Ids:
    """Those of some numbers at which a function to whole ones jumps: `round` at halves, others at whole numbers."""
    x = held[ids]
    whole = np.trunc(x)
    found: Ids = ids[np.abs(x - whole) == 0.5 if function == "round" else x == whole]
    return found


def every(steps: Iterable[Step]) -> Iterator[Step]:
    """Steps, and those inside of kernels before the kernel itself."""
    for step in steps:
        if step.definition is not None:
            yield from every(step.definition.steps)
        yield step
