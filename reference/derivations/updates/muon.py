"""Muon: the momentum of a matrix, made nearly orthogonal by Newton and Schulz' iteration.

Jordan and others, Muon: An optimizer for hidden layers in neural networks (2024), with (a, b, c) = (3.4445, −4.7750,
2.0315) and five steps:

    b_new = μ·b + (1 − μ)·g                U = μ·b_new + (1 − μ)·g (Nesterov), or b_new
    X = U/‖U‖, transposed where it has more rows than columns
    X ← a·X + (b·A + c·A·A)·X, A = X·Xᵀ    each step
    w_new = w − η·s·X                      s = √max(1, rows/columns)

PyTorch's iteration is in bfloat16 whatever the weights are in. optax corrects U as NAdam does, has √max(1,
columns/rows), since its weights are transposed, and adds ε to the norm where PyTorch takes the larger. Liu and others,
arXiv 2502.16982, equation 4, has s = 0.2·√max(rows, columns).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gradconform.reference.derivations.updates.adam import average, corrected, decayed, from_the_end, interpolated
from gradconform.reference.derivations.updates.clipping import norm, norm_of_squares
from gradconform.reference.derivations.updates.rule import (
    GRADIENT,
    RATE,
    TIME,
    Rule,
    Way,
    decaying,
    new_weight,
    rule,
)

JORDAN = "Jordan and others 2024"
_TORCH = "PyTorch: torch/optim/_muon.py, _zeropower_via_newtonschulz"
_OPTAX = "optax: contrib/_muon.py, orthogonalize_via_newton_schulz"


def _fused(ops: Any, x: Any, a: Any, b: Any, c: Any) -> Any:
    """A step whose sums with a product are each rounded once."""
    gram = x @ x.T
    by = ops.once(lambda g: b * g + c * (g @ g), gram)
    return ops.once(lambda x, by: a * x + by @ x, x, by)


def _apart(ops: Any, x: Any, a: Any, b: Any, c: Any) -> Any:
    """A step of operations one after the other."""
    gram = x @ x.T
    return a * x + (b * gram + (c * gram) @ gram) @ x


def muon(
    steps: int = 5,
    tall: bool = False,
    nesterov: bool = True,
    corrects: bool = False,
    bfloat16: bool = False,
    scale: str = "rows",
    decay: str = "none",
) -> Rule:
    """Muon; a `tall` matrix has more rows than columns.

    It `corrects` its averages, and adds ε to the norm, as optax does; or has the iteration in `bfloat16`, as PyTorch.
    `scale` is by "rows" over columns, "columns" over rows, or the "larger".
    """
    slope, coupled, strength = decaying(decay)

    def looked(ops: Any, by: Any, b: Any, g: Any, mu: Any, t: Any) -> Any:
        """What is made orthogonal."""
        if not corrects:
            return by(ops, g, 1 - mu, b) if nesterov else b
        if not nesterov:
            return b / corrected(ops, mu, t)
        return mu * (b / corrected(ops, mu, t + 1)) + (1 - mu) * (g / corrected(ops, mu, t))

    def orthogonal(ops: Any, step: Any, of: Any, u: Any, eps: Any, *coefficients: Any) -> Any:
        x = ops.cast(u, "bfloat16") if bfloat16 else u
        x = x.T if tall else x
        size = of(ops, x)
        x = x / (size + eps if corrects else ops.maximum(size, eps))
        x = ops.repeated(steps, lambda x: step(ops, x, *coefficients), x, "Newton–Schulz")
        return x.T if tall else x

    def scaled(ops: Any, rows: Any, columns: Any) -> Any:
        if scale == "larger":
            return ops.sqrt(ops.maximum(rows, columns))
        return ops.sqrt(ops.maximum(1, rows / columns if scale == "rows" else columns / rows))

    operands = ("b_new", GRADIENT, RATE, "mu", TIME, "eps", "ns_a", "ns_b", "ns_c", "rows", "columns", "rms")

    def update(ops: Any, by: Any, step: Any, of: Any, b: Any, g: Any, eta: Any, mu: Any, t: Any, *x: Any) -> Any:
        eps, *coefficients, rows, columns, rms = x
        found = orthogonal(ops, step, of, looked(ops, by, b, g, mu, t), eps, *coefficients)
        return eta * (rms * scaled(ops, rows, columns)) * found

    looks = ((("b − (b − g)·(1 − μ)", from_the_end), ("g + μ·(b − g)", interpolated), ("μ·b + (1 − μ)·g", decayed))
             if nesterov and not corrects else (("U", decayed),))  # fmt: skip
    iterations: tuple[tuple[str, Callable[..., Any], Callable[..., Any], str], ...] = (
        ("products and sums together", _fused, norm, _TORCH),
        ("one operation after the other", _apart, norm, JORDAN),
        ("one operation after the other, squares rounded", _apart, norm_of_squares, _OPTAX),
    )
    weight = new_weight(JORDAN, operands, [
        Way(f"{look}, {name}", lambda ops, *x, by=by, step=step, of=of: update(ops, by, step, of, *x), who)
        for name, step, of, who in (iterations[:2] if bfloat16 else iterations[::-1]) for look, by in looks
    ], decay, whole=True)  # fmt: skip
    settings = ("mu", TIME, "eps", "ns_a", "ns_b", "ns_c", "rows", "columns", "rms", *strength)
    return rule("muon", settings, {"b": average("b_new", JORDAN, "b", "mu", coupled, slope)}, weight)
