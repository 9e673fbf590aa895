"""Correct programs before `gc.verify`: none may be accused, in any dtype, by any route.

    python benchmarks/verify_correct.py [--framework torch]… [-d DTYPE]… [--only TEXT]… [--compile] [-o docs/programs]
    python benchmarks/verify_correct.py --soak 5000 [--seed 0] …

The programs are those of tests/support: norms, attention, convolutions, pooling, recurrent cells, losses, cumulative
and sorted things, gather and scatter, einsum, linear algebra, complex numbers, Fourier transforms, Newton's steps and
while, differential equations, custom rules, checkpoint, second derivatives, vmap; JAX's eager and by `jit`, PyTorch's
eager (`--compile`: by torch.compile too). The table has one row for a program, dtype and route: the three answers, the
certified bits, and, where a program was not captured or left its record, why.

A soak asks for at least so many components of gradients, by programs, dtypes, shapes and numbers that are drawn: normal
ones, integers with ties, zeros, numbers of every binade, subnormal ones, the largest, infinities. `--seed` goes on
elsewhere; each accused program is printed with the number of its draw, and `--draw` repeats that one.

Exit status 1 if a program deviates, 3 if nothing was judged.
"""

from __future__ import annotations

import argparse
import re
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields, replace
from importlib import metadata
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "support"))

import numpy as np
from numpy.typing import NDArray

import gradconform as gc
from gradconform.reference.arithmetic.formats import FORMATS, Format
from gradconform.reference.cases import BadInput

FRAMEWORKS = ("torch", "jax")
#: The dtypes' formats by name, widest first.
DTYPES = ("float64", "float32", "bfloat16", "float16")


COMPLEX, ALGEBRA, OTHERS = "complex numbers, Fourier", "linear algebra", "elementwise functions, sums, products"
#: What programs are of, by their names: the first pattern that is found. Whole modules are of the first two.
KINDS = {
    "custom rules, checkpoint, second derivatives, vmap": "custom|checkpoint|second|hessian|jacobian|vmap|per-sample"
    "|functional|forward mode|gradient|half precision|mixed precision",
    "control flow, solvers, differential equations": "while|cond|switch|branch|newton|runge|leapfrog|verlet|scan",
    "recurrent cells": "lstm|gru|rnn",
    "attention, embedding, whole networks": "attention|embedding|rotary|transformer|mlp|one-hot",
    "losses": "loss|entropy|mse|huber|divergence|nll|logits|mean square",
    "convolution, pooling, interpolation": "conv|pool|interp|unfold|nearest|pixel|padding|bilinear",
    "normalisation": "norm|cosine|variance|dropout",
    "softmaxes and activations": "softmax|sumexp|logaddexp|elu|glu|silu|mish|softplus|sigmoid|leaky|hard|logistic",
    "gather, scatter, order": "gather|scatter|index|segment|sort|top k|median|max|tie|slice|masked|movement|in place",
    ALGEBRA: "cholesky|solve|inverse|determinant|matrix|triangular|einsum|product|distances|linear systems",
}


@dataclass(frozen=True)
class Correct:
    """A correct program of one framework. `given` makes its arguments of a dtype, from a program of that shape."""

    name: str
    framework: str
    program: Any
    dtypes: tuple[str, ...]
    routes: tuple[str, ...]
    of: str = ""

    @property
    def kind(self) -> str:
        return self.of or next((kind for kind, words in KINDS.items() if re.search(words, self.name)), OTHERS)

    @property
    def f(self) -> Callable[..., Any]:
        return self.program.f  # type: ignore[no-any-return]


@dataclass(frozen=True)
class Row:
    program: str
    framework: str
    dtype: str
    route: str
    verdict: str
    formula: str = ""
    execution: str = ""
    accuracy: str = ""
    bits: float | None = None
    components: int = 0
    kind: str = ""
    why: str = ""


