"""Beside ulpwise's survey: the same functions at the same numbers, the largest errors by its reference and by ours.

    python benchmarks/survey.py [-o docs/operators] [--dtypes f32,f16,bf16] [--points 600] [FUNCTION …]

ulpwise (https://pypi.org/project/ulpwise/) takes mpmath at 200 bits for the truth; here it is the catalogue's
definition in balls and arrays. Writes survey.csv and survey.md. Needs `pip install 'ulpwise[survey]'`.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from gradconform.conformance.sweep import chunk
from gradconform.conformance.sweep.numbers import Piece
from gradconform.reference.arithmetic.formats import FORMATS
from gradconform.reference.array_judge import last_places
from gradconform.reference.cases import BadInput
from gradconform.reference.derivations.operators.catalogue import OPERATORS

#: The dtypes as ulpwise calls them; it has numbers of float64, too, which are no sweep.
DTYPES = {"f32": "float32", "f16": "float16", "bf16": "bfloat16"}
#: Functions that have another name here; those of one parameter are not the catalogue's.
NAMES = {
    "logsigmoid": "log_sigmoid", "bessel_j0": "j0", "bessel_j1": "j1", "bessel_y0": "y0", "bessel_y1": "y1",
    "modified_bessel_k0": "k0", "modified_bessel_k1": "k1", "scaled_modified_bessel_k0": "k0e",
    "scaled_modified_bessel_k1": "k1e", "modified_bessel_i0": "", "modified_bessel_i1": "", "polygamma_1": "",
    "polygamma_2": "", "zeta": "",
}  # fmt: skip
#: Errors agree that differ by so little, relative to the larger: the truth is known to 40 bits here, of which
#: near a root few are left.
AGREE = 1e-4


def compared(functions: Sequence[str], dtypes: Sequence[str], points: int) -> Iterator[dict[str, Any]]:
    """A row for each function, dtype and framework that both have."""
    from ulpwise import survey

    for entry in survey.REGISTRY:
        name = NAMES.get(entry.name, entry.name)
        if name not in OPERATORS or (functions and entry.name not in functions):
            continue
        for short in dtypes:
            for adapter in ("torch", "jax"):
                for theirs in survey.survey([adapter], [short], points, [entry.name]):
                    grid = survey.grid(entry.domain, short, points).astype(np.float64)
                    try:
                        yield _row(theirs, name, DTYPES[short], adapter, grid)
                    except BadInput as error:
                        print(f"{adapter} {name} {short}: {error}")


def _row(theirs: Any, name: str, dtype: str, adapter: str, grid: Any) -> dict[str, Any]:
    began = time.perf_counter()
    ulps, x = errors(name, dtype, adapter, grid)
    took = time.perf_counter() - began
    there = np.flatnonzero(np.isfinite(ulps))
    worst = there[ulps[there].argmax()] if there.size else None
    ours = float(ulps[worst]) if worst is not None else np.nan
    return {
        "function": theirs.function, "dtype": dtype, "adapter": adapter, "numbers": theirs.n, "asked": int(x.size),
        "ulpwise": theirs.max_ulp, "at": theirs.worst_x,
        "ours": ours, "at ours": float(x[worst]) if there.size else np.nan,
        "ours at theirs": float(ulps[x == theirs.worst_x][0]) if (x == theirs.worst_x).any() else np.nan,
        "agree": agree(theirs.max_ulp, ours), "seconds ulpwise": theirs.seconds, "seconds": round(took, 2),
    }  # fmt: skip


def agree(theirs: float, ours: float) -> bool:
    """Whether two largest errors are the same to what is printed of them."""
    return abs(theirs - ours) <= AGREE * max(theirs, ours, 1.0)


def errors(name: str, dtype: str, adapter: str, x: Any) -> tuple[Any, Any]:
    """The error of an operator's value at numbers of its domain, NaN where it has none; and those numbers.

    In ulp of the rounded truth, as ulpwise counts: just below a power of two, to which it rounds, the truth's own are
    half as large.
    """
    low, high = OPERATORS[name].operands[0].domain
    task = chunk.Task(name, dtype, adapter, "opencl", Piece(0, 1))
    chunk.checked(name, dtype, adapter)
    x = x[(x >= low) & (x <= high)]
    _, found = chunk.of_numbers(task, "value", x)
    format = FORMATS[dtype]
    smallest = 2.0**format.emin
    with np.errstate(invalid="ignore"):
        own, theirs = (
            last_places(np.fmax(np.abs(t), smallest), format) for t in (found.truths, format.round(found.truths))
        )
    return found.ulps * own / theirs, x


def page(rows: pd.DataFrame) -> str:
    """The table, and in how many the largest errors are the same."""
    from importlib.metadata import version

    lines = [
        "# Beside ulpwise's survey", "",
        f"ulpwise {version('ulpwise')} and this suite at the same numbers, values only: of {len(rows)} rows the "
        f"largest error is the same in {int(rows['agree'].sum())}; {rows['seconds ulpwise'].sum():.0f} s and "
        f"{rows['seconds'].sum():.0f} s on busy cores, here with the derivative's record. Where they differ (≠) the "
        "number is subnormal, and may be flushed: no error is told of it here. Made by `benchmarks/survey.py`.", "",
        "| function | dtype | framework | numbers | ulpwise (ulp) | at | here (ulp) | at |",
        "| --- | --- | --- | ---: | ---: | ---: | ---: | ---: |",
    ]  # fmt: skip
    for row in rows.to_dict("records"):
        mark = "" if row["agree"] else " ≠"
        cells = (row["function"], row["dtype"], row["adapter"], f"{row['numbers']:,}", f"{row['ulpwise']:.5g}",
                 f"{row['at']:.7g}", f"{row['ours']:.5g}{mark}", f"{row['at ours']:.7g}")  # fmt: skip
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("functions", nargs="*")
    parser.add_argument("-o", "--output", type=Path, default=Path("docs/operators"))
    parser.add_argument("--dtypes", default="f32,f16,bf16")
    parser.add_argument("--points", type=int, default=600)
    options = parser.parse_args()
    rows = pd.DataFrame(compared(options.functions, options.dtypes.split(","), options.points))
    options.output.mkdir(parents=True, exist_ok=True)
    rows.to_csv(options.output / "survey.csv", index=False, float_format="%.9g", lineterminator="\n")
    (options.output / "survey.md").write_text(page(rows), encoding="utf-8")
    print(f"{int(rows['agree'].sum())} of {len(rows)} largest errors are the same")


if __name__ == "__main__":
    main()
