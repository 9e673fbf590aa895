"""What a judgement shows of a gradient whose formula was asked apart from its execution."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from gradconform.reference.arithmetic.exact import to_float
from gradconform.reference.arithmetic.formats import Format
from gradconform.reference.arithmetic.rounded import ANYTHING, Rounded
from gradconform.reference.components import Indices
from gradconform.reference.judge import Formula, Judgement, noted, text_of, ulp_error

#: Why nothing is certified of numbers that are finite, and whose program may return anything.
ANYWHERE = "rounding: on the way it may take a divisor to 0, or a number out of range, so that no digit is certain"


def undecided(judgement: Judgement, why: str) -> Judgement:
    """A judgement of a gradient that has components which are excused: no pass."""
    execution = "undecided" if judgement.execution == "within" else judgement.execution
    return replace(judgement, execution=execution, reason=noted(judgement.reason, why))


def tells(judgement: Judgement, formula: Formula) -> bool:
    """Whether the component to show is one that the formula is worst at, and not one that the execution is."""
    if formula in ("wrong", "undefined", "singular"):
        return judgement.execution in (None, "within", "overflow")
    return formula == "unknown" and judgement.execution in (None, "within")


def overflowed(judgement: Judgement, got: NDArray[np.float64]) -> int | None:
    """The component to show where the execution overflowed, the first that is not finite; None where another is."""
    if judgement.execution != "overflow" or not np.isfinite(got[judgement.worst_index]) or np.isfinite(got).all():
        return None
    return int(np.isfinite(got).argmin())


def anywhere(judgement: Judgement, got: NDArray[np.float64]) -> bool:
    """Whether nothing is known of what the program may return, and nothing overflowed."""
    nothing = judgement.accuracy == "vacuous" and judgement.truth is None
    return nothing and judgement.execution in ("within", "overflow") and bool(np.isfinite(got).all())


def shown_anywhere(judgement: Judgement, got: float, truth: Rounded, format: Format) -> Judgement:
    """The judgement of finite numbers in the place of which the program may return anything: they are within that."""
    shown = shown_at(judgement, judgement.worst_index, got, truth, format)
    return replace(shown, execution="within", reason=ANYWHERE)


def with_wrong(judgement: Judgement, components: Indices) -> Judgement:
    """The judgement, with components whose formula is wrong among those that deviate."""
    if not components.size:
        return judgement
    outside = judgement.deviating
    return replace(judgement, deviating=components if outside is None else np.union1d(components, outside))


def with_unrounded(judgement: Judgement, formula: Formula, program: Callable[[int], str]) -> Judgement:
    """The judgement, with what the program gives without rounding where what was got shows nothing of what is wrong."""
    if formula != "wrong" or judgement.error_ulp is None or not judgement.error_ulp <= 1:
        return judgement
    hidden = f"rounding hides what is wrong: without it the program gives {program(judgement.worst_index)}"
    return replace(judgement, reason=noted(judgement.reason, hidden))


def shown_at(judgement: Judgement, component: int, got: float, truth: Rounded, format: Format) -> Judgement:
    """The judgement, shown at this component."""
    error = ulp_error(got, truth, format)
    finite = math.isfinite(error)
    return replace(
        judgement,
        worst_index=component,
        value=got,
        truth=text_of(truth),
        truth_radius=None if truth.specials & ANYTHING else to_float(truth.exact.rad()),
        error_ulp=error,
        error_abs=to_float(truth.distance(got)) if finite else math.inf,
    )
