"""What pytest alone can say; `gradconform run` and the workflow say more."""

import pytest

import gradconform as gc


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("case", ["document/worked-example", *gc.cases("document/scale-1/00*")])
def test_gradients_and_updates_conform(case, dtype):
    gc.assert_conforms("duals", case, dtype=dtype)
