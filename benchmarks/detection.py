"""What is caught: planted faults against this suite, torch.autograd.gradcheck and jax.test_util.check_grads.

    python benchmarks/detection.py [--draws 200] [--checker-draws 50] [-o FOLDER]

For every fault × dtype × weight scale, over the same random draws. A draw *obliges* this suite to catch the fault
where the fault, in exact arithmetic, moves some judged quantity by more than twice its allowance. A missed draw is
*erased* where rounding in the dtype takes the fault away: the faulty program's whole answer, its trace included, has
the bits of the correct one's, and nothing that looks at answers can tell them apart. gradcheck and check_grads run with
their default settings and see the loss and its gradient only, never an update; a fault that changes the loss and its
gradient together is consistent for them. Exit status 1 if an obliged draw is missed otherwise or correct code accused.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import planted

from gradconform.conformance.catalogue import SCALES, random_case
from gradconform.conformance.check import check_answer, reports, step_references, whole_references
from gradconform.reference.cases import Point, point
from gradconform.reference.document import NETWORK, WEIGHTS
from gradconform.reference.exact import precision
from gradconform.reference.formats import FORMATS
from gradconform.reference.judge import FIRST_PRECISION
from gradconform.reference.profiles import OPENCL
from gradconform.reference.rounded import larger

#: A seed apart from the catalogue's own.
SEED = 20_000


def radius(candidates: list[Any]) -> Any:
    """The largest allowance of a quantity's forms that cannot overflow, or None."""
    balls = [c.components[0] for c in candidates if not c.components[0].specials]
    result = None
    for ball in balls:
        result = ball.radius if result is None else larger(result, ball.radius)
    return result


def obliged(fault: planted.Fault, at: Point, answer: Any) -> bool:
    """Whether the fault, in exact arithmetic, moves a judged quantity by more than twice its allowance."""
    from flint import arb

    whole = whole_references(at, OPENCL, None)
    judged = [NETWORK.loss, *NETWORK.gradient.values(), *NETWORK.updated.values()]
    with precision(FIRST_PRECISION):
        given = {n: arb(v) for n, v in {**at.values, NETWORK.rate: at.rate}.items()}
        faulty = planted.evaluation(fault, planted.InBalls(), given)
        if any(_moved(faulty[n], whole(n, FIRST_PRECISION)[0]) for n in judged):
            return True
        reported = reports(NETWORK, answer.trace)
        if not all(v - v == 0 for v in reported.values()):
            return False
        step = step_references(at, OPENCL, reported, half_ulp=False)
        operands = {**given, **{n: arb(v) for n, v in reported.items()}}
        on_operands = planted.evaluation(fault, planted.InBalls(), operands)
        program = planted.mutated(fault).by_name
        if fault.sequential:
            return False
        return any(_moved(on_operands.form(program[n].forms[0]), step(n, FIRST_PRECISION)[0]) for n in reported)


def _moved(faulty: Any, candidates: list[Any]) -> bool:
    allowance = radius(candidates)
    return allowance is not None and bool(abs(faulty - candidates[0].components[0].exact) > 2 * allowance)


def block(dtype: str, scale: int, draws: int, checker_draws: int) -> list[dict[str, Any]]:
    """Every fault at one dtype and weight scale, as rows of the table."""
    counts: dict[str, Counter[str]] = {}
    every = [planted.CORRECT, *planted.faults(dtype)]
    for index in range(draws):
        at = point(random_case(scale, index, SEED), dtype)
        right: Any = None
        for fault in every:
            count = counts.setdefault(fault.name, Counter())
            answer = planted.answer(fault, at)
            right = answer if fault is planted.CORRECT else right
            verdicts = {m.verdict for m in check_answer(answer, at, OPENCL, _OF)}
            caught, must = "deviates" in verdicts, fault is not planted.CORRECT and obliged(fault, at, answer)
            missed = must and not caught
            count.update(draws=1, caught=caught, obliged=must, missed=missed, erased=missed and answer == right)
            if index < checker_draws:
                for name, checker in CHECKERS.items():
                    count.update({"checker draws" if name == "gradcheck" else "": 1, name: not checker(fault, at)})
    return [
        {
            "fault": name, "dtype": dtype, "scale": scale, "draws": c["draws"], "obliged": c["obliged"],
            "obliged, missed": c["missed"], "of them erased": c["erased"], "caught": c["caught"],
            "checker draws": c["checker draws"], **{checker: c[checker] for checker in CHECKERS},
        }
        for name, c in counts.items()
    ]  # fmt: skip


_OF = {"case": "", "adapter": "by-hand", "route": "numpy", "dtype": ""}


