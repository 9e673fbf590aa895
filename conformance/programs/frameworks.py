"""Which framework a call is of: that of the arrays among its arguments, or of the function."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from gradconform.conformance.programs import program_rows
from gradconform.reference.cases import BadInput


def framework_of(f: Any, args: Iterable[Any], what: str = "arguments") -> str:
    """The framework whose arrays are among the arguments, or whose module f is."""
    given = list(leaves(args))
    of_arrays = dict.fromkeys(_frameworks(type(x).__module__ for x in given))
    if len(of_arrays) > 1:
        raise BadInput(f"{what} of {' and '.join(of_arrays)}: expected those of one framework")
    for framework in (*of_arrays, *_frameworks(c.__module__ for c in type(f).__mro__)):
        return framework
    kinds = ", ".join(sorted({type(x).__name__ for x in given}))
    raise BadInput(
        f"{what} of {kinds or 'no kind: none was given'}; expected at least one PyTorch tensor or JAX array: give "
        "torch.tensor(…) or jnp.asarray(…); another framework is judged through an adapter, by gc.check"
    )


def _frameworks(modules: Iterable[str]) -> Iterator[str]:
    """The frameworks that verify knows, of those that these modules are of."""
    for module in modules:
        root = module.split(".")[0]
        framework = "jax" if root == "jaxlib" else root
        if framework in program_rows.RECORDERS:
            yield framework


def leaves(x: Any) -> Iterable[Any]:
    """The arrays and whatever else containers hold, one by one."""
    if isinstance(x, Mapping):
        for value in x.values():
            yield from leaves(value)
    elif isinstance(x, list | tuple):
        for value in x:
            yield from leaves(value)
    elif is_dataclass(x) and not isinstance(x, type):
        for field in fields(x):
            yield from leaves(getattr(x, field.name))
    elif x is not None:
        yield x
