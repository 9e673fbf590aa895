"""A jaxpr run operation by operation on concrete numbers, and recorded: calls are entered, loops run as they run."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend import source_info_util

from gradconform.adapters.jax_movement import bind
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
    """Runs jaxprs into a record. `texts` are literals as they were seen in float64, by dtype and rounded number."""

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

    # Programs ---------------------------------------------------------------------------------------------------------

    def run(self, jaxpr: Any, constants: Sequence[Any], operands: Sequence[Value]) -> list[Value]:
        """The results of a jaxpr on these operands."""
        held: dict[Any, Value] = {}

        def read(variable: Any) -> Value:
            if hasattr(variable, "val"):
                return self.constant(variable.val, literal=np.ndim(variable.val) == 0)
            return held[variable]

        for variable, constant in zip(jaxpr.constvars, constants, strict=True):
            held[variable] = self.constant(constant)
        held.update(zip(jaxpr.invars, operands, strict=True))
        for equation in jaxpr.eqns:
            outer = self.record.line
            self.record.line = line_of(equation) or outer
            try:
                results = self.equation(equation, [read(v) for v in equation.invars])
            finally:
                self.record.line = outer
            held.update(zip(equation.outvars, results, strict=True))
        return [read(v) for v in jaxpr.outvars]

    def closed(self, jaxpr: Any, operands: Sequence[Value]) -> list[Value]:
        """The same of a closed jaxpr, or of one without constants."""
        if hasattr(jaxpr, "consts"):
            return self.run(jaxpr.jaxpr, jaxpr.consts, operands)
        return self.run(jaxpr, [], operands)

    def equation(self, equation: Any, operands: Sequence[Value]) -> Sequence[Value]:
        from gradconform.adapters.jax_operations import operation  # the operations know the recorder

        control = CONTROL.get(equation.primitive.name)
        return operation(self, equation, operands) if control is None else control(self, equation, operands)


# Calls and loops ------------------------------------------------------------------------------------------------------


def _call(to: Recorder, equation: Any, operands: Sequence[Value]) -> list[Value]:
    p = equation.params
    inner = next(p[name] for name in ("jaxpr", "call_jaxpr", "fun_jaxpr") if name in p)
    return to.closed(inner, operands)


def _custom(to: Recorder, equation: Any, operands: Sequence[Value]) -> list[Value]:
    if not any(call.equation is equation for call in to.calls):
        info = getattr(equation.params.get("call_jaxpr"), "jaxpr", None)
        name = getattr(getattr(info, "debug_info", None), "func_name", "") or equation.primitive.name
        held = tuple(o.held for o in operands)
        to.calls.append(Call(equation, name.split(" at ")[0], to.record.line, held))
    return _call(to, equation, operands)


def _cond(to: Recorder, equation: Any, operands: Sequence[Value]) -> list[Value]:
    branches = equation.params["branches"]
    return to.closed(branches[min(max(int(operands[0].held), 0), len(branches) - 1)], operands[1:])


def _while(to: Recorder, equation: Any, operands: Sequence[Value]) -> list[Value]:
    p = equation.params
    first, second = p["cond_nconsts"], p["cond_nconsts"] + p["body_nconsts"]
    of_condition, of_body, state = operands[:first], operands[first:second], list(operands[second:])
    while bool(to.closed(p["cond_jaxpr"], [*of_condition, *state])[0].held):
        state = to.closed(p["body_jaxpr"], [*of_body, *state])
    return state


def _scan(to: Recorder, equation: Any, operands: Sequence[Value]) -> list[Value]:
    p = equation.params
    first, second = p["num_consts"], p["num_consts"] + p["num_carry"]
    constants, carried, columns = operands[:first], list(operands[first:second]), operands[second:]
    found: dict[int, list[Value]] = {}
    for i in reversed(range(p["length"])) if p["reverse"] else range(p["length"]):
        results = to.closed(p["jaxpr"], [*constants, *carried, *(_row(c, i) for c in columns)])
        carried, found[i] = results[: p["num_carry"]], results[p["num_carry"] :]
    shapes = [v.aval for v in equation.outvars[p["num_carry"] :]]
    return [*carried, *(_stacked(to, [found[i][j] for i in range(p["length"])], a) for j, a in enumerate(shapes))]


def _row(column: Value, i: int) -> Value:
    ids, decided = (None if x is None else x[i] for x in (column.ids, column.decided))
    return Value(column.held[i], ids, decided, column.depends)


def _stacked(to: Recorder, rows: Sequence[Value], aval: Any) -> Value:
    if not rows:
        return to.constant(np.zeros(aval.shape, aval.dtype))
    ids = None if rows[0].ids is None else np.stack([r.ids for r in rows if r.ids is not None])
    marks = [np.zeros(np.shape(r.held), np.int64) if r.decided is None else r.decided for r in rows]
    decided = np.stack(marks) if any(r.decided is not None for r in rows) else None
    held = [r.held for r in rows]
    together = np.stack(held) if isinstance(held[0], np.ndarray | np.generic) else jnp.stack(held)
    return Value(together, ids, decided, any(r.depends for r in rows))


def _linear_solve(to: Recorder, equation: Any, operands: Sequence[Value]) -> list[Value]:
    lengths, jaxprs = equation.params["const_lengths"], equation.params["jaxprs"]
    start = lengths.matvec + lengths.vecmat
    unknowns = start + lengths.solve + lengths.transpose_solve
    return to.closed(jaxprs.solve, [*operands[start : start + lengths.solve], *operands[unknowns:]])


def _callback(to: Recorder, equation: Any, operands: Sequence[Value]) -> list[Value]:
    """What a callback gives comes from outside of the record."""
    if equation.outvars:
        to.foreign.append(f"{to.record.line}: {equation.primitive.name}: its results are not in the record")
    results = bind(equation, [o.held for o in operands])
    return [to.constant(x) for x in results]


def _nothing(to: Recorder, equation: Any, operands: Sequence[Value]) -> list[Value]:
    return [Value(None) for _ in equation.outvars]


CONTROL: Mapping[str, Callable[[Recorder, Any, Sequence[Value]], Sequence[Value]]] = {
    **dict.fromkeys(("jit", "pjit", "closed_call", "core_call", "remat", "remat2", "checkpoint", "custom_lin"), _call),
    **dict.fromkeys(("custom_jvp_call", "custom_vjp_call", "custom_vjp_call_jaxpr"), _custom),
    **dict.fromkeys(("pure_callback", "io_callback"), _callback),
    **dict.fromkeys(("debug_callback", "debug_print"), _nothing),
    "cond": _cond,
    "while": _while,
    "scan": _scan,
    "custom_linear_solve": _linear_solve,
}


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
