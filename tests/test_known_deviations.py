"""Known deviations: they mark, they never hide another deviation, they go stale."""

from __future__ import annotations

import math
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import wrong_adapters
from tests_support import WRONG_ADAPTERS, Cli

import gradconform as gc
from gradconform.conformance.cases.catalogue import catalogue
from gradconform.conformance.known import FILE, KnownDeviation, brought_by, is_known, known_deviations, marked
from gradconform.conformance.run import stale as stale_module
from gradconform.conformance.run.run_file import read
from gradconform.conformance.run.stale import evidence, stale
from gradconform.reference.cases import BadInput, network_case
from gradconform.reference.document import NETWORK
from gradconform.reference.equations import Derivation
from gradconform.reference.measurement import Measurement

ENTRY = KnownDeviation(
    id="planted", adapter="mine", route="*", versions=">=2.0,<3", dtype="float32 float16", device="cpu", level="whole",
    operator="*", quantity="dE_total/dw*", reason="planted", upstream="https://example.org",
    case="document/saturated/*",
)  # fmt: skip
SATURATED = [c for c in catalogue() if c.startswith("document/saturated/")]


def measurement(**changes: object) -> Measurement:
    values: dict[str, object] = {
        "case": SATURATED[0], "adapter": "mine", "route": "eager", "dtype": "float32", "level": "whole",
        "quantity": "dE_total/dw1", "elements": 1, "verdict": "deviates",
    }  # fmt: skip
    return Measurement(**{**values, **changes})  # type: ignore[arg-type]


def everywhere(**changes: object) -> list[Measurement]:
    """A measurement of every case and dtype that the planted entry is about."""
    return [measurement(case=c, dtype=d, **changes) for c in SATURATED for d in ENTRY.dtype.split()]


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


@pytest.mark.parametrize(
    ("version", "known"), [("2.11.0", False), ("2.13.0+cpu", True), ("2.14.1+cu130", True), ("2.15.0", False)]
)
def test_what_an_operator_gets_wrong_is_known_in_the_versions_that_were_measured(version: str, known: bool) -> None:
    overflow = measurement(
        case="program/operator/gelu/large/1", adapter="torch", dtype="bfloat16", quantity="value of output",
        operator="gelu", value=math.inf,
    )  # fmt: skip
    (found,) = marked([overflow], {"torch": version}, "cpu")
    assert is_known(found) is known


def whole_and(*steps: Measurement, derivation: Derivation | None = None) -> bool:
    """Whether a whole-level deviation beside these steps of the same answer is known."""
    whole = measurement(quantity="w1_new", case="mine/one")
    own = replace(whole, level="step", verdict="conforms")
    entry = replace(ENTRY, level="step", case="*")
    return is_known(marked([whole, own, *steps], {"mine": "2.5"}, "cpu", (entry,), derivation)[0])


def test_what_follows_from_a_known_step_is_known_as_a_whole() -> None:
    step = measurement(level="step", case="mine/one")
    fine = replace(step, quantity="a_h1", verdict="conforms")
    assert whole_and(step, fine)
    assert not whole_and(fine), "nothing deviates at the step level"
    assert not whole_and(step, replace(fine, verdict="deviates")), "another equation is at fault too"
    assert not whole_and(step, replace(fine, verdict="undecided"))
    assert not whole_and(step, replace(fine, reason="traced")), "the trace is of another evaluation"
    assert not whole_and(replace(step, route="jit")), "another route's"


def test_what_is_wrong_where_a_quantity_does_not_come_from_does_not_make_it_unknown() -> None:
    step = measurement(level="step", case="mine/one")
    beside, before = (replace(step, quantity=f"dE_total/d{name}") for name in ("w8", "h1"))
    assert not whole_and(step, replace(beside, quantity="w8_new")), "without a derivation anything may lead to it"
    assert whole_and(step, replace(beside, quantity="w8_new"), derivation=NETWORK)
    assert not whole_and(step, before, derivation=NETWORK), "∂E_total/∂w1 follows from ∂E_total/∂h1"


