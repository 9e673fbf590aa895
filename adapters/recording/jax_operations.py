"""One operation of JAX on concrete numbers: what it computes, where it moves ids, and the step that records it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from gradconform.adapters.recording.complexes import Complexes
from gradconform.adapters.recording.jax_complex import COMPLEX_RULES
from gradconform.adapters.recording.jax_movement import (
    MOVES,
    bind,
    dynamic_slice,
    dynamic_update_slice,
    gathered,
    out_of_bounds,
)
from gradconform.adapters.recording.jax_rules import RULES, settle_places
from gradconform.adapters.recording.jax_values import (
    Operation,
    Recorder,
    Value,
    array_of,
    format_of,
    is_complex,
    is_key,
    plain,
    shape_of,
)
from gradconform.reference.programs.record import STOPPED, ZERO, Ids, Relation
from gradconform.reference.programs.run import NotRecorded

RELATIONS: Mapping[str, Relation] = {
    **{name: name for name in ("gt", "ge", "lt", "le", "eq", "ne")},
    "lt_to": "lt", "le_to": "le", "eq_to": "eq",  # with −0 before 0, as `searchsorted` compares
}  # fmt: skip
#: Discrete results that depend on the same decisions as their operands; any other operation settles those.
LOGICAL = {"and", "or", "not", "xor", "convert_element_type", "eq", "ne", "select_n", "mul", "add", "sub", "max", "min"}
#: Operations that keep their operands' decisions, or a step's.
_KEEPING = {*LOGICAL, *RELATIONS}
#: Operations that draw random bits from keys that are plain integers.
_DRAWS = {"threefry2x32", "random_seed", "random_wrap", "random_bits", "rng_bit_generator"}
#: Operations that are exact on small whole numbers.
_WHOLE = {"add", "sub", "mul", "neg"}


def is_recorded(equation: Any) -> bool:
    """Whether a rule, or none that is needed, records this primitive, of real numbers or of complex ones."""
    name = equation.primitive.name
    return name in RULES or name in COMPLEX_RULES or name in _MOVED or name == "stop_gradient"


def operation(to: Recorder, equation: Any, operands: Sequence[Value]) -> list[Value]:
    """One equation of a jaxpr: what JAX computes for it, and its step."""
    name = equation.primitive.name
    depends = any(o.depends for o in operands)
    if not depends and (name in _DRAWS or any(map(draws, operands))):
        return drawn(to, equation, operands)
    if name in _MOVED and all(o.ids is not None or o.held is None for o in operands[: _MOVED[name]]):
        return _moved(to, equation, operands, depends)
    if name in MOVES and not any(is_key(o.held) for o in operands):
        return [Value(x, None, d, depends) for x, d in zip(*_discrete_moves(equation, operands), strict=True)]
    if name == "stop_gradient":
        return [_stopped(to, equation, operands[0])]
    if name not in _KEEPING:
        for o in operands:
            to.settle(o.decided)
    computed = _computed(equation, operands)
    held = computed[: len(equation.outvars)]
    formats = [None if is_key(x) else format_of(x) for x in held]
    real = [f for f in formats if f is not None]
    if not real:
        decided = _decided(to, equation, operands, held[0])
        return [Value(plain(x), None, decided if i == 0 else None, depends) for i, x in enumerate(held)]
    if not any(np.size(x) for x in held):  # where there are no numbers there is no step
        return [replace(to.constant(x), depends=depends) for x in held]
    if not depends and not all(map(_finite, (*(o.held for o in operands), *held))):
        return [to.constant(x) for x in held]  # data: a pole that no argument comes near is none of the function's
    if not depends and name in _WHOLE and not is_complex(held[0]) and _whole(to, operands, held):
        return [to.constant(held[0])]
    pairs = any(is_complex(x) for x in (*(o.held for o in operands), *held))
    rule = (COMPLEX_RULES if pairs else RULES).get(name)
    called = f"{name} of complex numbers" if pairs else name
    if rule is None or (name == "bitcast_convert_type" and not depends):
        if depends:
            raise NotRecorded(
                f"{called} at {to.record.line or 'an unknown line'}: no rule records this operation of JAX; "
                "write it with recorded operations, or give a function of it as a definition"
            )
        return [to.constant(x) for x in held]  # data of this run, such as random numbers
    found = rule(Operation(to, equation, operands, [plain(x) for x in computed], real[0]))
    return [
        Value(plain(x), None if f is None else np.asarray(i).reshape(shape_of(x)), None, depends)
        for x, f, i in zip(held, formats, found, strict=True)
    ]


def draws(value: Value) -> bool:
    """Whether it is random, or a key: what is computed of it alone is data of this run."""
    return value.drawn or is_key(value.held)


def drawn(to: Recorder, equation: Any, operands: Sequence[Value]) -> list[Value]:
    """Random numbers, as JAX itself computes them."""
    return [replace(to.constant(x), drawn=True) for x in _computed(equation, operands)[: len(equation.outvars)]]


def _finite(x: Any) -> bool:
    """Whether an array has no infinities or NaN."""
    if is_key(x) or format_of(x) is None:
        return True
    with np.errstate(all="ignore"):
        return bool(np.isfinite(np.asarray(x).astype(np.complex128 if is_complex(x) else np.float64)).all())


def _whole(to: Recorder, operands: Sequence[Value], held: Sequence[Any]) -> bool:
    """Whether all are small whole numbers, whose sums and products are exact, such as the order of a function.

    They are such themselves, and not by rounding: in bfloat16 0.999 is 1, and so is its square.
    """
    numbers = [np.asarray(x, dtype=np.float64) for x in (*(o.held for o in operands), held[0])]
    if not all((np.abs(x) < 256).all() and (x == np.rint(x)).all() for x in numbers):
        return False
    given = [(o.ids, x) for o, x in zip(operands, numbers, strict=False) if o.ids is not None]
    return all((to.record.held[i] == x).all() and not to.computed(i) for i, x in given)


def _computed(equation: Any, operands: Sequence[Value]) -> list[Any]:
    """What JAX itself computes; a sort tells its permutation too, as one operand more."""
    operands_held = [o.held for o in operands]
    if equation.primitive.name == "sort":
        axis, shape = equation.params["dimension"], operands_held[0].shape
        places = np.arange(shape[axis], dtype=np.int32).reshape([-1 if i == axis else 1 for i in range(len(shape))])
        return list(bind(equation, [*operands_held, np.broadcast_to(places, shape)]))
    results = bind(equation, operands_held)
    return list(results) if equation.primitive.multiple_results else [results]


# Movement -------------------------------------------------------------------------------------------------------------

#: How many of the first operands are moved; the others say where to.
_MOVED: Mapping[str, int] = {
    **dict.fromkeys(MOVES, 99),
    "dynamic_slice": 1,
    "gather": 1,
    "dynamic_update_slice": 2,
}  # fmt: skip


def _moved(to: Recorder, equation: Any, operands: Sequence[Value], depends: bool) -> list[Value]:
    """Real numbers where they went: the ids are moved, and JAX's numbers are those of the ids."""
    others = operands[_MOVED[equation.primitive.name] :]
    for o in others:
        to.settle(o.decided)
    ids, where = [o.ids for o in operands if o.ids is not None], [o.held for o in others]
    if depends and out_of_bounds(equation, operands):
        to.note(to.here("an index is out of bounds: JAX reads the nearest number, and leaves out its gradient"))
    if any(is_complex(v.aval) for v in equation.outvars):
        parts = [_ids_moved(to, equation, [i[..., n] for i in ids], where) for n in (0, 1)]
        found = [np.stack(both, -1) for both in zip(*parts, strict=True)]
    else:
        found = _ids_moved(to, equation, ids, where)
    return [
        Value(np.asarray(array_of(to.record.held[i], v.aval)), np.asarray(i), None, depends)
        if is_complex(v.aval)
        else Value(to.record.held[i].astype(v.aval.dtype), np.asarray(i), None, depends)
        for i, v in zip(found, equation.outvars, strict=True)
    ]


