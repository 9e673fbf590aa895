"""The tables, counted again by other means."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from importlib.util import find_spec
from statistics import median
from typing import Any

import pandas as pd
import pytest

from gradconform.adapters import on_numpy
from gradconform.conformance.cases.catalogue import catalogue
from gradconform.conformance.check import check_route
from gradconform.conformance.run.run_file import frame
from gradconform.reference.cases import point
from gradconform.reference.measurement import COLUMNS, Measurement
from gradconform.reports import tables

CASES = ("document/worked-example", "document/scale-20/000", "document/overflow/loss")
#: The one route here that reports a trace; without PyTorch a row by hand stands for the step level.
WITH_TORCH = find_spec("torch") is not None
#: Not in the tables' order.
DTYPES = ("float16", "float64", "float32")
KNOWN = Measurement(
    "document/worked-example", "mine", "eager", "float32", "whole", "dE_total/dw1", 1,
    value=math.inf, truth="1.5", error_ulp=math.inf, share=math.inf, verdict="deviates", reason="known:planted; why",
)  # fmt: skip
STEP = replace(
    KNOWN, level="step", quantity="h1", value=0.5, error_ulp=0.25, share=0.5, certified_bits=9.0, verdict="conforms",
    reason=None,
)  # fmt: skip
DEVIATING = replace(KNOWN, quantity="dE_total/dw2", value=1.25, error_ulp=7.0, share=3.0, reason=None)
LOST = replace(
    KNOWN, level="step", quantity="dE_total/dh1", operator="sigmoid", accepted_form="a(1 − a)", value=0.0,
    truth="4e-18", error_ulp=5e15, share=0.0, certified_bits=-1.5, formula="right", execution="within",
    accuracy="lost", verdict="lost", reason="lost: σ(z)σ(−z)",
)  # fmt: skip
ILL = replace(LOST, quantity="dE_total/dh2", accuracy="ill-conditioned", verdict="ill-conditioned", reason=None)
SINGULAR = replace(
    LOST, quantity="dE_total/da_h1", truth=None, error_ulp=None, share=None, certified_bits=None, formula="singular",
    execution="within", accuracy=None, verdict="singular", reason=None,
)  # fmt: skip
OUT_OF_RANGE = replace(
    KNOWN, quantity="dE_total/dw3", value=math.nan, truth=None, error_ulp=None, share=None, verdict="out of range",
    reason=None,
)  # fmt: skip
CRASHED = replace(
    KNOWN, case=CASES[1], level=None, quantity="*", elements=0, value=None, truth=None, error_ulp=None, share=None,
    verdict="crashed", reason="exception: ValueError: no",
)  # fmt: skip


def framed(*measurements: Measurement) -> pd.DataFrame:
    return frame([m.row() for m in measurements])


@pytest.fixture(scope="session")
def measurements() -> pd.DataFrame:
    """NumPy's routes and torch/eager on three cases, some of them unsupported in float16, and rows by hand."""
    routes: list[tuple[Any, Any]] = [(on_numpy.adapter, r) for r in on_numpy.adapter.routes]
    if WITH_TORCH:
        from gradconform.adapters import on_torch

        routes += [(on_torch.adapter, r) for r in on_torch.adapter.routes if r.name == "eager"]
    judged = [
        m
        for case in CASES
        for dtype in DTYPES
        for adapter, route in routes
        for m in check_route(adapter, route, point(catalogue()[case], dtype), "opencl")
    ]
    return framed(*judged, STEP, KNOWN, DEVIATING, OUT_OF_RANGE, CRASHED, LOST, ILL, SINGULAR)


def records_of(measurements: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(k): v for k, v in r.items()} for r in measurements.to_dict("records")]


