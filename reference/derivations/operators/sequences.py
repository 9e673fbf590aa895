"""Attention and recurrent cells, by their authors' equations as the frameworks document them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gradconform.reference.derivations.operators.operator import Operand, Operator

_Q, _K, _V = (Operand(n, shape=(1, 2, 3, 4)) for n in "qkv")
_MASK = Operand("m", shape=(1, 2, 3, 3), kind="mask")
_HIDDEN = 3


def attention(o: Any, q: Any, k: Any, v: Any, allowed: Any = None, scale: float | None = None) -> Any:
    """softmax(q·kᵀ/√d)·v, Vaswani et al. 2017."""
    scores = q @ k.T * (scale if scale is not None else 1.0 / math.sqrt(q.shape[-1]))
    e = o.exp(scores)
    e = e if allowed is None else o.where(np.broadcast_to(allowed, e.shape), e, 0.0)
    return (e / e.sum(-1, keep=True)) @ v


def _gates(x: Any, h: Any, w: Any, u: Any, count: int) -> tuple[list[Any], list[Any]]:
    """The parts of W·x and of U·h that belong to each gate."""
    a, b = x @ w.T, h @ u.T
    parts = [slice(k * _HIDDEN, (k + 1) * _HIDDEN) for k in range(count)]
    return [a[..., p] for p in parts], [b[..., p] for p in parts]


def _rnn(o: Any, x: Any, h: Any, w: Any, u: Any) -> Any:
    return o.tanh(x @ w.T + h @ u.T)


def _rnn_relu(o: Any, x: Any, h: Any, w: Any, u: Any) -> Any:
    return o.relu(x @ w.T + h @ u.T)


def _lstm(o: Any, x: Any, h: Any, c: Any, w: Any, u: Any) -> Any:
    """Hochreiter and Schmidhuber 1997, with a forget gate; gates in the order i, f, g, o."""
    a, b = _gates(x, h, w, u, 4)
    i, f, g, out = (p + q for p, q in zip(a, b, strict=True))
    cell = o.sigmoid(f) * c + o.sigmoid(i) * o.tanh(g)
    return [o.sigmoid(out) * o.tanh(cell), cell]


def _gru(o: Any, x: Any, h: Any, w: Any, u: Any) -> Any:
    """Cho et al. 2014, the reset gate after the product; gates in the order r, z, n."""
    a, b = _gates(x, h, w, u, 3)
    r, z = o.sigmoid(a[0] + b[0]), o.sigmoid(a[1] + b[1])
    n = o.tanh(a[2] + r * b[2])
    return (1.0 - z) * n + z * h


def _scan(o: Any, x: Any, w: Any, u: Any) -> Any:
    """A recurrent layer over three steps, from zeros."""
    h = o.zeros((x.shape[1], _HIDDEN))
    found = []
    for t in range(x.shape[0]):
        h = _rnn(o, x[t], h, w, u)
        found.append(h)
    return o.stack(found)


def _operands(gates: int) -> tuple[Operand, ...]:
    return (
        Operand("x", shape=(2, 2)), Operand("h", shape=(2, _HIDDEN)), Operand("w", shape=(gates * _HIDDEN, 2)),
        Operand("u", shape=(gates * _HIDDEN, _HIDDEN)),
    )  # fmt: skip


OPERATORS = (
    Operator("attention", "attention", attention, "softmax(qkᵀ/√d)·v, Vaswani et al. 2017", (_Q, _K, _V)),
    Operator("attention_causal", "attention",
             lambda o, q, k, v: attention(o, q, k, v, np.tril(np.ones((q.shape[-2], k.shape[-2]), dtype=bool))),
             "of what is not later", (_Q, _K, _V)),
    Operator("attention_masked", "attention",
             lambda o, q, k, v, m: attention(o, q, k, v, m | np.eye(3, dtype=bool)),
             "of what the mask or the diagonal keeps", (_Q, _K, _V, _MASK)),
    Operator("attention_scaled", "attention", lambda o, q, k, v, scale: attention(o, q, k, v, None, scale),
             "with a factor of its own", (_Q, _K, _V), ({"scale": 0.25},)),
    Operator("attention_cross", "attention", attention, "of another sequence", (
        Operand("q", shape=(1, 1, 2, 3)), Operand("k", shape=(1, 1, 4, 3)), Operand("v", shape=(1, 1, 4, 3)))),
    Operator("rnn_cell", "recurrent", _rnn, "tanh(Wx + Uh), Elman 1990", _operands(1)),
    Operator("rnn_cell_relu", "recurrent", _rnn_relu, "max(Wx + Uh, 0)", _operands(1)),
    Operator("lstm_cell", "recurrent", _lstm, "Hochreiter and Schmidhuber 1997", (
        *_operands(4)[:2], Operand("c", shape=(2, _HIDDEN)), *_operands(4)[2:])),
    Operator("gru_cell", "recurrent", _gru, "Cho et al. 2014", _operands(3)),
    Operator("rnn", "recurrent", _scan, "tanh(Wx + Uh), step by step", (
        Operand("x", shape=(3, 2, 2)), *_operands(1)[2:])),
)  # fmt: skip