def _ids_moved(to: Recorder, equation: Any, ids: Sequence[Ids], where: Sequence[Any]) -> list[Any]:
    name, p = equation.primitive.name, equation.params
    if name in MOVES:
        return MOVES[name](p, *ids)
    if name == "dynamic_slice":
        return [dynamic_slice(p, ids[0], *where)]
    if name == "dynamic_update_slice":
        return [dynamic_update_slice(*ids, *where)]
    fill = p["fill_value"]
    return [gathered(equation, ids[0], where[0], to.record.number(float("nan") if fill is None else float(fill)))]


def _discrete_moves(equation: Any, operands: Sequence[Value]) -> tuple[list[Any], list[Ids | None]]:
    """Discrete values where they went, with the decisions that they came by."""
    move, p = MOVES[equation.primitive.name], equation.params
    held = move(p, *(np.asarray(o.held) for o in operands))
    if all(o.decided is None for o in operands):
        return held, [None] * len(held)
    marks = [np.zeros(np.shape(o.held), np.int64) if o.decided is None else o.decided for o in operands]
    return held, list(move(p, *marks))


#: What is to be done where a derivative is taken through what the program stops, and should not be.
OTHERWISE = 'with stop_gradient="intended" it is not'


def _stopped(to: Recorder, equation: Any, x: Value) -> Value:
    """What a gradient is not asked of: the same numbers, which the derivative is taken through unless that is intended.

    Where JAX itself stops a gradient, as in `solve` or `logsumexp`, that changes no derivative and is not looked at.
    """
    called_by = _caller(equation)
    if x.ids is None or not x.depends or "/jax/" in called_by:
        return x
    if called_by and to.differentiated:
        what = "it is held constant" if to.intended else f"the derivative is taken through it; {OTHERWISE}"
        to.note(to.here(f"stop_gradient: {what}"))
    if to.intended:
        format = format_of(x.held)
        assert format is not None
        return Value(x.held, to.record.map(STOPPED, [x.ids], format, to.record.held[x.ids]), None, x.depends)
    return x


