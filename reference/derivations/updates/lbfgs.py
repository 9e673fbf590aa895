"""L-BFGS's direction: two loops over the newest pairs of steps and of the gradients' differences.

Liu and Nocedal, Mathematical Programming 45 (1989), algorithm 2.1; Nocedal and Wright, Numerical Optimization, 2nd
edition, algorithm 7.4. With s the last step, y = g − g_prev, ρ = 1/(y·s) and γ = (y·s)/(y·y), of the newest pair:

    q = −g          α_i = ρ_i·(s_i·q), q ← q − α_i·y_i         from the newest pair to the oldest
    d_new = γ·q     β = ρ_i·(y_i·d), d ← d + (α_i − β)·s_i     from the oldest to the newest
    w_new = w + a_new·d_new

S, Y and ρ hold the pairs, the newest first; what there is no pair for is 0. All weights together are one vector.

`lbfgs` is PyTorch's without a line search: s = a·d, a pair is kept where y·s > ε, a step is taken where g·d ≤ −δ, and
the first is min(1, 1/‖g‖₁)·η. `lbfgs_of_weights` is optax': s = w − w_prev, every pair is kept, with ρ = 0 where
y·s = 0, and γ is min(1, 1/‖g‖) in the first update and 1 where y = 0.
"""

from __future__ import annotations

from typing import Any

from gradconform.reference.derivations.updates.clipping import norm, norm_of_squares
from gradconform.reference.derivations.updates.rule import (
    GRADIENT,
    NEW_WEIGHT,
    RATE,
    WEIGHT,
    Rule,
    Way,
    equation,
    rule,
)
from gradconform.reference.equations import Equation

NOCEDAL = "Liu and Nocedal 1989, algorithm 2.1; Nocedal and Wright 2006, algorithm 7.4"
_TORCH = "PyTorch: torch/optim/lbfgs.py, LBFGS.step"
_OPTAX = "optax: _src/transform.py, scale_by_lbfgs"


def _two_loops(ops: Any, pairs: int, g: Any, S: Any, Y: Any, rho: Any, gamma: Any) -> Any:
    """The direction by so many pairs."""

    def added(x: Any, factor: Any, row: Any) -> Any:
        return ops.like(ops.once(lambda x, f, r: x + f * r, x, factor, row), x)

    def value(g: Any, S: Any, Y: Any, rho: Any, gamma: Any) -> Any:
        q, alphas = -g, []
        for i in range(pairs):
            alphas.append(ops.inner(ops.row(S, i), q) * ops.row(rho, i))
            q = added(q, -alphas[i], ops.row(Y, i))
        d = q * gamma
        for i in reversed(range(pairs)):
            beta = ops.inner(ops.row(Y, i), d) * ops.row(rho, i)
            d = added(d, alphas[i] - beta, ops.row(S, i))
        return d

    return ops.named("two loops", value, g, S, Y, rho, gamma)


def _same(name: str, of: str, who: str, whole: bool = False) -> Equation:
    return equation(name, NOCEDAL, (of,), [Way(of, lambda ops, x: x, who)], whole)


