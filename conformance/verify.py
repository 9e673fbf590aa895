"""`verify`: is the gradient of this function right? A proof for one run, in any dtype, without a tolerance."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gradconform.conformance import advice
from gradconform.conformance.answered import Answered, words
from gradconform.conformance.programs import program_rows
from gradconform.conformance.programs.check_program import Gradient, gradients
from gradconform.conformance.programs.completeness import missing, otherwise, rounds_otherwise
from gradconform.conformance.programs.definitions import Definition, defined
from gradconform.conformance.programs.definitions import gradient_of as derivative
from gradconform.conformance.programs.program_steps import StepFinding, check_steps, worst_first
from gradconform.conformance.programs.recording import recorded, usable
from gradconform.conformance.run.run_file import RunWriter
from gradconform.reference.arithmetic.formats import FORMATS
from gradconform.reference.arithmetic.profiles import PROFILES, Profile
from gradconform.reference.arithmetic.profiles import profile as profile_of
from gradconform.reference.cases import BadInput, named_format, unknown
from gradconform.reference.judge import Judgement, Verdict, noted
from gradconform.reference.measurement import EVERY, QUANTITY, told
from gradconform.reference.programs.record import Ids
from gradconform.reference.programs.run import BATCHED, Mode, Rule, Run, Unsupported, called

if TYPE_CHECKING:
    import pandas as pd

#: The modes that each word asks for.
MODES: Mapping[str, tuple[Mode, ...]] = {
    "reverse": ("reverse",), "forward": ("forward",), "both": ("reverse", "forward"),
}  # fmt: skip
#: What may be done about what a program stops: take the derivative through it all the same, or hold it constant.
STOPS = ("through", "intended")
#: Certified bits below which it is said how little they mean: so many, or this part of the dtype's where that is more;
#: and the verdicts of which it is not said already.
FEW, FEW_OF, FEW_SAID = 4.0, 0.25, ("conforms", "vacuous")
#: Words that `accept` may name beside `conforms`.
ACCEPTED = ("lost", "vacuous", "ill-conditioned", "out of range", "singular")


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
        return "\n".join([str(self), *(_said_of_step(s) for s in outside)])

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

    def _few_bits(self) -> Iterator[str]:
        """What it means that a gradient has few certified bits, or none, and what to do: of the one with the fewest."""
        asked = [(g.judgement.certified_bits, g) for g in self.gradients if g.judgement.verdict in FEW_SAID]
        few = [(bits, g) for bits, g in asked if bits is not None and bits < _few_of(g.dtype)]
        if not few:
            return
        bits, g = min(few, key=lambda of: of[0])
        what = f"{'∂/∂' if g.mode == 'reverse' else QUANTITY[g.mode]}{g.argument}{g.of}"
        off = f"{100 * 2.0**-bits:.2g}% off" if bits > 0 else "off by all of it"
        to_do = "other arguments" if g.dtype == "float64" else 'dtype="float64"'
        seen = "and less is not seen; a wrong formula is"
        yield f"few bits: in {g.dtype} rounding alone may put {what} {off}, {seen}; {to_do} may certify more"

    def __str__(self) -> str:
        head = f"{self.name}: {self.verdict} · formula {self.formula} · execution {self.execution}"
        head += f" · accuracy {self.accuracy}" if self.accuracy else ""
        lines = [head, *(f"  {told(m)}" for m in program_rows.judged_gradients(self))]
        lines += [f"  culprit: {c}" for c in self.culprits]
        lines += [f"  left the record: {m}" for m in self.missing]
        lines += [f"  note: {n}" for n in (*self.notes, *self._drawn(), *self._few_bits())]
        return "\n".join(lines)


def _few_of(dtype: str) -> float:
    """Certified bits of a number of this dtype that are few."""
    return max(FEW, FEW_OF * FORMATS[dtype].precision) if dtype in FORMATS else FEW


@advice.of_verify
def verify(
    f: Any,
    *args: Any,
    wrt: int | str | Sequence[int | str] | None = None,
    dtype: str | None = None,
    cotangent: Any = None,
    routes: str | Sequence[str] | None = None,
    mode: str = "reverse",
    tangent: Any = None,
    order: int = 1,
    batched: bool = False,
    rows: str | None = None,
    device: str | None = None,
    stop_gradient: str = "through",
    forms: Mapping[str, Any] | None = None,
    accept: str | Iterable[str] = (),
    profile: str = "opencl",
    seed: int = 0,
    definition: Definition | None = None,
    replays: bool = True,
    approximated: float = 0.0,
) -> Report:
    """Verify the gradient of f at these arguments: a proof about this run, in the arguments' own dtype.

    In forward mode the same of the outputs' tangents.

    `f` is a function of PyTorch tensors or JAX arrays, or of trees of them, or a `torch.nn.Module`, whose parameters
    are arguments too. `wrt` names the arguments, by number or name, whose gradients are asked for: by default all of a
    floating-point dtype (PyTorch: those that require a gradient, if any does). `dtype` casts the arguments first, and
    `device` is where they, and a copy of a module, are moved.
    `cotangent` is what the outputs' adjoints are, a list with one for each output; by default random numbers, of a
    scalar, too. `routes` are "eager" (the default), of PyTorch "compile" and "func" (`vmap` over `torch.func.vjp`), of
    JAX "jit". `accept` names verdicts that count as true besides `conforms`.
    `mode="forward"` verifies tangents instead, along a random direction of the arguments or `tangent`, a list with one
    for each argument that is asked for, and `mode="both"` both; what the framework has no derivative of in a mode is
    `unsupported`. `order=2` verifies the gradient's own gradient as well. `rows="all"` verifies every row of the
    Jacobian, one number of the result at a time. `batched` asks for the gradients once more under `vmap`.
    The truth goes through what the program detaches or stops, unless `stop_gradient="intended"` says that this is meant
    to be constant. `forms` says what kernels stand for that the suite does not know (PyTorch): a function of the same
    arguments for each "namespace::name".
    `definition` says what f itself stands for: a formula over the recording arithmetic and the same arguments
    (`reference.programs.recording`). It is then the truth, in place of f's own forward record, and f's value is judged
    by it, too; f may approximate it to so many ulps as `approximated` says. Without `replays` f is not run again on
    other numbers, and is taken to be what its record says.

    Raises BadInput for arguments without a floating-point number, for an f that raises or whose output is none, or is
    not computed from an argument, and for a device that is not there. What changes its arguments or answers otherwise
    when it is run again is undecided.

    >>> import gradconform as gc
    >>> import torch
    >>> report = gc.verify(lambda x: (x * x.exp()).sum(), torch.tensor([0.5, -1.25]))
    >>> bool(report), report.formula, report.execution, report.accuracy
    (True, 'right', 'within', 'certified')
    >>> both = gc.verify(torch.sin, torch.tensor([0.5]), mode="both")
    >>> list(both.table["mode"]), bool(both)
    (['reverse', 'forward'], True)
    """
    accepted = words(accept, ACCEPTED)
    if profile not in PROFILES:
        raise unknown("profile", profile, PROFILES)
    if order not in (1, 2):
        raise BadInput(f"order is {order!r}; expected 1 or 2")
    if rows not in (None, "all"):
        raise BadInput(f"rows is {rows!r}; expected 'all' or nothing")
    if stop_gradient not in STOPS:
        raise unknown("stop_gradient", stop_gradient, STOPS)
    if mode not in MODES:
        raise unknown("mode", mode, MODES)
    along: Mapping[Mode, Any] = {"reverse": cotangent, "forward": tangent}
    for of_mode, numbers in along.items():
        if of_mode not in MODES[mode] and numbers is not None:
            what = "cotangent" if of_mode == "reverse" else "tangent"
            raise BadInput(f"{what}: it is of {of_mode} mode, and mode is {mode!r}; leave it out, or ask for 'both'")
    wrt = _wanted(wrt)
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
        raise BadInput(f"seed is {seed!r}; expected a whole number, 0 or more")
    if not callable(f):
        raise BadInput(f"f is of type {type(f).__name__}; expected a function, and its arguments after it")
    if isinstance(f, type):
        raise BadInput(
            f"f is the class {f.__name__}; expected a function: an instance, or of a rule {f.__name__}.apply"
        )
    framework = framework_of(f, args)
    recorder = program_rows.recorder_of(framework)
    function, given = recorder.prepared(f, args, None if dtype is None else named_format(dtype).name, device)
    options: dict[str, Any] = {
        "wrt": wrt, "routes": (routes,) if isinstance(routes, str) else tuple(routes or ("eager",)), "seed": seed,
        "stop_gradient": stop_gradient, "replays": replays,
    }  # fmt: skip
    if forms:
        if recorder.FRAMEWORK == "jax":
            raise BadInput("forms: expected none for JAX; a primitive without a rule is to be replaced in the function")
        for name in forms:
            if "::" not in name:
                raise BadInput(f"forms: {name!r} is no operation's name; expected one such as 'mylib::{name}'")
        options["definitions"] = forms
    constants = profile_of(profile, recorder.FRAMEWORK)
    functions = [function] if order == 1 else [function, recorder.gradient_of(function, seed)]
    truths = (
        {} if definition is None else dict(zip(functions, (definition, derivative(definition, seed)), strict=False))
    )
    found = []
    for of, each in ((of, m) for m in MODES[mode] for of in functions):
        more = {"batched": batched, "values": bool(truths) and of is function} if each == "reverse" else {}
        record = partial(recorded, recorder, each, of, given, {**options, **more})
        try:
            runs = [usable(record(along[each]), definition is not None)] if of is function else [record(None)]
            if rows == "all" and of is function and any(x.size for x in _seeded(runs[0])):
                runs = [record(basis) for basis in _rows_of(runs[0])]
            runs = [of_route for run in runs for of_route in _by_route(run, constants)]
            if of in truths:
                turned = recorder.FRAMEWORK == "jax" and each == "reverse"
                runs = [replace(run, definition=defined(truths[of], run, given, turned, approximated)) for run in runs]
                firsts = {run.route: run for run in reversed(runs)}  # whichever row of a Jacobian
                runs += [run.valued() for run in reversed(firsts.values()) if run.values]
            found += [report_of(run, constants, accepted) for run in runs]
        except Unsupported as error:
            found.append(_without(of, each, str(error), accepted, constants, program_rows.dtype_of(leaves(given))))
        except BadInput as error:
            raise advice.raised(error, f, args, framework) from error
        except MemoryError as error:
            what = f"{called(f)}: memory ran out; verify at smaller arguments, or the parts one by one"
            raise BadInput(what) from error
    report = found[0] if len(found) == 1 else joined(found)
    return replace(report, adapter=recorder.FRAMEWORK, digest=program_rows.digest_of(leaves(args)))


def _wanted(wrt: int | str | Sequence[int | str] | None) -> Sequence[int | str] | None:
    """The arguments that are asked for, as a list; None for all."""
    if wrt is None:
        return None
    wanted = (wrt,) if isinstance(wrt, str | int) else wrt
    if not (isinstance(wanted, Sequence) and wanted and all(isinstance(w, str | int) for w in wanted)):
        what = f"{type(wrt).__name__}" if not isinstance(wrt, Sequence) or wrt else "empty"
        raise BadInput(f"wrt is {what}; expected numbers or names of arguments, such as wrt=0 or wrt=['w']")
    return wanted


def _by_route(run: Run, profile: Profile) -> list[Run]:
    """The run, and those of other routes beside it; what one of these gave that is not complete is held against it."""
    complete = []
    for other in run.beside:
        gone = next(missing(other, profile), "")
        if gone:
            why = f"{other.route}: held against the program of {run.route}, its own left the record: {gone}"
            run = replace(
                run, returned={**run.returned, **other.returned}, values={**run.values, **other.values},
                notes=(*run.notes, why),
            )  # fmt: skip
        else:
            complete.append(other)
    return [run, *complete]


def _seeded(run: Run) -> Sequence[Ids]:
    """The numbers whose adjoints are given: the outputs; in forward mode whose tangents are: the arguments."""
    return run.outputs if run.mode == "reverse" else [a.ids for a in run.arguments]


def _rows_of(run: Run) -> Iterator[list[Any]]:
    """One cotangent for each number of the result: 1 there, 0 elsewhere. In forward mode a tangent of the arguments."""
    seeded = _seeded(run)
    for number, of in enumerate(seeded):
        for index in np.ndindex(of.shape):
            basis = [np.zeros(o.shape) for o in seeded]
            basis[number][index] = 1.0
            yield basis


def _without(f: Any, mode: Mode, reason: str, accept: tuple[str, ...], profile: Profile, dtype: str) -> Report:
    """The report about a derivative that the framework does not have."""
    judgement = Judgement(
        "unsupported", math.nan, None, None, None, None, None, None, None, None, None, None, 0, reason,
        formula="unknown", execution="undecided",
    )  # fmt: skip
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
    if differing and any(_differs_alone(rule, profile) for rule in run.rules):
        gone += differing
    else:
        notes += tuple(f"{d}; no custom rule does so by itself" for d in differing)
    seen = _seen(run)
    found = [_of_incomplete(g, other and g.route not in seen) if gone else g for g in gradients(run, profile)]
    found = [_of_another_program(g, run) if _leaves_open(g, run, profile) else g for g in found]
    # The same by another way through the backward pass is not told twice.
    found = [g for g in found if g.route not in run.varied or g.judgement.execution != "within"]
    if any(g.judgement.formula == "kink" for g in found) and any(_wrong_alone(rule, profile) for rule in run.rules):
        # Anything between the slopes of a corner is accepted, and what is wrong beside it may be so, too.
        found = [_of_incomplete(g, False) if g.judgement.formula == "kink" else g for g in found]
        notes += ("at a corner what a rule gives may be between its slopes by chance: move the numbers off the ties",)
        at_fault = tuple(_rules(run.rules, profile))
    else:
        at_fault = tuple(_rules_at_fault(run, found, profile))
    if not at_fault:
        ways = dict.fromkeys(g.route for g in found if g.route in run.varied and g.route != BATCHED)
        found = [g for g in found if g.route not in ways]
        notes += tuple(f"{way}: gives what the record does not; no custom rule does so by itself" for way in ways)
    culprits = (*at_fault, *_operations_at_fault(run, found, profile))
    return Report(run.name, tuple(found), culprits, gone, notes, accept, (run,), profile)


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
    return replace(
        g,
        components=components,
        judgement=replace(g.judgement, formula="unknown", execution=execution, verdict=verdict),
    )


def _leaves_open(g: Gradient, run: Run, profile: Profile) -> bool:
    """Whether a route gave what is outside of the recorded program, which is not its own, and may be rounding's."""
    own = g.route == run.route or (g.route in run.varied and g.route != BATCHED)
    outside = g.judgement.execution == "outside" and g.judgement.formula not in ("wrong", "undefined")
    return outside and not own and rounds_otherwise(run, g.route, profile)


