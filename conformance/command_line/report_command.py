"""`gradconform report`: tables, figures and the page of run files, or of sweeps."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from gradconform.conformance.cases.catalogue import ids, select
from gradconform.conformance.command_line.options import fail_on_option, refused
from gradconform.conformance.command_line.terminal import console
from gradconform.conformance.known import known_deviations
from gradconform.conformance.run import run_summary
from gradconform.conformance.run.frames import run_name
from gradconform.conformance.run.run_file import load
from gradconform.reference.cases import BadInput


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), default="report", show_default=True,
              help="Folder for the page and the tables.")  # fmt: skip
@fail_on_option
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
