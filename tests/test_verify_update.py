"""What `verify_update` says of optimizers: right ones conform, wrong ones are named by their equation."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch
from torch import Tensor, optim

import gradconform as gc
from gradconform.adapters import updates_optax, updates_torch
from gradconform.adapters.updates import Change
from gradconform.conformance.updates.check_recorded_update import formula_of
from gradconform.conformance.updates.judging import named, update_of
from gradconform.conformance.verify_update import UpdateReport

DTYPES = ("float64", "float32", "float16", "bfloat16")
#: Verdicts of what is right, whose digits may be too few in 16 bits.
PASSED = ("conforms", "vacuous", "ill-conditioned")
WEIGHTS = np.array([0.5, -1.25, 2.0, 0.75])
GRADIENTS = [np.array([0.3, -0.7, 0.2, 1.1]), np.array([-0.4, 0.9, 0.6, -0.8])]


def of_torch(make: Callable[[Any], Any], dtype: str = "float32", gradients: Sequence[Any] = GRADIENTS,
             **more: Any) -> UpdateReport:  # fmt: skip
    return gc.verify_update(make, torch.tensor(WEIGHTS), [torch.tensor(g) for g in gradients], dtype=dtype, **more)


def of_optax(make: Any, dtype: str = "float32", updates: int = 2, **more: Any) -> UpdateReport:
    return gc.verify_update(make, jnp.asarray(WEIGHTS, jnp.float32), GRADIENTS[:updates], dtype=dtype, **more)


class Own(optim.Optimizer):
    """Momentum, as one writes it by oneself."""

    def __init__(self, parameters: Any, lr: float = 0.1, momentum: float = 0.9) -> None:
        super().__init__(parameters, {"lr": lr, "momentum": momentum, "weight_decay": 0.0, "maximize": False})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        for group in self.param_groups:
            for p in group["params"]:
                state = self.state[p]
                state.setdefault("momentum_buffer", torch.zeros_like(p)).mul_(group["momentum"]).add_(p.grad)
                self.move(p, state["momentum_buffer"], group["lr"])

    def move(self, p: Tensor, b: Tensor, lr: float) -> None:
        p.sub_(lr * b)


class Uphill(Own):
    def move(self, p: Tensor, b: Tensor, lr: float) -> None:
        p.add_(lr * b)


class ByLogarithms(Own):
    """The right step by a program that nobody has listed, and that loses some digits."""

    def move(self, p: Tensor, b: Tensor, lr: float) -> None:
        p.sub_(lr * b.sign() * (torch.exp(torch.log(b.abs()) + 8.0) / math.exp(8.0)))


class ByBfloat16(Own):
    def move(self, p: Tensor, b: Tensor, lr: float) -> None:
        p.sub_((lr * b).bfloat16().to(p.dtype))


def momentum(p: Any) -> optim.Optimizer:
    return optim.SGD(p, lr=0.1, momentum=0.9)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("make", [momentum, lambda p: optim.AdamW(p, lr=0.1), lambda p: optim.NAdam(p, lr=0.1)])
def test_optimizers_of_torch_conform_in_every_dtype(make: Callable[[Any], Any], dtype: str) -> None:
    report = of_torch(make, dtype)
    assert report, report
    assert (report.formula, report.execution) == ("right", "within")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("make", [optax.sgd(0.1, momentum=0.9), optax.adamw(0.1), optax.rmsprop(0.1)])
def test_transformations_of_optax_conform_in_every_dtype(make: Any, dtype: str) -> None:
    report = of_optax(make, dtype)
    assert report, report


def test_every_quantity_of_every_tensor_is_judged_in_every_update() -> None:
    weights = {"a": torch.ones(2, 2), "b": torch.ones(3)}
    gradients = [{"a": torch.full((2, 2), 0.3), "b": torch.full((3,), 0.7)}] * 2
    found = gc.verify_update(lambda p: optim.Adam(p, lr=0.1), weights, gradients).table
    assert len(found) == 2 * 2 * 3
    assert set(found.quantity) == {"m_new", "v_new", "w_new"}


def test_a_weight_that_is_moved_the_other_way_is_named_with_its_equation() -> None:
    report = of_torch(Uphill, rule=momentum)
    assert (report.verdict, report.formula) == ("deviates", "wrong")
    assert report.culprits == ("w_new = w − η·b_new (w, update 1)",)
    assert "w_new = w − η·b_new" in str(report)


def test_recording_a_step_leaves_the_optimizer_alone_that_a_scheduler_holds() -> None:
    def scheduled(p: Any) -> Uphill:
        optimizer = Uphill(p)
        optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0)
        return optimizer

    table = of_torch(scheduled, rule=momentum).table
    assert set(zip(table.quantity, table.verdict, strict=True)) == {("b_new", "conforms"), ("w_new", "deviates")}


def test_a_right_program_that_nobody_listed_conforms_by_its_own_record() -> None:
    report = gc.verify_update(ByLogarithms, torch.zeros(4), [torch.tensor(GRADIENTS[0]).float()], rule=momentum)
    assert report, report
    assert "recorded" in set(report.table.accepted_form)


def test_a_step_that_rounds_to_a_narrower_dtype_is_not_excused_by_its_own_record() -> None:
    assert of_torch(Own, rule=momentum)
    assert of_torch(ByBfloat16, rule=momentum).verdict == "deviates"


def test_an_optimizer_without_a_rule_is_judged_by_its_own_operations() -> None:
    report = of_torch(Own)
    assert not report  # a wrong rule would be told by nothing
    assert (report.verdict, report.formula, report.execution) == ("conforms", "unknown", "within")
    assert "the report not true; name one with rule=" in str(report)


def test_a_rule_of_optax_names_a_wrong_factor() -> None:
    def update(g: Any, s: optax.TraceState, p: Any = None) -> tuple[Any, optax.TraceState]:
        b = jax.tree.map(lambda m, x: 0.9 * m + x, s.trace, g)
        return jax.tree.map(lambda m: -0.1001 * m, b), optax.TraceState(b)

    def init(p: Any) -> optax.TraceState:
        return optax.TraceState(jax.tree.map(jnp.zeros_like, p))

    rule = optax.sgd(0.1, momentum=0.9)
    report = of_optax(optax.GradientTransformation(init, update), rule=rule)
    assert (report.verdict, report.formula) == ("deviates", "wrong")
    assert [c.split(" = ")[0] for c in report.culprits] == ["w_new"]


def test_fused_sgd_that_leaves_bfloat16_weights_as_they_were_is_found() -> None:
    w, g = torch.linspace(0.5, 2.0, 16), torch.linspace(-1.0, 1.0, 16)
    report = gc.verify_update(lambda p: optim.SGD(p, lr=0.1, fused=True), w, [g], dtype="bfloat16")
    short = gc.verify_update(lambda p: optim.SGD(p, lr=0.1, fused=True), w[:15], [g[:15]], dtype="bfloat16")
    assert short.verdict != "deviates"
    assert report.verdict == "deviates"


def test_a_large_tensor_is_judged_in_blocks_and_one_wrong_number_in_it_is_found() -> None:
    class OneLeft(Own):
        def move(self, p: Tensor, b: Tensor, lr: float) -> None:
            before = p[40_000].clone()
            super().move(p, b, lr)
            p[40_000] = before

    w, g = torch.linspace(0.5, 2.0, 70_000), torch.linspace(-1.0, 1.0, 70_000)
    assert gc.verify_update(momentum, w, [g])
    report = gc.verify_update(OneLeft, w, [g], rule=momentum)
    assert [(f.quantity, f.index) for f in report.findings if f.judgement.verdict == "deviates"] == [("w_new", "40000")]


def test_the_examples_of_the_page_print_what_is_shown_beside_them(capsys: pytest.CaptureFixture[str]) -> None:
    page = (Path(__file__).parents[1] / "docs" / "site" / "optimizers.md").read_text(encoding="utf-8")
    program, shown = (
        re.findall(rf"^```{kind}\n(.*?)^```", page, re.MULTILINE | re.DOTALL) for kind in ("python", "text")
    )
    names: dict[str, Any] = {}
    for code, text in zip(program, shown, strict=True):
        exec(code, names)
        assert capsys.readouterr().out == text


# Bad input ------------------------------------------------------------------------------------------------------------


def test_a_nan_in_a_gradient_that_is_passed_on_is_out_of_range_and_one_that_is_skipped_deviates() -> None:
    class Skips(Own):
        def step(self, closure: Any = None) -> None:
            for group in self.param_groups:
                for p in group["params"]:
                    p.grad.nan_to_num_(0.0)
            super().step()

    gradients = [np.array([0.3, np.nan, 0.2, 1.1])]
    assert of_torch(momentum, gradients=gradients).verdict == "out of range"
    assert of_torch(Skips, gradients=gradients, rule=momentum).verdict == "deviates"


def test_beta_of_1_and_epsilon_of_0_have_no_value_and_are_singular() -> None:
    zero = [np.zeros(4)]
    assert of_torch(lambda p: optim.RMSprop(p, lr=0.1, eps=0.0), gradients=zero).verdict == "singular"
    assert of_optax(optax.adam(0.1, b1=1.0), updates=1).verdict == "singular"


def test_a_negative_rate_goes_uphill_by_the_rule_or_is_refused_by_the_framework() -> None:
    assert of_optax(optax.sgd(-0.1))
    with pytest.raises(gc.BadInput, match=r"make raised ValueError: Invalid learning rate: -0\.1"):
        of_torch(lambda p: optim.SGD(p, lr=-0.1))


def test_a_state_that_does_not_fit_says_what_there_is_and_what_the_rule_keeps() -> None:
    with pytest.raises(gc.BadInput, match="adam keeps m, as 'exp_avg'; the optimizer has momentum_buffer"):
        of_torch(Own, rule=optim.Adam)
    plain = optax.GradientTransformation(lambda w: w * 0, lambda g, s, w=None: (-0.1 * (0.9 * s + g), 0.9 * s + g))
    with pytest.raises(gc.BadInput, match="no state with a name, as fields of named tuples are in optax"):
        of_optax(plain, rule=optax.sgd(0.1, momentum=0.9))

    class Short(Own):
        def step(self, closure: Any = None) -> None:
            super().step()
            for state in self.state.values():
                state["momentum_buffer"] = state["momentum_buffer"][:2]

    with pytest.raises(gc.BadInput, match=r"its 'momentum_buffer' has shape|the state b_new has shape"):
        of_torch(Short, gradients=GRADIENTS[:1], rule=momentum)


@pytest.mark.parametrize(
    ("make", "weights", "gradients", "message"),
    [
        (lambda p: 3, torch.ones(2), [torch.ones(2)], "make gave a int; expected a torch.optim.Optimizer"),
        (momentum, torch.ones(2), [], "gradients: expected a list with one gradient"),
        (momentum, torch.ones(2), [torch.ones(3)], r"gradients\[0\]: w has shape \(3,\); the weight has \(2,\)"),
        (momentum, torch.ones(2, dtype=torch.int64), [torch.ones(2)], "weights: w is torch.int64"),
        (momentum, torch.ones(0), [torch.ones(0)], "weights: w has no numbers"),
        (optax.sgd(0.1), jnp.ones(2), [jnp.ones(3)], r"gradients\[0\]: w has shape \(3,\)"),
        (lambda: 3, jnp.ones(2), [jnp.ones(2)], "make gave a int; expected an optax transformation"),
        (momentum, 3.0, [1.0], "expected at least one PyTorch tensor or JAX array"),
    ],
)
def test_what_cannot_be_run_is_told_with_what_was_expected(
    make: Any, weights: Any, gradients: Any, message: str
) -> None:
    with pytest.raises(gc.BadInput, match=message):
        gc.verify_update(make, weights, gradients)


def test_a_rule_that_is_none_of_the_frameworks_own_is_refused() -> None:
    with pytest.raises(gc.BadInput, match="rule makes a Own; expected one of SGD, Adam"):
        of_torch(Own, rule=Own)
    with pytest.raises(gc.BadInput, match="unknown verdict to accept"):
        of_torch(momentum, accept="perfect")


# Known deviations -----------------------------------------------------------------------------------------------------


def fused(size: int, of: Any = optim.SGD) -> UpdateReport:
    w = torch.linspace(0.3, 2.0, size)  # none is 0 after the update: of such a number no share is known
    return gc.verify_update(lambda p: of(p, lr=0.5, fused=True), w, [torch.ones(size)], dtype="bfloat16")


@pytest.mark.skipif(
    not torch.__version__.startswith("2.13."), reason="https://github.com/pytorch/pytorch/issues/191763"
)
def test_fused_sgd_of_16_bits_deviates_by_whole_vectors_and_is_known() -> None:
    assert fused(7)
    report = fused(64)
    assert report.verdict == "deviates"
    assert "known:torch-fused-sgd-16-bits" in str(report)


def test_the_same_deviation_of_an_optimizer_of_one_s_own_is_not_known() -> None:
    class Still(optim.SGD):
        def step(self, closure: Any = None) -> None:
            """Leaves the weights as they are."""

    report = of_torch(lambda p: Still(p, lr=0.5, fused=True), "bfloat16", rule=lambda p: optim.SGD(p, lr=0.5))
    assert report.verdict == "deviates"
    assert "known:" not in str(report)


# The frameworks' own --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("route", "name"), [("single", "_single_tensor_sgd"), ("foreach", "_multi_tensor_sgd")])
def test_an_optimizer_of_pytorch_that_is_wrong_in_its_own_operations_has_a_wrong_formula(
    monkeypatch: pytest.MonkeyPatch, route: str, name: str
) -> None:
    from torch.optim import sgd

    right = getattr(sgd, name)
    monkeypatch.setattr(sgd, name, lambda p, g, *rest, **how: right(p, [1.001 * x for x in g], *rest, **how))
    report = of_torch(momentum, routes=route)
    assert (report.verdict, report.formula, report.execution) == ("deviates", "wrong", "outside")
    assert report.culprits[0] == "b_new = ∂E/∂w (w, update 1)"


def test_of_a_kernel_whose_operations_are_not_seen_the_formula_stays_unknown() -> None:
    report = fused(64)
    assert (report.formula, report.execution) == ("unknown", "outside")
    assert "aten._fused_sgd_.default" in str(report)


@pytest.mark.parametrize(
    "make",
    [lambda p: optim.Adam(p, lr=0.1, amsgrad=True, foreach=True), lambda p: optim.Rprop(p, lr=0.1),
     lambda p: optim.NAdam(p, lr=0.1), lambda p: optim.Adagrad(p, lr=0.1)],
)  # fmt: skip
def test_the_record_of_a_right_optimizer_of_pytorch_is_never_wrong(make: Any) -> None:
    w, gradients = torch.tensor(WEIGHTS), [torch.tensor(g) for g in GRADIENTS]
    assert "wrong" not in formulas(updates_torch.changes(make, w, gradients, "float32", None))


@pytest.mark.parametrize("make", [optax.adadelta(0.1), optax.adamw(0.1, weight_decay=0.1)])
def test_the_record_of_a_right_transformation_of_optax_is_never_wrong(make: Any) -> None:
    assert "wrong" not in formulas(updates_optax.changes(make, jnp.asarray(WEIGHTS), GRADIENTS, "float32", None))


def formulas(changes: Iterator[Change]) -> list[str]:
    """What is said of each quantity's formula by the record of the step alone."""
    found = []
    for change in changes:
        assert change.asked is not None
        assert change.again is not None
        update = update_of(change, change.asked)
        recorded = named(change.again(), change, update)
        found += [formula_of(update, recorded, e.name) for e in update.reported]
    assert found
    return found


