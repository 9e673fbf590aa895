"""The ways that PyTorch takes a derivative whose programs are recorded: by autograd, and by `torch.func`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from gradconform.adapters.recording.torch_asked import Asked, checked_outputs, of_the_user
from gradconform.adapters.recording.torch_lines import CALLERS
from gradconform.adapters.recording.torch_memory import numbers, shape_of
from gradconform.adapters.recording.torch_modules import in_place
from gradconform.adapters.recording.torch_variations import gradients_of
from gradconform.reference.programs.record import Numbers
from gradconform.reference.programs.run import EAGER

#: From the outputs' adjoints to the gradients; None where nothing depends on an argument.
Pull = Callable[[Sequence[Tensor | None]], list[Tensor | None]]


@dataclass(frozen=True)
class Way:
    """A way to take a derivative: it runs a function on arguments, and gives its outputs and what pulls adjoints back.

    Into `changed`, where it is given, goes what the function calls the arguments that it changes.
    """

    route: str
    run: Callable[[Asked, Sequence[Tensor], list[str] | None], tuple[list[Tensor], Pull]]

    def again(
        self,
        asked: Asked,
        tensors: Sequence[Tensor],
        adjoints: Sequence[Tensor | None],
        changed: list[str] | None = None,
    ) -> tuple[list[Numbers], list[Numbers]]:
        """The outputs and the gradients once more, unobserved."""
        fresh = [x.detach().clone().requires_grad_() for x in tensors]
        with in_place():
            outputs, pull = self.run(asked, fresh, changed)
            gradients = pull(adjoints)
        return [numbers(y) for y in outputs], [number(g, x) for g, x in zip(gradients, fresh, strict=True)]


def number(gradient: Tensor | None, of: Tensor) -> Numbers:
    """What a gradient holds: zeros where nothing depends on the argument."""
    return np.zeros(shape_of(of)) if gradient is None else numbers(gradient)


def _by_autograd(
    asked: Asked, tensors: Sequence[Tensor], changed: list[str] | None = None
) -> tuple[list[Tensor], Pull]:
    outputs = checked_outputs(asked.returned(tensors, changed))
    return outputs, lambda adjoints: gradients_of(outputs, tensors, adjoints)


def _by_func(asked: Asked, tensors: Sequence[Tensor], changed: list[str] | None = None) -> tuple[list[Tensor], Pull]:
    """By torch.func: the second of two rows of vmap over vjp, of which the first has twice its adjoints."""

    def function(*xs: Tensor) -> tuple[Tensor, ...]:
        return tuple(asked.call(xs, changed))

    with of_the_user("under torch.func, f"):
        outputs, pull, *_ = torch.func.vjp(function, *(x.detach() for x in tensors))

    def rows(adjoints: Sequence[Tensor | None]) -> list[Tensor | None]:
        given = [torch.zeros_like(y) if a is None else a for a, y in zip(adjoints, outputs, strict=True)]
        return [g[1] for g in torch.func.vmap(pull)(tuple(torch.stack([a * 2, a]) for a in given))]

    return list(outputs), rows


BY_AUTOGRAD, BY_FUNC = Way(EAGER, _by_autograd), Way("func", _by_func)
#: By the routes that they are.
WAYS = {way.route: way for way in (BY_AUTOGRAD, BY_FUNC)}
CALLERS |= {Way.again.__code__, _by_autograd.__code__, _by_func.__code__}
