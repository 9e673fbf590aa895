"""The record that everything evaluates: an equation, its accepted forms, and the derivation they make up.

A formula is a plain function `formula(ops, *operands)` of named operands. It uses + − × ÷, integer powers and the
named operations of `ops`, and so it can be evaluated over any arithmetic that provides them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

Formula = Callable[..., Any]
#: What one component of an equation's result depends on: part(index, operands) gives a part of each operand, and where
#: the component lies in the formula's value on those parts.
Part = Callable[[tuple[int, ...], Sequence[Any]], tuple[list[Any], tuple[int, ...]]]
#: The parts of the operands that a block of the result's rows depends on.
Rows = Callable[[slice, Sequence[Any]], list[Any]]
Group = Literal["forward", "backward", "update"]


def elementwise(index: tuple[int, ...], operands: Sequence[Any]) -> tuple[list[Any], tuple[int, ...]]:
    """The `Part` of an equation each component of which depends on the same component of every operand alone."""
    where = tuple(slice(i, i + 1) for i in index)
    return [x[where] if getattr(x, "shape", ()) else x for x in operands], (0,) * len(index)


@dataclass(frozen=True)
class Slope:
    """The derivative f' of an elementwise function, as a function of its own: formulas of f'(z) and of f''(z).

    `third` is a bound of the third derivative of f wherever that exists: f'' moves by no more. `primitives` are the
    elementary functions that programs for f' use.
    """

    slope: Formula
    curvature: Formula
    third: float
    primitives: tuple[str, ...]


@dataclass(frozen=True)
class Form:
    """One accepted rounded program for an equation: a formula over named operands, and who writes it so.

    A `tangent` form is what forward mode computes. It has no adjoints, so where a framework reports its adjoints, at
    the step level, it is none of the accepted forms. A `narrow` form differs from the others only in 16-bit formats,
    where matrix products are accumulated in a wider one; elsewhere it is contained in them.

    An unstable form is a textbook's program whose mathematics is right and whose digits are not: `instead` says what
    keeps them. A form that is `asked` for by the name of a convention is accepted by routes that ask for it alone. A
    form that `approximates` is not equal to the formula: the text says what documents the approximation,
    and its error counts as lost accuracy, not as a deviation.

    >>> form = Form("g/cosh²(z)", ("g", "z"), lambda ops, g, z: g / ops.cosh(z) ** 2, "numpy_vjps.py of autograd")
    >>> form.unstable
    False
    """

    name: str
    operands: tuple[str, ...]
    formula: Formula
    source: str
    tangent: bool = False
    narrow: bool = False
    instead: str = ""
    approximates: str = ""
    asked: str = ""

    @property
    def unstable(self) -> bool:
        return bool(self.instead)

    def renamed(self, names: Mapping[str, str]) -> Form:
        """The same program over operands of other names."""
        return replace(self, operands=tuple(names[o] for o in self.operands))


@dataclass(frozen=True)
class Equation:
    """`name` = formula(operands). The first form is the document's own.

    `definition` is what the equation is true to: the first form, unless that reads what a framework has rounded where
    the mathematics does not, as a(1 − a) reads a where σ'(z) is meant. `operator` names the operation for the reader.

    `against`, where given, is the quantity that a relative accuracy is measured by instead of the result: a weight's
    update is judged by the step η·∂E/∂w, not by the weight it is subtracted from. `part`, for an equation of arrays,
    says what one component depends on, `rows` what a block of the first axis does; `shape` how large the result is. A
    `rowwise` result's component depends on its whole row; of one that is a sum of products `factors` says of how many.
    """

    name: str
    group: Group
    source: str
    forms: tuple[Form, ...]
    against: Form | None = None
    part: Part | None = None
    rows: Rows | None = None
    shape: tuple[int, ...] = ()
    definition: Form | None = None
    operator: str = ""
    rowwise: bool = False
    factors: int = 0

    @property
    def truth(self) -> Form:
        """The form whose exact value is the truth."""
        return self.definition or self.forms[0]

    @property
    def operands(self) -> tuple[str, ...]:
        return self.forms[0].operands

    @cached_property
    def read(self) -> tuple[str, ...]:
        """What any of the forms or the definition reads, in order."""
        return tuple(dict.fromkeys(o for form in (*self.forms, self.truth) for o in form.operands))


@dataclass(frozen=True)
class Derivation:
    """An ordered set of equations: what is given, how the loss follows, and how its gradient does.

    `gradient` and `updated` name, for every parameter, its partial derivative and its value after one step.
    """

    name: str
    inputs: tuple[str, ...]
    parameters: tuple[str, ...]
    rate: str
    loss: str
    equations: tuple[Equation, ...]
    gradient: Mapping[str, str]
    updated: Mapping[str, str]

    def __post_init__(self) -> None:
        known = set(self.given)
        for equation in self.equations:
            for form in (*equation.forms, equation.truth, *([equation.against] if equation.against else [])):
                missing = [o for o in form.operands if o not in known]
                if missing:
                    raise ValueError(f"{equation.name}: operand {missing[0]!r} is neither given nor derived before it")
            if equation.name in known:
                raise ValueError(f"{equation.name} is defined twice")
            known.add(equation.name)
        for names in (self.gradient, self.updated):
            unknown = set(names.values()) - known | set(names) - set(self.parameters)
            if unknown:
                raise ValueError(f"{min(unknown)!r} is named by gradient or updated and is no equation or parameter")

    @property
    def given(self) -> tuple[str, ...]:
        """The names a case gives values for: inputs, parameters and the learning rate."""
        return (*self.inputs, *self.parameters, self.rate)

    @cached_property
    def by_name(self) -> dict[str, Equation]:
        return {e.name: e for e in self.equations}

    def accepting(self, narrow: bool, conventions: tuple[str, ...]) -> Derivation:
        """With only the forms that nobody asks for or one of the conventions does, narrow ones among them or not.

        Made once: what is found of its equations is kept with them.
        """
        if (narrow, conventions) not in self._accepting:

            def kept(form: Form) -> bool:
                return (narrow or not form.narrow) and (not form.asked or form.asked in conventions)

            equations = tuple(replace(e, forms=tuple(filter(kept, e.forms))) for e in self.equations)
            every = all(len(a.forms) == len(b.forms) for a, b in zip(equations, self.equations, strict=True))
            self._accepting[narrow, conventions] = self if every else replace(self, equations=equations)
        return self._accepting[narrow, conventions]

    @cached_property
    def _accepting(self) -> dict[tuple[bool, tuple[str, ...]], Derivation]:
        return {}

    @cached_property
    def of_numbers(self) -> bool:
        """Whether every quantity is a number, an array without dimensions."""
        return not any(e.shape for e in self.equations)

    @cached_property
    def defined(self) -> Derivation:
        """The same quantities, each by its definition alone."""
        equations = tuple(replace(e, forms=(e.truth,), definition=None) for e in self.equations)
        return replace(self, equations=equations)

    def group(self, group: Group) -> tuple[Equation, ...]:
        return tuple(e for e in self.equations if e.group == group)

    @cached_property
    def leading_to(self) -> dict[str, frozenset[str]]:
        """By its name, the equations that each follows from by some form of theirs, itself among them."""
        found: dict[str, frozenset[str]] = {}
        for e in self.equations:
            found[e.name] = frozenset([e.name]).union(*(found.get(o, frozenset()) for o in e.read))
        return found

    @cached_property
    def intermediates(self) -> tuple[str, ...]:
        """The forward quantities that the loss has a named derivative with respect to, in forward order."""
        return tuple(e.name for e in self.group("forward") if f"d{self.loss}/d{e.name}" in self.by_name)

    def adjoint(self, name: str) -> str:
        """The name of the derivative of the loss with respect to the quantity `name`."""
        return f"d{self.loss}/d{name}"


class Evaluation:
    """Quantities by name, each computed from its equation when first asked for, unless it was given.

    `choose(values, forms)` picks among the values of an equation's forms; without it only the first is evaluated. A
    form whose exact value is another than the truth's is chosen from as what it may hold around the truth.
    """

    def __init__(
        self,
        derivation: Derivation,
        ops: Any,
        given: Mapping[str, Any],
        choose: Callable[[Sequence[Any], Sequence[Form]], Any] | None = None,
    ) -> None:
        self.derivation, self.ops, self.choose = derivation, ops, choose
        self.given = frozenset(given)
        self.values = dict(given)

    def __getitem__(self, name: str) -> Any:
        pending = [] if name in self.values else [name]
        while pending:  # not by recursion: a network may be deeper than calls may nest
            missing = [o for o in self._read_by(pending[-1]) if o not in self.values]
            if missing:
                pending += reversed(missing)
            elif (ready := pending.pop()) not in self.values:
                self.values[ready] = self._computed(self.derivation.by_name[ready])
        return self.values[name]

    def moved(self, to: Mapping[str, Any]) -> Evaluation:
        """The evaluation with other values of some that are given: what reads none of them stays as far as it is known.

        It is in the same arithmetic and chooses as this one does.
        """
        other = set(to)
        for equation in self.derivation.equations:
            if equation.name not in self.given and not other.isdisjoint(equation.read):
                other.add(equation.name)
        found = Evaluation(self.derivation, self.ops, to, self.choose)
        found.given |= self.given
        found.values |= {n: v for n, v in self.values.items() if n not in other}
        return found

    def _read_by(self, name: str) -> tuple[str, ...]:
        """The operands of the forms that a quantity is computed by."""
        equation = self.derivation.by_name[name]
        return equation.operands if self._by_the_first(equation) else equation.read

    def _by_the_first(self, equation: Equation) -> bool:
        return self.choose is None or len(equation.forms) == 1

    def _computed(self, equation: Equation) -> Any:
        if self.choose is None or self._by_the_first(equation):
            return self.form(equation.forms[0])
        return self.choose(self._around_the_truth(equation), equation.forms)

    def _around_the_truth(self, equation: Equation) -> list[Any]:
        """The values of the forms, with the truth as the centre of each."""
        values = [self.form(form) for form in equation.forms]
        elsewhere = [f.approximates or (equation.definition and f is not equation.definition) for f in equation.forms]
        if not any(elsewhere):
            return values
        truth = self.form(equation.truth)
        return [self.ops.recentred(v, truth) if e else v for v, e in zip(values, elsewhere, strict=True)]

    def form(self, form: Form) -> Any:
        """One form's value on this evaluation's operands, whether or not its quantity was given."""
        return form.formula(self.ops, *[self[o] for o in form.operands])

    def forms(self, name: str) -> list[Any]:
        """What each accepted form of the equation called `name` gives on this evaluation's operands."""
        return [self.form(form) for form in self.derivation.by_name[name].forms]


def evaluate(derivation: Derivation, ops: Any, given: Mapping[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """The quantities `names` by the document's own formulas, in the arithmetic of `ops` and of the given values."""
    evaluation = Evaluation(derivation, ops, given)
    return {name: evaluation[name] for name in names}
