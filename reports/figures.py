"""Figures: PNG and SVG, in Okabe and Ito's colours, which the colour-blind tell apart.

The title of a panel states what was found in that panel, of the routes that are drawn there. Of more routes than there
are colours each adapter has panels of its own, so that no two lines of a panel are alike. A figure is as wide as the
text of a plain article, with letters of six points and more, so that it is read in print as it stands.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from importlib.util import find_spec
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from gradconform.reference.measurement import CERTIFIED
from gradconform.reports import tables

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = "osD^vPX"
LINES = ("-", "--", ":", "-.")
#: Of more adapters than these with panels of their own a figure would be longer than a page.
_APART = 6
#: The text width of LaTeX's article, in inches, and panels beside one another.
WIDTH = 345 / 72.27
_BESIDE = 3
#: Characters of a title that have room beside one another.
_CHARACTERS = 99
#: Letters and lines for a figure of that width; matplotlib's type of their names is another in each version.
_SMALL: Any = {
    "font.size": 7, "axes.titlesize": 6, "axes.labelsize": 6.5, "xtick.labelsize": 6, "ytick.labelsize": 6,
    "legend.fontsize": 6, "figure.titlesize": 8, "axes.linewidth": 0.5, "xtick.major.size": 2, "ytick.major.size": 2,
    "grid.linewidth": 0.4, "xtick.minor.size": 1, "ytick.minor.size": 1, "lines.linewidth": 0.9,
    "lines.markersize": 2.5, "lines.markeredgewidth": 0.5,
}  # fmt: skip
#: What an axis of ulps shows; 2^53 of them is a float64 without a right digit.
_ULPS = (1e-2, 1e17)
#: What an axis of shares shows; what is farther, infinite ones too, stands at its ends.
_SHARES = (1e-6, 1e3)


def figures(
    measurements: pd.DataFrame, directory: Path, cases: Mapping[str, Mapping[str, Any]] | None = None
) -> list[Path]:
    """Write every figure that the measurements have data for into `directory`/figures, as .png and .svg.

    `cases` holds a `scale` (root mean square of the weights) for each case id. Raises ImportError without matplotlib.
    """
    drawable()
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
            figure.savefig(path, dpi=220, metadata={"Date": None} if ending == ".svg" else None)
            paths.append(path)
    return paths


def drawable() -> None:
    """Raise ImportError, with what to do, where there is no matplotlib."""
    if find_spec("matplotlib") is None:
        raise ImportError("figures need matplotlib, which is not installed: pip install 'gradconform[report]'")


def _panels(rows: int, columns: int, title: str) -> tuple[Figure, NDArray[np.object_]]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, 0.9 + 1.45 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    figure.suptitle(plain(title))
    for axis in axes.flat:
        axis.grid(alpha=0.3)
    return figure, axes


def plain(text: str) -> str:
    """Text from a run file, which must not be read as a formula."""
    return text.replace("$", r"\$").encode("utf-8", "backslashreplace").decode()


def _few(value: float) -> str:
    """A number to two digits, as people write it: 260, 8.8, 6.5·10⁷."""
    if not math.isfinite(value):
        return "∞"
    if 1e-3 <= abs(value) < 1e4 or value == 0:
        return f"{float(f'{value:.2g}'):g}"
    digits, exponent = f"{value:.1e}".split("e")
    return f"{digits}·10{str(int(exponent)).translate(str.maketrans('-0123456789', '⁻⁰¹²³⁴⁵⁶⁷⁸⁹'))}"


def _legend(figure: Figure) -> None:
    of = {label: line for axis in figure.axes for line, label in zip(*axis.get_legend_handles_labels(), strict=True)}
    figure.legend(of.values(), of.keys(), loc="outside lower center", ncols=4, frameon=False, handlelength=3.5)


def _lines(
    m: pd.DataFrame,
    title: str,
    found: Callable[[pd.DataFrame], str],
    draw: Callable[[Any, pd.DataFrame, dict[str, Any]], None],
    **axes_text: Any,
) -> Figure:
    """A panel a dtype, and of many routes an adapter: what `draw` makes of each route there, and what `found` says.

    A route has one colour, marker and line throughout the figure, and no two in a panel have the same.
    """
    from matplotlib import rc_context

    adapters = list(dict.fromkeys(m["adapter"]))
    apart = m["who"].nunique() > len(COLOURS) and 1 < len(adapters) <= _APART
    of = adapters if apart else [""]
    dtypes = [d for d in tables.DTYPES if (m["dtype"] == d).any()]
    columns = len(of) if 1 < len(of) <= _BESIDE else min(2, len(dtypes))
    panels = [(a, d) for d in dtypes for a in of] if columns == len(of) else [(a, d) for a in of for d in dtypes]
    drawn = {a: m[m["adapter"] == a] if apart else m for a in of}
    styles = {a: {who: _style(i, str(who)) for i, who in enumerate(dict.fromkeys(drawn[a]["who"]))} for a in of}
    with rc_context(_SMALL):
        figure, axes = _panels(-(-len(panels) // columns), columns, title)
        every: list[Any] = list(axes.flat)
        for (adapter, dtype), axis in zip(panels, every, strict=False):
            panel = drawn[adapter][drawn[adapter]["dtype"] == dtype]
            for who, route in panel.groupby("who", sort=False):
                draw(axis, route, styles[adapter][who])
            said = f"{dtype}: {found(panel) if len(panel) else 'nothing to show'}"
            lines = (f"{adapter}, {said}" if apart else said).split("\n")
            axis.set_title(plain("\n".join(fill(line, _CHARACTERS // columns) for line in lines)))
            axis.set(**axes_text)
            axis.label_outer()
        for axis in every[len(panels) :]:  # what is left of the last row
            axis.remove()
            every[len(panels) - columns].tick_params(labelbottom=True)
            every[len(panels) - columns].xaxis.label.set_visible(True)
        _legend(figure)
    return figure


def _style(number: int, who: str) -> dict[str, Any]:
    """Neighbours differ in colour, marker and line; no two of 28 have the same colour and line."""
    again = number // len(COLOURS)
    return {
        "color": COLOURS[number % 7], "marker": MARKERS[(number + again) % 7],
        "linestyle": LINES[(number % 7 + again) % 4], "label": plain(who),
    }  # fmt: skip


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
    medians = rows.groupby(["adapter", "who", "dtype", "bin"], sort=False)["largest_ulp"].median().reset_index()

    def draw(axis: Any, of: pd.DataFrame, style: dict[str, Any]) -> None:
        median = of.sort_values("bin")
        axis.plot(median["bin"], median["largest_ulp"].clip(*_ULPS), **style)

    def found(panel: pd.DataFrame) -> str:
        worst = panel.iloc[int(panel["largest_ulp"].argmax())]
        return f"to {_few(worst['largest_ulp'])} ulp\n({worst['who']}, at weights of {worst['bin']:.2g})"

    top = 10 * medians["largest_ulp"].clip(10, _ULPS[1] / 10).max()
    return _lines(
        medians, "Median error of the gradients of which digits are certified, by the size of the weights", found, draw,
        xscale="log", yscale="log", ylim=(_ULPS[0], top), xlabel="weights (root mean square)",
        ylabel="median error (ulp)",
    )  # fmt: skip


def share_by_adapter(m: pd.DataFrame) -> Figure | None:
    """The fraction of measurements whose share of the allowance is at most x."""
    rows = m[m["share"].notna()]
    if rows.empty:
        return None

    def draw(axis: Any, of: pd.DataFrame, style: dict[str, Any]) -> None:
        share = np.sort(of["share"].clip(*_SHARES).to_numpy())
        at = np.unique(np.linspace(0, len(share) - 1, 400).astype(int))
        axis.axvline(1, color="#000000", linestyle="--", linewidth=0.6)
        axis.plot(share[at], (at + 1) / len(share), markevery=0.17, **style)

    def found(panel: pd.DataFrame) -> str:
        above = int((panel["share"] > 1).sum())
        return f"{above:,} of {len(panel):,} above 1" if above else f"none of {len(panel):,} above 1"

    return _lines(
        rows, "How much of its allowance each measurement takes; above 1 it deviates", found, draw,
        xscale="log", xlabel="share of the allowance", ylabel="fraction of measurements",
    )  # fmt: skip


#: Each unit of the document's network: its argument, and the adjoints before and after its activation.
_UNITS = {n: (f"dE_total/da_{n}", f"dE_total/d{n}") for n in ("h1", "h2", "o1", "o2")}


def saturation(m: pd.DataFrame) -> Figure | None:
    """The slope σ'(x) that a framework used, ∂E/∂x over ∂E/∂a, relative to e^−|x|/(1+e^−|x|)², against x."""
    step = m[(m["level"] == "step") & m["quantity"].isin([q for n, of in _UNITS.items() for q in (n, *of)])]
    key = [*(["run"] if "run" in m else []), "adapter", "who", "dtype", "case"]
    wide = step.pivot_table(index=key, columns="quantity", values="value", sort=False, dropna=False).reset_index()
    parts = []
    for unit, (da, dx) in _UNITS.items():
        if {unit, da, dx} <= set(wide):
            parts.append(wide[["adapter", "who", "dtype"]].assign(x=wide[unit], da=wide[da], dx=wide[dx]))
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

    def draw(axis: Any, of: pd.DataFrame, style: dict[str, Any]) -> None:
        hollow = {"linestyle": "", "markerfacecolor": "none", "markersize": 3, "alpha": 0.8, "rasterized": True}
        axis.plot(of["x"], of["error"], **{**style, **hollow})

    def found(panel: pd.DataFrame) -> str:
        lost = panel.loc[panel["error"] >= 0.5, "x"]
        above, below = lost[lost > 0], lost[lost <= 0]
        said = [f"from x = {above.min():.3g} on"] if len(above) else []
        said += [f"to x = {below.max():.3g}".replace("-", "−")] if len(below) else []
        return f"off by half {' and '.join(said)}" if said else "keeps digits in every case here"

    figure = _lines(rows, "The error of the slope σ′ that a framework used", found, draw,
                    yscale="log", ylim=(3e-18, 10), xlabel="x", ylabel="relative error of σ′")  # fmt: skip
    for axis in figure.axes:
        axis.set_xscale("symlog", linthresh=1.0)
        axis.set_yticks([1e-17, *(10.0**n for n in range(-15, 1, 3))])
        axis.set_yticklabels(["exact", *(f"$10^{{{n}}}$" for n in range(-15, 1, 3))])
        axis.minorticks_off()
    return figure


