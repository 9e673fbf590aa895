"""Correct programs of complex numbers and Fourier transforms, in PyTorch and in JAX."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import programs_jax
import programs_torch
import torch
from jax import lax
from torch import Tensor
from torch.nn import functional as F

V, M = (4,), (3, 3)

# PyTorch --------------------------------------------------------------------------------------------------------------


def _t(name: str, f: Callable[..., Any], *shapes: tuple[int, ...]) -> programs_torch.Program:
    return programs_torch.Program(f"complex {name}", f, shapes or (V,), only=programs_torch.DTYPES[:2], complex=True)


class Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, z: Tensor, w: Tensor) -> Tensor:
        ctx.save_for_backward(z, w)
        return z * w

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        z, w = ctx.saved_tensors
        return g * w.conj(), g * z.conj()


def in_place(z: Tensor) -> Tensor:
    y = z.clone()
    y.mul_(z).add_(1j)
    y.imag.mul_(2)
    return y


def spectrogram(z: Tensor) -> Tensor:
    x = z.real
    window = torch.hann_window(8, dtype=x.dtype)
    return torch.stft(x, 8, hop_length=4, window=window, return_complex=True).abs()


def filtered(z: Tensor, w: Tensor) -> Tensor:
    """A convolution by transforms, as state-space layers have it."""
    return torch.fft.irfft(torch.fft.rfft(z.real, n=16) * torch.fft.rfft(w.real, n=16), n=16)[:8]


def whitened(z: Tensor) -> Tensor:
    """The phases of a transform, transformed back."""
    s = torch.fft.fft(z)
    return torch.fft.ifft(s / s.abs())


COMPLEX_TORCH: tuple[programs_torch.Program, ...] = (
    _t("product", lambda z, w: z * w, V, V),
    _t("quotient", lambda z, w: z / w, V, V),
    _t("reciprocal", lambda z: 1 / z),
    _t("of real factors", lambda z, w: z * w.real / w.imag + w.real, V, V),
    _t("scaled", lambda z: (2 + 1j) * z + 0.1 * z - 1j),
    _t("modulus squared", lambda z: (z * z.conj()).real),
    _t("conjugate part", lambda z: z.conj().imag * 2),
    _t("modulus", lambda z: z.abs()),
    _t("angle", lambda z: z.angle()),
    _t("sign", torch.sgn),
    _t("polar", lambda z: torch.polar(z.abs(), 2 * z.angle())),
    _t("of parts", lambda z: torch.complex(z.imag, z.real) * z),
    _t("as real", lambda z: torch.view_as_real(z).square().sum()),
    _t("as complex", lambda z: torch.view_as_complex(torch.view_as_real(z) * 2) * z),
    _t("exponential", torch.exp),
    _t("logarithm", torch.log),
    _t("root", torch.sqrt),
    _t("tanh", torch.tanh),
    _t("tangent", torch.tan),
    _t("sine", torch.sin),
    _t("cosine", torch.cos),
    _t("hyperbolic sine", torch.sinh),
    _t("hyperbolic cosine", torch.cosh),
    _t("sigmoid", torch.sigmoid),
    _t("square", lambda z: z**2),
    _t("cube", lambda z: z**3),
    _t("inverse square", lambda z: z**-2),
    _t("real power", lambda z: z**1.5),
    _t("power", lambda z, w: z**w, V, V),
    _t("sum", lambda z: (z * z).sum()),
    _t("mean", lambda z: (z * z).mean().real),
    _t("product of all", torch.prod),
    _t("cumulative sum", lambda z: z.cumsum(0) * z),
    _t("cumulative product", lambda z: z.cumprod(0)),
    _t("where", lambda z: torch.where(z.real > 0, z * z, 2 * z.conj())),
    _t("norm", torch.linalg.norm),
    _t("norm of order 3", lambda z: torch.linalg.vector_norm(z, 3)),
    _t("matrices", lambda z, w: z @ w, M, M),
    _t("adjoint", lambda z: z.mH @ z, M),
    _t("einsum", lambda z, w: torch.einsum("ij,kj->ik", z, w.conj()), (2, 3), (2, 3)),
    _t("inner product", torch.vdot, V, V),
    _t("linear", lambda z, w, b: F.linear(z, w, b), (2, 3), (4, 3), (4,)),
    _t("gather", lambda z: z[torch.tensor([0, 2, 0])] * z[:3]),
    _t("in place", in_place),
    _t("custom rule", lambda z, w: Product.apply(z, w), V, V),
    _t("vmap", lambda z: torch.func.vmap(lambda x: x * x.conj() + x)(z)),
    _t("fft", torch.fft.fft, (8,)),
    _t("fft of 6", torch.fft.fft, (6,)),
    _t("fft of 17", torch.fft.fft, (17,)),
    _t("ifft", torch.fft.ifft, (8,)),
    _t("rfft", lambda z: torch.fft.rfft(z.real), (8,)),
    _t("irfft", torch.fft.irfft, (5,)),
    _t("irfft of odd length", lambda z: torch.fft.irfft(z, n=7), (4,)),
    _t("hfft", torch.fft.hfft, (5,)),
    _t("fft of real numbers", lambda z: torch.fft.fft(z.real), (8,)),
    _t("fft unitary", lambda z: torch.fft.fft(z, norm="ortho"), (8,)),
    _t("fft scaled forward", lambda z: torch.fft.fft(z, norm="forward"), (8,)),
    _t("fft2", torch.fft.fft2, (4, 4)),
    _t("rfft2", lambda z: torch.fft.rfft2(z.real), (4, 4)),
    _t("irfft2", torch.fft.irfft2, (4, 3)),
    _t("fft shifted", lambda z: torch.fft.fftshift(torch.fft.fft(z)), (6,)),
    _t("power spectrum", lambda z: torch.fft.fft(z).abs().square().sum(), (8,)),
    _t("convolution by fft", lambda z, w: torch.fft.ifft(torch.fft.fft(z) * torch.fft.fft(w)), (8,), (8,)),
    _t("filter", filtered, (8,), (8,)),
    _t("spectrogram", spectrogram, (32,)),
    _t("phases", whitened, (8,)),
)  # fmt: skip


# JAX ------------------------------------------------------------------------------------------------------------------


def _j(name: str, f: Callable[..., Any], *shapes: tuple[int, ...]) -> programs_jax.Program:
    return programs_jax.Program(f"complex {name}", f, shapes or (V,), programs_jax.WIDE, complex=True)


@jax.custom_vjp
def product(z: Any, w: Any) -> Any:
    return z * w


product.defvjp(lambda z, w: (z * w, (z, w)), lambda saved, g: (g * saved[1], g * saved[0]))


def recurrence(z: Any) -> Any:
    return lax.scan(lambda s, x: (s * x, s + x), z[0], z)[1]


def rotated(z: Any) -> Any:
    return lax.complex(jnp.abs(z) * jnp.cos(2 * jnp.angle(z)), jnp.abs(z) * jnp.sin(2 * jnp.angle(z)))


def filtered_jax(z: Any, w: Any) -> Any:
    return jnp.fft.irfft(jnp.fft.rfft(z.real, n=16) * jnp.fft.rfft(w.real, n=16), n=16)[:8]


COMPLEX_JAX: tuple[programs_jax.Program, ...] = (
    _j("product", lambda z, w: z * w, V, V),
    _j("quotient", lambda z, w: z / w, V, V),
    _j("reciprocal", lambda z: 1 / z),
    _j("scaled", lambda z: (2 + 1j) * z + 0.1 * z - 1j),
    _j("modulus squared", lambda z: (z * z.conj()).real),
    _j("conjugate part", lambda z: z.conj().imag * 2),
    _j("modulus", jnp.abs),
    _j("angle", jnp.angle),
    _j("rotated", rotated),
    _j("exponential", jnp.exp),
    _j("logarithm", jnp.log),
    _j("root", jnp.sqrt),
    _j("tanh", jnp.tanh),
    _j("tangent", jnp.tan),
    _j("sine", jnp.sin),
    _j("cosine", jnp.cos),
    _j("hyperbolic sine", jnp.sinh),
    _j("hyperbolic cosine", jnp.cosh),
    _j("sigmoid", jax.nn.sigmoid),
    _j("square", lambda z: z**2),
    _j("cube", lambda z: z**3),
    _j("inverse square", lambda z: z**-2),
    _j("real power", lambda z: z**1.5),
    _j("power", lambda z, w: z**w, V, V),
    _j("sum", lambda z: jnp.sum(z * z)),
    _j("mean", lambda z: jnp.mean(z * z).real),
    _j("product of all", jnp.prod),
    _j("cumulative sum", lambda z: jnp.cumsum(z) * z),
    _j("where", lambda z: jnp.where(z.real > 0, z * z, 2 * z.conj())),
    _j("norm", jnp.linalg.norm),
    _j("matrices", lambda z, w: z @ w, M, M),
    _j("adjoint", lambda z: z.conj().T @ z, M),
    _j("einsum", lambda z, w: jnp.einsum("ij,kj->ik", z, w.conj()), (2, 3), (2, 3)),
    _j("inner product", jnp.vdot, V, V),
    _j("gather", lambda z: z[jnp.array([0, 2, 0])] * z[:3]),
    _j("set", lambda z: z.at[1].set(z[0] * z[2]).at[0].add(1j)),
    _j("scan", recurrence),
    _j("custom rule", lambda z, w: product(z, w), V, V),
    _j("vmap", jax.vmap(lambda x: x * x.conj() + x)),
    _j("fft", jnp.fft.fft, (8,)),
    _j("fft of 6", jnp.fft.fft, (6,)),
    _j("fft of 17", jnp.fft.fft, (17,)),
    _j("ifft", jnp.fft.ifft, (8,)),
    _j("rfft", lambda z: jnp.fft.rfft(z.real), (8,)),
    _j("irfft", jnp.fft.irfft, (5,)),
    _j("irfft of odd length", lambda z: jnp.fft.irfft(z, n=7), (4,)),
    _j("hfft", jnp.fft.hfft, (5,)),
    _j("fft unitary", lambda z: jnp.fft.fft(z, norm="ortho"), (8,)),
    _j("fft scaled forward", lambda z: jnp.fft.fft(z, norm="forward"), (8,)),
    _j("fft2", jnp.fft.fft2, (4, 4)),
    _j("rfft2", lambda z: jnp.fft.rfft2(z.real), (4, 4)),
    _j("irfft2", jnp.fft.irfft2, (4, 3)),
    _j("power spectrum", lambda z: jnp.sum(jnp.abs(jnp.fft.fft(z)) ** 2), (8,)),
    _j("convolution by fft", lambda z, w: jnp.fft.ifft(jnp.fft.fft(z) * jnp.fft.fft(w)), (8,), (8,)),
    _j("filter", filtered_jax, (8,), (8,)),
)  # fmt: skip
