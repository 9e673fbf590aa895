"""`verify`: is the gradient of this function right? A proof for one run, in any dtype, without a tolerance."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gradconform.conformance import program_rows
from gradconform.conformance.check_program import Gradient, gradients
from gradconform.conformance.completeness import missing
from gradconform.conformance.measurement import told
from gradconform.conformance.program_steps import StepFinding, check_steps, worst_first
from gradconform.conformance.recording import called, recorded, usable
from gradconform.conformance.run_file import RunWriter
from gradconform.reference.cases import BadInput, named_format, unknown
from gradconform.reference.judge import ACCURACY, EXECUTION, FORMULA, Accuracy, Execution, Formula, Verdict
from gradconform.reference.profiles import PROFILES, Profile
from gradconform.reference.profiles import profile as profile_of
from gradconform.reference.programs.run import Rule, Run

if TYPE_CHECKING:
    import pandas as pd

#: Words that `accept` may name beside `conforms`.
ACCEPTED = ("lost", "vacuous", "ill-conditioned", "out of range", "singular")
#: What may be said of a report as a whole, worst first.
_WORST: tuple[Verdict, ...] = ("deviates", "undecided", "out of range", "singular", "lost", "vacuous",
                               "ill-conditioned", "conforms")  # fmt: skip


@dataclass(frozen=True, repr=False)
class Report:
    """What `verify` found: true where every gradient conforms and nothing left the record.

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
    def complete(self) -> bool:
        return not self.missing

    @property
    def formula(self) -> Formula:
        return min((g.judgement.formula or "unknown" for g in self.gradients), key=FORMULA.index)

    @property
    def execution(self) -> Execution:
        return min((g.judgement.execution or "undecided" for g in self.gradients), key=EXECUTION.index)

    @property
    def accuracy(self) -> Accuracy | None:
        """The worst accuracy; None where no gradient has one."""
        return min(
            (g.judgement.accuracy for g in self.gradients if g.judgement.accuracy), key=ACCURACY.index, default=None
        )

    @property
    def verdict(self) -> Verdict:
        return min((g.judgement.verdict for g in self.gradients), key=_WORST.index)

    def __bool__(self) -> bool:
        return self.complete and all(g.judgement.verdict in ("conforms", *self.accept) for g in self.gradients)

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
        return "\n".join([str(self), *(_said_of_step(s) for s in outside)])

    def save(self, path: str | Path, steps: bool = False) -> None:
        """Write a run file, for `gradconform report` and `diff`; with `steps` every operation has a row, too.

        Raises BadInput where the file exists or cannot be made.
        """
        header = program_rows.header({self.adapter}, self.profile.name, cases=1)
        with RunWriter(Path(path), header) as writer:
            writer.write(program_rows.rows(self, steps=steps))
            writer.finish()

    def __repr__(self) -> str:
        return str(self)

    def __str__(self) -> str:
        head = f"{self.name}: {self.verdict} · formula {self.formula} · execution {self.execution}"
        head += f" · accuracy {self.accuracy}" if self.accuracy else ""
        lines = [head, *(f"  {told(m)}" for m in program_rows.judged_gradients(self))]
        lines += [f"  culprit: {c}" for c in self.culprits]
        lines += [f"  left the record: {m}" for m in self.missing]
        lines += [f"  note: {n}" for n in self.notes]
        return "\n".join(lines)


