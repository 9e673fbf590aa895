"""`gradconform run`: tasks are judged, told as they are, and written; `--resume` goes on."""

from __future__ import annotations

import os
import shlex
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn

import click
from click.core import ParameterSource
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from gradconform.adapters import registry
from gradconform.conformance.cases.catalogue import ids, select
from gradconform.conformance.command_line.options import (
    CONFORMS,
    DEVIATES,
    INCOMPLETE,
    adapter_names,
    case_ids,
    check_timeout,
    device_option,
    dtype_names,
    fail_on_option,
    known_option,
    profile_option,
    refused,
    scheduler_option,
    timeout_option,
)
from gradconform.conformance.command_line.terminal import Terminal, console, errors
from gradconform.conformance.command_line.working import interruptible, on_cluster
from gradconform.conformance.known import KnownDeviation, entries_for, is_known, known_files
from gradconform.conformance.run import run_summary, runner, supervisor
from gradconform.conformance.run.run_file import STDOUT, Begun, RunWriter, begun
from gradconform.conformance.run.stale import evidence, stale
from gradconform.reference.arithmetic.formats import FORMATS
from gradconform.reference.arithmetic.profiles import PROFILES
from gradconform.reference.cases import BadInput, named_format, unknown
from gradconform.reference.measurement import JUDGED, Measurement

#: Seconds after which what is running is named on a terminal, and where there is none.
SLOW, VERY_SLOW = 5, 60


@click.command(short_help="Judge frameworks on the catalogue's cases.")
@click.option("-a", "--adapter", "adapters", multiple=True, metavar="ADAPTER[/ROUTE]", shell_complete=adapter_names,
              help="An adapter, one of its routes, or module:object. Repeat for more. Default: every built-in "
                   "whose framework is installed.")  # fmt: skip
@click.option("-c", "--case", "globs", multiple=True, metavar="GLOB", shell_complete=case_ids,
              help="Cases by id, or module:object. Repeat for more. Default: all.")  # fmt: skip
@click.option("-d", "--dtype", "dtypes", multiple=True, metavar="DTYPE", shell_complete=dtype_names,
              help="Repeat for more. Default: float64 float32 float16 bfloat16.")  # fmt: skip
@device_option
@profile_option
@click.option("--seed", default=0, show_default=True, help="Of the random cases.")
@click.option("--jobs", type=click.IntRange(1), default=None, help="Worker processes. Default: one a core.")
@scheduler_option
@timeout_option
@known_option
@click.option("-o", "--output", type=click.Path(path_type=Path), default=None,
              help="The run file, packed if it ends in .zst or .gz, or - for standard output. Default: "
                   "runs/<UTC time>.jsonl.zst. Never written over.")  # fmt: skip
@click.option("--resume", type=click.Path(path_type=Path), default=None, metavar="FILE",
              help="Finish an incomplete run file, with the choices that it was begun with.")  # fmt: skip
