"""The catalogue's operators as functions to verify: each framework's own callable beside the definition by hand."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np

from gradconform.conformance.cases.operators import OperatorCase, cases, chosen
from gradconform.conformance.programs import program_rows
from gradconform.reference.cases import BadInput, unknown
from gradconform.reference.derivations.operators.catalogue import OPERATORS
from gradconform.reference.derivations.operators.operator import DTYPES, Operator
from gradconform.reference.programs.functions import FUNCTIONS

#: The module that says what operators are called in a framework, by the framework.
FRAMEWORKS: Mapping[str, str] = {
    "torch": "gradconform.adapters.operators_torch",
    "jax": "gradconform.adapters.operators_jax",
    "numpy": "gradconform.adapters.operators_numpy",
}
#: The source of cases that PyTorch has itself.
OP_DB = "op_db"
#: Frameworks whose programs can be recorded.
JUDGED = tuple(program_rows.RECORDERS)
#: How frameworks say that an operator has no kernel for a dtype, or no derivative.
_LACKING = (
    "not implemented for", "not implemented", "does not support", "not supported", "Unsupported dtype",
    "unsupported dtype", "does not require grad", "Unsupported input type", "must be float32 or float64",
    "Differentiation rule for", "expected scalar type", "got unsupported", "does not accept dtype",
    "but got BFloat16", "but got Half", "Low precision dtypes", "without a derivative",
    "only implemented if", "not inexact",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Asked:
    """An operator's case in a framework and a dtype: the function, its arguments, and its definition.

    `function` is None where the framework has no such operator, or `why` says that it is not asked.
    """

    case: OperatorCase
    framework: str
    dtype: str
    function: Callable[..., Any] | None
    arguments: tuple[Any, ...]
    definition: Callable[..., Any] | None
    why: str = ""

    @property
    def approximated(self) -> float:
        """Ulps by which a program may approximate it: twice the error of the table's row, as for the derivative of a
        primitive, where it is one that errs."""
        row = FUNCTIONS[self.case.operator.row] if self.case.operator.row else None
        ulps = (row.half if self.dtype == "float16" else row.ulps) if row is not None else None
        return 4.0 + 2.0 * ulps if ulps is not None and ulps > 0.5 else 0.0

    @property
    def name(self) -> str:
        return self.case.id


def asked(globs: Sequence[str], frameworks: Sequence[str], dtypes: Sequence[str], source: str = "") -> Iterator[Asked]:
    """Every case of the operators that the globs name, in these frameworks and dtypes; in all of them without any.

    `source` is another source of cases than the catalogue's own: "op_db", PyTorch's sample inputs.

    Raises BadInput for an operator that there is not, for a framework whose programs are not recorded, and for a dtype
    that an operator does not have where it is named by itself.
    """
    for framework in frameworks:
        if framework not in JUDGED:
            raise unknown("framework of operators", framework, JUDGED)
    if source and list(frameworks) not in ([], ["torch"]):
        raise BadInput(f"cases of {source} are PyTorch's own; expected -a torch, or none")
    found = {o.name: o for glob in globs for o in chosen(glob)}
    for operator in found.values():
        for framework in ("torch",) if source else frameworks or JUDGED:
            for dtype in dtypes or operator.dtypes:
                if dtype in operator.dtypes or len(found) == 1:
                    of = _sampled(operator, dtype) if source else _of(operator, framework, dtype)
                    yield from of


def _of(operator: Operator, framework: str, dtype: str) -> Iterator[Asked]:
    call = callable_of(operator.name, framework)
    for case in cases(operator, dtype):
        if case.layout == "strided" and framework == "jax":
            continue  # its arrays have no strides
        if case.name.startswith("subnormal") and framework == "jax" and 0.0 in operator.kinks:
            continue  # XLA takes these numbers for 0, where there is a corner
        arrays = [] if call is None else [
            array(framework, x, dtype, strided=case.layout == "strided") for x in case.operands
        ]  # fmt: skip
        constants = {n: x for n, x in enumerate(arrays) if case.operator.operands[n].kind == "constant"}
        arguments = tuple(x for n, x in enumerate(arrays) if n not in constants)
        yield Asked(case, framework, dtype, function(case, call, constants), arguments, definition(case))


def _sampled(operator: Operator, dtype: str) -> Iterator[Asked]:
    """The cases that PyTorch's sample inputs give; of one that is not the catalogue's operator, why."""
    from gradconform.adapters import op_db

    call = callable_of(operator.name, "torch")
    if call is None or not operator.elementwise or any(x.kind != "real" for x in operator.operands):
        return
    for sample in op_db.samples(operator.name, len(operator.operands), dtype):
        numbers = tuple(np.asarray(x.double()) for x in sample.operands)
        case = OperatorCase(operator, f"{OP_DB}-{sample.number}", numbers, operator.parameters[0])
        yield Asked(case, "torch", dtype, None if sample.why else function(case, call, {}), sample.operands,
                    definition(case), sample.why)  # fmt: skip


def callable_of(name: str, framework: str) -> Callable[..., Any] | None:
    """A framework's function for an operator; None where it has none."""
    found: Callable[..., Any] | None = import_module(FRAMEWORKS[framework]).callable_of(name)
    return found


