"""The marker `gradconform` and the fixture `gradconform_verify`, as a user's tests have them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as xml

import jax.numpy as jnp
import numpy as np
import pytest
import torch

from gradconform.adapters import verify_jax, verify_torch
from gradconform.conformance.marker import EDGES, Asked, asked, numbers_of
from gradconform.conformance.run.run_file import read
from gradconform.conformance.verify import ACCEPTED
from gradconform.reference.arithmetic.formats import FORMATS

pytest_plugins = ["pytester"]

ROOT = Path(__file__).parents[1]

WRONG = """
import pytest, torch

class Cube(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x ** 3

    @staticmethod
    def backward(ctx, g):
        return g * 2.9 * ctx.saved_tensors[0] ** 2

@pytest.mark.gradconform(dtypes=["float32"], shapes=[(2,)], edges=["zeros"])
def test_cube(gradconform_verify):
    gradconform_verify(lambda x: Cube.apply(x))
"""


def run(pytester: pytest.Pytester, program: str, *options: str) -> pytest.RunResult:
    pytester.makepyfile(program)
    return pytester.runpytest_inprocess("-p", "no:cacheprovider", "-p", "no:hypothesispytest", "-v", *options)


def blocks(page: str) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", (ROOT / page).read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def test_the_examples_of_the_documentation_pass(pytester: pytest.Pytester) -> None:
    done = run(pytester, "\n".join(blocks("docs/site/pytest.md")))
    done.assert_outcomes(passed=1 + 42 + 6)
    done.stdout.fnmatch_lines(["*test_silu?bfloat16-2x2-zeros? PASSED*", "*test_cross_entropy?float32-ties? PASSED*"])


def test_the_example_of_the_tutorial_is_that_of_the_page() -> None:
    (shown,) = [block for block in blocks("docs/site/function.md") if "gradconform_verify" in block]
    assert shown in blocks("docs/site/pytest.md")


def test_a_wrong_rule_fails_each_test_that_shows_it_with_the_report(pytester: pytest.Pytester) -> None:
    done = run(pytester, WRONG)
    done.assert_outcomes(failed=1, passed=1)  # at zero the slope of a cube is 0 whatever its factor
    done.stdout.fnmatch_lines(["E*float32-2-drawn: <lambda>: deviates*", "E*culprit: Cube (*its rule is wrong*"])
    # Where CI is set, pytest repeats the whole message in its summary: the report itself is what is counted.
    told = [line for line in done.stdout.lines if line.startswith("E ") and "culprit: Cube" in line]
    assert len(told) == 1
    assert "marker.py" not in done.stdout.str(), "the traceback ends in the test"


def test_what_passes_at_an_edge_without_conforming_says_so(pytester: pytest.Pytester) -> None:
    program = """
        import pytest, torch
        @pytest.mark.gradconform(shapes=[(2,)], edges=["zeros"])
        def test_root(gradconform_verify):
            gradconform_verify(lambda x: x.abs().sqrt())
        @pytest.mark.gradconform(shapes=[(2,)], edges=["zeros"], accept=[])
        def test_strict(gradconform_verify):
            gradconform_verify(lambda x: x.abs().sqrt())
    """
    done = run(pytester, program, "--junit-xml", "out.xml")
    done.assert_outcomes(passed=3, failed=1)
    properties = {p.get("value") for p in xml.parse(pytester.path / "out.xml").getroot().iter("property")}
    assert "<lambda>: singular" in properties


def test_what_was_verified_is_exported_as_a_run(pytester: pytest.Pytester) -> None:
    run(pytester, WRONG, "--gradconform-export", "out")
    _, rows, _ = read(pytester.path / "out" / "run.jsonl")
    assert [(str(r["case"]).split("/")[1].partition(":")[2], r["verdict"]) for r in rows] == [
        ("test_cube[float32-2-drawn]", "deviates"), ("test_cube[float32-2-zeros]", "conforms"),
    ]  # fmt: skip
    assert (pytester.path / "out" / "summary.md").exists()


def test_without_a_marker_the_fixture_verifies_the_arguments_as_they_are(pytester: pytest.Pytester) -> None:
    program = """
        import torch
        def test_sine(gradconform_verify):
            report = gradconform_verify(torch.sin, torch.ones(2, dtype=torch.float64))
            assert report.runs[0].arguments[0].format.name == "float64"
    """
    run(pytester, program).assert_outcomes(passed=1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dtypes": ["float33"]}, "unknown dtype 'float33'"),
        ({"dtypes": "float32"}, r"expected a list, such as dtypes=\['float32'\]"),
        ({"shape": [(2,)]}, "unknown option of the marker gradconform 'shape'; did you mean 'shapes'"),
        ({"shapes": [3]}, r"expected a shape, such as \(2, 3\)"),
        ({"shapes": ["ab"]}, "expected a shape"),
        ({"shapes": [(2, 0.5)]}, "expected a shape"),
        ({"shapes": []}, "shapes is empty"),
        ({"edges": ["zero"]}, "unknown kind of values in edges 'zero'"),
        ({"accept": ["fine"]}, "unknown verdict to accept 'fine'"),
        ({"framework": "tf"}, "unknown framework 'tf'"),
        ({"seed": -1}, "seed is -1; expected a whole number, 0 or more"),
        ({"seed": "x"}, "seed is 'x'; expected a whole number"),
    ],
)
def test_options_that_cannot_be_say_what_was_expected(options: dict[str, Any], message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        asked(options)


def test_without_shapes_and_arguments_both_ways_to_have_some_are_told(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("""
        import pytest, torch

        @pytest.mark.gradconform(dtypes=["float32"])
        def test_silu(gradconform_verify):
            gradconform_verify(torch.nn.functional.silu)

        @pytest.mark.gradconform(dtypes=["float32"])
        def test_module(gradconform_verify):
            gradconform_verify(torch.nn.Bilinear(1, 1, 1), torch.ones(1), torch.ones(1))
    """)
    result = pytester.runpytest_inprocess("-p", "no:cacheprovider")
    result.assert_outcomes(failed=1, passed=1)
    result.stdout.fnmatch_lines(["*got no arguments: give them after the function, or shapes= in the marker*"])


def test_a_marker_that_cannot_be_is_an_error_of_the_collection_without_a_traceback(pytester: pytest.Pytester) -> None:
    program = "import pytest\n@pytest.mark.gradconform(['float32'])\ndef test_f(gradconform_verify): pass\n"
    done = run(pytester, program)
    assert done.ret == pytest.ExitCode.INTERRUPTED
    done.stdout.fnmatch_lines(["*::test_f: the marker gradconform takes its options by name: gradconform(dtypes=*"])
    assert "raise" not in done.stdout.str()
    assert "During handling" not in done.stdout.str()


def test_whose_arrays_are_drawn_must_be_known(pytester: pytest.Pytester) -> None:
    program = """
        import pytest, torch, jax
        @pytest.mark.gradconform(shapes=[(2,)])
        def test_f(gradconform_verify):
            gradconform_verify(lambda x: x * x)
        @pytest.mark.gradconform(shapes=[(2,)], framework="jax", dtypes=["float64", "float16"])
        def test_jax(gradconform_verify):
            gradconform_verify(lambda x: x * x)
        @pytest.mark.gradconform(shapes=[(2,)])
        def test_both(gradconform_verify):
            gradconform_verify(torch.sin, torch.ones(2))
    """
    done = run(pytester, program)
    done.assert_outcomes(passed=2, failed=2)
    done.stdout.fnmatch_lines(["*whose arrays are to be drawn is not known: give framework=*"])
    done.stdout.fnmatch_lines(["*got arguments, and the marker has shapes; give one of them*"])


def test_the_tests_of_a_marker_are_every_dtype_shape_and_kind_of_values() -> None:
    found = asked({"dtypes": ["float32", "float64"], "shapes": [(), [(2, 3), (3,)]], "edges": True})
    assert len({a.id for a in found}) == len(found) == 2 * 2 * (1 + len(EDGES))
    assert found[0] == Asked("float32", ((),), "drawn")
    assert found[-1].id == "float64-2x3,3-negative"
    assert [a.values for a in asked({"edges": ["ties"]})] == ["given", "ties"]
    assert [a.accept for a in asked({"accept": ACCEPTED})] == [ACCEPTED]


@pytest.mark.parametrize("dtype", FORMATS)
@pytest.mark.parametrize("recorder", [verify_torch, verify_jax], ids=["torch", "jax"])
def test_edge_values_are_what_they_are_called_in_every_dtype(recorder: Any, dtype: str) -> None:
    def values(kind: str) -> Any:
        x = recorder.array(numbers_of(kind, (16,), dtype, np.random.default_rng(0)), dtype)
        assert str(x.dtype).rpartition(".")[2] == dtype
        return np.asarray(x.double() if recorder is verify_torch else np.asarray(x), dtype=np.float64)

    of = FORMATS[dtype]
    assert (values("zeros") == 0).all()
    assert (values("ones") == 1).all()
    assert len(set(values("ties").tolist())) == 2
    tiny = np.abs(values("subnormal"))
    assert ((tiny > 0) & (tiny < 2.0**of.emin)).all()
    large = np.abs(values("large"))
    assert (np.isfinite(large) & (large > of.largest / 5)).all()
    assert (values("negative") == -values("drawn")).all()


def test_given_arguments_keep_what_is_no_floating_point_array() -> None:
    labels, x = torch.tensor([0, 1]), torch.ones(2, 3, requires_grad=True)
    (a, b) = verify_torch.filled([{"x": x}, labels], lambda s, d: np.full(s, 7.0), "bfloat16")
    assert b is labels
    assert (a["x"].dtype, a["x"].requires_grad, float(a["x"].detach().sum())) == (torch.bfloat16, True, 42.0)
    (c, d) = verify_jax.filled([jnp.ones(3), jnp.arange(2)], lambda s, d: np.full(s, 7.0), None)
    assert (str(c.dtype), float(c.sum()), str(d.dtype)) == ("float32", 21.0, "int32")
