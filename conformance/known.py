"""Known deviations, as data: each with its evidence, each expected to go on deviating until it is removed."""

from __future__ import annotations

import fnmatch
import math
import re
import tomllib
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from functools import cache
from pathlib import Path

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import InvalidVersion, Version

from gradconform.conformance.catalogue import catalogue
from gradconform.conformance.measurement import Measurement
from gradconform.reference.cases import BadInput

FILE = Path(__file__).with_name("known_deviations.toml")
#: The largest file that is read, in bytes; the one that comes with the suite has a few thousand.
FILE_LIMIT = 2**20


@dataclass(frozen=True)
class KnownDeviation:
    """Where a deviation is known, and how large. `adapter`, `route`, `device`, `level`, `case`, `quantity` are globs.

    `most_share` is the largest share of the allowance that the evidence explains: what is further off is something
    else, and not known. An entry that names a value instead, as of an overflow, may leave it out.

    `form`, which may be left out, is a glob for the accepted form that the measurement names: where a framework's
    primitive is less accurate than its bound, it narrows the entry to the formulas that use the primitive. So does
    `value`, a glob for the value as Python writes it: of an overflow, "nan".
    """

    id: str
    adapter: str
    route: str
    versions: str
    dtype: str
    device: str
    level: str
    case: str
    quantity: str
    reason: str
    upstream: str
    form: str = "*"
    value: str = "*"
    most_share: float = math.inf

    def covers(self, m: Measurement, versions: Mapping[str, str], device: str) -> bool:
        """Whether the measurement is of what this entry speaks of, whatever its verdict."""
        globs = ((m.adapter, self.adapter), (m.route, self.route), (device, self.device), (m.level or "", self.level),
                 (m.case, self.case), (m.quantity, self.quantity), (m.accepted_form or "", self.form),
                 (repr(m.value), self.value))  # fmt: skip
        return (
            m.dtype in self.dtype.split()
            and all(fnmatch.fnmatchcase(value, glob) for value, glob in globs)
            and (m.share is None or m.share <= self.most_share)
            and _contains(self.versions, versions.get(m.adapter, ""))
        )


def _contains(specifier: str, version: str) -> bool:
    try:
        return SpecifierSet(specifier).contains(Version(version), prereleases=True)
    except InvalidVersion:
        return False


@cache
def known_deviations(path: Path = FILE) -> tuple[KnownDeviation, ...]:
    """Read and check a known-deviations file. Raises BadInput naming the entry and what is wrong with it."""
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
    except (OSError, ValueError) as error:  # of which UnicodeDecodeError and TOMLDecodeError are two
        raise BadInput(f"known deviations {path}: {error}") from error
    if set(data) - {"deviation"} or not isinstance(data.get("deviation", []), list):
        raise BadInput(f"known deviations {path}: expected a list of [[deviation]] and nothing beside it")
    names = {f.name for f in fields(KnownDeviation)}
    needed = names - {"form", "value", "most_share"}
    entries = []
    for number, entry in enumerate(data.get("deviation", []), 1):
        complete = isinstance(entry, dict) and needed <= set(entry) <= names
        if not complete or not all(isinstance(v, str) for n, v in entry.items() if n != "most_share"):
            expected = f"{' '.join(sorted(needed))}, and form or value if they matter"
            raise BadInput(f"known deviations {path}, entry {number}: expected the strings {expected}")
        most = entry.get("most_share", math.inf if "value" in entry else None)
        if isinstance(most, bool) or not isinstance(most, int | float) or not most > 0:
            raise BadInput(
                f"known deviations {path}, entry {number}: most_share is {most!r}; expected the largest share of the "
                "allowance that the evidence explains, a number above 0, or a value to be known by"
            )
        if not re.fullmatch(r"[a-z0-9][a-z0-9.-]{0,99}", entry["id"]):
            wrong = ascii(entry["id"][:100])
            raise BadInput(
                f"known deviations {path}, entry {number}: id is {wrong}; expected such as 'torch-erf-float32'"
            )
        try:
            SpecifierSet(entry["versions"])
        except InvalidSpecifier as error:
            raise BadInput(f"known deviations {path}, entry {number}: versions: {error}") from error
        entries.append(KnownDeviation(**entry))
    if len({e.id for e in entries}) != len(entries):
        raise BadInput(f"known deviations {path}: two entries have the same id")
    return tuple(entries)


