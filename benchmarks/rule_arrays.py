"""What the rounding rules give for arrays: the operations of `rule_values.py`, over whole arrays of the same operands.

Midpoints and bounds of arrays are float64's, rounded by each computer's own functions: this is compared within one
process only, by `rule_sieve.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from random import Random
from typing import Any

import numpy as np
from rule_values import operand, operations

from gradconform.reference.arithmetic.arrays import RoundedArray, RoundedArrays
from gradconform.reference.arithmetic.ball_values import Rounded
from gradconform.reference.arithmetic.formats import FORMATS
from gradconform.reference.arithmetic.midpoints import Double
from gradconform.reference.arithmetic.profiles import OPENCL, STRICT
from gradconform.reference.arithmetic.rounded import RoundedBalls, Sums

#: Rows of an array: guards hold of all of it, or not. And arrays of each kind.
ROWS, ARRAYS = 12, 9
#: Largest numbers of the arrays that are ordinary throughout: every function of them is a normal number.
SMALL = {2: 0.25, 3: 5.0}
SUMS: tuple[Sums, ...] = ("any", "wide", "own")
#: An operation of three arrays: one of three columns, one that is not negative, and one of a single column.
Operation = Callable[[RoundedArrays, RoundedArray, RoundedArray, RoundedArray], RoundedArray]

OF_ROWS: Mapping[str, Operation] = {
    "sum of rows": lambda ops, x, e, column: ops.row_sum(x),
    "sum of columns": lambda ops, x, e, column: ops.column_sum(x),
    "logarithm of a total": lambda ops, x, e, column: ops.log_row_sum(e),
    "over a total": lambda ops, x, e, column: ops.over_row_sum(column, e),
    "part of a total": lambda ops, x, e, column: ops.normalised(e),
    "inner products": lambda ops, x, e, column: ops.product(x, e.T),
    "inner products in the dtype": lambda ops, x, e, column: ops.product_in_the_dtype(x, e.T),
    "inner products with a bias": lambda ops, x, e, column: ops.linear(x, e, column.T),
}
#: What arrays do not have, or otherwise.
OF_BALLS = ("maximum", "reported", "log_of_total", "over_total", "part_of")


def _elementwise(operation: Callable[..., Any], arity: int) -> Operation:
    def applied(ops: RoundedArrays, *x: RoundedArray) -> RoundedArray:
        found: RoundedArray = operation(ops, *x[:arity])
        return found

    return applied


def array_operations() -> Mapping[str, Operation]:
    """Every operation by its name."""
    single = {
        name: _elementwise(operation, arity)
        for name, (arity, operation) in operations().items()
        if name not in OF_BALLS and not name.startswith(("sum", "inner"))
    }
    return {**single, "reported": lambda ops, x, e, column: ops.reported(x.high), **OF_ROWS}


def array_cases(name: str) -> Iterator[Callable[[], str]]:
    """Every use of an operation, each a function that says what it gives."""
    operation = array_operations()[name]
    for f in FORMATS.values():
        for profile in (OPENCL, STRICT):
            draw, balls = Random(f"{name} {f.name} {profile.name} arrays"), RoundedBalls(f, profile)
            for number in range(ARRAYS):
                drawn = [[operand(balls, draw) for _ in range(ROWS * 3)] for _ in range(3)]
                for exact in (False, True) if f.precision <= 24 else (True,):
                    ops = RoundedArrays(f, profile, exact, SUMS[number % 3])
                    x, e = (_array(ops, d, (ROWS, 3), number) for d in (drawn[0], _positive(drawn[1])))
                    column = _array(ops, drawn[2][:ROWS], (ROWS, 1), number)
                    yield lambda ops=ops, at=(x, e, column): _text(operation, ops, *at)  # type: ignore[misc]


def _positive(balls: Sequence[Rounded]) -> list[Rounded]:
    return [Rounded(b.arithmetic, abs(b.exact), b.radius, b.specials, b.spread) for b in balls]


def _array(ops: RoundedArrays, balls: Sequence[Rounded], shape: tuple[int, int], number: int) -> RoundedArray:
    """Balls as an array: known exactly; small numbers; without sets and specials; or all that they are."""

    def parts(of: Callable[[Rounded], float]) -> Any:
        return np.array([of(b) for b in balls]).reshape(shape)

    numbers, radius = parts(lambda b: float(b.exact)), parts(lambda b: float(b.radius.upper()))
    # Double words do not hold the digits of numbers near float64's least ones, and refuse them.
    numbers[np.abs(numbers) < 2.0**-500] *= 2.0**600
    if number in SMALL:
        numbers = np.clip(numbers, -SMALL[number], SMALL[number])
    mid = ops.mids.lift(numbers)
    if ops.mids is Double:  # with low words
        mid = ops.mids.add(mid, ops.mids.lift(numbers * 2.0**-57))
    if number < 2:
        return RoundedArray(ops, mid)
    if number in SMALL:
        return RoundedArray(ops, mid, np.minimum(radius, 2.0**-4))
    if number < 6:
        return RoundedArray(ops, mid, np.minimum(radius, 0.375) if number == 4 else radius)
    spread = parts(lambda b: float(b.spread.upper())) if number % 2 else None
    return RoundedArray(ops, mid, radius, spread, parts(lambda b: b.specials).astype(np.uint8))


def _text(operation: Operation, ops: RoundedArrays, *operands: RoundedArray) -> str:
    """Every number of the result, to its last digit; or what it raises."""
    try:
        with np.errstate(all="ignore"):
            found = operation(ops, *operands)
    except ArithmeticError as error:
        return type(error).__name__
    mids = ops.mids
    parts = (mids.high(found.mid), mids.low(found.mid), found.radius, found.spread, found.specials)
    return " ".join("none" if p is None else np.ascontiguousarray(p).tobytes().hex() for p in parts)
