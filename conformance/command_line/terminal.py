"""Standard output and error as people's systems have them: any encoding, a closed pipe, a full disk, no terminal."""

from __future__ import annotations

import io
import os
import re
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO, cast

import click
from rich.console import Console, ConsoleDimensions
from rich.text import Text

from gradconform.reference.arithmetic.text import visible

#: The exit status of a command whose standard output could not be written, whatever it found.
UNWRITTEN = 4
#: The variable by which a shell asks for completions, as click names it after the program.
COMPLETE = "_GRADCONFORM_COMPLETE"
#: What is printed instead, where an encoding has no such character. One that is not here is spelled out, as \\u2135.
PLAIN = str.maketrans({
    "∂": "d", "η": "eta", "σ": "sigma", "Φ": "Phi", "φ": "phi", "Σ": "sum", "λ": "lambda", "δ": "delta", "ε": "epsilon",
    "κ": "kappa", "·": "*", "×": "x", "÷": "/", "−": "-", "–": "-", "—": "-", "±": "+-", "≤": "<=", "≥": ">=",
    "≠": "!=", "≈": "~", "√": "sqrt", "∞": "inf", "½": "1/2", "⅓": "1/3", "ᵀ": "^T", "′": "'", "‖": "||", "→": "->",
    "…": "...", "↓": "v", "∈": "in", "“": '"', "”": '"', "‘": "'", "’": "'",
    "⁰": "^0", "¹": "^1", "²": "^2", "³": "^3", "⁴": "^4", "⁵": "^5", "⁶": "^6", "⁷": "^7", "⁸": "^8", "⁹": "^9",
    "⁻": "^-", "₂": "_2", "━": "-", "╸": "-", "╺": "-",
})  # fmt: skip
#: A line that ends with a command to be typed, and what stands before that.
_COMMAND = re.compile(r"(|.*: |\s+)(gradconform (?:run|verify|explain|report|diff) .*)")
#: The width of what is no terminal and has no COLUMNS: nothing is wrapped or cut to it.
_UNBOUNDED = 100_000


def plain(text: str, encoding: str | None) -> str:
    """The text as an encoding can hold it.

    >>> plain("∂E/∂w1 = −½·ℵ", "ascii")
    'dE/dw1 = -1/2*\\\\u2135'
    """
    if encoding is None:
        return text
    with suppress(UnicodeEncodeError):
        text.encode(encoding)
        return text
    return "".join(_fitting(c, encoding) for c in text)


def _fitting(character: str, encoding: str) -> str:
    with suppress(UnicodeEncodeError):
        character.encode(encoding)
        return character
    known = character.translate(PLAIN)
    return known if known != character else character.encode("ascii", "backslashreplace").decode()


class Output:
    """A stream that is written as far as it can be: `problem` says why it could not be, None while it can.

    A command goes on without it, so that what it measures is not lost with what it says.
    """

    def __init__(self, stream: TextIO | None) -> None:
        self.stream = stream
        self.problem: str | None = None
        #: Whether somebody who reads it has had enough, as `head` has.
        self.left = False

    @property
    def encoding(self) -> str:
        return getattr(self.stream, "encoding", None) or "utf-8"

    @property
    def errors(self) -> str:
        return "strict"

    def write(self, text: str) -> int:
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        if self.stream is None and text:
            self.problem = "it is closed"
        if self.stream is not None and self.problem is None:
            try:
                self.stream.write(plain(text, getattr(self.stream, "encoding", None)))
            except (OSError, ValueError) as error:
                self._lose(error)
        return len(text)

    def flush(self) -> None:
        if self.stream is not None and self.problem is None:
            try:
                self.stream.flush()
            except (OSError, ValueError) as error:  # ValueError: closed by somebody in this process
                self._lose(error)

    def _lose(self, error: OSError | ValueError) -> None:
        self.left = isinstance(error, BrokenPipeError)
        self.problem = (error.strerror if isinstance(error, OSError) else None) or str(error)
        with suppress(OSError, ValueError, AttributeError):
            # What is left in the stream's buffer is written again when the interpreter ends, which then complains.
            descriptor = self.fileno()
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, descriptor)
            os.close(nowhere)

    def close(self) -> None:
        """Leave the stream open: libraries close what they found as standard error when the interpreter ends."""
        self.flush()

    def isatty(self) -> bool:
        with suppress(ValueError, AttributeError):
            return self.stream is not None and self.stream.isatty()
        return False

    def fileno(self) -> int:
        if self.stream is None:
            raise io.UnsupportedOperation("fileno")
        return self.stream.fileno()

    def writable(self) -> bool:
        return True


