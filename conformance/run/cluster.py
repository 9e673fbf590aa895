"""Work on an existing cluster of dask.distributed: given out by its scheduler, given back in order.

The cluster does the scheduling: what a lost worker had is done again, by another or by itself when it is back. All of
its workers must be as this process is: a worker of other versions is refused, also one that joins later.
"""

from __future__ import annotations

import asyncio
import logging
import os
import platform
import threading
import uuid
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import current_process
from typing import Any, TypeVar

from distributed import Client, WorkerPlugin, get_worker
from distributed.client import FutureCancelledError
from distributed.comm.core import connect
from distributed.scheduler import KilledWorker

from gradconform.adapters import registry
from gradconform.conformance.run import supervisor
from gradconform.conformance.run.runner import Outcome, Task, made_with
from gradconform.reference.cases import BadInput, said

#: Seconds that a scheduler has to answer, and that it has to have a worker.
PATIENCE = 5.0
#: Seconds that a cluster which had workers may be without any before a run is given up.
WITHOUT_WORKERS = 120.0
#: Seconds that a worker of the cluster keeps a process that has nothing to do.
IDLE = 120.0
#: How often one piece of work may be given up by the scheduler, each time after `allowed-failures` dead workers.
GIVEN_UP = 10

Piece = TypeVar("Piece")
Result = TypeVar("Result")


@dataclass
class Losses:
    """What a run lost on the cluster: so many workers, with so many tasks, which were done again."""

    workers: int = 0
    tasks: int = 0


@dataclass(frozen=True)
class Cluster:
    """A scheduler that answered, and whose workers are of one kind."""

    client: Client
    #: What this run's work has for a name there.
    name: str
    losses: Losses

    def outcomes(self, tasks: Sequence[Task]) -> Iterator[Outcome]:
        """The outcomes in the order of the tasks, as `supervisor.outcomes` gives them on one machine."""
        return ordered(self, _judged, tasks, supervisor.AHEAD)

    def ordered(self, function: Callable[[Piece], Result], pieces: Sequence[Piece]) -> Iterator[Result]:
        """What a function makes of each piece, in their order, by the workers themselves."""
        return ordered(self, function, pieces, supervisor.AHEAD)


def identity(specs: Sequence[str]) -> dict[str, str]:
    """What measurements depend on that may differ from one machine to another: versions, and the architecture."""
    registry.keep_working_folder(specs)
    adapters = {c.adapter.name: c.adapter for spec in specs for c in registry.choose(spec)}
    made = made_with({name: registry.versions(a) for name, a in adapters.items()}, (), {})
    frameworks = {package: v for of in made["frameworks"].values() for package, v in of.items()}
    own = {"gradconform": made["suite_version"], "python": made["python"], "machine": made["machine"]}
    return {**own, **made["packages"], **frameworks}


def differences(here: Mapping[str, str], there: Mapping[str, str]) -> str:
    """What is not the same, by name; empty where all is."""
    names = [name for name in {**here, **there} if here.get(name) != there.get(name)]
    return ", ".join(f"{name} {there.get(name, 'none')} (here {here.get(name, 'none')})" for name in names)


@contextmanager
def connected(address: str, specs: Sequence[str]) -> Iterator[Cluster]:
    """The cluster whose scheduler has an address, for adapters and other objects of these specifications.

    Raises BadInput if it does not answer, has no workers, or has one of other versions than this process.
    """
    with _quiet(), _client(address) as client:
        here = identity(specs)
        _check_workers(client, address, here, specs)
        name = f"gradconform-{uuid.uuid4().hex[:12]}"
        cluster = Cluster(client, name, Losses())
        client.subscribe_topic("all", lambda event: _lost(event, cluster))
        client.register_plugin(Kept(name, here, tuple(specs)), name=name)
        try:
            yield cluster
        finally:
            with suppress(Exception):  # the cluster may be gone, and there is nothing left to end
                client.unsubscribe_topic("all")
                client.unregister_worker_plugin(name)


@contextmanager
def _client(address: str) -> Iterator[Client]:
    async def answered() -> None:
        comm = await connect(address, timeout=PATIENCE)
        comm.abort()

    try:
        # A client waits without end for one that takes the connection and says nothing.
        asyncio.run(asyncio.wait_for(answered(), PATIENCE))
        client = Client(address, timeout=PATIENCE, set_as_default=False)
    except (OSError, ValueError, TypeError, ImportError) as error:
        raise BadInput(
            f"the scheduler {address!r} does not answer in {PATIENCE:g} s ({said(error)}); expected the address that "
            "`dask scheduler` prints, such as tcp://127.0.0.1:8786"
        ) from error
    try:
        client.wait_for_workers(1, timeout=PATIENCE)
        yield client
    except TimeoutError as error:
        raise BadInput(f"the scheduler {address!r} has no workers; start some: dask worker {address}") from error
    finally:
        client.close(timeout=PATIENCE)


def _check_workers(client: Client, address: str, here: Mapping[str, str], specs: Sequence[str]) -> None:
    def asked() -> dict[str, str]:
        # By value: on a worker without this suite it is this import that fails, and is told.
        from gradconform.conformance.run.cluster import identity

        return identity(specs)

    for worker, found in sorted(client.run(asked, on_error="return").items()):
        if isinstance(found, OSError):
            continue  # it died meanwhile; when it is back it is asked as one that joins later
        if isinstance(found, Exception):
            raise BadInput(f"the worker {worker} of {address} cannot take part: {type(found).__name__}: {said(found)}")
        if unlike := differences(here, found):
            raise BadInput(
                f"the worker {worker} of {address} has {unlike}; a run has one set of versions: install the same"
            )


