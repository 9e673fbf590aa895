"""The geometry of convolutions and pooling, on arrays of ids: which numbers meet in which sum.

Shapes: x is (N, C, *S), a weight (O, C/groups, *K), a result (N, O, *R); n is the number of spatial axes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gradconform.reference.programs.record import ZERO, Ids

Sizes = tuple[int, ...]


@dataclass(frozen=True)
class Geometry:
    """Strides, paddings and dilations of the spatial axes, and the number of groups."""

    stride: Sizes
    padding: Sizes
    dilation: Sizes
    groups: int = 1

    @property
    def axes(self) -> int:
        return len(self.stride)

    def span(self, kernel: Sizes) -> Sizes:
        """How many places a window covers."""
        return tuple(d * (k - 1) + 1 for d, k in zip(self.dilation, kernel, strict=True))


def of_axes(value: object, axes: int) -> Sizes:
    """One number for every spatial axis, or one for all."""
    sizes = tuple(value) if isinstance(value, Sequence) else (value,)
    return sizes * axes if len(sizes) == 1 else sizes


def windows(x: Ids, kernel: Sizes, geometry: Geometry, fill: int = ZERO, ceiling: Sizes | None = None) -> Ids:
    """(N, C, *R, *K): what each window sees; beyond the padding is `fill`. `ceiling` gives R where it is more."""
    n = geometry.axes
    lead = x.ndim - n
    pads = [(p, p) for p in geometry.padding]
    span = geometry.span(kernel)
    if ceiling is not None:
        pads = [
            (p, max(p, (r - 1) * s + w - size - p))
            for p, r, s, w, size in zip(geometry.padding, ceiling, geometry.stride, span, x.shape[lead:], strict=True)
        ]
    return _strided(_padded(x, pads, fill), kernel, geometry.stride, geometry.dilation)


def _padded(x: Ids, pads: Sequence[tuple[int, int]], fill: int) -> Ids:
    """Padded, or cropped where a padding is negative."""
    lead = x.ndim - len(pads)
    x = np.pad(x, [(0, 0)] * lead + [(max(a, 0), max(b, 0)) for a, b in pads], constant_values=fill)
    cut = tuple(slice(max(-a, 0), x.shape[lead + i] - max(-b, 0)) for i, (a, b) in enumerate(pads))
    return along_last(x, *cut)


def along_last(x: Ids, *at: slice) -> Ids:
    """A view, cut along the last axes."""
    index: Any = (..., *at)
    return x[index]  # type: ignore[no-any-return]


def _strided(x: Ids, kernel: Sizes, stride: Sizes, dilation: Sizes) -> Ids:
    axes = tuple(range(x.ndim - len(kernel), x.ndim))
    span = tuple(d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True))
    seen = np.lib.stride_tricks.sliding_window_view(x, span, axis=axes)
    return along_last(seen, *(slice(None, None, s) for s in (*stride, *dilation)))


def convolution(x: Ids, w: Ids, geometry: Geometry, size: Sizes | None = None) -> tuple[Ids, Ids]:
    """The factors of a convolution's sums: of (N, G, O/G, *R) each, the last axis summed; views where that repeats.

    `size` is R where it is less: a transposed convolution's adjoint has no windows that only its output padding has.
    """
    n, g, kernel = geometry.axes, geometry.groups, w.shape[2:]
    seen = windows(x, kernel, geometry)
    size = size or seen.shape[2 : 2 + n]
    seen = along_last(seen, *(slice(0, r) for r in size), *(slice(None),) * n)
    seen = seen.reshape(x.shape[0], g, x.shape[1] // g, *size, *kernel)
    seen = np.moveaxis(seen, 2, 2 + n).reshape(x.shape[0], g, 1, *size, -1)
    factors = w.reshape(1, g, w.shape[0] // g, *(1,) * n, -1)
    return seen, factors


def by_input(g_out: Ids, w: Ids, size: Sizes, geometry: Geometry) -> tuple[Ids, Ids]:
    """The adjoint of a convolution with respect to its input of spatial `size`: (N, G, C/G, *S) sums."""
    n, g, kernel = geometry.axes, geometry.groups, w.shape[2:]
    spread = _spread(g_out, geometry.stride)
    span = geometry.span(kernel)
    pads = [
        (k - 1 - p, s + p - r)
        for k, p, s, r in zip(span, geometry.padding, size, spread.shape[g_out.ndim - n :], strict=True)
    ]
    seen = _strided(_padded(spread, pads, ZERO), kernel, (1,) * n, geometry.dilation)
    batch, out = g_out.shape[:2]
    seen = seen.reshape(batch, g, out // g, *size, *kernel)
    seen = np.moveaxis(seen, 2, 2 + n).reshape(batch, g, 1, *size, -1)
    turned = np.flip(w, tuple(range(2, 2 + n))).reshape(g, out // g, w.shape[1], *kernel)
    factors = np.moveaxis(turned, 1, 2).reshape(1, g, w.shape[1], *(1,) * n, -1)
    return seen, factors


def by_weight(g_out: Ids, x: Ids, kernel: Sizes, geometry: Geometry) -> tuple[Ids, Ids]:
    """The adjoint of a convolution with respect to its weight: (G, O/G, C/G, *K) sums over the batch and places."""
    n, g = geometry.axes, geometry.groups
    batch, out = g_out.shape[:2]
    size = g_out.shape[2:]
    seen = along_last(windows(x, kernel, geometry), *(slice(0, r) for r in size), *(slice(None),) * n)
    seen = seen.reshape(batch, g, x.shape[1] // g, *size, *kernel)
    order = (1, 2, *range(3 + n, 3 + 2 * n), 0, *range(3, 3 + n))
    seen = seen.transpose(order).reshape(g, 1, x.shape[1] // g, *kernel, -1)
    adjoints = np.moveaxis(g_out.reshape(batch, g, out // g, *size), 0, 2)
    return adjoints.reshape(g, out // g, 1, *(1,) * n, -1), seen


def _spread(x: Ids, stride: Sizes) -> Ids:
    """With zeros between, as a stride leaves them."""
    lead = x.ndim - len(stride)
    shape = (*x.shape[:lead], *((r - 1) * s + 1 if r else 0 for r, s in zip(x.shape[lead:], stride, strict=True)))
    spread = np.full(shape, ZERO, np.int64)
    along_last(spread, *(slice(None, None, s) for s in stride))[...] = x
    return spread


def collected(base: Ids, targets: Ids, sources: Ids) -> tuple[Ids, Ids, Ids]:
    """What comes together in each place: `base`, flat, with what comes alone; the other places; the rows of their sums.

    `base` is what the places hold before; targets are flat indices into it, each with the source that is added there.
    """
    flat = base.ravel().copy()
    targets, sources = targets.ravel(), sources.ravel()
    kept = sources != ZERO
    places, numbers = targets[kept], sources[kept]
    holds = np.flatnonzero(flat != ZERO)
    places, numbers = np.concatenate([holds, places]), np.concatenate([flat[holds], numbers])
    found = np.unique(places)
    rows, counts = gathered(places, numbers, ZERO)
    single = counts == 1
    flat[found[single]] = rows[single, 0] if rows.size else []
    return flat, found[~single], rows[~single]


def gathered(places: Ids, numbers: Ids, fill: int) -> tuple[Ids, Ids]:
    """What comes together in each of the places, in order: rows that end in `fill`, and how many each has."""
    order = np.argsort(places, kind="stable")
    places, numbers = places[order], numbers[order]
    _, row, counts = np.unique(places, return_inverse=True, return_counts=True)
    rows = np.full((counts.size, int(counts.max(initial=0))), fill, np.int64)
    rows[row, np.arange(row.size) - (np.cumsum(counts) - counts)[row]] = numbers
    return rows, counts
