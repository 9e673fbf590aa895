"""What kernels stand for, written in simpler operations, where PyTorch has no decomposition or an approximate one.

A definition is the truth of a kernel, and a form by which it may be rounded unless it is `APPROXIMATED`: then the
framework's decomposition is that form. `FORMS` are further ways in which kernels round.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch._decomp import decomposition_table

from gradconform.adapters.recording.torch_call import ByTable, Written
from gradconform.adapters.recording.torch_ctc import ctc_loss, ctc_loss_backward
from gradconform.adapters.recording.torch_interpolation import (
    cubic_backward,
    linear,
    linear_backward,
    linear_by_rounded,
    smoothed,
)
from gradconform.adapters.recording.torch_layers import (
    attention,
    attention_backward,
    batch_norm_backward,
    batch_norm_in_use,
    batch_norm_legit,
    batch_norm_statistics,
    glu_backward,
    glu_jvp,
    huber_backward,
    in_bfloat16,
    layer_norm_backward,
    log_softmax,
    lstm,
    lstm_backward,
    softmax,
    wide,
    xlogy,
)
from gradconform.adapters.recording.torch_sampling import affine_grid_generator
from gradconform.reference.arithmetic.formats import BFLOAT16, FLOAT16, FLOAT32, FLOAT64, Format
from gradconform.reference.programs.record import Ids, Record

Program = Callable[..., Any]


# Approximated by the framework ----------------------------------------------------------------------------------------


def _softplus(x: Tensor, beta: float = 1, threshold: float = 20) -> Tensor:
    return -torch.nn.functional.logsigmoid(-(x * beta)) / beta  # whose exponential does not overflow


def _softplus_backward(g: Tensor, x: Tensor, beta: float, threshold: float) -> Tensor:
    return g * torch.sigmoid(x * beta)


def _gelu(x: Tensor, approximate: str = "none") -> Tensor:
    """By the complementary error function, which keeps the digits of the tail that 1 + erf cancels."""
    if approximate != "none":
        return x / 2 * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
    return x * torch.erfc(x * -math.sqrt(0.5)) / 2


def _rational_erf(x: Tensor, square: Tensor) -> Tensor:
    """erf x to 1.5e-7, of x and what stands for −x² (M. Abramowitz and I. A. Stegun, *Handbook*, 7.1.26)."""
    t = 1 / (1 + 0.3275911 * x.abs())
    of = torch.full_like(x, 1.061405429)
    for c in (-1.453152027, 1.421413741, -0.284496736, 0.254829592):
        of = of * t + c
    beyond = of * t * torch.exp(square)
    return torch.where(x < 0, beyond - 1, 1 - beyond)


def _rational_gelu(x: Tensor, approximate: str = "none") -> Tensor:
    """Of oneDNN (src/cpu/x64/injectors/jit_uni_eltwise_injector.cpp, gelu_erf), which serves float32 and 16 bits."""
    if approximate != "none":
        return _gelu(x, approximate)
    of = wide(x)
    scaled = of * math.sqrt(0.5)
    return (of * (0.5 * (1 + _rational_erf(scaled, -(scaled * scaled))))).to(x.dtype)


def _rational_gelu_backward(g: Tensor, x: Tensor, approximate: str = "none") -> Tensor:
    if approximate != "none":
        plain: Tensor = decomposition_table[torch.ops.aten.gelu_backward.default](g, x, approximate=approximate)
        return plain
    of, by = wide(x), wide(g)
    scaled = of * math.sqrt(0.5)
    square = -(scaled * scaled)
    slope = 0.5 * (1 + _rational_erf(scaled, square)) + scaled * torch.exp(square) * (1 / math.sqrt(math.pi))
    return (by * slope).to(x.dtype)


# Smooth where their decompositions have a corner ----------------------------------------------------------------------


def _log_sigmoid(record: Record, format: Format, x: Ids) -> Sequence[Ids]:
    """And e^-|x|, which is kept for the backward pass."""
    kept = record.map("exp", [record.map("negative", [record.map("absolute", [x], format)], format)], format)
    return record.map("log_sigmoid", [x], format), kept


def _log_sigmoid_backward(g: Tensor, x: Tensor, kept: Tensor) -> Tensor:
    return g * torch.sigmoid(-x)


def _logaddexp(record: Record, format: Format, x: Ids, y: Ids) -> Sequence[Ids]:
    return (record.map("logaddexp", [x, y], format),)


# Without a decomposition ----------------------------------------------------------------------------------------------


def _along(x: Tensor, dims: list[int]) -> int:
    """How many numbers some axes have; PyTorch lets a single number have one axis."""
    return math.prod(x.shape[d] for d in dims) if x.ndim else 1


def _var(
    x: Tensor, dim: Any = None, unbiased: bool = True, keepdim: bool = False, *, correction: float | None = None
) -> Tensor:
    if isinstance(dim, bool):
        dim, unbiased = None, dim
    dims = list(range(x.ndim)) if dim is None or dim == [] else [dim] if isinstance(dim, int) else list(dim)
    count = _along(x, dims)
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
    most = torch.where(torch.isinf(most), torch.zeros((), dtype=x.dtype), most)
    found = most + torch.log(torch.exp(x - most).sum(dim, keepdim=True))
    return found if keepdim else found.squeeze(dim)


def _logcumsumexp(x: Tensor, dim: int) -> Tensor:
    if not x.ndim:
        return x.clone()
    outs = [wide(x.select(dim, 0))]
    for i in range(1, x.shape[dim]):
        a, b = outs[-1], wide(x.select(dim, i))
        most, least = torch.maximum(a, b), torch.minimum(a, b)
        added = most + torch.log1p(torch.exp(least - most))
        outs.append(torch.where(torch.isinf(least) & (least == most), a, added))
    return torch.stack(outs, dim).to(x.dtype)


def _vector_norm(
    x: Tensor, ord: float = 2, dim: Any = None, keepdim: bool = False, *, dtype: Any = None
) -> Tensor:  # fmt: skip
    dims = list(range(x.ndim)) if dim is None else [dim] if isinstance(dim, int) else list(dim)
    if ord != 0 and _along(x, dims) == 1:  # no power is taken, which would round or overflow
        return (x if dtype is None else x.to(dtype)).abs().sum(dims, keepdim=keepdim)
    return _norm(x if dtype is None else x.to(dtype), ord, dims, keepdim)


def _vector_norm_by_powers(
    x: Tensor, ord: float = 2, dim: Any = None, keepdim: bool = False, *, dtype: Any = None
) -> Tensor:  # fmt: skip
    """Also of one number, along an axis that is named."""
    dims = list(range(x.ndim)) if dim is None else [dim] if isinstance(dim, int) else list(dim)
    return _norm(x if dtype is None else x.to(dtype), ord, dims, keepdim)


def _norm(x: Tensor, ord: float, dims: list[int], keepdim: bool = False) -> Tensor:
    of = wide(x)
    if ord == 0:
        found = (of != 0).to(of.dtype).sum(dims, keepdim=keepdim)
    elif ord == 2:
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


def _shrink_backward(g: Tensor, x: Tensor, lambd: float) -> Tensor:
    return torch.where((x > lambd) | (x < -lambd), g, torch.zeros((), dtype=g.dtype))


def _addbmm(x: Tensor, a: Tensor, b: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    product = a.transpose(0, 1).reshape(a.shape[1], -1) @ b.reshape(-1, b.shape[-1])
    return torch.add(x if beta == 1 else x * beta, product, alpha=alpha)


def _addbmm_in_turn(x: Tensor, a: Tensor, b: Tensor, *, beta: float = 1, alpha: float = 1) -> Tensor:
    """Product after product, each added to what there is: aten/src/ATen/native/LinearAlgebra.cpp, addbmm_impl_."""
    for n in range(a.shape[0]):
        x = torch.addmm(x, a[n], b[n], beta=beta if n == 0 else 1, alpha=alpha)
    return x


def _cdist(a: Tensor, b: Tensor, p: float, mode: int | None = None) -> Tensor:
    return _norm((a.unsqueeze(-2) - b.unsqueeze(-3)), p, [-1])


def _pdist(x: Tensor, p: float = 2.0) -> Tensor:
    i, j = torch.triu_indices(x.shape[0], x.shape[0], 1)
    return _norm(x[i] - x[j], p, [-1])


def _distance_slope(off: Tensor, p: float, distance: Tensor) -> Tensor:
    """By how much the p-norm of `off` grows with it; 0 where it is 0."""
    if p == 0:
        return torch.zeros_like(off)
    if p == 1:
        return off.sign()
    if math.isinf(p):
        return off.sign() * (off.abs() == distance)
    power = off if p == 2 else off.sign() * off.abs().pow(p - 1)
    found = power / (distance if p == 2 else distance.pow(p - 1))
    return torch.where(distance == 0, torch.zeros((), dtype=off.dtype), found)


def _cdist_backward(g: Tensor, a: Tensor, b: Tensor, p: float, distance: Tensor) -> Tensor:
    off = a.unsqueeze(-2) - b.unsqueeze(-3)
    return (g.unsqueeze(-1) * _distance_slope(off, p, distance.unsqueeze(-1))).sum(-2)


def _pdist_backward(g: Tensor, x: Tensor, p: float, distance: Tensor) -> Tensor:
    i, j = torch.triu_indices(x.shape[0], x.shape[0], 1)
    by = g.unsqueeze(-1) * _distance_slope(x[i] - x[j], p, distance.unsqueeze(-1))
    return torch.zeros_like(x).index_add(0, torch.cat([i, j]), torch.cat([by, -by]))


def _weight_norm(v: Tensor, g: Tensor, dim: int = 0) -> tuple[Tensor, Tensor]:
    dims = [d for d in range(v.ndim) if d != dim]
    norms = _norm(v, 2, dims, True) if dims else v.abs()
    return v * (g / norms), norms


def _weight_norm_backward(by_w: Tensor, v: Tensor, g: Tensor, norms: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    dims = [d for d in range(v.ndim) if d != dim]
    along = by_w * v
    if dims:  # over no axes PyTorch's sum is over all of them
        along = along.sum(dims, keepdim=True)
    return g / norms * (by_w - v * (along / norms.square())), along / norms


def _masked_scatter_backward(g: Tensor, mask: Tensor, sizes: list[int]) -> Tensor:
    taken = g.masked_select(mask)
    return torch.cat([taken, taken.new_zeros(math.prod(sizes) - taken.numel())]).reshape(sizes)


def _multi_margin_backward(
    g: Tensor, x: Tensor, target: Tensor, p: float, margin: float, weight: Tensor | None = None, reduction: int = 1
) -> Tensor:
    """Of the loss Σ_(j≠t) max(0, margin − x_t + x_j)^p/classes."""
    rows, of = x.reshape(-1, x.shape[-1] if x.ndim else 1), target.reshape(-1, 1)
    other = torch.arange(rows.shape[1]) != of
    above = margin - rows.gather(1, of) + rows
    share = 1 / (rows.shape[1] * (rows.shape[0] if reduction == 1 else 1))
    by_other = torch.full_like(rows, share) if p == 1 else 2 * share * above
    if weight is not None:
        by_other = by_other * weight[of]
    by_other = torch.where(other & (above > 0), by_other, torch.zeros((), dtype=x.dtype))
    found = torch.where(other, by_other, -by_other.sum(1, keepdim=True))
    return (found * g.reshape(-1, 1)).reshape(x.shape)


def _targets(x: Tensor, target: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The rows; of each the targets, which end at the first −1, and −1 after them; and which classes are none."""
    rows, of = (t.reshape(-1, x.shape[-1] if x.ndim else 1) for t in (x, target))
    meant = (of >= 0).cumprod(1).bool()
    of = torch.where(meant, of, -1)
    return rows, of, (torch.arange(of.shape[1]) != of.unsqueeze(2)).all(1)


