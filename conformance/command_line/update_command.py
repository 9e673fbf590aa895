"""`gradconform verify-update torch.optim.AdamW …`: what optimizers do to weights, verified from a terminal."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from gradconform.conformance.command_line.verify_command import Verified, calls, found_in, imported
from gradconform.conformance.known import KnownDeviation, is_known, marked
from gradconform.conformance.programs.frameworks import framework_of
from gradconform.conformance.updates import update_rows
from gradconform.conformance.updates.judging import Ran
from gradconform.conformance.verify_update import adapter_of, framework_of_maker, verify_update
from gradconform.reference.cases import BadInput, said

#: The modules whose optimizers are named with a dot, and the framework of each.
BUILT_IN = {"torch.optim": "torch", "optax": "jax"}


@dataclass(frozen=True)
class Drawn:
    """Weights and gradients drawn at random, for an optimizer whose module gives none."""

    shape: tuple[int, ...]
    updates: int
    seed: int

    def of(self, framework: str) -> tuple[Any, list[Any]]:
        """Weights, and gradients of a scale of their own in each update, as a framework's arrays."""
        random, array = np.random.default_rng(self.seed), adapter_of(framework).array
        scales = [10 ** random.uniform(-1, 0.5) for _ in range(self.updates)]
        try:
            return array(random.normal(size=self.shape)), [array(random.normal(size=self.shape) * s) for s in scales]
        except (MemoryError, ValueError) as error:  # more than there is memory for, or than an array can have
            raise BadInput(f"--shape {','.join(map(str, self.shape))}: {said(error)}; give a smaller one") from error


@dataclass(frozen=True, eq=False)
class Optimizer:
    """What makes an optimizer, called MODULE:FUNCTION or torch.optim.NAME, and (weights, gradients) to try it on.

    `drawn` says that these are random numbers; `asked` are the settings that it is made with.
    """

    name: str
    make: Any
    framework: str
    cases: tuple[tuple[Any, ...], ...]
    drawn: bool
    asked: Mapping[str, Any]

    @property
    def ran(self) -> Ran:
        adapter = adapter_of(self.framework)
        return Ran(adapter.ADAPTER, adapter.versions())


def optimizers(names: Sequence[str], settings: Mapping[str, Any], cases: str, drawn: Drawn) -> list[Optimizer]:
    """The optimizers of these names. Raises BadInput for one that is not there or cannot be made so."""
    return [_optimizer(name, settings, cases, drawn) for name in dict.fromkeys(names)]


def _optimizer(name: str, settings: Mapping[str, Any], cases: str, drawn: Drawn) -> Optimizer:
    module, make, framework = named(name)
    made = with_settings(name, make, settings)
    gives = None if framework else getattr(module, cases, None)
    framework = framework or framework_of_maker(make)
    if gives is None:
        return Optimizer(name, made, framework, (drawn.of(framework),), True, settings)
    try:
        given = gives()
        of = given.get(name.partition(":")[2], ()) if isinstance(given, Mapping) else given
        found = calls(of)
    except (Exception, SystemExit) as error:  # whatever the user's function raises
        raise BadInput(f"{name.partition(':')[0]}:{cases} gives no weights and gradients: {said(error)}") from error
    if not found or any(len(c) != 2 for c in found):
        raise BadInput(
            f"{name.partition(':')[0]}:{cases} gives none of {name}; expected a sequence with (weights, gradients) for "
            "each run, gradients a list with one for each update"
        )
    return Optimizer(name, made, framework_of(make, found[0]), found, False, settings)


def with_settings(name: str, make: Any, settings: Mapping[str, Any]) -> Any:
    """What makes an optimizer with these settings. Raises BadInput for one that is made already."""
    if settings and not callable(make):
        raise BadInput(f"{name} is a {type(make).__name__}, which is made already; leave --set out")
    return partial(make, **settings) if settings else make


