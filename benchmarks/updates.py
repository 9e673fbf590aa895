"""Every optimizer against its rule: none that is right is accused, and what is wrong is found.

    python benchmarks/updates.py [--quick] [--only correct|faults|fused|drift]… [-o docs/updates]
        [--framework torch|optax] [--optimizer GLOB] [--dtype DTYPE]… [--fresh]

correct: each optimizer of PyTorch (single tensor, foreach, fused) and of optax (eager, jit), with several settings, in
four dtypes, judged in updates 1, 2, 10 and 100. faults: the optimizers of `wrong_updates.py`, each wrong in one place.
fused: foreach and fused kernels at sizes 1 to 70. drift: float32 after 1,000 updates, beside the exact trajectory.

What the tables of correct, fused and drift have already is not measured again, unless it is to be --fresh; --framework,
--optimizer and --dtype choose a part. Exit status 1 if a right optimizer deviates that is not known to, or a fault is
missed in float32 or float64.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import optax
import pandas as pd
import torch
from flint import arb
from numpy.typing import NDArray
from torch import optim
from torch.utils._pytree import tree_map
from updates_drift import written
from wrong_updates import FAULTS, Wrong, maker, right

from gradconform.adapters import updates_optax, updates_torch
from gradconform.adapters.updates import Change
from gradconform.conformance.updates.check_update import Judged, Update
from gradconform.conformance.updates.exact_update import Exactly, injected
from gradconform.conformance.updates.judging import Finding, Judging, Ran, update_of
from gradconform.conformance.verify_update import verify_update
from gradconform.reference.arithmetic.exact import precision
from gradconform.reference.arithmetic.formats import FORMATS
from gradconform.reference.arithmetic.profiles import OPENCL
from gradconform.reference.arithmetic.rounded import larger
from gradconform.reference.derivations.updates.rule import NEW_WEIGHT, WEIGHT
from gradconform.reference.judge import FIRST_PRECISION, ulp

UPDATES = (1, 2, 10, 100)
SIZE = 7
#: PyTorch's optimizers, with settings; and whether there is a fused kernel.
TORCH: Mapping[str, tuple[Any, Mapping[str, Any]]] = {
    "SGD": (optim.SGD, {"lr": 0.1}),
    "SGD, momentum and decay": (optim.SGD, {"lr": 0.1, "momentum": 0.9, "dampening": 0.1, "weight_decay": 0.01}),
    "SGD, Nesterov, maximize": (optim.SGD, {"lr": 0.01, "momentum": 0.9, "nesterov": True, "maximize": True}),
    "Adam": (optim.Adam, {"lr": 0.01}),
    "Adam, decay": (optim.Adam, {"lr": 0.01, "weight_decay": 0.1, "betas": (0.5, 0.9)}),
    "AdamW": (optim.AdamW, {"lr": 0.01}),
    "AMSGrad": (optim.Adam, {"lr": 0.01, "amsgrad": True}),
    "NAdam": (optim.NAdam, {"lr": 0.01}),
    "NAdamW": (optim.NAdam, {"lr": 0.01, "weight_decay": 0.1, "decoupled_weight_decay": True}),
    "Adamax": (optim.Adamax, {"lr": 0.01, "weight_decay": 0.1}),
    "RAdam": (optim.RAdam, {"lr": 0.01, "betas": (0.9, 0.9)}),
    "RAdamW": (optim.RAdam, {"lr": 0.01, "weight_decay": 0.1, "decoupled_weight_decay": True}),
    "Adagrad": (optim.Adagrad, {"lr": 0.1, "lr_decay": 0.01}),
    "Adadelta": (optim.Adadelta, {"lr": 1.0, "eps": 1e-3}),
    "RMSprop": (optim.RMSprop, {"lr": 0.01}),
    "RMSprop, centred, momentum": (optim.RMSprop, {"lr": 0.01, "centered": True, "momentum": 0.9, "eps": 1e-3}),
    "Rprop": (optim.Rprop, {"lr": 0.1}),
    "Adafactor": (optim.Adafactor, {"lr": 0.01}),
}
#: The updates after which a drift is told.
MARKS = (1, 3, 10, 30, 100, 300, 1000)
FUSED = (optim.SGD, optim.Adam, optim.AdamW, optim.Adagrad)
OPTAX: Mapping[str, Callable[[], Any]] = {
    "SGD": lambda: optax.sgd(0.1),
    "SGD, momentum": lambda: optax.sgd(0.1, momentum=0.9),
    "SGD, Nesterov": lambda: optax.sgd(0.01, momentum=0.9, nesterov=True),
    "SGD, decay": lambda: optax.chain(optax.add_decayed_weights(0.01), optax.sgd(0.1)),
    "Adam": lambda: optax.adam(0.01),
    "Adam, eps_root": lambda: optax.adam(0.01, eps_root=1e-4),
    "AdamW, cosine": lambda: optax.adamw(optax.cosine_decay_schedule(0.01, 200), weight_decay=0.1),
    "AMSGrad": lambda: optax.amsgrad(0.01),
    "NAdam": lambda: optax.nadam(0.01),
    "NAdamW": lambda: optax.nadamw(0.01),
    "Adamax": lambda: optax.adamax(0.01),
    "AdamaxW": lambda: optax.adamaxw(0.01),
    "RAdam": lambda: optax.radam(0.01, b2=0.9),
    "Adagrad": lambda: optax.adagrad(0.1),
    "Adadelta": lambda: optax.adadelta(1.0, eps=1e-3, weight_decay=0.1),
    "RMSprop": lambda: optax.rmsprop(0.01),
    "RMSprop, corrected, momentum": lambda: optax.rmsprop(0.01, momentum=0.9, eps_in_sqrt=False, bias_correction=True),
    "RMSprop, centred, Nesterov": lambda: optax.rmsprop(0.01, centered=True, momentum=0.9, nesterov=True, eps=1e-3),
    "Lion": lambda: optax.lion(0.01),
    "Rprop": lambda: optax.rprop(0.1),
    "Lamb": lambda: optax.lamb(0.01, weight_decay=0.1),
    "LARS": lambda: optax.lars(0.1, weight_decay=0.01),
    "Adafactor": lambda: optax.adafactor(0.01, min_dim_size_to_factor=2),
    "clipped by norm": lambda: optax.chain(optax.clip_by_global_norm(0.5), optax.adam(0.01)),
}
#: The weights of rules that are of matrices; others' are seven numbers.
SHAPES: Mapping[str, tuple[int, ...]] = {"Adafactor": (4, 3)}


@dataclass(frozen=True)
class Run:
    """An optimizer by one way: what makes it, and its changes to weights."""

    framework: str
    optimizer: str
    way: str
    changes: Callable[[Any, Sequence[Any], str], Iterator[Change]]


def runs() -> Iterator[Run]:
    for name, (of, settings) in TORCH.items():
        ways: list[tuple[str, dict[str, Any]]] = [("single", {"foreach": False}), ("foreach", {"foreach": True})]
        for way, more in [*ways, *([("fused", {"fused": True})] if of in FUSED else [])]:
            yield Run("torch", name, way, _torch(of, {**settings, **more}))
    for name, make in OPTAX.items():
        for way in updates_optax.ROUTES:
            yield Run("optax", name, way, _optax(make, way))


def _torch(of: Any, settings: Mapping[str, Any]) -> Any:
    def changes(w: Any, gs: Sequence[Any], dtype: str) -> Iterator[Change]:
        return updates_torch.changes(lambda p: of(p, **settings), tree_map(torch.tensor, w),
                                     [tree_map(torch.tensor, g) for g in gs], dtype, None)  # fmt: skip

    return changes


def _optax(make: Callable[[], Any], way: str) -> Any:
    def changes(w: Any, gs: Sequence[Any], dtype: str) -> Iterator[Change]:
        return updates_optax.changes(make, jnp.asarray(w), list(gs), dtype, None, way)

    return changes


def drawn(
    size: int | tuple[int, ...], updates: int, seed: int
) -> tuple[NDArray[np.float64], list[NDArray[np.float64]]]:
    """Weights, and gradients of a scale of their own in each update."""
    random = np.random.default_rng(seed)
    return random.normal(size=size), [random.normal(size=size) * 10 ** random.uniform(-1, 0.5) for _ in range(updates)]


# Right optimizers -----------------------------------------------------------------------------------------------------


def correct(updates: Sequence[int], dtypes: Sequence[str], wanted: Callable[[Run], bool] = lambda r: True) -> (
    pd.DataFrame
):  # fmt: skip
    """One row for each quantity that was judged."""
    return pd.DataFrame([
        {"framework": run.framework, "optimizer": run.optimizer, "way": run.way, "dtype": dtype, **_of(f)}
        for run in filter(wanted, runs()) for dtype in dtypes for f in judged(run, updates, dtype)
    ])  # fmt: skip


def _of(f: Finding) -> dict[str, Any]:
    j = f.judgement
    known = (j.reason or "").startswith("known:")
    return {
        "update": f.update, "quantity": f.quantity, "verdict": "known" if known else j.verdict, "share": j.share,
        "max_ulp": j.max_ulp, "certified_bits": j.certified_bits, "form": j.accepted_form,
    }  # fmt: skip


def judged(run: Run, updates: Sequence[int], dtype: str) -> list[Finding]:
    w, gs = drawn(SHAPES.get(run.optimizer, (SIZE,)), max(updates), 0)
    adapter = {"torch": updates_torch, "optax": updates_optax}[run.framework]
    judging = Judging(OPENCL, Ran(adapter.ADAPTER, adapter.versions()))
    for change in run.changes(w, gs, dtype):
        if change.number in updates:
            judging.add(change)
    return judging.findings


# Wrong ones -----------------------------------------------------------------------------------------------------------


def caught(of: Wrong, dtype: str, updates: int = 4) -> dict[str, Any]:
    """Whether a fault is caught, and by which equation first."""
    w, gs = drawn(SIZE, updates, 1)
    if of.gradients == "NaN":
        gs[1][2] = np.nan
    report = verify_update(maker(of), torch.tensor(w), [torch.tensor(g) for g in gs], rule=of.rule, dtype=dtype)
    first = next((f for f in report.findings if f.judgement.verdict == "deviates"), None)
    return {
        "fault": of.fault, "dtype": dtype, "caught": first is not None, "formula": report.formula,
        "named": first is not None and first.quantity == of.quantity, "equation": first.quantity if first else "",
        "share": max((f.judgement.share or 0.0 for f in report.findings), default=0.0),
    }  # fmt: skip


# Kernels --------------------------------------------------------------------------------------------------------------


def kernels(run: Run, sizes: Sequence[int], dtype: str) -> str:
    """At which sizes a quantity deviates in one of two updates; empty where none does.

    A tensor of each size is a parameter of one optimizer. Their numbers are judged together, as the rules go number by
    number, and only what deviates is looked at by its size. No gradient is so small that its square is 0 in float16.
    """
    weights, gradients = {}, [{}, {}]
    for size in sizes:
        weights[f"w{size}"], drawn_ones = drawn(size, 2, size)
        for of, g in zip(gradients, drawn_ones, strict=True):
            of[f"w{size}"] = np.copysign(0.25 + np.abs(g), g)
    bad: dict[str, list[int]] = {}
    changes = list(run.changes(weights, gradients, dtype))
    for number in (1, 2):
        of = [c for c in changes if c.number == number]
        together = Judging(OPENCL)
        together.add(_joined(of))
        if all(f.judgement.verdict != "deviates" for f in together.findings):
            continue
        for change in of:
            judging = Judging(OPENCL)
            judging.add(change)
            for f in judging.findings:
                if f.judgement.verdict == "deviates" and change.gradient.size not in bad.setdefault(f.quantity, []):
                    bad[f.quantity].append(change.gradient.size)
    return "; ".join(f"{q}: {_ranges(sorted(n))}" for q, n in bad.items() if n)


def _joined(changes: Sequence[Change]) -> Change:
    """The changes of several tensors as that of one; what is one number for each is the same for all."""

    def of(values: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
        return np.concatenate(values) if values[0].ndim else values[0]

    first = changes[0]
    before = {k: of([c.before[k] for c in changes]) for k in first.before}
    after = {k: of([c.after[k] for c in changes]) for k in first.after}
    gradient = of([c.gradient for c in changes])
    return replace(first, tensor="w", gradient=gradient, before=before, after=after, again=None)


def _ranges(sizes: Sequence[int]) -> str:
    """Sizes as ranges, such as 16…70."""
    found: list[list[int]] = []
    for n in sizes:
        if found and n == found[-1][1] + 1:
            found[-1][1] = n
        else:
            found.append([n, n])
    return ", ".join(str(a) if a == b else f"{a}…{b}" for a, b in found)


# Drift ----------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Drift:
    """After each of some updates how far the weights are from the trajectory that is never rounded.

    `error` is the largest error of a weight in one update, from what the framework itself had before it, in ulp of the
    weight before or after, whichever is larger. `known` is the deviation that is known of it, if there is one.
    """

    distance: Mapping[int, float]
    error: float
    known: str = ""


def drift(run: Run, updates: int, dtype: str = "float32") -> Drift:
    """The drift of a run, and its largest error, in so many updates."""
    w, gs = drawn(SHAPES.get(run.optimizer, (SIZE,)), updates, 2)
    wanted = {n for n in (1, *MARKS, updates) if n <= updates}
    exact: Exactly | None = None
    distance, error = {}, 0.0
    for change in run.changes(w, gs, dtype):
        assert change.asked is not None
        update = update_of(change, change.asked)
        exact = exact or Exactly(update)
        far = exact.step(update, injected(update))
        if change.number in wanted:
            distance[change.number] = far
        error = max(error, _error(update))
    reasons = (f.judgement.reason or "" for f in judged(run, (1, 2), dtype) if f.judgement.verdict == "deviates")
    return Drift(distance, error, next((r.partition(";")[0] for r in reasons), ""))


def _error(update: Update) -> float:
    """The largest error of a new weight in ulp, by the rule's equation on what the framework had."""
    (equation,) = [e for e in update.reported if e.name == NEW_WEIGHT]
    with precision(FIRST_PRECISION):
        program, exact = Judged(update, equation, OPENCL).exact()
        before, got = (np.asarray(update.values[n]).ravel().tolist() for n in (WEIGHT, NEW_WEIGHT))
        truths = [exact[i] for i in program.results.ravel().tolist()]
        units = [
            ulp(larger(abs(t), abs(arb(w))), update.formats[NEW_WEIGHT]) for t, w in zip(truths, before, strict=True)
        ]
        return max(float((abs(arb(x) - t) / u).mid()) for x, t, u in zip(got, truths, units, strict=True))


