"""What `gc.verify` costs beside gradcheck and check_grads, by size; and what whole models cost.

    python benchmarks/program_costs.py [--most 10000000] [--limit 120] [--models] [-o docs/programs]

One function for each family, of n numbers, in float64: "elementwise", Σ x·σ(x) of n numbers; "layers", the summed
squares of a perceptron with one hidden layer of tanh and n weights. Each checker has a process of its own: it checks a
small instance first, and then the function itself, so that imports and compilers are warm; its time is measured after
that, and the memory that the process took beyond the small instance. gradcheck's slow mode takes n evaluations, its
fast mode one perturbation; check_grads (JAX, order 1, reverse mode) two. What takes longer than the limit, or is
refused for more memory than there is, is left out, and so are the sizes above it. The exponent is that of the time
between the two largest sizes. With `--models`: the models of users' code, every gradient, in float32.
All functions are right: what a checker rejects is said. Exit status 1 if verify rejects one.
"""

from __future__ import annotations

import argparse
import json
import math
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

#: Seconds beyond which a first call, with what it compiles, is measured, and is not made again.
PATIENCE = 20.0
Checked = Callable[[], bool]
#: The functions by name, each of n numbers.
FAMILIES = ("elementwise", "layers")


def _numbers(family: str, n: int) -> tuple[np.ndarray[Any, Any], ...]:
    """The arguments of a function of about n numbers."""
    rng = np.random.default_rng(n)
    if family == "elementwise":
        return (rng.normal(size=n),)
    wide = max(1, math.isqrt(n // 2))
    return (
        rng.normal(size=(4, wide)),
        rng.normal(size=(wide, wide)) / wide**0.5,
        rng.normal(size=(wide, wide)) / wide**0.5,
    )


def _torch(family: str, n: int) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    import torch

    args = tuple(torch.tensor(a, requires_grad=True) for a in _numbers(family, n))
    if family == "elementwise":
        return lambda x: (x * torch.sigmoid(x)).sum(), args
    return lambda x, v, w: ((torch.tanh(x @ v) @ w) ** 2).sum(), args


def _jax(family: str, n: int) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    import jax
    import jax.numpy as jnp

    args = tuple(jnp.asarray(a) for a in _numbers(family, n))
    if family == "elementwise":
        return lambda x: (x * jax.nn.sigmoid(x)).sum(), args
    return lambda x, v, w: ((jnp.tanh(x @ v) @ w) ** 2).sum(), args


def _verified(f: Callable[..., Any], args: tuple[Any, ...]) -> bool:
    import gradconform as gc

    return bool(gc.verify(f, *args))


def _gradcheck(family: str, n: int, fast: bool) -> Checked:
    import torch

    f, args = _torch(family, n)
    return lambda: bool(torch.autograd.gradcheck(f, args, fast_mode=fast, raise_exception=False))


def _check_grads(family: str, n: int) -> Checked:
    from jax.test_util import check_grads

    f, args = _jax(family, n)

    def check() -> bool:
        try:
            check_grads(f, args, order=1, modes=["rev"])  # type: ignore[no-untyped-call]
        except AssertionError:
            return False
        return True

    return check


CHECKERS: Mapping[str, Callable[[str, int], Checked]] = {
    "verify, PyTorch": lambda family, n: lambda: _verified(*_torch(family, n)),
    "gradcheck": lambda family, n: _gradcheck(family, n, False),
    "gradcheck, fast": lambda family, n: _gradcheck(family, n, True),
    "verify, JAX": lambda family, n: lambda: _verified(*_jax(family, n)),
    "check_grads": _check_grads,
}


# Models ---------------------------------------------------------------------------------------------------------------


def _convolutional() -> tuple[Any, tuple[Any, ...]]:
    import torch
    from torch import nn

    model = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 16, 3), nn.ReLU(),
                          nn.MaxPool2d(2), nn.Flatten(), nn.Linear(400, 10))  # fmt: skip
    return model, (torch.randn(4, 1, 28, 28),)


def _transformer() -> tuple[Any, tuple[Any, ...]]:
    import torch
    from torch import nn

    return nn.TransformerEncoderLayer(256, 4, 1024, dropout=0.0, batch_first=True), (torch.randn(4, 64, 256),)


