"""What a difference quotient may be: its exact value, its distance from the derivative, its rounding.

A framework that reports a finite difference says which points it evaluated (after rounding), with which coefficients
and step. The quotient at those very points is computed in balls; the allowance around the derivative ∂E/∂w is then

    |quotient − derivative| + Σ|c|·A(point)/h + rounding,

where A(point) is the allowance of the loss at a point. By the triangle inequality a result outside it is not the
quotient that was claimed. Sources: Higham, "Accuracy and Stability of Numerical Algorithms", §3.1, for the sum;
W. Squire, G. Trapp, "Using complex variables to estimate derivatives of real functions", SIAM Review 40 (1998), for the
complex step.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, Protocol

from gradconform.reference.arithmetic.complexes import Complex, ComplexOver
from gradconform.reference.arithmetic.rounded import Rounded
from gradconform.reference.equations import Evaluation


class DifferenceStencil(Protocol):
    """What is asked of a stencil: its kind, step h, points by parameter and coefficients, one for each point."""

    @property
    def kind(self) -> Literal["real", "complex"]: ...
    @property
    def h(self) -> float: ...
    @property
    def points(self) -> Mapping[str, Sequence[float]]: ...
    @property
    def coefficients(self) -> Sequence[float]: ...


def quotients(truth: Evaluation, stencil: DifferenceStencil) -> dict[str, Rounded]:
    """The difference quotient by every parameter at the points of the stencil, as a rounded program computes it.

    `truth` is the evaluation of the derivation in rounded balls, at the parameters themselves. Beside them the loss is
    evaluated as it is there, but for what does not read the parameter that is moved.
    """
    derivation, ops = truth.derivation, truth.ops
    if stencil.kind == "complex":
        given = {n: truth.values[n] for n in truth.given}
        still = {**given, **{w: Complex(given[w], ops.given(0.0)) for w in derivation.parameters}}
        complexly = _with_loss(Evaluation(derivation, ComplexOver(ops), still))
        step = ops.given(stencil.h)
        losses = {w: complexly.moved({w: Complex(given[w], step)})[derivation.loss] for w in derivation.parameters}
        return {w: loss.im / stencil.h for w, loss in losses.items()}
    _with_loss(truth)

    def quotient(parameter: str) -> Rounded:
        terms = [truth.moved({parameter: ops.given(x)})[derivation.loss] for x in stencil.points[parameter]]
        result: Rounded = ops.inner_product(stencil.coefficients, terms) / stencil.h
        return result

    return {w: quotient(w) for w in derivation.parameters}


def _with_loss(evaluation: Evaluation) -> Evaluation:
    """The evaluation, with all that the loss depends on computed."""
    evaluation[evaluation.derivation.loss]
    return evaluation


def allowed(derivative: Rounded, quotient: Rounded) -> Rounded:
    """The ball around the derivative that holds every rounding of the quotient."""
    distance = abs(quotient.exact - derivative.exact)
    specials = derivative.specials | quotient.specials
    return Rounded(derivative.arithmetic, derivative.exact, distance + quotient.radius, specials)
