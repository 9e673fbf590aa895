"""The page: what it holds, that nothing in a run file can break out of it, and what a browser makes of it."""

from __future__ import annotations

import base64
import csv
import gzip
import io
import json
import re
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from browser import absent, chromium

from gradconform import explain
from gradconform.adapters.on_numpy import adapter
from gradconform.conformance.cases.catalogue import catalogue
from gradconform.conformance.check import check_route
from gradconform.conformance.command_line.derivations import _same, derivations
from gradconform.conformance.known import known_deviations
from gradconform.conformance.run.run_file import frame
from gradconform.reference.cases import Case, document_case, network_case, point
from gradconform.reference.document import NETWORK
from gradconform.reference.judge import VERDICTS
from gradconform.reference.measurement import QUESTIONS, Measurement
from gradconform.reports.page import embedded, page, write_page
from gradconform.reports.words import MARKS, REMEDIES, WORDS

CASE = "document/worked-example"
HEADER = {"run": "", "device": "cpu", "profile": "opencl", "seed": 0, "frameworks": {"numpy": {"numpy": "2"}}}
DEVIATING = Measurement(
    CASE, "mine", "eager", "float32", "step", "dE_total/dw5", 1, value=1.5, truth="0.07215707293769010721861220",
    error_abs=1.43, error_ulp=2e7, allowance=1e-9, share=1.5e9, accepted_form="chained", verdict="deviates",
)  # fmt: skip
HOSTILE = "</script><script>window.stolen=1</script><img src=x onerror=window.stolen=1>\"'=1+1"


def framed(*measurements: Measurement) -> pd.DataFrame:
    return frame([m.row() for m in measurements])


@pytest.fixture(scope="module")
def measurements() -> pd.DataFrame:
    judged = [
        m
        for dtype in ("float64", "float32", "bfloat16")
        for route in adapter.routes
        for m in check_route(adapter, route, point(catalogue()[CASE], dtype), "opencl")
    ]
    known = replace(DEVIATING, quantity="dE_total/dw6", reason=f"known:{known_deviations()[0].id}")
    return framed(*judged, DEVIATING, known)


def data_of(text: str) -> dict[str, Any]:
    """The data block as a browser reads it: up to the first end of a script element."""
    (block,) = re.findall(r'<script type="application/gzip" id="data">(.*?)</script', text, re.DOTALL)
    return unpacked(block)


