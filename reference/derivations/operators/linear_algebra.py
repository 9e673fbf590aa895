"""Linear algebra: products, and what solves or factors small matrices, by the textbook's formulas (Golub, Van Loan)."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

from gradconform.reference.derivations.operators.operator import Operand, Operator

_A, _B = Operand("a", shape=(2, 3)), Operand("b", shape=(3, 2))
_SQUARE = Operand("a", shape=(3, 3))
_U, _V = Operand("u", shape=(3,)), Operand("v", shape=(3,))
_WELL = [[4.0, 1.0, -0.5], [1.0, 3.0, 0.25], [0.5, -1.0, 2.0]]
_SYMMETRIC = [[4.0, 1.0, 0.5], [1.0, 3.0, -0.25], [0.5, -0.25, 2.0]]


def _sign(order: tuple[int, ...]) -> float:
    return (-1.0) ** sum(a > b for a, b in itertools.combinations(order, 2))


def det(o: Any, a: Any) -> Any:
    """Leibniz' sum over the permutations."""
    n = a.shape[-1]
    total = None
    for order in itertools.permutations(range(n)):
        term = _sign(order) * o.stack([a[i, j] for i, j in enumerate(order)]).prod()
        total = term if total is None else total + term
    return total


def inverse(o: Any, a: Any) -> Any:
    """The adjugate over the determinant."""
    n = a.shape[-1]
    whole = det(o, a)
    rows = []
    for i in range(n):
        row = []
        for j in range(n):
            minor = o.stack([o.stack([a[r, c] for c in range(n) if c != i]) for r in range(n) if r != j])
            row.append((-1.0) ** (i + j) * det(o, minor) / whole)
        rows.append(o.stack(row))
    return o.stack(rows)


def _column(o: Any, a: Any, b: Any) -> Any:
    return a @ b if b.ndim > 1 else o.dot(a, b)


def _symmetric(a: Any) -> Any:
    return (a + a.T) * 0.5


def _cholesky(o: Any, a: Any) -> Any:
    """Row by row; of a, its symmetric part, as the derivative of a symmetric matrix has it."""
    a, n = _symmetric(a), a.shape[-1]
    found: list[list[Any]] = [[o.number(0.0)] * n for _ in range(n)]
    for i in range(n):
        for j in range(i + 1):
            left = a[i, j]
            for k in range(j):
                left = left - found[i][k] * found[j][k]
            found[i][j] = o.sqrt(left) if i == j else left / found[j][j]
    return o.stack([o.stack(row) for row in found])


def _triangular(o: Any, a: Any, b: Any) -> Any:
    """Forward substitution, of the lower triangle."""
    rows: list[Any] = []
    for i in range(a.shape[-1]):
        left = b[i]
        for j in range(i):
            left = left - a[i, j] * rows[j]
        rows.append(left / a[i, i])
    return o.stack(rows)


def _eigenvalues(o: Any, a: Any) -> Any:
    """Of the symmetric part of two by two, in ascending order."""
    a = _symmetric(a)
    middle, half = (a[0, 0] + a[1, 1]) * 0.5, (a[0, 0] - a[1, 1]) * 0.5
    off = o.sqrt(o.square(half) + o.square(a[0, 1]))
    return o.stack([middle - off, middle + off])


def _singular_values(o: Any, a: Any) -> Any:
    """Of two by two, in descending order: ½(√((a + d)² + (b − c)²) ± √((a − d)² + (b + c)²))."""
    p = o.sqrt(o.square(a[0, 0] + a[1, 1]) + o.square(a[0, 1] - a[1, 0]))
    q = o.sqrt(o.square(a[0, 0] - a[1, 1]) + o.square(a[0, 1] + a[1, 0]))
    return o.stack([(p + q) * 0.5, abs(p - q) * 0.5])


def _pinv(o: Any, a: Any) -> Any:
    """(aᵀa)⁻¹aᵀ, of full column rank."""
    return inverse(o, a.T @ a) @ a.T


def _kron(o: Any, a: Any, b: Any) -> Any:
    whole = a[:, None, :, None] * b[None, :, None, :]
    return whole.reshape(a.shape[0] * b.shape[0], a.shape[1] * b.shape[1])


def _cross(o: Any, u: Any, v: Any) -> Any:
    return o.stack([u[(k + 1) % 3] * v[(k + 2) % 3] - u[(k + 2) % 3] * v[(k + 1) % 3] for k in range(3)])


def _power(a: Any, n: int) -> Any:
    found = a
    for _ in range(n - 1):
        found = found @ a
    return found


def _distances(o: Any, x: Any, y: Any) -> Any:
    return o.sqrt(o.square(x[:, None] - y[None]).sum(-1))


def _of(name: str, definition: Callable[..., Any] | None, source: str, **data: Any) -> Operator:
    return Operator(name, "linear algebra", definition, source, (_SQUARE,), dtypes=("float64", "float32"), **data)


_GIVEN = {"given": (_WELL,)}

