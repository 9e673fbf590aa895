"""A function whose derivative a gradient is to be, in the place of that of the function that was run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from gradconform.conformance.programs.completeness import missing
from gradconform.conformance.programs.recording import usable
from gradconform.reference.arithmetic.profiles import Profile
from gradconform.reference.cases import BadInput
from gradconform.reference.programs.run import DRAWS, Defined, Run


def run_of_meant(record: Callable[[], Run]) -> Run:
    """The run of the function that is meant. Raises BadInput where there is none."""
    try:
        run = usable(record(), defined=True)
    except BadInput as error:
        raise BadInput(f"gradient_of: {error}") from error
    if DRAWS in run.notes:
        raise BadInput("gradient_of: it draws random numbers, which are not those of f; expected them as an argument")
    return run


def held_against(run: Run, meant: Run, profile: Profile) -> Run:
    """The run, its truth the derivative of the function that is meant. Raises BadInput where that gives other shapes.

    What left the record of either function left it: nothing is called wrong then.
    """
    if (wanted := [y.shape for y in run.outputs]) != (got := [y.shape for y in meant.outputs]):
        raise BadInput(f"gradient_of gives arrays of the shapes {got}; expected those of {run.name}, {wanted}")
    gone = tuple(f"gradient_of: {m}" for m in missing(meant, profile))
    return replace(
        run,
        definition=Defined(meant.forward, tuple(a.ids for a in meant.arguments), meant.outputs),
        meant=meant.name,
        foreign=(*run.foreign, *gone),
        approximated=(),
        further=None,
    )
