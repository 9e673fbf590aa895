"""JAX's primitives as steps of a record: scalar functions by name, sums of products, choices, and moved ids."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from gradconform.adapters import factorizations
from gradconform.adapters.jax_movement import (
    MOVES,
    along,
    bind,
    contraction,
    convolution,
    dynamic_slice,
    dynamic_update_slice,
    gathered,
    grouped,
    prefixes,
    scatter_targets,
    windows,
)
from gradconform.adapters.jax_program import Recorder, Value, format_of, is_key, plain
from gradconform.reference.formats import FORMATS, Format
from gradconform.reference.programs.record import ONE, ZERO, Form, Ids, Record, Relation
from gradconform.reference.programs.run import NotRecorded

Extreme = Literal["maximum", "minimum"]

#: The table's functions by the names of JAX's primitives.
FUNCTIONS: Mapping[str, str] = {
    **{n: n for n in "exp exp2 expm1 log log1p sin cos tan asin acos atan sinh cosh tanh asinh acosh atanh sqrt rsqrt "
       "cbrt erf erfc lgamma digamma polygamma atan2 square".split()},
    "neg": "negative",
    "abs": "absolute",
    "logistic": "sigmoid",
    "add": "add",
    "add_any": "add",
    "sub": "subtract",
    "mul": "multiply",
    "div": "divide",
    "pow": "power",
}  # fmt: skip
RELATIONS: Mapping[str, Relation] = {name: name for name in ("gt", "ge", "lt", "le", "eq", "ne")}
#: Discrete results that depend on the same decisions as their operands.
LOGICAL = {"and", "or", "not", "xor", "convert_element_type", "eq", "ne", "select_n", "mul", "add", "sub", "max", "min"}


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


def operation(to: Recorder, equation: Any, operands: Sequence[Value]) -> list[Value]:
    """One equation of a jaxpr: what JAX computes for it, and its step."""
    name = equation.primitive.name
    depends = any(o.depends for o in operands)
    if name in _MOVED and all(o.ids is not None or o.held is None for o in operands[: _MOVED[name]]):
        return _moved(to, equation, operands, depends)
    if name in MOVES and not any(is_key(o.held) for o in operands):
        return [Value(x, None, d, depends) for x, d in zip(*_discrete_moves(equation, operands), strict=True)]
    if name == "stop_gradient":
        return [_stopped(to, equation, operands[0])]
    computed = _computed(equation, operands)
    held = computed[: len(equation.outvars)]
    formats = [None if is_key(x) else format_of(x) for x in held]
    real = [f for f in formats if f is not None]
    if not real:
        decided = _decided(to, name, operands, held[0])
        return [Value(plain(x), None, decided if i == 0 else None, depends) for i, x in enumerate(held)]
    rule = RULES.get(name)
    if rule is None or (name == "bitcast_convert_type" and not depends):
        if depends:
            raise NotRecorded(
                f"{name} at {to.record.line or 'an unknown line'}: no rule records this operation of JAX; "
                "write it with recorded operations, or give a function of it as a definition"
            )
        return [to.constant(x) for x in held]  # data of this run, such as random numbers
    found = rule(Operation(to, equation, operands, [plain(x) for x in computed], real[0]))
    return [
        Value(plain(x), None if f is None else np.asarray(i).reshape(np.shape(x)), None, depends)
        for x, f, i in zip(held, formats, found, strict=True)
    ]


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
    name, p = equation.primitive.name, equation.params
    ids = [o.ids for o in operands if o.ids is not None]
    where = [o.held for o in operands[_MOVED[name] :]]
    if name in MOVES:
        found = MOVES[name](p, *ids)
    elif name == "dynamic_slice":
        found = [dynamic_slice(p, ids[0], *where)]
    elif name == "dynamic_update_slice":
        found = [dynamic_update_slice(*ids, *where)]
    else:
        fill = p["fill_value"]
        found = [gathered(equation, ids[0], where[0], to.record.number(float("nan") if fill is None else float(fill)))]
    dtypes = [v.aval.dtype for v in equation.outvars]
    return [
        Value(to.record.held[i].astype(d), np.asarray(i), None, depends) for i, d in zip(found, dtypes, strict=True)
    ]


def _discrete_moves(equation: Any, operands: Sequence[Value]) -> tuple[list[Any], list[Ids | None]]:
    """Discrete values where they went, with the decisions that they came by."""
    move, p = MOVES[equation.primitive.name], equation.params
    held = move(p, *(np.asarray(o.held) for o in operands))
    if all(o.decided is None for o in operands):
        return held, [None] * len(held)
    marks = [np.zeros(np.shape(o.held), np.int64) if o.decided is None else o.decided for o in operands]
    return held, list(move(p, *marks))


def _stopped(to: Recorder, equation: Any, x: Value) -> Value:
    """What a gradient is not asked of: the same numbers, or, where that is honoured, data."""
    if x.ids is None or not x.depends or _internal(equation):
        return x
    if to.intended:
        return Value(x.held, to.record.new(np.shape(x.held), np.asarray(x.held).astype(np.float64)))
    to.note(f'{to.record.line}: stop_gradient: the derivative is taken through it; stop_gradient="intended" is not to')
    return x


def _internal(equation: Any) -> bool:
    """Whether JAX itself stops a gradient, as in `solve` or `logsumexp`, where that changes no derivative."""
    traceback = equation.source_info.traceback
    frames = [] if traceback is None else list(traceback.frames)
    names = [f.function_name.rsplit(".", 1)[-1] for f in frames]
    last = max((i for i, n in enumerate(names) if n == "stop_gradient"), default=-1)
    return 0 <= last < len(frames) - 1 and "/jax/" in frames[last + 1].file_name.replace("\\", "/")


# Decisions ------------------------------------------------------------------------------------------------------------


def _decided(to: Recorder, name: str, operands: Sequence[Value], held: Any) -> Ids | None:
    """The decisions that a discrete result depends on."""
    if name in RELATIONS and operands[0].ids is not None and operands[1].ids is not None:
        if not (operands[0].depends or operands[1].depends):
            return None
        return to.record.decide(RELATIONS[name], operands[0].ids, operands[1].ids)
    if name == "convert_element_type" and operands[0].ids is not None and np.asarray(held).dtype == np.bool_:
        return to.record.decide("ne", operands[0].ids, np.array(ZERO)) if operands[0].depends else None
    marks = [o.decided for o in operands if o.decided is not None]
    if name not in LOGICAL or not marks:
        return None
    shape = np.shape(held)
    if len(marks) == 1:
        return np.broadcast_to(marks[0], shape)
    return to.record.together([np.broadcast_to(m, shape) for m in marks])


# Scalar functions -----------------------------------------------------------------------------------------------------

Found = Sequence[Ids | None]
Rule = Callable[[Operation], Found]


def _function(at: Operation) -> Found:
    ids = [at.ids(i) for i in range(len(at.operands))]
    return [at.record.map(FUNCTIONS[at.equation.primitive.name], ids, at.format, at.got)]


def _integer_power(at: Operation) -> Found:
    x, power = at.ids(0), at.parameters["y"]
    if power in (0, 1):
        return [x if power else np.full(x.shape, ONE)]
    if power in (2, -1):
        return [at.record.map("square" if power == 2 else "reciprocal", [x], at.format, at.got)]
    exponent = np.array(at.record.number(float(power)))
    return [at.record.map("power", [x, exponent], at.format, at.got)]


def _converted(at: Operation) -> Found:
    """To a narrower format a rounding, to a wider one nothing; of a truth value 1 or 0 by what decided it."""
    operand = at.operands[0]
    if operand.ids is None:
        if operand.decided is None or np.asarray(operand.held).dtype != np.bool_:
            return [at.record.constants(at.got)]
        one, zero = np.array(ONE), np.array(ZERO)
        return [at.record.choose(np.asarray(operand.held), operand.decided, one, zero, at.format)]
    source = format_of(operand.held)
    assert source is not None
    if at.format.precision >= source.precision and at.format.emin <= source.emin:
        return [operand.ids]
    return [at.record.map("round", [operand.ids], at.format, at.got)]


def _reduced_precision(at: Operation) -> Found:
    bits, exponent = at.parameters["mantissa_bits"] + 1, at.parameters["exponent_bits"]
    formats = [f for f in FORMATS.values() if f.precision == bits and (f.emax + 1).bit_length() == exponent]
    if not formats:
        raise NotRecorded(f"reduce_precision to {exponent} and {bits - 1} bits: no format that is known here")
    if formats[0].precision >= at.format.precision:
        return [at.ids(0)]
    return [at.record.map("round", [at.ids(0)], formats[0], at.got)]


def _piecewise_constant(at: Operation) -> Found:
    """Numbers that do not change with their operand: data, whose derivative is 0."""
    if at.operands[0].depends:
        at.to.note(f"{at.record.line}: {at.equation.primitive.name}: taken as constant, as it is around this operand")
    return [at.record.new(at.got.shape, at.got)]


def _sign(at: Operation) -> Found:
    x = at.ids(0)
    held, zero = at.got, np.array(ZERO)
    above, below = at.record.decide("gt", x, zero), at.record.decide("lt", x, zero)
    minus = np.array(at.record.number(-1.0))
    negative = at.record.choose(held < 0, below, minus, zero, at.format)
    return [at.record.choose(held > 0, above, np.array(ONE), negative, at.format)]


def _remainder(at: Operation) -> Found:
    """x − y·trunc(x/y), exactly: the whole quotient is data."""
    x, y = np.broadcast_arrays(at.ids(0), at.ids(1))
    held = at.record.held
    with np.errstate(divide="ignore", invalid="ignore"):
        whole = np.rint((held[x] - at.got) / held[y])
    with at.record.inside() as steps:
        minus = at.record.constants(-whole)
        terms = np.stack([x, y], -1), np.stack([np.full(x.shape, ONE), minus], -1)
        result = at.record.sop(*terms, at.format)
    definition = Form("x − y·trunc(x/y)", tuple(steps), result)
    return [at.record.fused("remainder", definition, (), at.format, at.got)]


# Choices --------------------------------------------------------------------------------------------------------------


def _extreme(kind: Extreme) -> Rule:
    def rule(at: Operation) -> Found:
        pair = np.stack(np.broadcast_arrays(at.ids(0), at.ids(1)), -1)
        return [at.record.combine(kind, pair, at.format, at.got)]

    return rule


def _clamp(at: Operation) -> Found:
    low, x, high = np.broadcast_arrays(*(at.ids(i) for i in range(3)))
    held = at.record.held
    least = at.record.combine("maximum", np.stack([low, x], -1), at.format, np.maximum(held[low], held[x]))
    return [at.record.combine("minimum", np.stack([least, high], -1), at.format, at.got)]


def _select(at: Operation) -> Found:
    which = np.asarray(at.operands[0].held)
    cases = [at.ids(i) for i in range(1, len(at.operands))]
    if which.dtype != np.bool_:
        return [np.choose(which, np.broadcast_arrays(*cases)) if which.ndim else cases[int(which)]]
    before = at.record.size
    found = at.record.choose(which, at.operands[0].decided, cases[1], cases[0], at.format)
    if found.size and found.min() >= before:
        at.record.held[found] = at.got
    return [found]


# Sums, products and extremes of rows ----------------------------------------------------------------------------------


def _sum(at: Operation) -> Found:
    return [at.record.sop(along(at.ids(0), at.parameters["axes"]), None, at.format, at.got)]


def _reduced(kind: Literal["product", "maximum", "minimum"]) -> Rule:
    return lambda at: [at.record.combine(kind, along(at.ids(0), at.parameters["axes"]), at.format, at.got)]


def _products(at: Operation) -> Found:
    return [at.record.sop(*contraction(at.ids(0), at.ids(1), at.parameters), at.format, at.got)]


def _convolution(at: Operation) -> Found:
    return [at.record.sop(*convolution(at.ids(0), at.ids(1), at.parameters, ZERO), at.format, at.got)]


def _cumulative(kind: Literal["sop", "product", "maximum", "minimum"]) -> Rule:
    fills: Mapping[str, Callable[[Ids], Ids]] = {
        "sop": lambda first: np.full(first.shape, ZERO),
        "product": lambda first: np.full(first.shape, ONE),
    }

    def rule(at: Operation) -> Found:
        p = at.parameters
        return _combined(at, kind, prefixes(at.ids(0), p["axis"], p["reverse"], fills.get(kind, lambda first: first)))

    return rule


def _cumulative_logsumexp(at: Operation) -> Found:
    """log Σ e^x over each prefix; as it is computed, one number after the other, by the largest of the two."""
    p, record, format = at.parameters, at.record, at.format
    with record.inside() as steps:
        powers = record.map("exp", [at.ids(0)], format)
        rows = prefixes(powers, p["axis"], p["reverse"], lambda first: np.full(first.shape, ZERO))
        exactly = record.map("log", [record.sop(rows, None, format)], format)
    with record.inside() as chained:
        x = np.moveaxis(at.ids(0), p["axis"], -1)
        x = x[..., ::-1] if p["reverse"] else x
        found = [x[..., 0]]
        for i in range(1, x.shape[-1]):
            largest = record.combine("maximum", np.stack([found[-1], x[..., i]], -1), format)
            apart = record.map("absolute", [record.map("subtract", [found[-1], x[..., i]], format)], format)
            power = record.map("exp", [record.map("negative", [apart], format)], format)
            found.append(record.map("add", [largest, record.map("log1p", [power], format)], format))
        stacked = np.stack(found[::-1] if p["reverse"] else found, -1)
    form = Form("max + log1p(e^−|difference|)", tuple(chained), np.moveaxis(stacked, -1, p["axis"]))
    return [record.fused("cumlogsumexp", Form("log Σ e^x", tuple(steps), exactly), [form], format, at.got)]


def _combiner(at: Operation) -> Literal["sop", "product", "maximum", "minimum"]:
    """What a general reduction combines by, where that is one operation."""
    names = [e.primitive.name for e in at.parameters["jaxpr"].eqns]
    kinds: Mapping[str, Literal["sop", "product", "maximum", "minimum"]] = {
        "add": "sop", "mul": "product", "max": "maximum", "min": "minimum",
    }  # fmt: skip
    if len(names) != 1 or names[0] not in kinds or len(at.operands) != 2:
        raise NotRecorded(f"{at.equation.primitive.name} by {', '.join(names)}: expected one of {', '.join(kinds)}")
    return kinds[names[0]]


def _combined(at: Operation, kind: Literal["sop", "product", "maximum", "minimum"], rows: Ids) -> Found:
    if kind == "sop":
        return [at.record.sop(rows, None, at.format, at.got)]
    return [at.record.combine(kind, rows, at.format, at.got)]


def _general(at: Operation) -> Found:
    """A reduction, or one over windows, by an operation of its own, with the number that it starts from."""
    kind, start = _combiner(at), int(at.ids(1))
    if at.equation.primitive.name == "reduce":
        rows = along(at.ids(0), at.parameters["dimensions"])
    else:
        rows = windows(at.ids(0), at.parameters, start)
    return _combined(at, kind, np.concatenate([rows, np.full((*rows.shape[:-1], 1), start)], -1))


def _window(kind: Literal["sop", "maximum", "minimum"]) -> Rule:
    def rule(at: Operation) -> Found:
        fill = {"sop": 0.0, "maximum": -np.inf, "minimum": np.inf}[kind]
        return _combined(at, kind, windows(at.ids(0), at.parameters, at.record.number(fill)))

    return rule


def _chosen_of_windows(at: Operation, operand: int) -> Ids:
    """The flat position of the number that each window chooses of an operand."""
    held = np.asarray(at.operands[operand].held).astype(np.float64)
    positions = windows(np.arange(held.size).reshape(held.shape), at.parameters, -1)
    largest = at.parameters["select_prim"].name == "ge"
    values = np.where(positions < 0, -np.inf if largest else np.inf, held.ravel()[positions])
    best = values.argmax(-1) if largest else values.argmin(-1)
    return np.take_along_axis(positions, best[..., None], -1)[..., 0]


def _select_and_scatter(at: Operation) -> Found:
    where = _chosen_of_windows(at, 1)
    base = np.full(np.shape(at.operands[1].held), ZERO)
    return [_added(at, base, where, at.ids(0))]


def _select_and_gather(at: Operation) -> Found:
    return [at.ids(0).ravel()[_chosen_of_windows(at, 1)]]


# Scatter, sorting -----------------------------------------------------------------------------------------------------


def _added(at: Operation, base: Ids, where: Ids, sources: Ids) -> Ids:
    """`base` with sources added where they go."""
    places, rows = grouped(base, where, sources, ZERO)
    found = base.ravel().copy()
    single = (rows != ZERO).sum(-1) <= 1  # one number on 0 is that number
    found[places[single]] = rows[single].max(-1, initial=ZERO)
    many = places[~single]
    if many.size:
        found[many] = at.record.sop(rows[~single], None, at.format, at.got.ravel()[many])
    return found.reshape(base.shape)


def _scatter_add(at: Operation) -> Found:
    base, updates = at.ids(0), at.ids(2)
    where = scatter_targets(at.parameters, base.shape, at.operands[1].held, updates.shape)
    if at.equation.primitive.name == "scatter-sub":
        updates = at.record.map("negative", [updates], at.format)
    return [_added(at, base, where, updates)]


def _scatter_combined(kind: Literal["product", "maximum", "minimum"]) -> Rule:
    def rule(at: Operation) -> Found:
        base, updates = at.ids(0), at.ids(2)
        where = scatter_targets(at.parameters, base.shape, at.operands[1].held, updates.shape)
        places, rows = grouped(base, where, updates, -1)
        rows = np.where(rows < 0, ONE if kind == "product" else rows[:, :1], rows)
        found = base.ravel().copy()
        found[places] = at.record.combine(kind, rows, at.format, at.got.ravel()[places])
        return [found.reshape(base.shape)]

    return rule


def _scatter(at: Operation) -> Found:
    """Each update where it goes; of several for one place the last, as XLA's processors have it."""
    base, updates = at.ids(0), at.ids(2)
    where = scatter_targets(at.parameters, base.shape, at.operands[1].held, updates.shape)
    found = base.ravel().copy()
    kept = where.ravel() >= 0
    found[where.ravel()[kept]] = updates.ravel()[kept]
    return [found.reshape(base.shape)]


