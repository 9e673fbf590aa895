"""A formula as one kernel: every element goes through all of its operations at once, and no array lies between them.

The formula is run once over an arithmetic that notes the rules instead of applying them; their compiled functions are
then called one after the other: for all elements as if they were ordinary, without a branch, by vector instructions;
and again for those of which something did not hold that was taken for granted. Needs numba.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from types import FunctionType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gradconform.reference.arithmetic import function_rules, rules
from gradconform.reference.arithmetic.arrays import RoundedArray, RoundedArrays
from gradconform.reference.arithmetic.kernels import (
    EVERY,
    NORMAL,
    ORDINARY,
    TEXT,
    Element,
    executor,
    given,
    noted_at,
    ordinary,
    registered,
    started,
    what_held,
)
from gradconform.reference.arithmetic.products import jitted
from gradconform.reference.equations import Formula

Array = NDArray[Any]
#: Rules that are worth a kernel of their own.
_RULES = (rules.add, rules.multiply, rules.divide, rules.quotient, rules.square, function_rules.function,
          function_rules.sqrt, function_rules.log, function_rules.log1p, function_rules.sigmoid,
          function_rules.absolute, function_rules.positive_part)  # fmt: skip
#: Rules that ask what kernels have no primitive for.
LACKING = rules.converted, function_rules.derivative, function_rules.recentred, function_rules.bounded


class Constant(NamedTuple):
    """An operand that is a number of the formula."""

    mid: float
    off: float


class Rule(NamedTuple):
    """A rule as it was noted: what it is of, and the places of its operands among all values, or what they are."""

    rule: Callable[..., Any]
    of: tuple[Any, ...]
    operands: tuple[Any, ...]


class Unnoted(TypeError):
    """A formula does something else to its values than to apply rules to them that kernels have."""


class _Noted(RoundedArray):
    """A value that is only noted; its operators are those of arrays. Of its numbers nothing is known."""

    __slots__ = ("place",)

    def __init__(self, arithmetic: _Notes, place: int) -> None:
        super().__init__(arithmetic, np.full((), np.nan))
        self.place = place


class _Notes(RoundedArrays):
    """Notes the rule of each operation on so many operands."""

    def __init__(self, of: RoundedArrays, operands: int) -> None:
        super().__init__(of.format, of.profile, sums=of.sums)
        self.mids, self.slack = of.mids, of.slack
        self.rules: list[Rule] = []
        self.operands = [_Noted(self, n) for n in range(operands)]

    def by_rule(self, rule: Callable[..., Any], of: tuple[Any, ...], operands: tuple[Any, ...]) -> RoundedArray:
        if not all(isinstance(x, str | float | int | FunctionType) for x in of):
            raise Unnoted(f"{rule.__name__} is told {of!r}")
        if rule in LACKING:
            raise Unnoted(f"{rule.__name__} is no rule of kernels")
        self.rules.append(Rule(rule, of, tuple(map(_operand, operands))))
        return _Noted(self, len(self.operands) + len(self.rules) - 1)


def _operand(x: Any) -> Any:
    """A value's place, a constant, or what a rule is told besides."""
    if isinstance(x, _Noted):
        return x.place
    if isinstance(x, RoundedArray):
        known = Constant(float(x.high), float(x.radii()))
        if x.specials is not None or not np.isfinite(known).all():
            raise Unnoted(f"a formula makes {x.high!r} of its operands without a rule")
        return known
    if x is None or isinstance(x, np.ndarray | np.bool_):
        return bool(np.all(x))
    if not isinstance(x, int | float):
        raise Unnoted(f"a rule is told {x!r}")
    return float(x)


@dataclass(frozen=True, eq=False)
class Noted:
    """A formula: its rules in turn, the place of the last one's value, and how many operands it has.

    It is another one where a place is another's number: in Python 1 == 1.0 == True, and 0.0 == −0.0.
    """

    rules: tuple[Rule, ...]
    place: int
    operands: int

    def __eq__(self, other: object) -> bool:
        # Rules are functions, which are told apart by where they are: both formulas keep theirs.
        return isinstance(other, Noted) and repr(self) == repr(other)

    def __hash__(self) -> int:
        return hash((self.rules, self.place, self.operands))


def noted(A: RoundedArrays, formula: Formula, operands: int) -> Noted:
    """A formula of so many operands. Raises Unnoted for one that does more than to apply rules."""
    notes = _Notes(A, operands)
    found = _operand(formula(notes, *notes.operands))
    if type(found) is not int:
        raise Unnoted("the formula is of none of its operands")
    return Noted(tuple(notes.rules), found, operands)


