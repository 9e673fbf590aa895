"""What a run says at its end: every verdict counted, what is the same said once, what is lost named."""

from __future__ import annotations

import io
from dataclasses import replace

from rich.console import Console

from gradconform.conformance.run import run_summary
from gradconform.reference.measurement import Measurement

RIGHT = Measurement(
    "document/one", "mine", "only", "float32", "whole", "E_total", 1, value=0.5, truth="0.5", error_ulp=0.25, share=0.5,
    formula="right", execution="within", accuracy="certified", verdict="conforms",
)  # fmt: skip
WRONG = replace(RIGHT, verdict="deviates", execution="outside", accuracy=None, share=7.0)
KNOWN = replace(WRONG, reason="known:mine; why")
LOST = replace(
    RIGHT, quantity="dE_total/dh1", operator="sigmoid", accepted_form="a(1 − a)", verdict="lost", accuracy="lost",
    error_ulp=5e15, reason="lost: σ(z)σ(−z)",
)  # fmt: skip
CRASHED = Measurement(
    "document/one", "mine", "only", "float32", None, "*", 0, verdict="crashed",
    reason="operation: no linear; reproduce with: gradconform run -c document/one",
)  # fmt: skip


def shown(rows: list[Measurement]) -> list[list[str]]:
    """The table of verdicts as lines of words."""
    file = io.StringIO()
    Console(file=file, width=80, color_system=None).print(run_summary.verdicts(rows))
    return [line.replace("max ulp", "max_ulp").split() for line in file.getvalue().splitlines()]


def test_the_closing_line_counts_every_verdict_and_leaves_out_what_there_is_none_of() -> None:
    assert run_summary.closing([RIGHT, WRONG, KNOWN], {"mine/only": 1.25, "a/b": 1.0}) == (
        "judged 3, deviating 1 (known 1), vacuous 0, slowest mine/only 1.2 s"
    )
    verdicts = ("lost", "vacuous", "ill-conditioned", "out of range", "singular", "undecided", "crashed", "unsupported")
    every = [replace(RIGHT, verdict=v) for v in verdicts]
    assert run_summary.closing([*every, every[0]], {}) == (
        "judged 7, deviating 0 (known 0), lost 2, vacuous 1, ill-conditioned 1, out of range 1, singular 1, undecided "
        "1, crashed 1, slowest none"
    )


def test_the_table_counts_what_is_lost_and_has_a_column_of_crashes_where_something_crashed() -> None:
    assert shown([RIGHT, LOST, WRONG, KNOWN]) == [
        ["adapter/route", "dtype", "judged", "conform", "dev", "known", "lost", "vacuous", "max_ulp", "share"],
        ["mine/only", "float32", "4", "1", "1", "1", "1", "0", "0.25", "7.000"],
    ]
    crashed = shown([CRASHED])
    assert crashed[0][8] == "crash"
    assert crashed[1] == ["mine/only", "float32", "0", "0", "0", "0", "0", "0", "1", "–", "–"]


def test_the_largest_error_is_the_max_ulp_of_what_is_certified() -> None:
    tensor = replace(RIGHT, elements=9, max_ulp=7.5)
    assert shown([tensor, RIGHT, LOST, replace(LOST, verdict="vacuous", max_ulp=1e17)])[1][-2] == "7.5"


def test_every_question_has_a_line_with_the_best_answer_first() -> None:
    rows = [LOST, RIGHT, RIGHT, replace(RIGHT, formula="kink"), WRONG, CRASHED]
    assert run_summary.answers(rows) == [
        "formula: right 4, kink 1",
        "execution: within 4, outside 1",
        "accuracy: certified 3, lost 1",
    ]
    assert run_summary.answers([CRASHED]) == []


def test_a_deviation_is_told_with_its_cause_and_a_known_one_is_not() -> None:
    caused = replace(WRONG, cause="convention: mean over rows", reason="traced")
    assert run_summary.wrong([WRONG, KNOWN, caused, LOST]) == [
        "deviates: mine/only float32 document/one E_total share 7.000 (whole)",
        "deviates: mine/only float32 document/one E_total share 7.000 (whole) convention: mean over rows; traced",
    ]


def test_a_list_that_is_cut_says_how_many_more_there_are() -> None:
    rows = [replace(WRONG, case=f"document/{n}") for n in range(25)]
    said = run_summary.wrong(rows)
    assert (len(said), said[-1]) == (11, "… and 15 more")
    assert len(run_summary.wrong(rows[:10])) == 10


