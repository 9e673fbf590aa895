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
from typing import Any, Literal, Protocol

from gradconform.reference.arithmetic.complexes import Complex, ComplexOver
from gradconform.reference.arithmetic.rounded import Rounded, RoundedBalls
from gradconform.reference.derivations.choosers import widest
from gradconform.reference.equations import Derivation, Evaluation


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


def quotient(
    derivation: Derivation,
    ops: RoundedBalls,
    given: Mapping[str, Any],
    parameter: str,
    stencil: DifferenceStencil,
) -> Rounded:
    """The difference quotient by `parameter` at the points of the stencil, as a rounded program computes it."""
    if stencil.kind == "complex":
        step = {parameter: ops.given(stencil.h)}
        moved = {**given, **{w: Complex(given[w], step.get(w, ops.given(0.0))) for w in derivation.parameters}}
        loss = Evaluation(derivation, ComplexOver(ops), moved)[derivation.loss]
        result: Rounded = loss.im / stencil.h
        return result
    terms = [
        Evaluation(derivation, ops, {**given, parameter: ops.given(x)}, widest)[derivation.loss]
        for x in stencil.points[parameter]
    ]
    return ops.inner_product(stencil.coefficients, terms) / stencil.h


def allowed(derivative: Rounded, quotient: Rounded) -> Rounded:
    """The ball around the derivative that holds every rounding of the quotient."""
    distance = abs(quotient.exact - derivative.exact)
    specials = derivative.specials | quotient.specials
    return Rounded(derivative.arithmetic, derivative.exact, distance + quotient.radius, specials)
