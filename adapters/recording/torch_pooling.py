"""Rules for convolutions and pooling."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch

from gradconform.adapters.recording.torch_call import Call, Results, Rule
from gradconform.adapters.recording.torch_memory import numbers
from gradconform.adapters.recording.torch_sums import collect, guarded, places_of, with_bias
from gradconform.adapters.recording.torch_windows import (
    Geometry,
    along_last,
    by_input,
    by_weight,
    collected,
    convolution,
    of_axes,
    windows,
)
from gradconform.reference.arithmetic.formats import FLOAT32
from gradconform.reference.programs.record import ZERO, Form, Ids, Numbers

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
        sums = convolution(g, w, geometry, x.shape[-n:]) if c["transposed"] else by_input(g, w, x.shape[-n:], geometry)
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
    whole = factors if bias is None else with_bias(*factors, bias)
    shape, format = np.broadcast_shapes(whole[0].shape, whole[1].shape)[:-1], c.format
    held = numbers(c.outs[number]).reshape(shape)
    if format.precision >= FLOAT32.precision:
        return c.record.sop(*whole, format, held)
    with c.record.inside() as steps:
        total = c.record.sop(*whole, format)
    with c.record.inside() as in_stages:
        left, right = (np.moveaxis(x.reshape(*x.shape[:-1], *stages[0]), stages[1], -1) for x in factors)
        parts = c.record.sop(left, right, format)
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
        rows = along_last(seen, *(slice(0, r) for r in c.shape[-n:]), *(slice(None),) * n).reshape(*c.shape, -1)
        found = c.record.combine("maximum", rows, c.format, c.held)
        guarded(c, found, rows, "maximum")
        return [found, None]

    return rule


def _max_pool_backward(n: int) -> Rule:
    def rule(c: Call) -> Results:
        g, x, index = c.operand("grad_output"), c.operand("self"), c["indices"].cpu().numpy()
        plane = math.prod(x.shape[-n:])
        lead = np.arange(x.size // plane).reshape(*x.shape[:-n], *(1,) * n) * plane
        return collect(c, np.full(x.shape, ZERO, np.int64), index + lead, g)

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
        rows = along_last(seen, *(slice(0, r) for r in out), *(slice(None),) * n).reshape(*c.shape, -1)
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
        places = windows(places_of(np.zeros(c.shape, np.int64)) + 1, kernel, geometry, 0, g.shape[-n:])
        places = along_last(places, *(slice(0, r) for r in g.shape[-n:]), *(slice(None),) * n).reshape(*g.shape, -1)
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
    """The places of every adaptive window, 1 more than the flat index, 0 where it is shorter; and how many it has."""
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
    return np.where(seen > 0, flat + 1, 0).reshape(lead, *out, math.prod(longest)), counts


def _adaptive_avg_pool(n: int) -> Rule:
    def rule(c: Call) -> Results:
        x = c.operand("self")
        places, counts = _adaptive(x.shape[-n:], c.shape[-n:], math.prod(x.shape[:-n]))
        rows = np.concatenate([[ZERO], x.ravel()])[places].reshape(*c.shape, places.shape[-1])
        return _averaged(c, rows, c.record.constants(counts))

    return rule


def _adaptive_avg_pool_backward(n: int) -> Rule:
    def rule(c: Call) -> Results:
        g = c.operand("grad_output")
        places, counts = _adaptive(c.shape[-n:], g.shape[-n:], math.prod(c.shape[:-n]))
        return _distributed(c, g, c.record.constants(counts), places.reshape(*g.shape, places.shape[-1]))

    return rule


def _adaptive_max_pool(n: int) -> Rule:
    def rule(c: Call) -> Results:
        x = c.operand("self")
        places, _ = _adaptive(x.shape[-n:], c.shape[-n:], math.prod(x.shape[:-n]))
        rows = np.concatenate([[c.record.number(-math.inf)], x.ravel()])[places].reshape(*c.shape, places.shape[-1])
        found = c.record.combine("maximum", rows, c.format, c.held)
        guarded(c, found, rows, "maximum")
        return [found, None]

    return rule


def _fractions(c: Call, n: int, plane: torch.Tensor) -> list[Ids]:
    """Along every axis where the windows of a plane begin: aten/src/ATen/native/FractionalMaxPooling.h."""
    kernel, found = of_axes(c["kernel_size"], n), []
    # The samples of a plane come as (W, H), and as (T, H, W).
    samples = plane.flip(0) if n == 2 else plane
    for size, out, window, sample in zip(c["self"].shape[-n:], c.shape[-n:], kernel, samples, strict=True):
        one = sample.new_tensor(float(size - window))
        step = one / (out - 1) if out > 1 else one
        at = torch.arange(out).to(sample)
        starts = ((at + sample) * step).long() - (sample * step).long()
        starts[-1] = size - window
        found.append(starts.numpy()[:, None] + np.arange(window))
    return found


def _fractional_max_pool(n: int) -> Rule:
    def rule(c: Call) -> Results:
        x = c.operand("self")
        size, samples = x.shape[-n:], c["random_samples"].cpu().reshape(-1, n)
        planes, rows = x.reshape(-1, math.prod(size)), []
        for plane, sample in zip(planes, samples, strict=True):
            flat: Ids = np.zeros((1,) * (2 * n), np.int64)
            for axis, at in enumerate(_fractions(c, n, sample)):
                shape = [1] * (2 * n)
                shape[axis], shape[n + axis] = at.shape
                flat = flat * size[axis] + at.reshape(shape)
            rows.append(plane[flat].reshape(*flat.shape[:n], -1))
        windows = np.stack(rows).reshape(*c.shape, -1)
        found = c.record.combine("maximum", windows, c.format, c.held)
        guarded(c, found, windows, "maximum")
        return [found, None]

    return rule


POOLING_RULES: dict[str, Rule] = {
    "convolution": _convolution, "convolution_backward": _convolution_backward,
    "max_pool2d_with_indices": _max_pool(2), "max_pool3d_with_indices": _max_pool(3),
    "max_pool2d_with_indices_backward": _max_pool_backward(2),
    "max_pool3d_with_indices_backward": _max_pool_backward(3),
    "adaptive_max_pool2d": _adaptive_max_pool(2), "adaptive_max_pool3d": _adaptive_max_pool(3),
    **{f"{kind}_max_pool{n}d_backward": _max_pool_backward(n) for kind in ("adaptive", "fractional") for n in (2, 3)},
    "fractional_max_pool2d": _fractional_max_pool(2), "fractional_max_pool3d": _fractional_max_pool(3),
    "avg_pool2d": _avg_pool(2), "avg_pool3d": _avg_pool(3),
    "avg_pool2d_backward": _avg_pool_backward(2), "avg_pool3d_backward": _avg_pool_backward(3),
    "_adaptive_avg_pool2d": _adaptive_avg_pool(2), "_adaptive_avg_pool3d": _adaptive_avg_pool(3),
    "_adaptive_avg_pool2d_backward": _adaptive_avg_pool_backward(2),
    "_adaptive_avg_pool3d_backward": _adaptive_avg_pool_backward(3),
}  # fmt: skip
