"""What a check costs: this suite beside torch.autograd.gradcheck and jax.test_util.check_grads on the same networks.

    python benchmarks/checkers.py [--sizes all|small] [-o FOLDER] [--in-turn]

Every checker × network runs in a process of its own, which also times the unit: one `loss.backward()` of PyTorch on the
same network in the checker's dtype (gradcheck and check_grads need float64). The networks are sigmoid layers with
biases, half squared error, the sum of it. The checkers:

    step level       every equation of an answer that is already there, on its own operands: the judging alone
    whole level      truth and allowance from the inputs alone, nothing kept from before, then the judging
    complete check   gradconform.check("torch/eager", …): PyTorch twice (plain, traced), both levels, the table
    gradcheck        slow mode: the whole Jacobian by central differences, parameter by parameter
    gradcheck fast   one random direction in each parameter tensor
    check_grads      one random direction in all parameters at once, reverse mode

Seconds are the median of repeats after a run to warm up; one run alone where that took over 20 s. Peak memory is the
growth of the process's largest resident set over what it held before its first run, in MiB. What would take gradcheck
over a minute, or this suite more memory than there is, is not run but estimated from the largest network that was.
What XLA compiles on check_grads' first run of a shape is in its memory, not in its time.

`--in-turn` measures ratios instead, as they are to be had on a machine that others use too: of two networks the step
level, gradcheck's fast mode, the complete check and backward passes in turn, in one process and one thread, each by the
processor's time; medians. It writes nothing.

Writes checkers.csv, checkers.md, checkers.png and checkers.svg; the last lines printed are the findings.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import math
import os
import resource
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from importlib import metadata
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import gradconform
from gradconform.adapters.registry import load
from gradconform.conformance.cases.networks import random_network
from gradconform.conformance.check import step_level as step_level_at
from gradconform.conformance.levels import whole_level as whole_level_of
from gradconform.conformance.levels.shared import plain_reports, step_reports
from gradconform.reference.arithmetic.comparisons import compiled
from gradconform.reference.arithmetic.profiles import OPENCL
from gradconform.reference.cases import BadInput, Case, Point, available_memory, derivation, point
from gradconform.reference.derivations.network import Architecture
from gradconform.reference.judge import Judgement

#: Seconds: a first run that took longer is not repeated; what repeats may take; what gradcheck's slow mode may take.
PATIENCE, REPEATING, SLOW_LIMIT = 20.0, 5.0, 60.0
#: Networks with more parameters than this enter the fits: below, the time is that of calling Python.
LARGE = 10_000

#: A run of a checker; it says what it verified.
Check = Callable[[], str]


@dataclass(frozen=True)
class Network:
    """A network of sigmoid layers with biases: the widths from the input to the output, and the rows of a batch."""

    sizes: tuple[int, ...]
    batch: int

    def __str__(self) -> str:
        """Such as 32-32-32, or 512×6 for six layers of 512."""
        layers = len(self.sizes) - 1
        widths = f"{self.sizes[0]}×{layers}" if layers > 2 else "-".join(map(str, self.sizes))
        return f"{widths}, batch {self.batch}"

    @property
    def architecture(self) -> Architecture:
        layers = len(self.sizes) - 1
        return Architecture(
            self.sizes, ("sigmoid",) * layers, (True,) * layers, "half_squared_error", "sum", self.batch
        )

    @property
    def parameters(self) -> int:
        """The number of weights and biases."""
        return self.architecture.parameters

    @property
    def work(self) -> int:
        """Multiply-adds of a backward pass, 2·batch·Σ in·out: one product for the weights, one for the inputs."""
        return 2 * self.batch * sum(i * o for i, o in zip(self.sizes, self.sizes[1:], strict=False))

    def case(self) -> Case:
        """Weights drawn normal/√fan-in, inputs and targets normal: the same at every call."""
        return random_network(f"checkers/{'-'.join(map(str, self.sizes))}", self.architecture, draw=0)


SMALL = (Network((2,) * 3, 1), Network((8,) * 3, 1), Network((16,) * 3, 1), Network((32,) * 3, 1))
LARGER = (
    Network((128,) * 3, 8),
    Network((512,) * 3, 1),
    Network((512,) * 7, 32),
    Network((1024,) * 4, 32),
    Network((2048,) * 4, 32),
)
SIZES = {"small": SMALL, "all": SMALL + LARGER}


@dataclass(frozen=True)
class Row:
    """What one checker did with one network.

    `seconds` is the time of the check, `forward` and `backward` that of one pass of PyTorch in the same process, `peak`
    the memory that the check added, in MiB. All are None for what was not run: then `verified` says why, and `estimate`
    is the time that it would take, in seconds, where that is why.
    """

    network: Network
    checker: str
    verified: str
    seconds: float | None = None
    forward: float | None = None
    backward: float | None = None
    peak: float | None = None
    estimate: float | None = None

    @property
    def passes(self) -> float | None:
        """The time of the check in backward passes."""
        return None if self.seconds is None or self.backward is None else self.seconds / self.backward


# The checkers ---------------------------------------------------------------------------------------------------------


def step_level(case: Case) -> Check:
    at = point(case, "float32")
    answer, of = load("torch").answer(at, "eager"), derivation(at.derivation)

    def check() -> str:
        whole_level_of.forget()
        step = step_level_at(at, OPENCL)
        reports = step_reports(of, answer)
        return _judged(zip([r.value for r in reports], step.judge_each(reports), strict=True))

    return check


def whole_level(case: Case) -> Check:
    at = point(case, "float64")
    got = plain_reports(derivation(at.derivation), load("torch").answer(at, "eager"))

    def check() -> str:
        whole_level_of.forget()
        whole = whole_level_of.WholeLevel(at, OPENCL)
        return _judged((value, whole.judge(name, np.asarray(value))) for name, value in got.items())

    return check


def complete(case: Case) -> Check:
    def check() -> str:
        whole_level_of.forget()
        rows = gradconform.check("torch/eager", case, dtype="float32")
        return _every(int(rows.elements.sum()), Counter(rows.verdict))

    return check


def _judged(found: Iterable[tuple[Any, Judgement]]) -> str:
    """What was verified of some values, each with its judgement."""
    components, verdicts = 0, Counter[str]()
    for value, judgement in found:
        components += np.size(value)
        verdicts[judgement.verdict] += 1
    return _every(components, verdicts)


def _every(components: int, verdicts: Counter[Any]) -> str:
    """What this suite verified; a verdict that is not "conforms" is named."""
    others = "".join(f"; {n} {v}" for v, n in verdicts.items() if v != "conforms")
    return f"all {components:,} components of {verdicts.total()} quantities{others}"


def gradcheck_slow(case: Case) -> Check:
    at = point(case, "float64")
    return lambda: _gradcheck(at, False, f"∂E/∂w of {_parameters(at):,} parameters")


def gradcheck_fast(case: Case) -> Check:
    at = point(case, "float64")
    return lambda: _gradcheck(at, True, f"one random direction in each of {len(at.parameters)} tensors")


def _parameters(at: Point) -> int:
    return sum(np.size(at.values[n]) for n in at.parameters)


def _gradcheck(at: Point, fast: bool, verified: str) -> str:
    import torch
    from torch.autograd.gradcheck import GradcheckError

    values, loss = _torch_loss(at)

    def of_weights(*weights: torch.Tensor) -> Any:
        return loss({**values, **dict(zip(at.parameters, weights, strict=True))})

    try:
        torch.autograd.gradcheck(of_weights, tuple(values[n] for n in at.parameters), fast_mode=fast)
    except GradcheckError:
        return f"{verified}; rejected"
    return verified


def _torch_loss(at: Point) -> tuple[dict[str, Any], Callable[[dict[str, Any]], Any]]:
    """The point's tensors, the parameters requiring gradients, and the loss of such tensors."""
    from gradconform.adapters.on_torch import Operations, tensors

    values = tensors(at)
    for name in at.parameters:
        values[name].requires_grad_()
    return dict(values), lambda values: at.forward(Operations, values)[at.loss]


