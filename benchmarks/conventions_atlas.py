"""What each framework takes where there is a choice: at kinks, poles and edges, first and second derivative.

    python benchmarks/conventions_atlas.py [-a torch] [-a jax] [-d float32] [-o docs/operators]

Every point is an operator of the catalogue at operands where its derivative is a set, infinite, or none. Writes
conventions.csv, a row for each number of a gradient (operator, point, order, adapter, route, dtype, value, low, high,
inside; "low" and "high" are the ends of the set, empty where there is no derivative), and conventions.md, with the
rules that PyTorch states for itself and where it keeps them.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from gradconform.conformance import operators
from gradconform.conformance.cases.operators import OperatorCase
from gradconform.conformance.programs.definitions import defined, gradient_of
from gradconform.conformance.programs.program_rows import recorder_of
from gradconform.conformance.programs.truth import Truth
from gradconform.reference.arithmetic.formats import FORMATS
from gradconform.reference.cases import BadInput
from gradconform.reference.derivations.operators.catalogue import OPERATORS
from gradconform.reference.programs.run import NotRecorded, Run, Unsupported

COLUMNS = ("operator", "point", "order", "adapter", "route", "dtype", "value", "low", "high", "inside")
#: PyTorch, "Autograd mechanics", section "Gradients for non-differentiable functions", by the function's kind.
RULES = {
    "convex": "of a function that is convex near the point, the subgradient of minimum norm",
    "concave": "of one that is concave near it, the supergradient of minimum norm",
    "continuous": "what the derivative is by continuity, such as sqrt(0) = inf",
}
SOURCE = "https://docs.pytorch.org/docs/stable/notes/autograd.html#gradients-for-non-differentiable-functions"


@dataclass(frozen=True)
class Point:
    """An operator at operands with a choice: what kind it is of there, and the gradient by PyTorch's own rule."""

    operator: str
    name: str
    operands: tuple[Any, ...]
    kind: Literal["convex", "concave", "continuous", ""] = ""
    by_rule: tuple[float, ...] = ()
    parameters: int = 0


