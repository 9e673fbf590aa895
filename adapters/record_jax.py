"""One run of a JAX function and of its vjp, recorded: what `reference/programs` reads as a `Run`.

The jaxpr of the function and that of its vjp are run operation by operation on concrete numbers (`jax_program`,
`jax_operations`); what is judged comes from JAX's own eager or compiled call.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from gradconform.adapters.recording.complexes import Complexes
from gradconform.adapters.recording.jax_arguments import Program, program_of, types_for
from gradconform.adapters.recording.jax_literals import texts
from gradconform.adapters.recording.jax_movement import bind
from gradconform.adapters.recording.jax_program import closed
from gradconform.adapters.recording.jax_reading import UNREADABLE, traced
from gradconform.adapters.recording.jax_values import (
    Call,
    Recorder,
    Value,
    array_of,
    format_of,
    is_complex,
    is_key,
    numbers,
    shape_of,
)
from gradconform.adapters.recording.random_state import RandomState
from gradconform.reference.arithmetic.formats import Format
from gradconform.reference.cases import BadInput, unknown
from gradconform.reference.programs.record import Ids, Numbers, Record, Step
from gradconform.reference.programs.run import (
    BATCHED,
    DRAWS,
    Mode,
    NotRecorded,
    Replay,
    Rule,
    Run,
    Tensor,
    Unsupported,
    numbered,
)

StopGradient = Literal["through", "intended"]
FRAMEWORK = "jax"
ROUTES = ("eager", "jit")
#: What the gradient by complex numbers is.
CONVENTION = "complex z = x + iy: JAX's gradient of a real L is ∂L/∂x − i·∂L/∂y"
#: What is said of real numbers that a program reads.
READ = "a real number is read in Python, as int() does: what becomes of it there is not in the record"
#: What JAX says where there is no derivative in the mode that is asked for.
_LACKING = ("forward-mode differentiation", "everse-mode differentiation", "ifferentiation rule for", "support JVP")


def record(
    f: Callable[..., Any],
    args: Sequence[Any],
    *,
    wrt: int | str | Sequence[int | str] | None = None,
    names: Sequence[str] | None = None,
    dtype: str | None = None,
    cotangents: Any = None,
    seed: int = 0,
    routes: Sequence[str] = ("eager",),
    stop_gradient: StopGradient = "through",
    replays: bool = True,
    mode: Mode = "reverse",
    tangents: Any = None,
    batched: bool = False,
    values: bool = False,
    text: Callable[..., tuple[Any, ...]] | None = None,
) -> Run:
    """One run of `f(*args)` and of its vjp or jvp, as the program that JAX runs operation by operation.

    `args` are arrays or pytrees of them, cast to `dtype` where they are real; integers, and what is no array, are
    constants. `wrt` says which arguments a gradient is asked for, by number or name: by default all real ones. `names`
    name the arguments, as the function's signature does by default; a leaf of a tree is named by its path.
    `cotangents`, a tree like the outputs, are random with full significands by default, also for a scalar. With
    mode="forward" the outputs' tangents are asked for, and `tangents` are those of the arguments that `wrt` says.
    `routes` are "eager" and "jit", whose gradients are `returned`. 64-bit types are on where an argument is float64,
    else as JAX has them. With stop_gradient="intended" what the program stops is constant for the derivative too.
    `batched` asks for the gradients under `vmap` as well, and `values` for the outputs by every route. `text` is what f
    is of its arrays in float64, where it cannot be run so itself: it shows the literals.

    Raises NotRecorded where an operation is met that no rule records, Unsupported where JAX has no derivative in this
    mode, and BadInput for arguments that cannot be used or a function that JAX cannot run or differentiate.

        >>> run = record(lambda x: jnp.sum(jnp.sin(x)), [jnp.ones(3)], routes=("eager", "jit"))
        >>> [a.name for a in run.arguments], [s.name for s in run.forward.steps]
        (['x'], ['sin', 'sum of products'])
    """
    for route in routes:
        if route not in ROUTES:
            raise unknown("route", route, ROUTES)
    with types_for(args, dtype):
        state = RandomState()
        program = _seeded(replace(program_of(f, args, wrt, names, dtype, mode), text=text), state)
        forward, shapes = _traced(program)
        random = np.random.default_rng(seed)
        if mode == "reverse":
            given = _given(shapes, cotangents, random, "cotangents", "real outputs")
        else:
            given = _given(
                [program.arrays[i] for i in program.wrt], tangents, random, "tangents", "arguments asked for"
            )
        backward = _traced_derivative(program, given)
        run = _recorded(program, (forward, backward), len(shapes), given, stop_gradient, seed, types=(args, dtype))
        return replace(
            run,
            notes=(*run.notes, *([DRAWS] if state.moved() else [])),
            returned={route: _returned(program, route, given, program.arrays) for route in routes},
            replays=tuple(_replays(program, run, (forward, backward), given, random)) if replays else (),
            varied={BATCHED: _batched(program, given)} if batched else {},
            values={route: _values(program, route) for route in routes} if values else {},
            named=_tangents(forward, run.outputs) if values else (),
        )


def _seeded(program: Program, state: RandomState) -> Program:
    """The program, which draws the same numbers of NumPy and Python whenever it is run."""

    def f(*arrays: Any) -> tuple[Any, ...]:
        state.restore()
        return program.f(*arrays)

    return replace(program, f=f)


# What is run ----------------------------------------------------------------------------------------------------------


def _traced(program: Program) -> tuple[Any, Any]:
    """The jaxpr of the function, and the shapes of its real outputs."""
    with _of_the_user(program):
        jaxpr, shapes = traced(lambda *a: program.real(program.f(*a)), program.arrays)
    if not shapes:
        raise BadInput(f"{program.name}: no output is an array of real numbers; expected one to differentiate")
    return jaxpr, shapes


def _traced_derivative(program: Program, given: Sequence[Any]) -> Any:
    """The jaxpr of the function's vjp or jvp."""
    with _of_the_user(program):
        try:
            return traced(program.derivative, [tuple(given), *program.arrays])[0]
        except Exception as error:
            if any(text in str(error) for text in _LACKING):
                raise Unsupported(f"JAX has no {program.mode} mode here: {str(error).splitlines()[0]}") from error
            raise


