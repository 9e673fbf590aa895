"""`verify` in forward mode: the tangents that a framework gives are held against the derivative along them."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as xml

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from flint import arb
from torch import Tensor

import gradconform as gc
from gradconform.adapters.record_torch import record
from gradconform.conformance.command_line.commands import main
from gradconform.conformance.run.run_file import load
from gradconform.reference.arithmetic.exact import precision
from gradconform.reference.arithmetic.midpoints import Double
from gradconform.reference.cases import BadInput
from gradconform.reference.programs.array_exact import ArrayExact
from gradconform.reference.programs.array_tangents import push as pushed
from gradconform.reference.programs.exact import Exact
from gradconform.reference.programs.tangents import push
from gradconform.reports.continuous import junit
from gradconform.reports.diff import compare
from gradconform.reports.tables import checked


def at(*numbers: float, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.tensor(numbers, dtype=dtype)


def square(jvp: Callable[[Tensor, Tensor], Tensor] | None) -> Callable[[Tensor], Tensor]:
    """x² with the right backward, and this jvp(t, x)."""

    class Square(torch.autograd.Function):
        @staticmethod
        def forward(x: Tensor) -> Tensor:
            return x * x

        @staticmethod
        def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
            ctx.save_for_backward(*inputs)
            ctx.save_for_forward(*inputs)

        @staticmethod
        def backward(ctx: Any, g: Tensor) -> Tensor:  # type: ignore[override]
            return 2 * g * ctx.saved_tensors[0]

    if jvp is not None:
        Square.jvp = staticmethod(lambda ctx, t: jvp(t, *ctx.saved_tensors))  # type: ignore[assignment, method-assign]
    return lambda x: Square.apply(x)  # type: ignore[no-any-return]


def jax_square(tangent: Callable[[Any, Any], Any]) -> Callable[[Any], Any]:
    @jax.custom_jvp
    def f(x: Any) -> Any:
        return x * x

    f.defjvp(lambda x, t: (x[0] * x[0], tangent(t[0], x[0])))
    return lambda x: f(x)


# The derivative along a direction -------------------------------------------------------------------------------------


def every_kind(x: Tensor, w: Tensor) -> Tensor:
    """All kinds of steps: functions, sums of products, a product, extremes, a choice, a kernel; without ties."""
    y = torch.logsumexp(x @ w, 1) * x.prod(1) + x.amax(1) - w.amin() + x.abs().sum()
    return torch.where(y > 0, y.sin(), y.exp()) + torch.nn.functional.softplus(y)


def a_run() -> Any:
    drawn = torch.Generator().manual_seed(3)
    x, w = (torch.randn(4, 3, generator=drawn, dtype=torch.float64) for _ in range(2))
    return record(every_kind, [x, w.T.contiguous()[:, :3]], replays=False)


def test_the_derivative_along_a_direction_is_the_gradients_product_with_it() -> None:
    run = a_run()
    drawn = np.random.default_rng(1)
    along = [drawn.uniform(-1, 1, a.ids.shape) for a in run.arguments]
    with precision(160):
        exact = Exact(run.forward, literals=False).evaluate()
        seeds = {i: arb(v) for a, t in zip(run.arguments, along, strict=True)
                 for i, v in zip(a.ids.ravel().tolist(), t.ravel().tolist(), strict=True)}  # fmt: skip
        tangents = push(exact, dict(seeds))
        for i in run.outputs[0].ravel().tolist():
            adjoints = exact.pull({i: arb(1)})
            product = sum((v * adjoints[j] for j, v in seeds.items() if j in adjoints), arb(0))
            assert tangents[i].overlaps(product)
            assert tangents[i].rel_accuracy_bits() > 100
            assert not tangents[i].overlaps(product * (1 + arb(2) ** -80))


def test_arrays_enclose_the_same_derivative() -> None:
    run = a_run()
    along = [np.random.default_rng(1).uniform(-1, 1, a.ids.shape) for a in run.arguments]
    arrays = ArrayExact(run.forward).evaluate()
    found = pushed(arrays, [(a.ids, t) for a, t in zip(run.arguments, along, strict=True)], run.outputs,
                   run.forward.steps)[0]  # fmt: skip
    with precision(160):
        seeds = {i: arb(v) for a, t in zip(run.arguments, along, strict=True)
                 for i, v in zip(a.ids.ravel().tolist(), t.ravel().tolist(), strict=True)}  # fmt: skip
        tangents = push(Exact(run.forward, literals=False).evaluate(), seeds)
        for n, i in enumerate(run.outputs[0].ravel().tolist()):
            index = np.unravel_index(n, run.outputs[0].shape)
            radius = float(found.radius[(0, *index)])
            assert abs(Double.ball(found.mid, index) - tangents[i]) <= radius * 1.001
            assert radius < 2.0**-80 * abs(float(tangents[i]))


# PyTorch --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16"])
def test_a_right_jvp_conforms_in_both_modes(dtype: str) -> None:
    f = square(lambda t, x: 2 * t * x)
    report = gc.verify(lambda x: f(x).tanh(), at(0.5, -1.25), dtype=dtype, mode="both")
    assert report, str(report)
    assert list(report.table["mode"]) == ["reverse", "forward"]
    assert list(report.table.argument) == ["x", "output"]


@pytest.mark.parametrize("factor", [-2.0, 1.999, 2 + 2.0**-20])
def test_a_jvp_that_is_wrong_is_named_where_the_backward_is_right(factor: float) -> None:
    f = square(lambda t, x: factor * t * x)
    assert gc.verify(lambda x: f(x).tanh(), at(0.5, -1.25))
    report = gc.verify(lambda x: f(x).tanh(), at(0.5, -1.25), mode="forward")
    assert (report.verdict, report.formula, report.execution) == ("deviates", "wrong", "within")
    (culprit,) = report.culprits
    assert "Square" in culprit
    assert "test_forward_mode.py" in culprit
    assert "its jvp is wrong" in culprit
    assert "tangent of output[" in str(report)


def test_a_rule_without_a_jvp_is_unsupported_in_forward_mode_and_no_pass() -> None:
    f = square(None)
    report = gc.verify(lambda x: f(x).tanh(), at(0.5, -1.25), mode="both")
    assert not report
    assert [g.judgement.verdict for g in report.gradients] == ["conforms", "unsupported"]
    assert "PyTorch has no forward mode here" in str(report)
    assert "test_forward_mode.py" in str(report)


def test_an_operation_without_forward_mode_is_unsupported() -> None:
    report = gc.verify(lambda x: torch.cdist(x, x + 1), torch.eye(2), mode="forward")
    assert report.verdict == "unsupported"
    assert "_cdist_forward" in str(report)


def test_a_number_that_leaves_the_record_in_a_jvp_is_no_proof() -> None:
    f = square(lambda t, x: t * (2 * x).sum().item())
    report = gc.verify(f, at(0.5), mode="forward")
    assert not report.complete
    assert report.formula == "unknown"


def test_a_tangent_at_a_tie_is_a_kink_and_one_beyond_its_sides_is_wrong() -> None:
    given = [torch.tensor([3.0, 1.0])]
    report = gc.verify(lambda x: x.amax(), at(2.0, 2.0), mode="forward", tangent=given)
    assert (report.verdict, report.formula) == ("conforms", "kink")
    low, high = (float(x) for x in (report.gradients[0].judgement.truth or "").strip("[]").split(","))
    assert (low, high) == pytest.approx((1, 3), rel=1e-8)
    wrong = square(lambda t, x: 5 * t * x)
    assert gc.verify(lambda x: wrong(x).amax(), at(2.0, 2.0), mode="forward", tangent=given).formula == "wrong"


def test_a_tangent_of_a_large_program_is_judged_in_arrays() -> None:
    f = square(lambda t, x: 2 * t * x * (1 + 2.0**-18))
    x, w = torch.linspace(-1, 1, 600).reshape(20, 30), torch.linspace(-0.5, 0.7, 300).reshape(30, 10)
    assert gc.verify(lambda x, w: torch.relu(x @ w).square().mean(), x, w, mode="forward")
    assert gc.verify(lambda x, w: f(torch.relu(x @ w)).mean(), x, w, mode="forward").formula == "wrong"


@pytest.mark.parametrize("shift", [0.0, 1.0])
def test_a_choice_between_two_numbers_is_judged_in_arrays(shift: float) -> None:
    def f(x: Tensor) -> Tensor:
        s = x.sum()
        return torch.where(s > 1, s * s, 2 * s)

    assert gc.verify(f, torch.linspace(-1, 1, 600) + shift, mode="forward").verdict == "conforms"


def test_a_tie_of_two_numbers_is_a_kink_in_arrays() -> None:
    def f(x: Tensor) -> Tensor:
        return torch.where(x.sum() > 2 * x[0], x.sum(), 2 * x[0])

    along = [torch.eye(600)[0]]  # by the one 1, by the other 2
    report = gc.verify(f, torch.zeros(600), mode="forward", tangent=along)
    assert (report.verdict, report.formula) == ("conforms", "kink")


def test_every_column_of_the_jacobian_is_verified_where_all_are_asked_for() -> None:
    report = gc.verify(lambda x: x.flip(0) * x, at(0.5, -1.25, 3.0), rows="all", mode="forward")
    assert report, str(report)
    assert len(report.gradients) == 3
    assert "column 2" in str(report)


@pytest.mark.parametrize("f", [torch.square, torch.exp, torch.nn.functional.silu])
def test_tangents_of_a_gradient_in_16_bits_are_of_zeros_that_have_no_memory(f: Callable[[Tensor], Tensor]) -> None:
    """PyTorch computes with the tangents that are not there in Python, on tensors of its device `meta`."""
    assert gc.verify(f, torch.tensor([0.5, -1.25, 2.0], dtype=torch.bfloat16), mode="forward", order=2)


def test_forward_over_reverse_verifies_the_second_derivative() -> None:
    assert gc.verify(lambda x: (x.exp() * x.abs()).sum(), at(0.5, -1.25), order=2, mode="forward")
    report = gc.verify(lambda x: (x * x.detach()).sum(), at(0.5), order=2, mode="forward")
    assert not report


# JAX ------------------------------------------------------------------------------------------------------------------


def test_a_right_custom_jvp_conforms_eager_and_compiled() -> None:
    f = jax_square(lambda t, x: 2 * t * x)
    report = gc.verify(lambda x: jnp.tanh(f(x)), jnp.array([0.5, -1.25]), mode="both", routes=("eager", "jit"))
    assert report, str(report)
    assert set(zip(report.table["mode"], report.table.route, strict=True)) == {
        (m, r) for m in ("reverse", "forward") for r in ("eager", "jit")
    }


@pytest.mark.parametrize("factor", [-2.0, 1.999])
def test_a_wrong_custom_jvp_is_named_in_both_modes(factor: float) -> None:
    f = jax_square(lambda t, x: factor * t * x)
    report = gc.verify(lambda x: jnp.tanh(f(x)), jnp.array([0.5, -1.25]), mode="both")
    assert [g.judgement.formula for g in report.gradients] == ["wrong", "wrong"]
    assert any("its rule is wrong" in c for c in report.culprits)
    assert any("its jvp is wrong" in c for c in report.culprits)


def test_a_custom_vjp_is_unsupported_in_forward_mode() -> None:
    @jax.custom_vjp
    def f(x: Any) -> Any:
        return x * x

    f.defvjp(lambda x: (x * x, x), lambda x, g: (2 * x * g,))
    report = gc.verify(lambda x: jnp.tanh(f(x)), jnp.array([0.5]), mode="both")
    assert [g.judgement.verdict for g in report.gradients] == ["conforms", "unsupported"]
    assert "custom_vjp" in str(report)


def test_a_loop_without_reverse_mode_is_verified_in_forward_mode() -> None:
    def f(x: Any) -> Any:
        return jax.lax.while_loop(lambda s: s[0].sum() > 0.1, lambda s: (s[0] / 2, s[1] * 1.5), (x, x))[1]

    report = gc.verify(f, jnp.array([0.5, 1.0]), mode="both")
    assert [g.judgement.verdict for g in report.gradients] == ["unsupported", "conforms"]


# What is asked --------------------------------------------------------------------------------------------------------


def test_another_mode_and_tangents_of_another_shape_are_bad_input() -> None:
    with pytest.raises(BadInput, match="mode"):
        gc.verify(lambda x: x, at(1.0), mode="backward")
    with pytest.raises(BadInput, match="tangents: got 2; expected 1, one for each argument"):
        gc.verify(lambda x: x, at(1.0), mode="forward", tangent=[1.0, 2.0])
    with pytest.raises(BadInput, match="tangents of shapes"):
        gc.verify(lambda x: x, jnp.ones(2), mode="forward", tangent=[np.ones(3)])


@pytest.mark.parametrize(("mode", "given"), [("reverse", "tangent"), ("forward", "cotangent")])
def test_what_is_given_along_for_the_other_mode_is_bad_input(mode: str, given: str) -> None:
    along: dict[str, Any] = {given: [1.0]}
    with pytest.raises(BadInput, match=f"{given}: it is of .* mode, and mode is '{mode}'"):
        gc.verify(lambda x: x, at(1.0), mode=mode, **along)


def test_a_tangent_that_is_no_finite_number_is_bad_input() -> None:
    with pytest.raises(BadInput, match="tangent: it holds NaN or an infinity"):
        gc.verify(torch.sin, at(1.0), mode="forward", tangent=[at(math.nan)])


def test_a_function_that_is_another_one_when_it_is_run_again_does_not_conform_in_forward_mode() -> None:
    calls: list[int] = []

    def f(x: Tensor) -> Tensor:
        calls.append(1)
        return x * len(calls)

    report = gc.verify(f, at(1.5), mode="forward")
    assert report.verdict == "undecided"
    assert report.missing


def test_a_function_that_changes_its_argument_says_so_in_forward_mode() -> None:
    def f(x: Tensor, data: Tensor) -> Tensor:
        data.zero_()
        return x * 2

    report = gc.verify(f, at(1.5), torch.ones(1), wrt=["x"], mode="forward")
    assert "it changes its argument data" in report.missing
    assert not report


# Rows of a run file ---------------------------------------------------------------------------------------------------


def saved(report: gc.Report, path: Path) -> Any:
    report.save(path)
    return load([path])[1]


def test_a_tangent_is_a_row_of_its_own_beside_the_gradient(tmp_path: Path) -> None:
    run = saved(gc.verify(torch.sin, at(0.5), mode="both"), tmp_path / "a.jsonl")
    assert list(run["quantity"]) == ["d/dargument 0", "tangent of output"]
    assert list(run["verdict"]) == ["conforms", "conforms"]
    names = [str(t.get("name")) for t in xml.fromstring(junit(checked(run))).iter("testcase")]
    assert [n.partition(" ")[2] for n in names] == ["∂/∂argument 0", "tangent of output"]


def test_diff_says_of_tangents_that_were_judged_and_are_unsupported_now(tmp_path: Path) -> None:
    def distances(x: Tensor) -> Tensor:
        return (x.unsqueeze(0) - x.unsqueeze(1)).square()

    def fused(x: Tensor) -> Tensor:
        return torch.cdist(x.unsqueeze(1), x.unsqueeze(1) + 1)

    distances.__name__ = fused.__name__ = "distances"
    reverse, old, new = (
        saved(gc.verify(f, at(0.5, 1.25), mode=mode), tmp_path / f"{n}.jsonl")
        for n, (f, mode) in enumerate([(distances, "reverse"), (distances, "both"), (fused, "both")])
    )
    gone = {(c.kind, c.quantity) for c in compare(old, new).changes}
    assert ("no longer judged", "tangent of every output") in gone
    assert not any(c.kind == "no longer judged" for c in compare(reverse, new).changes)


# Complex numbers ------------------------------------------------------------------------------------------------------


def test_a_tangent_of_complex_numbers_is_by_z_in_either_framework() -> None:
    z = np.array([0.5 + 1j, -0.25 + 2j], dtype=np.complex64)
    along = [np.array([1 - 2j, 0.5 + 0.25j], dtype=np.complex64)]
    expected = 2j * (z.conj() * along[0] + z * along[0].conj())
    for report in (
        gc.verify(lambda z: z * z.conj() * 2j, torch.tensor(z), mode="forward", tangent=along),
        gc.verify(lambda z: z * jnp.conj(z) * 2j, jnp.asarray(z), mode="forward", tangent=along),
    ):
        assert report.verdict == "conforms"
        (got,) = report.runs[0].returned["eager"]
        assert np.allclose(got, np.stack([expected.real, expected.imag], -1))


def test_a_jvp_that_conjugates_a_complex_tangent_is_wrong() -> None:
    @jax.custom_jvp
    def square(z: jax.Array) -> jax.Array:
        return z * z

    square.defjvp(lambda primals, tangents: (square(primals[0]), 2 * primals[0] * jnp.conj(tangents[0])))
    report = gc.verify(square, jnp.array([0.5 + 1j, -0.25 + 2j]), mode="forward")
    assert (report.verdict, report.formula) == ("deviates", "wrong")


# The command ----------------------------------------------------------------------------------------------------------


def test_the_command_verifies_both_modes_and_an_unsupported_one_is_no_success(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "without_forward.py").write_text(
        "import torch\n\n\ndef f(x):\n    return torch.cdist(x, x + 1)\n\n\ndef cases():\n    return [torch.eye(2)]\n",
        encoding="utf-8",
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    done = CliRunner().invoke(main, ["verify", "without_forward:f", "--mode", "both"])
    assert done.exit_code == 3, done.output
    assert "2 gradients of 1 run: conforms 1, unsupported 1" in done.stdout
