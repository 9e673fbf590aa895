"""The command line, as a user types it: what it prints, what it writes, what it refuses, its exit status."""

from __future__ import annotations

import gzip
import json
import math
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from tests_support import WRONG_ADAPTERS, Cli

from gradconform.adapters import registry
from gradconform.conformance.cases.catalogue import catalogue
from gradconform.conformance.command_line import commands as command_line
from gradconform.conformance.command_line import explain, explain_command, operations, styles
from gradconform.conformance.command_line.explain import Explanation, Line
from gradconform.conformance.run import runner
from gradconform.conformance.run.older_runs import COLUMNS_OF_1, VERDICTS_OF_1
from gradconform.conformance.run.run_file import read
from gradconform.reference.cases import BadInput, point
from gradconform.reference.derivations.activations import ACTIVATIONS
from gradconform.reference.document import NETWORK
from gradconform.reference.measurement import Measurement

FAST = ("-a", "numpy/complex-step", "-c", "document/worked-example", "-d", "float32")


def test_a_run_writes_its_file_and_closes_with_one_line(command: Cli, tmp_path: Path) -> None:
    done = command("run", *FAST, "-o", "one.jsonl")
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].startswith("judged 17, deviating 0 (known 0), vacuous 0, slowest numpy/")
    lines = [json.loads(text) for text in (tmp_path / "one.jsonl").read_text().splitlines()]
    assert lines[0]["kind"] == "header"
    assert lines[0]["profile"] == "opencl"
    assert lines[-1]["kind"] == "footer"
    assert [line for line in lines if "quantity" in line] == lines[1:-1]
    assert lines[-1]["routes_without_trace"] == ["numpy/complex-step"]


def test_output_fits_a_terminal_of_80_columns(cli: Cli) -> None:
    done = cli("run", "-a", "numpy", "-c", "document/worked-example", "-o", "one.jsonl")
    assert max(map(len, done.stdout.splitlines())) <= 80
    for command in ("run", "report", "explain", "list"):
        assert max(map(len, cli(command, "-h").stdout.splitlines())) <= 80


def test_no_commands_summary_is_cut(cli: Cli) -> None:
    said = cli("-h").stdout.partition("Commands:")[2]
    assert "verify-update  Verify what optimizers do to weights and to their state." in said
    assert [line for line in said.splitlines() if line.endswith("...")] == []


def test_what_is_piped_is_not_wrapped_where_no_width_is_asked_for(cli: Cli, tmp_path: Path) -> None:
    name = "/".join(["a" * 60, "b" * 60, "nothing.jsonl"])
    environment = {k: v for k, v in os.environ.items() if k != "COLUMNS"}
    command = [sys.executable, "-m", "gradconform", "report", name]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, encoding="utf-8", env=environment, timeout=60)
    assert done.returncode == 2
    assert name in done.stderr
    assert done.stderr.count("\n") == 1
    assert cli("report", name).stderr.count("\n") > 1


def test_the_run_file_defaults_to_the_utc_time_in_runs(cli: Cli, tmp_path: Path) -> None:
    assert cli("run", *FAST).returncode == 0
    (path,) = (tmp_path / "runs").iterdir()
    assert path.name.endswith("Z.jsonl.zst")
    assert read(path)[1]


def test_workers_write_the_same_measurements_as_one_process(cli: Cli, tmp_path: Path) -> None:
    options = ("-a", "numpy", "-c", "document/scale-1/00*")
    assert cli("run", *options, "--jobs", "1", "-o", "one.jsonl").returncode == 0
    assert cli("run", *options, "--jobs", "2", "-o", "two.jsonl").returncode == 0
    one, two = ((tmp_path / name).read_text().splitlines()[1:-1] for name in ("one.jsonl", "two.jsonl"))
    assert one == two


