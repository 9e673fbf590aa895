"""A sweep from the command line: its chunks, by processes here or on a cluster, into a file, and what they come to."""

from __future__ import annotations

import os
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from multiprocessing import get_context
from typing import Any

from gradconform.adapters import registry
from gradconform.conformance import operators
from gradconform.conformance.known import known_deviations
from gradconform.conformance.run.inherited import inherited
from gradconform.conformance.run.runner import made_with
from gradconform.conformance.run.supervisor import WorkerFailure
from gradconform.conformance.sweep.chunk import QUANTITIES, Task, asked, plain
from gradconform.conformance.sweep.numbers import LEAST, Piece, numbers
from gradconform.reference.derivations.operators.catalogue import OPERATORS
from gradconform.reference.measurement import PROGRAM, Measurement

#: Numbers up to which a sweep takes less time than further processes take to begin.
ALONE = 1 << 17
#: Chunks that may be done ahead of the first that is not, for each process.
AHEAD = 8
#: What the quantities of a sweep are called in run files.
CALLED = ("value of output", "d/dx")
#: What makes plain data of tasks, in their order.
Asking = Callable[[Sequence[Task]], Iterator[dict[str, Any]]]


def header(name: str, dtype: str, adapter: str, profile: str, piece: Piece, every: bool = False) -> dict[str, Any]:
    """What a sweep is of and made with."""
    ends = numbers(dtype, Piece(piece.first, 2, max(1, (piece.count - 1) * piece.stride)))
    made = made_with({adapter: registry.versions(registry.load(adapter))}, (), {})
    return {
        "operator": name, "dtype": dtype, "adapter": adapter, "profile": profile, **asdict(piece), "chunk": piece.chunk,
        "from": plain(ends[0]), "to": plain(ends[-1] if piece.count > 1 else ends[0]), "every": every, **made,
        "started": datetime.now(UTC).isoformat(),
    }  # fmt: skip


def tasks(
    name: str,
    dtype: str,
    adapter: str,
    profile: str,
    piece: Piece,
    before: Mapping[str, Any] | None = None,
    every: bool = False,
) -> list[Task]:
    """The chunks of a sweep; of one that is gone on with, after this header, in the size that it was begun in."""
    size = piece.chunk if before is None else int(before.get("chunk", LEAST))
    return [Task(name, dtype, adapter, profile, part, every) for part in piece.pieces(size)]


def here(jobs: int | None) -> Asking:
    """Tasks by processes of this machine; a few numbers by this one, unless it is said how many."""
    count = jobs or os.cpu_count() or 1

    def asking(tasks: Sequence[Task]) -> Iterator[dict[str, Any]]:
        if jobs is None and sum(task.piece.count for task in tasks) <= ALONE:
            yield from map(asked, tasks)
            return
        under_way: deque[Future[dict[str, Any]]] = deque()
        with inherited(), ProcessPoolExecutor(min(count, len(tasks)), get_context("spawn")) as pool:
            try:
                for task in tasks:
                    if len(under_way) >= AHEAD * count:
                        yield under_way.popleft().result()
                    under_way.append(pool.submit(asked, task))
                while under_way:
                    yield under_way.popleft().result()
            except BrokenProcessPool as error:
                raise WorkerFailure(f"a process ended while it swept: {error}") from error
            finally:
                pool.shutdown(wait=True, cancel_futures=True)

    return asking


def known_of(whole: Mapping[str, Any], header: Mapping[str, Any]) -> Iterator[str]:
    """What is known to deviate of a quantity in which numbers do, by the operator's name in run files.

    An entry is told and excuses nothing: of a sweep it is not asked number by number whether it is as large as that.
    """
    name, adapter, dtype = (header[key] for key in ("operator", "adapter", "dtype"))
    for quantity, called in zip(QUANTITIES, CALLED, strict=True):
        if not whole.get(quantity, {}).get("verdicts", {}).get("deviates"):
            continue
        row = Measurement(case=f"{PROGRAM}operator/{name}", adapter=adapter, route="eager", dtype=dtype, level="whole",
                          quantity=called, elements=1, verdict="deviates", operator=name)  # fmt: skip
        yield from (
            f"known of its {quantity}: {entry.id}: {entry.reason}"
            for entry in known_deviations()
            if entry.asks(row, header["frameworks"][adapter], "cpu")
            and fnmatchcase(called, entry.quantity)
            and any(o != "*" and fnmatchcase(name, o) for o in entry.operator.split())
        )


def exit_status(whole: Mapping[str, Any], fail_on: Sequence[str]) -> int:
    """0 nothing deviates, 1 a number does or has a verdict that counts as a failure, 3 something is undecided."""
    counts: Counter[str] = Counter()
    for quantity in QUANTITIES:
        counts.update(whole.get(quantity, {}).get("verdicts", {}))
    if any(counts[word] for word in ("deviates", *fail_on)):
        return 1
    return 3 if counts["undecided"] else 0


def listed() -> list[str]:
    """A line for each operator that can be swept, and where there is one."""
    lines = []
    for of in OPERATORS.values():
        if of.unary and of.definition is not None:
            there = [f for f in operators.JUDGED if operators.callable_of(of.name, f) is not None]
            lines.append(f"sweep/{of.name}: {', '.join(there) or 'in no framework'}; {of.source}")
    return lines
