"""What commands share: exit statuses, options and their completion, and how bad input ends."""

from __future__ import annotations

import functools
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from gradconform.adapters import registry
from gradconform.conformance.cases.catalogue import ids
from gradconform.conformance.command_line.terminal import errors
from gradconform.conformance.run import run_summary, runner
from gradconform.conformance.run.run_file import Unwritable
from gradconform.conformance.run.supervisor import WorkerFailure
from gradconform.reference.arithmetic.formats import FORMATS
from gradconform.reference.arithmetic.profiles import PROFILES
from gradconform.reference.cases import BadInput

CONFORMS, DEVIATES, BAD_INPUT, INCOMPLETE = 0, 1, 2, 3


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


def adapter_names(context: click.Context, parameter: click.Parameter, begun: str) -> list[str]:
    """Adapters, and after the slash routes, for a shell's completion."""
    name, slash, _ = begun.partition("/")
    if not slash:
        return [n for n in registry.registered() if n.startswith(begun)]
    try:
        routes = registry.load(name).routes
    except BadInput:
        return []
    return [f"{name}/{r.name}" for r in routes if f"{name}/{r.name}".startswith(begun)]


def case_ids(context: click.Context, parameter: click.Parameter, begun: str) -> list[str]:
    return [id for id in ids() if id.startswith(begun)]


def dtype_names(context: click.Context, parameter: click.Parameter, begun: str) -> list[str]:
    return [name for name in FORMATS if name.startswith(begun)]


device_option = click.option("--device", default="cpu", show_default=True, help="Device: cpu, cuda, …")


profile_option = click.option("--profile", default="opencl", show_default=True, help=f"One of {', '.join(PROFILES)}.")


timeout_option = click.option(
    "--timeout", type=click.FloatRange(0, min_open=True), default=runner.TIMEOUT, show_default=True,
    help="Seconds that a route may take on one case; then it counts as crashed.",
)  # fmt: skip


fail_on_option = click.option(
    "--fail-on", multiple=True, type=click.Choice(tuple(run_summary.FAIL_ON)),
    help="A verdict that counts as a failure, besides deviates. Repeat for more.",
)  # fmt: skip


known_option = click.option(
    "--known", multiple=True, metavar="FILE",
    help="A TOML file of known deviations, taken beside the suite's own. Repeat for more.",
)  # fmt: skip


output_option = click.option(
    "-o", "--output", type=click.Path(path_type=Path), default=None, metavar="FILE",
    help="A run file to write, for report and diff, packed if it ends in .zst or .gz, or - for standard output. Never "
         "written over.",
)  # fmt: skip


junit_option = click.option(
    "--junit", type=click.Path(path_type=Path), default=None, metavar="FILE",
    help="A JUnit file to write: a test for each quantity and route.",
)  # fmt: skip


scheduler_option = click.option(
    "--scheduler", default=None, metavar="ADDRESS",
    help="A scheduler of dask.distributed, such as tcp://host:8786: its workers do the work.",
)  # fmt: skip


def check_timeout(timeout: float) -> None:
    if math.isnan(timeout):  # neither below nor above any bound, so that the option's range lets it through
        raise BadInput("--timeout is nan; expected seconds, more than 0")


def numbers(context: click.Context, parameter: click.Parameter, text: str | None) -> tuple[float, ...] | None:
    """The numbers of an option, with commas or spaces between them."""
    if text is None:
        return None
    try:
        return tuple(float(word) for word in text.replace(",", " ").split())
    except ValueError:
        raise click.BadParameter(f"{text!r} are no numbers; expected such as 0.15,0.2 or '0.15 0.2'") from None
