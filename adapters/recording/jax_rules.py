"""Rules that record JAX's primitives: scalar functions by name, conversions, choices and factorizations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from gradconform.adapters.recording import factorizations
from gradconform.adapters.recording.jax_sums import SUMS
from gradconform.adapters.recording.jax_values import Found, Operation, Parameters, Recorder, Rule, format_of
from gradconform.reference.arithmetic.formats import FORMATS, Format
from gradconform.reference.programs.record import ONE, ZERO, Form, Ids, Numbers, Record, Step, all_whole
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
    "erf_inv": "erfinv",
    "bessel_i0e": "i0e",
    "bessel_i1e": "i1e",
    "zeta": "zeta",
    "igamma": "gammainc",
    "igammac": "gammaincc",
    "igamma_grad_a": "gammainc_by_order",
    "regularized_incomplete_beta": "betainc",
}  # fmt: skip


# Scalar functions -----------------------------------------------------------------------------------------------------


def _function(at: Operation) -> Found:
    ids = [at.ids(i) for i in range(len(at.operands))]
    return [at.record.map(FUNCTIONS[at.equation.primitive.name], ids, at.format, at.got)]


def _divide(at: Operation) -> Found:
    """A quotient. Of two choices between constants it is a choice between their quotients, where these are exact.

    So JAX has the share of a number in a maximum: 1 or 0 for whether it is the largest, by 2 or 1 for whether the other
    is as large. Where rounding leaves both open the share is in [0, 1], which no ball of [0, 1] by one of [1, 2] says.
    """
    found = _shares(at, at.to.maker(at.ids(0)), at.to.maker(at.ids(1)))
    return _function(at) if found is None else [found]


def _shares(at: Operation, above: Step | None, below: Step | None) -> Ids | None:
    if not (_constant_sides(at, above) and _constant_sides(at, below)):
        return None
    assert above is not None
    assert below is not None
    record = at.record
    dividends, divisors = ([record.held[ids] for ids in step.operands] for step in (above, below))
    inner = []
    for a in dividends:
        quotients = [_exact_quotient(a, b, at.format) for b in divisors]
        if quotients[0] is None or quotients[1] is None:
            return None
        first, second = (record.constants(q) for q in quotients)
        inner.append(record.choose(below.first, below.decided, first, second, at.format))
    return record.choose(above.first, above.decided, inner[0], inner[1], at.format, at.got)


def _constant_sides(at: Operation, step: Step | None) -> bool:
    """Whether it is a choice between constants that are known as they are."""
    if step is None or step.kind != "choose" or at.to.computed(np.stack(step.operands)):
        return False
    return not any(i in at.record.literals for ids in step.operands for i in np.unique(ids).tolist())


def _exact_quotient(a: Numbers, b: Numbers, format: Format) -> Numbers | None:
    with np.errstate(all="ignore"):
        q = a / b
        return q if ((q * b == a) & (format.round(q) == q)).all() else None


def _rem(at: Operation) -> Found:
    found, decided = at.record.fmod(at.ids(0), at.ids(1), at.format, np.asarray(at.got, dtype=np.float64))
    for each in decided:
        at.to.settle(each, shown=True)
    return [found]


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
            at.to.settle(operand.decided)
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


def settle_places(to: Recorder, name: str, p: Parameters, x: Ids, result: Any) -> None:
    """The comparisons by which a discrete result of real numbers is what it is."""
    if name in ("argmax", "argmin"):
        (axis,) = p["axes"]
        chosen = np.take_along_axis(x, np.expand_dims(result.astype(np.int64), axis), axis)
        to.record.ordered.append(x)
        to.compared("ge" if name == "argmax" else "le", chosen, x)
        return
    function = "trunc" if name == "convert_element_type" else name
    for decided in to.record.cut(function, x, result.astype(np.float64)):
        to.settle(decided, shown=True)


def _piecewise_constant(at: Operation) -> Found:
    """Numbers that do not change with their operand: data, whose derivative is 0."""
    name, operand, x, record = at.equation.primitive.name, at.operands[0], at.ids(0), at.record
    found = record.new(at.got.shape, at.got)
    if not operand.depends:
        return [found]
    at.to.note(at.to.here(f"{name}: taken as constant, as it is around this operand"))
    large = np.isfinite(record.held[x]) & (np.abs(record.held[x]) >= all_whole(at.format))
    settle_places(at.to, name, at.parameters, x[~large], at.got[~large])
    if large.any():
        found[large] = _large_whole(record, name, x[large], at.format)
    return [found]


def _large_whole(record: Record, name: str, x: Ids, format: Format) -> Ids:
    """Of numbers so large that rounding has made them whole ones, as a quotient is: its whole part is what is meant."""
    half, one = np.array(record.number(0.5)), np.array(ONE)
    with record.inside() as steps:
        upwards = record.map("negative", [x], format) if name == "ceil" else x
        near = record.map("add", [x, half], format) if name == "round" else upwards
        whole = record.map("subtract", [near, record.map("remainder", [near, one], format)], format)
        found = record.map("negative", [whole], format) if name == "ceil" else whole
    definition = Form("definition", tuple(steps), found)
    return record.fused(name, definition, [Form("the number itself", (), x)], format, record.held[x])


def _next(at: Operation) -> Found:
    """The next number of the format: a sum with an ulp, which is data."""
    x = at.ids(0)
    held = at.record.held[x]
    return [at.record.map("add", [x, at.record.constants(np.asarray(at.got) - held)], at.format, at.got)]


def _sign(at: Operation) -> Found:
    x = at.ids(0)
    held, zero = at.got, np.array(ZERO)
    above, below = at.record.decide("gt", x, zero), at.record.decide("lt", x, zero)
    minus = np.array(at.record.number(-1.0))
    negative = at.record.choose(held < 0, below, minus, zero, at.format)
    return [at.record.choose(held > 0, above, np.array(ONE), negative, at.format)]


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
        at.to.settle(at.operands[0].decided)
        return [np.choose(which, np.broadcast_arrays(*cases)) if which.ndim else cases[int(which)]]
    before = at.record.size
    found = at.record.choose(which, at.operands[0].decided, cases[1], cases[0], at.format)
    if found.size and found.min() >= before:
        at.record.held[found] = at.got
    return [found]


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


def _fused(at: Operation, solved: factorizations.Solved, results: Sequence[Ids], steps: Sequence[Step],
           held: Sequence[Any]) -> list[Ids]:  # fmt: skip
    """One step for all results, as what solves equations."""
    name = at.equation.primitive.name
    definition = Form(
        "definition", tuple(steps), np.concatenate([r.ravel() for r in results]), solutions=tuple(solved.solutions)
    )
    numbers = np.concatenate([np.asarray(h, dtype=np.float64).ravel() for h in held])
    found = at.record.fused(name, definition, (), at.format, numbers)
    parts = np.split(found, np.cumsum([r.size for r in results])[:-1])
    return [p.reshape(r.shape) for p, r in zip(parts, results, strict=True)]


def _numbers(x: Any) -> Numbers:
    return np.asarray(x).astype(np.float64)


def _eigenvectors(at: Operation) -> Found:
    if at.parameters["subset_by_index"] is not None:
        raise NotRecorded("eigh with subset_by_index: ask for all eigenvalues, and take some of them")
    solved, a = factorizations.Solved(at.record), at.ids(0)
    factorizations.check_symmetric(at.record.held[a], at.format)
    vectors, values = _numbers(at.held[0]), _numbers(at.held[1])
    with at.record.inside() as steps:
        symmetric = factorizations.symmetric_part(at.record, a, at.format)
        found = solved.eigenvectors(symmetric, values, vectors)
    return _fused(at, solved, found[::-1], steps, [vectors, values])


def _singular_vectors(at: Operation) -> Found:
    if at.parameters["subset_by_index"] is not None:
        raise NotRecorded("svd with subset_by_index: ask for all singular values, and take some of them")
    solved, a = factorizations.Solved(at.record), at.ids(0)
    shown = at.parameters["compute_uv"]
    if shown and at.parameters["full_matrices"] and a.shape[-1] != a.shape[-2]:
        raise NotRecorded(factorizations.WHOLE_BASES.format(name="svd"))
    values = _numbers(at.held[0])
    if shown:
        u, v = _numbers(at.held[1]), _numbers(at.held[2])
    else:
        u, _, v = np.linalg.svd(at.record.held[a], full_matrices=False)
    left, middle, right = solved.singular_vectors(a, u, values, np.swapaxes(v, -1, -2))
    if not shown:
        return _fused(at, solved, [middle], [], [values])
    return _fused(at, solved, [middle, left, np.swapaxes(right, -1, -2)], [], [values, u, v])


def _orthogonal_factor(at: Operation) -> Found:
    p, a = at.parameters, at.ids(0)
    if p["pivoting"]:
        raise NotRecorded("qr with pivoting: order the columns first")
    if p["full_matrices"] and a.shape[-2] > a.shape[-1]:
        raise NotRecorded(factorizations.WHOLE_BASES.format(name="qr"))
    solved = factorizations.Solved(at.record)
    q, r = _numbers(at.held[0]), _numbers(at.held[1])
    return _fused(at, solved, solved.orthogonal_factor(a, q, r), [], [q, r])


#: By the names of the primitives.
RULES: Mapping[str, Rule] = {
    **SUMS,
    **dict.fromkeys(FUNCTIONS, _function),
    **dict.fromkeys(("floor", "ceil", "round"), _piecewise_constant),
    "div": _divide,
    "integer_pow": _integer_power,
    "convert_element_type": _converted,
    "reduce_precision": _reduced_precision,
    "sign": _sign,
    "nextafter": _next,
    "rem": _rem,
    "max": _extreme("maximum"),
    "min": _extreme("minimum"),
    "clamp": _clamp,
    "select_n": _select,
    "cholesky": _cholesky,
    "lu": _lu,
    "triangular_solve": _triangular_solve,
    "eigh": _eigenvectors,
    "svd": _singular_vectors,
    "qr": _orthogonal_factor,
}
