"""The export: read back with the same numbers, safe to open, whole or not at all."""

from __future__ import annotations

import csv
import gzip
import json
import math
import os
import re
import sys
from dataclasses import replace
from importlib import util
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from gradconform.adapters.on_numpy import adapter
from gradconform.conformance.cases.catalogue import catalogue
from gradconform.conformance.check import check_route
from gradconform.conformance.run.run_file import frame
from gradconform.reference.cases import point
from gradconform.reference.measurement import COLUMNS, Measurement
from gradconform.reports import tables
from gradconform.reports.export import case_folder, export, prepared

CASES = ("document/worked-example", "document/overflow/loss")
KNOWN = Measurement(
    "document/worked-example", "mine", "eager", "float32", "whole", "dE_total/dw1", 1,
    value=-math.inf, truth="-1.5", error_ulp=math.inf, share=math.inf, verdict="deviates", reason="known:planted",
)  # fmt: skip


LOST = replace(
    KNOWN, route="lossy", level="step", quantity="dE_total/dh1", operator="sigmoid", accepted_form="a(1 − a)",
    value=0.0, truth="4e-18", error_ulp=5e15, share=0.0, certified_bits=-1.5, verdict="lost", reason="lost: σ(z)σ(−z)",
)  # fmt: skip


def framed(*measurements: Measurement) -> pd.DataFrame:
    return frame([m.row() for m in measurements])


@pytest.fixture(scope="session")
def measurements() -> pd.DataFrame:
    """Where float16 overflows, answers are NaN; bfloat16 is unsupported; one deviation is infinite."""
    judged = [
        m
        for case in CASES
        for dtype in ("float16", "float64", "bfloat16")
        for route in adapter.routes
        for m in check_route(adapter, route, point(catalogue()[case], dtype), "opencl")
    ]
    return framed(*judged, KNOWN, LOST)


@pytest.fixture(scope="session")
def exported(measurements: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exported")
    export(measurements, folder)
    return folder


def strict(path: Path) -> list[dict[str, Any]]:
    """The records of a file of strict JSON."""

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    found: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)
    return found


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def cells_of(line: str) -> list[str]:
    """The cells of a row of a Markdown table."""
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