def programs(frameworks: Sequence[str] = FRAMEWORKS, compiled: bool = False) -> Iterator[Correct]:
    if "torch" in frameworks:
        import programs_torch
        from programs_algebra import ALGEBRA_TORCH
        from programs_complex import COMPLEX_TORCH
        from programs_further import FURTHER_TORCH

        routes = ("eager", "compile") if compiled else ("eager",)
        for of, some in (("", (*programs_torch.CORRECT, *FURTHER_TORCH)), (COMPLEX, COMPLEX_TORCH),
                         (ALGEBRA, ALGEBRA_TORCH)):  # fmt: skip
            yield from (Correct(p.name, "torch", p, tuple(p.only), routes, of) for p in some)
    if "jax" in frameworks:
        import programs_jax
        from programs_algebra import ALGEBRA_JAX
        from programs_complex import COMPLEX_JAX
        from programs_further import FURTHER_JAX

        for of, more in (("", (*programs_jax.RIGHT, *FURTHER_JAX)), (COMPLEX, COMPLEX_JAX), (ALGEBRA, ALGEBRA_JAX)):
            yield from (Correct(q.name, "jax", q, tuple(q.dtypes), ("eager", "jit"), of) for q in more)


def arguments(of: Correct, dtype: str, seed: int = 0) -> list[Any]:
    if of.framework == "torch":
        return of.program.arguments(dtype, seed)  # type: ignore[no-any-return]
    return _on_jax(of.program.inputs(dtype, seed))


def _on_jax(given: Sequence[Any]) -> list[Any]:
    import jax
    import jax.numpy as jnp

    from gradconform.adapters.on_jax import pinned

    with pinned("cpu"):
        return list(jax.tree.map(jnp.asarray, list(given)))


def asked(of: Correct, dtype: str, given: Sequence[Any] | None = None) -> list[Row]:
    """One program in one dtype: a row for every route."""
    try:
        report = gc.verify(of.f, *(arguments(of, dtype) if given is None else given), routes=of.routes)
    except BadInput as error:
        return [
            Row(of.name, of.framework, dtype, r, "not captured", kind=of.kind, why=" ".join(str(error).split()))
            for r in of.routes
        ]
    found = []
    for route in of.routes:
        worst = replace(report, gradients=tuple(g for g in report.gradients if _of(route, g.route, of)))
        bits = [g.judgement.certified_bits for g in worst.gradients if g.judgement.certified_bits is not None]
        reasons = [g.judgement.reason for g in worst.gradients if g.judgement.reason]
        why = "; ".join(dict.fromkeys([*report.missing, *reasons, *report.notes] if not worst else []))
        found.append(Row(of.name, of.framework, dtype, route, worst.verdict, worst.formula, worst.execution,
                         worst.accuracy or "", min(bits, default=None),
                         sum(a.ids.size for a in report.runs[0].arguments), of.kind, why))  # fmt: skip
    return found


def _of(route: str, told: str, of: Correct) -> bool:
    """Whether a row is of this route; other ways through the backward pass are of the eager one."""
    return told == route or (route == "eager" and told not in of.routes)


# Soak -----------------------------------------------------------------------------------------------------------------

Draw = Callable[[np.random.Generator, tuple[int, ...], Format], NDArray[np.float64]]


def _sprinkled(x: float | Sequence[float]) -> Draw:
    """Normal numbers, a quarter of them replaced by one of these."""

    def draw(random: np.random.Generator, shape: tuple[int, ...], format: Format) -> NDArray[np.float64]:
        return np.where(random.random(shape) < 0.25, random.choice(np.atleast_1d(x), shape), random.normal(size=shape))

    return draw


def _binades(low: float, high: float) -> Draw:
    """Numbers of both signs, of binades between these parts of the format's exponents."""

    def draw(random: np.random.Generator, shape: tuple[int, ...], format: Format) -> NDArray[np.float64]:
        bottom = format.emin - format.precision + 1
        exponent = random.uniform(low, high, shape) * np.where(low < 0, -bottom, format.emax)
        return np.asarray(random.choice([-1.0, 1.0], shape) * np.exp2(exponent))

    return draw


VALUES: dict[str, Draw] = {
    "normal": lambda random, shape, format: random.normal(size=shape),
    "wide": lambda random, shape, format: 8 * random.normal(size=shape),
    "ties": lambda random, shape, format: random.integers(-2, 3, shape).astype(float),
    "zeros": _sprinkled((0.0, -0.0)),
    "infinities": _sprinkled((np.inf, -np.inf)),
    "tiny": _binades(-1.0, -0.3),
    "small": _binades(-0.2, 0.0),
    "large": _binades(0.0, 0.2),
    "huge": _binades(0.4, 1.0),
}  # fmt: skip


@dataclass(frozen=True)
class Drawn:
    """A program with the numbers that it is given: what `--draw` repeats."""

    number: int
    of: Correct
    dtype: str
    values: str
    given: tuple[Any, ...]


