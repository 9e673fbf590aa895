"""Which wrong gradients are seen: `gc.verify` beside PyTorch's `gradcheck` and JAX's `check_grads`, in four dtypes.

    python benchmarks/wrong_programs.py [--framework torch]… [-d DTYPE]… [--only TEXT]… [-o docs/programs]

Every subject is a program whose gradient is wrong in one way that people's are, beside its right counterpart. Each
checker is asked about both, with its defaults, in the arguments' own dtype. `caught`: the wrong one is rejected and
the right one accepted; `missed`: the wrong one is accepted; `rejects both`: nothing is learnt. verify's verdict on the
right counterpart stands beside it, and whether it named the rule that is at fault (`suspected`: it could not run it
alone). `undecided` is verify's answer where numbers left the record: the program is neither wrong nor right then.
`lost` is its answer to a rule that is right without rounding: not true, with the line where the digits go.

Further, the least relative error 2^-k of a tanh's rule that each checker sees (`smallest.md`).

Exit status 1 if a right program is accused, 3 if nothing was asked, else 0: what is missed is what the table is for.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, fields
from importlib import import_module, metadata
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from wrong_rules import DTYPES, R
from wrong_subjects import Subject

import gradconform as gc
from gradconform.conformance.programs.report import Report
from gradconform.reference.cases import BadInput

FRAMEWORKS = ("torch", "jax")
#: No literal of float64 is nearer to 1 than 1 + 2^-52.
FINEST = 53
CHECKERS = ("gradcheck", "gradcheck fast", "check_grads")
#: Verdicts by which a program is not accused.
NOT_ACCUSED = ("conforms", "lost", "vacuous", "ill-conditioned", "out of range", "singular")


@dataclass(frozen=True)
class Row:
    """What the checkers said of one wrong program in one dtype; a checker of the other framework says nothing."""

    program: str
    framework: str
    fault: str
    dtype: str
    verify: str
    culprit: str
    right: str
    bits: float | None
    gradcheck: str = ""
    gradcheck_fast: str = ""
    check_grads: str = ""
    rule: str = field(default="", compare=False)


def asked(subject: Subject, dtype: str, others: bool = True) -> Row:
    """One subject in one dtype, by every checker of its framework."""
    wrong, right = (_verified(f, subject, dtype) for f in (subject.wrong, subject.right))
    culprits = [c for c in wrong.culprits if subject.culprit in c]
    if wrong.formula in ("wrong", "undefined") or wrong.execution == "outside":
        said = "caught" if right.verdict in NOT_ACCUSED else "rejects both"
    elif wrong.verdict == "lost" and right:
        said = "lost"
    else:
        said = "missed" if wrong.complete else "undecided"
    of = import_module(f"wrong_{subject.framework}").CHECKERS if others else {}
    answers = {name.replace(" ", "_"): _answer(check, subject, dtype) for name, check in of.items()}
    bits = min((g.judgement.certified_bits for g in wrong.gradients if g.judgement.certified_bits is not None),
               default=None)  # fmt: skip
    return Row(subject.name, subject.framework, subject.fault, dtype, said,
               _named(culprits) if subject.culprit else "", right.verdict, bits,
               rule=subject.text, **answers)  # fmt: skip


def _named(culprits: Sequence[str]) -> str:
    if not culprits:
        return "not named"
    return "suspected" if all("could not be run alone" in c for c in culprits) else "named"


def _verified(f: Callable[..., Any], subject: Subject, dtype: str) -> Report:
    return gc.verify(f, *subject.arguments(dtype, 0))


def _answer(check: Callable[..., bool], subject: Subject, dtype: str) -> str:
    """One word for another checker: what it says of the wrong program, and of the right one."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            wrong, right = (check(f, subject.arguments(dtype, 0)) for f in (subject.wrong, subject.right))
        except Exception as error:
            return f"raises {type(error).__name__}"
    return "missed" if wrong else "caught" if right else "rejects both"


def accused(row: Row) -> bool:
    return row.right not in (*NOT_ACCUSED, "undecided")


# The least error that is seen -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Least:
    """The largest k for which each checker rejects a factor 1 + 2^-k and accepts the right rule; None if for none."""

    framework: str
    dtype: str
    verify: int | None
    gradcheck: int | None = None
    gradcheck_fast: int | None = None
    check_grads: int | None = None


def least(framework: str, dtype: str, others: bool = True) -> Least:
    module = import_module(f"wrong_{framework}")

    def off(k: int) -> Subject:
        return module.of_rule(  # type: ignore[no-any-return]
            R("Tanh", "", ((4,),), "tanh(x)", "g * (1 - tanh(x) ** 2)", f"g * (1 - tanh(x) ** 2) * (1 + 2.0**-{k})")
        )

    def sees(check: Callable[..., bool], k: int) -> bool:
        subject = off(k)
        return _answer(check, subject, dtype) == "caught"

    def by_verify(f: Callable[..., Any], given: Sequence[Any]) -> bool:
        return bool(gc.verify(f, *given))

    found = {"verify": _largest(range(FINEST, 0, -1), lambda k: sees(by_verify, k))}
    for name, check in module.CHECKERS.items() if others else ():
        # From the coarsest on: a checker that does not see a half sees nothing finer.
        seen = [k for k in range(1, DTYPES[dtype] + 1, 3) if sees(check, k)]
        found[name.replace(" ", "_")] = _largest(range(seen[-1] + 2, 0, -1), lambda k: sees(check, k)) if seen else None  # noqa: B023
    return Least(framework, dtype, **found)