def verify(
    f: Any,
    *args: Any,
    wrt: Sequence[int | str] | None = None,
    dtype: str | None = None,
    cotangent: Any = None,
    routes: Sequence[str] | None = None,
    order: int = 1,
    rows: str | None = None,
    forms: Mapping[str, Any] | None = None,
    accept: str | Iterable[str] = (),
    profile: str = "opencl",
    seed: int = 0,
) -> Report:
    """Verify the gradient of f at these arguments: a proof about this run, in the arguments' own dtype.

    `f` is a function of PyTorch tensors or JAX arrays, or of trees of them, or a `torch.nn.Module`, whose parameters
    are arguments too. `wrt` names the arguments, by number or name, whose gradients are asked for: by default all of a
    floating-point dtype (PyTorch: those that require a gradient, if any does). `dtype` casts the arguments first.
    `cotangent` is what the outputs' adjoints are, a list with one for each output; by default random numbers, of a
    scalar, too. `routes` are "eager" (the default) and "compile" or "jit". `accept` names verdicts that count as true
    besides `conforms`.
    `order=2` verifies the gradient's own gradient as well. `rows="all"` verifies every row of the Jacobian, one number
    of the result at a time. `forms` says what kernels stand for that the suite does not know (PyTorch): a function of
    the same arguments for each "namespace::name".

    Raises BadInput for arguments without a floating-point number, and for an f that raises or whose output is none, or
    is not computed from an argument. What changes its arguments or answers otherwise when it is run again is undecided.

    >>> import gradconform as gc
    >>> import torch
    >>> report = gc.verify(lambda x: (x * x.exp()).sum(), torch.tensor([0.5, -1.25]))
    >>> bool(report), report.formula, report.execution, report.accuracy
    (True, 'right', 'within', 'certified')
    """
    accepted = (accept,) if isinstance(accept, str) else tuple(accept)
    for word in accepted:
        if word not in ACCEPTED:
            raise unknown("accepted verdict", word, ACCEPTED)
    if profile not in PROFILES:
        raise unknown("profile", profile, PROFILES)
    if order not in (1, 2):
        raise BadInput(f"order is {order!r}; expected 1 or 2")
    if rows not in (None, "all"):
        raise BadInput(f"rows is {rows!r}; expected 'all' or nothing")
    if not callable(f):
        raise BadInput(f"f is of type {type(f).__name__}; expected a function, and its arguments after it")
    if isinstance(f, type):
        raise BadInput(
            f"f is the class {f.__name__}; expected a function: an instance, or of a rule {f.__name__}.apply"
        )
    recorder = program_rows.recorder_of(framework_of(f, args))
    function, given = recorder.prepared(f, args, None if dtype is None else named_format(dtype).name)
    options: dict[str, Any] = {"wrt": wrt, "routes": tuple(routes or ("eager",)), "seed": seed}
    if forms:
        if recorder.FRAMEWORK == "jax":
            raise BadInput("forms: expected none for JAX; a primitive without a rule is to be replaced in the function")
        options["definitions"] = forms
    runs = [usable(recorded(recorder, function, given, cotangent, options))]
    if rows == "all" and any(o.size for o in runs[0].outputs):
        runs = [recorded(recorder, function, given, basis, options) for basis in _rows_of(runs[0])]
    if order == 2:
        runs.append(recorded(recorder, recorder.gradient_of(function, seed), given, None, options))
    constants = profile_of(profile, recorder.FRAMEWORK)
    try:
        found = [report_of(run, constants, accepted) for run in runs]
    except MemoryError as error:
        raise BadInput(f"{called(f)}: memory ran out; verify at smaller arguments, or the parts one by one") from error
    report = found[0] if len(found) == 1 else joined(found)
    return replace(report, adapter=recorder.FRAMEWORK, digest=program_rows.digest_of(leaves(args)))


def _rows_of(run: Run) -> Iterator[list[Any]]:
    """One cotangent for each number of the result: 1 there, 0 elsewhere."""
    for number, output in enumerate(run.outputs):
        for index in np.ndindex(output.shape):
            basis = [np.zeros(o.shape) for o in run.outputs]
            basis[number][index] = 1.0
            yield basis


def joined(reports: Sequence[Report]) -> Report:
    """Several reports about one function as one: rows of its Jacobian, or its gradient and the gradient's."""
    first = reports[0].name
    of_first = sum(r.name == first for r in reports)
    named = []
    for row, report in enumerate(reports):
        where = f", of {report.name}" if report.name != first else f", row {row}" if of_first > 1 else ""
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
    gone = tuple(dict.fromkeys(missing(run, profile)))
    other = any(m not in run.foreign for m in gone)
    found = [_of_incomplete(g, other) if gone else g for g in gradients(run, profile)]
    culprits = tuple(_culprits(run, found, profile))
    return Report(run.name, tuple(found), culprits, gone, run.notes, accept, (run,), profile)


