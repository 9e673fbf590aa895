"""What PyTorch has beside its optimizers, and what is said of it: clips, averages, loss scaling.

A clip is a function of the parameters whose gradients it changes, `functools.partial` of PyTorch's own with its
settings; the norm that it returns is judged, too. An average is a `torch.optim.swa_utils.AveragedModel` of
them. A `torch.amp.GradScaler` goes with an optimizer.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.amp import GradScaler
from torch.nn.utils import clip_grad_norm_, clip_grad_value_
from torch.optim import lr_scheduler
from torch.optim.swa_utils import AveragedModel

from gradconform.adapters.recording.torch_asked import argument_ids
from gradconform.adapters.recording.torch_memory import numbers
from gradconform.adapters.recording.torch_mode import Recorder
from gradconform.adapters.recording.torch_rules import RULES as OPERATIONS
from gradconform.adapters.updates import OWN, Asked, Change, Recorded
from gradconform.reference.cases import BadInput, said
from gradconform.reference.programs.record import Ids

Act = Callable[[], Any]
#: The name of a norm that a clip returns, as a tensor of its own.
NORM = "norm"


def recorded(parameters: Sequence[Tensor], act: Act, tensors: Callable[[Tensor], Mapping[str, Tensor]]) -> (
    list[Recorded]
):  # fmt: skip
    """What `act` does, recorded: for each parameter, whose `tensors` are looked at before and after.

    A gradient that is changed in place is there under "clipped".
    """
    recorder = Recorder(OPERATIONS)
    recorder.backward = True  # nothing differentiates this: what is detached is not to be noted
    recorder.strict = True
    given: list[dict[str, Ids]] = []
    for p in parameters:
        ids = {k: _given(recorder, k, x) for k, x in tensors(p).items()}
        if p.grad is not None:
            ids["gradient"] = argument_ids(recorder, p.grad)
        given.append(ids)
    with recorder:
        act()
    found = []
    for p, before in zip(parameters, given, strict=True):
        after = dict(tensors(p)) | ({} if p.grad is None else {"clipped": p.grad})
        results = {k: recorder.memory.ids(x) for k, x in after.items()}
        found.append(Recorded(recorder.record, before, results, tuple(recorder.foreign)))
    return found


def _given(recorder: Recorder, name: str, x: Tensor) -> Ids:
    """The ids of a weight or of its state; the number of updates is a constant, which Python may read."""
    if name != "step" or x.ndim:
        return argument_ids(recorder, x)
    ids = recorder.record.new(x.shape, numbers(x))
    recorder.memory.put(x, ids)
    return ids


# Clipping -------------------------------------------------------------------------------------------------------------


def clip_of(make: Any) -> Mapping[str, Any] | None:
    """What one of PyTorch's clips is given, by the names of its parameters; None for what is none."""
    if not isinstance(make, partial) or make.func not in (clip_grad_norm_, clip_grad_value_):
        return None
    try:
        bound = inspect.signature(make.func).bind((), *make.args, **make.keywords)
    except TypeError as error:
        raise BadInput(f"{make.func.__name__}: {error}") from error
    bound.apply_defaults()
    return bound.arguments


