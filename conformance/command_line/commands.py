"""The command line: run, verify, verify-update, train, report, diff, explain, list, doctor, completion."""

from __future__ import annotations

import click

from gradconform.conformance.command_line.diff_command import diff
from gradconform.conformance.command_line.explain_command import explain
from gradconform.conformance.command_line.list_commands import completion, doctor, list_
from gradconform.conformance.command_line.program_commands import train, verify, verify_update
from gradconform.conformance.command_line.report_command import report
from gradconform.conformance.command_line.run_command import run
from gradconform.conformance.command_line.sweep_command import sweep
from gradconform.conformance.command_line.terminal import Commands
from gradconform.conformance.run import runner


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 80})
@click.version_option(runner.SUITE_VERSION, prog_name="gradconform")
def main() -> None:
    """The conformance suite for gradients.

    Holds a framework's gradients and updated weights against the formulas,
    evaluated in ball arithmetic, under an allowance that is computed.
    """


for _command in (run, verify, verify_update, train, report, diff, explain, sweep, list_, doctor, completion):
    main.add_command(_command)
