"""Steps by a trust ratio of norms, tensor by tensor: LARS and Lamb.

You, Gitman and Ginsburg, arXiv 1708.03888, algorithm 1, is LARS, with g' = ∂E/∂w + λ·w:

    b_new = μ·b + η·trust·g'               w_new = w − b_new             trust = c·‖w‖/(‖∂E/∂w‖ + λ·‖w‖)

You and others, ICLR 2020, algorithm 2, is Lamb, with Adam's averages:

    d = m̂/(√v̂ + ε) + λ·w                  w_new = w − η·trust·d         trust = ‖w‖/‖d‖

optax has c·‖w‖/(‖d‖ + ε) in both, with d = g' in LARS, and 1 where one of the norms is 0; its buffer holds what is
added to w, the opposite of the paper's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gradconform.reference.derivations.updates.adam import (
    SETTINGS,
    average,
    average_of_squares,
    corrected,
    decayed,
)
from gradconform.reference.derivations.updates.clipping import norm, norm_of_squares
from gradconform.reference.derivations.updates.rule import (
    GRADIENT,
    NEW_WEIGHT,
    RATE,
    TIME,
    WEIGHT,
    Rule,
    Way,
    decaying,
    equation,
    rule,
)

LARS = "You, Gitman and Ginsburg 2017, algorithm 1"
LAMB = "You and others 2020, algorithm 2"
_OPTAX = "optax: _src/transform.py, scale_by_trust_ratio"
_NORMS: tuple[tuple[str, Callable[..., Any], str], ...] = (
    ("norms rounded once", norm, "a kernel for the norm"),
    ("squares rounded", norm_of_squares, f"{_OPTAX}; jax.numpy.linalg.norm"),
)


def trusted(ops: Any, of: Callable[..., Any], w: Any, d: Any, c: Any, eps: Any) -> Any:
    """c·‖w‖/(‖d‖ + ε); 1 where one of the norms is 0."""
    weight, step = of(ops, w), of(ops, d)
    return ops.by_sign(weight * step, c * weight / (step + eps), 1, 1)


def lars(nesterov: bool = False, decay: str = "none") -> Rule:
    """LARS, with a buffer of what is added to w; Nesterov's looks ahead."""
    slope, coupled, strength = decaying(decay)
    operands = (GRADIENT, WEIGHT, RATE, "mu", "c", "trust_eps", *coupled)

    def moved(ops: Any, of: Any, g: Any, w: Any, eta: Any, mu: Any, c: Any, eps: Any, *lam: Any) -> Any:
        """−η·trust·g'."""
        d = slope(g, w, *lam)
        return -eta * (d * trusted(ops, of, w, d, c, eps))

    buffer = equation("b_new", LARS, ("b", *operands), [
        Way(f"−η·(g'·trust) + μ·b, {name}", lambda ops, b, *x, of=of: moved(ops, of, *x) + x[3] * b, who)
        for name, of, who in _NORMS
    ], whole=True)  # fmt: skip
    if nesterov:
        weight = equation(NEW_WEIGHT, LARS, ("b_new", *operands), [
            Way(f"w + (−η·(g'·trust) + μ·b), {name}",
                lambda ops, b, *x, of=of: x[1] + (moved(ops, of, *x) + x[3] * b), who)
            for name, of, who in _NORMS
        ], whole=True)  # fmt: skip
    else:
        weight = equation(NEW_WEIGHT, LARS, (WEIGHT, "b_new"), [
            Way("w + b", lambda ops, w, b: w + b, "optax: apply_updates")])  # fmt: skip
    return rule("lars", ("mu", "c", "trust_eps", *strength), {"b": buffer}, weight)


def lamb(decay: str = "none", root: bool = False) -> Rule:
    """Lamb. With `root` there is an ε inside of the root, too (optax: eps_root)."""
    slope, coupled, strength = decaying(decay)
    states = {
        "m": average("m_new", LAMB, "m", "beta1", coupled, slope),
        "v": average_of_squares("v_new", LAMB, "v", "beta2", coupled, slope),
    }
    settings = (*SETTINGS, TIME, "c", "trust_eps", *(("eps_root",) if root else ()), *strength)

    def direction(ops: Any, w: Any, m: Any, v: Any, b1: Any, b2: Any, eps: Any, t: Any, *more: Any) -> Any:
        inside = v / corrected(ops, b2, t)
        d = m / corrected(ops, b1, t) / (ops.sqrt(inside + more[2] if root else inside) + eps)
        return d + more[-1] * w if strength else d

    def scaled(ops: Any, of: Any, w: Any, eta: Any, *x: Any) -> Any:
        d = direction(ops, w, *x)
        return w - eta * (d * trusted(ops, of, w, d, x[6], x[7]))

    def rate_first(ops: Any, of: Any, w: Any, eta: Any, *x: Any) -> Any:
        d = direction(ops, w, *x)
        return w - eta * trusted(ops, of, w, d, x[6], x[7]) * d

    def unrounded(ops: Any, of: Any, w: Any, eta: Any, m: Any, v: Any, g: Any, b1: Any, b2: Any, *x: Any) -> Any:
        return scaled(ops, of, w, eta, decayed(ops, m, b1, g), decayed(ops, v, b2, g**2), b1, b2, *x)

    operands = (WEIGHT, RATE, "m_new", "v_new", *settings)
    before = (WEIGHT, RATE, "m", "v", GRADIENT, *settings)
    weight = equation(NEW_WEIGHT, LAMB, operands, [
        Way(f"{name}, {how}", lambda ops, *x, f=f, of=of: f(ops, of, *x), who, reads)
        for name, f, reads in (
            ("w − η·(d·trust)", scaled, operands),
            ("w − (η·trust)·d", rate_first, operands),
            ("m and v not rounded before", unrounded, before),
        )
        for how, of, who in _NORMS
    ], whole=True)  # fmt: skip
    return rule("lamb", settings, states, weight)
