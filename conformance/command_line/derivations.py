"""Derivations as plain data, for the report: each case's equations, its network with its numbers, and their truths.

Everything here is strings, numbers, lists and dicts, since reports know nothing of the reference. A run file holds no
inputs, so the cases are drawn anew; one whose loss is not what the run says is left out, never shown beside numbers
that are of another case.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gradconform.conformance.command_line.explain import (
    Truth,
    array_texts,
    array_truths,
    given_text,
    scalar_truths,
)
from gradconform.reference.arithmetic.formats import Format
from gradconform.reference.arithmetic.text import formula, symbol
from gradconform.reference.cases import Case, Point, named_format, point
from gradconform.reference.cases import derivation as derivation_of
from gradconform.reference.derivations.network import Architecture
from gradconform.reference.measurement import truth_ends

if TYPE_CHECKING:
    import pandas as pd

#: Of a wide layer so many units are drawn, the first ones.
DRAWN = 8
#: The document's weights as the matrices of its two layers, and its quantities layer by layer.
_DOCUMENT_WEIGHTS = ((("w1", "w2"), ("w3", "w4")), (("w5", "w6"), ("w7", "w8")))
_DOCUMENT_UNITS = (("i1", "i2"), ("a_h1", "a_h2"), ("a_o1", "a_o2"))

Plain = dict[str, Any]


def derivations(cases: Iterable[Case], measurements: pd.DataFrame) -> Plain:
    """{"derivations": by name, "cases": by id} of every case that the measurements are of.

    A case names its derivation (equations, layers) and holds `at`, by dtype: the given values, the truth of every
    equation as text, and for each layer the weights and the truth of their gradients as far as they are drawn.
    """
    losses = _losses(measurements)
    found: Plain = {"derivations": {}, "cases": {}}
    for case in cases:
        at = {}
        for dtype, truth in losses.get(case.id, {}).items():
            numbers = _numbers(point(case, dtype))
            if truth is None or _same(numbers["truth"][case.equations.loss], truth):
                at[dtype] = numbers
        if at:
            name = case.equations.name
            if name not in found["derivations"]:
                found["derivations"][name] = _derivation(case)
            found["cases"][case.id] = {"derivation": name, "scale": weight_scale(case), "at": at}
    return found


def weight_scale(case: Case) -> float:
    """The root mean square of a case's weights, biases left out."""
    weights = [np.ravel(v) for n, v in case.values if n.startswith(("w", "W"))]
    return float(f"{math.sqrt(float(np.mean(np.square(np.concatenate(weights))))):.6g}")


def _losses(measurements: pd.DataFrame) -> dict[str, dict[str, str | None]]:
    """By case and dtype the truth of the loss that the measurements were made against; None where none was judged."""
    losses: dict[str, dict[str, str | None]] = {}
    for case, dtype in measurements[["case", "dtype"]].drop_duplicates().itertuples(index=False):
        losses.setdefault(case, {})[dtype] = None
    of_loss = (measurements["level"] == "whole") & measurements["quantity"].isin(("E", "E_total"))
    rows = measurements[of_loss & measurements["truth"].notna()]
    for case, dtype, truth in rows[["case", "dtype", "truth"]].drop_duplicates().itertuples(index=False):
        losses[case][dtype] = truth
    return losses


def _same(here: str, there: str) -> bool:
    """Whether two truths are of one number or set: their ends agree to 12 digits, where the shorter has 16 or 17."""
    try:
        pairs = [(float(a), float(b)) for a, b in zip(truth_ends(here), truth_ends(there), strict=True)]
    except ValueError:
        return False
    return all(a == b or math.isclose(a, b, rel_tol=1e-12) for a, b in pairs)


