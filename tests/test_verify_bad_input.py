"""What `verify` makes of functions and arguments that cannot be verified: an error or a report that says so."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch

import gradconform as gc
from gradconform.conformance import verify as judge
from gradconform.conformance.programs.recording import PRINTS

Array = Any
FRAMEWORKS: dict[str, tuple[Callable[[Any], Array], Any]] = {"torch": (torch.tensor, torch), "jax": (jnp.asarray, jnp)}
both = pytest.mark.parametrize("name", FRAMEWORKS)


def at(name: str, *numbers: float) -> Array:
    return FRAMEWORKS[name][0](list(numbers))


@both
def test_integers_alone_are_nothing_to_differentiate_by(name: str) -> None:
    with pytest.raises(gc.BadInput, match=r"no floating-point tensor|no argument is an array of real numbers"):
        gc.verify(lambda x: x * 2, at(name, 1, 2))


@both
def test_an_output_that_no_argument_reaches_is_no_pass(name: str) -> None:
    ones = FRAMEWORKS[name][1].ones(3)
    with pytest.raises(gc.BadInput, match=r"in this run no output of .* is computed from x by floating-point"):
        gc.verify(lambda x: ones * 2, at(name, 0.5, 1.0))


@both
def test_a_comparison_alone_reaches_no_output(name: str) -> None:
    where, one = FRAMEWORKS[name][1].where, at(name, 1.0)
    with pytest.raises(gc.BadInput, match="is computed from x"):
        gc.verify(lambda x: where(x > 0, one, 2 * one), at(name, 0.5, -1.0))


@both
def test_an_argument_that_reaches_no_output_is_noted_beside_one_that_does(name: str) -> None:
    report = gc.verify(lambda x, y: y * y, at(name, 0.5), at(name, 1.0))
    assert report, str(report)
    assert report.notes == ("no output is computed from x: its gradient is 0",)
    assert gc.verify(lambda x, y: x * y, at(name, 0.5), at(name, 1.0)).notes == ()


def test_what_left_the_record_is_undecided_and_not_called_independent() -> None:
    report = gc.verify(lambda x: x.new_tensor(x.tolist()) * 2, torch.tensor([0.5, 1.0]))
    assert report.verdict == "undecided"
    assert any(".tolist()" in m for m in report.missing)


@both
@pytest.mark.parametrize("output", [lambda x: x > 0, lambda x: None, lambda x: 1.0])
def test_an_output_without_a_floating_point_number_is_refused(name: str, output: Callable[..., Any]) -> None:
    with pytest.raises(gc.BadInput, match=r"no floating-point tensor|no output is an array of real numbers"):
        gc.verify(output, at(name, 0.5, 1.0))


@pytest.mark.parametrize(
    ("cotangent", "message"),
    [([1.0, 2.0, 3.0], "shape"), ([1.0, float("nan")], "it holds NaN or an infinity; expected finite"),
     ([1.0, float("inf")], "expected finite")],
)  # fmt: skip
@both
def test_a_cotangent_that_does_not_fit_is_refused(name: str, cotangent: list[float], message: str) -> None:
    with pytest.raises(gc.BadInput, match=message):
        gc.verify(lambda x: x * 2, at(name, 0.5, 1.0), cotangent=[at(name, *cotangent)])


def test_a_cotangent_that_is_no_tensor_is_refused() -> None:
    with pytest.raises(gc.BadInput, match="expected a tensor of each output's shape"):
        gc.verify(lambda x: x * 2, torch.ones(2), cotangent=["a"])


@both
def test_nan_and_no_numbers_are_refused_with_the_argument(name: str) -> None:
    with pytest.raises(gc.BadInput, match=r"x\[1\] is NaN"):
        gc.verify(lambda x: x * 2, at(name, 0.5, float("nan")))
    with pytest.raises(gc.BadInput, match="x: no numbers in it"):
        gc.verify(lambda x: x * 2, at(name))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: gc.verify(jnp.multiply, (jnp.ones(2), jnp.ones(2))), "f was given one tuple of 2: give its"),
        (lambda: gc.verify(np.sin, jnp.ones(2)), "NumPy has no gradients: compute with jax.numpy"),
        (lambda: gc.verify(torch.sin, jnp.ones(2)), "f is of PyTorch and its arguments are JAX'"),
        (lambda: gc.verify(jax.jit(lambda x: x * 2, donate_argnums=0), jnp.ones(2)), "give it without donate_argnums"),
        (lambda: gc.verify(jnp.sin, torch.ones(2)), "f is of JAX and its arguments are PyTorch's"),
        (lambda: gc.verify(lambda x, y: x, torch.ones(2), jnp.ones(2)), "arguments of torch and jax: expected"),
        (lambda: gc.verify(lambda x: None, jnp.ones(2)), "got None: has it a return"),
        (lambda: gc.verify(jnp.sin, jnp.arange(2)), "expected at least one: x.astype"),
        (lambda: gc.verify_update(optax.sgd(0.1), torch.ones(2), [torch.ones(2)]), "make is an optax transformation"),
        (lambda: gc.verify_update(lambda p: p, jnp.ones(2), [jnp.ones(2)]), "expected an optax transformation, or a"),
    ],
)  # fmt: skip
def test_what_is_of_another_framework_or_kind_is_said_with_what_to_do(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(gc.BadInput) as error:
        call()
    assert message in str(error.value)


def test_what_is_no_function_is_said_to_be_none() -> None:
    with pytest.raises(gc.BadInput, match="f is of type Tensor; expected a function, and its arguments after it"):
        gc.verify(torch.ones(2), torch.sin)


def test_a_class_is_no_function_and_what_to_give_is_said() -> None:
    with pytest.raises(
        gc.BadInput, match=r"f is the class Tanh; expected a function: an instance, or of a rule Tanh.apply"
    ):
        gc.verify(torch.nn.Tanh, torch.ones(2))


@both
@pytest.mark.parametrize("error", [RuntimeError("no data\nof this kind"), SystemExit("no data")])
def test_a_function_that_raises_or_exits_is_bad_input_with_what_it_said(name: str, error: BaseException) -> None:
    def raises(x: Any) -> Any:
        raise error

    with pytest.raises(gc.BadInput, match=f"{type(error).__name__}.*no data$"):
        gc.verify(raises, at(name, 0.5))


def test_a_backward_pass_that_raises_is_bad_input() -> None:
    class Rule(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            return x * 2

        @staticmethod
        def backward(ctx: Any, g: Any) -> Any:
            raise KeyError("lost")

    with pytest.raises(gc.BadInput, match="its backward pass raised KeyError: 'lost'"):
        gc.verify(Rule.apply, torch.ones(2))


def test_a_function_that_raises_when_it_is_run_again_is_undecided() -> None:
    runs: list[int] = []

    def once(x: Any) -> Any:
        runs.append(1)
        if len(runs) > 1:
            raise RuntimeError("only once")
        return x * 2

    report = gc.verify(once, torch.ones(2))
    assert (bool(report), report.verdict) == (False, "undecided")
    assert report.missing == ("run again on other numbers, it raised RuntimeError: only once",)


def writes(x: Any) -> Any:
    y = x * 2
    with torch.no_grad():
        x.add_(1)
    return y


def writes_data(x: Any) -> Any:
    y = x * 2
    x.data.add_(1)
    return y


@pytest.mark.parametrize("f", [writes, writes_data])
def test_a_function_that_changes_its_argument_is_undecided_and_changes_nothing_of_the_user_s(f: Any) -> None:
    x = torch.tensor([0.5, 1.0])
    report = gc.verify(f, x)
    assert (bool(report), report.verdict) == (False, "undecided")
    assert report.missing == ("it changes its argument x",)
    assert x.tolist() == [0.5, 1.0]


class Scales(torch.autograd.Function):
    """exp, whose backward pass writes into the gradient that it is given."""

    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        y = x.exp()
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        return g.mul_(ctx.saved_tensors[0])


def test_a_backward_pass_that_changes_its_gradient_is_undecided_and_told_once_with_its_line() -> None:
    cotangent = torch.tensor([0.75, -2.0])
    report = gc.verify(Scales.apply, torch.tensor([0.5, 1.0]), cotangent=cotangent)
    assert (bool(report), report.verdict) == (False, "undecided")
    (missing,) = report.missing
    assert missing.startswith("in its backward pass Scales (")
    assert missing.endswith("changes the gradient that it is given, in place: others may hold it; give a new tensor")
    assert not report.culprits
    assert cotangent.tolist() == [0.75, -2.0]
    # A gradient that the graph made is its own to write to, or is seen in what others compute from it.
    assert gc.verify(lambda x: Scales.apply(x) * 2, torch.tensor([0.5, 1.0]))


@pytest.mark.parametrize("buffer", [torch.ones(2), np.ones(2)], ids=["tensor", "array"])
def test_an_argument_that_no_gradient_is_asked_for_may_not_be_changed_either(buffer: Any) -> None:
    def counts(x: Any, seen: Any) -> Any:
        seen += 1
        return x * 2

    report = gc.verify(counts, torch.tensor([0.5, 1.0]), buffer, wrt=["x"])
    assert report.missing == ("it changes its argument seen",)
    assert buffer.tolist() == [1.0, 1.0]


def test_a_list_that_grows_is_changed_too() -> None:
    report = gc.verify(lambda xs: xs.append(xs[0] * 2) or xs[1] * xs[0], [torch.ones(2)])
    assert report.missing == ("it changes its argument list or mapping",)


DRAWS: dict[str, Callable[..., Any]] = {
    "numpy": lambda x: x * float(np.random.rand()),
    "python": lambda x: x * random.random(),
}


@both
@pytest.mark.parametrize("draws", DRAWS)
def test_random_numbers_are_those_of_the_run_and_noted(name: str, draws: str) -> None:
    report = gc.verify(DRAWS[draws], at(name, 0.5, 1.0))
    assert report, str(report)
    assert [n for n in report.notes if n.startswith("it draws random numbers")]


def test_random_numbers_of_the_framework_are_noted_and_their_state_is_as_after_one_call() -> None:
    torch.manual_seed(0)
    report = gc.verify(lambda x: torch.nn.functional.dropout(x, 0.5), torch.ones(8))
    after = torch.rand(1)
    torch.manual_seed(0)
    torch.nn.functional.dropout(torch.ones(8), 0.5)
    assert torch.equal(after, torch.rand(1))
    assert [n for n in report.notes if n.startswith("it draws random numbers")]
    assert gc.verify(torch.sin, torch.ones(2)).notes == ()


@both
def test_a_function_that_answers_otherwise_every_time_is_undecided_and_no_deviation(name: str) -> None:
    """In JAX what is returned is of another run than the record: that is no proof of anything."""
    own = np.random.default_rng(0)
    report = gc.verify(lambda x: x * own.random(), at(name, 0.5, 1.0))
    assert (bool(report), report.verdict) == (False, "undecided")
    assert any("does not answer the same twice" in m for m in report.missing)


@both
def test_a_function_that_prints_is_heard_and_noted(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    def prints(x: Any) -> Any:
        print("step", x.shape)
        return x * 2

    report = gc.verify(prints, at(name, 0.5, 1.0))
    assert report, str(report)
    assert PRINTS in report.notes
    assert "step" in capsys.readouterr().out
    assert PRINTS not in gc.verify(lambda x: x * 2, at(name, 0.5)).notes


def test_forms_are_for_pytorch() -> None:
    with pytest.raises(gc.BadInput, match="forms: expected none for JAX"):
        gc.verify(jax.nn.relu, jnp.ones(2), forms={"a::b": jnp.sin})


def test_memory_is_estimated_before_it_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gradconform.reference.programs.record.available_memory", lambda: 2**27)
    with pytest.raises(gc.BadInput, match=r"takes about 0\.\d GiB to judge, and 0\.1 GiB of memory are available"):
        gc.verify(torch.sin, torch.ones(2_000_000))
    assert gc.verify(torch.sin, torch.ones(2))


def test_memory_that_runs_out_all_the_same_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def out(*_: Any) -> Any:
        raise MemoryError

    monkeypatch.setattr(judge, "report_of", out)
    with pytest.raises(gc.BadInput, match="memory ran out; verify at smaller arguments"):
        gc.verify(torch.sin, torch.ones(2))
