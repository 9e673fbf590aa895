"""Rules that record JAX's primitives on complex numbers: those of real ones for each part alone, and `complexes`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial

import numpy as np

from gradconform.adapters.recording import factorizations
from gradconform.adapters.recording.complexes import Complexes, joined
from gradconform.adapters.recording.fourier import Fourier
from gradconform.adapters.recording.jax_movement import along, contraction, prefixes, scatter_targets
from gradconform.adapters.recording.jax_rules import RULES
from gradconform.adapters.recording.jax_values import Found, Operation, Rule, Value, is_complex
from gradconform.reference.programs.record import ONE, ZERO, Ids
from gradconform.reference.programs.run import NotRecorded


def complexes(at: Operation) -> Complexes:
    return Complexes(at.record, at.format)


def _pair(at: Operation, number: int) -> Ids:
    """Both parts of an operand, in the shape of the result."""
    return np.broadcast_to(at.pair(number), at.got.shape)


# Each part alone ------------------------------------------------------------------------------------------------------


def _part(at: Operation, part: int) -> Operation:
    """The same operation on one part of its operands; real numbers have no imaginary one."""

    def of(x: Value) -> Value:
        if x.ids is None:
            return x
        if not is_complex(x.held):
            return x if part == 0 else Value(np.zeros_like(x.held), np.full(x.ids.shape, ZERO), None, x.depends)
        return Value((np.real(x.held), np.imag(x.held))[part], x.ids[..., part], None, x.depends)

    held = [(np.real(x), np.imag(x))[part] if is_complex(x) else x for x in at.held]
    return replace(at, operands=[of(o) for o in at.operands], held=held)


def _by_parts(rule: Rule) -> Rule:
    def of(at: Operation) -> Found:
        if not is_complex(at.held[0]):
            return rule(_part(at, 0))
        parts = [rule(_part(at, n)) for n in (0, 1)]
        return [None if a is None or b is None else joined(np.asarray(a), np.asarray(b))
                for a, b in zip(*parts, strict=True)]  # fmt: skip

    return of


# Products, functions --------------------------------------------------------------------------------------------------


def _multiply(at: Operation) -> Found:
    return [complexes(at).multiply(_pair(at, 0), _pair(at, 1), at.got)]


def _divide(at: Operation) -> Found:
    return [complexes(at).divide(_pair(at, 0), _pair(at, 1), at.got)]


def _integer_power(at: Operation) -> Found:
    z, power, of = at.pair(0), int(at.parameters["y"]), complexes(at)
    return [np.broadcast_to(of.pair(1.0), z.shape) if power == 0 else of.integer_power(z, power, at.got)]


def _rsqrt(at: Operation) -> Found:
    of, z = complexes(at), at.pair(0)
    root = of.sqrt(z, np.full(z.shape, np.nan))
    with np.errstate(all="ignore"):
        shown = np.sqrt(np.asarray(at.operands[0].held))
    return [of.kernel("complex rsqrt", at.got, of.quotients(_pair(at, 0) * 0 + of.pair(1.0), root,
                                                            np.stack([shown.real, shown.imag], -1)))]  # fmt: skip


def _function(name: str) -> Rule:
    def rule(at: Operation) -> Found:
        return [getattr(complexes(at), name)(at.pair(0), at.got)]

    return rule


def _trigonometric(name: str) -> Rule:
    return lambda at: [complexes(at).trigonometric(name, at.pair(0), at.got)]


# Sums and products of many --------------------------------------------------------------------------------------------


def _products(at: Operation) -> Found:
    """A product of matrices in any layout: the parts are one more axis that is summed."""
    of, p, (a, b) = complexes(at), dict(at.parameters), (at.pair(0), at.pair(1))
    (left, right), batch = p["dimension_numbers"]
    p["dimension_numbers"] = ((*left, a.ndim - 1), (*right, b.ndim - 1)), batch
    re = at.record.sop(*contraction(joined(a[..., 0], of.negative(a[..., 1])), b, p), at.format, at.got[..., 0])
    im = at.record.sop(*contraction(a, b[..., ::-1], p), at.format, at.got[..., 1])
    return [joined(re, im)]


def _product_of_all(at: Operation) -> Found:
    of, z = complexes(at), at.pair(0)
    rows = np.stack([along(z[..., n], at.parameters["axes"]) for n in (0, 1)], -1)
    return [of.kernel("complex product", at.got, {"in order": lambda: of.product(rows)})]


def _products_so_far(at: Operation) -> Found:
    of, z, p = complexes(at), at.pair(0), at.parameters
    before: tuple[Callable[[Ids], Ids], ...] = (
        lambda first: np.full(first.shape, ONE),
        lambda first: np.full(first.shape, ZERO),
    )
    rows = joined(*(prefixes(z[..., n], p["axis"], p["reverse"], before[n]) for n in (0, 1)))
    return [of.kernel("complex cumprod", at.got, {"in order": lambda: of.product(rows)})]


def _scatter_product(at: Operation) -> Found:
    """Numbers times those that go to their places, of which each place may get one."""
    base, factors, of = at.pair(0).copy(), at.pair(2), complexes(at)
    where = scatter_targets(at.parameters, base.shape[:-1], at.operands[1].held, factors.shape[:-1]).ravel()
    kept = where >= 0
    places = where[kept]
    if np.unique(places).size < places.size:
        raise NotRecorded("scatter-mul of complex numbers with several for one place; multiply them before")
    rows = base.reshape(-1, 2)
    rows[places] = of.multiply(rows[places], factors.reshape(-1, 2)[kept], at.got.reshape(-1, 2)[places])
    return [base]


# Linear systems -------------------------------------------------------------------------------------------------------


def _lu(at: Operation) -> Found:
    of, x, order = complexes(at), at.pair(0), np.asarray(at.held[2])
    programs = {how: partial(factorizations.complex_lu, of, x, order, how) for how in factorizations.WAYS}
    return [of.kernel("complex lu", at.got, programs), None, None]


def _triangular_solve(at: Operation) -> Found:
    p, of, a, b = at.parameters, complexes(at), at.pair(0), at.pair(1)
    left = p["left_side"]
    if not left:  # x·a = b is aᵀ·xᵀ = bᵀ
        b = np.swapaxes(b, -2, -3)
    transposed = p["transpose_a"] == left
    if transposed:
        a = np.swapaxes(a, -2, -3)
    if p["conjugate_a"]:
        a = of.conjugate(a)

    def solved(how: str) -> Ids:
        found = factorizations.complex_substitution(of, a, b, p["lower"] != transposed, p["unit_diagonal"], how)
        return found if left else np.swapaxes(found, -2, -3)

    programs = {how: partial(solved, how) for how in factorizations.WAYS}
    return [of.kernel("complex triangular_solve", at.got, programs)]


# Fourier transforms ---------------------------------------------------------------------------------------------------


def _fourier(at: Operation) -> Found:
    of, lengths = Fourier(at.record, at.format), [int(n) for n in at.parameters["fft_lengths"]]
    kind = str(getattr(at.parameters["fft_type"], "name", at.parameters["fft_type"]))
    kind = {"0": "FFT", "1": "IFFT", "2": "RFFT", "3": "IRFFT"}.get(kind, kind)
    ndim = np.ndim(at.operands[0].held)
    axes = list(range(ndim - len(lengths), ndim))
    if kind == "RFFT":
        return [of.of_real(at.ids(0), axes, True, 0.0, at.got)]
    if kind == "IRFFT":
        return [of.to_real(at.pair(0), axes, lengths[-1], -1.0, at.got)]
    return [of.complex(at.pair(0), axes, kind == "FFT", 0.0 if kind == "FFT" else -1.0, at.got)]


#: By the names of the primitives.
COMPLEX_RULES: Mapping[str, Rule] = {
    **{name: _by_parts(RULES[name]) for name in ("add", "add_any", "sub", "neg", "reduce_sum", "cumsum", "select_n",
                                                 "convert_element_type", "scatter-add", "scatter_add", "scatter",
                                                 "reduce_window_sum") if name in RULES},
    "real": lambda at: [at.pair(0)[..., 0]],
    "imag": lambda at: [at.pair(0)[..., 1]],
    "complex": lambda at: [joined(at.ids(0), at.ids(1))],
    "conj": lambda at: [complexes(at).conjugate(at.pair(0))],
    "mul": _multiply,
    "div": _divide,
    "square": lambda at: [complexes(at).multiply(at.pair(0), at.pair(0), at.got)],
    "integer_pow": _integer_power,
    "pow": lambda at: [complexes(at).power(_pair(at, 0), _pair(at, 1), at.got)],
    "abs": lambda at: [complexes(at).modulus(at.pair(0), at.got)],
    "sign": _function("sign"),
    **{name: _function(name) for name in ("exp", "log", "sqrt", "tan", "tanh")},
    "logistic": _function("sigmoid"),
    **{name: _trigonometric(name) for name in ("sin", "cos", "sinh", "cosh")},
    "rsqrt": _rsqrt,
    "dot_general": _products,
    "reduce_prod": _product_of_all,
    "cumprod": _products_so_far,
    **dict.fromkeys(("scatter-mul", "scatter_mul"), _scatter_product),
    "lu": _lu,
    "triangular_solve": _triangular_solve,
    "fft": _fourier,
}  # fmt: skip
