"""Work that takes long: how it is interrupted, and where it is done."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, NoReturn

from gradconform.conformance.command_line.terminal import Terminal
from gradconform.conformance.run import run_summary
from gradconform.conformance.run.run_file import Unwritable
from gradconform.conformance.run.supervisor import WorkerFailure
from gradconform.reference.cases import BadInput

if TYPE_CHECKING:
    from gradconform.conformance.run.cluster import Cluster


@contextmanager
def interruptible(command: str) -> Iterator[None]:
    """Ctrl-C, a closed terminal, SIGTERM, a full disk: the workers end, and the message says how to go on."""

    def interrupt(number: int, _: object) -> NoReturn:
        raise KeyboardInterrupt(signal.Signals(number).name)

    ends = [n for n in (signal.SIGTERM, getattr(signal, "SIGHUP", None)) if n is not None]
    saved = {number: signal.signal(number, interrupt) for number in ends}
    onward = f"what was measured is on disk; go on with: {command}"
    if not command:
        onward = "what was measured is on standard output"
    try:
        yield
    except KeyboardInterrupt as error:
        raise KeyboardInterrupt(f"interrupted; {onward}") from error
    except (Unwritable, WorkerFailure) as error:
        raise type(error)(f"{error}; {onward}") from error
    finally:
        for number, handler in saved.items():
            signal.signal(number, handler)


@contextmanager
def on_cluster(address: str, specs: Sequence[str], told: Terminal) -> Iterator[Cluster]:
    """The cluster of a scheduler; at the end, what it lost. Raises BadInput where it cannot be used."""
    try:
        from gradconform.conformance.run import cluster
    except ImportError as error:
        raise BadInput(f"--scheduler needs dask ({error}); python -m pip install 'gradconform[cluster]'") from error
    with cluster.connected(address, specs) as found:
        yield found
        if found.losses.workers:
            lost = run_summary.counted(found.losses.workers, "worker")
            again = run_summary.counted(found.losses.tasks, "task")
            told.say(f"lost on the way: {lost}; done again: {again}", "yellow")