@fail_on_option
@refused
def run(
    adapters: tuple[str, ...],
    globs: tuple[str, ...],
    dtypes: tuple[str, ...],
    device: str,
    profile: str,
    seed: int,
    jobs: int | None,
    scheduler: str | None,
    timeout: float,
    known: tuple[str, ...],
    output: Path | None,
    resume: Path | None,
    fail_on: tuple[str, ...],
) -> NoReturn:
    """Judge frameworks on the catalogue's cases and write a run file.

    Adapters run in worker processes: one that crashes or hangs costs its own
    measurements, with the command that reproduces it, and no other's.

    Exit status: 0 nothing that was judged deviates but what is known to: it
    conforms, is lost, vacuous, ill-conditioned, singular or out of range;
    1 something deviates, or is what --fail-on names; 2 bad input; 3 crashed,
    undecided, incomplete or nothing judged.
    """
    check_timeout(timeout)
    before = None
    if resume is not None:
        before = begun(resume)
        if output is not None:
            raise BadInput("-o and --resume were both given; --resume FILE goes on writing FILE")
        if before is None and not _chooses():
            what = "ends within its header" if resume.stat().st_size else "is empty"
            raise BadInput(
                f"{resume} {what}: what it was to judge is not known; remove it and start anew, or give its choices "
                "again"
            )
        if before is not None:
            adapters, globs, dtypes, device, profile, seed, known = _as_begun(before.header, resume)
    registry.keep_working_folder((*adapters, *globs))
    chosen, absent = _chosen(adapters)
    cases = select(globs, seed)
    names = tuple(named_format(d).name for d in dict.fromkeys(dtypes)) or tuple(FORMATS)
    if profile not in PROFILES:
        raise unknown("profile", profile, PROFILES)
    runner.check_device(chosen, device)
    tasks = runner.plan(chosen, cases, names, device, profile, seed, globs, timeout, known)
    entries = entries_for([c.adapter for c in chosen], known_files(known))
    path = resume or output or Path("runs") / f"{datetime.now(UTC):%Y%m%dT%H%M%S}Z.jsonl.zst"
    provenance = runner.provenance(chosen, known)
    header = {
        **provenance, "device": device, "profile": profile, "seed": seed, "started": datetime.now(UTC).isoformat(),
        "arguments": sys.argv[1:], "routes": [c.spec for c in chosen], "absent": absent,
        "cases": len(cases), "dtypes": list(names), "case_globs": list(globs),
    }  # fmt: skip
    if before is not None:
        _check_resumable(before, header, tasks, path)
    elif resume is not None:
        resume.unlink()  # nothing was measured, not even what was asked for: it begins anew
    asked = [c.spec for c in chosen]
    told = errors if path == STDOUT else console
    with (
        _workers(scheduler, jobs, asked, told) as judged,
        interruptible(_onward(path)),
        RunWriter(path, header, before) as writer,
    ):
        counted = " × ".join(
            run_summary.counted(n, what)
            for n, what in ((len(cases), "case"), (len(names), "dtype"), (len(chosen), "route"))
        )
        told.print(f"{counted} on {device}", markup=False)
        if before is not None and before.cut:
            kept = run_summary.counted(len(before.tasks), "whole task")
            told.print(f"{path} was cut off inside a frame; it keeps {kept}", style="yellow", markup=False)
        for name, reason in absent.items():
            told.say(f"absent: {name}: {reason}", "yellow")
        done = list(before.measurements) if before else []
        left = tasks[len(before.tasks) :] if before else tasks
        measurements, seconds = _judge(left, judged, writer)
        measurements = done + measurements
        traced = {f"{m.adapter}/{m.route}" for m in measurements if m.level == "step" and m.quantity[0] != "w"}
        without = sorted({f"{m.adapter}/{m.route}" for m in measurements} - traced)
        writer.finish(seconds={k: round(v, 3) for k, v in seconds.items()}, routes_without_trace=without)
    versions = {k: v for of in provenance["frameworks"].values() for k, v in of.items()}
    ending = tuple(dict.fromkeys(fail_on))
    commands = {(t.case.id, t.dtype): t for t in tasks}
    specs = {(c.adapter.name, c.route.name): c.spec for c in chosen}

    def explains(m: Measurement) -> str | None:
        """The command that shows a measurement among the equations of its case."""
        task, spec = commands.get((m.case, m.dtype)), specs.get((m.adapter, m.route))
        return None if task is None or spec is None else task.explained(spec)

    sys.exit(_conclude(told, measurements, seconds, absent, versions, entries, device, seed, path, ending, explains))


def _onward(path: Path) -> str:
    """The command that goes on with a run; none where it went to standard output."""
    return "" if path == STDOUT else f"gradconform run --resume {shlex.quote(str(path))}"


#: What a run was asked to judge, as `run`'s parameters and as its header names it.
_CHOICES = {"adapters": "routes", "globs": "case_globs", "dtypes": "dtypes", "device": "device", "profile": "profile",
            "seed": "seed", "known": "known"}  # fmt: skip


def _chooses() -> bool:
    """Whether the command line says what to judge."""
    source = click.get_current_context().get_parameter_source
    return any(source(parameter) is not ParameterSource.DEFAULT for parameter in _CHOICES if parameter != "known")


def _as_begun(header: Mapping[str, Any], path: Path) -> Any:
    """The choices that a run was begun with. Raises BadInput if the command line makes others."""
    context = click.get_current_context()
    found = []
    for parameter, name in _CHOICES.items():
        if name not in header:
            raise BadInput(f"{path}: its header has no {name}; it cannot be resumed: run it again")
        value = tuple(header[name]) if isinstance(header[name], list) else header[name]
        given = context.params[parameter]
        if parameter == "adapters" and given:
            given = tuple(c.spec for c in _chosen(given)[0])
        if parameter == "known":
            given = tuple(file.path for file in known_files(given))
        explicit = context.get_parameter_source(parameter) is not ParameterSource.DEFAULT
        if explicit and given != value:
            raise BadInput(f"{path} was begun with {name} {value!r}, now {given!r} was given; leave the choices out")
        found.append(value)
    return found


def _check_resumable(before: Begun, header: Mapping[str, Any], tasks: Sequence[runner.Task], path: Path) -> None:
    """Raise BadInput if the rest of a run would not be of a piece with what there is."""
    there = before.header
    for name in header.keys() - {"started", "arguments", "absent"}:
        if there.get(name) != header[name]:
            got = f"{path} was begun with {name} {there.get(name)!r}, here it is {header[name]!r}"
            raise BadInput(f"{got}; run it again as a whole")
    if before.tasks != [(t.case.id, t.dtype) for t in tasks[: len(before.tasks)]]:
        raise BadInput(f"{path}: its measurements are not the first of this run; run it again")


