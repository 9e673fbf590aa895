"""optax' transformations: given weights, gradients and state, what are the new weights and state?

A transformation is a pair of functions; which rule it is its parts say, by their names and by the settings that they
hold. The state is read from the named tuples of its parts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from importlib import metadata
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from gradconform.adapters.recording.jax_literals import texts, x64
from gradconform.adapters.recording.jax_program import closed
from gradconform.adapters.recording.jax_values import Recorder, format_of, numbers
from gradconform.adapters.updates import NO_NAMES, Asked, Change, Numbers, Recorded, none_named, renamed
from gradconform.adapters.updates_optax_lbfgs import asked_of, dtypes_of, flat, is_lbfgs, state_of
from gradconform.adapters.updates_optax_rules import part_of_tensor, parts_of, rule_of
from gradconform.reference.cases import BadInput, said, unknown

FRAMEWORK = "jax"
#: How entries of known deviations call what runs the optimizers.
ADAPTER = "optax"
#: Ways to run an update.
ROUTES = ("eager", "jit")


def changes(
    make: Any,
    weights: Any,
    gradients: Iterable[Any],
    dtype: str | None,
    rule: Any,
    route: str = "",
    rates: Sequence[float] | None = None,
    named: Mapping[str, str] = NO_NAMES,
) -> Iterator[Change]:
    """Every array in every update of the transformation, one update for each gradient; as `updates_torch.changes`."""
    if rates is not None:
        raise BadInput("rate: a transformation holds its own schedule; expected it there, as in optax.adam(schedule)")
    wide = dtype == "float64" or (dtype is None and _has_float64(weights))
    with x64() if wide else nullcontext():
        yield from _changes(make, weights, gradients, dtype, rule, route or ROUTES[0], named)


def _has_float64(weights: Any) -> bool:
    return any(getattr(x, "dtype", None) == np.float64 for x in jax.tree.leaves(weights))


def _changes(
    make: Any, weights: Any, gradients: Iterable[Any], dtype: str | None, rule: Any, route: str,
    named: Mapping[str, str],
) -> Iterator[Change]:  # fmt: skip
    if isinstance(rule, str):
        raise BadInput(f"rule is {rule!r}; expected one of optax' optimizers, such as optax.adam(0.1)")
    if route not in ROUTES:
        raise unknown("route", route, ROUTES)
    average = make if rule is None else rule
    if isinstance(average, partial) and average.func is optax.incremental_update:
        if route != "eager":
            raise BadInput(
                f"route {route!r}: optax.incremental_update is a function, which runs as it is; leave it out"
            )
        none_named(named, "an average")
        yield from _averages(make, average, weights, gradients, dtype)
        return
    transformation = _made(make, "make")
    like = transformation if rule is None else _made(rule, "rule")
    parts = parts_of(like)
    all_together = is_lbfgs(parts)
    if all_together:
        none_named(named, "L-BFGS")
    if rule is not None and not all_together and parts[0].name != "partition" and rule_of(parts, 1) is None:
        raise BadInput(f"rule is a chain of {', '.join(p.name for p in parts)}; expected one of optax' optimizers")
    names, leaves, tree = _named(weights, dtype)
    current = jax.tree.unflatten(tree, leaves)
    state = _run(0, "init", transformation.init, current)

    def labels(of: Any) -> list[str]:
        return jax.tree.leaves(of(current) if callable(of) else of)

    parts_of_array = part_of_tensor(parts, labels)

    def updated(g: Any, s: Any, w: Any) -> Any:
        moved, after = transformation.update(g, s, w)
        return optax.apply_updates(w, moved), after

    step = jax.jit(updated) if route == "jit" else updated
    for number, given in enumerate(gradients, 1):
        g = _like(given, names, leaves, tree, number - 1)
        new, after = _run(number, "update", step, g, state, current)
        if all_together:
            of_all = asked_of(parts, number)
            again = partial(_recorded_together, updated, (g, state, current), number)
            old, now = state_of(current, state, number - 1, numbers), state_of(new, after, number, numbers)
            name = names[0] if len(names) == 1 else f"{names[0]}…{names[-1]}"
            yield Change(name, number, flat(g, numbers), old, now, dtypes_of(new, now, after), of_all, again,
                         route=route, theirs=rule is None)  # fmt: skip
            current, state = new, after
            continue
        before_leaves, after_leaves = _states(state, tree), _states(after, tree)
        for n, name in enumerate(names):
            w, w_new, gradient = (jax.tree.leaves(x)[n] for x in (current, new, g))
            asked = _with_coefficients(rule_of(parts_of_array(n), number, np.shape(w)), state)
            asked = asked and renamed(asked, named)
            old = {"w": numbers(w), **{k: numbers(v[n]) for k, v in before_leaves.items() if v[n] is not None}}
            now = {"w": w_new, **{k: v[n] for k, v in after_leaves.items() if v[n] is not None}}
            dtypes = {k: str(v.dtype) for k, v in (*now.items(), ("gradient", gradient))}
            again = partial(_recorded, updated, (g, state, current), tree, n)
            beside = {}
            if asked is not None and asked.clip == "norm":
                others = [x for m, x in enumerate(jax.tree.leaves(g)) if m != n]
                beside = {f"dE/dw{m}": numbers(x) for m, x in enumerate(others, 2)}
                dtypes |= {f"dE/dw{m}": str(x.dtype) for m, x in enumerate(others, 2)}
            yield Change(name, number, numbers(gradient), old, {k: numbers(v) for k, v in now.items()}, dtypes, asked,
                         again, route=route, theirs=rule is None, beside=beside)  # fmt: skip
        current, state = new, after


def _averages(
    make: Any, average: partial[Any], weights: Any, gradients: Iterable[Any], dtype: str | None
) -> Iterator[Change]:
    """What optax.incremental_update with its step, or one's own, makes of the average; the weights are its first."""
    if not set(average.keywords) == {"step_size"} or average.args:
        raise BadInput("incremental_update: expected partial(optax.incremental_update, step_size=…)")
    names, leaves, tree = _named(weights, dtype)
    asked = Asked("ema", {"step": True}, {"s": float(average.keywords["step_size"])}, {"a": "average"})
    current = jax.tree.unflatten(tree, leaves)
    for number, given in enumerate(gradients, 1):
        new = _like(given, names, leaves, tree, number - 1)
        after = _run(number, "the average", make, new, current)
        of = (jax.tree.leaves(x) for x in (new, current, after))
        for name, w, a, a_new in zip(names, *of, strict=True):
            dtypes = {"w": str(w.dtype), "gradient": str(w.dtype), "average": str(a_new.dtype)}
            yield Change(name, number, numbers(w), {"w": numbers(w), "average": numbers(a)},
                         {"w": numbers(w), "average": numbers(a_new)}, dtypes, asked, route="eager",
                         theirs=make is average)  # fmt: skip
        current = after


