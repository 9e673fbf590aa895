"""`gradconform diff`: what is different between two runs, or two sweeps."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click
from rich.table import Table
from rich.text import Text

from gradconform.conformance.command_line.options import CONFORMS, DEVIATES, INCOMPLETE, refused
from gradconform.conformance.command_line.terminal import console
from gradconform.conformance.run.run_file import load_each
from gradconform.reference.cases import BadInput

if TYPE_CHECKING:
    from gradconform.conformance.sweep import sweep_file


@click.command(short_help="What is different in run file NEW against OLD.")
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
    ill-conditioned to another is told and is none. The share of a "larger known
    deviation" has doubled, and grown by 1.

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
