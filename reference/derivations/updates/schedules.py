"""Schedules: what η is in each update, by the number t of updates so far.

    step, exponential    η_t = η_0·γ^n              n = ⌊t/k⌋, or t
    linear, a warm-up    η_t = η_0·(a + (b − a)·min(t, T)/T)
    cosine               η_t = m + ½·(η_0 − m)·(1 + cos(π·t/T))

Loshchilov and Hutter, ICLR 2017, equation 5, is the cosine's. PyTorch makes each η of the one before it, so that
schedules can be combined: by factors that are those of the closed form, and whose roundings add up.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gradconform.reference.derivations.updates.rule import Rule, Way, beside, equation

LOSHCHILOV = "Loshchilov and Hutter 2017, equation 5"
_TORCH = "PyTorch: torch/optim/lr_scheduler.py"


def _of_one(kind: str, source: str, operands: tuple[str, ...], closed: Callable[..., Any], chained: Callable[..., Any],
            ) -> Rule:  # fmt: skip
    """A schedule by its closed form of the `operands`, and by the η before it."""
    who = f"{_TORCH}, {kind}"
    return beside("schedule", operands, {
        "eta": equation("eta_new", source, operands, [
            Way("closed form", closed, f"{who}, _get_closed_form_lr"),
            Way("of the η before", lambda ops, *x: chained(ops, x[-1], *x[:-1]), f"{who}, get_lr", (*operands, "eta")),
        ]),
    })  # fmt: skip


def step(drops: bool = True) -> Rule:
    """A factor γ for every `k` updates, or for each: where t is one of them it `drops`."""
    return _of_one("StepLR and ExponentialLR", "a factor in each step", ("eta0", "gamma", "n"),
                   lambda ops, eta0, gamma, n: eta0 * ops.power(gamma, n),
                   lambda ops, eta, eta0, gamma, n: eta * gamma if drops else eta)  # fmt: skip


def linear(ended: bool = False) -> Rule:
    """From a·η_0 to b·η_0 in T updates; `ended` after them."""

    def closed(ops: Any, eta0: Any, a: Any, b: Any, t: Any, T: Any) -> Any:
        return eta0 * (a + (b - a) * ops.minimum(t, T) / T)

    def chained(ops: Any, eta: Any, eta0: Any, a: Any, b: Any, t: Any, T: Any) -> Any:
        return eta if ended else eta * (1 + (b - a) / (T * a + (t - 1) * (b - a)))

    return _of_one("LinearLR", "linear between two factors", ("eta0", "a", "b", "t", "T"), closed, chained)


def cosine(turns: bool = False) -> Rule:
    """From η_0 to m in T updates, and back; it `turns` in the first update after it was at m."""

    def closed(ops: Any, eta0: Any, m: Any, t: Any, T: Any) -> Any:
        return m + (eta0 - m) * (1 + ops.cos(ops.pi() * t / T)) / 2

    def chained(ops: Any, eta: Any, eta0: Any, m: Any, t: Any, T: Any) -> Any:
        if turns:
            return eta + (eta0 - m) * (1 - ops.cos(ops.pi() / T)) / 2
        return (1 + ops.cos(ops.pi() * t / T)) / (1 + ops.cos(ops.pi() * (t - 1) / T)) * (eta - m) + m

    return _of_one("CosineAnnealingLR", LOSHCHILOV, ("eta0", "m", "t", "T"), closed, chained)
