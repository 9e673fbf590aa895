"""The recorder for JAX: right programs conform, wrong rules are found, and what cannot be recorded says so."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import programs_jax
import pytest
from jax import lax

import gradconform as gc
from gradconform.adapters.record_jax import record
from gradconform.adapters.recording import jax_rules
from gradconform.adapters.recording.jax_values import Recorder
from gradconform.conformance.programs.check_program import Gradient, gradients
from gradconform.conformance.programs.completeness import missing
from gradconform.reference.arithmetic.formats import FLOAT64
from gradconform.reference.arithmetic.profiles import profile
from gradconform.reference.cases import BadInput
from gradconform.reference.programs import record as record_module
from gradconform.reference.programs.functions import FUNCTIONS
from gradconform.reference.programs.run import NotRecorded, Run

RIGHT = {p.name: p for p in programs_jax.RIGHT}
WRONG = {p.name: p for p in programs_jax.WRONG}
BOTH = ("eager", "jit")


def judged(f: Callable[..., Any], args: Sequence[Any], **how: Any) -> list[Gradient]:
    return list(gradients(record(f, args, replays=False, **how), profile("opencl")))


def formulas(found: Sequence[Gradient]) -> set[str]:
    return {g.judgement.formula or "" for g in found}


def ones(*shape: int) -> Any:
    return np.linspace(0.3, 1.7, int(np.prod(shape))).reshape(shape)


@pytest.mark.parametrize(
    ("name", "dtype"),
    [
        ("silu", "bfloat16"),
        ("convolution", "float64"),
        ("max pooling", "float32"),
        ("cumsum", "float16"),
        ("checkpoint", "float16"),
        ("cholesky", "float64"),
        ("gradient of gradient", "float32"),
    ],
)
def test_a_right_program_conforms_eager_and_compiled(name: str, dtype: str) -> None:
    found = judged(RIGHT[name].f, RIGHT[name].inputs(dtype), routes=BOTH)
    assert {g.route for g in found} == set(BOTH)
    assert {(g.judgement.formula, g.judgement.execution) for g in found} == {("right", "within")}


def test_any_slope_at_a_tie_is_a_kink() -> None:
    found = judged(RIGHT["tie"].f, RIGHT["tie"].inputs("float32"))
    assert {(g.judgement.formula, g.judgement.execution) for g in found} == {("kink", "within")}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_rule_is_found(name: str) -> None:
    found = judged(WRONG[name].f, WRONG[name].inputs("float32"))
    assert "wrong" in formulas(found)
    assert {g.judgement.execution for g in found} == {"within"}


def test_a_rule_that_is_off_by_little_is_found_in_a_wide_format() -> None:
    x = [ones(3)]
    assert formulas(judged(programs_jax.off_by(2.0**-44), x)) == {"wrong"}
    assert formulas(judged(programs_jax.off_by(0.0), x)) == {"right"}


def test_a_gradient_that_its_program_does_not_return_is_outside() -> None:
    run = record(lambda x: jnp.sin(x), [ones(3)])
    run.returned["eager"][0][1] *= 1 + 1e-13
    assert [g.judgement.execution for g in gradients(run, profile("opencl"))] == ["outside"]


def test_a_literal_is_known_as_the_text_has_it_in_16_bits() -> None:
    """A rule that holds 0.1 in bfloat16 is right; one that holds 0.105 is not."""
    x = [ones(3).astype(jnp.bfloat16)]
    right = programs_jax.ruled(lambda x: 0.1 * x, lambda g, x: (g * 0.1,))
    wrong = programs_jax.ruled(lambda x: 0.1 * x, lambda g, x: (g * 0.105,))
    assert formulas(judged(right, x)) == {"right"}
    assert formulas(judged(wrong, x)) == {"wrong"}


def twice(factor: float) -> Callable[..., Any]:
    return programs_jax.ruled(lambda x: x * x, lambda g, x: (g * x * factor,))


def beside(square: Callable[..., Any]) -> Callable[..., Any]:
    return lambda x: 2.0 * jnp.mean(square(x))


def within(square: Callable[..., Any]) -> Callable[..., Any]:
    return lambda x: lax.scan(lambda h, _: (jax.jit(square)(h) * 2.0, None), x, None, length=2)[0]


@pytest.mark.parametrize("around", [beside, within])
def test_of_two_literals_that_are_one_number_in_16_bits_each_is_known_by_its_place(
    around: Callable[..., Callable[..., Any]],
) -> None:
    x = [ones(3).astype(jnp.bfloat16)]  # in which 1.999 is 2
    assert formulas(judged(around(twice(2.0)), x)) == {"right"}
    assert formulas(judged(around(twice(1.999)), x)) == {"wrong"}


@pytest.mark.parametrize("around", [beside, within])
def test_a_rule_of_tangents_that_16_bits_would_hide_is_named(around: Callable[..., Callable[..., Any]]) -> None:
    """JAX has it as what it was traced as, in bfloat16: its literals are those of the whole program in float64."""

    def squared(factor: float) -> Any:
        square = jax.custom_jvp(lambda x: x * x)
        square.defjvps(lambda t, y, x: t * x * factor)
        return square

    x = jnp.asarray(ones(3), jnp.bfloat16)
    assert gc.verify(around(squared(2.0)), x).formula == "right"
    report = gc.verify(around(squared(1.999)), x)
    assert report.formula == "wrong"
    assert len(report.culprits) == 1, report


def test_a_program_that_is_another_in_float64_shows_its_literals_by_their_numbers() -> None:
    def f(x: Any) -> Any:
        y = x * 0.1
        return y + 0.2 if x.dtype == jnp.bfloat16 else jnp.sin(y) * 0.2

    run = record(f, [ones(3).astype(jnp.bfloat16)])
    assert {0.1, 0.2} <= {float(x) for x in run.forward.held}
    assert formulas(list(gradients(run, profile("opencl")))) == {"right"}


def test_a_literal_that_jax_keeps_as_a_python_float_is_known_as_that() -> None:
    (found,) = judged(lambda x: jnp.quantile(x, 0.3), [ones(4).astype(np.float32)])
    assert found.judgement.formula == "right"
    assert found.formula_bits > 40


def test_the_constants_of_jax_rules_are_known_after_a_cast_to_16_bits() -> None:
    def f(x: Any) -> Any:
        return lax.erf(x.astype(jnp.bfloat16)).astype(jnp.float32)

    assert formulas(judged(f, [ones(3).astype(np.float32)])) == {"right"}


@pytest.mark.parametrize(
    "f",
    [
        lambda x: jnp.sort(x) * jnp.arange(4.0, dtype=x.dtype),
        lambda x: x[jnp.argmax(x)] * x,
        lambda x: jnp.floor(x) * x,
        lambda x: x.astype(int) * x,
        lambda x: lax.top_k(x, 1)[0] * x,
        lambda x: x * lax.while_loop(lambda s: s[1] < 3, lambda s: (s[0] + 1, s[1] * 2), (0.5, x[3]))[0],
    ],
)
def test_a_run_that_goes_another_way_elsewhere_is_no_incomplete_record(f: Callable[..., Any]) -> None:
    """Numbers so close to where the order, the whole part or the count of steps changes that replays change it."""
    x = np.array([1.0, 2.99998, 3.00001, 1.5001]) if "while" not in f.__code__.co_names else np.array([1, 2, 3, 1.5001])
    run = record(f, [x])
    assert not list(missing(run, profile("opencl")))


def test_whole_numbers_that_are_computed_from_constants_are_exact() -> None:
    (found,) = judged(lambda x: jax.scipy.special.polygamma(1, x), [np.array([1.25], np.float32)])
    assert (found.judgement.formula, found.judgement.execution) == ("right", "within")


def test_numbers_that_rounding_made_whole_are_not_exact() -> None:
    """In bfloat16 0.999 is 1, and 1 less a power of it is 0: a pole of the program, and none of the function."""

    def corrected(x: Any) -> Any:
        return lax.scan(lambda m, t: (m + x / (1 - 0.999 ** (t + 1)), None), x, jnp.arange(2).astype(x.dtype))[0]

    (found,) = judged(corrected, [ones(3).astype(jnp.bfloat16)])
    assert (found.judgement.formula, found.judgement.verdict) == ("right", "out of range")
    (found,) = judged(corrected, [ones(3).astype(np.float32)])
    assert found.judgement.verdict == "conforms"


def test_what_no_step_has_made_is_known() -> None:
    to = Recorder()
    constant, x = to.constant(np.array([1.0, 2.0])), to.argument(np.array([3.0, 4.0]))
    assert constant.ids is not None
    assert x.ids is not None
    assert not to.computed(constant.ids)
    made = [to.record.map("sqrt", [i], FLOAT64) for i in (x.ids, constant.ids)]
    after = to.record.number(5.0)
    assert all(to.computed(np.append(constant.ids, i[:1])) for i in made)
    assert not to.computed(np.append(constant.ids, [after, *x.ids]))


def test_an_overflow_is_no_incomplete_record() -> None:
    run = record(lambda x: jnp.exp(x) * 2, [np.array([1.0, 100.0], np.float32)])
    assert np.isinf(run.replays[0].gradients[0][1])
    assert not list(missing(run, profile("opencl")))


def test_a_custom_rule_is_run_alone_on_its_operands() -> None:
    def f(x: Any) -> Any:
        return jnp.sum(WRONG["missing factor"].f(2 * x) + jax.nn.relu(x))

    run = record(f, [ones(2)])
    alone = [(rule, rule.alone()) for rule in run.rules]
    assert [rule.name for rule, _ in alone] == ["<lambda>", "relu"]
    assert all("test_record_jax.py" in rule.line for rule, _ in alone)
    verdicts = [formulas(list(gradients(r, profile("opencl")))) for _, r in alone]
    assert verdicts == [{"wrong"}, {"right"}]


def test_a_rule_inside_a_loop_is_listed_once() -> None:
    rule = programs_jax.right_jvp
    run = record(lambda x: lax.scan(lambda c, _: (rule(c), None), x, None, length=3)[0], [ones(2)])
    assert [r.name for r in run.rules] == ["right_jvp"]


def test_a_stopped_gradient_is_differentiated_unless_it_is_intended() -> None:
    def f(x: Any) -> Any:
        return x * lax.stop_gradient(jnp.sin(x))

    run = record(f, [ones(2)])
    assert "stop_gradient" in run.notes[0]
    assert formulas(list(gradients(run, profile("opencl")))) == {"wrong"}
    for mode in ("reverse", "forward"):
        run = record(f, [ones(2)], stop_gradient="intended", mode=mode)
        (note,) = run.notes
        assert note.endswith("stop_gradient: it is held constant")
        assert formulas(list(gradients(run, profile("opencl")))) == {"right"}


def test_what_jax_stops_inside_of_its_own_functions_is_no_note() -> None:
    for how in ("through", "intended"):
        run = record(RIGHT["solve"].f, RIGHT["solve"].inputs("float64"), stop_gradient=how)  # type: ignore[arg-type]
        assert not run.notes
        assert formulas(list(gradients(run, profile("opencl")))) == {"right"}


def test_arguments_are_named_by_their_place_in_the_tree() -> None:
    def loss(params: Any, x: Any, labels: Any) -> Any:
        return jnp.sum(params["dense"]["w"][labels] * x) + params["bias"]

    tree = {"dense": {"w": ones(3, 2)}, "bias": ones()}
    run = record(loss, [tree, ones(2, 2), np.array([2, 0])])
    assert [a.name for a in run.arguments] == ["params['bias']", "params['dense']['w']", "x"]
    for wrt, name in ((1, "x"), ("x", "x"), (["params['bias']"], "params['bias']")):
        assert [a.name for a in record(loss, [tree, ones(2, 2), np.array([2, 0])], wrt=wrt).arguments] == [name]  # type: ignore[arg-type]


def test_arguments_are_cast_where_they_are_real() -> None:
    run = record(lambda x, i: x[i], [ones(3).astype(np.float32), np.array([1])], dtype="bfloat16", replays=False)
    assert [a.format.name for a in run.arguments] == ["bfloat16"]
    assert not run.replays


def test_cotangents_are_distinct_and_can_be_given() -> None:
    def f(x: Any) -> Any:
        return x * 3, jnp.argmax(x)

    run = record(f, [ones(4)])
    assert len(set(run.backward.held[run.cotangents[0]].tolist())) == 4
    given = record(f, [ones(4)], cotangents=(np.arange(4.0), np.zeros((), jax.dtypes.float0)))
    assert given.backward.held[given.cotangents[0]].tolist() == [0.0, 1.0, 2.0, 3.0]
    assert given.returned["eager"][0].tolist() == [0.0, 3.0, 6.0, 9.0]
    with pytest.raises(BadInput, match=r"cotangents of shapes \[\(3,\)\]; the real outputs have \[\(4,\)\]"):
        record(f, [ones(4)], cotangents=np.ones(3))


def test_replays_are_elsewhere_and_at_eight_times_the_cotangents() -> None:
    run = record(lambda x: jnp.sin(x), [ones(3).astype(jnp.bfloat16)])
    elsewhere, scaled = run.replays
    x = run.forward.held[run.arguments[0].ids]
    assert (elsewhere.given[0] != x).all()
    assert (abs(elsewhere.given[0] / x - 1) < 0.03).all()
    assert (scaled.given[0] == x).all()
    assert (scaled.gradients[0] == 8 * run.returned["eager"][0]).all()


def test_64_bit_types_are_on_for_the_run_only() -> None:
    run = record(lambda x: x * 2, [ones(2)])
    assert run.arguments[0].format.name == "float64"
    assert jnp.zeros(2).dtype == np.float32
    narrow = record(lambda x: x + jnp.zeros(2), [ones(2).astype(np.float32)])
    assert narrow.arguments[0].format.name == "float32"
    assert narrow.backward.steps == []


def test_steps_say_where_the_program_stands() -> None:
    run = record(programs_jax.right_jvp, [ones(2)], replays=False)
    lines = {s.line.rpartition("/")[2] for s in run.forward.steps}
    assert all(line.startswith("programs_jax.py:") and line.endswith(" (right_jvp)") for line in lines)
    assert lines


def test_numbers_of_a_callback_are_foreign() -> None:
    def f(x: Any) -> Any:
        scale = jax.pure_callback(lambda: np.float32(2.0), jax.ShapeDtypeStruct((), np.float32))
        return x * scale

    run = record(f, [ones(2).astype(np.float32)])
    assert len(run.foreign) == 1
    assert "test_record_jax.py" in run.foreign[0]
    assert "pure_callback" in run.foreign[0]


def test_of_what_left_the_record_no_program_is_shown_to_keep_more_digits() -> None:
    """Of the record alone the derivative is 0, which any program has to every bit."""

    @jax.custom_jvp
    def outside(x: Any) -> Any:
        return jax.pure_callback(np.sin, jax.ShapeDtypeStruct(x.shape, x.dtype), x)

    outside.defjvps(lambda t, y, x: t * jnp.cos(x))
    report = gc.verify(lambda x: outside(x), jnp.array([0.5, 1.0]))
    assert (report.verdict, report.formula, report.execution) == ("undecided", "unknown", "within")
    assert report.gradients[0].judgement.accuracy is None, report
    assert "lost" not in str(report)


@jax.custom_vjp
def half_noisy(x: Any, noise: Any) -> Any:
    return x * noise


half_noisy.defvjp(lambda x, n: (x * n, n), lambda n, g: (g * n / 2, None))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize(
    "draw",
    [
        lambda key, x: jax.random.uniform(key, x.shape, x.dtype, minval=-0.68, maxval=0.68),
        lambda key, x: jax.random.gumbel(key, x.shape, x.dtype),
        lambda key, x: jax.random.truncated_normal(key, -1.0, 1.0, x.shape, x.dtype),
        lambda key, x: jax.random.t(key, 2.0, x.shape, x.dtype),
    ],
    ids=["uniform", "gumbel", "truncated normal", "t"],
)
def test_random_numbers_are_those_that_the_compiled_function_of_jax_draws(draw: Any, dtype: str) -> None:
    """It multiplies and adds in one rounding, say, where its operations one by one take two."""
    x, key = ones(4).astype(np.float32), jax.random.key(0)
    report = gc.verify(lambda x, key: x * draw(key, x), x, key, dtype=dtype)
    assert report, str(report)
    assert gc.verify(lambda x, key: half_noisy(x, draw(key, x)), x, key, dtype=dtype).formula == "wrong"


def test_random_numbers_are_data_of_the_run() -> None:
    def f(x: Any, key: Any) -> Any:
        return jnp.where(jax.random.bernoulli(key, 0.5, x.shape), x / 0.5, 0) + jax.random.normal(key, x.shape) * x

    found = judged(f, [ones(4).astype(np.float32), jax.random.key(1)], routes=BOTH)
    assert {(g.judgement.formula, g.judgement.execution) for g in found} == {("right", "within")}


def refused(f: Callable[..., Any], *args: Any) -> str:
    with pytest.raises(NotRecorded) as error:
        record(f, args)
    return str(error.value)


def test_what_no_rule_records_is_refused_with_its_name_and_line() -> None:
    message = refused(lambda x: jax.lax.linalg.tridiagonal_solve(x[0], x[1], x[2], x[:, :1]), ones(3, 3))
    assert "tridiagonal" in message
    assert "test_record_jax.py" in message
    assert "expm1 of complex numbers" in refused(lambda x: jnp.abs(jnp.expm1(x * 1j)), ones(2))
    assert "jax.lax.cond" in refused(lambda x: x * float(x[0]), ones(2))


def test_bad_arguments_say_what_was_expected() -> None:
    with pytest.raises(BadInput, match="route"):
        record(jnp.sin, [ones(2)], routes=("compiled",))
    with pytest.raises(BadInput, match="nothing to differentiate by"):
        record(jnp.sin, [np.arange(3)])
    with pytest.raises(BadInput, match="argument"):
        record(lambda x: x, [ones(2)], wrt="y")
    with pytest.raises(BadInput, match="wrt: got 1; expected the number of one of 1 arguments"):
        record(lambda x: x, [ones(2)], wrt=1)
    with pytest.raises(BadInput, match="<lambda> raised TypeError in JAX"):
        record(lambda x: x @ jnp.ones(5), [ones(2)])


def test_a_product_of_matrices_keeps_no_more_than_its_factors() -> None:
    run: Run = record(lambda a, b: a @ b, [ones(20, 30), ones(30, 40)])
    (product,) = run.forward.steps
    assert product.work() == 20 * 30 * 40
    assert all(0 in operand.strides for operand in product.operands)


def test_a_cumulative_sum_keeps_no_more_than_its_numbers() -> None:
    (step,) = record(lambda x: jnp.cumsum(x), [ones(50)]).forward.steps
    (operand,) = step.operands
    assert operand.shape == (50, 50)
    assert operand.strides == (8, 8)


def test_every_function_that_is_named_is_in_the_table() -> None:
    assert set(jax_rules.FUNCTIONS.values()) <= {*FUNCTIONS, "absolute"}


# Loops that do not say how long they are ------------------------------------------------------------------------------


def root(x: Any) -> Any:
    """√x by Newton's method, until a step changes nothing."""

    def goes_on(s: Any) -> Any:
        return jnp.abs(s[0] - s[1]) > jnp.finfo(x.dtype).eps * s[0]

    return lax.while_loop(goes_on, lambda s: ((s[0] + x / s[0]) / 2, s[0]), (x, 2 * x))[0]