def clipped(make: Any, clip: Mapping[str, Any], names: Sequence[str], parameters: Sequence[Tensor],
            injected: Iterator[None]) -> Iterator[Change]:  # fmt: skip
    """What `make` does to the gradients that are `injected`, one update after the other; it should be the `clip`."""
    own = clip_of(make) is None
    for number, _ in enumerate(injected, 1):
        given = [n for n, p in enumerate(parameters) if p.grad is not None]
        before = [numbers(_gradient(parameters[n])).copy() for n in given]
        dtypes = [_dtype(_gradient(parameters[n])) for n in given]
        again = _again(make, parameters) if own else None
        norm = _run(number, "the clip", lambda: make(parameters))
        shown = "clip_value" not in clip and isinstance(norm, Tensor) and norm.ndim == 0
        for n, at in enumerate(given):
            others = [m for m in range(len(given)) if m != n]
            beside = {f"dE/dw{i}": (before[m], dtypes[m]) for i, m in enumerate(others, 2)}
            if shown and n == 0:
                yield _norm(clip, number, before[0], dtypes[0], norm, beside, own)
            if shown or "clip_value" in clip:
                beside = {NORM: (numbers(norm), _dtype(norm))} if shown else {}
            p, g = parameters[at], _gradient(parameters[at])
            w = numbers(p)
            yield Change(
                names[at], number, before[n], {"w": w}, {"w": w, "clipped": numbers(g).copy()},
                {"w": _dtype(p), "gradient": dtypes[n], "clipped": _dtype(g), **{k: d for k, (_, d) in beside.items()}},
                _asked(clip, len(given), shown), None if again is None else partial(again, at),
                route=OWN if own else _route(clip), theirs=not own, beside={k: x for k, (x, _) in beside.items()},
            )  # fmt: skip


def _gradient(p: Tensor) -> Tensor:
    assert p.grad is not None
    return p.grad


def _dtype(x: Tensor) -> str:
    return str(x.dtype).rpartition(".")[2]


def _order(clip: Mapping[str, Any]) -> str:
    order = float(clip["norm_type"])
    if order not in (2.0, float("inf")):
        raise BadInput(f"norm_type={clip['norm_type']!r}: expected 2 or inf; of other norms no rule is known")
    return "inf" if order > 2 else "2"


def _asked(clip: Mapping[str, Any], tensors: int, shown: bool) -> Asked:
    if "clip_value" in clip:
        return Asked("clip_by_value", {}, {"c": float(clip["clip_value"])}, {"clipped": "clipped"})
    options: dict[str, bool | str | int] = {"tensors": tensors, "order": _order(clip), "shown": shown, "epsilon": True}
    return Asked("clip_by_norm", options, {"c": float(clip["max_norm"]), "eps": 1e-6}, {"clipped": "clipped"})


def _norm(clip: Mapping[str, Any], number: int, gradient: Any, dtype: str, norm: Tensor, beside: Mapping[str, Any],
          own: bool) -> Change:  # fmt: skip
    """The norm that a clip has returned."""
    asked = Asked("total_norm", {"tensors": 1 + len(beside), "order": _order(clip)}, {}, {"total": NORM})
    found = numbers(norm).copy()
    return Change(
        NORM, number, gradient, {"w": gradient}, {"w": gradient, NORM: found},
        {"w": dtype, "gradient": dtype, NORM: _dtype(norm), **{k: d for k, (_, d) in beside.items()}}, asked,
        route=OWN if own else _route(clip), theirs=not own, beside={k: x for k, (x, _) in beside.items()},
    )  # fmt: skip


def _route(clip: Mapping[str, Any]) -> str:
    return "single" if clip["foreach"] is False else "foreach"


def _again(act: Callable[[Any], Any], parameters: Sequence[Tensor]) -> Callable[[int], Recorded]:
    """The record of what is done to the parameters' gradients, as these stand."""
    copies = [torch.nn.Parameter(p.detach().clone()) for p in parameters]
    for p, q in zip(parameters, copies, strict=True):
        q.grad = None if p.grad is None else p.grad.clone()
    found: list[Recorded] = []

    def again(number: int) -> Recorded:
        if not found:
            found.extend(recorded(copies, lambda: act(copies), lambda p: {"w": p}))
        return found[number]

    return again


# Averages of weights --------------------------------------------------------------------------------------------------


def averages(x: Any) -> bool:
    """Whether x averages weights, as an AveragedModel does."""
    return callable(getattr(x, "update_parameters", None)) and callable(getattr(x, "parameters", None))


