"""What `radii.py` tries: balls of every magnitude, a machine that errs as it may, and every operation over them.

The machine is that of `permitted_device.py`, with the operations that programs of a network do not use, and with
elementary functions a whole array at a time: their values to 160 bits by `arb`, off by a random part of K ulp.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Any

import numpy as np
from flint import arb
from numpy.typing import NDArray
from permitted_device import BITS, Device, Held, Numbers

from gradconform.reference.arithmetic.arrays import RoundedArray, RoundedArrays
from gradconform.reference.arithmetic.ball_arrays import BallArray, BallArrays
from gradconform.reference.arithmetic.exact import BALLS, Constant, HandWritten, precision, ratio
from gradconform.reference.arithmetic.formats import FLOAT32, Format
from gradconform.reference.arithmetic.profiles import Profile
from gradconform.reference.arithmetic.rounded import (
    ANYTHING,
    DOUBT,
    NAN,
    NEGATIVE,
    OVERFLOWED,
    POSITIVE,
    Rounded,
    RoundedBalls,
    Sums,
)
from gradconform.reference.derivations.activations import ACTIVATIONS
from gradconform.reference.equations import Slope

Bits = NDArray[np.uint8]
#: What a value may be besides a number; of a twentieth of the operands one of them.
SPECIALS = (POSITIVE, NEGATIVE, NAN, POSITIVE | NEGATIVE, OVERFLOWED, ANYTHING, ANYTHING | OVERFLOWED, DOUBT)
OF_BIT = ((POSITIVE, math.inf), (NEGATIVE, -math.inf), (NAN, math.nan))


# Balls ----------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Balls:
    """Operands: midpoints of a format, radii, half widths of sets, specials. `given`: as numbers known exactly."""

    mid: Numbers
    radius: Numbers
    spread: Numbers
    specials: Bits
    given: bool = False
    least: float = -math.inf

    def over(self, ops: Any) -> Any:
        """The operand as an arithmetic has it."""
        if isinstance(ops, RoundedArrays):
            if self.given:
                return ops.given(self.mid.astype(np.float32) if ops.format is FLOAT32 else self.mid)
            parts = [x if x.any() else None for x in (self.radius, self.spread, self.specials)]
            return RoundedArray(ops, ops.mids.lift(self.mid), *parts)
        if self.given:
            return ops.given(self.mid)
        values = np.empty(self.mid.shape, dtype=object)
        for at in np.ndindex(values.shape):
            radius, spread = arb(float(self.radius[at])), arb(float(self.spread[at]))
            values[at] = Rounded(ops.balls, arb(float(self.mid[at])), radius, int(self.specials[at]), spread)
        return BallArray(ops, values)

    def part(self, start: int, stop: int) -> Balls:
        """Some of them, by their place on the first axis."""
        parts = [x[start:stop] for x in (self.mid, self.radius, self.spread, self.specials)]
        return Balls(*parts, self.given, self.least)

    def text(self, at: tuple[int, ...]) -> str:
        """One of the balls."""
        spread, specials = float(self.spread[at]), int(self.specials[at])
        more = (f" set {spread!r}" if spread else "") + (f" specials {specials}" if specials else "")
        return f"{float(self.mid[at])!r} ± {float(self.radius[at])!r}{more}"

    def held(self, target: Format, draw: np.random.Generator, wide: bool) -> Numbers:
        """Numbers that a program may hold: ends, midpoints and others of the balls; `wide`: of no format sometimes."""
        shape = self.mid.shape
        reach = np.where(self.spread > 0, (self.radius + self.spread) * (1 - 2.0**-50), self.radius)
        part = draw.choice((0.0, 1.0, -1.0, 1.0, -1.0), shape)
        part = np.where(draw.random(shape) < 0.3, draw.uniform(-1, 1, shape), part)
        part *= np.where(draw.random(shape) < 0.2, np.exp2(-draw.integers(1, 60, shape)), 1.0)
        with np.errstate(all="ignore"):
            moved = np.clip(self.mid + part * reach, -target.largest, target.largest)
        near = np.array([0.0, 2.0**target.emin, math.ldexp(1.0, target.emin - target.precision + 1)])
        tiny = draw.choice(near, shape) * draw.choice((1.0, -1.0), shape)
        moved = np.where((draw.random(shape) < 0.1) & self._inside(tiny, reach), tiny, moved)
        found = np.where(wide & (draw.random(shape) < 0.3), moved, target.round(moved))
        for _ in range(2):  # an end that was rounded out of its ball
            step = np.ldexp(1.0, np.maximum(np.frexp(found)[1] - 1, target.emin) - target.precision + 1)
            inward = target.round(found - np.sign(found - self.mid) * step * 0.75)
            found = np.where(self._inside(found, reach), found, inward)
        found = np.where(self._inside(found, reach) & (found >= self.least), found, self.mid)
        return self._special(found, draw)

    def _inside(self, x: Numbers, reach: Numbers) -> Any:
        """|x − mid| <= reach, decided without rounding."""
        with np.errstate(over="ignore", invalid="ignore"):
            s = x - self.mid
            t = s - x
            rest = (x - (s - t)) - (self.mid + t)
            return (np.abs(s) < reach) | ((np.abs(s) == reach) & (np.sign(rest) * np.sign(s) <= 0))

    def _special(self, x: Numbers, draw: np.random.Generator) -> Numbers:
        x = np.where((self.specials & ANYTHING != 0) & (draw.random(x.shape) < 0.5), draw.choice((0.0, -1.0, 7.0)), x)
        for bit, value in OF_BIT:
            x = np.where((self.specials & bit != 0) & (draw.random(x.shape) < 0.4), value, x)
        return x


class Drawn:
    """Balls at random, of one format."""

    def __init__(self, target: Format, draw: np.random.Generator) -> None:
        self.target, self.draw = target, draw

    def numbers(self, shape: tuple[int, ...], positive: bool = False, middling: bool = False) -> Numbers:
        """Numbers of the format in every binade, subnormal ones too; half of them where functions are busy."""
        t, draw = self.target, self.draw
        busy = draw.random(shape) < (1.0 if middling else 0.5)
        exponent = np.where(
            busy, draw.integers(-14, 11, shape), draw.integers(t.emin - t.precision + 1, t.emax + 1, shape)
        )
        found = np.ldexp(draw.uniform(1, 2, shape), exponent)
        notable = [0.0, 1.0, t.largest, math.log(t.largest), -math.log(2.0**t.emin), 2.0**t.emin, t.largest / 2,
                   math.ldexp(1.0, t.emin - t.precision + 1), math.sqrt(t.largest), 2.0 ** (t.emin // 2)]  # fmt: skip
        if not middling:
            found = np.where(draw.random(shape) < 0.15, draw.choice(notable, shape), found)
        found = np.clip(t.round(found), 0, t.largest)
        return found if positive else found * draw.choice((1.0, -1.0), shape)

    def radii(self, mid: Numbers) -> Numbers:
        """0; some ulp; a power of two of the midpoint; about as large; far larger; of any binade."""
        t, draw, shape, size = self.target, self.draw, mid.shape, np.abs(mid)
        anywhere = np.ldexp(draw.uniform(1, 2, shape), draw.integers(t.emin - t.precision, t.emax, shape))
        kinds = np.stack([
            np.zeros(shape), np.zeros(shape),
            size * 2.0 ** (1 - t.precision) * draw.choice((0.5, 1, 2, 3), shape),
            size * np.exp2(-draw.integers(0, t.precision + 4, shape)) * draw.uniform(0.5, 1, shape),
            size * draw.uniform(0.5, 1.0, shape), size,
            np.minimum(size, 2.0**1000) * np.exp2(draw.integers(0, 20, shape)),
            anywhere,
        ])  # fmt: skip
        return np.take_along_axis(kinds, draw.integers(0, len(kinds), shape)[None], 0)[0]

    def balls(
        self, shape: tuple[int, ...], positive: bool = False, sets: bool = False, middling: bool = False,
        specials: bool = True, exactly: bool = False,
    ) -> Balls:  # fmt: skip
        """Balls; `positive`: of numbers that are not negative, `sets`: some are sets, `exactly`: the radii are 0."""
        draw, mid = self.draw, self.numbers(shape, positive, middling)
        radius, zero = self.radii(mid), np.zeros(shape)
        if exactly:
            return Balls(mid, zero, zero, np.zeros(shape, np.uint8), given=True)
        spread = np.where(draw.random(shape) < 0.1, self.radii(mid), 0.0) if sets else zero
        some = specials & (draw.random(shape) < 0.05)
        kinds = np.where(some, draw.choice(SPECIALS, shape), 0).astype(np.uint8)
        return Balls(mid, radius, spread, kinds, least=0.0 if positive else -math.inf)


# The machine ----------------------------------------------------------------------------------------------------------


class Machine(Device):
    """The permitted device with every operation of the rounded arithmetics; sums as one of the `sums` has them."""

    def __init__(self, target: Format, random: Random, profile: Profile, sums: Sums = "any") -> None:
        super().__init__(target, random, profile)
        self.sums = sums
        #: Where a result says nothing: what it presupposes does not hold there.
        self.void: NDArray[np.bool_] | None = None

    def gradual(self, formula: Any, *operands: Held) -> Held:
        if self.format.name != "float16":
            return formula(self, *operands)  # type: ignore[no-any-return]
        kept = Machine(self.format, self.random, replace(self.profile, flush=False), self.sums)
        return Held(self, formula(kept, *[Held(kept, x.numbers) for x in operands]).numbers)

    # Elementary functions

    def _elementary(self, name: str, at_infinity: Any, function: Any, x: Held, least: float = -math.inf,
                    below_one: bool = False) -> Held:  # fmt: skip
        bound, counted, rounds = self.profile.bound(name, self.format)
        numbers = self.read(x)
        high, low, zero = exactly(function, numbers)
        with np.errstate(all="ignore"):
            # Of a power of two that is just missed, the ulp is that of the binade below.
            binade = np.frexp(np.abs(high) * (1 - 2.0**-52))[1] - 1
            binade = np.where(high == 0, counted.emin, np.clip(binade, counted.emin, counted.emax))
            unit = np.ldexp(1.0, (np.minimum(binade, -1) if below_one else binade) - counted.precision + 1)
            off = np.where(self.draws.random(x.shape) < 0.7, self.draws.choice((-1.0, 1.0), x.shape),
                           self.draws.uniform(-1, 1, x.shape))  # fmt: skip
            # What is correctly rounded is so once.
            # Where float64 is itself subnormal its words are known to a unit more.
            rest = bound - np.where(np.abs(high) < 2.0**-900, 1.5, 0.5)
            found = high if bound == 0.5 else counted.round(high + (low + off * np.maximum(rest, 0.0) * unit))
            beyond = np.abs((found - high) - low) > bound * unit * (1 - 2.0**-40)
            found = counted.round(np.where(beyond & np.isfinite(found), high, found))
            found = np.where(zero, 0.0, found)
            found = np.where(np.isfinite(high), np.maximum(found, least), at_infinity(numbers))
        if rounds:
            found = self.flushed(found, counted)
        return self.rounded(found)

    def sin(self, x: Held) -> Held:
        return self._elementary("sin", np.sin, arb.sin, x)

    def cos(self, x: Held) -> Held:
        return self._elementary("cos", np.cos, arb.cos, x)

    def sinh(self, x: Held) -> Held:
        return self._elementary("sinh", np.sinh, arb.sinh, x)

    def cosh(self, x: Held) -> Held:
        return self._elementary("cosh", np.cosh, arb.cosh, x)

    def sqrt(self, x: Held) -> Held:
        return self._elementary("sqrt", np.sqrt, arb.sqrt, x)

    # Sums

    def _summed(self, terms: list[Numbers]) -> Held:
        """A sum of 16 bits in float32, rounded once; unless the sums are so, maybe in the format."""
        narrow = self.format.precision < FLOAT32.precision
        if narrow and (self.sums == "wide" or self.random.random() < 0.5):
            return self.rounded(self.summed(terms, FLOAT32))
        return Held(self, self.summed(terms, self.format))

    def row_sum(self, x: Held) -> Held:
        return Held(self, self._summed(list(x.numbers.T)).numbers[:, None])

    def column_sum(self, x: Held) -> Held:
        return self._summed(list(x.numbers))

    def total(self, x: Held) -> Held:
        return self._summed(list(x.numbers.ravel()))

    def normalised(self, e: Held) -> Held:
        """e over its row's sum; a term is flushed in both places or in neither."""
        if self.random.random() < 0.5:
            least = 2.0**self.format.emin if self.profile.flush else 0.0
            return super().normalised(Held(self, np.where(np.abs(e.numbers) < least, 0.0, e.numbers)))  # type: ignore[no-any-return]
        kept = Machine(self.format, self.random, replace(self.profile, flush=False), self.sums)
        total = kept.row_sum(Held(kept, e.numbers)).numbers
        return e / Held(self, self.flushed(total))

    def row_sum_of_others(self, x: Held) -> Held:
        columns = list(x.numbers.T)
        zero = Held(self, np.zeros(len(x.numbers)))
        sums = [self._summed(columns[:j] + columns[j + 1 :]) if len(columns) > 1 else zero for j in range(len(columns))]
        return Held(self, np.stack([s.numbers for s in sums], axis=1))

    def row_maximum(self, x: Held) -> Held:
        return Held(self, self.read(x).max(axis=1, keepdims=True))

    def product_in_the_dtype(self, a: Held, b: Held) -> Held:
        x, y = self.read(a), self.read(b)
        terms = [self.flushed(self.format.round(np.outer(x[:, i], y[i]))) for i in range(x.shape[1])]
        return Held(self, self.summed(terms, self.format))

    def inner_product(self, coefficients: Sequence[float], terms: Sequence[Held]) -> Held:
        products = [c * t for c, t in zip(coefficients, terms, strict=True)]
        return Held(self, self.summed([p.numbers for p in products], self.format))

    # Values

    def reported(self, x: Numbers) -> Held:
        """A number that was rounded, and maybe flushed, to x when it was reported; float64 holds no more than x."""
        return self.unrounded(Held(self, x))

    def unrounded(self, x: Held) -> Held:
        size = np.abs(x.numbers)
        binade = np.where(size == 0, self.format.emin, np.maximum(np.frexp(size)[1] - 1, self.format.emin))
        unit = np.exp2(binade - float(self.format.precision))
        off = self.draws.uniform(-1, 1, x.shape)
        if self.format.precision == 53:
            off = np.where(size == 0, off, 0.0)
        # Of a power of two the numbers below it are closer.
        inward = (np.frexp(size)[0] == 0.5) & (size > 2.0**self.format.emin) & (off * x.numbers < 0)
        moved = x.numbers + off * unit * np.where(inward, 0.5, 1.0)
        if self.profile.flush:
            moved = np.where(size == 0, off * 2.0**self.format.emin * (1 - 2.0**-53), moved)
        return Held(self, np.where(np.isfinite(x.numbers), moved, x.numbers))

    def recentred(self, x: Held, truth: Held) -> Held:
        return x

    def bounded(self, x: Held, low: Held, high: Held) -> Held:
        lower, upper = (h.numbers if isinstance(h, Held) else float(h) for h in (low, high))
        self.void = np.isfinite(x.numbers) & ~((lower <= x.numbers) & (x.numbers <= upper))
        return x

    def negative(self, x: Held) -> Held:
        return -x

    def square(self, x: Held) -> Held:
        at = self.read(x)
        return self.rounded(at * at)

    def derivative(self, z: Held, rule: Slope) -> Held:
        """Of a function of its own the path is not followed: where the formula overflows nothing is said."""
        found = super().derivative(z, rule)
        self.void = np.isfinite(z.numbers) & ~np.isfinite(found.numbers)
        return found

    def step(self, x: Held, above: Any, below: Any) -> Held:
        """One branch or the other, as it stands; at the kink either."""
        at = self.read(x)
        up, down = (b.numbers if isinstance(b, Held) else np.float64(b) for b in (above, below))
        tie = np.where(self.draws.random(at.shape) < 0.5, up, down)
        return Held(self, np.where(at > 0, up, np.where(at < 0, down, np.where(at == 0, tie, at))))

    def __repr__(self) -> str:
        return f"Machine({self.format.name}, {self.profile.name}, {self.sums})"


