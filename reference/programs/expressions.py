"""What a record of many numbers does to each of them, as text: two that are the same text are the same function.

Only of records whose steps are scalar functions, each of whole results of others or of constants. What a recorder of a
framework names is what the table means by it, so that a program and a definition of the same text are equal without
rounding, also where no arithmetic holds their values.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from gradconform.reference.programs.record import STOPPED, Ids, Record, Step

#: Functions whose operands may stand in either order.
_EITHER = frozenset({"add", "multiply"})


def expression(record: Record, result: Ids, arguments: Sequence[Ids], seeds: Sequence[Ids] = ()) -> str | None:
    """A result as a function of the arguments x0, x1 …, where the `seeds` are one number each; None if it is none."""
    texts = _Texts(record)
    for n, ids in enumerate(arguments):
        texts.note(ids, f"x{n}")
    for ids in seeds:
        held = np.unique(record.held[ids])
        if held.size == 1:
            texts.note(ids, repr(float(held[0])))
    texts.follow(record.steps)
    return texts.of(result)


class _Texts:
    def __init__(self, record: Record) -> None:
        self.record = record
        #: By the first of ids that follow one another, how many these are, and what they are.
        self.known: dict[int, tuple[int, str]] = {}
        #: First results of steps of which nothing is known.
        self.made: set[int] = set()

    def note(self, ids: Ids, text: str | None) -> None:
        if text is not None and _consecutive(ids):
            self.known[int(ids.flat[0])] = (ids.size, text)

    def of(self, ids: Ids) -> str | None:
        if not ids.size:
            return None
        first = int(ids.flat[0])
        if first in self.known:
            size, text = self.known[first]
            return text if size == ids.size and _consecutive(ids) else None
        if (ids != first).any() or first in self.made:
            return None
        return f"{float(self.record.held[first])!r}~{self.record.literals.get(first, 0.0)}"

    def follow(self, steps: Iterable[Step]) -> None:
        for step in steps:
            self.made.update(range(step.place, step.place + min(step.out.size, 1)))
            if step.kind == "map":
                self.note(step.out, _applied(step.function, [self.of(o) for o in step.operands]))
            elif step.kind == "fused" and step.definition is not None and not step.implicit:
                self.follow(step.definition.steps)
                self.note(step.out, self.of(step.definition.results))


def _applied(function: str, operands: Sequence[str | None]) -> str | None:
    given = [o for o in operands if o is not None]
    if len(given) < len(operands):
        return None
    if function in ("round", STOPPED):
        return given[0]
    ones = [o for o in given if o in ("1.0", "1.0~0.0")]
    if function == "multiply" and ones:
        return next((o for o in given if o not in ones), ones[0])
    return f"{function}({', '.join(sorted(given) if function in _EITHER else given)})"


def _consecutive(ids: Ids) -> bool:
    flat = ids.ravel()
    return bool((flat[1:] - flat[:-1] == 1).all())
