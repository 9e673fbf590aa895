"""What a PyTorch program is asked: by which arguments and along which directions; and its forward part.

Both modes record by these: `record_torch` the backward pass, `record_torch_forward` the tangents.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from gradconform.adapters.recording.factorizations import is_symmetric
from gradconform.adapters.recording.random_state import RandomState
from gradconform.adapters.recording.torch_lines import CALLERS
from gradconform.adapters.recording.torch_memory import format_of, numbers, rounded, shape_of, tensor_of, unreadable
from gradconform.adapters.recording.torch_mode import Recorder
from gradconform.reference.cases import BadInput, said
from gradconform.reference.programs.record import Ids, Numbers
from gradconform.reference.programs.run import NotRecorded, instead_of_arrays

Function = Callable[..., Any]

#: Whether the derivative goes through what the program detaches.
StopGradient = Literal["through", "intended"]


@dataclass(frozen=True)
class Asked:
    """What is differentiated: a function of the leaves of its arguments, and which of them a gradient is asked for."""

    f: Function
    leaves: tuple[Any, ...]
    spec: Any
    wanted: tuple[int, ...]
    names: tuple[str, ...]
    #: What every leaf is called, also those that no gradient is asked for.
    titles: tuple[str, ...] = ()

    def tensors(self, given: Sequence[Numbers] | None = None) -> list[Tensor]:
        """Fresh arguments that a gradient is asked for, as they are or with other numbers."""
        found = [self.leaves[i].detach().clone() for i in self.wanted]
        for x, value in zip(found, given or (), strict=False):
            x.copy_(tensor_of(value, x))
        return [x.requires_grad_() for x in found]

    def call(self, tensors: Sequence[Tensor], changed: list[str] | None = None) -> list[Tensor]:
        """The function's results that are numbers; into `changed` goes what it calls the arguments that it changes."""
        return [y for y in pytree.tree_leaves(self.returned(tensors, changed)) if rounded(y)]

    def returned(self, tensors: Sequence[Tensor], changed: list[str] | None = None) -> Any:
        """What the function returns."""
        leaves = [_copied(x) for x in self.leaves]
        for i, x in zip(self.wanted, tensors, strict=True):
            leaves[i] = x
        before = [] if changed is None else [_copied(x) for x in leaves]
        with torch.enable_grad():
            given = pytree.tree_unflatten(leaves, self.spec)
            found = self.f(*given)
        if changed is not None:
            pairs = zip(self.titles, before, leaves, strict=True)
            changed += [name for name, x, now in pairs if not _same(x, now)]
            if pytree.tree_structure(given) != self.spec:
                changed.append("list or mapping")
        return found


def _copied(x: Any) -> Any:
    return x.detach().clone() if isinstance(x, Tensor) else x.copy() if isinstance(x, np.ndarray) else x


def _same(x: Any, y: Any) -> bool:
    """Whether an argument holds what it held; of what is no array that is not asked."""
    if isinstance(x, Tensor):
        x, y = x.detach(), y.detach()
        return x.shape == y.shape and bool(((x == y) | ((x != x) & (y != y))).all())
    return not isinstance(x, np.ndarray) or np.array_equal(x, y, equal_nan=x.dtype.kind in "fc")


def asked_of(f: Function, args: Sequence[Any], wrt: Sequence[int | str] | None, names: Sequence[str] | None) -> Asked:
    if isinstance(args, Tensor) or not isinstance(args, Sequence):
        raise BadInput(f"args: got {type(args).__name__}; expected the list of f's arguments: args=[x]")
    paths, spec = pytree.tree_flatten_with_path(tuple(args))
    leaves = tuple(leaf for _, leaf in paths)
    numbered = [i for i, x in enumerate(leaves) if rounded(x)]
    called = list(names) if names is not None else [_path(f, paths[i][0]) for i in numbered]
    if len(called) != len(numbered):
        raise BadInput(f"names: got {len(called)}; expected {len(numbered)}, one for each floating-point tensor")
    requiring = [n for n, i in enumerate(numbered) if leaves[i].requires_grad]
    chosen = [_which(w, called) for w in wrt] if wrt is not None else requiring or list(range(len(numbered)))
    if not chosen:
        kinds = ", ".join(sorted({str(getattr(x, "dtype", type(x).__name__)) for x in leaves}))
        raise BadInput(
            f"arguments: no floating-point tensor among them, got {kinds}; expected at least one to differentiate by: "
            "x.float()"
        )
    titles = tuple(_path(f, path) for path, _ in paths)
    for title, x in zip(titles, leaves, strict=True):
        if isinstance(x, Tensor) and (why := unreadable(x)):
            raise BadInput(f"{title} {why}")
    return Asked(f, leaves, spec, tuple(numbered[i] for i in chosen), tuple(called[i] for i in chosen), titles)


def _which(wanted: int | str, names: Sequence[str]) -> int:
    if isinstance(wanted, str):
        if wanted not in names:
            raise BadInput(f"wrt: no argument is called {wanted!r}; there are {', '.join(names)}")
        return names.index(wanted)
    if not -len(names) <= wanted < len(names):
        raise BadInput(f"wrt: got {wanted}; expected a number below {len(names)}")
    return wanted % len(names)


def _path(f: Function, path: Sequence[Any]) -> str:
    """The argument's name in f's signature, and the way to the tensor inside it."""
    number = path[0].idx
    try:
        parameters = list(inspect.signature(f).parameters.values())
    except (TypeError, ValueError):
        parameters = []
    positional = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    name = positional[number] if number < len(positional) else f"argument {number}"
    inner = [str(getattr(key, "key", getattr(key, "idx", getattr(key, "name", key)))) for key in path[1:]]
    return ".".join([name, *inner])