def unpacked(block: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(gzip.decompress(base64.b64decode(block, validate=True)))
    return found


def test_the_page_holds_every_measurement_exactly(measurements: pd.DataFrame) -> None:
    data = data_of(page(measurements, [HEADER]))
    assert data["rows"] == len(measurements)
    for name in ("case", "quantity", "truth", "verdict", "reason"):
        column = data["columns"][name]
        got = [None if code < 0 else column["values"][code] for code in column["codes"]]
        assert got == [None if pd.isna(v) else v for v in measurements[name]]
    values = [float(v) for v in data["columns"]["value"] if v is not None]
    assert values == measurements["value"].dropna().tolist()


def test_nothing_in_a_run_file_can_end_the_data_or_become_markup() -> None:
    row = replace(DEVIATING, case=HOSTILE, adapter=HOSTILE, route=HOSTILE, dtype=HOSTILE, quantity=HOSTILE,
                  accepted_form=HOSTILE, reason=HOSTILE)  # fmt: skip
    text = page(framed(row), [{**HEADER, "run": HOSTILE, HOSTILE: [HOSTILE]}])
    assert text.count("<script") == text.count("</script>") == 2
    assert "<img" not in text
    assert data_of(text)["columns"]["case"]["values"] == [HOSTILE]


@pytest.mark.parametrize("text", ["</script>", "<!--", "]]>", "&lt;", "\u2028"])
def test_embedded_json_has_no_character_that_html_gives_a_meaning_to(text: str) -> None:
    assert re.fullmatch("[A-Za-z0-9+/=]+", embedded({text: text}))
    assert unpacked(embedded({text: text})) == {text: text}


def test_the_data_is_packed_and_the_same_page_is_the_same_bytes() -> None:
    rows = [replace(DEVIATING, quantity=f"q{i}", value=i / 7) for i in range(1000)]
    assert page(framed(*rows), [HEADER]) == page(framed(*rows), [HEADER])
    data = {"rows": [m.row() for m in rows]}
    assert len(embedded(data)) < len(json.dumps(data)) / 8


def test_the_page_loads_nothing_from_elsewhere(measurements: pd.DataFrame) -> None:
    text = page(measurements, [HEADER])
    assert not re.findall(r'(?:src|href)="(?!#|data:,)', text)
    assert "default-src 'none'" in text


def test_only_https_links_of_known_deviations_are_links_and_a_case_of_another_seed_is_left_out(
    measurements: pd.DataFrame,
) -> None:
    same = derivations([catalogue()[CASE]], measurements)
    assert set(same["cases"][CASE]["at"]) == {"float64", "float32", "bfloat16"}
    other = document_case(CASE, weights=[0.1] * 8, inputs=(1, 2), targets=(0, 1), rate=0.5)
    # bfloat16 is unsupported here: there is no truth in the run to tell the cases apart by.
    assert set(derivations([other], measurements)["cases"][CASE]["at"]) == {"bfloat16"}


@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16"])
def test_numbers_of_a_case_are_shown_as_people_gave_them(measurements: pd.DataFrame, dtype: str) -> None:
    at = derivations([catalogue()[CASE]], measurements)["cases"][CASE]["at"][dtype]
    assert (at["given"]["w1"], at["given"]["i1"], at["given"]["t2"], at["given"]["η"]) == (
        "0.15",
        "0.05",
        "0.99",
        "0.5",
    )
    assert at["edges"][0]["weights"] == [[0.15, 0.2], [0.25, 0.3]]
    assert at["units"][0] == [0.05, 0.1]


def test_small_matrices_are_shown_in_full_and_large_ones_by_their_shape() -> None:
    row = replace(DEVIATING, case="mine/kink", level="whole", quantity="E", truth="6.125")
    (at,) = derivations([kinked()], framed(row))["cases"]["mine/kink"]["at"].values()
    assert (at["given"]["X"], at["given"]["W1"], at["given"]["η"]) == ("[[1 1]]", "[[1 -1] [1 1]]", "0.5")
    huber = catalogue()["network/huber"]
    rows = framed(replace(row, case=huber.id, verdict="unsupported", truth=None))
    (at,) = derivations([huber], rows)["cases"][huber.id]["at"].values()
    assert at["given"]["W1"] == "7 × 5"


def kinked() -> Case:
    """A case that has relu at 0: of ∂E/∂z1 and what follows from it the truth is a set."""
    layers = [([[1.0, -1.0], [1.0, 1.0]], [0.0, 0.0], "relu"), ([[1.0, 2.0]], [0.0], "identity")]
    as_arrays = [(np.array(w), np.array(b), activation) for w, b, activation in layers]
    of = {"inputs": np.array([[1.0, 1.0]]), "targets": np.array([[0.5]]), "rate": 0.5}
    return network_case("mine/kink", layers=as_arrays, loss="half_squared_error", **of)


def test_a_gradient_after_a_kink_is_drawn_as_the_set_that_it_is() -> None:
    row = replace(DEVIATING, case="mine/kink", level="whole", quantity="E", truth="6.125")
    (at,) = derivations([kinked()], framed(row))["cases"]["mine/kink"]["at"].values()
    assert at["edges"][0]["gradient"] == [["[0, 3.5]", "[0, 3.5]"], [7.0, 7.0]]
    assert at["edges"][1]["gradient"] == [[0.0, 7.0]]
    assert at["truth"]["dE/dz1"] == "[0, 3.5] 7"


@pytest.mark.parametrize(
    ("here", "there", "same"),
    [("0.5", "0.50000000000000001", True), ("0.5", "[0, 1]", False), ("[0, 1]", "[0, 1.0000000000000001]", True),
     ("[0, 1]", "[0, 2]", False), ("0.5", "much", False)],
)  # fmt: skip
def test_a_case_is_another_where_its_loss_is_another_number_or_set(here: str, there: str, same: bool) -> None:
    assert _same(here, there) == same


def matrix_cell(text: str) -> str:
    """What the only cell of the verdict matrix says."""
    (cell,) = re.findall(r'<button type="button" class="cell.*?</button>', text, re.DOTALL)
    return " ".join(re.sub(r"<[^>]*>", " ", cell).split())


@pytest.mark.parametrize(
    ("verdicts", "said"),
    [
        ({"vacuous": 8}, "✓ conforms 9 of 17 conform 8 vacuous largest error"),
        ({"vacuous": 6, "lost": 6, "ill-conditioned": 4},
         "◑ mostly uncertified 1 of 17 conform 6 lost 6 vacuous 4 ill-conditioned largest error"),
        ({"vacuous": 17}, "○ vacuous 0 of 17 conform 17 vacuous largest share"),
        ({"lost": 1, "vacuous": 16}, "↓ lost 0 of 17 conform 1 lost 16 vacuous largest share"),
        ({"ill-conditioned": 17}, "≈ ill-conditioned 0 of 17 conform 17 ill-conditioned largest share"),
        ({"singular": 17}, "∄ singular 0 of 17 conform 17 singular largest share"),
        ({"out of range": 17}, "∞ out of range 0 of 17 conform 17 out of range largest share"),
        ({}, "✓ conforms 17 of 17 conform largest error"),
    ],
)  # fmt: skip
def test_a_cell_counts_what_is_no_pass_and_where_that_is_most_of_it_shows_none(
    verdicts: dict[str, int], said: str
) -> None:
    words = [v for v, n in verdicts.items() for _ in range(n)]
    words += ["conforms"] * (17 - len(words))
    rows = [replace(DEVIATING, quantity=f"q{i}", verdict=v) for i, v in enumerate(words)]
    assert matrix_cell(page(framed(*rows), [HEADER])).startswith(said)


@pytest.mark.parametrize(
    ("dtype", "error", "said"),
    [
        ("float64", 3.25, "largest error 3.25 ulp"),
        ("float64", 1.13e15, "largest error leaves 2 bits right"),
        ("float64", 6e15, "largest error leaves no bit right"),
        ("float32", 2.0**23, "largest error leaves 1 bit right"),
        ("float32", float("inf"), "largest error leaves no bit right"),
        ("float8", 2000.0, "largest error 2e+03 ulp"),
    ],
)
def test_a_large_error_is_told_in_the_bits_that_it_leaves(dtype: str, error: float, said: str) -> None:
    row = replace(DEVIATING, dtype=dtype, verdict="conforms", error_ulp=0.5, max_ulp=error, elements=4)
    lost = replace(row, quantity="z", verdict="lost", max_ulp=1e17)
    cell = matrix_cell(page(framed(row, lost), [HEADER]))
    assert f"conform 1 lost {said} largest share" in cell


def test_the_answers_to_the_three_questions_head_the_page() -> None:
    right = replace(DEVIATING, quantity="a", verdict="conforms", formula="right", execution="within")
    wrong = replace(DEVIATING, formula="wrong", execution="within")
    text = page(framed(right, right, wrong), [HEADER])
    (answers,) = re.findall(r'<dl class="answers">(.*?)</dl>', text, re.DOTALL)
    said = re.sub(r"<[^>]*>", " ", answers).split()
    assert said == ["formula", "2", "right", "1", "wrong", "execution", "3", "within"]
    assert '<dl class="answers">' not in page(framed(DEVIATING), [HEADER]), "a run of schema 1 may have none"


VERIFIED = Measurement(
    "program/losses:focal/5cbda64e", "torch", "jit", "float32", "whole", "d/dx", 3, value=0.5, truth="0.25",
    max_ulp=9e6, share=0.5, certified_bits=11.0, worst_index="2", formula="wrong", execution="within",
    accuracy="certified",
    verdict="deviates", cause="Focal (losses.py:16): its rule is wrong by argument 0",
)  # fmt: skip


def section(text: str, name: str) -> str:
    found = re.search(rf'<section id="{name}".*?</section>', text, re.DOTALL)
    return found[0] if found else ""


def test_a_verified_function_has_its_answers_its_culprit_and_a_link_to_what_to_do() -> None:
    right = replace(VERIFIED, quantity="d/dw", verdict="conforms", formula="right", cause=None, reason="note: detach")
    lost = replace(right, quantity="d/db", verdict="out of range", accuracy=None, execution="overflow")
    shown = section(page(framed(right, lost, VERIFIED), [HEADER]), "programs")
    rows = re.findall(r"<tr>(.*?)</tr>", shown, re.DOTALL)[1:]
    assert ["∂/∂x" in rows[0], "∂/∂b" in rows[1], "∂/∂w" in rows[2]] == [True] * 3, "the worst first"
    cells = re.findall(r"<td[^>]*>(.*?)</td>", rows[0])
    assert cells[1:4] == ["∂/∂x", "torch/jit", "float32"]
    assert cells[5:] == [
        "wrong",
        "within",
        "certified (11.0 bits)",
        "Focal (losses.py:16): its rule is wrong by argument 0",
    ]
    links = re.findall(r'href="#(do-[^"]*)"', shown)
    assert links == ["do-wrong", "do-out-of-range"]
    assert re.findall(r'id="(do-[^"]*)"', shown) == links
    assert "note: detach" in rows[2]


def test_a_known_deviation_of_a_verified_function_is_no_failure_to_mend() -> None:
    shown = section(page(framed(replace(VERIFIED, reason="known:mine; why")), [HEADER]), "programs")
    assert 'class="known"' in shown
    assert "what to do" not in shown


def test_a_run_without_verified_functions_says_nothing_of_them(measurements: pd.DataFrame) -> None:
    text = page(measurements, [HEADER])
    assert section(text, "programs") == ""
    assert 'href="#programs"' not in text


def test_a_hostile_function_is_text() -> None:
    row = replace(VERIFIED, case=f"program/{HOSTILE}/1", quantity=f"d/d{HOSTILE}", cause=HOSTILE, reason=HOSTILE)
    text = page(framed(row), [HEADER])
    assert "<img" not in text
    assert text.count("<script") == text.count("</script>") == 2


def test_everything_that_may_be_said_of_a_verified_function_has_a_remedy() -> None:
    said = {v for v in VERDICTS if v not in ("conforms", "deviates", "unsupported")}
    assert set(REMEDIES) == said | {"wrong", "undefined", "outside"}


def test_lost_digits_have_a_table_with_the_program_that_keeps_them() -> None:
    lost = replace(DEVIATING, verdict="lost", operator="sigmoid", certified_bits=-1003.5, reason="lost: <σ(z)σ(−z)>")
    text = page(framed(lost, replace(lost, quantity="z")), [HEADER])
    (section,) = re.findall(r'<section id="lost".*?</section>', text, re.DOTALL)
    row = re.findall(r"<td[^>]*>(.*?)</td>", section)
    assert row == ["mine/eager", "float32", "sigmoid", "chained", "&lt;σ(z)σ(−z)&gt;", "2", "-1,003.5"]
    assert "Nothing is lost that another program keeps." in page(framed(DEVIATING), [HEADER])


def test_the_legend_explains_every_mark_and_no_two_marks_are_the_same() -> None:
    text = page(framed(DEVIATING), [HEADER])
    (legend,) = re.findall(r'<p class="legend">(.*?)</p>', text, re.DOTALL)
    for state, (mark, word, _) in MARKS.items():
        assert f'<b class="{state}" aria-hidden="true">{mark}</b> {word}' in legend
        assert f".{state}" in text, "a colour too"
    assert len({mark for mark, _, _ in MARKS.values()}) == len(MARKS)


def test_every_word_that_the_page_takes_for_granted_is_explained_on_it() -> None:
    text = page(framed(DEVIATING), [HEADER])
    (words,) = re.findall(r'<section id="words".*?</section>', text, re.DOTALL)
    explained = dict(re.findall(r"<dt>(.*?)</dt><dd>(.*?)</dd>", words))
    assert {"adapter/route", "share", "ulp", "truth", "certified bits", "step level", "whole level"} <= set(explained)
    assert {*QUESTIONS, *VERDICTS} - {"undecided", "unsupported", "crashed"} <= set(explained)
    for question, answers in QUESTIONS.items():
        assert [a for a in answers if a not in WORDS[question]] == []
    assert all(explained.values())
    assert text.count('href="#words"') == 2


def test_the_hypotheses_are_those_of_the_claim(measurements: pd.DataFrame) -> None:
    claim = (Path(__file__).parents[1] / "docs" / "site" / "claim.md").read_text(encoding="utf-8")
    said = re.findall(r"^\d+\. \*\*([A-Z][a-z ]+)\.?\*\*", claim, re.MULTILINE)
    shown = re.findall(r"<li><i>([A-Z][a-z ]+)\.?</i>", page(measurements, [HEADER]))
    assert shown == said
    assert len(said) == 11


# In a browser ---------------------------------------------------------------------------------------------------------

in_a_browser = pytest.mark.skipif(absent() is not None, reason=str(absent()))


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with chromium(tmp_path_factory.mktemp("profile")) as started:
        yield started


@pytest.fixture
def opened(driver: Any, measurements: pd.DataFrame, tmp_path: Path) -> Iterator[Any]:
    derived = derivations([catalogue()[CASE]], measurements)
    known = {e.id: {"reason": e.reason, "upstream": e.upstream} for e in known_deviations()}
    path = write_page(measurements, [HEADER], tmp_path, derived, known)
    driver.get(path.as_uri())
    ready(driver)
    yield driver
    driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    assert driver.get_log("browser") == [], "the console is silent"


def as_wide_as(driver: Any, width: int) -> None:
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)


