"""Explain: the derivation equation by equation, with the truth, and what a framework computed beside it."""

from __future__ import annotations

import fnmatch
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Context, Decimal, InvalidOperation
from html import escape
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from gradconform.conformance.command_line import derivation_latex
from gradconform.reference.arithmetic.arrays import RoundedArrays
from gradconform.reference.arithmetic.exact import EXACT, decimal, precision
from gradconform.reference.arithmetic.formats import FLOAT64, Format
from gradconform.reference.arithmetic.profiles import OPENCL
from gradconform.reference.arithmetic.text import formula, symbol
from gradconform.reference.cases import BadInput, Case, named_format, point, unknown
from gradconform.reference.cases import derivation as derivation_of
from gradconform.reference.equations import Derivation, Equation, Evaluation
from gradconform.reference.measurement import QUESTIONS, Measurement, shown_truth

#: What a derivation is written as: text for a terminal, LaTeX for an article, Markdown for a notebook.
FORMATS = ("text", "latex", "markdown")
#: A decimal, or the rows of a tensor.
Numbers: TypeAlias = "str | tuple[Numbers, ...]"
#: Tensors of at most so many components are shown one by one.
FEW = 16
#: Significant digits of what a formula is written with, by precision: no more than the dtype's own mean something.
_DIGITS = {"float64": 9, "float32": 6}


@dataclass(frozen=True)
class Line:
    """One equation of a derivation: what it says, what is true, and what a framework made of it, if it was asked.

    `numbers` is the formula with its operands' numbers and what that comes to, empty where they are too many. `latex`
    is the symbol, and what it is equal to, each after its sign: the formula, that with numbers, what it comes to.
    """

    group: str
    symbol: str
    formula: str
    truth: str
    measured: Measurement | None
    numbers: str = ""
    latex: tuple[str, ...] = ()

    def told(self) -> Iterator[tuple[str, str]]:
        """The lines of text that it is printed as, each after what it is of: what its verdict or kind is."""
        yield "equation", f"{self.symbol} = {self.formula}"
        if self.numbers:
            yield "numbers", f"    = {self.numbers}"
        yield "truth", f"    truth {self.truth}"
        m = self.measured
        if m is None:
            return
        yield m.verdict, f"    {found(m)}"
        if m.level == "step" and m.truth is not None:
            # What the error and the share of a step are of: not the truth above, which is from the inputs.
            of_step = shown_truth(m.truth, lambda decimal: f"{Decimal(decimal):.17g}")
            yield "truth", f"    truth from its own operands {of_step}"
        if said := answers(m):
            yield m.verdict, f"    {said}"


@dataclass(frozen=True, repr=False)
class Explanation:
    """A case's derivation at a dtype, as text in one of FORMATS and, in a notebook, as a table.

    `given` are the case's numbers by name, `lines` its equations; `problem` is what kept the framework from answering.
    `numbers` are those of `given` that are not too many, as decimals.
    """

    given: Mapping[str, str]
    lines: tuple[Line, ...]
    problem: str | None
    title: str = ""
    numbers: Mapping[str, Numbers] = field(default_factory=dict)
    format: str = "text"

    def told(self) -> Iterator[tuple[str, str]]:
        """The lines of its text, each after what it is of: "title", "given", "problem", "group" or as a `Line` has."""
        if self.title:
            yield "title", self.title
        yield "given", ", ".join(f"{symbol(n)} = {v}" for n, v in self.given.items())
        if self.problem:
            yield "problem", self.problem
        group = ""
        for line in self.lines:
            if line.group != group:
                group = line.group
                yield "group", f"\n{group}"
            yield from line.told()

    def __str__(self) -> str:
        if self.format == "latex":
            return derivation_latex.latex(self)
        if self.format == "markdown":
            return derivation_latex.markdown(self)
        return "\n".join(text for _, text in self.told())

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        measured = any(line.measured for line in self.lines)
        headings = ["equation", "with numbers", "truth", *(["got", "ulp", "share", "verdict"] if measured else [])]
        rows = []
        for line in self.lines:
            m = line.measured
            cells = [f"{line.symbol} = {line.formula}", line.numbers, line.truth]
            if measured:
                cells += ["", "", "", ""] if m is None else [_number(m.value), _number(m.error_ulp), _number(m.share),
                                                            m.verdict]  # fmt: skip
            rows.append("".join(f"<td style='text-align:left'>{escape(c)}</td>" for c in cells))
        head = "".join(f"<th style='text-align:left'>{h}</th>" for h in headings)
        before = [text for kind, text in self.told() if kind in ("title", "given", "problem")]
        said = "".join(f"<p>{escape(text)}</p>" for text in before)
        return f"{said}<table><tr>{head}</tr>{''.join(f'<tr>{row}</tr>' for row in rows)}</table>"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"


