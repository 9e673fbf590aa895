"""`gradconform train CASE …`: every update of a training run, judged from a terminal."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradconform.adapters import registry
from gradconform.conformance import api
from gradconform.conformance.command_line.update_command import named, rule_named, with_settings
from gradconform.conformance.known import Files, KnownFile, is_known
from gradconform.conformance.programs import program_rows
from gradconform.conformance.run.run_summary import counted
from gradconform.conformance.verify_update import adapter_of, framework_of_maker
from gradconform.reference.cases import BadInput
from gradconform.reference.judge import VERDICTS
from gradconform.reference.measurement import COLUMNS, JUDGED, TRAINING, Measurement

if TYPE_CHECKING:
    import pandas as pd


def optimizer(
    name: str, settings: Mapping[str, Any], rule: str, rates: Sequence[float] | None, steps: int
) -> dict[str, Any]:
    """What `gc.train` is asked of an optimizer. Raises BadInput for one that is not there."""
    asked: dict[str, Any] = {} if rates is None else {"rate": rates}
    if not name:
        if settings or rule:
            raise BadInput("--set and --rule are of an optimizer; expected --optimizer, such as torch.optim.AdamW")
        return asked
    if rates is not None and len(rates) < steps:
        raise BadInput(f"--rate has {len(rates)} numbers; expected one for each of {steps} steps")
    made, framework = named(name)[1:]
    found = with_settings(name, made, settings)
    if framework == "jax" and callable(found):  # a function of settings alone, which has them
        try:
            found = found()
        except TypeError as error:
            raise BadInput(f"{name}: {error}; give it by --set") from error
    return {**asked, "optimizer": found, "rule": rule_named(rule) or None}


def header(adapter: str, device: str, profile: str, known: Sequence[KnownFile], name: str) -> dict[str, Any]:
    """The header of a training run's file, with the versions of the adapter and of the optimizer's framework."""
    chosen = registry.choose(adapter)
    versions = {c.adapter.name: registry.versions(c.adapter) for c in chosen}
    if name:
        of = adapter_of(named(name)[2] or framework_of_maker(named(name)[1]))
        versions.setdefault(of.ADAPTER, of.versions())
    return {**program_rows.header(versions, profile, known, command="train"), "device": device}


def trained(adapter: str, case: str, steps: int, dtype: str, device: str, profile: str, known: Files,
            made: Mapping[str, Any]) -> pd.DataFrame:  # fmt: skip
    return api.train(adapter, case, steps, dtype, device, profile, known, **made)


def measurements(rows: pd.DataFrame) -> list[Measurement]:
    """The rows for a run file: a step of the case's training is a case of its own."""
    import pandas as pd

    found = []
    for row in rows.to_dict("records"):
        of: dict[str, Any] = {c: row[c] for c in COLUMNS}
        of |= {c: None for c, v in of.items() if c != "value" and not isinstance(v, str) and pd.isna(v)}
        found.append(Measurement(**{**of, "case": f"{TRAINING}{row['case']}/{row['step']}"}))
    return found


def write_table(rows: pd.DataFrame, path: Path) -> None:
    try:
        rows.to_csv(path, index=False)
    except OSError as error:
        raise BadInput(f"cannot write {path}: {error.strerror}; give another --table") from error


def told(rows: pd.DataFrame) -> list[str]:
    """What deviates, first of each quantity, and the last drift of each route."""
    lines = []
    wrong = rows[rows["verdict"].isin(["deviates", "crashed", "undecided"])]
    for row in wrong.drop_duplicates(["adapter", "route", "quantity", "level"]).itertuples():
        why = "; ".join(str(x) for x in (row.cause, row.reason) if isinstance(x, str))
        lines.append(f"step {row.step}, {row.quantity} ({row.level}), {row.adapter}/{row.route}: {row.verdict}: {why}")
    drifts = rows[rows["drift"].notna()]
    for (adapter, route), of in drifts.groupby(["adapter", "route"], sort=False):
        last = of[of["step"] == of["step"].max()]
        far = f"{last['drift'].max():.3g} from the exact trajectory"
        lines.append(f"{adapter}/{route}: after {counted(int(last['step'].iloc[0]) + 1, 'update')} {far}")
    return lines


def closing(rows: pd.DataFrame) -> str:
    counts = rows["verdict"].value_counts()
    said = ", ".join(f"{v} {counts[v]}" for v in VERDICTS if v in counts)
    judged, steps = int(rows["verdict"].isin(JUDGED).sum()), rows["step"].nunique()
    return f"{counted(judged, 'result')} of {counted(steps, 'update')}: {said}"


def exit_status(rows: pd.DataFrame, fail_on: Collection[str]) -> int:
    """1 where something deviates that is not known or has a verdict of `fail_on`; 3 where something has no verdict."""
    found = measurements(rows)
    if any((m.verdict == "deviates" and not is_known(m)) or m.verdict in fail_on for m in found):
        return 1
    broken = any(m.verdict in ("crashed", "undecided") for m in found)
    return 3 if broken or not any(m.verdict in JUDGED for m in found) else 0
