"""JAX's differentiable functions at the samples of `samples_jax.txt`, for `samples.py`."""

from __future__ import annotations

import ast
import fnmatch
import itertools
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.experimental.ode
import jax.experimental.sparse as sparse
import jax.flatten_util
import jax.numpy as jnp
import jax.scipy.cluster.vq
import jax.scipy.fft
import jax.scipy.integrate
import jax.scipy.interpolate
import jax.scipy.ndimage
import jax.scipy.optimize
import jax.scipy.signal
import jax.scipy.sparse.linalg
import jax.scipy.spatial.transform
import jax.scipy.stats
import numpy as np
from jax import lax
from samples_asked import Asked

SOURCE = "JAX's public functions that have a derivative"
VERSION = f"JAX {jax.__version__}"
_APPROXIMATES = "its rule is the derivative of what it approximates, which is not defined here"
_TRIANGLE = "of a matrix that is read in one triangle the gradient is neither that triangle's nor symmetric"
_LGAMMA = "the digits of gammaln near 1 and 2"
#: What is not recorded, and why.
LEFT = (
    "Of complex matrices the Cholesky factor, eigenvalues, singular values and QR, and of complex numbers the",
    "inverse trigonometric and hyperbolic functions, `expm1`, `log1p`, `exp2`, orders and convolutions have no",
    "rule here yet. Of `random.gamma` and what is drawn by it the derivative is that of the distribution, by",
    "implicit differentiation, which no rule has. Bits that are taken for another number",
    "(`bitcast_convert_type`), reductions by a function of one's own, precisions that are no format,",
    "`tridiagonal_solve`, and a Hermitian matrix that is read in one triangle (`symmetrize_input=False` of",
    "`eigh`) are left out.",
)
#: What is known of a function, by a glob of its name or of its sample: what is said of it, and why.
EXPLAINED = {
    "*symmetrize_input=False*": ("deviates", _TRIANGLE),
    "jsp.linalg.cho*": ("deviates", _TRIANGLE),
    "jsp.linalg.solve": ("deviates", _TRIANGLE),
    "jnp.nan_to_num": ("deviates", "0·∞ in the branch that it discards"),
    "*.sign": ("deviates", "of complex numbers it is 0"),
    "jsp.special.gamma": ("deviates", _LGAMMA),
    "jsp.special.gammaln": ("deviates", _LGAMMA),
    "jsp.special.loggamma": ("deviates", _LGAMMA),
    "jsp.special.factorial": ("deviates", _LGAMMA),
    "jsp.stats.poisson.*": ("deviates", _LGAMMA),
    "jsp.special.spence": ("deviates", "NaN from 1 to 2"),
    "lax.reduce": ("deviates", "the number that it starts from is left out"),
    "lax.stop_gradient": ("deviates", 'the derivative is taken through it; with stop_gradient="intended" it is not'),
    **{f"jsp.special.{name}": ("undecided", _APPROXIMATES)
       for name in ("sici", "fresnel", "wofz", "zeta", "owens_t", "hyp1f1", "hyp2f1")},
    "jsp.sparse.linalg.*": ("undecided", "its derivative is that of the solution, and not of the iterations"),
    "jax.experimental.ode.odeint": ("undecided", "its gradient is that of the equation, and not of the steps"),
    "jnp.trim_zeros": ("undecided", "it reads real numbers in Python"),
    "jax.pure_callback": ("undecided", "what a callback gives is not in the record"),
}  # fmt: skip
LIST = Path(__file__).with_name("samples_jax.txt")
#: sin|cos between brackets: one sample for each.
_CHOICE = re.compile(r"<([^<>]*\|[^<>]*)>")


@jax.custom_jvp
def custom_jvp_sin(x: Any) -> Any:
    return jnp.sin(x)


custom_jvp_sin.defjvp(lambda x, t: (jnp.sin(x[0]), jnp.cos(x[0]) * t[0]))


@jax.custom_vjp
def custom_vjp_mul(x: Any, y: Any) -> Any:
    return x * y


custom_vjp_mul.defvjp(lambda x, y: (x * y, (x, y)), lambda xy, g: (g * xy[1], g * xy[0]))
#: What a sample names beside numbers.
NAMES = {"jax": jax, "jnp": jnp, "lax": lax, "jsp": jax.scipy, "sparse": sparse, "custom_jvp_sin": custom_jvp_sin,
         "custom_vjp_mul": custom_vjp_mul}  # fmt: skip


def lines(text: str) -> Iterator[tuple[str, str]]:
    """The function's name and the call of every sample."""
    for line in text.splitlines():
        if line and not line.startswith("#"):
            for sample in dict.fromkeys(_chosen(line)):
                named = re.match(r"([\w.]+): ", sample)
                name = named[1] if named else sample.partition("(")[0]
                yield name, sample[named.end() :] if named else sample


