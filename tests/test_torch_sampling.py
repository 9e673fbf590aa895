"""Images sampled at places that are numbers, too: right kernels, and wrong gradients of them."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from programs_torch import with_gradients_of
from torch import Tensor

import gradconform as gc

MODES = ("bilinear", "nearest", "bicubic")
PADDINGS = ("zeros", "border", "reflection")
Sampled = Callable[[Tensor, Tensor], Tensor]


def image(*shape: int) -> Tensor:
    """Numbers that no neighbours share."""
    count = torch.Size(shape).numel()
    return ((torch.arange(count) * 37 % 61).double() / 16 - 1.75).reshape(shape)


def places(*shape: int) -> Tensor:
    """Within the image and beyond, up to 1.4."""
    count = torch.Size(shape).numel()
    return ((torch.arange(count) * 29 % 47).double() / 17 - 1.4).reshape(shape)


def sampled(mode: str, padding: str, aligned: bool) -> Sampled:
    return lambda x, grid: F.grid_sample(x, grid, mode=mode, padding_mode=padding, align_corners=aligned)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize(("mode", "padding"), list(itertools.product(MODES, PADDINGS)))
def test_images_sampled_in_a_plane_conform(mode: str, padding: str, dtype: torch.dtype) -> None:
    aligned = padding != "border"
    given = image(2, 2, 3, 4).to(dtype), places(2, 1, 2, 2).to(dtype)
    report = gc.verify(sampled(mode, padding, aligned), *given)
    assert (report.formula, report.execution) == ("right", "within"), str(report)
    # Of cubic polynomials in bfloat16 next to nothing is left of some sums.
    assert report.verdict == "conforms" or (mode == "bicubic" and dtype is torch.bfloat16)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize(("mode", "padding"), list(itertools.product(MODES[:2], PADDINGS)))
def test_images_sampled_in_space_conform(mode: str, padding: str, dtype: torch.dtype) -> None:
    given = image(1, 2, 2, 3, 2).to(dtype), places(1, 1, 2, 2, 3).to(dtype)
    report = gc.verify(sampled(mode, padding, padding != "zeros"), *given)
    assert (report.verdict, report.formula) == ("conforms", "right"), str(report)


@pytest.mark.parametrize(
    ("mode", "padding", "formulas"),
    [("bilinear", padding, ["kink"]) for padding in PADDINGS]
    + [("nearest", "zeros", ["right"]), ("bicubic", "zeros", ["right", "kink"])],  # of cubic ones both slopes are one
)
def test_at_the_pixels_themselves_the_slopes_of_either_side_are_right(
    mode: str, padding: str, formulas: list[str]
) -> None:
    grid = F.affine_grid(torch.eye(2, 3, dtype=torch.float64)[None], [1, 1, 3, 2], align_corners=True)
    report = gc.verify(sampled(mode, padding, True), image(1, 1, 3, 2), grid)
    assert report.verdict == "conforms", str(report)
    assert report.formula in formulas


@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
def test_at_the_pixels_themselves_the_gradient_of_the_image_is_one_number(mode: str) -> None:
    grid = F.affine_grid(torch.eye(2, 3, dtype=torch.float64)[None], [1, 1, 3, 2], align_corners=True)
    f = sampled(mode, "zeros", True)
    report = gc.verify(lambda x: f(x, grid), image(1, 1, 3, 2))
    assert (report.verdict, report.formula) == ("conforms", "right"), str(report)
    report = gc.verify(lambda x: with_gradients_of(f, lambda x, grid: f(x, grid) * 0.75)(x, grid), image(1, 1, 3, 2))
    assert (report.verdict, report.formula) == ("deviates", "wrong"), str(report)


def test_a_slope_at_a_pixel_that_neither_side_has_is_wrong() -> None:
    f = sampled("bilinear", "zeros", True)

    class Steep(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, grid: Tensor) -> Tensor:
            return f(x, grid)

        @staticmethod
        def backward(ctx: Any, g: Tensor) -> tuple[None, Tensor]:  # type: ignore[override]
            return None, g[0, ..., None] * torch.tensor([slope, 0.0], dtype=torch.float64)

    x, grid = torch.tensor([[[[1.0, 2.0, 5.0]]]], dtype=torch.float64), torch.zeros(1, 1, 1, 2, dtype=torch.float64)
    for slope, formula in ((1.0, "kink"), (3.0, "kink"), (2.0, "kink"), (3.5, "wrong"), (0.5, "wrong")):
        report = gc.verify(lambda grid: Steep.apply(x, grid), grid)
        assert report.formula == formula, f"{slope}: {report}"


@pytest.mark.parametrize(
    ("of", "other"),
    [
        (("bilinear", "zeros", True), ("bilinear", "zeros", False)),
        (("bilinear", "border", False), ("bilinear", "zeros", False)),
        (("bilinear", "reflection", True), ("bilinear", "border", True)),
        (("bicubic", "reflection", False), ("bicubic", "border", False)),
        (("nearest", "zeros", True), ("bilinear", "zeros", True)),
    ],
)
def test_gradients_of_another_sampling_deviate(of: Any, other: Any) -> None:
    given = image(1, 1, 3, 4), places(1, 1, 4, 2)
    report = gc.verify(with_gradients_of(sampled(*of), sampled(*other)), *given)
    assert (report.verdict, report.formula) == ("deviates", "wrong"), str(report)


def test_gradients_of_another_sampling_in_space_deviate() -> None:
    f, other = sampled("bilinear", "border", True), sampled("bilinear", "border", False)
    report = gc.verify(with_gradients_of(f, other), image(1, 1, 2, 3, 2), places(1, 1, 2, 2, 3))
    assert (report.verdict, report.formula) == ("deviates", "wrong"), str(report)


def test_a_place_that_is_not_finite_is_not_recorded() -> None:
    grid = torch.tensor([[[[torch.nan, 0.0]]]])
    with pytest.raises(gc.BadInput, match="a place that is not finite"):
        gc.verify(sampled("bilinear", "zeros", True), torch.ones(1, 1, 2, 2), grid)


THETA = torch.tensor([[[0.875, -0.25, 0.125], [0.3125, 1.125, -0.0625]]], dtype=torch.float64)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("size", [(1, 1, 3, 4), (2, 3, 7, 2), (1, 1, 16, 15), (1, 2, 2, 5, 3)], ids=str)
@pytest.mark.parametrize("aligned", [False, True])
def test_grids_of_affine_maps_conform_and_so_does_each_of_their_operations(
    size: tuple[int, ...], aligned: bool, dtype: torch.dtype
) -> None:
    """The places of pixels are rounded as often as the framework rounds them: they are the same backward."""
    n = len(size) - 2
    theta = torch.cat([THETA, THETA.flip(1)], -1)[:, :1].repeat(size[0], n, 1)[..., : n + 1].to(dtype)
    of = lambda theta: F.affine_grid(theta, list(size), align_corners=aligned)  # noqa: E731
    report = gc.verify(of, theta)
    assert (report.formula, report.execution) == ("right", "within"), str(report)
    assert {s.execution for s in report.findings} == {"within"}, report.explain()
    wrong = with_gradients_of(of, lambda theta: 1.0625 * of(theta))
    assert gc.verify(wrong, theta).formula == "wrong"


def test_a_spatial_transformer_conforms() -> None:
    def f(x: Tensor, theta: Tensor) -> Tensor:
        grid = F.affine_grid(theta, list(x.shape), align_corners=False)
        return F.grid_sample(x, grid, align_corners=False)

    for dtype in (torch.float64, torch.float32):
        assert gc.verify(f, image(1, 2, 5, 4).to(dtype), THETA.to(dtype))
