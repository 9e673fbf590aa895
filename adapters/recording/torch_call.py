"""One operation that was dispatched, as the rules see it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch._ops import OpOverload

from gradconform.adapters.recording.torch_memory import format_of, numbers, rounded
from gradconform.reference.arithmetic.formats import Format
from gradconform.reference.programs.record import ONE, ZERO, Ids, Numbers, Record

if TYPE_CHECKING:
    from gradconform.adapters.recording.torch_mode import Recorder

Program = Callable[..., Any]


@dataclass
class Call:
    """One operation that was dispatched: its arguments by their names, and what they were before it ran."""

    recorder: Recorder
    name: str
    given: dict[str, Any]
    before: dict[int, Ids]
    values: dict[int, Tensor]
    outs: list[Tensor] = field(default_factory=list)

    def __getitem__(self, argument: str) -> Any:
        return self.given.get(argument)

    @property
    def record(self) -> Record:
        return self.recorder.record

    @property
    def format(self) -> Format:
        """The format of the first result."""
        return format_of(self.outs[0])

    @property
    def held(self) -> Numbers:
        """What the framework computed as its first result; of complex numbers both parts."""
        return numbers(self.outs[0])

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.outs[0].shape)

    def value(self, x: Tensor) -> Tensor:
        """A tensor as it was before the operation ran."""
        return self.values[id(x)]

    def ids(self, x: Any) -> Ids:
        """The numbers of an operand: a tensor of any dtype, or a number of the program's text."""
        if isinstance(x, Tensor):
            if rounded(x):
                return self.before[id(x)]  # of complex numbers both parts
            decided = self.before[id(x)]
            if x.dtype == torch.bool and decided.any():
                return self.record.choose(
                    self.value(x).cpu().numpy(), decided, np.asarray(ONE), np.asarray(ZERO), self.format
                )
            return self.record.constants(numbers(self.value(x)))
        return np.asarray(self.recorder.literal(x))

    def operand(self, argument: str) -> Ids:
        return self.ids(self.given[argument])

    def decisions(self, x: Any) -> Ids:
        """The decisions that a tensor of conditions holds; 0 where no number decided."""
        return self.before[id(x)] if isinstance(x, Tensor) and not rounded(x) else np.zeros((), np.int64)


def pair(c: Call, x: Any) -> Ids:
    """Both parts of an operand of a complex operation: a tensor of any dtype, or a number of the program's text."""
    if isinstance(x, Tensor):
        ids = c.ids(x)
        return ids if x.is_complex() else np.stack([ids, np.full(ids.shape, ZERO)], -1)
    x = complex(x)
    return np.array([c.recorder.literal(part) if part else ZERO for part in (x.real, x.imag)])


#: What a rule gives: the ids of each result, None where a result is no number.
Results = Ids | Sequence[Ids | None] | None
Rule = Callable[[Call], Results]
#: What a kernel writes to operands: the names of these, the definition, and further forms.
Written = tuple[tuple[str, ...], Program, Sequence[tuple[str, Program]]]


@dataclass(frozen=True)
class ByTable:
    """A definition by rows of the table of functions: `results` gives the ids of the results, of a record, the format,
    and the ids of the `operands` of these names.

    It is for what is smooth, and has corners in each program by operations of PyTorch.
    """

    operands: tuple[str, ...]
    results: Callable[..., Sequence[Ids]]


@dataclass(frozen=True)
class Rules:
    """What is known of operations, by their names in ATen."""

    arithmetic: Mapping[str, Rule]
    moves: frozenset[str]
    creations: frozenset[str]
    data: frozenset[str]
    definitions: Mapping[str, Program | ByTable]
    forms: Mapping[str, Sequence[tuple[str, Program, Format]]]
    approximated: frozenset[str]
    #: Of operations that complex numbers go into or come out of.
    complex: Mapping[str, Rule]
    #: Of the data those that give the places of numbers by their order.
    places: frozenset[str] = frozenset()
    #: Operations that write numbers where a condition says, beside those that move them.
    masked: frozenset[str] = frozenset()
    #: Of kernels that write to operands beside what they return.
    written: Mapping[str, Written] = field(default_factory=dict)


def name_of(func: OpOverload) -> str:
    name: str = func.overloadpacket.__name__
    if func.namespace == "prims":
        return {"convert_element_type": "_to_copy", "concatenate": "cat"}.get(name, name)
    return name


#: Names that end in "_" and are operations of their own.
_NOT_IN_PLACE = frozenset("bernoulli_ normal_ uniform_ random_ exponential_ cauchy_ log_normal_ geometric_".split())


def base_of(name: str) -> str:
    """The name without the mark of writing in place."""
    if name.endswith("__") or name in _NOT_IN_PLACE or not name.endswith("_"):
        return name
    return name[:-1]


@cache
def is_view(func: OpOverload) -> bool:
    """Whether an operation's result shares memory with its operand."""
    schema = func._schema
    writes = any(a.alias_info is not None and a.alias_info.is_write for a in schema.arguments)
    return not writes and any(r.alias_info is not None for r in schema.returns)


#: What ATen calls the arguments that sums have in `prims`.
_IN_PRIMS = {"inp": "self", "dims": "dim", "output_dtype": "dtype"}


def bound(func: OpOverload, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments by name, with their defaults."""
    found = {}
    for position, argument in enumerate(func._schema.arguments):
        name = _IN_PRIMS.get(argument.name, argument.name) if func.namespace == "prims" else argument.name
        if position < len(args):
            found[name] = args[position]
        elif argument.name in kwargs:
            found[name] = kwargs[argument.name]
        elif argument.has_default_value():
            found[name] = argument.default_value
    return found
