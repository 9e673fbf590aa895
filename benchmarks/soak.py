"""The soak: no false alarm in a million judged quantities, over random cases, shapes, dtypes, routes and seeds.

    python benchmarks/soak.py [--quantities 1000000] [--seed N]… [--jobs 1] [-a ADAPTER/ROUTE]… [-o STATE.jsonl]

A judged quantity is a measurement with a verdict (conforms, deviates, lost, vacuous, ill-conditioned, out of range,
singular, undecided): a number, or a whole tensor judged component by component. The quantities are divided among the
seeds and judged in whole units of work of some ten thousand, so that a few more are judged than asked for. An alarm is
whatever deviates and is not a known deviation, is undecided, or crashed; what conforms to the accuracy that the
framework documents (profile `vendor`) and only not to OpenCL's is counted apart. The first alarm is shrunk to a minimal
case and printed as Python code that reproduces it; exit status 1. Without one the last line says 0 false alarms; exit
status 0.

What is done is appended to the state file, a unit of work a line: stopped at any moment and started again with the same
file, the soak goes on where it was. A file of other routes or other versions is refused (exit status 2).
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, wait
from dataclasses import asdict, dataclass, field
from itertools import count
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from shrinking import code, shrunk

from gradconform.adapters import registry
from gradconform.conformance.cases.catalogue import SCALES, random_case
from gradconform.conformance.cases.networks import architectures, random_network
from gradconform.conformance.known import is_known
from gradconform.conformance.run.runner import Task, perform, provenance
from gradconform.reference.arithmetic.formats import FORMATS
from gradconform.reference.cases import BadInput, Case
from gradconform.reference.measurement import Measurement

ROUTES = ("torch/eager", "torch/func", "torch/module", "jax/eager", "jax/jit", "jax/optax", "numpy")
JUDGED = ("conforms", "deviates", "lost", "vacuous", "ill-conditioned", "out of range", "singular", "undecided")
#: What deviates by OpenCL's bounds for a primitive and not by those that the framework documents.
WITHIN = "within the vendor's bound only"
#: Architectures of `networks.architectures`: few, as JAX compiles anew for each, but with every activation and loss.
SHAPES = (39, 54, 4, 53, 43, 2, 28)
#: Draws in a unit of work, of the document and of one architecture; one unit in NETWORK_EVERY is of networks.
DOCUMENT_DRAWS, NETWORK_DRAWS, NETWORK_EVERY = 12, 12, 4


@dataclass(frozen=True)
class Unit:
    """A piece of work that is done or not done: the `number`-th of a seed."""

    seed: int
    number: int

    def cases(self) -> Iterator[Case]:
        """Its cases: draws of the document at each scale in turn, or draws of one architecture."""
        if self.number % NETWORK_EVERY == NETWORK_EVERY - 1:
            turn = self.number // NETWORK_EVERY
            shape, first = SHAPES[turn % len(SHAPES)], turn // len(SHAPES) * NETWORK_DRAWS
            for draw in range(first, first + NETWORK_DRAWS):
                id = f"network/soak/{shape:02}-{draw:05}"
                yield random_network(id, architectures()[shape], draw, self.seed)
            return
        for draw in range(self.number * DOCUMENT_DRAWS, (self.number + 1) * DOCUMENT_DRAWS):
            yield random_case(SCALES[draw % len(SCALES)], draw // len(SCALES), self.seed)


@dataclass(frozen=True)
class Alarm:
    """Where an alarm was raised; the unit and the case's id find its numbers again."""

    case: str
    route: str
    dtype: str
    level: str | None
    quantity: str
    verdict: str
    share: float | None
    reason: str | None


@dataclass(frozen=True)
class Done:
    """What became of a unit."""

    seed: int
    number: int
    quantities: int
    components: int
    verdicts: dict[str, int]
    seconds: float
    alarms: tuple[Alarm, ...] = field(default=())


def alarming(m: Measurement) -> bool:
    return m.verdict in ("deviates", "undecided", "crashed") and not is_known(m)


def soak(unit: Unit, routes: tuple[str, ...]) -> Done:
    """Judge every case of a unit in every dtype by every route."""
    started = time.perf_counter()
    verdicts: Counter[str] = Counter()
    components = 0
    alarms: list[Alarm] = []
    for case in unit.cases():
        for dtype in FORMATS:
            for route in routes:  # one by one, to know which specification to ask again; the truth is cached
                found = perform(Task(case, dtype, "cpu", "opencl", (route,))).measurements
                beyond = documented(case, dtype, route) if any(map(alarming, found)) else set()
                for m in found:
                    within = alarming(m) and (m.level, m.quantity) not in beyond
                    verdicts[WITHIN if within else "known" if is_known(m) else m.verdict] += 1
                    components += m.elements if m.verdict in JUDGED else 0
                    if alarming(m) and not within:
                        of = (m.case, route, m.dtype, m.level, m.quantity, m.verdict, m.share, m.reason)
                        alarms.append(Alarm(*of))
    quantities = sum(n for v, n in verdicts.items() if v in (*JUDGED, "known", WITHIN))
    seconds = round(time.perf_counter() - started, 3)
    return Done(unit.seed, unit.number, quantities, components, dict(verdicts), seconds, tuple(alarms))


