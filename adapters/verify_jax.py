"""What `verify` needs of JAX: a function and arguments to record, in the dtype that is asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import partial, wraps
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gradconform.adapters.record_jax import record
from gradconform.adapters.recording.jax_literals import x64
from gradconform.reference.cases import BadInput

FRAMEWORK = "jax"
record_forward = partial(record, mode="forward")


def prepared(
    f: Any, args: Sequence[Any], dtype: str | None, device: str | None = None
) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    """A function and its arguments, cast and moved where that is asked for."""
    if device is not None:
        there = _device(device)

        def moved(x: Any) -> Any:
            if not isinstance(x, jax.Array | np.ndarray):
                return x
            with x64() if x.dtype == np.float64 else nullcontext():
                return jax.device_put(x, there)

        args = jax.tree.map(moved, tuple(args))
    if dtype is None:
        return f, tuple(args)

    def cast(x: Any) -> Any:
        return x.astype(dtype) if hasattr(x, "dtype") and jnp.issubdtype(x.dtype, jnp.floating) else x

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


def gradient_of(f: Callable[..., Any], seed: int) -> Callable[..., Any]:
    """The gradient of f as a function of the same arguments, which can be differentiated once more.

    Of an f with several numbers in its result, that of their sum with random weights, which are the same every time.
    """

    @wraps(f)
    def gradient(*args: Any) -> list[Any]:
        outputs, pull = jax.vjp(f, *args)
        drawn = np.random.default_rng([seed, 2])

        def weight(y: Any) -> Any:
            if not jnp.issubdtype(y.dtype, jnp.floating):
                return np.zeros(y.shape, jax.dtypes.float0)
            return jnp.asarray(drawn.uniform(0.5, 2.0, y.shape), y.dtype)

        found = jax.tree.leaves(pull(jax.tree.map(weight, outputs)))
        return [g for g in found if g.dtype != jax.dtypes.float0]

    gradient.__name__ = f"the gradient of {getattr(f, '__name__', type(f).__name__)}"
    return gradient


__all__ = ["FRAMEWORK", "gradient_of", "prepared", "record", "record_forward"]
