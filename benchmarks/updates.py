"""Every optimizer against its rule: none that is right is accused, and what is wrong is found.

    python benchmarks/updates.py [--quick] [--only correct|faults|fused|drift]… [-o docs/updates]

correct: each optimizer of PyTorch (single tensor, foreach, fused) and of optax (eager, jit), with several settings, in
four dtypes, judged in updates 1, 2, 10 and 100. faults: the optimizers of `wrong_updates.py`, each wrong in one place.
fused: foreach and fused kernels at sizes 1 to 70. drift: float32 after many updates, beside the exact trajectory.

Exit status 1 if a right optimizer deviates that is not known to, or a fault is missed in float32 or float64.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
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
from wrong_updates import FAULTS, Wrong, maker, right

from gradconform.adapters import updates_optax, updates_torch
from gradconform.adapters.updates import Change
from gradconform.conformance.updates.check_recorded_update import chained
from gradconform.conformance.updates.check_update import Update
from gradconform.conformance.updates.judging import Finding, Judging, Ran, update_of
from gradconform.conformance.verify_update import verify_update
from gradconform.reference.arithmetic.exact import precision
from gradconform.reference.arithmetic.formats import FORMATS
from gradconform.reference.arithmetic.profiles import OPENCL
from gradconform.reference.programs.exact import Exact

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
}
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
}


@dataclass(frozen=True)
class Run:
    """An optimizer by one way: what makes it, and its changes to weights."""

    framework: str
    optimizer: str
    way: str
    changes: Callable[[NDArray[np.float64], Sequence[NDArray[np.float64]], str], Iterator[Change]]


def runs() -> Iterator[Run]:
    for name, (of, settings) in TORCH.items():
        ways: list[tuple[str, dict[str, Any]]] = [("single", {"foreach": False}), ("foreach", {"foreach": True})]
        for way, more in [*ways, *([("fused", {"fused": True})] if of in FUSED else [])]:
            yield Run("torch", name, way, _torch(of, {**settings, **more}))
    for name, make in OPTAX.items():
        for way in updates_optax.ROUTES:
            yield Run("optax", name, way, _optax(make, way))


def _torch(of: Any, settings: Mapping[str, Any]) -> Any:
    def changes(w: NDArray[np.float64], gs: Sequence[NDArray[np.float64]], dtype: str) -> Iterator[Change]:
        return updates_torch.changes(lambda p: of(p, **settings), torch.tensor(w), [torch.tensor(g) for g in gs],
                                     dtype, None)  # fmt: skip

    return changes


def _optax(make: Callable[[], Any], way: str) -> Any:
    def changes(w: NDArray[np.float64], gs: Sequence[NDArray[np.float64]], dtype: str) -> Iterator[Change]:
        return updates_optax.changes(make, jnp.asarray(w), list(gs), dtype, None, way)

    return changes


def drawn(size: int, updates: int, seed: int) -> tuple[NDArray[np.float64], list[NDArray[np.float64]]]:
    """Weights, and gradients of a scale of their own in each update."""
    random = np.random.default_rng(seed)
    return random.normal(size=size), [random.normal(size=size) * 10 ** random.uniform(-1, 0.5) for _ in range(updates)]


# Right optimizers -----------------------------------------------------------------------------------------------------


def correct(updates: Sequence[int], dtypes: Sequence[str], wanted: Callable[[Run], bool] = lambda r: True) -> (
    pd.DataFrame
):  # fmt: skip
    """One row for each quantity that was judged."""
    rows = []
    for run in filter(wanted, runs()):
        for dtype in dtypes:
            for f in judged(run, updates, dtype):
                j = f.judgement
                known = (j.reason or "").startswith("known:")
                rows.append({
                    "framework": run.framework, "optimizer": run.optimizer, "way": run.way, "dtype": dtype,
                    "update": f.update, "quantity": f.quantity, "verdict": "known" if known else j.verdict,
                    "share": j.share,
                    "max_ulp": j.max_ulp, "certified_bits": j.certified_bits, "form": j.accepted_form,
                })  # fmt: skip
    return pd.DataFrame(rows)


def judged(run: Run, updates: Sequence[int], dtype: str) -> list[Finding]:
    w, gs = drawn(SIZE, max(updates), 0)
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


def kernels(sizes: Sequence[int], dtypes: Sequence[str]) -> pd.DataFrame:
    """Of each kernel and dtype the sizes at which a quantity deviates in one of two updates."""
    rows = []
    for name, (of, settings) in TORCH.items():
        for way in ("foreach", *(("fused",) if of in FUSED else ())):
            for dtype in dtypes:
                bad: dict[str, list[int]] = {}
                for size in sizes:
                    w, gs = drawn(size, 2, size)
                    judging = Judging(OPENCL)
                    for change in _torch(of, {**settings, way: True})(w, gs, dtype):
                        judging.add(change)
                    for q in {f.quantity for f in judging.findings if f.judgement.verdict == "deviates"}:
                        bad.setdefault(q, []).append(size)
                rows.append({"optimizer": name, "kernel": way, "dtype": dtype,
                             "deviating": "; ".join(f"{q}: {_ranges(n)}" for q, n in bad.items())})  # fmt: skip
    return pd.DataFrame(rows)


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


def drift(run: Run, updates: int, dtype: str = "float32", bits: int = 256) -> float:
    """The largest difference of a weight from the trajectory that is never rounded, after so many updates."""
    w, gs = drawn(SIZE, updates, 2)
    exact: dict[str, list[arb]] = {}
    last = np.zeros(SIZE)
    with precision(bits):
        for change in run.changes(w, gs, dtype):
            assert change.asked is not None
            update = update_of(change, change.asked)
            exact = _exactly(update, exact)
            last = np.asarray(change.after["w"])
        return max(float(abs(arb(float(x)) - y).mid()) for x, y in zip(last, exact["w"], strict=True))


def _exactly(update: Update, before: Mapping[str, list[arb]]) -> dict[str, list[arb]]:
    """What the rule makes of the exact weight and state, with the gradient that was injected."""
    record, found = chained(update)
    exact = Exact(record, literals=False)
    for name, numbers in before.items():
        for i, x in zip(found[name].ravel().tolist(), numbers, strict=True):
            exact.values[i] = x
    exact.evaluate()
    of = {**{part: new for part, new in update.rule.states.items() if new in found}, "w": "w_new"}
    return {part: [exact[i].mid() for i in found[new].ravel().tolist()] for part, new in of.items()}


# Tables ---------------------------------------------------------------------------------------------------------------


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", action="append", choices=("correct", "faults", "fused", "drift"))
    parser.add_argument("-o", "--output", type=Path, default=Path("docs/updates"))
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    wanted = options.only or ["correct", "faults", "fused", "drift"]
    failed = False
    if "correct" in wanted:
        table = correct(UPDATES[:2] if options.quick else UPDATES, list(FORMATS))
        failed |= _of_correct(table, options.output)
    if "faults" in wanted:
        dtypes = ["float32"] if options.quick else list(FORMATS)
        found = pd.DataFrame([caught(f, d) for d in dtypes for f in FAULTS])
        accused = [r.fault for r in right() for d in dtypes if caught(r, d)["caught"]]
        failed |= _of_faults(found, accused, options.output)
    if "fused" in wanted:
        sizes = (1, 8, 15, 16, 17) if options.quick else tuple(range(1, 71))
        _of_kernels(kernels(sizes, list(FORMATS)), options.output)
    if "drift" in wanted:
        _of_drift(10 if options.quick else 1000, options.output)
    return int(failed)


def _of_correct(table: pd.DataFrame, folder: Path) -> bool:
    keys = ["framework", "optimizer", "way", "dtype"]
    found = table.groupby(keys, sort=False).agg(
        judged=("verdict", "size"),
        deviating=("verdict", lambda v: int((v == "deviates").sum())),
        undecided=("verdict", lambda v: int((v == "undecided").sum())),
        known=("verdict", lambda v: int((v == "known").sum())),
        not_certified=("verdict", lambda v: int((~v.isin(["conforms", "deviates", "known", "undecided"])).sum())),
        largest_share=("share", "max"),
        largest_ulp=("max_ulp", "max"),
        forms=("form", lambda f: "; ".join(sorted(set(f.dropna())))),
    )
    found.reset_index().to_csv(folder / "correct.csv", index=False, float_format="%.4g")
    verdicts = Counter(table["verdict"])
    said = ", ".join(f"{n:,} {v}" for v, n in verdicts.most_common())
    print(f"correct: {len(table):,} quantities judged: {said}")
    return bool(verdicts["deviates"] or verdicts["undecided"])


def _of_faults(found: pd.DataFrame, accused: Sequence[str], folder: Path) -> bool:
    found.to_csv(folder / "faults.csv", index=False, float_format="%.4g")
    for dtype, of in found.groupby("dtype", sort=False):
        rest = "" if of.caught.all() else f"; of the rest the largest share is {of[~of.caught].share.max():.3g}"
        print(f"faults, {dtype}: {of.caught.sum()} of {len(of)} caught, {of.named.sum()} by their equation{rest}")
    print(f"right ones accused: {', '.join(accused) or 'none'}")
    wide = found[found["dtype"].isin(["float32", "float64"])]
    return bool(accused) or not bool(wide.caught.all())


def _of_kernels(found: pd.DataFrame, folder: Path) -> None:
    found.to_csv(folder / "kernels.csv", index=False)
    for row in found[found.deviating != ""].itertuples():
        print(f"kernel: {row.optimizer}, {row.kernel}, {row.dtype}: {row.deviating}")


def _of_drift(updates: int, folder: Path) -> None:
    rows = [{"framework": r.framework, "optimizer": r.optimizer, "way": r.way, "updates": updates,
             "drift": drift(r, updates)} for r in runs()]  # fmt: skip
    pd.DataFrame(rows).to_csv(folder / "drift.csv", index=False, float_format="%.4g")
    worst = max(rows, key=lambda r: r["drift"])
    print(f"drift after {updates} updates in float32: {worst['drift']:.3g} at most, {worst['optimizer']}")


if __name__ == "__main__":
    sys.exit(main())
