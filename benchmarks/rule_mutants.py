"""Mutants of right derivative rules: which does `gc.verify` notice?

    python benchmarks/rule_mutants.py [--framework torch]… [-d float64] [--only TEXT]… [-o docs/programs]

The right backward of every rule of `wrong_rules` is changed in one place: an operator by another, a factor or a term
left out, a constant by a relative 2^-20, a function by its neighbour, a number by the next one, a comparison; and the
whole by a factor 1 + 2^-(p − 3). A mutant is noticed where its formula is wrong or undefined; another may raise. A
survivor is listed with its text and the reason why it is no fault, from `benchmarks/equivalent_rules.toml`; one without
a reason was missed.

Exit status 0; 1 if one was missed, 3 if nothing was asked.
"""

from __future__ import annotations

import argparse
import ast
import sys
import time
import tomllib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from wrong_rules import DTYPES, RULES, Rule

import gradconform as gc
from gradconform.reference.cases import BadInput

OPERATORS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult,
}  # fmt: skip
FUNCTIONS = {
    "sin": "cos", "cos": "sin", "tanh": "sin", "exp": "expm1", "sigmoid": "tanh", "log": "log1p", "sign": "abs",
    "sinh": "cosh", "sqrt": "exp", "sum": "mean", "mean": "sum", "total": "mean", "expm1": "exp",
}  # fmt: skip


@dataclass(frozen=True)
class Mutant:
    """A rule with a backward that was changed in one place, and how."""

    rule: Rule
    text: str
    change: str


def mutants(rule: Rule, precision: int) -> Iterator[Mutant]:
    """Every rule changed in one place, each text once."""
    tree = ast.parse(rule.right, mode="eval")
    seen = {ast.unparse(tree)}
    for number, node in enumerate(ast.walk(tree)):
        for change, other in _changes(node):
            text = ast.unparse(_replaced(rule.right, number, other))
            if text not in seen:
                seen.add(text)
                yield Mutant(rule, text, change)
    factor = f" * (1 + 2.0**-{precision - 3})"
    body = tree.body
    whole = [f"({ast.unparse(e)}){factor}" for e in body.elts] if isinstance(body, ast.Tuple) else []
    if not isinstance(body, ast.Tuple) and not any("unrolled" in n for n in _names(tree)):
        yield Mutant(rule, f"({rule.right}){factor}", "factor")
    for i, scaled in enumerate(whole):
        parts = [scaled if i == j else ast.unparse(e) for j, e in enumerate(body.elts)]  # type: ignore[attr-defined]
        yield Mutant(rule, f"({', '.join(parts)})", "factor")


def _names(tree: ast.AST) -> Iterator[str]:
    return (n.id for n in ast.walk(tree) if isinstance(n, ast.Name))


def _changes(node: ast.AST) -> Iterator[tuple[str, ast.expr]]:
    if isinstance(node, ast.BinOp):
        if type(node.op) in OPERATORS:
            yield "operator", ast.BinOp(node.left, OPERATORS[type(node.op)](), node.right)
        yield "left out", node.left
        if isinstance(node.op, ast.Add | ast.Mult):
            yield "left out", node.right
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        yield "sign", node.operand
    if isinstance(node, ast.Constant) and isinstance(node.value, float):
        yield "constant", ast.Constant(node.value * (1 + 2**-20))
    if isinstance(node, ast.Constant) and type(node.value) is int:
        yield "number", ast.Constant(node.value + 1)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in FUNCTIONS:
        yield "function", ast.Call(ast.Name(FUNCTIONS[node.func.id], ast.Load()), node.args, node.keywords)
    if isinstance(node, ast.Compare):
        yield "comparison", ast.Compare(node.left, [ast.Lt() if isinstance(node.ops[0], ast.Gt) else ast.Gt()],
                                        node.comparators)  # fmt: skip


