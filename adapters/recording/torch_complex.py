"""Rules for operations on complex numbers: those of real ones for each part alone, and what `complexes` writes out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gradconform.adapters.recording.complexes import SMITH, Complexes, joined
from gradconform.adapters.recording.fourier import Fourier
from gradconform.adapters.recording.torch_call import Call, Results, Rule, pair
from gradconform.adapters.recording.torch_memory import format_of
from gradconform.adapters.recording.torch_scalars import SCALAR_RULES
from gradconform.adapters.recording.torch_sums import SUM_RULES, reduced_rows
from gradconform.reference.programs.record import Ids
from gradconform.reference.programs.run import NotRecorded

#: Operands of an operation that may be complex numbers; other arguments say how it is done.
OPERANDS = frozenset("self other src source values value fill_value".split())


def complexes(c: Call) -> Complexes:
    return Complexes(c.record, c.format, SMITH)


# Each part alone ------------------------------------------------------------------------------------------------------


def _part(c: Call, part: int) -> Call:
    """The same operation on one part of its operands; real numbers have no imaginary one."""
    before, values, given = dict(c.before), dict(c.values), dict(c.given)

    def of(x: Any) -> Any:
        if not isinstance(x, Tensor):
            return (complex(x).real, complex(x).imag)[part] if isinstance(x, int | float | complex) else x
        if x.dtype == torch.bool:
            return x
        value = c.value(x)
        ids = pair(c, x)[..., part]
        held = torch.view_as_real(value.to(_complex_of(value)).resolve_conj())[..., part]
        before[id(held)], values[id(held)] = ids, held
        return held

    for name in OPERANDS & set(given):
        given[name] = of(given[name])
    outs = [torch.view_as_real(o.resolve_conj())[..., part] if o.is_complex() else o for o in c.outs]
    return replace(c, given=given, before=before, values=values, outs=outs)


def _complex_of(x: Tensor) -> torch.dtype:
    return x.dtype if x.is_complex() else torch.complex128 if x.dtype == torch.float64 else torch.complex64


def _by_parts(rule: Rule) -> Rule:
    def of(c: Call) -> Results:
        if not c.outs[0].is_complex():
            return rule(_part(c, 0))
        found = [rule(_part(c, n)) for n in (0, 1)]
        return joined(*(np.asarray(f) for f in found))

    return of


def _compare(c: Call) -> Results:
    tensor = c["self"] if c["self"].is_complex() else c["other"]
    return Complexes(c.record, format_of(tensor)).equal(pair(c, c["self"]), pair(c, c["other"]))


# Products, functions --------------------------------------------------------------------------------------------------


def _multiply(c: Call) -> Results:
    return complexes(c).multiply(pair(c, c["self"]), pair(c, c["other"]), c.held)


def _divide(c: Call) -> Results:
    z, w = (_whole(c, pair(c, c[name])) for name in ("self", "other"))
    return complexes(c).divide(z, w, c.held)


def _whole(c: Call, z: Ids) -> Ids:
    """An operand in the shape of the result."""
    return np.broadcast_to(z, c.held.shape)


def _reciprocal(c: Call) -> Results:
    of = complexes(c)
    return of.divide(_whole(c, of.pair(1.0)), pair(c, c["self"]), c.held)


def _pow(c: Call) -> Results:
    z, power, of = pair(c, c["self"]), c["exponent"], complexes(c)
    if isinstance(power, Tensor) or isinstance(c["self"], int | float | complex):
        return of.power(_whole(c, z), _whole(c, pair(c, power)), c.held)
    if power in (0, 1):
        return z if power else _whole(c, of.pair(1.0))
    if power == 0.5:
        return of.sqrt(z, c.held)
    if complex(power).imag == 0 and float(power).is_integer() and abs(power) <= 16:
        return of.integer_power(z, int(power), c.held)
    return of.power(z, _whole(c, pair(c, power)), c.held)


def _function(name: str) -> Rule:
    def rule(c: Call) -> Results:
        found: Ids = getattr(complexes(c), name)(pair(c, c["self"]), c.held)
        return found

    return rule


def _trigonometric(name: str) -> Rule:
    return lambda c: complexes(c).trigonometric(name, pair(c, c["self"]), c.held)


def _rsqrt(c: Call) -> Results:
    of, z = complexes(c), pair(c, c["self"])
    with np.errstate(all="ignore"):
        root = of.sqrt(z, np.full(z.shape, np.nan))
    return of.divide(_whole(c, of.pair(1.0)), root, c.held)


def _complex(c: Call) -> Results:
    return joined(c.operand("real"), c.operand("imag"))


def _polar(c: Call) -> Results:
    size, angle = np.broadcast_arrays(c.operand("abs"), c.operand("angle"))
    return complexes(c).polar(size, angle, c.held)


def _conjugate(c: Call) -> Results:
    return complexes(c).conjugate(pair(c, c["self"]))


# Sums and products of many --------------------------------------------------------------------------------------------


def _product_of_all(c: Call) -> Results:
    """Σ over the parts of a row's product."""
    z = pair(c, c["self"])
    rows = np.stack([reduced_rows(z[..., n], c["dim"]) for n in (0, 1)], -1)
    held = c.held if c["dim"] is None or c["keepdim"] is not True else c.held.reshape(*rows.shape[:-2], 2)
    return complexes(c).kernel("complex product", held, {"in order": lambda: complexes(c).product(rows)})


