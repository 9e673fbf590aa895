"""Records over whole arrays hold what the same records hold in balls, and the verdicts are the same."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from flint import arb

torch = pytest.importorskip("torch")

from tests.support.programs_torch import CORRECT, WRONG, Program, ruled  # noqa: E402

from gradconform.adapters.record_torch import record  # noqa: E402
from gradconform.conformance.programs.array_truths import Truths  # noqa: E402
from gradconform.conformance.programs.check_program import _in_balls, gradients  # noqa: E402
from gradconform.conformance.programs.check_program_arrays import judged  # noqa: E402
from gradconform.conformance.programs.completeness import missing  # noqa: E402
from gradconform.conformance.programs.program_steps import check_steps  # noqa: E402
from gradconform.conformance.programs.truth import DECIDED  # noqa: E402
from gradconform.reference.arithmetic.exact import precision  # noqa: E402
from gradconform.reference.arithmetic.formats import FLOAT32, FLOAT64, FORMATS  # noqa: E402
from gradconform.reference.arithmetic.profiles import profile  # noqa: E402
from gradconform.reference.arithmetic.rounded import ANYTHING  # noqa: E402
from gradconform.reference.outcomes import Special  # noqa: E402
from gradconform.reference.programs import words  # noqa: E402
from gradconform.reference.programs.allowance import Allowed  # noqa: E402
from gradconform.reference.programs.array_allowance import ArrayAllowed  # noqa: E402
from gradconform.reference.programs.array_exact import ArrayExact  # noqa: E402
from gradconform.reference.programs.exact import Exact  # noqa: E402
from gradconform.reference.programs.functions import FUNCTIONS  # noqa: E402
from gradconform.reference.programs.record import Ids, Record  # noqa: E402
from gradconform.reference.programs.run import Run  # noqa: E402
from gradconform.reference.programs.views import reading  # noqa: E402
from gradconform.reference.programs.words import Words  # noqa: E402

OPENCL = profile("opencl", "torch")
#: Of each kind of step and of each way through them.
NAMES = ("mlp", "layer norm", "causal attention", "transformer block", "conv2d", "max pool", "embedding", "prod",
         "logcumsumexp", "clamp", "gelu by tanh", "powers", "trigonometry", "mixed precision")  # fmt: skip
PROGRAMS = {p.name: p for p in (*CORRECT, *WRONG)}


def run_of(program: Program, dtype: str) -> Run:
    torch.manual_seed(0)
    return record(program.f, program.arguments(dtype), replays=False)


def cases() -> Iterator[tuple[str, str]]:
    for name in NAMES:
        dtypes = PROGRAMS[name].only if name in ("mlp", "causal attention") else PROGRAMS[name].only[1:2]
        yield from ((name, d) for d in dtypes or PROGRAMS[name].only)


def random_record(seed: int, format_name: str = "float32") -> tuple[Record, Ids, Ids]:
    """Some numbers, and steps of all kinds on them and on each other; the numbers and the results."""
    drawn, format, r = np.random.default_rng(seed), FORMATS[format_name], Record()
    x = r.new((4, 6), format.round(drawn.normal(size=(4, 6))))
    r.number(0.1, FLOAT64)
    values = [x]
    for _ in range(8):
        a = values[int(drawn.integers(len(values)))]
        b = values[int(drawn.integers(len(values)))][:, ::-1]
        kind = drawn.choice(["map", "two", "sop", "sum", "product", "maximum", "scatter", "window"])
        if kind == "map":
            found = r.map(str(drawn.choice(["tanh", "sigmoid", "sin", "erf", "square", "negative"])), [a], format)
        elif kind == "two":
            literal = np.asarray(r.number(0.1, FLOAT64))
            found = r.map(str(drawn.choice(["add", "subtract", "multiply"])), [a, literal], format)
        elif kind == "sop":
            found = r.sop(a[:, None, :], b[None, :, :], format)[:, [0, 1, 2, 3, 0, 1]]
        elif kind == "sum":
            found = np.broadcast_to(r.sop(a, None, format)[:, None], (4, 6))
        elif kind == "product":
            found = np.broadcast_to(r.combine("product", a[:, :3], format)[:, None], (4, 6))
        elif kind == "maximum":
            found = np.broadcast_to(r.combine("maximum", a, format)[:, None], (4, 6))
        elif kind == "scatter":
            found = r.sop(np.stack([a, np.roll(b, 1, 0), np.zeros_like(a)], -1), None, format)
        else:
            windows = np.lib.stride_tricks.sliding_window_view(a, 3, axis=1)
            found = np.pad(r.sop(windows, b[:, None, :3], format), ((0, 0), (1, 1)), mode="wrap")
        values.append(found)
    return r, x, values[-1]


def encloses(x: Words, place: int, level: int, ball: arb) -> bool:
    """Whether a ball of the arrays holds another, but for what arb's own radii are rounded by."""
    middle = arb(float(x.mid.hi.flat[place])) + arb(float(x.mid.lo.flat[place]))
    radius = float(x.radius.reshape(2, -1)[level, place])
    reach = float(abs(middle - ball.mid()).upper()) + float(ball.rad())
    return math.isfinite(radius) and reach <= radius + 1e-4 * float(ball.rad()) + 1e-40


