"""The command line: run, verify, verify-update, train, report, diff, explain, list, doctor, completion."""

from __future__ import annotations

import functools
import math
import os
import shlex
import signal
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click
from click.core import ParameterSource
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from gradconform.adapters import registry
from gradconform.conformance.cases.catalogue import WORKED, ids, select
from gradconform.conformance.command_line.explain import FORMATS as FORMATS_OF_DERIVATIONS
from gradconform.conformance.command_line.explain import explain as explained
from gradconform.conformance.command_line.terminal import COMPLETE, Commands, Terminal, console, errors
from gradconform.conformance.known import KnownDeviation, entries_for, is_known, known_deviations, known_files
from gradconform.conformance.run import run_summary, runner, supervisor
from gradconform.conformance.run.frames import run_name
from gradconform.conformance.run.run_file import STDOUT, Begun, RunWriter, Unwritable, begun, load, load_each
from gradconform.conformance.run.stale import evidence, stale
from gradconform.conformance.run.supervisor import WorkerFailure
from gradconform.reference.arithmetic.formats import FORMATS
from gradconform.reference.arithmetic.profiles import PROFILES
from gradconform.reference.arithmetic.text import formula, symbol
from gradconform.reference.cases import BadInput, Case, document_case, named_format, unknown
from gradconform.reference.document import NETWORK
from gradconform.reference.measurement import JUDGED, PROGRAM, Measurement, is_program

if TYPE_CHECKING:
    from gradconform.conformance.command_line.verify_command import Verified
    from gradconform.conformance.run.cluster import Cluster
    from gradconform.conformance.sweep import sweep_file

CONFORMS, DEVIATES, BAD_INPUT, INCOMPLETE = 0, 1, 2, 3
#: Seconds after which what is running is named on a terminal, and where there is none.
SLOW, VERY_SLOW = 5, 60


def refused(command: Callable[..., Any]) -> Callable[..., Any]:
    """Bad input ends with its message and exit status 2, an interrupt or a full disk with 3, never with a traceback."""

    @functools.wraps(command)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        try:
            return command(*args, **kwargs)
        except BadInput as error:
            errors.say(f"gradconform: {error}", "red")
            sys.exit(BAD_INPUT)
        except (KeyboardInterrupt, Unwritable, WorkerFailure) as error:
            errors.say(f"gradconform: {error}" if str(error) else "gradconform: interrupted", "red")
            sys.exit(INCOMPLETE)

    return wrapper


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 80})
@click.version_option(runner.SUITE_VERSION, prog_name="gradconform")
def main() -> None:
    """The conformance suite for gradients.

    Holds a framework's gradients and updated weights against the formulas,
    evaluated in ball arithmetic, under an allowance that is computed.
    """


def _adapter_names(context: click.Context, parameter: click.Parameter, begun: str) -> list[str]:
    """Adapters, and after the slash routes, for a shell's completion."""
    name, slash, _ = begun.partition("/")
    if not slash:
        return [n for n in registry.registered() if n.startswith(begun)]
    try:
        routes = registry.load(name).routes
    except BadInput:
        return []
    return [f"{name}/{r.name}" for r in routes if f"{name}/{r.name}".startswith(begun)]


def _case_ids(context: click.Context, parameter: click.Parameter, begun: str) -> list[str]:
    return [id for id in ids() if id.startswith(begun)]


def _dtype_names(context: click.Context, parameter: click.Parameter, begun: str) -> list[str]:
    return [name for name in FORMATS if name.startswith(begun)]


_device = click.option("--device", default="cpu", show_default=True, help="Device: cpu, cuda, …")
_profile = click.option("--profile", default="opencl", show_default=True, help=f"One of {', '.join(PROFILES)}.")
_timeout = click.option(
    "--timeout", type=click.FloatRange(0, min_open=True), default=runner.TIMEOUT, show_default=True,
    help="Seconds that a route may take on one case; then it counts as crashed.",
)  # fmt: skip
_fail_on = click.option(
    "--fail-on", multiple=True, type=click.Choice(tuple(run_summary.FAIL_ON)),
    help="A verdict that counts as a failure, besides deviates. Repeat for more.",
)  # fmt: skip

_known = click.option(
    "--known", multiple=True, metavar="FILE",
    help="A TOML file of known deviations, taken beside the suite's own. Repeat for more.",
)  # fmt: skip
_output = click.option(
    "-o", "--output", type=click.Path(path_type=Path), default=None, metavar="FILE",
    help="A run file to write, for report and diff, packed if it ends in .zst or .gz, or - for standard output. Never "
         "written over.",
)  # fmt: skip
_junit = click.option(
    "--junit", type=click.Path(path_type=Path), default=None, metavar="FILE",
    help="A JUnit file to write: a test for each quantity and route.",
)  # fmt: skip
_scheduler = click.option(
    "--scheduler", default=None, metavar="ADDRESS",
    help="A scheduler of dask.distributed, such as tcp://host:8786: its workers do the work.",
)  # fmt: skip