def lbfgs(first: bool = False, memory: int = 100, pairs: int = 0) -> Rule:
    """PyTorch's, that keeps `memory` pairs and has so many of them after this update."""
    reads = (GRADIENT, "g_prev", "d", "a", "eps")

    def pair(ops: Any, g: Any, g_prev: Any, d: Any, a: Any) -> tuple[Any, Any, Any]:
        s, y = d * ops.item(a), g - g_prev
        return s, y, ops.inner(y, s)

    def kept(name: str, what: str, of: Any, whose: tuple[str, ...] = ()) -> Equation:
        """What a pair changes where it is kept: `of` gives it of (ops, old, s, y, y·s)."""

        def value(ops: Any, old: Any, g: Any, g_prev: Any, d: Any, a: Any, eps: Any) -> Any:
            s, y, curvature = pair(ops, g, g_prev, d, a)
            return ops.by_sign(curvature - eps, of(ops, old, s, y, curvature), old, old)

        return equation(f"{name}_new", NOCEDAL, (name, *reads), [Way(what, value, _TORCH)], whole=True)

    if first:
        states = {
            "gamma": _same("gamma_new", "gamma0", _TORCH),
            "d": equation("d_new", NOCEDAL, (GRADIENT,), [Way("−g", lambda ops, g: -g, _TORCH)]),
            "a": equation("a_new", _TORCH, (GRADIENT, RATE), [
                Way("min(1, 1/‖g‖₁)·η",
                    lambda ops, g, eta: ops.minimum(1, 1 / ops.total(ops.absolute(g))) * eta, _TORCH),
                Way("min(1, 1/‖g‖₁)·η, numbers of Python",
                    lambda ops, g, eta: ops.minimum(1, 1 / ops.item(ops.total(ops.absolute(g)))) * eta, _TORCH),
            ], whole=True),
        }  # fmt: skip
        settings: tuple[str, ...] = ("gamma0",)
    else:
        states = {
            "S": kept("S", "s; S", lambda ops, old, s, y, ys: ops.pushed(old, s, memory)),
            "Y": kept("Y", "y; Y", lambda ops, old, s, y, ys: ops.pushed(old, y, memory)),
            "rho": kept("rho", "1/(y·s); ρ", lambda ops, old, s, y, ys: ops.pushed(old, 1 / ys, memory)),
            "gamma": kept("gamma", "(y·s)/(y·y)", lambda ops, old, s, y, ys: ys / ops.inner(y, y)),
            "d": equation("d_new", NOCEDAL, (GRADIENT, "S_new", "Y_new", "rho_new", "gamma_new"), [
                Way("two loops", lambda ops, *x: _two_loops(ops, pairs, *x), _TORCH),
            ], whole=True),
            "a": _same("a_new", RATE, _TORCH),
        }  # fmt: skip
        settings = ("eps",)
    states["g_prev"] = _same("g_prev_new", GRADIENT, _TORCH)

    def stepped(ops: Any, w: Any, g: Any, d: Any, a: Any, delta: Any) -> Any:
        moved = w + ops.item(a) * d
        return ops.by_sign(ops.inner(g, d) + delta, w, moved, moved)

    weight = equation(NEW_WEIGHT, NOCEDAL, (WEIGHT, GRADIENT, "d_new", "a_new", "delta"), [
        Way("w + a·d", stepped, _TORCH),
    ], whole=True)  # fmt: skip
    return rule("lbfgs", (*settings, "delta"), states, weight)


def lbfgs_of_weights(first: bool = False, memory: int = 10, pairs: int = 0, scales: bool = True) -> Rule:
    """optax', that keeps `memory` pairs; `scales` says whether γ is there, or 1."""
    reads = (WEIGHT, "w_prev", GRADIENT, "g_prev")

    def kept(name: str, what: str, of: Any) -> Equation:
        """`of` gives what is kept of s and y."""
        if first:
            return _same(f"{name}_new", name, _OPTAX, whole=True)
        return equation(f"{name}_new", NOCEDAL, (name, *reads), [
            Way(what, lambda ops, old, w, w_prev, g, g_prev: ops.pushed(old, of(ops, w - w_prev, g - g_prev), memory),
                _OPTAX),
        ], whole=True)  # fmt: skip

    def inverse(ops: Any, s: Any, y: Any) -> Any:
        curvature = ops.inner(y, s)
        return ops.by_sign(curvature, 1 / curvature, 0, 1 / curvature)

    states = {
        "S": kept("S", "s; S", lambda ops, s, y: s),
        "Y": kept("Y", "y; Y", lambda ops, s, y: y),
        "rho": kept("rho", "1/(y·s); ρ", inverse),
        "w_prev": _same("w_prev_new", WEIGHT, _OPTAX),
        "g_prev": _same("g_prev_new", GRADIENT, _OPTAX),
    }

    def gamma(ops: Any, of: Any, g: Any, S: Any, Y: Any) -> Any:
        if not scales:
            return 1
        if first:
            return ops.minimum(1, 1 / of(ops, g))

        def of_newest(S: Any, Y: Any) -> Any:
            s, y = ops.row(S, 0), ops.row(Y, 0)
            squares = ops.inner(y, y)
            return ops.by_sign(squares, ops.inner(y, s) / squares, 1, 1)

        return ops.named("γ", of_newest, S, Y)

    def stepped(ops: Any, of: Any, w: Any, eta: Any, g: Any, S: Any, Y: Any, rho: Any) -> Any:
        return w + eta * _two_loops(ops, pairs, g, S, Y, rho, gamma(ops, of, g, S, Y))

    norms = (("√Σ g²", norm), ("√Σ g², squares rounded", norm_of_squares))
    weight = equation(NEW_WEIGHT, NOCEDAL, (WEIGHT, RATE, GRADIENT, "S_new", "Y_new", "rho_new"), [
        Way(f"w + η·d, {name}", lambda ops, *x, of=of: stepped(ops, of, *x), _OPTAX)
        for name, of in norms[: 2 if first and scales else 1]
    ], whole=True)  # fmt: skip
    return rule("lbfgs", (), states, weight)