def summary_by_hand(records: list[dict[str, Any]]) -> dict[str, Any]:
    """One row of the summary, in plain Python."""
    verdicts = Counter(r["verdict"] for r in records)
    known = sum(r["verdict"] == "deviates" and str(r["reason"]).startswith("known:") for r in records)
    judged = [r for r in records if r["verdict"] not in ("unsupported", "crashed")]
    accurate = [r for r in judged if r["verdict"] in ("conforms", "deviates")]
    largest = [r["error_ulp"] if math.isnan(r["max_ulp"]) else r["max_ulp"] for r in accurate]
    ulps = [u for u in largest if not math.isnan(u)]
    sharp = max((r for r in accurate if not math.isnan(r["share"])), key=lambda r: r["share"], default=None)
    shares = [r["share"] for r in judged if not math.isnan(r["share"])]
    certified = [r["certified_bits"] for r in judged if r["verdict"] == "conforms"]
    finite = [c for c in certified if math.isfinite(c)]
    return {
        "judged": len(judged),
        "conforming": verdicts["conforms"],
        "deviating": verdicts["deviates"] - known,
        "known": known,
        **{
            v: verdicts[v]
            for v in (
                "lost",
                "vacuous",
                "ill-conditioned",
                "out of range",
                "singular",
                "undecided",
                "unsupported",
                "crashed",
            )
        },
        "max ulp": max(ulps, default=math.nan),
        "ulp at max share": sharp["error_ulp"] if sharp else math.nan,
        "median ulp": median(ulps) if ulps else math.nan,
        "max share": max(shares, default=math.nan),
        "certified bits": median(finite) if finite else math.nan,
    }


def assert_same(row: pd.Series, expected: dict[str, Any]) -> None:
    assert list(row.index) == list(expected)
    for name, value in expected.items():
        assert row[name] == pytest.approx(value, rel=1e-12, nan_ok=True), name


def test_the_fixture_has_every_verdict_that_the_tables_tell_apart(measurements: pd.DataFrame) -> None:
    there = {*measurements["verdict"]}
    assert {"conforms", "deviates", "vacuous", "out of range", "unsupported", "crashed"} <= there
    assert {"lost", "ill-conditioned", "singular"} <= there


def test_the_summary_counts_what_is_there(measurements: pd.DataFrame) -> None:
    table, records = tables.summary(measurements), records_of(measurements)
    assert table.index.names == ["adapter/route", "dtype"]
    for key, row in table.iterrows():
        of = [r for r in records if (f"{r['adapter']}/{r['route']}", r["dtype"]) == key]
        assert of, key
        assert_same(row, summary_by_hand(of))
    assert table[["judged", "unsupported", "crashed"]].to_numpy().sum() == len(records)


def test_the_summary_has_routes_as_they_come_and_dtypes_widest_first(measurements: pd.DataFrame) -> None:
    who = [f"numpy/{r.name}" for r in on_numpy.adapter.routes] + ["torch/eager"] * WITH_TORCH
    expected = [(w, d) for w in who for d in ("float64", "float32", "float16")]
    assert tables.summary(measurements).index.tolist() == [*expected, ("mine/eager", "float32")]


def test_the_summary_by_level_adds_up_to_the_summary(measurements: pd.DataFrame) -> None:
    by_level, whole = tables.summary_by_level(measurements), tables.summary(measurements)
    records = records_of(measurements)
    for key, row in by_level.iterrows():
        of = [r for r in records if (f"{r['adapter']}/{r['route']}", r["dtype"], r["level"] or "*") == key]
        assert of, key
        assert_same(row, summary_by_hand(of))
    counts = list(whole.columns[:12])
    assert counts[-1] == "crashed"
    assert by_level[counts].groupby(level=[0, 1], sort=False).sum().equals(whole[counts])
    assert [level for who, _, level in by_level.index if who == "mine/eager"] == ["whole", "step", "*"]


def test_a_known_deviation_is_counted_apart_and_an_infinite_distance_is_the_largest(measurements: pd.DataFrame) -> None:
    row: Any = tables.summary(measurements).loc[("mine/eager", "float32")]
    assert (row["deviating"], row["known"], row["crashed"], row["judged"]) == (1, 1, 1, 7)
    assert (row["lost"], row["ill-conditioned"], row["singular"]) == (1, 1, 1)
    assert row["max ulp"] == row["max share"] == math.inf
    assert row["certified bits"] == 9, "of what conforms"


