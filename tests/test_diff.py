"""The comparison of two runs: a planted regression is named, a better run is not blamed, the same run has no news."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner, Result

from gradconform.conformance.command_line.commands import main
from gradconform.conformance.run.run_file import RunWriter, frame
from gradconform.reference.measurement import Measurement
from gradconform.reports import diff
from gradconform.reports.diff import CASES, compare

HEADER = {"suite": "gradconform", "suite_version": "1", "profile": "opencl"}


def row(number: int = 0, quantity: str = "dE/dW1", **fields: object) -> Measurement:
    made = Measurement(
        case=f"network/{number:02}", adapter="torch", route="eager", dtype="float32", level="step", quantity=quantity,
        elements=1, value=1.0, truth="1", error_ulp=0.25, share=0.25, allowance=1.0, verdict="conforms",
    )  # fmt: skip
    return replace(made, **fields)  # type: ignore[arg-type]


RUN = [row(n) for n in range(CASES)]
WRONG = {"verdict": "deviates", "share": 7.0, "error_ulp": 9.0}


def table(rows: list[Measurement]) -> pd.DataFrame:
    return frame([m.row() for m in rows])


def compared(old: list[Measurement], new: list[Measurement]) -> diff.Comparison:
    return compare(table(old), table(new))


def written(path: Path, rows: list[Measurement], **header: object) -> Path:
    with RunWriter(path, {**HEADER, **header}) as writer:
        writer.write(rows)
        writer.finish()
    return path


def asked(tmp_path: Path, new: list[Measurement], *options: str, **header: object) -> Result:
    files = written(tmp_path / "old.jsonl", RUN), written(tmp_path / "new.jsonl", new, **header)
    return CliRunner().invoke(main, ["diff", *map(str, files), *options])


# What is compared -----------------------------------------------------------------------------------------------------


def test_the_same_run_has_no_news() -> None:
    found = compared(RUN, RUN)
    assert (found.empty, found.regressions, found.compared) == (True, 0, CASES)


def test_the_order_of_the_rows_does_not_matter() -> None:
    assert compared(RUN, RUN[::-1]).empty


def test_what_newly_deviates_is_a_regression_and_is_named() -> None:
    found = compared(RUN, [*RUN[:3], row(3, **WRONG), *RUN[4:]])
    (change,) = found.changes
    assert (change.kind, change.case, change.quantity) == ("newly deviating", "network/03", "dE/dW1")
    assert (change.old, change.new, change.old_share, change.new_share) == ("conforms", "deviates", 0.25, 7.0)
    assert found.regressions == 1


def test_a_known_deviation_is_told_but_is_no_regression() -> None:
    found = compared(RUN, [row(0, **WRONG, reason="known:some-id"), *RUN[1:]])
    assert [c.kind for c in found.changes] == ["newly a known deviation"]
    assert found.regressions == 0


def test_a_known_deviation_that_no_file_knows_any_more_is_a_regression() -> None:
    found = compared([row(0, **WRONG, reason="known:some-id"), *RUN[1:]], [row(0, **WRONG), *RUN[1:]])
    assert [c.kind for c in found.changes] == ["newly deviating"]


def test_what_conforms_again_is_no_regression() -> None:
    found = compared([row(0, **WRONG), *RUN[1:]], RUN)
    assert [c.kind for c in found.changes] == ["newly conforming"]
    assert found.regressions == 0


@pytest.mark.parametrize("verdict", ["crashed", "undecided", "unsupported"])
def test_what_is_no_longer_judged_is_a_regression(verdict: str) -> None:
    found = compared(RUN, [row(0, verdict=verdict), *RUN[1:]])
    assert [c.kind for c in found.changes] == ["no longer judged"]


def test_a_case_that_crashes_as_a_whole_is_a_regression() -> None:
    crash = row(0, quantity="*", level=None, verdict="crashed", share=None, error_ulp=None, reason="exception: boom")
    found = compared(RUN, [crash, *RUN[1:]])
    assert [(c.kind, c.quantity, c.reason) for c in found.changes] == [("no longer judged", "*", "exception: boom")]
    assert found.gone == {"torch/eager float32": 1}


def test_a_crash_that_both_runs_have_is_no_news() -> None:
    crash = row(0, quantity="*", level=None, verdict="crashed", share=None, error_ulp=None)
    assert compared([crash, *RUN[1:]], [crash, *RUN[1:]]).empty


def test_what_one_run_alone_holds_is_counted_and_is_no_regression() -> None:
    found = compared(RUN[1:], [*RUN[2:], row(0, "dE/dW2")])
    assert (found.gone, found.new) == ({"torch/eager float32": 1}, {"torch/eager float32": 1})
    assert found.regressions == 0


def test_a_quantity_that_lost_a_bit_over_many_cases_is_less_accurate() -> None:
    found = compared(RUN, [replace(m, error_ulp=0.5) for m in RUN])
    assert [(s.kind, s.quantity, s.family, s.over) for s in found.shifts] == [
        ("less accurate", "dE/dW1", "network/*", CASES)
    ]
    assert found.regressions == 1


def test_a_quantity_that_gained_a_bit_is_more_accurate_and_no_regression() -> None:
    found = compared([replace(m, error_ulp=0.5) for m in RUN], RUN)
    assert [s.kind for s in found.shifts] == ["more accurate"]
    assert found.regressions == 0


@pytest.mark.parametrize(
    "new",
    [
        [replace(m, error_ulp=0.49) for m in RUN],  # less than a quarter of an ulp
        [replace(m, error_ulp=0.5) for m in RUN[:9]] + RUN[9:],  # the median has not moved
        [replace(m, verdict="vacuous", error_ulp=99.0) for m in RUN],  # of lost digits accuracy says nothing
        [replace(m, verdict="lost", error_ulp=99.0) for m in RUN],
    ],
)
def test_luck_is_not_called_less_accurate(new: list[Measurement]) -> None:
    assert compared(RUN, new).shifts == ()


def test_tensors_are_compared_by_their_largest_errors_if_both_runs_have_them() -> None:
    old, new = [replace(m, max_ulp=0.5) for m in RUN], [replace(m, max_ulp=2.0) for m in RUN]
    assert [(s.kind, s.old_ulp, s.new_ulp) for s in compared(old, new).shifts] == [("less accurate", 0.5, 2.0)]
    assert compared(RUN, new).shifts == (), "the error of the largest share against the same"
    worse = [replace(m, error_ulp=0.5) for m in new]
    assert [(s.old_ulp, s.new_ulp) for s in compared(RUN, worse).shifts] == [(0.25, 0.5)]


@pytest.mark.parametrize(("elements", "kinds"), [(128, ["less accurate"]), (127, [])])
def test_a_tensor_of_many_components_has_a_median_of_its_own(elements: int, kinds: list[str]) -> None:
    old, new = row(elements=elements, median_ulp=0.25), row(elements=elements, median_ulp=0.5)
    found = compared([old], [new])
    assert [s.kind for s in found.shifts] == kinds
    assert [s.family for s in found.shifts] == ["network/00"] * len(kinds)


def test_fewer_cases_than_the_threshold_say_nothing_of_accuracy() -> None:
    few = RUN[: CASES - 1]
    assert compared(few, [replace(m, error_ulp=50.0) for m in few]).shifts == ()


def test_other_bits_within_the_allowance_are_counted_and_are_no_regression() -> None:
    found = compared(RUN, [row(0, value=1.5), *RUN[1:]])
    assert found.moved == {"torch/eager float32": 1}
    assert (found.changes, found.regressions, found.empty) == ((), 0, False)


def test_a_measurement_that_comes_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="NEW has a measurement twice: network/00 torch eager float32 step dE/dW1"):
        compared(RUN, [*RUN, RUN[0]])


# What a verdict, a trace and a known deviation have lost --------------------------------------------------------------

BITS = [replace(m, certified_bits=9.0) for m in RUN]
KNOWN = {**WRONG, "reason": "known:some-id"}


def lost(m: Measurement, **fields: object) -> Measurement:
    return replace(m, **{"verdict": "vacuous", "certified_bits": -0.5, **fields})  # type: ignore[arg-type]


def kinds(old: list[Measurement], new: list[Measurement]) -> list[str]:
    return [c.kind for c in compared(old, new).changes]


@pytest.mark.parametrize("verdict", ["vacuous", "lost", "ill-conditioned", "singular", "out of range"])
def test_what_conformed_as_a_whole_and_certifies_nothing_now_is_a_regression(verdict: str) -> None:
    old = row(0, level="whole", certified_bits=0.1)
    found = compared([old], [lost(old, verdict=verdict)])
    assert [(c.kind, c.old, c.new) for c in found.changes] == [("no longer certified", "conforms", verdict)]
    assert found.regressions == 1


def test_a_step_that_is_infinite_or_nan_now_is_a_regression() -> None:
    found = compared(BITS, [lost(BITS[0], verdict="out of range", value=float("nan"), share=None), *BITS[1:]])
    assert ([c.kind for c in found.changes], found.regressions) == (["no longer certified"], 1)


@pytest.mark.parametrize("level", ["whole", "step"])
@pytest.mark.parametrize("old", ["vacuous", "lost", "ill-conditioned", "out of range"])
@pytest.mark.parametrize("new", ["vacuous", "lost", "ill-conditioned", "out of range", "singular", "conforms"])
def test_what_certified_nothing_has_nothing_to_lose(level: str, old: str, new: str) -> None:
    found = compared([row(verdict=old, level=level)], [row(verdict=new, level=level)])
    assert ([c.kind for c in found.changes], found.regressions) == (["other verdict"] * (old != new), 0)


@pytest.mark.parametrize("verdict", ["vacuous", "lost", "ill-conditioned"])
def test_a_step_that_is_uncertified_by_other_bits_of_its_operands_is_told_and_is_no_regression(verdict: str) -> None:
    found = compared(BITS, [lost(BITS[0], certified_bits=-30.0, verdict=verdict), *BITS[1:]])
    assert ([c.kind for c in found.changes], found.regressions) == (["newly uncertified at a step"], 0)


@pytest.mark.parametrize(("number", "kind"), [(9, "newly uncertified at a step"), (10, "no longer certified")])
def test_half_of_a_family_is_vacuous_by_no_luck(number: int, kind: str) -> None:
    new = [lost(m, verdict=("vacuous", "lost")[n % 2]) for n, m in enumerate(BITS[:number])] + BITS[number:]
    assert kinds(BITS, new) == [kind] * number


def test_what_a_family_gained_is_set_against_what_it_lost() -> None:
    more = [replace(m, case=f"network/more-{n:02}") for n, m in enumerate(BITS[:9])]
    old, new = [*BITS, *map(lost, more)], [*map(lost, BITS[:10]), *BITS[10:], *more]
    assert compared(old, new).regressions == 0


def test_fewer_cases_than_the_threshold_are_vacuous_by_luck() -> None:
    few = BITS[: CASES - 1]
    assert kinds(few, [lost(m) for m in few]) == ["newly uncertified at a step"] * len(few)


def test_a_step_that_is_exact_has_no_certified_bits_to_lose() -> None:
    """An update by a gradient that is exactly 0 conforms whatever the weight; by a tiny one it is vacuous."""
    assert kinds(RUN, [lost(m) for m in RUN]) == ["newly uncertified at a step"] * CASES


@pytest.mark.parametrize(("elements", "kind"), [(128, "no longer certified"), (127, "newly uncertified at a step")])
def test_a_large_tensor_is_vacuous_by_no_luck(elements: int, kind: str) -> None:
    old = row(elements=elements, certified_bits=9.0)
    assert kinds([old], [lost(old)]) == [kind]


def test_what_deviated_and_is_vacuous_now_is_not_called_conforming() -> None:
    assert kinds([row(**WRONG)], [lost(row())]) == ["other verdict"]


ANSWER = [
    row(n, quantity, level=level)
    for n in range(2)
    for level, names in (("whole", ("E", "dE/dW1", "W1_new")), ("step", ("z1", "a1", "E", "dE/dW1", "W1_new")))
    for quantity in names
]


@pytest.mark.parametrize("left", [("W1_new",), ("z1", "a1", "E", "W1_new"), ()])
def test_an_answer_that_lost_steps_is_a_regression(left: tuple[str, ...]) -> None:
    new = [m for m in ANSWER if m.case != "network/00" or m.level == "whole" or m.quantity in left]
    found = compared(ANSWER, new)
    steps = [m.quantity for m in ANSWER[3:8] if m.quantity not in left]
    assert [(c.kind, c.case, c.level, c.quantity, c.old, c.new) for c in found.changes] == [
        ("no longer traced", "network/00", "step", quantity, "conforms", None) for quantity in steps
    ]
    assert found.regressions == len(steps)
    assert found.gone == {"torch/eager float32": len(steps)}


@pytest.mark.parametrize(
    "new",
    [
        ANSWER[8:],  # the case was not asked for
        [m if m.quantity != "a1" else replace(m, quantity="h1") for m in ANSWER],  # a step has another name
        [m for m in ANSWER if m.quantity not in ("dE/dW1", "W1_new")],  # another case of the same name
        [replace(m, dtype="float64") for m in ANSWER[:8]] + ANSWER[8:],  # another dtype
        [replace(m, route="func") for m in ANSWER[:8] if m.level == "whole"] + ANSWER[8:],  # another route
    ],
)
def test_steps_of_what_was_not_answered_again_are_gone_and_no_regression(new: list[Measurement]) -> None:
    found = compared(ANSWER, new)
    assert found.gone
    assert (found.changes, found.regressions) == ((), 0)


def test_a_new_trace_is_no_regression() -> None:
    found = compared([m for m in ANSWER if m.level == "whole"], ANSWER)
    assert (found.changes, found.new, found.regressions) == ((), {"torch/eager float32": 10}, 0)


def test_a_crash_is_told_once_and_not_by_its_steps() -> None:
    crash = row(0, quantity="*", level=None, verdict="crashed", share=None, error_ulp=None)
    assert kinds(ANSWER, [crash, *ANSWER[8:]]) == ["no longer judged"]


@pytest.mark.parametrize(
    ("old", "new", "grown"),
    [
        (1.1, 2.2, True),
        (1.1, 2.19, False),
        (0.1, 1.05, False),  # known by its dtype; within an allowance, factors are luck
        (0.5, 1.5, True),
        (0.0, 0.9, False),
        (3.0, float("inf"), True),
        (float("inf"), float("inf"), False),
        (None, None, False),
        (2.2, 1.1, False),
    ],
)
def test_a_known_deviation_that_has_doubled_is_a_regression(old: float | None, new: float | None, grown: bool) -> None:
    found = compared([row(**{**KNOWN, "share": old})], [row(**{**KNOWN, "share": new})])
    assert [c.kind for c in found.changes] == ["larger known deviation"] * grown
    assert found.regressions == grown


@pytest.mark.parametrize("form", ["terminal", "markdown", "json"])
def test_what_was_lost_is_named_and_exits_with_1(tmp_path: Path, form: str) -> None:
    whole = row(0, "a", level="whole", certified_bits=9.0)
    old = [row(0, "k", **KNOWN), whole, *ANSWER[3:8], row(0, "s", certified_bits=9.0)]
    new = [row(0, "k", **{**KNOWN, "share": 14.0}), lost(whole), *ANSWER[3:7], lost(row(0, "s"))]
    files = written(tmp_path / "old.jsonl", old), written(tmp_path / "new.jsonl", new)
    result = CliRunner().invoke(main, ["diff", *map(str, files), "--format", form])
    assert result.exit_code == 1
    if form == "json":
        found = json.loads(result.output)
        assert found["regressions"] == 3
        assert {c["quantity"]: (c["kind"], c["new"], c["old_share"], c["new_share"]) for c in found["changes"]} == {
            "k": ("larger known deviation", "deviates", 7.0, 14.0),
            "a": ("no longer certified", "vacuous", 0.25, 0.25),
            "W1_new": ("no longer traced", None, 0.25, None),
            "s": ("newly uncertified at a step", "vacuous", 0.25, 0.25),
        }
        return
    for title in ("larger known deviation", "no longer certified", "no longer traced", "newly uncertified at a step"):
        assert f"{title if form == 'terminal' else title.capitalize()} (1)" in result.output
    assert ("conforms → –" in result.output, "3 regressions" in result.output) == (True, True)


# The command ----------------------------------------------------------------------------------------------------------


def test_identical_runs_exit_with_0_and_nothing_to_say(tmp_path: Path) -> None:
    result = asked(tmp_path, RUN)
    assert result.exit_code == 0
    assert f"compared {CASES} measurements: no difference" in result.output


def test_a_planted_regression_exits_with_1_and_is_named(tmp_path: Path) -> None:
    result = asked(tmp_path, [row(0, **WRONG), *RUN[1:]])
    assert result.exit_code == 1
    for word in ("newly deviating (1)", "torch/eager", "network/00", "conforms → deviates", ": 1 regression\n"):
        assert word in result.output


LONG = row(0, "d/dx", case="program/functions:attention_like_scores/0123abcd", **WRONG)


def test_a_narrow_terminal_has_a_paragraph_for_each_case_and_nothing_is_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a table of 80 columns the cases were cut; what deviates says below what is at fault."""
    new = replace(LONG, cause="Square (functions.py:14, attention_like_scores): its rule is wrong by argument 0")
    files = [str(written(tmp_path / f"{n}.jsonl", [m])) for n, m in enumerate((replace(LONG, verdict="conforms"), new))]
    said = CliRunner().invoke(main, ["diff", *files], env={"COLUMNS": "80"}).output.splitlines()
    assert max(map(len, said)) <= 80
    at = said.index("newly deviating (1)") + 1
    assert said[at] == "  torch/eager float32 program/functions:attention_like_scores/0123abcd"
    assert said[at + 1].startswith("    d/dx, level step, verdict conforms → deviates, share ")
    assert said[at + 2] == "      Square (functions.py:14, attention_like_scores): its rule is wrong by"
    assert said[at + 3] == "        argument 0"


