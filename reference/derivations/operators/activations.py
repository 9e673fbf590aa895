"""Activations with their parameters. Constants as both frameworks print them (Klambauer et al. 2017 for selu)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from gradconform.reference.derivations.operators.operator import Operand, Operator, of_row

SELU_SCALE, SELU_ALPHA = 1.0507009873554804934193349852946, 1.6732632423543772848170429916717
GELU_CUBIC = 0.044715


def _a(
    name: str,
    definition: Callable[..., Any],
    source: str,
    kinks: tuple[float, ...] = (),
    parameters: tuple[Mapping[str, Any], ...] = ({},),
) -> Operator:
    edges = {"at the kinks": (list(kinks),)} if kinks else {}
    return Operator(name, "activation", definition, source, (Operand("x", draws="binades"),), parameters, kinks=kinks,
                    edges=edges)  # fmt: skip


def _hardsigmoid(o: Any, x: Any) -> Any:
    return o.clamp(x + 3.0, 0.0, 6.0) / 6.0


def _elu(o: Any, x: Any, alpha: float) -> Any:
    return o.where(x > 0.0, x, alpha * o.expm1(o.minimum(x, 0.0)))


def _shrink(o: Any, x: Any, lambd: float, kept: Callable[[Any, float], Any]) -> Any:
    return o.where(x > lambd, kept(x, lambd), o.where(x < -lambd, kept(x, -lambd), 0.0))


OPERATORS = (
    of_row("sigmoid", "activation"),
    of_row("log_sigmoid", "activation"),
    of_row("softplus", "activation"),
    _a("relu", lambda o, x: o.relu(x), "max(x, 0)", (0.0,)),
    _a("relu6", lambda o, x: o.clamp(x, 0.0, 6.0), "min(max(x, 0), 6)", (0.0, 6.0)),
    _a("silu", lambda o, x: x * o.sigmoid(x), "x·σ(x)"),
    _a("gelu", lambda o, x: x * o.ndtr(x), "x·Φ(x), Hendrycks and Gimpel 2016"),
    _a("gelu_tanh", lambda o, x: 0.5 * x * (1.0 + o.tanh(o.sqrt(2.0 / o.pi()) * (x + GELU_CUBIC * x**3))),
       "½x(1 + tanh(√(2/π)(x + 0.044715x³))), Hendrycks and Gimpel 2016"),
    _a("quick_gelu", lambda o, x: x * o.sigmoid(1.702 * x), "x·σ(1.702x)"),
    _a("mish", lambda o, x: x * o.tanh(o.softplus(x)), "x·tanh(softplus x), Misra 2019"),
    _a("selu", lambda o, x: SELU_SCALE * _elu(o, x, SELU_ALPHA), "Klambauer et al. 2017", (0.0,)),
    _a("elu", _elu, "x, or α(e^x − 1) below 0", (0.0,), ({"alpha": 1.0}, {"alpha": 0.75})),
    _a("celu", lambda o, x, alpha: o.where(x > 0.0, x, alpha * o.expm1(o.minimum(x, 0.0) / alpha)),
       "x, or α(e^(x/α) − 1) below 0, Barron 2017", (), ({"alpha": 1.5},)),
    _a("leaky_relu", lambda o, x, slope: o.where(x > 0.0, x, slope * x), "x, or slope·x below 0", (0.0,),
       ({"slope": 0.01}, {"slope": 0.25})),
    _a("rrelu", lambda o, x, lower, upper: o.where(x > 0.0, x, (lower + upper) / 2 * x),
       "x, or the middle of the slopes times x below 0 (in evaluation)", (0.0,), ({"lower": 0.125, "upper": 0.25},)),
    _a("softsign", lambda o, x: x / (1.0 + abs(x)), "x/(1 + |x|)"),
    _a("tanhshrink", lambda o, x: x - o.tanh(x), "x − tanh x"),
    _a("softshrink", lambda o, x, lambd: _shrink(o, x, lambd, lambda x, at: x - at), "x ∓ λ beyond ±λ, else 0",
       (-0.5, 0.5), ({"lambd": 0.5},)),
    _a("hardshrink", lambda o, x, lambd: _shrink(o, x, lambd, lambda x, at: x), "x beyond ±λ, else 0", (),
       ({"lambd": 0.5},)),
    _a("threshold", lambda o, x, threshold, value: o.where(x > threshold, x, value), "x above the threshold", (),
       ({"threshold": 0.25, "value": 2.0},)),
    _a("hardtanh", lambda o, x: o.clamp(x, -1.0, 1.0), "min(max(x, −1), 1)", (-1.0, 1.0)),
    _a("hardsigmoid", _hardsigmoid, "min(max(x + 3, 0), 6)/6", (-3.0, 3.0)),
    _a("hardswish", lambda o, x: x * _hardsigmoid(o, x), "x·hardsigmoid(x), Howard et al. 2019", (-3.0, 3.0)),
    _a("softplus_beta", lambda o, x, beta: o.softplus(beta * x) / beta, "log(1 + e^(βx))/β", (), ({"beta": 2.0},)),
    _a("swish_beta", lambda o, x, beta: x * o.sigmoid(beta * x), "x·σ(βx), Ramachandran et al. 2017", (),
       ({"beta": 1.5},)),
    _a("squareplus", lambda o, x: (x + o.sqrt(x * x + 4.0)) / 2.0, "(x + √(x² + 4))/2, Barron 2021"),
    _a("sparse_plus", lambda o, x: o.where(x <= -1.0, 0.0, o.where(x >= 1.0, x, o.square(x + 1.0) / 4.0)),
       "0, (x + 1)²/4 or x, JAX documentation"),
    Operator("prelu", "activation", lambda o, x, w: o.where(x > 0.0, x, w * x), "x, or w·x below 0, He et al. 2015",
             (Operand("x"), Operand("w"))),
)  # fmt: skip
