"""Two runs compared: what deviates now and did not, what conforms now and did not, what became more or less accurate.

A measurement is found again by its case, adapter, route, dtype, level and quantity. Verdicts are compared one by one.
Accuracy is compared by the median error, in ulp of the truth, of a quantity over a family of cases, because a single
error is partly luck: a program whose operations merely round in another order moves by as much as one rounding.

For the same reason not every row that conformed and certifies nothing now (it is lost, vacuous or ill-conditioned) is a
regression. At the whole level truth and allowances are the case's own, and the answer itself has left the sharper ones.
At the step level they are made of the operands that the framework reported, and other bits of an operand can take all
of a row's certified bits: a product may have become subnormal, where flushing is allowed, or what is left of 1 − t²
another ulp. From one to another of eight routes of PyTorch and JAX, a quantity lost them so (in float16 all 11) in at
most one case of a family of the default catalogue, and at the whole level in none. One such row is told, half of a
family or a large tensor is a regression.

An operator of the catalogue has few cases, and they try its whole domain: its accuracy is the largest error of all of
them. That is luck, too, where digits cancel, and then its share of the allowance, which knows of that, does not grow.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import pandas as pd

from gradconform.reference.measurement import CERTIFIED, PROGRAM, UNCERTIFIED, asked_of, stands_for
from gradconform.reports.tables import checked

#: Less (more) accurate: over at least CASES measurements the median error grew (shrank) by FACTOR, one bit, or more,
#: and by at least ULPS. The error of one correct rounding is spread evenly over [0, 1/2] ulp, and the median of 20 such
#: has a standard deviation of 1/(4·√22) = 0.053 ulp: a quarter of an ulp is more than three times that of the
#: difference of two independent medians, and the same cases in two runs are far from independent.
CASES, FACTOR, ULPS = 20, 2.0, 0.25
#: A tensor with so many components has a median of its own to compare. Its errors are of sums in any order, and spread
#: as they like: the median of 128 numbers of any one-sided bell has a relative standard deviation of about 0.1.
COMPONENTS = 128
#: A known deviation has grown if its share has, by FACTOR, as above, and by this. One allowance is the most that
#: rounding does, so more is no luck; a factor is, of the tiny share of what deviates by its dtype alone.
SHARES = 1.0

#: An operator is less accurate if the largest error of its cases has grown by FACTOR and by this, and the largest
#: share of the allowance by FACTOR and by SHARE: half an ulp is what a rounding more may add.
LARGEST, SHARE = 1.0, 0.25

KEY = ("case", "adapter", "route", "dtype", "level", "quantity")
_ANSWER = ["case", "who", "dtype"]
_GROUP = ("adapter", "route", "dtype", "level", "quantity", "family")
_OF_OPERATOR = ("adapter", "route", "dtype", "operator_new", "of")
#: The verdicts of what has no result.
_UNJUDGED = ("crashed", "undecided", "unsupported")

Kind = Literal[
    "newly deviating",
    "newly a known deviation",
    "larger known deviation",
    "no longer judged",
    "no longer certified",
    "no longer traced",
    "newly uncertified at a step",
    "newly conforming",
    "judged again",
    "other verdict",
]
#: The kinds of change that make a comparison a regression.
REGRESSIONS: tuple[Kind, ...] = (
    "newly deviating", "larger known deviation", "no longer judged", "no longer certified", "no longer traced",
)  # fmt: skip
#: The titles of the parts that exit status 1 stands for.
WORSE = (*REGRESSIONS, "less accurate", "less accurate operators")


@dataclass(frozen=True)
class Change:
    """A measurement with another verdict in NEW, or a known deviation with a larger share.

    `old` is None where only a row for all quantities at once says what became of a case, `new` where an answer that NEW
    has too lacks the step.
    """

    kind: Kind
    case: str
    adapter: str
    route: str
    dtype: str
    level: str | None
    quantity: str
    old: str | None
    new: str | None
    old_share: float | None
    new_share: float | None
    reason: str | None
    cause: str | None = None

    @property
    def why(self) -> str:
        """What is at fault, or the first thing that there is to say of the measurement in NEW."""
        return self.cause or (self.reason or "").partition("; ")[0]


@dataclass(frozen=True)
class Shift:
    """A quantity whose accuracy changed: medians, in ulp, over `over` measurements of a family of cases or, where
    `family` is one case, over as many components."""

    kind: Literal["less accurate", "more accurate"]
    adapter: str
    route: str
    dtype: str
    level: str
    quantity: str
    family: str
    over: int
    old_ulp: float
    new_ulp: float


@dataclass(frozen=True)
class OperatorShift:
    """An operator of the catalogue whose accuracy changed: the largest error, in ulp, and the largest share of the
    allowance over so many cases that both runs certify. `of` is what was asked."""

    kind: Literal["less accurate", "more accurate"]
    adapter: str
    route: str
    dtype: str
    operator: str
    of: str
    over: int
    old_ulp: float
    new_ulp: float
    old_share: float
    new_share: float


@dataclass(frozen=True)
class Comparison:
    """What is different in NEW; `gone` and `new` count what one run alone holds, by route and dtype.

    `moved` counts, by route and dtype, what has another value and the same verdict: other bits, within the allowance.
    """

    compared: int
    changes: tuple[Change, ...]
    shifts: tuple[Shift, ...]
    gone: Mapping[str, int]
    new: Mapping[str, int]
    moved: Mapping[str, int]
    operators: tuple[OperatorShift, ...] = ()

    @property
    def regressions(self) -> int:
        """Changes for the worse: what exit status 1 stands for."""
        worse = sum(change.kind in REGRESSIONS for change in self.changes)
        kinds = [*(s.kind for s in self.shifts), *(s.kind for s in self.operators)]
        return worse + kinds.count("less accurate")

    @property
    def empty(self) -> bool:
        return not (self.changes or self.shifts or self.operators or self.gone or self.new or self.moved)


def compare(old: pd.DataFrame, new: pd.DataFrame) -> Comparison:
    """Compare two runs' measurements. Raises ValueError for what is no run, and for a measurement that comes twice."""
    before, after = _keyed(old, "OLD"), _keyed(new, "NEW")
    both = before.merge(after, on=list(KEY), suffixes=("_old", "_new"))
    # An inner merge of unique keys; what is missing of either is what the other alone holds.
    shared = pd.MultiIndex.from_frame(both[list(KEY)])
    gone = before[~pd.MultiIndex.from_frame(before[list(KEY)]).isin(shared)]
    added = after[~pd.MultiIndex.from_frame(after[list(KEY)]).isin(shared)]
    both = both.assign(family=[case.rpartition("/")[0] + "/*" for case in both["case"]])
    changes = [*_changes(both), *_untraced(before, after, gone), *_crashes(before, added)]
    alone = (_counted(gone), _counted(added), _counted(_moved(both)))
    return Comparison(len(both), tuple(changes), tuple(_shifts(both)), *alone, tuple(_operators(both)))


