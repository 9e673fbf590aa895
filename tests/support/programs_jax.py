"""JAX programs to record: right ones with their arguments by dtype, and custom rules that are wrong in known ways."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

DTYPES = ("float64", "float32", "bfloat16", "float16")
WIDE = DTYPES[:2]
COMPLEX = {"float64": "complex128", "float32": "complex64"}


@dataclass(frozen=True)
class Program:
    """A function of arrays, and its arguments: shapes of random normal numbers, or arrays as they are.

    Numbers that are `complex` have parts of the dtype.
    """

    name: str
    f: Callable[..., Any]
    arguments: tuple[Any, ...]
    dtypes: tuple[str, ...] = DTYPES
    complex: bool = False

    def inputs(self, dtype: str, seed: int = 0) -> list[Any]:
        """The arguments in this dtype; integers stay what they are."""
        random = np.random.default_rng(seed)

        def of(argument: Any) -> Any:
            if isinstance(argument, dict):
                return {k: of(v) for k, v in argument.items()}
            real = random.normal(size=argument) if isinstance(argument, tuple) else np.asarray(argument)
            if self.complex and isinstance(argument, tuple):
                return (real + 1j * random.normal(size=argument)).astype(COMPLEX[dtype])
            return real.astype(jnp.dtype(dtype)) if real.dtype.kind == "f" else real.astype(np.int32)

        return [of(a) for a in self.arguments]


def layer_norm(x: Any, scale: Any, shift: Any) -> Any:
    mean = jnp.mean(x, -1, keepdims=True)
    return (x - mean) * lax.rsqrt(jnp.var(x, -1, keepdims=True) + 1e-5) * scale + shift


def attention(q: Any, k: Any, v: Any) -> Any:
    scores = jnp.where(jnp.tril(jnp.ones((3, 3), bool)), q @ k.T / 2.0, -1e4)
    return jax.nn.softmax(scores, -1) @ v


def cross_entropy(x: Any, labels: Any) -> Any:
    return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(x), labels[:, None], 1))


def mlp(p: Any, x: Any) -> Any:
    return jnp.sum(jax.nn.relu(x @ p["w1"] + p["b1"]) @ p["w2"])


def conv(x: Any, w: Any) -> Any:
    return lax.conv_general_dilated(x, w, (2, 1), ((1, 1), (0, 1)), dimension_numbers=("NHWC", "HWIO", "NHWC"))


def grouped_conv(x: Any, w: Any) -> Any:
    return lax.conv_general_dilated(x, w, (1,), "SAME", rhs_dilation=(2,), feature_group_count=2)


def pooled(reduce: Any, start: float, x: Any) -> Any:
    return lax.reduce_window(x, np.asarray(start, x.dtype), reduce, (2, 2), (1, 2), "VALID")


def gru(h: Any, xs: Any, w: Any, u: Any) -> Any:
    def step(h: Any, x: Any) -> tuple[Any, Any]:
        z, r, c = jnp.split(x @ w, 3)
        a, b, d = jnp.split(h @ u, 3)
        z, r = jax.nn.sigmoid(z + a), jax.nn.sigmoid(r + b)
        h = (1 - z) * jnp.tanh(c + r * d) + z * h
        return h, h

    return lax.scan(step, h, xs)[1]


def newton(a: Any) -> Any:
    """The cube root, by steps that are unrolled, since reverse mode knows no `while`."""
    return lax.fori_loop(0, 4, lambda _, y: y - (y * y * y - a) / (3 * y * y), jnp.ones_like(a))


def halvings(x: Any) -> Any:
    """A loop whose number of steps depends on data; only what follows it is differentiated."""
    count = lax.while_loop(lambda s: s[1] > 0.1, lambda s: (s[0] + 1, s[1] / 2), (0, lax.stop_gradient(jnp.max(x))))
    return x ** (1 + count[0].astype(x.dtype))


def runge_kutta(y: Any, k: Any) -> Any:
    def step(y: Any, _: Any) -> tuple[Any, None]:
        f = lambda y: jnp.stack([y[1], -k * jnp.sin(y[0])])  # noqa: E731
        a = f(y)
        b = f(y + 0.05 * a)
        c = f(y + 0.05 * b)
        d = f(y + 0.1 * c)
        return y + (0.1 / 6) * (a + 2 * b + 2 * c + d), None

    return lax.scan(step, y, None, length=2)[0]


def branch(x: Any) -> Any:
    return lax.cond(jnp.sum(x) > 100, lambda x: x * x, lambda x: jnp.sin(x) * 3, x)


def positive(x: Any) -> Any:
    return x @ x.T + 3.0 * jnp.eye(3, dtype=x.dtype)


@jax.custom_vjp
def right_vjp(x: Any) -> Any:
    return jnp.log1p(jnp.exp(x))


right_vjp.defvjp(lambda x: (right_vjp(x), x), lambda x, g: (g * jax.nn.sigmoid(x),))


@jax.custom_jvp
def right_jvp(x: Any) -> Any:
    return x * jnp.sin(x)


right_jvp.defjvp(lambda p, t: (right_jvp(*p), (jnp.sin(p[0]) + p[0] * jnp.cos(p[0])) * t[0]))

INDICES = np.array([2, 0, 2, 1])
POSITIVE = np.array([0.5, 1.25, 3.0])
APART = np.array([0.3, -1.2, 2.5, 0.9, -0.4])


def _p(name: str, f: Callable[..., Any], *arguments: Any, dtypes: Sequence[str] = DTYPES) -> Program:
    return Program(name, f, arguments, tuple(dtypes))


RIGHT: tuple[Program, ...] = (
    _p("mlp", mlp, {"w1": (3, 4), "b1": (4,), "w2": (4, 2)}, (2, 3)),
    _p("layer norm", layer_norm, (2, 4), (4,), (4,)),
    _p("softmax", lambda x: jax.nn.softmax(x), (2, 4)),
    _p("cross entropy", cross_entropy, (4, 3), INDICES),
    _p("attention", attention, (3, 4), (3, 4), (3, 2)),
    _p("dot_product_attention", jax.nn.dot_product_attention, (1, 3, 2, 4), (1, 3, 2, 4), (1, 3, 2, 4)),
    _p("convolution", conv, (1, 4, 3, 2), (3, 2, 2, 3)),
    _p("grouped convolution", grouped_conv, (1, 4, 5), (2, 2, 3)),
    _p("max pooling", partial(pooled, lax.max, -np.inf), (4, 4)),
    _p("average pooling", partial(pooled, lax.add, 0.0), (4, 4)),
    _p("gru", gru, (2,), (3, 2), (2, 6), (2, 6)),
    _p("indexing", lambda x: x[jnp.array([2, 0, 2])] * x[:, ::-1][1], (3, 2)),
    _p("embedding", lambda table, i: jnp.tanh(table[i]), (3, 2), INDICES),
    _p("scatter add", lambda x, u: x.at[INDICES].add(u) ** 2, (3,), (4,)),
    _p("scatter set", lambda x, u: jnp.sin(x.at[jnp.array([2, 0])].set(u)), (3,), (2,)),
    _p("scatter multiply", lambda x, u: x.at[jnp.array([2, 0])].multiply(u, unique_indices=True), (3,), (2,)),
    _p("dynamic slice", lambda x: lax.dynamic_slice(jnp.exp(x), (1,), (2,)), (4,)),
    _p("einsum", lambda a, b: jnp.einsum("bij,bkj->ik", a, b), (2, 3, 2), (2, 2, 2)),
    _p("cumsum", lambda x: jnp.cumsum(x * x), (5,)),
    _p("cumprod", jnp.cumprod, (4,)),
    _p("cumulative maximum", lambda x: lax.cummax(x) * 2, (5,)),
    _p("cumulative logsumexp", lambda x: lax.cumlogsumexp(x), (4,), dtypes=WIDE),
    _p("product", jnp.prod, (4,)),
    _p("sort", lambda x: jnp.sort(x) * jnp.arange(5, dtype=x.dtype), APART),
    _p("argsort", lambda x: x[jnp.argsort(x)] ** 2, APART),
    _p("top k", lambda x: lax.top_k(x, 2)[0] ** 3, APART),
    _p("logsumexp", lambda x: jax.nn.logsumexp(x, 1), (2, 3)),
    _p("norm", jnp.linalg.norm, (4,)),
    _p("matrix norm", lambda x: jnp.linalg.norm(x, 1), (2, 3)),
    _p("variance", lambda x: jnp.std(x, 0, ddof=1), (4, 2)),
    _p("where", lambda x: jnp.where(x > 0, jnp.sqrt(jnp.where(x > 0, x, 1)), x * x), (5,)),
    _p("clip", lambda x: jnp.clip(x, -0.5, 0.5) * x, (5,)),
    _p("maximum", lambda x, y: jnp.maximum(x, y) - jnp.minimum(x, 0.3 * y), (4,), (4,)),
    _p("absolute value", lambda x: jnp.abs(x) * jnp.sign(x) ** 2, (4,)),
    _p("tie", lambda x: jnp.max(jnp.stack([x, x[::-1]]), 0) + jnp.abs(x - x[0]), np.array([1.0, 2.0, 1.0])),
    _p("gelu", lambda x: jax.nn.gelu(x) + jax.nn.gelu(x, approximate=False), (5,)),
    _p("silu", jax.nn.silu, (5,)),
    _p("softplus", jax.nn.softplus, (5,)),
    _p("elu", lambda x: jax.nn.elu(x) + jax.nn.selu(x) + jax.nn.celu(x), (5,)),
    _p("mish", jax.nn.mish, (5,)),
    _p("glu", lambda x: jax.nn.glu(x) + jax.nn.hard_swish(jnp.tanh(x[:2])), (4,)),
    _p("log sigmoid", lambda x: jax.nn.log_sigmoid(x) + jax.nn.leaky_relu(x, 0.1), (5,)),
    _p("trigonometry", lambda x: jnp.sin(x) * jnp.cos(x) + jnp.arctan2(x, 2.0) + jnp.tan(x / 4), (4,)),
    _p("hyperbolic", lambda x: jnp.sinh(x) + jnp.arcsinh(x) + jnp.arccosh(2 + x * x), (4,)),
    _p("powers", lambda x: x**2.5 + jnp.power(2.0, x) + x**-3 + jnp.cbrt(x) + jnp.hypot(x, 2.0), POSITIVE),
    _p("logarithms", lambda x: jnp.log(x) + jnp.log1p(x) + jnp.log2(x) + jnp.expm1(x), POSITIVE),
    _p("logaddexp", lambda x, y: jnp.logaddexp(x, y), POSITIVE, (3,)),
    _p("gamma", lambda x: lax.lgamma(x) + lax.digamma(x), POSITIVE, dtypes=WIDE),
    _p("incomplete gamma", lambda x: jax.scipy.special.gammainc(2.5, x) + lax.erf_inv(x / 4), POSITIVE, dtypes=WIDE),
    _p("bessel", lambda x: lax.bessel_i0e(x) * lax.bessel_i1e(x), POSITIVE, dtypes=WIDE),
    _p("polygamma", lambda q: jax.scipy.special.polygamma(1, q), POSITIVE, dtypes=WIDE),
    _p("error functions", lambda x: lax.erf(x) - 0.3 * lax.erfc(x), (4,)),
    _p("remainder", lambda x: jnp.fmod(x, 0.7) + (x - jnp.floor(x)) ** 2, (4,)),
    _p("custom vjp", lambda x: right_vjp(x) ** 2, (4,)),
    _p("custom jvp", lambda x: right_jvp(x) ** 2, (4,)),
    _p("checkpoint", lambda x: jax.checkpoint(lambda y: jnp.sin(jnp.exp(y)))(x), (4,)),
    _p("vmap", jax.vmap(lambda x, y: jnp.dot(x, jnp.tanh(y))), (3, 2), (3, 2)),
    _p("newton", newton, POSITIVE),
    _p("while", halvings, POSITIVE),
    _p("cond", branch, (3,)),
    _p("runge kutta", runge_kutta, (2,), ()),
    _p("solve", lambda a, b: jnp.linalg.solve(a, b), np.array([[2.0, 0.5], [0.25, -1.5]]), (2,), dtypes=WIDE),
    _p("inverse", jnp.linalg.inv, np.array([[2.0, 0.5], [0.25, -1.5]]), dtypes=WIDE),
    _p("determinant", lambda a: jnp.linalg.slogdet(a)[1], np.array([[2.0, 0.5], [0.25, -1.5]]), dtypes=WIDE),
    _p("cholesky", lambda x: jnp.linalg.cholesky(positive(x)), (3, 3), dtypes=WIDE),
    _p("gradient of gradient", lambda x: jax.grad(lambda y: jnp.sum(jnp.tanh(y) * y))(x), (3,)),
    _p("interp", lambda x, y: jnp.interp(x, jnp.array([0.0, 1.0, 2.0, 4.0], x.dtype), y), POSITIVE, (4,)),
    _p("half precision inside", lambda x: jnp.sum(jnp.sin(x).astype(jnp.bfloat16) * 2).astype(x.dtype), (4,)),
    _p("mean square", lambda x, y: jnp.mean((x - y) ** 2), (3, 2), (3, 2)),
)  # fmt: skip


# Wrong rules ----------------------------------------------------------------------------------------------------------


def ruled(f: Callable[..., Any], backward: Callable[..., tuple[Any, ...]]) -> Callable[..., Any]:
    """f with a derivative rule of its own: `backward(g, *operands)` gives its gradients."""
    own = jax.custom_vjp(f)
    own.defvjp(lambda *x: (f(*x), x), lambda x, g: backward(g, *x))
    return own


def off_by(relative: float) -> Callable[..., Any]:
    """tanh with a gradient that is off by a relative error."""
    return ruled(jnp.tanh, lambda g, x: (g * (1 - jnp.tanh(x) ** 2) * (1 + relative),))


WRONG: tuple[Program, ...] = (
    _p("missing factor", ruled(lambda x: x * x, lambda g, x: (g * x,)), (3,)),
    _p("sum instead of mean", ruled(lambda x: jnp.mean(x), lambda g, x: (jnp.broadcast_to(g, x.shape),)), (4,)),
    _p("wrong mask", ruled(jax.nn.relu, lambda g, x: (jnp.where(x > -1, g, 0),)), APART),
    _p("swapped operands", ruled(lambda a, b: a * b, lambda g, a, b: (g * a, g * b)), (3,), (3,)),
    _p("clipped cotangent", ruled(lambda x: 2 * x, lambda g, x: (2 * jnp.clip(g, -1, 1),)), (3,)),
    _p("missing transpose", ruled(lambda a, b: a @ b, lambda g, a, b: (g @ b, a.T @ g)), (2, 2), (2, 2)),
    _p("bias mean", ruled(lambda x, b: x + b, lambda g, x, b: (g, jnp.mean(g, 0))), (3, 2), (2,)),
    _p("wrong sign", ruled(jnp.cos, lambda g, x: (g * jnp.sin(x),)), (3,)),
)  # fmt: skip
