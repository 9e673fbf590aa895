"""A worker process: it asks adapters, and nothing that they do leaves it but measurements.

Standard output and error go to files of its own, the terminal's interrupts and the parent's descriptors stay outside,
and it does not outlive its parent. What it sends are plain values, never an object of somebody else's class.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import json
import os
import signal
import sys
import tempfile
import threading
import time
from dataclasses import replace
from multiprocessing import connection, parent_process
from typing import IO, Any

from gradconform.adapters import registry
from gradconform.conformance.known import entries_for, marked
from gradconform.conformance.run.guard import Spoilt, watched
from gradconform.conformance.run.runner import Task
from gradconform.reference.cases import Point, point
from gradconform.reference.measurement import Measurement

#: Bytes that a worker may write to any one file: an adapter that prints without end does not fill the disk.
LARGEST_FILE = 1 << 30
#: `prctl`'s PR_SET_PDEATHSIG: the signal that this process gets when its parent dies (linux/prctl.h).
PARENT_DEATH_SIGNAL = 1
#: When the collector of cyclic garbage looks at objects (`gc.set_threshold`). By default it goes every few routes
#: through all that the frameworks have loaded.
COLLECTING = (10_000, 20, 20)


def work(parent: Any) -> None:
    """Perform the tasks that come over a connection, from the route that comes with each, a message for each route."""
    _contain()
    gc.set_threshold(*COLLECTING)
    output = _captured(1)
    _captured(2)
    process = os.getpid()
    parent.send_bytes(b"{}")
    while True:
        try:
            task, start = parent.recv()
        except EOFError:
            return
        at = point(task.case, task.dtype, task.device)
        for spec in task.routes[start:]:
            started = time.perf_counter()
            rows, spoilt = _measured(task, spec, at, output)
            message = {
                "rows": [list(m.row().values()) for m in rows],
                "seconds": time.perf_counter() - started,
                "spoilt": spoilt,
            }
            if os.getpid() != process:
                os._exit(1)  # an adapter forked, and this is the copy: only the original reports
            parent.send_bytes(json.dumps(message).encode())
            if spoilt:
                return


def _measured(task: Task, spec: str, at: Point, output: IO[bytes]) -> tuple[list[Measurement], bool]:
    """A route's measurements, and whether this process is of no more use."""
    rows: list[Measurement] = []
    for chosen in registry.choose(spec):
        spoilt = False
        try:
            found = watched(chosen, at, task.profile, task.command(spec))
        except Spoilt as end:
            found, spoilt = end.measurements, True
        printed = _printed(output)
        if printed:
            note = f"noise: {printed}; reproduce with: {task.command(spec)}"
            found = [replace(m, reason=f"{m.reason}; {note}" if m.reason else note) for m in found]
        entries = entries_for([chosen.adapter], task.known)
        rows += marked(found, registry.versions(chosen.adapter), task.device, entries, task.case.equations)
        if spoilt:
            return rows, True
    return rows, False


def _contain() -> None:
    """Leave the terminal, and see to it that neither memory nor the parent's death leaves anything behind."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "pthread_sigmask"):  # it was born with it blocked, and what it starts shall not be
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    threading.Thread(target=_end_with_the_parent, daemon=True).start()
    if sys.platform == "win32":
        return
    import resource

    os.setsid()
    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    if most == resource.RLIM_INFINITY or most > LARGEST_FILE:
        resource.setrlimit(resource.RLIMIT_FSIZE, (LARGEST_FILE, most))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform.startswith("linux"):
        # A thread of Python's does not run while an adapter's C code keeps the interpreter's lock; the kernel does.
        ctypes.CDLL(None).prctl(PARENT_DEATH_SIGNAL, signal.SIGKILL)
        # Where memory runs out, the kernel ends this process before its parent, which knows what to make of it.
        with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w", encoding="ascii") as score:
            score.write("1000")


def _end_with_the_parent() -> None:
    parent = parent_process()
    assert parent is not None
    connection.wait([parent.sentinel])
    os._exit(1)


def _captured(descriptor: int) -> IO[bytes]:
    """A file without a name in place of standard output or error, for C code and child processes too."""
    file = tempfile.TemporaryFile()  # noqa: SIM115 -- it stays open as long as the process
    os.dup2(file.fileno(), descriptor)
    return file


def _printed(output: IO[bytes]) -> str | None:
    """What came on standard output since the last time, in short; the file is emptied."""
    with contextlib.suppress(AttributeError, ValueError, OSError):  # an adapter may have closed it or put its own there
        sys.stdout.flush()
    size = os.fstat(output.fileno()).st_size
    if not size:
        return None
    start = os.pread(output.fileno(), 60, 0).decode(errors="replace")
    os.ftruncate(output.fileno(), 0)
    os.lseek(1, 0, os.SEEK_SET)
    return f"{size} bytes on standard output, {start!r}{'…' if size > 60 else ''}"
