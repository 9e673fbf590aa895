"""What a dispatch mode does not see: numbers that leave the framework or come into it, and custom rules."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import chain
from types import TracebackType
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import _disable_current_modes

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
#: What ends differentiation.
_STOPPING: dict[Any, str] = {Tensor.detach: "detach", Tensor.data.__get__: ".data"}  # type: ignore[attr-defined]
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
                if isinstance(x, Tensor) and x.requires_grad and x.is_leaf and here():
                    self.recorder.note_held(x)
        if args and rounded(args[0]) and not self.recorder.depth and here():
            if func in _LEAVING:
                self.recorder.leaves_record(_LEAVING[func], self.recorder.memory.ids(args[0]))
            if func in _STOPPING and not (self.recorder.backward or self.recorder.in_rule):
                self.recorder.note_stop(_STOPPING[func], self.recorder.memory.ids(args[0]))
                if func is Tensor.detach and self.recorder.stops_intended:
                    return self._stopped(func(*args, **(kwargs or {})))
        return func(*args, **(kwargs or {}))

    def _stopped(self, x: Tensor) -> Tensor:
        """A copy, whose numbers the derivative does not go through: the ids of an alias are those of its storage."""
        copied = x.clone()
        self.recorder.stop(copied)
        return copied


class Watch:
    """While it is entered, ways in and out are noted, and every custom rule that is called becomes a `Rule`."""

    def __init__(self, recorder: Recorder, rules: list[Rule], record: Callable[..., Run]) -> None:
        self.recorder, self.rules, self.record = recorder, rules, record
        self._stack = ExitStack()

    def __enter__(self) -> Watch:
        self._stack.enter_context(_Leaving(self.recorder))
        for name in _COMING:
            self._stack.enter_context(mock.patch.object(torch, name, self._coming(name, getattr(torch, name))))
        # `Function.apply` calls this by its name, also where somebody kept `apply` itself.
        single = torch.autograd.function._SingleLevelFunction
        original = torch._C._FunctionBase.__dict__["apply"]

        def apply(cls: Any, *args: Any, **kwargs: Any) -> Any:
            self._rule(cls, args)
            with self.recorder.within_rule():
                return original.__get__(None, cls)(*args, **kwargs)

        self._stack.enter_context(mock.patch.object(single, "apply", classmethod(apply)))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stack.__exit__(kind, error, at)

    def _coming(self, name: str, original: Callable[..., Any]) -> Callable[..., Any]:
        def coming(*args: Any, **kwargs: Any) -> Any:
            found = original(*args, **kwargs)
            if here() and rounded(found):
                self.recorder.leaves_record(f"torch.{name}")
            return found

        return coming

    def _rule(self, function: Any, args: Sequence[Any]) -> None:
        tensors = [x for x in args if isinstance(x, Tensor)]
        if self.recorder.backward or not any(rounded(x) and x.requires_grad for x in tensors):
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
                return function.apply(*full)

            rule.__name__ = function.__name__
            names = [f"argument {n}" for n in moving]
            return self.record(rule, [held[n] for n in moving], names=names)

        self.rules.append(Rule(function.__name__, here() or defined_at(function.backward), alone))


@contextmanager
def _unobserved() -> Iterator[None]:
    with _disable_current_modes(), torch._C.DisableTorchFunction(), torch.no_grad():
        yield
