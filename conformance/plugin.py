"""The pytest plugin: options, the parametrized subject of the suite, and the export at the end.

It is loaded into every pytest of an environment that has gradconform, so it imports nothing heavy until a test asks
for the fixture `gradconform_subject` or `gradconform_verify`.
"""

from __future__ import annotations

import sys
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from gradconform.conformance import marker

if TYPE_CHECKING:
    from gradconform.adapters.registry import Chosen
    from gradconform.conformance.known import KnownDeviation, KnownFile
    from gradconform.conformance.programs.report import Report
    from gradconform.conformance.run.stale import Evidence
    from gradconform.reference.cases import Case
    from gradconform.reference.measurement import Measurement

FIXTURE = "gradconform_subject"


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("gradconform", "the conformance suite for gradients")
    group.addoption("--gradconform-adapter", action="append", default=[], metavar="ADAPTER[/ROUTE]",
                    help="adapter, one of its routes or module:object; default: every installed built-in")  # fmt: skip
    group.addoption("--gradconform-case", action="append", default=[], metavar="GLOB", help="cases; default: all")
    group.addoption("--gradconform-dtype", action="append", default=[], metavar="DTYPE", help="dtypes; default: all")
    group.addoption("--gradconform-known", action="append", default=[], type=Path, metavar="FILE",
                    help="a TOML file of known deviations, taken beside the suite's own")  # fmt: skip
    group.addoption("--gradconform-export", type=Path, default=None, metavar="DIR",
                    help="write the run file and the tables there at the end")  # fmt: skip


@dataclass
class Subject:
    """One adapter's route on one case in one dtype, and where its measurements go."""

    spec: str
    case: Case
    dtype: str
    collected: list[tuple[int, list[Measurement]]]
    number: int
    known: tuple[KnownFile, ...] = ()

    def measure(self) -> list[Measurement]:
        """Run the framework, judge what it answers, keep the measurements for the export."""
        from gradconform.conformance.run.runner import Task, perform

        task = Task(self.case, self.dtype, "cpu", "opencl", (self.spec,), known=self.known)
        measurements = list(perform(task).measurements)
        self.collected.append((self.number, measurements))
        return measurements


#: Known deviations that turned out to be stale, of the whole session.
_stale = pytest.StashKey[list[str]]()
#: The files of known deviations that the options name, read once.
_known = pytest.StashKey["tuple[KnownFile, ...]"]()
#: What each worker found out about them.
_found = pytest.StashKey["list[Evidence]"]()
_collected = pytest.StashKey[list[tuple[int, list[Any]]]]()
#: What `gradconform_verify` found, for the export: it is evidence for no known deviation of the suite.
_verified = pytest.StashKey["list[Measurement]"]()


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", marker.DESCRIPTION)
    config.stash[_collected] = []
    config.stash[_verified] = []
    config.stash[_found] = []
    config.stash[_stale] = []
    config.stash[_known] = ()
    folder = config.getoption("--gradconform-export")
    if folder is not None and not hasattr(config, "workerinput") and (folder / "run.jsonl").exists():
        raise pytest.UsageError(f"{folder / 'run.jsonl'} exists; a run is never written over: give another folder")
    if folder is not None and find_spec("tabulate") is None:
        raise pytest.UsageError("--gradconform-export needs tabulate: python -m pip install 'gradconform[report]'")

    if any(config.getoption(f"--gradconform-{name}") for name in ("adapter", "case", "dtype", "known")):
        _subjects(config)


def _subjects(config: pytest.Config) -> list[tuple[str, Case, str]]:
    """What the options choose, the routes of one point side by side: they share its truth."""
    from gradconform.conformance.cases.catalogue import select
    from gradconform.conformance.known import known_files
    from gradconform.reference.arithmetic.formats import FORMATS
    from gradconform.reference.cases import BadInput, named_format, point

    option = config.getoption
    try:
        routes = list(dict.fromkeys(c.spec for c in _chosen(config)))
        dtypes = [named_format(d).name for d in option("--gradconform-dtype")] or list(FORMATS)
        config.stash[_known] = known_files(option("--gradconform-known"))
        _entries(config)
        cases = select(option("--gradconform-case"))
        for case in cases:
            for dtype in dtypes:
                point(case, dtype)
    except BadInput as error:
        raise pytest.UsageError(f"gradconform: {error}") from error
    return [(spec, case, dtype) for case in cases for dtype in dtypes for spec in routes]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, Any]:
    """A failing `assert gc.verify(…)` shows the whole report: pytest itself cuts what it prints of a value."""
    result: Any = yield
    if (
        call.excinfo is not None
        and call.excinfo.errisinstance(AssertionError)
        and "gradconform.conformance.verify" in sys.modules
    ):
        from gradconform.conformance.programs.report import Report

        held = call.excinfo.traceback[-1].frame.f_locals.values()
        told = str(call.excinfo.value)  # by `gradconform_verify` all of it
        reports = [str(r) for r in held if isinstance(r, Report) and not r]
        result.sections += [("gradconform", text) for text in reports if text not in told]
    return result


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if marker.FIXTURE in metafunc.fixturenames:
        marker.parametrized(metafunc)
    if FIXTURE not in metafunc.fixturenames:
        return
    subjects = _subjects(metafunc.config)
    metafunc.parametrize(
        FIXTURE,
        [(number, *subject) for number, subject in enumerate(subjects)],
        ids=[f"{spec}-{dtype}-{case.id}" for spec, case, dtype in subjects],
        indirect=True,
    )