def test_an_entry_of_a_value_speaks_of_that_value_only() -> None:
    entry = replace(ENTRY, value="nan")
    found = marked([measurement(value=v) for v in (math.nan, 1.5, None)], {"mine": "2.5"}, "cpu", (entry,))
    assert [is_known(m) for m in found] == [True, False, False]


def test_an_entry_of_a_value_is_stale_when_its_cases_have_others() -> None:
    entry = replace(ENTRY, value="nan")
    conforming = everywhere(verdict="conforms", value=1.5)
    broken = [measurement(case=SATURATED[0], value=math.nan), *conforming[1:]]
    assert stale(evidence(conforming, {"mine": "2.5"}, "cpu", (entry,)), entries=(entry,)) == ["planted"]
    assert stale(evidence(broken, {"mine": "2.5"}, "cpu", (entry,)), entries=(entry,)) == []


def test_an_entry_is_stale_when_all_its_cases_conform() -> None:
    conforming = everywhere(verdict="conforms")

    def gone(*parts: list[Measurement]) -> list[str]:
        found = [e for part in parts for e in evidence(part, {"mine": "2.5"}, "cpu", (ENTRY,))]
        return stale(found, entries=(ENTRY,))

    assert gone(conforming) == ["planted"]
    assert gone(conforming[:3], conforming[3:]) == ["planted"], "evidence of two processes is joined"
    assert gone(conforming[1:], [measurement()]) == []
    assert gone(conforming[2:]) == [], "not every case was measured"
    assert gone(conforming[1:]) == [], "not in every dtype"


def test_the_project_s_own_file_is_well_formed_and_has_its_evidence() -> None:
    for entry in known_deviations():
        assert len(entry.reason) > 40
        assert entry.upstream.startswith("https://")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda text: text.replace('reason = """', 'raison = """'), "expected the strings adapter device"),
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
    own, whole = measurement(level="step", verdict="conforms"), measurement(level="whole", share=3.0)
    for share, known in ((1.2, True), (30.0, False)):
        a1 = measurement(level="step", quantity="a1", share=share)
        rows = marked([a1, own, whole], {"mine": "2.5"}, "cpu", (entry,))
        assert [is_known(m) for m in rows] == [known, False, known]
    without = marked([measurement(level="step", quantity="a1", share=1.2), whole], {"mine": "2.5"}, "cpu", (entry,))
    assert [is_known(m) for m in without] == [True, False], "of what has no step it is not known that it follows"


def test_an_entry_is_no_staler_for_what_is_too_far_off_to_be_known() -> None:
    rows = everywhere(share=9.0)
    entries = (replace(ENTRY, most_share=1.5),)
    assert stale(evidence(rows, {"mine": "2.5"}, "cpu", entries), entries=entries) == ["planted"]


def test_every_entry_says_how_far_off_or_with_what_value() -> None:
    # What an optimizer does not do at all is off by a whole step, in units of a weight's rounding; a factor of float32
    # in float64 by 2^29 of them.
    large = {
        "torch-fused-sgd-16-bits", "optax-rprop-delayed", "torch-muon-momentum-bfloat16", "torch-swa-mean-float32",
        "torch-unscale-float32", "optax-adafactor-float32-decay",
    }  # fmt: skip
    # Those of the catalogue's operators are held to its table of deviations.
    others = [e for e in known_deviations() if not e.case.startswith("program/operator/")]
    assert all(1 <= e.most_share <= 3 or e.value == "nan" or e.id in large for e in others)


