"""`verify_update`: does this optimizer do to the weights, and to its state, what its rule says?"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np

from gradconform.adapters.updates import Asked, Change, Recorded
from gradconform.conformance.check_recorded_update import formula_of, judge_recorded, narrows
from gradconform.conformance.check_update import Judged, Update
from gradconform.conformance.verify import ACCEPTED, WORST, framework_of, leaves
from gradconform.reference.arithmetic.formats import FORMATS
from gradconform.reference.arithmetic.profiles import PROFILES, Profile
from gradconform.reference.arithmetic.profiles import profile as profile_of
from gradconform.reference.arithmetic.text import formula as text_of
from gradconform.reference.arithmetic.text import symbol
from gradconform.reference.cases import BadInput, named_format, said, unknown
from gradconform.reference.derivations.updates import RULES
from gradconform.reference.derivations.updates.rule import GRADIENT, NEW_WEIGHT, TIME, WEIGHT, Rule
from gradconform.reference.judge import ACCURACY, EXECUTION, FORMULA, Accuracy, Execution, Formula, Judgement, Verdict
from gradconform.reference.programs.run import NotRecorded

if TYPE_CHECKING:
    import pandas as pd

#: The modules that know a framework's optimizers.
ADAPTERS = {"torch": "gradconform.adapters.updates_torch", "jax": "gradconform.adapters.updates_optax"}


@dataclass(frozen=True)
class Finding:
    """What is said of one quantity of one tensor in one update: of a part of the state, or of the weight."""

    tensor: str
    update: int
    quantity: str
    dtype: str
    judgement: Judgement
    #: The equation in words, and its source.
    equation: str
    source: str
    #: Where the worst component is, as text; empty for a number.
    index: str

    def __str__(self) -> str:
        j, at = self.judgement, f"[{self.index}]" if self.index else ""
        lines = [f"{self.tensor}, update {self.update}, {self.quantity}{at} ({self.dtype}): {j.verdict}"]
        lines.append(f"    {self.equation}    ({self.source})")
        share = "" if j.share is None else f", share {j.share:.3g}"
        ulps = "" if j.max_ulp is None else f", at most {j.max_ulp:.3g} ulp off"
        lines.append(f"    got {j.value!r} for {j.truth or 'what the rule has no value for'}{ulps}{share}")
        lines += [f"    {j.reason}"] if j.reason else []
        return "\n".join(lines)


@dataclass(frozen=True, repr=False)
class UpdateReport:
    """What `verify_update` found: true where the weights and the state of every update conform.

    `formula`, `execution` and `accuracy` are the worst answers to the three questions, `verdict` what they come to.
    `culprits` name the equations that deviate, each where it does so first. `findings` has one entry for each quantity
    of each tensor in each update; `drift` says how far the weights are from the exact trajectory.
    """

    name: str
    rule: str
    findings: tuple[Finding, ...]
    notes: tuple[str, ...]
    accept: tuple[str, ...]

    @property
    def formula(self) -> Formula:
        return min((f.judgement.formula or "unknown" for f in self.findings), key=FORMULA.index)

    @property
    def execution(self) -> Execution:
        return min((f.judgement.execution or "undecided" for f in self.findings), key=EXECUTION.index)

    @property
    def accuracy(self) -> Accuracy | None:
        """The worst accuracy; None where no quantity has one."""
        found = (f.judgement.accuracy for f in self.findings if f.judgement.accuracy)
        return min(found, key=ACCURACY.index, default=None)

    @property
    def verdict(self) -> Verdict:
        return min((f.judgement.verdict for f in self.findings), key=WORST.index)

    def __bool__(self) -> bool:
        return all(f.judgement.verdict in ("conforms", *self.accept) for f in self.findings)

    @cached_property
    def culprits(self) -> tuple[str, ...]:
        first: dict[str, Finding] = {}
        for f in self.findings:
            if f.judgement.verdict == "deviates":
                first.setdefault(f.quantity, f)
        return tuple(f"{f.equation} ({f.tensor}, update {f.update})" for f in first.values())

    @cached_property
    def table(self) -> pd.DataFrame:
        """One row for each quantity of each tensor in each update."""
        import pandas as pd

        return pd.DataFrame([_row(f) for f in self.findings])

    def explain(self) -> str:
        """The rule in words with the numbers of the last update, and what was found of each equation."""
        last = max(f.update for f in self.findings)
        return "\n".join([str(self).splitlines()[0], *(str(f) for f in self.findings if f.update == last)])

    def __repr__(self) -> str:
        return str(self)

    def __str__(self) -> str:
        head = f"{self.name}: {self.verdict} · formula {self.formula} · execution {self.execution}"
        head += f" · accuracy {self.accuracy}" if self.accuracy else ""
        updates = max(f.update for f in self.findings)
        lines = [head, f"  rule: {self.rule}, {updates} update{'s' if updates > 1 else ''}"]
        lines += ["  " + str(f).replace("\n", "\n  ") for f in self._worst() if f.judgement.verdict != "conforms"]
        lines += [f"  note: {n}" for n in self.notes]
        return "\n".join(lines)

    def _worst(self) -> list[Finding]:
        """Of each quantity of a tensor the worst, and of equals the first."""
        worst: dict[tuple[str, str], Finding] = {}
        for f in self.findings:
            known = worst.get((f.tensor, f.quantity))
            if known is None or WORST.index(f.judgement.verdict) < WORST.index(known.judgement.verdict):
                worst[f.tensor, f.quantity] = f
        return list(worst.values())


def verify_update(
    make: Any,
    weights: Any,
    gradients: Sequence[Any],
    *,
    dtype: str | None = None,
    rule: Any = None,
    accept: str | Iterable[str] = (),
    profile: str = "opencl",
) -> UpdateReport:
    """Verify what an optimizer does to weights, and to its state, given the gradients: one update for each of these.

    `make(parameters)` gives a `torch.optim.Optimizer` of a list of parameters; or `make` is an optax transformation, or
    a function without arguments that gives one. `weights` is a tensor or array, a tree of them or a `torch.nn.Module`;
    each of the `gradients` is like them. `dtype` casts the weights first.

    Of the frameworks' own optimizers the rule is that of the paper, with the settings of the optimizer. For one of your
    own, `rule` is what it should be: it makes the framework's optimizer with the same state (`rule=torch.optim.AdamW`),
    and what settings yours has by the same names are yours.

    Every equation of the rule is judged on what the framework itself had before the update and has after it, so that a
    fault is named where it happens. Raises BadInput for what cannot be run, and for a state that does not fit.

    >>> import gradconform as gc
    >>> import torch
    >>> w, g = torch.tensor([0.5, -1.25]), torch.tensor([0.25, -0.75])
    >>> report = gc.verify_update(lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9), w, [g, g])
    >>> bool(report), report.rule
    (True, 'sgd')
    """
    accepted = (accept,) if isinstance(accept, str) else tuple(accept)
    for word in accepted:
        if word not in ACCEPTED:
            raise unknown("accepted verdict", word, ACCEPTED)
    if profile not in PROFILES:
        raise unknown("profile", profile, PROFILES)
    if isinstance(gradients, str | Mapping) or not hasattr(gradients, "__len__") or not len(gradients):
        raise BadInput("gradients: expected a list with one gradient, like the weights, for each update")
    framework = _framework_of(weights)
    adapter = import_module(ADAPTERS[framework])
    constants = profile_of(profile, framework)
    cast = None if dtype is None else named_format(dtype).name
    judged = Judging(constants)
    for change in adapter.changes(make, weights, gradients, cast, rule):
        judged.add(change)
    if not judged.findings:
        raise BadInput("gradients: there is none for any weight; expected one or more")
    name = getattr(make, "__name__", type(make).__name__)
    return UpdateReport(name, judged.rule, tuple(judged.findings), tuple(dict.fromkeys(judged.notes)), accepted)


class Judging:
    """The changes of a run, judged one after the other."""

    def __init__(self, profile: Profile) -> None:
        self.profile, self.findings, self.notes, self.rule = profile, list[Finding](), list[str](), "its own record"
        #: The form that was accepted last, by equation: it is tried first.
        self._accepted: dict[tuple[str, str], str] = {}

    def add(self, change: Change) -> None:
        self.notes += change.notes
        if change.asked is None:
            self._by_its_record(change)
            return
        update = update_of(change, change.asked)
        self.rule = update.rule.name
        for equation in update.reported:
            key = (update.rule.name, equation.name)
            found = Judged(update, equation, self.profile, self._accepted.get(key, "")).judgement()
            if found.accepted_form and found.execution == "within":
                self._accepted[key] = found.accepted_form
            if found.execution == "outside" and change.again is not None:
                found = self._recorded(change, change.again, update, equation.name, found)
            text = f"{symbol(equation.name)} = {text_of(equation)}"
            dtype = update.formats[equation.name].name
            self.findings.append(_finding(change, equation.name, dtype, found, text, equation.source))

    def _recorded(
        self, change: Change, again: Callable[[], Recorded], update: Update, quantity: str, found: Judgement
    ) -> Judgement:
        """What is outside of every form that is known may be right by a program of its own, or is wrong for certain."""
        try:
            recorded = named(again(), change, update)
        except Exception as error:  # what a step raises where it is observed: it stays a suspect
            self.notes.append(f"its step is not recorded: {type(error).__name__}: {said(error)}")
            return found
        formula = formula_of(update, recorded, quantity)
        if formula == "wrong":
            return replace(found, formula="wrong")
        got, format = np.asarray(update.values[quantity]), update.formats[quantity]
        if formula == "unknown" or narrows(recorded, format):
            return found
        moved = update.values[WEIGHT] if quantity == NEW_WEIGHT else None
        own = judge_recorded(recorded, quantity, got, format, self.profile, formula, moved)
        return own if own.execution == "within" else found

    def _by_its_record(self, change: Change) -> None:
        """An optimizer of which no rule is known: what it returned is held against its own operations."""
        if change.again is None:
            raise BadInput(f"{change.tensor}: this optimizer is not known; say with rule= which it should be")
        try:
            recorded = change.again()
        except NotRecorded as error:
            raise BadInput(f"not recorded: {error}") from error
        for name, got in change.after.items():
            if name not in recorded.results:
                continue
            moved = change.before["w"] if name == "w" else None
            format = FORMATS[change.dtypes[name]]
            found = judge_recorded(recorded, name, np.asarray(got), format, self.profile, moved_from=moved)
            what = NEW_WEIGHT if name == "w" else name
            self.findings.append(_finding(change, what, format.name, found, f"{what} by its own operations", "record"))
        self.notes.append("no rule is known for this optimizer: its formula is unknown; name one with rule=")


def named(recorded: Recorded, change: Change, update: Update) -> Recorded:
    """A record with its results under the names of the rule."""
    assert change.asked is not None
    names = {theirs: update.rule.states[part] for part, theirs in change.asked.state.items()} | {"w": NEW_WEIGHT}
    results = {names[k]: v for k, v in recorded.results.items() if k in names}
    return replace(recorded, results=results)


def update_of(change: Change, asked: Asked) -> Update:
    """A change as the rule's quantities. Raises BadInput where the state does not fit."""
    rule = RULES[asked.rule](**asked.options)
    values: dict[str, Any] = {GRADIENT: change.gradient, WEIGHT: change.before["w"], NEW_WEIGHT: change.after["w"]}
    dtypes = {GRADIENT: change.dtypes["gradient"], WEIGHT: change.dtypes["w"], NEW_WEIGHT: change.dtypes["w"]}
    for part, new in rule.states.items():
        theirs = asked.state.get(part)
        if theirs is None:
            continue
        if theirs not in change.after:
            has = ", ".join(k for k in change.after if k != "w") or "no state"
            raise BadInput(
                f"{change.tensor}: the rule {rule.name} keeps {part}, as {theirs!r}; the optimizer has {has}"
            )
        values[new] = change.after[theirs]
        start = np.full(np.shape(values[new]), asked.start.get(part, 0.0))
        values[part] = change.before.get(theirs, start)
        dtypes |= dict.fromkeys((part, new), change.dtypes[theirs])
        if np.shape(values[part]) != np.shape(values[new]):
            raise BadInput(f"{change.tensor}: its {theirs!r} has shape {np.shape(values[new])} after update "
                           f"{change.number} and {np.shape(values[part])} before it")  # fmt: skip
    settings = {**asked.settings, TIME: float(change.number)}
    values |= {s: settings[s] for s in rule.settings}
    return Update(_shaped(rule, change, values), values, {k: FORMATS[d] for k, d in dtypes.items()})


