"""What is done to gradients before an update: clipping by value and by norm.

By value each number is kept between −c and c (Mikolov, Statistical Language Models Based on Neural Networks, 2012,
section 3.3.2). By norm, Pascanu, Mikolov and Bengio, ICML 2013, algorithm 1, with the norm of all tensors together:

    norm = √(Σ‖g_i‖²)                     g_new = g where norm < c, else c·g/norm

PyTorch has an ε beside the norm and no choice: g_new = g·min(1, c/(norm + ε)). So a norm just below c is clipped, too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from gradconform.reference.derivations.updates.rule import GRADIENT, Rule, Way, beside, equation
from gradconform.reference.equations import Equation, Form

MIKOLOV = "Mikolov 2012, section 3.3.2"
PASCANU = "Pascanu, Mikolov and Bengio 2013, algorithm 1"
_TORCH = "PyTorch: torch/nn/utils/clip_grad.py"
_OPTAX = "optax: transforms/_clipping.py"


# Norms ----------------------------------------------------------------------------------------------------------------


def norm(ops: Any, *tensors: Any) -> Any:
    """√Σ x² of all numbers of some tensors, rounded once: as a kernel for it does."""
    return ops.once(lambda *x: ops.sqrt(sum_of_squares(ops, *x)), *tensors)


def sum_of_squares(ops: Any, *tensors: Any) -> Any:
    first, *rest = (ops.squares(x) for x in tensors)
    return sum(rest, first)


def norm_of_norms(ops: Any, *tensors: Any) -> Any:
    return norm(ops, ops.joined([norm(ops, x) for x in tensors]))


def norm_of_squares(ops: Any, *tensors: Any) -> Any:
    """√Σ x² with each square, each tensor's sum and their sum rounded: as operations one after the other do."""
    first, *rest = (ops.total(x**2) for x in tensors)
    return ops.sqrt(sum(rest, first))


def largest(ops: Any, *tensors: Any) -> Any:
    """The largest |x|, the norm of order ∞."""
    return ops.largest(ops.joined([ops.absolute(x) for x in tensors]))


#: Ways to write the norm of an order.
NORMS: dict[str, tuple[tuple[str, Callable[..., Any], str], ...]] = {
    "2": (
        ("√Σ g²", norm, "a kernel for the norm"),
        ("‖(‖g_i‖)‖", norm_of_norms, f"{_TORCH}, _get_total_norm"),
        ("√Σ g², squares rounded", norm_of_squares, "optax: tree_utils/_tree_math.py, tree_norm"),
    ),
    "inf": (("max |g|", largest, f"{_TORCH}, _get_total_norm"),),
}


def gradients_of(tensors: int) -> tuple[str, ...]:
    """What the gradients of so many tensors are called; the first is the one of the tensor that is looked at."""
    return (GRADIENT, *(f"{GRADIENT}{n}" for n in range(2, tensors + 1)))


# The rules ------------------------------------------------------------------------------------------------------------


def total_norm(tensors: int = 1, order: str = "2") -> Rule:
    """The norm of all gradients together."""
    ways = [Way(*way) for way in NORMS[order]]
    of_norm = equation("norm", PASCANU, gradients_of(tensors), ways, whole=True)
    return beside("total_norm", (), {"total": of_norm}, gradients_of(tensors)[1:])


def clip_by_norm(tensors: int = 1, order: str = "2", shown: bool = False, epsilon: bool = False) -> Rule:
    """Clipping by the norm of all gradients together, which a framework has `shown` or not.

    With an `epsilon` beside the norm it is PyTorch's rule, without a choice.
    """

    def chosen(ops: Any, g: Any, n: Any, c: Any) -> Any:
        return ops.by_sign(n - c, g / n * c, g / n * c, g)

    def chosen_coefficient(ops: Any, g: Any, n: Any, c: Any) -> Any:
        return ops.by_sign(n - c, c / n * g, c / n * g, g)

    def inverted(ops: Any, g: Any, n: Any, c: Any, eps: Any) -> Any:
        return g * ops.minimum(1 / (n + eps) * c, 1)

    def divided(ops: Any, g: Any, n: Any, c: Any, eps: Any) -> Any:
        return g * ops.minimum(c / (n + eps), 1)

    settings = ("c", "eps") if epsilon else ("c",)
    ways: list[tuple[str, Callable[..., Any], str]] = [
        ("g·min(1, c/(norm + ε))", divided, _TORCH),
        ("g·min(1, (1/(norm + ε))·c)", inverted, f"{_TORCH}, _clip_grads_with_norm_"),
    ] if epsilon else [
        ("g or (g/norm)·c", chosen, f"{_OPTAX}, clip_by_global_norm"),
        ("g or (c/norm)·g", chosen_coefficient, PASCANU),
    ]  # fmt: skip
    if shown:
        also: tuple[str, ...] = ("norm",)
        clipped = [Way(n, f, who) for n, f, who in ways]
    else:
        also = gradients_of(tensors)[1:]
        clipped = [
            Way(f"{n}, norm {m}", lambda ops, g, *x, f=f, of=of: (
                f(ops, g, of(ops, g, *x[: len(also)]), *x[len(also):])), f"{who}; {whose}")
            for m, of, whose in NORMS[order] for n, f, who in ways
        ]  # fmt: skip
    of_gradient = equation("g_new", PASCANU, (GRADIENT, *also, *settings), clipped, whole=not shown)
    return beside("clip_by_norm", settings, {"clipped": of_gradient}, also)


def after_clip(of: Rule, clip: str, tensors: int = 1) -> Rule:
    """A rule that goes by clipped gradients, which are not shown: by "value", or by the "norm" of them all.

    Without an ε: it is optax' chain of a clip and what comes after it.
    """
    first = clip_by_value() if clip == "value" else clip_by_norm(tensors)
    (clipped,) = first.derivation.equations
    more = clipped.operands[1:]

    def composed(form: Form, by: Form) -> Form:
        at = form.operands.index(GRADIENT)

        def formula(ops: Any, *x: Any) -> Any:
            g = by.formula(ops, x[at], *x[len(form.operands) :])
            return form.formula(ops, *x[:at], g, *x[at + 1 : len(form.operands)])

        name, source = f"{form.name}; {by.name}", f"{form.source}; {by.source}"
        return replace(form, name=name, operands=(*form.operands, *more), formula=formula, source=source)

    def reading(e: Equation) -> Equation:
        if GRADIENT not in e.read:
            return e
        forms = tuple(c for f in e.forms for c in (
            [composed(f, by) for by in clipped.forms] if GRADIENT in f.operands else [f]))  # fmt: skip
        return replace(e, source=f"{e.source}; {clipped.source}", forms=forms, part=e.part and clipped.part)

    derivation = replace(
        of.derivation,
        inputs=(*of.derivation.inputs, *(m for m in more if m not in of.derivation.inputs)),
        equations=tuple(map(reading, of.derivation.equations)),
    )
    return replace(of, derivation=derivation, settings=(*of.settings, *first.settings))


def clip_by_value() -> Rule:
    """Clipping of each number."""
    return beside("clip_by_value", ("c",), {
        "clipped": equation("g_new", MIKOLOV, (GRADIENT, "c"), [
            Way("min(max(g, −c), c)", lambda ops, g, c: ops.minimum(ops.maximum(g, -c), c),
                f"{_TORCH}, clip_grad_value_; {_OPTAX}, clip"),
        ]),
    })  # fmt: skip
