"""Adafactor: the second moment of a matrix by the means of its rows and of its columns.

Shazeer and Stern, ICML 2018, algorithms 4 and 5, here with means for sums, which is the same:

    row_new = β̂·row + (1 − β̂)·mean_columns(g² + ε1)         β̂ = 1 − t^τ, τ = −0.8
    col_new = β̂·col + (1 − β̂)·mean_rows(g² + ε1)
    V = row_new·col_new/mean(row_new)                        of a vector v_new = β̂·v + (1 − β̂)·(g² + ε1)
    U = g/√V                                                 Û = U/max(1, RMS(U)/d)
    w_new = w − α·Û                                          α = max(ε2, RMS(w))·ρ

`adafactor` is optax', with ρ = η and decay that η does not touch; `adafactor_clamped` PyTorch's, where ε1 is not added:
V = row_new·col_new/max(mean(row_new), ε1), U = g/√max(V, ε1²), with ρ = min(η, 1/√t) and decoupled decay.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from gradconform.reference.derivations.updates.adam import decayed
from gradconform.reference.derivations.updates.clipping import norm, norm_of_squares
from gradconform.reference.derivations.updates.rule import (
    GRADIENT,
    NEW_WEIGHT,
    RATE,
    TIME,
    WEIGHT,
    Rule,
    Way,
    equation,
    rule,
)
from gradconform.reference.equations import Equation

SHAZEER = "Shazeer and Stern 2018, algorithms 4 and 5"
_TORCH = "PyTorch: torch/optim/_adafactor.py, _single_tensor_adafactor"
_OPTAX = "optax: _src/factorized.py, scale_by_factored_rms"
_BLOCK = "optax: transforms/_clipping.py, clip_by_block_rms; _src/transform.py, scale_by_param_block_rms"
_EMA = "optax: transforms/_accumulation.py, ema"


def _mean_of_norm(ops: Any, g: Any, axis: int) -> Any:
    """The mean of the squares along an axis, by the norm."""
    return ops.once(lambda x: ops.sqrt(ops.squares(x, axis)), g) ** 2 / ops.count(g, axis)


def _mean(ops: Any, x: Any, axis: int) -> Any:
    return ops.total(x, axis) / ops.count(x, axis)


#: Ways to write what lies between x and new by a step of s.
_TOWARDS: tuple[tuple[str, Callable[..., Any]], ...] = (
    ("x + s·(new − x)", lambda x, new, s: x + s * (new - x)),
    ("new − (new − x)·(1 − s)", lambda x, new, s: new - (new - x) * (1 - s)),
    ("(1 − s)·x + s·new", lambda x, new, s: (1 - s) * x + s * new),
)
#: Ways to write a root of the mean of all squares.
_RMS: tuple[tuple[str, Callable[..., Any]], ...] = (
    ("RMS rounded once", lambda ops, x: ops.once(lambda y: ops.sqrt(ops.squares(y) / ops.count(y)), x)),
    ("squares rounded", lambda ops, x: ops.sqrt(ops.total(x**2) / ops.count(x))),
)


# PyTorch's ------------------------------------------------------------------------------------------------------------


def adafactor_clamped(factored: bool = True, decay: str = "none", maximize: bool = False) -> Rule:
    """PyTorch's Adafactor, of a matrix or of what is not `factored`."""
    of_state: Iterable[tuple[str, tuple[tuple[str, Callable[..., Any]], ...]]]
    if factored:
        of_state = [
            (name, (
                ("‖g‖²/n", lambda ops, g, axis=axis: _mean_of_norm(ops, g, axis)),
                ("mean(g²)", lambda ops, g, axis=axis: _mean(ops, g**2, axis)),
            ))
            for name, axis in (("row", -1), ("col", -2))
        ]  # fmt: skip
    else:
        of_state = [("v", (("g²", lambda ops, g: g**2),))]
    states = {
        name: equation(f"{name}_new", SHAZEER, (name, GRADIENT, TIME, "tau"), [
            Way(f"{how}, new = {what}",
                lambda ops, x, g, t, tau, to=to, of=of: to(x, of(ops, g), ops.power(t, tau)), f"{_TORCH}, lerp_")
            for what, of in squares for how, to in _TOWARDS
        ], whole=factored)
        for name, squares in of_state
    }  # fmt: skip
    moments = tuple(f"{name}_new" for name in states)
    strength = ("lambda",) if decay == "decoupled" else ()
    operands = (WEIGHT, GRADIENT, *moments, RATE, TIME, "eps1", "eps2", "d", *strength)

    def parts(ops: Any, of: Any, w: Any, g: Any, *x: Any) -> tuple[Any, Any, Any]:
        """The weight after its decay, U, and α over what U is clipped by."""
        eta, t, eps1, eps2, d = x[len(moments) : len(moments) + 5]
        if factored:
            row, col = x[:2]
            v = row * col / ops.maximum(_mean(ops, row, -2), eps1)
        else:
            v = x[0]
        u = ops.rsqrt(ops.maximum(v, eps1 * eps1)) * (-g if maximize else g)
        root = ops.sqrt(ops.count(w))
        alpha = ops.maximum(eps2, ops.item(of(ops, w)) / root) * ops.minimum(eta, 1 / ops.sqrt(t))
        clip = ops.maximum(1, ops.item(of(ops, u)) / (root * d))
        return (w * (1 - eta * x[-1]) if strength else w), u, alpha / clip

    def stepped(ops: Any, of: Any, *x: Any) -> Any:
        w, u, alpha = parts(ops, of, *x)
        return w - alpha * u

    weight = equation(NEW_WEIGHT, SHAZEER, operands, [
        Way(f"w − (α/max(1, RMS(U)/d))·U, {name}", lambda ops, *x, of=of: stepped(ops, of, *x), who)
        for name, of, who in (("norms rounded once", norm, _TORCH), ("squares rounded", norm_of_squares, SHAZEER))
    ], whole=True)  # fmt: skip
    return rule("adafactor", (TIME, "tau", "eps1", "eps2", "d", *strength), states, weight)


