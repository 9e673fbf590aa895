"""The permitted device: an arithmetic that does, at random, whatever the hypotheses permit a program to do.

Every operation is rounded to the format; sums are added up in a random order, products of matrices sometimes fused;
subnormal numbers are flushed at random; every elementary function is off by a random part of its K ulp, often by all
of it; at every equation a random accepted form is run. What it answers must conform: else the allowance is too small.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from random import Random
from typing import Any

import numpy as np
from flint import arb
from numpy.typing import NDArray

from gradconform.adapters.contract import Answer, Point, Route
from gradconform.reference.arithmetic.exact import BALLS, Constant, HandWritten, exponent, power_of_two, precision
from gradconform.reference.arithmetic.formats import FLOAT32, FORMATS, Format
from gradconform.reference.arithmetic.profiles import OPENCL, Profile
from gradconform.reference.arithmetic.rounded import RoundedBalls
from gradconform.reference.cases import derivation
from gradconform.reference.equations import Slope

Numbers = NDArray[np.float64]
#: Bits that elementary functions are computed to before they are perturbed.
BITS = 160


class Held:
    """An array of numbers of the device's format."""

    __array_ufunc__ = None

    def __init__(self, device: Device, numbers: Any) -> None:
        self.device, self.numbers = device, np.asarray(numbers, dtype=np.float64)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.numbers.shape

    @property
    def T(self) -> Held:
        return Held(self.device, self.numbers.T)

    def _with(self, other: Any, operation: Callable[[Numbers, Numbers], Numbers]) -> Held:
        return self.device.rounded(operation(self.device.read(self), self.device.read(other)))

    def __neg__(self) -> Held:
        return Held(self.device, -self.numbers)

    def __add__(self, other: Any) -> Held:
        return self._with(other, lambda x, y: x + y)

    def __sub__(self, other: Any) -> Held:
        return self._with(other, lambda x, y: x - y)

    def __rsub__(self, other: Any) -> Held:
        return self._with(other, lambda x, y: y - x)

    def __mul__(self, other: Any) -> Held:
        return self._with(other, lambda x, y: x * y)

    def __truediv__(self, other: Any) -> Held:
        return self._with(other, lambda x, y: x / y)

    def __rtruediv__(self, other: Any) -> Held:
        return self._with(other, lambda x, y: y / x)

    def __pow__(self, power: int) -> Held:
        product = self
        for _ in range(power - 1):
            product = product * self
        return product

    def __matmul__(self, other: Held) -> Held:
        return self.device.products(self, other, None)

    __radd__, __rmul__ = __add__, __mul__


