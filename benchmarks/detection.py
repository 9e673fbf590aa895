"""What is caught: planted faults against this suite, torch.autograd.gradcheck and jax.test_util.check_grads.

    python benchmarks/detection.py [--draws 4] [--checker-draws 2] [--jobs 2] [-o docs/faults]
    python benchmarks/detection.py --again docs/faults/faults.csv

For every fault × dtype × weight scale, over the same random draws of the document's network and of a layered one. A
fault is *active* in a draw where it changes some bit of the answer, its trace included, or breaks the contract. A draw
*obliges* this suite to catch it where the fault, in exact arithmetic, moves some judged quantity by more than twice its
allowance, from the inputs or from the reported operands. A missed draw is *erased* where, in every component that
obliges, rounding in the dtype gave the very bits of the correct pass. It is *rescaled*, and not missed, where only the
scale of the adjoints is another, which is a convention, and the gradient is free of it: a slope of 0 makes it so. What
is active and not caught is counted by why: `vacuous`, the dtype's own rounding has lost the digits of some quantity
that the fault changes; else `within`, inside of what correct rounding may do. gradcheck and check_grads run with their
default settings and see the loss and its gradient by the weights and biases, never an update; a fault that changes the
loss and its gradient together is consistent for them.
Exit status 1 if an obliged draw is missed or correct code accused.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import numpy as np
import planted

from gradconform.adapters.contract import Answer, Trace
from gradconform.adapters.registry import Chosen
from gradconform.conformance.cases.catalogue import SCALES
from gradconform.conformance.levels.shared import accepted
from gradconform.conformance.levels.whole_level import programs_at
from gradconform.conformance.run.guard import digest, watched
from gradconform.reference.arithmetic.ball_arrays import BallArrays
from gradconform.reference.arithmetic.exact import precision
from gradconform.reference.arithmetic.formats import FORMATS
from gradconform.reference.arithmetic.midpoints import OutOfRange
from gradconform.reference.arithmetic.profiles import OPENCL
from gradconform.reference.cases import Point, derivation, point
from gradconform.reference.equations import Derivation, Form
from gradconform.reference.measurement import Measurement

ARCHITECTURES = (planted.DOCUMENT, planted.LAYERED, planted.CLASSES)
#: The program of the whole level whose allowance is the largest, infinities apart.
WIDEST = "widest, unstable programs too"
#: What the reason of a step says that is accepted at another scale of the adjoints.
SCALE = "convention: the adjoints"
#: Bits of the balls that a fault's displacement is computed in.
BITS = 320


def made(fault: planted.Fault, numbers: planted.InDtype, before: Point, index: int) -> planted.Pass:
    """A pass that has been called before, at another point, since state is what some faults get wrong.

    The call that is judged is its (50 + index)-th, so that what fails once in fifty calls fails in the first draw.
    """
    one = fault.made(numbers)
    one.calls = 48 + index
    planted.evaluated(one, before)
    return one


def traced(of: Derivation, trace: Trace) -> dict[str, Any]:
    """Every value of a trace under the name of its equation, in the derivation's order."""
    found = {**trace.values, **{of.adjoint(n): v for n, v in trace.adjoints.items()}}
    found |= {of.gradient[p]: v for p, v in trace.gradient.items()}
    found |= {of.updated[p]: v for p, v in trace.updated.items()}
    return {e.name: found[e.name] for e in of.equations if e.name in found}


# What the fault moves -------------------------------------------------------------------------------------------------


