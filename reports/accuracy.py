"""Accuracy by operator × dtype × framework × version, of sweeps: CSV, Markdown, LaTeX that fits a page, and figures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from gradconform.reports.figures import COLOURS
from gradconform.reports.latex import longtable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: A sweep: its header, its chunks and its footer.
Sweep = tuple[Mapping[str, Any], Sequence[Mapping[str, Any]], Mapping[str, Any]]
QUANTITIES = ("value", "derivative")
#: What the columns of a table in LaTeX are called: short enough for a page.
_SHORT = {
    "operator": "operator", "quantity": "of", "dtype": "dtype", "framework": "in", "max_ulp": "max ulp",
    "at": "at", "lost": "lost", "deviates": "dev",
}  # fmt: skip
#: An axis of errors shows these, in ulp.
_AXIS = (2.0**-6, 2.0**24)
#: Of an axis of arguments, from which number on it is logarithmic, and what it names.
_TICKS = {"float16": (1e-7, (1e-5, 1e-2, 10.0)), "bfloat16": (1e-37, (1e-20, 1.0, 1e20))}


def table(sweeps: Iterable[Sweep]) -> pd.DataFrame:
    """One row for each operator's value or derivative in a dtype and a framework's version."""
    rows = []
    for header, _, footer in sweeps:
        versions = header["frameworks"][header["adapter"]]
        version = str(versions.get(header["adapter"], ", ".join(map(str, versions.values()))))
        for quantity in QUANTITIES:
            if quantity in footer:
                rows.append(_row(header, quantity, version, footer))
    found = pd.DataFrame(rows)
    return found if found.empty else found.sort_values(["operator", "quantity", "dtype", "framework"], kind="stable")


def _row(header: Mapping[str, Any], quantity: str, version: str, footer: Mapping[str, Any]) -> dict[str, Any]:
    of = footer[quantity]
    worst, lost = of["largest"], of["stretches"].get("lost", [])
    verdicts = of["verdicts"]
    errors, kept = of["errors"], of["NaN kept"]
    return {
        "operator": header["operator"], "quantity": quantity, "dtype": header["dtype"],
        "framework": header["adapter"], "version": version, "asked": footer["asked"],
        "max_ulp": float(worst["of"]) if worst else np.nan,
        "at": float(worst["x"]) if worst else np.nan,
        "got": float(worst["got"]) if worst else np.nan,
        "truth": float(worst["truth"]) if worst else np.nan,
        "within_half_ulp": sum(errors[:4]), "within_1_ulp": sum(errors[:5]), "with_error": sum(errors),
        **{word.replace(" ", "_"): verdicts.get(word, 0) for word in (
            "conforms", "deviates", "lost", "vacuous", "out of range", "singular", "undecided", "outside the domain",
            "special")},
        "lost_from": _widest(lost),
        "nan_gave_a_number": kept[1] - kept[0], "answered_outside": of["answered outside"],
        "by_balls": of["by balls"], "seconds": footer["seconds"],
    }  # fmt: skip


def write(sweeps: Sequence[Sweep], folder: Path) -> list[Path]:
    """The tables of complete sweeps in `folder`, and a figure for each operator in its folder `figures`.

    Those of 16-bit dtypes are of every number; of float32 there is a table of its own.
    """
    folder.mkdir(parents=True, exist_ok=True)
    texts: dict[str, str] = {}
    small = [s for s in sweeps if s[0]["dtype"] != "float32"]
    large = [s for s in sweeps if s[0]["dtype"] == "float32"]
    if small:
        found = table(small)
        texts["sweep.csv"] = found.to_csv(index=False, float_format="%.9g", lineterminator="\n")
        texts["sweep.md"] = markdown(found, made(small))
        texts["sweep.tex"] = longtable(
            _printed(found), "Largest error of each operator and derivative over every number", "sweep"
        )
    if large:
        texts["sweep-float32.md"] = of_float32(large)
    paths = []
    for name, text in texts.items():
        paths.append(folder / name)
        paths[-1].write_text(text, encoding="utf-8")
    for name in dict.fromkeys(str(s[0]["operator"]) for s in small):
        paths.append(folder / "figures" / f"sweep-{name}.png")
        _draw(strips([s for s in small if s[0]["operator"] == name]), paths[-1])
    return paths


def made(sweeps: Sequence[Sweep]) -> str:
    """By which revisions of the suite the sweeps were made, how many of each, and in how long."""
    seconds = sum(float(footer["seconds"]) for _, _, footer in sweeps)
    operators: dict[str, set[str]] = {}
    rows: Counter[str] = Counter()
    for header, _, footer in sweeps:
        revision = str(header.get("revision") or "unknown")
        operators.setdefault(revision, set()).add(str(header["operator"]))
        rows[revision] += sum(quantity in footer for quantity in QUANTITIES)
    said = " and ".join(f"{rows[r]} rows of {len(names)} operators at revision {r}" for r, names in operators.items())
    return f"Measured: {said}; the sweeps took {seconds:,.0f} s of one process together."


def _draw(figure: Figure, path: Path) -> None:
    """A figure in a few colours, which takes a tenth of the bytes."""
    from PIL import Image

    path.parent.mkdir(exist_ok=True)
    drawn = BytesIO()
    figure.savefig(drawn, dpi=80)
    with Image.open(drawn) as image:
        image.convert("RGB").quantize(24).save(path, optimize=True)


def _printed(found: pd.DataFrame) -> pd.DataFrame:
    """The columns that fit a page, as text."""
    short = found[list(_SHORT)].copy()
    short["quantity"] = short["quantity"].map({"value": "f", "derivative": "f'"})
    for name in ("max_ulp", "at"):
        short[name] = [f"{v:.3g}" for v in short[name]]
    return short.astype(str).rename(columns=_SHORT)


def markdown(found: pd.DataFrame, said: str = "") -> str:
    """The table for a page: the largest error and where, what is lost from where to where; `said` is how."""
    lines = [
        "# Every number of 16-bit dtypes", "",
        "Made by `nox -s accuracy`. Every one of the 65,536 numbers was asked; errors are in units in the last place "
        "of the exact value, of the numbers that have one in the dtype. *lost*: nothing of the digits was left, and "
        "the operator correctly rounded has them.", "", *([said, ""] if said else ()),
    ]  # fmt: skip
    names = ["operator", "of", "dtype", "framework", "max ulp", "at", "≤ ½ ulp", "lost", "from … to", "deviates"]
    lines += ["| " + " | ".join(names) + " |", "| --- | --- | --- | --- | ---: | ---: | ---: | ---: | --- | ---: |"]
    for row in found.to_dict("records"):
        half = row["within_half_ulp"] / row["with_error"] if row["with_error"] else np.nan
        cells = (
            row["operator"], row["quantity"], row["dtype"], f"{row['framework']} {row['version']}",
            f"{row['max_ulp']:.4g}", f"{row['at']:.6g}", f"{half:.1%}", f"{row['lost']:,}", row["lost_from"],
            f"{row['deviates']:,}",
        )  # fmt: skip
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def of_float32(sweeps: Sequence[Sweep]) -> str:
    """The table of float32: what was asked of how many, how long, the largest error, what is lost and what deviates."""
    lines = [
        "# float32", "",
        "Made by `nox -s sweeps`. Of the 4,294,967,296 numbers so many were asked, equally far apart in order: what "
        "lies between two of them was not. Errors are in units in the last place of the exact value; numbers a second "
        "are of wall time.", "",
        made(sweeps), "",
    ]  # fmt: skip
    names = ["operator", "of", "framework", "asked", "of all", "a second", "max ulp", "at", "≤ ½ ulp", "lost",
             "from … to", "out of range", "deviates", "from … to"]  # fmt: skip
    lines += ["| " + " | ".join(names) + " |", "| --- | --- | --- |" + " ---: |" * 7 + " --- | ---: | ---: | --- |"]
    by = {(s[0]["operator"], s[0]["adapter"]): s for s in sweeps}
    for row in table(sweeps).to_dict("records"):
        header, _, footer = by[row["operator"], row["framework"]]
        deviating = footer[row["quantity"]]["stretches"].get("deviates", [])
        half = row["within_half_ulp"] / row["with_error"] if row["with_error"] else np.nan
        cells = (
            row["operator"], row["quantity"], f"{row['framework']} {row['version']}", f"{row['asked']:,}",
            f"1 in {header['stride']:,}" if header["stride"] > 1 else "all",
            f"{row['asked'] / row['seconds']:,.0f}" if row["seconds"] else "", f"{row['max_ulp']:.4g}",
            f"{row['at']:.9g}", f"{half:.2%}", f"{row['lost']:,}", row["lost_from"], f"{row['out_of_range']:,}",
            f"{row['deviates']:,}", _widest(deviating),
        )  # fmt: skip
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _widest(stretches: Sequence[Sequence[Any]]) -> str:
    """The three stretches of most numbers, from where to where."""
    most = sorted(stretches, key=lambda s: -s[2])[:3]
    return "; ".join(f"{float(a):.6g} to {float(b):.6g}" for a, b, _ in most)


def strips(sweeps: Sequence[Sweep]) -> Figure:
    """Error against argument: a panel for each quantity and dtype, in it a strip for each framework."""
    from matplotlib.figure import Figure

    dtypes = list(dict.fromkeys(h["dtype"] for h, _, _ in sweeps))
    frameworks = list(dict.fromkeys(h["adapter"] for h, _, _ in sweeps))
    quantities = [q for q in QUANTITIES if any(q in f for _, _, f in sweeps)]
    figure = Figure(figsize=(5.2 * len(dtypes), 2.7 * len(quantities)), layout="constrained")
    axes = np.atleast_2d(figure.subplots(len(quantities), len(dtypes), sharey=True, sharex="col", squeeze=False))
    worst = {q: max((float(f[q]["largest"]["of"]) for _, _, f in sweeps if q in f and f[q]["largest"]), default=0.0)
             for q in quantities}  # fmt: skip
    said = ", ".join(f"{q} up to {n:.3g} ulp" for q, n in worst.items())
    figure.suptitle(f"{sweeps[0][0]['operator']}: {said}")
    for i, quantity in enumerate(quantities):
        for j, dtype in enumerate(dtypes):
            axis = axes[i, j]
            for header, chunks, _ in sweeps:
                strip = [p for c in chunks if quantity in c for p in c[quantity]["strip"]]
                if header["dtype"] == dtype and strip:
                    x, y = np.array(strip).T
                    n = frameworks.index(header["adapter"])
                    axis.step(x, y.clip(*_AXIS), where="mid", linewidth=1.2, color=COLOURS[n],
                              linestyle=("-", "--")[n % 2], label=header["adapter"])  # fmt: skip
            axis.axhline(0.5, color="#000000", linewidth=0.6, linestyle=":")
            least, ticks = _TICKS.get(dtype, (1e-37, (1.0, 1e30)))
            axis.set_xscale("symlog", linthresh=least, linscale=0.2)
            axis.set(yscale="log", ylim=_AXIS, title=f"{quantity}, {dtype}")
            axis.grid(alpha=0.3)
            axis.set_xticks([*(-t for t in ticks), *ticks])
            axis.minorticks_off()
    for axis in axes[:, 0]:
        axis.set_ylabel("largest error (ulp)")
    for axis in axes[-1]:
        axis.set_xlabel("argument")
    handles = {label: h for a in axes.flat for h, label in zip(*a.get_legend_handles_labels(), strict=True)}
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=4, frameon=False)
    return figure
