"""What an operator of the catalogue is: a definition by hand, and as data where and at what it is to be tried."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from gradconform.reference.programs.functions import FUNCTIONS, REAL, Interval

Family = Literal[
    "elementwise", "special", "activation", "loss", "reduction", "cumulative", "softmax", "normalisation", "pooling",
    "convolution", "attention", "recurrent", "indexing", "linear algebra", "fourier", "interpolation",
]  # fmt: skip
#: Numbers of an operand, as nested lists.
Values = Any
DTYPES = ("float64", "float32", "bfloat16", "float16")


@dataclass(frozen=True)
class Operand:
    """An array that an operator is given: where its numbers lie, and its shape; None: any, element by element.

    Of an "index" the numbers are whole, from 0 to below `domain[1]`; of a "mask" they are true or false. Neither is
    differentiated by, nor is a "constant", which frameworks take for none of their arguments' gradients.
    """

    name: str = "x"
    domain: Interval = REAL
    shape: tuple[int, ...] | None = None
    kind: Literal["real", "complex", "constant", "index", "mask"] = "real"
    #: Which numbers a random case draws: over the domain by binades, or ordinary ones of size 1.
    draws: Literal["binades", "ordinary", "positive", "distinct", "definite"] = "ordinary"


@dataclass(frozen=True, eq=False)
class Operator:
    """An operator: its name, its family, what it is, and where it is to be tried.

    `definition(o, *operands, **parameters)` is a formula over the recording arithmetic `o`. It is the truth of the
    operator, in value and derivatives, and None where there is none by hand: then the program's own forward record is.
    `parameters` are the sets of parameters that it is tried with. `kinks` are arguments at which it has several slopes,
    `singularities` those at which it has none. `edges` are operands at which it is tried besides, by what these are.
    `row` is the row of the table of functions that an elementwise operator is.
    """

    name: str
    family: Family
    definition: Callable[..., Any] | None
    source: str
    operands: tuple[Operand, ...]
    parameters: tuple[Mapping[str, Any], ...] = ({},)
    kinks: tuple[float, ...] = ()
    singularities: tuple[float, ...] = ()
    edges: Mapping[str, Sequence[Values]] = field(default_factory=dict)
    row: str = ""
    dtypes: tuple[str, ...] = DTYPES

    @property
    def elementwise(self) -> bool:
        return all(x.shape is None for x in self.operands)

    @property
    def unary(self) -> bool:
        """Whether it is a function of one number alone, with one set of parameters or none."""
        return self.elementwise and len(self.operands) == 1


def of_row(
    name: str,
    family: Family,
    *,
    kinks: tuple[float, ...] = (),
    singularities: tuple[float, ...] = (),
    edges: Mapping[str, Sequence[Values]] | None = None,
) -> Operator:
    """The operator that is a row of the table of functions, in value and derivatives."""
    of = FUNCTIONS[name]
    operands = tuple(Operand(n, d, draws="binades") for n, d in zip("xyz", of.domain, strict=False))
    bounds = tuple(x for d in of.domain for x in d if math.isfinite(x))
    return Operator(
        name, family, lambda o, *x: o.map(of.name, *x), of.source, operands,
        kinks=kinks, singularities=singularities or (bounds if of.arguments == 1 else ()), edges=edges or {},
        row=of.name,
    )  # fmt: skip