def _check_timeout(timeout: float) -> None:
    if math.isnan(timeout):  # neither below nor above any bound, so that the option's range lets it through
        raise BadInput("--timeout is nan; expected seconds, more than 0")


@main.command(short_help="Judge frameworks on the catalogue's cases.")
@click.option("-a", "--adapter", "adapters", multiple=True, metavar="ADAPTER[/ROUTE]", shell_complete=_adapter_names,
              help="An adapter, one of its routes, or module:object. Repeat for more. Default: every built-in "
                   "whose framework is installed.")  # fmt: skip
@click.option("-c", "--case", "globs", multiple=True, metavar="GLOB", shell_complete=_case_ids,
              help="Cases by id, or module:object. Repeat for more. Default: all.")  # fmt: skip
@click.option("-d", "--dtype", "dtypes", multiple=True, metavar="DTYPE", shell_complete=_dtype_names,
              help="Repeat for more. Default: float64 float32 float16 bfloat16.")  # fmt: skip
@_device
@_profile
@click.option("--seed", default=0, show_default=True, help="Of the random cases.")
@click.option("--jobs", type=click.IntRange(1), default=None, help="Worker processes. Default: one a core.")
@_scheduler
@_timeout
@_known
@click.option("-o", "--output", type=click.Path(path_type=Path), default=None,
              help="The run file, packed if it ends in .zst or .gz, or - for standard output. Default: "
                   "runs/<UTC time>.jsonl.zst. Never written over.")  # fmt: skip
@click.option("--resume", type=click.Path(path_type=Path), default=None, metavar="FILE",
              help="Finish an incomplete run file, with the choices that it was begun with.")  # fmt: skip
@_fail_on
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
    _check_timeout(timeout)
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
        _interruptible(_onward(path)),
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


@contextmanager
def _interruptible(command: str) -> Iterator[None]:
    """Ctrl-C, a closed terminal, SIGTERM, a full disk: the workers end, and the message says how to go on."""

    def interrupt(number: int, _: object) -> NoReturn:
        raise KeyboardInterrupt(signal.Signals(number).name)

    ends = [n for n in (signal.SIGTERM, getattr(signal, "SIGHUP", None)) if n is not None]
    saved = {number: signal.signal(number, interrupt) for number in ends}
    onward = f"what was measured is on disk; go on with: {command}"
    if not command:
        onward = "what was measured is on standard output"
    try:
        yield
    except KeyboardInterrupt as error:
        raise KeyboardInterrupt(f"interrupted; {onward}") from error
    except (Unwritable, WorkerFailure) as error:
        raise type(error)(f"{error}; {onward}") from error
    finally:
        for number, handler in saved.items():
            signal.signal(number, handler)


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
    with _cluster(scheduler, specs, told) as found:
        yield lambda tasks, watch: found.outcomes(tasks)


@contextmanager
def _cluster(address: str, specs: Sequence[str], told: Terminal) -> Iterator[Cluster]:
    """The cluster of a scheduler; at the end, what it lost. Raises BadInput where it cannot be used."""
    try:
        from gradconform.conformance.run import cluster
    except ImportError as error:
        raise BadInput(f"--scheduler needs dask ({error}); python -m pip install 'gradconform[cluster]'") from error
    with cluster.connected(address, specs) as found:
        yield found
        if found.losses.workers:
            lost = run_summary.counted(found.losses.workers, "worker")
            again = run_summary.counted(found.losses.tasks, "task")
            told.say(f"lost on the way: {lost}; done again: {again}", "yellow")


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


@main.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), default="report", show_default=True,
              help="Folder for the page and the tables.")  # fmt: skip
