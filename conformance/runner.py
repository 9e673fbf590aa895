"""The runner: tasks in, measurements out, over spawned worker processes, in the order of the tasks.

The seam is `perform`, a pure function from a picklable task to an outcome. No ball crosses it.
"""

from __future__ import annotations

import os
import platform
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Any

from gradconform.adapters import registry
from gradconform.conformance.check import check_route
from gradconform.conformance.known import marked
from gradconform.conformance.measurement import Measurement
from gradconform.reference.cases import BadInput, Case, point

SUITE_VERSION = "0.1.0"


@dataclass(frozen=True)
class Task:
    """One case at one dtype, for several routes: they share the truth."""

    case: Case
    dtype: str
    device: str
    profile: str
    routes: tuple[str, ...]


@dataclass(frozen=True)
class Outcome:
    """A task's measurements, and the seconds that each route took, its judgement included."""

    measurements: tuple[Measurement, ...]
    seconds: tuple[tuple[str, float], ...]


def perform(task: Task) -> Outcome:
    """Ask every route of a task and judge what it answers."""
    measurements: list[Measurement] = []
    seconds: list[tuple[str, float]] = []
    at = point(task.case, task.dtype, task.device)
    for spec in task.routes:
        started = time.perf_counter()
        for chosen in registry.choose(spec):
            found = check_route(chosen.adapter, chosen.route, at, task.profile)
            measurements += marked(found, registry.versions(chosen.adapter), task.device)
        seconds.append((spec, time.perf_counter() - started))
    return Outcome(tuple(measurements), tuple(seconds))


def plan(
    chosen: Sequence[registry.Chosen], cases: Sequence[Case], dtypes: Sequence[str], device: str, profile: str
) -> list[Task]:
    """The tasks of a run; a case that a dtype cannot hold is refused here, before anything runs."""
    specs = tuple(c.spec for c in chosen)
    tasks = [Task(case, dtype, device, profile, specs) for case in cases for dtype in dtypes]
    for task in tasks:
        point(task.case, task.dtype, task.device)
    return tasks


def outcomes(tasks: Sequence[Task], jobs: int) -> Iterator[Outcome]:
    """The outcomes in the order of the tasks, from `jobs` worker processes, or from this one if that is 1."""
    if jobs == 1 or len(tasks) == 1:
        yield from map(perform, tasks)
        return
    with ProcessPoolExecutor(min(jobs, len(tasks)), get_context("spawn"), _settle) as pool:
        try:
            yield from pool.map(perform, tasks, chunksize=4)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _settle() -> None:
    """One thread a worker: workers are as many as cores, and these networks are small."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, "1")


def check_device(chosen: Sequence[registry.Chosen], device: str) -> None:
    """Raise BadInput if an adapter cannot use the device."""
    for adapter in {id(c.adapter): c.adapter for c in chosen}.values():
        reason = registry.unavailable(adapter, device)
        if reason:
            raise BadInput(f"device {device!r}: {reason}")


def provenance(chosen: Sequence[registry.Chosen]) -> dict[str, Any]:
    """What a run was made with, for its header."""
    from importlib.metadata import version

    adapters = {c.adapter.name: c.adapter for c in chosen}
    return {
        "suite": "gradconform",
        "suite_version": SUITE_VERSION,
        "frameworks": {n: registry.versions(a) for n, a in adapters.items()},
        "python": sys.version.split()[0],
        "packages": {n: version(n) for n in ("numpy", "python-flint", "scipy")},
        "platform": platform.platform(),
        "machine": platform.machine(),
    }
