"""Known deviations, as data: each with its evidence, each expected to go on deviating until it is removed.

They are known by operator, dtype, device and version, whatever the case is called: those that come with the suite
(`FILE`), those of files that a run is given (`--known FILE`), and those that an adapter brings itself.
"""

from __future__ import annotations

import fnmatch
import math
import os
import re
import tomllib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import InvalidVersion, Version

from gradconform.adapters.contract import Adapter
from gradconform.reference.arithmetic.formats import FORMATS
from gradconform.reference.cases import BadInput, unknown
from gradconform.reference.equations import Derivation
from gradconform.reference.measurement import Measurement

FILE = Path(__file__).with_name("known_deviations.toml")
#: The largest file that is read, in bytes; the one that comes with the suite has a few thousand.
FILE_LIMIT = 2**20
#: The attribute by which an adapter brings known deviations of its own: a path, or a sequence of `KnownDeviation`.
ATTRIBUTE = "known_deviations"

#: What the level of a measurement may be.
LEVELS = ("whole", "step")
#: The keys of an entry that are numbers.
BOUNDS = ("most_share", "most_ulp")
_LARGEST = {
    "most_share": "the largest share of the allowance that the evidence explains",
    "most_ulp": "the largest error in ulp that the evidence explains",
}

#: A file of known deviations, or several.
Files = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]


@dataclass(frozen=True)
class KnownDeviation:
    """Where a deviation is known, and how large.

    `adapter`, `route`, `device`, `level`, `quantity` are globs, `operator` one or several with spaces between them;
    `dtype` lists names. `versions` is a specifier such as ">=2.4" of the adapter's version; an empty one is for every
    version, and for adapters that tell none.

    `most_share` is the largest share of the allowance that the evidence explains: what is further off is something
    else, and not known. An entry that names a value instead, as of an overflow, may leave it out, and so may one of a
    wrong formula, whose allowance says nothing: it says `most_ulp`, the largest error in ulp of a component.

    What may be left out narrows the entry: `case`, a glob, to cases by their id; `form`, a glob, to the accepted form
    that the measurement names, where a framework's primitive is less accurate than its bound, to the formulas that use
    the primitive; `formula`, a glob, to an answer to the first question, such as "wrong"; `value`, a glob, to the value
    as Python writes it: of an overflow, "nan".
    """

    id: str
    adapter: str
    route: str
    versions: str
    dtype: str
    device: str
    level: str
    operator: str
    quantity: str
    reason: str
    upstream: str
    case: str = "*"
    form: str = "*"
    formula: str = "*"
    value: str = "*"
    most_share: float = math.inf
    most_ulp: float = math.inf

    def covers(self, m: Measurement, versions: Mapping[str, str], device: str) -> bool:
        """Whether the measurement is of what this entry speaks of, whatever its verdict."""
        return self.asks(m, versions, device) and self.speaks_of(m.case, m.operator, m.quantity) and self.measured(m)

    def measured(self, m: Measurement) -> bool:
        """Whether level, form, formula, value and size are the entry's."""
        return (
            fnmatch.fnmatchcase(m.level or "", self.level)
            and fnmatch.fnmatchcase(m.accepted_form or "", self.form)
            and fnmatch.fnmatchcase(m.formula or "", self.formula)
            and fnmatch.fnmatchcase(repr(m.value), self.value)
            and (m.share is None or m.share <= self.most_share)
            and (m.max_ulp is None or m.max_ulp <= self.most_ulp)
        )

    def asks(self, m: Measurement, versions: Mapping[str, str], device: str) -> bool:
        """Whether the measurement's route, dtype, device and version are the entry's."""
        globs = ((m.adapter, self.adapter), (m.route, self.route), (device, self.device))
        return (
            m.dtype in self.dtype.split()
            and all(fnmatch.fnmatchcase(value, glob) for value, glob in globs)
            and _contains(self.versions, versions.get(m.adapter, ""))
        )

    def speaks_of(self, case: str, operator: str | None, quantity: str) -> bool:
        """Whether a case, an operator and a quantity are the entry's. What has no operator is of no operator's name."""
        return (
            fnmatch.fnmatchcase(case, self.case)
            and fnmatch.fnmatchcase(quantity, self.quantity)
            and self.speaks_of_operator(operator)
        )

    def speaks_of_operator(self, operator: str | None) -> bool:
        return any(fnmatch.fnmatchcase(operator or "", glob) for glob in self.operator.split())


@cache
def _contains(specifier: str, version: str) -> bool:
    if not specifier:
        return True
    try:
        return SpecifierSet(specifier).contains(Version(version), prereleases=True)
    except InvalidVersion:
        return False


# Where entries come from ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class KnownFile:
    """A file of known deviations as it was read when a run began: a run is of a piece, whatever becomes of the file."""

    path: str
    entries: tuple[KnownDeviation, ...]