def _chosen(specs: Sequence[str]) -> tuple[list[registry.Chosen], dict[str, str]]:
    """The routes that were asked for, each once; without a request those of every installed built-in."""
    absent: dict[str, str] = {}
    if specs:
        try:
            found = [c for spec in specs for c in registry.choose(spec)]
        except BadInput as error:
            if cases := [s for s in specs if s in ids()]:
                raise BadInput(f"{cases[0]!r} is a case and no adapter; give it as -c {cases[0]}") from error
            raise
    else:
        present, absent = registry.installed()
        found = [c for name in present for c in registry.choose(name)]
    return list({c.spec: c for c in found}.values()), absent


#: What makes outcomes of tasks, in their order, and tells of what takes long.
Judging = Callable[[Sequence[runner.Task], supervisor.Watch], Iterator[runner.Outcome]]


@contextmanager
def _workers(scheduler: str | None, jobs: int | None, specs: Sequence[str], told: Terminal) -> Iterator[Judging]:
    """What makes outcomes of tasks: processes here, or the workers of a cluster, which do not say what is slow."""
    if scheduler is None:
        yield lambda tasks, watch: supervisor.outcomes(tasks, jobs or os.cpu_count() or 1, watch)
        return
    if jobs is not None:
        raise BadInput("--jobs and --scheduler were both given; a cluster has the workers that it has")
    with on_cluster(scheduler, specs, told) as found:
        yield lambda tasks, watch: found.outcomes(tasks)


def _judge(
    tasks: Sequence[runner.Task], judged: Judging, writer: RunWriter
) -> tuple[list[Measurement], dict[str, float]]:
    measurements: list[Measurement] = []
    seconds: dict[str, float] = defaultdict(float)
    columns = (TextColumn("judging"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
               TextColumn("{task.description}", markup=False))  # fmt: skip
    with Progress(*columns, console=errors, transient=True) as progress:
        bar = progress.add_task("", total=len(tasks))

        told: set[tuple[str, str, str]] = set()

        def slow(spec: str, case: str, dtype: str, taken: float) -> None:
            """On a terminal what has been running longest stands beside the bar; elsewhere it is told once."""
            if errors.is_terminal:
                progress.update(bar, description=f"{spec} {case} {dtype} {taken:.0f} s" if taken >= SLOW else "")
            elif taken >= VERY_SLOW and (spec, case, dtype) not in told:
                told.add((spec, case, dtype))
                errors.say(f"slow: {spec} on {case} in {dtype} has been running for {taken:.0f} s; --timeout ends it")

        for outcome in judged(tasks, slow):
            writer.write(outcome.measurements)
            measurements += outcome.measurements
            for spec, taken in outcome.seconds:
                seconds[spec] += taken
            progress.advance(bar)
    return measurements, dict(seconds)


def _conclude(
    told: Terminal,
    measurements: Sequence[Measurement],
    seconds: dict[str, float],
    absent: dict[str, str],
    versions: dict[str, str],
    entries: tuple[KnownDeviation, ...],
    device: str,
    seed: int,
    path: Path,
    fail_on: Sequence[str],
    explains: Callable[[Measurement], str | None],
) -> int:
    """Print the summary and the closing line; the exit status."""
    told.print(run_summary.verdicts(measurements))
    for line in run_summary.answers(measurements):
        told.say(line)
    for line in run_summary.unsupported(measurements):
        told.say(f"unsupported: {line}")
    for line in run_summary.unreported(measurements):
        told.say(f"unreported: {line}", "yellow")
    for line in run_summary.lost(measurements):
        told.say(f"lost: {line}", "yellow")
    for line in run_summary.wrong(measurements, explains):
        told.say(line, "red")
    for entry in stale(evidence(measurements, versions, device, entries), seed, entries):
        told.say(f"stale: known deviation {entry} deviates no more; remove it", "yellow")
    if absent:
        told.say(f"absent: {', '.join(absent)}", "yellow")
    counts = Counter(m.verdict for m in measurements)
    failing = [f"{counts[v]} {v}" for v in (run_summary.FAIL_ON[f] for f in fail_on) if counts[v]]
    if failing:
        told.say(f"failing, as --fail-on asks: {', '.join(failing)}", "red")
    if path != STDOUT:
        told.print(f"written: {path}", markup=False, soft_wrap=True)
    told.say(run_summary.closing(measurements, seconds), "bold")
    if failing or any(m.verdict == "deviates" and not is_known(m) for m in measurements):
        return DEVIATES
    judged = any(m.verdict in JUDGED for m in measurements)
    return INCOMPLETE if counts["crashed"] or counts["undecided"] or not judged else CONFORMS