@contextmanager
def _quiet() -> Iterator[None]:
    """What dask logs of lost workers and closed connections is told in the run's own words."""
    logger = logging.getLogger("distributed")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        logger.setLevel(level)


def _lost(event: tuple[float, Mapping[str, Any]], cluster: Cluster) -> None:
    _, message = event
    if message.get("action") == "remove-worker":
        keys = {*message["processing-tasks"], *message["lost-computed-tasks"]}
        cluster.losses.workers += 1
        cluster.losses.tasks += sum(str(key).startswith(cluster.name) for key in keys)


def ordered(
    cluster: Cluster, function: Callable[[Piece], Result], pieces: Sequence[Piece], ahead: int
) -> Iterator[Result]:
    """What a function makes of each piece, in order, on the cluster; `ahead` are done beyond the first that is not.

    Raises BadInput where a worker of other versions took one, and WorkerFailure where the cluster ends.
    """
    client = cluster.client
    under_way: deque[Any] = deque()
    following = 0
    try:
        for number in range(len(pieces)):
            while following < len(pieces) and following < number + ahead:
                under_way.append(_submitted(cluster, function, pieces[following], f"{following}"))
                following += 1
            for attempt in range(GIVEN_UP):
                try:
                    yield _result(under_way[0], client)
                    break
                except KilledWorker:
                    under_way[0] = _submitted(cluster, function, pieces[number], f"{number}-{attempt}")
            else:
                raise supervisor.WorkerFailure(f"workers of the cluster die again and again under task {number}")
            under_way.popleft()
    except (OSError, FutureCancelledError) as error:
        raise supervisor.WorkerFailure(f"the cluster is gone ({said(error)})") from error
    finally:
        with suppress(Exception):
            client.cancel(list(under_way))


def _submitted(cluster: Cluster, function: Callable[[Piece], Result], piece: Piece, number: str) -> Any:
    return cluster.client.submit(_performed, cluster.name, function, piece, key=f"{cluster.name}-{number}", pure=False)


def _result(future: Any, client: Client) -> Any:
    waited = 0.0
    while True:
        try:
            return future.result(timeout=PATIENCE)
        except TimeoutError:
            waited = 0.0 if client.scheduler_info(n_workers=-1)["workers"] else waited + PATIENCE
            if client.status != "running":
                raise supervisor.WorkerFailure("the scheduler does not answer any more") from None
            if waited >= WITHOUT_WORKERS:
                raise supervisor.WorkerFailure(f"the cluster has had no worker for {waited:g} s") from None


def _performed(name: str, function: Callable[[Piece], Result], piece: Piece) -> Result:
    """On a worker of the cluster: one piece of the work of a run, which keeps what it needs there under its name."""
    kept = get_worker().plugins[name]
    assert isinstance(kept, Kept)
    kept.check()
    _here.kept = kept
    return function(piece)


def _judged(task: Task) -> Outcome:
    kept: Kept = _here.kept
    return kept.perform(task)


#: The run whose work a thread of a worker of the cluster does.
_here = threading.local()


class Kept(WorkerPlugin):
    """What a worker of the cluster keeps for a run: processes of the supervisor's, one for each of its threads.

    An adapter that crashes or hangs ends one of those and not the worker, as it does on one machine.
    """

    def __init__(self, name: str, expected: Mapping[str, str], specs: tuple[str, ...]) -> None:
        self.name = name
        self.expected = expected
        self.specs = specs
        self.unlike: str | None = None

    def setup(self, worker: Any) -> None:
        self.idle: list[list[supervisor.Worker]] = []
        self.closed = False
        self.timer: threading.Timer | None = None
        # A daemon may have no children. A nanny makes its worker one only to have it end with itself, which the worker
        # also does by watching the nanny; and this worker's children watch it.
        current_process().daemon = False

    def teardown(self, worker: Any) -> None:
        self.closed = True
        self._end_idle()

    def check(self) -> None:
        """Raise BadInput if this worker, which may have joined later than the others, is none of their kind."""
        if self.unlike is None:
            self.unlike = differences(self.expected, identity(self.specs))
        if self.unlike:
            raise BadInput(f"a worker that joined on {platform.node()}, process {os.getpid()}, has {self.unlike}")

    def perform(self, task: Task) -> Outcome:
        processes = self.idle.pop() if self.idle else []
        try:
            (outcome,) = supervisor.outcomes([task], 1, kept=processes)
            return outcome
        finally:
            self.idle.append(processes)
            self._rest()

    def _rest(self) -> None:
        """End what is idle: at once where the run is over, and after a while: who began the run may be dead."""
        if self.closed:
            self._end_idle()
            return
        if self.timer is not None:
            self.timer.cancel()
        self.timer = threading.Timer(IDLE, self._end_idle)
        self.timer.daemon = True
        self.timer.start()

    def _end_idle(self) -> None:
        if self.timer is not None:
            self.timer.cancel()
        while self.idle:
            for process in self.idle.pop():
                process.end()
