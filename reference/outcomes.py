"""Outcomes: what one program may give, path by path, where an operation of it may overflow.

A `Rounded` value holds its ball and its specials side by side, as if a program could give any of them whatever it gave
before. It cannot: where e^z is infinite, e^z/(1 + e^z) is NaN and nothing else. Here each operation that may overflow
splits the run in two: in one its result is a number of the ball, in the other exactly the infinity, and everything
after it follows (IEEE 754-2019 §6). The outcomes are the results of all runs.

The same operation on the same operands overflows or does not: one decision. Where the exact result lies beyond the
format for certain, a program overflows unless it computes in a wider one, and then it does so throughout: one decision
too.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import numpy as np
from flint import arb

from gradconform.reference.arithmetic.function_rules import sides
from gradconform.reference.arithmetic.rounded import (
    ANYTHING,
    NAN,
    NEGATIVE,
    OVERFLOWED,
    POSITIVE,
    ZERO,
    Numbers,
    Remembering,
    Rounded,
    RoundedBalls,
)
from gradconform.reference.arithmetic.rules import ways
from gradconform.reference.arithmetic.specials import ieee, representatives
from gradconform.reference.equations import Slope

#: Runs of one program that are made; of one with more nothing is said but that it may overflow.
MOST_RUNS = 256

_OF_BIT = ((POSITIVE, math.inf), (NEGATIVE, -math.inf), (NAN, math.nan))


class Special:
    """Exactly an infinity or NaN, in arithmetic with `Rounded` values."""

    __slots__ = ("arithmetic", "value")

    def __init__(self, arithmetic: BranchingBalls, value: float) -> None:
        self.arithmetic, self.value = arithmetic, value

    def __repr__(self) -> str:
        return f"Special({self.value!r})"

    def folded(self) -> Special:
        return self

    def under(self, arithmetic: BranchingBalls) -> Special:
        return Special(arithmetic, self.value)

    def __neg__(self) -> Special:
        return Special(self.arithmetic, -self.value)

    def __add__(self, other: Any) -> Outcome:
        return self.arithmetic.add(self, self.arithmetic.coerce(other))

    __radd__ = __add__

    def __sub__(self, other: Any) -> Outcome:
        return self.arithmetic.add(self, self.arithmetic.negative(self.arithmetic.coerce(other)))

    def __rsub__(self, other: Any) -> Outcome:
        return self.arithmetic.add(self.arithmetic.coerce(other), -self)

    def __mul__(self, other: Any) -> Outcome:
        return self.arithmetic.multiply(self, self.arithmetic.coerce(other))

    __rmul__ = __mul__

    def __truediv__(self, other: Any) -> Outcome:
        return self.arithmetic.divide(self, self.arithmetic.coerce(other))

    def __rtruediv__(self, other: Any) -> Outcome:
        return self.arithmetic.divide(self.arithmetic.coerce(other), self)

    def __pow__(self, power: int) -> Outcome:
        return self.arithmetic.square(self)


#: A ball without specials, a value of which nothing is known (ANYTHING), or exactly a special.
Outcome = Any


class Choices:
    """The decisions of one run: those of the script first, then always the first choice."""

    def __init__(self, script: Sequence[int] = ()) -> None:
        self.script = tuple(script)
        self.made: dict[object, int] = {}
        self.choices: list[int] = []

    def decide(self, key: object, choices: int) -> int:
        if key not in self.made:
            number = len(self.choices)
            self.made[key] = self.script[number] if number < len(self.script) else 0
            self.choices.append(choices)
        return min(self.made[key], choices - 1)

    def alternatives(self) -> Iterable[tuple[int, ...]]:
        """The scripts that differ from this run in one decision that it was free to make."""
        taken = list(self.made.values())
        for number in range(len(self.script), len(self.choices)):
            for other in range(1, self.choices[number]):
                yield (*taken[:number], other)


def outcomes(formula: Callable[[BranchingBalls], Any], balls: RoundedBalls, most: int = MOST_RUNS) -> tuple[Any, ...]:
    """Every outcome of a program, given as a function of the arithmetic; the one without overflow first.

    Its value may be an array of them. Of a program with more than `most` runs, or with too much work in them, one more
    of which nothing is known.
    """
    found: list[Any] = []
    scripts: list[tuple[int, ...]] = [()]
    while scripts:
        if len(found) == most:
            nothing = Rounded(balls, ZERO, ZERO, ANYTHING | OVERFLOWED)
            first = found[0]
            return (*found, np.full(first.shape, nothing, dtype=object) if isinstance(first, np.ndarray) else nothing)
        decisions = Choices(scripts.pop())
        found.append(formula(BranchingBalls(balls, decisions)))
        scripts += decisions.alternatives()
    return tuple(found)


def apart(value: Rounded) -> tuple[Outcome, ...]:
    """A value's ball and its specials as outcomes, where the bits are all that is known."""
    if value.specials & ANYTHING:
        return (value,)
    arithmetic = value.arithmetic
    ball = Rounded(arithmetic, value.exact, value.radius, 0, value.spread)
    return ball, *(Special(arithmetic, v) for bit, v in _OF_BIT if value.specials & bit)  # type: ignore[arg-type]


