"""Softmaxes and normalisations."""

from __future__ import annotations

from typing import Any

from gradconform.reference.derivations.operators.operator import Operand, Operator

EPS = 2.0**-16
_ROWS = Operand("x", shape=(3, 4))
_GAIN, _BIAS = Operand("g", shape=(4,)), Operand("b", shape=(4,))
_CHANNELS = Operand("x", shape=(2, 4, 3))
_EQUAL = {"equal": ([[1.5, 1.5, 1.5, 1.5]] * 3, [1.0, 2.0, 0.5, -1.0], [0.0, 1.0, 0.0, 0.5])}


def _softmax(o: Any, x: Any, axis: int = -1) -> Any:
    e = o.exp(x)
    return e / e.sum(axis, keep=True)


def log_softmax(o: Any, x: Any) -> Any:
    """x − log Σe^x along the last axis."""
    return x - o.log(o.exp(x).sum(-1, keep=True))


def standardised(o: Any, x: Any, axes: Any, eps: float = EPS) -> Any:
    """(x − x̄)/√(var + ε)."""
    centred = x - x.mean(axes, keep=True)
    return centred / o.sqrt(o.square(centred).mean(axes, keep=True) + eps)


def _per_channel(x: Any) -> Any:
    return x.reshape(x.shape[0], 1)


def _group_norm(o: Any, x: Any, g: Any, b: Any, groups: int) -> Any:
    n, c, length = x.shape
    normal = standardised(o, x.reshape(n, groups, c // groups * length), -1).reshape(n, c, length)
    return normal * _per_channel(g) + _per_channel(b)


def _rms(o: Any, x: Any, g: Any) -> Any:
    return x / o.sqrt(o.square(x).mean(-1, keep=True) + EPS) * g


def _normalised(o: Any, x: Any) -> Any:
    return x / o.sqrt(o.square(x).sum(-1, keep=True))


def _lrn(o: Any, x: Any, size: int, alpha: float, beta: float, k: float) -> Any:
    channels = x.shape[1]
    near = [
        o.square(x[:, max(c - size // 2, 0) : c + (size - 1) // 2 + 1]).sum(1) / float(size) for c in range(channels)
    ]
    return x / o.power(k + alpha * o.stack(near, 1), beta)


def _weight_norm(o: Any, v: Any, g: Any) -> Any:
    return v * (g / o.sqrt(o.square(v).sum(-1, keep=True)))


def _cosine(o: Any, x: Any, y: Any) -> Any:
    return o.dot(x, y) / o.sqrt(o.square(x).sum(-1) * o.square(y).sum(-1))


OPERATORS = (
    Operator("softmax", "softmax", _softmax, "e^x/Σe^x", (_ROWS,),
             edges={"equal": ([[1.0, 1.0, 1.0, 1.0]],), "large": ([[50.0, -50.0, 49.0, 0.0]],)}),
    Operator("softmax_first", "softmax", lambda o, x: _softmax(o, x, 0), "e^x/Σe^x along the first axis", (_ROWS,)),
    Operator("log_softmax", "softmax", log_softmax, "x − log Σe^x", (_ROWS,),
             edges={"equal": ([[1.0, 1.0, 1.0, 1.0]],), "large": ([[50.0, -50.0, 49.0, 0.0]],)}),
    Operator("softmin", "softmax", lambda o, x: _softmax(o, -x), "e^−x/Σe^−x", (_ROWS,)),
    Operator("softmax_tempered", "softmax", lambda o, x, t: _softmax(o, x / t), "softmax(x/t)", (_ROWS,),
             ({"t": 0.5},)),
    Operator("masked_softmax", "softmax",
             lambda o, x, m: o.where(m, o.exp(x), 0.0) / o.where(m, o.exp(x), 0.0).sum(-1, keep=True),
             "softmax over what the mask keeps", (Operand("x", shape=(2, 4)), Operand("m", shape=(2, 4), kind="mask")),
             edges={"one kept": ([[1.0, 2.0, 3.0, 4.0]], [[True, False, False, False]])}),
    Operator("layer_norm", "normalisation", lambda o, x, g, b: standardised(o, x, -1) * g + b,
             "(x − x̄)/√(var + ε)·g + b, Ba et al. 2016", (_ROWS, _GAIN, _BIAS), edges=_EQUAL),
    Operator("rms_norm", "normalisation", _rms, "x/√(mean x² + ε)·g, Zhang and Sennrich 2019", (_ROWS, _GAIN),
             edges={"zero": ([[0.0, 0.0, 0.0, 0.0]], [1.0, 2.0, 0.5, -1.0])}),
    Operator("batch_norm", "normalisation",
             lambda o, x, g, b: standardised(o, x, (0, 2)) * _per_channel(g) + _per_channel(b),
             "by the batch's own mean and variance, Ioffe and Szegedy 2015", (_CHANNELS, _GAIN, _BIAS)),
    Operator("batch_norm_in_use", "normalisation",
             lambda o, x, g, b: (x - 0.5) / o.sqrt(1.5 + EPS) * _per_channel(g) + _per_channel(b),
             "by a mean and a variance that are given", (_CHANNELS, _GAIN, _BIAS)),
    Operator("group_norm", "normalisation", _group_norm, "by groups of channels, Wu and He 2018",
             (_CHANNELS, _GAIN, _BIAS), ({"groups": 2},)),
    Operator("instance_norm", "normalisation", lambda o, x: standardised(o, x, -1), "each channel of each row",
             (_CHANNELS,)),
    Operator("local_response_norm", "normalisation", _lrn, "x/(k + α·mean x²)^β, Krizhevsky et al. 2012",
             (_CHANNELS,), ({"size": 3, "alpha": 0.5, "beta": 0.75, "k": 1.0},)),
    Operator("normalize", "normalisation", _normalised, "x/√Σx²", (_ROWS,)),
    Operator("weight_norm", "normalisation", _weight_norm, "g·v/√Σv², Salimans and Kingma 2016",
             (_ROWS, Operand("g", shape=(3, 1)))),
    Operator("cosine_similarity", "normalisation", _cosine, "Σxy/(√Σx²·√Σy²)", (_ROWS, Operand("y", shape=(3, 4)))),
    Operator("standardize", "normalisation", lambda o, x: standardised(o, x, -1, 0.0), "(x − x̄)/√var", (_ROWS,)),
)  # fmt: skip
