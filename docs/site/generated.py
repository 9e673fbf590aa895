"""The tables of the reference, read off the code, so that they cannot say anything else.

    python docs/site/generated.py

writes them into the pages, between `<!-- NAME, by docs/site/generated.py -->` and `<!-- end -->`, where they are read
in a clone too; a test, and the build of the site, say so where one is not what the code says. It needs PyTorch and JAX,
whose routes are listed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, cast

from gradconform.adapters import registry
from gradconform.conformance import plugin
from gradconform.conformance.command_line.operations import ACTIVATION, TERM, asked
from gradconform.conformance.known import KnownDeviation, known_deviations
from gradconform.reference.arithmetic.formats import FORMATS
from gradconform.reference.arithmetic.profiles import PROFILES, profile
from gradconform.reference.arithmetic.text import formula, symbol
from gradconform.reference.derivations.activations import ACTIVATIONS
from gradconform.reference.derivations.losses import LOSSES
from gradconform.reference.document import NETWORK
from gradconform.reference.judge import VERDICTS
from gradconform.reference.measurement import COLUMNS, QUESTIONS, REASONS

if TYPE_CHECKING:
    import pytest

#: What a column holds. A column without an entry here, or an entry without a column, is an error.
COLUMN = {
    "case": (
        "the case's id, such as `document/worked-example`; of a verified function `program/`, its name and a digest of "
        "its arguments' shapes"
    ),
    "adapter": "the framework, such as `torch`",
    "route": "how the gradient was got, such as `eager`",
    "dtype": "the format that everything was rounded to",
    "level": "`whole`: from the case's inputs. `step`: on the operands that the framework reported",
    "quantity": (
        "the name of the equation, with d for ∂, of a verified function `d/d` and the argument; `*` where there was "
        "nothing to judge"
    ),
    "elements": "components of the tensor; 1 for a number",
    "value": "what the framework gave (of a tensor: its worst component, as all the numbers below)",
    "truth": "the exact value to 25 digits, as text; at a kink the set between the one-sided slopes, as [lo, hi]",
    "truth_radius": "half the width of the ball that encloses the truth",
    "error_abs": "|value − truth|, at a kink the distance to the set, 0 inside it",
    "error_ulp": "the same in units in the last place of the truth, of the component that takes most of its allowance",
    "max_ulp": "the largest error of a component, in ulp: how accurate",
    "median_ulp": "the median error of the components, in ulp",
    "allowance": "the largest error that the named form's rounding can cause",
    "share": "|value − exact value of the named form| ÷ allowance: above 1 no accepted form can give it",
    "sharpest_share": "the same for the form that may be off by least",
    "accepted_form": "the accepted form that is named",
    "certified_bits": (
        "−log₂((|exact value of the named form − truth| + allowance) ÷ |truth|), of an updated weight ÷ |η·gradient|, "
        "of a tensor with 2-norms: how much a pass means"
    ),
    "worst_index": "the indices of the worst component",
    "operator": "the operation that the equation is of, such as `gelu` or `linear`; of the catalogue, the operator",
    "formula": "the answer to the first question, see below",
    "execution": "the answer to the second",
    "accuracy": "the answer to the third",
    "verdict": "what the three come to",
    "cause": (
        "what is at fault where it deviates: a convention that was not asked for, or the rule or operation, with its "
        "line"
    ),
    "reason": "why, its first word from the list below",
}
#: Each question as it is asked, and how it is decided.
QUESTION = {
    "formula": (
        "Is the program that was run, evaluated without rounding, the derivative?",
        "exact balls of the program against exact balls of the derivative; disjoint balls are a proof",
    ),
    "execution": ("Is what was returned within the rounding of that program?", "rounded balls of the program"),
    "accuracy": (
        "How many digits does the program keep, and could another keep more?",
        "the allowance against the truth and against the condition number",
    ),
}
ANSWER = {
    "formula": {
        "right": "it is",
        "kink": "it gives one of the set of slopes at a kink",
        "singular": "there is no derivative",
        "unknown": "no program is known, or not to enough bits",
        "undefined": "the program meets 0·∞ or 0/0 where the derivative exists",
        "wrong": "it is not: a proof",
    },
    "execution": {
        "within": "it is",
        "overflow": "the program overflows, and this is what it then gives",
        "undecided": "4096 bits did not decide it",
        "outside": "it is not: a proof",
    },
    "accuracy": {
        "certified": "so many bits as the column certified_bits says",
        "ill-conditioned": "none: about one rounding of the operands changes the result as much",
        "vacuous": "none, and neither of the others is proved",
        "lost": "another program, which the reason names, keeps at least 8 bits more",
    },
}
#: What the answers come to, with the exit status of a run in which nothing is worse.
VERDICT = {
    "conforms": (
        "right or kink, within, certified",
        "an accepted form can give it, and digits of it are certified",
        "0",
    ),
    "deviates": ("wrong, undefined or outside", "no accepted form can give it: a proof", "1; 0 if it is known"),
    "lost": (
        "right or kink, within, lost",
        "the program loses digits that another one keeps",
        "0; `--fail-on lost`: 1",
    ),
    "vacuous": (
        "right or kink, within, vacuous",
        "the allowance is at least as large as the truth, or for an updated weight as the step η·∂E/∂w; for a tensor "
        "by 2-norms: the pass says nothing, and is not counted as one",
        "0; `--fail-on vacuous`: 1",
    ),
    "ill-conditioned": (
        "right or kink, within, ill-conditioned",
        "as vacuous, because about one rounding of the operands does as much",
        "0; `--fail-on ill-conditioned`: 1",
    ),
    "out of range": ("overflow", "the program overflows here", "0; `--fail-on out-of-range`: 1"),
    "singular": ("singular", "the derivative does not exist", "0"),
    "undecided": ("undecided", "4096 bits did not decide it", "3"),
    "unsupported": ("not asked", "the route does not run this; the reason says why", "0"),
    "crashed": (
        "not asked",
        "there is no answer to judge; the reason says why, with the command that reproduces it",
        "3",
    ),
}

#: What an entry of a file of known deviations says.
KNOWN = {
    "id": "the name that a row's reason gives, `known:<id>`: a-z 0-9 . - and no other entry's",
    "adapter": "the adapter's name, a glob",
    "route": "its route, a glob",
    "versions": "its versions, such as `>=2.4`; empty: every one, and adapters that tell none",
    "dtype": "dtypes with spaces between them",
    "device": "the device, a glob",
    "level": "`whole`, `step` or `*`",
    "operator": (
        "operators with spaces between them, each a glob: an activation, a loss, `linear`, `sgd`, `l2`, or one of "
        "`gradconform list operators`; `*` for all"
    ),
    "quantity": "the quantity, a glob: `a*`, `dE/dz*`",
    "reason": "what is known, with its numbers",
    "upstream": "where it is reported or documented, an address",
    "case": "the case's id, a glob; left out: every case",
    "form": "the accepted form that the row names, a glob; left out: every one",
    "value": "the value as Python writes it, a glob, such as `nan`; left out: every one",
    "formula": "the answer to the first question, a glob, such as `wrong`; left out: every one",
    "most_share": (
        "the largest share of the allowance that the evidence explains; may be left out where `value` is given"
    ),
    "most_ulp": (
        "the largest error in ulp that the evidence explains; in the place of `most_share` where `formula` is "
        "`wrong` or `undefined`"
    ),
}


def plain(text: object) -> str:
    """Text as it is, whatever it means in Markdown; code and links, which begin with ` and [, as they are meant."""
    found = str(text).replace("\n", " ")
    if not found.startswith(("`", "[")):
        found = re.sub(r"([\\*_\[\]<>$`])", r"\\\1", found)
    return found.replace("|", "\\|")


def table(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    def line(cells: Sequence[object]) -> str:
        return f"| {' | '.join(map(plain, cells))} |"

    return "\n".join([line(headings), line(["---"] * len(headings)), *map(line, rows)]) + "\n"


def described(names: Iterable[str], texts: dict[str, str], what: str) -> str:
    names = tuple(names)
    _same(names, texts, what)
    return table((what, "what it says"), [(f"`{n}`", texts[n]) for n in names]).replace("\\`", "`")


def _same(names: Iterable[str], texts: Iterable[str], what: str) -> None:
    if set(names) != set(texts):
        raise ValueError(f"{what}: described and there are not the same: {sorted(set(names) ^ set(texts))}")


def columns() -> str:
    return described(COLUMNS, COLUMN, "column")


def known() -> str:
    return described((f.name for f in fields(KnownDeviation)), KNOWN, "key")


def verdicts() -> str:
    """The three questions, their answers, and the verdicts that those come to."""
    _same(QUESTIONS, QUESTION, "question")
    _same(VERDICTS, VERDICT, "verdict")
    asked = [(f"`{name}`", question, how) for name, (question, how) in QUESTION.items()]
    answers = []
    for name, words in QUESTIONS.items():
        _same(words, ANSWER[name], name)
        answers += [(f"`{name}`", f"`{word}`", ANSWER[name][word]) for word in reversed(words)]
    rows = [(f"`{verdict}`", *VERDICT[verdict]) for verdict in VERDICTS]
    return "\n".join(
        (
            table(("question", "asked", "decided by"), asked),
            table(("question", "answer", "what it says"), answers),
            table(("verdict", "the answers", "what it says", "exit status of a run"), rows),
        )
    ).replace("\\`", "`")


def reasons() -> str:
    return ", ".join(f"`{r}`" for r in REASONS) + "\n"


def operations() -> str:
    """What `point.forward` may ask of an adapter's operations."""
    _same((a for a in ACTIVATIONS if a != "identity"), ACTIVATION, "activation")
    _same(LOSSES, TERM, "loss")
    rows = ((f"`{call}`", shapes, what) for call, shapes, what in asked())
    return table(("operation", "shapes", "what it is"), rows)


class _Options(list[tuple[str, str]]):
    """Stands for pytest's parser and its group while the plugin tells its options."""

    def getgroup(self, *_: str) -> _Options:
        return self

    def addoption(self, name: str, *, help: str, metavar: str, **_: object) -> None:
        self.append((f"`{name} {metavar}`", help))


def pytest_options() -> str:
    options = _Options()
    plugin.pytest_addoption(cast("pytest.Parser", options))
    return table(("option", "what it does"), options)


def dtypes() -> str:
    rows = [
        (f.name, f.precision, f"2^−{f.precision}", f"2^{f.emin}".replace("-", "−"), f"{f.largest:.6g}")
        for f in FORMATS.values()
    ]
    return table(("dtype", "precision (bits)", "u", "smallest normal", "largest"), rows)


def profiles() -> str:
    rows = []
    for name in PROFILES:
        for adapter in ("", "jax") if name == "vendor" else ("",):
            bounds = profile(name, adapter).ulps
            for dtype, ulps in bounds.items():
                who = f"{name}{f' ({adapter})' if adapter else ' (others)' if name == 'vendor' else ''}"
                rows.append((who, dtype, *(f"{k:g}" for k in ulps.values())))
    functions = list(profile("opencl").ulps["float64"])
    return table(("profile", "dtype", *functions), rows)


def equations() -> str:
    return table(
        ("quantity", "formula", "accepted forms"),
        [(symbol(e.name), formula(e), ", ".join(f.name for f in e.forms)) for e in NETWORK.equations],
    )


def activations() -> str:
    rows = [
        (a.name, kind, f.name, f.source or "the formula")
        for a in ACTIVATIONS.values()
        for kind, forms in (("value", a.forward), ("slope", a.backward))
        for f in forms
    ]
    return table(("activation", "of", "form", "where it is found"), rows)


def losses() -> str:
    rows = [
        (one.name, kind, f.name, f.source or "the formula")
        for one in LOSSES.values()
        for kind, forms in (("value", one.value), ("slope", one.slope))
        for f in forms
    ]
    return table(("loss", "of", "form", "where it is found"), rows)


def routes() -> str:
    rows = []
    for name in registry.BUILT_IN:
        try:
            adapter = registry.load(name)
        except registry.NotInstalled:
            continue
        rows += [
            (f"`{name}/{r.name}`", r.summary, "yes" if r.default else "by name", " ".join(r.dtypes), r.operands)
            for r in adapter.routes
        ]
    return table(("route", "what it is", "runs by default", "dtypes", "operands known"), rows)


def deviations() -> str:
    # A long name may be broken where its words end.
    rows = [
        (f"`{k.id}`", f"{k.adapter}/{k.route} {k.versions}", k.operator.replace("_", "_\u200b"), k.dtype, k.reason,
         f"[source]({k.upstream})")
        for k in known_deviations()
    ]  # fmt: skip
    return table(("id", "where", "operator", "dtype", "why", "upstream"), rows)


PARTS: dict[str, Callable[[], str]] = {
    f.__name__: f
    for f in (
        columns,
        known,
        verdicts,
        reasons,
        dtypes,
        profiles,
        equations,
        activations,
        losses,
        routes,
        deviations,
        operations,
        pytest_options,
    )
}


_PLACE = re.compile(r"(<!-- (\w+), by docs/site/generated\.py -->\n).*?(<!-- end -->)", re.DOTALL)


def filled(page: str) -> str:
    """A page with each of its parts as the code says it now."""
    return _PLACE.sub(lambda found: f"{found[1]}\n{PARTS[found[2]]()}\n{found[3]}", page)


def stale(folder: Path) -> list[Path]:
    """The pages of a folder with a part that the code no longer says."""
    pages = {path: path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.md"))}
    return [path for path, text in pages.items() if filled(text) != text]


if __name__ == "__main__":
    for stale_page in stale(Path(__file__).parent):
        stale_page.write_text(filled(stale_page.read_text(encoding="utf-8")), encoding="utf-8")
        print(stale_page)
