"""Rules for what combines many numbers: sums, products of matrices, convolutions, pooling, extremes, products."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from gradconform.adapters.recording.torch_algebra import as_kernel
from gradconform.adapters.recording.torch_call import Call, Results, Rule
from gradconform.adapters.recording.torch_memory import numbers, real
from gradconform.adapters.recording.torch_windows import collected
from gradconform.reference.programs.record import ONE, STOPPED, ZERO, Form, Ids, Numbers
from gradconform.reference.programs.run import NotRecorded

# Reductions -----------------------------------------------------------------------------------------------------------


def reduced_rows(x: Ids, dim: object) -> Ids:
    """The reduced axes as one, the last."""
    axes = list(range(x.ndim)) if dim is None or dim == [] else [dim] if isinstance(dim, int) else list(dim)  # type: ignore[call-overload]
    if not x.ndim:
        return x.reshape(1)
    axes = [a % x.ndim for a in axes]
    rest = [a for a in range(x.ndim) if a not in axes]
    return x.transpose([*rest, *axes]).reshape([x.shape[a] for a in rest] + [math.prod(x.shape[a] for a in axes)])


def _sum(c: Call) -> Results:
    if not real(c.outs[0]):
        return None
    rows = reduced_rows(c.operand("self"), c["dim"])
    return c.record.sop(rows, None, c.format, _flat_held(c, rows))


def _flat_held(c: Call, rows: Ids) -> Numbers:
    return c.held.reshape(rows.shape[:-1])


def _mean(c: Call) -> Results:
    """Σ x, divided by how many there are; a 16-bit kernel keeps the sum in float32."""
    rows = reduced_rows(c.operand("self"), c["dim"])
    with c.record.inside() as steps:
        total = c.record.sop(rows, None, c.format)
        mean = c.record.map("divide", [total, np.asarray(c.record.number(float(rows.shape[-1])))], c.format)
    return c.record.fused("aten::mean", Form("definition", tuple(steps), mean), (), c.format, _flat_held(c, rows))


def guarded(c: Call, best: Ids, rows: Ids, kind: str) -> None:
    """Which of the numbers was taken is a decision of the run: what picks by index follows it."""
    c.record.decide("gt" if kind == "maximum" else "lt", np.broadcast_to(best[..., None], rows.shape), rows)


def _reduced(kind: str) -> Rule:
    def rule(c: Call) -> Results:
        if not real(c.outs[0]):
            return [None] * len(c.outs)
        if isinstance(c["other"], Tensor):
            both = [np.broadcast_to(c.operand(a), c.shape) for a in ("self", "other")]
            return c.record.combine(kind, np.stack(both, -1), c.format, c.held)  # type: ignore[arg-type]
        rows = reduced_rows(c.operand("self"), c["dim"])
        found = c.record.combine(kind, rows, c.format, _flat_held(c, rows))  # type: ignore[arg-type]
        if len(c.outs) > 1 or c.name in ("max", "min"):
            guarded(c, found, rows, kind)
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


def _cumulative_product(c: Call) -> Results:
    """Step by step along an axis, as one kernel: it may keep more digits of a product than it returns."""
    if not real(c.outs[0]):
        return [None] * len(c.outs)
    x = np.moveaxis(np.atleast_1d(c.operand("self")), c["dim"], -1)
    held = np.moveaxis(np.atleast_1d(c.held), c["dim"], -1)

    def definition() -> list[Ids]:
        found = x.copy()
        for i in range(1, x.shape[-1]):
            found[..., i] = c.record.map("multiply", [found[..., i - 1], x[..., i]], c.format, held[..., i])
        return [np.moveaxis(found, -1, c["dim"]).reshape(c.shape)]

    return as_kernel(c, definition)


def _cumulative(combine: Literal["maximum", "minimum"]) -> Rule:
    """Step by step along an axis: a cumulative maximum or minimum."""

    def rule(c: Call) -> Results:
        if not real(c.outs[0]):
            return [None] * len(c.outs)
        x = np.moveaxis(np.atleast_1d(c.operand("self")), c["dim"], -1)
        held = np.moveaxis(np.atleast_1d(c.held), c["dim"], -1)
        found = x.copy()
        for i in range(1, x.shape[-1]):  # which of them it is, the backward pass takes from the run
            c.record.decide("ge" if combine == "maximum" else "le", x[..., i], found[..., i - 1])
            found[..., i] = c.record.combine(
                combine, np.stack([found[..., i - 1], x[..., i]], -1), c.format, held[..., i]
            )
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
    c.record.ordered.append(x)
    order = np.argsort(c.record.held[x], axis=dim, kind="stable")
    held = np.moveaxis(np.take_along_axis(x, order, dim), dim, -1)
    c.record.decide("lt", held[..., :-1], held[..., 1:])


def _picked(c: Call) -> Results:
    """The median of all: whichever of the numbers it is. Of equal ones each is it beside numbers close by."""
    x = c.operand("self").ravel()
    place = np.flatnonzero(numbers(c.value(c["self"])).ravel() == float(c.held))
    _ordered(c, x, -1)
    if place.size > 1:
        c.record.decide("eq", x[place[:-1]], x[place[1:]])  # of others the largest need not be it
        return c.record.combine("maximum", x[place], c.format, c.held)
    return np.asarray(x[place[0]]) if place.size else None


# Products of matrices -------------------------------------------------------------------------------------------------


def _product(c: Call, a: Ids, b: Ids, bias: Ids | None = None) -> Ids:
    """(…, M, K) × (…, K, N), with one more term where there is a bias: the factors stay views."""
    left, right = a[..., :, None, :], np.swapaxes(b, -1, -2)[..., None, :, :]
    if bias is not None:
        left, right = with_bias(left, right, bias)
    return c.record.sop(left, right, c.format, c.held.reshape(np.broadcast_shapes(left.shape, right.shape)[:-1]))


def with_bias(left: Ids, right: Ids, bias: Ids) -> tuple[Ids, Ids]:
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
        b = b[:, None] if b.ndim == 1 else b
        bias = c.operand("self")
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


def _outer_added(c: Call) -> Results:
    """β·self + (α·vec1)·vec2, each rounded: aten/src/ATen/native/cpu/LinearAlgebraKernel.cpp, addr_kernel."""
    a, b, bias = c.operand("vec1")[:, None], c.operand("vec2"), c.operand("self")
    with c.record.inside() as steps:
        a = a if c["alpha"] == 1 else c.record.map("multiply", [a, c.ids(c["alpha"])], c.format)
        found = c.record.map("multiply", [a, b], c.format)
        if c["beta"] != 0:
            scaled = bias if c["beta"] == 1 else c.record.map("multiply", [bias, c.ids(c["beta"])], c.format)
            found = c.record.map("add", [found, scaled], c.format)
    return c.record.fused("aten::addr", Form("definition", tuple(steps), found), (), c.format, c.held)


# Scattered sums -------------------------------------------------------------------------------------------------------


def collect(c: Call, base: Ids, targets: Ids, sources: Ids) -> Ids:
    flat, several, rows = collected(base, targets, np.broadcast_to(sources, targets.shape))
    if several.size:
        flat[several] = c.record.sop(rows, None, c.format, c.held.ravel()[several])
    return flat.reshape(base.shape)


def places_of(x: Ids) -> Ids:
    return np.arange(x.size, dtype=np.int64).reshape(x.shape)


def _scatter_add(c: Call) -> Results:
    x, index, source = c.operand("self"), c["index"].cpu(), c.operand("src")
    if not x.ndim:
        return collect(c, x, np.zeros(index.shape, np.int64), source.reshape(tuple(index.shape)))
    places = torch.from_numpy(places_of(x)).gather(c["dim"], index).numpy()
    return collect(c, x, places, source[tuple(slice(0, n) for n in index.shape)])


def _index_add(c: Call) -> Results:
    x, source = np.atleast_1d(c.operand("self")), np.atleast_1d(c.operand("source"))
    if c["alpha"] not in (None, 1):
        source = c.record.map("multiply", [source, c.ids(c["alpha"])], c.format)
    places = np.take(places_of(x), np.atleast_1d(c["index"].cpu().numpy()), c["dim"])
    return collect(c, x, places, source)


def _index_put(c: Call) -> Results:
    """Only the accumulating one comes here: the other moves."""
    x, indices = c.operand("self"), c["indices"]
    at = tuple(slice(None) if i is None else i.cpu() for i in indices)
    places = torch.from_numpy(places_of(x))[at].numpy()
    values = np.broadcast_to(c.operand("values"), places.shape)
    if c["accumulate"]:
        return collect(c, x, places, values)
    flat = x.ravel().copy()
    flat[places.ravel()] = values.ravel()
    return flat.reshape(x.shape)


def _put(c: Call) -> Results:
    x, places, values = c.operand("self"), c["index"].cpu().numpy(), c.operand("source")
    if c["accumulate"]:
        return collect(c, x, places % max(x.size, 1), values.reshape(places.shape))
    flat = x.ravel().copy()
    flat[places.ravel()] = values.ravel()
    return flat.reshape(x.shape)


def _embedding(c: Call) -> Results:
    """Rows of the weight. The gradient of that of `padding_idx` is 0 by what `torch.nn.functional.embedding` documents:
    it is a constant. Of tangents PyTorch says nothing, and gives those of all rows."""
    index = c["indices"].cpu().numpy()
    rows: Ids = c.operand("weight")[index]
    padding = np.broadcast_to((index == c["padding_idx"])[..., None], rows.shape)
    if padding.any() and not c.recorder.tangents:
        rows = rows.copy()
        c.recorder.note_padding(rows[padding])
        rows[padding] = c.record.map(STOPPED, [rows[padding]], c.format, c.held[padding])
    return rows


def _embedding_backward(c: Call) -> Results:
    g, index = c.operand("grad_output"), c["indices"].cpu().numpy()
    count, width = int(c["num_weights"]), g.shape[-1]
    base = np.full((count, width), ZERO, np.int64)
    if c["scale_grad_by_freq"]:
        raise NotRecorded("embedding with scale_grad_by_freq=True: give a definition of embedding_dense_backward")
    g = np.where((index == c["padding_idx"])[..., None], ZERO, g)
    return collect(c, base, places_of(base)[index], g)


def _back_to(move: Callable[..., Tensor], size: Callable[[Call], Sequence[int]]) -> Rule:
    """The adjoint of an operation that moves numbers: the operation on places says where each came from."""

    def rule(c: Call) -> Results:
        base = np.full(tuple(size(c)), ZERO, np.int64)
        places = move(c, torch.from_numpy(places_of(base)).double()).long().numpy()
        return collect(c, base, places, c.operand("grad_output"))

    return rule


def _nearest(n: int, name: str) -> Rule:
    scales = ("scales",) if n == 1 else ("scales_h", "scales_w") if n == 2 else ("scales_d", "scales_h", "scales_w")
    move = getattr(torch.ops.aten, f"{name}{n}d").default
    return _back_to(lambda c, x: move(x, c["output_size"], *(c[s] for s in scales)), lambda c: c["input_size"])


def _padding(name: str) -> Rule:
    move = getattr(torch.ops.aten, name).default
    return _back_to(lambda c, x: move(x, c["padding"]), lambda c: c["self"].shape)


SUM_RULES: dict[str, Rule] = {
    "sum": _sum, "mean": _mean, "cumsum": _cumsum,
    "prod": _reduced("product"), "amax": _reduced("maximum"), "amin": _reduced("minimum"),
    "max": _reduced("maximum"), "min": _reduced("minimum"),
    "cumprod": _cumulative_product, "cummax": _cumulative("maximum"), "cummin": _cumulative("minimum"),
    **dict.fromkeys(("sort", "topk", "kthvalue", "median", "nanmedian", "mode"), _selected),
    "mm": _mm, "bmm": _mm, "mv": _mv, "dot": _dot, "vdot": _dot,
    "addmm": _added("mat1", "mat2"), "baddbmm": _added("batch1", "batch2"), "addmv": _added("mat", "vec"),
    "addr": _outer_added,
    "scatter_add": _scatter_add, "index_add": _index_add, "index_put": _index_put,
    "put": _put, "_index_put_impl": _index_put, "_unsafe_index_put": _index_put,
    "embedding": _embedding, "embedding_dense_backward": _embedding_backward,
    **{f"{name}{n}d_backward": _nearest(n, name) for n in (1, 2, 3)
       for name in ("upsample_nearest", "_upsample_nearest_exact")},
    **{f"{kind}_pad{n}d_backward": _padding(f"{kind}_pad{n}d")
       for kind in ("reflection", "replication") for n in (1, 2, 3)},
}  # fmt: skip
