"""The rounding rules give what they gave: that none became wider, or admits more, no program that is run can say."""

from __future__ import annotations

import pytest
from flint import arb
from tests_support import benchmark

from gradconform.reference.arithmetic.ball_values import Rounded
from gradconform.reference.arithmetic.rounded import RoundedBalls

VALUES = benchmark("rule_values")


def test_every_rule_gives_what_it_gave() -> None:
    found, kept = VALUES.fingerprints(), VALUES.kept()
    changed = [name for name in {**found, **kept} if found.get(name) != kept.get(name)]
    assert not changed, f"if it is meant: python benchmarks/rule_values.py --write ({', '.join(changed)})"


def test_a_radius_that_is_wider_by_a_millionth_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    divide = RoundedBalls.divide

    def wider(self: RoundedBalls, a: Rounded, b: Rounded) -> Rounded:
        right = divide(self, a, b)
        return Rounded(self, right.exact, right.radius * arb(1 + 1e-6), right.specials, right.spread)

    monkeypatch.setattr(RoundedBalls, "divide", wider)
    assert VALUES.fingerprint("divide") != VALUES.kept()["divide"]


def test_a_bit_that_is_admitted_besides_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    absolute = RoundedBalls.absolute

    def vaguer(self: RoundedBalls, x: Rounded) -> Rounded:
        right = absolute(self, x)
        return Rounded(self, right.exact, right.radius, right.specials | (4 if x.specials == 1 else 0), right.spread)

    monkeypatch.setattr(RoundedBalls, "absolute", vaguer)
    assert VALUES.fingerprint("absolute") != VALUES.kept()["absolute"]
