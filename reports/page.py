"""The page: one self-contained index.html of a run's measurements.

Text from a run file is not trusted. Jinja escapes what is written as HTML; the measurements are a data block of JSON,
packed by gzip and spelled in base64's letters, so that none can end it; the script writes text nodes only; and the
page's content security policy admits its own script and style by their digests and nothing from anywhere else.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from gradconform.reference.measurement import COLUMNS, JUDGED, PROGRAM, QUESTIONS, UNCERTIFIED, is_program
from gradconform.reports import tables
from gradconform.reports.export import replaced
from gradconform.reports.words import MARKS, REMEDIES, WORDS

#: The columns that hold text: each is embedded as its distinct values and one code a row.
TEXT = ("run", "case", "who", "dtype", "level", "quantity", "operator", "truth", "accepted_form", "worst_index",
        "formula", "execution", "accuracy", "verdict", "cause", "reason")  # fmt: skip
NUMBERS = ("elements", "value", "truth_radius", "error_abs", "error_ulp", "max_ulp", "median_ulp", "allowance", "share",
           "sharpest_share", "certified_bits")  # fmt: skip
_SCRIPTS = ("measurements.js", "charts.js", "links.js", "case.js", "page.js")

assert {*TEXT, *NUMBERS} - {"run", "who"} == set(COLUMNS) - {"adapter", "route"}


def write_page(
    measurements: pd.DataFrame,
    headers: Sequence[Mapping[str, Any]],
    directory: Path,
    derived: Mapping[str, Any] | None = None,
    known: Mapping[str, Mapping[str, str]] | None = None,
    files_beside: Sequence[str] = (),
) -> Path:
    """Write `directory`/index.html and return its path.

    `headers` are the runs', in the order of the runs; `derived` is {"derivations", "cases"}, plain data as
    `conformance/command_line/derivations.py` gives it; `known` maps a known deviation's id to its reason and upstream
    link; `files_beside` are relative paths to link to. Raises ValueError for what is no table of measurements, and
    ImportError where Jinja is not installed.
    """
    directory.mkdir(parents=True, exist_ok=True)
    return replaced(directory / "index.html", page(measurements, headers, derived, known, files_beside))


def page(
    measurements: pd.DataFrame,
    headers: Sequence[Mapping[str, Any]],
    derived: Mapping[str, Any] | None = None,
    known: Mapping[str, Mapping[str, str]] | None = None,
    files_beside: Sequence[str] = (),
) -> str:
    """The page's text; see `write_page`."""
    try:
        import jinja2
    except ImportError as error:
        raise ImportError("the page needs jinja2, which is not installed: pip install 'gradconform[report]'") from error
    m = tables.checked(measurements)
    style, script = _source("page.css"), "\n".join(_source(name) for name in _SCRIPTS)
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    runs = [_run(header) for header in headers]
    totals = _totals(m)
    data = {"columns": columns(m), "rows": len(m), "judged": totals["judged"], "runs": runs, "known": known or {},
            **(derived or {"derivations": {}, "cases": {}})}  # fmt: skip
    text = environment.from_string(_source("page.html.jinja")).render(
        style=_trusted(style), script=_trusted(script), style_digest=_digest(style), script_digest=_digest(script),
        data=_trusted(embedded(data)), matrix=matrix(m), dtypes=_dtypes(m), totals=totals, runs=runs,
        programs=programs(m), remedies=REMEDIES, noted=tables.COUNTED,
        answers=tables.answers(measurements), lost=_lost(measurements),
        marks=MARKS, words=WORDS, files=files_beside, spelled=_spelled,
    )  # fmt: skip
    return text.encode("utf-8", "backslashreplace").decode()


