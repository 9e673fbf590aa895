"""Losses: of predictions and targets, of probabilities and of logits, with weights, smoothing and every reduction."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from gradconform.reference.derivations.operators.normalisations import log_softmax
from gradconform.reference.derivations.operators.operator import Operand, Operator

REDUCTIONS = ({"reduction": "mean"}, {"reduction": "sum"}, {"reduction": "none"})
_X, _T = Operand("x", shape=(2, 3)), Operand("t", shape=(2, 3))
_P, _Q = Operand("p", (0.0, 1.0), (2, 3)), Operand("t", (0.0, 1.0), (2, 3))
_CLASS = Operand("c", (0.0, 3.0), (2,), "index")
_EQUAL = {"equal": ([[0.5, -1.0, 2.0]], [[0.5, -1.0, 2.0]])}
_CERTAIN = {"certain": ([[0.0, 0.25, 0.5]], [[0.0, 0.0, 1.0]])}


def reduced(x: Any, reduction: str) -> Any:
    return x if reduction == "none" else x.sum() if reduction == "sum" else x.mean()


def _loss(
    name: str,
    each: Callable[..., Any],
    source: str,
    operands: tuple[Operand, ...] = (_X, _T),
    more: Mapping[str, Any] | None = None,
    **data: Any,
) -> Operator:
    """A loss that is the mean, the sum or the array of what each component costs."""

    def definition(o: Any, *arrays: Any, reduction: str, **parameters: Any) -> Any:
        return reduced(each(o, *arrays, **parameters), reduction)

    parameters = tuple({**r, **(more or {})} for r in REDUCTIONS)
    return Operator(name, "loss", definition, source, operands, parameters, **data)


def _huber(o: Any, x: Any, t: Any, delta: float) -> Any:
    off = abs(x - t)
    return o.where(off <= delta, 0.5 * o.square(off), delta * (off - 0.5 * delta))


def _of_class(x: Any, c: Any) -> Any:
    return x.o.stack([x[n, int(k)] for n, k in enumerate(c)])


def _bce(o: Any, p: Any, t: Any) -> Any:
    return -(o.xlogy(t, p) + o.xlog1py(1.0 - t, -p))


def _bce_logits(o: Any, x: Any, t: Any) -> Any:
    return -(t * o.log_sigmoid(x) + (1.0 - t) * o.log_sigmoid(-x))


def _cross_entropy(o: Any, x: Any, c: Any, reduction: str, weight: Any = None, smoothing: float = 0.0) -> Any:
    """With class weights the mean is that of the weights, PyTorch documentation; smoothing as Szegedy et al. 2016."""
    logs = log_softmax(o, x)
    w = [1.0 if weight is None else float(weight[int(k)]) for k in c]
    total = o.number(w)
    scaled = logs if weight is None else logs * o.number(weight)
    each = -(1.0 - smoothing) * _of_class(logs, c) * total - smoothing / x.shape[-1] * scaled.sum(-1)
    return each.sum() / float(sum(w)) if reduction == "mean" else reduced(each, reduction)


def _triplet(o: Any, a: Any, p: Any, n: Any, margin: float) -> Any:
    def apart(x: Any, y: Any) -> Any:
        return o.sqrt(o.square(x - y + 1e-6).sum(-1))

    return o.relu(apart(a, p) - apart(a, n) + margin)


def _multi_margin(o: Any, x: Any, c: Any, margin: float) -> Any:
    rows = []
    for n, k in enumerate(c):
        others = [o.relu(margin - x[n, int(k)] + x[n, j]) for j in range(x.shape[1]) if j != int(k)]
        rows.append(o.stack(others).sum() / float(x.shape[1]))
    return o.stack(rows)


def _cosine_embedding(o: Any, x: Any, y: Any, margin: float) -> Any:
    """With the 1e-12 that PyTorch adds to each sum of squares (aten/src/ATen/native/Loss.cpp)."""
    cosine = o.dot(x, y) / o.sqrt((o.square(x).sum(-1) + 1e-12) * (o.square(y).sum(-1) + 1e-12))
    return o.stack([1.0 - cosine[0], o.relu(cosine[1] - margin)])


OPERATORS = (
    _loss("mse_loss", lambda o, x, t: o.square(x - t), "(x − t)²", edges=_EQUAL),
    _loss("l1_loss", lambda o, x, t: abs(x - t), "|x − t|", edges=_EQUAL),
    _loss("huber_loss", _huber, "½(x − t)² to δ, then linear, Huber 1964", more={"delta": 0.75}, edges=_EQUAL),
    _loss("smooth_l1_loss", lambda o, x, t, beta: _huber(o, x, t, beta) / beta, "Huber's over β, Girshick 2015",
          more={"beta": 0.5}, edges=_EQUAL),
    _loss("log_cosh_loss", lambda o, x, t: o.log(o.cosh(x - t)), "log cosh(x − t)", edges=_EQUAL),
    _loss("soft_margin_loss", lambda o, x, t: o.softplus(-t * x), "log(1 + e^−tx)",
          (_X, Operand("t", shape=(2, 3), kind="constant"))),
    _loss("hinge_loss", lambda o, x, t: o.relu(1.0 - x * t), "max(0, 1 − tx)",
          edges={"at the hinge": ([[1.0, -1.0, 0.0]], [[1.0, -1.0, 1.0]])}),
    _loss("squared_hinge_loss", lambda o, x, t: o.square(o.relu(1.0 - x * t)), "max(0, 1 − tx)²"),
    _loss("margin_ranking_loss", lambda o, x, y, margin: o.relu(margin - x + y), "max(0, m − x + y)",
          more={"margin": 0.5}),
    _loss("poisson_nll_loss", lambda o, x, t: o.exp(x) - t * x, "e^x − tx, of a logarithm"),
    _loss("poisson_nll_loss_of_rates", lambda o, x, t: x - t * o.log(x + 2.0**-26), "x − t·log x",
          (Operand("x", shape=(2, 3), draws="positive"), Operand("t", shape=(2, 3), draws="positive"))),
    _loss("gaussian_nll_loss", lambda o, x, t, v: 0.5 * (o.log(v) + o.square(x - t) / v), "½(log v + (x − t)²/v)",
          (_X, _T, Operand("v", shape=(2, 3), draws="positive"))),
    _loss("kl_div", lambda o, x, t: t * (o.log(t) - x), "t(log t − x), x a logarithm", (_X, _Q)),
    _loss("kl_div_log_target", lambda o, x, t: o.exp(t) * (t - x), "e^t(t − x)"),
    _loss("binary_cross_entropy", _bce, "−t·log p − (1 − t)·log(1 − p)", (_P, _Q), edges=_CERTAIN),
    _loss("binary_cross_entropy_weighted", lambda o, p, t, w: w * _bce(o, p, t), "the same times a weight",
          (_P, _Q, Operand("w", shape=(2, 3), kind="constant", draws="positive"))),
    _loss("binary_cross_entropy_with_logits", _bce_logits, "−t·log σ(x) − (1 − t)·log σ(−x)", (_X, _Q),
          edges={"saturated": ([[30.0, -30.0, 80.0]], [[0.0, 1.0, 1.0]])}),
    _loss("bce_with_logits_pos_weight",
          lambda o, x, t, pos: -(pos * t * o.log_sigmoid(x) + (1.0 - t) * o.log_sigmoid(-x)),
          "positive ones count w times", (_X, _Q), {"pos": 1.5}),
    _loss("focal_loss", lambda o, x, t, gamma: _bce_logits(o, x, t) * o.square(
        t * o.sigmoid(-x) + (1.0 - t) * o.sigmoid(x)), "(1 − p_t)²·BCE, Lin et al. 2017", (_X, _Q), {"gamma": 2}),
    _loss("nll_loss", lambda o, x, c: -_of_class(x, c), "−x_c", (_X, _CLASS)),
    Operator("cross_entropy", "loss", _cross_entropy, "−log softmax(x)_c", (_X, _CLASS), (
        *REDUCTIONS, {"reduction": "mean", "weight": (0.5, 1.5, 2.0)}, {"reduction": "mean", "smoothing": 0.125}),
        edges={"large": ([[50.0, -50.0, 0.0], [3.0, 3.0, 3.0]], [1, 0])}),
    _loss("cross_entropy_of_probabilities", lambda o, x, t: -(t * log_softmax(o, x)).sum(-1),
          "−Σt·log softmax(x)", (_X, _Q)),
    _loss("triplet_margin_loss", _triplet, "max(0, |a − p| − |a − n| + m)",
          (_X, Operand("p", shape=(2, 3)), Operand("n", shape=(2, 3))), {"margin": 1.0}),
    _loss("multi_margin_loss", _multi_margin, "Σ_j max(0, m − x_c + x_j)/n", (_X, _CLASS), {"margin": 1.0}),
    _loss("cosine_embedding_loss", _cosine_embedding, "1 − cos of the first rows, max(0, cos − m) of the second",
          (_X, Operand("y", shape=(2, 3))), {"margin": 0.25}),
    _loss("multilabel_soft_margin_loss", lambda o, x, t: _bce_logits(o, x, t).mean(-1), "mean over labels", (_X, _Q)),
    Operator("dice_loss", "loss", lambda o, p, t: 1.0 - (2.0 * (p * t).sum() + 1.0) / (p.sum() + t.sum() + 1.0),
             "1 − (2Σpt + 1)/(Σp + Σt + 1)", (_P, _Q)),
)  # fmt: skip