def test_what_is_piped_is_a_line_for_each_change(tmp_path: Path) -> None:
    new = replace(LONG, cause="Square (functions.py:14, attention_like_scores): its rule is wrong by argument 0")
    files = [str(written(tmp_path / f"{n}.jsonl", [m])) for n, m in enumerate((replace(LONG, verdict="conforms"), new))]
    said = CliRunner().invoke(main, ["diff", *files], env={"COLUMNS": None}).output.splitlines()
    (line,) = [s for s in said if "0123abcd" in s]
    assert "conforms → deviates" in line
    assert line.rstrip().endswith("its rule is wrong by argument 0")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"dtype": "float16"}, "OLD has float32 and NEW float16: run both with the same dtype"),
        ({"route": "func"}, "OLD has torch/eager and NEW torch/func: run both with the same route"),
    ],
)
def test_runs_of_other_dtypes_or_routes_say_what_to_do(changes: dict[str, str], said: str) -> None:
    new = [replace(m, **changes) for m in RUN]  # type: ignore[arg-type]
    assert diff.closing(compared(RUN, new)).endswith(said)


def test_runs_without_a_measurement_in_common_exit_with_3_and_say_so(tmp_path: Path) -> None:
    result = asked(tmp_path, [replace(m, route="func") for m in RUN])
    assert result.exit_code == 3
    assert "nothing was compared: OLD and NEW share no case" in result.output


