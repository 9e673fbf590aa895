"""What continuous integration reads: JUnit XML, the summary that GitHub shows, a badge for each adapter."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as xml

import numpy as np
import pandas as pd

from gradconform.reference.measurement import COLUMNS, JUDGED, UNCERTIFIED, Measurement, is_program, told
from gradconform.reports import tables
from gradconform.reports.export import case_folder, replaced
from gradconform.reports.publish import pull_request
from gradconform.reports.tables import label

#: Where GitHub Actions, and what follows its convention, wants a step's summary in Markdown appended.
SUMMARY_FILE = "GITHUB_STEP_SUMMARY"
#: Lines of a failure's text; the run file has them all.
LINES = 50
#: What XML 1.0 cannot hold, not even escaped (Extensible Markup Language 1.0, fifth edition, production 2).
_NO_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def continuous(
    measurements: pd.DataFrame, directory: Path, of: Mapping[str, str] | None = None, fail_on: Collection[str] = ()
) -> list[Path]:
    """Write junit.xml and badges/<adapter>.json into `directory`; append to the summary file that `of` names.

    `fail_on` are the verdicts besides "deviates" that fail a test, such as "lost". `of` is the environment, by default
    the process's. Raises ValueError for what is no table of measurements, and where the summary cannot be appended.
    """
    m = tables.checked(measurements)
    directory.mkdir(parents=True, exist_ok=True)
    paths = [replaced(directory / "junit.xml", junit(m, fail_on))]
    (directory / "badges").mkdir(exist_ok=True)
    for adapter, rows in m.groupby("adapter", sort=True):
        path = directory / "badges" / f"{case_folder(str(adapter)).as_posix().replace('/', '_')}.json"
        paths.append(replaced(path, json.dumps(badge(str(adapter), rows), ensure_ascii=False, indent=2) + "\n"))
    summary = (os.environ if of is None else of).get(SUMMARY_FILE)
    if summary:
        text = pull_request(measurements)
        try:
            with open(summary, "a", encoding="utf-8", errors="backslashreplace") as file:
                file.write(text)
        except OSError as error:
            raise ValueError(f"cannot append to {summary}, which {SUMMARY_FILE} names: {error.strerror}") from error
    return paths


def badge(adapter: str, rows: pd.DataFrame) -> dict[str, Any]:
    """A badge as shields.io's endpoint reads it (https://shields.io/badges/endpoint-badge)."""
    judged = int(rows["verdict"].isin(JUDGED).sum())
    deviating = int(((rows["verdict"] == "deviates") & ~rows["known"]).sum())
    known, broken = int(rows["known"].sum()), int(rows["verdict"].isin(tables.BROKEN).sum())
    uncertified = {v: int((rows["verdict"] == v).sum()) for v in UNCERTIFIED}
    if deviating:
        message, colour = f"{deviating:,} of {judged:,} deviate", "red"
    elif broken or not judged:
        message, colour = f"{broken:,} without a verdict" if broken else "nothing judged", "lightgrey"
    else:
        said = ((known, "known to deviate"), *((n, v) for v, n in uncertified.items()))
        message = f"{judged:,} judged" + "".join(f", {n:,} {what}" for n, what in said if n)
        hardly = tables.hardly_a_pass(sum(uncertified.values()), judged)
        colour = "lightgrey" if hardly else "green" if known or uncertified["lost"] else "brightgreen"
    return {"schemaVersion": 1, "label": f"gradients of {adapter}", "message": message, "color": colour}