def check_grads(case: Case) -> Check:
    import jax.numpy as jnp
    from jax import test_util

    from gradconform.adapters.on_jax import Operations, pinned

    at = point(case, "float64")
    checker: Any = test_util.check_grads
    verified = "one random direction"

    def check() -> str:
        with pinned("cpu"):
            fixed = {n: jnp.asarray(v) for n, v in at.values.items()}
            params = {n: fixed.pop(n) for n in at.parameters}

            def loss(params: dict[str, Any]) -> Any:
                return at.forward(Operations, {**fixed, **params})[at.loss]

            try:
                checker(loss, (params,), order=1, modes=["rev"])
            except AssertionError:
                return f"{verified}; rejected"
        return verified

    return check


@dataclass(frozen=True)
class Checker:
    """`prepare` makes everything of a case that is not to be timed; `limit` is what may be too much for a network."""

    dtype: str
    prepare: Callable[[Case], Check]
    limit: str = ""


STEP, WHOLE, COMPLETE = "gradconform, step level", "gradconform, whole level", "gradconform, complete check"
FAST, SLOW, JAX = "gradcheck fast", "gradcheck", "check_grads"
CHECKERS = {
    STEP: Checker("float32", step_level, limit="memory"),
    WHOLE: Checker("float64", whole_level, limit="memory"),
    COMPLETE: Checker("float32", complete, limit="memory"),
    FAST: Checker("float64", gradcheck_fast),
    SLOW: Checker("float64", gradcheck_slow, limit="time"),
    JAX: Checker("float64", check_grads),
}


