"""The pytest plugin and the suite, as a user runs them: from an empty directory, through --pyargs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests_support import WRONG_ADAPTERS

from gradconform.conformance.run.run_file import read

SUITE = ("--pyargs", "gradconform.conformance")
ONE = ("--gradconform-case", "document/worked-example", "--gradconform-dtype", "float64")


def run(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-v", *options]
    environment = {**os.environ, **WRONG_ADAPTERS, "COLUMNS": "200"}
    environment.pop("PYTEST_ADDOPTS", None)
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_the_suite_has_readable_ids_and_passes_on_a_correct_adapter(tmp_path: Path) -> None:
    done = run(tmp_path, *SUITE, *ONE, "--gradconform-adapter", "numpy")
    assert "test_answer_conforms[numpy/central-float64-document/worked-example] PASSED" in done.stdout
    assert done.returncode == 0
    assert "3 passed" in done.stdout


def test_the_suite_fails_on_a_wrong_adapter_and_says_which_equation(tmp_path: Path) -> None:
    done = run(tmp_path, *SUITE, *ONE, "--gradconform-adapter", "wrong_adapters:flipped")
    assert done.returncode == 1
    assert "dE_total/dw1 (whole): got -0.000188" in done.stdout
    assert "truth 0.000188255666940112" in done.stdout


def test_a_crash_fails_with_its_reason(tmp_path: Path) -> None:
    done = run(tmp_path, *SUITE, *ONE, "--gradconform-adapter", "wrong_adapters:crashing")
    assert done.returncode == 1
    assert "crashed: exception: ZeroDivisionError" in done.stdout


def test_an_unsupported_dtype_is_skipped_and_says_why(tmp_path: Path) -> None:
    options = (*ONE[:2], "--gradconform-dtype", "bfloat16", "--gradconform-adapter", "numpy/central")
    done = run(tmp_path, *SUITE, *options, "-rs")
    assert "1 skipped" in done.stdout
    assert "dtype: numpy/central runs in float64, float32, float16" in done.stdout


def test_a_known_deviation_is_an_expected_failure(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    options = ("--gradconform-case", "document/scale-1/000", "--gradconform-dtype", "float32")
    done = run(tmp_path, *SUITE, *options, "--gradconform-adapter", "torch/forward", "-rx")
    assert done.returncode == 0, done.stdout
    assert "1 xfailed" in done.stdout
    assert "known:torch-forward-0d-dtype" in done.stdout


@pytest.mark.parametrize("workers", [(), ("-n", "2")])
def test_the_suite_exports_a_whole_run_and_its_tables(tmp_path: Path, workers: tuple[str, ...]) -> None:
    done = run(tmp_path, *SUITE, *workers, *ONE, "--gradconform-adapter", "numpy", "--gradconform-export", "out")
    assert done.returncode == 0, done.stdout + done.stderr
    header, rows, _ = read(tmp_path / "out" / "run.jsonl")
    assert header["suite"] == "gradconform"
    assert [(r["route"], r["quantity"]) for r in rows[:2]] == [("central", "E_total"), ("central", "dE_total/dw1")]
    assert len(rows) == 3 * 17
    assert (tmp_path / "out" / "summary.md").exists()
    assert not (tmp_path / "out" / ".parts").exists()


def test_an_export_is_never_written_over(tmp_path: Path) -> None:
    (tmp_path / "run.jsonl").write_text("mine")
    done = run(tmp_path, *SUITE, *ONE, "--gradconform-adapter", "numpy", "--gradconform-export", str(tmp_path))
    assert done.returncode == 4
    assert "run.jsonl exists; a run is never written over" in done.stderr
    assert (tmp_path / "run.jsonl").read_text() == "mine"


def test_an_unknown_adapter_is_a_usage_error_with_the_nearest_name(tmp_path: Path) -> None:
    done = run(tmp_path, *SUITE, "--gradconform-adapter", "nimpy")
    assert done.returncode == 4
    assert "unknown adapter 'nimpy'; did you mean 'numpy'?" in done.stderr


def test_the_plugin_is_harmless_in_other_people_s_pytest(tmp_path: Path) -> None:
    """Their tests run, and nothing heavy is imported for them."""
    (tmp_path / "test_theirs.py").write_text(
        "import sys\n"
        "def test_nothing_heavy_is_imported():\n"
        "    assert not {'torch', 'jax', 'pandas', 'numpy', 'flint'} & set(sys.modules)\n"
    )
    done = run(tmp_path, "-p", "no:hypothesispytest", "-W", "error")
    assert done.returncode == 0, done.stdout
    assert "1 passed" in done.stdout


@pytest.mark.parametrize("workers", [(), ("-n", "2")])
def test_a_stale_known_deviation_fails_the_suite(tmp_path: Path, workers: tuple[str, ...]) -> None:
    """Planted: an entry that says numpy/central deviates on all zeros, where it conforms."""
    (tmp_path / "conftest.py").write_text(
        "from gradconform.conformance import known\n"
        "entry = known.KnownDeviation('planted', 'numpy', 'central', '>=0', 'float64', '*', '*', '*', '*',\n"
        "                             'planted', 'https://example.org', case='document/all-zeros')\n"
        "known.known_deviations = lambda path=None: (entry,)\n"
    )
    options = (
        "--gradconform-adapter",
        "numpy/central",
        "--gradconform-dtype",
        "float64",
        "-c",
        str(tmp_path / "x.ini"),
    )
    (tmp_path / "x.ini").write_text("[pytest]\n")
    both = ("--gradconform-case", "document/all-zeros", "--gradconform-case", "document/worked-example")
    done = run(tmp_path, *SUITE, *both, *options, *workers, "-p", "conftest", "--rootdir", str(tmp_path))
    assert "known deviation planted deviates no more; remove it" in done.stdout, done.stdout + done.stderr
    assert done.returncode == 1
