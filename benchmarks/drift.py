"""A training run's drift: how far the weights come from the trajectory that exact arithmetic takes.

    python benchmarks/drift.py [--adapter torch/eager] [--case network/iris] [--steps 200] [-o FOLDER]

Every update is judged from the framework's own weights (`gradconform.train`); the drift is information. Writes
drift.csv, drift.png and drift.svg, and prints the verdicts and the last drift. Exit status 1 if an update deviates.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import pandas as pd

import gradconform as gc
from gradconform.reference.arithmetic.formats import FORMATS
from gradconform.reports import figures


def trained(adapter: str, case: str, steps: int) -> pd.DataFrame:
    """The measurements of a training run in every dtype."""
    return pd.concat([gc.train(adapter, case, steps=steps, dtype=dtype) for dtype in FORMATS], ignore_index=True)


def written(table: pd.DataFrame, folder: Path) -> list[str]:
    """Write the table of drifts and the figure; what came out, in sentences."""
    folder.mkdir(parents=True, exist_ok=True)
    drifts = table[table["drift"].notna()].groupby(["dtype", "step"], sort=False)["drift"].max()
    drifts.to_csv(folder / "drift.csv")
    figure = figures.drift(table)
    if figure is not None:
        for ending in ("png", "svg"):
            figure.savefig(folder / f"drift.{ending}", dpi=150)
    last = drifts.groupby("dtype", sort=False).last()
    verdicts = table["verdict"].value_counts()
    return [
        ", ".join(f"{n:,} {v}" for v, n in verdicts.items()),
        *(f"{d}: {x:.2g} from the exact trajectory" for d, x in last.items()),
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--adapter", default="torch/eager")
    parser.add_argument("--case", default="network/iris")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("-o", "--output", type=Path, default=Path("docs/drift"))
    options = parser.parse_args()
    table = trained(options.adapter, options.case, options.steps)
    print("\n".join(written(table, options.output)))
    return int((table["verdict"] == "deviates").any())


if __name__ == "__main__":
    sys.exit(main())
