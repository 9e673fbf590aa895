"""What stands beside the document's lines, under the same names: other rounded programs that frameworks run for them.

`Beside` of a line is what else is accepted for its formula, what it is true to, and what it is an operation of. Where a
framework reports ∂E_total/∂o1, "chained" starts from that factor, as the document's own chain rule does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from gradconform.reference.derivations.activations import ACTIVATIONS
from gradconform.reference.equations import Equation, Form, Formula, Group, elementwise

DOCUMENT = "Back Propagation"
SIGMOID = ACTIVATIONS["sigmoid"]
assert SIGMOID.rule is not None
SLOPE = SIGMOID.rule


@dataclass(frozen=True)
class Beside:
    """Other accepted programs of a line; what it is true to, if not to its own formula; what it is an operation of."""

    also: tuple[Form, ...] = ()
    definition: Form | None = None
    operator: str = "linear"
    against: Form | None = None


def line(name: str, operands: str, formula: Formula) -> Equation:
    """An equation whose form is the document's."""
    document = Form("document", tuple(operands.split()), formula, DOCUMENT)
    return Equation(name, "forward", "", (document,), part=elementwise)


def lines(group: Group, section: str, *page: Equation) -> tuple[Equation, ...]:
    """The lines of a section of the document, each with what stands beside it."""
    return tuple(_beside(replace(e, group=group, source=f"{DOCUMENT}, {section}")) for e in page)


def _beside(equation: Equation) -> Equation:
    """A line with its other forms; what has a chained one is true to that: its factors are known, and a long form reads
    a where σ'(z) is meant."""
    beside = BESIDE.get(equation.name, Beside())
    chain = next((form for form in beside.also if form.name == "chained"), None)
    return replace(
        equation, forms=(*equation.forms, *beside.also), against=beside.against, operator=beside.operator,
        definition=beside.definition or chain,
    )  # fmt: skip


def product(ops: Any, first: Any, second: Any) -> Any:
    """Two factors of the chain rule."""
    return first * second


def both_outputs(ops: Any, dE_do1: Any, do1_da: Any, dE_do2: Any, do2_da: Any) -> Any:
    """Two factors of the chain rule for each output."""
    return dE_do1 * do1_da + dE_do2 * do2_da


def chained(operands: str, formula: Formula) -> Form:
    return Form("chained", tuple(operands.split()), formula, f"{DOCUMENT}: the chain rule, factor by factor")


def of_sigmoid(x: str) -> tuple[Form, ...]:
    """Other programs for σ(x), such as e^x/(1 + e^x), which does not overflow where x is negative."""
    return tuple(form.renamed({"z": x}) for form in SIGMOID.forward[1:])


def slopes(x: str) -> tuple[Form, ...]:
    """Other programs for σ'(x) than a(1 − a): from x alone, or with a computed once more."""
    again = (
        Form(f"a(1-a), a from x: {f.name}", (x,), _output_again(f), f.source, instead=f.instead)
        for f in SIGMOID.forward
    )
    return (Form("σ'(x) of its own", (x,), lambda ops, x: ops.derivative(x, SLOPE), "any program"), *again)


def _output_again(form: Form) -> Formula:
    def formula(ops: Any, x: Any) -> Any:
        a = form.formula(ops, x)
        return a * (1 - a)

    return formula


def adjoints(adjoint: str, x: str, a: str) -> tuple[Form, ...]:
    """Other programs for g·σ'(x) than the product of the two."""
    return tuple(form.renamed({"g": adjoint, "z": x, "a": a}) for form in SIGMOID.forms)


def slope(x: str) -> Form:
    """What a(1 − a) is true to: σ'(x), not what a rounded a makes of it."""
    return Form("σ'(x)", (x,), lambda ops, x: SLOPE.slope(ops, x), "definition")


def adjoint_at(adjoint: str, x: str) -> Form:
    """What g·a(1 − a) is true to: g·σ'(x)."""
    return Form("g·σ'(x)", (adjoint, x), lambda ops, g, x: g * SLOPE.slope(ops, x), "definition")


def through_slope(names: str, formula: Callable[..., Any]) -> Form:
    """A gradient or adjoint through σ'(x), as a function of its own; the last operand is x."""

    def program(ops: Any, *operands: Any) -> Any:
        *others, x = operands
        return formula(ops.derivative(x, SLOPE), *others)

    return Form("σ'(x) of its own", tuple(names.split()), program, "any program")


#: The slope of σ on the way forward, g·a(1−a), as JAX and as PyTorch associate it.
_SLOPES: tuple[tuple[str, str, Formula], ...] = (
    (
        "forward mode",
        "JAX jax/_src/lax/lax.py, logistic_p: mul(g, mul(ans, sub(_one(ans), ans)))",
        lambda g, a: g * (a * (1 - a)),
    ),
    (
        "forward mode, (g(1-a))a",
        "PyTorch tools/autograd/derivatives.yaml, sigmoid: auto_element_wise of sigmoid_backward",
        lambda g, a: g * (1 - a) * a,
    ),
)


def tangent_at_output(do: str, a: str, t: str) -> tuple[Form, ...]:
    """∂E_total/∂w of an output weight as forward mode computes it, from ∂o/∂w on; d(½(t−a)²) is ½·(2(t−a)·(−da))."""

    def program(slope: Formula) -> Formula:
        return lambda ops, do, a, t: 0.5 * (2 * (a - t) * slope(do, a))

    return tuple(Form(name, (do, a, t), program(slope), source, tangent=True) for name, source, slope in _SLOPES)


