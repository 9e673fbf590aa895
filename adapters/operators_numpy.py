"""The operators of the catalogue in NumPy and SciPy, for finite differences: what each is called there."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: Operators that NumPy or SciPy have under another name.
_RENAMED = {
    "lgamma": "scipy.special.gammaln", "sigmoid": "scipy.special.expit", "log_sigmoid": "scipy.special.log_expit",
    "digamma": "scipy.special.psi", "airy_ai": "", "erfinv": "scipy.special.erfinv", "atan2": "numpy.arctan2",
    "spherical_bessel_j0": "", "softmax": "scipy.special.softmax", "log_softmax": "scipy.special.log_softmax",
    "k0e": "scipy.special.k0e", "k1e": "scipy.special.k1e", "logsumexp": "scipy.special.logsumexp",
}  # fmt: skip
#: Of these the arguments are other ones than the catalogue's.
_OTHERWISE = frozenset({
    "where", "clamp", "polygamma", "multigammaln", "zeta", "sort", "gather", "take", "norm", "fft", "ifft", "rfft",
    "irfft", "fft2", "cross", "trace", "kron", "inv", "solve", "det", "slogdet", "pinv", "qr", "svd", "cholesky",
})  # fmt: skip


def called(name: str) -> str:
    """What an elementwise operator is called in NumPy or SciPy; empty where they have none of the same arguments."""
    if name in _RENAMED:
        return _RENAMED[name]
    if name in _OTHERWISE:
        return ""
    names = [(np, "numpy", name), (np, "numpy", f"arc{name[1:]}")]
    special = import_module("scipy.special")
    for module, title, attribute in [*names, (special, "scipy.special", name)]:
        if isinstance(getattr(module, attribute, None), np.ufunc):
            return f"{title}.{attribute}"
    return ""


def callable_of(name: str) -> Callable[..., Any] | None:
    """NumPy's or SciPy's function for an operator; None where they have none."""
    module, _, attribute = called(name).rpartition(".")
    found: Callable[..., Any] | None = getattr(import_module(module), attribute) if module else None
    return found


def array(numbers: NDArray[Any], dtype: str, strided: bool = False) -> NDArray[Any]:
    """These numbers as an array of the dtype, or with its axes in memory the other way round."""
    found = numbers.astype(dtype) if numbers.dtype.kind == "f" else numbers
    return np.asfortranarray(found) if strided else found
