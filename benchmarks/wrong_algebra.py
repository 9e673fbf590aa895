"""Derivative rules of linear algebra, right and wrong, as text that means the same in PyTorch and in JAX."""

from __future__ import annotations

from types import ModuleType
from typing import Any

from wrong_rules import Rule


def algebra_of(xp: ModuleType) -> dict[str, Any]:
    """What rules of linear algebra may use besides: `xp.linalg`, and what is put together from it."""
    la = xp.linalg  # type: ignore[attr-defined]
    of: dict[str, Any] = {n: getattr(la, n) for n in "inv solve det slogdet cholesky eigh eigvalsh pinv qr".split()}

    def sym(x: Any) -> Any:
        return (x + x.T) / 2

    def svd(x: Any) -> Any:
        return la.svd(x, full_matrices=False)

    def svdvals(x: Any) -> Any:
        return la.svd(x, full_matrices=False)[1]

    def chol_back(g: Any, lower: Any, half: float = 0.5, symmetric: bool = True) -> Any:
        """The adjoint of a symmetric matrix by that of its Cholesky factor; `half` is taken off the diagonal."""
        m = xp.tril(lower.T @ xp.tril(g))
        m = m - half * xp.diag(xp.diag(m))
        found = la.solve(lower.T, m) @ la.inv(lower)
        return sym(found) if symmetric else found

    def gaps(values: Any) -> Any:
        """1/(λ_j − λ_i) where these differ."""
        off = values[None, :] - values[:, None]
        return xp.where(off == 0, 0 * off, 1 / xp.where(off == 0, 1 + 0 * off, off))

    def eigh_back(g: Any, x: Any, sign: float = 1.0, symmetric: bool = True) -> Any:
        values, vectors = la.eigh(x)
        found = vectors @ (sign * gaps(values) * (vectors.T @ g)) @ vectors.T
        return sym(found) if symmetric else found

    def copied(m: Any) -> Any:
        """The lower triangle on both sides."""
        return xp.tril(m) + xp.tril(m, -1).T

    for function in (sym, svd, svdvals, chol_back, eigh_back, copied):
        of[function.__name__] = function
    return of


def _r(name: str, fault: str, shapes: tuple[tuple[int, ...], ...], forward: str, right: str, wrong: str) -> Rule:
    return Rule(name, fault, shapes, forward, right, wrong, "near", wide=True)


S, V, T = (3, 3), (3,), (4, 2)
_CHOLESKY = "cholesky(x @ x.T)"

ALGEBRA_RULES: tuple[Rule, ...] = (
    _r("Inverse", "transposed factors missing", (S,), "inv(x)", "-inv(x).T @ g @ inv(x).T", "-inv(x) @ g @ inv(x)"),
    _r("InverseSign", "sign", (S,), "inv(x)", "-inv(x).T @ g @ inv(x).T", "inv(x).T @ g @ inv(x).T"),
    _r("Solve", "not transposed", (S, V), "solve(x, y)",
       "(-outer(solve(x.T, g), solve(x, y)), solve(x.T, g))", "(-outer(solve(x, g), solve(x, y)), solve(x, g))"),
    _r("SolveMatrix", "factors exchanged", (S, V), "solve(x, y)",
       "(-outer(solve(x.T, g), solve(x, y)), solve(x.T, g))", "(-outer(solve(x, y), solve(x.T, g)), solve(x.T, g))"),
    _r("TriangularSolve", "other triangle not left out", (S, V), "solve(tril(x), y)",
       "(-tril(outer(solve(tril(x).T, g), solve(tril(x), y))), solve(tril(x).T, g))",
       "(-outer(solve(tril(x).T, g), solve(tril(x), y)), solve(tril(x).T, g))"),
    _r("Determinant", "transposed factor missing", (S,), "det(x)", "g * det(x) * inv(x).T", "g * det(x) * inv(x)"),
    _r("LogDeterminant", "of the determinant", (S,), "slogdet(x)[1]", "g * inv(x).T", "g * det(x) * inv(x).T"),
    _r("Cholesky", "half missing on the diagonal", (S,), _CHOLESKY, f"2 * chol_back(g, {_CHOLESKY}) @ x",
       f"2 * chol_back(g, {_CHOLESKY}, 0.0) @ x"),
    _r("CholeskySided", "not symmetric", (S,), _CHOLESKY, f"2 * chol_back(g, {_CHOLESKY}) @ x",
       f"2 * chol_back(g, {_CHOLESKY}, 0.5, False) @ x"),
    _r("Eigenvalues", "vectors transposed", (S,), "eigvalsh(sym(x))",
       "eigh(sym(x))[1] @ (g[:, None] * eigh(sym(x))[1].T)", "eigh(sym(x))[1].T @ (g[:, None] * eigh(sym(x))[1])"),
    _r("Eigenvectors", "sign of the gaps", (S,), "eigh(sym(x))[1]", "eigh_back(g, sym(x))",
       "eigh_back(g, sym(x), -1.0)"),
    _r("EigenvectorsSided", "not symmetric", (S,), "eigh(sym(x))[1]", "eigh_back(g, sym(x))",
       "eigh_back(g, sym(x), 1.0, False)"),
    _r("SingularValues", "factors transposed", (S,), "svdvals(x)", "svd(x)[0] @ (g[:, None] * svd(x)[2])",
       "svd(x)[2].T @ (g[:, None] * svd(x)[0].T)"),
    _r("NuclearNorm", "squared", (S,), "svdvals(x).sum()", "g * svd(x)[0] @ svd(x)[2]", "2 * g * x"),
    _r("TriangularFactor", "triangle not copied", (S,), "qr(x)[1]",
       "solve(qr(x)[1], (qr(x)[0] @ copied(qr(x)[1] @ g.T)).T).T",
       "solve(qr(x)[1], (qr(x)[0] @ tril(qr(x)[1] @ g.T)).T).T"),
    _r("Pseudoinverse", "missing term", (T,), "pinv(x)",
       "-pinv(x).T @ g @ pinv(x).T + (g.T - x @ pinv(x) @ g.T) @ pinv(x) @ pinv(x).T", "-pinv(x).T @ g @ pinv(x).T"),
)  # fmt: skip
#: JAX's exponential is a program of its own, an approximation whose derivative is not that of the exponential.
EXPONENTIAL = _r("Exponential", "taken to commute", (S,), "expm(x / 4)", "block(x / 4, g) / 4", "expm(x / 4).T @ g / 4")
