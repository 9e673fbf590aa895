"""Whether the slopes at ties go together: a test that sees what each component by itself cannot.

At a tie every component's derivative is a set, and these sets are a box: of the largest of two equal numbers each slope
may be anything from 0 to 1. But they add up to 1. Along a direction in which equal arguments move alike the tie stays
one, and the derivative is known: the truth's tangent, a set that is as narrow as what ties leave open there, must hold
Σ v·gradient of the program. Any direction gives a proof; this one moves equal arguments alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

import numpy as np
from flint import arb

from gradconform.conformance.programs.other_branch import Derivative
from gradconform.reference.arithmetic.midpoints import Double, DoubleArray
from gradconform.reference.programs import words
from gradconform.reference.programs.array_exact import LEVELS, ArrayExact
from gradconform.reference.programs.array_tangents import push as push_arrays
from gradconform.reference.programs.exact import Exact
from gradconform.reference.programs.record import Numbers
from gradconform.reference.programs.run import Run
from gradconform.reference.programs.tangents import push
from gradconform.reference.programs.words import Words

#: What is said where they do not.
APART = "at ties its slopes do not go together: those of equal numbers add up to 1"


def direction(run: Run) -> list[Numbers]:
    """Of every argument's numbers how fast they move: equal ones alike, in eight bits between 1 and 2."""
    of = run.defined
    held = [of.record.held[ids] for ids in of.arguments]
    distinct, places = np.unique(np.concatenate([x.ravel() for x in held]), return_inverse=True)
    drawn = np.random.default_rng(distinct.size).integers(128, 256, distinct.size) / 128.0
    ends = np.cumsum([x.size for x in held])[:-1]
    return [v.reshape(x.shape) for v, x in zip(np.split(drawn[places.ravel()], ends), held, strict=True)]


def in_balls(run: Run, program: Derivative) -> bool:
    """Whether the program's slopes may go together, by exact balls; of gradients in reverse mode."""
    of, along = run.defined, direction(run)
    exact = Exact(of.record).evaluate()
    seeds = {
        i: arb(v)
        for ids, numbers in zip(of.arguments, along, strict=True)
        for i, v in zip(ids.ravel().tolist(), numbers.ravel().tolist(), strict=True)
    }
    tangents = push(exact, seeds)
    truth = arb(0)
    for ids, cotangent in zip(of.outputs, run.cotangents, strict=True):
        for i, c in zip(ids.ravel().tolist(), run.backward.held[cotangent].ravel().tolist(), strict=True):
            truth += c * tangents.get(i, arb(0))
    found = arb(0)
    for gradient, numbers in zip(program, along, strict=True):
        for slope, v in zip(gradient, numbers.ravel().tolist(), strict=True):
            found += slope * v
    return not (truth.is_finite() and found.is_finite()) or bool(truth.overlaps(found))


def in_arrays(run: Run, exact: ArrayExact, program: Sequence[Words]) -> bool:
    """The same by whole arrays, of a function's record that was evaluated."""
    of, along = run.defined, direction(run)
    tangents = push_arrays(exact, list(zip(of.arguments, along, strict=True)), of.outputs, of.record.steps)
    truth = _summed(tangents, [run.backward.held[c] for c in run.cotangents])
    found = _summed(program, along)
    return not words.disjoint(truth, found).any()


def _summed(of: Sequence[Words], by: Sequence[Numbers]) -> Words:
    """Σ of all products."""
    totals = []
    for x, factor in zip(of, by, strict=True):
        row = Words(DoubleArray(x.mid.hi.ravel(), x.mid.lo.ravel()), x.radius.reshape(LEVELS, -1))
        exactly = Words(Double.lift(np.asarray(factor, dtype=np.float64).ravel()), np.zeros((LEVELS, factor.size)))
        totals.append(words.total(words.multiply(row, exactly)))
    return reduce(words.add, totals)
