"""The drift of a training run: small in float64, larger in bfloat16, written as a table and a figure."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from tests_support import benchmark

drift: Any = benchmark("drift")


def test_a_training_run_s_drift_is_written_and_grows_as_the_dtype_narrows(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    said = drift.written(drift.trained("torch/eager", "document/worked-example", 3), tmp_path)
    assert "deviates" not in said[0]
    assert {p.name for p in tmp_path.iterdir()} == {"drift.csv", "drift.png", "drift.svg"}
    largest = pd.read_csv(tmp_path / "drift.csv").groupby("dtype")["drift"].max()
    assert 0 < largest["float64"] < 1e-14 < largest["float32"] < 1e-5 < largest["bfloat16"] < 1
