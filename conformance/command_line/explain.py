"""Explain: the derivation equation by equation, with the truth, and what a framework computed beside it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradconform.reference.arithmetic.arrays import RoundedArrays
from gradconform.reference.arithmetic.exact import EXACT, decimal, precision
from gradconform.reference.arithmetic.formats import FLOAT64
from gradconform.reference.arithmetic.profiles import OPENCL
from gradconform.reference.arithmetic.text import formula, symbol
from gradconform.reference.cases import Case, point
from gradconform.reference.cases import derivation as derivation_of
from gradconform.reference.equations import Derivation, Evaluation
from gradconform.reference.measurement import Measurement

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


def explain(case: Case, dtype: str, measurements: Iterable[Measurement] = (), device: str = "cpu") -> Explanation:
    """Every equation of a case's derivation, in order, with 17 digits of the truth at the rounded inputs.

    With a route's measurements, each line carries its own: at the step level where the framework reported the quantity,
    at the whole level otherwise.
    """
    at = point(case, dtype, device)
    derivation = derivation_of(at.derivation)
    measured: dict[str, Measurement] = {}
    problem = None
    for m in measurements:
        if m.quantity == "*":
            problem = f"{m.verdict}: {m.reason}"
        elif m.level == "step" or m.quantity not in measured:
            measured[m.quantity] = m
    given: dict[str, Any] = {**at.values, derivation.rate: at.rate}
    truth = array_texts(array_truths(derivation, given)) if at.architecture else scalar_truths(derivation, given)
    return Explanation(
        {n: _shown(v) for n, v in given.items()},
        tuple(
            Line(e.group, symbol(e.name), formula(e), truth[e.name], measured.get(e.name)) for e in derivation.equations
        ),
        problem,
    )


def _shown(value: Any) -> str:
    return " × ".join(map(str, value.shape)) if np.ndim(value) else f"{value:.9g}"


@dataclass(frozen=True)
class Truth:
    """A tensor's exact values in float64; `reach` is half the width of the set that a value is at or after a kink."""

    middle: NDArray[np.float64]
    reach: NDArray[np.float64]

    def at(self, index: tuple[int, ...], digits: int = 9) -> str:
        """One component to so many digits; a set by its two ends, to so many digits of its width."""
        middle, reach = float(self.middle[index]), float(self.reach[index])
        if not reach:
            return f"{middle:.{digits}g}"
        places = digits - 1 - math.floor(math.log10(reach))
        # Adding 0 turns −0 into 0.
        low, high = (round(end, places) + 0.0 for end in (middle - reach, middle + reach))
        return f"[{low:.{digits}g}, {high:.{digits}g}]"


def array_truths(derivation: Derivation, given: Mapping[str, Any]) -> dict[str, Truth]:
    """Every quantity of a layered network by name, evaluated in double words and rounded to float64."""
    ops = RoundedArrays(FLOAT64, OPENCL, exact=True)
    evaluation = Evaluation(derivation, ops, {n: ops.given(v) for n, v in given.items()})
    found: dict[str, Truth] = {}
    for equation in derivation.equations:
        value = evaluation[equation.name]
        middle = np.asarray(value.high)
        after = any(found[o].reach.any() for o in equation.operands if o in found)
        reach = np.zeros(middle.shape)
        if after or value.spread is not None:
            # After a kink a radius holds the set's width, which nothing else makes a noticeable part of a value.
            width = np.asarray(value.folded().radii())
            reach = np.where(np.isfinite(width) & (width > _NOTICEABLE * np.abs(middle).max()), width, 0.0)
        found[equation.name] = Truth(middle, reach)
    return found


#: Of the largest component: what roundings in float64 widen a radius by is far less.
_NOTICEABLE = 1e-9


def array_texts(values: Mapping[str, Truth]) -> dict[str, str]:
    """Tensors in words: few components one by one, many by their shape and their largest."""
    return {name: _array_text(value) for name, value in values.items()}


def _array_text(value: Truth) -> str:
    middle = value.middle
    if middle.ndim == 0:
        return value.at((), 16) if not value.reach.any() else value.at(())
    if middle.size <= FEW and not value.reach.any():
        return " ".join(np.array2string(middle, precision=9, separator=" ").split())
    if middle.size <= FEW:
        return " ".join(value.at(index) for index in np.ndindex(middle.shape))
    worst = tuple(int(i) for i in np.unravel_index(int(np.abs(middle).argmax()), middle.shape))
    return f"{_shown(middle)}, largest {value.at(worst)} at [{','.join(map(str, worst))}]"


def scalar_truths(derivation: Derivation, given: Mapping[str, float]) -> dict[str, str]:
    """Every quantity of a derivation of numbers by name, to 17 digits; the precision is raised until they are certain.

    A quantity of which 4096 bits do not decide 17 digits is given as far as they do.
    """
    from flint import arb

    found: dict[str, str] = {}
    for bits in (192, 1024, 4096):
        with precision(bits):
            evaluation = Evaluation(derivation, EXACT, {n: arb(v) for n, v in given.items()})
            for name in (e.name for e in derivation.equations if e.name not in found):
                value = evaluation[name]
                if value.rel_accuracy_bits() >= 64 or value.is_zero() or bits == 4096:
                    found[name] = decimal(value, 17)
        if len(found) == len(derivation.equations):
            break
    return found
