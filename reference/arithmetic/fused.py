"""A formula as one kernel: every element goes through all of its operations at once, and no array lies between them.

The formula is run once over an arithmetic that notes the rules instead of applying them; their compiled functions are
then called one after the other. Needs numba.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gradconform.reference.arithmetic.arrays import RoundedArray, RoundedArrays
from gradconform.reference.arithmetic.kernels import TEXT, Element, executor, registered
from gradconform.reference.arithmetic.products import jitted
from gradconform.reference.arithmetic.specials import ANYTHING
from gradconform.reference.equations import Formula


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
    """A formula does something else to its values than to apply rules to them."""


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
    return bool(np.all(x)) if x is None or isinstance(x, np.ndarray | np.bool_) else float(x)


@cache
def _written(noted: tuple[Rule, ...], operands: int, place: int) -> Any:
    """One function of the operands that calls all rules in turn: nested ones are compiled once for each that they are
    in. All values that are told to a rule are constants of it."""
    constants: dict[str, Any] = {"Element": Element}

    def named(x: Any) -> str:
        if type(x) is int:
            return f"v{x}"
        constants[name := f"c{len(constants)}"] = float(x[0]) if isinstance(x, Constant) else x
        if not isinstance(x, Constant):
            return name
        constants[off := f"c{len(constants)}"] = x.off
        return f"Element({name}, {off}, 0, 0.0)"

    lines = [f"def after(E, {', '.join(f'v{n}' for n in range(operands))}):"]
    for n, (rule, of, given) in enumerate(noted):
        told = [named(float(x) if isinstance(x, int) else x) for x in of]
        constants[f"rule{n}"] = rule
        lines.append(f"    v{operands + n} = rule{n}({', '.join(['E', *told, *map(named, given)])})")
    exec("\n".join([*lines, f"    return v{place}"]), constants)
    return registered(constants["after"])


@registered
def _given(x: Any) -> Any:
    """A number known exactly; of infinity and NaN no formula says anything."""
    finite = abs(x) <= 1.7976931348623157e308
    return Element(np.float64(x) if finite else 0.0, 0.0, 0 if finite else ANYTHING, 0.0)


@cache
def _kernel(noted: tuple[Rule, ...], place: int, operands: int) -> Any:
    text, after = TEXT, _written(noted, operands, place)

    @jitted
    def of_one(E: Any, a: Any, mid: Any, off: Any, bits: Any) -> Any:
        some = 0 if text else 1
        for i in range(mid.size):
            found = after(E, _given(a[i]))
            mid[i], off[i], bits[i] = found.mid, found.off, found.bits
            some |= found.bits
        return some

    @jitted
    def of_two(E: Any, a: Any, b: Any, mid: Any, off: Any, bits: Any) -> Any:
        some = 0 if text else 1
        for i in range(mid.size):
            found = after(E, _given(a[i]), _given(b[i]))
            mid[i], off[i], bits[i] = found.mid, found.off, found.bits
            some |= found.bits
        return some

    return of_one if operands == 1 else of_two


class Fused:
    """A formula of one or two operands as a kernel of an arithmetic of plain midpoints.

    Raises Unnoted for a formula that does more than to apply rules.
    """

    def __init__(self, A: RoundedArrays, formula: Formula, operands: int) -> None:
        self.arithmetic, notes = A, _Notes(A, operands)
        found = _operand(formula(notes, *notes.operands))
        if type(found) is not int:
            raise Unnoted("the formula is of none of its operands")
        self._kernel, self._executor = _kernel(tuple(notes.rules), found, operands), executor(A)

    def __call__(self, *numbers: NDArray[Any]) -> RoundedArray:
        """Of flat arrays of numbers known exactly."""
        size = numbers[0].size
        mid, off, bits = np.empty(size), np.empty(size), np.empty(size, np.uint8)
        some = self._kernel(self._executor, *numbers, mid, off, bits)
        return RoundedArray(self.arithmetic, mid, off, None, bits if some else None)


@cache
def _fused(A: RoundedArrays, formula: Formula, operands: int) -> Fused:
    return Fused(A, formula, operands)


def fused(A: RoundedArrays, formula: Formula, *numbers: NDArray[Any]) -> RoundedArray:
    """A formula of one or two flat arrays of numbers known exactly, over an arithmetic of plain midpoints."""
    return _fused(A, formula, len(numbers))(*numbers)