def function(
    case: OperatorCase, call: Callable[..., Any] | None, constants: Mapping[int, Any]
) -> Callable[..., Any] | None:
    """A framework's function with a case's parameters and constants, named as the operator and its operands are."""
    if call is None:
        return None

    def f(*arrays: Any) -> Any:
        return call(*_filled(case, arrays, constants), **case.parameters)

    f.__name__ = case.operator.name
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    f.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [inspect.Parameter(x.name, kind) for x in case.operator.operands if x.kind != "constant"]
    )
    return f


def definition(case: OperatorCase) -> Callable[..., Any] | None:
    """The operator's definition with a case's parameters; None where it has none by hand."""
    by_hand = case.operator.definition
    if by_hand is None:
        return None
    constants = {n: x for n, x in enumerate(case.operands) if case.operator.operands[n].kind == "constant"}

    def of(o: Any, *arrays: Any) -> Any:
        given = {n: o.argument(x) for n, x in constants.items()}
        return by_hand(o, *_filled(case, arrays, given), **case.parameters)

    return of


def _filled(case: OperatorCase, arrays: Sequence[Any], constants: Mapping[int, Any]) -> list[Any]:
    """The operands in their order: the constants among what is given."""
    rest = iter(arrays)
    return [constants[n] if n in constants else next(rest) for n in range(len(case.operands))]


def array(framework: str, numbers: Any, dtype: str, strided: bool = False) -> Any:
    """Numbers as a framework's array: of the dtype, complex numbers of that precision, whole numbers as they are."""
    found: Any = import_module(FRAMEWORKS[framework]).array(np.asarray(numbers), dtype, strided)
    return found


def answered(framework: str, call: Callable[..., Any], x: Any) -> tuple[Any, Any]:
    """What a framework's function of one number gives of many, and its derivative there: None where it has none."""
    found: tuple[Any, Any] = import_module(FRAMEWORKS[framework]).answered(call, x)
    return found


def without_slope(framework: str, call: Callable[..., Any], arguments: Sequence[Any]) -> bool:
    """Whether a framework has the operator and no derivative of it."""
    return not import_module(FRAMEWORKS[framework]).slopes(call, arguments)


def lacking(problem: str) -> bool:
    """Whether a problem says that the framework has no such kernel or derivative, and not that something is wrong."""
    return any(text in problem for text in _LACKING)


def listed() -> list[str]:
    """A line for each operator: its name, its family, what it is called in each framework, and its source."""
    modules = {f: import_module(m) for f, m in FRAMEWORKS.items()}
    lines = []
    for o in OPERATORS.values():
        called = "; ".join(f"{f} {name}" for f, m in modules.items() if (name := m.called(o.name)))
        truth = o.source if o.definition is not None else f"{o.source} (the truth is its own recorded forward)"
        dtypes = "" if o.dtypes == DTYPES else f", {' '.join(o.dtypes)} only"
        lines.append(f"{o.name}: {o.family}{dtypes}; {called}; {truth}")
    return lines