@pytest.mark.parametrize("size", [3, 3000])
def test_the_sign_of_a_number_that_is_flushed_may_be_0(size: int) -> None:
    """XLA takes (1 − β1)·2e-38 for 0, and so its sign."""
    g = jnp.asarray([2e-38, -2e-38, 0.5] * (size // 3), dtype=jnp.float32)
    report = gc.verify_update(optax.lion(0.1), jnp.full(size, 2.0, jnp.float32), [g])
    assert (report.formula, report.execution) == ("right", "within"), str(report)
    turned = optax.chain(optax.scale_by_lion(), optax.scale_by_learning_rate(-0.1))
    assert gc.verify_update(turned, jnp.full(size, 2.0, jnp.float32), [g], rule=optax.lion(0.1)).verdict == "deviates"


@pytest.mark.skipif(optax.__version__ != "0.2.8", reason="https://github.com/google-deepmind/optax/pull/1725")
def test_rprop_of_optax_moves_one_update_late_which_is_known() -> None:
    report = of_optax(optax.rprop(0.1))
    assert (report.verdict, report.formula) == ("deviates", "wrong")
    assert {f.quantity for f in report.findings if f.judgement.verdict == "deviates"} == {"w_new"}
    assert "known:optax-rprop-delayed" in str(report)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"make": torch.optim.SGD([torch.nn.Parameter(torch.ones(2))], lr=0.1)}, "make is a SGD; expected what makes"),
        ({"rule": "sgd"}, "rule is 'sgd'; expected a class of torch.optim, what makes one"),
        ({"gradients": [torch.ones(2).to_sparse()]}, "layout torch.sparse_coo; expected a dense tensor"),
    ],
    ids=["an optimizer", "a name", "a sparse gradient"],
)
def test_what_makes_no_optimizer_is_told_what_does(options: dict[str, Any], message: str) -> None:
    given = {"make": lambda p: torch.optim.SGD(p, lr=0.1), "gradients": [torch.ones(2)], "rule": None, **options}
    with pytest.raises(gc.BadInput, match=message):
        gc.verify_update(given["make"], torch.ones(2), given["gradients"], rule=given["rule"])


