"""JAX's own functions whose program is not what they stand for, as of approximations with a derivative rule.

Their rule is the derivative of what they approximate, and not that of the rational function or of the iterations that
are run: a record of these would call it wrong. Some are functions of the table, and are recorded as that; of the others
it is said that nobody knows by how much the two may differ. `frexp` takes bits apart, which no rule records.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gradconform.adapters.recording.jax_movement import bind
from gradconform.adapters.recording.jax_values import Recorder, Value, format_of, is_complex, plain

SPECIAL = "jax/_src/scipy/special.py"
#: Functions of the table, by file and name; the last operands are theirs.
FUNCTIONS: Mapping[tuple[str, str], str] = {
    (SPECIAL, "_dawsn"): "dawsn",
    (SPECIAL, "expi"): "expi",
}
#: Others with a rule of their own, by file and name, and what that is.
APPROXIMATED: Mapping[tuple[str, str], str] = {
    **{(SPECIAL, name): "its rule is the derivative of what it approximates" for name in (
        "_wofz", "sici", "zeta", "hyp1f1", "hyp2f1", "_owens_t_impl",
    )},
    ("jax/_src/third_party/scipy/special.py", "fresnel"): "its rule is the derivative of what it approximates",
    ("jax/experimental/ode.py", "_odeint"): "its gradient is that of the differential equation, and not of the steps",
}  # fmt: skip
#: A whole order and a number: a compiled function inside of a custom rule.
OF_ORDER = (SPECIAL, "expn")
#: A number as a half to one and a power of 2.
PARTS = ("jax/_src/numpy/ufuncs.py", "_frexp")
#: Functions of the table that are smooth, and are made of operations that have corners, by file and name.
SMOOTH: Mapping[tuple[str, str], str] = {("jax/_src/lax/other.py", "logaddexp"): "logaddexp"}
#: What is said of a rule for what a loop comes near to, and ends where it is near enough.
ITERATED = "{}: its derivative may be that of what its loop comes near to, and not of the rounds that it took"


def stands_at(jaxpr: Any) -> tuple[str, str]:
    """The name of the function that a jaxpr is of, and where it stands, as JAX has them."""
    source = getattr(getattr(getattr(jaxpr, "jaxpr", jaxpr), "debug_info", None), "func_src_info", None) or ""
    name, _, defined = source.partition(" at ")
    return name, defined.replace("\\", "/")


def _key(jaxpr: Any) -> tuple[str, str]:
    name, defined = stands_at(jaxpr)
    return next((file for file in {f for f, _ in _KNOWN} if f"/{file}:" in defined), ""), name


_KNOWN = {*FUNCTIONS, *APPROXIMATED, *SMOOTH, OF_ORDER, PARTS}


def is_known(jaxpr: Any) -> bool:
    """Whether this is one of these functions, whose program is not what it stands for."""
    return _key(jaxpr) in _KNOWN - SMOOTH.keys()


def smooth(jaxpr: Any, operands: Sequence[Value]) -> str:
    """The row of the table that a smooth function is, on operands of one real dtype; or nothing."""
    formats = {format_of(o.held) for o in operands}
    of_one = len(formats) == 1 and None not in formats and all(o.ids is not None for o in operands)
    return SMOOTH.get(_key(jaxpr), "") if of_one and not any(is_complex(o.held) for o in operands) else ""


def recorded(to: Recorder, equation: Any, jaxpr: Any, operands: Sequence[Value]) -> list[Value] | None:
    """One of these functions as a step of the table; None of another, which is noted if it is one of these."""
    key = _key(jaxpr)
    if key in APPROXIMATED:
        note(to, f"{key[1].strip('_').removesuffix('_impl')}: {APPROXIMATED[key]}")
        return None
    if key == PARTS and operands[0].ids is not None:
        return _parts(to, equation, operands[0])
    name = FUNCTIONS.get(key)
    if name is not None:
        given = operands[-1:]
    elif key == OF_ORDER and len(operands) == 2 and operands[0].ids is None:
        name, given = "expn", operands[1:]
    if name is None or given[0].ids is None:
        return None
    format, held = format_of(given[0].held), bind(equation, [o.held for o in operands])
    assert format is not None
    got = plain(held[0] if isinstance(held, list | tuple) else held)
    ids = [given[0].ids]
    if key == OF_ORDER:
        ids = [to.record.constants(np.broadcast_to(operands[0].held, np.shape(got)).astype(np.float64)), *ids]
    found = to.record.map(name, ids, format, got.astype(np.float64))
    return [Value(got, found, None, any(o.depends for o in operands))]


def _parts(to: Recorder, equation: Any, x: Value) -> list[Value]:
    """x times a power of 2, which is data where x stays between the same two powers, and its exponent."""
    assert x.ids is not None
    significand, exponent = (plain(found) for found in bind(equation, [x.held]))
    format = format_of(x.held)
    assert format is not None
    factor = to.record.constants(2.0 ** -exponent.astype(np.float64))
    if x.depends:
        held = to.record.held[x.ids]
        size = to.record.map("absolute", [x.ids], format, np.abs(held))
        for relation, power in (("ge", exponent - 1.0), ("lt", exponent * 1.0)):
            limit = np.where(held == 0, {"ge": 0.0, "lt": np.inf}[relation], 2.0**power)
            to.compared(relation, size, to.record.constants(limit))  # type: ignore[arg-type]
    found = to.record.map("multiply", [x.ids, factor], format, significand.astype(np.float64))
    return [Value(significand, found, None, x.depends), Value(exponent, None, None, x.depends)]


def note(to: Recorder, text: str) -> None:
    """Say of the program that it approximates something, with its line where that is known."""
    to.approximated.append(to.here(text))