def averaged(average: Any, like: Any, names: Sequence[str], parameters: Sequence[Tensor], given: Iterator[None]) -> (
    Iterator[Change]
):  # fmt: skip
    """What an average makes of the weights that are `given`, as if they were gradients; it should be as `like`."""
    model = torch.nn.ParameterList(parameters)
    own = type(average) is not AveragedModel
    for number, _ in enumerate(given, 1):
        with torch.no_grad():
            for p in parameters:
                p.copy_(_gradient(p))
        averages_ = list(average.parameters())
        before = [numbers(a).copy() for a in averages_]
        again = _again_averaged(average, parameters) if own else None
        _run(number, "update_parameters", lambda: average.update_parameters(model))
        for n, (name, p, a) in enumerate(zip(names, parameters, averages_, strict=True)):
            w = numbers(p).copy()
            yield Change(
                name, number, w, {"w": w, "average": before[n]}, {"w": w, "average": numbers(a).copy()},
                {"w": _dtype(p), "gradient": _dtype(p), "average": _dtype(a)}, _of_average(like, number),
                None if again is None else partial(again, n), route=OWN if own else "foreach", theirs=not own,
            )  # fmt: skip


def _of_average(like: Any, number: int) -> Asked | None:
    """The rule of an AveragedModel: of its function, which holds β, or without one the mean."""
    f: Any = getattr(like, "multi_avg_fn", None) or getattr(like, "avg_fn", None)
    of = getattr(f, "__qualname__", "get_swa_avg_fn" if type(like) is AveragedModel else "").partition(".")[0]
    first, names = number == 1, {"a": "average"}
    if of in ("get_swa_avg_fn", "get_swa_multi_avg_fn"):
        return Asked("mean", {"first": first}, {}, names)
    if of in ("get_ema_avg_fn", "get_ema_multi_avg_fn"):
        return Asked(
            "ema",
            {"first": first},
            {"beta": float(inspect.getclosurevars(inspect.unwrap(f)).nonlocals["decay"])},
            names,
        )
    return None


def _again_averaged(average: Any, parameters: Sequence[Tensor]) -> Callable[[int], Recorded]:
    kept = copy.deepcopy(average)
    copies = [torch.nn.Parameter(p.detach().clone()) for p in parameters]
    model, theirs = torch.nn.ParameterList(copies), list(kept.parameters())

    def again(number: int) -> Recorded:
        of = {id(p): a for p, a in zip(copies, theirs, strict=True)}
        act = partial(kept.update_parameters, model)
        return recorded(copies, act, lambda p: {"w": p, "average": of[id(p)]})[number]

    return again


# Loss scaling ---------------------------------------------------------------------------------------------------------


def scales(x: Any) -> bool:
    """Whether x scales losses, as a GradScaler does."""
    return all(callable(getattr(x, name, None)) for name in ("scale", "unscale_", "get_scale", "update"))


def finite(parameters: Sequence[Tensor]) -> bool:
    """Whether all gradients are."""
    return all(bool(torch.isfinite(p.grad).all()) for p in parameters if p.grad is not None)


def unscaled(scaler: Any, optimizer: Any, number: int, names: Sequence[str], parameters: Sequence[Tensor]) -> (
    Iterator[Change]
):  # fmt: skip
    """What a scaler makes of the gradients of a loss that it has scaled."""
    if number == 1:
        scaler.scale(torch.zeros(()))  # which makes the scale
    before = [None if p.grad is None else numbers(p.grad).copy() for p in parameters]
    settings, own = {"s": float(scaler.get_scale())}, type(scaler) is not GradScaler
    _run(number, "unscale_", lambda: scaler.unscale_(optimizer))
    for name, p, g in zip(names, parameters, before, strict=True):
        if g is not None:
            w, dtype = numbers(p).copy(), _dtype(p)
            dtypes = {"w": dtype, "gradient": dtype, "clipped": _dtype(_gradient(p))}
            asked = Asked("unscale", {}, settings, {"clipped": "clipped"})
            yield Change(name, number, g, {"w": w}, {"w": w, "clipped": numbers(_gradient(p)).copy()}, dtypes, asked,
                         route=OWN if own else "scaler", theirs=not own)  # fmt: skip


