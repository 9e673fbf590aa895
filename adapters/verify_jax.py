"""What `verify` needs of JAX: a function and arguments to record, in the dtype that is asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from gradconform.adapters.jax_literals import x64
from gradconform.adapters.record_jax import record

FRAMEWORK = "jax"


def prepared(f: Any, args: Sequence[Any], dtype: str | None) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    """A function and its arguments, cast where that is asked for."""
    if dtype is None:
        return f, tuple(args)

    def cast(x: Any) -> Any:
        return x.astype(dtype) if hasattr(x, "dtype") and jnp.issubdtype(x.dtype, jnp.floating) else x

    if dtype != "float64":
        return f, tuple(jax.tree.map(cast, tuple(args)))
    with x64():
        return f, tuple(jax.tree.map(cast, tuple(args)))


__all__ = ["FRAMEWORK", "prepared", "record"]
