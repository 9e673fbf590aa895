"""The supervisor: tasks handed to long-lived worker processes, and what becomes of a worker that dies or hangs.

The route that was running becomes `crashed`, with the reason and the command that reproduces it; a fresh worker goes on
with the task's other routes. A process that other routes ran in before is no witness: one of them may have left it
broken. The route is then asked once more, alone in a fresh process, and that is what counts.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing import connection, get_context, resource_tracker
from typing import Any

from gradconform.adapters import registry
from gradconform.conformance.answers import refusal
from gradconform.conformance.run.inherited import inherited
from gradconform.conformance.run.runner import Outcome, Task
from gradconform.conformance.run.worker import work
from gradconform.reference.cases import point
from gradconform.reference.measurement import Measurement

#: Seconds that a worker has to start, and how often one that does not is replaced before the run is given up.
START, STARTS = 120.0, 3
#: Seconds between two looks at the workers: a child that an adapter forked can keep the pipes of a dead one open.
LOOK = 1.0
#: Tasks that may be done ahead of the first that is not: what a kill costs, and what is held in memory.
AHEAD = 64


class WorkerFailure(Exception):
    """Worker processes do not start; the message says what was seen."""


@dataclass(eq=False)
class _Progress:
    """A task under way: what its routes gave so far."""

    number: int
    task: Task
    measurements: list[Measurement] = field(default_factory=list)
    seconds: list[tuple[str, float]] = field(default_factory=list)
    #: Whether the next route is to be asked in a process where nothing ran before.
    alone: bool = False

    @property
    def spec(self) -> str:
        return self.task.routes[len(self.seconds)]

    @property
    def done(self) -> bool:
        return len(self.seconds) == len(self.task.routes)

    def add(self, measurements: Sequence[Measurement], seconds: float) -> None:
        self.seconds.append((self.spec, seconds))
        self.measurements += measurements
        self.alone = False

    def crash(self, problem: str, seconds: float) -> None:
        at = point(self.task.case, self.task.dtype, self.task.device)
        command = self.task.command(self.spec)
        chosen = registry.choose(self.spec)
        self.add([refusal(c.adapter, c.route, at, problem, command) for c in chosen], seconds)


class Worker:
    """A worker process, the parent's side."""

    def __init__(self) -> None:
        context = get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=work, args=(theirs,))
        with inherited(), _uninterrupted():
            self.process.start()
        theirs.close()
        self.ready = False
        self.since = time.monotonic()
        #: Routes that this process has answered for.
        self.answered = 0
        self.progress: _Progress | None = None

    def give(self, progress: _Progress) -> None:
        self.progress = progress
        self.since = time.monotonic()
        with suppress(BrokenPipeError, ConnectionResetError):  # it died meanwhile; that is seen at the next look
            self.connection.send((progress.task, len(progress.seconds)))

    def message(self) -> dict[str, Any] | None:
        """The next message, None if there is none yet; raises EOFError where none will come."""
        try:
            text = self.connection.recv_bytes() if self.connection.poll() else None
        except OSError as error:
            raise EOFError from error
        if text is None:
            if self.process.exitcode is not None and not self.connection.poll():
                raise EOFError
            return None
        found: dict[str, Any] = json.loads(text)
        return found

    def end(self, patience: float = 0.0) -> str:
        """Kill the process and what it started; how it had ended, if it does within `patience` seconds."""
        self.process.join(timeout=patience)
        code = self.process.exitcode
        with suppress(ProcessLookupError, PermissionError):
            if code is None:
                self.process.kill()
            if hasattr(os, "killpg") and self.process.pid is not None:
                os.killpg(self.process.pid, signal.SIGKILL)
        self.process.join()
        self.connection.close()
        return f"exit status {code}" if code is None or code >= 0 else signal.Signals(-code).name


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """What a child is born with while this lasts: Ctrl-C waits until it can leave the terminal, and is no traceback."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # which would let the signal in again
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


#: Told of what has been running longest: its route, case and dtype, and for how many seconds.
Watch = Callable[[str, str, str, float], None]


def outcomes(
    tasks: Sequence[Task], jobs: int, watch: Watch | None = None, kept: list[Worker] | None = None
) -> Iterator[Outcome]:
    """The outcomes in the order of the tasks, from up to `jobs` worker processes.

    At every look at them `watch` is told of the one that has been running longest. The processes of `kept` are used
    first, and those that are idle at the end are left in it; without it all are ended. Raises WorkerFailure if workers
    do not start.
    """
    waiting = [_Progress(number, task) for number, task in enumerate(tasks)]
    waiting.reverse()
    done: dict[int, Outcome] = {}
    workers = [] if kept is None else kept
    following, failures = 0, 0
    try:
        while following < len(tasks):
            while waiting and len(workers) < min(jobs, len(tasks)):
                workers.append(Worker())
            for worker in [w for w in workers if w.ready and w.progress is None]:
                fit = [
                    p for p in waiting[-AHEAD:] if p.number < following + AHEAD and not (p.alone and worker.answered)
                ]
                if fit:
                    waiting.remove(fit[-1])
                    worker.give(fit[-1])
            connection.wait([x for w in workers for x in (w.connection, w.process.sentinel)], LOOK)
            for worker in list(workers):
                ended = _attend(worker)
                if worker.progress is not None and worker.progress.done:
                    done[worker.progress.number] = Outcome(
                        tuple(worker.progress.measurements), tuple(worker.progress.seconds)
                    )
                    worker.progress = None
                if not ended:
                    continue
                workers.remove(worker)
                failures = 0 if worker.ready else failures + 1
                if failures == STARTS:
                    raise WorkerFailure(f"worker processes do not start ({ended}); nothing can be judged")
                if worker.progress is not None:
                    waiting.append(worker.progress)
            if watch is not None:
                _tell(workers, watch)
            while following in done:
                yield done.pop(following)
                following += 1
    finally:
        for worker in list(workers):
            if kept is None or not worker.ready or worker.progress is not None:
                workers.remove(worker)
                worker.end()


def _tell(workers: Sequence[Worker], watch: Watch) -> None:
    busy = [(w.since, p) for w in workers if (p := w.progress) is not None and not p.done]
    if busy:
        since, progress = min(busy, key=lambda one: one[0])
        watch(progress.spec, progress.task.case.id, progress.task.dtype, time.monotonic() - since)


def _attend(worker: Worker) -> str | None:
    """Take what a worker has sent; how it ended, if it is gone or had to go."""
    try:
        while (message := worker.message()) is not None:
            worker.since = time.monotonic()
            if not worker.ready:
                worker.ready = True
                continue
            assert worker.progress is not None
            worker.progress.add([Measurement(*values) for values in message["rows"]], message["seconds"])
            worker.answered += 1
            if message["spoilt"]:
                return worker.end()
    except EOFError:
        taken = time.monotonic() - worker.since
        ended = worker.end(patience=LOOK)
        _blame(worker, f"died: the process ended with {ended}", taken)
        return ended
    taken = time.monotonic() - worker.since
    if not worker.ready and taken > START:
        worker.end()
        return f"none in {START:g} s"
    if worker.progress is not None and not worker.progress.done and taken > worker.progress.task.timeout:
        worker.end()
        _blame(worker, f"timeout: no result in {worker.progress.task.timeout:g} s", taken)
        return "timeout"
    return None


def _blame(worker: Worker, problem: str, taken: float) -> None:
    """Put an end down to the route that was running, if no other had run in the same process before it."""
    if worker.progress is None or worker.progress.done:
        return
    if worker.answered == 0:
        worker.progress.crash(problem, taken)
    else:
        worker.progress.alone = True
