"""Where the random number generators of NumPy and Python stand, so that every run of a function draws the same."""

from __future__ import annotations

import random

import numpy as np


class RandomState:
    """The state of both generators when it was made."""

    def __init__(self) -> None:
        self._numpy, self._python = np.random.get_state(), random.getstate()

    def restore(self) -> None:
        np.random.set_state(self._numpy)
        random.setstate(self._python)

    def moved(self) -> bool:
        """Whether numbers were drawn since."""
        _, before, at, *_ = self._numpy
        _, now, then, *_ = np.random.get_state()
        return at != then or not np.array_equal(before, now) or self._python != random.getstate()
