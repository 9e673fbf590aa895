"""SymPy symbols: the arithmetic in which the backward equations are proved to be derivatives of the forward ones."""

from __future__ import annotations

from typing import Any

import numpy as np
import sympy

from gradconform.reference.arithmetic.exact import HandWritten
from gradconform.reference.equations import Derivation, Evaluation


class Symbols(HandWritten):
    def exp(self, x: Any) -> Any:
        return sympy.exp(x)

    def tanh(self, x: Any) -> Any:
        """By exponentials, as `equal` has them."""
        return 1 - 2 / (sympy.exp(2 * x) + 1)


SYMBOLS = Symbols()


class SymbolArrays(HandWritten):
    """Arrays of symbols: what a layered network's formulas need of them where its activations are sigmoids."""

    def exp(self, x: Any) -> Any:
        return np.vectorize(sympy.exp, otypes=[object])(x)

    def linear(self, a: Any, w: Any, b: Any) -> Any:
        return a @ w.T if b is None else a @ w.T + b

    def total(self, x: Any) -> Any:
        return sum(np.ravel(x))


def expression(derivation: Derivation, name: str, stop_at: frozenset[str] = frozenset(), form: int = 0) -> Any:
    """The quantity `name` as a SymPy expression in the given values and in the quantities of `stop_at`."""
    symbols = {n: sympy.Symbol(n, real=True) for n in (*derivation.given, *stop_at)}
    evaluation = Evaluation(derivation, SYMBOLS, symbols)
    return sympy.nsimplify(evaluation.form(derivation.by_name[name].forms[form]), rational=True)


def derivative(derivation: Derivation, quotient: str) -> Any:
    """∂Y/∂X for `quotient` = "dY/dX", by SymPy, with Y expanded down to X and the given values."""
    top, bottom = (part.removeprefix("d") for part in quotient.split("/"))
    stop = frozenset() if bottom in derivation.given else frozenset({bottom})
    return sympy.diff(expression(derivation, top, stop), sympy.Symbol(bottom, real=True))


def equal(a: Any, b: Any) -> bool:
    """Whether two expressions are proved equal: their difference, as a rational function of e^·, is zero."""
    difference = sympy.together(sympy.expand_power_exp(a - b))
    return bool(sympy.expand(sympy.numer(difference)) == 0)
