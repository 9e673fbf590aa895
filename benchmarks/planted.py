"""Planted faults: a correct hand-written program, and the same program with one mistake.

The program is the document's derivation, evaluated in the dtype over NumPy scalars. A fault replaces equations of it,
so that the faulty program can be run in the dtype and evaluated in exact balls alike.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from flint import arb

from gradconform.adapters.contract import Answer, Route, Trace
from gradconform.reference.cases import Point
from gradconform.reference.document import NETWORK, WEIGHTS
from gradconform.reference.equations import Derivation, Equation, Evaluation, Form
from gradconform.reference.exact import HandWritten
from gradconform.reference.formats import BFLOAT16, FORMATS


class Bfloat16:
    """A bfloat16 number. Each operation is done in float64 and rounded once more, which rounds as if only once:
    53 >= 2·8 + 2 (S. Figueroa, "When is double rounding innocuous?", SIGNUM Newsletter 30 (1995))."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = float(BFLOAT16.round(float(value)))

    def __float__(self) -> float:
        return self.value

    def __neg__(self) -> Bfloat16:
        return Bfloat16(-self.value)

    def __add__(self, other: Any) -> Bfloat16:
        return Bfloat16(np.float64(self.value) + float(other))

    def __sub__(self, other: Any) -> Bfloat16:
        return Bfloat16(np.float64(self.value) - float(other))

    def __mul__(self, other: Any) -> Bfloat16:
        return Bfloat16(np.float64(self.value) * float(other))

    def __truediv__(self, other: Any) -> Bfloat16:
        return Bfloat16(np.float64(self.value) / float(other))

    __radd__, __rmul__ = __add__, __mul__

    def __rsub__(self, other: float) -> Bfloat16:
        return Bfloat16(other) - self

    def __rtruediv__(self, other: float) -> Bfloat16:
        return Bfloat16(other) / self


SCALARS: dict[str, Callable[[Any], Any]] = {
    "float64": np.float64,
    "float32": np.float32,
    "float16": np.float16,
    "bfloat16": Bfloat16,
}


class InDtype(HandWritten):
    """Scalars of one dtype; every operation rounds once."""

    def __init__(self, dtype: str) -> None:
        self.format, self.scalar = FORMATS[dtype], SCALARS[dtype]

    def exp(self, x: Any) -> Any:
        return Bfloat16(np.exp(x.value)) if isinstance(x, Bfloat16) else np.exp(x)

    def times(self, x: Any, factor: float) -> Any:
        """x·factor for a factor that the dtype need not hold, rounded once."""
        return self.scalar(self.format.round(float(x) * factor))


class InBalls(HandWritten):
    """Exact balls."""

    def exp(self, x: Any) -> Any:
        return x.exp()

    def times(self, x: Any, factor: float) -> Any:
        return x * arb(factor)


@dataclass(frozen=True)
class Fault:
    """A mistake: the equations it replaces, each as (operands, formula), or an update of its own."""

    name: str
    changes: Mapping[str, tuple[str, Callable[..., Any]]]
    sequential: bool = False


def _program(derivation: Derivation) -> Derivation:
    """The program an autodiff framework runs: every gradient from the adjoint before it.

    The ½ is applied by `ops.times` and the square is a product, so that nothing depends on how NumPy raises scalars.
    """

    def forms(equation: Equation) -> tuple[Form, ...]:
        if equation.name in ("E1", "E2"):
            return (replace(equation.forms[0], formula=lambda ops, t, a: ops.times((t - a) * (t - a), 0.5)),)
        return tuple(f for f in equation.forms if f.name == "chained") or equation.forms[:1]

    return replace(derivation, equations=tuple(replace(e, forms=forms(e)) for e in derivation.equations))


PROGRAM = _program(NETWORK)


def mutated(fault: Fault) -> Derivation:
    """The program with the fault's equations in place of the right ones."""

    def changed(name: str) -> tuple[Form, ...]:
        operands, formula = fault.changes[name]
        return (Form("planted", tuple(operands.split()), formula, fault.name),)

    equations = tuple(replace(e, forms=changed(e.name)) if e.name in fault.changes else e for e in PROGRAM.equations)
    return replace(PROGRAM, equations=equations)


