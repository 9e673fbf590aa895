"""An update rule: what becomes of a weight and of the state that goes with it, equation by equation.

A rule is a derivation whose inputs are the gradient, the state before and the settings; its equations give the state
after and the new weight, in that order. An equation may read the state after that stands before it: it is judged on
what the framework itself holds there, so that a fault is named where it happens. `Rule.settings` are numbers of the
program's text, such as β: with one another a program computes them in Python's float64, or in its own dtype.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from types import MappingProxyType
from typing import Any

from gradconform.reference.equations import Derivation, Equation, Form, Formula, elementwise

GRADIENT, WEIGHT, NEW_WEIGHT, RATE, TIME = "dE/dw", "w", "w_new", "eta", "t"
#: The gradient that a rule goes by, a formula of ∂E/∂w and w, and of λ where the decay is coupled.
Slope = Callable[..., Any]


@dataclass(frozen=True)
class Rule:
    """`states` gives for every part of the state the equation of what it becomes.

    `moved` are the quantities whose accuracy is that of the step that they take, each with what it was before.
    """

    derivation: Derivation
    settings: tuple[str, ...]
    states: Mapping[str, str]
    moved: Mapping[str, str]

    @property
    def name(self) -> str:
        return self.derivation.name


def rule(name: str, settings: Sequence[str], states: Mapping[str, Equation], weight: Equation) -> Rule:
    """The rule of this name; η is among its settings. Equations stand in the order in which they are computed."""
    of_states = _derivation(name, (*states, *settings), (*states.values(), weight), {WEIGHT: NEW_WEIGHT})
    return Rule(of_states, (*settings, RATE), {s: e.name for s, e in states.items()}, {NEW_WEIGHT: WEIGHT})


def beside(name: str, settings: Sequence[str], states: Mapping[str, Equation], also: Sequence[str] = (),
           moved: Mapping[str, str] = MappingProxyType({})) -> Rule:  # fmt: skip
    """A rule that leaves the weight as it is: of what is done to a gradient, an average, a scale; it reads `also`."""
    of_states = _derivation(name, (*states, *also, *settings), tuple(states.values()), {})
    return Rule(of_states, tuple(settings), {s: e.name for s, e in states.items()}, moved)


def _derivation(
    name: str, given: Sequence[str], equations: tuple[Equation, ...], updated: Mapping[str, str]
) -> Derivation:
    return Derivation(
        name=name, inputs=(GRADIENT, *given), parameters=(WEIGHT,), rate=RATE, loss="E", equations=equations,
        gradient={WEIGHT: GRADIENT}, updated=updated,
    )  # fmt: skip


@dataclass(frozen=True)
class Way:
    """One way in which a formula is written: how it is called, the formula, who writes it so.

    `operands` are those of the equation, unless the way has its own.
    """

    name: str
    formula: Formula
    source: str
    operands: tuple[str, ...] = ()


def equation(name: str, source: str, operands: Sequence[str], ways: Sequence[Way], whole: bool = False) -> Equation:
    """An equation by its ways, the first of which is the definition; a `whole` one's numbers read whole tensors."""
    forms = tuple(Form(w.name, w.operands or tuple(operands), w.formula, w.source) for w in ways)
    return Equation(name, "update", source, forms, part=None if whole else elementwise)


def new_weight(
    source: str, operands: Sequence[str], steps: Sequence[Way], decay: str = "none", whole: bool = False
) -> Equation:
    """w_new = w − η·d, for each way to write the step η·d; with `decay` "decoupled" also −η·λ·w.

    A step is a formula of `operands`, and gives η·d, or with a rate of its own for λ's sake (d, η).
    """
    before = (WEIGHT, *operands)
    if decay != "decoupled":
        ways = [
            replace(s, formula=lambda ops, w, *x, of=s.formula: w - of(ops, *x),
                    operands=(WEIGHT, *s.operands) if s.operands else ()) for s in steps
        ]  # fmt: skip
        return equation(NEW_WEIGHT, source, before, ways, whole)
    return equation(NEW_WEIGHT, source, (*before, RATE, "lambda"), [
        Way(f"{s.name}, {d.name}",
            lambda ops, w, *x, of=s.formula, by=d.formula: by(ops, w, x[-2], x[-1], of(ops, *x[:-2])),
            f"{s.source}; {d.source}", (WEIGHT, *(s.operands or operands), RATE, "lambda"))
        for s, d in product(steps, DECOUPLED)
    ], whole)  # fmt: skip


DECOUPLED = (
    Way("w − η·d − η·λ·w", lambda ops, w, eta, strength, step: w - (step + eta * (strength * w)),
        "optax: add_decayed_weights before scale_by_learning_rate"),
    Way("w·(1 − η·λ) − η·d", lambda ops, w, eta, strength, step: w * (1 - eta * strength) - step,
        "PyTorch: torch/optim/adam.py, param.mul_(1 - lr * weight_decay)"),
)  # fmt: skip


def decaying(decay: str, maximize: bool = False) -> tuple[Slope, tuple[str, ...], tuple[str, ...]]:
    """The gradient that a rule goes by: −∂E/∂w where it maximizes, and with "coupled" decay + λ·w.

    It is a formula of the gradient, of w and of the operands that stand second, λ or none; the third are λ as a setting
    of the rule, which it is of "decoupled" decay, too.
    """

    def slope(gradient: Any, w: Any, *strength: Any) -> Any:
        g = -gradient if maximize else gradient
        return g + strength[0] * w if strength else g

    return slope, ("lambda",) if decay == "coupled" else (), ("lambda",) if decay != "none" else ()