def drawn(number: int, seed: int, among: Sequence[Correct], dtypes: Sequence[str]) -> Drawn:
    random = np.random.default_rng([seed, number])
    of = among[random.integers(len(among))]
    dtype = str(random.choice([d for d in of.dtypes if d in dtypes] or of.dtypes))
    values = str(random.choice(list(VALUES), p=[0.3, 0.1, 0.15, 0.1, 0.05, 0.05, 0.1, 0.1, 0.05]))
    make = _torch_arguments if of.framework == "torch" else _jax_arguments
    return Drawn(number, of, dtype, values, make(of, dtype, VALUES[values], random))


def _rounded(draw: Draw, random: np.random.Generator, shape: tuple[int, ...], dtype: str) -> NDArray[np.float64]:
    with np.errstate(over="ignore", under="ignore"):
        return np.asarray(draw(random, shape, FORMATS[dtype]), dtype=np.float64).reshape(shape)


#: Programs that keep their shapes in a soak: of weights that do not fit each other torch.lstm ends the process.
FIXED = ("lstm layer",)


def _torch_arguments(of: Correct, dtype: str, draw: Draw, random: np.random.Generator) -> tuple[Any, ...]:
    """Of other shapes too, where the program runs with these: every length becomes another one, the same everywhere."""
    lengths = {n: int(random.integers(1, 6)) for n in sorted({n for s in of.program.shapes for n in s})}

    def tensors(shapes: Sequence[tuple[int, ...]]) -> tuple[Any, ...]:
        return tuple(of.program.tensors(dtype, lambda s: _rounded(draw, random, s, dtype), tuple(shapes)))

    if of.name in FIXED:
        return tensors(of.program.shapes)
    other = tensors([tuple(lengths[n] for n in s) for s in of.program.shapes])
    try:
        of.f(*(x.clone().requires_grad_() for x in other))
    except Exception:  # whatever a program raises for shapes that it is not made for
        return tensors(of.program.shapes)
    return other


def _jax_arguments(of: Correct, dtype: str, draw: Draw, random: np.random.Generator) -> tuple[Any, ...]:
    """Of the program's own shapes: each new one would be compiled anew."""
    import jax

    def other(x: Any) -> Any:
        if x.dtype.kind == "c":
            parts = _rounded(draw, random, (*x.shape, 2), dtype)
            return parts.view(np.complex128)[..., 0].astype(x.dtype)
        return _rounded(draw, random, x.shape, dtype).astype(x.dtype) if x.dtype.kind != "i" else x

    with np.errstate(over="ignore", under="ignore"):
        return tuple(_on_jax(jax.tree.map(other, of.program.inputs(dtype))))


def soaked(components: int, seed: int, among: Sequence[Correct], dtypes: Sequence[str], draw: int | None = None,
           progress: Callable[[str], None] = lambda text: None) -> Iterator[tuple[Drawn, list[Row]]]:  # fmt: skip
    """Draws, until so many components were judged; or the one draw that is asked for."""
    number, seen = draw or 0, 0
    while seen < components:
        one = drawn(number, seed, among, dtypes)
        rows = asked(one.of, one.dtype, one.given)
        seen += sum(r.components for r in rows)
        progress(f"{seen} {one.of.framework} {one.of.name} {one.dtype} {one.values}")
        yield one, rows
        if draw is not None:
            return
        number += 1


# Text -----------------------------------------------------------------------------------------------------------------


def totals(rows: Sequence[Row]) -> str:
    import pandas as pd

    lines = []
    for key in dict.fromkeys((r.framework, r.dtype, r.route) for r in rows):
        of = [r for r in rows if (r.framework, r.dtype, r.route) == key]
        said = Counter(r.verdict for r in of)
        lines.append({"framework": key[0], "dtype": key[1], "route": key[2], "programs": len(of),
                      **{v: said[v] for v in ("conforms", "deviates", "undecided", "not captured")},
                      "another": sum(said.values()) - sum(said[v] for v in ("conforms", "deviates", "undecided",
                                                                            "not captured"))})  # fmt: skip
    return str(pd.DataFrame(lines).to_markdown(index=False))


