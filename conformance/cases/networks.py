"""Random layered networks: sixty architectures that between them use everything, and drawn values for each.

A framework compiles anew for every shape, so many draws go over few architectures.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import cycle, islice

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gradconform.reference.cases import Case, network_case
from gradconform.reference.derivations.activations import ACTIVATIONS
from gradconform.reference.derivations.losses import LOSSES, REDUCTIONS
from gradconform.reference.derivations.network import Architecture

ARCHITECTURES = 60
#: Widths that are no multiple of anything a kernel is unrolled by, beside some that are; batches with a single row.
WIDTHS = (3, 7, 16, 1, 13, 5, 33, 2, 8, 17, 11, 4)
BATCHES = (4, 1, 7, 3, 16, 1, 5)
SCALES = (1.0, 0.5, 3.0, 8.0)
#: The activation of the output layer that goes with a loss: logits stay what they are.
_OUTPUTS = {"binary_cross_entropy_with_logits": ("identity",), "softmax_cross_entropy": ("identity",)}


@cache
def architectures() -> tuple[Architecture, ...]:
    """Sixty architectures: every activation, loss, reduction, with and without bias, one to four layers, odd sizes."""
    return tuple(islice(_architectures(), ARCHITECTURES))


def _architectures() -> Iterator[Architecture]:
    hidden = cycle(a.name for a in ACTIVATIONS.values() if not a.rowwise)
    losses, widths, batches = cycle(LOSSES), cycle(WIDTHS), cycle(BATCHES)
    outputs = cycle(("identity", "softmax", "sigmoid", "tanh", "identity", "softplus", "elu"))
    for number in range(ARCHITECTURES):
        loss = next(losses)
        depth = (2, 3, 1, 2, 4)[number % 5]
        output = _OUTPUTS.get(loss, (next(outputs),))[0]
        width = max(next(widths), 2 if "softmax" in (loss, output) or loss == "softmax_cross_entropy" else 1)
        sizes = (*(next(widths) for _ in range(depth)), width)
        activations = (*(next(hidden) for _ in range(depth - 1)), output)
        biased = tuple((number + layer) % 3 != 0 for layer in range(depth))
        yield Architecture(sizes, activations, biased, loss, REDUCTIONS[number // 6 % 2], next(batches))


def covering_networks(seed: int = 0) -> Iterator[Case]:
    """Six small networks, one a loss, that between them use every activation and both reductions."""
    hidden = (("tanh", "relu"), ("leaky_relu", "elu"), ("selu", "softplus"), ("silu", "gelu"), ("gelu_tanh", "mish"),
              ("hard_tanh", "sigmoid"))  # fmt: skip
    for number, (loss, pair) in enumerate(zip(LOSSES, hidden, strict=True)):
        output = "softmax" if number == 0 else "identity"
        biased = ((False, True, False), (True, False, True))[number % 2]
        architecture = Architecture((5, 7, 6, 3), (*pair, output), biased, loss, REDUCTIONS[number % 2], 3)
        yield random_network(f"network/{loss.replace('_', '-')}", architecture, 0, seed)


#: A batch of five rows, no power of two, whose gradients keep their digits in every dtype: neither rows nor units
#: cancel one another, since every output is above its first target and below its second. Huber's rows lie on both sides
#: of its corner.
_ROWS = ((0.5, 1.2), (1.1, -0.4), (0.7, 0.9), (-0.3, 1.6), (1.9, 1.5))
_TARGETS = ((0.05, 0.9), (0.1, 0.95), (0.0, 1.0), (0.15, 0.85), (0.05, 0.9))
_FARTHER = ((-1.5, 0.9), (0.1, 0.95), (0.0, 2.5), (-2.0, 0.85), (0.05, 2.4))
_FIRST = (((0.8, -0.5), (-0.6, 1.2), (0.4, 0.9)), (0.1, -0.3, 0.2))
_SECOND = (((1.1, -0.7, 0.5), (-0.9, 0.6, -1.3)), (0.3, -0.2))


def batch_networks() -> Iterator[Case]:
    """A small batch for every loss and reduction, with the document's activation and nothing else beside it.

    For frameworks that have little: who has sigmoid alone, or tanh and a squared error, is still asked whether sums and
    means over a batch are right, and gets an answer with certified digits.
    """
    squared = ("half_squared_error", "squared_error")
    own: dict[str, ArrayLike] = {"softmax_cross_entropy": (1, 1, 1, 1, 1), "huber": _FARTHER}
    for activation, losses in (("sigmoid", tuple(LOSSES)), ("tanh", squared)):
        for loss in losses:
            for reduction, rate in (("sum", 1.0), ("mean", 4.0)):
                yield network_case(
                    f"network/mini-batch/{activation}/{loss.replace('_', '-')}-{reduction}",
                    layers=[(*_FIRST, activation), (*_SECOND, activation)],
                    loss=loss,
                    reduction=reduction,
                    inputs=_ROWS,
                    targets=own.get(loss, _TARGETS),
                    rate=rate,
                )


def primitive_networks() -> Iterator[Case]:
    """One neuron at the points where a framework's primitive was found to be least accurate, or to overflow."""
    yield _one_neuron("network/primitives/elu", "elu", 1.0, [-0.2837, -0.2711, -0.2563, -0.1296] * 4, [0.0] * 16)
    yield _one_neuron("network/primitives/gelu", "gelu", 1.0, [0.0338, 0.0452, 0.0852, -5.0] * 4, [-1.0] * 16)
    yield _one_neuron("network/primitives/tanh", "tanh", 1.0, [18.7, -19.3, 19.7, 21.9] * 4, [0.0] * 16)
    yield _one_neuron("network/primitives/mish", "mish", 1.0, [18.7, 19.3, 19.7, 21.9] * 4, [0.0] * 16)
    yield _one_neuron("network/primitives/gelu-overflow", "gelu", 300.0, [1.0, 0.5], [-137.0, 0.0])
    yield _one_neuron("network/primitives/gelu-tanh-overflow", "gelu_tanh", 50.0, [1.0, 0.5], [-1500.0, 0.0])
    yield _one_neuron("network/primitives/mish-overflow", "mish", 300.0, [1.0, 0.5], [-137.0, 0.0])


