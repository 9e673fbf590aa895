"""All that PyTorch's own tests differentiate, by their sample inputs: what `gc.verify` says of each.

    python benchmarks/samples.py [-d float32] [--most 3] [-o docs/operators] [GLOB]…

`op_db` in PyTorch's wheel has some 600 functions with arguments for each. Every differentiable one is verified at a few
of its samples, as it is called: with respect to all of its floating-point arguments, and to each of them alone, for
kernels leave out what nobody asked for. Random ones are left out, and samples of more than 600 numbers. The truth is
the derivative of the program that is recorded, and what is returned is held against its rounding.

Writes samples.csv, a row for each sample and what was said of it, and samples.md. Exit status 1 where something
deviates, is undecided or ends in an error and is not explained below. Needs `pip install expecttest`.
"""

from __future__ import annotations

import fnmatch
import itertools
import signal
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import pandas as pd
import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_unflatten

import gradconform as gc

#: The largest argument that is asked, in numbers; and seconds for one sample.
LARGEST, PATIENCE = 600, 60
RANDOM = ("rand", "dropout", "bernoulli", "multinomial", "normal_", "uniform", "exponential", "cauchy", "geometric",
          "log_normal", "rrelu", "empty")  # fmt: skip
#: What is known of a function, by a glob of its name: what is said of it, and why.
EXPLAINED = {
    "as_strided_scatter": ("deviates", "its gradient is that of what was written over, and none of what was kept"),
    "cholesky_inverse": ("deviates", "the triangle that is not read gets a gradient"),
    "cholesky_solve": ("deviates", "the triangle that is not read gets a gradient"),
    "nn.functional.max_unpool*": ("deviates", "of two numbers for one place the one written over gets a gradient, too"),
    "digamma": ("deviates", "its derivative beside the poles"),
    "nn.functional.hardsigmoid": ("deviates", "its slope in float64 is the sixth of float32"),
    "matrix_exp": ("deviates", "in 16 bits it is other numbers and NaN"),
    "special.erfcx": ("undecided", "run again far below 0 its values are off by more than rounding"),
}


@dataclass(frozen=True)
class Asked:
    """A sample of a function: how it is called on some of its arguments, and these."""

    name: str
    sample: int
    of: tuple[int, ...]
    f: Callable[..., Any]
    given: tuple[Tensor, ...]


