"""Rules for scalar functions, choices and comparisons."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from gradconform.adapters.recording.torch_call import Call, Results, Rule
from gradconform.adapters.recording.torch_memory import format_of, numbers, real
from gradconform.reference.arithmetic.formats import FLOAT32, FLOAT64, Format
from gradconform.reference.programs.record import ONE, ZERO, Form, Ids, Numbers, Record, all_whole
from gradconform.reference.programs.run import NotRecorded

#: Functions of one number, by their name in ATen, with that in the table.
UNARY = {
    "neg": "negative", "abs": "absolute", "square": "square", "reciprocal": "reciprocal", "exp": "exp", "exp2": "exp2",
    "expm1": "expm1", "log": "log", "log2": "log2", "log10": "log10", "log1p": "log1p", "sigmoid": "sigmoid",
    "sin": "sin", "cos": "cos", "tan": "tan", "asin": "asin", "acos": "acos", "atan": "atan", "sinh": "sinh",
    "cosh": "cosh", "tanh": "tanh", "asinh": "asinh", "acosh": "acosh", "atanh": "atanh", "sqrt": "sqrt",
    "rsqrt": "rsqrt", "erf": "erf", "erfc": "erfc", "lgamma": "lgamma", "digamma": "digamma",
    # As PyTorch's own decompositions of torch.special call them.
    "erf_inv": "erfinv", "erfcx": "erfcx", "ndtri": "ndtri", "bessel_i0": "i0", "bessel_i0e": "i0e", "bessel_i1": "i1",
    "bessel_i1e": "i1e", "bessel_j0": "j0", "bessel_j1": "j1", "spherical_bessel_j0": "spherical_bessel_j0",
}  # fmt: skip
BINARY = {"mul": "multiply", "multiply": "multiply", "div": "divide", "divide": "divide", "atan2": "atan2",
          "hypot": "hypot", "igamma": "gammainc", "igammac": "gammaincc",
          "zeta": "zeta"}  # fmt: skip


def _unary(function: str) -> Rule:
    return lambda c: c.record.map(function, [c.operand("self")], c.format, c.held)


def _binary(function: str) -> Rule:
    def rule(c: Call) -> Results:
        if c["rounding_mode"]:
            return _whole_quotient(c)
        return c.record.map(function, [c.operand("self"), c.operand("other")], c.format, c.held)

    return rule


def _scaled(c: Call, x: Ids, factor: object) -> Ids:
    """x times a number of the program's text."""
    if factor in (None, 1):
        return x
    return c.record.map("multiply", [x, c.ids(factor)], c.format, _product(c.record, x, c.ids(factor), c.format))


def _product(record: Record, a: Ids, b: Ids, format: Format) -> Numbers:
    return format.round(record.held[a] * record.held[b])


def _add(c: Call) -> Results:
    return c.record.map("add", [c.operand("self"), _scaled(c, c.operand("other"), c["alpha"])], c.format, c.held)


def _sub(c: Call) -> Results:
    return c.record.map("subtract", [c.operand("self"), _scaled(c, c.operand("other"), c["alpha"])], c.format, c.held)


def _rsub(c: Call) -> Results:
    return c.record.map("subtract", [c.operand("other"), _scaled(c, c.operand("self"), c["alpha"])], c.format, c.held)


def _pow(c: Call) -> Results:
    exponent = c["exponent"]
    if not isinstance(exponent, Tensor):
        if exponent == 2:
            return c.record.map("square", [c.operand("self")], c.format, c.held)
        if exponent in (0, 1):
            return np.full(c.shape, ONE) if exponent == 0 else c.operand("self")
        if exponent == 0.5:
            return c.record.map("sqrt", [c.operand("self")], c.format, c.held)
        if exponent == -1:
            return c.record.map("reciprocal", [c.operand("self")], c.format, c.held)
    return c.record.map("power", [c.operand("self"), c.ids(exponent)], c.format, c.held)


