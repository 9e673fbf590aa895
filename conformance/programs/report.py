"""What `verify` says: the judgements of a run or of several, what left its record, and who is at fault."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gradconform.conformance.answered import Answered
from gradconform.conformance.programs import program_rows
from gradconform.conformance.programs.branches import EDGE
from gradconform.conformance.programs.check_program import Gradient, gradients
from gradconform.conformance.programs.completeness import missing, otherwise, rounds_otherwise
from gradconform.conformance.programs.culprits import (
    differs_alone,
    operations_at_fault,
    rules_at_fault,
    said_of_step,
    wrong_alone,
    wrong_rules,
)
from gradconform.conformance.programs.equal_order import MAY
from gradconform.conformance.programs.iterated import approximating
from gradconform.conformance.programs.pieces import Pieces, by_pieces
from gradconform.conformance.programs.program_steps import StepFinding, check_steps, worst_first
from gradconform.conformance.programs.shown import ANYWHERE
from gradconform.conformance.programs.truth import LITERALS
from gradconform.conformance.run.run_file import RunWriter
from gradconform.reference.arithmetic.formats import FORMATS
from gradconform.reference.arithmetic.profiles import Profile
from gradconform.reference.judge import ACCURACY, Judgement, Verdict, left_open, noted, verdict_of
from gradconform.reference.measurement import EVERY, QUANTITY, told
from gradconform.reference.programs.run import BATCHED, Mode, Run, called

if TYPE_CHECKING:
    import pandas as pd

#: Certified bits below which it is said how little they mean: so many, or this part of the dtype's where that is more;
#: and the verdicts of which it is not said already.
FEW, FEW_OF, FEW_SAID = 4.0, 0.25, ("conforms", "vacuous")
#: Why nothing is known of a formula that is not the derivative by the numbers that the run had.
EXCUSES = (EDGE, MAY, LITERALS)
#: How the gradient of a function is called, as a function of its own.
OF_GRADIENT = "the gradient of "


@dataclass(frozen=True, repr=False)
class Report(Answered):
    """What `verify` found: true where every gradient conforms, by a formula that is known, and nothing left the record.

    `formula`, `execution` and `accuracy` are the worst answers of all gradients to the three questions; `verdict` is
    what they come to. `culprits` name the rules and operations at fault, with their lines. `complete` says whether the
    record is the function: nothing left it, and run again elsewhere it is the same program; `missing` says what is not.
    """

    name: str
    gradients: tuple[Gradient, ...]
    culprits: tuple[str, ...]
    missing: tuple[str, ...]
    notes: tuple[str, ...]
    accept: tuple[str, ...]
    runs: tuple[Run, ...]
    profile: Profile
    #: The framework, and a digest of the arguments' shapes, by which a run file knows this run again.
    adapter: str = ""
    digest: str = ""

    @property
    def mode(self) -> Mode:
        """The mode of the first gradient: all have the same, unless both were asked for."""
        return self.gradients[0].mode

    @property
    def route(self) -> str:
        """The route of the first gradient: that whose program was recorded."""
        return self.gradients[0].route

    @property
    def complete(self) -> bool:
        return not self.missing

    def judgements(self) -> Iterator[Judgement]:
        return (g.judgement for g in self.gradients)

    def __bool__(self) -> bool:
        return self.complete and self.formula != "unknown" and self.passes(self.accept)

    @cached_property
    def table(self) -> pd.DataFrame:
        """One row for each gradient and route."""
        import pandas as pd

        return pd.DataFrame([_row(g) for g in self.gradients])

    @cached_property
    def steps(self) -> pd.DataFrame:
        """One row for each operation of the function and of its backward program, on the operands that it had."""
        import pandas as pd

        return pd.DataFrame([vars(s) for s in self.findings])

    @cached_property
    def findings(self) -> list[StepFinding]:
        return [s for run in self.runs for s in check_steps(run.backward, self.profile)]

    def explain(self) -> str:
        """The report, and every operation that is not within the rounding that is allowed."""
        outside = [s for s in worst_first(self.findings) if s.execution != "within"]
        return "\n".join([str(self), *(said_of_step(s) for s in outside)])

    def save(self, path: str | Path, steps: bool = False) -> None:
        """Write a run file, for `gradconform report` and `diff`; with `steps` every operation has a row, too.

        Raises BadInput where the file exists or cannot be made.
        """
        header = program_rows.header({self.adapter: program_rows.versions_of(self.adapter)}, self.profile.name, cases=1)
        with RunWriter(Path(path), header) as writer:
            writer.write(program_rows.rows(self, steps=steps))
            writer.finish()

    def __repr__(self) -> str:
        return str(self)

    def _drawn(self) -> Iterator[str]:
        """That a derivative which is shown is one along random numbers, and how to have another."""
        shown = {g.mode for g in self.gradients if g.judgement.verdict not in ("conforms", "unsupported")}
        run = next((r for r in self.runs if r.drawn and r.mode in shown), None)
        if run is None or run.mode == "value" or not any(ids.size for ids in run.cotangents):
            return
        drawn = np.concatenate([run.backward.held[ids].ravel() for ids in run.cotangents])
        name = "cotangent" if run.mode == "reverse" else "tangent"
        some, other = (f"{drawn[0]:.4g}, …", "ones") if drawn.size > 1 else (f"{drawn[0]:.4g}", "1.0")
        yield f"along a random {name}, {some}; {name}= takes another, such as {other}"

    @cached_property
    def _with_few_bits(self) -> list[tuple[float, Gradient]]:
        """The gradients that have few certified bits, or none, with these."""
        asked = [(g.judgement.certified_bits, g) for g in self.gradients if g.judgement.verdict in FEW_SAID]
        return [(bits, g) for bits, g in asked if bits is not None and bits < _few_of(g.dtype)]

    def _few_bits(self) -> Iterator[str]:
        """What it means that a gradient has few certified bits, or none, and what to do: of the one with the fewest."""
        if not self._with_few_bits:
            return
        bits, g = min(self._with_few_bits, key=lambda of: of[0])
        what = f"{'∂/∂' if g.mode == 'reverse' else QUANTITY[g.mode]}{g.argument}{g.of}"
        off = f"{100 * 2.0**-bits:.2g}% off" if bits > 0 else "off by all of it"
        to_do = "other arguments" if g.dtype == "float64" else 'dtype="float64"'
        seen = "and less is not seen" + ("" if self.formula == "unknown" else "; a wrong formula is")
        yield f"few bits: in {g.dtype} rounding alone may put {what} {off}, {seen}; {to_do} may certify more"

    def _by_steps(self) -> Iterator[str]:
        """What each operation did with the operands that it had, where the rounding of all of them hides much.

        What rounding may do grows from step to step, and of a deep program leaves nothing certain; of one step it is
        little, however many were before it.
        """
        hidden = self._with_few_bits or any(g.judgement.verdict == "vacuous" for g in self.gradients)
        if not hidden or len(self.findings) < 2:
            return
        worst, *_ = worst_first(self.findings)
        inside = sum(s.execution in ("within", "overflow") for s in self.findings)  # as a mask of −∞ goes on
        if inside == len(self.findings):
            asked = sum(step.out.size > 0 for run in self.runs for step in run.backward.steps)
            shown = "" if inside == asked else f" that were shown, of {asked},"
            yield (
                f"step by step: each of the {inside} operations{shown} is within its own rounding of the operands "
                "that it had (report.steps)"
            )
        else:
            which = f"{worst.operation} ({worst.line or 'no line'}) {worst.execution}"
            yield (
                f"step by step: {inside} of {len(self.findings)} operations are within their own rounding of the "
                f"operands that they had; {which}: report.explain() has all that are not"
            )

    def _noted(self) -> Iterator[str]:
        yield from self.notes
        for said in (self._drawn, self._few_bits, self._by_steps, self._unknown, self._acceptable):
            yield from said()

    def _unknown(self) -> Iterator[str]:
        """Why a formula is not known of which nothing else is said: balls are not affordable, and arrays lose bits."""
        judged = [g for g in self.gradients if g.judgement.formula == "unknown" and g.judgement.execution == "within"]
        silent = [g for g in judged if g.dtype in FORMATS and not g.judgement.reason] if self.complete else []
        if silent:
            g = min(silent, key=lambda g: g.formula_bits)
            asked = FORMATS[g.dtype].precision + 3
            known = int(max(0.0, g.formula_bits)) if math.isfinite(g.formula_bits) else 0
            to_do = "smaller arguments" + (', or dtype="float32",' if g.dtype == "float64" else "")
            yield f"formula unknown: it is known to {known} bits, and {asked} are asked; {to_do} may show it"

    def _acceptable(self) -> Iterator[str]:
        """What would make it true, where nothing is wrong and only digits are not certified."""
        words = dict.fromkeys(g.judgement.verdict for g in self.gradients)
        told = tuple(w for w in words if w in ("lost", "vacuous", "ill-conditioned") and w not in self.accept)
        if told and bool(replace(self, accept=(*self.accept, *told))):
            given = repr(told[0]) if len(told) == 1 else str(told)
            yield f"the formula is right; accept={given} makes the report true".replace("'", '"')

    def __str__(self) -> str:
        head = f"{self.name}: {self.verdict} · formula {self.formula} · execution {self.execution}"
        kept = [j.accuracy for j in self.judgements() if j.accuracy and j.formula not in ("wrong", "undefined")]
        head += f" · accuracy {min(kept, key=ACCURACY.index)}" if kept else ""  # digits of what is wrong are no news
        lines = [head, *(f"  {told(m)}" for m in program_rows.judged_gradients(self))]
        lines += [f"  culprit: {c}" for c in self.culprits]
        lines += [f"  left the record: {m}" for m in self.missing]
        lines += [f"  note: {n}" for n in self._noted()]
        return "\n".join(lines)


def _few_of(dtype: str) -> float:
    """Certified bits of a number of this dtype that are few."""
    return max(FEW, FEW_OF * FORMATS[dtype].precision) if dtype in FORMATS else FEW


def unsupported(f: Any, mode: Mode, reason: str, accept: tuple[str, ...], profile: Profile, dtype: str) -> Report:
    """The report about a derivative that the framework does not have."""
    judgement = left_open(reason, verdict="unsupported")
    gradient = Gradient(EVERY[mode], "eager", judgement, 0.0, mode=mode, dtype=dtype)
    return Report(called(f), (gradient,), (), (), (), accept, (), profile)


def joined(reports: Sequence[Report]) -> Report:
    """Several reports about one function as one: rows of its Jacobian, or its gradient and the gradient's."""
    first = reports[0].name
    named = []
    for report in reports:
        rows = [r for r in reports if (r.name, r.mode, r.route) == (report.name, report.mode, report.route)]
        where = f", of {report.name}" if report.name != first else ""
        if len(rows) > 1:
            where += f", {'row' if report.mode == 'reverse' else 'column'} {rows.index(report)}"
        named += [replace(g, of=where) for g in report.gradients]
    return replace(
        reports[0],
        gradients=tuple(named),
        culprits=tuple(dict.fromkeys(c for r in reports for c in r.culprits)),
        missing=tuple(dict.fromkeys(m for r in reports for m in r.missing)),
        notes=tuple(dict.fromkeys(n for r in reports for n in r.notes)),
        runs=tuple(run for r in reports for run in r.runs),
    )


