"""Tables fit to publish: HTML and LaTeX by pandas' Styler, Parquet for machines, Markdown for a pull request.

Numbers are given to the digits that mean something: a value to as many as tell it from its neighbours in its dtype, its
truth to two more, errors and shares to three.
"""

from __future__ import annotations

import math
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pandas as pd

from gradconform.reports import tables
from gradconform.reports.export import markdown, replaced, table_columns

#: Significant digits that tell a number of the dtype from its neighbours.
DECIDING = {"float64": 17, "float32": 9, "float16": 5, "bfloat16": 4}
#: GitHub refuses a comment of more than 65,536 characters.
PULL_REQUEST = 60_000
#: Rows of a table of deviations on paper; the others are in the CSV.
PRINTED = 100

_LATEX = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "%": r"\%",
    "_": r"\_\allowbreak{}",
    "^": r"\textasciicircum{}", "~": r"\textasciitilde{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", '"': r"\textquotedbl{}", "/": r"/\allowbreak{}", "∂": r"$\partial$", "η": r"$\eta$",
    "σ": r"$\sigma$", "Φ": r"$\Phi$", "φ": r"$\varphi$", "Σ": r"$\Sigma$", "·": r"$\cdot$", "−": r"$-$", "±": r"$\pm$",
    "½": r"$\frac12$", "ᵀ": r"$^{\mathsf T}$", "²": r"$^2$", "′": "$'$", "≤": r"$\le$", "∞": r"$\infty$",
}  # fmt: skip
_PREAMBLE = "% Needs \\usepackage[T1]{fontenc}, \\usepackage{booktabs} and \\usepackage{longtable}.\n"


def publish(measurements: pd.DataFrame, directory: Path) -> list[Path]:
    """Write summary, vacuous and deviations as .html and .tex, measurements.parquet and pull-request.md.

    Raises ImportError where jinja2 or pyarrow is not installed, and ValueError for what is no table of measurements.
    """
    missing = [name for name in ("jinja2", "pyarrow") if find_spec(name) is None]
    if missing:
        raise ImportError(
            f"tables to publish need {missing[0]}, which is not installed: pip install 'gradconform[report]'"
        )
    deviating = tables.deviations(measurements).reset_index()
    found = {
        "summary": ("Verdicts by adapter, route and dtype.", tables.summary(measurements).reset_index()),
        "vacuous": ("Measurements by weight scale.", tables.vacuous_by_scale(measurements).reset_index()),
        "deviations": (_caption(len(deviating)), deviating.head(PRINTED)),
    }
    directory.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, (caption, table) in found.items():
        printed = rounded(table)
        paths.append(replaced(directory / f"{name}.html", html(printed, caption)))
        paths.append(
            replaced(
                directory / f"{name}.tex",
                latex(_narrow(printed), caption, name),
            )
        )
    paths.append(replaced(directory / "pull-request.md", pull_request(measurements)))
    parquet, part = directory / "measurements.parquet", directory / "measurements.parquet.part"
    measurements.map(_encodable).to_parquet(part, index=False)
    part.replace(parquet)
    return [*paths, parquet]


def _caption(count: int) -> str:
    if count > PRINTED:
        return f"The {PRINTED} largest of {count:,} deviations by their share of the allowance; deviations.csv has all."
    return "Deviations by their share of the allowance." if count else "Nothing deviates."


def _narrow(table: pd.DataFrame) -> pd.DataFrame:
    """The table for paper: without what every row of it shares, a reason by its first part."""
    table = table.drop(columns=["level", "verdict"], errors="ignore")
    return table.assign(reason=[r.split(";")[0] for r in table["reason"]]) if "reason" in table else table


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
        return _cut(str(value), DECIDING.get(dtype, 17) + 2)
    if isinstance(value, float):
        return f"{value:.{DECIDING.get(dtype, 17) if name == 'value' else 3}g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _cut(decimal: str, digits: int) -> str:
    """A decimal to so many significant digits, however far beyond float64's range."""
    from decimal import Context, Decimal, InvalidOperation

    try:
        return str(Decimal(decimal).normalize(Context(prec=digits)))
    except InvalidOperation:
        return decimal


def html(table: pd.DataFrame, caption: str) -> str:
    """The table as an HTML fragment, every text escaped."""
    styler = table.style.format(escape="html").format_index(escape="html", axis="columns").hide(axis="index")
    return str(styler.set_properties(padding="0.2em 0.6em").set_caption(caption).to_html())


def latex(table: pd.DataFrame, caption: str, label: str) -> str:
    """The table as a LaTeX longtable that pdflatex compiles, whatever its texts hold."""
    safe = table.map(escaped)
    safe.columns = pd.Index([escaped(str(c)) for c in table.columns], dtype=object)
    if safe.empty:
        return f"{_PREAMBLE}\\noindent {escaped(caption)}\n"
    text = safe.style.hide(axis="index").to_latex(
        environment="longtable", hrules=True, caption=escaped(caption), label=f"tab:{label}",
        column_format="l" * len(safe.columns),
    )  # fmt: skip
    return _PREAMBLE + str(text)


def escaped(text: str) -> str:
    """Text as LaTeX prints it; a character that it has no sign for by its code point."""
    return "".join(_LATEX.get(c, c if " " <= c <= "~" else f"[U+{ord(c):04X}]") for c in text)


def pull_request(measurements: pd.DataFrame) -> str:
    """The summary and as many deviations, largest share first, as fit a comment on GitHub."""
    m = tables.checked(measurements)
    deviating, known = int(((m["verdict"] == "deviates") & ~m["known"]).sum()), int(m["known"].sum())
    judged, vacuous = int(m["verdict"].isin(tables.JUDGED).sum()), int((m["verdict"] == "vacuous").sum())
    counts = f"deviating {deviating:,}, known deviations {known:,}, vacuous {vacuous:,}"
    head = f"**gradconform**: judged {judged:,}, {counts}\n\n"
    text = head + markdown(table_columns(tables.summary(measurements)))
    found = tables.deviations(measurements)
    shown = min(len(found), PRINTED)
    if len(text) > PULL_REQUEST:
        return head + "The summary is too long for a comment; it is in summary.md.\n"
    while shown:
        left = f"\n{len(found) - shown:,} more are in deviations.csv.\n" if len(found) > shown else ""
        whole = f"{text}\n<details><summary>{len(found):,} deviations</summary>\n\n" \
            f"{markdown(table_columns(found.head(shown)))}\n</details>\n{left}"  # fmt: skip
        if len(whole) <= PULL_REQUEST:
            return whole
        shown //= 2
    return text


def _encodable(value: Any) -> Any:
    """Half a surrogate pair, which a run file may hold and UTF-8 may not, spelled out."""
    return value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else value