def _of_another_program(g: Gradient, run: Run) -> Gradient:
    """A judgement by the program of another route: being outside of that is no proof."""
    why = f"program: it is not that of {run.route}, which was recorded; what rounds otherwise may be so far off"
    g = _of_incomplete(g, True)
    return replace(g, judgement=replace(g.judgement, reason=noted(g.judgement.reason, why)))


def framework_of(f: Any, args: Iterable[Any], what: str = "arguments") -> str:
    """The framework whose arrays are among the arguments, or whose module f is."""
    given = list(leaves(args))
    of_arrays = dict.fromkeys(_frameworks(type(x).__module__ for x in given))
    if len(of_arrays) > 1:
        raise BadInput(f"{what} of {' and '.join(of_arrays)}: expected those of one framework")
    for framework in (*of_arrays, *_frameworks(c.__module__ for c in type(f).__mro__)):
        return framework
    kinds = ", ".join(sorted({type(x).__name__ for x in given}))
    raise BadInput(
        f"{what} of {kinds or 'no kind: none was given'}; expected at least one PyTorch tensor or JAX array: give "
        "torch.tensor(…) or jnp.asarray(…)"
    )


def _frameworks(modules: Iterable[str]) -> Iterator[str]:
    """The frameworks that verify knows, of those that these modules are of."""
    for module in modules:
        root = module.split(".")[0]
        framework = "jax" if root == "jaxlib" else root
        if framework in program_rows.RECORDERS:
            yield framework


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