# Rules that PyTorch has no optimizer of, and states by other names ----------------------------------------------------


class OwnLion(optim.Optimizer):
    """Lion, as one writes it by oneself; `betas` may be taken the wrong way round."""

    def __init__(self, parameters: Any, lr: float = 0.01, weight_decay: float = 0.1, swapped: bool = False) -> None:
        super().__init__(parameters, {"lr": lr, "betas": (0.9, 0.99), "weight_decay": weight_decay})
        self.swapped = swapped

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        for group in self.param_groups:
            beta1, beta2 = reversed(group["betas"]) if self.swapped else group["betas"]
            for p in group["params"]:
                m = self.state[p].setdefault("exp_avg", torch.zeros_like(p))
                p.mul_(1 - group["lr"] * group["weight_decay"])
                p.sub_(group["lr"] * (beta1 * m + (1 - beta1) * p.grad).sign())
                m.mul_(beta2).add_(p.grad, alpha=1 - beta2)


class OwnLamb(optim.Optimizer):
    """Lamb, its state called m and v; `trust` may be left out."""

    def __init__(self, parameters: Any, weight_decay: float = 0.01, trust: bool = True) -> None:
        settings = {"lr": 0.01, "betas": (0.9, 0.99), "eps": 1e-6, "weight_decay": weight_decay}
        super().__init__(parameters, settings)
        self.trust, self.t = trust, 0

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        self.t += 1
        for group in self.param_groups:
            beta1, beta2 = group["betas"]
            for p in group["params"]:
                state = self.state[p]
                m, v = (state.setdefault(k, torch.zeros_like(p)) for k in ("m", "v"))
                m.mul_(beta1).add_(p.grad, alpha=1 - beta1)
                v.mul_(beta2).addcmul_(p.grad, p.grad, value=1 - beta2)
                d = (m / (1 - beta1**self.t)) / ((v / (1 - beta2**self.t)).sqrt() + group["eps"])
                d = d + group["weight_decay"] * p
                p.sub_(group["lr"] * (p.norm() / d.norm() if self.trust else 1.0) * d)


