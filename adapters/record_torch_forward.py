"""PyTorch programs in forward mode: one run of a function, and one of it on dual numbers, both recorded."""

from __future__ import annotations

import traceback
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd import forward_ad

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
    run_forward,
    significands,
)
from gradconform.adapters.recording.torch_call import Program
from gradconform.adapters.recording.torch_foreign import Watch
from gradconform.adapters.recording.torch_lines import CALLERS, written
from gradconform.adapters.recording.torch_memory import format_of, numbers, shape_of, tensor_of
from gradconform.adapters.recording.torch_mode import Recorder
from gradconform.adapters.recording.torch_rules import RULES
from gradconform.reference.cases import BadInput, said
from gradconform.reference.programs.record import Numbers
from gradconform.reference.programs.run import DRAWS, NotRecorded, Replay, Rule, Run, Unsupported, called, numbered
from gradconform.reference.programs.run import Tensor as Argument

#: What PyTorch says of an operation, or a custom rule, that has no forward mode, where that is no NotImplementedError.
_LACKING = ("forward AD", "forward mode AD")


def record_forward(
    f: Function,
    args: Sequence[Any],
    *,
    wrt: Sequence[int | str] | None = None,
    names: Sequence[str] | None = None,
    tangents: Any = None,
    seed: int = 0,
    routes: Sequence[str] = ("eager",),
    definitions: Mapping[str, Program] | None = None,
    replays: bool = True,
    stop_gradient: StopGradient = "through",
) -> Run:
    """One run of f(*args) for the derivative, and one on dual numbers (`torch.autograd.forward_ad`) for the tangents.

    As `record_torch.record`; `tangents` are those of the arguments that `wrt` says, else drawn from `seed`. Raises
    Unsupported where an operation or a custom rule of f has no forward mode.
    """
    asked = asked_of(f, args, wrt, names)
    state = TorchState()
    forward = Recorder(RULES, definitions, stop_gradient == "intended", tangents=True)
    tensors = asked.tensors()
    arguments = [argument_ids(forward, x) for x in tensors]
    with Watch(forward, [], record_forward):
        outputs = run_forward(forward, asked, tensors)
    after = TorchState()
    draws = state.moved()
    if draws:
        forward.notes.append(DRAWS)
    given = directions(tensors, tangents, seed, "tangents", "argument")

    state.restore()
    recorder, rules = Recorder(RULES, definitions, tangents=True), list[Rule]()
    tensors = asked.tensors()
    there = tuple(argument_ids(recorder, x) for x in tensors)
    with Watch(recorder, rules, record_forward), forward_ad.dual_level():
        duals = [_made(x, t) for x, t in zip(tensors, given, strict=True)]
        moved = tuple(argument_ids(recorder, _tangent(x)) for x in duals)
        with recorder:
            results = [_tangent(y) for y in _dual(asked, duals)]
        ids = tuple(recorder.memory.ids(t) for t in results)
        returned = {"eager": [numbers(t) for t in results]}
    for route in routes:
        if route == "func":
            raise BadInput("routes: 'func' is of reverse mode, vmap over vjp; leave it out, or ask for mode='reverse'")
        if route != "eager":
            state.restore()
            compiled = replace(asked, f=compiled_by(f, route, draws))
            returned[route] = _again(compiled, asked.tensors(), given)[1]
    after.restore()
    out_ids = tuple(forward.memory.ids(y) for y in outputs)
    return Run(
        name=called(f),
        forward=forward.record,
        arguments=tuple(
            Argument(n, i, format_of(x), x.is_complex())
            for n, i, x in zip(asked.names, arguments, tensors, strict=True)
        ),
        outputs=out_ids,
        backward=recorder.record,
        given=there,
        cotangents=moved,
        results=ids,
        returned=returned,
        rules=tuple(rules),
        replays=list(_replays(asked, state, after, given, seed, recorder.foreign)) if replays else (),
        notes=tuple(forward.notes),
        foreign=tuple(dict.fromkeys([*forward.foreign, *recorder.foreign])),
        tangents=numbered(out_ids, [format_of(y) for y in outputs], [y.is_complex() for y in outputs]),
    )


def _dual(asked: Asked, duals: Sequence[Tensor], changed: list[str] | None = None) -> list[Tensor]:
    """The function's results on dual numbers."""
    try:
        return asked.call(duals, changed)
    except (NotRecorded, BadInput):
        raise
    except (Exception, SystemExit) as error:
        if isinstance(error, NotImplementedError) or any(text in str(error) for text in _LACKING):
            at = next((line for line in map(written, reversed(traceback.extract_tb(error.__traceback__))) if line), "")
            raise Unsupported(
                f"PyTorch has no forward mode here: {said(error)}" + (f" ({at})" if at else "")
            ) from error
        raise BadInput(f"f raised {type(error).__name__} in forward mode: {said(error)}") from error


def _made(x: Tensor, tangent: Tensor) -> Tensor:
    return forward_ad.make_dual(x, tangent)  # type: ignore[no-any-return, no-untyped-call]


def _tangent(x: Tensor) -> Tensor:
    """The tangent of a dual number; 0 where it does not depend on the arguments."""
    found = forward_ad.unpack_dual(x).tangent  # type: ignore[no-untyped-call]
    return torch._efficientzerotensor(x.shape, dtype=x.dtype) if found is None else found.detach()


def _again(
    asked: Asked, tensors: Sequence[Tensor], tangents: Sequence[Tensor], changed: list[str] | None = None
) -> tuple[list[Numbers], list[Numbers]]:
    """The outputs and their tangents once more, unobserved."""
    with forward_ad.dual_level():
        outputs = _dual(asked, [_made(x, t) for x, t in zip(tensors, tangents, strict=True)], changed)
        return [numbers(y) for y in outputs], [numbers(_tangent(y)) for y in outputs]


def _replays(
    asked: Asked,
    state: TorchState,
    after: TorchState,
    tangents: Sequence[Tensor],
    seed: int,
    foreign: list[str],
) -> Iterator[Replay]:
    """The run once more: elsewhere along another direction; and along the same one times a power of two.

    Into `foreign` goes that the function raised there, or changes its arguments.
    """
    changed: list[str] = []
    drawn = np.random.default_rng([seed, 1])
    displaced = asked.tensors([displaced_numbers(x, drawn) for x in asked.tensors()])
    other = [tensor_of(significands(shape_of(t), drawn), t) for t in tangents]
    for tensors, along in ((displaced, other), (asked.tensors(), [t * 4 for t in tangents])):
        state.restore()
        try:
            outputs, found = _again(asked, tensors, along, changed)
        except (BadInput, Unsupported) as error:
            foreign.append(f"run again on other numbers: {error}")
            continue
        finally:
            after.restore()
        yield Replay([numbers(x) for x in tensors], [numbers(t) for t in along], outputs, found)
    foreign += [f"it changes its argument {name}" for name in dict.fromkeys(changed)]


CALLERS |= {record_forward.__code__, _dual.__code__}
