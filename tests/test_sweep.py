"""Sweeps: every number of a dtype is asked and judged by itself; a file goes on where it was."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import special
from tests_support import Cli, compiled, pdflatex

torch = pytest.importorskip("torch")

from gradconform.conformance import operators  # noqa: E402 -- its callables are PyTorch's
from gradconform.conformance.sweep import chunk, command, judged, numbers, screen, sweep_file, whole  # noqa: E402
from gradconform.conformance.sweep.numbers import Piece  # noqa: E402
from gradconform.reference.arithmetic.formats import FORMATS  # noqa: E402
from gradconform.reference.arithmetic.profiles import profile  # noqa: E402
from gradconform.reference.cases import BadInput  # noqa: E402
from gradconform.reference.programs.expressions import Expression, tree  # noqa: E402
from gradconform.reports import accuracy, sweep_figures  # noqa: E402
from gradconform.reports.export import prepared  # noqa: E402

PART = ("sweep", "sigmoid", "-d", "float16", "-a", "torch", "--sample", "6000", "--range", "-20", "20", "--jobs", "1")
ASKED = (*PART, "--every")


def swept(name: str, dtype: str, low: float, high: float, most: int = 64) -> dict[str, Any]:
    piece = numbers.sampled(numbers.between(dtype, low, high), most)
    return chunk.asked(chunk.Task(name, dtype, "torch", "opencl", piece))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_every_number_is_there_once_and_in_order(dtype: str) -> None:
    found = np.concatenate([numbers.numbers(dtype, piece) for piece in numbers.whole(dtype).pieces()])
    assert found.size == 65_536
    real = found[~np.isnan(found)]
    assert (np.diff(real) >= 0).all()
    assert np.unique(real).size == real.size - 1  # −0 and 0
    assert np.isinf(real[[0, -1]]).all()


def test_a_range_has_its_ends_and_nothing_beyond() -> None:
    found = numbers.numbers("float32", numbers.between("float32", 1.0, 1.0 + 2.0**-21))
    assert found.tolist() == [1.0 + n * 2.0**-23 for n in range(5)]
    with pytest.raises(BadInput, match="the smaller first"):
        numbers.between("float16", 2.0, 1.0)


def test_a_sample_is_at_most_so_many() -> None:
    assert numbers.sampled(Piece(0, 65_536), 1000) == Piece(0, 993, 66)


def test_what_is_right_conforms_and_infinities_and_nan_are_asked() -> None:
    found = chunk.asked(chunk.Task("tanh", "bfloat16", "torch", "opencl", Piece(0, 64, 1023)))
    assert found["asked"] == 64
    for quantity in chunk.QUANTITIES:
        verdicts = found[quantity]["verdicts"]
        assert sum(verdicts.values()) == 64
        assert not {"deviates", "undecided"} & verdicts.keys()


def test_what_chose_by_a_number_that_was_flushed_is_not_called_wrong() -> None:
    """XLA flushes subnormal numbers: their sign is that of 0."""
    pytest.importorskip("jax")
    piece = numbers.sampled(numbers.between("bfloat16", -1e-39, 1e-39), 16)
    found = chunk.asked(chunk.Task("sign", "bfloat16", "jax", "opencl", piece))
    assert "deviates" not in found["value"]["verdicts"]
    assert found["value"]["formula unknown"] > 0
    strict = chunk.asked(chunk.Task("sign", "bfloat16", "jax", "strict", piece))
    assert strict["value"]["verdicts"]["deviates"] > 0


def test_infinities_are_told() -> None:
    at = numbers.place("float16", 65504.0, up=True)
    found = chunk.asked(chunk.Task("tanh", "float16", "torch", "opencl", Piece(at, 3)))
    assert found["value"]["at infinity"] == {"+inf": 1.0}
    assert found["value"]["NaN kept"] == [1, 1]


class _Slope(torch.autograd.Function):  # type: ignore[misc, unused-ignore]
    """tanh, whose slope is 1 % off above 1."""

    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        y = torch.tanh(x)
        ctx.save_for_backward(x, y)
        return y

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        x, y = ctx.saved_tensors
        return g * (1 - y * y) * torch.where(x > 1, 1.01, 1.0)


@pytest.mark.parametrize(
    ("wrong", "quantity", "right"),
    [(_Slope.apply, "derivative", "value"), (lambda x: torch.tanh(x) * 1.01, "value", "")],
    ids=["slope", "value"],
)
def test_a_wrong_slope_or_value_deviates_from_where_it_is_wrong(
    monkeypatch: pytest.MonkeyPatch, wrong: Callable[[Any], Any], quantity: str, right: str
) -> None:
    monkeypatch.setattr(operators, "callable_of", lambda name, framework: wrong)
    found = swept("tanh", "float32", 0.5, 1.5)
    first = found[quantity]["stretches"]["deviates"][0]
    assert first[1] > 1.45
    assert 0.5 <= first[0] <= 1.02
    assert (first[0] > 1) == (quantity == "derivative")
    assert not right or "deviates" not in found[right]["verdicts"]


def swept_numbers(low: float, high: float) -> Any:
    return numbers.numbers("float32", numbers.sampled(numbers.between("float32", low, high), 1024))


def _both(monkeypatch: pytest.MonkeyPatch, name: str, low: float, high: float) -> list[dict[str, Any]]:
    """What is said of a stretch of float32 by kernels, and without them."""
    found = []
    for many in (256, 1 << 30):
        monkeypatch.setattr(chunk, "MANY", many)
        found.append(swept(name, "float32", low, high, 1024))
    return found


def _said(of: dict[str, Any]) -> list[Any]:
    """All that is said of both quantities but where the largest is, which the digits of float64 decide."""
    return [
        {k: v for k, v in of[q].items() if k not in ("largest", "largest share", "strip")}
        for q in ("value", "derivative")
    ]


@pytest.mark.parametrize(
    ("name", "low", "high", "times"),
    [("exp", -110.0, 1e5, 4), ("softplus", 19.999, 20.001, 0), ("gelu", 6.2e-6, 6.7e-6, 4)],
    ids=["overflow", "branches", "forms"],
)
def test_kernels_say_what_is_said_without_them(
    monkeypatch: pytest.MonkeyPatch, name: str, low: float, high: float, times: int
) -> None:
    """Of what the judge is asked about, and then of all, each quantity; nothing where numbers take two branches."""
    pytest.importorskip("numba")
    by = []
    monkeypatch.setattr(screen.Screen, "say", lambda *a, say=screen.Screen.say: (by.append(a), say(*a)))
    kernels, without = _both(monkeypatch, name, low, high)
    assert len(by) == times
    assert _said(kernels) == _said(without)


def test_a_choice_that_is_the_same_for_all_numbers_is_a_part_of_an_expression() -> None:
    def of(*x: float) -> Expression | None:
        run = chunk._run(chunk.Task("softplus", "float32", "torch", "opencl", Piece(0, 1)), np.array(x)).valued()
        return tree(run.backward, run.results[0], run.given, (), 0, FORMATS["float32"])

    above, below = of(21.0, 25.0), of(-3.0, 20.0)
    assert above is not None
    assert below is not None
    assert (above.text, above.value, above.off) == ("taken(x0, x0, 20.0~0.0)", 1.0, 1.0)
    assert (below.text, below.value, below.off) == ("taken(log1p(exp(x0)), x0, 20.0~0.0)", -1.0, 0.0)
    assert of(19.0, 21.0) is None


def test_kernels_ask_further_forms_of_what_the_first_leaves_open(monkeypatch: pytest.MonkeyPatch) -> None:
    """PyTorch's gelu' of very many small numbers is within its rational erf, not within the erf of the library."""
    pytest.importorskip("numba")
    by = []
    monkeypatch.setattr(screen.Screen, "say", lambda *a, say=screen.Screen.say: (say(*a), by.append(a)))
    monkeypatch.setattr(chunk, "_settled", lambda *a: a[-1])
    monkeypatch.setattr(chunk, "MANY", 1024)
    x = numbers.sampled(numbers.between("float32", 6.2e-6, 6.7e-6), 1024)
    for forms, certain in ((2, 1), (1, 0)):
        monkeypatch.setattr(screen.judged, "programs_of", lambda run, n=forms, of=judged.programs_of: of(run)[:n])
        found = chunk.asked(chunk.Task("gelu", "float32", "torch", "opencl", x))["derivative"]["verdicts"]
        assert (found == {"conforms": 1024}) == certain


@pytest.mark.parametrize(("name", "low", "high"), [("exp", -1.0, 1.0), ("gelu", 6.2e-6, 6.7e-6)])
def test_one_wrong_number_among_those_of_kernels_deviates(
    monkeypatch: pytest.MonkeyPatch, name: str, low: float, high: float
) -> None:
    pytest.importorskip("numba")
    given = operators.answered

    def answered(*asked: Any) -> tuple[Any, Any]:
        value, slope = given(*asked)
        value[601] *= 1 + 2.0**-16
        slope[602] = np.nan
        return value, slope

    monkeypatch.setattr(operators, "answered", answered)
    monkeypatch.setattr(chunk, "MANY", 256)
    found = swept(name, "float32", low, high, 1024)
    assert found["value"]["verdicts"]["deviates"] == found["derivative"]["verdicts"]["deviates"] == 1


def test_a_formula_that_is_another_between_the_recorded_numbers_deviates_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """e^x and a narrow bump; where that is nothing kernels say that the program is right."""
    pytest.importorskip("numba")
    low, high = 1.0, 1.0 + 1023 * 2.0**-23
    middle = float(swept_numbers(low, high)[503])  # two from the next that is recorded

    def wrong(x: Any) -> Any:
        far = (x - middle) * 2.0**25
        return torch.exp(x) + 0.3 * torch.exp(-far * far)

    monkeypatch.setattr(operators, "callable_of", lambda name, framework: wrong)
    by = []
    monkeypatch.setattr(screen.Screen, "say", lambda *a, say=screen.Screen.say: (by.append(a), say(*a)))
    kernels, without = _both(monkeypatch, "exp", low, high)
    assert len(by) == 4
    for found in (kernels, without):
        assert found["value"]["verdicts"] == {"conforms": 1021, "deviates": 3}
    assert _said(kernels) == _said(without)


def test_a_product_that_is_exact_is_allowed_no_rounding_by_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    """x·1.75 is exact at powers of two, so that x·1.75·1.375 is rounded once there, and twice elsewhere."""
    pytest.importorskip("numba")
    of, given = chunk.operator("exp"), operators.answered
    x, shift = swept_numbers(1.0, 2.0), 0.0

    def answered(*asked: Any) -> tuple[Any, Any]:
        value, slope = given(*asked)
        value[0] += shift
        return value, slope

    monkeypatch.setattr(chunk, "operator", lambda name: replace(of, definition=lambda o, x: x * 1.75 * 1.375))
    monkeypatch.setattr(operators, "callable_of", lambda name, framework: lambda x: x * 1.75 * 1.375)
    monkeypatch.setattr(operators, "answered", answered)
    monkeypatch.setattr(chunk, "_has_slope", lambda task: False)  # which is a constant, for which there is no kernel
    monkeypatch.setattr(chunk, "MANY", 256)
    chunk._expression.cache_clear()
    assert x[0] == 1.0
    assert swept("exp", "float32", 1.0, 2.0, 1024)["value"]["verdicts"] == {"conforms": x.size}
    shift = 2.0**-22  # one unit in the last place
    found = swept("exp", "float32", 1.0, 2.0, 1024)["value"]
    assert found["verdicts"] == {"conforms": x.size - 1, "deviates": 1}
    assert found["stretches"]["deviates"] == [[1.0, 1.0, 1]]
    chunk._expression.cache_clear()


def test_kernels_that_say_something_else_than_the_judge_say_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("numba")
    of_kernels = judged.by_kernels

    def otherwise(found: Any, *rest: Any) -> None:
        of_kernels(found, *rest)
        found.codes[-1] = judged.WORDS.index("lost")

    monkeypatch.setattr(judged, "by_kernels", otherwise)
    kernels, without = _both(monkeypatch, "exp", -1.0, 1.0)
    assert "lost" not in kernels["value"]["verdicts"]
    assert kernels == without


@pytest.mark.parametrize("x", [1e-305, 1e-320], ids=["no double word", "subnormal"])
def test_what_double_words_do_not_hold_is_judged_by_balls(monkeypatch: pytest.MonkeyPatch, x: float) -> None:
    task, at = chunk.Task("tanh", "float64", "torch", "opencl", Piece(0, 1)), np.array([x, 1.0])
    for quantity in chunk.QUANTITIES:
        _, found = chunk.of_numbers(task, quantity, at)
        assert found.ulps[0] == 0.0
        assert set(found.verdicts) <= {"conforms", "vacuous"}  # a subnormal number may be flushed
    monkeypatch.setattr(operators, "callable_of", lambda name, framework: lambda x: torch.tanh(x) * 2.0)
    assert chunk.of_numbers(task, "value", at)[1].verdicts.tolist() == ["deviates", "deviates"]


def test_what_is_wrong_at_zero_is_seen_beside_subnormal_numbers() -> None:
    """JAX's i0 has the slope 1 at 0, by e^|x|; of a subnormal number, which may be flushed to 0, the branch is open."""
    pytest.importorskip("jax")
    task = chunk.Task("i0", "bfloat16", "jax", "opencl", numbers.between("bfloat16", -(2.0**-130), 2.0**-130))
    assert chunk.asked(task)["derivative"]["stretches"]["deviates"] == [[-0.0, 0.0, 2]]
    right = chunk.asked(replace(task, operator="tanh"))
    assert "deviates" not in right["derivative"]["verdicts"]


