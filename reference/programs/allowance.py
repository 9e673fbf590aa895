"""A record with rounding: what its program may hold for every number, under the hypotheses of a profile.

The project's one arithmetic of rounded balls evaluates every step in the step's own format. Where an operation may
overflow the run splits in two, as in `outcomes`: a program gives the infinities and NaN of its own paths and no others.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from itertools import islice
from types import MappingProxyType
from typing import Any

from flint import arb

from gradconform.reference.arithmetic.formats import FORMATS, Format
from gradconform.reference.arithmetic.profiles import LENIENT, Profile
from gradconform.reference.arithmetic.rounded import ANYTHING, OVERFLOWED, ZERO, Rounded, RoundedBalls, Sums
from gradconform.reference.arithmetic.rules import computed_within, converted, once_more
from gradconform.reference.outcomes import BranchingBalls, Choices, Outcome, Special
from gradconform.reference.programs.exact import pairs, rows
from gradconform.reference.programs.functions import BALL_OPERATIONS, FUNCTIONS, MEASURED
from gradconform.reference.programs.implicit import Implicit
from gradconform.reference.programs.record import SPECIALS_OF_THEIR_OWN, STOPPED, Decision, Ids, Record, Step, Taken


@cache
def with_table(profile: Profile) -> Profile:
    """The profile, with the table's K for every function that it does not name itself."""

    def full(name: str, ulps: Mapping[str, float]) -> Mapping[str, float]:
        half = name in ("float16", "bfloat16")
        table = {f.name: f.half if half else f.ulps for f in FUNCTIONS.values() if f.ulps is not None}
        return MappingProxyType({**table, **ulps})

    return replace(profile, ulps=MappingProxyType({n: full(n, u) for n, u in profile.ulps.items()}))


