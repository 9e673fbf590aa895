"""The values of a program that is being recorded: what JAX holds, the ids of its numbers, and what they came by."""

from __future__ import annotations

import math
import re
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend import source_info_util

from gradconform.adapters.recording.complexes import complex_of, joined, parts_of
from gradconform.reference.arithmetic.formats import FLOAT64, FORMATS, Format
from gradconform.reference.cases import BadInput
from gradconform.reference.programs.record import ZERO, Ids, Numbers, Record, Relation, Step
from gradconform.reference.programs.run import NotRecorded

#: Irrational constants of JAX's derivative rules, which are not in the functions: of erf, its inverse, exp2 and cbrt.
OF_RULES = (2 / math.sqrt(math.pi), -2 / math.sqrt(math.pi), math.sqrt(math.pi) / 2, math.log(2), 1 / 3)


#: Complex dtypes, with that of their parts.
PARTS: Mapping[str, str] = {"complex128": "float64", "complex64": "float32"}


@dataclass(frozen=True, eq=False)
class Value:
    """A value of the program: what JAX holds, the ids of its numbers, and the decisions it came by if it is discrete.

    The ids of complex numbers have one axis more, of the real and the imaginary part.

    `depends` says whether it depends on the program's arguments, `drawn` whether it is random: data of this run.
    """

    held: Any
    ids: Ids | None = None
    decided: Ids | None = None
    depends: bool = False
    drawn: bool = False


@dataclass(frozen=True, eq=False)
class Call:
    """A call of a function with a derivative rule of its own, on the operands that it had.

    `wide` is its equation in the same program in float64, where that is one.
    """

    equation: Any
    name: str
    line: str
    operands: tuple[Any, ...]
    wide: Any = None


@dataclass(frozen=True)
class Texts:
    """Literals in float64, by the format and the number that they are in the program, and by where they stand in it.

    Two texts may be one number in a narrow format, as 1.999 and 2 are in bfloat16: only their places tell them apart.
    """

    by_number: Mapping[tuple[str, float], float] = field(default_factory=dict)
    by_place: Mapping[int, float] = field(default_factory=dict)
    #: Equations, by identity, with what they are in float64.
    equations: Mapping[int, Any] = field(default_factory=dict)
    #: The jaxpr whose parts the identities are of: these are theirs as long as it is held.
    program: Any = None

    def get(self, format: str, x: float, literal: Any) -> float | None:
        text = self.by_place.get(id(literal))
        return self.by_number.get((format, x)) if text is None else text


@dataclass
class Recorder:
    """What is being recorded. `texts` are literals as they were seen in float64.

    What the program stops is `intended` to be constant; of a program that no derivative is taken of, as a backward pass
    is, there is nothing to be said of it.
    """

    record: Record = field(default_factory=Record)
    texts: Texts = field(default_factory=Texts)
    intended: bool = False
    differentiated: bool = True
    calls: list[Call] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)
    approximated: list[str] = field(default_factory=list)
    #: How many times as many rounds a loop takes whose end numbers decided; how many such loops there were, of whose
    #: derivatives rules speak in `iterated`, and whether numbers decided anything in a round of one.
    times: int = 1
    loops: int = 0
    iterated: list[str] = field(default_factory=list)
    steered: bool = False
    notes: list[str] = field(default_factory=list)
    #: The first number of each step, as far as they were asked for.
    begins: list[int] = field(default_factory=list)
    #: Decisions that no step holds: by them numbers have their places, and the program its way.
    settled: list[Ids] = field(default_factory=list)

    # Values -----------------------------------------------------------------------------------------------------------

    def constant(self, x: Any) -> Value:
        """A constant of the program: data."""
        format, x = format_of(x), plain(x)
        return Value(x) if format is None else Value(x, self.record.constants(numbers(x)))

    def literal(self, variable: Any) -> Value:
        """A number of the program's text, which the program holds in the variable's dtype."""
        x, dtype = variable.val, variable.aval.dtype
        held = np.asarray(x).astype(dtype)
        format = format_of(held)
        if format is None:
            return Value(held)
        if is_complex(held):
            parts = [self._number(part, PARTS[str(held.dtype)], None) for part in (np.real(x), np.imag(x))]
            return Value(held, np.stack(parts))
        return Value(held, self._number(x, dtype, variable))

    def _number(self, x: Any, dtype: Any, literal: Any) -> Ids:
        held = np.asarray(x).astype(dtype)
        format, rounded = format_of(held), float(held)
        assert format is not None
        # JAX keeps some as the Python floats that they were.
        kept = float(x) != rounded and math.isfinite(rounded)
        seen = (float(x), FLOAT64) if kept else self.seen(rounded, format, literal)
        return np.array(self.record.number(*seen), dtype=np.int64)

    def seen(self, x: float, format: Format, literal: Any) -> tuple[float, Format | None]:
        """A literal as the program's text has it, and the format in which that was seen; None if it is meant exactly.

        A Python float becomes a literal of the operation's dtype. The same program traced in float64 shows it there;
        where it does not, as after a cast to 16 bits, an ulp of float32 is the most that is allowed for, since one of
        16 bits would hide a fault; the constants that JAX's own rules have are known.
        """
        if format is FLOAT64:
            return x, FLOAT64
        text = self.texts.get(format.name, x, literal)
        if text is not None:
            return text, FLOAT64
        if format.precision >= 24:
            return x, format
        return next(((c, FLOAT64) for c in OF_RULES if float(format.round(c)) == x), (x, None))

    def argument(self, x: Any) -> Value:
        """An argument of the program: numbers of their own."""
        x, format = plain(x), format_of(x)
        if format is None:
            return Value(x)
        return Value(x, self.record.new(shape_of(x), numbers(x)), depends=True)

    def computed(self, ids: Ids) -> bool:
        """Whether a step made any of these numbers; of others it is known what they are without rounding."""
        return any(self._step_of(i) is not None for i in np.unique(ids).tolist())

    def maker(self, ids: Ids) -> Step | None:
        """The step whose results just these numbers are."""
        step = self._step_of(int(ids.flat[0])) if ids.size else None
        return step if step is not None and np.array_equal(step.out, ids) else None

    def _step_of(self, number: int) -> Step | None:
        """The step that made a number. Each has the next ones, in a row."""
        steps = self.record.steps
        for i in range(len(self.begins), len(steps)):
            end = self.begins[i - 1] + steps[i - 1].out.size if i else 0
            self.begins.append(int(steps[i].out.flat[0]) if steps[i].out.size else end)
        at = bisect_right(self.begins, number) - 1
        return steps[at] if at >= 0 and number < self.begins[at] + steps[at].out.size else None

    def settle(self, decided: Ids | None, shown: bool = False) -> None:
        """Decisions that were taken for good: elsewhere they may come out otherwise, and the record is of these.

        Of some a step shows both sides.
        """
        if decided is not None and decided.any():
            self.settled.append(decided)
            if not shown:
                self.record.settle(decided)

    def compared(self, relation: Relation, a: Ids, b: Ids) -> None:
        """Comparisons that held, and that settled something."""
        self.settle(self.record.decide(relation, a, b), shown=True)

    def here(self, text: str) -> str:
        """A text with the line of the program where that is known."""
        return f"{self.record.line}: {text}" if self.record.line else text

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
        return numbers(self.held[0])

    def ids(self, number: int) -> Ids:
        """The ids of an operand; of integers, which are exact, those of constants."""
        operand = self.operands[number]
        if operand.ids is None:
            return self.record.constants(np.asarray(operand.held).astype(np.float64))
        return operand.ids

    def pair(self, number: int) -> Ids:
        """Both parts of an operand of a complex operation; a real one has no imaginary part."""
        ids = self.ids(number)
        return ids if is_complex(self.operands[number].held) else joined(ids, np.full(ids.shape, ZERO))


