"""What both levels share: the accepted forms, the trace by equation, and which of two step judgements binds."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradconform.adapters.contract import Answer, Trace
from gradconform.conformance.answered import WORST
from gradconform.reference.arithmetic.formats import FLOAT32, Format
from gradconform.reference.equations import Derivation, Equation
from gradconform.reference.judge import Judgement, left_open
from gradconform.reference.measurement import Measurement

#: Numbers of a quantity, and of what it is judged on, up to which its judgement is kept for whoever reports the same.
KEPT = 1 << 12
_packed = struct.Struct("<d").pack


def bits_of(x: Any) -> object:
    """What tells a number from another, or an array of them, NaN and the sign of 0 included."""
    if isinstance(x, float):
        return _packed(x)
    values = np.asarray(x)
    return values.dtype.name, values.shape, values.tobytes()


def widened(strict: Judgement, loose: Judgement, binds: bool, reason: str | None) -> tuple[Judgement, str | None]:
    """Hypothesis 9: which of the two judgements holds, the one with operands known exactly or to half an ulp."""
    if loose.verdict in ("deviates", "undecided") or not (binds or strict.verdict == "deviates"):
        return strict, reason
    if not binds:
        return strict, "operands: conforms if they are known to half an ulp only"
    if strict.verdict != "deviates":
        return strict, reason
    return replace(loose, sharpest_share=strict.sharpest_share, accepted_form=f"{loose.accepted_form} ±½ulp"), reason


def accepted(derivation: Derivation, target: Format, conventions: tuple[str, ...] = ()) -> Derivation:
    """The derivation with only the forms that matter in a format, and of those asked for only the `conventions`'."""
    return derivation.accepting(target.precision < FLOAT32.precision, conventions)


def unresolved(got: NDArray[Any], why: str) -> Judgement:
    """The judgement of a tensor that is too large for balls, with numbers that double words do not hold."""
    return left_open(f"operands: {why}", float(got.reshape(-1)[0]))


def same_bits(a: Mapping[str, Any], b: Mapping[str, Any]) -> bool:
    """Whether two sets of values are the same numbers; NaN is NaN, and zeros are equal whatever their sign."""
    return all(np.array_equal(x, b[n]) or np.array_equal(x, b[n], equal_nan=True) for n, x in a.items() if n in b)


def plain_reports(derivation: Derivation, answer: Answer) -> dict[str, Any]:
    """What the plain evaluation gave, as far as it did: the loss, the gradient, the updated weights, by equation."""
    found = {} if answer.loss is None else {derivation.loss: answer.loss}
    found |= {derivation.gradient[w]: v for w, v in (answer.gradient or {}).items()}
    return found | {derivation.updated[w]: v for w, v in (answer.updated or {}).items()}


@dataclass(frozen=True)
class Report:
    """A value that is judged on others: its quantity and equation, and the operands of the evaluation it belongs to."""

    quantity: str
    equation: Equation
    value: Any
    operands: Mapping[str, Any]
    note: str | None = None


def step_reports(derivation: Derivation, answer: Answer, compiled: bool = False) -> tuple[Report, ...]:
    """Every equation whose result and operands were reported, in the derivation's order.

    The trace's values are judged on one another. An update is judged on the plain gradient, and a plain gradient that
    is not the traced one, bit for bit, on the trace beside that: it must be within the rounding of the same step. Where
    a compiler made two programs of the two evaluations, that is only noted: either may have kept other digits.
    """
    trace = answer.trace or Trace({}, {}, {}, {})
    gradient = {derivation.gradient[w]: v for w, v in (answer.gradient or {}).items()}
    traced = {derivation.gradient[w]: v for w, v in trace.gradient.items()}
    inner = {**trace.values, **{derivation.adjoint(n): v for n, v in trace.adjoints.items()}, **traced}
    updated = {derivation.updated[w]: v for w, v in (answer.updated or {}).items()}
    traced_updates = {derivation.updated[w]: v for w, v in trace.updated.items()}
    apart = {n: v for n, v in gradient.items() if n in traced and not same_bits({n: v}, traced)}
    gradient_of = {new: derivation.gradient[w] for w, new in derivation.updated.items()}
    found: list[Report] = []

    def report(name: str, value: Any, operands: Mapping[str, Any], note: str | None = None) -> None:
        found.append(Report(name, derivation.by_name[name], value, operands, note))

    for equation in derivation.equations:
        name = equation.name
        if name in inner:
            report(name, inner[name], inner, "traced" if compiled and name in apart else None)
        if name in apart and not compiled:
            report(name, apart[name], inner, "traced")
        operands = gradient if name in updated and gradient_of[name] in gradient else inner
        if name in updated and gradient_of[name] in operands:
            report(name, updated[name], operands)
        again = {name: traced_updates[name]} if name in traced_updates else {}
        if again and gradient_of[name] in inner and not (name in updated and same_bits(again, updated)):
            report(name, traced_updates[name], inner, "traced")
    return tuple(found)


def worst_of_each(measurements: Iterable[Measurement]) -> Iterator[Measurement]:
    """Of measurements of the same quantity that follow one another, which was reported twice, the worst."""
    for _, same in groupby(measurements, key=lambda m: m.quantity):
        yield min(same, key=lambda m: WORST.index(m.verdict))