def obliged(fault: planted.Fault, at: Point, before: Point, index: int, answer: Answer) -> Obligation:
    """Whether the fault, in exact arithmetic, moves a judged quantity by more than twice its allowance."""
    of = derivation(at.derivation)
    assert answer.trace is not None
    judged = [of.loss, *of.gradient.values(), *of.updated.values()]
    reported = traced(of, answer.trace)
    got = {of.loss: answer.loss} | {of.gradient[p]: v for p, v in answer.gradient.items()}
    got |= {of.updated[p]: v for p, v in answer.updated.items()}
    found = []
    with precision(BITS):
        found.append((got, None, _whole_allowances(at, judged)))
        if all(np.isfinite(v).all() for v in reported.values()):
            # What is only in the plain answer is held against the trace's own gradient and update.
            seen = {**reported, **got} if fault.plain else reported
            found.append((seen, reported, _step_allowances(at, reported)))
        exact, numbers = planted.Exactly(at.dtype), planted.InDtype(at.dtype)
        must, erased = False, True
        for values, given, allowances in found:
            moved = _moved(fault, at, before, index, exact, given)
            right = planted.evaluated(made(planted.CORRECT, numbers, before, index), at, given)
            for name, allowance in allowances.items():
                with np.errstate(all="ignore"):
                    beyond = moved[name] > 2 * allowance
                must |= bool(beyond.any())
                erased &= not (beyond & (np.asarray(values[name]) != numbers.values(right[name]))).any()
    return Obligation(must, must and erased)


@dataclass(frozen=True)
class Obligation:
    """Whether a fault must be caught; `erased` where, in every component that obliges, rounding in the dtype gave the
    very bits of the correct pass, and nothing that looks at answers can tell the two apart."""

    must: bool
    erased: bool


def _moved(
    fault: planted.Fault, at: Point, before: Point, index: int, exact: planted.Exactly, reported: Any
) -> dict[str, Any]:
    """|faulty − correct| of every quantity, as float64 arrays."""
    wrong = planted.evaluated(made(fault, exact, before, index), at, reported)
    right = planted.evaluated(made(planted.CORRECT, exact, before, index), at, reported)
    return {n: np.abs(exact.values(wrong[n] - right[n])) for n in right}


def _whole_allowances(at: Point, names: list[str]) -> dict[str, Any]:
    """The largest allowance of any program, by component; infinite where anything is admitted."""
    try:
        widest = {p.name: p.evaluation for p in programs_at(at, OPENCL).in_arrays}[WIDEST]
        return {n: _radii(widest[n]) for n in names}
    except OutOfRange:
        with precision(BITS):
            balls = {p.name: p.evaluation for p in programs_at(at, OPENCL).in_balls}[WIDEST]
            return {n: _ball_radii(balls[n]) for n in names}


def _step_allowances(at: Point, reported: Mapping[str, Any]) -> dict[str, Any]:
    """How far from the truth any of a quantity's forms reaches, on the reported operands."""
    target = FORMATS[at.dtype]
    of, ops = accepted(derivation(at.derivation), target), BallArrays(target, OPENCL)
    known = {n: ops.given(v) for n, v in {**at.values, of.rate: at.rate, **reported}.items()}

    def value(form: Form) -> Any:
        return form.formula(ops, *[known[o] for o in form.operands])

    found: dict[str, Any] = {}
    for name in reported:
        equation = of.by_name[name]
        truth = value(equation.definition or equation.forms[0])
        each = [value(f) for f in equation.forms if not f.tangent]
        found[name] = np.maximum.reduce([_ball_radii(v) + _apart(v, truth) for v in each])
    return found


def _apart(value: Any, truth: Any) -> Any:
    """How far a form's own centre is from the truth."""
    pairs = zip(value.values.ravel(), truth.values.ravel(), strict=True)
    apart = [float(abs(x.exact - y.exact).upper()) if not x.specials | y.specials else np.inf for x, y in pairs]
    return np.array(apart).reshape(value.values.shape)


def _radii(value: Any) -> Any:
    radii = np.asarray(value.radii(), dtype=np.float64)
    if value.spread is not None:
        radii = radii + value.spread
    return radii if value.specials is None else np.where(value.specials != 0, np.inf, radii)


def _ball_radii(value: Any) -> Any:
    balls = value.values.ravel()
    radii = [np.inf if b.specials else float((b.radius + b.spread).upper()) for b in balls]
    return np.array(radii).reshape(value.values.shape)


