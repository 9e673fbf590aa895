"""Loss scaling: the loss times s, so that gradients of a 16-bit format do not vanish, and back before the update.

Micikevicius and others, ICLR 2018, section 3.2, with the scale chosen dynamically:

    g_new = g/s
    the update is left out where a gradient is not finite, in any tensor
    s_new = s·backoff where that is so; s·growth where it was not so for `interval` updates in a row; s
    count_new = 0 where the scale changes; count + 1
"""

from __future__ import annotations

from typing import Any

from gradconform.reference.derivations.updates.rule import (
    GRADIENT,
    NEW_WEIGHT,
    WEIGHT,
    Rule,
    Way,
    beside,
    equation,
)

MICIKEVICIUS = "Micikevicius and others 2018, section 3.2"
_TORCH = "PyTorch: torch/amp/grad_scaler.py"
_KERNEL = "PyTorch: aten/src/ATen/native/AmpKernels.cpp"


def unscale() -> Rule:
    """The gradient without the scale."""
    ways = [
        Way("g/s", lambda ops, g, s: g / s, MICIKEVICIUS),
        Way("g·(1/s)", lambda ops, g, s: g * (1 / s), f"{_TORCH}, unscale_"),
    ]
    return beside("unscale", ("s",), {"clipped": equation("g_new", MICIKEVICIUS, (GRADIENT, "s"), ways)})


def skipped(parts: str = "", whole: bool = False) -> Rule:
    """An update that is left out: weight and state, whose parts have these names, stay as they are.

    A `whole` state is of other shapes than the weight.
    """

    def same(name: str, of: str) -> Any:
        return equation(name, MICIKEVICIUS, (of,), [Way(of, lambda ops, x: x, f"{_TORCH}, _maybe_opt_step")], whole)

    kept = {part: same(f"{part}_new", part) for part in parts.split()}
    return beside("skipped", (), {**kept, "weight": same(NEW_WEIGHT, WEIGHT)})


def loss_scale(found: bool = False, grows: bool = False) -> Rule:
    """The scale after an update: gradients were `found` that are not finite, or it `grows` after enough without."""
    settings = ("backoff",) if found else ("growth",) if grows else ()
    scale = equation("s_new", MICIKEVICIUS, ("s", *settings), [
        Way("s·factor", lambda ops, s, *by: s * by[0] if by else s, f"{_KERNEL}, _amp_update_scale_cpu_"),
    ])  # fmt: skip
    count = equation("count_new", MICIKEVICIUS, ("count",), [
        Way("count", lambda ops, n: n * 0 if found or grows else n + 1, f"{_KERNEL}, _amp_update_scale_cpu_"),
    ])  # fmt: skip
    return beside("loss_scale", settings, {"s": scale, "count": count})
