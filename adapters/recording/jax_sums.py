"""Rules for what combines or scatters rows of numbers: sums, products, windows, cumulative operations, sorting."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

import numpy as np

from gradconform.adapters.recording.jax_movement import (
    along,
    contraction,
    convolution,
    grouped,
    prefixes,
    scatter_targets,
    windows,
)
from gradconform.adapters.recording.jax_values import Found, Operation, Rule
from gradconform.reference.programs.record import ONE, ZERO, Form, Ids
from gradconform.reference.programs.run import NotRecorded

# Sums, products and extremes of rows ----------------------------------------------------------------------------------


def _sum(at: Operation) -> Found:
    return [at.record.sop(along(at.ids(0), at.parameters["axes"]), None, at.format, at.got)]


def _reduced(kind: Literal["product", "maximum", "minimum"]) -> Rule:
    return lambda at: [at.record.combine(kind, along(at.ids(0), at.parameters["axes"]), at.format, at.got)]


def _products(at: Operation) -> Found:
    return [at.record.sop(*contraction(at.ids(0), at.ids(1), at.parameters), at.format, at.got)]


def _convolution(at: Operation) -> Found:
    return [at.record.sop(*convolution(at.ids(0), at.ids(1), at.parameters, ZERO), at.format, at.got)]


def _cumulative(kind: Literal["sop", "product", "maximum", "minimum"]) -> Rule:
    fills: Mapping[str, Callable[[Ids], Ids]] = {
        "sop": lambda first: np.full(first.shape, ZERO),
        "product": lambda first: np.full(first.shape, ONE),
    }

    def rule(at: Operation) -> Found:
        p = at.parameters
        return _combined(at, kind, prefixes(at.ids(0), p["axis"], p["reverse"], fills.get(kind, lambda first: first)))

    return rule


def _cumulative_logsumexp(at: Operation) -> Found:
    """log Σ e^x over each prefix; as it is computed, one number after the other, by the largest of the two."""
    p, record, format = at.parameters, at.record, at.format
    with record.inside() as steps:
        powers = record.map("exp", [at.ids(0)], format)
        rows = prefixes(powers, p["axis"], p["reverse"], lambda first: np.full(first.shape, ZERO))
        exactly = record.map("log", [record.sop(rows, None, format)], format)
    with record.inside() as chained:
        x = np.moveaxis(at.ids(0), p["axis"], -1)
        x = x[..., ::-1] if p["reverse"] else x
        found = [x[..., 0]]
        for i in range(1, x.shape[-1]):
            largest = record.combine("maximum", np.stack([found[-1], x[..., i]], -1), format)
            apart = record.map("absolute", [record.map("subtract", [found[-1], x[..., i]], format)], format)
            power = record.map("exp", [record.map("negative", [apart], format)], format)
            found.append(record.map("add", [largest, record.map("log1p", [power], format)], format))
        stacked = np.stack(found[::-1] if p["reverse"] else found, -1)
    form = Form("max + log1p(e^−|difference|)", tuple(chained), np.moveaxis(stacked, -1, p["axis"]))
    return [record.fused("cumlogsumexp", Form("log Σ e^x", tuple(steps), exactly), [form], format, at.got)]


def _combiner(at: Operation) -> Literal["sop", "product", "maximum", "minimum"]:
    """What a general reduction combines by, where that is one operation."""
    names = [e.primitive.name for e in at.parameters["jaxpr"].eqns]
    kinds: Mapping[str, Literal["sop", "product", "maximum", "minimum"]] = {
        "add": "sop", "mul": "product", "max": "maximum", "min": "minimum",
    }  # fmt: skip
    if len(names) != 1 or names[0] not in kinds or len(at.operands) != 2:
        raise NotRecorded(f"{at.equation.primitive.name} by {', '.join(names)}: expected one of {', '.join(kinds)}")
    return kinds[names[0]]


def _combined(at: Operation, kind: Literal["sop", "product", "maximum", "minimum"], rows: Ids) -> Found:
    if kind == "sop":
        return [at.record.sop(rows, None, at.format, at.got)]
    return [at.record.combine(kind, rows, at.format, at.got)]


def _general(at: Operation) -> Found:
    """A reduction, or one over windows, by an operation of its own, with the number that it starts from."""
    kind, start = _combiner(at), int(at.ids(1))
    if at.equation.primitive.name == "reduce":
        rows = along(at.ids(0), at.parameters["dimensions"])
    else:
        rows = windows(at.ids(0), at.parameters, start)
    return _combined(at, kind, np.concatenate([rows, np.full((*rows.shape[:-1], 1), start)], -1))


def _window(kind: Literal["sop", "maximum", "minimum"]) -> Rule:
    def rule(at: Operation) -> Found:
        fill = {"sop": 0.0, "maximum": -np.inf, "minimum": np.inf}[kind]
        return _combined(at, kind, windows(at.ids(0), at.parameters, at.record.number(fill)))

    return rule


def _chosen_of_windows(at: Operation, operand: int) -> Ids:
    """The flat position of the number that each window chooses of an operand."""
    held = np.asarray(at.operands[operand].held).astype(np.float64)
    positions = windows(np.arange(held.size).reshape(held.shape), at.parameters, -1)
    largest = at.parameters["select_prim"].name == "ge"
    values = np.where(positions < 0, -np.inf if largest else np.inf, held.ravel()[positions])
    best = values.argmax(-1) if largest else values.argmin(-1)
    chosen = np.take_along_axis(positions, best[..., None], -1)
    if at.operands[operand].depends:
        ids = at.ids(operand).ravel()
        in_window = np.where(positions < 0, ids[chosen], ids[positions])
        at.to.compared("ge" if largest else "le", ids[chosen], in_window)
    return chosen[..., 0]


def _select_and_scatter(at: Operation) -> Found:
    where = _chosen_of_windows(at, 1)
    base = np.full(np.shape(at.operands[1].held), ZERO)
    return [_added(at, base, where, at.ids(0))]


def _select_and_gather(at: Operation) -> Found:
    return [at.ids(0).ravel()[_chosen_of_windows(at, 1)]]


# Scatter, sorting -----------------------------------------------------------------------------------------------------


def _added(at: Operation, base: Ids, where: Ids, sources: Ids) -> Ids:
    """`base` with sources added where they go."""
    places, rows = grouped(base, where, sources, ZERO)
    found = base.ravel().copy()
    single = (rows != ZERO).sum(-1) <= 1  # one number on 0 is that number
    found[places[single]] = rows[single].max(-1, initial=ZERO)
    many = places[~single]
    if many.size:
        found[many] = at.record.sop(rows[~single], None, at.format, at.got.ravel()[many])
    return found.reshape(base.shape)


def _scatter_add(at: Operation) -> Found:
    base, updates = at.ids(0), at.ids(2)
    where = scatter_targets(at.parameters, base.shape, at.operands[1].held, updates.shape)
    if at.equation.primitive.name == "scatter-sub":
        updates = at.record.map("negative", [updates], at.format)
    return [_added(at, base, where, updates)]


def _scatter_combined(kind: Literal["product", "maximum", "minimum"]) -> Rule:
    def rule(at: Operation) -> Found:
        base, updates = at.ids(0), at.ids(2)
        where = scatter_targets(at.parameters, base.shape, at.operands[1].held, updates.shape)
        places, rows = grouped(base, where, updates, -1)
        rows = np.where(rows < 0, ONE if kind == "product" else rows[:, :1], rows)
        found = base.ravel().copy()
        found[places] = at.record.combine(kind, rows, at.format, at.got.ravel()[places])
        return [found.reshape(base.shape)]

    return rule


def _scatter(at: Operation) -> Found:
    """Each update where it goes; of several for one place the last, as XLA's processors have it."""
    base, updates = at.ids(0), at.ids(2)
    where = scatter_targets(at.parameters, base.shape, at.operands[1].held, updates.shape)
    found = base.ravel().copy()
    kept = where.ravel() >= 0
    found[where.ravel()[kept]] = updates.ravel()[kept]
    return [found.reshape(base.shape)]


