"""Activations: each formula with its derivative beside it, and the rounded programs that frameworks run for both.

`value` and `rule` are the definition: a(z), a'(z) and a''(z), in a form that keeps its digits everywhere. They are the
truth. A forward form is a program for a(z). A backward form gives ∂E/∂z from the adjoint g = ∂E/∂a and from `z` or the
activation's own output `a`, rounded as that is; the same with a computed from z once more is accepted too, and so is
a'(z) as a function of its own, however it is programmed (`ops.derivative`). The first form of each is the textbook's.
At a kink the derivative is the set of all slopes between the one-sided ones (`ops.step`); `kinks` says where, and which
slope each framework takes.

Sources, by file: PyTorch 2.13, aten/src/ATen/native/cpu/Activation.cpp and BinaryOpsKernel.cpp, tools/autograd/
derivatives.yaml; JAX 0.10, jax/_src/nn/functions.py, jax/_src/lax/{lax,other,special}.py. The constants of selu:
Klambauer et al., "Self-Normalizing Neural Networks" (2017), as both frameworks print them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from gradconform.reference.arithmetic.exact import Constant, decimal_constant, ratio
from gradconform.reference.equations import Form, Formula, Slope

LEAKY_SLOPE = ratio(1, 100)
SELU_SCALE = decimal_constant("1.0507009873554804934193349852946")
SELU_ALPHA = decimal_constant("1.6732632423543772848170429916717")
SQRT_HALF = Constant("√½", lambda field: field.sqrt(field.ratio(1, 2)))
SQRT_2_OVER_PI = Constant("√(2/π)", lambda field: field.sqrt(2 / field.pi()))
TWO_OVER_SQRT_PI = Constant("2/√π", lambda field: 2 / field.sqrt(field.pi()))
ONE_OVER_SQRT_2PI = Constant("1/√(2π)", lambda field: 1 / field.sqrt(2 * field.pi()))
GELU_CUBIC = decimal_constant("0.044715")

TORCH_ACTIVATIONS = "PyTorch aten/src/ATen/native/cpu/Activation.cpp"
JAX_FUNCTIONS = "JAX jax/_src/nn/functions.py"


@dataclass(frozen=True)
class Activation:
    """`forward`: forms of a(z). `backward`: forms of ∂E/∂z over the operands "g" and "z" or "a".

    `value` is a(z) and `rule` its derivative, where they are not the first forms' own. `rowwise`: a component depends
    on its whole row. `kinks`: where the derivative jumps, and who takes which slope.
    """

    name: str
    forward: tuple[Form, ...]
    backward: tuple[Form, ...]
    value: Formula | None = None
    rule: Slope | None = None
    kinks: str = ""
    rowwise: bool = False

    @property
    def forms(self) -> tuple[Form, ...]:
        """Every form of ∂E/∂z: `backward`, the same from z alone, the derivative as a function of its own."""
        return (*self.backward, *_own(self.rule), *_from_z(self))

    @property
    def definition(self) -> tuple[Form | None, Form | None]:
        """What a and ∂E/∂z are true to, where it is not the first form."""
        value, rule = self.value, self.rule
        forward = None if value is None else Form("definition", ("z",), value, "definition")
        if rule is not None:
            return forward, Form("g·f'(z)", ("g", "z"), lambda ops, g, z: g * rule.slope(ops, z), "definition")
        if self.rowwise:
            return forward, Form("(g-Σgs)s", ("g", "z"), _softmax_slope, "definition")
        return forward, None


def _own(rule: Slope | None) -> tuple[Form, ...]:
    if rule is None:
        return ()
    source = "any program for f'(z), its error measured in its own last place and in that of z; then one product"
    return (Form("g·f'(z), f' of its own", ("g", "z"), lambda ops, g, z: g * ops.derivative(z, rule), source),)


def _from_z(activation: Activation) -> tuple[Form, ...]:
    """The slopes that read the output, with the output computed from z by each of its programs."""
    if activation.rowwise:
        return ()

    def again(slope: Form, output: Form) -> Form:
        name = f"{slope.name}, a from z: {output.name}"

        def formula(ops: Any, g: Any, z: Any) -> Any:
            return slope.formula(ops, g, output.formula(ops, z))

        return Form(name, ("g", "z"), formula, slope.source, instead=output.instead)

    reading = [b for b in activation.backward if "a" in b.operands]
    return tuple(again(b, f) for f in activation.forward for b in reading)


def _value(name: str, formula: Formula, source: str = "definition", instead: str = "", approximates: str = "") -> Form:
    return Form(name, ("z",), formula, source, instead=instead, approximates=approximates)


def _slope(
    name: str, operands: str, formula: Formula, source: str = "definition", instead: str = "", approximates: str = ""
) -> Form:
    return Form(name, tuple(operands.split()), formula, source, instead=instead, approximates=approximates)


# Pieces that several formulas share -----------------------------------------------------------------------------------


def softplus(ops: Any, z: Any) -> Any:
    """log(1 + e^z) without overflow: max(z, 0) + log1p(e^−|z|)."""
    return ops.positive_part(z) + ops.log1p(ops.exp(-ops.absolute(z)))


def _softplus_slope_jax(ops: Any, g: Any, z: Any) -> Any:
    """jax.numpy.logaddexp's own rule: e^(z − softplus(z))."""
    return g * ops.exp(z - softplus(ops, z))


