"""PyTorch programs are recorded as they run: correct ones are not accused, wrong rules are caught."""

from __future__ import annotations

import math
import random
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace
from shutil import which
from typing import Any

import numpy as np
import pytest
import torch
from programs_torch import CORRECT, DTYPES, FOREIGN, WRONG, Program, off_by, ruled
from torch import Tensor, nn
from torch.nn import functional as F

import gradconform as gc
from gradconform.adapters.record_torch import NotRecorded, record
from gradconform.adapters.recording.torch_modules import module_function
from gradconform.conformance.programs import completeness
from gradconform.conformance.programs.check_program import Gradient, gradients
from gradconform.conformance.programs.completeness import missing
from gradconform.conformance.programs.program_steps import check_steps
from gradconform.reference.arithmetic.formats import FORMATS
from gradconform.reference.arithmetic.profiles import profile
from gradconform.reference.cases import BadInput
from gradconform.reference.programs.record import looks_rounded
from gradconform.reference.programs.run import Run

OPENCL = profile("opencl")


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def run_of(program: Program, dtype: str, **more: Any) -> Run:
    return record(program.f, program.arguments(dtype), **more)


class Saturating(torch.autograd.Function):
    """The identity, whose backward is no linear function of the cotangent."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, g: torch.Tensor) -> torch.Tensor:
        return g.tanh()


def judged(run: Run) -> list[Gradient]:
    return list(gradients(run, OPENCL))


def formulas(run: Run) -> set[str | None]:
    return {g.judgement.formula for g in judged(run)}


def cases(programs: tuple[Program, ...]) -> list[Any]:
    return [pytest.param(p, d, id=f"{p.name} {d}") for d in DTYPES for p in programs if d in p.only]


def test_there_are_ninety_correct_programs_and_no_two_are_called_the_same() -> None:
    assert len({p.name for p in CORRECT}) == len(CORRECT) > 90


@pytest.mark.parametrize(("program", "dtype"), cases(CORRECT))
def test_a_correct_program_conforms(program: Program, dtype: str) -> None:
    assert {g.judgement.verdict for g in judged(run_of(program, dtype, replays=False))} == {"conforms"}


@pytest.mark.parametrize("program", [pytest.param(p, id=p.name) for p in CORRECT if "float32" in p.only])
def test_the_record_of_a_correct_program_is_complete_and_every_operation_is_within_its_rounding(
    program: Program,
) -> None:
    run = run_of(program, "float32")
    assert list(missing(run, OPENCL)) == []
    assert {s.execution for s in check_steps(run.backward, OPENCL)} <= {"within"}


@pytest.mark.parametrize(("program", "dtype"), cases(WRONG))
def test_a_wrong_program_is_caught(program: Program, dtype: str) -> None:
    run = run_of(program, dtype, replays=False)
    assert "wrong" in formulas(run)
    assert run.foreign == ()


@pytest.mark.parametrize(("program", "dtype"), cases(FOREIGN))
def test_numbers_that_leave_the_record_are_named_with_their_line(program: Program, dtype: str) -> None:
    run = run_of(program, dtype)
    assert run.foreign
    assert all("programs_torch.py:" in entry for entry in run.foreign)
    assert any("run again" in entry for entry in missing(run, OPENCL))


@pytest.mark.parametrize(("f", "evaluated"), [(lambda x: x * x.sin(), 1), (Saturating.apply, 2)])
def test_a_second_run_that_is_the_first_times_a_power_of_two_is_not_evaluated_again(
    f: Callable[..., Any], evaluated: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []
    replayed = completeness._replayed
    monkeypatch.setattr(completeness, "_replayed", lambda *x: asked.append(x) or replayed(*x))
    assert list(missing(record(f, [torch.tensor([0.5, 0.75], dtype=torch.float64)]), OPENCL)) == []
    assert len(asked) == evaluated


@pytest.mark.parametrize("size", [3, 300])
def test_a_route_that_computes_another_function_is_held_against_the_recorded_one(size: int) -> None:
    under_func = torch._C._functorch.is_gradtrackingtensor
    x = torch.linspace(1.0, 2.0, size)
    report = gc.verify(lambda x: (x**3 if under_func(x) else x**2).sum(), x, routes=("eager", "func"))
    assert [(g.route, g.judgement.verdict) for g in report.gradients] == [("eager", "conforms"), ("func", "deviates")]
    assert any("another function's" in note for note in report.notes)


@pytest.mark.parametrize("size", [3, 300])
def test_a_route_that_loses_digits_on_the_way_is_no_other_function(size: int) -> None:
    """torch.func takes log(1 + e^(−80)) for a log1p: its loss is 0 where eager's is 1.8e-35, and its slope is right."""
    x = torch.tensor([80.0, -80.0, 3.0] * (size // 3))
    report = gc.verify(
        lambda x: F.binary_cross_entropy_with_logits(x, torch.full_like(x, 0.25), reduction="none"),
        x, routes=("eager", "func"),
    )  # fmt: skip
    assert {g.judgement.formula for g in report.gradients} == {"right"}
    assert "deviates" not in {g.judgement.verdict for g in report.gradients}


def test_a_second_run_that_overflows_warns_of_nothing() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert gc.verify(torch.exp, torch.tensor([709.0], dtype=torch.float64))


def test_an_answer_that_changes_at_the_same_numbers_alone_is_caught() -> None:
    """Elsewhere it is as recorded: the second run has the first's numbers, and does not scale."""
    seen: list[int] = []

    def f(x: torch.Tensor) -> torch.Tensor:
        first = bool((x.detach() == 0.5).all())
        seen.append(first)
        return x * (2.0**20 + sum(seen) if first else 2.0**20 + 1)

    run = record(f, [torch.tensor([0.5, 0.5], dtype=torch.float64)])
    assert any("run again" in entry for entry in missing(run, OPENCL))


# Custom rules ---------------------------------------------------------------------------------------------------------


def test_a_custom_rule_is_run_alone_on_its_operands_and_found_wrong() -> None:
    rule = off_by(20)
    (found,) = record(lambda x: rule(x * 2).sum(), [torch.tensor([0.5, -1.25])]).rules
    assert found.name == "OffBy"
    assert "test_record_torch.py:" in found.line
    alone = found.alone()
    assert alone.forward.held[alone.arguments[0].ids].tolist() == [1.0, -2.5]
    assert formulas(alone) == {"wrong"}


def test_a_right_custom_rule_alone_is_right() -> None:
    program = next(p for p in CORRECT if p.name == "custom function")
    (found,) = run_of(program, "float32").rules
    assert formulas(found.alone()) == {"right"}


# Lines ----------------------------------------------------------------------------------------------------------------


def test_every_step_has_the_users_line_also_in_the_backward_pass() -> None:
    def f(x: Tensor) -> Tensor:
        y = torch.sin(x)
        return y * torch.exp(x)

    run = record(f, [torch.tensor([0.5])])
    lines = {s.name: s.line for s in run.backward.steps}
    first = f.__code__.co_firstlineno
    assert f"test_record_torch.py:{first + 1}, f" in lines["sin"]
    assert f"test_record_torch.py:{first + 1}, f (backward: SinBackward0)" in lines["cos"]


# What is returned -----------------------------------------------------------------------------------------------------


def test_an_argument_that_nothing_depends_on_has_a_gradient_of_zeros() -> None:
    run = record(lambda x, y: x * 2, [torch.tensor([0.5]), torch.tensor([[1.5]])])
    assert [r.tolist() for r in run.returned["eager"]][1] == [[0.0]]
    assert {g.judgement.verdict for g in judged(run)} == {"conforms"}


def test_a_subset_of_the_arguments_can_be_asked_for_by_name_or_number() -> None:
    def f(x: Tensor, others: dict[str, Tensor]) -> Tensor:
        return x * others["y"]

    args = [torch.tensor([0.5]), {"y": torch.tensor([1.5])}]
    assert [a.name for a in record(f, args).arguments] == ["x", "others.y"]
    assert [a.name for a in record(f, args, wrt=["others.y"]).arguments] == ["others.y"]
    assert [a.name for a in record(f, args, wrt=[0]).arguments] == ["x"]
    args[0].requires_grad_()  # type: ignore[attr-defined]
    assert [a.name for a in record(f, args).arguments] == ["x"]


def test_what_the_closure_holds_is_data() -> None:
    w = torch.tensor([1.5, -0.3], requires_grad=True)
    run = record(lambda x: (x * w).sum(), [torch.tensor([0.5, 0.25])])
    assert [a.name for a in run.arguments] == ["x"]
    assert {g.judgement.verdict for g in judged(run)} == {"conforms"}


def test_a_module_is_a_function_of_its_parameters_by_name_and_stays_as_it_was() -> None:
    module = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    before = {k: v.clone() for k, v in module.state_dict().items()}
    f, parameters = module_function(module)
    x = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    run = record(f, [parameters, x])
    assert [a.name for a in run.arguments] == [f"parameters.{n}" for n, _ in module.named_parameters()]
    assert "wrong" not in formulas(run)
    assert all(torch.equal(v, before[k]) for k, v in module.state_dict().items())


@pytest.mark.parametrize("training", [True, False])
def test_the_slopes_that_a_randomized_relu_drew_are_data(training: bool) -> None:
    x = torch.tensor([0.5, -1.25, -2.0, 0.25])
    report = gc.verify(lambda x: F.rrelu(x, training=training), x)
    assert report, str(report)
    fixed = gc.verify(lambda x: ruled("Mean", lambda x: F.rrelu(x, training=training),
                                      lambda g, x: torch.where(x > 0, g, g * 0.25))(x), x)  # fmt: skip
    assert fixed.formula == "wrong"
    with pytest.raises(NotRecorded, match="rrelu in training in bfloat16"):
        record(lambda x: F.rrelu(x, training=True), [x.bfloat16()])


class Scaled(nn.Module):
    """Whose input has the name of its parameters."""

    def forward(self, parameters: Tensor, y: Tensor) -> Tensor:
        return parameters * y


def test_the_inputs_of_a_module_have_their_names() -> None:
    x = torch.tensor([0.5, -1.25])
    named = gc.verify(nn.CrossEntropyLoss(), x[None], torch.tensor([1]))
    assert list(named.table.argument) == ["input"]
    assert list(gc.verify(nn.Linear(2, 1), x, wrt="input").table.argument) == ["input"]
    assert list(gc.verify(Scaled(), x, x).table.argument) == ["argument 1", "argument 2"]


#: Of a layer, its weight and its offset.
LAYERS: dict[str, tuple[Callable[..., Tensor], list[tuple[int, ...]]]] = {
    "batch norm": (lambda x, w, b: F.batch_norm(x, None, None, w, b, training=True), [(4, 3), (3,), (3,)]),
    "batch norm in use": (lambda x, w, b: F.batch_norm(x, x.new_zeros(3), x.new_ones(3), w, b), [(4, 3), (3,), (3,)]),
    "layer norm": (lambda x, w, b: F.layer_norm(x, (3,), w, b), [(4, 3), (3,), (3,)]),
    "group norm": (lambda x, w, b: F.group_norm(x, 2, w, b), [(2, 4, 3), (4,), (4,)]),
    "convolution": (F.conv1d, [(2, 2, 4), (3, 2, 2), (3,)]),
    "transposed convolution": (F.conv_transpose1d, [(2, 2, 4), (2, 3, 2), (3,)]),
}


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("wrt", [[0], [1], [2], [0, 1], [0, 2], [1, 2]], ids=str)
@pytest.mark.parametrize("layer", LAYERS)
def test_each_gradient_of_a_layer_is_the_one_that_was_asked_for(layer: str, wrt: list[int], dtype: str) -> None:
    """A kernel leaves out what is not asked for, or gives it all the same; so does its definition, otherwise."""
    f, shapes = LAYERS[layer]
    generator = torch.Generator().manual_seed(0)
    arguments = [torch.randn(shape, generator=generator) for shape in shapes]
    report = gc.verify(f, *arguments, wrt=wrt, dtype=dtype)
    assert (report.formula, report.execution, report.complete) == ("right", "within", True), report
    if 2 in wrt:
        wrong = gc.verify(lambda x, w, b: f(x, w, off_by(8)(b)), *arguments, wrt=wrt, dtype="float32")
        assert wrong.formula == "wrong"


@pytest.mark.parametrize("name", ["detached", "no gradient"])
def test_a_stop_of_the_gradient_is_right_where_it_is_intended_and_noted(name: str) -> None:
    program = next(p for p in WRONG if p.name == name)
    run = run_of(program, "float32", stop_gradient="intended")
    assert formulas(run) == {"right"}
    assert list(missing(run, OPENCL)) == []
    assert len(run.notes) == 1
    assert "programs_torch.py:" in run.notes[0]


def test_cotangents_have_full_significands_and_differ() -> None:
    run = record(torch.sin, [torch.linspace(-1, 1, 50, dtype=torch.float64)])
    (adjoints,) = (run.backward.held[c] for c in run.cotangents)
    assert len(set(adjoints.tolist())) == 50
    assert all(not math.ldexp(math.frexp(x)[0], 30).is_integer() for x in adjoints)


def test_cotangents_can_be_given() -> None:
    run = record(lambda x: x * 3, [torch.tensor([0.5, 1.0])], cotangents=torch.tensor([1.0, 2.0]))
    assert run.returned["eager"][0].tolist() == [3.0, 6.0]


def test_drawn_masks_are_the_same_in_every_run_and_the_generators_go_on_as_after_one_run() -> None:
    def f(x: Tensor) -> Tensor:
        return F.dropout(x, 0.5) * float(np.random.default_rng(1).random()) * random.choice([1.0, 2.0])

    x = torch.linspace(1, 2, 40, dtype=torch.float64)
    torch.manual_seed(3)
    once = (f(x), torch.rand(2))[1]
    torch.manual_seed(3)
    run = record(f, [x])
    assert list(missing(run, OPENCL)) == []
    assert torch.equal(torch.rand(2), once)


def test_replays_are_displaced_and_scaled() -> None:
    x = torch.tensor([0.5, 0.5, -3.0])
    elsewhere, scaled = record(torch.exp, [x]).replays
    (moved,) = elsewhere.given
    assert moved[0] == moved[1] != 0.5
    assert np.abs(moved / x.numpy() - 1).max() < 2.0**-9
    assert scaled.given[0].tolist() == x.tolist()


def test_the_compiled_route_is_held_against_the_record() -> None:
    calls = []

    def compiled(f: Any) -> Any:
        calls.append(f)
        return lambda *args: f(*args) * 1.5

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "compile", compiled)
        run = record(torch.sin, [torch.tensor([0.5, 0.25])], routes=("eager", "compile"))
    assert calls
    assert {g.route: g.judgement.execution for g in judged(run)} == {"eager": "within", "compile": "outside"}


def test_what_a_compiled_program_gives_that_is_the_eager_one_s_number_is_as_far_off() -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "compile", lambda f: f)
        report = gc.verify(torch.i0, torch.tensor([90.0]), routes=("eager", "compile"))  # inf, of a number in range
    assert list(report.table["verdict"]) == ["deviates", "deviates"]


