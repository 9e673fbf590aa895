"""Functions that read numbers in Python, as `if x > 0` does: traced with the numbers that they have in this run.

Where it is differentiated and not compiled, JAX lets a function read what it computes. A trace has no numbers: it is
run again, and what is read there is computed of the arguments' numbers, operation by operation. What was read are
results of the jaxpr, too: the program's way in this run depends on them.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import jax
import numpy as np

from gradconform.adapters.recording.jax_movement import bind

#: What JAX raises where a trace has no number to be read.
UNREADABLE = (
    jax.errors.ConcretizationTypeError,
    jax.errors.NonConcreteBooleanIndexError,
    jax.errors.TracerArrayConversionError,
)


def traced(of: Callable[..., Any], operands: Sequence[Any], numbers: Sequence[Any] | None = None) -> tuple[Any, Any]:
    """The jaxpr of a function and the shapes of its outputs; what it read of `numbers`, its operands by default, are
    results of the jaxpr that come after these."""
    try:
        return jax.make_jaxpr(of, return_shape=True)(*operands)
    except UNREADABLE:
        held = jax.tree.leaves(tuple(operands if numbers is None else numbers))

        def reading(*given: Any) -> tuple[Any, list[Any]]:
            with _readable(jax.tree.leaves(given), held) as read:
                return of(*given), read

        jaxpr, (shapes, _) = jax.make_jaxpr(reading, return_shape=True)(*operands)
        return jaxpr, shapes


@contextmanager
def _readable(arguments: Sequence[Any], held: Sequence[Any]) -> Iterator[list[Any]]:
    """Within, what a trace computes of these arguments can be read; the list is of what was."""
    kind = type(arguments[0])
    if not hasattr(arguments[0], "parent"):  # JAX before 0.7 has no way back from what is computed to its operands
        yield []
        return
    trace = arguments[0]._trace
    read: list[Any] = []
    known = {id(x.val): value for x, value in zip(arguments, held, strict=True)}

    def number(tracer: Any) -> Any:
        if tracer._trace is not trace:
            return None
        if not _only_asked() and all(x.val is not tracer.val for x in read):
            read.append(tracer)
        return _number(tracer, known)

    def array(tracer: Any, *options: Any, **named: Any) -> Any:
        found = number(tracer)
        if found is None:
            raise jax.errors.TracerArrayConversionError(tracer)
        return np.asarray(found, *options, **named)

    kind.to_concrete_value, kind.__array__ = number, array
    try:
        yield read
    finally:
        del kind.to_concrete_value, kind.__array__


def _only_asked() -> bool:
    """Whether JAX asks if there is a number, and does not read it, as a conversion does."""
    frame = sys._getframe(2)
    while frame.f_code.co_name == "to_concrete_value" and frame.f_back is not None:
        frame = frame.f_back
    return frame.f_code.co_name == "is_concrete"


def _number(tracer: Any, known: dict[int, Any]) -> Any:
    """What a tracer stands for, which is kept in `known` by its variable, as all that it is computed of."""
    open_ = [tracer]
    while open_:
        at = open_[-1]
        if id(at.val) in known:
            open_.pop()
        elif at.parent is None:  # a literal or a constant
            known[id(at.val)] = at.val.val if hasattr(at.val, "val") else at._trace.frame.constvar_to_val[at.val]
        else:
            lacking = [x for x in at.parent.in_tracers if id(x.val) not in known]
            if lacking:
                open_ += lacking
                continue
            with jax.ensure_compile_time_eval():
                found = bind(at.parent, [known[id(x.val)] for x in at.parent.in_tracers])
            results = found if at.parent.primitive.multiple_results else [found]
            known.update((id(v), x) for v, x in zip(at.parent.outvars, results, strict=True))
    return np.asarray(known[id(tracer.val)])
