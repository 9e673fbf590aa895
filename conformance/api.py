"""The Python interface: check, train, and what there is to check."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import DTypeLike

from gradconform.adapters import registry
from gradconform.adapters.contract import Adapter
from gradconform.conformance.answers import ask
from gradconform.conformance.catalogue import catalogue, select
from gradconform.conformance.check import check_route, judge_answer
from gradconform.conformance.known import marked
from gradconform.conformance.measurement import Measurement
from gradconform.conformance.run_file import frame
from gradconform.conformance.runner import check_device
from gradconform.conformance.trajectory import trajectory
from gradconform.reference.cases import BadInput, Case, point, unknown
from gradconform.reference.profiles import PROFILES

if TYPE_CHECKING:
    import pandas as pd


def cases(glob: str = "*") -> list[str]:
    """The ids of the catalogue's cases that match a glob, in order. Raises BadInput for a glob that is no text."""
    if not isinstance(glob, str):
        raise BadInput(f"glob is a {type(glob).__name__}; expected text, such as 'document/*'")
    return [c for c in catalogue() if fnmatch.fnmatchcase(c, glob)]


def check(
    adapter: str | Adapter,
    case: str | Case,
    dtype: DTypeLike = "float64",
    device: str = "cpu",
    profile: str = "opencl",
) -> pd.DataFrame:
    """Judge an adapter on a case: one row a measurement, with the columns of a run file.

    `adapter` is a name ("torch": its default routes; "torch/eager"; "package.module:object") or an adapter object,
    `case` an id of the catalogue or a case made by `document_case` or `network_case`, `dtype` float64, float32, float16
    or bfloat16, by name or as NumPy's object.
    Raises BadInput, a ValueError, for a name that is not known or a value that the dtype cannot hold.

    >>> import gradconform as gc
    >>> rows = gc.check("numpy/complex-step", "document/worked-example", dtype="float32")
    >>> set(rows.verdict)
    {'conforms'}
    """
    chosen = _chosen(adapter, device, profile)
    return frame([m.row() for m in _measurements(chosen, _case(case), dtype, device, profile)])


def train(
    adapter: str | Adapter,
    case: str | Case,
    steps: int = 100,
    dtype: DTypeLike = "float64",
    device: str = "cpu",
    profile: str = "opencl",
) -> pd.DataFrame:
    """Train for `steps` updates and judge every one from the framework's own weights.

    Returns the measurements with a first column `step`, 0 for the update of the case's own weights, and a last column
    `drift`: for an updated weight, at the whole level, the largest difference of a component from the exact trajectory,
    which starts at the same weights and is never rounded (it is carried to 30 digits). The drift is information: every
    update is judged from the framework's own weights. Each route goes its own way from the case's weights; a route
    whose weights leave the dtype's range, or that crashes, ends there.
    """
    if isinstance(steps, bool) or not isinstance(steps, int | np.integer) or steps < 1:
        raise BadInput(f"steps is {steps!r}; expected 1 or more, a whole number")
    start = _case(case)
    import pandas as pd

    tables = []
    for chosen in _chosen(adapter, device, profile):
        exact = trajectory(point(start, dtype, device))
        for step, rows in enumerate(_updates(chosen, start, steps, dtype, device, profile)):
            table = frame([m.row() for m, _ in rows])
            table.insert(0, "step", step)
            weights = next(exact)
            table["drift"] = [
                None if got is None or m.quantity not in weights else weights[m.quantity](got) for m, got in rows
            ]
            tables.append(table)
    return pd.concat(tables, ignore_index=True)


def _updates(
    chosen: registry.Chosen, case: Case, steps: int, dtype: DTypeLike, device: str, profile: str
) -> Iterator[list[tuple[Measurement, Any]]]:
    """Each step's measurements, those of updated weights, at the whole level, with the weights themselves."""
    updated = case.equations.updated
    for _ in range(steps):
        at = point(case, dtype, device)
        answer = ask(chosen.adapter, chosen.route, at)
        if isinstance(answer, Measurement):
            yield [(answer, None)]
            return
        rows = judge_answer(answer, chosen.adapter, chosen.route, at, profile)
        rows = marked(rows, registry.versions(chosen.adapter), device)
        new = {updated[w]: np.asarray(v, dtype=np.float64) for w, v in answer.updated.items()}
        yield [(m, new.get(m.quantity) if m.level == "whole" else None) for m in rows]
        if not all(np.isfinite(v).all() for v in new.values()):
            return
        of_weight = {w: new[n] if new[n].ndim else float(new[n]) for w, n in updated.items()}
        case = replace(case, values=tuple((n, of_weight.get(n, v)) for n, v in case.values))


def _chosen(adapter: str | Adapter, device: str, profile: str) -> list[registry.Chosen]:
    if profile not in PROFILES:
        raise unknown("profile", profile, PROFILES)
    chosen = registry.choose(adapter)
    check_device(chosen, device)
    return chosen


def _case(case: str | Case) -> Case:
    if isinstance(case, Case):
        return case
    if not isinstance(case, str):
        raise BadInput(
            f"case is a {type(case).__name__}; expected an id or a case made by document_case or network_case"
        )
    found = select((case,))
    if len(found) > 1:
        raise BadInput(f"{case!r} matches {len(found)} cases; give one id, such as {found[0].id!r}")
    return found[0]


def _measurements(
    chosen: list[registry.Chosen], case: Case, dtype: DTypeLike, device: str, profile: str
) -> list[Measurement]:
    at = point(case, dtype, device)
    return [
        m
        for c in chosen
        for m in marked(check_route(c.adapter, c.route, at, profile), registry.versions(c.adapter), device)
    ]