def _rsqrt(c: Call) -> Results:
    """In 16 bits it may be two operations, each rounded."""
    x = c.operand("self")
    if c.format.precision >= FLOAT32.precision:
        return c.record.map("rsqrt", [x], c.format, c.held)
    with c.record.inside() as once:
        whole = c.record.map("rsqrt", [x], c.format)
    with c.record.inside() as twice:
        parts = c.record.map("reciprocal", [c.record.map("sqrt", [x], c.format)], c.format)
    forms = [Form("rsqrt", tuple(once), whole), Form("1/sqrt, each rounded", tuple(twice), parts)]
    return c.record.fused("aten::rsqrt", forms[0], forms, c.format, c.held)


def _sinc(c: Call) -> Results:
    """The sine of a product that was rounded, which is far from that of πx where that is near a multiple of π."""
    x, record = c.operand("self"), c.record
    with record.inside() as once:
        whole = record.map("sinc", [x], c.format)
    with record.inside() as steps:
        angle = record.map("multiply", [x, np.asarray(record.number(math.pi, FLOAT64))], c.format)
        parts = record.map("divide", [record.map("sin", [angle], c.format), angle], c.format)
        at_zero = np.asarray(record.held[x] == 0)
        parts = np.where(at_zero, ONE, parts)
    forms = [Form("sinc", tuple(once), whole), Form("sin(πx)/(πx), each rounded", tuple(steps), parts)]
    return record.fused("aten::sinc", forms[0], forms, c.format, c.held)


def _convert(c: Call) -> Results:
    out, x = c.outs[0], c["self"] if "self" in c.given else c["a"]
    if not real(out):
        return c.before[id(x)] if out.dtype == x.dtype else None
    return converted(c, c.ids(x), x, out)


def converted(c: Call, ids: Ids, source: Tensor, target: Tensor) -> Ids:
    """The same numbers in another format: rounded, where that does not hold them all."""
    to = format_of(target)
    if not real(source):
        return ids
    own = format_of(source)
    if own.precision <= to.precision and own.emax <= to.emax and own.emin >= to.emin:
        return ids
    return c.record.map("round", [np.broadcast_to(ids, tuple(target.shape))], to, numbers(target))


def _copy(c: Call) -> Results:
    """`copy_`: the source's numbers, in the destination's format and shape."""
    target, source = c.outs[0], c["src"]
    if not real(target):
        return np.broadcast_to(np.zeros((), np.int64) if real(source) else c.before[id(source)], tuple(target.shape))
    return np.broadcast_to(converted(c, np.broadcast_to(c.ids(source), c.shape), source, target), c.shape)


# Choices --------------------------------------------------------------------------------------------------------------


def _compare(c: Call) -> Results:
    a, b = c["self"], c["other"]
    if any(real(x) for x in (a, b)):
        return c.record.decide(c.name, _compared(c, a), _compared(c, b))  # type: ignore[arg-type]
    return _logic(c)


def _compared(c: Call, x: object) -> Ids:
    if isinstance(x, Tensor) and not real(x):
        return c.record.constants(numbers(c.value(x)))
    return c.before[id(x)] if isinstance(x, Tensor) else np.asarray(c.record.number(float(x)))  # type: ignore[arg-type]


def _logic(c: Call) -> Results:
    found = [c.before[id(x)] for x in (c["self"], c["other"]) if isinstance(x, Tensor) and not real(x)]
    found = [d for d in found if d.any()]
    if not found:
        return None
    return c.record.together([np.broadcast_to(d, c.shape) for d in found])


def _where(c: Call) -> Results:
    if not real(c.outs[0]):
        return None
    condition = c["condition"] if "condition" in c.given else c["pred"]
    a, b = (c["self"], c["other"]) if "self" in c.given else (c["a"], c["b"])
    first = c.value(condition).cpu().numpy().astype(bool)
    decided = c.decisions(condition)
    return _chosen(c, first, decided, c.ids(a), c.ids(b), c.held)


