"""Conventions: right mathematics under another agreement than the case's, of scale or of how a weight is updated.

The scale of intermediate adjoints passes unasked, where the loss, the gradient and the updates conform. Everything else
deviates unless the case or the route asks for it, and the cause names it. Causes are found by fits in float64: they
name what is at fault and decide nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradconform.adapters.contract import Answer, Trace
from gradconform.conformance.levels.shared import Report
from gradconform.reference.arithmetic.exact import ratio
from gradconform.reference.arithmetic.formats import FLOAT32, FORMATS
from gradconform.reference.arithmetic.midpoints import OutOfRange
from gradconform.reference.cases import Point
from gradconform.reference.cases import derivation as derivation_of
from gradconform.reference.derivations.network import ACCUMULATED, L2, usual_mean
from gradconform.reference.equations import Derivation, Equation, Form
from gradconform.reference.measurement import Measurement

Array = NDArray[np.float64]

#: Conventions of rounding that a route may ask for, by name, and how they are called.
ASKED: Mapping[str, str] = {ACCUMULATED: f"{ACCUMULATED} in the dtype"}

# What a route asks for ------------------------------------------------------------------------------------------------


def accepted_as(row: Measurement) -> Measurement:
    """The row, said to be of a convention where its value is within the rounding of that alone."""
    named = next((name for name in ASKED.values() if f", {name}" in (row.accepted_form or "")), None)
    return row.because(f"convention: {named}") if named and row.verdict != "deviates" else row


def unaccepted(
    rows: Sequence[Measurement], derivation: Derivation, point: Point, conventions: tuple[str, ...]
) -> tuple[str, ...]:
    """The conventions, with those that nobody asked for, if a gradient deviates that may be of one; else none."""
    deviating = {m.quantity for m in rows if m.verdict == "deviates"}
    if not any(form.asked for e in derivation.equations for form in e.forms):
        return ()
    gradients = {*derivation.gradient.values(), *derivation.updated.values()}
    narrow = FORMATS[point.dtype].precision < FLOAT32.precision
    return tuple(ASKED) if narrow and deviating & gradients and len(conventions) < len(ASKED) else ()


def would_be(row: Measurement, asked: Callable[[], Measurement]) -> Measurement:
    """A row, with the convention as its cause under which it would not deviate, were it `asked` for."""
    if row.verdict != "deviates" or (other := asked()).verdict == "deviates" or not other.reason:
        return row
    named = next((part for part in other.reason.split("; ") if part.startswith("convention: ")), None)
    return replace(row, cause=named)


# The scale of intermediate adjoints -----------------------------------------------------------------------------------


def scales(point: Point) -> tuple[Fraction, ...]:
    """The factors that a program may carry through its adjoints: what losses are divided by, 2, and their inverses."""
    of = point.architecture
    if of is None:
        return ()
    factors = dict.fromkeys((of.count, of.batch, of.sizes[-1], of.batch * of.sizes[-1], 2))
    found = [f for n in factors for f in (Fraction(n), Fraction(1, n))]
    return tuple(f for f in found if f != 1)


def rescaled(derivation: Derivation, scale: Fraction) -> Derivation:
    """The same derivation with adjoints `scale` times its own, from the loss on to the gradient, which is its own.

    All equations between are linear in the adjoint and stay what they are.
    """
    gradients = set(derivation.gradient.values())
    first = next(e.name for e in derivation.group("backward"))

    def of(equation: Equation) -> Equation:
        if equation.name == first:
            definition = None if equation.definition is None else _times(equation.definition, scale)
            return replace(equation, forms=tuple(_times(f, scale) for f in equation.forms), definition=definition)
        if equation.name not in gradients:
            return equation
        # The product divided, or the adjoint before it; a penalty's term is of the scale that the gradient has.
        whole = [_times(f, 1 / scale) for f in equation.forms if L2 not in f.operands]
        return replace(equation, forms=(*whole, *(_times(f, 1 / scale, "dE/dz") for f in equation.forms)))

    return replace(derivation, equations=tuple(map(of, derivation.equations)))


def _times(form: Form, factor: Fraction, operand: str = "") -> Form:
    """A form's result times a factor, or the form of the operand whose name begins so times the factor."""
    constant = ratio(factor.numerator, factor.denominator)

    def of_result(ops: Any, *operands: Any) -> Any:
        return form.formula(ops, *operands) * ops.real(constant)

    def of_operand(ops: Any, *operands: Any) -> Any:
        c = ops.real(constant)
        return form.formula(
            ops, *(x * c if name.startswith(operand) else x for name, x in zip(form.operands, operands, strict=True))
        )

    name = f"{form.name}, {operand or 'result'} times {factor}"
    return replace(form, name=name, formula=of_operand if operand else of_result)


