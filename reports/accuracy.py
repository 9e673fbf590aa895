"""Sweeps tabulated: accuracy by operator × dtype × framework × version, as CSV, Markdown and LaTeX that fits a page.

The figures, error against argument, are in `sweep_figures`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from gradconform.reference.measurement import shortest
from gradconform.reports import sweep_figures
from gradconform.reports.export import case_folder, comma_separated, marked, replaced, uninert
from gradconform.reports.figures import drawable
from gradconform.reports.latex import longtable

#: A sweep: its header, its chunks and its footer.
Sweep = tuple[Mapping[str, Any], Sequence[Mapping[str, Any]], Mapping[str, Any]]
QUANTITIES = sweep_figures.QUANTITIES
#: How wide a dtype is whose numbers can be counted, in bits.
_BITS = {"float16": 16, "bfloat16": 16, "float32": 32}
#: What makes a folder the report of sweeps.
REPORT = ("sweep.csv", "sweep.md", "sweep.tex")
#: What the columns of a table in LaTeX are called: short enough for a page.
_SHORT = {
    "dtype": "dtype", "in": "in", "quantity": "of", "asked": "asked", "max_ulp": "max ulp", "at": "at",
    "half": "≤ ½ (%)", "lost": "lost", "deviates": "dev.",
}  # fmt: skip
_OF = {"value": "f", "derivative": "f′"}


def table(sweeps: Iterable[Sweep]) -> pd.DataFrame:
    """One row for each operator's value or derivative in a dtype and a framework's version."""
    rows = [
        _row(header, quantity, footer) for header, _, footer in sweeps for quantity in QUANTITIES if quantity in footer
    ]
    found = pd.DataFrame(rows)
    return found if found.empty else found.sort_values(_SORTED, kind="stable")


def _row(header: Mapping[str, Any], quantity: str, footer: Mapping[str, Any]) -> dict[str, Any]:
    of = footer[quantity]
    worst, verdicts = of["largest"], of["verdicts"]
    errors, kept = of["errors"], of["NaN kept"]
    return {
        "operator": header["operator"], "quantity": quantity, "dtype": header["dtype"],
        "framework": header["adapter"], "version": sweep_figures.version(header),
        "asked": footer["asked"], "of": _which(header, footer["asked"]),
        "max_ulp": float(worst["of"]) if worst else np.nan,
        "at": float(worst["x"]) if worst else np.nan,
        "got": float(worst["got"]) if worst else np.nan,
        "truth": float(worst["truth"]) if worst else np.nan,
        "within_half_ulp": sum(errors[:4]), "within_1_ulp": sum(errors[:5]), "with_error": sum(errors),
        **{word.replace(" ", "_"): verdicts.get(word, 0) for word in (
            "conforms", "deviates", "lost", "vacuous", "out of range", "singular", "undecided", "outside the domain",
            "special")},
        "lost_from": _widest(of["stretches"].get("lost", []), header["dtype"]),
        "deviates_from": _widest(of["stretches"].get("deviates", []), header["dtype"]),
        "nan_gave_a_number": kept[1] - kept[0], "answered_outside": of["answered outside"],
        "by_balls": of["by balls"], "seconds": footer["seconds"], "made_by": _made_by(header),
    }  # fmt: skip


def _made_by(header: Mapping[str, Any]) -> str:
    """By which revision of the suite a sweep was made, where that was noted, or by which version."""
    return f"revision {header['revision']}" if "revision" in header else f"version {header['suite_version']}"


#: What a row of the table is of: a later sweep of the same takes its place.
_OF_ROW = ("operator", "quantity", "dtype", "framework", "version", "of")
_SORTED = ["operator", "quantity", "dtype", "framework"]


def read(path: Path) -> pd.DataFrame:
    """A table that `write` wrote as sweep.csv."""
    found = pd.read_csv(path, keep_default_na=False, dtype=str)
    texts = ("operator", "quantity", "dtype", "framework", "version", "of", "lost_from", "deviates_from", "made_by")
    floats = ("max_ulp", "at", "got", "truth", "seconds")
    for name in found.columns:
        if name in floats:
            found[name] = found[name].replace("", "nan").astype(float)
        elif name not in texts:
            found[name] = found[name].astype(int)
        else:
            found[name] = [uninert(cell) for cell in found[name]]
    return found


def together(found: pd.DataFrame, before: pd.DataFrame) -> pd.DataFrame:
    """The rows of a table and those of an earlier one that are of something else, in order.

    An earlier row of some of the numbers does not stay beside one of all.
    """
    now = set(found[list(_OF_ROW)].itertuples(index=False, name=None)) if not found.empty else set()
    kept = [
        row not in now and (*row[:-1], "all") not in now
        for row in before[list(_OF_ROW)].itertuples(index=False, name=None)
    ]
    return pd.concat([before[kept], found]).sort_values(_SORTED, kind="stable", ignore_index=True)


def _which(header: Mapping[str, Any], asked: int) -> str:
    """Which numbers of the dtype were asked: all, every so-manieth, or those from one to another."""
    stride, every = int(header["stride"]), 2 ** _BITS[header["dtype"]]
    between = "all" if asked * stride >= every else f"{_end(header, 'from')} to {_end(header, 'to')}"
    return between if stride == 1 else f"1 in {stride:,}" if between == "all" else f"1 in {stride:,} of {between}"


def _end(header: Mapping[str, Any], end: str) -> str:
    return shortest([float(header[end])], header["dtype"])[0] if end in header else "?"


def _known(value: Any) -> Any:
    return None if isinstance(value, float) and math.isnan(value) else value


def _widest(stretches: Sequence[Sequence[Any]], dtype: str) -> str:
    """The three stretches of most numbers, from where to where."""
    most = sorted(stretches, key=lambda s: -s[2])[:3]
    return "; ".join(" to ".join(shortest([float(a), float(b)], dtype)) for a, b, _ in most)


def write(
    sweeps: Sequence[Sweep],
    folder: Path,
    endings: Sequence[str] = (".png", ".svg", ".pdf"),
    before: pd.DataFrame | None = None,
) -> list[Path]:
    """The tables of complete sweeps and a figure for each operator; what was written.

    Rows of an earlier table, `before`, stay where nothing of `sweeps` is of the same, or of all numbers. The figure of
    an operator of which such rows are left is not drawn: what it would show of them is not in a table.

    Raises ValueError for two sweeps of the same numbers of one operator in one framework's version, and ImportError
    without matplotlib.
    """
    _refuse_twins(sweeps)
    drawable()
    folder.mkdir(parents=True, exist_ok=True)
    own = table(sweeps)
    found = own if before is None else together(own, before)
    caption = "Largest error of each operator and its derivative, and at which argument"
    texts = {
        "sweep.csv": comma_separated({str(name): [_known(v) for v in found[name]] for name in found}),
        "sweep.md": markdown(found, made(found)),
        "sweep.tex": longtable(_printed(found), caption, "sweep", under="operator"),
    }
    paths = [replaced(folder / name, text) for name, text in texts.items()]
    of: dict[str, list[Sweep]] = {}
    for sweep in sweeps:
        of.setdefault(str(sweep[0]["operator"]), []).append(sweep)
    for name, swept in of.items():
        if (found["operator"] == name).sum() == (own["operator"] == name).sum():
            path = folder / "figures" / f"sweep-{case_folder(name).name}"
            paths += sweep_figures.written(sweep_figures.drawn(swept), path, endings)
    return paths


def write_numbers(sweeps: Sequence[Sweep], folder: Path) -> list[Path]:
    """strips.csv, what the figures draw: the largest error of each part; and where each number was kept, numbers/…csv.

    A number stands there, and what was given, as the shortest decimal that is it in its dtype.
    """
    strips: dict[str, list[Any]] = {
        n: [] for n in ("operator", "dtype", "framework", "version", "quantity", "x", "ulp")
    }
    paths = []
    for header, chunks, _ in sweeps:
        of = [header["operator"], header["dtype"], header["adapter"], sweep_figures.version(header)]
        for quantity in QUANTITIES:
            for x, ulp in (point for c in chunks if quantity in c for point in c[quantity]["strip"]):
                for column, cell in zip(strips.values(), [*of, quantity, x, ulp], strict=True):
                    column.append(cell)
        if all("x" in chunk for chunk in chunks):
            (folder / "numbers").mkdir(parents=True, exist_ok=True)
            name = case_folder("-".join(map(str, of))).name
            paths.append(replaced(folder / "numbers" / f"{name}.csv", comma_separated(_numbers(header, chunks))))
    return [replaced(folder / "strips.csv", comma_separated(strips)), *paths]


def _numbers(header: Mapping[str, Any], chunks: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Every number of a sweep that kept them: what was given, its error in ulp and its verdict, for each quantity."""

    def decimals(values: Iterable[Any]) -> list[str]:
        return shortest([float(v) for v in values], header["dtype"])

    found: dict[str, list[Any]] = {"x": decimals(chain.from_iterable(c["x"] for c in chunks))}
    for quantity in QUANTITIES:
        every = [c[quantity]["every"] for c in chunks if quantity in c]
        if every:
            found[quantity] = decimals(chain.from_iterable(e["got"] for e in every))
            found[f"{quantity} ulp"] = list(chain.from_iterable(e["ulps"] for e in every))
            found[f"{quantity} verdict"] = [word for e in every for word, n in e["verdicts"] for _ in range(n)]
    return found


