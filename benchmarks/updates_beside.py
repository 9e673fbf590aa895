"""Rules of whole tensors, and what stands beside an optimizer: no right one is accused, and each fault is found.

    python benchmarks/updates_beside.py [--quick] [-o docs/updates]

Clips, averages of weights, loss scaling, schedules, LARS, Lamb, Adafactor, Muon and L-BFGS, of PyTorch (single tensor,
foreach, fused) and of optax (eager, jit), in four dtypes, judged in updates 1, 2, 10 of a matrix and a vector
(beside.csv), and what is wrong in one place, of `wrong_beside.py` and `wrong_lbfgs.py` (beside_faults.csv).

Exit status 1 if a right one deviates that is not known to, or a fault is missed in float32 or float64.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import optax
import pandas as pd
import torch
from torch import optim
from torch.amp import GradScaler
from torch.nn.utils import clip_grad_norm_, clip_grad_value_
from torch.optim import lr_scheduler
from torch.optim.swa_utils import AveragedModel, get_ema_avg_fn, get_ema_multi_avg_fn, get_swa_multi_avg_fn
from wrong_beside import FAULTS as BESIDE
from wrong_beside import RIGHT as RIGHT_BESIDE
from wrong_beside import Fault
from wrong_lbfgs import FAULTS as OF_LBFGS
from wrong_lbfgs import RIGHT as RIGHT_LBFGS

from gradconform.adapters import updates_optax, updates_torch
from gradconform.adapters.updates import Change
from gradconform.conformance.updates.judging import Finding, Judging, Ran
from gradconform.reference.arithmetic.formats import FORMATS
from gradconform.reference.arithmetic.profiles import OPENCL
from gradconform.reference.cases import BadInput

FAULTS, RIGHT = (*BESIDE, *OF_LBFGS), (*RIGHT_BESIDE, *RIGHT_LBFGS)
UPDATES = (1, 2, 10)
SHAPES = ((4, 3), (5,))


def _averaged(**how: Any) -> Callable[[Any], AveragedModel]:
    return lambda p: AveragedModel(torch.nn.ParameterList(p), **how)


def _scaled(of: Any, **settings: Any) -> Callable[[Any], Any]:
    return lambda p: (of(p, **settings), GradScaler("cpu", init_scale=8.0, growth_interval=2))


def _scheduled(of: Any, **settings: Any) -> Callable[[Any], Any]:
    def make(parameters: Any) -> Any:
        optimizer = optim.SGD(parameters, lr=0.1)
        return optimizer, of(optimizer, **settings)

    return make


#: PyTorch's, by name and way.
TORCH: dict[tuple[str, str], Any] = {
    ("clip by norm", "single"): partial(clip_grad_norm_, max_norm=1.0, foreach=False),
    ("clip by norm", "foreach"): partial(clip_grad_norm_, max_norm=1.0, foreach=True),
    ("clip by norm, ∞", "single"): partial(clip_grad_norm_, max_norm=1.0, norm_type=math.inf, foreach=False),
    ("clip by value", "single"): partial(clip_grad_value_, clip_value=0.5, foreach=False),
    ("clip by value", "foreach"): partial(clip_grad_value_, clip_value=0.5, foreach=True),
    ("average, β 0.9", "foreach"): _averaged(multi_avg_fn=get_ema_multi_avg_fn(0.9)),
    ("average, β 0.2", "foreach"): _averaged(multi_avg_fn=get_ema_multi_avg_fn(0.2)),
    ("average, β 0.9", "single"): _averaged(avg_fn=get_ema_avg_fn(0.9)),
    ("mean of weights", "single"): _averaged(),
    ("mean of weights", "foreach"): _averaged(multi_avg_fn=get_swa_multi_avg_fn()),
    ("loss scaling, SGD", "single"): _scaled(optim.SGD, lr=0.1, momentum=0.9),
    ("loss scaling, AdamW", "fused"): _scaled(optim.AdamW, lr=0.1, fused=True),
    ("schedule, steps", "single"): _scheduled(lr_scheduler.StepLR, step_size=3, gamma=0.7),
    ("schedule, exponential", "single"): _scheduled(lr_scheduler.ExponentialLR, gamma=0.9),
    ("schedule, warm-up", "single"): _scheduled(lr_scheduler.LinearLR, start_factor=0.1, total_iters=5),
    ("schedule, cosine", "single"): _scheduled(lr_scheduler.CosineAnnealingLR, T_max=4, eta_min=0.01),
    ("Adafactor", "single"): partial(optim.Adafactor, lr=0.1, weight_decay=0.1, foreach=False),
    ("Adafactor", "foreach"): partial(optim.Adafactor, lr=0.1, weight_decay=0.1, foreach=True),
    ("Adafactor, maximize", "single"): partial(optim.Adafactor, lr=0.1, d=2.0, eps=(1e-3, 1e-2), maximize=True),
    ("L-BFGS", "single"): partial(optim.LBFGS, lr=0.5, max_iter=1, history_size=4),
}
#: Of matrices alone.
MATRICES: dict[tuple[str, str], Any] = {
    ("Muon", "single"): partial(optim.Muon, lr=0.1),
    ("Muon, not Nesterov's", "single"): partial(optim.Muon, lr=0.1, nesterov=False, adjust_lr_fn="match_rms_adamw"),
}
OPTAX: dict[str, Callable[[], Any]] = {
    "average of gradients": lambda: optax.chain(optax.ema(0.9), optax.scale(-0.1)),
    "clip by norm, momentum": lambda: optax.chain(optax.clip_by_global_norm(1.0), optax.sgd(0.1, momentum=0.9)),
    "clip by value, Adam": lambda: optax.chain(optax.clip(0.5), optax.adam(0.1, eps=1e-3)),
    "LARS": lambda: optax.lars(0.1, weight_decay=0.1),
    "LARS, Nesterov": lambda: optax.lars(0.1, momentum=0.5, nesterov=True),
    "Lamb": lambda: optax.lamb(0.1, eps=1e-3),
    "Lamb, decay": lambda: optax.lamb(0.1, weight_decay=0.1),
    "Adafactor": lambda: optax.adafactor(0.1),
    "Adafactor, factored": lambda: optax.adafactor(0.1, min_dim_size_to_factor=2, weight_decay_rate=0.01),
    "Adafactor, momentum": lambda: optax.adafactor(0.1, min_dim_size_to_factor=2, momentum=0.9),
    "Muon": lambda: optax.contrib.muon(0.1),
    "Muon, two steps": lambda: optax.contrib.muon(0.1, ns_steps=2, weight_decay=0.1, consistent_rms=0.2),
    "L-BFGS": lambda: optax.lbfgs(0.5, memory_size=4, linesearch=None),
    "L-BFGS, γ 1": lambda: optax.lbfgs(0.5, memory_size=4, linesearch=None, scale_init_precond=False),
}


def drawn(shapes: Any, updates: int) -> tuple[list[Any], list[list[Any]]]:
    """Weights, and gradients of a scale of their own in each update."""
    random = np.random.default_rng(0)
    weights = [random.normal(size=s) for s in shapes]
    return weights, [
        [random.normal(size=s) * scale for s in shapes] for scale in 10 ** random.uniform(-1, 0.5, updates)
    ]


def changes_of_torch(make: Any, shapes: Any, dtype: str) -> Iterator[Change]:
    w, gs = drawn(shapes, max(UPDATES))
    given = [[torch.tensor(x) for x in g] for g in gs]
    return updates_torch.changes(make, [torch.tensor(x) for x in w], given, dtype, None)


def changes_of_optax(make: Any, way: str, dtype: str) -> Iterator[Change]:
    w, gs = drawn(SHAPES, max(UPDATES))
    return updates_optax.changes(make, [jnp.asarray(x) for x in w], gs, dtype, None, way)


def runs() -> Iterator[tuple[str, str, str, Callable[[str], Iterator[Change]]]]:
    """Framework, name, way, and the changes in a dtype."""
    for (name, way), make in TORCH.items():
        yield "torch", name, way, partial(changes_of_torch, make, SHAPES)
    for (name, way), make in MATRICES.items():
        yield "torch", name, way, partial(changes_of_torch, make, SHAPES[:1])
    for name, make in OPTAX.items():
        for way in updates_optax.ROUTES:
            yield "optax", name, way, partial(changes_of_optax, make, way)


def judged(framework: str, changes: Iterator[Change], updates: tuple[int, ...]) -> list[Finding]:
    adapter = {"torch": updates_torch, "optax": updates_optax}[framework]
    judging = Judging(OPENCL, Ran(adapter.ADAPTER, adapter.versions()))
    for change in changes:
        if change.number in updates:
            judging.add(change)
    return judging.findings


def correct(updates: tuple[int, ...], dtypes: tuple[str, ...]) -> pd.DataFrame:
    rows = []
    for framework, name, way, changes in runs():
        for dtype in dtypes:
            try:
                findings = judged(framework, changes(dtype), updates)
            except BadInput as error:  # GradScaler refuses float16
                print(f"{framework} {name} {way} {dtype}: {error}")
                continue
            known = [f for f in findings if (f.judgement.reason or "").startswith("known:")]
            counts = Counter("known" if f in known else f.judgement.verdict for f in findings)
            of = {v: counts.pop(v, 0) for v in ("conforms", "known", "deviates", "undecided")}
            largest = {q: max((getattr(f.judgement, q) or 0.0 for f in findings), default=0.0)
                       for q in ("share", "max_ulp")}  # fmt: skip
            rows.append({"framework": framework, "optimizer": name, "way": way, "dtype": dtype,
                         "judged": len(findings), **of, "not_certified": sum(counts.values()), **largest})  # fmt: skip
            if of["deviates"] or of["undecided"]:
                print(f"accused: {framework} {name} {way} {dtype}", flush=True)
    return pd.DataFrame(rows)


def caught(of: Fault, dtype: str) -> dict[str, Any]:
    report = of.report(dtype)
    first = next((f for f in report.findings if f.judgement.verdict == "deviates"), None)
    return {
        "fault": of.name, "dtype": dtype, "caught": first is not None, "formula": report.formula,
        "verdict": report.verdict, "named": first is not None and first.quantity == of.quantity,
        "equation": first.quantity if first else "",
    }  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("-o", "--output", type=Path, default=Path("docs/updates"))
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    dtypes = ("float32",) if options.quick else tuple(FORMATS)
    table = correct(UPDATES[:2] if options.quick else UPDATES, dtypes)
    table.to_csv(options.output / "beside.csv", index=False, float_format="%.4g")
    wide = [d for d in dtypes if d in ("float32", "float64")]
    narrow = [d for d in dtypes if d == "bfloat16"]
    faults = pd.DataFrame([caught(f, d) for d in (*wide, *narrow) for f in FAULTS])
    faults.to_csv(options.output / "beside_faults.csv", index=False)
    accused = [r.name for r in RIGHT for d in wide if r.report(d).verdict == "deviates"]
    sums = table[["judged", "conforms", "known", "not_certified", "deviates", "undecided"]].sum()
    print(", ".join(f"{n:,} {what.replace('_', ' ')}" for what, n in sums.items()))
    for dtype, of in faults.groupby("dtype", sort=False):
        print(f"faults, {dtype}: {of.caught.sum()} of {len(of)} caught, {of.named.sum()} by their equation")
    print(f"right ones accused: {', '.join(accused) or 'none'}")
    missed = faults[faults["dtype"].isin(wide) & ~faults["caught"]]
    return int(bool(sums["deviates"] or sums["undecided"] or accused or len(missed)))


if __name__ == "__main__":
    sys.exit(main())
