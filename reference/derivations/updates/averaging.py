"""Averages of weights, which the training goes on without.

Polyak and Juditsky, SIAM Journal on Control and Optimization 30 (1992), equation 1, is the mean of all so far,
here by the mean before it and the number t of this update; Izmailov and others, UAI 2018, algorithm 1, train by it. The
exponential average forgets what is long ago:

    mean            a_new = a + (w − a)/t
    exponential     a_new = β·a + (1 − β)·w

The first update copies the weights, where there is no average yet. An average of gradients (optax: ema) is a step's
direction: m_new = β·m + (1 − β)·g, w_new = w − η·m_new, or corrected by 1 − β^t.
"""

from __future__ import annotations

from typing import Any

from gradconform.reference.derivations.updates.adam import average, corrected, decayed, from_the_end, interpolated
from gradconform.reference.derivations.updates.rule import (
    GRADIENT,
    RATE,
    TIME,
    WEIGHT,
    Rule,
    Way,
    beside,
    decaying,
    equation,
    new_weight,
    rule,
)

POLYAK = "Polyak and Juditsky 1992, equation 1"
IZMAILOV = "Izmailov and others 2018, algorithm 1"
_SWA = "PyTorch: torch/optim/swa_utils.py"
_OPTAX = "optax: _src/update.py, incremental_update"
#: The average is measured by what it moves by: one that stands still in a 16-bit format is so by its rounding.
_MOVED = {"a_new": "a"}


def ema(first: bool = False, step: bool = False) -> Rule:
    """The exponential average by β; or with a `step` of 1 − β. The `first` is a copy."""
    if first:
        copied = equation("a_new", POLYAK, (WEIGHT,), [Way("w", lambda ops, w: w, f"{_SWA}, update_parameters")])
        return beside("ema", (), {"a": copied})
    if step:
        of_step = equation("a_new", POLYAK, ("a", "s", WEIGHT), [
            Way("s·w + (1 − s)·a", lambda ops, a, s, w: s * w + (1 - s) * a, _OPTAX),
            Way("a + s·(w − a)", lambda ops, a, s, w: a + s * (w - a), POLYAK),
        ])  # fmt: skip
        return beside("ema", ("s",), {"a": of_step}, moved=_MOVED)
    ways = [
        Way(name, lambda ops, a, beta, w, by=by: by(ops, a, beta, w), f"{_SWA}, {who}")
        for name, by, who in (
            ("β·a + (1 − β)·w", decayed, "get_ema_avg_fn"),
            ("a + (1 − β)·(w − a)", interpolated, "get_ema_multi_avg_fn, lerp_"),
            ("w − (w − a)·β", from_the_end, "get_ema_multi_avg_fn, lerp_ by a weight of ½ or more"),
        )
    ]
    return beside("ema", ("beta",), {"a": equation("a_new", POLYAK, ("a", "beta", WEIGHT), ways)}, moved=_MOVED)


def mean(first: bool = False) -> Rule:
    """The mean of the weights of all updates. The `first` is a copy."""
    if first:
        return ema(first=True)

    def lerp(ops: Any, a: Any, t: Any, w: Any) -> Any:
        return a + 1 / t * (w - a)

    def lerp_from_the_end(ops: Any, a: Any, t: Any, w: Any) -> Any:
        return w - (w - a) * (1 - 1 / t)

    return beside("mean", (TIME,), {
        "a": equation("a_new", IZMAILOV, ("a", TIME, WEIGHT), [
            Way("a + (w − a)/t", lambda ops, a, t, w: a + (w - a) / t, f"{_SWA}, get_swa_avg_fn"),
            Way("a + (1/t)·(w − a)", lerp, f"{_SWA}, get_swa_multi_avg_fn, lerp_"),
            Way("w − (w − a)·(1 − 1/t)", lerp_from_the_end, f"{_SWA}, get_swa_multi_avg_fn, lerp_ by a weight of ½"),
        ]),
    }, moved=_MOVED)  # fmt: skip


def averaged_gradient(corrects: bool = True, decay: str = "none") -> Rule:
    """A step by the exponential average of the gradients, which is corrected or not."""
    slope, coupled, strength = decaying(decay)

    def step(ops: Any, m: Any, eta: Any, beta: Any, t: Any) -> Any:
        return eta * (m / corrected(ops, beta, t) if corrects else m)

    def unrounded(ops: Any, m: Any, eta: Any, beta: Any, t: Any, *g: Any) -> Any:
        return step(ops, decayed(ops, m, beta, slope(*g)), eta, beta, t)

    who, reads = "optax: transforms/_accumulation.py, ema", (RATE, "beta", TIME)
    weight = new_weight(POLYAK, ("m_new", *reads), [
        Way("η·m̂", step, who),
        Way("m not rounded before", unrounded, who, ("m", *reads, GRADIENT, WEIGHT, *coupled)),
    ], decay)  # fmt: skip
    states = {"m": average("m_new", POLYAK, "m", "beta", coupled, slope)}
    return rule("averaged_gradient", ("beta", TIME, *strength), states, weight)