_P = Point
POINTS = (
    _P("absolute", "0", ([0.0],), "convex", (0.0,)),
    _P("absolute", "-0", ([-0.0],), "convex", (0.0,)),
    _P("sign", "0", ([0.0],)),
    _P("sqrt", "0", ([0.0],), "continuous", (math.inf,)),
    _P("rsqrt", "0", ([0.0],), "continuous", (-math.inf,)),
    _P("cbrt", "0", ([0.0],), "continuous", (math.inf,)),
    _P("reciprocal", "0", ([0.0],)),
    _P("log", "0", ([0.0],), "continuous", (math.inf,)),
    _P("log1p", "-1", ([-1.0],), "continuous", (math.inf,)),
    _P("asin", "1", ([1.0],), "continuous", (math.inf,)),
    _P("acos", "1", ([1.0],), "continuous", (-math.inf,)),
    _P("acosh", "1", ([1.0],), "continuous", (math.inf,)),
    _P("atanh", "1", ([1.0],), "continuous", (math.inf,)),
    _P("logit", "0", ([0.0],), "continuous", (math.inf,)),
    _P("erfinv", "1", ([1.0],), "continuous", (math.inf,)),
    _P("ndtri", "0", ([0.0],), "continuous", (math.inf,)),
    _P("entr", "0", ([0.0],), "continuous", (math.inf,)),
    _P("sinc", "0", ([0.0],)),
    _P("i0", "0", ([0.0],)),
    _P("i0e", "0", ([0.0],), "concave", (0.0,)),
    _P("safe_sqrt", "0", ([0.0],)),
    _P("relu", "0", ([0.0],), "convex", (0.0,)),
    _P("relu", "-0", ([-0.0],), "convex", (0.0,)),
    _P("relu6", "0", ([0.0],), "convex", (0.0,)),
    _P("relu6", "6", ([6.0],), "concave", (0.0,)),
    _P("leaky_relu", "0", ([0.0],), "convex", (0.25,), 1),
    _P("elu", "0, alpha 3/4", ([0.0],), "convex", (0.75,), 1),
    _P("selu", "0", ([0.0],)),
    _P("prelu", "0", ([0.0], [0.25]), "convex", (0.25, 0.0)),
    _P("hardtanh", "-1", ([-1.0],), "convex", (0.0,)),
    _P("hardtanh", "1", ([1.0],), "concave", (0.0,)),
    _P("hardsigmoid", "-3", ([-3.0],), "convex", (0.0,)),
    _P("hardsigmoid", "3", ([3.0],), "concave", (0.0,)),
    _P("hardswish", "-3", ([-3.0],)),
    _P("hardswish", "3", ([3.0],)),
    _P("softshrink", "1/2", ([0.5],), "convex", (0.0,)),
    _P("softshrink", "-1/2", ([-0.5],), "concave", (0.0,)),
    _P("clamp", "its lower bound", ([-1.0],), "convex", (0.0,)),
    _P("clamp", "its upper bound", ([0.5],), "concave", (0.0,)),
    _P("maximum", "equals", ([1.0], [1.0]), "convex", (0.5, 0.5)),
    _P("minimum", "equals", ([1.0], [1.0]), "concave", (0.5, 0.5)),
    _P("fmax", "equals", ([1.0], [1.0]), "convex", (0.5, 0.5)),
    _P("fmin", "equals", ([1.0], [1.0]), "concave", (0.5, 0.5)),
    _P("maximum", "0 and -0", ([0.0], [-0.0]), "convex", (0.5, 0.5)),
    _P("copysign", "0", ([0.0], [1.0])),
    _P("power", "0^0", ([0.0], [0.0])),
    _P("power", "0^1", ([0.0], [1.0])),
    _P("power", "0^2", ([0.0], [2.0])),
    _P("power", "0^(1/2)", ([0.0], [0.5])),
    _P("power", "(-2)^2", ([-2.0], [2.0])),
    _P("hypot", "0, 0", ([0.0], [0.0]), "convex", (0.0, 0.0)),
    _P("atan2", "0, 0", ([0.0], [0.0])),
    _P("xlogy", "0, 0", ([0.0], [0.0])),
    _P("logaddexp", "equals", ([1.0], [1.0])),
    _P("fmod", "4, 2", ([4.0], [2.0])),
    _P("remainder", "4, 2", ([4.0], [2.0])),
    _P("divide", "0/0", ([0.0], [0.0])),
    _P("amax", "two equals", ([[1.0, 1.0, 0.0]],), "convex", (0.5, 0.5, 0.0)),
    _P("amin", "two equals", ([[1.0, 1.0, 2.0]],), "concave", (0.5, 0.5, 0.0)),
    _P("max", "two equals", ([[1.0, 1.0, 0.0]],), "convex", (0.5, 0.5, 0.0)),
    _P("min", "two equals", ([[1.0, 1.0, 2.0]],), "concave", (0.5, 0.5, 0.0)),
    _P("max_all", "two equals", ([[1.0, 1.0, 0.0]],), "convex", (0.5, 0.5, 0.0)),
    _P("ptp", "two equals", ([[1.0, 1.0, 0.0]],), "convex", (0.5, 0.5, -1.0)),
    _P("median", "two equals", ([[1.0, 1.0, 0.0]],)),
    _P("prod", "one zero", ([[0.0, 2.0, 3.0]],)),
    _P("prod", "two zeros", ([[0.0, 2.0, 0.0]],)),
    _P("cumprod", "one zero", ([[2.0, 0.0, 3.0]],)),
    _P("cumprod", "two zeros", ([[0.0, 2.0, 0.0]],)),
    _P("cummax", "equals", ([[1.0, 1.0, 0.0]],), "convex", (1.5, 1.5, 0.0)),
    _P("cummin", "equals", ([[1.0, 1.0, 2.0]],), "concave", (1.5, 1.5, 0.0)),
    _P("logsumexp", "equals", ([[1.0, 1.0]],)),
    _P("norm_1", "0", ([[0.0, 0.0]],), "convex", (0.0, 0.0)),
    _P("norm_2", "0", ([[0.0, 0.0]],), "convex", (0.0, 0.0)),
    _P("norm_3", "0", ([[0.0, 0.0]],), "convex", (0.0, 0.0)),
    _P("norm_inf", "0", ([[0.0, 0.0]],), "convex", (0.0, 0.0)),
    _P("norm_inf", "two equals", ([[1.0, 1.0]],), "convex", (0.5, 0.5)),
    _P("norm_frobenius", "0", ([[0.0, 0.0]],), "convex", (0.0, 0.0)),
    _P("std", "equals", ([[1.5, 1.5]],), "convex", (0.0, 0.0)),
    _P("dist", "equals", ([1.0, 2.0], [1.0, 2.0]), "convex", (0.0, 0.0, 0.0, 0.0)),
    _P("normalize", "0", ([[0.0, 0.0]],)),
    _P("cosine_similarity", "0", ([[0.0, 0.0]], [[1.0, 2.0]])),
    _P("l1_loss", "equals", ([[1.0]], [[1.0]]), "convex", (0.0, 0.0), 1),
    _P("huber_loss", "delta", ([[0.75]], [[0.0]]), "", (), 1),
    _P("hinge_loss", "the hinge", ([[1.0]], [[1.0]]), "", (), 1),
    _P("margin_ranking_loss", "the margin", ([[1.0]], [[0.5]]), "convex", (0.0, 0.0), 1),
    _P("binary_cross_entropy", "0", ([[0.0]], [[0.0]]), "", (), 1),
    _P("max_pool1d", "two equals", ([[[1.0, 1.0]]],), "convex", (0.5, 0.5)),
    _P("sort", "two equals", ([[1.0, 1.0]],)),
    _P("topk", "two equals", ([[1.0, 1.0, 1.0]],)),
    _P("cdist", "equals", ([[1.0, 2.0]], [[1.0, 2.0]]), "convex", (0.0, 0.0, 0.0, 0.0)),
    _P("eigvalsh", "repeated", ([[1.0, 0.0], [0.0, 1.0]],)),
    _P("svdvals", "repeated", ([[1.0, 0.0], [0.0, 1.0]],)),
    _P("det", "singular", ([[1.0, 2.0, 3.0], [2.0, 4.0, 6.0], [0.0, 1.0, 1.0]],)),
    _P("complex_abs", "0", ([0.0 + 0.0j],), "convex", (0.0, 0.0)),
    _P("complex_angle", "0", ([0.0 + 0.0j],)),
    _P("interp", "a knot", ([1.0], [0.0, 1.0, 0.0])),
)  # fmt: skip