# Judged by this suite -------------------------------------------------------------------------------------------------


def judged(fault: planted.Fault, at: Point, before: Point, index: int) -> tuple[Answer, list[Measurement]]:
    """The faulty answer, and what this suite says of it as it does in a run: judged, asked again, watched."""
    numbers = planted.InDtype(at.dtype)
    adapter = planted.ByHand(fault)
    adapter.passes[at.dtype] = made(fault, numbers, before, index)
    answer = planted.answered(made(fault, numbers, before, index), at)
    return answer, watched(Chosen("by-hand/numpy", adapter, adapter.routes[0]), at, "opencl", "by hand")


def accused(measurements: list[Measurement]) -> bool:
    return any(m.verdict in ("deviates", "crashed", "undecided") for m in measurements)


def _lost(measurements: list[Measurement], wrong: Answer, right: Answer) -> bool:
    """Whether the dtype has lost the digits of a quantity that the fault changed."""
    of = {m.quantity for m in measurements if m.verdict in ("lost", "vacuous", "ill-conditioned", "out of range")}
    assert wrong.trace is not None
    assert right.trace is not None
    parts = [({"E": wrong.loss}, {"E": right.loss})]
    parts += [({f"dE/d{n}": v for n, v in wrong.gradient.items()}, {f"dE/d{n}": v for n, v in right.gradient.items()})]
    parts += [({f"{n}_new": v for n, v in wrong.updated.items()}, {f"{n}_new": v for n, v in right.updated.items()})]
    parts += [({f"dE/d{n}": v for n, v in wrong.trace.adjoints.items()},
               {f"dE/d{n}": v for n, v in right.trace.adjoints.items()})]  # fmt: skip
    parts += [(dict(wrong.trace.values), dict(right.trace.values))]
    return any(n in of and not np.array_equal(x, b[n]) for a, b in parts for n, x in a.items())


def block(dtype: str, scale: int, draws: int, checker_draws: int, only: str = "") -> list[dict[str, Any]]:
    """Every fault (or those whose name contains `only`) at one dtype and weight scale, as rows of the table."""
    counts: dict[str, Counter[str]] = {}
    every = [planted.CORRECT, *(f for f in planted.FAULTS if only in f.name)]
    for architecture in ARCHITECTURES:
        for index in range(draws):
            at = point(planted.drawn(architecture, scale, index), dtype)
            before = point(planted.drawn(architecture, scale, draws + index), dtype)
            right = judged(planted.CORRECT, at, before, index)[0]
            for fault in (f for f in every if architecture in planted.planted_in(f)):
                count = counts.setdefault(fault.name, Counter())
                correct = fault is planted.CORRECT
                answer, measurements = judged(fault, at, before, index)
                caught = accused(measurements)
                active = correct or digest(answer) != digest(right) or caught
                duty = obliged(fault, at, before, index, answer) if active and not correct else Obligation(False, False)
                lost = active and not caught and _lost(measurements, answer, right)
                rescaled = duty.must and not caught and any(SCALE in (m.reason or "") for m in measurements)
                count.update(
                    draws=1, active=active, obliged=duty.must, missed=duty.must and not (caught or rescaled),
                    erased=duty.erased and not (caught or rescaled), rescaled=rescaled, caught=caught, vacuous=lost,
                    within=active and not caught and not lost and not correct,
                )  # fmt: skip
                if active and index < checker_draws:
                    found = {name: not checker(fault, at, before, index) for name, checker in CHECKERS.items()}
                    count.update({"checked": 1, **found})
    kinds = {f.name: f.kind for f in every}
    columns = ("draws", "active", "obliged", "missed", "erased", "rescaled", "caught", "vacuous", "within", "checked",
               *CHECKERS)  # fmt: skip
    return [
        {"fault": name, "kind": kinds[name], "dtype": dtype, "scale": scale, **{k: int(c[k]) for k in columns}}
        for name, c in counts.items()
    ]


