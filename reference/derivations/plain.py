"""Plain numbers: the formulas on Python floats or NumPy arrays, to read, to teach and to compare speed with."""

from __future__ import annotations

from typing import Any

import numpy as np

from gradconform.reference.arithmetic.exact import HandWritten


class PlainNumbers(HandWritten):
    """Operations on floats and arrays; a result has the dtype of its operands."""

    def exp(self, x: Any) -> Any:
        return np.exp(x)


PLAIN = PlainNumbers()
