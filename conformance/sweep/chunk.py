"""A chunk of a sweep: a framework's operator and its derivative at some numbers of a dtype, every one judged.

The seam is `asked`, a pure function from a picklable task to plain data, here, in a worker process or on a cluster.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, lru_cache, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradconform.conformance import operators
from gradconform.conformance.programs import program_rows
from gradconform.conformance.programs.definitions import defined
from gradconform.conformance.programs.recording import recorded
from gradconform.conformance.sweep import judged, screen
from gradconform.conformance.sweep.judged import WORDS, Judged
from gradconform.conformance.sweep.numbers import BLOCK as CACHED
from gradconform.conformance.sweep.numbers import Piece, numbers
from gradconform.reference.arithmetic.formats import FORMATS
from gradconform.reference.arithmetic.profiles import Profile
from gradconform.reference.arithmetic.profiles import profile as profile_of
from gradconform.reference.cases import BadInput
from gradconform.reference.derivations.operators.catalogue import operator
from gradconform.reference.derivations.operators.operator import Operator
from gradconform.reference.programs.array_recording import ArrayRecording, Vague
from gradconform.reference.programs.expressions import Expression, expression, tree
from gradconform.reference.programs.record import Ids
from gradconform.reference.programs.recorded_gradient import gradient
from gradconform.reference.programs.recording import Recording
from gradconform.reference.programs.run import Defined, Run, Unsupported

#: What is judged: the operator, and its derivative by reverse mode from an adjoint of 1.
QUANTITIES = ("value", "derivative")
#: Numbers that are recorded, and that arrays are asked about, at a time: what stays in a core's cache.
BLOCK = 1 << 15
#: So many numbers of a chunk are worth to compile kernels for them.
MANY = 1 << 17
#: Numbers that balls are asked about at a time: one that needs many bits costs its neighbours as many.
BALLS = 512
#: Parts of a chunk's strip, for figures: 32 of a binade's 128 numbers in bfloat16 would be one point a binade.
STRIP = {"float16": 512, "bfloat16": 512, "float32": 32}
#: Stretches of one verdict that a chunk keeps.
STRETCHES = 64
#: Histogram of errors: a bin reaches to a power of two of ulps, itself included; the last is for what is above all.
ERRORS = (-4, -3, -2, -1, 0, 1, 2, 3, 4, 6, 8, 12, 16, 24, 48)
#: Bins of the share of the allowance, tenths; the last has what is above 1.
SHARES = 11
#: The bin of each power of two in float64, from 0, which is below all, to infinity; and of NaN one more.
_BIN = np.r_[np.searchsorted(ERRORS, np.arange(-1023, 1025)), len(ERRORS) + 1]
_POSITIVE, _FRACTION = np.uint64(2**63 - 1), np.uint64(2**52 - 1)
#: Stretches are told of these.
TOLD = ("deviates", "lost", "out of range", "vacuous", "undecided", "outside the domain")
_one_at_a_time = threading.Lock()


@dataclass(frozen=True)
class Task:
    """A piece of a sweep; of `every` number the answer, its error and its verdict are kept."""

    operator: str
    dtype: str
    adapter: str
    profile: str
    piece: Piece
    every: bool = False


def asked(task: Task) -> dict[str, Any]:
    """What is said of the numbers of a task: counts, the worst, histograms, stretches, for each quantity.

    Raises BadInput where the framework lacks the operator, or has it not in this dtype.
    """
    with _one_at_a_time:  # the precision of balls is the process's
        return _asked(task)


def _asked(task: Task) -> dict[str, Any]:
    x = numbers(task.dtype, task.piece)
    of = operator(task.operator)
    low, high = of.operands[0].domain
    with np.errstate(invalid="ignore"):
        inside = np.isfinite(x) & (x >= low) & (x <= high)
    somewhere = replace(task, piece=Piece(0, 1))
    asked = [q for q in QUANTITIES if q == "value" or _has_slope(somewhere)]
    by_kernels = _by_kernels(task, x, inside, asked) if task.dtype == "float32" and x.size >= MANY else None
    answers, found = by_kernels or _recorded(task, x, inside, asked)
    kept = {"x": [plain(v) for v in x.tolist()]} if task.every else {}
    ends = [plain(x[0]), plain(x[-1])]
    return {"first": task.piece.first, "asked": int(x.size), "ends": ends, **kept} | {
        quantity: _said(task, x, answers[quantity], inside, _settled(task, quantity, x, got, inside, found[quantity]))
        for quantity, got in answers.items()
    }


def _recorded(
    task: Task, x: NDArray[np.float64], inside: NDArray[np.bool_], asked: Sequence[str]
) -> tuple[dict[str, NDArray[np.float64]], dict[str, Judged]]:
    """What the framework gives of all numbers, recorded as it does, and what is said of them at once."""
    answers: dict[str, list[NDArray[np.float64]]] = {q: [] for q in asked}
    found = {quantity: Judged.none(x.size) for quantity in answers}
    for start in range(0, x.size, BLOCK):
        part = np.arange(start, min(start + BLOCK, x.size))
        at = part[inside[part]]
        run = _run(task, x[part], definition=at.size == part.size)
        given = {"value": run.values["eager"][0]} | (
            {"derivative": run.returned["eager"][0]} if len(answers) > 1 else {}
        )
        # The operator's own kernels are the same for other lengths but for rounding, which the record does not hold.
        known = run if at.size in (0, part.size) else _run(task, x[at], definition=True)
        for quantity, numbers_given in given.items():
            got = np.asarray(numbers_given, dtype=np.float64)
            answers[quantity].append(got)
            if at.size:
                found[quantity].put(at, _by_arrays(task, quantity, known, got[inside[part]], blunt=True))
    return {quantity: np.concatenate(parts) for quantity, parts in answers.items()}, found


def _by_kernels(
    task: Task, x: NDArray[np.float64], inside: NDArray[np.bool_], asked: Sequence[str]
) -> tuple[dict[str, NDArray[np.float64]], dict[str, Judged]] | None:
    """The same by kernels, where the operator has any that say of some numbers what is said of them otherwise; see
    `screen`."""
    places = np.flatnonzero(inside)
    if 0 < places.size < MANY or not screen.available():
        return None
    screens = {} if not places.size else _screens(task, x, places, asked)
    if screens is None:
        return None
    call = partial(_callable(task), **operator(task.operator).parameters[0])
    answers = operators.answered(task.adapter, call, operators.array(task.adapter, x, task.dtype))
    given = {q: a for q, a in zip(QUANTITIES, answers, strict=True) if q in asked}
    found = {quantity: _scratch(quantity, x.size) for quantity in asked}
    for first, last in _runs(inside):
        part = slice(first, last)
        for quantity, kernels in screens.items():
            kernels.say(found[quantity].of(part), x[part], given[quantity][part])
    return given, found


def _screens(
    task: Task, x: NDArray[np.float64], places: NDArray[np.int64], asked: Sequence[str]
) -> dict[str, screen.Screen] | None:
    """The kernels of each quantity, that say of some of these places what the judge does."""
    at = np.unique(places[np.r_[0, np.linspace(0, places.size - 1, screen.RECORDED).astype(int)]])
    run, screens = _run(task, x[at], definition=True), dict[str, screen.Screen]()
    for quantity in asked:
        got, said = _said_of(task, quantity, run, x[at])
        formula = _expression(replace(task, piece=Piece(0, 1)), quantity, float(x[at[at.size // 2]]))
        kernels = screen.screen(_of(quantity, run), formula, _constants(task))
        if kernels is None or not kernels.agrees(x[at], got, said):
            return None
        screens[quantity] = kernels
    return screens


@cache
def _held(quantity: str, size: int) -> Judged:
    return Judged.none(size)


def _scratch(quantity: str, size: int) -> Judged:
    """Of no number anything: in memory that the process has touched, which takes longer than to judge the numbers."""
    return _held(quantity, size).cleared()


def of_numbers(task: Task, quantity: str, x: NDArray[np.float64]) -> tuple[NDArray[np.float64], Judged]:
    """What an operator gives of numbers of its domain, and what is said of each."""
    return _said_of(task, quantity, _run(task, x, definition=True), x)


def _said_of(task: Task, quantity: str, run: Run, x: NDArray[np.float64]) -> tuple[NDArray[np.float64], Judged]:
    given = run.values["eager"][0] if quantity == "value" else run.returned["eager"][0]
    got, inside = np.asarray(given, dtype=np.float64), np.ones(x.shape, bool)
    found = Judged.none(x.size)
    found.put(np.arange(x.size), _by_arrays(task, quantity, run, got, blunt=True))
    return got, _settled(task, quantity, x, got, inside, found)


def _settled(
    task: Task,
    quantity: str,
    x: NDArray[np.float64],
    got: NDArray[np.float64],
    inside: NDArray[np.bool_],
    found: Judged,
) -> Judged:
    """What is said of all: by sharper arrays what the blunt ones leave open, and by balls the rest, some at a time."""
    for size, judge in ((BLOCK, partial(_by_arrays, task, quantity)), (BALLS, partial(_by_balls, task, quantity))):
        left = found.open[inside[found.open]]
        tiny = (x[left] != 0) & (np.abs(x[left]) < 2.0 ** FORMATS[task.dtype].emin)
        for some in (left[tiny], left[~tiny]):  # what may be flushed leaves the branches of a whole run open
            for start in range(0, some.size, size):
                at = some[start : start + size]
                found.put(at, judge(_run(task, x[at], definition=True), got[at]))
    return found


def _by_arrays(task: Task, quantity: str, run: Run, got: NDArray[np.float64], blunt: bool = False) -> Judged:
    if run.judged[0].format is not FORMATS[task.dtype]:
        raise BadInput(f"{task.adapter} gives {run.judged[0].format.name} of {task.operator} in {task.dtype}")

    def same() -> bool:
        return _text(replace(task, piece=Piece(0, 1)), quantity) == _text_of(quantity, run)

    return judged.by_arrays(_of(quantity, run), _constants(task), got, blunt, same)


@cache
def _text(task: Task, quantity: str) -> str:
    """What the definition, or its derivative, does to a number, where it is a formula without branches."""
    domain = operator(task.operator).operands[0].domain
    found = _expression(task, quantity, 0.5 if domain[1] >= 0.5 else domain[0])
    return found.text if found is not None else "no formula"


@lru_cache(4096)
def _expression(task: Task, quantity: str, at: float) -> Expression | None:
    """The same as an expression, by the branches that are taken at a number."""
    of = operator(task.operator)
    assert of.definition is not None
    o = Recording()
    x = o.argument(np.array([at]))
    result = of.definition(o, x, **of.parameters[0])
    seeds: list[Ids] = []
    if quantity == "derivative":
        seeds = [np.array([o.record.size])]  # which is the next id
        (result,) = gradient(o, [result], [np.ones(1)], [x])
    return tree(o.record, result.ids, [x.ids], seeds)


def _text_of(quantity: str, run: Run) -> str | None:
    """The same of the framework's program."""
    if quantity == "value":
        return expression(run.forward, run.outputs[0], [a.ids for a in run.arguments])
    return expression(run.backward, run.results[0], run.given, run.cotangents)


