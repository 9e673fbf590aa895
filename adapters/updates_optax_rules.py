"""The rules that optax' transformations are: a chain of parts, each with its name and the settings that it holds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from gradconform.adapters.updates import Asked


@dataclass(frozen=True)
class Part:
    """One part of a chain: the function that made it, and what that was given."""

    name: str
    settings: Mapping[str, Any]


def parts_of(transformation: Any) -> list[Part]:
    """The parts of a transformation, in their order; what a function does that is none of optax' own is one part."""
    return list(_parts(transformation.update))


def _parts(update: Any) -> list[Part]:
    held = _held(update)
    name = getattr(update, "__qualname__", "").partition(".<locals>")[0]
    if not getattr(update, "__module__", "").startswith("optax."):
        return [Part("unknown", {})]
    if name == "with_extra_args_support":
        return _parts(held["tx"].update)
    if name == "chain":
        return [p for f in held["update_fns"] for p in _parts(f)]
    if name == "identity":
        return []
    if name == "partition":
        return [Part(name, held)]
    if "mask" in held:
        return _parts(held["inner"].update) if held["mask"] is True else [Part("masked", held)]
    return [Part(name, held)]


def part_of_tensor(parts: Sequence[Part], labelled: Callable[[Any], Sequence[str]]) -> Callable[[int], list[Part]]:
    """The parts of each array: of a partition those of the array's label, as `labelled` gives them for all."""
    if len(parts) != 1 or parts[0].name != "partition":
        return lambda n: list(parts)
    held = parts[0].settings
    labels = labelled(held["param_labels"])
    return lambda n: _parts(held["transforms"][labels[n]].update)


def _held(f: Any) -> dict[str, Any]:
    """What a function holds of the function that made it."""
    code, cells = getattr(f, "__code__", None), getattr(f, "__closure__", None) or ()
    if code is None:
        return {}
    found = {}
    for name, cell in zip(code.co_freevars, cells, strict=True):
        try:
            found[name] = cell.cell_contents
        except ValueError:  # not filled
            continue
    return found


def rule_of(parts: Sequence[Part], number: int, shape: tuple[int, ...] = ()) -> Asked | None:
    """The rule that a chain is in update `number`, from 1, of an array of this shape; None where none is known."""
    clips = [p for p in parts[:1] if p.name in _CLIPS]
    if clips:
        threshold, clip = _CLIPS[clips[0].name]
        found = rule_of(parts[1:], number, shape)
        c = clips[0].settings[threshold]
        settings = {**found.settings, "c": float(c)} if found else {}
        return None if found is None or found.clip else replace(found, settings=settings, clip=clip)
    if parts and parts[0].name == "scale_by_factored_rms":
        return _adafactor(parts, number, shape)
    if parts and parts[0].name == "scale_by_muon":
        return _muon(parts, number, shape)
    rest = list(parts)
    eta = -1.0  # what nothing scales is added
    trace = None
    if rest and rest[-1].name == "trace" and len(rest) > 1:  # momentum after η, as RMSprop has it
        trace = rest.pop()
    if rest and rest[-1].name in ("scale", "scale_by_schedule"):
        eta = -rate_of(rest.pop(), number)
    trust = rest.pop() if rest and rest[-1].name == "scale_by_trust_ratio" else None
    before = [p for p in rest[:1] if p.name == "add_decayed_weights"]
    after = [p for p in rest[1:] if p.name == "add_decayed_weights" and p is rest[-1]]
    core = [p for p in rest if p not in (*before, *after)]
    if len(core) > 1 or not _plain([*before, *after]):
        return None
    strength = sum(float(p.settings["weight_decay"]) for p in (*before, *after))
    decay = "none" if not strength else "coupled" if before and core else "decoupled"
    if before and not core and strength:
        decay = "coupled"
    common: dict[str, float] = {"eta": eta, **({"lambda": strength} if strength else {})}
    of = _RULES.get(core[0].name if core else "")
    if of is None or (before and after):
        return None
    if trust is not None:
        return _trusted(trust.settings, of(core[0].settings if core else {}, decay, common, None, number), trace)
    return of(core[0].settings if core else {}, decay, common, trace, number)