@pytest.mark.parametrize("seed", range(12))
def test_the_truth_of_a_random_record_lies_within_the_radius_of_the_arrays(seed: int) -> None:
    r, x, results = random_record(seed)
    seeds = np.linspace(-1, 1, results.size).reshape(results.shape)
    found = ArrayExact(r).evaluate()
    pulled = found.pull([(results, seeds)], [x])[0]
    values = found.values.copied(results)
    with precision(200):
        for level, literals in enumerate((False, True)):
            exact = Exact(r, literals=literals).evaluate()
            given: dict[int, arb] = {}
            for i, s in zip(results.ravel().tolist(), seeds.ravel().tolist(), strict=True):
                given[i] = given.get(i, arb(0)) + arb(s)
            adjoints = exact.pull(given, ties=literals)
            for place, i in enumerate(x.ravel().tolist()):
                assert encloses(pulled, place, level, adjoints.get(i, arb(0)))
            for place, i in enumerate(results.ravel().tolist()):
                assert encloses(values, place, level, exact[i])


def test_the_first_radius_of_an_array_truth_leaves_at_least_80_bits() -> None:
    r, x, results = random_record(3)
    found = ArrayExact(r).evaluate().pull([(results, np.ones(results.shape))], [x])[0]
    assert (found.radius[0] <= np.abs(found.high).max() * 2.0**-80).all()


def compare(record: Record, sums: str = "any", form: int = 0) -> None:
    """Every number's allowance in arrays against the one in balls."""
    with precision(160):
        balls = Allowed(record, OPENCL, sums=sums, form=form).evaluate()  # type: ignore[arg-type]
    arrays = ArrayAllowed(record, OPENCL, sums, form).evaluate()  # type: ignore[arg-type]
    with precision(300):
        hold_each_other(record, balls, arrays)


def hold_each_other(record: Record, balls: Allowed, arrays: ArrayAllowed) -> None:
    compared = 0
    for step in record.steps:
        slack = arrays.arithmetics[step.format.name].slack
        for i in step.out.ravel().tolist():
            ball, flags = balls.values[i], arrays.specials[i]
            if isinstance(ball, Special):
                assert flags & ANYTHING or np.isnan(ball.value) or arrays.high[i] == ball.value
                continue
            if flags & ANYTHING or ball.specials & ANYTHING:
                assert flags & ANYTHING
                continue
            middle = arb(arrays.high[i]) + arb(0.0 if arrays.low is None else arrays.low[i])
            radius, own = float(arrays.radius[i]), float(ball.radius)
            assert float(abs(middle - ball.exact).upper()) <= slack * radius + 1e-300
            if own < 2.0**100:  # beyond, a divisor may almost be 0, and radii are as large as one likes
                assert own * (1 - 1e-6) <= radius + slack * radius
                assert flags or radius <= 2.1 * own
            compared += 1
    assert compared


