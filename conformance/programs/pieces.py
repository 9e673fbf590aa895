"""A program piece by piece: each part of it and of its backward pass by itself, where the whole is too deep.

By the chain rule a backward pass is right where each of its parts is: the gradient of every number on the way is the
derivative of what is made of it next, by the gradients of that. A part is a few operations on numbers that the
framework had, and loses few digits, however many parts there are.

That says something of the whole only where the parts are all of it: every operation of the function that reads a number
on the way must be in that number's part. `covered` asks that of the record, which knows nothing of the framework's
graph.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gradconform.conformance.programs.array_truths import Truths
from gradconform.conformance.programs.check_program_arrays import by_balls_too
from gradconform.conformance.programs.size import FORMULA_AFFORDABLE, fits, work
from gradconform.conformance.programs.truth import DECIDED, Truth
from gradconform.reference.arithmetic.exact import precision
from gradconform.reference.arithmetic.midpoints import OutOfRange
from gradconform.reference.arithmetic.profiles import Profile
from gradconform.reference.judge import FORMULA, Formula
from gradconform.reference.programs.record import ONE, STOPPED, ZERO, Form, Ids, Record, Step, continued
from gradconform.reference.programs.run import EAGER, Piece, Run, Tensor

_NONE = np.zeros(0, np.int64)


class Said(NamedTuple):
    """What is said of one piece: its formula, and to how many leading bits it is known to be right."""

    piece: Piece
    formula: Formula
    bits: float


@dataclass(frozen=True)
class Pieces:
    """What is said of all pieces; and whether they are the whole program."""

    said: tuple[Said, ...] = ()
    covered: bool = False

    @property
    def right(self) -> bool:
        """Whether all are right, and the whole by them."""
        return self.covered and bool(self.said) and all(s.formula == "right" for s in self.said)

    @property
    def bits(self) -> float:
        return min((s.bits for s in self.said), default=0.0)

    @property
    def notes(self) -> Iterator[str]:
        """That the whole is right by its pieces; or which of them are wrong, each once."""
        if self.right:
            yield (
                f"piece by piece: each of {len(self.said)} parts of the backward pass is the derivative of its part of "
                "the function, and by the chain rule so is the whole"
            )
        wrong = [s.piece for s in self.said if s.formula == "wrong"]
        if wrong and self.covered:
            which = dict.fromkeys(f"from {', '.join(p.by) or 'the cotangent'} to {p.name}" for p in wrong)
            yield (
                f"piece by piece: of {len(self.said)} parts of the backward pass {len(wrong)} "
                f"{'is' if len(wrong) == 1 else 'are'} not the derivative of that part of the function: "
                f"{'; '.join(which)}"
            )


def by_pieces(run: Run, profile: Profile) -> Pieces:
    """What is said of each piece of a run; of what arrays leave open of it balls are asked as far as of a whole one."""
    if not run.pieces or run.mode != "reverse" or run.definition is not None:
        return Pieces()
    cut = _Cut(run)
    parts = [cut.part(piece) for piece in run.pieces]
    said, left = [], FORMULA_AFFORDABLE
    for part in parts:
        formula, bits, asked = _formula(part, profile, left)
        left -= asked
        if formula == "wrong" and part.run is not None and cut.meant_otherwise(part.run):
            formula = "unknown"
        said.append(Said(part.piece, formula, bits))
    return Pieces(tuple(said), cut.covered([p.forward for p in parts]))


@dataclass(frozen=True)
class _Part:
    """A piece as a run of its own, with the numbers of its forward steps; None where its gradient comes from others."""

    run: Run | None
    forward: frozenset[int]
    piece: Piece


class _Cut:
    """A run that is cut where its pieces begin."""

    def __init__(self, run: Run) -> None:
        self.run, self.record = run, run.backward
        self.ahead = len(run.forward.steps)
        self.steps = self.record.steps
        #: The step that made a number; of what is given none.
        self.maker = np.full(self.record.size, -1, np.int64)
        for n, step in enumerate(self.steps):
            self.maker[step.out.ravel()] = n
        self.begins = np.zeros(self.record.size, np.bool_)
        self.begins[run.between] = True
        #: Where a part ends, which is changed for each and restored.
        self._ends = self.begins.copy()
        #: What the backward pass is given, but numbers that anything may read.
        self._seeds = np.zeros(self.record.size, np.bool_)
        for ids in run.cotangents:
            self._seeds[ids.ravel()] = True
        self._seeds[[ZERO, ONE]] = False
        self._reads: dict[int, Ids] = {}

    def reads(self, n: int) -> Ids:
        """The numbers that a step reads from outside of it, each once."""
        if n not in self._reads:
            self._reads[n] = _once(_read(self.steps[n]))
        return self._reads[n]

    def _behind(self, wanted: Iterable[Ids], ends: NDArray[np.bool_]) -> set[int]:
        """The steps that these numbers come of, up to where it ends."""
        found: set[int] = set()
        left = [self._made(ids, ends) for ids in wanted]
        while left:
            for n in left.pop().tolist():
                if n not in found:
                    found.add(n)
                    left.append(self._made(self.reads(n), ends))
        return found

    def _made(self, ids: Ids, ends: NDArray[np.bool_]) -> Ids:
        ids = ids.ravel()
        makers = self.maker[ids[~ends[ids]]]
        return _once(makers[makers >= 0])

    def part(self, piece: Piece) -> _Part:
        """A piece as a run."""
        made = [z for group in piece.outputs for z, _ in group]
        given = [g for group in piece.outputs for _, g in group]
        ends = self._ends
        parts = [self._forward(group, piece.of) for group in piece.outputs]
        forward = frozenset[int]().union(*parts)
        for ids in (*(self.steps[n].out for n in forward), piece.of):
            ends[ids.ravel()] = True
        for ids in given:
            ends[ids.ravel()] = True
        behind = self._behind([piece.gradient], ends)
        for ids in (*(self.steps[n].out for n in forward), *given):
            ends[ids.ravel()] = self.begins[ids.ravel()]
        # What is infinite, as masks are, has a place in the sums of others, and no derivative of its own.
        finite = np.isfinite(self.record.held[piece.of])
        if (self.record.held[piece.gradient[~finite]] != 0).any():
            return _Part(None, forward, piece)
        if not made or any(n >= self.ahead for n in forward) or self._goes_on(behind, given):
            return _Part(None, forward, piece)
        own = np.concatenate([ids.ravel() for ids in made])
        if self._beyond(forward, own):
            return _Part(None, forward, piece)
        ahead, later = (self._otherwise_made(of, own) for of in (forward, forward | behind))
        later = np.union1d(later, self._made_by(np.concatenate([ids.ravel() for ids in given]), forward | behind))
        if np.isin(piece.of, np.union1d(ahead, later)).any():
            return _Part(None, forward, piece)
        function = self._apart(self._kept(self.run.forward, forward), piece, parts, ahead)
        if function is None:
            return _Part(None, forward, piece)
        live = [self._live(of) for group in piece.outputs for of in group]
        backward, new = self._kept(self.record, forward | behind), later
        if later.size:
            backward, new = _constant(backward, later)
        run = Run(
            name=piece.name,
            forward=function,
            arguments=(Tensor(piece.name, piece.of[finite], piece.format),),
            outputs=tuple(z for z, _ in live),
            backward=backward,
            given=(piece.of[finite],),
            cotangents=tuple(_mapped(g, later, new) for _, g in live),
            results=(_mapped(piece.gradient[finite], later, new),),
            returned={EAGER: [self.record.held[piece.gradient[finite]]]},
        )
        return _Part(run, forward, piece)

    def _otherwise_made(self, steps: AbstractSet[int], own: Ids) -> Ids:
        """What these steps read where a piece begins, that is not its own, and that one of them makes once more."""
        asked = self.begins.copy()
        asked[own] = False
        read = [ids[asked[ids]] for ids in map(self.reads, steps)]
        return self._made_by(np.concatenate([_NONE, *read]), steps)

    def _made_by(self, ids: Ids, steps: AbstractSet[int]) -> Ids:
        inside = np.zeros(len(self.steps) + 1, np.bool_)  # of what no step made the number is −1
        inside[list(steps)] = True
        return np.unique(ids[inside[self.maker[ids]]])

    def _live(self, of: tuple[Ids, Ids]) -> tuple[Ids, Ids]:
        """What was made and its gradient, without what is infinite and has none: as masks make numbers."""
        live = np.isfinite(self.record.held[of[0]]) | (self.record.held[of[1]] != 0)
        return of if live.all() else (of[0][live], of[1][live])

    def _beyond(self, forward: AbstractSet[int], made: Ids) -> bool:
        """Whether steps make what is infinite of finite numbers alone: poles, or what overflows. The derivative times a
        gradient that is 0 may be anything there, where that of a mask's infinity is 0.
        """
        held, own = self.record.held, [self.steps[n].out.ravel() for n in forward]
        if not own or np.isfinite(held[made]).all():
            return False
        read = np.concatenate([self.reads(n) for n in forward])
        return bool(np.isfinite(held[np.setdiff1d(read, np.concatenate(own))]).all())

    def _forward(self, group: Sequence[tuple[Ids, Ids]], of: Ids) -> set[int]:
        """The steps of one operation of the function: up to where pieces begin, but what it gave itself."""
        for z, _ in group:
            self._ends[z.ravel()] = False
        self._ends[of] = True
        found = self._behind([z for z, _ in group], self._ends)
        for z, _ in group:
            self._ends[z.ravel()] = self.begins[z.ravel()]
        return found

    def _apart(self, record: Record, piece: Piece, parts: Sequence[set[int]], constants: Ids) -> Record | None:
        """The record, in which what one operation reads of another's output is a constant: of that the other tells.

        It is the number without rounding, as it is for the backward pass; `constants` are what the framework had.
        """
        stopped = np.zeros(self.record.size, np.bool_)
        for z, _ in (pair for group in piece.outputs for pair in group):
            stopped[z.ravel()] = self.maker[z.ravel()] >= 0
        stopped[piece.of] = False
        read: dict[int, Ids] = {}
        for part, group in zip(parts, piece.outputs, strict=True):
            own = np.concatenate([z.ravel() for z, _ in group])
            of_others = stopped.copy()
            of_others[own] = False
            for n in part:
                ids = self.reads(n)
                ids = ids[of_others[ids]]
                if not np.array_equal(ids, read.setdefault(n, ids)):
                    return None  # what two operations share reads the output of one of them
        needed = np.unique(np.concatenate([constants, *read.values()]))
        if not needed.size:
            return record
        found, new = _constant(record, constants)
        steps, found.steps = found.steps, []
        found._into = found.steps
        instead = dict(zip(constants.tolist(), new.tolist(), strict=True))
        for n, step in zip(sorted(read), steps, strict=True):
            old = read[n]
            found.steps.append(_reading(step, old, np.array([instead[i] for i in old.tolist()], np.int64)))
            made = np.unique(step.out)
            made = made[np.isin(made, needed) & ~np.isin(made, constants)]
            if made.size:
                new = found.map(STOPPED, [made], step.format, found.held[made])
                instead.update(zip(made.tolist(), new.tolist(), strict=True))
        return found

    def _goes_on(self, behind: set[int], given: Sequence[Ids]) -> bool:
        """Whether steps of the backward pass read what that was given as a whole: they go on beyond the piece."""
        later = [self.reads(n) for n in behind if n >= self.ahead]
        read = [ids[self._seeds[ids]] for ids in later]
        return any(ids.size and not np.isin(ids, np.concatenate([g.ravel() for g in given])).all() for ids in read)

    def meant_otherwise(self, part: Run) -> bool:
        """Whether the gradient of what a piece begins with may be meant otherwise, if it is not the derivative.

        That of a matrix of which equations read a half is the next operation's convention. And where a backward pass
        computes something by other numbers of the function alone, as one that runs a part of it once more does, what
        that rounds is not what the piece begins with. So it is where what it makes of the piece's own numbers is what
        the function's part reads, or where it reads that as it was kept in fewer digits.
        """
        if any(step.implicit for step in part.forward.steps):
            return True
        size = self.record.size
        known, own = np.zeros(size, np.bool_), np.zeros(size, np.bool_)
        own[part.given[0]] = True
        instead = [_NONE]  # constants in place of numbers, which are the function's part's alone, and new ones
        for step in part.forward.steps:
            own[_below(size, step.out.ravel())] = True
            read = _read(step)
            known[_below(size, read)] = True
            instead.append(read[read >= size])
        values = self.record.held[known & ~own & self.begins]
        values = np.concatenate([values, part.forward.held[np.concatenate(instead)]])
        known |= own
        begins = np.ones(part.backward.size, np.bool_)  # as constants are of what the framework had
        begins[:size] = self.begins
        depends, follows = np.zeros(begins.size, np.bool_), np.zeros(begins.size, np.bool_)
        depends[part.given[0]] = True
        for ids in part.cotangents:
            depends[ids.ravel()] = follows[ids.ravel()] = True
        forward = len(part.forward.steps)
        for number, step in enumerate(part.backward.steps):
            reads = _once(_read(step))
            follows[step.out.ravel()] = follows[reads].any()
            if depends[reads].any():
                depends[step.out.ravel()] = True
            elif number >= forward and begins[reads].any():
                return True
            if number < forward:
                continue
            made = self.record.held[step.out]
            if not follows[reads].any() and depends[reads].any() and np.isin(made, values).all():
                return True
            others = _below(size, reads)
            others = _once(self.maker[others[~known[others]]])
            if any(self._rounds(n, known) for n in others.tolist()):
                return True
        return False

    def _rounds(self, n: int, known: NDArray[np.bool_]) -> bool:
        """Whether a step of the function rounds these numbers alone."""
        return 0 <= n < self.ahead and self.steps[n].name == "round" and bool(known[self.reads(n)].all())

    def _kept(self, record: Record, numbers: AbstractSet[int]) -> Record:
        """The record with these steps alone, and of what it says of numbers that of theirs."""
        found = record.until()
        found.steps = [self.steps[n] for n in sorted(numbers)]
        if numbers and (record.ordered or record.edges):
            known = np.unique(np.concatenate([x for n in numbers for x in (self.reads(n), self.steps[n].out.ravel())]))
            found.ordered = [ids for ids in record.ordered if np.isin(ids, known).any()]
            found.edges = [ids for ids in record.edges if np.isin(ids, known).any()]
        return found

    def covered(self, parts: Sequence[frozenset[int]]) -> bool:
        """Whether the pieces are all of the function: whatever an operation of it reads that depends on an argument is
        the beginning of a piece that has this operation, or in every piece that has what made it; and so the outputs.
        """
        of = [piece.of for piece in self.run.pieces]
        depends = np.zeros(self.record.size, np.bool_)
        for ids in (a.ids for a in self.run.arguments):
            depends[ids.ravel()] = True
        pieces_of: dict[int, set[int]] = {}
        for p, numbers in enumerate(parts):
            for n in numbers:
                pieces_of.setdefault(n, set()).add(p)
        needed = self._behind(self.run.outputs, np.zeros(self.record.size, np.bool_))
        begins_of = _Beginnings(of, self.record.size)
        for n in sorted(needed):
            reads = self.reads(n)
            reads = reads[depends[reads]]
            if not reads.size:
                continue
            depends[self.steps[n].out.ravel()] = True
            mine = pieces_of.get(n, set())
            at = reads[self.begins[reads]]
            if not begins_of.all_in(at, mine):
                return False
            inner = np.unique(self.maker[reads[~self.begins[reads]]])
            if not all(pieces_of.get(m, set()) and pieces_of[m] <= mine for m in inner.tolist()):
                return False
        return self._ended(depends)

    def _ended(self, depends: NDArray[np.bool_]) -> bool:
        """Whether every number of an output begins a piece that has it, with the very cotangent that the run has."""
        found = set[tuple[int, int]]()
        for piece in self.run.pieces:
            for z, g in (pair for group in piece.outputs for pair in group):
                own = np.isin(z, piece.of)
                found.update(zip(z[own].tolist(), g[own].tolist(), strict=True))
        for z, seed in zip(self.run.outputs, self.run.cotangents, strict=True):
            asked = depends[z]
            if not found.issuperset(zip(z[asked].tolist(), seed[asked].tolist(), strict=True)):
                return False
        return True


class _Beginnings:
    """By number, in which pieces it is one that the piece begins with."""

    def __init__(self, of: Sequence[Ids], size: int) -> None:
        counts = np.zeros(size + 1, np.int64)
        for ids in of:
            counts[ids + 1] += 1
        self.first = np.cumsum(counts)
        self.pieces = np.zeros(int(self.first[-1]), np.int64)
        filled = self.first[:-1].copy()
        for p, ids in enumerate(of):
            self.pieces[filled[ids]] = p
            filled[ids] += 1

    def all_in(self, ids: Ids, pieces: set[int]) -> bool:
        """Whether each of these numbers begins one of these pieces."""
        mine = np.zeros(self.pieces.size + 1, np.int64)
        mine[1:] = np.cumsum(np.isin(self.pieces, list(pieces)))
        return bool((mine[self.first[ids + 1]] > mine[self.first[ids]]).all())


def _once(ids: Ids) -> Ids:
    """Each number once, in order. Those of a step lie close together, and are marked faster than sorted."""
    if not ids.size:
        return ids
    first = ids.min()
    if ids.max() - first > 4 * ids.size:
        return np.unique(ids)
    there = np.zeros(ids.max() - first + 1, np.bool_)
    there[ids - first] = True
    found: Ids = np.flatnonzero(there) + first
    return found


def _below(size: int, ids: Ids) -> Ids:
    return ids[ids < size]


def _read(step: Step) -> Ids:
    """The numbers that a step computes with, in a row. By what decided a choice no derivative goes."""
    return np.concatenate([_NONE, *map(np.ravel, step.reads())])


def _reading(step: Step, old: Ids, new: Ids) -> Step:
    """The step, which reads the new numbers in place of the old ones, given in order."""
    if not (old.size and np.isin(old, _read(step)).any()):
        return step
    form = step.definition
    if form is not None:
        results = _mapped(form.results, old, new)
        form = Form(form.name, tuple(_reading(s, old, new) for s in form.steps), results, form.source)
    operands = tuple(_mapped(ids, old, new) for ids in step.operands)
    return replace(step, operands=operands, definition=form, forms=() if form is None else (form,))


def _mapped(ids: Ids, old: Ids, new: Ids) -> Ids:
    """The ids, with the new numbers in place of the old ones, given in order."""
    if not old.size:
        return ids
    at = np.minimum(np.searchsorted(old, ids), old.size - 1)
    return np.where(old[at] == ids, new[at], ids)


def _constant(record: Record, ids: Ids) -> tuple[Record, Ids]:
    """A record whose steps read constants in place of these numbers, what the framework had; and those."""
    found = continued(record)
    found.recalls = False
    new = found.new(ids.shape, record.held[ids])
    found.steps = found._into = [_reading(step, ids, new) for step in record.steps]
    return found, new


def _formula(part: _Part, profile: Profile, affordable: int) -> tuple[Formula, float, int]:
    """The worst formula of a piece's components, and the fewest bits; see `check_program`. And for how many operations
    balls were asked what arrays leave open, which they are up to so many."""
    run = part.run
    if run is None:
        return "unknown", 0.0, 0
    if not run.backward.steps and _moved(part.piece):
        return "right", math.inf, 0
    try:
        if fits(run):
            truths, asked = Truths(run, DECIDED, profile.flush), 0
            found = truths.formulas(0)
            if found.worst == "unknown" and work(run) <= affordable and not truths.astray:
                (found,), asked = by_balls_too(run, profile, [found]), work(run)
            return found.doubted.worst, found.worst_bits, asked
        truth = Truth(run, flush=profile.flush)
    except OutOfRange:
        return "unknown", 0.0, 0
    with precision(truth.bits):
        said = [truth.formula(0, c, run.arguments[0].format) for c in range(run.arguments[0].ids.size)]
    formulas: list[Formula] = ["unknown" if s.otherwise else s.formula for s in said]
    return min(formulas, key=FORMULA.index, default="right"), min((s.bits for s in said), default=math.inf), 0


def _moved(piece: Piece) -> bool:
    """Whether a piece that only moves numbers has the gradients moved with them, each from one place."""
    z, g = (
        np.concatenate([ids.ravel() for ids in of])
        for of in zip(*(pair for group in piece.outputs for pair in group), strict=True)
    )
    inside = np.isin(z, piece.of)
    z, g = z[inside], g[inside]
    order = np.argsort(z)
    z, g = z[order], g[order]
    if (z[1:] == z[:-1]).any():
        return False
    if not z.size:
        return bool((piece.gradient == ZERO).all())
    at = np.minimum(np.searchsorted(z, piece.of), z.size - 1)
    return bool((np.where(z[at] == piece.of, g[at], ZERO) == piece.gradient).all())
