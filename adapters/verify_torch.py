"""What `verify` needs of PyTorch: a function and arguments to record, in the dtype that is asked for."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from gradconform.adapters.record_torch import module_function, record

FRAMEWORK = "torch"


def prepared(f: Any, args: Sequence[Any], dtype: str | None) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    """A function and its arguments: of a module its parameters, by name, before its inputs; cast, where asked for.

    What is cast are copies: the module and the tensors stay as they are.
    """
    to = None if dtype is None else getattr(torch, dtype)
    if isinstance(f, nn.Module):
        function, parameters = module_function(f if to is None else copy.deepcopy(f).to(to))
        args = (parameters, *args)
        f = function

    def cast(x: Any) -> Any:
        return x.to(to) if isinstance(x, Tensor) and x.is_floating_point() else x

    return f, tuple(args) if to is None else tuple(pytree.tree_map(cast, tuple(args)))


__all__ = ["FRAMEWORK", "prepared", "record"]