@_fail_on
@refused
def report(files: tuple[Path, ...], output: Path, fail_on: tuple[str, ...]) -> None:
    """The page and the tables of run files; figures of sweeps.

    The page is index.html in the folder. The tables are CSV, Markdown and JSON,
    some also HTML, LaTeX and Parquet; the figures PNG and SVG. For continuous
    integration there are junit.xml and badges/ADAPTER.json, and the summary is
    appended to the file that GITHUB_STEP_SUMMARY names. A test of junit.xml
    that lost digits passes with a note, unless --fail-on says otherwise.

    Of files of `sweep`, one or several together: a table (CSV, Markdown and
    LaTeX), a figure for each operator (PNG, SVG and PDF), what it draws as
    strips.csv, and of a sweep with --every each number in a file of numbers/.

    An earlier report in the folder is replaced; a folder with other files is
    refused.
    """
    from gradconform.conformance.sweep import sweep_file

    if any(map(sweep_file.is_one, files)):
        _sweeps_reported(files, output)
        return
    headers, measurements = load(files)
    from gradconform.conformance.command_line.derivations import derivations, seed_of
    from gradconform.reports.continuous import continuous
    from gradconform.reports.export import export, prepared
    from gradconform.reports.figures import figures
    from gradconform.reports.page import write_page
    from gradconform.reports.publish import publish

    known = {e.id: {"reason": e.reason, "upstream": e.upstream} for e in known_deviations()}
    named = [
        {"run": run_name(path) if len(files) > 1 else "", **header} for path, header in zip(files, headers, strict=True)
    ]
    try:
        prepared(output)
        paths = export(measurements, output)
        judged = [id for id in ids() if id in set(measurements["case"])]
        derived = derivations(select(judged, seed_of(headers)) if judged else (), measurements)
        paths += publish(measurements, output) + figures(measurements, output, derived["cases"])
        paths += continuous(measurements, output, fail_on=[run_summary.FAIL_ON[f] for f in fail_on])
        summaries = [
            p.relative_to(output).as_posix() for p in paths if p.parent == output or p.parent.name == "figures"
        ]
        page = write_page(measurements, named, output, derived, known, summaries)
    except OSError as error:
        what = f"{error.filename or output}: {error.strerror or error}"
        raise BadInput(f"cannot write {what}; expected a folder that can be written: give another -o") from error
    except (ValueError, ImportError) as error:
        raise BadInput(str(error)) from error
    console.print(f"{len(measurements)} measurements, {len(list(paths))} files in {output}", markup=False)
    console.print(f"open {page}", markup=False, soft_wrap=True)


def _sweeps_reported(files: Sequence[Path], output: Path) -> None:
    """The tables and figures of sweeps."""
    from gradconform.conformance.sweep import sweep_file
    from gradconform.reports import accuracy
    from gradconform.reports.export import prepared

    sweeps: list[accuracy.Sweep] = []
    for path in files:
        if not sweep_file.is_one(path):
            raise BadInput(f"{path} is no sweep and others are; expected files of one kind: report them apart")
        begun = sweep_file.read(path)
        if begun.footer is None:
            raise BadInput(f"{path} is incomplete; go on with it by gradconform sweep … --resume {path}")
        sweeps.append((begun.header, begun.chunks, begun.footer))
    try:
        prepared(output, accuracy.REPORT)
        paths = accuracy.write(sweeps, output) + accuracy.write_numbers(sweeps, output)
    except OSError as error:
        what = f"{error.filename or output}: {error.strerror or error}"
        raise BadInput(f"cannot write {what}; expected a folder that can be written: give another -o") from error
    except (LookupError, TypeError, AttributeError) as error:
        raise BadInput(f"a line of these sweeps holds not what gradconform wrote ({error}); sweep again") from error
    except (ValueError, ImportError) as error:
        raise BadInput(str(error)) from error
    sweeps_said = "1 sweep" if len(sweeps) == 1 else f"{len(sweeps)} sweeps"
    console.print(f"{sweeps_said}, {len(paths)} files in {output}", markup=False)
    console.print(f"read {output / 'sweep.md'}", markup=False, soft_wrap=True)


@main.command(short_help="What is different in run file NEW against OLD.")
@click.argument("old", type=click.Path(path_type=Path))
@click.argument("new", type=click.Path(path_type=Path))
@click.option("--format", "form", type=click.Choice(["terminal", "markdown", "json"]), default="terminal",
              show_default=True, help="What to print.")  # fmt: skip
@refused
def diff(old: Path, new: Path, form: str) -> NoReturn:
    """What is different in run file NEW against run file OLD.

    Two files of `sweep`, of the same numbers of one operator, are compared too:
    more numbers that deviate, are lost or undecided are worse, and a largest
    error that has doubled and grown by an ulp.

    A measurement is "no longer judged" where NEW asked and got no verdict: it
    crashed, is undecided or unsupported. It is "gone" where NEW has none of
    that case, route, dtype and quantity; that is counted and no regression,
    unless NEW has the answer and lacks steps of it: "no longer traced".

    What conformed is "no longer certified" where it is lost, vacuous,
    ill-conditioned, singular or out of range now. At the step level other bits
    of an operand alone can cost a row its digits: there that is a regression of
    a tensor of 128 or more components and of half of 20 or more cases, and else
    "newly uncertified at a step", which is none. From one of lost, vacuous and
    ill-conditioned to another is told and is none. The share of a "larger known deviation" has doubled, and grown by 1.

    Exit status: 0 nothing became worse, 1 a regression (something newly
    deviates, is no longer judged, certified or traced, is a larger known
    deviation, or became less accurate), 2 bad input, 3 the runs have no
    measurement in common, so that nothing was compared.
    """
    import json

    from gradconform.conformance.sweep import sweep_file
    from gradconform.reports import diff as difference

    if sweep_file.is_one(old) and sweep_file.is_one(new):
        sys.exit(_sweeps_compared(sweep_file.read(old), sweep_file.read(new), form))
    (before, after), tables = load_each((old, new))
    try:
        found = difference.compare(*tables)
    except ValueError as error:
        raise BadInput(str(error)) from error
    if form == "json":
        console.print(json.dumps(difference.as_json(found, before, after), ensure_ascii=False, indent=2), markup=False,
                      soft_wrap=True)  # fmt: skip
    elif form == "markdown":
        console.print(difference.markdown(found, before, after), markup=False, soft_wrap=True)
    else:
        console.print(f"{difference.versions(before)} → {difference.versions(after)}", markup=False)
        for title, headings, rows in difference.sections(found):
            console.print(f"\n{title} ({len(rows):,})", style="red" if title in difference.WORSE else "bold")
            _print_rows(headings, rows[:20])
            if len(rows) > 20:
                console.print(f"… and {len(rows) - 20:,} more; --format json has all")
        console.print()
        console.say(difference.closing(found), style="bold")
        console.say(f"({difference.thresholds()})", indent=" ")
    if found.regressions:
        sys.exit(DEVIATES)
    sys.exit(CONFORMS if found.compared else INCOMPLETE)


