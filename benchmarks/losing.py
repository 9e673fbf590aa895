"""What each framework loses: operator, dtype, from which argument on, how many bits, and a program that keeps them.

    python benchmarks/losing.py [-a ADAPTER/ROUTE]… [--only TEXT] [-d DTYPE]… [--quick] [--jobs 2] [-o docs/lost]

One neuron with the weight 1 for every activation and loss; its arguments are of both signs and every binade of the
dtype (beyond 2^±32 every 32nd), four to a binade from 2^-4 to 2^10. A framework is asked for all of them at
once, of a loss's value for one at a time, and each is judged alone, at the step level. Where that says `lost` nothing
of the result is certified, and another accepted program keeps at least 8 bits. The edges of a range of such arguments
are searched between its neighbours; a range is of one sign, and of arguments that follow one another. In the 16-bit
dtypes, of which a program seldom keeps 8 bits, or never, what certifies nothing for any reason is listed where another
accepted program keeps half of the dtype's bits; the verdict stands beside it.

Exit status 0, whatever is lost: that is what the list is for; 1 if a result deviates that is not known to, 3 if nothing
was judged.
"""

from __future__ import annotations

import argparse
import math
import re
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, fields, replace
from functools import cache
from itertools import groupby, pairwise
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from gradconform.adapters import registry
from gradconform.adapters.contract import Adapter, Answer, Point, Route, Trace
from gradconform.conformance.check import step_level
from gradconform.conformance.known import entries_for, is_known, marked
from gradconform.conformance.levels.shared import Report, widened
from gradconform.conformance.own_forms import with_own_forms
from gradconform.reference.arithmetic.formats import FLOAT32, FORMATS, Format
from gradconform.reference.arithmetic.profiles import OPENCL
from gradconform.reference.cases import BadInput, derivation, network_case, point
from gradconform.reference.derivations.activations import ACTIVATIONS
from gradconform.reference.derivations.losses import LOSSES
from gradconform.reference.measurement import UNCERTIFIED, Measurement, judged, kept_by

ROUTES = ("torch/eager", "jax/jit", "jax/eager")
#: The adjoint that an activation's slope is multiplied by: the weight of a second layer behind it.
ADJOINT = 0.75
#: Binades in which functions are busy, arguments in each of those, and arguments between two in search of an edge.
BUSY, IN_BINADE, BETWEEN = range(-4, 10), 4, 15
#: What a framework's answer must not come to.
WRONG = ("deviates", "undecided", "crashed")
#: The targets of losses that are busy at some; of others 0.25.
TARGETS = {"binary_cross_entropy_with_logits": (0.0, 0.25, 1.0)}


# What is asked --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Subject:
    """One function, its value or its slope; `target` is a loss's t."""

    operator: str
    of: str
    target: float | None = None

    def __str__(self) -> str:
        return f"{self.operator} {self.of}" + ("" if self.target is None else f" t={self.target:g}")

    @property
    def is_loss(self) -> bool:
        return self.target is not None

    @property
    def quantity(self) -> str:
        if self.is_loss:
            return "E" if self.of == "value" else "dE/da1"
        return "a1" if self.of == "value" else "dE/dz1"

    def point(self, xs: Sequence[float], dtype: str) -> Point:
        """The neuron at some arguments, as a batch of them."""
        column = [[x] for x in xs]
        layers: Any
        targets: Any
        if self.operator == "softmax_cross_entropy":
            layers, targets = [([[1.0], [-1.0]], None, "identity")], [[1.0, 0.0]] * len(xs)
        elif self.is_loss:
            layers, targets = [([[1.0]], None, "identity")], [[self.target]] * len(xs)
        else:
            # Far below every value of an activation: |a − t| has the slope 1 everywhere.
            targets = [[-FORMATS[dtype].largest / 2]] * len(xs)
            layers = [([[1.0]], None, self.operator), ([[ADJOINT]], None, "identity")]
        case = network_case(f"losing/{self.operator}", layers=layers, loss=self.operator if self.is_loss else "l1",
                            inputs=column, targets=targets, rate=0.5)  # fmt: skip
        return point(case, dtype)  # type: ignore[arg-type]


def subjects() -> list[Subject]:
    """Every activation and loss; softmax stands in its loss, which is the one of the output."""
    names = [n for n, a in ACTIVATIONS.items() if n != "identity" and not a.rowwise]
    found = [Subject(n, of) for n in names for of in ("value", "slope")]
    return found + [Subject(n, of, t) for n in LOSSES for t in TARGETS.get(n, (0.25,)) for of in ("value", "slope")]