def marked(
    measurements: Iterable[Measurement],
    versions: Mapping[str, str],
    device: str,
    entries: tuple[KnownDeviation, ...] | None = None,
) -> list[Measurement]:
    """The measurements, each known deviation with `known:<id>` as the first word of its reason.

    What deviates as a whole is known too where it follows from the steps: where every equation but those of a known
    deviation conforms on its operands, the whole answer would conform without that deviation.
    """
    entries = known_deviations() if entries is None else entries

    def mark(m: Measurement) -> Measurement:
        entry = next((e for e in entries if m.verdict == "deviates" and e.covers(m, versions, device)), None)
        return m.because(f"known:{entry.id}") if entry else m

    answers: dict[tuple[str, ...], list[Measurement]] = defaultdict(list)
    found = [mark(m) for m in measurements]
    for m in found:
        answers[_answer(m)].append(m)
    causes = {key: _cause(rows) for key, rows in answers.items()}

    def follow(m: Measurement) -> Measurement:
        cause = causes[_answer(m)]
        follows = m.level == "whole" and m.verdict == "deviates" and not is_known(m) and cause is not None
        return m.because(f"{cause}; operands: it follows from the step level's") if follows else m

    return [follow(m) for m in found]


def _answer(m: Measurement) -> tuple[str, ...]:
    return m.case, m.adapter, m.route, m.dtype


def _cause(answer: Iterable[Measurement]) -> str | None:
    """`known:<id>` of the known deviation that is all that is wrong at the step level of one answer, or None.

    A trace that is not of the very evaluation that was judged as a whole (`traced`) explains nothing.
    """
    steps = [m for m in answer if m.level == "step"]
    wrong = [m for m in steps if m.verdict in ("deviates", "undecided", "crashed")]
    if not wrong or not all(map(is_known, wrong)) or any("traced" in (m.reason or "") for m in steps):
        return None
    return (wrong[0].reason or "").partition(";")[0]


def is_known(m: Measurement) -> bool:
    return m.verdict == "deviates" and (m.reason or "").startswith("known:")


@dataclass(frozen=True)
class Evidence:
    """What a set of measurements says of an entry: the cases it covers that were measured, and whether any deviates."""

    entry: str
    cases: frozenset[str]
    deviates: bool


def evidence(
    measurements: Iterable[Measurement],
    versions: Mapping[str, str],
    device: str,
    entries: tuple[KnownDeviation, ...] | None = None,
) -> list[Evidence]:
    """What the measurements say of each entry, for `stale` to judge; evidence of several processes can be joined."""
    measurements = list(measurements)
    found = []
    for entry in known_deviations() if entries is None else entries:
        # Whatever the value and the size: where it has become another, the entry may be stale.
        anywhere = replace(entry, value="*", most_share=math.inf)
        covered = [m for m in measurements if anywhere.covers(m, versions, device)]
        deviates = any(m.verdict == "deviates" and entry.covers(m, versions, device) for m in covered)
        found.append(Evidence(entry.id, frozenset(m.case for m in covered), deviates))
    return found


def stale(found: Iterable[Evidence], seed: int = 0, entries: tuple[KnownDeviation, ...] | None = None) -> list[str]:
    """The ids of the entries whose every case of the catalogue was measured and of which nothing deviates any more."""
    found = list(found)
    gone = []
    for entry in known_deviations() if entries is None else entries:
        of_entry = [e for e in found if e.entry == entry.id]
        measured = frozenset().union(*(e.cases for e in of_entry))
        expected = {c for c in catalogue(seed) if fnmatch.fnmatchcase(c, entry.case)}
        if measured and measured >= expected and not any(e.deviates for e in of_entry):
            gone.append(entry.id)
    return gone
