"""How far PyTorch, JAX and SciPy are from the table of scalar functions, over every binade of every dtype.

    python benchmarks/functions.py [--quick] [--only NAME] [--framework torch] [-d float64] [--jobs 2]
                                  [-o docs/functions]

Every function of the table that a framework has is called on arrays of normal numbers of both signs and every binade of
its domain, more of them where functions are busy. The largest error in units in the last place is told with its
arguments, beside K. Arguments and values below the normal numbers are left out, since both may be flushed; so are those
beyond the largest. `conditioned` is the largest error in units of ulp(f) + u·Σ|x·∂f/∂x|, what one rounding of
the arguments moves: an error that is large only beside a root of the function is small there.

JAX is called as it stands (eager), but not its expi, exp1 and expn, which take minutes to compile; SciPy where it has
the dtype. Exit status 0: what exceeds K is a finding, not a failure.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import cache, reduce
from multiprocessing import get_context
from pathlib import Path
from random import Random
from typing import Any

import ml_dtypes
import numpy as np
from flint import arb
from numpy.typing import NDArray

from gradconform.reference.arithmetic.exact import power_of_two, precision
from gradconform.reference.arithmetic.formats import FORMATS, Format
from gradconform.reference.programs.functions import BALL_OPERATIONS, FUNCTIONS, Function

Numbers = NDArray[np.float64]
FRAMEWORKS = ("torch", "jax", "scipy")
#: Exponents where most functions do something.
BUSY = range(-6, 8)
#: Bits that a value is computed to at most: of one argument; of several.
CAP, CAP_OF_SEVERAL = 4096, 1024

_SAME = "exp exp2 expm1 log log1p sin cos tan asin acos atan atan2 sinh cosh tanh asinh acosh atanh erf erfc sqrt rsqrt"
#: Where each framework has a function, by its name in the table: a path from the framework's own name.
PATHS: dict[str, dict[str, str]] = {
    "torch": {n: n for n in (_SAME + " log2 log10 sinc hypot fmod remainder logaddexp logaddexp2").split()}
    | {"power": "pow", "sigmoid": "sigmoid", "log_sigmoid": "nn.functional.logsigmoid"}
    | {"softplus": "nn.functional.softplus", "lgamma": "lgamma", "digamma": "digamma", "polygamma": "polygamma"}
    | {n: f"special.{n}" for n in "logit xlogy xlog1py entr erfcx erfinv ndtr log_ndtr ndtri zeta gammainc".split()}
    | {n: f"special.{n}" for n in "gammaincc i0 i1 i0e i1e airy_ai spherical_bessel_j0".split()}
    | {n: f"special.bessel_{n}" for n in ("j0", "j1", "y0", "y1")}
    | {n: f"special.modified_bessel_{n}" for n in ("k0", "k1")}
    | {f"{n}e": f"special.scaled_modified_bessel_{n}" for n in ("k0", "k1")},
    "jax": {n: f"lax.{n}" for n in f"{_SAME} cbrt lgamma digamma polygamma".split()}
    | {n: f"numpy.{n}" for n in "log2 log10 hypot logaddexp logaddexp2 sinc remainder".split()}
    | {"power": "lax.pow", "fmod": "lax.rem", "sigmoid": "lax.logistic", "erfinv": "lax.erf_inv"}
    | {"log_sigmoid": "nn.log_sigmoid", "softplus": "nn.softplus", "gammainc_by_order": "lax.igamma_grad_a"}
    | {n: f"scipy.special.{n}" for n in "logit xlogy xlog1py entr erfcx erfcinv ndtr log_ndtr ndtri gamma".split()}
    | {n: f"scipy.special.{n}" for n in "beta betaln zeta gammainc gammaincc betainc i0 i1 i0e i1e".split()},
    "scipy": {n: f"special.{n}" for n in "exp2 exp10 expm1 log1p cbrt logit xlogy xlog1py entr erf erfc".split()}
    | {n: f"special.{n}" for n in "erfcx erfinv erfcinv ndtr log_ndtr ndtri gamma polygamma beta betaln".split()}
    | {n: f"special.{n}" for n in "zeta gammainc gammaincc betainc i0 i1 i0e i1e j0 j1 y0 y1 k0 k1 k0e k1e".split()}
    | {n: f"special.{n}" for n in ("expi", "exp1", "expn")}
    | {"sigmoid": "special.expit", "log_sigmoid": "special.log_expit", "dawsn": "special.dawsn"}
    | {"lgamma": "special.gammaln", "digamma": "special.psi", "bessel_j": "special.jn"},
}


# Calling frameworks ---------------------------------------------------------------------------------------------------


@cache
def implementation(framework: str, name: str) -> Callable[..., Any] | None:
    """The framework's own function; None where it has none by that name."""
    if framework == "torch":
        import torch as module
    elif framework == "jax":
        import jax as module  # type: ignore[no-redef]
    else:
        import scipy as module  # type: ignore[no-redef]
        import scipy.special
    path = PATHS[framework].get(name)
    try:
        return reduce(getattr, path.split("."), module) if path else None  # type: ignore[return-value]
    except AttributeError:
        return None


