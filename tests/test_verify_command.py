"""`gradconform verify` and what it leaves: the run file, what report and diff make of it, JUnit, the exit status."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree as xml

import pytest
import torch
from click.testing import CliRunner, Result

import gradconform as gc
from gradconform.conformance.command_line.commands import main
from gradconform.conformance.run.run_file import load, read
from gradconform.reference.measurement import Measurement, is_program, told
from gradconform.reports.diff import compare

Command = Callable[..., Result]

PROGRAM = """
import torch

class Square(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx, g):
        return ctx.saved_tensors[0] * g * {factor}

def square(x):
    return Square.apply(x)

def right(x):
    return torch.tanh(x)

def raises(x):
    raise RuntimeError('no data')

def far(x):
    return torch.sigmoid(60 * x)

def exits(x):
    raise SystemExit(0)

def escapes(x):
    return x * x.sum().item()

def cases():
    return [(torch.tensor([0.5, -1.25]),)]
"""
_numbers = itertools.count()


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Run `gradconform verify` on names of a module of its own, called `mine` in what is typed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delenv("COLUMNS", raising=False)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    name = f"mine{next(_numbers)}"

    def run(*arguments: str, program: str = PROGRAM.format(factor=2.0)) -> Result:
        (tmp_path / f"{name}.py").write_text(program, encoding="utf-8")
        sys.modules.pop(name, None)
        return CliRunner().invoke(main, ["verify", *(a.replace("mine", name) for a in arguments)])

    return run


def rows(path: str) -> list[dict[str, object]]:
    return read(Path(path))[1]


def test_every_function_that_is_named_is_verified_and_one_that_raises_keeps_no_other_from_it(command: Command) -> None:
    done = command("mine:raises", "mine:right", "mine:square", "-d", "float32", "-d", "bfloat16")
    assert done.exit_code == 2
    assert "raises in float32: f raised RuntimeError: no data" in done.stderr
    assert "right in bfloat16: conforms" in done.stdout
    assert "4 gradients of 6 runs: conforms 4; 2 that could not be verified" in done.stdout


def test_a_deviation_is_worse_than_bad_input(command: Command) -> None:
    done = command("mine:raises", "mine:square", program=PROGRAM.format(factor=1.999))
    assert done.exit_code == 1
    assert "culprit: Square" in done.stdout


def test_a_function_that_exits_is_bad_input_and_no_pass(command: Command) -> None:
    done = command("mine:exits")
    assert (done.exit_code, "SystemExit" in done.stderr) == (2, True), done.output


def test_a_module_that_exits_is_bad_input_and_no_pass(command: Command) -> None:
    done = command("mine:f", program="raise SystemExit(0)")
    assert (done.exit_code, "cannot be imported" in done.stderr) == (2, True), done.output


def test_a_failure_of_the_suite_is_no_deviation_and_keeps_no_other_function_from_it(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(f: object, *args: object, **options: object) -> object:
        if getattr(f, "__name__", "") == "square":
            raise ZeroDivisionError("within")
        return gc.verify(f, *args, **options)

    monkeypatch.setattr("gradconform.conformance.command_line.verify_command.verify", fails)
    done = command("mine:square", "mine:right")
    assert done.exit_code == 3
    assert "gradconform itself failed: ZeroDivisionError: within" in done.stderr
    assert "1 gradient of 2 runs: conforms 1" in done.stdout


def test_what_left_the_record_is_undecided(command: Command) -> None:
    done = command("mine:escapes", "mine:right")
    assert done.exit_code == 3
    assert "1 run of which something left the record" in done.stdout


def test_of_a_module_alone_its_public_functions_are_verified_and_no_imported_ones(command: Command) -> None:
    program = "import torch\nfrom torch import exp\ndef f(x): return x.sin()\ndef g(x): return x.cos()\n"
    program += "def _hidden(x): return x\ndef cases(): return [torch.ones(2)]\n"
    done = command("mine", program=program)
    assert (done.exit_code, "2 gradients of 2 runs: conforms 2" in done.stdout) == (0, True), done.output


def test_cases_by_name_say_which_functions_are_verified_and_on_what(command: Command) -> None:
    program = "import torch\ndef f(x): return x.sin()\ndef g(x, y): return x * y\ndef other(x): raise ValueError\n"
    program += "def cases(): return {'f': [torch.ones(2)], 'g': [(torch.ones(2), torch.ones(2))]}\n"
    done = command("mine", program=program)
    assert (done.exit_code, "3 gradients of 2 runs: conforms 3" in done.stdout) == (0, True), done.output
    done = command("mine:other", program=program)
    assert (done.exit_code, "gives no arguments of" in done.stderr) == (2, True), done.output


def test_a_name_that_is_not_there_is_said_with_the_nearest(command: Command) -> None:
    done = command("mine:squar")
    assert (done.exit_code, "did you mean 'square'" in done.stderr) == (2, True), done.output


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ("torch:tahn", "unknown function of torch 'tahn'; did you mean 'tan' or 'tanh'"),
        ("torch.tahn", "unknown function of torch 'tahn'; did you mean 'tan' or 'tanh'"),
        ("torch.tanh", "it is none, and torch has a function tanh: give torch:tanh"),
        (
            "torch:tanh",
            "there are no arguments to try it on; gradconform verify operator/tanh -a torch has its own, or",
        ),
        ("torch:empty_like", "there are no arguments to try it on; write a module with a function 'cases' that"),
        ("torhc.tanh", "importing torhc.tanh failed: No module named 'torhc'"),
    ],
)
def test_a_frameworks_own_function_is_said_with_what_to_give(command: Command, asked: str, told: str) -> None:
    done = command(asked)
    assert (done.exit_code, told in done.stderr) == (2, True), done.stderr


def test_piped_lines_stay_whole_and_a_width_that_is_asked_for_is_kept(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert max(map(len, command("mine:escapes").stdout.splitlines())) > 80
    monkeypatch.setenv("COLUMNS", "80")
    assert max(map(len, command("mine:escapes").stdout.splitlines())) <= 80


# The run file ---------------------------------------------------------------------------------------------------------


def test_the_run_file_has_a_row_for_each_gradient_with_the_culprits_line(command: Command) -> None:
    command("mine:square", "mine:right", "-d", "float32", "-o", "run.jsonl", program=PROGRAM.format(factor=1.999))
    header, found, _ = read(Path("run.jsonl"))
    assert header["frameworks"]["torch"]["torch"] == torch.__version__
    first, second = found
    assert (first["quantity"], first["dtype"], first["level"], first["adapter"]) == (
        "d/dx",
        "float32",
        "whole",
        "torch",
    )
    assert (first["verdict"], first["formula"], second["verdict"]) == ("deviates", "wrong", "conforms")
    assert str(first["cause"]).startswith("Square (")
    assert ".py:" in str(first["cause"])
    assert second["cause"] is None
    assert is_program(str(first["case"]))


def test_steps_are_rows_where_they_are_asked_for(command: Command) -> None:
    command("mine:right", "-o", "run.jsonl", "--steps")
    found = {r["quantity"]: r for r in rows("run.jsonl") if r["level"] == "step"}
    assert found["tanh 1"]["operator"] == "tanh"
    assert found["tanh 1"]["execution"] == "within"


def test_a_run_file_is_never_written_over(command: Command) -> None:
    Path("run.jsonl").write_text("mine", encoding="utf-8")
    done = command("mine:right", "-o", "run.jsonl")
    assert (done.exit_code, Path("run.jsonl").read_text(encoding="utf-8")) == (2, "mine")


def test_arguments_of_the_same_shapes_are_cases_of_their_own_and_the_same_in_every_dtype(command: Command) -> None:
    program = "import torch\ndef f(x): return x.sin()\ndef cases(): return [torch.ones(2), torch.zeros(2)]\n"
    command("mine:f", "-d", "float32", "-d", "float64", "-o", "run.jsonl", program=program)
    cases = [(str(r["case"]).rpartition("/")[2], r["dtype"]) for r in rows("run.jsonl")]
    assert [c.partition("-")[2] for c, _ in cases] == ["", "", "2", "2"]
    assert len(set(cases)) == 4


def test_what_could_not_be_verified_is_a_row_too(command: Command) -> None:
    command("mine:raises", "-o", "run.jsonl")
    (row,) = rows("run.jsonl")
    assert (row["quantity"], row["verdict"], row["dtype"]) == ("*", "crashed", "float32")
    assert row["reason"] == "exception: f raised RuntimeError: no data"


def test_what_left_the_record_is_the_rows_reason(command: Command) -> None:
    command("mine:escapes", "-o", "run.jsonl")
    (row,) = rows("run.jsonl")
    assert row["verdict"] == "undecided"
    assert str(row["reason"]).startswith("record: .item() at ")


def test_diff_says_that_a_function_newly_deviates_and_is_no_longer_judged(command: Command) -> None:
    command("mine:square", "mine:right", "-o", "old.jsonl")
    command("mine:square", "mine:right", "-o", "new.jsonl", program=PROGRAM.format(factor=1.999).replace(
        "return torch.tanh(x)", "raise RuntimeError"))  # fmt: skip
    (old, new) = (load([Path(f)])[1] for f in ("old.jsonl", "new.jsonl"))
    assert compare(old, old).empty
    found = {(c.kind, c.quantity) for c in compare(old, new).changes}
    assert found == {("newly deviating", "d/dx"), ("no longer judged", "*")}


def test_explain_of_a_verified_function_says_where_its_operations_are() -> None:
    done = CliRunner().invoke(main, ["explain", "program/losses:focal/8dde432d"])
    assert done.exit_code == 2
    assert "its operations: gradconform verify losses:focal --explain" in " ".join(done.stderr.split())


# JUnit, known deviations, what fails ----------------------------------------------------------------------------------


def junit_tests(path: str) -> dict[str, xml.Element]:
    return {str(t.get("name")).rpartition(":")[2]: t for t in xml.parse(path).getroot().iter("testcase")}


def test_junit_has_a_test_for_each_gradient_that_fails_with_what_the_report_says(command: Command) -> None:
    names = ("mine:square", "mine:right", "mine:far", "mine:raises")
    done = command(*names, "--junit", "out.xml", program=PROGRAM.format(factor=1.999))
    found = {name.partition("/")[0]: t for name, t in junit_tests("out.xml").items()}
    (failure,) = found["square"]
    assert failure.tag == "failure"
    report = [line.strip() for line in done.stdout.splitlines()]
    assert all(line.strip() in report for line in str(failure.text).splitlines())
    assert "its rule is wrong" in str(failure.text)
    assert len(found["right"]) == 0
    assert [(e.tag, "∂/∂x" in str(e.text)) for e in found["far"]] == [("system-out", True)]
    assert [e.tag for e in found["raises"]] == ["error"]


def test_a_junit_file_that_cannot_be_is_said_before_anything_is_verified(command: Command) -> None:
    done = command("mine:right", "--junit", "no/out.xml")
    assert (done.exit_code, done.stdout, "there is no folder no" in done.stderr) == (2, "", True)


KNOWN = """
[[deviation]]
id = "square"
adapter = "torch"
route = "*"
versions = ""
dtype = "float32"
device = "cpu"
level = "whole"
operator = "*"
quantity = "d/dx"
most_share = 1.0
case = "program/*:square/*"
reason = "half a factor"
upstream = "https://example.org"
"""


def test_a_known_deviation_is_told_fails_nothing_and_is_no_silent_pass(command: Command) -> None:
    Path("known.toml").write_text(KNOWN, encoding="utf-8")
    wrong = PROGRAM.format(factor=1.999)
    options = ("--known", "known.toml", "--junit", "out.xml")
    done = command("mine:square", *options, program=wrong)
    assert done.exit_code == 0, done.output
    assert "known:square" in done.stdout
    assert "deviates 1 (known 1)" in done.stdout
    (test,) = junit_tests("out.xml").values()
    assert [e.tag for e in test] == ["skipped"]
    assert command("mine:square", "-d", "float64", *options, program=wrong).exit_code == 1, "the entry is of float32"


def test_a_verdict_that_fail_on_names_fails(command: Command) -> None:
    assert command("mine:far").exit_code == 0
    done = command("mine:far", "--fail-on", "vacuous", "--fail-on", "lost", "--junit", "out.xml")
    assert done.exit_code == 1
    (test,) = junit_tests("out.xml").values()
    assert [e.tag for e in test] == ["failure"]


# From Python ----------------------------------------------------------------------------------------------------------


def test_a_report_saves_itself(tmp_path: Path) -> None:
    report = gc.verify(lambda x: x.sin(), torch.tensor([0.5, 1.0]), rows="all")
    report.save(tmp_path / "run.jsonl")
    _, found, _ = read(tmp_path / "run.jsonl")
    assert [r["quantity"] for r in found] == ["d/dx, row 0", "d/dx, row 1"]
    with pytest.raises(gc.BadInput, match="never written over"):
        report.save(tmp_path / "run.jsonl")


def test_a_row_says_what_the_report_says() -> None:
    report = gc.verify(lambda x: x.sin(), torch.tensor([0.5, 1.0]), rows="all")
    from gradconform.conformance.programs.program_rows import rows as rows_of

    said = [told(m) for m in rows_of(report)]
    assert all(f"  {line}" in str(report).splitlines() for line in said)
    assert said[0].startswith("∂/∂x[0], row 0 (eager): conforms")
    gone = Measurement("program/m:f/1", "torch", "eager", "float32", None, "*", 1, reason="exception: no")
    assert told(gone) == "m:f/1: crashed: exception: no"