def made(measurements: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Every table by the path that it is exported to."""
    return {
        "summary": tables.summary(measurements),
        "operators": tables.by_operator(measurements),
        "vacuous": tables.vacuous_by_scale(measurements),
        "lost": tables.lost(measurements),
        "deviations": tables.deviations(measurements),
    }


EVERY = {"gradients": tables.every_gradient, "weights": tables.every_weight}


def long_rows(folder: Path, name: str) -> list[dict[str, str]]:
    with gzip.open(folder / f"{name}.csv.gz", "rt", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_every_table_is_written_in_three_formats_and_nothing_else(measurements: pd.DataFrame, tmp_path: Path) -> None:
    paths = export(measurements, tmp_path / "new" / "folder")
    expected = {tmp_path / "new/folder" / f"{t}{e}" for t in made(measurements) for e in (".csv", ".md", ".json")}
    expected |= {tmp_path / "new/folder" / f"{t}.csv.gz" for t in EVERY}
    assert len(paths) == len(expected) == 3 * 5 + 2
    assert set(paths) == expected == {p for p in tmp_path.rglob("*") if p.is_file()}


def test_csv_and_json_read_back_with_equal_numbers(measurements: pd.DataFrame, exported: Path) -> None:
    numbers = 0
    for name, table in made(measurements).items():
        records, rows = strict(exported / f"{name}.json"), rows_of(exported / f"{name}.csv")
        assert len(records) == len(rows) == len(table) > 0
        flat = table.reset_index()
        headers = [" ".join(p for p in c if p) if isinstance(c, tuple) else str(c) for c in flat.columns]
        for i, header in enumerate(headers):
            for want, record, row in zip(flat.iloc[:, i].tolist(), records, rows, strict=True):
                got = record[header]
                assert list(record) == list(row) == headers
                if isinstance(want, float) and math.isnan(want):
                    assert (got, row[header]) in ((None, ""), ("nan", "nan"))
                elif isinstance(want, int | float):
                    assert float(got) == float(row[header]) == want
                    numbers += 1
                else:
                    assert (got, row[header]) == (want, want or "")
    assert numbers > 100


def test_pandas_reads_the_csv_back_as_the_table_that_was_written(measurements: pd.DataFrame, exported: Path) -> None:
    table = tables.summary(measurements)
    back = pd.read_csv(exported / "summary.csv", index_col=[str(name) for name in table.index.names])
    pd.testing.assert_frame_equal(back, table, check_dtype=False, check_index_type=False, rtol=1e-14)


def test_the_tables_of_all_cases_read_back_with_equal_numbers(measurements: pd.DataFrame, exported: Path) -> None:
    for name, make in EVERY.items():
        table = make(measurements).reset_index()
        rows = long_rows(exported, name)
        assert [list(r)[:4] for r in rows[:1]] == [["case", "dtype", "adapter/route", name[:-1]]]
        assert len(rows) == len(table) > 70
        assert {r["case"] for r in rows} == set(CASES)
        for column in ("value", "error (ulp)", "share"):
            for want, row in zip(table[column].tolist(), rows, strict=True):
                assert (row[column] in ("", "nan")) if math.isnan(want) else float(row[column]) == want
        for column in ("truth", "verdict"):
            assert [r[column] or None for r in rows] == [None if pd.isna(v) else v for v in table[column]]


def test_an_answer_that_was_nan_is_told_from_one_that_is_missing(exported: Path) -> None:
    rows = [r for r in long_rows(exported, "gradients") if r["case"] == "document/overflow/loss"]
    assert ("out of range", "nan") in {(r["verdict"], r["value"]) for r in rows}
    assert ("unsupported", "") in {(r["verdict"], r["value"]) for r in rows if r["gradient"] == "*"}
    (mine,) = [r for r in long_rows(exported, "gradients") if r["adapter/route"] == "mine/eager"]
    assert (mine["value"], mine["share"]) == ("-inf", "inf")


def test_markdown_has_six_digits_and_ulps_three(tmp_path: Path) -> None:
    row = replace(KNOWN, value=1.23456789, truth="-0.1234567890123456789012345", error_ulp=12.3456, share=0.98765432)
    export(framed(row), tmp_path)
    lines = (tmp_path / "deviations.md").read_text(encoding="utf-8").splitlines()
    found = dict(zip(cells_of(lines[0]), cells_of(lines[2]), strict=True))
    assert found["value"] == "1.23457"
    assert found["truth"] == "-0.123457"
    assert found["error (ulp)"] == "12.3"
    assert found["share"] == "0.987654"
    (written,) = strict(tmp_path / "deviations.json")
    assert (written["value"], written["truth"]) == (row.value, row.truth), "every digit where it is data"


@pytest.mark.parametrize(
    ("truth", "shown"),
    [("0", "0"), ("[-0.5000000000000000000000000, 1.500000000000000000000000e-400]", r"\[-0.5, 1.50000e-400\]"),
     ("[0, 1] | x", r"\[0, 1\] \| x"),
     ("1.500000000000000000000000e-400", "1.50000e-400"), ("-2.25e+900", "-2.25000e+900"), (None, ""),
     (f"2.500000000000000000000000e-{'4' * 300}", f"2.5e-{'4' * 300}")],
)  # fmt: skip
def test_a_truth_beyond_float64_keeps_its_digits_in_markdown_and_a_set_is_a_set(
    tmp_path: Path, truth: str | None, shown: str
) -> None:
    export(framed(replace(KNOWN, truth=truth)), tmp_path)
    lines = (tmp_path / "deviations.md").read_text(encoding="utf-8").splitlines()
    assert dict(zip(cells_of(lines[0]), cells_of(lines[2]), strict=True))["truth"] == shown


def test_no_text_breaks_out_of_its_cell_in_markdown(tmp_path: Path) -> None:
    text = "x\n| y \\| <script>&\u2028![z](//w)`"
    export(framed(replace(KNOWN, adapter="a|b\r\nc", reason=text)), tmp_path)
    for path in tmp_path.rglob("*.md"):
        lines = path.read_text(encoding="utf-8").splitlines()
        assert len({len(cells_of(line)) for line in lines}) == 1, path.name
    lines = (tmp_path / "deviations.md").read_text(encoding="utf-8").splitlines()
    assert len(lines) == 3
    assert cells_of(lines[2])[-1] == r"x \| y \\\| &lt;script>&amp; !\[z\](//w)\`"


@pytest.mark.parametrize("text", ["=1+1", "+cmd|' /C calc'!A0", "@sum", "-a", "-1+1", "--1", "\tx", "\r=1", "＝1"])
def test_text_that_a_spreadsheet_would_run_is_made_inert(tmp_path: Path, text: str) -> None:
    export(framed(replace(KNOWN, adapter=text, accepted_form=text, value=-1.5)), tmp_path)
    (row,) = rows_of(tmp_path / "deviations.csv")
    assert row["accepted form"] == "'" + text
    assert row["adapter/route"] == "'" + text + "/eager"
    assert row["value"] == row["truth"] == "-1.5", "numbers are left alone"
    assert long_rows(tmp_path, "gradients")[0]["adapter/route"] == "'" + text + "/eager"
    (record,) = strict(tmp_path / "deviations.json")
    assert record["accepted form"] == text, "JSON is no spreadsheet"


def test_a_line_break_in_a_cell_is_quoted_in_csv(tmp_path: Path) -> None:
    for text in ("a\r=1+1", "a\n=1+1", 'a","=1+1', ",=1+1"):
        export(framed(replace(KNOWN, accepted_form=text)), tmp_path)
        (row,) = rows_of(tmp_path / "deviations.csv")
        assert row["accepted form"] == text
        assert f'"{text.replace(chr(34), chr(34) * 2)}"' in (tmp_path / "deviations.csv").read_bytes().decode()


HOSTILE = (
    "../../escape", "/etc/passwd", "a/../../b", "..", ".", "", "/", "x" * 400, "é" * 300, "a/" * 500, "con\x00trol/\n",
    "\\\\server\\share", "C:\\x", "~root", ".git/config", "a/gradients.csv", "a/gradients.CSV/b", "a//b", "\ud800",
)  # fmt: skip


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_case_id_stays_inside_the_folder(tmp_path: Path, case: str) -> None:
    home = tmp_path / "deep" / "down"
    paths = export(framed(replace(KNOWN, case=case)), home)
    files = [p for p in tmp_path.rglob("*") if p.is_file()]
    assert sorted(files) == sorted(paths)
    assert {p.parent for p in paths} == {home}
    assert re.fullmatch(r"([A-Za-z0-9_~-][A-Za-z0-9._~-]*/?)+", case_folder(case).as_posix())


def test_hostile_names_never_share_a_path() -> None:
    names = (*HOSTILE, "a b", "a_b", "a/b", "a", "x" * 401, "a/gradients_csv", "_.", "__")
    assert len({case_folder(name) for name in names}) == len(names)


def test_half_a_surrogate_pair_anywhere_is_spelled_out(tmp_path: Path) -> None:
    half, spelled = "\ud800", "\\ud800"
    export(framed(replace(KNOWN, adapter=half, route=half, dtype=half, accepted_form=half, reason=half)), tmp_path)
    (record,), (row,) = strict(tmp_path / "deviations.json"), rows_of(tmp_path / "deviations.csv")
    for found in (record, row):
        assert (found["adapter/route"], found["accepted form"]) == (f"{spelled}/{spelled}", spelled)


def test_an_ordinary_case_id_is_its_own_folder() -> None:
    assert {str(case_folder(case)) for case in catalogue()} == set(catalogue())


def test_a_write_that_fails_leaves_the_old_file_whole_and_no_part(
    measurements: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export(framed(KNOWN), tmp_path)
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}

    def fail(*_: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="no space left"):
        export(measurements, tmp_path)
    assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == before


def test_an_export_over_an_older_one_replaces_it(measurements: pd.DataFrame, tmp_path: Path, exported: Path) -> None:
    export(framed(KNOWN), tmp_path)
    export(measurements, tmp_path)
    for path in (p for p in exported.rglob("*") if p.is_file()):
        assert (tmp_path / path.relative_to(exported)).read_bytes() == path.read_bytes()


def test_a_folder_with_somebody_s_files_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("mine")
    with pytest.raises(ValueError, match=r"holds index.html and no earlier report; expected an empty or new folder"):
        prepared(tmp_path)
    (tmp_path / "index.html").unlink()
    (tmp_path / "cases").mkdir()
    with pytest.raises(ValueError, match="holds cases and no earlier report"):
        prepared(tmp_path)
    assert (tmp_path / "cases").is_dir()


def test_a_folder_that_other_sessions_keep_folders_in_takes_a_report(tmp_path: Path) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "index.html").write_text("theirs")
    for _ in range(2):
        prepared(tmp_path)
        export(framed(KNOWN), tmp_path)
    assert (tmp_path / "site" / "index.html").read_text() == "theirs"


def test_the_tables_that_an_earlier_version_kept_of_every_case_do_not_stay(tmp_path: Path) -> None:
    export(framed(KNOWN), tmp_path)
    (tmp_path / "cases" / "document").mkdir(parents=True)
    prepared(tmp_path)
    assert not (tmp_path / "cases").exists()


def test_a_link_in_place_of_the_cases_is_not_followed(tmp_path: Path) -> None:
    outside, home = tmp_path / "outside", tmp_path / "home"
    export(framed(KNOWN), home)
    outside.mkdir()
    (outside / "theirs").write_text("theirs")
    (home / "cases").symlink_to(outside)
    with pytest.raises(ValueError, match="leads out of"):
        prepared(home)
    assert list(outside.iterdir())


def test_what_is_no_table_of_measurements_is_refused_and_nothing_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="got 0 rows, expected those of a run; load a table"):
        export(pd.DataFrame(columns=list(COLUMNS)), tmp_path)
    with pytest.raises(ValueError, match=r"it lacks case, .*expected the columns case .*; load a table"):
        export(pd.DataFrame({"a": [1]}), tmp_path)
    assert not list(tmp_path.iterdir())


def test_without_tabulate_the_error_says_what_to_install(
    measurements: pd.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = util.find_spec
    monkeypatch.delitem(sys.modules, "tabulate", raising=False)
    monkeypatch.setattr(
        "gradconform.reports.export.find_spec", lambda name: None if name == "tabulate" else found(name)
    )
    with pytest.raises(
        ImportError, match=r"need tabulate, which is not installed: pip install 'gradconform\[report\]'"
    ):
        export(measurements, tmp_path)
    assert not list(tmp_path.iterdir())
