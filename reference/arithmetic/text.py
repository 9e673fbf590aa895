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

    @classmethod
    def of(cls, x: Any) -> Text:
        """An operand, which may be a number that a formula names."""
        return x if isinstance(x, Text) else cls("½" if x == 0.5 else str(x))

    def __init__(self, text: str, precedence: int = _ATOM) -> None:
        self.text, self.precedence = text, precedence

    def __str__(self) -> str:
        return self.text

    def at_least(self, precedence: int) -> str:
        return self.text if self.precedence >= precedence else f"({self.text})"

    def __neg__(self) -> Text:
        return type(self)(f"−{self.at_least(_PRODUCT)}", _PRODUCT)

    def __add__(self, other: Any) -> Text:
        return type(self)(f"{self} + {self.of(other)}", _SUM)

    def __radd__(self, other: Any) -> Text:
        return self.of(other) + self

    def __sub__(self, other: Any) -> Text:
        return type(self)(f"{self} − {self.of(other).at_least(_PRODUCT)}", _SUM)

    def __rsub__(self, other: Any) -> Text:
        return self.of(other) - self

    def __mul__(self, other: Any) -> Text:
        return type(self)(f"{self.at_least(_PRODUCT)}·{self.of(other).at_least(_PRODUCT)}", _PRODUCT)

    def __rmul__(self, other: Any) -> Text:
        return self.of(other) * self

    def __truediv__(self, other: Any) -> Text:
        return type(self)(f"{self.at_least(_PRODUCT)}/{self.of(other).at_least(_ATOM)}", _PRODUCT)

    def __rtruediv__(self, other: Any) -> Text:
        return self.of(other) / self

    @property
    def T(self) -> Text:
        return type(self)(f"{self.at_least(_ATOM)}ᵀ")

    def __matmul__(self, other: Any) -> Text:
        return self * self.of(other)

    def __pow__(self, power: int) -> Text:
        superscript = "".join("⁰¹²³⁴⁵⁶⁷⁸⁹"[int(d)] for d in str(power))
        return type(self)(f"{self.at_least(_ATOM)}{superscript}")


