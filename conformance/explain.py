"""Explain: the derivation equation by equation, with the truth, and what a framework computed beside it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from gradconform.adapters.registry import Chosen
from gradconform.conformance.check import check_route
from gradconform.conformance.measurement import Measurement
from gradconform.reference.arrays import RoundedArrays
from gradconform.reference.cases import Case, point
from gradconform.reference.cases import derivation as derivation_of
from gradconform.reference.equations import Derivation, Equation, Evaluation
from gradconform.reference.exact import EXACT, decimal, precision
from gradconform.reference.formats import FLOAT64
from gradconform.reference.profiles import OPENCL
from gradconform.reference.text import formula, symbol

#: Tensors of at most so many components are shown one by one.
FEW = 8


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

    given: Mapping[str, str]
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
    given: dict[str, Any] = {**at.values, derivation.rate: at.rate}
    truth = _array_truths(derivation, given) if at.architecture else lambda e: _truth(e, given, derivation)
    return Explanation(
        {n: _shown(v) for n, v in given.items()},
        tuple(Line(e.group, symbol(e.name), formula(e), truth(e), measured.get(e.name)) for e in derivation.equations),
        problem,
    )


def _shown(value: Any) -> str:
    return " × ".join(map(str, value.shape)) if np.ndim(value) else f"{value:.9g}"


def _array_truths(derivation: Derivation, given: Mapping[str, Any]) -> Callable[[Equation], str]:
    """Tensors in words: few components one by one, many by their shape and their largest."""
    ops = RoundedArrays(FLOAT64, OPENCL, exact=True)
    evaluation = Evaluation(derivation, ops, {n: ops.given(v) for n, v in given.items()})

    def truth(equation: Equation) -> str:
        value = evaluation[equation.name].high
        if value.ndim == 0:
            return f"{float(value):.16g}"
        if value.size <= FEW:
            return " ".join(np.array2string(value, precision=9, separator=" ").split())
        worst = np.unravel_index(int(np.abs(value).argmax()), value.shape)
        return f"{_shown(value)}, largest {float(value[worst]):.9g} at [{','.join(map(str, worst))}]"

    return truth


def _truth(equation: Equation, given: Mapping[str, float], derivation: Derivation) -> str:
    from flint import arb

    for bits in (192, 1024, 4096):
        with precision(bits):
            evaluation = Evaluation(derivation, EXACT, {n: arb(v) for n, v in given.items()})
            value = evaluation[equation.name]
            if value.rel_accuracy_bits() >= 64 or value.is_zero():
                return decimal(value, 17)
    return decimal(value, 17)