def _derivation(case: Case) -> Plain:
    of = case.equations
    equations = [
        {"name": e.name, "symbol": symbol(e.name), "formula": formula(e), "group": e.group, "source": e.source}
        for e in of.equations
    ]
    architecture = case.derivation
    if not isinstance(architecture, Architecture):
        layers = [{"label": label, "size": 2, "units": [symbol(n) for n in units]}
                  for label, units in zip(("inputs", "hidden", "outputs"), _DOCUMENT_UNITS, strict=True)]  # fmt: skip
        return {"title": "The document’s network: 2 → 2 sigmoid → 2 sigmoid, half squared error",
                "loss": of.loss, "equations": equations, "layers": layers}  # fmt: skip
    labels = ["inputs", *architecture.activations]
    layers = [
        {"label": label, "size": size,
         "units": [f"{'x' if layer == 0 else f'a{layer}'}[{i}]" for i in range(min(size, DRAWN))]}
        for layer, (label, size) in enumerate(zip(labels, architecture.sizes, strict=True))
    ]  # fmt: skip
    return {"title": str(architecture), "loss": of.loss, "equations": equations, "layers": layers}


def _numbers(at: Point) -> Plain:
    """A case's numbers at a dtype: what is given, the truths, the weights and gradients that are drawn."""
    of = derivation_of(at.derivation)
    given, target = {**at.values, of.rate: at.rate}, named_format(at.dtype)
    if at.architecture is None:
        truth = scalar_truths(of, given)
        edges = [
            {"names": [[symbol(n) for n in row] for row in rows],
             "weights": [[_asked(at.values[n], target) for n in row] for row in rows],
             "gradient": [[_short(float(truth[of.gradient[n]])) for n in row] for row in rows],
             "quantities": [[of.gradient[n] for n in row] for row in rows]}
            for rows in _DOCUMENT_WEIGHTS
        ]  # fmt: skip
        units = [
            [_asked(given[n], target) if n in given else _short(float(truth[n])) for n in names]
            for names in _DOCUMENT_UNITS
        ]
    else:
        arrays = array_truths(of, given)
        truth = array_texts(arrays)
        layers = range(1, at.architecture.layers + 1)
        edges = [
            {"weights": _corner(at.values[f"W{i}"], target), "gradient": _slopes(arrays[f"dE/dW{i}"])} for i in layers
        ]
        # Of a batch the first row is shown.
        units = [_corner(at.values["X"][:1], target)[0]]
        units += [[_short(float(v)) for v in arrays[f"a{i}"].middle[0][:DRAWN]] for i in layers]
    texts = {symbol(n): _text(v, target) for n, v in given.items()}
    return {"given": texts, "truth": truth, "edges": edges, "units": units}


def _asked(value: float, target: Format) -> float:
    """The number as people gave it, before it was rounded to the format; six digits for the drawing."""
    return float(f"{float(target.shortest(value)[0]):.6g}")


def _corner(matrix: NDArray[np.float64], target: Format) -> list[list[float | None]]:
    return [[_asked(v, target) for v in row[:DRAWN]] for row in matrix[:DRAWN]]


def _slopes(truth: Truth) -> list[list[float | str | None]]:
    """As `_corner`, a set as text."""
    drawn = [min(size, DRAWN) for size in truth.middle.shape]
    return [
        [truth.at((j, i), 4) if truth.reach[j, i] else _short(float(truth.middle[j, i])) for i in range(drawn[1])]
        for j in range(drawn[0])
    ]


def _short(value: float) -> float | None:
    """Six digits for the drawing; None for what JSON has no number for."""
    return float(f"{value:.6g}") if math.isfinite(value) else None


def _text(value: Any, target: Format) -> str:
    text = given_text(value, target)
    return " × ".join(map(str, np.shape(value))) if text is None else text.strip("()")


def seed_of(headers: Sequence[Mapping[str, Any]]) -> int:
    """The seed that the runs' cases were drawn with; the first run's where they differ."""
    seed = headers[0].get("seed")
    return seed if isinstance(seed, int) and not isinstance(seed, bool) else 0
