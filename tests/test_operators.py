"""The catalogue of operators: its definitions, its cases, and both frameworks held against it."""

from __future__ import annotations

import io
import re
import sys
import warnings
from contextlib import redirect_stdout
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

import gradconform as gc
from gradconform.conformance.cases.operators import OperatorCase, cases, chosen
from gradconform.conformance.command_line.commands import main
from gradconform.conformance.command_line.verify_command import operator_targets, verified
from gradconform.conformance.known import is_known, known_deviations, marked
from gradconform.conformance.operators import FRAMEWORKS, asked
from gradconform.reference.arithmetic.formats import FORMATS
from gradconform.reference.cases import BadInput
from gradconform.reference.derivations.operators.catalogue import OPERATORS
from gradconform.reference.measurement import Measurement
from gradconform.reference.programs.recorded_gradient import gradient
from gradconform.reference.programs.recording import Array, Recording

torch = pytest.importorskip("torch")
pytest.importorskip("jax")
from gradconform.adapters.recording import torch_rules  # noqa: E402 -- its rules are PyTorch's

ROOT = Path(__file__).resolve().parents[1]
#: Of these no derivative by one argument is known, or it has jumps all over.
NOT_DIFFERENCED = frozenset({"betainc", "fmod", "remainder"})


def operands(case: OperatorCase, moved: tuple[int, Any] | None = None) -> tuple[Recording, list[Any]]:
    """A case's operands for its definition, with one of them moved; complex numbers as parts along a last axis."""
    o, found = Recording(), []
    for n, x in enumerate(case.operands):
        numbers = np.stack([x.real, x.imag], -1) if x.dtype.kind == "c" else x
        if moved is not None and moved[0] == n:
            numbers = numbers + moved[1]
        found.append(o.argument(numbers) if x.dtype.kind in "fc" else x)
    return o, found


def results(case: OperatorCase, o: Recording, arrays: list[Any]) -> list[Array]:
    assert case.operator.definition is not None
    found = case.operator.definition(o, *arrays, **case.parameters)
    return [o.number(y) for y in (found if isinstance(found, list | tuple) else [found])]


def differenced(case: OperatorCase, n: int, along: Any) -> float:
    """The slope along a direction of an operand, of the sum of all results, by central differences."""
    step = 2.0**-17
    sums = []
    for sign in (1.0, -1.0):
        o, arrays = operands(case, (n, sign * step * along))
        sums.append(sum(float(y.held.sum()) for y in results(case, o, arrays)))
    return (sums[0] - sums[1]) / (2 * step)


def slopes_agree(case: OperatorCase) -> bool:
    """Whether a definition's recorded gradient is what differences of its values are, along random directions."""
    o, arrays = operands(case)
    outputs = results(case, o, arrays)
    given = [x for x in arrays if isinstance(x, Array)]
    found = iter(gradient(o, outputs, [np.ones(y.shape) for y in outputs], given))
    drawn = np.random.default_rng(0)
    for n, x in enumerate(arrays):
        if isinstance(x, Array):
            along = drawn.normal(size=x.shape)
            slope = float((next(found).held * along).sum())
            if not np.isclose(slope, differenced(case, n, along), rtol=1e-5, atol=1e-6):
                return False
    return True


@pytest.mark.parametrize("family", sorted({o.family for o in OPERATORS.values()}))
def test_the_gradient_of_a_definition_is_what_differences_of_its_values_are(family: str) -> None:
    tried = [o for o in OPERATORS.values() if o.family == family and o.definition and o.name not in NOT_DIFFERENCED]
    wrong = [o.name for o in tried if not slopes_agree(next(c for c in cases(o, "float64") if "ordinary" in c.name))]
    assert not wrong


def test_a_table_of_slopes_that_is_wrong_is_no_gradient_of_its_values(monkeypatch: pytest.MonkeyPatch) -> None:
    from gradconform.reference.programs import recorded_gradient

    rows = dict(recorded_gradient.FUNCTIONS)
    rows["exp"] = gc_replaced(rows["exp"])
    monkeypatch.setattr(recorded_gradient, "FUNCTIONS", rows)
    assert not slopes_agree(next(cases(OPERATORS["exp"], "float64")))


