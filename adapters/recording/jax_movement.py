"""Data movement of JAX's primitives, on any array: the ids of numbers go where the numbers go.

The plain ones are NumPy's, which needs no compilation; the others are the primitive itself, bound on ids.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from jax import lax
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from gradconform.reference.programs.record import Ids

Array = NDArray[Any]
Parameters = Mapping[str, Any]


def bind(equation: Any, operands: Sequence[Any], **changed: Any) -> Any:
    """The equation's primitive on concrete operands, with its parameters except those that are `changed`."""
    given = equation.primitive.get_bind_params({**equation.params, **changed})
    if isinstance(given, tuple):  # JAX before 0.8 gives subfunctions apart
        functions, parameters = given
        return equation.primitive.bind(*functions, *operands, **parameters)
    return equation.primitive.bind(*operands, **given)


# Movement of one array, or of several that are joined -----------------------------------------------------------------


def _broadcast(p: Parameters, x: Array) -> list[Array]:
    shape = [1] * len(p["shape"])
    for axis, size in zip(p["broadcast_dimensions"], x.shape, strict=True):
        shape[axis] = size
    return [np.broadcast_to(x.reshape(shape), p["shape"])]


def _reshape(p: Parameters, x: Array) -> list[Array]:
    ordered = x if p.get("dimensions") is None else x.transpose(p["dimensions"])
    return [ordered.reshape(p["new_sizes"])]


def _squeeze(p: Parameters, x: Array) -> list[Array]:
    gone = {axis % x.ndim for axis in p["dimensions"]}
    return [x.reshape([size for axis, size in enumerate(x.shape) if axis not in gone])]


def _slice(p: Parameters, x: Array) -> list[Array]:
    strides = p["strides"] or [1] * x.ndim
    return [x[tuple(map(slice, p["start_indices"], p["limit_indices"], strides))]]


def _pad(p: Parameters, x: Array, fill: Array) -> list[Array]:
    low, high, between = zip(*p["padding_config"], strict=True) if p["padding_config"] else ((), (), ())
    return [spread(x, list(zip(low, high, strict=True)), [b + 1 for b in between], fill, range(x.ndim))]


#: The primitives that only move one array, or join several: from the parameters and the arrays to the results.
MOVES: Mapping[str, Callable[..., list[Array]]] = {
    "broadcast_in_dim": _broadcast,
    "reshape": _reshape,
    "squeeze": _squeeze,
    "slice": _slice,
    "pad": _pad,
    "transpose": lambda p, x: [x.transpose(p["permutation"])],
    "rev": lambda p, x: [np.flip(x, p["dimensions"])],
    "split": lambda p, x: np.split(x, np.cumsum(p["sizes"])[:-1], p["axis"]),
    "concatenate": lambda p, *x: [np.concatenate(x, p["dimension"])],
    "stack": lambda p, *x: [np.stack(x, p.get("axis", 0))],
    "unstack": lambda p, x: list(np.moveaxis(x, p.get("axis", 0), 0)),
    "tile": lambda p, x: [np.tile(x, p["reps"])],
    "copy": lambda p, x: [x],
    "copy_p": lambda p, x: [x],
    "real_copy": lambda p, x: [x],
    "optimization_barrier": lambda p, *x: list(x),
    "device_put": lambda p, *x: list(x),
}


# Movement by indices --------------------------------------------------------------------------------------------------


def _window(x: Array, size: Sequence[int], starts: Sequence[Any]) -> tuple[slice, ...]:
    """The block of x that starts there, moved inside as XLA does."""
    clipped = [min(max(int(s), 0), n - w) for s, n, w in zip(starts, x.shape, size, strict=True)]
    return tuple(slice(s, s + w) for s, w in zip(clipped, size, strict=True))


def dynamic_slice(p: Parameters, x: Array, *starts: Any) -> Array:
    return x[_window(x, p["slice_sizes"], starts)]


def dynamic_update_slice(x: Array, update: Array, *starts: Any) -> Array:
    moved = x.copy()
    moved[_window(x, update.shape, starts)] = update
    return moved


def gathered(equation: Any, x: Array, indices: Any, fill: int) -> Array:
    """What a gather takes of x, with `fill` for what is out of bounds."""
    taken = np.asarray(bind(equation, [x.astype(np.int32), indices], fill_value=-1)).astype(np.int64)
    return np.where(taken < 0, fill, taken)


