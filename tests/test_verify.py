"""`gc.verify`: the gradient of any function, from the outside."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from tests_support import Cli

import gradconform as gc

DTYPES = ("float64", "float32", "float16", "bfloat16")


def rule(backward: Any) -> Any:
    """A function sin with a custom backward: backward(g, x)."""

    class Sine(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            ctx.save_for_backward(x)
            return x.sin()

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            return backward(g, *ctx.saved_tensors)

    return Sine.apply


def at(*numbers: float, dtype: str = "float64") -> Any:
    return torch.tensor(numbers, dtype=getattr(torch, dtype))


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_right_rule_is_true_in_every_dtype(dtype: str) -> None:
    sine = rule(lambda g, x: g * x.cos())
    report = gc.verify(lambda x: sine(x).exp(), at(0.3, -1.1, 2.5), dtype=dtype)
    assert report, str(report)
    assert (report.formula, report.execution, report.accuracy) == ("right", "within", "certified")
    assert report.complete
    assert report.culprits == ()


@pytest.mark.parametrize(("dtype", "factor"), [("float64", 2.0**-50), ("float32", 2.0**-22), ("bfloat16", 2.0**-6)])
def test_a_rule_that_is_off_by_little_is_wrong_and_named_with_its_line(dtype: str, factor: float) -> None:
    sine = rule(lambda g, x: g * x.cos() * (1 + factor))
    report = gc.verify(lambda x: sine(x).exp(), at(0.3, -1.1, 2.5), dtype=dtype)
    assert not report
    assert (report.verdict, report.formula) == ("deviates", "wrong")
    (culprit,) = report.culprits
    assert "Sine" in culprit
    assert "test_verify.py" in culprit
    assert "its rule is wrong" in culprit


def test_the_report_says_what_was_got_and_what_is_right() -> None:
    sine = rule(lambda g, x: -g * x.cos())
    text = str(gc.verify(lambda x: sine(x).sum(), at(0.25), cotangent=[torch.tensor(1.0, dtype=torch.float64)]))
    assert "deviates" in text
    assert "-0.968912421710644" in text
    assert "0.968912421710644784144595" in text


def test_a_corner_is_a_kink_and_any_of_its_slopes_conforms() -> None:
    report = gc.verify(lambda x: x.relu().sum(), at(0.0, 1.0, -2.0))
    assert report, str(report)
    wrong = rule(lambda g, x: g * 3)  # not sin at all: a slope of 3 where |sin'| is at most 1
    found = gc.verify(lambda x: wrong(x).clamp(min=0.0), at(0.0))  # whose slope there is 1
    assert (found.verdict, found.formula) == ("deviates", "wrong")


def test_what_leaves_the_record_is_no_proof_either_way() -> None:
    def escaped(x: Any) -> Any:
        return x * x.sum().item()

    report = gc.verify(escaped, at(0.3, 0.4))
    assert not report
    assert not report.complete
    assert (report.verdict, report.formula) == ("undecided", "unknown")
    assert any(".item()" in m for m in report.missing)


def test_a_modules_parameters_are_arguments_by_name() -> None:
    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Linear(4, 2))
    report = gc.verify(module, torch.randn(5, 3), dtype="float64")
    assert report, str(report)
    assert {"0.weight", "2.bias"} <= {a.removeprefix("parameters.") for a in report.table.argument}
    assert module[0].weight.dtype == torch.float32, "what is cast are copies"


def test_the_gradients_own_gradient_is_verified_where_it_is_asked_for() -> None:
    report = gc.verify(lambda x: (x.exp() * x).sum(), at(0.5, -1.25), order=2)
    assert report, str(report)
    assert len(report.gradients) == 2
    once = rule(lambda g, x: g * x.cos().detach())  # right once, and not differentiable any more
    assert gc.verify(lambda x: once(x).sum(), at(0.5))
    assert not gc.verify(lambda x: once(x).sum(), at(0.5), order=2)


def test_all_rows_of_the_jacobian_are_verified_where_they_are_asked_for() -> None:
    report = gc.verify(lambda x: x.flip(0) * x, at(0.5, -1.25, 3.0), rows="all")
    assert report, str(report)
    assert len(report.gradients) == 3


def test_a_verdict_that_is_accepted_counts_as_true() -> None:
    def lost(x: Any) -> Any:
        return ((x + 1e17) - x).sum()  # its derivative is 0, and is; 1 − 1 is exact

    def cancels(x: Any) -> Any:
        return (x.exp().log() - x).sin().sum()

    assert gc.verify(lost, at(1.0))
    report = gc.verify(cancels, at(1.0))
    assert report.verdict in ("vacuous", "ill-conditioned", "conforms")
    assert gc.verify(cancels, at(1.0), accept=("vacuous", "ill-conditioned"))


@pytest.mark.parametrize(
    "function", [torch.erfinv, torch.special.erfcx, torch.special.ndtri, torch.special.i0, torch.special.i0e,
                 torch.special.i1, torch.special.i1e, torch.special.entr], ids=lambda f: f.__name__,
)  # fmt: skip
def test_special_functions_are_rows_of_the_table(function: Any) -> None:
    report = gc.verify(lambda x: function(x).sum(), at(0.2, 0.7))
    assert report, str(report)


def test_a_kernel_without_a_definition_is_named_with_what_to_do() -> None:
    with pytest.raises(gc.BadInput, match=r"has no definition: give one as forms="):
        gc.verify(lambda x: torch.special.airy_ai(x).sum(), at(0.2, 0.7))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: gc.verify(lambda x: x, 3.0), "expected at least one PyTorch tensor or JAX array"),
        (lambda: gc.verify(lambda x: x * 2, torch.ones(2, dtype=torch.int64)), "no floating-point tensor"),
        (lambda: gc.verify(lambda x: x.long(), torch.ones(2)), "returned no floating-point tensor"),
        (lambda: gc.verify(lambda x: 1 / 0, torch.ones(2)), "ZeroDivisionError"),
        (lambda: gc.verify(lambda x: x, torch.ones(2), accept="fine"), "unknown verdict to accept 'fine'"),
        (lambda: gc.verify(lambda x: x, torch.ones(2), order=3), "expected 1 or 2"),
        (lambda: gc.verify(lambda x: x, torch.ones(2), rows="some"), "expected 'all'"),
        (lambda: gc.verify(lambda x: x, torch.ones(2), cotangent=[torch.ones(3)]), "shape"),
    ],
)
def test_bad_input_says_what_was_expected(call: Any, message: str) -> None:
    with pytest.raises(gc.BadInput, match=message):
        call()


PROGRAM = """
import torch