def test_what_is_lost_is_told_from_which_argument_on() -> None:
    found = swept("sigmoid", "float16", 4.0, 12.0, 96)["derivative"]
    (low, high, _) = found["stretches"]["lost"][-1]
    assert 5 < low < 9
    assert high > 11.5
    assert found["largest"]["verdict"] == "lost"
    assert "lost" not in swept("sigmoid", "float16", -4.0, 4.0)["derivative"]["verdicts"]


def test_arrays_and_balls_say_the_same() -> None:
    x = numbers.numbers("float16", numbers.sampled(numbers.between("float16", -12.0, 12.0), 80))
    task = chunk.Task("sigmoid", "float16", "torch", "opencl", Piece(0, 1))
    run = chunk._run(task, x, definition=True)
    got = np.asarray(run.returned["eager"][0], dtype=np.float64)
    by_arrays, by_balls = (f(run, profile("opencl", "torch"), got) for f in (judged.by_arrays, judged.by_balls))
    settled = ~by_arrays.by_balls
    assert settled.sum() > 60
    assert by_arrays.verdicts[settled].tolist() == by_balls.verdicts[settled].tolist()
    assert np.allclose(by_arrays.ulps[settled], by_balls.ulps[settled], rtol=1e-5, atol=1e-5)


def test_arrays_say_of_an_infinity_that_the_truth_is_not_what_balls_do() -> None:
    x = FORMATS["float32"].round(np.array([1e38, 2.0, 2e38, 3e38, 3.4e38, 1.0, -1.0, np.float32(3.4028235e38)]))
    task = chunk.Task("gelu", "float32", "torch", "opencl", Piece(0, 1))
    run = chunk._run(task, x, definition=True).valued()
    got = FORMATS["float32"].round(x / 2 * (1 + special.erf(x / np.sqrt(2))))
    got[2:6] = np.inf, -np.inf, np.nan, FORMATS["float32"].round(np.array(0.841346))
    constants = profile("opencl", "torch")
    found, by_balls = (f(run, constants, got) for f in (judged.by_arrays, judged.by_balls))
    assert found.verdicts.tolist() == by_balls.verdicts.tolist()
    assert found.verdicts.tolist() == ["conforms"] * 2 + ["deviates"] * 4 + ["conforms"] * 2
    assert np.allclose(found.ulps[1:7], by_balls.ulps[1:7], rtol=1e-5)
    assert np.allclose(found.shares[2:6], by_balls.shares[2:6], rtol=1e-5)
    assert np.isinf(found.ulps[2:5]).all()