def test_a_deviating_adapter_gives_exit_status_1_and_is_named(cli: Cli) -> None:
    done = cli("run", "-a", "wrong_adapters:flipped", *FAST[2:], "-o", "one.jsonl", env=WRONG_ADAPTERS)
    assert done.returncode == 1
    assert "deviates: flipped/only float32 document/worked-example dE_total/dw1" in done.stdout


def test_a_crashing_adapter_gives_exit_status_3_and_a_command_that_reproduces_it(cli: Cli) -> None:
    done = cli("run", "-a", "wrong_adapters:crashing", *FAST[2:], "-o", "one.jsonl", env=WRONG_ADAPTERS)
    assert done.returncode == 3
    flat = " ".join(done.stdout.split())
    assert "crashed: crashing/only float32 document/worked-example exception:" in flat
    assert "ZeroDivisionError" in flat
    assert "gradconform run -a wrong_adapters:crashing/only -c document/worked-example -d float32" in flat


VACUOUS = ("-a", "numpy/complex-step", "-c", "document/saturated/12", "-d", "float32")


@pytest.mark.parametrize(
    ("options", "status"),
    [((), 0), (("--fail-on", "lost"), 0), (("--fail-on", "lost", "--fail-on", "vacuous"), 1)],
)
def test_a_verdict_that_is_to_fail_a_run_gives_exit_status_1_and_no_other_does(
    cli: Cli, options: tuple[str, ...], status: int
) -> None:
    done = cli("run", *VACUOUS, *options, "-o", "one.jsonl")
    assert done.returncode == status, done.stderr
    (vacuous,) = re.findall(r"vacuous (\d+)", done.stdout.splitlines()[-1])
    assert int(vacuous) > 0
    assert (f"failing, as --fail-on asks: {vacuous} vacuous" in done.stdout) == bool(status)


def test_the_report_fails_the_tests_that_it_is_asked_to(cli: Cli, tmp_path: Path) -> None:
    assert cli("run", *VACUOUS, "-o", "one.jsonl").returncode == 0
    for options, failures in (((), "0"), (("--fail-on", "vacuous"), "1")):
        assert cli("report", "one.jsonl", *options).returncode == 0
        assert f'failures="{failures}"' in (tmp_path / "report" / "junit.xml").read_text(encoding="utf-8")


def test_a_verdict_that_no_run_has_cannot_be_asked_to_fail_one(cli: Cli) -> None:
    done = cli("run", *FAST, "--fail-on", "conforms")
    assert done.returncode == 2
    assert "'conforms' is not one of 'lost', 'vacuous', 'ill-conditioned', 'out-of-range'" in " ".join(
        done.stderr.split()
    )


