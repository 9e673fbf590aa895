"""Rules for numbers that are reduced where an index says: `scatter_reduce`, `index_reduce`, segments, bags of rows."""

from __future__ import annotations

import math

import numpy as np
import torch

from gradconform.adapters.recording.torch_call import Call, Results, Rule
from gradconform.adapters.recording.torch_sums import collect, guarded, places_of
from gradconform.adapters.recording.torch_windows import gathered
from gradconform.reference.arithmetic.formats import FLOAT32
from gradconform.reference.programs.record import ONE, ZERO, Form, Ids, Numbers
from gradconform.reference.programs.run import NotRecorded

#: By the name of a reduction what it is, and of what it is reached from: what changes nothing.
_KINDS = {"sum": "sum", "add": "sum", "mean": "mean", "prod": "product", "multiply": "product", "amax": "maximum",
          "amin": "minimum", "max": "maximum", "min": "minimum"}  # fmt: skip
SUM, MEAN, MAX = range(3)


def _neutral(c: Call, kind: str) -> int:
    if kind in ("sum", "mean"):
        return ZERO
    return ONE if kind == "product" else c.record.number(-math.inf if kind == "maximum" else math.inf)


def _reduced(c: Call, kind: str, rows: Ids, counts: Ids, held: Numbers) -> Ids:
    """Rows, which end in what changes nothing, of so many numbers each."""
    if not rows.size:
        return np.zeros(rows.shape[:-1], np.int64)
    if kind == "sum":
        return c.record.sop(rows, None, c.format, held)
    if kind != "mean":
        return c.record.combine(kind, rows, c.format, held)  # type: ignore[arg-type]
    with c.record.inside() as steps:
        total = c.record.sop(rows, None, c.format)
        mean = c.record.map("divide", [total, c.record.constants(np.broadcast_to(counts, total.shape))], c.format)
    return c.record.fused(f"aten::{c.name}", Form("definition", tuple(steps), mean), (), c.format, held)


def _into(c: Call, base: Ids, places: Ids, sources: Ids) -> Ids:
    """Numbers reduced into what is there, or in place of it; elsewhere it stays."""
    kind = _KINDS[c["reduce"]]
    flat, places, sources = base.ravel().copy(), places.ravel(), np.broadcast_to(sources, places.shape).ravel()
    taken = np.unique(places)
    if c["include_self"] is not False:
        places, sources = np.concatenate([taken, places]), np.concatenate([flat[taken], sources])
    rows, counts = gathered(places, sources, _neutral(c, kind))
    flat[taken] = _reduced(c, kind, rows, counts, c.held.ravel()[taken])
    return flat.reshape(base.shape)


def _scatter_reduce(c: Call) -> Results:
    x, index, source = c.operand("self"), c["index"].cpu(), c.operand("src")
    if not x.ndim:
        return _into(c, x, np.zeros(index.shape, np.int64), source.reshape(tuple(index.shape)))
    if not source.ndim:
        source = source.reshape(1)
    places = torch.from_numpy(places_of(x)).gather(c["dim"], index).numpy()
    return _into(c, x, places, source[tuple(slice(0, n) for n in index.shape)].reshape(places.shape))


def _index_reduce(c: Call) -> Results:
    x = np.atleast_1d(c.operand("self"))
    places = np.take(places_of(x), np.atleast_1d(c["index"].cpu().numpy()), c["dim"])
    return _into(c, x, places, np.atleast_1d(c.operand("source")).reshape(places.shape)).reshape(c.shape)


# Segments -------------------------------------------------------------------------------------------------------------


def _segments(c: Call, data: Ids) -> tuple[Ids, Ids]:
    """Of the numbers as (outer, along, inner) in which of all segments each is, −1 where in none; how long each is."""
    if isinstance(c["lengths"], torch.Tensor):
        lengths = c["lengths"].cpu().numpy()
        starts = np.cumsum(lengths, -1) - lengths
    else:
        offsets = c["offsets"].cpu().numpy()
        starts, lengths = offsets[..., :-1], np.diff(offsets, axis=-1)
    axis = lengths.ndim - 1
    starts, lengths = (x.reshape(-1, x.shape[-1]) for x in (starts, lengths))
    inner, along = math.prod(data.shape[axis + 1 :]), np.arange(data.shape[axis])
    found = np.full((len(lengths), len(along), inner), -1)
    for outer, (begins, sizes) in enumerate(zip(starts, lengths, strict=True)):
        for n, (begin, size) in enumerate(zip(begins.tolist(), sizes.tolist(), strict=True)):
            found[outer, begin : begin + size] = (outer * len(begins) + n) * inner + np.arange(inner)
    return found.ravel(), np.repeat(lengths.ravel(), inner)


