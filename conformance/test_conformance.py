"""The suite: pytest --pyargs gradconform.conformance [--gradconform-adapter …] [--gradconform-case …] …"""

from __future__ import annotations

import pytest

from gradconform.conformance.known import is_known
from gradconform.conformance.plugin import Subject
from gradconform.reference.measurement import Measurement


def described(m: Measurement) -> str:
    """One line that says what is wrong: the equation, what was got, what is true and what is allowed."""
    if m.quantity == "*":
        return f"{m.verdict}: {m.reason}"
    return (
        f"{m.quantity} ({m.level}): got {m.value!r}, truth {m.truth}, error {m.error_abs} = {m.error_ulp} ulp, "
        f"allowed {m.allowance}, share {m.share}{f' ({m.reason})' if m.reason else ''}"
    )


def test_answer_conforms(gradconform_subject: Subject) -> None:
    measurements = gradconform_subject.measure()
    wrong = [m for m in measurements if m.verdict in ("deviates", "crashed", "undecided") and not is_known(m)]
    assert not wrong, "\n".join(["", *map(described, wrong)])
    if all(m.verdict == "unsupported" for m in measurements):
        pytest.skip(str(measurements[0].reason))
    known = [m for m in measurements if is_known(m)]
    if known:
        pytest.xfail(described(known[0]))