def rate_of(part: Part, number: int) -> float:
    if part.name == "scale":
        return float(part.settings["step_size"])
    return float(part.settings["step_size_fn"](number - 1))


def _plain(parts: Sequence[Part]) -> bool:
    """Whether decays are numbers, of all weights."""
    return all(isinstance(p.settings.get("weight_decay"), int | float) for p in parts)


#: What clips gradients: what its threshold is called, and by what it clips.
_CLIPS = {"clip": ("max_delta", "value"), "clip_by_global_norm": ("max_norm", "norm")}
Settings = Mapping[str, Any]
Of = Callable[[Settings, str, dict[str, float], Part | None, int], Asked | None]


def _sgd(s: Settings, decay: str, common: dict[str, float], trace: Part | None, number: int) -> Asked | None:
    return None if trace else Asked("sgd", {"decay": decay}, common)


def _momentum(s: Settings, decay: str, common: dict[str, float], trace: Part | None, number: int) -> Asked | None:
    if trace:
        return None
    options: dict[str, bool | str] = {"momentum": True, "nesterov": bool(s["nesterov"]), "decay": decay}
    return Asked("sgd", options, {**common, "mu": float(s["decay"]), "tau": 0.0}, {"b": "trace"})


def _adam(s: Settings, decay: str, common: dict[str, float], trace: Part | None, number: int) -> Asked | None:
    if trace:
        return None
    if s["nesterov"]:
        return _nadam(s, decay, common)
    return _of_adam(s, decay, common, {}, {"m": "mu", "v": "nu"})


def _amsgrad(s: Settings, decay: str, common: dict[str, float], trace: Part | None, number: int) -> Asked | None:
    if trace:
        return None
    return _of_adam(s, decay, common, {"amsgrad": "after"}, {"m": "mu", "v": "nu", "vmax": "nu_max"})


def _of_adam(
    s: Settings, decay: str, common: dict[str, float], options: dict[str, bool | str], names: dict[str, str]
) -> Asked:
    settings, root = _betas(s, common), float(s["eps_root"])
    if root:
        settings["eps_root"] = root
    return Asked("adam", {**options, "decay": decay, "root": bool(root)}, settings, names)


def _nadam(s: Settings, decay: str, common: dict[str, float]) -> Asked | None:
    if float(s["eps_root"]):
        return None
    return Asked("nadam", {"scheduled": False, "decay": decay}, _betas(s, common), {"m": "mu", "v": "nu"})


def _betas(s: Settings, common: dict[str, float]) -> dict[str, float]:
    return {**common, "beta1": float(s["b1"]), "beta2": float(s["b2"]), "eps": float(s.get("eps", 0.0))}


def _adamax(s: Settings, decay: str, common: dict[str, float], trace: Part | None, number: int) -> Asked | None:
    return None if trace else Asked("adamax", {"decay": decay}, _betas(s, common), {"m": "mu", "u": "nu"})


def _radam(s: Settings, decay: str, common: dict[str, float], trace: Part | None, number: int) -> Asked | None:
    inner = _held(s["_radam_update"])
    if trace or s["nesterov"] or float(inner["eps_root"]):
        return None
    settings, t = {**_betas(s, common), "eps": float(inner["eps"])}, number
    beta2 = settings["beta2"]
    length = 2 / (1 - beta2) - 1 - 2 * t * beta2**t / (1 - beta2**t) if beta2 < 1 else 0.0
    options: dict[str, bool | str] = {"rectified": length >= float(s["threshold"]), "epsilon": "hat", "decay": decay}
    return Asked("radam", options, settings, {"m": "mu", "v": "nu"})


def _adagrad(s: Settings, decay: str, common: dict[str, float], trace: Part | None, number: int) -> Asked | None:
    if trace:
        return None
    settings = {**common, "eps": float(s["eps"])}
    return Asked("adagrad", {"epsilon": "inside", "decay": decay}, settings, {"s": "sum_of_squares"})


