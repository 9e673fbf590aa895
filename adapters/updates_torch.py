"""PyTorch's optimizers: given weights, gradients and state, what are the new weights and state?

Gradients are injected: written into the same tensors before every update, as training without `set_to_none` does, so
that a state that is an alias of a gradient shows.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property, partial
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from gradconform.adapters.recording.torch_memory import FORMAT, numbers, unreadable
from gradconform.adapters.updates import NO_NAMES, OWN, Asked, Change, Numbers, Recorded, none_named, renamed
from gradconform.adapters.updates_torch_beside import (
    averaged,
    averages,
    clip_of,
    clipped,
    finite,
    recorded,
    rescaled,
    rescheduled,
    scales,
    schedules,
    unscaled,
    without_update,
)
from gradconform.adapters.updates_torch_lbfgs import changes_of_lbfgs, is_lbfgs
from gradconform.adapters.updates_torch_rules import NAMED, RULES
from gradconform.reference.cases import BadInput, said, unknown

FRAMEWORK = "torch"
#: How entries of known deviations call what runs the optimizers.
ADAPTER = "torch"
#: Ways in which PyTorch's own optimizers run an update, and the settings that choose them.
ROUTES: Mapping[str, Mapping[str, bool]] = {
    "single": {"foreach": False, "fused": False, "capturable": False},
    "foreach": {"foreach": True, "fused": False},
    "fused": {"foreach": False, "fused": True},
    "capturable": {"capturable": True},
}
Make = Callable[[Sequence[Tensor]], Any]
Options = Mapping[str, Any]


def changes(
    make: Make,
    weights: Any,
    gradients: Iterable[Any],
    dtype: str | None,
    rule: Make | str | None,
    route: str = "",
    rates: Sequence[float] | None = None,
    named: Mapping[str, str] = NO_NAMES,
) -> Iterator[Change]:
    """Every tensor in every update of the optimizer that `make` makes of the weights, one update for each gradient.

    `rule` makes the optimizer that it is said to be, for one that is none of PyTorch's own, or is the name of a
    rule of which PyTorch has none. `route` is the way in which one of PyTorch's own is to run, by default the one that
    it was made for. `rates` are η in each update, where a schedule sets it. `named` gives for the rule's names of parts
    of the state those of the optimizer. The gradients may be made as they are asked for:
    the next one is when every change of the update before has been. Raises BadInput for what cannot be run.
    """
    if isinstance(rule, str) and rule not in NAMED:
        raise BadInput(f"rule is {rule!r}; expected a class of torch.optim, what makes one of its optimizers, or the "
                       f"name of a rule that it does not have: {', '.join(NAMED)}")  # fmt: skip
    names, tensors = _named(weights, dtype)
    parameters = [torch.nn.Parameter(x.detach().clone()) for x in tensors]
    clip = clip_of(make if rule is None else rule)
    if clip is not None:
        none_named(named, "a clip")
        _routed(make, route)
        yield from clipped(make, clip, names, parameters, _injected(gradients, names, parameters))
        return
    optimizer, scaler, scheduler = _made(make, parameters, "make")
    if averages(optimizer):
        none_named(named, "an average")
        _routed(optimizer, route)
        like = optimizer if rule is None else _made(rule, parameters, "rule").optimizer
        yield from averaged(optimizer, like, names, parameters, _injected(gradients, names, parameters))
        return
    optimizer = _routed(optimizer, route)
    like, schedule = optimizer, scheduler
    if isinstance(rule, str):
        like = rule
    elif rule is not None:
        like, _, of_rule = _made(rule, [torch.nn.Parameter(x.detach().clone()) for x in tensors], "rule")
        schedule = of_rule or schedule
    if is_lbfgs(like):
        none_named(named, "L-BFGS")
        if scaler is not None or rates is not None:
            raise BadInput("LBFGS: its step asks for a closure, which neither a scaler nor gc.train gives; expected it "
                           "alone or with a schedule, in verify_update")  # fmt: skip
        every = changes_of_lbfgs(optimizer, like, names, parameters, _injected(gradients, names, parameters))
        for change in every:
            yield change
            if scheduler is not None:
                yield from rescheduled(scheduler, schedule, optimizer, change.number)
        return
    if rule is not None and not isinstance(rule, str) and type(like) not in RULES:
        known = ", ".join([*(c.__name__ for c in RULES), "LBFGS"])
        raise BadInput(f"rule makes a {type(like).__name__}; expected one of {known}")
    taken = [0] * len(parameters)
    seen = [_state(optimizer, p) for p in parameters]
    for update, _ in enumerate(_injected(gradients, names, parameters)):
        if rates is not None:
            for group in optimizer.param_groups:
                group["lr"] = rates[update]
        leaves_out = scaler is not None and not finite(parameters)
        if scaler is not None:
            yield from unscaled(scaler, optimizer, update + 1, names, parameters)
        asked = [_asked(like, optimizer, n, p, taken[n], named) for n, p in enumerate(parameters)]
        copies = [None if p.grad is None else numbers(p.grad).copy() for p in parameters]
        again = None if leaves_out else _observed(optimizer, parameters)
        _step(optimizer, update, scaler)
        for n, (p, gradient) in enumerate(zip(parameters, copies, strict=True)):
            after = _state(optimizer, p)
            if gradient is not None:
                taken[n] += not leaves_out
                dtypes = _dtypes(optimizer, p)
                of = without_update(asked[n], after) if leaves_out else asked[n]
                yield Change(names[n], update + 1, gradient, seen[n], after, dtypes, of,
                             None if again is None else partial(again, n), _aliased(optimizer, p),
                             _route(optimizer, p), type(optimizer) in RULES)  # fmt: skip
            seen[n] = after
        if scaler is not None:
            yield rescaled(scaler, update + 1, leaves_out)
        if scheduler is not None:
            yield from rescheduled(scheduler, schedule, optimizer, update + 1)


# What is run ----------------------------------------------------------------------------------------------------------


def _named(weights: Any, dtype: str | None) -> tuple[list[str], list[Tensor]]:
    """The weights' names in their tree, and the tensors, cast where that is asked for."""
    if isinstance(weights, torch.nn.Module):
        weights = dict(weights.named_parameters())
    leaves = pytree.tree_flatten_with_path(weights)[0]
    found = []
    for path, x in leaves:
        name = pytree.keystr(path).strip(".") or "w"
        if not isinstance(x, Tensor) or x.dtype not in FORMAT:
            kind = x.dtype if isinstance(x, Tensor) else type(x).__name__
            raise BadInput(f"weights: {name} is {kind}; expected a tensor of {', '.join(map(str, FORMAT))}")
        if why := unreadable(x):
            raise BadInput(f"weights: {name} {why}")
        if not x.numel():
            raise BadInput(f"weights: {name} has no numbers; its shape is {tuple(x.shape)}")
        found.append((name, x if dtype is None else x.to(getattr(torch, dtype))))
    return [n for n, _ in found], [x for _, x in found]


