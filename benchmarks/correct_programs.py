"""Correct programs that are not ours: what somebody writes, each right mathematics, in another way."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import ml_dtypes
import numpy as np
from correct_pass import (
    SELU_SCALE,
    Arithmetic,
    Array,
    Functions,
    Order,
    Program,
    backwards,
    by_size,
    compensated,
    in_lanes,
    pairwise,
    selu_factor,
    shuffled,
    softmax,
    wide_sum,
)
from scipy import special

# The programs ---------------------------------------------------------------------------------------------------------


def _sech_squared(f: Functions, z: Array) -> Array:
    e = f.exp(-2 * abs(z))
    return 4 * e / ((1 + e) * (1 + e))


def _two_branches(f: Functions, z: Array) -> Array:
    e = f.exp(-abs(z))
    return np.where(z < 0, e / (1 + e), 1 / (1 + e))


def _softplus_of_tensorflow(f: Functions, z: Array) -> Array:
    """tensorflow/core/kernels/softplus_op.h: threshold = log(ε) + 2."""
    threshold = f.number(math.log(float(ml_dtypes.finfo(f.type).eps)) + 2)
    return np.where(z > -threshold, z, np.where(z < threshold, f.exp(z), f.log1p(f.exp(z))))


def _softplus_branches(f: Functions, z: Array) -> Array:
    return np.where(z > 0, z + f.log1p(f.exp(-abs(z))), f.log1p(f.exp(-abs(z))))


def _probability_loss(f: Functions, z: Array, t: Array, count: int) -> Array:
    a = f.sigmoid(z)
    return f.mean(f.total(-t * f.log(a) - (1 - t) * f.log(1 - a)), count)


def _probability_slope(f: Functions, z: Array, t: Array, count: int) -> Array:
    """((1 − t)/(1 − a) − t/a)·a(1 − a), the chain rule through the probability."""
    a = f.sigmoid(z)
    return f.mean(((1 - t) / (1 - a) - t / a) * (a * (1 - a)), count)


def _softmax_unshifted(f: Functions, z: Array) -> Array:
    return f.exp(z) / f.row_sum(f.exp(z))


def _log_sum_exp(f: Functions, a: Array, t: Array, count: int) -> Array:
    """Σ over rows of log Σe^z − Σ t·z, for targets that add up to one."""
    top = a.max(axis=1, keepdims=True)
    shifted = a - top
    return f.mean(f.total(f.log(f.row_sum(f.exp(shifted))) - f.row_sum(t * shifted)), count)


def _mish_rational(f: Functions, z: Array) -> Array:
    """tanh(log(1 + e^z)) = n/(n + 2) with n = e^z(e^z + 2)."""
    n = f.exp(z) * (f.exp(z) + 2)
    return z * n / (n + 2)


def _mish_rational_backward(f: Functions, g: Array, z: Array, a: Array) -> Array:
    """n/(n + 2) + z·2n'/(n + 2)² with n' = 2e^z(e^z + 1)."""
    e = f.exp(z)
    n = e * (e + 2)
    return g * (n / (n + 2) + z * (4 * e * (e + 1)) / ((n + 2) * (n + 2)))


def _gelu_of_cdf(f: Functions, z: Array) -> Array:
    return z * f.of_scipy(special.ndtr, z)


def _gelu_backward_of_cdf(f: Functions, g: Array, z: Array, a: Array) -> Array:
    return g * (f.of_scipy(special.ndtr, z) + z * f.density(z))


def _gelu_erfc_backward(f: Functions, g: Array, z: Array, a: Array) -> Array:
    return g * (f.number(0.5) * f.erfc(-z * f.number(math.sqrt(0.5))) + z * f.density(z))


def _huber_parts(f: Functions, a: Array, t: Array, count: int) -> Array:
    """½q² + (|d| − q) with q = min(|d|, 1)."""
    d = abs(a - t)
    q = np.minimum(d, f.number(1.0))
    return f.mean(f.total(f.number(0.5) * q * q + (d - q)), count)


HALF = 0.5
_ORDERS: tuple[tuple[str, Order], ...] = (
    ("sums backwards", backwards), ("sums pairwise", pairwise), ("sums in a random order", shuffled),
    ("sums in four lanes", in_lanes), ("Kahan's sums", compensated), ("sums in longdouble, rounded once", wide_sum),
    ("sums from the smallest term", by_size),
)  # fmt: skip


def _programs() -> Sequence[Program]:
    return (
        Program("sums in order"),
        *(Program(name, Arithmetic(order)) for name, order in _ORDERS),
        Program("fused multiply-add", Arithmetic(fused=True)),
        Program("each equation in a wider type", Arithmetic(inside="step")),
        Program("each equation in a wider type, sums pairwise", Arithmetic(pairwise, "step")),
        Program("all in a wider type, rounded as reported", Arithmetic(inside="whole")),
        Program("bias first", bias="first"),
        Program("bias first, fused multiply-add", Arithmetic(fused=True), bias="first"),
        Program("1/m in ∂E/∂W", mean="weights"),
        # σ
        Program("σ' = σ(z)σ(−z)", backwards={"sigmoid": lambda f, g, z, a: g * (f.sigmoid(z) * f.sigmoid(-z))}),
        Program("σ' = (gσ(z))σ(−z)", backwards={"sigmoid": lambda f, g, z, a: g * f.sigmoid(z) * f.sigmoid(-z)}),
        Program("σ' = e^z/(1+e^z)²", backwards={"sigmoid": lambda f, g, z, a: g * f.exp(z) / (1 + f.exp(z)) ** 2}),
        Program(
            "σ' = e^-|z|/(1+e^-|z|)²",
            backwards={"sigmoid": lambda f, g, z, a: g * (f.exp(-abs(z)) / (1 + f.exp(-abs(z))) ** 2)},
        ),
        Program(
            "σ' = 1/(4cosh²(z/2))",
            backwards={"sigmoid": lambda f, g, z, a: g / (4 * f.cosh(f.number(HALF) * z) ** 2)},
        ),
        Program("σ' recomputed", backwards={"sigmoid": lambda f, g, z, a: g * (f.sigmoid(z) * (1 - f.sigmoid(z)))}),
        Program("σ by two branches", values={"sigmoid": _two_branches}),
        Program("σ = e^z/(e^z+1)", values={"sigmoid": lambda f, z: f.exp(z) / (f.exp(z) + 1)}),
        Program(
            "σ = ½(1+tanh(z/2))",
            values={"sigmoid": lambda f, z: f.number(HALF) * (1 + f.tanh(f.number(HALF) * z))},
        ),
        # tanh
        Program("tanh' = g/cosh²z", backwards={"tanh": lambda f, g, z, a: g / f.cosh(z) ** 2}),
        Program("tanh' = 4e^-2|z|/(1+e^-2|z|)²", backwards={"tanh": lambda f, g, z, a: g * _sech_squared(f, z)}),
        Program("tanh' = (1−a)(1+a)", backwards={"tanh": lambda f, g, z, a: g * ((1 - a) * (1 + a))}),
        Program("tanh' recomputed", backwards={"tanh": lambda f, g, z, a: g * (1 - f.tanh(z) ** 2)}),
        Program("tanh = 2σ(2z)−1", values={"tanh": lambda f, z: 2 * f.sigmoid(2 * z) - 1}),
        # the others
        Program("relu = z·[z>0]", values={"relu": lambda f, z: z * (z > 0).astype(z.dtype)}),
        Program("leaky relu = max(z, cz)", values={"leaky_relu": lambda f, z: np.maximum(z, f.number(0.01) * z)}),
        Program(
            "elu', selu' from a",
            backwards={
                "elu": lambda f, g, z, a: np.where(z > 0, g, g * (a + 1)),
                "selu": lambda f, g, z, a: np.where(z > 0, g * f.number(SELU_SCALE), g * (a + selu_factor(f))),
            },
        ),
        Program("softplus = log(1+e^z)", values={"softplus": lambda f, z: f.log(1 + f.exp(z))}),
        Program("TensorFlow's softplus", values={"softplus": _softplus_of_tensorflow}),
        Program("softplus by two branches", values={"softplus": _softplus_branches}),
        Program(
            "softplus' = 1−e^-a", backwards={"softplus": lambda f, g, z, a: g * -f.expm1(-a)}
        ),
        Program("softplus' by two branches", backwards={"softplus": lambda f, g, z, a: g * _two_branches(f, z)}),
        Program("silu = z/(1+e^-z)", values={"silu": lambda f, z: z / (1 + f.exp(-z))}),
        Program(
            "silu' = σ+a(1−σ)",
            backwards={"silu": lambda f, g, z, a: g * (f.sigmoid(z) + a * (1 - f.sigmoid(z)))},
        ),
        Program(
            "silu' = σ+zσ(z)σ(−z)",
            backwards={"silu": lambda f, g, z, a: g * (f.sigmoid(z) + z * (f.sigmoid(z) * f.sigmoid(-z)))},
        ),
        Program("gelu of SciPy's normal distribution", values={"gelu": _gelu_of_cdf},
                backwards={"gelu": _gelu_backward_of_cdf}),
        Program(
            "gelu by erfc",
            values={"gelu": lambda f, z: f.number(HALF) * z * f.erfc(-z * f.number(math.sqrt(0.5)))},
            backwards={"gelu": _gelu_erfc_backward},
        ),
        Program("mish = z·n/(n+2)", values={"mish": _mish_rational}, backwards={"mish": _mish_rational_backward}),
        Program(
            "hard tanh by two comparisons",
            values={"hard_tanh": lambda f, z: np.where(z > 1, f.number(1.0), np.where(z < -1, f.number(-1.0), z))},
        ),
        Program(
            "softmax without the shift",
            values={"softmax": _softmax_unshifted},
            losses={"softmax_cross_entropy": lambda f, a, t, n: f.mean(
                f.total(-(t * f.log(_softmax_unshifted(f, a)))), n)},
            slopes={"softmax_cross_entropy": lambda f, a, t, n: f.mean(_softmax_unshifted(f, a) - t, n)},
        ),
        Program(
            "cross-entropy by log(softmax)",
            losses={"softmax_cross_entropy": lambda f, a, t, n: f.mean(f.total(-(t * f.log(softmax(f, a)))), n)},
        ),
        Program("cross-entropy by log Σe^z − Σtz", losses={"softmax_cross_entropy": _log_sum_exp}),
        Program(
            "−t·log a−(1−t)·log(1−a)",
            losses={"binary_cross_entropy_with_logits": _probability_loss},
            slopes={"binary_cross_entropy_with_logits": _probability_slope},
        ),
        Program("huber by its parts", losses={"huber": _huber_parts}),
        Program(
            "(a−t)+(a−t)", slopes={"squared_error": lambda f, a, t, n: f.mean((a - t) + (a - t), n)}
        ),
    )  # fmt: skip


PROGRAMS: tuple[Program, ...] = tuple(_programs())

#: Right mathematics that loses digits and that no list of textbook programs holds so far: reported, not required.
BEYOND: tuple[Program, ...] = (
    Program("σ' = a−a²", backwards={"sigmoid": lambda f, g, z, a: g * (a - a * a)}),
    Program("tanh' = g−ga²", backwards={"tanh": lambda f, g, z, a: g - g * a * a}),
    Program(
        "tanh = (e^z−e^-z)/(e^z+e^-z)",
        values={"tanh": lambda f, z: (f.exp(z) - f.exp(-z)) / (f.exp(z) + f.exp(-z))},
    ),
    Program("tanh = (e^2z−1)/(e^2z+1)", values={"tanh": lambda f, z: (f.exp(2 * z) - 1) / (f.exp(2 * z) + 1)}),
    Program(
        "hard tanh = ½(|z+1|−|z−1|)",
        values={"hard_tanh": lambda f, z: f.number(HALF) * (abs(z + 1) - abs(z - 1))},
    ),
    Program("σ' = ¼(1−tanh²(z/2))", backwards={
        "sigmoid": lambda f, g, z, a: g * (f.number(0.25) * (1 - f.tanh(f.number(HALF) * z) ** 2))}),
    Program("elu = e^z−1", values={"elu": lambda f, z: np.where(z > 0, z, f.exp(z) - 1)}),
)  # fmt: skip