def seen_as_wide_as(driver: Any, width: int) -> None:
    """The window as wide as that, until the end of the test, and the worked example drawn anew."""
    as_wide_as(driver, width)
    until(driver, "return NARROW.matches && !document.querySelector('.edges')", False)


def ready(driver: Any) -> int:
    """Milliseconds from the start of navigation until the page was drawn."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        taken = driver.execute_script("return document.documentElement.dataset.ready")
        if taken:
            return int(taken)
        time.sleep(0.02)
    raise AssertionError(f"the page did not start: {driver.get_log('browser')}")


def until(driver: Any, script: str, expected: Any) -> None:
    deadline = time.monotonic() + 5
    while (got := driver.execute_script(script)) != expected and time.monotonic() < deadline:
        time.sleep(0.02)
    assert got == expected, script


def cells(driver: Any, column: str) -> list[str]:
    found: list[str] = driver.execute_script(
        "return [...document.querySelectorAll(`#rows tbody td[data-label='${arguments[0]}']`)].map(c => c.textContent)",
        column,
    )
    return found


@in_a_browser
def test_sorting_orders_the_rows_both_ways_and_says_so(opened: Any) -> None:
    button = opened.find_element("css selector", "[data-sort=error_ulp]")
    button.click()
    numbers = [float(c) for c in cells(opened, "error (ulp)")]
    assert numbers == sorted(numbers, reverse=True)
    assert len(set(numbers)) > 10
    assert button.find_element("xpath", "..").get_attribute("aria-sort") == "descending"
    button.click()
    numbers = [float(c) for c in cells(opened, "error (ulp)") if c]
    assert numbers == sorted(numbers)


@in_a_browser
def test_filter_and_search_leave_what_they_say(opened: Any, measurements: pd.DataFrame) -> None:
    opened.execute_script(
        "document.getElementById('f-dtype').value='float32';"
        "document.getElementById('filters').dispatchEvent(new Event('change'))"
    )
    wanted = int((measurements.dtype == "float32").sum())
    until(opened, "return current.length", wanted)
    opened.find_element("id", "search").send_keys("numpy/central DW5")
    until(opened, "return current.length", 1)
    assert cells(opened, "quantity") == ["dE_total/dw5"]


@in_a_browser
def test_a_cell_of_the_matrix_opens_what_is_behind_it_by_keyboard(opened: Any) -> None:
    cell = opened.find_element("css selector", "button.cell[data-who='mine/eager']")
    assert cell.get_attribute("class") == "cell deviates"
    opened.execute_script("arguments[0].focus()", cell)
    opened.switch_to.active_element.send_keys("\ue007")
    until(opened, "return document.getElementById('behind').hidden", False)
    assert cell.get_attribute("aria-expanded") == "true"
    assert "step: deviates 1, step: known deviation 1" in opened.find_element("id", "behind").text


@in_a_browser
def test_a_deep_link_opens_its_row(opened: Any) -> None:
    link = opened.execute_script("return rowLink(DATA.rows - 2)")
    opened.get(opened.current_url.split("#")[0] + link)
    until(opened, "return document.activeElement.id", "row")
    shown = opened.find_element("id", "row").text
    assert "∂E_total/∂w5 = (a_o1 − t1)·a_o1·(1 − a_o1)·a_h1" in shown
    assert "gradconform explain document/worked-example -a mine/eager -d float32" in shown
    opened.get(opened.current_url.split("#")[0] + "#row=a&b")
    until(opened, "return document.getElementById('row').textContent.includes('not in this report')", True)


def linked(driver: Any, fragment: str) -> None:
    """The page opened anew at a fragment."""
    at = driver.current_url.split("#")[0]
    driver.get("about:blank")
    driver.get(at + fragment)
    ready(driver)


@in_a_browser
def test_a_link_opens_the_table_with_its_filters_its_order_and_its_place(opened: Any) -> None:
    linked(opened, "#measurements?search=dE&dtype=float32&level=step&sort=-share")
    assert cells(opened, "quantity") == ["dE_total/dw5", "dE_total/dw6"]
    assert opened.execute_script("return ['search', 'f-dtype', 'f-level', 'f-who'].map((i) => by(i).value)") == [
        "dE", "float32", "step", "",
    ]  # fmt: skip
    arrow = "return document.querySelector('[data-sort=share]').parentElement.getAttribute('aria-sort')"
    assert opened.execute_script(arrow) == "descending"
    linked(opened, "#measurements?from=51")
    assert opened.find_element("id", "where").text.startswith("51 to ")


@in_a_browser
@pytest.mark.parametrize(
    ("change", "fragment"),
    [
        ("by('f-dtype').value = 'float32'; by('search').value = 'a&b=c'; chosen()",
         "#measurements?search=a%26b%3Dc&dtype=float32"),
        ("document.querySelector('[data-sort=share]').click()", "#measurements?sort=-share"),
        ("by('next').click()", "#measurements?from=51"),
        ("by('metric').value = 'share'; by('accuracy-controls').dispatchEvent(new Event('change'))",
         "#accuracy?show=share"),
        ("by('case-dtype').value = 'float32'; by('case-controls').dispatchEvent(new Event('change'))",
         "#case?dtype=float32"),
        ("document.querySelector('.cell').click()", "#verdicts?who=numpy%2Fcentral&dtype=float64"),
    ],
)  # fmt: skip
def test_what_is_chosen_on_the_page_is_its_address_and_the_link_of_its_section(
    opened: Any, change: str, fragment: str
) -> None:
    opened.execute_script(change)
    assert opened.execute_script("return location.hash") == fragment
    section = fragment[1:].split("?")[0]
    assert opened.find_element("id", f"link-{section}").get_attribute("href").endswith(fragment)
    linked(opened, fragment)
    of_the_link = "const s = arguments[0]; return s === 'verdicts' ? !by('behind').hidden : by('astray').textContent"
    assert opened.execute_script(of_the_link, section) == (True if section == "verdicts" else "")
    shown = {"case": ("case-dtype", "float32"), "accuracy": ("metric", "share")}
    if section in shown:
        control, value = shown[section]
        assert opened.execute_script("return by(arguments[0]).value", control) == value


@in_a_browser
@pytest.mark.parametrize(
    ("fragment", "said"),
    [
        ("#case?case=nobody/knows", "not in this report: case nobody/knows."),
        ("#verdicts?who=nobody&dtype=float64", "not in this report: nobody float64."),
        ("#measurements?dtype=float8", "not in this report: dtype float8."),
        ("#measurements?dtype=%E0%A4", ""),
        ("#constructor?a=b", ""),
    ],
)
def test_a_link_to_what_is_not_there_says_so_and_changes_nothing(opened: Any, fragment: str, said: str) -> None:
    linked(opened, fragment)
    assert said in opened.find_element("id", "astray").text
    assert bool(opened.find_element("id", "astray").text) == bool(said)
    assert opened.execute_script("return by('case-name').value") == CASE
    assert opened.execute_script("return current.length == DATA.rows")


@in_a_browser
def test_the_case_picker_shows_every_case_by_its_folder(driver: Any, tmp_path: Path) -> None:
    named = [*(f"made/{i}" for i in range(2500)), "update/adam/first", "single", VERIFIED.case]
    write_page(framed(*(replace(DEVIATING, case=name) for name in named)), [HEADER], tmp_path)
    driver.get((tmp_path / "index.html").as_uri())
    ready(driver)
    assert driver.execute_script("return [...by('case-name').options].map((o) => o.value)") == named
    groups = driver.execute_script("return [...by('case-name').children].map((g) => g.label)")
    assert groups == ["made (2500)", "update/adam (1)", "others (1)", "program/losses:focal (1)"]


@in_a_browser
def test_a_case_of_a_kind_that_the_page_does_not_know_has_its_own_map_and_its_measurements(
    driver: Any, tmp_path: Path
) -> None:
    """Such as an update rule's: rows of the same schema, of which there is no network to draw."""
    update = replace(DEVIATING, case="update/adam/first", level="whole", quantity="m_new", verdict="conforms")
    layered = replace(update, case="network/l1", quantity="E")
    driver.get(write_page(framed(update, layered), [HEADER], tmp_path).as_uri())
    ready(driver)
    captions = [c.text.split(":")[0] for c in driver.find_elements("css selector", "#heat caption")]
    assert captions == ["Layered networks", "Other cases"]
    shown = driver.find_element("id", "derivation")
    assert shown.text.startswith("This case is not one of the catalogue’s networks")
    shown.find_element("tag name", "a").click()
    until(driver, "return current.length", 1)
    assert cells(driver, "case") == ["update/adam/first"]


