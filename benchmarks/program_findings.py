"""What PyTorch and JAX get wrong or lose in single functions, as `gc.verify` says it: docs/programs/found.md.

    python benchmarks/program_findings.py [--framework torch] [-o docs/programs]

Each finding is a function of a few numbers, with adjoints of 1: what came back for its derivative, what it is, and the
three answers. Beside each stands one that is right, so that what is found is not a matter of the judge alone.
Exit status 1 if a finding is one no more, or a right neighbour is accused.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import gradconform as gc
from gradconform.conformance.programs.report import Report

Function = Callable[[Any], Any]


@dataclass(frozen=True)
class Finding:
    """A function and where it fails; `beside` is a number, or a program of the same, where it does not."""

    framework: str
    text: str
    f: Function
    at: tuple[float, ...]
    dtype: str
    why: str
    beside: tuple[float, ...] = ()
    instead: Function | None = None
    order: int = 1


def _torch() -> list[Finding]:
    import torch
    from torch.nn import functional as F

    return [
        Finding("torch", "digamma", torch.digamma, (1.5,), "float64",
                "its derivative is polygamma(1, x), which is computed to about float32", (), torch.erf),
        Finding("torch", "hardsigmoid", F.hardsigmoid, (1.0,), "float64", "a sixth is a float32 in its backward kernel",
                (4.0,)),
        Finding("torch", "softplus, second derivative", F.softplus, (25.0,), "float32",
                "the kernel is the identity beyond 20, and its second derivative 0", (15.0,), order=2),
        Finding("torch", "binary_cross_entropy(sigmoid(x), 1)",
                lambda x: F.binary_cross_entropy(torch.sigmoid(x), torch.ones_like(x)), (-50.0,), "float32",
                "the divisor a(1 − a) is clamped at 1e-12", (-2.0,)),
        Finding("torch", "where(x > 0, sqrt(x), 0)", lambda x: torch.where(x > 0, x.sqrt(), 0), (-1.0,), "float32",
                "0·∞ of the branch that is not taken", (4.0,)),
        Finding("torch", "sqrt(x)·x", lambda x: x.sqrt() * x, (0.0,), "float32", "0·∞", (4.0,), lambda x: x**1.5),
        Finding("torch", "expm1", torch.expm1, (-40.0,), "float64", "formed as expm1(x) + 1", (-1.0,)),
        Finding("torch", "tanh", torch.tanh, (20.0,), "float64", "formed as 1 − a²", (1.0,)),
        Finding("torch", "gelu", F.gelu, (-7.0,), "float32", "½(1 + erf) cancels in the tail", (1.0,)),
        Finding("torch", "sinc", torch.sinc, (1e-9,), "float64", "(πx·cos(πx) − sin(πx))/(πx²) cancels near 0", (0.3,)),
    ]  # fmt: skip


def _jax() -> list[Finding]:
    import jax
    import jax.numpy as jnp

    return [
        Finding("jax", "sinc", jnp.sinc, (1e-9,), "float64", "(πx·cos(πx) − sin(πx))/(πx²) cancels near 0", (0.3,)),
        Finding("jax", "silu", jax.nn.silu, (-709.0,), "float64", "σ(z) is flushed to 0 on the way", (-1.0,)),
        Finding("jax", "tanh", jnp.tanh, (20.0,), "float64", "formed as 1 − a²", (1.0,)),
        Finding("jax", "softplus, second derivative", jax.nn.softplus, (40.0,), "float64", "it is 0", (1.0,), order=2),
        Finding("jax", "norm at 0", lambda x: jnp.linalg.norm(x).reshape(1), (0.0, 0.0), "float32",
                "there is no derivative, and NaN is what comes back; PyTorch gives 0", (3.0, 4.0)),
        Finding("jax", "where(x > 0, sqrt(x), 0)", lambda x: jnp.where(x > 0, jnp.sqrt(x), 0), (-1.0,), "float32",
                "0·∞ of the branch that is not taken", (4.0,),
                lambda x: jnp.where(x > 0, jnp.sqrt(jnp.where(x > 0, x, 1)), 0)),
        Finding("jax", "sqrt(x)·x", lambda x: jnp.sqrt(x) * x, (0.0,), "float32", "0·∞", (4.0,)),
        Finding("jax", "Re sign(x + 2i)", lambda x: jnp.sign(x + 2j).real, (1.0,), "float32",
                "the derivative of sign is taken to be 0, of complex numbers too", (),
                lambda x: ((x + 2j) / jnp.abs(x + 2j)).real),
        Finding("jax", "log(exp(x))", lambda x: jnp.log(jnp.exp(x)), (89.0,), "float32", "e^x overflows", (1.0,)),
    ]  # fmt: skip


FINDINGS: dict[str, Callable[[], list[Finding]]] = {"torch": _torch, "jax": _jax}


def asked(finding: Finding, f: Function, at: Sequence[float]) -> Report:
    """What `verify` says of a function at these numbers, with adjoints of 1."""
    if finding.framework == "torch":
        import torch

        x = torch.tensor(at, dtype=getattr(torch, finding.dtype))
        return gc.verify(f, x, cotangent=torch.ones_like(f(x)), order=finding.order)
    import jax
    import jax.numpy as jnp

    with jax.enable_x64(finding.dtype == "float64"):
        y = jnp.array(at, finding.dtype)
        return gc.verify(f, y, cotangent=jnp.ones_like(f(y)), order=finding.order)


def row(finding: Finding) -> dict[str, Any]:
    """One line of the table."""
    report = asked(finding, finding.f, finding.at)
    worst = report.gradients[-1].judgement
    neighbour = asked(finding, finding.instead or finding.f, finding.beside or finding.at)
    return {
        "framework": finding.framework,
        "derivative of": finding.text,
        "at": ", ".join(f"{x:g}" for x in finding.at),
        "dtype": finding.dtype,
        "returned": f"{worst.value!r}",
        "right": worst.truth or "none",
        "verdict": report.verdict,
        "formula": worst.formula,
        "execution": worst.execution,
        "accuracy": worst.accuracy or "",
        "why": finding.why,
        "beside": neighbour.verdict,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--framework", action="append", choices=list(FINDINGS))
    parser.add_argument("-o", "--output", type=Path)
    options = parser.parse_args()
    import pandas as pd

    chosen = options.framework or list(FINDINGS)
    rows = [row(finding) for framework in chosen for finding in FINDINGS[framework]()]
    table = pd.DataFrame(rows)
    text = table.drop(columns=["beside"]).to_markdown(index=False, disable_numparse=True)
    print(text)
    if options.output:
        options.output.mkdir(parents=True, exist_ok=True)
        made = ", ".join(f"{name} {metadata.version(name)}" for name in chosen)
        about = (
            "`python benchmarks/program_findings.py -o docs/programs` makes this page. Derivatives are along an "
            "adjoint of 1; a second one is w·f″ with a random w of eight bits, from ½ to 2."
        )
        (options.output / "found.md").write_text(f"{about} {made}.\n\n{text}\n", encoding="utf-8")
        table.to_csv(options.output / "found.csv", index=False)
    gone = [r["derivative of"] for r in rows if r["verdict"] == "conforms"]
    accused = [r["derivative of"] for r in rows if r["beside"] in ("deviates", "undecided")]
    if gone or accused:
        print(
            f"no finding: {', '.join(gone) or 'none'}; accused beside: {', '.join(accused) or 'none'}", file=sys.stderr
        )
    return 1 if gone or accused else 0


if __name__ == "__main__":
    sys.exit(main())