def _by_balls(task: Task, quantity: str, run: Run, got: NDArray[np.float64]) -> Judged:
    return judged.by_balls(_of(quantity, run), _constants(task), got)


def _constants(task: Task) -> Profile:
    return profile_of(task.profile, program_rows.recorder_of(task.adapter).FRAMEWORK)


def _run(task: Task, x: NDArray[np.float64], definition: bool = False) -> Run:
    """The framework's operator and its backward program at these numbers, recorded."""
    recorder = program_rows.recorder_of(task.adapter)
    of = operator(task.operator)
    parameters = of.parameters[0]
    call = _callable(task)
    function, given = recorder.prepared(
        lambda x: call(x, **parameters), (operators.array(task.adapter, x, task.dtype),), None, None
    )
    options: Mapping[str, Any] = {
        "wrt": None, "routes": ("eager",), "seed": 0, "stop_gradient": "through", "values": True, "replays": False,
    }  # fmt: skip
    try:
        run = recorded(recorder, "reverse", function, given, options, [np.ones(x.shape)])
        return replace(run, definition=_defined(of, run, given, recorder.FRAMEWORK == "jax")) if definition else run
    except Unsupported as error:
        raise BadInput(f"{task.operator} in {task.adapter}: {error}") from error
    except BadInput as error:
        if operators.lacking(str(error)):
            raise BadInput(f"{task.adapter} has no {task.operator} in {task.dtype}: {error}") from error
        raise


