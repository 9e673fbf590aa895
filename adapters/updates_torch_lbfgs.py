"""PyTorch's L-BFGS: one iteration without a line search in each step, of all parameters as one vector.

The closure returns a constant loss; the gradients are those that were injected. The state is that of the first
parameter, under the names that PyTorch has for it.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, optim

from gradconform.adapters.recording.torch_asked import argument_ids
from gradconform.adapters.recording.torch_memory import numbers
from gradconform.adapters.recording.torch_mode import Recorder
from gradconform.adapters.recording.torch_rules import RULES as OPERATIONS
from gradconform.adapters.updates import OWN, Asked, Change, Numbers, Recorded
from gradconform.reference.cases import BadInput, said
from gradconform.reference.programs.record import Ids

#: How PyTorch calls the parts of the rule's state.
_NAMES = {
    "S": "old_stps", "Y": "old_dirs", "rho": "ro", "gamma": "H_diag", "d": "d", "a": "t", "g_prev": "prev_flat_grad",
}  # fmt: skip
_HISTORIES = ("S", "Y", "rho")
_CURVATURE = 1e-10


def is_lbfgs(x: Any) -> bool:
    return type(x) is optim.LBFGS


def changes_of_lbfgs(
    optimizer: Any, like: Any, names: Sequence[str], parameters: Sequence[Tensor], injected: Iterator[None]
) -> Iterator[Change]:
    """What an optimizer makes of all parameters together in each update; it should be as `like`, an L-BFGS."""
    group = {**_settings(like), **_settings(optimizer)}
    _askable(group, parameters)
    name = names[0] if len(names) == 1 else f"{names[0]}…{names[-1]}"
    dtype = str(parameters[0].dtype).rpartition(".")[2]
    memory = int(group["history_size"])
    for number, _ in enumerate(injected, 1):
        eta = _number({**_settings(like), **_settings(optimizer)}["lr"])
        before, gradient = _state(optimizer, parameters), _flat([_gradient(p) for p in parameters])
        t_before = _held(optimizer, parameters).get("t")
        again = _again(optimizer, parameters)
        _step(optimizer, number)
        after = _state(optimizer, parameters)
        pairs = len(after.get("ro", ()))
        rows = max(min(len(before.get("ro", ())) + 1, memory), pairs)
        asked = _asked(group, eta, parameters, first="d" not in before, memory=memory, pairs=pairs, state=after)
        t = _held(optimizer, parameters).get("t", t_before)
        dtypes = dict.fromkeys((*after, "gradient"), dtype)
        dtypes["t"] = str(t.dtype).rpartition(".")[2] if isinstance(t, Tensor) else "float64"
        yield Change(
            name, number, gradient, _padded(before, rows), _padded(after, rows), dtypes, asked,
            partial(again, rows),
            route=OWN if optimizer is not like else "single", theirs=optimizer is like,
        )  # fmt: skip


def _askable(group: Mapping[str, Any], parameters: Sequence[Tensor]) -> None:
    """Raises BadInput for what is not one update by injected gradients."""
    if group["line_search_fn"] is not None:
        raise BadInput(f"line_search_fn={group['line_search_fn']!r}: a line search evaluates the loss, and gradients "
                       "are injected; expected line_search_fn=None")  # fmt: skip
    if group["max_iter"] != 1:
        raise BadInput(f"max_iter={group['max_iter']}: expected LBFGS(…, max_iter=1), one iteration for each injected "
                       "gradient")  # fmt: skip
    dtypes = {p.dtype for p in parameters}
    if len(dtypes) > 1:
        raise BadInput(f"weights: of {', '.join(sorted(map(str, dtypes)))}; expected one dtype, since L-BFGS makes one "
                       "vector of them; or give dtype=")  # fmt: skip


def _settings(optimizer: Any) -> dict[str, Any]:
    return {k: v for k, v in optimizer.param_groups[0].items() if k != "params"}


def _number(x: Any) -> float:
    return float(x.item()) if isinstance(x, Tensor) else float(x)


def _gradient(p: Tensor) -> Tensor:
    return torch.zeros_like(p) if p.grad is None else p.grad


def _flat(tensors: Sequence[Tensor]) -> Numbers:
    return np.concatenate([numbers(x).ravel() for x in tensors])


def _asked(group: Mapping[str, Any], eta: float, parameters: Sequence[Tensor], first: bool, memory: int, pairs: int,
           state: Mapping[str, Any]) -> Asked:  # fmt: skip
    parts = ("gamma", "d", "a", "g_prev") if first else tuple(_NAMES)
    names = {part: _NAMES[part] for part in parts}
    flat = torch.cat([_gradient(p).reshape(-1) for p in parameters])
    if bool(flat.abs().max() <= group["tolerance_grad"]):  # it returns at once, as PyTorch's own expression says
        kept = {part: theirs for part, theirs in _NAMES.items() if theirs in state}
        return Asked("skipped", {"parts": " ".join(kept), "whole": True}, {}, kept)
    settings = {"eta": eta, "delta": float(group["tolerance_change"]), "gamma0": 1.0, "eps": _CURVATURE}
    options: dict[str, bool | str | int] = {"first": first, "memory": memory, "pairs": pairs}
    return Asked("lbfgs", options, settings, names)


# What there is --------------------------------------------------------------------------------------------------------


def _held(optimizer: Any, parameters: Sequence[Tensor]) -> Mapping[str, Any]:
    found: Mapping[str, Any] = optimizer.state.get(parameters[0], {})
    return found


def _state(optimizer: Any, parameters: Sequence[Tensor]) -> dict[str, Numbers]:
    """Weights and state as float64 numbers; the newest pair first. Raises BadInput where it is none of L-BFGS."""
    held, n = _held(optimizer, parameters), sum(p.numel() for p in parameters)
    found = {"w": _flat(parameters)}
    for part, theirs in _NAMES.items():
        if theirs not in held:
            continue
        if part not in _HISTORIES:
            found[theirs] = _array(held[theirs])
            continue
        rows = [_array(x) for x in reversed(held[theirs])]
        shape = () if part == "rho" else (n,)
        if any(x.shape != shape for x in rows):
            raise BadInput(f"its {theirs!r} has an entry of shape {next(x.shape for x in rows if x.shape != shape)}; "
                           f"expected {shape}")  # fmt: skip
        found[theirs] = np.stack(rows) if rows else np.zeros((0, *shape))
    return found


def _array(x: Any) -> Numbers:
    return numbers(x).copy() if isinstance(x, Tensor) else np.asarray(float(x))


def _padded(state: Mapping[str, Numbers], rows: int) -> dict[str, Numbers]:
    """The state with so many rows of pairs, 0 where there is none."""
    found = dict(state)
    for name in (_NAMES[part] for part in _HISTORIES):
        if name in found and rows:
            x = found[name]
            found[name] = np.concatenate([x, np.zeros((rows - len(x), *x.shape[1:]))])
    return found


def _step(optimizer: Any, number: int) -> None:
    try:
        optimizer.step(lambda: torch.zeros(()))
    except Exception as error:  # whatever an optimizer raises
        raise BadInput(f"update {number}: step(closure) raised {type(error).__name__}: {said(error)}") from error


# The record -----------------------------------------------------------------------------------------------------------


def _again(optimizer: Any, parameters: Sequence[Tensor]) -> Callable[[int], Recorded]:
    """The record of the step, for the optimizer and parameters as they stand; with so many rows of pairs."""
    kept = object.__new__(type(optimizer))
    kept.__dict__, copies = copy.deepcopy((optimizer.__dict__, parameters))
    for p, q in zip(parameters, copies, strict=True):
        q.grad = None if p.grad is None else p.grad.clone()

    def again(rows: int) -> Recorded:
        recorder = Recorder(OPERATIONS)
        recorder.backward = True  # nothing differentiates this
        recorder.strict = True

        def given(x: Tensor) -> Ids:
            return argument_ids(recorder, x)

        before = _ids(recorder, kept, copies, rows, given)
        before["gradient"] = np.concatenate([given(_gradient(p)).ravel() for p in copies])
        with recorder:
            kept.step(lambda: torch.zeros(()))
        results = _ids(recorder, kept, copies, rows, recorder.memory.ids)
        return Recorded(recorder.record, before, results, tuple(recorder.foreign))

    return again


def _ids(
    recorder: Recorder, optimizer: Any, parameters: Sequence[Tensor], rows: int, ids: Callable[[Tensor], Ids]
) -> dict[str, Ids]:
    """Where in the record weights and state are, as `_padded` has them; what are numbers of Python are left out."""
    held = _held(optimizer, parameters)
    found = {"w": np.concatenate([ids(p).ravel() for p in parameters])}
    for part, theirs in _NAMES.items():
        x = held.get(theirs)
        if isinstance(x, Tensor):
            found[theirs] = ids(x)
        elif part in _HISTORIES and x:
            pairs = np.stack([ids(row) for row in reversed(x)])
            none = np.full((rows - len(x), *pairs.shape[1:]), recorder.record.number(0.0))
            found[theirs] = np.concatenate([pairs, none])
    return found