# Judged by the others -------------------------------------------------------------------------------------------------


class Black:
    """A faulty pass as a function of all its parameters in one vector, and the gradient that it gives."""

    def __init__(self, fault: planted.Fault, at: Point, before: Point, index: int) -> None:
        self.point, self.one = at, made(fault, planted.InDtype(at.dtype), before, index)
        assert at.architecture is not None
        self.architecture = at.architecture
        self.start = np.concatenate([np.ravel(at.values[p]) for p in at.parameters])

    def loss(self, parameters: Any) -> Any:
        with np.errstate(all="ignore"):
            found = self.one.forward(self._given(parameters), self.architecture, lambda _, value: value)
        return np.float64(self.one.numbers.values(found))

    def gradient(self, parameters: Any) -> Any:
        found = planted.answered(self.one, self._moved(parameters)).gradient
        return np.concatenate([np.ravel(found[p]) for p in self.point.parameters])

    def _moved(self, parameters: Any) -> Point:
        values, first = dict(self.point.values), 0
        for name in self.point.parameters:
            shape = np.shape(values[name])
            size = int(np.prod(shape))
            values[name] = np.asarray(parameters, dtype=np.float64)[first : first + size].reshape(shape)
            first += size
        return replace(self.point, values=values)

    def _given(self, parameters: Any) -> dict[str, Any]:
        return planted.given(self._moved(parameters), self.one.numbers)


def gradcheck(fault: planted.Fault, at: Point, before: Point, index: int, fast: bool = False) -> bool:
    """Whether torch.autograd.gradcheck, as it comes, accepts the loss with the planted gradient."""
    import torch

    black, dtype = Black(fault, at, before, index), getattr(torch, at.dtype)

    class Loss(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, parameters: Any) -> Any:
            ctx.save_for_backward(parameters)
            return torch.tensor(black.loss(parameters.detach().double().numpy()), dtype=dtype)

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            return g * torch.tensor(black.gradient(ctx.saved_tensors[0].detach().double().numpy()), dtype=dtype)

    parameters = torch.tensor(black.start, dtype=dtype, requires_grad=True)
    return _accepts(lambda: torch.autograd.gradcheck(Loss.apply, (parameters,), fast_mode=fast))


def gradcheck_fast(fault: planted.Fault, at: Point, before: Point, index: int) -> bool:
    """The same with fast_mode=True: one random direction."""
    return gradcheck(fault, at, before, index, fast=True)


def check_grads(fault: planted.Fault, at: Point, before: Point, index: int) -> bool:
    """Whether jax.test_util.check_grads, as it comes, accepts the loss with the planted gradient."""
    import jax
    import jax.numpy as jnp
    from jax.test_util import check_grads

    from gradconform.adapters.on_jax import pinned

    black = Black(fault, at, before, index)
    with pinned("cpu"):
        start = jnp.asarray(black.start, dtype=at.dtype)
        number, vector = jax.ShapeDtypeStruct((), start.dtype), jax.ShapeDtypeStruct(start.shape, start.dtype)

        @jax.custom_vjp
        def loss(parameters: Any) -> Any:
            return jax.pure_callback(lambda p: np.asarray(black.loss(p)).astype(start.dtype), number, parameters)

        def backward(parameters: Any, g: Any) -> Any:
            def found(p: Any) -> Any:
                return np.asarray(black.gradient(p)).astype(start.dtype)

            return (g * jax.pure_callback(found, vector, parameters),)

        loss.defvjp(lambda parameters: (loss(parameters), parameters), backward)
        return _accepts(lambda: check_grads(loss, (start,), order=1, modes=["rev"]) is None)


