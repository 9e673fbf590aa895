"""Gross wrong answers and wrong slopes: every activation and loss over every binade of every dtype.

    python benchmarks/gross.py [--quick] [--only TEXT] [--jobs 2] [--json FILE] [--against FILE] [-o docs/gross]

One neuron with the weight 1 at inputs of both signs and every binade, with the right values of mpmath, of which one is
replaced: by 0, ∞, NaN, −x, x·2^20, or a neighbour's value; or, of slopes, by what a wrong formula gives there (1 − y
for 1 − y², a factor missing, a wrong side, a constant 5 % off). The row of the step level that it stands in is judged,
alone (batch 1) and as one component among those of all binades. A wrong value that is none, because it is within a
quarter of the right one (of slopes: one per cent) or within what flushing may do, is not counted. Of the right values
the same table says what they come to.

Exit status 1 if a finite gross value conforms or is out of range, an infinity or NaN conforms, or a right value
deviates.
`--json` keeps the counts, `--against` says what is different from those that another revision kept.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from multiprocessing import get_context
from pathlib import Path
from random import Random
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import mpmath as mp
import numpy as np
import right_values as right
from numpy.typing import NDArray

from gradconform.conformance.check import step_level
from gradconform.conformance.levels.shared import Report
from gradconform.conformance.levels.step_level import StepLevel
from gradconform.reference.arithmetic.formats import FORMATS, Format
from gradconform.reference.arithmetic.profiles import OPENCL
from gradconform.reference.cases import Point, derivation, network_case, point
from gradconform.reference.judge import Judgement

Numbers = NDArray[np.float64]
#: The adjoint that an activation's slope is multiplied by: the weight of a second layer behind it.
ADJOINT = 0.75
#: How far from the right value a wrong one is at least, relatively: to be gross; to be a wrong slope.
GROSS, WRONG = 0.25, 0.01
#: Components of a whole range of binades of which one is replaced at a time.
PLACES = 12


# What is judged -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Subject:
    """One function: an activation or a loss, its value or its slope. `target` is a loss's t."""

    kind: str
    name: str
    of: str
    target: float = 0.25

    def __str__(self) -> str:
        at = f" t={self.target:g}" if self.name == "binary_cross_entropy_with_logits" else ""
        return f"{self.name} {self.of}{at}"

    @property
    def quantity(self) -> str:
        if self.kind == "activation":
            return "a1" if self.of == "value" else "dE/dz1"
        return "E" if self.of == "value" else "dE/da1"

    def exact(self, x: float) -> Any:
        """The right value at a pre-activation or output x, of a slope times the adjoint."""
        if self.kind == "loss":
            table = right.LOSS_VALUES if self.of == "value" else right.LOSS_SLOPES
            return table[self.name](mp.mpf(x), mp.mpf(self.target))
        return (
            right.VALUES[self.name](mp.mpf(x)) if self.of == "value" else ADJOINT * right.SLOPES[self.name](mp.mpf(x))
        )

    def wrong(self) -> Mapping[str, Callable[[float], Any]]:
        """Wrong slopes by name; of values none."""
        if self.of == "value":
            return {}
        if self.kind == "loss":
            formulas = right.wrong_loss_slopes(self.name)
            return {n: lambda x, f=f: f(mp.mpf(x), mp.mpf(self.target)) for n, f in formulas.items()}
        slopes = right.wrong_slopes(self.name)
        return {n: lambda x, f=f: ADJOINT * f(mp.mpf(x)) for n, f in slopes.items()}


def subjects() -> tuple[Subject, ...]:
    activations = [Subject("activation", n, of) for n in right.VALUES for of in ("value", "slope")]
    losses = []
    for name in right.LOSS_VALUES:
        targets = (0.0, 0.25, 1.0) if name == "binary_cross_entropy_with_logits" else (0.25,)
        losses += [Subject("loss", name, of, t) for t in targets for of in ("value", "slope")]
    return (*activations, *losses)


