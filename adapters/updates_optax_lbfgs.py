"""optax' L-BFGS, without a line search: all arrays of a tree as one vector, the newest pair first."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from gradconform.adapters.updates import Asked
from gradconform.adapters.updates_optax_rules import Part, rate_of
from gradconform.reference.cases import BadInput

#: How optax calls the parts of the rule's state.
_NAMES = {"S": "diff_params_memory", "Y": "diff_updates_memory", "rho": "weights_memory", "w_prev": "params",
          "g_prev": "updates"}  # fmt: skip
_HISTORIES = ("S", "Y", "rho")


def is_lbfgs(parts: Sequence[Part]) -> bool:
    """Whether a chain is L-BFGS's. Raises BadInput for one with a line search."""
    names = [p.name for p in parts]
    if "scale_by_lbfgs" not in names:
        return False
    for name in names:
        if name.endswith("linesearch"):
            raise BadInput(f"{name}: a line search evaluates the loss, and gradients are injected; expected "
                           "optax.lbfgs(…, linesearch=None)")  # fmt: skip
    return names[0] == "scale_by_lbfgs" and names[1:] in ([], ["scale"], ["scale_by_schedule"])


def asked_of(parts: Sequence[Part], number: int) -> Asked:
    """The rule of L-BFGS in update `number`, from 1; η is what the direction is multiplied by."""
    memory, scales = int(parts[0].settings["memory_size"]), bool(parts[0].settings["scale_init_precond"])
    eta = -rate_of(parts[1], number) if len(parts) > 1 else -1.0
    options: dict[str, bool | str | int] = {
        "first": number == 1, "memory": memory, "pairs": min(number - 1, memory), "scales": scales,
    }  # fmt: skip
    return Asked("lbfgs_of_weights", options, {"eta": eta}, _NAMES)


def state_of(weights: Any, state: Any, updates: int, of: Callable[[Any], Any]) -> dict[str, Any]:
    """Weights and state after so many updates, each as one vector of what `of` says of an array."""
    held = _held(state)
    found = {"w": flat(weights, of)}
    for part, name in _NAMES.items():
        if not hasattr(held, name):
            continue
        value = getattr(held, name)
        if part not in _HISTORIES:
            found[name] = flat(value, of)
            continue
        leaves = [of(x) for x in jax.tree.leaves(value)]
        pairs = len(leaves[0])
        rows = leaves[0] if part == "rho" else np.concatenate([x.reshape(pairs, -1) for x in leaves], axis=1)
        found[name] = rows[(updates - 2 - np.arange(pairs)) % pairs]  # a ring, whose slot is the update's number
    return found


def _held(state: Any) -> Any:
    """The part of a state that is L-BFGS's; None where there is none."""
    return next(filter(_is_state, jax.tree.leaves(state, is_leaf=_is_state)), None)


def _is_state(x: Any) -> bool:
    return hasattr(x, "diff_params_memory")


def flat(tree: Any, of: Callable[[Any], Any]) -> Any:
    return np.concatenate([np.ravel(of(x)) for x in jax.tree.leaves(tree)])


def dtypes_of(weights: Any, after: Mapping[str, Any], state: Any) -> dict[str, str]:
    """The dtypes of what `state_of` gives. Raises BadInput for weights of several."""
    own = sorted({str(x.dtype) for x in jax.tree.leaves(weights)})
    if len(own) > 1:
        raise BadInput(f"weights: of {', '.join(own)}; expected one dtype, since L-BFGS makes one vector of them; or "
                       "give dtype=")  # fmt: skip
    found = dict.fromkeys((*after, "gradient"), own[0])
    held = _held(state)
    if "weights_memory" in found:
        found["weights_memory"] = str(held.weights_memory.dtype)
    return found
