"""How large a recorded run is: whether whole arrays judge it, or balls."""

from __future__ import annotations

from gradconform.reference.programs.run import Run

#: Operations on single numbers from which arrays are faster than balls (a program's break even at 250 to 700), from
#: which balls are not asked any more where digits are lost, and up to which they are asked what the arrays leave open:
#: of everything, and of the formula alone, which takes a fifth of that.
FASTER, IN_ARRAYS, AFFORDABLE, FORMULA_AFFORDABLE = 500, 1_500, 300_000, 600_000


def work(run: Run) -> int:
    """How many operations on single numbers a run takes, forward and backward."""
    return sum(s.work() for s in run.backward.steps)


def fits(run: Run) -> bool:
    """Whether a run is one for arrays: large enough, and without equations to be solved."""
    return work(run) >= FASTER and not any(s.implicit for s in (*run.defined.record.steps, *run.backward.steps))


def one_record(run: Run) -> bool:
    """Whether the backward record goes on from the forward one."""
    forward = run.forward.steps
    return run.backward.steps[: len(forward)] == forward