def test_a_run_of_the_first_schema_is_reported_and_compared_and_not_resumed(cli: Cli, tmp_path: Path) -> None:
    """The run that the suite's own tests were held against before there were three questions."""
    assert cli("run", *FAST, "-o", "new.jsonl").returncode == 0
    lines = [json.loads(text) for text in (tmp_path / "new.jsonl").read_text().splitlines()]
    lines[0]["schema"] = 1
    lines[-1]["verdicts"] = {v: lines[-1]["verdicts"][v] for v in VERDICTS_OF_1}
    renamed = [{("form" if k == "accepted_form" else k): v for k, v in row.items()} for row in lines[1:-1]]
    lines[1:-1] = [{name: row[name] for name in COLUMNS_OF_1} for row in renamed]
    (tmp_path / "old.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert cli("report", "old.jsonl", "-o", "tables").returncode == 0
    done = cli("diff", "old.jsonl", "new.jsonl")
    assert (done.returncode, "compared 17 measurements: no difference" in done.stdout) == (0, True)
    (tmp_path / "old.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines[:5]))
    done = cli("run", "--resume", "old.jsonl")
    assert done.returncode == 2
    assert "old.jsonl has schema 1, which can be read and not gone on with; run it again" in " ".join(
        done.stderr.split()
    )


def test_what_there_is_one_of_is_said_in_the_singular(cli: Cli) -> None:
    assert "1 case × 1 dtype × 1 route on cpu" in cli("run", *FAST, "-o", "one.jsonl").stdout


def test_nothing_judged_gives_exit_status_3(cli: Cli) -> None:
    done = cli("run", "-a", "numpy/complex-step", "-c", "document/worked-example", "-d", "bfloat16", "-o", "one.jsonl")
    assert done.returncode == 3
    assert done.stdout.splitlines()[-1].startswith("judged 0,")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("-a", "nimpy"), "unknown adapter 'nimpy'; did you mean 'numpy'?"),
        (("-a", "numpy/centrel"), "unknown route of numpy 'centrel'; did you mean 'central' or"),
        (("-a", "no_such_module:adapter"), "adapter 'no_such_module:adapter': importing no_such_module failed"),
        (("-a", "numpy", "-c", "document/wroked-example"), "did you mean 'document/worked-example' or"),
        (("-a", "numpy", "-c", "zzz"), "known: document/all-zeros, document/overflow/exponential,"),
        (
            ("-a", "numpy", "-c", "zzz"),
            f"… ({len(catalogue())} in all) (see `gradconform list cases`; your own ",
        ),
        (("-a", "numpy", "-d", "float23"), "unknown dtype 'float23'; did you mean 'float32'"),
        (("-a", "numpy", "-d", "float32,float64"), "(one dtype each: -d float64 -d float32)"),
        (("-a", "numpy", "--timeout", "nan"), "--timeout is nan; expected seconds, more than 0"),
        (("-a", "numpy", "--timeout", "0"), "0.0 is not in the range x>0"),
        (("-a", "numpy", "--timeout", "-1"), "-1.0 is not in the range x>0"),
        (("-a", "numpy", "--profile", "opencel"), "unknown profile 'opencel'; did you mean 'opencl'?"),
        (("-a", "numpy", "--device", "cuda"), "device 'cuda': NumPy runs on the CPU only"),
    ],
)
def test_bad_input_is_refused_with_exit_status_2_and_writes_nothing(
    cli: Cli, tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    done = cli("run", *arguments, "-o", "one.jsonl")
    assert done.returncode == 2
    assert message in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "one.jsonl").exists()


@pytest.mark.parametrize("framework", ["torch", "jax"])
def test_a_device_that_is_not_there_is_refused_with_exit_status_2(cli: Cli, framework: str) -> None:
    pytest.importorskip(framework)
    if framework == "torch":
        import torch

        if torch.cuda.is_available():
            pytest.skip("there is a CUDA device here")
    done = cli("run", "-a", framework, "--device", "cuda", "-c", "document/worked-example")
    assert done.returncode == 2
    assert "device 'cuda':" in done.stderr


@pytest.mark.parametrize("what", ["run", "explain"])
def test_a_plug_in_and_its_neighbours_are_found_in_the_working_folder(command: Cli, tmp_path: Path, what: str) -> None:
    (tmp_path / "neighbour.py").write_text("")
    (tmp_path / "mine.py").write_text(
        "from tests_support import Scripted\n"
        "from gradconform.conformance.cases.catalogue import worked_example as case\n"
        "def later(point, answer):\n"
        "    import neighbour\n"
        "    return answer\n"
        "adapter = Scripted(later)\n"
    )
    # The console script's path has no working folder; PYTHONSAFEPATH takes it from `python -m` too.
    case = ("-c", "mine:case") if what == "run" else ("mine:case",)
    done = command(what, *case, "-a", "mine:adapter", "-d", "float32", env={**WRONG_ADAPTERS, "PYTHONSAFEPATH": "1"})
    assert done.returncode == 0, done.stdout + done.stderr
    assert "crashed" not in done.stdout