def test_a_run_that_crashed_as_a_whole_is_a_regression_though_nothing_was_compared(tmp_path: Path) -> None:
    crashes = [replace(m, quantity="*", level=None, verdict="crashed", share=None, error_ulp=None) for m in RUN]
    assert asked(tmp_path, crashes).exit_code == 1


def test_the_help_tells_gone_from_no_longer_judged() -> None:
    said = " ".join(CliRunner().invoke(main, ["diff", "-h"]).output.split())
    assert '"no longer judged" where NEW asked and got no verdict' in said
    assert '"gone" where NEW has none' in said


def test_json_holds_every_change_and_the_thresholds(tmp_path: Path) -> None:
    result = asked(tmp_path, [replace(m, **WRONG) for m in RUN], "--format", "json")  # type: ignore[arg-type]
    found = json.loads(result.output)
    assert (found["regressions"], len(found["changes"])) == (CASES + 1, CASES)
    assert found["thresholds"] == {
        "cases": 20, "components": 128, "factor": 2.0, "ulps": 0.25, "shares": 1.0, "largest": 1.0, "share": 0.25,
    }  # fmt: skip


def test_markdown_takes_names_literally(tmp_path: Path) -> None:
    evil = [row(0, "<script>|`*", **WRONG), *RUN]
    old = [row(0, "<script>|`*"), *RUN]
    text = diff.markdown(compared(old, evil), HEADER, HEADER)
    assert "&#60;script&#62;&#124;&#96;&#42;" in text
    assert "<script>" not in text


