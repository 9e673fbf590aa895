"""What `verify` needs of PyTorch: a function and arguments to record, in the dtype that is asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from gradconform.adapters.record_torch import record
from gradconform.adapters.record_torch_forward import record_forward
from gradconform.adapters.recording.torch_modules import copied, module_function
from gradconform.reference.cases import BadInput, said
from gradconform.reference.programs.run import weights

FRAMEWORK = "torch"
#: Numbers of a shape for a dtype.
Numbers = Callable[[tuple[int, ...], str], NDArray[np.float64]]


def versions() -> dict[str, str]:
    """The framework's own versions."""
    return {"torch": torch.__version__}


def prepared(
    f: Any, args: Sequence[Any], dtype: str | None, device: str | None = None
) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    """A function and its arguments: of a module its parameters, by name, before its inputs; cast or moved where asked.

    What is cast or moved are copies: the module and the tensors stay as they are.
    """
    to = None if dtype is None else getattr(torch, dtype)
    there = None if device is None else _device(device)

    def cast(x: Any) -> Any:
        if not isinstance(x, Tensor):
            return x
        if to is None or not (x.is_floating_point() or x.is_complex()):
            return x.to(device=there)
        if x.is_complex() and to not in (torch.float64, torch.float32):
            raise BadInput(
                f"complex numbers in {dtype}: expected float64 or float32, of which complex128 and complex64 are"
            )
        return x.to(device=there, dtype=to.to_complex() if x.is_complex() else to)

    as_given = to is None and there is None
    if isinstance(f, nn.Module):
        # `Module.to` would keep the real parts of complex parameters only.
        of = f if as_given else copied(f)._apply(cast)  # type: ignore[no-untyped-call]
        function, parameters = module_function(of)
        args = (parameters, *args)
        f = function
    return f, tuple(args) if as_given else tuple(pytree.tree_map(cast, tuple(args)))


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


def array(numbers: NDArray[np.float64], dtype: str) -> Tensor:
    """These numbers as a tensor of that dtype."""
    return torch.from_numpy(np.array(numbers)).to(getattr(torch, dtype))


def filled(args: Sequence[Any], numbers: Numbers, dtype: str | None) -> tuple[Any, ...]:
    """The arguments with other numbers in their floating-point tensors, which keep their shapes, and without `dtype`
    their dtypes."""

    def other(x: Any) -> Any:
        if not (isinstance(x, Tensor) and x.is_floating_point()):
            return x
        of = dtype or str(x.dtype).rpartition(".")[2]
        return array(numbers(tuple(x.shape), of), of).requires_grad_(x.requires_grad)

    return tuple(pytree.tree_map(other, tuple(args)))


def gradient_of(f: Callable[..., Any], seed: int) -> Callable[..., Any]:
    """The gradient of f as a function of the same arguments, which can be differentiated once more.

    Of an f with several numbers in its result, that of their sum with random weights, which are the same every time.
    """

    @wraps(f)
    def gradient(*args: Any) -> list[Tensor]:
        asked = [x for x in pytree.tree_leaves(args) if isinstance(x, Tensor) and x.requires_grad]
        with torch.enable_grad():
            outputs = [y for y in pytree.tree_leaves(f(*args)) if isinstance(y, Tensor) and y.requires_grad]
            parts = [torch.view_as_real(y) if y.is_complex() else y for y in outputs]
            drawn = [torch.from_numpy(w) for w in weights(seed, [tuple(y.shape) for y in parts])]
            given = [
                (torch.view_as_complex(w) if y.is_complex() else w).to(y) for w, y in zip(drawn, outputs, strict=True)
            ]
            found = torch.autograd.grad(outputs, asked, given, create_graph=True, allow_unused=True)
        return [torch.zeros_like(x) if g is None else g for g, x in zip(found, asked, strict=True)]

    gradient.__name__ = f"the gradient of {getattr(f, '__name__', type(f).__name__)}"
    return gradient


__all__ = ["FRAMEWORK", "array", "filled", "gradient_of", "prepared", "record", "record_forward", "versions"]
