"""assert_conforms fails on whatever is no pass, with the report for its message; tables show their verdicts."""

from __future__ import annotations

import re
from dataclasses import replace

import pandas as pd
import pytest
from tests_support import Scripted

import gradconform as gc
from gradconform.adapters.contract import Answer
from gradconform.reference.cases import Point, Unsupported

CASE = "document/worked-example"


def raised(adapter: Scripted, **options: str) -> str:
    with pytest.raises(AssertionError) as error:
        gc.assert_conforms(adapter, CASE, **options)  # type: ignore[arg-type]
    return str(error.value)


def test_what_conforms_passes_and_is_returned() -> None:
    assert set(gc.assert_conforms(Scripted(), CASE).verdict) == {"conforms"}


def test_a_deviation_fails_with_what_was_got_and_what_is_true() -> None:
    def doubled(point: Point, answer: Answer) -> Answer:
        assert answer.gradient is not None
        return replace(answer, gradient={**answer.gradient, "w3": 2 * answer.gradient["w3"]})

    message = raised(Scripted(doubled), dtype="float32")
    assert message.startswith(f"scripted on {CASE}: 25 measurements: conforms 23, deviates 2\n")
    assert "  scripted/only float32 dE_total/dw3 (whole): deviates; formula unknown, execution outside" in message
    assert re.search(r"got 0\.00044962\d+, truth 0\.000224813\d+, share \S+", message)


def test_a_crash_fails() -> None:
    def crash(point: Point, answer: Answer) -> Answer:
        raise ZeroDivisionError("no")

    assert "  scripted/only float64: crashed: exception: ZeroDivisionError: no" in raised(Scripted(crash))


def test_what_is_unsupported_fails_unless_it_is_accepted() -> None:
    def refuse(point: Point, answer: Answer) -> Answer:
        raise Unsupported("device: none")

    assert "  scripted/only float64: unsupported: device: none" in raised(Scripted(refuse))
    assert len(gc.assert_conforms(Scripted(refuse), CASE, accept="unsupported")) == 1


def test_lost_digits_fail_unless_they_are_accepted() -> None:
    saturated = "document/saturated/37"
    with pytest.raises(AssertionError, match="vacuous"):
        gc.assert_conforms("numpy/complex-step", saturated, dtype="float32")
    every = ("lost", "vacuous", "ill-conditioned", "out of range")
    gc.assert_conforms("numpy/complex-step", saturated, dtype="float32", accept=every)


@pytest.mark.parametrize("word", ["deviates", "crashed", "losst"])
def test_what_may_not_be_accepted_is_refused(word: str) -> None:
    with pytest.raises(gc.BadInput, match=f"unknown verdict to accept '{word}'"):
        gc.assert_conforms(Scripted(), CASE, accept=word)


def test_a_long_report_is_cut_and_says_so() -> None:
    def wrong(point: Point, answer: Answer) -> Answer:
        assert answer.gradient is not None
        assert answer.updated is not None
        twice = {w: 2 * g for w, g in answer.gradient.items()}
        return Answer(9.0, twice, {w: 1 + u for w, u in answer.updated.items()})

    assert raised(Scripted(wrong)).splitlines()[-1] == "  … and 5 more"


def test_a_table_prints_its_verdicts_with_digits_that_can_be_compared() -> None:
    text = repr(gc.check("numpy/complex-step", CASE, dtype="float32"))
    assert text.startswith(f"numpy on {CASE}: 17 measurements: conforms 17\n")
    row = next(line for line in text.splitlines() if "dE_total/dw1" in line)
    value, truth = row.split()[4:6]
    assert value[:9] == truth[:9]
    assert row.endswith("conforms")
    assert max(map(len, text.splitlines())) <= 110


def test_a_table_is_neither_true_nor_false_and_says_what_to_assert() -> None:
    with pytest.raises(ValueError, match=r"gc\.assert_conforms\(adapter, case, …\) in place of assert gc\.check"):
        assert gc.check("numpy/complex-step", CASE)


def test_a_notebook_shows_the_same_and_a_selection_is_a_plain_table() -> None:
    rows = gc.check("numpy/complex-step", CASE)
    html = rows._repr_html_()  # type: ignore[operator, unused-ignore]
    assert html.startswith(f"<p>numpy on {CASE}: 17 measurements: conforms 17</p><table")
    selected = rows[rows.quantity == "E_total"]
    assert type(selected) is pd.DataFrame
    assert type(rows[["quantity"]]) is pd.DataFrame


def test_a_long_table_shows_its_first_and_last_rows() -> None:
    rows = gc.train("numpy/complex-step", CASE, steps=4)
    text = repr(rows).splitlines()
    assert len(text) == 43
    assert text[2].split()[0] == "0"
    assert text[-1].split()[0] == "3"


def test_a_gradient_that_is_left_out_beside_others_fails() -> None:
    def forgotten(point: Point, answer: Answer) -> Answer:
        assert answer.gradient is not None
        return replace(answer, gradient={k: v for k, v in answer.gradient.items() if k != "w8"})

    assert "not there: dE_total/dw8" in raised(Scripted(forgotten))


def test_updates_of_which_an_answer_gives_none_were_not_asked_for() -> None:
    assert gc.assert_conforms(Scripted(lambda point, answer: replace(answer, updated=None)), CASE) is not None
