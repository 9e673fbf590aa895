"""Indexing, scattering, embedding and sorting: what moves numbers, and adds those that go to one place."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations
from typing import Any

import numpy as np

from gradconform.reference.derivations.operators.operator import Operand, Operator

_X, _ROW = Operand("x", shape=(3, 4)), Operand("x", shape=(4,))
_I = Operand("i", (0.0, 3.0), (4,), "index")
_DISTINCT = Operand("x", shape=(2, 4), draws="distinct")
_REPEATED = {"repeated": ([[1.0, 2.0], [0.5, -1.0], [3.0, 0.25]], [1, 1, 1, 0])}
_TIES = {"ties": ([[1.0, 2.0, 2.0, 0.0], [0.0, 0.0, 0.0, 0.0]],)}


def _moves(name: str, how: Callable[[Any], Any], source: str, operand: Operand = _X) -> Operator:
    """An operator that only moves numbers."""
    return Operator(name, "indexing", lambda o, x: x.moved(how), source, (operand,))


def _order(x: Any, descending: bool = False) -> Any:
    key = -x.held if descending else x.held
    return np.argsort(key, axis=-1, kind="stable")


def _sorted(x: Any, descending: bool = False) -> Any:
    order = _order(x, descending)
    return x.moved(lambda ids: np.take_along_axis(ids, order, -1))


def _ranked(o: Any, x: Any) -> Any:
    """The k-th largest as the largest of the smallest of any k, so that each of several equal ones has its slopes."""
    width = range(x.shape[-1])
    ranks = [[x[..., list(chosen)].min(-1) for chosen in combinations(width, k + 1)] for k in width]
    return o.stack([o.stack(each, -1).max(-1) for each in ranks], -1)


def _index_add(o: Any, x: Any, i: Any, s: Any) -> Any:
    return x + o.scattered(s, i, x.shape[0])


def _scatter(o: Any, x: Any, i: Any, s: Any) -> Any:
    """The last one that goes to a place stays there; the indices of a case are distinct."""
    places = {int(k): n for n, k in enumerate(i)}
    return o.stack([s[places[k]] if k in places else x[k] for k in range(x.shape[0])])


def _segment_products(o: Any, s: Any, i: Any) -> Any:
    found = []
    for k in range(3):
        rows = s[np.flatnonzero(np.asarray(i) == k)]
        found.append(rows.prod(0) if len(rows) else o.zeros(s.shape[1:]) + 1.0)
    return o.stack(found)


def _tri(x: Any, lower: bool) -> Any:
    return x.moved(lambda ids: np.tril(ids) if lower else np.triu(ids))  # the id 0 is the number 0


_ROWS = Operand("s", shape=(4, 2))
_TABLE = Operand("x", shape=(3, 2))
_PERMUTED = Operand("i", (0.0, 3.0), (2,), "index", draws="distinct")

OPERATORS = (
    Operator("index_select", "indexing", lambda o, x, i: x[i], "x_i", (_TABLE, _I), edges=_REPEATED),
    Operator("take", "indexing", lambda o, x, i: x.reshape(12)[i], "of the flat array", (_X, _I)),
    Operator("gather", "indexing", lambda o, x, i: x.moved(lambda ids: np.take_along_axis(ids, i, 0)), "along an axis",
             (_TABLE, Operand("i", (0.0, 3.0), (4, 2), "index"))),
    Operator("embedding", "indexing", lambda o, x, i: x[i], "rows of a table", (_TABLE, _I), edges=_REPEATED),
    Operator("index_add", "indexing", _index_add, "x_i + Σ of what goes to i", (_TABLE, _I, _ROWS)),
    Operator("scatter_add", "indexing", _index_add, "x_i + Σ of what goes to i", (_TABLE, _I, _ROWS)),
    Operator("index_put", "indexing", _scatter, "s where an index says so, else x",
             (_TABLE, _PERMUTED, Operand("s", shape=(2, 2))), edges={
                 "distinct": ([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], [2, 0], [[0.5, 0.25], [-1.0, 1.5]])}),
    Operator("segment_sum", "indexing", lambda o, s, i: o.scattered(s, i, 3), "Σ of each segment", (_ROWS, _I)),
    Operator("segment_prod", "indexing", _segment_products, "Π of each segment", (
        _ROWS, Operand("i", (0.0, 3.0), (4,), "index")), edges={
            "repeated": ([[1.0, 2.0], [0.5, -1.0], [3.0, 0.25], [2.0, 2.0]], [0, 1, 1, 2]),
            "a zero": ([[0.0, 2.0], [0.5, -1.0], [0.0, 0.25], [2.0, 2.0]], [0, 1, 1, 2])}),
    Operator("masked_fill", "indexing", lambda o, x, m, value: o.where(m, value, x), "a number where the mask is true",
             (_X, Operand("m", shape=(3, 4), kind="mask")), ({"value": -2.5},)),
    Operator("select_mask", "indexing", lambda o, x, y, m: o.where(m, x, y), "x where the mask is true, else y",
             (_X, Operand("y", shape=(3, 4)), Operand("m", shape=(3, 4), kind="mask"))),
    Operator("sort", "indexing", lambda o, x: _sorted(x), "in ascending order", (_DISTINCT,), edges=_TIES),
    Operator("sort_descending", "indexing", lambda o, x: _ranked(o, x), "in descending order", (_DISTINCT,),
             edges=_TIES),
    Operator("topk", "indexing", lambda o, x, k: _sorted(x, True)[..., :k], "the k largest", (_DISTINCT,), ({"k": 2},)),
    Operator("kthvalue", "indexing", lambda o, x, k: _sorted(x)[..., k - 1], "the k-th smallest", (_DISTINCT,),
             ({"k": 2},)),
    Operator("partition", "indexing", lambda o, x: _sorted(x)[..., 0], "the first of a partition", (_DISTINCT,)),
    _moves("flip", lambda ids: ids[..., ::-1], "in the other order"),
    _moves("roll", lambda ids: np.roll(ids, 1, -1), "by one place"),
    _moves("transpose", lambda ids: ids.T, "xᵀ"),
    _moves("reshape", lambda ids: ids.reshape(2, 6), "in another shape"),
    _moves("repeat", lambda ids: np.tile(ids, (1, 2)), "twice, one after the other"),
    _moves("repeat_interleave", lambda ids: np.repeat(ids, 2, -1), "each twice"),
    _moves("broadcast_to", lambda ids: np.broadcast_to(ids, (2, 3, 4)), "along a new axis"),
    _moves("diagonal", lambda ids: np.diagonal(ids), "the diagonal"),
    _moves("rot90", lambda ids: np.rot90(ids), "turned by a quarter"),
    _moves("moveaxis", lambda ids: np.moveaxis(ids, 0, -1), "an axis elsewhere"),
    _moves("slice", lambda ids: ids[1:, ::2], "every second"),
    _moves("slice_backwards", lambda ids: ids[::-1, ::-1][:, 1:], "from the end"),
    _moves("pad_zeros", lambda ids: np.pad(ids, ((0, 0), (1, 2))), "zeros around"),
    _moves("pad_reflect", lambda ids: np.pad(ids, ((0, 0), (1, 2)), mode="reflect"), "reflected"),
    _moves("pad_replicate", lambda ids: np.pad(ids, ((0, 0), (1, 2)), mode="edge"), "the last again"),
    _moves("pad_circular", lambda ids: np.pad(ids, ((0, 0), (1, 2)), mode="wrap"), "from the other end"),
    _moves("diag_embed", lambda ids: np.diag(ids), "on a diagonal", _ROW),
    Operator("tril", "indexing", lambda o, x: _tri(x, True), "below the diagonal", (_X,)),
    Operator("triu", "indexing", lambda o, x: _tri(x, False), "above the diagonal", (_X,)),
    Operator("stack", "indexing", lambda o, x, y: o.stack([x, y]), "both", (_X, Operand("y", shape=(3, 4)))),
    Operator("concatenate", "indexing", lambda o, x, y: o.concatenate([x, y], -1), "one after the other",
             (_X, Operand("y", shape=(3, 2)))),
)  # fmt: skip