def _replaced(text: str, number: int, other: ast.expr) -> ast.Expression:
    """The expression with its number-th node, in the order of `ast.walk`, replaced."""
    tree = ast.parse(text, mode="eval")
    old = list(ast.walk(tree))[number]

    class Replacing(ast.NodeTransformer):
        def visit(self, node: ast.AST) -> ast.AST:
            return other if node is old else super().visit(node)

    return ast.fix_missing_locations(Replacing().visit(tree))  # type: ignore[no-any-return]


def said(mutant: Mutant, framework: str, dtype: str) -> str:
    """`noticed`, `raises`, or the verdict on a mutant that survives."""
    module = import_module(f"wrong_{framework}")
    subject = module.of_rule(replace(mutant.rule, wrong=mutant.text))
    try:
        report = gc.verify(subject.wrong, *subject.arguments(dtype, 0))
    except BadInput:
        return "raises"
    except RuntimeError:
        return "raises"
    return "noticed" if report.formula in ("wrong", "undefined") else report.verdict


def equivalents() -> dict[tuple[str, str], str]:
    """Why a mutant is no fault, by its rule and its text."""
    found = tomllib.loads((Path(__file__).parent / "equivalent_rules.toml").read_text(encoding="utf-8"))
    return {(m["rule"], text): m["reason"] for m in found["mutant"] for text in m["texts"]}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--framework", action="append", choices=("torch", "jax"), help="by default both")
    parser.add_argument("-d", "--dtype", choices=DTYPES, default="float64")
    parser.add_argument("--only", action="append")
    parser.add_argument("-o", "--output", type=Path)
    options = parser.parse_args(arguments)
    found = [asked(f, options.dtype, options.only or [""]) for f in options.framework or ("torch", "jax")]
    for each in found:
        print("\n".join(["", each.text, *each.survivors, f"{each.seconds:.0f} s"]))
    if options.output:
        options.output.mkdir(parents=True, exist_ok=True)
        about = (__doc__ or "").split("\n\n")[2]
        parts = ["# Mutants of right rules", f"By `python benchmarks/rule_mutants.py`. {about}"]
        for each in found:
            parts += [f"## {each.framework}", each.text, "\n".join(each.survivors) or "None survives."]
        (options.output / "mutants.md").write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    return 3 if not all(each.mutants for each in found) else 1 if any(each.missed for each in found) else 0


@dataclass(frozen=True)
class Asked:
    """What became of one framework's mutants: how many there were and were missed, and in words."""

    framework: str
    mutants: int
    missed: int
    text: str
    survivors: list[str]
    seconds: float


def asked(framework: str, dtype: str, only: Sequence[str]) -> Asked:
    """Every mutant of the rules whose names contain one of the texts."""
    started = time.perf_counter()
    counts: Counter[str] = Counter()
    survivors: list[str] = []
    reasons, missed = equivalents(), 0
    for rule in RULES:
        if rule.fault.startswith("factor 1 +") or not any(text in rule.name for text in only):
            continue
        for mutant in mutants(rule, DTYPES[dtype]):
            answer = said(mutant, framework, dtype)
            counts[answer] += 1
            print(f"\r{sum(counts.values())} {rule.name}\033[K", end="", file=sys.stderr, flush=True)
            if answer not in ("noticed", "raises"):
                reason = reasons.get((rule.name, mutant.text))
                missed += reason is None
                survivors.append(f"- {rule.name} ({mutant.change}): `{rule.right}` → `{mutant.text}`: {answer}; "
                                 f"{reason or 'missed'}")  # fmt: skip
    text = (f"{sum(counts.values())} mutants in {framework}, {dtype}: {counts['noticed']} noticed, "
            f"{counts['raises']} raise, {len(survivors)} survive, of which {missed} were missed.")  # fmt: skip
    return Asked(framework, sum(counts.values()), missed, text, survivors, time.perf_counter() - started)


if __name__ == "__main__":
    sys.exit(main())