# Tables ---------------------------------------------------------------------------------------------------------------

KEYS = ("framework", "optimizer", "way", "dtype")


@dataclass(frozen=True)
class Part:
    """What is asked for: whether a run in a dtype is, and whether it is measured though a table has it."""

    framework: str | None
    optimizer: str
    dtypes: tuple[str, ...]
    fresh: bool

    def runs(self) -> list[Run]:
        return [r for r in runs() if self.framework in (None, r.framework) and fnmatchcase(r.optimizer, self.optimizer)]


def measured(path: Path, part: Part, chosen: Sequence[Run], dtypes: Sequence[str],
             measure: Callable[[Run, str], dict[str, Any]]) -> pd.DataFrame:  # fmt: skip
    """The table of a file, with a row for each run and dtype that is asked for; each is written as it is measured."""
    there = pd.read_csv(path, keep_default_na=False) if path.exists() else pd.DataFrame(columns=list(KEYS))
    rows: dict[tuple[str, ...], dict[str, Any]] = {tuple(str(r[k]) for k in KEYS): r for r in there.to_dict("records")}
    wanted = {(r.framework, r.optimizer, r.way, d): r for r in chosen for d in dtypes if d in (part.dtypes or dtypes)}
    for key, run in wanted.items():
        if key in rows and not part.fresh:
            continue
        started = time.perf_counter()
        rows[key] = {**dict(zip(KEYS, key, strict=True)), **measure(run, key[3])}
        print(f"{', '.join(key)}: {time.perf_counter() - started:.1f} s", file=sys.stderr, flush=True)
        order = {(r.framework, r.optimizer, r.way, d): n for n, (r, d) in enumerate(
            (r, d) for r in runs() for d in FORMATS)}  # fmt: skip
        known = sorted((k for k in rows if k in order), key=order.__getitem__)
        pd.DataFrame([rows[k] for k in known]).to_csv(path, index=False, float_format="%.4g")
    return pd.DataFrame([rows[k] for k in wanted])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", action="append", choices=("correct", "faults", "fused", "drift"))
    parser.add_argument("--framework", choices=("torch", "optax"))
    parser.add_argument("--optimizer", default="*")
    parser.add_argument("--dtype", action="append", choices=tuple(FORMATS), default=[])
    parser.add_argument("--fresh", action="store_true")
    parser.add_argument("-o", "--output", type=Path, default=Path("docs/updates"))
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    wanted = options.only or ["correct", "faults", "fused", "drift"]
    part = Part(options.framework, options.optimizer, tuple(options.dtype), options.fresh)
    failed = False
    if "correct" in wanted:
        failed |= _of_correct(part, UPDATES[:2] if options.quick else UPDATES, options.output)
    if "faults" in wanted:
        dtypes = ["float32"] if options.quick else list(FORMATS)
        found = pd.DataFrame([caught(f, d) for d in dtypes for f in FAULTS])
        accused = [r.fault for r in right() for d in dtypes if caught(r, d)["caught"]]
        failed |= _of_faults(found, accused, options.output)
    if "fused" in wanted:
        _of_kernels(part, (1, 8, 15, 16, 17) if options.quick else tuple(range(1, 71)), options.output)
    if "drift" in wanted:
        _of_drift(part, 10 if options.quick else 1000, options.output)
    return int(failed)


