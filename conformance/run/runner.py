"""The runner: the tasks of a run, and what is made of one, here or in a worker process (see `supervisor`).

The seam is `perform`, a pure function from a picklable task to an outcome. No ball crosses it.
"""

from __future__ import annotations

import platform
import shlex
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gradconform.adapters import registry
from gradconform.conformance.answers import ask
from gradconform.conformance.cases.catalogue import ids
from gradconform.conformance.check import judge_answer
from gradconform.conformance.known import Files, KnownFile, brought_by, entries_for, known_files, marked
from gradconform.conformance.own_forms import own_forms
from gradconform.reference.cases import BadInput, Case, point
from gradconform.reference.measurement import Measurement

SUITE_VERSION = "0.2.0"


#: Seconds that one route may take on one case, its compilation and its judgement included, where nothing else is said.
TIMEOUT = 600.0


@dataclass(frozen=True)
class Task:
    """One case at one dtype, for several routes: they share the truth.

    `chosen_by` are the options that choose the case on the command line, other than `-c` and its id; `timeout` is in
    seconds, for one route. `known` are the files of known deviations that are taken beside the suite's own.
    """

    case: Case
    dtype: str
    device: str
    profile: str
    routes: tuple[str, ...]
    chosen_by: tuple[str, ...] = ()
    timeout: float = TIMEOUT
    known: tuple[KnownFile, ...] = ()

    def command(self, spec: str) -> str:
        """The command that asks one route this task's question."""
        case = self.chosen_by or ("-c", self.case.id)
        known = tuple(part for file in self.known for part in ("--known", file.path))
        return shlex.join(("gradconform", "run", "-a", spec, *case, "-d", self.dtype, *self._as_chosen, *known))

    def explained(self, spec: str) -> str:
        """The command that shows what one route answers, equation by equation."""
        chosen = list(self.chosen_by)
        if self.case.id in chosen:  # with a seed; what a module gives is told by an option of its own
            del chosen[:2]
        elif chosen:
            chosen[0] = "--from"
        return shlex.join(
            ("gradconform", "explain", self.case.id, *chosen, "-a", spec, "-d", self.dtype, *self._as_chosen)
        )

    @property
    def _as_chosen(self) -> tuple[str, ...]:
        """The options of both commands that are not as they are by default."""
        device = () if self.device == "cpu" else ("--device", self.device)
        profile = () if self.profile == "opencl" else ("--profile", self.profile)
        timeout = () if self.timeout == TIMEOUT else ("--timeout", f"{self.timeout:g}")
        return (*device, *profile, *timeout)


@dataclass(frozen=True)
class Outcome:
    """A task's measurements, and the seconds that each route took, its judgement included."""

    measurements: tuple[Measurement, ...]
    seconds: tuple[tuple[str, float], ...]


def perform(task: Task) -> Outcome:
    """Ask every route of a task, in this process, and judge what it answers."""
    measurements: list[Measurement] = []
    seconds: list[tuple[str, float]] = []
    at = point(task.case, task.dtype, task.device)
    for spec in task.routes:
        started = time.perf_counter()
        for chosen in registry.choose(spec):
            answer = ask(chosen.adapter, chosen.route, at, task.command(chosen.spec))
            found = (
                [answer]
                if isinstance(answer, Measurement)
                else judge_answer(answer, chosen.adapter, chosen.route, at, task.profile)
            )
            entries = entries_for([chosen.adapter], task.known)
            measurements += marked(found, registry.versions(chosen.adapter), task.device, entries, task.case.equations)
        seconds.append((spec, time.perf_counter() - started))
    return Outcome(tuple(measurements), tuple(seconds))


def plan(
    chosen: Sequence[registry.Chosen],
    cases: Sequence[Case],
    dtypes: Sequence[str],
    device: str,
    profile: str,
    seed: int = 0,
    globs: Sequence[str] = (),
    timeout: float = TIMEOUT,
    known: Files = (),
) -> list[Task]:
    """The tasks of a run; `seed` and `globs` are those that chose the cases, `known` files of known deviations.

    Raises BadInput for a case that a dtype cannot hold, for names that rows could not be told apart by, for files of
    known deviations that are wrong, and for an adapter's own forms that are, before anything runs.
    """
    files = known_files(known)
    entries_for([c.adapter for c in chosen], files)
    for c in chosen:
        own_forms(c.adapter)
    for kind, names in (
        ("case", [c.id for c in cases]),
        ("route", [f"{c.adapter.name}/{c.route.name}" for c in chosen]),
    ):
        twice = [name for name, count in Counter(names).items() if count > 1]
        if twice:
            raise BadInput(f"two of the {kind}s are called {twice[0]!r}; their measurements could not be told apart")
    specs = tuple(c.spec for c in chosen)
    listed = set(ids())
    imported = tuple(part for glob in globs if ":" in glob for part in ("-c", glob))
    seeded = () if seed == 0 else ("--seed", str(seed))
    tasks = []
    for case in cases:
        chosen_by = imported if case.id not in listed else ("-c", case.id, *seeded) if seeded else ()
        tasks += [Task(case, dtype, device, profile, specs, chosen_by, timeout, files) for dtype in dtypes]
    for task in tasks:
        point(task.case, task.dtype, task.device)
    return tasks


def check_device(chosen: Sequence[registry.Chosen], device: str) -> None:
    """Raise BadInput if an adapter cannot use the device."""
    if not isinstance(device, str):
        raise BadInput(f"device is a {type(device).__name__}; expected a name, such as 'cpu'")
    for adapter in {id(c.adapter): c.adapter for c in chosen}.values():
        reason = registry.unavailable(adapter, device)
        if reason:
            raise BadInput(f"device {device!r}: {reason}")


def provenance(chosen: Sequence[registry.Chosen], known: Files = ()) -> dict[str, Any]:
    """What a run was made with, for its header; `known` are the files of known deviations that it was given.

    `known_brought` says where adapters keep those that they bring themselves.
    """
    adapters = {c.adapter.name: c.adapter for c in chosen}
    brought = {name: file.path for name, a in adapters.items() if (file := brought_by(a)) is not None}
    return made_with({n: registry.versions(a) for n, a in adapters.items()}, known_files(known), brought)


def made_with(
    frameworks: Mapping[str, Mapping[str, str]], known: Sequence[KnownFile], brought: Mapping[str, str]
) -> dict[str, Any]:
    """The suite, the frameworks' versions by adapter, the files of known deviations, the machine: for a header."""
    from importlib.metadata import version

    return {
        "suite": "gradconform",
        "suite_version": SUITE_VERSION,
        "known": [file.path for file in known],
        "known_brought": brought,
        "frameworks": frameworks,
        "python": sys.version.split()[0],
        "packages": {n: version(n) for n in ("numpy", "python-flint", "scipy")},
        "platform": platform.platform(),
        "machine": platform.machine(),
    }