def _tanh_slope_jax(h: Any, t: Any) -> Any:
    """The transpose of (g + g·t)(1 − t): h = g(1 − t), then h + h·t."""
    h = h * (1 - t)
    return h + h * t


def _normal_cdf(ops: Any, z: Any) -> Any:
    return 0.5 * (1 + ops.erf(z * ops.real(SQRT_HALF)))


def _gelu_inner(ops: Any, z: Any) -> Any:
    return ops.real(SQRT_2_OVER_PI) * (z + ops.real(GELU_CUBIC) * (z**2 * z))


def _gelu_tanh_slope(ops: Any, g: Any, z: Any) -> Any:
    left, t = 0.5 * z, ops.tanh(_gelu_inner(ops, z))
    # PyTorch multiplies 3 by the constant before it is rounded, JAX after: one constant and one rounding cover both.
    inner_slope = ops.real(SQRT_2_OVER_PI) * (1 + 3 * ops.real(GELU_CUBIC) * z**2)
    return g * (0.5 * (1 + t) + left * (1 - t**2) * inner_slope)


def _gelu_tanh_slope_jax(ops: Any, g: Any, z: Any) -> Any:
    t = ops.tanh(_gelu_inner(ops, z))
    h = _tanh_slope_jax(0.5 * (g * z), t) * ops.real(SQRT_2_OVER_PI)
    return g * (0.5 * (1 + t)) + h + (h * ops.real(GELU_CUBIC)) * (3 * z**2)


def _gelu_erf_slope_jax(ops: Any, g: Any, z: Any) -> Any:
    s = ops.real(SQRT_HALF)
    x = -z * s
    density = (g * (0.5 * z)) * ops.exp(-(x**2))
    return 0.5 * (g * ops.erfc(x)) + ops.real(TWO_OVER_SQRT_PI) * density * s


def _softplus_of_tensorflow(ops: Any, z: Any) -> Any:
    e, threshold = ops.exp(z), ops.log(ops.epsilon()) + 2
    return ops.select(z + threshold, z, ops.select(threshold - z, e, ops.log1p(e)))


def _elu(ops: Any, z: Any) -> Any:
    return ops.select(z, z, ops.expm1(z))


def softmax(ops: Any, z: Any) -> Any:
    return ops.normalised(ops.exp(z - ops.row_maximum(z)))


def softmax_without_shift(ops: Any, z: Any) -> Any:
    return ops.normalised(ops.exp(z))


def _softmax_slope(ops: Any, g: Any, z: Any) -> Any:
    s = softmax(ops, z)
    return (g - ops.row_sum(g * s)) * s


# Derivatives that keep their digits -----------------------------------------------------------------------------------
# Of f' and f'', in σ of ±z or e^−|z|, so that nothing cancels but at their own roots.


def _sigmoid_slope(ops: Any, z: Any) -> Any:
    return ops.sigmoid(z) * ops.sigmoid(-z)


def _sigmoid_curvature(ops: Any, z: Any) -> Any:
    return _sigmoid_slope(ops, z) * (ops.sigmoid(-z) - ops.sigmoid(z))


