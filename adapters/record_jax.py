"""One run of a JAX function and of its vjp, recorded: what `reference/programs` reads as a `Run`.

The jaxpr of the function and that of its vjp are run operation by operation on concrete numbers (`jax_program`,
`jax_operations`); what is judged comes from JAX's own eager or compiled call.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from gradconform.adapters.jax_literals import texts, x64
from gradconform.adapters.jax_movement import bind
from gradconform.adapters.jax_program import closed
from gradconform.adapters.jax_values import Call, Recorder, Value, format_of, is_key
from gradconform.reference.formats import FORMATS, Format
from gradconform.reference.programs.record import Ids, Numbers, Record, Step
from gradconform.reference.programs.run import NotRecorded, Replay, Rule, Run, Tensor

StopGradient = Literal["through", "intended"]
ROUTES = ("eager", "jit")


@dataclass(frozen=True, eq=False)
class _Program:
    """A function of arrays: `f` on `arrays`, of which those at `wrt` are differentiated; its outputs are flat."""

    f: Callable[..., tuple[Any, ...]]
    arrays: tuple[Any, ...]
    wrt: tuple[int, ...]
    names: tuple[str, ...]
    name: str

    def vjp(self, cotangents: Sequence[Any], *arrays: Any) -> tuple[Any, ...]:
        """The gradients by the arrays at `wrt`, for cotangents of the real outputs."""

        def of(*chosen: Any) -> tuple[Any, ...]:
            given = dict(zip(self.wrt, chosen, strict=True))
            return self.real(self.f(*(given.get(i, a) for i, a in enumerate(arrays))))

        return tuple(jax.vjp(of, *(arrays[i] for i in self.wrt))[1](tuple(cotangents)))

    @staticmethod
    def real(outputs: Sequence[Any]) -> tuple[Any, ...]:
        return tuple(x for x in outputs if not is_key(x) and format_of(x) is not None)


def record(
    f: Callable[..., Any],
    args: Sequence[Any],
    *,
    wrt: int | Sequence[int] | None = None,
    names: Sequence[str] | None = None,
    cotangents: Any = None,
    seed: int = 0,
    routes: Sequence[str] = ("eager",),
    stop_gradient: StopGradient = "through",
) -> Run:
    """One run of `f(*args)` and of its vjp, as the program that JAX runs operation by operation.

    Arguments are arrays or pytrees of them; integers, and what is no array, are constants. `wrt` are the positions of
    the arguments that a gradient is asked for, every real one by default; `names` name the arguments, as the function's
    signature does by default. `cotangents`, a pytree like the outputs, are random with full significands by default,
    also for a scalar. `routes` are "eager" and "jit", whose gradients are `returned`. 64-bit types are on where an
    argument is float64, and else as the caller has them. With stop_gradient="intended" what the program stops is data
    for the derivative too.

    Raises NotRecorded where an operation is met that no rule records, and ValueError for arguments that are not usable.

        >>> run = record(lambda x: jnp.sum(jnp.sin(x)), [jnp.ones(3)], routes=("eager", "jit"))
        >>> [a.name for a in run.arguments], [s.name for s in run.forward.steps]
        (['x'], ['sin', 'sum of products'])
    """
    unknown = sorted(set(routes) - set(ROUTES))
    if unknown:
        raise ValueError(f"routes: got {', '.join(unknown)}; expected some of {', '.join(ROUTES)}")
    with _types_for(args):
        program = _flat(f, args, wrt, names)
        traced, backward_shapes = _traced(program)
        return _recorded(program, traced, backward_shapes, cotangents, seed, routes, stop_gradient)


# What is run ----------------------------------------------------------------------------------------------------------


@contextmanager
def _types_for(args: Sequence[Any]) -> Iterator[None]:
    """64-bit types for this block where an argument has one, as `jax.config` has them else."""
    wide = any(getattr(x, "dtype", None) == np.float64 for x in jax.tree.leaves(args))
    if not wide:
        yield
        return
    with x64():
        yield


def _flat(f: Callable[..., Any], args: Sequence[Any], wrt: int | Sequence[int] | None,
          names: Sequence[str] | None) -> _Program:  # fmt: skip
    """The function over the arrays of its arguments; every other leaf, such as a name or a function, stays fixed."""
    positions = range(len(args)) if wrt is None else [wrt] if isinstance(wrt, int) else list(wrt)
    titles = list(names) if names is not None else _signature(f, len(args))
    if len(titles) != len(args) or not all(-len(args) <= p < len(args) for p in positions):
        raise ValueError(f"{len(args)} arguments, but names {titles} and wrt {list(positions)}")
    asked = {p % len(args) for p in positions}
    fixed: list[Any] = []
    arrays: list[Any] = []
    chosen: list[int] = []
    called: list[str] = []
    where: list[int] = []
    trees = [jax.tree_util.tree_flatten_with_path(a) for a in args]
    for position, (leaves, _) in enumerate(trees):
        for path, leaf in leaves:
            fixed.append(leaf)
            if not _is_array(leaf):
                continue
            array = leaf if is_key(leaf) and hasattr(leaf, "dtype") else jnp.asarray(leaf)
            if position in asked and not is_key(array) and format_of(array) is not None:
                chosen.append(len(arrays))
                called.append(titles[position] + jax.tree_util.keystr(path))
            where.append(len(fixed) - 1)
            arrays.append(array)
    if not chosen:
        raise ValueError("no argument is an array of real numbers: there is nothing to differentiate by")

    def flat(*given: Any) -> tuple[Any, ...]:
        leaves = list(fixed)
        for i, x in zip(where, given, strict=True):
            leaves[i] = x
        rest = iter(leaves)
        rebuilt = [jax.tree.unflatten(tree, [next(rest) for _ in found]) for found, tree in trees]
        return tuple(x for x in jax.tree.leaves(f(*rebuilt)) if _is_array(x))

    return _Program(flat, tuple(arrays), tuple(chosen), tuple(called), getattr(f, "__name__", type(f).__name__))


def _is_array(x: Any) -> bool:
    return isinstance(x, jax.Array | np.ndarray | np.generic | float | int) and not isinstance(x, bool)


def _signature(f: Callable[..., Any], count: int) -> list[str]:
    """The names of the positional parameters; numbered where the function does not say."""
    try:
        parameters = list(inspect.signature(f).parameters.values())
    except (TypeError, ValueError):
        parameters = []
    plain = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    return [plain[i] if i < len(plain) else f"argument {i}" for i in range(count)]


def _traced(program: _Program) -> tuple[Any, Any]:
    """The jaxpr of the function, and the shapes of its real outputs."""
    try:
        jaxpr, shapes = jax.make_jaxpr(lambda *a: program.real(program.f(*a)), return_shape=True)(*program.arrays)
    except (jax.errors.ConcretizationTypeError, jax.errors.TracerArrayConversionError) as error:
        raise NotRecorded(
            f"{program.name}: the function reads a number in Python, so that JAX has no program of it "
            f"({str(error).splitlines()[0]}); use jax.lax.cond, jnp.where or a static argument"
        ) from error
    if not shapes:
        raise ValueError(f"{program.name}: no output is an array of real numbers")
    return jaxpr, shapes


# The run --------------------------------------------------------------------------------------------------------------


def _recorded(program: _Program, traced: Any, shapes: Sequence[Any], cotangents: Any, seed: int,
              routes: Sequence[str], stop_gradient: StopGradient) -> Run:  # fmt: skip
    random = np.random.default_rng(seed)
    given = _cotangents(shapes, cotangents, random)
    forward = Recorder(texts=texts(program.f, program.arrays), intended=stop_gradient == "intended")
    arguments = [_operand(forward, a, i in program.wrt) for i, a in enumerate(program.arrays)]
    outputs = closed(forward, traced, arguments)

    backward = Recorder(texts=texts(program.vjp, [given, *program.arrays]))
    incoming = [backward.argument(c) for c in given]
    again = [_operand(backward, a, i in program.wrt) for i, a in enumerate(program.arrays)]
    results = closed(backward, jax.make_jaxpr(program.vjp)(given, *program.arrays), [*incoming, *again])

    outs, grads = [_ids(o) for o in outputs], [_ids(r) for r in results]
    tensors = tuple(
        Tensor(name, _ids(arguments[i]), _format(program.arrays[i]))
        for name, i in zip(program.names, program.wrt, strict=True)
    )
    return Run(
        program.name,
        _needed(forward.record, outs),
        tensors,
        tuple(outs),
        _needed(backward.record, grads),
        tuple(_ids(again[i]) for i in program.wrt),
        tuple(_ids(c) for c in incoming),
        tuple(grads),
        {route: _gradients(program, route, given, program.arrays) for route in routes},
        tuple(Rule(c.name, c.line, partial(_alone, c, seed)) for c in forward.calls),
        tuple(_replays(program, given, random)),
        tuple(dict.fromkeys([*forward.notes, *backward.notes])),
        tuple(dict.fromkeys([*forward.foreign, *backward.foreign])),
    )


def _operand(to: Recorder, x: Any, asked: bool) -> Value:
    """An array argument; one that no gradient is asked for is data, but its numbers are its own."""
    value = to.argument(x)
    return value if asked else Value(value.held, value.ids)


def _ids(value: Value) -> Ids:
    assert value.ids is not None
    return value.ids


def _format(x: Any) -> Format:
    return FORMATS[str(x.dtype)]


def _cotangents(shapes: Sequence[Any], given: Any, random: np.random.Generator) -> tuple[Any, ...]:
    """The outputs' cotangents: those given, or random ones of either sign with full significands in ±[1, 2)."""
    if given is None:
        return tuple(_random(s.shape, s.dtype, random) for s in shapes)
    leaves = [x for x in jax.tree.leaves(given) if getattr(x, "dtype", None) != jax.dtypes.float0]
    if [np.shape(x) for x in leaves] != [s.shape for s in shapes]:
        raise ValueError(
            f"cotangents of shapes {[np.shape(x) for x in leaves]}; the real outputs have {[s.shape for s in shapes]}"
        )
    return tuple(jnp.asarray(x, dtype=s.dtype) for x, s in zip(leaves, shapes, strict=True))