@pytest.mark.parametrize("option", ["-a", "-c"])
@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("raise ValueError('boo')", "importing boom raised ValueError: boo"),
        ("raise SystemExit(0)", "importing boom raised SystemExit: 0"),
        ("import gradconform as gc; gc.document_case('x')", "importing boom raised TypeError: document_case() missing"),
        ("import gradconform as gc; gc.cases(3)", "'boom:object': glob is a int; expected text, such as 'document/*'"),
        ("import no_such_module", "importing boom failed: No module named 'no_such_module'"),
        ("", "module 'boom' has no attribute 'object'; expected package.module:object"),
    ],
)
def test_what_a_plug_in_raises_as_it_is_imported_is_told(
    cli: Cli, tmp_path: Path, option: str, source: str, message: str
) -> None:
    (tmp_path / "boom.py").write_text(source)
    done = cli("run", "-a", "numpy", option, "boom:object")
    assert done.returncode == 2
    said = " ".join(done.stderr.split())
    assert message in said
    assert "Traceback" not in said


def test_a_module_that_is_missing_is_told_with_where_it_was_looked_for(command: Cli, tmp_path: Path) -> None:
    done = command("run", "-a", "no_such_module:adapter", env={"COLUMNS": "999"})
    assert f"it was looked for in the working folder {tmp_path}, in PYTHONPATH" in done.stderr
    assert "expected package.module:object" in done.stderr


@pytest.mark.parametrize("device", ["mars", "cpu:7", "meta", ""])
def test_a_device_that_pytorch_does_not_have_is_refused(device: str) -> None:
    pytest.importorskip("torch")
    with pytest.raises(BadInput, match=f"device '{device}': torch has "):
        runner.check_device(registry.choose("torch/eager"), device)
    runner.check_device(registry.choose("torch/eager"), "cpu:0")


def test_a_framework_asked_for_and_absent_says_how_to_install_it(command: Cli, tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text("raise ImportError('No module named torch')\n")
    done = command("run", "-a", "torch", env={"PYTHONPATH": str(tmp_path)})
    assert done.returncode == 2
    assert "python -m pip install 'gradconform[torch]'" in " ".join(done.stderr.split())


def test_a_framework_absent_and_not_asked_for_is_named_in_header_and_summary(command: Cli, tmp_path: Path) -> None:
    for name in ("torch", "jax"):
        (tmp_path / f"{name}.py").write_text(f"raise ImportError('No module named {name}')\n")
    done = command("run", *FAST[2:], "-o", "one.jsonl", env={"PYTHONPATH": str(tmp_path)})
    assert done.returncode == 0, done.stderr
    assert "absent: torch, jax" in done.stdout
    assert set(json.loads((tmp_path / "one.jsonl").read_text().splitlines()[0])["absent"]) == {"torch", "jax"}


def test_an_existing_run_file_is_never_written_over(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "one.jsonl").write_text("mine")
    done = cli("run", *FAST, "-o", "one.jsonl")
    assert done.returncode == 2
    assert "one.jsonl exists; a run is never written over" in " ".join(done.stderr.split())
    assert (tmp_path / "one.jsonl").read_text() == "mine"


def test_a_run_file_below_a_file_is_refused_and_says_why(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "mine.jsonl").write_text("mine")
    done = cli("run", *FAST, "-o", "mine.jsonl/x")
    assert done.returncode == 2
    message = "cannot write mine.jsonl/x: mine.jsonl is a file, expected a folder; give another -o"
    assert message in " ".join(done.stderr.split())


def test_report_makes_the_tables_of_a_run(cli: Cli, tmp_path: Path) -> None:
    assert cli("run", *FAST, "-o", "one.jsonl").returncode == 0
    done = cli("report", "one.jsonl", "-o", "tables")
    assert done.returncode == 0, done.stderr
    assert {"summary.csv", "summary.md", "summary.json"} <= {p.name for p in (tmp_path / "tables").iterdir()}
    with gzip.open(tmp_path / "tables" / "gradients.csv.gz", "rt", encoding="utf-8") as file:
        assert next(file) == "case,dtype,adapter/route,gradient,truth,value,error (ulp),share,verdict\n"


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda text: text[: len(text) // 2], "the last; go on with it: gradconform run --resume one.jsonl"),
        (lambda text: text.replace('"quantity"', "quantity", 1), "line 2: truncated or not JSON"),
        (lambda text: "".join(text.splitlines(keepends=True)[:-1]), "is incomplete: it has no footer"),
        (lambda text: '{"name": "something else"}\n', "is not a gradconform run"),
        (lambda text: "", "is empty"),
        (lambda text: text + text, "there is more after the footer"),
        (lambda text: text.replace('"schema":2', '"schema":9', 1), "has schema 9"),
    ],
)
def test_report_refuses_what_is_not_a_whole_run(cli: Cli, tmp_path: Path, spoil: object, message: str) -> None:
    assert cli("run", *FAST, "-o", "one.jsonl").returncode == 0
    path = tmp_path / "one.jsonl"
    path.write_text(spoil(path.read_text()))  # type: ignore[operator]
    done = cli("report", "one.jsonl", "-o", "tables")
    assert done.returncode == 2
    assert message in " ".join(done.stderr.split())
    assert not (tmp_path / "tables").exists()


