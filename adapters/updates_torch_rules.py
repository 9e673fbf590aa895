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


def _options(group: Group, decay: str) -> dict[str, bool | str]:
    return {"decay": decay, "maximize": bool(group["maximize"])}


def _moments(group: Group, strength: Mapping[str, float]) -> dict[str, float]:
    beta1, beta2 = map(_number, group["betas"])
    return {"eta": _number(group["lr"]), "beta1": beta1, "beta2": beta2, "eps": _number(group["eps"]), **strength}


def _sgd(group: Group, p: Tensor, state: Mapping[str, Any]) -> Asked:
    decay, strength = _decay(group)
    options, settings = _options(group, decay), {"eta": _number(group["lr"]), **strength}
    if not group["momentum"]:
        return Asked("sgd", options, settings)
    first = state.get("momentum_buffer") is None
    options |= {"momentum": True, "first": first, "nesterov": bool(group["nesterov"])}
    settings |= {"mu": _number(group["momentum"]), "tau": _number(group["dampening"])}
    return Asked("sgd", options, settings, {"b": "momentum_buffer"})


def _adam(group: Group, p: Tensor, state: Mapping[str, Any]) -> Asked:
    decay, strength = _decay(group, bool(group.get("decoupled_weight_decay")))
    options, names = _options(group, decay), {"m": "exp_avg", "v": "exp_avg_sq"}
    if group["amsgrad"]:
        options["amsgrad"], names["vmax"] = "before", "max_exp_avg_sq"
    return Asked("adam", options, _moments(group, strength), names)


def _nadam(group: Group, p: Tensor, state: Mapping[str, Any]) -> Asked:
    decay, strength = _decay(group, bool(group["decoupled_weight_decay"]))
    settings = {**_moments(group, strength), "psi": _number(group["momentum_decay"])}
    names = {"m": "exp_avg", "v": "exp_avg_sq", "p": "mu_product"}
    return Asked("nadam", _options(group, decay), settings, names, {"p": 1.0})


def _adamax(group: Group, p: Tensor, state: Mapping[str, Any]) -> Asked:
    decay, strength = _decay(group)
    return Asked("adamax", _options(group, decay), _moments(group, strength), {"m": "exp_avg", "u": "exp_inf"})


def _radam(group: Group, p: Tensor, state: Mapping[str, Any]) -> Asked:
    decay, strength = _decay(group, bool(group["decoupled_weight_decay"]))
    settings, t = _moments(group, strength), _number(state.get("step", 0)) + 1
    beta2 = settings["beta2"]
    length = 2 / (1 - beta2) - 1 - 2 * t * beta2**t / (1 - beta2**t) if beta2 < 1 else 0.0
    return Asked("radam", {**_options(group, decay), "rectified": length > 5}, settings,
                 {"m": "exp_avg", "v": "exp_avg_sq"})  # fmt: skip


def _adagrad(group: Group, p: Tensor, state: Mapping[str, Any]) -> Asked:
    decay, strength = _decay(group)
    settings = {"eta": _number(group["lr"]), "delta": _number(group["lr_decay"]), "eps": _number(group["eps"])}
    start = {"s": _number(group["initial_accumulator_value"])}
    return Asked("adagrad", _options(group, decay), {**settings, **strength}, {"s": "sum"}, start)


def _adadelta(group: Group, p: Tensor, state: Mapping[str, Any]) -> Asked:
    decay, strength = _decay(group)
    settings = {"eta": _number(group["lr"]), "rho": _number(group["rho"]), "eps": _number(group["eps"]), **strength}
    return Asked("adadelta", _options(group, decay), settings, {"v": "square_avg", "u": "acc_delta"})


def _rmsprop(group: Group, p: Tensor, state: Mapping[str, Any]) -> Asked:
    decay, strength = _decay(group)
    options, names = _options(group, decay), {"v": "square_avg"}
    settings = {"eta": _number(group["lr"]), "alpha": _number(group["alpha"]), "eps": _number(group["eps"]), **strength}
    if group["centered"]:
        options["centred"], names["a"] = True, "grad_avg"
    if group["momentum"] > 0:
        options["momentum"], names["b"], settings["mu"] = "before", "momentum_buffer", _number(group["momentum"])
    return Asked("rmsprop", options, settings, names)


