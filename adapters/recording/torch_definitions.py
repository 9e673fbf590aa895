"""What kernels stand for, written in simpler operations, where PyTorch has no decomposition or an approximate one.

A definition is the truth of a kernel, and a form by which it may be rounded unless it is `APPROXIMATED`: then the
framework's decomposition is that form. `FORMS` are further ways in which kernels round.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

Program = Callable[..., Any]


def wide(x: Tensor) -> Tensor:
    """In the format in which kernels compute inside: float32 for 16 bits."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


# Approximated by the framework ----------------------------------------------------------------------------------------


def _softplus(x: Tensor, beta: float = 1, threshold: float = 20) -> Tensor:
    return torch.log1p(torch.exp(x * beta)) / beta


def _softplus_backward(g: Tensor, x: Tensor, beta: float, threshold: float) -> Tensor:
    return g * torch.sigmoid(x * beta)


# Without a decomposition ----------------------------------------------------------------------------------------------


def _var(
    x: Tensor, dim: Any = None, unbiased: bool = True, keepdim: bool = False, *, correction: float | None = None
) -> Tensor:
    if isinstance(dim, bool):
        dim, unbiased = None, dim
    dims = list(range(x.ndim)) if dim is None or dim == [] else [dim] if isinstance(dim, int) else list(dim)
    count = math.prod(x.shape[d] for d in dims)
    of = wide(x)
    centred = of - of.sum(dims, keepdim=True) / count
    taken = (1 if unbiased else 0) if correction is None else correction
    return (centred.square().sum(dims, keepdim=keepdim) / (count - taken)).to(x.dtype)