def _lstm() -> tuple[Any, tuple[Any, ...]]:
    import torch
    from torch import nn

    lstm = nn.LSTM(8, 32, batch_first=True)

    class Last(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm, self.head = lstm, nn.Linear(32, 2)

        def forward(self, x: Any) -> Any:
            return self.head(self.lstm(x)[0][:, -1])

    return Last(), (torch.randn(4, 50, 8),)


def _perceptron() -> tuple[Any, tuple[Any, ...]]:
    import torch
    from torch import nn

    layers = [m for _ in range(6) for m in (nn.Linear(512, 512), nn.Tanh())]
    return nn.Sequential(*layers), (torch.randn(32, 512),)


MODELS: Mapping[str, Callable[[], tuple[Any, tuple[Any, ...]]]] = {
    "two convolutions, 28 × 28, batch 4": _convolutional,
    "transformer block, d 256, 4 heads, 64 tokens, batch 4": _transformer,
    "LSTM, 32 wide, 50 steps, batch 4": _lstm,
    "perceptron 512 × 6, 1.6 million weights, batch 32": _perceptron,
}


def _model(name: str) -> dict[str, Any]:
    import torch

    import gradconform as gc

    torch.manual_seed(0)
    gc.verify(lambda x: (x * x).sum(), torch.randn(3))
    model, args = MODELS[name]()
    before, start = _peak(), time.perf_counter()
    report = gc.verify(model, *args)
    return {
        "model": name,
        "weights": sum(p.numel() for p in model.parameters()),
        "verdict": report.verdict,
        "formula": report.formula,
        "gradients": len(report.gradients),
        "seconds": round(time.perf_counter() - start, 2),
        "MiB": round(_peak() - before),
    }


# Measurement ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Cost:
    """What one check cost; `seconds` is the median of a few where it is short."""

    checker: str
    family: str
    numbers: int
    seconds: float
    mib: float
    accepted: bool


def _peak() -> float:
    """The most memory that this process has had, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def cost(checker: str, family: str, n: int) -> Cost:
    """One check, measured in this process."""
    if "check_grads" in checker or "JAX" in checker:
        import jax

        jax.config.update("jax_enable_x64", True)
    for _ in range(2):
        CHECKERS[checker](family, 10)()
    check = CHECKERS[checker](family, n)
    before, times = _peak(), []
    while len(times) < 2 or (sum(times[1:]) < 0.5 and len(times) < 10):
        start = time.perf_counter()
        accepted = check()
        times.append(time.perf_counter() - start)
        if times[0] > PATIENCE:
            break
    times = times[1:] or times
    return Cost(checker, family, n, float(np.median(times)), _peak() - before, accepted)


def _apart(limit: float, *options: str) -> dict[str, Any] | None:
    """One measurement in a process of its own; None where it takes too long, or is refused for its memory."""
    command = [sys.executable, __file__, *options]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=limit, check=False)
    except subprocess.TimeoutExpired:
        return None
    if done.returncode and "of memory are available" in done.stderr:
        return None
    if done.returncode:
        raise RuntimeError(f"{' '.join(options)}: {done.stderr[-2000:]}")
    return dict(json.loads(done.stdout.splitlines()[-1]))


def swept(most: int, limit: float) -> list[dict[str, Any]]:
    """Every checker on every family by size, as far as the limit lets it."""
    rows: list[dict[str, Any]] = []
    for family in FAMILIES:
        for checker in CHECKERS:
            n = 10
            while n <= most:
                found = _apart(limit, "--one", checker, family, str(n))
                if found is None:
                    break
                rows.append(found)
                print(found, file=sys.stderr, flush=True)
                n *= 10
    return rows


def table(rows: list[dict[str, Any]]) -> Any:
    """One line for each family and checker: seconds and MiB by size, and the exponent between the largest sizes."""
    import pandas as pd

    lines = []
    for (family, checker), of in pd.DataFrame(rows).groupby(["family", "checker"], sort=False):
        of = of.sort_values("numbers")
        line: dict[str, Any] = {"function": family, "checker": checker}
        for n, seconds, mib, accepted in zip(of.numbers, of.seconds, of.mib, of.accepted, strict=True):
            line[f"{n:,}"] = f"{seconds:.3g} s, {mib:.0f} MiB" + ("" if accepted else ", rejected")
        if len(of) > 1:
            (a, b), (s, t) = of.numbers.iloc[-2:], of.seconds.iloc[-2:]
            line["exponent"] = f"{math.log(t / s) / math.log(b / a):.2f}"
        lines.append(line)
    return pd.DataFrame(lines).fillna("—")


def main() -> int:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--most", type=int, default=10**7, help="numbers of the largest function")
    parser.add_argument(
        "--limit", type=float, default=120.0, help="seconds for one check, its process's start included"
    )
    parser.add_argument("--models", action="store_true", help="the models, and not the functions")
    parser.add_argument("-o", "--output", type=Path)
    parser.add_argument("--one", nargs=3, metavar=("CHECKER", "FAMILY", "N"), help=argparse.SUPPRESS)
    parser.add_argument("--model", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        checker, family, n = options.one
        print(json.dumps(vars(cost(checker, family, int(n)))))
        return 0
    if options.model:
        print(json.dumps(_model(options.model)))
        return 0
    import pandas as pd

    if options.models:
        rows = [r for name in MODELS if (r := _apart(10 * options.limit, "--model", name)) is not None]
        name, shown = "models", pd.DataFrame(rows)
        accepted = all(r["formula"] in ("right", "kink") for r in rows)
    else:
        rows = swept(options.most, options.limit)
        name, shown = "costs", table(rows)
        accepted = all(r["accepted"] for r in rows if r["checker"].startswith("verify"))
    print(shown.to_markdown(index=False))
    if options.output:
        options.output.mkdir(parents=True, exist_ok=True)
        pd.DataFrame(rows).to_csv(options.output / f"{name}.csv", index=False)
        (options.output / f"{name}.md").write_text(shown.to_markdown(index=False) + "\n", encoding="utf-8")
    return 0 if accepted else 1


if __name__ == "__main__":
    sys.exit(main())
