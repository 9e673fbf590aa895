"""One route, watched: what an adapter must not do while it answers becomes the measurement in the answer's place.

It must not change its inputs, leave global state changed, or answer the same question with other bits.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from gradconform.adapters.contract import Answer
from gradconform.adapters.registry import BUILT_IN, Chosen
from gradconform.conformance.answers import Reported, ask, refusal
from gradconform.conformance.check import judge_answer
from gradconform.conformance.run import state
from gradconform.reference.cases import Point
from gradconform.reference.measurement import Measurement


class Spoilt(Exception):
    """Global state that could not be put back: the process is of no more use. `measurements` say whose doing it was."""

    def __init__(self, measurements: list[Measurement]) -> None:
        super().__init__("global state could not be restored")
        self.measurements = measurements


def watched(chosen: Chosen, at: Point, profile: str, command: str) -> list[Measurement]:
    """Every measurement of a route at a point; where the adapter broke the contract, the one that says how.

    Raises Spoilt if the adapter left global state that cannot be put back.
    """
    before = state.snapshot()
    answer = _asked(chosen, at, command)
    problem = _changes(before)
    if problem is None and isinstance(answer, Reported):
        first = digest(answer)
        # Judged before it is asked again: an answer may be the framework's own buffers.
        found = _judged(answer, chosen, at, profile, command)
        if asked_again(chosen, at):
            again = _asked(chosen, at, command)
            problem = _changes(before)
            if problem is None and (not isinstance(again, Reported) or digest(again) != first):
                problem = "nondeterminism: asked the same again, it answered with other bits"
    elif problem is None:
        assert isinstance(answer, Measurement)
        found = [answer]
    if problem is None:
        return found
    refused = [refusal(chosen.adapter, chosen.route, at, problem, command)]
    if state.changed(before):
        raise Spoilt(refused)
    return refused


def asked_again(chosen: Chosen, at: Point) -> bool:
    """Whether a route is asked the same question twice: always, but the built-in ones at a fixed quarter of the points.

    It depends on the question alone, so that neither the order nor the number of workers changes a measurement.
    """
    question = f"{chosen.spec} {at.case} {at.dtype}".encode()
    return chosen.spec.partition("/")[0] not in BUILT_IN or zlib.crc32(question) % 4 == 0


def _asked(chosen: Chosen, at: Point, command: str) -> Reported | Measurement:
    """What the adapter answers; KeyboardInterrupt and its like are exceptions of the adapter's too."""
    try:
        return ask(chosen.adapter, chosen.route, at, command)
    except BaseException as error:  # interrupts of the user's go to the parent process, never here
        return refusal(chosen.adapter, chosen.route, at, f"exception: {type(error).__name__}", command)


def _judged(answer: Reported, chosen: Chosen, at: Point, profile: str, command: str) -> list[Measurement]:
    try:
        return judge_answer(answer, chosen.adapter, chosen.route, at, profile)
    except Exception as error:  # an answer that changes while it is read, or a fault of ours: the run goes on
        problem = f"exception: {type(error).__name__} while the answer was judged"
        return [refusal(chosen.adapter, chosen.route, at, problem, command)]


def _changes(before: Mapping[str, Any]) -> str | None:
    """What the adapter changed of the global state, put back; None where it kept its hands off."""
    names = state.changed(before)
    if names:
        state.restore(before, names)
    named = [name if name.startswith("NumPy") else f"the {name}" for name in names]
    return f"state: it changed {', '.join(named)}" if named else None


def digest(answer: Answer) -> bytes:
    """A hash of every bit of an answer, whatever parts of it are there."""
    taken = hashlib.blake2b()
    parts = {"loss": {} if answer.loss is None else {"": answer.loss}, "gradient": answer.gradient or {},
             "updated": answer.updated or {}}  # fmt: skip
    if answer.trace:
        parts |= {f"trace.{part}": values or {} for part, values in vars(answer.trace).items()}
    for part, values in parts.items():
        for name in sorted(values):
            taken.update(f"{part}[{name}]".encode())
            taken.update(np.asarray(values[name]).tobytes())
    return taken.digest()