class Allowed:
    """What a program may hold for each number of its record, by id.

    `given` numbers, those of `held` by default, are known exactly. `form` says which of a kernel's accepted forms is
    followed: the number-th, or its last where it has fewer. `sums` is as in `RoundedBalls`. What solves equations is
    the solution beside the numbers `near`, where they are given.
    """

    def __init__(
        self,
        record: Record,
        profile: Profile,
        decisions: Choices | None = None,
        sums: Sums = "any",
        form: Taken = 0,
        given: Mapping[int, float] | None = None,
        near: Mapping[int, float] | None = None,
    ) -> None:
        self.record, self.form, self.near = record, form, near or {}
        self.decisions = decisions or Choices()
        constants = with_table(profile)
        self.arithmetics = {
            name: BranchingBalls(RoundedBalls(profile.format(format), constants, sums), self.decisions)
            for name, format in FORMATS.items()
        }
        self.values: list[Outcome | None] = [None] * record.size
        self.given = dict(given or {})
        self._same: dict[int, int] = {}
        #: Choices whose decision the rounding leaves open.
        self.open: set[int] = set()

    def value(self, i: int, ops: BranchingBalls) -> Outcome:
        """A number as the arithmetic of a step reads it."""
        found = self.values[i]
        if found is None:
            x = self.given.get(i, float(self.record.held[i]))
            found = self.values[i] = self._number(x, ops)
        if isinstance(found, Special):
            return Special(ops, found.value)
        return found if found.arithmetic is ops else ops.read(found.under(ops))

    @staticmethod
    def _number(x: float, ops: BranchingBalls) -> Outcome:
        if not math.isfinite(x) or ops.format.holds(x):
            return ops.given(x)
        return ops.constant(arb(x))  # a literal that the format does not hold

    def follow(self, decisions: Choices) -> None:
        """Decide overflows by these from here on."""
        self.decisions = decisions
        for ops in self.arithmetics.values():
            ops.decisions = decisions

    def go_on(self) -> None:
        """Have room for what the record has got since."""
        self.values += [None] * (self.record.size - len(self.values))

    def evaluate(self, steps: Iterable[Step] | None = None) -> Allowed:
        for step in self.record.steps if steps is None else steps:
            _RULES[step.kind](self, step, self.arithmetics[step.format.name])
        return self

    def forget(self, ids: Iterable[int]) -> None:
        """Take these numbers as the framework held them, whatever was computed for them."""
        for i in ids:
            self.values[i] = None
            self._same.pop(i, None)

    def _store(self, step: Step, values: Iterable[Outcome]) -> None:
        for i, value in zip(step.out.ravel().tolist(), values, strict=True):
            self.values[i] = value

    # Steps ------------------------------------------------------------------------------------------------------------

    def _map(self, step: Step, ops: BranchingBalls) -> None:
        operands = [o.ravel().tolist() for o in step.operands]
        function = OPERATIONS.get(step.function)

        def of(ids: tuple[int, ...]) -> Outcome:
            if step.function == "multiply" and ids[0] == ids[1]:
                return ops.square(self.value(ids[0], ops))
            x = [self.value(i, ops) for i in ids]
            if step.function == "subtract" and ids[0] == ids[1] and isinstance(x[0], Rounded) and not x[0].specials:
                return ops.given(0.0)  # whatever it was rounded to
            return function(ops, *x) if function else general(ops, step.function, x)

        self._store(step, map(of, zip(*operands, strict=True)))

    def _sop(self, step: Step, ops: BranchingBalls) -> None:
        plain = len(step.operands) == 1

        def of(terms: Sequence[tuple[int, int]]) -> Outcome:
            left = [self.value(i, ops) for i, _ in terms]
            if len(terms) == 1 and plain:
                return left[0]
            return ops.total_of(left) if plain else ops.dot(left, [self.value(j, ops) for _, j in terms])

        self._store(step, (of(terms) if terms else ops.given(0.0) for terms in pairs(step)))

    def _product(self, step: Step, ops: BranchingBalls) -> None:
        def of(row: Sequence[int]) -> Outcome:
            found = self.value(row[0], ops)
            for i in row[1:]:
                found = ops.multiply(found, self.value(i, ops))
            return found

        # In whatever order: the first order of magnitude is the same for all, and K·u a factor is what is allowed.
        self._store(step, map(of, rows(step.operands[0])))

    def _extreme(self, step: Step, ops: BranchingBalls) -> None:
        def of(number: int, row: Sequence[int]) -> Outcome:
            ids = list(dict.fromkeys(self._root(i) for i in row))
            values = {i: self.value(i, ops) for i in ids}
            candidates = self._largest(values, 1 if step.kind == "maximum" else -1)
            if len(candidates) == 1:
                self._same[number] = candidates[0]  # `x == max(x)` compares a number with itself
                return _passed(values[candidates[0]], ops)
            found = values[candidates[0]]
            for i in candidates[1:]:
                other = values[i]
                found = ops.maximum(found, other) if step.kind == "maximum" else -ops.maximum(-found, -other)
            return found

        outs = step.out.ravel().tolist()
        self._store(step, (of(n, row) for n, row in zip(outs, rows(step.operands[0]), strict=True)))

    def candidates(self, step: Step, row: Sequence[int]) -> list[int]:
        """Of a maximum's or minimum's row what a program may take, each number once."""
        ops = self.arithmetics[step.format.name]
        first: dict[int, int] = {}
        for i in row:
            first.setdefault(self._root(i), i)
        found = self._largest({r: self.value(r, ops) for r in first}, 1 if step.kind == "maximum" else -1)
        return [first[i] for i in found]

    def _largest(self, values: Mapping[int, Outcome], sign: int) -> list[int]:
        """Those of a row that a program may find the largest: what is certainly below another is left out."""
        nan = [i for i, v in values.items() if isinstance(v, Special) and math.isnan(v.value)]
        unknown = [i for i, v in values.items() if isinstance(v, Rounded) and v.specials & ANYTHING]
        if nan or unknown:
            return (nan or unknown)[:1]
        infinite = [i for i, v in values.items() if isinstance(v, Special) and v.value * sign > 0]
        if infinite:
            return infinite[:1]
        finite = {i: v.folded() for i, v in values.items() if isinstance(v, Rounded)}
        if not finite:
            return list(values)[:1]
        least = max((sign * v.exact - v.radius for v in finite.values()), key=lambda x: float(x.mid()))
        kept = [i for i, v in finite.items() if not sign * v.exact + v.radius < least]
        best = max(kept, key=lambda i: float((sign * finite[i].exact).mid()))
        exactly = [i for i in kept if i != best and not (finite[i].radius.is_zero() and finite[best].radius.is_zero()
                                                          and finite[i].exact == finite[best].exact)]  # fmt: skip
        return [best, *exactly]

    def _root(self, i: int) -> int:
        while i in self._same:
            i = self._same[i]
        return i

    def _choose(self, step: Step, ops: BranchingBalls) -> None:
        assert step.first is not None
        assert step.decided is not None
        a, b = (o.ravel().tolist() for o in step.operands)

        def of(first: bool, decision: int, i: int, j: int) -> Outcome:
            taken, other = (i, j) if first else (j, i)
            chosen = self.value(taken, ops)
            if not decision:
                return chosen
            chosen = _passed(chosen, ops)  # a compiler makes a maximum of it
            if taken == other or not self.may_differ(decision, ops):
                return chosen
            self.open.add(decision)
            beside = self.value(other, ops)
            if isinstance(chosen, Special) or isinstance(beside, Special) or _vague(beside) != _vague(chosen):
                return chosen if ops.decisions.decide(("side", decision), 2) == 0 else beside
            return ops.either(chosen, beside)

        given = zip(step.first.ravel().tolist(), step.decided.ravel().tolist(), a, b, strict=True)
        self._store(step, (of(*each) for each in given))

    def may_differ(self, number: int, ops: BranchingBalls) -> bool:
        """Whether the program may decide otherwise than the run did, as far as the rounding says."""
        decision = self.record.decisions[number]
        if decision.parts:
            return any(self.may_differ(part, ops) for part in decision.parts)
        return self._open(decision, ops)

    def _open(self, decision: Decision, ops: BranchingBalls) -> bool:
        if decision.relation is None or self._root(decision.left) == self._root(decision.right):
            return False
        x, y = self.value(decision.left, ops), self.value(decision.right, ops)
        if isinstance(x, Special) or isinstance(y, Special):
            return False
        if (x.specials | y.specials) & ANYTHING:
            return True
        both = x.radius + y.radius
        return not both.is_zero() and not abs(x.exact - y.exact) > both

    def _fused(self, step: Step, ops: BranchingBalls) -> None:
        form = step.form(self.form)
        self.evaluate(form.steps)
        for solution in form.solutions:
            for i, known in zip(solution.unknowns, self._solved(solution, ops), strict=True):
                self.values[i] = known
        results = (self.value(i, ops) for i in form.results.ravel().tolist())
        if step.function.startswith(SPECIALS_OF_THEIR_OWN):
            unknown = Rounded(ops, ZERO, ZERO, ANYTHING | OVERFLOWED)
            results = (unknown if isinstance(x, Special) and math.isnan(x.value) else x for x in results)
        self._store(step, results)

    def _solved(self, solution: Implicit, ops: BranchingBalls) -> list[Outcome]:
        """What solves equations up to the residuals of a program that rounds."""
        nothing: list[Outcome] = [Rounded(ops, ZERO, ZERO, ANYTHING | OVERFLOWED)] * len(solution.unknowns)
        operands: dict[int, Rounded] = {}
        for i in solution.operands:
            x = self.value(i, ops)
            if isinstance(x, Special) or x.specials & ANYTHING:
                return nothing
            operands[i] = x.folded()
        near = [self.near.get(i, float(self.record.held[i])) for i in solution.unknowns]

        def exact(i: int) -> arb:
            return operands[i].exact if i in operands else arb(float(self.record.held[i]))

        centre = solution.values(exact, near)
        if centre is None:
            return nothing
        at = dict(zip(solution.unknowns, centre, strict=True))

        def ball(i: int) -> arb:
            return at[i] if i in at else exact(i) + arb(0, operands[i].radius.upper()) if i in operands else exact(i)

        found = solution.allowed(ball, [float(x.mid()) for x in centre], ops.unit, ops.overflow)
        if found is None:
            return nothing
        return [ops.rounded(c, abs(x - c).upper()) for c, x in zip(centre, found, strict=True)]