def gc_replaced(row: Any) -> Any:
    return replace(row, partials=lambda o, x, v: (v * 1.001,))


def test_there_are_two_hundred_operators_with_names_of_their_own() -> None:
    assert len(OPERATORS) >= 200
    assert len({o.family for o in OPERATORS.values()}) == 16


@pytest.mark.parametrize("framework", ["torch", "jax"])
def test_what_a_framework_calls_an_operator_is_one_of_the_catalogue(framework: str) -> None:
    module = import_module(FRAMEWORKS[framework])
    names = [*module.NAMES, *module.WRITTEN]
    assert set(names) <= set(OPERATORS)
    assert all(callable(module.callable_of(name)) for name in names)


@pytest.mark.parametrize("dtype", list(FORMATS))
def test_every_number_of_a_case_is_one_of_its_dtype(dtype: str) -> None:
    of = [o for o in OPERATORS.values() if dtype in o.dtypes]
    numbers = [x for o in of for c in cases(o, dtype) for x in c.operands if x.dtype.kind == "f"]
    assert all(np.array_equal(FORMATS[dtype].round(x), x, equal_nan=True) for x in numbers)


def test_a_case_tries_both_zeros_subnormal_numbers_bounds_and_saturation() -> None:
    tried = {c.name: c.operands[0] for c in cases(OPERATORS["sigmoid"], "bfloat16")}
    assert {"zero", "subnormal", "large", "saturated", "empty", "one", "strided"} <= set(tried)
    assert np.signbit(tried["zero"]).any()
    assert 0 < np.abs(tried["subnormal"]).min() < 2.0**-126


@pytest.mark.parametrize(("framework", "name"), [("torch", "gelu"), ("torch", "cumprod"), ("torch", "complex_exp"),
                                                 ("jax", "square"), ("jax", "cumsum")])  # fmt: skip
def test_an_operator_that_is_right_conforms_in_value_and_gradient(framework: str, name: str) -> None:
    targets = [t for t in operator_targets([f"operator/{name}"], [framework], ["float32"]) if "ordinary" in t.name]
    rows = [m for v in verified(targets, []) for m in v.rows]
    assert {m.quantity for m in rows} >= {"value of output"}
    assert {m.operator for m in rows} == {name}
    assert [m.verdict for m in rows] == ["conforms"] * len(rows)


def test_a_definition_is_the_truth_of_value_and_slopes_in_place_of_the_program() -> None:
    x = torch.tensor([0.5, -1.25])
    right = gc.verify(torch.exp, x, definition=lambda o, x: o.exp(x), order=2, mode="both")
    wrong = gc.verify(torch.exp, x, definition=lambda o, x: o.exp(x) + x / 1024.0)
    assert bool(right)
    assert [(g.mode, g.judgement.formula) for g in wrong.gradients] == [("reverse", "wrong"), ("value", "wrong")]
    assert "value of output[1] (eager): deviates" in str(wrong)  # the one that is farther off


def test_a_program_may_approximate_its_definition_to_the_ulps_that_are_said() -> None:
    x = torch.tensor([1.5])

    def near(o: Any, x: Any) -> Any:
        return x * (1.0 + 2.0**-22)

    assert gc.verify(lambda x: x * 1.0, x, definition=near).formula == "wrong"
    assert gc.verify(lambda x: x * 1.0, x, definition=near, approximated=8.0).formula == "right"


@pytest.mark.parametrize("size", [1, 600], ids=["balls", "arrays"])
def test_the_ulps_of_an_approximation_are_those_of_the_terms_where_these_cancel(size: int) -> None:
    """Of 1 − 2x·F(x), the slope of Dawson's function, nothing is left far out, whatever few ulps F is off."""
    x = torch.full((size,), 2.0**-30, dtype=torch.float64)

    def formula(off: float, ulps: float) -> str:
        report = gc.verify(lambda x: 1 - (1 - x) * (1 + off), x, definition=lambda o, x: x * 1.0, approximated=ulps)
        return next(g.judgement.formula or "" for g in report.gradients if g.mode == "value")

    assert formula(2.0**-50, 8.0) == "right"
    assert formula(2.0**-50, 0.0) == "wrong"
    assert formula(2.0**-40, 8.0) == "wrong"