def _keyed(measurements: pd.DataFrame, name: str) -> pd.DataFrame:
    table = checked(measurements)
    table = table.assign(level=table["level"].where(table["level"].notna(), ""))
    twice = table.duplicated(list(KEY))
    if twice.any():
        first = table.loc[twice, list(KEY)].iloc[0]
        raise ValueError(f"{name} has a measurement twice: {' '.join(first)}; compare one run with one run")
    return table


def _changes(both: pd.DataFrame) -> Iterator[Change]:
    both = both.assign(grown=_grown(both), uncertified=_uncertified(both))
    different = (both["verdict_old"] != both["verdict_new"]) | (both["known_old"] != both["known_new"]) | both["grown"]
    for row in _records(both[different]):
        yield _change(row, _kind(row), row["verdict_old"], row["verdict_new"], row["reason_new"], row["cause_new"])


def _grown(both: pd.DataFrame) -> pd.Series:
    """The known deviations of both runs that are further off than in OLD."""
    old, new = both["share_old"], both["share_new"]
    return both["known_old"] & both["known_new"] & (new >= FACTOR * old) & (new - old >= SHARES)


def _uncertified(both: pd.DataFrame) -> pd.Series:
    """What conformed and says nothing any more, where that is not luck.

    An infinity or NaN in the place of a number never is, nor is a derivative that does not exist any more. At the step
    level what is exact, with an allowance of 0, has no certified bits to lose; and other bits take the digits neither
    of a large tensor nor of half of what a family of cases had certified, less what is newly certified there.
    """
    conformed, uncertified = both["verdict_old"] == "conforms", both["verdict_new"].isin(UNCERTIFIED)
    groups = [both[name] for name in _GROUP]

    def count(rows: pd.Series) -> pd.Series:
        return rows.groupby(groups).transform("sum")

    certified = conformed & both["certified_bits_old"].notna()
    gained = (
        both["verdict_old"].isin(UNCERTIFIED) & (both["verdict_new"] == "conforms") & both["certified_bits_new"].notna()
    )
    had, lost = count(certified), count(certified & uncertified) - count(gained)
    large = both[["elements_old", "elements_new"]].min(axis=1) >= COMPONENTS
    no_luck = (both["level"] == "whole") | (certified & (large | ((had >= CASES) & (2 * lost >= had))))
    return conformed & (both["verdict_new"].isin(("out of range", "singular")) | (uncertified & no_luck))


