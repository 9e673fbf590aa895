"""The adapter contract: what a framework is asked and what it answers. It fits on a screen.

An adapter is an object with ::

    name: str                                    what rows and reports call it
    routes: Sequence[Route]                      the ways it has of getting a gradient
    answer(point: Point, route: str) -> Answer   run the framework

and, if it likes, `versions() -> dict[str, str]` for the run's provenance, `unavailable(device: str) -> str | None` to
say why a device cannot be used, `known_deviations`, the path of a TOML file of what is known to deviate, and `forms`,
programs of its own that round in a way that the suite does not know (see `gradconform.conformance.own_forms`). `answer`
may raise `Unsupported` for a point that it has no way to run. `Point` is `gradconform.reference.cases.Point`; its
arrays are the adapter's own to read and nobody's to write: an adapter that changes them is `crashed`. An adapter never
sees the truth.

A framework answers as much as it has. What it leaves out is said, and the rest is judged; an empty answer is `crashed`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, runtime_checkable

from gradconform.reference.cases import Form, Point, Unsupported, decimal_constant, ratio

__all__ = [
    "CONVENTIONS",
    "FOUR_DTYPES",
    "Adapter",
    "Answer",
    "Form",
    "Point",
    "Route",
    "Stencil",
    "Trace",
    "Unsupported",
    "Value",
    "decimal_constant",
    "ratio",
]

#: A real number: a Python float or int, a NumPy scalar or an array without dimensions. For a tensor an array of its
#: shape, of any floating dtype that holds its numbers: NumPy's, or what NumPy converts, such as a tensor on the CPU.
#: Refused: text, truth values, complex numbers, more than 64 bits, arrays that are masked or of integers or objects.
Value = Any

#: What a route may ask for by `Route.conventions`.
CONVENTIONS = ("accumulated",)
#: The dtypes that there are, by name: what a route runs in unless it says otherwise.
FOUR_DTYPES = ("float64", "float32", "float16", "bfloat16")


@dataclass(frozen=True)
class Route:
    """One way to a gradient. `default` routes run when none is named; `dtypes` it cannot run are `unsupported`.

    `operands` says how a trace's values are known: "exact" if the framework went on from the very numbers it reports,
    "half-ulp" if a compiler may have kept more digits of them (then that much is allowed at the step level).

    `conventions` asks for roundings that are not accepted unasked: "accumulated", of 16-bit gradients of weights that
    are accumulated in the dtype, as PyTorch's .grad is over several calls of backward().

    >>> Route("reverse", "by a tape", dtypes=("float64", "float32")).default
    True
    """

    name: str
    summary: str = ""
    default: bool = True
    dtypes: tuple[str, ...] = FOUR_DTYPES
    operands: Literal["exact", "half-ulp"] = "exact"
    conventions: tuple[str, ...] = ()


@dataclass(frozen=True)
class Trace:
    """One instrumented evaluation: forward quantities and adjoints (∂loss/∂name) by name, its gradient and update.

    Each may lack names: the equations are judged whose operands are there.

    >>> Trace(values={"z1": 0.5, "a1": 0.25}, adjoints={"z1": -0.125}).gradient
    {}
    """

    values: Mapping[str, Value]
    adjoints: Mapping[str, Value] = field(default_factory=dict)
    gradient: Mapping[str, Value] = field(default_factory=dict)
    updated: Mapping[str, Value] = field(default_factory=dict)


@dataclass(frozen=True)
class Stencil:
    """How a difference quotient was taken: the derivative by w is Σ coefficient·f(point)/h over `points[w]`.

    For `kind` "complex" it is Im f(w + i·h)/h, and there are no points.

    >>> central = Stencil("real", h=2.0**-17, points={"w1": (0.5 - 2.0**-17, 0.5 + 2.0**-17)}, coefficients=(-0.5, 0.5))
    >>> [(x - 0.5) / central.h for x in central.points["w1"]]
    [-1.0, 1.0]
    """

    kind: Literal["real", "complex"]
    h: float
    points: Mapping[str, Sequence[float]]
    coefficients: Sequence[float]


@dataclass(frozen=True)
class Answer:
    """The loss, the gradient and the updated weights (by parameter name), as numbers of the point's dtype.

    What a framework does not give is left out, None, or lacks names. A library that only returns new weights:

    >>> Answer(updated={"w1": 0.25}).gradient is None
    True
    """

    loss: Value | None = None
    gradient: Mapping[str, Value] | None = None
    updated: Mapping[str, Value] | None = None
    trace: Trace | None = None
    stencil: Stencil | None = None


@runtime_checkable
class Adapter(Protocol):
    """The type of an adapter; see the module.

    >>> class Mine:
    ...     name = "mine"
    ...     routes = (Route("only", dtypes=("float64",)),)
    ...
    ...     def answer(self, point: Point, route: str) -> Answer:
    ...         raise Unsupported("nothing yet")
    >>> isinstance(Mine(), Adapter)
    True
    """

    @property
    def name(self) -> str: ...

    @property
    def routes(self) -> Sequence[Route]: ...

    def answer(self, point: Point, route: str) -> Answer: ...