def _cumulative_product(c: Call) -> Results:
    of, axis = complexes(c), c["dim"] % max(c["self"].ndim, 1)
    z = np.moveaxis(np.atleast_2d(pair(c, c["self"])), axis, -2)
    held = np.moveaxis(np.atleast_2d(c.held), axis, -2)
    found = z.copy()
    for n in range(1, z.shape[-2]):
        found[..., n, :] = of.multiply(found[..., n - 1, :], z[..., n, :], held[..., n, :])
    return np.moveaxis(found, -2, axis).reshape(c.held.shape)


def _inner(c: Call, left: Ids, right: Ids) -> Ids:
    """Rows of the one times columns of the other: (…, M, K) and (…, K, N)."""
    return complexes(c).inner(left[..., :, None, :, :], np.moveaxis(right, -3, -2)[..., None, :, :, :],
                              c.held.reshape(*left.shape[:-2], right.shape[-2], 2)).reshape(c.held.shape)  # fmt: skip


def _matrices(first: str, second: str) -> Rule:
    def rule(c: Call) -> Results:
        a, b = pair(c, c[first]), pair(c, c[second])
        a = a[None] if c[first].ndim == 1 else a
        return _inner(c, a, b[:, None] if c[second].ndim == 1 else b)

    return rule


def _dot(c: Call) -> Results:
    a = pair(c, c["self"])
    other = pair(c, c["tensor"] if "tensor" in c.given else c["other"])
    return _inner(c, (complexes(c).conjugate(a) if c.name == "vdot" else a)[None], other[:, None])


def _added(first: str, second: str) -> Rule:
    """β·self + α·(first × second)."""

    def rule(c: Call) -> Results:
        of, a, b = complexes(c), pair(c, c[first]), pair(c, c[second])
        b = b[:, None] if c[second].ndim == 1 else b

        def program() -> Ids:
            shape = (*a.shape[:-2], b.shape[-2], 2)
            total = of.inner(a[..., :, None, :, :], np.moveaxis(b, -3, -2)[..., None, :, :, :],
                             np.full(shape, np.nan)).reshape(c.held.shape)  # fmt: skip
            if c["alpha"] != 1:
                total = of.multiply(total, pair(c, c["alpha"]))
            if c["beta"] == 0:
                return total
            base = pair(c, c["self"])
            return of.add(total, base if c["beta"] == 1 else of.multiply(base, pair(c, c["beta"])))

        return of.kernel(f"aten::{c.name}", c.held, {"definition": program})

    return rule