def asked(globs: Sequence[str], dtype: str, most: int) -> Iterator[Asked]:
    """Evenly spaced samples of every function, with respect to all of its arguments and to each."""
    from torch.testing._internal.common_methods_invocations import op_db

    wanted = getattr(torch, dtype)
    for of in op_db:
        name = f"{of.name}.{of.variant_test_name}" if of.variant_test_name else of.name
        if globs and not any(fnmatch.fnmatchcase(name, g) for g in globs):
            continue
        if wanted not in of.supported_backward_dtypes("cpu") or any(x in name for x in RANDOM):
            continue
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            samples = list(itertools.islice(of.sample_inputs("cpu", wanted, requires_grad=True), 200))
        step = max(1, len(samples) // most)
        for number, sample in list(enumerate(samples))[::step][:most]:
            leaves, tree = tree_flatten(([sample.input, *sample.args], sample.kwargs))
            if any(isinstance(x, Tensor) and x.numel() > LARGEST for x in leaves):
                continue
            places = tuple(n for n, x in enumerate(leaves) if isinstance(x, Tensor) and x.requires_grad and x.numel())
            for some in dict.fromkeys((places, *((n,) for n in places))):
                if some:
                    called = _called(of.op, leaves, tree, some)
                    yield Asked(name, number, some, called, tuple(leaves[n].detach().clone() for n in some))


def _called(op: Any, leaves: Sequence[Any], tree: Any, places: tuple[int, ...]) -> Callable[..., Any]:
    """The function of its arguments at some places, the others as they are."""
    fixed = [x.detach().clone() if isinstance(x, Tensor) else x for x in leaves]

    def f(*given: Tensor) -> Any:
        of = list(fixed)
        for place, x in zip(places, given, strict=True):
            of[place] = x
        args, kwargs = tree_unflatten(of, tree)
        found = [x for x in tree_flatten(op(*args, **kwargs))[0] if isinstance(x, Tensor) and x.requires_grad]
        return found[0] if len(found) == 1 else tuple(found)

    return f


def said_of(one: Asked) -> tuple[str, str]:
    """The verdict and what is told; of what is no answer a word for it."""
    signal.alarm(PATIENCE)
    try:
        report = gc.verify(one.f, *one.given)
    except TimeoutError:
        return "too long", f"more than {PATIENCE} s"
    except gc.BadInput as error:
        text = str(error)
        words = {"not recorded": "not recorded", "no output": "no derivative", "no floating-point": "no derivative"}
        return next((word for part, word in words.items() if part in text), "refused"), text
    except Exception as error:
        return "error", f"{type(error).__name__}: {error}"
    finally:
        signal.alarm(0)
    return report.verdict, str(report)


def measured(globs: Sequence[str], dtype: str, most: int) -> pd.DataFrame:
    """A row for each sample."""
    signal.signal(signal.SIGALRM, _late)
    rows = []
    for one in asked(globs, dtype, most):
        verdict, told = said_of(one)
        known = next((why for glob, (of, why) in EXPLAINED.items()
                      if of == verdict and fnmatch.fnmatchcase(one.name, glob)), "")  # fmt: skip
        rows.append((one.name, one.sample, " ".join(map(str, one.of)), verdict, known, told.splitlines()[0]))
    return pd.DataFrame(rows, columns=["function", "sample", "arguments", "verdict", "known", "told"])


def page(rows: pd.DataFrame, dtype: str, seconds: float) -> str:
    """What came out, in Markdown."""
    counts, functions = rows.verdict.value_counts(), rows.function.nunique()
    table = [f"| {verdict} | {count:,} | {rows[rows.verdict == verdict].function.nunique():,} |"
             for verdict, count in counts.items()]  # fmt: skip
    lacking = sorted(set(rows[rows.verdict == "not recorded"].function))
    wrong = rows[rows.verdict.isin(BAD)].drop_duplicates("function")
    found = [f"- `{r.function}`: {r.verdict}; {r.known or r.told}" for r in wrong.itertuples()]
    return "\n".join([
        "# All that PyTorch's own tests differentiate", "",
        f"`python benchmarks/samples.py -d {dtype}`: {functions} functions of PyTorch {torch.__version__}, at",
        f"{len(rows):,} samples of its tests with respect to all arguments and to each, in {seconds:.0f} s.", "",
        "| said | samples | functions |", "| --- | ---: | ---: |", *table, "",
        "What deviates or is undecided, see [findings](findings.md):", "", *found, "",
        f"What the suite does not record: {', '.join(f'`{n}`' for n in lacking)}.", "",
    ])  # fmt: skip


#: What has to be explained.
BAD = ("deviates", "undecided", "error")


def _late(*_: Any) -> None:
    raise TimeoutError


@click.command()
@click.argument("globs", nargs=-1)
@click.option("-d", "--dtype", default="float32", show_default=True)
@click.option("--most", default=3, show_default=True, help="Samples of a function.")
@click.option("-o", "--output", type=click.Path(path_type=Path), default=None, help="Default: nothing is written.")
def main(globs: tuple[str, ...], dtype: str, most: int, output: Path | None) -> None:
    """Verify, and tabulate."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    started = time.perf_counter()
    rows = measured(globs, dtype, most)
    if output is not None:
        output.mkdir(parents=True, exist_ok=True)
        rows.to_csv(output / "samples.csv", index=False)
        (output / "samples.md").write_text(page(rows, dtype, time.perf_counter() - started), encoding="utf-8")
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
