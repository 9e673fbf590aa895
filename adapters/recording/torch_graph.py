"""What autograd's graph shows on the way of a backward pass: its numbers, forward, and the gradient of each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor
from torch.autograd.function import BackwardCFunction
from torch.autograd.graph import get_gradient_edge
from torch.utils._python_dispatch import _disable_current_modes

from gradconform.adapters.recording.torch_memory import Dependence, Memory, format_of, rounded
from gradconform.reference.arithmetic.formats import Format
from gradconform.reference.programs.record import ZERO, Ids
from gradconform.reference.programs.run import Piece

#: A result of a node of autograd's graph: the node, by identity, and the result's number.
Place = tuple[int, int]
#: Numbers, and the gradient that they get.
_Pair = tuple[Ids, Ids]
_NONE = np.zeros(0, np.int64)


@dataclass(frozen=True, eq=False)
class _Made:
    """A tensor of the forward pass: its ids when it was made, and where the program stands."""

    tensor: Tensor
    ids: Ids
    line: str


@dataclass(frozen=True, eq=False)
class _Numbers:
    """The result of a node; and which of its numbers are of one place alone, and depend on the arguments."""

    ids: Ids
    format: Format
    own: Any


class _Links(NamedTuple):
    """The nodes that read a result, the outputs that it is, and of each node the results of which there is either."""

    read: Mapping[Place, Sequence[Any]]
    ends: Mapping[Place, Sequence[_Pair]]
    of: dict[int, list[Place]]


class Graph:
    """The tensors of a forward pass as results of the nodes of autograd's graph, and the gradients that these get.

    A node is known of a tensor only after the operation that made it: `seen` is told of what an operation gave, and
    asks for the nodes of what earlier ones gave. A result that has numbers of an earlier one, as every view has, is no
    beginning of a piece: what reads it reads the earlier one's numbers.
    """

    def __init__(
        self, memory: Memory, dependence: Dependence, arguments: Sequence[Tensor], given: Sequence[Ids]
    ) -> None:
        self.memory, self.dependence = memory, dependence
        self._given = {id(x): ids for x, ids in zip(arguments, given, strict=True)}
        self._made: list[_Made] = []
        self._inside: list[_Made] = []
        self._numbers: dict[Place, _Numbers] = {}
        #: The numbers of all results; and the results that are earlier ones once more, from the same operands.
        self._ids: dict[Place, Ids] = {}
        self._again: set[Place] = set()
        self._twice: list[Ids] = []
        #: The numbers of earlier results.
        self._begun = np.zeros(1024, np.bool_)
        for ids in given:
            self._own(ids)
        #: The nodes, kept: by identity another would be taken for one that is gone.
        self._nodes: dict[int, Any] = {}
        self._lines: dict[int, str] = {}
        #: Of each node of the backward pass what it gets for its results: None where nothing depends on one, and empty
        #: where it was not asked, or gets what another reading of numbers is.
        self._gradients: dict[int, list[Ids | None]] = {}

    def seen(self, outs: Iterable[Any], line: str, constant: bool, looks: bool) -> None:
        """An operation of the forward pass gave these; they are `constant` where the program has gradients off.

        One that only `looks` at numbers asks for no node: autograd itself runs such ones while it makes the node of a
        view that was changed in place, and whoever asks that view for its node then waits for ever.
        """
        if not looks:
            self._settle()
        made = [_Made(x, self.memory.ids(x), line) for x in outs if rounded(x) and x.numel() and _plain(x)]
        if not constant:
            self._made += made
        elif not looks:  # those of a view are an earlier one's
            for x in made:
                self._own(x.ids)

    def _settle(self) -> None:
        for made in self._made:
            if _node(made.tensor) is None:
                self._inside.append(made)  # of a custom rule, whose results are its node's in the end
            else:
                self._put(made)
        self._made = []

    def _put(self, made: _Made) -> None:
        x = made.tensor
        node, own = _node(x), self._own(made.ids)
        self._nodes[id(node)] = node
        self._lines.setdefault(id(node), made.line)
        self._ids.setdefault((id(node), x.output_nr), made.ids)
        if own is None:
            depends = made.ids[self.dependence.which(made.ids)]
            other = depends[~np.isin(depends, np.concatenate([_NONE, *map(np.ravel, self._read(node))]))]
            if self._begun[other].any():
                self._again.add((id(node), x.output_nr))
                self._twice.append(other)
        else:
            if x._is_view():  # changed in place: its base has these numbers, too, by another node
                self._twice.append(made.ids[own])
            numbers = _Numbers(made.ids, format_of(x), own)
            self._numbers.setdefault((id(node), x.output_nr), numbers)

    def _read(self, node: Any) -> Iterator[Ids]:
        """The numbers of the results that a node reads."""
        for of, nr in node.next_functions:
            given = self._given.get(id(getattr(of, "variable", None)))
            if given is None and of is not None:
                given = self._ids.get((id(of), nr))
            if given is not None:
                yield given

    def _own(self, ids: Ids) -> Any:
        """Which of these depend on the arguments; None where an earlier result has one of them, or one is twice."""
        own = self.dependence.which(ids)
        alone = ids[own]
        if alone.size and alone.max() >= self._begun.size:
            self._begun = np.concatenate([self._begun, np.zeros(max(self._begun.size, int(alone.max())), np.bool_)])
        if self._begun[alone].any() or np.unique(alone).size < alone.size:
            return None
        self._begun[alone] = True
        return own

    def watch(self, outputs: Sequence[Tensor]) -> None:
        """Keep what the backward pass of these gives each node."""
        self._settle()
        for made in self._inside:
            if _node(made.tensor) is not None and np.array_equal(self.memory.ids(made.tensor), made.ids):
                self._put(made)
        self._inside = []
        left = [get_gradient_edge(y).node for y in outputs if y.requires_grad]
        while left:
            node = left.pop()
            if id(node) in self._gradients:
                continue
            self._nodes[id(node)] = node
            self._gradients[id(node)] = []
            if not hasattr(node, "variable"):  # what accumulates a gradient gives an argument's, which is a result
                node.register_prehook(self._hook(node))
            left += [n for n, _ in node.next_functions if n is not None]

    def _hook(self, node: Any) -> Any:
        def hook(gradients: Sequence[Tensor | None]) -> None:
            if all(g is None or _plain(g) for g in gradients):
                with _disable_current_modes():
                    self._gradients[id(node)] = [None if g is None else self.memory.ids(g) for g in gradients]

        return hook

    def cut(self, *of: Any) -> dict[str, Any]:
        """The pieces, and where they end, for the run."""
        return {"pieces": tuple(self._pieces(*of)), "between": np.flatnonzero(self._begun)}

    def _pieces(
        self,
        arguments: Sequence[Tensor],
        given: Sequence[Ids],
        results: Sequence[Ids],
        outputs: Sequence[Tensor],
        seeds: Sequence[Ids],
    ) -> Iterator[Piece]:
        """The parts between one node's numbers and the next ones'."""
        ends: dict[Place, list[_Pair]] = {}
        for y, seed in zip(outputs, seeds, strict=True):
            if y.requires_grad:
                edge = get_gradient_edge(y)
                ends.setdefault((id(edge.node), edge.output_nr), []).append((self.memory.ids(y), seed))
        read: dict[Place, list[Any]] = {}
        for key in self._gradients:
            node = self._nodes[key]
            for place in _places(node):
                read.setdefault(place, []).append(node)
        links = _Links(read, ends, {})
        for place in {**read, **ends}:
            links.of.setdefault(place[0], []).append(place)
        number = {id(x): n for n, x in enumerate(arguments)}
        twice = np.concatenate([_NONE, *self._twice])
        for key in self._gradients:
            node = self._nodes[key]
            argument = number.get(id(getattr(node, "variable", None)))
            if argument is None:
                of = [(nr, numbers, g) for nr, numbers, g in self._of(node) if g is not None]
            else:
                x, every = arguments[argument], np.ones(given[argument].shape, np.bool_)
                of = [(0, _Numbers(given[argument], format_of(x), every), results[argument])]
            for nr, numbers, gradient in of:
                outs, by = self._next((key, nr), numbers.ids, links)
                whole = gradient.shape == numbers.ids.shape and not np.isin(numbers.ids, twice).any()
                if outs and whole and numbers.own.any():
                    yield Piece(
                        self._said(node), numbers.ids[numbers.own], gradient[numbers.own], numbers.format,
                        tuple(outs), tuple(by),
                    )  # fmt: skip

    def _next(self, place: Place, of: Ids, links: _Links) -> tuple[list[tuple[_Pair, ...]], list[str]]:
        """What begins next, or is an output, behind a result, each with its gradient; and what gave the result's.

        Nothing where what was computed once more is the same numbers: of two gradients these have but the first there.
        """
        outs: list[tuple[_Pair, ...]] = []
        by: dict[str, None] = {}
        left, seen = [place], set[Any]()
        while left:
            at = left.pop()
            if at in seen:
                continue
            seen.add(at)
            if at in self._again:
                return [], []
            outs += [(end,) for end in self._ends(links.ends.get(at, ()), of)]
            for node in links.read.get(at, ()):
                if id(node) in seen:
                    continue
                seen.add(id(node))
                known = {nr: (numbers.ids, g) for nr, numbers, g in self._of(node)}
                if known:
                    outs.append(
                        tuple((z, np.full(z.shape, ZERO, np.int64) if g is None else g) for z, g in known.values())
                    )
                    by.setdefault(self._said(node))
                elif isinstance(node, BackwardCFunction):  # a rule whose result has its operand's numbers
                    by = {self._said(node): None, **by}
                left += [p for p in links.of.get(id(node), ()) if p[1] not in known]
        return outs, list(by)

    def _ends(self, ends: Iterable[_Pair], of: Ids) -> Iterator[_Pair]:
        """Outputs with their cotangents, without the numbers that other pieces begin with."""
        for z, seed in ends:
            own = np.isin(z, of) | ~self._begun[z]
            if own.any():
                yield (z, seed) if own.all() else (z[own], seed[own])

    def _of(self, node: Any) -> Iterator[tuple[int, _Numbers, Ids | None]]:
        """The results of a node that pieces begin with, each with its gradient."""
        for nr, gradient in enumerate(self._gradients.get(id(node), ())):
            numbers = self._numbers.get((id(node), nr))
            if numbers is not None:
                yield nr, numbers, gradient

    def _said(self, node: Any) -> str:
        """A node by its name, without what counts its versions, and where the program stands."""
        name = node.name().rpartition("::")[2].rstrip("0123456789")
        line = self._lines.get(id(node))
        return f"{name} ({line})" if line else name


def _node(x: Tensor) -> Any:
    """The node that a tensor is a result of; of a view that PyTorch forbids to differentiate, None."""
    try:
        return x.grad_fn
    except RuntimeError:  # what it was a view of under no_grad was changed in place since
        return None


def _places(node: Any) -> list[Place]:
    """The results that a node reads, each once."""
    return list(dict.fromkeys((id(n), nr) for n, nr in node.next_functions if n is not None))


def _plain(x: Tensor) -> bool:
    """Whether a tensor is no conjugated or negated reading of its memory, whose numbers are steps of their own."""
    return not (x.is_conj() or x.is_neg())
