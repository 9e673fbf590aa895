"""NAdam, Adamax and RAdam.

Dozat, ICLR 2016 workshop, algorithm 2, is NAdam, with the momentum schedule μ_t = β1·(1 − ½·0.96^(t·ψ)):

    w_new = w − η·(μ_{t+1}·m_new/(1 − Π_{i≤t+1} μ_i) + (1 − μ_t)·g/(1 − Π_{i≤t} μ_i))/(√v̂ + ε)

Kingma and Ba, ICLR 2015, algorithm 2, is Adamax:

    u_new = max(β2·u, |g| + ε)             w_new = w − η/(1 − β1^t)·m_new/u_new

Liu and others, ICLR 2020, algorithm 2, is RAdam: ρ_t = ρ∞ − 2t·β2^t/(1 − β2^t), ρ∞ = 2/(1 − β2) − 1, and where ρ_t > 5
(the paper: 4)

    w_new = w − η·m̂·r_t·√(1 − β2^t)/(√v_new + ε)
    r_t = √((ρ_t − 4)(ρ_t − 2)ρ∞/((ρ∞ − 4)(ρ∞ − 2)ρ_t))

and elsewhere w − η·m̂. m, v and m̂ are Adam's.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from gradconform.reference.derivations.updates.adam import average, average_of_squares, corrected
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

DOZAT = "Dozat 2016, algorithm 2"
ADAMAX = "Kingma and Ba 2015, algorithm 2"
LIU = "Liu and others 2020, algorithm 2"


def _moments(source: str, slope: Slope, coupled: tuple[str, ...]) -> dict[str, Equation]:
    return {
        "m": average("m_new", source, "m", "beta1", coupled, slope),
        "v": average_of_squares("v_new", source, "v", "beta2", coupled, slope),
    }


def nadam(scheduled: bool = True, decay: str = "none", maximize: bool = False) -> Rule:
    """NAdam with a momentum schedule and its product (PyTorch), or with β1 alone (optax)."""
    slope, coupled, strength = decaying(decay, maximize)
    gradient = (GRADIENT, WEIGHT, *coupled)
    states = _moments(DOZAT, slope, coupled)
    if not scheduled:
        operands = ("m_new", "v_new", RATE, "beta1", "beta2", TIME, "eps", *gradient)

        def step(ops: Any, m: Any, v: Any, eta: Any, b1: Any, b2: Any, t: Any, eps: Any, *g: Any) -> Any:
            ahead = b1 * (m / corrected(ops, b1, t + 1)) + (1 - b1) * (slope(*g) / corrected(ops, b1, t))
            return eta * (ahead / (ops.sqrt(v / corrected(ops, b2, t)) + eps))

        weight = new_weight(DOZAT, operands, [
            Way("η·(β1·m̂ + (1 − β1)·ĝ)/(√v̂ + ε)", step, "optax: _src/transform.py, scale_by_adam, nesterov")
        ], decay)  # fmt: skip
        return rule("nadam", ("beta1", "beta2", "eps", TIME, *strength), states, weight)

    def momentum(ops: Any, b1: Any, t: Any, psi: Any) -> Any:
        return b1 * (1 - 0.5 * ops.power(0.96, t * psi))

    states["p"] = equation("p_new", DOZAT, ("p", "beta1", TIME, "psi"), [
        Way("p·μ_t", lambda ops, p, b1, t, psi: p * momentum(ops, b1, t, psi), "PyTorch: torch/optim/nadam.py"),
    ])  # fmt: skip

    def parts(ops: Any, p: Any, eta: Any, b1: Any, t: Any, psi: Any) -> tuple[Any, Any]:
        """The rates of the gradient and of the average."""
        p = ops.item(p)
        now, ahead = momentum(ops, b1, t, psi), momentum(ops, b1, t + 1, psi)
        return eta * (1 - now) / (1 - p), eta * ahead / (1 - p * ahead)

    def divided(ops: Any, m: Any, v: Any, p: Any, eta: Any, b1: Any, b2: Any, t: Any, eps: Any, psi: Any,
                *g: Any) -> Any:  # fmt: skip
        first, second = parts(ops, p, eta, b1, t, psi)
        divisor = ops.sqrt(v / corrected(ops, b2, t)) + eps
        return (first * slope(*g) + second * m) / divisor

    def multi(ops: Any, m: Any, v: Any, p: Any, eta: Any, b1: Any, b2: Any, t: Any, eps: Any, psi: Any,
              *g: Any) -> Any:  # fmt: skip
        first, second = parts(ops, p, eta, b1, t, psi)
        divisor = ops.sqrt(v) / ops.sqrt(corrected(ops, b2, t)) + eps
        return first * slope(*g) / divisor + second * m / divisor

    def single(ops: Any, w: Any, m: Any, v: Any, p: Any, eta: Any, b1: Any, b2: Any, t: Any, eps: Any, psi: Any,
               *g: Any) -> Any:  # fmt: skip
        first, second = parts(ops, p, eta, b1, t, psi)
        divisor = ops.sqrt(v / corrected(ops, b2, t)) + eps
        return w - first * slope(*g) / divisor - second * m / divisor

    def two(ops: Any, w: Any, m: Any, v: Any, p: Any, eta: Any, b1: Any, b2: Any, t: Any, eps: Any, psi: Any,
            *g: Any) -> Any:  # fmt: skip
        first, second = parts(ops, p, eta, b1, t, psi)
        divisor = ops.sqrt(v) / ops.sqrt(corrected(ops, b2, t)) + eps
        return w - first * slope(*g) / divisor - second * m / divisor

    operands = ("m_new", "v_new", "p_new", RATE, "beta1", "beta2", TIME, "eps", "psi", *gradient)
    torch = "PyTorch: torch/optim/nadam.py"
    ways = [("one quotient", divided, torch), ("two quotients", multi, f"{torch}, _multi_tensor_nadam")]
    weight = new_weight(DOZAT, operands, [Way(*w) for w in ways], decay)
    # Two steps, each rounded to the weight's dtype.
    apart = [("one after the other", single, f"{torch}, _single_tensor_nadam"),
             ("one after the other, roots first", two, f"{torch}, _multi_tensor_nadam")]  # fmt: skip
    weight = _with_ways(weight, [
        Way(n, lambda ops, w, *x, f=f: (
            f(ops, w * (1 - x[-2] * x[-1]), *x[:-2]) if decay == "decoupled" else f(ops, w, *x)), who)
        for n, f, who in apart
    ])  # fmt: skip
    return rule("nadam", ("beta1", "beta2", "eps", "psi", TIME, *strength), states, weight)


def _with_ways(of: Equation, ways: list[Way]) -> Equation:
    """The equation with more ways, of the same operands."""
    more = equation(of.name, of.source, of.operands, ways)
    return replace(of, forms=(*of.forms, *more.forms))


def adamax(decay: str = "none", maximize: bool = False) -> Rule:
    """Adamax."""
    slope, coupled, strength = decaying(decay, maximize)
    gradient = (GRADIENT, WEIGHT, *coupled)
    states = {
        "m": average("m_new", ADAMAX, "m", "beta1", coupled, slope),
        "u": equation("u_new", ADAMAX, ("u", "beta2", "eps", *gradient), [
            Way("max(β2·u, |g| + ε)", lambda ops, u, b, eps, *g: ops.maximum(b * u, ops.absolute(slope(*g)) + eps),
                "PyTorch: torch/optim/adamax.py; optax: tree_utils/_tree_math.py, tree_update_infinity_moment"),
        ]),
    }  # fmt: skip
    weight = new_weight(ADAMAX, ("m_new", "u_new", RATE, "beta1", TIME), [
        Way("η·(m̂/u)", lambda ops, m, u, eta, b, t: eta * (m / corrected(ops, b, t) / u),
            "optax: _src/transform.py, scale_by_adamax"),
        Way("(η/(1−β1^t))·m/u", lambda ops, m, u, eta, b, t: (eta / corrected(ops, b, t)) * m / u,
            "PyTorch: torch/optim/adamax.py, _single_tensor_adamax"),
        Way("m/(u·((1−β1^t)/η))", lambda ops, m, u, eta, b, t: m / (u * (corrected(ops, b, t) / eta)),
            "PyTorch: torch/optim/adamax.py, capturable"),
    ], decay)  # fmt: skip
    return rule("adamax", ("beta1", "beta2", "eps", TIME, *strength), states, weight)


def radam(rectified: bool, epsilon: str = "outside", decay: str = "none", maximize: bool = False) -> Rule:
    """RAdam in an update that is `rectified`, or not.

    ε is "outside" of the correction (√(1 − β2^t)/(√v + ε), PyTorch) or within it ("hat": √v̂ + ε, optax).
    """
    slope, coupled, strength = decaying(decay, maximize)
    states = _moments(LIU, slope, coupled)
    settings = ("beta1", "beta2", "eps", TIME, *strength)
    if not rectified:
        weight = new_weight(LIU, ("m_new", RATE, "beta1", TIME), [
            Way("η·m̂", lambda ops, m, eta, b, t: m / corrected(ops, b, t) * eta, "PyTorch: torch/optim/radam.py"),
            Way("(η/(1−β1^t))·m", lambda ops, m, eta, b, t: eta / corrected(ops, b, t) * m,
                "PyTorch: torch/optim/radam.py, _multi_tensor_radam"),
        ], decay)  # fmt: skip
        return rule("radam", settings, states, weight)

    def rectifier(ops: Any, b2: Any, t: Any) -> Any:
        last = 2 / (1 - b2) - 1
        now = last - 2 * t * ops.power(b2, t) / corrected(ops, b2, t)
        return ops.sqrt((now - 4) * (now - 2) * last / ((last - 4) * (last - 2) * now))

    def adaptive(ops: Any, v: Any, b2: Any, t: Any, eps: Any) -> Any:
        root = ops.sqrt(corrected(ops, b2, t))
        return root / (ops.sqrt(v) + eps)

    operands = ("m_new", "v_new", RATE, "beta1", "beta2", TIME, "eps")
    if epsilon == "hat":
        steps = [Way("η·r_t·m̂/(√v̂ + ε)", lambda ops, m, v, eta, b1, b2, t, eps: eta * (
            rectifier(ops, b2, t) * (m / corrected(ops, b1, t)) / (ops.sqrt(v / corrected(ops, b2, t)) + eps)),
            "optax: _src/transform.py, scale_by_radam")]  # fmt: skip
    else:
        steps = [
            Way("η·m̂·(√(1−β2^t)/(√v + ε))·r_t", lambda ops, m, v, eta, b1, b2, t, eps: (
                m / corrected(ops, b1, t) * eta * adaptive(ops, v, b2, t, eps) * rectifier(ops, b2, t)),
                "PyTorch: torch/optim/radam.py, _single_tensor_radam"),
            Way("m·(√(1−β2^t)·η·r_t/(1−β1^t))/(√v + ε)", lambda ops, m, v, eta, b1, b2, t, eps: m / (
                (ops.sqrt(v) + eps) / (ops.sqrt(corrected(ops, b2, t)) * (
                    eta * rectifier(ops, b2, t) / corrected(ops, b1, t)))),
                "PyTorch: torch/optim/radam.py, _multi_tensor_radam"),
        ]  # fmt: skip
    return rule("radam", settings, states, new_weight(LIU, operands, steps, decay))