def _segment_reduce(c: Call) -> Results:
    """aten/src/ATen/native/SegmentReduce.cpp."""
    data, kind = c.operand("data"), _KINDS[c["reduce"]]
    segments, lengths = _segments(c, data)
    first = _neutral(c, kind) if c["initial"] is None else int(c.ids(c["initial"]))
    places = np.concatenate([np.arange(len(lengths)), segments])
    sources = np.concatenate([np.full(len(lengths), first), data.ravel()])[places >= 0]
    rows, _ = gathered(places[places >= 0], sources, _neutral(c, kind))
    counts = np.where(lengths > 0, lengths, np.nan if c["initial"] is None else 1)
    return _reduced(c, kind, rows, counts, c.held.ravel()).reshape(c.shape)


def _segment_reduce_backward(c: Call) -> Results:
    """Of equal extremes each has its share."""
    record, format, data, kind = c.record, c.format, c.operand("data"), _KINDS[c["reduce"]]
    segments, lengths = _segments(c, data)
    g, x, inside = c.operand("grad").ravel(), data.ravel(), np.flatnonzero(segments >= 0)
    of, own, held = segments[inside], x[inside], c.held.ravel()[inside]
    found = np.full(data.size, ZERO, np.int64)
    if kind == "sum":
        found[inside] = g[of]
    elif kind == "mean":
        found[inside] = record.map("divide", [g[of], record.constants(lengths[of])], format, held)
    else:
        definition = _extremes_backward if kind in ("maximum", "minimum") else _products_backward
        with record.inside() as steps:
            results = definition(c, g, c.operand("output").ravel(), own, of)
        form = Form("definition", tuple(steps), results)
        found[inside] = record.fused(f"aten::{c.name}", form, (), format, held)
    return found.reshape(data.shape)


def _extremes_backward(c: Call, g: Ids, output: Ids, x: Ids, of: Ids) -> Ids:
    record, format = c.record, c.format
    equal, taken = record.decide("eq", x, output[of]), record.held[x] == record.held[output[of]]
    ones = record.choose(taken, equal, np.asarray(ONE), np.asarray(ZERO), format)
    rows, _ = gathered(of, ones, ZERO)
    counts = np.full(output.shape, ONE)
    counts[np.unique(of)] = record.sop(rows, None, format, record.held[rows].sum(-1))
    return record.choose(taken, equal, record.map("divide", [g[of], counts[of]], format), np.asarray(ZERO), format)


def _products_backward(c: Call, g: Ids, output: Ids, x: Ids, of: Ids) -> Ids:
    """The whole product over the number, and beside 0 the product of the others."""
    record, format = c.record, c.format
    first = [] if c["initial"] is None else [int(c.ids(c["initial"]))]
    zero, found = record.held[x] == 0, np.full(x.shape, ZERO, np.int64)
    whole = record.map("multiply", [g, output], format)[of]
    found[~zero] = record.map("divide", [whole[~zero], x[~zero]], format)
    for n in np.flatnonzero(zero).tolist():
        others = [*first, *x[(of == of[n]) & (np.arange(x.size) != n)].tolist()] or [ONE]
        product = record.combine("product", np.array([others]), format)
        found[n] = int(record.map("multiply", [g[of[n : n + 1]], product], format)[0])
    return found


# Bags -----------------------------------------------------------------------------------------------------------------


def _bag_of(c: Call) -> Ids:
    """In which bag each index is."""
    if isinstance(given := c["offset2bag"], torch.Tensor) and given.numel():
        return np.asarray(given.cpu().numpy())
    return np.searchsorted(c["offsets"].cpu().numpy(), np.arange(c["indices"].numel()), side="right") - 1


def _terms(c: Call, rows: Ids, factors: Ids | None) -> tuple[Ids, Ids | None]:
    """Factors of sums; in 16 bits some kernels round the products."""
    if factors is None or c.format.precision >= FLOAT32.precision:
        return rows, factors
    return c.record.map("multiply", [rows, factors], c.format), None