@in_a_browser
def test_a_deviation_shows_the_equation_at_fault_and_its_evidence(opened: Any) -> None:
    shown = opened.find_element("id", "deviation-list").text
    for said in ("Not known: 1", "∂E_total/∂w5 =", "1.5", "0.07215707293769010721861220", "1500000000", "chained",
                 "gradconform explain", "Known deviation torch-forward-0d-dtype: 1"):  # fmt: skip
        assert said in shown


@in_a_browser
def test_copying_gives_every_filtered_row_and_no_formula(opened: Any) -> None:
    rows = list(csv.reader(io.StringIO(opened.execute_script("return csv(current, EVERY)"))))
    assert len(rows) == 1 + opened.execute_script("return DATA.rows")
    assert {len(row) for row in rows} == {len(rows[0])}
    for text in ("=1+1", "+a", "-a", "@a", "\t=1"):
        assert opened.execute_script("return csvField(arguments[0])", text).lstrip('"') == f"'{text}"
    assert opened.execute_script("return csvField('-1.5e-3')") == "-1.5e-3"
    assert opened.execute_script("return markdownField('a|b\\n<i>')") == r"a\|b &lt;i>"
    opened.find_element("id", "copy-md").click()
    until(opened, "return document.getElementById('copied').textContent.includes('copied as Markdown')", True)


