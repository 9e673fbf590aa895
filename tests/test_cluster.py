"""Tasks on a cluster: the run file is a local run's, lost workers' tasks are done again, unlike workers are refused."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests_support import WRONG_ADAPTERS, Cli, benchmark

distributed = pytest.importorskip("distributed")

from gradconform.conformance.run import cluster  # noqa: E402 -- it needs dask
from gradconform.conformance.run.run_file import begun  # noqa: E402
from gradconform.reference.cases import BadInput  # noqa: E402

without_times = benchmark("isolation").without_times
OPTIONS = ("run", "-a", "numpy/complex-step", "-c", "document/scale-1/00*", "-d", "float32", "-d", "float64")


@pytest.fixture(scope="module")
def started() -> Iterator[Any]:
    """A cluster of two workers on this machine."""
    with (
        pytest.MonkeyPatch.context() as patch,
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address="127.0.0.1:0", silence_logs=100
        ) as workers,
    ):
        patch.setenv("PYTHONPATH", WRONG_ADAPTERS["PYTHONPATH"])
        yield workers


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("local") / "local.jsonl"
    subprocess.run([sys.executable, "-m", "gradconform", *OPTIONS, "-o", str(path)], check=True, capture_output=True)
    return path


def test_a_worker_is_killed_and_the_run_file_is_a_local_runs_but_for_times(
    started: Any, local: Path, tmp_path: Path
) -> None:
    path = tmp_path / "one.jsonl"
    command = [sys.executable, "-m", "gradconform", *OPTIONS, "--scheduler", started.scheduler_address, "-o", str(path)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    end = time.monotonic() + 60
    while not (path.exists() and path.read_bytes().count(b"\n") > 1) and process.poll() is None:
        assert time.monotonic() < end
        time.sleep(0.01)
    os.kill(next(iter(started.workers.values())).process.process.pid, signal.SIGKILL)
    said, problem = process.communicate(timeout=60)
    assert process.returncode == 0, problem
    assert "Traceback" not in problem
    assert "lost on the way: 1 worker; done again: " in said
    assert "done again: 0" not in said
    assert without_times(path) == without_times(local)


def test_what_was_begun_here_is_gone_on_with_on_the_cluster(
    started: Any, local: Path, tmp_path: Path, cli: Cli
) -> None:
    path = tmp_path / "one.jsonl"
    path.write_bytes(local.read_bytes()[:50_000])
    before = begun(path)
    assert before is not None
    assert 0 < len(before.tasks) < 20
    done = cli("run", "--resume", "one.jsonl", "--scheduler", started.scheduler_address)
    assert done.returncode == 0, done.stderr
    assert without_times(path) == without_times(local)


def test_an_adapter_that_ends_its_process_does_not_end_a_worker_of_the_cluster(
    started: Any, tmp_path: Path, cli: Cli
) -> None:
    asked = ("run", "-a", "hostile_adapters:hard_exit", "-c", "document/worked-example", "-d", "float32")
    names = ("here", "there")
    for name, where in zip(names, ((), ("--scheduler", started.scheduler_address)), strict=True):
        done = cli(*asked, *where, "-o", f"{name}.jsonl", env=WRONG_ADAPTERS)
        assert done.returncode == 3, done.stderr
        assert "lost on the way" not in done.stdout
    here, there = (without_times(tmp_path / f"{name}.jsonl") for name in names)
    assert here == there
    assert [m["verdict"] for m in here[1:-1]] == ["crashed"]


def test_a_scheduler_that_does_not_answer_is_refused_in_a_few_seconds(tmp_path: Path, cli: Cli) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        address = f"tcp://127.0.0.1:{silent.getsockname()[1]}"
        began = time.monotonic()
        done = cli(*OPTIONS, "--scheduler", address, "-o", "one.jsonl")
        assert time.monotonic() - began < 25
    assert done.returncode == 2
    assert f"the scheduler '{address}' does not answer in 5 s" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "one.jsonl").exists()


def test_workers_of_other_versions_are_refused_with_what_differs(started: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    here = cluster.identity(("numpy",))
    assert here["gradconform"]
    assert here["numpy"]
    monkeypatch.setattr(cluster, "identity", lambda specs: {**here, "numpy": "2.9.9"})
    message = rf"the worker tcp://\S+ of tcp://\S+ has numpy {here['numpy']} \(here 2\.9\.9\); a run has one set"
    with pytest.raises(BadInput, match=message), cluster.connected(started.scheduler_address, ("numpy",)):
        pass


def test_a_worker_that_joins_later_is_asked_for_its_versions_too() -> None:
    here = cluster.identity(("numpy",))
    cluster.Kept("run", here, ("numpy",)).check()
    with pytest.raises(BadInput, match=r"a worker that joined .* has numpy \S+ \(here 2\.9\.9\)"):
        cluster.Kept("run", {**here, "numpy": "2.9.9"}, ("numpy",)).check()


def test_jobs_and_a_scheduler_together_are_refused(cli: Cli) -> None:
    done = cli(*OPTIONS, "--scheduler", "tcp://127.0.0.1:1", "--jobs", "2")
    assert done.returncode == 2
    assert "--jobs and --scheduler were both given" in done.stderr


def test_a_header_of_a_run_on_a_cluster_does_not_name_the_cluster(local: Path) -> None:
    header = json.loads(local.read_text(encoding="utf-8").splitlines()[0])
    assert "scheduler" not in header
