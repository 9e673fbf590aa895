"""`gradconform verify module:function …`: functions' gradients, verified from a terminal."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from importlib import import_module
from pathlib import Path
from typing import Any

from gradconform.adapters.registry import no_file, unimportable
from gradconform.conformance import operators
from gradconform.conformance.known import KnownDeviation, KnownFile, is_known, marked
from gradconform.conformance.programs import program_rows
from gradconform.conformance.programs.frameworks import framework_of, leaves
from gradconform.conformance.programs.report import Report
from gradconform.conformance.run.run_file import RunWriter, frame
from gradconform.conformance.run.run_summary import counted
from gradconform.conformance.verify import verify
from gradconform.conformance.verify_update import UpdateReport
from gradconform.reference.cases import BadInput, said, unknown
from gradconform.reference.derivations.operators.catalogue import OPERATORS
from gradconform.reference.judge import VERDICTS
from gradconform.reference.measurement import JUDGED, Measurement


@dataclass(frozen=True, eq=False)
class Target:
    """A function, called MODULE:FUNCTION, and the arguments to try it on."""

    name: str
    function: Callable[..., Any]
    cases: tuple[tuple[Any, ...], ...]
    #: Of an operator: what it stands for, the dtype that its arguments have, and the framework.
    definition: Callable[..., Any] | None = None
    dtype: str = ""
    framework: str = ""
    approximated: float = 0.0
    #: Why it is not asked, if there is a reason but that the framework lacks it.
    why: str = ""
    #: What is asked of `verify` besides.
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def lacking(self) -> bool:
        """Whether it is an operator that its framework lacks."""
        return bool(self.framework) and not self.cases


@dataclass(frozen=True, eq=False)
class Verified:
    """A function at some arguments, or an optimizer on some weights, in a dtype: its report, or why there is none.

    `rows` are what a run file says of it.

    `broken` says that there is none because the suite itself failed, `lacking` that the framework has no such operator,
    or not in this dtype, or that it is not asked for another reason, which `what` says for the closing line.
    """

    title: str
    report: Report | UpdateReport | None
    problem: str
    rows: tuple[Measurement, ...]
    broken: bool = False
    lacking: bool = False
    what: str = ""

    @property
    def complete(self) -> bool:
        """Whether there is a report, and nothing left its record."""
        return self.report is not None and (isinstance(self.report, UpdateReport) or self.report.complete)


def targets(name: str, cases: str) -> list[Target]:
    """The function called MODULE:FUNCTION, or every public one of MODULE, with the arguments that the module gives.

    Those are what its function `cases` returns: a sequence with a tuple for each call, for every function alike, or
    such sequences by the functions' names. The module may stand in the working directory. Raises BadInput for what is
    not there, and for cases that are no sequence of arguments.
    """
    module_name, colon, attribute = name.partition(":")
    if not module_name or (colon and not attribute):
        raise BadInput(f"{name!r} names no function; expected MODULE:FUNCTION, such as losses:focal, or MODULE")
    module = imported(module_name)
    if attribute:  # a name that is wrong is said before the arguments that are missing
        found_in(module, attribute, "the function to verify", cases)
        _gives(module, attribute, cases)
    try:
        given = found_in(module, cases, _GIVES)()
        by_name = {k: calls(v) for k, v in given.items()} if isinstance(given, Mapping) else {}
        alike = () if isinstance(given, Mapping) else calls(given)
    except BadInput:
        raise
    except (Exception, SystemExit) as error:
        raise BadInput(f"{module_name}:{cases} gives no sequence of arguments: {said(error)}") from error
    wanted = [attribute] if attribute else list(by_name) or _public(module, cases)
    if not wanted:
        raise BadInput(f"{module_name} has no public function to verify")
    found = [
        Target(f"{module_name}:{n}", found_in(module, n, "the function to verify", cases), by_name.get(n, alike))
        for n in wanted
    ]
    for target in found:
        if not target.cases:
            raise BadInput(
                f"{module_name}:{cases} gives no arguments of {target.name}; expected one or more, a tuple for each "
                "call"
            )
    return found


def imported(name: str) -> Any:
    """A module, which may stand in the working directory."""
    no_file("module", name)
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        return import_module(name)
    except ImportError as error:
        parent, _, attribute = name.rpartition(".")
        if error.name == name and parent in sys.modules:  # a dot where the colon is
            found_in(sys.modules[parent], attribute, "and no module", "cases")
            raise BadInput(f"module {name!r}: it is none, and {parent} has a function {attribute}: give "
                           f"{parent}:{attribute}") from error  # fmt: skip
        raise BadInput(f"module {name!r}: {unimportable(name, error)}") from error
    except (Exception, SystemExit) as error:  # whatever a module does when it is imported
        raise BadInput(f"module {name!r} cannot be imported: {said(error)}") from error


def operator_targets(
    globs: Sequence[str], frameworks: Sequence[str], dtypes: Sequence[str], source: str = ""
) -> Iterator[Target]:
    """The cases of the catalogue's operators that are named, such as operator/gelu or operator/*; of another `source`
    of cases, its own."""
    for one in operators.asked(globs, frameworks, dtypes, source):
        call = one.function or (lambda: None)
        given = (one.arguments,) if one.function is not None else ()
        yield Target(one.name, call, given, one.definition, one.dtype, one.framework, one.approximated, why=one.why)


def calls(given: Any) -> tuple[tuple[Any, ...], ...]:
    return tuple(tuple(c) if isinstance(c, list | tuple) else (c,) for c in given)


def _gives(module: Any, attribute: str, cases: str) -> None:
    """Raise BadInput where a framework's own function is asked for, of whose module nobody gives the arguments."""
    framework = module.__name__.partition(".")[0]
    if framework in program_rows.RECORDERS and not hasattr(module, cases):
        own = f"write a module with a function {cases!r} that gives them, a sequence with a tuple for each call"
        there = f"gradconform verify operator/{attribute} -a {framework} has its own, or " * (attribute in OPERATORS)
        raise BadInput(f"{module.__name__}:{attribute}: there are no arguments to try it on; {there}{own}")


