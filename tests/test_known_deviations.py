"""Known deviations: they mark, they never hide another deviation, they go stale."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest

from gradconform.conformance.catalogue import catalogue
from gradconform.conformance.known import FILE, KnownDeviation, evidence, is_known, known_deviations, marked, stale
from gradconform.conformance.measurement import Measurement
from gradconform.reference.cases import BadInput

ENTRY = KnownDeviation(
    id="planted", adapter="mine", route="*", versions=">=2.0,<3", dtype="float32 float16", device="cpu", level="whole",
    case="document/saturated/*", quantity="dE_total/dw*", reason="planted", upstream="https://example.org",
)  # fmt: skip
SATURATED = [c for c in catalogue() if c.startswith("document/saturated/")]


def measurement(**changes: object) -> Measurement:
    values: dict[str, object] = {
        "case": SATURATED[0], "adapter": "mine", "route": "eager", "dtype": "float32", "level": "whole",
        "quantity": "dE_total/dw1", "elements": 1, "verdict": "deviates",
    }  # fmt: skip
    return Measurement(**{**values, **changes})  # type: ignore[arg-type]


def mark(m: Measurement, version: str = "2.5") -> Measurement:
    (result,) = marked([m], {"mine": version}, "cpu", (ENTRY,))
    return result


def test_a_covered_deviation_is_marked_and_still_deviates() -> None:
    m = mark(measurement(reason="dtype: too wide"))
    assert (m.verdict, m.reason) == ("deviates", "known:planted; dtype: too wide")
    assert is_known(m)


@pytest.mark.parametrize(
    "changes",
    [
        {"adapter": "other"},
        {"dtype": "float64"},
        {"level": "step"},
        {"case": "document/all-zeros"},
        {"quantity": "w1_new"},
        {"verdict": "conforms"},
        {"verdict": "crashed"},
    ],
)
def test_what_the_entry_does_not_speak_of_is_not_marked(changes: dict[str, object]) -> None:
    assert not is_known(mark(measurement(**changes)))


@pytest.mark.parametrize(("version", "known"), [("1.9", False), ("2.0", True), ("2.13.0+cpu", True), ("3.0", False)])
def test_an_entry_holds_for_its_versions_only(version: str, known: bool) -> None:
    assert is_known(mark(measurement(), version)) is known


def whole_and(*steps: Measurement) -> bool:
    """Whether a whole-level deviation beside these steps of the same answer is known."""
    whole = measurement(quantity="w1_new", case="mine/one")
    entry = replace(ENTRY, level="step", case="*")
    return is_known(marked([whole, *steps], {"mine": "2.5"}, "cpu", (entry,))[0])


def test_what_follows_from_a_known_step_is_known_as_a_whole() -> None:
    step = measurement(level="step", case="mine/one")
    fine = replace(step, quantity="a_h1", verdict="conforms")
    assert whole_and(step, fine)
    assert not whole_and(fine), "nothing deviates at the step level"
    assert not whole_and(step, replace(fine, verdict="deviates")), "another equation is at fault too"
    assert not whole_and(step, replace(fine, verdict="undecided"))
    assert not whole_and(step, replace(fine, reason="traced")), "the trace is of another evaluation"
    assert not whole_and(replace(step, route="jit")), "another route's"


def test_an_entry_of_a_value_speaks_of_that_value_only() -> None:
    entry = replace(ENTRY, value="nan")
    found = marked([measurement(value=v) for v in (math.nan, 1.5, None)], {"mine": "2.5"}, "cpu", (entry,))
    assert [is_known(m) for m in found] == [True, False, False]


def test_an_entry_of_a_value_is_stale_when_its_cases_have_others() -> None:
    entry = replace(ENTRY, value="nan")
    conforming = [measurement(case=c, verdict="conforms", value=1.5) for c in SATURATED]
    broken = [measurement(case=SATURATED[0], value=math.nan), *conforming[1:]]
    assert stale(evidence(conforming, {"mine": "2.5"}, "cpu", (entry,)), entries=(entry,)) == ["planted"]
    assert stale(evidence(broken, {"mine": "2.5"}, "cpu", (entry,)), entries=(entry,)) == []


def test_an_entry_is_stale_when_all_its_cases_conform() -> None:
    conforming = [measurement(case=c, verdict="conforms") for c in SATURATED]

    def gone(*parts: list[Measurement]) -> list[str]:
        found = [e for part in parts for e in evidence(part, {"mine": "2.5"}, "cpu", (ENTRY,))]
        return stale(found, entries=(ENTRY,))

    assert gone(conforming) == ["planted"]
    assert gone(conforming[:3], conforming[3:]) == ["planted"], "evidence of two processes is joined"
    assert gone(conforming[1:], [measurement()]) == []
    assert gone(conforming[1:]) == [], "not every case was measured"


def test_the_project_s_own_file_is_well_formed_and_has_its_evidence() -> None:
    for entry in known_deviations():
        assert len(entry.reason) > 40
        assert entry.upstream.startswith("https://")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda text: text.replace('reason = """', 'raison = """'), "expected the strings adapter case"),
        (lambda text: text.replace('">=2.0"', '"two"'), "versions: Invalid specifier"),
        (lambda text: text + text, "two entries have the same id"),
        (lambda text: text[:-40], "known deviations"),
    ],
)
def test_a_malformed_file_is_refused(tmp_path: Path, spoil: object, message: str) -> None:
    path = tmp_path / "known.toml"
    path.write_text(spoil(FILE.read_text(encoding="utf-8")), encoding="utf-8")  # type: ignore[operator]
    with pytest.raises(BadInput, match=message):
        known_deviations(path)


def test_the_evidence_for_torch_forward_mode_still_holds() -> None:
    torch = pytest.importorskip("torch")
    scalar, vector = torch.tensor(0.3, dtype=torch.float32), torch.tensor([0.3], dtype=torch.float32)
    assert torch.func.jacfwd(lambda x: 0.5 * x)(scalar).dtype is torch.float64
    assert torch.func.jacfwd(lambda x: 0.5 * x)(vector).dtype is torch.float32


@pytest.mark.parametrize(("share", "known"), [(1.2, True), (1.5, True), (1.6, False), (1e7, False), (math.inf, False)])
def test_what_is_further_off_than_the_evidence_explains_is_not_known(share: float, known: bool) -> None:
    """A flipped sign in a formula whose primitive is known to be a little off."""
    (found,) = marked([measurement(share=share)], {"mine": "2.5"}, "cpu", (replace(ENTRY, most_share=1.5),))
    assert is_known(found) is known


def test_what_is_too_far_off_explains_nothing_at_the_whole_level() -> None:
    entry = replace(ENTRY, level="step", quantity="a*", most_share=1.5)
    whole = measurement(level="whole", share=3.0)
    for share, known in ((1.2, True), (30.0, False)):
        rows = marked([measurement(level="step", quantity="a1", share=share), whole], {"mine": "2.5"}, "cpu", (entry,))
        assert [is_known(m) for m in rows] == [known, known]


def test_an_entry_is_no_staler_for_what_is_too_far_off_to_be_known() -> None:
    rows = [replace(measurement(share=9.0), case=case) for case in SATURATED]
    entries = (replace(ENTRY, most_share=1.5),)
    assert stale(evidence(rows, {"mine": "2.5"}, "cpu", entries), entries=entries) == ["planted"]


def test_every_entry_says_how_far_off_or_with_what_value() -> None:
    assert all(1 <= e.most_share <= 3 or e.value == "nan" for e in known_deviations())


@pytest.mark.parametrize("bound", ["", "most_share = 0", "most_share = '2'", "most_share = true", "most_share = nan"])
def test_an_entry_without_a_bound_is_refused(bound: str, tmp_path: Path) -> None:
    text = FILE.read_text(encoding="utf-8")
    path = tmp_path / "known.toml"
    path.write_text(text.replace("most_share = 2.2", bound, 1), encoding="utf-8")
    with pytest.raises(BadInput, match="expected the largest share"):
        known_deviations(path)
