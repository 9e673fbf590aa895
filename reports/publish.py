"""Tables fit to publish: HTML by pandas' Styler, LaTeX, Parquet for machines, Markdown for a pull request.

Numbers are given to the digits that mean something: a value to as many as tell it from its neighbours in its dtype, its
truth to two more, errors and shares to three.
"""

from __future__ import annotations

import math
import re
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pandas as pd

from gradconform.reference.measurement import JUDGED, UNCERTIFIED, shown_truth
from gradconform.reports import tables
from gradconform.reports.export import markdown, replaced, table_columns
from gradconform.reports.latex import PREAMBLE, is_numbers
from gradconform.reports.latex import longtable as latex_table

#: Significant digits that tell a number of the dtype from its neighbours.
DECIDING = {"float64": 17, "float32": 9, "float16": 5, "bfloat16": 4}
#: A comment on a pull request, in bytes: what is read without scrolling. (GitHub refuses more than 65,536 characters.)
PULL_REQUEST = 6_000
#: The longest name or reason in one.
SHORT = 80
#: Rows of a table of deviations on paper; the others are in the CSV.
PRINTED = 100


def publish(measurements: pd.DataFrame, directory: Path) -> list[Path]:
    """Write summary, operators, vacuous, lost, deviations and gradients as .html and .tex, and measurements.parquet.

    For a comment there is pull-request.md.
    Raises ImportError where jinja2 or pyarrow is not installed, and ValueError for what is no table of measurements.
    """
    missing = [name for name in ("jinja2", "pyarrow") if find_spec(name) is None]
    if missing:
        raise ImportError(
            f"tables to publish need {missing[0]}, which is not installed: pip install 'gradconform[report]'"
        )
    deviating = tables.deviations(measurements).reset_index()
    lost = tables.lost(measurements).reset_index()
    gradients = tables.every_gradient(measurements).reset_index()
    found = {
        "summary": ("Verdicts by adapter, route and dtype.", tables.summary(measurements).reset_index()),
        "operators": ("Accuracy of each operator, equation by equation.", _operators(measurements)),
        "vacuous": ("Measurements by weight scale.", tables.vacuous_by_scale(measurements).reset_index()),
        "lost": (_lost_caption(lost), lost.head(PRINTED)),
        "deviations": (_caption(len(deviating)), deviating.head(PRINTED)),
        "gradients": (_gradients_caption(len(gradients)), gradients.head(PRINTED)),
    }
    directory.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, (caption, table) in found.items():
        printed = rounded(table)
        paths.append(replaced(directory / f"{name}.html", html(printed, caption)))
        paths.append(replaced(directory / f"{name}.tex", latex(name, printed, caption)))
    paths.append(replaced(directory / "pull-request.md", pull_request(measurements)))
    parquet, part = directory / "measurements.parquet", directory / "measurements.parquet.part"
    measurements.map(_encodable).to_parquet(part, index=False)
    part.replace(parquet)
    return [*paths, parquet]


def _operators(measurements: pd.DataFrame) -> pd.DataFrame:
    """What is to be printed of each operator's accuracy."""
    table = tables.by_operator(measurements)
    columns = ["judged", "conforming", "lost", "max ulp", "median ulp", "max share"]
    return table[columns].reset_index()


def _caption(count: int) -> str:
    if count > PRINTED:
        return f"The {PRINTED} largest of {count:,} deviations by their share of the allowance; deviations.csv has all."
    return "Deviations by their share of the allowance." if count else "Nothing deviates."


def _lost_caption(table: pd.DataFrame) -> str:
    if table.empty:
        return "Nothing is lost that another program keeps."
    what = "Digits that a framework's program loses and another keeps."
    return f"{what} The first {PRINTED} of {len(table):,}; lost.csv has all." if len(table) > PRINTED else what


def _gradients_caption(count: int) -> str:
    what = "Gradients from the inputs of their case."
    return f"{what} The first {PRINTED} of {count:,}; gradients.csv.gz has all." if count > PRINTED else what


def rounded(table: pd.DataFrame) -> pd.DataFrame:
    """The table as text, every number to the digits that mean something; what is missing is empty."""
    dtypes = table["dtype"] if "dtype" in table else pd.Series([""] * len(table))
    cells = {
        str(name): [_cell(str(name), v, str(d)) for v, d in zip(table[name], dtypes, strict=True)] for name in table
    }
    return pd.DataFrame(cells, dtype=object)


