"""Training runs by an optimizer, by schedules and with clipping: the gradient and every update are judged."""

from __future__ import annotations

import sys
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import optax
import pandas as pd
import pytest
import torch
from click.testing import CliRunner
from torch import optim
from torch.nn.utils import clip_grad_norm_, clip_grad_value_

import gradconform as gc
from gradconform.conformance.command_line.commands import main
from gradconform.conformance.run.run_file import load, read

NET = gc.network_case(
    "mine/small", layers=[([[0.5, -0.25], [0.125, 0.75]], [0.1, -0.2], "tanh"), ([[0.3, -0.6]], None, "identity")],
    inputs=[[1.0, 0.5], [-0.5, 0.25]], targets=[[0.5], [-0.25]], rate=0.1,
)  # fmt: skip
WEIGHTS = ("W1", "b1", "W2")


def trained(steps: int = 2, dtype: str = "float32", adapter: str = "torch/eager", case: Any = NET, **more: Any) -> (
    pd.DataFrame
):  # fmt: skip
    return gc.train(adapter, case, steps=steps, dtype=dtype, **more)


def momentum(p: Any) -> optim.Optimizer:
    return optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.01)


class Forgets(optim.SGD):
    """Momentum whose buffer is made anew in every update."""

    def step(self, closure: Any = None) -> None:
        self.state.clear()
        super().step()


@pytest.mark.parametrize(
    ("optimizer", "states"),
    [
        (momentum, ["b_new"]),
        (lambda p: optim.AdamW(p, lr=0.1), ["m_new", "v_new"]),
        (optax.adamw(optax.cosine_decay_schedule(0.1, 10)), ["m_new", "v_new"]),
        (optax.lion(0.1), ["m_new"]),
    ],
)
def test_the_gradient_the_state_and_the_weights_are_judged_in_every_update(optimizer: Any, states: list[str]) -> None:
    rows = trained(optimizer=optimizer)
    assert not rows.verdict.isin(["deviates", "undecided", "crashed"]).any(), rows[rows.verdict == "deviates"]
    for step in (0, 1):
        there = set(rows[rows.step == step].quantity)
        assert there >= {f"{s} of {w}" for s in states for w in WEIGHTS} | {f"{w}_new" for w in WEIGHTS} | {"dE/dW1"}
    drift = rows[rows.quantity == "W1_new"].drift
    assert len(drift) == 2
    assert 0 < drift.max() < 1e-5  # optax forms 1 − β2^t in float32, which is 0.001 to 1e-5 of itself


def test_the_weights_of_a_step_are_those_that_the_one_before_it_left() -> None:
    w = [torch.nn.Parameter(torch.tensor(v, dtype=torch.float32)) for n, v in NET.values if n in WEIGHTS]
    x, t = (torch.tensor(dict(NET.values)[n], dtype=torch.float32) for n in "XT")
    optimizer = momentum(w)
    for _ in range(3):
        optimizer.zero_grad()
        out = torch.tanh(x @ w[0].T + w[1]) @ w[2].T
        (0.5 * (out - t) ** 2).sum().backward()
        optimizer.step()
    rows = trained(3, optimizer=momentum)
    last = rows[(rows.step == 2) & (rows.quantity == "W2_new")].iloc[0]
    assert last.value == pytest.approx(float(w[2].detach().ravel()[int(last.worst_index.split(",")[1])]), rel=1e-6)


def test_a_buffer_that_is_not_carried_is_found_in_the_second_update() -> None:
    rows = trained(optimizer=lambda p: Forgets(p, lr=0.1, momentum=0.9), rule=momentum)
    wrong = rows[rows.verdict == "deviates"]
    assert set(wrong.step) == {1}
    assert "b_new of W1" in set(wrong.quantity)
    assert set(wrong[wrong.quantity == "b_new of W1"].cause) == {"b_new = μ·b + (1 − τ)·∂E/∂w"}


def test_an_l2_term_of_the_loss_is_in_the_gradient_that_the_optimizer_gets() -> None:
    values = dict(NET.values)
    layers = [(values["W1"], values["b1"], "tanh"), (values["W2"], None, "identity")]
    given: dict[str, Any] = {"layers": layers, "inputs": values["X"], "targets": values["T"], "rate": 0.1}
    rows = trained(case=gc.network_case("mine/l2", **given, l2=0.1), optimizer=momentum)
    assert not (rows.verdict == "deviates").any()
    with pytest.raises(gc.BadInput, match="decays its weights, and so may the optimizer"):
        trained(case=gc.network_case("mine/decay", **given, weight_decay=0.1), optimizer=momentum)


@pytest.mark.parametrize("optimizer", [None, lambda p: optim.SGD(p, lr=7.0)])
def test_a_schedule_sets_the_rate_of_each_update(optimizer: Any) -> None:
    rows = trained(rate=lambda step: 0.1 / 2**step, optimizer=optimizer)
    endless = (0.1 / 2**step if step < 2 else pytest.fail("asked for more than there are steps") for step in count())
    same = trained(rate=endless, optimizer=optimizer)
    assert not (rows.verdict == "deviates").any()
    assert rows.value.equals(same.value)
    assert 0 < rows[rows.quantity == "W1_new"].drift.max() < 1e-6
    assert not rows.value.equals(trained(rate=[0.1, 0.1], optimizer=optimizer).value)