def _defined(of: Operator, run: Run, given: Sequence[Any], conjugated: bool) -> Defined:
    """What the operator stands for, at the numbers of the run."""
    assert of.definition is not None
    by_hand = partial(of.definition, **of.parameters[0])
    try:
        return defined(by_hand, run, given, conjugated, recording=ArrayRecording)
    except Vague:
        return defined(by_hand, run, given, conjugated)


def _callable(task: Task) -> Callable[..., Any]:
    call = operators.callable_of(task.operator, task.adapter)
    if call is None:
        raise BadInput(f"{task.adapter} has no {task.operator}; gradconform list operators says which has it")
    return call


@cache
def _has_slope(task: Task) -> bool:
    parameters, call = operator(task.operator).parameters[0], _callable(task)
    at = operators.array(task.adapter, np.array([0.5]), task.dtype)
    return not operators.without_slope(task.adapter, lambda x: call(x, **parameters), (at,))


def _said(
    task: Task, x: NDArray[np.float64], got: NDArray[np.float64], inside: NDArray[np.bool_], found: Judged
) -> dict[str, Any]:
    """What is said of a quantity."""
    codes, ulps, shares, truths = found.codes, found.ulps, found.shares, found.truths
    special = ~np.isfinite(x)
    codes[special] = WORDS.index("special")
    codes[~inside & ~special] = WORDS.index("outside the domain")
    counts = np.bincount(codes, minlength=len(WORDS))
    infinite = np.flatnonzero(np.isinf(x))
    return {
        "verdicts": {word: int(counts[WORDS.index(word)]) for word in sorted(WORDS) if counts[WORDS.index(word)]},
        "formula unknown": int(found.unknown.sum()),
        "by balls": int(found.by_balls.sum()),
        "answered outside": int((~inside & ~special & ~np.isnan(got)).sum()),
        "NaN kept": [int((np.isnan(x) & np.isnan(got)).sum()), int(np.isnan(x).sum())],
        "at infinity": {f"{v:+}": plain(g) for v, g in zip(x[infinite].tolist(), got[infinite].tolist(), strict=True)},
        "largest": _largest(ulps, x, got, truths, codes),
        "largest share": _largest(shares, x, got, truths, codes),
        "errors": _counted(_errors, ulps),
        "shares": _counted(_shares, shares),
        "stretches": {word: s for word in TOLD if (s := _stretches(codes == WORDS.index(word), x))},
        "strip": _strip(x, ulps, STRIP[task.dtype]),
        **({"every": _every(got, ulps, codes)} if task.every else {}),
    }


