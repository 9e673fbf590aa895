"""What is wrong in one place of the rules of whole tensors, and of what stands beside an optimizer.

Lamb, LARS, Adafactor and Muon, clips, averages of weights, loss scaling: each written out with a fault, beside what it
should be, and the same without one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import torch
from torch import Tensor, optim
from torch.amp import GradScaler
from torch.nn.utils import clip_grad_norm_, clip_grad_value_
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from gradconform.conformance.verify_update import UpdateReport, verify_update

SHAPES = ((3, 4), (6,))


@dataclass(frozen=True)
class Fault:
    """A fault in words, "" where there is none; the report of it in a dtype; the quantity that is wrong first."""

    name: str
    report: Callable[[str], UpdateReport]
    quantity: str


def drawn(shapes: Sequence[tuple[int, ...]], updates: int) -> tuple[list[Any], list[list[Any]]]:
    random = np.random.default_rng(3)
    weights = [random.normal(size=s) for s in shapes]
    return weights, [[random.normal(size=s) * 4**k for s in shapes] for k in range(updates)]


def _torch(make: Any, rule: Any, dtype: str, shapes: Any = SHAPES, updates: int = 3) -> UpdateReport:
    w, gs = drawn(shapes, updates)
    return verify_update(make, [torch.tensor(x) for x in w], [[torch.tensor(x) for x in g] for g in gs],
                         dtype=dtype, rule=rule)  # fmt: skip


def _optax(make: Any, rule: Any, dtype: str, shapes: Any = SHAPES[:1]) -> UpdateReport:
    w, gs = drawn(shapes, 2)
    return verify_update(make, [jnp.asarray(x) for x in w], gs, dtype=dtype, rule=rule)


# Clips ----------------------------------------------------------------------------------------------------------------


def clip(parameters: Any, fault: str = "") -> Tensor | None:
    """To a norm of 1."""
    gradients = [p.grad for p in parameters]
    squares = sum((g**2).sum() for g in gradients)
    norm = squares if fault == "without its root" else squares.sqrt()
    if fault == "of the mean of squares":
        norm = (squares / sum(g.numel() for g in gradients)).sqrt()
    for g in gradients:
        own = g.norm() if fault == "of each tensor by itself" else norm
        ratio = own if fault == "inverted" else 1 / (own + 1e-6)
        g.mul_(ratio if fault == "without min(1, …)" else ratio.clamp(max=1))
    return norm if fault == "without its root" else None


def clip_value(parameters: Any, fault: str = "") -> None:
    """To between −½ and ½."""
    for p in parameters:
        if fault == "from above alone":
            p.grad.clamp_(max=0.5)
        elif fault == "to 0":
            p.grad[p.grad.abs() > 0.5] = 0.0
        else:
            p.grad.clamp_(-0.5, 0.5)


def clipped_late(fault: str = "") -> Any:
    """Momentum's step clipped in place of the gradient."""
    first = [optax.clip_by_global_norm(1.0), optax.trace(0.9)]
    return optax.chain(*(first[::-1] if fault else first), optax.scale(-0.1))


# Averages and scales --------------------------------------------------------------------------------------------------


class Average(AveragedModel):
    def __init__(self, parameters: Any, fault: str = "") -> None:
        super().__init__(torch.nn.ParameterList(parameters))
        self.fault = fault

    @torch.no_grad()
    def update_parameters(self, model: Any) -> None:
        beta = {"β 0.99 for 0.9": 0.99, "β and 1 − β exchanged": 0.1}.get(self.fault, 0.9)
        for a, p in zip(self.parameters(), model.parameters(), strict=True):
            if self.n_averaged == 0 and self.fault != "the first not a copy":
                a.copy_(p)
            else:
                a.mul_(beta).add_(p, alpha=1 if self.fault == "without 1 − β" else 1 - beta)
        self.n_averaged += 1


def ema(parameters: Any) -> AveragedModel:
    return AveragedModel(torch.nn.ParameterList(parameters), multi_avg_fn=get_ema_multi_avg_fn(0.9))


class Scaler(GradScaler):
    def __init__(self, fault: str = "") -> None:
        super().__init__("cpu", init_scale=1024.0, growth_interval=2)
        self.fault = fault

    def _unscale_grads_(self, optimizer: Any, inverse: Any, found: Any, half: bool) -> Any:
        times = {"unscaled twice": inverse * inverse, "not unscaled": torch.ones_like(inverse)}
        return super()._unscale_grads_(optimizer, times.get(self.fault, inverse), found, half)

    def _maybe_opt_step(self, optimizer: Any, state: Any, *args: Any, **more: Any) -> Any:
        return optimizer.step() if self.fault == "no update left out" else super()._maybe_opt_step(optimizer, state)

    def update(self, new_scale: Any = None) -> None:
        before = self.get_scale()
        super().update()
        if self.fault == "the scale never smaller" and self.get_scale() < before:
            self._scale.fill_(before)


