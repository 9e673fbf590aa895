"""The ids of PyTorch tensors: an integer shadow of every storage.

Views and aliases share a storage, and so a shadow: writing through one shows in all of them, and no rule for views is
needed. Of floating-point tensors the shadow holds the ids of their numbers, of complex ones those of both parts, as
they lie in memory, of others the decisions that they hold.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gradconform.adapters.recording.complexes import Complexes
from gradconform.reference.arithmetic.formats import BFLOAT16, FLOAT16, FLOAT32, FLOAT64, Format
from gradconform.reference.programs.record import ZERO, Ids, Numbers, Record
from gradconform.reference.programs.run import NotRecorded

FORMAT: dict[torch.dtype, Format] = {
    torch.float64: FLOAT64,
    torch.float32: FLOAT32,
    torch.float16: FLOAT16,
    torch.bfloat16: BFLOAT16,
}
#: Complex dtypes, with that of their parts.
PARTS: dict[torch.dtype, torch.dtype] = {torch.complex128: torch.float64, torch.complex64: torch.float32}


def real(x: object) -> bool:
    """Whether x is a tensor of real numbers that are rounded."""
    return isinstance(x, Tensor) and x.dtype.is_floating_point


def rounded(x: object) -> bool:
    """Whether x is a tensor of numbers that are rounded, real or complex: the rest is data."""
    return isinstance(x, Tensor) and (x.dtype.is_floating_point or x.dtype.is_complex)


def format_of(x: Tensor) -> Format:
    """The format of a tensor's numbers; of complex ones, of their parts."""
    found = FORMAT.get(PARTS.get(x.dtype, x.dtype))
    if found is None:
        raise NotRecorded(
            f"a tensor of {x.dtype}; expected float64, float32, float16, bfloat16, complex128 or complex64"
        )
    return found


def shape_of(x: Tensor) -> tuple[int, ...]:
    """The shape of a tensor's ids: complex numbers have one axis more, of two parts."""
    return (*x.shape, 2) if x.is_complex() else tuple(x.shape)


def empty_zero(x: Tensor) -> bool:
    """Whether a tensor has no memory and stands for zeros."""
    return x._is_zerotensor() or x.device.type == "meta"


def unreadable(x: Tensor) -> str:
    """Why the numbers of a tensor that somebody gave cannot be read, and what to give; empty where they can."""
    if x.layout != torch.strided:
        return f"is of layout {x.layout}; expected a dense tensor: give x.to_dense()"
    if x.device.type == "meta":
        return "is on the device meta, where a tensor holds no numbers; expected one that does"
    return ""


def numbers(x: Tensor) -> Numbers:
    """What a tensor holds, in float64; of complex numbers both parts, along a last axis."""
    x = x.detach()
    if empty_zero(x):
        return np.zeros(shape_of(x))
    if x.is_complex():
        x = torch.view_as_real(x.resolve_conj())
    return np.asarray(x.resolve_neg().to(device="cpu", dtype=torch.float64).numpy())


def tensor_of(values: Numbers, like: Tensor) -> Tensor:
    """These numbers as a tensor of the dtype of another one; of complex numbers, both parts along a last axis."""
    found = torch.from_numpy(np.array(values, dtype=np.float64))
    return (torch.view_as_complex(found) if like.is_complex() else found).to(like.detach())


@dataclass
class _Shadow:
    ids: Ids  # of the parts, where the numbers are complex
    dtype: torch.dtype
    storage: torch.UntypedStorage  # kept alive, so that no other storage takes its address
    unfilled: bool = False  # no operation has written to it yet


def _kind(x: Tensor) -> torch.dtype:
    """The dtype of what lies in a tensor's memory: of complex numbers, that of their parts."""
    return PARTS.get(x.dtype, x.dtype)


