"""Tables of measurements: pure functions from one DataFrame to another.

Every function takes measurements with the columns of a run file, and where several runs are loaded a column `run`,
which is then the first level of every index. Each raises ValueError for a table that is empty or not of measurements.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from gradconform.reference.measurement import (
    CERTIFIED,
    COLUMNS,
    JUDGED,
    PROGRAM,
    QUESTIONS,
    UNCERTIFIED,
    asked_of,
    kept_by,
)

DTYPES = ("float64", "float32", "float16", "bfloat16")
#: The levels, and what stands for the level of what was never judged at one.
LEVELS = ("whole", "step", "*")
#: The verdicts that say that nothing was found out.
BROKEN = ("crashed", "undecided")
#: What a comparison shows of each adapter/route, by the measurement's column.
SHOWN = {"value": "value", "error_ulp": "error (ulp)", "share": "share", "verdict": "verdict"}


_NUMBERS = ("value", "error_ulp", "max_ulp", "allowance", "share", "certified_bits")
_TEXT = ("case", "adapter", "route", "dtype", "level", "quantity", "truth", "accepted_form", "operator", "formula",
         "execution", "accuracy", "verdict", "cause", "reason")  # fmt: skip
_NEVER_MISSING = ("case", "adapter", "route", "dtype", "quantity", "verdict")


def checked(measurements: pd.DataFrame) -> pd.DataFrame:
    """The measurements with numbers as float64 and more columns, ADDED: `who` (adapter/route), `known`, `largest_ulp`.

    The last is `max_ulp`, or where a measurement has none, as in a run of schema 1, its `error_ulp`.

    Raises ValueError for an empty table, for other columns than a run file's, for text where a number belongs, and for
    a row that does not say what it measures.
    """
    advice = "load a table of measurements from a run file, or take one that gradconform.check returned"
    got = [str(c) for c in measurements.columns]
    wrong = {
        "it lacks": [c for c in COLUMNS if c not in got],
        "it also has": [c for c in dict.fromkeys(got) if c not in (*COLUMNS, "run")],
        "it has twice": [c for c in dict.fromkeys(got) if got.count(c) > 1],
    }
    if any(wrong.values()):
        said = "; ".join(f"{what} {', '.join(columns)}" for what, columns in wrong.items() if columns)
        raise ValueError(f"not a table of measurements: {said}; expected the columns {' '.join(COLUMNS)}; {advice}")
    if measurements.empty:
        raise ValueError(f"no measurement to make a table of: got 0 rows, expected those of a run; {advice}")
    for column in (c for c in (*_NEVER_MISSING, "run") if c in got):
        if measurements[column].isna().any():
            row = measurements.index[measurements[column].isna()][0]
            raise ValueError(f"measurement {row} has no {column}; expected one in every row; {advice}")
    try:
        numbers = {c: measurements[c].astype("float64") for c in _NUMBERS}
    except (TypeError, ValueError) as error:
        raise ValueError(f"expected numbers in the columns {', '.join(_NUMBERS)}; {error}; {advice}") from error
    m = measurements.assign(**numbers, **{c: _encodable(measurements[c]) for c in (*_TEXT, "run") if c in got})
    who = [f"{adapter}/{route}" for adapter, route in zip(m["adapter"], m["route"], strict=True)]
    reasons = np.array([isinstance(r, str) and r.startswith("known:") for r in m["reason"]], dtype=bool)
    known = (m["verdict"] == "deviates") & reasons
    return m.assign(who=who, known=known, largest_ulp=m["max_ulp"].fillna(m["error_ulp"]))


ADDED = ("who", "known", "largest_ulp")


def _encodable(column: pd.Series) -> pd.Series:
    """The column with half a surrogate pair, which a run file may hold and UTF-8 may not, spelled out as \\udXXX."""
    spelled = {t: t.encode("utf-8", "backslashreplace").decode() for t in column.unique() if isinstance(t, str)}
    odd = {t: text for t, text in spelled.items() if t != text}
    return pd.Series([odd.get(t, t) for t in column], index=column.index, dtype=object) if odd else column


def _in_order(values: Iterable[str], first: tuple[str, ...] = ()) -> dict[str, int]:
    """The rank of each value: those of `first` in that order, then the others as they come."""
    names = dict.fromkeys(values)
    return {n: i for i, n in enumerate([*(n for n in first if n in names), *(n for n in names if n not in first)])}


def _ordered(table: pd.DataFrame, *firsts: tuple[str, ...]) -> pd.DataFrame:
    """The rows ordered level by level of the index, each level as it comes behind those of its `firsts`."""
    levels = [table.index.get_level_values(i) for i in range(table.index.nlevels)]
    ranks = [_in_order(level, first) for level, first in zip(levels, firsts, strict=True)]
    codes = [np.array([rank[n] for n in level], dtype=int) for rank, level in zip(ranks, levels, strict=True)]
    return table.iloc[np.lexsort(codes[::-1])]


def _keys(m: pd.DataFrame, **columns: str) -> tuple[list[pd.Series], list[str]]:
    """What to group by, the run first if there is one, and the names of the index levels."""
    named = {**({"run": "run"} if "run" in m else {}), **columns}
    return [m[c] for c in named.values()], list(named)


def summary(measurements: pd.DataFrame) -> pd.DataFrame:
    """adapter/route × dtype: how much was judged, with what verdicts, how accurate and how sharp.

    Quantities count at both levels. `judged` leaves out what is unsupported or crashed; `deviating` leaves out the
    known deviations, counted in `known`. The errors are over what conforms or deviates, infinite ones among them:
    `max ulp` and `median ulp` of each measurement's largest component, `ulp at max share` of the component that took
    most of its allowance of all. `max share` is over all that was judged, `certified bits` the median of the finite
    ones over what conforms.
    """
    m = checked(measurements)
    keys, names = _keys(m, **{"adapter/route": "who", "dtype": "dtype"})
    return _ordered(_summed(m, keys, names), *[()] * (len(names) - 1), DTYPES)


def summary_by_level(measurements: pd.DataFrame) -> pd.DataFrame:
    """The summary, level by level: whole, step, and * for what is unsupported or crashed and has no level."""
    m = checked(measurements)
    m = m.assign(level=m["level"].astype(object).where(m["level"].notna(), "*"))
    keys, names = _keys(m, **{"adapter/route": "who", "dtype": "dtype", "level": "level"})
    return _ordered(_summed(m, keys, names), *[()] * (len(names) - 2), DTYPES, LEVELS)


#: What is asked of an operator.
ASKED = ("value", "derivative", "tangent", "second derivative", "second tangent")


def by_operator(measurements: pd.DataFrame) -> pd.DataFrame:
    """operator × of × adapter/route × dtype: the summary of what each operation gives.

    Of networks that is the step level, equation by equation, by what it runs: `of` is `value` for what the forward pass
    computes and for updates, `derivative` for adjoints and gradients, which have a row of their own: sigmoid's value
    and its slope. Of the catalogue of operators it is each as a whole, over all of its cases. A run of neither has no
    rows.
    """
    m = checked(measurements)
    catalogue = _of_the_catalogue(m)
    m = m[((m["level"] == "step") & m["operator"].notna()) | catalogue]
    of = [
        asked_of(q) if whole else "derivative" if _is_gradient(q) else "value"
        for q, whole in zip(m["quantity"], catalogue[m.index], strict=True)
    ]
    keys, names = _keys(m.assign(of=of), operator="operator", of="of", **{"adapter/route": "who", "dtype": "dtype"})
    return _ordered(_summed(m, keys, names), *[()] * (len(names) - 3), ASKED, (), DTYPES)


def _of_the_catalogue(m: pd.DataFrame) -> pd.Series:
    """Which rows are of the catalogue of operators, of a quantity that was asked."""
    programs = m["case"].str.startswith(PROGRAM) & m["operator"].notna()
    return programs & (m["level"] == "whole")


def _summed(m: pd.DataFrame, keys: list[pd.Series], names: list[str]) -> pd.DataFrame:
    verdict = m["verdict"]
    certified = m["certified_bits"].where((verdict == "conforms") & np.isfinite(m["certified_bits"]))
    judged = verdict.isin(JUDGED)
    accurate = m["largest_ulp"].where(verdict.isin(CERTIFIED))
    sharp = m["share"].where(verdict.isin(CERTIFIED))

    def count(mask: pd.Series) -> pd.Series:
        return mask.groupby(keys, sort=False).sum().astype("int64")

    def over(values: pd.Series, how: str) -> pd.Series:
        return values.groupby(keys, sort=False).agg(how)

    # The first of the largest shares of each group; of missing ones there is none.
    largest = sharp.notna() & (sharp == sharp.groupby(keys, sort=False).transform("max"))
    table = pd.DataFrame(
        {
            "judged": count(judged),
            "conforming": count(verdict == "conforms"),
            "deviating": count((verdict == "deviates") & ~m["known"]),
            "known": count(m["known"]),
            **{v: count(verdict == v) for v in COUNTED},
            "max ulp": over(accurate, "max"),
            "ulp at max share": over(m["error_ulp"].where(largest), "first"),
            "median ulp": over(accurate, "median"),
            "max share": over(m["share"].where(judged), "max"),
            "certified bits": over(certified, "median"),
        }
    )
    return table.rename_axis(index=names)


#: The verdicts that have a column of their own in the summary, beside conforming, deviating and known.
COUNTED = ("lost", "vacuous", "ill-conditioned", "out of range", "singular", "undecided", "unsupported", "crashed")


def hardly_a_pass(uncertified: int, judged: int) -> bool:
    """Whether more than half of what was judged certifies nothing: then no pass may be shown."""
    return 2 * uncertified > judged


def answers(measurements: pd.DataFrame) -> dict[str, dict[str, int]]:
    """By question, how many measurements have which answer, the best first; what none has is left out."""
    m = checked(measurements)
    counts = {question: m[question].value_counts() for question in QUESTIONS}
    return {
        question: {word: int(counts[question][word]) for word in reversed(words) if word in counts[question]}
        for question, words in QUESTIONS.items()
    }


def vacuous_by_scale(measurements: pd.DataFrame) -> pd.DataFrame:
    """dtype × level × family of cases: how many quantities were judged, and of how many the digits are not there.

    Those are counted by why: `vacuous`, `lost` (another program keeps them) and `ill-conditioned` (one rounding of the
    inputs takes them); `fraction` is of the three together. A family is a case's id up to its last "/":
    document/scale-20 for document/scale-20/007. Where nothing was judged the table has no rows.
    """
    m = checked(measurements)
    m = m[m["verdict"].isin(JUDGED)]
    m = m.assign(family=[str(case).rsplit("/", 1)[0] for case in m["case"]])
    keys, names = _keys(m, dtype="dtype", level="level", cases="family")
    counts = {
        verdict: (m["verdict"] == verdict).groupby(keys, sort=False).sum().astype("int64")
        for verdict in ("vacuous", "lost", "ill-conditioned")
    }
    uncertified = m["verdict"].isin(UNCERTIFIED).groupby(keys, sort=False)
    table = pd.DataFrame({"judged": uncertified.size(), **counts, "fraction": uncertified.mean().astype(float)})
    return _ordered(table.rename_axis(index=names), *[()] * (len(names) - 3), DTYPES, LEVELS, ())


def lost(measurements: pd.DataFrame) -> pd.DataFrame:
    """adapter/route × dtype × operator: how many measurements lost their digits, and what would have kept them.

    A row for each accepted form that was run and each program that keeps the digits, as the measurements' reasons name
    it; `worst certified bits` is the smallest number of them. Where nothing is lost the table has no rows.
    """
    m = checked(measurements)
    m = m[m["verdict"] == "lost"]
    texts = {
        "form": m["accepted_form"],
        "kept": pd.Series([kept_by(r) if isinstance(r, str) else None for r in m["reason"]], m.index, dtype=object),
    }
    named = [o if isinstance(o, str) else q for o, q in zip(m["operator"], m["quantity"], strict=True)]
    m = m.assign(named=named, **{name: text.where(text.notna(), "") for name, text in texts.items()})
    keys, names = _keys(
        m, **{"adapter/route": "who", "dtype": "dtype", "operator": "named", "accepted form": "form",
              "what keeps the digits": "kept"}
    )  # fmt: skip
    bits = m["certified_bits"].groupby(keys, sort=False)
    table = pd.DataFrame({"lost": bits.size().astype("int64"), "worst certified bits": bits.min().astype(float)})
    table = _ordered(table.rename_axis(index=names), *[()] * (len(names) - 4), DTYPES, (), (), ())
    return table.reset_index(["accepted form", "what keeps the digits"])


def deviations(measurements: pd.DataFrame) -> pd.DataFrame:
    """What deviates, largest share first; of equal shares, known deviations last."""
    m = checked(measurements)
    m = m[m["verdict"] == "deviates"].sort_values(["share", "known"], ascending=[False, True], kind="stable")
    index = [*(["run"] if "run" in m else []), "case"]
    columns = ["who", "dtype", "level", "quantity", "value", "truth", "error_ulp", "largest_ulp", "allowance", "share",
               "accepted_form", "formula", "execution", "accuracy", "verdict", "cause", "reason"]  # fmt: skip
    named = {"who": "adapter/route", "largest_ulp": "max ulp", "accepted_form": "accepted form", **SHOWN}
    found = m[[*index, *columns]].rename(columns=named)
    return found.set_index(index)


def gradients(measurements: pd.DataFrame, case: str, dtype: str) -> pd.DataFrame:
    """The gradient of one case at one dtype, ∂E_total/∂w1 … in the derivation's order.

    Columns: the truth, to 25 digits, as text; then a group for each adapter/route: its value, its error in ulps, its
    share of the allowance and its verdict. One that crashed or is unsupported there says so as its verdict. Raises
    ValueError for a case or dtype without a measurement.
    """
    return _comparison(_of_point(measurements, case, dtype), "gradient").droplevel("dtype")


def weights(measurements: pd.DataFrame, case: str, dtype: str) -> pd.DataFrame:
    """The updated weights of one case at one dtype, w1 …, with the columns that `gradients` has."""
    return _comparison(_of_point(measurements, case, dtype), "weight").droplevel("dtype")


def every_gradient(measurements: pd.DataFrame) -> pd.DataFrame:
    """Every gradient of every case, a row for each answer: its truth, value, error in ulps, share and verdict.

    The rows are in the order of the measurements. What crashed or is unsupported has a row whose gradient is "*".
    """
    return _every(measurements, "gradient")


def every_weight(measurements: pd.DataFrame) -> pd.DataFrame:
    """Every updated weight of every case, with the columns that `every_gradient` has."""
    return _every(measurements, "weight")


def _every(measurements: pd.DataFrame, name: str) -> pd.DataFrame:
    m = checked(measurements)
    quantity = m["quantity"]
    whole = (m["level"] == "whole").to_numpy() & _wanted(quantity, name)
    failed = ((quantity == "*") & ~m["verdict"].isin(JUDGED)).to_numpy()
    key = [*(["run"] if "run" in m else []), "case", "dtype", "who", "quantity"]
    _refuse_repeated(m[whole], key)
    m = m[whole | failed]
    table = m[[*key, "truth", *SHOWN]].rename(columns={"who": "adapter/route", "quantity": name, **SHOWN})
    table[name] = [q if q == "*" else label(q) for q in table[name]]
    return table.set_index(["adapter/route" if k == "who" else name if k == "quantity" else k for k in key])


def _of_point(measurements: pd.DataFrame, case: str, dtype: str) -> pd.DataFrame:
    m = checked(measurements)
    for column, wanted in (("case", case), ("dtype", dtype)):
        there = list(_in_order(m[column], DTYPES))
        m = m[m[column] == wanted]
        if m.empty:
            listed = f"{', '.join(there[:5])}{f' and {len(there) - 5} more' if len(there) > 5 else ''}"
            of = f" of {case}" if column == "dtype" else ""
            raise ValueError(f"no measurement{of} with {column} {wanted!r}; expected one of {listed}")
    return m


def _comparison(rows: pd.DataFrame, name: str) -> pd.DataFrame:
    """Truth and answers side by side: of one case, its gradient or its weights (`name`)."""
    cells = rows[(rows["level"] == "whole") & _wanted(rows["quantity"], name)]
    index = [*(["run"] if "run" in rows else []), "dtype", "quantity"]
    points = list(zip(*[cells[c] for c in index], strict=True))
    _refuse_repeated(cells, [*index, "who"])

    ranks = [_in_order(cells[c], DTYPES if c == "dtype" else ()) for c in index]
    keys = sorted(set(points), key=lambda key: [rank[k] for rank, k in zip(ranks, key, strict=True)])
    who = list(dict.fromkeys(rows["who"]))
    row_of, column_of = {key: i for i, key in enumerate(keys)}, {w: i for i, w in enumerate(who)}
    at = [row_of[p] for p in points], [column_of[w] for w in cells["who"]]

    shape = len(keys), len(who)
    shown: dict[str, Any] = {}
    for column in SHOWN:
        shown[column] = np.full(shape, None, object) if column == "verdict" else np.full(shape, np.nan)
        shown[column][at] = cells[column].to_numpy()
    for *of, by, verdict in _not_judged(rows, [*index[:-1], "who"]):
        for key, i in row_of.items():
            if list(key[:-1]) == of and shown["verdict"][i, column_of[by]] is None:
                shown["verdict"][i, column_of[by]] = verdict

    labels = [[key[i] for key in keys] for i in range(len(index) - 1)] + [[label(key[-1]) for key in keys]]
    rows_of = pd.MultiIndex.from_arrays([pd.Index(level, dtype=object) for level in labels], names=[*index[:-1], name])
    truth: dict[Any, str] = {}
    for p, t in zip(points, cells["truth"], strict=True):
        if isinstance(t, str):
            truth.setdefault(p, t)
    data = {("truth", ""): pd.Series([truth.get(key) for key in keys], index=rows_of, dtype=object)}
    for i, w in enumerate(who):
        data |= {(w, SHOWN[c]): pd.Series(shown[c][:, i], index=rows_of, dtype=shown[c].dtype) for c in SHOWN}
    return pd.DataFrame(data, index=rows_of)


def _refuse_repeated(cells: pd.DataFrame, key: list[str]) -> None:
    again = cells.duplicated(key)
    if again.any():
        first = cells[again].iloc[0]
        what = " ".join(str(first[c]) for c in dict.fromkeys(("case", *key)))
        advice = "drop the repeated rows, or load several runs together, which tells them apart in a column `run`"
        raise ValueError(f"{what} was measured more than once; expected one measurement; {advice}")


def _not_judged(rows: pd.DataFrame, columns: list[str]) -> list[tuple[str, ...]]:
    """Of what crashed or is unsupported as a whole: `columns`, and which of the two."""
    whole = rows[(rows["quantity"] == "*") & ~rows["verdict"].isin(JUDGED)]
    return list(zip(*[whole[c] for c in (*columns, "verdict")], strict=True))


def _wanted(quantities: pd.Series[str], name: str) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Which quantities are a gradient, or an updated weight (`name`)."""
    return np.array([_is_gradient(q) if name == "gradient" else q.endswith("_new") for q in quantities], dtype=bool)


def _is_gradient(quantity: str) -> bool:
    return quantity.startswith("d") and "/" in quantity


def label(quantity: str) -> str:
    """∂E_total/∂w1 for dE_total/dw1; w1 for w1_new."""
    if "/" in quantity:
        return "/".join("∂" + part.removeprefix("d") for part in quantity.split("/", 1))
    return quantity.removesuffix("_new")
