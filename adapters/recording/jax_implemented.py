"""Primitives that no rule records and that are written in other operations of JAX: sparse ones, and a user's own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any

import jax

#: Where an implementation stands that JAX does not keep with its primitive.
ELSEWHERE: Mapping[str, tuple[str, str]] = {
    "bcoo_dot_general": ("jax.experimental.sparse.bcoo", "_bcoo_dot_general_impl"),
    "ragged_dot_general": ("jax._src.lax.lax", "_ragged_dot_general_impl"),
}
#: What a sample is computed by is not what its derivative is of: by implicit differentiation of its distribution.
DRAWN = ("random_gamma",)


def implemented(equation: Any, operands: Sequence[Any]) -> Any:
    """The jaxpr of a primitive's implementation on these operands; None where it is not written in JAX's operations."""
    impl = _implementation(equation.primitive)
    if impl is None:
        return None
    try:
        jaxpr = jax.make_jaxpr(lambda *given: impl(*given, **equation.params))(*operands)
    except Exception:  # whatever an implementation in NumPy raises of a trace: it is not written in JAX's operations
        return None
    return None if _has(jaxpr.jaxpr, equation.primitive) else jaxpr


def _implementation(primitive: Any) -> Callable[..., Any] | None:
    if primitive.name in ELSEWHERE:
        module, name = ELSEWHERE[primitive.name]
        found: Callable[..., Any] | None = getattr(import_module(module), name, None)
        return found
    if primitive.name in DRAWN:
        return None
    impl = primitive.impl
    compiled = getattr(getattr(impl, "func", None), "__name__", "") == "apply_primitive"
    return None if compiled else impl


def _has(jaxpr: Any, primitive: Any) -> bool:
    for equation in jaxpr.eqns:
        if equation.primitive is primitive:
            return True
        given = [p for x in equation.params.values() for p in (x if isinstance(x, list | tuple) else [x])]
        inner = (getattr(x, "jaxpr", x) for x in given)
        if any(_has(x, primitive) for x in inner if hasattr(x, "eqns")):
            return True
    return False
