"""Correct programs of kinds that the recorders' own tests have few of, for benchmarks/verify_correct.py."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import programs_jax
import programs_torch
import torch
from jax import lax
from torch import Tensor
from torch.nn import functional as F

# PyTorch --------------------------------------------------------------------------------------------------------------


def halved(x: Tensor) -> Tensor:
    """A loop whose number of steps depends on the numbers."""
    y = x
    while y.detach().abs().max() > 0.25:
        y = y / 2
    return y * x


def cube_root(a: Tensor) -> Tensor:
    """Newton's steps until they no longer change much."""
    y = torch.ones_like(a)
    for _ in range(20):
        following = y - (y * y * y - a) / (3 * y * y)
        if bool(((following - y).detach().abs() < 1e-3).all()):
            break
        y = following
    return following


def runge_kutta(y: Tensor, k: Tensor) -> Tensor:
    def f(y: Tensor) -> Tensor:
        return torch.stack([y[1], -k * torch.sin(y[0])])

    for _ in range(2):
        a = f(y)
        b = f(y + 0.05 * a)
        c = f(y + 0.05 * b)
        y = y + (0.1 / 6) * (a + 2 * b + 2 * c + f(y + 0.1 * c))
    return y


def verlet(q: Tensor, p: Tensor) -> Tensor:
    for _ in range(3):
        p = p - 0.05 * torch.sin(q)
        q = q + 0.1 * p
        p = p - 0.05 * torch.sin(q)
    return q * p


