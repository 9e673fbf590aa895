"""The backward pass once more, in ways that must give the same numbers.

A second time through a graph that was kept; for cotangents that lie in memory otherwise; of some arguments alone; for a
batch of cotangents.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from gradconform.adapters.recording.torch_memory import numbers
from gradconform.reference.programs.record import Numbers
from gradconform.reference.programs.run import BATCHED

#: Runs the function: its outputs and the arguments that gradients are asked for; some are given that require none.
Forward = Callable[[Collection[int]], tuple[Sequence[Tensor], Sequence[Tensor]]]
#: As many arguments are named of which alone gradients are asked for.
_NAMED = 3


def variations(
    forward: Forward,
    cotangents: Sequence[Tensor],
    custom: bool,
    batched: bool,
    names: Sequence[str],
    returned: Sequence[Numbers],
) -> Iterator[tuple[str, Callable[[], list[Numbers]]]]:
    """Each of these ways by its name, and what gives the gradients by it.

    Other layouts, a second pass and a part of the gradients are for `custom` rules: PyTorch's own kernels may round
    otherwise then. `names` are those of the arguments whose gradients may be asked for alone, or none, and `returned`
    the gradients, for those that are not asked for.
    """
    if custom:
        yield "second backward", lambda: _second(forward, cotangents)
        yield "cotangent not contiguous", lambda: _passed(forward, [_scattered(c) for c in cotangents])
        for some in _parts(len(names)):
            more = f" and {len(some) - _NAMED} more" if len(some) > _NAMED else ""
            said = ", ".join(names[i] for i in some[:_NAMED]) + more
            yield f"only {said} asked for", partial(_some, forward, cotangents, some, returned)
    if batched:
        yield BATCHED, lambda: _batched(forward, cotangents)


def _parts(count: int) -> Iterator[list[int]]:
    """Parts of so many arguments, by which each stands without each other one once: by the bits of their numbers."""
    for bit in range(max(count - 1, 0).bit_length()):
        for on in (1, 0):
            yield [i for i in range(count) if i >> bit & 1 == on]


def _some(
    forward: Forward, cotangents: Sequence[Tensor], some: Sequence[int], returned: Sequence[Numbers]
) -> list[Numbers]:
    outputs, tensors = forward([i for i in range(len(returned)) if i not in some])
    found = list(returned)
    if len(outputs) == len(cotangents):  # a gradient's own gradient is of another function then
        wanted = [tensors[i] for i in some]
        for i, g in zip(some, _held(gradients_of(outputs, wanted, cotangents), wanted), strict=True):
            found[i] = g
    return found


def _second(forward: Forward, cotangents: Sequence[Tensor]) -> list[Numbers]:
    outputs, tensors = forward(())
    gradients_of(outputs, tensors, cotangents, retain_graph=True)
    return _held(gradients_of(outputs, tensors, cotangents), tensors)


def _passed(forward: Forward, cotangents: Sequence[Tensor]) -> list[Numbers]:
    outputs, tensors = forward(())
    return _held(gradients_of(outputs, tensors, cotangents), tensors)


def _batched(forward: Forward, cotangents: Sequence[Tensor]) -> list[Numbers]:
    outputs, tensors = forward(())
    found = gradients_of(outputs, tensors, [torch.stack([c * 2, c]) for c in cotangents], is_grads_batched=True)
    return _held([None if g is None else g[1] for g in found], tensors)


def gradients_of(
    outputs: Sequence[Tensor], tensors: Sequence[Tensor], cotangents: Sequence[Tensor | None], **how: Any
) -> list[Tensor | None]:
    """The gradients; None where nothing depends on an argument. Of an output without a cotangent it is undefined."""
    live = [(y, c) for y, c in zip(outputs, cotangents, strict=True) if y.requires_grad and c is not None]
    if not live:
        return [None] * len(tensors)
    of, given = zip(*live, strict=True)
    if "is_grads_batched" not in how and reentrant(of):  # `torch.utils.checkpoint` refuses `grad` then
        for x in tensors:
            x.grad = None
        torch.autograd.backward(of, given, **how)
        return [x.grad for x in tensors]
    return list(torch.autograd.grad(of, list(tensors), given, allow_unused=True, **how))


def reentrant(outputs: Sequence[Tensor]) -> bool:
    """Whether a backward pass runs another one inside, of a checkpoint that is told use_reentrant=True."""
    left, seen = [y.grad_fn for y in outputs], set()
    while left:
        node = left.pop()
        if node is not None and node not in seen:
            if node.name() == "CheckpointFunctionBackward":
                return True
            seen.add(node)
            left += [n for n, _ in node.next_functions]
    return False


def _held(gradients: Sequence[Tensor | None], tensors: Sequence[Tensor]) -> list[Numbers]:
    return [numbers(torch.zeros_like(x) if g is None else g) for g, x in zip(gradients, tensors, strict=True)]


def _scattered(x: Tensor) -> Tensor:
    """The same numbers, the last axis first in memory, each number apart from the next."""
    axes = tuple(reversed(range(x.ndim)))
    turned = x.permute(axes)
    return torch.stack([turned, torch.full_like(turned, torch.nan)], -1)[..., 0].permute(axes)