def _chosen(c: Call, first: object, decided: Ids, a: Ids, b: Ids, held: Numbers | None = None) -> Ids:
    first, decided, a, b = (np.broadcast_to(np.asarray(x), c.shape) for x in (first, decided, a, b))
    return c.record.choose(first, decided, a, b, c.format, held)


def _masked_fill(c: Call) -> Results:
    if not real(c.outs[0]):
        return None
    mask = c["mask"]
    first = c.value(mask).cpu().numpy().astype(bool)
    return _chosen(c, first, c.decisions(mask), c.ids(c["value"]), c.operand("self"), c.held)


def _extreme(c: Call, kind: str, operands: list[Ids], held: Numbers | None) -> Ids:
    operands = [np.broadcast_to(x, c.shape) for x in operands]
    return c.record.combine(kind, np.stack(operands, -1), c.format, held)  # type: ignore[arg-type]


def _maximum(c: Call) -> Results:
    return _extreme(c, "maximum", [c.operand("self"), c.operand("other")], c.held)


def _minimum(c: Call) -> Results:
    return _extreme(c, "minimum", [c.operand("self"), c.operand("other")], c.held)


def _relu(c: Call) -> Results:
    return _extreme(c, "maximum", [c.operand("self"), np.asarray(ZERO)], c.held)


def _clamp(c: Call) -> Results:
    low, high = c["min"], c["max"]
    x = c.operand("self")
    if low is not None:
        low = c.ids(low)
        held = np.maximum(c.record.held[x], c.record.held[low]) if high is not None else c.held
        x = _extreme(c, "maximum", [x, low], held)
    return x if high is None else _extreme(c, "minimum", [x, c.ids(high)], c.held)


def _threshold_backward(c: Call) -> Results:
    """0 where x ≤ threshold, else the adjoint: relu's own derivative among others."""
    x = c.operand("self")
    over = numbers(c.value(c["self"])) > float(c["threshold"])
    decided = c.record.decide("gt", x, np.asarray(c.record.number(float(c["threshold"]))))
    return _chosen(c, over, decided, c.operand("grad_output"), np.asarray(ZERO), c.held)


def _rrelu(c: Call) -> Results:
    """A leaky relu; in training the slopes that were drawn are data, which the kernel leaves in `noise`."""
    x, zero = c.operand("self"), np.asarray(ZERO)
    if not c["training"]:
        mean = (c["lower"] + c["upper"]) / 2
        slope, held = np.asarray(c.recorder.literal(mean)), numbers(c.value(c["self"]) * mean)
    elif c.format.precision < FLOAT32.precision:
        raise NotRecorded(f"rrelu in training in {c.format.name}, whose slopes are rounded after they were used")
    else:
        slope, held = c.record.constants(numbers(c["noise"])), c.held  # 1 where it is the number itself
        c.recorder.memory.put(c["noise"], slope)
    over = numbers(c.value(c["self"])) > 0
    below = c.record.map("multiply", [x, slope], c.format, np.where(over, held, c.held))
    return _chosen(c, over, c.record.decide("gt", x, zero), x, below, c.held)


def _dropout(c: Call) -> Results:
    """The mask that was drawn is data."""
    x, p = c.operand("input"), float(c["p"])
    if not c["train"] or p == 0:
        return [x, None]
    kept = np.asarray(c.outs[1].cpu().numpy(), dtype=bool)
    scale = np.asarray(c.recorder.literal(1 / (1 - p) if p < 1 else 0.0))
    scaled = c.record.map("multiply", [x, scale], c.format, np.where(kept, c.held, np.nan))
    return [np.where(kept, scaled, ZERO), None]


