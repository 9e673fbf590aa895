"""`gradconform sweep`: an operator at every number of a dtype."""

from __future__ import annotations

import functools
import shlex
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import NoReturn

import click
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from gradconform.conformance.command_line.options import fail_on_option, profile_option, refused, scheduler_option
from gradconform.conformance.command_line.terminal import console, errors
from gradconform.conformance.command_line.working import interruptible, on_cluster
from gradconform.conformance.run import run_summary
from gradconform.reference.arithmetic.profiles import PROFILES
from gradconform.reference.cases import BadInput, unknown


@click.command(short_help="Judge OPERATOR at every number of a dtype.")
@click.argument("operator")
@click.option("-d", "--dtype", required=True, metavar="DTYPE", help="float16, bfloat16 or float32.")
@click.option("-a", "--adapter", required=True, metavar="ADAPTER", help="torch or jax.")
@click.option("-o", "--output", type=click.Path(path_type=Path), default=None, metavar="FILE",
              help="The sweep's file. Never written over.")  # fmt: skip
@click.option("--resume", type=click.Path(path_type=Path), default=None, metavar="FILE",
              help="Go on with an incomplete file of the same sweep.")  # fmt: skip
@click.option("--sample", type=click.IntRange(1), default=None, metavar="N",
              help="N numbers at most, equally far apart in order. Default: all.")  # fmt: skip
@click.option("--range", "between", type=float, nargs=2, default=None, metavar="LOW HIGH",
              help="The numbers from LOW to HIGH. Default: all, infinities and NaN included.")  # fmt: skip
@click.option("--every", is_flag=True,
              help="Keep the answer to every number, its error and its verdict, of 65,536 at most.")  # fmt: skip
@profile_option
@click.option("--jobs", type=click.IntRange(1), default=None, help="Processes. Default: one a core.")
@scheduler_option
@fail_on_option
@refused
def sweep(
    operator: str,
    dtype: str,
    adapter: str,
    output: Path | None,
    resume: Path | None,
    sample: int | None,
    between: tuple[float, float] | None,
    every: bool,
    profile: str,
    jobs: int | None,
    scheduler: str | None,
    fail_on: tuple[str, ...],
) -> NoReturn:
    """Judge OPERATOR and its derivative at every number of a dtype.

    OPERATOR is a function of one number (gradconform list sweeps). Every number
    is asked, infinities and NaN included, and judged by itself; the last line
    says how many of how many. An incomplete file is gone on with by --resume
    and the same choices.

    Exit status: 0 nothing deviates, 1 a number does, or is what --fail-on
    names, 2 bad input, 3 something is undecided, or the sweep was interrupted.
    """
    from gradconform.conformance.sweep import chunk, command, sweep_file
    from gradconform.conformance.sweep import numbers as of_dtype
    from gradconform.conformance.sweep.whole import closing, lines, total

    if profile not in PROFILES:
        raise unknown("profile", profile, PROFILES)
    if (output is None) == (resume is None):
        raise BadInput("expected one of -o FILE, for a new sweep, and --resume FILE")
    name = operator.removeprefix("sweep/").removeprefix("operator/")
    chunk.checked(name, of_dtype.checked(dtype), adapter)
    piece = of_dtype.whole(dtype) if between is None else of_dtype.between(dtype, *between)
    piece = piece if sample is None else of_dtype.sampled(piece, sample)
    if every and piece.count > of_dtype.KEPT:
        few = f"expected {of_dtype.KEPT:,} at most: give --sample {of_dtype.KEPT}, or a --range of fewer"
        raise BadInput(f"--every keeps each number, of {piece.count:,} here; {few}")
    header = command.header(name, dtype, adapter, profile, piece, every)
    path = resume or output
    assert path is not None
    before = sweep_file.read(path) if resume is not None else None
    if before is not None:
        sweep_file.check_same(before, header, path)
    tasks = command.tasks(name, dtype, adapter, profile, piece, before.header if before else None, every)
    done = list(before.chunks) if before else []
    with ExitStack() as stack:
        asking = command.here(jobs)
        if scheduler is not None:
            if jobs is not None:
                raise BadInput("--jobs and --scheduler were both given; a cluster has the workers that it has")
            cluster = stack.enter_context(on_cluster(scheduler, [adapter], console))
            asking = functools.partial(cluster.ordered, chunk.asked)
        stack.enter_context(interruptible(f"gradconform sweep … --resume {shlex.quote(str(path))}"))
        writer = stack.enter_context(sweep_file.SweepWriter(path, header, before))
        columns = (TextColumn("sweeping"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        bars = stack.enter_context(Progress(*columns, console=errors, transient=True))
        bar = bars.add_task("sweeping", total=len(tasks), completed=len(done))
        started = time.perf_counter()
        for found in asking(tasks[len(done) :]):
            values = {"kind": "chunk", "number": len(done), **found}
            writer.write(values)
            done.append(values)
            bars.advance(bar)
        seconds = time.perf_counter() - started
        whole = total(done)
        writer.write({"kind": "footer", "seconds": round(seconds, 3), **whole})
    versions = ", ".join(f"{k} {v}" for k, v in header["frameworks"][adapter].items())
    console.print(f"{name} in {dtype}, {adapter} ({versions})", style="bold", markup=False)
    for text in lines(whole):
        console.print(text, markup=False)
    for text in command.known_of(whole, header):
        console.say(text)
    console.print(f"written: {path}", markup=False, soft_wrap=True)
    console.say(closing(whole, 1 << of_dtype.BITS[dtype], seconds), "bold")
    sys.exit(command.exit_status(whole, [run_summary.FAIL_ON[f] for f in fail_on]))