OVERFLOWING = [("gelu_tanh", "bfloat16", "torch", 3.0 * 2.0 ** np.arange(-10, 126, 5)),
               ("gelu_tanh", "float16", "torch", -3.0 * 2.0 ** np.arange(-10, 14)),
               ("sinh", "float16", "torch", np.linspace(8.0, 13.0, 32)),
               ("i0", "bfloat16", "torch", 3.0 * 2.0 ** np.arange(3, 126, 7)),
               ("erfcx", "bfloat16", "jax", -3.0 * 2.0 ** np.arange(0, 126, 14)),
               ("mish", "bfloat16", "torch", -3.0 * 2.0 ** np.arange(-10, 126, 5))]  # fmt: skip


@pytest.mark.parametrize(("name", "dtype", "framework", "x"), OVERFLOWING)
@pytest.mark.parametrize("quantity", chunk.QUANTITIES)
def test_the_ways_through_overflows_of_many_numbers_are_those_of_each_alone(
    name: str, dtype: str, framework: str, x: Any, quantity: str
) -> None:
    """Each has its own way through an overflow; together they have more than are followed."""
    pytest.importorskip(framework)
    x = FORMATS[dtype].round(np.concatenate([x, -x]))
    run = chunk._run(chunk.Task(name, dtype, framework, "opencl", Piece(0, 1)), x, definition=True)
    run = chunk._of(quantity, run)
    given = run.values["eager"][0] if quantity == "value" else run.returned["eager"][0]
    constants = profile("opencl", framework)
    by_arrays = 0
    for shift in (0.0, 2.0**-7):  # as it was returned, and something else
        got = FORMATS[dtype].round(np.asarray(given, dtype=np.float64) * (1 + shift) + shift)
        together = judged.by_balls(run, constants, got)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(judged.ways, "outcomes", lambda run, *rest: [None] * run.results[0].size)
            alone = judged.by_balls(run, constants, got)
        assert together.verdicts.tolist() == alone.verdicts.tolist()
        assert np.allclose(together.ulps, alone.ulps, rtol=1e-6, equal_nan=True)
        near = np.full(x.size, not shift)
        of = judged.Outcomes(run, constants, *judged.programs_of(run)[0], got, near)
        by_arrays += sum(of.by_arrays(n) for n in range(x.size))
    assert by_arrays > x.size / 2