@contextmanager
def _of_the_user(program: Program) -> Iterator[None]:
    """What the function raises while JAX traces it, in words."""
    try:
        yield
    except UNREADABLE as error:
        raise NotRecorded(
            f"{program.name}: the function reads a number in Python, so that JAX has no program of it "
            f"({str(error).splitlines()[0]}); use jax.lax.cond, jnp.where or a static argument"
        ) from error
    except (NotRecorded, Unsupported, BadInput):
        raise
    except Exception as error:  # whatever the user's function raises
        raise BadInput(f"{program.name} raised {type(error).__name__} in JAX: {str(error).splitlines()[0]}") from error


# The run --------------------------------------------------------------------------------------------------------------


def _recorded(
    program: Program, jaxprs: tuple[Any, Any], count: int, given: Sequence[Any], stop_gradient: str, seed: int,
    types: tuple[Sequence[Any], str | None], times: int = 1,
) -> Run:  # fmt: skip
    """Both records, without what JAX returned, of a function with so many outputs.

    Loops whose end numbers decided take so many times as many rounds.
    """
    forward_jaxpr, backward_jaxpr = jaxprs
    literals = texts(program.as_written.f, program.arrays, forward_jaxpr)
    forward = Recorder(texts=literals, intended=stop_gradient == "intended", times=times)
    arguments, given_ids = _operands(forward, program)
    outputs = [_ids(o) if program.mode == "forward" else _conjugated(forward, _ids(o), o.held)
               for o in _unread(forward, closed(forward, forward_jaxpr, arguments), count)]  # fmt: skip

    literals = texts(program.as_written.derivative, [tuple(given), *program.arrays], backward_jaxpr)
    backward = Recorder(texts=literals, differentiated=False, times=times)
    incoming = [backward.argument(c) for c in given]
    again, given_again = _operands(backward, program)
    asked = len(program.wrt) if program.mode == "reverse" else count
    results = [_ids(r) for r in _unread(backward, closed(backward, backward_jaxpr, [*incoming, *again]), asked)]

    def further(times: int) -> Run:
        with types_for(*types):
            return _recorded(program, jaxprs, count, given, stop_gradient, seed, types, times)

    approximated, iterated = ([*getattr(forward, of), *getattr(backward, of)] for of in ("approximated", "iterated"))
    return Run(
        name=program.name,
        forward=_needed(forward, outputs),
        arguments=tuple(
            Tensor(name, given_ids[i], _format(program.arrays[i]), is_complex(program.arrays[i]))
            for name, i in zip(program.names, program.wrt, strict=True)
        ),
        outputs=tuple(outputs),
        backward=_needed(backward, results),
        given=tuple(given_again[i] for i in program.wrt),
        cotangents=tuple(_ids(c) for c in incoming),
        results=tuple(results),
        returned={},
        rules=tuple(Rule(c.name, c.line, partial(_alone, c, seed, program.mode)) for c in forward.calls),
        notes=tuple(dict.fromkeys([*forward.notes, *backward.notes, *_convention(program)])),
        foreign=tuple(dict.fromkeys([*forward.foreign, *backward.foreign])),
        approximated=tuple(dict.fromkeys([*approximated, *iterated])),
        further=further if iterated and not approximated else None,
        steered=forward.steered or backward.steered,
        tangents=_tangents(forward_jaxpr, outputs) if program.mode == "forward" else (),
    )


