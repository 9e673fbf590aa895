"""Factorizations of matrices before `gc.verify`: what solves equations, in balls."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest
import torch
from flint import arb
from tests_support import BENCHMARKS, benchmark
from torch import Tensor

import gradconform as gc
from gradconform.adapters.recording.factorizations import Solved
from gradconform.reference.arithmetic.exact import precision
from gradconform.reference.cases import BadInput
from gradconform.reference.programs.implicit import Equations, Exponential
from gradconform.reference.programs.record import Record

sys.path.insert(0, str(BENCHMARKS))

wrong_torch = benchmark("wrong_torch")
wrong = benchmark("wrong_programs")

SUBJECTS = {s.name: s for s in wrong_torch.SUBJECTS}
#: One of each kind; benchmarks/wrong_programs.py asks about all.
WRONG = ("Inverse", "Solve", "Determinant", "Cholesky", "Eigenvalues", "Eigenvectors", "SingularValues",
         "TriangularFactor", "Pseudoinverse", "Exponential")  # fmt: skip
MATRIX = torch.tensor([[2.5, 0.25, -0.5], [0.75, 3.0, 0.125], [-0.25, 1.0, 4.0]], dtype=torch.float64)
TALL = torch.tensor([[2.0, 0.5], [-0.25, 3.0], [1.0, -1.5]], dtype=torch.float64)


def eigen(values: np.ndarray, vectors: np.ndarray) -> Equations:  # type: ignore[type-arg]
    """The equations of a symmetric matrix, which stand in a record of their own."""
    record = Record()
    solved = Solved(record)
    solved.eigenvectors(record.new(vectors.shape), values, vectors)
    (found,) = solved.solutions
    assert isinstance(found, Equations)
    return found


def numbers(matrix: Any, of: Equations | Exponential) -> dict[int, arb]:
    flat = np.asarray(matrix, dtype=np.float64).ravel().tolist()
    return {0: arb(0), 1: arb(1), **{i: arb(x) for i, x in zip(of.operands, flat, strict=True)}}


def solved(matrix: Any, off: float = 0.0) -> tuple[Equations, dict[int, arb], list[arb]]:
    values, vectors = np.linalg.eigh(np.asarray(matrix))
    equations = eigen(values + off, vectors)
    known = numbers(matrix, equations)
    found = equations.values(known.__getitem__, [*(values + off), *vectors.ravel()])
    assert found is not None
    return equations, known | dict(zip(equations.unknowns, found, strict=True)), found


# The solver -----------------------------------------------------------------------------------------------------------


def test_eigenvalues_are_enclosed_in_every_digit_of_the_precision() -> None:
    with precision(300):
        _, _, found = solved([[2.0, 1.0], [1.0, 2.5]], off=1e-4)
        root = arb(17) ** arb("0.5") / 4
        for ball, exact in zip(found[:2], (arb("2.25") - root, arb("2.25") + root), strict=True):
            assert ball.overlaps(exact)
            assert ball.rel_accuracy_bits() > 270


def test_the_adjoint_of_an_eigenvalue_is_the_product_of_its_vector() -> None:
    with precision(160):
        equations, known, found = solved([[2.0, 1.0], [1.0, 2.5]])
        pulled = equations.pull(known.__getitem__, [arb(1), *[arb(0)] * 5])
        assert pulled is not None
        x, y = found[2], found[4]
        for got, exact in zip(pulled, (x * x, x * y, y * x, y * y), strict=True):
            assert got.overlaps(exact)
            assert got.rel_accuracy_bits() > 100


def test_a_start_that_leads_to_one_eigenvector_twice_is_not_a_solution() -> None:
    with precision(160):
        values, vectors = np.linalg.eigh(np.array([[2.0, 1.0], [1.0, 2.5]]))
        twice = np.stack([vectors[:, 0]] * 2, 1)
        equations = eigen(values[[0, 0]], twice)
        known = numbers([[2.0, 1.0], [1.0, 2.5]], equations)
        assert equations.values(known.__getitem__, [*values[[0, 0]], *twice.ravel()]) is None


def test_equal_eigenvalues_have_no_enclosure_and_are_degenerate_for_certain() -> None:
    with precision(160):
        equations = eigen(np.ones(2), np.eye(2))
        known = numbers(np.eye(2), equations)
        assert equations.values(known.__getitem__, [1.0, 1.0, 1.0, 0.0, 0.0, 1.0]) is None
        assert equations.degenerate(known.__getitem__)
        near = numbers([[1.0, 0.0], [0.0, 1.0 + 2.0**-50]], equations)
        assert not equations.degenerate(near.__getitem__)


def test_what_a_program_may_return_holds_the_solution_and_grows_with_the_unit() -> None:
    with precision(160):
        equations, known, found = solved([[2.0, 1.0], [1.0, 2.5]])
        radii = []
        for unit in (arb(2) ** -53, arb(2) ** -24):
            allowed = equations.allowed(known.__getitem__, [float(x) for x in found], unit, arb("inf"))
            assert allowed is not None
            assert all(a.contains(x.mid()) for a, x in zip(allowed, found, strict=True))
            radii.append(max(float(a.rad()) for a in allowed))
        assert 2.0**28 < radii[1] / radii[0] < 2.0**30


def test_the_adjoint_of_an_exponential_is_that_of_its_series() -> None:
    record = Record()
    kernel = Solved(record)
    kernel.exponential(record.new((2, 2)), np.eye(2))
    (found,) = kernel.solutions
    with precision(160):
        known = numbers([[0.0, 1.0], [0.0, 0.0]], found)  # its square is 0: exp A = 1 + A
        assert [float(x) for x in found.values(known.__getitem__, []) or []] == [1.0, 1.0, 0.0, 1.0]
        # (exp(A + E))₀₁ is E₀₁ + (AE + EA)₀₁/2 + (AEA)₀₁/6 to first order.
        pulled = found.pull(known.__getitem__, [arb(0), arb(1), arb(0), arb(0)]) or []
        assert [float(x) for x in pulled] == [0.5, 1.0, 1 / 6, 0.5]


# Programs -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(
    "f",
    [
        lambda a: tuple(torch.linalg.eigh((a + a.mT) / 2)),
        lambda a: tuple(torch.linalg.svd(a)),
        lambda a: tuple(torch.linalg.qr(a)),
        lambda a: torch.linalg.pinv(a[:, :2]),
        lambda a: torch.linalg.lstsq(a[:, :2], a[:, 2:])[0],
        lambda a: torch.matrix_exp(a / 4),
        lambda a: torch.linalg.matrix_norm(a, "nuc") + torch.linalg.matrix_norm(a, 2),
        lambda a: torch.linalg.eigvalsh(torch.stack([a @ a.mT, a + a.mT])),
    ],
    ids=["eigh", "svd", "qr", "pinv", "lstsq", "matrix_exp", "matrix norms", "batches"],
)
def test_a_factorization_of_pytorch_conforms(f: Any, dtype: str) -> None:
    report = gc.verify(f, MATRIX, dtype=dtype)
    assert report, str(report)


@pytest.mark.parametrize("name", ["eigh", "svd", "qr"])
def test_a_factorization_of_jax_conforms(name: str) -> None:
    jnp = pytest.importorskip("jax.numpy")
    x = jnp.asarray(MATRIX.numpy(), dtype=jnp.float32)

    def f(a: Any) -> Any:
        return tuple(getattr(jnp.linalg, name)(a + a.T if name == "eigh" else a))

    report = gc.verify(f, x)
    assert report, str(report)


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_rule_of_linear_algebra_is_caught_and_named(name: str) -> None:
    row = wrong.asked(SUBJECTS[name], "float32", others=False)
    assert (row.verify, row.culprit, row.right) == ("caught", "named", "conforms")


@pytest.mark.parametrize(
    "f", [torch.linalg.eigh, torch.linalg.svd, torch.linalg.eigvalsh], ids=["eigh", "svd", "eigvalsh"]
)
def test_there_is_no_derivative_where_values_repeat(f: Any) -> None:
    report = gc.verify(lambda a: f(a), torch.eye(3, dtype=torch.float64))
    assert (report.verdict, report.formula) == ("singular", "singular")


def test_of_a_trace_where_eigenvalues_repeat_nothing_is_said() -> None:
    report = gc.verify(lambda a: torch.linalg.eigvalsh(a).sum(), torch.eye(3, dtype=torch.float64))
    assert (report.verdict, report.formula) == ("undecided", "unknown")


def test_close_eigenvalues_are_no_equal_ones() -> None:
    close = torch.diag(torch.tensor([1.0, 1.0 + 1e-7, 2.0], dtype=torch.float64))
    assert gc.verify(lambda a: tuple(torch.linalg.eigh(a)), close)


@pytest.mark.parametrize(("norm", "verdict"), [(1.0, "conforms"), (1e5, "out of range")])
def test_an_exponential_whose_powers_overflow_may_be_anything(norm: float, verdict: str) -> None:
    report = gc.verify(torch.matrix_exp, torch.tensor([[0.3, -1.0], [0.7, 0.2]], dtype=torch.float64) * norm)
    assert (report.verdict, report.formula) == (verdict, "right")  # torch: NaN of sums of infinities


def test_what_rounds_beside_large_numbers_may_be_missed_by_as_much_in_small_equations() -> None:
    a = torch.tensor([[-1.0585e-08, -8.7676e-05, -7.3673e-01], [-7.0715e-05, -5.3007e-08, 2.2780e-05]])
    report = gc.verify(torch.linalg.pinv, a)  # rows of 0.7 and of 7e-5
    assert (report.formula, report.execution) == ("right", "within")


def test_a_number_that_leaves_an_eigenvector_is_noticed() -> None:
    def f(a: Tensor) -> Tensor:
        values, vectors = torch.linalg.eigh((a + a.mT) / 2)
        return (vectors * values).sum() * vectors[0, 0].detach().item()

    report = gc.verify(f, MATRIX)
    assert not report.complete
    assert report.formula == "unknown"


def test_a_matrix_that_is_not_symmetric_is_refused() -> None:
    with pytest.raises(BadInput, match=r"not symmetric.*\(a \+ a.mT\) / 2"):
        gc.verify(torch.linalg.eigvalsh, MATRIX)


def test_all_columns_of_a_basis_are_refused_with_what_to_do() -> None:
    with pytest.raises(BadInput, match="no function of the matrix; ask for the reduced factors"):
        gc.verify(lambda a: torch.linalg.svd(a)[0], TALL)


def test_a_matrix_whose_equations_are_too_many_is_refused() -> None:
    with pytest.raises(BadInput, match="more than the 200 that are solved exactly"):
        gc.verify(lambda a: torch.linalg.svd(a)[1], torch.eye(12) + torch.arange(144.0).reshape(12, 12))


@pytest.mark.parametrize(
    "f",
    [
        lambda a: torch.linalg.eigvalsh(a + a.T).pow(2).sum(),
        lambda a: torch.linalg.svd(a)[0].pow(3).sum(),
        lambda a: torch.linalg.qr(a)[1].pow(3).sum(),
        lambda a: torch.matrix_exp(a / 4).sum(),
    ],
)
def test_tangents_of_what_solves_equations_conform(f: Any) -> None:
    assert gc.verify(f, MATRIX, mode="forward")


def test_a_wrong_tangent_of_eigenvalues_is_named() -> None:
    class Eigenvalues(torch.autograd.Function):
        @staticmethod
        def forward(a: Tensor) -> Any:
            return torch.linalg.eigvalsh(a + a.T)

        @staticmethod
        def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
            ctx.save_for_forward(*inputs)

        @staticmethod
        def jvp(ctx: Any, t: Tensor) -> Tensor:
            (a,) = ctx.saved_tensors
            vectors = torch.linalg.eigh(a + a.T)[1]
            return ((vectors.T @ (t + t.T)) * vectors.T).sum(1) * (1 + 1e-9)

    report = gc.verify(lambda a: Eigenvalues.apply(a).sum(), MATRIX, mode="forward")
    assert report.formula == "wrong"
    assert "Eigenvalues" in report.culprits[0]


@pytest.mark.parametrize("f", [torch.linalg.inv, torch.linalg.det, lambda a: torch.linalg.slogdet(a)[1]],
                         ids=["inverse", "determinant", "logarithm"])  # fmt: skip
def test_what_a_factorization_makes_of_an_infinity_is_held_against_nobody(f: Any) -> None:
    a = torch.tensor([[3.1306, -0.0867], [float("inf"), 3.3308]])
    assert gc.verify(f, a).verdict != "deviates"