def found(m: Measurement) -> str:
    """What a framework made of an equation, how far off it is, and the verdict."""
    ulps = "" if m.error_ulp is None else f", {m.error_ulp:.3g} ulp"
    if m.elements > 1 and m.max_ulp is not None:
        ulps += f" (largest {m.max_ulp:.3g})"
    share = "" if m.share is None else f", share {m.share:.3g}"
    where = "" if m.worst_index is None else f" at [{m.worst_index}]"
    return f"got   {m.value!r}{where}{ulps}{share}: {m.verdict} ({m.level}{f'; {m.reason}' if m.reason else ''})"


def answers(m: Measurement) -> str:
    """The answers to the three questions, and what is at fault."""
    bits = f" ({m.certified_bits:.3g} bits)" if m.accuracy == "certified" and m.certified_bits is not None else ""
    said = [f"{question} {answer}" for question in QUESTIONS if (answer := getattr(m, question))]
    return ", ".join(said) + bits + (f"; {m.cause}" if m.cause else "")


def explain(
    case: Case,
    dtype: str,
    measurements: Iterable[Measurement] = (),
    device: str = "cpu",
    only: Iterable[str] = (),
    title: str = "",
    format: str = "text",
) -> Explanation:
    """Every equation of a case's derivation, in order, with 17 digits of the truth at the rounded inputs.

    With a route's measurements, each line carries its own: at the step level where the framework reported the quantity,
    at the whole level otherwise. `only` are the quantities that are wanted, globs of names such as "dE_total/dw5" or as
    they are printed. Raises BadInput, with the nearest ones, for a glob that matches none.
    """
    if format not in FORMATS:
        raise unknown("format", format, FORMATS)
    at = point(case, dtype, device)
    derivation = derivation_of(at.derivation)
    wanted = _wanted(derivation, only)
    measured: dict[str, Measurement] = {}
    problem = None
    for m in measurements:
        if m.quantity == "*":
            problem = f"{m.verdict}: {m.reason}"
        elif m.level == "step" or m.quantity not in measured:
            measured[m.quantity] = m
    given: dict[str, Any] = {**at.values, derivation.rate: at.rate}
    target = named_format(dtype)
    digits = _DIGITS.get(target.name, 4)
    known = {n: t for n, v in given.items() if (t := given_numbers(v, target)) is not None}
    of_given = dict(known)
    if at.architecture is None:
        truth = scalar_truths(derivation, given)
        known |= {n: _shortened(t, digits) for n, t in truth.items()}
    else:
        arrays = array_truths(derivation, given)
        truth = array_texts(arrays)
        known |= {
            n: _in_line(v.middle, digits) for n, v in arrays.items() if v.middle.size <= FEW and not v.reach.any()
        }
    texts = {n: text_of(numbers) for n, numbers in known.items()}
    return Explanation(
        {n: texts[n].strip("()") if n in texts else _shape(v) for n, v in given.items()},
        tuple(
            Line(
                e.group, symbol(e.name), formula(e), truth[e.name], measured.get(e.name), _numbers(e, texts),
                derivation_latex.sides(e, known, digits),
            )
            for e in derivation.equations
            if e.name in wanted
        ),
        problem,
        title or f"{case.id} in {target.name}",
        of_given,
        format,
    )  # fmt: skip


def _wanted(derivation: Derivation, only: Iterable[str]) -> set[str]:
    names = [e.name for e in derivation.equations]
    globs = [only] if isinstance(only, str) or not isinstance(only, Iterable) else list(only)
    wanted = set() if globs else set(names)
    for glob in globs:
        if not isinstance(glob, str):
            raise BadInput(f"only is {glob!r}; expected the name of a quantity, such as {names[-1]!r}, or several")
        matching = {n for n in names if fnmatch.fnmatchcase(n, glob) or fnmatch.fnmatchcase(symbol(n), glob)}
        if not matching:
            raise unknown("quantity", glob.replace("∂", "d"), names)
        wanted |= matching
    return wanted


def _numbers(equation: Equation, texts: Mapping[str, str]) -> str:
    """The formula with its operands' numbers, and what it comes to."""
    if equation.name not in texts or any(o not in texts for o in equation.operands):
        return ""
    put, result = derivation_latex.in_one_bracket(formula(equation, symbols=texts)), texts[equation.name]
    return "" if put == result else f"{put} = {result.strip('()')}"  # a quantity that is another one by a second name


def given_text(value: Any, target: Format) -> str | None:
    """A number, or a small tensor of them, as people gave it; None where it is too large."""
    numbers = given_numbers(value, target)
    return None if numbers is None else text_of(numbers)


