"""Rules for what combines many numbers: sums, products of matrices, convolutions, pooling, extremes, products."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from gradconform.adapters.recording.torch_memory import NotRecorded, numbers, real
from gradconform.adapters.recording.torch_mode import Call, Results, Rule
from gradconform.adapters.recording.torch_windows import (
    Geometry,
    by_input,
    by_weight,
    collected,
    convolution,
    of_axes,
    windows,
)
from gradconform.reference.formats import FLOAT32
from gradconform.reference.programs.record import ONE, ZERO, Form, Ids, Numbers

# Reductions -----------------------------------------------------------------------------------------------------------


def _rows(x: Ids, dim: object) -> Ids:
    """The reduced axes as one, the last."""
    axes = list(range(x.ndim)) if dim is None or dim == [] else [dim] if isinstance(dim, int) else list(dim)  # type: ignore[call-overload]
    if not x.ndim:
        return x.reshape(1)
    axes = [a % x.ndim for a in axes]
    rest = [a for a in range(x.ndim) if a not in axes]
    return x.transpose([*rest, *axes]).reshape([x.shape[a] for a in rest] + [-1])


def _sum(c: Call) -> Results:
    if not real(c.outs[0]):
        return None
    rows = _rows(c.operand("self"), c["dim"])
    return c.record.sop(rows, None, c.format, _flat_held(c, rows))


def _flat_held(c: Call, rows: Ids) -> Numbers:
    return c.held.reshape(rows.shape[:-1])


def _mean(c: Call) -> Results:
    """Σ x, divided by how many there are; a 16-bit kernel keeps the sum in float32."""
    rows = _rows(c.operand("self"), c["dim"])
    with c.record.inside() as steps:
        total = c.record.sop(rows, None, c.format)
        mean = c.record.map("divide", [total, np.asarray(c.record.number(float(rows.shape[-1])))], c.format)
    return c.record.fused("aten::mean", Form("definition", tuple(steps), mean), (), c.format, _flat_held(c, rows))


def _guarded(c: Call, best: Ids, rows: Ids, kind: str) -> None:
    """Which of the numbers was taken is a decision of the run: what picks by index follows it."""
    c.record.decide("ge" if kind == "maximum" else "le", np.broadcast_to(best[..., None], rows.shape), rows)


def _reduced(kind: str) -> Rule:
    def rule(c: Call) -> Results:
        if not real(c.outs[0]):
            return [None] * len(c.outs)
        if isinstance(c["other"], Tensor):
            both = [np.broadcast_to(c.operand(a), c.shape) for a in ("self", "other")]
            return c.record.combine(kind, np.stack(both, -1), c.format, c.held)  # type: ignore[arg-type]
        rows = _rows(c.operand("self"), c["dim"])
        found = c.record.combine(kind, rows, c.format, _flat_held(c, rows))  # type: ignore[arg-type]
        if len(c.outs) > 1 or c.name in ("max", "min"):
            _guarded(c, found, rows, kind)
        return [found, *[None] * (len(c.outs) - 1)]

    return rule


def _cumsum(c: Call) -> Results:
    if not real(c.outs[0]):
        return None
    x = np.moveaxis(np.atleast_1d(c.operand("self")), c["dim"], -1)
    n = x.shape[-1]
    until = np.where(np.tri(n, dtype=bool), ONE, ZERO)
    held = np.moveaxis(np.atleast_1d(c.held), c["dim"], -1)
    return np.moveaxis(c.record.sop(x[..., None, :], until, c.format, held), -1, c["dim"])


def _cumulative(combine: str) -> Rule:
    """Step by step along an axis: a cumulative product, maximum or minimum."""

    def rule(c: Call) -> Results:
        if not real(c.outs[0]):
            return [None] * len(c.outs)
        x = np.moveaxis(np.atleast_1d(c.operand("self")), c["dim"], -1)
        held = np.moveaxis(np.atleast_1d(c.held), c["dim"], -1)
        found = x.copy()
        for i in range(1, x.shape[-1]):
            pair = [found[..., i - 1], x[..., i]]
            if combine == "product":
                found[..., i] = c.record.map("multiply", pair, c.format, held[..., i])
            else:
                found[..., i] = c.record.combine(combine, np.stack(pair, -1), c.format, held[..., i])  # type: ignore[arg-type]
        return [np.moveaxis(found, -1, c["dim"]), *[None] * (len(c.outs) - 1)]

    return rule


def _selected(c: Call) -> Results:
    """Values that were picked by an order: `sort`, `topk`, `kthvalue`, `median`, `mode`."""
    if len(c.outs) < 2:
        return _picked(c)
    x, index = np.atleast_1d(c.operand("self")), np.atleast_1d(c.outs[1].cpu().numpy())
    dim = c["dim"] if c["dim"] is not None else -1
    _ordered(c, x, dim)
    if index.ndim < x.ndim:
        return [np.take_along_axis(x, np.expand_dims(index, dim), dim), None]
    return [np.take_along_axis(x, index, dim), None]


def _ordered(c: Call, x: Ids, dim: int) -> None:
    """The order of the numbers is a decision of the run."""
    order = np.argsort(c.record.held[x], axis=dim, kind="stable")
    held = np.moveaxis(np.take_along_axis(x, order, dim), dim, -1)
    c.record.decide("le", held[..., :-1], held[..., 1:])


def _picked(c: Call) -> Results:
    """The median of all: whichever of the numbers it is."""
    x = c.operand("self").ravel()
    place = np.flatnonzero(numbers(c.value(c["self"])).ravel() == float(c.held))
    return x[place[0]] if place.size else None


# Products of matrices -------------------------------------------------------------------------------------------------


def _product(c: Call, a: Ids, b: Ids, bias: Ids | None = None) -> Ids:
    """(…, M, K) × (…, K, N), with one more term where there is a bias: the factors stay views."""
    left, right = a[..., :, None, :], np.swapaxes(b, -1, -2)[..., None, :, :]
    if bias is not None:
        left, right = _with_bias(left, right, bias)
    return c.record.sop(left, right, c.format, c.held.reshape(np.broadcast_shapes(left.shape, right.shape)[:-1]))


def _with_bias(left: Ids, right: Ids, bias: Ids) -> tuple[Ids, Ids]:
    """One more term, bias·1, put beside the factor that repeats it, or beside both where it does not repeat."""
    bias = bias[(None,) * (left.ndim - 1 - bias.ndim)] if bias.ndim < left.ndim - 1 else bias
    shape = np.broadcast_shapes(left.shape, right.shape)[:-1]
    for one, other, swapped in ((right, left, False), (left, right, True)):
        if all(b in (1, o) for b, o in zip(bias.shape, one.shape[:-1], strict=True)):
            held = np.broadcast_to(bias, one.shape[:-1])[..., None]
            one, other = np.concatenate([one, held], -1), _with_one(other)
            return (one, other) if swapped else (other, one)
    left = np.broadcast_to(left, (*shape, left.shape[-1]))
    return np.concatenate([left, np.broadcast_to(bias, shape)[..., None]], -1), _with_one(right)


def _with_one(x: Ids) -> Ids:
    return np.concatenate([x, np.full((*x.shape[:-1], 1), ONE)], -1)


def _mm(c: Call) -> Results:
    return _product(c, c.operand("self"), c.operand("mat2"))


def _mv(c: Call) -> Results:
    return _product_of_vectors(c, c.operand("self"), c.operand("vec"))


def _dot(c: Call) -> Results:
    other = c["tensor"] if "tensor" in c.given else c["other"]
    return c.record.sop(c.operand("self"), c.ids(other), c.format, c.held)


def _product_of_vectors(c: Call, a: Ids, v: Ids) -> Ids:
    return c.record.sop(a, v, c.format, c.held)


def _added(first: str, second: str) -> Rule:
    """β·self + α·(first × second)."""

    def rule(c: Call) -> Results:
        a, b = c.operand(first), c.operand(second)
        beta, alpha = c["beta"], c["alpha"]
        a, b = (a[None, :] if a.ndim == 1 else a), (b[:, None] if b.ndim == 1 else b)
        bias = c.operand("self")
        if first == "vec1":
            a, b = a.T, b.T
        if second == "vec":
            bias = bias[..., None]
        if (beta, alpha) == (1, 1):
            return _product(c, a, b, bias).reshape(c.shape)
        with c.record.inside() as steps:
            left, right = a[..., :, None, :], np.swapaxes(b, -1, -2)[..., None, :, :]
            total = c.record.sop(left, right, c.format).reshape(np.broadcast_shapes(left.shape, right.shape)[:-1])
            if alpha != 1:
                total = c.record.map("multiply", [total, c.ids(alpha)], c.format)
            if beta != 0:
                scaled = bias if beta == 1 else c.record.map("multiply", [bias, c.ids(beta)], c.format)
                total = c.record.map("add", [total, scaled], c.format)
        form = Form("definition", tuple(steps), total.reshape(c.shape))
        return c.record.fused(f"aten::{c.name}", form, (), c.format, c.held)

    return rule


# Scattered sums -------------------------------------------------------------------------------------------------------


def _collect(c: Call, base: Ids, targets: Ids, sources: Ids) -> Ids:
    flat, several, rows = collected(base, targets, np.broadcast_to(sources, targets.shape))
    if several.size:
        flat[several] = c.record.sop(rows, None, c.format, c.held.ravel()[several])
    return flat.reshape(base.shape)


def _places(x: Ids) -> Ids:
    return np.arange(x.size, dtype=np.int64).reshape(x.shape)


def _scatter_add(c: Call) -> Results:
    x, index, source = c.operand("self"), c["index"].cpu(), c.operand("src")
    if not x.ndim:
        return _collect(c, x, np.zeros(index.shape, np.int64), source.reshape(tuple(index.shape)))
    places = torch.from_numpy(_places(x)).gather(c["dim"], index).numpy()
    return _collect(c, x, places, source[tuple(slice(0, n) for n in index.shape)])


def _scatter_reduce(c: Call) -> Results:
    if c["reduce"] not in ("sum", "add") or c["include_self"] is False:
        raise NotRecorded(f"scatter with reduce={c['reduce']!r}: only sums into what is there are recorded")
    return _scatter_add(c)


def _index_add(c: Call) -> Results:
    x, source = np.atleast_1d(c.operand("self")), np.atleast_1d(c.operand("source"))
    if c["alpha"] not in (None, 1):
        source = c.record.map("multiply", [source, c.ids(c["alpha"])], c.format)
    places = np.take(_places(x), np.atleast_1d(c["index"].cpu().numpy()), c["dim"])
    return _collect(c, x, places, source)


def _index_put(c: Call) -> Results:
    """Only the accumulating one comes here: the other moves."""
    x, indices = c.operand("self"), c["indices"]
    at = tuple(slice(None) if i is None else i.cpu() for i in indices)
    places = torch.from_numpy(_places(x))[at].numpy()
    values = np.broadcast_to(c.operand("values"), places.shape)
    if c["accumulate"]:
        return _collect(c, x, places, values)
    flat = x.ravel().copy()
    flat[places.ravel()] = values.ravel()
    return flat.reshape(x.shape)


def _embedding_backward(c: Call) -> Results:
    g, index = c.operand("grad_output"), c["indices"].cpu().numpy()
    count, width = int(c["num_weights"]), g.shape[-1]
    base = np.full((count, width), ZERO, np.int64)
    if c["scale_grad_by_freq"]:
        raise NotRecorded("embedding with scale_grad_by_freq=True: give a definition of embedding_dense_backward")
    g = np.where((index == c["padding_idx"])[..., None], ZERO, g)
    return _collect(c, base, _places(base)[index], g)


def _back_to(move: Callable[..., Tensor], size: Callable[[Call], Sequence[int]]) -> Rule:
    """The adjoint of an operation that moves numbers: the operation on places says where each came from."""

    def rule(c: Call) -> Results:
        base = np.full(tuple(size(c)), ZERO, np.int64)
        places = move(c, torch.from_numpy(_places(base)).double()).long().numpy()
        return _collect(c, base, places, c.operand("grad_output"))

    return rule


def _nearest(n: int) -> Rule:
    scales = ("scales",) if n == 1 else ("scales_h", "scales_w") if n == 2 else ("scales_d", "scales_h", "scales_w")
    move = getattr(torch.ops.aten, f"upsample_nearest{n}d").default
    return _back_to(lambda c, x: move(x, c["output_size"], *(c[s] for s in scales)), lambda c: c["input_size"])


def _padding(name: str) -> Rule:
    move = getattr(torch.ops.aten, name).default
    return _back_to(lambda c, x: move(x, c["padding"]), lambda c: c["self"].shape)


# Convolutions and pooling ---------------------------------------------------------------------------------------------


#: How terms are summed in two stages: their axis as two, and which of these is summed first.
Stages = tuple[tuple[int, int], int]


def _geometry(c: Call) -> Geometry:
    n = c["weight"].ndim - 2
    return Geometry(of_axes(c["stride"], n), of_axes(c["padding"], n), of_axes(c["dilation"], n), int(c["groups"]))


def _convolution(c: Call) -> Results:
    x, w, geometry = c.operand("input"), c.operand("weight"), _geometry(c)
    if c["transposed"]:
        factors = by_input(x, w, c.shape[-geometry.axes :], geometry)
        stages: Stages = ((-1, math.prod(w.shape[2:])), -2)
    else:
        factors, stages = convolution(x, w, geometry), ((1, -1), -1)
    bias = None
    if c["bias"] is not None:
        bias = c.operand("bias").reshape(1, geometry.groups, -1, *(1,) * geometry.axes)
    return _summed(c, factors, 0, stages, bias)


def _convolution_backward(c: Call) -> Results:
    g, x, w, geometry = c.operand("grad_output"), c.operand("input"), c.operand("weight"), _geometry(c)
    found: list[Ids | None] = []
    wanted = c["output_mask"]
    n = geometry.axes
    by_taps: Stages = ((-1, math.prod(w.shape[2:])), -2)
    if wanted[0]:
        sums = convolution(g, w, geometry) if c["transposed"] else by_input(g, w, x.shape[-n:], geometry)
        found.append(_summed(c, sums, len(found), by_taps))
    if wanted[1]:
        pair = (x, g) if c["transposed"] else (g, x)
        found.append(_summed(c, by_weight(*pair, w.shape[2:], geometry), len(found), ((x.shape[0], -1), -1)))
    if wanted[2]:
        rows = np.moveaxis(g, 1, 0).reshape(g.shape[1], -1)
        found.append(c.record.sop(rows, None, c.format, numbers(c.outs[len(found)])))
    return found


def _summed(c: Call, factors: tuple[Ids, Ids], number: int, stages: Stages, bias: Ids | None = None) -> Ids:
    """A convolution's sums. In 16 bits PyTorch may round the sums of a part of the terms, and add these."""
    whole = factors if bias is None else _with_bias(*factors, bias)
    shape, format = np.broadcast_shapes(whole[0].shape, whole[1].shape)[:-1], c.format
    held = numbers(c.outs[number]).reshape(shape)
    if format.precision >= FLOAT32.precision:
        return c.record.sop(*whole, format, held)
    with c.record.inside() as steps:
        total = c.record.sop(*whole, format)
    with c.record.inside() as in_stages:
        split = [np.moveaxis(x.reshape(*x.shape[:-1], *stages[0]), stages[1], -1) for x in factors]
        parts = c.record.sop(*split, format)
        if bias is not None:
            parts = np.concatenate([parts, np.broadcast_to(bias, parts.shape[:-1])[..., None]], -1)
        twice = c.record.sop(parts, None, format)
    forms = [Form("one sum", tuple(steps), total), Form("sums of sums", tuple(in_stages), twice)]
    return c.record.fused(f"aten::{c.name}", forms[0], forms, format, held)


