"""Worked examples that were published with numbers: cases whose printed digits are checked against the truth too."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gradconform.reference.cases import Case, network_case


@dataclass(frozen=True)
class Published:
    """A case, where it was published, and digits as they are printed there, by quantity and component.

    `digits` maps a quantity's name and the indices of a component to a decimal string.
    """

    case: Case
    source: str
    digits: Mapping[tuple[str, tuple[int, ...]], str]


def published() -> tuple[Published, ...]:
    """The examples, in order of their size."""
    return (_neuron(), _two_two_one(), _two_two_two())


def _neuron() -> Published:
    """One sigmoid neuron; its output is differentiated as it is: the absolute difference from 0."""
    return Published(
        network_case(
            "network/published/cs231n-neuron",
            layers=[([[2.0, -3.0]], [-3.0], "sigmoid")],
            loss="l1",
            inputs=[[-1.0, -2.0]],
            targets=[[0.0]],
            rate=1.0,
        ),
        "Stanford CS231n, notes on backpropagation, https://cs231n.github.io/optimization-2/",
        {("z1", (0, 0)): "1.0", ("a1", (0, 0)): "0.73", ("dE/dz1", (0, 0)): "0.2"},
    )


def _two_two_one() -> Published:
    return Published(
        network_case(
            "network/published/primelearnpoint-2-2-1",
            layers=[([[0.2, 0.2], [0.3, 0.3]], None, "sigmoid"), ([[0.3, 0.9]], None, "sigmoid")],
            inputs=[[0.35, 0.7]],
            targets=[[1.0]],
            rate=1.0,
        ),
        "https://primelearnpoint.com/deep-learning/backpropagation-solved-step-by-step/",
        {
            ("z1", (0, 0)): "0.2100",
            ("z1", (0, 1)): "0.3150",
            ("a1", (0, 0)): "0.5523",
            ("a1", (0, 1)): "0.5781",
            ("z2", (0, 0)): "0.6860",
            ("a2", (0, 0)): "0.6651",
            ("E", ()): "0.0561",
        },
    )


def _two_two_two() -> Published:
    """The best known of them; its author updates the weights and leaves the biases as they are."""
    return Published(
        network_case(
            "network/published/mazur-2-2-2",
            layers=[
                ([[0.15, 0.20], [0.25, 0.30]], [0.35, 0.35], "sigmoid"),
                ([[0.40, 0.45], [0.50, 0.55]], [0.60, 0.60], "sigmoid"),
            ],
            inputs=[[0.05, 0.10]],
            targets=[[0.01, 0.99]],
            rate=0.5,
        ),
        "M. Mazur, A Step by Step Backpropagation Example (2015), "
        "https://mattmazur.com/2015/03/17/a-step-by-step-backpropagation-example/",
        {
            ("z1", (0, 0)): "0.3775",
            ("a1", (0, 0)): "0.593269992",
            ("a1", (0, 1)): "0.596884378",
            ("z2", (0, 0)): "1.105905967",
            ("a2", (0, 0)): "0.75136507",
            ("a2", (0, 1)): "0.772928465",
            ("E", ()): "0.298371109",
            ("dE/dW2", (0, 0)): "0.082167041",
            ("W2_new", (0, 0)): "0.35891648",
            ("W2_new", (0, 1)): "0.408666186",
            ("W2_new", (1, 0)): "0.511301270",
            ("W2_new", (1, 1)): "0.561370121",
            ("W1_new", (0, 0)): "0.149780716",
            ("W1_new", (0, 1)): "0.19956143",
            ("W1_new", (1, 0)): "0.24975114",
            ("W1_new", (1, 1)): "0.29950229",
        },
    )
