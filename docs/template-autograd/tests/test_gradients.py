"""Every equation of networks with each kind of layer and loss is right, and digits of it are certified."""

import pytest

import gradconform as gc

CASES = ["document/worked-example", *gc.cases("network/*error"), *gc.cases("network/*-cross-entropy*")]


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("case", CASES)
def test_gradients_and_updates_conform(case, dtype):
    gc.assert_conforms("hips", case, dtype=dtype)
