"""`gradconform list`, `doctor` and `completion`: what there is."""

from __future__ import annotations

import click

from gradconform.adapters import registry
from gradconform.conformance.cases.catalogue import ids
from gradconform.conformance.command_line.options import refused
from gradconform.conformance.command_line.terminal import COMPLETE, console
from gradconform.reference.arithmetic.formats import FORMATS
from gradconform.reference.arithmetic.text import formula, symbol
from gradconform.reference.cases import BadInput
from gradconform.reference.document import NETWORK


@click.command(name="list", short_help="Adapters, cases, operations, operators and the like.")
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
        console.say(line)


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


@click.command(short_help="What is installed, what is missing, how to get it.")
@refused
def doctor() -> None:
    """What is installed, on what devices it runs, what is missing, and how to get it."""
    from gradconform.conformance.command_line.doctor import findings

    for kind, text in findings():
        marks = {"good": ("ok      ", "green"), "missing": ("missing ", "yellow"), "newer": ("newer   ", "yellow")}
        mark, style = marks.get(kind, ("        ", None))
        console.say(f"{mark}{text}", style, indent=" " * 8)


@click.command(short_help="What completes words in bash, zsh or fish.")
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
    click.echo(script(click.get_current_context().find_root().command, {}, "gradconform", COMPLETE).source())