def test_crashes_that_are_the_same_are_one_line_with_a_count() -> None:
    again = [
        replace(CRASHED, case=f"c{n}", reason=(CRASHED.reason or "").replace("document/one", f"c{n}")) for n in "ab"
    ]
    other = replace(CRASHED, reason="exception: boom; reproduce with: gradconform run -c document/one")
    assert run_summary.wrong([CRASHED, *again, other]) == [
        "crashed 3 times, the first: mine/only float32 document/one operation: no linear; reproduce with: gradconform "
        "run -c document/one",
        "crashed: mine/only float32 document/one exception: boom; reproduce with: gradconform run -c document/one",
    ]


def test_what_is_lost_is_told_by_operator_with_the_program_that_keeps_the_digits() -> None:
    rows = [LOST, replace(LOST, dtype="float64"), replace(LOST, case="c"), RIGHT]
    other = replace(LOST, operator="E", accepted_form="log(1 − a)", reason="traced; unstable: from the logits")
    unsaid = replace(LOST, operator=None, accepted_form=None, reason=None)
    assert run_summary.lost([*rows, other, unsaid]) == [
        "mine/only in float64, float32: 3 of sigmoid by a(1 − a); what keeps the digits: σ(z)σ(−z)",
        "mine/only in float32: 1 of E by log(1 − a); what keeps the digits: from the logits",
        "mine/only in float32: 1 of dE_total/dh1",
    ]
    many = [replace(LOST, operator=f"o{n}") for n in range(12)]
    assert run_summary.lost(many)[10:] == ["… and 2 more, in `gradconform report`"]


def test_the_summary_counts_what_is_unsupported_apart_from_what_was_judged() -> None:
    rows = [replace(RIGHT, dtype=dtype) for dtype in ("bfloat16", "float32", "float64")]
    refused = replace(CRASHED, case="network/one", dtype="float64", verdict="unsupported", reason="why: x")
    rows += [replace(refused, dtype=dtype) for dtype in ("bfloat16", "float32")]
    assert [line[2] for line in shown(rows)] == ["judged", "1", "1", "1"]
    assert run_summary.unsupported(rows) == ["mine/only in float32, bfloat16: 1 of 2 cases (why: x)"]


def test_the_operations_that_an_adapter_lacks_are_told_together() -> None:
    refused = replace(CRASHED, verdict="unsupported", reason="operation: the adapter has no l1")
    rows = [replace(refused, case=f"network/{n}") for n in range(2)]
    rows.append(replace(refused, case="network/2", reason="operation: the adapter has no relu"))
    assert run_summary.unsupported([*rows, RIGHT]) == [
        "mine/only in float32: 3 of 4 cases (operation: the adapter has no l1, relu)"
    ]
    rows.append(replace(refused, case="network/3", reason="derivation: of its own"))
    assert run_summary.unsupported(rows)[0].endswith(
        "4 of 4 cases (3 by operation: the adapter has no l1, relu; the others by 1 other reason)"
    )


def test_below_what_deviates_stands_the_command_that_explains_it_once_for_a_case() -> None:
    rows = [WRONG, replace(WRONG, quantity="w1_new"), CRASHED, replace(WRONG, case="document/two")]
    assert run_summary.wrong(rows, lambda m: f"gradconform explain {m.case}")[1:] == [
        "deviates: mine/only float32 document/one w1_new share 7.000 (whole)",
        "    gradconform explain document/one",
        "crashed: mine/only float32 document/one operation: no linear; reproduce with: gradconform run -c document/one",
        "deviates: mine/only float32 document/two E_total share 7.000 (whole)",
        "    gradconform explain document/two",
    ]


def test_whole_programs_are_told_in_words_and_their_bits_together() -> None:
    whole = replace(LOST, operator="linear", accepted_form="widest", reason="lost: sharpest keeps 16 bits")
    rows = [whole, replace(whole, reason="lost: sharpest keeps 45 bits"), replace(whole, accepted_form="widest ±½ulp")]
    assert run_summary.lost(rows) == [
        "mine/only in float32: 2 of linear by any accepted program; what keeps the digits: the most accurate accepted "
        "program (16 to 45 bits)",
        "mine/only in float32: 1 of linear by any accepted program ±½ulp; what keeps the digits: the most accurate "
        "accepted program (16 bits)",
    ]


def test_what_an_answer_leaves_out_is_told() -> None:
    silent = replace(RIGHT, reason="unreported: the answer gives no gradient; known:x; why")
    assert run_summary.unreported([RIGHT, silent, replace(silent, case="document/two")]) == [
        "mine/only gave no gradient in 2 of 2 answers; that was not judged"
    ]
    assert run_summary.unreported([RIGHT]) == []


def test_an_equation_that_is_wrong_stands_before_what_follows_from_it() -> None:
    follows = replace(RIGHT, verdict="deviates", level="whole", quantity="dE_total/dw1")
    wrong = replace(RIGHT, verdict="deviates", level="step", quantity="dE_total/do1")
    assert "dE_total/do1" in run_summary.wrong([follows, wrong])[0]
