"""L-BFGS: right ones are not accused, with pairs of either curvature, and each fault is named by its equation."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch
from tests_support import benchmark
from torch import optim

import gradconform as gc
from gradconform.conformance.updates import check_update
from gradconform.conformance.verify_update import UpdateReport

benchmark("wrong_beside")  # which it imports
wrong = benchmark("wrong_lbfgs")
WEIGHTS, GRADIENTS = wrong.drawn(wrong.SHAPES, 6)
#: What a right one may be called: where few digits of a direction are left that is said, and is no accusation.
UNACCUSED = {"conforms", "ill-conditioned", "vacuous"}
#: The faults that are asked here; the benchmark asks all.
NAMED = ("the first step without min(1, 1/‖g‖₁)", "the gradient for y", "the oldest pair not dropped",
         "a pair of negative curvature kept", "ρ without reciprocal", "γ of the oldest pair", "β added",
         "the gradient before not kept")  # fmt: skip


def of_torch(make: Any, dtype: str = "float32", gradients: Any = GRADIENTS, **more: Any) -> UpdateReport:
    given = [[torch.tensor(g) for g in gs] for gs in gradients]
    return gc.verify_update(make, [torch.tensor(w) for w in WEIGHTS], given, dtype=dtype, **more)


def lbfgs(parameters: Any, **more: Any) -> optim.LBFGS:
    return optim.LBFGS(parameters, **{"lr": 0.5, "max_iter": 1, "history_size": 2, **more})


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "bfloat16"])
def test_pytorchs_is_not_accused_in_any_dtype(dtype: str) -> None:
    report = of_torch(lbfgs, dtype)
    assert set(report.table.verdict) <= UNACCUSED, report
    assert (report.formula, report.rule) == ("right", "lbfgs")


def test_a_pair_of_negative_curvature_is_left_out_and_the_others_are_kept() -> None:
    parameters = [torch.nn.Parameter(torch.tensor(w)) for w in WEIGHTS]
    optimizer, kept = lbfgs(parameters, history_size=9), []
    for gs in GRADIENTS:
        for p, g in zip(parameters, gs, strict=True):
            p.grad = torch.tensor(g)
        optimizer.step(lambda: torch.zeros(()))  # type: ignore[arg-type, return-value]
        kept.append(len(optimizer.state[parameters[0]]["ro"]))
    assert kept[:3] == [0, 1, 1]
    assert kept[-1] > 2
    assert of_torch(partial(lbfgs, history_size=9))


def test_where_it_stops_by_a_tolerance_nothing_moves() -> None:
    zero = [0 * g for g in GRADIENTS[0]]
    stopped = of_torch(lbfgs, gradients=[zero, GRADIENTS[0], zero, GRADIENTS[1]])
    assert stopped, stopped
    assert stopped.rule == "skipped, lbfgs"
    flat = of_torch(partial(lbfgs, tolerance_change=1e6), gradients=GRADIENTS[:2])
    assert flat, flat
    values = flat.table.value[flat.table.quantity == "w_new"]
    assert set(np.float32(values)) <= set(np.concatenate([np.ravel(w) for w in WEIGHTS]).astype(np.float32))


def test_a_schedule_sets_its_rate() -> None:
    def make(parameters: Any) -> Any:
        optimizer = lbfgs(parameters)
        return optimizer, optim.lr_scheduler.ExponentialLR(optimizer, 0.9)

    report = of_torch(make, gradients=GRADIENTS[:3])
    assert report, report
    values = report.table.value[report.table.quantity == "a_new"]
    assert values.tolist()[1:] == pytest.approx([0.45, 0.405])


def test_a_history_above_the_size_of_a_block_is_judged_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check_update, "BLOCK", 8)
    report = of_torch(lbfgs, gradients=GRADIENTS[:2])
    assert report, report


def test_optax_is_not_accused() -> None:
    weights = [jnp.asarray(w, jnp.float32) for w in WEIGHTS]
    make = optax.lbfgs(0.5, memory_size=2, linesearch=None, scale_init_precond=False)
    report = gc.verify_update(make, weights, GRADIENTS[:2], dtype="float32", routes="jit")
    assert report, report
    assert report.rule == "lbfgs"


@pytest.mark.parametrize(
    "fault", [f for f in wrong.FAULTS if f.name.removeprefix("L-BFGS: ") in NAMED], ids=lambda f: f.name
)
def test_a_fault_is_caught_by_the_equation_that_is_wrong(fault: Any) -> None:
    report = fault.report("float32")
    first = next(f for f in report.findings if f.judgement.verdict == "deviates")
    assert first.quantity == fault.quantity, report


def test_a_fault_of_optax_is_caught_by_its_equation() -> None:
    report = wrong.of_optax("float32", "without γ", 1)
    assert [f.quantity for f in report.findings if f.judgement.verdict == "deviates"] == ["w_new"]


def test_one_written_out_without_a_fault_is_not_accused() -> None:
    assert wrong.of_torch("float32")


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (
            partial(lbfgs, line_search_fn="strong_wolfe"),
            "line_search_fn='strong_wolfe': .*; expected line_search_fn=N",
        ),
        (optim.LBFGS, r"max_iter=20: expected LBFGS\(…, max_iter=1\)"),
    ],
)
def test_what_is_not_one_update_is_refused(make: Any, said: str) -> None:
    with pytest.raises(gc.BadInput, match=said):
        of_torch(make)


def test_a_line_search_of_optax_and_weights_of_several_dtypes_are_refused() -> None:
    with pytest.raises(gc.BadInput, match=r"linesearch: .* expected optax\.lbfgs\(…, linesearch=None\)"):
        gc.verify_update(optax.lbfgs(0.1), [jnp.asarray(WEIGHTS[1])], [[GRADIENTS[0][1]]])
    with pytest.raises(gc.BadInput, match=r"torch\.float32, torch\.float64; expected one dtype"):
        gc.verify_update(lbfgs, [torch.ones(2), torch.ones(2, dtype=torch.float64)], [[torch.ones(2)] * 2])
