"""Known deviations that deviate no more: what a run must have asked before it may say so."""

from __future__ import annotations

import fnmatch
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from gradconform.adapters import registry
from gradconform.conformance.cases.catalogue import catalogue
from gradconform.conformance.known import KnownDeviation, known_deviations
from gradconform.reference.measurement import Measurement

#: A question that a run asked: case, adapter, route, dtype.
Asked = tuple[str, str, str, str]


@dataclass(frozen=True)
class Evidence:
    """What a set of measurements says of an entry.

    `asked` are the questions that the entry is about and that were answered, if only by saying that the route does not
    run them; `judged` says whether anything that the entry speaks of was judged, `deviates` whether any of it still
    deviates as the entry says.
    """

    entry: str
    asked: frozenset[Asked]
    judged: bool
    deviates: bool


def evidence(
    measurements: Iterable[Measurement],
    versions: Mapping[str, str],
    device: str,
    entries: tuple[KnownDeviation, ...] | None = None,
) -> list[Evidence]:
    """What the measurements say of each entry, for `stale` to judge; evidence of several processes can be joined."""
    # A run has some hundred thousand measurements and a few dozen of what entries ask of them.
    alike: dict[tuple[str, ...], list[Measurement]] = defaultdict(list)
    for m in measurements:
        alike[m.adapter, m.route, m.dtype].append(m)
    answers = [_Answers(rows) for rows in alike.values()]
    return [
        _evidence(entry, [a for a in answers if entry.asks(a.rows[0], versions, device)])
        for entry in (known_deviations() if entries is None else entries)
    ]


class _Answers:
    """What a route answered in a dtype: its rows, by operator, and the questions that they answer or leave open."""

    def __init__(self, rows: Sequence[Measurement]) -> None:
        self.rows = rows
        self.by_operator: dict[str | None, list[Measurement]] = defaultdict(list)
        for m in rows:
            self.by_operator[m.operator].append(m)
        self.answered = frozenset(map(_question, rows)) - {_question(m) for m in rows if m.verdict == "crashed"}

    def of(self, entry: KnownDeviation) -> Iterator[Measurement]:
        """The rows that an entry speaks of."""
        for operator, rows in self.by_operator.items():
            if entry.speaks_of_operator(operator):
                yield from (m for m in rows if entry.speaks_of(m.case, operator, m.quantity))


def _evidence(entry: KnownDeviation, answers: Sequence[_Answers]) -> Evidence:
    # Whatever the value, the form and the size: where they have become others, the entry may be stale.
    anywhere = replace(entry, value="*", form="*", formula="*", most_share=math.inf, most_ulp=math.inf)
    of_it = [m for a in answers for m in a.of(entry) if anywhere.measured(m)]
    undecided = {_question(m) for m in of_it if m.verdict == "undecided"}
    return Evidence(
        entry.id,
        frozenset().union(*(a.answered for a in answers)) - undecided,
        any(m.verdict not in ("crashed", "undecided", "unsupported") for m in of_it),
        any(m.verdict == "deviates" and entry.measured(m) for m in of_it),
    )


def _question(m: Measurement) -> Asked:
    return m.case, m.adapter, m.route, m.dtype


def stale(found: Iterable[Evidence], seed: int = 0, entries: tuple[KnownDeviation, ...] | None = None) -> list[str]:
    """The ids of the entries of which nothing deviates any more, although a run asked all that it could.

    That is every case of the catalogue that has the entry's operator and quantity, in every dtype of the entry, by
    every route of the entry that the adapter takes by default, and something of it was judged. An entry about cases
    that the catalogue does not have is never stale: which others there are is not known.
    """
    found = list(found)
    gone = []
    for entry in known_deviations() if entries is None else entries:
        of_entry = [e for e in found if e.entry == entry.id]
        if not any(e.judged for e in of_entry) or any(e.deviates for e in of_entry):
            continue  # and the catalogue is not gone through for it
        asked = frozenset().union(*(e.asked for e in of_entry))
        concerned = {
            id
            for id, case in catalogue(seed).items()
            if any(entry.speaks_of(id, e.operator, e.name) for e in case.equations.equations)
        }
        if concerned and _questions(entry, concerned, asked) <= asked:
            gone.append(entry.id)
    return gone


def _questions(entry: KnownDeviation, cases: Iterable[str], asked: Iterable[Asked]) -> set[Asked]:
    """What there is to ask of the adapters that were asked at all."""
    routes = {(adapter, route) for _, adapter, route, _ in asked}
    routes |= {(adapter, r) for adapter in {a for a, _ in routes} for r in _default_routes(adapter, entry.route)}
    return {(case, *route, dtype) for case in cases for route in routes for dtype in entry.dtype.split()}


def _default_routes(adapter: str, glob: str) -> list[str]:
    """The default routes that a glob names, of a built-in adapter; of another, only those that were asked are known."""
    if adapter not in registry.BUILT_IN:
        return []
    return [r.name for r in registry.load(adapter).routes if r.default and fnmatch.fnmatchcase(r.name, glob)]
