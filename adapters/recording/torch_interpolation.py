"""What the kernels stand for that make images larger or smaller: by linear and by cubic weights."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

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
    for corner in itertools.product(range(len(along[0][0])), repeat=n):
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