def _rprop(group: Group, p: Tensor, state: Mapping[str, Any]) -> Asked:
    minus, plus = map(_number, group["etas"])
    low, high = map(_number, group["step_sizes"])
    settings = {"eta": _number(group["lr"]), "eta_plus": plus, "eta_minus": minus, "s_min": low, "s_max": high}
    names, start = {"s": "step_size", "prev": "prev"}, {"s": _number(torch.tensor(group["lr"], dtype=p.dtype))}
    return Asked("rprop", {"maximize": bool(group["maximize"])}, settings, names, start)


def _adafactor(group: Group, p: Tensor, state: Mapping[str, Any]) -> Asked:
    decay, strength = _decay(group, decoupled=True)
    eps1, eps2 = group["eps"]
    settings = {
        "eta": _number(group["lr"]), "tau": _number(group["beta2_decay"]), "d": _number(group["d"]),
        "eps1": torch.finfo(p.dtype).eps if eps1 is None else _number(eps1), "eps2": _number(eps2), **strength,
    }  # fmt: skip
    factored = p.ndim > 1
    names = {"row": "row_var", "col": "col_var"} if factored else {"v": "variance"}
    return Asked("adafactor_clamped", {**_options(group, decay), "factored": factored}, settings, names)


def _muon(group: Group, p: Tensor, state: Mapping[str, Any]) -> Asked:
    decay, strength = _decay(group, decoupled=True)
    rows, columns = p.shape
    coefficients = dict(zip(("ns_a", "ns_b", "ns_c"), map(_number, group["ns_coefficients"]), strict=True))
    by_rms = group["adjust_lr_fn"] == "match_rms_adamw"
    settings = {
        "eta": _number(group["lr"]), "mu": _number(group["momentum"]), "eps": _number(group["eps"]), **coefficients,
        "rows": float(rows), "columns": float(columns), "rms": 0.2 if by_rms else 1.0, **strength,
    }  # fmt: skip
    options: dict[str, bool | str | int] = {
        "steps": int(group["ns_steps"]), "tall": rows > columns, "nesterov": bool(group["nesterov"]),
        "bfloat16": True, "scale": "larger" if by_rms else "rows", "decay": decay,
    }  # fmt: skip
    return Asked("muon", options, settings, {"b": "momentum_buffer"})


def _lion(group: Group, p: Tensor, state: Mapping[str, Any]) -> Asked:
    decay, strength = _decay(group, decoupled=True)
    beta1, beta2 = map(_number, group["betas"])
    settings = {"eta": _number(group["lr"]), "beta1": beta1, "beta2": beta2, **strength}
    return Asked("lion", {"decay": decay, "maximize": bool(group.get("maximize"))}, settings, {"m": "exp_avg"})


def _lamb(group: Group, p: Tensor, state: Mapping[str, Any]) -> Asked:
    strength = _number(group.get("weight_decay", 0.0))
    settings = _moments(group, {"lambda": strength} if strength else {})
    # The ratio of the paper has no factor, and no ε in its divisor.
    settings |= {"c": 1.0, "trust_eps": 0.0}
    # The decay is in the step, as of optax, which the rule calls decoupled.
    decay = "decoupled" if strength else "none"
    return Asked("lamb", {"decay": decay}, settings, {"m": "exp_avg", "v": "exp_avg_sq"})


#: Rules of which PyTorch has no optimizer, by name: of the settings lr, betas, eps and weight_decay.
NAMED: Mapping[str, Callable[[Group, Tensor, Mapping[str, Any]], Asked]] = {"lion": _lion, "lamb": _lamb}
#: The rule of each class, given a parameter's settings, the parameter and its state.
RULES: Mapping[type[torch.optim.Optimizer], Callable[[Group, Tensor, Mapping[str, Any]], Asked]] = {
    optim.SGD: _sgd,
    optim.Adam: _adam,
    optim.AdamW: _adam,
    optim.NAdam: _nadam,
    optim.Adamax: _adamax,
    optim.RAdam: _radam,
    optim.Adagrad: _adagrad,
    optim.Adadelta: _adadelta,
    optim.RMSprop: _rmsprop,
    optim.Rprop: _rprop,
    optim.Adafactor: _adafactor,
    optim.Muon: _muon,
}
