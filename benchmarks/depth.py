"""The whole level: how much of a network is certified from its inputs alone, by depth, width, activation and dtype.

    python benchmarks/depth.py [-a ADAPTER/ROUTE] [--draws 2] [--depth N]… [--width N]… [-d DTYPE]…
                               [--json FILE] [--against FILE] [-o docs/depth]

Networks of equal layers without bias, weights of the scale 1/√(fan in), a batch of 4, the mean of half squared errors.
The loss, every weight's gradient and every updated weight are judged at the whole level. Of each cell: how many tensors
conform of those judged, and the median certified bits of the loss and of the first layer's gradient. Allowances grow
with depth: deeper networks than the first of which nothing is certified are not judged.

`--json` keeps the cells, `--against` sets those that another revision kept beside them, as "before". Exit status 1 if
a measurement deviates, 3 if nothing was judged.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pandas as pd

from gradconform.adapters import registry
from gradconform.adapters.contract import Adapter, Route
from gradconform.conformance.check import judge_answer
from gradconform.reference.arithmetic.formats import FORMATS
from gradconform.reference.cases import Case, network_case, point
from gradconform.reference.measurement import Measurement

ACTIVATIONS = ("sigmoid", "tanh", "relu")
DEPTHS, WIDTHS = (1, 2, 4, 8, 16, 32, 64), (2, 8, 32, 128)
BATCH = 4
#: The largest width × depth: beyond it one network takes minutes.
LARGEST = 2048
#: What a row of the first table is of: the columns that do not change from one depth to another.
Of = tuple[str, str, int]


@dataclass(frozen=True)
class Cell:
    """What came out of a few networks of one kind: `gradients` and `judged` count tensors.

    `bits_E` and `bits_W1` are medians of certified bits, of ∞ where a tensor is exact; NaN where none has any.
    """

    activation: str
    dtype: str
    width: int
    depth: int
    judged: int
    certified: int
    gradients: int
    certified_gradients: int
    bits_E: float
    bits_W1: float
    deviating: int
    seconds: float

    @property
    def of(self) -> Of:
        return self.activation, self.dtype, self.width


def network(activation: str, width: int, depth: int, draw: int) -> Case:
    """A network of `depth` layers of `width` neurons; the same numbers in every dtype and revision."""
    random = np.random.default_rng([ord(c) for c in f"{activation} {width} {depth} {draw}"])
    layers = [(random.normal(0, 1 / math.sqrt(width), (width, width)), None, activation) for _ in range(depth)]
    inputs, targets = random.normal(0, 1, (2, BATCH, width))
    return network_case(f"depth/{activation}-{width}x{depth}-{draw}", layers=layers, reduction="mean", inputs=inputs,
                        targets=targets, rate=0.01)  # fmt: skip


def whole(adapter: Adapter, route: Route, case: Case, dtype: str) -> list[Measurement]:
    """The measurements of the whole level alone: without a trace there are no others but the update's."""
    at = point(case, dtype)  # type: ignore[arg-type]
    answer = replace(adapter.answer(at, route.name), trace=None)
    return [m for m in judge_answer(answer, adapter, route, at, "opencl") if m.level == "whole"]


def bits_of(rows: Sequence[Measurement], quantity: str) -> float:
    """The median of certified bits; what conforms without a number of them is exact, what else has none is nothing."""
    found = [
        (math.inf if m.verdict == "conforms" else -math.inf) if m.certified_bits is None else m.certified_bits
        for m in rows
        if m.quantity == quantity
    ]
    return median(found) if found else math.nan


def cell(chosen: registry.Chosen, activation: str, dtype: str, width: int, depth: int, draws: int) -> Cell:
    started = time.perf_counter()
    rows = [
        m
        for draw in range(draws)
        for m in whole(chosen.adapter, chosen.route, network(activation, width, depth, draw), dtype)
    ]
    gradients = [m for m in rows if m.quantity.startswith("dE/dW")]
    return Cell(
        activation, dtype, width, depth,
        judged=len(rows), certified=conforming(rows), gradients=len(gradients),
        certified_gradients=conforming(gradients), bits_E=bits_of(rows, "E"), bits_W1=bits_of(rows, "dE/dW1"),
        deviating=sum(m.verdict == "deviates" for m in rows), seconds=round(time.perf_counter() - started, 2),
    )  # fmt: skip


def conforming(rows: Sequence[Measurement]) -> int:
    return sum(m.verdict == "conforms" for m in rows)


# Telling --------------------------------------------------------------------------------------------------------------


def silent_from(cells: Sequence[Cell]) -> str:
    """The depth from which on no gradient is certified, of cells of one activation, dtype and width."""
    deepest = max((c.depth for c in cells if c.certified_gradients), default=0)
    silent = [c.depth for c in cells if c.depth > deepest]
    return str(min(silent)) if silent else f"> {deepest}"


def grouped(cells: Sequence[Cell]) -> Mapping[Of, list[Cell]]:
    found: dict[Of, list[Cell]] = {}
    for c in cells:
        found.setdefault(c.of, []).append(c)
    return found