def test_a_definition_of_another_shape_is_refused() -> None:
    with pytest.raises(BadInput, match=r"definition: gives arrays of the shapes \[\(\)\]; expected the function's"):
        gc.verify(torch.exp, torch.tensor([0.5, -1.25]), definition=lambda o, x: x.sum())


def test_an_operator_that_a_framework_lacks_is_unsupported_and_counted() -> None:
    (one, *_) = verified(list(operator_targets(["operator/dawsn"], ["torch"], ["float64"])), [])
    assert one.lacking
    (row,) = one.rows
    assert (row.verdict, row.reason) == ("unsupported", "operation: torch: there is no such operator")
    assert row.operator == "dawsn"


def test_an_operator_without_a_derivative_is_not_called_wrong() -> None:
    (one, *_) = verified(list(operator_targets(["operator/j0"], ["torch"], ["float64"])), [])
    assert [(m.verdict, m.reason) for m in one.rows] == [("unsupported", "operation: torch: it has no derivative")]


def test_an_operator_that_the_suite_does_not_record_is_counted_and_is_no_bad_input(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delitem(torch_rules.RULES.arithmetic, "scatter_reduce")
    found = CliRunner().invoke(
        main, ["verify", "operator/segment_prod", "operator/square", "-a", "torch", "-d", "float32"]
    )
    assert found.exit_code == 0, found.output
    assert "4 runs of operators that the suite does not record" in " ".join(found.output.split())


def test_the_list_of_operators_has_a_line_for_each_its_name_first() -> None:
    found = CliRunner(env={"COLUMNS": None}).invoke(main, ["list", "operators"])
    assert [line.split(":")[0] for line in found.output.splitlines()] == list(OPERATORS)


@pytest.mark.parametrize(("arguments", "message"), [
    (["operator/gelo"], "unknown operator 'gelo'; did you mean 'gelu'"),
    (["operator/gelu", "-d", "float8"], "unknown dtype 'float8'"),
    (["operator/cholesky", "-d", "bfloat16"], "unknown dtype of cholesky 'bfloat16'"),
    (["operator/gelu", "-a", "numpy"], "unknown framework of operators 'numpy'"),
])  # fmt: skip
def test_what_there_is_not_is_bad_input(arguments: list[str], message: str) -> None:
    found = CliRunner().invoke(main, ["verify", *arguments])
    assert found.exit_code == 2
    assert message in found.output


def test_a_glob_names_operators() -> None:
    assert [o.name for o in chosen("operator/avg_pool*")] == ["avg_pool1d", "avg_pool1d_padded", "avg_pool2d"]


def test_constants_are_no_arguments() -> None:
    (one, *_) = asked(["operator/soft_margin_loss"], ["torch"], ["float32"])
    assert len(one.case.operands) == 2
    assert len(one.arguments) == 1


@pytest.fixture
def benchmark_modules() -> Any:
    sys.path.insert(0, str(ROOT / "benchmarks"))
    try:
        yield import_module("operators"), import_module("conventions_atlas")
    finally:
        sys.path.remove(str(ROOT / "benchmarks"))


def test_the_benchmark_counts_by_family_and_finds_what_deviates(benchmark_modules: Any, tmp_path: Path) -> None:
    benchmark, _ = benchmark_modules
    rows = pd.concat([
        benchmark.measured(["operator/square", "operator/sinc"], "torch", "float32", further=False),
        benchmark.measured(["operator/dawsn"], "torch", "float32", further=False),
    ])  # fmt: skip
    said = benchmark.written(rows, tmp_path)
    assert said.startswith("3 operators")
    table = pd.read_csv(tmp_path / "operators.csv").set_index("family")
    assert table.loc["elementwise", "deviates"] == (rows["verdict"] == "deviates").sum()
    assert table.loc["special", "lacking"] == 1
    assert set(pd.read_csv(tmp_path / "deviations.csv")["operator"]) <= {"sinc"}


def test_a_deviation_that_no_finding_shows_is_called_unexplained(benchmark_modules: Any) -> None:
    benchmark, _ = benchmark_modules
    of = {"adapter": "torch", "dtype": "float64", "case": "ordinary", "verdict": "deviates", "share": 2.0}
    rows = pd.DataFrame([
        {**of, "operator": "hardsigmoid", "family": "activation", "quantity": "d/dx"},
        {**of, "operator": "hardsigmoid", "family": "activation", "quantity": "value of output"},
    ])  # fmt: skip
    assert benchmark.deviations(rows)["finding"].tolist() == ["hardsigmoid", "unexplained"]


def test_a_case_without_a_second_derivative_is_still_asked_for_its_value_and_gradient(benchmark_modules: Any) -> None:
    benchmark, _ = benchmark_modules
    rows = benchmark.measured(["operator/hardsigmoid"], "torch", "float32", case="ordinary")
    assert list(zip(rows["quantity"], rows["verdict"], strict=True)) == [
        ("*", "unsupported"), ("d/dx", "conforms"), ("value of output", "conforms"),
    ]  # fmt: skip


def test_an_operator_that_a_version_of_jax_has_not_is_lacking(monkeypatch: pytest.MonkeyPatch) -> None:
    from gradconform.adapters import operators_jax

    monkeypatch.setitem(operators_jax.NAMES, "erfcx", "scipy.special.of_a_later_version")
    (one, *_) = verified(list(operator_targets(["operator/erfcx"], ["jax"], ["float32"])), [])
    assert one.lacking


def test_the_lines_of_the_findings_run(benchmark_modules: Any) -> None:
    benchmark, _ = benchmark_modules
    text = (ROOT / "docs" / "operators" / "findings.md").read_text(encoding="utf-8")
    titles = [line for line in text.splitlines() if line.startswith("## ")]
    assert {name for name, _ in benchmark.SHOWN} <= {
        word.strip(":,") for t in titles for word in t.replace(".", " ").split()
    }
    number = re.compile(r"(?<![\w.])-?(?:inf|nan|\d+(?:\.\d*)?(?:e[+-]?\d+)?)(?![\w.]*\()")
    compared = 0
    for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
        printed = io.StringIO()
        with redirect_stdout(printed), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PyTorch's, of what is in beta
            exec(block, {})
        told = re.findall(r"^print\(.*\)  # ([^;\n]*)", block, re.MULTILINE)
        if not re.search(r"^ +print", block, re.MULTILINE):  # what is printed in a loop is not told line by line
            for got, said in zip(printed.getvalue().splitlines(), told, strict=False):
                values = [float(number.findall(x)[0]) for x in (got, said) if number.findall(x)]
                if len(values) == 2:
                    assert values[0] == pytest.approx(values[1], rel=1e-2, nan_ok=True), (got, said)
                    compared += 1
    assert compared >= 30


def test_the_atlas_says_what_is_taken_at_a_kink_and_whether_that_is_in_the_set(benchmark_modules: Any) -> None:
    _, atlas = benchmark_modules
    points = [p for p in atlas.POINTS if (p.operator, p.name) in {("absolute", "0"), ("clamp", "its lower bound")}]
    rows = atlas.atlas(["torch"], ["float32"], points)
    first = rows[rows["order"] == 1]
    assert first[["value", "low", "high", "inside"]].to_numpy().tolist() == [
        [0.0, -1.0, 1.0, True],
        [1.0, 0.0, 1.0, True],
    ]
    assert atlas.kept(first).tolist() == [True, False]  # of minimum norm is 0
    assert rows[rows["order"] == 2]["low"].isna().all()


@pytest.mark.parametrize(("framework", "dtype", "case"), [
    ("jax", "float32", "huber_loss/ordinary"),
    ("jax", "float32", "multigammaln/saturated"),
    ("jax", "float32", "attention_cross/ordinary"),
    ("jax", "float32", "sort_descending/ties"),
    ("torch", "float64", "cosine_embedding_loss/ordinary"),
    ("torch", "float64", "sort_descending/ties"),
    # Where memory is strided these kernels compute in 16 bits.
    ("torch", "bfloat16", "batch_norm_in_use/strided"),
    ("torch", "float16", "batch_norm/strided"),
    ("torch", "bfloat16", "interpolate_linear/strided"),
])  # fmt: skip
def test_what_was_asked_wrongly_once_is_asked_rightly(framework: str, dtype: str, case: str) -> None:
    targets = operator_targets([f"operator/{case.split('/')[0]}"], [framework], [dtype])
    (one,) = verified([t for t in targets if t.name == f"operator/{case}"], [])
    assert {m.verdict for m in one.rows} == {"conforms"}


@pytest.mark.parametrize("profile", ["opencl", "strict"])
def test_what_is_flushed_on_its_way_through_a_choice_is_accused_only_where_flushing_is(profile: str) -> None:
    (one,) = [c for c in asked(["hardtanh"], ["jax"], ["float32"]) if c.case.name == "subnormal"]
    assert one.function is not None
    report = gc.verify(one.function, *one.arguments, definition=one.definition, profile=profile)
    assert (report.verdict == "deviates") == (profile == "strict"), str(report)


def test_a_rank_among_equals_takes_the_slopes_of_any_of_them_and_no_others() -> None:
    x = torch.tensor([[1.0, 2.0, 2.0, 0.0], [0.0, 0.0, 0.0, 0.0]])

    def skewed(x: Any) -> Any:
        first = torch.sort(x, -1, descending=True).values
        return first + (x[:, 3:] - x[:, 3:].detach())

    of = OPERATORS["sort_descending"].definition
    assert gc.verify(lambda x: torch.sort(x, -1, descending=True).values, x, definition=of).formula == "kink"
    assert gc.verify(skewed, x, definition=of).formula == "wrong"


def test_the_second_derivative_of_complex_results_is_that_of_both_their_parts() -> None:
    z = torch.tensor([0.5 - 1.25j, 1.5 + 0.25j])
    of = OPERATORS["complex_square"].definition
    assert bool(gc.verify(torch.square, z, definition=of, order=2))


def test_a_loop_under_vmap_goes_on_for_each_row_as_long_as_its_own_condition_holds() -> None:
    import jax

    def halved(x: Any) -> Any:
        return jax.lax.while_loop(lambda x: x > 1.0, lambda x: x * x / 8.0, x)

    report = gc.verify(lambda x: jax.vmap(halved)(x), jax.numpy.array([0.5, 3.0, 7.0]), mode="forward")
    assert bool(report), str(report)


# PyTorch's own sample inputs ------------------------------------------------------------------------------------------


class Sample:
    def __init__(self, *arrays: Any, **options: Any) -> None:
        self.input, self.args, self.kwargs = arrays[0], arrays[1:], options


class OpInfo:
    """What `op_db` has of an operator, as far as it is read."""

    def __init__(self, name: str, *given: Sample) -> None:
        self.name, self.given, self.aliases = name, given, ()

    def supported_backward_dtypes(self, device: str) -> set[Any]:
        return {torch.float32}

    def sample_inputs(self, device: str, dtype: Any, requires_grad: bool) -> list[Sample]:
        return list(self.given)


@pytest.fixture
def samples(monkeypatch: pytest.MonkeyPatch) -> None:
    from gradconform.adapters import op_db

    x, y = torch.tensor([[0.5, -1.25]]).mT, torch.tensor([0.75])
    given = {
        "tanh": OpInfo("tanh", Sample(x), Sample(torch.tensor(0.25)), Sample(x, out=True)),
        "logaddexp": OpInfo("logaddexp", Sample(x, y), Sample(x, 2.0), Sample(x)),
    }
    monkeypatch.setattr(op_db, "_by_name", lambda: {name: [of] for name, of in given.items()})


def test_the_samples_of_op_db_are_judged_and_those_that_are_none_of_the_operator_say_why(samples: None) -> None:
    found = CliRunner().invoke(
        main, ["verify", "operator/tanh", "operator/logaddexp", "--cases", "op_db", "-d", "float32"]
    )
    assert found.exit_code == 0, found.output
    said = " ".join(found.output.split())
    assert "operator/tanh/op_db-2 in float32: conforms" in said
    assert "operator/logaddexp/op_db-1 in float32: conforms" in said
    assert "operator/tanh/op_db-3 in float32: unsupported: it has the options out" in said
    assert "op_db-2 in float32: unsupported: not all that it is given are tensors of the dtype" in said
    assert "op_db-3 in float32: unsupported: it is given 1 tensors and not 2" in said
    assert "3 runs of other functions than the catalogue's" in said


def test_a_wrong_kernel_deviates_on_a_sample_of_op_db(samples: None, monkeypatch: pytest.MonkeyPatch) -> None:
    from gradconform.conformance import operators

    monkeypatch.setattr(operators, "callable_of", lambda name, framework: lambda x: torch.tanh(x) * 1.001)
    found = CliRunner().invoke(main, ["verify", "operator/tanh", "--cases", "op_db", "-d", "float32"])
    assert found.exit_code == 1, found.output


def test_where_op_db_cannot_be_imported_it_is_said_what_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    from gradconform.adapters import op_db

    op_db._by_name.cache_clear()
    monkeypatch.setitem(sys.modules, "torch.testing._internal.common_methods_invocations", None)
    found = CliRunner().invoke(main, ["verify", "operator/tanh", "--cases", "op_db", "-d", "float32"])
    assert found.exit_code == 2
    assert "pip install expecttest" in " ".join(found.output.split())
    found = CliRunner().invoke(main, ["verify", "operator/tanh", "--cases", "op_db", "-a", "jax"])
    assert found.exit_code == 2
    assert "cases of op_db are PyTorch's own" in " ".join(found.output.split())


# What is known --------------------------------------------------------------------------------------------------------


def deviating() -> list[Measurement]:
    """The rows of the table of deviations, as measurements."""
    table = pd.read_csv(ROOT / "docs" / "operators" / "deviations.csv", keep_default_na=False, na_values=[""])
    plain = table.astype(object).where(table.notna(), None)
    return [
        Measurement(
            f"program/operator/{r.operator}/{r.case}/0", str(r.adapter), str(r.route), str(r.dtype), "whole",
            str(r.quantity), 1, value=np.nan if r.value is None else float(r.value), share=r.share, max_ulp=r.max_ulp,
            operator=str(r.operator), formula=str(r.formula), verdict="deviates",
        )
        for r in plain.itertuples()
    ]  # fmt: skip


VERSIONS = {"torch": "2.13.0", "jax": "0.10.2"}
OF_OPERATORS = tuple(e for e in known_deviations() if e.case.startswith("program/operator/"))


def test_every_deviation_of_the_catalogue_is_known_and_every_entry_is_of_one() -> None:
    rows = deviating()
    assert len(rows) > 50
    assert all(map(is_known, marked(rows, VERSIONS, "cpu", OF_OPERATORS)))
    used = {e.id for e in OF_OPERATORS for m in rows if e.covers(m, VERSIONS, "cpu")}
    # Its farthest rows are of the derivative and of the second set of parameters, of `expi` NaN; neither op_db nor
    # torch.func is in the table.
    others = {e.id for e in OF_OPERATORS} - used
    assert others <= {
        "torch-trigamma-float64-value", "torch-erfcx-negative", "torch-trigamma-poles-float32",
        "jax-polygamma-tiny-float64", "jax-polygamma-tiny-float32", "jax-polygamma-tiny-bfloat16",
        "torch-func-cdist-float32", "torch-func-cdist-float64",
        "jax-expi-float16-overflow", "jax-expi-float16-rounding",
    }  # fmt: skip


def test_the_bounds_of_an_operator_s_entry_are_what_was_measured() -> None:
    rows = deviating()
    for entry in OF_OPERATORS:
        of = [m for m in rows if entry.covers(m, VERSIONS, "cpu")]
        for bound, name in ((entry.most_share, "share"), (entry.most_ulp, "max_ulp")):
            measured = max((x for m in of if (x := getattr(m, name)) is not None), default=0.0)
            assert bound == np.inf or not of or bound <= 1.6 * measured, entry.id


@pytest.mark.parametrize(
    "worse",
    [{"share": 4.2}, {"operator": "tanh"}, {"operator": None}, {"dtype": "float16"}, {"adapter": "torch"}],
)
def test_what_is_worse_or_of_something_else_is_not_known(worse: dict[str, Any]) -> None:
    of = ("cosh", "value of output", "float32", "jax")
    (cosh,) = [m for m in deviating() if (m.operator, m.quantity, m.dtype, m.adapter) == of]
    assert [is_known(m) for m in marked([cosh, replace(cosh, **worse)], VERSIONS, "cpu")] == [True, False]


def test_a_wrong_formula_is_known_by_its_error_in_ulps() -> None:
    tangent, _ = [m for m in deviating() if m.operator == "logcumsumexp"]
    worse = replace(tangent, max_ulp=20_000.0)
    assert [is_known(m) for m in marked([tangent, worse], VERSIONS, "cpu")] == [True, False]


@pytest.mark.parametrize(("factor", "status"), [(1.0, 0), (1.001, 1)])
def test_the_command_exits_0_on_what_is_known_and_1_on_something_new(
    monkeypatch: pytest.MonkeyPatch, factor: float, status: int
) -> None:
    from gradconform.conformance import operators

    monkeypatch.setattr(operators, "callable_of", lambda name, framework: lambda x: torch.special.i1(x) * factor)
    found = CliRunner().invoke(main, ["verify", "operator/i1", "-a", "torch", "-d", "float32"])
    assert found.exit_code == status, found.output
    assert "known:torch-i" in found.output


def test_functions_are_verified_at_samples_and_tabulated(monkeypatch: pytest.MonkeyPatch) -> None:
    """A right function, a wrong one and one that is known to be, as `benchmarks/samples.py` asks those of `op_db`."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    benchmark, source = import_module("samples"), import_module("samples_torch")
    x = torch.linspace(0.5, 2, 3)
    programs = {"right": torch.exp, "wrong": lambda x: x * x.detach(), "digamma": lambda x: x.detach() * x}
    monkeypatch.setattr(
        source, "asked", lambda *_: [benchmark.Asked(name, "0", ("0",), f, (x,)) for name, f in programs.items()]
    )
    rows = benchmark.measured(source, (), "float32", 1)
    assert rows.verdict.tolist() == ["conforms", "deviates", "deviates"]
    assert (rows.known != "").tolist() == [False, False, True]
    assert "| conforms | 1 | 1 |" in benchmark.page(source, rows, "python benchmarks/samples.py", 1.0)


def test_samples_of_jax_s_functions_are_calls_whose_arrays_are_differentiated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    benchmark, source = import_module("samples"), import_module("samples_jax")
    lines = list(source.lines("# a page\njnp.<sin|cos>(<v|a>)\nlax.<add|mul>.of: lax.<add|mul>(v, w)\n"))
    assert lines == [
        *(("jnp.sin", f"jnp.sin({x})") for x in "va"),
        *(("jnp.cos", f"jnp.cos({x})") for x in "va"),
        *((f"lax.{f}.of", f"lax.{f}(v, w)") for f in ("add", "mul")),
    ]
    asked = list(source.asked(["jnp.hypot", "lax.reduce"], "float32", 2))
    assert [(x.sample, x.of) for x in asked if x.name == "jnp.hypot"][:3] == [
        ("jnp.hypot(v, w)", ("v", "w")), ("jnp.hypot(v, w)", ("v",)), ("jnp.hypot(v, w)", ("w",)),
    ]  # fmt: skip
    rows = benchmark.measured(source, ["jnp.hypot", "lax.stop_gradient"], "float32", 1)
    assert rows.verdict.tolist() == ["conforms"] * 3 + ["deviates"]
    assert (rows.known != "").tolist() == [False] * 3 + [True]
