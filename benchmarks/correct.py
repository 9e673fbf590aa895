"""Correct code is never called wrong: programs that are not ours, and random ones that the hypotheses permit.

    python benchmarks/correct.py [--quick] [--draws 4] [--only TEXT] [--device 1000] [--jobs 2] [-o docs/correct]

Every program of `correct_programs.py` and `correct_frameworks.py` is judged on random networks and on extreme values
(large, tiny, subnormal, zero, at kinks, saturated, of all binades), in four dtypes; where a program differs in some
activation or loss, on networks made of that. `--device N` judges N random programs of `permitted_device.py` instead.
Prints, and writes as correct.csv, what every program's measurements came to. A program whose convention has to be
asked for is shown, and not counted where the judge has no way to be asked.

Exit status 1 if a measurement of a correct program deviates (known deviations apart), stays undecided or crashes; 3 if
nothing was judged.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import numpy as np
from correct_frameworks import WAYS, Way
from correct_pass import ByProgram, Program
from correct_programs import BEYOND, PROGRAMS
from permitted_device import PermittedDevice

from gradconform.adapters.contract import Adapter
from gradconform.adapters.registry import versions
from gradconform.conformance.cases.catalogue import catalogue
from gradconform.conformance.cases.networks import architectures, covering_networks, random_network
from gradconform.conformance.check import check_route
from gradconform.conformance.known import is_known, marked
from gradconform.reference.arithmetic.formats import FORMATS, Format
from gradconform.reference.cases import Case, network_case, point
from gradconform.reference.derivations.losses import LOSSES
from gradconform.reference.derivations.network import Architecture
from gradconform.reference.measurement import Measurement

#: What no measurement of correct code may come to.
WRONG = ("deviates", "undecided", "crashed")


# Networks and values --------------------------------------------------------------------------------------------------


def shapes(activations: Sequence[str] = (), losses: Sequence[str] = ()) -> list[Architecture]:
    """Architectures that are made of some activations or losses; without any, those that use everything."""
    if not activations and not losses:
        covering = [c.derivation for c in covering_networks() if isinstance(c.derivation, Architecture)]
        return [*covering, Architecture((4, 5, 5, 5), ("tanh",) * 3, (False,) * 3, "squared_error", "mean", 3)]
    found = []
    for number, activation in enumerate(activations):
        mean = ("sum", "mean")[number % 2]
        if activation == "softmax":
            found.append(Architecture((4, 6, 5), ("tanh", "softmax"), (True, True), "half_squared_error", mean, 5))
        else:
            found.append(Architecture((3, 8, 5, 2), (activation, activation, "identity"), (True, False, True),
                                      "half_squared_error", mean, 5))  # fmt: skip
    found += [Architecture((4, 6, 3), ("tanh", "identity"), (True, True), loss, r, 5)
              for loss in losses for r in ("sum", "mean")]  # fmt: skip
    return found


#: Extreme values by name: what inputs, weights and biases are multiplied by, or drawn from.
EXTREMES = ("saturated", "large", "tiny", "subnormal", "zeros", "kinks", "binades", "cancelling")


def extreme(shape: Architecture, kind: str, target: Format, draw: int) -> Case:
    """A case of extreme values for a format."""
    random = np.random.default_rng([ord(c) for c in f"extreme {shape} {kind} {draw}"])

    def normal(size: tuple[int, ...], scale: float = 1.0) -> Any:
        return np.round(random.normal(0, 1, size), 4) * scale

    def inputs(size: tuple[int, ...]) -> Any:
        if kind == "kinks":
            return random.choice([-1.0, 0.0, 0.5, 1.0], size)
        if kind == "binades":
            return random.choice([-1.0, 1.0], size) * 2.0 ** random.uniform(-20, 8, size)
        if kind == "cancelling":  # pairs of columns that nearly cancel
            found = normal(size)
            found[:, 1::2] = -found[:, : size[1] // 2 * 2 : 2] * (1 + 2.0**-9)
            return found
        return normal(
            size, {"large": 1000.0, "tiny": 2.0**-12, "subnormal": 2.0**target.emin, "zeros": 0.0}.get(kind, 1)
        )

    def weight(size: tuple[int, ...]) -> Any:
        if kind == "kinks":
            return random.choice([-1.0, 0.0, 0.5, 1.0], size)
        if kind == "cancelling":
            return np.round(np.ones(size) + normal(size, 2.0**-6), 6)
        return normal(size, {"saturated": 30.0, "tiny": 2.0**-12}.get(kind, 1.0) / size[-1] ** 0.5)

    layers = []
    for number, activation in enumerate(shape.activations):
        before, after = shape.sizes[number : number + 2]
        bias = weight((after,)) * (kind not in ("zeros", "subnormal")) if shape.biased[number] else None
        layers.append((weight((after, before)), bias, activation))
    return network_case(
        f"network/correct/{kind}/{draw:03}", layers=layers, loss=shape.loss, reduction=shape.reduction,
        inputs=inputs((shape.batch, shape.sizes[0])), targets=_targets(shape, kind, random), rate=0.25,
    )  # fmt: skip


def _targets(shape: Architecture, kind: str, random: np.random.Generator) -> Any:
    size = (shape.batch, shape.sizes[-1])
    if LOSSES[shape.loss].rowwise:
        return random.integers(size[1], size=size[0])
    if kind == "kinks" or shape.loss == "binary_cross_entropy_with_logits":
        return random.choice([0.0, 1.0, 0.5], size)
    return np.round(random.uniform(-1, 1, size), 4)


def cases(activations: Sequence[str], losses: Sequence[str], target: Format, draws: int) -> Iterator[Case]:
    """The cases that a program is judged on: ordinary draws of every shape, and every kind of extreme values of it."""
    every = shapes(activations, losses)
    if not activations and not losses:
        yield catalogue()["document/worked-example"]
        every += [architectures()[i] for i in range(0, len(architectures()), max(1, 60 // (3 * draws)))]
    for shape in every:
        for draw in range(draws):
            yield random_network(f"network/correct/random/{draw:03}", shape, draw)
    for shape in shapes(activations, losses):
        for kind in EXTREMES:
            for draw in range(max(1, draws // 4)):
                yield extreme(shape, kind, target, draw)


# Judging --------------------------------------------------------------------------------------------------------------


@dataclass
class Found:
    """What a program's measurements in one dtype came to."""

    program: str
    dtype: str
    counts: Counter[str]
    wrong: list[Measurement]
    convention: str = ""
    required: bool = True
    missing: str = ""

    @property
    def row(self) -> dict[str, Any]:
        judged = sum(n for v, n in self.counts.items() if v != "unsupported")
        note = self.missing or self.convention or ("" if self.required else "not required")
        return {"program": self.program, "dtype": self.dtype, "judged": judged, **self.counts, "note": note}


