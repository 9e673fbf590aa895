"""Factorizations of matrices written out as steps, on arrays of ids; leading axes are batches."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from gradconform.adapters.recording.complexes import PLAINLY, SMITH, Complexes, joined
from gradconform.reference.arithmetic.formats import Format
from gradconform.reference.programs.implicit import Equations, Exponential, Implicit, Isolated, Term
from gradconform.reference.programs.record import ONE, ZERO, Ids, Numbers, Record
from gradconform.reference.programs.run import NotRecorded

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


# What solves equations ------------------------------------------------------------------------------------------------

#: What is said where a factorization is asked for more than a matrix decides.
WHOLE_BASES = "{name} with all columns of a basis: these are no function of the matrix; ask for the reduced factors"


def is_symmetric(a: Numbers, format: Format) -> bool:
    """Whether these are square matrices (…, n, n) that are symmetric but for rounding."""
    if a.ndim < 2 or a.shape[-1] != a.shape[-2] or not np.isfinite(a).all():
        return False
    apart = np.abs(a - np.swapaxes(a, -1, -2)).max(initial=0.0)
    return bool(apart <= 2.0 ** (-format.precision / 2) * np.abs(a).max(initial=0.0))


def check_symmetric(a: Numbers, format: Format) -> None:
    """Raise NotRecorded for what is no symmetric matrix, of which a factorization reads one triangle alone."""
    if not is_symmetric(a, format):
        raise NotRecorded("eigenvalues of a matrix that is not symmetric, of which one triangle is read; expected "
                          "a symmetric one: (a + a.mT) / 2")  # fmt: skip


#: Numbers of one factorization up to which its equations are solved in balls, in about a second.
MOST_UNKNOWNS = 200


class Solved:
    """Factorizations that are what solves equations, one for each matrix of a batch, beside what a framework found."""

    def __init__(self, record: Record) -> None:
        self.record = record
        self.solutions: list[Implicit] = []

    def eigenvectors(self, a: Ids, values: Numbers, vectors: Numbers) -> tuple[Ids, Ids]:
        """λ and V of a symmetric matrix: A·v = λ·v and v·v = 1."""
        size = a.shape[-1]
        found = self.record.new(values.shape, values), self.record.new(vectors.shape, vectors)
        for at in np.ndindex(a.shape[:-2]):
            own, value, vector = a[at].tolist(), found[0][at].tolist(), found[1][at].tolist()
            column = [[row[j] for row in vector] for j in range(size)]
            eigen = [[*_dot(own[i], column[j]), (-1, value[j], vector[i][j])] for i in range(size) for j in range(size)]
            unit = [[*_dot(v, v), (-1, ONE, ONE)] for v in column]
            self._add(own, [*value, *_flat(vector)], [eigen, unit], "eigenvalues", value)
        return found

    def singular_vectors(self, a: Ids, u: Numbers, values: Numbers, v: Numbers) -> tuple[Ids, Ids, Ids]:
        """U, σ and V: A·v = σ·u, Aᵀ·u = σ·v and v·v = 1."""
        found = tuple(self.record.new(x.shape, x) for x in (u, values, v))
        for at in np.ndindex(a.shape[:-2]):
            own, left, value, right = (x[at].tolist() for x in (a, *found))
            us, vs, columns = (list(zip(*x, strict=True)) for x in (left, right, own))
            of_u = [[*_dot(row, v), (-1, s, u[i])] for u, s, v in zip(us, value, vs, strict=True)
                    for i, row in enumerate(own)]  # fmt: skip
            of_v = [[*_dot(column, u), (-1, s, v[j])] for u, s, v in zip(us, value, vs, strict=True)
                    for j, column in enumerate(columns)]  # fmt: skip
            unit = [[*_dot(v, v), (-1, ONE, ONE)] for v in vs]
            self._add(own, [*_flat(left), *value, *_flat(right)], [of_u, of_v, unit], "singular values", value)
        return found[0], found[1], found[2]

    def orthogonal_factor(self, a: Ids, q: Numbers, r: Numbers) -> tuple[Ids, Ids]:
        """Q and R, upper triangular: Q·R = A and Qᵀ·Q = 1."""
        found = self.record.new(q.shape, q), self.record.new(r.shape, r)
        upper = np.triu(np.ones(r.shape[-2:], dtype=bool))
        found = found[0], np.where(upper, found[1], ZERO)
        for at in np.ndindex(a.shape[:-2]):
            own, left, right = (x[at].tolist() for x in (a, *found))
            qs, rs = (list(zip(*x, strict=True)) for x in (left, right))
            product = [[*_dot(left[i], rs[j]), (-1, own[i][j], ONE)]
                       for i in range(len(own)) for j in range(len(own[0]))]  # fmt: skip
            unit = [[*_dot(qs[i], qs[j]), *([(-1, ONE, ONE)] if i == j else [])]
                    for i in range(len(qs)) for j in range(i, len(qs))]  # fmt: skip
            self._add(own, [*_flat(left), *(i for i in _flat(right) if i != ZERO)], [product, unit], "rank")
        return found

    def least_squares(self, a: Ids, b: Ids, x: Numbers, squares: bool = False) -> tuple[Ids, Ids]:
        """The x with the least |a·x − b|, of these the shortest; and its squares, column by column."""
        rows, columns = a.shape[-2:]
        held = self.record.held
        found = self.record.new(x.shape, x)
        rest = held[b] - held[a] @ x
        total = self.record.new((*x.shape[:-2], x.shape[-1]), (rest**2).sum(-2))
        pinv = np.linalg.pinv(np.swapaxes(held[a], -1, -2))
        other = self.record.new(b.shape, rest if rows >= columns else pinv @ x)
        for at in np.ndindex(a.shape[:-2]):
            own, given, solution, beside = (x[at].tolist() for x in (a, b, found, other))
            turned = list(zip(*own, strict=True))
            xs, others = (list(zip(*x, strict=True)) for x in (solution, beside))
            product = [[*_dot(own[i], xs[j]), (-1, given[i][j], ONE)] for i in range(rows) for j in range(len(xs))]
            normal = [_dot(turned[i], others[j]) for i in range(columns) for j in range(len(xs))]
            if rows >= columns:  # a·x + rest = b and aᵀ·rest = 0
                product = [[*e, (1, i, ONE)] for e, i in zip(product, _flat(beside), strict=True)]
            else:  # a·x = b and aᵀ·other = x
                normal = [[*e, (-1, i, ONE)] for e, i in zip(normal, _flat(solution), strict=True)]
            groups, unknowns = [product, normal], [*_flat(solution), *_flat(beside)]
            if squares:
                sums = total[at].tolist()
                groups.append([[*_dot(o, o), (-1, t, ONE)] for o, t in zip(others, sums, strict=True)])
                unknowns += sums
            self._add(own, unknowns, groups, "rank", further=_flat(given))
        return found, total

    def exponential(self, a: Ids, values: Numbers) -> Ids:
        found = self.record.new(values.shape, values)
        for at in np.ndindex(a.shape[:-2]):
            matrix = tuple(map(tuple, a[at].tolist()))
            self.solutions.append(Exponential(matrix, tuple(found[at].ravel().tolist())))
        return found

    def _add(self, matrix: Rows, unknowns: Sequence[int], groups: Sequence[Sequence[Sequence[Term]]],
             isolated: Isolated, ordered: Sequence[int] = (), further: Sequence[int] = ()) -> None:  # fmt: skip
        if len(unknowns) > MOST_UNKNOWNS:
            raise NotRecorded(
                f"a factorization of {len(matrix)} x {len(matrix[0])} numbers: its equations have {len(unknowns)} "
                f"unknowns, more than the {MOST_UNKNOWNS} that are solved exactly; verify it on a smaller matrix"
            )
        terms = tuple(tuple(tuple(t for t in e if ZERO not in t[1:]) for e in group) for group in groups)
        operands = tuple(dict.fromkeys([*_flat(matrix), *further]))
        self.solutions.append(
            Equations(tuple(map(tuple, matrix)), operands, tuple(unknowns), terms, isolated, tuple(ordered))
        )


Rows = Sequence[Sequence[int]]


def _dot(a: Sequence[int], b: Sequence[int]) -> list[Term]:
    return [(1, i, j) for i, j in zip(a, b, strict=True)]


def _flat(rows: Rows) -> list[int]:
    return [i for row in rows for i in row]


# Of complex numbers ---------------------------------------------------------------------------------------------------

#: How a step divides: LAPACK takes the reciprocal of a pivot once, for a column.
RECIPROCAL = "times the reciprocal"
WAYS = (PLAINLY, SMITH, RECIPROCAL)


def _minus_complex_products(of: Complexes, c: Ids, pairs: Sequence[Pair]) -> Ids:
    """c − Σ a·b of complex numbers: each part is one sum of real products."""
    if not pairs:
        return c
    parts = []
    for n in (0, 1):
        left, right = [c[..., n]], [np.full(c.shape[:-1], ONE)]
        for a, b in pairs:
            a, b = np.broadcast_arrays(a, b)
            left += [of.negative(a[..., 0]), a[..., 1] if n == 0 else of.negative(a[..., 1])]
            right += [b[..., n], b[..., 1 - n]]
        parts.append(of.sum(left, right))
    return joined(*parts)


def _complex_quotient(of: Complexes, z: Ids, w: Ids, how: str) -> Ids:
    if how == RECIPROCAL:
        return of.multiply(z, of.quotients(np.broadcast_to(of.pair(1.0), w.shape), w)[SMITH]())
    return of.quotients(z, w)[how]()


def complex_lu(of: Complexes, x: Ids, permutation: NDArray[np.integer], how: str) -> Ids:
    """L and U of complex numbers in one array of shape (…, n, m, 2), of the rows in the order that the run took."""
    rows = np.take_along_axis(x, np.asarray(permutation, dtype=np.int64)[..., None, None], -3)
    found = np.zeros(x.shape, dtype=np.int64)
    for j in range(x.shape[-2]):
        for i in range(x.shape[-3]):
            pairs = [(found[..., i, k, :], found[..., k, j, :]) for k in range(min(i, j))]
            rest = _minus_complex_products(of, rows[..., i, j, :], pairs)
            found[..., i, j, :] = rest if i <= j else _complex_quotient(of, rest, found[..., j, j, :], how)
    return found


def complex_substitution(of: Complexes, a: Ids, b: Ids, lower: bool, unit: bool, how: str) -> Ids:
    """a⁻¹·b for a triangular a of shape (…, n, n, 2) and b of shape (…, n, m, 2)."""
    size = a.shape[-2]
    found = np.zeros(b.shape, dtype=np.int64)
    for i in range(size) if lower else reversed(range(size)):
        known = range(i) if lower else range(i + 1, size)
        row = b[..., i, :, :]
        pairs = [(np.broadcast_to(a[..., i, k, None, :], row.shape), found[..., k, :, :]) for k in known]
        rest = _minus_complex_products(of, row, pairs)
        pivot = np.broadcast_to(a[..., i, i, None, :], row.shape)
        found[..., i, :, :] = rest if unit else _complex_quotient(of, rest, pivot, how)
    return found
