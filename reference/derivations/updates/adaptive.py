"""Rates of each weight's own: Adagrad, Adadelta, RMSprop.

Adagrad is Duchi, Hazan and Singer, JMLR 12 (2011), equation 1; Adadelta Zeiler, arXiv 1212.5701, algorithm 1; RMSprop
Tieleman and Hinton's lecture 6.5 (2012), centred as Graves, arXiv 1308.0850, equations 38 to 45, has it:

    Adagrad     s_new = s + g²              w_new = w − η_t·g/(√s_new + ε)
    RMSprop     v_new = α·v + (1 − α)·g²    w_new = w − η·g/(√v_new + ε)
    Adadelta    v_new = ρ·v + (1 − ρ)·g²    Δ = √(u + ε)/√(v_new + ε)·g    u_new = ρ·u + (1 − ρ)·Δ²
                w_new = w − η·Δ

g is the gradient with coupled decay. Some have ε inside of the root, which is another rule.
"""

from __future__ import annotations

from typing import Any

from gradconform.reference.derivations.updates.adam import average, average_of_squares, decayed
from gradconform.reference.derivations.updates.rule import (
    GRADIENT,
    RATE,
    TIME,
    WEIGHT,
    Rule,
    Way,
    decaying,
    equation,
    new_weight,
    rule,
)

DUCHI = "Duchi, Hazan and Singer 2011, equation 1"
ZEILER = "Zeiler 2012, algorithm 1"
HINTON = "Tieleman and Hinton 2012, lecture 6.5"
GRAVES = "Graves 2013, equations 38 to 45"


def adagrad(epsilon: str = "outside", decay: str = "none", maximize: bool = False) -> Rule:
    """Adagrad; with ε "outside" of the root η is that of update t, η/(1 + (t − 1)·δ), δ = lr_decay.

    With ε "inside" a weight whose sum is 0 stays as it is.
    """
    slope, coupled, strength = decaying(decay, maximize)
    gradient = (GRADIENT, WEIGHT, *coupled)
    total = equation("s_new", DUCHI, ("s", *gradient), [
        Way("s + g²", lambda ops, s, g, w, *lam: s + slope(g, w, *lam) ** 2,
            "PyTorch: torch/optim/adagrad.py; optax: _src/transform.py, scale_by_rss"),
    ])  # fmt: skip
    if epsilon == "inside":
        steps = [Way("η·(g·rsqrt(s + ε))", lambda ops, s, eta, eps, g, w, *lam: eta * (
            ops.by_sign(s, ops.rsqrt(s + eps), 0, 0) * slope(g, w, *lam)),
            "optax: _src/transform.py, scale_by_rss")]  # fmt: skip
        weight = new_weight(DUCHI, ("s_new", RATE, "eps", *gradient), steps, decay)
        return rule("adagrad", ("eps", *strength), {"s": total}, weight)

    def rate(eta: Any, slower: Any, t: Any) -> Any:
        return eta / (1 + (t - 1) * slower)

    steps = [
        Way("η_t·g/(√s + ε)", lambda ops, s, eta, slower, t, eps, g, w, *lam: (
            rate(eta, slower, t) * slope(g, w, *lam) / (ops.sqrt(s) + eps)),
            "PyTorch: torch/optim/adagrad.py, _single_tensor_adagrad, addcdiv_"),
        Way("s not rounded before", lambda ops, s, eta, slower, t, eps, g, w, *lam: (
            rate(eta, slower, t) * slope(g, w, *lam) / (ops.sqrt(s + slope(g, w, *lam) ** 2) + eps)),
            "PyTorch: aten/src/ATen/native/cpu/FusedAdagradKernel.cpp",
            ("s", RATE, "delta", TIME, "eps", *gradient)),
    ]  # fmt: skip
    weight = new_weight(DUCHI, ("s_new", RATE, "delta", TIME, "eps", *gradient), steps, decay)
    return rule("adagrad", ("delta", TIME, "eps", *strength), {"s": total}, weight)


def adadelta(decay: str = "none", maximize: bool = False) -> Rule:
    """Adadelta."""
    slope, coupled, strength = decaying(decay, maximize)
    gradient = (GRADIENT, WEIGHT, *coupled)

    def moved(ops: Any, u: Any, v: Any, eps: Any, g: Any) -> Any:
        return ops.sqrt(u + eps) / ops.sqrt(v + eps) * g

    who = "PyTorch: torch/optim/adadelta.py, _single_tensor_adadelta; optax: _src/transform.py, scale_by_adadelta"
    operands = ("u", "v_new", "eps", *gradient)
    squares = average_of_squares("v_new", ZEILER, "v", "rho", coupled, slope)
    steps_taken = equation("u_new", ZEILER, (*operands, "rho"), [
        Way("ρ·u + (1 − ρ)·Δ²",
            lambda ops, u, v, eps, *x: decayed(ops, u, x[-1], moved(ops, u, v, eps, slope(*x[:-1])) ** 2), who),
        Way("ρ·u + ((1 − ρ)·Δ)·Δ", lambda ops, u, v, eps, *x: x[-1] * u + (
            (1 - x[-1]) * moved(ops, u, v, eps, slope(*x[:-1]))) * moved(ops, u, v, eps, slope(*x[:-1])), who),
    ])  # fmt: skip
    weight = new_weight(ZEILER, (*operands, RATE), [
        Way("η·Δ", lambda ops, u, v, eps, *x: x[-1] * moved(ops, u, v, eps, slope(*x[:-1])), who),
    ], decay)  # fmt: skip
    return rule("adadelta", ("rho", "eps", *strength), {"v": squares, "u": steps_taken}, weight)


