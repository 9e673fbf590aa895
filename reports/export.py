"""Export: the tables of a run as CSV, Markdown and JSON.

Text from a run file is not trusted: it cannot name a file outside the folder, be a formula in a spreadsheet, or break
out of a cell of a Markdown table. A file is replaced whole or not at all.
"""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

import pandas as pd

from gradconform.reports import tables


def export(measurements: pd.DataFrame, folder: Path) -> list[Path]:
    """Write every table of the measurements into `folder`; the paths that were written.

    summary, vacuous and deviations, and cases/<case>/gradients and weights, each as .csv, .md and .json. Raises
    ValueError for a table that holds no measurements.
    """
    paths = []
    for name, table in (
        ("summary", tables.summary(measurements)),
        ("vacuous", tables.vacuous_by_family(measurements)),
        ("deviations", tables.deviations(measurements)),
    ):
        paths += _written(table, folder / name)
    for case, gradients, weights in tables.comparisons(measurements):
        home = folder / "cases" / _safe(case)
        paths += _written(gradients, home / "gradients") + _written(weights, home / "weights")
    return paths


def _safe(case: str) -> Path:
    """A case id as a relative path of ordinary names."""
    parts = ["".join(c if c.isalnum() or c in "-_." else "_" for c in part)[:100] for part in case.split("/")]
    return Path(*[part if part.strip(".") else "_" for part in parts if part] or ["_"])


def _written(table: pd.DataFrame, stem: Path) -> list[Path]:
    flat = _flat(table)
    stem.parent.mkdir(parents=True, exist_ok=True)
    written = []
    for ending, text in ((".csv", _csv(flat)), (".md", _markdown(flat)), (".json", _json(flat))):
        path = stem.with_name(stem.name + ending)
        part = path.with_name(path.name + ".part")
        part.write_text(text, encoding="utf-8", newline="")
        os.replace(part, path)
        written.append(path)
    return written


def _flat(table: pd.DataFrame) -> pd.DataFrame:
    """The table with its index as columns and one name a column."""
    flat = table.reset_index()
    flat.columns = pd.Index([" ".join(p for p in c if p) if isinstance(c, tuple) else str(c) for c in flat.columns])
    return flat


def _csv(flat: pd.DataFrame) -> str:
    text: str = flat.map(_inert).rename(columns=_inert).to_csv(index=False, lineterminator="\n")
    return text


def _inert(cell: Any) -> Any:
    """Text that a spreadsheet would take for a formula gets an apostrophe; numbers, as numbers or text, do not."""
    if not isinstance(cell, str) or not cell.startswith(("=", "+", "-", "@", "\t", "\r")):
        return cell
    try:
        float(cell)
    except ValueError:
        return "'" + cell
    return cell


def _markdown(flat: pd.DataFrame) -> str:
    """A pipe table: six significant digits, text escaped."""
    rows = [[_cell(c) for c in flat.columns], ["---:" if _numeric(flat[c]) else "---" for c in flat.columns]]
    columns = [[_cell(v) for v in flat[c].tolist()] for c in flat.columns]
    rows += [list(row) for row in zip(*columns, strict=True)]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def _numeric(column: pd.Series) -> bool:
    return bool(pd.api.types.is_numeric_dtype(column))


def _cell(value: Any) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, float):
        return f"{value:.6g}"
    text = str(value)
    for character, escaped in (("\\", "\\\\"), ("|", "\\|"), ("<", "&lt;"), ("`", "\\`"), ("\r", " "), ("\n", " ")):
        text = text.replace(character, escaped)
    return text


def _json(flat: pd.DataFrame) -> str:
    """Records; null for missing, "inf" and "-inf" for what JSON has no number for."""
    columns = [[_strict(v) for v in flat[c].tolist()] for c in flat.columns]
    records = [dict(zip(flat.columns, row, strict=True)) for row in zip(*columns, strict=True)]
    return json.dumps(records, ensure_ascii=False, allow_nan=False, indent=1) + "\n"


def _strict(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else "inf" if value > 0 else "-inf"
    return value