def arguments(target: Format, side: float, quick: bool) -> list[float]:
    """Arguments of one sign in every binade of a format, the smallest first."""
    found, each = [], 2 if quick else IN_BINADE
    for exponent in range(target.emin - target.precision + 1, target.emax + 1):
        if exponent in BUSY:
            found += [side * 2.0 ** (exponent + (i + 0.5) / each) for i in range(each)]
        elif exponent % 32 == 0 or not (quick or abs(exponent) > 32):
            # A Python power of 2^-1074.5 is 0: in two factors.
            found.append(side * 2.0**0.5 * 2.0**exponent)
    return distinct(found, target)


def distinct(xs: Sequence[float], target: Format) -> list[float]:
    rounded = dict.fromkeys(float(target.round(x)) for x in xs)
    return sorted((x for x in rounded if x and math.isfinite(x)), key=abs)


# What is answered and judged ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Found:
    """What is said of a function at one argument."""

    x: float
    verdict: str
    kept: float
    best: float
    form: str
    keeps: str

    lost: bool


def answers(adapter: Adapter, route: Route, subject: Subject, dtype: str, xs: Sequence[float]) -> list[Trace]:
    """What was reported at each argument, of a batch of them; of a loss's value of each alone."""
    if subject.quantity == "E":
        return [row_of(adapter.answer(subject.point([x], dtype), route.name), 0) for x in xs]
    # As many as before, whatever is asked: a compiler compiles for a shape.
    size = 1 << max(6, (len(xs) - 1).bit_length())
    answer = adapter.answer(subject.point([*xs, *[xs[-1]] * (size - len(xs))], dtype), route.name)
    return [row_of(answer, i) for i in range(len(xs))]


def row_of(answer: Answer, index: int) -> Trace:
    """One row of what was reported. Raises BadInput where nothing was."""
    if answer.trace is None:
        raise BadInput("the route reports no intermediate values: there is no step to judge; expected one with a trace")

    def row(values: Mapping[str, Any]) -> dict[str, Any]:
        return {n: v[index : index + 1] if np.ndim(v := np.asarray(values[n])) else v
                for n in ("z1", "a1", "E") if n in values}  # fmt: skip

    return Trace(row(answer.trace.values), row(answer.trace.adjoints))


class Judge:
    """One route's judgements of one function; the same numbers are judged once, whoever reported them."""

    def __init__(self, subject: Subject, dtype: str) -> None:
        self.subject, self.dtype = subject, dtype
        self.measured = cache(self._measured)

    def found(self, chosen: registry.Chosen, x: float, trace: Trace) -> Found:
        """The judgement at one argument, known deviations marked."""
        adapter, half_ulp = chosen.adapter, chosen.route.operands == "half-ulp"
        m = self.measured(_Reported(self.subject.point([x], self.dtype), adapter, trace), half_ulp)
        if m.verdict == "deviates":
            m = replace(m, adapter=adapter.name, route=chosen.route.name)
            (m,) = marked([m], registry.versions(adapter), "cpu", entries_for([adapter]))
        verdict, kept = "known" if is_known(m) else m.verdict, bits_of(m)
        best, keeps = kept, kept_by(m.reason) or ""
        narrow = FORMATS[self.dtype].precision < FLOAT32.precision
        if said := re.search(r"lost: (.*) keeps (\d+) bits", m.reason or ""):
            best, keeps = float(said[2]), said[1]
        elif verdict == "lost" or (verdict in UNCERTIFIED and narrow):
            other = self._of_the_truth(adapter, m, x, trace, half_ulp)
            best, keeps = bits_of(other), keeps or other.accepted_form or ""
        half = FORMATS[self.dtype].precision / 2
        # Of a truth below all numbers, whose 0 is right, the judge may say so too; no bit of it is lost.
        lost = verdict in UNCERTIFIED and (best > kept if verdict == "lost" else narrow and best - kept >= half)
        return Found(x, verdict, kept, best, m.accepted_form or "", keeps, lost)

    def _measured(self, reported: _Reported, half_ulp: bool) -> Measurement:
        at, trace, name = with_own_forms(reported.point, reported.adapter), reported.trace, self.subject.quantity
        of = derivation(at.derivation)
        values = {**trace.values, **{of.adjoint(n): v for n, v in trace.adjoints.items()}}
        report, step = Report(name, of.by_name[name], values[name], values), step_level(at, OPENCL)
        with np.errstate(all="ignore"):
            judgement, note = step.judge(report, half_ulp=False), None
            if judgement.verdict == "deviates":
                judgement, note = widened(judgement, step.judge(report, half_ulp=True), half_ulp, None)
        identity = {"case": at.case, "adapter": "", "route": "", "dtype": at.dtype, "level": "step", "quantity": name}
        m = judged(identity, judgement, operator=report.equation.operator)
        return m.because(note) if note else m

    def _of_the_truth(self, adapter: Adapter, m: Measurement, x: float, trace: Trace, half_ulp: bool) -> Measurement:
        """The rounded truth in the place of what was judged: its accepted form is a program that keeps the digits."""
        value, name = float(m.truth or "nan"), self.subject.quantity.removeprefix("dE/d")
        part = "values" if self.subject.of == "value" else "adjoints"
        values: Mapping[str, Any] = getattr(trace, part)
        right = np.full_like(values[name], FORMATS[self.dtype].round(value))
        again = replace(trace, **{part: {**values, name: right}})
        return self.measured(_Reported(self.subject.point([x], self.dtype), adapter, again), half_ulp)


