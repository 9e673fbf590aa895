"""How far PyTorch, JAX and SciPy are from the table of scalar functions, over every binade of every dtype.

    python benchmarks/functions.py [--quick] [--only NAME] [--framework torch] [-d float64] [--jobs 2]
                                  [-o docs/functions]

Every function of the table that a framework has is called on arrays of normal numbers of both signs and every binade of
its domain (in float64 every eighth), more of them where functions are busy. The largest error in units in the last
place is told with its arguments, beside K. Arguments and values below the normal numbers are left out, since both may
be flushed; so are those beyond the largest. An error may be large only because the function is steep there, or close to
a root: `steady` is the largest where one rounding of the arguments moves the value by at most 4 ulp, `conditioned` the
largest of those beyond K in units of ulp(f) + u·Σ|x·∂f/∂x|, what one rounding of the arguments moves.

K of a function for which nobody states a bound is taken from here. An implementation whose steady error in a dtype is
beyond 16 ulp loses digits there and is a finding; K is twice the largest steady error of the others in float64 and
float32, rounded up to an integer, at least 4; of the 16-bit dtypes likewise, beyond 4 ulp and at least 2. Where all
lose digits in a dtype it is twice those 16, or 4. The factor two is for the arguments that were not tried.

JAX is called as it stands (eager), but not its expi, exp1 and expn, which take minutes to compile; SciPy where it has
the dtype. About five minutes. Exit status 0: what exceeds K is a finding; 1 if a K is not what was measured
(`--check`), 3 if nothing was measured.
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
from importlib import metadata
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
from gradconform.reference.programs.functions import FUNCTIONS, MEASURED, REAL, Function, Interval

Numbers = NDArray[np.float64]
FRAMEWORKS = ("torch", "jax", "scipy")
#: Exponents where most functions do something.
BUSY = range(-6, 8)
#: Of which binades outside those one is tried: one of so many.
EVERY = {"float64": 8, "float32": 1, "bfloat16": 1, "float16": 1}
#: What is asked of a function, of its whole domain: PyTorch's and SciPy's polygamma count up to 0 one by one, for ever
#: where x + 1 is x; of large parameters the exact I_x(a, b) takes a second.
ASKED: dict[str, Interval] = {"polygamma": (-(2.0**14), math.inf), "betainc": (0.0, 2.0**10)}
#: Relative step of the differences, and the precision in which they are formed.
STEP, WORKING = power_of_two(-60), 256
#: What one rounding of the arguments may move, in relative roundings of the value, for an error to be steady.
STEADY = 8
#: Steady errors beyond so many ulp are those of implementations that lose digits.
LOST, LOST_OF_16 = 16.0, 4.0
HALVES = ("float16", "bfloat16")
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
    except (TypeError, NotImplementedError, RuntimeError, ValueError):  # whatever each says of a dtype that it has not
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
        low, high = ASKED.get(row.name, REAL)
        columns = [[x for x in binades(target, a, b, every, draw) if low <= x <= high]
                   for a, b in row.domain[row.orders :]]  # fmt: skip
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
    """K in the dtype's own ulp; half an ulp is what the last rounding takes."""
    if row.ulps is None:
        return None
    return max(0.5, row.half if target.name in HALVES else row.ulps)


@dataclass
class Row:
    """What was found of one function by one framework in one dtype."""

    function: str
    framework: str
    dtype: str
    K: float | None
    ulp: float = 0.0
    steady: float = 0.0
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
        with precision(WORKING):
            off = abs(arb(got) - exact)
            error = float((off / ulp).mid())
            beyond = self.K is not None and error > self.K
            if beyond or error > self.steady:
                more = moved(row, target, x, exact)
                if bool(more <= STEADY * abs(exact) * power_of_two(-target.precision)):
                    self.steady = max(self.steady, error)
                if beyond:
                    self.exceeding += 1
                    self.conditioned = max(self.conditioned, float((off / (ulp + more)).mid()))
        if error > self.ulp:
            self.ulp = error
            self.x, self.got, self.exact = ", ".join(map(repr, x)), got, exact.str(20, radius=False)


def moved(row: Function, target: Format, x: tuple[float, ...], exact: arb) -> arb:
    """u·Σ|x·∂f/∂x|, by differences: not every partial is known. Infinite where one cannot be told."""
    total = arb(0)
    for n in range(row.orders, len(x)):
        beside = [arb(t) * (1 + STEP) if n == k else arb(t) for k, t in enumerate(x)]
        part = abs(row.ball(*beside) - row.ball(*map(arb, x))).upper() / STEP
        total += part if part.is_finite() else arb(math.inf)
    return total * power_of_two(-target.precision)


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


def measured_bounds(steady: Sequence[tuple[str, float]]) -> tuple[float, float]:
    """K of float64 and float32, and of 16 bits, from the steady errors of implementations, each with its dtype."""

    def taken(dtypes: Sequence[str], least: float, lost: float) -> float:
        by_dtype = [[e for d, e in steady if d == dtype] for dtype in dtypes]
        worst = [max((e for e in errors if e <= lost), default=lost) for errors in by_dtype if errors]
        return max([least, *(float(math.ceil(2 * e)) for e in worst)])

    return taken(("float64", "float32"), 4.0, LOST), taken(HALVES, 2.0, LOST_OF_16)