@pytest.mark.parametrize("clip", [partial(clip_grad_norm_, max_norm=0.1), partial(clip_grad_value_, clip_value=0.05)])
def test_clipping_is_judged_and_what_it_leaves_is_what_the_optimizer_gets(clip: Any) -> None:
    rows = trained(optimizer=momentum, clip=clip)
    assert not (rows.verdict == "deviates").any()
    assert "g_new of W1" in set(rows.quantity)
    assert 0 < rows[rows.quantity == "W1_new"].drift.max() < 1e-6


def test_a_clip_in_a_chain_of_optax_is_part_of_its_rule() -> None:
    rows = trained(optimizer=optax.chain(optax.clip_by_global_norm(0.1), optax.sgd(0.1)))
    assert not (rows.verdict == "deviates").any()
    assert 0 < rows[rows.quantity == "W1_new"].drift.max() < 1e-6


def test_the_document_s_network_is_trained_by_an_optimizer_too() -> None:
    rows = trained(case="document/worked-example", optimizer=lambda p: optim.Adam(p, lr=0.1))
    assert set(rows.verdict) == {"conforms"}
    assert rows[rows.quantity == "w5_new"].drift.notna().all()


def test_training_by_an_optimizer_ends_where_a_gradient_is_not_given() -> None:
    rows = trained(adapter="numpy/complex-step", optimizer=momentum)
    assert list(rows.verdict) == ["unsupported"]
    wide = trained(3, optimizer=lambda p: optim.SGD(p, lr=1e38, momentum=0.9))
    assert wide.step.max() < 2
    assert not (wide.verdict == "deviates").any()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"optimizer": 3}, "optimizer is a int; expected a function that makes one"),
        ({"optimizer": lambda p: 3}, "make gave a int; expected a torch.optim.Optimizer"),
        (
            {"optimizer": lambda p: (momentum(p), torch.amp.GradScaler("cpu"))},
            "no update of a weight, as a scaler of the loss does",
        ),
        ({"rule": momentum}, "rule and clip are of an optimizer"),
        ({"rate": [0.1]}, "rate: expected 2 finite numbers, one for each step, got 1"),
        ({"rate": [0.1, np.nan]}, "rate: expected 2 finite numbers"),
        ({"rate": "fast"}, "rate is .fast.; expected numbers, or a function of the step"),
        ({"rate": lambda step: 1 / step}, "rate: ZeroDivisionError"),
        ({"rate": [0.1, 0.1], "optimizer": optax.sgd(0.1)}, "a transformation holds its own schedule"),
    ],
)
def test_what_cannot_be_trained_is_told_with_what_was_expected(more: dict[str, Any], message: str) -> None:
    with pytest.raises(gc.BadInput, match=message):
        trained(**more)


# From a terminal ------------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    return tmp_path


def test_the_command_tells_verdicts_and_drift_and_writes_a_run_file_that_report_reads(folder: Path) -> None:
    done = CliRunner().invoke(main, [
        "train", "document/worked-example", "-a", "torch/eager", "-d", "float32", "--steps", "2",
        "--optimizer", "torch.optim.AdamW", "--set", "lr=0.1", "-o", "run.jsonl", "--table", "run.csv",
    ])  # fmt: skip
    assert done.exit_code == 0, done.output
    assert "torch/eager: after 2 updates" in done.stdout
    assert "from the exact trajectory" in done.stdout
    rows = read(Path("run.jsonl"))[1]
    assert {str(r["case"]) for r in rows} == {"train/document/worked-example/0", "train/document/worked-example/1"}
    assert pd.read_csv("run.csv").drift.notna().sum() == 2 * 8
    headers, loaded = load([Path("run.jsonl")])
    assert (headers[0]["command"], len(loaded)) == ("train", len(rows))


def test_the_command_exits_with_1_where_an_optimizer_of_one_s_own_deviates(folder: Path) -> None:
    (folder / "steps_of_mine.py").write_text(
        "import torch\n\n\nclass Forgets(torch.optim.SGD):\n    def step(self, closure=None):\n"
        "        self.state.clear()\n        super().step()\n", encoding="utf-8"
    )  # fmt: skip
    sys.modules.pop("steps_of_mine", None)
    done = CliRunner().invoke(main, [
        "train", "document/worked-example", "--steps", "2", "--optimizer", "steps_of_mine:Forgets",
        "--set", "momentum=0.9", "--rule", "torch.optim.SGD",
    ])  # fmt: skip
    assert done.exit_code == 1, done.output
    assert "step 1, b_new of w1 (step), torch/eager: deviates: b_new = μ·b + (1 − τ)·∂E/∂w" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("document/nosuch",), "unknown case"),
        (("document/worked-example", "--set", "lr=1"), "--set and --rule are of an optimizer"),
        (("document/worked-example", "--optimizer", "optax.adam"), "give it by --set"),
        (("document/worked-example", "--rate", "0.1"), "rate: expected 100 finite numbers"),
        (("document/worked-example", "--optimizer", "mine"), "names no optimizer"),
    ],
)
def test_bad_input_of_the_command_exits_with_2(arguments: tuple[str, ...], message: str) -> None:
    done = CliRunner().invoke(main, ["train", *arguments])
    assert (done.exit_code, message in " ".join(done.stderr.split())) == (2, True), done.output
