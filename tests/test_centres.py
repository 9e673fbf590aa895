"""The centres of a truth alone: the midpoints of the array arithmetic, or none."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gradconform.reference.arithmetic.arrays import Beyond, Centres, Lacking, RoundedArray, RoundedArrays
from gradconform.reference.arithmetic.formats import FORMATS
from gradconform.reference.arithmetic.profiles import OPENCL
from gradconform.reference.derivations.activations import ACTIVATIONS


def operands(A: RoundedArrays, **planted: float) -> list[RoundedArray]:
    """Adjoints and pre-activations, large, small and 0, with what is planted in the last of them."""
    random = np.random.default_rng(3)
    z = np.concatenate([random.normal(0, scale, 40) for scale in (1e-6, 1.0, 5.0)] + [[0.0, -0.0]])
    z[-1] = planted.get("z", z[-1])
    return [A.given(A.format.round(x).astype(np.float32)) for x in (random.normal(size=z.shape), z)]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ["sigmoid", "softplus", "silu", "gelu_tanh"])
def test_centres_are_the_midpoints_to_the_last_bit(name: str, dtype: str) -> None:
    A = RoundedArrays(FORMATS[dtype], OPENCL)
    _, slope = ACTIVATIONS[name].definition
    assert slope is not None
    of = operands(A)
    found, whole = Centres(A).of(slope.formula, of), slope.formula(A, *of)
    assert found.radius is None
    assert np.array_equal(found.high, whole.high)
    assert (A.mids.low(found.mid) is None) or np.array_equal(A.mids.low(found.mid), A.mids.low(whole.mid))


@pytest.mark.parametrize("name", ["tanh", "elu", "softmax"])
def test_what_a_radius_may_decide_has_no_centres_alone(name: str) -> None:
    A = RoundedArrays(FORMATS["float32"], OPENCL)
    _, slope = ACTIVATIONS[name].definition
    assert slope is not None
    with pytest.raises(Lacking):
        Centres(A).of(slope.formula, operands(A))


def test_a_quotient_has_none_for_its_divisor_may_be_zero() -> None:
    A = RoundedArrays(FORMATS["float32"], OPENCL)
    with pytest.raises(Lacking):
        Centres(A).of(lambda ops, g, z: g / z, operands(A))


@pytest.mark.parametrize("planted", [np.inf, -np.inf, np.nan, 1e5, -1e5])
def test_what_is_no_number_or_is_none_of_float64_on_the_way_has_none(planted: float) -> None:
    A = RoundedArrays(FORMATS["float32"], OPENCL)

    def slope(ops: Any, g: Any, z: Any) -> Any:
        return g * ops.sigmoid(z)

    assert Centres(A).of(slope, operands(A)).shape == (122,)
    with pytest.raises(Beyond):
        Centres(A).of(slope, operands(A, z=planted))
