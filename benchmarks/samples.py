"""All functions of a framework that have a derivative, at samples: what `gc.verify` says of each.

    python benchmarks/samples.py [-a torch|jax] [-d float32] [--most 3] [-o docs/operators] [GLOB]…

Of PyTorch these are the functions of `op_db` in its wheel, some 600, with arguments for each (`samples_torch.py`); of
JAX those of its public modules, at the calls of `samples_jax.txt`. Every one is verified at a few of its samples, as it
is called: with respect to all of its real and complex arguments, and to each of them alone, for kernels leave out what
nobody asked for. Random ones of PyTorch are left out, and its samples of more than 600 numbers. The truth is the
derivative of the program that is recorded, and what is returned is held against its rounding.

Writes samples.csv, a row for each sample and what was said of it, and samples.md, of JAX samples_jax.csv and
samples_jax.md. Exit status 1 where something deviates, is undecided or ends in an error and is not explained. PyTorch's
need `pip install expecttest`.
"""

from __future__ import annotations

import fnmatch
import signal
import sys
import time
import warnings
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import click
import pandas as pd
from samples_asked import Asked

import gradconform as gc

#: Seconds for one sample.
PATIENCE = 60
#: A word for what is no answer, by a part of what is said.
WORDS = {
    "reads a number in Python": "no program",
    "not recorded": "not recorded",
    "cannot be verified here": "error",
    "no output": "no derivative",
    "no floating-point": "no derivative",
    " raised ": "raises",
}
#: What has to be explained.
BAD = ("deviates", "undecided", "error", "too long")


def said_of(one: Asked) -> tuple[str, str]:
    """The verdict and what is told; of what is no answer a word for it."""
    signal.alarm(PATIENCE)
    try:
        report = gc.verify(one.f, *one.given)
    except TimeoutError:
        return "too long", f"more than {PATIENCE} s"
    except gc.BadInput as error:
        text = str(error)
        return next((word for part, word in WORDS.items() if part in text), "refused"), text
    except Exception as error:
        return "error", f"{type(error).__name__}: {error}"
    finally:
        signal.alarm(0)
    return report.verdict, str(report)


def measured(source: Any, globs: Sequence[str], dtype: str, most: int) -> pd.DataFrame:
    """A row for each sample of `samples_torch` or `samples_jax`."""
    signal.signal(signal.SIGALRM, _late)
    rows = []
    for one in source.asked(globs, dtype, most):
        verdict, told = said_of(one)
        rows.append((one.name, one.sample, " ".join(one.of), verdict, known(source.EXPLAINED, one, verdict),
                     told.splitlines()[0]))  # fmt: skip
    return pd.DataFrame(rows, columns=["function", "sample", "arguments", "verdict", "known", "told"])


def known(explained: Mapping[str, tuple[str, str]], one: Asked, verdict: str) -> str:
    """Why a function has this verdict, where that is known; a glob is of its name or of its sample."""
    for glob, (of, why) in explained.items():
        if of == verdict and any(fnmatch.fnmatchcase(x, glob) for x in (one.name, one.sample)):
            return why
    return ""


def page(source: Any, rows: pd.DataFrame, command: str, seconds: float) -> str:
    """What came out, in Markdown."""
    counts, functions = rows.verdict.value_counts(), rows.function.nunique()
    table = [f"| {verdict} | {count:,} | {rows[rows.verdict == verdict].function.nunique():,} |"
             for verdict, count in counts.items()]  # fmt: skip
    lacking = sorted(set(rows[rows.verdict == "not recorded"].function))
    raising = sorted(set(rows[rows.verdict == "raises"].function))
    wrong = rows[rows.verdict.isin(BAD)].drop_duplicates(["function", "verdict"])
    found = [f"- `{r.function}`: {r.verdict}; {r.known or r.told}" for r in wrong.itertuples()]
    return "\n".join([
        f"# {source.SOURCE}", "",
        f"`{command}`: {functions} functions of {source.VERSION}, at",
        f"{len(rows):,} samples with respect to all arguments and to each, in {seconds:.0f} s.", "",
        "| said | samples | functions |", "| --- | ---: | ---: |", *table, "",
        "What deviates or is undecided, see [findings](findings.md):", "", *found, "",
        f"What the suite does not record: {', '.join(f'`{n}`' for n in lacking)}.", "",
        *([*source.LEFT, ""] if source.LEFT else []),
        *([f"What the framework raises at, some of it a finding: {', '.join(f'`{n}`' for n in raising)}.", ""]
          if raising else []),
    ])  # fmt: skip


def _late(*_: Any) -> None:
    raise TimeoutError


@click.command()
@click.argument("globs", nargs=-1)
@click.option("-a", "--adapter", type=click.Choice(("torch", "jax")), default="torch", show_default=True)
@click.option("-d", "--dtype", default="float32", show_default=True)
@click.option("--most", default=3, show_default=True, help="Samples of a function.")
@click.option("-o", "--output", type=click.Path(path_type=Path), default=None, help="Default: nothing is written.")
def main(globs: tuple[str, ...], adapter: str, dtype: str, most: int, output: Path | None) -> None:
    """Verify, and tabulate."""
    warnings.simplefilter("ignore")
    source = import_module(f"samples_{adapter}")
    started = time.perf_counter()
    rows = measured(source, globs, dtype, most)
    if output is not None:
        output.mkdir(parents=True, exist_ok=True)
        name = "samples" if adapter == "torch" else f"samples_{adapter}"
        rows.to_csv(output / f"{name}.csv", index=False)
        command = f"python benchmarks/samples.py -a {adapter} -d {dtype}" + (f" --most {most}" if most != 3 else "")
        text = page(source, rows, command, time.perf_counter() - started)
        (output / f"{name}.md").write_text(text, encoding="utf-8")
    left = rows[rows.verdict.isin(BAD) & (rows.known == "")]
    print(", ".join(f"{count} {verdict}" for verdict, count in rows.verdict.value_counts().items()))
    print(
        left[["function", "sample", "arguments", "verdict", "told"]].to_string(index=False)
        if len(left)
        else "all explained"
    )
    sys.exit(1 if len(left) else 0)


if __name__ == "__main__":
    main()
