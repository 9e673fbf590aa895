"""What the rounding rules give for arrays, held against balls: the operations of `rule_values.py`, over whole arrays.

Arrays go ways of their own through the rules: guards hold of all of an array, or not; numbers underflow; midpoints have
low words; sets are mixed with numbers. Whatever the way, an element is what balls say of it (`array_rules.different`).
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from flint import arb

sys.path.insert(0, str(Path(__file__).parent))
from array_rules import BITS, LIMIT, WIDER, different
from rule_values import at_edges, operand, operations

from gradconform.reference.arithmetic.array_values import LEAST
from gradconform.reference.arithmetic.arrays import RoundedArray, RoundedArrays
from gradconform.reference.arithmetic.ball_values import Rounded
from gradconform.reference.arithmetic.exact import precision
from gradconform.reference.arithmetic.formats import FORMATS
from gradconform.reference.arithmetic.midpoints import EXACTLY, Double, OutOfRange
from gradconform.reference.arithmetic.profiles import OPENCL, STRICT
from gradconform.reference.arithmetic.rounded import RoundedBalls, Sums
from gradconform.reference.arithmetic.specials import ANYTHING

#: Rows of an array: guards hold of all of it, or not. And arrays of each kind.
ROWS, ARRAYS = 4, 11
#: Largest numbers of the arrays that are ordinary throughout: every function of them is a normal number.
SMALL = {2: 0.25, 3: 5.0}
#: From this one on all products of an array's numbers underflow in float64, or some.
TINY = 9
#: Whether midpoints are double words, and so exact.
WORDS = {"float64": (True,), "float32": (False, True), "float16": (False,), "bfloat16": (False, True)}
#: Balls as they are.
AT_EDGES = -1
SUMS: tuple[Sums, ...] = ("any", "wide", "own")
Rows = Sequence[Sequence[Rounded]]


@dataclass(frozen=True)
class OfRows:
    """An operation of three arrays (of three columns; one that is not negative; of a single column), and of balls."""

    of_arrays: Callable[[RoundedArrays, RoundedArray, RoundedArray, RoundedArray], RoundedArray]
    #: What an element of it is, by its index.
    of_balls: Callable[[RoundedBalls, Rows, Rows, Rows, Any], Rounded]


def _of_total(name: str, of: Callable[[Rows, Rows, Any], Any]) -> Callable[..., Rounded]:
    def found(ops: RoundedBalls, x: Rows, e: Rows, column: Rows, at: Any) -> Rounded:
        terms = e[at[0]]
        result: Rounded = getattr(ops, name)(*of(e, column, at), ops.total_of(terms), ops.least_of(terms))
        return result

    return found


OF_ROWS: Mapping[str, OfRows] = {
    "sum of rows": OfRows(
        lambda ops, x, e, column: ops.row_sum(x), lambda ops, x, e, column, at: ops.total_of(x[at[0]])
    ),
    "sum of columns": OfRows(
        lambda ops, x, e, column: ops.column_sum(x),
        lambda ops, x, e, column, at: ops.total_of([row[at[0]] for row in x]),
    ),
    "logarithm of a total": OfRows(
        lambda ops, x, e, column: ops.log_row_sum(e), _of_total("log_of_total", lambda e, column, at: ())
    ),
    "over a total": OfRows(
        lambda ops, x, e, column: ops.over_row_sum(column, e),
        _of_total("over_total", lambda e, column, at: column[at[0]]),
    ),
    "part of a total": OfRows(
        lambda ops, x, e, column: ops.normalised(e),
        _of_total("part_of", lambda e, column, at: (e[at[0]][at[1]],)),
    ),
    "inner products": OfRows(
        lambda ops, x, e, column: ops.product(x, e.T),
        lambda ops, x, e, column, at: ops.dot(x[at[0]], e[at[1]]),
    ),
    "inner products in the dtype": OfRows(
        lambda ops, x, e, column: ops.product_in_the_dtype(x, e.T),
        lambda ops, x, e, column, at: ops.dot(x[at[0]], e[at[1]], None, True),
    ),
    "inner products with a bias": OfRows(
        lambda ops, x, e, column: ops.linear(x, e, column.T),
        lambda ops, x, e, column, at: ops.dot(x[at[0]], e[at[1]], column[at[1]][0]),
    ),
}
#: What arrays do not have, or otherwise: they do not look whether a number is one of the format.
OF_BALLS = ("maximum", "reported", "log_of_total", "over_total", "part_of", "converted", "over another total")
#: What takes long and goes the same way as others that are asked.
AS_OTHERS = ("derivative of sigmoid", "derivative of selu", "derivative of silu")
#: By how much radii may be larger where several operations enlarge them, or where they are bounded in float32.
ENLARGED = {
    "sigmoid": 2.0**-18,
    **dict.fromkeys(("logarithm of a total", "over a total", "part of a total"), 2.0**-26),
    **dict.fromkeys(("inner products", "inner products in the dtype", "inner products with a bias"), 2.0**-18),
}


def _elementwise(operation: Callable[..., Any], arity: int) -> OfRows:
    def of_balls(ops: RoundedBalls, *x: Any) -> Rounded:
        *rows, (i, j) = x
        shapes = [row[i] for row in rows[:arity]]
        found: Rounded = operation(ops, *[row[min(j, len(row) - 1)] for row in shapes])
        return found

    return OfRows(lambda ops, *x: operation(ops, *x[:arity]), of_balls)


def array_operations() -> Mapping[str, OfRows]:
    """Every operation by its name."""
    single = {
        name: _elementwise(operation, arity)
        for name, (arity, operation) in operations().items()
        if name not in (*OF_BALLS, *AS_OTHERS) and not name.startswith(("sum", "inner"))
    }
    reported = OfRows(
        lambda ops, x, e, column: ops.reported(x.high),
        lambda ops, x, e, column, at: ops.reported(float(x[at[0]][at[1]].exact)),
    )
    return {**single, "reported": reported, **OF_ROWS}


def array_cases(name: str) -> Iterator[Callable[[], str]]:
    """Every use of an operation, each a function that says what is not as balls have it; nothing, if all is."""
    operation = array_operations()[name]
    for f in FORMATS.values():
        for profile in (OPENCL, STRICT):
            draw, balls = Random(f"{name} {f.name} {profile.name} arrays"), RoundedBalls(f, profile)
            for number in range(ARRAYS):
                drawn = [[operand(balls, draw) for _ in range(ROWS * 3)] for _ in range(3)]
                for exact in WORDS[f.name]:
                    ops = RoundedArrays(f, profile, exact, SUMS[number % 3])
                    x, e = (_array(ops, d, (ROWS, 3), number) for d in (drawn[0], _positive(drawn[1])))
                    column = _array(ops, drawn[2][:ROWS], (ROWS, 1), number)
                    if name in ("select", "step") and x.radius is not None:
                        # Arrays do not say on which side of 0 a number is that is near, beside its radius.
                        side = np.where(x.high == 0, np.inf, np.minimum(np.abs(x.high), 2.0**1000) * 2.0**10)
                        x = RoundedArray(ops, x.mid, np.minimum(x.radius, side), x.spread, x.specials)
                    yield lambda ops=ops, at=(x, e, column): _difference(name, operation, ops, *at)  # type: ignore[misc]
            if edges := at_edges(balls, name) if name != "sigmoid" else []:
                for exact in WORDS[f.name]:
                    ops = RoundedArrays(f, profile, exact)
                    at_edge = [_array(ops, of, (len(of), 1), AT_EDGES) for of in zip(*edges, strict=True)]
                    yield lambda ops=ops, at=at_edge: _difference(name, operation, ops, *at)  # type: ignore[misc]


def _positive(balls: Sequence[Rounded]) -> list[Rounded]:
    return [Rounded(b.arithmetic, abs(b.exact), b.radius, b.specials, b.spread) for b in balls]


def _array(ops: RoundedArrays, balls: Sequence[Rounded], shape: tuple[int, int], number: int) -> RoundedArray:
    """Balls as an array: known exactly; small numbers; without sets and specials; or all that they are."""

    def parts(of: Callable[[Rounded], float]) -> Any:
        return np.array([of(b) for b in balls]).reshape(shape)

    numbers, radius = parts(lambda b: float(b.exact)), parts(lambda b: float(b.radius.upper()))
    # Double words do not hold the digits of numbers near float64's least ones, and refuse them.
    numbers[np.abs(numbers) < 2.0**-500] *= 2.0**600
    if number >= TINY:
        numbers = np.sign(numbers) * np.where((np.abs(numbers) > 1) & (number > TINY), 2.0**600, 2.0**-600)
    if number in SMALL:
        numbers = np.clip(numbers, -SMALL[number], SMALL[number])
    mid = ops.mids.lift(numbers)
    if ops.mids is Double and 0 <= number < TINY:  # with low words: a ball's ends are no number of which a rule asks
        mid = ops.mids.add(mid, ops.mids.lift(numbers * 2.0**-57))
        radius *= 0.8125
    if number in (0, 1) or number >= TINY:
        return RoundedArray(ops, mid)
    if number in SMALL:
        return RoundedArray(ops, mid, np.minimum(radius, 2.0**-4))
    if 0 <= number < 6:
        return RoundedArray(ops, mid, np.minimum(radius, 0.375) if number == 4 else radius)
    spread = parts(lambda b: float(b.spread.upper())) if number % 2 else None
    return RoundedArray(ops, mid, radius, spread, parts(lambda b: b.specials).astype(np.uint8))


def _rows(ops: RoundedArrays, x: RoundedArray) -> Rows:
    return [[ops.scalar(x, (i, j), x.shape) for j in range(x.shape[1])] for i in range(x.shape[0])]


def _difference(name: str, operation: OfRows, ops: RoundedArrays, *operands: RoundedArray) -> str:
    """The first element that is not what balls say of it, in words."""
    try:
        with np.errstate(all="ignore"):
            found = operation.of_arrays(ops, *operands)
    except OutOfRange:  # of double words, and so it is said
        return ""
    known: dict[tuple[int, int], list[Rows]] = {}
    for at in np.ndindex(*found.shape):

        def said(bits: int, nudge: int, at: tuple[int, ...] = at) -> str:
            with precision(bits):
                if (bits, nudge) not in known:
                    known[bits, nudge] = [_rows(ops, x, nudge) for x in operands]
                rows = known[bits, nudge]
                element, ball = ops.scalar(found, at, found.shape), operation.of_balls(ops.balls, *rows, at)
                return _apart(name, element, ball, found, [x for of in rows for row in of for x in row])

        first = said(BITS, 0) and said(EXACTLY, 0)  # a sum of very large and very small numbers takes many bits
        if not first:
            continue
        more, less = said(BITS, 1), said(BITS, -1)
        between = more == "narrower" and less.startswith(("wider", "bits"))
        if more and less and not between:
            return f"{name} in {ops.format.name} at {at}: {first}"
    return ""


def _apart(name: str, element: Rounded, ball: Rounded, found: RoundedArray, operands: Sequence[Rounded]) -> str:
    """What an array's element has that a ball has not, in words."""
    ops = found.arithmetic
    large = max(float((abs(x.exact) + x.radius).mid()) for x in operands)
    widths = max(float(x.spread.mid()) for x in operands) * max(1.0, large)
    beyond = not max(large, float((abs(ball.exact) + ball.radius).mid())) < LIMIT
    if beyond and (element.specials & ANYTHING or not element.radius.is_finite() or name == "bounded"):
        return ""
    if element.exact.is_zero() and not element.specials & ANYTHING:
        # 0 may stand for what is not 0, and then its radius is not 0 either; what is 0 is known to be.
        if ball.exact != 0 and element.radius.is_zero():
            return "narrower"
        if ball.is_zero() and not element.radius.is_zero():
            return "wider"
    # What is rounded of a set's width is radius, in float32 where products of matrices are bounded in it.
    within = widths * 2.0 ** (-20 if name.startswith("inner") else -50) + 16 * LEAST
    within += {"sigmoid": ops.half_tiny, "bounded": large * 2.0**-49}.get(name, 0.0)
    if name.startswith("derivative"):  # |f''| is bounded over the midpoints' arithmetic, and may be larger
        ball = Rounded(ball.arithmetic, ball.exact, ball.radius, element.specials | ball.specials, ball.spread)
        return different(element, ball, ops, math.inf, within, large)
    return different(element, ball, ops, ENLARGED.get(name, WIDER), within, large)


def _rows(ops: RoundedArrays, x: RoundedArray, nudge: int) -> Rows:
    """The balls of an array; or with radii that are more or less by what a midpoint, or its low word, may be off by."""
    of = [[ops.scalar(x, (i, j), x.shape) for j in range(x.shape[1])] for i in range(x.shape[0])]
    part = max(4 * ops.slack, 2.0**-28)
    return [[_nudged(ball, nudge, part) for ball in row] for row in of] if nudge else of


def _nudged(x: Rounded, nudge: int, part: float) -> Rounded:
    radius = x.radius * (1 + nudge * part) + nudge * abs(x.exact) * arb(2) ** -50
    return Rounded(x.arithmetic, x.exact, radius if radius > 0 else arb(0), x.specials, x.spread)