@pytest.mark.parametrize(
    "bound", ["", "most_share = 0", "most_share = '2'", "most_share = true", "most_share = nan", "most_share = inf"]
)
def test_an_entry_without_a_bound_is_refused(bound: str, tmp_path: Path) -> None:
    text = FILE.read_text(encoding="utf-8")
    path = tmp_path / "known.toml"
    assert "most_share = 2.2" in text
    path.write_text(text.replace("most_share = 2.2", bound, 1), encoding="utf-8")
    with pytest.raises(BadInput, match="expected the largest share"):
        known_deviations(path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"formula": "wrong", "most_ulp": 40.0}, ""),
        ({"formula": "wrong"}, "most_share is inf; expected the largest share"),
        ({"formula": "right", "most_ulp": 40.0}, "or of a wrong formula most_ulp"),
        ({"formula": "wrong", "most_ulp": -1.0}, "most_ulp is -1.0; expected the largest error in ulp"),
    ],
    ids=["bounded", "unbounded", "of a right formula", "negative"],
)
def test_a_wrong_formula_is_bounded_by_its_error_in_ulps(changes: dict[str, Any], message: str) -> None:
    entry = replace(ENTRY, most_share=math.inf, **changes)

    class Bringing:
        name = "mine"
        known_deviations = (entry,)

    if message:
        with pytest.raises(BadInput, match=message):
            brought_by(Bringing())  # type: ignore[arg-type]
        return
    assert brought_by(Bringing()) is not None  # type: ignore[arg-type]
    rows = [measurement(formula="wrong", max_ulp=ulps, share=0.1) for ulps in (40.0, 41.0)]
    rows.append(measurement(formula="right", max_ulp=1.0, share=0.1))
    assert [is_known(m) for m in marked(rows, {"mine": "2.5"}, "cpu", (entry,))] == [True, False, False]


# Known by operator ----------------------------------------------------------------------------------------------------

#: README's own network, in float32 by torch/module: the row that is known, as `network/two` of its architecture is.
README_ROW = measurement(
    case="mine/two", adapter="torch", route="module", dtype="float32", level="step", quantity="dE/dz1", elements=2048,
    operator="gelu", share=1.77, accepted_form="g(Φ+zφ)",
)  # fmt: skip


def known_id(m: Measurement, version: str = "2.13.0") -> str | None:
    """The id of the suite's own entry that a measurement on the CPU is known by."""
    (found,) = marked([m], {m.adapter: version}, "cpu")
    return (found.reason or "").partition("known:")[2] or None


def test_a_framework_s_operator_is_known_in_a_case_of_one_s_own() -> None:
    assert known_id(README_ROW) == "torch-erf-float32"


@pytest.mark.parametrize(
    "changes",
    [
        {"operator": "silu"},
        {"operator": None},
        {"dtype": "float64"},
        {"quantity": "dE/dW1"},
        {"share": 2.6},
        {"adapter": "jax"},
    ],
)
def test_another_operator_dtype_quantity_or_size_is_not_known(changes: dict[str, Any]) -> None:
    assert known_id(replace(README_ROW, **changes)) is None


@pytest.mark.parametrize("version", ["2.3.0", "none"])
def test_another_version_of_the_framework_is_not_known(version: str) -> None:
    assert known_id(README_ROW, version) is None


def test_several_operators_stand_in_one_entry_each_a_glob() -> None:
    entry = replace(ENTRY, operator="elu gelu*", level="*", quantity="*", case="*")
    operators = ("elu", "selu", "gelu", "gelu_tanh", "silu", None)
    rows = [measurement(operator=operator) for operator in operators]
    found = [is_known(m) for m in marked(rows, {"mine": "2.5"}, "cpu", (entry,))]
    assert found == [True, False, True, True, False, False]


def test_an_entry_of_every_operator_covers_what_has_none() -> None:
    assert is_known(mark(measurement(operator=None)))
    assert is_known(mark(measurement(operator="sigmoid")))


def test_an_entry_without_a_version_is_for_adapters_that_tell_none() -> None:
    (found,) = marked([measurement()], {}, "cpu", (replace(ENTRY, versions=""),))
    assert is_known(found)
    (found,) = marked([measurement()], {}, "cpu", (ENTRY,))
    assert not is_known(found)


