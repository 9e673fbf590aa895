"""Accuracy by framework version: what became better or worse, and when.

    python benchmarks/history.py RUN.jsonl … [-o FOLDER]

The runs, oldest version first, are those of one route on the same cases (`nox -s regress` makes them). Writes

    verdicts.csv, .md     version × dtype: what was judged, what deviates, the median error and the largest share
    activations.csv, .md  activation × dtype × version: largest error, in ulp, of its value and derivative over a sweep
    changes.md            what `gradconform diff` says of each version against the one before it
    activations.png, .svg the activations whose accuracy changed, by version

The error of a sweep is the largest of its 512 components from −30 to 30; in a run of schema 1, which lacks that, the
error of the component that took most of its allowance.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pandas as pd

from gradconform.conformance.run.run_file import load_each
from gradconform.reference.measurement import JUDGED
from gradconform.reports import diff
from gradconform.reports.tables import checked

SWEEP = "network/sweep/"
#: What certifies nothing, each in a column of its own.
UNCERTAIN = ("lost", "vacuous", "ill-conditioned", "out of range", "singular")
SWEPT = {"a1": "value", "dE/dz1": "derivative"}


def label(header: Mapping[str, Any]) -> str:
    """The framework of a run and its version, such as "jax 0.10.2"."""
    return diff.versions(header).split(", ")[0]


def verdicts(runs: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """One row a version × dtype."""
    rows = []
    for version, measurements in runs.items():
        for dtype, group in checked(measurements).groupby("dtype", sort=False):
            judged = group[group["verdict"].isin(JUDGED)]
            known = int(judged["known"].sum())
            rows.append(
                {
                    "version": version,
                    "dtype": dtype,
                    "judged": len(judged),
                    "conform": int((judged["verdict"] == "conforms").sum()),
                    "deviate": int((judged["verdict"] == "deviates").sum()) - known,
                    "known": known,
                    **{v: int((judged["verdict"] == v).sum()) for v in UNCERTAIN},
                    "median error (ulp)": float(judged["largest_ulp"].median()),
                    "largest share": float(judged["share"].max()),
                }
            )
    return pd.DataFrame(rows)


def activations(runs: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """The largest errors of a sweep, in ulp: a row for each activation, dtype and what of it, a column a version."""
    parts = []
    for version, measurements in runs.items():
        m = checked(measurements)
        swept = m[m["case"].str.startswith(SWEEP) & (m["level"] == "step") & m["quantity"].isin(list(SWEPT))]
        parts.append(
            pd.DataFrame(
                {
                    "activation": swept["case"].str.removeprefix(SWEEP),
                    "of": swept["quantity"].map(SWEPT),
                    "dtype": swept["dtype"],
                    version: swept["largest_ulp"],
                }
            ).set_index(["activation", "of", "dtype"])
        )
    return pd.concat(parts, axis=1)


def changed(errors: pd.DataFrame) -> pd.DataFrame:
    """The rows of `activations` that are not the same in every version of a framework."""
    different = [
        any(row[a] != row[b] for a, b in pairwise(errors.columns) if a.split()[0] == b.split()[0])
        for _, row in errors.iterrows()
    ]
    return errors[different]


def changes(runs: Mapping[str, pd.DataFrame], headers: Mapping[str, Mapping[str, Any]]) -> str:
    """Each version against the one before it, as Markdown."""
    parts = ["# What changed when", ""]
    for old, new in pairwise(runs):
        if old.split()[0] == new.split()[0]:
            parts += [
                f"## {old} → {new}",
                "",
                diff.markdown(diff.compare(runs[old], runs[new]), headers[old], headers[new]),
            ]
    return "\n".join(parts)


def drawn(errors: pd.DataFrame, dtype: str = "float64") -> Any:
    """The figure: the error of what changed in a dtype, by version of the framework that has several."""
    from matplotlib.figure import Figure

    first = errors.columns[0].split()[0]
    versions = [v for v in errors.columns if v.split()[0] == first]
    lines = changed(errors[versions])
    lines = lines[lines.index.get_level_values("dtype") == dtype].droplevel("dtype")
    lines = lines[lines.max(axis=1) - lines.min(axis=1) >= diff.ULPS]
    worst = (lines.max(axis=1) / lines.min(axis=1)).idxmax() if len(lines) else None
    figure = Figure(figsize=(9, 5), layout="constrained")
    axes = figure.subplots()
    # Okabe and Ito's palette, "Color Universal Design" (2008), and a marker of its own for each line.
    colours = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
    for number, (name, row) in enumerate(lines.iterrows()):
        assert isinstance(name, tuple)
        colour, marker = colours[number % len(colours)], "osD^vPX"[number % 7]
        axes.plot(range(len(versions)), row.to_list(), label=f"{name[0]}, {name[1]}", color=colour, marker=marker)
    axes.set_xticks(range(len(versions)), [v.split()[1] for v in versions])
    axes.set_yscale("log")
    axes.set_xlabel(f"version of {first}")
    axes.set_ylabel("largest error (ulp)")
    if worst is None:
        title = f"No activation's {dtype} accuracy changed by {diff.ULPS:g} ulp in any of these versions of {first}"
    else:
        assert isinstance(worst, tuple)
        steps = {b: lines.loc[worst][b] / lines.loc[worst][a] for a, b in pairwise(versions)}
        at = max(steps, key=lambda v: max(steps[v], 1 / steps[v]))
        way = "lost" if steps[at] > 1 else "gained"
        title = (
            f"{at} {way} most: the {worst[1]} of {worst[0]} in {dtype}, a factor of {max(steps[at], 1 / steps[at]):.1f}"
        )
    axes.set_title(title, loc="left")
    axes.grid(alpha=0.3)
    if len(lines):
        axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
    return figure


def written(headers: Sequence[Mapping[str, Any]], tables: Sequence[pd.DataFrame], folder: Path) -> list[str]:
    """Write everything to a folder; the findings, in sentences."""
    folder.mkdir(parents=True, exist_ok=True)
    named = dict(zip([label(h) for h in headers], headers, strict=True))
    runs = dict(zip(named, tables, strict=True))
    by_dtype, errors = verdicts(runs), activations(runs)
    by_dtype.to_csv(folder / "verdicts.csv", index=False)
    by_dtype.to_markdown(folder / "verdicts.md", index=False, floatfmt=".3g")
    errors.to_csv(folder / "activations.csv")
    shown = errors.reset_index().astype(object)
    for version in errors.columns:
        shown[version] = ["–" if pd.isna(x) else f"{x:.3g}" for x in errors[version]]
    shown.to_markdown(folder / "activations.md", index=False, disable_numparse=True)
    (folder / "changes.md").write_text(changes(runs, named), encoding="utf-8")
    figure = drawn(errors)
    for ending in ("png", "svg"):
        figure.savefig(folder / f"activations.{ending}", dpi=150)
    said = [f"{v}: {int(g['judged'].sum()):,} judged, {int(g['deviate'].sum())} deviate, {int(g['known'].sum())} known"
            for v, g in by_dtype.groupby("version", sort=False)]  # fmt: skip
    for old, new in pairwise(runs):
        if old.split()[0] == new.split()[0]:
            found = diff.compare(runs[old], runs[new])
            said.append(f"{old} → {new}: {diff.closing(found)}, other bits in {sum(found.moved.values()):,}")
    return said


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, help="run files, the oldest version first")
    parser.add_argument("-o", "--output", type=Path, default=Path("docs/history"), help="folder for the tables")
    options = parser.parse_args()
    headers, tables = load_each(options.runs)
    print("\n".join(written(headers, tables, options.output)))


if __name__ == "__main__":
    main()