def gradcheck(fault: planted.Fault, at: Point) -> bool:
    """Whether torch.autograd.gradcheck, as it comes, accepts the loss with the planted gradient."""
    import torch

    dtype = getattr(torch, at.dtype)
    fixed = {n: torch.tensor(v, dtype=dtype) for n, v in at.values.items() if n not in WEIGHTS}
    fixed[NETWORK.rate] = torch.tensor(at.rate, dtype=dtype)
    program = planted.mutated(fault)

    class Operations(planted.HandWritten):
        def exp(self, x: Any) -> Any:
            return torch.exp(x)

        def times(self, x: Any, factor: float) -> Any:
            return (x.double() * factor).to(x.dtype)

    def evaluated(weights: Any) -> planted.Evaluation:
        return planted.Evaluation(program, Operations(), {**fixed, **dict(zip(WEIGHTS, weights.unbind(), strict=True))})

    class Loss(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, weights: Any) -> Any:
            ctx.save_for_backward(weights)
            return evaluated(weights)[NETWORK.loss]

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            found = evaluated(ctx.saved_tensors[0])
            return g * torch.stack([found[NETWORK.gradient[w]] for w in WEIGHTS])

    weights = torch.tensor([at.values[w] for w in WEIGHTS], dtype=dtype, requires_grad=True)
    return _accepts(lambda: torch.autograd.gradcheck(Loss.apply, (weights,)))


def check_grads(fault: planted.Fault, at: Point) -> bool:
    """Whether jax.test_util.check_grads, as it comes, accepts the loss with the planted gradient."""
    import jax
    import jax.numpy as jnp
    from jax.test_util import check_grads

    program = planted.mutated(fault)

    class Operations(planted.HandWritten):
        def exp(self, x: Any) -> Any:
            return jnp.exp(x)

        def times(self, x: Any, factor: float) -> Any:
            return (x.astype(jnp.float64) * factor).astype(x.dtype)

    from gradconform.adapters.on_jax import pinned

    with pinned("cpu"):
        fixed = {n: jnp.asarray(v, dtype=at.dtype) for n, v in at.values.items() if n not in WEIGHTS}
        fixed[NETWORK.rate] = jnp.asarray(at.rate, dtype=at.dtype)

        def evaluated(weights: Any) -> planted.Evaluation:
            return planted.Evaluation(program, Operations(), {**fixed, **dict(zip(WEIGHTS, weights, strict=True))})

        @jax.custom_vjp
        def loss(weights: Any) -> Any:
            return evaluated(weights)[NETWORK.loss]

        def backward(weights: Any, g: Any) -> Any:
            found = evaluated(weights)
            return (g * jnp.stack([found[NETWORK.gradient[w]] for w in WEIGHTS]),)

        loss.defvjp(lambda weights: (loss(weights), weights), backward)
        weights = jnp.asarray([at.values[w] for w in WEIGHTS], dtype=at.dtype)
        return _accepts(lambda: check_grads(loss, (weights,), order=1, modes=["rev"]) is None)


def _accepts(check: Callable[[], bool]) -> bool:
    """True if a checker raises nothing: both report a wrong gradient by an exception."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return check()
        except (AssertionError, RuntimeError, ValueError, TypeError):
            return False


CHECKERS: dict[str, Callable[[planted.Fault, Point], bool]] = {"gradcheck": gradcheck, "check_grads": check_grads}


def main() -> int:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--draws", type=int, default=200)
    parser.add_argument("--checker-draws", type=int, default=50)
    parser.add_argument("-o", "--output", type=Path, default=Path("report/detection"))
    options = parser.parse_args()
    import pandas as pd

    from gradconform.reports import figures

    started = time.perf_counter()
    rows: list[dict[str, Any]] = []
    with ProcessPoolExecutor(2, get_context("spawn")) as pool:
        blocks = [(d, s) for s in SCALES for d in FORMATS]
        futures = {b: pool.submit(block, *b, options.draws, options.checker_draws) for b in blocks}
        for (dtype, scale), future in futures.items():
            rows += future.result()
            print(f"{dtype} scale {scale}: {time.perf_counter() - started:.0f} s", file=sys.stderr, flush=True)
    table = pd.DataFrame(rows)
    options.output.mkdir(parents=True, exist_ok=True)
    table.to_csv(options.output / "detection.csv", index=False)
    (options.output / "detection.md").write_text(table.to_markdown(index=False) + "\n", encoding="utf-8")
    figure = figures.detection(table)
    for ending in ("png", "svg"):
        figure.savefig(options.output / f"detection.{ending}", dpi=150)
    numbers = [c for c in table.columns if c not in ("fault", "dtype", "scale")]
    print(table.groupby(["fault", "dtype"], sort=False)[numbers].sum().to_markdown())
    accused = int(table[table.fault == planted.CORRECT.name].caught.sum())
    erased = int(table["of them erased"].sum())
    missed = int(table["obliged, missed"].sum()) - erased
    print(
        f"obliged draws missed: {missed}, and {erased} with the very bits of the correct program; "
        f"correct code accused: {accused}; {time.perf_counter() - started:.0f} s"
    )
    return 1 if missed or accused else 0


if __name__ == "__main__":
    sys.exit(main())
