"""Correct programs of linear algebra, each written once for PyTorch and JAX, for benchmarks/verify_correct.py."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import programs_jax
import programs_torch
import torch
from numpy.typing import NDArray

Numbers = NDArray[np.float64]
Shape = tuple[int, ...]
S, N, B, T, W = (3, 3), (5, 5), (2, 3, 3), (4, 3), (2, 4)


class Framework:
    """What the programs are written with: `la` is `linalg`, `xp` has the names that both frameworks have."""

    def __init__(self, xp: Any, solve_triangular: Callable[..., Any], expm: Callable[..., Any],
                 eye: Callable[..., Any]) -> None:  # fmt: skip
        self.xp, self.la = xp, xp.linalg
        self.solve_triangular, self.expm, self.eye = solve_triangular, expm, eye

    def positive(self, a: Any) -> Any:
        """A matrix that is symmetric and positive definite."""
        return a @ self.turned(a) + self.eye(a)

    def symmetric(self, a: Any) -> Any:
        return (a + self.turned(a)) / 2

    def turned(self, a: Any) -> Any:
        return self.xp.swapaxes(a, -1, -2)

    def gaussian(self, x: Any, a: Any) -> Any:
        """The logarithm of a normal density, without its constant."""
        lower = self.la.cholesky(self.positive(a))
        z = self.solve_triangular(lower, x[:, None], False)
        return -(z**2).sum() / 2 - self.xp.log(self.xp.diagonal(lower)).sum()

    def root(self, a: Any) -> Any:
        """The square root of a matrix, by its eigenvalues."""
        values, vectors = self.la.eigh(self.positive(a))
        return (vectors * self.xp.sqrt(values)[..., None, :]) @ self.turned(vectors)

    def whitened(self, x: Any) -> Any:
        """Rows without their mean, and without correlations."""
        centred = x - x.mean(0)
        values, vectors = self.la.eigh(centred.T @ centred / x.shape[0] + self.eye(x.T @ x) / 8)
        return centred @ (vectors / self.xp.sqrt(values)) @ vectors.T

    def nearest_rotation(self, a: Any) -> Any:
        u, _, v = self.la.svd(a)
        return u @ v


_TORCH = Framework(torch, lambda a, b, upper: torch.linalg.solve_triangular(a, b, upper=upper), torch.matrix_exp,
                   lambda a: torch.eye(a.shape[-1], dtype=a.dtype))  # fmt: skip
_JAX = Framework(jnp, lambda a, b, upper: jax.scipy.linalg.solve_triangular(a, b, lower=not upper),
                 jax.scipy.linalg.expm, lambda a: jnp.eye(a.shape[-1], dtype=a.dtype))  # fmt: skip


def near(x: Numbers) -> Numbers:
    """Matrices near 3·identity, and other numbers as they are."""
    square = x.ndim > 1 and x.shape[-1] == x.shape[-2]
    return x / 4 + 3 * np.eye(x.shape[-1]) if square else x


Text = Callable[..., Any]
#: By their names: the program, of the framework and its operands; and the operands' shapes.
PROGRAMS: tuple[tuple[str, Text, tuple[Shape, ...]], ...] = (
    ("inverse of 5 x 5", lambda f, a: f.la.inv(a), (N,)),
    ("inverses", lambda f, a: f.la.inv(a), (B,)),
    ("trace of an inverse", lambda f, a: f.xp.trace(f.la.inv(a)), (S,)),
    ("solve by a vector", lambda f, a, b: f.la.solve(a, b), (S, (3,))),
    ("solve by a matrix", lambda f, a, b: f.la.solve(a, b), (N, (5, 2))),
    ("solves", lambda f, a, b: f.la.solve(a, b), (B, (2, 3, 1))),
    ("loss of a solve", lambda f, a, b: ((f.la.solve(a, b) - b) ** 2).mean(), (S, (3, 2))),
    ("lower triangular", lambda f, a, b: f.solve_triangular(f.xp.tril(a), b, False), (S, (3, 2))),
    ("upper triangular", lambda f, a, b: f.solve_triangular(f.xp.triu(a), b, True), (B, (2, 3, 2))),
    ("determinant of 3 x 3", lambda f, a: f.la.det(a), (S,)),
    ("determinants", lambda f, a: f.la.det(a) ** 2, (B,)),
    ("logarithm of a determinant", lambda f, a: f.la.slogdet(a)[1], (N,)),
    ("logarithms of determinants", lambda f, a: f.la.slogdet(a)[1], (B,)),
    ("cholesky of 5 x 5", lambda f, a: f.la.cholesky(f.positive(a)), (N,)),
    ("choleskys", lambda f, a: f.la.cholesky(f.positive(a)), (B,)),
    ("log determinant by cholesky", lambda f, a: f.xp.log(f.xp.diagonal(f.la.cholesky(f.positive(a)))).sum(), (S,)),
    ("normal density", Framework.gaussian, ((3,), S)),
    ("qr", lambda f, a: tuple(f.la.qr(a)), (S,)),
    ("qr of a tall matrix", lambda f, a: tuple(f.la.qr(a)), (T,)),
    ("q of batches", lambda f, a: f.la.qr(a)[0] ** 2, ((2, 3, 2),)),
    ("least squares by qr", lambda f, a, b: f.solve_triangular(f.la.qr(a)[1], f.la.qr(a)[0].T @ b, True),
     (T, (4, 1))),
    ("eigenvalues", lambda f, a: f.la.eigvalsh(f.symmetric(a)), (S,)),
    ("eigenvectors", lambda f, a: tuple(f.la.eigh(f.symmetric(a))), (S,)),
    ("eigenvectors of 5 x 5", lambda f, a: tuple(f.la.eigh(f.symmetric(a))), (N,)),
    ("eigenvectors of batches", lambda f, a: f.la.eigh(f.symmetric(a))[1] ** 2, (B,)),
    ("largest eigenvalue", lambda f, a: f.la.eigvalsh(f.positive(a))[-1], (S,)),
    ("root of a matrix", Framework.root, (S,)),
    ("whitening", Framework.whitened, (T,)),
    ("singular values", lambda f, a: f.la.svdvals(a), (T,)),
    ("singular vectors", lambda f, a: tuple(f.la.svd(a)), (S,)),
    ("singular vectors of a tall matrix", lambda f, a: tuple(f.la.svd(a, full_matrices=False)), (T,)),
    ("singular vectors of batches", lambda f, a: f.la.svd(a, full_matrices=False)[0] ** 2, ((2, 3, 2),)),
    ("nearest rotation", Framework.nearest_rotation, (S,)),
    ("pseudoinverse of a tall matrix", lambda f, a: f.la.pinv(a), (T,)),
    ("pseudoinverse of a wide matrix", lambda f, a: f.la.pinv(a), (W,)),
    ("least squares", lambda f, a, b: f.la.lstsq(a, b)[0], (T, (4, 2))),
    ("exponential", lambda f, a: f.expm(a / 4), (S,)),
    ("exponentials", lambda f, a: f.expm(a / 4), ((2, 2, 2),)),
    ("nuclear norm", lambda f, a: f.la.matrix_norm(a, ord="nuc"), (T,)),
    ("spectral norm", lambda f, a: f.la.matrix_norm(a, ord=2), (T,)),
    ("Frobenius norm", lambda f, a: f.la.matrix_norm(a), (T,)),
    ("matrix power", lambda f, a: f.la.matrix_power(a, 3), (S,)),
    ("power by inverse", lambda f, a: f.la.matrix_power(a, -2), (S,)),
    ("condition number", lambda f, a: f.la.cond(a), (S,)),
)  # fmt: skip

ALGEBRA_TORCH: tuple[programs_torch.Program, ...] = tuple(
    programs_torch.Program(name, partial(f, _TORCH), shapes, near, only=programs_torch.DTYPES[:2])
    for name, f, shapes in PROGRAMS
)


def _given(shapes: tuple[Shape, ...], seed: int) -> tuple[Numbers, ...]:
    random = np.random.default_rng(seed)
    return tuple(near(random.normal(size=s)) for s in shapes)


ALGEBRA_JAX: tuple[programs_jax.Program, ...] = tuple(
    programs_jax.Program(name, partial(f, _JAX), _given(shapes, number), programs_jax.WIDE)
    for number, (name, f, shapes) in enumerate(PROGRAMS)
)
