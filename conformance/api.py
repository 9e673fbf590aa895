"""The Python interface: check, assert_conforms, explain, train, and what there is to check."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from gradconform.adapters import registry
from gradconform.adapters.contract import Adapter
from gradconform.conformance.advice import advised
from gradconform.conformance.answered import Answered, words
from gradconform.conformance.cases.catalogue import ids, matching, select
from gradconform.conformance.check import check_route
from gradconform.conformance.command_line.explain import Explanation
from gradconform.conformance.command_line.explain import explain as explained
from gradconform.conformance.known import Files, KnownDeviation, entries_for, known_files, marked
from gradconform.conformance.run.run_file import frame
from gradconform.conformance.run.runner import check_device
from gradconform.conformance.training import Schedule, Training, by_optimizer, scheduled, updates
from gradconform.reference.arithmetic.profiles import PROFILES
from gradconform.reference.cases import BadInput, Case, Dtype, named_format, point, unknown
from gradconform.reference.measurement import Measurement

if TYPE_CHECKING:
    import pandas as pd


def cases(glob: str = "*") -> list[str]:
    """The ids of the catalogue's cases that match a glob, in order.

    Raises BadInput for a glob that is no text, and with the nearest ids for one that matches none.

    >>> import gradconform as gc
    >>> gc.cases("network/primitives/*")[:2]
    ['network/primitives/elu', 'network/primitives/gelu']
    """
    if not isinstance(glob, str):
        raise BadInput(f"glob is a {type(glob).__name__}; expected text, such as 'document/*'")
    return matching(glob, ids())


@advised()
def check(
    adapter: str | Adapter,
    case: str | Case,
    dtype: Dtype = "float64",
    device: str = "cpu",
    profile: str = "opencl",
    known: Files = (),
) -> pd.DataFrame:
    """Judge an adapter on a case: one row a measurement, with the columns of a run file.

    `adapter` is a name ("torch": its default routes; "torch/eager"; "package.module:object") or an adapter object,
    `case` an id of the catalogue or a case made by `document_case` or `network_case`, `dtype` float64, float32, float16
    or bfloat16, by name or as the object of NumPy, PyTorch or JAX. `known` is a file of known deviations, or several,
    beside the suite's. Raises BadInput, a ValueError, for a name that is not known, a value that the dtype cannot hold
    or a bad file. Whatever the adapter raises, or answers that cannot be judged, is a row whose verdict is `crashed`;
    so is one that changes its inputs, which are copies of the case's.

    >>> import gradconform as gc
    >>> rows = gc.check("numpy/complex-step", "document/worked-example", dtype="float32")
    >>> set(rows.verdict)
    {'conforms'}
    """
    chosen = _chosen(adapter, device, profile)
    entries = entries_for([c.adapter for c in chosen], known_files(known))
    return _table(frame([m.row() for m in _measurements(chosen, _case(case), dtype, device, profile, entries)]))


#: The verdicts that `assert_conforms` may be told to accept.
ACCEPTED = ("lost", "vacuous", "ill-conditioned", "out of range", "singular", "unsupported")


@advised()
def assert_conforms(
    adapter: str | Adapter,
    case: str | Case,
    dtype: Dtype = "float64",
    device: str = "cpu",
    profile: str = "opencl",
    known: Files = (),
    accept: str | Iterable[str] = (),
) -> pd.DataFrame:
    """Raise AssertionError, with the report for its message, unless every measurement of `check` conforms.

    So it fails where something deviates, crashed, is unsupported or undecided, where digits are lost, and where an
    answer leaves out some gradients, or some updated weights, beside others; what is known to deviate passes. `accept`
    are verdicts that pass besides: lost, vacuous, ill-conditioned, out of range, singular,
    unsupported. Returns the measurements. The other arguments, and what raises BadInput, are as for `check`.

    >>> import gradconform as gc
    >>> rows = gc.assert_conforms("numpy/complex-step", "document/worked-example")
    >>> gc.assert_conforms("numpy/central", "document/worked-example", dtype="bfloat16")
    Traceback (most recent call last):
        ...
    AssertionError: numpy on document/worked-example: 1 measurement: unsupported 1
      numpy/central bfloat16: unsupported: dtype: numpy/central runs in float64, float32, float16
    """
    accepted = words(accept, ACCEPTED)
    from gradconform.conformance.table import left_out, not_accepted, report

    rows = check(adapter, case, dtype, device, profile, known)
    wrong = not_accepted(rows, accepted)
    if wrong:
        raise AssertionError(report(rows, wrong))
    absent = left_out(rows)
    if absent:
        given = "the answer gives others of their kind and not these; give all of a kind, or ask gc.check"
        raise AssertionError(f"{report(rows, [])}\n  not there: {', '.join(absent)}: {given}")
    return rows


@advised()
def explain(
    case: str | Case,
    adapter: str | Adapter | None = None,
    dtype: Dtype = "float64",
    device: str = "cpu",
    profile: str = "opencl",
    only: str | Iterable[str] = (),
    format: Literal["text", "latex", "markdown"] = "text",
) -> Explanation:
    """A case's derivation, equation by equation: with numbers, the truth and, of an adapter, what it made of each.

    `only` are the quantities that are wanted, by name or glob. Of an adapter that has several default routes it is the
    first. The explanation is text, by `format` also LaTeX (for amsmath and graphicx, no wider than an article's text)
    or Markdown; it is a table in a notebook, and has its parts: `given`, `lines`, `problem`.

    >>> import gradconform as gc
    >>> print(gc.explain("document/worked-example", only="h1"))  # doctest: +ELLIPSIS
    document/worked-example in float64
    w1 = 0.15, w2 = 0.2, ...
    <BLANKLINE>
    forward
    h1 = w1·i1 + w2·i2
        = 0.15·0.05 + 0.2·0.1 = 0.0275
        truth 0.027500000000000002
    """
    if isinstance(case, Answered):
        raise BadInput(f"case is a {type(case).__name__}, which explains itself: report.explain()")
    found, name = _case(case), named_format(dtype).name
    explanation = explained(found, name, (), device, only, format=format)
    if adapter is None:
        return explanation
    chosen = _chosen(adapter, device, profile)[:1]
    measurements = _measurements(chosen, found, name, device, profile, entries_for([chosen[0].adapter], ()))
    return explained(found, name, measurements, device, only, f"{explanation.title}, {chosen[0].spec}", format)


def _table(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows as a table that shows its verdicts; pandas is slow to import, and loaded by then."""
    from gradconform.conformance.table import Measurements

    return Measurements(rows)


@advised({"epochs": "give steps=, the number of updates", "lr": "give rate="})
def train(
    adapter: str | Adapter,
    case: str | Case,
    steps: int = 100,
    dtype: Dtype = "float64",
    device: str = "cpu",
    profile: str = "opencl",
    known: Files = (),
    optimizer: Any = None,
    rule: Any = None,
    rate: Schedule | None = None,
    clip: Any = None,
) -> pd.DataFrame:
    """Train for `steps` updates and judge every one from the framework's own weights.

    Returns the measurements with a first column `step`, 0 for the update of the case's own weights, and a last column
    `drift`: for an updated weight, at the whole level, the largest difference of a component from the exact trajectory,
    which starts at the same weights and is never rounded (it is carried to 30 digits). The drift is information: every
    update is judged from the framework's own weights. Each route goes its own way from the case's weights; a route
    whose weights leave the dtype's range, that crashes or that does not give all of its updated weights ends there.
    `known` is as for `check`.

    `rate` is η in each step, as numbers or as a function of the step, from 0. `optimizer` makes what updates the
    weights, of PyTorch or optax, with weight decay and whatever it has, and `rule` is what one of your own should be:
    both as for `verify_update`. The gradient is the adapter's, and judged; a weight and its state are judged on what
    the optimizer had before its update, and the drift stands beside the weight. `clip` is what is done to the gradient
    before, such as `functools.partial(torch.nn.utils.clip_grad_norm_, max_norm=1.0)`; optax' clips and schedules stand
    in its chain.

    >>> import gradconform as gc
    >>> rows = gc.train("numpy/complex-step", "document/worked-example", steps=2)
    >>> set(rows.step), set(rows.verdict)
    ({0, 1}, {'conforms'})
    >>> bool(rows.drift.max() < 1e-15)
    True
    """
    if isinstance(steps, bool) or not isinstance(steps, int | np.integer) or steps < 1:
        raise BadInput(f"steps is {steps!r}; expected 1 or more, a whole number")
    routes = _chosen(adapter, device, profile)
    start = _case(case)
    import pandas as pd

    entries = entries_for([c.adapter for c in routes], known_files(known))
    if optimizer is None and (rule is not None or clip is not None):
        raise BadInput("rule and clip are of an optimizer; expected optimizer=, which makes one")
    name, rates = named_format(dtype).name, scheduled(rate, int(steps))
    tables = []
    for chosen in routes:
        asked = Training(chosen, start, int(steps), name, device, profile, entries, rates)
        run = updates(asked) if optimizer is None else by_optimizer(asked, optimizer, rule, clip)
        for step, rows in enumerate(run):
            table = frame([m.row() for m, _ in rows])
            table.insert(0, "step", step)
            table["drift"] = [drift for _, drift in rows]
            tables.append(table)
    return _table(pd.concat(tables, ignore_index=True))


def _chosen(adapter: str | Adapter, device: str, profile: str) -> list[registry.Chosen]:
    if not isinstance(profile, str) or profile not in PROFILES:
        raise unknown("profile", profile, PROFILES)
    try:
        chosen = registry.choose(adapter)
    except BadInput as error:
        if not isinstance(adapter, Case) and (not isinstance(adapter, str) or adapter not in ids()):
            raise
        name = ascii(adapter.id if isinstance(adapter, Case) else adapter)
        raise BadInput(f"{name} is a case, and stands in the adapter's place; expected (adapter, case, …)") from error
    check_device(chosen, device)
    return chosen


def _case(case: str | Case) -> Case:
    if isinstance(case, Case):
        return case
    if not isinstance(case, str):
        of_function = "; a function is verified by gradconform.verify(f, …)" if callable(case) else ""
        raise BadInput(
            f"case is a {type(case).__name__}; expected an id or a case made by document_case or network_case"
            + of_function
        )
    try:
        found = select((case,))
    except BadInput as error:
        if case.partition("/")[0] not in registry.registered():
            raise
        what = "expected (case, adapter) of explain, (adapter, case) else"
        raise BadInput(f"{case!r} is an adapter, and stands in the case's place; {what}") from error
    if len(found) > 1:
        raise BadInput(f"{case!r} matches {len(found)} cases; give one id, such as {found[0].id!r}")
    return found[0]


def _measurements(
    chosen: list[registry.Chosen],
    case: Case,
    dtype: Dtype,
    device: str,
    profile: str,
    entries: tuple[KnownDeviation, ...],
) -> list[Measurement]:
    at = point(case, dtype, device)
    return [
        m
        for c in chosen
        for m in marked(
            check_route(c.adapter, c.route, at, profile), registry.versions(c.adapter), device, entries, case.equations
        )
    ]