def _caller(equation: Any) -> str:
    """The file that calls `stop_gradient`; empty where JAX has lost that, as of what a custom rule's function runs."""
    traceback = equation.source_info.traceback
    frames = [] if traceback is None else list(traceback.frames)
    names = [f.function_name.rsplit(".", 1)[-1] for f in frames]
    last = max((i for i, n in enumerate(names) if n == "stop_gradient"), default=-1)
    return frames[last + 1].file_name.replace("\\", "/") if 0 <= last < len(frames) - 1 else ""


# Decisions ------------------------------------------------------------------------------------------------------------


def _decided(to: Recorder, equation: Any, operands: Sequence[Value], held: Any) -> Ids | None:
    """The decisions that a discrete result depends on."""
    name = equation.primitive.name
    if name in RELATIONS and operands[0].ids is not None and operands[1].ids is not None:
        if not (operands[0].depends or operands[1].depends):
            return None
        if is_complex(operands[0].held):
            format = format_of(operands[0].held)
            assert format is not None
            return Complexes(to.record, format).equal(operands[0].ids, operands[1].ids)
        return to.record.decide(RELATIONS[name], operands[0].ids, operands[1].ids)
    if name == "convert_element_type" and operands[0].ids is not None and np.asarray(held).dtype == np.bool_:
        return to.record.decide("ne", operands[0].ids, np.array(ZERO)) if operands[0].depends else None
    if name in ("argmax", "argmin", "convert_element_type") and operands[0].ids is not None and operands[0].depends:
        settle_places(to, name, equation.params, operands[0].ids, np.asarray(held))
    marks = [o.decided for o in operands if o.decided is not None]
    if name not in LOGICAL or not marks:
        return None
    shape = np.shape(held)
    if len(marks) == 1:
        return np.broadcast_to(marks[0], shape)
    return to.record.together([np.broadcast_to(m, shape) for m in marks])
