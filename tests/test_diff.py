"""The comparison of two runs: a planted regression is named, a better run is not blamed, the same run has no news."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner, Result

from gradconform.conformance.command_line import main
from gradconform.conformance.measurement import Measurement
from gradconform.conformance.run_file import RunWriter, frame
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


def test_a_known_deviation_that_has_grown_is_a_regression() -> None:
    known = {**WRONG, "reason": "known:some-id"}
    found = compared([row(0, **known), *RUN[1:]], [row(0, **{**known, "share": 14.0}), *RUN[1:]])
    assert [(c.kind, c.old_share, c.new_share) for c in found.changes] == [("known deviation grown", 7.0, 14.0)]
    assert found.regressions == 1
    assert compared([row(0, **known), *RUN[1:]], [row(0, **{**known, "share": 13.0}), *RUN[1:]]).regressions == 0
    assert compared([row(0, **{**known, "share": 14.0}), *RUN[1:]], [row(0, **known), *RUN[1:]]).regressions == 0


@pytest.mark.parametrize(
    ("old_bits", "new", "regressions"), [(9.0, "vacuous", 1), (0.5, "vacuous", 0), (None, "vacuous", 0),
                                         (9.0, "out of range", 1), (0.5, "out of range", 1)],
)  # fmt: skip
def test_what_conformed_and_now_says_nothing_is_a_regression(
    old_bits: float | None, new: str, regressions: int
) -> None:
    """Not where it stood at the edge: there a last digit decides whether it is vacuous."""
    old = [row(0, certified_bits=old_bits), *RUN[1:]]
    found = compared(old, [row(0, verdict=new), *RUN[1:]])
    assert found.regressions == regressions
    assert [c.kind for c in found.changes] == ["no longer certified" if regressions else "other verdict"]
    assert compared([row(0, verdict=new), *RUN[1:]], old).regressions == 0


def test_a_route_that_loses_its_trace_is_a_regression_and_a_case_that_was_not_asked_is_none() -> None:
    whole = [row(n, level="whole") for n in range(CASES)]
    found = compared([*whole, *RUN], whole)
    assert {c.kind for c in found.changes} == {"no longer judged"}
    assert found.regressions == CASES
    assert (found.changes[0].level, found.changes[0].new) == ("step", "not reported")
    assert found.changes[0].reason == "no longer reported: dE/dW1"
    assert compared([*whole, *RUN], [*whole[1:], *RUN[1:]]).regressions == 0
    assert compared(whole, [*whole, *RUN]).regressions == 0


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
    ],
)
def test_luck_is_not_called_less_accurate(new: list[Measurement]) -> None:
    assert compared(RUN, new).shifts == ()


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


# The command ----------------------------------------------------------------------------------------------------------


def test_identical_runs_exit_with_0_and_nothing_to_say(tmp_path: Path) -> None:
    result = asked(tmp_path, RUN)
    assert result.exit_code == 0
    assert f"compared {CASES} measurements: no difference" in result.output


def test_a_planted_regression_exits_with_1_and_is_named(tmp_path: Path) -> None:
    result = asked(tmp_path, [row(0, **WRONG), *RUN[1:]])
    assert result.exit_code == 1
    for word in ("newly deviating (1)", "torch/eager", "network/00", "conforms → deviates", "1 regressions"):
        assert word in result.output


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
    assert found["thresholds"] == {"cases": 20, "components": 128, "factor": 2.0, "ulps": 0.25}


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