def by_kind(rows: Sequence[Row]) -> str:
    """How many programs of each kind were captured in each framework, over dtypes and routes."""
    import pandas as pd

    lines = []
    for kind in sorted({r.kind for r in rows}):
        line: dict[str, str | int] = {"programs of": kind}
        for framework in dict.fromkeys(r.framework for r in rows):
            of = [r for r in rows if (r.kind, r.framework) == (kind, framework)]
            line[framework] = len({r.program for r in of})
            line[f"{framework}, asked"] = len(of)
            line[f"{framework}, captured"] = sum(r.verdict != "not captured" for r in of)
            line[f"{framework}, conform"] = sum(r.verdict == "conforms" for r in of)
        lines.append(line)
    return str(pd.DataFrame(lines).to_markdown(index=False))


def exceptions(rows: Sequence[Row]) -> str:
    """Every row that is not a program that conforms."""
    found = [f"- {r.framework} {r.program}, {r.dtype}, {r.route}: {r.verdict}"
             + (f" (formula {r.formula}, execution {r.execution})" if r.formula else "")
             + (f": {r.why}" if r.why else "")
             for r in rows if r.verdict != "conforms"]  # fmt: skip
    return "\n".join(found) or "None."


def written(folder: Path, rows: Sequence[Row]) -> None:
    import pandas as pd

    folder.mkdir(parents=True, exist_ok=True)
    versions = ", ".join(f"{p} {metadata.version(p)}" for p in ("torch", "jax"))
    table = pd.DataFrame([asdict(r) for r in rows], columns=[f.name for f in fields(Row)])
    table.round({"bits": 1}).to_csv(folder / "correct.csv", index=False)
    about = (__doc__ or "").split("\n\n")[2]
    parts = ["# Correct programs", f"By `python benchmarks/verify_correct.py` with {versions} on the CPU. {about}",
             f"{len({(r.framework, r.program) for r in rows})} programs, asked {len(rows)} times: "
             f"{sum(r.verdict != 'not captured' for r in rows)} were captured, "
             f"{sum(r.verdict == 'conforms' for r in rows)} conform, "
             f"{sum(r.verdict == 'undecided' for r in rows)} are undecided, "
             f"{sum(r.verdict == 'deviates' for r in rows)} accused.",
             totals(rows), "## By kind", "Programs; how often they were asked in a dtype and by a route.",
             by_kind(rows), "## Not said to conform", exceptions(rows)]  # fmt: skip
    (folder / "correct.md").write_text("\n\n".join(parts) + "\n", encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--framework", action="append", choices=FRAMEWORKS)
    parser.add_argument("-d", "--dtype", action="append", choices=DTYPES)
    parser.add_argument("--only", action="append", help="programs whose name contains this")
    parser.add_argument("--compile", action="store_true", help="PyTorch's programs by torch.compile too")
    parser.add_argument("--soak", type=int, metavar="COMPONENTS")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--draw", type=int, help="of a soak, this draw alone")
    parser.add_argument("-o", "--output", type=Path)
    options = parser.parse_args(arguments)
    started = time.perf_counter()
    dtypes = options.dtype or DTYPES
    among = [p for p in programs(options.framework or FRAMEWORKS, options.compile)
             if any(text in p.name for text in options.only or [""])]  # fmt: skip

    def progress(text: str) -> None:
        print(f"\r{text}\033[K", end="", file=sys.stderr, flush=True)

    if options.soak or options.draw is not None:
        rows = []
        for one, found in soaked(options.soak or 1, options.seed, among, dtypes, options.draw, progress):
            rows += found
            for r in found:
                if r.verdict in ("deviates", "undecided") or options.draw is not None:
                    print(f"\rdraw {one.number}, {one.values}: {r}", flush=True)
    else:
        rows = []
        for p, dtype in ((p, d) for d in dtypes for p in among if d in p.dtypes):
            progress(f"{len(rows)} {p.framework} {p.name} {dtype}")
            rows += asked(p, dtype)
            if options.output and len(rows) % 20 == 0:  # as far as it is: a long run may be cut off
                written(options.output, rows)
        if options.output:
            written(options.output, rows)
        print("\n" + exceptions(rows))
    print(f"\n{totals(rows)}\n{len(rows)} rows, {sum(r.components for r in rows)} components, "
          f"{time.perf_counter() - started:.0f} s")  # fmt: skip
    return 1 if any(r.verdict == "deviates" for r in rows) else 0 if any(r.formula for r in rows) else 3


if __name__ == "__main__":
    sys.exit(main())
