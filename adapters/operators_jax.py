"""The operators of the catalogue in JAX: what each is called there, or how it is written."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter
from typing import Any

import jax
import jax.numpy as jnp
import jax.scipy.special
import numpy as np
from numpy.typing import NDArray

from gradconform.adapters import operators_jax_written as written
from gradconform.adapters.recording.jax_literals import x64

#: By the operator's name, that of JAX's function below `jax`.
NAMES: Mapping[str, str] = {
    **{n: f"numpy.{n}" for n in (
        "negative", "square", "reciprocal", "sqrt", "cbrt", "exp", "exp2", "expm1", "log", "log2", "log10", "log1p",
        "sin", "cos", "tan", "sinc", "sinh", "cosh", "tanh", "sign", "absolute", "deg2rad",
        "rad2deg", "add", "subtract", "multiply", "divide", "power", "hypot", "logaddexp", "logaddexp2", "fmod",
        "remainder", "maximum", "minimum", "fmax", "fmin", "copysign", "ldexp", "float_power", "where", "nan_to_num",
    )},
    **{n: f"numpy.arc{n[1:]}" for n in ("asin", "acos", "atan", "asinh", "acosh", "atanh", "atan2")},
    **{n: f"scipy.special.{n}" for n in (
        "logit", "erf", "erfc", "erfinv", "ndtr", "log_ndtr", "ndtri", "entr", "gamma", "digamma", "i0", "i0e", "i1",
        "i1e", "expi", "exp1", "xlogy", "xlog1py", "gammainc", "gammaincc", "beta", "betaln", "betainc", "zeta",
        "erfcx", "dawsn",
    )},
    **{n: f"nn.{n}" for n in (
        "relu", "relu6", "sigmoid", "log_sigmoid", "softplus", "silu", "selu", "mish", "squareplus", "sparse_plus",
    )},
    "softsign": "nn.soft_sign", "hardtanh": "nn.hard_tanh", "hardsigmoid": "nn.hard_sigmoid",
    "hardswish": "nn.hard_silu", "rsqrt": "lax.rsqrt", "lgamma": "scipy.special.gammaln",
}  # fmt: skip

#: What takes its arguments otherwise, or is written in several operations.
WRITTEN: Mapping[str, Callable[..., Any]] = {
    **written.LOSSES,
    **written.REDUCTIONS,
    **written.NORMALISATIONS,
    **written.WINDOWS,
    **written.INDEXING,
    **written.ALGEBRA,
    "lerp": lambda x, y, z: x + z * (y - x),
    "addcmul": lambda x, y, z, value: x + value * y * z,
    "addcdiv": lambda x, y, z, value: x + value * y / z,
    "safe_sqrt": lambda x: jnp.where(x > 0, jnp.sqrt(jnp.where(x > 0, x, 1.0)), 0.0),
    "gelu": lambda x: jax.nn.gelu(x, approximate=False),
    "gelu_tanh": lambda x: jax.nn.gelu(x, approximate=True),
    "quick_gelu": lambda x: x * jax.nn.sigmoid(1.702 * x),
    "tanhshrink": lambda x: x - jnp.tanh(x),
    "leaky_relu": lambda x, slope: jax.nn.leaky_relu(x, slope),
    "elu": lambda x, alpha: jax.nn.elu(x, alpha),
    "celu": lambda x, alpha: jax.nn.celu(x, alpha),
    "prelu": lambda x, w: jnp.where(x > 0, x, w * x),
    "swish_beta": lambda x, beta: x * jax.nn.sigmoid(beta * x),
    "clamp": lambda x, low, high: jnp.clip(x, low, high),
    "polygamma": lambda x, n: jax.scipy.special.polygamma(n, x),
    "multigammaln": lambda x, p: jax.scipy.special.multigammaln(x, p),
}


def array(numbers: NDArray[Any], dtype: str, strided: bool = False) -> Any:
    """These numbers as an array: of the dtype, complex ones of that precision; JAX has no strides."""
    if numbers.dtype.kind in "ib":
        return jnp.asarray(numbers.astype(np.int32) if numbers.dtype.kind == "i" else numbers)
    to = jnp.dtype(dtype) if numbers.dtype.kind == "f" else {"float64": "complex128", "float32": "complex64"}[dtype]
    rounded = numbers.astype(to)
    if dtype != "float64":
        return jnp.asarray(rounded)
    with x64():
        return jnp.asarray(rounded)


def callable_of(name: str) -> Callable[..., Any] | None:
    """JAX's function for an operator; None where it has none, or this version has it not."""
    if name in WRITTEN:
        return WRITTEN[name]
    try:
        return attrgetter(NAMES[name])(jax) if name in NAMES else None
    except AttributeError:
        return None


def slopes(call: Callable[..., Any], arrays: Sequence[Any]) -> bool:
    """Whether JAX has a derivative, which it says itself when it is asked for one."""
    return True


def answered(call: Callable[..., Any], x: Any) -> tuple[Any, Any]:
    """A function of one number at many, and its derivative there; in float64."""
    y, pull = jax.vjp(call, x)
    return tuple(np.asarray(v).astype(np.float64) for v in (y, pull(jnp.ones_like(y))[0]))  # type: ignore[return-value]


def called(name: str) -> str:
    """What an operator is called in JAX; empty where that has none."""
    return f"jax.{NAMES[name]}" if name in NAMES else "written" if name in WRITTEN else ""
