"""The table that `check` and `train` return: a DataFrame that shows its verdicts, and the report that it comes to."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, NoReturn

import pandas as pd

from gradconform.conformance.command_line.explain import answers
from gradconform.conformance.known import is_known
from gradconform.conformance.run.run_summary import LEFT_OUT, at_fault_first
from gradconform.reference.judge import VERDICTS
from gradconform.reference.measurement import COLUMNS, Measurement, shown_truth

#: What is shown of each row; the columns are all there.
SHOWN = ("route", "dtype", "level", "quantity", "value", "truth", "max_ulp", "share", "verdict")
#: Significant digits of a value that tell it from its neighbours; its truth is shown to two more.
_DIGITS = {"float64": 17, "float32": 9, "float16": 5, "bfloat16": 4}
#: Rows that are shown; of more the first and the last half.
_ROWS = 40
#: What did not conform, in a report: the first ones.
_TOLD = 20


class Measurements(pd.DataFrame):
    """Measurements, a row each, with the columns of a run file.

    It prints its verdicts, values and truths to comparable digits. Any selection of it is a plain DataFrame.

    >>> import gradconform as gc
    >>> rows = gc.check("numpy/complex-step", "document/worked-example", dtype="float32")
    >>> print(rows)  # doctest: +ELLIPSIS +NORMALIZE_WHITESPACE
    numpy on document/worked-example: 17 measurements: conforms 17
           route   dtype level     quantity          value            truth max_ulp   share  verdict
    complex-step float32 whole      E_total    0.242519841    0.24251985998     1.3   0.085 conforms
    ...
    """

    @property
    def _constructor(self) -> Callable[..., pd.DataFrame]:
        return pd.DataFrame

    def __repr__(self) -> str:
        return super().__repr__() if self._foreign() else f"{self._head()}\n{self._shown().to_string(index=False)}"

    def __bool__(self) -> NoReturn:  # type: ignore[misc, unused-ignore]
        """Raises ValueError: a table is neither true nor false."""
        raise ValueError(
            "a table of measurements is neither true nor false: in a test write "
            "gc.assert_conforms(adapter, case, …) in place of assert gc.check(adapter, case, …)"
        )

    def _repr_html_(self) -> str:
        if self._foreign():
            return pd.DataFrame(self).to_html()
        return f"<p>{self._head()}</p>{self._shown().to_html(index=False, border=0)}"

    def _foreign(self) -> bool:
        """Whether somebody took a column away that is shown."""
        return not set(COLUMNS) <= set(self.columns) or self.empty

    def _head(self) -> str:
        counts = Counter(self["verdict"])
        said = ", ".join(f"{v} {counts[v]}" for v in VERDICTS if counts[v])
        adapters, cases = (", ".join(dict.fromkeys(self[c])) for c in ("adapter", "case"))
        return f"{adapters} on {cases}: {len(self)} measurement{'s' * (len(self) != 1)}: {said}"

    def _shown(self) -> pd.DataFrame:
        half = _ROWS // 2
        rows: list[dict[Any, Any]] = self.to_dict("records")
        extra = [c for c in self.columns if c not in COLUMNS]
        columns = [*extra, *SHOWN, *(c for c in ("cause", "reason") if self[c].notna().any())]
        cells = [
            [_cell(row, c) for c in columns] for row in (rows if len(rows) <= _ROWS else rows[:half] + rows[-half:])
        ]
        if len(rows) > _ROWS:
            cells.insert(half, ["…"] * len(columns))
        return pd.DataFrame(cells, columns=columns)


def _cell(row: Mapping[Any, Any], column: str) -> str:
    value = row[column]
    if value is None or (isinstance(value, float) and value != value and column != "value"):
        return ""
    digits = _DIGITS.get(str(row["dtype"]), 17)
    if column == "truth":
        return shown_truth(value, lambda decimal: _cut(decimal, digits + 2))
    if isinstance(value, float):
        return f"{value:.{digits}g}" if column == "value" else f"{value:.3g}"
    text = str(value)
    return text if len(text) <= 80 else f"{text[:79]}…"


def _cut(decimal: str, digits: int) -> str:
    """A decimal to so many digits, also where float64 has no such number."""
    near = float(decimal)
    return f"{near:.{digits}g}" if near and math.isfinite(near) else f"{Decimal(decimal):.{digits}g}"


def not_accepted(rows: pd.DataFrame, accept: tuple[str, ...]) -> list[Measurement]:
    """The measurements that neither conform, have a verdict of `accept`, nor deviate as it is known that they do."""
    found = [Measurement(**{c: _missing(row[c], c) for c in COLUMNS}) for row in rows.to_dict("records")]
    return [m for m in found if m.verdict not in ("conforms", *accept) and not is_known(m)]


def left_out(rows: pd.DataFrame) -> list[str]:
    """Quantities of which an answer gives some and not all: a gradient beside others, an updated weight.

    Of what it gives none, as of updates, it was not asked.
    """
    whole = {q for q, level in zip(rows["quantity"], rows["level"], strict=True) if level == "whole"}
    absent = {
        name
        for reason in rows["reason"].dropna()
        for part in str(reason).split("; ")
        if part.startswith(LEFT_OUT)
        for name in part.removeprefix(LEFT_OUT).split(", ")
    }
    return sorted(name for name in absent if any(_alike(name, q) for q in whole))


def _alike(one: str, other: str) -> bool:
    return one.endswith("_new") == other.endswith("_new") and (one.endswith("_new") or ("/d" in one and "/d" in other))


def _missing(value: Any, column: str) -> Any:
    return None if isinstance(value, float) and value != value and column != "value" else value


def report(rows: pd.DataFrame, wrong: list[Measurement]) -> str:
    """What was found, and what of it is not accepted: for each what was got, what is true, and why."""
    head = Measurements(rows)._head()
    first = at_fault_first(wrong)
    lines = [line for m in first[:_TOLD] for line in _told(m)]
    return "\n".join([head, *lines, *([f"  … and {len(wrong) - _TOLD} more"] if len(wrong) > _TOLD else [])])


def _told(m: Measurement) -> list[str]:
    where = f"  {m.adapter}/{m.route} {m.dtype}"
    if m.quantity == "*":
        return [f"{where}: {m.verdict}: {m.reason}"]
    row = m.row()
    lines = [
        f"{where} {m.quantity} ({m.level}): {m.verdict}; {answers(m)}",
        f"      got {_cell(row, 'value')}, truth {_cell(row, 'truth')}, share {_cell(row, 'share') or 'none'}",
    ]
    return [*lines, *([f"      {m.reason}"] if m.reason else [])]
