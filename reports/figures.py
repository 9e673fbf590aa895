"""Figures: PNG and SVG, in Okabe and Ito's colours, which the colour-blind tell apart; titles that state findings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from gradconform.reference.measurement import CERTIFIED
from gradconform.reports import tables

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = "osD^vPX"
LINES = ("-", "--", ":", "-.")
#: What an axis of ulps shows; 2^53 of them is a float64 without a right digit.
_ULPS = (1e-2, 1e17)


def figures(
    measurements: pd.DataFrame, directory: Path, cases: Mapping[str, Mapping[str, Any]] | None = None
) -> list[Path]:
    """Write every figure that the measurements have data for into `directory`/figures, as .png and .svg.

    `cases` holds a `scale` (root mean square of the weights) for each case id. Raises ImportError without matplotlib.
    """
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError as error:
        raise ImportError(
            "figures need matplotlib, which is not installed: pip install 'gradconform[report]'"
        ) from error
    m = tables.checked(measurements)
    drawn: dict[str, Figure | None] = {
        "ulps-by-scale": ulps_by_scale(m, {c: float(of["scale"]) for c, of in (cases or {}).items()}),
        "share-by-adapter": share_by_adapter(m),
        "saturation": saturation(m),
    }
    home, paths = directory / "figures", []
    home.mkdir(parents=True, exist_ok=True)
    for name, figure in drawn.items():
        if figure is None:
            continue
        for ending in (".png", ".svg"):
            path = home / f"{name}{ending}"
            figure.savefig(path, dpi=150, metadata={"Date": None} if ending == ".svg" else None)
            paths.append(path)
    return paths


def _panels(dtypes: list[str], title: str) -> tuple[Figure, list[Any]]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3.4 * max(2, len(dtypes)), 4.6), layout="constrained")
    axes = list(np.atleast_1d(figure.subplots(1, len(dtypes), sharey=True)))
    figure.suptitle(_plain(title))
    for axis, dtype in zip(axes, dtypes, strict=True):
        axis.set_title(_plain(dtype))
        axis.grid(alpha=0.3)
    return figure, axes


def _plain(text: str) -> str:
    """Text from a run file, which must not be read as a formula."""
    return text.replace("$", r"\$").encode("utf-8", "backslashreplace").decode()


def _there(m: pd.DataFrame) -> list[str]:
    return [d for d in tables.DTYPES if (m["dtype"] == d).any()]


def _legend(figure: Figure, axes: list[Any]) -> None:
    of = {label: handle for axis in axes for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)}
    figure.legend(of.values(), of.keys(), loc="outside lower center", ncols=4, frameon=False, fontsize="small")


def _lines(
    m: pd.DataFrame, dtypes: list[str], title: str, draw: Callable[[Any, pd.DataFrame, dict[str, Any]], None]
) -> tuple[Figure, list[Any]]:
    """A panel a dtype, in each what `draw` makes of every adapter/route, in one colour and marker throughout."""
    figure, axes = _panels(dtypes, title)
    # Of more routes than colours no two have the same colour, marker and line.
    styles = {w: {"color": COLOURS[i % 7], "marker": MARKERS[(i + i // 7) % 7], "linestyle": LINES[i // 7 % 4],
                  "label": _plain(w)} for i, w in enumerate(dict.fromkeys(m["who"]))}  # fmt: skip
    for axis, dtype in zip(axes, dtypes, strict=True):
        for who, rows in m[m["dtype"] == dtype].groupby("who", sort=False):
            draw(axis, rows, styles[str(who)])
    _legend(figure, axes)
    return figure, axes


def ulps_by_scale(m: pd.DataFrame, scales: Mapping[str, float]) -> Figure | None:
    """Median error of gradients that are certified, whole level, against the weights' size, in four bins a decade."""
    of_gradients = (m["level"] == "whole") & m["quantity"].str.startswith("d") & m["verdict"].isin(CERTIFIED)
    rows = m[of_gradients & np.isfinite(m["largest_ulp"])]
    rows = rows.assign(scale=rows["case"].map(scales).astype(float))
    rows = rows[rows["scale"] > 0]
    if rows["case"].nunique() < 3:
        return None
    rows = rows.assign(bin=10 ** (np.round(np.log10(rows["scale"]) * 4) / 4))
    # A bin of one or two cases says more about them than about the scale.
    rows = rows[rows.groupby("bin")["case"].transform("nunique") >= 3]
    if rows.empty:
        return None
    medians = {d: rows[rows["dtype"] == d].groupby("bin")["largest_ulp"].median() for d in _there(rows)}

    def draw(axis: Any, of: pd.DataFrame, style: dict[str, Any]) -> None:
        median = of.groupby("bin")["largest_ulp"].median()
        axis.plot(median.index, median.clip(*_ULPS), markersize=4, linewidth=1, **style)

    figure, axes = _lines(rows, _there(rows), "Median error of gradients that keep some digits", draw)
    for axis, (dtype, median) in zip(axes, medians.items(), strict=True):
        axis.set_title(f"{dtype}: {median.max():.2g} ulp at weights of {median.idxmax():.2g}", fontsize="medium")
        axis.set(xscale="log", yscale="log", ylim=_ULPS, xlabel="weight scale (root mean square)")
    axes[0].set_ylabel("median error (ulp)")
    return figure