def test_a_report_that_cannot_have_its_folder_says_so(cli: Cli, tmp_path: Path) -> None:
    assert cli("run", *FAST, "-o", "one.jsonl").returncode == 0
    for output, message in (
        ("one.jsonl", "one.jsonl is a file, expected a folder for the report; give another -o"),
        ("one.jsonl/x", "cannot write one.jsonl/x: Not a directory; expected a folder that can be written: give"),
        (".", ". holds one.jsonl and no earlier report; expected an empty or new folder"),
    ):
        done = cli("report", "one.jsonl", "-o", output)
        assert done.returncode == 2
        assert message in " ".join(done.stderr.split())
    assert [p.name for p in tmp_path.iterdir()] == ["one.jsonl"]


def test_report_of_a_file_that_is_not_there_says_so(cli: Cli) -> None:
    done = cli("report", "none.jsonl")
    assert done.returncode == 2
    assert "cannot read none.jsonl" in done.stderr


def test_explain_prints_every_equation_with_its_truth(cli: Cli) -> None:
    done = cli("explain", "document/worked-example")
    assert done.returncode == 0
    assert "∂E_total/∂w5 = (a_o1 − t1)·a_o1·(1 − a_o1)·a_h1" in done.stdout
    assert done.stdout.count("truth") == len(NETWORK.equations)


def test_explain_shows_where_a_framework_goes_wrong(cli: Cli) -> None:
    options = ("-a", "wrong_adapters:flipped", "-d", "float32")
    done = cli("explain", "document/worked-example", *options, env=WRONG_ADAPTERS)
    assert done.returncode == 0
    after = done.stdout.split("∂E_total/∂w1 = ")[1].splitlines()
    assert "deviates" in after[3]


def test_the_command_printed_below_a_deviation_explains_it(cli: Cli) -> None:
    flipped = ("-a", "wrong_adapters:flipped", "-c", "document/scale-4/001", "-d", "float32", "--seed", "7")
    done = cli("run", *flipped, "-o", "one.jsonl", env=WRONG_ADAPTERS)
    assert done.returncode == 1
    (command,) = {line.strip() for line in done.stdout.splitlines() if line.startswith("    gradconform explain ")}
    explained = cli(*command.split()[1:], env=WRONG_ADAPTERS)
    assert explained.returncode == 0, explained.stderr
    assert ": deviates (" in explained.stdout
    assert explained.stdout.startswith("document/scale-4/001 in float32, wrong_adapters:flipped")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("-a", "numpy/central", "-d", "bfloat16"), "unsupported: dtype: numpy/central runs in float64"),
        (("-a", "wrong_adapters:crashing"), "crashed: exception: ZeroDivisionError"),
        (("-a", "hostile_adapters:segfault"), "crashed: died: the process ended with SIGSEGV"),
        (("-a", "hostile_adapters:hard_exit"), "crashed: died: the process ended with exit status 0"),
        (("-a", "hostile_adapters:hang", "--timeout", "3"), "crashed: timeout: no result in 3 s"),
    ],
)
def test_explain_of_what_gives_no_answer_exits_with_3(cli: Cli, options: tuple[str, ...], message: str) -> None:
    done = cli("explain", "document/worked-example", *options, env=WRONG_ADAPTERS)
    assert done.returncode == 3
    assert message in done.stdout