class TextOperations:
    """The named operations, by name."""

    #: What an expression is written as.
    text: type[Text] = Text

    def sigmoid(self, x: Any) -> Text:
        return self.text(f"σ({x})")

    def real(self, constant: Constant) -> Text:
        return self.text(constant.text)

    def linear(self, a: Any, w: Any, b: Any) -> Text:
        product = self.text.of(a @ w.T)
        return product if b is None else product + b

    def descend(self, w: Any, eta: Any, gradient: Any) -> Text:
        return self.text.of(w - eta * gradient)

    def select(self, x: Any, above: Any, below: Any) -> Text:
        return self.text(f"({self.text.of(above)} if {x} > 0 else {self.text.of(below)})")

    def step(self, x: Any, above: Any, below: Any) -> Text:
        return self.select(x, above, below)

    def positive_part(self, x: Any) -> Text:
        return self.text(f"max({x}, 0)")

    def absolute(self, x: Any) -> Text:
        return self.text(f"|{x}|")

    def row_maximum(self, x: Any) -> Text:
        return self.text(f"max_row({x})")

    def row_sum(self, x: Any) -> Text:
        return self.text(f"Σ_row({x})")

    def row_sum_of_others(self, x: Any) -> Text:
        return self.text(f"Σ_others({x})")

    def log_row_sum(self, e: Any) -> Text:
        return self.text(f"log({self.row_sum(e)})")

    def over_row_sum(self, x: Any, e: Any) -> Text:
        return self.text.of(x / self.row_sum(e))

    def normalised(self, e: Any) -> Text:
        return self.over_row_sum(e, e)

    def bounded(self, x: Any, low: Any, high: Any) -> Text:
        return self.text.of(x)

    def epsilon(self) -> Text:
        return self.text("ε")

    def derivative(self, z: Any, rule: Slope) -> Text:
        return self.text.of(rule.slope(self, z))

    def unrounded(self, x: Any) -> Text:
        return self.text.of(x)

    def product_in_the_dtype(self, a: Any, b: Any) -> Text:
        return self.text.of(a).__matmul__(b)

    def gradual(self, formula: Callable[..., Any], *operands: Any) -> Text:
        return self.text.of(formula(self, *operands))

    def column_sum(self, x: Any) -> Text:
        return self.text(f"Σ_batch({x})")

    def total(self, x: Any, axis: int | None = None) -> Text:
        return self.text(f"Σ({x})" if axis is None else f"Σ_{_AXES.get(axis, axis)}({x})")

    def squares(self, x: Any, axis: int | None = None) -> Text:
        return self.total(self.text.of(x) ** 2, axis)

    def count(self, x: Any, axis: int | None = None) -> Text:
        return self.text("n")

    def expanded(self, x: Any, axis: int) -> Text:
        return self.text.of(x)

    def squeezed(self, x: Any, axis: int) -> Text:
        return self.text.of(x)

    def inner(self, x: Any, y: Any) -> Text:
        return self.total(x * y)

    def power(self, x: Any, y: Any) -> Text:
        return self.text(f"{self.text.of(x).at_least(_ATOM)}^{self.text.of(y).at_least(_ATOM)}")

    def rsqrt(self, x: Any) -> Text:
        return self.text.of(1 / self.sqrt(x))

    def once(self, formula: Callable[..., Any], *operands: Any) -> Text:
        return self.text.of(formula(*operands))

    def repeated(self, times: int, formula: Callable[[Text], Text], x: Text, name: str) -> Text:
        return self.text(f"{name}^{times}({x})")

    def cast(self, x: Any, format: str) -> Text:
        return self.text.of(x)

    def pi(self) -> Text:
        return self.text("π")

    def item(self, x: Any) -> Text:
        return self.text.of(x)

    def largest(self, x: Any) -> Text:
        return self.text(f"max({x})")

    def joined(self, parts: Sequence[Any]) -> Text:
        return self.text(", ".join(map(str, parts)))

    def maximum(self, x: Any, y: Any) -> Text:
        return self.text(f"max({x}, {y})")

    def minimum(self, x: Any, y: Any) -> Text:
        return self.text(f"min({x}, {y})")

    def row(self, x: Any, number: int) -> Text:
        return self.text(f"{self.text.of(x).at_least(_ATOM)}[{number}]")

    def pushed(self, rows: Any, row: Any, kept: int) -> Text:
        return self.text(f"({self.text.of(row)}; {rows})")

    def like(self, x: Any, of: Any) -> Text:
        return self.text.of(x)

    def named(self, name: str, formula: Callable[..., Any], *operands: Any) -> Text:
        return self.text(f"{name}({', '.join(map(str, operands))})")

    def sign(self, x: Any) -> Text:
        return self.text(f"sign({x})")

    def by_sign(self, x: Any, above: Any, at: Any, below: Any) -> Text:
        return self.text(
            f"({self.text.of(above)} if {x} > 0, {self.text.of(below)} if {x} < 0, else {self.text.of(at)})"
        )

    def __getattr__(self, name: str) -> Callable[..., Text]:
        if name not in ("exp", "expm1", "log", "log1p", "tanh", "erf", "erfc", "sinh", "cosh", "sqrt", "cos"):
            raise AttributeError(name)
        return lambda x: self.text(f"{name}({x})")


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
    return written(form, [symbol(o) if symbols is None else symbols[o] for o in form.operands], TextOperations())


def written(form: Form, operands: Sequence[str], ops: TextOperations) -> str:
    """A form with its operands written so, in the notation of `ops`."""
    # A quotient such as ∂E/∂a is one symbol here; it needs no brackets.
    return str(form.formula(ops, *map(ops.text, operands)))


def visible(text: str) -> str:
    """The text with each control, format and surrogate character but the line feed spelled out, such as \\x1b.

    By Unicode's categories Cc (C0 and C1 controls), Cf (directional overrides, zero-width characters), Cs (half a
    surrogate pair), Zl and Zp (line and paragraph separators).
    """
    hidden = ("Cc", "Cf", "Cs", "Zl", "Zp")
    if text.isprintable():
        return text
    return "".join(ascii(c)[1:-1] if c != "\n" and unicodedata.category(c) in hidden else c for c in text)