def test_a_verdict_with_a_known_reason_that_does_not_deviate_is_not_known() -> None:
    row = tables.summary(framed(replace(KNOWN, verdict="conforms"))).iloc[0]
    assert (row["conforming"], row["known"], row["deviating"]) == (1, 0, 0)


def test_vacuous_quantities_are_counted_by_dtype_level_and_family(measurements: pd.DataFrame) -> None:
    table = tables.vacuous_by_scale(measurements)
    judged = [r for r in records_of(measurements) if r["verdict"] not in ("unsupported", "crashed")]
    where = [(r["dtype"], r["level"], r["case"].rpartition("/")[0]) for r in judged]
    keys = Counter(where)
    vacuous = Counter(key for key, r in zip(where, judged, strict=True) if r["verdict"] == "vacuous")
    assert table["judged"].to_dict() == dict(keys)
    assert table["vacuous"].to_dict() == {k: vacuous[k] for k in keys}
    for word in ("lost", "ill-conditioned"):
        counted = Counter(key for key, r in zip(where, judged, strict=True) if r["verdict"] == word)
        assert table[word].to_dict() == {k: counted[k] for k in keys}
        assert table[word].sum() > 0
    together = table[["vacuous", "lost", "ill-conditioned"]].sum(axis=1)
    assert table["fraction"].tolist() == pytest.approx((together / table["judged"]).tolist())
    assert vacuous["float32", "whole", "document/scale-20"] > 0
    assert table.index.names == ["dtype", "level", "cases"]
    assert list(dict.fromkeys(table.index.get_level_values("dtype"))) == ["float64", "float32", "float16"]


def test_the_largest_error_of_a_tensor_is_the_max_ulp_and_that_of_the_largest_share_has_a_name_of_its_own() -> None:
    tensor = replace(STEP, elements=9, error_ulp=0.25, max_ulp=7.0, share=0.9)
    row = tables.summary(framed(tensor, replace(tensor, quantity="h2", error_ulp=2.0, max_ulp=3.0, share=0.1))).iloc[0]
    assert (row["max ulp"], row["median ulp"], row["ulp at max share"]) == (7.0, 5.0, 0.25)


def test_an_error_in_ulps_of_what_is_not_certified_is_no_largest_one() -> None:
    row = tables.summary(framed(STEP, LOST, ILL)).iloc[0]
    assert (row["max ulp"], row["ulp at max share"]) == (0.25, 0.25)
    row = tables.summary(framed(LOST)).iloc[0]
    assert math.isnan(row["max ulp"])
    assert math.isnan(row["ulp at max share"])


def test_what_is_lost_is_counted_by_operator_and_program_with_what_keeps_the_digits() -> None:
    worse = replace(LOST, quantity="dE_total/dh2", certified_bits=-40.0)
    unstable = replace(LOST, quantity="E1", operator="E", accepted_form="log(1 − a)", reason="traced; unstable: logits")
    table = tables.lost(framed(LOST, ILL, worse, unstable, replace(LOST, dtype="float64"), CRASHED))
    assert table.index.names == ["adapter/route", "dtype", "operator"]
    assert table.reset_index().to_numpy().tolist() == [
        ["mine/eager", "float64", "sigmoid", "a(1 − a)", "σ(z)σ(−z)", 1, -1.5],
        ["mine/eager", "float32", "sigmoid", "a(1 − a)", "σ(z)σ(−z)", 2, -40.0],
        ["mine/eager", "float32", "E", "log(1 − a)", "logits", 1, -1.5],
    ]


