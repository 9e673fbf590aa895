"""`op_db`, PyTorch's own sample inputs in its wheel, as a further source of cases for operators of the catalogue."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch

from gradconform.adapters.operators_torch import NAMES
from gradconform.reference.cases import BadInput


@dataclass(frozen=True, eq=False)
class Sample:
    """The operands of one sample; or why it is none of the catalogue's operator."""

    number: int
    operands: tuple[torch.Tensor, ...]
    why: str = ""


def samples(operator: str, operands: int, dtype: str) -> Iterator[Sample]:
    """The samples of the operator that PyTorch calls as NAMES says, in a dtype; of one that `op_db` has not, none.

    Those with options, with numbers in place of tensors, or of another dtype are not the catalogue's operator. Raises
    BadInput where `op_db` cannot be imported.
    """
    number = 0
    for of in _by_name().get(NAMES.get(operator, ""), ()):
        wanted = getattr(torch, dtype)
        if wanted not in of.supported_backward_dtypes(torch.device("cpu").type):
            continue
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            found = list(of.sample_inputs("cpu", wanted, requires_grad=True))
        for sample in found:
            number += 1
            arrays = (sample.input, *sample.args)
            if sample.kwargs:
                yield Sample(number, (), f"it has the options {', '.join(sample.kwargs)}")
            elif not all(isinstance(x, torch.Tensor) and x.dtype == wanted for x in arrays):
                yield Sample(number, (), "not all that it is given are tensors of the dtype")
            elif len(arrays) != operands:
                yield Sample(number, (), f"it is given {len(arrays)} tensors and not {operands}")
            else:
                yield Sample(number, tuple(x.detach() for x in arrays))


@cache
def _by_name() -> dict[str, list[Any]]:
    """What `op_db` has, by its names below `torch` and their aliases."""
    try:
        from torch.testing._internal.common_methods_invocations import op_db
    except ImportError as error:
        raise BadInput(f"PyTorch's op_db: {error}; python -m pip install expecttest pytest") from error
    found: dict[str, list[Any]] = {}
    for of in op_db:
        for name in dict.fromkeys((of.name, *(alias.name for alias in of.aliases))):
            found.setdefault(name, []).append(of)
    return found