def drift(trained: pd.DataFrame) -> Figure | None:
    """The largest drift of any weight from the exact trajectory, step by step; `trained` is what `train` returned."""
    m = tables.checked(trained.drop(columns=["step", "drift"])).assign(step=trained["step"], drift=trained["drift"])
    rows = m[pd.to_numeric(m["drift"]).notna()].astype({"drift": float})
    if rows.empty:
        return None

    def draw(axis: Any, of: pd.DataFrame, style: dict[str, Any]) -> None:
        largest = of.groupby("step")["drift"].max()
        axis.plot(largest.index + 1, largest.clip(lower=1e-18), markevery=0.17, **style)

    def found(panel: pd.DataFrame) -> str:
        last = panel.loc[panel["step"] == panel["step"].max()]
        return f"off by {_few(last['drift'].max())} after {int(panel['step'].max()) + 1} updates"

    return _lines(rows, "How far the farthest weight is from the exact trajectory", found, draw,
                  yscale="log", xlabel="update", ylabel="largest drift of a weight")  # fmt: skip


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
    title = f"Of {faults} planted faults, what each checker catches, by kind; of correct code, what it accuses"
    figure, (axes,) = _panels(1, len(dtypes), title)
    figure.set_size_inches(3.4 * max(2, len(dtypes)), 2.2 + 0.4 * len(kinds))
    for axis, dtype in zip(axes, dtypes, strict=True):
        axis.set_title(f"{dtype}\n{_caught(table[table['dtype'] == dtype], rates)}", fontsize="small")
        axis.set_axisbelow(True)
        for i, (name, rate) in enumerate(rates.items()):
            if name == "gradcheck" and dtype != "float64":
                continue
            values = [100 * float(rate.get((dtype, k), np.nan)) for k in kinds]
            axis.barh(np.arange(len(kinds)) + 0.27 * (i - 1), values, 0.25, color=COLOURS[i], label=name)
        axis.set(xlim=(0, 100), xlabel="accused (% of draws)", yticks=range(len(kinds)))
    axes[0].set_yticklabels(kinds)
    axes[0].invert_yaxis()
    _legend(figure)
    return figure


def _caught(of: pd.DataFrame, checkers: Iterable[str]) -> str:
    """How much of all planted faults each checker catches in one dtype."""
    sums = of[of["kind"] != "correct"].sum(numeric_only=True)
    asked = {name: ("caught", "active") if name == "gradconform" else (name, "checked") for name in checkers}
    rates = {name: sums[found] / sums[of_all] for name, (found, of_all) in asked.items() if sums[of_all]}
    return ", ".join(f"{'' if n == 'gradconform' else n + ' '}{100 * r:.0f} %" for n, r in rates.items()
                     if n != "gradcheck" or (of["dtype"] == "float64").all()) + " caught"  # fmt: skip