def test_an_operator_s_value_and_its_derivative_have_an_accuracy_each() -> None:
    right = replace(LOST, level="step", verdict="conforms", elements=4, error_ulp=0.1)
    rows = [
        replace(right, quantity="dE/dz1", max_ulp=1.76),
        replace(right, quantity="dE/dz2", max_ulp=0.5),
        replace(right, quantity="dE/dz3", max_ulp=1e15, verdict="lost"),
        replace(right, quantity="a1", max_ulp=1.4),
        replace(right, quantity="dE/dz1", level="whole", max_ulp=90.0),
        replace(right, quantity="dE/dz9", operator=None, max_ulp=90.0),
    ]
    table = tables.by_operator(framed(*rows, CRASHED))
    assert table.index.names == ["operator", "of", "adapter/route", "dtype"]
    wanted = ["judged", "conforming", "lost", "max ulp", "median ulp"]
    assert table[wanted].reset_index().to_numpy().tolist() == [
        ["sigmoid", "value", "mine/eager", "float32", 1, 1, 0, 1.4, 1.4],
        ["sigmoid", "derivative", "mine/eager", "float32", 3, 2, 1, 1.76, 1.13],
    ]
    assert tables.by_operator(framed(CRASHED)).empty


def test_an_operator_of_the_catalogue_has_its_accuracy_over_all_of_its_cases() -> None:
    def of(case: str, quantity: str, max_ulp: float, **more: Any) -> Measurement:
        return Measurement(
            f"program/operator/sinc/{case}/0a1b2c3d", "torch", "eager", "float32", "whole", quantity, 8,
            value=1.0, truth="1", max_ulp=max_ulp, share=0.5, operator="sinc", **{"verdict": "conforms", **more},
        )  # fmt: skip

    table = tables.by_operator(framed(
        of("ordinary", "value of output", 0.5), of("small", "value of output", 2.0),
        of("small", "d/dx", 9.0, verdict="deviates"), of("ordinary", "d/dx, of the gradient of sinc", 4.0),
    ))  # fmt: skip
    assert [(name[0], name[1]) for name in table.index] == [
        ("sinc", "value"), ("sinc", "derivative"), ("sinc", "second derivative")]  # fmt: skip
    assert table["max ulp"].tolist() == [2.0, 9.0, 4.0]
    assert table["deviating"].tolist() == [0, 1, 0]


def test_where_nothing_is_lost_the_table_of_it_is_empty() -> None:
    table = tables.lost(framed(ILL, KNOWN))
    assert table.empty
    assert list(table) == ["accepted form", "what keeps the digits", "lost", "worst certified bits"]


def test_the_answers_to_the_three_questions_are_counted_the_best_first() -> None:
    right = replace(STEP, formula="right", execution="within", accuracy="certified")
    assert tables.answers(framed(LOST, SINGULAR, right, KNOWN)) == {
        "formula": {"right": 2, "singular": 1},
        "execution": {"within": 3},
        "accuracy": {"certified": 1, "lost": 1},
    }
    assert list(tables.answers(framed(LOST, right))["accuracy"]) == ["certified", "lost"]


def test_where_nothing_was_judged_nothing_is_vacuous() -> None:
    assert tables.vacuous_by_scale(framed(CRASHED)).empty


def test_deviations_come_with_the_largest_share_first_and_known_ones_after_their_equals(
    measurements: pd.DataFrame,
) -> None:
    infinite = replace(DEVIATING, quantity="dE_total/dw3", share=math.inf)
    table = tables.deviations(pd.concat([measurements, framed(infinite)], ignore_index=True))
    assert len(table) == (measurements["verdict"] == "deviates").sum() + 1
    assert table["share"].is_monotonic_decreasing
    mine = table[table["adapter/route"] == "mine/eager"]
    assert mine["quantity"].tolist() == ["dE_total/dw3", "dE_total/dw1", "dE_total/dw2"]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", CASES)
