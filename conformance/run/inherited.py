"""What worker processes inherit of this one besides its environment: settings that libraries read when they are loaded.

The user's own settings stay.
"""

from __future__ import annotations

import hashlib
import os
import platform
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

#: Sums of BLAS differ with the number of its threads; workers have one each.
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@contextmanager
def inherited() -> Iterator[None]:
    """The settings, for the children that are started while this lasts."""
    settings = {**dict.fromkeys(THREADS, "1"), **kept_compilations()}
    added = [name for name in settings if name not in os.environ]
    os.environ.update({name: settings[name] for name in added})
    try:
        yield
    finally:
        for name in added:
            del os.environ[name]


def kept_compilations() -> Mapping[str, str]:
    """Where JAX keeps what XLA has compiled, for the other workers and for later runs: half of a run's time.

    JAX finds what it kept by the program, its own version and its flags; the folder is of this kind of processor. Where
    there can be none everything is compiled.
    """
    try:
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        folder = cache / "gradconform" / f"xla-{_processor()}"
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError):  # a user without a home
        return {}
    if not os.access(folder, os.W_OK):
        return {}
    # Every program, not just those that take a second.
    return {"JAX_COMPILATION_CACHE_DIR": str(folder), "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}


def _processor() -> str:
    """What tells a processor from one for which other instructions are compiled."""
    told = platform.machine() + platform.processor()
    with suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        told += next((line for line in lines if line.lower().startswith(("flags", "features"))), "")
    return hashlib.sha256(told.encode()).hexdigest()[:12]
