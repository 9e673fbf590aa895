"""What a function stands for, by a formula of its own: the truth that a recorded run is held against."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from gradconform.reference.cases import BadInput
from gradconform.reference.programs.recorded_gradient import gradient
from gradconform.reference.programs.recording import Array, Recording
from gradconform.reference.programs.run import Defined, Run, Tensor, weights

#: A formula over the recording arithmetic and the function's arguments.
Definition = Callable[..., Any]


def defined(
    definition: Definition,
    run: Run,
    args: Sequence[Any],
    conjugated: bool,
    ulps: float = 0.0,
    recording: Callable[[], Recording] = Recording,
) -> Defined:
    """The record of a definition on the arguments of a run, whose every floating-point argument is differentiated.

    The definition is given arrays of the recording arithmetic for these, NumPy arrays for others, and what is no array
    as it is. Of complex numbers both parts stand along a last axis; where they are `conjugated` the run's own are the
    conjugates.

    Raises BadInput where the definition's results are not as many, or not of the shapes, that the run's outputs are.
    """
    o = recording()
    ids: list[Array] = []

    def given(tensor: Tensor) -> Array:
        x = o.argument(run.forward.held[tensor.ids])
        ids.append(x)
        return _conjugate(x) if conjugated and tensor.complex else x

    rest = iter(run.arguments)
    operands = [_operand(x, rest, given) for x in args]
    if next(rest, None) is not None:
        raise BadInput("definition: some argument is an array inside of what no definition is given; give it alone")
    found = definition(o, *operands)
    outputs = [o.number(y) for y in (found if isinstance(found, tuple | list) else [found])]
    complexes = [t.complex for t in run.named] or [False] * len(outputs)
    if conjugated and len(complexes) == len(outputs):
        outputs = [_conjugate(y) if c else y for y, c in zip(outputs, complexes, strict=True)]
    if (wanted := [y.shape for y in run.outputs]) != (got := [y.shape for y in outputs]):
        raise BadInput(f"definition: gives arrays of the shapes {got}; expected the function's, {wanted}")
    o.settle()
    return Defined(o.record, tuple(x.ids for x in ids), tuple(y.ids for y in outputs), ulps)


def gradient_of(definition: Definition, seed: int) -> Definition:
    """The gradient by every array of a definition, as a definition: of its results' sum with the recorders' weights."""

    def of(o: Recording, *operands: Any) -> list[Array]:
        found = definition(o, *operands)
        outputs = [o.number(y) for y in (found if isinstance(found, tuple | list) else [found])]
        arrays = [x for x in _flat(operands) if isinstance(x, Array)]
        return gradient(o, outputs, weights(seed, [y.shape for y in outputs]), arrays)

    return of


def _operand(x: Any, rest: Iterator[Tensor], given: Callable[[Tensor], Array]) -> Any:
    if isinstance(x, list | tuple):
        return type(x)(_operand(each, rest, given) for each in x)
    if isinstance(x, Mapping):
        return {k: _operand(each, rest, given) for k, each in x.items()}
    if not hasattr(x, "dtype"):
        return x
    if any(kind in str(x.dtype) for kind in ("float", "complex")):
        tensor = next(rest, None)
        if tensor is None:
            raise BadInput("definition: expected that every floating-point argument is differentiated; leave wrt out")
        return given(tensor)
    return np.asarray(x)


def _flat(x: Any) -> Iterator[Any]:
    if isinstance(x, list | tuple):
        for each in x:
            yield from _flat(each)
    elif isinstance(x, Mapping):
        yield from _flat(list(x.values()))
    else:
        yield x


def _conjugate(x: Array) -> Array:
    return x.o.stack([x[..., 0], -x[..., 1]], -1)
