"""Explain: the derivation equation by equation, with the truth, and what a framework computed beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gradconform.adapters.registry import Chosen
from gradconform.conformance.check import check_route
from gradconform.conformance.measurement import Measurement
from gradconform.reference.cases import Case, point
from gradconform.reference.cases import derivation as derivation_of
from gradconform.reference.equations import Derivation, Equation, Evaluation
from gradconform.reference.exact import EXACT, decimal, precision
from gradconform.reference.text import formula, symbol


@dataclass(frozen=True)
class Line:
    """One equation of a derivation: what it says, what is true, and what a framework made of it, if it was asked."""

    group: str
    symbol: str
    formula: str
    truth: str
    measured: Measurement | None


@dataclass(frozen=True)
class Explanation:
    """A case's derivation at a dtype; `problem` is what kept the framework from answering."""

    given: Mapping[str, float]
    lines: tuple[Line, ...]
    problem: str | None


def explain(case: Case, dtype: str, chosen: Chosen | None, profile: str, device: str = "cpu") -> Explanation:
    """Every equation of a case's derivation, in order, with 17 digits of the truth at the rounded inputs.

    With a route, each line carries its measurement: at the step level where the framework reported the quantity, at the
    whole level otherwise.
    """
    at = point(case, dtype, device)
    derivation = derivation_of(at.derivation)
    measured: dict[str, Measurement] = {}
    problem = None
    if chosen is not None:
        for m in check_route(chosen.adapter, chosen.route, at, profile):
            if m.quantity == "*":
                problem = f"{m.verdict}: {m.reason}"
            elif m.level == "step" or m.quantity not in measured:
                measured[m.quantity] = m
    given = {**at.values, derivation.rate: at.rate}
    return Explanation(
        given,
        tuple(
            Line(e.group, symbol(e.name), formula(e), _truth(e, given, derivation), measured.get(e.name))
            for e in derivation.equations
        ),
        problem,
    )


def _truth(equation: Equation, given: Mapping[str, float], derivation: Derivation) -> str:
    from flint import arb

    for bits in (192, 1024, 4096):
        with precision(bits):
            evaluation = Evaluation(derivation, EXACT, {n: arb(v) for n, v in given.items()})
            value = evaluation[equation.name]
            if value.rel_accuracy_bits() >= 64 or value.is_zero():
                return decimal(value, 17)
    return decimal(value, 17)