def test_long_parts_of_the_markdown_are_cut_and_counted() -> None:
    text = diff.markdown(compared(RUN, [replace(m, **WRONG) for m in RUN]), HEADER, HEADER, most=5)  # type: ignore[arg-type]
    assert "### Newly deviating (20)" in text
    assert "… and 15 more" in text


def test_different_profiles_are_refused(tmp_path: Path) -> None:
    result = asked(tmp_path, RUN, profile="strict")
    assert result.exit_code == 2
    assert "different profiles (opencl, strict)" in result.stderr


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["diff", str(tmp_path / "none.jsonl"), str(tmp_path / "none.jsonl")])
    assert result.exit_code == 2
    assert "cannot read" in result.stderr


# Operators of the catalogue -------------------------------------------------------------------------------------------


def of_operator(case: str, quantity: str = "value of output", **fields: object) -> Measurement:
    more = {"case": f"program/operator/expm1/{case}/0a1b2c3d", "level": "whole", "operator": "expm1", "max_ulp": 0.5}
    return row(0, quantity, **{**more, **fields})


OPERATOR = [of_operator(case) for case in ("ordinary", "binades", "saturated")]


def test_an_operator_whose_largest_error_and_share_grew_is_less_accurate() -> None:
    found = compared(OPERATOR, [*OPERATOR[:2], of_operator("saturated", max_ulp=3.0, share=0.75)])
    (shift,) = found.operators
    assert (shift.kind, shift.operator, shift.of, shift.over) == ("less accurate", "expm1", "value", 3)
    assert (shift.old_ulp, shift.new_ulp, shift.old_share, shift.new_share) == (0.5, 3.0, 0.25, 0.75)
    assert found.regressions == 1


