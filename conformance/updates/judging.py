"""The changes of a run judged one after the other, each quantity of each tensor by its equation."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from gradconform.adapters.updates import OWN, Asked, Change, Recorded
from gradconform.conformance.known import marked
from gradconform.conformance.updates.check_recorded_update import formula_of, judge_recorded, narrows
from gradconform.conformance.updates.check_update import Judged, Update
from gradconform.reference.arithmetic.formats import FLOAT32, FORMATS
from gradconform.reference.arithmetic.profiles import Profile
from gradconform.reference.arithmetic.text import formula as text_of
from gradconform.reference.arithmetic.text import symbol
from gradconform.reference.cases import BadInput, said
from gradconform.reference.components import named as named_index
from gradconform.reference.derivations.updates import RULES
from gradconform.reference.derivations.updates.clipping import after_clip
from gradconform.reference.derivations.updates.rule import GRADIENT, NEW_WEIGHT, TIME, WEIGHT, Rule
from gradconform.reference.derivations.updates.stored import ROUNDED_WEIGHT, unstored, with_master
from gradconform.reference.equations import Equation
from gradconform.reference.judge import Judgement, noted, verdict_of
from gradconform.reference.measurement import UPDATE, judged, which_deviate
from gradconform.reference.programs.run import NotRecorded


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
    route: str
    #: The rule's name; empty where none is known.
    rule: str
    elements: int
    #: How many of them deviate, and which, as text; empty where none does.
    components: str = ""

    def __str__(self) -> str:
        j, at = self.judgement, f"[{self.index}]" if self.index else ""
        way = "" if self.route == OWN else f", {self.route}"
        lines = [f"{self.tensor}, update {self.update}, {self.quantity}{at} ({self.dtype}{way}): {j.verdict}"]
        lines.append(f"    {self.equation}    ({self.source})")
        share = "" if j.share is None else f", share {j.share:.3g}"
        ulps = "" if j.max_ulp is None else f", at most {j.max_ulp:.3g} ulp off"
        lines.append(f"    got {j.value!r} for {j.truth or 'what the rule has no value for'}{ulps}{share}")
        reason = noted(j.reason, self.components)
        lines += [f"    {reason}"] if reason else []
        return "\n".join(lines)


@dataclass(frozen=True)
class Ran:
    """What ran the optimizer, as entries of known deviations call it, and its versions."""

    adapter: str
    versions: Mapping[str, str]
    device: str = "cpu"


class Judging:
    """The changes of a run, judged one after the other; with what `ran` it, deviations that are known are marked.

    `master` is the framework's name of the state that holds the weights as the rule has them, wider than they are.
    """

    def __init__(self, profile: Profile, ran: Ran | None = None, master: str = "") -> None:
        self.master = master
        self.profile, self.findings, self.notes = profile, list[Finding](), list[str]()
        self._rules: dict[str, None] = {}
        self.ran = ran
        #: The form that was accepted last, by equation: it is tried first.
        self._accepted: dict[tuple[str, str], str] = {}

    @property
    def rule(self) -> str:
        """The rules by which it was judged."""
        return ", ".join(self._rules) or "its own record"

    def add(self, change: Change) -> None:
        self.notes += change.notes
        if change.asked is None:
            self._by_its_record(change)
            return
        update = update_of(change, change.asked, self.master)
        self._rules[update.rule.name] = None
        for equation in update.reported:
            found = self._judged(update, equation)
            wide = update.formats[equation.name].precision >= FLOAT32.precision  # whose literals are what they say
            vague = found.accuracy == "vacuous" and wide and not change.theirs
            if change.again is not None and (found.execution in ("outside", "undecided") or vague):
                found = self._recorded(change, change.again, update, equation.name, found)
            found = self._marked(change, update, equation.name, found)
            text = f"{symbol(equation.name)} = {text_of(equation)}"
            dtype = update.formats[equation.name].name
            shape, of = np.shape(update.values[equation.name]), update.rule.name
            self.findings.append(_finding(change, equation.name, dtype, shape, found, text, equation.source, of))

    def _judged(self, update: Update, equation: Equation) -> Judgement:
        """An equation, by new state that is stored narrower than the result first as it was before it was stored."""
        narrow = tuple(
            n for n in equation.operands
            if n in update.rule.states.values() and n in update.values and n != equation.name
            and update.formats[n].precision < update.formats[equation.name].precision
        )  # fmt: skip
        if narrow:
            before = self._by_forms(update, unstored(update.rule, equation, narrow), "before it was stored")
            if before.execution == "within":
                return before
        return self._by_forms(update, equation)

    def _by_forms(self, update: Update, equation: Equation, what: str = "") -> Judgement:
        key = (update.rule.name, equation.name + what)
        found = Judged(update, equation, self.profile, self._accepted.get(key, "")).judgement()
        if found.accepted_form and found.execution == "within":
            self._accepted[key] = found.accepted_form
        return found

    def _marked(self, change: Change, update: Update, quantity: str, found: Judgement) -> Judgement:
        """The judgement; what is known of the framework's own has `known:<id>` as the first word of its reason."""
        if found.verdict != "deviates" or self.ran is None or not change.theirs:
            return found
        shape = np.shape(update.values[quantity])
        of = {"case": f"{UPDATE}{update.rule.name}", "adapter": self.ran.adapter, "route": change.route,
              "dtype": update.formats[quantity].name, "level": "step", "quantity": quantity}  # fmt: skip
        row = judged(of, found, math.prod(shape), None, update.rule.name)
        return replace(found, reason=marked([row], self.ran.versions, self.ran.device)[0].reason or "")

    def _recorded(
        self, change: Change, again: Callable[[], Recorded], update: Update, quantity: str, found: Judgement
    ) -> Judgement:
        """What is outside of every form that is known may be right by a program of its own, or is wrong for certain.

        So may be what a form accepts that keeps no digits.
        """
        try:
            recorded = named(again(), change, update, self.master)
        except Exception as error:  # what a step raises where it is observed: it stays a suspect
            self.notes.append(f"its step is not recorded: {type(error).__name__}: {said(error)}")
            return found
        formula = formula_of(update, recorded, quantity)
        if formula == "wrong":
            verdict = verdict_of("wrong", found.execution or "undecided", found.accuracy or "certified")
            return replace(found, formula="wrong", verdict=verdict)
        if found.execution == "within":
            return found
        got, format = np.asarray(update.values[quantity]), update.formats[quantity]
        if formula == "unknown" or narrows(recorded, quantity, format):
            return found
        before = update.rule.moved.get(quantity)
        moved = None if before is None else update.values[before]
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
            text = f"{what} by its own operations"
            self.findings.append(_finding(change, what, format.name, np.shape(got), found, text, "record"))
        self.notes.append(
            "no rule is known for this optimizer: its formula is unknown, and the report not true; name one with rule="
        )


