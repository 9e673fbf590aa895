"""The tables: counted again by other means, read back, and safe to open."""

from __future__ import annotations

import csv
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from gradconform.adapters.on_numpy import adapter
from gradconform.conformance.catalogue import catalogue
from gradconform.conformance.check import check_route
from gradconform.conformance.measurement import COLUMNS, Measurement
from gradconform.conformance.run_file import frame
from gradconform.reference.cases import point
from gradconform.reports import tables
from gradconform.reports.export import export

CASES = ("document/worked-example", "document/scale-20/000", "document/all-zeros")
KNOWN = Measurement(
    "document/worked-example", "mine", "eager", "float32", "whole", "dE_total/dw1", 1,
    value=math.inf, truth="1.5", error_ulp=math.inf, share=math.inf, verdict="deviates", reason="known:planted; why",
)  # fmt: skip
CRASHED = Measurement(
    "document/all-zeros", "mine", "eager", "float32", None, "*", 0, verdict="crashed", reason="exception: | <b>"
)


@pytest.fixture(scope="module")
def measurements() -> pd.DataFrame:
    rows = [
        m
        for case in CASES
        for dtype in ("float64", "bfloat16", "float32")
        for route in adapter.routes
        for m in check_route(adapter, route, point(catalogue()[case], dtype), "opencl")
    ]
    return frame([m.row() for m in [*rows, KNOWN, replace(KNOWN, quantity="dE_total/dw2", reason=None), CRASHED]])


def test_the_summary_counts_what_is_there(measurements: pd.DataFrame) -> None:
    table = tables.summary(measurements)
    records = measurements.to_dict("records")
    for (who, dtype), row in table.iterrows():  # type: ignore[misc]
        of = [r for r in records if f"{r['adapter']}/{r['route']}" == who and r["dtype"] == dtype]
        for column, verdict in (("conforming", "conforms"), ("vacuous", "vacuous"), ("unsupported", "unsupported")):
            assert row[column] == sum(r["verdict"] == verdict for r in of)
        assert row["judged"] == sum(r["verdict"] not in ("unsupported", "crashed") for r in of)
    assert table.index.get_level_values("dtype").unique().tolist() == ["float64", "float32", "bfloat16"]


def test_a_known_deviation_is_counted_apart(measurements: pd.DataFrame) -> None:
    row = tables.summary(measurements).loc[("mine/eager", "float32")]
    assert (row["deviating"], row["known"], row["crashed"], row["judged"]) == (1, 1, 1, 2)
    assert np.isnan(row["max ulp"]), "an infinite distance is no maximum"
    listed = tables.deviations(measurements)
    assert list(listed["quantity"]) == ["dE_total/dw2", "dE_total/dw1"], "known deviations come last"


def test_vacuous_quantities_are_counted_by_dtype_and_family(measurements: pd.DataFrame) -> None:
    table = tables.vacuous_by_family(measurements)
    of = measurements[measurements.case.str.startswith("document/scale-20") & (measurements.dtype == "float32")]
    row = table.loc[("document/scale-20", "float32")]
    assert row["vacuous"] == (of.verdict == "vacuous").sum()
    assert row["judged"] == len(of)


def test_a_case_has_its_gradients_and_weights_beside_the_truth(measurements: pd.DataFrame) -> None:
    found = {case: (gradients, weights) for case, gradients, weights in tables.comparisons(measurements)}
    gradients, weights = found["document/worked-example"]
    assert gradients.loc["float64"].index.tolist() == [f"∂E_total/∂w{i}" for i in range(1, 9)]
    assert weights.loc["float64"].index.tolist() == [f"w{i}" for i in range(1, 9)]
    row = gradients.loc[("float64", "∂E_total/∂w5")]
    original = measurements[
        (measurements.case == "document/worked-example") & (measurements.dtype == "float64")
        & (measurements.route == "complex-step") & (measurements.quantity == "dE_total/dw5")
    ].iloc[0]  # fmt: skip
    assert row[("truth", "")] == original.truth
    assert row[("numpy/complex-step", "value")] == original.value
    assert row[("numpy/complex-step", "verdict")] == original.verdict


def test_an_export_reads_back_with_the_same_numbers(measurements: pd.DataFrame, tmp_path: Path) -> None:
    paths = export(measurements, tmp_path)
    assert {p.suffix for p in paths} == {".csv", ".md", ".json"}
    assert not list(tmp_path.rglob("*.part"))
    stem = tmp_path / "cases/document/worked-example/gradients"

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    records = json.loads(stem.with_suffix(".json").read_text(encoding="utf-8"), parse_constant=refuse)
    with stem.with_suffix(".csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(records) == len(rows) == 16
    for record, row in zip(records, rows, strict=True):
        value: Any = record["numpy/central value"]
        assert float(row["numpy/central value"]) == value
        assert row["truth"] == record["truth"]
    assert records[8]["mine/eager value"] == "inf"


def test_markdown_is_a_table_that_no_text_breaks_out_of(measurements: pd.DataFrame, tmp_path: Path) -> None:
    hostile = frame([replace(KNOWN, adapter="a|b", reason="x\n| y <script>").row()])
    export(hostile, tmp_path)
    lines = (tmp_path / "deviations.md").read_text(encoding="utf-8").splitlines()
    assert len(lines) == 3
    assert "a\\|b" in lines[2]
    assert "<script>" not in lines[2]


@pytest.mark.parametrize("case", ["../../escape", "/etc/passwd", "a/../../b", "..", "x" * 400, "con\x00trol/\n"])
def test_a_hostile_case_id_stays_inside_the_folder(tmp_path: Path, case: str) -> None:
    home = tmp_path / "deep" / "down"
    export(frame([replace(KNOWN, case=case).row()]), home)
    outside = [p for p in tmp_path.rglob("*") if p.is_file() and home not in p.parents]
    assert outside == []


@pytest.mark.parametrize("text", ["=1+1", "+cmd", "@sum", "-a", "\tx"])
def test_text_that_a_spreadsheet_would_run_is_made_inert(tmp_path: Path, text: str) -> None:
    export(frame([replace(KNOWN, form=text, value=-1.5, truth="-1.5").row()]), tmp_path)
    with (tmp_path / "deviations.csv").open(encoding="utf-8", newline="") as file:
        (row,) = csv.DictReader(file)
    assert row["form"] == "'" + text
    assert row["value"] == row["truth"] == "-1.5", "numbers are left alone"


def test_what_is_no_table_of_measurements_is_refused() -> None:
    with pytest.raises(ValueError, match="no measurement to make a table of"):
        tables.summary(pd.DataFrame(columns=list(COLUMNS)))
    with pytest.raises(ValueError, match=r"it lacks case, adapter, .*load one from a run file"):
        tables.summary(pd.DataFrame({"a": [1]}))
