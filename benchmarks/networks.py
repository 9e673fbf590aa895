"""No false alarm: random layered networks over every dtype and route, and how much of its allowance each one uses.

    python benchmarks/networks.py [--networks 1000] [--jobs 2] [-a ADAPTER/ROUTE]… [-o FOLDER]

Judges `--networks` networks (values and targets drawn over sixty architectures) in four dtypes. Writes activations.csv
and activations.md: for every activation × framework × dtype the largest share of the allowance that its value and its
derivative took at the step level, and the accepted form it took it under. Exit status 1 if a measurement deviates
(known deviations apart), crashed or stayed undecided.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter, defaultdict
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pandas as pd

from gradconform.conformance.cases.networks import architectures, random_network
from gradconform.conformance.known import is_known
from gradconform.conformance.run.runner import Task, perform
from gradconform.reference.arithmetic.formats import FORMATS
from gradconform.reference.derivations.network import Architecture
from gradconform.reference.measurement import Measurement

ROUTES = ("torch/eager", "torch/func", "torch/module", "jax/eager", "jax/jit", "jax/optax")
Largest = dict[tuple[str, str, str, str, str], tuple[float, str, float]]


def batch(work: tuple[int, int, int, tuple[str, ...], int]) -> tuple[Counter[str], Largest, list[Measurement]]:
    """Judge draws first … last of one architecture; what came out, the largest shares, and what went wrong."""
    number, first, last, routes, seed = work
    architecture = architectures()[number]
    counts: Counter[str] = Counter()
    largest: Largest = {}
    wrong: list[Measurement] = []
    for draw in range(first, last):
        case = random_network(f"network/random/{number:02}-{draw:03}", architecture, draw, seed)
        for dtype in FORMATS:
            for m in perform(Task(case, dtype, "cpu", "opencl", routes)).measurements:
                counts["known" if is_known(m) else m.verdict] += 1
                counts["components"] += m.elements
                if m.verdict in ("deviates", "crashed", "undecided") and not is_known(m):
                    wrong.append(m)
                key = of_activation(m, architecture)
                if key and m.share is not None:
                    found = (m.share, m.accepted_form or "", m.error_ulp or 0.0)
                    largest[key] = max(found, largest.get(key, (-1.0, "", 0.0)))
    return counts, largest, wrong


def of_activation(m: Measurement, architecture: Architecture) -> tuple[str, str, str, str, str] | None:
    """activation, framework, dtype, "value" or "derivative", form: of a step measurement of an activation."""
    if m.level != "step" or m.verdict in ("lost", "vacuous", "ill-conditioned", "out of range"):
        return None
    for kind, prefix in (("value", "a"), ("derivative", "dE/dz")):
        layer = m.quantity.removeprefix(prefix)
        if layer != m.quantity and layer.isdigit():
            activation = architecture.activations[int(layer) - 1]
            return None if activation == "identity" else (activation, m.adapter, m.dtype, kind, m.accepted_form or "")
    return None


def table(largest: Largest) -> pd.DataFrame:
    """One row an activation × framework × what; a column of the largest share and its form for each dtype."""
    best: dict[tuple[str, str, str], dict[str, tuple[float, str]]] = defaultdict(dict)
    for (activation, adapter, dtype, kind, form), (share, _, _) in sorted(largest.items()):
        cell = best[activation, kind, adapter]
        cell[dtype] = max((share, form), cell.get(dtype, (-1.0, "")))
    rows = []
    for (activation, kind, adapter), cells in best.items():
        row: dict[str, Any] = {"activation": activation, "of": kind, "framework": adapter}
        for dtype in FORMATS:
            share, form = cells.get(dtype, (float("nan"), ""))
            row[dtype], row[f"{dtype} form"] = round(share, 3), form
        rows.append(row)
    return pd.DataFrame(rows).sort_values(["activation", "of", "framework"], ignore_index=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", type=int, default=1000)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-a", "--adapter", action="append", dest="routes", help=f"default: {' '.join(ROUTES)}")
    parser.add_argument("-o", "--output", type=Path, default=Path("report"))
    options = parser.parse_args()
    routes = tuple(options.routes or ROUTES)
    shapes = len(architectures())
    draws = Counter(i % shapes for i in range(options.networks))
    work = [(number, 0, n, routes, options.seed) for number, n in draws.items()]
    counts: Counter[str] = Counter()
    largest: Largest = {}
    wrong: list[Measurement] = []
    started = time.perf_counter()
    with ProcessPoolExecutor(options.jobs, get_context("spawn")) as pool:
        for done, (c, found, w) in enumerate(pool.map(batch, work), 1):
            counts += c
            wrong += w
            for key, value in found.items():
                largest[key] = max(value, largest.get(key, (-1.0, "", 0.0)))
            seen = f"{done}/{len(work)} architectures, {len(wrong)} wrong"
            print(f"\r{seen}", end="", file=sys.stderr, flush=True)
    seconds = time.perf_counter() - started
    print(file=sys.stderr)
    kinds = Counter((m.verdict, m.adapter, m.dtype, m.level, m.quantity.rstrip("0123456789"), m.accepted_form)
                    for m in wrong)  # fmt: skip
    for kind, n in kinds.most_common():
        print(n, *kind)
    for m in wrong[:40]:
        where = f"{m.adapter}/{m.route} {m.dtype} {m.case} {m.level} {m.quantity}[{m.worst_index}]"
        found = f"got {m.value!r} truth {m.truth} ulp {m.error_ulp} share {m.share} form {m.accepted_form} {m.reason}"
        print(f"{m.verdict}: {where} {found}")
    options.output.mkdir(parents=True, exist_ok=True)
    shares = table(largest)
    shares.to_csv(options.output / "activations.csv", index=False)
    text = shares.to_markdown(index=False)
    (options.output / "activations.md").write_text(f"{text}\n", encoding="utf-8")
    components = counts.pop("components")
    judged = f"{sum(counts.values())} measurements of {components} components, {dict(counts)}, {seconds:.0f} s"
    what = f"{options.networks} networks of {shapes} architectures × {len(FORMATS)} dtypes × {len(routes)} routes"
    print(f"{what}: {judged}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
