"""The measurement: one flat row of a run, and the columns that everything downstream reads."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from gradconform.reference.arithmetic.formats import FORMATS
from gradconform.reference.components import deviating, named
from gradconform.reference.judge import ACCURACY, EXECUTION, FORMULA, VERDICTS, Judgement, noted

#: The three questions, by the column that holds the answer; the answers worst first.
QUESTIONS: Mapping[str, tuple[str, ...]] = {"formula": FORMULA, "execution": EXECUTION, "accuracy": ACCURACY}
#: The verdicts of what was not judged, and of what was.
UNJUDGED = ("unsupported", "crashed")
JUDGED: tuple[str, ...] = tuple(v for v in VERDICTS if v not in UNJUDGED)
#: The verdicts whose errors in ulps say how accurate a framework is. Of lost digits they say nothing: of 1e-300 in
#: place of 0 an error is as large as it likes.
CERTIFIED = ("conforms", "deviates")
#: The verdicts of what is within its allowance and certifies nothing.
UNCERTIFIED = ("lost", "vacuous", "ill-conditioned")

#: The first word of a measurement's reason, always one of these (`known:<id>` for a known deviation).
REASONS = (
    "dtype", "device", "derivation", "operation", "exception", "output", "operands", "traced", "known",
    "died", "timeout", "inputs", "state", "nondeterminism", "noise", "unstable", "approximates", "unreported",
    "convention",
    "lost", "record", "note", "components",
)  # fmt: skip
#: How the case of a program begins that `verify` judged, that of an optimizer, and that of a training run in a file.
PROGRAM, UPDATE, TRAINING = "program/", "update/", "train/"
#: How a program's quantities begin: a gradient by an argument, in forward mode the tangent of an output, or the output.
BY, TANGENT, VALUE = "d/d", "tangent of ", "value of "
#: How a quantity begins in each mode.
QUANTITY = {"reverse": BY, "forward": TANGENT, "value": VALUE}
#: What is called so by which the framework has no derivative, in each mode.
EVERY = {"reverse": "every argument", "forward": "every output", "value": "every output"}


@dataclass(frozen=True)
class Measurement:
    """case × adapter/route × dtype × level × quantity, and what is said of it.

    `level` is "whole" (the quantity from the case's inputs) or "step" (its equation on the operands that the framework
    itself reported). For arrays the numbers are those of the component with the largest share, at `worst_index`.
    `error_ulp` (of that component), `max_ulp` (the largest of all components) and `median_ulp` are in units in the last
    place of the truth; `truth` is a decimal, at a kink the set "[lo, hi]". `share` is |value − centre|/allowance for
    the accepted form that is named, `sharpest_share` for the one with the smallest allowance; `certified_bits` is
    −log2((|centre − truth| + allowance)/|truth|), for an updated weight against its step |η·gradient|, for a tensor
    with 2-norms.

    `formula`, `execution` and `accuracy` answer the three questions of the claim, `verdict` is what they come to, and
    `cause` names what is at fault where it deviates, such as "convention: …". `operator` is the operation that the
    equation is of, such as "gelu" or "linear", and of a case of the catalogue of operators the one that it is of.
    """

    case: str
    adapter: str
    route: str
    dtype: str
    level: str | None
    quantity: str
    elements: int
    value: float | None = None
    truth: str | None = None
    truth_radius: float | None = None
    error_abs: float | None = None
    error_ulp: float | None = None
    max_ulp: float | None = None
    median_ulp: float | None = None
    allowance: float | None = None
    share: float | None = None
    sharpest_share: float | None = None
    accepted_form: str | None = None
    certified_bits: float | None = None
    worst_index: str | None = None
    operator: str | None = None
    formula: str | None = None
    execution: str | None = None
    accuracy: str | None = None
    verdict: str = "crashed"
    cause: str | None = None
    reason: str | None = None

    def because(self, reason: str) -> Measurement:
        """The same measurement with a reason, before any that it has."""
        return replace(self, reason=f"{reason}; {self.reason}" if self.reason else reason)

    def row(self) -> dict[str, Any]:
        return dict(vars(self))


COLUMNS = tuple(f.name for f in fields(Measurement))


def judged(
    of: dict[str, Any],
    judgement: Judgement,
    elements: int = 1,
    shape: tuple[int, ...] | None = None,
    operator: str | None = None,
) -> Measurement:
    """A measurement of the quantity that `of` identifies (case … quantity) from its judgement.

    The worst component of a tensor of the given shape is named by its indices, such as "3,17", and the reason says
    which components deviate.
    """
    numbers = numbers_of(judgement)
    index = numbers.pop("worst_index")
    worst = named(np.unravel_index(index, shape) if shape else (index,)) if elements > 1 else None
    which = which_deviate(judgement, shape) if shape else None
    numbers["reason"] = noted(judgement.reason, which)
    return Measurement(**of, **numbers, elements=elements, worst_index=worst, operator=operator)


def numbers_of(judgement: Judgement) -> dict[str, Any]:
    """What a measurement has of a judgement, and `worst_index` as a number."""
    return {k: v for k, v in vars(judgement).items() if k != "deviating"}


def which_deviate(judgement: Judgement, shape: tuple[int, ...], parts: bool = False) -> str | None:
    """The reason that says which components of a tensor of this shape deviate; None where none does, and of a number.

    Of complex numbers the last axis is that of their `parts`.
    """
    numbers = judgement.deviating
    if judgement.verdict != "deviates" or numbers is None or not numbers.size or math.prod(shape) == 1:
        return None
    return f"components: {deviating(numbers, shape, parts)}"


#: The truth at a kink: the ends of a set, each a decimal.
_SET = re.compile(r"\[([^\s,\[\]]+), ([^\s,\[\]]+)\]")


def truth_ends(truth: str) -> tuple[str, str]:
    """The two ends of a truth that is a set "[lo, hi]"; one that is a single decimal twice."""
    ends = _SET.fullmatch(truth)
    return (ends[1], ends[2]) if ends else (truth, truth)


def shown_truth(truth: str, digits: Callable[[str], str]) -> str:
    """A truth with each of its decimals as `digits` gives it. A set stays a set; its centre means nothing.

    >>> shown_truth("[0.0000, 1.0000]", lambda decimal: f"{float(decimal):g}")
    '[0, 1]'
    """
    ends = _SET.fullmatch(truth)
    return f"[{digits(ends[1])}, {digits(ends[2])}]" if ends else digits(truth)


def shortest(values: ArrayLike, dtype: str) -> list[str]:
    """The shortest decimal of each number that is it in the dtype, so that whoever reads it has the same number.

    >>> shortest([-0.984863281250, 65504.0], "float16")
    ['-0.985', '65500']
    """
    return FORMATS[dtype].shortest(values)


def kept_by(reason: str | None) -> str | None:
    """What keeps the digits that a program loses, as the reason of a row that is lost names it after the first word."""
    parts = reason.split("; ") if reason else []
    found = [part.partition(": ")[2] for part in parts if part.startswith(("lost: ", "unstable: "))]
    return found[0] if found else None


def stands_for(quantity: str) -> str | None:
    """How the quantities begin that a row says of, all at once, why they were not judged; None for a row of one.

    >>> stands_for("*"), stands_for("tangent of every output"), stands_for("tangent of output")
    ('', 'tangent of ', None)
    """
    every = {BY + EVERY["reverse"]: BY, TANGENT + EVERY["forward"]: TANGENT, "*": ""}
    return every.get(quantity.partition(", ")[0])


def asked_of(quantity: str) -> str:
    """What of an operator a quantity is: its value, a derivative or a tangent, of it or of its gradient.

    >>> asked_of("value of output"), asked_of("d/dx"), asked_of("d/dx, of the gradient of sinc")
    ('value', 'derivative', 'second derivative')
    >>> asked_of("tangent of output 0, of the gradient of sinc")
    'second tangent'
    """
    if quantity.startswith(VALUE):
        return "value"
    what = "tangent" if quantity.startswith(TANGENT) else "derivative"
    return f"second {what}" if ", of the gradient of " in quantity else what


def is_program(case: str) -> bool:
    """Whether a case is a user's function that `verify` judged, and none of the catalogue's derivations."""
    return case.startswith(PROGRAM)


def _bits(certified: float) -> str:
    """So many bits; below 0 their number says nothing but that there is none."""
    return f" {certified:.1f} bits" if certified > 0 else " (no bit is certain)"


def _only_small(m: Measurement) -> bool:
    """Whether of the truth no digit is known, but that it is next to 0."""
    if not m.truth or m.truth.startswith("[") or not m.truth_radius:
        return False
    return abs(float(m.truth)) <= m.truth_radius


#: How reasons begin that are about digits.
OF_DIGITS = ("lost: ", "digits go at ")


def told(m: Measurement) -> str:
    """What is said of a program's gradient: a line where it conforms, else what was got and what is right below it.

    >>> told(Measurement("program/f/1", "torch", "eager", "float32", "whole", "d/dx", 1, verdict="conforms"))
    '∂/∂x (eager): conforms, exactly'
    """
    if m.quantity == "*":  # all of a function, which was not judged
        return f"{m.case.removeprefix(PROGRAM)}: {m.verdict}: {m.reason}"
    what = next((w for w in (TANGENT, VALUE) if m.quantity.startswith(w)), BY)
    argument, comma, of = m.quantity.removeprefix(what).partition(", ")
    what = "∂/∂" if what == BY else what
    at = f"{argument}[{m.worst_index}]" if m.worst_index else argument
    bits = "" if m.certified_bits is None or not math.isfinite(m.certified_bits) else _bits(m.certified_bits)
    off = f", at most {m.max_ulp:.3g} ulp off" if m.max_ulp is not None and math.isfinite(m.max_ulp) else ""
    head = f"{what}{at}{comma}{of} ({m.route}): {m.verdict}"
    if m.verdict == "unsupported":
        return f"{head}: {m.reason}"
    if m.verdict == "conforms":
        return f"{head},{bits or ' exactly'}{off}"
    disproved = m.formula in ("wrong", "undefined")  # digits of what is wrong are no news
    kept = f", {m.accuracy}{bits}" if m.accuracy and not disproved else ""
    answers = f"formula {m.formula}, execution {m.execution}{kept}"
    right = "the definition" if what == VALUE else "the derivative"
    if m.formula == "unknown":  # where something left the record, or not enough digits are known
        off, right = "", f"{right}, as far as it is known,"
    there = f"{right} is {m.truth}" if m.truth is not None else f"{right.split(',')[0]} is not known"
    if _only_small(m):
        there = f"{right} is 0 to within {m.truth_radius:.2g}"
    if m.truth == "0" or _only_small(m):
        off = ""  # of the smallest number's ulp
    there = "there is no derivative" if m.formula == "singular" else there
    reasons = [r for r in (m.reason or "").split("; ") if not (disproved and r.startswith(OF_DIGITS))]
    lines = [head, answers, f"got {m.value!r}{off}", there, *(["; ".join(reasons)] if any(reasons) else [])]
    return "\n      ".join(lines)
