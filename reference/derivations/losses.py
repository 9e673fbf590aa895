"""Losses: each formula with its derivative beside it, and the rounded programs that frameworks run for both.

`reduction` "sum" adds over every component of the output and every row of the batch. "mean" divides that sum by its
count: by batch × outputs for the elementwise losses, by the batch alone for softmax cross-entropy, whose loss is one
number a row. Both are PyTorch's own convention; every adapter follows it.

Sources, by file: PyTorch 2.13, aten/src/ATen/native/Loss.cpp, LossNLL.cpp and cpu/PointwiseOpsKernel.cpp; optax 0.2,
optax/losses/{_regression,_classification}.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from gradconform.reference.arithmetic.exact import ratio
from gradconform.reference.derivations.activations import softmax, softmax_without_shift, softplus

#: More and less than what eight roundings make of 1, in every format: 1 ± 2⁻⁴.
MORE, LESS = 1.0625, 0.9375
LOG_SOFTMAX = "log-softmax with the shift by the largest logit"
#: formula(ops, a, t, count): the loss, or its derivative by a; `count` is what a mean divides by, 1 for a sum.
LossFormula = Callable[[Any, Any, Any, int], Any]


@dataclass(frozen=True)
class LossForm:
    """A program of a loss or of its slope; `instead` marks an unstable one, as in `Form`."""

    name: str
    formula: LossFormula
    source: str = "definition"
    instead: str = ""


@dataclass(frozen=True)
class Loss:
    """`value`: forms of E over the output a and the targets t; `slope`: forms of ∂E/∂a.

    `true_value` and `true_slope` are what they are true to, in a form that keeps its digits, where that is not the
    first. `domain` says which targets the loss is defined for, and `admits` checks one row of them.
    """

    name: str
    value: tuple[LossForm, ...]
    slope: tuple[LossForm, ...]
    domain: str = "any finite number"
    admits: Callable[[Any], bool] = lambda row: True
    rowwise: bool = False
    kinks: str = ""
    true_value: LossFormula | None = None
    true_slope: LossFormula | None = None


def reduced(ops: Any, terms: Any, count: int) -> Any:
    """The sum of all terms; for a mean, times 1/count (a constant: hypothesis 1 covers the division as well)."""
    total = ops.total(terms)
    return total if count == 1 else total * ops.real(ratio(1, count))


def share(ops: Any, x: Any, count: int, factor: int = 1) -> Any:
    """x·factor/count: what a mean makes of a slope."""
    return x * factor if count == 1 else x * ops.real(ratio(factor, count))


def _unit(ops: Any, count: int) -> Any:
    return ops.real(ratio(1, count))


def _half_twice(ops: Any, a: Any, t: Any, count: int) -> Any:
    d = a - t
    return share(ops, 0.5 * d + 0.5 * d, count)


def _huber(ops: Any, a: Any, t: Any, outer: Callable[[Any], Any], count: int) -> Any:
    q = ops.absolute(a - t)
    return reduced(ops, ops.select(q - 1, outer(q), 0.5 * q**2), count)


def _huber_slope_optax(ops: Any, a: Any, t: Any, count: int) -> Any:
    c = _unit(ops, count)
    q = ops.absolute(a - t)
    return ops.select(q - 1, c, c + (q * c - c)) * ops.step(a - t, 1, -1)


def _log_softmax(ops: Any, z: Any) -> Any:
    shifted = z - ops.row_maximum(z)
    return shifted - ops.log_row_sum(ops.exp(shifted))


def _log_softmax_without_shift(ops: Any, z: Any) -> Any:
    return z - ops.log_row_sum(ops.exp(z))


def _cross_entropy_of_probabilities(probabilities: Callable[[Any, Any], Any]) -> LossFormula:
    """−Σ t·log p with p = softmax(a), the logarithm taken of what has been rounded."""
    return lambda ops, a, t, n: reduced(ops, -(t * ops.log(probabilities(ops, a))), n)


def _cross_entropy_slope_of_probabilities(probabilities: Callable[[Any, Any], Any]) -> LossFormula:
    """−Σ t·log p differentiated as written: g = −t/p, then p(g − Σgp)."""

    def formula(ops: Any, a: Any, t: Any, count: int) -> Any:
        p = probabilities(ops, a)
        part = share(ops, t, count)
        g = -(part / p)
        # The same p divides and multiplies: what is finite of it is −t again, to some roundings; and so is, where p
        # underflows, what is finite of the whole −t, Σt or nothing of either.
        again = ops.bounded(g * p, -(MORE * part), -(LESS * part))
        return ops.bounded(p * (g - ops.row_sum(again)), -(MORE * part), MORE * ops.row_sum(part))

    return formula


def _cross_entropy_true_slope(ops: Any, a: Any, t: Any, count: int) -> Any:
    """pᵢΣt − tᵢ = pᵢ·Σ(j≠i) tⱼ − tᵢ·Σ(j≠i) pⱼ, since Σp = 1: what is nearly 1 is not subtracted from 1."""
    p = softmax(ops, a)
    return share(ops, p * ops.row_sum_of_others(t) - t * ops.row_sum_of_others(p), count)


def _binary_of_probability(ops: Any, a: Any, t: Any, count: int) -> Any:
    """−t·log p − (1 − t)·log(1 − p) with p = σ(a)."""
    p = ops.sigmoid(a)
    return reduced(ops, -(t * ops.log(p)) - (1 - t) * ops.log(1 - p), count)


def _binary_slope_of_probability(ops: Any, a: Any, t: Any, count: int) -> Any:
    p = ops.sigmoid(a)
    found = ((1 - t) / (1 - p) - t / p) * (p * (1 - p))
    # Where p is rounded to 0 or 1 a finite result is −t, 1 − t or nothing of either, to some roundings.
    return share(ops, ops.bounded(found, -(MORE * t), MORE * (1 - t)), count)


def _cross_entropy_slope_jax(ops: Any, a: Any, t: Any, count: int) -> Any:
    g = -share(ops, t, count)
    e = ops.exp(a - ops.row_maximum(a))
    return g + ops.over_row_sum(-ops.row_sum(g), e) * e


def _cross_entropy_slope_torch(ops: Any, a: Any, t: Any, count: int) -> Any:
    g = -share(ops, t, count)
    return g - ops.exp(_log_softmax(ops, a)) * ops.row_sum(g)


def _log_sigmoid(ops: Any, z: Any) -> Any:
    return -ops.positive_part(-z) - ops.log1p(ops.exp(-ops.absolute(z)))


def _binary_slope_optax(ops: Any, a: Any, t: Any, count: int) -> Any:
    c = _unit(ops, count)
    of_zero = (1 - t) * c * ops.exp(a - softplus(ops, a))
    return of_zero - t * c * ops.exp(-a - softplus(ops, -a))


def _binary_slope_composed(ops: Any, a: Any, t: Any, count: int) -> Any:
    """(1 − t)z − logσ(z), differentiated as composed: logσ' is 1 − e/(1 + e) or e/(1 + e), with e = e^−|z|."""
    c = _unit(ops, count)
    e = ops.exp(-ops.absolute(a))
    quotient = e / (1 + e)
    return (1 - t) * c - c * ops.select(-a, 1 - quotient, quotient)


