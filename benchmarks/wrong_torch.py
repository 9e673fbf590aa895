"""Wrong gradients in PyTorch: the rules of `wrong_rules` as custom functions, and what only PyTorch can do wrong."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from wrong_algebra import ALGEBRA_RULES, EXPONENTIAL, algebra_of
from wrong_complex import COMPLEX_RULES
from wrong_rules import DTYPES, RULES, Rule, Shape, expression, names_of
from wrong_subjects import Subject, drawn

FRAMEWORK = "torch"


def tensors(
    shapes: tuple[Shape, ...], numbers: str, dtype: str, seed: int = 0, complex: Sequence[bool] = ()
) -> list[Tensor]:
    to = getattr(torch, dtype)
    found = (torch.from_numpy(np.asarray(x)) for x in drawn(shapes, numbers, seed, complex))
    return [x.to(to.to_complex() if x.is_complex() else to) for x in found]


def function(name: str, forward: Callable[..., Any], backward: Callable[..., Any]) -> Callable[..., Any]:
    """A custom Function by this name: `forward(*operands)`, and `backward(g, *operands)` with a gradient for each."""

    def forward_(ctx: Any, *operands: Tensor) -> Tensor:
        ctx.save_for_backward(*operands)
        return forward(*operands)  # type: ignore[no-any-return]

    def backward_(ctx: Any, g: Tensor) -> Any:
        return backward(g, *ctx.saved_tensors)

    of = {"forward": staticmethod(forward_), "backward": staticmethod(backward_)}
    custom = type(name, (torch.autograd.Function,), of)
    return lambda *operands: custom.apply(*operands)  # type: ignore[attr-defined]


def take(x: Tensor, index: list[int]) -> Tensor:
    return x[index]


def added(x: Tensor, index: list[int], g: Tensor) -> Tensor:
    return torch.zeros_like(x).index_add(0, torch.tensor(index), g)


def put(x: Tensor, index: list[int], g: Tensor) -> Tensor:
    return torch.zeros_like(x).index_copy(0, torch.tensor(index), g)


def block(x: Tensor, g: Tensor) -> Tensor:
    """The adjoint of an exponential, from the exponential of [[xᵀ, g], [0, xᵀ]]."""
    n = x.shape[0]
    return torch.matrix_exp(torch.cat([torch.cat([x.T, g], 1), torch.cat([0 * x, x.T], 1)]))[:n, n:]


NAMES = names_of(torch, {
    "row": lambda values, x: torch.tensor(values, dtype=x.dtype),
    "table": lambda values, x: torch.tensor(values, dtype=x.dtype),
    "take": take, "added": added, "put": put, **algebra_of(torch),
    "expm": torch.matrix_exp, "block": block,
})  # fmt: skip


def ruled(rule: Rule, backward: str) -> Callable[..., Any]:
    """A rule as a custom function, with this backward."""
    back = expression(backward, ("g", *rule.operands), NAMES, rule.name)
    return function(rule.name, expression(rule.forward, rule.operands, NAMES, rule.name), back)


def of_rule(rule: Rule) -> Subject:
    return Subject(rule.name, FRAMEWORK, rule.fault, ruled(rule, rule.wrong), ruled(rule, rule.right),
                   lambda dtype, seed: tensors(rule.shapes, rule.numbers, dtype, seed,
                                               [n in rule.complex for n in rule.operands]), rule.dtypes,
                   rule.name, f"{rule.right} → {rule.wrong}")  # fmt: skip


# What is no rule of its own -------------------------------------------------------------------------------------------


def changed_behind(data: bool) -> Callable[[Tensor], Tensor]:
    """A tensor saved for the backward pass is changed: through `.data`, which nothing notices, or as a copy."""

    def f(x: Tensor) -> Tensor:
        y = 2 * x
        z = y**2
        (y.data if data else y.data.clone()).mul_(1.5)
        return z

    return f


def kept(changing: bool) -> Callable[[Tensor], Tensor]:
    """A rule that keeps its operand as an attribute, not by save_for_backward; it is overwritten afterwards."""

    class Kept(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            ctx.x = x
            return x * x

        @staticmethod
        def backward(ctx: Any, g: Tensor) -> Tensor:  # type: ignore[override]
            return 2 * g * ctx.x

    def f(x: Tensor) -> Tensor:
        y = x * 3
        z = Kept.apply(y)
        if changing:
            y.data.zero_()
        return z  # type: ignore[no-any-return]

    return f


def penalty(custom: Callable[..., Any]) -> Callable[[Tensor], Tensor]:
    """The gradient of a sum of a custom function, as a function that is differentiated once more."""

    def f(x: Tensor) -> Tensor:
        return torch.autograd.grad(custom(x).sum(), x, create_graph=True)[0]

    return f


def twice(wrong: bool) -> Callable[..., Any]:
    """x³, whose first derivative is right; its second is that of a rule, 6x, or 3x."""
    slope = function("CubeSlope", lambda x: 3 * x * x, lambda g, x: (3 if wrong else 6) * g * x)

    class Cubed(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            ctx.save_for_backward(x)
            return x**3

        @staticmethod
        def backward(ctx: Any, g: Tensor) -> Tensor:  # type: ignore[override]
            return g * slope(ctx.saved_tensors[0])  # type: ignore[no-any-return]

    return lambda x: Cubed.apply(x)


def strided(by_stride: bool) -> Callable[..., Any]:
    """A rule that reads its adjoint as if it were laid out contiguously."""

    def backward(g: Tensor, x: Tensor) -> Tensor:
        if not by_stride:
            return 2 * g
        return 2 * torch.as_strided(g, g.shape, torch.empty(g.shape).stride())

    custom = function("Strided", lambda x: 2 * x, backward)
    return lambda x: custom(x).T * 1.5


class Counting:
    """A rule that scales by how often it has been called: right the first time, or every time."""

    def __init__(self, wrong: bool) -> None:
        self.calls, self.wrong = 0, wrong

    def __call__(self, x: Tensor) -> Tensor:
        def backward(g: Tensor, x: Tensor) -> Tensor:
            self.calls += 1
            return 2 * g * x * (self.calls if self.wrong else 1)

        return function("Counting", lambda x: x * x, backward)(x)  # type: ignore[no-any-return]


def narrow(inside: torch.dtype | None) -> Callable[..., Any]:
    def backward(g: Tensor, x: Tensor) -> Tensor:
        return 2 * (g.to(inside) * x.to(inside)).to(g.dtype) if inside else 2 * (g * x)

    return function("Narrow", lambda x: x * x, backward)


def convolution(wrong: bool) -> Callable[..., Any]:
    def backward(g: Tensor, x: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
        turned = w.flip(2, 3) if wrong else w
        of_x = torch.nn.grad.conv2d_input(list(x.shape), turned, g, stride=2, padding=1)
        return of_x, torch.nn.grad.conv2d_weight(x, list(w.shape), g, stride=2, padding=1)

    return function("Convolution2d", lambda x, w: F.conv2d(x, w, stride=2, padding=1), backward)


def no_gradient(x: Tensor) -> Tensor:
    with torch.no_grad():
        return torch.exp(x)


def _own(name: str, fault: str, wrong: Callable[..., Any], right: Callable[..., Any], *shapes: Shape,
         culprit: str = "", dtypes: tuple[str, ...] = tuple(DTYPES)) -> Subject:  # fmt: skip
    return Subject(name, FRAMEWORK, fault, wrong, right, lambda dtype, seed: tensors(shapes, "normal", dtype, seed),
                   dtypes, culprit)  # fmt: skip


OWN: tuple[Subject, ...] = (
    _own("Changed", "saved tensor changed through .data", changed_behind(True), changed_behind(False), (4,)),
    _own("Kept", "kept tensor changed through .data", kept(True), kept(False), (4,)),
    _own("Detached", "detached", lambda x: x * torch.tanh(x).detach(), lambda x: x * torch.tanh(x), (4,)),
    _own("NoGrad", "under no_grad", lambda x: x * no_gradient(x), lambda x: x * torch.exp(x), (4,)),
    _own("Normalized", "detached norm", lambda x: x / x.norm().detach(), lambda x: x / x.norm(), (4,)),
    _own("OneAdjoint", "detached path of two", lambda x, y: x @ y + (x.detach() * y.sum()).sum(),
         lambda x, y: x @ y + (x * y.sum()).sum(), (4,), (4,)),
    _own("Replaced", "new leaf", lambda x: x * x.detach().clone().requires_grad_(), lambda x: x * x.clone(), (4,)),
    _own("SecondRule", "second derivative", penalty(twice(True)), penalty(twice(False)), (4,), culprit="CubeSlope"),
    _own("SecondDetached", "second derivative, detached",
         penalty(function("CubeDetached", lambda x: x**3, lambda g, x: 3 * g * x.detach() ** 2)),
         penalty(function("CubeDetached", lambda x: x**3, lambda g, x: 3 * g * x**2)), (4,)),
    _own("Strided", "reads the adjoint's memory", strided(True), strided(False), (3, 3), culprit="Strided"),
    _own("Counting", "state", Counting(True), Counting(False), (4,)),
    _own("NarrowHalf", "half precision inside", narrow(torch.float16), narrow(None), (4,),
         dtypes=("float64", "float32")),
    _own("NarrowSingle", "single precision inside", narrow(torch.float32), narrow(None), (4,), dtypes=("float64",)),
    _own("Convolution2d", "kernel flipped", convolution(True), convolution(False), (1, 2, 4, 4), (2, 2, 3, 3),
         culprit="Convolution2d"),
    _own("Hook", "hook on a tensor", lambda x: hooked(x, 0.5), lambda x: hooked(x, 1.0), (4,)),
)  # fmt: skip


def hooked(x: Tensor, factor: float) -> Tensor:
    """x³, whose intermediate adjoint a hook multiplies."""
    y = x * x
    if y.requires_grad:
        y.register_hook(lambda g: g * factor)
    return y * x


SUBJECTS: tuple[Subject, ...] = (*map(of_rule, (*RULES, *COMPLEX_RULES, *ALGEBRA_RULES, EXPONENTIAL)), *OWN)


# Other checkers -------------------------------------------------------------------------------------------------------


def gradcheck(f: Callable[..., Any], given: list[Tensor], fast: bool) -> bool:
    """Whether `torch.autograd.gradcheck` accepts f with its defaults, in the tensors' own dtype."""
    leaves = [x.detach().clone().requires_grad_() for x in given]
    return bool(torch.autograd.gradcheck(f, tuple(leaves), fast_mode=fast, raise_exception=False))


CHECKERS: dict[str, Callable[..., bool]] = {
    "gradcheck": lambda f, given: gradcheck(f, given, False),
    "gradcheck fast": lambda f, given: gradcheck(f, given, True),
}