def test_an_operator_that_became_more_accurate_is_told_and_is_no_regression() -> None:
    found = compared([*OPERATOR[:2], of_operator("saturated", max_ulp=3.0, share=0.75)], OPERATOR)
    assert [s.kind for s in found.operators] == ["more accurate"]
    assert found.regressions == 0


@pytest.mark.parametrize(
    "now", [{"max_ulp": 40.0}, {"share": 0.9}, {"max_ulp": 1.25, "share": 0.75}, {"max_ulp": 3.0, "share": 0.4}]
)
def test_an_operator_whose_digits_cancel_otherwise_is_no_less_accurate(now: dict[str, object]) -> None:
    assert compared(OPERATOR, [*OPERATOR[:2], of_operator("saturated", **now)]).operators == ()


def test_a_function_of_one_s_own_is_no_operator() -> None:
    old, new = (of_operator("ordinary", operator=None, max_ulp=u, share=s) for u, s in ((0.5, 0.25), (3.0, 0.75)))
    assert compared([old], [new]).operators == ()


def test_the_command_names_operators_that_became_less_accurate(tmp_path: Path) -> None:
    new = [*OPERATOR[:2], of_operator("saturated", max_ulp=3.0, share=0.75)]
    files = written(tmp_path / "old.jsonl", OPERATOR), written(tmp_path / "new.jsonl", new)
    done = CliRunner().invoke(main, ["diff", *map(str, files)])
    assert done.exit_code == 1
    assert "less accurate operators (1)" in done.output
    assert "0.5 → 3" in done.output
    (told,) = json.loads(CliRunner().invoke(main, ["diff", *map(str, files), "--format", "json"]).output)["operators"]
    assert (told["operator"], told["new_ulp"]) == ("expm1", 3.0)
