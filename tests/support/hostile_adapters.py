"""Adapters that crash, hang and lie, each in its own way, for worker processes to survive.

Each answers correctly but for what it does; `EXPECTED` says which verdict and which first word of the reason is right.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from tests_support import Scripted
from wrong_adapters import Named

from gradconform.adapters.contract import Answer
from gradconform.reference.cases import Point


def _kill(number: int) -> Callable[[Point, Answer], Answer]:
    def act(point: Point, answer: Answer) -> Answer:
        os.kill(os.getpid(), number)
        return answer

    return act


def _doing(act: Callable[[], object]) -> Callable[[Point, Answer], Answer]:
    def spoil(point: Point, answer: Answer) -> Answer:
        act()
        return answer

    return spoil


def _raising(error: BaseException) -> Callable[[Point, Answer], Answer]:
    def spoil(point: Point, answer: Answer) -> Answer:
        raise error

    return spoil


def _segfault() -> None:
    ctypes.string_at(0)


def _sleep() -> None:
    time.sleep(3600)


def _spin() -> None:
    """Keep the interpreter's lock for good: a C function called through PyDLL."""
    ctypes.PyDLL(None).sleep(3600)


def _out_of_memory() -> None:
    """Ask for memory until there is none; the limit is this test's own, to leave the machine alone."""
    import resource

    resource.setrlimit(resource.RLIMIT_DATA, (1 << 30, resource.RLIM_INFINITY))
    kept = []
    while True:
        kept.append(bytearray(1 << 28))


def _killed_for_memory() -> None:
    """What the kernel does to a process when memory runs out."""
    os.kill(os.getpid(), signal.SIGKILL)


def _orphan() -> None:
    """A child that keeps every pipe open, and then death."""
    if os.fork() == 0:
        time.sleep(3600)
    os.abort()


def _double() -> None:
    """Two processes come back from here."""
    os.fork()


def _close_everything() -> None:
    os.closerange(3, 256)


def _recurse() -> None:
    _recurse()


def _print() -> None:
    print("judged 1000000, deviating 0")
    sys.stderr.write("\x1b[2J")
    os.write(1, b"\0\xff{}\n")


def _flush_to_zero() -> None:
    """FE_DFL_DISABLE_SSE_DENORMS_ENV is macOS's; on x86-64 glibc the mode is in the environment's last word."""
    environment = (ctypes.c_uint32 * 8)()
    libc = ctypes.CDLL(None)
    libc.fegetenv(environment)
    environment[7] |= 0x8040
    libc.fesetenv(environment)


def _round_up() -> None:
    ctypes.CDLL(None).fesetround(0x800)


def _replace_stdout() -> None:
    sys.stdout = None  # type: ignore[assignment]
    with contextlib.suppress(OSError):  # the second time it is closed already
        os.close(1)


def _in_place(point: Point, answer: Answer) -> Answer:
    """Update the weights where they are, as torch.from_numpy invites to."""
    for name in point.parameters:
        values = point.values[name]
        if np.ndim(values):
            values.flags.writeable = True
            values -= 0.5
    return answer


class _Wild(Exception):
    def __str__(self) -> str:
        raise RuntimeError("not even a message")


class _Interrupt(BaseException):
    pass


_calls = iter(range(1 << 60))


def _unsteady(point: Point, answer: Answer) -> Answer:
    return replace(answer, loss=float(np.nextafter(answer.loss, 1 + next(_calls) % 2 * -2)))


def _later() -> None:
    """Answer, and kill the process a little later, while others are asked."""
    threading.Timer(0.05, os.abort).start()


def _gradient(change: Callable[[dict[str, Any]], dict[str, Any]]) -> Callable[[Point, Answer], Answer]:
    return lambda point, answer: replace(answer, gradient=change(dict(answer.gradient)))


def _environment() -> None:
    os.environ["OMP_NUM_THREADS"] = "7"


