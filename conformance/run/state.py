"""Global state that an adapter may change under everybody else: what it was, what changed, and putting it back.

Only frameworks that are already loaded are looked at; nothing is imported for it.
"""

from __future__ import annotations

import ctypes
import os
import random
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from flint import ctx

#: Numbers that show the floating-point mode of this thread: each sum or product is rounded, flushed or neither.
_LEFT = np.array([2.0**-1074, 2.0**-1022, 1.0, -1.0, 1.0])
_RIGHT = np.array([1.0, 0.5, 2.0**-60, -(2.0**-60), -(2.0**-60)])
#: Variables by which libraries compute otherwise: no framework sets one, and one that is new is everybody's.
COMPUTING = (
    "CUBLAS_WORKSPACE_CONFIG", "DNNL_DEFAULT_FPMATH_MODE", "JAX_DEFAULT_MATMUL_PRECISION", "JAX_DISABLE_JIT",
    "JAX_ENABLE_X64", "MKL_CBWR", "MKL_DYNAMIC", "MKL_NUM_THREADS", "NVIDIA_TF32_OVERRIDE", "OMP_DYNAMIC",
    "OMP_NUM_THREADS", "ONEDNN_DEFAULT_FPMATH_MODE", "OPENBLAS_NUM_THREADS", "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE",
    "XLA_FLAGS",
)  # fmt: skip


@dataclass(frozen=True)
class Setting:
    """One piece of global state: how it is read, as something that compares, and how it is put back."""

    name: str
    get: Callable[[], Any]
    put: Callable[[Any], object]


def snapshot() -> dict[str, Any]:
    """Every setting's value now, by name."""
    return {s.name: s.get() for s in _settings("torch" in sys.modules, "jax" in sys.modules)}


def changed(before: Mapping[str, Any]) -> list[str]:
    """The names of the settings that are no longer what they were."""
    now = snapshot()
    # Another variable that is new is what a library set for its own children when it was first used.
    of_before = {*before["environment"], *COMPUTING}
    now["environment"] = {k: v for k, v in now["environment"].items() if k in of_before}
    return [name for name, value in before.items() if now[name] != value]


def restore(before: Mapping[str, Any], names: list[str]) -> bool:
    """Put the named settings back; whether that succeeded."""
    for setting in _settings("torch" in sys.modules, "jax" in sys.modules):
        if setting.name in names:
            setting.put(before[setting.name])
    return not changed(before)


@lru_cache(maxsize=4)
def _settings(torch: bool, jax: bool) -> tuple[Setting, ...]:
    """What is watched, given whether the frameworks are loaded."""
    found = (
        Setting("working directory", os.getcwd, os.chdir),
        Setting("environment", lambda: dict(os.environ), _put_environment),
        Setting("random seed of Python", random.getstate, random.setstate),
        Setting("random seed of NumPy", _numpy_random, _put_numpy_random),
        Setting("NumPy's error handling", np.geterr, lambda value: np.seterr(**value)),
        Setting("precision of python-flint", lambda: ctx.prec, _put_precision),
        Setting("floating-point mode", _floating_point_mode, _put_default_mode),
    )
    return found + (_torch_settings(sys.modules["torch"]) if torch else ()) + (
        _jax_settings(sys.modules["jax"]) if jax else ()
    )  # fmt: skip


def _put_environment(value: Mapping[str, str]) -> None:
    os.environ.clear()
    os.environ.update(value)


def _numpy_random() -> tuple[Any, ...]:
    name, keys, *rest = np.random.get_state(legacy=True)
    return (name, np.asarray(keys).tobytes(), *rest)


def _put_numpy_random(value: tuple[Any, ...]) -> None:
    name, keys, *rest = value
    np.random.set_state((name, np.frombuffer(keys, dtype=np.uint32), *rest))


def _put_precision(bits: int) -> None:
    ctx.prec = bits


def _floating_point_mode() -> bytes:
    """Subnormal operands kept or not, subnormal results kept or not, and the direction of rounding, as results."""
    with np.errstate(all="ignore"):
        return bytes(np.concatenate([_LEFT[:2] * _RIGHT[:2], _LEFT[2:] + _RIGHT[2:]]).tobytes())


def _put_default_mode(_: bytes) -> None:
    """The mode that a process starts with: rounded to nearest, nothing flushed (FE_DFL_ENV of glibc is −1)."""
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).fesetenv(ctypes.c_void_p(-1))
    if "torch" in sys.modules:
        sys.modules["torch"].set_flush_denormal(False)


def _torch_settings(torch: Any) -> tuple[Setting, ...]:
    matmul = torch.backends.cuda.matmul

    def put_random(value: bytes) -> None:
        torch.set_rng_state(torch.frombuffer(bytearray(value), dtype=torch.uint8))

    def put_tf32(value: bool) -> None:
        matmul.allow_tf32 = value

    return (
        Setting("default dtype of torch", torch.get_default_dtype, torch.set_default_dtype),
        Setting("threads of torch", torch.get_num_threads, torch.set_num_threads),
        Setting("gradient mode of torch", torch.is_grad_enabled, torch.set_grad_enabled),
        Setting("random seed of torch", lambda: torch.get_rng_state().numpy().tobytes(), put_random),
        Setting("deterministic mode of torch", torch.are_deterministic_algorithms_enabled,
                torch.use_deterministic_algorithms),
        Setting("TF32 of torch", lambda: matmul.allow_tf32, put_tf32),
    )  # fmt: skip


def _jax_settings(jax: Any) -> tuple[Setting, ...]:
    def flag(name: str) -> Setting:
        return Setting(name, lambda: getattr(jax.config, name), lambda value: jax.config.update(name, value))

    names = ("jax_enable_x64", "jax_default_matmul_precision", "jax_disable_jit", "jax_debug_nans")
    return tuple(flag(name) for name in names)