def observed(point: Point, framework: str, dtype: str, routes: Sequence[str]) -> Iterator[dict[str, Any]]:
    """A row for each number of the gradient, by each route, with adjoints of 1; nothing where the operator is not."""
    operator, call = OPERATORS[point.operator], operators.callable_of(point.operator, framework)
    if call is None or dtype not in operator.dtypes:
        return
    operands = tuple(np.asarray(x) for x in point.operands)
    case = OperatorCase(operator, point.name, operands, operator.parameters[point.parameters])
    arguments = tuple(operators.array(framework, x, dtype) for x in operands)
    if operators.without_slope(framework, call, arguments):
        return
    function, definition = operators.function(case, call, {}), operators.definition(case)
    assert definition is not None
    recorder = recorder_of(framework)
    exists = True
    for order in (1, 2):
        f, of = (function, definition) if order == 1 else (
            recorder.gradient_of(function, 0), gradient_of(definition, 0))  # fmt: skip
        options: dict[str, Any] = {"routes": tuple(routes), "replays": False}
        if framework == "torch":
            arguments = tuple(x.requires_grad_() if x.is_floating_point() or x.is_complex() else x for x in arguments)
        try:
            run = recorder.record(f, arguments, cotangents=None, **options)
            run = recorder.record(f, arguments, cotangents=_ones(run, framework, dtype), **options)
        except (NotRecorded, Unsupported, BadInput, NotImplementedError, RuntimeError, TypeError):
            return
        run = replace(run, definition=defined(of, run, arguments, framework == "jax"))
        rows = list(_rows(run, point, order, framework, dtype, exists))
        exists = all(row["low"] == row["high"] for row in rows)
        yield from rows