def _sign(c: Call) -> Results:
    """−1, 0 or 1, by two decisions."""
    x, held = c.operand("self"), numbers(c.value(c["self"]))
    zero, minus = np.asarray(ZERO), np.asarray(c.record.number(-1.0))
    below = _chosen(c, held < 0, c.record.decide("lt", x, zero), minus, zero)
    return _chosen(c, held > 0, c.record.decide("gt", x, zero), np.asarray(ONE), below)


def _angle(c: Call) -> Results:
    """Of a real number π below 0, and else 0."""
    below = numbers(c.value(c["self"])) < 0
    decided = c.record.decide("lt", c.operand("self"), np.asarray(ZERO))
    return _chosen(c, below, decided, np.asarray(c.recorder.literal(math.pi)), np.asarray(ZERO), c.held)


def _mantissa(c: Call) -> Results:
    """The number over a power of two, which does not move with it: data of this run."""
    x, power = c.operand("self" if "self" in c.given else "a"), np.asarray(c.outs[1].cpu().numpy(), np.float64)
    size, there = c.record.map("absolute", [x], c.format, np.abs(c.record.held[x])), np.isfinite(c.held) & (c.held != 0)
    for relation, bound in (("ge", power - 1), ("lt", power)):
        c.record.decide(relation, size[there], c.record.constants(2.0 ** bound[there]))  # type: ignore[arg-type]
    c.record.edges.append(x[there & (np.abs(c.held) == 0.5)])
    return [c.record.map("multiply", [x, c.record.constants(2.0**-power)], c.format, c.held), None]


def _heaviside(c: Call) -> Results:
    """0, or 1, or what is given for 0, by two decisions."""
    x, held = c.operand("self"), numbers(c.value(c["self"]))
    below = _chosen(c, held < 0, c.record.decide("lt", x, np.asarray(ZERO)), np.asarray(ZERO), c.operand("values"))
    return _chosen(c, held > 0, c.record.decide("gt", x, np.asarray(ZERO)), np.asarray(ONE), below)


def _fmod(c: Call) -> Results:
    return c.record.fmod(c.operand("self"), c.operand("other"), c.format, c.held)[0]


def _remainder(c: Call) -> Results:
    """fmod, and y added where that is of the other sign."""
    x, y = np.broadcast_arrays(c.operand("self"), c.operand("other"))
    with np.errstate(all="ignore"):
        rest = np.fmod(c.record.held[x], c.record.held[y])
    found, _ = c.record.fmod(x, y, c.format, rest)
    added = (rest != 0) & ((rest < 0) != (c.record.held[y] < 0))
    found[added] = c.record.map("add", [found[added], y[added]], c.format, c.held[added])
    return found


def _whole(c: Call) -> Results:
    """A whole number near x, or one of so many decimals, which does not move with it: data of this run."""
    if real(c.outs[0]):
        x, unit = c.operand("self"), 10.0 ** -(c["decimals"] or 0)
        if unit == 1:
            c.record.cut(c.name, x, c.held)
        else:
            c.record.decide("ge", x, c.record.constants(c.held - unit / 2))
            c.record.decide("le", x, c.record.constants(c.held + unit / 2))
    return None


def _whole_quotient(c: Call) -> Results:
    """A quotient that is cut to a whole number: data, too; of more digits than the format has it is rounded."""
    if not real(c.outs[0]):
        return None
    x, y = np.broadcast_arrays(c.operand("self"), c.operand("other"))
    mode, found = c["rounding_mode"] or "floor", np.array(c.record.constants(c.held))
    with np.errstate(all="ignore"):
        held = c.format.round(c.record.held[x] / c.record.held[y])
    known = np.isfinite(c.held) & np.isfinite(held)
    large = known & (np.abs(held) >= all_whole(c.format))
    known &= ~large
    c.record.cut(mode, c.record.map("divide", [x[known], y[known]], c.format, held[known]), c.held[known])
    with c.record.inside() as steps:
        rest = c.record.map("fmod" if mode == "trunc" else "remainder", [x[large], y[large]], c.format)
        whole = c.record.map("divide", [c.record.map("subtract", [x[large], rest], c.format), y[large]], c.format)
    if large.any():
        form = Form("definition", tuple(steps), whole)
        found[large] = c.record.fused(f"aten::{c.name}", form, (), c.format, c.held[large])
    return found


