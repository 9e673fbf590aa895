"""What `verify` needs of PyTorch: a function and arguments to record, in the dtype that is asked for."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from gradconform.adapters.record_torch import module_function, record
from gradconform.adapters.record_torch_forward import record_forward

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


def gradient_of(f: Callable[..., Any], seed: int) -> Callable[..., Any]:
    """The gradient of f as a function of the same arguments, which can be differentiated once more.

    Of an f with several numbers in its result, that of their sum with random weights, which are the same every time.
    """

    @wraps(f)
    def gradient(*args: Any) -> list[Tensor]:
        asked = [x for x in pytree.tree_leaves(args) if isinstance(x, Tensor) and x.requires_grad]
        with torch.enable_grad():
            outputs = [y for y in pytree.tree_leaves(f(*args)) if isinstance(y, Tensor) and y.requires_grad]
            drawn = np.random.default_rng([seed, 2])
            weights = [torch.from_numpy(drawn.uniform(0.5, 2.0, tuple(y.shape))).to(y) for y in outputs]
            found = torch.autograd.grad(outputs, asked, weights, create_graph=True, allow_unused=True)
        return [torch.zeros_like(x) if g is None else g for g, x in zip(found, asked, strict=True)]

    gradient.__name__ = f"the gradient of {getattr(f, '__name__', type(f).__name__)}"
    return gradient


__all__ = ["FRAMEWORK", "gradient_of", "prepared", "record", "record_forward"]
