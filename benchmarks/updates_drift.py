"""The drift of optimizers as a table in Markdown and as a figure, from the CSV that `updates.py` has measured."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

#: How the ways to run an optimizer are drawn.
STYLES = {"single": ("C0", "o"), "foreach": ("C1", "s"), "fused": ("C2", "^"), "eager": ("C3", "D"), "jit": ("C4", "v")}


def written(folder: Path) -> None:
    """Write drift.md, drift.png and drift.svg from drift.csv."""
    table = pd.read_csv(folder / "drift.csv", keep_default_na=False)
    (folder / "drift.md").write_text(markdown(table), encoding="utf-8")
    figure = drawn(table)
    for ending in ("png", "svg"):
        figure.savefig(folder / f"drift.{ending}", dpi=150)


def _last(table: pd.DataFrame) -> tuple[str, int]:
    """The column of the last update, and its number."""
    number = max(int(c.removeprefix("after_")) for c in table if c.startswith("after_"))
    return f"after_{number}", number


def markdown(table: pd.DataFrame) -> str:
    """A line for each optimizer of a framework: its drift by each way to run it, and its largest error in ulp."""
    column, number = _last(table)
    lines = [f"| framework | optimizer | drift after {number:,} updates | largest error in one, ulp |"]
    lines += ["| --- | --- | --- | --- |"]
    for (framework, optimizer), of in table.groupby(["framework", "optimizer"], sort=False):
        drifts, errors = of[column].astype(float), of["largest_ulp"].astype(float)
        known = "".join(f", {text}" for text in dict.fromkeys(of["known"]) if text)
        lines.append(f"| {framework} | {optimizer}{known} | {_each(of['way'], drifts)} | {_each(of['way'], errors)} |")
    return "\n".join(lines) + "\n"


def _each(ways: pd.Series, values: pd.Series) -> str:
    """A number for each way, or one where they are the same to two digits."""
    said = [f"{v:.2g}" for v in values]
    if len(set(said)) == 1:
        return said[0]
    return ", ".join(f"{way} {text}" for way, text in zip(ways, said, strict=True))


def drawn(table: pd.DataFrame) -> Figure:
    """A panel for each framework: a line for each optimizer, its drift by each way, or that it is known to deviate."""
    column, number = _last(table)
    right = table[table["known"] == ""]
    frameworks = list(dict.fromkeys(table["framework"]))
    most = max(table[table["framework"] == f]["optimizer"].nunique() for f in frameworks)
    figure = Figure(figsize=(6 * len(frameworks), 1.4 + 0.28 * most), layout="constrained")
    panels = figure.subplots(1, len(frameworks), sharex=True, squeeze=False)[0]
    for panel, framework in zip(panels, frameworks, strict=True):
        names = list(dict.fromkeys(table[table["framework"] == framework]["optimizer"]))
        for way, rows in right[right["framework"] == framework].groupby("way", sort=False):
            colour, marker = STYLES[str(way)]
            heights = [names.index(n) + 0.12 * (list(STYLES).index(str(way)) % 3 - 1) for n in rows["optimizer"]]
            panel.plot(rows[column].astype(float), heights, marker, color=colour, label=way, markersize=5)
        deviating = table[(table["framework"] == framework) & (table["known"] != "")]
        for name, of in deviating.groupby("optimizer", sort=False):
            text = f"{of[column].astype(float).max():.2g}: known to deviate"
            panel.text(0.98, names.index(name), text, ha="right", va="center", transform=panel.get_yaxis_transform())
        panel.set(yticks=range(len(names)), xscale="log", title=framework,
                  xlabel=f"largest drift of a weight after {number:,} updates")  # fmt: skip
        panel.set_yticklabels(names)
        panel.set_ylim(len(names) - 0.5, -0.5)
        panel.grid(axis="x", alpha=0.3)
        if panel.get_legend_handles_labels()[0]:
            panel.legend(fontsize="small")
    worst = right[column].astype(float).max()
    figure.suptitle(f"float32, weights about 1: at most {worst:.1e} from the trajectory that is never rounded")
    return figure