def rounded(value: Any, target: Format) -> float:
    """A number of mpmath's, rounded to a format; to float64 first, which of 53 and more bits is no further step."""
    if mp.isnan(value):
        return math.nan
    return float(target.round(float(value)))


def binades(target: Format, every: int, seed: str) -> list[float]:
    """Inputs in every `every`-th binade: of both signs and three significands where functions are busy; far away of
    one sign, which alternates."""
    draw = Random(f"gross {target.name} {seed}")
    found = []
    for exponent in range(target.emin - target.precision + 1, target.emax + 1):
        busy = -12 <= exponent <= 11
        if exponent % (max(1, every // 8) if busy else every):
            continue
        for _ in range(3 if busy and every == 1 else 1):
            for sign in (1.0, -1.0) if busy else (1.0 if exponent // every % 2 else -1.0,):
                # Never a power of two: kinks are at some of them.
                x = float(target.round(math.ldexp(sign * draw.uniform(1.05, 1.95), exponent)))
                if x and math.isfinite(x):
                    found.append(x)
    return found


class At:
    """A subject at some inputs of a format: the point, and right values for all that a step reads."""

    def __init__(self, subject: Subject, target: Format, xs: Sequence[float]) -> None:
        self.subject, self.target, self.xs = subject, target, xs

    @cached_property
    def point(self) -> Point:
        s, column = self.subject, [[x] for x in self.xs]
        layers: Any
        if s.kind == "activation":
            # Far below every value of an activation: |a − t| has the slope 1 everywhere.
            layers, loss, targets = (
                [([[1.0]], None, s.name), ([[ADJOINT]], None, "identity")],
                "l1",
                [[-self.target.largest / 2]] * len(column),
            )
        elif s.name == "softmax_cross_entropy":
            layers, loss, targets = [([[1.0], [-1.0]], None, "identity")], s.name, [[1.0, 0.0]] * len(column)
        else:
            layers, loss, targets = [([[1.0]], None, "identity")], s.name, [[s.target]] * len(column)
        case = network_case("gross/neuron", layers=layers, loss=loss, reduction="sum", inputs=column, targets=targets,
                            rate=0.5)  # fmt: skip
        return point(case, self.target.name)

    @cached_property
    def exact(self) -> list[Any]:
        return [self.subject.exact(x) for x in self.xs]

    @cached_property
    def right(self) -> Numbers:
        """The subject's values, in the shape of the quantity."""
        return self.shaped([rounded(v, self.target) for v in self.exact])

    def shaped(self, values: Sequence[float]) -> Numbers:
        """Values of the first column, in the shape of the quantity, the other column right."""
        if self.subject.quantity == "E":
            return np.array(values[0])
        column = np.array(values)[:, None]
        two = self.subject.name == "softmax_cross_entropy"
        return np.hstack([column, np.array([rounded(-v, self.target) for v in self.exact])[:, None]]) if two else column

    @cached_property
    def reported(self) -> dict[str, Any]:
        """What the other equations report."""
        s, column = self.subject, np.array(self.xs)[:, None]
        if s.kind == "loss":
            z = np.hstack([column, -column]) if s.name == "softmax_cross_entropy" else column
            return {"z1": z, "a1": z}
        value = [rounded(right.VALUES[s.name](mp.mpf(x)), self.target) for x in self.xs]
        return {"z1": column, "a1": np.array(value)[:, None], "dE/da1": np.full(column.shape, ADJOINT)}

    @cached_property
    def step(self) -> StepLevel:
        return step_level(self.point, OPENCL)

    def judged(self, values: Numbers) -> Judgement:
        """What the step level says of the subject's quantity with these values."""
        quantity = self.subject.quantity
        equation = derivation(self.point.derivation).by_name[quantity]
        report = Report(quantity, equation, values, self.reported)
        with np.errstate(all="ignore"):
            return self.step.judge(report)


# Wrong values ---------------------------------------------------------------------------------------------------------


def gross(at: At, index: int) -> Iterator[tuple[str, float]]:
    """Gross wrong values of one component."""
    value = rounded(at.exact[index], at.target)
    yield "0", 0.0
    yield "∞", math.inf
    yield "nan", math.nan
    yield "−x", -value
    if math.isfinite(larger := float(at.target.round(value * 2.0**20))):
        yield "x·2^20", larger
    if len(at.exact) > 8:
        yield "neighbour", rounded(at.exact[(index + 8) % len(at.exact)], at.target)


def differs(got: float, exact: Any, target: Format, least: float) -> bool:
    """Whether a value is wrong by more than `least` of the right one, and by more than flushing explains."""
    if not math.isfinite(got):
        return math.isfinite(rounded(exact, target)) or math.isnan(got)
    tiny = 4 * 2.0**target.emin
    return bool(abs(mp.mpf(got) - exact) > max(least * abs(exact), tiny))


Key = tuple[str, str, str, str]


@dataclass
class Scan:
    """Counts by (what, subject, dtype, kind of wrong value), and the first of each outcome that is no deviation."""

    counts: dict[Key, Counter[str]]
    examples: dict[tuple[Key, str], str]

    def add(self, key: Key, x: float, got: float, judgement: Judgement, how: str) -> None:
        self.counts.setdefault(key, Counter())[judgement.verdict] += 1
        if judgement.verdict != "deviates":
            by = f"form {judgement.accepted_form} truth {judgement.truth} share {judgement.share}"
            said = f"{how} x={x!r} got {got!r} {by}"
            self.examples.setdefault((key, judgement.verdict), said)


def scanned(work: tuple[int, str, int]) -> Scan:
    """A subject in a dtype: each input alone, then one component among all."""
    number, dtype, every = work
    subject, target = subjects()[number], FORMATS[dtype]
    found = Scan({}, {})
    with mp.workdps(right.DIGITS):
        whole = At(subject, target, binades(target, every, str(subject)))
        for index, x in enumerate(whole.xs):
            _alone(found, whole, index, x)
        if subject.quantity != "E":
            _among(found, whole)
    return found


def _alone(found: Scan, whole: At, index: int, x: float) -> None:
    subject, target = whole.subject, whole.target
    one, name = At(subject, target, [x]), str(subject)
    found.add(("right", name, target.name, "right"), x, float(one.right.flat[0]), one.judged(one.right), "alone")
    for kind, value in gross(whole, index):
        if differs(value, whole.exact[index], target, GROSS):
            found.add(("gross", name, target.name, kind), x, value, one.judged(one.shaped([value])), "alone")
    for kind, formula in subject.wrong().items():
        value = rounded(formula(x), target)
        if differs(value, whole.exact[index], target, WRONG):
            found.add(("slope", name, target.name, kind), x, value, one.judged(one.shaped([value])), "alone")


def _among(found: Scan, whole: At) -> None:
    """The whole range, right; one component of it gross; and every component by a wrong formula.

    A tensor is measured by norms: a component whose digits are lost where it stands alone is not asked about.
    """
    subject, target, name = whole.subject, whole.target, str(whole.subject)
    found.add(("right", name, target.name, "all right"), math.nan, math.nan, whole.judged(whole.right), "among")
    places = Random(f"places {subject} {target.name}").sample(range(len(whole.xs)), min(PLACES, len(whole.xs)))
    for index in places:
        for kind, value in gross(whole, index):
            if differs(value, whole.exact[index], target, GROSS) and not _lost(whole, index, value):
                values = whole.right.copy()
                values[index, 0] = value
                found.add(("gross", name, target.name, f"{kind}, one of all"), whole.xs[index], value,
                          whole.judged(values), "among")  # fmt: skip
    for kind, formula in subject.wrong().items():
        values = [rounded(formula(x), target) for x in whole.xs]
        found.add(
            ("slope", name, target.name, f"{kind}, all"), math.nan, math.nan, whole.judged(whole.shaped(values)), "all"
        )


def _lost(whole: At, index: int, value: float) -> bool:
    one = At(whole.subject, whole.target, [whole.xs[index]])
    return one.judged(one.shaped([value])).verdict in ("lost", "vacuous", "ill-conditioned")


# Telling --------------------------------------------------------------------------------------------------------------


def failing(key: Key, verdict: str) -> bool:
    """Whether an outcome is one that must not be."""
    what, _, _, kind = key
    if what == "right":
        return verdict in ("deviates", "undecided")
    if what == "slope":
        return False  # counted, and compared with another revision
    return verdict in ("conforms", "undecided") or (verdict == "out of range" and not kind.startswith(("∞", "nan")))


def table(scan: Scan) -> Any:
    import pandas as pd

    rows = [{"what": w, "of": s, "dtype": d, "kind": k, "tried": sum(c.values()), "caught": c["deviates"],
             **{v: n for v, n in c.items() if v != "deviates"}} for (w, s, d, k), c in scan.counts.items()]  # fmt: skip
    found = pd.DataFrame(rows).fillna(0)
    return found.astype({c: int for c in found.columns if found[c].dtype == float})


def kept(scan: Scan) -> dict[str, dict[str, int]]:
    """Counts for `--json`."""
    return {"|".join(key): dict(sorted(c.items())) for key, c in scan.counts.items()}


def compared(old: Mapping[str, Mapping[str, int]], new: Mapping[str, Mapping[str, int]]) -> list[str]:
    """A line for every row that was scanned now and whose counts are not what they were."""
    return [f"{key}: {dict(old.get(key, {}))} → {dict(c)}" for key, c in sorted(new.items()) if old.get(key) != c]


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="every 16th binade, and every other one near 1")
    parser.add_argument("--only", default="", help="subjects whose name contains this, such as 'tanh slope'")
    parser.add_argument("-d", "--dtype", action="append", choices=FORMATS)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--against", type=Path)
    parser.add_argument("-o", "--output", type=Path)
    options = parser.parse_args(arguments)
    started = time.perf_counter()
    work = [(n, d, 16 if options.quick else 1) for n, s in enumerate(subjects()) if options.only in str(s)
            for d in options.dtype or FORMATS]  # fmt: skip
    scan = Scan({}, {})
    with ProcessPoolExecutor(options.jobs, get_context("spawn")) as pool:
        for number, found in enumerate(pool.map(scanned, work), 1):
            scan = replace(scan, counts=scan.counts | found.counts, examples=scan.examples | found.examples)
            print(f"\r{number}/{len(work)}", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return said(scan, options, time.perf_counter() - started)


def said(scan: Scan, options: argparse.Namespace, seconds: float) -> int:
    """Print and write what was found; the exit status."""
    if not scan.counts:
        print(f"nothing to judge: no subject's name contains {options.only!r}", file=sys.stderr)
        return 3
    found = table(scan)
    sums = found.groupby(["what", "dtype"], sort=False).sum(numeric_only=True)
    if options.output:
        options.output.mkdir(parents=True, exist_ok=True)
        found.to_csv(options.output / "gross.csv", index=False)
        (options.output / "gross.md").write_text(sums.reset_index().to_markdown(index=False) + "\n", encoding="utf-8")
    if options.json:
        options.json.write_text(json.dumps(kept(scan), indent=0, ensure_ascii=False), encoding="utf-8")
    wrong = [(k, v) for k, v in scan.examples if failing(k, v)]
    wrong += [(k, "deviates") for k, c in scan.counts.items() if k[0] == "right" and c["deviates"]]
    for key, verdict in wrong:
        print(f"{' | '.join(key)}: {scan.counts[key][verdict]} {verdict}; {scan.examples.get((key, verdict), '')}")
    print(sums.to_markdown())
    if options.against:
        lines = compared(json.loads(options.against.read_text(encoding="utf-8")), kept(scan))
        print("\n".join([f"{len(lines)} rows are not what they were", *lines]))
    print(f"{int(found.tried.sum())} judgements, {len(wrong)} kinds that must not be; {seconds:.0f} s")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