def argument_ids(recorder: Recorder, x: Tensor) -> Ids:
    """New ids for a tensor that the run is given."""
    format_of(x)
    ids = recorder.record.new(shape_of(x), numbers(x))
    recorder.memory.put(x.detach(), ids)
    recorder.dependence.begin(ids)
    return ids


def run_forward(recorder: Recorder, asked: Asked, tensors: Sequence[Tensor]) -> list[Tensor]:
    with of_the_user("f"), recorder:
        found = asked.returned(tensors)
    return checked_outputs(found)


def checked_outputs(found: Any) -> list[Tensor]:
    """The outputs among what a function returned. Raises BadInput where there are none."""
    outputs = [y for y in pytree.tree_leaves(found) if rounded(y)]
    for y in outputs:
        format_of(y)
    if not outputs:
        raise BadInput(
            "f returned no floating-point tensor; expected one or more to differentiate, got "
            + instead_of_arrays(found)
        )
    return outputs


@contextmanager
def of_the_user(what: str) -> Iterator[None]:
    """What the user's program raises, in words."""
    try:
        yield
    except (NotRecorded, BadInput):
        raise
    except (Exception, SystemExit) as error:
        if isinstance(error, NotImplementedError) and (of := _OF_FUNCTIONS.search(str(error))):
            what = f"the operator {of[1]} of functions is not recorded in eager mode"
            raise NotRecorded(f"{what}; write Python's own if, for or while in its place") from error
        raise BadInput(f"{what} raised {type(error).__name__}: {said(error)}") from error


#: What PyTorch says of `torch.cond` and its like where somebody observes the operations.
_OF_FUNCTIONS = re.compile(r"no rule registered for HigherOrderOperator (\w+)")


def compiled_by(f: Function, route: str, draws: bool) -> Function:
    """The function as a compiled route runs it; where it `draws` random numbers these are those of the eager run."""
    if route != "compile":
        raise BadInput(f"routes: got {route!r}; expected 'eager', 'compile' or 'func'")
    return torch.compile(f, options={"fallback_random": True}) if draws else torch.compile(f)


def displaced_numbers(x: Tensor, drawn: np.random.Generator) -> Numbers:
    """A little way off: equal numbers by as much, so that what is equal or symmetric but for rounding stays so."""
    of = numbers(x)
    if is_symmetric(of, format_of(x)):
        of = np.tril(of) + np.swapaxes(np.tril(of, -1), -1, -2)
    values, inverse = np.unique(np.abs(of), return_inverse=True)
    step = max(2.0**-10, 2.0 ** (3 - format_of(x).precision))
    factors = 1 + step * drawn.choice([-1.0, 1.0], values.shape) * drawn.uniform(0.5, 1.0, values.shape)
    return np.asarray(numbers(x) * factors[inverse.reshape(shape_of(x))])


def directions(
    outputs: Sequence[Tensor], cotangents: Any, seed: int, what: str = "cotangents", of: str = "output"
) -> list[Tensor]:
    """Cotangents of the outputs, or tangents of the arguments: those given, or random ones."""
    drawn = np.random.default_rng(seed)
    if cotangents is None:
        return [tensor_of(significands(shape_of(y), drawn), y) for y in outputs]
    given = pytree.tree_leaves(cotangents)
    if len(given) != len(outputs):
        raise BadInput(f"{what}: got {len(given)}; expected {len(outputs)}, one for each {of}")
    try:
        found = [_cotangent(torch.as_tensor(c), y) for c, y in zip(given, outputs, strict=True)]
    except (TypeError, ValueError, RuntimeError) as error:
        raise BadInput(f"{what}: {said(error)}; expected a tensor of each {of}'s shape") from error
    for c, y in zip(found, outputs, strict=True):
        if c.shape != y.shape:
            raise BadInput(f"{what}: got the shape {tuple(c.shape)}; expected the {of}'s, {tuple(y.shape)}")
    return found


def _cotangent(given: Tensor, of: Tensor) -> Tensor:
    """A cotangent that was given; of a complex output it may be both parts along a last axis."""
    if of.is_complex() and not given.is_complex() and tuple(given.shape) == shape_of(of):
        return tensor_of(given.double().numpy(), of)
    return given.to(of.detach()).clone()


def significands(shape: tuple[int, ...], drawn: np.random.Generator) -> Numbers:
    """Full random significands of either sign, all different."""
    return np.asarray(drawn.choice([-1.0, 1.0], shape) * np.exp2(drawn.uniform(-1.0, 2.0, shape)))


def _cuda_runs() -> bool:
    return bool(torch.cuda.is_initialized())  # type: ignore[no-untyped-call]


class TorchState(RandomState):
    """Where PyTorch's generators stand, too."""

    def __init__(self) -> None:
        super().__init__()
        self._torch = torch.get_rng_state()
        self._cuda = torch.cuda.get_rng_state_all() if _cuda_runs() else []

    def restore(self) -> None:
        super().restore()
        torch.set_rng_state(self._torch)
        if self._cuda:
            torch.cuda.set_rng_state_all(self._cuda)

    def moved(self) -> bool:
        now = torch.cuda.get_rng_state_all() if self._cuda else []
        return (
            super().moved()
            or not torch.equal(self._torch, torch.get_rng_state())
            or any(not torch.equal(a, b) for a, b in zip(self._cuda, now, strict=True))
        )


CALLERS |= {run_forward.__code__, Asked.call.__code__}
