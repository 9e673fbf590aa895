"""Cases of the catalogue's operators: random over the domain by binade, and edges.

A case is named operator/NAME/CASE. Its numbers are of the dtype that is asked for, whose smallest and largest they try.
"""

from __future__ import annotations

import fnmatch
import math
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from gradconform.reference.arithmetic.formats import FORMATS, Format
from gradconform.reference.cases import unknown
from gradconform.reference.derivations.operators.catalogue import OPERATORS
from gradconform.reference.derivations.operators.operator import Operand, Operator

PREFIX = "operator/"
#: How the arrays of a case lie in memory.
Layout = Literal["plain", "strided"]
#: Numbers in a random case of elementwise operators.
COUNT = 8
#: Shapes of the operands where these are broadcast, by their number.
_BROADCAST: Mapping[int, tuple[tuple[int, ...], ...]] = {
    2: ((3, 1), (2,)), 3: ((3, 1), (2,), (1, 1)),
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class OperatorCase:
    """An operator at some operands, in float64 with the numbers of a dtype, and with a set of parameters."""

    operator: Operator
    name: str
    operands: tuple[NDArray[Any], ...]
    parameters: Mapping[str, Any]
    layout: Layout = "plain"

    @property
    def id(self) -> str:
        return f"{PREFIX}{self.operator.name}/{self.name}"


def chosen(glob: str) -> list[Operator]:
    """The operators that a name or glob such as operator/gelu or operator/* is of.

    Raises BadInput, with the nearest names, where there is none.
    """
    name = glob.removeprefix(PREFIX).split("/")[0]
    found = [o for o in OPERATORS.values() if fnmatch.fnmatchcase(o.name, name)]
    if not found:
        raise unknown("operator", name, OPERATORS, "(gradconform list operators)")
    return found


def cases(operator: Operator, dtype: str) -> Iterator[OperatorCase]:
    """The cases of an operator in a dtype. Raises BadInput for a dtype that the operator does not have."""
    if dtype not in operator.dtypes:
        raise unknown(f"dtype of {operator.name}", dtype, operator.dtypes)
    format = FORMATS[dtype]
    for number, parameters in enumerate(operator.parameters):
        suffix = f"-{number + 1}" if number else ""
        for name, operands, layout in _operands(operator, format):
            rounded = tuple(
                x if k.kind in ("index", "mask") else _rounded(format, x)
                for x, k in zip(operands, operator.operands, strict=True)
            )
            yield OperatorCase(operator, name + suffix, rounded, parameters, layout)


def _operands(operator: Operator, format: Format) -> Iterator[tuple[str, Sequence[NDArray[Any]], Layout]]:
    drawn = np.random.default_rng(zlib.crc32(operator.name.encode()))
    of = operator.operands
    if operator.elementwise:
        yield "ordinary", [_draw(x, (COUNT,), drawn) for x in of], "plain"
        if any(x.draws == "binades" for x in of):
            yield "binades", [_draw(x, (COUNT,), drawn, format) for x in of], "plain"
        yield "strided", [_draw(x, (3, 2), drawn) for x in of], "strided"
        yield "one", [_draw(x, (), drawn) for x in of], "plain"
        yield "empty", [_draw(x, (0,), drawn) for x in of], "plain"
        if len(of) in _BROADCAST:
            yield "broadcast", [_draw(x, s, drawn) for x, s in zip(of, _BROADCAST[len(of)], strict=True)], "plain"
        if len(of) == 1:
            for name, numbers in _edges(operator, format):
                yield name, [np.resize(np.array(numbers), COUNT)], "plain"  # of one shape, for what compiles
    else:
        yield "ordinary", [_draw(x, x.shape or (), drawn) for x in of], "plain"
        if any(len(x.shape or ()) > 1 for x in of):
            yield "strided", [_draw(x, x.shape or (), drawn) for x in of], "strided"
    for name, operands in operator.edges.items():
        yield (
            name,
            [np.asarray(v, dtype=_KINDS.get(k.kind, np.float64)) for v, k in zip(operands, of, strict=True)],
            "plain",
        )


def _rounded(format: Format, x: NDArray[Any]) -> NDArray[Any]:
    return np.asarray(format.round(x.real) + 1j * format.round(x.imag)) if x.dtype.kind == "c" else format.round(x)


_KINDS: Mapping[str, Any] = {"index": np.int64, "mask": np.bool_, "complex": np.complex128}


def _edges(operator: Operator, format: Format) -> Iterator[tuple[str, Sequence[float]]]:
    """What every function of one number is tried at, as far as its domain has it."""
    low, high = operator.operands[0].domain
    smallest = math.ldexp(1.0, format.emin - format.precision + 1)
    named: dict[str, Sequence[float]] = {
        "zero": (0.0, -0.0),
        "subnormal": (smallest, -smallest, math.ldexp(0.75, format.emin)),
        "small": (math.ldexp(1.0, format.emin), -math.ldexp(1.0, format.emin), math.ldexp(1.0, -format.precision // 2)),
        "large": (math.ldexp(1.75, format.emax), -math.ldexp(1.75, format.emax), math.ldexp(1.0, format.emax // 2)),
        "saturated": (-20.0, -9.0, 9.0, 20.0, 90.0),
        "bounds": [x for x in (low, high) if math.isfinite(x)],
        "singularities": operator.singularities,
    }  # fmt: skip
    for name, numbers in named.items():
        inside = [x for x in numbers if low <= x <= high]
        # Where subnormal numbers are flushed, what jumps at 0 may take its value there.
        if name == "subnormal" and 0.0 in operator.singularities:
            continue
        if inside and not (name == "bounds" and set(inside) <= set(operator.singularities)):
            yield name, inside


def _draw(of: Operand, shape: tuple[int, ...], drawn: np.random.Generator, over: Format | None = None) -> NDArray[Any]:
    """Random numbers of an operand: ordinary ones of its domain, or those of every binade of a format."""
    low, high = of.domain
    if of.kind == "mask":
        return np.asarray(drawn.integers(0, 2, shape) > 0)
    if of.kind == "index":
        chosen_from = drawn.permutation(int(high))[: math.prod(shape)] if of.draws == "distinct" else None
        return np.asarray(drawn.integers(0, int(high), shape) if chosen_from is None else chosen_from)
    if of.kind == "complex":
        return np.asarray(drawn.normal(size=shape) + 1j * drawn.normal(size=shape))
    if of.draws == "definite":
        root = drawn.normal(size=shape)
        return np.asarray(root @ root.T + np.eye(shape[0]))
    if of.draws == "distinct":
        return np.asarray((drawn.permutation(math.prod(shape)) - math.prod(shape) / 3) / 4).reshape(shape)
    if over is not None and of.draws == "binades":
        return _by_binade(low, high, shape, drawn, over)
    if math.isfinite(low) and math.isfinite(high):
        return np.asarray(low + (high - low) * drawn.uniform(0.05, 0.95, shape))
    found = drawn.normal(size=shape) * 1.5
    if of.draws == "positive" or math.isfinite(low):
        found = max(low, 0.0) + np.abs(found) + 0.25
    return np.asarray(found)


def _by_binade(
    low: float, high: float, shape: tuple[int, ...], drawn: np.random.Generator, over: Format
) -> NDArray[np.float64]:
    """Numbers whose exponents are spread over the domain's; near a finite end their distances from it are."""
    exponents = drawn.uniform(over.emin, over.emax, shape)
    if math.isfinite(low) and math.isfinite(high):
        near = np.exp2(drawn.uniform(-over.precision, -1.0, shape)) * (high - low)
        return np.asarray(np.where(drawn.integers(0, 2, shape) > 0, low + near, high - near))
    sizes = np.exp2(exponents)
    if math.isfinite(low):
        return np.asarray(np.clip(low + sizes, low, over.largest))
    return np.asarray(np.clip(sizes * drawn.choice([-1.0, 1.0], shape), -over.largest, over.largest))
