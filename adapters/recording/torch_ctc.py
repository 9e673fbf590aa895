"""Connectionist temporal classification: the kernels of PyTorch's `ctc_loss`, state by state.

A. Graves, S. Fernández, F. Gomez, J. Schmidhuber, *Connectionist temporal classification*, ICML 2006: the logarithms of
the forward variables α (6, 7) and of the backward ones β (10, 11), and the derivative by what a softmax is taken of
(16), as aten/src/ATen/native/LossCTC.cpp computes them. States that no path reaches have α = 0 and are left out.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import accumulate, pairwise

import torch
from torch import Tensor

from gradconform.reference.programs.run import NotRecorded

#: log α or log β of a state that no path reaches.
_NEVER = None
State = Tensor | None


def ctc_loss(
    log_probs: Tensor, targets: Tensor, lengths: Sequence[int] | Tensor, sizes: Sequence[int] | Tensor, blank: int = 0,
    zero_infinity: bool = False,
) -> tuple[Tensor, None]:  # fmt: skip
    """−log p of each sequence, of T × N × C logarithms of probabilities. log α is what the backward pass has, too."""
    losses = []
    for of, labels, length in _sequences(log_probs, targets, lengths, sizes, blank):
        ends = _ends(_forward(of, labels, length))
        losses.append(-_log_sum(ends) if ends else torch.full((), math.inf, dtype=of.dtype))
    return torch.stack(losses), None


def ctc_loss_backward(
    g: Tensor, log_probs: Tensor, targets: Tensor, lengths: Sequence[int] | Tensor, sizes: Sequence[int] | Tensor,
    loss: Tensor, log_alpha: Tensor, blank: int, zero_infinity: bool = False,
) -> Tensor:  # fmt: skip
    columns = []
    for b, (of, labels, length) in enumerate(_sequences(log_probs, targets, lengths, sizes, blank)):
        alpha, beta = _forward(of, labels, length), _backward(of, labels, length)
        rows = [torch.zeros_like(of[0])] * of.shape[0]
        if not _ends(alpha) and not zero_infinity:
            raise NotRecorded(f"ctc_loss of sequence {b}, of which no path gives the labels: its loss is infinite")
        for t in range(length if _ends(alpha) else 0):
            rows[t] = (torch.exp(of[t]) - _shares(of[t], loss[b], alpha[t], beta[t], labels)) * g[b]
        columns.append(torch.stack(rows))
    return torch.stack(columns, 1)


def _shares(of: Tensor, loss: Tensor, alpha: Sequence[State], beta: Sequence[State], labels: Sequence[int]) -> Tensor:
    """How much of p goes through each label at a step."""
    together: list[State] = [_NEVER] * of.shape[0]
    for a, b, label in reversed(list(zip(alpha, beta, labels, strict=True))):
        if a is not None and b is not None:
            before = together[label]
            together[label] = a + b if before is None else _log_sum([before, a + b])
    zero = torch.zeros((), dtype=of.dtype)
    return torch.stack([zero if x is None else torch.exp(x + loss - of[c]) for c, x in enumerate(together)])


def _sequences(
    log_probs: Tensor, targets: Tensor, lengths: Sequence[int] | Tensor, sizes: Sequence[int] | Tensor, blank: int
) -> Iterator[tuple[Tensor, list[int], int]]:
    """Of each sequence its logarithms, the labels of its states and how many steps it has."""
    columns = log_probs.unbind(1)
    yield from zip(columns, _labels(targets, sizes, blank), _whole(lengths), strict=True)


def _ends(alpha: Sequence[Sequence[State]]) -> list[Tensor]:
    """Of the states in which a path may end those that one reaches."""
    return [x for x in alpha[-1][-2:] if x is not None] if alpha else []


def _whole(x: Sequence[int] | Tensor) -> list[int]:
    return [int(n) for n in (x.reshape(-1).tolist() if isinstance(x, Tensor) else x)]


def _labels(targets: Tensor, sizes: Sequence[int] | Tensor, blank: int) -> list[list[int]]:
    """The labels of each sequence's states: its own with a blank before, between and after them."""
    of = _whole(sizes)
    if targets.ndim == 1:
        ends = list(accumulate(of, initial=0))
        rows = [targets[a:b] for a, b in pairwise(ends)]
    else:
        rows = [targets[b, :n] for b, n in enumerate(of)]
    return [[blank, *(x for label in row.tolist() for x in (int(label), blank))] for row in rows]


def _forward(of: Tensor, labels: Sequence[int], length: int) -> list[list[State]]:
    rows: list[list[State]] = []
    for t in range(length):
        row: list[State] = []
        for s, label in enumerate(labels):
            if t == 0:
                row.append(of[0, label] if s < 2 else _NEVER)
                continue
            before = rows[-1][max(0, s - 1) : s + 1]
            if s > 1 and labels[s - 2] != label:
                before = [*before, rows[-1][s - 2]]
            from_these = [x for x in reversed(before) if x is not None]
            row.append(_log_sum(from_these) + of[t, label] if from_these else _NEVER)
        rows.append(row)
    return rows


def _backward(of: Tensor, labels: Sequence[int], length: int) -> list[list[State]]:
    """As forward, from the end of the sequence and of its states."""
    last = torch.cat([of[:length].flip(0), of[length:]])
    return [row[::-1] for row in _forward(last, labels[::-1], length)[::-1]]


def _log_sum(x: Sequence[Tensor]) -> Tensor:
    """log Σ e^x of at most three numbers. The kernel takes the largest, m, from each.

    What is taken here is a whole number c that is data, with 1 ≤ m − c < 2: of a number that moves with the others
    balls would not know that it goes again. It errs by no less. The largest term's argument is rounded by u at least,
    which with e^(m − c) is more than the 2u/e of two arguments x − m; and log Σ e^(x − c) ≥ 1 is in a binade that is no
    smaller than that of log Σ e^(x − m) ≤ log 3.
    """
    if len(x) == 1:
        return x[0]
    least = torch.floor(torch.stack(list(x)).amax()) - 1
    return torch.log(torch.stack([torch.exp(y - least) for y in x]).sum()) + least
