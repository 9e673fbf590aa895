"""Right values and wrong slopes of every activation and loss, by mpmath: no code of the reference's is in them.

Each formula is written so that no digits are lost at 60 digits, whatever the argument; beyond |z| = 10^6 an exponential
is 0 or a function its asymptote in every format.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import mpmath as mp

#: Digits that everything here is computed to.
DIGITS = 60
#: Arguments of exponentials are held within this; e^−10^6 is nothing in any format.
FAR = 10**6

Function = Callable[[Any], Any]
SELU_SCALE = mp.mpf("1.0507009873554804934193349852946")
SELU_ALPHA = mp.mpf("1.6732632423543772848170429916717")


def near(z: Any) -> Any:
    return max(min(z, mp.mpf(FAR)), -mp.mpf(FAR))


def sigmoid(z: Any) -> Any:
    e = mp.exp(-abs(near(z)))
    return 1 / (1 + e) if z >= 0 else e / (1 + e)


def sech2(z: Any) -> Any:
    e = mp.exp(-2 * abs(near(z)))
    return 4 * e / (1 + e) ** 2


def softplus(z: Any) -> Any:
    return max(z, mp.mpf(0)) + mp.log1p(mp.exp(-abs(near(z))))


def cdf(z: Any) -> Any:
    return mp.erfc(-near(z) / mp.sqrt(2)) / 2


def density(z: Any) -> Any:
    return mp.exp(-(near(z) ** 2) / 2) / mp.sqrt(2 * mp.pi)


def cubic(z: Any, c: Any = "0.044715") -> Any:
    return mp.sqrt(2 / mp.pi) * (z + mp.mpf(c) * z**3)


def one_plus_tanh(z: Any) -> Any:
    return 2 * sigmoid(2 * z)


def gelu_tanh_slope(z: Any, c: Any = "0.044715") -> Any:
    u = cubic(z, c)
    return one_plus_tanh(u) / 2 + z / 2 * sech2(u) * mp.sqrt(2 / mp.pi) * (1 + 3 * mp.mpf(c) * z**2)


def mish_slope(z: Any) -> Any:
    s = softplus(z)
    return mp.tanh(near(s)) + z * sigmoid(z) * sech2(s)


VALUES: Mapping[str, Function] = MappingProxyType({
    "sigmoid": sigmoid,
    "tanh": lambda z: mp.sign(z) * mp.tanh(abs(near(z))),
    "relu": lambda z: max(z, mp.mpf(0)),
    "leaky_relu": lambda z: z if z > 0 else z / 100,
    "elu": lambda z: z if z > 0 else mp.expm1(near(z)),
    "selu": lambda z: SELU_SCALE * (z if z > 0 else SELU_ALPHA * mp.expm1(near(z))),
    "softplus": softplus,
    "silu": lambda z: z * sigmoid(z),
    "gelu": lambda z: z * cdf(z),
    "gelu_tanh": lambda z: z * one_plus_tanh(cubic(z)) / 2,
    "mish": lambda z: z * mp.tanh(near(softplus(z))),
    "hard_tanh": lambda z: max(min(z, mp.mpf(1)), mp.mpf(-1)),
})  # fmt: skip

SLOPES: Mapping[str, Function] = MappingProxyType({
    "sigmoid": lambda z: sigmoid(z) * sigmoid(-z),
    "tanh": sech2,
    "relu": lambda z: mp.mpf(z > 0),
    "leaky_relu": lambda z: mp.mpf(1) if z > 0 else mp.mpf(1) / 100,
    "elu": lambda z: mp.mpf(1) if z > 0 else mp.exp(near(z)),
    "selu": lambda z: SELU_SCALE if z > 0 else SELU_SCALE * SELU_ALPHA * mp.exp(near(z)),
    "softplus": sigmoid,
    "silu": lambda z: sigmoid(z) + z * sigmoid(z) * sigmoid(-z),
    "gelu": lambda z: cdf(z) + z * density(z),
    "gelu_tanh": gelu_tanh_slope,
    "mish": mish_slope,
    "hard_tanh": lambda z: mp.mpf(abs(z) < 1),
})  # fmt: skip


#: Activations whose derivative is the same at z and −z.
EVEN = ("sigmoid", "tanh", "hard_tanh")


def _off(name: str, percent: int) -> Function:
    return lambda z: SLOPES[name](z) * (100 + percent) / 100


#: Wrong slopes that are of one activation alone: a term or factor missing, a wrong side, a constant 5 % off.
_OWN: Mapping[str, Mapping[str, Function]] = MappingProxyType({
    "sigmoid": {
        "1−a": lambda z: sigmoid(-z),
        "a": sigmoid,
        "1−a²": lambda z: 1 - sigmoid(z) ** 2,
        "a²(1−a)": lambda z: sigmoid(z) ** 2 * sigmoid(-z),
    },
    "tanh": {
        "1−a": lambda z: one_plus_tanh(-z),
        "1+a²": lambda z: 1 + mp.tanh(near(z)) ** 2,
        "a(1−a)": lambda z: VALUES["tanh"](z) * one_plus_tanh(-z),
        "sech": lambda z: mp.sqrt(sech2(z)),
    },
    "relu": {"1 below": lambda z: mp.mpf(1), "the other side": lambda z: mp.mpf(z < 0)},
    "leaky_relu": {
        "0.0105 below": lambda z: mp.mpf(1) if z > 0 else mp.mpf("0.0105"),
        "the other side": lambda z: mp.mpf(1) if z < 0 else mp.mpf("0.01"),
        "0 below": lambda z: mp.mpf(z > 0),
    },
    "elu": {
        "expm1": lambda z: mp.mpf(1) if z > 0 else mp.expm1(near(z)),
        "1 below": lambda z: mp.mpf(1),
        "the other side": lambda z: mp.mpf(1) if z < 0 else mp.exp(-near(z)),
    },
    "selu": {
        "λ 5 % off": lambda z: SLOPES["selu"](z) * mp.mpf("1.05"),
        "α left out": lambda z: SELU_SCALE if z > 0 else SELU_SCALE * mp.exp(near(z)),
        "λ left out": lambda z: mp.mpf(1) if z > 0 else SELU_ALPHA * mp.exp(near(z)),
    },
    "softplus": {"σ(−z)": lambda z: sigmoid(-z), "σ(z)²": lambda z: sigmoid(z) ** 2, "σ'": SLOPES["sigmoid"]},
    "silu": {
        "σ": sigmoid,
        "zσ(1−σ)": lambda z: z * sigmoid(z) * sigmoid(-z),
        "σ+z(1−σ)": lambda z: sigmoid(z) + z * sigmoid(-z),
        "σ+σ(1−σ)": lambda z: sigmoid(z) + sigmoid(z) * sigmoid(-z),
        "σ−zσ(1−σ)": lambda z: sigmoid(z) - z * sigmoid(z) * sigmoid(-z),
    },
    "gelu": {
        "Φ": cdf,
        "Φ+φ": lambda z: cdf(z) + density(z),
        "Φ−zφ": lambda z: cdf(z) - z * density(z),
        "1/√2π 5 % off": lambda z: cdf(z) + z * density(z) * mp.mpf("1.05"),
        "e^−z²": lambda z: cdf(z) + z * mp.exp(-(near(z) ** 2)) / mp.sqrt(2 * mp.pi),
        "that of the tanh form": gelu_tanh_slope,
    },
    "gelu_tanh": {
        "0.044715 5 % off": lambda z: gelu_tanh_slope(z, "0.04695075"),
        "½(1+t)": lambda z: one_plus_tanh(cubic(z)) / 2,
        "u' without its 3": lambda z: one_plus_tanh(cubic(z)) / 2
        + z / 2 * sech2(cubic(z)) * mp.sqrt(2 / mp.pi) * (1 + mp.mpf("0.044715") * z**2),
        "that of the erf form": SLOPES["gelu"],
    },
    "mish": {
        "t": lambda z: mp.tanh(near(softplus(z))),
        "σ left out": lambda z: mp.tanh(near(softplus(z))) + z * sech2(softplus(z)),
        "z left out": lambda z: mp.tanh(near(softplus(z))) + sigmoid(z) * sech2(softplus(z)),
        "1−t for 1−t²": lambda z: mp.tanh(near(softplus(z))) + z * sigmoid(z) * one_plus_tanh(-softplus(z)),
    },
    "hard_tanh": {
        "1 everywhere": lambda z: mp.mpf(1),
        "z < 1": lambda z: mp.mpf(z < 1),
        "the other side": lambda z: mp.mpf(abs(z) > 1),
    },
})  # fmt: skip


def wrong_slopes(name: str) -> Mapping[str, Function]:
    """Every wrong slope of an activation, by what is wrong with it."""
    mirrored: dict[str, Function] = {"f'(−z)": lambda z: SLOPES[name](-z)}
    return {
        **_OWN[name],
        **({} if name in EVEN else mirrored),
        "sign": lambda z: -SLOPES[name](z),
        "f for f'": VALUES[name],
        "1": lambda z: mp.mpf(1),
        "5 % more": _off(name, 5),
        "5 % less": _off(name, -5),
    }


# Losses: of one output a and one target t; of cross-entropy the logits (a, −a) and the first class --------------------

LOSS_VALUES: Mapping[str, Callable[[Any, Any], Any]] = MappingProxyType({
    "half_squared_error": lambda a, t: (a - t) ** 2 / 2,
    "squared_error": lambda a, t: (a - t) ** 2,
    "l1": lambda a, t: abs(a - t),
    "huber": lambda a, t: (a - t) ** 2 / 2 if abs(a - t) < 1 else abs(a - t) - mp.mpf(1) / 2,
    "binary_cross_entropy_with_logits": lambda a, t: t * softplus(-a) + (1 - t) * softplus(a),
    "softmax_cross_entropy": lambda a, t: softplus(-2 * a),
})  # fmt: skip

LOSS_SLOPES: Mapping[str, Callable[[Any, Any], Any]] = MappingProxyType({
    "half_squared_error": lambda a, t: a - t,
    "squared_error": lambda a, t: 2 * (a - t),
    "l1": lambda a, t: mp.sign(a - t),
    "huber": lambda a, t: max(min(a - t, mp.mpf(1)), mp.mpf(-1)),
    "binary_cross_entropy_with_logits": lambda a, t: (1 - t) * sigmoid(a) - t * sigmoid(-a),
    "softmax_cross_entropy": lambda a, t: -sigmoid(-2 * a),
})  # fmt: skip


def wrong_loss_slopes(name: str) -> Mapping[str, Callable[[Any, Any], Any]]:
    """Wrong slopes of a loss: its sign, factor, other side or target."""
    right = LOSS_SLOPES[name]
    own: dict[str, dict[str, Callable[[Any, Any], Any]]] = {
        "squared_error": {"2 left out": lambda a, t: a - t},
        "half_squared_error": {"2 too many": lambda a, t: 2 * (a - t)},
        "l1": {"d for its sign": lambda a, t: a - t},
        "huber": {"not clipped": lambda a, t: a - t, "sign": lambda a, t: mp.sign(a - t)},
        "binary_cross_entropy_with_logits": {"σ": lambda a, t: sigmoid(a), "σ(−z)−t": lambda a, t: sigmoid(-a) - t},
        "softmax_cross_entropy": {"softmax": lambda a, t: sigmoid(2 * a)},
    }
    return {
        **own[name],
        "−": lambda a, t: -right(a, t),
        "a+t": lambda a, t: right(a, -t) if name != "softmax_cross_entropy" else right(-a, t),
        "5 % more": lambda a, t: right(a, t) * 105 / 100,
        "5 % less": lambda a, t: right(a, t) * 95 / 100,
    }