def test_an_overflow_that_no_program_makes_deviates() -> None:
    """Of 3e38 the tanh form of gelu is 3e38, however its cube overflows; no way leads to an infinity."""
    x = FORMATS["bfloat16"].round(np.array([3e38, 1e20, 1e15]))
    run = chunk._run(chunk.Task("gelu_tanh", "bfloat16", "torch", "opencl", Piece(0, 1)), x, definition=True).valued()
    right = judged.by_balls(run, profile("opencl", "torch"), x)
    wrong = judged.by_balls(run, profile("opencl", "torch"), np.array([np.inf, 2e20, np.nan]))
    assert right.verdicts.tolist() == ["conforms"] * 3
    assert wrong.verdicts.tolist() == ["deviates"] * 3


@pytest.mark.parametrize(("factor", "verdict"), [(1.0, "out of range"), (2.0, "deviates")])
def test_beyond_float64_a_program_is_right_if_it_is_the_definition_and_wrong_if_it_is_not(
    monkeypatch: pytest.MonkeyPatch, factor: float, verdict: str
) -> None:
    monkeypatch.setattr(operators, "callable_of", lambda name, framework: lambda x: torch.exp(x) * factor)
    found = swept("exp", "float32", 710.0, 1e6, 4)
    for quantity in chunk.QUANTITIES:
        assert list(found[quantity]["verdicts"]) == [verdict]
        assert found[quantity]["formula unknown"] == 0