# Measuring ------------------------------------------------------------------------------------------------------------


def measured(network: Network, name: str) -> Row:
    """One checker on one network, in this process. Raises BadInput if there is not memory enough."""
    checker = CHECKERS[name]
    checker.prepare(SMALL[0].case())()  # what is imported and allocated once is no cost of the check
    check = checker.prepare(network.case())
    held = _reset_peak()
    seconds, verified = _timed(check)
    peak = max(0.0, _peak() - held)
    if seconds <= PATIENCE:
        repeats = max(3, min(20, int(REPEATING / seconds)))
        seconds = statistics.median(_timed(check)[0] for _ in range(repeats))
    forward, backward = passes(point(network.case(), checker.dtype))
    return Row(network, name, verified, seconds, forward, backward, peak)


def _timed(check: Check) -> tuple[float, str]:
    started = time.perf_counter()
    verified = check()
    return time.perf_counter() - started, verified


def _reset_peak() -> float:
    """Lower the process's largest resident set to what it uses now, where the system can, and return it, in MiB.

    Linux with glibc can; elsewhere the growth over it is a lower bound, by what was held and freed before.
    """
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)  # glibc keeps what was freed; a check that uses it again would seem to need nothing
    reset = Path("/proc/self/clear_refs")
    if reset.exists():
        reset.write_text("5", encoding="ascii")
    return _peak()