def test_each_row_of_a_loop_under_vmap_goes_round_as_often_as_it_did_in_the_run() -> None:
    """Near its end rounding decides whether it goes on: with both ways open nothing would be known of a row."""
    x = np.array([0.3, 2.0, 1e4, 3e-5], np.float32)
    run = record(jax.vmap(root), [x], mode="forward", values=True, replays=False)
    assert not any(step.kind == "choose" for step in run.forward.steps)
    for found in gradients(run.valued(), profile("opencl")):
        assert (found.judgement.formula, found.judgement.verdict) == ("right", "conforms")


def test_a_row_that_has_stopped_keeps_its_number_and_not_what_the_others_go_on_with() -> None:
    doubled = jax.vmap(lambda x: lax.while_loop(lambda y: y < 8, lambda y: 2 * y, x))
    run = record(doubled, [np.array([1.0, 3.0, 9.0])], mode="forward", replays=False)
    assert run.forward.held[run.outputs[0]].tolist() == [8.0, 12.0, 9.0]


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_recording_every_number_of_a_dtype_warns_of_nothing(dtype: str) -> None:
    """Infinities, NaN and the largest numbers are moved, too, where the function is run again elsewhere."""
    every = np.arange(2**16, dtype=np.uint16).view(jnp.dtype(dtype))
    run = record(jnp.tanh, [jnp.asarray(every)])
    assert len(list(run.replays)) == 2