def share_by_adapter(m: pd.DataFrame) -> Figure | None:
    """The fraction of measurements whose share of the allowance is at most x."""
    rows = m[np.isfinite(m["share"])]
    if rows.empty:
        return None
    above = int((rows["share"] > 1).sum())

    def draw(axis: Any, of: pd.DataFrame, style: dict[str, Any]) -> None:
        share = np.sort(of["share"].clip(lower=1e-6).to_numpy())
        at = np.unique(np.linspace(0, len(share) - 1, 400).astype(int))
        axis.plot(share[at], (at + 1) / len(share), linewidth=1.2, **{**style, "marker": ""})

    finding = f"{above:,} of {len(rows):,} measurements take more" if above else f"none of {len(rows):,} takes more"
    figure, axes = _lines(rows, _there(rows), f"Share of the allowance: {finding} than 1", draw)
    for axis in axes:
        axis.axvline(1, color="#000000", linestyle="--", linewidth=1)
        axis.set(xscale="log", xlabel="share of the allowance")
    axes[0].set_ylabel("fraction of measurements")
    return figure


#: Each unit of the document's network: its argument, and the adjoints before and after its activation.
_UNITS = {n: (f"dE_total/da_{n}", f"dE_total/d{n}") for n in ("h1", "h2", "o1", "o2")}


def saturation(m: pd.DataFrame) -> Figure | None:
    """The slope σ'(x) that a framework used, ∂E/∂x over ∂E/∂a, relative to e^−|x|/(1+e^−|x|)², against x."""
    step = m[(m["level"] == "step") & m["quantity"].isin([q for n, of in _UNITS.items() for q in (n, *of)])]
    key = [*(["run"] if "run" in m else []), "who", "dtype", "case"]
    wide = step.pivot_table(index=key, columns="quantity", values="value", sort=False, dropna=False).reset_index()
    parts = []
    for unit, (da, dx) in _UNITS.items():
        if {unit, da, dx} <= set(wide):
            parts.append(wide[["who", "dtype"]].assign(x=wide[unit], da=wide[da], dx=wide[dx]))
    if not parts:
        return None
    rows = pd.concat(parts, ignore_index=True)
    # A subnormal adjoint has lost digits of its own before the slope is multiplied in.
    least = rows["dtype"].map({"float64": 1e-290, "float32": 1e-30, "float16": 1e-2, "bfloat16": 1e-30}).astype(float)
    rows = rows[(rows["da"].abs() > least) & (rows["x"].abs() < 700) & np.isfinite(rows["dx"])]
    if rows.empty:
        return None
    small = np.exp(-rows["x"].abs())
    rows = rows.assign(error=(rows["dx"] / rows["da"] / (small / (1 + small) ** 2) - 1).abs().clip(1e-17, 2.0))
    lost = rows[(rows["error"] >= 0.5) & (rows["x"] > 0)].groupby("dtype")["x"].min()
    said = ", ".join(f"x = {lost[d]:.3g} in {d}" for d in tables.DTYPES if d in lost)

    def draw(axis: Any, of: pd.DataFrame, style: dict[str, Any]) -> None:
        axis.plot(of["x"], of["error"], markersize=3, alpha=0.5, **{**style, "linestyle": ""})

    title = (
        f"σ′ = a(1 − a) is off by half from {said} on" if said else "σ′ = a(1 − a) keeps its digits in every case here"
    )
    figure, axes = _lines(rows, _there(rows), title, draw)
    for axis in axes:
        axis.set_xscale("symlog", linthresh=1.0)
        axis.set(yscale="log", xlabel="x")
    axes[0].set_ylabel("relative error of σ′")
    return figure