def exactly(function: Callable[[arb], arb], numbers: Numbers) -> tuple[Numbers, Numbers, NDArray[np.bool_]]:
    """A function's values as high and low words, and where it is exactly 0; NaN where it has none that float64 holds.

    A value that is not 0 may have words that are.
    """
    high, low, zero = np.full(numbers.shape, np.nan), np.zeros(numbers.shape), np.zeros(numbers.shape, np.bool_)
    with precision(BITS):
        for at in np.ndindex(numbers.shape):
            if not math.isfinite(numbers[at]):
                continue
            value = function(arb(float(numbers[at])))
            if value.is_finite() and (value.is_zero() or value.rel_accuracy_bits() > 120) and abs(value) < 2.0**1023:
                high[at] = word = float(value.mid())
                low[at] = float((value - word).mid())
                zero[at] = value.is_zero()
    return high, low, zero


# Operations -----------------------------------------------------------------------------------------------------------

Run = Callable[..., Any]


@dataclass(frozen=True)
class Operation:
    """An operation over any arithmetic, the machine included; `draw` gives operands for a number of cases.

    `covers` are the methods of the arithmetics' classes that it runs; `sums`: it is tried with every way of summing;
    `wide`: its operands may be numbers that the format does not hold; `share` is how many of the cases it gets;
    `only`: the arithmetic that alone has it; `apart`: each case has a place on the first axis of its operands.
    """

    name: str
    run: Run
    draw: Callable[[Drawn, int], list[Any]]
    covers: tuple[str, ...]
    sums: bool = False
    wide: bool = True
    share: float = 1.0
    only: str = ""
    apart: bool = True


