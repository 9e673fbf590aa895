"""PyTorch programs: one run of a function and of its backward pass, recorded as it runs."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gradconform.adapters.recording.torch_asked import (
    Asked,
    Function,
    StopGradient,
    TorchState,
    argument_ids,
    asked_of,
    compiled_by,
    directions,
    displaced_numbers,
    of_the_user,
    significands,
)
from gradconform.adapters.recording.torch_call import Program
from gradconform.adapters.recording.torch_foreign import Watch
from gradconform.adapters.recording.torch_graph import Graph
from gradconform.adapters.recording.torch_lines import CALLERS
from gradconform.adapters.recording.torch_memory import format_of, numbers, shape_of, tensor_of
from gradconform.adapters.recording.torch_mode import Observed, Recorder
from gradconform.adapters.recording.torch_modules import in_place
from gradconform.adapters.recording.torch_rules import RULES
from gradconform.adapters.recording.torch_variations import reentrant, variations
from gradconform.adapters.recording.torch_ways import BY_AUTOGRAD, WAYS, Way, number
from gradconform.reference.cases import said
from gradconform.reference.programs.record import ZERO, Ids, Numbers
from gradconform.reference.programs.run import DRAWS, EAGER, NotRecorded, Replay, Rule, Run, called, numbered
from gradconform.reference.programs.run import Tensor as Argument

#: What the gradient by complex numbers is.
CONVENTION = "complex z = x + iy: PyTorch's gradient of a real L is ∂L/∂x + i·∂L/∂y"


def record(
    f: Function,
    args: Sequence[Any],
    *,
    wrt: Sequence[int | str] | None = None,
    names: Sequence[str] | None = None,
    cotangents: Any = None,
    seed: int = 0,
    routes: Sequence[str] = ("eager",),
    definitions: Mapping[str, Program] | None = None,
    replays: bool = True,
    stop_gradient: StopGradient = "through",
    batched: bool = False,
    values: bool = False,
) -> Run:
    """One run of f(*args) and of its backward pass.

    `args` are tensors, or containers of them. A gradient is asked for those that `wrt` names or numbers, else for those
    that require one, else for all floating-point tensors. `names` are the tensors' names, in their order.
    `cotangents` are the outputs' adjoints; without them they are drawn from `seed`, with full significands.
    `definitions` say what operations stand for that the recorder does not know: a function of the same arguments, by
    "namespace::name". Routes are "eager", "compile" and "func" (vmap over torch.func.vjp); the last is recorded, too,
    in a run `beside` this one. With stop_gradient="intended" what the program detaches, or computes under `no_grad`, is
    a constant of its derivative. With `replays` the run is repeated elsewhere; where it has custom rules its backward
    pass also in other ways that must give the same; with `batched` under vmap. With `values` the outputs by every route
    are handed over, too.

    Raises NotRecorded where the program does what has no definition, and BadInput for arguments without a
    floating-point tensor, and for an f that raises or returns none.
    """
    asked = asked_of(f, args, wrt, names)
    state = TorchState()
    recorded = partial(
        _recorded, asked, cotangents=cotangents, seed=seed, definitions=definitions, replays=replays,
        stop_gradient=stop_gradient, values=values,
    )  # fmt: skip
    run = recorded(BY_AUTOGRAD, [r for r in routes if r not in WAYS], batched=batched)
    for way in (WAYS[r] for r in routes if r in WAYS and r != EAGER):
        state.restore()
        try:
            run = replace(run, beside=(*run.beside, recorded(way)))
        except NotRecorded as error:
            state.restore()
            run = _unrecorded(run, asked, way, error)
    return run


def _recorded(
    asked: Asked,
    way: Way,
    routes: Sequence[str] = (),
    *,
    cotangents: Any,
    seed: int,
    definitions: Mapping[str, Program] | None,
    replays: bool,
    stop_gradient: StopGradient,
    values: bool,
    batched: bool = False,
) -> Run:
    """One run by a way, and what compiled `routes` give, whose programs are not known."""
    state = TorchState()
    recorder = Recorder(RULES, definitions, stop_gradient == "intended")
    rules: list[Rule] = []
    tensors = asked.tensors()
    given = tuple(argument_ids(recorder, x) for x in tensors)
    graph = recorder.graph = Graph(recorder.memory, recorder.dependence, tensors, given) if way is BY_AUTOGRAD else None
    with Watch(recorder, rules, partial(record, definitions=definitions)), in_place():
        with of_the_user("f"), recorder:
            outputs, pull = way.run(asked, tensors, None)
        recorder.graph = None
        out_ids = tuple(recorder.memory.ids(y) for y in outputs)  # steps of their own, where they are conjugated
        forward = recorder.record.mark()
        adjoints = directions(outputs, cotangents, seed)
        seeds = tuple(argument_ids(recorder, c) for c in adjoints)
        recorder.backward = True
        handed = [c.clone() for c in adjoints]
        if graph is not None:
            graph.watch(outputs)
        with of_the_user("its backward pass"), recorder:
            gradients = pull(adjoints)
    results = tuple(_ids(recorder, g, x) for g, x in zip(gradients, tensors, strict=True))
    returned = {way.route: [number(g, x) for g, x in zip(gradients, tensors, strict=True)]}
    found = {way.route: [numbers(y.detach()) for y in outputs]}
    after = TorchState()
    draws = state.moved()
    if draws:
        recorder.notes.append(DRAWS)
    if any(not _same(c, own) for c, own in zip(adjoints, handed, strict=True)):
        # Whatever is run again with these numbers would be given others.
        by = ", ".join(dict.fromkeys(f"{r.name} ({r.line})" for r in rules)) or "a rule"
        what = "changes the gradient that it is given, in place: others may hold it; give a new tensor"
        recorder.foreign.append(f"in its backward pass {by} {what}")
        adjoints, replays = handed, False
    for route in routes:
        state.restore()
        compiled = replace(asked, f=compiled_by(asked.f, route, draws))
        found[route], returned[route] = way.again(compiled, tensors, [c.clone() for c in adjoints])
    custom = bool(rules) and way is BY_AUTOGRAD
    varied: dict[str, list[Numbers]] = {}
    if replays and way is BY_AUTOGRAD:
        # A checkpoint that is reentrant has no gradient of what it is not given, as documented.
        alone = () if reentrant(outputs) else asked.names
        varied = _varied(asked, state, after, adjoints, custom, batched, recorder.foreign, alone, returned[way.route])
    again = _replays(asked, way, recorder, forward.steps, state, after, adjoints, seed, custom) if replays else ()
    return Run(
        name=called(asked.f),
        forward=recorder.record.until(forward),
        arguments=tuple(
            Argument(n, i, format_of(x), x.is_complex()) for n, i, x in zip(asked.names, given, tensors, strict=True)
        ),
        outputs=out_ids,
        backward=recorder.record,
        given=given,
        cotangents=seeds,
        results=results,
        returned=returned,
        rules=tuple(rules),
        replays=list(again),
        notes=(*recorder.notes, *([CONVENTION] if any(x.is_complex() for x in tensors) else [])),
        foreign=tuple(recorder.foreign),
        varied={name: other for name, other in varied.items() if not _identical(other, returned[way.route])},
        values=found if values else {},
        named=numbered(out_ids, [format_of(y) for y in outputs], [y.is_complex() for y in outputs]) if values else (),
        route=way.route,
        **({} if graph is None else graph.cut(tensors, given, results, outputs, seeds)),
    )


def _unrecorded(run: Run, asked: Asked, way: Way, why: NotRecorded) -> Run:
    """The run with what another way gives, whose program cannot be recorded."""
    tensors = asked.tensors()
    outputs = asked.call(tensors)
    adjoints = [tensor_of(run.backward.held[ids], y) for ids, y in zip(run.cotangents, outputs, strict=True)]
    values, gradients = way.again(asked, tensors, adjoints)
    return replace(
        run,
        returned={**run.returned, way.route: gradients},
        values={**run.values, way.route: values} if run.values else {},
        notes=(
            *run.notes,
            f"{way.route}: held against the program of {run.route}, since its own is not recorded: {why}",
        ),
    )


def _ids(recorder: Recorder, gradient: Tensor | None, of: Tensor) -> Ids:
    return np.full(shape_of(of), ZERO, np.int64) if gradient is None else recorder.memory.ids(gradient)


# Runs -----------------------------------------------------------------------------------------------------------------


def _varied(
    asked: Asked,
    state: TorchState,
    after: TorchState,
    adjoints: Sequence[Tensor],
    custom: bool,
    batched: bool,
    foreign: list[str],
    alone: Sequence[str],
    returned: Sequence[Numbers],
) -> dict[str, list[Numbers]]:
    """The gradients by other ways through the backward pass; one that raises is told as `foreign`."""

    def forward(constant: Collection[int]) -> tuple[list[Tensor], list[Tensor]]:
        state.restore()
        fresh = asked.tensors()
        for i in constant:
            fresh[i].requires_grad_(False)
        return asked.call(fresh), fresh

    found = {}
    for way, gradients in variations(forward, adjoints, custom, batched, alone, returned):
        try:
            with in_place():
                found[way] = gradients()
        except (Exception, SystemExit) as error:  # whatever a backward program raises
            foreign.append(f"{way}: raised {type(error).__name__}: {said(error)}")
        finally:
            after.restore()
    return found


def _same(x: Tensor, y: Tensor) -> bool:
    return bool(np.array_equal(numbers(x), numbers(y), equal_nan=True))


def _identical(a: Sequence[Numbers], b: Sequence[Numbers]) -> bool:
    return all(np.array_equal(x, y, equal_nan=True) for x, y in zip(a, b, strict=True))


def _replays(
    asked: Asked,
    way: Way,
    recorder: Recorder,
    steps: int,
    state: TorchState,
    after: TorchState,
    adjoints: Sequence[Tensor],
    seed: int,
    custom: bool,
) -> Iterator[Replay]:
    """The run once more: at displaced arguments with other cotangents; and with the same ones times a power of two.

    Where there are `custom` rules also with cotangents of stride 0, and with that of each of several outputs undefined,
    if that gives other bits than the same numbers in plain tensors. Into the recorder's `foreign` goes that a run
    raised, or that the function changes its arguments. The forward record has `steps`.
    """
    record, foreign = recorder.record, recorder.foreign
    changed: list[str] = []

    def again(tensors: Sequence[Tensor], cotangents: Sequence[Tensor | None], how: str = "") -> Iterator[Replay]:
        state.restore()
        try:
            with Observed(record) as observed:
                outputs, gradients = way.again(asked, tensors, cotangents, changed)
        except (Exception, SystemExit) as error:  # whatever the user's function raises, which it did not before
            what = f"{how}, the backward program" if how else "on other numbers, it"
            foreign.append(f"run again {what} raised {type(error).__name__}: {said(error)}")
            return
        finally:
            after.restore()
        held = [np.zeros(y.shape) if c is None else numbers(c) for c, y in zip(cotangents, outputs, strict=True)]
        forward = observed.solved[: sum(s.implicit for s in record.steps[:steps])]
        yield Replay([numbers(x) for x in tensors], held, outputs, gradients, (forward, observed.solved), how)

    drawn = np.random.default_rng([seed, 1])
    displaced = asked.tensors([displaced_numbers(x, drawn) for x in asked.tensors()])
    yield from again(displaced, [tensor_of(significands(shape_of(c), drawn), c) for c in adjoints])
    yield from again(asked.tensors(), [c * 4 for c in adjoints])
    for how, cotangents in _odd(adjoints) if custom else ():
        plain = [
            torch.zeros_like(a) if c is None else c.contiguous() for c, a in zip(cotangents, adjoints, strict=True)
        ]
        for found in again(asked.tensors(), cotangents, how):
            if not all(_identical(found.gradients, p.gradients) for p in again(asked.tensors(), plain)):
                yield found
    foreign += [f"it changes its argument {name}" for name in dict.fromkeys(changed)]


def _odd(adjoints: Sequence[Tensor]) -> Iterator[tuple[str, Sequence[Tensor | None]]]:
    """Cotangents as sums and unused outputs make them."""
    if any(c.numel() > 1 for c in adjoints):
        flat = [c[(slice(0, 1),) * c.ndim].expand_as(c) if c.numel() else c for c in adjoints]
        yield "with cotangents of stride 0", flat
    for n in range(len(adjoints) if len(adjoints) > 1 else 0):
        yield f"with the gradient of output {n} undefined", [None if i == n else c for i, c in enumerate(adjoints)]


CALLERS |= {record.__code__, _recorded.__code__}

__all__ = ["NotRecorded", "record"]