def called(framework: str, row: Function, target: Format, columns: Sequence[Numbers]) -> Numbers | None:
    """What a framework gives for columns of arguments; None where it has no such function in the dtype."""
    function = implementation(framework, row.name)
    if function is None:
        return None
    try:
        with np.errstate(all="ignore"):
            return {"torch": _torch, "jax": _jax, "scipy": _scipy}[framework](function, row, target, columns)
    except (TypeError, NotImplementedError, RuntimeError, ValueError) as error:
        print(f"{framework} {row.name} {target.name}: {str(error).splitlines()[0]}", file=sys.stderr)
        return None


def _torch(function: Callable[..., Any], row: Function, target: Format, columns: Sequence[Numbers]) -> Numbers:
    import torch

    dtype = getattr(torch, target.name)
    orders = [int(c[0]) for c in columns[: row.orders]]
    found = function(*orders, *(torch.tensor(c, dtype=dtype) for c in columns[row.orders :]))
    return np.asarray(found.to(torch.float64).numpy(), dtype=np.float64)


def _jax(function: Callable[..., Any], row: Function, target: Format, columns: Sequence[Numbers]) -> Numbers:
    import jax

    with jax.enable_x64(True):
        # JAX's expn wants an integer order, its polygamma a number of the dtype.
        given = [jax.numpy.asarray(c.astype(np.int32)) if n < row.orders and row.name == "expn" else
                 jax.numpy.asarray(c.astype(_numpy(target))) for n, c in enumerate(columns)]  # fmt: skip
        found = function(*given)
        if found.dtype != _numpy(target):
            raise TypeError(f"returned {found.dtype}")
        return np.asarray(found).astype(np.float64)


def _scipy(function: Callable[..., Any], row: Function, target: Format, columns: Sequence[Numbers]) -> Numbers:
    given = [c.astype(np.int32) if n < row.orders else c.astype(_numpy(target)) for n, c in enumerate(columns)]
    found = function(*given)
    if found.dtype != _numpy(target):
        raise TypeError(f"returned {found.dtype}")
    return np.asarray(found, dtype=np.float64)


def _numpy(target: Format) -> Any:
    return np.dtype(ml_dtypes.bfloat16 if target.name == "bfloat16" else target.name)


# Arguments ------------------------------------------------------------------------------------------------------------


def binades(target: Format, low: float, high: float, every: int, draw: Random) -> list[float]:
    """Normal numbers of both signs and every `every`-th binade between two ends, and close to an end that is not 0."""
    found = []
    for exponent in range(target.emin, target.emax + 1):
        for _ in range(24 if exponent in BUSY else 1 if exponent % every == 0 else 0):
            found += [math.ldexp(sign * draw.uniform(1.0, 2.0), exponent) for sign in (1.0, -1.0)]
    for end in (low, high):
        if math.isfinite(end) and end:
            found += [end + sign * math.ldexp(draw.uniform(1.0, 2.0), -k) for k in range(2, target.precision)
                      for sign in (1.0, -1.0)]  # fmt: skip
    rounded = [float(x) for x in target.round(found)]
    return [x for x in rounded if low < x < high and math.isfinite(x) and abs(x) >= 2.0**target.emin]


