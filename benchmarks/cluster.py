"""A cluster of four workers on this machine, of which one is killed at random moments, beside a local run.

    python benchmarks/cluster.py [--rounds 20] [--seed 0]

Each round is a whole run on the cluster, in which one worker gets SIGKILL after a random time; its file must equal a
local run's but for times. Then the same run without kills, on the cluster and by as many local workers, alternately:
what the cluster costs is the ratio of the quickest.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import click
from distributed import LocalCluster
from isolation import without_times

WORKERS = 4
OPTIONS = ("run", "-a", "numpy", "-c", "document/scale-1/0*", "-d", "float64", "-d", "float32")


@click.command()
@click.option("--rounds", default=20, show_default=True)
@click.option("--repeats", default=3, show_default=True, help="Runs of each kind for the cost.")
@click.option("--seed", default=0, show_default=True, help="Of the moments and of who is killed.")
def main(rounds: int, repeats: int, seed: int) -> None:
    """Kill and compare; exit status 1 if anything is lost, doubled or different."""
    draw = random.Random(f"gradconform cluster, seed {seed}")
    with (
        tempfile.TemporaryDirectory() as folder,
        LocalCluster(
            n_workers=WORKERS, threads_per_worker=1, dashboard_address="127.0.0.1:0", silence_logs=100
        ) as workers,
    ):
        there, here = ("--scheduler", workers.scheduler_address), ("--jobs", str(WORKERS))
        taken: dict[str, list[float]] = {"cluster": [], "here": []}
        for repeat in range(repeats):
            for way, options in (("here", here), ("cluster", there)):
                path = Path(folder, f"{way}-{repeat}.jsonl")
                taken[way].append(_run(path, *options)[0])
        expected = without_times(Path(folder, "here-0.jsonl"))
        longest = max(taken["cluster"])
        for number in range(rounds):
            moment = draw.uniform(0, longest)
            timer = threading.Timer(moment, _kill, (workers, draw.randrange(WORKERS)))
            timer.start()
            path = Path(folder, f"round-{number}.jsonl")
            seconds, said = _run(path, *there)
            timer.cancel()
            if without_times(path) != expected:
                sys.exit(f"round {number}: the file differs from a local run's")
            lost = [line for line in said.splitlines() if line.startswith("lost on the way")]
            print(
                f"round {number}: killed after {moment:.1f} s of {seconds:.1f}: {(lost or ['nothing lost'])[0]}",
                flush=True,
            )
    one, other = min(taken["here"]), min(taken["cluster"])
    cost = f"{WORKERS} local workers {one:.1f} s, cluster {other:.1f} s: {other / one - 1:+.1%}"
    print(f"{len(expected) - 2} measurements: {cost}")


def _run(path: Path, *options: str) -> tuple[float, str]:
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "gradconform", *OPTIONS, *options, "-o", str(path)],
        check=False, capture_output=True, text=True,
    )  # fmt: skip
    if done.returncode != 0:
        sys.exit(f"exit status {done.returncode}: {done.stderr}")
    return time.perf_counter() - started, done.stdout


def _kill(workers: Any, number: int) -> None:
    there = list(workers.workers.values())  # a worker that was killed before may be on its way back
    process = there[number % len(there)].process
    if process is not None and process.process is not None and process.process.pid:
        os.kill(process.process.pid, signal.SIGKILL)


if __name__ == "__main__":
    main()
