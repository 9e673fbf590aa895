"""A deep program piece by piece: right by the chain rule, or the part at fault by name."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from gradconform.adapters.record_torch import record  # noqa: E402
from gradconform.conformance.programs import check_program, check_program_arrays, pieces  # noqa: E402
from gradconform.conformance.programs.array_truths import Truths  # noqa: E402
from gradconform.conformance.programs.check_program import Gradient  # noqa: E402
from gradconform.conformance.programs.pieces import Pieces, by_pieces  # noqa: E402
from gradconform.conformance.programs.report import EXCUSES, _unknown  # noqa: E402
from gradconform.conformance.programs.shown import ANYWHERE  # noqa: E402
from gradconform.conformance.programs.size import work  # noqa: E402
from gradconform.conformance.verify import verify  # noqa: E402
from gradconform.reference.arithmetic.profiles import OPENCL  # noqa: E402
from gradconform.reference.judge import FORMULA, Judgement  # noqa: E402
from gradconform.reference.programs.run import Run  # noqa: E402

F = torch.nn.functional


class Part(torch.autograd.Function):
    """Written by way of a view, of which PyTorch knows no derivative."""

    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        y = x.clone()
        y[0] *= 2
        part = y[1:]
        part += 0.5
        return y

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        return torch.cat([2 * g[:1], g[1:]])


class Scaled(torch.autograd.Function):
    """The number itself, whose gradient is off by a part of it."""

    @staticmethod
    def forward(ctx: Any, x: Any, by: float) -> Any:
        ctx.by = by
        return x.clone()

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        return g * (1 + ctx.by), None


def _numbers(*shape: int, seed: int = 0) -> Any:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def _pieces(f: Callable[..., Any], *args: Any) -> Pieces:
    return by_pieces(record(f, args, replays=False), OPENCL)


def _attention(layers: int, by: float = 0.0) -> Callable[..., Any]:
    def attention(x: Any, w: Any) -> Any:
        for k in range(layers):
            q = F.layer_norm(x, x.shape[-1:]) @ w
            x = x + F.softmax(q @ q.T, -1) @ q
            if by and k == layers // 2:
                x = Scaled.apply(x, by)
        return F.layer_norm(x, x.shape[-1:])

    return attention


def _rotated(x: Any, c: Any) -> Any:
    return x * torch.cos(c) + torch.cat([-x[..., 2:], x[..., :2]], -1) * torch.sin(c)


def _beside_its_own(x: Any) -> Any:
    a = F.normalize(x[:, :3], dim=-1)
    b = x[:, 3:] - (a * x[:, 3:]).sum(-1, keepdim=True) * a
    return torch.stack([a, b, torch.linalg.cross(a, b)], -2)


def _masked(x: Any, w: Any) -> Any:
    score = (x @ w).masked_fill(torch.ones(3, 3).triu(1).bool(), -math.inf)
    return torch.softmax(score + torch.tensor([[0.0, 0.0, -math.inf]]), -1) @ x


def _in_place(x: Any, w: Any) -> Any:
    y = x * w
    y *= 2
    y += x.sum()
    return y.exp_().t()


def _looked_up(w: Any, x: Any) -> Any:
    return F.embedding(torch.tensor([[0, 1], [1, 1]]), w) * x[:, None] + w.sum(0)


#: Functions of which each part is right: what reads another's output beside the number itself, views and copies of
#: numbers in several places, numbers that are outputs and go on, masks, and what is changed in place.
COVERED = {
    "the output of another": (lambda x: (x - torch.logsumexp(x, -1, keepdim=True)) * x.std(), [_numbers(3, 4)]),
    "rotated halves": (_rotated, [_numbers(3, 4), _numbers(3, 4, seed=1)]),
    "stacked with its own": (_beside_its_own, [_numbers(2, 6)]),
    "masks": (_masked, [_numbers(3, 3), _numbers(3, 3, seed=1)]),
    "in place": (_in_place, [_numbers(3, 4), _numbers(3, 4, seed=1)]),
    "looked up": (_looked_up, [_numbers(3, 2), _numbers(2, 2, seed=1)]),
    "several outputs": (lambda x: (e := x.exp(), e * x, *x.tanh().unbind(), e), [_numbers(3, 4)]),
    "an argument itself": (lambda x, w: (x, torch.tanh(x @ w)), [_numbers(2, 3), _numbers(3, 3, seed=1)]),
    "a layer": (lambda x, w, b: F.gelu(F.linear(x, w, b)).softmax(-1),
                [_numbers(3, 4), _numbers(5, 4, seed=1), _numbers(5, seed=2)]),
    "a rule that writes by way of a view": (lambda x: Part.apply(x.exp()).sin(), [_numbers(3, 4)]),
    "attention": (_attention(2), [_numbers(5, 6), _numbers(6, 6, seed=1)]),
}  # fmt: skip


@pytest.mark.parametrize("name", COVERED)
def test_of_a_right_program_every_piece_is_right_and_they_are_all_of_it(name: str) -> None:
    f, args = COVERED[name]
    found = _pieces(f, *args)
    assert [s for s in found.said if s.formula != "right"] == []
    assert found.covered
    assert found.right
    assert found.bits >= 45


@pytest.mark.parametrize("by", [1.0, 2.0**-20, -(2.0**-40)])
def test_what_is_off_in_one_place_is_that_piece_s(by: float) -> None:
    found = _pieces(_attention(4, by), _numbers(5, 6), _numbers(6, 6, seed=1))
    assert found.covered
    wrong = [s for s in found.said if s.formula == "wrong"]
    assert ["ScaledBackward" in s.piece.by[0] for s in wrong] == [True]
    assert {s.formula for s in found.said} == {"right", "wrong"}
    assert not found.right


def _hooked(x: Any) -> Any:
    y = x.exp()
    y.register_hook(lambda g: 2 * g)
    return y.tanh() * x


def test_a_hook_that_changes_a_gradient_is_its_piece_s() -> None:
    found = _pieces(_hooked, _numbers(3))
    assert [s.piece.name.split()[0] for s in found.said if s.formula == "wrong"] == ["ExpBackward"]


#: Programs of which the pieces are not all, or are other numbers than those that were read: none is called wrong, and
#: nothing is right by them.
OPEN = {
    "detached": lambda x: x * torch.exp(x.sin().detach()),
    "without gradients": lambda x: x.exp() * _without(x),
    "a part changed in place": lambda x: _partly(x * x),
    "computed again": lambda x: torch.log(x * x + 2) * torch.exp(x * x),
    "a checkpoint": lambda x: torch.utils.checkpoint.checkpoint(lambda y: y.sin().exp().tanh(), x, use_reentrant=False),
}


def _partly(y: Any) -> Any:
    y[0] *= 2
    return y.exp()


def _partly_read(y: Any) -> Any:
    v = y[1]
    v.mul_(2)
    return (y + v).sin()


def _without(x: Any) -> Any:
    with torch.no_grad():
        return x.cos().exp()


@pytest.mark.parametrize("name", OPEN)
def test_what_the_pieces_do_not_cover_is_not_right_by_them_and_none_is_wrong(name: str) -> None:
    found = _pieces(OPEN[name], _numbers(3, 4))
    assert not found.right
    assert [s for s in found.said if s.formula == "wrong"] == []
    assert list(found.notes) == []


def _run_again(x: Any) -> Any:
    return torch.utils.checkpoint.checkpoint(lambda y: y.exp().sin() * y, x, use_reentrant=False).cos()


def _kept_in_fewer_digits(x: Any) -> Any:
    with torch.autograd.graph.saved_tensors_hooks(lambda t: t.float(), lambda t: t.double()):
        return x.exp().sin() * x


@pytest.mark.parametrize("f", [_run_again, _kept_in_fewer_digits])
def test_what_the_backward_pass_has_by_another_rounding_is_not_called_wrong(f: Callable[..., Any]) -> None:
    found = _pieces(f, _numbers(3))
    assert found.covered
    assert {s.formula for s in found.said} == {"right", "unknown"}
    assert verify(f, _numbers(3), replays=False).formula == "right"


def test_a_part_that_is_changed_in_place_and_read_accuses_nobody() -> None:
    found = _pieces(lambda x: _partly_read(x * x), _numbers(3, 4))
    assert not found.covered
    assert list(found.notes) == []
    assert verify(lambda x: _partly_read(x * x), _numbers(3, 4), replays=False).formula == "right"


def test_an_operand_that_is_made_once_more_and_a_wrong_rule_beside_it_raise_nothing() -> None:
    def f(x: Any) -> Any:
        y = Scaled.apply(x, 0.25)
        a, b = torch.nn.functional.softmax(y, -1), y.t()
        return Scaled.apply(a - a.mean(0, keepdim=True), 0.5) * (b @ a)

    found = _pieces(f, _numbers(3, 3))
    assert not found.right
    assert "wrong" in {s.formula for s in found.said}


class WrongBeside(torch.autograd.Function):
    """A sine, whose rule computes the sine once more in place of the cosine."""

    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        ctx.save_for_backward(x)
        return x.sin()

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        return g * ctx.saved_tensors[0].sin()


def test_a_rule_that_computes_its_own_output_once_more_is_called_wrong() -> None:
    found = _pieces(lambda x: WrongBeside.apply(x.exp()).cos(), _numbers(3))
    assert found.covered
    assert [s.piece.by[0].split()[0] for s in found.said if s.formula == "wrong"] == ["WrongBesideBackward"]


class LogWithoutPole(torch.autograd.Function):
    """A logarithm whose gradient at 0 is `of_pole`, whatever it is asked for."""

    of_pole = 0.0

    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        ctx.save_for_backward(x)
        return x.log()

    @classmethod
    def backward(cls, ctx: Any, g: Any) -> Any:
        (x,) = ctx.saved_tensors
        return torch.where(x == 0, torch.full_like(x, cls.of_pole), g / x)


class LogWithAnother(LogWithoutPole):
    of_pole = 1.0


@pytest.mark.parametrize("log", [LogWithoutPole, LogWithAnother])
def test_of_a_pole_whose_gradient_is_0_nothing_is_known(log: Any) -> None:
    def f(x: Any) -> Any:
        return log.apply(x).exp() + x.sin()

    x = torch.tensor([0.0, 1.0, 2.0], dtype=torch.float64)
    found = _pieces(f, x)
    assert [s.formula for s in found.said if s.formula != "right"] == ["unknown"]
    assert not found.right
    assert verify(f, x, replays=False).formula == "singular"


def test_a_masked_number_s_infinity_is_no_pole() -> None:
    masked = torch.tensor([0.0, -math.inf, 0.0], dtype=torch.float64)
    assert _pieces(lambda x: F.log_softmax(x.sin() + masked, -1)[0] * x, _numbers(3)).right


def test_a_view_that_is_changed_in_place_is_not_asked_for_its_node_while_that_is_made() -> None:
    """Autograd makes it under a lock, by operations that the recorder sees: asked there it waited for ever."""

    def f(z: Any) -> Any:
        y = z.exp() * 1
        y.imag.mul_(2)
        return y.abs()

    z = torch.complex(_numbers(3), _numbers(3, seed=1))
    found = _pieces(f, z)
    assert [s for s in found.said if s.formula == "wrong"] == []
    assert verify(f, z, replays=False).formula == "right"


class Doubled(torch.autograd.Function):
    """What it is given is twice as large."""

    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        x.mul_(2)
        ctx.mark_dirty(x)
        return x

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        return 2 * g


def test_a_view_that_a_rule_changes_in_place_is_not_asked_whether_it_is_a_leaf() -> None:
    """As above: it waited for ever."""

    def f(x: Any) -> Any:
        y = x * 3
        Doubled.apply(y[0])
        return y.sin()

    assert verify(f, _numbers(3), replays=False).formula == "right"


@pytest.fixture
def without_balls(monkeypatch: pytest.MonkeyPatch) -> None:
    """Programs of any size are judged by arrays alone, as the large ones are."""
    monkeypatch.setattr(check_program, "AFFORDABLE", 0)
    monkeypatch.setattr(check_program_arrays, "FORMULA_AFFORDABLE", 0)


@pytest.mark.usefixtures("without_balls")
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_program_that_is_too_deep_is_right_piece_by_piece(dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    args = _numbers(5, 6), _numbers(6, 6, seed=1) / 2
    found = verify(_attention(8), *args, dtype=dtype, replays=False)
    assert found.formula == "right"
    assert {g.judgement.verdict for g in found.gradients} == {"vacuous"}
    assert "piece by piece: each of" in str(found)
    assert all(g.formula_bits >= 45 for g in found.gradients)
    monkeypatch.setattr("gradconform.conformance.programs.report.by_pieces", lambda run, profile: Pieces())
    without = verify(_attention(8), *args, dtype=dtype, replays=False)
    assert without.formula == "unknown"


@pytest.mark.parametrize("by", [2.0**-3, 2.0**-20])
def test_a_fault_in_a_program_that_is_too_deep_is_named(by: float) -> None:
    found = verify(_attention(8, by), _numbers(5, 6), _numbers(6, 6, seed=1) / 2, dtype="float64", replays=False)
    assert found.formula in ("wrong", "unknown")
    assert not found
    if found.formula == "unknown":
        (note,) = [n for n in str(found).splitlines() if "piece by piece" in n]
        assert "1 is not the derivative of that part of the function: from ScaledBackward" in note


def test_where_the_whole_is_wrong_and_no_rule_is_at_fault_the_piece_is_named() -> None:
    found = verify(_hooked, _numbers(3), replays=False)
    assert found.formula == "wrong"
    (note,) = [n for n in found.notes if "piece by piece" in n]
    assert "1 is not the derivative of that part of the function: from TanhBackward" in note
    assert note.split(" to ")[1].startswith("ExpBackward")


@pytest.mark.usefixtures("without_balls")
def test_where_rounding_may_give_anything_what_was_returned_is_within_that() -> None:
    found = verify(_attention(24), _numbers(5, 6), _numbers(6, 6, seed=1) / 2, dtype="float32", replays=False)
    for g in found.gradients:
        j = g.judgement
        assert (j.formula, j.execution, j.verdict, j.reason) == ("right", "within", "vacuous", ANYWHERE)


@pytest.mark.parametrize("why", EXCUSES)
def test_a_formula_that_is_excused_is_not_right_by_pieces(why: str) -> None:
    judgement = Judgement("undecided", 1.0, formula="unknown", execution="undecided", reason=f"{why}; further")
    excused = Gradient("x", "eager", judgement, 0.0, dtype="float32")
    assert not _unknown(excused)
    assert _unknown(replace(excused, judgement=replace(judgement, reason=None)))


def test_balls_are_asked_of_all_pieces_no_more_than_of_a_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of each of two pieces, but not of both."""
    run = record(lambda x: x.exp().sin(), [_numbers(400)], replays=False)
    asked: list[int] = []

    def unknown(truths: Any, number: int) -> Any:
        found = formulas(truths, number)
        return replace(found, codes=np.zeros_like(found.codes) + FORMULA.index("unknown"))

    def counted(of: Run, profile: Any, found: Any) -> Any:
        asked.append(work(of))
        return found

    formulas = Truths.formulas
    monkeypatch.setattr(Truths, "formulas", unknown)
    monkeypatch.setattr(pieces, "by_balls_too", counted)
    by_pieces(run, OPENCL)
    assert len(asked) == 2
    monkeypatch.setattr(pieces, "FORMULA_AFFORDABLE", sum(asked) - 1)
    asked.clear()
    by_pieces(run, OPENCL)
    assert len(asked) == 1
