"""Tables of measurements: pure functions from one DataFrame to another.

Every function takes measurements with the columns of a run file, and perhaps a first column `run`.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from gradconform.conformance.measurement import COLUMNS

DTYPES = ("float64", "float32", "float16", "bfloat16")
#: The verdicts of what was judged; the others, unsupported and crashed, say that it was not.
JUDGED = ("conforms", "deviates", "vacuous", "out of range", "undecided")


def checked(measurements: pd.DataFrame) -> pd.DataFrame:
    """The measurements with two more columns: `who` (adapter/route) and `known`.

    Raises ValueError for an empty table or one without the columns of a run file.
    """
    missing = [c for c in COLUMNS if c not in measurements.columns]
    if missing:
        raise ValueError(f"not a table of measurements: it lacks {', '.join(missing)}; load one from a run file")
    if measurements.empty:
        raise ValueError("no measurement to make a table of; expected the rows of a run in which something was judged")
    who = measurements["adapter"] + "/" + measurements["route"]
    reason = measurements["reason"].fillna("").astype(str)
    known = (measurements["verdict"] == "deviates") & reason.str.startswith("known:")
    return measurements.assign(who=who, known=known)


def _in_order(index: pd.Index, first: tuple[str, ...]) -> list[str]:
    """The values of an index: those of `first` in that order, then the others as they come."""
    names = list(dict.fromkeys(index))
    return [n for n in first if n in names] + [n for n in names if n not in first]


def summary(measurements: pd.DataFrame) -> pd.DataFrame:
    """adapter/route × dtype: how much was judged, with what verdicts, how accurate and how sharp.

    `deviating` leaves out the known deviations, counted in `known`. `max ulp` and `median ulp` are over every judged
    quantity with a finite distance from the truth, `max share` over those that do not deviate, `certified bits` is the
    median over those that conform.
    """
    m = checked(measurements)
    key = [m["who"], m["dtype"]]

    def count(mask: pd.Series) -> pd.Series:
        return mask.groupby(key, sort=False).sum().astype("int64")

    def over(column: str, mask: pd.Series, how: str) -> pd.Series:
        values = m[column].where(mask & np.isfinite(m[column].astype(float)))
        return values.groupby(key, sort=False).agg(how)

    is_judged = m["verdict"].isin(JUDGED)
    conforming = m["verdict"] == "conforms"
    table = pd.DataFrame(
        {
            "judged": count(is_judged),
            "conforming": count(conforming),
            "deviating": count((m["verdict"] == "deviates") & ~m["known"]),
            "known": count(m["known"]),
            **{v: count(m["verdict"] == v) for v in ("vacuous", "out of range", "undecided", "unsupported", "crashed")},
            "max ulp": over("error_ulp", is_judged, "max"),
            "median ulp": over("error_ulp", is_judged, "median"),
            "max share": over("share", is_judged & (m["verdict"] != "deviates"), "max"),
            "certified bits": over("certified_bits", conforming, "median"),
        }
    )
    table.index.names = ["adapter/route", "dtype"]
    rows = [(w, d) for d in _in_order(table.index.get_level_values(1), DTYPES)
            for w in _in_order(table.index.get_level_values(0), ()) if (w, d) in table.index]  # fmt: skip
    return table.loc[rows]


def vacuous_by_family(measurements: pd.DataFrame) -> pd.DataFrame:
    """Family of cases × dtype: how many quantities were judged, and how many of those the formula has lost."""
    m = checked(measurements)
    m = m[m["verdict"].isin(JUDGED)]
    family = m["case"].str.rsplit("/", n=1).str[0].rename("cases")
    vacuous = (m["verdict"] == "vacuous").groupby([family, m["dtype"]], sort=False)
    table = pd.DataFrame({"judged": vacuous.size(), "vacuous": vacuous.sum(), "fraction": vacuous.mean()})
    return table.sort_index(level=0, sort_remaining=False)


def deviations(measurements: pd.DataFrame) -> pd.DataFrame:
    """What deviates, largest share first, known deviations last."""
    m = checked(measurements)
    m = m[m["verdict"] == "deviates"].sort_values(["known", "share"], ascending=[True, False], kind="stable")
    columns = ["case", "who", "dtype", "level", "quantity", "value", "truth", "error_ulp", "allowance", "share", "form"]
    return m[[*columns, "reason"]].rename(columns={"who": "adapter/route"}).set_index("case")


def comparisons(measurements: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame, pd.DataFrame]]:
    """For each case: its id, the table of its gradient and the table of its updated weights.

    Rows are dtype × quantity (∂E_total/∂w1 …, w1 …) in the derivation's order; columns the truth and, for each
    adapter/route, its value, its error in ulps, its share of the allowance and its verdict.
    """
    m = checked(measurements)
    m = m[(m["level"] == "whole") & (m["quantity"].str.contains("/") | m["quantity"].str.endswith("_new"))]
    for case, rows in m.groupby("case", sort=False):
        is_gradient = rows["quantity"].str.contains("/")
        yield str(case), _comparison(rows[is_gradient], "gradient"), _comparison(rows[~is_gradient], "weight")


def _comparison(rows: pd.DataFrame, name: str) -> pd.DataFrame:
    columns = {"value": "value", "error_ulp": "ulp", "share": "share", "verdict": "verdict"}
    index = ["dtype", "quantity"] if "run" not in rows else ["run", "dtype", "quantity"]
    by_who = rows.set_index([*index, "who"])[list(columns)].rename(columns=columns)
    wide = pd.DataFrame(by_who.unstack("who")).swaplevel(axis="columns")
    truth = rows.groupby(index, sort=False)["truth"].first()
    wide = wide.loc[truth.index, [(w, c) for w in dict.fromkeys(rows["who"]) for c in columns.values()]]
    wide.insert(0, ("truth", ""), truth)
    labels = {q: _label(q) for q in dict.fromkeys(rows["quantity"])}
    return wide.rename(index=labels, level="quantity").rename_axis(index={"quantity": name})


def _label(quantity: str) -> str:
    """∂E_total/∂w1 for dE_total/dw1; w1 for w1_new."""
    if "/" in quantity:
        return "/".join("∂" + part.removeprefix("d") for part in quantity.split("/"))
    return quantity.removesuffix("_new")
