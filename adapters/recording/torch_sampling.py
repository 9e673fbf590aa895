"""Rules for the sampling of images at places that are numbers, too: `grid_sample`, and its backward kernels.

A value between pixels is a sum of weights times pixels, and which pixels these are is decided by the whole number below
the place. Where the place may be a whole number but for rounding the kernel may have taken the cell on either side:
there both are recorded, and which of them it is is a decision. aten/src/ATen/native/cpu/GridSamplerKernel.cpp,
aten/src/ATen/native/GridSampler.h and GridSampler.cpp; the places are computed alike in two and in three dimensions
but for the order of exact operations.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass
from functools import partial, reduce

import numpy as np
import torch
from numpy.typing import NDArray

from gradconform.adapters.recording.torch_algebra import as_kernel
from gradconform.adapters.recording.torch_call import Call, Results, Rule
from gradconform.adapters.recording.torch_memory import numbers
from gradconform.adapters.recording.torch_windows import collected
from gradconform.reference.arithmetic.formats import FLOAT32
from gradconform.reference.programs.record import ONE, ZERO, Ids, Numbers
from gradconform.reference.programs.run import NotRecorded

LINEAR, NEAREST, CUBIC = range(3)
ZEROS, BORDER, REFLECTION = range(3)
#: Roundings that a place goes through: three of (x + 1)·s − ½ and four of its reflection, none of them of more than
#: u·(|x| + 1) times the size of the image.
ROUNDINGS = 8
#: Base of the digits by which pixels are numbered: whole numbers that every format holds.
BASE = 64
_HELD: dict[str, Callable[..., Numbers]] = {
    "add": np.add, "subtract": np.subtract, "multiply": np.multiply, "divide": np.divide,
    "absolute": np.abs, "negative": np.negative,
}  # fmt: skip


@dataclass(frozen=True)
class _Taps:
    """The pixels along an axis that make a value: places (P, k), −1 where there is none; weights, and their slopes."""

    places: Ids
    weights: Ids
    slopes: Ids


class _Sampling:
    """The places of P points (batch and grid) along n axes of an image, as steps of a kernel."""

    def __init__(self, c: Call, n: int) -> None:
        self.c, self.n, self.record, self.format = c, n, c.record, c.format
        self.image, grid = c.operand("input"), c.operand("grid")
        self.size = self.image.shape[2:]
        self.mode, self.padding, self.aligned = (
            int(c["interpolation_mode"]), int(c["padding_mode"]), bool(c["align_corners"]),
        )  # fmt: skip
        if not np.isfinite(numbers(c.value(c["grid"]))).all():
            raise NotRecorded("grid_sample at a place that is not finite; expected one, such as from -1 to 1")
        self.grid = grid.reshape(-1, n)
        self.batch = np.repeat(np.arange(grid.shape[0]), math.prod(grid.shape[1:-1]))
        self.planes = self.image.reshape(*self.image.shape[:2], -1)

    # Places -----------------------------------------------------------------------------------------------------------

    def do(self, name: str, *operands: Ids) -> Ids:
        operands = tuple(np.broadcast_arrays(*operands))
        held = self.format.round(np.asarray(_HELD[name](*(self.record.held[x] for x in operands))))
        return self.record.map(name, operands, self.format, held)

    def _number(self, x: float | Numbers) -> Ids:
        return self.record.constants(self.format.round(np.asarray(x, np.float64)))

    def summed(self, a: Ids, b: Ids) -> Ids:
        """Σ a·b; in 16 bits every product and every sum is rounded."""
        if self.format.precision >= FLOAT32.precision:
            return self.record.sop(a, b, self.format)
        return self.record.sop(self.do("multiply", a, b), None, self.format)

    def _scale(self, axis: int) -> float:
        return (float(self.size[axis]) - self.aligned) / 2

    def _unnormalized(self, axis: int) -> Ids:
        x = self.do("multiply", self.do("add", self.grid[:, self.n - 1 - axis], np.asarray(ONE)),
                     self._number(self._scale(axis)))  # fmt: skip
        return x if self.aligned else self.do("subtract", x, self._number(0.5))

    def _reflected(self, x: Ids, axis: int, sign: Ids) -> tuple[Ids, Ids]:
        low, twice = (0.0, 2.0 * (self.size[axis] - 1)) if self.aligned else (-0.5, 2.0 * self.size[axis])
        if twice == 0:
            return np.full(x.shape, ZERO), np.full(x.shape, ZERO)
        off = x if low == 0 else self.do("subtract", x, self._number(low))
        size = self.do("absolute", off)
        sign = self._turned(sign, self._held(off) < 0, self.record.decide("lt", off, np.asarray(ZERO)))
        turns = self.do("divide", size, self._number(twice))
        whole = np.trunc(self._held(turns))
        self.record.decide("ge", turns, self._number(whole))
        self.record.decide("le", turns, self._number(whole + 1))
        self.record.edges.append(turns[(self._held(turns) == whole) & (whole > 0)])
        extra = self.do("subtract", size, self.do("multiply", self._number(whole), self._number(twice)))
        other = self.do("subtract", self._number(twice), extra)
        sign = self._turned(sign, self._held(extra) > self._held(other), self.record.decide("gt", extra, other))
        found = self._extreme("minimum", extra, other)
        return (found if low == 0 else self.do("add", found, self._number(low))), sign

    def _held(self, x: Ids) -> Numbers:
        return np.asarray(self.record.held[x])

    def _turned(self, sign: Ids, turned: NDArray[np.bool_], decided: Ids) -> Ids:
        return self.record.choose(turned, decided, self.do("negative", sign), sign, self.format)

    def _extreme(self, kind: str, x: Ids, other: Ids) -> Ids:
        rows = np.stack(np.broadcast_arrays(x, other), -1)
        held = self.record.held[rows]
        held = held.max(-1) if kind == "maximum" else held.min(-1)
        return self.record.combine(kind, rows, self.format, held)  # type: ignore[arg-type]

    def places(self, axis: int) -> tuple[Ids, Ids]:
        """Where the points lie along an axis, in pixels, and how fast that moves with the grid; ids of both."""
        x, slope = self._unnormalized(axis), np.broadcast_to(self._number(self._scale(axis)), len(self.grid))
        if self.padding == ZEROS or self.mode == CUBIC:
            return x, slope
        if self.padding == REFLECTION:
            x, slope = self._reflected(x, axis, slope)
        most, zero = np.asarray(self._number(self.size[axis] - 1.0)), np.asarray(ZERO)
        held = self.record.held[x]
        slope = self.record.choose(held <= 0, self.record.decide("le", x, zero), zero, slope, self.format)
        beyond = self.record.decide("ge", x, most)
        slope = self.record.choose(held >= self.size[axis] - 1, beyond, zero, slope, self.format)
        return self._extreme("minimum", self._extreme("maximum", x, zero), most), slope

    # Cells ------------------------------------------------------------------------------------------------------------

    def cells(self, x: Ids, axis: int) -> tuple[list[Numbers], NDArray[np.bool_], Ids]:
        """The lower bounds of the cells on either side, whether both may be, and the decision for the lower one."""
        held = self.record.held[x]
        near = np.rint(held)
        reach = 1 + np.abs(self.record.held[self.grid[:, self.n - 1 - axis]])
        reach *= ROUNDINGS * 2.0**-self.format.precision * self.size[axis]
        both = np.abs(held - near) <= reach
        below = np.floor(held)
        if self.mode == LINEAR and self.padding != ZEROS:  # clipped: beyond the border there is no cell
            most = max(self.size[axis] - 2, 0)
            both &= (near > 0) & (near <= most)
            below = np.clip(below, 0, most)
        lower = np.where(both, near - 1, below)
        self.record.decide("ge", x, self._number(lower))
        self.record.decide("le", x, self._number(np.where(both, near, below) + 1))
        return [lower, np.where(both, near, below)], both, self.record.decide("lt", x, self._number(near))

    def taps(self, x: Ids, axis: int, below: Numbers) -> _Taps:
        do, one = self.do, np.asarray(ONE)
        after = do("subtract", x, self._number(below))
        before = do("subtract", one, after)
        if self.mode == LINEAR:
            minus = np.asarray(self.record.number(-1.0))
            weights, slopes = [before, after], [np.broadcast_to(minus, x.shape), np.broadcast_to(one, x.shape)]
            first = 0
        else:
            far = [do("add", after, one), do("subtract", self._number(2.0), after)]
            outer, inner = [self._outer(f) for f in far], [self._inner(f) for f in (after, before)]
            weights = [outer[0][0], inner[0][0], inner[1][0], outer[1][0]]
            slopes = [outer[0][1], inner[0][1], do("negative", inner[1][1]), do("negative", outer[1][1])]
            first = -1
        pixels = below[:, None] + np.arange(first, first + len(weights))
        return _Taps(self._pixels(pixels, axis), np.stack(weights, -1), np.stack(slopes, -1))

    def about(self, x: Ids, axis: int, below: Numbers, lower: NDArray[np.bool_], decided: Ids) -> _Taps:
        """The three pixels about the one at the upper bound of the lower cell, of which one side has weight 0.

        By the distance d and what of it is above 0: the slope at the pixel is then one of both, or between, and those
        of the image do not depend on the side.
        """
        beside = self.do("subtract", x, self._number(below + 1))
        above = self.record.choose(lower, decided, np.asarray(ZERO), beside, self.format)
        under = self.do("subtract", above, beside)
        middle = self.do("subtract", self.do("subtract", np.asarray(ONE), under), above)
        weights = np.stack([under, middle, above], -1)
        return _Taps(self._pixels(below[:, None] + np.arange(3), axis), weights, weights)

    def _polynomial(self, x: Ids, *coefficients: float) -> Ids:
        found: Ids = np.broadcast_to(self._number(coefficients[0]), x.shape)
        for k in coefficients[1:]:
            found = self.do("multiply", found, x)
            found = found if k == 0 else self.do("add", found, self._number(k))
        return found

    def _outer(self, x: Ids) -> tuple[Ids, Ids]:
        """−¾·(x³ − 5x² + 8x − 4) of a distance from 1 to 2, and its slope."""
        return self._polynomial(x, -0.75, 3.75, -6.0, 3.0), self._polynomial(x, -2.25, 7.5, -6.0)

    def _inner(self, x: Ids) -> tuple[Ids, Ids]:
        """5/4·x³ − 9/4·x² + 1 of a distance up to 1, and its slope."""
        return self._polynomial(x, 1.25, -2.25, 0.0, 1.0), self._polynomial(x, 3.75, -4.5, 0.0)

    def _pixels(self, at: Numbers, axis: int) -> Ids:
        size = self.size[axis]
        if self.mode == CUBIC and self.padding == REFLECTION:
            low, twice = (0.0, 2.0 * (size - 1)) if self.aligned else (-0.5, 2.0 * size)
            off = np.abs(at - low)
            off = off - np.trunc(off / twice) * twice if twice else np.zeros_like(off)
            at = np.minimum(off, twice - off) + low if twice else off
        if self.mode == CUBIC and self.padding != ZEROS:
            at = np.trunc(np.clip(at, 0, size - 1))
        return np.where((at >= 0) & (at < size), at, -1).astype(np.int64)

    # Groups -----------------------------------------------------------------------------------------------------------

    def groups(self) -> list[_Group]:
        """The points by the axes along which they may lie in either of two cells."""
        along = [self.places(axis) for axis in range(self.n)]
        cells = [self.cells(x, axis) for axis, (x, _) in enumerate(along)]
        found = []
        for pattern in itertools.product((False, True), repeat=self.n):
            of = np.logical_and.reduce([both == p for (_, both, _), p in zip(cells, pattern, strict=True)])
            points = np.flatnonzero(of)
            if points.size:
                found.append(_Group(self, points, pattern, along, cells))
        return found


class _Group:
    """Points for which the same axes leave two cells open."""

    def __init__(
        self, of: _Sampling, points: Ids, pattern: Sequence[bool], along: Sequence[tuple[Ids, Ids]],
        cells: Sequence[tuple[list[Numbers], NDArray[np.bool_], Ids]],
    ) -> None:  # fmt: skip
        self.of, self.points, self.pattern = of, points, pattern
        self.slopes = [slope[points] for _, slope in along]
        self.decided = [decided[points] for *_, decided in cells]
        held = of.record.held
        self.lower = [held[x[points]] < np.rint(held[x[points]]) for x, _ in along]
        self.about = [
            of.about(x[points], axis, lowers[0][points], self.lower[axis], self.decided[axis])
            if pattern[axis] and of.mode == LINEAR
            else None
            for axis, ((x, _), (lowers, *_)) in enumerate(zip(along, cells, strict=True))
        ]
        self.taps = [
            [of.taps(x[points], axis, below[points]) for below in (lowers if pattern[axis] else lowers[1:])]
            for axis, ((x, _), (lowers, *_)) in enumerate(zip(along, cells, strict=True))
        ]

    def interpolated(self) -> Ids:
        """The values of the points, (P, C)."""
        if self.of.mode != LINEAR or not any(self.pattern):
            return self.either(self.value)
        both = self._by([own[0] if about is None else about for own, about in zip(self.taps, self.about, strict=True)])
        return both.value((0,) * self.of.n)

    def _by(self, taps: Sequence[_Taps]) -> _Group:
        """The same points, by pixels that both cells have."""
        found = copy(self)
        found.taps, found.pattern = [[t] for t in taps], (False,) * len(taps)
        return found

    def _merged(self, axis: int) -> _Taps:
        """The pixels of both cells along an axis, with the weights that each has in the one that was taken."""
        if not self.pattern[axis]:
            return self.taps[axis][0]
        low, high = self.taps[axis]
        none, no = np.full((len(self.points), 1), ZERO), np.full((len(self.points), 1), -1)
        places = np.maximum(np.concatenate([low.places, no], -1), np.concatenate([no, high.places], -1))
        sides = np.concatenate([low.weights, none], -1), np.concatenate([none, high.weights], -1)
        of = self.of
        weights = of.record.choose(self.lower[axis][:, None], self.decided[axis][:, None], *sides, of.format)
        return _Taps(places, weights, weights)

    def either(self, of: Callable[[tuple[int, ...]], Ids], sides: tuple[int, ...] = ()) -> Ids:
        """What is computed in a cell, in the cells that were taken."""
        axis = len(sides)
        if axis == self.of.n:
            return of(sides)
        if not self.pattern[axis]:
            return self.either(of, (*sides, 0))
        both = [self.either(of, (*sides, side)) for side in (0, 1)]
        shape = (-1, *(1,) * (both[0].ndim - 1))
        first, decided = self.lower[axis].reshape(shape), self.decided[axis].reshape(shape)
        return self.of.record.choose(first, decided, both[0], both[1], self.of.format)

    def corner_places(self, sides: tuple[int, ...]) -> Ids:
        """Flat places in a plane of all corners of a cell, (P, k), −1 where there is none."""
        found, there = np.zeros((len(self.points), 1), np.int64), np.ones((len(self.points), 1), bool)
        for axis, side in enumerate(sides):
            at = self.taps[axis][side].places
            found = (found[..., None] * self.of.size[axis] + at[:, None, :]).reshape(len(at), -1)
            there = (there[..., None] & (at >= 0)[:, None, :]).reshape(len(at), -1)
        return np.where(there, found, -1)

    def pixels(self, sides: tuple[int, ...]) -> Ids:
        """(P, C, k)."""
        at = self.corner_places(sides)
        planes = self.of.planes[self.of.batch[self.points]]
        found = np.take_along_axis(
            planes, np.broadcast_to(np.maximum(at, 0)[:, None], (*planes.shape[:2], at.shape[1])), 2
        )
        return np.where(at[:, None] >= 0, found, ZERO)

    def weights(self, sides: tuple[int, ...], by: int | None = None) -> Ids:
        """Of all corners, (P, k): products along the axes; with the slopes `by` one of them."""
        parts = [self.taps[a][s].slopes if a == by else self.taps[a][s].weights for a, s in enumerate(sides)]

        def times(x: Ids, y: Ids) -> Ids:
            x, y = np.broadcast_arrays(x[..., None], y[:, None, :])
            return self.of.do("multiply", x, y).reshape(len(x), -1)

        return reduce(times, parts)

    def value(self, sides: tuple[int, ...]) -> Ids:
        """(P, C)."""
        found = self.pixels(sides)
        if self.of.mode == LINEAR:
            return self.of.summed(found, self.weights(sides)[:, None])
        for axis in reversed(range(self.of.n)):  # of cubic ones first along x
            weights = self.taps[axis][sides[axis]].weights
            found = found.reshape(*found.shape[:2], -1, weights.shape[-1])
            found = self.of.summed(found, weights[:, None, None])
        return found[..., 0] if found.ndim == 3 else found

    def by_place(self, sides: tuple[int, ...], axis: int, g: Ids) -> Ids:
        """(P,), of adjoints (P, C)."""
        weights = self.weights(sides, axis)[:, None]
        terms = self.of.do("multiply", *np.broadcast_arrays(weights, g[..., None]))
        pixels = self.pixels(sides)
        return self.of.summed(terms.reshape(len(g), -1), pixels.reshape(len(g), -1))

    def by_image(self, g: Ids) -> tuple[Ids, Ids]:
        """Places in the flat image and what is added there, of every corner."""
        of, merged, first = self.of, self._by([self._merged(axis) for axis in range(self.of.n)]), (0,) * self.of.n
        channels, plane = of.planes.shape[1:]
        lead = (of.batch[self.points][:, None] * channels + np.arange(channels)) * plane
        weights, at = merged.weights(first), merged.corner_places(first)
        terms = of.do("multiply", *np.broadcast_arrays(weights[:, None], g[..., None]))
        there = np.broadcast_to(at[:, None] >= 0, terms.shape)
        return (lead[..., None] + at[:, None])[there], terms[there]


# Grids ----------------------------------------------------------------------------------------------------------------


def affine_grid_generator(theta: torch.Tensor, size: Sequence[int], align_corners: bool) -> torch.Tensor:
    """Pixels' places times a matrix, these places by the very operations that the backward pass makes them by again.

    aten/src/ATen/native/AffineGridGenerator.cpp, linspace_from_neg_one; PyTorch's decomposition makes others.
    """

    def along(steps: int) -> torch.Tensor:
        if steps <= 1:
            return theta.new_zeros(1)
        places = torch.linspace(-1, 1, steps, dtype=theta.dtype, device=theta.device)
        return places if align_corners else places * (steps - 1) / steps

    batch, _, *image = size
    places = [along(n).reshape([n if k == axis else 1 for k in range(len(image))]) for axis, n in enumerate(image)]
    base = torch.stack([*(x.expand(image) for x in reversed(places)), theta.new_ones(image)], -1)
    n = len(image)
    grid = base.reshape(1, -1, n + 1).expand(batch, -1, -1) @ theta.transpose(1, 2)
    return grid.reshape(batch, *image, n)


# Rules ----------------------------------------------------------------------------------------------------------------


def _nearest(of: _Sampling) -> Ids:
    """The flat pixel in a plane that each point took, −1 where there is none: as the kernel itself moves numbers."""
    c, plane = of.c, math.prod(of.size)
    grid = c.value(c["grid"])
    count = np.arange(1, plane + 1)
    digits = [(count // BASE**k) % BASE for k in range(max(1, math.ceil(math.log(plane + 1, BASE) + 0.01)))]
    image = torch.from_numpy(np.stack(digits).reshape(1, len(digits), *of.size)).to(grid)
    image = image.expand(grid.shape[0], *image.shape[1:])
    kernel = getattr(torch.ops.aten, f"grid_sampler_{of.n}d").default
    seen = numbers(kernel(image, grid, NEAREST, of.padding, of.aligned)).reshape(grid.shape[0], len(digits), -1)
    found = (seen * BASE ** np.arange(len(digits))[:, None]).sum(1).astype(np.int64).reshape(-1) - 1
    taken = np.stack(np.unravel_index(np.maximum(found, 0), of.size))
    for axis in range(of.n):
        x, _ = of.places(axis)
        whole = np.where(found >= 0, taken[axis], np.rint(of.record.held[x]))
        of.record.cut("round", x, whole.astype(np.float64))
    return np.asarray(found)


def _sampled(n: int) -> Rule:
    def rule(c: Call) -> Results:
        of = _Sampling(c, n)
        shape = (c.shape[0], -1, c.shape[1])
        if of.mode == NEAREST:
            at = _nearest(of)
            found = np.where(at[:, None] >= 0, of.planes[of.batch, :, np.maximum(at, 0)], ZERO)
            return np.moveaxis(found.reshape(shape), 2, 1).reshape(c.shape)

        def definition() -> list[Ids]:
            found = np.full((len(of.grid), c.shape[1]), ZERO, np.int64)
            for group in of.groups():
                found[group.points] = group.interpolated()
            return [np.moveaxis(found.reshape(shape), 2, 1).reshape(c.shape)]

        return as_kernel(c, definition)

    return rule


def _sampled_backward(n: int) -> Rule:
    def rule(c: Call) -> Results:
        of = _Sampling(c, n)
        g = c.operand("grad_output")
        g = np.moveaxis(g.reshape(*g.shape[:2], -1), 1, 2).reshape(len(of.grid), -1)
        by_image, by_grid = c["output_mask"]
        if of.mode == NEAREST:
            at = _nearest(of)
            channels, plane = of.planes.shape[1:]
            lead = (of.batch[:, None] * channels + np.arange(channels)) * plane
            there = np.broadcast_to(at[:, None] >= 0, g.shape)
            images = [_added(of, [((lead + at[:, None])[there], g[there])])] if by_image else []
            grids = [np.full(c["grid"].shape, ZERO, np.int64)] if by_grid else []
            return [*images, *grids]

        def definition() -> list[Ids]:
            found, terms = np.full(of.grid.shape, ZERO, np.int64), []
            for group in of.groups():
                by = g[group.points]
                if by_image:
                    terms.append(group.by_image(by))
                for axis in range(n) if by_grid else ():
                    slope = group.either(partial(group.by_place, axis=axis, g=by))
                    found[group.points, n - 1 - axis] = of.do("multiply", slope, group.slopes[axis])
            images = [_added(of, terms)] if by_image else []
            return [*images, *([found.reshape(c["grid"].shape)] if by_grid else [])]

        return as_kernel(c, definition)

    return rule


def _added(of: _Sampling, terms: Sequence[tuple[Ids, Ids]]) -> Ids:
    """Zeros with numbers added at flat places."""
    base = np.full(of.image.size, ZERO, np.int64)
    places, added = (np.concatenate([np.zeros(0, np.int64), *(t[k] for t in terms)]) for k in (0, 1))
    flat, several, rows = collected(base, places, added)
    if several.size:
        flat[several] = of.record.sop(rows, None, of.format)
    return flat.reshape(of.image.shape)


SAMPLING_RULES: dict[str, Rule] = {
    **{f"grid_sampler_{n}d": _sampled(n) for n in (2, 3)},
    **{f"grid_sampler_{n}d_backward": _sampled_backward(n) for n in (2, 3)},
}
