"""Reductions and norms, along the last axis or over all, and what is cumulative along it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from gradconform.reference.derivations.operators.operator import Family, Operand, Operator

_TIES = {"ties": ([[1.0, 1.0, 0.0], [2.0, -1.0, 2.0]],)}
_ZEROS = {"zero": ([[0.0, 0.0, 0.0], [1.0, 2.0, 3.0]],)}
_ONE_ZERO = {"a zero": ([[0.0, 2.0, 3.0], [1.0, 2.0, 3.0]],), "two zeros": ([[0.0, 2.0, 0.0], [1.0, 0.0, 3.0]],)}


def _r(
    name: str,
    definition: Callable[..., Any],
    source: str,
    edges: Mapping[str, Sequence[Any]] | None = None,
    parameters: tuple[Mapping[str, Any], ...] = ({},),
    family: Family = "reduction",
    draws: Any = "ordinary",
) -> Operator:
    size_one = {"size 1": ([[1.5], [-0.75]],)}
    return Operator(name, family, definition, source, (Operand("x", shape=(2, 3), draws=draws),), parameters,
                    edges={**size_one, **(edges or {})})  # fmt: skip


def _var(o: Any, x: Any, correction: int) -> Any:
    centred = x - x.mean(-1, keep=True)
    return o.square(centred).sum(-1) / float(x.shape[-1] - correction)


def _p_norm(o: Any, x: Any, p: float) -> Any:
    return o.power(o.power(abs(x), p).sum(-1), 1.0 / p)


def _logsumexp(o: Any, x: Any) -> Any:
    return o.log(o.exp(x).sum(-1))


def _accumulated(o: Any, x: Any, how: Callable[[Any], Any]) -> Any:
    return o.stack([how(x[..., : k + 1]) for k in range(x.shape[-1])], -1) if x.shape[-1] else x


def _trapezoid(x: Any) -> Any:
    return (x[..., 1:] + x[..., :-1]) * 0.5


REDUCTIONS = (
    _r("sum", lambda o, x: x.sum(-1), "Σ x"),
    _r("sum_all", lambda o, x: x.sum(), "Σ x over all axes"),
    _r("mean", lambda o, x: x.mean(-1), "Σ x/n"),
    _r("mean_all", lambda o, x: x.mean(), "Σ x/n over all axes"),
    _r("prod", lambda o, x: x.prod(-1), "Π x", _ONE_ZERO),
    _r("prod_all", lambda o, x: x.prod(), "Π x over all axes", _ONE_ZERO),
    _r("amax", lambda o, x: x.max(-1), "max x", _TIES),
    _r("amin", lambda o, x: x.min(-1), "min x", _TIES),
    _r("max", lambda o, x: x.max(-1), "max x, with the index that is taken", _TIES),
    _r("min", lambda o, x: x.min(-1), "min x, with the index that is taken", _TIES),
    _r("max_all", lambda o, x: x.max(), "max x over all axes", _TIES),
    _r(
        "median",
        lambda o, x: (
            o.minimum(
                x.max(-1),
                o.maximum(o.minimum(x[..., 0], x[..., 1]), o.minimum(o.maximum(x[..., 0], x[..., 1]), x[..., 2])),
            )
            if x.shape[-1] == 3
            else x[..., 0]
        ),
        "the middle of three",
        draws="distinct",
    ),
    _r("nansum", lambda o, x: x.sum(-1), "Σ x of what is a number"),
    _r("nanmean", lambda o, x: x.mean(-1), "Σ x/n of what is a number"),
    _r("var", lambda o, x, correction: _var(o, x, correction), "Σ(x − x̄)²/(n − c)", {}, ({"correction": 0},)),
    _r(
        "std",
        lambda o, x, correction: o.sqrt(_var(o, x, correction)),
        "√var",
        {"equal": ([[1.5, 1.5, 1.5]],)},
        ({"correction": 0},),
    ),
    _r("logsumexp", _logsumexp, "log Σ e^x", {**_TIES, "large": ([[60.0, 59.0, -60.0]],)}),
    _r("norm_1", lambda o, x: abs(x).sum(-1), "Σ|x|", _ZEROS),
    _r("norm_2", lambda o, x: o.sqrt(o.square(x).sum(-1)), "√Σx²", _ZEROS),
    _r("norm_3", lambda o, x: _p_norm(o, x, 3.0), "(Σ|x|³)^⅓", {}),
    _r("norm_inf", lambda o, x: abs(x).max(-1), "max|x|", {**_ZEROS, **_TIES}),
    _r("norm_frobenius", lambda o, x: o.sqrt(o.square(x).sum()), "√Σx² over all axes", {"zero": ([[0.0, 0.0, 0.0]],)}),
    _r("sum_of_squares", lambda o, x: o.square(x).sum(-1), "Σx²"),
    _r("ptp", lambda o, x: x.max(-1) - x.min(-1), "max x − min x", _TIES),
    Operator(
        "dist",
        "reduction",
        lambda o, x, y: o.sqrt(o.square(x - y).sum()),
        "√Σ(x − y)²",
        (Operand("x", shape=(3,)), Operand("y", shape=(3,))),
        edges={"equal": ([1.0, 2.0, 0.5], [1.0, 2.0, 0.5])},
    ),
    Operator(
        "average_weighted",
        "reduction",
        lambda o, x, w: (x * w).sum() / w.sum(),
        "Σwx/Σw",
        (Operand("x", shape=(4,)), Operand("w", shape=(4,), draws="positive")),
    ),
)

CUMULATIVE = (
    _r("cumsum", lambda o, x: _accumulated(o, x, lambda p: p.sum(-1)), "Σ of what is before", family="cumulative"),
    _r("cumprod", lambda o, x: _accumulated(o, x, lambda p: p.prod(-1)), "Π of what is before", _ONE_ZERO,
       family="cumulative"),
    _r("cummax", lambda o, x: _accumulated(o, x, lambda p: p.max(-1)), "max of what is before", _TIES,
       family="cumulative"),
    _r("cummin", lambda o, x: _accumulated(o, x, lambda p: p.min(-1)), "min of what is before", _TIES,
       family="cumulative"),
    _r("logcumsumexp", lambda o, x: _accumulated(o, x, lambda p: _logsumexp(o, p)), "log Σ e^x of what is before",
       _TIES, family="cumulative"),
    _r("diff", lambda o, x: x[..., 1:] - x[..., :-1], "x_(k+1) − x_k", family="cumulative"),
    _r("trapezoid", lambda o, x: _trapezoid(x).sum(-1), "Σ(x_k + x_(k+1))/2", family="cumulative"),
    _r("cumulative_trapezoid", lambda o, x: _accumulated(o, _trapezoid(x), lambda p: p.sum(-1)),
       "the trapezoid rule up to k", family="cumulative"),
)  # fmt: skip

OPERATORS = (*REDUCTIONS, *CUMULATIVE)