def given_numbers(value: Any, target: Format) -> Numbers | None:
    """The same as decimals."""
    return _nested(np.asarray(value), lambda x: target.shortest(x)[0]) if np.size(value) <= FEW else None


def _shape(value: Any) -> str:
    return " × ".join(map(str, np.shape(value)))


def _shortened(decimal: str, digits: int) -> str:
    """A decimal to so many digits, as short as those allow, however far beyond float64's range."""
    try:
        short = Context(prec=digits).plus(Decimal(decimal))
    except InvalidOperation:
        return decimal
    return repr(float(short)).removesuffix(".0") if -300 < short.adjusted() < 300 else str(short)


def text_of(numbers: Numbers) -> str:
    """A number as it stands in a formula, in brackets where it is negative; a tensor in brackets of its own."""
    if isinstance(numbers, str):
        return f"({numbers.replace('-', '−', 1)})" if numbers.startswith("-") else numbers
    return f"[{' '.join(n if isinstance(n, str) else text_of(n) for n in numbers)}]"


def _in_line(values: NDArray[np.float64], digits: int) -> Numbers:
    return _nested(values, lambda x: repr(float(f"{x:.{digits}g}")).removesuffix(".0"))


def _nested(values: NDArray[np.float64], decimal: Callable[[float], str]) -> Numbers:
    return tuple(_nested(row, decimal) for row in values) if values.ndim else decimal(float(values))


@dataclass(frozen=True)
class Truth:
    """A tensor's exact values in float64; `reach` is half the width of the set that a value is at or after a kink."""

    middle: NDArray[np.float64]
    reach: NDArray[np.float64]

    def at(self, index: tuple[int, ...], digits: int = 9) -> str:
        """One component to so many digits; a set by its two ends, to so many digits of its width."""
        middle, reach = float(self.middle[index]), float(self.reach[index])
        if not reach:
            return f"{middle:.{digits}g}"
        places = digits - 1 - math.floor(math.log10(reach))
        # Adding 0 turns −0 into 0.
        low, high = (round(end, places) + 0.0 for end in (middle - reach, middle + reach))
        return f"[{low:.{digits}g}, {high:.{digits}g}]"


def array_truths(derivation: Derivation, given: Mapping[str, Any]) -> dict[str, Truth]:
    """Every quantity of a layered network by name, evaluated in double words and rounded to float64."""
    ops = RoundedArrays(FLOAT64, OPENCL, exact=True)
    evaluation = Evaluation(derivation, ops, {n: ops.given(v) for n, v in given.items()})
    found: dict[str, Truth] = {}
    for equation in derivation.equations:
        value = evaluation[equation.name]
        middle = np.asarray(value.high)
        after = any(found[o].reach.any() for o in equation.operands if o in found)
        reach = np.zeros(middle.shape)
        if after or value.spread is not None:
            # After a kink a radius holds the set's width, which nothing else makes a noticeable part of a value.
            width = np.asarray(value.folded().radii())
            reach = np.where(np.isfinite(width) & (width > _NOTICEABLE * np.abs(middle).max()), width, 0.0)
        found[equation.name] = Truth(middle, reach)
    return found


#: Of the largest component: what roundings in float64 widen a radius by is far less.
_NOTICEABLE = 1e-9


def array_texts(values: Mapping[str, Truth]) -> dict[str, str]:
    """Tensors in words: few components one by one, many by their shape and their largest."""
    return {name: _array_text(value) for name, value in values.items()}


def _array_text(value: Truth) -> str:
    middle = value.middle
    if middle.ndim == 0:
        return value.at((), 16) if not value.reach.any() else value.at(())
    if middle.size <= FEW and not value.reach.any():
        return " ".join(np.array2string(middle, precision=9, separator=" ").split())
    if middle.size <= FEW:
        return " ".join(value.at(index) for index in np.ndindex(middle.shape))
    worst = tuple(int(i) for i in np.unravel_index(int(np.abs(middle).argmax()), middle.shape))
    return f"{_shape(middle)}, largest {value.at(worst)} at [{','.join(map(str, worst))}]"


def scalar_truths(derivation: Derivation, given: Mapping[str, float]) -> dict[str, str]:
    """Every quantity of a derivation of numbers by name, to 17 digits; the precision is raised until they are certain.

    A quantity of which 4096 bits do not decide 17 digits is given as far as they do.
    """
    from flint import arb

    found: dict[str, str] = {}
    for bits in (192, 1024, 4096):
        with precision(bits):
            evaluation = Evaluation(derivation, EXACT, {n: arb(v) for n, v in given.items()})
            for name in (e.name for e in derivation.equations if e.name not in found):
                value = evaluation[name]
                if value.rel_accuracy_bits() >= 64 or value.is_zero() or bits == 4096:
                    found[name] = decimal(value, 17)
        if len(found) == len(derivation.equations):
            break
    return found
