"""The ways through a program's overflows: as many as are followed, and no more."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from gradconform.reference.arithmetic.formats import FLOAT16
from gradconform.reference.arithmetic.profiles import OPENCL
from gradconform.reference.outcomes import Choices
from gradconform.reference.programs.allowance import MOST_WAYS, outcomes_of
from gradconform.reference.programs.record import Record


def test_of_hundreds_of_ways_no_more_are_made_than_are_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is as long as there are decisions: all of them take memory by the square of these."""
    made, every = [], Choices.alternatives

    def counted(self: Choices) -> Iterator[tuple[int, ...]]:
        for script in every(self):
            made.append(len(script))
            yield script

    monkeypatch.setattr(Choices, "alternatives", counted)
    a = FLOAT16.round(np.linspace(200.0, 400.0, 600))
    b = FLOAT16.round(65510.0 / a)
    record = Record()
    products = record.map("multiply", [record.new(a.shape, a), record.new(b.shape, b)], FLOAT16, a * b)
    (found,) = outcomes_of(record, OPENCL, [(products, FLOAT16)])
    open_ = sum(65488 < x < 65520 for x in a * b)  # rounding takes them to infinity, or not
    assert open_ > 4 * MOST_WAYS
    assert max(map(len, found)) == MOST_WAYS + 1
    assert MOST_WAYS <= len(made) <= MOST_WAYS**2
