"""Optimizers that are wrong in one place, each beside the one that it should be, and the equation that is at fault.

Every optimizer is a PyTorch one written out: what it makes of one parameter p in one update, from the gradient g, the
state s (tensors by name, zeros at first) and the number t of the update.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, optim

State = dict[str, Any]
Step = Callable[[Tensor, Tensor, State, int], None]


@dataclass(frozen=True)
class Wrong:
    """A fault: in words, the step that has it, what the optimizer should be, and the quantity that is wrong first."""

    fault: str
    step: Step
    rule: Callable[[Any], Any]
    quantity: str
    state: tuple[str, ...] = ()
    parameters: int = 1
    gradients: str = "drawn"


class Written(optim.Optimizer):
    """An optimizer by a step of its own; its state is there, 0, before the first."""

    def __init__(self, parameters: Any, step: Step, names: tuple[str, ...], start: Mapping[str, float]) -> None:
        super().__init__(parameters, {})
        self.step_of, self.updates = step, 0
        for group in self.param_groups:
            for p in group["params"]:
                self.state[p] = {n: torch.full_like(p, start.get(n, 0.0)) for n in names}

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        self.updates += 1
        for group in self.param_groups:
            for p in group["params"]:
                self.step_of(p, p.grad, self.state[p], self.updates)


def rounded(x: float, dtype: torch.dtype) -> float:
    return float(torch.tensor(x, dtype=dtype))


@dataclass
class Sgd:
    """SGD with momentum, dampening, decay; what is wrong is said by what differs from the defaults."""

    lr: float = 0.1
    mu: float = 0.9
    tau: float = 0.1
    decay: float = 0.01
    nesterov: bool = False
    tweak: Mapping[str, Any] = field(default_factory=dict)

    def __call__(self, p: Tensor, g: Tensor, s: State, t: int) -> None:
        is_ = self.tweak.get
        lr = is_("lr", self.lr)
        if is_("stale"):
            g, s["last"] = s.get("last", g), g.clone()
        if is_("skips NaN"):
            g = torch.nan_to_num(g, nan=0.0)
        raw = g
        if not is_("no decay") and not is_("decay late"):
            g = g + is_("decay sign", 1.0) * self.decay * p if not is_("decay of new") else g
        if is_("halved"):
            g = g * 0.5
        if is_("alias") and t == 1:
            s["momentum_buffer"] = raw
            g = raw
        old = s["momentum_buffer"].clone()
        buf = s["momentum_buffer"]
        if t == 1 and not is_("dampened first") and not is_("alias"):
            buf.copy_(g)
        elif not is_("alias") or t > 1:
            buf.mul_(is_("mu", self.mu) if not is_("not carried") else 0.0).add_(g, alpha=1 - is_("tau", self.tau))
        if is_("buffer in bfloat16"):
            buf.copy_(buf.bfloat16())
        used = g + self.mu * (old if is_("old buffer") else buf) if self.nesterov and not is_("plain") else buf
        if is_("decay late"):
            used = used + self.decay * p
        before = p.clone()
        p.add_(used, alpha=-lr * is_("sign", 1.0))
        if is_("clips after"):
            p.clamp_(-0.5, 0.5)
        if is_("last left"):
            p[-1] = before[-1]
        if is_("first left"):
            p[0] = before[0]
        if is_("every second left"):
            p[::2] = before[::2]
        if is_("transposed"):
            p.copy_(before + (p - before).flip(0))
        if is_("mean step"):
            p.copy_(before + (p - before).mean())


@dataclass
class Adam:
    """Adam and AdamW."""

    lr: float = 0.01
    b1: float = 0.9
    b2: float = 0.99
    eps: float = 1e-3
    decay: float = 0.1
    coupled: bool = False
    tweak: Mapping[str, Any] = field(default_factory=dict)

    def __call__(self, p: Tensor, g: Tensor, s: State, t: int) -> None:
        is_ = self.tweak.get
        b1, b2 = is_("b1", self.b1), is_("b2", self.b2)
        raw = g
        if self.coupled or is_("coupled"):
            g = g + self.decay * p
        elif not is_("no decay") and not is_("decay last"):
            p.mul_(1 - is_("rate of decay", self.lr) * self.decay)
        m, v, old = s["exp_avg"], s["exp_avg_sq"], s["exp_avg"].clone()
        if is_("m forgotten"):
            m.zero_()
        if is_("v forgotten"):
            v.zero_()
        m.mul_(b1).add_(g, alpha=1.0 if is_("m whole") else 1 - b1)
        squares = g.abs() if is_("v of |g|") else (raw if is_("v of raw g") else g).square()
        v.mul_(b2).add_(squares, alpha=1.0 if is_("v whole") else 1 - b2)
        k = t + is_("off by", 0)
        c1 = 1.0 if is_("no c1") else 1 - self.b1**k
        c2 = 1.0 if is_("no c2") else 1 - self.b2**k
        if is_("c1 by b2"):
            c1 = 1 - self.b2**t
        root = v.sqrt() if not is_("no root") else v.clone()
        if is_("root in bfloat16"):
            root = root.bfloat16().to(v.dtype)
        eps = is_("eps", self.eps)
        if is_("eps inside"):
            divisor = (v / c2 + eps).sqrt()
        elif is_("eps before c2"):
            divisor = (root + eps) / c2**0.5
        elif is_("eps the larger"):
            divisor = torch.maximum(root / c2**0.5, torch.full_like(root, eps))
        else:
            divisor = root / (c2 if is_("no root") or is_("c2 without root") else c2**0.5) + eps
        used = old if is_("old m") else m
        rate = self.lr * c1 if is_("times c1") else self.lr / c1
        p.addcdiv_(used, divisor, value=-rate)
        if is_("decay last"):
            p.mul_(1 - self.lr * self.decay)


def _sgd(**more: Any) -> Callable[[Any], Any]:
    return lambda p: optim.SGD(p, **{"lr": 0.1, "momentum": 0.9, "dampening": 0.1, "weight_decay": 0.01, **more})


def _adam(of: Any = optim.AdamW, **more: Any) -> Callable[[Any], Any]:
    return lambda p: of(p, **{"lr": 0.01, "betas": (0.9, 0.99), "eps": 1e-3, "weight_decay": 0.1, **more})


def _of_sgd(fault: str, quantity: str, tweak: Mapping[str, Any], **more: Any) -> Wrong:
    gradients = more.pop("gradients", "drawn")
    nesterov = more.get("nesterov", False)
    step = Sgd(nesterov=nesterov, tau=0.0 if nesterov else 0.1, tweak=tweak)
    rule = _sgd(**({"nesterov": True, "dampening": 0.0} if nesterov else {}), **{k: v for k, v in more.items()
                                                                                if k != "nesterov"})  # fmt: skip
    return Wrong(f"SGD: {fault}", step, rule, quantity, ("momentum_buffer",), gradients=gradients)


def _of_adam(fault: str, quantity: str, tweak: Mapping[str, Any], coupled: bool = False) -> Wrong:
    rule = _adam(optim.Adam) if coupled else _adam()
    return Wrong(f"Adam: {fault}", Adam(coupled=coupled, tweak=tweak), rule, quantity, ("exp_avg", "exp_avg_sq"))


FAULTS: tuple[Wrong, ...] = (
    _of_sgd("η rounded to bfloat16", "w_new", {"lr": rounded(0.1, torch.bfloat16)}),
    _of_sgd("η twice as large", "w_new", {"lr": 0.2}),
    _of_sgd("uphill", "w_new", {"sign": -1.0}),
    _of_sgd("the buffer not carried", "b_new", {"not carried": True}),
    _of_sgd("μ 0.99 for 0.9", "b_new", {"mu": 0.99}),
    _of_sgd("dampening left out", "b_new", {"tau": 0.0}),
    _of_sgd("dampening in the first update, too", "b_new", {"dampened first": True}),
    _of_sgd("the last update's gradient", "b_new", {"stale": True}),
    _of_sgd("the buffer an alias of the gradient", "b_new", {"alias": True}),
    _of_sgd("NaN in the gradient skipped", "b_new", {"skips NaN": True}, gradients="NaN"),
    _of_sgd("no weight decay", "b_new", {"no decay": True}),
    _of_sgd("weight decay of the wrong sign", "b_new", {"decay sign": -1.0}),
    _of_sgd("weight decay after the momentum", "b_new", {"decay late": True}),
    _of_sgd("the gradient halved", "b_new", {"halved": True}),
    _of_sgd("the buffer kept in bfloat16", "b_new", {"buffer in bfloat16": True}),
    _of_sgd("clipped after the step", "w_new", {"clips after": True}),
    _of_sgd("the last number left as it was", "w_new", {"last left": True}),
    _of_sgd("the first number left as it was", "w_new", {"first left": True}),
    _of_sgd("every second number left as it was", "w_new", {"every second left": True}),
    _of_sgd("the step turned round", "w_new", {"transposed": True}),
    _of_sgd("the mean step for all", "w_new", {"mean step": True}),
    _of_sgd("Nesterov's by the old buffer", "w_new", {"old buffer": True}, nesterov=True),
    _of_sgd("Nesterov's left out", "w_new", {"plain": True}, nesterov=True),
    _of_adam("ε inside of the root", "w_new", {"eps inside": True}),
    _of_adam("ε before the correction", "w_new", {"eps before c2": True}),
    _of_adam("the larger of √v̂ and ε", "w_new", {"eps the larger": True}),
    _of_adam("ε ten times as large", "w_new", {"eps": 1e-2}),
    _of_adam("m not corrected", "w_new", {"no c1": True}),
    _of_adam("v not corrected", "w_new", {"no c2": True}),
    _of_adam("the correction of the next update", "w_new", {"off by": 1}),
    _of_adam("m corrected by β2", "w_new", {"c1 by b2": True}),
    _of_adam("m times its correction", "w_new", {"times c1": True}),
    _of_adam("v's correction without its root", "w_new", {"c2 without root": True}),
    _of_adam("v without its root", "w_new", {"no root": True}),
    _of_adam("the root in bfloat16", "w_new", {"root in bfloat16": True}),
    _of_adam("m of the update before", "w_new", {"old m": True}),
    _of_adam("β1 and β2 exchanged", "m_new", {"b1": 0.99, "b2": 0.9}),
    _of_adam("β1 for β2", "v_new", {"b2": 0.9}),
    _of_adam("m not carried", "m_new", {"m forgotten": True}),
    _of_adam("v not carried", "v_new", {"v forgotten": True}),
    _of_adam("m without 1 − β1", "m_new", {"m whole": True}),
    _of_adam("v without 1 − β2", "v_new", {"v whole": True}),
    _of_adam("v of |g|", "v_new", {"v of |g|": True}),
    _of_adam("the decay coupled", "m_new", {"coupled": True}),
    _of_adam("no decay", "w_new", {"no decay": True}),
    _of_adam("decay not by η", "w_new", {"rate of decay": 1.0}),
    _of_adam("decay of the new weight", "w_new", {"decay last": True}),
    _of_adam("v of the gradient without its decay", "v_new", {"v of raw g": True}, coupled=True),
)


def right() -> list[Wrong]:
    """The same optimizers without a fault."""
    return [
        Wrong("SGD", Sgd(), _sgd(), "", ("momentum_buffer",)),
        Wrong("SGD, Nesterov's", Sgd(nesterov=True, tau=0.0), _sgd(nesterov=True, dampening=0.0), "",
              ("momentum_buffer",)),
        Wrong("AdamW", Adam(), _adam(), "", ("exp_avg", "exp_avg_sq")),
        Wrong("Adam with decay", Adam(coupled=True), _adam(optim.Adam), "", ("exp_avg", "exp_avg_sq")),
    ]  # fmt: skip


def maker(of: Wrong) -> Callable[[Any], Written]:
    """What makes the optimizer of its parameters."""

    def make(parameters: Any) -> Written:
        return Written(parameters, of.step, of.state, {})

    make.__name__ = of.fault
    return make