def _sweeps_compared(old: sweep_file.Begun, new: sweep_file.Begun, form: str) -> int:
    """Print how two sweeps differ; the exit status."""
    import json

    from gradconform.reports import sweep_diff

    before, after = ((s.header, s.chunks, s.footer or {}) for s in (old, new))
    try:
        found = sweep_diff.compare(before, after)
    except ValueError as error:
        raise BadInput(str(error)) from error
    if form == "json":
        text = json.dumps(sweep_diff.as_json(found, before, after), ensure_ascii=False, indent=2)
        console.print(text, markup=False, soft_wrap=True)
    elif form == "markdown":
        console.print(sweep_diff.markdown(found, before, after), markup=False, soft_wrap=True)
    else:
        console.print(f"{sweep_diff.named(before[0])} → {sweep_diff.named(after[0])}", markup=False)
        for change in found:
            console.print(sweep_diff.told(change), style="red" if change.worse else "", markup=False)
        console.say(sweep_diff.closing(found), "bold")
    return DEVIATES if any(c.worse for c in found) else CONFORMS


def _print_rows(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table, or where the terminal is too narrow for one a paragraph for each route, dtype and case."""
    table = _columns(headings, rows)
    whole = console.measure(table, options=console.options.update(max_width=10_000)).maximum
    if console.unbounded or whole <= console.width:
        console.print(table)
        return
    for of, group in groupby(rows, key=lambda row: row[:3]):
        console.say("  " + " ".join(of))
        for what, *cells in (row[3:] for row in group):
            named = [f"{h} {cell}" for h, cell in zip(headings[4:], cells, strict=True) if h != "why"]
            console.say("    " + ", ".join([what, *named]), indent="  ")
            if headings[-1] == "why" and cells[-1]:
                console.say(f"      {cells[-1]}", indent="  ")


def _columns(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    table = Table(*headings, box=None, pad_edge=False, padding=(0, 1, 0, 0))
    for row in rows:
        table.add_row(*[Text(cell) for cell in row])
    return table


def _numbers(context: click.Context, parameter: click.Parameter, text: str | None) -> tuple[float, ...] | None:
    """The numbers of an option, with commas or spaces between them."""
    if text is None:
        return None
    try:
        return tuple(float(word) for word in text.replace(",", " ").split())
    except ValueError:
        raise click.BadParameter(f"{text!r} are no numbers; expected such as 0.15,0.2 or '0.15 0.2'") from None


@main.command(short_help="The derivation of CASE, with its numbers.")
@click.argument("case", required=False, shell_complete=_case_ids)
@click.option("-a", "--adapter", default=None, metavar="ADAPTER[/ROUTE]", shell_complete=_adapter_names,
              help="Whose values to show beside the truth.")  # fmt: skip
@click.option("-d", "--dtype", default="float64", show_default=True, shell_complete=_dtype_names)
@click.option("--only", multiple=True, metavar="QUANTITY",
              help="Only equations of this name, such as dE_total/dw5 or 'dE*'. Repeat for more.")  # fmt: skip
@click.option("--weights", callback=_numbers, metavar="NUMBERS", help="w1 … w8 of the document's network, 0.15,0.2,…")
@click.option("--inputs", callback=_numbers, metavar="NUMBERS", help="Its i1 and i2, 0.05,0.1")
@click.option("--targets", callback=_numbers, metavar="NUMBERS", help="Its t1 and t2, 0.01,0.99")
@click.option("--rate", type=float, default=None, help="Its learning rate.")
@click.option(
    "--from", "source", default=None, metavar="MODULE:OBJECT", help="Where CASE is, if it is one of your own."
)
@click.option("--format", "form", type=click.Choice(FORMATS_OF_DERIVATIONS), default="text", show_default=True,
              help="What to print: latex is for an article with amsmath and graphicx.")  # fmt: skip
@_device
@_profile
@click.option("--seed", default=0, show_default=True, help="Of the random cases.")
@_timeout
@refused
def explain(
    case: str | None,
    adapter: str | None,
    dtype: str,
    only: tuple[str, ...],
    weights: tuple[float, ...] | None,
    inputs: tuple[float, ...] | None,
    targets: tuple[float, ...] | None,
    rate: float | None,
    source: str | None,
    form: str,
    device: str,
    profile: str,
    seed: int,
    timeout: float,
) -> NoReturn:
    """The derivation of CASE, equation by equation, with the truth.

    CASE is an id of the catalogue or module:object. Or give numbers for the
    document's network; those that you leave out are the worked example's.

    With an adapter: its value, its error in ulps and its share of the
    allowance, each equation judged on the operands that the framework
    reported, with the truth from those (where it reports none, from the
    case's inputs), and the answers to the three questions: formula, execution
    and accuracy. The adapter runs in a worker process, as under `run`.

    Exit status: 0 explained, 2 bad input, 3 the adapter gave no answer to
    judge: it crashed, or the case is unsupported.
    """
    _check_timeout(timeout)
    registry.keep_working_folder((case or "", adapter or "", source or ""))
    numbers = {"weights": weights, "inputs": inputs, "targets": targets, "rate": rate}
    found = _explained_case(case, {k: v for k, v in numbers.items() if v is not None}, source, seed)
    if profile not in PROFILES:
        raise unknown("profile", profile, PROFILES)
    chosen = registry.choose(adapter)[0] if adapter else None
    if chosen:
        runner.check_device([chosen], device)
    title = f"{found.id} in {named_format(dtype).name}" + (f", {chosen.spec}" if chosen else "")
    explained(found, dtype, (), device, only)  # what was asked is refused before anything runs
    measurements: Sequence[Measurement] = ()
    if chosen:
        globs = [s for s in (source, case) if s is not None]
        (task,) = runner.plan([chosen], [found], (named_format(dtype).name,), device, profile, seed, globs, timeout)
        (outcome,) = supervisor.outcomes([task], 1)
        measurements = outcome.measurements
    explanation = explained(found, dtype, measurements, device, only, title, form)
    if form != "text":
        console.print(str(explanation), markup=False, highlight=False, soft_wrap=True, end="")
        sys.exit(INCOMPLETE if explanation.problem else CONFORMS)
    for kind, text in explanation.told():
        console.say(text, _KIND_STYLE.get(kind, "yellow"), indent="      ")
    sys.exit(INCOMPLETE if explanation.problem else CONFORMS)


def _explained_case(case: str | None, numbers: Mapping[str, Any], source: str | None, seed: int) -> Case:
    """The one case that was asked for, by id, as module:object or by numbers."""
    if numbers:
        if case is not None:
            raise BadInput(f"{case!r} and numbers were both given; numbers make a case of their own: leave one out")
        return document_case("numbers/given", **{**WORKED, **numbers})
    if case is None:
        raise BadInput(
            "no case was given; expected an id, such as document/worked-example (see `gradconform list cases`), "
            "module:object, or --weights, --inputs, --targets, --rate"
        )
    if is_program(case):
        function = case.removeprefix(PROGRAM).rpartition("/")[0]
        raise BadInput(
            f"{case!r} is a function that was verified, and has no derivation; its operations: gradconform verify "
            f"{function} --explain"
        )
    if source is not None:
        cases = {c.id: c for c in select((source,), seed)}
        if case not in cases:
            raise unknown(f"case of {source}", case, cases)
        return cases[case]
    found = select((case,), seed)
    if len(found) > 1:
        own = f", as in: gradconform explain {found[0].id} --from {case}" if ":" in case else ""
        raise BadInput(f"{case!r} matches {len(found)} cases; give one id, such as {found[0].id!r}{own}")
    return found[0]


def _style(m: Measurement) -> str:
    """Green for a pass, red for a failure or no verdict, yellow for what is neither."""
    return _VERDICT_STYLE.get(m.verdict, "yellow")


_RED = ("deviates", "undecided", "crashed", "unsupported")
_VERDICT_STYLE = {"conforms": "green", **dict.fromkeys(_RED, "red")}
#: Of the lines of an explanation.
_KIND_STYLE: dict[str, str | None] = {
    "title": "bold", "group": "bold", "given": None, "equation": None, "numbers": None, "truth": "cyan",
    "problem": "red", **_VERDICT_STYLE,
}  # fmt: skip


@main.command(short_help="Verify gradients of functions, or of operators.")
@click.argument("functions", metavar="MODULE[:FUNCTION]|operator/GLOB...", nargs=-1, required=True)
@click.option("-a", "--adapter", "adapters", multiple=True, metavar="ADAPTER",
              help="Of operators: torch or jax. Default: both. Repeat for more.")  # fmt: skip
@click.option("--cases", default="cases", show_default=True, metavar="NAME",
              help="The module's function that gives the arguments: a sequence with a tuple for each call, or such "
                   "sequences by the functions' names. Of operators op_db, PyTorch's own sample inputs.")  # fmt: skip
@click.option("-d", "--dtype", "dtypes", multiple=True, metavar="DTYPE", help="Casts the arguments. Repeat for more.")
@click.option("-r", "--route", "routes", multiple=True, metavar="ROUTE",
              help="eager (default), compile or func (PyTorch) or jit (JAX). Repeat for more.")  # fmt: skip
@click.option("--mode", default="reverse", metavar="MODE", help="reverse (default), forward or both.")
@_profile
@click.option("--explain", "every", is_flag=True, help="Also every operation that is outside of its allowance.")
@_output
@click.option("--steps", is_flag=True, help="In the run file also a row for each operation.")
@_junit
@_known
@_fail_on
@refused
def verify(
    functions: tuple[str, ...],
    adapters: tuple[str, ...],
    cases: str,
    dtypes: tuple[str, ...],
    routes: tuple[str, ...],
    mode: str,
    profile: str,
    every: bool,
    output: Path | None,
    steps: bool,
    junit: Path | None,
    known: tuple[str, ...],
    fail_on: tuple[str, ...],
) -> NoReturn:
    """Verify gradients of functions of PyTorch tensors or JAX arrays.

    Of a MODULE alone every public function that it defines, or those that its
    cases name. A function that cannot be verified does not keep the others
    from it. Operators of the catalogue are called operator/NAME, all of them
    operator/* in every dtype that they have, unless --dtype chooses.

    Exit status: 0 no gradient deviates but what is known to, 1 one does, or is
    what --fail-on names, 2 bad input, 3 something is undecided, unsupported or
    left the record.
    """
    from gradconform.conformance.cases.operators import PREFIX
    from gradconform.conformance.command_line import verify_command as command
    from gradconform.conformance.operators import OP_DB
    from gradconform.conformance.verify import MODES

    _check_asked(profile, junit)
    if mode not in MODES:
        raise unknown("mode", mode, MODES)
    names = tuple(named_format(d).name for d in dict.fromkeys(dtypes))
    files = known_files(known)
    entries = entries_for([], files)
    of_modules = [f for f in functions if not f.startswith(PREFIX)]
    targets = [t for f in dict.fromkeys(of_modules) for t in command.targets(f, cases)]
    if len(of_modules) < len(functions):
        of_operators = [f for f in functions if f.startswith(PREFIX)]
        targets += command.operator_targets(of_operators, adapters, names, OP_DB if cases == OP_DB else "")
    options = {"routes": routes or None, "mode": mode, "profile": profile}
    with command.run_file(output, targets, profile, files) as write:
        found = _told(command.verified(targets, names, entries, steps, **options), write, output, every)
    _end(found, output, junit, fail_on)


def _told(
    each: Iterator[Verified], write: Callable[[Sequence[Measurement]], None], output: Path | None, every: bool
) -> list[Verified]:
    """What was verified, each told and written as it comes."""
    from gradconform.conformance.command_line import verify_command as command

    found = []
    told = errors if output == STDOUT else console
    for one in each:
        if one.lacking:
            console.print(f"{one.title}: unsupported: {one.problem}", markup=False)
        elif one.report is None:
            errors.print(f"gradconform: {one.title}: {one.problem}", style="red", markup=False)
        else:
            head, _, rest = command.text_of(one, every).partition("\n")
            told.say(head, _VERDICT_STYLE.get(one.report.verdict, "yellow"))
            told.say(rest)
        write(one.rows)
        found.append(one)
    return found


def _end(
    found: Sequence[Verified], output: Path | None, junit: Path | None, fail_on: Sequence[str], what: str = "gradient"
) -> NoReturn:
    """Write the JUnit file, tell what there is, and end with the exit status."""
    from gradconform.conformance.command_line import verify_command as command

    told, verdicts = errors if output == STDOUT else console, [run_summary.FAIL_ON[f] for f in fail_on]
    if junit is not None:
        command.write_junit(junit, found, verdicts)
    for path in (output, junit):
        if path is not None and path != STDOUT:
            told.print(f"written: {path}", markup=False, soft_wrap=True)
    told.say(command.closing_line(found, what), "bold")
    sys.exit(command.exit_status(found, verdicts))


def _check_asked(profile: str, junit: Path | None) -> None:
    if profile not in PROFILES:
        raise unknown("profile", profile, PROFILES)
    if junit is not None and not junit.parent.is_dir():
        raise BadInput(f"cannot write {junit}: there is no folder {junit.parent}; give another --junit")


@main.command(short_help="Train CASE and judge every update.")
@click.argument("case", shell_complete=_case_ids)
@click.option("-a", "--adapter", default="torch/eager", show_default=True, metavar="ADAPTER[/ROUTE]",
              shell_complete=_adapter_names, help="What computes the gradient.")  # fmt: skip
@click.option("-d", "--dtype", default="float64", show_default=True, shell_complete=_dtype_names)
@click.option("--steps", type=click.IntRange(1), default=100, show_default=True, help="How many updates.")
@click.option("--optimizer", default="", metavar="MODULE:FUNCTION|torch.optim.NAME|optax.NAME",
              help="What updates the weights. Default: the adapter, by the case's own rule.")  # fmt: skip
@click.option("--set", "settings", multiple=True, metavar="NAME=VALUE",
              help="A setting that the optimizer is made with, lr=0.1. Repeat for more.")  # fmt: skip
@click.option("--rule", default="", metavar="NAME",
              help="What an optimizer of your own should be, named as they are: torch.optim.AdamW.")  # fmt: skip
@click.option("--rate", callback=_numbers, metavar="NUMBERS", help="η in each update, 0.1,0.05,…")
@_device
@_profile
@_known
@_output
@click.option("--table", type=click.Path(path_type=Path), default=None, metavar="FILE",
              help="A CSV file to write: every measurement with its step and drift.")  # fmt: skip
@_fail_on
@refused
def train(
    case: str,
    adapter: str,
    dtype: str,
    steps: int,
    optimizer: str,
    settings: tuple[str, ...],
    rule: str,
    rate: tuple[float, ...] | None,
    device: str,
    profile: str,
    known: tuple[str, ...],
    output: Path | None,
    table: Path | None,
    fail_on: tuple[str, ...],
) -> NoReturn:
    """Train CASE and judge every update from the framework's own weights.

    The drift from the exact trajectory is told and is no deviation.

    Exit status: 0 nothing deviates but what is known to, 1 something does, or
    is what --fail-on names, 2 bad input, 3 crashed, undecided or nothing judged.
    """
    from gradconform.conformance.command_line import train_command as command
    from gradconform.conformance.command_line.update_command import setting
    from gradconform.conformance.command_line.verify_command import written

    registry.keep_working_folder((case, adapter))
    made = command.optimizer(optimizer, dict(map(setting, settings)), rule, rate, steps)
    header = command.header(adapter, device, profile, known_files(known), optimizer)
    with written(output, header) as write:
        rows = command.trained(adapter, case, steps, dtype, device, profile, known, made)
        write(command.measurements(rows))
    if table is not None:
        command.write_table(rows, table)
    told, verdicts = errors if output == STDOUT else console, [run_summary.FAIL_ON[f] for f in fail_on]
    for line in command.told(rows):
        told.say(line)
    for path in (output, table):
        if path is not None and path != STDOUT:
            told.print(f"written: {path}", markup=False, soft_wrap=True)
    told.say(command.closing(rows), "bold")
    sys.exit(command.exit_status(rows, verdicts))


@main.command(name="verify-update")
@click.argument("optimizers", metavar="MODULE:FUNCTION|torch.optim.NAME|optax.NAME...", nargs=-1, required=True)
@click.option("--set", "settings", multiple=True, metavar="NAME=VALUE",
              help="A setting that the optimizer is made with, lr=0.1. Repeat for more.")  # fmt: skip
@click.option("--rule", default="", metavar="NAME",
              help="What an optimizer of your own should be, named as they are: torch.optim.AdamW.")  # fmt: skip
@click.option(
    "--master", default="", metavar="NAME", help="The state that holds master weights, wider than the weights."
)
@click.option("--cases", default="cases", show_default=True, metavar="NAME",
              help="The module's function that gives (weights, gradients), a sequence of them, or such sequences "
                   "by the optimizers' names. Where there is none they are drawn at random.")  # fmt: skip
@click.option("--shape", default="7", show_default=True, metavar="SIZES", help="Of weights that are drawn: 7, or 4,3.")
@click.option("--updates", type=click.IntRange(1), default=3, show_default=True, help="How many, of drawn gradients.")
@click.option("--seed", default=0, show_default=True, help="Of what is drawn.")
@click.option("-d", "--dtype", "dtypes", multiple=True, metavar="DTYPE", shell_complete=_dtype_names,
              help="Casts the weights. Repeat for more.")  # fmt: skip
@click.option("-r", "--route", "routes", multiple=True, metavar="ROUTE",
              help="single, foreach, fused or capturable (PyTorch), eager or jit (optax). Repeat.")  # fmt: skip
@_profile
@click.option("--explain", "every", is_flag=True, help="The rule in words, with the numbers of the last update.")
@_output
@_junit
@_known
@_fail_on
@refused
def verify_update(
    optimizers: tuple[str, ...],
    settings: tuple[str, ...],
    rule: str,
    master: str,
    cases: str,
    shape: str,
    updates: int,
    seed: int,
    dtypes: tuple[str, ...],
    routes: tuple[str, ...],
    profile: str,
    every: bool,
    output: Path | None,
    junit: Path | None,
    known: tuple[str, ...],
    fail_on: tuple[str, ...],
) -> NoReturn:
    """Verify what optimizers do to weights and to their state.

    An optimizer is one of PyTorch's or optax' own, such as torch.optim.AdamW or
    optax.adamw, or what MODULE:FUNCTION makes: of a list of parameters a
    torch.optim.Optimizer, or of nothing an optax transformation.

    Exit status: 0 nothing deviates but what is known to, 1 something does, or
    is what --fail-on names, 2 bad input, 3 something is undecided.
    """
    from gradconform.conformance.command_line import update_command as command
    from gradconform.conformance.command_line.verify_command import written
    from gradconform.conformance.updates import update_rows

    _check_asked(profile, junit)
    names = tuple(named_format(d).name for d in dict.fromkeys(dtypes))
    files = known_files(known)
    entries_for([], files)  # refuses entries of the same id
    drawn = command.Drawn(command.shape(shape), updates, seed)
    chosen = command.optimizers(optimizers, dict(map(command.setting, settings)), cases, drawn)
    header = update_rows.header([o.ran for o in chosen], profile, files, seed=seed, functions=[o.name for o in chosen])
    options = {"routes": routes or None, "profile": profile, "master": master}
    own = tuple(e for file in files for e in file.entries)
    with written(output, header) as write:
        found = _told(command.verified(chosen, rule, names, own, **options), write, output, every)
    _end(found, output, junit, fail_on, "result")


@main.command(short_help="Judge OPERATOR at every number of a dtype.")
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
@_profile
@click.option("--jobs", type=click.IntRange(1), default=None, help="Processes. Default: one a core.")
@_scheduler
@_fail_on
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
            cluster = stack.enter_context(_cluster(scheduler, [adapter], console))
            asking = functools.partial(cluster.ordered, chunk.asked)
        stack.enter_context(_interruptible(f"gradconform sweep … --resume {shlex.quote(str(path))}"))
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


@main.command(name="list", short_help="Adapters, cases, operations, operators and the like.")
@click.argument(
    "what",
    type=click.Choice(["adapters", "routes", "cases", "operations", "operators", "sweeps", "equations", "dtypes"]),
)
@refused
def list_(what: str) -> None:
    """What there is to run: adapters, routes, cases, operators, sweeps, equations, dtypes.

    Operations are what an adapter is asked for by a case's network, with their
    shapes; operators are functions of PyTorch and JAX that verify asks.
    """
    if what == "cases":
        lines = ids()
    elif what == "operations":
        from gradconform.conformance.command_line.operations import listed as of_operations

        lines = of_operations()
    elif what == "operators":
        from gradconform.conformance.operators import listed

        lines = listed()
    elif what == "sweeps":
        from gradconform.conformance.sweep.command import listed as of_sweeps

        lines = of_sweeps()
    elif what == "dtypes":
        lines = [f"{f.name}: {f.precision} bits, 2^{f.emin} … {f.largest:.6g}" for f in FORMATS.values()]
    elif what == "equations":
        lines = [f"{symbol(e.name)} = {formula(e)}" for e in NETWORK.equations]
    else:
        lines = _listed_adapters(what == "routes")
    for line in lines:
        console.print(line, markup=False, soft_wrap=True)


def _listed_adapters(routes: bool) -> list[str]:
    lines = []
    for name in registry.registered():
        try:
            adapter = registry.load(name)
        except BadInput as error:
            lines.append(f"{name}: {error}")
            continue
        if routes:
            lines += [f"{name}/{r.name}{'' if r.default else ' (by name only)'}: {r.summary}" for r in adapter.routes]
        else:
            versions = ", ".join(f"{k} {v}" for k, v in registry.versions(adapter).items())
            own = "" if adapter.name == name else f" ({adapter.name} in its rows)"
            lines.append(f"{name}{own}: {versions or 'no version given'}")
    return lines


@main.command(short_help="What is installed, what is missing, how to get it.")
@refused
def doctor() -> None:
    """What is installed, on what devices it runs, what is missing, and how to get it."""
    from gradconform.conformance.command_line.doctor import findings

    for kind, text in findings():
        marks = {"good": ("ok      ", "green"), "missing": ("missing ", "yellow"), "newer": ("newer   ", "yellow")}
        mark, style = marks.get(kind, ("        ", None))
        console.say(f"{mark}{text}", style, indent=" " * 8)


@main.command(short_help="What completes words in bash, zsh or fish.")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """The script that completes commands, adapters, cases and dtypes in SHELL.

    \b
    bash: gradconform completion bash > ~/.gradconform-complete.bash
          echo '. ~/.gradconform-complete.bash' >> ~/.bashrc
    zsh:  the same with zsh and ~/.zshrc
    fish: gradconform completion fish > ~/.config/fish/completions/gradconform.fish
    """
    from click.shell_completion import get_completion_class

    script = get_completion_class(shell)
    assert script is not None  # click has all of the choices
    click.echo(script(main, {}, "gradconform", COMPLETE).source())
