"""Forms of an adapter's own: programs that round in a way that the suite does not know, proved before they are used.

An adapter may have an attribute `forms`, a mapping to sequences of `gradconform.adapters.Form`. Its keys, and the
operands that a form may read::

    "tanh"     a(z), for an activation by its name               "z"
    "tanh'"    ∂E/∂z                                             "g" (= ∂E/∂a), "z", "a" (the rounded output)
    "huber"    the terms of E, for a loss of networks            "a" (the outputs), "t" (the targets)
    "huber'"   ∂E/∂a of the sum of the terms                     "a", "t"

The terms are added up by the suite, and divided by their number for a mean; so is the slope. A formula is
`f(ops, *operands)` in + − × ÷, squares (x**2) and the named operations of `ops` (`NAMED`); a number that not every
dtype holds is given as `ops.real(ratio(1, 3))` or `ops.real(decimal_constant("0.1"))`.

Each is proved equal to what it stands for: at seeded points, both signs and eleven binades, in exact arithmetic, so
precisely that two balls which overlap agree to 100 bits. Then it stands after the programs that the suite knows and
before what it allows to programs that nobody named. It is stable unless it says what to use `instead`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
from flint import arb
from numpy.typing import NDArray

from gradconform.adapters.contract import Adapter
from gradconform.adapters.registry import forms_of
from gradconform.reference.arithmetic.ball_arrays import BallArray, BallArrays
from gradconform.reference.arithmetic.exact import decimal, power_of_two, precision
from gradconform.reference.arithmetic.formats import FLOAT64, FORMATS, Format
from gradconform.reference.arithmetic.profiles import OPENCL
from gradconform.reference.arithmetic.rounded import Rounded
from gradconform.reference.cases import BadInput, Extended, Point, said, unknown
from gradconform.reference.cases import derivation as derivation_of
from gradconform.reference.derivations.activations import ACTIVATIONS
from gradconform.reference.derivations.losses import LOSSES, reduced, share
from gradconform.reference.derivations.network import Architecture
from gradconform.reference.equations import Equation, Form

#: The operations that a form of an adapter's own may use.
NAMED = (
    "absolute",
    "cosh",
    "erf",
    "erfc",
    "exp",
    "expm1",
    "log",
    "log1p",
    "log_row_sum",
    "normalised",
    "positive_part",
    "real",
    "row_maximum",
    "row_sum",
    "select",
    "sigmoid",
    "sinh",
    "sqrt",
    "step",
    "tanh",
)
#: Rows of points at which a form is proved, and the components of each.
ROWS, COLUMNS = 24, 3
#: Numbers that are tried beside them, where a form and the truth have a value: a kink, and either tail.
EDGES = ((0.0, 2.0**-30, -(2.0**-30)), (-(2.0**-12), 2.0**-12, -20.0), (64.5, -64.5, 20.0), (100.0, -100.0, -1000.0),
         (1000.0, 2.0**17, -(2.0**17)))  # fmt: skip
#: Bits that the two values have in common where they are called equal; the precisions at which that is tried.
AGREED, PRECISIONS = 100, (256, 512, 1024, 2048)

Own = tuple[tuple[str, Form], ...]
Points = Mapping[str, NDArray[np.float64]]
Operands = Mapping[str, BallArray]


def own_forms(adapter: Adapter) -> Own:
    """The forms that an adapter brings itself, each proved. Raises BadInput that names the one which is not equal."""
    found = tuple((key, form) for key, forms in forms_of(adapter, adapter.name).items() for form in forms)
    for key, form in found:
        _prove(adapter.name, key, form)
    return found


def with_own_forms(point: Point, adapter: Adapter) -> Point:
    """The point as an adapter's answer is judged: with the forms that it brings among those that are accepted."""
    own = own_forms(adapter)
    if not own or isinstance(point.derivation, Extended):
        return point
    return replace(point, derivation=_extended(point.derivation, own))


# Where a form stands --------------------------------------------------------------------------------------------------


@lru_cache(maxsize=64)
def _extended(base: str | Architecture, own: Own) -> Extended:
    of = derivation_of(base)
    count = base.count if isinstance(base, Architecture) else None
    changed = []
    for equation in of.equations:
        key, names = _stands_for(equation, of.by_name, of.loss)
        mine = [form for of_key, form in own if of_key == key]
        if key.removesuffix("'") in LOSSES:
            mine = [] if count is None else [_of_count(key, form, count) for form in mine]
        if mine:
            at = _after_written(equation)
            renamed = tuple(form.renamed(names) for form in mine)
            changed.append((equation.name, (*equation.forms[:at], *renamed, *equation.forms[at:])))
    return Extended(base, tuple(changed))


