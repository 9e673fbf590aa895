"""What the kernels stand for that make images larger or smaller: by linear and by cubic weights."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from functools import reduce

import torch
from torch import Tensor

from gradconform.adapters.recording.torch_layers import wide

#: Of every output along an axis the inputs that it is made of, and their weights.
Pieces = tuple[Sequence[Tensor], Sequence[Tensor]]


def linear_backward(
    g: Tensor, output_size: list[int], input_size: list[int], align_corners: bool, *scales: float | None
) -> Tensor:
    """The adjoint of linear interpolation: every output's share to each of its corners."""
    n = len(output_size)
    factors = [*scales, *[None] * n][:n]
    along = [_corners(g, input_size[2 + a], output_size[a], align_corners, factors[a]) for a in range(n)]
    return _given_back(g, input_size, along)


def _given_back(g: Tensor, input_size: list[int], along: Sequence[Pieces]) -> Tensor:
    """Every output's share to each of the inputs that it was made of: along each axis which, and their weights."""
    n = len(along)
    lead = [torch.arange(input_size[a]).reshape(-1, *[1] * (1 + n - a)) for a in range(2)]
    places, shares = [], []
    for corner in itertools.product(*(range(len(places)) for places, _ in along)):
        share, at = wide(g), []
        for a, side in enumerate(corner):
            shape = [-1, *[1] * (n - 1 - a)]
            at.append(along[a][0][side].reshape(shape))
            share = share * along[a][1][side].reshape(shape)
        places.append(torch.broadcast_tensors(*lead, *at))  # type: ignore[no-untyped-call]
        shares.append(share)
    indices = [torch.stack([p[i] for p in places]) for i in range(2 + n)]
    found = torch.zeros(input_size, dtype=wide(g).dtype)
    return found.index_put(tuple(indices), torch.stack(shares), accumulate=True).to(g.dtype)


def cubic_backward(
    g: Tensor, output_size: list[int], input_size: list[int], align_corners: bool, *scales: float | None
) -> Tensor:
    """The adjoint of cubic interpolation: aten/src/ATen/native/UpSampleBicubic2d.cpp."""
    factors = [*scales, None, None][:2]
    return _given_back(g, input_size, [_fours(g, input_size[2 + a], output_size[a], align_corners, factors[a])
                                       for a in range(2)])  # fmt: skip


def _fours(like: Tensor, size: int, out: int, align_corners: bool, scale: float | None) -> Pieces:
    """Of every output along an axis, the four inputs about it, the last for those beyond, and their weights."""
    at = torch.arange(out, dtype=wide(like).dtype)
    if align_corners:
        source = at * ((size - 1) / (out - 1) if out > 1 else 0.0)
    else:
        source = (at + 0.5) * (1 / scale if scale else size / out) - 0.5
    below = source.floor()
    after = source - below
    before = 1 - after
    outer, inner = [_outer(after + 1), _outer(before + 1)], [_inner(after), _inner(before)]
    first = below.long()
    return [(first + k).clamp(0, size - 1) for k in (-1, 0, 1, 2)], [outer[0], inner[0], inner[1], outer[1]]


def _outer(x: Tensor) -> Tensor:
    """The weight of an input of a distance from 1 to 2: −¾·(x³ − 5x² + 8x − 4)."""
    return ((-0.75 * x + 3.75) * x - 6) * x + 3


def _inner(x: Tensor) -> Tensor:
    """Of one of a distance up to 1: 5/4·x³ − 9/4·x² + 1."""
    return (1.25 * x - 2.25) * x * x + 1


def linear(x: Tensor, output_size: list[int], align_corners: bool, *scales: float | None) -> Tensor:
    """Linear interpolation by weights, axis by axis."""
    return _interpolated(x, output_size, align_corners, scales, wide(x).dtype)


def linear_by_rounded(x: Tensor, output_size: list[int], align_corners: bool, *scales: float | None) -> Tensor:
    """The same by weights in the dtype: aten/src/ATen/native/cpu/UpSampleKernel.cpp, HelperInterpLinear."""
    return _interpolated(x, output_size, align_corners, scales, x.dtype)