def _kind(row: Mapping[str, Any]) -> Kind:
    old, new = row["verdict_old"], row["verdict_new"]
    if new == "deviates":
        if row["known_new"]:
            return "larger known deviation" if row["known_old"] else "newly a known deviation"
        return "newly deviating"
    if new in _UNJUDGED:
        return "other verdict" if old in _UNJUDGED else "no longer judged"
    if row["uncertified"]:
        return "no longer certified"
    if old == "conforms":
        return "newly uncertified at a step"
    if old == "deviates" and new == "conforms":
        return "newly conforming"
    return "judged again" if old in _UNJUDGED else "other verdict"


def _untraced(before: pd.DataFrame, after: pd.DataFrame, gone: pd.DataFrame) -> Iterator[Change]:
    """Steps of answers of which NEW judges fewer than OLD, and of which it has the same quantities as a whole.

    Other quantities as a whole are those of another case with the same name; as many steps have other names.
    """
    old, new = _by_answer(before), _by_answer(after)
    for row in _records(gone[gone["level"] == "step"]):
        answer = tuple(row[name] for name in _ANSWER)
        if answer in new:
            (whole, steps), (whole_now, steps_now) = old[answer], new[answer]
            if whole == whole_now and len(steps_now) < len(steps):
                yield _change({**row, "share_old": row["share"]}, "no longer traced", row["verdict"], None, None)


def _by_answer(run: pd.DataFrame) -> dict[tuple[str, ...], tuple[set[str], set[str]]]:
    """Of each answer, by case, adapter/route and dtype, the quantities of its whole level and of its steps."""
    found: dict[tuple[str, ...], tuple[set[str], set[str]]] = defaultdict(lambda: (set(), set()))
    answered = run[run["quantity"] != "*"]
    for *of, level, quantity in answered[[*_ANSWER, "level", "quantity"]].itertuples(index=False, name=None):
        found[tuple(of)][level == "step"].add(quantity)
    return found


def _crashes(before: pd.DataFrame, added: pd.DataFrame) -> Iterator[Change]:
    """What a route answered in OLD and of which NEW says only, for all quantities at once, why it has none.

    Those are all of a case, or of a user's function all in one mode.
    """
    answered: dict[tuple[str, ...], set[str]] = defaultdict(set)
    for *of, quantity in before[[*_ANSWER, "quantity"]].itertuples(index=False, name=None):
        if stands_for(quantity) is None:
            answered[tuple(of)].add(quantity)
    for row in _records(added):
        begins = stands_for(row["quantity"])
        old = answered.get(tuple(row[name] for name in _ANSWER), ())
        if begins is not None and any(q.startswith(begins) for q in old):
            yield _change(row, "no longer judged", None, row["verdict"], row["reason"])


def _change(
    row: Mapping[str, Any], kind: Kind, old: str | None, new: str | None, reason: Any, cause: Any = None
) -> Change:
    return Change(
        kind, row["case"], row["adapter"], row["route"], row["dtype"], row["level"] or None, row["quantity"], old, new,
        _number(row.get("share_old")), _number(row.get("share_new")),
        *(text if isinstance(text, str) else None for text in (reason, cause)),
    )  # fmt: skip


def _records(rows: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(name): value for name, value in row.items()} for row in rows.to_dict("records")]


def _number(x: Any) -> float | None:
    return None if x is None or math.isnan(x) else float(x)


def _moved(both: pd.DataFrame) -> pd.DataFrame:
    """What has other bits and the same verdict."""
    old, new = both["value_old"], both["value_new"]
    other = (old != new) & ~(old.isna() & new.isna()) & (both["verdict_old"] == both["verdict_new"])
    return both[other].rename(columns={"who_new": "who"})


def _shifts(both: pd.DataFrame) -> Iterator[Shift]:
    judged = both["verdict_old"].isin(CERTIFIED) & both["verdict_new"].isin(CERTIFIED)
    # The largest error against the largest; a run of schema 1 has only that of the largest share.
    have = both["max_ulp_old"].notna() & both["max_ulp_new"].notna()
    old_ulp, new_ulp = (both[f"max_ulp_{run}"].where(have, both[f"error_ulp_{run}"]) for run in ("old", "new"))
    table = both.assign(ulp_old=old_ulp, ulp_new=new_ulp)[judged & old_ulp.notna() & new_ulp.notna()]
    for _, group in table.groupby(list(_GROUP), sort=False):
        if len(group) >= CASES:
            old, new = float(group["ulp_old"].median()), float(group["ulp_new"].median())
            yield from _shift(group.iloc[0].to_dict(), len(group), old, new)
    elements = table[["elements_old", "elements_new"]].min(axis=1)
    medians = table["median_ulp_old"].notna() & table["median_ulp_new"].notna()
    for row in _records(table[(elements >= COMPONENTS) & medians]):
        where = {**row, "family": row["case"]}
        yield from _shift(where, int(row["elements_new"]), row["median_ulp_old"], row["median_ulp_new"])