def _refuse_twins(sweeps: Sequence[Sweep]) -> None:
    seen: set[tuple[Any, ...]] = set()
    for header, _, _ in sweeps:
        asked = tuple(header[name] for name in ("operator", "dtype", "adapter", "first", "count", "stride"))
        question = (*asked, sweep_figures.version(header))
        if question in seen:
            raise ValueError(
                f"two sweeps of {header['operator']} in {header['dtype']} by {header['adapter']} "
                f"{question[-1]} are of the same numbers; give each once"
            )
        seen.add(question)


def made(found: pd.DataFrame) -> str:
    """By which revisions of the suite the rows of a table were made, how many of each, and in how long."""
    taken = found.drop_duplicates([n for n in _OF_ROW if n != "quantity"])["seconds"].sum()
    said = " and ".join(
        f"{len(rows)} {_plural(len(rows), 'row')} of {rows['operator'].nunique()} "
        f"{_plural(rows['operator'].nunique(), 'operator')} at {by}"
        for by, rows in found.groupby("made_by", sort=False)
    )
    return f"Measured: {said}; the sweeps took {taken:,.0f} s of one process together."


def _plural(count: int, what: str) -> str:
    return what if count == 1 else f"{what}s"


def _printed(found: pd.DataFrame) -> pd.DataFrame:
    """The columns that fit a page, as text; a number as the shortest decimal that is it in its dtype."""
    several = found.groupby("framework")["version"].nunique().max() > 1
    named = found["framework"] + (" " + found["version"].map(_without_build) if several else "")
    printed = found.assign(
        **{"in": named}, quantity=found["quantity"].map(_OF), max_ulp=[_digits(v) for v in found["max_ulp"]],
        at=_in_dtype(found, "at"), half=[_half(row) for row in _records(found)],
        asked=found["of"],
    )  # fmt: skip
    left = [] if (found["of"] != "all").any() else ["asked"]
    return printed[["operator", *_SHORT]].astype(str).drop(columns=left).rename(columns=_SHORT)