def _cell(name: str, value: Any, dtype: str) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value) and name != "value"):
        return ""
    if name == "truth":
        return shown_truth(str(value), lambda decimal: _cut(decimal, DECIDING.get(dtype, 17) + 2))
    if isinstance(value, float):
        if name == "value" and dtype == "float64":
            return repr(value).removesuffix(".0")  # the shortest that is this number: 0.15
        return f"{value:.{DECIDING.get(dtype, 17) if name == 'value' else 3}g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _cut(decimal: str, digits: int) -> str:
    """A decimal to so many significant digits, however far beyond float64's range."""
    from decimal import Context, Decimal, InvalidOperation

    try:
        return str(Decimal(decimal).normalize(Context(prec=digits))).lower()
    except InvalidOperation:
        return decimal


def html(table: pd.DataFrame, caption: str) -> str:
    """The table as an HTML fragment, every text escaped."""
    numbers = [name for name in table if is_numbers(table[name])]
    styler = table.style.format(escape="html").format_index(escape="html", axis="columns").hide(axis="index")
    return str(
        styler.set_properties(padding="0.2em 0.6em")
        .set_properties(subset=numbers, **{"text-align": "right"})
        .set_caption(caption)
        .to_html()
    )


def latex(name: str, table: pd.DataFrame, caption: str) -> str:
    """A table of the report for paper: its columns are chosen, joined or split so that it fits the text width."""
    run = "run" in table
    if name == "summary":
        table = _under(table, [*(["run"] if run else []), "adapter/route"])
        counted = ["judged", "conforming", "deviating", "known", *tables.COUNTED]
        measured = [c for c in table if c not in (*counted, "under", "dtype")]
        accuracy = "Accuracy by adapter, route and dtype; errors are of what conforms or deviates."
        return latex_table(_told(table.drop(columns=measured)), caption, name, under="under") + latex_table(
            table[["under", "dtype", *measured]], accuracy, f"{name}-accuracy", under="under"
        ).removeprefix(PREAMBLE)
    if name == "deviations" and len(table):
        said = zip(table["accepted form"], table["cause"], (r.split(";")[0] for r in table["reason"]), strict=True)
        paired = {
            **({"run": table["run"]} if run else {}),
            "case": table["case"], "quantity": table["quantity"],
            "adapter/route dtype": table["adapter/route"] + "\n" + table["dtype"],
            "value and truth": table["value"] + "\n" + table["truth"],
            "max ulp": table["max ulp"], "share": table["share"],
        }  # fmt: skip
        below = ["; ".join(filter(None, texts)) for texts in said]
        return latex_table(pd.DataFrame(paired, dtype=object), caption, name, below=below)
    if name == "lost" and len(table):
        table = _under(table, [*(["run"] if run else []), "adapter/route", "dtype"])
        return latex_table(table, caption, name, under="under")
    if name == "gradients" and len(table):
        table = _under(table, [*(["run"] if run else []), "case", "adapter/route", "dtype"])
        return latex_table(table, caption, name, under="under")
    if name == "operators" and len(table):
        table = _under(table, [*(["run"] if run else []), "operator", "of"])
        return latex_table(table, caption, name, under="under")
    return latex_table(_told(table), caption, name)


def _under(table: pd.DataFrame, names: list[str]) -> pd.DataFrame:
    """The table with these columns joined in the first, `under`."""
    joined = [", ".join(row) for row in zip(*(table[n] for n in names), strict=True)]
    return table.drop(columns=names).assign(under=joined)


def _told(table: pd.DataFrame) -> pd.DataFrame:
    """Without the columns of verdicts that nothing has."""
    return table.drop(columns=[c for c in tables.COUNTED if c in table and (table[c] == "0").all()])