def drift(trained: pd.DataFrame) -> Figure | None:
    """The largest drift of any weight from the exact trajectory, step by step; `trained` is what `train` returned."""
    m = tables.checked(trained.drop(columns=["step", "drift"])).assign(step=trained["step"], drift=trained["drift"])
    rows = m[pd.to_numeric(m["drift"]).notna()].astype({"drift": float})
    if rows.empty:
        return None
    last = rows[rows["step"] == rows["step"].max()].groupby("dtype")["drift"].max()
    said = ", ".join(f"{last[d]:.1g} in {d}" for d in tables.DTYPES if d in last)

    def draw(axis: Any, of: pd.DataFrame, style: dict[str, Any]) -> None:
        largest = of.groupby("step")["drift"].max()
        axis.plot(largest.index + 1, largest.clip(lower=1e-18), linewidth=1.2, **{**style, "marker": ""})

    figure, axes = _lines(
        rows, _there(rows), f"After {int(rows['step'].max()) + 1} updates the weights are off by {said}", draw
    )
    for axis in axes:
        axis.set(yscale="log", xlabel="update")
    axes[0].set_ylabel("largest drift of a weight")
    return figure


def detection(table: pd.DataFrame) -> Figure:
    """Planted faults caught by each checker, in per cent of the draws that they change, by kind; columns of
    benchmarks/detection.py.

    gradcheck below float64 is left out: it accuses as much correct code there.
    """
    dtypes = [d for d in tables.DTYPES if (table["dtype"] == d).any()]
    kinds = list(dict.fromkeys(table["kind"]))
    sums = table.groupby(["dtype", "kind"], sort=False).sum(numeric_only=True)
    rates = {"gradconform": sums["caught"] / sums["active"]} | {
        c: sums[c] / sums["checked"] for c in ("gradcheck", "check_grads") if c in sums
    }
    faults = table.loc[table["kind"] != "correct", "fault"].nunique()
    figure, axes = _panels(dtypes, f"Of {faults} planted faults, what each checker catches (correct: false alarms)")
    figure.set_size_inches(3.4 * max(2, len(dtypes)), 2 + 0.4 * len(kinds))
    for axis, dtype in zip(axes, dtypes, strict=True):
        for i, (name, rate) in enumerate(rates.items()):
            if name == "gradcheck" and dtype != "float64":
                continue
            values = [100 * float(rate.get((dtype, k), np.nan)) for k in kinds]
            axis.barh(np.arange(len(kinds)) + 0.27 * (i - 1), values, 0.25, color=COLOURS[i], label=name)
        axis.set(xlim=(0, 100), xlabel="accused (% of draws)", yticks=range(len(kinds)))
    axes[0].set_yticklabels(kinds)
    axes[0].invert_yaxis()
    _legend(figure, axes)
    return figure
