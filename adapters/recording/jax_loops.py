"""How long a loop of JAX still is: asked of the loop itself, compiled, before a record of it grows without end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
from jax import lax
from jax.extend.core import jaxpr_as_fun

from gradconform.adapters.recording.jax_values import Recorder
from gradconform.reference.programs.record import affordable
from gradconform.reference.programs.run import NotRecorded

#: The round of a loop in which it is asked how many are left: short loops are not asked, which takes a compilation.
ASKED = 16
#: Operations of the rounds left that are recorded, one by one; of more the loop is refused.
MOST = 50_000


def check_rounds_left(to: Recorder, equation: Any, held: Sequence[Any], taken: int) -> None:
    """Raise NotRecorded where the rounds that are left of a loop are too many to record, and BadInput where the record
    would take more memory than there is. `held` are what the loop reads, its state now; `taken` are numbers a round."""
    operations = sum(map(_operations, (equation.params["cond_jaxpr"], equation.params["body_jaxpr"])))
    most = MOST // operations
    left = _rounds_left(equation, held, most + 1)
    if left > most:
        raise NotRecorded(
            f"while at {to.record.line or 'an unknown line'}: the loop goes round more than {ASKED + most:,} times, of "
            f"{operations} operations each, which are recorded one by one: too many; ask arguments at which it ends "
            "sooner (under vmap the slowest row counts), or give a function of it as a definition"
        )
    affordable(to.record.size + taken * left)


def _operations(jaxpr: Any) -> int:
    """How many operations a jaxpr has, those of the calls and loops in it among them."""
    found = 0
    for equation in getattr(jaxpr, "jaxpr", jaxpr).eqns:
        given = [p for x in equation.params.values() for p in (x if isinstance(x, list | tuple) else [x])]
        inner = [_operations(x) for x in given if hasattr(getattr(x, "jaxpr", x), "eqns")]
        found += (sum(inner) or 1) * (equation.params["length"] if equation.primitive.name == "scan" else 1)
    return found


def _rounds_left(equation: Any, held: Sequence[Any], most: int) -> int:
    """How often a loop still goes round from this state, compiled; at most so many times."""
    p = equation.params
    first, second = p["cond_nconsts"], p["cond_nconsts"] + p["body_nconsts"]
    condition, body = jaxpr_as_fun(p["cond_jaxpr"]), jaxpr_as_fun(p["body_jaxpr"])

    def goes_on(state: Sequence[Any]) -> Any:
        (found,) = condition(*held[:first], *state)
        return found

    def moved(both: tuple[Any, list[Any]]) -> tuple[Any, list[Any]]:
        number, state = both
        rows = goes_on(state)
        found = body(*held[first:second], *state)
        if rows.ndim:  # each row stops by itself
            masks = [jnp.reshape(rows, (*rows.shape, *[1] * (x.ndim - rows.ndim))) for x in found]
            found = [jnp.where(m, x, y) for m, x, y in zip(masks, found, state, strict=True)]
        return number + 1, found

    def further(both: tuple[Any, list[Any]]) -> Any:
        return (both[0] < most) & jnp.any(goes_on(both[1]))

    return int(lax.while_loop(further, moved, (jnp.int32(0), [jnp.asarray(x) for x in held[second:]]))[0])