def catalogue_of(**operators: str) -> dict[str, Any]:
    """A catalogue of networks of one layer, each with an operator as the one of its activation's value."""

    def case(operator: str) -> Any:
        made = network_case("mine/x", layers=[([[1.0]], None, "tanh")], inputs=[[1.0]], targets=[[0.0]], rate=0.1)
        equations = [replace(e, operator=operator if e.name == "a1" else "other") for e in made.equations.equations]
        return SimpleNamespace(equations=SimpleNamespace(equations=equations))

    return {id.replace("_", "/"): case(operator) for id, operator in operators.items()}


OF_GELU = replace(ENTRY, operator="gelu", case="*", quantity="a*", level="step", dtype="float32", most_share=2.0)


def gone_with(monkeypatch: pytest.MonkeyPatch, rows: list[Measurement], entry: KnownDeviation = OF_GELU) -> bool:
    """Whether an entry is stale by some rows, the catalogue's cases being two with gelu and one without."""
    found = catalogue_of(net_one="gelu", net_two="gelu", net_three="tanh")
    monkeypatch.setattr(stale_module, "catalogue", lambda seed: found)
    return stale(evidence(rows, {"mine": "2.5", "numpy": "2.5"}, "cpu", (entry,)), entries=(entry,)) == [entry.id]


def value_of(case: str, **changes: Any) -> Measurement:
    of = {"case": case, "quantity": "a1", "operator": "gelu", "level": "step", "verdict": "conforms"}
    return measurement(**{**of, **changes})


BOTH = [value_of("net/one"), value_of("net/two")]


