"""Rules for factorizations and the solution of linear systems: kernels whose definitions are written out as steps."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from gradconform.adapters.recording.factorizations import (
    WHOLE_BASES,
    Solved,
    check_symmetric,
    cholesky,
    lu,
    minus_products,
    substitution,
    symmetric_part,
)
from gradconform.adapters.recording.torch_call import Call, Results, Rule
from gradconform.adapters.recording.torch_memory import numbers
from gradconform.reference.programs.record import ONE, ZERO, Form, Ids, Numbers
from gradconform.reference.programs.run import NotRecorded

Order = NDArray[np.int64]


def as_kernel(c: Call, definition: Callable[[], Sequence[Ids]], solved: Solved | None = None) -> list[Ids]:
    """One step for the first results, by a definition that gives their ids, maybe as what solves equations."""
    with c.record.inside() as steps:
        found = definition()
    solutions = () if solved is None else tuple(solved.solutions)
    shapes = [tuple(c.outs[n].shape) for n in range(len(found))]
    flat = np.concatenate([np.broadcast_to(f, s).ravel() for f, s in zip(found, shapes, strict=True)])
    held = np.concatenate([numbers(c.outs[n]).ravel() for n in range(len(found))])
    ids = c.record.fused(f"aten::{c.name}", Form("definition", tuple(steps), flat, solutions=solutions), (),
                         c.format, held)  # fmt: skip
    parts = np.split(ids, np.cumsum([f.size for f in (np.empty(s) for s in shapes)])[:-1])
    return [p.reshape(s) for p, s in zip(parts, shapes, strict=True)]


def _turned(x: Ids) -> Ids:
    return np.swapaxes(x, -1, -2)


def _back(x: Numbers) -> Numbers:
    return np.swapaxes(x, -1, -2)


def _identity(size: int, batch: Sequence[int]) -> Ids:
    return np.broadcast_to(np.where(np.eye(size, dtype=bool), ONE, ZERO), (*batch, size, size)).copy()


def _rows(x: Ids, order: Order) -> Ids:
    return np.take_along_axis(x, np.broadcast_to(order[..., None], (*x.shape[:-1], 1)), -2)


def _order(pivots: torch.Tensor, size: int) -> Order:
    """The order of the rows that a list of exchanges leads to."""
    exchanged = pivots.cpu().numpy()
    found = np.broadcast_to(np.arange(size), (*exchanged.shape[:-1], size)).copy()
    for at in np.ndindex(exchanged.shape[:-1]):
        for i, p in enumerate(exchanged[at].tolist()):
            found[at][[i, p - 1]] = found[at][[p - 1, i]]
    return found


def _transposed(a: Numbers, factors: Numbers, order: Order) -> bool:
    """Whether these are the factors of Aᵀ: kernels take that where it is how A lies in memory."""
    size = a.shape[-1]
    with np.errstate(all="ignore"):
        product = (np.tril(factors, -1) + np.eye(size)) @ np.triu(factors)

    def off(x: Numbers) -> tuple[float, float]:
        apart = np.abs(np.take_along_axis(x, order[..., None], -2) - product)
        return float(apart[..., :1, :].max(initial=0.0)), float(apart.max(initial=0.0))

    # The first row is the matrix's own, not rounded: of a matrix that is symmetric to its rounding that alone tells.
    return off(np.swapaxes(a, -1, -2)) < off(a)


def _factored(c: Call, factors: torch.Tensor, pivots: torch.Tensor) -> tuple[Ids, Order, bool]:
    """The matrix as it was factored, the order of its rows, and whether it is the transpose."""
    a = c.operand("A")
    order = _order(pivots, a.shape[-2])
    turned = a.shape[-1] == a.shape[-2] and _transposed(numbers(c.value(c["A"])), numbers(factors), order)
    return (_turned(a) if turned else a), order, turned


def _solved(c: Call, factors: Ids, order: Order, b: Ids, adjoint: bool) -> Ids:
    """A⁻¹·b by the factors of A, or of Aᵀ."""
    if not adjoint:
        y = substitution(c.record, factors, _rows(b, order), lower=True, unit=True, format=c.format)
        return substitution(c.record, factors, y, lower=False, unit=False, format=c.format)
    y = substitution(c.record, _turned(factors), b, lower=True, unit=False, format=c.format)
    y = substitution(c.record, _turned(factors), y, lower=False, unit=True, format=c.format)
    return _rows(y, np.argsort(order, -1))


def _cholesky(c: Call) -> Results:
    def definition() -> list[Ids]:
        x = c.operand("self")
        found = cholesky(c.record, symmetric_part(c.record, x, c.format), c.format)
        return [_turned(found) if c["upper"] else found]

    return [*as_kernel(c, definition), *[None] * (len(c.outs) - 1)]


def _solved_beside(c: Call, factors: Ids, order: Order, b: Ids, adjoint: bool) -> Ids:
    """A⁻¹·b, or b·A⁻¹ where the matrix stands on the right: that is the adjoint of a system with bᵀ."""
    shape = np.broadcast_shapes(factors.shape[:-2], b.shape[:-2])
    factors, b = (np.broadcast_to(x, (*shape, *x.shape[-2:])) for x in (factors, b))
    order = np.broadcast_to(order, (*shape, order.shape[-1]))
    if c["left"] is False:
        return _turned(_solved(c, factors, order, _turned(b), not adjoint))
    return _solved(c, factors, order, b, adjoint)


def _solve(c: Call) -> Results:
    a, order, turned = _factored(c, c.outs[1], c.outs[2])
    b = c.operand("B")
    vector = b.ndim == 1 or b.shape == a.shape[:-1]

    def definition() -> list[Ids]:
        factors = lu(c.record, a, order, c.format)
        right = b[..., None] if vector else b
        found = _solved_beside(c, factors, order, right, turned)
        return [found[..., 0] if vector else found, factors]

    return [*as_kernel(c, definition), None, None]


def _lu_factor(c: Call) -> Results:
    a, order, _ = _factored(c, c.outs[0], c.outs[1])
    return [*as_kernel(c, lambda: [lu(c.record, a, order, c.format)]), None, None]


def _lu_solve(c: Call) -> Results:
    factors, b = c.operand("LU"), c.operand("B")
    order = _order(c["pivots"], factors.shape[-1])
    return as_kernel(c, lambda: [_solved_beside(c, factors, order, b, bool(c["adjoint"]))])


def _parts(factors: Ids) -> tuple[Ids, Ids]:
    """L, whose diagonal is 1, and U."""
    size, rows = min(factors.shape[-2:]), np.eye(factors.shape[-2], factors.shape[-1], dtype=bool)
    lower = np.where(np.tril(np.ones_like(rows), -1), factors, np.where(rows, ONE, ZERO))
    upper = np.where(np.triu(np.ones_like(rows)), factors, ZERO)
    return lower[..., :size], upper[..., :size, :]


def _lu_unpack(c: Call) -> Results:
    if c["unpack_data"] is False:
        return [None] * len(c.outs)
    return [None, *_parts(c.operand("LU_data"))]


def _lu_parts(c: Call) -> Results:
    """P, L and U with P·L·U = A."""
    a, (permutation, *parts) = c.operand("A"), c.outs
    order = permutation.cpu().numpy().argmax(-2) if permutation.numel() else np.arange(a.shape[-2])
    order = np.broadcast_to(order, a.shape[:-1])  # there is none where pivot=False, as other devices have it
    c.outs = parts
    found = as_kernel(c, lambda: list(_parts(lu(c.record, a, order, c.format))))
    c.outs = [permutation, *parts]
    return [None, *found]


def _reflected(c: Call, vectors: Ids, factors: Ids, x: Ids, last_first: bool) -> Ids:
    """H₁·H₂·…·x or …·H₂·H₁·x, of H = 1 − τ·v·vᵀ with v = (0, …, 1, what stands below the diagonal)."""
    count = factors.shape[-1]
    for k in reversed(range(count)) if last_first else range(count):
        v = vectors[..., k].copy()
        v[..., : k + 1] = [ZERO] * k + [ONE]
        along = c.record.sop(_turned(x), v[..., None, :], c.format)
        along = c.record.map("multiply", [along, factors[..., k, None]], c.format)
        pair = (np.broadcast_to(v[..., :, None], x.shape), np.broadcast_to(along[..., None, :], x.shape))
        x = minus_products(c.record, x, [pair], c.format)
    return x


def _householder_product(c: Call) -> Results:
    a, tau = c.operand("input"), c.operand("tau")
    one = _identity(a.shape[-2], a.shape[:-2])[..., : a.shape[-1]]
    return as_kernel(c, lambda: [_reflected(c, a, tau, one, last_first=True)])


def _times_householder_product(c: Call) -> Results:
    """Q·x, Qᵀ·x, or x·Q and x·Qᵀ, whose transposes are those."""
    a, tau, x = c.operand("self"), c.operand("input2"), c.operand("input3")
    left, transpose = c["left"] is not False, bool(c["transpose"])

    def definition() -> list[Ids]:
        found = _reflected(c, a, tau, x if left else _turned(x), last_first=left != transpose)
        return [found if left else _turned(found)]

    return as_kernel(c, definition)


def _inverse(c: Call) -> Results:
    a = c.operand("A")
    _, pivots = torch.linalg.lu_factor(c.value(c["A"]))
    order = _order(pivots, a.shape[-1])

    def definition() -> list[Ids]:
        return [_solved(c, lu(c.record, a, order, c.format), order, _identity(a.shape[-1], a.shape[:-2]), False)]

    return [*as_kernel(c, definition), None]


def _determinant(c: Call) -> Results:
    a, order, _ = _factored(c, c.outs[1], c.outs[2])
    sign = np.linalg.det(np.eye(a.shape[-1])[order])  # of a permutation: ±1

    def definition() -> list[Ids]:
        factors = lu(c.record, a, order, c.format)
        diagonal = np.diagonal(factors, axis1=-2, axis2=-1)
        product = c.record.combine("product", diagonal, c.format)
        return [c.record.map("multiply", [product, c.record.constants(np.rint(sign))], c.format), factors]

    return [*as_kernel(c, definition), None]


def _log_determinant(c: Call) -> Results:
    a, order, _ = _factored(c, c.outs[2], c.outs[3])
    by_name = {"logabsdet": c.outs[1], "LU": c.outs[2]}

    def definition() -> list[Ids]:
        factors = lu(c.record, a, order, c.format)
        diagonal = np.diagonal(factors, axis1=-2, axis2=-1)
        size = c.record.map(
            "absolute", [diagonal], c.format, np.abs(np.diagonal(numbers(c.outs[1]), axis1=-2, axis2=-1))
        )
        return [c.record.sop(c.record.map("log", [size], c.format), None, c.format), factors]

    sign, c.outs = c.outs[0], list(by_name.values()) + c.outs[3:]
    found = as_kernel(c, definition)
    c.outs = [sign, *c.outs]
    return [None, *found, None]


def _triangular(c: Call) -> Results:
    a, b = c.operand("self"), c.operand("B")
    lower, unit = not c["upper"], bool(c["unitriangular"])

    def definition() -> list[Ids]:
        if c["left"] is False:
            found = substitution(c.record, _turned(a), _turned(b), lower=not lower, unit=unit, format=c.format)
            return [_turned(found)]
        return [substitution(c.record, a, b, lower=lower, unit=unit, format=c.format)]

    return as_kernel(c, definition)


def _triangular_solve(c: Call) -> Results:
    a, b = c.operand("A"), c.operand("self")
    shape = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    a, b = (np.broadcast_to(x, (*shape, *x.shape[-2:])) for x in (a, b))
    lower, unit = c["upper"] is False, bool(c["unitriangular"])

    def definition() -> list[Ids]:
        if c["transpose"]:
            return [substitution(c.record, _turned(a), b, lower=not lower, unit=unit, format=c.format)]
        return [substitution(c.record, a, b, lower=lower, unit=unit, format=c.format)]

    return [*as_kernel(c, definition), a]


def _by_cholesky(c: Call, b: Ids, factor: Ids) -> list[Ids]:
    lower = _turned(factor) if c["upper"] else factor
    y = substitution(c.record, lower, b, lower=True, unit=False, format=c.format)
    return [substitution(c.record, _turned(lower), y, lower=False, unit=False, format=c.format)]


def _cholesky_solve(c: Call) -> Results:
    return as_kernel(c, lambda: _by_cholesky(c, c.operand("self"), c.operand("input2")))


def _cholesky_inverse(c: Call) -> Results:
    factor = c.operand("self")
    return as_kernel(c, lambda: _by_cholesky(c, _identity(factor.shape[-1], factor.shape[:-2]), factor))


# What solves equations ------------------------------------------------------------------------------------------------


def _eigenvectors(c: Call) -> Results:
    solved, a = Solved(c.record), c.operand("A")
    check_symmetric(c.record.held[a], c.format)
    shown = bool(c["compute_v"])
    values, vectors = (numbers(o) for o in c.outs) if shown else np.linalg.eigh(c.record.held[a])

    def definition() -> list[Ids]:
        found = solved.eigenvectors(symmetric_part(c.record, a, c.format), values, vectors)
        return list(found) if shown else [found[0]]

    return [*as_kernel(c, definition, solved), *([] if shown else [None])]


def _singular_vectors(c: Call) -> Results:
    solved, a = Solved(c.record), c.operand("A")
    shown = bool(c["compute_uv"])
    if shown and c["full_matrices"] and a.shape[-1] != a.shape[-2]:
        raise NotRecorded(WHOLE_BASES.format(name="linalg.svd"))
    u, values, v = (numbers(o) for o in c.outs) if shown else np.linalg.svd(c.record.held[a], full_matrices=False)
    if not shown:
        c.outs = [c.outs[1], c.outs[0], c.outs[2]]  # a kernel's results are the first ones

    def definition() -> list[Ids]:
        left, middle, right = solved.singular_vectors(a, u, values, _back(v))
        return [left, middle, _turned(right)] if shown else [middle]

    found = as_kernel(c, definition, solved)
    if not shown:
        c.outs = [c.outs[1], c.outs[0], c.outs[2]]
    return found if shown else [None, found[0], None]


def _orthogonal_factor(c: Call) -> Results:
    solved, a = Solved(c.record), c.operand("A")
    if c["mode"] == "complete" and a.shape[-2] > a.shape[-1]:
        raise NotRecorded(WHOLE_BASES.format(name="linalg.qr"))
    if c["mode"] == "r":
        raise NotRecorded("linalg.qr with mode='r': PyTorch has no derivative of it; use mode='reduced'")
    q, r = (numbers(o) for o in c.outs)
    return as_kernel(c, lambda: solved.orthogonal_factor(a, q, r), solved)


def _check_whole(c: Call, a: Numbers) -> None:
    """Raise NotRecorded where singular values are left out that are not 0 but for rounding."""
    if not a.size or (c["atol"] is None and c["rtol"] is None):
        return
    values = np.linalg.svd(a, compute_uv=False)
    atol, rtol = (np.zeros(1) if x is None else np.asarray(numbers(torch.as_tensor(x)))[..., None]
                  for x in (c["atol"], c["rtol"]))  # fmt: skip
    least = max(a.shape[-2:]) * 2.0 ** (1 - c.format.precision) * values[..., :1]
    if ((values > least) & (values <= np.maximum(atol, rtol * values[..., :1]))).any():
        raise NotRecorded("linalg.pinv whose atol or rtol leaves out singular values that are not 0: give smaller ones")


def _pseudoinverse(c: Call) -> Results:
    solved, a = Solved(c.record), c.operand("self")
    if c["hermitian"]:
        raise NotRecorded("linalg.pinv with hermitian=True: leave it out, the pseudoinverse is the same")
    _check_whole(c, numbers(c.value(c["self"])))
    return as_kernel(c, lambda: [solved.least_squares(a, _identity(a.shape[-2], a.shape[:-2]), c.held)[0]], solved)


def _least_squares(c: Call) -> Results:
    solved, a, b = Solved(c.record), c.operand("self"), c.operand("b")
    vector = b.ndim == a.ndim - 1
    squares = c.outs[1].numel() > 0

    def definition() -> list[Ids]:
        right = b[..., None] if vector else b
        x, total = solved.least_squares(a, right, c.held[..., None] if vector else c.held, squares)
        return [x[..., 0] if vector else x, *([total[..., 0] if vector else total] if squares else [])]

    return [*as_kernel(c, definition, solved), *([] if squares else [None]), None, None]


def _exponential(c: Call) -> Results:
    solved = Solved(c.record)
    return as_kernel(c, lambda: [solved.exponential(c.operand("self"), c.held)], solved)


ALGEBRA_RULES: dict[str, Rule] = {
    "linalg_cholesky_ex": _cholesky,
    "cholesky": _cholesky,
    "linalg_lu": _lu_parts,
    "lu_unpack": _lu_unpack,
    "linalg_householder_product": _householder_product,
    "ormqr": _times_householder_product,
    "triangular_solve": _triangular_solve,
    "_linalg_solve_ex": _solve,
    "linalg_lu_factor_ex": _lu_factor,
    "linalg_lu_solve": _lu_solve,
    "linalg_inv_ex": _inverse,
    "_linalg_det": _determinant,
    "_linalg_slogdet": _log_determinant,
    "linalg_solve_triangular": _triangular,
    "cholesky_solve": _cholesky_solve,
    "cholesky_inverse": _cholesky_inverse,
    "_linalg_eigh": _eigenvectors,
    "_linalg_svd": _singular_vectors,
    "linalg_qr": _orthogonal_factor,
    "linalg_pinv": _pseudoinverse,
    "linalg_lstsq": _least_squares,
    "linalg_matrix_exp": _exponential,
}
