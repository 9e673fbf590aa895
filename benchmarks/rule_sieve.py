"""Which mutants of the rounding rules give something else: the first sieve of `mutants.py`, some hundreds a minute.

A mutant's functions take the place of the rules' own in this process, and what `tests/test_rule_values.py` asks is
asked again where it came through the line that was changed: the values of balls (`rule_values.py`), and whether arrays
have them too (`rule_arrays.py`), every operation in every format, until one gives something else. That something
changes is all that this says, which for a rule is enough: no value of it is free.
"""

from __future__ import annotations

import ast
import signal
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, FrameType, FunctionType, ModuleType
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
import rule_values
from rule_arrays import array_cases, array_operations

from gradconform.reference.arithmetic import function_rules, rules, sum_rules
from gradconform.reference.arithmetic.exact import precision

MODULES = {f"reference/arithmetic/{m.__name__.rpartition('.')[2]}.py": m for m in (rules, function_rules, sum_rules)}
#: Seconds for all cases of a mutant; one that takes longer hangs, and is noticed.
PATIENCE = 300


@dataclass(frozen=True)
class Case:
    """One use of an operation, and what it gave."""

    name: str
    again: Callable[[], str]
    gave: str


class Sieve:
    """All cases, or some operations', each by the lines of rules that it comes through."""

    def __init__(self, operations: Iterable[str] | None = None) -> None:
        files = {m.__file__: file for file, m in MODULES.items()}
        self.statements = {file: _statements(Path(str(m.__file__)).read_text("utf-8")) for file, m in MODULES.items()}
        self.by_line: dict[tuple[str, int], list[Case]] = defaultdict(list)
        with precision(rule_values.BITS):
            for name, again in _uses(operations):
                lines: set[tuple[str, int]] = set()
                with _traced(files, lines):
                    case = Case(name, again, again())
                for line in lines:
                    self.by_line[line].append(case)

    def notices(self, file: str, line: int, text: str) -> str | None:
        """The first operation that gives something else, or raises, where the text differs in the line's statement."""
        with precision(rule_values.BITS), _in_place(MODULES[file], text), _patience():
            for case in _spread(self.through(file, line)):
                try:
                    if case.again() != case.gave:
                        return case.name
                except Exception as error:
                    return f"{case.name}: {type(error).__name__}"
        return None

    def through(self, file: str, line: int) -> list[Case]:
        """The cases that come through a line's statement; every one of the file's if that is outside of functions."""
        first, last = self.statements[file][line]
        lines = [(file, n) for n in range(first, last + 1)]
        if not any(at in self.by_line for at in lines):
            lines = [at for at in self.by_line if at[0] == file]
        return list({id(case): case for at in lines for case in self.by_line[at]}.values())


def _uses(operations: Iterable[str] | None) -> Iterator[tuple[str, Callable[[], str]]]:
    for known, cases, of in (
        (rule_values.operations(), rule_values.cases, "balls"),
        (array_operations(), array_cases, "arrays"),
    ):
        for name in known if operations is None else known.keys() & set(operations):
            yield from ((f"{name} of {of}", again) for again in cases(name))


def _statements(source: str) -> dict[int, tuple[int, int]]:
    """Of every line the first and the last line of its statement; of one that holds others those of its head."""
    found: dict[int, tuple[int, int]] = {}
    for node in ast.walk(ast.parse(source)):  # the outer ones first
        if isinstance(node, ast.stmt):
            inner: list[ast.stmt] = getattr(node, "body", [])
            last = max(inner[0].lineno - 1, node.lineno) if inner else node.end_lineno or node.lineno
            found |= dict.fromkeys(range(node.lineno, last + 1), (node.lineno, last))
    return found


def _spread(cases: list[Case]) -> Iterator[Case]:
    """The same, of every part of the list some first."""
    for start in range(97):
        yield from cases[start::97]


@contextmanager
def _traced(files: dict[str | None, str], lines: set[tuple[str, int]]) -> Iterator[None]:
    def frames(frame: FrameType, event: str, argument: Any) -> Any:
        file = files.get(frame.f_code.co_filename)
        if file is None:
            return None

        def line(frame: FrameType, event: str, argument: Any) -> Any:
            lines.add((file, frame.f_lineno))
            return line

        return line

    before = sys.gettrace()
    sys.settrace(frames)
    try:
        yield
    finally:
        sys.settrace(before)


@contextmanager
def _in_place(module: ModuleType, text: str) -> Iterator[None]:
    """The module's functions with another text's code, whoever has imported them, and its numbers."""
    other: dict[str, Any] = {"__name__": module.__name__}
    exec(compile(text, str(module.__file__), "exec"), other)
    kept: list[tuple[FunctionType, CodeType, tuple[Any, ...] | None]] = []
    numbers = {n: v for n, v in vars(module).items() if type(v) in (int, float)}
    try:
        for name, value in list(vars(module).items()):
            if isinstance(value, FunctionType) and value.__module__ == module.__name__:
                kept.append((value, value.__code__, value.__defaults__))
                value.__code__, value.__defaults__ = other[name].__code__, other[name].__defaults__
            elif name in numbers:
                setattr(module, name, other[name])
        yield
    finally:
        for function, code, defaults in kept:
            function.__code__, function.__defaults__ = code, defaults
        for name, value in numbers.items():
            setattr(module, name, value)


@contextmanager
def _patience() -> Iterator[None]:
    def late(number: int, frame: FrameType | None) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(PATIENCE)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