def _peak() -> float:
    """The largest resident set of this process, in MiB; macOS counts in bytes, others in KiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def passes(at: Point) -> tuple[float, float]:
    """Seconds of a forward pass and of `loss.backward()` of PyTorch at a point: medians of up to a second of each."""
    values, loss = _torch_loss(at)
    forward: list[float] = []
    backward: list[float] = []
    while len(forward) < 6 or (sum(forward) + sum(backward) < 2 and len(forward) < 500):
        started = time.perf_counter()
        value = loss(values)
        between = time.perf_counter()
        value.backward()
        forward.append(between - started)
        backward.append(time.perf_counter() - between)
        for name in at.parameters:
            values[name].grad = None
    return statistics.median(forward[1:]), statistics.median(backward[1:])


# In turn --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class InTurn:
    """Median seconds of the processor, in one thread, of what was run in turn on one network."""

    network: Network
    backward: float
    step: float
    fast: float
    complete: float

    def __str__(self) -> str:
        unit, step, fast, complete = (1e3 * x for x in (self.backward, self.step, self.fast, self.complete))
        return (
            f"{self.network}: backward pass {unit:.3g} ms; step level {step:.3g} ms, "
            f"{self.step / self.backward:.1f} backward passes; gradcheck fast {fast:.3g} ms, "
            f"{self.fast / self.step:.1f} times the step level; complete check {complete:.3g} ms, "
            f"{self.complete / self.fast:.1f} times gradcheck fast"
        )


def in_turn(network: Network, rounds: int = 21) -> InTurn:
    """So many rounds of five backward passes and a step level, and of the others every seventh."""
    import torch

    torch.set_num_threads(1)
    case = network.case()
    values, loss = _torch_loss(point(case, "float32"))
    checks = {name: CHECKERS[name].prepare(case) for name in (STEP, FAST, COMPLETE)}
    seconds: dict[str, list[float]] = {name: [] for name in ("backward", *checks)}

    def timed(name: str, run: Callable[[], Any]) -> None:
        started = time.process_time()
        run()
        seconds[name].append(time.process_time() - started)

    def backward() -> None:
        value = loss(values)
        timed("backward", value.backward)
        for name in values:
            if values[name].grad is not None:
                values[name].grad = None

    for check in (*checks.values(), backward):  # what is imported and allocated once is no cost of a check
        check()
    seconds["backward"].clear()
    for number in range(rounds):
        for _ in range(5):
            backward()
        timed(STEP, checks[STEP])
        if number % 7 == 0:
            timed(FAST, checks[FAST])
            timed(COMPLETE, checks[COMPLETE])
    return InTurn(network, *(statistics.median(found) for found in seconds.values()))


#: How to keep the libraries of a process to one thread.
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
TURNS = (Network((512,) * 7, 32), Network((2048,) * 4, 32))


def in_its_own_process(network: Network, name: str) -> Row:
    """`measured` in a process that nothing else has run in."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        try:
            return pool.submit(measured, network, name).result()
        except BadInput as error:
            return Row(network, name, f"not run: {error}")
        except BrokenProcessPool:
            return Row(network, name, "not finished: its process was killed, as the system does when memory runs out")


def skipped(network: Network, name: str, rows: Sequence[Row]) -> Row | None:
    """The row of a check that would take too long or too much memory, by the largest network that it ran on; or None.

    gradcheck's slow mode is estimated by its time in forward passes a parameter, times this network's forward pass.
    """
    ran = [r for r in rows if r.checker == name and r.seconds is not None]
    if not ran or not CHECKERS[name].limit:
        return None
    last = max(ran, key=lambda r: r.network.parameters)
    if CHECKERS[name].limit == "memory":
        itemsize = {"float64": 8, "float32": 4}[CHECKERS[name].dtype]
        scale = network.architecture.working_bytes(itemsize) / last.network.architecture.working_bytes(itemsize)
        needed = (last.peak or 0.0) * scale * 2**20
        if needed < available_memory():
            return None
        return Row(network, name, f"not run: about {needed / 2**30:,.0f} GiB of memory")
    forward = next((r.forward for r in rows if r.network == network and r.checker == FAST), None)
    if forward is None or last.seconds is None or last.forward is None:
        return None
    each = last.seconds / last.forward / last.network.parameters
    estimate = each * forward * network.parameters
    if estimate <= SLOW_LIMIT:
        return None
    return Row(network, name, f"not run: about {_duration(estimate)}", estimate=estimate)


def _duration(seconds: float) -> str:
    """Such as 12 minutes, 3.4 hours or 210 hours."""
    if seconds < 3600:
        return f"{seconds / 60:.0f} minutes"
    return f"{_significant(seconds / 3600)} hours"