def of(name: str) -> Run:
    """A method of an arithmetic, element by element."""

    def run(ops: Any, *operands: Any) -> Any:
        if isinstance(ops, BallArrays):
            return ops._map(getattr(ops.balls, name), *operands)
        return getattr(ops, name)(*operands)

    return run


def _one(d: Drawn, n: int) -> list[Balls]:
    return [d.balls((n,))]


def _set(d: Drawn, n: int) -> list[Balls]:
    return [d.balls((n,), sets=True)]


def _two(d: Drawn, n: int) -> list[Balls]:
    return [d.balls((n,), sets=True), d.balls((n,), sets=True)]


def _branches(d: Drawn, n: int) -> list[Balls]:
    return [d.balls((n,), sets=True), d.balls((n,)), d.balls((n,))]


def _rows(d: Drawn, n: int, **more: bool) -> Balls:
    columns = int(d.draw.choice((1, 2, 3, 5, 17)))
    return d.balls((max(1, n // 4), columns), middling=bool(d.draw.random() < 0.5), **more)


def _terms(d: Drawn, n: int) -> list[Balls]:
    return [_rows(d, n)]


def _given_terms(d: Drawn, n: int) -> list[Balls]:
    return [d.balls((5, max(1, n // 5)), exactly=True)]


def _counts(d: Drawn, n: int) -> list[Balls]:
    return [_rows(d, n, positive=True)]


def _over(d: Drawn, n: int) -> list[Balls]:
    e = _rows(d, n, positive=True)
    return [d.balls((len(e.mid), 1), middling=bool(d.draw.random() < 0.5)), e]


def _factors(d: Drawn, n: int, exact: bool = False) -> list[Balls]:
    side, k, middling = max(1, math.isqrt(n // 4)), int(d.draw.choice((1, 2, 4, 5, 12))), bool(d.draw.random() < 0.7)
    # One special element makes one of its whole row.
    more = {"exactly": exact, "middling": middling, "specials": bool(d.draw.random() < 0.2)}
    return [d.balls((side, k), **more), d.balls((k, side), **more), d.balls((side,), **more)]


def _bounds(d: Drawn, n: int) -> list[Balls]:
    """Two numbers that the midpoint, at least, lies between."""
    x, zero = d.balls((n,)), np.zeros(n)
    ends = [f(x.mid, d.numbers((n,))) for f in (np.minimum, np.maximum)]
    return [x, *[Balls(end, d.radii(end), zero, np.zeros(n, np.uint8)) for end in ends]]


def _descent(d: Drawn, n: int, exact: bool = False) -> list[Balls]:
    rate = d.balls((), middling=True, specials=False, exactly=exact)
    return [d.balls((n,), exactly=exact), rate, d.balls((n,), exactly=exact)]


def _numbers(d: Drawn, n: int) -> list[Numbers]:
    return [d.numbers((n,))]


#: Constants of every size: those of a mean, of gelu and of a ratio that no format holds.
CONSTANTS = (ratio(1, 3), ratio(-10, 7), ratio(1, 10**30), Constant("√(2/π)", lambda f: f.sqrt(f.ratio(2, 1) / f.pi())))
POWERS = (0.5, 2.0, -1.0, 2.0**-10, 2.0**12)


def _inner(ops: Any, x: Any) -> Any:
    """Σ c·x over the columns, as a finite difference does."""
    coefficients = [(-1.5, 2.0, 0.1, -8.0, 1 / 12)[j % 5] for j in range(x.shape[1])]
    if isinstance(ops, Machine):
        coefficients = [float(ops.format.round(c)) for c in coefficients]
        return ops.inner_product(coefficients, [Held(ops, x.numbers[:, j]) for j in range(x.shape[1])])
    coefficients = [float(ops.balls.format.round(c)) for c in coefficients]
    values = np.empty(x.shape[0], dtype=object)
    for i in range(x.shape[0]):
        values[i] = ops.balls.inner_product(coefficients, list(x.values[i]))
    return BallArray(ops, values)


def _constant(constant: Constant) -> Run:
    def run(ops: Any) -> Any:
        if not isinstance(ops, BallArrays):
            return ops.real(constant)
        values = np.empty((), dtype=object)
        values[()] = ops.balls.constant(constant.of(BALLS))
        return BallArray(ops, values)

    return run


def operations() -> Iterator[Operation]:
    """Every operation of the rounded arithmetics."""
    for name in ("exp", "expm1", "log1p", "tanh", "erf", "erfc", "sinh", "cosh", "sqrt", "sin", "cos", "sigmoid"):
        more = ("from_0_to_1",) if name == "sigmoid" else ()
        yield Operation(name, of(name), _set, (name, *more), only="balls" if name in ("sin", "cos") else "")
    # Of what may be 0 the logarithm is that of the least number of the format. A number plus 0, or times a
    # power of two, is not rounded. So these are asked of such numbers.
    yield Operation("log", of("log"), _set, ("log",), wide=False)
    for name in ("positive_part", "absolute", "unrounded"):
        yield Operation(name, of(name), _one, (name,))
    yield Operation("-x", lambda ops, x: -x, _set, ("negative", "__neg__"))
    yield Operation("x²", lambda ops, x: x**2, _set, ("square", "__pow__"))
    yield Operation("x + y", lambda ops, x, y: x + y, _two, ("add", "__add__"), wide=False)
    yield Operation("x - y", lambda ops, x, y: x - y, _two, ("__sub__",), wide=False)
    yield Operation("x·y", lambda ops, x, y: x * y, _two, ("multiply", "__mul__"))
    yield Operation("x/y", lambda ops, x, y: x / y, _two, ("divide", "__truediv__"))
    yield Operation("3 + x", lambda ops, x: 3 + x, _set, ("__radd__", "coerce"), share=0.3)
    yield Operation("3 - x", lambda ops, x: 3 - x, _set, ("__rsub__",), share=0.3)
    yield Operation("3·x", lambda ops, x: 3 * x, _set, ("__rmul__",), share=0.3)
    yield Operation("3/x", lambda ops, x: 3 / x, _set, ("__rtruediv__",), share=0.3)
    for power in POWERS:
        yield Operation(f"{power:g}·x", lambda ops, x, c=power: c * x, _set, ("scale",), wide=False, share=0.3)
    yield Operation("maximum", of("maximum"), _two, ("maximum",), only="balls")
    yield Operation("select", of("select"), _branches, ("select",))
    yield Operation("step", of("step"), _branches, ("step",))
    yield Operation("step to slopes", lambda ops, x: ops.step(x, 1, 0), _one, ("step",), share=0.3)
    yield Operation("recentred", of("recentred"), _two, ("recentred",))
    yield Operation("bounded", of("bounded"), _bounds, ("bounded",))
    yield Operation("given", lambda ops, x: ops.given(x), _numbers, ("given",), share=0.3)
    yield Operation("reported", lambda ops, x: ops.reported(x), _numbers, ("reported",), share=0.3)
    yield Operation("epsilon", lambda ops: ops.epsilon(), lambda d, n: [], ("epsilon",), share=0.0, apart=False)
    for c in CONSTANTS:
        yield Operation(f"constant {c.text}", _constant(c), lambda d, n: [], ("constant", "real"), share=0.0,
                        apart=False)  # fmt: skip
    yield Operation("gradual", lambda ops, x: ops.gradual(lambda o, v: o.exp(v) * v, x), _one, ("gradual",))
    yield Operation("descend", lambda ops, *xs: ops.descend(*xs), _descent, ("descend",), wide=False)
    yield Operation(
        "descend, given", lambda ops, *xs: ops.descend(*xs), lambda d, n: _descent(d, n, True), ("descend",)
    )
    yield from _of_rows()
    yield from _of_matrices()
    for name, activation in ACTIVATIONS.items():
        if activation.rule is not None:
            yield Operation(f"derivative {name}", _derivative(activation.rule), _one, ("derivative", "own"), share=0.1)


def _derivative(rule: Slope) -> Run:
    return lambda ops, z: ops.derivative(z, rule)


def _of_rows() -> Iterator[Operation]:
    def yielded(name: str, draw: Any, *covers: str, only: str = "") -> Operation:
        run = _inner if name == "inner_product" else lambda ops, *xs: getattr(ops, name)(*xs)
        apart = name not in ("column_sum", "total")
        return Operation(name, run, draw, (name, *covers), sums=True, wide=False, only=only, apart=apart)

    yield yielded("row_sum", _terms, "total_of")
    yield yielded("column_sum", _terms)
    yield Operation("column_sum, given", lambda ops, x: ops.column_sum(x), _given_terms,
                      ("column_sum", "total_of_numbers"), sums=True, wide=False, apart=False)  # fmt: skip
    yield yielded("total", lambda d, n: [d.balls((3, 4))])
    yield yielded("row_sum_of_others", _terms)
    yield yielded("row_maximum", _terms)
    yield yielded("normalised", _counts, "part_of", "least_of")
    yield yielded("log_row_sum", _counts, "log_of_total")
    yield yielded("over_row_sum", _over, "over_total")
    yield yielded("inner_product", _terms, only="balls")


def _of_matrices() -> Iterator[Operation]:
    for words, exact in (("", False), (", given", True)):

        def draw(d: Drawn, n: int, exact: bool = exact) -> list[Balls]:
            return _factors(d, n, exact)

        covers = ("product", "products", "__matmul__", "dot", "dot_of_numbers")
        yield Operation(f"x @ y{words}", lambda ops, x, y, b: x @ y, draw, covers, wide=False, apart=False)
        yield Operation(
            f"linear{words}", lambda ops, x, y, b: ops.linear(x, y.T, b), draw, ("linear",), wide=False, apart=False
        )
        yield Operation(f"product_in_the_dtype{words}", lambda ops, x, y, b: ops.product_in_the_dtype(x, y), draw,
                        ("product_in_the_dtype",), wide=False, apart=False)  # fmt: skip


#: Public methods of the arithmetics that are no operations, and why.
NOT_OPERATIONS = {
    "keeping_subnormals": "makes the arithmetic that `gradual` runs on",
    "numbers": "midpoints of what is `given`",
    "scalar": "reads one element of a result, here too",
    "of_product": "the factor that `product` is multiplied by",
    "of_sum": "the factor that a sum of columns is multiplied by",
    **dict.fromkeys(
        ("either", "chosen", "elementary", "radius_of", "rounded", "rounding", "mended", "separation"),
        "a step of operations that are tried",
    ),
}
OPERATORS = ("neg", "add", "radd", "sub", "rsub", "mul", "rmul", "truediv", "rtruediv", "pow", "matmul")


def untried(*classes: type) -> list[str]:
    """Operations of arithmetics and of their values that nothing here runs."""
    tried = {name for operation in operations() for name in operation.covers} | set(NOT_OPERATIONS)
    found = []
    for c in classes:
        values = c in (RoundedArray, Rounded, BallArray)
        names = [f"__{o}__" for o in OPERATORS if f"__{o}__" in vars(c)] if values else _methods(c)
        found += [f"{c.__name__}.{name}" for name in names if name not in tried]
    return found


def _methods(arithmetic: type) -> list[str]:
    names = {*vars(arithmetic), *vars(HandWritten)}
    return sorted(n for n in names if not n.startswith("_") and callable(getattr(arithmetic, n)))


CLASSES = (RoundedBalls, RoundedArrays, BallArrays, Rounded, RoundedArray, BallArray)
