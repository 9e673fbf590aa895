"""What a run says at its end, as text: its verdicts, the answers to the three questions, what to look at."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence

from rich.table import Table

from gradconform.conformance.known import is_known
from gradconform.reference.arithmetic.formats import FORMATS
from gradconform.reference.measurement import CERTIFIED, JUDGED, QUESTIONS, UNJUDGED, Measurement, kept_by

#: The verdicts that `--fail-on` takes, by what is typed.
FAIL_ON = {"lost": "lost", "vacuous": "vacuous", "ill-conditioned": "ill-conditioned", "out-of-range": "out of range"}
#: So many lines are printed of what is wrong, and of what is lost.
MOST = 10


def largest_ulp(m: Measurement) -> float | None:
    """The largest error of a component in ulp; of a run that has only that of the largest share, that."""
    return m.error_ulp if m.max_ulp is None else m.max_ulp


def counted(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def share(value: float | None) -> str:
    """To three decimals; what is beyond a thousand to three digits."""
    return "none" if value is None else f"{value:.3f}" if value < 1000 else f"{value:.3g}"


def _ulps(value: float) -> str:
    """To three digits; what is beyond a thousand to two."""
    return f"{value:.3g}" if value < 1000 else f"{value:.2g}"


def verdicts(measurements: Sequence[Measurement]) -> Table:
    """adapter/route × dtype: the counts of verdicts, the largest error in ulp where certified, the largest share."""
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("adapter/route", no_wrap=True)
    table.add_column("dtype", no_wrap=True)
    crashing = any(m.verdict == "crashed" for m in measurements)
    headings = ["judged", "conform", "dev", "known", "lost", "vacuous", *(["crash"] if crashing else [])]
    for heading in (*headings, "max ulp", "share"):
        table.add_column(heading, justify="right", no_wrap=True)
    groups: dict[tuple[str, str], list[Measurement]] = defaultdict(list)
    for m in measurements:
        groups[f"{m.adapter}/{m.route}", m.dtype].append(m)
    for (route, dtype), rows in groups.items():
        counts = Counter(m.verdict for m in rows)
        if counts["unsupported"] == len(rows):
            continue
        known = sum(is_known(m) for m in rows)
        ulps = [u for m in rows if m.verdict in CERTIFIED and (u := largest_ulp(m)) is not None]
        shares = [m.share for m in rows if m.share is not None]
        judged = len(rows) - sum(counts[v] for v in UNJUDGED)
        cells = [judged, counts["conforms"], counts["deviates"] - known, known, counts["lost"], counts["vacuous"]]
        cells += [counts["crashed"]] if crashing else []
        largest = (_ulps(max(ulps)) if ulps else "–", share(max(shares)) if shares else "–")
        table.add_row(route, dtype, *map(str, cells), *largest)
    return table


def answers(measurements: Iterable[Measurement]) -> list[str]:
    """One line for each question that was answered: how many measurements have which answer, the best first."""
    rows = list(measurements)
    lines = []
    for question, words in QUESTIONS.items():
        counts = Counter(getattr(m, question) for m in rows)
        said = [f"{word} {counts[word]}" for word in reversed(words) if counts[word]]
        if said:
            lines.append(f"{question}: {', '.join(said)}")
    return lines


#: What the reason begins with where a network asks for an operation that an adapter has not.
LACKS = "operation: the adapter has no "


def unsupported(measurements: Sequence[Measurement]) -> list[str]:
    """For each route, in how many of its cases it is unsupported, and why the first is; like dtypes together."""
    cases: dict[tuple[str, str], set[str]] = defaultdict(set)
    refused: dict[tuple[str, str], dict[str, str | None]] = defaultdict(dict)
    for m in measurements:
        key = f"{m.adapter}/{m.route}", m.dtype
        cases[key].add(m.case)
        if m.verdict == "unsupported":
            refused[key][m.case] = m.reason
    dtypes: dict[tuple[str, int, int, str], list[str]] = defaultdict(list)
    for (route, dtype), of in sorted(refused.items(), key=lambda item: _width(item[0][1])):
        dtypes[route, len(of), len(cases[route, dtype]), _reasons(of.values())].append(dtype)
    return [
        f"{route} in {', '.join(names)}: {count} of {counted(every, 'case')}{f' ({reason})' if reason else ''}"
        for (route, count, every, reason), names in sorted(dtypes.items(), key=lambda item: item[0][0])
    ]


def _reasons(of: Iterable[str | None]) -> str:
    """The most frequent reason, and how many others there are; of operations that the adapter lacks all as one."""
    reasons = [reason for reason in of if reason]
    lacking = Counter(r.removeprefix(LACKS) for r in reasons if r.startswith(LACKS))
    together = LACKS + ", ".join(name for name, _ in lacking.most_common())
    counts = Counter(together if r.startswith(LACKS) else r for r in reasons)
    if not counts:
        return ""
    ((first, count),) = counts.most_common(1)
    if len(counts) == 1:
        return first
    return f"{count} by {first}; the others by {counted(len(counts) - 1, 'other reason')}"


def unreported(measurements: Iterable[Measurement]) -> list[str]:
    """For each route what its answers left out, and in how many of its cases; it is not judged."""
    cases: dict[tuple[str, str], set[tuple[str, str]]] = defaultdict(set)
    every: dict[str, set[tuple[str, str]]] = defaultdict(set)
    for m in measurements:
        route = f"{m.adapter}/{m.route}"
        every[route].add((m.case, m.dtype))
        for part in (m.reason or "").split("; "):
            if part.startswith(LEFT_OUT):
                cases[route, part.removeprefix(LEFT_OUT)].add((m.case, m.dtype))
    return [
        f"{route} gave no {what} in {len(of)} of {counted(len(every[route]), 'answer')}; that was not judged"
        for (route, what), of in cases.items()
    ]


#: How a reason begins that says what an answer does not give.
LEFT_OUT = "unreported: the answer gives no "


def at_fault_first(measurements: Iterable[Measurement]) -> list[Measurement]:
    """Equations that are wrong on the operands that were reported, before all that follows from them."""
    return sorted(measurements, key=lambda m: m.level != "step")


def wrong(
    measurements: Sequence[Measurement], explains: Callable[[Measurement], str | None] = lambda m: None
) -> list[str]:
    """What deviates and is not known, crashed or is undecided: the first ones, crashes that are the same as one.

    Below what was judged stands the command that `explains` it, if there is one.
    """
    groups: dict[object, list[Measurement]] = defaultdict(list)
    for number, m in enumerate(at_fault_first(measurements)):
        if m.verdict in ("deviates", "crashed", "undecided") and not is_known(m):
            # Only the command that reproduces it tells one such crash from another.
            why = (m.reason or "").partition("; reproduce with: ")[0]
            groups[(m.adapter, m.route, why) if m.verdict == "crashed" else number].append(m)
    found = list(groups.values())
    left = sum(map(len, found[MOST:]))
    lines: list[str] = []
    commands = [None if of[0].verdict == "crashed" else explains(of[0]) for of in found[:MOST]]
    for of, command, following in zip(found, commands, [*commands[1:], None], strict=False):
        lines.append(_wrong(of))
        # Deviations of one case and route stand together, over the command that shows them all.
        if command is not None and command != following:
            lines.append(f"    {command}")
    return [*lines, *([f"… and {left} more"] if left else [])]


def _wrong(of: Sequence[Measurement]) -> str:
    m = of[0]
    times = f" {len(of)} times, the first" if len(of) > 1 else ""
    line = f"{m.verdict}{times}: {m.adapter}/{m.route} {m.dtype} {m.case}"
    if m.quantity != "*":  # all of the case, which has no share and no level
        line += f" {m.quantity} share {share(m.share)} ({m.level})"
    why = "; ".join(text for text in (m.cause, m.reason) if text)
    return f"{line} {why}" if why else line


#: What the judge calls whole programs, in words.
_PROGRAMS = {
    "sharpest": "the most accurate accepted program",
    "widest": "any accepted program",
    "program 1": "the first form of every equation",
    "program 2": "the second form of every equation",
    "program 3": "the third form of every equation",
}
#: How many bits are kept, at the end of what a reason says of it.
_KEEPS = re.compile(r"(.*) keeps (\d+) bits")


def lost(measurements: Iterable[Measurement]) -> list[str]:
    """What is lost, by route, operator and program: in which dtypes, how often, and which program keeps the digits."""
    groups: dict[tuple[str, str, str, str], Counter[str]] = defaultdict(Counter)
    bits: dict[tuple[str, str, str, str], list[int]] = defaultdict(list)
    for m in measurements:
        if m.verdict == "lost":
            kept = kept_by(m.reason) or ""
            keeps = _KEEPS.fullmatch(kept)
            of = m.operator or m.quantity
            key = f"{m.adapter}/{m.route}", of, _program(m.accepted_form or ""), _program(keeps[1] if keeps else kept)
            groups[key][m.dtype] += 1
            bits[key] += [int(keeps[2])] if keeps else []
    lines = []
    for key, dtypes in sorted(groups.items(), key=lambda item: -item[1].total()):
        route, operator, form, kept = key
        names = ", ".join(sorted(dtypes, key=_width))
        by, instead = f" by {form}" if form else "", f"; what keeps the digits: {kept}" if kept else ""
        least, most = min(bits[key], default=0), max(bits[key], default=0)
        many = f" ({least} bits)" if least == most else f" ({least} to {most} bits)"
        lines.append(f"{route} in {names}: {dtypes.total()} of {operator}{by}{instead}{many if most else ''}")
    return lines[:MOST] + ([f"… and {len(lines) - MOST} more, in `gradconform report`"] if len(lines) > MOST else [])


def _program(name: str) -> str:
    """A form's name; of a whole program, which is no form of one equation, what it is."""
    for label, words in _PROGRAMS.items():
        if name == label or name.startswith((f"{label},", f"{label} ")):
            return words + name.removeprefix(label)
    return name


def _width(dtype: str) -> int:
    return list(FORMATS).index(dtype)


def closing(measurements: Sequence[Measurement], seconds: Mapping[str, float]) -> str:
    """The last line: what was judged with which verdict, and the slowest route."""
    counts = Counter(m.verdict for m in measurements)
    known = sum(is_known(m) for m in measurements)
    judged = sum(counts[v] for v in JUDGED)
    slowest = max(seconds, key=lambda s: seconds[s], default=None)

    def some(*names: str) -> str:
        return "".join(f"{v} {counts[v]}, " for v in names if counts[v])

    return (
        f"judged {judged}, deviating {counts['deviates'] - known} (known {known}), {some('lost')}"
        f"vacuous {counts['vacuous']}, {some('ill-conditioned', 'out of range', 'singular', 'undecided', 'crashed')}"
        f"slowest {f'{slowest} {seconds[slowest]:.1f} s' if slowest else 'none'}"
    )