def _significant(x: float) -> str:
    """Two significant digits, without an exponent."""
    return f"{round(x, 1 - math.floor(math.log10(x))):,.{max(0, 1 - math.floor(math.log10(x)))}f}"


# What came out --------------------------------------------------------------------------------------------------------


def table(rows: Sequence[Row]) -> pd.DataFrame:
    """One row a network × checker; seconds, backward passes and MiB are empty where a check was not run."""
    return pd.DataFrame(
        {
            "network": str(r.network),
            "parameters": r.network.parameters,
            "checker": r.checker,
            "dtype": CHECKERS[r.checker].dtype,
            "verified": r.verified,
            "seconds": r.seconds,
            "backward passes": r.passes,
            "peak MiB": r.peak,
        }
        for r in rows
    )


def markdown(found: pd.DataFrame) -> str:
    """The table to be read: numbers to two or three digits, a dash where a check was not run."""
    shown = found.astype(object)
    shown["parameters"] = [f"{n:,}" for n in found["parameters"]]
    for column, digits in {"seconds": ".3g", "backward passes": ",.0f", "peak MiB": ",.0f"}.items():
        shown[column] = ["–" if pd.isna(x) else format(float(x), digits) for x in found[column]]
    aligned = ("left", "right", "left", "left", "left", "right", "right", "right")
    return str(shown.to_markdown(index=False, colalign=aligned, disable_numparse=True))


def exponent(x: Sequence[float], y: Sequence[float]) -> float:
    """The e of y ∝ xᵉ by least squares in the logarithms."""
    return float(np.polyfit(np.log(x), np.log(y), 1)[0])


def findings(rows: Sequence[Row]) -> list[str]:
    """What the table says, in sentences; "not measured" for what these sizes do not tell."""
    by = {(r.network, r.checker): r for r in rows if r.seconds is not None}
    tiny, wide, deep = SMALL[-1], LARGER[1], LARGER[2]
    large = [r for r in by.values() if r.checker == STEP and r.network.parameters > LARGE]
    if len({r.network.parameters for r in large}) > 1:
        seconds = [r.seconds or math.nan for r in large]
        by_work = exponent([r.network.work for r in large], seconds)
        by_parameters = exponent([r.network.parameters for r in large], seconds)
        fitted = (
            f"seconds ∝ (multiply-adds of a backward pass)^{by_work:.2f}, ∝ parameters^{by_parameters:.2f} "
            f"({len(large)} networks above {LARGE:,} parameters)"
        )
    else:
        fitted = "exponents not measured"

    def times(network: Network, one: str, other: str) -> str:
        a, b = by.get((network, one)), by.get((network, other))
        if a is None or b is None:
            return "not measured"
        return f"{_significant((a.seconds or math.nan) / (b.seconds or math.nan))} times its time"

    step, whole = by.get((deep, STEP)), by.get((wide, WHOLE))
    return [
        f"step level: {fitted}",
        f"step level of {deep}: "
        + ("not measured" if step is None else f"{_significant(step.passes or math.nan)} backward passes in float32"),
        f"step level of {deep} against gradcheck fast: {times(deep, STEP, FAST)}",
        f"gradcheck of {tiny} ({tiny.parameters:,} parameters) against the whole level: {times(tiny, SLOW, WHOLE)}",
        f"whole level of {wide} ({wide.parameters:,} parameters): "
        + ("not measured" if whole is None else f"{_significant(whole.seconds or math.nan)} s in float64"),
    ]


# Okabe and Ito's palette, "Color Universal Design" (2008): told apart with every kind of colour vision.
MARKS = {
    STEP: ("#0072B2", "o"), WHOLE: ("#009E73", "s"), COMPLETE: ("#56B4E9", "D"),
    FAST: ("#E69F00", "v"), SLOW: ("#D55E00", "^"), JAX: ("#CC79A7", "P"),
}  # fmt: skip