def known_files(files: Files) -> tuple[KnownFile, ...]:
    """Each file once, read and checked. Raises BadInput naming file, entry and what is wrong with it."""
    paths = [files] if isinstance(files, str | os.PathLike) else files
    if not isinstance(paths, Sequence) or not all(isinstance(path, str | os.PathLike) for path in paths):
        raise BadInput(f"known is {ascii(files)[:80]}; expected the path of a file of known deviations, or several")
    try:
        resolved = dict.fromkeys(Path(path).resolve() for path in paths)
    except (OSError, ValueError, RuntimeError) as error:  # a null byte, a loop of links
        raise BadInput(f"known deviations {ascii(files)[:200]}: {error}") from error
    return tuple(KnownFile(str(path), _read(path)) for path in resolved)


def brought_by(adapter: Adapter) -> KnownFile | None:
    """The known deviations that an adapter brings itself; None if it has no such attribute.

    Raises BadInput for an attribute that is neither a path nor a sequence of `KnownDeviation`, and for a bad file.
    """
    own = getattr(adapter, ATTRIBUTE, None)
    if own is None:
        return None
    if isinstance(own, str | os.PathLike):
        return known_files(own)[0]
    where = f"adapter {adapter.name!r}: .{ATTRIBUTE}"
    if not isinstance(own, Sequence) or not all(isinstance(entry, KnownDeviation) for entry in own):
        raise BadInput(f"{where} is {ascii(own)[:80]}; expected the path of a TOML file, or a list of KnownDeviation")
    return KnownFile(where, tuple(_checked(where, number, vars(entry)) for number, entry in enumerate(own, 1)))


def entries_for(adapters: Iterable[Adapter], files: Sequence[KnownFile] = ()) -> tuple[KnownDeviation, ...]:
    """The suite's entries, those of the files and those that the adapters bring, in this order.

    Raises BadInput where two of them have the same id: a reason `known:<id>` must say which one it means.
    """
    own = [file for file in map(brought_by, adapters) if file is not None]
    sources = {file.path: file for file in (KnownFile(str(FILE), known_deviations()), *files, *own)}
    homes: dict[str, str] = {}
    for file in sources.values():
        for entry in file.entries:
            if entry.id in homes:
                raise BadInput(
                    f"known deviations {homes[entry.id]} and {file.path}: both have an entry called {entry.id!r}; "
                    "rename one of them"
                )
            homes[entry.id] = file.path
    return tuple(entry for file in sources.values() for entry in file.entries)


def known_deviations(path: Path = FILE) -> tuple[KnownDeviation, ...]:
    """Read and check a known-deviations file. Raises BadInput naming the entry and what is wrong with it."""
    return _of_the_suite() if path == FILE else _read(path)


@cache
def _of_the_suite() -> tuple[KnownDeviation, ...]:
    """The suite's own file does not change while a process runs; anybody else's may."""
    return _read(FILE)


def _read(path: Path) -> tuple[KnownDeviation, ...]:
    try:
        with path.open("rb") as file:
            content = file.read(FILE_LIMIT + 1)
        if len(content) > FILE_LIMIT:
            raise BadInput(f"known deviations {path}: larger than {FILE_LIMIT} bytes; is this the right file?")
        data = tomllib.loads(content.decode("utf-8"))
    except RecursionError:
        raise BadInput(f"known deviations {path}: nested too deeply; expected a list of [[deviation]]") from None
    except BadInput:
        raise
    except OSError as error:
        raise BadInput(f"known deviations {path}: {error.strerror}; expected a TOML file") from error
    except ValueError as error:  # of which UnicodeDecodeError and TOMLDecodeError are two
        raise BadInput(f"known deviations {path}: {error}") from error
    if set(data) - {"deviation"} or not isinstance(data.get("deviation", []), list):
        raise BadInput(f"known deviations {path}: expected a list of [[deviation]] and nothing beside it")
    where = f"known deviations {path}"
    entries = [_checked(where, number, entry) for number, entry in enumerate(data.get("deviation", []), 1)]
    if len({e.id for e in entries}) != len(entries):
        raise BadInput(f"known deviations {path}: two entries have the same id")
    return tuple(entries)


