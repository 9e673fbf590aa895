"""Small instances of the benchmarks of programs: what they count, and that they see what they are for."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tests_support import BENCHMARKS, benchmark

import gradconform as gc

sys.path.insert(0, str(BENCHMARKS))

correct = benchmark("verify_correct")
wrong_rules = benchmark("wrong_rules")
wrong_torch = benchmark("wrong_torch")
wrong = benchmark("wrong_programs")
rule_mutants = benchmark("rule_mutants")
compiled = benchmark("compiled")

SUBJECTS = {s.name: s for s in wrong_torch.SUBJECTS}
RULES = {r.name: r for r in wrong_rules.RULES}
RUNNING = {p.name: p for p in correct.programs(["torch"])}


@pytest.mark.parametrize("name", ["Square", "Clipped", "Relu", "BiasAxis", "LayerNorm", "Recurrence", "SecondRule"])
def test_a_wrong_rule_is_caught_and_named_and_its_right_counterpart_is_not_accused(name: str) -> None:
    row = wrong.asked(SUBJECTS[name], "float32", others=False)
    assert (row.verify, row.culprit, row.right) == ("caught", "named", "conforms")
    assert not wrong.accused(row)


def test_a_rule_that_clips_its_adjoint_is_missed_by_gradcheck() -> None:
    row = wrong.asked(SUBJECTS["Clipped"], "float64")
    assert (row.verify, row.gradcheck, row.gradcheck_fast) == ("caught", "missed", "missed")
    assert wrong.asked(SUBJECTS["Cosine"], "float32").gradcheck == "rejects both"


def test_a_rule_with_a_state_leaves_its_record() -> None:
    assert wrong.asked(SUBJECTS["Counting"], "float64", others=False).verify == "undecided"


def test_a_right_program_that_is_accused_is_counted() -> None:
    subject = SUBJECTS["Square"]
    row = wrong.asked(replace(subject, right=subject.wrong), "float64", others=False)
    assert wrong.accused(row)
    assert row.verify == "rejects both"
    assert "Square" in "\n".join(wrong.misses([row]))
    assert "| 1 " in wrong.totals([row]).splitlines()[-1]


def test_a_program_that_is_not_caught_is_listed_with_the_bits_that_it_keeps() -> None:
    row = wrong.asked(SUBJECTS["NarrowHalf"], "float64", others=False)
    assert wrong.misses([row]) == ["torch NarrowHalf (half precision inside), float64: lost, 9 bits certified"]


def test_every_wrong_rule_of_the_table_is_of_another_text_than_the_right_one() -> None:
    assert len({r.name for r in wrong_rules.RULES}) == len(wrong_rules.RULES) > 100
    assert all(r.right != r.wrong for r in wrong_rules.RULES)


def test_the_least_factor_that_is_seen_is_that_of_the_dtypes_last_bits() -> None:
    found = wrong.least("torch", "float64", others=False)
    assert found.verify in (51, 52)


def test_the_tables_of_wrong_programs_are_written(tmp_path: Path) -> None:
    rows = [wrong.asked(SUBJECTS[n], "float32", others=False) for n in ("Square", "Product")]
    wrong.written(tmp_path, rows, [wrong.Least("torch", "float32", 23)])
    assert (tmp_path / "wrong.csv").read_text().count("\n") == 3
    assert "Square" in (tmp_path / "wrong.md").read_text()
    assert "| torch" in (tmp_path / "smallest.md").read_text()


def test_the_mutants_of_a_rule_are_changed_in_one_place_each_and_are_noticed() -> None:
    found = list(rule_mutants.mutants(RULES["Cosine"], 53))
    assert {m.text for m in found} == {
        "g * sin(x)", "-g / sin(x)", "-g", "sin(x)", "-g * cos(x)", "(-g * sin(x)) * (1 + 2.0**-50)",
    }  # fmt: skip
    assert {rule_mutants.said(m, "torch", "float64") for m in found} == {"noticed"}


def test_a_mutant_that_is_the_same_on_its_operands_survives() -> None:
    mutant = rule_mutants.Mutant(RULES["Modulus"], "g / sign(x)", "operator")
    assert rule_mutants.said(mutant, "torch", "float64") == "conforms"


def test_every_mutant_with_a_reason_is_a_mutant_of_its_rule() -> None:
    for rule, text in rule_mutants.equivalents():
        assert text in [m.text for m in rule_mutants.mutants(RULES[rule], 53)]


def test_a_corner_that_is_moved_a_little_is_noticed_by_an_operand_in_between() -> None:
    text = "g * where(abs(x) < 0.5000004768371582, x, 0.5 * sign(x))"
    subject = wrong_torch.of_rule(replace(RULES["Huber"], wrong=text))
    x = torch.tensor([0.25, 0.5000002], dtype=torch.float64)
    assert gc.verify(subject.right, x)
    assert gc.verify(subject.wrong, x).formula == "wrong"


def test_a_survivor_without_a_reason_was_missed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert rule_mutants.main(["--only", "Modulus"]) == 0
    assert "1/sign(x) is sign(x), and no operand is 0" in capsys.readouterr().out
    monkeypatch.setattr(rule_mutants, "equivalents", dict)
    assert rule_mutants.main(["--only", "Modulus"]) == 1
    assert "of which 1 were missed" in capsys.readouterr().out


def test_a_correct_program_has_a_row_for_each_route_with_its_answers() -> None:
    (row,) = correct.asked(RUNNING["rotary"], "bfloat16")
    assert (row.verdict, row.formula, row.execution, row.components) == ("conforms", "right", "within", 18)
    routes = [r for p in correct.programs(["jax"]) if p.name == "polynomial" for r in correct.asked(p, "float32")]
    assert [(r.route, r.verdict) for r in routes] == [("eager", "conforms"), ("jit", "conforms")]


def test_correct_programs_are_counted_by_kind() -> None:
    rows = [correct.Row("lstm", "torch", "float64", "eager", v, kind="recurrent cells") for v in ("conforms", "lost")]
    rows += [replace(rows[0], verdict="not captured"), replace(rows[0], program="gru", framework="jax")]
    (line,) = [t for t in correct.by_kind(rows).splitlines() if "recurrent" in t]
    assert [int(n) for n in line.split("|")[2:-1]] == [1, 3, 2, 1, 1, 1, 1, 1]
    assert RUNNING["lstm cell"].kind == "recurrent cells"


def test_a_program_that_is_not_captured_says_why() -> None:
    def unknown(x: torch.Tensor) -> torch.Tensor:
        return torch.linalg.eigvals(x).real

    program = replace(RUNNING["matrix exponential"].program, name="complex eigenvalues", f=unknown)
    (row,) = correct.asked(replace(RUNNING["matrix exponential"], program=program), "float64")
    assert row.verdict == "not captured"
    assert "linalg_eig" in row.why
    assert row.why in correct.exceptions([row])


def test_a_soak_draws_the_same_program_for_the_same_number_and_judges_so_many_components() -> None:
    among = [RUNNING[n] for n in ("softmax by hand", "cumprod", "where")]
    found = list(correct.soaked(60, 0, among, ("float32",)))
    assert sum(r.components for _, rows in found for r in rows) >= 60
    assert not [r for _, rows in found for r in rows if r.verdict in ("deviates", "undecided")]
    (again,) = correct.soaked(1, 0, among, ("float32",), draw=found[-1][0].number)
    assert again[1] == found[-1][1]


def test_a_soak_finds_a_program_that_is_wrong_at_zeros_only() -> None:
    class Zeros(torch.autograd.Function):
        @staticmethod
        def forward(ctx: torch.autograd.function.FunctionCtx, x: torch.Tensor) -> torch.Tensor:
            ctx.save_for_backward(x)
            return x * x + x

        @staticmethod
        def backward(ctx: torch.autograd.Function, g: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
            (x,) = ctx.saved_tensors
            return g * (2 * x + 1) * (x != 0)

    program = replace(RUNNING["where"].program, f=lambda x: Zeros.apply(x))
    found = list(correct.soaked(150, 0, [replace(RUNNING["where"], program=program)], ("float64",)))
    assert {one.values for one, rows in found if rows[0].verdict == "deviates"} <= {"zeros", "ties"}
    assert any(rows[0].verdict == "deviates" for _, rows in found)


costs = benchmark("program_costs")


@pytest.mark.parametrize("checker", ["verify, PyTorch", "gradcheck, fast"])
def test_a_check_has_its_time_and_its_memory(checker: str) -> None:
    found = costs.cost(checker, "layers", 20)
    assert found.accepted
    assert 0 < found.seconds < 20
    assert found.mib >= 0


def test_a_table_of_costs_has_an_exponent() -> None:
    rows = [vars(costs.Cost("a", "layers", n, s, 1.0, True)) for n, s in ((10, 0.1), (100, 0.1), (1000, 1.0))]
    (line,) = costs.table(rows).to_dict("records")
    assert (line["exponent"], line["1,000"]) == ("1.00", "1 s, 1 MiB")


findings = benchmark("program_findings")


def test_a_finding_has_what_was_returned_beside_what_is_right() -> None:
    found = {f.text: f for f in findings.FINDINGS["torch"]()}
    row = findings.row(found["expm1"])
    assert (row["returned"], row["verdict"], row["beside"]) == ("0.0", "lost", "conforms")
    assert row["right"].startswith("4.24835425529158")
    assert findings.row(found["hardsigmoid"])["execution"] == "outside"


def test_a_compiled_program_conforms() -> None:
    row = compiled.judged(RUNNING["log softmax"], "float32")
    assert row.verdict == "conforms", row
    assert 0 < row.compiled_share <= 1


def test_what_a_compiler_makes_wrong_deviates(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "compile", lambda f: lambda *x: f(*x) * (1 + 2.0**-16))
    row = compiled.judged(RUNNING["log softmax"], "float32")
    assert row.verdict == "deviates"
    assert row.compiled_share > 1 > row.eager_share


def test_the_programs_that_are_compiled_are_spread_over_all(tmp_path: Path) -> None:
    chosen = [p.name for p in compiled.chosen(40)]
    assert len(set(chosen)) == 40
    compiled.written(tmp_path, [compiled.Row("one", "float32", "conforms", 0.5, 0.25, 1.0, 2.0)], 60.0)
    assert "| one" in (tmp_path / "compiled.md").read_text(encoding="utf-8")