def test_the_command_that_reproduces_a_timeout_has_its_limit(cli: Cli) -> None:
    asked = ("-a", "hostile_adapters:hang", "-c", "document/worked-example", "-d", "float64", "--timeout", "2.5")
    done = cli("run", *asked, "-o", "hang.jsonl", env=WRONG_ADAPTERS)
    assert done.returncode == 3
    assert " ".join(asked[4:]) in " ".join(done.stdout.split())


def test_the_closing_line_counts_what_is_lost_apart_and_nothing_at_the_very_edge_is_undecided(cli: Cli) -> None:
    pytest.importorskip("jax")
    strict = ("-c", "document/saturated/12", "-d", "float16", "--profile", "strict")
    done = cli("run", "-a", "jax/jit", *strict, "-o", "strict.jsonl")
    assert done.returncode == 0
    assert "lost 2, vacuous 18, slowest" in done.stdout
    failing = cli("run", "-a", "jax/jit", *strict, "--fail-on", "lost", "-o", "failing.jsonl")
    assert failing.returncode == 1


def test_the_help_says_to_repeat_dtypes_and_cases(cli: Cli) -> None:
    said = " ".join(cli("run", "-h").stdout.split())
    assert "-d, --dtype DTYPE Repeat for more." in said
    assert "Cases by id, or module:object. Repeat for more." in said


def test_explain_prints_the_truth_that_a_steps_error_is_of(cli: Cli) -> None:
    """From the reported operands: the error in ulp is of that one, and not of the truth from the inputs."""
    pytest.importorskip("torch")
    printed = cli("explain", "document/worked-example", "-a", "torch", "-d", "bfloat16").stdout
    assert printed.count("truth from its own operands") == printed.count("(step)") > 20
    _, _, truth, got, of_step = printed[printed.index("∂E_total/∂w8 = ") :].splitlines()[:5]
    value, error = (float(word) for word in re.findall(r"got +(\S+), (\S+) ulp", got)[0])
    ulp = 2.0 ** (math.floor(math.log2(abs(value))) - 7)
    assert abs(value - float(of_step.split()[-1])) / ulp == pytest.approx(error, rel=0.01)
    assert abs(value - float(truth.split()[-1])) / ulp > 1


EXPLAINED = Measurement(
    "document/one", "mine", "only", "float32", "step", "dE/dz1", 4, value=0.5, truth="[0.00, 1.00]", error_ulp=0.0,
    max_ulp=3.25, share=0.0, worst_index="0,1", certified_bits=22.125, formula="kink", execution="within",
    accuracy="certified", verdict="conforms",
)  # fmt: skip


def test_explain_says_the_three_answers_and_the_largest_error() -> None:
    assert explain.found(EXPLAINED) == ("got   0.5 at [0,1], 0 ulp (largest 3.25), share 0: conforms (step)")
    assert explain.answers(EXPLAINED) == "formula kink, execution within, accuracy certified (22.1 bits)"
    wrong = replace(EXPLAINED, formula="wrong", accuracy=None, cause="convention: mean over rows")
    assert explain.answers(wrong) == "formula wrong, execution within; convention: mean over rows"
    assert explain.answers(replace(wrong, formula=None, execution=None, cause=None)) == ""


