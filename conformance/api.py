"""The Python interface: check, train, and what there is to check."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from gradconform.adapters import registry
from gradconform.adapters.contract import Adapter
from gradconform.conformance.catalogue import catalogue, select
from gradconform.conformance.check import check_route
from gradconform.conformance.known import marked
from gradconform.conformance.measurement import Measurement
from gradconform.conformance.run_file import frame
from gradconform.conformance.runner import check_device
from gradconform.reference.cases import BadInput, Case, point, unknown
from gradconform.reference.profiles import PROFILES

if TYPE_CHECKING:
    import pandas as pd


def cases(glob: str = "*") -> list[str]:
    """The ids of the catalogue's cases that match a glob, in order."""
    return [c for c in catalogue() if fnmatch.fnmatchcase(c, glob)]


def check(
    adapter: str | Adapter,
    case: str | Case,
    dtype: str = "float64",
    device: str = "cpu",
    profile: str = "opencl",
) -> pd.DataFrame:
    """Judge an adapter on a case: one row a measurement, with the columns of a run file.

    `adapter` is a name ("torch": its default routes; "torch/eager"; "package.module:object") or an adapter object,
    `case` an id of the catalogue or a case made by `document_case`, `dtype` float64, float32, float16 or bfloat16.
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
    dtype: str = "float64",
    device: str = "cpu",
    profile: str = "opencl",
) -> pd.DataFrame:
    """Train for `steps` updates and judge every one from the framework's own weights.

    Returns the measurements with a first column `step`, 0 for the update of the case's own weights. Each route goes its
    own way from the case's weights; a route whose weights leave the dtype's range, or that crashes, ends there.
    """
    if steps < 1:
        raise BadInput(f"steps is {steps!r}; expected 1 or more")
    start = _case(case)
    tables = []
    for chosen in _chosen(adapter, device, profile):
        for step, rows in enumerate(_trajectory(chosen, start, steps, dtype, device, profile)):
            table = frame([m.row() for m in rows])
            table.insert(0, "step", step)
            tables.append(table)
    import pandas as pd

    return pd.concat(tables, ignore_index=True)


def _trajectory(
    chosen: registry.Chosen, case: Case, steps: int, dtype: str, device: str, profile: str
) -> Iterator[list[Measurement]]:
    weight_of = {new: w for w, new in case.equations.updated.items()}
    for _ in range(steps):
        rows = _measurements([chosen], case, dtype, device, profile)
        yield rows
        new = {weight_of[m.quantity]: m.value for m in rows if m.level == "whole" and m.quantity in weight_of}
        if any(v is None or v - v != 0 for v in new.values()) or not new:
            return
        values = tuple((n, float(new[n] or 0.0) if n in new else v) for n, v in case.values)
        case = replace(case, values=values)


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
        raise BadInput(f"case is a {type(case).__name__}; expected an id or a case made by document_case")
    found = select((case,))
    if len(found) > 1:
        raise BadInput(f"{case!r} matches {len(found)} cases; give one id, such as {found[0].id!r}")
    return found[0]


def _measurements(
    chosen: list[registry.Chosen], case: Case, dtype: str, device: str, profile: str
) -> list[Measurement]:
    at = point(case, dtype, device)
    return [
        m
        for c in chosen
        for m in marked(check_route(c.adapter, c.route, at, profile), registry.versions(c.adapter), device)
    ]
