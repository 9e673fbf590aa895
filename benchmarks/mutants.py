"""Mutants of the reference: each operator and operand of its equations changed, one at a time; the tests must notice.

    python benchmarks/mutants.py [--jobs 2] [--only FILE] [-o docs/mutants]

An operator becomes its opposite, a difference or quotient has its sides swapped, a sign is dropped, a comparison turned
round, an operand replaced by another one of the same formula, a constant increased by one, a named operation left out.
Each mutant stands in a copy of the project, and the tests that belong to its file run there, then the others that look
at numbers; of the rounding rules only what `rule_sieve.py` lets through. One that no test notices survives, and is
either listed in `benchmarks/equivalent_mutants.toml` with the reason why it changes nothing that the claim speaks of,
or is a gap in the tests: exit status 1. Where a test fails with nothing changed, no mutant is tried: exit status 2.
"""

from __future__ import annotations

import argparse
import ast
import importlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
#: The mutated files, each with the tests that stand nearest to it.
NEAREST = {
    "reference/document.py": ("test_document_equations", "test_proofs", "test_network_instance"),
    "reference/derivations/document_forms.py": ("test_document_equations", "test_proofs", "test_planted_faults"),
    "reference/derivations/network.py": (
        "test_network_instance",
        "test_condition",
        "test_causes",
        "test_published",
        "test_networks",
    ),
    "reference/derivations/activations.py": (
        "test_forms",
        "test_slopes",
        "test_edges",
        "test_published",
        "test_networks",
    ),
    "reference/derivations/losses.py": ("test_forms", "test_published", "test_networks"),
    "reference/arithmetic/rules.py": ("test_rule_values", "test_array_specials", "test_sums", "test_array_arithmetic"),
    "reference/arithmetic/function_rules.py": ("test_rule_values", "test_array_specials", "test_array_arithmetic"),
    "reference/arithmetic/sum_rules.py": ("test_rule_values", "test_array_specials", "test_sums"),
}
#: What else looks at the numbers of the reference; it runs where those are passed.
OTHERS = (
    "test_document_equations", "test_proofs", "test_forms", "test_slopes", "test_network_instance",
    "test_taylor_witness", "test_published", "test_judge", "test_python_interface", "test_array_arithmetic",
    "test_planted_faults", "test_networks", "test_edges",
)  # fmt: skip
#: Seconds of its own for the tests of a mutant; one that takes longer hangs, and is noticed. And of anybody's.
PATIENCE, WAIT = 300, 3600

OPPOSITE: dict[type[ast.operator], str] = {
    ast.Add: "-", ast.Sub: "+", ast.Mult: "/", ast.Div: "*", ast.Pow: "*", ast.MatMult: "*", ast.FloorDiv: "*",
}  # fmt: skip
SYMBOL: dict[type[ast.operator], str] = {
    ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.Pow: "**", ast.MatMult: "@", ast.FloorDiv: "//",
}  # fmt: skip
TURNED: dict[type[ast.cmpop], tuple[str, str]] = {
    ast.Lt: ("<", ">="), ast.Gt: (">", "<="), ast.LtE: ("<=", ">"), ast.GtE: (">=", "<"), ast.Eq: ("==", "!="),
    ast.NotEq: ("!=", "=="),
}  # fmt: skip


@dataclass(frozen=True)
class Mutant:
    """A change of one place in a file's text."""

    file: str
    line: int
    what: str
    text: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line} {self.what}"

    @property
    def names(self) -> tuple[str, str]:
        """What it may be listed by: what is changed wherever in its file, or the line as it became."""
        return f"{self.file} {self.what}", f"{self.file}: {self.text.splitlines()[self.line - 1].strip()}"


class _Text:
    """A source text with places by line and column; columns of `ast` count bytes."""

    def __init__(self, source: str) -> None:
        self.data = source.encode()
        self.starts = [0]
        for line in self.data.splitlines(keepends=True):
            self.starts.append(self.starts[-1] + len(line))

    def span(self, node: Any) -> tuple[int, int]:
        end = self.starts[node.end_lineno - 1] + node.end_col_offset
        return self.starts[node.lineno - 1] + node.col_offset, end

    def of(self, node: Any) -> str:
        first, last = self.span(node)
        return self.data[first:last].decode()

    def replaced(self, first: int, last: int, text: str) -> str:
        return (self.data[:first] + text.encode() + self.data[last:]).decode()


def mutants(file: str, source: str) -> Iterator[Mutant]:
    """Every mutant of a source text that is a program, each different from the others."""
    text, seen = _Text(source), {source}
    for statement in ast.parse(source).body:
        start, end = text.span(statement)
        for node, names in _nodes(statement, ()):
            for first, last, new, what in _changes(node, names, text):
                changed = text.replaced(first, last, new)
                if changed not in seen and _compiles(text.data[start:first] + new.encode() + text.data[last:end]):
                    seen.add(changed)
                    yield Mutant(file, node.lineno, what, changed)


def _compiles(statement: bytes) -> bool:
    try:
        compile(statement, "a mutant", "exec")
    except SyntaxError:
        return False
    return True


