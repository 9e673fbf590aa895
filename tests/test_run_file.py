"""The run file: what is written is what is read, and what is not a whole run is refused."""

from __future__ import annotations

import contextlib
import json
import math
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gradconform.conformance.run.older_runs import COLUMNS_OF_1, VERDICTS_OF_1
from gradconform.conformance.run.run_file import RunWriter, begun, line, load, read
from gradconform.reference.cases import BadInput
from gradconform.reference.measurement import COLUMNS, Measurement

HEADER = {"suite": "gradconform", "profile": "opencl"}
MEASUREMENT = Measurement(
    "document/worked-example", "torch", "eager", "float32", "whole", "dE_total/dw1", 1,
    value=math.inf, truth="1e-400", share=math.nan, error_abs=5e-324, verdict="deviates", reason="é | \n",
)  # fmt: skip


def written(path: Path, *measurements: Measurement, header: dict[str, str] = HEADER) -> Path:
    with RunWriter(path, header) as writer:
        writer.write(measurements)
        writer.finish(seconds={})
    return path


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    header, (row,), footer = read(written(tmp_path / "one.jsonl", MEASUREMENT))
    assert header["profile"] == "opencl"
    assert footer["verdicts"]["deviates"] == 1
    assert math.isnan(row.pop("share"))
    expected = MEASUREMENT.row()
    expected.pop("share")
    assert row == expected


def test_every_line_is_strict_json_and_only_measurements_have_a_quantity(tmp_path: Path) -> None:
    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    lines = written(tmp_path / "one.jsonl", MEASUREMENT).read_text(encoding="utf-8").splitlines()
    parsed = [json.loads(line, parse_constant=refuse) for line in lines]
    assert ["quantity" in line for line in parsed] == [False, True, False]
    assert tuple(parsed[1]) == COLUMNS
    assert (parsed[1]["value"], parsed[1]["share"], parsed[1]["allowance"]) == ("inf", "nan", None)


def test_several_runs_get_a_column_and_need_one_profile(tmp_path: Path) -> None:
    one, two = (written(tmp_path / f"{n}.jsonl", MEASUREMENT) for n in ("one", "two"))
    _, table = load([one, two])
    assert list(table.columns) == ["run", *COLUMNS]
    assert list(table.run) == ["one", "two"]
    strict = written(tmp_path / "strict.jsonl", MEASUREMENT, header={**HEADER, "profile": "strict"})
    with pytest.raises(BadInput, match=r"different profiles \(opencl, strict\)"):
        load([one, strict])