def named(recorded: Recorded, change: Change, update: Update, master: str = "") -> Recorded:
    """A record with what it was given, and its results, under the names of the rule."""
    assert change.asked is not None
    parts = {theirs: part for part, theirs in change.asked.state.items()}
    new = {theirs: update.rule.states[part] for theirs, part in parts.items()} | {"w": NEW_WEIGHT}
    if master:
        new |= {master: NEW_WEIGHT, "w": ROUNDED_WEIGHT}
    given = {parts.get(k, k): v for k, v in recorded.given.items()}
    return replace(recorded, given=given, results={new[k]: v for k, v in recorded.results.items() if k in new})


def update_of(change: Change, asked: Asked, master: str = "") -> Update:
    """A change as the rule's quantities. Raises BadInput where the state does not fit.

    Of a `master` weight that is not there before the first update the weight itself is what it was.
    """
    rule = RULES[asked.rule](**asked.options)
    if asked.clip:
        rule = after_clip(rule, asked.clip, 1 + len(change.beside))
    values: dict[str, Any] = {GRADIENT: change.gradient, WEIGHT: change.before["w"], NEW_WEIGHT: change.after["w"]}
    dtypes = {GRADIENT: change.dtypes["gradient"], WEIGHT: change.dtypes["w"], NEW_WEIGHT: change.dtypes["w"]}
    if master:
        if master not in change.after:
            raise BadInput(f"{change.tensor}: master is {master!r}; the optimizer has {_kept(change)}")
        rule = with_master(rule)
        values |= {ROUNDED_WEIGHT: change.after["w"], NEW_WEIGHT: change.after[master]}
        values[WEIGHT] = change.before.get(master, change.before["w"])
        dtypes |= {ROUNDED_WEIGHT: change.dtypes["w"], **dict.fromkeys((WEIGHT, NEW_WEIGHT), change.dtypes[master])}
    for part, new in rule.states.items():
        theirs = asked.state.get(part)
        if theirs is None:
            continue
        if theirs not in change.after:
            raise BadInput(f"{change.tensor}: the rule {rule.name} keeps {part}, as {theirs!r}; the optimizer has "
                           f"{_kept(change)}; another name is given by state={{{theirs!r}: …}}")  # fmt: skip
        values[new] = change.after[theirs]
        start = np.full(np.shape(values[new]), asked.start.get(part, 0.0))
        values[part] = change.before.get(theirs, start)
        dtypes |= dict.fromkeys((part, new), change.dtypes[theirs])
        if np.shape(values[part]) != np.shape(values[new]):
            raise BadInput(f"{change.tensor}: its {theirs!r} has shape {np.shape(values[new])} after update "
                           f"{change.number} and {np.shape(values[part])} before it")  # fmt: skip
    values |= change.beside
    dtypes |= {name: change.dtypes[name] for name in change.beside}
    settings = {TIME: float(change.number), **asked.settings}
    values |= {s: settings[s] for s in rule.settings}
    return Update(_shaped(rule, change, values), values, {k: FORMATS[d] for k, d in dtypes.items()})


def _kept(change: Change) -> str:
    return (
        ", ".join(k for k in change.after if k != "w") or "no state with a name, as fields of named tuples are in optax"
    )


def _shaped(rule: Rule, change: Change, values: Mapping[str, Any]) -> Rule:
    for equation in rule.derivation.equations:
        of_weight = [n for n in (equation.name, *equation.operands) if n in values and n not in rule.settings]
        for name in of_weight:
            shape, weight = np.shape(values[name]), np.shape(values[WEIGHT])
            if equation.part is not None and shape not in ((), weight):
                raise BadInput(f"{change.tensor}: the state {name} has shape {shape}; the weight has {weight}")
    return rule


def _finding(
    change: Change,
    quantity: str,
    dtype: str,
    shape: tuple[int, ...],
    found: Judgement,
    text: str,
    source: str,
    rule: str = "",
) -> Finding:
    at = np.unravel_index(found.worst_index, shape) if shape and found.worst_index < math.prod(shape) else ()
    index = named_index(at) if at else ""
    return Finding(change.tensor, change.number, quantity, dtype, found, text, source, index, change.route, rule,
                   math.prod(shape), which_deviate(found, shape) or "")  # fmt: skip