def _norm(c: Call) -> Results:
    """√(Σ x² + y²), directly or by moduli; of other orders by moduli."""
    z, of = pair(c, c["self"]), complexes(c)
    order = 2.0 if c["ord"] is None else float(c["ord"])
    if order == 0:
        raise NotRecorded("a norm of order 0 of complex numbers: it is how many are not 0, and has no derivative")
    rows = np.stack([reduced_rows(z[..., n], c["dim"]) for n in (0, 1)], -1)

    def directly() -> Ids:
        flat = rows.reshape(*rows.shape[:-2], -1)
        return of.map("sqrt", c.record.sop(flat, flat, c.format))

    def by_moduli() -> Ids:
        sizes = of.modulus(rows)
        if order == 1 or rows.shape[-2] == 1:  # of one number no power is taken
            return c.record.sop(sizes, None, c.format)
        if np.isinf(order):
            return c.record.combine("maximum" if order > 0 else "minimum", sizes, c.format)
        if order == 2:
            return of.map("sqrt", c.record.sop(sizes, sizes, c.format))
        powers = of.map("power", sizes, of.number(order))
        # The root is a literal, as 1/p is: known to one unit in its last place.
        return of.map("power", c.record.sop(powers, None, c.format), np.asarray(c.recorder.literal(1 / order)))

    ways: dict[str, Callable[[], Ids]] = {"√(Σ x² + y²)": directly} if order == 2 else {}
    return of.kernel("aten::linalg_vector_norm", c.held.reshape(rows.shape[:-2]), {**ways, "of |z|": by_moduli})


# Fourier transforms ---------------------------------------------------------------------------------------------------


def _fourier(c: Call) -> Results:
    of = Fourier(c.record, c.format)
    power = {0: 0.0, 1: -0.5, 2: -1.0}[int(c["normalization"])]
    axes = [int(d) % c["self"].ndim for d in c["dim"]]
    if c.name == "_fft_c2c":
        return of.complex(pair(c, c["self"]), axes, bool(c["forward"]), power, c.held)
    if c.name == "_fft_r2c":
        return of.of_real(c.operand("self"), axes, bool(c["onesided"]), power, c.held)
    return of.to_real(pair(c, c["self"]), axes, int(c["last_dim_size"]), power, c.held)


def _table() -> dict[str, Rule]:
    each: Sequence[str] = ("add sub rsub neg where masked_fill _to_copy copy sum mean cumsum scatter_add index_add "
                           "index_put _index_put_impl _unsafe_index_put put").split()  # fmt: skip
    real_rules = {**SCALAR_RULES, **SUM_RULES}
    return {
        **{name: _by_parts(real_rules[name]) for name in each},
        "eq": _compare,
        "ne": _compare,
        "mul": _multiply,
        "multiply": _multiply,
        "div": _divide,
        "divide": _divide,
        "square": lambda c: complexes(c).multiply(pair(c, c["self"]), pair(c, c["self"]), c.held),
        "reciprocal": _reciprocal,
        "pow": _pow,
        "abs": lambda c: complexes(c).modulus(pair(c, c["self"]), c.held),
        "angle": lambda c: complexes(c).angle(pair(c, c["self"]), c.held),
        "sgn": _function("sign"),
        **{name: _function(name) for name in ("exp", "log", "sqrt", "tan", "tanh", "sigmoid")},
        **{name: _trigonometric(name) for name in ("sin", "cos", "sinh", "cosh")},
        "rsqrt": _rsqrt,
        "complex": _complex,
        "polar": _polar,
        "_conj_physical": _conjugate,
        "conj_physical": _conjugate,
        "prod": _product_of_all,
        "cumprod": _cumulative_product,
        "mm": _matrices("self", "mat2"),
        "bmm": _matrices("self", "mat2"),
        "mv": _matrices("self", "vec"),
        "dot": _dot,
        "vdot": _dot,
        "addmm": _added("mat1", "mat2"),
        "baddbmm": _added("batch1", "batch2"),
        "addmv": _added("mat", "vec"),
        "linalg_vector_norm": _norm,
        **dict.fromkeys(("_fft_c2c", "_fft_r2c", "_fft_c2r"), _fourier),
    }


#: Operations that make complex numbers of real ones.
TO_COMPLEX = ("complex", "polar", "_fft_r2c")
COMPLEX_RULES: dict[str, Rule] = _table()