class _Reported:
    """What is judged, as a key: a point, what was reported there, and the adapter, which may bring forms."""

    def __init__(self, point: Point, adapter: Adapter, trace: Trace) -> None:
        self.point, self.adapter, self.trace = point, adapter, trace
        numbers = [*point.values.values(), *trace.values.values(), *trace.adjoints.values()]
        of = tuple(np.asarray(v, dtype=np.float64).tobytes() for v in numbers)
        self.key = (adapter.name if hasattr(adapter, "forms") else "", tuple(trace.adjoints), of)

    def __hash__(self) -> int:
        return hash(self.key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Reported) and self.key == other.key


def bits_of(m: Measurement) -> float:
    """Certified bits, of what conforms without a number of them (it is exact) all; 0 where nothing is certified."""
    if m.certified_bits is None:
        return float(FORMATS[m.dtype].precision) if m.verdict == "conforms" else 0.0
    return max(m.certified_bits, 0.0)


# Ranges ---------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Range:
    """Where a route loses a function: from an argument to one further out, and what comes `then`.

    `half` is the argument from which on, up to there, at most half of the dtype's digits are certified. `bits` of them
    are lost at worst, at the argument `worst`, by the program `form`; `keeps` says what keeps them.
    """

    route: str
    operator: str
    of: str
    target: float | None
    dtype: str
    start: float
    end: float
    then: str
    half: float
    bits: float
    worst: float
    verdict: str
    form: str
    keeps: str


#: Of a function in a dtype, by all routes: ranges, how many arguments came out how, and what deviates, in words.
Scan = tuple[list[Range], Counter[str], list[str]]


def scanned(work: tuple[tuple[str, ...], Subject, str, bool]) -> Scan:
    specs, subject, dtype, quick = work
    judge = Judge(subject, dtype)
    ranges: list[Range] = []
    counts: Counter[str] = Counter()
    wrong: list[str] = []
    for chosen in (c for spec in specs for c in registry.choose(spec) if dtype in c.route.dtypes):

        def asked(xs: Sequence[float], chosen: registry.Chosen = chosen) -> list[Found]:
            traces = answers(chosen.adapter, chosen.route, subject, dtype, xs)
            return [judge.found(chosen, x, trace) for x, trace in zip(xs, traces, strict=True)]

        for side in (1.0, -1.0):
            found = refined(asked(arguments(FORMATS[dtype], side, quick)), asked, FORMATS[dtype])
            counts.update(f.verdict for f in found)
            of = f"{chosen.spec} {dtype} {subject}"
            wrong += [f"{f.verdict}: {of} at {f.x!r} by {f.form}" for f in found if f.verdict in WRONG]
            ranges += [as_range(chosen.spec, subject, dtype, found, first, last) for first, last in runs(found)]
    return ranges, counts, wrong


def refined(found: list[Found], asked: Callable[[Sequence[float]], list[Found]], target: Format) -> list[Found]:
    """With arguments between every two of which one is lost and one is not."""
    more = [
        math.copysign(abs(a.x) * (abs(b.x) / abs(a.x)) ** (i / (BETWEEN + 1)), a.x)
        for a, b in pairwise(found)
        if a.lost != b.lost
        for i in range(1, BETWEEN + 1)
    ]
    known = {f.x for f in found}
    new = [x for x in distinct(more, target) if x not in known]
    return sorted([*found, *(asked(new) if new else [])], key=lambda f: abs(f.x))