def documented(case: Case, dtype: str, route: str) -> set[tuple[str | None, str]]:
    """What is alarming under the profile `vendor` too, by level and quantity: beyond the framework's own documentation.

    As a whole, nothing in a measurement says which primitive it is that breaks OpenCL's bound.
    """
    found = perform(Task(case, dtype, "cpu", "vendor", (route,))).measurements
    return {(m.level, m.quantity) for m in found if alarming(m)}


# The state file -------------------------------------------------------------------------------------------------------


def opened(path: Path, header: dict[str, Any]) -> list[Done]:
    """What the state file says is done; a new file gets its header, a line that was cut off is taken away.

    Raises BadInput for a file that is no soak's, or of other routes or versions.
    """
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(header) + "\n", encoding="utf-8")
        return []
    whole, _, cut = path.read_bytes().rpartition(b"\n")
    if cut:
        path.write_bytes(whole + b"\n" if whole else b"")
    try:
        first, *lines = [json.loads(line) for line in whole.splitlines()]
        done = [Done(**{**d, "alarms": tuple(Alarm(**a) for a in d["alarms"])}) for d in lines]
    except (ValueError, TypeError, KeyError) as error:
        raise BadInput(f"{path} is no state of a soak ({error}); give another -o, or remove it") from error
    if first != header:
        raise BadInput(f"{path} is of a soak with other routes or versions: {first}; expected {header}")
    return done


def append(path: Path, done: Done) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(asdict(done), separators=(",", ":")) + "\n")


# The soak -------------------------------------------------------------------------------------------------------------


def worked(seed: int, quantities: int, before: Sequence[Done], routes: tuple[str, ...], pool: Executor,
           jobs: int) -> Iterator[Done]:  # fmt: skip
    """The units of a seed that are not done, as they finish, until `quantities` were judged or an alarm was raised."""
    judged = sum(d.quantities for d in before)
    finished = {d.number for d in before}
    numbers = (n for n in count() if n not in finished)
    pending: set[Future[Done]] = set()
    while judged < quantities:
        while len(pending) < jobs + 1:
            pending.add(pool.submit(soak, Unit(seed, next(numbers)), routes))
        ready, pending = wait(pending, return_when=FIRST_COMPLETED)
        for future in ready:
            done = future.result()
            judged += done.quantities
            yield done
            if done.alarms:
                return
    for future in pending:
        future.cancel()


def minimal(unit: Unit, alarm: Alarm) -> str:
    """The code that reproduces an alarm, of the smallest case that was found to raise it."""

    def alarms(case: Case) -> bool:
        try:
            found = perform(Task(case, alarm.dtype, "cpu", "opencl", (alarm.route,))).measurements
        except BadInput:
            return False
        return any(alarming(m) and (m.level, m.verdict) == (alarm.level, alarm.verdict) for m in found)

    case = next(c for c in unit.cases() if c.id == alarm.case)
    return code(shrunk(case, alarms), alarm.route, alarm.dtype)


def closing(done: Sequence[Done]) -> str:
    """The last line: how much was judged, with what verdicts, and how fast."""
    verdicts: Counter[str] = Counter()
    for d in done:
        verdicts.update(d.verdicts)
    judged, components = sum(d.quantities for d in done), sum(d.components for d in done)
    alarms, undecided = sum(len(d.alarms) for d in done), verdicts["undecided"]
    seconds = sum(d.seconds for d in done)
    seeds = len({d.seed for d in done})
    detail = ", ".join(f"{v} {n:,}" for v, n in sorted(verdicts.items()))
    rate = judged / seconds if seconds else 0.0
    return (
        f"{judged:,} judged quantities ({components:,} components) over {seeds} seeds: {alarms} false alarms, "
        f"{undecided} undecided ({detail}); {seconds:,.0f} s of work, {rate:,.0f} a second and process"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quantities", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, action="append", dest="seeds", help="default: 1 2 3")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("-a", "--adapter", action="append", dest="routes", help=f"default: {' '.join(ROUTES)}")
    parser.add_argument("-o", "--output", type=Path, default=Path("runs/soak.jsonl"))
    options = parser.parse_args(arguments)
    if options.quantities < 1 or options.jobs < 1:
        parser.error("--quantities and --jobs are 1 or more")
    routes, seeds = tuple(options.routes or ROUTES), tuple(dict.fromkeys(options.seeds or (1, 2, 3)))
    try:
        chosen = [c for route in routes for c in registry.choose(route)]
        frameworks = provenance(chosen)["frameworks"]
        done = opened(options.output, {"kind": "soak", "routes": list(routes), "frameworks": frameworks})
    except BadInput as error:
        print(f"soak: {error}", file=sys.stderr)
        return 2
    specifications = tuple(dict.fromkeys(c.spec for c in chosen))
    share = -(-options.quantities // len(seeds))
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # of the workers: these networks are small
    with ProcessPoolExecutor(options.jobs, get_context("spawn")) as pool:
        for seed in seeds:
            before = [d for d in done if d.seed == seed and not d.alarms]
            for d in worked(seed, share, before, specifications, pool, options.jobs):
                if d.alarms:
                    print(f"\nalarm: {d.alarms[0]}\n{minimal(Unit(d.seed, d.number), d.alarms[0])}")
                    return 1
                append(options.output, d)
                done.append(d)
                judged = sum(x.quantities for x in done)
                print(f"\rseed {seed}: {judged:,} of {options.quantities:,}", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    print(closing([d for d in done if d.seed in seeds]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