def _public(module: Any, cases: str) -> list[str]:
    """The functions that a module itself defines, in its order."""
    return [
        name for name, value in vars(module).items()
        if callable(value) and not isinstance(value, type) and not name.startswith("_") and name != cases
        and getattr(value, "__module__", None) == module.__name__
    ]  # fmt: skip


#: What is missing where a module has no function `cases`, and what to do.
_GIVES = "the function that gives the arguments, a sequence with a tuple for each call; --cases names another"


def found_in(module: Any, name: str, what: str, but: str = "", made: bool = False) -> Callable[..., Any]:
    """The function of a module called so; one called `but` is none that could have been meant.

    If it may be `made` already it is also what has functions `init` and `update`, as optax' transformations have.
    """
    found = getattr(module, name, None)
    if found is None:
        callables = [
            n for n, f in vars(module).items() if callable(f) and not n.startswith("_") and n != but
            and (made or not (isinstance(f, type) and f.__module__ != module.__name__))
        ]  # fmt: skip
        raise unknown(f"function of {module.__name__}", name, callables, f"({what})")
    if not callable(found) and not (made and hasattr(found, "init") and hasattr(found, "update")):
        raise BadInput(f"{module.__name__}:{name} is a {type(found).__name__}; expected {what}")
    return found  # type: ignore[no-any-return]


def verified(
    chosen: Sequence[Target],
    dtypes: Sequence[str],
    entries: tuple[KnownDeviation, ...] = (),
    steps: bool = False,
    **options: Any,
) -> Iterator[Verified]:
    """Each function at each of its arguments in each dtype; in the arguments' own where none is named."""
    times: Counter[tuple[str, str | None]] = Counter()
    for target in chosen:
        each: Sequence[str | None] = [target.dtype] if target.dtype else dtypes or [None]
        if target.lacking:
            if target.why:
                yield _unsupported(target, target.dtype, (), target.why, "other functions than the catalogue's")
            else:
                yield _unsupported(target, target.dtype, (), "there is no such operator")
        for position, arguments in enumerate(target.cases, 1):
            case = program_rows.case_of(target.name, program_rows.digest_of(leaves(arguments)))
            for dtype in each:
                number = times[case, dtype]
                times[case, dtype] += 1
                title = target.name + (f" in {dtype}" if dtype else "")
                title += f" (arguments {position} of {len(target.cases)})" if len(target.cases) > 1 else ""
                yield _verified(target, title, arguments, dtype, number, entries, steps, options)


def _verified(
    target: Target,
    title: str,
    arguments: tuple[Any, ...],
    dtype: str | None,
    number: int,
    entries: tuple[KnownDeviation, ...],
    steps: bool,
    options: Mapping[str, Any],
) -> Verified:
    framework = target.framework or framework_of(target.function, arguments)
    broken = False
    cast = None if target.dtype else dtype
    try:
        if target.framework and operators.without_slope(framework, target.function, arguments):
            return _unsupported(target, target.dtype, arguments, "it has no derivative")
        wanted = {
            "dtype": cast,
            "definition": target.definition,
            "approximated": target.approximated,
            **options,
            **target.options,
        }
        # An operator holds nothing but its arguments; whether it is what its record says matters where that is wrong.
        report = verify(target.function, *arguments, **wanted, replays=target.definition is None)
        if target.definition is not None and report.formula in ("wrong", "undefined"):
            report = verify(target.function, *arguments, **wanted)
    except BadInput as error:
        problem = str(error)
        if target.framework and operators.lacking(problem):
            return _unsupported(target, target.dtype, arguments, problem)
        if target.framework and problem.startswith("not recorded"):  # what the suite does not know is no bad input
            return _unsupported(target, target.dtype, arguments, problem, "operators that the suite does not record")
    except Exception as error:  # a mistake of the suite: no deviation, and no reason to leave the others out
        broken, problem = True, f"gradconform itself failed: {type(error).__name__}: {said(error)}"
    else:
        rows = program_rows.rows(report, target.name, number, steps)
        rows = marked(rows, program_rows.versions_of(framework), "cpu", entries)
        return Verified(title, replace(report, name=title), "", tuple(rows))
    given = list(leaves(arguments))
    row = program_rows.not_judged(target.name, given, dtype, number, framework, problem)
    return Verified(title, None, problem, (row,), broken)