# What is run ----------------------------------------------------------------------------------------------------------


def _made(make: Any, what: str) -> Any:
    """The transformation, which may be given itself or made by a function."""
    if hasattr(make, "init") and hasattr(make, "update"):
        return make
    try:
        found = make()
    except Exception as error:  # whatever the user's function raises
        asked = "" if not isinstance(error, TypeError) else (
            "; for weights of JAX expected an optax transformation, or a function without arguments that gives one"
        )  # fmt: skip
        raise BadInput(f"{what} raised {type(error).__name__}: {said(error)}{asked}") from error
    if not (hasattr(found, "init") and hasattr(found, "update")):
        raise BadInput(f"{what} gave a {type(found).__name__}; expected an optax transformation, with init and update")
    return found


def _named(weights: Any, dtype: str | None) -> tuple[list[str], list[Any], Any]:
    """The weights' names in their tree, the arrays, cast where that is asked for, and the tree."""
    paths, tree = jax.tree_util.tree_flatten_with_path(weights)
    names, leaves = [], []
    for path, x in paths:
        name = jax.tree_util.keystr(path).strip(".") or "w"
        if not hasattr(x, "dtype") or format_of(x) is None:
            raise BadInput(
                f"weights: {name} is {getattr(x, 'dtype', type(x).__name__)}; expected a floating-point array"
            )
        if not np.size(x):
            raise BadInput(f"weights: {name} has no numbers; its shape is {np.shape(x)}")
        names.append(name)
        leaves.append(jnp.asarray(x) if dtype is None else jnp.asarray(np.asarray(x).astype(jnp.dtype(dtype))))
    return names, leaves, tree


def _like(given: Any, names: Sequence[str], leaves: Sequence[Any], tree: Any, update: int) -> Any:
    """A gradient, in the weights' dtypes."""
    found = jax.tree.leaves(given)
    if len(found) != len(leaves):
        raise BadInput(
            f"gradients[{update}] has {len(found)} arrays; the weights have {len(leaves)}: expected for each update a "
            "gradient for each of them, in a tree like theirs"
        )
    for name, g, w in zip(names, found, leaves, strict=True):
        if np.shape(g) != np.shape(w):
            raise BadInput(f"gradients[{update}]: {name} has shape {np.shape(g)}; the weight has {np.shape(w)}")
    cast = [jnp.asarray(np.asarray(g).astype(w.dtype)) for g, w in zip(found, leaves, strict=True)]
    return jax.tree.unflatten(tree, cast)


