"""A cluster of four workers on this machine, of which one is killed at random moments, beside a local run.

    python benchmarks/cluster.py [--rounds 20] [--seed 0]
    python benchmarks/cluster.py --whole --workers 2 --rounds 0

Each round is a whole run on the cluster, in which one worker gets SIGKILL after a random time; its file must equal a
local run's but for times. Then the same run without kills, on the cluster and by as many local workers, alternately:
what the cluster costs is the ratio of the quickest. `--whole` is the default run: every case and adapter.
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

#: What a short run asks besides its cases.
SHORT = ("-a", "numpy", "-d", "float64", "-d", "float32")


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--rounds", default=20, show_default=True)
@click.option("--repeats", default=3, show_default=True, help="Runs of each kind for the cost.")
@click.option("--seed", default=0, show_default=True, help="Of the moments and of who is killed.")
@click.option("-c", "--cases", default="document/scale-1/0*", show_default=True, help="What each run asks.")
@click.option("--whole", is_flag=True, help="Each is a default run instead.")
@click.option("--workers", default=4, show_default=True)
def main(rounds: int, repeats: int, seed: int, cases: str, whole: bool, workers: int) -> None:
    """Kill and compare; exit status 1 if anything is lost, doubled or different."""
    asked = () if whole else ("-c", cases, *SHORT)
    draw = random.Random(f"gradconform cluster, seed {seed}")
    with (
        tempfile.TemporaryDirectory() as folder,
        LocalCluster(
            n_workers=workers, threads_per_worker=1, dashboard_address="127.0.0.1:0", silence_logs=100
        ) as cluster,
    ):
        there, here = (*asked, "--scheduler", cluster.scheduler_address), (*asked, "--jobs", str(workers))
        taken: dict[str, list[float]] = {"cluster": [], "here": []}
        for repeat in range(repeats):
            for way, options in (("here", here), ("cluster", there)):
                path = Path(folder, f"{way}-{repeat}.jsonl")
                taken[way].append(_run(path, *options)[0])
        expected = without_times(Path(folder, "here-0.jsonl"))
        shortest = min(taken["cluster"])  # so that hardly a round is over before its kill
        for number in range(rounds):
            moment = draw.uniform(0, shortest)
            timer = threading.Timer(moment, _kill, (cluster, draw.randrange(workers)))
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
    cost = f"{workers} local workers {one:.1f} s, cluster {other:.1f} s: {other / one - 1:+.1%}"
    print(f"{len(expected) - 2} measurements: {cost}")


def _run(path: Path, *options: str) -> tuple[float, str]:
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "gradconform", "run", *options, "-o", str(path)],
        check=False, capture_output=True, text=True,
    )  # fmt: skip
    if done.returncode != 0:
        sys.exit(f"exit status {done.returncode}: {done.stderr}")
    return time.perf_counter() - started, done.stdout


def _kill(cluster: Any, number: int) -> None:
    there = list(cluster.workers.values())  # a worker that was killed before may be on its way back
    process = there[number % len(there)].process
    if process is not None and process.process is not None and process.process.pid:
        os.kill(process.process.pid, signal.SIGKILL)


if __name__ == "__main__":
    main()
