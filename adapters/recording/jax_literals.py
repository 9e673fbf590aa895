"""The literals of a JAX program as its text has them: what was a Python float before it became a number of a dtype."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gradconform.adapters.recording.jax_reading import traced
from gradconform.adapters.recording.jax_values import format_of, is_complex, is_key
from gradconform.reference.arithmetic.formats import FLOAT64, FORMATS

Texts = Mapping[tuple[str, float], float]


def x64() -> Any:
    # jax.enable_x64 is the newer name, jax.experimental.enable_x64 the older.
    home: Any = jax if hasattr(jax, "enable_x64") else import_module("jax.experimental")
    return home.enable_x64(True)


def texts(of: Callable[..., Any], operands: Sequence[Any]) -> Texts:
    """Literals as the text has them, by the format and number that they are in the program.

    A Python float has become a number of the operation's dtype. The same function traced in float64 shows what it was;
    one that cannot be traced so shows nothing, and its literals are then known as they stand.
    """
    if all(format_of(x) in (None, FLOAT64) for x in jax.tree.leaves(operands) if not is_key(x)):
        return {}

    def widened(x: Any) -> Any:
        real = not is_key(x) and format_of(x) is not None
        return jnp.asarray(x).astype(np.complex128 if is_complex(x) else np.float64) if real else x

    try:
        with x64():
            jaxpr, _ = traced(of, jax.tree.map(widened, tuple(operands)))
    except Exception:  # whatever another dtype raises in the user's function: only precision is lost
        return {}
    found: dict[tuple[str, float], float] = {}
    for text in sorted(_literals(jaxpr.jaxpr)):
        for format in FORMATS.values():
            key = (format.name, float(format.round(text)))
            # Of two texts that round to one number neither can be told; the number itself comes first.
            found[key] = text if key not in found else key[1]
    return found


def _literals(jaxpr: Any) -> set[float]:
    """Every scalar float64 literal of a jaxpr and of those inside of it."""
    found: set[float] = set()
    for equation in jaxpr.eqns:
        for v in equation.invars:
            if hasattr(v, "val") and np.ndim(v.val) == 0 and v.aval.dtype in (np.float64, np.complex128):
                found |= {float(np.real(v.val)), float(np.imag(v.val))}
        for parameter in jax.tree.leaves(list(equation.params.values()), is_leaf=lambda x: hasattr(x, "eqns")):
            inner = getattr(parameter, "jaxpr", parameter)
            if hasattr(inner, "eqns"):
                found |= _literals(inner)
    return found
