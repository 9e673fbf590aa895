"""Gradient descent, with momentum, and Nesterov's.

Rumelhart, Hinton and Williams, Nature 323 (1986), equation 9, is momentum; Sutskever, Martens, Dahl and Hinton, ICML
2013, equations 3 and 4, Nesterov's; Loshchilov and Hutter, ICLR 2019, algorithm 1, the decay that is decoupled. As
PyTorch and optax have them η stands outside of the buffer:

    g' = ∂E/∂w + λ·w                      coupled decay, an L2 term of the loss
    b_new = μ·b + (1 − τ)·g'              the first is g' where there is no buffer yet
    w_new = w − η·b_new                   Nesterov: w − η·(g' + μ·b_new)
"""

from __future__ import annotations

from gradconform.reference.derivations.updates.rule import (
    GRADIENT,
    RATE,
    WEIGHT,
    Rule,
    Way,
    decaying,
    equation,
    new_weight,
    rule,
)

MOMENTUM = "Rumelhart, Hinton and Williams 1986, equation 9"
NESTEROV = "Sutskever, Martens, Dahl and Hinton 2013, equations 3 and 4"
DESCENT = "gradient descent"
_TORCH = "PyTorch: torch/optim/sgd.py, _single_tensor_sgd"
_FUSED = "PyTorch: aten/src/ATen/native/cpu/FusedSGDKernel.cpp"
_OPTAX = "optax: transforms/_accumulation.py, trace"


def sgd(
    momentum: bool = False,
    first: bool = False,
    nesterov: bool = False,
    decay: str = "none",
    maximize: bool = False,
) -> Rule:
    """w − η·g'; with `momentum` by a buffer b, which there is none of yet where this is the `first` step."""
    slope, coupled, strength = decaying(decay, maximize)
    plain = (GRADIENT, WEIGHT, *coupled)
    if not momentum:
        steps = [
            Way("w − η·g", lambda ops, g, eta, w, *lam: eta * slope(g, w, *lam), f"{_TORCH}; optax: alias.py, sgd"),
        ]
        weight = new_weight(DESCENT, (GRADIENT, RATE, WEIGHT, *coupled), steps, decay)
        return rule("sgd", strength, {}, weight)
    settings = ("mu", "tau", *strength)
    of_buffer: list[Way]
    if first:
        of_buffer = [Way("g", lambda ops, g, w, *lam: slope(g, w, *lam), f"{_TORCH}, buf is None")]
        buffer = equation("b_new", MOMENTUM, plain, of_buffer)
    else:
        of_buffer = [
            Way("μ·b + (1 − τ)·g", lambda ops, b, mu, tau, g, w, *lam: mu * b + (1 - tau) * slope(g, w, *lam), _TORCH),
            Way("g + μ·b", lambda ops, b, mu, tau, g, w, *lam: slope(g, w, *lam) + mu * b - tau * slope(g, w, *lam),
                _OPTAX),
        ]  # fmt: skip
        buffer = equation("b_new", MOMENTUM, ("b", "mu", "tau", *plain), of_buffer)
    if nesterov:
        step = Way("w − η·(g + μ·b)", lambda ops, b, eta, mu, g, w, *lam: eta * (slope(g, w, *lam) + mu * b),
                   f"{_TORCH}; {_OPTAX}")  # fmt: skip
        weight = new_weight(NESTEROV, ("b_new", RATE, "mu", *plain), [step], decay)
    else:
        weight = new_weight(MOMENTUM, ("b_new", RATE), [
            Way("w − η·b", lambda ops, b, eta: eta * b, f"{_TORCH}; {_OPTAX}"),
        ], decay)  # fmt: skip
    return rule("sgd", settings, {"b": buffer}, weight)