def test_every_answer_stands_beside_its_truth(measurements: pd.DataFrame, case: str, dtype: str) -> None:
    found = {
        **{f"dE_total/dw{i}": (tables.gradients, f"∂E_total/∂w{i}") for i in range(1, 9)},
        **{f"w{i}_new": (tables.weights, f"w{i}") for i in range(1, 9)},
    }
    of = [r for r in records_of(measurements) if (r["case"], r["dtype"], r["level"]) == (case, dtype, "whole")]
    expected = [r for r in of if r["quantity"] in found]
    assert len(expected) == 16 * len({(r["adapter"], r["route"]) for r in expected if r["adapter"] != "mine"}) + 3 * (
        case == CASES[0] and dtype == "float32"
    )
    built = {make: make(measurements, case, dtype) for make in (tables.gradients, tables.weights)}
    for r in expected:
        make, label = found[r["quantity"]]
        if r["adapter"] != "mine" and r["truth"] is not None:
            assert built[make].loc[label, ("truth", "")] == r["truth"]
        shown: Any = built[make].loc[label, f"{r['adapter']}/{r['route']}"]
        assert shown.index.tolist() == ["value", "error (ulp)", "share", "verdict"]
        for got, want in zip(shown, (r["value"], r["error_ulp"], r["share"], r["verdict"]), strict=True):
            assert got == want or (math.isnan(got) and math.isnan(want))


def test_rows_are_in_the_derivations_order(measurements: pd.DataFrame) -> None:
    for dtype in DTYPES:
        table = tables.gradients(measurements, CASES[0], dtype)
        assert table.index.tolist() == [f"∂E_total/∂w{i}" for i in range(1, 9)]
        assert table.index.name == "gradient"
        assert tables.weights(measurements, CASES[0], dtype).index.tolist() == [f"w{i}" for i in range(1, 9)]


def test_a_route_that_crashed_or_is_unsupported_says_so_as_its_verdict(measurements: pd.DataFrame) -> None:
    crashed = tables.gradients(measurements, CASES[1], "float32")[("mine/eager", "verdict")]
    assert crashed.tolist() == ["crashed"] * 8
    unsupported = tables.weights(measurements, CASES[1], "float16")["numpy/complex-step"]
    assert unsupported["verdict"].tolist() == ["unsupported"] * 8
    assert unsupported["value"].isna().all()


def test_what_a_route_left_out_is_missing(measurements: pd.DataFrame) -> None:
    mine = tables.gradients(measurements, CASES[0], "float32")["mine/eager"]
    assert mine["verdict"].tolist() == ["deviates", "deviates", "out of range"] + [None] * 5


def test_a_case_where_everything_crashed_has_an_empty_comparison() -> None:
    table = tables.gradients(framed(CRASHED), CASES[1], "float32")
    assert table.empty
    assert ("mine/eager", "verdict") in table.columns


@pytest.mark.parametrize(
    ("every", "one"), [(tables.every_gradient, tables.gradients), (tables.every_weight, tables.weights)]
)
def test_every_answer_of_a_case_stands_in_the_long_table_as_in_that_of_its_case(
    measurements: pd.DataFrame, every: Any, one: Any
) -> None:
    found = every(measurements).reset_index()
    name = {tables.gradients: "gradient", tables.weights: "weight"}[one]
    seen = 0
    for (case, dtype, who), rows in found[found[name] != "*"].groupby(["case", "dtype", "adapter/route"]):
        beside = one(measurements, case, dtype)
        assert rows[name].tolist() == [q for q, v in beside[who, "verdict"].items() if v is not None]
        for column in ("value", "error (ulp)", "share", "verdict"):
            there = beside[who, column][beside[who, "verdict"].notna()].tolist()
            assert all(
                a == b or (isinstance(a, float) and isinstance(b, float) and math.isnan(a) and math.isnan(b))
                for a, b in zip(rows[column].tolist(), there, strict=True)
            )
        seen += len(rows)
    assert seen == (found[name] != "*").sum() > 50


def test_what_crashed_has_a_row_in_the_long_table() -> None:
    (row,) = tables.every_gradient(framed(CRASHED)).reset_index().to_dict("records")
    assert (row["gradient"], row["adapter/route"], row["verdict"]) == ("*", "mine/eager", "crashed")