def _std(x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    return _var(wide(x), *args, **kwargs).sqrt().to(x.dtype)


def _var_mean(x: Tensor, dim: Any = None, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
    found = _var(x, dim, *args, **kwargs)
    return found, _mean(x, dim, found.ndim == x.ndim)


def _std_mean(x: Tensor, dim: Any = None, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
    found = _std(x, dim, *args, **kwargs)
    return found, _mean(x, dim, found.ndim == x.ndim)


def _mean(x: Tensor, dim: Any, keepdim: bool) -> Tensor:
    dims = list(range(x.ndim)) if dim is None or isinstance(dim, bool) else dim
    return x.mean(dims, keepdim=keepdim)


def _logsumexp(x: Tensor, dim: Any, keepdim: bool = False) -> Tensor:
    most = x.amax(dim, keepdim=True)
    found = most + torch.log(torch.exp(x - most).sum(dim, keepdim=True))
    return found if keepdim else found.squeeze(dim)


def _logcumsumexp(x: Tensor, dim: int) -> Tensor:
    outs = [wide(x.select(dim, 0))]
    for i in range(1, x.shape[dim]):
        a, b = outs[-1], wide(x.select(dim, i))
        most, least = torch.maximum(a, b), torch.minimum(a, b)
        added = most + torch.log1p(torch.exp(least - most))
        outs.append(torch.where(torch.isinf(least) & (least == most), a, added))
    return torch.stack(outs, dim).to(x.dtype)


def _norm(x: Tensor, ord: float = 2, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    x = x if dtype is None else x.to(dtype)
    of, dims = wide(x), list(range(x.ndim)) if dim is None else dim
    if ord == 2:
        found = of.square().sum(dims, keepdim=keepdim).sqrt()
    elif ord in (math.inf, -math.inf):
        found = of.abs().amax(dims, keepdim=keepdim) if ord > 0 else of.abs().amin(dims, keepdim=keepdim)
    elif ord == 1:
        found = of.abs().sum(dims, keepdim=keepdim)
    else:
        found = of.abs().pow(ord).sum(dims, keepdim=keepdim).pow(1 / ord)
    return found.to(x.dtype)


def _trilinear(
    a: Tensor, b: Tensor, c: Tensor, expand1: list[int], expand2: list[int], expand3: list[int], sumdim: list[int],
    unroll_dim: int = 1,
) -> Tensor:  # fmt: skip
    for dims, place in ((expand1, 0), (expand2, 1), (expand3, 2)):
        for d in dims:
            a, b, c = (x.unsqueeze(d) if n == place else x for n, x in enumerate((a, b, c)))
    product = (a * c) * b
    return product.sum(sumdim) if sumdim else product


# Attention ------------------------------------------------------------------------------------------------------------


def _scores(q: Tensor, k: Tensor, causal: bool, mask: Tensor | None, scale: float | None) -> Tensor:
    found = (q @ k.transpose(-1, -2)) * (1 / math.sqrt(q.shape[-1]) if scale is None else scale)
    if causal:
        seen = torch.ones(found.shape[-2:], dtype=torch.bool).tril()
        found = torch.where(seen, found, torch.full((), -math.inf, dtype=found.dtype))
    return found if mask is None else found + mask


def _attention(
    q: Tensor, k: Tensor, v: Tensor, dropout: float = 0.0, causal: bool = False, *,
    attn_mask: Tensor | None = None, scale: float | None = None,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    scores = _scores(wide(q), wide(k), causal, attn_mask, scale)
    most = scores.amax(-1, keepdim=True)
    weights = torch.exp(scores - most)
    total = weights.sum(-1, keepdim=True)
    out = (wide(weights.to(q.dtype)) @ wide(v)) / total
    return out.to(q.dtype), (most + torch.log(total))[..., 0]


def _attention_backward(
    g: Tensor, q: Tensor, k: Tensor, v: Tensor, out: Tensor, logsumexp: Tensor, dropout: float, causal: bool, *,
    attn_mask: Tensor | None = None, scale: float | None = None,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    dtype = q.dtype
    g, q, k, v, out = (wide(x) for x in (g, q, k, v, out))
    weights = torch.exp(_scores(q, k, causal, attn_mask, scale) - logsumexp.unsqueeze(-1))
    by_v = wide(weights.to(dtype)).transpose(-1, -2) @ g
    by_weights = g @ v.transpose(-1, -2)
    by_scores = weights * (by_weights - (g * out).sum(-1, keepdim=True))
    by_scores = wide((by_scores * (1 / math.sqrt(q.shape[-1]) if scale is None else scale)).to(dtype))
    return (by_scores @ k).to(dtype), (by_scores.transpose(-1, -2) @ q).to(dtype), by_v.to(dtype)


# Kernels that round elsewhere than their decompositions -----------------------------------------------------------------


def _glu_backward(g: Tensor, x: Tensor, dim: int) -> Tensor:
    a, b = x.chunk(2, dim)
    gate = torch.sigmoid(b)
    slope = (1 - wide(gate)) * wide(gate) * wide(a) * wide(g)
    return torch.cat([gate * g, slope.to(x.dtype)], dim)


def _huber_backward(g: Tensor, x: Tensor, t: Tensor, reduction: int, delta: float) -> Tensor:
    share = torch.full((), 1.0 / x.numel() if reduction == 1 else 1.0, dtype=wide(x).dtype).to(x.dtype)
    by = wide(share) * wide(g)
    off = wide(x) - wide(t)
    inner = torch.where(off > delta, by * delta, off * by)
    return torch.where(off < -delta, -by * delta, inner).to(x.dtype)


def _log_softmax(x: Tensor, dim: int, half_to_float: bool = False) -> Tensor:
    most = x.amax(dim, keepdim=True)
    total = torch.exp(wide(x) - wide(most)).sum(dim, keepdim=True).to(x.dtype)
    log = torch.log(wide(total)).to(x.dtype)
    return (wide(x) - wide(most) - wide(log)).to(x.dtype)


def _layer_norm_backward(
    g: Tensor, x: Tensor, shape: list[int], mean: Tensor, rstd: Tensor, weight: Tensor | None, bias: Tensor | None,
    wanted: list[bool],
) -> list[Tensor | None]:  # fmt: skip
    dtype, dims = x.dtype, list(range(x.ndim - len(shape), x.ndim))
    g, x, mean, rstd = wide(g), wide(x), wide(mean), wide(rstd)
    scaled = g if weight is None else g * wide(weight)
    share = 1.0 / math.prod(shape)
    by_x, by_one = (scaled * x).sum(dims, keepdim=True), scaled.sum(dims, keepdim=True)
    slope = (by_one * mean - by_x) * rstd * rstd * rstd * share
    offset = -slope * mean - by_one * rstd * share
    found = (rstd * scaled + slope * x + offset).to(dtype) if wanted[0] else None
    outer = list(range(x.ndim - len(shape)))
    # The rows are added up in the dtype itself.
    by_weight = (g * (rstd * x - rstd * mean)).to(dtype).sum(outer) if wanted[1] else None
    return [found, by_weight, g.to(dtype).sum(outer) if wanted[2] else None]


def _batch_norm(
    x: Tensor, weight: Tensor | None, bias: Tensor | None, training: bool, momentum: float, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Scale and offset of a channel, from the mean and the deviation as they are given out."""
    dims, shape = [d for d in range(x.ndim) if d != 1], [1, -1, *[1] * (x.ndim - 2)]
    mean, deviation = wide(x).mean(dims), (_var(wide(x), dims, False) + eps).rsqrt()
    mean, deviation = mean.to(x.dtype), deviation.to(x.dtype)
    scale = wide(deviation) if weight is None else wide(deviation) * wide(weight)
    offset = -wide(mean) * scale if bias is None else wide(bias) - wide(mean) * scale
    return (wide(x) * scale.reshape(shape) + offset.reshape(shape)).to(x.dtype), mean, deviation


def _batch_norm_legit(
    x: Tensor, weight: Tensor | None, bias: Tensor | None, *rest: Any
) -> tuple[Tensor, Tensor, Tensor]:
    training, momentum, eps = rest[-3:]
    return _batch_norm(x, weight, bias, training, momentum, eps)


def _xlogy(x: Tensor, y: Tensor) -> Tensor:
    return torch.where(x == 0, torch.zeros((), dtype=x.dtype), x * torch.log(y))


DEFINITIONS: Mapping[str, Program] = {
    "softplus": _softplus,
    "softplus_backward": _softplus_backward,
    "var": _var,
    "std": _std,
    "var_mean": _var_mean,
    "std_mean": _std_mean,
    "logsumexp": _logsumexp,
    "logcumsumexp": _logcumsumexp,
    "_logcumsumexp": _logcumsumexp,
    "linalg_vector_norm": _norm,
    "_trilinear": _trilinear,
    "_scaled_dot_product_flash_attention_for_cpu": _attention,
    "_scaled_dot_product_flash_attention_for_cpu_backward": _attention_backward,
}
APPROXIMATED = frozenset({"softplus", "softplus_backward"})

#: By the kernel's name: what the form is called, how it computes, and whether only 16-bit kernels do.
FORMS: Mapping[str, Sequence[tuple[str, Program, bool]]] = {
    "glu_backward": (("sigmoid rounded first", _glu_backward, True),),
    "_log_softmax": (("rounded in parts", _log_softmax, True),),
    "native_layer_norm_backward": (("by sums", _layer_norm_backward, False),),
    "_native_batch_norm_legit": (("by scale and offset", _batch_norm_legit, True),),
    "xlogy": (("logarithm rounded first", _xlogy, True),),
    "huber_loss_backward": (("factor rounded first", _huber_backward, True),),
}