class Logistic(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        y = torch.sigmoid(x)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Tensor:  # type: ignore[override]
        (y,) = ctx.saved_tensors
        return g * y * (1 - y)


def group_norm_by_hand(x: Tensor) -> Tensor:
    y = x.reshape(2, 2, -1)
    y = (y - y.mean(-1, keepdim=True)) * torch.rsqrt(y.var(-1, unbiased=False, keepdim=True) + 1e-5)
    return y.reshape(x.shape)


def rotary(x: Tensor, angle: Tensor) -> Tensor:
    a, b = x.chunk(2, -1)
    return torch.cat([a * angle.cos() - b * angle.sin(), a * angle.sin() + b * angle.cos()], -1)


def grouped_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    k, v = (t.repeat_interleave(2, 0) for t in (k, v))
    return torch.softmax(q @ k.mT * 0.5, -1) @ v


def stacked_lstm(x: Tensor, wi: Tensor, wh: Tensor) -> Tensor:
    h = c = torch.zeros(2, dtype=x.dtype)
    for row in x:
        i, f, g, o = (wi @ row + wh @ h).chunk(4)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        h = torch.sigmoid(o) * torch.tanh(c)
    return h


def focal(x: Tensor) -> Tensor:
    p = torch.sigmoid(x)
    return -((1 - p) ** 2 * F.logsigmoid(x)).mean()


def contrastive(a: Tensor, b: Tensor) -> Tensor:
    a, b = F.normalize(a, dim=-1), F.normalize(b, dim=-1)
    return F.cross_entropy(a @ b.T / 0.5, torch.arange(a.shape[0]))


def near(x: np.ndarray) -> np.ndarray:  # type: ignore[type-arg]
    """Matrices near 3·identity."""
    return x / 4 + (3 * np.eye(x.shape[-1]) if x.ndim == 2 else 0)


_t = programs_torch.Program
_wide = programs_torch.DTYPES[:2]

FURTHER_TORCH: tuple[programs_torch.Program, ...] = (
    _t("while", halved, ((4,),)),
    _t("newton until", cube_root, ((4,),), programs_torch.positive),
    _t("runge kutta", runge_kutta, ((2,), ())),
    _t("verlet", verlet, ((3,), (3,))),
    _t("custom logistic", lambda x: Logistic.apply(x) * x, ((4,),)),
    _t("group norm by hand", group_norm_by_hand, ((2, 4, 3),)),
    _t("rotary", rotary, ((3, 4), (3, 2))),
    _t("grouped attention", grouped_attention, ((2, 3, 2), (1, 3, 2), (1, 3, 2))),
    _t("lstm by hand", stacked_lstm, ((3, 3), (8, 3), (8, 2))),
    _t("focal loss", focal, ((4,),)),
    _t("contrastive loss", contrastive, ((3, 4), (3, 4))),
    _t("hinge loss", lambda x: F.multi_margin_loss(x, programs_torch.LABELS), ((2, 4),)),
    _t("triplet loss", lambda a, b, c: F.triplet_margin_loss(a, b, c), ((2, 3), (2, 3), (2, 3))),
    _t("poisson loss", lambda x, y: F.poisson_nll_loss(x, y.abs()), ((4,), (4,))),
    _t("gaussian loss", lambda x, y, v: F.gaussian_nll_loss(x, y, v.abs() + 0.5), ((4,), (4,), (4,))),
    _t("conv3d", lambda x, w: F.conv3d(x, w), ((1, 1, 3, 3, 3), (2, 1, 2, 2, 2))),
    _t("unfold", lambda x: F.unfold(x, 2) ** 2, ((1, 2, 3, 3),)),
    _t("pixel shuffle", lambda x: F.pixel_shuffle(x, 2) ** 2, ((1, 4, 2, 2),)),
    _t("max pool 1d", lambda x: F.max_pool1d(x, 2) ** 2, ((1, 2, 6),)),
    _t("power pool", lambda x: F.lp_pool1d(x.abs(), 2.0, 2), ((1, 2, 6),)),
    _t("solve", lambda a, b: torch.linalg.solve(a, b), ((3, 3), (3,)), near, only=_wide),
    _t("inverse", torch.linalg.inv, ((3, 3),), near, only=_wide),
    _t("log determinant", lambda a: torch.linalg.slogdet(a)[1], ((3, 3),), near, only=_wide),
    _t("cholesky", lambda a: torch.linalg.cholesky(a @ a.T), ((3, 3),), near, only=_wide),
    _t("matrix exponential", torch.matrix_exp, ((2, 2),), only=_wide),
    _t("chain product", lambda a, b, c: torch.linalg.multi_dot([a, b, c]), ((2, 3), (3, 2), (2, 2))),
    _t("kronecker", lambda a, b: torch.kron(a, b) ** 2, ((2, 2), (2, 2))),
    _t("hessian", lambda x: torch.func.hessian(lambda z: (z**3).sum() + z.prod())(x), ((3,),)),
    _t("scatter reduce", lambda x: torch.zeros(3, dtype=x.dtype).scatter_reduce(
        0, torch.tensor([0, 1, 0, 2]), x, "sum") ** 2, ((4,),)),
    _t("median", lambda x: torch.median(x) * x.sum(), ((5,),)),
)  # fmt: skip


# JAX ------------------------------------------------------------------------------------------------------------------


def lstm(x: Any, wi: Any, wh: Any) -> Any:
    def step(state: tuple[Any, Any], row: Any) -> tuple[tuple[Any, Any], Any]:
        h, c = state
        i, f, g, o = jnp.split(wi @ row + wh @ h, 4)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        h = jax.nn.sigmoid(o) * jnp.tanh(c)
        return (h, c), h

    zero = jnp.zeros(2, x.dtype)
    return lax.scan(step, (zero, zero), x)[1]


def batch_norm(x: Any, scale: Any, shift: Any) -> Any:
    return (x - x.mean(0)) * lax.rsqrt(jnp.var(x, 0) + 1e-5) * scale + shift


def leapfrog(q: Any, p: Any) -> Any:
    def step(_: int, state: tuple[Any, Any]) -> tuple[Any, Any]:
        q, p = state
        p = p - 0.05 * jnp.sin(q)
        q = q + 0.1 * p
        return q, p - 0.05 * jnp.sin(q)

    q, p = lax.fori_loop(0, 3, step, (q, p))
    return q * p


def contrastive_jax(a: Any, b: Any) -> Any:
    a, b = (x / jnp.linalg.norm(x, axis=-1, keepdims=True) for x in (a, b))
    return -jnp.mean(jnp.diag(jax.nn.log_softmax(a @ b.T * 2)))


def huber(x: Any, y: Any) -> Any:
    d = jnp.abs(x - y)
    return jnp.mean(jnp.where(d < 1, 0.5 * d * d, d - 0.5))


def hvp(x: Any) -> Any:
    def f(z: Any) -> Any:
        return jnp.sum(z**4) + jnp.prod(jnp.sin(z))

    return jax.jvp(jax.grad(f), (x,), (jnp.full_like(x, 0.5),))[1]


_j: Callable[..., programs_jax.Program] = programs_jax._p
_w = programs_jax.WIDE

FURTHER_JAX: tuple[programs_jax.Program, ...] = (
    _j("lstm", lstm, (3, 3), (8, 3), (8, 2)),
    _j("batch norm", batch_norm, (4, 3), (3,), (3,)),
    _j("rms norm", lambda x, g: x * lax.rsqrt(jnp.mean(x * x, -1, keepdims=True) + 1e-6) * g, (2, 4), (4,)),
    _j("leapfrog", leapfrog, (3,), (3,)),
    _j("contrastive loss", contrastive_jax, (3, 4), (3, 4)),
    _j("huber loss", huber, (4,), (4,)),
    _j("logits loss", lambda x: jnp.mean(jnp.logaddexp(0, x) - x * jnp.array([0, 1, 1, 0], x.dtype)), (4,)),
    _j("divergence", lambda x, y: jnp.sum(jax.nn.softmax(y) * (jax.nn.log_softmax(y) - jax.nn.log_softmax(x))),
       (2, 3), (2, 3)),
    _j("hessian vector", hvp, (3,)),
    _j("hessian", jax.hessian(lambda x: jnp.sum(x**3) + jnp.prod(x)), (3,)),
    _j("jacobian", jax.jacrev(lambda x: jnp.tanh(x) * jnp.sum(x)), (3,)),
    _j("associative scan", lambda x: lax.associative_scan(jnp.multiply, x), (5,)),
    _j("transposed convolution", lambda x, w: lax.conv_transpose(x, w, (2,), "SAME"), (1, 4, 2), (3, 2, 2)),
    _j("segment sum", lambda x: jax.ops.segment_sum(x, programs_jax.INDICES, 3) ** 2, (4, 2)),
    _j("segment maximum", lambda x: jax.ops.segment_max(x, programs_jax.INDICES, 3), (4,)),
    _j("one-hot", lambda x: jax.nn.one_hot(programs_jax.INDICES, 3, dtype=x.dtype) @ x, (3, 2)),
    _j("rotary", lambda x, a: jnp.concatenate([x[:2] * jnp.cos(a) - x[2:] * jnp.sin(a),
                                               x[:2] * jnp.sin(a) + x[2:] * jnp.cos(a)]), (4,), (2,)),
    _j("per-sample gradients", lambda w, x: jax.vmap(jax.grad(lambda w, r: jnp.tanh(r @ w).sum()), (None, 0))(w, x),
       (3, 2), (2, 3)),
    _j("switch", lambda x: lax.switch(1, [jnp.sin, jnp.cos, jnp.tanh], x) * x, (4,)),
    _j("matrix power", lambda a: jnp.linalg.matrix_power(a, 3), (2, 2)),
    _j("kronecker", lambda a, b: jnp.kron(a, b) ** 2, (2, 2), (2, 2)),
    _j("polynomial", lambda c, x: jnp.polyval(c, x), (4,), (3,)),
    _j("convolve", lambda x, w: jnp.convolve(x, w), (5,), (3,)),
    _j("median", lambda x: jnp.median(x) * jnp.sum(x), programs_jax.APART),
    _j("triangular solve", lambda a, b: jax.scipy.linalg.solve_triangular(
        jnp.tril(a) + 3 * jnp.eye(3, dtype=a.dtype), b, lower=True), (3, 3), (3,), dtypes=_w),
    _j("matrix exponential", jax.scipy.linalg.expm, (2, 2), dtypes=_w),
)  # fmt: skip