def sweeps() -> Iterator[Case]:
    """One neuron for each activation at 512 inputs: over what networks use, near zero, and deep into saturation.

    More than a default run can afford: `-c gradconform.conformance.cases.networks:sweeps`.
    """
    drawn = np.random.default_rng(0)
    small = drawn.choice([-1.0, 1.0], 128) * 2.0 ** drawn.uniform(-12, 1, 128)
    inputs = np.concatenate([drawn.uniform(-8, 8, 256), small, drawn.uniform(-30, 30, 128)])
    for name, activation in ACTIVATIONS.items():
        if not activation.rowwise:
            yield _one_neuron(f"network/sweep/{name}", name, 1.0, inputs.tolist(), [0.0] * len(inputs))


def _one_neuron(id: str, activation: str, weight: float, inputs: list[float], targets: list[float]) -> Case:
    return network_case(
        id,
        layers=[([[weight]], None, activation)],
        inputs=[[x] for x in inputs],
        targets=[[t] for t in targets],
        rate=0.001,
    )


@dataclass(frozen=True)
class _Draw:
    random: np.random.Generator

    def normal(self, shape: tuple[int, ...], scale: float) -> NDArray[np.float64]:
        """Normal numbers to four decimals: readable, and no number of any of the formats."""
        return np.round(self.random.normal(0, scale, shape), 4)


def random_network(id: str, architecture: Architecture, draw: int, seed: int = 0) -> Case:
    """Values for an architecture: weights of scale/√fan-in, inputs that sometimes hold zeros, targets in the domain."""
    key = [ord(c) for c in f"{architecture} draw {draw} seed {seed}"]
    drawn = _Draw(np.random.default_rng(key))
    scale = SCALES[draw % len(SCALES)]
    layers = []
    for number, activation in enumerate(architecture.activations):
        inputs, outputs = architecture.sizes[number : number + 2]
        weight = drawn.normal((outputs, inputs), scale / np.sqrt(inputs))
        bias = drawn.normal((outputs,), scale / 2) if architecture.biased[number] else None
        layers.append((weight, bias, activation))
    inputs_ = drawn.normal((architecture.batch, architecture.sizes[0]), 1.0)
    if draw % 5 == 4:  # pixels that are off: without a bias, pre-activations that are exactly zero
        inputs_[drawn.random.uniform(size=inputs_.shape) < 0.5] = 0.0
    return network_case(
        id,
        layers=layers,
        loss=architecture.loss,
        reduction=architecture.reduction,
        inputs=inputs_,
        targets=_targets(drawn, architecture),
        rate=float(np.round(drawn.random.uniform(0.01, 1), 4)),
    )


def _targets(drawn: _Draw, architecture: Architecture) -> NDArray[np.float64] | NDArray[np.int64]:
    shape = (architecture.batch, architecture.sizes[-1])
    if architecture.loss == "softmax_cross_entropy":
        return drawn.random.integers(0, shape[1], shape[0])
    if architecture.loss == "binary_cross_entropy_with_logits":
        return np.round(drawn.random.uniform(0, 1, shape), 2)
    return drawn.normal(shape, 1.0)