def _unread(to: Recorder, results: Sequence[Value], count: int) -> Sequence[Value]:
    """The first results, which are the program's; the others it read in Python, and went its way by them."""
    for read in results[count:]:
        to.settle(read.decided)
        if read.ids is not None and read.depends:
            to.foreign.append(READ)
    return results[:count]


def _tangents(jaxpr: Any, outputs: Sequence[Ids]) -> tuple[Tensor, ...]:
    of = [v.aval for v in jaxpr.jaxpr.outvars[: len(outputs)]]
    return numbered(outputs, [_format(x) for x in of], [is_complex(x) for x in of])


def _operands(to: Recorder, program: Program) -> tuple[list[Value], dict[int, Ids]]:
    """The array arguments, and the ids of what they are functions of.

    One that no gradient is asked for is data, but its numbers are its own. Of complex numbers z JAX's gradient is, part
    by part, that by their conjugates: these are what is given, and z is computed from them, which rounds nothing. A
    tangent is by z.
    """
    values, given = [], {}
    for i, x in enumerate(program.arrays):
        turned = is_complex(x) and program.mode == "reverse"
        value = to.argument(jnp.conj(x) if turned else x)
        ids = value.ids
        if ids is not None:
            given[i] = ids
            ids = _conjugated(to, ids, x) if turned else ids
        values.append(Value(np.asarray(x) if is_complex(x) else value.held, ids, None, i in program.wrt))
    return values, given


def _conjugated(to: Recorder, ids: Ids, x: Any) -> Ids:
    """Complex numbers with the other sign of their imaginary part: an output's cotangent is by these, as JAX has it."""
    return Complexes(to.record, _format(x)).conjugate(ids) if is_complex(x) else ids


def _convention(program: Program) -> tuple[str, ...]:
    asked = program.mode == "reverse" and any(is_complex(program.arrays[i]) for i in program.wrt)
    return (CONVENTION,) if asked else ()


def _ids(value: Value) -> Ids:
    assert value.ids is not None
    return value.ids


def _format(x: Any) -> Format:
    found = format_of(x)
    assert found is not None
    return found


def _given(shapes: Sequence[Any], given: Any, random: np.random.Generator, what: str, of: str) -> tuple[Any, ...]:
    """Cotangents or tangents: those given, or random ones of either sign with full significands in ±[1, 2)."""
    if given is None:
        return tuple(_random(s.shape, s.dtype, random) for s in shapes)
    leaves = [x for x in jax.tree.leaves(given) if getattr(x, "dtype", None) != jax.dtypes.float0]
    if len(leaves) == len(shapes):  # both parts of complex numbers may be given along a last axis
        leaves = [array_of(x, s) if is_complex(s) and np.isrealobj(x) and np.shape(x) == (*s.shape, 2) else x
                  for x, s in zip(leaves, shapes, strict=True)]  # fmt: skip
    if [np.shape(x) for x in leaves] != [s.shape for s in shapes]:
        raise BadInput(f"{what} of shapes {[np.shape(x) for x in leaves]}; the {of} have {[s.shape for s in shapes]}")
    return tuple(jnp.asarray(x, dtype=s.dtype) for x, s in zip(leaves, shapes, strict=True))


def _random(shape: tuple[int, ...], dtype: Any, random: np.random.Generator) -> Any:
    like = jax.ShapeDtypeStruct(shape, dtype)  # type: ignore[no-untyped-call]
    shape = (*shape, 2) if is_complex(like) else shape
    return array_of(random.uniform(1.0, 2.0, shape) * random.choice([-1.0, 1.0], shape), like)


def _returned(program: Program, route: str, cotangents: Sequence[Any], arrays: Sequence[Any]) -> list[Numbers]:
    """What JAX returns by a route."""
    run = jax.jit(program.derivative) if route == "jit" else program.derivative
    with _of_the_user(program):
        return [numbers(x) for x in run(tuple(cotangents), *arrays)]