def _probabilities(row: Any) -> bool:
    return bool((row >= 0).all() and (row <= 1).all())


def _distribution(row: Any) -> bool:
    return _probabilities(row) and abs(float(row.sum()) - 1) <= 1e-6


_ALL = (
    Loss(
        "half_squared_error",
        (
            LossForm("Σ½(t-a)²", lambda ops, a, t, n: reduced(ops, 0.5 * (t - a) ** 2, n), "optax l2_loss"),
            LossForm(
                "½Σ(t-a)²",
                lambda ops, a, t, n: 0.5 * reduced(ops, (t - a) ** 2, n),
                "0.5 * torch.nn.MSELoss; may overflow where the other does not",
            ),
        ),
        (
            LossForm("a-t", lambda ops, a, t, n: share(ops, a - t, n)),
            LossForm(
                "½d+½d", _half_twice, "½·d·d differentiated as written, each factor by itself; ½d may be subnormal"
            ),
        ),
    ),
    Loss(
        "squared_error",
        (LossForm("Σ(t-a)²", lambda ops, a, t, n: reduced(ops, (t - a) ** 2, n), "torch.nn.MSELoss"),),
        (LossForm("2(a-t)", lambda ops, a, t, n: share(ops, a - t, n, 2)),),
    ),
    Loss(
        "l1",
        (LossForm("Σ|t-a|", lambda ops, a, t, n: reduced(ops, ops.absolute(t - a), n), "torch.nn.L1Loss"),),
        (LossForm("sign(a-t)", lambda ops, a, t, n: ops.step(a - t, _unit(ops, n), -_unit(ops, n))),),
        kinks="a = t: slopes [−1, 1]; PyTorch 0 (sign), JAX 0 (sign)",
    ),
    Loss(
        "huber",
        (
            LossForm(
                "½d² or |d|-½", lambda ops, a, t, n: _huber(ops, a, t, lambda q: q - 0.5, n), "torch.nn.HuberLoss"
            ),
            LossForm(
                "½d² or ½+(|d|-1)",
                lambda ops, a, t, n: _huber(ops, a, t, lambda q: 0.5 + (q - 1), n),
                "optax huber_loss: 0.5 * quadratic**2 + delta * linear",
            ),
        ),
        (
            LossForm(
                "clip(a-t)",
                lambda ops, a, t, n: share(ops, ops.select(a - t - 1, 1, ops.select(-1 - (a - t), -1, a - t)), n),
                "PyTorch aten/src/ATen/native/cpu/PointwiseOpsKernel.cpp, huber_backward_cpu_kernel",
            ),
            LossForm("sign(d)(c+(c|d|-c))", _huber_slope_optax, "optax huber_loss, differentiated as written"),
        ),
    ),
    Loss(
        "binary_cross_entropy_with_logits",
        (
            LossForm("softplus(z)-zt", lambda ops, a, t, n: reduced(ops, softplus(ops, a) - a * t, n)),
            LossForm(
                "(1-t)z-logσ(z)",
                lambda ops, a, t, n: reduced(ops, (1 - t) * a - _log_sigmoid(ops, a), n),
                "PyTorch aten/src/ATen/native/Loss.cpp, binary_cross_entropy_with_logits",
            ),
            LossForm(
                "-t·logσ(z)-(1-t)logσ(-z)",
                lambda ops, a, t, n: reduced(ops, t * softplus(ops, -a) + (1 - t) * softplus(ops, a), n),
                "optax sigmoid_binary_cross_entropy",
            ),
            LossForm(
                "-t·log p-(1-t)log(1-p), p=σ(z)",
                _binary_of_probability,
                "the definition on probabilities, as textbooks program it",
                instead="binary cross-entropy with logits",
            ),
        ),
        (
            LossForm(
                "σ(z)-t",
                lambda ops, a, t, n: share(ops, ops.sigmoid(a) - t, n),
                "PyTorch torch/csrc/autograd/FunctionsManual.cpp, binary_cross_entropy_with_logits",
            ),
            LossForm(
                "(1-t)-logσ'(z)",
                _binary_slope_composed,
                "PyTorch under torch.func: torch/_decomp/decompositions.py, binary_cross_entropy_with_logits, with "
                "aten/src/ATen/native/Activation.cpp, log_sigmoid_backward",
            ),
            LossForm("(1-t)e^(z-sp(z))-te^(-z-sp(-z))", _binary_slope_optax, "optax; jax/_src/lax/other.py, logaddexp"),
            LossForm(
                "((1-t)/(1-p)-t/p)p(1-p), p=σ(z)",
                _binary_slope_of_probability,
                "the definition on probabilities, differentiated as written",
                instead="binary cross-entropy with logits",
            ),
        ),
        domain="numbers from 0 to 1",
        admits=_probabilities,
        true_value=lambda ops, a, t, n: reduced(ops, t * softplus(ops, -a) + (1 - t) * softplus(ops, a), n),
        true_slope=lambda ops, a, t, n: share(ops, (1 - t) * ops.sigmoid(a) - t * ops.sigmoid(-a), n),
    ),
    Loss(
        "softmax_cross_entropy",
        (
            LossForm(
                "-Σt·log_softmax",
                lambda ops, a, t, n: reduced(ops, -(t * _log_softmax(ops, a)), n),
                "torch.nn.CrossEntropyLoss with probabilities; optax softmax_cross_entropy",
            ),
            LossForm(
                "-Σt(z-logΣe^z)",
                lambda ops, a, t, n: reduced(ops, -(t * _log_softmax_without_shift(ops, a)), n),
                "the definition without the shift",
                instead=LOG_SOFTMAX,
            ),
            *(
                LossForm(name, _cross_entropy_of_probabilities(p), "the definition on probabilities", LOG_SOFTMAX)
                for name, p in (("-Σt·log p, p=softmax", softmax), ("-Σt·log p, p=e^z/Σe^z", softmax_without_shift))
            ),
        ),
        (
            LossForm(
                "softmax·Σt-t",
                lambda ops, a, t, n: share(ops, softmax(ops, a) * ops.row_sum(t) - t, n),
            ),
            LossForm(
                "g-e^(log_softmax)Σg",
                _cross_entropy_slope_torch,
                "PyTorch aten/src/ATen/native/cpu/SoftMaxKernel.cpp, log_softmax_backward_lastdim",
            ),
            LossForm(
                "g-eΣg/Σe",
                _cross_entropy_slope_jax,
                "JAX jax/_src/nn/functions.py, log_softmax, differentiated as written",
            ),
            LossForm(
                "e^z/Σe^z·Σt-t",
                lambda ops, a, t, n: share(ops, softmax_without_shift(ops, a) * ops.row_sum(t) - t, n),
                "the definition without the shift",
                instead=LOG_SOFTMAX,
            ),
            *(
                LossForm(name, _cross_entropy_slope_of_probabilities(p), "the definition on probabilities", LOG_SOFTMAX)
                for name, p in (("p(g-Σgp), g=-t/p", softmax), ("p(g-Σgp), p=e^z/Σe^z", softmax_without_shift))
            ),
        ),
        domain="rows of numbers from 0 to 1 that add up to 1 (or class indices, one a row)",
        admits=_distribution,
        rowwise=True,
        true_slope=_cross_entropy_true_slope,
    ),
)

#: The losses by name.
LOSSES: Mapping[str, Loss] = MappingProxyType({loss.name: loss for loss in _ALL})
REDUCTIONS = ("sum", "mean")