@pytest.fixture
def gradconform_subject(request: pytest.FixtureRequest) -> Subject:
    """An adapter's route, a case and a dtype, as the options choose them."""
    number, spec, case, dtype = request.param
    stash = request.config.stash
    return Subject(spec, case, dtype, stash[_collected], number, stash[_known])


@pytest.fixture
def gradconform_verify(request: pytest.FixtureRequest) -> marker.Verifier:
    """`gc.verify` as the marker `gradconform` asks: it fails the test with the report where that is not true."""
    test: Any = request.node
    found = request.config.stash[_verified]

    def keep(report: Report, passed_by: str) -> None:
        from gradconform.conformance.programs.program_rows import rows

        name = f"{test.module.__name__}:{test.name}"
        found.extend(rows(report, name, len({m.case for m in found if m.case.startswith(f"program/{name}/")})))
        if passed_by:
            test.user_properties.append(("gradconform", f"{report.name}: {passed_by}"))
            test.add_report_section("call", "gradconform", str(report))

    return marker.Verifier(request.param, keep)


def _parts(folder: Path) -> Path:
    return folder / ".parts"


#: The place of what was verified in an export: after the suite's own subjects.
_LAST = sys.maxsize


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Under xdist each worker leaves its part; the controller, or the only process, merges and exports."""
    config = session.config
    folder: Path | None = config.getoption("--gradconform-export")
    collected = config.stash[_collected]
    if collected:
        config.stash[_found] += _evidence(collected, config)
    collected = collected + ([(_LAST, config.stash[_verified])] if config.stash[_verified] else [])
    if hasattr(config, "workerinput"):
        output: dict[str, Any] = config.workeroutput  # type: ignore[attr-defined]
        output["gradconform"] = [(e.entry, sorted(e.asked), e.judged, e.deviates) for e in config.stash[_found]]
        if folder is not None and collected:
            _write_part(_parts(folder) / f"{config.workerinput['workerid']}.jsonl", collected)
        return
    if folder is not None:
        collected += list(_read_parts(folder))
    if config.stash[_found]:
        from gradconform.conformance.run.stale import stale

        found = config.stash[_found]
        config.stash[_stale] = stale(found, entries=_entries(config))
        if config.stash[_stale] and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
    if collected and folder is not None:
        _export(sorted(collected, key=lambda part: part[0]), folder, config)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: Any) -> None:
    """xdist's: a worker has ended; keep what it found out about known deviations."""
    reported = getattr(node, "workeroutput", {}).get("gradconform", [])
    if reported:
        from gradconform.conformance.run.stale import Evidence

        node.config.stash[_found] += [
            Evidence(entry, frozenset(tuple(question) for question in asked), judged, deviates)
            for entry, asked, judged, deviates in reported
        ]


def _chosen(config: pytest.Config) -> list[Chosen]:
    """The routes that the options choose."""
    from gradconform.adapters import registry

    specs = config.getoption("--gradconform-adapter") or list(registry.installed()[0])
    return [c for spec in specs for c in registry.choose(spec)]


def _entries(config: pytest.Config) -> tuple[KnownDeviation, ...]:
    """Every known deviation of this session: the suite's, the options' and those that adapters bring."""
    from gradconform.conformance.known import entries_for, known_files

    return entries_for([c.adapter for c in _chosen(config)], known_files(config.getoption("--gradconform-known")))


def _evidence(collected: list[tuple[int, list[Measurement]]], config: pytest.Config) -> list[Evidence]:
    from gradconform.adapters import registry
    from gradconform.conformance.run.stale import evidence

    measurements = [m for _, part in collected for m in part]
    versions = {k: v for c in _chosen(config) for k, v in registry.versions(c.adapter).items()}
    return evidence(measurements, versions, "cpu", _entries(config))


def _write_part(path: Path, collected: list[tuple[int, list[Measurement]]]) -> None:
    from gradconform.conformance.run.run_file import line

    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8") as file:
        for number, measurements in collected:
            file.writelines(line({"number": number, **m.row()}) for m in measurements)


def _read_parts(folder: Path) -> Iterator[tuple[int, list[Measurement]]]:
    from gradconform.conformance.run.run_file import decoded
    from gradconform.reference.measurement import Measurement

    for path in sorted(_parts(folder).glob("*.jsonl")):
        with path.open(encoding="utf-8") as file:
            for text in file:
                values = decoded(text)
                yield values.pop("number"), [Measurement(**values)]
        path.unlink()
    if _parts(folder).is_dir():
        _parts(folder).rmdir()


def _export(collected: list[tuple[int, list[Measurement]]], folder: Path, config: pytest.Config) -> None:
    from gradconform.conformance.run.run_file import RunWriter, frame
    from gradconform.conformance.run.runner import provenance
    from gradconform.reports.export import export

    measurements = [m for _, part in collected for m in part]
    header = {
        **provenance(_chosen(config), config.getoption("--gradconform-known")),
        "device": "cpu",
        "profile": "opencl",
        "seed": 0,
        "arguments": list(config.args),
    }
    with RunWriter(folder / "run.jsonl", header) as writer:
        writer.write(measurements)
        writer.finish(seconds={})
    export(frame([m.row() for m in measurements]), folder)


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    for entry in config.stash[_stale]:
        terminalreporter.write_line(f"gradconform: known deviation {entry} deviates no more; remove it", red=True)
    folder: Path | None = config.getoption("--gradconform-export")
    if folder is not None and (folder / "run.jsonl").exists():
        terminalreporter.write_line(f"gradconform: run and tables in {folder}")
