"""Cases and points: a derivation with concrete values, and the same values rounded to a dtype.

The constructors here check what they are given and raise `BadInput`, whose message says what was got, what was expected
and what to do.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from gradconform.reference.document import NETWORK
from gradconform.reference.equations import Derivation
from gradconform.reference.formats import FORMATS, Format

#: What an adapter may do with each forward quantity as it is computed: record it, or add a zero to differentiate by.
Tap = Callable[[str, Any], Any]

DERIVATIONS: Mapping[str, Derivation] = MappingProxyType({NETWORK.name: NETWORK})


class BadInput(ValueError):
    """Input that cannot be judged; the message is meant for the person who gave it."""


@dataclass(frozen=True)
class Case:
    """A derivation, by name, with a float64 value for every name it is given; picklable."""

    id: str
    derivation: str
    values: tuple[tuple[str, float], ...]

    @property
    def equations(self) -> Derivation:
        return DERIVATIONS[self.derivation]


@dataclass(frozen=True)
class Point:
    """What an adapter sees of a case at a dtype: exactly representable values, and the forward pass.

    `values` maps each input and parameter to a float64 number that the dtype holds exactly; so is `rate`, the learning
    rate. `forward(ops, values)` evaluates the document's forward equations over the framework's own tensors
    and named operations (`ops.sigmoid`), and returns every quantity by name, `loss` among them. `intermediates` are the
    quantities whose adjoints are judged if the trace reports them, as `adjoints[name]` = ∂loss/∂name.
    """

    case: str
    derivation: str
    dtype: str
    device: str
    values: Mapping[str, float]
    parameters: tuple[str, ...]
    rate: float
    loss: str
    intermediates: tuple[str, ...]

    def forward(self, ops: Any, values: Mapping[str, Any], tap: Tap | None = None) -> dict[str, Any]:
        """Every given and forward quantity by name; `tap(name, value)` may replace each one as it is computed."""
        computed = dict(values)
        for equation in DERIVATIONS[self.derivation].group("forward"):
            value = equation.forms[0].formula(ops, *[computed[o] for o in equation.operands])
            computed[equation.name] = tap(equation.name, value) if tap else value
        return computed


def point(case: Case, dtype: str, device: str = "cpu") -> Point:
    """Round a case's values, the rate included, to nearest in `dtype` (hypothesis 1).

    Raises BadInput if a value overflows there.
    """
    target = named_format(dtype)
    derivation = case.equations
    values = {}
    for name, value in case.values:
        rounded = float(target.round(value))
        if math.isinf(rounded):
            raise BadInput(
                f"case {case.id!r}: {name} = {value!r} rounds to infinity in {dtype}, whose largest number is "
                f"{target.largest!r}; use a smaller value or a wider dtype"
            )
        values[name] = rounded
    rate = values.pop(derivation.rate)
    return Point(
        case=case.id,
        derivation=case.derivation,
        dtype=dtype,
        device=device,
        values=MappingProxyType(values),
        parameters=derivation.parameters,
        rate=rate,
        loss=derivation.loss,
        intermediates=derivation.intermediates,
    )


def named_format(dtype: str) -> Format:
    """The format called `dtype`. Raises BadInput, with the nearest names, for another."""
    if dtype not in FORMATS:
        raise unknown("dtype", dtype, FORMATS)
    return FORMATS[dtype]


def unknown(kind: str, got: str, known: Iterable[str], hint: str = "") -> BadInput:
    """The error for a name that is not known, with the nearest ones that are."""
    import difflib

    names = sorted(known)
    near = difflib.get_close_matches(got, names, n=3, cutoff=0.4)
    listed = ", ".join(names[:8]) + (f", … ({len(names)} in all)" if len(names) > 8 else "")
    suggestion = f"did you mean {' or '.join(repr(n) for n in near)}?" if near else f"known: {listed}"
    return BadInput(f"unknown {kind} {got!r}; {suggestion}{' ' + hint if hint else ''}")


def document_case(
    id: str,
    *,
    weights: Sequence[float],
    inputs: Sequence[float],
    targets: Sequence[float],
    rate: float,
) -> Case:
    """A case of the document's 2-2-2 sigmoid network.

    `weights` are w1 … w8, `inputs` i1 i2, `targets` t1 t2, `rate` the learning rate η; dimensionless finite numbers,
    kept as float64. Raises BadInput for a wrong number of values or one that is not a finite number.

    >>> case = document_case("mine/one", weights=[0.1] * 8, inputs=(1, 2), targets=(0, 1), rate=0.5)
    >>> dict(case.values)["i2"]
    2.0
    """
    if not id or not all(c.isalnum() or c in "-_./" for c in id) or id.startswith((".", "/")) or ".." in id:
        raise BadInput(
            f"case id {id!r}: expected letters, digits and - _ . / such as 'mine/one'; it names files and rows"
        )
    groups = {
        "weights": (weights, NETWORK.parameters),
        "inputs": (inputs, ("i1", "i2")),
        "targets": (targets, ("t1", "t2")),
    }
    values: list[tuple[str, float]] = []
    for argument, (given, names) in groups.items():
        try:
            numbers = [float(v) for v in given]
        except (TypeError, ValueError) as error:
            raise BadInput(f"case {id!r}: {argument} must be numbers {' '.join(names)}, got {given!r}") from error
        if len(numbers) != len(names):
            raise BadInput(
                f"case {id!r}: {argument} must be {len(names)} numbers ({' '.join(names)}), got {len(numbers)}"
            )
        values += zip(names, numbers, strict=True)
    try:
        values.append((NETWORK.rate, float(rate)))
    except (TypeError, ValueError) as error:
        raise BadInput(f"case {id!r}: rate must be a number, got {rate!r}") from error
    for name, number in values:
        if not math.isfinite(number):
            raise BadInput(f"case {id!r}: {name} is {number!r}; every value must be finite")
    return Case(id, NETWORK.name, tuple(values))
