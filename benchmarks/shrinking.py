"""Shrinking: from a case that raises an alarm to a smaller one that still does, and the code that reproduces it.

Greedy: fewer rows, layers and units, then simpler numbers, each step kept if the same route still raises an alarm.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradconform.reference.cases import BadInput, Case, network_case
from gradconform.reference.derivations.network import Architecture


@dataclass(frozen=True)
class Network:
    """A layered network's case in the form that `network_case` takes it."""

    id: str
    layers: tuple[tuple[NDArray[Any], NDArray[Any] | None, str], ...]
    loss: str
    reduction: str
    inputs: NDArray[Any]
    targets: NDArray[Any]
    rate: float

    def case(self) -> Case:
        return network_case(
            self.id,
            layers=self.layers,
            loss=self.loss,
            reduction=self.reduction,
            inputs=self.inputs,
            targets=self.targets,
            rate=self.rate,
        )


def shrunk(case: Case, alarms: Callable[[Case], bool], seconds: float = 120) -> Case:
    """The smallest case found within `seconds` for which `alarms` still holds; it holds for `case`."""
    until = time.monotonic() + seconds
    while True:
        found = next((c for c in smaller(case) if time.monotonic() < until and alarms(c)), None)
        if found is None:
            return case
        case = found


def smaller(case: Case) -> Iterator[Case]:
    """Cases that are smaller than `case` by one step, or whose numbers are simpler, the largest steps first."""
    if not isinstance(case.derivation, Architecture):
        yield from (_document(case, values) for values in _simpler(dict(case.values)))
        return
    network = _network(case, case.derivation)
    for candidate in _fewer(network):
        try:
            yield candidate.case()
        except BadInput:
            continue  # such as softmax cut to one output, or a target that has left the domain of its loss
    values = {"inputs": network.inputs, "targets": network.targets, "rate": network.rate}
    for layer, (W, b, _) in enumerate(network.layers):
        values |= {f"W{layer}": W} | ({} if b is None else {f"b{layer}": b})
    for simple in _simpler(values):
        layers = tuple(
            (simple[f"W{layer}"], simple.get(f"b{layer}"), a) for layer, (_, _, a) in enumerate(network.layers)
        )
        of = {n: simple[n] for n in ("inputs", "targets", "rate")}
        try:
            yield replace(network, layers=layers, **of).case()
        except BadInput:
            continue


def _document(case: Case, values: dict[str, Any]) -> Case:
    return replace(case, values=tuple(values.items()))


def _network(case: Case, architecture: Architecture) -> Network:
    v = dict(case.values)
    layers = tuple((v[f"W{layer}"], v.get(f"b{layer}"), a) for layer, a in enumerate(architecture.activations, 1))
    return Network(case.id, layers, architecture.loss, architecture.reduction, v["X"], v["T"], float(v["eta"]))


def _fewer(n: Network) -> Iterator[Network]:
    """One half of the rows, a single layer less, one half of the units of a layer, a bias less."""
    for rows in _halves(len(n.inputs)):
        yield replace(n, inputs=n.inputs[rows], targets=n.targets[rows])
    for layer in range(len(n.layers) - 1):  # the next layer then takes the width that this one took
        W, b, activation = n.layers[layer + 1]
        wide = np.resize(W, (W.shape[0], n.layers[layer][0].shape[1]))
        yield replace(n, layers=(*n.layers[:layer], (wide, b, activation), *n.layers[layer + 2 :]))
    for inputs in _halves(n.inputs.shape[1]):
        W, b, activation = n.layers[0]
        yield replace(n, inputs=n.inputs[:, inputs], layers=((W[:, inputs], b, activation), *n.layers[1:]))
    for layer, (W, b, activation) in enumerate(n.layers):
        for units in _halves(W.shape[0]):
            cut = (W[units], None if b is None else b[units], activation)
            if layer + 1 == len(n.layers):
                yield replace(n, layers=(*n.layers[:layer], cut), targets=n.targets[:, units])
                continue
            W_next, b_next, a_next = n.layers[layer + 1]
            yield replace(
                n, layers=(*n.layers[:layer], cut, (W_next[:, units], b_next, a_next), *n.layers[layer + 2 :])
            )
        if b is not None:
            yield replace(n, layers=(*n.layers[:layer], (W, None, activation), *n.layers[layer + 1 :]))


def _halves(size: int) -> Iterator[slice]:
    if size > 1:
        yield slice(0, size // 2)
        yield slice(size // 2, size)


def _simpler(values: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """One value (a number or a whole array) replaced by zeros, ones, or itself with fewer decimals."""
    for name, value in values.items():
        simple: list[Any] = [np.zeros_like(value), np.ones_like(value), *(np.round(value, d) for d in (0, 1, 2))]
        for s in simple:
            if not np.array_equal(s, value) and _digits(s) < _digits(value):
                yield {**values, name: s if np.ndim(s) else float(s)}


def _digits(value: Any) -> int:
    """The characters that the numbers take when they are written down: what gets simpler, and so comes to an end."""
    return sum(len(repr(float(v))) + (v != 0) for v in np.ravel(value))


def code(case: Case, route: str, dtype: str) -> str:
    """Python that builds the case and prints what the route's measurements say."""
    if isinstance(case.derivation, Architecture):
        n = _network(case, case.derivation)
        layers = ", ".join(f"({W.tolist()}, {None if b is None else b.tolist()}, {a!r})" for W, b, a in n.layers)
        made = (
            f"gc.network_case({case.id!r}, layers=[{layers}], loss={n.loss!r}, reduction={n.reduction!r}, "
            f"inputs={n.inputs.tolist()}, targets={n.targets.tolist()}, rate={n.rate!r})"
        )
    else:
        v = dict(case.values)
        weights = [v[w] for w in case.equations.parameters]
        groups = f"weights={weights}, inputs={[v['i1'], v['i2']]}, targets={[v['t1'], v['t2']]}"
        made = f"gc.document_case({case.id!r}, {groups}, rate={v[case.equations.rate]!r})"
    return "\n".join(
        (
            "import gradconform as gc",
            f"case = {made}",
            f"rows = gc.check({route!r}, case, dtype={dtype!r})",
            'print(rows[rows.verdict.isin(["deviates", "undecided", "crashed"])].to_string())',
        )
    )
