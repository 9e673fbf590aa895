"""PyTorch's compiler before `gc.verify`: are the gradients of compiled programs within what the eager record permits?

    python benchmarks/compiled.py [--count 40] [-d DTYPE]… [--only TEXT]… [-o docs/programs]

Of the correct programs of tests/support, forty over all kinds of operations (norms, attention, convolutions, pooling,
losses, activations, cumulative and sorted things, linear algebra) go through `torch.compile` in float32 and bfloat16,
forward and backward. The program is recorded as it runs eagerly; what the compiled one returns is held against the
exact derivative and against the rounding that the eager record permits. A row is one program in one dtype: the verdict
of the compiled route, the larger share of the allowance that each route takes, and the largest error in ulp.

A compiler may fuse, reorder sums and keep more digits inside: all that is permitted. What it may not do is round where
the program does not, or lose digits that the program keeps.

Exit status 1 if a compiled program deviates, 3 if nothing was judged.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path

import torch
from verify_correct import Correct, arguments, programs

import gradconform as gc
from gradconform.conformance.programs.check_program import Gradient
from gradconform.reference.cases import BadInput

DTYPES = ("float32", "bfloat16")
ROUTES = ("eager", "compile")


@dataclass(frozen=True)
class Row:
    """One program in one dtype: what is said of the compiled route, and how far both routes are off."""

    program: str
    dtype: str
    verdict: str
    #: The largest share of the allowance.
    eager_share: float | None = None
    compiled_share: float | None = None
    #: The largest error in units in the last place of the derivative.
    eager_ulp: float | None = None
    compiled_ulp: float | None = None
    why: str = ""


def chosen(count: int, only: Sequence[str] = ()) -> list[Correct]:
    """So many of the programs, spread evenly over all of them."""
    among = [p for p in programs(["torch"], compiled=True) if any(text in p.name for text in only or [""])]
    among = [p for p in among if all(d in p.dtypes for d in DTYPES)] or among
    return [among[i * len(among) // count] for i in range(count)] if count < len(among) else among


def judged(of: Correct, dtype: str) -> Row:
    torch.compiler.reset()
    try:
        report = gc.verify(of.f, *arguments(of, dtype), routes=ROUTES)
    except BadInput as error:
        return Row(of.name, dtype, "not compiled", why=" ".join(str(error).split())[:200])
    found = {route: [g for g in report.gradients if g.route == route] for route in ROUTES}
    words = [g.judgement.verdict for g in found["compile"]]
    verdict = next((w for w in words if w != "conforms"), "conforms")
    reasons = [g.judgement.reason for g in found["compile"] if g.judgement.reason]
    why = "; ".join(dict.fromkeys([*report.missing, *reasons])) if verdict != "conforms" else ""
    numbers = [_largest(found[route], what) for what in ("share", "max_ulp") for route in ROUTES]
    return Row(of.name, dtype, verdict, *numbers, why)


def _largest(found: Sequence[Gradient], what: str) -> float | None:
    return max((x for g in found if (x := getattr(g.judgement, what)) is not None), default=None)


def written(folder: Path, rows: Sequence[Row], seconds: float) -> None:
    import pandas as pd

    folder.mkdir(parents=True, exist_ok=True)
    counts = pd.DataFrame([{"dtype": d, "programs": sum(r.dtype == d for r in rows),
                            **Counter(r.verdict for r in rows if r.dtype == d)} for d in DTYPES])  # fmt: skip
    counts = counts.fillna(0).astype({c: int for c in counts.columns if c != "dtype"})
    table = pd.DataFrame([asdict(r) for r in rows])
    if not table.why.any():
        table = table.drop(columns="why")
    names = {c: c.replace("_", " ") for c in table.columns}
    about = (__doc__ or "").split("\n\n")
    versions = f"PyTorch {metadata.version('torch')} on the CPU, in {seconds / 60:.0f} minutes"
    parts = ["# Compiled programs", f"By `python benchmarks/compiled.py`, {versions}. {about[2]}", about[3],
             counts.to_markdown(index=False),
             table.rename(columns=names).to_markdown(index=False, floatfmt=".2g")]  # fmt: skip
    (folder / "compiled.md").write_text("\n\n".join(parts) + "\n", encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=40, help="programs, spread over all of them")
    parser.add_argument("-d", "--dtype", action="append", choices=DTYPES)
    parser.add_argument("--only", action="append", default=[], help="programs whose name contains this")
    parser.add_argument("-o", "--output", type=Path)
    options = parser.parse_args(arguments)
    started, rows = time.perf_counter(), list[Row]()
    for of in chosen(options.count, options.only):
        for dtype in options.dtype or DTYPES:
            if dtype in of.dtypes:
                rows.append(judged(of, dtype))
                print(rows[-1], flush=True)
        if options.output and rows:  # as far as it is: a long run may be cut off
            written(options.output, rows, time.perf_counter() - started)
    print(f"{len(rows)} rows: {dict(Counter(r.verdict for r in rows))}, {time.perf_counter() - started:.0f} s")
    return (
        1 if any(r.verdict == "deviates" for r in rows) else 0 if any(r.compiled_share is not None for r in rows) else 3
    )


if __name__ == "__main__":
    sys.exit(main())
