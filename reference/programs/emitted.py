"""The arithmetic that records: a formula run over it emits the steps of a program, and is judged as one.

Values are tensors of numbers of a format. A setting of the program's text, such as η or β, is a Python float: with
other settings it makes float64 numbers, and it is rounded once to the format of the tensor that it meets. So
1 − β^t is what Python makes of it, and β·m has β in the dtype of m, or in float32 where a 16-bit kernel keeps it so.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from gradconform.reference.arithmetic.formats import FLOAT32, FLOAT64, FORMATS, Format
from gradconform.reference.programs.operators import Operators
from gradconform.reference.programs.record import Ids, Numbers, Record


@dataclass(frozen=True, eq=False)
class Emitted(Operators["Emitted"]):
    """Numbers of a program: their ids, what they are to float64 for the program to decide by, and their format.

    Of a `setting` the format is what Python has it in.
    """

    ops: Emitting
    ids: Ids
    near: Numbers
    format: Format
    setting: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        return self.ids.shape

    @property
    def T(self) -> Emitted:
        return Emitted(self.ops, self.ids.T, self.near.T, self.format)

    def mapped(self, function: str, *operands: Any) -> Emitted:
        return self.ops.map(function, *operands)

    def __pow__(self, power: int) -> Emitted:
        if power == 2:
            return self.ops.map("square", self)
        return self.ops.map("power", self, power)

    def __matmul__(self, other: Emitted) -> Emitted:
        return self.ops.matrix_product(self, other)


#: Functions to float64, by which a program decides.
_NEAR: Mapping[str, Callable[..., Any]] = {
    "negative": np.negative, "add": np.add, "subtract": np.subtract, "multiply": np.multiply, "divide": np.divide,
    "square": np.square, "power": np.power, "sqrt": np.sqrt, "absolute": np.abs, "sign": np.sign,
    "round": lambda x: x, "cos": np.cos, "rsqrt": lambda x: 1 / np.sqrt(x),
}  # fmt: skip


@dataclass(frozen=True)
class Emitting:
    """The operations of formulas, as steps of a record. `settings` is the format that the program keeps settings in.

    With `by_float32` operations on 16-bit numbers are done in float32, and each result is rounded: as most processors
    do them, who then read subnormal numbers of float16 as they are.
    """

    record: Record
    settings: Format = FLOAT64
    by_float32: bool = False

    # Numbers ----------------------------------------------------------------------------------------------------------

    def tensor(self, ids: Ids, format: Format, narrowed: bool = False) -> Emitted:
        """Numbers that the record holds.

        Such as may be `narrowed` are first read in their own format, which holds them: a narrower one would take them
        for rounded already.
        """
        known = self.record.map("round", [ids], format) if narrowed else ids
        return Emitted(self, known, np.asarray(self.record.held[ids]), format)

    def setting(self, ids: Ids) -> Emitted:
        """A number of the program's text."""
        # Read in float64 first, which holds it: a narrower format that does not would take it for rounded.
        known = self.record.map("round", [ids], FLOAT64)
        found = Emitted(self, known, np.asarray(self.record.held[ids]), FLOAT64, setting=True)
        return found if self.settings is FLOAT64 else self._to(found, self.settings)

    def item(self, x: Emitted) -> Emitted:
        """A tensor of one number as a Python float."""
        return Emitted(self, self.record.map("round", [x.ids], self.settings), x.near, self.settings, setting=True)

    def _of(self, x: Any) -> Emitted:
        if isinstance(x, Emitted):
            return x
        ids = np.asarray(self.record.number(float(x)), dtype=np.int64)
        return Emitted(self, ids, np.asarray(float(x)), self.settings, setting=True)

    def _to(self, x: Emitted, format: Format) -> Emitted:
        ids = self.record.map("round", [x.ids], format)
        return Emitted(self, ids, np.asarray(x.near), format, x.setting)

    def cast(self, x: Emitted, format: str) -> Emitted:
        """The numbers in a format that the program names, whatever the others are in."""
        return self._to(x, FORMATS[format])

    def wide(self, x: Emitted) -> Emitted:
        """A tensor of a 16-bit format in float32, which holds it."""
        if x.setting or x.format.precision >= FLOAT32.precision:
            return x
        return self._to(x, FLOAT32)

    def rounded(self, x: Emitted, format: Format) -> Emitted:
        """A result in its own format."""
        return x if x.format is format and not x.setting else self._to(x, format)

    def _together(self, operands: Sequence[Any]) -> tuple[list[Emitted], Format, bool]:
        """Operands in one format: the widest of the tensors', or where all are settings that of these."""
        given = [self._of(x) for x in operands]
        tensors = [x for x in given if not x.setting]
        if not tensors:
            return given, self.settings, True
        format = max((x.format for x in tensors), key=lambda f: f.precision)
        same = [x if x.format is format and not x.setting else self._read(x, format) for x in given]
        return same, format, False

    def _read(self, x: Emitted, format: Format) -> Emitted:
        """An operand of another format; a small whole number of the text is what it is in each."""
        if x.setting and x.near.size == 1 and float(x.near).is_integer() and abs(float(x.near)) <= 8:
            return Emitted(self, x.ids, x.near, format)
        return self._to(x, format)

    # Operations -------------------------------------------------------------------------------------------------------

    def map(self, function: str, *operands: Any) -> Emitted:
        """A scalar function, element by element."""
        given, format, setting = self._together(operands)
        within = self._within(format)
        ids = self.record.map(function, [self._in(x, within).ids for x in given], within)
        with np.errstate(all="ignore"):
            near = np.asarray(_NEAR[function](*(x.near for x in given)))
        return self._back(Emitted(self, ids, np.broadcast_to(near, ids.shape), within, setting), format)

    def _within(self, format: Format) -> Format:
        """The format in which operations on numbers of this one are done."""
        return FLOAT32 if self.by_float32 and format.precision < FLOAT32.precision else format

    def _in(self, x: Emitted, format: Format) -> Emitted:
        return x if x.format is format or x.setting else self._to(x, format)

    def _back(self, x: Emitted, format: Format) -> Emitted:
        return x if x.format is format or x.setting else self._to(x, format)

    def once(self, formula: Callable[..., Emitted], *operands: Emitted) -> Emitted:
        """A formula that a kernel computes in float32 where its operands are of 16 bits, and rounds once."""
        format = max((x.format for x in operands if not x.setting), key=lambda f: f.precision)
        return self.rounded(formula(*map(self.wide, operands)), format)

    @staticmethod
    def repeated(times: int, formula: Callable[[Emitted], Emitted], x: Emitted, name: str) -> Emitted:
        """A formula of what it gave before, so many times; the name is for the reader."""
        for _ in range(times):
            x = formula(x)
        return x

    def sqrt(self, x: Any) -> Emitted:
        return self.map("sqrt", x)

    def rsqrt(self, x: Any) -> Emitted:
        return self.map("rsqrt", x)

    @staticmethod
    def pi() -> float:
        """π as Python has it."""
        return math.pi

    def cos(self, x: Any) -> Emitted:
        return self.map("cos", x)

    def power(self, x: Any, y: Any) -> Emitted:
        return self.map("power", x, y)

    def absolute(self, x: Any) -> Emitted:
        return self.map("absolute", x)

    def sign(self, x: Any) -> Emitted:
        return self.map("sign", x)

    def larger(self, x: Any, y: Any) -> Emitted:
        """The larger of two numbers, element by element."""
        return self._extreme("maximum", x, y)

    def smaller(self, x: Any, y: Any) -> Emitted:
        return self._extreme("minimum", x, y)

    def _extreme(self, kind: Literal["maximum", "minimum"], x: Any, y: Any) -> Emitted:
        (a, b), format, setting = self._together([x, y])
        left, right = np.broadcast_arrays(a.ids, b.ids)
        ids = self.record.combine(kind, np.stack([left, right], -1), format)
        near = (np.maximum if kind == "maximum" else np.minimum)(a.near, b.near)
        return Emitted(self, ids, np.broadcast_to(near, ids.shape), format, setting)

    def largest(self, x: Emitted) -> Emitted:
        """The largest of all numbers."""
        row = self._last(x, None)
        ids = self.record.combine("maximum", row.ids, row.format)
        return Emitted(self, ids, np.asarray(row.near.max()), row.format)

    def joined(self, parts: Sequence[Emitted]) -> Emitted:
        """The numbers of several tensors as one row."""
        same, format, setting = self._together(parts)
        ids = np.concatenate([np.ravel(x.ids) for x in same])
        return Emitted(self, ids, np.concatenate([np.ravel(x.near) for x in same]), format, setting)

    def by_sign(self, x: Any, above: Any, at: Any, below: Any) -> Emitted:
        """One of three numbers, by whether x is above, at or below 0."""
        (s, a, z, b), format, setting = self._together([x, above, at, below])
        s_ids, a_ids, z_ids, b_ids = np.broadcast_arrays(s.ids, a.ids, z.ids, b.ids)
        zero = np.asarray(self.record.number(0.0), dtype=np.int64)
        near = np.broadcast_to(s.near, s_ids.shape)
        positive, negative = (self.record.decide(r, s_ids, zero) for r in ("gt", "lt"))
        rest = self.record.choose(near < 0, negative, b_ids, z_ids, format)
        ids = self.record.choose(near > 0, positive, a_ids, rest, format)
        values = np.where(near > 0, a.near, np.where(near < 0, b.near, z.near))
        return Emitted(self, ids, values, format, setting)

    # Rows -------------------------------------------------------------------------------------------------------------

    def row(self, x: Emitted, number: int) -> Emitted:
        """One row of a matrix, or number of a vector."""
        return Emitted(self, np.asarray(x.ids[number]), np.asarray(x.near[number]), x.format)

    def pushed(self, rows: Emitted, row: Emitted, kept: int) -> Emitted:
        """The row and as many of the others, in their order, as are `kept` with it; 0 in the place of what is left."""
        first = self.rounded(row, rows.format)
        ids, near = rows.ids.copy(), rows.near.copy()
        ids[:1], near[:1] = first.ids, first.near
        ids[1:kept], near[1:kept] = rows.ids[: kept - 1][: len(ids) - 1], rows.near[: kept - 1][: len(ids) - 1]
        ids[kept:], near[kept:] = self.record.number(0.0), 0.0
        return Emitted(self, ids, near, rows.format)

    def like(self, x: Emitted, of: Emitted) -> Emitted:
        """The numbers in another tensor's format."""
        return self.rounded(x, of.format)

    @staticmethod
    def named(name: str, formula: Callable[..., Emitted], *operands: Any) -> Emitted:
        """A formula; the name is for the reader."""
        return formula(*operands)

    # Sums -------------------------------------------------------------------------------------------------------------

    def _summed(self, terms: Emitted, factors: Emitted | None, near: Numbers) -> Emitted:
        """Σ of terms along the last axis, or of terms times factors."""
        within = self._within(terms.format)
        operands = [self._in(x, within).ids for x in (terms, *([] if factors is None else [factors]))]
        ids = self.record.sop(operands[0], operands[1] if factors is not None else None, within)
        return self._back(Emitted(self, np.asarray(ids), near, within), terms.format)

    @staticmethod
    def _last(x: Emitted, axis: int | None) -> Emitted:
        """The numbers with those that are summed along the last axis."""
        if axis is None:
            return Emitted(x.ops, x.ids.reshape(-1), x.near.reshape(-1), x.format)
        return Emitted(x.ops, np.moveaxis(x.ids, axis, -1), np.moveaxis(x.near, axis, -1), x.format)

    def _kept(self, x: Emitted, axis: int | None) -> Emitted:
        """A sum along an axis, which stays with one number."""
        if axis is None:
            return x
        return Emitted(self, np.expand_dims(x.ids, axis), np.expand_dims(x.near, axis), x.format)

    def total(self, x: Emitted, axis: int | None = None) -> Emitted:
        """Σ x, of all numbers or along an axis, which stays with one number."""
        row = self._last(x, axis)
        with np.errstate(all="ignore"):
            return self._kept(self._summed(row, None, np.asarray(row.near.sum(axis=-1))), axis)

    @staticmethod
    def count(x: Emitted, axis: int | None = None) -> float:
        """How many numbers are summed."""
        return float(x.ids.size if axis is None else x.shape[axis])

    def expanded(self, x: Emitted, axis: int) -> Emitted:
        """The numbers with one more axis, of one number each."""
        return self._kept(x, axis)

    def squeezed(self, x: Emitted, axis: int) -> Emitted:
        """The numbers without an axis, of one number each."""
        return Emitted(self, np.squeeze(x.ids, axis), np.squeeze(x.near, axis), x.format)

    def squares(self, x: Emitted, axis: int | None = None) -> Emitted:
        """Σ x², of all numbers or along an axis, which stays with one number."""
        row = self._last(x, axis)
        with np.errstate(all="ignore"):
            return self._kept(self._summed(row, row, np.asarray((row.near**2).sum(axis=-1))), axis)

    def inner(self, x: Emitted, y: Emitted) -> Emitted:
        """Σ x·y."""
        (a, b), _, _ = self._together([x, y])
        left, right = self._last(a, None), self._last(b, None)
        with np.errstate(all="ignore"):
            return self._summed(left, right, np.asarray((left.near * right.near).sum()))

    def matrix_product(self, x: Emitted, y: Emitted) -> Emitted:
        (a, b), format, _ = self._together([x, y])
        within = self._within(format)
        a, b = self._in(a, within), self._in(b, within)
        shape = (a.shape[0], b.shape[1], a.shape[1])
        left, right = np.broadcast_to(a.ids[:, None, :], shape), np.broadcast_to(b.ids.T[None, :, :], shape)
        ids = self.record.sop(left, right, within)
        with np.errstate(all="ignore"):
            return self._back(Emitted(self, ids, a.near @ b.near, within), format)
