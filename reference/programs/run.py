"""What a recorder hands over: one run of a function and of its backward program, and what was returned."""

from __future__ import annotations

import math
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from gradconform.reference.arithmetic.formats import Format
from gradconform.reference.programs.record import Ids, Numbers, Record

#: What is judged: gradients for the outputs' adjoints, the outputs' tangents for the arguments', or the outputs.
Mode = Literal["reverse", "forward", "value"]


#: The name of the way through a backward pass that takes a batch of cotangents.
BATCHED = "batched backward"
#: The route that a run is recorded by, unless it says otherwise.
EAGER = "eager"
#: What is noted of a function that draws random numbers.
DRAWS = "it draws random numbers: the verdict is about those of this run, which every route and every rerun drew"


class NotRecorded(Exception):
    """An operation of a program that the record cannot follow: its name, where it stands and what to do."""


class Unsupported(Exception):
    """A derivative that the framework does not have, such as forward mode through an operation without it."""


@dataclass(frozen=True, eq=False)
class Tensor:
    """An argument that a gradient is asked for: its name, the ids of its numbers, and the format of the gradient.

    Where it is `complex` the last axis of the ids has the real and the imaginary part. In forward mode also an output,
    whose tangent is asked for.
    """

    name: str
    ids: Ids
    format: Format
    complex: bool = False


def numbered(outputs: Sequence[Ids], formats: Sequence[Format], complex: Sequence[bool]) -> tuple[Tensor, ...]:
    """A function's outputs, by number where there are several, as tensors whose tangents are asked for."""
    names = ["output"] if len(outputs) == 1 else [f"output {n}" for n in range(len(outputs))]
    return tuple(map(Tensor, names, outputs, formats, complex))


def weights(seed: int, shapes: Sequence[tuple[int, ...]]) -> list[Numbers]:
    """What the outputs are multiplied by, and added, where a gradient is to be differentiated once more: numbers of
    eight bits between ½ and 2, which every format holds."""
    drawn = np.random.default_rng([seed, 2])
    return [np.asarray(drawn.integers(64, 256, shape) / 128.0) for shape in shapes]


def called(f: Any) -> str:
    """A function's name; of the `apply` of a custom rule, the rule's."""
    of = getattr(f, "__self__", None)
    return of.__name__ if isinstance(of, type) else getattr(f, "__name__", type(f).__name__)


def instead_of_arrays(found: Any) -> str:
    """What a function returned that gave no array to differentiate, and what to do."""
    if found is None:
        return "None: has it a return?"
    name, of = type(found).__name__, getattr(found, "dtype", None)
    if isinstance(found, Coroutine):
        found.close()
        return "a coroutine: give a function that is not async"
    if isinstance(found, Iterator):
        return f"a {name}: give what it makes, as a list"
    if of is not None and type(found).__module__ != "numpy":
        return f"a {name} of {of}: give floating-point numbers"
    if isinstance(found, float | int | np.ndarray | np.generic):
        return f"a {name}, of which no derivative is known: give an array, without .item(), float() or numpy"
    return f"a {name} without one"


@dataclass(frozen=True, eq=False)
class Rule:
    """A custom derivative rule that the function called: its name, where it stands, and how to run it alone.

    `alone` records the rule on the operands that it had, as a function of its own.
    """

    name: str
    line: str
    alone: Callable[[], Run]


@dataclass(frozen=True, eq=False)
class Piece:
    """A part of a function between numbers on its way and the next ones that are made of these, and its backward part.

    `of` are the numbers in a row, ids of the function's record of which each is there once, and `gradient` what the
    backward pass had for them, ids of its record. `outputs` are what is made of them next, each with its gradient; what
    one operation gave stands together, since what reads another's depends on these numbers through that alone. `name`
    is what made the numbers, `by` what gave their gradient: operations, with their lines.
    """

    name: str
    of: Ids
    gradient: Ids
    format: Format
    outputs: tuple[tuple[tuple[Ids, Ids], ...], ...]
    by: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Replay:
    """The function and its backward program once more, elsewhere: what it was given and what it returned.

    `given` are the arguments' numbers, in the order of the run's arguments, `cotangents` those of its outputs; in
    forward mode these are the arguments' tangents, and `gradients` the outputs'. `solved` is what kernels that solve
    equations found there, in the order of the forward and of the backward record: the sign of an eigenvector is theirs
    to choose.
    """

    given: Sequence[Numbers]
    cotangents: Sequence[Numbers]
    outputs: Sequence[Numbers]
    gradients: Sequence[Numbers]
    solved: tuple[Sequence[Numbers], Sequence[Numbers]] = ((), ())
    #: How it was run, if not only on other numbers.
    how: str = ""


