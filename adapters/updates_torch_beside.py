"""What PyTorch has beside its optimizers, and what is said of it: clipping of gradients.

A clip is a function of the parameters whose gradients it changes, `functools.partial` of PyTorch's own with its
settings; the norm that it returns is judged, too.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_, clip_grad_value_

from gradconform.adapters.recording.torch_asked import argument_ids
from gradconform.adapters.recording.torch_memory import FORMAT, numbers
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
    given: list[dict[str, Ids]] = []
    for p in parameters:
        ids = {k: argument_ids(recorder, x) for k, x in tensors(p).items()}
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
        try:
            norm = make(parameters)
        except Exception as error:  # whatever a clip raises
            raise BadInput(f"update {number}: the clip raised {type(error).__name__}: {said(error)}") from error
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
    options = {"tensors": tensors, "order": _order(clip), "shown": shown, "epsilon": True}
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


__all__ = ["FORMAT", "clip_of", "clipped", "recorded"]