def _adadelta(s: Settings, decay: str, common: dict[str, float], trace: Part | None, number: int) -> Asked | None:
    if trace:
        return None
    settings = {**common, "rho": float(s["rho"]), "eps": float(s["eps"])}
    return Asked("adadelta", {"decay": decay}, settings, {"v": "e_g", "u": "e_x"})


def _trusted(s: Settings, asked: Asked | None, trace: Part | None) -> Asked | None:
    """Of Adam's direction Lamb, of the gradient LARS."""
    if asked is None or float(s["min_norm"]):
        return None
    settings = {**asked.settings, "c": float(s["trust_coefficient"]), "trust_eps": float(s["eps"])}
    decay = asked.options["decay"]
    if asked.rule == "adam" and trace is None and decay != "coupled" and "amsgrad" not in asked.options:
        return replace(asked, rule="lamb", options={"decay": decay, "root": asked.options["root"]}, settings=settings)
    if asked.rule == "sgd" and trace is not None and decay != "decoupled":
        settings["mu"] = float(trace.settings["decay"])
        options = {"decay": decay, "nesterov": bool(trace.settings["nesterov"])}
        return replace(asked, rule="lars", options=options, settings=settings, state={"b": "trace"})
    return None


def _ema(s: Settings, decay: str, common: dict[str, float], trace: Part | None, number: int) -> Asked | None:
    if trace:
        return None
    options: dict[str, bool | str | int] = {"corrects": bool(s["debias"]), "decay": decay}
    return Asked("averaged_gradient", options, {**common, "beta": float(s["decay"])}, {"m": "ema"})


def _rms(s: Settings, decay: str, common: dict[str, float], trace: Part | None, number: int) -> Asked | None:
    options: dict[str, bool | str] = {
        "epsilon": "inside" if s["eps_in_sqrt"] else "outside", "decay": decay, "corrected": bool(s["bias_correction"]),
    }  # fmt: skip
    settings, names = {**common, "alpha": float(s["decay"]), "eps": float(s["eps"])}, {"v": "nu"}
    if trace:
        options["momentum"] = "nesterov" if trace.settings["nesterov"] else "after"
        settings["mu"], names["b"] = float(trace.settings["decay"]), "trace"
    return Asked("rmsprop", options, settings, names)


def _stddev(s: Settings, decay: str, common: dict[str, float], trace: Part | None, number: int) -> Asked | None:
    asked = _rms(s, decay, common, trace, number)
    return asked and replace(asked, options={**asked.options, "centred": True}, state={**asked.state, "a": "mu"})


def _lion(s: Settings, decay: str, common: dict[str, float], trace: Part | None, number: int) -> Asked | None:
    if trace or s.get("mode", "hard") != "hard":
        return None
    settings = {**common, "beta1": float(s["b1"]), "beta2": float(s["b2"])}
    return Asked("lion", {"decay": decay}, settings, {"m": "mu"})


def _rprop(s: Settings, decay: str, common: dict[str, float], trace: Part | None, number: int) -> Asked | None:
    if trace or decay != "none" or common["eta"] != 1.0:
        return None
    settings = {**common, "eta_plus": float(s["eta_plus"]), "eta_minus": float(s["eta_minus"]),
                "s_min": float(s["min_step_size"]), "s_max": float(s["max_step_size"])}  # fmt: skip
    return Asked("rprop", {"moves": True}, settings, {"s": "step_sizes", "b": "prev_updates"})