def may_be_of_another_scale(whole: Sequence[Measurement], steps: Sequence[Measurement], derivation: Derivation) -> bool:
    """Whether nothing deviates but backward steps, and the gradient is right whatever scale those have."""
    deviating = [m.quantity for m in steps if m.verdict == "deviates"]
    backward = {e.name for e in derivation.group("backward")}
    if not deviating or not backward.issuperset(deviating) or any(m.verdict == "deviates" for m in whole):
        return False
    # The gradient by the case's inputs; or by steps, if none is left out on the way to it.
    conforming = {m.quantity for m in whole if m.verdict == "conforms"}
    return conforming.issuperset(derivation.gradient.values()) or backward <= {m.quantity for m in steps}


def at_scale(
    steps: Sequence[Measurement],
    reports: Sequence[Report],
    scale: Fraction,
    measured: Callable[[Report], Measurement],
) -> list[Measurement] | None:
    """The step level with its backward rows `measured` anew at a scale; None as soon as one deviates."""
    found: list[Measurement] = []
    for row, report in zip(steps, reports, strict=True):
        again = measured(report) if report.equation.group == "backward" else row
        if again.verdict == "deviates":
            return None
        if row.verdict == "deviates":
            again = again.because(f"convention: the adjoints are {scale} times ours, which the gradient is free of")
        found.append(again)
    return found


# Causes ---------------------------------------------------------------------------------------------------------------


def caused(
    rows: Sequence[Measurement], answer: Answer, point: Point, truth: Callable[[str], Any]
) -> Iterator[Measurement]:
    """The rows, a cause beside those that deviate, where one is found; `truth` gives a quantity's exact values."""
    deviating = [m.quantity for m in rows if m.verdict == "deviates"]
    causes: dict[str, str] = {}
    if deviating:
        with suppress(OutOfRange):  # where double words do not hold the truth there is nothing to fit
            causes = _Fits.of(answer, point, truth).causes()
    for row in rows:
        cause = causes.get(row.quantity) if row.verdict == "deviates" and row.cause is None else None
        yield replace(row, cause=cause) if cause else row