def _interpolated(
    x: Tensor, output_size: list[int], align_corners: bool, scales: tuple[float | None, ...], weights: torch.dtype
) -> Tensor:
    found, factors = wide(x), [*scales, *[None] * len(output_size)]
    for a, out in reversed(list(enumerate(output_size))):
        places, (_, above) = _corners(found, found.shape[2 + a], out, align_corners, factors[a])
        above = above.to(weights).reshape([-1, *[1] * (found.ndim - 3 - a)])
        low, high = (found.index_select(2 + a, at) for at in places)
        found = low * wide(1 - above) + high * wide(above)
    return found.to(x.dtype)


def _corners(like: Tensor, size: int, out: int, align_corners: bool, scale: float | None) -> Pieces:
    """Of every output along an axis, the two inputs beside it, and their weights.

    As many as there are inputs stay where they are, whatever the scale is: aten/src/ATen/native/UpSample.h,
    compute_source_index_and_lambda. PyTorch's decomposition, which `torch.compile` takes, moves them.
    """
    at = torch.arange(out, dtype=wide(like).dtype)
    if out == size:
        return [at.long(), at.long()], [torch.ones_like(at), torch.zeros_like(at)]
    if align_corners:
        source = at * ((size - 1) / (out - 1) if out > 1 else 0.0)
    else:
        source = ((at + 0.5) * (1 / scale if scale else size / out) - 0.5).clamp(min=0)
    below = source.floor()
    weight = source - below
    low = below.long()
    return [low, (low + 1).clamp(max=size - 1)], [1 - weight, weight]


# Without aliases ------------------------------------------------------------------------------------------------------


def smoothed(cubic: bool) -> tuple[Callable[..., Tensor], Callable[..., Tensor]]:
    """The kernels of `antialias=True`, forward and backward: weights over all that an output covers, which add up to 1.

    aten/src/ATen/native/cpu/UpSampleKernel.cpp, _compute_indices_min_size_weights_aa.
    """

    def forward(x: Tensor, output_size: list[int], align_corners: bool, *scales: float | None) -> Tensor:
        found = x
        for a, pieces in reversed(list(enumerate(_covered(x, x.shape[2:], output_size, align_corners, scales, cubic)))):
            shape = [-1, *[1] * (x.ndim - 3 - a)]
            terms = (found.index_select(2 + a, at) * w.reshape(shape) for at, w in zip(*pieces, strict=True))
            found = reduce(torch.add, terms)
        return found

    def backward(
        g: Tensor, output_size: list[int], input_size: list[int], align_corners: bool, *scales: float | None
    ) -> Tensor:
        return _given_back(g, input_size, _covered(g, input_size[2:], output_size, align_corners, scales, cubic))

    return forward, backward


def _covered(
    like: Tensor, sizes: Sequence[int], outs: Sequence[int], align_corners: bool, scales: Sequence[float | None],
    cubic: bool,
) -> list[Pieces]:  # fmt: skip
    """Of every output along each axis the inputs that it covers, one more at either end, and their weights."""
    found: list[Pieces] = []
    for size, out, scale in zip(sizes, outs, [*scales, None, None], strict=False):
        ratio = 1 / scale if scale else size / out
        if align_corners:
            ratio = (size - 1) / (out - 1) if out > 1 else 0.0
        wider = max(ratio, 1.0)
        centre = (torch.arange(out, dtype=like.dtype) + 0.5) * ratio
        first = [math.floor((n + 0.5) * ratio - (2 if cubic else 1) * wider) for n in range(out)]
        places = torch.tensor(first).unsqueeze(1) + torch.arange(math.ceil((4 if cubic else 2) * wider) + 2)
        off = (places - centre.unsqueeze(1) + 0.5) * (1 / wider)
        weights = _sharp(off.abs()) if cubic else (1 - off.abs()).clamp(min=0)
        weights = torch.where((places >= 0) & (places < size), weights, torch.zeros((), dtype=like.dtype))
        weights = weights / weights.sum(1, keepdim=True)
        found.append((places.clamp(0, size - 1).unbind(1), weights.unbind(1)))
    return found


def _sharp(x: Tensor) -> Tensor:
    """Of a distance: 3/2·x³ − 5/2·x² + 1 up to 1, −½·(x³ − 5x² + 8x − 4) up to 2, and 0."""
    outer = torch.where(x < 2, ((-0.5 * x + 2.5) * x - 4) * x + 2, torch.zeros((), dtype=x.dtype))
    return torch.where(x < 1, (1.5 * x - 2.5) * x * x + 1, outer)
