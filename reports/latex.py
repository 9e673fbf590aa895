"""Tables for paper: LaTeX longtables that fit the text width of a plain article, numbers to the right.

A table is text, as `publish.rounded` gives it. Nothing in it is a command: what LaTeX has no sign for is printed by its
code point.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import pandas as pd

#: The text width of LaTeX's article, in points; what is narrower than that fits wider pages too.
WIDTH = 345.0
#: The sizes that are tried, and how wide a digit is in them, in points.
_SIZES = ((r"\footnotesize", 4.6), (r"\scriptsize", 4.0), (r"\tiny", 3.5))
#: What stands between two columns.
_GAP = 5.0
_NUMBER = re.compile(r"(-?)([0-9][0-9,.]*)(?:e([+-]?)0*([0-9]+))?|(-?)(inf)|nan", re.ASCII)

_LATEX = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "%": r"\%",
    "_": r"\_\allowbreak{}",
    "^": r"\textasciicircum{}", "~": r"\textasciitilde{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", '"': r"\textquotedbl{}", "/": r"/\allowbreak{}", "∂": r"$\partial$", "η": r"$\eta$",
    "σ": r"$\sigma$", "Φ": r"$\Phi$", "φ": r"$\varphi$", "Σ": r"$\Sigma$", "·": r"$\cdot$\allowbreak{}", "−": r"$-$",
    "±": r"$\pm$", "½": r"$\frac12$", "ᵀ": r"$^{\mathsf T}$", "²": r"$^2$", "′": "$'$", "≤": r"$\le$", "∞": r"$\infty$",
    "(": r"(\allowbreak{}", ".": r".\allowbreak{}", ":": r":\allowbreak{}", "=": r"=\allowbreak{}",
    "ᶻ": r"$^z$", "⁻": r"$^-$", "¹": r"$^1$", "…": r"\dots{}", "’": "'", "×": r"$\times$",
}  # fmt: skip
PREAMBLE = r"% Needs \usepackage[T1]{fontenc} and \usepackage{array,booktabs,graphicx,longtable}." + "\n"


def escaped(text: str) -> str:
    """Text as LaTeX prints it; a character that it has no sign for by its code point."""
    return "".join(_LATEX.get(c, c if " " <= c <= "~" else f"[U+{ord(c):04X}]") for c in text)


def number(text: str) -> str:
    """A number as LaTeX prints it: 1.13e+15 as a product with a power of ten, −, ∞; other text escaped."""
    got = _NUMBER.fullmatch(text)
    if not got:
        return escaped(text)
    sign, digits, exponent_sign, exponent, minus, infinite = got.groups()
    if infinite:
        return f"${minus}\\infty$"
    if digits is None:
        return text
    if exponent and not exponent_sign.startswith("-") and int(exponent) < 5:
        return f"${sign}{float(text.lstrip('-')):,.0f}$".replace(",", "{,}") if "," not in digits else escaped(text)
    power = f"{{\\cdot}}10^{{{exponent_sign.replace('+', '')}{exponent}}}" if exponent else ""
    return f"${sign}{digits.replace(',', '{,}')}{power}$" if sign or power else digits


@dataclass(frozen=True)
class _Column:
    heading: str
    cells: tuple[str, ...]
    numbers: bool

    def longest(self) -> float:
        """How wide the longest line of a cell is, in digits."""
        # A minus is wider than a digit, and a power of ten than the text of its exponent.
        more = {"-": 0.75, "e": 2.0} if self.numbers else {}
        lines = [line for cell in self.cells for line in cell.split("\n")]
        return max((len(line) + sum(more.get(c, 0.0) for c in line) for line in lines), default=1.0)

    def heading_lines(self) -> list[str]:
        """The heading of numbers in lines no longer than they have to be, also at a hyphen."""
        words = re.sub(r"(?<=\w{3})-", "- ", self.heading).split()
        longest = max(self.longest(), *map(len, words))
        lines = [""]
        for word in words:
            line = f"{lines[-1]} {word}".strip()
            lines = [*lines[:-1], line] if len(line) <= longest or not lines[-1] else [*lines, word]
        return lines


def is_numbers(cells: Iterable[str]) -> bool:
    """Whether every entry is a number, or a set of them, and there is one."""
    lines = [line for cell in cells for line in cell.split("\n") if line]
    return bool(lines) and all(_NUMBER.fullmatch(line) or line.startswith("[") for line in lines)


def _columns(table: pd.DataFrame) -> list[_Column]:
    return [_Column(str(name), tuple(table[name]), is_numbers(table[name])) for name in table]


def longtable(
    table: pd.DataFrame, caption: str, label: str, *, under: str | None = None, below: Sequence[str] = ()
) -> str:
    """The table as a longtable no wider than WIDTH.

    Of rows of one value of the column `under` that value is a heading of theirs; of each row `below` is printed under
    it, as wide as the table. A cell of several lines is a stack.
    """
    if table.empty:
        return f"{PREAMBLE}\\noindent {escaped(caption)}\n"
    columns = _columns(table.drop(columns=[under] if under else []))
    size, digit, rotated = _fitting(columns)
    widths = _widths(columns, digit, rotated)
    spec = "@{}" + "".join(
        "r" if c.numbers else f">{{\\raggedright\\arraybackslash}}p{{{w / WIDTH:.3f}\\linewidth}}"
        for c, w in zip(columns, widths, strict=True)
    )
    head = " & ".join(_heading(c, rotated) for c in columns) + r" \\" + "\n\\midrule\n"
    count = len(columns)
    lines: list[str] = []
    for i in range(len(table)):
        if under and (i == 0 or table[under].iloc[i] != table[under].iloc[i - 1]):
            space = "\\addlinespace\n" if i else ""
            lines.append(
                f"{space}\\multicolumn{{{count}}}{{@{{}}l}}{{\\textbf{{{escaped(table[under].iloc[i])}}}}} \\\\*"
            )
        lines.append(" & ".join(_cell(c, c.cells[i]) for c in columns) + (r" \\*" if below else r" \\"))
        if below:
            inner = f"\\hspace*{{1em}}\\parbox[t]{{0.94\\linewidth}}{{\\raggedright {escaped(below[i])}\\strut}}"
            lines.append(f"\\multicolumn{{{count}}}{{@{{}}l}}{{{inner}}} \\\\ \\addlinespace")
    body = "\n".join(lines)
    again = (
        f"\\multicolumn{{{count}}}{{r}}{{continued on the next page}} \\\\\n\\endfoot\n\\bottomrule\n\\endlastfoot\n"
    )
    return (
        f"{PREAMBLE}{{{size}\\setlength{{\\tabcolsep}}{{{_GAP / 2}pt}}\n\\begin{{longtable}}{{{spec}@{{}}}}\n"
        f"\\caption{{{escaped(caption)}}} \\label{{tab:{label}}} \\\\\n\\toprule\n{head}\\endfirsthead\n"
        f"\\toprule\n{head}\\endhead\n\\midrule\n{again}{body}\n\\end{{longtable}}}}\n"
    )


def _needed(columns: Sequence[_Column], digit: float, rotated: bool) -> list[float]:
    """What a column needs at least: of numbers all, of text half of the longest, or a dozen characters."""
    found = []
    for c in columns:
        heading = 2 if c.numbers and rotated else max(map(len, c.heading_lines()))
        cells = c.longest() if c.numbers else min(c.longest(), 12)
        found.append(digit * max(heading, cells))
    return found


def _fitting(columns: Sequence[_Column]) -> tuple[str, float, bool]:
    """The largest size in which every column has what it needs, headings on their side where they have to be."""
    room = WIDTH - _GAP * (len(columns) - 1)
    for size, digit in _SIZES:
        for rotated in (False, True):
            if sum(_needed(columns, digit, rotated)) <= room:
                return size, digit, rotated
    return *_SIZES[-1], True


def _widths(columns: Sequence[_Column], digit: float, rotated: bool) -> list[float]:
    """Of the room that is left each column of text takes as much as it still lacks, in proportion."""
    needed = _needed(columns, digit, rotated)
    room = WIDTH - _GAP * (len(columns) - 1) - sum(needed)
    lacking = [
        0.0 if c.numbers else max(0.0, digit * (c.longest() + 1) - w) for c, w in zip(columns, needed, strict=True)
    ]
    part = min(1.0, max(0.0, room) / (sum(lacking) or 1.0))
    return [w + part * more for w, more in zip(needed, lacking, strict=True)]


def _heading(column: _Column, rotated: bool) -> str:
    if not column.numbers:
        return escaped(column.heading)
    if rotated:
        return f"\\rotatebox{{90}}{{{escaped(column.heading)}}}"
    return _stack(map(escaped, column.heading_lines()))


def _stack(lines: Iterable[str]) -> str:
    """Lines of a heading; the last is the one that stands beside the others' headings."""
    first, *others = lines
    return "\\shortstack[r]{" + r" \\ ".join([first, *others]) + "}" if others else first


def _cell(column: _Column, cell: str) -> str:
    if column.numbers:
        first, *others = map(number, cell.split("\n"))
        return "\\begin{tabular}[t]{@{}r@{}}" + r" \\ ".join([first, *others]) + "\\end{tabular}" if others else first
    return r"\newline ".join(escaped(line) for line in cell.split("\n"))
