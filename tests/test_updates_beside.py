"""Rules of whole tensors, and what stands beside an optimizer: right ones are not accused, each fault is named."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch
from tests_support import benchmark
from torch import optim
from torch.amp import GradScaler
from torch.nn.utils import clip_grad_norm_, clip_grad_value_
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn, get_swa_multi_avg_fn

import gradconform as gc
from gradconform.conformance.verify_update import UpdateReport

beside = benchmark("wrong_beside")
DTYPES = ("float64", "float32", "float16", "bfloat16")
#: What a right one may be called: where few digits of a step are left that is said, and is no accusation.
UNACCUSED = {"conforms", "ill-conditioned"}
RANDOM = np.random.default_rng(0)
WEIGHTS = [RANDOM.normal(size=s) for s in ((3, 4), (6,))]
GRADIENTS = [[RANDOM.normal(size=w.shape) * 4**k for w in WEIGHTS] for k in (-1, 1)]


def of_torch(make: Callable[[Any], Any], dtype: str = "float32", weights: Any = WEIGHTS, gradients: Any = GRADIENTS,
             **more: Any) -> UpdateReport:  # fmt: skip
    given = [[torch.tensor(g) for g in gs] for gs in gradients]
    return gc.verify_update(make, [torch.tensor(w) for w in weights], given, dtype=dtype, **more)


def of_optax(make: Any, dtype: str = "float32", tensors: slice = slice(None)) -> UpdateReport:
    weights = [jnp.asarray(w, jnp.float32) for w in WEIGHTS[tensors]]
    return gc.verify_update(make, weights, [gs[tensors] for gs in GRADIENTS], dtype=dtype)


def modelled(parameters: Any) -> torch.nn.ParameterList:
    return torch.nn.ParameterList(parameters)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "make",
    [
        partial(clip_grad_norm_, max_norm=1.0, foreach=False),
        partial(clip_grad_norm_, max_norm=1.0, foreach=True),
        partial(clip_grad_norm_, max_norm=1.0, norm_type=math.inf),
        partial(clip_grad_value_, clip_value=0.5),
        lambda p: AveragedModel(modelled(p), multi_avg_fn=get_ema_multi_avg_fn(0.8)),
        lambda p: AveragedModel(modelled(p)),
        lambda p: optim.Adafactor(p, lr=0.1, weight_decay=0.1),
        lambda p: optim.Adafactor(p, foreach=True, maximize=True),
    ],
)
def test_what_pytorch_has_beside_its_optimizers_is_not_accused(make: Any, dtype: str) -> None:
    report = of_torch(make, dtype)
    assert set(report.table.verdict) <= UNACCUSED, report
    assert report.formula == "right"


@pytest.mark.parametrize(
    ("make", "dtype"),
    [
        (optax.lamb(0.1, weight_decay=0.1), "bfloat16"),
        (optax.lars(0.1, weight_decay=0.1, nesterov=True), "float16"),
        (optax.adafactor(0.1, min_dim_size_to_factor=2, weight_decay_rate=0.1), "float32"),
        (optax.chain(optax.clip(0.5), optax.sgd(0.1, momentum=0.9)), "float32"),
    ],
)
def test_transformations_of_whole_tensors_are_not_accused(make: Any, dtype: str) -> None:
    report = of_optax(make, dtype, slice(1))
    assert set(report.table.verdict) <= UNACCUSED, report


@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16"])
def test_muon_keeps_no_digits_that_balls_can_vouch_for_and_is_not_accused(dtype: str) -> None:
    report = of_torch(lambda p: optim.Muon(p), dtype, WEIGHTS[:1], [GRADIENTS[0][:1]])
    assert (report.formula, report.execution, report.accuracy) == ("right", "within", "vacuous")


def test_two_steps_of_muon_s_iteration_in_float32_conform() -> None:
    report = of_optax(optax.contrib.muon(0.1, ns_steps=2))
    assert report, report
    assert report.rule == "muon, nadam"  # the vector is Adam's, with Nesterov's


def two_of_each() -> Iterator[Any]:
    taken = Counter[str]()
    for fault in beside.FAULTS:
        taken[of := fault.name.partition(":")[0]] += 1
        if taken[of] <= 2:
            yield fault


@pytest.mark.parametrize("fault", list(two_of_each()), ids=lambda f: f.name)
def test_a_fault_is_caught_by_the_equation_that_is_wrong(fault: Any) -> None:
    report = fault.report("float32")
    first = next(f for f in report.findings if f.judgement.verdict == "deviates")
    assert first.quantity == fault.quantity, report


@pytest.mark.parametrize("right", beside.RIGHT, ids=lambda f: f.name)
def test_the_same_without_a_fault_is_not_accused(right: Any) -> None:
    assert right.report("float32").verdict != "deviates"


def test_an_update_of_a_gradient_that_is_not_finite_is_left_out_and_the_scale_is_halved() -> None:
    gradients = [[w * 1024 for w in WEIGHTS] for _ in range(3)]
    gradients[1][0] = np.where(WEIGHTS[0] > 1, np.inf, WEIGHTS[0])
    report = of_torch(lambda p: (optim.Adam(p), GradScaler("cpu", init_scale=1024.0)), gradients=gradients)
    second = report.table[report.table["update"] == 2]
    assert set(second.quantity) == {"g_new", "m_new", "v_new", "w_new", "s_new", "count_new"}
    assert set(second.verdict[second.quantity != "g_new"]) == {"conforms"}
    assert second.value[second.quantity == "s_new"].tolist() == [512.0]
    assert report.rule == "unscale, adam, loss_scale, skipped"


@pytest.mark.parametrize(
    ("of", "settings"),
    [
        (optim.lr_scheduler.StepLR, {"step_size": 2, "gamma": 0.7}),
        (optim.lr_scheduler.ExponentialLR, {"gamma": 0.9}),
        (optim.lr_scheduler.LinearLR, {"start_factor": 0.1, "total_iters": 3}),
        (optim.lr_scheduler.CosineAnnealingLR, {"T_max": 3, "eta_min": 0.01}),
    ],
)
def test_a_schedule_gives_the_rate_of_its_closed_form_after_each_update(of: Any, settings: Any) -> None:
    def make(parameters: Any) -> Any:
        optimizer = optim.SGD(parameters, lr=0.1)
        return optimizer, of(optimizer, **settings)

    report = of_torch(make, gradients=GRADIENTS * 3)
    assert report, report
    rates = report.table[report.table.quantity == "eta_new"]
    assert len(rates) == 6
    assert rates.certified_bits.min() > 40


def test_a_schedule_without_a_rule_says_what_the_rate_is() -> None:
    def make(parameters: Any) -> Any:
        optimizer = optim.SGD(parameters, lr=0.1)
        return optimizer, optim.lr_scheduler.LambdaLR(optimizer, lambda t: 1 / (t + 1))

    report = of_torch(make)
    assert report, report
    assert set(report.table.quantity) == {"w_new"}


def test_what_goes_with_an_optimizer_and_is_none_of_these_is_told() -> None:
    with pytest.raises(gc.BadInput, match="make gave a int with the optimizer; expected a GradScaler, an LRScheduler"):
        of_torch(lambda p: (optim.SGD(p, lr=0.1), 3))


def test_a_route_of_what_is_no_optimizer_is_told() -> None:
    with pytest.raises(gc.BadInput, match="route 'foreach': partial is none of PyTorch's own optimizers"):
        of_torch(partial(clip_grad_value_, clip_value=1.0), routes="foreach")
    weights = [jnp.asarray(WEIGHTS[1], jnp.float32)]
    with pytest.raises(gc.BadInput, match=r"route 'jit': optax\.incremental_update is a function"):
        gc.verify_update(partial(optax.incremental_update, step_size=0.1), weights, [[WEIGHTS[1]]], routes="jit")


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_averages_of_optax_are_not_accused_and_an_exchanged_one_is(dtype: str) -> None:
    rule = partial(optax.incremental_update, step_size=0.1)
    weights, given = [jnp.asarray(WEIGHTS[1])], [[g[1]] for g in GRADIENTS]
    assert gc.verify_update(rule, weights, given, dtype=dtype)
    exchanged = gc.verify_update(lambda new, old: [0.9 * new[0] + 0.1 * old[0]], weights, given, dtype=dtype, rule=rule)
    assert exchanged.culprits == ("a_new = s·w + (1 − s)·a ([0], update 1)",)
    assert of_optax(optax.chain(optax.ema(0.9), optax.scale(-0.1)), dtype).verdict in UNACCUSED


def test_float16_gradients_are_not_unscaled_which_is_told() -> None:
    with pytest.raises(gc.BadInput, match="unscale_ raised ValueError: Attempting to unscale FP16 gradients"):
        of_torch(lambda p: (optim.SGD(p, lr=0.1), GradScaler("cpu")), "float16")


def test_a_norm_of_an_order_without_a_rule_is_told() -> None:
    with pytest.raises(gc.BadInput, match="norm_type=3: expected 2 or inf"):
        of_torch(partial(clip_grad_norm_, max_norm=1.0, norm_type=3))
    with pytest.raises(gc.BadInput, match="clip_grad_norm_: missing a required argument: 'max_norm'"):
        of_torch(partial(clip_grad_norm_))


@pytest.mark.parametrize(
    ("make", "dtype", "id", "pin"),
    [
        (lambda p: AveragedModel(modelled(p), multi_avg_fn=get_swa_multi_avg_fn()), "float64",
         "torch-swa-mean-float32", "2.13."),
        (lambda p: (optim.SGD(p, lr=0.1), GradScaler("cpu", init_scale=1000.0)), "float64",
         "torch-unscale-float32", "2.13."),
    ],
)  # fmt: skip
def test_a_float32_factor_in_float64_is_known(make: Any, dtype: str, id: str, pin: str) -> None:
    if not torch.__version__.startswith(pin):
        pytest.skip(f"of PyTorch {pin}")
    report = of_torch(make, dtype, gradients=[*GRADIENTS, GRADIENTS[0]])
    assert report.verdict == "deviates"
    assert f"known:{id}" in str(report)


@pytest.mark.skipif(optax.__version__ != "0.2.8", reason="of optax 0.2.8")
def test_the_decay_of_adafactor_is_float32_in_float64_which_is_known() -> None:
    make = optax.adafactor(clipping_threshold=None, multiply_by_parameter_scale=False)
    report = of_optax(make, "float64", slice(1, 2))
    assert {f.quantity for f in report.findings if f.judgement.verdict == "deviates"} == {"v_new"}
    assert "known:optax-adafactor-float32-decay" in str(report)


@pytest.mark.skipif(not torch.__version__.startswith("2.13."), reason="https://github.com/pytorch/pytorch/pull/194664")
def test_muon_without_nesterov_normalises_its_own_momentum_in_bfloat16_which_is_known() -> None:
    def make(p: Any) -> optim.Optimizer:
        return optim.Muon(p, lr=0.1, nesterov=False)

    assert of_torch(make, "float32", WEIGHTS[:1], [GRADIENTS[0][:1]]).verdict != "deviates"
    report = of_torch(make, "bfloat16", WEIGHTS[:1], [GRADIENTS[0][:1]])
    assert {f.quantity for f in report.findings if f.judgement.verdict == "deviates"} == {"b_new"}
    assert "known:torch-muon-momentum-bfloat16" in str(report)


def test_a_decayed_float64_weight_is_judged_by_every_form_before_it_is_called_wrong() -> None:
    random = np.random.default_rng(2)
    w, g = random.normal(size=(30, 20)), random.normal(size=(30, 20)) * 0.1
    assert of_torch(optim.AdamW, "float64", [w], [[g]])
