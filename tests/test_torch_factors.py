"""Factors of matrices, windows of fractions, sums, angles and mantissas of PyTorch: right programs, wrong gradients."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
import torch
import torch.nn.functional as F
from programs_torch import with_gradients_of
from torch import Tensor

import gradconform as gc

Program = Callable[..., Tensor]

pytestmark = pytest.mark.filterwarnings("ignore:torch.(lu|cholesky|triangular_solve)")


def matrix(*shape: int) -> Tensor:
    """One that no exchange of rows leaves as it is."""
    count = torch.Size(shape).numel()
    return ((torch.arange(count) * 37 % 61).double() / 16 - 1.75).reshape(shape) + torch.eye(*shape[-2:]).flip(-1) * 3


def numbers(*shape: int) -> Tensor:
    count = torch.Size(shape).numel()
    return ((torch.arange(count) * 29 % 47).double() / 16 - 1.4).reshape(shape)


def positive(size: int) -> Tensor:
    return numbers(size, size) @ numbers(size, size).mT + torch.eye(size)


def solved_by_factors(left: bool, adjoint: bool) -> Program:
    def f(a: Tensor, b: Tensor) -> Tensor:
        factors, pivots = torch.linalg.lu_factor(a)
        return torch.linalg.lu_solve(factors, pivots, b, left=left, adjoint=adjoint)

    return f


def parts(a: Tensor) -> Tensor:
    _, lower, upper = torch.linalg.lu(a)
    return torch.cat([lower.flatten(), upper.flatten()])


def unpacked(a: Tensor) -> Tensor:
    _, lower, upper = torch.lu_unpack(*torch.linalg.lu_factor(a))
    return torch.cat([lower.flatten(), upper.flatten()])


def turned(left: bool, transpose: bool) -> Program:
    return lambda a, tau, x: torch.ormqr(a, tau, x, left=left, transpose=transpose)


SAMPLES = torch.tensor([[[0.3, 0.7], [0.6, 0.1]]], dtype=torch.float64)


def fractions(x: Tensor) -> Tensor:
    return F.fractional_max_pool2d(x, 2, output_size=(3, 2), _random_samples=SAMPLES.to(x))


def fractions_in_space(x: Tensor) -> Tensor:
    samples = torch.tensor([[[0.3, 0.7, 0.5]]]).to(x)
    return F.fractional_max_pool3d(x, 2, output_size=(1, 3, 2), _random_samples=samples)


def normed(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    mean, var = torch.zeros(2, dtype=x.dtype), torch.ones(2, dtype=x.dtype)
    return torch.ops.aten._batch_norm_with_update(x, weight, bias, mean, var, 0.1, 1e-5)[0]  # type: ignore[no-any-return]


def normed_in_use(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    mean, var = torch.full((2,), 0.25, dtype=x.dtype), torch.full((2,), 1.5, dtype=x.dtype)
    legit = torch.ops.aten._native_batch_norm_legit
    return legit(x, weight, bias, mean, var, False, 0.1, 1e-5)[0]  # type: ignore[no-any-return]


def multilabel(x: Tensor) -> Tensor:
    return F.multilabel_margin_loss(x, torch.tensor([[2, 0, -1, 1], [1, -1, 3, 0]]), reduction="mean")


PROGRAMS: dict[str, tuple[Program, Sequence[Tensor]]] = {
    "linalg.lu": (parts, [matrix(3, 3)]),
    "linalg.lu of a wide matrix": (parts, [matrix(2, 4)]),
    "linalg.lu of a tall matrix": (parts, [matrix(4, 2)]),
    "lu_unpack": (unpacked, [matrix(2, 3, 3)]),
    **{
        f"lu_solve {left} {adjoint}": (solved_by_factors(left, adjoint), [matrix(3, 3), numbers(3, 3)])
        for left in (True, False)
        for adjoint in (True, False)
    },
    "solve on the right": (lambda a, b: torch.linalg.solve(a, b, left=False), [matrix(3, 3), numbers(2, 3)]),
    "solve with one right side": (torch.linalg.solve, [matrix(2, 3, 3), numbers(3, 2)]),
    "cholesky": (torch.cholesky, [positive(3)]),
    "triangular_solve": (
        lambda b, a: torch.triangular_solve(b, a)[0],
        [numbers(3, 2), matrix(3, 3) + 3 * torch.eye(3)],
    ),
    "triangular_solve of the transpose": (
        lambda b, a: torch.triangular_solve(b, a, upper=False, transpose=True)[0],
        [numbers(3, 2), matrix(3, 3) + 3 * torch.eye(3)],
    ),
    "householder_product": (torch.linalg.householder_product, [numbers(4, 3), numbers(3)]),
    **{
        f"ormqr {left} {transpose}": (turned(left, transpose), [numbers(3, 2), numbers(2), numbers(3, 3)])
        for left in (True, False)
        for transpose in (True, False)
    },
    "adaptive_max_pool3d": (lambda x: F.adaptive_max_pool3d(x, (2, 3, 1)), [numbers(1, 3, 4, 2)]),
    "fractional_max_pool2d": (fractions, [numbers(1, 2, 5, 4)]),
    "fractional_max_pool3d": (fractions_in_space, [numbers(1, 1, 4, 5, 5)]),
    "multilabel_margin_loss": (multilabel, [numbers(2, 4)]),
    "multilabel_margin_loss of a row": (
        lambda x: F.multilabel_margin_loss(x, torch.tensor([2, 0, -1, 1]), reduction="sum"),
        [numbers(4)],
    ),
    "addbmm": (torch.addbmm, [numbers(3, 4), numbers(5, 3, 4) * 3, numbers(5, 4, 4)]),
    "addr": (torch.addr, [numbers(5, 6), numbers(5) * 3, numbers(6)]),
    "addr by factors": (
        lambda x, a, b: torch.addr(x, a, b, beta=0.3, alpha=0.7),
        [numbers(4, 3), numbers(4), numbers(3)],
    ),
    "batch_norm_with_update": (normed, [numbers(4, 2, 3), numbers(2) + 3, numbers(2)]),
    "batch_norm_legit in use": (normed_in_use, [numbers(4, 2, 3), numbers(2) + 3, numbers(2)]),
    "angle": (lambda x: torch.angle(x) * x, [numbers(4)]),
    "frexp": (lambda x: torch.frexp(x)[0] * x, [numbers(5) * 8]),
    "vector_norm of one number by powers": (lambda x: torch.linalg.vector_norm(x, 6, dim=-1), [numbers()]),
}
#: Of which PyTorch has kernels in 16 bits.
NARROW = ("adaptive_max_pool3d", "fractional_max_pool2d", "fractional_max_pool3d", "angle", "frexp",
          "addbmm", "addr", "addr by factors", "batch_norm_with_update", "batch_norm_legit in use")  # fmt: skip


@pytest.mark.parametrize("name", PROGRAMS)
def test_factors_windows_and_parts_of_numbers_conform(name: str) -> None:
    f, given = PROGRAMS[name]
    for dtype in (torch.float64, torch.float32, *([torch.bfloat16] if name in NARROW else [])):
        report = gc.verify(f, *(x.to(dtype) for x in given))
        assert (report.verdict, report.formula) == ("conforms", "right"), f"{dtype}: {report}"


@pytest.mark.parametrize("name", ["linalg.lu", "lu_unpack", "lu_solve True False", "lu_solve False True", "cholesky",
                                  "solve on the right", "triangular_solve", "householder_product", "ormqr True False",
                                  "ormqr False True", "adaptive_max_pool3d", "fractional_max_pool2d",
                                  "fractional_max_pool3d", "multilabel_margin_loss", "angle", "frexp",
                                  "addbmm", "addr", "batch_norm_with_update"])  # fmt: skip
def test_their_gradients_off_by_a_thousandth_deviate(name: str) -> None:
    f, given = PROGRAMS[name]

    report = gc.verify(with_gradients_of(f, f, 1 + 2.0**-10), *given)
    assert (report.verdict, report.formula) == ("deviates", "wrong"), str(report)


def test_a_pseudoinverse_that_leaves_out_singular_values_is_not_recorded() -> None:
    a = torch.diag(torch.tensor([2.0, 1.0, 0.125]))
    assert gc.verify(lambda a: torch.linalg.pinv(a, rtol=0.01), a).verdict == "conforms"
    with pytest.raises(gc.BadInput, match="leaves out singular values"):
        gc.verify(lambda a: torch.linalg.pinv(a, rtol=0.1), a)