@pytest.mark.parametrize("format_name", FORMATS)
@pytest.mark.parametrize("seed", range(4))
def test_the_allowance_of_a_random_record_is_that_of_balls(seed: int, format_name: str) -> None:
    compare(random_record(seed, format_name)[0])


@pytest.mark.parametrize(("name", "dtype"), [*cases()])
def test_the_allowance_of_a_program_is_that_of_balls(name: str, dtype: str) -> None:
    run = run_of(PROGRAMS[name], dtype)
    for form in range(run.backward.forms):
        compare(run.backward, "wide" if FORMATS[dtype].precision < 24 else "any", form)


@pytest.mark.parametrize(("name", "dtype"), [*cases(), *((p.name, p.only[0]) for p in WRONG)])
def test_a_program_is_judged_in_arrays_as_in_balls(name: str, dtype: str) -> None:
    run = run_of(PROGRAMS[name], dtype)
    for ball, found in zip(_in_balls(run, OPENCL), judged(run, OPENCL, DECIDED), strict=True):
        of_balls, of_arrays = ball.judgement, found.judgement
        assert found.formula == of_balls.formula
        assert of_arrays.execution == of_balls.execution
        # What reverse mode by the table would keep is asked in balls alone.
        assert of_arrays.accuracy == of_balls.accuracy or "reverse mode by the table" in (of_balls.reason or "")
        assert found.ties == ball.ties


def product_of(size: int, off: float) -> Run:
    """x @ w of square matrices, whose gradient by w is off by a relative amount."""
    f = ruled("Product", lambda x, w: x @ w, lambda g, x, w: (g @ w.T, (x.T @ g) * (1 + off)))
    drawn = np.random.default_rng(0)
    x, w = (torch.from_numpy(drawn.normal(size=(size, size))).float() for _ in range(2))
    return record(f, [x, w])


def test_a_rule_that_is_off_by_2_to_the_minus_20_is_wrong_in_a_product_of_64_by_64() -> None:
    of_x, of_w = gradients(product_of(64, 2.0**-20), OPENCL)
    assert (of_x.judgement.formula, of_x.judgement.verdict) == ("right", "conforms")
    assert (of_w.judgement.formula, of_w.judgement.verdict) == ("wrong", "deviates")


def test_what_is_returned_beyond_its_allowance_is_outside_in_a_large_product() -> None:
    run = product_of(64, 0.0)
    eager = list(run.returned["eager"])
    eager[1] = np.array(eager[1])
    eager[1][3, 5] *= 1 + 2.0**-10
    found = list(gradients(replace(run, returned={"eager": eager}), OPENCL))
    assert [g.judgement.execution for g in found] == ["within", "outside"]
    assert found[1].index == "3,5"
    assert found[1].judgement.share is not None
    assert found[1].judgement.share > 1


def test_the_operation_at_fault_is_found_among_large_ones() -> None:
    run = product_of(64, 0.0)
    assert all(s.execution == "within" for s in check_steps(run.backward, OPENCL))
    last = run.backward.steps[-1]
    wrong_by = run.backward.held[last.out.ravel()[130]] * (1 + 2.0**-10)
    run.backward.held[last.out.ravel()[130]] = last.format.round(np.asarray(wrong_by))
    (wrong,) = (s for s in check_steps(run.backward, OPENCL) if s.execution != "within")
    assert (wrong.number, wrong.execution, wrong.worst_index) == (len(run.backward.steps) - 1, "outside", "2,2")