def columns(m: pd.DataFrame) -> dict[str, Any]:
    """Measurements column by column: text as {"values", "codes"}, numbers as lists, what is missing as null.

    Code −1 is missing text. Numbers that JSON lacks are "nan", "inf" and "-inf"; a NaN is missing unless it was the
    answer of a judged measurement.
    """
    found: dict[str, Any] = {}
    for name in TEXT:
        values = m[name] if name in m else pd.Series([""] * len(m), dtype=object)
        codes, distinct = pd.factorize(values)
        found[name] = {"values": [str(v) for v in distinct], "codes": codes.tolist()}
    judged = m["verdict"].isin(JUDGED).to_numpy()
    for name in NUMBERS:
        numbers = m[name].to_numpy(dtype=float)
        answered = judged if name == "value" else np.zeros(len(m), dtype=bool)
        found[name] = [_number(v, a) for v, a in zip(numbers.tolist(), answered.tolist(), strict=True)]
    return found


def _number(value: float, answered: bool) -> float | int | str | None:
    if math.isnan(value):
        return "nan" if answered else None
    if math.isinf(value):
        return "inf" if value > 0 else "-inf"
    return int(value) if value.is_integer() and abs(value) < 2**53 else value


def embedded(data: Any) -> str:
    """Strict JSON, packed by gzip, in base64: it holds no character that HTML gives a meaning to."""
    text = json.dumps(data, allow_nan=False, separators=(",", ":"))
    return base64.b64encode(gzip.compress(text.encode("ascii"), compresslevel=6, mtime=0)).decode("ascii")


def matrix(m: pd.DataFrame) -> list[dict[str, Any]]:
    """The verdict matrix: for each run and adapter/route, by dtype, the summary's counts and extremes."""
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    summary = tables.summary(m.drop(columns=list(tables.ADDED)))
    for key, cell in zip(summary.index, summary.to_dict("records"), strict=True):
        run, who, dtype = key if len(key) == 3 else ("", *key)
        row = rows.setdefault((str(run), str(who)), {"run": str(run), "who": str(who), "cells": {}})
        named = {str(k): v for k, v in cell.items()}
        row["cells"][str(dtype)] = {
            **named,
            "state": _state(named),
            "accuracy": _accuracy(named["max ulp"], str(dtype)),
        }
    return list(rows.values())


def _state(cell: Mapping[str, Any]) -> str:
    """A cell in a word: the worst that happened there."""
    for state, count in (("crashed", "crashed"), ("deviates", "deviating"), ("undecided", "undecided"),
                         ("known", "known")):  # fmt: skip
        if cell[count]:
            return state
    if not cell["judged"]:
        return "unsupported"
    if cell["conforming"]:
        uncertified = sum(cell[v] for v in UNCERTIFIED)
        return "mostly-uncertified" if tables.hardly_a_pass(uncertified, cell["judged"]) else "conforms"
    return next(v.replace(" ", "-") for v in (*UNCERTIFIED, "out of range", "singular") if cell[v])


#: The significant bits of a dtype, and the largest error that is told in ulps and not in the bits that it leaves.
_PRECISION = {"float64": 53, "float32": 24, "float16": 11, "bfloat16": 8}
_IN_ULPS = 1000


def _accuracy(largest: float, dtype: str) -> str:
    """The largest error of what is certified, in words; nothing where there is none.

    Of 53 bits an error of 1e13 ulp leaves 9: that is what is certified there, and a number of 13 digits says less.
    """
    if math.isnan(largest):
        return ""
    if largest < _IN_ULPS or dtype not in _PRECISION:
        return f"largest error {largest:.3g} ulp"
    bits = math.floor(_PRECISION[dtype] - math.log2(largest)) if math.isfinite(largest) else 0
    return f"largest error leaves {max(bits, 0) or 'no'} {'bit' if bits <= 1 else 'bits'} right"


def _lost(measurements: pd.DataFrame) -> list[dict[str, Any]]:
    """What is lost, for a table: the largest counts first."""
    table = tables.lost(measurements).reset_index().sort_values("lost", ascending=False, kind="stable")
    return [{str(k): v for k, v in row.items()} for row in table.to_dict("records")]


