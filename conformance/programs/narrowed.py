"""A backward program that rounds to a narrower dtype than its function does, and the same program without that.

A cast that was forgotten in a rule (`g.float()` of a float64 gradient) is right without rounding, and within the
rounding of the program that has it. What it loses another program keeps, which is exhibited: the record itself, its
narrow steps in the narrowest format that the function has.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from gradconform.conformance.programs.accepted import programs, result
from gradconform.reference.arithmetic.formats import FLOAT32, Format
from gradconform.reference.arithmetic.midpoints import OutOfRange
from gradconform.reference.arithmetic.profiles import Profile
from gradconform.reference.judge import LOST_BITS, Judgement, noted, verdict_of
from gradconform.reference.programs import keeping
from gradconform.reference.programs.array_allowance import ArrayAllowed
from gradconform.reference.programs.record import Form, Record, Step, every
from gradconform.reference.programs.run import Run


@dataclass(frozen=True)
class Narrowed:
    """What a run's backward program would keep, if it did not round to a narrower dtype than the function does."""

    run: Run
    profile: Profile

    def said(self, number: int, judgement: Judgement) -> Judgement:
        """The judgement of the gradient of this number: `lost` where the other program keeps LOST_BITS bits more."""
        bits = judgement.certified_bits
        right = judgement.formula in ("right", "kink") and judgement.execution == "within"
        every_bit = judgement.accuracy == "certified" and bits is None
        if not right or every_bit or judgement.accuracy == "lost":
            return judgement
        step, format = self._narrow(number), self._least
        if step is None:
            return judgement
        most = max((kept[number] for kept in self._kept), default=-math.inf)
        if most < max(bits or 0.0, 0.0) + LOST_BITS:
            return judgement
        keeps = "every bit" if most == math.inf else f"{most:.0f} bits"
        why = f"lost: it rounds to {step.format.name} at {step.line or 'no line'}; in {format.name} it keeps {keeps}"
        verdict = verdict_of(judgement.formula or "right", "within", "lost")
        return replace(judgement, accuracy="lost", verdict=verdict, reason=noted(judgement.reason, why))

    @cached_property
    def _least(self) -> Format:
        """The narrowest format that the function and its arguments have."""
        run = self.run
        of = [s.format for s in every(run.forward.steps)] + [a.format for a in (*run.arguments, *run.tangents)]
        return min(of, key=lambda f: f.precision)

    def _narrow(self, number: int) -> Step | None:
        """A step in a narrower format than that which leads to the gradient of this number; of what solves equations
        none is told, which balls alone evaluate."""
        if not self._rounds_narrower:
            return None
        return keeping.narrower(self.run.backward, self.run.results[number], self._least)

    @cached_property
    def _rounds_narrower(self) -> bool:
        """Whether any step may be one, of whatever gradient."""
        steps = list(every(self.run.backward.steps))
        return any(s.format.precision < self._least.precision for s in steps) and not any(s.implicit for s in steps)

    @cached_property
    def _kept(self) -> list[list[float]]:
        """The leading bits that each of the programs without narrow steps keeps, of each gradient.

        Without rounding it is the program that was run, which is the derivative to more bits than its format has: how
        far off it may be is its radius.
        """
        wide = replace(self.run, backward=_in(self.run.backward, self._least))
        return list(_bits(wide, self.profile))


def _bits(run: Run, profile: Profile) -> Iterator[list[float]]:
    wide = any(a.format.precision > FLOAT32.precision for a in run.judged)
    for _, sums, form in programs(run):
        found = []
        try:
            allowed = ArrayAllowed(run.backward, profile, sums, form, wide=wide).evaluate()
            for of, ids in zip(run.judged, run.results, strict=True):
                value, exactly = result(allowed, ids, allowed.arithmetics[of.format.name])
                known = value.specials is None and bool(np.isfinite(exactly).all())
                found.append(_leading(value.high, value.radii()) if known else -math.inf)
        except OutOfRange:
            continue
        yield found


def _leading(middle: np.ndarray, radius: np.ndarray) -> float:
    """−log2(‖radius‖/‖middle‖)."""
    size, off = float(np.linalg.norm(middle)), float(np.linalg.norm(radius))
    if not (math.isfinite(size) and math.isfinite(off)) or not size:
        return -math.inf
    return math.log2(size / off) if off else math.inf


def _in(record: Record, least: Format) -> Record:
    """The record, with every step that is narrower in this format."""
    part = record.until()
    part.steps = [_step_in(s, least) for s in record.steps]
    return part


def _step_in(step: Step, least: Format) -> Step:
    of = step.format if step.format.precision >= least.precision else least
    definition = None if step.definition is None else _form_in(step.definition, least)
    return replace(step, format=of, definition=definition, forms=tuple(_form_in(f, least) for f in step.forms))


def _form_in(form: Form, least: Format) -> Form:
    return replace(form, steps=tuple(_step_in(s, least) for s in form.steps))
