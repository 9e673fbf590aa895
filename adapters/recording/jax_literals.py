"""The literals of a JAX program as its text has them: what was a Python float before it became a number of a dtype."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gradconform.adapters.recording.jax_reading import traced
from gradconform.adapters.recording.jax_values import Texts, format_of, is_complex, is_key
from gradconform.reference.arithmetic.formats import FLOAT64, FORMATS, Format


def x64() -> Any:
    # jax.enable_x64 is the newer name, jax.experimental.enable_x64 the older.
    home: Any = jax if hasattr(jax, "enable_x64") else import_module("jax.experimental")
    return home.enable_x64(True)


def widened(x: Any) -> Any:
    """An array of real numbers in float64, or of complex ones in complex128; any other as it is."""
    real = not is_key(x) and format_of(x) is not None
    return jnp.asarray(x).astype(np.complex128 if is_complex(x) else np.float64) if real else x


def texts(of: Callable[..., Any], operands: Sequence[Any], program: Any = None) -> Texts:
    """Literals as the text has them, of the jaxpr that the function is on these operands, if it is given.

    A Python float has become a number of the operation's dtype. The same function traced in float64 shows what it was;
    one that cannot be traced so shows nothing, and its literals are then known as they stand.
    """
    if all(format_of(x) in (None, FLOAT64) for x in jax.tree.leaves(operands) if not is_key(x)):
        return Texts()

    try:
        with x64():
            jaxpr, _ = traced(of, jax.tree.map(widened, tuple(operands)))
    except Exception:  # whatever another dtype raises in the user's function: only precision is lost
        return Texts()
    found: dict[tuple[str, float], float] = {}
    for text in sorted(_literals(jaxpr.jaxpr)):
        for format in FORMATS.values():
            key = (format.name, float(format.round(text)))
            # Of two texts that round to one number neither can be told; the number itself comes first.
            found[key] = text if key not in found else key[1]
    if program is None:
        return Texts(found)
    places: dict[int, float] = {}
    equations: dict[int, Any] = {}
    for narrow, wide in _paired(program.jaxpr, jaxpr.jaxpr):
        equations[id(narrow)] = wide
        for literal, text in _alike(narrow, wide):
            # What stands in two places may be shared by them, and is then no text of either unless it is of both.
            places[id(literal)] = text if places.get(id(literal), text) == text else float(literal.val)
    return Texts(found, places, equations, program)


def _paired(narrow: Any, wide: Any) -> Iterator[tuple[Any, Any]]:
    """The equations of a jaxpr with those of the same function in float64, casts left out.

    Where the two are not the same operations nothing is paired.
    """
    pair = [[e for e in jaxpr.eqns if e.primitive.name != "convert_element_type"] for jaxpr in (narrow, wide)]
    if [e.primitive.name for e in pair[0]] != [e.primitive.name for e in pair[1]]:
        return
    for equations in zip(*pair, strict=True):
        yield equations
        inner = [list(_inside(e)) for e in equations]
        if len(inner[0]) == len(inner[1]):
            for jaxprs in zip(*inner, strict=True):
                yield from _paired(*jaxprs)


def _alike(narrow: Any, wide: Any) -> Iterator[tuple[Any, float]]:
    """The real scalar literals of an equation with what they are in float64, where that rounds to them."""
    for literal, text in zip(narrow.invars, wide.invars, strict=False):
        format = _real(literal)
        if format is not None and _real(text) is FLOAT64:
            x = float(text.val)
            if float(format.round(x)) == float(np.asarray(literal.val).astype(literal.aval.dtype)):
                yield literal, x


def _real(variable: Any) -> Format | None:
    """The format of a scalar literal that is a real number; None of anything else."""
    scalar = hasattr(variable, "val") and np.ndim(variable.val) == 0 and not is_key(variable.aval)
    return format_of(variable.aval) if scalar and not is_complex(variable.aval) else None


def _inside(equation: Any) -> Iterator[Any]:
    """The jaxprs of an equation: those of loops, branches and calls."""
    for parameter in jax.tree.leaves(list(equation.params.values()), is_leaf=lambda x: hasattr(x, "eqns")):
        inner = getattr(parameter, "jaxpr", parameter)
        if hasattr(inner, "eqns"):
            yield inner


def _literals(jaxpr: Any) -> set[float]:
    """Every scalar float64 literal of a jaxpr and of those inside of it."""
    found: set[float] = set()
    for equation in jaxpr.eqns:
        for v in equation.invars:
            if hasattr(v, "val") and np.ndim(v.val) == 0 and v.aval.dtype in (np.float64, np.complex128):
                found |= {float(np.real(v.val)), float(np.imag(v.val))}
        for inner in _inside(equation):
            found |= _literals(inner)
    return found
