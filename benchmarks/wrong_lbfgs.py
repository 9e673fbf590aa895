"""What is wrong in one place of L-BFGS: written out with a fault, beside PyTorch's and optax', and without one."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import torch
from torch import Tensor, optim
from wrong_beside import SHAPES, Fault

from gradconform.conformance.verify_update import UpdateReport, verify_update

MEMORY = 2


def drawn(shapes: Any, updates: int) -> tuple[list[Any], list[list[Any]]]:
    """Weights and gradients; the third is thrice the one before it, against a step down: a negative curvature."""
    random = np.random.default_rng(1)
    weights = [random.normal(size=s) for s in shapes]
    scales = 10 ** random.uniform(-0.5, 0.5, updates)
    gradients = [[random.normal(size=s) * scale for s in shapes] for scale in scales]
    gradients[2:3] = [[3 * g for g in gradients[1]]] if updates > 2 else []
    return weights, gradients


class Lbfgs(optim.Optimizer):
    """L-BFGS with a step of η, after the first, and the state that PyTorch's has."""

    def __init__(self, parameters: Any, fault: str = "", lr: float = 0.5) -> None:
        super().__init__(parameters, {"lr": lr, "history_size": MEMORY})
        self.fault = fault

    @torch.no_grad()
    def step(self, closure: Callable[[], Any]) -> None:  # type: ignore[override]
        closure()
        (group,) = self.param_groups
        state, eta = self.state[group["params"][0]], group["lr"]
        g = torch.cat([p.grad.reshape(-1) for p in group["params"]])
        if "d" not in state:
            uncapped = self.fault == "the first step without min(1, 1/‖g‖₁)"
            t = eta if uncapped else torch.clamp(1 / g.abs().sum(), max=1.0) * eta
            state.update(d=-g, t=t, old_dirs=[], old_stps=[], ro=[], H_diag=1, prev_flat_grad=g.clone())
        else:
            self._remembered(state, g)
            state.update(d=self._direction(state, g), t=eta)
            if self.fault != "the gradient before not kept":
                state["prev_flat_grad"] = g.clone()
        at = 0
        for p in group["params"]:
            sign = -1 if self.fault == "a step uphill" else 1
            p.add_(state["d"][at : at + p.numel()].view_as(p), alpha=sign * float(state["t"]))
            at += p.numel()

    def _remembered(self, state: dict[str, Any], g: Tensor) -> None:
        """The newest pair, where its curvature is positive."""
        y, s = g - state["prev_flat_grad"], state["d"] * state["t"]
        ys = y.dot(s)
        if ys <= 1e-10 and self.fault != "a pair of negative curvature kept":
            return
        y = g.clone() if self.fault == "the gradient for y" else y
        histories = state["old_stps"], state["old_dirs"], state["ro"]
        if len(histories[0]) == MEMORY and self.fault != "the oldest pair not dropped":
            for history in histories:
                history.pop(-1 if self.fault == "the newest pair dropped" else 0)
        for history, x in zip(histories, (s, y, ys if self.fault == "ρ without reciprocal" else 1 / ys), strict=True):
            history.append(x)
        of = 0 if self.fault == "γ of the oldest pair" else -1
        s, y = state["old_stps"][of], state["old_dirs"][of]
        state["H_diag"] = y.dot(s) / (s.dot(s) if self.fault == "γ over s·s" else y.dot(y))

    def _direction(self, state: dict[str, Any], g: Tensor) -> Tensor:
        pairs = list(zip(state["old_stps"], state["old_dirs"], state["ro"], strict=True))
        first = pairs if self.fault == "loops exchanged" else pairs[::-1]
        q, alphas = -g, []
        for s, y, rho in first:
            alphas.append(rho * s.dot(q))
            q = q - alphas[-1] * y
        d = q if self.fault == "without γ" else q * state["H_diag"]
        for (s, y, rho), alpha in zip(reversed(first), reversed(alphas), strict=True):
            beta = rho * y.dot(d)
            d = d + (alpha + beta if self.fault == "β added" else alpha - beta) * s
        return d


def of_torch(dtype: str, fault: str = "", updates: int = 6) -> UpdateReport:
    w, gs = drawn(SHAPES, updates)
    rule = partial(optim.LBFGS, max_iter=1, history_size=MEMORY)
    return verify_update(partial(Lbfgs, fault=fault), [torch.tensor(x) for x in w],
                         [[torch.tensor(x) for x in g] for g in gs], dtype=dtype, rule=rule)  # fmt: skip


def transformation(fault: str = "") -> Any:
    """optax' with a fault in what it keeps or gives."""
    inner = optax.scale_by_lbfgs(MEMORY, scale_init_precond=fault != "without γ")

    def update(g: Any, state: Any, w: Any) -> tuple[Any, Any]:
        d, after = inner.update(g, state, w)
        if fault == "ρ without reciprocal":
            after = after._replace(weights_memory=jnp.where(after.weights_memory == 0, 0, 1 / after.weights_memory))
        elif fault == "a pair in the wrong slot":
            after = after._replace(diff_params_memory=jax.tree.map(lambda x: x[::-1], after.diff_params_memory))
        elif fault == "the gradient before not kept":
            after = after._replace(updates=state.updates)
        return jax.tree.map(lambda x: -0.5 * x, d), after

    return optax.GradientTransformation(inner.init, update)


def of_optax(dtype: str, fault: str = "", updates: int = 3) -> UpdateReport:
    w, gs = drawn(SHAPES, updates)
    rule = optax.lbfgs(0.5, memory_size=MEMORY, linesearch=None)
    return verify_update(transformation(fault), [jnp.asarray(x) for x in w], gs, dtype=dtype, rule=rule, routes="jit")


_OF: tuple[tuple[str, Callable[..., UpdateReport], dict[str, str]], ...] = (
    ("L-BFGS", of_torch, {
        "the first step without min(1, 1/‖g‖₁)": "a_new", "the gradient for y": "Y_new",
        "a pair of negative curvature kept": "S_new", "the oldest pair not dropped": "S_new",
        "the newest pair dropped": "S_new", "ρ without reciprocal": "rho_new", "γ of the oldest pair": "gamma_new",
        "γ over s·s": "gamma_new", "without γ": "d_new", "β added": "d_new", "loops exchanged": "d_new",
        "the gradient before not kept": "g_prev_new", "a step uphill": "w_new",
    }),
    ("L-BFGS of weights", of_optax, {
        "ρ without reciprocal": "rho_new", "a pair in the wrong slot": "S_new", "without γ": "w_new",
        "the gradient before not kept": "g_prev_new",
    }),
)  # fmt: skip
RIGHT = tuple(Fault(what, ask, "") for what, ask, _ in _OF)
FAULTS = tuple(
    Fault(f"{what}: {fault}", partial(ask, fault=fault), q) for what, ask, of in _OF for fault, q in of.items()
)
