"""Expressions as kernels: what a program may hold, and what is true, of many numbers in one pass. Needs numba.

A program's expression is evaluated by the rules of its arithmetic, as `array_allowance` evaluates a record. What is
true by those of this computer's own float64 (`arrays.HOST`), whose midpoints are no further from the truth than their
radius: known to some 40 bits, for formats of at most 24.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from flint import arb

from gradconform.reference.arithmetic import rules
from gradconform.reference.arithmetic.arrays import HOST, RoundedArray, RoundedArrays
from gradconform.reference.arithmetic.exact import Constant, precision
from gradconform.reference.arithmetic.fused import Fused, Unnoted
from gradconform.reference.programs.array_allowance import OPERATIONS
from gradconform.reference.programs.expressions import Expression
from gradconform.reference.programs.functions import FUNCTIONS
from gradconform.reference.programs.words import BITS

_ROOT_OF_HALF = Constant("1/√2", lambda field: field.sqrt(field.ratio(1, 2)))
#: Evaluates a function of the table in an arithmetic.
Operation = Callable[..., RoundedArray]


def program(of: Expression, A: RoundedArrays, instead: Mapping[str, Operation] | None = None) -> Fused:
    """What a program may hold for x0, in its arithmetic; functions `instead` of the arithmetic's own.

    Raises Unnoted where it has a function that no rule is for.
    """
    return Fused(A, lambda notes, x: _Evaluated(notes, x, {**OPERATIONS, **(instead or {})}, _literal).of(of), 1)


def truth(of: Expression) -> Fused:
    """What a definition is for x0, as balls about float64 numbers. Raises as `program`."""
    return Fused(HOST, lambda notes, x: _Evaluated(notes, x, _TRUE, _known).of(of), 1)


class _Evaluated:
    """An expression in an arithmetic, each part of it once."""

    def __init__(
        self, A: RoundedArrays, x: RoundedArray, operations: Mapping[str, Operation],
        constant: Callable[[RoundedArrays, Expression], RoundedArray | None],
    ) -> None:  # fmt: skip
        self.A, self.operations, self.constant = A, operations, constant
        self.found: dict[str, RoundedArray] = {"x0": x}

    def of(self, e: Expression) -> RoundedArray:
        if e.text not in self.found:
            self.found[e.text] = self._made(e)
        return self.found[e.text]

    def _made(self, e: Expression) -> RoundedArray:
        constant = self.constant(self.A, e)
        if constant is not None:
            return constant
        if e.name == "taken":
            signs = (int(e.value), int(e.off))
            return self.A.by_rule(rules.taken, signs, tuple(map(self.of, e.operands)))
        if e.name not in self.operations:
            raise Unnoted(f"{e.name} is no rule of arrays")
        return self.operations[e.name](self.A, *map(self.of, e.operands))


def _literal(A: RoundedArrays, e: Expression) -> RoundedArray | None:
    """A number of a program, which has it rounded where its format does not hold it."""
    if e.name:
        return None
    mid = A.mids.lift(e.value)
    return RoundedArray(A, mid, None if A.format.holds(e.value) else A.rounding(mid))


def _known(A: RoundedArrays, e: Expression) -> RoundedArray | None:
    """A constant, or a function of constants alone, as a ball."""
    if not _is_constant(e):
        return None
    with precision(BITS):
        found = _ball(e)
        if not found.is_finite():
            return None
        mid = float(found.mid())
        off = float(abs(found - mid).upper()) * (1 + 2.0**-50)
    return RoundedArray(A, A.mids.lift(mid), np.asarray(off))


def _is_constant(e: Expression) -> bool:
    return not e.name or (bool(e.operands) and all(map(_is_constant, e.operands)))


def _ball(e: Expression) -> arb:
    if e.name:
        return FUNCTIONS[e.name].ball(*map(_ball, e.operands))
    return arb(e.value) + arb(0, abs(e.value) * e.off)


def _tail(A: RoundedArrays, x: RoundedArray) -> RoundedArray:
    """e^−|x|."""
    return A.exp(-A.absolute(x))


def _softplus(A: RoundedArrays, x: RoundedArray) -> RoundedArray:
    """max(x, 0) + log(1 + e^−|x|)."""
    return A.add(A.positive_part(x), A.log1p(_tail(A, x)))


def _secant(A: RoundedArrays, x: RoundedArray) -> RoundedArray:
    """2·e^−|x|/(1 + e^−2|x|)."""
    e = _tail(A, x)
    return A.divide(A.scale(e, 2.0), A.add(A.coerce(1.0), A.square(e)))


def _normal(A: RoundedArrays, x: RoundedArray) -> RoundedArray:
    """½·erfc(−x/√2)."""
    return A.scale(A.erfc(A.multiply(-x, A.real(_ROOT_OF_HALF))), 0.5)


#: Functions of the truth: those that have a rule, without what compilers may do, and what others are of these.
_TRUE: Mapping[str, Operation] = {
    **OPERATIONS,
    "divide": lambda A, x, y: A.divide(x, y),
    "softplus": _softplus,
    "log_sigmoid": lambda A, x: -_softplus(A, -x),
    "sech": _secant,
    "ndtr": _normal,
}