@in_a_browser
def test_a_heat_map_has_no_row_without_a_number(driver: Any, tmp_path: Path) -> None:
    """A route that runs only layered networks is in their table and not in the one of the document’s network."""
    of_document = replace(DEVIATING, level="whole", quantity="E_total", verdict="conforms")
    layered = replace(of_document, case="network/l1", route="module", quantity="E")
    write_page(framed(of_document, layered), [HEADER], tmp_path)
    driver.get((tmp_path / "index.html").as_uri())
    ready(driver)
    tables = driver.find_elements("css selector", "#heat table")
    captions = [t.find_element("tag name", "caption").text.split(":")[0] for t in tables]
    assert captions == ["The document’s network", "Layered networks"]
    rows = [[row.text for row in t.find_elements("css selector", "tbody tr")] for t in tables]
    assert rows == [["mine/eager 2.0e+7"], ["mine/module 2.0e+7"]]


@in_a_browser
def test_verified_functions_have_a_column_each_and_the_command_that_verifies_them(driver: Any, tmp_path: Path) -> None:
    """A function that was verified from Python, whose module is not known, has no command."""
    other = replace(VERIFIED, case="program/<lambda>/5cbda64e", quantity="d/dw")
    write_page(framed(replace(DEVIATING, level="whole"), VERIFIED, other), [HEADER], tmp_path)
    driver.get((tmp_path / "index.html").as_uri())
    ready(driver)
    table = driver.find_elements("css selector", "#heat table")[-1]
    assert table.find_element("tag name", "caption").text.startswith("Functions that were verified:")
    assert [th.text for th in table.find_elements("css selector", "thead th")[1:]] == ["losses:focal", "<lambda>"]
    commands = driver.execute_script("return [0, 1, 2].map(command)")
    assert commands[1:] == ["gradconform verify losses:focal -r jit -d float32", ""]
    assert commands[0].startswith("gradconform explain ")
    assert driver.execute_script("return by('case-name').value") == CASE