def test_what_was_measured_twice_is_refused_in_the_long_table(measurements: pd.DataFrame) -> None:
    with pytest.raises(ValueError, match="was measured more than once; expected one measurement"):
        tables.every_gradient(pd.concat([measurements, measurements], ignore_index=True))


def test_several_runs_are_told_apart_in_every_table(measurements: pd.DataFrame) -> None:
    both = pd.concat([measurements.assign(run="one"), measurements.assign(run="two")], ignore_index=True)
    both.insert(0, "run", both.pop("run"))
    for make in (tables.summary, tables.summary_by_level, tables.vacuous_by_scale, tables.lost, tables.deviations):
        table, single = make(both), make(measurements)
        assert table.index.names == ["run", *single.index.names]
        for run in ("one", "two"):
            pd.testing.assert_frame_equal(pd.DataFrame(table.xs(run, level="run")), single)
    gradients = tables.gradients(both, CASES[0], "float64")
    assert gradients.index.tolist() == [(r, f"∂E_total/∂w{i}") for r in ("one", "two") for i in range(1, 9)]


def test_measurements_are_left_as_they_were(measurements: pd.DataFrame) -> None:
    before = measurements.copy(deep=True)
    for make in (
        tables.summary,
        tables.summary_by_level,
        tables.vacuous_by_scale,
        tables.lost,
        tables.deviations,
        tables.by_operator,
    ):
        make(measurements)
    tables.every_gradient(measurements)
    pd.testing.assert_frame_equal(measurements, before)


@pytest.mark.parametrize(
    "make",
    [tables.summary, tables.summary_by_level, tables.by_operator, tables.vacuous_by_scale, tables.lost,
     tables.deviations, tables.every_gradient, tables.every_weight, lambda m: tables.gradients(m, "a", "float64"),
     lambda m: tables.weights(m, "a", "float64")],
)  # fmt: skip
def test_every_table_refuses_an_empty_frame_and_other_columns(make: Any) -> None:
    with pytest.raises(ValueError, match=r"no measurement to make a table of: got 0 rows, expected .*; load a table"):
        make(pd.DataFrame(columns=list(COLUMNS)))
    with pytest.raises(
        ValueError, match=r"it lacks case, adapter, .*; it also has a; expected the columns case .*load"
    ):
        make(pd.DataFrame({"a": [1]}))


def test_a_column_given_twice_is_refused() -> None:
    twice = pd.concat([framed(KNOWN), framed(KNOWN)[["share"]]], axis=1)
    with pytest.raises(ValueError, match="not a table of measurements: it has twice share; expected"):
        tables.summary(twice)


def test_text_where_a_number_belongs_is_refused() -> None:
    with pytest.raises(ValueError, match=r"expected numbers in the columns value, .*could not convert.*'much'"):
        tables.summary(framed(KNOWN).astype({"share": object}).assign(share="much"))


def test_a_measurement_that_does_not_say_what_it_is_of_is_refused() -> None:
    with pytest.raises(ValueError, match="measurement 0 has no case; expected one in every row; load"):
        tables.summary(framed(KNOWN).assign(case=None))


def test_an_unknown_case_or_dtype_is_refused_and_what_there_is_named(measurements: pd.DataFrame) -> None:
    with pytest.raises(ValueError, match=r"no measurement with case 'mine'; expected one of document/worked-example, "):
        tables.gradients(measurements, "mine", "float64")
    wanted = "no measurement of document/worked-example with dtype 'float8'; expected one of float64, float32, float16"
    with pytest.raises(ValueError, match=wanted):
        tables.weights(measurements, CASES[0], "float8")


def test_a_repeated_measurement_is_refused() -> None:
    with pytest.raises(
        ValueError, match="document/worked-example float32 dE_total/dw1 mine/eager was measured more than"
    ):
        tables.gradients(framed(KNOWN, KNOWN), CASES[0], "float32")