def report_of(run: Run, profile: Profile, accept: tuple[str, ...] = ()) -> Report:
    """The report of a recorded run. A formula is called wrong only where nothing left the record."""
    gone, notes = tuple(dict.fromkeys(missing(run, profile))), run.notes
    other = any(m not in run.foreign for m in gone)
    # What no custom rule does by itself, a kernel of the framework does, which may round otherwise in another layout.
    differing = tuple(otherwise(run, profile))
    if differing and any(differs_alone(rule, profile) for rule in run.rules):
        gone += differing
    else:
        notes += tuple(f"{d}; no custom rule does so by itself" for d in differing)
    seen = _seen(run)
    found = [_of_incomplete(g, other and g.route not in seen) if gone else g for g in gradients(run, profile)]
    found = [_of_another_program(g, run) if _leaves_open(g, run, profile) else g for g in found]
    found, said = approximating(found, run, profile)
    notes += said
    pieces = by_pieces(run, profile) if not gone and any(_unknown(g) for g in found) else Pieces()
    if pieces.right:
        found = [_by_pieces(g, pieces) if _unknown(g) else g for g in found]
    # The same by another way through the backward pass is not told twice.
    found = [g for g in found if g.route not in run.varied or g.judgement.execution != "within"]
    if run.meant:
        notes += (f"the derivative is that of {run.meant}, by gradient_of=",)
    suspects = () if run.meant else run.rules  # what is of another derivative by intention is wrong by itself
    if any(g.judgement.formula == "kink" for g in found) and any(wrong_alone(rule, profile) for rule in suspects):
        # Anything between the slopes of a corner is accepted, and what is wrong beside it may be so, too.
        found = [_of_incomplete(g, False) if g.judgement.formula == "kink" else g for g in found]
        notes += ("at a corner what a rule gives may be between its slopes by chance: move the numbers off the ties",)
        at_fault = tuple(wrong_rules(run.rules, profile))
    else:
        at_fault = tuple(rules_at_fault(run, found, profile))
    notes += tuple(_given_none(run, found)) if at_fault else ()
    if not at_fault:
        ways = dict.fromkeys(g.route for g in found if g.route in run.varied and g.route != BATCHED)
        found = [g for g in found if g.route not in ways]
        notes += tuple(f"{way}: gives what the record does not; no custom rule does so by itself" for way in ways)
    right = ", ".join(dict.fromkeys(rule.name for rule in run.rules))
    if right and not run.meant and not at_fault and any(g.judgement.formula == "wrong" for g in found):
        why = "what it keeps of another call, or what is done with it, may be at fault"
        if run.name.startswith(OF_GRADIENT):
            why = "for a second derivative its backward pass may not keep what it detached"
        notes += (f"right by itself: {right}; {why}",)
    if not at_fault and any(g.judgement.formula == "wrong" for g in found):
        pieces = pieces if pieces.said else by_pieces(run, profile)
    culprits = (*at_fault, *operations_at_fault(run, found, profile))
    notes += tuple(pieces.notes)
    return Report(run.name, tuple(found), culprits, gone, notes, accept, (run,), profile)