_RULES: dict[str, Callable[[Allowed, Step, BranchingBalls], None]] = {
    "map": Allowed._map,
    "sop": Allowed._sop,
    "product": Allowed._product,
    "maximum": Allowed._extreme,
    "minimum": Allowed._extreme,
    "choose": Allowed._choose,
    "fused": Allowed._fused,
}


# Scalar functions -----------------------------------------------------------------------------------------------------


def _vague(x: Outcome) -> bool:
    """Whether nothing is known of a number."""
    return isinstance(x, Rounded) and bool(x.specials & ANYTHING)


def _passed(x: Outcome, ops: RoundedBalls) -> Outcome:
    """What an operation that gives one of its operands makes of it: it may be flushed (hypothesis 5)."""
    if isinstance(x, Special):
        return x
    return Rounded(ops, x.exact, ops.radius_of(x), x.specials, x.spread)


def _divide(ops: BranchingBalls, a: Outcome, b: Outcome) -> Outcome:
    """a/b, or as compilers have it by a constant or a repeated divisor, a·(1/b): one rounding more."""
    found = ops.divide(a, b)
    if isinstance(found, Special) or found.specials:
        return found
    return once_more(ops, found)


def _multiply(ops: BranchingBalls, a: Outcome, b: Outcome) -> Outcome:
    """a·b, which is exact where one is a power of two that is not flushed."""
    for one, other in ((a, b), (b, a)):
        if isinstance(one, Rounded) and one.radius.is_zero() and one.spread.is_zero() and not one.specials:
            x = float(one.exact.mid())
            if x > 0 and math.frexp(x)[0] == 0.5 and one.exact == x and ops.radius_of(one).is_zero():
                return ops.scale(other, x)
    return ops.multiply(a, b)


