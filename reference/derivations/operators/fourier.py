"""The Fourier transform, and functions of complex numbers, whose parts stand along a last axis."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gradconform.reference.derivations.operators.operator import Operand, Operator

_Z, _W = Operand("z", shape=(3,), kind="complex"), Operand("w", shape=(3,), kind="complex")
_X = Operand("x", shape=(3,))
_FLOATS = ("float64", "float32")


def parts(z: Any) -> tuple[Any, Any]:
    return z[..., 0], z[..., 1]


def joined(o: Any, x: Any, y: Any) -> Any:
    return o.stack([x, y], -1)


def times(o: Any, z: Any, w: Any) -> Any:
    (a, b), (c, d) = parts(z), parts(w)
    return joined(o, a * c - b * d, a * d + b * c)


def _turn(o: Any, k: int, n: int) -> tuple[Any, Any]:
    """cos and sin of 2πk/n, exactly where they are whole."""
    whole = {0: (1.0, 0.0), 1: (0.0, 1.0), 2: (-1.0, 0.0), 3: (0.0, -1.0)}
    if 4 * k % n == 0:
        c, s = whole[4 * k // n % 4]
        return o.number(c), o.number(s)
    angle = o.pi() * float(2 * k) / float(n)
    return o.cos(angle), o.sin(angle)


def transform(o: Any, z: Any, sign: float = -1.0) -> Any:
    """Σ z_n·e^(±2πi·kn/N) along the axis before the parts, unscaled."""
    n = z.shape[-2]
    x, y = parts(z)
    found = []
    for k in range(n):
        turns = [_turn(o, j * k % n, n) for j in range(n)]
        c = o.stack([t[0] for t in turns])
        s = o.stack([t[1] for t in turns]) * sign
        found.append(joined(o, o.dot(x, c) - o.dot(y, s), o.dot(x, s) + o.dot(y, c)))
    return o.stack(found, -2)


def _of_real(o: Any, x: Any) -> Any:
    return joined(o, x, o.zeros(x.shape))


def _inverse(o: Any, z: Any) -> Any:
    return transform(o, z, 1.0) / float(z.shape[-2])


def _irfft(o: Any, z: Any, n: int) -> Any:
    """Of the half of a Hermitian spectrum; the imaginary parts of the first and the middle one do not count."""
    x, y = parts(z)
    rows = []
    for j in range(n):
        total = o.number(0.0)
        for k in range(n // 2 + 1):
            c, s = _turn(o, j * k % n, n)
            ends = k == 0 or 2 * k == n
            term = x[..., k] * c if ends else 2.0 * (x[..., k] * c - y[..., k] * s)
            total = total + term
        rows.append(total / float(n))
    return o.stack(rows, -1)


def _fft2(o: Any, z: Any) -> Any:
    inner = transform(o, z)
    return transform(o, inner.moved(lambda ids: ids.swapaxes(0, 1))).moved(lambda ids: ids.swapaxes(0, 1))


def _modulus(o: Any, z: Any) -> Any:
    x, y = parts(z)
    return o.sqrt(o.square(x) + o.square(y))


def _exp(o: Any, z: Any) -> Any:
    x, y = parts(z)
    size = o.exp(x)
    return joined(o, size * o.cos(y), size * o.sin(y))


def _log(o: Any, z: Any) -> Any:
    x, y = parts(z)
    return joined(o, o.log_hypot(x, y), o.atan2(y, x))


def _reciprocal(o: Any, z: Any) -> Any:
    x, y = parts(z)
    size = o.square(x) + o.square(y)
    return joined(o, x / size, -y / size)


def _c(name: str, definition: Callable[..., Any], source: str, *operands: Operand, **data: Any) -> Operator:
    return Operator(name, "fourier", definition, source, operands or (_Z,), dtypes=_FLOATS, **data)


OPERATORS = (
    _c("fft", lambda o, z: transform(o, z), "Σ z·e^(−2πikn/N)", Operand("z", shape=(4,), kind="complex")),
    _c("fft_three", lambda o, z: transform(o, z), "Σ z·e^(−2πikn/3)"),
    _c("ifft", _inverse, "Σ z·e^(2πikn/N)/N", Operand("z", shape=(4,), kind="complex")),
    _c("rfft", lambda o, x: transform(o, _of_real(o, x))[..., : x.shape[-1] // 2 + 1, :], "of real numbers",
       Operand("x", shape=(4,))),
    _c("irfft", _irfft, "real, of half a spectrum", Operand("z", shape=(3,), kind="complex"), parameters=({"n": 4},)),
    _c("fft2", _fft2, "along both axes", Operand("z", shape=(2, 2), kind="complex")),
    _c("fft_of_real", lambda o, x: transform(o, _of_real(o, x)), "of real numbers", Operand("x", shape=(4,))),
    _c("complex_abs", _modulus, "√(x² + y²)", edges={"zero": ([0.0 + 0.0j, 1.0 + 0.0j, 3.0 + 4.0j],)}),
    _c("complex_angle", lambda o, z: o.atan2(z[..., 1], z[..., 0]), "atan2(y, x)"),
    _c("complex_conj", lambda o, z: joined(o, z[..., 0], -z[..., 1]), "x − iy"),
    _c("complex_real", lambda o, z: z[..., 0], "x"),
    _c("complex_imag", lambda o, z: z[..., 1], "y"),
    _c("complex_multiply", times, "z·w", _Z, _W),
    _c("complex_divide", lambda o, z, w: times(o, z, _reciprocal(o, w)), "z/w", _Z, _W),
    _c("complex_exp", _exp, "e^z"),
    _c("complex_log", _log, "log z"),
    _c("complex_square", lambda o, z: times(o, z, z), "z²"),
    _c("complex_from_parts", lambda o, x, y: joined(o, x, y), "x + iy", _X, Operand("y", shape=(3,))),
    _c("complex_polar", lambda o, r, t: joined(o, r * o.cos(t), r * o.sin(t)), "r·e^(it)",
       Operand("r", shape=(3,), draws="positive"), Operand("t", shape=(3,))),
)  # fmt: skip