def test_an_entry_without_a_case_is_stale_once_every_case_with_its_operator_conforms(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert gone_with(monkeypatch, BOTH), "the case without the operator need not be measured"
    assert gone_with(monkeypatch, [*BOTH, value_of("net/three", operator="tanh", verdict="deviates")])
    assert gone_with(monkeypatch, [*BOTH, value_of("mine/own")])


@pytest.mark.parametrize(
    "rows",
    [
        BOTH[:1],
        [BOTH[0], value_of("net/three", operator="tanh")],
        [BOTH[0], value_of("net/two", operator=None, quantity="*", verdict="crashed")],
        [BOTH[0], value_of("net/two", verdict="undecided")],
        [BOTH[0], value_of("net/two", dtype="float64")],
        [BOTH[0], value_of("net/two", verdict="deviates", share=1.5)],
        [*BOTH, value_of("mine/own", verdict="deviates", share=1.5)],
        [*BOTH, value_of("net/one", route="jit")],
        [replace(m, operator="tanh") for m in BOTH],
    ],
    ids=[
        "a case is missing", "another case stands for it", "it crashed", "it is undecided", "in another dtype only",
        "it deviates", "it deviates in a case of one's own", "a route was asked about one case only", "nothing of it",
    ],
)  # fmt: skip
def test_it_is_not_stale_before(monkeypatch: pytest.MonkeyPatch, rows: list[Measurement]) -> None:
    assert not gone_with(monkeypatch, rows)


def test_what_a_route_does_not_run_need_not_be_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    refused = value_of("net/two", operator=None, quantity="*", level=None, verdict="unsupported")
    assert gone_with(monkeypatch, [BOTH[0], refused])
    assert not gone_with(monkeypatch, [replace(refused, case=c) for c in ("net/one", "net/two")]), "nothing was judged"


def test_every_default_route_of_a_built_in_adapter_must_have_been_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = replace(OF_GELU, adapter="numpy")
    every = [replace(m, adapter="numpy", route=r) for m in BOTH for r in ("central", "complex-step", "extrapolated")]
    assert gone_with(monkeypatch, every, entry)
    assert not gone_with(monkeypatch, [m for m in every if m.route == "central"], entry)
    assert gone_with(monkeypatch, [m for m in every if m.route == "central"], replace(entry, route="central"))


def test_an_entry_about_cases_that_the_catalogue_does_not_have_is_never_stale(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not gone_with(monkeypatch, [value_of("mine/own")], replace(OF_GELU, case="mine/*"))


# Files of one's own ---------------------------------------------------------------------------------------------------

#: What `wrong_adapters:flipped` does to the document, as its user would record it.
FLIPPED = """\
[[deviation]]
id = "mine-flipped"
adapter = "flipped"
route = "*"
versions = ""
dtype = "float64"
device = "cpu"
level = "*"
operator = "*"
quantity = "dE_total/dw1"
value = "-*"
reason = "The sign of the first weight's derivative."
upstream = "https://example.org"

[[deviation]]
id = "mine-flipped-update"
adapter = "flipped"
route = "*"
versions = ""
dtype = "float64"
device = "cpu"
level = "step"
operator = "*"
quantity = "w1_new"
most_share = 1e15
reason = "The weight was updated by the derivative before its sign was changed."
upstream = "https://example.org"
"""


@pytest.fixture
def flipped(tmp_path: Path) -> Path:
    path = tmp_path / "flipped.toml"
    path.write_text(FLIPPED, encoding="utf-8")
    return path


WORKED = "document/worked-example"


def test_check_takes_a_file_of_one_s_own(flipped: Path) -> None:
    for known in (flipped, str(flipped), [flipped], (flipped, str(flipped))):
        rows = gc.check(wrong_adapters.flipped, WORKED, known=known)
        wrong = rows[rows.verdict == "deviates"]
        assert sorted(r.partition(";")[0] for r in wrong.reason) == ["known:mine-flipped", "known:mine-flipped-update"]
    rows = gc.check(wrong_adapters.flipped, WORKED)
    assert not rows.reason.str.startswith("known:", na=False).any()


def test_train_takes_a_file_of_one_s_own(flipped: Path) -> None:
    rows = gc.train(wrong_adapters.flipped, WORKED, steps=2, known=flipped)
    assert rows[rows.quantity == "dE_total/dw1"].reason.str.startswith("known:mine-flipped").all()


def test_a_file_that_was_changed_is_read_again(flipped: Path) -> None:
    gc.check(wrong_adapters.flipped, WORKED, known=flipped)
    flipped.write_text(FLIPPED.replace('"mine-flipped"', '"renamed"'), encoding="utf-8")
    rows = gc.check(wrong_adapters.flipped, WORKED, known=flipped)
    assert rows.reason.str.startswith("known:renamed", na=False).any()


def carrying(known: object) -> Any:
    adapter = wrong_adapters.Named("flipped", wrong_adapters.flipped.spoil)
    adapter.known_deviations = known
    return adapter


def test_an_adapter_may_bring_its_own(flipped: Path) -> None:
    for known in (flipped, str(flipped), known_deviations(flipped)):
        rows = gc.check(carrying(known), WORKED)
        assert rows[rows.quantity == "dE_total/dw1"].reason.str.startswith("known:mine-flipped").all()
    assert len(gc.check(carrying(flipped), WORKED, known=flipped)), "the same file by both ways is no collision"


@pytest.mark.parametrize(
    ("known", "message"),
    [
        (3, r"adapter 'flipped': .known_deviations is 3; expected the path of a TOML file, or a list of Known"),
        (["planted"], r"\.known_deviations is \['planted'\]; expected the path"),
        ("nowhere.toml", r"known deviations .*nowhere.toml: .*No such file"),
        ([replace(ENTRY, id="Ä")], r"adapter 'flipped': .known_deviations, entry 1 \('\\xc4'\): .*most_share is inf"),
        ([replace(ENTRY, most_share=2.0, versions="two")], r"entry 1 \('planted'\): versions: Invalid specifier"),
    ],
)
def test_what_an_adapter_brings_is_checked(known: object, message: str) -> None:
    with pytest.raises(gc.BadInput, match=message):
        gc.check(carrying(known), WORKED)


@pytest.mark.parametrize("known", [3, None, [3], b"x.toml", {"a": 1}, "a\0b"])
def test_what_is_no_file_is_refused(known: Any) -> None:
    with pytest.raises(gc.BadInput, match=r"^known"):
        gc.check(wrong_adapters.flipped, WORKED, known=known)


def test_ids_that_two_files_share_are_refused(flipped: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.toml"
    other.write_text(FLIPPED.replace('id = "mine-flipped"', 'id = "torch-erf-float32"'), encoding="utf-8")
    with pytest.raises(gc.BadInput, match=r"known_deviations.toml and .*other.toml: both .* 'torch-erf-float32'"):
        gc.check("numpy", WORKED, known=other)
    other.write_text(FLIPPED, encoding="utf-8")
    with pytest.raises(gc.BadInput, match=r"flipped.toml and .*other.toml: both have an entry called 'mine-flipped'"):
        gc.check("numpy", WORKED, known=[flipped, other])
    with pytest.raises(gc.BadInput, match=r"both have an entry called 'mine-flipped'; rename one of them"):
        gc.check(carrying(known_deviations(flipped)), WORKED, known=other)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('operator = "*"\n', "", r"entry 1 \('mine-flipped'\): expected the strings .* \(missing operator\)"),
        ('operator = "*"', 'operator = " "', r"entry 1 \('mine-flipped'\): operator is empty"),
        ('operator = "*"', 'operator = ["gelu"]', r"entry 1 \('mine-flipped'\): expected the strings"),
        ('value = "-*"', 'values = "-*"', r"\(unknown values\)"),
        ("most_share = 1e15", "", r"entry 2 \('mine-flipped-update'\): most_share is None"),
    ],
)
def test_a_bad_entry_is_named_with_its_file(flipped: Path, old: str, new: str, message: str) -> None:
    flipped.write_text(FLIPPED.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(
        gc.BadInput, match=rf"known deviations .*flipped\.toml, {message}" if "entry" in message else message
    ):
        gc.check("numpy", WORKED, known=flipped)


RUN = ("run", "-a", "wrong_adapters:flipped", "-c", WORKED, "-d", "float64", "--jobs", "1")


def test_a_run_takes_files_of_one_s_own(cli: Cli, flipped: Path, tmp_path: Path) -> None:
    done = cli(*RUN, "--known", "flipped.toml", "-o", "run.jsonl", env=WRONG_ADAPTERS)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "deviating 0 (known 2)" in done.stdout
    header, rows, _ = read(tmp_path / "run.jsonl")
    assert header["known"] == [str(flipped)]
    assert {r["reason"].partition(";")[0] for r in rows if r["verdict"] == "deviates"} == {
        "known:mine-flipped", "known:mine-flipped-update"
    }  # fmt: skip
    assert cli(*RUN, "-o", "other.jsonl", env=WRONG_ADAPTERS).returncode == 1


@pytest.mark.parametrize(("content", "message"), [(None, "No such file"), ("x = 1", "expected a list of")])
def test_a_bad_file_ends_a_run_before_it_begins(cli: Cli, tmp_path: Path, content: str | None, message: str) -> None:
    if content is not None:
        (tmp_path / "bad.toml").write_text(content, encoding="utf-8")
    done = cli(*RUN, "--known", "bad.toml", "-o", "run.jsonl", env={**WRONG_ADAPTERS, "COLUMNS": "400"})
    assert done.returncode == 2
    assert "bad.toml" in " ".join(done.stderr.split())
    assert message in " ".join(done.stderr.split())
    assert not (tmp_path / "run.jsonl").exists()


def test_the_command_that_reproduces_a_crash_has_the_file(cli: Cli, flipped: Path, tmp_path: Path) -> None:
    options = ("run", "-a", "wrong_adapters:crashing", *RUN[3:])
    cli(*options, "--known", "flipped.toml", "-o", "run.jsonl", env=WRONG_ADAPTERS)
    _, rows, _ = read(tmp_path / "run.jsonl")
    assert f"--known {flipped}" in rows[0]["reason"]


def test_a_run_is_resumed_with_the_files_that_it_was_begun_with(cli: Cli, flipped: Path, tmp_path: Path) -> None:
    options = (*RUN[:5], "-c", "document/all-zeros", *RUN[5:])
    cli(*options, "--known", "flipped.toml", "-o", "run.jsonl", env=WRONG_ADAPTERS)
    path = tmp_path / "run.jsonl"
    whole = path.read_text(encoding="utf-8").splitlines(keepends=True)
    path.write_text("".join(whole[:18]), encoding="utf-8")
    for explicit in ((), ("--known", "flipped.toml")):
        done = cli("run", "--resume", "run.jsonl", *explicit, env=WRONG_ADAPTERS)
        assert done.returncode == 0, done.stdout + done.stderr
        assert path.read_text(encoding="utf-8").splitlines()[:-1] == [line.rstrip("\n") for line in whole[:-1]]
        path.write_text("".join(whole[:18]), encoding="utf-8")
    done = cli("run", "--resume", "run.jsonl", "--known", "other.toml", env=WRONG_ADAPTERS)
    assert done.returncode == 2


def test_the_plugin_takes_a_file_of_one_s_own(flipped: Path, tmp_path: Path) -> None:
    def ran(*options: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--pyargs", "gradconform.conformance",
                   "--gradconform-adapter", "wrong_adapters:flipped", "--gradconform-case", WORKED,
                   "--gradconform-dtype", "float64", *options]  # fmt: skip
        environment = {**os.environ, **WRONG_ADAPTERS}
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)

    known = ran("--gradconform-known", str(flipped), "--gradconform-export", "out")
    assert known.returncode == 0, known.stdout
    assert "1 xfailed" in known.stdout
    assert read(tmp_path / "out" / "run.jsonl")[0]["known"] == [str(flipped)]
    assert ran().returncode == 1
    missing = ran("--gradconform-known", "nowhere.toml")
    assert missing.returncode == 4
    assert "nowhere.toml" in missing.stderr


def page(language: str) -> list[str]:
    text = (Path(__file__).parents[1] / "docs" / "site" / "known.md").read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)