def _multilabel_margin(x: Tensor, target: Tensor, reduction: int) -> tuple[Tensor, Tensor]:
    """The loss Σ max(0, 1 − x_t + x_j)/classes, t a target and j none.

    PyTorch's decomposition takes what stands after the first −1 for class 0.
    """
    rows, of, other = _targets(x, target)
    above = 1 - rows.gather(1, of.clamp(min=0)).unsqueeze(2) + rows.unsqueeze(1)
    counts = other.unsqueeze(1) & (of >= 0).unsqueeze(2)
    found = torch.where(counts, above, torch.zeros((), dtype=x.dtype)).clamp(min=0).sum((1, 2))
    found = found if reduction == 0 else found.sum(0, keepdim=True)
    found = found / rows.shape[1]
    found = found / rows.shape[0] if reduction == 1 else found
    found = found if reduction == 0 and x.ndim > 1 else found.reshape(())
    return found, (~other).to(x.dtype).reshape(x.shape)


def _multilabel_margin_backward(g: Tensor, x: Tensor, target: Tensor, reduction: int, is_target: Tensor) -> Tensor:
    rows, of, other = _targets(x, target)
    above = 1 - rows.gather(1, of.clamp(min=0)).unsqueeze(2) + rows.unsqueeze(1)
    counts = other.unsqueeze(1) & (of >= 0).unsqueeze(2)
    share = torch.full((), 1 / (rows.shape[1] * (rows.shape[0] if reduction == 1 else 1)), dtype=x.dtype)
    by = torch.where((above > 0) & counts, share, torch.zeros((), dtype=x.dtype))
    found = by.sum(1) + torch.zeros_like(rows).scatter_add(1, of.clamp(min=0), -by.sum(2))
    return (found * g.reshape(-1, 1)).reshape(x.shape)


