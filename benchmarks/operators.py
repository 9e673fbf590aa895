"""The catalogue's operators in both frameworks and every dtype: how many are right, and what is found.

    python benchmarks/operators.py measure -a torch -d float32 [--first] [--case GLOB] [--cases op_db] [-o FILE] [GLOB]
    python benchmarks/operators.py write FILE... [-o FOLDER]

    python benchmarks/operators.py measure -a torch -d float32 --first --route func [--route compile] [--case ordinary*]

`measure` judges the cases of the operators that the globs name, by default all: value and gradient of each, and of the
ordinary ones the tangents, the batched backward pass and the second derivatives, too. It writes a table with a row for
each quantity. `write` makes of such tables operators.csv, by family and framework, deviations.csv and operators.md.
Exit status 1 where something deviates that is not known.
"""

from __future__ import annotations

import argparse
import fnmatch
import sys
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from gradconform.conformance.cases.operators import PREFIX
from gradconform.conformance.command_line.verify_command import Target, Verified, operator_targets, verified
from gradconform.conformance.known import KnownDeviation, entries_for, is_known, known_files
from gradconform.conformance.operators import callable_of
from gradconform.conformance.programs.program_rows import versions_of
from gradconform.reference.derivations.operators.catalogue import OPERATORS

ROOT = f"{Path(__file__).resolve().parents[1]}/"
#: What the sections of docs/operators/findings.md show, by the last word of each's title: globs of adapter, operator,
#: dtype, case and quantity. A deviation that none shows is called unexplained.
SHOWN: Sequence[tuple[str, str]] = (
    ("i0", "torch i0 * saturated *"), ("i1", "torch i1 * saturated *"),
    ("i0e", "torch i0e bfloat16 * *"), ("i0e", "torch i0e float16 one value*"),
    ("erf", "torch erf bfloat16 * value*"),
    ("sinh", "torch cosh * near overflow* *"), ("sinh", "torch sinh * near overflow* *"),
    ("gelu", "torch gelu float32 large value*"), ("gelu", "torch gelu bfloat16 large value*"),
    ("_weight_norm", "torch weight_norm * of the gradient of weight_norm"),
    ("logcumsumexp", "torch logcumsumexp float64 * tangent*"), ("prod", "torch segment_prod * * tangent of output*"),
    ("binary_cross_entropy", "torch binary_cross_entropy* float64 * of the gradient of *"),
    ("soft_margin_loss", "torch soft_margin_loss float16 *"), ("hardsigmoid", "torch hardsigmoid float64 * d/dx"),
    # The derivative of digamma is the second one of lgamma and multigammaln; digamma's value has its root in the cases.
    ("digamma", "torch digamma float64 * *"), ("digamma", "torch lgamma float64 * of the gradient of lgamma"),
    ("digamma", "torch multigammaln float64 * of the gradient of multigammaln"),
    ("digamma", "torch digamma float32 ordinary value*"), ("digamma", "jax digamma * ordinary value*"),
    ("polygamma", "torch polygamma float64 binades* *"), ("polygamma", "torch polygamma bfloat16 binades* *"),
    ("polygamma", "jax polygamma * binades* *"), ("polygamma", "jax digamma * binades d/dx"),
    ("gammaln", "jax lgamma * * value*"), ("gammaln", "jax beta* * * value*"),
    ("gammaln", "jax multigammaln float32 * value*"), ("gammaln", "jax gammaincc float32 ordinary d/dy"),
    ("gammaincc", "jax gammaincc * binades value*"), ("gammainc", "jax gammainc* float64 binades d/dx"),
    ("sinh", "jax cosh * * *"), ("sinh", "jax sinh * * *"), ("exp2", "jax exp2 * * *"), ("erfinv", "jax erfinv * * *"),
    ("i0", "jax i0 * zero d/dx"), ("power", "jax power * zero d/dx"),
    ("log_ndtr", "jax log_ndtr float64 saturated *"), ("expi", "jax expi float16 * value*"),
    ("expi", "jax exp1 float16 * value*"),
    ("arcsin", "jax asin bfloat16 * value*"), ("arcsin", "jax acos bfloat16 * value*"),
    ("arcsin", "jax acosh bfloat16 * value*"), ("sinc", "jax sinc bfloat16 subnormal d/dx"),
    ("remainder", "jax remainder bfloat16 * d/dy"),
)  # fmt: skip
#: What is asked of the ordinary cases besides.
FURTHER: Mapping[str, Any] = {"mode": "both", "order": 2, "batched": True}
COLUMNS = ("operator", "family", "case", "adapter", "version", "dtype", "route", "quantity", "verdict", "formula",
           "execution", "accuracy", "value", "truth", "share", "max_ulp", "known", "cause", "reason")  # fmt: skip
JUDGED = ("conforms", "deviates", "lost", "vacuous", "ill-conditioned", "out of range", "singular", "undecided")


