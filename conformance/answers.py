"""What a route answers, held against the contract before it is judged; or why there is nothing to judge."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradconform.adapters.contract import Adapter, Answer, Route, Stencil, Trace, Unsupported
from gradconform.adapters.registry import specification
from gradconform.conformance.cases.catalogue import catalogue
from gradconform.reference.arithmetic.formats import FORMATS
from gradconform.reference.arithmetic.text import visible
from gradconform.reference.cases import Point, detached, said
from gradconform.reference.cases import derivation as derivation_of
from gradconform.reference.measurement import Measurement


@dataclass(frozen=True)
class Reported(Answer):
    """An answer as it is judged: numbers are Python floats, tensors arrays of floats, and only the loss may be None.

    `gradient`, `updated` and the parts of the trace hold the names that were given (see `missing`).
    """

    loss: float | None = None
    gradient: Mapping[str, Any] = field(default_factory=dict)
    updated: Mapping[str, Any] = field(default_factory=dict)


class Malformed(ValueError):
    """An answer that cannot be judged; the message says what is wrong with its form."""


def ask(adapter: Adapter, route: Route, point: Point, command: str = "") -> Reported | Measurement:
    """What a route answers; or the measurement that says why there is no answer to judge.

    The adapter gets copies of the point's arrays: what it does to them is found, and reaches nobody else. `command`
    reproduces the question; left out, it is the one that finds the adapter and the case, or a line of Python.
    """
    if point.dtype not in route.dtypes:
        reason = f"dtype: {adapter.name}/{route.name} runs in {', '.join(route.dtypes)}"
        return _unjudged(adapter, route, point, "unsupported", reason)
    lent = _lent(point)
    values = lent.values
    found: Reported | Measurement | None = None
    problem = ""
    try:
        with warnings.catch_warnings():
            # A framework's own deprecations are no result, even where the caller turns warnings into errors.
            for category in (DeprecationWarning, FutureWarning):
                warnings.simplefilter("ignore", category)
            found = normalised(adapter.answer(lent, route.name), point)
    except Unsupported as error:
        found = _unjudged(adapter, route, point, "unsupported", said(error))
    except Malformed as error:
        problem = f"output: {error}"
    except (Exception, SystemExit) as error:  # whatever a framework raises is a result about the framework
        problem = f"exception: {type(error).__name__}: {said(error)}"
    changed = [n for n, v in point.values.items() if np.asarray(values[n]).tobytes() != np.asarray(v).tobytes()]
    if changed:
        problem = f"inputs: {' '.join(changed)} changed in place"
    return found if found is not None and not changed else refusal(adapter, route, point, problem, command)


def _lent(point: Point) -> Point:
    """The point with arrays of its own, read-only as the point's are."""
    values = {n: np.array(v) if np.ndim(v) else v for n, v in point.values.items()}
    for value in values.values():
        if np.ndim(value):
            value.flags.writeable = False
    return replace(point, values=MappingProxyType(values))


def refusal(adapter: Adapter, route: Route, point: Point, problem: str, command: str = "") -> Measurement:
    """The measurement of a route that gave no answer to judge: why, and the command that reproduces it."""
    command = command or _reproducing(adapter, route, point)
    return _unjudged(adapter, route, point, "crashed", f"{problem}; reproduce with: {command}")


def _reproducing(adapter: Adapter, route: Route, point: Point) -> str:
    """What asks the same once more: a command, where it finds this adapter and this case, else a line of Python."""
    name, there = specification(adapter), point.case in catalogue()
    elsewhere = point.device != "cpu"
    if name is not None and there:
        device = f" --device {point.device}" if elsewhere else ""
        return f"gradconform run -a {name}/{route.name} -c {point.case} -d {point.dtype}{device}"
    asked = "adapter" if name is None else f'"{name}/{route.name}"'
    case = f'"{point.case}"' if there else "case"
    device = f', device="{point.device}"' if elsewhere else ""
    return f'gc.check({asked}, {case}, dtype="{point.dtype}"{device})'


def _unjudged(adapter: Adapter, route: Route, point: Point, verdict: str, reason: str) -> Measurement:
    of: dict[str, Any] = {"case": point.case, "adapter": adapter.name, "route": route.name, "dtype": point.dtype}
    return Measurement(**of, level=None, quantity="*", elements=0, verdict=verdict, reason=visible(reason))