def test_a_run_without_a_measurement_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="holds no measurement; nothing was judged"):
        read(written(tmp_path / "one.jsonl"))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"elements":1', '"elements":"many"', "line 2: elements is 'many', expected a number"),
        ('"verdict":"deviates"', '"verdict":"fine"', "line 2: unknown verdict 'fine'"),
        ('"formula":null', '"formula":"fine"', "line 2: unknown formula 'fine'"),
        ('"execution":null', '"execution":"outsid"', "line 2: unknown execution 'outsid'"),
        ('"accuracy":null', '"accuracy":"certain"', "line 2: unknown accuracy 'certain'"),
        ('"case":"document/worked-example"', '"case":null', "line 2: case is None, expected text"),
        ('"dtype":', '"type":', "line 2: the columns are not those of schema 2: expected case"),
        ('"measurements":1', '"measurements":2', "its footer counts 2 measurements, it holds 1"),
    ],
)
def test_a_changed_line_is_refused_and_located(tmp_path: Path, old: str, new: str, message: str) -> None:
    path = written(tmp_path / "one.jsonl", MEASUREMENT)
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")
    with pytest.raises(BadInput, match=message):
        read(path)


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_a_damaged_file_is_refused_with_a_clear_error_or_reads_as_the_same_run(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = written(tmp_path_factory.mktemp("run") / "one.jsonl", MEASUREMENT)
    content = bytearray(path.read_bytes())
    start = data.draw(st.integers(0, len(content)))
    content[start : start + data.draw(st.integers(0, 20))] = data.draw(st.binary(max_size=20))
    path.write_bytes(bytes(content))
    with contextlib.suppress(BadInput):  # anything else that is raised fails the test
        _, rows, _ = read(path)
        assert len(rows) == 1


# Runs of schema 1 -----------------------------------------------------------------------------------------------------


def of_schema_1(path: Path, *verdicts: str, footer: bool = True) -> Path:
    """A run as the first schema had it, of one number for each verdict."""
    of = {"case": "document/one", "adapter": "torch", "route": "eager", "dtype": "float32", "level": "whole",
          "elements": 1, "error_ulp": 0.5, "form": "document", "reason": None}  # fmt: skip
    rows = [{**dict.fromkeys(COLUMNS_OF_1), **of, "quantity": f"q{i}", "verdict": v} for i, v in enumerate(verdicts)]
    counts = {v: verdicts.count(v) for v in VERDICTS_OF_1}
    objects = [{"kind": "header", "schema": 1, **HEADER}, *rows]
    objects += [{"kind": "footer", "measurements": len(rows), "verdicts": counts, "seconds": {}}] if footer else []
    path.write_text("".join(map(line, objects)), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("verdict", "answers"),
    [
        ("conforms", ("right", "within", "certified")),
        ("vacuous", ("right", "within", "vacuous")),
        ("deviates", (None, "outside", None)),
        ("out of range", (None, "overflow", None)),
        ("undecided", (None, "undecided", None)),
        ("crashed", (None, None, None)),
    ],
)
def test_a_run_of_schema_1_has_the_answers_that_its_verdict_says_and_no_others(
    tmp_path: Path, verdict: str, answers: tuple[str | None, ...]
) -> None:
    _, (row,), _ = read(of_schema_1(tmp_path / "old.jsonl", verdict))
    assert tuple(row) == COLUMNS
    assert (row["formula"], row["execution"], row["accuracy"]) == answers
    assert (row["accepted_form"], row["error_ulp"], row["verdict"]) == ("document", 0.5, verdict)
    assert (row["max_ulp"], row["operator"], row["cause"]) == (None, None, None)


def test_runs_of_both_schemas_are_loaded_together(tmp_path: Path) -> None:
    old, new = of_schema_1(tmp_path / "old.jsonl", "conforms"), written(tmp_path / "new.jsonl", MEASUREMENT)
    _, table = load([old, new])
    assert list(table["verdict"]) == ["conforms", "deviates"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"form":', '"accepted_form":', "line 2: the columns are not those of schema 1: expected case"),
        ('"verdict":"conforms"', '"verdict":"lost"', "line 2: unknown verdict 'lost'"),
        ('"conforms":1', '"conforms":2', "its footer counts 1 measurements, it holds 1"),
        ('"schema":1', '"schema":2', "line 2: the columns are not those of schema 2"),
        ('"schema":1', '"schema":true', "has schema True; this gradconform reads schema 2 and 1: run it again, or"),
        ('"schema":1', '"schema":9', "has schema 9; this gradconform reads schema 2 and 1: run it again, or read"),
    ],
)
def test_a_malformed_run_of_schema_1_is_refused(tmp_path: Path, old: str, new: str, message: str) -> None:
    path = of_schema_1(tmp_path / "old.jsonl", "conforms")
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")
    with pytest.raises(BadInput, match=message):
        read(path)


def test_a_run_of_schema_1_is_not_gone_on_with(tmp_path: Path) -> None:
    path = of_schema_1(tmp_path / "old.jsonl", "conforms", footer=False)
    before = path.read_bytes()
    with pytest.raises(BadInput, match="has schema 1, which can be read and not gone on with; run it again into anoth"):
        begun(path)
    assert path.read_bytes() == before


def test_a_sweep_s_file_is_no_run_and_is_said_to_be_a_sweep_s(tmp_path: Path) -> None:
    path = tmp_path / "sweep.jsonl"
    path.write_text('{"kind":"header","suite":"gradconform","sweep":1,"operator":"tanh"}\n', encoding="utf-8")
    with pytest.raises(BadInput, match="is a sweep's file, and no run; gradconform diff"):
        read(path)
