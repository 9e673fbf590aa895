"""Figures of sweeps: error against argument, a strip for each dtype and framework, beside it that of the derivative.

An axis of arguments is of places: as many of the dtype's numbers stand on each stretch of it, so that a binade is as
wide as the next. Binades in which nothing happens are folded away, so that in the others something is to be seen: no
verdict of TOLD, and an error of at most half an ulp that is as in the binades beside; where too many are left, a larger
error that is as beside, too.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from gradconform.reference.measurement import shortest
from gradconform.reports.figures import COLOURS, WIDTH, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

QUANTITIES = ("value", "derivative")
#: How high a strip is, in inches.
HEIGHT = 0.92
#: Errors in ulp that are as good as none, and what an axis shows at least.
FLOOR, LEAST_TOP = 2.0**-6, 32.0
#: Verdicts that a strip marks above its errors, each by a hatching too, which prints apart in grey.
TOLD: Mapping[str, Mapping[str, Any]] = {
    "deviates": {"facecolor": "#000000", "edgecolor": "#000000"},
    "undecided": {"facecolor": "#ffffff", "edgecolor": "#000000", "hatch": "xxxxx"},
    "lost": {"facecolor": "#E69F00", "edgecolor": "#000000", "hatch": "//////"},
}
#: Largest errors of two binades that are as good as the same, as a quotient.
_SAME = 1.25
#: What part of the axis a folded stretch takes, a character of a mark, and what stands between two marks.
_FOLD, _CHARACTER, _BETWEEN = 0.035, 0.026, 0.035
#: Points that a line has at most, each the largest of its neighbours: what a strip on paper can show.
_POINTS = 300
#: Pixels an inch, of pictures and of what a drawing holds as pixels.
_DPI = 180
#: Characters that a line above a strip has room for.
_LINE = 46
#: Binades beside one in which something happens that stay, and how many quiet ones are worth folding.
_BESIDE, _FOLDED = 1, 3
#: Binades of which each still has room on a strip.
_MANY = 48


def version(header: Mapping[str, Any]) -> str:
    """The version of the framework that a sweep is of."""
    versions = header["frameworks"][header["adapter"]]
    return str(versions.get(header["adapter"], ", ".join(map(str, versions.values()))))


def _least(dtype: str) -> float:
    """The smallest normal number."""
    return 2.0 ** (-14 if dtype == "float16" else -126)


def place(x: NDArray[np.float64], dtype: str) -> NDArray[np.float64]:
    """Where a number stands, in binades from 0: subnormal numbers are the first."""
    size = np.abs(np.asarray(x, dtype=np.float64))
    least = _least(dtype)
    significand, exponent = np.frexp(np.maximum(size, least))
    binades = exponent - math.frexp(least)[1] + 2 * significand  # whose significand is from 1/2 on
    return np.asarray(np.copysign(np.where(size < least, size / least, binades), x))


@dataclass(frozen=True)
class Fold:
    """An axis of arguments: from which places to which it shows, each a stretch in which something happens."""

    dtype: str
    shown: tuple[tuple[float, float], ...]

    @cached_property
    def knots(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Places, and where on an axis from 0 to 1 they stand."""
        gap = _FOLD * sum(b - a for a, b in self.shown) / max(1e-9, 1 - _FOLD * (len(self.shown) - 1))
        places, at = [], []
        where = 0.0
        for a, b in self.shown:
            places += [a, b]
            at += [where, where + b - a]
            where += b - a + gap
        return np.array(places), np.array(at) / (where - gap)

    def at(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.interp(place(x, self.dtype), *self.knots)

    def folds(self) -> Iterator[tuple[float, float]]:
        """From where to where on the axis something is folded away."""
        at = self.knots[1]
        yield from zip(at[1:-1:2].tolist(), at[2::2].tolist(), strict=True)

    def within(self, x: float) -> bool:
        where = float(place(np.array([x]), self.dtype)[0])
        return any(a <= where <= b for a, b in self.shown)

    def marks(self) -> list[tuple[float, str]]:
        """Numbers that are named, where they stand: round ones, as many as have room."""
        tens = sorted(range(-45, 39), key=lambda k: (k % 10 != 0, k % 5 != 0, k % 2 != 0, abs(k)))
        round_ones = [0.0, *(m * 10.0**k for m in (1, 5, 2, 3) for k in tens)]
        found: list[tuple[float, str]] = []
        for x in dict.fromkeys(s * x for x in round_ones for s in (1, -1)):
            at, text = float(self.at(np.array([x]))[0]), _named(f"{x:g}")
            room = [_CHARACTER * (len(text) + len(other)) / 2 + _BETWEEN for _, other in found]
            if self.within(x) and all(abs(at - o) > need for (o, _), need in zip(found, room, strict=True)):
                found.append((at, text))
        return found


def _named(decimal: str) -> str:
    """A decimal as people write it: −5, 10²⁰, 1.7·10³⁸."""
    digits, _, exponent = decimal.replace("-", "−").partition("e")
    if not exponent:
        return digits
    power = exponent.removeprefix("+").translate(str.maketrans("−0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    power = power.replace("⁻⁰", "⁻").removeprefix("⁰")
    return f"10{power}" if digits == "1" else f"−10{power}" if digits == "−1" else f"{digits}·10{power}"


@dataclass(frozen=True)
class Strip:
    """One strip: the errors of a quantity in a dtype and a framework's version, and from where to where verdicts go.

    `parts` are the largest errors of neighbouring numbers, `every` each number's, empty where they were not kept.
    """

    dtype: str
    who: str
    quantity: str
    parts: tuple[NDArray[np.float64], NDArray[np.float64]]
    every: tuple[NDArray[np.float64], NDArray[np.float64]]
    stretches: Mapping[str, Sequence[tuple[float, float]]]
    said: str


def _strip(sweep: tuple[Mapping[str, Any], Sequence[Mapping[str, Any]], Mapping[str, Any]], quantity: str) -> Strip:
    header, chunks, footer = sweep
    of = footer[quantity]
    points = [point for c in chunks for point in c[quantity]["strip"]]
    x, ulps = np.array([[float(v) for v in p] for p in points]).reshape(-1, 2).T
    kept = [c for c in chunks if "every" in c[quantity]]
    every_x = np.array([float(v) for c in kept for v in c["x"]])
    every = np.array([math.nan if v is None else float(v) for c in kept for v in c[quantity]["every"]["ulps"]])
    there = np.isfinite(every_x) & ~np.isnan(every)
    stretches = {
        w: [(float(a), float(b)) for c in chunks for a, b, _ in c[quantity]["stretches"].get(w, [])] for w in TOLD
    }
    said = _found(header, of)
    who = f"{header['adapter']} {version(header)}"
    return Strip(header["dtype"], who, quantity, (x, ulps), (every_x[there], every[there]), stretches, said)


def _found(header: Mapping[str, Any], of: Mapping[str, Any]) -> str:
    """What a strip shows, in a line that has room above it."""
    worst = of["largest"]
    if not worst:
        return "no error is known"
    largest = float(worst["of"])
    said = ["exact" if not largest else f"max {_named(f'{largest:.4g}')} ulp".replace("inf", "∞")]
    counts = {word: of["verdicts"].get(word, 0) for word in ("deviates", "lost", "undecided")}
    said += [f"{n:,} {word.replace('deviates', 'deviate')}" for word, n in counts.items() if n]
    at = f" at {_named(*shortest([float(worst['x'])], header['dtype']))}" if largest > FLOOR else ""
    line = "; ".join([said[0] + at, *said[1:]])
    return line if len(line) <= _LINE else "; ".join(said)


def fold(dtype: str, strips: Sequence[Strip]) -> Fold:
    """The axis of strips of one dtype: the binades in which something happens, and their neighbours."""
    binades = {k for strip in strips for found in (_by_binade(strip), *_told(strip)) for k in found}
    for steady in (0.5, math.inf):
        loud = {k for strip in strips for k in _loud(strip, steady)}
        if len(loud) <= _MANY:
            break
    loud = {k + d for k in loud for d in range(-_BESIDE, _BESIDE + 1)} & binades
    shown: list[tuple[float, float]] = []
    for k in sorted(loud or binades or {0}):
        if shown and k - shown[-1][1] < _FOLDED:
            shown[-1] = (shown[-1][0], k + 1.0)
        else:
            shown.append((float(k), k + 1.0))
    return Fold(dtype, tuple(shown))


def _loud(strip: Strip, steady: float) -> Iterator[int]:
    """The binades of a strip with a verdict of TOLD, or an error above `steady` ulp or other than beside."""
    largest = _by_binade(strip)
    yield from (k for k in largest if not _quiet(k, largest, steady))
    for low, high in _told(strip):
        yield from {low, high, *(set(range(low, high + 1)) & set(largest))}


def _told(strip: Strip) -> Iterator[tuple[int, int]]:
    """From which binade to which a verdict of TOLD goes, each stretch of it."""
    for ends in (pair for stretches in strip.stretches.values() for pair in stretches):
        low, high = np.floor(place(np.array(ends), strip.dtype)).astype(int).tolist()
        yield low, high


def _by_binade(strip: Strip) -> dict[int, float]:
    """The largest error of each binade that has one, none less than FLOOR."""
    found: dict[int, float] = {}
    for x, ulps in (strip.parts, strip.every):
        for k, ulp in zip(np.floor(place(x, strip.dtype)).astype(int).tolist(), ulps.tolist(), strict=True):
            found[k] = max(found.get(k, FLOOR), ulp)
    return found


def _quiet(k: int, largest: Mapping[int, float], steady: float) -> bool:
    """Whether a binade's error is as those beside it, and at most `steady` ulp."""
    beside = [largest[n] for n in (k - 1, k, k + 1) if n in largest]
    small = max(beside) <= steady and (max(beside) <= FLOOR or len(beside) == 3)
    return small and max(beside) <= _SAME * min(beside)


def drawn(sweeps: Sequence[tuple[Mapping[str, Any], Sequence[Mapping[str, Any]], Mapping[str, Any]]]) -> Figure:
    """Sweeps of one operator: a row for each dtype and framework's version, in it the value and the derivative."""
    from matplotlib.figure import Figure

    quantities = [q for q in QUANTITIES if any(q in f for _, _, f in sweeps)]
    strips = [_strip(s, q) for s in sweeps for q in quantities if q in s[2]]
    rows = sorted({(s.dtype, s.who) for s in strips})
    figure = Figure(figsize=(WIDTH, 0.62 + HEIGHT * len(rows) + 0.16 * len({d for d, _ in rows})), layout="constrained")
    axes = figure.subplots(len(rows), len(quantities), squeeze=False)
    folds = {d: fold(d, [s for s in strips if s.dtype == d]) for d in {s.dtype for s in strips}}
    for i, (dtype, who) in enumerate(rows):
        last = i + 1 == len(rows) or rows[i + 1][0] != dtype
        for axis, quantity in zip(axes[i], quantities, strict=True):
            own = [s for s in strips if (s.dtype, s.who, s.quantity) == (dtype, who, quantity)]
            _panel(axis, own, folds[dtype], _top(s for s in strips if s.dtype == dtype))
            axis.tick_params(labelbottom=last, labelleft=axis is axes[i][0])
            axis.set_title(plain("; ".join(s.said for s in own) or f"no {quantity}"), fontsize=6, loc="left", pad=2)
        axes[i][0].set_ylabel(plain(f"{who.partition('+')[0]}\n{dtype}"), fontsize=6.5)
    operator = str(sweeps[0][0]["operator"])
    for axis, quantity in zip(axes[0], quantities, strict=True):
        heading = f"{operator}, {quantity}: error in ulp"
        axis.annotate(plain(heading), (0, 1), (0, 13), xycoords="axes fraction", textcoords="offset points",
                      fontsize=7.5, weight="bold")  # fmt: skip
    for axis in axes[-1]:
        axis.set_xlabel("argument", fontsize=6.5)
    _legend(figure, strips, folds)
    return figure


def _top(strips: Iterable[Strip]) -> float:
    """What the errors of these strips reach to, those that are infinite left out."""
    finite = [float(u) for s in strips for u in s.parts[1] if math.isfinite(u)]
    return max([LEAST_TOP, *(8 * u for u in finite)])


def _panel(axis: Axes, strips: Sequence[Strip], along: Fold, top: float) -> None:
    for strip in strips:
        x, ulps = strip.every
        if x.size:
            axis.plot(along.at(x), ulps.clip(FLOOR, top), linestyle="", marker=".", markersize=1.2, markeredgewidth=0,
                      color=COLOURS[5], rasterized=True)  # fmt: skip
        for at, largest in _lines(along, *strip.parts):
            axis.plot(at, largest.clip(FLOOR, top), color=COLOURS[0], linewidth=0.8, drawstyle="steps-mid")
        for word, style in TOLD.items():
            for a, b in _shown(along, strip.stretches[word]):
                axis.axvspan(a, max(b, a + 0.004), 0.88, 1.0, linewidth=0.3, **style)
    for a, b in along.folds():
        axis.axvspan(a, b, facecolor="#ffffff", edgecolor="#999999", hatch="......", linewidth=0, zorder=3)
    axis.axhline(0.5, color="#000000", linewidth=0.5, linestyle=(0, (1, 2)))
    axis.set(yscale="log", ylim=(FLOOR / 1.3, top * 1.6), xlim=(0, 1))
    ticks = [t for t in (0.1, 1, 10, 100, 1e3, 1e4, 1e5, 1e6, 1e7) if t < top]
    ticks = ticks[1::2] if len(ticks) > 5 else ticks
    axis.set_yticks(ticks, [_named(f"{t:g}" if t < 1e3 else f"{t:.0e}") for t in ticks])
    axis.set_xticks([at for at, _ in along.marks()], [text for _, text in along.marks()])
    axis.tick_params(labelsize=6, length=2, pad=1.5)
    axis.minorticks_off()
    axis.spines[:].set_linewidth(0.5)
    axis.grid(alpha=0.25, linewidth=0.4)


def _lines(
    along: Fold, x: NDArray[np.float64], ulps: NDArray[np.float64]
) -> Iterator[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """A line for each stretch that is shown: where its points stand, and the largest error of what stands there."""
    where = place(x, along.dtype)
    for a, b in along.shown:
        inside = np.flatnonzero((where >= a) & (where <= b))
        at = along.at(x[inside])
        cells = np.minimum((at * _POINTS).astype(int), _POINTS - 1)
        order = np.lexsort((ulps[inside], cells))  # the last of a cell is its largest
        last = order[np.flatnonzero(np.diff(cells[order], append=-1))]
        if last.size:
            yield np.sort(at[last]), ulps[inside][last][np.argsort(at[last])]


def _shown(along: Fold, stretches: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    """Where stretches stand on the axis, those that are on it."""
    found = []
    for low, high in stretches:
        a, b = along.at(np.array([low, high])).tolist()
        if b > a or along.within(low):
            found.append((a, b))
    return found


def _legend(figure: Figure, strips: Sequence[Strip], folds: Mapping[str, Fold]) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    words = [w for w in TOLD if any(_shown(folds[s.dtype], s.stretches[w]) for s in strips)]
    handles: list[Any] = [Line2D([], [], color=COLOURS[0], linewidth=0.8, label="largest of neighbours")]
    if any(s.every[0].size for s in strips):
        handles.append(Line2D([], [], color=COLOURS[5], linestyle="", marker=".", markersize=3, label="each number"))
    handles.append(Line2D([], [], color="#000000", linewidth=0.6, linestyle=(0, (1, 2)), label="½ ulp"))
    handles += [Patch(linewidth=0.3, label=w, **TOLD[w]) for w in words]
    if any(len(f.shown) > 1 for f in folds.values()):
        handles.append(Patch(facecolor="#ffffff", edgecolor="#999999", hatch="......", linewidth=0.3,
                             label="left out: as beside"))  # fmt: skip
    figure.legend(handles=handles, loc="outside lower center", ncols=min(4, len(handles)), frameon=False, fontsize=6,
                  handlelength=1.8, columnspacing=1.2, borderpad=0.1)  # fmt: skip


def written(figure: Figure, path: Path, endings: Iterable[str]) -> list[Path]:
    """The figure as files of these endings."""
    path.parent.mkdir(parents=True, exist_ok=True)
    paths = [path.with_name(path.name + ending) for ending in endings]
    for of in paths:
        if of.suffix == ".png":
            _in_few_colours(figure, of)
        else:
            figure.savefig(of, dpi=_DPI, metadata={".svg": {"Date": None}, ".pdf": {"CreationDate": None}}[of.suffix])
    return paths


def _in_few_colours(figure: Figure, path: Path) -> None:
    """A picture of few colours, which takes a quarter of the bytes."""
    from PIL import Image

    pixels = BytesIO()
    figure.savefig(pixels, dpi=_DPI)
    with Image.open(pixels) as image:
        image.convert("RGB").quantize(64, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(
            path, optimize=True
        )