def scaled(dtype: str, fault: str = "") -> UpdateReport:
    """Gradients one of which overflows."""
    w, gs = drawn(SHAPES, 4)
    gs[1][0][0, 0] = math.inf
    return verify_update(lambda p: (optim.SGD(p, lr=0.001, momentum=0.9), Scaler(fault)), [torch.tensor(x) for x in w],
                         [[torch.tensor(x * 1024) for x in g] for g in gs], dtype=dtype)  # fmt: skip


class Schedule(optim.lr_scheduler.LRScheduler):
    """A factor of 0.9 after each update."""

    def __init__(self, optimizer: Any, fault: str = "") -> None:
        self.fault = fault
        super().__init__(optimizer)

    def get_lr(self) -> list[Any]:
        n = self.last_epoch - (self.fault == "an update late")
        power = self.fault == "of the square of updates"
        return [eta * (0.9 ** (n * n if power else n) if n > 0 else 1.0) for eta in self.base_lrs]


def scheduled(dtype: str, fault: str = "") -> UpdateReport:
    def made(of: Any, *settings: Any) -> Callable[[Any], Any]:
        def make(parameters: Any) -> Any:
            optimizer = optim.SGD(parameters, lr=0.1)
            return optimizer, of(optimizer, *settings)

        return make

    return _torch(made(Schedule, fault), made(optim.lr_scheduler.ExponentialLR, 0.9), dtype)


# Trust ratios ---------------------------------------------------------------------------------------------------------


def trusted(fault: str = "", c: float = 1.0) -> optax.GradientTransformation:
    def scale(u: Any, p: Any) -> Any:
        weight, step = jnp.linalg.norm(p), jnp.linalg.norm(u)
        if fault == "norms without their roots":
            weight, step = weight**2, step**2
        if fault == "norms of the largest number":
            weight, step = jnp.abs(p).max(), jnp.abs(u).max()
        return u * (c * (step / weight if fault == "the ratio inverted" else weight / step))

    def update(u: Any, s: Any, p: Any = None) -> Any:
        return jax.tree.map(scale, u, p), s

    return optax.GradientTransformation(lambda p: optax.EmptyState(), update)


def lamb(fault: str = "") -> Any:
    """Lamb; "decay after the ratio" leaves λ·w out of the norm."""
    parts = [optax.add_decayed_weights(0.1), trusted(fault)]
    late = fault == "decay after the ratio"
    return optax.chain(optax.scale_by_adam(eps=1e-3), *(parts[::-1] if late else parts), optax.scale(-0.1))


def lars(fault: str = "") -> Any:
    parts = [trusted(fault, 0.001), optax.scale(-0.1), optax.trace(0.9)]
    late = fault == "momentum before the ratio"
    order = (2, 0, 1) if late else (0, 1, 2)
    return optax.chain(optax.add_decayed_weights(0.1), *(parts[n] for n in order))


# Adafactor and Muon ---------------------------------------------------------------------------------------------------


class Adafactor(optim.Optimizer):
    def __init__(self, parameters: Any, fault: str = "") -> None:
        super().__init__(parameters, {"lr": 0.1, "d": 1.0, "weight_decay": 0.1, "maximize": False})
        self.fault, self.updates = fault, 0

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        self.updates += 1
        for p in (p for group in self.param_groups for p in group["params"]):
            self._one(p, p.grad, self.state[p], self.updates)

    def _one(self, p: Tensor, g: Tensor, state: Any, t: int) -> None:
        is_, s = self.fault.__eq__, t ** (0.8 if self.fault == "t^0.8" else -0.8)
        eps1 = torch.finfo(p.dtype).eps
        rms = p.square().mean().sqrt() if not is_("the norm for the weight's RMS") else p.norm()
        alpha = float(rms.clamp(min=1e-3)) * min(0.1, 1 / math.sqrt(t))
        p.mul_(1 - 0.1 * 0.1)
        if p.ndim > 1:
            axes = (-2, -1) if is_("means of the wrong axis") else (-1, -2)
            for name, kept, axis in (("row_var", -1, axes[0]), ("col_var", -2, axes[1])):
                shape = [1 if n == kept % 2 else k for n, k in enumerate(p.shape)]
                mean = g.square().mean(axis)
                mean = mean.mean().expand(shape) if axis != kept else mean.reshape(shape)
                state.setdefault(name, torch.zeros(shape, dtype=p.dtype)).lerp_(mean, s)
            v = state["row_var"] * state["col_var"]
            v = v if is_("not over the mean of rows") else v / state["row_var"].mean().clamp(min=eps1)
        else:
            v = state.setdefault("variance", torch.zeros_like(p)).lerp_(g.square(), s).clone()
        u = g / v.clamp(min=eps1**2) if is_("without its root") else g * v.clamp(min=eps1**2).rsqrt()
        clip = 1.0 if is_("not clipped") else max(1.0, float(u.square().mean().sqrt()))
        p.sub_(u * (alpha / clip))


