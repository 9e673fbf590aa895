"""Kernels: the rules compiled by numba, for elements of arrays one after another, where numba is installed.

The functions of `rules` and `function_rules` are compiled as they stand; this module says what their primitives are for
a float64 and how an array's elements are handed to them. Kernels are compiled when they are first asked for, kept in
numba's cache, and release Python's lock. A cached kernel is of one text of the rules: its type has that text's digest.
"""

from __future__ import annotations

import hashlib
import math
import sys
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic, overload, overload_method

from gradconform.reference.arithmetic import array_values, elementary, function_rules, products, rules, specials
from gradconform.reference.arithmetic.array_values import ENLARGED, LARGEST, LEAST, NEVER_ZERO
from gradconform.reference.arithmetic.elementary import INLINE
from gradconform.reference.arithmetic.profiles import OPENCL
from gradconform.reference.arithmetic.specials import ANYTHING, table


class Compiled(NamedTuple):
    """The executor of compiled rules: the constants of a format and a profile."""

    unit: float
    smallest_normal: float
    half_tiny: float
    overflow: float
    infinite: float
    slack: float
    log_of_tiny: float
    flush: bool
    bounds: tuple[tuple[float, int, int, int, bool], ...]
    zero: float = 0.0
    nothing: float = 0.0
    least: float = LEAST
    underflows: bool = True
    #: Where it is noted whether all held that `every` asked, of an executor that goes on as if it did.
    note: Any = None
    #: Such a one that `normal` is a shortcut for: it takes longer, and goes on where numbers underflow.
    gradual: Any = None


class Element(NamedTuple):
    """A value of it."""

    mid: float
    off: float
    bits: Any
    width: float


FUNCTIONS = tuple(OPENCL.ulps["float64"])


@lru_cache(maxsize=64)
def executor(A: Any) -> Compiled:
    """The executor of an arithmetic of arrays of plain midpoints."""
    bounds = []
    for name in FUNCTIONS:
        bound, counted, rounds = A.bound(name)
        bounds.append((bound, counted.emin, counted.emax, counted.precision, rounds))
    return Compiled(
        A.unit, A.smallest_normal, A.half_tiny, A.overflow, A.infinite, A.slack, A.log_of_tiny, A.flush, tuple(bounds)
    )


# Primitives -----------------------------------------------------------------------------------------------------------


