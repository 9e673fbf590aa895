"""A wrong gradient beside its right counterpart, and the numbers that both are given."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

NUMBERS: dict[str, Callable[[NDArray[np.float64]], NDArray[np.float64]]] = {
    "normal": lambda x: x,
    "positive": lambda x: np.abs(x) + 0.5,
    "inside": lambda x: 0.9 * np.tanh(x),
    "near": lambda x: x / 4 + 3 * np.eye(*x.shape) if x.ndim == 2 else x,
    # Whatever is drawn, numbers of both signs, on either side of ±½ and ±1.
    "spread": lambda x: np.resize([1.6, -0.3, 0.3, -1.6], x.shape) * (1 + 0.1 * np.tanh(x)),
}  # fmt: skip


@dataclass(frozen=True)
class Subject:
    """A function with a wrong gradient, the same with a right one, and their arguments by dtype and seed.

    `culprit` is the rule that is at fault, empty where there is none to name; `text` are both rules.
    """

    name: str
    framework: str
    fault: str
    wrong: Callable[..., Any]
    right: Callable[..., Any]
    arguments: Callable[[str, int], list[Any]]
    dtypes: tuple[str, ...]
    culprit: str = ""
    text: str = ""


def drawn(shapes: Sequence[tuple[int, ...]], numbers: str, seed: int, complex: Sequence[bool] = ()) -> list[Any]:
    """Arrays of float64, or of complex128 where that is asked for."""
    random = np.random.default_rng(seed)

    def of(shape: tuple[int, ...]) -> NDArray[np.float64]:
        return np.asarray(NUMBERS[numbers](random.normal(size=shape)), dtype=np.float64).reshape(shape)

    found: list[Any] = [of(s) for s in shapes]
    return [x + 1j * of(x.shape) if both else x
            for x, both in itertools.zip_longest(found, complex[: len(found)], fillvalue=False)]  # fmt: skip
