"""What a recorder hands over: one run of a function and of its backward program, and what was returned."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from gradconform.reference.formats import Format
from gradconform.reference.programs.record import Ids, Numbers, Record


class NotRecorded(Exception):
    """An operation of a program that the record cannot follow: its name, where it stands and what to do."""


@dataclass(frozen=True, eq=False)
class Tensor:
    """An argument that a gradient is asked for: its name, the ids of its numbers, and the format of the gradient.

    Where it is `complex` the last axis of the ids has the real and the imaginary part.
    """

    name: str
    ids: Ids
    format: Format
    complex: bool = False


@dataclass(frozen=True, eq=False)
class Rule:
    """A custom derivative rule that the function called: its name, where it stands, and how to run it alone.

    `alone` records the rule on the operands that it had, as a function of its own.
    """

    name: str
    line: str
    alone: Callable[[], Run]


@dataclass(frozen=True, eq=False)
class Replay:
    """The function and its backward program once more, elsewhere: what it was given and what it returned.

    `given` are the arguments' numbers, in the order of the run's arguments, `cotangents` those of its outputs.
    `solved` is what kernels that solve equations found there, in the order of the forward and of the backward record:
    the sign of an eigenvector is theirs to choose.
    """

    given: Sequence[Numbers]
    cotangents: Sequence[Numbers]
    outputs: Sequence[Numbers]
    gradients: Sequence[Numbers]
    solved: tuple[Sequence[Numbers], Sequence[Numbers]] = ((), ())


@dataclass(frozen=True, eq=False)
class Run:
    """One run of a function f and of its backward program.

    `forward` is the record of f: `arguments` and `outputs` are ids of it. `backward` is the record that the gradients
    were computed in; it may go on from the forward one. `given` are the arguments' ids there, `cotangents` those of the
    outputs' adjoints, `results` those of the gradients, one array for each argument. `returned` are the gradients that
    each route gave, by its name.
    """

    name: str
    forward: Record
    arguments: tuple[Tensor, ...]
    outputs: tuple[Ids, ...]
    backward: Record
    given: tuple[Ids, ...]
    cotangents: tuple[Ids, ...]
    results: tuple[Ids, ...]
    returned: Mapping[str, Sequence[Numbers]]
    rules: tuple[Rule, ...] = ()
    replays: Sequence[Replay] = ()
    notes: tuple[str, ...] = ()
    #: Values that left the record or came from outside of it, each with its line.
    foreign: tuple[str, ...] = field(default=())