def right(x):
    return torch.tanh(x) * x

class Off(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x
    @staticmethod
    def backward(ctx, g):
        return ctx.saved_tensors[0] * g

def wrong(x):
    return Off.apply(x)

def cases():
    return [(torch.tensor([0.5, -2.0]),)]
"""


@pytest.mark.parametrize(
    ("function", "status", "said"), [("right", 0, "conforms 2"), ("wrong", 1, "its rule is wrong")]
)
def test_the_command_verifies_a_function_of_a_module(
    cli: Cli, tmp_path: Path, function: str, status: int, said: str
) -> None:
    (tmp_path / "mine.py").write_text(PROGRAM, encoding="utf-8")
    done = cli("verify", f"mine:{function}", "-d", "float32", "-d", "bfloat16")
    assert done.returncode == status, done.stdout + done.stderr
    assert said in done.stdout


def test_of_the_names_that_are_known_none_is_a_class_of_another_module(cli: Cli, tmp_path: Path) -> None:
    program = PROGRAM.replace("import torch\n", "import torch\nfrom torch.autograd import Function\n")
    (tmp_path / "mine.py").write_text(program, encoding="utf-8")
    for name in ("mine:zzz", "mine.zzz"):
        assert "known: Off, right, wrong (" in cli("verify", name).stderr


def test_the_command_says_which_name_is_missing(command: Cli) -> None:
    done = command("verify", "mine:")
    assert done.returncode == 2
    assert "expected MODULE:FUNCTION" in done.stderr


@pytest.mark.parametrize(
    ("program", "message"),
    [
        ("raise RuntimeError('broken')", "cannot be imported: broken"),
        ("def f(x):", "cannot be imported"),
        ("def f(x): return x\ndef cases(): raise RuntimeError('no data')", "gives no sequence of arguments: no data"),
        ("def f(x): return x\ndef cases(): return 7", "gives no sequence of arguments"),
        ("def f(x): return x\ndef cases(): return []", "gives no arguments"),
    ],
)
def test_a_module_that_raises_is_bad_input_and_no_deviation(
    cli: Cli, tmp_path: Path, program: str, message: str
) -> None:
    (tmp_path / "mine.py").write_text(program, encoding="utf-8")
    done = cli("verify", "mine:f")
    assert done.returncode == 2, done.stderr
    assert message in " ".join(done.stderr.split())


def test_a_failing_assert_shows_the_report(tmp_path: Path) -> None:
    test = "\nimport gradconform as gc\n\ndef test_wrong():\n    assert gc.verify(wrong, *cases()[0])\n"
    (tmp_path / "test_mine.py").write_text(PROGRAM + test, encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "test_mine.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1, done.stdout
    assert "culprit: Off" in done.stdout
    assert "its rule is wrong" in done.stdout


def test_a_gradient_of_what_the_function_holds_is_said_not_to_be_judged() -> None:
    module = torch.nn.Linear(2, 1)
    report = gc.verify(lambda x: module(x).pow(2).sum(), at(1.0, 2.0, dtype="float32"))
    assert "not judged: the gradient of a tensor of 1 x 2 that the function holds" in str(report)
    held = torch.ones(1, requires_grad=True)
    assert "not judged" in str(gc.verify(lambda x: torch.cat([held, x]).sum(), at(1.0, 2.0, dtype="float32")))
    assert "not judged" not in str(gc.verify(module, at(1.0, 2.0, dtype="float32")))


def test_a_rule_that_is_passed_itself_is_named_with_the_line_of_its_backward() -> None:
    report = gc.verify(rule(lambda g, x: g * x), at(1.0, 2.0))
    assert "Sine (" in report.culprits[0]
    assert "test_verify.py:" in report.culprits[0]
    assert ", backward)" in report.culprits[0]


def test_one_argument_may_be_asked_for_by_its_name_or_number_alone() -> None:
    def f(a: Any, b: Any) -> Any:
        return (a * b).sum()

    for wanted in ("b", 1):
        report = gc.verify(f, at(1.0, 2.0), at(3.0, 4.0), wrt=wanted)
        assert [g.argument for g in report.gradients] == ["b"]


def test_where_the_formula_is_unknown_no_error_is_told() -> None:
    report = gc.verify(lambda x: x * torch.from_numpy(x.detach().numpy() ** 2), at(1.0, 2.0))
    assert "the derivative, as far as it is known, is" in str(report)
    assert "ulp off" not in str(report)
    assert "ulp off" in str(gc.verify(rule(lambda g, x: g * x), at(1.0, 2.0)))


class Keeping(torch.autograd.Function):
    """sin, which keeps its argument where the next call puts its own."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        Keeping.kept = x.detach().clone()  # type: ignore[attr-defined]
        return x.sin()

    @staticmethod
    def backward(ctx: Any, g: torch.Tensor) -> torch.Tensor:
        return g * Keeping.kept.cos()  # type: ignore[attr-defined]


def test_of_what_is_wrong_with_rules_that_are_right_it_is_said_where_to_look() -> None:
    x, y = torch.tensor([0.5, -1.25]), torch.tensor([2.0, 0.25])
    report = gc.verify(lambda x, y: Keeping.apply(x) * Keeping.apply(y), x, y)
    assert [g.judgement.formula for g in report.gradients] == ["wrong", "right"]
    assert any(n.startswith("right by itself: Keeping; what it keeps of another call") for n in report.notes)
    second = gc.verify(lambda x: Keeping.apply(x), x, order=2)
    assert any(n == "right by itself: Keeping; for a second derivative its backward pass may not keep what it detached"
               for n in second.notes)  # fmt: skip
    assert not gc.verify(lambda x: Keeping.apply(x), x).notes


class Nearly(torch.autograd.Function):
    """tanh, whose slope is a thousandth too large: less than bfloat16 shows of a number."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        y = x.tanh()
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx: Any, g: torch.Tensor) -> torch.Tensor:
        (y,) = ctx.saved_tensors
        return (g.float() * (1 - y.float() ** 2) * 1.001).to(g.dtype)


@pytest.mark.parametrize("size", [2, 4000])  # balls, and arrays
def test_what_is_wrong_and_does_not_show_in_what_was_got_is_told_without_rounding(size: int) -> None:
    x = torch.linspace(0.5, 0.75, size)
    hidden = "rounding hides what is wrong: without it the program gives "
    (gradient,) = gc.verify(Nearly.apply, x, dtype="bfloat16", cotangent=torch.ones(size)).gradients
    assert gradient.judgement.formula == "wrong"
    assert (hidden in (gradient.judgement.reason or "")) == (gradient.judgement.error_ulp <= 1)  # type: ignore[operator]
    of_one = gc.verify(Nearly.apply, torch.full((size,), 0.5), dtype="bfloat16", cotangent=torch.ones(size))
    reason = of_one.table.reason[0]
    assert hidden in reason
    given = float(reason.partition(hidden)[2].split(";")[0])
    assert given == pytest.approx(1.001 * (1 - math.tanh(0.5) ** 2), rel=1e-6)
    assert hidden not in str(gc.verify(Nearly.apply, x))


class Distance(torch.autograd.Function):
    """Squares of distances to a target that is no parameter: it has no gradient, as its author has it."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(x, target)
        return ((x - target) ** 2).sum()

    @staticmethod
    def backward(ctx: Any, g: torch.Tensor) -> tuple[torch.Tensor, None]:
        x, target = ctx.saved_tensors
        return 2 * g * (x - target), None


def test_of_an_argument_that_a_rule_gives_none_for_it_is_said_how_to_leave_it_out() -> None:
    x, target = torch.tensor([0.5, -1.25]), torch.tensor([1.0, 0.0])
    report = gc.verify(lambda x, target: Distance.apply(x, target), x, target)
    assert list(report.table.verdict) == ["conforms", "deviates"]
    assert "∂/∂target is 0 throughout, as of a rule that gives None: where no gradient is meant, name" in str(report)
    assert gc.verify(lambda x, target: Distance.apply(x, target), x, target, wrt="x")
    assert gc.verify(lambda x, target: Distance.apply(x, target), x.requires_grad_(), target)
    assert "gives None" not in str(gc.verify(Keeping.apply, x.detach()))


def test_of_the_digits_of_what_is_wrong_nothing_is_said() -> None:
    x = torch.tensor([0.5, -1.25])
    report = gc.verify(lambda x: x.detach() * 2 + x, x)
    assert "lost" not in str(report)
    assert str(report).splitlines()[0].endswith("formula wrong · execution within")