def _given_none(run: Run, found: Sequence[Gradient]) -> Iterator[str]:
    """What to do where a rule gives nothing for an argument that the function depends on, and none may be meant."""
    wrong = {g.argument for g in found if g.route == run.route and g.judgement.formula == "wrong"}
    returned = dict(zip((of.name for of in run.judged), run.returned.get(run.route, ()), strict=False))
    for name in (n for n in returned if n in wrong and run.mode == "reverse" and not np.any(returned[n])):
        yield (
            f"∂/∂{name} is 0 throughout, as of a rule that gives None: where no gradient is meant, name with wrt= the "
            "arguments that have one"
        )


def _seen(run: Run) -> list[str]:
    """The routes that returned, bit for bit, what the framework was seen to compute, where nothing is foreign.

    What is outside there is a proof about that very run, whatever a rerun gives: an inaccurate kernel is so elsewhere.
    """
    if run.foreign:
        return []
    computed = [run.backward.held[ids] for ids in run.results]
    return [
        route
        for route, answers in run.answers.items()
        if all(np.array_equal(a, b, equal_nan=True) for a, b in zip(answers, computed, strict=True))
    ]


def _of_incomplete(g: Gradient, other: bool) -> Gradient:
    """A judgement of what left the record: of its formula nothing is known, and no gradient conforms by it.

    Where it is `other`, what was returned may be of another run than the record, and being outside of it is no proof.
    """
    execution = "undecided" if other and g.judgement.execution == "outside" else g.judgement.execution
    verdict: Verdict = "deviates" if execution == "outside" else "undecided"
    components = g.components if verdict == "deviates" else ""
    judgement = replace(g.judgement, formula="unknown", execution=execution, verdict=verdict)
    if g.judgement.accuracy not in (None, "certified"):
        # What keeps more digits of another number than the derivative shows nothing.
        judgement = replace(judgement, accuracy=None, reason=None)
    return replace(g, components=components, judgement=judgement)