def _accepts(check: Callable[[], bool]) -> bool:
    """True if a checker raises nothing: both report a wrong gradient by an exception."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return check()
        except (AssertionError, RuntimeError, ValueError, TypeError):
            return False


Checker = Callable[[planted.Fault, Point, Point, int], bool]
CHECKERS: dict[str, Checker] = {
    "gradcheck": gradcheck, "gradcheck, fast": gradcheck_fast, "check_grads": check_grads,
}  # fmt: skip


def summary(table: Any) -> Any:
    """A row a fault: of its active draws at all scales, what part each checker caught, by dtype."""
    import pandas as pd

    sums = table.groupby(["kind", "fault", "dtype"], sort=False).sum(numeric_only=True)
    lines: dict[tuple[str, str], dict[str, str]] = {}
    for (kind, fault, dtype), c in sums.iterrows():
        line = lines.setdefault((kind, fault), {"kind": kind, "fault": fault})
        line[dtype] = f"{c.caught}/{c.active}"
        if c.vacuous or c.within:
            line["of the missed, vacuous"] = str(int(line.get("of the missed, vacuous", "0")) + int(c.vacuous))
        for name in CHECKERS:
            line[f"{name} {dtype}"] = f"{c[name]}/{c.checked}"
    return pd.DataFrame(list(lines.values())).fillna("")


def main() -> int:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--draws", type=int, default=4, help="of each network")
    parser.add_argument("--checker-draws", type=int, default=2, help="of each network, for gradcheck and check_grads")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("-o", "--output", type=Path, default=Path("docs/faults"))
    parser.add_argument(
        "--again", type=Path, help="a faults.csv to write the tables and the figure of, without judging"
    )
    options = parser.parse_args()
    import pandas as pd

    if options.again is not None:
        return written(pd.read_csv(options.again), options.output, 0.0)
    started = time.perf_counter()
    rows: list[dict[str, Any]] = []
    options.output.mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor(options.jobs, get_context("spawn")) as pool:
        blocks = [(d, s) for s in SCALES for d in FORMATS]
        futures = {b: pool.submit(block, *b, options.draws, options.checker_draws) for b in blocks}
        for (dtype, scale), future in futures.items():
            rows += future.result()
            pd.DataFrame(rows).to_csv(
                options.output / "faults.csv", index=False
            )  # a long run that is cut keeps what it has
            print(f"{dtype} scale {scale}: {time.perf_counter() - started:.0f} s", file=sys.stderr, flush=True)
    return written(pd.DataFrame(rows), options.output, time.perf_counter() - started)


def written(table: Any, output: Path, seconds: float) -> int:
    """Write the table, its summaries and the figure, print what was found; the exit status."""
    from gradconform.reports import figures

    output.mkdir(parents=True, exist_ok=True)
    table.to_csv(output / "faults.csv", index=False)
    (output / "faults.md").write_text(summary(table).to_markdown(index=False) + "\n", encoding="utf-8")
    figure = figures.detection(table)
    for ending in ("png", "svg"):
        figure.savefig(output / f"faults.{ending}", dpi=150)
    planted_ones = table[table.kind != planted.CORRECT.kind]
    numbers = ["active", "obliged", "missed", "erased", "rescaled", "caught", "vacuous", "within", "checked", *CHECKERS]
    by_kind = table.groupby(["kind", "dtype"], sort=False)[numbers].sum()
    (output / "kinds.md").write_text(by_kind.reset_index().to_markdown(index=False) + "\n", encoding="utf-8")
    print(by_kind.to_markdown())
    erased = int(planted_ones.erased.sum())
    missed = int(planted_ones.missed.sum()) - erased
    wrong = int(table[table.kind == planted.CORRECT.kind].caught.sum())
    print(
        f"{planted_ones.fault.nunique()} faults; obliged draws missed: {missed} of {int(planted_ones.obliged.sum())}, "
        f"and {erased} with the very bits of the correct pass wherever it obliges; "
        f"{int(planted_ones.rescaled.sum())} whose adjoints have another scale, which the gradient is free of; "
        f"correct code accused: {wrong}; {seconds:.0f} s"
    )
    return 1 if missed or wrong else 0


if __name__ == "__main__":
    sys.exit(main())