def not_as_measured(found: Any) -> list[str]:
    """Functions whose K is said to be measured and is not what the measurement gives."""
    wrong = []
    for row in FUNCTIONS.values():
        of = found[found.function == row.name]
        K = measured_bounds(list(zip(of.dtype, of.steady, strict=True)))
        if row.source == MEASURED and (row.ulps, row.half) != K:
            wrong.append(f"{row.name}: K is {row.ulps:g} and {row.half:g}, measured are {K[0]:g} and {K[1]:g}")
    return wrong


def summary(found: Any) -> Any:
    """A line a function and framework: the largest error in each dtype, marked where it exceeds K."""
    found = found.assign(said=[f"{u:.3g}{'' if s == u else f' ({s:.3g})'}{' nan' if n else ''}{' !' if e else ''}"
                               for u, s, n, e in zip(found.ulp, found.steady, found.not_finite, found.exceeds,
                                                     strict=True)])  # fmt: skip
    index = ["function", "framework"]
    wide = found.pivot_table(index=index, columns="dtype", values="said", aggfunc="first", sort=False)
    wide = wide.reindex(columns=[d for d in FORMATS if d in wide.columns]).fillna("")
    rows = [FUNCTIONS[f] for f, _ in wide.index]
    wide.insert(0, "K", ["" if r.ulps is None else f"{r.ulps:g}" for r in rows])
    wide.insert(1, "K of 16 bits", ["" if r.ulps is None else f"{r.half:g}" for r in rows])
    wide["K is"] = [r.source for r in rows]
    return wide.reset_index()


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="every 16th binade outside the busy ones, in each dtype")
    parser.add_argument("--only", action="append", help="this function, or those whose name contains this")
    parser.add_argument("--framework", action="append", choices=FRAMEWORKS)
    parser.add_argument("-d", "--dtype", action="append", choices=FORMATS)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("-o", "--output", type=Path)
    parser.add_argument("--check", type=Path, metavar="CSV", help="measure nothing: is each K what this says?")
    options = parser.parse_args(arguments)
    if options.check:
        import pandas as pd

        wrong = not_as_measured(pd.read_csv(options.check))
        print("\n".join(wrong) or "every K is as measured")
        return 1 if wrong else 0
    started = time.perf_counter()
    names = [n for n in FUNCTIONS
             if any(n == o if o in FUNCTIONS else o in n for o in options.only or [""])]  # fmt: skip
    frameworks = tuple(options.framework or FRAMEWORKS)
    names = [n for n in names if any(n in PATHS[f] for f in frameworks)]
    work = [(n, d, frameworks, 16 if options.quick else EVERY[d]) for n in names for d in options.dtype or FORMATS]
    if not work:
        print(f"nothing to measure: no function's name contains {options.only!r}", file=sys.stderr)
        return 3
    rows: list[Row] = []
    with ProcessPoolExecutor(options.jobs, get_context("spawn")) as pool:
        for (name, dtype, *_), found in zip(work, pool.map(measured, work), strict=True):
            rows += found
            print(f"{time.perf_counter() - started:.0f} s: {name} {dtype}", file=sys.stderr, flush=True)
    return said(table(rows), options.output, time.perf_counter() - started)


def beyond(found: Any) -> Iterator[str]:
    """A line for each function, framework and dtype whose error exceeds K, the worst first."""
    for r in found[found.exceeds].sort_values("ulp", ascending=False).itertuples():
        yield (f"{r.framework} {r.function} {r.dtype}: {r.ulp:.4g} ulp (K {r.K:g}; steady {r.steady:.3g}; conditioned "
               f"{r.conditioned:.3g}; {r.exceeding} of {r.tried} exceed K, {r.not_finite} not finite) at {r.x}: got "
               f"{r.got!r}, exact {r.exact}")  # fmt: skip


def said(found: Any, output: Path | None, seconds: float) -> int:
    """Print and write what was found; the exit status."""
    wide, listed = summary(found).to_markdown(index=False), list(beyond(found))
    total = f"{int(found.tried.sum())} values, {len(listed)} of {len(found)} rows exceed K."
    if output:
        output.mkdir(parents=True, exist_ok=True)
        found.to_csv(output / "functions.csv", index=False, float_format="%.6g")
        versions = ", ".join(f"{p} {metadata.version(p)}" for p in FRAMEWORKS)
        about = "\n\n".join((__doc__ or "").split("\n\n")[2:4])
        parts = ["# How far scalar functions err",
                 f"By `python benchmarks/functions.py` with {versions} on the CPU. {about}",
                 "The largest error in ulp, in brackets the largest steady one where that is smaller; `!` beyond K, "
                 f"`nan` not finite where the value is. {total}", wide, "## Beyond K",
                 "\n".join(f"- {line}" for line in listed) or "None."]  # fmt: skip
        (output / "functions.md").write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    print("\n".join([wide, *listed, f"{total} {seconds:.0f} s"]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
