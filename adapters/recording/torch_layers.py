"""What the kernels of layers stand for: recurrent ones, attention, normalization, gates."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from gradconform.reference.programs.run import NotRecorded


def wide(x: Tensor) -> Tensor:
    """In the format in which kernels compute inside: float32 for 16 bits."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


# Recurrent layers -----------------------------------------------------------------------------------------------------


def _lstm_gates(x: Tensor, h: Tensor, weights: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    w, u, b = weights
    i, f, g, o = (torch.cat([x, h], 1) @ torch.cat([w, u], 1).t() + b).chunk(4, 1)
    return i.sigmoid(), f.sigmoid(), g.tanh(), o.sigmoid()


def lstm(
    x: Tensor, w: Tensor, u: Tensor, b: Tensor, d: Tensor, h: Tensor, c: Tensor, reverse: bool, batch_sizes: list[int],
    mode: int, *rest: Any, kept: Callable[[Tensor], Tensor] = wide,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """A layer of oneDNN; `kept` is what becomes of numbers that it keeps from step to step."""
    if mode != 2:
        raise NotRecorded(f"a recurrent layer of oneDNN of mode {mode}: set torch.backends.mkldnn.enabled = False")
    outs, (h, c) = [], (wide(h), wide(c))
    weights = wide(w), wide(u), kept(wide(b) + wide(d))
    steps = range(x.shape[0])
    for t in reversed(steps) if reverse else steps:
        i, f, g, o = _lstm_gates(wide(x[t]), h, weights)
        c = f * c + i * g
        h, c = kept(o * c.tanh()), kept(c)
        outs.append(h)
    return torch.stack(outs[::-1] if reverse else outs).to(x.dtype), h.to(x.dtype), c.to(x.dtype)


def lstm_backward(
    x: Tensor, w: Tensor, u: Tensor, b: Tensor, d: Tensor, h: Tensor, c: Tensor, output: Tensor, hy: Tensor, cy: Tensor,
    by_output: Tensor | None, by_h: Tensor | None, by_c: Tensor | None, reverse: bool, mode: int, *rest: Any,
    kept: Callable[[Tensor], Tensor] = wide,
) -> tuple[Tensor, ...]:  # fmt: skip
    dtype, weights = x.dtype, (wide(w), wide(u), kept(wide(b) + wide(d)))
    run, (h, c) = [], (wide(h), wide(c))
    steps = list(range(x.shape[0]))
    for t in reversed(steps) if reverse else steps:
        gates = tuple(map(kept, _lstm_gates(wide(x[t]), h, weights)))
        now = kept(gates[1] * c + gates[0] * gates[2])
        run.append((t, h, c, gates, now.tanh()))
        h, c = kept(gates[3] * now.tanh()), now
    dh = torch.zeros_like(h) if by_h is None else wide(by_h)
    dc = torch.zeros_like(c) if by_c is None else wide(by_c)
    by_x: list[Any] = [None] * len(steps)
    slopes, inputs = [], []
    for t, before, cell, (i, f, g, o), squashed in reversed(run):
        dh = dh if by_output is None else dh + wide(by_output[t])
        dc = dc + dh * o * (1 - squashed * squashed)
        slope = kept(torch.cat([dc * g * i * (1 - i), dc * cell * f * (1 - f), dc * i * (1 - g * g),
                                dh * squashed * o * (1 - o)], 1))  # fmt: skip
        by_x[t], dh, dc = slope @ weights[0], slope @ weights[1], dc * f
        slopes.append(slope)
        inputs.append((wide(x[t]), before))
    stacked = torch.cat(slopes)
    by_w, by_u = (stacked.t() @ torch.cat([pair[n] for pair in inputs]) for n in (0, 1))
    by_b = stacked.sum(0)
    return tuple(r.to(dtype) for r in (torch.stack(by_x), by_w, by_u, by_b, by_b, dh, dc))


def in_bfloat16(x: Tensor) -> Tensor:
    """What oneDNN keeps between products where the layer is in bfloat16: its states, gates and their slopes."""
    return wide(x.bfloat16())


# Attention ------------------------------------------------------------------------------------------------------------


def _scores(q: Tensor, k: Tensor, causal: bool, mask: Tensor | None, scale: float | None) -> Tensor:
    found = (q @ k.transpose(-1, -2)) * (1 / math.sqrt(q.shape[-1]) if scale is None else scale)
    if causal:
        seen = torch.ones(found.shape[-2:], dtype=torch.bool).tril()
        found = torch.where(seen, found, torch.full((), -math.inf, dtype=found.dtype))
    return found if mask is None else found + mask


def _for_each_head(q: Tensor, x: Tensor) -> Tensor:
    """Keys or values, of which several heads of q may have the same ones (`enable_gqa`)."""
    times = q.shape[-3] // x.shape[-3]
    return x if times == 1 else x.repeat_interleave(times, -3)


def _of_groups(x: Tensor, heads: int) -> Tensor:
    """Sums over the heads that have the same keys and values."""
    return x if x.shape[-3] == heads else x.reshape(*x.shape[:-3], heads, -1, *x.shape[-2:]).sum(-3)


def attention(
    q: Tensor, k: Tensor, v: Tensor, dropout: float = 0.0, causal: bool = False, *,
    attn_mask: Tensor | None = None, scale: float | None = None,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    k, v = _for_each_head(q, k), _for_each_head(q, v)
    scores = _scores(wide(q), wide(k), causal, attn_mask, scale)
    most = scores.amax(-1, keepdim=True)
    weights = torch.exp(scores - most)
    total = weights.sum(-1, keepdim=True)
    out = (wide(weights.to(q.dtype)) @ wide(v)) / total
    return out.to(q.dtype), (most + torch.log(total))[..., 0]


def attention_backward(
    g: Tensor, q: Tensor, k: Tensor, v: Tensor, out: Tensor, logsumexp: Tensor, dropout: float, causal: bool, *,
    attn_mask: Tensor | None = None, scale: float | None = None,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    dtype, heads = q.dtype, k.shape[-3]
    k, v = _for_each_head(q, k), _for_each_head(q, v)
    g, q, k, v, out = (wide(x) for x in (g, q, k, v, out))
    weights = torch.exp(_scores(q, k, causal, attn_mask, scale) - logsumexp.unsqueeze(-1))
    by_v = wide(weights.to(dtype)).transpose(-1, -2) @ g
    by_weights = g @ v.transpose(-1, -2)
    by_scores = weights * (by_weights - (g * out).sum(-1, keepdim=True))
    by_scores = wide((by_scores * (1 / math.sqrt(q.shape[-1]) if scale is None else scale)).to(dtype))
    by_k = _of_groups(by_scores.transpose(-1, -2) @ q, heads)
    return (by_scores @ k).to(dtype), by_k.to(dtype), _of_groups(by_v, heads).to(dtype)


# Kernels that round elsewhere than their decompositions ---------------------------------------------------------------


def glu_backward(g: Tensor, x: Tensor, dim: int) -> Tensor:
    a, b = x.chunk(2, dim)
    gate = torch.sigmoid(b)
    slope = (1 - wide(gate)) * wide(gate) * wide(a) * wide(g)
    return torch.cat([gate * g, slope.to(x.dtype)], dim)


def glu_jvp(glu: Tensor, x: Tensor, dx: Tensor, dim: int) -> Tensor:
    (_, b), (by_a, by_b) = x.chunk(2, dim), dx.chunk(2, dim)
    gate = torch.sigmoid(wide(b))
    return (by_a * gate + wide(glu) * (by_b - gate * by_b)).to(x.dtype)


def huber_backward(g: Tensor, x: Tensor, t: Tensor, reduction: int, delta: float) -> Tensor:
    share = torch.full((), 1.0 / x.numel() if reduction == 1 else 1.0, dtype=wide(x).dtype).to(x.dtype)
    by = wide(share) * wide(g)
    off = wide(x) - wide(t)
    inner = torch.where(off > delta, by * delta, off * by)
    return torch.where(off < -delta, -by * delta, inner).to(x.dtype)


def log_softmax(x: Tensor, dim: int, half_to_float: bool = False) -> Tensor:
    most = x.amax(dim, keepdim=True)
    total = torch.exp(wide(x) - wide(most)).sum(dim, keepdim=True).to(x.dtype)
    log = torch.log(wide(total)).to(x.dtype)
    return (wide(x) - wide(most) - wide(log)).to(x.dtype)


def layer_norm_backward(
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

    def added(rows: Tensor) -> Tensor:
        """The rows, added up in the dtype itself; over no axes PyTorch's sum is over all of them."""
        return rows.to(dtype).sum(outer) if outer else rows.to(dtype)

    by_weight = added(g * (rstd * x - rstd * mean)) if wanted[1] else None
    return [found, by_weight, added(g) if wanted[2] else None]


def _scaled(x: Tensor, mean: Tensor, deviation: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    """A channel times its scale, and its offset: both in the dtype or in float32, as mean and deviation are."""
    shape = [1, -1, *[1] * (x.ndim - 2)]
    scale = (wide(deviation) if weight is None else wide(deviation) * wide(weight)).to(x.dtype)
    offset = -wide(mean) * wide(scale) if bias is None else wide(bias) - wide(mean) * wide(scale)
    return (wide(x) * wide(scale).reshape(shape) + offset.reshape(shape)).to(x.dtype)


def batch_norm_legit(
    x: Tensor, weight: Tensor | None, bias: Tensor | None, *rest: Any
) -> tuple[Tensor, Tensor, Tensor]:
    """By scale and offset of a channel, from the mean and the deviation as they are given out."""
    if rest[-3] is False:  # not in training, where neither is given out
        return batch_norm_in_use(x, weight, bias, rest[0], rest[1], rest[-2], rest[-1])
    dims, eps = [d for d in range(x.ndim) if d != 1], rest[-1]
    mean, deviation = wide(x).mean(dims), (wide(x).var(dims, correction=0) + eps).rsqrt()
    mean, deviation = mean.to(x.dtype), deviation.to(x.dtype)
    return _scaled(x, mean, deviation, weight, bias), mean, deviation


def _after_a_batch(of: Tensor, running: Tensor | None, momentum: float, rounded: bool) -> Tensor | None:
    if running is None:
        return None
    if rounded:  # each operation of the mixture, too
        return momentum * of.to(running.dtype) + (1 - momentum) * running
    return (momentum * of + (1 - momentum) * wide(running)).to(running.dtype)


def batch_norm_statistics(
    x: Tensor, weight: Tensor | None, bias: Tensor | None, mean: Tensor | None, var: Tensor | None, *rest: Any,
    rounded: bool = False,
) -> tuple[Tensor | None, Tensor | None]:  # fmt: skip
    """The running statistics after a batch; where this is `rounded` every operation is in the dtype but sums.

    aten/src/ATen/native/Normalization.cpp, batch_norm_cpu_update_stats_template.
    """
    if rest[0] is False:  # not in training
        return None, None
    dims = [d for d in range(x.ndim) if d != 1]
    of = wide(x).mean(dims, keepdim=True)
    off = x - of.to(x.dtype) if rounded else wide(x) - of
    squares = wide(off * off).sum(dims) / (x.numel() // x.shape[1] - 1)
    momentum = rest[-2]
    return _after_a_batch(of.reshape(-1), mean, momentum, rounded), _after_a_batch(squares, var, momentum, rounded)


def batch_norm_in_use(
    x: Tensor, weight: Tensor | None, bias: Tensor | None, mean: Tensor, var: Tensor, momentum: float, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    """The same, from given statistics."""
    found = _scaled(x, mean, (wide(var) + eps).sqrt().reciprocal().to(x.dtype), weight, bias)
    return found, x.new_zeros(0), x.new_zeros(0)


def batch_norm_backward(
    g: Tensor,
    x: Tensor,
    weight: Tensor | None,
    mean: Tensor | None,
    var: Tensor | None,
    kept_mean: Tensor | None,
    kept_deviation: Tensor | None,
    train: bool,
    eps: float,
    wanted: list[bool],
    *reserve: Tensor,
) -> list[Tensor | None]:
    """In the dtype itself but for the sums, as where memory is not contiguous.

    aten/src/ATen/native/Normalization.cpp, batch_norm_backward_cpu_template.
    """
    shape, dims = [1, -1, *[1] * (x.ndim - 2)], [d for d in range(x.ndim) if d != 1]
    if train:
        assert kept_mean is not None
        assert kept_deviation is not None
        middle, deviation = kept_mean, kept_deviation
    else:
        assert mean is not None
        assert var is not None
        middle, deviation = mean, (wide(var) + eps).sqrt().reciprocal().to(var.dtype)
    off = x - middle.reshape(shape)
    along, total = wide(off * g).sum(dims), wide(g).sum(dims).to(x.dtype)
    found: Tensor = g
    if train:
        n = x.numel() // x.shape[1]
        rest = along.to(x.dtype) * deviation * deviation / n
        found = g - (total / n).reshape(shape) - off * rest.reshape(shape)
    found = found * deviation.reshape(shape)
    found = found if weight is None else found * weight.reshape(shape)
    by_weight = (along * wide(deviation)).to(deviation.dtype)
    return [found.to(x.dtype), by_weight if wanted[1] else None, total if wanted[2] else None]


def xlogy(x: Tensor, y: Tensor) -> Tensor:
    return torch.where(x == 0, torch.zeros((), dtype=x.dtype), x * torch.log(y))


def softmax(x: Tensor, dim: int, half_to_float: bool = False) -> Tensor:
    """The exponentials rounded, then divided by their sum."""
    most = x.amax(dim, keepdim=True)
    found = torch.exp(wide(x) - wide(most)).to(x.dtype)
    return (wide(found) / wide(found).sum(dim, keepdim=True)).to(x.dtype)