def test_the_largest_number_of_a_format_is_meant() -> None:
    """Masks are filled with it; by an ulp more it would be infinite."""
    assert not looks_rounded(torch.finfo(torch.float32).min, FORMATS["float32"])
    assert not looks_rounded(torch.finfo(torch.float64).max, FORMATS["float64"])
    assert looks_rounded(3.4e38, FORMATS["float64"])


# What is refused ------------------------------------------------------------------------------------------------------


def test_a_kernel_without_a_definition_is_named_with_what_to_do() -> None:
    with pytest.raises(NotRecorded, match=r"aten\._standard_gamma.*forms=\{'aten::_standard_gamma': f\}"):
        record(torch._standard_gamma, [torch.tensor([0.5, 2.0])])


def test_a_definition_that_raises_is_no_fault_of_the_function() -> None:
    def narrow(x: Tensor) -> Tensor:
        return x.reshape(2, 2)

    with pytest.raises(
        NotRecorded, match=r"i1e.* has a definition that raised RuntimeError here, shape .*: give another"
    ):
        record(torch.special.i1e, [torch.tensor([0.5, 2.0, 1.0])], definitions={"aten::special_i1e": narrow})


def test_an_operator_of_functions_is_refused_with_what_to_write_instead() -> None:
    def chosen(x: Tensor) -> Any:
        return torch.cond(x.sum() > 0, lambda x: x.sin(), lambda x: x.cos(), (x,))

    with pytest.raises(NotRecorded, match=r"the operator cond of functions .*Python's own if, for or while"):
        record(chosen, [torch.tensor([0.5, 2.0])])