def targets(
    globs: Sequence[str], framework: str, dtype: str, further: bool, source: str = "", routes: Sequence[str] = ()
) -> Iterator[Target]:
    more = {"routes": ("eager", *routes)} if routes else {}
    for target in operator_targets(globs, [framework], [dtype], source):
        ordinary = target.name.split("/")[2].startswith("ordinary")
        # JAX's gradients of complex numbers are conjugates, those that are differentiated once more are not judged.
        real = framework == "torch" or OPERATORS[target.name.split("/")[1]].family != "fourier"
        yield replace(target, options={**more, **(FURTHER if further and ordinary and real else {})})


def measured(
    globs: Sequence[str],
    framework: str,
    dtype: str,
    further: bool = True,
    case: str = "*",
    source: str = "",
    routes: Sequence[str] = (),
) -> pd.DataFrame:
    """A row for each quantity; of what was not judged one for the case. `case` is a glob of cases, `source` another
    source of them, `routes` those besides the eager one."""
    version = versions_of(framework)[framework]
    entries = entries_for([], known_files(()))
    rows = []
    every = targets(globs, framework, dtype, further, source, routes)
    asked = [t for t in every if fnmatch.fnmatchcase(t.name.split("/")[2], case)]
    for one in _each(asked, entries):
        rows += [_row(one, m, framework, version, dtype) for m in one.rows]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _each(asked: Sequence[Target], entries: tuple[KnownDeviation, ...]) -> Iterator[Verified]:
    """Each case; one of which the framework lacks what is asked besides, once more for its value and gradient."""
    for target in asked:
        plain = replace(target, options={k: v for k, v in target.options.items() if k not in FURTHER})
        for one in verified([target], [], entries):
            yield one
            if one.report is None and target.cases and plain.options != target.options:
                yield from (again for again in verified([plain], [], entries) if again.report is not None)


def _row(one: Verified, m: Any, framework: str, version: str, dtype: str) -> dict[str, Any]:
    _, name, case = one.title.split(" in ")[0].split("/")
    judged = one.report is not None or (one.lacking and not one.problem.startswith("not recorded"))
    verdict = m.verdict if judged else _unjudged(one.problem)
    return {
        "operator": name, "family": OPERATORS[name].family, "case": case, "adapter": framework, "version": version,
        "dtype": dtype, "route": m.route, "quantity": m.quantity, "verdict": verdict, "formula": m.formula,
        "execution": m.execution, "accuracy": m.accuracy, "value": m.value, "truth": m.truth, "share": m.share,
        "max_ulp": m.max_ulp, "known": is_known(m),
        "cause": (m.cause or "").replace(ROOT, ""), "reason": (m.reason or "").replace(ROOT, ""),
    }  # fmt: skip


def _unjudged(problem: str) -> str:
    return "not recorded" if problem.startswith("not recorded") else "failed"


def by_family(rows: pd.DataFrame) -> pd.DataFrame:
    """By family and framework: operators, those that the framework has, quantities judged, and what they came to."""
    found = []
    for (family, adapter), of in rows.groupby(["family", "adapter"], sort=False):
        there = of[~of["verdict"].isin(["unsupported", "not recorded", "failed"])]
        counts = there["verdict"].value_counts()
        deviating = of[of["verdict"] == "deviates"]
        found.append({
            "family": family, "adapter": adapter, "operators": of["operator"].nunique(),
            "judged operators": there["operator"].nunique(),
            "lacking": sum(callable_of(o, str(adapter)) is None for o in of["operator"].unique()),
            "not recorded": of[of["verdict"].isin(["not recorded", "failed"])]["operator"].nunique(),
            "quantities": len(there), **{v: int(counts.get(v, 0)) for v in JUDGED},
            "known": int(deviating["known"].sum()),
        })  # fmt: skip
    return pd.DataFrame(found)


def deviations(rows: pd.DataFrame) -> pd.DataFrame:
    """One row for each operator, adapter, dtype and quantity that deviates, at the case where it is farthest off."""
    off = rows[rows["verdict"] == "deviates"].copy()
    off["size"] = off["share"].fillna(float("inf"))
    named = off[["adapter", "operator", "dtype", "case", "quantity"]].agg(" ".join, axis=1) if len(off) else []
    off["finding"] = [
        next((f for f, glob in SHOWN if fnmatch.fnmatchcase(each, glob)), "unexplained") for each in named
    ]
    off = off.sort_values("size", ascending=False, kind="stable")
    return off.drop_duplicates(["operator", "adapter", "dtype", "quantity"]).drop(columns="size").sort_values(
        ["family", "operator", "adapter", "dtype"], kind="stable"
    )  # fmt: skip