class Muon(optim.Optimizer):
    def __init__(self, parameters: Any, fault: str = "") -> None:
        super().__init__(parameters, {"lr": 0.1, "momentum": 0.95, "weight_decay": 0.1, "maximize": False})
        self.fault = fault

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        is_ = self.fault.__eq__
        a, b, c = 3.4445, -4.7750, (2.0135 if is_("c 2.0135 for 2.0315") else 2.0315)
        for p in (p for group in self.param_groups for p in group["params"]):
            buffer = self.state[p].setdefault("momentum_buffer", torch.zeros_like(p))
            buffer.lerp_(p.grad, 0.5 if is_("μ ½") else 0.05)
            u = buffer if is_("not Nesterov's") else torch.lerp(p.grad, buffer, 0.95)
            x = u if is_("without a norm") else u / u.norm().clamp(min=1e-7)
            for _ in range(4 if is_("four steps for five") else 5):
                gram = x @ x.T
                x = a * x + (b * gram + c * (gram if is_("A for A²") else gram @ gram)) @ x
            p.mul_(1 - 0.1 * 0.1)
            p.sub_(0.1 * x * (2.0 if is_("twice the step") else 1.0))


def _muon(dtype: str, fault: str = "") -> UpdateReport:
    return _torch(partial(Muon, fault=fault), lambda p: optim.Muon(p, lr=0.1), dtype, ((3, 4),), 2)


def _adafactor(dtype: str, fault: str = "") -> UpdateReport:
    rule = partial(optim.Adafactor, lr=0.1, weight_decay=0.1)
    return _torch(partial(Adafactor, fault=fault), rule, dtype)


# All ------------------------------------------------------------------------------------------------------------------

_RULE = {"clip": partial(clip_grad_norm_, max_norm=1.0), "value": partial(clip_grad_value_, clip_value=0.5)}
#: What is written out above: how it is asked for, with its faults and the quantity that each makes wrong first.
_OF: tuple[tuple[str, Callable[..., UpdateReport], dict[str, str]], ...] = (
    ("norm clipped", lambda d, f="": _torch(partial(clip, fault=f), _RULE["clip"], d), {
        "without its root": "norm", "of the mean of squares": "g_new", "of each tensor by itself": "g_new",
        "inverted": "g_new",
    }),
    ("value clipped", lambda d, f="": _torch(partial(clip_value, fault=f), _RULE["value"], d), {
        "from above alone": "g_new", "to 0": "g_new",
    }),
    ("clip and momentum", lambda d, f="": _optax(clipped_late(f), clipped_late(), d, SHAPES), {
        "clipped after": "b_new",
    }),
    ("average", lambda d, f="": _torch(partial(Average, fault=f), ema, d), {
        "β 0.99 for 0.9": "a_new", "β and 1 − β exchanged": "a_new", "without 1 − β": "a_new",
        "the first not a copy": "a_new",
    }),
    ("loss scaling", scaled, {
        "unscaled twice": "g_new", "not unscaled": "g_new", "no update left out": "b_new",
        "the scale never smaller": "s_new",
    }),
    ("schedule", scheduled, {"an update late": "eta_new", "of the square of updates": "eta_new"}),
    ("Lamb", lambda d, f="": _optax(lamb(f), optax.lamb(0.1, eps=1e-3, weight_decay=0.1), d), {
        "the ratio inverted": "w_new", "norms without their roots": "w_new", "norms of the largest number": "w_new",
        "decay after the ratio": "w_new",
    }),
    ("LARS", lambda d, f="": _optax(lars(f), optax.lars(0.1, weight_decay=0.1), d), {
        "the ratio inverted": "b_new", "norms without their roots": "b_new", "momentum before the ratio": "b_new",
    }),
    ("Adafactor", _adafactor, {
        "means of the wrong axis": "row_new", "t^0.8": "row_new", "not over the mean of rows": "w_new",
        "without its root": "w_new", "not clipped": "w_new", "the norm for the weight's RMS": "w_new",
    }),
    ("Muon", _muon, {
        "c 2.0135 for 2.0315": "w_new", "μ ½": "b_new", "not Nesterov's": "w_new", "without a norm": "w_new",
        "four steps for five": "w_new", "A for A²": "w_new", "twice the step": "w_new",
    }),
)  # fmt: skip
RIGHT = tuple(Fault(what, ask, "") for what, ask, _ in _OF)
FAULTS = tuple(
    Fault(f"{what}: {fault}", partial(ask, f=fault) if ask.__name__ == "<lambda>" else partial(ask, fault=fault), q)
    for what, ask, faults in _OF for fault, q in faults.items()
)  # fmt: skip
