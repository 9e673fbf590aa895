"""What an adapter says of an optimizer: each tensor in each update, before it and after."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from gradconform.reference.cases import BadInput
from gradconform.reference.programs.record import Ids, Record

Numbers = NDArray[np.float64]
#: The route of an optimizer that has but one way to run, its own.
OWN = "own"
#: An optimizer's names for its state where they are the framework's.
NO_NAMES: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True)
class Asked:
    """The rule that an optimizer says it is: its name, its options, its settings, and how its state is called there.

    `state` gives for each part of the rule's state the framework's name for it. `start` is what a part is before the
    first update, where the framework does not show it and it is not 0. `clip` is what is done to the gradient before:
    clipping by "value" or by "norm".
    """

    rule: str
    options: Mapping[str, bool | str | int] = field(default_factory=dict)
    settings: Mapping[str, float] = field(default_factory=dict)
    state: Mapping[str, str] = field(default_factory=dict)
    start: Mapping[str, float] = field(default_factory=dict)
    clip: str = ""


def renamed(asked: Asked, named: Mapping[str, str]) -> Asked:
    """The rule by an optimizer's own names for its state, given for those that the framework has."""
    for theirs in named:
        if theirs not in asked.state.values():
            kept = ", ".join(asked.state.values()) or "no state"
            raise BadInput(f"state names {theirs!r}; the rule {asked.rule} keeps {kept}")
    return replace(asked, state={part: named.get(theirs, theirs) for part, theirs in asked.state.items()})


def none_named(named: Mapping[str, str], what: str) -> None:
    """Raise BadInput where names are given for the state of what has a state of its own."""
    if named:
        raise BadInput(f"state names {', '.join(named)}; the state of {what} has its names already: leave it out")


@dataclass(frozen=True, eq=False)
class Recorded:
    """A step of an optimizer as it ran, for one tensor: where in the record its weight and state are, new and old.

    `notes` say what left the record.
    """

    record: Record
    given: Mapping[str, Ids]
    results: Mapping[str, Ids]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Change:
    """One tensor in one update: the gradient that was injected, weight and state before and after.

    `before` and `after` have the weight under "w" and the parts of the state under the framework's own names; `dtypes`
    are those of all of them and of the gradient. `number` counts updates from 1, and is the rule's t where `asked` does
    not set that. `asked` is None for an optimizer that is not known; `again` records the step once more. `route` is the
    way in which the optimizer ran, such as "fused", and `theirs` says whether it is the framework's own, of which
    deviations may be known. `beside` is what else the rule reads, by the rule's own names, such as the gradients of
    other tensors; `dtypes` has those, too.
    """

    tensor: str
    number: int
    gradient: Numbers
    before: Mapping[str, Numbers]
    after: Mapping[str, Numbers]
    dtypes: Mapping[str, str]
    asked: Asked | None
    again: Callable[[], Recorded] | None = None
    notes: tuple[str, ...] = ()
    route: str = OWN
    theirs: bool = False
    beside: Mapping[str, Numbers] = field(default_factory=dict)