def runs(found: Sequence[Found]) -> Iterator[tuple[int, int]]:
    """First and last index of every run of arguments that are lost."""
    for lost, group in groupby(range(len(found)), key=lambda i: found[i].lost):
        if lost:
            first, *_, last = [*(indices := list(group)), indices[-1]]
            yield first, last


def as_range(spec: str, subject: Subject, dtype: str, found: Sequence[Found], first: int, last: int) -> Range:
    worst = max(found[first : last + 1], key=lambda f: f.best - f.kept)
    start = first
    while start and found[start - 1].verdict == "conforms" and found[start - 1].kept <= FORMATS[dtype].precision / 2:
        start -= 1
    return Range(
        spec, subject.operator, subject.of, subject.target, dtype, found[first].x, found[last].x,
        then=found[last + 1].verdict if last + 1 < len(found) else "", half=found[start].x,
        bits=round(worst.best - worst.kept, 1), worst=worst.x, verdict=worst.verdict, form=worst.form,
        keeps=worst.keeps,
    )  # fmt: skip


# Telling --------------------------------------------------------------------------------------------------------------


def shown(ranges: Sequence[Range]) -> str:
    """The list as a table in Markdown: routes that lose the same are in one row."""
    rows: dict[tuple[str, ...], list[str]] = {}
    for r in sorted(ranges, key=lambda r: (r.operator, r.of, str(r.target), list(FORMATS).index(r.dtype), r.start)):
        at = "" if r.target is None or r.operator not in TARGETS else f", t = {r.target:g}"
        key = (f"{r.operator}{at}", r.of, r.dtype, f"{r.half:.4g}", f"{r.start:.4g}", f"{r.end:.4g}", r.then,
               f"{r.bits:.0f}", r.verdict, r.form, r.keeps)  # fmt: skip
        rows.setdefault(key, []).append(r.route)
    heads = ("operator", "of", "dtype", "half of the digits from", "all from", "to", "then", "bits lost", "verdict",
             "program", "what keeps them", "route")  # fmt: skip
    lines = [heads, tuple("--:" if h in heads[3:6] or h == "bits lost" else ":--" for h in heads)]
    lines += [(*key, ", ".join(routes)) for key, routes in rows.items()]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def written(folder: Path, ranges: Sequence[Range], versions: Sequence[str]) -> None:
    import pandas as pd

    folder.mkdir(parents=True, exist_ok=True)
    pd.DataFrame([asdict(r) for r in ranges], columns=[f.name for f in fields(Range)]).to_csv(
        folder / "lost.csv", index=False
    )
    about = (__doc__ or "").split("\n\n")[2]
    how = f"By `python benchmarks/losing.py` with {', '.join(versions)} on the CPU. {about}"
    (folder / "lost.md").write_text(f"# What each framework loses\n\n{how}\n\n{shown(ranges)}\n", encoding="utf-8")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-a", "--adapter", action="append", help=f"a route; default: {' '.join(ROUTES)}")
    parser.add_argument("--only", action="append", help="functions whose name contains this, such as 'tanh slope'")
    parser.add_argument("-d", "--dtype", action="append", choices=FORMATS)
    parser.add_argument("--quick", action="store_true", help="every 32nd binade, and two arguments in those near 1")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("-o", "--output", type=Path)
    options = parser.parse_args(arguments)
    started = time.perf_counter()
    chosen = [c for spec in options.adapter or ROUTES for c in registry.choose(spec)]
    specs = tuple(c.spec for c in chosen)
    work = [(specs, s, d, options.quick) for s in subjects() if any(o in str(s) for o in options.only or [""])
            for d in options.dtype or FORMATS]  # fmt: skip
    versions = list(dict.fromkeys(f"{n} {v}" for c in chosen for n, v in registry.versions(c.adapter).items()))
    ranges: list[Range] = []
    counts: Counter[str] = Counter()
    wrong: list[str] = []
    with ProcessPoolExecutor(options.jobs, get_context("spawn")) as pool:
        for number, (found, counted, bad) in enumerate(pool.map(scanned, work), 1):
            ranges += found
            counts += counted
            wrong += bad
            print(f"\r{number}/{len(work)}", end="", file=sys.stderr, flush=True)
            if options.output:  # as far as it is: a long run may be cut off
                written(options.output, ranges, versions)
    print("\n".join(["", shown(ranges), *wrong]))
    seconds = time.perf_counter() - started
    print(f"{sum(counts.values())} answers, {dict(counts)}, {len(ranges)} ranges; {seconds:.0f} s")
    return 1 if wrong else 0 if counts else 3


if __name__ == "__main__":
    sys.exit(main())
