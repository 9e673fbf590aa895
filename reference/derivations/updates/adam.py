"""Adam, AdamW and AMSGrad, and the averages that others share.

Kingma and Ba, ICLR 2015, algorithm 1:

    m_new = β1·m + (1 − β1)·g'            v_new = β2·v + (1 − β2)·g'²
    w_new = w − η·m̂/(√v̂ + ε)             m̂ = m_new/(1 − β1^t)     v̂ = v_new/(1 − β2^t)

Coupled decay is an L2 term in g' (`sgd`), decoupled decay AdamW's: Loshchilov and Hutter, ICLR 2019, algorithm 2. t is
the number of this step, from 1.
"""

from __future__ import annotations

from typing import Any

from gradconform.reference.derivations.updates.rule import (
    GRADIENT,
    RATE,
    TIME,
    WEIGHT,
    Rule,
    Slope,
    Way,
    decaying,
    equation,
    new_weight,
    rule,
)
from gradconform.reference.equations import Equation

PAPER = "Kingma and Ba 2015, algorithm 1"
AMSGRAD = "Reddi, Kale and Kumar 2018, algorithm 2"
_SINGLE = "PyTorch: torch/optim/adam.py, _single_tensor_adam"
_FUSED = "PyTorch: aten/src/ATen/native/cpu/FusedAdamKernel.cpp, adam_math"
_CAPTURABLE = "PyTorch: torch/optim/adam.py, capturable"
_MULTI = "PyTorch: torch/optim/adam.py, _multi_tensor_adam, capturable"
_OPTAX = "optax: _src/transform.py, scale_by_adam; tree_utils/_tree_math.py, bias_correction"


# Averages -------------------------------------------------------------------------------------------------------------


def decayed(ops: Any, x: Any, beta: Any, new: Any) -> Any:
    """β·x + (1 − β)·new."""
    return beta * x + (1 - beta) * new


def interpolated(ops: Any, x: Any, beta: Any, new: Any) -> Any:
    """x + (1 − β)·(new − x): `torch.lerp` where 1 − β is less than ½."""
    return x + (1 - beta) * (new - x)


def from_the_end(ops: Any, x: Any, beta: Any, new: Any) -> Any:
    """new − (new − x)·β, with β as 1 − (1 − β): `torch.lerp` elsewhere."""
    return new - (new - x) * (1 - (1 - beta))


def average(name: str, source: str, of: str, beta: str, coupled: tuple[str, ...], slope: Slope) -> Equation:
    """The exponential average of the gradient, that is `of` before it."""
    ways = [
        Way(text, lambda ops, x, b, g, w, *lam, by=by: by(ops, x, b, slope(g, w, *lam)), who)
        for text, by, who in (
            ("β·m + (1 − β)·g", decayed, "optax: tree_utils/_tree_math.py, tree_update_moment"),
            ("m + (1 − β)·(g − m)", interpolated, f"{_SINGLE}, lerp_"),
            ("g − (g − m)·β", from_the_end, f"{_SINGLE}, lerp_ of a weight of ½ or more"),
        )
    ]
    return equation(name, source, (of, beta, GRADIENT, WEIGHT, *coupled), ways)


def average_of_squares(name: str, source: str, of: str, beta: str, coupled: tuple[str, ...], slope: Slope) -> Equation:
    """The exponential average of the gradient's squares, that is `of` before it."""
    return equation(name, source, (of, beta, GRADIENT, WEIGHT, *coupled), [
        Way("β·v + (1 − β)·g²", lambda ops, x, b, g, w, *lam: decayed(ops, x, b, slope(g, w, *lam) ** 2),
            "optax: tree_utils/_tree_math.py, tree_update_moment_per_elem_norm"),
        Way("β·v + ((1 − β)·g)·g",
            lambda ops, x, b, g, w, *lam: b * x + ((1 - b) * slope(g, w, *lam)) * slope(g, w, *lam),
            f"{_SINGLE}, addcmul_; {_FUSED}"),
        Way("v + (1 − β)·(g² − v)", lambda ops, x, b, g, w, *lam: interpolated(ops, x, b, slope(g, w, *lam) ** 2),
            f"{_SINGLE}, differentiable"),
    ])  # fmt: skip


def corrected(ops: Any, beta: Any, t: Any) -> Any:
    """1 − β^t, the bias correction."""
    return 1 - ops.power(beta, t)


# The weight -----------------------------------------------------------------------------------------------------------


def _hats(ops: Any, m: Any, v: Any, eta: Any, b1: Any, b2: Any, t: Any, eps: Any, *root: Any) -> Any:
    inside = v / corrected(ops, b2, t)
    return eta * (m / corrected(ops, b1, t) / (ops.sqrt(inside + root[0] if root else inside) + eps))


def _step_size(ops: Any, m: Any, v: Any, eta: Any, b1: Any, b2: Any, t: Any, eps: Any) -> Any:
    denominator = ops.sqrt(v) / ops.sqrt(corrected(ops, b2, t)) + eps
    return (eta / corrected(ops, b1, t)) * m / denominator