#: Name: what it does, the verdict, the first word of the reason.
EXPECTED: dict[str, tuple[Callable[[Point, Answer], Answer], str, str]] = {
    "abort": (_kill(signal.SIGABRT), "crashed", "died: the process ended with SIGABRT"),
    "segfault": (_doing(_segfault), "crashed", "died: the process ended with SIGSEGV"),
    "killed": (_doing(_killed_for_memory), "crashed", "died: the process ended with SIGKILL"),
    "terminated": (_kill(signal.SIGTERM), "crashed", "died: the process ended with SIGTERM"),
    "out_of_memory": (_doing(_out_of_memory), "crashed", "exception: MemoryError"),
    "hang": (_doing(_sleep), "crashed", "timeout: no result in"),
    "spin": (_doing(_spin), "crashed", "timeout: no result in"),
    "exit": (_raising(SystemExit(0)), "crashed", "exception: SystemExit"),
    "hard_exit": (_doing(lambda: os._exit(0)), "crashed", "died: the process ended with exit status 0"),
    "interrupt": (_raising(KeyboardInterrupt()), "crashed", "exception: KeyboardInterrupt"),
    "own_exception": (_raising(_Interrupt()), "crashed", "exception: _Interrupt"),
    "wild_exception": (_raising(_Wild()), "crashed", "exception: "),
    "recursion": (_doing(_recurse), "crashed", "exception: RecursionError"),
    "orphan": (_doing(_orphan), "crashed", "died: the process ended with SIGABRT"),
    "close": (_doing(_close_everything), "crashed", "died: "),
    "nothing": (lambda point, answer: None, "crashed", "output: expected an Answer, got NoneType"),  # type: ignore[arg-type,return-value]
    "shape": (_gradient(lambda g: {**g, "w1": np.zeros(2)}), "crashed", "output: gradient['w1'] is an array"),
    "dtype": (_gradient(lambda g: {**g, "w1": 1j}), "crashed", "output: gradient['w1'] is a complex"),
    "empty": (lambda point, answer: Answer(gradient={}), "crashed", "output: the answer is empty"),
    "extra": (_gradient(lambda g: {**g, "w9": 0.0}), "crashed", "output: gradient has 'w9'"),
    "nan": (_gradient(lambda g: {**g, "w1": float("nan")}), "deviates", ""),
    "unsteady": (_unsteady, "crashed", "nondeterminism: "),
    "environment": (_doing(_environment), "crashed", "state: it changed the environment"),
    "directory": (_doing(lambda: os.chdir("/")), "crashed", "state: it changed the working directory"),
    "seed": (_doing(lambda: random.seed(1)), "crashed", "state: it changed the random seed of Python"),
    "numpy_seed": (_doing(lambda: np.random.seed(1)), "crashed", "state: it changed the random seed of NumPy"),
    "errstate": (_doing(lambda: np.seterr(all="raise")), "crashed", "state: it changed NumPy's error handling"),
    "flush": (_doing(_flush_to_zero), "crashed", "state: it changed the floating-point mode"),
    "rounding": (_doing(_round_up), "crashed", "state: it changed the floating-point mode"),
    "noise": (_doing(_print), "conforms", "noise: "),
    "no_stdout": (_doing(_replace_stdout), "conforms", ""),
    "fork": (_doing(_double), "conforms", ""),
}  # fmt: skip
for _name, (_spoil, _, _) in EXPECTED.items():
    globals()[_name] = Named(_name, _spoil)

#: Kills the process after it has answered: whose route runs by then is chance, and not to be blamed.
later = Named("later", _doing(_later))


class InPlace(Scripted):
    """Correct in form, for networks: its weights are the inputs' own memory."""

    def answer(self, point: Point, route: str) -> Answer:
        _in_place(point, Answer(0.0, {}, {}))
        zeros = {n: np.zeros(np.shape(point.values[n])) for n in point.parameters}
        return Answer(0.0, zeros, zeros)


in_place = InPlace()
