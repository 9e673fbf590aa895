"""What a record of many numbers does to each of them, as an expression: two that are the same are one function.

Only of records whose steps are scalar functions, each of whole results of others or of constants. What a recorder of a
framework names is what the table means by it, so that a program and a definition of the same expression are equal
without rounding, also where no arithmetic holds their values.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, reduce

import numpy as np

from gradconform.reference.arithmetic.formats import Format
from gradconform.reference.programs.array_exact import Columned
from gradconform.reference.programs.record import STOPPED, Form, Ids, Record, Step

#: A sum of more terms is no expression.
TERMS = 4
#: Functions whose operands may stand in either order.
_EITHER = frozenset({"add", "multiply"})


@dataclass(frozen=True)
class Expression:
    """A function of the table of other expressions; an argument, by its name alone; or a constant, without a name.

    A constant is known to `off` of itself. "taken" is the first of three where the difference of the others has a sign
    from `value` to `off`.
    """

    name: str
    operands: tuple[Expression, ...] = ()
    value: float = 0.0
    off: float = 0.0

    @cached_property
    def text(self) -> str:
        """As a formula; two that compute the same number in another order of operands have one text."""
        if not self.name:
            return f"{self.value!r}~{self.off}"
        if not self.operands:
            return self.name
        given = [o.text for o in self.operands]
        return f"{self.name}({', '.join(sorted(given) if self.name in _EITHER else given)})"


def expression(record: Record, result: Ids, arguments: Sequence[Ids], seeds: Sequence[Ids] = ()) -> str | None:
    """A result as a function of the arguments x0, x1 …, without rounding, where the `seeds` are one number each; None
    if it is none."""
    found = tree(record, result, arguments, seeds)
    return None if found is None else found.text


def tree(
    record: Record,
    result: Ids,
    arguments: Sequence[Ids],
    seeds: Sequence[Ids] = (),
    form: int | None = None,
    format: Format | None = None,
) -> Expression | None:
    """The same as an expression; or as it is computed in a format, every rounding of it, with kernels in the `form` of
    that number."""
    found = _Expressions(record, form, format)
    for n, ids in enumerate(arguments):
        found.note(ids, Expression(f"x{n}"))
    for ids in seeds:
        held = np.unique(record.held[ids])
        if held.size == 1:
            found.note(ids, Expression("", value=float(held[0])))
    found.follow(record.steps)
    return found.of(result)


class _Expressions:
    def __init__(self, record: Record, form: int | None, format: Format | None) -> None:
        self.record, self.form, self.format = record, form, format
        self.decisions = Columned(record.decisions)
        #: By the first of ids that follow one another, how many these are, and what they are.
        self.known: dict[int, tuple[int, Expression]] = {}
        #: First results of steps of which nothing is known.
        self.made: set[int] = set()

    def note(self, ids: Ids, found: Expression | None) -> None:
        if found is not None and _consecutive(ids):
            self.known[int(ids.flat[0])] = (ids.size, found)

    def of(self, ids: Ids) -> Expression | None:
        if not ids.size:
            return None
        first = int(ids.flat[0])
        if first in self.known:
            size, found = self.known[first]
            return found if size == ids.size and _consecutive(ids) else None
        if (ids != first).any() or first in self.made:
            return None
        return Expression("", (), float(self.record.held[first]), self.record.literals.get(first, 0.0))

    def follow(self, steps: Iterable[Step]) -> None:
        for step in steps:
            self.made.update(range(step.place, step.place + min(step.out.size, 1)))
            if step.kind != "fused" and self.format not in (None, step.format):
                continue
            if step.kind == "map":
                self.note(step.out, self._applied(step.function, [self.of(o) for o in step.operands]))
            elif step.kind == "sop" and len(step.operands) == 1 and self.form is None:
                self.note(step.out, self._sum(step))
            elif step.kind == "choose" and self.form is not None:
                self.note(step.out, self._taken(step))
            elif (computed := self._computed(step)) is not None:
                self.follow(computed.steps)
                self.note(step.out, self.of(computed.results))

    def _computed(self, step: Step) -> Form | None:
        """The steps of a kernel: of its definition, or of the form that is asked for."""
        if step.kind != "fused" or step.implicit:
            return None
        return step.definition if self.form is None else step.form(self.form)

    def _sum(self, step: Step) -> Expression | None:
        terms = [self.of(step.operands[0][..., k]) for k in range(min(step.operands[0].shape[-1], TERMS + 1))]
        found = [o for o in terms if o is not None]
        if not 0 < len(found) == len(terms) <= TERMS:
            return None
        return reduce(lambda a, b: Expression("add", (a, b)), found)

    def _taken(self, step: Step) -> Expression | None:
        """A choice that is the same for all of the numbers, as "taken"."""
        assert step.first is not None
        assert step.decided is not None
        d, numbers = self.decisions, step.decided
        if not (step.first.all() or (~step.first).all()) or not numbers.size:
            return None
        relation, left, right = d.relation[numbers], d.left[numbers], d.right[numbers]
        holds = d.holds(numbers, self.record.held[left] - self.record.held[right])
        if (relation != relation.flat[0]).any() or not relation.flat[0] or (holds != holds.flat[0]).any():
            return None
        of = [sign for sign in (-1, 0, 1) if d.holds(numbers.flat[:1], np.array([sign]))[0] == holds.flat[0]]
        signs = (of[0], of[-1]) if len(of) == of[-1] - of[0] + 1 else None  # none of what is not equal
        found = [self.of(o) for o in (step.operands[0 if step.first.all() else 1], left, right)]
        given = tuple(o for o in found if o is not None)
        return None if signs is None or len(given) < 3 else Expression("taken", given, *map(float, signs))

    def _applied(self, function: str, operands: Sequence[Expression | None]) -> Expression | None:
        given = tuple(o for o in operands if o is not None)
        if len(given) < len(operands):
            return None
        if self.form is None:
            if function in ("round", STOPPED):
                return given[0]
            ones = [o for o in given if not o.name and o.value == 1.0 and o.off == 0.0]
            if function == "multiply" and ones:
                return next((o for o in given if o not in ones), ones[0])
        return Expression(function, given)


def _consecutive(ids: Ids) -> bool:
    flat = ids.ravel()
    return bool((flat[1:] - flat[:-1] == 1).all())