def _adafactor(parts: Sequence[Part], number: int, shape: tuple[int, ...]) -> Asked | None:
    """Adafactor, of an array that it factors by its two largest axes, or does not."""
    of, rest = parts[0].settings, [p.name for p in parts[1:]]
    by = {p.name: p.settings for p in parts[1:]}
    known = ("clip_by_block_rms", "scale", "scale_by_schedule", "scale_by_param_block_rms", "ema",
             "add_decayed_weights")  # fmt: skip
    if not rest or rest[-1] != "scale" or float(parts[-1].settings["step_size"]) != -1.0:
        return None
    order = [known.index(n) if n in known else -1 for n in rest[:-1]]
    if order != sorted(set(order)) or -1 in order or of["decay_rate_fn"].__name__ != "_decay_rate_pow":
        return None
    rates = [p for p in parts[1:-1] if p.name in ("scale", "scale_by_schedule")]
    settings = {"eta": rate_of(rates[0], number) if rates else 1.0, "tau": -float(of["decay_rate"]),
                "eps1": float(of["epsilon"]), "t": float(number - of["step_offset"])}  # fmt: skip
    options: dict[str, bool | str | int] = {"factored": False, "clips": False, "scales": False}
    names = {"v": "v"}
    largest = sorted(range(len(shape)), key=lambda axis: shape[axis])
    if of["factored"] and len(shape) >= 2 and shape[largest[-2]] >= of["min_dim_size_to_factor"]:
        options |= {"factored": True, "rows": largest[-1], "columns": largest[-2]}
        names = {"row": "v_row", "col": "v_col"}
    if "clip_by_block_rms" in by:
        options["clips"], settings["d"] = True, float(by["clip_by_block_rms"]["threshold"])
    if "scale_by_param_block_rms" in by:
        options["scales"], settings["eps2"] = True, float(by["scale_by_param_block_rms"]["min_scale"])
    if "ema" in by:
        if by["ema"]["debias"]:
            return None
        options["momentum"], settings["mu"], names["m"] = True, float(by["ema"]["decay"]), "ema"
    if "add_decayed_weights" in by:
        if not isinstance(by["add_decayed_weights"]["weight_decay"], int | float):
            return None
        options["decay"], settings["lambda"] = True, float(by["add_decayed_weights"]["weight_decay"])
    return Asked("adafactor", options, settings, names)


def _muon(parts: Sequence[Part], number: int, shape: tuple[int, ...]) -> Asked | None:
    """Muon, of a matrix; the coefficients of its iteration are part of the state."""
    of, names = parts[0].settings, [p.name for p in parts]
    decays = [p for p in parts[2:] if p.name == "add_decayed_weights"]
    order = ["scale_by_muon", "scale_by_shape", *(p.name for p in decays), parts[-1].name]
    if names != order or len(shape) != 2 or len(decays) > 1 or not _plain(decays) or of["adaptive"]:
        return None
    if parts[-1].name not in ("scale", "scale_by_schedule") or of["preconditioning"] != "frobenius":
        return None
    by_rms = parts[1].settings["consistent_rms"]
    strength = float(decays[0].settings["weight_decay"]) if decays else 0.0
    settings = {
        "eta": -rate_of(parts[-1], number), "mu": float(of["beta"]), "eps": float(of["eps"]),
        "rows": float(shape[0]), "columns": float(shape[1]), "rms": 1.0 if by_rms is None else float(by_rms),
        **({"lambda": strength} if strength else {}),
    }  # fmt: skip
    options: dict[str, bool | str | int] = {
        "steps": int(of["ns_steps"]), "tall": shape[0] > shape[1], "nesterov": bool(of["nesterov"]), "corrects": True,
        "scale": "columns" if by_rms is None else "larger", "decay": "decoupled" if strength else "none",
    }  # fmt: skip
    return Asked("muon", options, settings, {"b": "mu"})


#: The rule of each part that scales updates; "" is that of none.
_RULES: Mapping[str, Of] = {
    "": _sgd,
    "trace": _momentum,
    "ema": _ema,
    "scale_by_adam": _adam,
    "scale_by_amsgrad": _amsgrad,
    "scale_by_adamax": _adamax,
    "scale_by_radam": _radam,
    "scale_by_rss": _adagrad,
    "scale_by_adadelta": _adadelta,
    "scale_by_rms": _rms,
    "scale_by_stddev": _stddev,
    "scale_by_lion": _lion,
    "scale_by_rprop": _rprop,
}
