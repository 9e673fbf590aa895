"""Real data: Iris, Wine and Digits as scikit-learn ships them, with networks that people train on them.

Needs scikit-learn (the extra `data`); without it the catalogue has no `network/iris`, `network/wine`, `network/digits`.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec

import numpy as np
from numpy.typing import NDArray

from gradconform.reference.cases import BadInput, Case, network_case

#: The catalogue's cases of real data.
IDS = ("network/iris", "network/wine", "network/digits")
INSTALL = "python -m pip install scikit-learn (in a clone: python -m pip install -e '.[data]')"


def available() -> bool:
    """Whether scikit-learn is installed."""
    return find_spec("sklearn") is not None


def dataset_cases() -> Iterator[Case]:
    """One training step each, from weights drawn as PyTorch and Keras draw them (He, Glorot), on a first batch."""
    yield dataset_case("network/iris", "iris", hidden=((10, "tanh"),), batch=32)
    yield dataset_case("network/wine", "wine", hidden=((16, "relu"),), batch=32)
    yield dataset_case("network/digits", "digits", hidden=((32, "gelu"),), batch=32)


def dataset_case(
    id: str, name: str, *, hidden: tuple[tuple[int, str], ...], batch: int | None = None, rate: float = 0.1
) -> Case:
    """A classifier of a dataset ("iris", "wine", "digits"): softmax cross-entropy over standardised features.

    `hidden` are (width, activation) of the hidden layers, `batch` the number of rows, drawn without replacement; all of
    them by default. Weights are normal with variance 1/fan-in (2/fan-in before relu), biases zero, by a seed fixed in
    the id. Raises BadInput without scikit-learn.
    """
    X, classes = _load(name)
    random = np.random.default_rng([ord(c) for c in id])
    rows = random.permutation(len(X))[:batch]
    X, classes = X[rows], classes[rows]
    sizes = (X.shape[1], *(width for width, _ in hidden), int(classes.max()) + 1)
    activations = (*(a for _, a in hidden), "identity")
    layers = []
    for inputs, outputs, activation in zip(sizes, sizes[1:], activations, strict=False):
        gain = 2.0 if activation == "relu" else 1.0
        layers.append((random.normal(0, np.sqrt(gain / inputs), (outputs, inputs)), np.zeros(outputs), activation))
    return network_case(
        id, layers=layers, loss="softmax_cross_entropy", reduction="mean", inputs=X, targets=classes, rate=rate
    )


def _load(name: str) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Features, each to mean 0 and variance 1 (a constant one to 0), and class indices."""
    if not available():
        raise BadInput(f"dataset {name!r} needs scikit-learn, which is not installed: {INSTALL}")
    from sklearn import datasets

    loaders = {"iris": datasets.load_iris, "wine": datasets.load_wine, "digits": datasets.load_digits}
    if name not in loaders:
        raise BadInput(f"unknown dataset {name!r}; expected one of {', '.join(loaders)}")
    data = loaders[name]()
    X = np.asarray(data.data, dtype=np.float64)
    spread = X.std(axis=0)
    X = np.where(spread > 0, (X - X.mean(axis=0)) / np.where(spread > 0, spread, 1.0), 0.0)
    return X, np.asarray(data.target, dtype=np.int64)
