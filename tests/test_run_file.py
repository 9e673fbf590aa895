"""The run file: what is written is what is read, and what is not a whole run is refused."""

from __future__ import annotations

import contextlib
import json
import math
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gradconform.conformance.measurement import COLUMNS, Measurement
from gradconform.conformance.run_file import RunWriter, load, read
from gradconform.reference.cases import BadInput

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
        ('"case":"document/worked-example"', '"case":null', "line 2: case is None, expected text"),
        ('"dtype":', '"type":', "line 2: the columns are not those of this gradconform"),
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