@in_a_browser
def test_the_heat_map_has_the_largest_errors_in_the_derivation_s_order_and_says_what_its_shades_mean(
    driver: Any, tmp_path: Path
) -> None:
    of = {"level": "whole", "verdict": "conforms", "elements": 4}
    rows = [replace(DEVIATING, **of, quantity=q, error_ulp=0.125, max_ulp=u) for q, u in (("E", 0.4), ("dE/dW1", 34.0))]
    more = replace(rows[1], case="network/other", max_ulp=1e15)
    write_page(framed(*rows, more, replace(rows[0], case="network/old", max_ulp=None)), [HEADER], tmp_path)
    driver.get((tmp_path / "index.html").as_uri())
    ready(driver)
    assert [e.text for e in driver.find_elements("css selector", "#heat thead th")][1:] == ["E", "dE/dW1"]
    heat = "return [...document.querySelectorAll('#heat tbody td')].map((c) => `${c.textContent} ${c.className}`)"
    assert driver.execute_script(heat) == ["0.4 heat2", "1.0e+15 heat8"]
    driver.execute_script("by('statistic').value = 'median'; heat()")
    assert driver.execute_script(heat)[0] == "0.4 heat2"
    shades = [e.text for e in driver.find_elements("css selector", "#shades span")]
    assert (shades[0], shades[2], shades[-1]) == ("0", "to 0.5 ulp", "more")
    driver.execute_script("by('metric').value = 'error_ulp'; by('statistic').value = 'max'; heat()")
    assert driver.execute_script(heat) == ["0.13 heat1", "0.13 heat1"]


@in_a_browser
def test_a_kink_s_truth_is_a_set_wherever_it_is_shown(driver: Any, tmp_path: Path) -> None:
    kink = replace(DEVIATING, truth="[-0.0721570729376901072, 0.5]", formula="kink", execution="within",
                   accuracy="certified", verdict="conforms", error_ulp=0.0)  # fmt: skip
    m = framed(replace(kink, quantity="dE_total/dw6", truth="0.25"), kink)
    driver.get(write_page(m, [HEADER], tmp_path, derivations([catalogue()[CASE]], m)).as_uri())
    ready(driver)
    assert cells(driver, "truth") == ["0.25", "[-0.072157072937, 0.5]"]
    driver.execute_script("by('search').value = 'kink'; choose()")
    assert driver.execute_script("return current.length") == 2, "an answer is found"
    driver.execute_script("by('search').value = 'wrong'; choose()")
    assert driver.execute_script("return current.length") == 0
    driver.execute_script("by('search').value = ''; choose()")
    driver.execute_script("order = 'truth'; descending = false; choose()")
    assert cells(driver, "truth") == ["[-0.072157072937, 0.5]", "0.25"], "by its lower end"
    said = [li.text for li in driver.find_elements("css selector", ".equations li li")]
    assert said[0] == (
        "mine/eager: 1.5, 0 ulp, share 1.50e+9, conforms (step): formula kink, execution within, accuracy certified, "
        "truth from its own operands [-0.072157072937, 0.5]"
    )


@in_a_browser
def test_an_error_in_ulps_of_lost_digits_is_in_no_heat_map_as_it_is_in_no_verdict(driver: Any, tmp_path: Path) -> None:
    right = replace(DEVIATING, level="whole", verdict="conforms", error_ulp=3, share=0.5)
    lost = replace(right, case="document/other", verdict="vacuous", error_ulp=1e17, share=0.25)
    driver.get(write_page(framed(right, lost), [HEADER], tmp_path).as_uri())
    ready(driver)
    cell = "return document.querySelector('#heat tbody td').textContent"
    assert driver.execute_script(cell) == "3"
    assert "1 measurements" in driver.find_element("css selector", "#spread figcaption").text
    driver.execute_script("by('metric').value = 'share'; heat()")
    assert driver.execute_script(cell) == "0.5"
    assert "2 measurements" in driver.find_element("css selector", "#spread figcaption").text