def test_the_page_about_known_deviations_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    exec("\n".join(page("python")), {})
    (example,) = page("toml")
    Path("example.toml").write_text(example, encoding="utf-8")
    (entry,) = known_deviations(Path("example.toml"))
    assert entry.operator == "gelu"


def test_every_key_of_an_entry_is_described(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "docs" / "site"))
    import generated  # type: ignore[import-not-found, unused-ignore]

    assert "| `most_share` |" in generated.known()
    assert "tanh mish gelu\\_\u200btanh" in generated.deviations()  # a long name may be broken there
    monkeypatch.delitem(generated.KNOWN, "operator")
    with pytest.raises(ValueError, match="operator"):
        generated.known()


@pytest.mark.parametrize(("key", "value", "said"), [("dtype", "f32", "float32"), ("level", "steps", "'step'")])
def test_a_dtype_or_level_that_there_is_not_is_refused_with_the_nearest(
    key: str, value: str, said: str, tmp_path: Path
) -> None:
    text = FILE.read_text(encoding="utf-8")
    entry = "[[deviation]]" + text.split("[[deviation]]")[1]
    path = tmp_path / "known.toml"
    path.write_text(re.sub(rf'^{key} = ".*"$', f'{key} = "{value}"', entry, flags=re.MULTILINE), encoding="utf-8")
    with pytest.raises(BadInput, match=f"{key}.*{value}.*{said}"):
        known_deviations(path)
