"""Colours of verdicts."""

from __future__ import annotations

from gradconform.reference.measurement import Measurement

RED = ("deviates", "undecided", "crashed", "unsupported")
VERDICT_STYLE = {"conforms": "green", **dict.fromkeys(RED, "red")}


def style(m: Measurement) -> str:
    """Green for a pass, red for a failure or no verdict, yellow for what is neither."""
    return VERDICT_STYLE.get(m.verdict, "yellow")
