"""`gradconform verify`, `verify-update` and `train`: what is judged is a user's own."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

from gradconform.adapters import registry
from gradconform.conformance.command_line.options import (
    adapter_names,
    case_ids,
    device_option,
    dtype_names,
    fail_on_option,
    junit_option,
    known_option,
    numbers,
    output_option,
    profile_option,
    refused,
)
from gradconform.conformance.command_line.styles import VERDICT_STYLE
from gradconform.conformance.command_line.terminal import console, errors
from gradconform.conformance.known import entries_for, known_files
from gradconform.conformance.run import run_summary
from gradconform.conformance.run.run_file import STDOUT
from gradconform.reference.arithmetic.profiles import PROFILES
from gradconform.reference.cases import BadInput, named_format, unknown
from gradconform.reference.measurement import Measurement

if TYPE_CHECKING:
    from gradconform.conformance.command_line.verify_command import Verified


@click.command(short_help="Verify gradients of functions, or of operators.")
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
@profile_option
@click.option("--explain", "every", is_flag=True, help="Also every operation that is outside of its allowance.")
@output_option
@click.option("--steps", is_flag=True, help="In the run file also a row for each operation.")
@junit_option
@known_option
@fail_on_option
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
            told.say(head, VERDICT_STYLE.get(one.report.verdict, "yellow"))
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


@click.command(short_help="Train CASE and judge every update.")
@click.argument("case", shell_complete=case_ids)
@click.option("-a", "--adapter", default="torch/eager", show_default=True, metavar="ADAPTER[/ROUTE]",
              shell_complete=adapter_names, help="What computes the gradient.")  # fmt: skip
@click.option("-d", "--dtype", default="float64", show_default=True, shell_complete=dtype_names)
@click.option("--steps", type=click.IntRange(1), default=100, show_default=True, help="How many updates.")
@click.option("--optimizer", default="", metavar="MODULE:FUNCTION|torch.optim.NAME|optax.NAME",
              help="What updates the weights. Default: the adapter, by the case's own rule.")  # fmt: skip
@click.option("--set", "settings", multiple=True, metavar="NAME=VALUE",
              help="A setting that the optimizer is made with, lr=0.1. Repeat for more.")  # fmt: skip
@click.option("--rule", default="", metavar="NAME",
              help="What an optimizer of your own should be: torch.optim.AdamW, or lion or lamb, which "
                   "PyTorch has not.")  # fmt: skip
@click.option("--rate", callback=numbers, metavar="NUMBERS", help="η in each update, 0.1,0.05,…")
@device_option
@profile_option
@known_option
@output_option
@click.option("--table", type=click.Path(path_type=Path), default=None, metavar="FILE",
              help="A CSV file to write: every measurement with its step and drift.")  # fmt: skip
@fail_on_option
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


@click.command(name="verify-update")
@click.argument("optimizers", metavar="OPTIMIZER...", nargs=-1, required=True)
@click.option("--set", "settings", multiple=True, metavar="NAME=VALUE",
              help="A setting that the optimizer is made with, lr=0.1. Repeat for more.")  # fmt: skip
@click.option("--rule", default="", metavar="NAME",
              help="What an optimizer of your own should be: torch.optim.AdamW, or lion or lamb, which "
                   "PyTorch has not.")  # fmt: skip
@click.option("--state", "named", multiple=True, metavar="NAME=YOURS",
              help="Your name for a part of the rule's state, exp_avg=m. Repeat for more.")  # fmt: skip
@click.option(
    "--master", default="", metavar="NAME", help="The state that holds master weights, wider than the weights."
)
@click.option("--cases", default="cases", show_default=True, metavar="NAME",
              help="The module's function that gives (weights, gradients), a sequence of them, or such sequences "
                   "by the optimizers' names. Where there is none they are drawn at random.")  # fmt: skip
@click.option("--shape", default="7", show_default=True, metavar="SIZES", help="Of weights that are drawn: 7, or 4,3.")
@click.option("--updates", type=click.IntRange(1), default=3, show_default=True, help="How many, of drawn gradients.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Of what is drawn.")
@click.option("-d", "--dtype", "dtypes", multiple=True, metavar="DTYPE", shell_complete=dtype_names,
              help="Casts the weights. Repeat for more.")  # fmt: skip
@click.option("-r", "--route", "routes", multiple=True, metavar="ROUTE",
              help="single, foreach, fused or capturable (PyTorch), eager or jit (optax). Repeat.")  # fmt: skip
@profile_option
@click.option("--explain", "every", is_flag=True, help="The rule in words, with the numbers of the last update.")
@output_option
@junit_option
@known_option
@fail_on_option
@refused
def verify_update(
    optimizers: tuple[str, ...],
    settings: tuple[str, ...],
    rule: str,
    named: tuple[str, ...],
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

    An OPTIMIZER is one of PyTorch's or optax' own, such as torch.optim.AdamW or
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
    options = {"routes": routes or None, "profile": profile, "master": master,
               "state": dict(map(command.state_named, named))}  # fmt: skip
    own = tuple(e for file in files for e in file.entries)
    with written(output, header) as write:
        found = _told(command.verified(chosen, rule, names, own, **options), write, output, every)
    _end(found, output, junit, fail_on, "result")
