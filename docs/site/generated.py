"""The tables of the reference, read off the code, so that they cannot say anything else."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from gradconform.adapters import registry
from gradconform.conformance.known import known_deviations
from gradconform.conformance.measurement import COLUMNS, REASONS
from gradconform.reference.activations import ACTIVATIONS
from gradconform.reference.document import NETWORK
from gradconform.reference.formats import FORMATS
from gradconform.reference.judge import VERDICTS
from gradconform.reference.losses import LOSSES
from gradconform.reference.profiles import PROFILES, profile
from gradconform.reference.text import formula, symbol

#: What a column holds. A column without an entry here, or an entry without a column, is an error.
COLUMN = {
    "case": "the case's id, such as `document/worked-example`",
    "adapter": "the framework, such as `torch`",
    "route": "how the gradient was got, such as `eager`",
    "dtype": "the format that everything was rounded to",
    "level": "`whole`: from the case's inputs. `step`: on the operands that the framework reported",
    "quantity": "the name of the equation, with d for ∂; `*` where there was nothing to judge",
    "elements": "components of the tensor; 1 for a number",
    "value": "what the framework gave (of a tensor: its worst component, as all the numbers below)",
    "truth": "the exact value to 25 digits, as text",
    "truth_radius": "half the width of the ball that encloses the truth",
    "error_abs": "|value − truth|",
    "error_ulp": "the same in units in the last place of the truth: how accurate",
    "median_ulp": "its median over the components",
    "allowance": "the largest error that the named form's rounding can cause",
    "share": "error ÷ allowance: above 1 it deviates",
    "sharpest_share": "the same for the accepted form with the smallest allowance",
    "form": "the accepted form that is named",
    "certified_bits": (
        "−log₂(allowance ÷ |truth|), of an updated weight −log₂(allowance ÷ |η·gradient|), "
        "of a tensor with the 2-norms of both: how much a pass means"
    ),
    "worst_index": "the indices of the worst component",
    "verdict": "see below",
    "reason": "why, its first word from the list below",
}
VERDICT = {
    "conforms": "an accepted form can give it",
    "deviates": "no accepted form can: a proof",
    "vacuous": (
        "inside, but the allowance is at least as large as the truth, or for an updated weight as the step η·∂E/∂w; "
        "for a tensor by 2-norms: the formula itself has lost the digits. Not counted as a pass"
    ),
    "out of range": "every accepted form may overflow here",
    "undecided": "4096 bits did not decide it",
    "unsupported": "the route does not run this; the reason says why",
    "crashed": "there is no answer to judge; the reason says why, with the command that reproduces it",
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
    if set(names) != set(texts):
        raise ValueError(f"{what}: described and there are not the same: {sorted(set(names) ^ set(texts))}")
    return table((what, "what it says"), [(f"`{n}`", texts[n]) for n in names]).replace("\\`", "`")


def columns() -> str:
    return described(COLUMNS, COLUMN, "column")


def verdicts() -> str:
    return described(VERDICTS, VERDICT, "verdict")


def reasons() -> str:
    return ", ".join(f"`{r}`" for r in REASONS) + "\n"


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
    rows = [
        (f"`{k.id}`", f"{k.adapter}/{k.route} {k.versions}", k.dtype, k.reason, f"[source]({k.upstream})")
        for k in known_deviations()
    ]
    return table(("id", "where", "dtype", "why", "upstream"), rows)


PARTS: dict[str, Callable[[], str]] = {
    f.__name__: f
    for f in (columns, verdicts, reasons, dtypes, profiles, equations, activations, losses, routes, deviations)
}


def write(folder: Path) -> None:
    """Every part as a Markdown file that a page includes."""
    folder.mkdir(exist_ok=True)
    for name, part in PARTS.items():
        (folder / f"{name}.txt").write_text(part(), encoding="utf-8")
