"""Windows: pooling, convolutions and their transposes, and interpolation."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gradconform.reference.derivations.operators.operator import Operand, Operator

_LINE, _IMAGE = Operand("x", shape=(1, 2, 6)), Operand("x", shape=(1, 2, 4, 4))
_DISTINCT = Operand("x", shape=(1, 2, 6), draws="distinct")
_DISTINCT_IMAGE = Operand("x", shape=(1, 1, 4, 4), draws="distinct")
_TIES = {"ties": ([[[1.0, 1.0, 2.0, 2.0, 2.0, 0.0], [0.0, 0.0, 0.0, 0.0, 0.0, 0.0]]],)}


def windows(x: Any, size: Sequence[int], stride: Sequence[int], dilation: Sequence[int] | None = None) -> Any:
    """The windows over the last axes, these as the last axis: (…, places, size)."""
    n = len(size)
    dilated = [1] * n if dilation is None else list(dilation)
    reach = [d * (k - 1) + 1 for k, d in zip(size, dilated, strict=True)]
    places = [range(0, x.shape[-n + a] - reach[a] + 1, stride[a]) for a in range(n)]
    found = []
    for at in itertools.product(*places):
        cut = tuple(slice(p, p + r, d) for p, r, d in zip(at, reach, dilated, strict=True))
        part = x[(..., *cut)]
        found.append(part.reshape(*part.shape[:-n], int(np.prod(part.shape[-n:]))))
    stacked = x.o.stack(found, -2)
    return stacked.reshape(*stacked.shape[:-2], *(len(p) for p in places), stacked.shape[-1])


def _padded(o: Any, x: Any, pad: int, n: int, value: float = 0.0) -> Any:
    return o.padded(x, [(0, 0)] * (x.ndim - n) + [(pad, pad)] * n, value)


def _convolution(n: int) -> Callable[..., Any]:
    """Σ over channels and the window, with a bias: a cross-correlation, as frameworks have it."""

    def definition(
        o: Any, x: Any, w: Any, b: Any = None, stride: int = 1, padding: int = 0, dilation: int = 1, groups: int = 1
    ) -> Any:
        size, out = w.shape[2:], w.shape[0]
        of = windows(_padded(o, x, padding, n), size, [stride] * n, [dilation] * n)
        batch, channels, places = of.shape[0], of.shape[1], of.shape[2:-1]
        per = channels // groups
        found = []
        for k in range(out):
            g = k // (out // groups)
            taken = of[:, g * per : (g + 1) * per]
            moved = taken.moved(lambda ids: np.moveaxis(ids, 1, -2))
            flat = moved.reshape(batch, *places, per * moved.shape[-1])
            y = o.dot(flat, w[k].reshape(w[k].ids.size))
            found.append(y if b is None else y + b[k])
        return o.stack(found, 1)

    return definition


def _transposed(o: Any, x: Any, w: Any, stride: int = 1, padding: int = 0) -> Any:
    """What is the adjoint of a convolution of one axis: zeros between the inputs, and the kernel turned round."""
    n, c, length = x.shape
    size = w.shape[-1]
    wide = [x[..., k // stride] if k % stride == 0 else o.zeros((n, c)) for k in range((length - 1) * stride + 1)]
    spread = o.padded(o.stack(wide, -1), [(0, 0), (0, 0), (size - 1 - padding, size - 1 - padding)])
    turned = w.moved(lambda ids: np.swapaxes(ids, 0, 1)[..., ::-1])
    return _convolution(1)(o, spread, turned)


def _transposed_2d(o: Any, x: Any, w: Any, stride: int = 1) -> Any:
    n, c, h, v = x.shape
    size = w.shape[-1]
    zero = o.zeros((n, c))
    rows = [
        o.stack([x[..., i // stride, j // stride] if i % stride == j % stride == 0 else zero
                 for j in range((v - 1) * stride + 1)], -1)
        for i in range((h - 1) * stride + 1)
    ]  # fmt: skip
    spread = _padded(o, o.stack(rows, -2), size - 1, 2)
    turned = w.moved(lambda ids: np.swapaxes(ids, 0, 1)[..., ::-1, ::-1])
    return _convolution(2)(o, spread, turned)


def _pool(n: int, how: str) -> Callable[..., Any]:
    def definition(o: Any, x: Any, size: int, stride: int, padding: int = 0) -> Any:
        filler = -1e30 if how == "max" else 0.0
        of = windows(_padded(o, x, padding, n, filler), [size] * n, [stride] * n)
        return of.max(-1) if how == "max" else of.mean(-1)

    return definition


def _adaptive(o: Any, x: Any, out: int, how: str) -> Any:
    length = x.shape[-1]
    parts = [x[..., k * length // out : -(-(k + 1) * length // out)] for k in range(out)]
    return o.stack([p.max(-1) if how == "max" else p.mean(-1) for p in parts], -1)


def _lp_pool(o: Any, x: Any, p: float, size: int) -> Any:
    return o.power(o.power(windows(x, [size], [size]), p).sum(-1), 1.0 / p)


def _linear(o: Any, x: Any, out: int, corners: bool, axis: int = -1) -> Any:
    """Linear interpolation along an axis, by pixels or by corners."""
    moved = x.moved(lambda ids: np.moveaxis(ids, axis, -1))
    size = moved.shape[-1]
    found = []
    for k in range(out):
        at = k * (size - 1) / (out - 1) if corners else max((k + 0.5) * size / out - 0.5, 0.0)
        low = int(at)
        high, t = min(low + 1, size - 1), at - low
        found.append((1.0 - t) * moved[..., low] + t * moved[..., high])
    return o.stack(found, -1).moved(lambda ids: np.moveaxis(ids, -1, axis))


def _grid_sample(o: Any, x: Any, g: Any) -> Any:
    """Bilinear, corners aligned, zeros outside; where the grid falls is data of this run."""
    h, w = x.shape[-2:]
    u, v = (g[..., 0] + 1.0) * ((w - 1) / 2.0), (g[..., 1] + 1.0) * ((h - 1) / 2.0)
    rows = []
    for n, i, j in np.ndindex(*u.shape):
        a, b = int(np.floor(u.held[n, i, j])), int(np.floor(v.held[n, i, j]))
        total = None
        for dy, dx in itertools.product((0, 1), (0, 1)):
            across = (u[n, i, j] - float(a)) if dx else (float(a + 1) - u[n, i, j])
            down = (v[n, i, j] - float(b)) if dy else (float(b + 1) - v[n, i, j])
            if 0 <= b + dy < h and 0 <= a + dx < w:
                term = across * down * x[n, :, b + dy, a + dx]
                total = term if total is None else total + term
        rows.append(o.zeros((x.shape[1],)) if total is None else total)
    found = o.stack(rows).reshape(*u.shape, x.shape[1])
    return found.moved(lambda ids: np.moveaxis(ids, -1, 1))


def _pixel_shuffle(o: Any, x: Any, r: int) -> Any:
    n, c, h, w = x.shape
    return x.moved(
        lambda ids: ids.reshape(n, c // r**2, r, r, h, w).transpose(0, 1, 4, 2, 5, 3).reshape(
            n, c // r**2, h * r, w * r)
    )  # fmt: skip


def _interp(o: Any, x: Any, f: Any) -> Any:
    """Piecewise linear through f at 0, 1, 2, …; where x falls is data of this run."""
    last = f.shape[0] - 1
    rows = []
    for k in range(x.shape[0]):
        at = min(max(int(np.floor(x.held[k])), 0), last - 1)
        inside = 0.0 <= x.held[k] <= last
        rows.append(f[at] + (x[k] - float(at)) * (f[at + 1] - f[at]) if inside else f[0 if x.held[k] < 0 else last])
    return o.stack(rows)


def _w(*shape: int) -> Operand:
    return Operand("w", shape=shape)


OPERATORS = (
    Operator("max_pool1d", "pooling", _pool(1, "max"), "max over windows", (_DISTINCT,), ({"size": 2, "stride": 2},
             {"size": 3, "stride": 1}), edges=_TIES),
    Operator("max_pool1d_padded", "pooling", _pool(1, "max"), "max over windows, of which some reach out", (_DISTINCT,),
             ({"size": 3, "stride": 2, "padding": 1},)),
    Operator("max_pool2d", "pooling", _pool(2, "max"), "max over windows", (_DISTINCT_IMAGE,),
             ({"size": 2, "stride": 2},)),
    Operator("avg_pool1d", "pooling", _pool(1, "mean"), "mean over windows", (_LINE,), ({"size": 2, "stride": 2},
             {"size": 3, "stride": 1})),
    Operator("avg_pool1d_padded", "pooling", _pool(1, "mean"), "mean over windows, with zeros around", (_LINE,),
             ({"size": 3, "stride": 2, "padding": 1},)),
    Operator("avg_pool2d", "pooling", _pool(2, "mean"), "mean over windows", (_IMAGE,), ({"size": 2, "stride": 2},)),
    Operator("adaptive_avg_pool1d", "pooling", lambda o, x, out: _adaptive(o, x, out, "mean"), "mean over parts",
             (_LINE,), ({"out": 4},)),
    Operator("adaptive_max_pool1d", "pooling", lambda o, x, out: _adaptive(o, x, out, "max"), "max over parts",
             (_DISTINCT,), ({"out": 4},)),
    Operator("lp_pool1d", "pooling", _lp_pool, "(Σx^p)^(1/p) over windows",
             (Operand("x", shape=(1, 2, 6), draws="positive"),), ({"p": 2.0, "size": 2},)),
    Operator("global_avg_pool2d", "pooling", lambda o, x: x.mean((-2, -1)), "mean over the image", (_IMAGE,)),
    Operator("conv1d", "convolution", _convolution(1), "Σ over channels and window", (
        _LINE, _w(3, 2, 3), Operand("b", shape=(3,))), ({}, {"stride": 2, "padding": 1}, {"dilation": 2})),
    Operator("conv2d", "convolution", _convolution(2), "Σ over channels and window", (
        _IMAGE, _w(2, 2, 3, 3), Operand("b", shape=(2,))), ({}, {"stride": 2, "padding": 1})),
    Operator("conv3d", "convolution", _convolution(3), "Σ over channels and window", (
        Operand("x", shape=(1, 1, 3, 3, 3)), _w(2, 1, 2, 2, 2), Operand("b", shape=(2,)))),
    Operator("conv1d_grouped", "convolution", lambda o, x, w: _convolution(1)(o, x, w, groups=2),
             "each group by itself", (Operand("x", shape=(1, 4, 5)), _w(4, 2, 3))),
    Operator("conv1d_depthwise", "convolution", lambda o, x, w: _convolution(1)(o, x, w, groups=2),
             "each channel by itself", (_LINE, _w(2, 1, 3))),
    Operator("conv_transpose1d", "convolution", _transposed, "the adjoint of conv1d", (
        Operand("x", shape=(1, 2, 4)), _w(2, 3, 3)), ({}, {"stride": 2, "padding": 1})),
    Operator("conv_transpose2d", "convolution", _transposed_2d, "the adjoint of conv2d", (
        Operand("x", shape=(1, 2, 2, 2)), _w(2, 1, 2, 2)), ({}, {"stride": 2})),
    Operator("unfold", "convolution", lambda o, x, size: windows(x, [size], [1]), "windows",
             (Operand("x", shape=(2, 5)),),
             ({"size": 3},)),
    Operator("interpolate_nearest", "interpolation", lambda o, x: x[..., [k // 2 for k in range(2 * x.shape[-1])]],
             "each twice", (Operand("x", shape=(1, 2, 3)),)),
    Operator("interpolate_linear", "interpolation", lambda o, x, out, corners: _linear(o, x, out, corners),
             "linear between neighbours", (Operand("x", shape=(1, 2, 3)),),
             ({"out": 5, "corners": False}, {"out": 5, "corners": True})),
    Operator("interpolate_bilinear", "interpolation",
             lambda o, x, out, corners: _linear(o, _linear(o, x, out, corners), out, corners, -2),
             "linear along both axes", (Operand("x", shape=(1, 1, 2, 3)),),
             ({"out": 4, "corners": False}, {"out": 4, "corners": True})),
    Operator("grid_sample", "interpolation", _grid_sample, "bilinear at the grid's places", (
        Operand("x", shape=(1, 2, 3, 3)), Operand("g", (-0.9, 0.9), (1, 2, 2, 2)))),
    Operator("pixel_shuffle", "interpolation", _pixel_shuffle, "channels to places",
             (Operand("x", shape=(1, 4, 2, 2)),),
             ({"r": 2},)),
    Operator("interp", "interpolation", _interp, "piecewise linear", (
        Operand("x", (0.1, 3.9), (4,)), Operand("f", shape=(5,))),
        edges={"outside": ([-1.5, 4.5, 1.25, 0.5], [1.0, 2.0, 0.5, -1.0, 3.0])}),
)  # fmt: skip