def _power(ops: BranchingBalls, x: Outcome, y: Outcome) -> Outcome:
    """x^y; of small whole exponents by products, and of ∞ to a negative power 0 (IEEE 754-2019 §9.2.1)."""
    if isinstance(x, Special) and x.value == math.inf and isinstance(y, Rounded) and not y.specials:
        return ops.given(0.0) if y.exact + y.radius < 0 else general(ops, "power", [x, y])
    if isinstance(y, Rounded) and y.radius.is_zero() and y.exact.is_integer() and 0 < abs(y.exact) <= 16:
        n = int(float(y.exact))
        found = x
        for k in range(abs(n) - 1):
            found = ops.square(x) if k == 0 else ops.multiply(found, x)
        return found if n > 0 else ops.divide(ops.given(1.0), found)
    return general(ops, "power", [x, y])


def _rsqrt(ops: BranchingBalls, x: Outcome) -> Outcome:
    """1/√x, which of ∞ is 0, and of −∞ and NaN NaN (IEEE 754-2019 §9.2.1)."""
    if isinstance(x, Special):
        return ops.given(0.0) if x.value == math.inf else Special(ops, math.nan)
    return general(ops, "rsqrt", [x])


def _converted(ops: BranchingBalls, x: Outcome) -> Outcome:
    if isinstance(x, Special):
        return x
    return ops.settled("round", (x,), converted(ops, x))


def _within(ops: BranchingBalls, x: Outcome, off: Outcome) -> Outcome:
    """x as it is computed with an error of at most |off|, whatever that is by."""
    if isinstance(x, Special) or isinstance(off, Special) or (x.specials | off.specials) & ANYTHING:
        return Rounded(ops, ZERO, ZERO, ANYTHING | OVERFLOWED)
    return ops.settled("within", (x, off), computed_within(ops, x, off))


#: Functions whose rules are operations of the arithmetic, of numbers as of arrays.
OF_THE_ARITHMETIC: Mapping[str, Callable[..., Any]] = {
    "negative": lambda ops, x: -x,
    "add": lambda ops, x, y: ops.add(x, y),
    "subtract": lambda ops, x, y: ops.add(x, -y),
    STOPPED: lambda ops, x: x,
    **{
        name: (lambda ops, x, name=name: getattr(ops, name)(x))
        for name in (
            *("square", "absolute", "exp", "expm1", "log", "log1p", "sqrt", "sin", "cos", "tanh", "sinh", "cosh"),
            *("sigmoid", "erf", "erfc"),
        )
    },
}
OPERATIONS: Mapping[str, Callable[..., Outcome]] = {
    **OF_THE_ARITHMETIC,
    "within": _within,
    "multiply": _multiply,
    "divide": _divide,
    "reciprocal": lambda ops, x: ops.divide(ops.given(1.0), x),
    "power": _power,
    "rsqrt": _rsqrt,
    "round": _converted,
}


