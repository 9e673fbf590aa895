"""What of a JAX function is differentiated: its arrays by name, of which the others and what is no array stay fixed."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gradconform.adapters.recording.jax_literals import x64
from gradconform.adapters.recording.jax_values import format_of, in_dtype, is_key
from gradconform.reference.arithmetic.formats import FORMATS
from gradconform.reference.cases import BadInput, unknown
from gradconform.reference.programs.run import Mode, instead_of_arrays

Asked = int | str | Sequence[int | str] | None


@dataclass(frozen=True, eq=False)
class Program:
    """A function of arrays: `f` on `arrays`, of which those at `wrt` are differentiated; its outputs are flat.

    `text` is what the function is of arrays of float64, where that is not `f` itself.
    """

    f: Callable[..., tuple[Any, ...]]
    arrays: tuple[Any, ...]
    wrt: tuple[int, ...]
    names: tuple[str, ...]
    name: str
    mode: Mode = "reverse"
    text: Callable[..., tuple[Any, ...]] | None = None

    @property
    def as_written(self) -> Program:
        """The program that shows its literals in float64."""
        return self if self.text is None else replace(self, f=self.text)

    def derivative(self, given: Sequence[Any], *arrays: Any) -> tuple[Any, ...]:
        """The gradients for cotangents of the real outputs, or these outputs' tangents for those of the arrays."""
        return self.vjp(given, *arrays) if self.mode == "reverse" else self.jvp(given, *arrays)

    def vjp(self, cotangents: Sequence[Any], *arrays: Any) -> tuple[Any, ...]:
        """The gradients by the arrays at `wrt`, for cotangents of the real outputs."""
        return tuple(jax.vjp(self._of_chosen(arrays), *(arrays[i] for i in self.wrt))[1](tuple(cotangents)))

    def jvp(self, tangents: Sequence[Any], *arrays: Any) -> tuple[Any, ...]:
        """The tangents of the real outputs, for those of the arrays at `wrt`."""
        return tuple(jax.jvp(self._of_chosen(arrays), [arrays[i] for i in self.wrt], list(tangents))[1])

    def _of_chosen(self, arrays: Sequence[Any]) -> Callable[..., tuple[Any, ...]]:
        def of(*chosen: Any) -> tuple[Any, ...]:
            given = dict(zip(self.wrt, chosen, strict=True))
            return self.real(self.f(*(given.get(i, a) for i, a in enumerate(arrays))))

        return of

    @staticmethod
    def real(outputs: Sequence[Any]) -> tuple[Any, ...]:
        return tuple(x for x in outputs if not is_key(x) and format_of(x) is not None)


@contextmanager
def types_for(args: Sequence[Any], dtype: str | None) -> Iterator[None]:
    """64-bit types for this block where an argument has one or shall have, as `jax.config` has them else."""
    if dtype is not None and dtype not in FORMATS:
        raise unknown("dtype", dtype, FORMATS)
    given = any(getattr(x, "dtype", None) in (np.float64, np.complex128) for x in jax.tree.leaves(args))
    if dtype == "float64" or (given and dtype is None):
        with x64():
            yield
    else:
        yield


def program_of(
    f: Callable[..., Any],
    args: Sequence[Any],
    wrt: Asked,
    names: Sequence[str] | None,
    dtype: str | None,
    mode: Mode = "reverse",
) -> Program:
    """The function over the arrays of its arguments; every other leaf, such as a name or a function, stays fixed."""
    titles = list(names) if names is not None else _signature(f, len(args))
    if len(titles) != len(args):
        raise BadInput(f"names: got {len(titles)} ({', '.join(titles)}) for {len(args)} arguments; give one for each")
    fixed: list[Any] = []
    arrays: list[Any] = []
    where: list[int] = []
    real: list[tuple[int, int, str]] = []  # the array's number, its argument's, its name
    trees = [jax.tree_util.tree_flatten_with_path(a) for a in args]
    for position, (leaves, _) in enumerate(trees):
        for path, leaf in leaves:
            fixed.append(leaf)
            # A Python float inside of a tree is a setting of a model; alone it is a number that is given.
            if not (isinstance(leaf, jax.Array | np.ndarray | np.generic) or (isinstance(leaf, float) and not path)):
                continue
            array: Any = leaf if hasattr(leaf, "dtype") and is_key(leaf) else jnp.asarray(leaf)
            if not is_key(array) and format_of(array) is not None:
                array = array if dtype is None else in_dtype(array, dtype)
                real.append((len(arrays), position, titles[position] + jax.tree_util.keystr(path)))
            where.append(len(fixed) - 1)
            arrays.append(array)
    chosen = _chosen(real, wrt, titles)
    name = getattr(f, "__name__", type(f).__name__)

    def flat(*given: Any) -> tuple[Any, ...]:
        leaves = list(fixed)
        for i, x in zip(where, given, strict=True):
            leaves[i] = x
        rest = iter(leaves)
        rebuilt = [jax.tree.unflatten(tree, [next(rest) for _ in found]) for found, tree in trees]
        returned = f(*rebuilt)
        outputs = tuple(x for x in jax.tree.leaves(returned) if isinstance(x, jax.Array | np.ndarray | np.generic))
        if not outputs:
            raise BadInput(
                f"{name}: no output is an array of real numbers; expected one to differentiate, got "
                + instead_of_arrays(returned)
            )
        return outputs

    return Program(flat, tuple(arrays), tuple(i for i, _, _ in chosen), tuple(n for _, _, n in chosen), name, mode)


def _chosen(real: Sequence[tuple[int, int, str]], wrt: Asked, titles: Sequence[str]) -> list[tuple[int, int, str]]:
    """The arrays that a gradient is asked for: those of an argument, by its number or name, or one by its own name."""
    asked = [wrt] if isinstance(wrt, int | str) else wrt
    if asked is None:
        found = list(real)
    else:
        names = {*titles, *(name for _, _, name in real)}
        for each in asked:
            if isinstance(each, str) and each not in names:
                raise unknown("argument", each, names)
            if isinstance(each, int) and not 0 <= each < len(titles):
                raise BadInput(f"wrt: got {each}; expected the number of one of {len(titles)} arguments, from 0")
        found = [r for r in real if r[1] in asked or titles[r[1]] in asked or r[2] in asked]
    if not found:
        raise BadInput(
            "no argument is an array of real numbers: there is nothing to differentiate by; expected at least one: "
            "x.astype(float)"
        )
    return found


def _signature(f: Callable[..., Any], count: int) -> list[str]:
    """The names of the positional parameters; numbered where the function does not say."""
    try:
        parameters = list(inspect.signature(f).parameters.values())
    except (TypeError, ValueError):
        parameters = []
    plain = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    return [plain[i] if i < len(plain) else f"argument {i}" for i in range(count)]