def settle(c: Call) -> None:
    """The comparisons by which whole numbers, as places in a table, are what an operation made of others.

    And the numbers at which they jump.
    """
    if c.name == "_to_copy" and isinstance(x := c["self"], Tensor) and real(x) and not c.outs[0].is_complex():
        ids = c.ids(x)
        ids = ids[np.isfinite(c.record.held[ids])]
        if c.outs[0].dtype == torch.bool:
            c.record.edges.append(ids[c.record.held[ids] == 0])
        else:
            c.record.cut("trunc", ids, np.trunc(c.record.held[ids]))
    elif c.name in ("searchsorted", "bucketize"):
        _settle_places(c)


def _settle_places(c: Call) -> None:
    """Between which two of a sorted table's numbers others are."""
    table, x = (c["sorted_sequence"], c["self"]) if c.name == "searchsorted" else (c["boundaries"], c["self"])
    if not any(isinstance(t, Tensor) and real(t) for t in (table, x)):
        return
    record, places = c.record, c.outs[0].cpu().numpy().astype(np.int64)
    ids, knots = np.broadcast_to(_compared(c, x), places.shape), _compared(c, table)
    if isinstance(c["sorter"], Tensor):
        knots = np.take_along_axis(knots, c.value(c["sorter"]).cpu().numpy(), -1)
    knots, size = np.broadcast_to(knots, (*places.shape[:-1], knots.shape[-1])), knots.shape[-1]
    if not size:
        return
    if not places.ndim:
        places, ids = places.reshape(1), ids.reshape(1)
    for relation, at, there in (("ge", places - 1, places > 0), ("le", places, places < size)):
        beside = np.take_along_axis(knots, np.clip(at, 0, size - 1), -1)
        record.decide(relation, ids[there], beside[there])  # type: ignore[arg-type]
        record.edges += [y[record.held[ids] == record.held[beside]] for y in (ids, beside)]


def _polygamma(c: Call) -> Results:
    return c.record.map("polygamma", [np.asarray(c.record.number(float(c["n"]))), c.operand("self")], c.format, c.held)


SCALAR_RULES: dict[str, Rule] = {
    **{name: _unary(function) for name, function in UNARY.items()},
    **{name: _binary(function) for name, function in BINARY.items()},
    **dict.fromkeys(("gt", "ge", "lt", "le", "eq", "ne"), _compare),
    **{f"{kind}_{name}": _logic for kind in ("logical", "bitwise") for name in ("and", "or", "xor", "not")},
    "add": _add,
    "rsqrt": _rsqrt,
    "sub": _sub,
    "rsub": _rsub,
    "fmod": _fmod,
    "remainder": _remainder,
    "pow": _pow,
    "_to_copy": _convert,
    "copy": _copy,
    "where": _where,
    "masked_fill": _masked_fill,
    "maximum": _maximum,
    "minimum": _minimum,
    "fmax": _maximum,
    "fmin": _minimum,
    "relu": _relu,
    "clamp": _clamp,
    "clamp_min": _clamp,
    "clamp_max": _clamp,
    "threshold_backward": _threshold_backward,
    "native_dropout": _dropout,
    "rrelu_with_noise": _rrelu,
    "sgn": _sign,
    "sign": _sign,
    "heaviside": _heaviside,
    "angle": _angle,
    "frexp": _mantissa,
    "polygamma": _polygamma,
    "sinc": _sinc,
    **dict.fromkeys(("floor", "ceil", "trunc", "round"), _whole),
    "floor_divide": _whole_quotient,
}

__all__ = ["SCALAR_RULES", "converted"]
