"""The catalogue's array operators in PyTorch, each with the catalogue's arguments and parameters."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

EPS = 2.0**-16


def _cross_entropy(x: Tensor, c: Tensor, reduction: str, weight: Any = None, smoothing: float = 0.0) -> Tensor:
    given = None if weight is None else torch.tensor(weight, dtype=x.dtype)
    return F.cross_entropy(x, c, weight=given, reduction=reduction, label_smoothing=smoothing)


def reduced(x: Tensor, reduction: str) -> Tensor:
    return x if reduction == "none" else x.sum() if reduction == "sum" else x.mean()


def _focal(x: Tensor, t: Tensor, gamma: int, reduction: str) -> Tensor:
    p = t * torch.sigmoid(-x) + (1 - t) * torch.sigmoid(x)
    return reduced(p**gamma * F.binary_cross_entropy_with_logits(x, t, reduction="none"), reduction)


def _cosine_embedding(x: Tensor, y: Tensor, margin: float, reduction: str) -> Tensor:
    return F.cosine_embedding_loss(x, y, torch.tensor([1, -1]), margin=margin, reduction=reduction)


LOSSES: Mapping[str, Callable[..., Any]] = {
    "mse_loss": lambda x, t, reduction: F.mse_loss(x, t, reduction=reduction),
    "l1_loss": lambda x, t, reduction: F.l1_loss(x, t, reduction=reduction),
    "huber_loss": lambda x, t, delta, reduction: F.huber_loss(x, t, delta=delta, reduction=reduction),
    "smooth_l1_loss": lambda x, t, beta, reduction: F.smooth_l1_loss(x, t, beta=beta, reduction=reduction),
    "soft_margin_loss": lambda x, t, reduction: F.soft_margin_loss(x, t, reduction=reduction),
    "hinge_loss": lambda x, t, reduction: reduced(F.relu(1 - x * t), reduction),
    "squared_hinge_loss": lambda x, t, reduction: reduced(F.relu(1 - x * t) ** 2, reduction),
    "margin_ranking_loss": lambda x, y, margin, reduction: F.margin_ranking_loss(
        x, y, torch.ones_like(x), margin=margin, reduction=reduction),
    "poisson_nll_loss": lambda x, t, reduction: F.poisson_nll_loss(x, t, reduction=reduction),
    "poisson_nll_loss_of_rates": lambda x, t, reduction: F.poisson_nll_loss(
        x, t, log_input=False, eps=2.0**-26, reduction=reduction),
    "gaussian_nll_loss": lambda x, t, v, reduction: F.gaussian_nll_loss(x, t, v, reduction=reduction),
    "kl_div": lambda x, t, reduction: F.kl_div(x, t, reduction=reduction),
    "kl_div_log_target": lambda x, t, reduction: F.kl_div(x, t, log_target=True, reduction=reduction),
    "binary_cross_entropy": lambda p, t, reduction: F.binary_cross_entropy(p, t, reduction=reduction),
    "binary_cross_entropy_weighted": lambda p, t, w, reduction: F.binary_cross_entropy(p, t, w, reduction=reduction),
    "binary_cross_entropy_with_logits": lambda x, t, reduction: F.binary_cross_entropy_with_logits(
        x, t, reduction=reduction),
    "bce_with_logits_pos_weight": lambda x, t, pos, reduction: F.binary_cross_entropy_with_logits(
        x, t, pos_weight=torch.tensor(pos, dtype=x.dtype), reduction=reduction),
    "focal_loss": _focal,
    "nll_loss": lambda x, c, reduction: F.nll_loss(x, c, reduction=reduction),
    "cross_entropy": _cross_entropy,
    "cross_entropy_of_probabilities": lambda x, t, reduction: reduced(-(t * F.log_softmax(x, -1)).sum(-1), reduction),
    "triplet_margin_loss": lambda x, p, n, margin, reduction: F.triplet_margin_loss(
        x, p, n, margin=margin, reduction=reduction),
    "multi_margin_loss": lambda x, c, margin, reduction: F.multi_margin_loss(x, c, margin=margin, reduction=reduction),
    "cosine_embedding_loss": _cosine_embedding,
    "multilabel_soft_margin_loss": lambda x, t, reduction: F.multilabel_soft_margin_loss(x, t, reduction=reduction),
    "dice_loss": lambda p, t: 1 - (2 * (p * t).sum() + 1) / (p.sum() + t.sum() + 1),
}  # fmt: skip

REDUCTIONS: Mapping[str, Callable[..., Any]] = {
    "sum": lambda x: x.sum(-1), "sum_all": lambda x: x.sum(), "mean": lambda x: x.mean(-1),
    "mean_all": lambda x: x.mean(), "prod": lambda x: x.prod(-1), "prod_all": lambda x: x.prod(),
    "amax": lambda x: x.amax(-1), "amin": lambda x: x.amin(-1), "max": lambda x: x.max(-1).values,
    "min": lambda x: x.min(-1).values, "max_all": lambda x: x.max(), "median": lambda x: x.median(-1).values,
    "nansum": lambda x: x.nansum(-1), "nanmean": lambda x: x.nanmean(-1),
    "var": lambda x, correction: x.var(-1, correction=correction),
    "std": lambda x, correction: x.std(-1, correction=correction),
    "logsumexp": lambda x: torch.logsumexp(x, -1), "norm_1": lambda x: torch.linalg.vector_norm(x, 1, -1),
    "norm_2": lambda x: torch.linalg.vector_norm(x, 2, -1), "norm_3": lambda x: torch.linalg.vector_norm(x, 3, -1),
    "norm_inf": lambda x: torch.linalg.vector_norm(x, torch.inf, -1),
    "norm_frobenius": lambda x: torch.linalg.matrix_norm(x), "sum_of_squares": lambda x: (x * x).sum(-1),
    "ptp": lambda x: x.amax(-1) - x.amin(-1), "dist": torch.dist,
    "average_weighted": lambda x, w: (x * w).sum() / w.sum(),
    "cumsum": lambda x: x.cumsum(-1), "cumprod": lambda x: x.cumprod(-1), "cummax": lambda x: x.cummax(-1).values,
    "cummin": lambda x: x.cummin(-1).values, "logcumsumexp": lambda x: x.logcumsumexp(-1),
    "diff": torch.diff, "trapezoid": torch.trapezoid, "cumulative_trapezoid": torch.cumulative_trapezoid,
}  # fmt: skip

NORMALISATIONS: Mapping[str, Callable[..., Any]] = {
    "softmax": lambda x: F.softmax(x, -1), "softmax_first": lambda x: F.softmax(x, 0),
    "log_softmax": lambda x: F.log_softmax(x, -1), "softmin": lambda x: F.softmin(x, -1),
    "softmax_tempered": lambda x, t: F.softmax(x / t, -1),
    "masked_softmax": lambda x, m: F.softmax(x.masked_fill(~m, -torch.inf), -1),
    "layer_norm": lambda x, g, b: F.layer_norm(x, x.shape[-1:], g, b, EPS),
    "rms_norm": lambda x, g: F.rms_norm(x, x.shape[-1:], g, EPS),
    "batch_norm": lambda x, g, b: F.batch_norm(x, None, None, g, b, training=True, eps=EPS),
    "batch_norm_in_use": lambda x, g, b: F.batch_norm(
        x, torch.full((4,), 0.5, dtype=x.dtype), torch.full((4,), 1.5, dtype=x.dtype), g, b, eps=EPS),
    "group_norm": lambda x, g, b, groups: F.group_norm(x, groups, g, b, EPS),
    "instance_norm": lambda x: F.instance_norm(x, eps=EPS),
    "local_response_norm": lambda x, size, alpha, beta, k: F.local_response_norm(x, size, alpha, beta, k),
    "normalize": lambda x: F.normalize(x, dim=-1), "weight_norm": lambda v, g: torch._weight_norm(v, g, 0),
    "cosine_similarity": lambda x, y: F.cosine_similarity(x, y, -1),
}  # fmt: skip


def _attention(q: Tensor, k: Tensor, v: Tensor, **options: Any) -> Tensor:
    return F.scaled_dot_product_attention(q, k, v, **options)


def _lstm(x: Tensor, h: Tensor, c: Tensor, w: Tensor, u: Tensor) -> Any:
    return torch.lstm_cell(x, (h, c), w, u)


def _rnn(x: Tensor, w: Tensor, u: Tensor) -> Tensor:
    h, found = torch.zeros((x.shape[1], u.shape[1]), dtype=x.dtype), []
    for step in x:
        h = torch.rnn_tanh_cell(step, h, w, u)
        found.append(h)
    return torch.stack(found)


WINDOWS: Mapping[str, Callable[..., Any]] = {
    "max_pool1d": lambda x, size, stride: F.max_pool1d(x, size, stride),
    "max_pool1d_padded": lambda x, size, stride, padding: F.max_pool1d(x, size, stride, padding),
    "max_pool2d": lambda x, size, stride: F.max_pool2d(x, size, stride),
    "avg_pool1d": lambda x, size, stride: F.avg_pool1d(x, size, stride),
    "avg_pool1d_padded": lambda x, size, stride, padding: F.avg_pool1d(x, size, stride, padding),
    "avg_pool2d": lambda x, size, stride: F.avg_pool2d(x, size, stride),
    "adaptive_avg_pool1d": lambda x, out: F.adaptive_avg_pool1d(x, out),
    "adaptive_max_pool1d": lambda x, out: F.adaptive_max_pool1d(x, out),
    "lp_pool1d": lambda x, p, size: F.lp_pool1d(x, p, size), "global_avg_pool2d": lambda x: x.mean((-2, -1)),
    "conv1d": F.conv1d, "conv2d": F.conv2d, "conv3d": F.conv3d,
    "conv1d_grouped": lambda x, w: F.conv1d(x, w, groups=2), "conv1d_depthwise": lambda x, w: F.conv1d(x, w, groups=2),
    "conv_transpose1d": lambda x, w, **o: F.conv_transpose1d(x, w, **o),
    "conv_transpose2d": lambda x, w, **o: F.conv_transpose2d(x, w, **o),
    "unfold": lambda x, size: x.unfold(-1, size, 1),
    "interpolate_nearest": lambda x: F.interpolate(x, scale_factor=2, mode="nearest"),
    "interpolate_linear": lambda x, out, corners: F.interpolate(x, out, mode="linear", align_corners=corners),
    "interpolate_bilinear": lambda x, out, corners: F.interpolate(
        x, (out, out), mode="bilinear", align_corners=corners),
    "grid_sample": lambda x, g: F.grid_sample(x, g, align_corners=True),
    "pixel_shuffle": lambda x, r: F.pixel_shuffle(x, r),
    "attention": _attention, "attention_cross": _attention,
    "attention_causal": lambda q, k, v: _attention(q, k, v, is_causal=True),
    "attention_masked": lambda q, k, v, m: _attention(q, k, v, attn_mask=m | torch.eye(3, dtype=torch.bool)),
    "attention_scaled": lambda q, k, v, scale: _attention(q, k, v, scale=scale),
    "rnn_cell": lambda x, h, w, u: torch.rnn_tanh_cell(x, h, w, u),
    "rnn_cell_relu": lambda x, h, w, u: torch.rnn_relu_cell(x, h, w, u),
    "lstm_cell": _lstm, "gru_cell": lambda x, h, w, u: torch.gru_cell(x, h, w, u), "rnn": _rnn,
}  # fmt: skip

INDEXING: Mapping[str, Callable[..., Any]] = {
    "index_select": lambda x, i: torch.index_select(x, 0, i), "take": torch.take,
    "gather": lambda x, i: torch.gather(x, 0, i), "embedding": lambda x, i: F.embedding(i, x),
    "index_add": lambda x, i, s: torch.index_add(x, 0, i, s),
    "scatter_add": lambda x, i, s: torch.scatter_add(x, 0, i[:, None].expand_as(s), s),
    "index_put": lambda x, i, s: torch.index_put(x, (i,), s),
    "segment_sum": lambda s, i: s.new_zeros((3, s.shape[1])).index_add(0, i, s),
    "segment_prod": lambda s, i: s.new_ones((3, s.shape[1])).scatter_reduce(
        0, i[:, None].expand_as(s), s, "prod", include_self=False),
    "masked_fill": lambda x, m, value: x.masked_fill(m, value), "select_mask": lambda x, y, m: torch.where(m, x, y),
    "sort": lambda x: torch.sort(x, -1).values,
    "sort_descending": lambda x: torch.sort(x, -1, descending=True).values,
    "topk": lambda x, k: torch.topk(x, k).values, "kthvalue": lambda x, k: torch.kthvalue(x, k).values,
    "flip": lambda x: torch.flip(x, (-1,)), "roll": lambda x: torch.roll(x, 1, -1), "transpose": lambda x: x.T,
    "reshape": lambda x: x.reshape(2, 6), "repeat": lambda x: x.repeat(1, 2),
    "repeat_interleave": lambda x: x.repeat_interleave(2, -1), "broadcast_to": lambda x: x.expand(2, 3, 4),
    "diagonal": torch.diagonal, "rot90": torch.rot90, "moveaxis": lambda x: torch.moveaxis(x, 0, -1),
    "slice": lambda x: x[1:, ::2], "slice_backwards": lambda x: x.flip(0, 1)[:, 1:],
    "pad_zeros": lambda x: F.pad(x, (1, 2)), "pad_reflect": lambda x: F.pad(x[None], (1, 2), mode="reflect")[0],
    "pad_replicate": lambda x: F.pad(x[None], (1, 2), mode="replicate")[0],
    "pad_circular": lambda x: F.pad(x[None], (1, 2), mode="circular")[0], "diag_embed": torch.diag,
    "tril": torch.tril, "triu": torch.triu, "stack": lambda x, y: torch.stack([x, y]),
    "concatenate": lambda x, y: torch.cat([x, y], -1),
}  # fmt: skip

ALGEBRA: Mapping[str, Callable[..., Any]] = {
    "matmul": torch.matmul, "batched_matmul": torch.bmm, "matrix_vector": torch.mv, "dot": torch.dot,
    "outer": torch.outer, "inner": torch.inner, "addmm": torch.addmm, "linear": F.linear,
    "bilinear": lambda x, w, y: F.bilinear(x, y, w), "einsum_three": lambda a, b, c: torch.einsum(
        "ij,jk,kl->il", a, b, c),
    "tensordot": lambda a, b: torch.tensordot(a, b, 2), "kron": torch.kron, "cross": torch.linalg.cross,
    "trace": torch.trace, "vander": lambda v: torch.linalg.vander(v, N=3).flip(-1),
    "cdist": lambda x, y: torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist"),
    "matrix_power": lambda a, n: torch.linalg.matrix_power(a, n), "det": torch.linalg.det,
    "slogdet": lambda a: torch.linalg.slogdet(a).logabsdet, "inv": torch.linalg.inv,
    "cholesky": lambda a: torch.linalg.cholesky((a + a.mT) * 0.5), "matrix_exp": torch.linalg.matrix_exp,
    "solve": torch.linalg.solve,
    "solve_triangular": lambda a, b: torch.linalg.solve_triangular(a, b, upper=False), "pinv": torch.linalg.pinv,
    "eigvalsh": lambda a: torch.linalg.eigvalsh((a + a.mT) * 0.5), "svdvals": torch.linalg.svdvals,
    "norm_nuclear": lambda a: torch.linalg.matrix_norm(a, "nuc"),
    "norm_spectral": lambda a: torch.linalg.matrix_norm(a, 2),
    "fft": torch.fft.fft, "fft_three": torch.fft.fft, "ifft": torch.fft.ifft, "rfft": torch.fft.rfft,
    "irfft": lambda z, n: torch.fft.irfft(z, n), "fft2": torch.fft.fft2, "fft_of_real": torch.fft.fft,
    "complex_abs": torch.abs, "complex_angle": torch.angle, "complex_conj": lambda z: torch.conj_physical(z),
    "complex_real": torch.real, "complex_imag": torch.imag, "complex_multiply": torch.mul,
    "complex_divide": torch.div, "complex_exp": torch.exp, "complex_log": torch.log, "complex_square": torch.square,
    "complex_from_parts": torch.complex, "complex_polar": torch.polar,
}  # fmt: skip