@in_a_browser
@pytest.mark.parametrize(
    ("row", "said"),
    [
        (Measurement(CASE, "mine", "eager", "float32", None, "*", 0, verdict="unsupported"),
         ["below is the truth alone", "Nothing was judged, so that nothing can deviate"]),
        (replace(DEVIATING, verdict="conforms"), ["mine/eager: 1.5", "Nothing deviates."]),
    ],
)  # fmt: skip
def test_a_section_that_has_nothing_to_show_says_so(
    driver: Any, tmp_path: Path, row: Measurement, said: list[str]
) -> None:
    m = framed(row)
    driver.get(write_page(m, [], tmp_path, derivations([catalogue()[CASE]], m)).as_uri())
    ready(driver)
    texts = [driver.find_element("id", i).text for i in ("case", "deviations")]
    for text, expected in zip(texts, said, strict=True):
        assert expected in text
    assert "has a number to show" in driver.find_element("id", "heat").text
    assert "No run came with a header" in driver.find_element("id", "provenance").text
    driver.execute_script("by('search').value = 'nothing is called so'; choose()")
    (only,) = driver.find_elements("css selector", "#rows tbody td")
    assert only.text == "No measurement is as asked for above."
    assert driver.get_log("browser") == []


@in_a_browser
def test_a_distribution_has_the_bounds_of_its_bars_below_them(opened: Any) -> None:
    chart = opened.find_element("css selector", "#spread svg")
    bars = [bar.rect for bar in chart.find_elements("tag name", "rect")]
    ticks = {tick.text: tick.rect for tick in chart.find_elements("tag name", "text")}
    assert list(ticks) == ["0", "2⁻¹²", "2⁻⁶", "1", "2⁶"]
    middle = {name: rect["x"] + rect["width"] / 2 for name, rect in ticks.items()}
    for name, bar in {"2⁻¹²": 1, "2⁻⁶": 4, "1": 7, "2⁶": 10}.items():
        assert bars[bar]["x"] + bars[bar]["width"] - 1 <= middle[name] <= bars[bar + 1]["x"] + 1
    assert "17 measurements" in opened.find_element("css selector", "#spread figcaption").text


@in_a_browser
def test_the_network_and_the_derivation_are_drawn(opened: Any) -> None:
    assert len(opened.find_elements("css selector", "#network line")) == 8
    assert len(opened.find_elements("css selector", "#network circle")) == 6
    assert len(opened.find_elements("css selector", ".equations > li")) == len(NETWORK.equations)
    assert "numpy/central:" in opened.find_element("id", "derivation").text


@in_a_browser
@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16"])
def test_the_numbers_in_the_equations_are_those_of_explain(opened: Any, dtype: str) -> None:
    opened.execute_script(f"by('case-dtype').value = '{dtype}'; showCase()")
    texts = """
    const items = [...document.querySelectorAll('.equations > li')];
    return items.map((item) => item.querySelector('.numbers')?.textContent || '');
    """
    wanted = [line.numbers for line in explain(CASE, dtype=dtype).lines]
    assert any(wanted)
    assert opened.execute_script(texts) == [f"= {numbers}" if numbers else "" for numbers in wanted]


@in_a_browser
def test_negative_numbers_stand_in_the_equations_as_explain_has_them(opened: Any) -> None:
    case = "document/scale-4/000"
    rows = framed(*check_route(adapter, adapter.routes[0], point(catalogue()[case], "float64"), "opencl"))
    derived = derivations([catalogue()[case]], rows)
    found = opened.execute_script(
        "return [...withNumbers(arguments[0], arguments[1], 'float64').values()]",
        derived["derivations"][derived["cases"][case]["derivation"]],
        derived["cases"][case]["at"]["float64"],
    )
    lines = [line.numbers for line in explain(case).lines]
    assert found == [f"= {numbers}" for numbers in lines if numbers]
    assert lines[0].startswith("(−4.5963)·(−0.9106) + 2.2312·(−0.782) = ")
    assert lines[3].startswith("σ(−0.99")


#: For each label the line that it is nearest to, and whether it begins after the circle that the line comes from
#: and ends before the crossing, or before the other circle where nothing crosses.
PLACED = """
const lines = [...document.querySelectorAll('#network line')].map((line) => {
  const [x1, y1, x2, y2] = ['x1', 'y1', 'x2', 'y2'].map((name) => Number(line.getAttribute(name)));
  return { title: line.textContent, x1, y1, x2, y2 };
});
return [...document.querySelectorAll('#network text.edge')].map((label) => {
  const { e: x, f: y } = label.transform.baseVal.consolidate().matrix, half = label.getComputedTextLength() / 2;
  const near = (line) => Math.abs((line.x2 - line.x1) * (y - line.y1) - (line.y2 - line.y1) * (x - line.x1));
  const own = lines.filter((line) => line.x1 < x && x < line.x2).reduce((a, b) => (near(b) < near(a) ? b : a));
  const length = Math.hypot(own.x2 - own.x1, own.y2 - own.y1), along = (length * (x - own.x1)) / (own.x2 - own.x1);
  const end = own.y1 === own.y2 ? length - 30 : length / 2;
  return { label: label.textContent, title: own.title, clear: along - half > 30 && along + half < end };
})
"""


@in_a_browser
@pytest.mark.parametrize("width", [390, 1280])
def test_every_weight_is_written_along_its_own_line_clear_of_the_crossing(opened: Any, width: int) -> None:
    seen_as_wide_as(opened, width)
    placed = opened.execute_script(PLACED)
    assert len(placed) == (8 if width == 390 else 16)
    for label in placed:
        assert label["label"] in label["title"], label
        assert label["clear"], label
    assert len({label["title"] for label in placed}) == 8