def _unsupported(
    target: Target,
    dtype: str,
    arguments: Sequence[Any],
    why: str,
    what: str = "operators that the framework lacks",
) -> Verified:
    """An operator that a framework lacks, or lacks in this dtype; or `what` else is not asked."""
    row = program_rows.not_judged(target.name, list(leaves(arguments)), dtype, 0, target.framework, "")
    row = replace(row, verdict="unsupported", elements=0, reason=f"operation: {target.framework}: {why}")
    return Verified(f"{target.name} in {dtype}", None, why, (row,), lacking=True, what=what)


@contextmanager
def written(path: Path | None, header: Mapping[str, Any]) -> Iterator[Callable[[Sequence[Measurement]], None]]:
    """What writes measurements into a run file, which is whole when all were given; into none without a path."""
    if path is None:
        yield lambda rows: None
        return
    with RunWriter(path, header) as writer:
        yield writer.write
        writer.finish()


@contextmanager
def run_file(
    path: Path | None, chosen: Sequence[Target], profile: str, known: Sequence[KnownFile]
) -> Iterator[Callable[[Sequence[Measurement]], None]]:
    """What writes the measurements of functions into a run file, if there is a path."""
    frameworks = {t.framework or framework_of(t.function, arguments) for t in chosen for arguments in t.cases}
    versions = {f: program_rows.versions_of(f) for f in sorted(frameworks)}
    with written(path, program_rows.header(versions, profile, known, functions=[t.name for t in chosen])) as write:
        yield write


def write_junit(path: Path, found: Sequence[Verified], fail_on: Collection[str]) -> None:
    from gradconform.reports.continuous import junit
    from gradconform.reports.export import replaced
    from gradconform.reports.tables import checked

    try:
        replaced(path, junit(checked(frame([m.row() for v in found for m in v.rows])), fail_on))
    except OSError as error:
        raise BadInput(f"cannot write {path}: {error.strerror}; give another --junit") from error


def text_of(found: Verified, every: bool) -> str:
    """The report of what was verified, with the deviations of it that are known; with `every` the operations, too."""
    assert found.report is not None
    known = dict.fromkeys((m.reason or "").partition(";")[0] for m in found.rows if is_known(m))
    return "\n".join([found.report.explain() if every else str(found.report), *(f"  {k}" for k in known)])


def closing_line(found: Sequence[Verified], what: str = "gradient") -> str:
    rows = [m for v in found for m in v.rows if m.level != "step" or isinstance(v.report, UpdateReport)]
    known = sum(map(is_known, rows))
    counts = Counter(m.verdict for m in rows)
    verdicts = ", ".join(f"{v} {counts[v]}" for v in VERDICTS if counts[v] and v != "crashed")
    incomplete = sum(v.report is not None and not v.complete for v in found)
    failed = sum(v.report is None and not v.lacking for v in found)
    lacking = Counter(v.what for v in found if v.lacking)
    said = [
        f"{counted(sum(counts[v] for v in (*JUDGED, 'unsupported')), what)} of {counted(len(found), 'run')}: "
        + (verdicts or "none judged")
        + (f" (known {known})" if known else ""),
        *([f"{counted(incomplete, 'run')} of which something left the record"] if incomplete else []),
        *(f"{counted(n, 'run')} of {what}" for what, n in lacking.items()),
        *([f"{failed} that could not be verified"] if failed else []),
    ]
    return "; ".join(said)


def exit_status(found: Sequence[Verified], fail_on: Collection[str] = ()) -> int:
    """1 where something deviates that is not known or has a verdict of `fail_on`; 2 where a function could not be
    verified; 3 where something is undecided, unsupported, left the record, or made the suite itself fail; else 0.

    Operators that a framework lacks count only where nothing else was judged.
    """
    found = [v for v in found if not v.lacking] or found
    rows = [m for v in found for m in v.rows]
    if any((m.verdict == "deviates" and not is_known(m)) or m.verdict in fail_on for m in rows):
        return 1
    if any(v.report is None and not v.broken for v in found):
        return 2
    incomplete = not all(v.complete for v in found)
    return 3 if incomplete or any(m.verdict in ("undecided", "unsupported") for m in rows) else 0