def silence(revisions: Mapping[str, Sequence[Cell]]) -> pd.DataFrame:
    """The depth from which on no gradient is certified: a row an activation and dtype, a column a width."""
    of = [grouped(cells) for cells in revisions.values()]
    rows: dict[tuple[str, str], dict[str, str]] = {}
    for key in grouped(revisions["now"]):
        activation, dtype, width = key
        text = " → ".join(silent_from(groups[key]) for groups in of if key in groups)
        rows.setdefault((activation, dtype), {})[f"width {width}"] = text
    return pd.DataFrame([{"activation": a, "dtype": d, **row} for (a, d), row in rows.items()])


def shares(revisions: Mapping[str, Sequence[Cell]]) -> pd.DataFrame:
    """Every cell: how many tensors are certified, and the bits; in each revision."""
    of = {name: {(*c.of, c.depth): c for c in cells} for name, cells in revisions.items()}
    rows = []
    for key in sorted({k for cells in of.values() for k in cells}, key=_place):
        row: dict[str, Any] = dict(zip(("activation", "dtype", "width", "depth"), key, strict=True))
        pair = {f" {name}" if len(of) > 1 else "": cells.get(key) for name, cells in of.items()}
        row |= {f"certified{when}": share_of(c) for when, c in pair.items()}
        row |= {f"bits of E{when}": bits(c and c.bits_E) for when, c in pair.items()}
        row |= {f"bits of dE/dW1{when}": bits(c and c.bits_W1) for when, c in pair.items()}
        rows.append(row)
    return pd.DataFrame(rows)


def _place(key: tuple[str, str, int, int]) -> tuple[int, ...]:
    activation, dtype, width, depth = key
    return ACTIVATIONS.index(activation), list(FORMATS).index(dtype), width, depth


def share_of(c: Cell | None) -> str:
    return "" if c is None or not c.judged else f"{c.certified} of {c.judged}"


def bits(found: float | None) -> str:
    if found is None or math.isnan(found) or found == -math.inf:
        return ""
    return "exact" if found == math.inf else f"{found:.1f}"


def rows_of(revisions: Mapping[str, Sequence[Cell]]) -> Iterator[dict[str, Any]]:
    """For the CSV: a row for each cell and revision; times are left out, to be the same from run to run."""
    for name, cells in revisions.items():
        for c in cells:
            row = asdict(c)
            del row["seconds"]
            yield {"revision": name, **{k: round(v, 2) if isinstance(v, float) else v for k, v in row.items()}}


def written(folder: Path, revisions: Mapping[str, Sequence[Cell]], route: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(rows_of(revisions)).to_csv(folder / "depth.csv", index=False)
    arrow = "; before → now" if "before" in revisions else ""
    silent, each = (t.to_markdown(index=False) for t in (silence(revisions), shares(revisions)))
    (folder / "depth.md").write_text(
        f"# What the whole level certifies, by depth\n\nBy `python benchmarks/depth.py` with {route}.\n\n"
        f"## The depth from which on no gradient of a weight is certified{arrow}\n\n{silent}\n\n"
        f"## Tensors that are certified, and bits\n\n{each}\n",
        encoding="utf-8",
    )


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-a", "--adapter", default="torch/eager", help="one route")
    parser.add_argument("--draws", type=int, default=2)
    parser.add_argument("--depth", type=int, action="append")
    parser.add_argument("--width", type=int, action="append")
    parser.add_argument("--activation", action="append", choices=ACTIVATIONS)
    parser.add_argument("-d", "--dtype", action="append", choices=FORMATS)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--against", type=Path)
    parser.add_argument("-o", "--output", type=Path)
    options = parser.parse_args(arguments)
    sys.setrecursionlimit(10_000)  # for revisions that evaluate an equation from within the one that reads it
    (chosen, *_) = registry.choose(options.adapter)
    cells: list[Cell] = []
    for of in product(options.activation or ACTIVATIONS, options.dtype or FORMATS, options.width or WIDTHS):
        for depth in sorted(d for d in options.depth or DEPTHS if d * of[2] <= LARGEST):
            cells.append(cell(chosen, *of, depth, options.draws))
            print(f"\r{' '.join(map(str, of))} {depth}: {cells[-1].seconds:.1f} s    ", end="", file=sys.stderr)
            if options.json:  # as far as it is: a long run may be cut off
                options.json.write_text(json.dumps([asdict(c) for c in cells]), encoding="utf-8")
            if not cells[-1].certified:
                break
    print(file=sys.stderr)
    revisions: dict[str, Sequence[Cell]] = {}
    if options.against:
        revisions["before"] = [Cell(**c) for c in json.loads(options.against.read_text(encoding="utf-8"))]
    revisions["now"] = cells
    if options.output:
        written(options.output, revisions, options.adapter)
    print(silence(revisions).to_markdown(index=False))
    deviating, judged = sum(c.deviating for c in cells), sum(c.judged for c in cells)
    print(f"{judged} tensors, {sum(c.certified for c in cells)} certified, {deviating} deviating; "
          f"{sum(c.seconds for c in cells):.0f} s")  # fmt: skip
    return 1 if deviating else 0 if judged else 3


if __name__ == "__main__":
    sys.exit(main())
