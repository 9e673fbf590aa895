"""Equal numbers that a run put in an order: which of them came first was its own choice.

`sort` and `argmax` move data, and the record has them as this run did them. Another program may take equal numbers in
another order, and is as right: what the equal ones have together is then the same, and each may have another's slope.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property

import numpy as np

from gradconform.reference.programs.record import Ids, Numbers
from gradconform.reference.programs.run import Run

#: What is said where that may be so.
MAY = "equal numbers were put in an order, and another program may take them in another: give numbers that differ"
#: Components: the number of a gradient, and the component's place in it.
Places = tuple[tuple[int, int], ...]


class EqualOrder:
    """The equal numbers of a run that were put in an order."""

    def __init__(self, run: Run) -> None:
        self.run = run
        #: Whether the components of a group are alike, by the first of them.
        self._alike: dict[tuple[int, int], bool] = {}

    @cached_property
    def tied(self) -> Ids:
        """Their ids."""
        records = (self.run.forward, self.run.backward)
        found = [_equal(np.unique(ids), r.held) for r in records for ids in r.ordered]
        return np.unique(np.concatenate(found)) if found else np.zeros(0, np.int64)

    @cached_property
    def groups(self) -> dict[tuple[int, int], Places]:
        """By each component of a gradient whose argument was equal to others, all components of these."""
        by_number: dict[float, list[tuple[int, int]]] = {}
        for place, i in self._arguments():
            if i in self._known:
                by_number.setdefault(float(self.run.forward.held[i]), []).append(place)
        return {place: tuple(places) for places in by_number.values() if len(places) > 1 for place in places}

    @cached_property
    def _known(self) -> set[int]:
        return set(self.tied.tolist())

    @cached_property
    def own(self) -> bool:
        """Whether all of them are arguments, as where there are none. What equal arguments have together is known, of
        other numbers nothing is."""
        return self._known <= {i for _, i in self._arguments()}

    def _arguments(self) -> Iterator[tuple[tuple[int, int], int]]:
        for number, argument in enumerate(self.run.arguments):
            for component, i in enumerate(argument.ids.ravel().tolist()):
                yield (number, component), i

    def excuses(self, number: int, component: int, alike: Callable[[Places], bool]) -> bool:
        """Whether a component may be another's only because equal numbers were taken in another order.

        `alike` says whether what some components have together is the same in the truth and in the program. Where
        numbers that were computed are equal nothing is known of whose slopes they exchange.
        """
        if not self.tied.size:
            return False
        if self.run.mode != "reverse" or not self.own:
            return True
        group = self.groups.get((number, component))
        if group is None:
            return False
        if group[0] not in self._alike:
            self._alike[group[0]] = alike(group)
        return self._alike[group[0]]


def _equal(ids: Ids, held: Numbers) -> Ids:
    """Those of distinct ids whose numbers are equal to another's."""
    numbers = held[ids]
    order = np.argsort(numbers, kind="stable")
    same = numbers[order][1:] == numbers[order][:-1]
    found: Ids = ids[order][np.r_[False, same] | np.r_[same, False]]
    return found