class _Made(NamedTuple):
    """The optimizer, or the average of weights; what scales the loss and what sets η, where there is such a thing."""

    optimizer: Any
    scaler: Any = None
    scheduler: Any = None


def _made(make: Make | str, parameters: list[Any], what: str) -> _Made:
    if isinstance(make, str):
        raise BadInput(f"{what} is {make!r}, the rule of an optimizer; expected a function that makes an average")
    try:
        made = make(parameters)
    except Exception as error:  # whatever the user's function raises
        raise BadInput(f"{what} raised {type(error).__name__}: {said(error)}") from error
    optimizer, *beside = made if isinstance(made, tuple) and made else (made,)
    if not (averages(optimizer) or (hasattr(optimizer, "step") and hasattr(optimizer, "param_groups"))):
        raise BadInput(f"{what} gave a {type(optimizer).__name__}; expected a torch.optim.Optimizer of its "
                       "parameters, or (optimizer, scheduler)")  # fmt: skip
    for x in beside:
        if not (scales(x) or schedules(x)):
            raise BadInput(
                f"{what} gave a {type(x).__name__} with the optimizer; expected a GradScaler, an LRScheduler"
            )
    scaler, scheduler = (next((x for x in beside if of(x)), None) for of in (scales, schedules))
    return _Made(optimizer, scaler, scheduler)