def judged(found: Found, adapter: Adapter, every: Iterator[Case], target: Format) -> Found:
    """Judge an adapter's first route on cases."""
    names = versions(adapter)
    for case in every:
        rows = check_route(adapter, adapter.routes[0], point(case, target.name), "opencl")
        for m in marked(rows, {adapter.name: names.get(adapter.name, "")}, "cpu"):
            found.counts["known" if is_known(m) else m.verdict] += 1
            if m.verdict in WRONG and not is_known(m):
                found.wrong.append(m)
    return found


def of_program(program: Program, draws: int, required: bool = True) -> list[Found]:
    found = []
    for target in FORMATS.values():
        each = cases(program.activations, program.own_losses, target, draws)
        empty = Found(program.name, target.name, Counter(), [], required=required)
        found.append(judged(empty, ByProgram(program), each, target))
    return found


def of_way(way: Way, draws: int) -> list[Found]:
    if package := way.missing():
        return [Found(way.label, "", Counter(), [], missing=f"{package} is not installed")]
    adapter = way.adapter()
    found = []
    for name in way.dtypes:
        # What compiles anew for every shape and value of a constant gets fewer of them.
        share = 16 if way.slow else 4 if way.framework == "jax" else 1
        chosen = (c for n, c in enumerate(cases((), (), FORMATS[name], draws)) if n % share == 0)
        empty = Found(way.label, name, Counter(), [], way.convention, required=not way.convention)
        found.append(judged(empty, adapter, chosen, FORMATS[name]))
    return found