@pytest.mark.parametrize(
    ("verdict", "colour"),
    [("conforms", "green"), ("lost", "yellow"), ("singular", "yellow"), ("deviates", "red"), ("undecided", "red")],
)
def test_explain_has_a_colour_for_a_pass_a_failure_and_what_is_neither(verdict: str, colour: str) -> None:
    assert styles.style(replace(EXPLAINED, verdict=verdict)) == colour


def test_explain_prints_a_kink_as_a_set_and_so_what_follows_from_its_slope(cli: Cli, tmp_path: Path) -> None:
    """Of a case that has relu at 0; never the middle, 1.75."""
    (tmp_path / "kinked.py").write_text(
        "import numpy as np, gradconform as gc\n"
        "layers = [(np.array([[1.0, -1.0], [1.0, 1.0]]), np.zeros(2), 'relu'),"
        " (np.array([[1.0, 2.0]]), np.zeros(1), 'identity')]\n"
        "case = gc.network_case('mine/kink', layers=layers, loss='half_squared_error', inputs=np.array([[1.0, 1.0]]),"
        " targets=np.array([[0.5]]), rate=0.5)\n"
    )
    done = cli("explain", "kinked:case", "-d", "float32")
    assert done.returncode == 0, done.stderr
    truth = dict(re.findall(r"^(\S+) = .*\n(?:    = .*\n)?    truth (.*)$", done.stdout, re.MULTILINE))
    assert truth["∂E/∂z1"] == "[0, 3.5] 7"
    assert truth["∂E/∂W1"] == "[0, 3.5] [0, 3.5] 7 7"
    assert truth["W1_new"] == "[-0.75, 1] [-2.75, -1] -2.5 -2.5"
    assert truth["∂E/∂a1"] == "[[3.5 7. ]]", "no kink is on its way"


def test_explain_prints_the_set_that_a_measurement_has_for_its_truth(monkeypatch: pytest.MonkeyPatch) -> None:
    explanation = Explanation({}, (Line("backward", "∂E/∂z1", "f", "0", EXPLAINED),), None)
    monkeypatch.setattr(explain_command, "explained", lambda *_: explanation)
    result = CliRunner().invoke(command_line.main, ["explain", "document/worked-example"])
    assert "truth from its own operands [0.00, 1.00]" in result.output


def test_explain_wants_one_case(cli: Cli) -> None:
    done = cli("explain", "document/scale-1/*")
    assert done.returncode == 2
    assert "matches 57 cases; give one id" in " ".join(done.stderr.split())


@pytest.mark.parametrize(
    ("what", "line"),
    [
        ("cases", "document/scale-20/056"),
        ("dtypes", "bfloat16: 8 bits, 2^-126 … 3.38953e+38"),
        ("equations", "E1 = ½·(t1 − a_o1)²"),
        ("routes", "numpy/central: (f(w+h) − f(w−h))/2h"),
        ("adapters", "numpy: numpy "),
        ("operations", "linear(x, W, b): (batch, in), (out, in), (out,) or None → (batch, out); x·Wᵀ + b"),
    ],
)
def test_list_shows_what_there_is(cli: Cli, what: str, line: str) -> None:
    done = cli("list", what)
    assert done.returncode == 0
    assert line in done.stdout


def test_the_operations_listed_are_those_that_the_catalogues_networks_ask_for() -> None:
    called = {line.partition("(")[0] for line in operations.listed()}
    asked = {o for case in catalogue().values() for o in point(case, "float64").operations}
    assert asked == called - {"l2_penalty"}  # which no case of the catalogue has
    assert operations.ACTIVATION.keys() == ACTIVATIONS.keys() - {"identity"}


def test_the_version_is_the_package_s(command: Cli) -> None:
    from importlib.metadata import version

    assert command("--version").stdout.strip() == f"gradconform, version {version('gradconform')}"
