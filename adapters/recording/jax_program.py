"""A jaxpr run operation by operation on concrete numbers, and recorded: calls are entered, loops run as they run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import count
from typing import Any

import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from gradconform.adapters.recording import jax_approximations as approximations
from gradconform.adapters.recording.jax_implemented import implemented
from gradconform.adapters.recording.jax_loops import ASKED, check_rounds_left
from gradconform.adapters.recording.jax_movement import bind
from gradconform.adapters.recording.jax_operations import RELATIONS, drawn, draws, is_recorded, operation
from gradconform.adapters.recording.jax_values import Call, Recorder, Value, format_of, is_key, line_of, numbers
from gradconform.reference.programs.record import Form
from gradconform.reference.programs.run import Unsupported


def run(to: Recorder, jaxpr: Any, constants: Sequence[Any], operands: Sequence[Value]) -> list[Value]:
    """The results of a jaxpr on these operands."""
    held: dict[Any, Value] = {}

    def read(variable: Any) -> Value:
        if hasattr(variable, "val"):
            scalar = np.ndim(variable.val) == 0 and not is_key(variable.aval)
            return to.literal(variable) if scalar else to.constant(variable.val)
        return held[variable]

    for variable, constant in zip(jaxpr.constvars, constants, strict=True):
        held[variable] = to.constant(constant)
    held.update(zip(jaxpr.invars, operands, strict=True))
    for equation in jaxpr.eqns:
        outer = to.record.line
        to.record.line = line_of(equation) or outer
        try:
            results = perform(to, equation, [read(v) for v in equation.invars])
        finally:
            to.record.line = outer
        held.update(zip(equation.outvars, results, strict=True))
    return [read(v) for v in jaxpr.outvars]


def closed(to: Recorder, jaxpr: Any, operands: Sequence[Value]) -> list[Value]:
    """The same of a closed jaxpr, or of one without constants."""
    if hasattr(jaxpr, "consts"):
        return run(to, jaxpr.jaxpr, jaxpr.consts, operands)
    return run(to, jaxpr, [], operands)


def perform(to: Recorder, equation: Any, operands: Sequence[Value]) -> Sequence[Value]:
    control = CONTROL.get(equation.primitive.name)
    if control is not None:
        return control(to, equation, operands)
    if any(o.depends for o in operands) and not is_recorded(equation):
        inner = implemented(equation, [o.held for o in operands])
        if inner is not None:
            return closed(to, inner, operands)
    return operation(to, equation, operands)


# Calls and loops ------------------------------------------------------------------------------------------------------


def _call(to: Recorder, equation: Any, operands: Sequence[Value]) -> list[Value]:
    p = equation.params
    inner = next(p[name] for name in ("jaxpr", "call_jaxpr", "fun_jaxpr", "call") if name in p)
    return closed(to, inner, operands)


def _compiled(to: Recorder, equation: Any, operands: Sequence[Value]) -> list[Value]:
    """A call of a compiled function: entered, unless it draws. What it draws is data, as the function itself has it."""
    if any(o.depends for o in operands) or not any(draws(o) for o in operands):
        found = approximations.recorded(to, equation, equation.params["jaxpr"], operands) if _expn(equation) else None
        return _call(to, equation, operands) if found is None else found
    return drawn(to, equation, operands)


def _expn(equation: Any) -> bool:
    return bool(equation.params.get("name") == "expn")


def _custom(to: Recorder, equation: Any, operands: Sequence[Value]) -> list[Value]:
    inner = equation.params.get("call_jaxpr") or equation.params.get("fun_jaxpr")
    if approximations.is_known(inner):
        found = approximations.recorded(to, equation, inner, operands)
        return _call(to, equation, operands) if found is None else found
    if row := approximations.smooth(inner, operands):
        return _smooth(to, row, lambda: _call(to, equation, operands), operands)
    name, defined = approximations.stands_at(inner)
    name = name or equation.primitive.name
    if not any(call.equation is equation for call in to.calls):
        wide = to.texts.equations.get(id(equation))
        to.calls.append(Call(equation, name, to.record.line or defined, tuple(o.held for o in operands), wide))
    return _near(to, name, lambda: _call(to, equation, operands))


def _smooth(to: Recorder, row: str, run: Callable[[], list[Value]], operands: Sequence[Value]) -> list[Value]:
    """A function of the table, which is rounded as the operations are that it is made of."""
    record, format = to.record, format_of(operands[0].held)
    given = [o.ids for o in operands if o.ids is not None]
    assert format is not None
    with record.inside() as steps:
        (found,) = run()
    assert found.ids is not None
    with record.inside() as whole:
        meant = record.map(row, given, format)
    form = Form("each operation rounded", tuple(steps), found.ids)
    ids = record.fused(row, Form("definition", tuple(whole), meant), [form], format, numbers(found.held))
    return [Value(found.held, ids, None, found.depends, found.drawn)]


def _near(to: Recorder, name: str, run: Callable[[], list[Value]]) -> list[Value]:
    """What has a rule of its own: where a loop in it ended near enough, the rule may be of what that comes near to."""
    before = to.loops
    found = run()
    if to.loops > before:
        to.iterated.append(to.here(approximations.ITERATED.format(name)))
    return found


def _without_jvp(to: Recorder, equation: Any, operands: Sequence[Value]) -> list[Value]:
    """What a jvp makes of a custom_vjp: JAX can transpose it, and not run it."""
    raise Unsupported(f"JAX has no forward mode of a custom_vjp: give it as a custom_jvp ({to.record.line})")


def _cond(to: Recorder, equation: Any, operands: Sequence[Value]) -> list[Value]:
    branches = equation.params["branches"]
    to.settle(operands[0].decided)
    return closed(to, branches[min(max(int(operands[0].held), 0), len(branches) - 1)], operands[1:])


def _while(to: Recorder, equation: Any, operands: Sequence[Value]) -> list[Value]:
    p = equation.params
    first, second = p["cond_nconsts"], p["cond_nconsts"] + p["body_nconsts"]
    of_condition, of_body, state = operands[:first], operands[first:second], list(operands[second:])
    before, ended, steered, compares = to.record.size, False, False, _compares(p["cond_jaxpr"])
    for round_ in count():
        if round_ == ASKED:
            taken = (to.record.size - before) // ASKED
            check_rounds_left(to, equation, [x.held for x in (*of_condition, *of_body, *state)], taken)
        decided = len(to.record.decisions)
        (goes_on,) = closed(to, p["cond_jaxpr"], [*of_condition, *state])
        to.settle(goes_on.decided)
        ended |= len(to.record.decisions) > decided
        if not np.any(goes_on.held):
            if ended or (steered and compares):
                state = _further(to, p["body_jaxpr"], of_body, state, round_)
                to.steered |= steered
            return state
        decided = len(to.record.decisions)
        moved = closed(to, p["body_jaxpr"], [*of_body, *state])
        steered |= len(to.record.decisions) > decided
        rows = np.asarray(goes_on.held)
        state = [_stopped(rows, m, s) for m, s in zip(moved, state, strict=True)] if rows.ndim else moved
    raise AssertionError("a loop ends where its condition does not hold")


def _compares(condition: Any) -> bool:
    """Whether a loop ends by a comparison of real numbers: those of a bracket may be data, and the way there is not."""
    equations = condition.jaxpr.eqns
    return any(e.primitive.name in RELATIONS and format_of(e.invars[0].aval) is not None for e in equations)


def _further(to: Recorder, body: Any, constants: Sequence[Value], state: list[Value], rounds: int) -> list[Value]:
    """The state of a loop that ended after so many rounds, by numbers; further on where more rounds are asked."""
    to.loops += 1
    for _ in range((to.times - 1) * rounds):
        state = closed(to, body, [*constants, *state])
    return state


def _stopped(goes_on: NDArray[np.bool_], moved: Value, before: Value) -> Value:
    """Of a loop under `vmap`, whose condition is an array: each row moves as long as its own condition holds.

    How often it went round is the row's way in this run, as it is of a loop by itself: what settled it is kept, and no
    choice is left.
    """

    def choose(new: Any, old: Any) -> Any:
        mask = np.reshape(goes_on, goes_on.shape + (1,) * (np.ndim(new) - goes_on.ndim))
        return (jnp if is_key(new) else np).where(mask, new, old)

    ids = None if moved.ids is None or before.ids is None else choose(moved.ids, before.ids)
    marks = [np.zeros(np.shape(x.held), np.int64) if x.decided is None else x.decided for x in (moved, before)]
    decided = choose(*marks) if any(m.any() for m in marks) else None
    held, drawn = choose(moved.held, before.held), moved.drawn or before.drawn
    return Value(held, ids, decided, moved.depends or before.depends, drawn)


def _scan(to: Recorder, equation: Any, operands: Sequence[Value]) -> list[Value]:
    p = equation.params
    first, second = p["num_consts"], p["num_consts"] + p["num_carry"]
    constants, carried, columns = operands[:first], list(operands[first:second]), operands[second:]
    found: dict[int, list[Value]] = {}
    for i in reversed(range(p["length"])) if p["reverse"] else range(p["length"]):
        results = closed(to, p["jaxpr"], [*constants, *carried, *(_row(c, i) for c in columns)])
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
    given = [*operands[start : start + lengths.solve], *operands[unknowns:]]
    return _near(to, "custom_linear_solve", lambda: closed(to, jaxprs.solve, given))


def _callback(to: Recorder, equation: Any, operands: Sequence[Value]) -> list[Value]:
    """What a callback gives comes from outside of the record."""
    if equation.outvars:
        to.foreign.append(to.here(f"{equation.primitive.name}: its results are not in the record"))
    results = bind(equation, [o.held for o in operands])
    return [to.constant(x) for x in results]


def _nothing(to: Recorder, equation: Any, operands: Sequence[Value]) -> list[Value]:
    return [Value(None) for _ in equation.outvars]


CONTROL: Mapping[str, Callable[[Recorder, Any, Sequence[Value]], Sequence[Value]]] = {
    **dict.fromkeys(("jit", "pjit"), _compiled),
    **dict.fromkeys(("closed_call", "core_call", "remat", "remat2", "checkpoint", "custom_vmap_call"), _call),
    "custom_lin": _without_jvp,
    **dict.fromkeys(("custom_jvp_call", "custom_vjp_call", "custom_vjp_call_jaxpr"), _custom),
    **dict.fromkeys(("pure_callback", "io_callback"), _callback),
    **dict.fromkeys(("debug_callback", "debug_print"), _nothing),
    "cond": _cond,
    "while": _while,
    "scan": _scan,
    "custom_linear_solve": _linear_solve,
}