def _unknown(g: Gradient) -> bool:
    """Whether nothing is known of a formula of numbers that may be right: not what is excused, as at a mask's edge."""
    j = g.judgement
    excused = any(why in (j.reason or "") for why in EXCUSES)
    return j.formula == "unknown" and j.execution in ("within", "undecided") and g.dtype in FORMATS and not excused


def _by_pieces(g: Gradient, pieces: Pieces) -> Gradient:
    """A judgement whose formula is right by the chain rule, since each of its pieces is.

    Where rounding may give anything, whatever was returned is within it.
    """
    j = g.judgement
    if (j.execution, j.accuracy, j.truth) == ("undecided", "vacuous", None):
        j = replace(j, execution="within", reason=ANYWHERE)
    verdict = verdict_of("right", j.execution or "within", j.accuracy or "certified")
    return replace(g, formula_bits=pieces.bits, judgement=replace(j, formula="right", verdict=verdict))


def _leaves_open(g: Gradient, run: Run, profile: Profile) -> bool:
    """Whether a route gave what is outside of the recorded program, which is not its own, and may be rounding's."""
    own = g.route == run.route or (g.route in run.varied and g.route != BATCHED)
    outside = g.judgement.execution == "outside" and g.judgement.formula not in ("wrong", "undefined")
    if not outside or own:
        return False
    pairs = zip(run.answers[g.route], run.answers.get(run.route, ()), strict=False)
    alike = run.route in run.answers and all(np.array_equal(a, b, equal_nan=True) for a, b in pairs)
    return not alike and rounds_otherwise(run, g.route, profile)  # the same numbers are off by the same program


def _of_another_program(g: Gradient, run: Run) -> Gradient:
    """A judgement by the program of another route: being outside of that is no proof."""
    why = f"program: it is not that of {run.route}, which was recorded; what rounds otherwise may be so far off"
    g = _of_incomplete(g, True)
    return replace(g, judgement=replace(g.judgement, reason=noted(g.judgement.reason, why)))


def _row(g: Gradient) -> dict[str, Any]:
    j = g.judgement
    return {
        "argument": g.argument + g.of, "mode": g.mode, "route": g.route, "verdict": j.verdict, "formula": j.formula,
        "execution": j.execution, "accuracy": j.accuracy, "value": j.value, "truth": j.truth, "max_ulp": j.max_ulp,
        "share": j.share,
        "certified_bits": j.certified_bits, "formula_bits": g.formula_bits, "worst_index": g.index,
        "reason": noted(j.reason, g.components),
    }  # fmt: skip