def normalised(answer: object, point: Point) -> Reported:
    """An answer as it is judged. Raises Malformed for one that cannot be, or that has nothing in it."""
    if not isinstance(answer, Answer):
        raise Malformed(f"expected an Answer, got {type(answer).__name__}")
    shapes = {**point.shapes, **{p: np.shape(point.values[p]) for p in point.parameters}}

    def numbers(part: str, values: Any, names: Iterable[str]) -> dict[str, Any]:
        return _numbers(part, values, {n: shapes.get(n, ()) for n in names})

    trace = answer.trace
    if trace is not None:
        if not isinstance(trace, Trace):
            raise Malformed(f"trace is a {type(trace).__name__}, expected a Trace")
        forward = [e.name for e in derivation_of(point.derivation).group("forward")]
        trace = Trace(
            values=numbers("trace.values", trace.values, forward),
            adjoints=numbers("trace.adjoints", trace.adjoints, point.intermediates),
            gradient=numbers("trace.gradient", trace.gradient, point.parameters),
            updated=numbers("trace.updated", trace.updated, point.parameters),
        )
    reported = Reported(
        loss=None if answer.loss is None else float(_value("loss", answer.loss, ())),
        gradient=numbers("gradient", answer.gradient, point.parameters),
        updated=numbers("updated", answer.updated, point.parameters),
        trace=trace if trace is not None and any(vars(trace).values()) else None,
        stencil=answer.stencil,
    )
    if reported.loss is None and not (reported.gradient or reported.updated or reported.trace):
        raise Malformed("the answer is empty; expected a loss, a gradient, updated weights or a trace")
    if answer.stencil is not None:
        _check_stencil(answer.stencil, point)
    return reported


def missing(answer: Answer, point: Point) -> tuple[str, ...]:
    """The quantities that an answer does not give, its trace aside, by the names of their equations."""
    of = derivation_of(point.derivation)
    return (
        *(() if answer.loss is not None else (of.loss,)),
        *(of.gradient[w] for w in point.parameters if w not in (answer.gradient or {})),
        *(of.updated[w] for w in point.parameters if w not in (answer.updated or {})),
    )


def _numbers(part: str, values: Any, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Any]:
    """The values that one part of an answer gives, by name; `shapes` are those of the names that it may give."""
    if values is None:
        return {}
    if not hasattr(values, "items"):
        raise Malformed(
            f"{part} is a {type(values).__name__}, expected numbers by name, such as {{{min(shapes)!r}: …}}"
        )
    given = {name: value for name, value in values.items() if value is not None}
    foreign = [name for name in given if name not in shapes]
    if foreign:
        raise Malformed(f"{part} has {foreign[0]!r}, expected names among {' '.join(sorted(shapes))}")
    return {name: _value(f"{part}[{name!r}]", value, shapes[name]) for name, value in given.items()}


def _value(what: str, value: Any, shape: tuple[int, ...]) -> float | NDArray[Any]:
    """A number as a Python float, a tensor as an array of floats; see `gradconform.adapters.contract.Value`."""
    expected = f"an array of real floats of shape {shape}" if shape else "a real number"
    kind = type(value).__name__
    if isinstance(value, np.ma.MaskedArray):
        raise Malformed(f"{what} is a masked array, expected {expected}: what is masked cannot be judged; fill it")
    if isinstance(value, int | float | np.integer) and not isinstance(value, bool) and not shape:
        return _float(what, value)
    if not hasattr(value, "__array__"):
        raise Malformed(f"{what} is a {kind}, expected {expected}")
    try:
        array = np.asarray(detached(value))
    except Exception as error:  # a framework says in its own way that it cannot
        remedy = "convert it in the adapter, as a bfloat16 tensor by .float().numpy()"
        raise Malformed(f"{what} is a {kind} that NumPy does not convert ({said(error)}); {remedy}") from error
    if array.shape != shape:
        raise Malformed(f"{what} is an array of shape {array.shape}, expected {expected}")
    floating = array.dtype.kind == "f" or array.dtype.name == "bfloat16"
    if not floating or array.dtype.itemsize > 8:
        raise Malformed(f"{what} is {'an array' if shape else 'a number'} of {array.dtype}, expected {expected}")
    return array if shape else float(array)


def _float(what: str, value: Any) -> float:
    """A number that float64 holds exactly, as what it is."""
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if number != value and isinstance(value, int | np.integer):
        raise Malformed(f"{what} is an integer that float64 does not hold, expected a real number as a float")
    return number


def _check_stencil(stencil: Any, point: Point) -> None:
    """Raise Malformed unless a stencil's step and points are numbers of the dtype and its coefficients finite."""
    if not isinstance(stencil, Stencil):
        raise Malformed(f"stencil is a {type(stencil).__name__}, expected a Stencil")
    if stencil.kind not in ("real", "complex"):
        raise Malformed(f"stencil.kind is {stencil.kind!r}, expected 'real' or 'complex'")
    of_dtype = [stencil.h, *(x for row in stencil.points.values() for x in row)]
    target = FORMATS[point.dtype]
    wrong = [x for x in [*of_dtype, *stencil.coefficients] if not isinstance(x, float) or not math.isfinite(x)]
    wrong += [x for x in of_dtype if not target.holds(x)]
    if wrong:
        got = float(wrong[0]) if isinstance(wrong[0], float) else wrong[0]
        raise Malformed(f"stencil has {got!r}, expected finite numbers of {point.dtype}")
    if stencil.h <= 0:
        raise Malformed(f"stencil.h is {stencil.h!r}, expected a positive step")
    if stencil.kind == "complex":
        return
    for parameter in point.parameters:
        if len(stencil.points.get(parameter, ())) != len(stencil.coefficients) or not stencil.coefficients:
            raise Malformed(f"stencil.points[{parameter!r}] needs one point for each of the coefficients")