def _sorted(at: Operation) -> Found:
    order = np.asarray(at.held[-1]).astype(np.int64)
    axis = at.parameters["dimension"]
    return [None if o.ids is None else np.take_along_axis(o.ids, order, axis) for o in at.operands]


def _top(at: Operation) -> Found:
    order = np.asarray(at.held[1]).astype(np.int64)
    return [np.take_along_axis(at.ids(0), order, at.parameters.get("axis", at.ids(0).ndim - 1)), None]


# Factorizations -------------------------------------------------------------------------------------------------------


def _cholesky(at: Operation) -> Found:
    x, record = at.ids(0), at.record
    with record.inside() as steps:
        exactly = factorizations.cholesky(record, factorizations.symmetric_part(record, x, at.format), at.format)
    with record.inside() as computed:
        form = factorizations.cholesky(record, x, at.format)
    lower = np.tril(np.ones(x.shape[-2:], dtype=bool))
    definition = Form("of ½(x + xᵀ)", tuple(steps), exactly)
    forms = [Form("of the lower triangle", tuple(computed), form)]
    found = record.fused("cholesky", definition, forms, at.format, np.where(lower, at.got, 0.0))
    return [np.where(lower, found, ZERO)]


def _lu(at: Operation) -> Found:
    with at.record.inside() as steps:
        found = factorizations.lu(at.record, at.ids(0), np.asarray(at.held[2]), at.format)
    definition = Form("elimination in the order of the run's pivots", tuple(steps), found)
    return [at.record.fused("lu", definition, (), at.format, at.got), None, None]


