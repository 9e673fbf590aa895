"""The catalogue's array operators in JAX, each with the catalogue's arguments and parameters; losses are optax's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import lax, nn
from jax.scipy import linalg

EPS = 2.0**-16


def reduced(x: Any, reduction: str) -> Any:
    return x if reduction == "none" else x.sum() if reduction == "sum" else x.mean()


def _loss(each: Callable[..., Any]) -> Callable[..., Any]:
    def loss(*arrays: Any, reduction: str, **parameters: Any) -> Any:
        return reduced(each(*arrays, **parameters), reduction)

    return loss


def _focal(x: Any, t: Any, gamma: int) -> Any:
    return optax.losses.sigmoid_focal_loss(x, t, gamma=float(gamma))


def _cross_entropy(x: Any, c: Any, reduction: str, weight: Any = None, smoothing: float = 0.0) -> Any:
    of = nn.one_hot(c, x.shape[-1], dtype=x.dtype)
    if weight is None:
        return reduced(optax.losses.softmax_cross_entropy(x, optax.losses.smooth_labels(of, smoothing)), reduction)
    w = jnp.asarray(weight, x.dtype)[c]
    each = optax.losses.softmax_cross_entropy_with_integer_labels(x, c) * w
    return each.sum() / w.sum() if reduction == "mean" else reduced(each, reduction)


def _triplet(a: Any, p: Any, n: Any, margin: float) -> Any:
    return optax.losses.triplet_margin_loss(a, p, n, margin=margin, eps=0.0)


LOSSES: Mapping[str, Callable[..., Any]] = {
    "mse_loss": _loss(optax.losses.squared_error), "l1_loss": _loss(lambda x, t: jnp.abs(x - t)),
    "huber_loss": _loss(lambda x, t, delta: optax.losses.huber_loss(x, t, delta=delta)),
    "log_cosh_loss": _loss(optax.losses.log_cosh), "hinge_loss": _loss(optax.losses.hinge_loss),
    "squared_hinge_loss": _loss(lambda x, t: jnp.square(optax.losses.hinge_loss(x, t))),
    "margin_ranking_loss": _loss(lambda x, y, margin: nn.relu(margin - x + y)),
    "poisson_nll_loss": _loss(lambda x, t: jnp.exp(x) - t * x),
    "gaussian_nll_loss": _loss(lambda x, t, v: 0.5 * (jnp.log(v) + (x - t) ** 2 / v)),
    "kl_div": _loss(lambda x, t: t * (jnp.log(t) - x)),
    "kl_div_log_target": _loss(lambda x, t: jnp.exp(t) * (t - x)),
    "binary_cross_entropy": _loss(lambda p, t: -jax.scipy.special.xlogy(t, p) - jax.scipy.special.xlog1py(1 - t, -p)),
    "binary_cross_entropy_weighted": _loss(
        lambda p, t, w: -w * (jax.scipy.special.xlogy(t, p) + jax.scipy.special.xlog1py(1 - t, -p))),
    "binary_cross_entropy_with_logits": _loss(optax.losses.sigmoid_binary_cross_entropy),
    "soft_margin_loss": _loss(lambda x, t: nn.softplus(-t * x)),
    "focal_loss": _loss(_focal),
    "nll_loss": _loss(lambda x, c: -jnp.take_along_axis(x, c[:, None], 1)[:, 0]),
    "cross_entropy": _cross_entropy,
    "cross_entropy_of_probabilities": _loss(optax.losses.softmax_cross_entropy),
    "multilabel_soft_margin_loss": _loss(lambda x, t: optax.losses.sigmoid_binary_cross_entropy(x, t).mean(-1)),
    "dice_loss": lambda p, t: 1 - (2 * (p * t).sum() + 1) / (p.sum() + t.sum() + 1),
}  # fmt: skip

REDUCTIONS: Mapping[str, Callable[..., Any]] = {
    "sum": lambda x: x.sum(-1), "sum_all": jnp.sum, "mean": lambda x: x.mean(-1), "mean_all": jnp.mean,
    "prod": lambda x: x.prod(-1), "prod_all": jnp.prod, "amax": lambda x: jnp.max(x, -1),
    "amin": lambda x: jnp.min(x, -1), "max_all": jnp.max, "median": lambda x: jnp.median(x, -1),
    "nansum": lambda x: jnp.nansum(x, -1), "nanmean": lambda x: jnp.nanmean(x, -1),
    "var": lambda x, correction: jnp.var(x, -1, ddof=correction),
    "std": lambda x, correction: jnp.std(x, -1, ddof=correction),
    "logsumexp": lambda x: jax.scipy.special.logsumexp(x, -1), "norm_1": lambda x: jnp.linalg.norm(x, 1, -1),
    "norm_2": lambda x: jnp.linalg.norm(x, axis=-1), "norm_3": lambda x: jnp.linalg.norm(x, 3, -1),
    "norm_inf": lambda x: jnp.linalg.norm(x, jnp.inf, -1), "norm_frobenius": jnp.linalg.norm,
    "sum_of_squares": lambda x: (x * x).sum(-1), "ptp": lambda x: jnp.ptp(x, -1),
    "dist": lambda x, y: jnp.linalg.norm(x - y), "average_weighted": lambda x, w: jnp.average(x, weights=w),
    "cumsum": lambda x: jnp.cumsum(x, -1), "cumprod": lambda x: jnp.cumprod(x, -1),
    "cummax": lambda x: lax.cummax(x, 1), "cummin": lambda x: lax.cummin(x, 1),
    "logcumsumexp": lambda x: lax.cumlogsumexp(x, 1), "diff": jnp.diff, "trapezoid": jnp.trapezoid,
}  # fmt: skip


def _normal(x: Any, axis: Any) -> Any:
    return nn.standardize(x, axis=axis, epsilon=EPS)


NORMALISATIONS: Mapping[str, Callable[..., Any]] = {
    "softmax": nn.softmax, "softmax_first": lambda x: nn.softmax(x, 0), "log_softmax": nn.log_softmax,
    "softmin": lambda x: nn.softmax(-x), "softmax_tempered": lambda x, t: nn.softmax(x / t),
    "masked_softmax": lambda x, m: nn.softmax(x, where=m), "layer_norm": lambda x, g, b: _normal(x, -1) * g + b,
    "rms_norm": lambda x, g: x * lax.rsqrt(jnp.mean(x * x, -1, keepdims=True) + EPS) * g,
    "batch_norm": lambda x, g, b: _normal(x, (0, 2)) * g[:, None] + b[:, None],
    "instance_norm": lambda x: _normal(x, -1), "normalize": lambda x: x / jnp.linalg.norm(x, axis=-1, keepdims=True),
    "weight_norm": lambda v, g: v * (g / jnp.linalg.norm(v, axis=-1, keepdims=True)),
    "cosine_similarity": lambda x, y: optax.losses.cosine_similarity(x, y),
    "standardize": lambda x: nn.standardize(x, epsilon=0.0),
}  # fmt: skip


def _pool(x: Any, how: str, size: int, stride: int, padding: int = 0) -> Any:
    n = x.ndim - 2
    window, step, pad = (1, 1, *[size] * n), (1, 1, *[stride] * n), [(0, 0), (0, 0), *[(padding, padding)] * n]
    if how == "max":
        return lax.reduce_window(x, -jnp.inf, lax.max, window, step, pad)
    return lax.reduce_window(x, 0.0, lax.add, window, step, pad) / size**n


def _conv(x: Any, w: Any, b: Any = None, stride: int = 1, padding: int = 0, dilation: int = 1, groups: int = 1) -> Any:
    n = x.ndim - 2
    y = lax.conv_general_dilated(x, w, [stride] * n, [(padding, padding)] * n, rhs_dilation=[dilation] * n,
                                 feature_group_count=groups)  # fmt: skip
    return y if b is None else y + b.reshape(-1, *[1] * n)


def _transposed(x: Any, w: Any, stride: int = 1, padding: int = 0) -> Any:
    n = x.ndim - 2
    around = [(w.shape[-1] - 1 - padding,) * 2] * n
    turned = jnp.flip(w.swapaxes(0, 1), tuple(range(2, 2 + n)))
    return lax.conv_general_dilated(x, turned, [1] * n, around, lhs_dilation=[stride] * n)


def _attention(q: Any, k: Any, v: Any, **options: Any) -> Any:
    q, k, v = (x.swapaxes(1, 2) for x in (q, k, v))
    return nn.dot_product_attention(q, k, v, **options).swapaxes(1, 2)


def _rnn(x: Any, w: Any, u: Any) -> Any:
    def step(h: Any, x: Any) -> tuple[Any, Any]:
        h = jnp.tanh(x @ w.T + h @ u.T)
        return h, h

    return lax.scan(step, jnp.zeros((x.shape[1], u.shape[1]), x.dtype), x)[1]


def _lstm(x: Any, h: Any, c: Any, w: Any, u: Any) -> tuple[Any, Any]:
    i, f, g, o = jnp.split(x @ w.T + h @ u.T, 4, -1)
    cell = nn.sigmoid(f) * c + nn.sigmoid(i) * jnp.tanh(g)
    return nn.sigmoid(o) * jnp.tanh(cell), cell


def _gru(x: Any, h: Any, w: Any, u: Any) -> Any:
    (a, b, c), (p, q, s) = jnp.split(x @ w.T, 3, -1), jnp.split(h @ u.T, 3, -1)
    z = nn.sigmoid(b + q)
    return (1 - z) * jnp.tanh(c + nn.sigmoid(a + p) * s) + z * h


WINDOWS: Mapping[str, Callable[..., Any]] = {
    **{f"max_pool{n}": lambda x, **o: _pool(x, "max", **o) for n in ("1d", "1d_padded", "2d")},
    **{f"avg_pool{n}": lambda x, **o: _pool(x, "mean", **o) for n in ("1d", "1d_padded", "2d")},
    "global_avg_pool2d": lambda x: x.mean((-2, -1)), "conv1d": _conv, "conv2d": _conv, "conv3d": _conv,
    "conv1d_grouped": lambda x, w: _conv(x, w, groups=2), "conv1d_depthwise": lambda x, w: _conv(x, w, groups=2),
    "conv_transpose1d": _transposed, "conv_transpose2d": _transposed,
    "interpolate_nearest": lambda x: jax.image.resize(x, (*x.shape[:-1], 2 * x.shape[-1]), "nearest"),
    "interpolate_linear": lambda x, out, corners: jax.image.resize(x, (*x.shape[:-1], out), "linear")
    if not corners else _by_corners(x, out),
    "interpolate_bilinear": lambda x, out, corners: jax.image.resize(x, (*x.shape[:-2], out, out), "linear")
    if not corners else _by_corners(_by_corners(x.mT, out).mT, out),
    "interp": lambda x, f: jnp.interp(x, jnp.arange(f.shape[0], dtype=f.dtype), f),
    "attention": _attention, "attention_cross": _attention,
    "attention_causal": lambda q, k, v: _attention(q, k, v, is_causal=True),
    "attention_masked": lambda q, k, v, m: _attention(q, k, v, mask=m | jnp.eye(3, dtype=bool)),
    "attention_scaled": lambda q, k, v, scale: _attention(q, k, v, scale=scale),
    "rnn_cell": lambda x, h, w, u: jnp.tanh(x @ w.T + h @ u.T),
    "rnn_cell_relu": lambda x, h, w, u: nn.relu(x @ w.T + h @ u.T), "lstm_cell": _lstm, "gru_cell": _gru, "rnn": _rnn,
}  # fmt: skip


def _by_corners(x: Any, out: int) -> Any:
    at = jnp.arange(out, dtype=x.dtype) * ((x.shape[-1] - 1) / (out - 1))
    return jax.vmap(lambda f: jnp.interp(at, jnp.arange(f.shape[0], dtype=f.dtype), f))(
        x.reshape(-1, x.shape[-1])
    ).reshape(*x.shape[:-1], out)


INDEXING: Mapping[str, Callable[..., Any]] = {
    "index_select": lambda x, i: x[i], "take": jnp.take, "gather": lambda x, i: jnp.take_along_axis(x, i, 0),
    "embedding": lambda x, i: jnp.take(x, i, 0), "index_add": lambda x, i, s: x.at[i].add(s),
    "scatter_add": lambda x, i, s: x.at[i].add(s), "index_put": lambda x, i, s: x.at[i].set(s),
    "segment_sum": lambda s, i: jax.ops.segment_sum(s, i, 3),
    "segment_prod": lambda s, i: jax.ops.segment_prod(s, i, 3),
    "masked_fill": lambda x, m, value: jnp.where(m, value, x), "select_mask": lambda x, y, m: jnp.where(m, x, y),
    "sort": jnp.sort, "sort_descending": lambda x: jnp.sort(x, descending=True),
    "topk": lambda x, k: lax.top_k(x, k)[0], "partition": lambda x: jnp.partition(x, 0)[..., 0],
    "flip": lambda x: jnp.flip(x, -1), "roll": lambda x: jnp.roll(x, 1, -1), "transpose": jnp.transpose,
    "reshape": lambda x: x.reshape(2, 6), "repeat": lambda x: jnp.tile(x, (1, 2)),
    "repeat_interleave": lambda x: jnp.repeat(x, 2, -1), "broadcast_to": lambda x: jnp.broadcast_to(x, (2, 3, 4)),
    "diagonal": jnp.diagonal, "rot90": jnp.rot90, "moveaxis": lambda x: jnp.moveaxis(x, 0, -1),
    "slice": lambda x: x[1:, ::2], "slice_backwards": lambda x: x[::-1, ::-1][:, 1:],
    "pad_zeros": lambda x: jnp.pad(x, ((0, 0), (1, 2))),
    "pad_reflect": lambda x: jnp.pad(x, ((0, 0), (1, 2)), mode="reflect"),
    "pad_replicate": lambda x: jnp.pad(x, ((0, 0), (1, 2)), mode="edge"),
    "pad_circular": lambda x: jnp.pad(x, ((0, 0), (1, 2)), mode="wrap"), "diag_embed": jnp.diag, "tril": jnp.tril,
    "triu": jnp.triu, "stack": lambda x, y: jnp.stack([x, y]), "concatenate": lambda x, y: jnp.concatenate([x, y], -1),
}  # fmt: skip

ALGEBRA: Mapping[str, Callable[..., Any]] = {
    "matmul": jnp.matmul, "batched_matmul": jnp.matmul, "matrix_vector": jnp.matmul, "dot": jnp.dot, "outer": jnp.outer,
    "inner": jnp.inner, "addmm": lambda c, a, b: c + a @ b, "linear": lambda x, w, b: x @ w.T + b,
    "bilinear": lambda x, w, y: jnp.einsum("ni,kij,nj->nk", x, w, y),
    "einsum_three": lambda a, b, c: jnp.einsum("ij,jk,kl->il", a, b, c),
    "tensordot": lambda a, b: jnp.tensordot(a, b, 2),
    "kron": jnp.kron, "cross": jnp.cross, "trace": jnp.trace, "vander": lambda v: jnp.vander(v, 3),
    "cdist": lambda x, y: jnp.linalg.norm(x[:, None] - y[None], axis=-1),
    "matrix_power": lambda a, n: jnp.linalg.matrix_power(a, n), "det": jnp.linalg.det,
    "slogdet": lambda a: jnp.linalg.slogdet(a)[1], "inv": jnp.linalg.inv,
    "cholesky": lambda a: jnp.linalg.cholesky((a + a.mT) * 0.5, symmetrize_input=False), "matrix_exp": linalg.expm,
    "solve": jnp.linalg.solve, "solve_triangular": lambda a, b: linalg.solve_triangular(a, b, lower=True),
    "pinv": jnp.linalg.pinv, "eigvalsh": lambda a: jnp.linalg.eigvalsh((a + a.mT) * 0.5, symmetrize_input=False),
    "svdvals": lambda a: jnp.linalg.svd(a, compute_uv=False), "norm_nuclear": lambda a: jnp.linalg.norm(a, "nuc"),
    "norm_spectral": lambda a: jnp.linalg.norm(a, 2), "fft": jnp.fft.fft, "fft_three": jnp.fft.fft,
    "ifft": jnp.fft.ifft, "rfft": jnp.fft.rfft, "irfft": lambda z, n: jnp.fft.irfft(z, n), "fft2": jnp.fft.fft2,
    "fft_of_real": jnp.fft.fft, "complex_abs": jnp.abs, "complex_angle": jnp.angle, "complex_conj": jnp.conj,
    "complex_real": jnp.real, "complex_imag": jnp.imag, "complex_multiply": jnp.multiply,
    "complex_divide": jnp.divide, "complex_exp": jnp.exp, "complex_log": jnp.log, "complex_square": jnp.square,
    "complex_from_parts": lax.complex, "complex_polar": lambda r, t: lax.complex(r * jnp.cos(t), r * jnp.sin(t)),
}  # fmt: skip