@pytest.mark.parametrize(("divisor", "slopes"), [(6, {"conforms": 6}), (5, {"deviates": 6})])
def test_a_branch_that_was_taken_by_rounding_is_not_called_wrong(
    monkeypatch: pytest.MonkeyPatch, divisor: int, slopes: dict[str, int]
) -> None:
    """x + 3 is 6 in bfloat16 at the last number before 3, where relu6 is constant."""
    monkeypatch.setattr(operators, "callable_of", lambda name, of: lambda x: torch.nn.functional.relu6(x + 3) / divisor)
    found = chunk.asked(
        chunk.Task("hardsigmoid", "bfloat16", "torch", "opencl", numbers.between("bfloat16", 2.9, 2.99))
    )["derivative"]
    assert found["verdicts"] == slopes
    assert found["formula unknown"] == (divisor == 6)
    assert found["largest"]["x"] == 2.984375  # the slope there is 0


def test_a_deviation_is_proved_by_arrays_where_no_program_may_overflow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operators, "callable_of", lambda name, framework: lambda x: _Off.apply(x))
    found = swept("tanh", "float32", 0.5, 1.5, 16)["value"]
    assert found["verdicts"] == {"deviates": 16}
    assert found["by balls"] == 0


class _Off(torch.autograd.Function):  # type: ignore[misc, unused-ignore]
    """tanh, whose kernel gives a thousandth too much."""

    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        y = torch.tanh(x)
        y.data.numpy()[:] *= 1.001
        return y

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        return g


def test_chunks_are_as_many_as_go_on_well_and_a_file_goes_on_in_its_own() -> None:
    from gradconform.conformance.sweep import command

    sizes = [Piece(0, count).chunk for count in (1, 1 << 16, 1 << 24, 1 << 32)]
    assert sizes == [1 << 12, 1 << 12, 1 << 18, 1 << 20]
    asked: tuple[Any, ...] = ("exp", "float32", "torch", "opencl", Piece(0, 1 << 22))
    assert [len(command.tasks(*asked, before)) for before in (None, {}, {"chunk": 1 << 20})] == [64, 1024, 4]
    assert command.header(*asked)["chunk"] == 1 << 16