def _largest(candidates: Sequence[int], holds: Callable[[int], bool]) -> int | None:
    return next((k for k in candidates if holds(k)), None)


# Text -----------------------------------------------------------------------------------------------------------------


def frame(rows: Sequence[Any], of: type) -> Any:
    import pandas as pd

    return pd.DataFrame([asdict(r) for r in rows], columns=[f.name for f in fields(of)])


def totals(rows: Sequence[Row]) -> str:
    """Per framework, dtype and checker: how many of the wrong programs are caught."""
    import pandas as pd

    lines = []
    for framework in FRAMEWORKS:
        for dtype in DTYPES:
            of = [r for r in rows if r.framework == framework and r.dtype == dtype]
            if not of:
                continue
            named = [r for r in of if r.culprit]
            line = {"framework": framework, "dtype": dtype, "programs": len(of),
                    "verify": sum(r.verify == "caught" for r in of),
                    "undecided": sum(r.verify == "undecided" for r in of),
                    "rule named": f"{sum(r.culprit == 'named' for r in named)} of {len(named)}",
                    "right ones accused": sum(accused(r) for r in of)}  # fmt: skip
            for name in CHECKERS:
                said = [getattr(r, name.replace(" ", "_")) for r in of]
                line[name] = str(said.count("caught")) if any(said) else ""
                line[f"{name}: rejects both"] = str(said.count("rejects both")) if any(said) else ""
            lines.append(line)
    return str(pd.DataFrame(lines).to_markdown(index=False, disable_numparse=True))


def misses(rows: Sequence[Row]) -> list[str]:
    """What verify did not catch, or called by another name, or accused."""
    found = []
    for r in rows:
        if accused(r):
            found.append(f"{r.framework} {r.program}, {r.dtype}: the right one is said to be {r.right}")
        if r.verify != "caught":
            bits = "" if r.bits is None else f", {r.bits:.0f} bits certified"
            found.append(f"{r.framework} {r.program} ({r.fault}), {r.dtype}: {r.verify}{bits}")
        elif r.culprit in ("not named", "suspected"):
            found.append(f"{r.framework} {r.program} ({r.fault}), {r.dtype}: caught, its rule {r.culprit}")
    return found


def written(folder: Path, rows: Sequence[Row], smallest: Sequence[Least]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    versions = ", ".join(f"{p} {metadata.version(p)}" for p in ("torch", "jax"))
    how = f"By `python benchmarks/wrong_programs.py` with {versions} on the CPU."
    table = frame(rows, Row)
    table.round({"bits": 1}).to_csv(folder / "wrong.csv", index=False)
    about = (__doc__ or "").split("\n\n")[2]
    parts = ["# Wrong gradients", f"{how} {about}", totals(rows), "## What verify does not catch, or does not name",
             "\n".join(f"- {m}" for m in misses(rows)) or "Nothing.", "## All",
             table.drop(columns=["rule", "bits"]).to_markdown(index=False, disable_numparse=True)]  # fmt: skip
    (folder / "wrong.md").write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    if smallest:
        shown = frame(smallest, Least).astype(object)
        text = shown.where(shown.notna(), "–").to_markdown(index=False, disable_numparse=True)
        (folder / "smallest.md").write_text(
            f"# The least factor 1 + 2^-k that is seen\n\n{how} The largest k for which each checker rejects a rule of "
            f"tanh that is off by it and accepts the right rule.\n\n{text}\n",
            encoding="utf-8",
        )


def chosen(frameworks: Sequence[str], dtypes: Sequence[str], only: Sequence[str]) -> Iterator[tuple[Subject, str]]:
    for framework in frameworks:
        for subject in import_module(f"wrong_{framework}").SUBJECTS:
            if any(text in f"{subject.name} {subject.fault}" for text in only):
                yield from ((subject, d) for d in dtypes if d in subject.dtypes)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--framework", action="append", choices=FRAMEWORKS)
    parser.add_argument("-d", "--dtype", action="append", choices=DTYPES)
    parser.add_argument("--only", action="append", help="programs whose name or fault contains this")
    parser.add_argument("--least", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("-o", "--output", type=Path)
    options = parser.parse_args(arguments)
    started = time.perf_counter()
    frameworks, dtypes = options.framework or FRAMEWORKS, options.dtype or tuple(DTYPES)
    rows: list[Row] = []
    crashed: list[str] = []
    for subject, dtype in chosen(frameworks, dtypes, options.only or [""]):
        try:
            rows.append(asked(subject, dtype))
        except BadInput as error:
            crashed.append(f"{subject.framework} {subject.name}, {dtype}: {error}")
        print(
            f"\r{len(rows)} {subject.framework} {subject.name} {dtype}          ", end="", file=sys.stderr, flush=True
        )
    smallest = [least(f, d) for f in frameworks for d in dtypes] if options.least else []
    if options.output:
        written(options.output, rows, smallest)
    print("\n".join(["", totals(rows), *misses(rows), *crashed, *map(str, smallest)]))
    print(f"{len(rows)} wrong programs, {time.perf_counter() - started:.0f} s")
    return 1 if any(map(accused, rows)) or crashed else 0 if rows else 3


if __name__ == "__main__":
    sys.exit(main())