def out_of_bounds(equation: Any, operands: Sequence[Any]) -> bool:
    """Whether it is a gather that was promised to stay in bounds, and takes from beyond them."""
    p = equation.params
    if equation.primitive.name != "gather" or "PROMISE" not in str(p["mode"]):
        return False
    shape, indices = np.shape(operands[0].held), np.asarray(operands[1].held).astype(np.int64)
    last = [shape[d] - p["slice_sizes"][d] for d in p["dimension_numbers"].start_index_map]
    return bool(((indices < 0) | (indices > last)).any())


def scatter_targets(p: Parameters, shape: tuple[int, ...], indices: Any, updates: tuple[int, ...]) -> Array:
    """Where each of a scatter's updates goes, as a position of the flat result; −1 for those that are dropped."""
    numbers = p["dimension_numbers"]
    batch = tuple(getattr(numbers, "operand_batching_dims", ()))
    windows = iter(numbers.update_window_dims)
    sizes = [1 if d in (*numbers.inserted_window_dims, *batch) else updates[next(windows)] for d in range(len(shape))]
    where = lax.GatherDimensionNumbers(
        offset_dims=numbers.update_window_dims,
        collapsed_slice_dims=numbers.inserted_window_dims,
        start_index_map=numbers.scatter_dims_to_operand_dims,
        operand_batching_dims=batch,
        start_indices_batching_dims=tuple(getattr(numbers, "scatter_indices_batching_dims", ())),
    )
    # What is out of bounds XLA drops, also where it was promised that nothing is; to clip is another computation.
    mode = p["mode"] if "CLIP" in str(p["mode"]) else lax.GatherScatterMode.FILL_OR_DROP
    positions = np.arange(math.prod(shape), dtype=np.int32).reshape(shape)
    found = lax.gather(positions, indices, where, tuple(sizes), mode=mode, fill_value=-1)
    return np.asarray(found).astype(np.int64)


# Windows --------------------------------------------------------------------------------------------------------------


def spread(x: Array, padding: Sequence[tuple[int, int]], dilation: Sequence[int], fill: Any,
           axes: Sequence[int]) -> Array:  # fmt: skip
    """x with `fill` between its numbers and around it; negative padding cuts."""
    for axis, (low, high), step in zip(axes, padding, dilation, strict=True):
        count = x.shape[axis]
        if step > 1 and count:
            wide = np.full((*x.shape[:axis], (count - 1) * step + 1, *x.shape[axis + 1 :]), fill, dtype=x.dtype)
            wide[(slice(None),) * axis + (slice(None, None, step),)] = x
            x = wide
        if low > 0 or high > 0:
            around = [(0, 0)] * x.ndim
            around[axis] = (max(low, 0), max(high, 0))
            x = np.pad(x, around, constant_values=fill)
        if low < 0 or high < 0:
            x = x[(slice(None),) * axis + (slice(max(-low, 0), x.shape[axis] - max(-high, 0)),)]
    return x


def windows(x: Array, p: Parameters, fill: int) -> Array:
    """The numbers under each position of a sliding window, along a last axis."""
    ones = (1,) * x.ndim
    x = spread(x, p["padding"], p.get("base_dilation", ones), fill, range(x.ndim))
    seen = _under(x, p["window_dimensions"], p["window_strides"], p.get("window_dilation", ones), range(x.ndim))
    return seen.reshape((*seen.shape[: x.ndim], math.prod(p["window_dimensions"])))


def _under(x: Array, size: Sequence[int], strides: Sequence[int], dilation: Sequence[int],
           axes: Sequence[int]) -> Array:  # fmt: skip
    """A view: x's axes, then one for each axis of the window."""
    spans = [(n - 1) * d + 1 for n, d in zip(size, dilation, strict=True)]
    seen = sliding_window_view(x, spans, axis=tuple(axes))
    steps = [slice(None)] * x.ndim
    for axis, stride in zip(axes, strides, strict=True):
        steps[axis] = slice(None, None, stride)
    return seen[(*steps, *(slice(None, None, d) for d in dilation))]