def _ones(run: Run, framework: str, dtype: str) -> list[Any]:
    array = partial(recorder_of(framework).array, dtype=dtype)
    return [array(np.ones(ids.shape)) for ids in run.cotangents]


def _rows(run: Run, point: Point, order: int, framework: str, dtype: str, exists: bool) -> Iterator[dict[str, Any]]:
    truth = Truth(run)
    for route, answers in run.returned.items():
        for number, argument in enumerate(run.arguments):
            size = max([abs(_end(x.mid())) for x in truth.point[number] if x.is_finite()], default=0.0)
            for k, got in enumerate(np.asarray(answers[number]).ravel().tolist()):
                ball = truth.set[number][k] if truth.ties else truth.point[number][k]
                known = ball.is_finite() and exists
                low, high = _ends(ball) if known else (math.nan, math.nan)
                # What is rounded is no matter of conventions: half of the digits of the largest number decide.
                slack = size * 2.0 ** -(FORMATS[dtype].precision // 2)
                if known and high - low <= slack:
                    low = high = float(ball.mid())
                at = f"{argument.name}[{k}]" if argument.ids.size > 1 or len(run.arguments) > 1 else argument.name
                yield {
                    "operator": point.operator, "point": f"{point.name}, by {at}", "order": order,
                    "adapter": framework, "route": route, "dtype": dtype, "value": got, "low": low, "high": high,
                    "inside": (low - slack <= got <= high + slack) if known else None,
                    "kind": point.kind if order == 1 else "",
                    "by rule": point.by_rule[_place(run, number, k)] if point.by_rule and order == 1 else math.nan,
                }  # fmt: skip


def _ends(ball: Any) -> tuple[float, float]:
    """The ends of a set, without what the radius of a ball is rounded up by, which is some 2^-28 of the radius."""
    low, high, radius = _end(ball.lower()), _end(ball.upper()), float(ball.rad())
    return tuple(0.0 if abs(x) <= 2.0**-26 * radius else x for x in (low, high))  # type: ignore[return-value]


def _end(x: Any) -> float:
    return float(f"{float(x):.8g}")


def _place(run: Run, number: int, k: int) -> int:
    return sum(a.ids.size for a in run.arguments[:number]) + k


def atlas(frameworks: Sequence[str], dtypes: Sequence[str], points: Sequence[Point] = POINTS) -> pd.DataFrame:
    rows = []
    for point in points:
        for framework in frameworks:
            for dtype in dtypes:
                routes = ("eager", "jit") if framework == "jax" else ("eager",)
                rows += list(observed(point, framework, dtype, routes))
    return pd.DataFrame(rows)


def kept(rows: pd.DataFrame) -> pd.Series[bool]:
    """Whether each row that PyTorch has a rule for keeps it."""
    value, rule = rows["value"], rows["by rule"]
    return (value == rule) | ((value - rule).abs() <= 1e-2 * rule.abs())


def differing(rows: pd.DataFrame) -> pd.DataFrame:
    """Points at which the frameworks take different numbers, in eager mode, the first derivative."""
    of = rows[(rows["route"] == "eager") & (rows["order"] == 1)]
    wide = of.pivot_table(index=["operator", "point", "dtype"], columns="adapter", values="value", aggfunc="first",
                          sort=False, dropna=False)  # fmt: skip
    both = of.groupby(["operator", "point", "dtype"], sort=False)["adapter"].nunique()
    wide = wide.loc[both[both > 1].index]
    same = (wide["torch"] == wide["jax"]) | (wide["torch"].isna() & wide["jax"].isna())
    return wide[~same & ~((wide["torch"] - wide["jax"]).abs() <= 1e-2 * wide["jax"].abs())].reset_index()


def written(rows: pd.DataFrame, folder: Path) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    rows[list(COLUMNS)].to_csv(folder / "conventions.csv", index=False)
    (folder / "conventions.md").write_text(_page(rows), encoding="utf-8")
    ruled = rows[(rows["adapter"] == "torch") & rows["by rule"].notna()]
    outside = rows[rows["inside"].eq(False)]
    there = differing(rows) if rows["adapter"].nunique() > 1 else rows[:0]
    return (
        f"{len(rows)} rows of {rows['adapter'].nunique()} frameworks; {len(outside)} outside of the set; "
        f"{len(there)} first derivatives differ between frameworks; PyTorch breaks its own rule at "
        f"{int((~kept(ruled)).sum())} of {len(ruled)}"
    )


def _page(rows: pd.DataFrame) -> str:
    first = rows[rows["dtype"] == rows["dtype"].iloc[0]]
    ruled = first[(first["adapter"] == "torch") & first["by rule"].notna() & (first["order"] == 1)].copy()
    ruled["kept"] = kept(ruled)
    outside = first[first["inside"].eq(False)]
    lines = [
        "# Conventions at kinks, poles and edges",
        "",
        "What PyTorch and JAX take where a derivative is a set, infinite, or none, with adjoints of 1, and whether "
        "that is in the set. All rows stand in [conventions.csv](conventions.csv); made by "
        "`benchmarks/conventions_atlas.py`. Of a kink the second derivative is none, so that it has no set.",
        "",
        f"## The rules that PyTorch states ([autograd notes]({SOURCE}))",
        "",
        *(f"- {kind}: {rule}" for kind, rule in RULES.items()),
        "",
        f"It keeps them at {int(ruled['kept'].sum())} of {len(ruled)} numbers. Where it does not:",
        "",
        _markdown(ruled[~ruled["kept"]], ["operator", "point", "kind", "value", "by rule", "inside"]),
        "",
        "## Outside of the set",
        "",
        _markdown(outside, ["operator", "point", "order", "adapter", "route", "value", "low", "high"]),
        "",
        "## Where the frameworks differ",
        "",
        _markdown(differing(first), ["operator", "point", "torch", "jax"]) if first["adapter"].nunique() > 1 else "",
        "",
        "## All first derivatives",
        "",
        _markdown(first[(first["order"] == 1) & (first["route"] == "eager")],
                  ["operator", "point", "adapter", "value", "low", "high", "inside"]),
        "",
    ]  # fmt: skip
    return "\n".join(lines)


def _markdown(table: pd.DataFrame, columns: Sequence[str]) -> str:
    def cell(x: Any) -> str:
        if x is None or (isinstance(x, float) and math.isnan(x)):
            return "–"
        return f"{x:.6g}" if isinstance(x, float) else str(x)

    body = ["| " + " | ".join(cell(x) for x in row) + " |" for row in table[list(columns)].itertuples(index=False)]
    return "\n".join(["| " + " | ".join(columns) + " |", "|" + " --- |" * len(columns), *body])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-a", "--adapter", action="append", choices=operators.JUDGED)
    parser.add_argument("-d", "--dtype", action="append", choices=list(FORMATS))
    parser.add_argument("-o", "--output", type=Path, default=Path("docs/operators"))
    options = parser.parse_args()
    rows = atlas(options.adapter or operators.JUDGED, options.dtype or ["float32", "bfloat16"])
    print(written(rows, options.output))
    return 0


if __name__ == "__main__":
    sys.exit(main())
