"""What `verify` needs of JAX: a function and arguments to record, in the dtype that is asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import partial, wraps
from importlib import metadata
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from gradconform.adapters.record_jax import record
from gradconform.adapters.recording.jax_literals import x64
from gradconform.adapters.recording.jax_values import in_dtype
from gradconform.reference.cases import BadInput
from gradconform.reference.programs.run import weights

FRAMEWORK = "jax"
record_forward = partial(record, mode="forward")
#: Numbers of a shape for a dtype.
Numbers = Callable[[tuple[int, ...], str], NDArray[np.float64]]


def versions() -> dict[str, str]:
    """The framework's own versions."""
    return {name: metadata.version(name) for name in ("jax", "jaxlib")}


def prepared(
    f: Any, args: Sequence[Any], dtype: str | None, device: str | None = None
) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    """A function and its arguments, cast and moved where that is asked for."""
    if device is not None:
        there = _device(device)

        def moved(x: Any) -> Any:
            if not isinstance(x, jax.Array | np.ndarray):
                return x
            with x64() if x.dtype in (np.float64, np.complex128) else nullcontext():
                return jax.device_put(x, there)

        args = jax.tree.map(moved, tuple(args))
    if dtype is None:
        return f, tuple(args)

    def cast(x: Any) -> Any:
        return in_dtype(x, dtype) if hasattr(x, "dtype") and jnp.issubdtype(x.dtype, jnp.inexact) else x

    if dtype != "float64":
        return f, tuple(jax.tree.map(cast, tuple(args)))
    with x64():
        return f, tuple(jax.tree.map(cast, tuple(args)))


def _device(name: str) -> Any:
    """The device of this name: a platform, or "platform:number"."""
    platform, _, number = name.partition(":")
    try:
        return jax.devices(platform)[int(number or 0)]
    except (RuntimeError, IndexError, ValueError) as error:
        there = dict.fromkeys(f"{d.platform}:{d.id}" for d in [*jax.devices(), *jax.devices("cpu")])
        raise BadInput(
            f"device: got {name!r}, which JAX {jax.__version__} does not have here; expected one of {', '.join(there)}"
        ) from error


def array(numbers: NDArray[np.float64], dtype: str) -> Any:
    """These numbers as an array of that dtype; rounded by NumPy, since XLA flushes subnormal numbers."""
    rounded = np.asarray(numbers).astype(jnp.dtype(dtype))
    if dtype != "float64":
        return jnp.asarray(rounded)
    with x64():
        return jnp.asarray(rounded)


def filled(args: Sequence[Any], numbers: Numbers, dtype: str | None) -> tuple[Any, ...]:
    """The arguments with other numbers in their floating-point arrays, which keep their shapes, and without `dtype`
    their dtypes."""

    def other(x: Any) -> Any:
        if not (hasattr(x, "dtype") and jnp.issubdtype(x.dtype, jnp.floating)):
            return x
        of = dtype or str(x.dtype)
        return array(numbers(tuple(x.shape), of), of)

    return tuple(jax.tree.map(other, tuple(args)))


def gradient_of(f: Callable[..., Any], seed: int) -> Callable[..., Any]:
    """The gradient of f as a function of the same arguments, which can be differentiated once more.

    Of an f with several numbers in its result, that of their sum with random weights, which are the same every time.
    """

    @wraps(f)
    def gradient(*args: Any) -> list[Any]:
        outputs, pull = jax.vjp(f, *args)
        leaves, tree = jax.tree.flatten(outputs)
        real = [jnp.issubdtype(y.dtype, jnp.inexact) for y in leaves]
        drawn = iter(weights(seed, [y.shape for y, r in zip(leaves, real, strict=True) if r]))
        given = [
            jnp.asarray(next(drawn), y.dtype) if r else np.zeros(y.shape, jax.dtypes.float0)
            for y, r in zip(leaves, real, strict=True)
        ]
        found = jax.tree.leaves(pull(jax.tree.unflatten(tree, given)))
        return [g for g in found if g.dtype != jax.dtypes.float0]

    gradient.__name__ = f"the gradient of {getattr(f, '__name__', type(f).__name__)}"
    return gradient


__all__ = ["FRAMEWORK", "array", "filled", "gradient_of", "prepared", "record", "record_forward", "versions"]
