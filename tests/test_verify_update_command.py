"""`gradconform verify-update` and what it leaves: what is asked, the run file, what report makes of it, the status."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree as xml

import pytest
import torch
from click.testing import CliRunner, Result

import gradconform as gc
from gradconform.conformance.command_line.commands import main
from gradconform.conformance.run.run_file import read

Command = Callable[..., Result]

MODULE = """
import optax
import torch


class Late(torch.optim.Optimizer):
    '''Momentum that goes by the buffer of the update before.'''

    def __init__(self, parameters, lr=0.1):
        super().__init__(parameters, {'lr': lr, 'momentum': 0.9, 'dampening': 0.0, 'nesterov': False})

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for p in group['params']:
                b = self.state[p].setdefault('momentum_buffer', torch.zeros_like(p))
                p.sub_(group['lr'] * b)
                b.mul_(0.9).add_(p.grad)


def made():
    return optax.sgd(0.1)


ready = optax.adam(0.1)
number = 3


def two():
    w = torch.tensor([0.5, -1.25])
    return {'Late': [(w, [w]), (w[:1], [w[:1], w[1:]])], 'made': [3]}
"""

LION = """
import torch


class Lion(torch.optim.Optimizer):
    def __init__(self, parameters, lr=0.1, betas=(0.9, 0.99), late=False):
        super().__init__(parameters, {'lr': lr, 'betas': betas})
        self.late = late

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            beta1, beta2 = group['betas']
            for p in group['params']:
                m = self.state[p].setdefault('m', torch.zeros_like(p))
                p.sub_(group['lr'] * (m if self.late else beta1 * m + (1 - beta1) * p.grad).sign())
                m.mul_(beta2).add_(p.grad, alpha=1 - beta2)