def arguments(row: Function, target: Format, every: int) -> Iterator[list[tuple[float, ...]]]:
    """Arguments for each choice of orders."""
    draw = Random(f"functions {row.name} {target.name}")
    choices = range(1, 4) if row.orders else (None,)
    for order in choices:
        columns = [binades(target, a, b, every, draw) for a, b in row.domain[row.orders :]]
        if len(columns) > 1:  # each binade of each argument beside busy ones of the others
            most = 3 * max(map(len, columns))
            busy = [[x for x in c if 2.0**BUSY.start <= abs(x) < 2.0**BUSY.stop] for c in columns]
            rows = [tuple(draw.choice(c if n == k % len(columns) else busy[n]) for n, c in enumerate(columns))
                    for k in range(most)]  # fmt: skip
        else:
            rows = [(x,) for x in columns[0]]
        yield [(*([float(order)] * row.orders if order else ()), *x) for x in rows]


# Errors ---------------------------------------------------------------------------------------------------------------


def exactly(row: Function, x: Sequence[float], bits: int) -> arb:
    """The value to `bits` bits, or as many as the cap allows."""
    working, cap = 96, CAP if row.arguments == 1 else CAP_OF_SEVERAL
    while True:
        with precision(working):
            found = row.ball(*map(arb, x))
            if found.rel_accuracy_bits() >= bits or working >= cap or found.is_zero():
                return found
        working *= 2


def ulp_exponent(x: arb, target: Format) -> int:
    mantissa, exponent = abs(x).mid().man_exp()
    return max(int(mantissa).bit_length() + int(exponent) - 1, target.emin) - target.precision + 1


def bound(row: Function, target: Format) -> float | None:
    """K in the dtype's own ulp."""
    if row.ulps is None:
        return None
    if target.name == "bfloat16":  # float32's, rounded once
        return 0.5 + row.ulps * 2.0**-16
    return max(0.5, row.half if target.name == "float16" else row.ulps)


@dataclass
class Row:
    """What was found of one function by one framework in one dtype."""

    function: str
    framework: str
    dtype: str
    K: float | None
    ulp: float = 0.0
    conditioned: float = 0.0
    x: str = ""
    got: float = math.nan
    exact: str = ""
    not_finite: int = 0
    exceeding: int = 0
    tried: int = 0

    @property
    def exceeds(self) -> bool:
        return self.K is not None and (self.ulp > self.K * (1 + 1e-9) or self.not_finite > 0)

    def add(self, row: Function, target: Format, x: tuple[float, ...], exact: arb, got: float) -> None:
        self.tried += 1
        ulp = power_of_two(ulp_exponent(exact, target))
        if not math.isfinite(got):
            self.not_finite += 1
            if self.not_finite == 1 and not self.exceeding:
                self.x, self.got, self.exact = ", ".join(map(repr, x)), got, exact.str(20, radius=False)
            return
        with precision(160):
            off = abs(arb(got) - exact)
            error = float((off / ulp).mid())
            if self.K is not None and error > self.K:
                self.exceeding += 1
                self.conditioned = max(self.conditioned, float((off / (ulp + moved(row, target, x, exact))).mid()))
        if error > self.ulp:
            self.ulp = error
            self.x, self.got, self.exact = ", ".join(map(repr, x)), got, exact.str(20, radius=False)


def moved(row: Function, target: Format, x: tuple[float, ...], exact: arb) -> arb:
    """u·Σ|x·∂f/∂x|, of the partials that are known."""
    partials = row.partials(BALL_OPERATIONS, *map(arb, x), exact)
    terms = [abs(arb(t) * p).mid() for t, p in zip(x, partials, strict=True) if p.is_finite()]
    return sum(terms, arb(0)) * power_of_two(-target.precision)


