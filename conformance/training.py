"""Training runs: every update judged from the framework's own weights, by the case's rule or by an optimizer's.

With an optimizer the gradient is the adapter's, judged as ever, and the update the optimizer's, judged from its own
state; the drift from the exact trajectory is information.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import numpy as np
from flint import arb

from gradconform.adapters import registry
from gradconform.adapters.updates import Change
from gradconform.conformance.answers import ask
from gradconform.conformance.check import judge_answer
from gradconform.conformance.known import KnownDeviation, is_known, marked
from gradconform.conformance.trajectory import exact_gradients, trajectory
from gradconform.conformance.updates.check_update import Update
from gradconform.conformance.updates.exact_update import BITS, Exactly, evaluated
from gradconform.conformance.updates.judging import Finding, Judging, Ran, update_of
from gradconform.conformance.updates.update_rows import measured
from gradconform.conformance.verify_update import adapter_of, framework_of_maker
from gradconform.reference.arithmetic.exact import precision
from gradconform.reference.arithmetic.profiles import profile as profile_of
from gradconform.reference.cases import BadInput, Case, Point, point
from gradconform.reference.derivations.network import DECAY
from gradconform.reference.derivations.updates.clipping import gradients_of
from gradconform.reference.derivations.updates.rule import GRADIENT, NEW_WEIGHT
from gradconform.reference.measurement import Measurement

#: η in each update, or what gives it for the number of the update, from 0.
Schedule = Sequence[float] | Callable[[int], float]
#: What one update came to: its measurements, each with the drift of the weight that it is of.
Rows = list[tuple[Measurement, float | None]]


@dataclass(frozen=True)
class Training:
    """What is asked of a route: a case, in a dtype on a device, for so many steps; `rates` are η in each."""

    chosen: registry.Chosen
    case: Case
    steps: int
    dtype: str
    device: str
    profile: str
    entries: tuple[KnownDeviation, ...]
    rates: tuple[float, ...] | None = None

    def judged(self, answer: Any, at: Point) -> list[Measurement]:
        """What is said of the adapter's answer."""
        rows = judge_answer(answer, self.chosen.adapter, self.chosen.route, at, self.profile)
        return marked(rows, registry.versions(self.chosen.adapter), self.device, self.entries, self.case.equations)


def scheduled(rate: Schedule | None, steps: int) -> tuple[float, ...] | None:
    """η in each of so many updates. Raises BadInput for what is no schedule of as many."""
    if rate is None:
        return None
    if isinstance(rate, str):
        raise BadInput(f"rate is {rate!r}; expected numbers, or a function of the step")
    try:
        found = map(rate, range(steps)) if callable(rate) else islice(rate, steps)
        rates = tuple(float(x) for x in found)
    except Exception as error:  # whatever the user's function raises
        raise BadInput(f"rate: {type(error).__name__}: {error}; expected numbers, or a function of the step") from error
    odd = [x for x in rates if not math.isfinite(x)]
    if odd or len(rates) < steps:
        got = odd[0] if odd else len(rates)
        raise BadInput(f"rate: expected {steps} finite numbers, one for each step, got {got}")
    return rates


def updates(of: Training) -> Iterator[Rows]:
    """Each step's measurements by the case's own rule, the updated weights at the whole level with their drift."""
    updated, case = of.case.equations.updated, of.case
    exact = trajectory(point(case, of.dtype, of.device), of.rates)
    for step in range(of.steps):
        if of.rates is not None:
            case = _with(case, {case.equations.rate: of.rates[step]})
        at = point(case, of.dtype, of.device)
        answer = ask(of.chosen.adapter, of.chosen.route, at)
        if isinstance(answer, Measurement):
            yield [(answer, None)]
            return
        new = {updated[w]: np.asarray(v, dtype=np.float64) for w, v in answer.updated.items()}
        far = next(exact)
        drifts = {name: far[name](got) for name, got in new.items() if name in far}
        yield [(m, drifts.get(m.quantity) if m.level == "whole" else None) for m in of.judged(answer, at)]
        if new.keys() != set(updated.values()) or not all(np.isfinite(v).all() for v in new.values()):
            return
        case = _with(case, {w: new[n] for w, n in updated.items()})


def _with(case: Case, values: Mapping[str, Any]) -> Case:
    """The case with other values of some of its names."""
    of = {n: v if np.ndim(v) else float(v) for n, v in values.items()}
    return replace(case, values=tuple((n, of.get(n, v)) for n, v in case.values))


# By an optimizer ------------------------------------------------------------------------------------------------------


class _Weights:
    """The weights of a run by an optimizer, the gradients that it asks for, and what is said of these."""

    def __init__(self, of: Training, array: Callable[[Any], Any], clipped: Callable[[Any, Any], Any]) -> None:
        self.of, self.array, self.clipped = of, array, clipped
        self.at = point(of.case, of.dtype, of.device)
        self.values = {w: self.at.values[w] for w in self.at.parameters}
        self.rows: list[Measurement] = []

    def as_arrays(self) -> dict[str, Any]:
        return {w: self.array(np.asarray(v)) for w, v in self.values.items()}

    def gradients(self) -> Iterator[dict[str, Any]]:
        """The gradient at the weights as they stand, whenever the next one is asked for; none where there is none."""
        of, updated = self.of, set(self.of.case.equations.updated.values())
        while True:
            at = replace(self.at, values={**self.at.values, **self.values})
            answer = ask(of.chosen.adapter, of.chosen.route, at)
            if isinstance(answer, Measurement):
                self.rows = [answer]
                return
            self.rows = [m for m in of.judged(answer, at) if m.quantity not in updated]
            if set(answer.gradient) != set(self.values):
                return
            found = {w: self.array(np.asarray(answer.gradient[w])) for w in self.values}
            yield self.clipped(self.as_arrays(), found)