def _pooling(c: Call, n: int) -> tuple[tuple[int, ...], Geometry]:
    kernel = of_axes(c["kernel_size"], n)
    stride = kernel if c["stride"] in (None, []) else of_axes(c["stride"], n)
    return kernel, Geometry(stride, of_axes(c["padding"] or 0, n), of_axes(c["dilation"] or 1, n))


def _max_pool(n: int) -> Rule:
    def rule(c: Call) -> Results:
        kernel, geometry = _pooling(c, n)
        seen = windows(c.operand("self"), kernel, geometry, c.record.number(-math.inf), c.shape[-n:])
        rows = seen[(..., *(slice(0, r) for r in c.shape[-n:]), *(slice(None),) * n)].reshape(*c.shape, -1)
        found = c.record.combine("maximum", rows, c.format, c.held)
        _guarded(c, found, rows, "maximum")
        return [found, None]

    return rule


def _max_pool_backward(n: int) -> Rule:
    def rule(c: Call) -> Results:
        g, x, index = c.operand("grad_output"), c.operand("self"), c["indices"].cpu().numpy()
        plane = math.prod(x.shape[-n:])
        lead = np.arange(x.size // plane).reshape(*x.shape[:-n], *(1,) * n) * plane
        return _collect(c, np.full(x.shape, ZERO, np.int64), index + lead, g)

    return rule


def _counts(c: Call, size: Sequence[int], out: Sequence[int], kernel: Sequence[int], geometry: Geometry) -> Numbers:
    """By how much each window's sum is divided."""
    if c["divisor_override"]:
        return np.full(tuple(out), float(c["divisor_override"]))
    one: Numbers = np.ones(())
    for s, r, k, p, step in zip(size, out, kernel, geometry.padding, geometry.stride, strict=True):
        start = np.arange(r) * step - p
        end = np.minimum(start + k, s + p)
        if not c["count_include_pad"]:
            start, end = np.maximum(start, 0), np.minimum(end, s)
        one = one[..., None] * (end - start)
    return one


def _avg_pool(n: int) -> Rule:
    def rule(c: Call) -> Results:
        x = c.operand("self")
        kernel, geometry = _pooling(c, n)
        out = c.shape[-n:]
        seen = windows(x, kernel, geometry, ZERO, out)
        rows = seen[(..., *(slice(0, r) for r in out), *(slice(None),) * n)].reshape(*c.shape, -1)
        counts = c.record.constants(_counts(c, x.shape[-n:], out, kernel, geometry))
        return _averaged(c, rows, counts)

    return rule


def _averaged(c: Call, rows: Ids, counts: Ids) -> Ids:
    with c.record.inside() as steps:
        total = c.record.sop(rows, None, c.format)
        mean = c.record.map("divide", [total, counts], c.format)
    return c.record.fused(f"aten::{c.name}", Form("definition", tuple(steps), mean), (), c.format, c.held)


def _avg_pool_backward(n: int) -> Rule:
    def rule(c: Call) -> Results:
        g, size = c.operand("grad_output"), c.shape[-n:]
        kernel, geometry = _pooling(c, n)
        counts = c.record.constants(_counts(c, size, g.shape[-n:], kernel, geometry))
        places = windows(_places(np.zeros(c.shape)) + 1, kernel, geometry, 0, g.shape[-n:])
        places = places[(..., *(slice(0, r) for r in g.shape[-n:]), *(slice(None),) * n)].reshape(*g.shape, -1)
        return _distributed(c, g, counts, places)

    return rule


def _distributed(c: Call, g: Ids, counts: Ids, places: Ids) -> Ids:
    """Each adjoint, divided by its count, to all its places (1 more than the flat index; 0 is none)."""
    with c.record.inside() as steps:
        shares = c.record.map("divide", [g, counts], c.format)
        to = np.broadcast_to(shares[..., None], places.shape)
        kept = places > 0
        base = np.full(c.shape, ZERO, np.int64)
        flat, several, rows = collected(base, places[kept] - 1, to[kept])
        if several.size:
            flat[several] = c.record.sop(rows, None, c.format)
    form = Form("definition", tuple(steps), flat.reshape(c.shape))
    return c.record.fused(f"aten::{c.name}", form, (), c.format, c.held)


def _adaptive(size: Sequence[int], out: Sequence[int], lead: int) -> tuple[Ids, Numbers]:
    """The places (1 more than the flat index, 0 where a window is shorter) of every adaptive window, and their counts."""
    n = len(size)
    starts = [[(i * s) // r for i in range(r)] for s, r in zip(size, out, strict=True)]
    ends = [[-((-(i + 1) * s) // r) for i in range(r)] for s, r in zip(size, out, strict=True)]
    longest = [max(e - a for a, e in zip(x, y, strict=True)) for x, y in zip(starts, ends, strict=True)]
    seen = np.ones((lead, *out, *longest), np.int64)
    flat = (np.arange(lead) * math.prod(size)).reshape(-1, *(1,) * (2 * n))
    counts: Numbers = np.ones(tuple(out))
    for axis in range(n):
        at = np.array(starts[axis])[:, None] + np.arange(longest[axis])[None, :]
        inside = at < np.array(ends[axis])[:, None]
        shape = [1] * (1 + 2 * n)
        shape[1 + axis], shape[1 + n + axis] = at.shape
        seen = seen * inside.reshape(shape)
        flat = flat + (at * math.prod(size[axis + 1 :])).reshape(shape)
        lengths = inside.sum(1).reshape([-1 if a == axis else 1 for a in range(n)])
        counts = counts * lengths
    return np.where(seen > 0, flat + 1, 0).reshape(lead, *out, -1), counts


def _adaptive_avg_pool(n: int) -> Rule:
    def rule(c: Call) -> Results:
        x = c.operand("self")
        places, counts = _adaptive(x.shape[-n:], c.shape[-n:], math.prod(x.shape[:-n]))
        rows = np.concatenate([[ZERO], x.ravel()])[places].reshape(*c.shape, -1)
        return _averaged(c, rows, c.record.constants(counts))

    return rule


def _adaptive_avg_pool_backward(n: int) -> Rule:
    def rule(c: Call) -> Results:
        g = c.operand("grad_output")
        places, counts = _adaptive(c.shape[-n:], g.shape[-n:], math.prod(c.shape[:-n]))
        return _distributed(c, g, c.record.constants(counts), places.reshape(*g.shape, -1))

    return rule


def _adaptive_max_pool(n: int) -> Rule:
    def rule(c: Call) -> Results:
        x = c.operand("self")
        places, _ = _adaptive(x.shape[-n:], c.shape[-n:], math.prod(x.shape[:-n]))
        rows = np.concatenate([[c.record.number(-math.inf)], x.ravel()])[places].reshape(*c.shape, -1)
        found = c.record.combine("maximum", rows, c.format, c.held)
        _guarded(c, found, rows, "maximum")
        return [found, None]

    return rule


SUM_RULES: dict[str, Rule] = {
    "sum": _sum, "mean": _mean, "cumsum": _cumsum,
    "prod": _reduced("product"), "amax": _reduced("maximum"), "amin": _reduced("minimum"),
    "max": _reduced("maximum"), "min": _reduced("minimum"),
    "cumprod": _cumulative("product"), "cummax": _cumulative("maximum"), "cummin": _cumulative("minimum"),
    **{name: _selected for name in ("sort", "topk", "kthvalue", "median", "nanmedian", "mode")},
    "mm": _mm, "bmm": _mm, "mv": _mv, "dot": _dot, "vdot": _dot,
    "addmm": _added("mat1", "mat2"), "baddbmm": _added("batch1", "batch2"), "addmv": _added("mat", "vec"),
    "addr": _added("vec1", "vec2"),
    "scatter_add": _scatter_add, "scatter_reduce": _scatter_reduce, "index_add": _index_add, "index_put": _index_put,
    "_index_put_impl": _index_put, "_unsafe_index_put": _index_put, "embedding_dense_backward": _embedding_backward,
    **{f"upsample_nearest{n}d_backward": _nearest(n) for n in (1, 2, 3)},
    **{f"{kind}_pad{n}d_backward": _padding(f"{kind}_pad{n}d")
       for kind in ("reflection", "replication") for n in (1, 2, 3)},
    "convolution": _convolution, "convolution_backward": _convolution_backward,
    "max_pool2d_with_indices": _max_pool(2), "max_pool3d_with_indices": _max_pool(3),
    "max_pool2d_with_indices_backward": _max_pool_backward(2),
    "max_pool3d_with_indices_backward": _max_pool_backward(3),
    "adaptive_max_pool2d": _adaptive_max_pool(2), "adaptive_max_pool2d_backward": _max_pool_backward(2),
    "avg_pool2d": _avg_pool(2), "avg_pool3d": _avg_pool(3),
    "avg_pool2d_backward": _avg_pool_backward(2), "avg_pool3d_backward": _avg_pool_backward(3),
    "_adaptive_avg_pool2d": _adaptive_avg_pool(2), "_adaptive_avg_pool3d": _adaptive_avg_pool(3),
    "_adaptive_avg_pool2d_backward": _adaptive_avg_pool_backward(2),
    "_adaptive_avg_pool3d_backward": _adaptive_avg_pool_backward(3),
}  # fmt: skip