def _embedding_bag(c: Call) -> Results:
    """Sums, means or largest numbers of rows of the weight, of which those of `padding_idx` are left out."""
    weight, index = c.operand("weight"), c["indices"].cpu().numpy()
    bag, bags, mode = _bag_of(c), c.shape[0], int(c["mode"])
    kept = index != c["padding_idx"]
    bag, index = bag[kept], index[kept]
    counts = np.bincount(bag, minlength=bags)
    filled = np.flatnonzero(counts)
    found = np.full(c.shape, ZERO, np.int64)
    if not filled.size:
        return [found, *[None] * 3]
    at, _ = gathered(bag, index, -1)
    pad = c.record.number(-math.inf) if mode == MAX else ZERO
    rows = np.where(at[:, None] >= 0, np.moveaxis(weight[np.maximum(at, 0)], 1, 2), pad)
    held = c.held[filled]
    if mode == MAX:
        found[filled] = c.record.combine("maximum", rows, c.format, held)
        guarded(c, found[filled], rows, "maximum")
    elif mode == MEAN:
        found[filled] = _reduced(c, "mean", rows, counts[filled][:, None], held)
    elif c["per_sample_weights"] is None:
        found[filled] = c.record.sop(rows, None, c.format, held)
    else:
        factors, _ = gathered(bag, c.operand("per_sample_weights")[kept], ZERO)
        with c.record.inside() as steps:
            total = c.record.sop(*_terms(c, rows, factors[:, None]), c.format)
        form = Form("definition", tuple(steps), total)
        found[filled] = c.record.fused(f"aten::{c.name}", form, (), c.format, held)
    return [found, *[None] * 3]


def _embedding_bag_backward(c: Call) -> Results:
    """Of a weight's rows: what of the bags they were in comes back, over the size of the bag where it was a mean."""
    if c["scale_grad_by_freq"] or c["sparse"]:
        raise NotRecorded("embedding_bag with scale_grad_by_freq=True or sparse=True: leave them out")
    g, index, mode = c.operand("grad"), c["indices"].cpu().numpy(), int(c["mode"])
    base = np.full((int(c["num_weights"]), g.shape[-1]), ZERO, np.int64)
    if mode == MAX:
        largest = c["maximum_indices"].cpu().numpy()
        filled = c["bag_size"].cpu().numpy() > 0
        return collect(c, base, places_of(base)[largest, np.arange(g.shape[-1])][filled], g[filled])
    kept = index != c["padding_idx"]
    bag = _bag_of(c)[kept]
    with c.record.inside() as steps:
        terms = g[bag]
        if c["per_sample_weights"] is not None:
            terms = c.record.map("multiply", [terms, c.operand("per_sample_weights")[kept][:, None]], c.format)
        if mode == MEAN:
            shares = c.record.map("reciprocal", [c.record.constants(c["bag_size"].cpu().numpy()[bag])], c.format)
            terms = c.record.map("multiply", [terms, shares[:, None]], c.format)
        found = _summed_inside(c, base, places_of(base)[index[kept]], terms)
    if not steps:
        return found
    return c.record.fused(f"aten::{c.name}", Form("definition", tuple(steps), found), (), c.format, c.held)


def _summed_inside(c: Call, base: Ids, places: Ids, terms: Ids) -> Ids:
    rows, _ = gathered(places.ravel(), terms.ravel(), ZERO)
    flat = base.ravel().copy()
    if places.size:
        flat[np.unique(places)] = c.record.sop(rows, None, c.format)
    return flat.reshape(base.shape)


def _sample_weights_backward(c: Call) -> Results:
    """Of every index the product of its row and of what its bag gets; 0 of the padding."""
    g, weight, index = c.operand("grad"), c.operand("weight"), c["indices"].cpu().numpy()
    kept = index != c["padding_idx"]
    bag = _bag_of(c)
    found = np.full(index.shape, ZERO, np.int64)
    if kept.any():
        with c.record.inside() as steps:
            total = c.record.sop(*_terms(c, g[bag[kept]], weight[index[kept]]), c.format)
        form = Form("definition", tuple(steps), total)
        found[kept] = c.record.fused(f"aten::{c.name}", form, (), c.format, c.held[kept])
    return found


REDUCTION_RULES: dict[str, Rule] = {
    "scatter_reduce": _scatter_reduce,
    "index_reduce": _index_reduce,
    "segment_reduce": _segment_reduce,
    "_segment_reduce_backward": _segment_reduce_backward,
    "_embedding_bag": _embedding_bag,
    "_embedding_bag_forward_only": _embedding_bag,
    "_embedding_bag_backward": _embedding_bag_backward,
    "_embedding_bag_dense_backward": _embedding_bag_backward,
    "_embedding_bag_per_sample_weights_backward": _sample_weights_backward,
}
