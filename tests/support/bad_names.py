"""What command lines name that is wrong: no adapter, no case, no function, arguments that are none."""

from __future__ import annotations

from typing import Any

import torch

import gradconform as gc
from gradconform.reference.cases import Point

number = 3
empty = object()
numbers: dict[str, Any] = {"inputs": (1, 1), "targets": (0, 1), "rate": 1}
some = [gc.document_case(f"mine/{n}", weights=[n] * 8, **numbers) for n in (1, 2)]


def cases() -> list[Any]:
    return [(torch.tensor([0.5]),)]


def no_cases() -> list[Any]:
    return []


def bad_cases() -> list[Any]:
    raise RuntimeError("boo")


def number_cases() -> int:
    return 3


def good(x: torch.Tensor) -> torch.Tensor:
    return x * x


def failing(x: torch.Tensor) -> torch.Tensor:
    raise ValueError("no\x1b[31m")


class Adapter:
    name = "x y"
    routes = ()

    def answer(self, point: Point, route: str) -> None: ...


adapter = Adapter()