def _of_incomplete(g: Gradient, other: bool) -> Gradient:
    """A judgement of what left the record: of its formula nothing is known, and no gradient conforms by it.

    Where the function is an `other` one when it is run again, what was returned may be of another run than the record,
    and being outside of it is no proof.
    """
    execution = "undecided" if other and g.judgement.execution == "outside" else g.judgement.execution
    verdict: Verdict = "deviates" if execution == "outside" else "undecided"
    return replace(g, judgement=replace(g.judgement, formula="unknown", execution=execution, verdict=verdict))


def framework_of(f: Any, args: Iterable[Any]) -> str:
    """The framework whose arrays are among the arguments, or whose module f is."""
    roots = [type(x).__module__.split(".")[0] for x in leaves(args)]
    roots += [c.__module__.split(".")[0] for c in type(f).__mro__]
    for root in roots:
        framework = "jax" if root == "jaxlib" else root
        if framework in program_rows.RECORDERS:
            return framework
    raise BadInput(
        f"arguments of {', '.join(sorted({type(x).__name__ for x in leaves(args)})) or 'no kind'}: expected at least "
        "one PyTorch tensor or JAX array; give torch.tensor(…) or jnp.asarray(…)"
    )


def leaves(x: Any) -> Iterable[Any]:
    """The arrays and whatever else containers hold, one by one."""
    if isinstance(x, Mapping):
        for value in x.values():
            yield from leaves(value)
    elif isinstance(x, list | tuple):
        for value in x:
            yield from leaves(value)
    elif x is not None:
        yield x


# Culprits -------------------------------------------------------------------------------------------------------------


def _culprits(run: Run, found: Sequence[Gradient], profile: Profile) -> Iterable[str]:
    if any(g.judgement.formula in ("wrong", "undefined") for g in found):
        yield from _rules(run.rules, profile)
    if any(g.judgement.execution == "outside" for g in found):
        for step in worst_first(list(check_steps(run.backward, profile)))[:3]:
            if step.execution == "outside":
                yield _said_of_step(step)


def _rules(rules: Iterable[Rule], profile: Profile) -> Iterable[str]:
    """The custom rules that are wrong by themselves, on the operands that they had; each once."""
    seen: set[tuple[str, str]] = set()
    for rule in rules:
        if (rule.name, rule.line) in seen:
            continue
        seen.add((rule.name, rule.line))
        try:
            alone = list(gradients(rule.alone(), profile))
        except Exception as error:  # what a framework raises for a rule outside of its program: it stays a suspect
            yield f"{rule.name} ({rule.line}): its rule could not be run alone: {type(error).__name__}"
            continue
        wrong = [g for g in alone if g.judgement.formula in ("wrong", "undefined")]
        for g in wrong[:1]:
            yield f"{rule.name} ({rule.line}): its rule is {g.judgement.formula} by {g.argument}"


# Text -----------------------------------------------------------------------------------------------------------------


def _row(g: Gradient) -> dict[str, Any]:
    j = g.judgement
    return {
        "argument": g.argument + g.of, "route": g.route, "verdict": j.verdict, "formula": j.formula,
        "execution": j.execution, "accuracy": j.accuracy, "value": j.value, "truth": j.truth, "max_ulp": j.max_ulp,
        "share": j.share,
        "certified_bits": j.certified_bits, "formula_bits": g.formula_bits, "worst_index": g.index, "reason": j.reason,
    }  # fmt: skip


def _said_of_step(s: StepFinding) -> str:
    share = "" if s.share is None else f", {s.share:.3g} times the allowance"
    at = f"{s.operation} ({s.line or 'no line'}), {s.dtype}, element [{s.worst_index}]"
    return f"{at}: {s.execution}{share}\n      got {s.value!r} for {s.truth}"