def _tanh_slope(ops: Any, z: Any) -> Any:
    """sech² = 4e/(1 + e)² with e = e^−2|z|."""
    e = ops.exp(-2 * ops.absolute(z))
    return 4 * (e / (1 + e) ** 2)


def _silu_slope(ops: Any, z: Any) -> Any:
    return ops.sigmoid(z) * (1 + z * ops.sigmoid(-z))


def _silu_curvature(ops: Any, z: Any) -> Any:
    return _sigmoid_slope(ops, z) * (2 + z * (ops.sigmoid(-z) - ops.sigmoid(z)))


def _density(ops: Any, z: Any) -> Any:
    return ops.real(ONE_OVER_SQRT_2PI) * ops.exp(-0.5 * z**2)


def _gelu_slope(ops: Any, z: Any) -> Any:
    return 0.5 * ops.erfc(-z * ops.real(SQRT_HALF)) + z * _density(ops, z)


def _gelu_tanh_factor(ops: Any, z: Any) -> Any:
    return ops.real(SQRT_2_OVER_PI) * (1 + 3 * ops.real(GELU_CUBIC) * z**2)


def _gelu_tanh_rule(ops: Any, z: Any) -> Any:
    """z·s with s = σ(2u): s + 2u'·z·σ'(2u)."""
    twice = 2 * _gelu_inner(ops, z)
    return ops.sigmoid(twice) + 2 * (z * _sigmoid_slope(ops, twice) * _gelu_tanh_factor(ops, z))


def _gelu_tanh_curvature(ops: Any, z: Any) -> Any:
    """2s' + z·s'', s' = 2u'·σ'(2u), s'' = 2u''·σ'(2u) + 4u'²·σ''(2u), u'' = √(2/π)·6cz."""
    twice, u1 = 2 * _gelu_inner(ops, z), _gelu_tanh_factor(ops, z)
    u2 = 6 * (ops.real(SQRT_2_OVER_PI) * ops.real(GELU_CUBIC)) * z
    bell = _sigmoid_slope(ops, twice)
    second = 2 * (u2 * bell) + 4 * (u1**2 * _sigmoid_curvature(ops, twice))
    return 4 * (u1 * bell) + z * second


def _mish_rule(ops: Any, z: Any) -> Any:
    """t + z·t', t = tanh(softplus z): with w = e^z, D = w² + 2w + 2: t = w(w+2)/D, t' = 4w(w+1)/D²."""
    e = ops.exp(-ops.absolute(z))
    above, below = 1 + 2 * e * (1 + e), 2 + e * (e + 2)
    t = ops.select(z, (1 + 2 * e) / above, e * (e + 2) / below)
    t1 = ops.select(z, 4 * (e**2 * (1 + e)) / above**2, 4 * (e * (1 + e)) / below**2)
    return t + z * t1


def _mish_curvature(ops: Any, z: Any) -> Any:
    """2t' + z·t'', t'' = 4w(2 + 2w − 3w² − 2w³)/D³."""
    e = ops.exp(-ops.absolute(z))
    above, below = 1 + 2 * e * (1 + e), 2 + e * (e + 2)
    t1 = ops.select(z, 4 * (e**2 * (1 + e)) / above**2, 4 * (e * (1 + e)) / below**2)
    bent_above = 4 * (e**2 * (2 * e**2 + 2 * (e**2 * e) - 2 - 3 * e)) / (above**2 * above)
    bent_below = 4 * (e * (2 + 2 * e - 3 * e**2 - 2 * (e**2 * e))) / (below**2 * below)
    return 2 * t1 + z * ops.select(z, bent_above, bent_below)


def _mish_slope_rational(ops: Any, g: Any, z: Any) -> Any:
    w = ops.exp(z)
    n = w * (w + 2)
    return g * (n / (n + 2) + z * (4 * (w * (w + 1))) / (n + 2) ** 2)


def _quotient_slope(ops: Any, g: Any, a: Any) -> Any:
    s = 1 / ops.row_maximum(a)
    e = ops.unrounded(a) * s
    return e * (g / s - ops.row_sum(g * (1 / s**2) * e))