@intrinsic
def noted_at(context: Any) -> Any:
    """Where it is noted what held of an element: a register, once all is inlined."""

    def made(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return cgutils.alloca_once(builder, ir.IntType(8))

    return types.CPointer(types.uint8)(), made


#: What is noted of an element: whether all held that `every` asked, and `normal`.
EVERY, NORMAL = 1, 2
ORDINARY = EVERY | NORMAL


@intrinsic
def started(context: Any, at: Any) -> Any:
    def made(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        builder.store(ir.Constant(ir.IntType(8), ORDINARY), arguments[0])
        return context.get_dummy_value()

    return types.none(at), made


@intrinsic
def what_held(context: Any, at: Any) -> Any:
    return types.uint8(at), lambda c, builder, s, arguments: builder.load(arguments[0])


def _asked(bit: int) -> Any:
    """Note a condition, and go on as if it held."""

    @intrinsic
    def asked(context: Any, at: Any, condition: Any) -> Any:
        def made(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            here, condition = arguments
            byte = ir.IntType(8)
            held = builder.select(condition, ir.Constant(byte, ORDINARY), ir.Constant(byte, ORDINARY & ~bit))
            builder.store(builder.and_(builder.load(here), held), here)
            return ir.Constant(ir.IntType(1), 1)

        return types.boolean(at, types.boolean), made

    return asked


_every_asked, _normal_asked = _asked(EVERY), _asked(NORMAL)


#: The names of those that are here.
PRIMITIVES: set[str] = set()


def _primitive(name: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """A primitive whose implementation is chosen by its operands' types."""
    PRIMITIVES.add(name)
    chosen: Callable[[Callable[..., Any]], Callable[..., Any]] = overload_method(
        types.NamedTuple, name, jit_options=INLINE, prefer_literal=True, strict=False
    )
    return chosen


def _simple(name: str, implementation: Callable[..., Any]) -> None:
    """A primitive that is the same whatever its operands' types are."""
    chosen: dict[int, Callable[..., Any]] = {
        2: lambda E, a: implementation,
        3: lambda E, a, b: implementation,
        4: lambda E, a, b, c: implementation,
    }
    PRIMITIVES.add(name)
    method = overload_method(types.NamedTuple, name, jit_options=INLINE, strict=False)
    method(chosen[implementation.__code__.co_argcount])


_simple("size", lambda E, x: abs(x))
_simple("high", lambda E, x: x)
_simple("rest", lambda E, x: 0.0)
_simple("no", lambda E, c: not c)
_simple("vanishes", lambda E, x: x == 0)
_simple("shortcut", lambda E, c: c)
_simple("finite", lambda E, x: abs(x) <= LARGEST)
_simple("number", lambda E, x: x)
_simple("lift", lambda E, x: x)
_simple("larger", lambda E, a, b: a if a >= b else b)
_simple("smaller", lambda E, a, b: a if a <= b else b)
_simple("pick", lambda E, c, a, b: a if c else b)
_simple("pick_mid", lambda E, c, a, b: a if c else b)
_simple("flag", lambda E, c, bit: bit if c else 0)
_simple("outwards", lambda E, s, r: 0.0 if r == 0 else r * (1 + E.slack) + (s + r) * 2.0**-50)
_simple("without", lambda E, r, p: (r - p if r > p else 0.0) + 2.0**-51 * p if p > 0 else r)
_simple("apart", lambda E, mid, number: abs(mid - number) * (1 + 2.0**-48))
_simple("apart_mids", lambda E, a, b: abs(a - b) * ENLARGED)
_simple("is_zero", lambda E, x: x.mid == 0 and x.off == 0 and x.bits == 0)
_simple("raised", lambda E, v, r: v + r + (abs(v) * 2.0**-51 + r * 2.0**-51))
_simple("lowered", lambda E, v, r: v - r)
_simple("one_plus", lambda E, v, r: 1 + (v - r) if v >= 2 else 1 + v - abs(1 + v) * 2.0**-51 - r)
_simple("rise", lambda E, a, b: max(a - b, 0.0) + (abs(a) + abs(b)) * 2.0**-50)
_simple("upwards", lambda E, x: x * ENLARGED)
_simple("above_zero", lambda E, x: max(x, LEAST))
_simple("positive", lambda E, x: x if x > 0 else 0.0)
_simple("absolute_of", lambda E, x: abs(x))
_simple("is_away", lambda E, v, r: abs(v) > 4 * E.slack * r)
_simple("middle", lambda E, a, b: (a + b) * 0.5)
_simple("half_width", lambda E, a, b: (abs(a - b) / 2, 0.0))


def _guesses(E: Any) -> bool:
    """Whether an executor, by its type, goes on as if what it is asked held."""
    return isinstance(E[E.fields.index("note")], types.CPointer)


@_primitive("every")
def _every(E: Any, condition: Any) -> Any:
    if _guesses(E):
        return lambda E, condition: _every_asked(E.note, condition)
    return lambda E, condition: condition


@_primitive("normal")
def _normal(E: Any, size: Any, radius: Any) -> Any:
    def guessed(E: Any, size: Any, radius: Any) -> Any:
        return _normal_asked(E.note, (size - radius >= E.smallest_normal) | (size + radius == 0))

    def known(E: Any, size: Any, radius: Any) -> Any:
        return size - radius >= E.smallest_normal

    return guessed if _guesses(E) and isinstance(E[E.fields.index("gradual")], types.NoneType) else known


def _value(E: Any, mid: Any, off: Any = 0.0, bits: Any = 0, width: Any = 0.0) -> Any:
    return lambda E, mid, off=0.0, bits=0, width=0.0: Element(mid, off, bits, width)


_primitive("value")(_value)


@_primitive("coerce")
def _coerce(E: Any, x: Any) -> Any:
    if isinstance(x, types.NamedTuple):
        return lambda E, x: x
    return lambda E, x: Element(x, 0.0, 0, 0.0)


@_primitive("held")
def _held(E: Any, mid: Any, size: Any, radius: Any, bits: Any, width: Any = 0.0) -> Any:
    def of(E: Any, mid: Any, size: Any, radius: Any, bits: Any, width: Any = 0.0) -> Any:
        held = size <= LARGEST and radius <= LARGEST
        return Element(
            mid if size <= LARGEST else 0.0, radius if held else 0.0, bits if held else bits | ANYTHING, width
        )

    return of


@_primitive("unknown")
def _unknown(E: Any, x: Any, where: Any, bits: Any) -> Any:
    def of(E: Any, x: Any, where: Any, bits: Any) -> Any:
        mid = x.mid if abs(x.mid) <= LARGEST or not where else 0.0
        return Element(mid, 0.0 if where else x.off, bits if where else x.bits, x.width)

    return of


@_primitive("ulp")
def _ulp(E: Any, sup: Any, counted: Any) -> Any:
    def of(E: Any, sup: Any, counted: Any) -> Any:
        exponent = (elementary.bits(min(sup * (1 + 2.0**-50), LARGEST)) >> 52) - 1023
        least = counted[0]
        return elementary.power(min(max(exponent, least), counted[1]) - counted[2] + 1)

    return of


@_primitive("bound")
def _bound(E: Any, name: Any) -> Any:
    i = FUNCTIONS.index(name.literal_value)

    def of(E: Any, name: Any) -> Any:
        bound, least, largest, precision, rounds = E.bounds[i]
        return bound, (least, largest, precision), rounds

    return of


@_primitive("sized")
def _sized(E: Any, name: Any, mid: Any) -> Any:
    if name.literal_value in NEVER_ZERO:
        return lambda E, name, mid: max(abs(mid), LEAST)
    return lambda E, name, mid: abs(mid)


@_primitive("function")
def _function(E: Any, name: Any, mid: Any) -> Any:
    own = elementary.FUNCTIONS.get(name.literal_value) if _guesses(E) else None  # alone, the library's is faster
    of = own or getattr(math, name.literal_value)
    return lambda E, name, mid: of(mid)


_primitive("math")(_function)


@_primitive("only")
def _only(E: Any, bits: Any, rule: Any, operation: Any, result: Any, a: Any, b: Any = None) -> Any:
    if b is None or isinstance(b, types.Omitted):
        return lambda E, bits, rule, operation, result, a, b=None: rule(E, operation, result, a)
    return lambda E, bits, rule, operation, result, a, b=None: rule(E, operation, result, a, b)


@_primitive("of_one")
def _of_one(E: Any, operation: Any, ways: Any) -> Any:
    row = table(operation.literal_value, 1)
    specials, least, largest = row.specials.astype(np.int64), row.least, row.largest
    return lambda E, operation, ways: (specials[ways], least[ways], largest[ways])


@_primitive("of_two")
def _of_two(E: Any, operation: Any, of_a: Any, of_b: Any) -> Any:
    row = table(operation.literal_value, 2)
    specials, least, largest = row.specials.astype(np.int64), row.least, row.largest
    return lambda E, operation, of_a, of_b: (specials[of_a, of_b], least[of_a, of_b], largest[of_a, of_b])


@_primitive("scaled")
def _scaled(E: Any, x: Any, power: Any) -> Any:
    return lambda E, x, power: x * power


@_primitive("times_power")
def _times_power(E: Any, x: Any, power: Any) -> Any:
    def of(E: Any, x: Any, power: Any) -> Any:
        found = x * power
        return found + LEAST if power < 1 and found < 2.0**-1022 and x > 0 else found

    return of


# Rules ----------------------------------------------------------------------------------------------------------------


def registered(rule: Callable[..., Any]) -> Callable[..., Any]:
    """The same function, which compiled ones may call from now on."""

    @overload(rule, strict=False, jit_options=INLINE, prefer_literal=True)
    def of(*arguments: Any) -> Any:
        return rule

    return rule


for _module in (rules, function_rules):
    for _name, _rule in vars(_module).items():
        if callable(_rule) and getattr(_rule, "__module__", "") == _module.__name__:
            registered(_rule)


@njit(**INLINE)
def ordinary(E: Any, note: Any, gradual: Any) -> Any:
    """The executor that goes on as if what `every` asks held: no branch is left of a rule, and loops are vectorised.

    Where something did not hold, of which a note is made, it gives nothing of use.
    """
    return Compiled(
        E.unit, E.smallest_normal, E.half_tiny, E.overflow, E.infinite, E.slack, E.log_of_tiny, E.flush, E.bounds,
        E.zero, E.nothing, E.least, E.underflows, note, gradual,
    )  # fmt: skip


def given(operand: Any, i: int) -> Element:
    """An element of an operand: of numbers known exactly, or of midpoints, radii and specials."""
    raise NotImplementedError("kernels alone have elements")


@overload(given, strict=False, jit_options=INLINE)
def _given(operand: Any, i: Any) -> Any:
    def exactly(operand: Any, i: Any) -> Any:
        # Of infinity and NaN no formula says anything.
        finite = abs(operand[i]) <= LARGEST
        return Element(np.float64(operand[i]) if finite else 0.0, 0.0, 0 if finite else ANYTHING, 0.0)

    def ball(operand: Any, i: Any) -> Any:
        return Element(operand[0][i], operand[1][i], np.int64(operand[2][i]), 0.0)

    return exactly if isinstance(operand, types.Array) else ball


# Kernels --------------------------------------------------------------------------------------------------------------

_SOURCES = (rules, function_rules, specials, array_values, elementary, products, sys.modules[__name__])
#: What a kernel was compiled from, a part of its key in numba's cache.
TEXT = hashlib.sha256(b"".join(Path(str(m.__file__)).read_bytes() for m in _SOURCES)).hexdigest()