def _routed(optimizer: Any, route: str) -> Any:
    """The optimizer, which is to run by this route."""
    if not route:
        return optimizer
    if route not in ROUTES:
        raise unknown("route", route, ROUTES)
    name = type(optimizer).__name__
    if type(optimizer) not in RULES and not is_lbfgs(optimizer):
        raise BadInput(f"route {route!r}: {name} is none of PyTorch's own optimizers and has but its own; leave it out")
    for setting in (s for s, on in ROUTES[route].items() if on and s not in optimizer.defaults):
        raise BadInput(f"route {route!r}: torch.optim.{name} has no setting {setting}; leave it out")
    for group in optimizer.param_groups:
        group.update({s: on for s, on in ROUTES[route].items() if s in group})
    return optimizer


def _gradients(tree: Any, names: Sequence[str], parameters: Sequence[Tensor], update: int) -> list[Tensor | None]:
    leaves = pytree.tree_leaves(tree, is_leaf=lambda x: x is None)
    if len(leaves) != len(parameters):
        raise BadInput(
            f"gradients[{update}] has {len(leaves)} tensors; the weights have {len(parameters)}: expected for each "
            "update a gradient for each of them, [[g, …]]"
        )
    found: list[Tensor | None] = []
    for name, g, p in zip(names, leaves, parameters, strict=True):
        if isinstance(g, Tensor) and (why := unreadable(g)):
            raise BadInput(f"gradients[{update}]: {name} {why}")
        if g is not None and tuple(np.shape(g)) != tuple(p.shape):
            raise BadInput(f"gradients[{update}]: {name} has shape {tuple(np.shape(g))}; the weight has "
                           f"{tuple(p.shape)}")  # fmt: skip
        found.append(None if g is None else torch.as_tensor(g).detach().to(p.dtype))
    return found


def _injected(gradients: Iterable[Any], names: Sequence[str], parameters: Sequence[Tensor]) -> Iterator[None]:
    """One update after the other, each with its gradients in the parameters."""
    for update, tree in enumerate(gradients):
        for p, g in zip(parameters, _gradients(tree, names, parameters, update), strict=True):
            _inject(p, g)
        yield


def _inject(p: Tensor, g: Tensor | None) -> None:
    if g is None or p.grad is None:
        p.grad = None if g is None else g.clone()
    else:
        p.grad.copy_(g)


def _step(optimizer: Any, update: int, scaler: Any) -> None:
    try:
        optimizer.step() if scaler is None else scaler.step(optimizer)
    except Exception as error:  # whatever an optimizer raises
        raise BadInput(f"update {update + 1}: step() raised {type(error).__name__}: {said(error)}") from error


def _observed(optimizer: Any, parameters: Sequence[Tensor]) -> _Again | None:
    """A copy to record an update by; None of PyTorch's own optimizer with what cannot be copied, such as a hook's."""
    try:
        return _Again(optimizer, parameters)
    except Exception:  # whatever an attribute raises that is copied
        if type(optimizer) not in RULES:
            raise
        return None


class _Again:
    """A copy of an optimizer and its parameters as they stood before an update, to record that."""

    def __init__(self, optimizer: Any, parameters: Sequence[Tensor]) -> None:
        # `Optimizer.__deepcopy__` leaves out what a subclass keeps beside its state.
        self.optimizer = object.__new__(type(optimizer))
        self.optimizer.__dict__, self.parameters = copy.deepcopy((optimizer.__dict__, parameters))
        self.optimizer.__dict__.pop("step", None)  # a scheduler's, which would go on stepping the original
        for p, q in zip(parameters, self.parameters, strict=True):
            q.grad = None if p.grad is None else p.grad.clone()

    def __call__(self, number: int) -> Recorded:
        """The record of the step, for one parameter."""
        return self._run[number]

    @cached_property
    def _run(self) -> list[Recorded]:
        return recorded(self.parameters, self.optimizer.step, partial(_tensors, self.optimizer))