def _checked(where: str, number: int, entry: Any) -> KnownDeviation:
    """An entry of a file, or of a list, that says all that it must. Raises BadInput."""
    names = {f.name for f in fields(KnownDeviation)}
    needed = {f.name for f in fields(KnownDeviation) if f.default is MISSING}
    where = f"{where}, entry {number}"
    if isinstance(entry, dict) and isinstance(entry.get("id"), str):
        where += f" ({entry['id'][:100]!a})"
    complete = isinstance(entry, dict) and needed <= set(entry) <= names
    if not complete or not all(isinstance(v, str) for n, v in entry.items() if n not in BOUNDS):
        expected = f"{' '.join(sorted(needed))}, and case, form, formula or value if they matter"
        raise BadInput(f"{where}: expected the strings {expected}{_different(entry, needed, names)}")
    _bounded(where, entry)
    if not re.fullmatch(r"[a-z0-9][a-z0-9.-]{0,99}", entry["id"]):
        raise BadInput(f"{where}: id is {entry['id'][:100]!a}; expected such as 'torch-erf-float32'")
    for name in ("operator", "dtype"):
        if not entry[name].split():
            raise BadInput(f"{where}: {name} is empty; expected names with spaces between them")
    for name in entry["dtype"].split():
        if name not in FORMATS:
            raise unknown(f"{where}: dtype", name, FORMATS)
    if not any(fnmatch.fnmatchcase(level, entry["level"]) for level in LEVELS):
        raise unknown(f"{where}: level", entry["level"], LEVELS, "(or a glob, such as '*')")
    try:
        SpecifierSet(entry["versions"])
    except InvalidSpecifier as error:
        raise BadInput(f"{where}: versions: {error}") from error
    return KnownDeviation(**entry)


def _bounded(where: str, entry: Mapping[str, Any]) -> None:
    """Raise BadInput for an entry that covers what is off by any amount."""
    of_value, of_formula = entry.get("value", "*") != "*", entry.get("formula", "*") in ("wrong", "undefined")
    most_share, most_ulp = (entry.get(name, math.inf) for name in BOUNDS)
    for name, most in zip(BOUNDS, (most_share, most_ulp), strict=True):
        if isinstance(most, bool) or not isinstance(most, int | float) or not most > 0:
            raise BadInput(f"{where}: {name} is {most!r}; expected {_LARGEST[name]}, a number above 0")
    if not (of_value or most_share < math.inf or (of_formula and most_ulp < math.inf)):
        raise BadInput(
            f"{where}: most_share is {entry.get('most_share')!r}; expected {_LARGEST['most_share']}, a number above 0, "
            f"or a value to be known by, or of a wrong formula most_ulp, {_LARGEST['most_ulp']}"
        )


def _different(entry: Any, needed: set[str], names: set[str]) -> str:
    """What a table has too little and too much, for a message."""
    if not isinstance(entry, dict):
        return ""
    missing, foreign = sorted(needed - set(entry)), sorted(ascii(n)[1:-1] for n in set(entry) - names)
    said = [f"{what} {' '.join(which)}" for what, which in (("missing", missing), ("unknown", foreign)) if which]
    return f" ({'; '.join(said)})" if said else ""


# What they say of measurements ----------------------------------------------------------------------------------------


def marked(
    measurements: Iterable[Measurement],
    versions: Mapping[str, str],
    device: str,
    entries: tuple[KnownDeviation, ...] | None = None,
    derivation: Derivation | None = None,
) -> list[Measurement]:
    """The measurements, each known deviation with `known:<id>` as the first word of its reason.

    What deviates as a whole is known too where it follows from the steps: where every equation but those of a known
    deviation conforms on its operands, the whole answer would conform without that deviation. With the `derivation`
    only those equations are asked that a quantity follows from, so that what is wrong elsewhere changes nothing.
    """
    entries = known_deviations() if entries is None else entries

    def mark(m: Measurement) -> Measurement:
        entry = next((e for e in entries if m.verdict == "deviates" and e.covers(m, versions, device)), None)
        return m.because(f"known:{entry.id}") if entry else m

    answers: dict[tuple[str, ...], list[Measurement]] = defaultdict(list)
    found = [mark(m) for m in measurements]
    for m in found:
        answers[_answer(m)].append(m)

    def follow(m: Measurement) -> Measurement:
        if m.level != "whole" or m.verdict != "deviates" or is_known(m):
            return m
        cause = _cause(answers[_answer(m)], None if derivation is None else derivation.leading_to.get(m.quantity))
        return m if cause is None else m.because(f"{cause}; operands: it follows from the step level's")

    return [follow(m) for m in found]


def _answer(m: Measurement) -> tuple[str, ...]:
    return m.case, m.adapter, m.route, m.dtype


def _cause(answer: Sequence[Measurement], among: frozenset[str] | None) -> str | None:
    """`known:<id>` of the known deviation that is all that is wrong at the step level of one answer, or None.

    Of `among` some equations, or of all.

    A trace that is not of the very evaluation that was judged as a whole (`traced`) explains nothing.
    """
    steps = [m for m in answer if m.level == "step"]
    asked = [m for m in steps if among is None or m.quantity in among]
    wrong = [m for m in asked if m.verdict in ("deviates", "undecided", "crashed")]
    if not wrong or not all(map(is_known, wrong)) or any("traced" in (m.reason or "") for m in steps):
        return None
    if not {m.quantity for m in answer if m.level == "whole"} <= {m.quantity for m in steps}:
        return None  # of what has no step of its own it is not known that it follows
    return (wrong[0].reason or "").partition(";")[0]


def is_known(m: Measurement) -> bool:
    return m.verdict == "deviates" and (m.reason or "").startswith("known:")