def _shaped(rule: Rule, change: Change, values: Mapping[str, Any]) -> Rule:
    for equation in rule.derivation.equations:
        of_weight = [n for n in (equation.name, *equation.operands) if n in values and n not in rule.settings]
        for name in of_weight:
            shape, weight = np.shape(values[name]), np.shape(values[WEIGHT])
            if equation.part is not None and shape not in ((), weight):
                raise BadInput(f"{change.tensor}: the state {name} has shape {shape}; the weight has {weight}")
    return rule


def _finding(change: Change, quantity: str, dtype: str, found: Judgement, text: str, source: str) -> Finding:
    shape = np.shape(change.after["w"]) if quantity == NEW_WEIGHT else ()
    for value in change.after.values():
        shape = shape or np.shape(value)
    at = np.unravel_index(found.worst_index, shape) if shape and found.worst_index < math.prod(shape) else ()
    index = ",".join(str(int(i)) for i in at)
    return Finding(change.tensor, change.number, quantity, dtype, found, text, source, index)


def _framework_of(weights: Any) -> str:
    found = [x for x in leaves(weights) if hasattr(x, "dtype")]
    return framework_of(weights, found)


def _row(f: Finding) -> dict[str, Any]:
    j = f.judgement
    return {
        "tensor": f.tensor, "update": f.update, "quantity": f.quantity, "dtype": f.dtype, "verdict": j.verdict,
        "formula": j.formula, "execution": j.execution, "accuracy": j.accuracy, "value": j.value, "truth": j.truth,
        "max_ulp": j.max_ulp, "share": j.share, "certified_bits": j.certified_bits, "accepted_form": j.accepted_form,
        "worst_index": f.index, "reason": j.reason,
    }  # fmt: skip