def test_a_large_product_is_complete_and_a_function_that_changes_is_not() -> None:
    run = product_of(64, 0.0)
    assert not list(missing(run, OPENCL))
    outputs = [[o * (1 + 2.0**-8) for o in replay.outputs] for replay in run.replays]
    changed = [replace(r, outputs=o) for r, o in zip(run.replays, outputs, strict=True)]
    assert "left the record" in next(missing(replace(run, replays=changed), OPENCL))


def test_of_a_nan_among_the_returned_numbers_nothing_is_within() -> None:
    run = product_of(64, 0.0)
    eager = [np.array(x) for x in run.returned["eager"]]
    eager[0][0, 0], eager[1][1, 1] = np.nan, np.inf
    assert [g.judgement.execution for g in gradients(replace(run, returned={"eager": eager}), OPENCL)] == [
        "outside"
    ] * 2


def test_an_argument_that_is_infinite_leaves_the_formula_unknown_and_accepts_what_it_makes() -> None:
    x = torch.from_numpy(np.random.default_rng(0).normal(size=(64, 64))).float()
    x[0, 0] = math.inf
    (found,) = judged(record(lambda x: (x @ x).tanh(), [x], replays=False), OPENCL, DECIDED)
    assert found.formula == "unknown"
    assert found.judgement.execution in ("overflow", "within")


def test_a_mask_of_minus_infinity_is_no_obstacle_to_a_large_softmax() -> None:
    x = torch.from_numpy(np.random.default_rng(0).normal(size=(40, 40))).float()
    seen = torch.tril(torch.ones(40, 40, dtype=torch.bool))
    (found,) = gradients(record(lambda x: x.masked_fill(~seen, -math.inf).softmax(-1), [x], replays=False), OPENCL)
    assert found.judgement.verdict == "conforms"


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("least", ["infinity", "number"])
def test_a_mask_that_is_added_to_scores_is_no_obstacle_to_a_large_softmax(least: str, dtype: str) -> None:
    """By a sum of products, as `torch.nn.MultiheadAttention` does it, and of the least number there is, as others."""
    kind = getattr(torch, dtype)
    drawn = np.random.default_rng(0)
    q, k = (torch.from_numpy(drawn.normal(size=s)).to(kind) for s in ((1, 12, 4), (1, 4, 12)))
    mask = torch.zeros(1, 12, 12, dtype=kind)
    mask[..., -3:] = -math.inf if least == "infinity" else torch.finfo(kind).min

    def attention(q: torch.Tensor, k: torch.Tensor) -> torch.Tensor:
        scores = torch.baddbmm(mask, q, k) if least == "infinity" else q @ k + mask
        return scores.softmax(-1)

    run = record(attention, [q, k], replays=False)
    found = list(gradients(run, OPENCL))
    assert [g.judgement.verdict for g in found] == ["conforms"] * 2
    wrong = [np.array(x) * (1 + 2.0**-6) for x in run.returned["eager"]]
    found = list(gradients(replace(run, returned={"eager": wrong}), OPENCL))
    assert [g.judgement.execution for g in found] == ["outside"] * 2


def test_ties_in_a_large_program_are_kinks_of_which_any_slope_is_right() -> None:
    x = torch.from_numpy(np.random.default_rng(0).normal(size=(40, 40))).float()
    x[x < 0] = 0.0
    (found,) = gradients(record(lambda x: x.relu() * 3, [x], replays=False), OPENCL)
    assert found.ties == int((x == 0).sum())
    assert (found.judgement.formula, found.judgement.verdict) == ("kink", "conforms")
    wrong = ruled("Relu", lambda x: x.relu(), lambda g, x: g * ((x > 0) + 2.0 * (x == 0)))
    (found,) = gradients(record(lambda x: wrong(x) * 3, [x], replays=False), OPENCL)
    assert found.judgement.verdict == "deviates"


