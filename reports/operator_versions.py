"""Accuracy of the catalogue's operators by framework and version: CSV, Markdown, LaTeX that fits a page, a figure.

From run files of `gradconform verify 'operator/*'`, one for each version; for sweeps of every number see `accuracy`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from gradconform.reports import diff, tables
from gradconform.reports.figures import COLOURS
from gradconform.reports.latex import longtable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: A run: its header and its measurements.
Run = tuple[Mapping[str, Any], pd.DataFrame]
KEY = ["operator", "of", "dtype"]
#: Operators that the figure has at most, those whose accuracy differs most first.
DRAWN = 40
_SHORT = {"derivative": "f'", "value": "f", "tangent": "tangent", "second derivative": "f''", "second tangent": "f'' t"}


def versions(header: Mapping[str, Any]) -> dict[str, str]:
    """The version of each framework of a run, such as {"torch": "2.13.0+cpu"}."""
    return {name: str(of.get(name, next(iter(of.values()), ""))) for name, of in header["frameworks"].items()}


def table(runs: Sequence[Run]) -> pd.DataFrame:
    """A row for each operator, what of it, dtype, framework and version: what was judged, and the largest error."""
    found = []
    for header, measurements in runs:
        summed = tables.by_operator(measurements).reset_index()
        framework = summed["adapter/route"].str.partition("/")[0]
        found.append(summed.assign(framework=framework, version=framework.map(versions(header))))
    every = pd.concat(found, ignore_index=True)
    columns = [*KEY, "framework", "version", "judged", "conforming", "deviating", "known", *tables.COUNTED, "max ulp",
               "median ulp", "max share"]  # fmt: skip
    return every[columns].sort_values([*KEY, "framework"], kind="stable").reset_index(drop=True)


def by_version(found: pd.DataFrame) -> pd.DataFrame:
    """The largest error in ulp: a row for each operator, what of it and dtype, a column for each version."""
    named = found.assign(column=found["framework"] + " " + found["version"])
    columns = list(dict.fromkeys(named["column"]))
    wide = named.pivot_table(index=KEY, columns="column", values="max ulp", aggfunc="max", sort=False)
    return wide.reindex(columns=columns).reset_index()


def write(runs: Sequence[Run], folder: Path) -> list[Path]:
    """accuracy.csv, .md, .tex, .png and .svg, and changes.md, of runs that are given oldest version first."""
    folder.mkdir(parents=True, exist_ok=True)
    found = table(runs)
    wide = by_version(found)
    printed = wide.assign(of=wide["of"].map(_SHORT))
    for name in printed.columns[len(KEY) :]:
        printed[name] = ["" if np.isnan(v) else f"{v:.3g}" for v in printed[name]]
    texts = {
        "accuracy.csv": found.to_csv(index=False, float_format="%.6g", lineterminator="\n"),
        "accuracy.md": _markdown(printed),
        "accuracy.tex": longtable(printed.astype(str), "Largest error of each operator over its cases, in ulp", "acc"),
        "changes.md": "\n".join(_changes(runs)),
    }
    paths = [folder / name for name in texts]
    for path, text in zip(paths, texts.values(), strict=True):
        path.write_text(text, encoding="utf-8")
    figure = drawn(wide)
    for ending in (".png", ".svg"):
        paths.append(folder / f"accuracy{ending}")
        figure.savefig(paths[-1], dpi=110, metadata={"Date": None} if ending == ".svg" else None)
    return paths


def _markdown(printed: pd.DataFrame) -> str:
    lines = [
        "# Operators by version", "",
        "The largest error of each operator of the catalogue over its cases, in units in the last place of the exact "
        "value: f its value, f' its derivative. Made by `nox -s accuracy`; accuracy.csv has the verdicts too, "
        "changes.md what became better or worse.", "",
        "| " + " | ".join(printed.columns) + " |",
        "|" + " --- |" * len(KEY) + " ---: |" * (printed.shape[1] - len(KEY)),
    ]  # fmt: skip
    lines += ["| " + " | ".join(map(str, row)) + " |" for row in printed.itertuples(index=False)]
    return "\n".join(lines) + "\n"


def _changes(runs: Sequence[Run]) -> Iterator[str]:
    """What `diff` says of each version of a framework against the one before it."""
    by_framework: dict[str, list[Run]] = {}
    for header, measurements in runs:
        by_framework.setdefault(" ".join(versions(header)), []).append((header, measurements))
    yield "# What changed\n"
    for of in by_framework.values():
        for (old, before), (new, after) in pairwise(of):
            yield diff.markdown(diff.compare(before, after), old, new)


def drawn(wide: pd.DataFrame) -> Figure:
    """The operators whose largest errors differ most between versions, or frameworks, a mark for each."""
    from matplotlib.figure import Figure

    columns = list(wide.columns[len(KEY) :])
    errors = wide[columns].clip(lower=2.0**-6, upper=2.0**24)
    spread = (np.log2(errors).max(axis=1) - np.log2(errors).min(axis=1)).fillna(0.0)
    shown = spread.sort_values(ascending=False, kind="stable").index[:DRAWN][::-1]
    figure = Figure(figsize=(7.5, 1.4 + 0.2 * max(len(shown), 1)), layout="constrained")
    axis = figure.subplots()
    for n, column in enumerate(columns):
        axis.plot(errors.loc[shown, column], range(len(shown)), linestyle="", marker="os^vD*"[n % 6], markersize=5,
                  color=COLOURS[n % len(COLOURS)], alpha=0.8, label=column)  # fmt: skip
    axis.set_yticks(range(len(shown)), [" ".join(map(str, wide.loc[i, KEY])) for i in shown], fontsize=7)
    axis.set(xscale="log", xlabel="largest error (ulp)", title="Operators whose accuracy differs most")
    axis.grid(alpha=0.3)
    figure.legend(loc="outside lower center", ncols=3, frameon=False)
    return figure