def _run(number: int, what: str, f: Callable[..., Any], *args: Any) -> Any:
    try:
        return f(*args)
    except Exception as error:  # whatever a transformation raises
        where = f"update {number}: " if number else ""
        raise BadInput(f"{where}{what} raised {type(error).__name__}: {said(error)}") from error


def _states(state: Any, tree: Any) -> dict[str, list[Any]]:
    """What of the state is like the weights, by the name that its part of the transformation has for it.

    Of a partition a part has what belongs to it: of other arrays there is None.
    """
    found: dict[str, list[Any]] = {}

    def look(x: Any) -> None:
        for field in getattr(x, "_fields", ()):
            value = getattr(x, field)
            leaves, structure = jax.tree.flatten(value, is_leaf=_masked)
            if structure == tree and any(map(_real, leaves)) and all(_real(v) or _masked(v) for v in leaves):
                own = found.setdefault(field, [None] * len(leaves))
                found[field] = [a if _masked(v) else v for a, v in zip(own, leaves, strict=True)]
            else:
                look(value)
        if isinstance(x, Mapping):
            for value in x.values():
                look(value)
        elif isinstance(x, list | tuple) and not hasattr(x, "_fields"):
            for value in x:
                look(value)

    look(state)
    return found


def _with_coefficients(asked: Asked | None, state: Any) -> Asked | None:
    """Of Muon also the coefficients of its iteration, which are in the state."""
    if asked is None or asked.rule != "muon":
        return asked
    holding = jax.tree.leaves(state, is_leaf=lambda x: hasattr(x, "ns_coeffs"))
    found = np.asarray(next(x.ns_coeffs for x in holding if hasattr(x, "ns_coeffs")), dtype=np.float64)
    if found.shape != (3,):
        return None
    return replace(
        asked, settings={**asked.settings, **dict(zip(("ns_a", "ns_b", "ns_c"), found.tolist(), strict=True))}
    )


def _record(step: Callable[..., Any], given: tuple[Any, Any, Any]) -> tuple[Recorder, Any, Any, Any]:
    """The record of an update; what it was given, the new weights and the new state, of values of the record."""
    leaves, whole = jax.tree.flatten(given)

    def flat(*leaves: Any) -> list[Any]:
        return jax.tree.leaves(step(*jax.tree.unflatten(whole, leaves)))

    jaxpr = jax.make_jaxpr(flat)(*leaves)
    recorder = Recorder(texts=texts(flat, leaves, jaxpr))
    arguments = [recorder.argument(x) for x in leaves]
    results = closed(recorder, jaxpr, arguments)
    _, after = jax.tree.flatten(jax.eval_shape(step, *given))
    new, state = jax.tree.unflatten(after, results)
    return recorder, jax.tree.unflatten(whole, arguments), new, state


def _recorded(step: Callable[..., Any], given: tuple[Any, Any, Any], tree: Any, number: int) -> Recorded:
    """The record of an update, for one array."""
    recorder, old, new, state = _record(step, given)
    ids = {"w": jax.tree.leaves(new)[number].ids}
    ids |= {k: v[number].ids for k, v in _states(state, tree).items() if v[number] is not None}
    before = {"w": jax.tree.leaves(old[2])[number].ids, "gradient": jax.tree.leaves(old[0])[number].ids}
    before |= {k: v[number].ids for k, v in _states(old[1], tree).items() if v[number] is not None}
    return Recorded(recorder.record, before, ids, tuple(recorder.foreign))


def _recorded_together(step: Callable[..., Any], given: tuple[Any, Any, Any], number: int) -> Recorded:
    """The record of update `number` of L-BFGS, of all arrays."""

    def ids(x: Any) -> Any:
        return x.ids

    recorder, old, new, state = _record(step, given)
    before = {"gradient": flat(old[0], ids), **state_of(old[2], old[1], number - 1, ids)}
    return Recorded(recorder.record, before, state_of(new, state, number, ids), tuple(recorder.foreign))


def _masked(x: Any) -> bool:
    return isinstance(x, optax.MaskedNode)


def _real(x: Any) -> bool:
    return getattr(x, "ids", None) is not None or (hasattr(x, "dtype") and format_of(x) is not None)


def array(numbers: Numbers) -> jax.Array:
    """Numbers as a weight or gradient."""
    with x64():
        return jnp.asarray(numbers)


def versions() -> dict[str, str]:
    """The framework's own versions."""
    return {name: metadata.version(name) for name in ("jax", "jaxlib", "optax")}


__all__ = ["ADAPTER", "FRAMEWORK", "ROUTES", "array", "changes", "versions"]