def test_stretches_that_go_on_in_the_next_chunk_are_one() -> None:
    parts = [[[0.0, 1.0, 5]], [[1.5, 2.0, 3], [4.0, 5.0, 2]], [], [[6.0, 7.0, 1]], [[8.0, 9.0, 2]], [[10.5, 11.0, 1]]]
    ends = [[0.0, 1.0], [1.5, 5.0], [5.5, 5.75], [6.0, 7.0], [7.5, 9.0], [10.0, 11.0]]
    assert whole._joined(parts, ends) == [
        [0.0, 2.0, 8], [4.0, 5.0, 2], [6.0, 7.0, 1], [8.0, 9.0, 2], [10.5, 11.0, 1],
    ]  # fmt: skip


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sweep of two chunks, asked in this process."""
    from click.testing import CliRunner

    from gradconform.conformance.command_line.commands import main
    from gradconform.conformance.sweep import command

    path = tmp_path_factory.mktemp("sweep") / "one.jsonl"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(command, "here", lambda jobs: lambda tasks: map(chunk.asked, tasks))
        done = CliRunner().invoke(main, [*ASKED, "-o", str(path)])
    assert done.exit_code == 0, done.output
    assert "asked 5,633 of 65,536 numbers in " in done.output.replace("\n", " ")
    return path


def test_a_sweep_that_was_cut_off_goes_on_to_the_same_file(cli: Cli, tmp_path: Path, file: Path) -> None:
    path = tmp_path / "one.jsonl"
    lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
    assert [json.loads(line)["kind"] for line in lines] == ["header", "chunk", "chunk", "footer"]
    path.write_text("".join(lines[:2]) + lines[2][:500], encoding="utf-8")
    assert cli(*ASKED, "--resume", "one.jsonl").returncode == 0
    there = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    before = [json.loads(line) for line in lines]
    for footer in (there[-1], before[-1]):
        del footer["seconds"]
    assert there == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("sweep", "tanh", *ASKED[2:]), "is a sweep with operator 'sigmoid', here it is 'tanh'"),
        (ASKED, "is complete; there is nothing to resume"),
        (PART, "is a sweep with every True, here it is False"),
        (("sweep", "exp", "-d", "float32", "-a", "torch", "--every"), "65,536 at most: give --sample 65536, or a"),
        (("sweep", "sigmoit", *ASKED[2:]), "did you mean 'sigmoid'"),
        (("sweep", "sigmoid", "-d", "float64", "-a", "torch"), "dtype 'float64' has 2^64 numbers"),
        (("sweep", "add", "-d", "float16", "-a", "torch"), "add is no function of one number"),
        (("sweep", "dawsn", "-d", "float16", "-a", "torch"), "torch has no dawsn"),
        (("sweep", "exp", "-d", "float16", "-a", "numpy"), "of torch and jax; give one (your own is judged by run)"),
    ],
    ids=["other operator", "complete", "not every", "too many", "unknown", "dtype", "binary", "lacking", "adapter"],
)
def test_bad_input_is_refused_with_what_to_do(file: Path, arguments: tuple[str, ...], message: str) -> None:
    from click.testing import CliRunner

    from gradconform.conformance.command_line.commands import main

    done = CliRunner().invoke(main, [*arguments, "--resume", str(file)])
    assert done.exit_code == 2, done.output
    assert message in " ".join(done.output.split())  # wherever its lines are wrapped


# The report of sweeps -------------------------------------------------------------------------------------------------


def reported(*arguments: str) -> tuple[int, str]:
    from click.testing import CliRunner

    from gradconform.conformance.command_line.commands import main

    done = CliRunner().invoke(main, ["report", *arguments])
    return done.exit_code, " ".join(done.output.split())


@pdflatex
def test_a_report_of_sweeps_has_tables_figures_and_each_number(tmp_path: Path, file: Path) -> None:
    pytest.importorskip("matplotlib")
    other = changed(
        file, tmp_path / "other.jsonl", lambda footer: None, adapter="jax", frameworks={"jax": {"jax": "1"}}
    )
    out = tmp_path / "out"
    assert reported(str(file), str(other), "-o", str(out))[0] == 0
    prepared(out, accuracy.REPORT)  # which another report may replace
    with pytest.raises(ValueError, match="no earlier report"):
        prepared(out)
    names = {p.relative_to(out).as_posix() for p in out.rglob("*") if p.is_file()}
    figures = {f"figures/sweep-sigmoid{ending}" for ending in (".png", ".svg", ".pdf")}
    assert {"sweep.csv", "sweep.md", "sweep.tex", "strips.csv", *figures} < names
    footer = json.loads(file.read_text(encoding="utf-8").splitlines()[-1])
    text = (out / "sweep.md").read_text(encoding="utf-8")
    worst = footer["derivative"]["largest"]
    assert worst["of"] > 1000
    at = text[text.index("| sigmoid | derivative | float16 | torch") :].split(" | ")[6]
    assert f"| 1 in 7 of -20 to 19.98 | {worst['of']:.4g} | {at} | " in text
    assert float(FORMATS["float16"].round(float(at))) == worst["x"]
    (of_torch,) = (p for p in (out / "numbers").iterdir() if "torch" in p.name)
    rows = pd.read_csv(of_torch)
    assert len(rows) == len(set(rows["x"])) == 5633
    assert rows["derivative ulp"].max() == pytest.approx(worst["of"], rel=1e-3)
    assert (rows["derivative verdict"] == "lost").sum() == footer["derivative"]["verdicts"]["lost"]
    assert "Overfull" not in compiled(out, r"\input{sweep.tex}\noindent\includegraphics{figures/sweep-sigmoid.pdf}")


@pdflatex
def test_the_table_of_sweeps_in_latex_is_no_wider_than_the_text(tmp_path: Path, file: Path) -> None:
    def wide(footer: dict[str, Any]) -> None:
        for quantity in ("value", "derivative"):
            footer[quantity]["largest"].update(of=123456.7, x=-1.1754942106924411e-38)
            footer[quantity]["verdicts"].update(lost=1_234_567, deviates=1_234_567)

    sweeps = [
        read_back(changed(file, tmp_path / f"{n}.jsonl", wide, operator="a_rather_long_name_of_an_operator",
                          dtype="float32", frameworks={"torch": {"torch": f"2.1{n}.0"}}))
        for n in (3, 4)
    ]  # fmt: skip
    accuracy.write(sweeps, tmp_path, ())
    assert r"$1.235{\cdot}10^{5}$ & $-1.1754942{\cdot}10^{-38}$" in (tmp_path / "sweep.tex").read_text(encoding="utf-8")
    assert "Overfull" not in compiled(tmp_path, r"\input{sweep.tex}")


def test_reports_of_what_cannot_be_reported_are_refused_with_what_to_do(tmp_path: Path, file: Path) -> None:
    out = ("-o", str(tmp_path / "out"))
    run = tmp_path / "run.jsonl"
    run.write_text('{"kind":"header","suite":"gradconform","schema":2}\n', encoding="utf-8")
    part = tmp_path / "part.jsonl"
    part.write_text("".join(file.read_text(encoding="utf-8").splitlines(keepends=True)[:2]), encoding="utf-8")
    spoilt = changed(file, tmp_path / "spoilt.jsonl", lambda footer: footer["value"].pop("largest"), adapter="torch")
    for files, message in (
        ((file, run), "run.jsonl is no sweep and others are; expected files of one kind: report them apart"),
        ((part,), "part.jsonl is incomplete; go on with it by gradconform sweep"),
        ((file, file), "are of the same numbers; give each once"),
        ((spoilt,), "holds not what gradconform wrote ('largest'); sweep again"),
    ):
        status, said = reported(*map(str, files), *out)
        assert (status, message in said) == (2, True), said


def strip_of(x: Any, ulps: Any, **stretches: Any) -> sweep_figures.Strip:
    none: Any = (np.array([]), np.array([]))
    told = {word: stretches.get(word, []) for word in sweep_figures.TOLD}
    return sweep_figures.Strip("bfloat16", "torch 1", "value", (np.array(x), np.array(ulps)), none, told, "")


def test_an_axis_of_a_sweep_leaves_out_what_is_quiet_and_nothing_else() -> None:
    x = 2.0 ** np.arange(-100, 101)
    assert len(sweep_figures.fold("bfloat16", [strip_of(x, 0 * x)]).shown) == 1, "nothing happens: all is shown"
    ulps = np.where(x == 2.0**20, 3.0, 0.0)
    for loud in (strip_of(x, ulps), strip_of(x, 0 * x, deviates=[(2.0**20, 1.5 * 2.0**20)])):
        along = sweep_figures.fold("bfloat16", [strip_of(x, 0 * x), loud])
        assert [along.within(2.0**n) for n in (-100, 0, 17, 19, 20, 21, 24, 100)] == [
            False, False, False, True, True, True, False, False]  # fmt: skip
    beyond = strip_of(x, 0 * x, deviates=[(2.0**120, 1.5 * 2.0**120)])
    assert sweep_figures.fold("bfloat16", [beyond]).within(2.0**120), "what deviates without an error in ulp"
    steady = np.where(x > 0.5, 2.0, 1.2)
    many, few = (sweep_figures.fold("bfloat16", [strip_of(x[part], steady[part])]) for part in (..., x > 2.0**60))
    assert [many.within(2.0**n) for n in (-50, -1, 0, 50)] == [False, True, True, False], "as beside, of very many"
    assert few.within(2.0**80), "above half an ulp, of few"


def test_a_line_of_a_strip_hides_no_error_behind_its_neighbours() -> None:
    random = np.random.default_rng(0)
    x = np.sort(random.uniform(1.0, 4.0, 5000))
    ulps = random.uniform(0.0, 0.5, x.size)
    ulps[1234] = 40.0
    along = sweep_figures.fold("bfloat16", [strip_of(x, ulps)])
    lines = list(sweep_figures._lines(along, x, ulps))
    largest = np.concatenate([of for _, of in lines])
    assert largest.size <= sweep_figures._POINTS
    assert largest.max() == 40.0
    ((at, of),) = lines
    assert at[of.argmax()] == along.at(x[1234:1235])[0]


def test_the_marks_of_an_axis_stand_apart() -> None:
    for ends in ((-3e38, 3e38), (1e-3, 100.0), (-1e-5, 0.0)):
        x = np.linspace(*ends, 4001)
        along = sweep_figures.fold("bfloat16", [strip_of(x, np.ones_like(x))])
        marks = sorted(along.marks())
        assert len(marks) > 1
        for (a, left), (b, right) in pairwise(marks):
            assert b - a > sweep_figures._CHARACTER * (len(left) + len(right)) / 2


def test_a_number_on_an_axis_is_named_as_people_write_it() -> None:
    given = ("0.01", "-5", "1e+20", "1.7e+38", "-1e-05", "2e-10")
    assert [sweep_figures._named(d) for d in given] == ["0.01", "−5", "10²⁰", "1.7·10³⁸", "−10⁻⁵", "2·10⁻¹⁰"]


# Two sweeps -----------------------------------------------------------------------------------------------------------


def read_back(path: Path) -> accuracy.Sweep:
    found = sweep_file.read(path)
    assert found.footer is not None
    return found.header, found.chunks, found.footer


def changed(file: Path, path: Path, change: Callable[[dict[str, Any]], None], **header: object) -> Path:
    """A sweep's file with something else in its footer, or in its header."""
    lines = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    lines[0].update(header)
    change(lines[-1])
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return path