LAMB = {"rule": "lamb", "state": {"exp_avg": "m", "exp_avg_sq": "v"}}


@pytest.mark.parametrize("dtype", DTYPES)
def test_lion_and_lamb_of_one_s_own_conform_by_the_name_of_their_rule(dtype: str) -> None:
    for decay in (0.0, 0.1):
        assert of_torch(lambda p: OwnLion(p, weight_decay=decay), dtype, rule="lion").verdict in PASSED  # noqa: B023
        assert of_torch(lambda p: OwnLamb(p, weight_decay=decay), dtype, **LAMB).verdict in PASSED  # noqa: B023


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_lion_with_its_betas_swapped_and_lamb_without_its_ratio_deviate(dtype: str) -> None:
    swapped = of_torch(lambda p: OwnLion(p, swapped=True), dtype, rule="lion")
    assert swapped.formula == "wrong"
    assert swapped.culprits[0].startswith("m_new = β2·m + (1 − β2)·∂E/∂w"), swapped
    without = of_torch(lambda p: OwnLamb(p, trust=False), dtype, **LAMB)
    assert without.formula == "wrong"
    assert without.culprits[0].startswith("w_new"), without


def test_a_state_that_is_called_otherwise_is_judged_as_the_rule_s() -> None:
    class Called(Own):
        def step(self, closure: Any = None) -> None:
            for state in self.state.values():
                state["momentum_buffer"] = state.pop("buffer")
            super().step()
            for p in list(self.state):
                self.state[p]["buffer"] = self.state[p].pop("momentum_buffer")

    class Uphills(Called):
        move = Uphill.move

    named = {"momentum_buffer": "buffer"}
    assert of_torch(Called, rule=momentum, state=named)
    assert of_torch(Uphills, rule=momentum, state=named).culprits == ("w_new = w − η·b_new (w, update 1)",)
    with pytest.raises(gc.BadInput, match=r"another name is given by state=\{'momentum_buffer': …\}"):
        of_torch(Called, rule=momentum)
    for odd, message in (
        ({"exp_avg": "buffer"}, "state names 'exp_avg'; the rule sgd keeps momentum_buffer"),
        ({"momentum_buffer": 3}, "expected your names for those of the rule"),
    ):
        with pytest.raises(gc.BadInput, match=message):
            of_torch(Called, rule=momentum, state=odd)
    with pytest.raises(gc.BadInput, match="say with rule= which rule"):
        of_torch(Called, state=named)