def test_a_dtype_that_a_kernel_lacks_is_told_as_that_whatever_its_definition_says_to_the_shapes() -> None:
    x, q = torch.tensor([[2.5], [3.0]], dtype=torch.bfloat16), torch.tensor([2.5, 3.5], dtype=torch.bfloat16)
    with pytest.raises(BadInput, match="\"zeta_cpu\" not implemented for 'BFloat16'"):
        record(torch.special.zeta, [x, q])


def test_a_kernel_whose_decomposition_sums_in_each_operation_of_16_bits_is_recorded() -> None:
    x = torch.tensor([[0.5, -1.25, 2.0, 0.75]], dtype=torch.bfloat16)
    assert {g.judgement.verdict for g in judged(record(lambda x: torch.var_mean(x, dim=1, correction=0), [x]))} == {
        "conforms"
    }


def test_a_definition_can_be_given_for_an_operation_of_ones_own() -> None:
    @torch.library.custom_op("gradconform_tests::cubed", mutates_args=())
    def cubed(x: Tensor) -> Tensor:
        return x * x * x

    cubed.register_autograd(
        lambda ctx, g: g * ctx.saved_tensors[0] ** 2 * 3,
        setup_context=lambda ctx, inputs, output: ctx.save_for_backward(*inputs),
    )
    x = torch.tensor([0.5, -1.25])
    with pytest.raises(NotRecorded, match="gradconform_tests::cubed"):
        record(cubed, [x])
    run = record(cubed, [x], definitions={"gradconform_tests::cubed": lambda x: x**3})
    assert {g.judgement.verdict for g in judged(run)} == {"conforms"}