@dataclass(frozen=True, eq=False)
class Defined:
    """A function as a record: the ids of its arguments and of its outputs, in the order of a run's.

    A program may approximate it to so many `ulps`, as rational functions do what has no closed form.
    """

    record: Record
    arguments: tuple[Ids, ...]
    outputs: tuple[Ids, ...]
    ulps: float = 0.0

    def agreement(self, format: Format) -> float:
        """Leading bits to which a program agrees with it, and is right."""
        needed = format.precision + 3
        return needed if not self.ulps else min(needed, format.precision - 1 - math.log2(self.ulps))


@dataclass(frozen=True, eq=False)
class Run:
    """One run of a function f and of its backward program.

    `forward` is the record of f: `arguments` and `outputs` are ids of it. `backward` is the record that the gradients
    were computed in; it may go on from the forward one. `given` are the arguments' ids there, `cotangents` those of the
    outputs' adjoints, `results` those of the gradients, one array for each argument. `returned` are the gradients that
    each route gave, by its name.

    In forward mode `tangents` are the outputs, as tensors whose tangents are asked for. Then `backward` is the record
    in which they were computed, `cotangents` are the ids of the arguments' tangents, and `results` and `returned` the
    outputs' tangents.

    The truth is that of `forward`, or of `definition` where there is one: what the function stands for. Where it was
    asked `values` are the outputs that each route gave, and `named` these as tensors.

    The records are those of the program that `route` ran; what another one gave, of which no program is known, is held
    against them all the same. `beside` are the runs of other routes whose own programs were recorded.
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
    #: What the function approximates and has a derivative of, which is not that of the approximation; with its line.
    approximated: tuple[str, ...] = field(default=())
    #: Where all of that is what loops come near to: the run with so many times as many rounds of these, of which only
    #: the records are meant. `steered`: whether numbers decided anything in one of their rounds.
    further: Callable[[int], Run] | None = None
    steered: bool = False
    tangents: tuple[Tensor, ...] = ()
    #: What was returned, too, where the backward pass was run again in another way that must give the same: by the way.
    varied: Mapping[str, Sequence[Numbers]] = field(default_factory=dict)
    values: Mapping[str, Sequence[Numbers]] = field(default_factory=dict)
    named: tuple[Tensor, ...] = ()
    definition: Defined | None = None
    #: The name of the function whose derivative the gradient is to be, where that is another one.
    meant: str = ""
    #: Whether the cotangents, or in forward mode the tangents, are random numbers that nobody gave.
    drawn: bool = False
    #: Whether the outputs themselves are judged, as `valued` has it.
    of_values: bool = False
    route: str = EAGER
    beside: tuple[Run, ...] = ()
    #: The parts that the function and its backward pass are made of, where the framework shows them; and the numbers on
    #: the way, where parts end.
    pieces: tuple[Piece, ...] = ()
    between: Ids = field(default_factory=lambda: np.zeros(0, np.int64))

    def valued(self) -> Run:
        """The run of the function alone, of which the outputs themselves are judged."""
        return replace(
            self, backward=self.forward, given=tuple(a.ids for a in self.arguments), cotangents=(),
            results=self.outputs, returned=self.values, rules=(), replays=(), varied={}, tangents=self.named,
            of_values=True, pieces=(),
        )  # fmt: skip

    @property
    def defined(self) -> Defined:
        """What the truth is evaluated over."""
        return self.definition or Defined(self.forward, tuple(a.ids for a in self.arguments), self.outputs)

    @property
    def answers(self) -> Mapping[str, Sequence[Numbers]]:
        """All that was returned, by route or way."""
        return {**self.returned, **self.varied}

    @property
    def mode(self) -> Mode:
        return "value" if self.of_values else "forward" if self.tangents else "reverse"

    @property
    def judged(self) -> tuple[Tensor, ...]:
        """What results are asked for: the arguments, for their gradients, else the outputs."""
        return self.tangents or self.arguments
