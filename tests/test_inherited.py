"""What worker processes inherit: settings of theirs alone, beside which the user's own stay."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from gradconform.conformance.run import state
from gradconform.conformance.run.inherited import THREADS, inherited, kept_compilations

KEPT = "JAX_COMPILATION_CACHE_DIR"


@pytest.fixture(autouse=True)
def _untouched(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in (*THREADS, KEPT, "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_workers_have_one_thread_and_a_place_for_what_is_compiled_and_this_process_has_neither(tmp_path: Path) -> None:
    with inherited():
        assert {os.environ[name] for name in THREADS} == {"1"}
        assert Path(os.environ[KEPT]).parent == tmp_path / "cache" / "gradconform"
        assert os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] == "0"
    assert not {*THREADS, KEPT} & set(os.environ)


def test_what_the_user_says_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.setenv(KEPT, "/elsewhere")
    with inherited():
        assert (os.environ["OMP_NUM_THREADS"], os.environ[KEPT]) == ("3", "/elsewhere")
    assert (os.environ["OMP_NUM_THREADS"], os.environ[KEPT]) == ("3", "/elsewhere")


def test_where_no_folder_can_be_everything_is_compiled(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("no folder")
    assert kept_compilations() == {}


def test_a_new_variable_is_let_pass_unless_libraries_compute_by_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    monkeypatch.delenv("MINE", raising=False)
    before = state.snapshot()
    monkeypatch.setenv("MINE", "1")
    assert state.changed(before) == []
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    assert state.changed(before) == ["environment"]
    assert state.restore(before, ["environment"])
    assert not {"MINE", "CUBLAS_WORKSPACE_CONFIG"} & set(os.environ)