def _triangular_solve(at: Operation) -> Found:
    p, a, b = at.parameters, at.ids(0), at.ids(1)
    left = p["left_side"]
    if not left:  # x·a = b is aᵀ·xᵀ = bᵀ
        b = np.swapaxes(b, -1, -2)
    transposed = p["transpose_a"] == left
    if transposed:
        a = np.swapaxes(a, -1, -2)
    with at.record.inside() as steps:
        found = factorizations.substitution(at.record, a, b, p["lower"] != transposed, p["unit_diagonal"], at.format)
    found = found if left else np.swapaxes(found, -1, -2)
    return [at.record.fused("triangular_solve", Form("substitution", tuple(steps), found), (), at.format, at.got)]


RULES: Mapping[str, Rule] = {
    **dict.fromkeys(FUNCTIONS, _function),
    **dict.fromkeys(("floor", "ceil", "round"), _piecewise_constant),
    "integer_pow": _integer_power,
    "convert_element_type": _converted,
    "reduce_precision": _reduced_precision,
    "sign": _sign,
    "rem": _remainder,
    "max": _extreme("maximum"),
    "min": _extreme("minimum"),
    "clamp": _clamp,
    "select_n": _select,
    "reduce_sum": _sum,
    "reduce_prod": _reduced("product"),
    "reduce_max": _reduced("maximum"),
    "reduce_min": _reduced("minimum"),
    "dot_general": _products,
    "conv_general_dilated": _convolution,
    "cumsum": _cumulative("sop"),
    "cumprod": _cumulative("product"),
    "cummax": _cumulative("maximum"),
    "cummin": _cumulative("minimum"),
    "cumlogsumexp": _cumulative_logsumexp,
    "reduce_window_sum": _window("sop"),
    "reduce_window_max": _window("maximum"),
    "reduce_window_min": _window("minimum"),
    "reduce": _general,
    "reduce_window": _general,
    "select_and_scatter_add": _select_and_scatter,
    "select_and_gather_add": _select_and_gather,
    "scatter-add": _scatter_add,
    "scatter_add": _scatter_add,
    "scatter-sub": _scatter_add,
    "scatter_mul": _scatter_combined("product"),
    "scatter-mul": _scatter_combined("product"),
    "scatter_max": _scatter_combined("maximum"),
    "scatter-max": _scatter_combined("maximum"),
    "scatter_min": _scatter_combined("minimum"),
    "scatter-min": _scatter_combined("minimum"),
    "scatter": _scatter,
    "sort": _sorted,
    "top_k": _top,
    "cholesky": _cholesky,
    "lu": _lu,
    "triangular_solve": _triangular_solve,
}