def without_update(asked: Asked | None, state: Mapping[str, Any]) -> Asked:
    """What becomes of a tensor whose update is left out; `state` is what it has."""
    names = {part: theirs for part, theirs in (asked.state if asked else {}).items() if theirs in state}
    return Asked("skipped", {"parts": " ".join(names)}, {}, names, asked.start if asked else {})


def rescaled(scaler: Any, number: int, found: bool) -> Change:
    """What becomes of the scale, and of how many updates in a row were made."""

    def state() -> dict[str, Any]:
        return {
            "scale": np.asarray(float(scaler.get_scale())),
            "count": np.asarray(float(scaler._get_growth_tracker())),
        }

    before = state()
    _run(number, "update", scaler.update)
    grows = not found and before["count"] + 1 == scaler.get_growth_interval()
    settings = {"growth": float(scaler.get_growth_factor()), "backoff": float(scaler.get_backoff_factor())}
    asked = Asked("loss_scale", {"found": found, "grows": bool(grows)}, settings, {"s": "scale", "count": "count"})
    w = {"w": before["scale"]}
    dtypes = dict.fromkeys(("w", "gradient", "scale", "count"), "float32")
    return Change("scale", number, before["scale"], {**w, **before}, {**w, **state()}, dtypes, asked,
                  route="scaler", theirs=type(scaler) is GradScaler)  # fmt: skip


# Schedules ------------------------------------------------------------------------------------------------------------


def schedules(x: Any) -> bool:
    """Whether x sets η, as a scheduler does."""
    return callable(getattr(x, "get_last_lr", None)) and callable(getattr(x, "step", None))


def rescheduled(scheduler: Any, like: Any, optimizer: Any, number: int) -> Iterator[Change]:
    """What a schedule makes of η after an update, for each group of parameters; it should be as `like` would."""
    before = [np.asarray(float(g["lr"])) for g in optimizer.param_groups]
    _run(number, "the scheduler's step", scheduler.step)
    for n, (group, eta) in enumerate(zip(optimizer.param_groups, before, strict=True)):
        asked = _of_schedule(like, number, float(like.base_lrs[n]))
        if asked is not None:
            name, now = ("η" if len(before) == 1 else f"η[{n}]"), np.asarray(float(group["lr"]))
            dtypes = dict.fromkeys(("w", "gradient", "eta"), "float64")
            yield Change(name, number, eta, {"w": eta, "eta": eta}, {"w": eta, "eta": now}, dtypes, asked,
                         route="single" if scheduler is like else OWN, theirs=scheduler is like)  # fmt: skip


def _of_schedule(like: Any, t: int, eta0: float) -> Asked | None:
    """The rule of a schedule after t updates; None where none is known, and η is what it says."""
    names, base = {"eta": "eta"}, {"eta0": eta0}
    if type(like) is lr_scheduler.StepLR:
        n, rest = divmod(t, like.step_size)
        return Asked("step", {"drops": not rest}, {**base, "gamma": float(like.gamma), "n": float(n)}, names)
    if type(like) is lr_scheduler.ExponentialLR:
        return Asked("step", {"drops": True}, {**base, "gamma": float(like.gamma), "n": float(t)}, names)
    if type(like) is lr_scheduler.LinearLR:
        of = {"a": float(like.start_factor), "b": float(like.end_factor), "T": float(like.total_iters), "t": float(t)}
        return Asked("linear", {"ended": t > like.total_iters}, {**base, **of}, names)
    if type(like) is lr_scheduler.CosineAnnealingLR:
        of = {"m": float(like.eta_min), "T": float(like.T_max), "t": float(t)}
        return Asked("cosine", {"turns": (t - 1 - like.T_max) % (2 * like.T_max) == 0}, {**base, **of}, names)
    return None


def _run(number: int, what: str, act: Act) -> Any:
    try:
        return act()
    except Exception as error:  # whatever the user's program raises
        raise BadInput(f"update {number}: {what} raised {type(error).__name__}: {said(error)}") from error


__all__ = [
    "averaged", "averages", "clip_of", "clipped", "finite", "recorded", "rescaled", "rescheduled", "scales",
    "schedules", "unscaled", "without_update",
]  # fmt: skip
