"""Tables fit to publish, and figures."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from tests_support import compiled, pdflatex

from gradconform.conformance.run.run_file import frame
from gradconform.reference.measurement import Measurement
from gradconform.reports import tables
from gradconform.reports.figures import detection, drift, figures, saturation, share_by_adapter, ulps_by_scale
from gradconform.reports.latex import escaped, longtable, number
from gradconform.reports.publish import PULL_REQUEST, html, publish, pull_request, rounded

ROW = Measurement(
    "document/scale-1/000", "mine", "eager", "float32", "whole", "dE_total/dw1", 1, value=1 / 3,
    truth="0.3333333333333333333333333", error_ulp=0.123456, share=1.23456, accepted_form="g(Φ+zφ)", verdict="deviates",
)  # fmt: skip
HOSTILE = '\\input{/etc/passwd}$x_^&#%~{}|<script>"\n\u202e\u00e9∂\ud800'


def framed(*measurements: Measurement) -> pd.DataFrame:
    return frame([m.row() for m in measurements])


@pytest.mark.parametrize(
    ("dtype", "value", "truth"),
    [
        ("float64", "0.3333333333333333", "0.3333333333333333333"),
        ("float32", "0.333333333", "0.33333333333"),
        ("bfloat16", "0.3333", "0.333333"),
    ],
)
def test_numbers_have_the_digits_that_mean_something(dtype: str, value: str, truth: str) -> None:
    table = rounded(tables.deviations(framed(replace(ROW, dtype=dtype))).reset_index())
    assert (table["value"][0], table["truth"][0]) == (value, truth)
    assert (table["error (ulp)"][0], table["share"][0]) == ("0.123", "1.23")


def test_a_kink_s_truth_is_a_set_to_the_digits_that_mean_something() -> None:
    kink = replace(ROW, truth="[0, 0.3333333333333333333333333]")
    assert rounded(tables.deviations(framed(kink)).reset_index())["truth"][0] == "[0, 0.33333333333]"


def test_a_value_that_is_nan_is_shown_and_one_that_is_missing_is_not() -> None:
    table = rounded(tables.deviations(framed(replace(ROW, value=math.nan, error_ulp=None))).reset_index())
    assert (table["value"][0], table["error (ulp)"][0]) == ("nan", "")


def test_no_text_is_markup_in_html_or_a_command_in_latex() -> None:
    table = pd.DataFrame({"<b>": [HOSTILE]}, dtype=object)
    assert "<script" not in html(table, "c")
    assert "<b>" not in html(table, "c")
    text = escaped(HOSTILE)
    assert "\\input" not in text
    assert text.isascii()
    assert "\n" not in text


def test_a_pull_request_comment_is_never_too_long() -> None:
    rows = [replace(ROW, case=f"case/{'x' * 500}/{i}") for i in range(300)]
    text = pull_request(framed(*rows))
    assert PULL_REQUEST // 2 < len(text.encode()) <= PULL_REQUEST
    assert "more are in deviations.csv" in text
    assert text.startswith("**gradconform**: judged 300, deviating 300, known deviations 0, vacuous 0\n")


def test_a_pull_request_comment_of_many_routes_and_of_one_long_name_is_never_too_long() -> None:
    many = [replace(ROW, route=f"route-{i}", dtype=d) for i in range(300) for d in tables.DTYPES]
    assert len(pull_request(framed(*many)).encode()) <= PULL_REQUEST
    assert "more are in summary.md" in pull_request(framed(*many))
    wide = [replace(ROW, dtype=f"{'é' * 500}{i}") for i in range(300)]
    text = pull_request(framed(*wide))
    assert len(text.encode()) <= PULL_REQUEST
    assert "**Routes: 1**, in summary.md." in text


def test_a_pull_request_says_first_of_all_what_crashed_and_what_is_lost() -> None:
    crashed = replace(ROW, case="a", quantity="*", level=None, verdict="crashed", reason="exception: no")
    lost = replace(ROW, case="b", verdict="lost", operator="sigmoid", reason="lost: σ(z)σ(−z)", formula="right")
    text = pull_request(framed(crashed, lost, ROW))
    first, *rest = text.splitlines()
    assert first == "**gradconform**: judged 2, deviating 1, known deviations 0, crashed 1, lost 1, vacuous 0"
    assert "- formula: right 1" in rest
    assert "| mine/eager | 0 conform, 1 deviating, 1 crashed, 1 lost |" in rest
    assert "| mine/eager | float32 | sigmoid | g(Φ+zφ) | σ(z)σ(−z) | 1 |" in rest


def test_parquet_reads_back_equal(tmp_path: Path) -> None:
    measurements = framed(ROW, replace(ROW, quantity="dE_total/dw2", value=math.inf, truth=None))
    publish(measurements, tmp_path)
    back = pd.read_parquet(tmp_path / "measurements.parquet")
    assert list(back) == list(measurements)
    for name in measurements:
        want = [None if pd.isna(v) else v for v in measurements[name]]
        assert [None if pd.isna(v) else v for v in back[name]] == want, name


TABLES = "".join(
    rf"\input{{{name}.tex}}" for name in ("summary", "operators", "vacuous", "lost", "deviations", "gradients")
)


@pdflatex
@pytest.mark.parametrize("text", [HOSTILE, "plain"])
def test_the_latex_tables_compile(tmp_path: Path, text: str) -> None:
    row = replace(ROW, adapter=text, accepted_form=text, reason=text)
    lost = replace(row, quantity="dE_total/dw2", verdict="lost", operator=text, reason=f"lost: {text}")
    publish(framed(row, lost), tmp_path)
    compiled(tmp_path, TABLES)


@pdflatex
def test_the_latex_tables_are_no_wider_than_the_text_with_every_verdict_and_many_digits(tmp_path: Path) -> None:
    long = replace(
        ROW, adapter="numpy", route="complex-step", dtype="float64", value=-4.0355127682631404e-24, max_ulp=1.13e15,
        truth="-4.865356389247255076123456e-24", reason="known: " + "a reason of some words; " * 9,
        cause="convention: the mean is over the elements", accepted_form="g·(1+e⁻ᶻ)⁻²·e⁻ᶻ", operator="cross_entropy",
    )  # fmt: skip
    verdicts = ["conforms", "deviates", *tables.COUNTED]
    rows = [
        replace(long, quantity=f"dE_total/dw{i}", level=("whole", "step")[i % 2], verdict=v)
        for i, v in enumerate(verdicts)
    ]
    many = [
        replace(m, case=f"{m.case}/{i}")
        for m in rows
        for i in range(1200 if m.verdict in ("conforms", "lost") else 100)
    ]
    run = framed(*many).assign(run="torch-2.13.0")
    for m in (framed(*many), run):
        publish(m, tmp_path)
        assert "Overfull" not in compiled(tmp_path, TABLES)
    wide = longtable(pd.DataFrame({"number": ["9" * 200]}, dtype=object), "c", "l")
    (tmp_path / "wide.tex").write_text(wide)
    assert "Overfull" in compiled(tmp_path, r"\input{wide.tex}"), "so it would be said"


def test_numbers_stand_to_the_right_in_html() -> None:
    text = html(pd.DataFrame({"name": ["a"], "max ulp": ["1.5"]}, dtype=object), "c")
    right = re.findall(r"#(\w+) \{[^}]*text-align: right", text)
    assert [re.findall(rf'id="{cell}"[^>]*>([^<]*)<', text) for cell in right] == [["1.5"]]


def test_numbers_stand_to_the_right_in_latex_and_text_to_the_left() -> None:
    table = pd.DataFrame({"name": ["a", "b"], "max ulp": ["1.13e+15", ""], "count": ["1,234", "7"]}, dtype=object)
    text = longtable(table, "c", "l")
    assert re.findall(r"@\{\}>\{\\raggedright\\arraybackslash\}p\{[0-9.]+\\linewidth\}rr@\{\}", text)
    assert r"a & $1.13{\cdot}10^{15}$ & 1,234 \\" in text


@pytest.mark.parametrize(
    ("text", "printed"),
    [("1.13e+15", r"$1.13{\cdot}10^{15}$"), ("5.1e-07", r"$5.1{\cdot}10^{-7}$"), ("8.2e+03", "$8{,}200$"),
     ("-0.5", "$-0.5$"), ("0.15", "0.15"), ("-inf", r"$-\infty$"), ("nan", "nan"), ("a_b", r"a\_\allowbreak{}b")],
)  # fmt: skip
def test_a_number_in_latex_is_printed_as_people_write_it(text: str, printed: str) -> None:
    assert number(text) == printed


def saturated(slope: float) -> pd.DataFrame:
    """One unit at x = 20 whose adjoint was multiplied by `slope`."""
    step = replace(ROW, level="step", verdict="conforms")
    return framed(*(replace(step, quantity=q, value=v) for q, v in
                    (("h1", 20.0), ("dE_total/da_h1", 2.0), ("dE_total/dh1", 2.0 * slope))))  # fmt: skip


def titles(figure: Any) -> list[str]:
    return [axis.get_title() for axis in figure.axes]


def test_a_slope_that_lost_its_digits_is_the_title_of_its_figure_and_a_right_one_is_not() -> None:
    right = math.exp(-20) / (1 + math.exp(-20)) ** 2
    lost, kept = (saturation(tables.checked(saturated(s))) for s in (0.0, right))
    assert titles(lost) == ["float32: off by half from x = 20 on"]
    assert titles(kept) == ["float32: keeps digits in every case here"]


def test_the_error_by_scale_is_the_largest_of_what_is_certified() -> None:
    rows = [replace(ROW, case=f"c/{i}", verdict="conforms", error_ulp=0.25, max_ulp=4.0) for i in range(3)]
    lost = [replace(row, quantity="dE_total/dw2", verdict="lost", max_ulp=1e15) for row in rows]
    figure = ulps_by_scale(tables.checked(framed(*rows, *lost)), {f"c/{i}": 1.0 for i in range(3)})
    assert titles(figure) == ["float32: to 4 ulp\n(mine/eager, at weights of 1)"]


def test_a_panel_s_title_is_of_the_largest_of_its_own_lines_and_not_of_all_routes_together() -> None:
    rows = [
        replace(ROW, case=f"c/{i}", dtype=dtype, route=route, verdict="conforms", max_ulp=ulp)
        for i in range(3)
        for dtype, route, ulp in (("float64", "a", 6.5e7), ("float64", "b", 1.0), ("float32", "b", 2.0))
    ]
    figure = ulps_by_scale(tables.checked(framed(*rows)), {f"c/{i}": 1.0 for i in range(3)})
    assert titles(figure) == [
        "float64: to 6.5·10⁷ ulp\n(mine/a, at weights of 1)",
        "float32: to 2 ulp\n(mine/b, at weights of 1)",
    ]


def test_shares_above_one_are_counted_panel_by_panel_infinite_ones_too() -> None:
    rows = [replace(ROW, quantity=f"q{i}", share=s) for i, s in enumerate((0.5, 1.5, math.inf))]
    right = replace(ROW, dtype="float64", share=1.0)
    figure = share_by_adapter(tables.checked(framed(*rows, right)))
    assert titles(figure) == ["float64: none of 1 above 1", "float32: 2 of 3 above 1"]


def test_of_more_routes_than_colours_each_adapter_has_a_column_of_panels() -> None:
    of = [("torch", 5), ("numpy", 3), ("jax", 4)]
    rows = [replace(ROW, adapter=a, route=f"r{i}", share=0.5) for a, n in of for i in range(n)]
    rows.append(replace(rows[0], dtype="float64"))
    figure = share_by_adapter(tables.checked(framed(*rows)))
    assert titles(figure) == [
        "torch, float64: none of 1 above 1", "numpy, float64: nothing to show", "jax, float64: nothing to show",
        "torch, float32: none of 5 above 1", "numpy, float32: none of 3 above 1", "jax, float32: none of 4 above 1",
    ]  # fmt: skip
    for axis in figure.axes if figure else []:
        lines = [line for line in axis.get_lines() if "/" in str(line.get_label())]
        assert len({line.get_color() for line in lines}) == len(lines), "no colour twice in a panel"
    few = share_by_adapter(tables.checked(framed(*rows[:7])))
    assert titles(few) == ["float32: none of 7 above 1"]


def test_of_many_routes_no_two_are_drawn_alike() -> None:
    rows = [replace(ROW, route=f"r{i}", share=0.5) for i in range(20)]
    figure = share_by_adapter(tables.checked(framed(*rows)))
    assert figure is not None
    lines = [line for line in figure.axes[0].get_lines() if str(line.get_label()).startswith("mine/")]
    assert len({(line.get_color(), line.get_linestyle()) for line in lines}) == len(lines) == 20
    for one, other in pairwise(lines):
        for look in ("get_color", "get_linestyle", "get_marker"):
            assert getattr(one, look)() != getattr(other, look)(), "told apart without its colour too"


def test_figures_are_files_that_are_not_blank(tmp_path: Path) -> None:
    rows = [replace(ROW, case=f"document/scale-1/{i:03}", share=0.1 * (i + 1), error_ulp=i) for i in range(12)]
    measurements = pd.concat([framed(*rows), saturated(0.5)], ignore_index=True)
    paths = figures(measurements, tmp_path, {f"document/scale-1/{i:03}": {"scale": 1.0} for i in range(12)})
    assert {p.name for p in paths} == {f"{n}{e}" for n in ("ulps-by-scale", "share-by-adapter", "saturation")
                                       for e in (".png", ".svg")}  # fmt: skip
    for path in (p for p in paths if p.suffix == ".png"):
        assert len(np.unique(np.asarray(Image.open(path)).reshape(-1, 4), axis=0)) > 20


def test_the_drift_and_the_detection_have_titles_of_what_they_found() -> None:
    trained = framed(*[ROW] * 3).assign(step=[0, 1, 2], drift=[1e-9, 2e-9, 4e-9])
    drifted = drift(trained)
    assert titles(drifted) == ["float32: off by 4.0·10⁻⁹ after 3 updates"]
    faults = pd.DataFrame(
        {"fault": ["none", "sign"], "kind": ["correct", "mathematics"], "dtype": ["float64"] * 2, "scale": [1, 1],
         "active": [10, 10], "caught": [0, 10], "checked": [5, 5], "gradcheck": [0, 5], "check_grads": [0, 0]}
    )  # fmt: skip
    assert "Of 1 planted faults" in detection(faults).get_suptitle()