def _of(quantity: str, run: Run) -> Run:
    return run.valued() if quantity == "value" else run


def plain(value: float) -> float | str:
    """A number as JSON has it."""
    value = float(value)
    return value if math.isfinite(value) else "nan" if math.isnan(value) else "inf" if value > 0 else "-inf"


def _largest(
    of: NDArray[np.float64],
    x: NDArray[np.float64],
    got: NDArray[np.float64],
    truths: NDArray[np.float64],
    codes: NDArray[np.int8],
) -> dict[str, Any] | None:
    """The largest number, and where it is; None where there is none."""
    size = np.where(np.isnan(of), -1.0, of)
    at = int(size.argmax())
    if size[at] < 0:
        return None
    numbers = {"of": of[at], "x": x[at], "got": got[at], "truth": truths[at]}
    return {**{name: plain(v) for name, v in numbers.items()}, "verdict": WORDS[codes[at]]}


def _counted(histogram: Callable[[NDArray[np.float64]], NDArray[np.int64]], of: NDArray[np.float64]) -> list[int]:
    """A histogram of many numbers, by some at a time."""
    counts = np.sum([histogram(of[start : start + CACHED]) for start in range(0, of.size, CACHED)], axis=0)
    return [int(n) for n in counts]


def _errors(ulps: NDArray[np.float64]) -> NDArray[np.int64]:
    """By the exponents' bits: of a power of two that of itself, of what is above that the next, and of NaN none."""
    bits = np.ascontiguousarray(ulps).view(np.uint64) & _POSITIVE
    return np.bincount(_BIN[(bits + _FRACTION) >> np.uint64(52)], minlength=len(ERRORS) + 2)[:-1]