def _of_correct(part: Part, updates: Sequence[int], folder: Path) -> bool:
    def measure(run: Run, dtype: str) -> dict[str, Any]:
        table = pd.DataFrame([_of(f) for f in judged(run, updates, dtype)])
        verdicts = Counter(table["verdict"])
        counts = {v: verdicts.pop(v, 0) for v in ("deviates", "undecided", "known", "conforms")}
        return {
            "judged": len(table), **counts, "not_certified": sum(verdicts.values()),
            "largest_share": table["share"].max(), "largest_ulp": table["max_ulp"].max(),
            "forms": "; ".join(sorted(set(table["form"].dropna()))),
        }  # fmt: skip

    found = measured(folder / "correct.csv", part, part.runs(), tuple(FORMATS), measure)
    verdicts = ("conforms", "known", "not_certified", "deviates", "undecided")
    counts = {v: int(found[v].astype(int).sum()) for v in verdicts}
    said = ", ".join(f"{n:,} {v.replace('_', ' ')}" for v, n in counts.items())
    print(f"correct: {found['judged'].astype(int).sum():,} quantities judged: {said}")
    for row in found[(found["deviates"].astype(int) > 0) | (found["undecided"].astype(int) > 0)].itertuples():
        print(f"accused: {row.framework} {row.optimizer} {row.way} {row.dtype}")
    return bool(counts["deviates"] or counts["undecided"])


