"""What a dispatch mode does not see: numbers that leave the framework or come into it, and custom rules."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import wraps
from itertools import chain
from types import FunctionType, TracebackType
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch._functorch.pyfunctorch import temporarily_clear_interpreter_stack
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import _disable_current_modes
from torch.utils._pytree import tree_leaves

from gradconform.adapters.recording.torch_lines import defined_at, here
from gradconform.adapters.recording.torch_memory import rounded
from gradconform.adapters.recording.torch_mode import Recorder
from gradconform.reference.programs.run import Rule, Run

#: Ways out of the framework, by what is called.
_LEAVING: dict[Any, str] = {
    Tensor.numpy: ".numpy()",
    Tensor.__array__: "np.asarray",
    Tensor.tolist: ".tolist()",
    Tensor.__dlpack__: "DLPack",
    Tensor.data_ptr: ".data_ptr()",
    Tensor.set_: ".set_()",
}
_DETACH = Tensor.detach
#: What ends differentiation.
_STOPPING: dict[Any, str] = {_DETACH: "detach", Tensor.data.__get__: ".data"}  # type: ignore[attr-defined]
#: Ways into it, by their names in `torch`.
_COMING = ("from_numpy", "frombuffer", "from_dlpack", "from_file")


class _Leaving(TorchFunctionMode):
    def __init__(self, recorder: Recorder) -> None:
        super().__init__()
        self.recorder = recorder

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if not (self.recorder.depth or self.recorder.backward):
            given = (x if isinstance(x, list | tuple) else (x,) for x in (*args, *(kwargs or {}).values()))
            for x in chain.from_iterable(given):
                if isinstance(x, Tensor) and x.requires_grad and _is_leaf(x) and here():
                    self.recorder.note_held(x)
        if args and rounded(args[0]) and not self.recorder.depth and here():
            if func in _LEAVING:
                with _unwrapped(args[0]) as x:
                    self.recorder.leaves_record(_LEAVING[func], self.recorder.memory.ids(x))
            if func is Tensor.register_hook:
                self.recorder.notes.append(f"register_hook at {here()}: what it returns takes the gradient's place")
            if func in _STOPPING and not (self.recorder.backward or self.recorder.in_rule):
                with _unwrapped(args[0]) as x:
                    self.recorder.note_stop(_STOPPING[func], self.recorder.memory.ids(x))
                if func is _DETACH and self.recorder.stops_intended:
                    return self._stopped(func(*args, **(kwargs or {})))
        if isinstance(func, FunctionType):  # PyTorch's own in Python, in which this mode sees nothing
            with mock.patch.object(Tensor, "detach", self._detached()):
                return func(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))

    def _detached(self) -> Callable[[Tensor], Any]:
        """`Tensor.detach`, which this mode sees where somebody else than the recorder calls it."""

        def detach(x: Tensor) -> Any:
            if str(sys._getframe(1).f_globals.get("__name__")).startswith(__name__.partition(".")[0]):
                return _DETACH(x)
            return self.__torch_function__(_DETACH, (), (x,))

        return detach

    def _stopped(self, x: Tensor) -> Tensor:
        """A copy, whose numbers the derivative does not go through: the ids of an alias are those of its storage."""
        copied = x.clone()
        with _unwrapped(copied) as plain:
            self.recorder.stop(plain)
        return copied


def _is_leaf(x: Tensor) -> bool:
    """Whether a tensor is no result of another. A view of one that requires a gradient is none, and is not asked:
    autograd runs operations on views that were changed in place under a lock, and asking waits for ever there.
    """
    return not (x._is_view() and x._base is not None and x._base.requires_grad) and x.is_leaf


@contextmanager
def _unwrapped(x: Tensor) -> Iterator[Tensor]:
    """The tensor inside of those that the transforms of `torch.func` wrap it in, which alone has memory; outside of
    these transforms, which would wrap whatever is computed of it."""
    with temporarily_clear_interpreter_stack():
        while torch._C._functorch.is_functorch_wrapped_tensor(x):
            x = torch._C._functorch.get_unwrapped(x)
        yield x


class Watch:
    """While it is entered, ways in and out are noted, and every custom rule that is called becomes a `Rule`."""

    def __init__(self, recorder: Recorder, rules: list[Rule], record: Callable[..., Run]) -> None:
        self.recorder, self.rules, self.record = recorder, rules, record
        self._stack = ExitStack()
        #: The rules whose `apply` runs, the innermost last.
        self._running: list[Any] = []

    def __enter__(self) -> Watch:
        self._stack.enter_context(_Leaving(self.recorder))
        for name in _COMING:
            self._stack.enter_context(mock.patch.object(torch, name, self._coming(name, getattr(torch, name))))
        original = torch._C._FunctionBase.__dict__["apply"]

        def apply(cls: Any, *args: Any, **kwargs: Any) -> Any:
            self._rule(cls, args)
            with self.recorder.within_rule(), self._applied(cls):
                found = original.__get__(None, cls)(*args, **kwargs)
            self._marked(cls, args, found)
            return found

        # Up to PyTorch 2.13 `Function.apply` calls this by its name, also where somebody kept `apply` itself.
        entry = torch.autograd.function._SingleLevelFunction
        if vars(torch.autograd.Function).get("apply") is original:
            # From 2.14 on it is C alone, and whoever kept it goes there past any name: to the rule's own `forward`.
            entry = torch.autograd.Function
            for function in _written_by_users(entry):
                self._stack.enter_context(mock.patch.object(function, "forward", self._forward(function)))
        self._stack.enter_context(mock.patch.object(entry, "apply", classmethod(apply)))
        return self

    @contextmanager
    def _applied(self, function: Any) -> Iterator[None]:
        """While a rule's `apply` runs that is known by its name."""
        self._running.append(function)
        try:
            yield
        finally:
            self._running.pop()

    def _forward(self, function: Any) -> staticmethod[..., Any]:
        """A rule's `forward`, which notes the rule where its `apply` was not seen."""
        original = function.forward

        @wraps(original)
        def forward(*args: Any, **kwargs: Any) -> Any:
            if self._running and issubclass(self._running[-1], function):  # which may have this from a base class
                return original(*args, **kwargs)
            by_setup = function.setup_context is not torch.autograd.Function.setup_context
            self._rule(function, args if by_setup else args[1:])
            with self.recorder.within_rule(), self._applied(function):
                return original(*args, **kwargs)

        return staticmethod(forward)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stack.__exit__(kind, error, at)

    def _marked(self, function: Any, args: Sequence[Any], found: Any) -> None:
        """Of what a rule returned the numbers that it says have no derivative: they are stopped there."""
        tensors = [x for x in (*args, *tree_leaves(found)) if isinstance(x, Tensor)]
        if self.recorder.backward or not (torch.is_grad_enabled() and any(x.requires_grad for x in tensors)):
            return
        given = set()
        for x in args:
            if isinstance(x, Tensor):
                with _unwrapped(x) as plain:
                    given.add(plain.untyped_storage().data_ptr())
        for y in tree_leaves(found):
            if rounded(y) and not y.requires_grad:
                with _unwrapped(y) as plain, _unobserved():
                    name = f"mark_non_differentiable of {function.__name__.removesuffix('Generated')}"
                    self.recorder.note_stop(name, self.recorder.memory.ids(plain))
                    if plain.untyped_storage().data_ptr() not in given:  # else the argument itself would be stopped
                        self.recorder.stop(plain)

    def _coming(self, name: str, original: Callable[..., Any]) -> Callable[..., Any]:
        def coming(*args: Any, **kwargs: Any) -> Any:
            found = original(*args, **kwargs)
            if here() and rounded(found) and not self.recorder.depth:
                self.recorder.leaves_record(f"torch.{name}")
            return found

        return coming

    def _rule(self, function: Any, args: Sequence[Any]) -> None:
        tensors = [x for x in args if isinstance(x, Tensor)]
        if function.__module__ == "torch.utils.checkpoint":
            return  # it runs a part of the program once more, and the rules of that part are noted then
        running = self.recorder.backward and not torch.is_grad_enabled()
        if running or not any(rounded(x) and x.requires_grad for x in tensors):
            return
        if any(torch._C._functorch.is_functorch_wrapped_tensor(x) for x in tensors):
            return  # inside of a transform: a rule on batches or duals cannot be run alone on them
        if any(rule.name == function.__name__ and rule.line == here() for rule in self.rules):
            return
        with _unobserved():
            held = [x.detach().clone() if isinstance(x, Tensor) else x for x in args]
        moving = [n for n, x in enumerate(args) if rounded(x) and x.requires_grad]

        def alone() -> Run:
            def rule(*tensors: Tensor) -> Any:
                full = list(held)
                for n, x in zip(moving, tensors, strict=True):
                    full[n] = x
                found = function.apply(*full)
                return [y for y in tree_leaves(found) if isinstance(y, Tensor) and y.requires_grad] or found

            rule.__name__ = function.__name__
            names = [f"argument {n}" for n in moving]
            return self.record(rule, [held[n] for n in moving], names=names)

        self.rules.append(Rule(function.__name__, here() or defined_at(function.backward), alone))


def _written_by_users(of: Any) -> Iterator[Any]:
    """The custom rules that there are, but PyTorch's, a base class before what has its `forward` from there."""
    for function in of.__subclasses__():
        own = function.forward is not torch.autograd.Function.forward
        if own and function.__module__.partition(".")[0] != "torch":
            yield function
        yield from _written_by_users(function)


@contextmanager
def _unobserved() -> Iterator[None]:
    with _disable_current_modes(), torch._C.DisableTorchFunction(), torch.no_grad():
        yield
