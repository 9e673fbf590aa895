"""Images made larger or smaller: right kernels, wrong gradients of them, and PyTorch's own fault."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from programs_torch import with_gradients_of
from torch import Tensor

import gradconform as gc

DTYPES = [torch.float64, torch.float32, torch.bfloat16]
Program = Callable[[Tensor], Tensor]


def image(*shape: int) -> Tensor:
    count = torch.Size(shape).numel()
    return ((torch.arange(count) * 37 % 61).double() / 16 - 1.75).reshape(shape)


def resized(mode: str, **options: Any) -> Program:
    return lambda x: F.interpolate(x, mode=mode, **options)


PROGRAMS: dict[str, tuple[Program, Tensor]] = {
    "bicubic": (resized("bicubic", size=(3, 5)), image(1, 1, 2, 4)),
    "bicubic at the corners": (resized("bicubic", size=(4, 2), align_corners=True), image(1, 1, 2, 3)),
    "bicubic of a scale": (resized("bicubic", scale_factor=1.2), image(1, 1, 3, 5)),
    "nearest-exact in a line": (resized("nearest-exact", size=7), image(1, 2, 3)),
    "nearest-exact in a plane": (resized("nearest-exact", scale_factor=1.7), image(1, 2, 3, 4)),
    "nearest-exact in space": (resized("nearest-exact", size=(2, 5, 3)), image(1, 1, 3, 2, 4)),
    "trilinear": (resized("trilinear", size=(5, 3, 4)), image(1, 1, 3, 4, 3)),
    "bilinear without aliases": (resized("bilinear", size=(2, 5), antialias=True), image(1, 2, 5, 3)),
    "bicubic without aliases": (resized("bicubic", scale_factor=(0.6, 1.2), antialias=True), image(1, 1, 5, 3)),
    # As many rows as before stay where they are, whatever the scale is.
    "bilinear of a scale that leaves as many rows": (resized("bilinear", scale_factor=1.2), image(1, 1, 4, 5)),
    "linear of a scale that leaves as many": (resized("linear", scale_factor=1.2), image(1, 1, 4)),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_images_of_another_size_conform(name: str) -> None:
    f, x = PROGRAMS[name]
    for dtype in DTYPES[:2] if "aliases" in name else DTYPES:  # without them there are no kernels in 16 bits
        report = gc.verify(f, x.to(dtype))
        assert (report.verdict, report.formula) == ("conforms", "right"), f"{dtype}: {report}"


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("bicubic", resized("bilinear", size=(3, 5))),
        ("bicubic", resized("bicubic", size=(3, 5), align_corners=True)),
        ("bilinear without aliases", resized("bilinear", size=(2, 5))),
        ("bicubic without aliases", resized("bicubic", scale_factor=(0.6, 1.2))),
        ("nearest-exact in a line", resized("nearest", size=7)),
        ("nearest-exact in a plane", resized("nearest", scale_factor=1.7)),
    ],
)
def test_gradients_of_another_interpolation_deviate(name: str, other: Program) -> None:
    f, x = PROGRAMS[name]

    report = gc.verify(with_gradients_of(f, other), x)
    assert (report.verdict, report.formula) == ("deviates", "wrong"), str(report)


def test_a_cubic_image_of_the_same_size_gets_the_gradient_of_a_copy_in_pytorch() -> None:
    report = gc.verify(resized("bicubic", scale_factor=1.2), image(1, 1, 4, 4))
    assert (report.verdict, report.execution) == ("deviates", "outside"), str(report)
    assert gc.verify(resized("bicubic", size=(4, 4)), image(1, 1, 4, 4)).verdict == "conforms"
