"""Accuracy of the catalogue's operators by framework and version: CSV, Markdown, LaTeX that fits a page, a figure.

From run files of `gradconform verify 'operator/*'`, one for each version; for sweeps of every number see `accuracy`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from gradconform.reports import diff, tables
from gradconform.reports.figures import COLOURS, WIDTH
from gradconform.reports.latex import longtable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: A run: its header and its measurements.
Run = tuple[Mapping[str, Any], pd.DataFrame]
KEY = ["operator", "of", "dtype"]
#: Bits of each dtype's numbers.
_DIGITS = {"float64": 53, "float32": 24, "float16": 11, "bfloat16": 8}
#: Operators that the figure has at most, and how many times as large an error is that is said to differ.
DRAWN, DIFFERENT = 40, 2
_PRINTED = {"derivative": "f′", "value": "f", "tangent": "tangent", "second derivative": "f″", "second tangent": "f″ t"}
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
        figure.savefig(paths[-1], dpi=180, metadata={"Date": None} if ending == ".svg" else None)
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
    """The operators whose largest errors differ most between frameworks or versions, a mark for each framework.

    Errors of up to half an ulp, as of what is correctly rounded, are no difference, nor is one of less than DIFFERENT.
    A version that has the error of its framework's last one has no mark of its own. Where nothing differs it says so.
    """
    from matplotlib.figure import Figure

    errors = wide[list(wide.columns[len(KEY) :])].astype(float)
    dtype = list(dict.fromkeys(wide["dtype"]))
    most = 2.0 ** max(_DIGITS[d] for d in dtype)
    powers = np.log2(errors.clip(lower=0.5, upper=2 * most))
    spread = (powers.max(axis=1) - powers.min(axis=1)).fillna(0.0)
    different = spread[spread > math.log2(DIFFERENT)].sort_values(ascending=False, kind="stable").index
    shown = different[:DRAWN][::-1]
    figure = Figure(figsize=(WIDTH, 1.05 + 0.13 * len(shown)), layout="constrained")
    axis = figure.subplots()
    named = KEY if len(dtype) > 1 else KEY[:-1]
    texts = wide.assign(of=wide["of"].map(_PRINTED))
    axis.set_yticks(range(len(shown)), [" ".join(texts.loc[i, named]) for i in shown], fontsize=6)
    of = f"{len(wide)} values and derivatives in {' and '.join(dtype)}"
    best = f":\nthe {len(shown)} that differ most" if len(shown) < len(different) else ""
    said = f"Of {of} {len(different)} differ by more than a factor of {DIFFERENT}{best}"
    none = f"None of {of} differs by more than a factor of {DIFFERENT}"
    figure.suptitle(said if len(shown) else none, fontsize=7.5)
    if not len(shown):
        axis.set_axis_off()
        return figure
    _marks(axis, errors.loc[shown], most)
    axis.set_xlabel("largest error (ulp)", fontsize=7)
    axis.tick_params(labelsize=6, length=2)
    axis.grid(alpha=0.3, linewidth=0.4)
    figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=6.5)
    return figure


def _marks(axis: Axes, errors: pd.DataFrame, most: float) -> None:
    """A mark for each framework's last version, hollow ones for earlier versions where they differ.

    Errors above `most` ulp, of which not a digit is left, stand together, and so do those of 0.
    """
    low, high = 2.0**-6, 8 * most
    at = errors.clip(lower=low).where(errors > 0, low / 4).where(errors <= 2 * most, high).where(errors.notna())
    frameworks: dict[str, list[str]] = {}
    for column in errors:
        frameworks.setdefault(str(column).partition(" ")[0], []).append(str(column))
    for n, columns in enumerate(frameworks.values()):
        *earlier, last = columns
        style: dict[str, Any] = {"linestyle": "", "color": COLOURS[n % len(COLOURS)], "markeredgewidth": 0.7}
        same = [c for c in earlier if ((errors[c] == errors[last]) | errors[c].isna()).all()]
        as_it = f"{', '.join(c.partition(' ')[2] for c in same)} and " if same else ""
        label = f"{last.partition(' ')[0]} {as_it}{last.partition(' ')[2]}"
        axis.plot(at[last], range(len(at)), marker="os^D"[n % 4], markersize=3.5, label=label, **style)
        for column, marker in zip((c for c in earlier if c not in same), "v<>p*h", strict=False):
            where = np.flatnonzero((errors[column] != errors[last]) & errors[column].notna())
            axis.plot(at[column].iloc[where], where, marker=marker, markersize=4.5, markerfacecolor="none",
                      label=f"{column} where it differs", **style)  # fmt: skip
    ticks = [10.0**n for n in range(-1, 17) if 10.0**n <= most]
    ticks = [t for n, t in enumerate(ticks) if len(ticks) <= 6 or n % 2]
    names = {low / 4: "0", **{t: f"{t:g}" if t < 1e4 else f"$10^{{{math.log10(t):.0f}}}$" for t in ticks}}
    names |= {high: "more"} if (errors > 2 * most).any(axis=None) else {}
    axis.set(xscale="log", xlim=(low / 8, high * 2), ylim=(-0.7, len(errors) - 0.3))
    for beyond in (low / 2, 4 * most):
        axis.axvline(beyond, color="#000000", linewidth=0.5, linestyle=":")
    axis.set_xticks(list(names), list(names.values()))
    axis.minorticks_off()
