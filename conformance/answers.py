"""What a route answers, held against the contract before it is judged; or why there is nothing to judge."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np

from gradconform.adapters.contract import Adapter, Answer, Route, Stencil, Unsupported
from gradconform.conformance.measurement import Measurement
from gradconform.reference.cases import Point
from gradconform.reference.cases import derivation as derivation_of
from gradconform.reference.formats import FORMATS


def ask(adapter: Adapter, route: Route, point: Point, command: str = "") -> Answer | Measurement:
    """What a route answers; or the measurement that says why there is no answer to judge.

    `command` reproduces the question; left out, it is made of the names.
    """
    if point.dtype not in route.dtypes:
        reason = f"dtype: {adapter.name}/{route.name} runs in {', '.join(route.dtypes)}"
        return _unjudged(adapter, route, point, "unsupported", reason)
    try:
        with warnings.catch_warnings():
            # A framework's own deprecations are no result, even where the caller turns warnings into errors.
            for category in (DeprecationWarning, FutureWarning):
                warnings.simplefilter("ignore", category)
            answer = adapter.answer(point, route.name)
        problem = malformed(answer, point)
    except Unsupported as error:
        return _unjudged(adapter, route, point, "unsupported", str(error))
    except Exception as error:  # whatever a framework raises is a result about the framework
        problem = f"exception: {type(error).__name__}: {_first_line(error)}"
    return refusal(adapter, route, point, problem, command) if problem else answer


def refusal(adapter: Adapter, route: Route, point: Point, problem: str, command: str = "") -> Measurement:
    """The measurement of a route that gave no answer to judge: why, and the command that reproduces it."""
    command = command or f"gradconform run -a {adapter.name}/{route.name} -c {point.case} -d {point.dtype}"
    return _unjudged(adapter, route, point, "crashed", f"{problem}; reproduce with: {command}")


def _unjudged(adapter: Adapter, route: Route, point: Point, verdict: str, reason: str) -> Measurement:
    of: dict[str, Any] = {"case": point.case, "adapter": adapter.name, "route": route.name, "dtype": point.dtype}
    return Measurement(**of, level=None, quantity="*", elements=0, verdict=verdict, reason=reason)


def _first_line(error: Exception) -> str:
    text = str(error).strip()
    return text.splitlines()[0][:200] if text else "no message"


def malformed(answer: Answer, point: Point) -> str | None:
    """What is wrong with the form of an answer, or None."""
    if not isinstance(answer, Answer):
        return f"output: expected an Answer, got {type(answer).__name__}"
    derivation = derivation_of(point.derivation)
    forward = {e.name for e in derivation.group("forward")}
    shapes = {**point.shapes, **{p: np.shape(point.values[p]) for p in point.parameters}}
    parts: list[tuple[str, Mapping[str, Any], set[str], bool]] = [
        ("gradient", answer.gradient, set(point.parameters), True),
        ("updated", answer.updated, set(point.parameters), True),
    ]
    if answer.trace:
        parts += [
            ("trace.values", answer.trace.values, forward, False),
            ("trace.adjoints", answer.trace.adjoints, set(point.intermediates), False),
            ("trace.gradient", answer.trace.gradient, set(point.parameters), True),
            ("trace.updated", answer.trace.updated, set(point.parameters), True),
        ]
    for part, values, expected, complete in parts:
        foreign, missing = sorted(set(values) - expected), sorted(expected - set(values))
        if foreign:
            return f"output: {part} has {foreign[0]!r}, expected names among {' '.join(sorted(expected))}"
        if complete and missing:
            return f"output: {part} lacks {missing[0]!r}"
        for name, value in values.items():
            wrong = _malformed_value(value, shapes.get(name, ()))
            if wrong:
                return f"output: {part}[{name!r}] is {wrong}"
    if not isinstance(answer.loss, float):
        return f"output: loss is a {type(answer.loss).__name__}, expected a Python float"
    return _malformed_stencil(answer.stencil, point) if answer.stencil else None


def _malformed_value(value: Any, shape: tuple[int, ...]) -> str | None:
    """What is wrong with one value: a number is a Python float, a tensor an array of floating-point numbers."""
    if not shape:
        return None if isinstance(value, float) else f"a {type(value).__name__}, expected a Python float"
    if not isinstance(value, np.ndarray):
        return f"a {type(value).__name__}, expected a NumPy array of shape {shape}"
    if value.shape != shape:
        return f"an array of shape {value.shape}, expected {shape}"
    floating = value.dtype.kind == "f" or value.dtype.name == "bfloat16"
    return None if floating and value.dtype.itemsize <= 8 else f"an array of {value.dtype}, expected real floats"


def _malformed_stencil(stencil: Stencil, point: Point) -> str | None:
    """What is wrong with a stencil: its step and points must be numbers of the dtype, its coefficients finite."""
    if stencil.kind not in ("real", "complex"):
        return f"output: stencil.kind is {stencil.kind!r}, expected 'real' or 'complex'"
    of_dtype = [stencil.h, *(x for row in stencil.points.values() for x in row)]
    target = FORMATS[point.dtype]
    wrong = [x for x in [*of_dtype, *stencil.coefficients] if not isinstance(x, float) or not math.isfinite(x)]
    wrong += [x for x in of_dtype if not target.holds(x)]
    if wrong:
        got = float(wrong[0]) if isinstance(wrong[0], float) else wrong[0]
        return f"output: stencil has {got!r}, expected finite numbers of {point.dtype}"
    if stencil.h <= 0:
        return f"output: stencil.h is {stencil.h!r}, expected a positive step"
    if stencil.kind == "complex":
        return None
    for parameter in point.parameters:
        if len(stencil.points.get(parameter, ())) != len(stencil.coefficients) or not stencil.coefficients:
            return f"output: stencil.points[{parameter!r}] needs one point for each of the coefficients"
    return None