# optax' ---------------------------------------------------------------------------------------------------------------


def adafactor(
    factored: bool = False,
    rows: int = 1,
    columns: int = 0,
    clips: bool = True,
    scales: bool = True,
    momentum: bool = False,
    decay: bool = False,
) -> Rule:
    """optax' Adafactor: means are over the axes `rows` and `columns`, which the moments do not have.

    It `clips` U by its RMS, and `scales` by that of the weight, or does not.
    """

    def averaged(ops: Any, x: Any, t: Any, tau: Any, new: Any) -> Any:
        return decayed(ops, x, 1 - ops.power(t, tau), new)

    def moment(name: str, axis: int | None) -> Equation:
        def value(ops: Any, x: Any, g: Any, t: Any, tau: Any, eps1: Any) -> Any:
            squares = g**2 + eps1
            return averaged(ops, x, t, tau, squares if axis is None else ops.squeezed(_mean(ops, squares, axis), axis))

        def once(ops: Any, x: Any, g: Any, *more: Any) -> Any:
            return ops.once(lambda x, g: value(ops, x, g, *more), x, g)

        ways = [Way("β̂·x + (1 − β̂)·mean(g² + ε1)", value, _OPTAX)]
        if axis is not None:
            ways.append(Way("β̂·x + (1 − β̂)·mean(g² + ε1), rounded once", once, _OPTAX))
        reads = (name, GRADIENT, TIME, "tau", "eps1")
        return equation(f"{name}_new", SHAZEER, reads, ways, whole=axis is not None)

    states = {"row": moment("row", rows), "col": moment("col", columns)} if factored else {"v": moment("v", None)}
    moments = tuple(f"{name}_new" for name in states)
    options = ((clips, "d"), (scales, "eps2"), (momentum, "mu"), (decay, "lambda"))
    settings = (TIME, "tau", "eps1", *(s for there, s in options if there))

    def update(ops: Any, rms: Any, w: Any, g: Any, eta: Any, *x: Any) -> Any:
        """η·Û, times the weight's RMS where that scales."""
        given = dict(zip(settings, x[len(moments) :], strict=True))
        if factored:
            row, col = ops.expanded(x[0], rows), ops.expanded(x[1], columns)
            u = g * ops.power(row / _mean(ops, row, columns), -0.5) * ops.power(col, -0.5)
        else:
            u = g * ops.power(x[0], -0.5)
        if clips:
            u = u / ops.maximum(rms(ops, u) / given["d"], 1)
        u = u * eta
        return u * ops.maximum(rms(ops, w), given["eps2"]) if scales else u

    reads = (WEIGHT, GRADIENT, RATE, *moments, *settings)
    if momentum:

        def averages(ops: Any, of: Any, m: Any, *x: Any) -> Any:
            return decayed(ops, m, x[-2 if decay else -1], update(ops, of, *x))

        states["m"] = equation("m_new", SHAZEER, ("m", *reads), [
            Way(f"μ·m + (1 − μ)·u, {name}", lambda ops, *x, of=of: averages(ops, of, *x), f"{_BLOCK}; {_EMA}")
            for name, of in _RMS
        ], whole=True)  # fmt: skip
        whole = ("m", *reads)
        steps: list[Any] = [
            ("m", lambda ops, w, m, *strength: m, (WEIGHT, "m_new", *(("lambda",) if decay else ()))),
            *((f"m not rounded before, {name}", lambda ops, w, *x, of=of: averages(ops, of, *x), (WEIGHT, *whole))
              for name, of in _RMS),
        ]  # fmt: skip
    else:
        steps = [(name, lambda ops, *x, of=of: update(ops, of, *x), reads) for name, of in _RMS]
    weight = equation(NEW_WEIGHT, SHAZEER, steps[0][2], [
        Way(f"w − (u + λ·w), {name}" if decay else f"w − u, {name}",
            lambda ops, *x, of=of: x[0] - (of(ops, *x) + x[-1] * x[0] if decay else of(ops, *x)), _BLOCK, operands)
        for name, of, operands in steps
    ], whole=True)  # fmt: skip
    return rule("adafactor", settings, states, weight)