def _sorted(at: Operation) -> Found:
    order = np.asarray(at.held[-1]).astype(np.int64)
    axis = at.parameters["dimension"]
    found = [None if o.ids is None else np.take_along_axis(o.ids, order, axis) for o in at.operands]
    if found[0] is not None and at.operands[0].depends:
        rows = np.moveaxis(found[0], axis, -1)
        at.record.ordered.append(rows)
        at.to.compared("le", rows[..., :-1], rows[..., 1:])
    return found


def _top(at: Operation) -> Found:
    order, x = np.asarray(at.held[1]).astype(np.int64), at.ids(0)
    p = at.parameters
    axis = p.get("axis", p.get("reduction_dimension", x.ndim - 1))
    relation: Literal["ge", "le"] = "ge" if p.get("is_max_k", True) else "le"
    found = np.take_along_axis(x, order, axis)
    if at.operands[0].depends and found.size:
        rows, all_of = np.moveaxis(found, axis, -1), np.moveaxis(x, axis, -1)
        others = np.ones(all_of.shape, dtype=np.bool_)
        np.put_along_axis(others, np.moveaxis(order, axis, -1), False, -1)
        at.record.ordered.append(x)
        at.to.compared(relation, rows[..., :-1], rows[..., 1:])
        at.to.compared(relation, rows[..., -1:], np.where(others, all_of, rows[..., -1:]))
    return [found, None]


SUMS: Mapping[str, Rule] = {
    "reduce_sum": _sum,
    "reduce_prod": _reduced("product"),
    "reduce_max": _reduced("maximum"),
    "reduce_min": _reduced("minimum"),
    "dot_general": _products,
    "conv_general_dilated": _convolution,
    "cumsum": _cumulative("sop"),
    "cumprod": _cumulative("product"),
    "cummax": _cumulative("maximum"),
    "cummin": _cumulative("minimum"),
    "cumlogsumexp": _cumulative_logsumexp,
    "reduce_window_sum": _window("sop"),
    "reduce_window_max": _window("maximum"),
    "reduce_window_min": _window("minimum"),
    "reduce": _general,
    "reduce_window": _general,
    "select_and_scatter_add": _select_and_scatter,
    "select_and_gather_add": _select_and_gather,
    "scatter-add": _scatter_add,
    "scatter_add": _scatter_add,
    "scatter-sub": _scatter_add,
    "scatter_mul": _scatter_combined("product"),
    "scatter-mul": _scatter_combined("product"),
    "scatter_max": _scatter_combined("maximum"),
    "scatter-max": _scatter_combined("maximum"),
    "scatter_min": _scatter_combined("minimum"),
    "scatter-min": _scatter_combined("minimum"),
    "scatter": _scatter,
    "sort": _sorted,
    "top_k": _top,
    "approx_top_k": _top,
}