#: So many gradients of verified functions are shown; the table of measurements has all.
_SHOWN = 500
_WORST_FIRST = ("deviates", "crashed", "undecided", "lost", "vacuous", "ill-conditioned", "out of range", "singular")


def programs(m: pd.DataFrame) -> list[dict[str, Any]]:
    """The gradients of functions that were verified, each with its answers, culprits and what to do, the worst first.

    Known deviations stand after what is not known, and what conforms last.
    """
    verified = np.array([is_program(case) for case in m["case"]], dtype=bool)
    rows = m[verified & (m["level"] != "step").to_numpy()]
    ranks = {v: i for i, v in enumerate(_WORST_FIRST)}
    order = [(ranks.get(v, len(ranks)), k) for v, k in zip(rows["verdict"], rows["known"], strict=True)]
    worst = sorted(range(len(rows)), key=lambda i: order[i])[:_SHOWN]
    return [_program(row) for row in rows.iloc[worst].to_dict("records")]


def _program(row: Mapping[Any, Any]) -> dict[str, Any]:
    answers = {q: row[q] if isinstance(row[q], str) else "" for q in QUESTIONS}
    bits = row["certified_bits"]
    if answers["accuracy"] and math.isfinite(bits):
        answers["accuracy"] += f" ({bits:.1f} bits)" if answers["accuracy"] == "certified" else ""
    remedy = row["verdict"]
    if remedy == "deviates":
        remedy = answers["formula"] if answers["formula"] in ("wrong", "undefined") else "outside"
    said = [text for text in (row["cause"], row["reason"]) if isinstance(text, str)]
    function, _, arguments = str(row["case"]).removeprefix(PROGRAM).rpartition("/")
    return {
        "run": row.get("run", ""), "function": function, "arguments": arguments, "who": row["who"],
        "dtype": row["dtype"], "quantity": "" if row["quantity"] == "*" else tables.label(row["quantity"]),
        "verdict": "known" if row["known"] else row["verdict"],
        "state": "known" if row["known"] else row["verdict"].replace(" ", "-"), **answers, "said": "; ".join(said),
        "remedy": "" if row["known"] or remedy not in REMEDIES else remedy,
    }  # fmt: skip


def _dtypes(m: pd.DataFrame) -> list[str]:
    there = list(dict.fromkeys(m["dtype"]))
    return [*(d for d in tables.DTYPES if d in there), *(d for d in there if d not in tables.DTYPES)]


def _totals(m: pd.DataFrame) -> dict[str, int]:
    verdict = m["verdict"]
    return {
        "judged": int(verdict.isin(JUDGED).sum()),
        "conforms": int((verdict == "conforms").sum()),
        "deviating": int(((verdict == "deviates") & ~m["known"]).sum()),
        "known": int(m["known"].sum()),
        **{v: int((verdict == v).sum()) for v in tables.COUNTED},
        "cases": int(m["case"].nunique()),
    }


def _run(header: Mapping[str, Any]) -> dict[str, Any]:
    """A header as the page shows it: every value text, none of them trusted to be of its kind."""
    shown = {k: _spelled(v) for k, v in header.items() if k not in ("kind", "suite", "schema")}
    return {"run": str(header.get("run", "")), "shown": shown,
            **{k: str(header.get(k, default)) for k, default in
               (("device", "cpu"), ("profile", "opencl"), ("seed", "0"))}}  # fmt: skip


def _spelled(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{k} {_spelled(v)}".strip() for k, v in value.items()) or "none"
    if isinstance(value, list | tuple):
        return " ".join(map(_spelled, value)) or "none"
    return str(value)


def _source(name: str) -> str:
    return files("gradconform.reports").joinpath("web", name).read_text(encoding="utf-8")


def _trusted(text: str) -> Any:
    from markupsafe import Markup

    return Markup(text)


def _digest(text: str) -> str:
    """The digest by which the content security policy admits an inline script or style."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode()
