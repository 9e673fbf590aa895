"""`verify`: is the gradient of this function right? A proof for one run, in any dtype, without a tolerance."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from gradconform.conformance import advice
from gradconform.conformance.answered import routes_named, words
from gradconform.conformance.programs import program_rows
from gradconform.conformance.programs.completeness import another_function, missing
from gradconform.conformance.programs.definitions import Definition, defined
from gradconform.conformance.programs.definitions import gradient_of as derivative
from gradconform.conformance.programs.frameworks import framework_of, leaves
from gradconform.conformance.programs.meant import held_against, run_of_meant
from gradconform.conformance.programs.recording import recorded, usable
from gradconform.conformance.programs.report import Report, joined, report_of, unsupported
from gradconform.reference.arithmetic.profiles import PROFILES, Profile
from gradconform.reference.arithmetic.profiles import profile as profile_of
from gradconform.reference.cases import BadInput, Dtype, named_format, unknown
from gradconform.reference.programs.record import Ids
from gradconform.reference.programs.run import Mode, Run, Unsupported, called

#: The modes that each word asks for.
MODES: Mapping[str, tuple[Mode, ...]] = {
    "reverse": ("reverse",), "forward": ("forward",), "both": ("reverse", "forward"),
}  # fmt: skip
#: What may be done about what a program stops: take the derivative through it all the same, or hold it constant.
STOPS = ("through", "intended")
#: Words that `accept` may name beside `conforms`.
ACCEPTED = ("lost", "vacuous", "ill-conditioned", "out of range", "singular")


@advice.of_verify
def verify(
    f: Any,
    *args: Any,
    wrt: int | str | Sequence[int | str] | None = None,
    dtype: Dtype | None = None,
    cotangent: Any = None,
    routes: str | Sequence[str] | None = None,
    mode: str = "reverse",
    tangent: Any = None,
    order: int = 1,
    batched: bool = False,
    rows: str | None = None,
    device: str | None = None,
    stop_gradient: str = "through",
    forms: Mapping[str, Any] | None = None,
    accept: str | Iterable[str] = (),
    profile: str = "opencl",
    seed: int = 0,
    gradient_of: Any = None,
    definition: Definition | None = None,
    replays: bool = True,
    approximated: float = 0.0,
) -> Report:
    """Verify the gradient of f at these arguments: a proof about this run, in the arguments' own dtype.

    In forward mode the same of the outputs' tangents.

    `f` is a function of PyTorch tensors or JAX arrays, or of trees of them, or a `torch.nn.Module`, whose parameters
    are arguments too. `wrt` names the arguments, by number or name, whose gradients are asked for: by default all of a
    floating-point dtype (PyTorch: those that require a gradient, if any does). `dtype` casts the arguments first, and
    `device` is where they, and a copy of a module, are moved.
    `cotangent` is what the outputs' adjoints are, a list with one for each output; by default random numbers, of a
    scalar, too. `routes` are "eager" (the default), of PyTorch "compile" and "func" (`vmap` over `torch.func.vjp`), of
    JAX "jit". `accept` names verdicts that count as true besides `conforms`.
    `mode="forward"` verifies tangents instead, along a random direction of the arguments or `tangent`, a list with one
    for each argument that is asked for, and `mode="both"` both; what the framework has no derivative of in a mode is
    `unsupported`. `order=2` verifies the gradient's own gradient as well. `rows="all"` verifies every row of the
    Jacobian, one number of the result at a time. `batched` asks for the gradients once more under `vmap`.
    The truth goes through what the program detaches or stops, unless `stop_gradient="intended"` says that this is meant
    to be constant. `forms` says what kernels stand for that the suite does not know (PyTorch): a function of the same
    arguments for each "namespace::name".
    `gradient_of` is a function of the same arguments whose derivative is meant where f has another by intention: of a
    straight-through estimator of rounding `lambda x: x`. Its value is not compared with that of f.
    `definition` says what f itself stands for: a formula over the recording arithmetic and the same arguments
    (`reference.programs.recording`). It is then the truth, in place of f's own forward record, and f's value is judged
    by it, too; f may approximate it to so many ulps as `approximated` says. Without `replays` f is not run again on
    other numbers, and is taken to be what its record says.

    Raises BadInput for arguments without a floating-point number, for an f that raises or whose output is none, or is
    not computed from an argument, and for a device that is not there. What changes its arguments or answers otherwise
    when it is run again is undecided.

    >>> import gradconform as gc
    >>> import torch
    >>> report = gc.verify(lambda x: (x * x.exp()).sum(), torch.tensor([0.5, -1.25]))
    >>> bool(report), report.formula, report.execution, report.accuracy
    (True, 'right', 'within', 'certified')
    >>> both = gc.verify(torch.sin, torch.tensor([0.5]), mode="both")
    >>> list(both.table["mode"]), bool(both)
    (['reverse', 'forward'], True)
    """
    accepted = words(accept, ACCEPTED)
    _check_function(f)
    for what, given, known in (
        ("profile", profile, PROFILES), ("stop_gradient", stop_gradient, STOPS), ("mode", mode, MODES),
    ):  # fmt: skip
        if not isinstance(given, str) or given not in known:
            raise unknown(what, given, known)
    if order not in (1, 2):
        raise BadInput(f"order is {order!r}; expected 1 or 2")
    if rows not in (None, "all"):
        raise BadInput(f"rows is {rows!r}; expected 'all' or nothing")
    along: Mapping[Mode, Any] = {"reverse": cotangent, "forward": tangent}
    for of_mode, numbers in along.items():
        if of_mode not in MODES[mode] and numbers is not None:
            what = "cotangent" if of_mode == "reverse" else "tangent"
            raise BadInput(f"{what}: it is of {of_mode} mode, and mode is {mode!r}; leave it out, or ask for 'both'")
    wrt = _wanted(wrt)
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
        raise BadInput(f"seed is {seed!r}; expected a whole number, 0 or more")
    _check_definition(definition, approximated)
    if gradient_of is not None and (definition is not None or not callable(gradient_of)):
        raise BadInput(f"gradient_of is a {type(gradient_of).__name__}; expected a function of the arguments of f, and "
                       "no definition beside it")  # fmt: skip
    framework = framework_of(f, args)
    recorder = program_rows.recorder_of(framework)
    function, given = recorder.prepared(f, args, None if dtype is None else named_format(dtype).name, device)
    options: dict[str, Any] = {
        "wrt": wrt, "routes": routes_named(routes, "eager"), "seed": seed,
        "stop_gradient": stop_gradient, "replays": replays,
    }  # fmt: skip
    if forms:
        _check_forms(forms, recorder.FRAMEWORK)
        options["definitions"] = forms
    constants = profile_of(profile, recorder.FRAMEWORK)
    functions = [function] if order == 1 else [function, recorder.gradient_of(function, seed)]
    truths = (
        {} if definition is None else dict(zip(functions, (definition, derivative(definition, seed)), strict=False))
    )
    others = {}
    if gradient_of is not None:
        meant, _ = recorder.prepared(gradient_of, args, None if dtype is None else named_format(dtype).name, device)
        each_meant = [meant] if order == 1 else [meant, recorder.gradient_of(meant, seed)]
        others = dict(zip(functions, each_meant, strict=True))
    found = []
    for of, each in ((of, m) for m in MODES[mode] for of in functions):
        more = {"batched": batched, "values": bool(truths) and of is function} if each == "reverse" else {}
        record = partial(recorded, recorder, each, of, given, {**options, **more})
        try:
            of_run = along[each] if of is function else None
            runs = [record(of_run)]
            if of in others:
                by = partial(recorded, recorder, each, others[of], given, {**options, "routes": ("eager",)})
                other = run_of_meant(partial(by, of_run))
                runs = [held_against(runs[0], other, constants)]
            if of is function:
                runs = [usable(runs[0], bool(truths or others))]
            if rows == "all" and of is function and any(x.size for x in _seeded(runs[0])):
                runs = [record(basis) for basis in _rows_of(runs[0])]
                runs = [held_against(run, other, constants) for run in runs] if of in others else runs
            runs = [of_route for run in runs for of_route in _by_route(run, constants)]
            if of in truths:
                turned = recorder.FRAMEWORK == "jax" and each == "reverse"
                runs = [replace(run, definition=defined(truths[of], run, given, turned, approximated)) for run in runs]
                firsts = {run.route: run for run in reversed(runs)}  # whichever row of a Jacobian
                runs += [run.valued() for run in reversed(firsts.values()) if run.values]
            found += [report_of(run, constants, accepted) for run in runs]
        except Unsupported as error:
            found.append(unsupported(of, each, str(error), accepted, constants, program_rows.dtype_of(leaves(given))))
        except BadInput as error:
            told = advice.raised(error, f, args, framework)
            if told is error:  # no error is its own cause
                raise
            raise told from error
        except MemoryError as error:
            what = f"{called(f)}: memory ran out; verify at smaller arguments, or the parts one by one"
            raise BadInput(what) from error
    report = found[0] if len(found) == 1 else joined(found)
    return replace(report, adapter=recorder.FRAMEWORK, digest=program_rows.digest_of(leaves(args)))


def _check_function(f: Any) -> None:
    if not callable(f):
        raise BadInput(f"f is of type {type(f).__name__}; expected a function, and its arguments after it")
    if isinstance(f, type):
        raise BadInput(
            f"f is the class {f.__name__}; expected a function: an instance, or of a rule {f.__name__}.apply"
        )


def _check_definition(definition: Any, approximated: Any) -> None:
    if not (definition is None or callable(definition)):
        raise BadInput(f"definition is a {type(definition).__name__}; expected a function of arithmetic and arguments")
    if not isinstance(approximated, int | float | np.number) or not 0 <= approximated < math.inf:
        raise BadInput(f"approximated is {approximated!r}; expected a number of ulps, 0 or more")


def _check_forms(forms: Any, framework: str) -> None:
    if framework == "jax":
        raise BadInput("forms: expected none for JAX; a primitive without a rule is to be replaced in the function")
    if not isinstance(forms, Mapping):
        raise BadInput(f"forms is a {type(forms).__name__}; expected a function for each name of an operation")
    for name, form in forms.items():
        if "::" not in str(name):
            raise BadInput(f"forms: {name!r} is no operation's name; expected one such as 'mylib::{name}'")
        if not callable(form):
            raise BadInput(f"forms: {name!r} is a {type(form).__name__}; expected a function of its arguments")


def _wanted(wrt: int | str | Sequence[int | str] | None) -> Sequence[int | str] | None:
    """The arguments that are asked for, as a list; None for all."""
    if wrt is None:
        return None
    wanted = (wrt,) if isinstance(wrt, str | int) else wrt
    if not (isinstance(wanted, Sequence) and wanted and all(isinstance(w, str | int) for w in wanted)):
        what = f"{type(wrt).__name__}" if not isinstance(wrt, Sequence) or wrt else "empty"
        raise BadInput(f"wrt is {what}; expected numbers or names of arguments, such as wrt=0 or wrt=['w']")
    return wanted


def _by_route(run: Run, profile: Profile) -> list[Run]:
    """The run, and those of other routes beside it; what one of these gave that is not complete is held against it."""
    complete = []
    for other in run.beside:
        gone = next((f"left the record: {m}" for m in missing(other, profile)), "")
        if not gone and another_function(run, other):
            gone = "is another function's: its outputs are not those of " + run.route
        if gone:
            why = f"{other.route}: held against the program of {run.route}, its own {gone}"
            run = replace(
                run, returned={**run.returned, **other.returned}, values={**run.values, **other.values},
                notes=(*run.notes, why),
            )  # fmt: skip
        else:
            complete.append(other)
    return [run, *complete]


def _seeded(run: Run) -> Sequence[Ids]:
    """The numbers whose adjoints are given: the outputs; in forward mode whose tangents are: the arguments."""
    return run.outputs if run.mode == "reverse" else [a.ids for a in run.arguments]


def _rows_of(run: Run) -> Iterator[list[Any]]:
    """One cotangent for each number of the result: 1 there, 0 elsewhere. In forward mode a tangent of the arguments."""
    seeded = _seeded(run)
    for number, of in enumerate(seeded):
        for index in np.ndindex(of.shape):
            basis = [np.zeros(o.shape) for o in seeded]
            basis[number][index] = 1.0
            yield basis
