"""The values of a program that is being recorded: what JAX holds, the ids of its numbers, and what they came by."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend import source_info_util

from gradconform.reference.formats import FLOAT64, FORMATS, Format
from gradconform.reference.programs.record import Ids, Record
from gradconform.reference.programs.run import NotRecorded


@dataclass(frozen=True, eq=False)
class Value:
    """A value of the program: what JAX holds, the ids of its numbers, and the decisions it came by if it is discrete.

    `depends` says whether it depends on the program's arguments.
    """

    held: Any
    ids: Ids | None = None
    decided: Ids | None = None
    depends: bool = False


@dataclass(frozen=True, eq=False)
class Call:
    """A call of a function with a derivative rule of its own, on the operands that it had."""

    equation: Any
    name: str
    line: str
    operands: tuple[Any, ...]


@dataclass
class Recorder:
    """What is being recorded. `texts` are literals as they were seen in float64, by dtype and rounded number."""

    record: Record = field(default_factory=Record)
    texts: Mapping[tuple[str, float], float] = field(default_factory=dict)
    intended: bool = False
    calls: list[Call] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    # Values -----------------------------------------------------------------------------------------------------------

    def constant(self, x: Any, literal: bool = False) -> Value:
        """A constant of the program: data, or a literal of its text."""
        format = format_of(x)
        x = plain(x)
        if format is None:
            return Value(x)
        if not literal:
            return Value(x, self.record.constants(x.astype(np.float64)))
        seen, format_seen = self.seen(float(x), format)
        return Value(x, np.array(self.record.number(seen, format_seen), dtype=np.int64))

    def seen(self, x: float, format: Format) -> tuple[float, Format | None]:
        """A literal as the program's text has it, and the format in which that was seen; None if it is meant exactly.

        A Python float becomes a literal of the operation's dtype. The same program traced in float64 shows it there;
        where it does not, an ulp of float32 is the most that is allowed for, since one of 16 bits would hide a fault.
        """
        if format is FLOAT64:
            return x, FLOAT64
        text = self.texts.get((format.name, x))
        if text is not None:
            return text, FLOAT64
        return x, format if format.precision >= 24 else None

    def argument(self, x: Any) -> Value:
        """An argument of the program: numbers of their own."""
        x, format = plain(x), format_of(x)
        if format is None:
            return Value(x)
        return Value(x, self.record.new(x.shape, x.astype(np.float64)), depends=True)

    def note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)


@dataclass(frozen=True, eq=False)
class Operation:
    """One operation with real results: its operands, what JAX gave, and the format of the first real result."""

    to: Recorder
    equation: Any
    operands: Sequence[Value]
    held: Sequence[Any]
    format: Format

    @property
    def record(self) -> Record:
        return self.to.record

    @property
    def parameters(self) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self.equation.params
        return found

    @property
    def got(self) -> Any:
        return np.asarray(self.held[0]).astype(np.float64)

    def ids(self, number: int) -> Ids:
        """The ids of an operand; of integers, which are exact, those of constants."""
        operand = self.operands[number]
        if operand.ids is None:
            return self.record.constants(np.asarray(operand.held).astype(np.float64))
        return operand.ids


# Reading JAX ----------------------------------------------------------------------------------------------------------


def line_of(equation: Any) -> str:
    """Where in the user's program an equation stands, as "file:line (function)"; empty where JAX does not say."""
    text = source_info_util.summarize(equation.source_info)
    return "" if text == "unknown" else re.sub(r":(\d+):\d+ \(", r":\1 (", text)


def is_key(x: Any) -> bool:
    """Whether it is an array of random keys, or a token: nothing that NumPy holds."""
    return not hasattr(x, "dtype") or bool(jnp.issubdtype(x.dtype, jax.dtypes.extended))


def plain(x: Any) -> Any:
    """A value as a NumPy array, except random keys."""
    if not hasattr(x, "dtype"):
        return np.asarray(x)
    return x if is_key(x) else np.asarray(x)


def format_of(x: Any) -> Format | None:
    """The format of an array's real numbers; None if it is discrete."""
    dtype = x.dtype if hasattr(x, "dtype") else np.asarray(x).dtype
    if jnp.issubdtype(dtype, jax.dtypes.extended):
        return None
    if jnp.issubdtype(dtype, jnp.complexfloating):
        raise NotRecorded("complex numbers: the record holds real ones; split the function in real and imaginary parts")
    if not jnp.issubdtype(dtype, jnp.floating):
        return None
    if str(dtype) not in FORMATS:
        raise NotRecorded(f"{dtype}: a format that is not known here; expected one of {', '.join(FORMATS)}")
    return FORMATS[str(dtype)]


#: What a rule finds: the ids of each result, None for a discrete one.
Found = Sequence[Ids | None]
Rule = Callable[[Operation], Found]
