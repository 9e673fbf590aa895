"""Factorizations of matrices written out as steps, on arrays of ids; leading axes are batches."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from gradconform.reference.formats import Format
from gradconform.reference.programs.record import ONE, Ids, Record

Pair = tuple[Ids, Ids]


def minus_products(record: Record, c: Ids, pairs: Sequence[Pair], format: Format) -> Ids:
    """c − Σ a·b, element by element."""
    if not pairs:
        return c
    ones = np.full(c.shape, ONE, dtype=np.int64)
    negated = [record.map("negative", [np.broadcast_to(a, c.shape)], format) for a, _ in pairs]
    left = np.stack([c, *negated], -1)
    right = np.stack([ones, *(np.broadcast_to(b, c.shape) for _, b in pairs)], -1)
    return record.sop(left, right, format)


def cholesky(record: Record, x: Ids, format: Format) -> Ids:
    """L with L·Lᵀ = x, of the lower triangle of x; the ids above the diagonal are those of 0."""
    size = x.shape[-1]
    found = np.zeros(x.shape, dtype=np.int64)
    for j in range(size):
        rest = minus_products(record, x[..., j, j], [(found[..., j, k],) * 2 for k in range(j)], format)
        found[..., j, j] = record.map("sqrt", [rest], format)
        for i in range(j + 1, size):
            pairs = [(found[..., i, k], found[..., j, k]) for k in range(j)]
            rest = minus_products(record, x[..., i, j], pairs, format)
            found[..., i, j] = record.map("divide", [rest, found[..., j, j]], format)
    return found


def symmetric_part(record: Record, x: Ids, format: Format) -> Ids:
    """½(x + xᵀ): a factorization of a symmetric matrix is a function of that, and its derivative is symmetric."""
    half = np.full((*x.shape, 2), record.number(0.5), dtype=np.int64)
    return record.sop(np.stack([x, np.swapaxes(x, -1, -2)], -1), half, format)


def lu(record: Record, x: Ids, permutation: NDArray[np.integer], format: Format) -> Ids:
    """L and U in one matrix, of the rows of x in the order that the run took."""
    rows = np.take_along_axis(x, np.asarray(permutation, dtype=np.int64)[..., None], -2)
    found = np.zeros(x.shape, dtype=np.int64)
    for j in range(x.shape[-1]):
        for i in range(x.shape[-2]):
            pairs = [(found[..., i, k], found[..., k, j]) for k in range(min(i, j))]
            rest = minus_products(record, rows[..., i, j], pairs, format)
            found[..., i, j] = rest if i <= j else record.map("divide", [rest, found[..., j, j]], format)
    return found


def substitution(record: Record, a: Ids, b: Ids, lower: bool, unit: bool, format: Format) -> Ids:
    """a⁻¹·b for a triangular a of shape (…, n, n) and b of shape (…, n, m)."""
    size = a.shape[-1]
    found = np.zeros(b.shape, dtype=np.int64)
    for i in range(size) if lower else reversed(range(size)):
        known = range(i) if lower else range(i + 1, size)
        row = b[..., i, :]
        pairs = [(np.broadcast_to(a[..., i, k, None], row.shape), found[..., k, :]) for k in known]
        rest = minus_products(record, row, pairs, format)
        found[..., i, :] = rest if unit else record.map("divide", [rest, a[..., i, i, None]], format)
    return found