def written(rows: pd.DataFrame, folder: Path) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    table, found = by_family(rows), deviations(rows)
    table.to_csv(folder / "operators.csv", index=False)
    found.to_csv(folder / "deviations.csv", index=False)
    (folder / "operators.md").write_text(_page(rows, table, found), encoding="utf-8")
    off = rows[rows["verdict"] == "deviates"]
    return (
        f"{rows['operator'].nunique()} operators, {int(rows['verdict'].isin(JUDGED).sum())} quantities judged, "
        f"{len(off)} deviate, {int(off['known'].sum())} of them known, {int((rows['verdict'] == 'undecided').sum())} "
        f"undecided"
    )


def _page(rows: pd.DataFrame, table: pd.DataFrame, found: pd.DataFrame) -> str:
    versions = ", ".join(f"{a} {v}" for a, v in rows[["adapter", "version"]].drop_duplicates().itertuples(index=False))
    dtypes = ", ".join(
        f"{a}: {' '.join(of['dtype'].unique())}" for a, of in rows.groupby("adapter", sort=False)
    )  # fmt: skip
    by_hand = sum(OPERATORS[o].definition is not None for o in rows["operator"].unique())
    lines = [
        "# Operators",
        "",
        f"The catalogue's operators ({rows['operator'].nunique()}, of which {by_hand} have a definition by hand "
        f"that is their truth) as {versions} have them, on the CPU; dtypes of {dtypes}. Made by "
        "`benchmarks/operators.py`; every case is one of `gradconform verify operator/NAME`.",
        "",
        *_unmeasured(rows),
        "",
        _markdown(table),
        "",
        "## What deviates",
        "",
        "One row for each operator, framework, dtype and quantity, where it is farthest off. `wrong`: the program is "
        "not the derivative, or value, of the definition; `outside`: what was returned is not within the rounding of "
        "the program that was recorded. The last column names the section of "
        "[findings](findings.md) that shows it by lines of its own; what was not looked into is `unexplained`.",
        "",
        _markdown(found[["operator", "case", "adapter", "dtype", "quantity", "formula", "execution", "value", "truth",
                         "share", "known", "finding"]]),
        "",
    ]  # fmt: skip
    return "\n".join(lines)


def _unmeasured(rows: pd.DataFrame) -> list[str]:
    """What these rows are without: operators by adapter and dtype, and what is asked of the ordinary cases besides."""
    lines = []
    for (adapter, dtype), of in rows.groupby(["adapter", "dtype"], sort=False):
        without = [o.name for o in OPERATORS.values() if dtype in o.dtypes and o.name not in set(of["operator"])]
        further = "" if of["quantity"].str.contains("tangent").any() else ", values and gradients alone"
        missing = f"; not measured: {', '.join(without)}" if without else ""
        lines.append(f"- {adapter} {dtype}: {of['case'].nunique()} kinds of case{further}{missing}")
    return lines


def _markdown(table: pd.DataFrame) -> str:
    def cell(x: Any) -> str:
        if isinstance(x, float):
            return "" if pd.isna(x) else f"{x:.6g}"
        return "" if x is None else str(x)[:28]

    head = "| " + " | ".join(map(str, table.columns)) + " |"
    body = ["| " + " | ".join(cell(x) for x in row) + " |" for row in table.itertuples(index=False)]
    return "\n".join([head, "|" + " --- |" * len(table.columns), *body])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    measure = commands.add_parser("measure")
    measure.add_argument("globs", nargs="*", default=[f"{PREFIX}*"])
    measure.add_argument("-a", "--adapter", required=True)
    measure.add_argument("-d", "--dtype", required=True)
    measure.add_argument("-o", "--output", type=Path, default=None)
    measure.add_argument("--case", default="*", help="A glob of cases, such as ordinary*.")
    measure.add_argument("--cases", default="", help="op_db: PyTorch's own sample inputs in place of the catalogue's.")
    measure.add_argument("--route", action="append", default=[], help="func, compile or jit, besides the eager one.")
    measure.add_argument("--first", action="store_true", help="Values and gradients alone.")
    write = commands.add_parser("write")
    write.add_argument("files", nargs="+", type=Path)
    write.add_argument("-o", "--output", type=Path, default=Path("docs/operators"))
    options = parser.parse_args()
    if options.command == "write":
        rows = pd.concat([pd.read_csv(f, keep_default_na=False, na_values=[""]) for f in options.files])
        print(written(rows, options.output))
    else:
        warnings.filterwarnings("ignore", category=UserWarning, module="torch")
        started = time.monotonic()
        how = (not options.first, options.case, options.cases, options.route)
        rows = measured(options.globs, options.adapter, options.dtype, *how)
        if options.output is not None:
            rows.to_csv(options.output, index=False)
        took = time.monotonic() - started
        print(f"{options.adapter} {options.dtype}: {dict(rows['verdict'].value_counts())} in {took:.0f} s")
    return int(bool(((rows["verdict"] == "deviates") & ~rows["known"].astype(bool)).any()))


if __name__ == "__main__":
    sys.exit(main())