@contextmanager
def written() -> Iterator[None]:
    """While this lasts, what is printed survives; afterwards the process ends with UNWRITTEN where some of it did not.

    A descriptor below 3 that is closed is opened: else the next file would get its number, and what others print.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    saved = sys.stdout, sys.stderr
    output, problems = Output(sys.stdout), Output(sys.stderr)
    sys.stdout, sys.stderr = cast("TextIO", output), cast("TextIO", problems)
    try:
        yield
    finally:
        output.flush()
        if output.problem is not None and not output.left:
            what = f"standard output could not be written: {output.problem}"
            problems.write(f"gradconform: {what}; send it elsewhere; files that were asked for are not concerned\n")
        problems.flush()
        sys.stdout, sys.stderr = saved
        if output.problem is not None:
            sys.exit(UNWRITTEN)


class Commands(click.Group):
    """A group of commands whose output survives any encoding and a closed or full standard output."""

    def main(self, *args: Any, standalone_mode: bool = True, **extra: Any) -> Any:
        if not standalone_mode or COMPLETE in os.environ:  # a shell asks for completions, which click writes as bytes
            return super().main(*args, **{"standalone_mode": standalone_mode, **extra})
        with written():
            return super().main(*args, **extra)


class Terminal(Console):
    """A console that shows text as it is: no markup, no emoji codes, and control characters spelled out.

    Names and reasons come from plug-ins and run files; what they hold must not move the cursor, set a colour or a
    title, or turn the direction of the text. Lines are wrapped on a terminal, or to COLUMNS where that is set: what is
    piped stays whole.
    """

    @property
    def unbounded(self) -> bool:
        return not self.is_terminal and "COLUMNS" not in os.environ

    @property
    def size(self) -> ConsoleDimensions:
        return ConsoleDimensions(_UNBOUNDED, 25) if self.unbounded else super().size

    @size.setter
    def size(self, new: tuple[int, int]) -> None:
        self._width, self._height = new

    def print(self, *objects: Any, **options: Any) -> None:
        super().print(*objects, **{"soft_wrap": self.unbounded, **options})

    def say(self, text: str, style: str | None = None, indent: str = "    ") -> None:
        """Print text whose lines, where they are wrapped, go on indented; commands stay on one line, to be pasted."""
        for line in text.split("\n"):
            self.print(self._wrapped(line, indent), style=style, markup=False, soft_wrap=True)

    def _wrapped(self, line: str, indent: str) -> str:
        if self.unbounded or len(line) <= self.width:
            return line
        own = line[: len(line) - len(line.lstrip())]
        found = _COMMAND.fullmatch(line)
        said, command = (found[1], found[2]) if found else (line, "")
        if not said.strip():
            return line
        lines = textwrap.wrap(
            said, self.width, subsequent_indent=own + indent, break_long_words=False, break_on_hyphens=False
        )
        return "\n".join([*lines, *([f"{own}{indent}{command}"] if command else [])])

    def render_str(self, text: str, **options: Any) -> Text:
        return super().render_str(visible(text), **{**options, "markup": False, "emoji": False})


console = Terminal(highlight=False)
errors = Terminal(stderr=True, highlight=False)