def _chosen(line: str) -> Iterator[str]:
    """With one of each bracket's alternatives; the same bracket twice is the same alternative twice."""
    brackets = list(dict.fromkeys(_CHOICE.findall(line)))
    for choice in itertools.product(*(x.split("|") for x in brackets)):
        of = dict(zip(brackets, choice, strict=True))
        yield _CHOICE.sub(lambda found, of=of: of[found[1]], line)


def numbers(dtype: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The arrays that a derivative is asked for, by their names, and those that are data."""
    random = np.random.default_rng(0)
    real, data = jnp.dtype(dtype), {}
    found: dict[str, Any] = {}

    def draw(names: str, shape: tuple[int, ...], low: float = -2.0, high: float = 2.0) -> None:
        for name in names.split():
            found[name] = random.uniform(low, high, shape)

    draw("a b", ())
    draw("s", (), 0.25, 2.0)
    draw("v w", (5,))
    draw("p q", (5,), 0.25, 3.0)
    draw("u", (5,), 0.03, 0.97)
    draw("h", (5,), -0.97, 0.97)
    draw("f", (5,), 1.1, 4.0)
    draw("A B", (3, 4))
    draw("Q", (3, 4), 0.25, 3.0)
    draw("U", (3, 4), 0.03, 0.97)
    draw("H", (3, 4), -0.97, 0.97)
    draw("C", (4, 2))
    draw("S T", (3, 3))
    draw("K N", (2, 3, 3))
    draw("X", (2, 3, 4))
    draw("r", (3, 1))
    draw("o", (1,))
    draw("V", (24,))
    draw("J", (2, 3, 6, 6))
    draw("F", (4, 3, 3, 3))
    draw("I", (5, 6))
    found["P"] = found["S"] @ found["S"].T + 2 * np.eye(3)
    found["P"] = (found["P"] + found["P"].T) / 2
    found["L"] = np.tril(found["T"]) + 2 * np.eye(3)
    found["d"] = np.sort(found["w"]) + 0.1 * np.arange(5)
    found["k"] = np.array([1.0, 0.0, -1.0, 0.0, 2.0])
    found["G"] = np.array([[1.0, 2.0, 2.0, 0.0], [1.0, 2.0, 0.0, 0.0], [1.0, -1.0, 2.0, 3.0]])
    found["e"], found["E"] = np.zeros(0), np.zeros((0, 3))
    given = {name: jnp.asarray(x, real) for name, x in found.items()}
    if dtype in ("float32", "float64"):
        pairs = jnp.complex64 if dtype == "float32" else jnp.complex128
        for name, shape in (("z", (5,)), ("y", (5,)), ("Z", (3, 4)), ("Y", (3, 4)), ("R", (3, 3))):
            given[name] = jnp.asarray(random.uniform(-1, 1, shape) + 1j * random.uniform(-1, 1, shape), pairs)
        r = given["R"]
        given["D"] = r @ r.conj().T + 2 * jnp.eye(3)
    data["n"], data["i"], data["j"] = 3, jnp.array([0, 2, 1, 0, 3]), jnp.array([2, 0, 1, 0])
    data["m"] = jnp.array([True, False, True, True, False])
    data["M"] = jnp.array([[1, 0, 1, 1], [0, 1, 1, 0], [1, 1, 0, 1]], dtype=bool)
    return given, data


def asked(globs: Sequence[str], dtype: str, most: int) -> Iterator[Asked]:
    """Evenly spaced samples of every function, with respect to all of its numbers and to each."""
    given, data = numbers(dtype)
    samples = [x for x in lines(LIST.read_text()) if not globs or any(fnmatch.fnmatchcase(x[0], g) for g in globs)]
    for name, group in itertools.groupby(sorted(samples, key=lambda x: x[0]), key=lambda x: x[0]):
        calls = [call for _, call in group]
        for call in calls[:: max(1, len(calls) // most)][:most]:
            named = {n.id for n in ast.walk(ast.parse(call, mode="eval")) if isinstance(n, ast.Name)}
            bound = {n.arg for n in ast.walk(ast.parse(call, mode="eval")) if isinstance(n, ast.arg)}
            places = tuple(x for x in given if x in named - bound)
            if places and (of := {x: given[x] for x in places}):
                for some in dict.fromkeys((places, *((x,) for x in places))):
                    fixed = {**NAMES, **data, **{x: y for x, y in of.items() if x not in some}}
                    f = eval(compile(f"lambda {', '.join(some)}: {call}", call, "eval"), fixed)
                    yield Asked(name, call, some, f, tuple(of[x] for x in some))
