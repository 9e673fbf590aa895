"""Very many numbers of a sweep by kernels: each chunk's own program and definition, compiled, where both are formulas.

A chunk is recorded at some of its numbers, its first and last among them, and these are judged as any others are. Where
all of them are of a right formula the program that is compiled from their record is held against the definition at all
of the chunk's numbers, and says what it may hold there; what it does not say for certain is left open, and judged as
ever. So nothing deviates by a kernel. And what the kernels say of the recorded numbers must be what the judge said of
them, or they say nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradconform.conformance.sweep import judged, ways
from gradconform.conformance.sweep.judged import WORDS, Judged
from gradconform.conformance.sweep.numbers import BLOCK
from gradconform.reference.arithmetic import array_values, rules
from gradconform.reference.arithmetic.arrays import RoundedArray, RoundedArrays
from gradconform.reference.arithmetic.formats import Format
from gradconform.reference.arithmetic.profiles import Profile
from gradconform.reference.programs.allowance import with_table
from gradconform.reference.programs.expressions import Expression, tree
from gradconform.reference.programs.run import Run

#: Numbers that a chunk is recorded at.
RECORDED = 256
#: What the numbers that are recorded must be.
_RIGHT = tuple(map(WORDS.index, ("conforms", "vacuous", "lost", "out of range")))


@dataclass(frozen=True)
class Screen:
    """A program, in each form of its rounding, and what it is of as kernels; `same` where they are the same function,
    step by step."""

    truth: Callable[[NDArray[Any]], RoundedArray]
    values: tuple[Callable[[NDArray[Any]], RoundedArray], ...]
    format: Format
    flush: bool
    same: bool

    def say(self, found: Judged, x: NDArray[np.float64], got: NDArray[np.float64]) -> None:
        """Say of the numbers that these were returned of what is certain; others are left open."""
        for start in range(0, x.size, BLOCK):
            part = slice(start, start + BLOCK)
            here, values = found.of(part), (value(x[part]) for value in self.values)
            judged.by_kernels(here, self.truth(x[part]), values, got[part], self.format, self.flush, lambda: self.same)
            # Of their products some are exact, which a kernel does not ask: it would allow them a rounding.
            here.forget(np.abs(np.frexp(x[part])[0]) == 0.5)

    def agrees(self, x: NDArray[np.float64], got: NDArray[np.float64], said: Judged) -> bool:
        """Whether these numbers are all of a right formula, and the kernels say of them what was said."""
        mine = Judged.none(x.size)
        self.say(mine, x, got)
        settled = mine.codes != 0
        return bool(
            np.isin(said.codes, _RIGHT).all()
            and not said.unknown.any()
            and (mine.codes == said.codes)[settled].all()
            and np.allclose(mine.ulps[settled], said.ulps[settled], 1e-4, 1e-4, equal_nan=True)
        )


def available() -> bool:
    return array_values.compiled() is not None


def screen(run: Run, definition: Expression | None, profile: Profile) -> Screen | None:
    """The kernels of a run's first result, and of what it is of; None where they are no formulas that have any."""
    format, record = run.judged[0].format, run.backward
    if definition is None:
        return None
    exactly = tree(record, run.results[0], run.given, run.cotangents)
    compiled = import_module("gradconform.reference.programs.compiled")  # numba, which is an extra
    A, values = RoundedArrays(profile.format(format), with_table(profile)), []
    for _, form in judged.programs_of(run):
        computed = tree(record, run.results[0], run.given, run.cotangents, form, format)
        try:
            values += [] if computed is None else [compiled.program(computed, A, _FAR)]
        except compiled.Unnoted:
            computed = None
        if computed is None and not form:  # by which the formula is right
            return None
    try:
        truth = compiled.truth(definition)
    except compiled.Unnoted:
        return None
    same = exactly is not None and exactly.text == definition.text
    return Screen(truth, tuple(values), format, profile.flush, same)


def _as_far(name: str, ends: tuple[float, float]) -> Callable[..., RoundedArray]:
    return lambda A, x: getattr(A, name)(A.by_rule(rules.no_further, ends, (x,)))


#: Functions beyond every format of at most 24 bits, where float64 does not hold them either; see `ways`.
_FAR: Mapping[str, Callable[..., RoundedArray]] = {
    name: _as_far(name, ends) for name, ends in ways.FAR.items() if hasattr(RoundedArrays, name)
}