@pytest.mark.parametrize("over", [lambda f: f, jax.vmap], ids=["alone", "under vmap"])
def test_a_loop_without_end_is_refused_and_not_waited_for(over: Callable[..., Any]) -> None:
    def f(x: Any) -> Any:
        return lax.while_loop(lambda y: y > 0, lambda y: y + 1, x)

    with pytest.raises(
        NotRecorded, match=r"^while at .*test_record_jax.py.*: the loop goes round more than [\d,]+ times"
    ):
        record(over(f), [np.array([1.0], np.float32) if over is jax.vmap else np.float32(1.0)], mode="forward")


def power(n: int) -> Callable[..., Any]:
    """x^(n + 1) by a loop of n rounds."""
    return lambda x: lax.while_loop(lambda s: s[1] < n, lambda s: (s[0] * x, s[1] + 1), (x, 0))[0]


def test_a_loop_of_a_hundred_rounds_is_recorded() -> None:
    run = record(power(100), [np.array(1.01)], mode="forward", replays=False)
    assert len(run.forward.steps) == 100


def test_a_loop_whose_record_would_take_more_memory_than_there_is_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record_module, "available_memory", lambda: 2**28)
    with pytest.raises(BadInput, match=r"a record of [\d,]+ numbers takes about .* GiB to judge"):
        record(power(900), [np.ones(9000)], mode="forward", replays=False)


@jax.tree_util.register_dataclass
@dataclass
class Pair:
    """A class that JAX knows as a tree."""

    a: Any
    b: Any


def test_arguments_may_be_dataclasses_that_the_framework_knows() -> None:
    pair = Pair(jnp.array([0.5, -1.25]), [jnp.array(2.0)])
    report = gc.verify(lambda p: p.a * p.b[0], pair, dtype="bfloat16")
    assert report, str(report)
    assert list(report.table.argument) == ["p.a", "p.b[0]"]