def worse(footer: dict[str, Any]) -> None:
    verdicts = footer["value"]["verdicts"]
    verdicts["conforms"] -= 3
    verdicts["deviates"] = 3
    footer["derivative"]["largest"]["of"] *= 4


def better(footer: dict[str, Any]) -> None:
    verdicts = footer["derivative"]["verdicts"]
    verdicts["conforms"] += verdicts.pop("lost")


def compared(*arguments: str) -> tuple[int, str]:
    from click.testing import CliRunner

    from gradconform.conformance.command_line.commands import main

    done = CliRunner().invoke(main, ["diff", *arguments])
    return done.exit_code, done.output


def test_a_sweep_that_has_more_wrong_numbers_or_a_larger_error_is_worse(file: Path, tmp_path: Path) -> None:
    status, said = compared(str(file), str(changed(file, tmp_path / "new.jsonl", worse)))
    assert status == 1
    assert "value: deviates 0 → 3 worse" in said
    assert "derivative: largest ulp" in said
    assert "differences, 2 of them worse" in said


def test_a_sweep_that_is_the_same_or_better_is_no_regression(file: Path, tmp_path: Path) -> None:
    assert compared(str(file), str(file)) == (0, compared(str(file), str(file))[1])
    assert "no difference" in compared(str(file), str(file))[1]
    status, said = compared(str(file), str(changed(file, tmp_path / "new.jsonl", better)), "--format", "json")
    assert status == 0
    changes = {(c["quantity"], c["what"]): c for c in json.loads(said)["changes"]}
    assert changes["derivative", "lost"]["new"] == 0
    assert json.loads(said)["regressions"] == 0


