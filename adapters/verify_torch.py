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
from gradconform.reference.cases import BadInput, said

FRAMEWORK = "torch"


def prepared(
    f: Any, args: Sequence[Any], dtype: str | None, device: str | None = None
) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    """A function and its arguments: of a module its parameters, by name, before its inputs; cast or moved where asked.

    What is cast or moved are copies: the module and the tensors stay as they are.
    """
    to = None if dtype is None else getattr(torch, dtype)
    there = None if device is None else _device(device)
    if isinstance(f, nn.Module):
        moved = f if to is None and there is None else copy.deepcopy(f).to(device=there, dtype=to)
        function, parameters = module_function(moved)
        args = (parameters, *args)
        f = function

    def cast(x: Any) -> Any:
        if not isinstance(x, Tensor):
            return x
        return x.to(device=there, dtype=to if x.is_floating_point() else None)

    return f, tuple(pytree.tree_map(cast, tuple(args)))


def _device(name: str) -> torch.device:
    """The device of this name, after trying that it holds numbers."""
    try:
        found = torch.device(name)
        torch.zeros(1, device=found).tolist()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise BadInput(
            f"device: got {name!r}, which PyTorch {torch.__version__} cannot use here ({said(error)}); expected 'cpu', "
            f"or a device that this machine has: {', '.join(_accelerators()) or 'no other'}"
        ) from error
    return found


def _accelerators() -> list[str]:
    cuda = [f"cuda:{n}" for n in range(torch.cuda.device_count())]
    return cuda + (["mps"] if torch.backends.mps.is_available() else [])


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
