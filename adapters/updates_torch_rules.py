"""The rules that PyTorch's own optimizers say they are: each class, by the settings of a parameter's group."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, optim

from gradconform.adapters.updates import Asked

Group = Mapping[str, Any]


def _number(x: Any) -> float:
    return float(x.item()) if isinstance(x, Tensor) else float(x)


def _decay(group: Group, decoupled: bool = False) -> tuple[str, dict[str, float]]:
    """Which decay there is, and λ."""
    strength = _number(group.get("weight_decay", 0.0))
    if not strength:
        return "none", {}
    return ("decoupled" if decoupled else "coupled"), {"lambda": strength}


def _sgd(group: Group, p: Tensor, state: Mapping[str, Any]) -> Asked:
    decay, strength = _decay(group)
    options: dict[str, bool | str] = {"decay": decay, "maximize": bool(group["maximize"])}
    settings = {"eta": _number(group["lr"]), **strength}
    if not group["momentum"]:
        return Asked("sgd", options, settings)
    first = state.get("momentum_buffer") is None
    options |= {"momentum": True, "first": first, "nesterov": bool(group["nesterov"])}
    settings |= {"mu": _number(group["momentum"]), "tau": _number(group["dampening"])}
    return Asked("sgd", options, settings, {"b": "momentum_buffer"})


def _adam(group: Group, p: Tensor, state: Mapping[str, Any]) -> Asked:
    decay, strength = _decay(group, bool(group.get("decoupled_weight_decay")))
    options: dict[str, bool | str] = {"decay": decay, "maximize": bool(group["maximize"])}
    names = {"m": "exp_avg", "v": "exp_avg_sq"}
    if group["amsgrad"]:
        options["amsgrad"], names["vmax"] = "before", "max_exp_avg_sq"
    beta1, beta2 = map(_number, group["betas"])
    settings = {"eta": _number(group["lr"]), "beta1": beta1, "beta2": beta2, "eps": _number(group["eps"]), **strength}
    return Asked("adam", options, settings, names)


#: The rule of each class, given a parameter's settings, the parameter and its state.
RULES: Mapping[type[torch.optim.Optimizer], Callable[[Group, Tensor, Mapping[str, Any]], Asked]] = {
    optim.SGD: _sgd,
    optim.Adam: _adam,
    optim.AdamW: _adam,
}