def _slope(factor: float) -> Callable[..., Any]:
    return lambda ops, a: ops.times(a * (1 - a), factor)


def faults(dtype: str) -> list[Fault]:
    """The catalogue; relative faults are 2^k·u of the dtype, in the derivative of every sigmoid."""
    u = 2.0 ** -FORMATS[dtype].precision
    slopes = {"da_o1/do1": "a_o1", "da_o2/do2": "a_o2", "da_h1/dh1": "a_h1", "da_h2/dh2": "a_h2"}
    relative = [
        Fault(f"σ' off by 2^{k} u", {d: (a, _slope(1 + 2.0**k * u)) for d, a in slopes.items()}) for k in range(4, 13)
    ]
    twice = lambda ops, w, eta, g: w - eta * (eta * g)  # noqa: E731
    return [
        *relative,
        Fault("sign of ∂E/∂a flipped", {f"dE{k}/da_o{k}": (f"a_o{k} t{k}", lambda ops, a, t: t - a) for k in (1, 2)}),
        Fault(
            "½ dropped",
            {
                **{f"E{k}": (f"t{k} a_o{k}", lambda ops, t, a: (t - a) * (t - a)) for k in (1, 2)},
                **{f"dE{k}/da_o{k}": (f"a_o{k} t{k}", lambda ops, a, t: 2 * (a - t)) for k in (1, 2)},
            },
        ),
        Fault(
            "w5 and w7 swapped",
            {"do1/da_h1": ("w7", lambda ops, w7: w7), "do2/da_h1": ("w5", lambda ops, w5: w5)},
        ),
        Fault(
            "E2 path dropped",
            {f"dE_total/da_h{k}": (f"dE_total/do1 do1/da_h{k}", lambda ops, g, w: g * w) for k in (1, 2)},
        ),
        Fault("weights updated one at a time", {}, sequential=True),
        Fault("η applied twice", {f"{w}_new": (f"{w} eta dE_total/d{w}", twice) for w in WEIGHTS}),
    ]


CORRECT = Fault("none", {})


def evaluation(fault: Fault, ops: Any, given: Mapping[str, Any]) -> Evaluation:
    """Every quantity of the faulty program, in the arithmetic of `ops`."""
    result = Evaluation(mutated(fault), ops, given)
    if fault.sequential:
        weights = dict(given)
        for w in WEIGHTS:  # each weight is replaced before the gradient by the next one is taken
            weights[w] = Evaluation(PROGRAM, ops, weights)[f"{w}_new"]
            result.values[f"{w}_new"] = weights[w]
    return result


def answer(fault: Fault, point: Point) -> Answer:
    """The faulty program run in the point's dtype, with its trace."""
    scalar = SCALARS[point.dtype]
    given = {n: scalar(v) for n, v in {**point.values, NETWORK.rate: point.rate}.items()}
    with np.errstate(all="ignore"):
        found = evaluation(fault, InDtype(point.dtype), given)
        value = {e.name: float(found[e.name]) for e in NETWORK.equations}
    gradient = {w: value[n] for w, n in NETWORK.gradient.items()}
    updated = {w: value[n] for w, n in NETWORK.updated.items()}
    forward = {e.name: value[e.name] for e in NETWORK.group("forward")}
    adjoints = {n: value[NETWORK.adjoint(n)] for n in NETWORK.intermediates}
    return Answer(value[NETWORK.loss], gradient, updated, Trace(forward, adjoints, gradient, updated))


class ByHand:
    """The program as an adapter, correct or with a fault."""

    name = "by-hand"
    routes = (Route("numpy", "the document's formulas, by hand"),)

    def __init__(self, fault: Fault = CORRECT) -> None:
        self.fault = fault

    def answer(self, point: Point, route: str) -> Answer:
        return answer(self.fault, point)