def _nodes(node: Any, names: tuple[str, ...]) -> Iterator[tuple[Any, tuple[str, ...]]]:
    """The expressions of formulas, each with the operands of the function around it; no annotations, no decorators."""
    if isinstance(node, ast.Lambda | ast.FunctionDef):
        names = tuple(a.arg for a in node.args.args if a.arg not in ("ops", "self"))
    for field, value in ast.iter_fields(node):
        if field in ("annotation", "returns", "decorator_list", "bases"):
            continue
        for child in value if isinstance(value, list) else [value]:
            if not isinstance(child, ast.AST) or isinstance(child, ast.JoinedStr):
                continue
            if isinstance(child, ast.expr) and hasattr(child, "lineno"):
                yield child, names
            yield from _nodes(child, names)


def _changes(node: Any, names: Sequence[str], text: _Text) -> Iterator[tuple[int, int, str, str]]:
    """Spans to replace, each with the new text and what that is."""
    if isinstance(node, ast.BinOp) and type(node.op) in SYMBOL:
        symbol, opposite = SYMBOL[type(node.op)], OPPOSITE[type(node.op)]
        first, last = text.span(node.left)[1], text.span(node.right)[0]
        gap = text.data[first:last].decode()
        yield first, last, gap.replace(symbol, opposite), f"{_short(text.of(node))}: {symbol} to {opposite}"
        if not isinstance(node.op, ast.Add | ast.Mult):
            swapped = f"(({text.of(node.right)}) {symbol} ({text.of(node.left)}))"
            yield *text.span(node), swapped, f"{_short(text.of(node))}: sides swapped"
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        yield *text.span(node), text.of(node.operand), f"{_short(text.of(node))}: sign dropped"
    elif isinstance(node, ast.Compare) and len(node.ops) == 1 and type(node.ops[0]) in TURNED:
        symbol, turned = TURNED[type(node.ops[0])]
        first, last = text.span(node.left)[1], text.span(node.comparators[0])[0]
        new = text.data[first:last].decode().replace(symbol, turned)
        yield first, last, new, f"{_short(text.of(node))}: {symbol} to {turned}"
    elif isinstance(node, ast.Constant) and type(node.value) in (int, float):
        yield *text.span(node), repr(node.value + 1), f"{node.value!r} to {node.value + 1!r}"
    elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and node.id in names and len(names) > 1:
        other = names[(names.index(node.id) + 1) % len(names)]
        yield *text.span(node), other, f"{node.id} to {other}"
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and text.of(node.func.value) == "ops":
        if node.args:
            yield *text.span(node), f"({text.of(node.args[0])})", f"{_short(text.of(node))}: left out"
    elif isinstance(node, ast.Constant) and isinstance(node.value, str):
        words = node.value.split(" ")
        if 2 <= len(words) <= 6 and len(text.of(node)) == len(node.value) + 2 and words[0] != words[1]:
            other = " ".join([words[1], words[0], *words[2:]])
            # Only names of operands, not prose: they hold digits or are single letters; nor a formula.
            if all(re.fullmatch(r"\w|eta|[\w/]*\d[\w/]*", w) for w in words):
                yield *text.span(node), f'"{other}"', f"operands {node.value!r} swapped"


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= 60 else text[:57] + "…"