def _stands_for(equation: Equation, by_name: Mapping[str, Equation], loss: str) -> tuple[str, Mapping[str, str]]:
    """The key of the forms that an equation may take, and the names of its operands; "" where it takes none."""
    operator, forward = equation.operator, equation.group == "forward"
    if operator in LOSSES:
        names = dict(zip(("a", "t"), equation.forms[0].operands, strict=False))
        return operator if forward else f"{operator}'", names
    if operator not in ACTIVATIONS:
        return "", {}
    if forward:
        return operator, {"z": equation.operands[0]}
    z = equation.name.removeprefix(f"d{loss}/d")
    for a in by_name.values():
        if a.group == "forward" and a.operator == operator and a.operands == (z,):
            return f"{operator}'", {"g": f"d{loss}/d{a.name}", "z": z, "a": a.name}
    return "", {}


def _after_written(equation: Equation) -> int:
    """The number of the first form that stands for programs which nobody wrote down, as f' of its own does."""
    activation = ACTIVATIONS.get(equation.operator)
    if activation is None or equation.group == "forward":
        return len(equation.forms)
    unwritten = {form.name for form in activation.forms[len(activation.backward) :]}
    return next((n for n, form in enumerate(equation.forms) if form.name in unwritten), len(equation.forms))


def _of_count(key: str, form: Form, count: int) -> Form:
    """The loss by a form of its terms, or its slope by a form of theirs; for a mean over their count."""
    whole = share if key.endswith("'") else reduced

    def formula(ops: Any, *operands: Any) -> Any:
        return whole(ops, form.formula(ops, *operands), count)

    return replace(form, formula=formula)


# Proof ----------------------------------------------------------------------------------------------------------------


class _Named:
    """The named operations of an arithmetic and no others."""

    def __init__(self, ops: BallArrays) -> None:
        self._ops = ops

    def __getattr__(self, name: str) -> Any:
        if name not in NAMED:
            raise BadInput(f"there is no operation {name!r}; expected one of {', '.join(NAMED)}")
        return getattr(self._ops, name)


@lru_cache(maxsize=1024)
def _prove(adapter: str, key: str, form: Form) -> None:
    """Raise BadInput unless the form is equal to what it stands for, at every point that is tried."""
    where = f"adapter {adapter!r}: the form {form.name!r} of {key!r}"
    truth, allowed = _definition(where, key)
    odd = [o for o in form.operands if o not in allowed]
    if odd or not form.operands:
        got = f"reads {odd[0]!r}" if odd else "reads nothing"
        raise BadInput(f"{where} {got}; expected operands among {' '.join(allowed)}")
    mine = replace(form, formula=lambda ops, *operands: form.formula(_Named(ops), *operands))
    if key.removesuffix("'") in LOSSES:
        mine = _of_count(key, mine, 1)
    for row in range(ROWS):
        points = _points(key, row)
        _compare(where, key, mine, truth, points)
    for edge in EDGES:
        _compare(where, key, mine, truth, _points(key, 0, edge), known=False)
    # A number that one of the formats does not hold is refused here, not in the midst of a run.
    for target in FORMATS.values():
        with precision(PRECISIONS[0]):
            _value(where, mine, _operands(key, points, target), target)


def _definition(where: str, key: str) -> tuple[Form, tuple[str, ...]]:
    """What a form of this key is to be equal to, and the operands that it may read."""
    name, slope = key.removesuffix("'"), key.endswith("'")
    if name in ACTIVATIONS:
        activation = ACTIVATIONS[name]
        written = activation.backward[0] if slope else activation.forward[0]
        truth = activation.definition[slope] or written
        return replace(truth, name=written.name), ("g", "z", "a") if slope else ("z",)
    if name not in LOSSES:
        raise unknown(f"activation or loss of {where}:", name, (*ACTIVATIONS, *LOSSES), "(with ' for the derivative)")
    loss = LOSSES[name]
    true = (loss.true_slope or loss.slope[0].formula) if slope else (loss.true_value or loss.value[0].formula)
    what = loss.slope[0].name if slope else loss.value[0].name
    return Form(what, ("a", "t"), lambda ops, a, t: true(ops, a, t, 1), "definition"), ("a", "t")