def _shift(of: Mapping[Any, Any], over: int, old: float, new: float) -> Iterator[Shift]:
    least, most = min(old, new), max(old, new)
    if most >= FACTOR * least and most - least >= ULPS:
        kind: Literal["less accurate", "more accurate"] = "less accurate" if new > old else "more accurate"
        adapter, route, dtype, level, quantity, family = (str(of[name]) for name in _GROUP)
        yield Shift(kind, adapter, route, dtype, level, quantity, family, over, old, new)


def _operators(both: pd.DataFrame) -> Iterator[OperatorShift]:
    certified = both["verdict_old"].isin(CERTIFIED) & both["verdict_new"].isin(CERTIFIED)
    numbers = [f"{name}_{run}" for name in ("max_ulp", "share") for run in ("old", "new")]
    catalogue = both["case"].str.startswith(PROGRAM) & (both["level"] == "whole") & both["operator_new"].notna()
    table = both[certified & catalogue & both[numbers].notna().all(axis=1)]
    table = table.assign(of=[asked_of(quantity) for quantity in table["quantity"]])
    for _, group in table.groupby(list(_OF_OPERATOR), sort=False):
        ulps, shares = (group[[f"{name}_old", f"{name}_new"]].max() for name in ("max_ulp", "share"))
        (old, new), (old_share, new_share) = map(float, ulps), map(float, shares)
        sign = 1 if new > old else -1
        grown = [
            max(a, b) >= FACTOR * min(a, b) and sign * (b - a) >= least
            for a, b, least in ((old, new, LARGEST), (old_share, new_share, SHARE))
        ]
        if all(grown):
            kind: Literal["less accurate", "more accurate"] = "less accurate" if new > old else "more accurate"
            adapter, route, dtype, operator, of = (str(group.iloc[0][name]) for name in _OF_OPERATOR)
            numbers_of = (len(group), old, new, old_share, new_share)
            yield OperatorShift(kind, adapter, route, dtype, operator, of, *numbers_of)


def _counted(rows: pd.DataFrame) -> dict[str, int]:
    return dict(Counter(f"{who} {dtype}" for who, dtype in zip(rows["who"], rows["dtype"], strict=True)))


# What people and machines read ---------------------------------------------------------------------------------------


def thresholds() -> str:
    """In words, when a quantity is called less or more accurate."""
    return (
        f"less or more accurate: a median error, over {CASES} or more cases or {COMPONENTS} or more components, that "
        f"changed by a factor of {FACTOR:g} or more and by {ULPS:g} ulp or more; of an operator the largest error, by "
        f"{FACTOR:g} and {LARGEST:g} ulp, with its largest share of the allowance, by {FACTOR:g} and {SHARE:g}"
    )