def test_the_state_of_a_transformation_may_be_called_otherwise() -> None:
    class Kept(NamedTuple):
        buffer: Any

    def update(factor: float, g: Any, s: Kept, p: Any = None) -> tuple[Any, Kept]:
        b = jax.tree.map(lambda m, x: 0.9 * m + x, s.buffer, g)
        return jax.tree.map(lambda m: factor * m, b), Kept(b)

    def mine(factor: float) -> optax.GradientTransformation:
        return optax.GradientTransformation(lambda w: Kept(jax.tree.map(jnp.zeros_like, w)), partial(update, factor))

    rule = optax.sgd(0.1, momentum=0.9)
    assert of_optax(mine(-0.1), rule=rule, state={"trace": "buffer"})
    assert of_optax(mine(-0.1001), rule=rule, state={"trace": "buffer"}).verdict == "deviates"


def test_settings_of_another_kind_and_none_are_told_and_raise_no_error_of_their_own() -> None:
    class Adafactor(Own):
        def __init__(self, parameters: Any) -> None:
            optim.Optimizer.__init__(self, parameters, {"lr": 0.1, "momentum": 0.9, "eps": 1e-30})

    with pytest.raises(gc.BadInput, match=r"setting eps is 1e-30, and that of torch.optim.Adafactor \(None, 0.001\)"):
        of_torch(Adafactor, rule=optim.Adafactor)
    with pytest.raises(gc.BadInput, match=r"rule 'lion': the optimizer has no setting 'betas'; it has lr, momentum"):
        of_torch(Own, rule="lion")
    with pytest.raises(gc.BadInput, match=r"rule is 'adam'; expected a class of torch\.optim.*: lion, lamb"):
        of_torch(Own, rule="adam")
    with pytest.raises(gc.BadInput, match="rule is 'lion'; expected one of optax' optimizers"):
        of_optax(optax.lion(0.1), rule="lion")