def _points(key: str, row: int, edge: Sequence[float] | None = None) -> Points:
    """A row of seeded numbers for every operand that is given: both signs, binades from 2^−6 to 2^4; or an `edge`."""
    random = np.random.default_rng([row, len(key)])
    numbers = np.arange(COLUMNS) + row * COLUMNS
    sizes = (1 + random.random((2, COLUMNS))) * 2.0 ** np.stack([numbers % 11 - 6, (numbers + row) % 11 - 6])
    signs = np.stack([1 - 2 * (numbers // 11 % 2), random.choice([-1, 1], COLUMNS)])
    first, second = (sizes * signs)[:, None, :]
    if edge is not None:
        first = np.array([edge])
    name = key.removesuffix("'")
    if name in ACTIVATIONS:
        return {"z": first, "g": second} if key != name else {"z": first}
    if not LOSSES[name].admits(second[0]):  # what adds up to 1 is any number from 0 to 1, too
        cuts = np.sort(random.integers(1, 2**20, COLUMNS - 1)) / 2.0**20
        second = np.diff(cuts, prepend=0.0, append=1.0)[None, :]
    return {"a": first, "t": second}


def _operands(key: str, points: Points, target: Format) -> Operands:
    """The points as operands in `target`; the output a of an activation as the exact a(z)."""
    ops = BallArrays(target, OPENCL)
    found: dict[str, BallArray] = {name: ops.given(target.round(x)) for name, x in points.items()}
    name = key.removesuffix("'")
    if name in ACTIVATIONS:
        activation = ACTIVATIONS[name]
        output = activation.definition[0] or activation.forward[0]
        value = output.formula(ops, found["z"])
        known = np.empty(value.shape, dtype=object)
        for index in np.ndindex(known.shape):
            element: Any = value.values[index]
            known[index] = Rounded(ops.balls, element.exact)
        found["a"] = BallArray(ops, known)
    return found


def _compare(where: str, key: str, form: Form, truth: Form, points: Points, known: bool = True) -> None:
    """Raise BadInput unless a form and the truth agree at these points, at a precision that is raised until both do.

    At a kink anything of the set does. `known`: both have a value there.
    """
    for bits in PRECISIONS:
        with precision(bits):
            operands = _operands(key, points, FLOAT64)
            got, true = (_value(where, f, operands, FLOAT64) for f in (form, truth))
            if len(got) != len(true):
                raise BadInput(f"{where} gives {len(got)} numbers for {len(true)}; expected one for each component")
            apart = next((n for n, (x, y) in enumerate(zip(got, true, strict=True)) if _apart(x, y)), None)
            if apart is not None:
                at = ", ".join(f"{o} = {_shown(points[o], apart, len(got))}" for o in points)
                given, expected = (decimal(x[apart].exact, 17) for x in (got, true))
                raise BadInput(f"{where} is not equal to {truth.name}: at {at} it is {given}, expected {expected}")
            if all(_tight(x.exact) for x in (*got, *true)):
                return
    if not known:
        return
    at = ", ".join(f"{o} = {_shown(points[o], 0, 1)}" for o in points)
    raise BadInput(
        f"{where} has no value that {PRECISIONS[-1]} bits would tell at {at}; expected one wherever {key} has one"
    )


def _apart(x: Rounded, y: Rounded) -> bool:
    """Whether a value is certainly not the truth y, nor one of the set that y is."""
    if not (x.exact.is_finite() and y.exact.is_finite()):
        return False
    return bool(abs(x.exact - y.exact) > y.spread)


def _value(where: str, form: Form, operands: Operands, target: Format) -> list[Rounded]:
    """The values of a form, component by component. Raises BadInput for whatever it raises."""
    try:
        value = form.formula(BallArrays(target, OPENCL), *[operands[o] for o in form.operands])
    except BadInput as error:
        raise BadInput(f"{where}: {error}") from error
    except Exception as error:
        raise BadInput(f"{where} raised {type(error).__name__} in {target.name}: {said(error)}") from error
    if not isinstance(value, BallArray):
        raise BadInput(f"{where} gives {value!r}; expected what its operands and the operations of ops make")
    return list(value.values.ravel())


def _tight(x: arb) -> bool:
    """Whether a ball is known to so many bits; one around 0 to twice as many after the point."""
    return bool(x.is_finite() and (x.rel_accuracy_bits() >= AGREED or x.rad() < power_of_two(-2 * AGREED)))


def _shown(x: NDArray[np.float64], component: int, of: int) -> str:
    """A component of a row, or the whole row where the value is one number for all of it."""
    return repr(float(x[0, component])) if of == x.size else " ".join(repr(float(v)) for v in x[0])
