"""The history of versions: what changed is found and named, and the figure says which version lost it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from tests_support import benchmark

from gradconform.conformance.run.run_file import frame
from gradconform.reference.measurement import Measurement

history: Any = benchmark("history")


def run(error: float) -> pd.DataFrame:
    """A sweep of two activations, tanh with the error given."""
    rows = [
        Measurement(
            case=f"network/sweep/{activation}", adapter="jax", route="jit", dtype="float64", level="step",
            quantity=quantity, elements=512, value=1.0, truth="1", error_ulp=ulps, median_ulp=ulps / 4, share=ulps / 10,
            allowance=1.0, verdict="conforms",
        )
        for activation, ulps in (("tanh", error), ("sigmoid", 1.25))
        for quantity in ("a1", "dE/dz1")
    ]  # fmt: skip
    return frame([m.row() for m in rows])


def header(version: str) -> dict[str, Any]:
    return {"frameworks": {"jax": {"jax": version}}, "profile": "opencl"}


VERSIONS = [header("0.6.2"), header("0.7.2")]


def test_only_what_differs_between_versions_has_changed() -> None:
    errors = history.activations({"jax 0.6.2": run(1.5), "jax 0.7.2": run(6.9)})
    assert errors.loc[("tanh", "value", "float64")].to_list() == [1.5, 6.9]
    assert sorted(history.changed(errors).index.get_level_values("activation").unique()) == ["tanh"]


def test_the_figure_names_the_version_that_lost_most() -> None:
    errors = history.activations({"jax 0.6.2": run(1.5), "jax 0.7.2": run(6.9)})
    title = history.drawn(errors).axes[0].get_title(loc="left")
    assert title == "jax 0.7.2 lost most: the value of tanh in float64, a factor of 4.6"


def test_versions_without_a_difference_make_a_figure_that_says_so() -> None:
    errors = history.activations({"jax 0.6.2": run(1.5), "jax 0.7.2": run(1.5)})
    assert "No activation's float64 accuracy changed" in history.drawn(errors).axes[0].get_title(loc="left")


def test_everything_is_written_and_the_loss_is_told(tmp_path: Path) -> None:
    pytest.importorskip("tabulate")
    said = history.written(VERSIONS, [run(1.5), run(6.9)], tmp_path)
    assert said[-1] == "jax 0.6.2 → jax 0.7.2: compared 4 measurements: 2 regressions, other bits in 0"
    assert {p.name for p in tmp_path.iterdir()} == {
        "verdicts.csv", "verdicts.md", "activations.csv", "activations.md", "changes.md", "activations.png",
        "activations.svg",
    }  # fmt: skip
    assert "### Less accurate (2)" in (tmp_path / "changes.md").read_text(encoding="utf-8")