class Memory:
    """The shadows of all storages that a run has met."""

    def __init__(self, record: Record) -> None:
        self.record = record
        self._shadows: dict[int, _Shadow] = {}

    def known(self, x: Tensor) -> bool:
        """Whether the run has met this tensor's storage, as numbers of the same dtype."""
        if empty_zero(x):
            return True
        shadow = self._shadows.get(x.untyped_storage()._cdata)
        return shadow is not None and self._same(shadow, x)

    def reads_otherwise(self, x: Tensor) -> bool:
        """Whether the storage is known as numbers of another dtype: the tensor reads their bits."""
        shadow = None if empty_zero(x) else self._shadows.get(x.untyped_storage()._cdata)
        return shadow is not None and shadow.dtype != _kind(x) and (shadow.dtype.is_floating_point or rounded(x))

    @staticmethod
    def _same(shadow: _Shadow, x: Tensor) -> bool:
        return shadow.dtype == _kind(x) and len(shadow.ids) == x.untyped_storage().nbytes() // _kind(x).itemsize

    def _flat(self, x: Tensor) -> Ids:
        storage, kind = x.untyped_storage(), _kind(x)
        shadow = self._shadows.get(storage._cdata)
        if shadow is None or not self._same(shadow, x):
            count = storage.nbytes() // kind.itemsize
            ids = np.zeros(count, np.int64)
            if rounded(x) and count:
                # What no operation made is data: an argument of the closure, a parameter, a drawn number.
                flat = torch.empty(0, dtype=kind, device=x.device).set_(storage, 0, (count,), (1,))
                ids = np.array(self.record.constants(numbers(flat)))
            shadow = self._shadows[storage._cdata] = _Shadow(ids, kind, storage)
        return shadow.ids

    def _view(self, x: Tensor) -> Ids:
        """The place of a tensor's ids in its storage's; the parts of complex numbers lie beside each other."""
        flat, size = self._flat(x), 2 if x.is_complex() else 1
        strides = [8 * size * s for s in x.stride()] + [8] * (size - 1)
        return np.lib.stride_tricks.as_strided(flat[size * x.storage_offset() :], shape_of(x), strides)

    def ids(self, x: Tensor) -> Ids:
        """The ids of a tensor, or the decisions that it holds: a copy."""
        if empty_zero(x) or not x.numel():
            return np.full(shape_of(x), ZERO, np.int64)
        return self._signed(x, np.array(self._view(x)))

    def put(self, x: Tensor, ids: Ids) -> None:
        """The tensor now holds these."""
        if empty_zero(x) or not x.numel():
            return
        if not self.known(x):
            self.forget(x)
        self._view(x)[...] = self._signed(x, np.asarray(ids).reshape(shape_of(x)))
        self._shadows[x.untyped_storage()._cdata].unfilled = False

    def _signed(self, x: Tensor, ids: Ids) -> Ids:
        """What the memory holds of a conjugated or negated view, or such a view of what the memory holds."""
        if not (x.is_conj() or x.is_neg()):
            return ids
        ids, part = ids.copy(), (..., 1) if x.is_conj() else (...,)
        ids[part] = Complexes(self.record, format_of(x)).negative(ids[part].copy())
        return ids

    def forget(self, x: Tensor, unfilled: bool = False) -> None:
        """The storage holds nothing known yet: a result that is about to be put, or what is `unfilled` as yet."""
        if not empty_zero(x):
            storage = x.untyped_storage()
            count = storage.nbytes() // _kind(x).itemsize
            self._shadows[storage._cdata] = _Shadow(np.zeros(count, np.int64), _kind(x), storage, unfilled)

    def read_anew(self, x: Tensor) -> None:
        """What an operation reads that none has written to is what PyTorch has filled by itself: data."""
        shadow = None if empty_zero(x) else self._shadows.get(x.untyped_storage()._cdata)
        if shadow is not None and shadow.unfilled:
            self.drop(x)

    def drop(self, x: Tensor) -> None:
        """The storage holds what the record did not make: it is read anew as data."""
        if not empty_zero(x):
            self._shadows.pop(x.untyped_storage()._cdata, None)


class Dependence:
    """Which numbers depend on the arguments, as far as the record has come."""

    def __init__(self, record: Record) -> None:
        self.record, self._read, self._from = record, 0, np.zeros(1024, np.bool_)

    def begin(self, ids: Ids) -> None:
        self._grow()
        self._from[ids.ravel()] = True

    def _grow(self) -> None:
        if self.record.size > self._from.size:
            grown = np.zeros(max(self.record.size, 2 * self._from.size), np.bool_)
            grown[: self._from.size] = self._from
            self._from = grown

    def of(self, ids: Ids) -> bool:
        """Whether any of these does."""
        return math.prod(ids.shape) > 0 and bool(self.which(ids).any())

    def which(self, ids: Ids) -> Any:
        """Which of these do."""
        self._grow()
        for step in self.record.steps[self._read :]:
            if any(bool(self._from[read].any()) for read in step.reads()):
                self._from[step.out.ravel()] = True
        self._read = len(self.record.steps)
        return self._from[ids]
