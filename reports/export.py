"""Export: the tables of a run as CSV, Markdown and JSON.

Text from a run file is not trusted: it cannot name a file outside the directory, be a formula in a spreadsheet, or
break out of a cell of a Markdown table. A file is replaced whole or not at all.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import math
import os
import re
import shutil
from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pandas as pd

from gradconform.reference.measurement import JUDGED, shown_truth
from gradconform.reports import tables

#: A table as plain lists by column header; None is missing, NaN is an answer that was NaN.
Columns = dict[str, list[Any]]

#: How a spreadsheet's formula may begin, and the numbers (a truth is one, as text) that begin alike.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
_NUMBER = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?", re.ASCII)
#: What ends a line somewhere, or moves a terminal's cursor, or begins something in Markdown or HTML.
_MARKED = {ord(c): f"\\{c}" for c in "\\|`*[]"} | {ord("&"): "&amp;", ord("<"): "&lt;"}
_MARKED |= dict.fromkeys((*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029), " ")


def export(measurements: pd.DataFrame, directory: Path) -> list[Path]:
    """Write every table of the measurements into `directory`; the paths that were written.

    summary, operators, vacuous, lost and deviations, each as .csv, .md and .json, and the gradients and the updated
    weights of all cases, a row for each answer, as gradients.csv.gz and weights.csv.gz. CSV and JSON hold every digit,
    Markdown six at most (three of ulps). Raises ValueError, before anything is written, for a table that holds no
    measurements, and ImportError where tabulate is not installed.
    """
    if find_spec("tabulate") is None:
        raise ImportError("Markdown tables need tabulate, which is not installed: pip install 'gradconform[report]'")
    found = [
        ("summary", tables.summary(measurements)),
        ("operators", tables.by_operator(measurements)),
        ("vacuous", tables.vacuous_by_scale(measurements)),
        ("lost", tables.lost(measurements)),
        ("deviations", tables.deviations(measurements)),
    ]
    every = [
        ("gradients", tables.every_gradient(measurements)),
        ("weights", tables.every_weight(measurements)),
    ]
    paths = [path for name, table in found for path in _written(table, directory, name)]
    for name, table in every:
        text = comma_separated(table_columns(table)).encode("utf-8", "backslashreplace")
        paths.append(replaced(directory / f"{name}.csv.gz", gzip.compress(text, mtime=0)))
    return paths


#: What every report has written, first of all: a folder that holds these files is a report.
REPORT = ("summary.json", "vacuous.json", "deviations.json")


def prepared(directory: Path, report: Sequence[str] = REPORT) -> None:
    """Make a folder ready for a report: new, or with folders of others' only, or an earlier report, which has files
    of these names.

    A folder `cases` of an earlier report goes: earlier versions kept tables of every case there. Raises ValueError for
    a folder that holds somebody's files, and OSError where there can be no folder.
    """
    if directory.exists() and not directory.is_dir():
        raise ValueError(f"{directory} is a file, expected a folder for the report; give another -o")
    directory.mkdir(parents=True, exist_ok=True)
    cases = directory / "cases"
    if all((directory / name).is_file() for name in report):
        if cases.is_symlink():
            raise ValueError(f"{cases} leads out of {directory}, which tables are kept in; remove that link")
        if cases.is_dir():
            shutil.rmtree(cases)
        return
    ours = ("cases", "figures", "badges", "numbers")
    foreign = sorted(p.name for p in directory.iterdir() if p.name in ours or not (p.is_dir() or p.name[0] == "."))
    if foreign:
        raise ValueError(
            f"{directory} holds {foreign[0]} and no earlier report; expected an empty or new folder, so that nothing "
            "of yours is written over: give another -o"
        )


def case_folder(case: str) -> Path:
    """An adapter's name or a case's id as a relative path of ordinary names.

    One of other characters than ASCII letters, digits and - _ . , or longer than paths may be, is changed and then
    ends in a digest of itself, so that two never share a path.
    """
    parts = [re.sub(r"[^A-Za-z0-9._-]", "_", part)[:60] for part in case.split("/")[:8]]
    # Neither hidden nor "..", and never the name of a table's file.
    parts = [re.sub(r"^\.|\.$|\.(?=(csv|md|json|part)$)", "_", part, flags=re.IGNORECASE) for part in parts]
    parts = [part for part in parts if part]
    if parts and "/".join(parts) == case:
        return Path(*parts)
    digest = hashlib.sha256(case.encode("utf-8", "surrogatepass")).hexdigest()[:12]
    return Path(*parts[:-1], f"{parts[-1] if parts else 'case'}~{digest}")


def _written(table: pd.DataFrame, directory: Path, name: str) -> list[Path]:
    columns = table_columns(table)
    directory.mkdir(parents=True, exist_ok=True)
    texts = {".csv": comma_separated(columns), ".md": markdown(columns), ".json": _json(columns)}
    return [replaced(directory / f"{name}{ending}", text) for ending, text in texts.items()]


def replaced(path: Path, content: str | bytes) -> Path:
    """Write a file under another name, then give it its own: it is never there in part."""
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    part.unlink(missing_ok=True)
    try:
        with part.open("xb") as file:
            file.write(content.encode("utf-8", "backslashreplace") if isinstance(content, str) else content)
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
    return path


def table_columns(table: pd.DataFrame) -> Columns:
    """The index and the columns as lists, each under one name."""
    levels = [table.index.get_level_values(i) for i in range(table.index.nlevels)]
    found: Columns = {str(level.name): [_plain(v) for v in level.tolist()] for level in levels}
    labels = [label if isinstance(label, tuple) else ("", label) for label in table.columns]
    cells = {label: table.iloc[:, i].tolist() for i, label in enumerate(labels)}
    for (group, column), values in cells.items():
        name = f"{group} {column}" if group and column else group or column
        if column == "value":  # always there where it was judged, so that NaN is then what was answered
            verdicts = cells[group, "verdict"]
            found[name] = [v if w in JUDGED else _plain(v) for v, w in zip(values, verdicts, strict=True)]
        else:
            found[name] = [_plain(v) for v in values]
    return found


def _plain(value: Any) -> Any:
    return None if isinstance(value, float) and math.isnan(value) else value


def comma_separated(columns: Columns) -> str:
    rows = [list(columns), *zip(*columns.values(), strict=True)]
    return "".join(",".join(_field(_inert(cell)) for cell in row) + "\n" for row in rows)


def _inert(cell: Any) -> Any:
    """Text that a spreadsheet would take for a formula gets an apostrophe; numbers, as numbers or text, do not."""
    if isinstance(cell, str) and cell.startswith(_FORMULA) and not _NUMBER.fullmatch(cell):
        return "'" + cell
    return cell


def uninert(text: str) -> str:
    """A text of a table that was written, as it was before."""
    return text[1:] if text.startswith("'") and _inert(text[1:]) == text else text


def _field(cell: Any) -> str:
    """A cell, quoted where it must be. (Before Python 3.13 the csv module leaves a lone carriage return bare.)"""
    text = "" if cell is None else repr(cell) if isinstance(cell, float) else str(cell)
    return '"' + text.replace('"', '""') + '"' if any(c in text for c in ',"\r\n') else text


def _json(columns: Columns) -> str:
    """Records of strict JSON, one a line: null for missing; "nan", "inf", "-inf" for what it has no number for."""
    plain = [[_strict(v) for v in values] for values in columns.values()]
    encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False).encode
    records = [encode(dict(zip(columns, row, strict=True))) for row in zip(*plain, strict=True)]
    return "[" + ",".join(f"\n {record}" for record in records) + "\n]\n"


def _strict(value: Any) -> Any:
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


_IN_ULPS = ("max ulp", "median ulp", "ulp at max share")


def markdown(columns: Columns) -> str:
    texts, align = [], []
    for name, values in columns.items():
        is_number = name == "truth" or any(isinstance(v, int | float) for v in values)
        digits = 3 if name in _IN_ULPS or name.endswith("(ulp)") else 6
        texts.append([_truth(v) if name == "truth" else _rounded(v, digits) for v in values])
        align.append("right" if is_number else "left")
    table = pd.DataFrame(dict(enumerate(texts)), dtype=object)
    headers = [marked(name) for name in columns]
    text: str = table.to_markdown(
        index=False, tablefmt="pipe", headers=headers, disable_numparse=True, colalign=align if len(table) else None
    )
    return text + "\n"


def _rounded(value: Any, digits: int) -> str:
    if value is None:
        return ""
    return f"{value:.{digits}g}" if isinstance(value, float) else marked(str(value))


def _truth(value: Any) -> str:
    """A decimal of 25 digits, or a set by its ends, to six."""
    return marked(shown_truth(value, _six_digits)) if isinstance(value, str) else _rounded(value, 6)


def _six_digits(decimal: str) -> str:
    """A decimal to six digits, also where it is beyond float64's range; other text as it is."""
    if not _NUMBER.fullmatch(decimal):
        return decimal
    near = float(decimal)
    try:
        exact = Decimal(decimal)
    except InvalidOperation:  # an exponent of more digits than decimals have
        digits, e, exponent = decimal.partition("e")
        return f"{float(digits):.6g}{e}{exponent}"
    if (near and math.isfinite(near)) or not exact:
        return f"{near:.6g}"
    return f"{exact.normalize():.5e}"


def marked(text: str) -> str:
    return text.translate(_MARKED)
