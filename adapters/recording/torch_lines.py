"""Where in the user's source an operation stands."""

from __future__ import annotations

import os
import sys
import traceback
from functools import cache
from pathlib import Path
from types import FrameType
from typing import Any

import torch

_TORCH = str(Path(torch.__file__).parent) + os.sep
#: Frames of the recorder itself, by the name under which the interpreter has them.
_OWN = str(Path(__file__).parent.parent) + os.sep
_PASSED = ("contextlib.py", "functools.py", "<frozen")

#: The functions of the entry that call what is recorded: no frame beyond them is the program's.
CALLERS: set[object] = set()


def here() -> str:
    """The innermost line of the program that is running, as `file:line, function`; "" where there is none.

    PyTorch's own frames and the recorder's are passed over.
    """
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        code = frame.f_code
        if code in CALLERS:
            return ""
        name = code.co_filename
        if not _passed(name, code.co_name):
            return f"{_short(name)}:{frame.f_lineno}, {code.co_name}"
        frame = frame.f_back
    return ""


def defined_at(function: Any) -> str:
    """Where a function is defined, as `here` has it; "" of what is not written in Python."""
    code = getattr(function, "__code__", None)
    return "" if code is None else f"{_short(code.co_filename)}:{code.co_firstlineno}, {code.co_name}"


def written(frame: traceback.FrameSummary) -> str:
    """A frame of a traceback as `here` has it; "" of one that is PyTorch's or the recorder's."""
    if _passed(frame.filename, frame.name):
        return ""
    return f"{_short(frame.filename)}:{frame.lineno}, {frame.name}"


@cache
def _passed(name: str, function: str) -> bool:
    """Whether a file's function is PyTorch's, the recorder's, or what Python makes for a dataclass."""
    made = name == "<string>" and function.startswith("__")
    return made or name.startswith((_TORCH, _OWN)) or any(p in name for p in _PASSED)


def _short(name: str) -> str:
    below = os.getcwd() + os.sep
    return name.removeprefix(below)


class Lines:
    """The line of every operation: its own in the forward program, its node's in the backward one."""

    def __init__(self) -> None:
        self._of_node: dict[int, str] = {}

    def of(self, kernel: str) -> str:
        """The line for an operation that is dispatched now."""
        line = here()
        if line:
            # The node of an operation is made just before the operation is dispatched.
            self._of_node.setdefault(torch._C._autograd._get_sequence_nr() - 1, line)
            return line
        node = torch._C._current_autograd_node()
        if node is None:
            return kernel
        of = self._of_node.get(node._sequence_nr(), "")
        return f"{of} (backward: {node.name()})" if of else f"{node.name()}, {kernel}"