OPERATORS = (
    Operator("matmul", "linear algebra", lambda o, a, b: a @ b, "Σ a·b", (_A, _B)),
    Operator("batched_matmul", "linear algebra", lambda o, a, b: a @ b, "Σ a·b of each",
             (Operand("a", shape=(2, 2, 3)), Operand("b", shape=(2, 3, 2)))),
    Operator("matrix_vector", "linear algebra", lambda o, a, v: o.dot(a, v), "Σ a·v", (_A, _V)),
    Operator("dot", "linear algebra", lambda o, u, v: o.dot(u, v), "Σ u·v", (_U, _V)),
    Operator("outer", "linear algebra", lambda o, u, v: u[:, None] * v[None], "u_i·v_j", (_U, _V)),
    Operator("inner", "linear algebra", lambda o, a, b: a @ b.T, "Σ over the last axes",
             (_A, Operand("b", shape=(2, 3)))),
    Operator("addmm", "linear algebra", lambda o, c, a, b: c + a @ b, "c + a·b", (Operand("c", shape=(2, 2)), _A, _B)),
    Operator("linear", "linear algebra", lambda o, x, w, b: x @ w.T + b, "x·wᵀ + b",
             (_A, Operand("w", shape=(2, 3)), Operand("b", shape=(2,)))),
    Operator("bilinear", "linear algebra", lambda o, x, w, y: o.stack([
                 o.dot(o.dot(y[:, None], w[k][None]), x) for k in range(w.shape[0])], -1),
             "Σ x_i·w_kij·y_j", (
                 Operand("x", shape=(2, 2)), Operand("w", shape=(2, 2, 3)), Operand("y", shape=(2, 3)))),
    Operator("einsum_three", "linear algebra", lambda o, a, b, c: a @ b @ c, "Σ a_ij·b_jk·c_kl",
             (_A, _B, Operand("c", shape=(2, 2)))),
    Operator("tensordot", "linear algebra", lambda o, a, b: o.dot(a.reshape(6), b.reshape(6)), "over two axes",
             (_A, Operand("b", shape=(2, 3)))),
    Operator("kron", "linear algebra", _kron, "every a times b", (
        Operand("a", shape=(2, 2)), Operand("b", shape=(2, 2)))),
    Operator("cross", "linear algebra", _cross, "u × v", (_U, _V)),
    Operator("trace", "linear algebra", lambda o, a: a.moved(lambda ids: ids.diagonal()).sum(), "Σ a_ii", (_SQUARE,)),
    Operator("vander", "linear algebra", lambda o, v: o.stack([o.number([1.0] * 3), v, o.square(v)][::-1], -1),
             "powers of v", (_V,)),
    Operator("cdist", "linear algebra", _distances, "√Σ(x − y)² of every pair",
             (Operand("x", shape=(2, 3)), Operand("y", shape=(3, 3))),
             edges={"equal": ([[1.0, 2.0, 0.5]], [[1.0, 2.0, 0.5], [0.0, 0.0, 0.0]])}),
    Operator("matrix_power", "linear algebra", lambda o, a, n: _power(a, n), "aⁿ", (Operand("a", shape=(2, 2)),),
             ({"n": 3},)),
    _of("det", det, "Leibniz' sum", edges=_GIVEN),
    _of("slogdet", lambda o, a: o.log(abs(det(o, a))), "log|det a|", edges=_GIVEN),
    _of("inv", inverse, "the adjugate over the determinant", edges=_GIVEN),
    Operator("cholesky", "linear algebra", _cholesky, "row by row", (Operand("a", shape=(3, 3), draws="definite"),),
             edges={"given": (_SYMMETRIC,)}, dtypes=("float64", "float32")),
    _of("matrix_exp", None, "Σ aᵏ/k!"),
    Operator("solve", "linear algebra", lambda o, a, b: _column(o, inverse(o, a), b), "a⁻¹b",
             (_SQUARE, Operand("b", shape=(3,))), edges={"given": (_WELL, [1.0, -2.0, 0.5])},
             dtypes=("float64", "float32")),
    Operator("solve_triangular", "linear algebra", _triangular, "forward substitution",
             (_SQUARE, Operand("b", shape=(3, 2))),
             edges={"given": (_WELL, [[1.0, 0.5], [-2.0, 1.0], [0.5, 0.25]])}, dtypes=("float64", "float32")),
    Operator("pinv", "linear algebra", _pinv, "(aᵀa)⁻¹aᵀ", (Operand("a", shape=(3, 2)),),
             dtypes=("float64", "float32")),
    Operator("eigvalsh", "linear algebra", _eigenvalues, "of two by two, symmetric", (Operand("a", shape=(2, 2)),),
             dtypes=("float64", "float32")),
    Operator("svdvals", "linear algebra", _singular_values, "of two by two", (Operand("a", shape=(2, 2)),),
             dtypes=("float64", "float32")),
    Operator("norm_nuclear", "linear algebra", lambda o, a: _singular_values(o, a).sum(), "Σ of the singular values",
             (Operand("a", shape=(2, 2)),), dtypes=("float64", "float32")),
    Operator("norm_spectral", "linear algebra", lambda o, a: _singular_values(o, a)[0], "the largest singular value",
             (Operand("a", shape=(2, 2)),), dtypes=("float64", "float32")),
)  # fmt: skip