def measured(work: tuple[str, str, tuple[str, ...], int]) -> list[Row]:
    """Every framework's errors of one function in one dtype."""
    name, dtype, frameworks, every = work
    row, target = FUNCTIONS[name], FORMATS[dtype]
    found = {f: Row(name, f, dtype, bound(row, target)) for f in frameworks}
    for rows in arguments(row, target, every):
        columns = [np.array(c) for c in zip(*rows, strict=True)]
        results = {f: called(f, row, target, columns) for f in frameworks}
        results = {f: r for f, r in results.items() if r is not None}
        for n, x in enumerate(rows if results else ()):
            exact = exactly(row, x, target.precision + 20)
            if not exact.is_finite() or exact.rel_accuracy_bits() < target.precision + 8:
                continue
            if power_of_two(target.emin) <= abs(exact) <= arb(target.largest):
                for framework, values in results.items():
                    found[framework].add(row, target, x, exact, float(values[n]))
    return [r for r in found.values() if r.tried]


# Telling --------------------------------------------------------------------------------------------------------------


def table(rows: Sequence[Row]) -> Any:
    import pandas as pd

    return pd.DataFrame([{**asdict(r), "exceeds": r.exceeds} for r in rows])


def summary(found: Any) -> Any:
    """A line a function and framework: the largest error in each dtype, marked where it exceeds K."""
    found = found.assign(said=[f"{u:.3g}{' nan' if n else ''}{' !' if e else ''}" for u, n, e in
                               zip(found.ulp, found.not_finite, found.exceeds, strict=True)])  # fmt: skip
    index = ["function", "framework"]
    wide = found.pivot_table(index=index, columns="dtype", values="said", aggfunc="first", sort=False)
    wide = wide.reindex(columns=[d for d in FORMATS if d in wide.columns]).fillna("")
    wide.insert(0, "K", [FUNCTIONS[f].ulps for f, _ in wide.index])
    return wide.reset_index()


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="every 16th binade outside the busy ones")
    parser.add_argument("--only", default="", help="one function, or those whose name contains this")
    parser.add_argument("--framework", action="append", choices=FRAMEWORKS)
    parser.add_argument("-d", "--dtype", action="append", choices=FORMATS)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("-o", "--output", type=Path)
    options = parser.parse_args(arguments)
    started = time.perf_counter()
    names = [options.only] if options.only in FUNCTIONS else [n for n in FUNCTIONS if options.only in n]
    frameworks = tuple(options.framework or FRAMEWORKS)
    work = [(n, d, frameworks, 16 if options.quick else 1) for n in names if any(n in PATHS[f] for f in frameworks)
            for d in options.dtype or FORMATS]  # fmt: skip
    if not work:
        print(f"nothing to measure: no function's name contains {options.only!r}", file=sys.stderr)
        return 3
    rows: list[Row] = []
    with ProcessPoolExecutor(options.jobs, get_context("spawn")) as pool:
        for number, found in enumerate(pool.map(measured, work), 1):
            rows += found
            print(f"\r{number}/{len(work)}", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    return said(table(rows), options.output, time.perf_counter() - started)


def said(found: Any, output: Path | None, seconds: float) -> int:
    """Print and write what was found; the exit status."""
    wide = summary(found)
    if output:
        output.mkdir(parents=True, exist_ok=True)
        found.to_csv(output / "functions.csv", index=False)
        (output / "functions.md").write_text(wide.to_markdown(index=False) + "\n", encoding="utf-8")
    print(wide.to_markdown(index=False))
    for r in found[found.exceeds].sort_values("ulp", ascending=False).itertuples():
        counts = f"{r.exceeding} of {r.tried} exceed K, {r.not_finite} not finite"
        print(f"{r.framework} {r.function} {r.dtype}: {r.ulp:.4g} ulp (K {r.K:g}; conditioned {r.conditioned:.3g}; "
              f"{counts}) at {r.x}: got {r.got!r}, exact {r.exact}")  # fmt: skip
    print(f"{int(found.tried.sum())} values, {int(found.exceeds.sum())} of {len(found)} rows exceed K; {seconds:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