def _random(shape: tuple[int, ...], dtype: Any, random: np.random.Generator) -> Any:
    return jnp.asarray(random.uniform(1.0, 2.0, shape) * random.choice([-1.0, 1.0], shape), dtype=dtype)


def _numbers(x: Any) -> Numbers:
    found: Numbers = np.asarray(x).astype(np.float64)
    return found


def _gradients(program: _Program, route: str, cotangents: Sequence[Any], arrays: Sequence[Any]) -> list[Numbers]:
    """What JAX returns by a route."""
    run = jax.jit(program.vjp) if route == "jit" else program.vjp
    return [_numbers(x) for x in run(tuple(cotangents), *arrays)]


def _replays(program: _Program, cotangents: Sequence[Any], random: np.random.Generator) -> Iterator[Replay]:
    """The run once more at displaced arguments with other cotangents, and where it was with eight times its own."""
    elsewhere = list(program.arrays)
    for i in program.wrt:
        x = program.arrays[i]
        step = max(2.0**-10, 4 * 2.0 ** -_format(x).precision)
        by = 1 + step * random.uniform(0.5, 1.0, x.shape) * random.choice([-1.0, 1.0], x.shape)
        elsewhere[i] = jnp.asarray(_numbers(x) * by, dtype=x.dtype)
    others = [_random(c.shape, c.dtype, random) for c in cotangents]
    for arrays, given in ((elsewhere, others), (program.arrays, [c * 8 for c in cotangents])):
        yield Replay(
            [_numbers(arrays[i]) for i in program.wrt],
            [_numbers(c) for c in given],
            [_numbers(x) for x in program.real(program.f(*arrays))],
            _gradients(program, "eager", given, arrays),
        )