def _rules_at_fault(run: Run, found: Sequence[Gradient], profile: Profile) -> Iterable[str]:
    if any(g.judgement.formula in ("wrong", "undefined") or g.route in run.varied for g in found):
        yield from _rules(run.rules, profile)


def _wrong_alone(rule: Rule, profile: Profile) -> bool:
    """Whether a rule by itself is certainly no derivative, on the operands that it had."""
    try:
        return any(g.judgement.formula == "wrong" for g in gradients(rule.alone(), profile))
    except Exception:  # whatever a rule raises outside of its program
        return False


def _differs_alone(rule: Rule, profile: Profile) -> bool:
    """Whether a rule by itself gives something else for odd cotangents, or cannot be run alone: a suspect then."""
    try:
        return any(True for _ in otherwise(rule.alone(), profile))
    except Exception:  # whatever a rule raises outside of its program
        return True


def _operations_at_fault(run: Run, found: Sequence[Gradient], profile: Profile) -> Iterable[str]:
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
        for g in (g for g in alone if not wrong and g.route != "eager"):
            if g.judgement.execution == "outside":
                yield f"{rule.name} ({rule.line}): its rule gives something else: {g.route}"
        for g in wrong[:1]:
            which = (
                f"rule is {g.judgement.formula} by" if g.mode == "reverse" else f"jvp is {g.judgement.formula} for its"
            )
            yield f"{rule.name} ({rule.line}): its {which} {g.argument}"


# Text -----------------------------------------------------------------------------------------------------------------


def _row(g: Gradient) -> dict[str, Any]:
    j = g.judgement
    return {
        "argument": g.argument + g.of, "mode": g.mode, "route": g.route, "verdict": j.verdict, "formula": j.formula,
        "execution": j.execution, "accuracy": j.accuracy, "value": j.value, "truth": j.truth, "max_ulp": j.max_ulp,
        "share": j.share,
        "certified_bits": j.certified_bits, "formula_bits": g.formula_bits, "worst_index": g.index,
        "reason": noted(j.reason, g.components),
    }  # fmt: skip


def _said_of_step(s: StepFinding) -> str:
    share = "" if s.share is None else f", {s.share:.3g} times the allowance"
    at = f"{s.operation} ({s.line or 'no line'}), {s.dtype}, element [{s.worst_index}]"
    return f"{at}: {s.execution}{share}\n      got {s.value!r} for {s.truth}"