DEFINITIONS: Mapping[str, Program | ByTable] = {
    "log_sigmoid_forward": ByTable(("self",), _log_sigmoid),
    "log_sigmoid_backward": _log_sigmoid_backward,
    "logaddexp": ByTable(("self", "other"), _logaddexp),
    "softplus": _softplus,
    "softplus_backward": _softplus_backward,
    "gelu": _gelu,
    "var": _var,
    "std": _std,
    "var_mean": _var_mean,
    "std_mean": _std_mean,
    "logsumexp": _logsumexp,
    "logcumsumexp": _logcumsumexp,
    "_logcumsumexp": _logcumsumexp,
    "linalg_vector_norm": _vector_norm,
    "_trilinear": _trilinear,
    "softshrink_backward": _shrink_backward,
    "hardshrink_backward": _shrink_backward,
    "addbmm": _addbmm,
    "_cdist_forward": _cdist,
    "_euclidean_dist": lambda a, b: _cdist(a, b, 2.0),
    "_cdist_backward": _cdist_backward,
    "_pdist_forward": _pdist,
    "_pdist_backward": _pdist_backward,
    "_weight_norm_interface": _weight_norm,
    "_weight_norm_interface_backward": _weight_norm_backward,
    "masked_scatter_backward": _masked_scatter_backward,
    "glu_jvp": glu_jvp,
    "multi_margin_loss_backward": _multi_margin_backward,
    "multilabel_margin_loss_forward": _multilabel_margin,
    "multilabel_margin_loss_backward": _multilabel_margin_backward,
    "_ctc_loss": ctc_loss,
    "_ctc_loss_backward": ctc_loss_backward,
    "affine_grid_generator": affine_grid_generator,
    "mkldnn_rnn_layer": lstm,
    "mkldnn_rnn_layer_backward": lstm_backward,
    "upsample_linear1d": linear,
    "upsample_bilinear2d": linear,
    "upsample_trilinear3d": linear,
    "upsample_linear1d_backward": linear_backward,
    "upsample_bilinear2d_backward": linear_backward,
    "upsample_trilinear3d_backward": linear_backward,
    "upsample_bicubic2d_backward": cubic_backward,
    **{
        f"_upsample_{name}2d_aa{suffix}": kernel
        for name, cubic in (("bilinear", False), ("bicubic", True))
        for suffix, kernel in zip(("", "_backward"), smoothed(cubic), strict=True)
    },
    "_scaled_dot_product_flash_attention_for_cpu": attention,
    "_scaled_dot_product_flash_attention_for_cpu_backward": attention_backward,
}
#: Kernels that round as their decompositions do, and stand for something else, or for the same without its corners.
APPROXIMATED = frozenset(
    {"softplus", "softplus_backward", "gelu", "log_sigmoid_forward", "log_sigmoid_backward", "logaddexp"}
)

