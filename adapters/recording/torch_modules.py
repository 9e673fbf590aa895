"""A module as a function of its parameters, which stay in its place for as long as a backward pass may read them."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor, nn

#: By the id of each module that has been given tensors in this run what puts its own back; None outside of a run.
_GIVEN: ContextVar[dict[int, Callable[[], None]] | None] = ContextVar("given", default=None)


@contextmanager
def in_place() -> Iterator[None]:
    """A run of a function and of its backward pass: what a module is given stays until it is over.

    A backward pass may run the module again (`torch.utils.checkpoint`), or read it (a hook, a reversible layer), and
    means the parameters that the forward pass had.
    """
    given: dict[int, Callable[[], None]] = {}
    token = _GIVEN.set(given)
    try:
        yield
    finally:
        _GIVEN.reset(token)
        for back in given.values():
            back()


def module_function(module: nn.Module) -> tuple[Callable[..., Any], dict[str, Tensor]]:
    """A module as a function of its parameters, by name, and of its inputs: `f(parameters, *inputs)`, and these.

    Its inputs are called what `forward` calls them. Its buffers are copied for every call, so that running it leaves
    the module as it was.
    """
    parameters = {name: p.detach().requires_grad_(p.requires_grad) for name, p in module.named_parameters()}
    scripted = any(isinstance(m, torch.jit.ScriptModule) for m in module.modules())

    def call(parameters: Mapping[str, Tensor], *inputs: Any) -> Any:
        given = None if torch.compiler.is_compiling() or scripted else _GIVEN.get()
        if given is not None and (back := given.pop(id(module), None)):
            back()
        buffers = {name: b.detach().clone() for name, b in module.named_buffers()}
        if given is None:
            return torch.func.functional_call(module, {**parameters, **buffers}, inputs)
        given[id(module)] = _put(module, {**parameters, **buffers})
        return module(*inputs)

    call.__name__ = type(module).__name__
    own = list(inspect.signature(call).parameters.values())[:1]
    with suppress(TypeError, ValueError):  # no signature, or an input that is called `parameters`, too
        inputs = inspect.signature(module.forward).parameters.values()
        call.__signature__ = inspect.Signature([*own, *inputs])  # type: ignore[attr-defined]
    return call, parameters


def copied(module: nn.Module) -> nn.Module:
    """A copy of a module, where PyTorch copies none for what it has computed and holds: a weight of `weight_norm`."""
    held = [x for m in module.modules() for x in vars(m).values() if isinstance(x, Tensor) and not x.is_leaf]
    return copy.deepcopy(module, {id(x): x.detach().clone() for x in held})


def _put(module: nn.Module, given: Mapping[str, Tensor]) -> Callable[[], None]:
    """Put tensors, by name, in the place of a module's own, wherever it has these; what puts its own back."""
    own = {**dict(module.named_parameters()), **dict(module.named_buffers())}
    new = {id(own[name]): x for name, x in given.items()}
    stores: list[dict[str, Any]] = [store for m in module.modules() for store in (m._parameters, m._buffers)]
    before = [(store, key, x) for store in stores for key, x in store.items() if id(x) in new]
    for store, key, x in before:
        store[key] = new[id(x)]

    def back() -> None:
        for store, key, x in before:
            store[key] = x

    return back
