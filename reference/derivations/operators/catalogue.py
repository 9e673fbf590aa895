"""The operators by name."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from gradconform.reference.cases import unknown
from gradconform.reference.derivations.operators import (
    activations,
    elementwise,
    fourier,
    indexing,
    linear_algebra,
    losses,
    normalisations,
    reductions,
    sequences,
    windows,
)
from gradconform.reference.derivations.operators.operator import Operator

FAMILIES = (
    elementwise, activations, losses, reductions, normalisations, windows, sequences, indexing, linear_algebra, fourier
)  # fmt: skip
OPERATORS: Mapping[str, Operator] = MappingProxyType({o.name: o for family in FAMILIES for o in family.OPERATORS})


def operator(name: str) -> Operator:
    """The operator of this name. Raises BadInput, with the nearest names, where there is none."""
    if name not in OPERATORS:
        raise unknown("operator", name, OPERATORS, "(gradconform list operators)")
    return OPERATORS[name]
