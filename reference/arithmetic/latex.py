"""LaTeX: the arithmetic in which a formula prints itself for paper, with the commands of amsmath."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from gradconform.reference.arithmetic.exact import Constant
from gradconform.reference.arithmetic.text import Text, TextOperations, written
from gradconform.reference.equations import Equation

_PRODUCT, _ATOM = 2, 3
#: Numbers that are written otherwise than by their digits.
_CONSTANTS = {
    "√½": r"\sqrt{\tfrac{1}{2}}", "√(2/π)": r"\sqrt{2/\pi}", "2/√π": r"\frac{2}{\sqrt{\pi}}",
    "1/√(2π)": r"\frac{1}{\sqrt{2\pi}}",
}  # fmt: skip
_FRACTION = re.compile(r"([0-9]+)/([0-9]+)", re.ASCII)
#: Letters with a name, of updates' settings too.
_GREEK = ("eta", "mu", "tau", "lambda", "beta", "rho", "alpha", "psi", "gamma", "delta")
_LETTER = re.compile(r"([A-Za-z]+?)([0-9]*)", re.ASCII)


class Latex(Text):
    """An expression as LaTeX."""

    __slots__ = ()

    @classmethod
    def of(cls, x: Any) -> Text:
        return x if isinstance(x, Text) else cls(r"\tfrac{1}{2}" if x == 0.5 else str(x))

    def at_least(self, precedence: int) -> str:
        return self.text if self.precedence >= precedence else _bracketed(self.text)

    def __neg__(self) -> Text:
        return Latex(f"-{self.at_least(_PRODUCT)}", _PRODUCT)

    def __sub__(self, other: Any) -> Text:
        return Latex(f"{self} - {self.of(other).at_least(_PRODUCT)}", 1)

    def __mul__(self, other: Any) -> Text:
        return Latex(rf"{self.at_least(_PRODUCT)} \cdot {self.of(other).at_least(_PRODUCT)}", _PRODUCT)

    def __truediv__(self, other: Any) -> Text:
        return Latex(rf"\frac{{{self}}}{{{self.of(other)}}}", _PRODUCT)

    @property
    def T(self) -> Text:
        return Latex(rf"{{{self.at_least(_ATOM)}}}^{{\mathsf{{T}}}}")

    def __pow__(self, power: int) -> Text:
        return Latex(f"{{{self.at_least(_ATOM)}}}^{{{power}}}")


class LatexOperations(TextOperations):
    """The named operations, as amsmath has them; those that are written of others are as in text."""

    text = Latex

    def sigmoid(self, x: Any) -> Text:
        return _applied(r"\sigma", x)

    def real(self, constant: Constant) -> Text:
        fraction = _FRACTION.fullmatch(constant.text)
        return Latex(rf"\tfrac{{{fraction[1]}}}{{{fraction[2]}}}" if fraction else
                     _CONSTANTS.get(constant.text, constant.text))  # fmt: skip

    def select(self, x: Any, above: Any, below: Any) -> Text:
        return _cases((above, f"{x} > 0"), (below, r"\text{otherwise}"))

    def by_sign(self, x: Any, above: Any, at: Any, below: Any) -> Text:
        return _cases((above, f"{x} > 0"), (below, f"{x} < 0"), (at, r"\text{otherwise}"))

    def positive_part(self, x: Any) -> Text:
        return _applied(r"\max", f"{x}, 0")

    def absolute(self, x: Any) -> Text:
        return Latex(rf"\left|{x}\right|")

    def row_maximum(self, x: Any) -> Text:
        return _applied(r"\max_{\mathrm{row}}", x)

    def row_sum(self, x: Any) -> Text:
        return _sum(r"\mathrm{row}", x)

    def row_sum_of_others(self, x: Any) -> Text:
        return _sum(r"\mathrm{others}", x)

    def log_row_sum(self, e: Any) -> Text:
        return _applied(r"\log", self.row_sum(e))

    def epsilon(self) -> Text:
        return Latex(r"\varepsilon")

    def column_sum(self, x: Any) -> Text:
        return _sum(r"\mathrm{batch}", x)

    def total(self, x: Any, axis: int | None = None) -> Text:
        along = {None: "", -1: r"\mathrm{columns}", 1: r"\mathrm{columns}"}.get(axis, r"\mathrm{rows}")
        return _sum(along, x)

    def power(self, x: Any, y: Any) -> Text:
        return Latex(f"{{{Latex.of(x).at_least(_ATOM)}}}^{{{y}}}")

    def repeated(self, times: int, formula: Callable[[Text], Text], x: Text, name: str) -> Text:
        return _applied(rf"{_operator(name)}^{{{times}}}", x)

    def pi(self) -> Text:
        return Latex(r"\pi")

    def largest(self, x: Any) -> Text:
        return _applied(r"\max", x)

    def maximum(self, x: Any, y: Any) -> Text:
        return _applied(r"\max", f"{x}, {y}")

    def minimum(self, x: Any, y: Any) -> Text:
        return _applied(r"\min", f"{x}, {y}")

    def named(self, name: str, formula: Callable[..., Any], *operands: Any) -> Text:
        return _applied(_operator(name), ", ".join(map(str, operands)))

    def sign(self, x: Any) -> Text:
        return _applied(_operator("sign"), x)

    def sqrt(self, x: Any) -> Text:
        return Latex(rf"\sqrt{{{x}}}")

    def __getattr__(self, name: str) -> Callable[..., Text]:
        super().__getattr__(name)  # which knows the names
        known = name in ("exp", "log", "tanh", "sinh", "cosh", "cos")
        return lambda x: _applied(f"\\{name}" if known else _operator(name), x)


def _operator(name: str) -> str:
    return rf"\operatorname{{{name}}}"


def _applied(function: str, x: Any) -> Text:
    return Latex(f"{function}{_bracketed(str(x))}")


def _bracketed(text: str) -> str:
    """In brackets as high as what is in them."""
    high = any(command in text for command in (r"\frac", r"\begin", r"\sum"))
    return rf"\left({text}\right)" if high else f"({text})"


def _sum(along: str, x: Any) -> Text:
    index = f"_{{{along}}}" if along else ""
    return Latex(rf"\sum{index} {Latex.of(x).at_least(_PRODUCT)}", _PRODUCT)


def _cases(*pairs: tuple[Any, str]) -> Text:
    lines = r" \\ ".join(f"{Latex.of(value)} & {where}" for value, where in pairs)
    return Latex(rf"\begin{{cases}} {lines} \end{{cases}}", _PRODUCT)


def symbol(name: str) -> str:
    r"""A quantity as the document writes it: \frac{\partial E_{\mathrm{total}}}{\partial w_{1}} for dE_total/dw1.

    >>> symbol("a_h1"), symbol("w1_new"), symbol("eta")
    ('a_{h_{1}}', 'w_{1}^{\\mathrm{new}}', '\\eta')
    """
    if "/" in name:
        above, below = (symbol(part.removeprefix("d")) for part in name.split("/"))
        return rf"\frac{{\partial {above}}}{{\partial {below}}}"
    head, *more = name.split("_")
    base, digits = _letter(head)
    under = [digits] if digits else []
    above = ""
    for part in more:
        letter, digits = _letter(part)
        if part == "new":
            above = r"^{\mathrm{new}}"
        else:
            under.append(f"{letter}_{{{digits}}}" if digits else letter)
    below = f"_{{{','.join(under)}}}" if under else ""
    return f"{base}{below}{above}"


def _letter(part: str) -> tuple[str, str]:
    """A letter or a word, and the digits behind it."""
    found = _LETTER.fullmatch(part)
    word, digits = (found[1], found[2]) if found else (part, "")
    if word in _GREEK:
        return f"\\{word}", digits
    return (word if len(word) == 1 else rf"\mathrm{{{word}}}"), digits


def formula(equation: Equation, symbols: Mapping[str, str] | None = None) -> str:
    """The right-hand side of an equation by its document's form, its operands as `symbols` have them."""
    form = equation.forms[0]
    operands = [symbol(o) if symbols is None else symbols[o] for o in form.operands]
    return written(form, operands, LatexOperations())