@pytest.mark.parametrize("factor", [3.0, 2.997])
def test_what_an_operation_of_ones_own_is_inside_is_not_looked_at_where_it_has_a_definition(factor: float) -> None:
    @torch.library.custom_op("gradconform_tests::cubed_by_numpy", mutates_args=())
    def cubed(x: Tensor) -> Tensor:
        return torch.from_numpy(x.numpy() ** 3)

    cubed.register_autograd(
        lambda ctx, g: g * ctx.saved_tensors[0] ** 2 * factor,
        setup_context=lambda ctx, inputs, output: ctx.save_for_backward(*inputs),
    )
    report = gc.verify(cubed, torch.tensor([0.5, -1.25]), forms={"gradconform_tests::cubed_by_numpy": lambda x: x**3})
    assert report.complete, report
    assert report.formula == ("right" if factor == 3 else "wrong")
    assert all(c.endswith("its rule is wrong by argument 0") for c in report.culprits)


@pytest.mark.parametrize(
    ("args", "more", "message"),
    [
        ([torch.tensor([1])], {}, "no floating-point tensor"),
        (torch.tensor([1.0]), {}, "expected the list"),
        ([torch.tensor([1.0])], {"wrt": ["z"]}, "no argument is called 'z'; there are x"),
        ([torch.tensor([1.0])], {"names": ["a", "b"]}, "got 2; expected 1"),
        ([torch.tensor([1.0])], {"cotangents": torch.ones(3)}, r"got the shape \(3,\)"),
        ([torch.tensor([1.0])], {"routes": ("jit",)}, "'eager', 'compile' or 'func'"),
    ],
)
def test_bad_input_is_told_what_was_expected(args: Any, more: Any, message: str) -> None:
    def f(x: Tensor) -> Tensor:
        return x * 2

    with pytest.raises(BadInput, match=message):
        record(f, args, **more)