"""


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Run `gradconform verify-update` beside the module `steps_of_mine`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    (tmp_path / "steps_of_mine.py").write_text(MODULE, encoding="utf-8")
    sys.modules.pop("steps_of_mine", None)
    return lambda *arguments: CliRunner().invoke(main, ["verify-update", *arguments])


def test_an_optimizer_of_pytorch_is_verified_by_the_routes_and_in_the_dtypes_that_are_named(command: Command) -> None:
    done = command("torch.optim.AdamW", "--set", "lr=0.1", "-r", "single", "-r", "fused", "-d", "float32", "-d",
                   "float64", "--updates", "2", "-o", "a.jsonl")  # fmt: skip
    assert (done.exit_code, "24 results of 2 runs: conforms 24" in done.stdout) == (0, True), done.output
    header, rows = read(Path("a.jsonl"))[:2]
    assert (header["command"], header["frameworks"]["torch"]) == ("verify-update", {"torch": torch.__version__})
    assert {(r["adapter"], r["route"], r["dtype"]) for r in rows} == {
        ("torch", route, dtype) for route in ("single", "fused") for dtype in ("float32", "float64")
    }
    assert {(r["quantity"], r["level"], r["operator"]) for r in rows} == {
        (q, "step", "adam") for q in ("m_new", "v_new", "w_new")
    }
    assert str(rows[0]["case"]).startswith("update/torch.optim.AdamW(lr=0.1)/")


@pytest.mark.parametrize("name", ["steps_of_mine:made", "steps_of_mine:ready", "optax.rmsprop"])
def test_transformations_of_optax_are_verified_made_already_or_by_a_function(command: Command, name: str) -> None:
    settings = ("--set", "learning_rate=0.1") if name.startswith("optax") else ()
    done = command(name, *settings, "-r", "jit", "--updates", "1")
    assert (done.exit_code, "1 run: conforms" in done.stdout) == (0, True), done.output


def test_a_wrong_optimizer_of_one_s_own_exits_with_1_and_its_equation_is_the_cause(command: Command) -> None:
    done = command("steps_of_mine:Late", "--rule", "torch.optim.SGD", "-o", "a.jsonl", "--junit", "a.xml")
    assert (done.exit_code, "formula wrong" in done.stdout) == (1, True), done.output
    wrong = [r for r in read(Path("a.jsonl"))[1] if r["verdict"] == "deviates"]
    assert {(r["quantity"], r["cause"], r["formula"]) for r in wrong} == {("w_new", "w_new = w − η·b_new", "wrong")}
    suites = xml.parse("a.xml").getroot()
    assert (suites.get("tests"), suites.get("failures")) == ("1", "1")
    assert CliRunner().invoke(main, ["report", "a.jsonl"]).exit_code == 0
    assert "w_new" in Path("report/junit.xml").read_text(encoding="utf-8")


def test_what_is_known_exits_with_0_and_a_file_of_one_s_own_makes_it_known(command: Command) -> None:
    entry = """[[deviation]]
    id = "mine-late"\nadapter = "torch"\nroute = "own"\nversions = ""\ndtype = "float32"\ndevice = "cpu"\nlevel = "step"
    operator = "sgd"\nquantity = "w_new"\nmost_share = 1e9\nreason = "late"\nupstream = "https://example.org/1"\n"""
    Path("known.toml").write_text(entry, encoding="utf-8")
    done = command("steps_of_mine:Late", "--rule", "torch.optim.SGD", "--known", "known.toml")
    assert (done.exit_code, "known:mine-late" in done.stdout) == (0, True), done.output


def test_fail_on_names_a_verdict_that_counts_as_a_failure(command: Command) -> None:
    small = ("torch.optim.SGD", "--set", "lr=1e-6", "-d", "bfloat16", "--updates", "1")
    assert command(*small).exit_code == 0
    assert command(*small, "--fail-on", "ill-conditioned").exit_code == 1


def test_the_module_s_cases_are_each_a_run_and_say_their_own_dtype(command: Command) -> None:
    done = command("steps_of_mine:Late", "--cases", "two", "-o", "a.jsonl")
    assert (done.exit_code, "weights 2 of 2" in done.stdout) == (0, True), done.output
    rows = read(Path("a.jsonl"))[1]
    assert {r["dtype"] for r in rows} == {"float32"}
    assert len({str(r["case"]).rsplit("/", 2)[0] for r in rows}) == 2
    assert "no rule is known" in str(rows[0]["reason"])


def test_a_report_of_python_is_saved_as_the_command_writes_it(tmp_path: Path) -> None:
    w = torch.tensor([0.5, -1.25])
    gc.verify_update(lambda p: torch.optim.SGD(p, lr=0.5), w, [w], routes=("single", "foreach")).save(
        tmp_path / "a.jsonl"
    )
    rows = read(tmp_path / "a.jsonl")[1]
    assert [(r["route"], r["verdict"]) for r in rows] == [("single", "conforms"), ("foreach", "conforms")]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("steps_of_mine",), "names no optimizer; expected MODULE:FUNCTION, such as optimizers:mine, or a framework's"),
        (("steps_of_mine:number",), "steps_of_mine:number is a int; expected what makes the optimizer"),
        (("steps_of_mine:mad",), "did you mean 'made'"),
        (("nosuch:f",), "module 'nosuch'"),
        (("torch.optim.SGDD",), "did you mean 'SGD'"),
        (("torch.optim.SGD", "-r", "jit"), "unknown route 'jit'; known: capturable, foreach, fused, single"),
        (("torch.optim.Adadelta", "-r", "fused"), "torch.optim.Adadelta has no setting fused"),
        (("steps_of_mine:Late", "-r", "fused"), "Late is none of PyTorch's own optimizers"),
        (("steps_of_mine:ready", "--set", "a=1"), "which is made already; leave --set out"),
        (("steps_of_mine:made", "--cases", "two"), "gives none of steps_of_mine:made; expected a sequence with"),
        (("optax.adam",), "make raised TypeError: adam() missing 1 required positional argument: 'learning_rate'"),
        (("torch.optim.SGD", "--set", "lr=-1"), "make raised ValueError: Invalid learning rate: -1"),
        (("torch.optim.SGD", "--set", "lr"), "expected NAME=VALUE"),
        (("torch.optim.SGD", "--set", "lr=1 2"), "the value is no number, tuple"),
        (("torch.optim.SGD", "--shape", "0"), "expected whole numbers above 0"),
        (("torch.optim.SGD", "-d", "float99"), "unknown dtype 'float99'"),
        (("torch.optim.SGD", "--profile", "x"), "unknown profile 'x'"),
        (("torch.optim.SGD", "--junit", "no/a.xml"), "there is no folder no"),
    ],
)  # fmt: skip
def test_bad_input_exits_with_2_and_says_what_was_expected(
    command: Command, arguments: tuple[str, ...], message: str
) -> None:
    done = command(*arguments)
    assert (done.exit_code, message in " ".join(done.stderr.split())) == (2, True), done.output


def test_a_rule_may_be_named_by_a_word_and_a_state_as_the_optimizer_calls_it(command: Command) -> None:
    Path("lions.py").write_text(LION, encoding="utf-8")
    right = command("lions:Lion", "--rule", "lion", "--state", "exp_avg=m")
    assert right.exit_code == 0, right.output
    swapped = command("lions:Lion", "--set", "betas=(0.99,0.9)", "--rule", "lion", "--state", "exp_avg=m")
    assert swapped.exit_code == 0, swapped.output  # the settings are its own
    wrong = command("lions:Lion", "--set", "late=True", "--rule", "lion", "--state", "exp_avg=m")
    assert wrong.exit_code == 1
    assert "w_new = w" in wrong.output
    assert "--state 'm': expected NAME=YOURS" in command("lions:Lion", "--rule", "lion", "--state", "m").output
    assert "rule is 'adamw'" in command("lions:Lion", "--rule", "adamw").output
