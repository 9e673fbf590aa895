"""Kernels that are no straight-line arithmetic: what solves equations, and the exponential of a matrix.

The eigenvalues of a matrix, its singular values and its orthogonal factors are what their equations say. Balls around
what a framework found are proved to hold a solution and no other (Krawczyk's operator: R. Krawczyk, *Newton-Algorithmen
zur Bestimmung von Nullstellen mit Fehlerschranken*, Computing 4 (1969); S. M. Rump, *Verification methods*, Acta
Numerica 19 (2010)), and its derivative is that of an implicit function. Where a program rounds, what it returns solves
the equations up to a residual: LAPACK's own tests accept 30·n ulp of the terms' size (LAPACK Working Note 41, its test
ratios and their threshold), and so does an allowance here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from flint import arb, arb_mat, ctx, fmpq, fmpq_mat

from gradconform.reference.arithmetic.exact import power_of_two
from gradconform.reference.arithmetic.rounded import larger

#: Ids of numbers that every record holds: 0, which adds nothing and makes every product 0, and 1.
ZERO, ONE = 0, 1
Number = Callable[[int], arb]
#: A term ±a·b of an equation: its sign, and the ids of its factors.
Term = tuple[int, int, int]
#: What repeats or vanishes where there is no derivative: eigenvalues, singular values, or the rank alone.
Isolated = Literal["eigenvalues", "singular values", "rank"]
#: Units in the last place by n of the terms' size by which equations may be missed.
LAPACK_THRESHOLD = 30
_ATTEMPTS, _STEPS = 12, 40
#: A part of the largest eigenvalue by which equal ones that a framework found are assumed to be off at most. Nothing is
#: proved by it: no derivative goes through them.
_HELD = 2.0**-10


@dataclass(frozen=True, eq=False)
class Equations:
    """Numbers that solve equations, each a sum of products that is 0, beside those that the framework found.

    `operands` are ids of a matrix, row by row, and of whatever else the equations read; `unknowns` are as many as the
    equations, which come in groups of one size. `ordered` are unknowns that must be positive or strictly ordered for
    the solution to be the one that is meant. `size` is n of the matrix.
    """

    matrix: tuple[tuple[int, ...], ...]
    operands: tuple[int, ...]
    unknowns: tuple[int, ...]
    groups: tuple[tuple[tuple[Term, ...], ...], ...]
    isolated: Isolated
    ordered: tuple[int, ...] = ()

    @property
    def size(self) -> int:
        return max(len(self.matrix), len(self.matrix[0]))

    @property
    def equations(self) -> list[tuple[Term, ...]]:
        return [e for group in self.groups for e in group]

    def values(self, of: Number, near: Sequence[float]) -> list[arb] | None:
        """The solution near these numbers; None where no ball is proved to hold one."""
        return self._enclosed(of, near, [arb(0)] * len(self.groups))

    def allowed(self, of: Number, near: Sequence[float], unit: arb, overflow: arb) -> list[arb] | None:
        """What a program may return whose operands are these balls, and which rounds by u; None where that is unknown,
        as where a term may overflow.

        `of` gives balls of the operands, and the exact solution of the unknowns.
        """
        ulps = 2 * LAPACK_THRESHOLD * self.size
        sizes = [_size(group, of) for group in self.groups]
        if not all(s < overflow for s in sizes):
            return None
        return self._enclosed(of, near, [ulps * unit * s for s in sizes])

    def pull(self, of: Number, adjoints: Sequence[arb]) -> list[arb] | None:
        """The operands' adjoints: −(∂G/∂x)ᵀ·(∂G/∂y)⁻ᵀ·adjoint; None where ∂G/∂y is not proved to be regular."""
        if not all(w.is_finite() for w in adjoints):
            return None
        try:
            weights = self._slopes(of, self.unknowns).transpose().solve(arb_mat([[w] for w in adjoints]))
        except ZeroDivisionError:
            return None
        found = self._slopes(of, self.operands).transpose() * weights
        return [-found[i, 0] for i in range(len(self.operands))]

    def push(self, of: Number, tangents: Sequence[arb]) -> list[arb] | None:
        """The unknowns' tangents: −(∂G/∂y)⁻¹·∂G/∂x·tangent; None where ∂G/∂y is not proved to be regular."""
        moved = self._slopes(of, self.operands) * arb_mat([[t] for t in tangents])
        try:
            found = self._slopes(of, self.unknowns).solve(moved)
        except ZeroDivisionError:
            return None
        return [-found[i, 0] for i in range(len(self.unknowns))]

    def degenerate(self, of: Number) -> bool:
        """Whether, for certain, the matrix is one of those that have no derivative."""
        rows = [[of(i) for i in row] for row in self.matrix]
        if not all(x.is_finite() and x.is_exact() for row in rows for x in row):
            return False
        a = fmpq_mat([[_rational(x) for x in row] for row in rows])
        if self.isolated != "eigenvalues":
            a = a.transpose() * a if a.nrows() >= a.ncols() else a * a.transpose()
        if self.isolated != "eigenvalues" and a.det() == 0:
            return True
        if self.isolated == "rank":
            return False
        p = a.charpoly()
        return bool(p.gcd(p.derivative()).degree() > 0)

    def repeated(self, near: Sequence[float]) -> list[arb]:
        """What is said of a degenerate matrix: its eigenvalues or singular values as balls that hold them, no more."""
        size = max((abs(x) for x, i in zip(near, self.unknowns, strict=True) if i in self.ordered), default=0.0)
        return [arb(x, size * _HELD) if i in self.ordered else arb.nan()
                for x, i in zip(near, self.unknowns, strict=True)]  # fmt: skip

    def splits(self, of: Number, adjoints: Sequence[arb]) -> bool:
        """Whether adjoints tell equal eigenvalues or singular values of a degenerate matrix apart, or their vectors.

        If they do there is no derivative; if not, as in a trace or a nuclear norm, there may be one.
        """
        by = dict(zip(self.unknowns, adjoints, strict=True))
        if not self.ordered or any(not w.is_zero() for i, w in by.items() if i not in self.ordered):
            return True
        if self.isolated == "singular values" and any(of(i).contains(0) and not by[i].is_zero() for i in self.ordered):
            return True
        return any(of(i).overlaps(of(j)) and not (by[i] - by[j]).is_zero() for i, j in pairwise(self.ordered))

    # Enclosures -------------------------------------------------------------------------------------------------------

    def _enclosed(self, of: Number, near: Sequence[float], slack: Sequence[arb]) -> list[arb] | None:
        y = self._newton(of, [arb(x) for x in near])
        if y is None:
            return None
        tolerance = [arb(0, t.upper()) for group, t in zip(self.groups, slack, strict=True) for _ in group]
        try:
            inverse = self._slopes(self._at(of, y), self.unknowns).mid().inv().mid()
        except ZeroDivisionError:
            return None
        off = arb_mat([[r + t] for r, t in zip(self._residuals(self._at(of, y)), tolerance, strict=True)])
        step = inverse * off
        identity = arb_mat([[int(i == j) for j in range(len(y))] for i in range(len(y))])
        least = power_of_two(-ctx.prec)
        radius = [2 * abs(step[i, 0]).upper() + least * (abs(x).upper() + least) for i, x in enumerate(y)]
        for _ in range(_ATTEMPTS):
            box = [x + arb(0, r) for x, r in zip(y, radius, strict=True)]
            moved = identity - inverse * self._slopes(self._at(of, box), self.unknowns)
            spread = moved * arb_mat([[arb(0, r)] for r in radius])
            found = [x - step[i, 0] + spread[i, 0] for i, x in enumerate(y)]
            if not all(x.is_finite() for x in found):
                return None
            if all(abs(f - x).upper() < r for f, x, r in zip(found, y, radius, strict=True)):
                return found if self._meant(dict(zip(self.unknowns, found, strict=True))) else None
            radius = [2 * abs(f - x).upper() + least for f, x in zip(found, y, strict=True)]
        return None

    def _newton(self, of: Number, y: list[arb]) -> list[arb] | None:
        """Newton's steps on midpoints, until they no longer change anything."""
        last: arb | None = None
        for _ in range(_STEPS):
            at = self._at(lambda i: of(i).mid(), y)
            residuals = arb_mat([[r.mid()] for r in self._residuals(at)])
            try:
                step = self._slopes(at, self.unknowns).mid().solve(residuals, algorithm="approx")
            except ZeroDivisionError:
                return None
            moved = [step[i, 0].mid() for i in range(len(y))]
            if not all(x.is_finite() for x in moved):
                return None
            y = [(x - s).mid() for x, s in zip(y, moved, strict=True)]
            off, size = (max((abs(x) for x in xs), key=float) for xs in (moved, y))
            close = off <= size * power_of_two(-ctx.prec // 2)  # from here on rounding alone is left
            if off <= size * power_of_two(8 - ctx.prec) or (close and last is not None and off >= last):
                return y
            last = off
        return None

    def _meant(self, found: dict[int, arb]) -> bool:
        values = [found[i] for i in self.ordered]
        pairs = list(pairwise(values))
        positive = self.isolated != "singular values" or all(x > 0 for x in values)
        return positive and (all(a < b for a, b in pairs) or all(a > b for a, b in pairs))

    def _at(self, of: Number, y: Sequence[arb]) -> Number:
        table = dict(zip(self.unknowns, y, strict=True))
        return lambda i: table[i] if i in table else of(i)

    def _residuals(self, of: Number) -> list[arb]:
        return [sum((sign * of(i) * of(j) for sign, i, j in e), arb(0)) for e in self.equations]

    def _slopes(self, of: Number, by: Sequence[int]) -> arb_mat:
        """The equations' partial derivatives, one row for each equation."""
        column = {i: n for n, i in enumerate(by)}
        rows = []
        for e in self.equations:
            row = [arb(0)] * len(by)
            for sign, i, j in e:
                if i in column:
                    row[column[i]] += sign * of(j)
                if j in column:
                    row[column[j]] += sign * of(i)
            rows.append(row)
        return arb_mat(rows)


@dataclass(frozen=True, eq=False)
class Exponential:
    """Σ Aᵏ/k! of a matrix of these ids; the ids of its own, row by row, are `unknowns`."""

    matrix: tuple[tuple[int, ...], ...]
    unknowns: tuple[int, ...]

    @property
    def operands(self) -> tuple[int, ...]:
        return tuple(i for row in self.matrix for i in row)

    def values(self, of: Number, near: Sequence[float]) -> list[arb] | None:
        return list(self._balls(of).exp().entries())

    def allowed(self, of: Number, near: Sequence[float], unit: arb, overflow: arb) -> list[arb] | None:
        """By powers, sums and squarings in any order: each of their products and sums errs by u of what exp|A| adds up.

        A polynomial of degree 20 at most, of A·2^-s with a norm of at least ½, and s squarings. Where exp|A| overflows,
        what they add up may: infinities of both signs, and NaN.
        """
        a = self._balls(of)
        n = a.nrows()
        sizes = arb_mat([[abs(a[i, j]).upper() for j in range(n)] for i in range(n)])
        norm = max((sum((sizes[i, j] for i in range(n)), arb(0)) for j in range(n)), key=float)
        error = unit * (24 * n) * (1 + 2 * norm)
        magnitudes = sizes.exp().entries()
        if not all((1 + error) * s < overflow for s in magnitudes):
            return None
        return [x + arb(0, (error * s).upper()) for x, s in zip(a.exp().entries(), magnitudes, strict=True)]

    def pull(self, of: Number, adjoints: Sequence[arb]) -> list[arb] | None:
        """The derivative of the exponential at Aᵀ along the adjoints."""
        return self._along(self._balls(of).transpose(), adjoints)

    def push(self, of: Number, tangents: Sequence[arb]) -> list[arb] | None:
        """The derivative of the exponential at A along the tangents."""
        return self._along(self._balls(of), tangents)

    def _along(self, a: arb_mat, direction: Sequence[arb]) -> list[arb] | None:
        """The upper right block of exp [[A, E], [0, A]] (N. J. Higham, *Functions of Matrices*, 3.2)."""
        if not all(e.is_finite() for e in direction):
            return None
        n = len(self.matrix)
        block = arb_mat(2 * n, 2 * n)
        for i in range(n):
            for j in range(n):
                block[i, j] = block[n + i, n + j] = a[i, j]
                block[i, n + j] = direction[n * i + j]
        found = block.exp()
        return [found[i, n + j] for i in range(n) for j in range(n)]

    def degenerate(self, of: Number) -> bool:
        return False

    def repeated(self, near: Sequence[float]) -> list[arb]:
        return [arb.nan()] * len(near)

    def splits(self, of: Number, adjoints: Sequence[arb]) -> bool:
        return False

    def _balls(self, of: Number) -> arb_mat:
        return arb_mat([[of(i) for i in row] for row in self.matrix])


Implicit = Equations | Exponential


def _size(group: Sequence[Sequence[Term]], of: Number) -> arb:
    """‖A‖·‖B‖ of the factors of a group's products, at most, beside its other terms: LAPACK's bounds are normwise, so
    that an equation with small factors is missed by what rounds beside large ones."""
    largest = [arb(0)] * 3
    for _, i, j in (term for equation in group for term in equation):
        sizes = [abs(of(k)).upper() for k in (i, j)]
        if ONE in (i, j):
            largest[2] = larger(largest[2], sizes[0] * sizes[1])
        else:
            largest[:2] = map(larger, largest[:2], sizes)
    return (max(map(len, group), default=0) * (largest[0] * largest[1] + largest[2])).upper()


def _rational(x: arb) -> fmpq:
    mantissa, exponent = x.man_exp()
    return fmpq(mantissa) * fmpq(2) ** int(exponent)