def by_optimizer(of: Training, make: Any, rule: Any, clip: Any) -> Iterator[Rows]:
    """Each step's measurements by an optimizer: of the adapter's gradient, and of weights and state."""
    if DECAY in dict(of.case.values):
        raise BadInput(f"case {of.case.id!r} decays its weights, and so may the optimizer; expected one of them to")
    framework = framework_of_maker(make)
    adapter, constants = adapter_of(framework), profile_of(of.profile, framework)
    judging = Judging(constants, Ran(adapter.ADAPTER, adapter.versions(), of.device))

    clips: dict[str, Change] = {}

    def clipped(weights: Any, gradients: Any) -> Any:
        """The gradients as the clip leaves them, which is judged."""
        if clip is None:
            return gradients
        for change in adapter.changes(clip, weights, [gradients], of.dtype, None):
            judging.add(change)
            if "clipped" in change.after:
                clips[_named(change)] = change
        return {w: adapter.array(clips[w].after["clipped"]) for w in gradients}

    weights = _Weights(of, adapter.array, clipped)
    changes = adapter.changes(make, weights.as_arrays(), weights.gradients(), of.dtype, rule, rates=of.rates)
    exact = Exact(weights.at)
    for _ in range(of.steps):
        done = len(judging.findings)
        found: list[Change] = []
        for change in islice(changes, len(weights.values)):
            if _named(change) not in weights.values or not _moves(change):
                raise BadInput(f"optimizer: what it does to {change.tensor} is no update of a weight, as a scaler of "
                               "the loss does; expected an optimizer alone")  # fmt: skip
            judging.add(change)
            found.append(change)
        if not found:
            yield [(m, None) for m in weights.rows]
            return
        drifts = exact.drifts(found, clips)
        rows: Rows = [(m, None) for m in weights.rows]
        rows += [_row(of, f, judging.notes, drifts) for f in judging.findings[done:]]
        yield rows
        weights.values = {_named(c): c.after["w"] if c.after["w"].ndim else float(c.after["w"]) for c in found}
        if not all(np.isfinite(v).all() for v in weights.values.values()):
            return


def _moves(change: Change) -> bool:
    """Whether a change's rule has a new weight, of one tensor: L-BFGS makes a vector of them all."""
    if change.asked is None:
        return True
    rule = update_of(change, change.asked).rule
    return rule.name != "lbfgs" and NEW_WEIGHT in rule.derivation.by_name


def _named(change: Change) -> str:
    """A weight's name in the case, of its path in the tree that the optimizer has: W1 of ['W1']."""
    return change.tensor.strip("[]'")


def _row(
    of: Training, f: Finding, notes: Sequence[str], drifts: Mapping[str, float]
) -> tuple[Measurement, float | None]:
    """The row of a finding: of a weight as the case names the updated one, of its state beside the weight's name."""
    weight = f.tensor.strip("[]'")
    new = of.case.equations.updated.get(weight, weight)
    is_weight = f.quantity == NEW_WEIGHT and weight in of.case.equations.parameters
    quantity = new if is_weight else f"{f.quantity} of {weight}"
    row = measured(f, of.case.id, of.chosen.adapter.name, of.chosen.route.name, quantity, notes)
    if not is_known(row):
        (row,) = marked([row], registry.versions(of.chosen.adapter), of.device, of.entries)
    return row, drifts.get(weight) if is_weight else None


class Exact:
    """The trajectory of weights and state that are never rounded, from the same start and by the same rule."""

    def __init__(self, at: Point) -> None:
        self.gradients = exact_gradients(at)
        self.of: dict[str, Exactly] = {}
        #: Whether it is still known.
        self.known = True

    def drifts(self, changes: Sequence[Change], clips: Mapping[str, Change]) -> dict[str, float]:
        """How far each weight is from it after an update, with gradients that were clipped; nothing where unknown."""
        of_updates = {_named(c): update_of(c, c.asked) for c in changes if c.asked is not None}
        self.of = self.of or {w: Exactly(u) for w, u in of_updates.items()}
        slopes = self.gradients({w: e.weight for w, e in self.of.items()}) if self.known else None
        self.known = slopes is not None and len(of_updates) == len(changes)
        if slopes is None or not self.known:
            return {}
        with precision(BITS):
            clipped = {w: _clipped(w, slopes, clips) for w in slopes}
            return {w: self.of[w].step(u, _read(w, clipped, u)) for w, u in of_updates.items()}


def _read(weight: str, slopes: Mapping[str, Sequence[arb]], update: Update) -> dict[str, Sequence[arb]]:
    """The gradients that an update's rule reads, by its names: the weight's own, and those of the others."""
    others = [x for w, x in slopes.items() if w != weight]
    of_others = zip(gradients_of(len(slopes))[1:], others, strict=True)
    return {GRADIENT: slopes[weight], **{name: x for name, x in of_others if name in update.values}}


def _clipped(weight: str, slopes: Mapping[str, Sequence[arb]], clips: Mapping[str, Change]) -> Sequence[arb]:
    """The exact gradient of a weight, as a clip that was judged would leave it."""
    change = clips.get(weight)
    if change is None or change.asked is None:
        return slopes[weight]
    update, every = update_of(change, change.asked), [x for of in slopes.values() for x in of]
    exact = _read(weight, slopes, update)
    if "norm" in update.values:
        largest = change.asked.options.get("order") == "inf"
        exact["norm"] = [max(map(abs, every)) if largest else sum((x * x for x in every), arb(0)).sqrt()]
    return evaluated(update, exact)[update.rule.states["clipped"]]
