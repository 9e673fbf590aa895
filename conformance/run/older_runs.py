"""Run files of schema 1, read as if they were of schema 2.

Schema 1 had one verdict where there are three answers. Those that the old verdict says are derived, the others stay
empty: nothing is judged anew.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gradconform.reference.measurement import COLUMNS

SCHEMA = 1
COLUMNS_OF_1 = (
    "case", "adapter", "route", "dtype", "level", "quantity", "elements", "value", "truth", "truth_radius", "error_abs",
    "error_ulp", "median_ulp", "allowance", "share", "sharpest_share", "form", "certified_bits", "worst_index",
    "verdict", "reason",
)  # fmt: skip
VERDICTS_OF_1 = ("conforms", "deviates", "vacuous", "out of range", "undecided", "unsupported", "crashed")
_RENAMED = {"form": "accepted_form"}
#: What an old verdict says of formula, execution and accuracy. A form was accepted only if it was proved equal to the
#: formula, so that what a form admits is right; whether a deviation is of the formula was not asked.
_ANSWERS: Mapping[str, tuple[str | None, str | None, str | None]] = {
    "conforms": ("right", "within", "certified"),
    "vacuous": ("right", "within", "vacuous"),
    "deviates": (None, "outside", None),
    "out of range": (None, "overflow", None),
    "undecided": (None, "undecided", None),
}


def upgraded(values: Mapping[str, Any]) -> dict[str, Any]:
    """A measurement with the columns of schema 1, and a verdict of then, as one with the columns of today."""
    known = {_RENAMED.get(name, name): value for name, value in values.items()}
    answers = _ANSWERS.get(values["verdict"], (None, None, None))
    known |= dict(zip(("formula", "execution", "accuracy"), answers, strict=True))
    return {name: known.get(name) for name in COLUMNS}