def as_json(comparison: Comparison, old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """The comparison as plain data, with the thresholds and, of either run's header, what it was made with."""
    return {
        "old": _made_with(old), "new": _made_with(new), "regressions": comparison.regressions,
        "thresholds": {"cases": CASES, "components": COMPONENTS, "factor": FACTOR, "ulps": ULPS, "shares": SHARES,
                       "largest": LARGEST, "share": SHARE},
        "compared": comparison.compared,
        "changes": [_plain(asdict(c)) for c in comparison.changes],
        "shifts": [_plain(asdict(s)) for s in comparison.shifts],
        "operators": [_plain(asdict(s)) for s in comparison.operators],
        "gone": dict(comparison.gone), "new_measurements": dict(comparison.new), "moved": dict(comparison.moved),
    }  # fmt: skip


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    """JSON has no infinities: they are text, as in a run file."""
    return {k: str(v) if isinstance(v, float) and not math.isfinite(v) else v for k, v in values.items()}


def _made_with(header: Mapping[str, Any]) -> dict[str, Any]:
    return {k: header.get(k) for k in ("suite_version", "frameworks", "device", "profile", "platform")}


def versions(header: Mapping[str, Any]) -> str:
    """The frameworks of a run, such as "jax 0.10.2, jaxlib 0.10.2"."""
    found = header.get("frameworks")
    named = [of for of in found.values() if isinstance(of, dict)] if isinstance(found, dict) else []
    return ", ".join(f"{name} {version}" for of in named for name, version in of.items()) or "no framework named"


def sections(comparison: Comparison) -> Iterator[tuple[str, tuple[str, ...], list[tuple[str, ...]]]]:
    """Title, headings and rows of every part of a comparison that has something to say."""
    kinds = dict.fromkeys([*REGRESSIONS, *(c.kind for c in comparison.changes)])
    for kind in kinds:
        changes = [c for c in comparison.changes if c.kind == kind]
        headings = ("route", "dtype", "case", "quantity", "level", "verdict", "share")
        if any(c.why for c in changes):
            yield kind, (*headings, "why"), [(*_changed(c), c.why) for c in changes]
        elif changes:
            yield kind, headings, [_changed(c) for c in changes]
    for title in ("less accurate", "more accurate"):
        rows = [_shifted(s) for s in comparison.shifts if s.kind == title]
        if rows:
            yield title, ("route", "dtype", "cases", "quantity", "level", "median ulp", "of"), rows
    for title in ("less accurate", "more accurate"):
        rows = [_operator(s) for s in comparison.operators if s.kind == title]
        if rows:
            yield f"{title} operators", ("route", "dtype", "operator", "of", "cases", "largest ulp", "share"), rows
    alone = (("gone", comparison.gone), ("new", comparison.new), ("other bits, same verdict", comparison.moved))
    for title, counts in alone:
        if counts:
            yield title, ("route and dtype", "measurements"), [(k, f"{n:,}") for k, n in counts.items()]


def _changed(c: Change) -> tuple[str, ...]:
    share = " → ".join("–" if s is None else f"{s:.3g}" for s in (c.old_share, c.new_share))
    return (
        f"{c.adapter}/{c.route}",
        c.dtype,
        c.case,
        c.quantity,
        c.level or "–",
        f"{c.old or '–'} → {c.new or '–'}",
        share,
    )


def _shifted(s: Shift) -> tuple[str, ...]:
    medians = f"{s.old_ulp:.3g} → {s.new_ulp:.3g}"
    return f"{s.adapter}/{s.route}", s.dtype, s.family, s.quantity, s.level, medians, str(s.over)


def _operator(s: OperatorShift) -> tuple[str, ...]:
    ulps, shares = f"{s.old_ulp:.3g} → {s.new_ulp:.3g}", f"{s.old_share:.3g} → {s.new_share:.3g}"
    return f"{s.adapter}/{s.route}", s.dtype, s.operator, s.of, str(s.over), ulps, shares


def closing(comparison: Comparison) -> str:
    """One line: what was compared, and how much of it is worse."""
    if not comparison.compared and not comparison.regressions:
        return f"nothing was compared: OLD and NEW share no case, route, dtype and quantity{_apart(comparison)}"
    if comparison.empty:
        return f"compared {comparison.compared:,} measurements: no difference"
    worse = comparison.regressions
    return f"compared {comparison.compared:,} measurements: {worse:,} regression{'s' if worse != 1 else ''}"


def _apart(comparison: Comparison) -> str:
    """In what two runs have nothing in common: in their dtypes, or in their routes."""
    for place, what in ((2, "dtype"), (0, "route")):
        old, new = ({of.rpartition(" ")[place] for of in names} for names in (comparison.gone, comparison.new))
        if old and new and old.isdisjoint(new):
            return f"; OLD has {', '.join(sorted(old))} and NEW {', '.join(sorted(new))}: run both with the same {what}"
    return ""


def markdown(comparison: Comparison, old: Mapping[str, Any], new: Mapping[str, Any], most: int = 30) -> str:
    """The comparison as Markdown; of a part with more than `most` rows the first ones, and how many there are."""
    lines = [f"**{versions(old)} → {versions(new)}**: {closing(comparison)}", ""]
    for title, headings, rows in sections(comparison):
        lines += [f"### {title.capitalize()} ({len(rows):,})", "", _row(headings), _row("---" for _ in headings)]
        lines += [_row(row) for row in rows[:most]]
        lines += [f"… and {len(rows) - most:,} more", ""] if len(rows) > most else [""]
    return "\n".join([*lines, f"({thresholds()})", ""])


def _row(cells: Iterable[str]) -> str:
    return "| " + " | ".join(_escaped(cell) for cell in cells) + " |"


def _escaped(text: str) -> str:
    """Text that Markdown and HTML take literally, on one line."""
    return " ".join(text.translate(_SIGNS).split())


_SIGNS = {ord(sign): f"&#{ord(sign)};" for sign in "\\`*|<>[]&"}
