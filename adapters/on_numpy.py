"""NumPy finite differences, each with the stencil it took: a sanity check of gradients, never the truth."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import scipy
from scipy.differentiate import derivative

from gradconform.adapters.contract import Answer, Route, Stencil, Unsupported
from gradconform.reference.cases import Point

#: Steps near the width where truncation h²f‴/6 and rounding uf/h balance for f ~ 1: h ≈ u^(1/3), a power of two.
CENTRAL_STEPS = {"float64": 2.0**-17, "float32": 2.0**-8, "float16": 2.0**-4}
#: Small enough that h² is lost beside 1 and large enough that h·∂E/∂w stays a normal number.
COMPLEX_STEPS = {"float64": (np.complex128, 2.0**-300), "float32": (np.complex64, 2.0**-40)}
#: The first and largest step of the order-8 formula.
EXTRAPOLATED_STEP = 2.0**-2


class Operations:
    """The document's named operations; NumPy has no sigmoid of its own."""

    @staticmethod
    def sigmoid(x: Any) -> Any:
        return 1 / (1 + np.exp(-x))


class NumpyAdapter:
    name = "numpy"
    routes = (
        Route("central", "(f(w+h) − f(w−h))/2h", dtypes=tuple(CENTRAL_STEPS)),
        Route("complex-step", "Im f(w+ih)/h", dtypes=tuple(COMPLEX_STEPS)),
        Route("extrapolated", "scipy.differentiate, order 8", dtypes=("float64", "float32")),
    )

    def versions(self) -> dict[str, str]:
        return {"numpy": np.__version__, "scipy": scipy.__version__}

    def unavailable(self, device: str) -> str | None:
        return None if device == "cpu" else "NumPy runs on the CPU only"

    def answer(self, point: Point, route: str) -> Answer:
        if point.architecture is not None:
            raise Unsupported(
                "derivation: a quotient takes a loss for each parameter; it is taken of the cases document/* only"
            )
        with np.errstate(over="ignore", invalid="ignore", divide="ignore", under="ignore"):
            quotients, stencil = {
                "central": central,
                "complex-step": complex_step,
                "extrapolated": extrapolated,
            }[route](point)
            scalar = np.dtype(point.dtype).type
            values = {n: scalar(v) for n, v in point.values.items()}
            rate = scalar(point.rate)
            # On arrays x**2 is x·x, on NumPy's scalars it is the C library's pow.
            loss = point.forward(Operations, {n: np.array([v]) for n, v in values.items()})[point.loss][0]
            updated = {n: values[n] - rate * scalar(g) for n, g in quotients.items()}
        return Answer(float(loss), quotients, {n: float(v) for n, v in updated.items()}, stencil=stencil)


adapter = NumpyAdapter()


def losses(point: Point, moved: np.ndarray[Any, Any]) -> Any:
    """The loss with parameter j replaced by row j of `moved`, (parameters, points), the others as given."""
    dtype = moved.dtype
    values: dict[str, Any] = {n: dtype.type(v) for n, v in point.values.items()}
    for row, name in enumerate(point.parameters):
        column = np.full(moved.shape, point.values[name], dtype=dtype)
        column[row] = moved[row]
        values[name] = column
    return point.forward(Operations, values)[point.loss]


def weights(point: Point, dtype: Any) -> np.ndarray[Any, Any]:
    """The parameters as a column, (parameters, 1)."""
    return np.array([[point.values[n]] for n in point.parameters], dtype=dtype)


def stencil_of(point: Point, h: float, moved: np.ndarray[Any, Any], coefficients: Sequence[float]) -> Stencil:
    return Stencil(
        "real",
        h,
        {n: [float(x) for x in row] for n, row in zip(point.parameters, moved, strict=True)},
        coefficients,
    )


def central(point: Point) -> tuple[dict[str, float], Stencil]:
    dtype = np.dtype(point.dtype)
    h = dtype.type(CENTRAL_STEPS[point.dtype])
    moved = weights(point, dtype) + np.array([[-h, h]], dtype=dtype)
    f = losses(point, moved)
    quotients = (f[:, 1] - f[:, 0]) / (2 * h)
    found = {n: float(q) for n, q in zip(point.parameters, quotients, strict=True)}
    return found, stencil_of(point, float(h), moved, (-0.5, 0.5))


def complex_step(point: Point) -> tuple[dict[str, float], Stencil]:
    dtype, h = COMPLEX_STEPS[point.dtype]
    moved = weights(point, dtype) + dtype(complex(0, h))
    quotients = losses(point, moved)[:, 0].imag / np.dtype(point.dtype).type(h)
    found = {n: float(q) for n, q in zip(point.parameters, quotients, strict=True)}
    return found, Stencil("complex", h, {}, ())


def extrapolated(point: Point) -> tuple[dict[str, float], Stencil]:
    dtype = np.dtype(point.dtype)
    seen: list[np.ndarray[Any, Any]] = []

    def f(x: np.ndarray[Any, Any], row: np.ndarray[Any, Any]) -> Any:
        """The loss at the points `x`, (rows, points), of the parameters that `row` numbers."""
        moved = np.repeat(weights(point, dtype), x.shape[1], axis=1) if x.ndim == 2 else weights(point, dtype)
        rows = row.reshape(-1).astype(int)
        moved[rows] = x.reshape(len(rows), -1)
        seen.append(moved.copy())
        return losses(point, moved)[rows].reshape(x.shape)

    # SciPy 1.15 answers float32 in float64; newer ones keep the dtype, and nothing is rounded here.
    found = differentiate(f, weights(point, dtype)[:, 0], np.arange(len(point.parameters))).astype(dtype)
    middle, around = seen
    half = around.shape[1] // 2
    moved = np.concatenate([around[:, :half], middle, around[:, half:]], axis=1)
    gradient = {n: float(q) for n, q in zip(point.parameters, found, strict=True)}
    return gradient, stencil_of(point, EXTRAPOLATED_STEP, moved, coefficients(point.dtype))


def differentiate(f: Any, x: Any, row: Any) -> Any:
    """One step of SciPy's order-8 central formula, at fixed points: x and x ± h, h/2, h/4, h/8."""
    return derivative(f, x, args=(row,), order=8, initial_step=EXTRAPOLATED_STEP, maxiter=1).df


@cache
def coefficients(dtype: str) -> tuple[float, ...]:
    """SciPy's own weights at the nine points, in the order that it evaluates them.

    They are read off by differentiating one indicator after the other.

    The quotient is linear in the function values, so where f is 1 at point j and 0 elsewhere it is coefficient_j/h.
    """
    offsets = np.array([-0.125, -0.25, -0.5, -1, 0, 1, 0.5, 0.25, 0.125]) * EXTRAPOLATED_STEP

    def indicator(x: np.ndarray[Any, Any], j: np.ndarray[Any, Any]) -> Any:
        return (x == offsets[j.astype(int)]).astype(dtype)

    found = differentiate(indicator, np.zeros(len(offsets), dtype=dtype), np.arange(len(offsets)))
    return tuple(float(v) * EXTRAPOLATED_STEP for v in found)
