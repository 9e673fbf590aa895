"""Steps by the sign alone: Lion, and Rprop.

Chen and others, NeurIPS 2023, algorithm 2, is Lion:

    w_new = w − η·sign(β1·m + (1 − β1)·g)          m_new = β2·m + (1 − β2)·g

Riedmiller and Braun, ICNN 1993, is Rprop, here without going back (iRprop−; Igel and Hüsken 2000, algorithm 4), g' = 0
where the sign of the gradient has changed:

    s_new = s·η+ where g·prev > 0, s·η− where g·prev < 0, between s_min and s_max
    w_new = w − sign(g')·s_new                      prev_new = g'
"""

from __future__ import annotations

from typing import Any

from gradconform.reference.derivations.updates.adam import average
from gradconform.reference.derivations.updates.rule import (
    GRADIENT,
    RATE,
    WEIGHT,
    Rule,
    Way,
    decaying,
    equation,
    new_weight,
    rule,
)

CHEN = "Chen and others 2023, algorithm 2"
RPROP = "Riedmiller and Braun 1993; Igel and Hüsken 2000, algorithm 4"
_OPTAX_LION = "optax: _src/transform.py, scale_by_lion"
_OPTAX_RPROP = "optax: _src/transform.py, scale_by_rprop"


def lion(decay: str = "none", maximize: bool = False) -> Rule:
    """Lion."""
    slope, coupled, strength = decaying(decay, maximize)
    weight = new_weight(CHEN, ("m", "beta1", RATE, GRADIENT, WEIGHT, *coupled), [
        Way("η·sign(β1·m + (1 − β1)·g)",
            lambda ops, m, b, eta, *g: eta * ops.sign(b * m + (1 - b) * slope(*g)), _OPTAX_LION),
    ], decay)  # fmt: skip
    states = {"m": average("m_new", CHEN, "m", "beta2", coupled, slope)}
    return rule("lion", ("beta1", "beta2", *strength), states, weight)


def rprop(maximize: bool = False, moves: bool = False) -> Rule:
    """Rprop.

    With `moves` its state "b" is what w is moved by, s_new·sign(g'), in place of g' (optax).
    """
    who = _OPTAX_RPROP if moves else "PyTorch: torch/optim/rprop.py, _single_tensor_rprop"
    before = "b" if moves else "prev"

    def up(gradient: Any) -> Any:
        return -gradient if maximize else gradient

    def clamped(ops: Any, s: Any, low: Any, high: Any) -> Any:
        return ops.minimum(ops.maximum(s, low), high)

    def stepped(ops: Any, s: Any, prev: Any, plus: Any, minus: Any, low: Any, high: Any, g: Any) -> Any:
        product = up(g) * prev
        if moves:  # what has no sign is not clamped either
            return ops.by_sign(product, clamped(ops, s * plus, low, high), s, clamped(ops, s * minus, low, high))
        return clamped(ops, s * ops.by_sign(product, plus, 1, minus), low, high)

    def turned(ops: Any, prev: Any, g: Any) -> Any:
        """The gradient, or 0 where its sign has changed."""
        return ops.by_sign(up(g) * prev, up(g), up(g), 0)

    settings = ("eta_plus", "eta_minus", "s_min", "s_max")
    states = {
        "s": equation("s_new", RPROP, ("s", before, *settings, GRADIENT), [Way("s·η±", stepped, who)]),
    }  # fmt: skip
    if moves:
        states["b"] = equation("b_new", RPROP, ("s_new", "b", GRADIENT), [
            Way("s·sign(g')", lambda ops, s, b, g: s * ops.sign(turned(ops, b, g)), who),
        ])  # fmt: skip
        weight = equation("w_new", RPROP, (WEIGHT, "b_new"), [Way("w − b", lambda ops, w, b: w - b, who)])
    else:
        states["prev"] = equation("prev_new", RPROP, ("prev", GRADIENT), [Way("g'", turned, who)])
        weight = equation("w_new", RPROP, (WEIGHT, "s_new", "prev_new"), [
            Way("w − sign(g')·s", lambda ops, w, s, g: w - ops.sign(g) * s, who),
        ])  # fmt: skip
    return rule("rprop", settings, states, weight)
