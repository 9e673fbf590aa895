"""Updates in several dtypes: master weights, state in other dtypes than the weights, weights of different dtypes."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch
from torch import Tensor, optim

import gradconform as gc
from gradconform.conformance.verify_update import UpdateReport

WEIGHTS = np.array([0.5, -1.25, 2.0, 0.75])
GRADIENTS = [np.array([0.3, -0.7, 0.2, 1.1]), np.array([-0.4, 0.9, 0.6, -0.8]), np.array([0.5, 0.1, -0.9, 0.2])]


class Master(optim.Optimizer):
    """Adam with decoupled decay of float32 master weights, under weights of 16 bits."""

    def __init__(self, parameters: Any, lr: float = 0.1) -> None:
        settings = {"lr": lr, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.01, "amsgrad": False}
        super().__init__(parameters, {**settings, "maximize": False, "decoupled_weight_decay": True})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        for group in self.param_groups:
            for p in group["params"]:
                self.one(p, self.state[p], group)

    def one(self, p: Tensor, s: dict[str, Any], group: dict[str, Any]) -> None:
        if not s:
            s |= {"t": 0, "master": p.float()} | {n: torch.zeros_like(p.float()) for n in ("exp_avg", "exp_avg_sq")}
        s["t"] += 1
        (b1, b2), g, w = group["betas"], p.grad.float(), s["master"]
        s["exp_avg"].lerp_(g, 1 - b1)
        s["exp_avg_sq"].mul_(b2).addcmul_(g, g, value=1 - b2)
        w.mul_(1 - group["lr"] * group["weight_decay"])
        divisor = (s["exp_avg_sq"].sqrt() / (1 - b2 ** s["t"]) ** 0.5).add_(group["eps"])
        w.addcdiv_(s["exp_avg"], divisor, value=-group["lr"] / (1 - b1 ** s["t"]))
        self.round(p, w)

    def round(self, p: Tensor, w: Tensor) -> None:
        p.copy_(w)


class NotCarried(Master):
    """The master is made anew of the rounded weight in every update."""

    def one(self, p: Tensor, s: dict[str, Any], group: dict[str, Any]) -> None:
        if s:
            s["master"] = p.float()
        super().one(p, s, group)


class Truncates(Master):
    def round(self, p: Tensor, w: Tensor) -> None:
        p.copy_((w.view(torch.int32) & -65536).view(torch.float32))


class NeverRounded(Master):
    def round(self, p: Tensor, w: Tensor) -> None:
        """Leaves the weight as it is."""


class NarrowMaster(Master):
    def round(self, p: Tensor, w: Tensor) -> None:
        p.copy_(w)
        w.copy_(p)


def mastered(make: Any, dtype: str = "bfloat16", **more: Any) -> UpdateReport:
    given: dict[str, Any] = {"dtype": dtype, "rule": optim.AdamW, "master": "master", **more}
    return gc.verify_update(make, torch.tensor(WEIGHTS), [torch.tensor(g) for g in GRADIENTS], **given)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_master_weights_are_judged_by_the_rule_and_the_weights_as_these_rounded(dtype: str) -> None:
    report = mastered(Master, dtype)
    assert report, report
    dtypes = dict(zip(report.table.quantity, report.table.dtype, strict=True))
    wide = dict.fromkeys(("m_new", "v_new", "w_new"), "float32")
    assert dtypes == {**wide, "rounded_w_new": dtype}
    assert report.table[report.table.quantity == "w_new"].certified_bits.min() > 15


@pytest.mark.parametrize(
    ("make", "quantity", "update"),
    [(NotCarried, "w_new", 2), (Truncates, "rounded_w_new", 2), (NeverRounded, "rounded_w_new", 1),
     (NarrowMaster, "w_new", 1)],
)  # fmt: skip
def test_a_fault_of_master_weights_is_named_by_its_equation(make: Any, quantity: str, update: int) -> None:
    wrong = [f for f in mastered(make).findings if f.judgement.verdict == "deviates"]
    assert (wrong[0].quantity, wrong[0].update) == (quantity, update)
    assert {f.quantity for f in wrong} <= {"w_new", "rounded_w_new"}


def test_a_master_that_is_not_kept_says_what_is() -> None:
    with pytest.raises(gc.BadInput, match="master is 'copy'; the optimizer has"):
        mastered(Master, master="copy")


# State ----------------------------------------------------------------------------------------------------------------


def of_optax(make: Any, **more: Any) -> UpdateReport:
    return gc.verify_update(make, jnp.asarray(WEIGHTS, jnp.float32), GRADIENTS[:2], **more)


@pytest.mark.parametrize("route", ["eager", "jit"])
@pytest.mark.parametrize(
    "make",
    [optax.adam(0.1, mu_dtype=jnp.bfloat16), optax.sgd(0.1, momentum=0.9, accumulator_dtype=jnp.float16),
     optax.lion(0.1, mu_dtype=jnp.bfloat16)],
)  # fmt: skip
def test_state_that_optax_stores_narrower_than_the_weights_conforms(make: Any, route: str) -> None:
    report = of_optax(make, routes=route)
    assert report, report
    assert set(report.table.dtype) >= {"float32"}
    assert len(set(report.table.dtype)) == 2


def test_an_update_by_state_before_it_is_stored_keeps_the_digits_that_storing_loses() -> None:
    table = of_optax(optax.sgd(0.1, momentum=0.9, accumulator_dtype=jnp.bfloat16)).table
    first = table[(table["update"] == 1) & (table.quantity == "w_new")].iloc[0]
    assert first.certified_bits > 15
    assert "before it is stored" in first.accepted_form


def test_a_wrong_factor_beside_narrow_state_is_found() -> None:
    right = optax.sgd(0.1, momentum=0.9, accumulator_dtype=jnp.bfloat16)

    def update(g: Any, s: Any, p: Any = None) -> Any:
        moved, after = right.update(g, s, p)
        return jax.tree.map(lambda x: 1.02 * x, moved), after

    report = of_optax(optax.GradientTransformation(right.init, update), rule=right)
    assert report.verdict == "deviates"
    assert {f.quantity for f in report.findings if f.judgement.verdict == "deviates"} == {"w_new"}


class Wide(Master):
    """The same without a master: the weight is widened, moved and rounded."""

    factor = 1.0

    def one(self, p: Tensor, s: dict[str, Any], group: dict[str, Any]) -> None:
        p.grad.mul_(1)
        if s:
            s["master"] = p.float()
        super().one(p, s, group)
        s.pop("master")
        s["exp_avg"].mul_(self.factor)


def test_float32_state_of_bfloat16_weights_conforms_and_one_that_is_off_in_it_is_found() -> None:
    assert mastered(Wide, master=""), mastered(Wide, master="")
    off = type("Off", (Wide,), {"factor": 1.03})
    wrong = [f for f in mastered(off, master="").findings if f.judgement.verdict == "deviates"]
    assert {f.quantity for f in wrong} == {"m_new"}


# Weights --------------------------------------------------------------------------------------------------------------

NAMES = {"a": torch.bfloat16, "b": torch.float32, "c": torch.float16, "d": torch.float64}


@pytest.mark.parametrize("route", ["single", "foreach", "fused"])
def test_weights_of_four_dtypes_in_one_optimizer_are_each_judged_in_their_own(route: str) -> None:
    def like(numbers: Any) -> dict[str, Tensor]:
        return {n: torch.tensor(numbers).to(d) for n, d in NAMES.items()}

    report = gc.verify_update(lambda p: optim.AdamW(p, lr=0.1), like(WEIGHTS), list(map(like, GRADIENTS)), routes=route)
    assert report, report
    assert len(set(zip(report.table.tensor, report.table.dtype, strict=True))) == 4


def test_an_optimizer_that_leaves_weights_of_one_dtype_as_they_are_is_found_there() -> None:
    class OnlyWide(optim.SGD):
        def step(self, closure: Any = None) -> None:
            kept = {p: p.detach().clone() for g in self.param_groups for p in g["params"] if p.dtype == torch.bfloat16}
            super().step()
            with torch.no_grad():
                for p, before in kept.items():
                    p.copy_(before)

    weights = {"a": torch.tensor(WEIGHTS).bfloat16(), "b": torch.tensor(WEIGHTS).float()}
    gradient = {n: torch.tensor(GRADIENTS[0]) for n in weights}
    report = gc.verify_update(lambda p: OnlyWide(p, lr=0.1), weights, [gradient], rule=lambda p: optim.SGD(p, lr=0.1))
    assert {(f.tensor, f.judgement.verdict) for f in report.findings} == {("['a']", "deviates"), ("['b']", "conforms")}