@cache
def written(of: Noted) -> Any:
    """A formula as one function of an executor, its operands' arrays of numbers, and the place of an element in them.

    It calls all rules in turn: nested ones are compiled once for each that they are in. All values that are told to a
    rule are constants of it.
    """
    constants: dict[str, Any] = {"Element": Element, "given": given}

    def named(x: Any) -> str:
        if type(x) is int:
            return f"v{x}"
        constants[name := f"c{len(constants)}"] = float(x[0]) if isinstance(x, Constant) else x
        if not isinstance(x, Constant):
            return name
        constants[off := f"c{len(constants)}"] = x.off
        return f"Element({name}, {off}, 0, 0.0)"

    lines = ["def element(E, numbers, i):", *(f"    v{n} = given(numbers[{n}], i)" for n in range(of.operands))]
    for n, (rule, told, operands) in enumerate(of.rules):
        first = [named(float(x) if isinstance(x, int) else x) for x in told]
        constants[f"rule{n}"] = rule
        lines.append(f"    v{of.operands + n} = rule{n}({', '.join(['E', *first, *map(named, operands)])})")
    exec("\n".join([*lines, f"    return v{of.place}"]), constants)
    return registered(constants["element"])


#: How kernels go on as if elements were ordinary: where nothing underflows, and wherever; see `kernels.Compiled`.
GUESSES = None, True


@cache
def _ordinary(of: Noted, gradual: bool | None) -> Any:
    """All elements of a formula as if they were ordinary, by vector instructions, and what of that held of each."""
    text, element = TEXT, written(of)

    @jitted
    def kernel(E: Any, numbers: Any, mid: Any, off: Any, held: Any) -> Any:
        every = np.uint8(ORDINARY if text else 0)
        note = noted_at()
        guessing = ordinary(E, note, gradual)
        for i in range(mid.size):
            started(note)
            found = element(guessing, numbers, i)
            mid[i], off[i], held[i] = found.mid, found.off, what_held(note) if found.bits == 0 else NORMAL
        for i in range(mid.size):  # in a loop of its own: together neither is vectorised
            every &= held[i]
        return every

    return kernel


@cache
def _others(of: Noted) -> Any:
    """Those elements of a formula that are not."""
    text, element = TEXT, written(of)

    @jitted
    def kernel(E: Any, numbers: Any, places: Any, mid: Any, off: Any, bits: Any) -> Any:
        some = 0 if text else 1
        for i in places:
            found = element(E, numbers, i)
            mid[i], off[i], bits[i] = found.mid, found.off, found.bits
            some |= found.bits
        return some

    return kernel


class Fused:
    """A formula as a kernel of an arithmetic of plain midpoints. Raises Unnoted as `noted`."""

    def __init__(self, A: RoundedArrays, formula: Formula, operands: int) -> None:
        self.arithmetic, self.noted = A, noted(A, formula, operands)

    def __call__(self, *numbers: NDArray[Any]) -> RoundedArray:
        """Of flat arrays of numbers known exactly."""
        return _run(self.arithmetic, self.noted, numbers, numbers[0].shape)


def _run(A: RoundedArrays, of: Noted, operands: tuple[Any, ...], shape: tuple[int, ...]) -> RoundedArray:
    """A formula's kernel of flat operands, what it gives in a shape."""
    size, E, bits = math.prod(shape), executor(A), None
    mid, off, held = np.empty(size), np.empty(size), np.empty(size, np.uint8)
    if _ordinary(of, GUESSES[0])(E, operands, mid, off, held) != ORDINARY:
        small = np.flatnonzero(held == EVERY)
        if small.size:
            found = np.empty(small.size), np.empty(small.size), np.empty(small.size, np.uint8)
            _ordinary(of, GUESSES[1])(E, tuple(_some(x, small) for x in operands), *found)
            mid[small], off[small], held[small] = found
        left = np.flatnonzero(held != ORDINARY)
        if left.size:
            bits = np.zeros(size, np.uint8)
            if not _others(of)(E, operands, left, mid, off, bits):
                bits = None
    return RoundedArray(A, mid.reshape(shape), off.reshape(shape), None, None if bits is None else bits.reshape(shape))


def _some(operand: Any, places: NDArray[np.int64]) -> Any:
    return operand[places] if isinstance(operand, np.ndarray) else tuple(x[places] for x in operand)


def applied(A: Any, rule: Callable[..., Any], of: tuple[Any, ...], operands: tuple[Any, ...]) -> RoundedArray | None:
    """A rule of arrays with plain midpoints that are no sets, by its kernel; None where there is none."""
    if rule not in _RULES or not all(isinstance(x, RoundedArray) for x in operands):
        return None
    shape = np.broadcast_shapes(*[x.shape for x in operands])
    alone = Noted((Rule(rule, of, tuple(range(len(operands)))),), len(operands), len(operands))
    return _run(A, alone, tuple(_ball(x, shape) for x in operands), shape)


def _ball(x: RoundedArray, shape: tuple[int, ...]) -> tuple[NDArray[Any], ...]:
    """Midpoints, radii and specials, for each element of what x is broadcast to."""
    parts = (x.mid, 0.0 if x.radius is None else x.radius, np.uint8(0) if x.specials is None else x.specials)
    return tuple(np.ascontiguousarray(np.broadcast_to(part, shape)).reshape(-1) for part in parts)


@cache
def _fused(A: RoundedArrays, formula: Formula, operands: int) -> Fused:
    return Fused(A, formula, operands)


def fused(A: RoundedArrays, formula: Formula, *numbers: NDArray[Any]) -> RoundedArray:
    """A formula of flat arrays of numbers known exactly, over an arithmetic of plain midpoints."""
    return _fused(A, formula, len(numbers))(*numbers)