def _divisor(ops: Any, m: Any, v: Any, eta: Any, b1: Any, b2: Any, t: Any, eps: Any) -> Any:
    size = eta / corrected(ops, b1, t)
    return m / (ops.sqrt(v) / (ops.sqrt(corrected(ops, b2, t)) * size) + eps / size)


def _divisor_last(ops: Any, m: Any, v: Any, eta: Any, b1: Any, b2: Any, t: Any, eps: Any) -> Any:
    size = 1 / (corrected(ops, b1, t) / eta)
    return m / ((ops.sqrt(v) / ops.sqrt(corrected(ops, b2, t)) + eps) / size)


def _paper_hat(ops: Any, m: Any, v: Any, eta: Any, b1: Any, b2: Any, t: Any, eps: Any) -> Any:
    rate = eta * ops.sqrt(corrected(ops, b2, t)) / corrected(ops, b1, t)
    return rate * m / (ops.sqrt(v) + eps)


SETTINGS = ("beta1", "beta2", "eps")


def adam(
    amsgrad: str = "no",
    decay: str = "none",
    maximize: bool = False,
    epsilon: str = "outside",
    root: bool = False,
) -> Rule:
    """Adam; with `amsgrad` by the largest v so far, taken "before" its correction (PyTorch) or "after" it (optax).

    `epsilon` is "outside" of the correction, as algorithm 1 has it, or is "hat", the ε̂ of the line that follows it,
    η·√(1 − β2^t)/(1 − β1^t)·m/(√v + ε̂). With `root` there is an ε inside of the root, too (optax: eps_root).
    """
    slope, coupled, strength = decaying(decay, maximize)
    states = {
        "m": average("m_new", PAPER, "m", "beta1", coupled, slope),
        "v": average_of_squares("v_new", PAPER, "v", "beta2", coupled, slope),
    }
    second = "v_new"
    if amsgrad == "before":
        second = "vmax_new"
        states["vmax"] = equation(second, AMSGRAD, ("vmax", "v_new"), [
            Way("max(vmax, v)", lambda ops, most, v: ops.maximum(most, v), _SINGLE),
        ])  # fmt: skip
    elif amsgrad == "after":
        second = "vmax_new"
        states["vmax"] = equation(second, AMSGRAD, ("vmax", "v_new", "beta2", TIME), [
            Way("max(vmax, v/(1 − β2^t))", lambda ops, most, v, b, t: ops.maximum(most, v / corrected(ops, b, t)),
                "optax: _src/transform.py, scale_by_amsgrad"),
        ])  # fmt: skip
    operands = ("m_new", second, RATE, "beta1", "beta2", TIME, "eps", *(("eps_root",) if root else ()))
    steps: list[Way]
    if amsgrad == "after":
        steps = [Way("η·m̂/(√vmax + ε)",
                     lambda ops, m, v, eta, b1, b2, t, eps, *r: eta * (
                         m / corrected(ops, b1, t) / (ops.sqrt(v + r[0] if r else v) + eps)),
                     "optax: _src/transform.py, scale_by_amsgrad")]  # fmt: skip
    elif epsilon == "hat":
        steps = [Way("η·√(1−β2^t)/(1−β1^t)·m/(√v + ε̂)", _paper_hat, "Keras: optimizers/adam.py, update_step")]
    elif root:
        steps = [Way("η·m̂/(√(v̂ + ε') + ε)", _hats, _OPTAX)]
    else:
        steps = [
            Way("η·m̂/(√v̂ + ε)", _hats, _OPTAX),
            Way("(η/(1−β1^t))·m/(√v/√(1−β2^t) + ε)", _step_size, _SINGLE),
            Way("m over its divisor", _divisor, _CAPTURABLE),
            Way("m over its divisor, /η last", _divisor_last, _MULTI),
        ]
        steps.append(_unrounded(amsgrad == "before", coupled, slope))
    weight = new_weight(PAPER, operands, steps, decay)
    settings = (*SETTINGS, TIME, *(("eps_root",) if root else ()), *strength)
    return rule("adam", settings, states, weight)


def _unrounded(amsgrad: bool, coupled: tuple[str, ...], slope: Slope) -> Way:
    """As `_step_size`, from the averages as a kernel has them before it rounds them to a 16-bit format."""

    def step(ops: Any, m: Any, v: Any, eta: Any, b1: Any, b2: Any, t: Any, eps: Any, g: Any, w: Any, *rest: Any) -> Any:
        g = slope(g, w, *(rest[: len(coupled)]))
        second = decayed(ops, v, b2, g**2)
        if amsgrad:
            second = ops.maximum(rest[-1], second)
        return _step_size(ops, interpolated(ops, m, b1, g), second, eta, b1, b2, t, eps)

    operands = ("m", "v", RATE, "beta1", "beta2", TIME, "eps", GRADIENT, WEIGHT, *coupled)
    return Way("m and v not rounded before", step, _FUSED, (*operands, *(("vmax",) if amsgrad else ())))
