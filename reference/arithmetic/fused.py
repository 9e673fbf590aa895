"""A formula as one kernel: every element goes through all of its operations at once, and no array lies between them.

The formula is run once over an arithmetic that notes the rules instead of applying them; their compiled functions are
then called one inside the other. `benchmarks/exhaustive.py` goes over all numbers of a format so, and nothing else
does: what `verify` and `sweep` judge are programs, by `array_values`. Needs numba.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradconform.reference.arithmetic import rules
from gradconform.reference.arithmetic.arrays import RoundedArray, RoundedArrays
from gradconform.reference.arithmetic.kernels import TEXT, Element, executor, registered
from gradconform.reference.arithmetic.products import jitted
from gradconform.reference.arithmetic.specials import ANYTHING
from gradconform.reference.equations import Formula

#: An operation and all before it: a function of the executor and the formula's operands.
Node = Callable[[Any, Any], Any]


class _Noted(RoundedArray):
    """A value that is only noted; its operators are those of arrays."""

    __slots__ = ("node",)

    def __init__(self, arithmetic: _Notes, node: Node) -> None:
        super().__init__(arithmetic, np.zeros(()))
        self.node = node


class _Notes(RoundedArrays):
    """Notes the rule of each operation."""

    def by_rule(self, rule: Callable[..., Any], of: tuple[Any, ...], operands: tuple[Any, ...]) -> RoundedArray:
        return _Noted(self, _applied(rule, of, tuple(_node(x) for x in operands)))


def _node(x: Any) -> Any:
    if isinstance(x, _Noted):
        return x.node
    return _constant(float(x.high), float(x.radii())) if isinstance(x, RoundedArray) else x


@cache
def _operand(i: int) -> Node:
    return registered(lambda E, x: x[i])


@cache
def _constant(mid: float, off: float) -> Node:
    return registered(lambda E, x: Element(mid, off, 0, 0.0))


@cache
def _applied(rule: Callable[..., Any], of: tuple[Any, ...], parts: tuple[Any, ...]) -> Node:
    if of:
        (name, moves), (only,) = of, parts
        return registered(lambda E, x: rule(E, name, moves, only(E, x)))
    if rule is rules.scale:
        only, power = parts
        return registered(lambda E, x: rule(E, only(E, x), power))
    if len(parts) == 1:
        (only,) = parts
        return registered(lambda E, x: rule(E, only(E, x)))
    left, right = parts
    return registered(lambda E, x: rule(E, left(E, x), right(E, x)))


@registered
def _given(x: Any) -> Any:
    """A number known exactly; of infinity and NaN no formula says anything."""
    finite = abs(x) <= 1.7976931348623157e308
    return Element(np.float64(x) if finite else 0.0, 0.0, 0 if finite else ANYTHING, 0.0)


@cache
def _kernel(node: Node, operands: int) -> Any:
    text = TEXT

    @jitted
    def of_one(E: Any, a: Any, mid: Any, off: Any, bits: Any) -> Any:
        some = 0 if text else 1
        for i in range(mid.size):
            found = node(E, (_given(a[i]),))
            mid[i], off[i], bits[i] = found.mid, found.off, found.bits
            some |= found.bits
        return some

    @jitted
    def of_two(E: Any, a: Any, b: Any, mid: Any, off: Any, bits: Any) -> Any:
        some = 0 if text else 1
        for i in range(mid.size):
            found = node(E, (_given(a[i]), _given(b[i])))
            mid[i], off[i], bits[i] = found.mid, found.off, found.bits
            some |= found.bits
        return some

    return of_one if operands == 1 else of_two


@cache
def _noted(formula: Formula, A: RoundedArrays, operands: int) -> Node:
    notes = _Notes(A.format, A.profile, sums=A.sums)
    found: Node = formula(notes, *(_Noted(notes, _operand(i)) for i in range(operands))).node
    return found


def fused(A: RoundedArrays, formula: Formula, *numbers: NDArray[Any]) -> RoundedArray:
    """A formula of one or two flat arrays of numbers known exactly, over an arithmetic of plain midpoints."""
    kernel = _kernel(_noted(formula, A, len(numbers)), len(numbers))
    size = numbers[0].size
    mid, off, bits = np.empty(size), np.empty(size), np.empty(size, np.uint8)
    some = kernel(executor(A), *numbers, mid, off, bits)
    return RoundedArray(A, mid, off, None, bits if some else None)