def junit(m: pd.DataFrame, fail_on: Collection[str] = ()) -> str:
    """One test suite an adapter's route and dtype, one test a case, as Jenkins' and GitLab's readers take them.

    Of a function that was verified each gradient is a test. A test fails with what deviates or has a verdict of
    `fail_on`, passes with a note where digits are lost (of a verified function: where there is more to say than that
    it conforms), is an error where there was no verdict, and is skipped with the reason where all that deviates is
    known or the route does not run. The format: https://github.com/testmoapp/junitxml.
    """
    root = xml.Element("testsuites", name="gradconform")
    totals = {"tests": 0, "failures": 0, "errors": 0, "skipped": 0}
    for (adapter, route, dtype), rows in m.groupby(["adapter", "route", "dtype"], sort=False):
        suite = xml.SubElement(root, "testsuite", name=_text(f"{adapter}/{route} {dtype}"))
        counts = dict.fromkeys(totals, 0)
        for named, of in rows.groupby(np.array(_tests(rows), dtype=object), sort=False):
            test = xml.SubElement(suite, "testcase", classname=_text(f"{adapter}.{route}.{dtype}"), name=_text(named))
            counts["tests"] += 1
            outcome = _outcome(test, of, fail_on)
            if outcome:
                counts[outcome] += 1
        for name, count in counts.items():
            suite.set(name, str(count))
            totals[name] += count
    for name, count in totals.items():
        root.set(name, str(count))
    xml.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + xml.tostring(root, encoding="unicode") + "\n"


def _tests(rows: pd.DataFrame) -> list[str]:
    """The name of the test that each measurement belongs to."""
    found = []
    for case, level, quantity in rows[["case", "level", "quantity"]].itertuples(index=False, name=None):
        of = "" if not is_program(case) or quantity == "*" else "operations" if level == "step" else label(quantity)
        found.append(f"{case} {of}".rstrip())
    return found


def _outcome(test: xml.Element, rows: pd.DataFrame, fail_on: Collection[str]) -> str | None:
    """Add what became of a test; the count that it belongs to."""
    deviating = rows[(rows["verdict"] == "deviates") & ~rows["known"]]
    failing = rows[rows["verdict"].isin(fail_on)]
    broken = rows[rows["verdict"].isin(tables.BROKEN)]
    if len(deviating) or len(failing):
        counts = {"deviating": len(deviating), **{v: int((failing["verdict"] == v).sum()) for v in fail_on}}
        said = ", ".join(f"{n} {what}" for what, n in counts.items() if n)
        _note(test, "failure", said, pd.concat([deviating, failing]))
        return "failures"
    if len(broken):
        _note(test, "error", f"{len(broken)} without a verdict", broken)
        return "errors"
    if not (rows["verdict"].isin(JUDGED) & (rows["verdict"] != "deviates")).any():
        left = rows[rows["known"] | (rows["verdict"] == "unsupported")]
        _note(test, "skipped", "; ".join(dict.fromkeys(str(r) for r in left["reason"])), None)
        return "skipped"
    verified = np.array([is_program(case) for case in rows["case"]], dtype=bool)
    more = (rows["verdict"] != "conforms") | rows["reason"].notna()
    noted = rows[(rows["verdict"] == "lost") | (verified & more)]
    if len(noted):
        xml.SubElement(test, "system-out").text = _lines(noted)
    return None


def _note(test: xml.Element, tag: str, message: str, rows: pd.DataFrame | None) -> None:
    note = xml.SubElement(test, tag, message=_text(message))
    if rows is not None:
        note.text = _lines(rows)


def _lines(rows: pd.DataFrame) -> str:
    """A line for each measurement, the first LINES of them."""
    lines = []
    for r in rows.head(LINES).itertuples():
        if is_program(str(r.case)) and r.level != "step":
            lines.append(_told(r))
            continue
        why = [text for text in (r.cause, r.reason) if isinstance(text, str)]
        if r.quantity == "*":  # all of the case
            lines.append(f"{r.verdict}: {r.reason}")
        else:
            said = f"{r.quantity} ({r.level}): {r.verdict}, got {r.value}, truth {r.truth}, share {r.share}"
            lines.append(", ".join([said, *why]))
    more = [f"… and {len(rows) - LINES:,} more"] if len(rows) > LINES else []
    return _text("\n".join([*lines, *more]))


def _told(r: Any) -> str:
    """What the report of a verified function says of a gradient."""
    values: dict[str, Any] = {c: getattr(r, c) for c in COLUMNS}
    for column, value in values.items():
        if column != "value" and isinstance(value, float) and math.isnan(value):
            values[column] = None
    said = told(Measurement(**values))
    return f"{said}\n  culprit: {r.cause}" if isinstance(r.cause, str) else said


def _text(value: Any) -> str:
    """Text as XML can hold it; what it cannot, by its code point."""
    return _NO_XML.sub(lambda found: f"\\u{ord(found[0]):04x}", str(value))
