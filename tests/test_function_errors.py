"""How far the functions of frameworks are from the table's: the benchmark, and the K that come of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import pandas as pd
import pytest
from tests_support import benchmark

from gradconform.reference.programs.functions import FUNCTIONS

functions = benchmark("functions")
PUBLISHED = Path(__file__).parents[1] / "docs" / "functions" / "functions.csv"


def with_bound(monkeypatch: pytest.MonkeyPatch, name: str, ulps: float) -> None:
    monkeypatch.setattr(functions, "FUNCTIONS",
                        MappingProxyType({**FUNCTIONS, name: replace(FUNCTIONS[name], ulps=ulps)}))  # fmt: skip


def test_a_bound_that_is_too_small_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    work = ("log1p", "float32", ("torch",), 64)
    (row,) = functions.measured(work)
    assert not row.exceeds
    assert 0.5 < row.ulp <= 2
    with_bound(monkeypatch, "log1p", 0.4)
    (row,) = functions.measured(work)
    assert row.exceeds
    assert row.exceeding > 0
    assert "log1p float32" in next(functions.beyond(functions.table([row])))


def test_a_function_that_errs_by_three_ulp_is_measured_so(monkeypatch: pytest.MonkeyPatch) -> None:
    right = functions.implementation("torch", "exp")
    monkeypatch.setattr(functions, "implementation", lambda *_: lambda x: right(x) + 3 * 2.0**-23 * right(x))
    (row,) = functions.measured(("exp", "float32", ("torch",), 64))
    assert 3 < row.steady <= row.ulp < 8
    assert row.exceeds


def test_an_error_where_the_function_is_steep_is_not_steady() -> None:
    """sinc far out moves by many ulp where π·x is rounded once."""
    (row,) = functions.measured(("sinc", "float32", ("torch",), 64))
    assert row.ulp > 1000 * row.steady


def test_a_bound_is_twice_the_largest_error_of_what_keeps_its_digits() -> None:
    measured = [("float64", 3.2), ("float64", 1e6), ("float32", 5.1), ("bfloat16", 0.5), ("float16", 2.2)]
    assert functions.measured_bounds(measured) == (11.0, 5.0)
    assert functions.measured_bounds([("float64", 0.5)]) == (4.0, 2.0)
    assert functions.measured_bounds([("float64", 1e6), ("float32", 0.5)]) == (32.0, 2.0)


def test_every_bound_that_is_said_to_be_measured_is_what_was_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    published = pd.read_csv(PUBLISHED)
    assert functions.not_as_measured(published) == []
    with_bound(monkeypatch, "digamma", 4.0)
    assert functions.not_as_measured(published) == ["digamma: K is 4 and 2, measured are 19 and 2"]


def test_no_bound_is_an_assumption() -> None:
    """Each says whose it is: a document's, or the measurement's, which then has the function."""
    published = set(pd.read_csv(PUBLISHED).function)
    for row in FUNCTIONS.values():
        assert "assumed" not in row.source
        assert row.source != functions.MEASURED or row.name in published


def test_a_dtype_that_a_framework_has_not_is_left_out() -> None:
    assert [r.framework for r in functions.measured(("erfcx", "float16", ("torch", "scipy"), 64))] == []