def _values(program: Program, route: str) -> list[Numbers]:
    """What the function itself returns by a route; of complex numbers the conjugates, by which the gradient is."""
    f = jax.jit(program.f) if route == "jit" else program.f
    turned = jnp.conj if program.mode == "reverse" else jnp.asarray
    return [numbers(turned(y)) for y in program.real(f(*program.arrays))]


def _batched(program: Program, cotangents: Sequence[Any]) -> list[Numbers]:
    """The same by `vmap` over cotangents, of which they are the second."""
    both = [jnp.stack([c * 2, c]) for c in cotangents]
    with _of_the_user(program):
        return [numbers(g[1]) for g in jax.vmap(lambda *c: program.derivative(c, *program.arrays))(*both)]


def _replays(
    program: Program, run: Run, jaxprs: tuple[Any, Any], cotangents: Sequence[Any], random: np.random.Generator
) -> Iterator[Replay]:
    """The run once more at displaced arguments with other cotangents, and where it was with eight times its own."""
    elsewhere = list(program.arrays)
    for i in program.wrt:
        x = program.arrays[i]
        step = max(2.0**-10, 4 * 2.0 ** -_format(x).precision)
        shape = shape_of(x)
        by = 1 + step * random.uniform(0.5, 1.0, shape) * random.choice([-1.0, 1.0], shape)
        with np.errstate(all="ignore"):  # beyond the largest number is an infinity, and NaN stays one
            elsewhere[i] = array_of(numbers(x) * by, x)
    others = [_random(c.shape, c.dtype, random) for c in cotangents]
    turned = jnp.conj if program.mode == "reverse" else jnp.asarray
    for arrays, given in ((elsewhere, others), (program.arrays, [c * 8 for c in cotangents])):
        yield Replay(
            [numbers(turned(arrays[i])) for i in program.wrt],
            [numbers(c) for c in given],
            [numbers(turned(x)) for x in program.real(program.f(*arrays))],
            _returned(program, "eager", given, arrays),
            (_solved(run.forward, jaxprs[0], arrays), _solved(run.backward, jaxprs[1], [*given, *arrays])),
        )


def _solved(record: Record, jaxpr: Any, operands: Sequence[Any]) -> list[Numbers]:
    """What the record's kernels that solve equations find for other operands."""
    if not any(s.implicit for s in record.steps):
        return []
    again = Recorder()
    results = closed(again, jaxpr, [again.argument(x) for x in operands])
    there = _needed(again, [r.ids for r in results if r.ids is not None])
    return [there.held[s.out] for s in there.steps if s.implicit]


def _alone(call: Call, seed: int, mode: Mode) -> Run:
    """A custom rule as a function of its own, of the real operands that it had."""
    real = [i for i, x in enumerate(call.operands) if not is_key(x) and format_of(x) is not None]

    def called(equation: Any, *given: Any) -> tuple[Any, ...]:
        operands = list(call.operands)
        for i, x in zip(real, given, strict=True):
            operands[i] = x
        return tuple(bind(equation, operands))

    def rule(*given: Any) -> tuple[Any, ...]:
        return called(call.equation, *given)

    rule.__name__ = call.name
    text = None if call.wide is None else partial(called, call.wide)
    names = [f"{call.name}, operand {i}" for i in real]
    try:
        return record(rule, [call.operands[i] for i in real], names=names, seed=seed, mode=mode, text=text)
    except (*UNREADABLE, jax.errors.UnexpectedTracerError) as error:
        raise NotRecorded("it reads arrays of the function around it; give it those as arguments") from error


# What of a record decides its results ---------------------------------------------------------------------------------


def _needed(of: Recorder, results: Sequence[Ids]) -> Record:
    """The record without the steps that no result depends on, nor what settles the program's way; a vjp computes
    outputs that it does not use."""
    record = of.record
    live = np.zeros(record.size, dtype=np.bool_)
    for ids in results:
        live[ids] = True
    for decided in of.settled:
        _keep(record, decided, live)
    kept: list[Step] = []
    for step in reversed(record.steps):
        if not live[step.out].any():
            continue
        kept.append(step)
        forms = [step.definition, *step.forms] if step.definition is not None else []
        for part in [step, *(s for form in forms for s in form.steps)]:
            if part.decided is not None:
                _keep(record, part.decided, live)
            for ids in part.operands:
                live[ids] = True
        for ids in (ids for form in forms for ids in form.reads()):
            live[ids] = True
        for form in forms:
            live[form.results] = True
    record.steps[:] = kept[::-1]
    return record


def _keep(record: Record, decided: Ids, live: NDArray[np.bool_]) -> None:
    """What these decisions compare is needed."""
    _, left, right = record.decisions.sides(record.decisions.single(decided))
    live[left], live[right] = True, True
