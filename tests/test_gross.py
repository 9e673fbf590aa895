"""Gross wrong answers and wrong slopes: a small instance of `benchmarks/gross.py`, and that it would notice."""

from __future__ import annotations

from argparse import Namespace
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from tests_support import benchmark

pytest.importorskip("mpmath")
pytest.importorskip("tabulate")

import mpmath as mp

from gradconform.reference.arithmetic.formats import FORMATS
from gradconform.reference.derivations.activations import ACTIVATIONS
from gradconform.reference.derivations.losses import LOSSES

right = benchmark("right_values")
gross = benchmark("gross")
NUMBERS = {str(s): n for n, s in enumerate(gross.subjects())}


@cache
def scanned(subject: str, dtype: str) -> Any:
    return gross.scanned((NUMBERS[subject], dtype, 48))


def test_every_activation_and_loss_is_scanned() -> None:
    rowwise = {n for n, a in ACTIVATIONS.items() if a.rowwise}
    assert {s.name for s in gross.subjects()} == {*ACTIVATIONS, *LOSSES} - rowwise - {"identity"}


@pytest.mark.parametrize("name", right.VALUES)
def test_a_right_slope_is_the_derivative_of_the_right_value(name: str) -> None:
    with mp.workdps(right.DIGITS):
        for x in (-3.7, -0.9, -0.0021, 0.0013, 0.43, 2.9):
            slope = mp.diff(right.VALUES[name], mp.mpf(x))
            assert abs(slope - right.SLOPES[name](mp.mpf(x))) < mp.mpf(10) ** -20


@pytest.mark.parametrize("name", right.LOSS_VALUES)
def test_a_losss_right_slope_is_the_derivative_of_its_right_value(name: str) -> None:
    with mp.workdps(right.DIGITS):
        for a in (-3.7, 0.43, 2.9):
            slope = mp.diff(lambda v: right.LOSS_VALUES[name](v, mp.mpf("0.25")), mp.mpf(a))
            # Of cross-entropy the second logit moves as well: −a, with the slope of the other sign.
            slope = slope / 2 if name == "softmax_cross_entropy" else slope
            assert abs(slope - right.LOSS_SLOPES[name](mp.mpf(a), mp.mpf("0.25"))) < mp.mpf(10) ** -20


@pytest.mark.parametrize("name", right.SLOPES)
def test_every_wrong_slope_is_wrong_somewhere(name: str) -> None:
    with mp.workdps(right.DIGITS):
        for kind, formula in right.wrong_slopes(name).items():
            pairs = [(formula(mp.mpf(x)), right.SLOPES[name](mp.mpf(x))) for x in (-2.3, -0.4, 0.3, 1.7)]
            assert any(abs(a - b) > abs(b) / 200 for a, b in pairs), kind


@pytest.mark.parametrize(("subject", "dtype"), [
    ("sigmoid value", "float16"), ("tanh slope", "float16"), ("softplus value", "float16"), ("huber value", "float16"),
])  # fmt: skip
def test_no_gross_wrong_value_conforms_or_is_out_of_range(subject: str, dtype: str) -> None:
    scan = scanned(subject, dtype)
    assert sum(c.total() for (what, *_), c in scan.counts.items() if what == "gross") > 20
    wrong = {(k, v): scan.examples.get((k, v)) for k, c in scan.counts.items() for v in c if gross.failing(k, v)}
    assert not wrong


def test_a_component_that_the_array_arithmetic_does_not_know_is_certified_by_balls() -> None:
    """At 3.5e14 mish's slopes with 1 − tanh² hold anything of a billion's size, and their arrays know nothing."""
    with mp.workdps(right.DIGITS):
        at = gross.At(gross.subjects()[NUMBERS["mish slope"]], FORMATS["float32"], [353445408145408.0])
        kept, gone = (at.judged(at.shaped([value])) for value in (0.75, -0.75))
    assert (kept.verdict, gone.verdict) == ("conforms", "lost")
    assert gone.certified_bits is not None
    assert gone.certified_bits < -20


def test_a_wrong_slope_over_the_whole_range_deviates() -> None:
    scan = scanned("tanh slope", "float16")
    slopes = {kind: c for (what, _, _, kind), c in scan.counts.items() if what == "slope"}
    assert slopes["1−a, all"] == slopes["5 % more, all"] == Counter(deviates=1)
    assert slopes["1−a"]["deviates"] > 3


def test_a_value_that_is_as_good_as_right_is_not_counted() -> None:
    float32 = FORMATS["float32"]
    assert not gross.differs(1.0, mp.mpf(1) - mp.mpf(2) ** -80, float32, gross.GROSS)
    assert not gross.differs(0.0, mp.mpf(2) ** -127, float32, gross.GROSS)
    assert not gross.differs(float("inf"), mp.mpf(10) ** 60, float32, gross.GROSS)
    assert gross.differs(0.0, mp.mpf(2) ** -100, float32, gross.GROSS)
    assert gross.differs(float("nan"), mp.mpf(1), float32, gross.GROSS)


def options(**changes: Any) -> Namespace:
    return Namespace(**{"only": "", "output": None, "json": None, "against": None, **changes})


def test_the_scan_ends_in_1_where_a_gross_value_conforms(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    key = ("gross", "tanh value", "float32", "0")
    bad = gross.Scan({key: Counter(conforms=1, deviates=9)}, {(key, "conforms"): "alone x=3.0 got 0.0"})
    assert gross.said(bad, options(json=tmp_path / "old.json"), 1.0) == 1
    assert "gross | tanh value | float32 | 0: 1 conforms; alone x=3.0 got 0.0" in capsys.readouterr().out
    good = gross.Scan({key: Counter(deviates=10)}, {})
    assert gross.said(good, options(against=tmp_path / "old.json"), 1.0) == 0
    out = capsys.readouterr().out
    assert "gross|tanh value|float32|0: {'conforms': 1, 'deviates': 9} → {'deviates': 10}" in out
    assert gross.said(gross.Scan({}, {}), options(only="nothing"), 1.0) == 3


def test_a_right_value_that_deviates_must_not_be() -> None:
    assert gross.failing(("right", "tanh value", "float32", "right"), "deviates")
    assert not gross.failing(("right", "tanh value", "float32", "right"), "out of range")
    assert gross.failing(("gross", "tanh value", "float32", "−x"), "out of range")
    assert not gross.failing(("gross", "tanh value", "float32", "∞"), "out of range")
