"""What continuous integration reads: a failure is red, a known deviation is not, and no text breaks the file."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as xml

import pytest
from tests_support import Cli

from gradconform.conformance.run.run_file import frame
from gradconform.reference.measurement import Measurement
from gradconform.reports.continuous import LINES, continuous

RIGHT = Measurement(
    "document/worked-example", "mine", "eager", "float32", "whole", "dE_total/dw1", 1, value=0.5, truth="0.5",
    error_ulp=0.0, share=0.0, accepted_form="document", verdict="conforms",
)  # fmt: skip
WRONG = replace(RIGHT, case="document/wrong", value=1.5, share=1e6, verdict="deviates")
KNOWN = replace(WRONG, case="document/known", reason="known:mine; why")
LOST = replace(RIGHT, case="document/lost", verdict="lost", accuracy="lost", reason="lost: σ(z)σ(−z)")
CRASHED = replace(RIGHT, case="document/crashed", quantity="*", level=None, verdict="crashed", reason="exception: no")
ABSENT = replace(CRASHED, case="document/absent", verdict="unsupported", reason="dtype: mine runs in float64")


def written(
    folder: Path, *measurements: Measurement, fail_on: tuple[str, ...] = ()
) -> tuple[xml.Element, dict[str, str]]:
    """The parsed JUnit file and the badge of the adapter."""
    continuous(frame([m.row() for m in measurements]), folder, {}, fail_on)
    badge: dict[str, str] = json.loads((folder / "badges" / "mine.json").read_text(encoding="utf-8"))
    return xml.parse(folder / "junit.xml").getroot(), badge


@pytest.mark.parametrize(
    ("measurement", "tag", "colour"),
    [
        (RIGHT, None, "brightgreen"), (WRONG, "failure", "red"), (KNOWN, "skipped", "green"),
        (CRASHED, "error", "lightgrey"), (ABSENT, "skipped", "lightgrey"), (LOST, "system-out", "lightgrey"),
        (replace(RIGHT, verdict="ill-conditioned"), None, "lightgrey"),
        (replace(RIGHT, verdict="singular"), None, "brightgreen"),
    ],
)  # fmt: skip
def test_what_became_of_a_case(measurement: Measurement, tag: str | None, colour: str, tmp_path: Path) -> None:
    root, badge = written(tmp_path, measurement)
    (case,) = root.iter("testcase")
    assert [child.tag for child in case] == ([tag] if tag else [])
    assert case.get("name") == measurement.case
    assert badge["color"] == colour
    assert badge["label"] == "gradients of mine"


def test_the_counts_add_up_and_a_failure_names_what_deviates(tmp_path: Path) -> None:
    root, badge = written(tmp_path, RIGHT, WRONG, KNOWN, CRASHED, ABSENT)
    assert {n: root.get(n) for n in ("tests", "failures", "errors", "skipped")} == {
        "tests": "5", "failures": "1", "errors": "1", "skipped": "2",
    }  # fmt: skip
    failure = next(root.iter("failure"))
    assert "dE_total/dw1 (whole): deviates, got 1.5, truth 0.5, share 1000000.0" in (failure.text or "")
    assert badge["message"] == "1 of 3 deviate"


def test_a_badge_of_mostly_vacuous_measurements_says_so_and_is_not_green(tmp_path: Path) -> None:
    vacuous = replace(RIGHT, verdict="vacuous")
    _, badge = written(tmp_path, RIGHT, vacuous, replace(vacuous, case="document/other"))
    assert (badge["message"], badge["color"]) == ("3 judged, 2 vacuous", "lightgrey")
    _, badge = written(tmp_path, RIGHT, vacuous)
    assert (badge["message"], badge["color"]) == ("2 judged, 1 vacuous", "brightgreen")


def test_lost_digits_are_noted_in_a_test_that_passes_unless_they_are_to_fail_it(tmp_path: Path) -> None:
    root, badge = written(tmp_path, RIGHT, LOST)
    note = next(root.iter("system-out")).text or ""
    assert note == "dE_total/dw1 (whole): lost, got 0.5, truth 0.5, share 0.0, lost: σ(z)σ(−z)"
    assert (root.get("failures"), root.get("skipped")) == ("0", "0")
    assert (badge["message"], badge["color"]) == ("2 judged, 1 lost", "green")
    root, _ = written(tmp_path, RIGHT, LOST, fail_on=("lost", "vacuous"))
    assert root.get("failures") == "1"
    failure = next(root.iter("failure"))
    assert (failure.get("message"), failure.text) == ("1 lost", note)
    assert not list(root.iter("system-out"))


def test_a_failure_says_the_cause(tmp_path: Path) -> None:
    root, _ = written(tmp_path, replace(WRONG, cause="convention: mean over rows"))
    assert (next(root.iter("failure")).text or "").endswith("share 1000000.0, convention: mean over rows")


def test_a_long_failure_is_cut_and_says_so(tmp_path: Path) -> None:
    root, _ = written(tmp_path, *[replace(WRONG, quantity=f"q{i}") for i in range(LINES + 7)])
    assert (next(root.iter("failure")).text or "").endswith("… and 7 more")


def test_no_text_breaks_the_file(tmp_path: Path) -> None:
    hostile = 'a]]><script>&"\x00\x1b[31m\ud800'
    root, _ = written(tmp_path, replace(WRONG, case=hostile, reason=hostile))
    assert "\\u0000\\u001b[31m\\ud800" in (next(root.iter("testcase")).get("name") or "")
    continuous(frame([replace(WRONG, adapter="../up").row()]), tmp_path, {})
    assert not (tmp_path.parent / "up.json").exists()


def test_the_report_appends_to_the_summary_of_the_step(cli: Cli, tmp_path: Path) -> None:
    cli("run", "-a", "numpy", "-c", "document/worked-example", "-o", "run.jsonl", "--jobs", "1")
    summary = tmp_path / "summary.md"
    summary.write_text("before\n", encoding="utf-8")
    done = cli("report", "run.jsonl", "-o", "report", env={"GITHUB_STEP_SUMMARY": str(summary)})
    assert done.returncode == 0, done.stderr
    text = summary.read_text(encoding="utf-8")
    assert text.startswith("before\n**gradconform**: judged ")
    assert xml.parse(tmp_path / "report" / "junit.xml").getroot().get("failures") == "0"
    assert json.loads((tmp_path / "report" / "badges" / "numpy.json").read_text(encoding="utf-8"))["schemaVersion"] == 1
    lost = cli("report", "run.jsonl", "-o", "report", env={"GITHUB_STEP_SUMMARY": str(tmp_path / "no" / "summary.md")})
    assert lost.returncode == 2
    assert "which GITHUB_STEP_SUMMARY names: No such file or directory" in " ".join(lost.stderr.split())
    assert "Traceback" not in lost.stderr