def test_sweeps_of_other_numbers_are_not_compared(file: Path, tmp_path: Path) -> None:
    other = changed(file, tmp_path / "new.jsonl", lambda footer: None, operator="tanh")
    status, said = compared(str(file), str(other))
    assert status == 2
    assert "OLD is a sweep with operator 'sigmoid', NEW one with 'tanh'" in " ".join(said.split())


def test_what_is_known_to_deviate_is_told_where_it_does() -> None:
    """gelu's overflow from 1.7e38 on: of the value, in PyTorch's versions that have it, in bfloat16 and float32."""
    asked = {"operator": "gelu", "adapter": "torch", "dtype": "bfloat16", "frameworks": {"torch": {"torch": "2.13.0"}}}
    deviating = {"value": {"verdicts": {"deviates": 126}}, "derivative": {"verdicts": {"conforms": 9}}}
    (line,) = command.known_of(deviating, asked)
    assert line.startswith("known of its value: torch-gelu-overflow: Vectorised, x(1 + erf) overflows where")
    assert list(command.known_of({"value": {"verdicts": {"conforms": 126}}}, asked)) == []
    for other in ({"dtype": "float16"}, {"operator": "tanh"}, {"frameworks": {"torch": {"torch": "1.9"}}}):
        assert list(command.known_of(deviating, {**asked, **other})) == []


def test_rows_of_an_earlier_table_stay_where_nothing_of_the_same_was_swept(tmp_path: Path, file: Path) -> None:
    pytest.importorskip("matplotlib")

    def slower(footer: dict[str, Any]) -> None:
        footer["seconds"] = 1000.0

    jax = {"adapter": "jax", "frameworks": {"jax": {"jax": "1"}}}
    first = [
        read_back(changed(file, tmp_path / "earlier.jsonl", slower, operator=name, revision="aaaaaaa", **of))
        for name, of in (("sigmoid", {}), ("tanh", {}), ("tanh", jax))
    ]
    accuracy.write(first, tmp_path, (".png",))
    before = accuracy.read(tmp_path / "sweep.csv")
    text = (tmp_path / "sweep.csv").read_text(encoding="utf-8")
    for figure in (figures := tmp_path / "figures").iterdir():
        figure.write_bytes(b"earlier")
    assert accuracy.write([], tmp_path, (".png",), before)  # nothing more: the very same
    assert (tmp_path / "sweep.csv").read_text(encoding="utf-8") == text
    accuracy.write([], tmp_path / "negative", (".png",), before.assign(lost_from="-2.0 to 3.0"))
    assert set(accuracy.read(tmp_path / "negative" / "sweep.csv")["lost_from"]) == {"-2.0 to 3.0"}
    again = [
        read_back(changed(file, tmp_path / "later.jsonl", lambda footer: None, operator=name, revision="bbbbbbb"))
        for name in ("sigmoid", "tanh")
    ]
    accuracy.write(again, tmp_path, (".png",), before)
    found = accuracy.read(tmp_path / "sweep.csv")
    made = dict(zip(zip(found["operator"], found["framework"], strict=True), found["made_by"], strict=True))
    assert made == {("sigmoid", "torch"): "revision bbbbbbb", ("tanh", "torch"): "revision bbbbbbb",
                    ("tanh", "jax"): "revision aaaaaaa"}  # fmt: skip
    assert len(found) == len(before) == 6
    assert (found["seconds"] == 1000.0).sum() == 2
    said = (tmp_path / "sweep.md").read_text(encoding="utf-8")
    assert "4 rows of 2 operators at revision bbbbbbb" in said
    assert "2 rows of 1 operator at revision aaaaaaa" in said
    # What a figure of tanh would show of JAX is in no file of this run.
    assert (figures / "sweep-sigmoid.png").read_bytes() != b"earlier"
    assert (figures / "sweep-tanh.png").read_bytes() == b"earlier"


def test_a_row_of_some_numbers_does_not_stay_beside_one_of_all(tmp_path: Path, file: Path) -> None:
    pytest.importorskip("matplotlib")
    every = {"operator": ["tanh", "tanh", "exp"], "quantity": "value", "dtype": "float32", "framework": "torch",
             "version": ["2", "1", "2"]}  # fmt: skip
    before = pd.DataFrame({**every, "of": "1 in 1,027"})
    after = accuracy.together(pd.DataFrame({**every, "of": "all"}).head(1), before)
    assert list(zip(after["operator"], after["version"], after["of"], strict=True)) == [
        ("exp", "2", "1 in 1,027"), ("tanh", "1", "1 in 1,027"), ("tanh", "2", "all")
    ]  # fmt: skip
