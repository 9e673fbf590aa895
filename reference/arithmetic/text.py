"""Text: the arithmetic in which a formula prints itself as the document writes it."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from gradconform.reference.arithmetic.exact import Constant
from gradconform.reference.equations import Equation, Form, Slope

_SUM, _PRODUCT, _ATOM = 1, 2, 3
#: Settings of update rules, as papers write them.
_GREEK = {
    "eta": "η", "mu": "μ", "tau": "τ", "lambda": "λ", "beta": "β", "beta1": "β1", "beta2": "β2", "eps": "ε",
    "eps_root": "ε'", "rho": "ρ", "alpha": "α", "psi": "ψ", "gamma": "γ", "delta": "δ",
    "eta_plus": "η+", "eta_minus": "η−",
}  # fmt: skip
#: What a sum along an axis goes over.
_AXES = {-1: "columns", -2: "rows", 0: "rows", 1: "columns"}


class Text:
    """An expression as text, with the precedence of its outermost operation."""

    __slots__ = ("precedence", "text")

    def __init__(self, text: str, precedence: int = _ATOM) -> None:
        self.text, self.precedence = text, precedence

    def __str__(self) -> str:
        return self.text

    def at_least(self, precedence: int) -> str:
        return self.text if self.precedence >= precedence else f"({self.text})"

    def __neg__(self) -> Text:
        return Text(f"−{self.at_least(_PRODUCT)}", _PRODUCT)

    def __add__(self, other: Any) -> Text:
        return Text(f"{self} + {_text(other)}", _SUM)

    def __radd__(self, other: Any) -> Text:
        return _text(other) + self

    def __sub__(self, other: Any) -> Text:
        return Text(f"{self} − {_text(other).at_least(_PRODUCT)}", _SUM)

    def __rsub__(self, other: Any) -> Text:
        return _text(other) - self

    def __mul__(self, other: Any) -> Text:
        return Text(f"{self.at_least(_PRODUCT)}·{_text(other).at_least(_PRODUCT)}", _PRODUCT)

    def __rmul__(self, other: Any) -> Text:
        return _text(other) * self

    def __truediv__(self, other: Any) -> Text:
        return Text(f"{self.at_least(_PRODUCT)}/{_text(other).at_least(_ATOM)}", _PRODUCT)

    def __rtruediv__(self, other: Any) -> Text:
        return _text(other) / self

    @property
    def T(self) -> Text:
        return Text(f"{self.at_least(_ATOM)}ᵀ")

    def __matmul__(self, other: Any) -> Text:
        return self * _text(other)

    def __pow__(self, power: int) -> Text:
        superscript = "".join("⁰¹²³⁴⁵⁶⁷⁸⁹"[int(d)] for d in str(power))
        return Text(f"{self.at_least(_ATOM)}{superscript}")


def _text(x: Any) -> Text:
    return x if isinstance(x, Text) else Text("½" if x == 0.5 else str(x))


class TextOperations:
    """The named operations, by name."""

    def sigmoid(self, x: Any) -> Text:
        return Text(f"σ({x})")

    def real(self, constant: Constant) -> Text:
        return Text(constant.text)

    def linear(self, a: Any, w: Any, b: Any) -> Text:
        product = _text(a @ w.T)
        return product if b is None else product + b

    def descend(self, w: Any, eta: Any, gradient: Any) -> Text:
        return _text(w - eta * gradient)

    def select(self, x: Any, above: Any, below: Any) -> Text:
        return Text(f"({_text(above)} if {x} > 0 else {_text(below)})")

    def step(self, x: Any, above: Any, below: Any) -> Text:
        return self.select(x, above, below)

    def positive_part(self, x: Any) -> Text:
        return Text(f"max({x}, 0)")

    def absolute(self, x: Any) -> Text:
        return Text(f"|{x}|")

    def row_maximum(self, x: Any) -> Text:
        return Text(f"max_row({x})")

    def row_sum(self, x: Any) -> Text:
        return Text(f"Σ_row({x})")

    def row_sum_of_others(self, x: Any) -> Text:
        return Text(f"Σ_others({x})")

    def log_row_sum(self, e: Any) -> Text:
        return Text(f"log({self.row_sum(e)})")

    def over_row_sum(self, x: Any, e: Any) -> Text:
        return _text(x / self.row_sum(e))

    def normalised(self, e: Any) -> Text:
        return self.over_row_sum(e, e)

    def bounded(self, x: Any, low: Any, high: Any) -> Text:
        return _text(x)

    def epsilon(self) -> Text:
        return Text("ε")

    def derivative(self, z: Any, rule: Slope) -> Text:
        return _text(rule.slope(self, z))

    def unrounded(self, x: Any) -> Text:
        return _text(x)

    def product_in_the_dtype(self, a: Any, b: Any) -> Text:
        return _text(a).__matmul__(b)

    def gradual(self, formula: Callable[..., Any], *operands: Any) -> Text:
        return _text(formula(self, *operands))

    def column_sum(self, x: Any) -> Text:
        return Text(f"Σ_batch({x})")

    def total(self, x: Any, axis: int | None = None) -> Text:
        return Text(f"Σ({x})" if axis is None else f"Σ_{_AXES.get(axis, axis)}({x})")

    def squares(self, x: Any, axis: int | None = None) -> Text:
        return self.total(_text(x) ** 2, axis)

    def count(self, x: Any, axis: int | None = None) -> Text:
        return Text("n")

    def expanded(self, x: Any, axis: int) -> Text:
        return _text(x)

    def squeezed(self, x: Any, axis: int) -> Text:
        return _text(x)

    def inner(self, x: Any, y: Any) -> Text:
        return self.total(x * y)

    def power(self, x: Any, y: Any) -> Text:
        return Text(f"{_text(x).at_least(_ATOM)}^{_text(y).at_least(_ATOM)}")

    def rsqrt(self, x: Any) -> Text:
        return _text(1 / self.sqrt(x))

    def once(self, formula: Callable[..., Any], *operands: Any) -> Text:
        return _text(formula(*operands))

    def repeated(self, times: int, formula: Callable[[Text], Text], x: Text, name: str) -> Text:
        return Text(f"{name}^{times}({x})")

    def cast(self, x: Any, format: str) -> Text:
        return _text(x)

    def pi(self) -> Text:
        return Text("π")

    def item(self, x: Any) -> Text:
        return _text(x)

    def largest(self, x: Any) -> Text:
        return Text(f"max({x})")

    def joined(self, parts: Sequence[Any]) -> Text:
        return Text(", ".join(map(str, parts)))

    def maximum(self, x: Any, y: Any) -> Text:
        return Text(f"max({x}, {y})")

    def minimum(self, x: Any, y: Any) -> Text:
        return Text(f"min({x}, {y})")

    def row(self, x: Any, number: int) -> Text:
        return Text(f"{_text(x).at_least(_ATOM)}[{number}]")

    def pushed(self, rows: Any, row: Any, kept: int) -> Text:
        return Text(f"({_text(row)}; {rows})")

    def like(self, x: Any, of: Any) -> Text:
        return _text(x)

    def named(self, name: str, formula: Callable[..., Any], *operands: Any) -> Text:
        return Text(f"{name}({', '.join(map(str, operands))})")

    def sign(self, x: Any) -> Text:
        return Text(f"sign({x})")

    def by_sign(self, x: Any, above: Any, at: Any, below: Any) -> Text:
        return Text(f"({_text(above)} if {x} > 0, {_text(below)} if {x} < 0, else {_text(at)})")

    def __getattr__(self, name: str) -> Callable[..., Text]:
        if name not in ("exp", "expm1", "log", "log1p", "tanh", "erf", "erfc", "sinh", "cosh", "sqrt", "cos"):
            raise AttributeError(name)
        return lambda x: Text(f"{name}({x})")


def symbol(name: str) -> str:
    """A quantity as the document writes it: ∂E_total/∂w1 for dE_total/dw1, η for eta."""
    if "/" in name:
        return "/".join(f"∂{part.removeprefix('d')}" for part in name.split("/"))
    return _GREEK.get(name, name)


def formula(equation: Equation, form: Form | None = None, symbols: Mapping[str, str] | None = None) -> str:
    """The right-hand side of an equation, by its document's form or the one given.

    `symbols` are what its operands are written as, by default by `symbol`.
    """
    form = form or equation.forms[0]
    # A quotient such as ∂E/∂a is one symbol here; it needs no brackets.
    operands = [Text(symbol(o) if symbols is None else symbols[o]) for o in form.operands]
    return str(form.formula(TextOperations(), *operands))


def visible(text: str) -> str:
    """The text with each control, format and surrogate character but the line feed spelled out, such as \\x1b.

    By Unicode's categories Cc (C0 and C1 controls), Cf (directional overrides, zero-width characters), Cs (half a
    surrogate pair), Zl and Zp (line and paragraph separators).
    """
    hidden = ("Cc", "Cf", "Cs", "Zl", "Zp")
    if text.isprintable():
        return text
    return "".join(ascii(c)[1:-1] if c != "\n" and unicodedata.category(c) in hidden else c for c in text)