def test_views_are_fetched_as_by_plain_indexing() -> None:
    column, base = np.random.default_rng(0).normal(size=(2, 60)), np.random.default_rng(1).permutation(60)
    ids = base.reshape(5, 12)
    views = [ids, ids[::-1, ::2], ids[:, :1], np.broadcast_to(ids[:, None], (5, 3, 12)), ids.T[3:], ids[2, 3],
             np.lib.stride_tricks.sliding_window_view(ids, (2, 3))[::2, ::-1], np.arange(7, 19)[::-1]]  # fmt: skip
    for view in views:
        assert (reading(np.asarray(view)).of(column) == column[:, view]).all()


@pytest.mark.parametrize(
    "name", ["exp", "tanh", "sigmoid", "erf", "sqrt", "rsqrt", "sin", "log", "softplus", "erfc", "sech"]
)
def test_functions_in_double_words_hold_their_balls(name: str) -> None:
    drawn = np.random.default_rng(5)
    x = np.concatenate([drawn.normal(size=200) * 4, drawn.normal(size=40) * 1e-9, [0.5, -20.0, 20.0, 700.0, -700.0]])
    x = np.abs(x) + 1e-12 if name in ("sqrt", "rsqrt", "log") else x
    radius = np.abs(x) * np.array([[0.0], [2.0**-40]])
    mid = words.Double.add(words.Double.lift(x), words.Double.lift(x * 2.0**-60))
    found = words.function(name, Words(mid, radius))
    with precision(300):
        for place in range(x.size):
            at = arb(float(mid.hi[place])) + arb(float(mid.lo[place]))
            for level in range(2):
                value = FUNCTIONS[name].ball(at + arb(0, float(radius[level, place])))
                assert encloses(found, place, level, value) or level == 1
                end = FUNCTIONS[name].ball(at + float(radius[level, place]))
                assert encloses(found, place, level, end)
            assert found.radius[0, place] <= max(abs(found.high[place]) * 2.0**-90, 1e-300)


def held(found: Words, exact: arb) -> bool:
    """Whether the first ball holds a number; far below float64's smallest, too."""
    middle = arb(float(found.mid.hi.flat[0])) + arb(float(found.mid.lo.flat[0]))
    return not abs(middle - exact) > arb(float(found.radius[0].flat[0]))


def test_balls_near_float64s_smallest_numbers_hold_what_they_lose() -> None:
    """Products, quotients and radii that underflow; a function whose value does, and one with a radius of its own."""

    def ball(mid: float, radius: float = 0.0) -> Words:
        return Words(words.DoubleArray(np.array([[mid]]), np.zeros((1, 1))), np.full((2, 1, 1), radius))

    with precision(2500):
        tiny = arb(1 + 2.0**-52) * arb(2) ** -500
        x = ball(float(tiny))
        assert held(words.matrix_product(x, x), tiny * tiny)
        small = ball(0.0, 2.0**-540)
        assert held(words.multiply(small, ball(2.0**-540)), arb(2) ** -1080)
        assert held(words.matrix_product(small, ball(2.0**-540)), arb(2) ** -1080)
        over = arb(2) ** -40 - arb(2) ** -140
        assert held(words.divide(ball(3 * 2.0**-985), ball(2.0**-40, 2.0**-140)), 3 * arb(2) ** -985 / over)
        assert held(words.function("log2", ball(300.0, 2.0**-1060)), arb(300).log() / arb.const_log2())
        far = Words(words.DoubleArray(np.full(80, 40.0), np.zeros(80)), np.zeros((2, 80)))
        assert held(words.function("erfc", far), arb(40).erfc())


def test_a_truth_of_float32_numbers_is_known_to_far_more_than_their_digits() -> None:
    truths = Truths(product_of(64, 0.0), DECIDED)
    said = [truths.formulas(n) for n in range(2)]
    assert [of.worst for of in said] == ["right", "right"]
    assert all(of.worst_bits == pytest.approx(80, abs=25) for of in said)
    assert FLOAT32.precision + 3 < 50