def drawn(rows: Sequence[Row]) -> Any:
    """The figure: seconds against parameters on logarithmic axes; hollow where the time is an estimate."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 6), layout="constrained")
    axes = figure.subplots()
    for checker, (colour, marker) in MARKS.items():
        ran = [(r.network.parameters, r.seconds) for r in rows if r.checker == checker and r.seconds is not None]
        told = [(r.network.parameters, r.estimate) for r in rows if r.checker == checker and r.estimate is not None]
        if ran:
            label = f"{checker} ({CHECKERS[checker].dtype})"
            axes.plot(*zip(*ran, strict=True), color=colour, marker=marker, linewidth=1.5, label=label)
        if told:
            label = f"{checker}, not run: estimated"
            axes.plot(*zip(*ran[-1:], *told, strict=True), color=colour, linestyle=":", linewidth=1)
            axes.plot(*zip(*told, strict=True), marker, color=colour, markerfacecolor="white", label=label)
    unit = [(r.network.parameters, r.backward) for r in rows if r.checker == STEP and r.backward is not None]
    if unit:
        axes.plot(
            *zip(*unit, strict=True), color="black", linestyle="--", linewidth=1, label="one backward pass (float32)"
        )
    axes.set_xscale("log")
    axes.set_yscale("log")
    batches = sorted({r.network.batch for r in rows})
    axes.set_xlabel(f"parameters: weights and biases (batches of {', '.join(map(str, batches))})")
    axes.set_ylabel("time of a check (seconds)")
    axes.set_title(title(rows), loc="left", fontsize=11)
    axes.grid(which="major", color="0.9")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=9)
    return figure


def title(rows: Sequence[Row]) -> str:
    """The finding as a title, at the largest network that both the step level and gradcheck's slow mode ran on."""
    by = {(r.network, r.checker): r.passes for r in rows if r.passes is not None}
    both = [n for n, c in by if c == SLOW and (n, STEP) in by]
    if not both:
        return "What a check costs"
    network = max(both, key=lambda n: n.parameters)
    step, slow = (_significant(by[network, c]) for c in (STEP, SLOW))
    return (
        f"Checking all {network.parameters:,} components of a gradient takes gradconform's step level\n"
        f"{step} backward passes, and gradcheck {slow}"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", choices=SIZES, default="all")
    parser.add_argument("-o", "--output", type=Path, default=Path("report/checkers"))
    parser.add_argument("--in-turn", action="store_true")
    options = parser.parse_args()
    if options.in_turn:
        os.environ.update(ONE_THREAD)  # for the processes that are started
        for network in TURNS:
            with ProcessPoolExecutor(1, get_context("spawn")) as pool:
                print(pool.submit(in_turn, network).result(), flush=True)
        print(f"numba {'is' if compiled() else 'is not'} installed; load {os.getloadavg()[0]:.1f}")
        return 0
    load_before = os.getloadavg()[0]
    rows: list[Row] = []
    for network in SIZES[options.sizes]:
        for name in CHECKERS:
            row = skipped(network, name, rows) or in_its_own_process(network, name)
            took = "" if row.seconds is None else f"{row.seconds:.3g} s, "
            print(f"{network}: {name}: {took}{row.verified}", file=sys.stderr, flush=True)
            rows.append(row)
    options.output.mkdir(parents=True, exist_ok=True)
    found = table(rows)
    found.to_csv(options.output / "checkers.csv", index=False)
    text = markdown(found)
    (options.output / "checkers.md").write_text(f"{text}\n", encoding="utf-8")
    figure = drawn(rows)
    for kind in ("png", "svg"):
        figure.savefig(options.output / f"checkers.{kind}", dpi=200)
    versions = ", ".join(f"{package} {metadata.version(package)}" for package in ("torch", "jax", "numpy"))
    print(text, "", f"{versions}; {os.cpu_count()} cores, load {load_before:.1f} before", *findings(rows), sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
