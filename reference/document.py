"""The document's derivation: a 2-2-2 sigmoid network, its loss, its eight gradients, its eight updates.

Every line of the document stands here under its own name, in its own order, with `d` for ∂: hold the page beside the
file and read the same formulas. A line is

    line(name, operands, formula, also=…)

and `also` lists the other rounded programs for the same formula that frameworks are known to run. Where a framework
reports ∂E_total/∂o1, "chained" starts from that factor, as the document's own chain rule does.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from gradconform.reference.derivations.activations import ACTIVATIONS
from gradconform.reference.equations import Derivation, Equation, Form, Formula, Group, elementwise

DOCUMENT = "Back Propagation"
SIGMOID = ACTIVATIONS["sigmoid"]
assert SIGMOID.rule is not None
SLOPE = SIGMOID.rule


def _lines(group: Group, section: str, *lines: Equation) -> tuple[Equation, ...]:
    source = f"{DOCUMENT}, {section}"
    return tuple(replace(e, group=group, source=source, operator=e.operator or _operator(e.name)) for e in lines)


def _operator(name: str) -> str:
    """What a line is an operation of: sums of products, unless it says otherwise."""
    return "half_squared_error" if name.startswith("E") or (name.startswith("dE") and "/da_o" in name) else "linear"


def line(
    name: str,
    operands: str,
    formula: Formula,
    also: tuple[Form, ...] = (),
    against: Form | None = None,
    definition: Form | None = None,
    operator: str = "",
) -> Equation:
    """An equation whose first form is the document's; `_lines` fills in the group and the section.

    What has a chained form is true to that: its factors are known, and a long form reads a where σ'(z) is meant.
    """
    document = Form("document", tuple(operands.split()), formula, DOCUMENT)
    definition = definition or next((form for form in also if form.name == "chained"), None)
    return Equation(
        name, "forward", "", (document, *also), against, part=elementwise, definition=definition, operator=operator
    )


def chained(operands: str, formula: Formula) -> Form:
    return Form("chained", tuple(operands.split()), formula, f"{DOCUMENT}: the chain rule, factor by factor")


# Forms that frameworks run --------------------------------------------------------------------------------------------


def of_sigmoid(x: str) -> tuple[Form, ...]:
    """Other programs for σ(x), such as e^x/(1 + e^x), which does not overflow where x is negative."""
    return tuple(form.renamed({"z": x}) for form in SIGMOID.forward[1:])


def slopes(x: str, a: str) -> tuple[Form, ...]:
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


# Forward --------------------------------------------------------------------------------------------------------------
# Erratum: the document prints w1*i_i in h1; i_i is i1.

FORWARD = _lines(
    "forward",
    "Forward Propagation",
    line("h1", "w1 i1 w2 i2", lambda ops, w1, i1, w2, i2: w1 * i1 + w2 * i2),
    line("h2", "w3 i1 w4 i2", lambda ops, w3, i1, w4, i2: w3 * i1 + w4 * i2),
    line("a_h1", "h1", lambda ops, h1: ops.sigmoid(h1), also=of_sigmoid("h1"), operator="sigmoid"),
    line("a_h2", "h2", lambda ops, h2: ops.sigmoid(h2), also=of_sigmoid("h2"), operator="sigmoid"),
    line("o1", "w5 a_h1 w6 a_h2", lambda ops, w5, a_h1, w6, a_h2: w5 * a_h1 + w6 * a_h2),
    line("o2", "w7 a_h1 w8 a_h2", lambda ops, w7, a_h1, w8, a_h2: w7 * a_h1 + w8 * a_h2),
    line("a_o1", "o1", lambda ops, o1: ops.sigmoid(o1), also=of_sigmoid("o1"), operator="sigmoid"),
    line("a_o2", "o2", lambda ops, o2: ops.sigmoid(o2), also=of_sigmoid("o2"), operator="sigmoid"),
    line("E1", "t1 a_o1", lambda ops, t1, a_o1: 0.5 * (t1 - a_o1) ** 2),
    line("E2", "t2 a_o2", lambda ops, t2, a_o2: 0.5 * (t2 - a_o2) ** 2),
    line("E_total", "E1 E2", lambda ops, E1, E2: E1 + E2),
)

# Backward: output weights ---------------------------------------------------------------------------------------------
# The document calls them "hidden layer weights". ∂E_total/∂a_o1 is ∂E1/∂a_o1 since a_o1 has no effect on E2, and
# ∂E_total/∂o1 is the product of the first two factors; the document writes neither on a line of its own, but frameworks
# report both.

OUTPUT_WEIGHTS = _lines(
    "backward",
    "gradient of E_total w.r.t. hidden layer weights",
    line("dE1/da_o1", "a_o1 t1", lambda ops, a_o1, t1: a_o1 - t1),
    line("dE2/da_o2", "a_o2 t2", lambda ops, a_o2, t2: a_o2 - t2),
    line("dE_total/da_o1", "dE1/da_o1", lambda ops, dE1_da: dE1_da),
    line("dE_total/da_o2", "dE2/da_o2", lambda ops, dE2_da: dE2_da),
    line(
        "da_o1/do1",
        "a_o1",
        lambda ops, a_o1: a_o1 * (1 - a_o1),
        also=slopes("o1", "a_o1"),
        definition=slope("o1"),
        operator="sigmoid",
    ),
    line(
        "da_o2/do2",
        "a_o2",
        lambda ops, a_o2: a_o2 * (1 - a_o2),
        also=slopes("o2", "a_o2"),
        definition=slope("o2"),
        operator="sigmoid",
    ),
    line(
        "dE_total/do1",
        "dE_total/da_o1 da_o1/do1",
        lambda ops, dE_da, da_do: dE_da * da_do,
        also=adjoints("dE_total/da_o1", "o1", "a_o1"),
        definition=adjoint_at("dE_total/da_o1", "o1"),
        operator="sigmoid",
    ),
    line(
        "dE_total/do2",
        "dE_total/da_o2 da_o2/do2",
        lambda ops, dE_da, da_do: dE_da * da_do,
        also=adjoints("dE_total/da_o2", "o2", "a_o2"),
        definition=adjoint_at("dE_total/da_o2", "o2"),
        operator="sigmoid",
    ),
    line("do1/dw5", "a_h1", lambda ops, a_h1: a_h1),
    line("do1/dw6", "a_h2", lambda ops, a_h2: a_h2),
    line("do2/dw7", "a_h1", lambda ops, a_h1: a_h1),
    line("do2/dw8", "a_h2", lambda ops, a_h2: a_h2),
    line(
        "dE_total/dw5",
        "a_o1 t1 a_h1",
        lambda ops, a_o1, t1, a_h1: (a_o1 - t1) * a_o1 * (1 - a_o1) * a_h1,
        also=(
            chained("dE_total/do1 do1/dw5", lambda ops, dE_do, do_dw: dE_do * do_dw),
            through_slope("a_o1 t1 a_h1 o1", lambda slope, a, t, a_h: (a - t) * slope * a_h),
            *tangent_at_output("do1/dw5", "a_o1", "t1"),
        ),
    ),
    line(
        "dE_total/dw6",
        "a_o1 t1 a_h2",
        lambda ops, a_o1, t1, a_h2: (a_o1 - t1) * a_o1 * (1 - a_o1) * a_h2,
        also=(
            chained("dE_total/do1 do1/dw6", lambda ops, dE_do, do_dw: dE_do * do_dw),
            through_slope("a_o1 t1 a_h2 o1", lambda slope, a, t, a_h: (a - t) * slope * a_h),
            *tangent_at_output("do1/dw6", "a_o1", "t1"),
        ),
    ),
    line(
        "dE_total/dw7",
        "a_o2 t2 a_h1",
        lambda ops, a_o2, t2, a_h1: (a_o2 - t2) * a_o2 * (1 - a_o2) * a_h1,
        also=(
            chained("dE_total/do2 do2/dw7", lambda ops, dE_do, do_dw: dE_do * do_dw),
            through_slope("a_o2 t2 a_h1 o2", lambda slope, a, t, a_h: (a - t) * slope * a_h),
            *tangent_at_output("do2/dw7", "a_o2", "t2"),
        ),
    ),
    line(
        "dE_total/dw8",
        "a_o2 t2 a_h2",
        lambda ops, a_o2, t2, a_h2: (a_o2 - t2) * a_o2 * (1 - a_o2) * a_h2,
        also=(
            chained("dE_total/do2 do2/dw8", lambda ops, dE_do, do_dw: dE_do * do_dw),
            through_slope("a_o2 t2 a_h2 o2", lambda slope, a, t, a_h: (a - t) * slope * a_h),
            *tangent_at_output("do2/dw8", "a_o2", "t2"),
        ),
    ),
)

# Backward: input weights ----------------------------------------------------------------------------------------------
# The document calls them "input layer weights". Erratum: the brackets in its long forms of ∂E_total/∂w3 and
# ∂E_total/∂w4 do not match; the sum over both outputs stands in one bracket, as it does for ∂E_total/∂w1.

INPUT_WEIGHTS = _lines(
    "backward",
    "gradient of E_total w.r.t. input layer weights",
    line("do1/da_h1", "w5", lambda ops, w5: w5),
    line("do2/da_h1", "w7", lambda ops, w7: w7),
    line("do1/da_h2", "w6", lambda ops, w6: w6),
    line("do2/da_h2", "w8", lambda ops, w8: w8),
    line(
        "dE1/da_h1",
        "a_o1 t1 w5",
        lambda ops, a_o1, t1, w5: (a_o1 - t1) * a_o1 * (1 - a_o1) * w5,
        also=(
            chained("dE_total/do1 do1/da_h1", lambda ops, dE_do, do_da: dE_do * do_da),
            through_slope("a_o1 t1 w5 o1", lambda slope, a, t, w: (a - t) * slope * w),
        ),
    ),
    line(
        "dE2/da_h1",
        "a_o2 t2 w7",
        lambda ops, a_o2, t2, w7: (a_o2 - t2) * a_o2 * (1 - a_o2) * w7,
        also=(
            chained("dE_total/do2 do2/da_h1", lambda ops, dE_do, do_da: dE_do * do_da),
            through_slope("a_o2 t2 w7 o2", lambda slope, a, t, w: (a - t) * slope * w),
        ),
    ),
    line(
        "dE1/da_h2",
        "a_o1 t1 w6",
        lambda ops, a_o1, t1, w6: (a_o1 - t1) * a_o1 * (1 - a_o1) * w6,
        also=(
            chained("dE_total/do1 do1/da_h2", lambda ops, dE_do, do_da: dE_do * do_da),
            through_slope("a_o1 t1 w6 o1", lambda slope, a, t, w: (a - t) * slope * w),
        ),
    ),
    line(
        "dE2/da_h2",
        "a_o2 t2 w8",
        lambda ops, a_o2, t2, w8: (a_o2 - t2) * a_o2 * (1 - a_o2) * w8,
        also=(
            chained("dE_total/do2 do2/da_h2", lambda ops, dE_do, do_da: dE_do * do_da),
            through_slope("a_o2 t2 w8 o2", lambda slope, a, t, w: (a - t) * slope * w),
        ),
    ),
    line(
        "dE_total/da_h1",
        "dE1/da_h1 dE2/da_h1",
        lambda ops, dE1_da, dE2_da: dE1_da + dE2_da,
        also=(
            chained(
                "dE_total/do1 do1/da_h1 dE_total/do2 do2/da_h1",
                lambda ops, dE_do1, do1_da, dE_do2, do2_da: dE_do1 * do1_da + dE_do2 * do2_da,
            ),
        ),
    ),
    line(
        "dE_total/da_h2",
        "dE1/da_h2 dE2/da_h2",
        lambda ops, dE1_da, dE2_da: dE1_da + dE2_da,
        also=(
            chained(
                "dE_total/do1 do1/da_h2 dE_total/do2 do2/da_h2",
                lambda ops, dE_do1, do1_da, dE_do2, do2_da: dE_do1 * do1_da + dE_do2 * do2_da,
            ),
        ),
    ),
    line(
        "da_h1/dh1",
        "a_h1",
        lambda ops, a_h1: a_h1 * (1 - a_h1),
        also=slopes("h1", "a_h1"),
        definition=slope("h1"),
        operator="sigmoid",
    ),
    line(
        "da_h2/dh2",
        "a_h2",
        lambda ops, a_h2: a_h2 * (1 - a_h2),
        also=slopes("h2", "a_h2"),
        definition=slope("h2"),
        operator="sigmoid",
    ),
    line(
        "dE_total/dh1",
        "dE_total/da_h1 da_h1/dh1",
        lambda ops, dE_da, da_dh: dE_da * da_dh,
        also=adjoints("dE_total/da_h1", "h1", "a_h1"),
        definition=adjoint_at("dE_total/da_h1", "h1"),
        operator="sigmoid",
    ),
    line(
        "dE_total/dh2",
        "dE_total/da_h2 da_h2/dh2",
        lambda ops, dE_da, da_dh: dE_da * da_dh,
        also=adjoints("dE_total/da_h2", "h2", "a_h2"),
        definition=adjoint_at("dE_total/da_h2", "h2"),
        operator="sigmoid",
    ),
    line("dh1/dw1", "i1", lambda ops, i1: i1),
    line("dh1/dw2", "i2", lambda ops, i2: i2),
    line("dh2/dw3", "i1", lambda ops, i1: i1),
    line("dh2/dw4", "i2", lambda ops, i2: i2),
    line(
        "dE_total/dw1",
        "dE_total/da_h1 da_h1/dh1 dh1/dw1",
        lambda ops, dE_da, da_dh, dh_dw: dE_da * da_dh * dh_dw,
        also=(
            chained("dE_total/dh1 dh1/dw1", lambda ops, dE_dh, dh_dw: dE_dh * dh_dw),
            *tangent_at_hidden("dh1/dw1", "a_h1", "w5", "w7"),
        ),
    ),
    line(
        "dE_total/dw2",
        "dE_total/da_h1 da_h1/dh1 dh1/dw2",
        lambda ops, dE_da, da_dh, dh_dw: dE_da * da_dh * dh_dw,
        also=(
            chained("dE_total/dh1 dh1/dw2", lambda ops, dE_dh, dh_dw: dE_dh * dh_dw),
            *tangent_at_hidden("dh1/dw2", "a_h1", "w5", "w7"),
        ),
    ),
    line(
        "dE_total/dw3",
        "dE_total/da_h2 da_h2/dh2 dh2/dw3",
        lambda ops, dE_da, da_dh, dh_dw: dE_da * da_dh * dh_dw,
        also=(
            chained("dE_total/dh2 dh2/dw3", lambda ops, dE_dh, dh_dw: dE_dh * dh_dw),
            *tangent_at_hidden("dh2/dw3", "a_h2", "w6", "w8"),
        ),
    ),
    line(
        "dE_total/dw4",
        "dE_total/da_h2 da_h2/dh2 dh2/dw4",
        lambda ops, dE_da, da_dh, dh_dw: dE_da * da_dh * dh_dw,
        also=(
            chained("dE_total/dh2 dh2/dw4", lambda ops, dE_dh, dh_dw: dE_dh * dh_dw),
            *tangent_at_hidden("dh2/dw4", "a_h2", "w6", "w8"),
        ),
    ),
)

# Update ---------------------------------------------------------------------------------------------------------------
# All eight gradients first, then all eight weights.


def updated(w: str) -> Equation:
    """w_new = w − η·∂E_total/∂w, its accuracy measured by the step η·∂E_total/∂w."""
    gradient = f"dE_total/d{w}"
    step = Form("step", ("eta", gradient), lambda ops, eta, gradient: eta * gradient, DOCUMENT)
    return line(
        f"{w}_new",
        f"{w} eta {gradient}",
        lambda ops, w, eta, gradient: w - eta * gradient,
        against=step,
        operator="sgd",
    )


WEIGHTS = ("w1", "w2", "w3", "w4", "w5", "w6", "w7", "w8")

UPDATE = _lines("update", "Gradient Descent", *[updated(w) for w in WEIGHTS])

NETWORK = Derivation(
    name="document",
    inputs=("i1", "i2", "t1", "t2"),
    parameters=WEIGHTS,
    rate="eta",
    loss="E_total",
    equations=FORWARD + OUTPUT_WEIGHTS + INPUT_WEIGHTS + UPDATE,
    gradient={w: f"dE_total/d{w}" for w in WEIGHTS},
    updated={w: f"{w}_new" for w in WEIGHTS},
)