def general(ops: BranchingBalls, name: str, operands: Sequence[Outcome]) -> Outcome:
    """A function of the table: it moves by its partial derivatives over the operands' balls, and errs by K ulp."""
    row = FUNCTIONS[name]
    if row.ulps is None or any(isinstance(x, Special) for x in operands):  # or nobody says how well it is computed
        return Rounded(ops, ZERO, ZERO, ANYTHING | OVERFLOWED)
    x = [o.folded() for o in operands]
    exact = row.ball(*[v.exact for v in x])
    if any(v.specials & ANYTHING for v in x) or not exact.is_finite():
        return Rounded(ops, exact if exact.is_finite() else ZERO, ZERO, ANYTHING | OVERFLOWED)
    more = LENIENT * (row.ulps or 0.0) * ops.unit if ops.profile.lenient and row.source == MEASURED else ZERO
    radii = [ops.radius_of(v) + more * abs(v.exact) for v in x]
    moved = ZERO
    if not all(r.is_zero() for r in radii):
        balls = [
            arb(v.exact, r.upper()) if v.exact.is_exact() else v.exact + arb(0, r.upper())
            for v, r in zip(x, radii, strict=True)
        ]
        over = row.ball(*balls)
        slopes = row.partials(BALL_OPERATIONS, *balls, over)
        for slope, r in zip(slopes, radii, strict=True):
            if not r.is_zero():
                moved += abs(slope).upper() * r
        direct = abs(over - exact).upper()  # of what jumps, as a sign does, a slope bounds nothing
        if name == "sign" or not moved.is_finite() or (direct.is_finite() and direct < moved):
            moved = direct
    if not moved.is_finite():
        return Rounded(ops, exact, ZERO, ANYTHING | OVERFLOWED)
    return ops.settled(name, x, ops.elementary(name, exact, moved + more * abs(exact)))


#: Ways through a program's overflows that are followed.
MOST_WAYS = 32


def outcomes_of(
    record: Record,
    profile: Profile,
    wanted: Sequence[tuple[Ids, Format]],
    sums: Sums = "any",
    form: Taken = 0,
    given: Mapping[int, float] | None = None,
    near: Mapping[int, float] | None = None,
    enough: float | None = None,
) -> list[list[tuple[Outcome, ...]]]:
    """What a program may give for the numbers that are wanted, in their formats: of every way through its overflows.

    The way without overflow comes first, then those that differ from it in one decision, and so on. Of a program with
    more ways than are followed, one more outcome of which nothing is known. No more ways are followed when one gives
    the infinity or NaN that is `enough` for all the numbers.
    """
    found: list[list[list[Outcome]]] = [[[] for _ in range(ids.size)] for ids, _ in wanted]

    def follow(decisions: Choices) -> bool:
        allowed = Allowed(record, profile, decisions, sums, form, given, near).evaluate()
        for of, (ids, format) in zip(found, wanted, strict=True):
            ops = allowed.arithmetics[format.name]
            for component, i in zip(of, ids.ravel().tolist(), strict=True):
                component.append(allowed.value(i, ops))
        return enough is not None and all(_is(component[-1], enough) for of in found for component in of)

    if more_ways_than_followed(follow):
        for of, (_, format) in zip(found, wanted, strict=True):
            for component in of:
                component.append(nothing_known(format, profile))
    return [[tuple(outcomes) for outcomes in of] for of in found]


def more_ways_than_followed(follow: Callable[[Choices], bool]) -> bool:
    """Follow one way through a program's overflows after the other, as `outcomes_of`; whether some are left.

    `follow` says whether no more are asked for.
    """
    scripts: deque[tuple[int, ...]] = deque([()])
    for _ in range(MOST_WAYS):
        decisions = Choices(scripts.popleft())
        if follow(decisions):
            return False
        scripts += islice(decisions.alternatives(), MOST_WAYS)  # each is as long as there are decisions
        if not scripts:
            return False
    return True


def nothing_known(format: Format, profile: Profile) -> Rounded:
    """A number of a format of which nothing is known."""
    return Rounded(RoundedBalls(format, profile), ZERO, ZERO, ANYTHING | OVERFLOWED)


def _is(outcome: Outcome, value: float) -> bool:
    """Whether an outcome is exactly this infinity or NaN."""
    return isinstance(outcome, Special) and repr(outcome.value) == repr(value)