def test_an_error_of_the_function_is_its_own() -> None:
    with pytest.raises(BadInput, match="f raised RuntimeError"):
        record(lambda x: x @ x, [torch.ones(2, 3)])


def test_the_arguments_are_left_as_they_were() -> None:
    x = torch.tensor([0.5, -1.0])
    record(lambda y: y.mul(2).relu_(), [x])
    assert x.tolist() == [0.5, -1.0]
    assert not x.requires_grad


class _BatchedOtherwise(torch.autograd.Function):  # type: ignore[misc, unused-ignore]
    """x², whose slope is half a per cent off under torch.func."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Any) -> Any:
        return x * x

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        ctx.save_for_backward(inputs[0])

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        (x,) = ctx.saved_tensors
        eager = torch._C._functorch.maybe_current_level() is None
        return g * x * (2.0 if eager else 2.01)


def test_the_gradient_by_torch_func_is_judged_and_one_that_is_wrong_there_alone_deviates() -> None:
    x = torch.tensor([0.5, -1.25])
    right = gc.verify(lambda x: (x * x.exp()).sum(), x, routes=("eager", "func"))
    assert bool(right)
    assert list(right.table["route"]) == ["eager", "func"]
    wrong = gc.verify(_BatchedOtherwise.apply, x, routes=("eager", "func"))
    assert dict(zip(wrong.table["route"], wrong.table["verdict"], strict=True)) == {
        "eager": "conforms", "func": "deviates"}  # fmt: skip


@pytest.mark.skipif(not (which("c++") or which("g++")), reason="torch.compile needs a C++ compiler")
def test_a_compiled_function_draws_the_random_numbers_of_the_eager_one() -> None:
    x = torch.tensor([0.5, -1.25, 2.0, 0.25, 1.0, -0.5, 0.75, 1.5])
    report = gc.verify(lambda x: F.dropout(x.sin(), 0.5), x, routes=("eager", "compile"))
    assert report, str(report)


def test_another_mask_in_a_compiled_function_deviates() -> None:
    x = torch.tensor([0.5, -1.25, 2.0, 0.25, 1.0, -0.5, 0.75, 1.5])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "compile", lambda f, options=None: lambda *x: [torch.rand(()), f(*x)][1])
        report = gc.verify(lambda x: F.dropout(x.sin(), 0.5), x, routes=("eager", "compile"))
    assert dict(zip(report.table.route, report.table.execution, strict=True)) == {
        "eager": "within", "compile": "outside"}  # fmt: skip


def test_what_torch_func_gives_is_judged_by_its_own_program() -> None:
    matrix = torch.randn(3, 3, generator=torch.Generator().manual_seed(2))
    report = gc.verify(torch.linalg.det, matrix, routes=("eager", "func"))  # which solves with the matrix anew there
    assert bool(report)
    eager, by_func = report.runs
    assert (eager.route, by_func.route) == ("eager", "func")
    by_eager = replace(eager, returned=by_func.returned)  # by which it would be called wrong
    assert {g.judgement.execution for g in judged(by_eager)} == {"outside"}


def test_numbers_of_the_text_that_vmap_makes_tensors_of_are_rounded_there_and_no_other_numbers() -> None:
    x = torch.tensor(0.3)
    assert bool(gc.verify(lambda x: x * torch.sigmoid(1.702 * x), x, routes="func"))
    off = gc.verify(
        lambda x: x * torch.sigmoid(1.702 * x) * 1.0000001,
        x,
        routes="func",
        definition=lambda o, x: x * o.sigmoid(x * 1.702),
    )
    assert set(off.table["formula"]) == {"wrong"}


def test_what_torch_func_gives_by_a_record_that_is_not_complete_is_held_against_the_eager_program() -> None:
    x, y = torch.tensor([[0.5, -1.25], [2.0, 0.25]]), torch.tensor([[1.5, 0.75]])
    report = gc.verify(torch.cdist, x, y, routes=("eager", "func"))
    # Each row of vmap is the first one's: so PyTorch 2.13 has it.
    assert dict(zip(report.table["route"], report.table["execution"], strict=True)) == {
        "eager": "within", "func": "outside"}  # fmt: skip
    assert "func: held against the program of eager, its own left the record" in str(report)


def test_what_a_function_stops_is_noted_and_meant_under_torch_func_too() -> None:
    x = torch.tensor([0.5, -1.25])
    through = gc.verify(lambda x: x.detach() * x, x, routes=("eager", "func"))
    assert list(through.table["formula"]) == ["wrong", "wrong"]
    assert bool(gc.verify(lambda x: x.detach() * x, x, routes=("eager", "func"), stop_gradient="intended"))


def _compiled_to(g: Any) -> gc.Report:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "compile", lambda f: g)
        x = torch.tensor([30.0, 40.0])
        return gc.verify(lambda x: torch.exp(x) * torch.exp(x / 3), x, routes=("eager", "compile"))


def test_a_compiled_program_that_rounds_otherwise_is_undecided_and_one_that_is_farther_off_deviates() -> None:
    assert bool(_compiled_to(lambda x: torch.exp(x + x / 3)))
    open_ = _compiled_to(lambda x: torch.exp(x + x / 3) * (1 + 2.0**-17))
    assert list(open_.table["verdict"]) == ["conforms", "undecided"]
    assert "program: it is not that of eager, which was recorded" in str(open_)
    far = _compiled_to(lambda x: torch.exp(x + x / 3) * (1 + 2.0**-12))
    assert list(far.table["verdict"]) == ["conforms", "deviates"]


@pytest.mark.parametrize("f", [F.logsigmoid, torch.nan_to_num, F.gelu])
def test_a_kernel_of_nothing_computes_nothing(f: Any) -> None:
    for shape, kernels in (((1, 0, 3), False), ((1, 2, 3), True)):
        run = record(f, [torch.full(shape, 0.5)])
        assert run.results[0].shape == shape
        assert any(step.out.size for step in run.backward.steps) == kernels


@pytest.mark.parametrize("name", ["silu", "mish", "gelu", "hardswish", "softplus"])
def test_what_is_judged_is_what_is_returned_where_nobody_observes(name: str) -> None:
    """Of `silu_backward` and `mish_backward` PyTorch has a kernel, and a composition that rounds otherwise."""
    f = getattr(torch.nn.functional, name)
    x = torch.linspace(-3.0, 3.0, 700)
    run = record(f, (x,), values=True)
    plain = x.clone().requires_grad_()
    y = f(plain)
    (slope,) = torch.autograd.grad(y, plain, torch.tensor(run.backward.held[run.cotangents[0]]).float())
    assert (np.asarray(run.values["eager"][0]) == y.detach().double().numpy()).all()
    assert (np.asarray(run.returned["eager"][0]) == slope.double().numpy()).all()