def _stretches(chosen: NDArray[np.bool_], x: NDArray[np.float64]) -> list[list[float | int | str]]:
    """Where neighbours are chosen: from which number to which, and how many; the last of very many has the rest."""
    found: list[list[float | int | str]] = [[plain(x[a]), plain(x[b - 1]), b - a] for a, b in _runs(chosen)]
    if len(found) <= STRETCHES:
        return found
    rest = found[STRETCHES - 1 :]
    return [*found[: STRETCHES - 1], [rest[0][0], rest[-1][1], sum(int(s[2]) for s in rest)]]


def _shares(shares: NDArray[np.float64]) -> NDArray[np.int64]:
    shares, ends = shares[np.isfinite(shares)], np.linspace(0, 1, SHARES)
    at = np.minimum(shares * (SHARES - 1), SHARES - 1).astype(np.int64)
    at -= shares < ends[at]  # what the product's rounding took for the next
    at += (at < SHARES - 1) & (shares >= ends[np.minimum(at + 1, SHARES - 1)])
    return np.bincount(at, minlength=SHARES)


def _runs(chosen: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """The first of each run of those that are chosen, and the one after its last."""
    if not chosen.any():
        return []
    edges = np.flatnonzero(np.diff(np.r_[False, chosen, False].astype(np.int8))).tolist()
    return list(zip(edges[::2], edges[1::2], strict=True))


def _strip(x: NDArray[np.float64], ulps: NDArray[np.float64], parts: int) -> list[list[float | str]]:
    """The largest error of each of some parts, to four digits, and the number in its middle."""
    strip = []
    for part in np.array_split(np.arange(x.size), min(parts, x.size)):
        there = part[np.isfinite(x[part]) & ~np.isnan(ulps[part])]
        if there.size:
            strip.append([float(x[there[there.size // 2]]), _four_digits(float(ulps[there].max()))])
    return strip


def _every(got: NDArray[np.float64], ulps: NDArray[np.float64], codes: NDArray[np.int8]) -> dict[str, Any]:
    """Number by number what was given and its error in ulp, to four digits; and how many have which verdict in turn."""
    ends = np.flatnonzero(np.diff(codes)) + 1
    return {
        "got": [plain(v) for v in got.tolist()],
        "ulps": [None if math.isnan(v) else _four_digits(v) for v in ulps.tolist()],
        "verdicts": [[WORDS[codes[run[0]]], int(run.size)] for run in np.split(np.arange(codes.size), ends)],
    }


def _four_digits(value: float) -> float | str:
    return plain(float(f"{value:.4g}"))


def checked(name: str, dtype: str, adapter: str) -> Operator:
    """The operator, if it is one of one number that the framework has in this dtype. Raises BadInput otherwise."""
    of = operator(name)
    if not of.unary or of.definition is None:
        raise BadInput(f"{name} is no function of one number; a sweep asks those: gradconform list sweeps")
    if dtype not in of.dtypes:
        raise BadInput(f"{name} has no dtype {dtype!r}; expected one of {', '.join(of.dtypes)}")
    if adapter not in operators.JUDGED:
        known = " and ".join(operators.JUDGED)
        raise BadInput(
            f"adapter {adapter!r}: a sweep records programs of {known}; give one (your own is judged by run)"
        )
    _callable(Task(name, dtype, adapter, "opencl", Piece(0, 1)))
    return of