def _softmax_slope_jax(ops: Any, g: Any, a: Any) -> Any:
    """The quotient e/s differentiated as written: e(g/s − Σ(g·s⁻²)e), its operands recovered from a = e/s.

    The largest e is e^0 = 1, so s is 1/max a to within the rounding of that quotient; and e is a·s for the a before it
    was rounded, which may be 0 where e is none. XLA computes float16 in float32 and converts each result, and graphics
    processors have float16's subnormal numbers: g·s⁻², which is one for thirty classes, is not flushed.
    """
    return ops.gradual(_quotient_slope, g, a)


def _selu_alpha(ops: Any) -> Any:
    """PyTorch passes αλ as one constant of elu, JAX multiplies twice: two constants and their product cover both."""
    return ops.real(SELU_SCALE) * ops.real(SELU_ALPHA)


# The activations ------------------------------------------------------------------------------------------------------

_ALL = (
    Activation("identity", (_value("z", lambda ops, z: z),), (_slope("g", "g", lambda ops, g: g),)),
    Activation(
        "sigmoid",
        (
            _value("1/(1+e^-z)", lambda ops, z: ops.sigmoid(z)),
            _value(
                "e^z/(1+e^z)",
                lambda ops, z: ops.exp(z) / (1 + ops.exp(z)),
                "Eigen, Eigen/src/Core/functors/UnaryFunctors.h, scalar_logistic_op_impl::packetOp",
            ),
            _value(
                "½(1+tanh(z/2))",
                lambda ops, z: 0.5 * (1 + ops.tanh(0.5 * z)),
                "identity of textbooks; cancels where z is negative",
                instead="1/(1+e^-z)",
            ),
        ),
        (
            _slope("g(a(1-a))", "g a", lambda ops, g, a: g * (a * (1 - a)), "JAX jax/_src/lax/lax.py, logistic_p"),
            _slope(
                "(g(1-a))a",
                "g a",
                lambda ops, g, a: g * (1 - a) * a,
                "PyTorch aten/src/ATen/native/cpu/BinaryOpsKernel.cpp, sigmoid_backward_kernel",
            ),
            _slope(
                "g·r²·e^-z, r=1/(1+e^-z)",
                "g z",
                lambda ops, g, z: g * (1 / (1 + ops.exp(-z))) ** 2 * ops.exp(-z),
                "the document's 1/(1+e^-z) differentiated as written: PyTorch tools/autograd/derivatives.yaml, "
                "reciprocal: grad * -((result * result).conj())",
            ),
            _slope(
                "g·(1+e^-z)⁻²·e^-z",
                "g z",
                lambda ops, g, z: g * (1 / (1 + ops.exp(-z)) ** 2) * ops.exp(-z),
                "the document's 1/(1+e^-z) differentiated as written: JAX jax/_src/lax/lax.py, div_p",
            ),
            _slope(
                "g·e^z/(1+e^z)²",
                "g z",
                lambda ops, g, z: g * (ops.exp(z) / (1 + ops.exp(z)) ** 2),
                "σ'(z) in terms of e^z; overflows where z is large",
            ),
            _slope(
                "¼g(1-tanh²(z/2))",
                "g z",
                lambda ops, g, z: 0.5 * (0.5 * g * (1 - ops.tanh(0.5 * z) ** 2)),
                "½(1+tanh(z/2)) differentiated as written",
                instead="g·σ(z)σ(-z)",
            ),
        ),
        rule=Slope(_sigmoid_slope, _sigmoid_curvature, 0.125, ("exp",)),
    ),
    Activation(
        "tanh",
        (
            _value("tanh", lambda ops, z: ops.tanh(z)),
            _value(
                "2σ(2z)-1",
                lambda ops, z: 2 * ops.sigmoid(2 * z) - 1,
                "identity of textbooks; cancels near 0",
                instead="tanh",
            ),
        ),
        (
            _slope(
                "g(1-a²)",
                "g a",
                lambda ops, g, a: g * (1 - a**2),
                "PyTorch aten/src/ATen/native/cpu/BinaryOpsKernel.cpp, tanh_backward_kernel",
            ),
            _slope(
                "g(1-a)+g(1-a)a",
                "g a",
                lambda ops, g, a: _tanh_slope_jax(g, a),
                "JAX jax/_src/lax/lax.py, tanh_p: mul(add(g, mul(g, ans)), sub(_one(x), ans)), transposed",
            ),
            _slope(
                "4gσ(2z)(1-σ(2z))",
                "g z",
                lambda ops, g, z: 2 * (2 * g * ops.sigmoid(2 * z) * (1 - ops.sigmoid(2 * z))),
                "2σ(2z)-1 differentiated as written",
                instead="g·sech²z",
            ),
        ),
        rule=Slope(_tanh_slope, lambda ops, z: -2 * (ops.tanh(z) * _tanh_slope(ops, z)), 2.0, ("tanh", "exp")),
    ),
    Activation(
        "relu",
        (_value("max(z,0)", lambda ops, z: ops.positive_part(z)),),
        (_slope("z>0", "g z", lambda ops, g, z: g * ops.step(z, 1, 0)),),
        kinks="z = 0: slopes [0, 1]; PyTorch 0 (threshold_backward), JAX 0 (relu.defjvps: select(x > 0, g, 0))",
    ),
    Activation(
        "leaky_relu",
        (_value("z or cz", lambda ops, z: ops.select(z, z, ops.real(LEAKY_SLOPE) * z)),),
        (_slope("g or cg", "g z", lambda ops, g, z: g * ops.step(z, 1, ops.real(LEAKY_SLOPE))),),
        kinks="z = 0: slopes [0.01, 1]; PyTorch 0.01 (leaky_relu_backward: a > 0 ? b : b·c), JAX 1 (where(x >= 0, …))",
    ),
    Activation(
        "elu",
        (_value("z or expm1", _elu),),
        (
            _slope(
                "e^z",
                "g z",
                lambda ops, g, z: ops.select(z, g, g * ops.exp(z)),
                f"{TORCH_ACTIVATIONS}, elu_backward_kernel",
            ),
            _slope(
                "expm1(z)+1",
                "g z",
                lambda ops, g, z: ops.select(z, g, g * (ops.expm1(z) + 1)),
                f"{JAX_FUNCTIONS}, elu; expm1_p: mul(g, add(ans, _one(ans)))",
            ),
        ),
        rule=Slope(
            lambda ops, z: ops.select(z, 1, ops.exp(z)), lambda ops, z: ops.select(z, 0, ops.exp(z)), 1.0, ("exp",)
        ),
    ),
    Activation(
        "selu",
        (
            _value(
                "λz or λα·expm1",
                lambda ops, z: ops.select(z, ops.real(SELU_SCALE) * z, _selu_alpha(ops) * ops.expm1(z)),
            ),
        ),
        (
            _slope(
                "λα·e^z",
                "g z",
                lambda ops, g, z: ops.step(z, g * ops.real(SELU_SCALE), g * _selu_alpha(ops) * ops.exp(z)),
                f"{TORCH_ACTIVATIONS}, elu_backward_kernel with negcoef = αλ",
            ),
            _slope(
                "λα(expm1(z)+1)",
                "g z",
                lambda ops, g, z: ops.step(z, g * ops.real(SELU_SCALE), g * _selu_alpha(ops) * (ops.expm1(z) + 1)),
                f"{JAX_FUNCTIONS}, selu; expm1_p: mul(g, add(ans, _one(ans)))",
            ),
        ),
        rule=Slope(
            lambda ops, z: ops.step(z, ops.real(SELU_SCALE), _selu_alpha(ops) * ops.exp(z)),
            lambda ops, z: ops.select(z, 0, _selu_alpha(ops) * ops.exp(z)),
            1.76,
            ("exp",),
        ),
        kinks="z = 0: slopes [λ, λα] = [1.05, 1.76]; PyTorch λα (x <= 0), JAX λα (where(x > 0, …))",
    ),
    Activation(
        "softplus",
        (
            _value("max(z,0)+log1p(e^-|z|)", softplus, "JAX jax/_src/lax/other.py, logaddexp"),
            _value("log1p(e^z)", lambda ops, z: ops.log1p(ops.exp(z))),
            _value(
                "log1p(e^z), z above 20",
                lambda ops, z: ops.select(z - 20, z, ops.log1p(ops.exp(z))),
                "torch.nn.Softplus: reverts to the linear function when input × β > threshold = 20; softplus_kernel",
                approximates="torch.nn.Softplus: the identity above 20",
            ),
            _value(
                "e^z | log1p(e^z) | z by threshold",
                _softplus_of_tensorflow,
                "TensorFlow tensorflow/core/kernels/softplus_op.h: threshold = log(epsilon) + 2",
                approximates="TensorFlow: e^z below log(ε) + 2, the identity above its negative",
            ),
            _value(
                "log(1+e^z)",
                lambda ops, z: ops.log(1 + ops.exp(z)),
                "definition, as textbooks program it; rounds e^z away where z is negative",
                instead="log1p(e^z)",
            ),
        ),
        (
            _slope("gσ(z)", "g z", lambda ops, g, z: g * ops.sigmoid(z)),
            _slope(
                "g·e^z/(e^z+1), g above 20",
                "g z",
                lambda ops, g, z: ops.select(z - 20, g, g * ops.exp(z) / (ops.exp(z) + 1)),
                f"{TORCH_ACTIVATIONS}, softplus_backward_kernel: (x * beta) > threshold ? a : a * z / (z + 1)",
                approximates="torch.nn.Softplus: the identity above 20",
            ),
            _slope("g·e^(z-softplus)", "g z", _softplus_slope_jax, "JAX jax/_src/lax/other.py, _logaddexp_jvp"),
            _slope(
                "g/(1+e^z)·e^z",
                "g z",
                lambda ops, g, z: g / (1 + ops.exp(z)) * ops.exp(z),
                "log(1+e^z) differentiated as written",
            ),
        ),
        rule=Slope(lambda ops, z: ops.sigmoid(z), _sigmoid_slope, 0.0963, ("exp",)),
    ),
    Activation(
        "silu",
        (
            _value("zσ(z)", lambda ops, z: z * ops.sigmoid(z), f"{JAX_FUNCTIONS}, silu"),
            _value("z/(1+e^-z)", lambda ops, z: z / (1 + ops.exp(-z)), f"{TORCH_ACTIVATIONS}, silu_kernel"),
        ),
        (
            _slope(
                "gσ(1+z(1-σ))",
                "g z",
                lambda ops, g, z: g * ops.sigmoid(z) * (1 + z * (1 - ops.sigmoid(z))),
                f"{TORCH_ACTIVATIONS}, silu_backward_kernel",
            ),
            _slope(
                "gσ+gz·σ(1-σ)",
                "g z",
                lambda ops, g, z: g * ops.sigmoid(z) + (g * z) * (ops.sigmoid(z) * (1 - ops.sigmoid(z))),
                f"{JAX_FUNCTIONS}, silu: x_arr * sigmoid(x_arr), the product rule",
            ),
        ),
        rule=Slope(_silu_slope, _silu_curvature, 0.3082, ("exp",)),
    ),
    Activation(
        "gelu",
        (
            _value("½z(1+erf)", lambda ops, z: z * _normal_cdf(ops, z), f"{TORCH_ACTIVATIONS}, GeluKernelImpl"),
            _value("½z·erfc", lambda ops, z: 0.5 * z * ops.erfc(-z * ops.real(SQRT_HALF)), f"{JAX_FUNCTIONS}, gelu"),
        ),
        (
            _slope(
                "g(Φ+zφ)",
                "g z",
                lambda ops, g, z: g * (_normal_cdf(ops, z) + z * (ops.real(ONE_OVER_SQRT_2PI) * ops.exp(-0.5 * z**2))),
                f"{TORCH_ACTIVATIONS}, GeluBackwardKernelImpl",
            ),
            _slope(
                "½g·erfc+gzφ", "g z", _gelu_erf_slope_jax, f"{JAX_FUNCTIONS}, gelu; jax/_src/lax/special.py, erfc_p"
            ),
        ),
        value=lambda ops, z: 0.5 * z * ops.erfc(-z * ops.real(SQRT_HALF)),
        rule=Slope(_gelu_slope, lambda ops, z: _density(ops, z) * (2 - z**2), 0.7788, ("exp", "erf", "erfc")),
    ),
    Activation(
        "gelu_tanh",
        (
            _value(
                "½z(1+tanh)",
                lambda ops, z: z * (0.5 * (1 + ops.tanh(_gelu_inner(ops, z)))),
                f"Hendrycks and Gimpel, arXiv:1606.08415; {JAX_FUNCTIONS}, gelu",
            ),
        ),
        (
            _slope("g(½(1+t)+½z(1-t²)u')", "g z", _gelu_tanh_slope, f"{TORCH_ACTIVATIONS}, GeluBackwardKernelImpl"),
            _slope("g·½(1+t)+h+h·3cz²", "g z", _gelu_tanh_slope_jax, f"{JAX_FUNCTIONS}, gelu, the product rule"),
        ),
        value=lambda ops, z: z * ops.sigmoid(2 * _gelu_inner(ops, z)),
        rule=Slope(_gelu_tanh_rule, _gelu_tanh_curvature, 0.7767, ("exp", "tanh")),
    ),
    Activation(
        "mish",
        (
            _value("z·tanh(softplus)", lambda ops, z: z * ops.tanh(softplus(ops, z)), f"{JAX_FUNCTIONS}, mish"),
            _value(
                "z·tanh(log1p(e^z))",
                lambda ops, z: z * ops.tanh(ops.log1p(ops.exp(z))),
                f"{TORCH_ACTIVATIONS}, mish_kernel",
            ),
            _value(
                "z·n/(n+2), n=e^z(e^z+2)",
                lambda ops, z: z * (ops.exp(z) * (ops.exp(z) + 2)) / (ops.exp(z) * (ops.exp(z) + 2) + 2),
                "tanh(log(1+w)) = (w²+2w)/(w²+2w+2), w = e^z; overflows where z is large",
            ),
        ),
        (
            _slope(
                "g(t+zσ(1-t²))",
                "g z",
                lambda ops, g, z: (
                    g
                    * (
                        ops.tanh(ops.log1p(ops.exp(z)))
                        + z * ops.sigmoid(z) * (1 - ops.tanh(ops.log1p(ops.exp(z))) ** 2)
                    )
                ),
                f"{TORCH_ACTIVATIONS}, mish_backward_kernel",
            ),
            _slope(
                "gt+(gz)(1-t)(1+t)·e^(z-softplus)",
                "g z",
                lambda ops, g, z: (
                    g * ops.tanh(softplus(ops, z))
                    + _softplus_slope_jax(ops, _tanh_slope_jax(g * z, ops.tanh(softplus(ops, z))), z)
                ),
                f"{JAX_FUNCTIONS}, mish, the product rule",
            ),
            _slope(
                "g(n/(n+2)+z·2n'/(n+2)²), n=e^z(e^z+2)",
                "g z",
                _mish_slope_rational,
                "z·n/(n+2) differentiated as written; (n+2)² overflows from e^z = 15 on in float16",
            ),
        ),
        rule=Slope(_mish_rule, _mish_curvature, 0.5885, ("exp", "tanh", "log1p")),
    ),
    Activation(
        "hard_tanh",
        (_value("clip", lambda ops, z: ops.select(z - 1, 1, ops.select(-1 - z, -1, z))),),
        (_slope("|z|<1", "g z", lambda ops, g, z: g * ops.step(z - 1, 0, ops.step(z + 1, 1, 0))),),
        kinks="z = ±1: slopes [0, 1]; PyTorch 0 (hardtanh_backward: a <= min || a >= max), JAX 1 (where(x > 1, …))",
    ),
    Activation(
        "softmax",
        (
            _value("e^(z-max)/Σ", softmax),
            _value(
                "e^z/Σe^z",
                softmax_without_shift,
                "definition, as textbooks program it; overflows where a logit is large",
                instead="the shift by the largest logit",
            ),
        ),
        (
            _slope(
                "(g-Σga)a",
                "g a",
                lambda ops, g, a: (g - ops.row_sum(g * a)) * a,
                "PyTorch aten/src/ATen/native/cpu/SoftMaxKernel.cpp, vec_host_softmax_backward_lastdim",
            ),
            _slope(
                "ga-aΣga",
                "g a",
                lambda ops, g, a: g * a - a * ops.row_sum(g * a),
                f"{JAX_FUNCTIONS}, _softmax_jvp: y * (x_dot - (y * x_dot).sum(axis)), transposed",
            ),
            _slope(
                "e(g/s-Σgs⁻²e)",
                "g a",
                _softmax_slope_jax,
                f"{JAX_FUNCTIONS}, _softmax_deprecated (jax_softmax_custom_jvp off, the default), differentiated as "
                "written; jax/_src/lax/lax.py, div_p",
            ),
        ),
        rowwise=True,
    ),
)

#: The activations by the name that a layer gives.
ACTIVATIONS: Mapping[str, Activation] = MappingProxyType({a.name: a for a in _ALL})