def _of_faults(found: pd.DataFrame, accused: Sequence[str], folder: Path) -> bool:
    found.to_csv(folder / "faults.csv", index=False, float_format="%.4g")
    for dtype, of in found.groupby("dtype", sort=False):
        rest = "" if of.caught.all() else f"; of the rest the largest share is {of[~of.caught].share.max():.3g}"
        print(f"faults, {dtype}: {of.caught.sum()} of {len(of)} caught, {of.named.sum()} by their equation{rest}")
    print(f"right ones accused: {', '.join(accused) or 'none'}")
    wide = found[found["dtype"].isin(["float32", "float64"])]
    return bool(accused) or not bool(wide.caught.all())


def _of_kernels(part: Part, sizes: Sequence[int], folder: Path) -> None:
    chosen = [r for r in part.runs() if r.way in ("foreach", "fused") and r.optimizer not in SHAPES]

    def measure(run: Run, dtype: str) -> dict[str, Any]:
        return {"sizes": _ranges(sizes), "deviating": kernels(run, sizes, dtype)}

    found = measured(folder / "kernels.csv", part, chosen, tuple(FORMATS), measure)
    print(f"kernels: {len(found)} by {len(sizes)} sizes; {int((found.deviating != '').sum())} deviate")
    for row in found[found.deviating != ""].itertuples():
        print(f"kernel: {row.optimizer}, {row.way}, {row.dtype}: {row.deviating}")


def _of_drift(part: Part, updates: int, folder: Path) -> None:
    def measure(run: Run, dtype: str) -> dict[str, Any]:
        found = drift(run, updates, dtype)
        return {
            "known": found.known,
            "largest_ulp": found.error,
            **{f"after_{n}": d for n, d in found.distance.items()},
        }

    found = measured(folder / "drift.csv", part, part.runs(), ("float32",), measure)
    written(folder)
    last = f"after_{updates}"
    right = found[found["known"] == ""]
    worst = right.loc[right[last].astype(float).idxmax()]
    print(f"drift after {updates} updates in float32: {float(worst[last]):.3g} at most, {worst['optimizer']}")


if __name__ == "__main__":
    sys.exit(main())