def _without_build(version: str) -> str:
    """2.13.0 of 2.13.0+cpu, which a table has no room for."""
    return version.partition("+")[0]


def _records(found: pd.DataFrame) -> Iterator[dict[str, Any]]:
    yield from found.to_dict("records")  # type: ignore[misc]


def _in_dtype(found: pd.DataFrame, column: str) -> list[str]:
    pairs = zip(found[column], found["dtype"], strict=True)
    return ["" if math.isnan(v) and column == "at" else shortest([v], d)[0] for v, d in pairs]


def _half(row: Mapping[str, Any]) -> str:
    """How many per cent of the numbers are at most half an ulp off; 100.0 only where all are."""
    if not row["with_error"]:
        return ""
    tenths = math.floor(1000 * row["within_half_ulp"] / row["with_error"])
    return f"{tenths / 10:.1f}"


def _digits(ulps: float) -> str:
    return "" if math.isnan(ulps) else f"{ulps:.4g}"


def markdown(found: pd.DataFrame, said: str = "") -> str:
    """The table for a page: the largest error and where, what is lost and deviates from where to where."""
    lines = [
        "# Sweeps", "",
        "Every number that was asked was judged by itself; *asked* says which of the dtype's were. Errors are in "
        "units in the last place of the exact value, of the numbers that have one in the dtype; ≤ ½ is the part of "
        "these that is as if correctly rounded. A number is the shortest decimal that is it in its dtype. *lost*: "
        "nothing of the digits was left, and the operator correctly rounded has them.", "",
        *([said, ""] if said else ()),
    ]  # fmt: skip
    names = ["operator", "of", "dtype", "framework", "asked", "max ulp", "at", "got", "≤ ½ ulp", "lost", "from … to",
             "out of range", "deviates", "from … to"]  # fmt: skip
    lines += [
        "| " + " | ".join(names) + " |",
        "| --- | --- | --- | --- |" + " ---: |" * 6 + " --- | ---: | ---: | --- |",
    ]
    for row, at, got in zip(_records(found), _in_dtype(found, "at"), _in_dtype(found, "got"), strict=True):
        cells = (
            row["operator"], row["quantity"], row["dtype"], f"{row['framework']} {row['version']}", row["of"],
            _digits(row["max_ulp"]), at, got, f"{_half(row)} %", f"{row['lost']:,}", row["lost_from"],
            f"{row['out_of_range']:,}", f"{row['deviates']:,}", row["deviates_from"],
        )  # fmt: skip
        lines.append("| " + " | ".join(map(marked, cells)) + " |")
    return "\n".join(lines) + "\n"
