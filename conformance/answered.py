"""The three answers of a report, which are the worst of what it judged, and the verdict that they come to."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from gradconform.reference.cases import BadInput, unknown
from gradconform.reference.judge import ACCURACY, EXECUTION, FORMULA, Accuracy, Execution, Formula, Judgement, Verdict

#: Verdicts of quantities, the worst first.
WORST: tuple[Verdict, ...] = ("deviates", "undecided", "unsupported", "out of range", "singular", "lost", "vacuous",
                               "ill-conditioned", "conforms")  # fmt: skip


class Answered:
    """A report about quantities that were judged."""

    def judgements(self) -> Iterable[Judgement]:
        """The judgement of each quantity."""
        raise NotImplementedError(f"{type(self).__name__} must give its judgements")

    @property
    def formula(self) -> Formula:
        return min((j.formula or "unknown" for j in self.judgements()), key=FORMULA.index)

    @property
    def execution(self) -> Execution:
        return min((j.execution or "undecided" for j in self.judgements()), key=EXECUTION.index)

    @property
    def accuracy(self) -> Accuracy | None:
        """The worst accuracy; None where nothing has one."""
        return min((j.accuracy for j in self.judgements() if j.accuracy), key=ACCURACY.index, default=None)

    @property
    def verdict(self) -> Verdict:
        return min((j.verdict for j in self.judgements()), key=WORST.index)

    def passes(self, accept: tuple[str, ...]) -> bool:
        """Whether every quantity conforms, or has one of the words that count as that."""
        return all(j.verdict in ("conforms", *accept) for j in self.judgements())


def routes_named(routes: str | Iterable[str] | None, otherwise: str) -> tuple[str, ...]:
    """The routes that are asked for; without any, the one that stands in their place."""
    if routes is not None and not isinstance(routes, Iterable):
        raise BadInput(f"routes is {routes!r}; expected a name, or several")
    return (routes,) if isinstance(routes, str) else tuple(routes or (otherwise,))


def words(accept: str | Iterable[str], known: Sequence[str]) -> tuple[str, ...]:
    """The verdicts that count as true besides `conforms`. Raises BadInput for any that is not among the known."""
    if not isinstance(accept, Iterable):
        raise BadInput(f"accept is {accept!r}; expected verdicts, some of {', '.join(known)}")
    accepted = (accept,) if isinstance(accept, str) else tuple(accept)
    for word in accepted:
        if word not in known:
            raise unknown("verdict to accept", word, known)
    return accepted