def _alone(call: Call, seed: int) -> Run:
    """A custom rule as a function of its own, of the real operands that it had."""
    real = [i for i, x in enumerate(call.operands) if not is_key(x) and format_of(x) is not None]

    def rule(*given: Any) -> list[Any]:
        operands = list(call.operands)
        for i, x in zip(real, given, strict=True):
            operands[i] = x
        return list(bind(call.equation, operands))

    rule.__name__ = call.name
    names = [f"{call.name}, operand {i}" for i in real]
    return record(rule, [call.operands[i] for i in real], names=names, seed=seed)


# What of a record decides its results ---------------------------------------------------------------------------------


def _needed(record: Record, results: Sequence[Ids]) -> Record:
    """The record without the steps that none of the results depends on; a vjp computes outputs that it does not use."""
    live = np.zeros(record.size, dtype=np.bool_)
    for ids in results:
        live[ids] = True
    kept: list[Step] = []
    for step in reversed(record.steps):
        if not live[step.out].any():
            continue
        kept.append(step)
        for number in np.unique(step.decided).tolist() if step.decided is not None else ():
            live[_compared(record, number)] = True
        forms = [step.definition, *step.forms] if step.definition is not None else []
        for part in [step, *(s for form in forms for s in form.steps)]:
            for ids in part.operands:
                live[ids] = True
        for form in forms:
            live[form.results] = True
    record.steps[:] = kept[::-1]
    return record


def _compared(record: Record, number: int) -> list[int]:
    """The numbers that a decision compares."""
    decision = record.decisions[number]
    return [decision.left, decision.right, *(i for part in decision.parts for i in _compared(record, part))]