def _tensors(optimizer: Any, p: Tensor) -> dict[str, Tensor]:
    """The weight and what of its state are numbers."""
    state = optimizer.state.get(p, {})
    return {"w": p, **{k: v for k, v in state.items() if isinstance(v, Tensor) and v.dtype in FORMAT}}


def _group(optimizer: Any, p: Tensor) -> dict[str, Any]:
    """The settings of a parameter, as they stand."""
    for group in optimizer.param_groups:
        if any(q is p for q in group["params"]):
            return {k: v for k, v in group.items() if k != "params"}
    raise BadInput("make: the optimizer was not given all of its parameters; expected make(parameters) to use them all")


def _route(optimizer: Any, p: Tensor) -> str:
    """By which of PyTorch's implementations a parameter is updated."""
    if type(optimizer) not in RULES:
        return OWN
    group = _group(optimizer, p)
    return next((way for way in ("fused", "foreach", "capturable") if group.get(way)), "single")


def _asked(like: Any, optimizer: Any, number: int, p: Tensor, taken: int, named: Mapping[str, str]) -> Asked | None:
    """The rule of a parameter, after so many updates: of an optimizer's own class, or of what it is said to be like."""
    of = NAMED[like] if isinstance(like, str) else RULES.get(type(like))
    if of is None:
        return None
    group = _group(optimizer, p)
    if like is not optimizer and not isinstance(like, str):
        # What it has no setting for is that of the optimizer that it is like.
        every = [q for g in like.param_groups for q in g["params"]]
        of_like = _group(like, every[number])
        _of_its_kinds(group, of_like, type(like).__name__)
        group = {**of_like, **group}
    # Where the state of another optimizer is there, as zeros, before its first update, that is its first all the same.
    state = optimizer.state.get(p, {}) if taken or like is optimizer else {}
    state = {**state, **{theirs: state[own] for theirs, own in named.items() if own in state}}
    try:
        asked = of(group, p, state)
    except KeyError as error:
        has = ", ".join(map(str, group)) or "none"
        raise BadInput(f"rule {like!r}: the optimizer has no setting {error}; it has {has}") from error
    except (TypeError, ValueError) as error:
        has = ", ".join(f"{k}={v!r}" for k, v in group.items())
        raise BadInput(f"the optimizer's settings are not those of the rule: {said(error)}; it has {has}") from error
    return renamed(replace(asked, settings={**asked.settings, "t": taken + 1.0}), named)


def _of_its_kinds(group: Mapping[str, Any], of_like: Mapping[str, Any], name: str) -> None:
    """Raise BadInput for a setting that has the name of one of the rule's, and is another kind of thing."""
    for setting, theirs in of_like.items():
        own = group.get(setting, theirs)
        several = [len(x) if isinstance(x, tuple | list) else 0 for x in (own, theirs)]
        if several[0] != several[1]:
            raise BadInput(f"the optimizer's setting {setting} is {own!r}, and that of torch.optim.{name} {theirs!r}; "
                           "expected one of the same kind, or of another name")  # fmt: skip


def _state(optimizer: Any, p: Tensor) -> dict[str, Numbers]:
    """The weight and its state, as float64 numbers."""
    return {k: numbers(x).copy() for k, x in _tensors(optimizer, p).items()}


def _dtypes(optimizer: Any, p: Tensor) -> dict[str, str]:
    named = {**_tensors(optimizer, p), "gradient": p if p.grad is None else p.grad}
    return {k: str(v.dtype).rpartition(".")[2] for k, v in named.items()}


def _aliased(optimizer: Any, p: Tensor) -> tuple[str, ...]:
    """What of the state shares memory with the gradient or the weight."""
    of = {"gradient": p.grad, "weight": p}
    return tuple(
        f"{k} shares its memory with the {what}"
        for k, v in optimizer.state.get(p, {}).items() if isinstance(v, Tensor)
        for what, x in of.items() if x is not None and v.numel() and v.data_ptr() == x.data_ptr()
    )  # fmt: skip


def array(numbers: Numbers) -> Tensor:
    """Numbers as a weight or gradient."""
    return torch.tensor(numbers)


def versions() -> dict[str, str]:
    """The framework's own versions."""
    return {"torch": torch.__version__}