def named(name: str) -> tuple[Any, Any, str]:
    """The module, what makes the optimizer, and of a framework's own that framework."""
    path, colon, called = name.partition(":")
    if not colon:
        path, _, called = name.rpartition(".")
        if path not in BUILT_IN:
            raise BadInput(
                f"{name!r} names no optimizer; expected MODULE:FUNCTION, such as optimizers:mine, or a framework's "
                "own, such as torch.optim.AdamW or optax.adamw"
            )
    module = imported(path)
    return module, found_in(module, called, "what makes the optimizer", made=True), BUILT_IN.get(path, "")


def rule_named(name: str) -> Any:
    """What an optimizer should be: what makes one, or a single word, which is the name of a rule."""
    return name if not name or name.isidentifier() else named(name)[1]


def state_named(text: str) -> tuple[str, str]:
    """A name NAME=YOURS of a part of a rule's state."""
    name, equals, own = text.partition("=")
    if not (equals and name and own):
        raise BadInput(f"--state {text!r}: expected NAME=YOURS, such as exp_avg=m")
    return name, own


def setting(text: str) -> tuple[str, Any]:
    """A setting NAME=VALUE, its value a number, a tuple, True, False, None or a word."""
    name, equals, value = text.partition("=")
    if not equals or not name.isidentifier():
        raise BadInput(f"--set {text!r}: expected NAME=VALUE, such as lr=0.1 or betas=(0.9,0.99)")
    try:
        return name, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        if value.isidentifier():
            return name, value
        raise BadInput(f"--set {text!r}: the value is no number, tuple, True, False, None or word") from None


def shape(text: str) -> tuple[int, ...]:
    """A shape such as 7 or 4,3."""
    words = text.replace("x", ",").split(",")
    if not all(word.strip().isdecimal() and int(word) for word in words):
        raise BadInput(f"--shape {text!r}: expected whole numbers above 0 with commas between them, such as 7 or 4,3")
    return tuple(int(word) for word in words)


def verified(
    chosen: Sequence[Optimizer],
    rule: str,
    dtypes: Sequence[str],
    entries: tuple[KnownDeviation, ...] = (),
    **options: Any,
) -> Iterator[Verified]:
    """Each optimizer on each of its weights in each dtype; in the weights' own where none is named, float32 if drawn.

    `rule` names what they should be, if they are none of the frameworks' own, as of `rule_named`; `entries` are
    deviations that are known besides the suite's.
    """
    like = rule_named(rule) or None
    times: Counter[tuple[str, str | None]] = Counter()
    for of in chosen:
        text = f"({', '.join(f'{k}={v!r}' for k, v in of.asked.items())})" if of.asked else ""
        called = of.name + text.replace(" ", "")
        for position, (weights, gradients) in enumerate(of.cases, 1):
            case = update_rows.case_of(called, update_rows.digest_of(weights))
            each: Sequence[str | None] = dtypes or (["float32"] if of.drawn else [None])
            for dtype in each:
                number = times[case, dtype]
                times[case, dtype] += 1
                title = of.name + text + (f" in {dtype}" if dtype else "")
                title += f" (weights {position} of {len(of.cases)})" if len(of.cases) > 1 else ""
                given = {"dtype": dtype, "rule": like, **options}
                yield _verified(of, title, called, weights, gradients, number, entries, given)


def _verified(
    of: Optimizer,
    title: str,
    called: str,
    weights: Any,
    gradients: Any,
    number: int,
    entries: tuple[KnownDeviation, ...],
    options: Mapping[str, Any],
) -> Verified:
    broken = False
    try:
        report = verify_update(of.make, weights, gradients, **options)
    except BadInput as error:
        problem = str(error)
    except Exception as error:  # a mistake of the suite: no deviation, and no reason to leave the others out
        broken, problem = True, f"gradconform itself failed: {type(error).__name__}: {said(error)}"
    else:
        rows = update_rows.rows(report, called, number)
        # The suite's own entries are asked where an update is judged, of the frameworks' own optimizers alone.
        rows = [m if is_known(m) else marked([m], report.ran.versions, report.ran.device, entries)[0] for m in rows]
        return Verified(title, replace(report, name=title), "", tuple(rows))
    row = update_rows.not_judged(called, weights, options["dtype"], number, of.ran.adapter, problem)
    return Verified(title, None, problem, (row,), broken)
