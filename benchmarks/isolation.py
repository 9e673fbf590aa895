"""Isolation, measured: runs killed at random moments and resumed, and what worker processes cost.

    python benchmarks/isolation.py rounds [--rounds 50] [--seed 0]
    python benchmarks/isolation.py cost [--repeats 3] [-c GLOB]…

`rounds` starts the command line, kills it with SIGKILL (every third time SIGTERM) after a random time, resumes it,
kills that too, and so on until it is done; the file must then equal an uninterrupted run's but for times. `cost` judges
the same tasks in one process and by one worker process, each from a fresh interpreter to the last line written,
alternately, and compares the quickest of each; the measurements must be the same, byte for byte. Seconds of CPU time
stand beside those of the clock, which other processes of the machine disturb more.
"""

from __future__ import annotations

import json
import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import click

#: The run of the rounds: 114 tasks, 5,814 measurements, several seconds.
OPTIONS = ("run", "-a", "numpy", "-c", "document/scale-1/*", "-d", "float64", "-d", "float32")
#: Environment of every process that is measured: workers have one thread each, so has the process beside them.
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


@click.group()
def main() -> None:
    """What isolation holds and what it costs."""


def without_times(path: Path) -> list[Any]:
    """A run file's lines without times and the arguments, which name the file."""
    header, *lines, footer = [json.loads(text) for text in path.read_text(encoding="utf-8").splitlines()]
    for name in ("started", "arguments"):
        header.pop(name)
    footer.pop("seconds")
    return [header, *lines, footer]


@main.command()
@click.option("--rounds", default=50, show_default=True, help="Kills, each followed by --resume.")
@click.option("--seed", default=0, show_default=True, help="Of the moments.")
def rounds(rounds: int, seed: int) -> None:
    """Kill and resume; exit status 1 if anything is lost, doubled or different."""
    draw = random.Random(f"gradconform kill and resume, seed {seed}")
    killed = runs = 0
    with tempfile.TemporaryDirectory() as folder:
        whole = Path(folder, "whole.jsonl")
        started = time.perf_counter()
        subprocess.run(_command(*OPTIONS, "-o", str(whole)), check=True, stdout=subprocess.DEVNULL)
        # A moment may be any of a whole run's; on a busy machine that is longer.
        longest = 1.1 * (time.perf_counter() - started)
        expected = without_times(whole)
        while killed < rounds:
            path = Path(folder, f"{runs}.jsonl")
            runs += 1
            finished = False
            while not finished:
                target = ("--resume", str(path)) if path.exists() else ("-o", str(path))
                number = signal.SIGTERM if killed % 3 == 2 else signal.SIGKILL
                finished = _ended(_command(*OPTIONS, *target), draw.uniform(0, longest), number)
                killed += not finished
                # Killed between its last line and its end, a run is complete: there is nothing to resume.
                finished = finished or (path.exists() and b'\n{"kind":"footer"' in path.read_bytes())
                size = path.stat().st_size if path.exists() else 0
                print(f"{killed} of {rounds} kills, run {runs}: {size} bytes", flush=True)
            if without_times(path) != expected:
                sys.exit(f"run {runs}, seed {seed}: the resumed file differs from the uninterrupted one")
    print(f"{killed} kills over {runs} runs of {len(expected) - 2} measurements: nothing lost, nothing doubled")


def _command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "gradconform", *arguments]


def _ended(command: list[str], seconds: float, number: int) -> bool:
    """Whether a command ended by itself before the signal that it gets after so many seconds."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        status = process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.send_signal(number)
        status = process.wait()
    if status not in (0, 3, -number):
        sys.exit(f"{' '.join(command)} ended with exit status {status}")
    return status == 0


@main.command()
@click.option("--repeats", default=3, show_default=True)
@click.option("-c", "--case", "globs", multiple=True, default=("*",), show_default=True)
@click.option("-a", "--adapter", "adapters", multiple=True, default=("torch", "jax", "numpy"), show_default=True)
def cost(repeats: int, globs: tuple[str, ...], adapters: tuple[str, ...]) -> None:
    """Seconds in one process and by one worker; the ratio of the quickest."""
    taken: dict[str, list[float]] = {"here": [], "worker": []}
    cpu: dict[str, list[float]] = {"here": [], "worker": []}
    with tempfile.TemporaryDirectory() as folder:
        for repeat in range(repeats):
            for way in taken if repeat % 2 == 0 else reversed(taken):
                path = Path(folder, f"{way}-{repeat}.jsonl")
                command = [sys.executable, __file__, "judge", way, str(path), *adapters, "--", *globs]
                started, before = time.perf_counter(), _cpu_of_children()
                subprocess.run(command, check=True, env={**os.environ, **ONE_THREAD})
                taken[way].append(time.perf_counter() - started)
                cpu[way].append(_cpu_of_children() - before)
                print(f"{way}: {taken[way][-1]:.1f} s, of CPU time {cpu[way][-1]:.1f} s", flush=True)
            here, worker = (Path(folder, f"{way}-{repeat}.jsonl").read_bytes() for way in taken)
            if here != worker:
                sys.exit("the measurements of one process and of a worker differ")
    for kind, seconds in (("clock", taken), ("CPU", cpu)):
        one, other = min(seconds["here"]), min(seconds["worker"])
        print(f"{kind}: in one process {one:.1f} s, by one worker {other:.1f} s: {other / one - 1:+.1%}")


def _cpu_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@main.command(context_settings={"ignore_unknown_options": True}, hidden=True)
@click.argument("way", type=click.Choice(["here", "worker"]))
@click.argument("path", type=click.Path(path_type=Path))
@click.argument("rest", nargs=-1, type=click.UNPROCESSED)
def judge(way: str, path: Path, rest: tuple[str, ...]) -> None:
    """One way through the tasks, in this process or by a worker of it."""
    from gradconform.adapters import registry
    from gradconform.conformance.cases.catalogue import select
    from gradconform.conformance.run import runner, supervisor
    from gradconform.conformance.run.run_file import RunWriter
    from gradconform.reference.arithmetic.formats import FORMATS

    where = next(i for i, part in enumerate(rest) if "*" in part or part.startswith(("document/", "network/")))
    chosen = [c for spec in rest[:where] for c in registry.choose(spec)]
    tasks = runner.plan(chosen, select(rest[where:]), tuple(FORMATS), "cpu", "opencl")
    found = map(runner.perform, tasks) if way == "here" else supervisor.outcomes(tasks, jobs=1)
    with RunWriter(path, {"suite": "gradconform"}) as writer:
        for outcome in found:
            writer.write(outcome.measurements)


if __name__ == "__main__":
    main()
