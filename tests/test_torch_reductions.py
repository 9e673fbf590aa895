"""Numbers that are reduced where an index says: right programs, wrong gradients of them, and PyTorch's own faults."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import pytest
import torch
import torch.nn.functional as F
from programs_torch import with_gradients_of
from torch import Tensor

import gradconform as gc

DTYPES = [torch.float64, torch.float32, torch.bfloat16]
INDEX = torch.tensor([[0, 2, 0], [0, 1, 1], [0, 2, 0], [1, 2, 2]])
ROWS, BAGS = torch.tensor([0, 3, 1, 3, 2, 0]), torch.tensor([0, 2, 2, 5])
LENGTHS = torch.tensor([2, 1, 3])
Program = Callable[..., Tensor]

pytestmark = pytest.mark.filterwarnings("ignore:index_reduce")


def numbers(*shape: int) -> Tensor:
    """No two of them equal, and none of them 0."""
    count = torch.Size(shape).numel()
    return ((torch.arange(count) * 37 % 61).double() / 16 - 1.7).reshape(shape)


def ties(*shape: int) -> Tensor:
    count = torch.Size(shape).numel()
    return (torch.arange(count) * 7 % 4).double().reshape(shape)


def scattered(reduce: str, include_self: bool = True) -> Program:
    return lambda x, source: x.scatter_reduce(0, INDEX, source, reduce, include_self=include_self)


def indexed(reduce: str, include_self: bool = True) -> Program:
    return lambda x, source: x.index_reduce(0, torch.tensor([0, 0, 2, 0]), source, reduce, include_self=include_self)


def in_segments(reduce: str, initial: float | None = None) -> Program:
    return lambda x: torch.segment_reduce(x, reduce, lengths=LENGTHS, axis=0, initial=initial)


def in_bags(mode: str, padding: int | None = None) -> Program:
    def bags(weight: Tensor, *factors: Tensor) -> Tensor:
        factor = factors[0] if factors else None
        return F.embedding_bag(ROWS, weight, BAGS, mode=mode, padding_idx=padding, per_sample_weights=factor)

    return bags


PROGRAMS: dict[str, tuple[Program, Sequence[Tensor]]] = {
    **{
        f"{name} {reduce} {include_self}": (program(reduce, include_self), [numbers(3, 3), numbers(4, 3) + 0.03])
        for name, program in (("scatter_reduce", scattered), ("index_reduce", indexed))
        for reduce, include_self in itertools.product(("sum", "mean", "prod", "amax", "amin"), (True, False))
        if (name, reduce) != ("index_reduce", "sum")
    },
    **{
        f"segment_reduce {reduce} {initial}": (in_segments(reduce, initial), [numbers(6, 2)])
        for reduce, initial in itertools.product(("sum", "mean", "prod", "max", "min"), (None, 1.25))
    },
    "segment_reduce prod of a 0": (in_segments("prod"), [torch.tensor([2.0, 3, 5, 0, 3, -1])]),
    **{
        f"embedding_bag {mode} {padding}": (in_bags(mode, padding), [numbers(4, 3)])
        for mode, padding in itertools.product(("sum", "mean", "max"), (None, 3))
    },
    **{
        f"embedding_bag with weights {padding}": (in_bags("sum", padding), [numbers(4, 3), numbers(6)])
        for padding in (None, 3)
    },
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_what_is_reduced_by_an_index_conforms(name: str) -> None:
    f, given = PROGRAMS[name]
    for dtype in DTYPES:
        report = gc.verify(f, *(x.to(dtype) for x in given))
        assert (report.verdict, report.formula) == ("conforms", "right"), f"{dtype}: {report}"


@pytest.mark.parametrize(
    ("f", "given"),
    [
        (scattered("amax"), [ties(3, 3), ties(4, 3)]),
        (indexed("amin"), [ties(3, 3), ties(4, 3)]),
        (scattered("prod"), [ties(3, 3), ties(4, 3)]),
        (in_bags("max"), [ties(4, 3)]),
    ],
    ids=["scatter_reduce amax", "index_reduce amin", "scatter_reduce prod", "embedding_bag max"],
)
def test_equal_numbers_and_zeros_that_are_reduced_conform(f: Program, given: list[Tensor]) -> None:
    report = gc.verify(f, *given)
    assert report.verdict == "conforms", str(report)


WRONG = {
    "a mean without its self": (scattered("mean"), scattered("mean", False), PROGRAMS["scatter_reduce mean True"][1]),
    "a sum for a mean": (indexed("mean"), lambda x, s: x.index_add(0, torch.tensor([0, 0, 2, 0]), s),
                         PROGRAMS["scatter_reduce mean True"][1]),
    "the least for the largest": (indexed("amax"), indexed("amin"), PROGRAMS["scatter_reduce amax True"][1]),
    "a product of its self alone": (scattered("prod"), scattered("sum"), PROGRAMS["scatter_reduce prod True"][1]),
    "segments' sum for a mean": (in_segments("mean"), in_segments("sum"), [numbers(6, 2)]),
    "segments' other product": (in_segments("prod", 1.25), in_segments("prod"), [numbers(6, 2)]),
    "segments' other extreme": (in_segments("max"), in_segments("min"), [numbers(6, 2)]),
    "bags' sum for a mean": (in_bags("mean"), in_bags("sum"), [numbers(4, 3)]),
    "bags' padding": (in_bags("sum", 3), in_bags("sum"), [numbers(4, 3), numbers(6)]),
    "bags' mean for the largest": (in_bags("max"), in_bags("mean"), [numbers(4, 3)]),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_gradients_of_another_reduction_deviate(name: str) -> None:
    f, other, given = WRONG[name]
    report = gc.verify(with_gradients_of(f, other), *given)
    assert (report.verdict, report.formula) == ("deviates", "wrong"), str(report)


def test_what_is_not_included_takes_a_share_of_the_gradient_in_pytorch() -> None:
    def f(source: Tensor) -> Tensor:
        return torch.zeros(2).scatter_reduce(0, torch.tensor([0, 1, 1]), source, "amax", include_self=False)

    assert gc.verify(f, torch.tensor([1.0, 0.5, -1])).verdict == "conforms"
    report = gc.verify(f, torch.tensor([1.0, 0.0, -1]))
    assert (report.verdict, report.formula) == ("deviates", "wrong"), str(report)


def test_rows_that_no_index_reads_get_a_gradient_in_pytorch() -> None:
    source = torch.tensor([[3.0, 5], [3, 1]])
    report = gc.verify(lambda s: torch.zeros(1, 2).scatter_reduce(1, torch.tensor([[0, 1]]), s, "amax"), source)
    assert (report.verdict, report.formula) == ("deviates", "wrong"), str(report)


def test_equal_extremes_of_a_segment_each_get_all_of_a_negative_gradient_in_pytorch() -> None:
    x, lengths = torch.tensor([2.0, 2, 1]), torch.tensor([3])
    for g, execution in ((-1.0, "outside"), (1.0, "within")):
        report = gc.verify(lambda x: torch.segment_reduce(x, "max", lengths=lengths), x, cotangent=torch.tensor([g]))
        assert report.execution == execution, str(report)


def test_the_layer_that_norms_across_maps_has_another_gradient_than_its_value() -> None:
    """PyTorch's own; what it should be, `local_response_norm`, conforms."""
    x = (torch.arange(16.0, dtype=torch.float64) * 5 % 7 / 4 - 0.625).reshape(1, 4, 2, 2)
    report = gc.verify(torch.nn.CrossMapLRN2d(3, alpha=0.5), x)
    assert (report.verdict, report.formula) == ("deviates", "wrong")
    assert "CrossMapLRN2d" in report.culprits[0]
    assert gc.verify(lambda x: F.local_response_norm(x, 3, 0.5), x)
