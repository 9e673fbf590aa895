"""PyTorch's `_foreach_` operations: the same operation on each tensor of a list, which is how they are recorded.

On the CPU their kernels are this loop (aten/src/ATen/native/ForeachOpsKernels.cpp).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch._ops import OpOverload

PREFIX = "_foreach_"
#: Operations whose scalars are keywords of the operation on one tensor.
_BY_KEYWORD = {"addcmul": "value", "addcdiv": "value"}
#: Operations on one tensor that are called otherwise.
_CALLED: Mapping[str, Any] = {"norm": torch.linalg.vector_norm}


def one_by_one(func: OpOverload, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """What an operation on lists does, by operations on their tensors; None where it changes these in place."""
    name = func._schema.name.partition("::")[2].removeprefix(PREFIX)
    base, in_place = name.removesuffix("_"), name.endswith("_")
    given = [*args, *(kwargs[a.name] for a in func._schema.arguments[len(args) :] if a.name in kwargs)]
    named = [a.name for a in func._schema.arguments if a.name in kwargs or not a.kwarg_only][: len(given)]
    length = next(len(x) for x in given if isinstance(x, list | tuple))
    found = []
    for n in range(length):
        positional, keywords = [], {}
        for argument, value in zip(named, given, strict=True):
            one = value[n] if isinstance(value, list | tuple) else value
            if argument in ("value", "scalars") and base in _BY_KEYWORD:
                keywords[_BY_KEYWORD[base]] = one
            elif argument in kwargs:
                keywords[argument] = one
            else:
                positional.append(one)
        if in_place and hasattr(Tensor, name):
            getattr(Tensor, name)(*positional, **keywords)
            continue
        made = (_CALLED.get(base) or getattr(torch, base))(*positional, **keywords)
        found.append(positional[0].copy_(made) if in_place else made)
    return None if in_place else found