def convolution(left: Ids, right: Ids, p: Parameters, zero: int) -> tuple[Ids, Ids]:
    """The two factors of a convolution's terms: views of the patches and of the kernel that repeat memory."""
    layout = p["dimension_numbers"]
    groups, batches = p["feature_group_count"], p["batch_group_count"]
    x, k = left.transpose(layout.lhs_spec), right.transpose(layout.rhs_spec)  # N C S…; O I K…
    space = range(2, x.ndim)
    x = spread(x, p["padding"], p["lhs_dilation"], zero, space)
    seen = _under(x, k.shape[2:], p["window_strides"], p["rhs_dilation"], space)
    count, channels, *places = seen.shape[: x.ndim]
    outs = k.shape[0]
    seen = np.moveaxis(seen, 1, x.ndim - 1)  # N S… C K…
    if batches > 1:
        patches = seen.reshape((batches, count // batches, *places, 1, channels * math.prod(k.shape[2:])))
        kernel = k.reshape((batches, 1, *[1] * len(places), outs // batches, -1))
        a, b = (np.moveaxis(z, 0, -3) for z in np.broadcast_arrays(patches, kernel))
        count //= batches
    else:
        patches = seen.reshape((count, *places, groups, 1, channels // groups * math.prod(k.shape[2:])))
        kernel = k.reshape((1, *[1] * len(places), groups, outs // groups, -1))
        a, b = np.broadcast_arrays(patches, kernel)
    if groups > 1 or batches > 1:  # only here the repeated memory is written out
        a, b = (z.reshape((count, *places, outs, z.shape[-1])) for z in (a, b))
    else:
        a, b = (z[(slice(None),) * (1 + len(places)) + (0,)] for z in (a, b))
    order = [*np.argsort(layout.out_spec).tolist(), x.ndim]
    a, b = (np.moveaxis(z, -2, 1).transpose(order) for z in (a, b))
    return a, b


def contraction(a: Ids, b: Ids, p: Parameters) -> tuple[Ids, Ids]:
    """The two factors of the terms of a product of matrices, in any layout: views that repeat memory."""
    (left_sum, right_sum), (left_batch, right_batch) = p["dimension_numbers"]
    left_free = [i for i in range(a.ndim) if i not in (*left_sum, *left_batch)]
    right_free = [i for i in range(b.ndim) if i not in (*right_sum, *right_batch)]
    x = a.transpose([*left_batch, *left_free, *left_sum])
    y = b.transpose([*right_batch, *right_free, *right_sum])
    batch = x.shape[: len(left_batch)]
    terms = math.prod(a.shape[i] for i in left_sum)
    rows, columns = [a.shape[i] for i in left_free], [b.shape[i] for i in right_free]
    x = x.reshape((*batch, *rows, *[1] * len(columns), terms))
    y = y.reshape((*batch, *[1] * len(rows), *columns, terms))
    u, v = np.broadcast_arrays(x, y)
    return u, v


def prefixes(x: Ids, axis: int, reverse: bool, fill: Callable[[Ids], Ids]) -> Ids:
    """For each number along an axis all up to it, along a last axis: a view of x with `fill(its first)` before it."""
    moved = np.moveaxis(x, axis, -1)
    moved = moved[..., ::-1] if reverse else moved
    count = moved.shape[-1]
    before = np.broadcast_to(fill(moved[..., :1]), (*moved.shape[:-1], count - 1))
    seen = sliding_window_view(np.concatenate([before, moved], -1), count, axis=-1)
    seen = seen[..., ::-1, :] if reverse else seen
    return np.moveaxis(seen, -2, axis)


def along(x: Ids, axes: Sequence[int]) -> Ids:
    """x with these axes, together, as its last one."""
    kept = [i for i in range(x.ndim) if i not in axes]
    count = math.prod(x.shape[i] for i in axes)
    return x.transpose([*kept, *axes]).reshape((*(x.shape[i] for i in kept), count))


def grouped(base: Ids, targets: Array, sources: Ids, nothing: int) -> tuple[Ids, Ids]:
    """Which flat positions of `base` receive sources, and for each the base's number and its sources, in a row.

    Rows are filled up with `nothing`; sources that are `nothing`, and such a base, are left out.
    """
    targets, sources = targets.ravel(), sources.ravel()
    kept = (targets >= 0) & (sources != nothing)
    targets, sources = targets[kept], sources[kept]
    order = np.argsort(targets, kind="stable")
    targets, sources = targets[order], sources[order]
    places, first, counts = np.unique(targets, return_index=True, return_counts=True)
    rows = np.full((places.size, int(counts.max(initial=0)) + 1), nothing, dtype=np.int64)
    rows[:, 0] = base.ravel()[places]
    rows[np.repeat(np.arange(places.size), counts), np.arange(targets.size) - np.repeat(first, counts) + 1] = sources
    return places, rows