@in_a_browser
def test_on_a_narrow_screen_every_verdict_and_the_network_are_within_it_and_large_enough_to_read(opened: Any) -> None:
    seen_as_wide_as(opened, 390)
    until(opened, "return document.querySelectorAll('.edges li').length", 8)
    route = "return document.querySelector('#heat tbody th').getBoundingClientRect().left"
    before = opened.execute_script(route)
    opened.execute_script("by('heat').scrollLeft = 200")
    assert opened.execute_script("return by('heat').scrollLeft") == 200
    assert opened.execute_script(route) == before, "the route stays beside its numbers"
    measured = "return [...document.querySelectorAll(arguments[0])].map((e) => e.getBoundingClientRect()[arguments[1]])"
    assert max(opened.execute_script(measured, ".matrix td, #network svg", "right")) <= 390
    assert min(opened.execute_script(measured, "#network text", "height")) > 9
    labels = "return [...document.querySelectorAll('.matrix td')].map((e) => getComputedStyle(e, '::before').content)"
    assert {'"float64"', '"float32"', '"bfloat16"'} == set(opened.execute_script(labels))


DEEP = "network/huber"


@in_a_browser
@pytest.mark.parametrize("width", [390, 1280])
def test_a_network_of_many_units_is_large_enough_to_read_and_what_is_too_wide_scrolls_by_itself(
    driver: Any, tmp_path: Path, width: int
) -> None:
    m = framed(replace(DEVIATING, case=DEEP, verdict="unsupported", truth=None))
    as_wide_as(driver, width)
    driver.get(write_page(m, [HEADER], tmp_path, derivations([catalogue()[DEEP]], m)).as_uri())
    ready(driver)
    measured = "return [...document.querySelectorAll('#network text')].map((e) => e.getBoundingClientRect().height)"
    assert min(driver.execute_script(measured)) > 9
    assert driver.execute_script("return document.documentElement.scrollWidth") <= width
    scrolls = "const e = document.querySelector('#network .scroll'); return e.scrollWidth > e.clientWidth"
    assert driver.execute_script(scrolls) == (width == 390)
    blank = """
    const below = (e) => e.getBoundingClientRect().bottom, circles = [...document.querySelectorAll('#network circle')];
    return below(document.querySelector('#network svg')) - Math.max(...circles.map(below));
    """
    assert 0 < driver.execute_script(blank) < 30
    driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


@in_a_browser
def test_a_step_of_the_derivation_shows_the_truth_that_its_error_is_of(opened: Any) -> None:
    opened.execute_script("const dtype = by('case-dtype'); dtype.value = 'float32'; showCase()")
    lines = [li.text for li in opened.find_elements("css selector", ".equations li li")]
    deviating = {line for line in lines if line.startswith("mine/eager: 1.5")}
    of_step = "truth from its own operands 0.072157072937"
    assert deviating == {f"mine/eager: 1.5, 2.00e+7 ulp, share 1.50e+9, deviates (step), {of_step}"}
    assert [line for line in lines if ("(whole)" in line) == ("from its own operands" in line)] == []


@in_a_browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_fits_in_both_schemes_narrow_and_wide(opened: Any, scheme: str, width: int) -> None:
    seen_as_wide_as(opened, width)
    opened.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    )
    assert opened.execute_script("return document.documentElement.scrollWidth") <= width
    channels = opened.execute_script(
        "return ['color', 'outlineColor'].map(() => getComputedStyle(document.querySelector('.finding')).color)[0]"
    )
    bright = int(re.findall(r"\d+", channels)[0]) > 128
    assert bright == (scheme == "dark")


@in_a_browser
def test_hostile_names_run_nothing_in_a_browser(driver: Any, tmp_path: Path) -> None:
    row = replace(DEVIATING, case=HOSTILE, adapter=HOSTILE, quantity=HOSTILE, reason=HOSTILE)
    driver.get(write_page(framed(row), [{**HEADER, "seed": HOSTILE}], tmp_path).as_uri())
    ready(driver)
    assert driver.execute_script("return window.stolen") is None
    assert driver.find_elements("css selector", "img") == []
    assert driver.execute_script("return command(0)").count("'\\''") >= 3


@in_a_browser
def test_data_that_cannot_be_unpacked_is_said_on_the_page(driver: Any, tmp_path: Path) -> None:
    path = write_page(framed(DEVIATING), [HEADER], tmp_path)
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace(embedded({})[:12], "AAAAAAAAAAAA", 1), encoding="utf-8")
    driver.get(path.as_uri())
    said = "return document.querySelector('header').textContent.includes('The measurements cannot be unpacked')"
    until(driver, said, True)


@in_a_browser
def test_a_hundred_thousand_measurements_open_in_under_two_seconds(driver: Any, tmp_path: Path) -> None:
    rows = [
        replace(
            DEVIATING, case=f"made/{i // 500}", route=f"r{i % 10}", quantity=f"dE/dW{i % 50}", value=i / 7,
            truth=f"{i / 7:.24e}", verdict="conforms", share=i / 1e5, error_ulp=i / 1e4,
        )
        for i in range(100_000)
    ]  # fmt: skip
    path = write_page(framed(*rows), [HEADER], tmp_path)
    driver.get(path.as_uri())
    taken = ready(driver)
    print(f"{taken} ms, {path.stat().st_size / 2**20:.1f} MiB")
    assert taken < 2000
    assert driver.execute_script("return current.length") == 100_000