class Device(HandWritten):
    """The operations of a formula, over `Held` arrays of one format."""

    def __init__(self, target: Format, random: Random, profile: Profile = OPENCL) -> None:
        self.format, self.random, self.profile = target, random, profile
        self.draws = np.random.default_rng(random.getrandbits(64))

    # Rounding ---------------------------------------------------------------------------------------------------------

    def given(self, x: Any) -> Held:
        return Held(self, x)

    def rounded(self, x: Numbers) -> Held:
        return Held(self, self.flushed(self.format.round(x)))

    def flushed(self, x: Numbers, target: Format | None = None) -> Numbers:
        """Subnormal numbers, each flushed or not."""
        tiny = (np.abs(x) < 2.0 ** (target or self.format).emin) & (x != 0)
        if not (self.profile.flush and tiny.any()):
            return x
        return np.where(tiny & (self.draws.random(x.shape) < 0.5), 0.0, x)

    def read(self, x: Any) -> Numbers:
        """An operand as an operation reads it."""
        return self.flushed(x.numbers) if isinstance(x, Held) else np.float64(x)  # type: ignore[return-value]

    def real(self, constant: Constant) -> Held:
        with precision(BITS):
            return Held(self, self.format.round(float(constant.of(BALLS))))

    def epsilon(self) -> Held:
        return Held(self, 2.0 ** (1 - self.format.precision))

    def unrounded(self, x: Held) -> Held:
        """A number that rounds to x, where float64 holds one."""
        if self.format.precision == 53:
            return x
        off = self.draws.uniform(-0.99, 0.99, x.shape) * 2.0**-self.format.precision
        return Held(self, x.numbers * (1 + off))

    def gradual(self, formula: Any, *operands: Held) -> Held:
        """The formula by a device that keeps float16's subnormal numbers."""
        if self.format.name != "float16":
            return formula(self, *operands)  # type: ignore[no-any-return]
        kept = Device(self.format, self.random, replace(self.profile, flush=False))
        return Held(self, formula(kept, *[Held(kept, x.numbers) for x in operands]).numbers)

    # Sums -------------------------------------------------------------------------------------------------------------

    def summed(self, terms: list[Numbers], target: Format) -> Numbers:
        """Σ in a random order: two of what is left are added, until one is left."""
        terms = list(terms)
        while len(terms) > 1:
            x = terms.pop(self.random.randrange(len(terms)))
            i = self.random.randrange(len(terms))
            total = self.flushed(x, target) + self.flushed(terms[i], target)
            terms[i] = self.flushed(target.round(total), target)
        return terms[0]

    def products(self, a: Held, b: Held, bias: Held | None) -> Held:
        """a·b (+ bias): what has 16 bits in float32, rounded once; a random order, or fused multiply-add in order."""
        wide = FLOAT32 if self.format.precision < 24 else self.format
        x, y = self.read(a), self.read(b)
        extra = [] if bias is None else [np.broadcast_to(self.read(bias), (len(x), y.shape[1]))]
        order = self.random.sample(range(x.shape[1]), x.shape[1])
        if self.random.random() < 0.5 or not order:
            terms = [self.flushed(wide.round(np.outer(x[:, i], y[i])), wide) for i in order]
            return self.rounded(self.summed([*terms, *extra], wide))
        total = extra[0] if extra else self.flushed(wide.round(np.outer(x[:, order[0]], y[order[0]])), wide)
        for i in order if extra else order[1:]:
            # In longdouble the product of two 53-bit numbers is rounded to 64 bits first, others not at all.
            fused = np.outer(x[:, i], y[i].astype(np.longdouble)) + total
            total = self.flushed(wide.round(fused.astype(np.float64)), wide)
        return self.rounded(total)

    def linear(self, x: Held, weight: Held, bias: Held | None) -> Held:
        return self.products(x, weight.T, bias)

    def row_sum(self, x: Held) -> Held:
        return Held(self, self.summed(list(x.numbers.T), self.format)[:, None])

    def column_sum(self, x: Held) -> Held:
        return Held(self, self.summed(list(x.numbers), self.format))

    def total(self, x: Held) -> Held:
        return Held(self, self.summed(list(x.numbers.ravel()), self.format))

    def row_maximum(self, x: Held) -> Held:
        return Held(self, x.numbers.max(axis=1, keepdims=True))

    def descend(self, w: Held, eta: Held, gradient: Held) -> Held:
        if self.random.random() < 0.5:
            return w - eta * gradient
        step = self.read(eta).astype(np.longdouble) * self.read(gradient)
        return self.rounded((self.read(w) - step).astype(np.float64))

    # Elementary functions ---------------------------------------------------------------------------------------------

    def exp(self, x: Held) -> Held:
        return self._elementary("exp", np.exp, arb.exp, x, least=0.0)

    def expm1(self, x: Held) -> Held:
        return self._elementary("expm1", np.expm1, arb.expm1, x, least=-1.0)

    def log(self, x: Held) -> Held:
        return self._elementary("log", np.log, arb.log, x)

    def log1p(self, x: Held) -> Held:
        return self._elementary("log1p", np.log1p, arb.log1p, x)

    def tanh(self, x: Held) -> Held:
        return self._elementary("tanh", np.tanh, arb.tanh, x, below_one=True)

    def erf(self, x: Held) -> Held:
        return self._elementary("erf", np.sign, arb.erf, x, below_one=True)

    def erfc(self, x: Held) -> Held:
        return self._elementary("erfc", lambda v: 1 - np.sign(v), arb.erfc, x)

    def _elementary(
        self,
        name: str,
        at_infinity: Callable[[Numbers], Numbers],
        function: Callable[[arb], arb],
        x: Held,
        least: float = -math.inf,
        below_one: bool = False,
    ) -> Held:
        """Within K ulp of the function of x; `at_infinity` gives it where x is not finite or has no value."""
        bound, counted, rounds = self.profile.bound(name, self.format)
        found = np.empty(x.shape)
        numbers = self.read(x)
        with precision(BITS):
            for index in np.ndindex(x.shape):
                exact = function(arb(float(numbers[index]))) if math.isfinite(numbers[index]) else arb.nan()
                if not exact.is_finite():
                    found[index] = at_infinity(numbers[index])
                    continue
                found[index] = max(least, self._off(exact, bound, counted, below_one))
        found = self.flushed(counted.round(found), counted) if rounds else found
        return self.rounded(found)

    def _off(self, exact: arb, bound: float, counted: Format, below_one: bool) -> float:
        """A number within `bound` ulp of exact; the ulp of its own binade, of one below one where the function is."""
        if exact.is_zero():
            return 0.0
        binade = min(max(exponent(abs(exact).lower()), counted.emin), counted.emax)
        unit = power_of_two((min(binade, -1) if below_one else binade) - counted.precision + 1)
        return self._within(exact, arb(bound) * unit, unit / 2, counted)

    def _within(self, exact: arb, error: arb, half: arb, target: Format) -> float:
        """A number of a format at most `error` from exact, often at nearly all of that, `half` being its rounding.

        Where that leaves its binade it may be rounded too far, and then the nearest number is taken.
        """
        off = self.random.choice((-1.0, 1.0, self.random.uniform(-1, 1)))
        for candidate in (exact + arb(off) * (error - half), exact):
            moved = float(target.round(float(candidate.mid())))
            if not math.isfinite(moved) or abs(arb(moved) - exact) <= error:
                break
        return moved

    def derivative(self, z: Held, rule: Slope) -> Held:
        """f'(z) as a function of its own: within K'·(ulp(f') + u·|z·f''|)."""
        balls = RoundedBalls(self.format, self.profile)
        found = rule.slope(self, z).numbers.copy()
        with precision(BITS):
            factor = balls.own(rule.primitives)
            for index, x in np.ndenumerate(self.read(z)):
                at = balls.given(float(x)) if math.isfinite(x) else None
                slope = None if at is None else rule.slope(balls, at)
                bent = None if at is None else rule.curvature(balls, at)
                if slope is None or bent is None or not (slope.exact.is_finite() and bent.exact.is_finite()):
                    continue  # beyond the balls' own exponents: as the formula has it
                if slope.exact.rel_accuracy_bits() < 64:
                    continue  # not enclosed
                if slope.spread.is_zero() and not slope.exact.is_zero():
                    binade = min(max(exponent(abs(slope.exact).lower()), self.format.emin), self.format.emax)
                    ulp = power_of_two(binade - self.format.precision + 1)
                    error = factor * (ulp + abs(arb(float(x)) * bent.exact) * power_of_two(-self.format.precision))
                    found[index] = self._within(slope.exact, error, ulp / 2, self.format)
        return Held(self, self.flushed(found))

    # Pieces -----------------------------------------------------------------------------------------------------------

    def positive_part(self, x: Held) -> Held:
        return Held(self, np.maximum(self.read(x), 0.0))

    def absolute(self, x: Held) -> Held:
        return Held(self, np.abs(self.read(x)))

    def maximum(self, a: Held, b: Held) -> Held:
        return Held(self, np.maximum(self.read(a), self.read(b)))

    def select(self, x: Held, above: Any, below: Any) -> Held:
        return Held(self, np.where(self.read(x) > 0, self.read(above), self.read(below)))

    def instead(self, x: Held, used: Any, formula: Held, truth: Held) -> Held:
        return self.select(x, used, formula)

    def step(self, x: Held, above: Any, below: Any) -> Held:
        """At the kink, one side or the other."""
        at, up, down = self.read(x), self.read(above), self.read(below)
        tie = np.where(self.draws.random(np.shape(at)) < 0.5, up, down)
        return Held(self, np.where(at > 0, up, np.where(at < 0, down, np.where(at == 0, tie, at))))


class PermittedDevice:
    """The device as an adapter: another program for every `number`."""

    name = "permitted-device"

    def __init__(self, number: int) -> None:
        self.number = number
        self.routes = (Route("numpy", f"program {number}"),)

    def answer(self, point: Point, route: str) -> Answer:
        from correct_pass import as_answer

        random = Random(f"permitted device {self.number} {point.case} {point.dtype}")
        device, of = Device(FORMATS[point.dtype], random), derivation(point.derivation)
        held = {n: device.given(v) for n, v in {**point.values, of.rate: point.rate}.items()}
        narrow = device.format.precision < 24
        with np.errstate(all="ignore"):
            for equation in of.equations:
                forms = [f for f in equation.forms if not f.tangent and (narrow or not f.narrow)]
                form = random.choice(forms)
                held[equation.name] = form.formula(device, *[held[o] for o in form.operands])
        return as_answer({e.name: held[e.name].numbers for e in of.equations}, point)
