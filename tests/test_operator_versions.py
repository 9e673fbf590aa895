"""Accuracy of operators by version, and beside ulpwise's survey: what tables and figures say."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from gradconform.conformance.run.run_file import RunWriter, frame
from gradconform.reference.measurement import Measurement

pytest.importorskip("matplotlib")
from gradconform.reports import operator_versions

ROOT = Path(__file__).resolve().parents[1]


def header(version: str, framework: str = "torch") -> dict[str, Any]:
    return {
        "suite": "gradconform",
        "suite_version": "1",
        "profile": "opencl",
        "frameworks": {framework: {framework: version}},
    }


def row(operator: str, quantity: str, max_ulp: float, share: float = 0.25, framework: str = "torch") -> Measurement:
    return Measurement(
        f"program/operator/{operator}/ordinary/0a1b2c3d", framework, "eager", "float32", "whole", quantity, 8,
        value=1.0, truth="1", max_ulp=max_ulp, share=share, operator=operator, verdict="conforms",
    )  # fmt: skip


OLD = [row("expm1", "value of output", 0.5), row("expm1", "d/dx", 1.0), row("sinc", "value of output", 2.0)]
NEW = [row("expm1", "value of output", 4.0, 0.8), row("expm1", "d/dx", 1.0), row("sinc", "value of output", 2.0)]
JAX = [row("expm1", "value of output", 0.75, framework="jax")]


@pytest.fixture
def runs() -> list[operator_versions.Run]:
    tables = [frame([m.row() for m in rows]) for rows in (OLD, NEW, JAX)]
    return list(zip([header("2.12.1"), header("2.13.0"), header("0.10.2", "jax")], tables, strict=True))


def test_each_version_has_its_largest_error(runs: list[operator_versions.Run]) -> None:
    wide = operator_versions.by_version(operator_versions.table(runs)).set_index(operator_versions.KEY)
    assert list(wide.columns) == ["torch 2.12.1", "torch 2.13.0", "jax 0.10.2"]
    assert wide.loc[("expm1", "value", "float32")].tolist() == [0.5, 4.0, 0.75]
    assert wide.loc[("sinc", "value", "float32")].isna().tolist() == [False, False, True]


def test_tables_figure_and_changes_are_written(runs: list[operator_versions.Run], tmp_path: Path) -> None:
    paths = operator_versions.write(runs, tmp_path)
    assert {p.name for p in paths} == {
        "accuracy.csv", "accuracy.md", "accuracy.tex", "accuracy.png", "accuracy.svg", "changes.md"}  # fmt: skip
    assert "| expm1 | f | float32 | 0.5 | 4 | 0.75 |" in (tmp_path / "accuracy.md").read_text(encoding="utf-8")
    assert r"\begin{longtable}" in (tmp_path / "accuracy.tex").read_text(encoding="utf-8")
    changes = (tmp_path / "changes.md").read_text(encoding="utf-8")
    assert "### Less accurate operators (1)" in changes
    assert "| torch/eager | float32 | expm1 | value | 1 | 0.5 → 4 | 0.25 → 0.8 |" in changes
    csv = pd.read_csv(tmp_path / "accuracy.csv")
    assert csv.loc[csv["version"] == "2.13.0", "max ulp"].max() == 4.0


def test_the_figure_shows_first_what_differs_most(
    runs: list[operator_versions.Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(operator_versions, "DRAWN", 1)
    figure = operator_versions.drawn(operator_versions.by_version(operator_versions.table([*runs, also(4.0, 3.0)])))
    assert [t.get_text() for t in figure.axes[0].get_yticklabels()] == ["expm1 f"]
    assert said(figure) == (
        "Of 3 values and derivatives in float32 2 differ by more than a factor of 2:\nthe 1 that differ most"
    )


def also(value: float, derivative: float, version: str = "0.11.0") -> operator_versions.Run:
    """A version of JAX with these errors of expm1."""
    rows = [row("expm1", q, e, framework="jax") for q, e in (("value of output", value), ("d/dx", derivative))]
    return header(version, "jax"), frame([m.row() for m in rows])


def said(figure: Any) -> str:
    return str(figure.get_suptitle())


def test_a_figure_of_what_does_not_differ_says_so_and_shows_nothing(runs: list[operator_versions.Run]) -> None:
    """Errors of up to half an ulp are as good as none."""
    old = next(iter(runs))
    figure = operator_versions.drawn(operator_versions.by_version(operator_versions.table([old, also(0.0, 1.5)])))
    assert said(figure) == "None of 3 values and derivatives in float32 differs by more than a factor of 2"
    assert not figure.axes[0].axison


def test_an_error_of_0_and_an_infinite_one_stand_apart_from_numbers_and_are_named_so(
    runs: list[operator_versions.Run],
) -> None:
    old = next(iter(runs))
    figure = operator_versions.drawn(
        operator_versions.by_version(operator_versions.table([old, also(float("inf"), 0.0), also(2.0, 3.0, "0.12.0")]))
    )
    axis = figure.axes[0]
    marks = {t.get_text(): x for t, x in zip(axis.get_xticklabels(), axis.get_xticks(), strict=True)}
    drawn = {float(x) for line in axis.get_lines() for x in np.ravel(line.get_xdata()) if line.get_label()[0] != "_"}
    assert {marks["0"], marks["more"], 2.0, 3.0} <= drawn
    assert marks["0"] < 2.0**-6 < 2.0**24 < marks["more"]


def test_the_benchmark_reads_run_files(runs: list[operator_versions.Run], tmp_path: Path) -> None:
    for name, rows in (("old", OLD), ("new", NEW)):
        with RunWriter(tmp_path / f"{name}.jsonl", header(f"2.{name}")) as writer:
            writer.write(rows)
            writer.finish()
    benchmark = benchmark_of("accuracy")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            sys, "argv", ["accuracy", *(str(tmp_path / f"{n}.jsonl") for n in ("old", "new")), "-o", str(tmp_path)]
        )
        benchmark.main()
    assert "torch 2.new" in (tmp_path / "accuracy.md").read_text(encoding="utf-8")


def benchmark_of(name: str) -> Any:
    sys.path.insert(0, str(ROOT / "benchmarks"))
    try:
        return import_module(name)
    finally:
        sys.path.remove(str(ROOT / "benchmarks"))


def test_the_survey_has_the_error_of_each_number_and_not_of_what_lies_outside() -> None:
    pytest.importorskip("torch")
    survey = benchmark_of("survey")
    x = np.array([0.25, 1.5, 3.0])
    ulps, inside = survey.errors("log", "float32", "torch", np.array([-1.0, *x]))
    assert inside.tolist() == x.tolist()
    assert ulps.max() <= 1.0
    assert survey.agree(24.85312, 24.853121)
    assert not survey.agree(24.853, 24.9)