def pull_request(measurements: pd.DataFrame) -> str:
    """What a run found, in PULL_REQUEST bytes: the counts, route by route, then as many deviations as fit."""
    m = tables.checked(measurements)
    verdict = m["verdict"]
    counts = {
        "judged": verdict.isin(JUDGED),
        "deviating": (verdict == "deviates") & ~m["known"],
        "known deviations": m["known"],
        **{v: verdict == v for v in ("crashed", "undecided", *UNCERTIFIED, "out of range", "singular")},
    }
    always = ("judged", "deviating", "known deviations", "vacuous")
    said = [f"{what} {n:,}" for what, of in counts.items() if (n := int(of.sum())) or what in always]
    text = f"**gradconform**: {', '.join(said)}\n"
    answers = [
        f"- {question}: {', '.join(f'{word} {n:,}' for word, n in words.items())}\n"
        for question, words in tables.answers(measurements).items()
        if words
    ]
    text += "".join(["\n", *answers] if answers else [])
    text += _as_fits(_by_route(m), "Routes", "summary.md", PULL_REQUEST // 2 - _size(text))
    lost = tables.lost(measurements).reset_index()
    lost = lost.sort_values("lost", ascending=False, kind="stable").drop(columns="worst certified bits")
    text += _as_fits(_short(lost), "Programs that lose digits", "lost.md", (PULL_REQUEST - _size(text)) // 2)
    found = tables.deviations(measurements).reset_index()
    found = found[[*(["run"] if "run" in found else []), "case", "adapter/route", "dtype", "quantity", "level", "share",
                   "cause", "reason"]]  # fmt: skip
    return text + _as_fits(_short(found), "Deviations", "deviations.csv", PULL_REQUEST - _size(text))


def _by_route(m: pd.DataFrame) -> pd.DataFrame:
    """adapter/route × dtype, in each cell what was judged and what of it is no pass."""
    keys = [*(["run"] if "run" in m else []), "who"]
    rows: dict[Any, dict[str, str]] = {}
    for (*of, dtype), group in m.groupby([*keys, "dtype"], sort=False):
        verdicts = group["verdict"].where(~group["known"], "known").value_counts()
        noted = ("deviates", "crashed", "undecided", "known", *UNCERTIFIED, "out of range", "singular", "unsupported")
        cells = [f"{verdicts.get('conforms', 0):,} conform"]
        cells += [f"{verdicts[v]:,} {v.replace('deviates', 'deviating')}" for v in noted if v in verdicts]
        rows.setdefault(tuple(of), {})[str(dtype)] = ", ".join(cells)
    dtypes = [d for d in tables.DTYPES if (m["dtype"] == d).any()]
    dtypes += [d for d in dict.fromkeys(m["dtype"]) if d not in dtypes]
    named = [{**dict(zip(keys, of, strict=True)), **{d: cells.get(d) for d in dtypes}} for of, cells in rows.items()]
    return _short(pd.DataFrame(named, columns=[*keys, *dtypes], dtype=object).rename(columns={"who": "adapter/route"}))


def _short(table: pd.DataFrame) -> pd.DataFrame:
    """The table with every text cut to what a comment has room for, and no column that is empty."""

    def cut(value: Any) -> Any:
        return f"{value[: SHORT - 1]}…" if isinstance(value, str) and len(value) > SHORT else value

    return table.map(cut).dropna(axis="columns", how="all").reset_index(drop=True)


def _as_fits(table: pd.DataFrame, what: str, whole: str, room: int) -> str:
    """The first rows of a table under a heading, as many as fit so many bytes, and where the others are."""
    shown = len(table)
    while shown:
        left = f"\n{len(table) - shown:,} more are in {whole}.\n" if len(table) > shown else ""
        rows = _unpadded(markdown(table_columns(table.head(shown).set_index(table.columns[0]))))
        text = f"\n**{what}: {len(table):,}**\n\n{rows}{left}"
        if _size(text) <= room:
            return text
        shown = shown * 3 // 4
    return f"\n**{what}: {len(table):,}**, in {whole}.\n" if len(table) else ""


def _unpadded(text: str) -> str:
    """A Markdown table without the spaces and dashes that only line up its source."""
    return re.sub(r"-{3,}", "---", re.sub(r" {2,}", " ", text))


def _size(text: str) -> int:
    return len(text.encode("utf-8", "backslashreplace"))


def _encodable(value: Any) -> Any:
    """Half a surrogate pair, which a run file may hold and UTF-8 may not, spelled out."""
    return value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else value