_LINEAR = (("by weights in the dtype", linear_by_rounded, FLOAT16),)
#: By the kernel's name: what the form is called, how it computes, and the widest format in which kernels do.
FORMS: Mapping[str, Sequence[tuple[str, Program, Format]]] = {
    "gelu": (("by a rational error function", _rational_gelu, FLOAT32),),
    "gelu_backward": (("by a rational error function", _rational_gelu_backward, FLOAT32),),
    "glu_backward": (("sigmoid rounded first", glu_backward, FLOAT16),),
    "_softmax": (("rounded in parts", softmax, FLOAT16),),
    "_log_softmax": (("rounded in parts", log_softmax, FLOAT16),),
    "native_batch_norm_backward": (("in the dtype", batch_norm_backward, FLOAT16),),
    "batch_norm_backward": (("in the dtype", batch_norm_backward, FLOAT16),),
    "native_layer_norm_backward": (("by sums", layer_norm_backward, FLOAT64),),
    "_batch_norm_with_update": (("by scale and offset", batch_norm_legit, FLOAT64),),
    "_native_batch_norm_legit": (("by scale and offset", batch_norm_legit, FLOAT64),),
    "_native_batch_norm_legit_no_training": (("by scale and offset", batch_norm_in_use, FLOAT64),),
    "addbmm": (("product after product", _addbmm_in_turn, FLOAT16),),
    "upsample_linear1d": _LINEAR,
    "upsample_bilinear2d": _LINEAR,
    "upsample_trilinear3d": _LINEAR,
    "linalg_vector_norm": (("by powers", _vector_norm_by_powers, FLOAT64),),
    "mkldnn_rnn_layer": (("states in bfloat16", partial(lstm, kept=in_bfloat16), BFLOAT16),),
    "mkldnn_rnn_layer_backward": (("states in bfloat16", partial(lstm_backward, kept=in_bfloat16), BFLOAT16),),
    "xlogy": (("logarithm rounded first", xlogy, FLOAT16),),
    "huber_loss_backward": (("factor rounded first", huber_backward, FLOAT16),),
}
_STATISTICS = (
    ("running_mean", "running_var"),
    batch_norm_statistics,
    (("rounded first", partial(batch_norm_statistics, rounded=True)),),
)
#: What kernels write to some of their operands: the names of these, the definition, and further forms.
WRITTEN: Mapping[str, Written] = {
    "_batch_norm_with_update": _STATISTICS,
    "_native_batch_norm_legit": _STATISTICS,
}
