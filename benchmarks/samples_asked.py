"""What is asked of a sample."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Asked:
    """A sample of a function: how it is called on some of its arguments, and these."""

    name: str
    sample: str
    of: tuple[str, ...]
    f: Callable[..., Any]
    given: tuple[Any, ...]