def tangent_at_hidden(dh: str, a_h: str, w_1: str, w_2: str) -> tuple[Form, ...]:
    """∂E_total/∂w of an input weight as forward mode computes it, from ∂h/∂w on, through both outputs."""

    def program(slope: Formula) -> Formula:
        def formula(ops: Any, dh: Any, a_h: Any, w_1: Any, a_1: Any, t_1: Any, w_2: Any, a_2: Any, t_2: Any) -> Any:
            da_h = slope(dh, a_h)
            dE1 = 0.5 * (2 * (a_1 - t_1) * slope(w_1 * da_h, a_1))
            dE2 = 0.5 * (2 * (a_2 - t_2) * slope(w_2 * da_h, a_2))
            return dE1 + dE2

        return formula

    operands = (dh, a_h, w_1, "a_o1", "t1", w_2, "a_o2", "t2")
    return tuple(Form(name, operands, program(slope), source, tangent=True) for name, source, slope in _SLOPES)


def step(gradient: str) -> Form:
    """η·∂E_total/∂w, by which the accuracy of an update is measured."""
    return Form("step", ("eta", gradient), lambda ops, eta, gradient: eta * gradient, DOCUMENT)


# By line --------------------------------------------------------------------------------------------------------------


def _of_unit(x: str) -> dict[str, Beside]:
    """The lines of a unit: a = σ(x), σ'(x), and the adjoint of x."""
    a = f"a_{x}"
    return {
        a: Beside(of_sigmoid(x), operator="sigmoid"),
        f"d{a}/d{x}": Beside(slopes(x), slope(x), "sigmoid"),
        f"dE_total/d{x}": Beside(adjoints(f"dE_total/d{a}", x, a), adjoint_at(f"dE_total/d{a}", x), "sigmoid"),
    }


def _through_output(chain: str, o: str, t: str, factor: str) -> tuple[Form, ...]:
    """A gradient or adjoint through an output: the chain rule, and σ'(o) as a function of its own."""
    return (
        chained(chain, product),
        through_slope(f"a_{o} {t} {factor} {o}", lambda slope, a, t, factor: (a - t) * slope * factor),
    )


BESIDE: Mapping[str, Beside] = {
    **{name: beside for unit in ("h1", "h2", "o1", "o2") for name, beside in _of_unit(unit).items()},
    "E1": Beside(operator="half_squared_error"),
    "E2": Beside(operator="half_squared_error"),
    "E_total": Beside(operator="half_squared_error"),
    "dE1/da_o1": Beside(operator="half_squared_error"),
    "dE2/da_o2": Beside(operator="half_squared_error"),
    "dE_total/da_o1": Beside(operator="half_squared_error"),
    "dE_total/da_o2": Beside(operator="half_squared_error"),
    "dE_total/dw5": Beside(
        _through_output("dE_total/do1 do1/dw5", "o1", "t1", "a_h1") + tangent_at_output("do1/dw5", "a_o1", "t1")
    ),
    "dE_total/dw6": Beside(
        _through_output("dE_total/do1 do1/dw6", "o1", "t1", "a_h2") + tangent_at_output("do1/dw6", "a_o1", "t1")
    ),
    "dE_total/dw7": Beside(
        _through_output("dE_total/do2 do2/dw7", "o2", "t2", "a_h1") + tangent_at_output("do2/dw7", "a_o2", "t2")
    ),
    "dE_total/dw8": Beside(
        _through_output("dE_total/do2 do2/dw8", "o2", "t2", "a_h2") + tangent_at_output("do2/dw8", "a_o2", "t2")
    ),
    "dE1/da_h1": Beside(_through_output("dE_total/do1 do1/da_h1", "o1", "t1", "w5")),
    "dE2/da_h1": Beside(_through_output("dE_total/do2 do2/da_h1", "o2", "t2", "w7")),
    "dE1/da_h2": Beside(_through_output("dE_total/do1 do1/da_h2", "o1", "t1", "w6")),
    "dE2/da_h2": Beside(_through_output("dE_total/do2 do2/da_h2", "o2", "t2", "w8")),
    "dE_total/da_h1": Beside((chained("dE_total/do1 do1/da_h1 dE_total/do2 do2/da_h1", both_outputs),)),
    "dE_total/da_h2": Beside((chained("dE_total/do1 do1/da_h2 dE_total/do2 do2/da_h2", both_outputs),)),
    "dE_total/dw1": Beside(
        (chained("dE_total/dh1 dh1/dw1", product), *tangent_at_hidden("dh1/dw1", "a_h1", "w5", "w7"))
    ),
    "dE_total/dw2": Beside(
        (chained("dE_total/dh1 dh1/dw2", product), *tangent_at_hidden("dh1/dw2", "a_h1", "w5", "w7"))
    ),
    "dE_total/dw3": Beside(
        (chained("dE_total/dh2 dh2/dw3", product), *tangent_at_hidden("dh2/dw3", "a_h2", "w6", "w8"))
    ),
    "dE_total/dw4": Beside(
        (chained("dE_total/dh2 dh2/dw4", product), *tangent_at_hidden("dh2/dw4", "a_h2", "w6", "w8"))
    ),
    **{f"w{k}_new": Beside(against=step(f"dE_total/dw{k}"), operator="sgd") for k in range(1, 9)},
}