def rmsprop(
    epsilon: str = "outside",
    centred: bool = False,
    momentum: str = "none",
    decay: str = "none",
    maximize: bool = False,
    corrected: bool = False,
) -> Rule:
    """RMSprop, ε "outside" of the root (PyTorch) or "inside" (optax, by default).

    With `momentum` "before" η the buffer holds Σ μ^k·g/√v, and w_new = w − η·b_new (PyTorch); "after" it or "nesterov"
    what is added to w (optax). `corrected` averages are divided by 1 − α^t.
    """
    slope, coupled, strength = decaying(decay, maximize)
    gradient = (GRADIENT, WEIGHT, *coupled)
    source = GRAVES if centred else HINTON
    states = {"v": average_of_squares("v_new", source, "v", "alpha", coupled, slope)}
    if centred:
        states["a"] = average("a_new", source, "a", "alpha", coupled, slope)
    of = ("v_new", *(("a_new",) if centred else ()))
    by = ("eps", *(("alpha", TIME) if corrected else ()))
    operands = (*of, *by, *gradient)

    def spread(ops: Any, *x: Any, once: bool = False) -> tuple[Any, Any, Any]:
        """What the root is taken of, ε, and the gradient; the variance may be rounded `once`."""
        averages, (eps, *rest) = x[: len(of)], x[len(of) :]
        if corrected:
            alpha, t, *rest = rest
            averages = tuple(y / (1 - ops.power(alpha, t)) for y in averages)
        if not centred:
            return averages[0], eps, slope(*rest)
        v, a = averages
        return (ops.once(lambda v, a: v - a**2, v, a) if once else v - a**2), eps, slope(*rest)

    def divided(ops: Any, *x: Any) -> Any:
        v, eps, g = spread(ops, *x, once=True)
        return g / (ops.sqrt(v) + eps if epsilon == "outside" else ops.sqrt(v + eps))

    def scaled(ops: Any, *x: Any) -> Any:
        v, eps, g = spread(ops, *x)
        return (1 / (ops.sqrt(v) + eps) if epsilon == "outside" else ops.rsqrt(v + eps)) * g

    torch, optax = "PyTorch: torch/optim/rmsprop.py, _single_tensor_rmsprop", "optax: _src/transform.py, scale_by_rms"
    ways = [("g/(√v + ε)", divided, torch), ("(1/(√v + ε))·g", scaled, optax)]
    if momentum == "none":
        steps = [Way(f"η·{n}", lambda ops, eta, *x, f=f: eta * f(ops, *x), who) for n, f, who in ways]
        if epsilon == "outside":

            def scaled_first(ops: Any, eta: Any, *x: Any) -> Any:
                v, eps, g = spread(ops, *x, once=True)
                return eta * g / (ops.sqrt(v) + eps)

            steps.append(Way("(η·g)/(√v + ε)", scaled_first, f"{torch}, addcdiv_"))
        weight = new_weight(source, (RATE, *operands), steps, decay)
    elif momentum == "before":
        states["b"] = equation("b_new", GRAVES, ("b", "mu", *operands), [
            Way(f"μ·b + {n}", lambda ops, b, mu, *x, f=f: mu * b + f(ops, *x), who) for n, f, who in ways
        ])  # fmt: skip
        weight = new_weight(source, (RATE, "b_new"), [Way("η·b", lambda ops, eta, b: eta * b, torch)], decay)
    else:

        def moved(ops: Any, f: Any, *x: Any) -> Any:
            """−η·d, with decoupled decay of it."""
            if decay == "decoupled":
                *x_, eta, strong = x
                return -eta * (f(ops, *x_) + strong * x_[-1])
            *x_, eta = x
            return -eta * f(ops, *x_)

        also = (RATE, *(("lambda",) if decay == "decoupled" else ()))
        states["b"] = equation("b_new", GRAVES, ("b", "mu", *operands, *also), [
            Way(f"−η·{n} + μ·b", lambda ops, b, mu, *x, f=f: moved(ops, f, *x) + mu * b, who) for n, f, who in ways
        ])  # fmt: skip
        if momentum == "nesterov":
            weight = equation("w_new", source, (WEIGHT, "b_new", "mu", *operands, *also), [
                Way(f"w + (−η·{n} + μ·b)", lambda ops, w, b, mu, *x, f=f: w + (moved(ops, f, *x) + mu * b), who)
                for n, f, who in ways
            ])  # fmt: skip
        else:
            weight = equation("w_new", source, (WEIGHT, "b_new"), [
                Way("w + b", lambda ops, w, b: w + b, "optax: apply_updates")])  # fmt: skip
    settings = ("alpha", "eps", *((TIME,) if corrected else ()), *(("mu",) if momentum != "none" else ()), *strength)
    return rule("rmsprop", settings, states, weight)