@dataclass(frozen=True)
class _Fits:
    """An answer's numbers and the true ones, by parameter, in float64; `unit` is the dtype's u."""

    point: Point
    derivation: Derivation
    loss: tuple[float, float] | None
    weights: Mapping[str, Array]
    gradient: Mapping[str, Array]
    true: Mapping[str, Array]
    updated: Mapping[str, Array]
    unit: float

    @classmethod
    def of(cls, answer: Answer, point: Point, truth: Callable[[str], Any]) -> _Fits:
        derivation = derivation_of(point.derivation)
        trace = answer.trace or Trace({})

        def numbers(values: Mapping[str, Any]) -> dict[str, Array]:
            return {n: np.asarray(v, dtype=np.float64) for n, v in values.items()}

        loss = None if answer.loss is None else (float(answer.loss), float(truth(derivation.loss)))
        true = numbers({p: truth(g) for p, g in derivation.gradient.items()})
        return cls(
            point, derivation, loss, numbers({p: point.values[p] for p in derivation.parameters}),
            numbers({**trace.gradient, **(answer.gradient or {})}), true,
            numbers({**trace.updated, **(answer.updated or {})}), 2.0 ** -FORMATS[point.dtype].precision,
        )  # fmt: skip

    @property
    def near(self) -> float:
        """How far from a convention a tensor may be and be named by it: 2^(−p/2) of its norm. It names, it does not
        judge: roundings of the whole gradient are far less, and no two conventions are so close."""
        return math.sqrt(self.unit)

    def causes(self) -> dict[str, str]:
        """By quantity, the convention that its value is of, if it is one's."""
        with np.errstate(all="ignore"):
            of_scale, of_penalty, of_update = self._scale(), self._penalty(), self._update()
        found = of_scale or of_penalty
        for parameter, updated in self.derivation.updated.items():
            gradient = self.derivation.gradient[parameter]
            if gradient in found:  # a weight that is updated by such a gradient
                found.setdefault(updated, found[gradient])
        return found | of_update

    def _scale(self) -> dict[str, str]:
        """The loss and its gradient times one factor."""
        if not self.gradient:
            return {}
        for factor, what in self._factors().items():
            c = float(factor)
            like = all(_alike(g, c * self.true[p], self.near) for p, g in self.gradient.items())
            if like and (self.loss is None or _alike(self.loss[0], c * self.loss[1], self.near)):
                who = "the gradient is" if self.loss is None else "the loss and its gradient are"
                text = f"convention: {who} {factor} {'times' if factor.denominator == 1 else 'of'} ours{what}"
                backward = [e.name for e in self.derivation.group("backward")]
                return dict.fromkeys([self.derivation.loss, *backward], text)
        return {}

    def _factors(self) -> dict[Fraction, str]:
        """What another reduction, and ½ or 2, makes of the loss; and what asks for it."""
        of = self.point.architecture
        found: dict[Fraction, str] = {}
        if of is not None:
            counts = {
                "sum": (1, "a sum", 'reduction="sum"'),
                "rows": (of.batch, "a mean over rows", 'mean_over="rows"'),
                "elements": (of.batch * of.sizes[-1], "a mean over elements", 'mean_over="elements"'),
            }
            ours = "sum" if of.reduction == "sum" else of.mean_over or usual_mean(of.loss)
            instead = counts[ours][1].removeprefix("a mean over ")
            for count, name, option in counts.values():
                asked = option if ours != "sum" else f'reduction="mean", {option}'
                found.setdefault(Fraction(of.count, count), f": {name} instead of {instead} ({asked})")
        for factor in (Fraction(2), Fraction(1, 2)):
            found.setdefault(factor, "")
        found.pop(Fraction(1), None)
        return found

    def _penalty(self) -> dict[str, str]:
        """The gradient less the truth is λ·w."""
        rest = {p: g - self.true[p] for p, g in self.gradient.items()}
        strength, of = self._multiple(rest)
        text = f"convention: an L2 term of about {strength:.2g} (l2={strength:.2g})"
        found = {self.derivation.gradient[p]: text for p in of}
        squares = sum(float(np.sum(self.weights[p] ** 2)) for p in of)
        if found and self.loss is not None and _alike(self.loss[0], self.loss[1] + 0.5 * strength * squares, self.near):
            found[self.derivation.loss] = text
        return found

    def _update(self) -> dict[str, str]:
        """What is left of the update when the step is taken off: −ηλw; or the first step of Adam."""
        of = self.derivation
        rate = self.point.rate
        gradient = {**self.true, **self.gradient}
        if self._of_adam(gradient):
            text = "convention: the update is Adam's first step, not w − η·g"
            return {of.updated[p]: text for p in self.updated}
        rest = {p: self.weights[p] - rate * gradient[p] - new for p, new in self.updated.items()}
        times_rate, decayed = self._multiple(rest)
        strength = times_rate / rate if rate else 0.0
        text = f"convention: weight decay of about {strength:.2g} (weight_decay={strength:.2g})"
        return {of.updated[p]: text for p in decayed}

    def _of_adam(self, gradient: Mapping[str, Array]) -> bool:
        """Whether every weight moved by η against its gradient, as far as that is far above Adam's ε and w's ulp."""
        asked = False
        for p, new in self.updated.items():
            w, g, rate = self.weights[p], gradient[p], self.point.rate
            moved, rounding = w - new, 2 * self.unit * np.abs(w)
            seen = (np.abs(g) * self.near > ADAM_EPSILON) & (4 * rounding < rate)
            fits = (np.abs(np.abs(moved) - rate) <= self.near * rate + rounding) & (np.sign(moved) == np.sign(g))
            if not fits[seen].all():
                return False
            asked = asked or bool(seen.any())
        return asked

    def _multiple(self, rest: Mapping[str, Array]) -> tuple[float, list[str]]:
        """λ > 0 and the parameters of which rest = λ·w: all the weights, and those biases of which it is so, too.

        Of a single weight any error is a multiple: nothing is found.
        """
        weights = [p for p in rest if self.weights[p].ndim != 1]
        if sum(self.weights[p].size for p in weights) < 2:
            return 0.0, []
        size = sum(float(np.sum(self.weights[p] ** 2)) for p in weights)
        strength = sum(float(np.sum(rest[p] * self.weights[p])) for p in weights) / size if size else 0.0
        of = [p for p in rest if _alike(rest[p], strength * self.weights[p], self.near) and self.weights[p].any()]
        return (strength, of) if strength > 0 and of and set(of).issuperset(weights) else (0.0, [])


#: What torch.optim.Adam and optax.adam add to the divisor.
ADAM_EPSILON = 1e-8


def _alike(got: Any, expected: Any, near: float) -> bool:
    """Whether two tensors are the same to within `near` of their norm; never where they are zero or not finite."""
    size = float(np.sqrt(np.sum(np.square(expected))))
    return 0 < size < math.inf and float(np.sqrt(np.sum(np.square(np.subtract(got, expected))))) <= near * size
