"""PyTorch programs: one run of a function and of its backward pass, recorded as it runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from gradconform.adapters.recording.random_state import DRAWS
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
    run_forward,
    significands,
)
from gradconform.adapters.recording.torch_call import Program
from gradconform.adapters.recording.torch_foreign import Watch
from gradconform.adapters.recording.torch_lines import CALLERS
from gradconform.adapters.recording.torch_memory import format_of, numbers, shape_of, tensor_of
from gradconform.adapters.recording.torch_mode import Observed, Recorder
from gradconform.adapters.recording.torch_rules import RULES
from gradconform.adapters.recording.torch_variations import gradients_of, variations
from gradconform.reference.cases import said
from gradconform.reference.programs.record import ZERO, Ids, Numbers
from gradconform.reference.programs.run import NotRecorded, Replay, Rule, Run, called, numbered
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
    "namespace::name". Routes are "eager", "compile" and "func" (vmap over torch.func.vjp). With
    stop_gradient="intended" what the program detaches, or computes under `no_grad`, is a constant of its derivative.
    With `replays` the run is repeated elsewhere; where it has custom rules its backward pass also in other ways that
    must give the same; with `batched` under vmap. With `values` the outputs by every route are handed over, too.

    Raises NotRecorded where the program does what has no definition, and BadInput for arguments without a
    floating-point tensor, and for an f that raises or returns none.
    """
    asked = asked_of(f, args, wrt, names)
    state = TorchState()
    recorder = Recorder(RULES, definitions, stop_gradient == "intended")
    rules: list[Rule] = []
    tensors = asked.tensors()
    given = tuple(argument_ids(recorder, x) for x in tensors)
    with Watch(recorder, rules, record):
        outputs = run_forward(recorder, asked, tensors)
        out_ids = tuple(recorder.memory.ids(y) for y in outputs)  # steps of their own, where they are conjugated
        steps = len(recorder.record.steps)
        adjoints = directions(outputs, cotangents, seed)
        seeds = tuple(argument_ids(recorder, c) for c in adjoints)
        recorder.backward = True
        gradients = _backward(recorder, outputs, tensors, adjoints)
    results = tuple(_ids(recorder, g, x) for g, x in zip(gradients, tensors, strict=True))
    returned = {"eager": [_number(g, x) for g, x in zip(gradients, tensors, strict=True)]}
    found = {"eager": [numbers(y.detach()) for y in outputs]}
    after = TorchState()
    if state.moved():
        recorder.notes.append(DRAWS)
    for route in routes:
        if route != "eager":
            state.restore()
            if route == "func":
                found[route], returned[route] = _by_func(asked, tensors, adjoints)
            else:
                found[route], returned[route] = _again(asked, compiled_by(f, route), tensors, adjoints)
    varied: dict[str, list[Numbers]] = {}
    if replays:
        varied = _varied(asked, state, after, adjoints, bool(rules), batched, recorder.foreign)
    return Run(
        name=called(f),
        forward=recorder.record.until(steps),
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
        replays=list(_replays(asked, recorder, steps, state, after, adjoints, seed, bool(rules))) if replays else (),
        notes=(*recorder.notes, *([CONVENTION] if any(x.is_complex() for x in tensors) else [])),
        foreign=tuple(recorder.foreign),
        varied={name: way for name, way in varied.items() if not _identical(way, returned["eager"])},
        values=found if values else {},
        named=numbered(out_ids, [format_of(y) for y in outputs], [y.is_complex() for y in outputs]) if values else (),
    )


def module_function(module: nn.Module) -> tuple[Function, dict[str, Tensor]]:
    """A module as a function of its parameters, by name, and of its inputs: `f(parameters, *inputs)`, and these.

    Its buffers are copied for every call, so that running it leaves the module as it was.
    """
    parameters = {name: p.detach().requires_grad_(p.requires_grad) for name, p in module.named_parameters()}

    def call(parameters: Mapping[str, Tensor], *inputs: Any) -> Any:
        buffers = {name: b.detach().clone() for name, b in module.named_buffers()}
        return torch.func.functional_call(module, {**parameters, **buffers}, inputs)

    call.__name__ = type(module).__name__
    return call, parameters


def _ids(recorder: Recorder, gradient: Tensor | None, of: Tensor) -> Ids:
    return np.full(shape_of(of), ZERO, np.int64) if gradient is None else recorder.memory.ids(gradient)


def _number(gradient: Tensor | None, of: Tensor) -> Numbers:
    return np.zeros(shape_of(of)) if gradient is None else numbers(gradient)


# Runs -----------------------------------------------------------------------------------------------------------------


def _backward(
    recorder: Recorder, outputs: Sequence[Tensor], tensors: Sequence[Tensor], adjoints: Sequence[Tensor]
) -> list[Tensor | None]:
    with of_the_user("its backward pass"), recorder:
        return gradients_of(outputs, tensors, adjoints)


def _again(
    asked: Asked,
    f: Function,
    tensors: Sequence[Tensor],
    adjoints: Sequence[Tensor | None],
    changed: list[str] | None = None,
) -> tuple[list[Numbers], list[Numbers]]:
    """The outputs and the gradients once more, unobserved."""
    fresh = [x.detach().clone().requires_grad_() for x in tensors]
    outputs = replace(asked, f=f).call(fresh, changed)
    gradients = gradients_of(outputs, fresh, adjoints)
    return [numbers(y) for y in outputs], [_number(g, x) for g, x in zip(gradients, fresh, strict=True)]


def _by_func(
    asked: Asked, tensors: Sequence[Tensor], adjoints: Sequence[Tensor]
) -> tuple[list[Numbers], list[Numbers]]:
    """The outputs and the gradients by torch.func: the first of two equal rows of vmap over vjp."""
    with of_the_user("under torch.func, f"):
        outputs, pull, *_ = torch.func.vjp(lambda *xs: tuple(asked.call(xs)), *(x.detach() for x in tensors))
        rows = torch.func.vmap(pull)(tuple(torch.stack([a, a]) for a in adjoints))
    return [numbers(y.detach()) for y in outputs], [numbers(g[0].detach()) for g in rows]


def _varied(
    asked: Asked,
    state: TorchState,
    after: TorchState,
    adjoints: Sequence[Tensor],
    custom: bool,
    batched: bool,
    foreign: list[str],
) -> dict[str, list[Numbers]]:
    """The gradients by other ways through the backward pass; one that raises is told as `foreign`."""

    def forward() -> tuple[list[Tensor], list[Tensor]]:
        state.restore()
        fresh = asked.tensors()
        return asked.call(fresh), fresh

    found = {}
    for way, gradients in variations(forward, adjoints, custom, batched):
        try:
            found[way] = gradients()
        except (Exception, SystemExit) as error:  # whatever a backward program raises
            foreign.append(f"{way}: raised {type(error).__name__}: {said(error)}")
        finally:
            after.restore()
    return found


def _identical(a: Sequence[Numbers], b: Sequence[Numbers]) -> bool:
    return all(np.array_equal(x, y, equal_nan=True) for x, y in zip(a, b, strict=True))


def _replays(
    asked: Asked,
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
                outputs, gradients = _again(asked, asked.f, tensors, cotangents, changed)
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


CALLERS |= {record.__code__, _backward.__code__, _again.__code__}

__all__ = ["NotRecorded", "module_function", "record"]
