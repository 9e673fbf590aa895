"""The operators of the catalogue in PyTorch: what each is called there, or how it is written."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F
from torch.utils import _pytree as pytree

from gradconform.adapters import operators_torch_written as written

#: By the operator's name, that of PyTorch's function below `torch`.
NAMES: Mapping[str, str] = {
    **{n: n for n in (
        "negative", "square", "reciprocal", "sqrt", "rsqrt", "exp", "exp2", "expm1", "log", "log2", "log10", "log1p",
        "sin", "cos", "tan", "asin", "acos", "atan", "sinc", "sinh", "cosh", "tanh", "asinh", "acosh", "atanh", "sign",
        "absolute", "deg2rad", "rad2deg", "logit", "add", "subtract", "multiply", "divide", "hypot", "atan2",
        "logaddexp", "logaddexp2", "fmod", "remainder", "maximum", "minimum", "fmax", "fmin", "copysign",
        "ldexp", "float_power", "lerp", "where", "nan_to_num", "xlogy",
    )},
    **{n: f"special.{n}" for n in (
        "erf", "erfc", "erfcx", "erfinv", "ndtr", "log_ndtr", "ndtri", "entr", "digamma", "i0", "i0e", "i1", "i1e",
        "spherical_bessel_j0", "airy_ai", "gammainc", "gammaincc", "xlog1py", "zeta",
    )},
    **{n: f"nn.functional.{n}" for n in (
        "relu", "relu6", "silu", "mish", "selu", "softsign", "tanhshrink", "hardsigmoid", "hardswish", "hardtanh",
        "gelu",
    )},
    "sigmoid": "sigmoid", "log_sigmoid": "nn.functional.logsigmoid",
    "lgamma": "special.gammaln", "power": "pow", "j0": "special.bessel_j0", "j1": "special.bessel_j1",
    "y0": "special.bessel_y0", "y1": "special.bessel_y1", "k0": "special.modified_bessel_k0",
    "k1": "special.modified_bessel_k1", "k0e": "special.scaled_modified_bessel_k0",
    "k1e": "special.scaled_modified_bessel_k1",
}  # fmt: skip

#: What takes its arguments otherwise, or is written in several operations.
WRITTEN: Mapping[str, Callable[..., Any]] = {
    **written.LOSSES,
    **written.REDUCTIONS,
    **written.NORMALISATIONS,
    **written.WINDOWS,
    **written.INDEXING,
    **written.ALGEBRA,
    "addcmul": lambda x, y, z, value: torch.addcmul(x, y, z, value=value),
    "addcdiv": lambda x, y, z, value: torch.addcdiv(x, y, z, value=value),
    "safe_sqrt": lambda x: torch.where(x > 0, torch.sqrt(torch.where(x > 0, x, 1.0)), 0.0),
    "softplus": lambda x: F.softplus(x),
    "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"),
    "quick_gelu": lambda x: x * torch.sigmoid(1.702 * x),
    "squareplus": lambda x: (x + torch.sqrt(x * x + 4)) / 2,
    "leaky_relu": lambda x, slope: F.leaky_relu(x, slope),
    "elu": lambda x, alpha: F.elu(x, alpha),
    "celu": lambda x, alpha: F.celu(x, alpha),
    "prelu": lambda x, w: torch.where(x > 0, x, w * x),
    "softplus_beta": lambda x, beta: F.softplus(x, beta=beta),
    "softshrink": lambda x, lambd: F.softshrink(x, lambd),
    "hardshrink": lambda x, lambd: F.hardshrink(x, lambd),
    "threshold": lambda x, threshold, value: F.threshold(x, threshold, value),
    "rrelu": lambda x, lower, upper: F.rrelu(x, lower, upper, training=False),
    "swish_beta": lambda x, beta: x * torch.sigmoid(beta * x),
    "clamp": lambda x, low, high: torch.clamp(x, low, high),
    "polygamma": lambda x, n: torch.polygamma(n, x),
    "multigammaln": lambda x, p: torch.special.multigammaln(x, p),
}


def array(numbers: NDArray[Any], dtype: str, strided: bool = False) -> torch.Tensor:
    """These numbers as a tensor: of the dtype, complex ones of that precision; `strided`, with its axes in memory the
    other way round."""
    found = torch.from_numpy(np.array(numbers))
    if found.is_complex():
        found = found.to(getattr(torch, dtype).to_complex())
    elif found.is_floating_point():
        found = found.to(getattr(torch, dtype))
    return found.mT.contiguous().mT if strided and found.ndim > 1 else found


def callable_of(name: str) -> Callable[..., Any] | None:
    """PyTorch's function for an operator; None where it has none."""
    if name in WRITTEN:
        return WRITTEN[name]
    return attrgetter(NAMES[name])(torch) if name in NAMES else None


def slopes(call: Callable[..., Any], arrays: Sequence[Any]) -> bool:
    """Whether PyTorch has a derivative of a function of these tensors: what it gives is else a constant to it."""
    given = [x.clone().requires_grad_() if x.is_floating_point() or x.is_complex() else x for x in arrays]
    try:
        with torch.enable_grad():
            found = pytree.tree_leaves(call(*given))
    except Exception:  # whatever PyTorch raises, which whoever runs it is told
        return True
    return any(isinstance(y, torch.Tensor) and y.requires_grad for y in found)


def answered(call: Callable[..., Any], x: Any) -> tuple[Any, Any]:
    """A function of one number at many, and its derivative there, None where PyTorch has none; in float64."""
    given = x.clone().requires_grad_()
    with torch.enable_grad():
        y = call(given)
    slope = torch.autograd.grad(y, given, torch.ones_like(y))[0].double().numpy() if y.requires_grad else None
    return y.detach().double().numpy(), slope


def called(name: str) -> str:
    """What an operator is called in PyTorch; empty where that has none."""
    return f"torch.{NAMES[name]}" if name in NAMES else "written" if name in WRITTEN else ""