def _splitting(name: str) -> Callable[..., Outcome]:
    """An operation of numbers, of which each run takes one outcome."""
    operation = getattr(RoundedBalls, name)
    return lambda self, *operands: self._applied(name, operation, *operands)


class BranchingBalls(RoundedBalls):
    """`RoundedBalls` in which no value is both a ball and a special."""

    def __init__(self, balls: RoundedBalls, decisions: Choices) -> None:
        whole = balls.whole  # what has no path of ours is computed in
        # All that is known of the format is that arithmetic's; values are this one's. One is made for every run.
        vars(self).update(vars(balls), whole=whole, value=partial(Rounded, self), _constants={})
        self.decisions = decisions

    def keeping_subnormals(self, balls: RoundedBalls) -> BranchingBalls:
        return BranchingBalls(balls, self.decisions)

    def read(self, x: Rounded) -> Outcome:
        """An operand: one of what it may be."""
        return x if isinstance(x, Special) else self.settled("operand", (x,), x.under(self))

    def given(self, x: float) -> Outcome:
        """A number, or exactly the infinity or NaN that a framework reported."""
        return super().given(x) if math.isfinite(x) else Special(self, x)

    def coerce(self, x: Any) -> Outcome:
        return x if isinstance(x, Special) else super().coerce(x)

    def settled(self, name: str, operands: Sequence[Rounded], result: Rounded) -> Outcome:
        """The result, decided: a ball, or exactly one of its specials."""
        if isinstance(result, Special):  # a set's operation was decided as that of its folded operands
            return result
        if not (result.exact.is_finite() and result.radius.is_finite()):  # beyond even a ball's exponents, or n/0
            return Rounded(self, ZERO, ZERO, ANYTHING | result.specials)
        if not result.specials or result.specials & ANYTHING:
            return result
        kinds = [value for bit, value in _OF_BIT if result.specials & bit]
        if kinds and self._overflows(name, operands, abs(result.exact) - result.radius >= self.overflow):
            which = self.decisions.decide(("which", name, *map(_digits, operands)), len(kinds)) if len(kinds) > 1 else 0
            return Special(self, kinds[which])
        return Rounded(self, result.exact, result.radius, 0, result.spread)

    def _overflows(self, name: str, operands: Sequence[Rounded], certain: bool) -> bool:
        """Whether in this run the result is a special; `certain`: unless the program computes in a wider format."""
        return bool(self.decisions.decide("beyond" if certain else (name, *map(_digits, operands)), 2))

    def _applied(self, name: str, operation: Callable[..., Rounded], *operands: Outcome) -> Outcome:
        """An operation of numbers, of which some may be specials."""
        for o in operands:
            if isinstance(o, Special):
                break
        else:
            return self.settled(name, operands, operation(self, *operands))
        if any(isinstance(o, Rounded) and o.specials & ANYTHING for o in operands):
            return self._anything()
        values = self._possible(name, *operands)
        choice = self.decisions.decide((name, *map(_digits, operands)), len(values)) if len(values) > 1 else 0
        value = values[choice]
        return self.given(value) if math.isfinite(value) else Special(self, value)

    def _possible(self, name: str, *operands: Outcome) -> list[float]:
        """All that an operation may give of numbers, of which some are specials, each by one of its sign."""
        signs = [[o.value] if isinstance(o, Special) else representatives(ways(self, o.folded())) for o in operands]
        found = {repr(v): v for values in itertools.product(*signs) for v in ieee(name, *values)}
        return [found[key] for key in sorted(found)]

    def _anything(self) -> Rounded:
        """What IEEE makes of a special and a number of which nothing is known: any number, infinity or NaN."""
        return Rounded(self, ZERO, ZERO, ANYTHING | OVERFLOWED)

    def _summed(self, name: str, operation: Callable[..., Rounded], *lists: Sequence[Outcome]) -> Outcome:
        """A sum, of terms or of products, of which some are specials."""
        specials = [t for terms in lists for t in terms if isinstance(t, Special)]
        if not specials:
            flat = [t for terms in lists for t in terms]
            return self.settled(name, flat, operation(*lists))
        if any(isinstance(t, Rounded) and t.specials & ANYTHING for terms in lists for t in terms):
            return self._anything()
        terms = list(zip(*lists, strict=True))
        finite = [t for t in terms if not any(isinstance(x, Special) for x in t)]
        # What is finite of them may overflow by itself, and meet the opposite infinity.
        sure = not finite or not operation(*map(list, zip(*finite, strict=True))).specials
        odd = [t for t in terms if any(isinstance(x, Special) for x in t)]
        values = [[t[0].value] if len(t) == 1 else self._possible("multiply", *t) for t in odd]
        if sure and all(len(v) == 1 for v in values):
            return Special(self, sum(v for (v,) in values))
        kinds = (math.nan, math.inf, -math.inf)
        return Special(self, kinds[self.decisions.decide((name, *map(_digits, specials)), len(kinds))])

    def negative(self, a: Outcome) -> Outcome:
        return -a if isinstance(a, Special) else super().negative(a)

    add, multiply, divide, square = (_splitting(n) for n in ("add", "multiply", "divide", "square"))
    exp, expm1, log, log1p, sqrt = (_splitting(n) for n in ("exp", "expm1", "log", "log1p", "sqrt"))
    sin, cos, tanh, sinh, cosh = (_splitting(n) for n in ("sin", "cos", "tanh", "sinh", "cosh"))
    erf, erfc, positive_part, absolute = (_splitting(n) for n in ("erf", "erfc", "positive_part", "absolute"))

    def scale(self, a: Outcome, power: float) -> Outcome:
        if isinstance(a, Special):
            return self.multiply(a, self.coerce(power))
        return self._applied("scale", lambda ops, x: RoundedBalls.scale(ops, x, power), a)

    def maximum(self, a: Outcome, b: Outcome) -> Outcome:
        for lowest, other in ((a, b), (b, a)):
            if isinstance(lowest, Special) and lowest.value == -math.inf:
                return other  # the number itself, not just its sign
        return self._applied("maximum", RoundedBalls.maximum, a, b)

    def sigmoid(self, x: Outcome) -> Outcome:
        return self._applied("sigmoid", lambda ops, x: ops.whole.sigmoid(x), x)

    def derivative(self, z: Outcome, rule: Slope) -> Outcome:
        if isinstance(z, Special):
            return Rounded(self, ZERO, ZERO, ANYTHING)
        whole = Remembering(self.format, self.profile)  # σ is in the slope and in the curvature
        found = whole.derivative(z.under(whole), rule).under(self)
        return self.settled("derivative", (z,), found)

    def bounded(self, x: Outcome, low: Outcome, high: Outcome) -> Outcome:
        if isinstance(x, Special) or isinstance(low, Special) or isinstance(high, Special):
            return x
        return self.settled("bounded", (x,), super().bounded(x, low, high))

    def unrounded(self, x: Outcome) -> Outcome:
        return x if isinstance(x, Special) else super().unrounded(x)

    def total_of(self, terms: Sequence[Outcome]) -> Outcome:
        return self._summed("sum", super().total_of, terms)

    def least_of(self, terms: Sequence[Outcome]) -> arb:
        return super().least_of([t for t in terms if isinstance(t, Rounded)])

    def log_of_total(self, total: Outcome, least: arb) -> Outcome:
        if isinstance(total, Special):
            return self.log(total)
        return self.settled("log", (total,), super().log_of_total(total, least))

    def over_total(self, x: Outcome, total: Outcome, least: arb) -> Outcome:
        if isinstance(x, Special) or isinstance(total, Special):
            return self.divide(x, total)
        return self.settled("divide", (x, total), super().over_total(x, total, least))

    def part_of(self, x: Outcome, total: Outcome, least: arb) -> Outcome:
        quotient = self.over_total(x, total, least)  # decided once: the same is asked of it below
        if any(isinstance(v, Special) for v in (x, total, quotient)):
            return quotient
        return self.settled("divide", (x, total), super().part_of(x, total, least))

    def dot(
        self, a: Sequence[Outcome], b: Sequence[Outcome], bias: Outcome | None = None, own: bool = False
    ) -> Outcome:
        one = self.coerce(1.0)
        left, right = (list(a), list(b)) if bias is None else ([*a, bias], [*b, one])
        if any(isinstance(t, Special) for t in (*left, *right)):
            return self._summed("dot", super().dot, left, right)
        return self.settled("dot", (*left, *right), super().dot(a, b, bias, own))

    def dot_of_numbers(self, a: Numbers, b: Numbers, bias: float | None = None) -> Outcome:
        found: Outcome = super().dot_of_numbers(a, b, bias)
        return found if isinstance(found, Special) else self.settled("dot", (found,), found)

    def total_of_numbers(self, numbers: Numbers) -> Outcome:
        found: Outcome = super().total_of_numbers(numbers)
        return found if isinstance(found, Special) else self.settled("sum", (found,), found)

    def select(self, x: Outcome, above: Outcome, below: Outcome) -> Outcome:
        return self._side(super().select, x, above, below)

    def step(self, x: Outcome, above: Outcome, below: Outcome) -> Outcome:
        return self._side(super().step, x, above, below)

    def _side(self, operation: Callable[..., Rounded], x: Outcome, above: Outcome, below: Outcome) -> Outcome:
        """A choice between branches: where the ball does not decide it and one of them is a special, a decision."""
        above, below = self.coerce(above), self.coerce(below)
        if isinstance(x, Special):
            if math.isnan(x.value):
                return Rounded(self, ZERO, ZERO, ANYTHING)
            return above if x.value > 0 else below
        if isinstance(above, Special) or isinstance(below, Special):
            over, under = sides(self, x.folded())
            if over or under:
                return above if over else below
            return (above, below)[self.decisions.decide(("side", _digits(x)), 2)]
        return operation(x, above, below)


def _digits(x: Outcome) -> object:
    """What tells one operand from another."""
    if isinstance(x, Special):
        return repr(x.value)
    return tuple(v.mid().man_exp() if v.is_finite() else str(v) for v in (x.exact, x.radius))