class Copies:
    """Copies of the project for mutants to live in, one for each job."""

    def __init__(self, folder: Path, jobs: int) -> None:
        self.free: SimpleQueue[Path] = SimpleQueue()
        self.servers: dict[Path, subprocess.Popen[str]] = {}
        listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True)
        for job in range(jobs):
            copy = folder / str(job)
            for name in listed.stdout.split("\0")[:-1]:
                (copy / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(ROOT / name, copy / name, follow_symlinks=False)
            environment = {
                **os.environ, "PYTHONPATH": str(copy / "src"), "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1",
            }  # fmt: skip
            self.servers[copy] = subprocess.Popen(
                [sys.executable, __file__, "serve"], cwd=copy, env=environment, text=True,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            )  # fmt: skip
            self.free.put(copy)

    def close(self) -> None:
        for server in self.servers.values():
            server.kill()
            server.communicate()

    def notices(self, mutant: Mutant, tests: Sequence[str] | None = None, briefly: bool = False) -> str | None:
        """The first test that fails with the mutant in place, or None if it survives; `briefly` the nearest tests'."""
        copy = self.free.get()
        original = (copy / mutant.file).read_text(encoding="utf-8")
        try:
            (copy / mutant.file).write_text(mutant.text, encoding="utf-8")
            nearest = NEAREST[mutant.file]
            others = tuple(t for t in OTHERS if t not in nearest)
            for group in [tests] if tests else [*((t,) for t in nearest), *([] if briefly else [others])]:
                failed = self._failed(copy, group)
                if failed:
                    return failed
            return None
        finally:
            (copy / mutant.file).write_text(original, encoding="utf-8")
            self.free.put(copy)

    def _failed(self, copy: Path, tests: Sequence[str]) -> str | None:
        server = self.servers[copy]
        assert server.stdin is not None
        assert server.stdout is not None
        server.stdin.write(json.dumps([f"tests/{t}.py" for t in tests]) + "\n")
        server.stdin.flush()
        found: str | None = json.loads(server.stdout.readline())
        return found


def serve() -> None:
    """Run the tests that each line of the input names, in a fork of this process, and print the first that failed.

    What takes long to import and is not under test is imported once.
    """
    for name in ("numpy", "pandas", "scipy.special", "sympy", "flint", "torch", "pytest", "rich", "click", "ml_dtypes"):
        with suppress(ImportError):
            importlib.import_module(name)
    import pytest

    answers = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)

    class First:
        """The first test that fails, written where the parent reads it."""

        def __init__(self, pipe: int) -> None:
            self.pipe = pipe

        def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
            if report.failed:
                os.write(self.pipe, report.nodeid.encode()[:4000])

        def pytest_collectreport(self, report: pytest.CollectReport) -> None:
            if report.failed:
                os.write(self.pipe, report.nodeid.encode()[:4000])

    for line in sys.stdin:
        read, write = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(read)
            signal.setitimer(signal.ITIMER_PROF, PATIENCE)
            signal.alarm(WAIT)
            options = ["-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "--tb=no", *json.loads(line)]
            os._exit(int(pytest.main(options, plugins=[First(write)])))
        os.close(write)
        with os.fdopen(read, "rb") as pipe:
            named = pipe.read().decode()
        _, status = os.waitpid(child, 0)
        failed = named or f"status {status}"
        answers.write(json.dumps(failed if status else None) + "\n")
        answers.flush()


def sifted(every: Sequence[Mutant]) -> dict[str, str]:
    """By their texts the mutants of rounding rules of which an operation gives something else, with its name."""
    from rule_sieve import MODULES, Sieve

    of_rules = [m for m in every if m.file in MODULES]
    if not of_rules:
        return {}
    sieve = Sieve()
    found = ((m.text, sieve.notices(m.file, m.line, m.text)) for m in of_rules)
    return {text: f"rule_sieve: {name}" for text, name in found if name}


def equivalents() -> dict[str, str]:
    """Mutants that are equivalent, by one of their names, with the reason."""
    found = tomllib.loads((ROOT / "benchmarks" / "equivalent_mutants.toml").read_text(encoding="utf-8"))
    return {
        **{f"{m['file']} {what}": m["reason"] for m in found["mutant"] for what in m.get("what", ())},
        **{f"{m['file']}: {line}": m["reason"] for m in found["mutant"] for line in m.get("lines", ())},
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--only", choices=sorted(NEAREST), action="append", help="a file")
    parser.add_argument("-o", "--output", type=Path, default=Path("docs/mutants"))
    options = parser.parse_args()
    import pandas as pd

    every = [
        mutant
        for file in options.only or NEAREST
        for mutant in mutants(file, (ROOT / file).read_text(encoding="utf-8"))
    ]
    excused, started, rows = equivalents(), time.perf_counter(), []
    noticed_first = sifted(every)
    with (
        tempfile.TemporaryDirectory() as folder,
        closing(Copies(Path(folder), options.jobs)) as copies,
        ThreadPoolExecutor(options.jobs) as pool,
    ):
        for file in options.only or NEAREST:
            failed = copies.notices(Mutant(file, 0, "nothing", (ROOT / file).read_text(encoding="utf-8")))
            if failed:
                print(f"{failed} fails where nothing is changed: of {file} mutants would tell nothing", file=sys.stderr)
                return 2

        def noticed_by(mutant: Mutant) -> str | None:
            first = noticed_first.get(mutant.text)
            return first or copies.notices(mutant, briefly=any(name in excused for name in mutant.names))

        for number, (mutant, noticed) in enumerate(zip(every, pool.map(noticed_by, every), strict=True), 1):
            reason = next((excused[name] for name in mutant.names if name in excused), "")
            outcome = "killed" if noticed else "equivalent" if reason else "survived"
            rows.append({"file": mutant.file, "line": mutant.line, "mutant": mutant.what, "outcome": outcome,
                         "by": noticed or reason})  # fmt: skip
            if outcome == "survived":
                print(f"survived: {mutant}", flush=True)
            if number % 50 == 0:
                print(f"{number} of {len(every)}: {time.perf_counter() - started:.0f} s", file=sys.stderr, flush=True)
    table = pd.DataFrame(rows)
    options.output.mkdir(parents=True, exist_ok=True)
    there = options.output / "mutants.csv"
    if options.only and there.exists():  # the other files' rows stay
        kept = pd.read_csv(there, keep_default_na=False)
        table = pd.concat([kept[~kept.file.isin(options.only)], table], ignore_index=True)
    table.to_csv(options.output / "mutants.csv", index=False)
    counts = table.groupby(["file", "outcome"]).size().unstack(fill_value=0)
    counts.to_markdown(options.output / "mutants.md")
    print(counts.to_markdown())
    outcomes = Counter(table.outcome)
    print(f"{len(table)} mutants: {dict(outcomes)}; {time.perf_counter() - started:.0f} s")
    return 1 if outcomes["survived"] else 0


if __name__ == "__main__":
    sys.exit(serve() if sys.argv[1:] == ["serve"] else main())
