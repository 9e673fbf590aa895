"""The recording arithmetic with formats: a formula run over it emits the steps of a program, and is judged as one.

Values are tensors of numbers of a format. A setting of the program's text, such as η or β, is a Python float: with
other settings it makes float64 numbers, and it is rounded once to the format of the tensor that it meets. So
1 − β^t is what Python makes of it, and β·m has β in the dtype of m, or in float32 where a 16-bit kernel keeps it so.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from gradconform.reference.arithmetic.formats import FLOAT32, FLOAT64, FORMATS, Format
from gradconform.reference.programs.array_exact import ArrayExact
from gradconform.reference.programs.record import RELATIONS, Ids, Record, Relation
from gradconform.reference.programs.recording import Array, Operand, Recording


class Emitting(Recording):
    """The operations of formulas, as steps of a record. `settings` is the format that the program keeps settings in.

    With `by_float32` operations on 16-bit numbers are done in float32, and each result is rounded: as most processors
    do them, who then read subnormal numbers of float16 as they are. Of settings alone is known what they are, and of
    tensors where the program decides by them.
    """

    def __init__(self, record: Record, settings: Format = FLOAT64, by_float32: bool = False) -> None:
        super().__init__(record)
        self.settings, self.by_float32 = settings, by_float32

    # Numbers ----------------------------------------------------------------------------------------------------------

    def tensor(self, ids: Ids, format: Format, narrowed: bool = False) -> Array:
        """Numbers that the record holds.

        Such as may be `narrowed` are first read in their own format, which holds them: a narrower one would take them
        for rounded already.
        """
        return Array(self, self.record.map("round", [ids], format) if narrowed else ids, format)

    def setting(self, ids: Ids) -> Array:
        """A number of the program's text."""
        # Read in float64 first, which holds it: a narrower format that does not would take it for rounded.
        found = self._to(Array(self, ids, FLOAT64, setting=True), FLOAT64)
        return found if self.settings is FLOAT64 else self._to(found, self.settings)

    def item(self, x: Array) -> Array:
        """A tensor of one number as a Python float."""
        return replace(self._to(x, self.settings), setting=True)

    def number(self, x: Operand) -> Array:
        if isinstance(x, Array):
            return x
        return Array(self, np.asarray(self.record.number(float(x)), dtype=np.int64), self.settings, setting=True)

    @staticmethod
    def pi() -> float:  # type: ignore[override]
        """π as Python has it."""
        return math.pi

    def _to(self, x: Array, format: Format) -> Array:
        held = self.record.held[x.ids] if x.setting else None
        return replace(x, ids=self.record.map("round", [x.ids], format, held), format=format)

    def cast(self, x: Array, format: str) -> Array:
        """The numbers in a format that the program names, whatever the others are in."""
        return self._to(x, FORMATS[format])

    def wide(self, x: Array) -> Array:
        """A tensor of a 16-bit format in float32, which holds it."""
        return x if x.setting or x.format.precision >= FLOAT32.precision else self._to(x, FLOAT32)

    def rounded(self, x: Array, format: Format) -> Array:
        """A result in its own format."""
        return x if x.format is format and not x.setting else self._to(x, format)

    def like(self, x: Array, of: Array) -> Array:
        """The numbers in another tensor's format."""
        return self.rounded(x, of.format)

    def _together(self, operands: Sequence[Operand]) -> tuple[list[Array], Format, bool]:
        """Operands in one format: the widest of the tensors', or where all are settings that of these."""
        given = [self.number(x) for x in operands]
        tensors = [x for x in given if not x.setting]
        if not tensors:
            return given, self.settings, True
        format = max((x.format for x in tensors), key=lambda f: f.precision)
        same = [x if x.format is format and not x.setting else self._read(x, format) for x in given]
        return same, format, False

    def _read(self, x: Array, format: Format) -> Array:
        """An operand of another format; a small whole number of the text is what it is in each."""
        if x.setting and x.ids.size == 1 and (held := self.record.held[x.ids].item()).is_integer() and abs(held) <= 8:
            return replace(x, format=format, setting=False)
        return self._to(x, format)

    # Steps ------------------------------------------------------------------------------------------------------------

    def emit(self, add: Callable[..., Ids], *operands: Operand, rounds: bool = True) -> Array:
        given, format, setting = self._together(operands)
        within = FLOAT32 if rounds and self.by_float32 and format.precision < FLOAT32.precision else format
        ids = add(within, *[self._within(x, within).ids for x in given])
        if setting and self.record.steps[-1].out is ids:
            self._evaluate(self.record.steps[-1:])
        return self._within(Array(self, np.asarray(ids), within, setting), format)

    def _within(self, x: Array, format: Format) -> Array:
        """A tensor's numbers in the format that an operation on them is done in."""
        return x if x.format is format or x.setting else self._to(x, format)

    def _holds(self, relation: Relation, x: Ids, y: Ids) -> NDArray[np.bool_]:
        """As float64 has the numbers."""
        values = ArrayExact(self.record, blunt=True).evaluate().values
        with np.errstate(all="ignore"):
            return np.asarray(RELATIONS[relation](values.hi[x] - values.hi[y], 0.0))

    def by_sign(self, x: Operand, above: Operand, at: Operand, below: Operand) -> Array:
        """One of three numbers, by whether x is above, at or below 0."""
        given, _, setting = self._together([x, above, at, below])
        x, above, at, below = (replace(v, setting=setting) for v in given)
        return self.where(x > 0.0, above, self.where(x < 0.0, below, at))

    # What formulas say ------------------------------------------------------------------------------------------------

    @staticmethod
    def named(name: str, formula: Callable[..., Array], *operands: Operand) -> Array:
        """A formula; the name is for the reader."""
        return formula(*operands)

    @staticmethod
    def repeated(times: int, formula: Callable[[Array], Array], x: Array, name: str) -> Array:
        """A formula of what it gave before, so many times; the name is for the reader."""
        for _ in range(times):
            x = formula(x)
        return x

    def once(self, formula: Callable[..., Array], *operands: Array) -> Array:
        """A formula that a kernel computes in float32 where its operands are of 16 bits, and rounds once."""
        format = max((x.format for x in operands if not x.setting), key=lambda f: f.precision)
        return self.rounded(formula(*map(self.wide, operands)), format)

    # Parts of tensors -------------------------------------------------------------------------------------------------

    @staticmethod
    def row(x: Array, number: int) -> Array:
        """One row of a matrix, or number of a vector."""
        return x[number]

    def joined(self, parts: Sequence[Array]) -> Array:
        """The numbers of several tensors as one row."""
        return self.concatenate([x.reshape(-1) for x in self._together(parts)[0]])

    def pushed(self, rows: Array, row: Array, kept: int) -> Array:
        """The row and as many of the others, in their order, as are `kept` with it; 0 in the place of what is left."""
        ids = rows.ids.copy()
        ids[:1] = self.rounded(row, rows.format).ids
        ids[1:kept] = rows.ids[: kept - 1][: len(ids) - 1]
        ids[kept:] = self.record.number(0.0)
        return replace(rows, ids=ids)

    @staticmethod
    def expanded(x: Array, axis: int) -> Array:
        """The numbers with one more axis, of one number each."""
        return x.moved(lambda ids: np.expand_dims(ids, axis))

    @staticmethod
    def squeezed(x: Array, axis: int) -> Array:
        """The numbers without an axis, of one number each."""
        return x.moved(lambda ids: np.squeeze(ids, axis))

    # Along an axis, which stays with one number, or of all numbers ----------------------------------------------------

    @staticmethod
    def count(x: Array, axis: int | None = None) -> float:
        """How many numbers are summed."""
        return float(x.ids.size if axis is None else x.shape[axis])

    @staticmethod
    def largest(x: Array) -> Array:
        return x.max()

    @staticmethod
    def total(x: Array, axis: int | None = None) -> Array:
        """Σ x."""
        return x.sum(axis, keep=axis is not None)

    def squares(self, x: Array, axis: int | None = None) -> Array:
        """Σ x²."""
        return x.along(axis, axis is not None, lambda rows: self.dot(rows, rows))

    def inner(self, x: Array, y: Array) -> Array:
        """Σ x·y of all numbers."""
        return self.dot(x.reshape(-1), y.reshape(-1))
