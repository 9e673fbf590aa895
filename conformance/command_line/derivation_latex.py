"""An explanation for paper and for notebooks: LaTeX that fits the text width of a plain article, and Markdown."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from gradconform.reference.arithmetic import latex as notation
from gradconform.reference.equations import Equation

if TYPE_CHECKING:
    from gradconform.conformance.command_line.explain import Explanation, Line, Numbers

PREAMBLE = "% Needs \\usepackage{amsmath,graphicx}.\n"
#: A formula that is wider than what is left of a line is made smaller, so that nothing stands beyond the margin.
_FITTED = (
    r"\providecommand{\fitted}[1]{\resizebox{\ifdim\width>0.78\linewidth 0.78\linewidth\else\width\fi}{!}"
    r"{$\displaystyle #1$}}" + "\n"
)
_DECIMAL = re.compile(r"[0-9.]+", re.ASCII)
#: Characters of a formula that fits whatever they are; a command is one, and what only groups is none.
_SHORT = 40
_GROUPING, _COMMAND = re.compile(r"[{}_^ ]"), re.compile(r"\\[A-Za-z]+")
NEW_LINE = r" \\ "
_TWICE = re.compile(r"\(\(([-−][^()]*)\)\)")
_NUMBER = re.compile(r"-?([0-9.]+)(?:e([+-]?[0-9]+))?", re.ASCII | re.IGNORECASE)


def number(decimal: str) -> str:
    r"""A decimal in a formula: 1.2e-05 as a product with a power of ten, in brackets where it is negative.

    >>> number("-0.25"), number("1.2e-05")
    ('(-0.25)', '1.2{\\cdot}10^{-5}')
    """
    found = _NUMBER.fullmatch(decimal)
    if not found:
        return rf"\text{{{_plain(decimal)}}}"
    power = rf"{{\cdot}}10^{{{int(found[2])}}}" if found[2] else ""
    return f"(-{found[1]}{power})" if decimal.startswith("-") else f"{found[1]}{power}"


def _bare(text: str) -> str:
    """A number that stands alone needs no brackets."""
    return text[1:-1] if text.startswith("(-") else text


def in_one_bracket(text: str) -> str:
    """A formula in which a negative number that stands alone between brackets has no others of its own.

    >>> in_one_bracket("σ((−0.5)) + (−0.5)·2")
    'σ(−0.5) + (−0.5)·2'
    """
    return _TWICE.sub(r"(\1)", text)


def numbers(of: Numbers) -> str:
    """A number, or a tensor of numbers as a matrix."""
    if isinstance(of, str):
        return number(of)
    rows = [row for row in of if isinstance(row, tuple)] or [of]
    lines = [" & ".join(_bare(numbers(cell)) for cell in row) for row in rows]
    return f"\\begin{{bmatrix}} {NEW_LINE.join(lines)} \\end{{bmatrix}}"


def sides(equation: Equation, known: Mapping[str, Numbers], digits: int) -> tuple[str, ...]:
    r"""An equation's symbol, "= formula", that with numbers, and what it comes to, as far as the numbers are known.

    Of a result of about so many digits, which is rounded, it is \approx.
    """
    found = [notation.symbol(equation.name), f"= {notation.formula(equation)}"]
    result = _bare(numbers(known[equation.name])) if equation.name in known else ""
    if result and all(o in known for o in equation.operands):
        put = in_one_bracket(notation.formula(equation, {o: numbers(known[o]) for o in equation.operands}))
        found += [f"= {put}"] if _bare(put) != result else []
    if result:
        rounded = any(len(d.replace(".", "").lstrip("0")) >= digits - 2 for d in _DECIMAL.findall(result))
        found.append(rf"{'≈' if rounded else '='} {result}".replace("≈", r"\approx"))
    return tuple(found)


def latex(explanation: Explanation) -> str:
    r"""The derivation to be \input in an article, its equations by amsmath."""
    from gradconform.reports.latex import escaped

    parts = [PREAMBLE, _FITTED, "{\\small\\allowdisplaybreaks\n"]
    given = _given(explanation, _fitted)
    parts += [f"{{\\raggedright\\noindent\\textbf{{{escaped(explanation.title)}}}\\\\\n{given}\\par}}\n"]
    parts += [f"\n\\noindent {escaped(explanation.problem)}\n"] if explanation.problem else []
    for group, lines in _groups(explanation.lines):
        body = " \\\\[5pt]\n".join(f"{NEW_LINE.rstrip()}\n".join(_rows(line, _fitted)) for line in lines)
        parts.append(f"\\subsection*{{{group.capitalize()}}}\n\\begin{{align*}}\n{body}\n\\end{{align*}}\n")
    return "".join([*parts, "}\n"])


def markdown(explanation: Explanation) -> str:
    """The derivation as Markdown with formulas between $$, as notebooks and forges show them."""
    parts = [f"### {_plain(explanation.title)}", _given(explanation, str)]
    parts += [_plain(explanation.problem)] if explanation.problem else []
    for group, lines in _groups(explanation.lines):
        parts.append(f"#### {group.capitalize()}")
        for line in lines:
            rows = f"{NEW_LINE.rstrip()}\n".join(_rows(line, str))
            parts.append(f"$$\n\\begin{{aligned}}\n{rows}\n\\end{{aligned}}\n$$")
    return "\n\n".join(parts) + "\n"


def _fitted(formula: str) -> str:
    length = len(_GROUPING.sub("", _COMMAND.sub("x", formula)))
    return formula if length <= _SHORT and r"\begin" not in formula else rf"\fitted{{{formula}}}"


def _given(explanation: Explanation, fit: Callable[[str], str]) -> str:
    """The numbers that are given, or how large a tensor is."""
    said = []
    for name, of in explanation.numbers.items():
        said.append(f"${notation.symbol(name)} = {fit(_bare(numbers(of)))}$")
    shapes = {
        n: shape.replace("×", r"\times") for n, shape in explanation.given.items() if n not in explanation.numbers
    }
    said += [f"${notation.symbol(name)}$ (${shape}$)" for name, shape in shapes.items()]
    return ", ".join(said)


def _groups(lines: Sequence[Line]) -> Iterator[tuple[str, list[Line]]]:
    found: dict[str, list[Line]] = {}
    for line in lines:
        found.setdefault(line.group, []).append(line)
    yield from found.items()


def _rows(line: Line, fit: Callable[[str], str]) -> Iterator[str]:
    symbol, *found = line.latex
    for n, side in enumerate(found):
        relation, _, text = side.partition(" ")
        yield f"{'' if n else symbol} &{relation} {fit(text)}"
    m = line.measured
    if m is not None:
        ulps = "" if m.error_ulp is None else f", {m.error_ulp:.3g} ulp"
        value = "none" if m.value is None else f"{m.value!r}"
        yield rf"&\phantom{{=}}\ \text{{{m.adapter}/{m.route}: }} {_bare(number(value))}\text{{{ulps}, {m.verdict}}}"


def _plain(text: str) -> str:
    """Text without what LaTeX and Markdown take for something else."""
    return "".join(c if c.isascii() and c not in "\\{}$&#%_^~" else " " for c in text)
