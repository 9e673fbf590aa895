"""The mutation of the reference, on two mutants, so that it cannot rot."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest
from tests_support import benchmark

mutants = benchmark("mutants")
ROOT = Path(__file__).parents[1]


@cache
def of(file: str) -> list[object]:
    return list(mutants.mutants(file, (ROOT / file).read_text(encoding="utf-8")))


@pytest.mark.parametrize("file", mutants.NEAREST)
def test_mutants_are_programs_and_differ(file: str) -> None:
    found = of(file)
    texts = {m.text for m in found}  # type: ignore[attr-defined]
    assert len(texts) == len(found) > 100
    assert (ROOT / file).read_text(encoding="utf-8") not in texts


def test_every_kind_of_change_is_made() -> None:
    source = 'f = lambda ops, a, t: -ops.exp(0.5 * (t - a) ** 2 if a > t else a)\ng = line("h", "w1 i1", f)\n'
    changes = {m.what for m in mutants.mutants("x.py", source)}
    assert {
        "(t - a) ** 2: ** to *", "t - a: - to +", "t - a: sides swapped", "a > t: > to <=", "0.5 to 1.5", "t to a",
        "operands 'w1 i1' swapped",
    } <= changes  # fmt: skip
    assert any(change.endswith("sign dropped") for change in changes)
    assert any(change.endswith("left out") for change in changes)


def test_a_wrong_factor_is_noticed_and_the_right_text_is_not(tmp_path: Path) -> None:
    file = "reference/document.py"
    right = mutants.Mutant(file, 0, "nothing", (ROOT / file).read_text(encoding="utf-8"))
    wrong = next(m for m in of(file) if m.what == "a_o1 - t1: - to +")  # type: ignore[attr-defined]
    copies = mutants.Copies(tmp_path, 1)
    try:
        assert "test_document_equations" in copies.notices(wrong, ["test_document_equations"])
        assert copies.notices(right, ["test_document_equations"]) is None
    finally:
        copies.close()


def test_the_sieve_notices_a_wrong_rule_of_balls_and_of_arrays_and_puts_the_right_one_back() -> None:
    sieve = benchmark("rule_sieve").Sieve(["unrounded", "sum of rows"])
    for file, what, named in (
        ("reference/arithmetic/function_rules.py", "size + x.off: + to -", "unrounded of balls"),
        (
            "reference/arithmetic/sum_rules.py",
            "moved + _accumulated(E, count, unit, normal, magnitude): + to -",
            "sum of rows of arrays",
        ),
    ):
        right = (ROOT / file).read_text(encoding="utf-8")
        wrong = next(m for m in of(file) if m.what == what)  # type: ignore[attr-defined]
        for text, noticed in ((wrong.text, named), (right, None)):  # type: ignore[attr-defined]
            assert sieve.notices(file, wrong.line, text) == noticed  # type: ignore[attr-defined]


def test_what_is_listed_as_equivalent_is_a_mutant() -> None:
    """A line that is no more is not excused; each entry has a reason."""
    there = {name for file in mutants.NEAREST for m in of(file) for name in m.names}  # type: ignore[attr-defined]
    listed = mutants.equivalents()
    assert set(listed) <= there
    assert all(listed.values())
