"""Every operator of one number and its derivative at every number of 16-bit dtypes, in each framework.

    python benchmarks/sweeps.py [-o docs/operators] [--seconds 3600] [OPERATOR]…
    python benchmarks/sweeps.py -d float32 -a torch --sample 4182052 sigmoid tanh exp gelu softplus erf

leaves a sweep's file for each in runs/sweeps/, and goes on where it was; then writes the accuracy tables and figures
of what is complete. Rows of tables that are there stay where nothing of the same is in runs/sweeps/; the figure of an
operator is drawn where all its rows are of what is there. The short sweeps come first: one that takes longer than its
turn is gone on with in a later round.
One process; `--seconds` is when no further sweep is begun.
"""

from __future__ import annotations

import subprocess
import sys
import time
import traceback
from fnmatch import fnmatchcase
from itertools import chain
from pathlib import Path

import click

from gradconform.conformance.sweep import chunk, command, numbers, sweep_file
from gradconform.conformance.sweep.whole import total
from gradconform.reference.cases import BadInput
from gradconform.reference.derivations.operators.catalogue import OPERATORS

DTYPES, ADAPTERS = ("float16", "bfloat16"), ("torch", "jax")
#: Seconds that a sweep may take in each round.
TURNS = (30.0, 120.0, 480.0, 1e9)


@click.command()
@click.argument("globs", nargs=-1)
@click.option("--folder", type=click.Path(path_type=Path), default=Path("runs/sweeps"), show_default=True)
@click.option("-o", "--output", type=click.Path(path_type=Path), default=Path("docs/operators"), show_default=True)
@click.option("-d", "--dtype", "dtypes", multiple=True, default=DTYPES, show_default=True)
@click.option("-a", "--adapter", "adapters", multiple=True, default=ADAPTERS, show_default=True)
@click.option("--sample", type=int, default=None, help="So many numbers of each at most. Default: all.")
@click.option("--seconds", default=1e9, help="Begin no sweep after so many seconds.")
def main(
    globs: tuple[str, ...],
    folder: Path,
    output: Path,
    dtypes: tuple[str, ...],
    adapters: tuple[str, ...],
    sample: int | None,
    seconds: float,
) -> None:
    """Sweep, and tabulate."""
    started = time.perf_counter()
    folder.mkdir(parents=True, exist_ok=True)
    left = [
        (o.name, dtype, adapter)
        for o in OPERATORS.values()
        if o.unary and o.definition is not None and (not globs or any(fnmatchcase(o.name, g) for g in globs))
        for dtype in dtypes
        for adapter in adapters
    ]
    failed = []
    for turn in TURNS:
        again = []
        for each in left:
            if time.perf_counter() - started < seconds:
                try:
                    said, whole = swept(folder, *each, turn, sample)
                except Exception:  # of the suite itself: the others are swept all the same
                    failed.append(each)
                    print(f"{each} failed:\n{traceback.format_exc()}", flush=True)
                    continue
                print(said, flush=True)
                again += [] if whole else [each]
        left = again
    from gradconform.reports import accuracy

    sweeps = [
        (s.header, s.chunks, s.footer) for p in sorted(folder.glob("*.jsonl")) if (s := sweep_file.read(p)).footer
    ]
    table = output / "sweep.csv"
    before = accuracy.read(table) if table.exists() else None
    for path in accuracy.write([s for s in sweeps if s[2] is not None], output, (".png",), before):
        print(path)
    if failed:
        sys.exit(3)


def revision() -> str:
    """Of the suite, as git names it; of changed files, that."""
    told = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False)
    return told.stdout.strip()


def swept(
    folder: Path, name: str, dtype: str, adapter: str, turn: float = 1e9, sample: int | None = None
) -> tuple[str, bool]:
    """One sweep, begun or gone on with until its turn is over; what is to be said of it, and whether it is whole."""
    path = folder / f"{adapter}-{name}-{dtype}.jsonl"
    piece = numbers.whole(dtype) if sample is None else numbers.sampled(numbers.whole(dtype), sample)
    try:
        chunk.checked(name, dtype, adapter)
        header = {**command.header(name, dtype, adapter, "opencl", piece), "revision": revision()}
        before = sweep_file.read(path) if path.exists() else None
        if before is not None:
            if before.footer is not None:
                return f"{path.name}: there", True
            sweep_file.check_same(before, header, path)
        tasks = command.tasks(name, dtype, adapter, "opencl", piece, before.header if before else None)
        done = list(before.chunks) if before else []
        earlier = float(done[-1].get("seconds", 0.0)) if done else 0.0
        began = time.perf_counter()
        found = (chunk.asked(task) for task in tasks[len(done) :])
        first = None if done else next(found)  # what the framework lacks leaves no file
        with sweep_file.SweepWriter(path, header, before) as writer:
            for values in chain([first] if first else [], found):
                taken = earlier + time.perf_counter() - began
                done.append({"kind": "chunk", "number": len(done), "seconds": round(taken, 3), **values})
                writer.write(done[-1])
                if taken > turn and len(done) < len(tasks):
                    return f"{path.name}: {len(done)} of {len(tasks)} chunks in {taken:.0f} s", False
            taken = float(done[-1]["seconds"])
            whole = total(done)
            writer.write({"kind": "footer", "seconds": taken, **whole})
    except BadInput as error:
        return f"{path.name}: unsupported: {error}", True
    said = {q: whole[q]["verdicts"] for q in chunk.QUANTITIES if q in whole}
    return f"{path.name}: {taken:.1f} s, {said}", True


if __name__ == "__main__":
    sys.exit(main())