def of_device(first: int, last: int, dtypes: Sequence[str] = tuple(FORMATS)) -> list[Found]:
    """Random programs first … last, each in every dtype on a network of its own, every fourth on extreme values."""
    found = {d: Found("permitted device", d, Counter(), []) for d in dtypes}
    for number in range(first, last):
        shape = architectures()[number % len(architectures())]
        for target in map(FORMATS.__getitem__, dtypes):
            kind = EXTREMES[number // 4 % len(EXTREMES)]
            case = (extreme(shape, kind, target, number) if number % 4 == 3
                    else random_network(f"network/correct/device/{number:04}", shape, number))  # fmt: skip
            judged(found[target.name], PermittedDevice(number), iter([case]), target)
    return list(found.values())


Work = tuple[str, int, int]


def work_of(options: argparse.Namespace) -> list[Work]:
    """What there is to do, as names that another process can look up."""
    if options.device:
        return [("device", first, min(first + 20, options.device)) for first in range(0, options.device, 20)]
    draws = 1 if options.quick else options.draws
    chosen = [("program", n, draws) for n, p in enumerate(PROGRAMS) if options.only in p.name]
    chosen += [("beyond", n, draws) for n, p in enumerate(BEYOND) if options.only in p.name]
    return chosen + [("way", n, draws) for n, w in enumerate(WAYS)
                     if options.only in w.label and not (w.slow and options.quick)]  # fmt: skip


def done(work: Work) -> list[Found]:
    kind, number, draws = work
    if kind == "device":
        return of_device(number, draws)
    if kind == "way":
        return of_way(WAYS[number], draws)
    return of_program((PROGRAMS if kind == "program" else BEYOND)[number], draws, required=kind == "program")


# Telling --------------------------------------------------------------------------------------------------------------


def merged(found: Sequence[Found]) -> list[Found]:
    """One entry a program and dtype."""
    every: dict[tuple[str, str], Found] = {}
    for f in found:
        if (f.program, f.dtype) in every:
            every[f.program, f.dtype].counts.update(f.counts)
            every[f.program, f.dtype].wrong.extend(f.wrong)
        else:
            every[f.program, f.dtype] = f
    return list(every.values())


def told(m: Measurement, program: str) -> str:
    where = f"{program}: {m.dtype} {m.case} {m.level} {m.quantity}[{m.worst_index}]"
    return (f"{m.verdict}: {where} got {m.value!r} truth {m.truth} ulp {m.error_ulp} share {m.share} "
            f"form {m.accepted_form} {m.formula} {m.execution} {m.accuracy} {m.reason}")  # fmt: skip


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one draw of every kind, no compiler")
    parser.add_argument("--draws", type=int, default=4)
    parser.add_argument("--only", default="", help="programs whose name contains this")
    parser.add_argument("--device", type=int, default=0, metavar="N", help="N random programs of the permitted device")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--shown", type=int, default=20, help="accusations that are printed")
    parser.add_argument("-o", "--output", type=Path)
    options = parser.parse_args(arguments)
    started = time.perf_counter()
    every: list[Found] = []
    work = work_of(options)
    with ProcessPoolExecutor(options.jobs, get_context("spawn")) as pool:
        for number, found in enumerate(pool.map(done, work), 1):
            every += found
            print(f"\r{number}/{len(work)}", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return said(merged(every), options, time.perf_counter() - started)


def said(every: list[Found], options: argparse.Namespace, seconds: float) -> int:
    """Print and write the table; the exit status."""
    import pandas as pd

    table = pd.DataFrame([f.row for f in every]).fillna(0)
    numbers = [c for c in table.columns if c not in ("program", "dtype", "note")]
    table = table.astype(dict.fromkeys(numbers, int))[["program", "dtype", *numbers, "note"]]
    print(table.to_markdown(index=False))
    if options.output:
        options.output.mkdir(parents=True, exist_ok=True)
        name = "device" if options.device else "correct"
        table.to_csv(options.output / f"{name}.csv", index=False)
        (options.output / f"{name}.md").write_text(table.to_markdown(index=False) + "\n", encoding="utf-8")
    wrong = [(m, f.program) for f in every if f.required for m in f.wrong]
    for m, program in wrong[: options.shown]:
        print(told(m, program))
    absent = sorted({f.missing for f in every if f.missing})
    judged = int(table.judged.sum())
    programs = options.device or len({f.program for f in every if f.required and not f.missing})
    print(f"{programs} programs, {judged} measurements: {len(wrong)} of correct code accused, undecided or crashed; "
          f"{'; '.join(absent) + '; ' if absent else ''}{seconds:.0f} s")  # fmt: skip
    return 1 if wrong else 0 if judged else 3


if __name__ == "__main__":
    sys.exit(main())