# Reading JAX ----------------------------------------------------------------------------------------------------------


def line_of(equation: Any) -> str:
    """Where in the user's program an equation stands, as "file:line (function)"; empty where JAX does not say."""
    text = source_info_util.summarize(equation.source_info)
    ours = "gradconform/adapters/" in text.replace("\\", "/")  # the function itself is the operation
    return "" if text == "unknown" or ours else re.sub(r":(\d+):\d+ \(", r":\1 (", text)


def is_key(x: Any) -> bool:
    """Whether it is an array of random keys, or a token: nothing that NumPy holds."""
    return not hasattr(x, "dtype") or bool(jnp.issubdtype(x.dtype, jax.dtypes.extended))


def plain(x: Any) -> Any:
    """A value as a NumPy array, except random keys."""
    if not hasattr(x, "dtype"):
        return np.asarray(x)
    return x if is_key(x) else np.asarray(x)


def is_complex(x: Any) -> bool:
    """Whether it is an array of complex numbers."""
    return str(getattr(x, "dtype", None)) in PARTS


def shape_of(x: Any) -> tuple[int, ...]:
    """The shape of an array's ids: complex numbers have one axis more, of two parts."""
    return (*np.shape(x), 2) if is_complex(x) else tuple(np.shape(x))


def numbers(x: Any) -> Numbers:
    """What an array holds, in float64; of complex numbers both parts, along a last axis."""
    x = np.asarray(x)
    with np.errstate(invalid="ignore"):  # a signalling NaN becomes a quiet one
        return parts_of(x) if is_complex(x) else x.astype(np.float64)


def array_of(values: Numbers, like: Any) -> Any:
    """These numbers as an array of the dtype of another one; of complex numbers, both parts along a last axis."""
    return jnp.asarray(complex_of(values) if is_complex(like) else values, dtype=like.dtype)


def in_dtype(x: Any, dtype: str) -> Any:
    """An array of numbers in another dtype; of complex ones, with parts of that."""
    if not is_complex(x):
        return x.astype(dtype)
    found = {part: name for name, part in PARTS.items()}.get(dtype)
    if found is None:
        raise BadInput(
            f"complex numbers in {dtype}: expected float64 or float32, of which complex128 and complex64 are"
        )
    return x.astype(found)


def format_of(x: Any) -> Format | None:
    """The format of an array's numbers, of complex ones that of their parts; None if it is discrete."""
    dtype = x.dtype if hasattr(x, "dtype") else np.asarray(x).dtype
    if jnp.issubdtype(dtype, jax.dtypes.extended):
        return None
    dtype = PARTS.get(str(dtype), dtype)
    if not jnp.issubdtype(dtype, jnp.floating):
        return None
    if str(dtype) not in FORMATS:
        raise NotRecorded(f"{dtype}: a format that is not known here; expected one of {', '.join(FORMATS)}")
    return FORMATS[str(dtype)]


#: What a rule finds: the ids of each result, None for a discrete one.
Found = Sequence[Ids | None]
Parameters = Mapping[str, Any]
Rule = Callable[[Operation], Found]
