"""What the rounding rules give, as a fingerprint for each operation: whether a rule has changed.

    python benchmarks/rule_values.py [--write]

That no radius is too small is asked by `radii.py`, of programs that are run. That none became larger, that no special
bit appeared and no guard fell away, only the values themselves tell: `rule_values.toml` holds a fingerprint of what
every operation of balls gives for operands at all the edges that rules have, in every format, flushing or not.
`--write` writes it anew, after a change of a rule that is meant.

Exit status 1 if one differs.
"""

from __future__ import annotations

import argparse
import hashlib
import math
import sys
import tomllib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from random import Random
from typing import Any

from flint import arb

from gradconform.reference.arithmetic import rules
from gradconform.reference.arithmetic.exact import precision
from gradconform.reference.arithmetic.formats import FORMATS, Format
from gradconform.reference.arithmetic.profiles import OPENCL, STRICT
from gradconform.reference.arithmetic.rounded import ANYTHING, Rounded, RoundedBalls
from gradconform.reference.derivations.activations import ACTIVATIONS
from gradconform.reference.equations import Slope

KEPT = Path(__file__).with_name("rule_values.toml")
#: Cases of an operation in each format and profile; digits of what they give.
CASES, DIGITS = 120, 12
BITS = 192
FUNCTIONS = ("exp", "expm1", "log", "log1p", "sqrt", "sin", "cos", "sinh", "cosh", "tanh", "erf", "erfc", "sigmoid")
#: An operation by its number of operands; its arithmetic is that of the first of them.
Operation = tuple[int, Callable[..., Any]]
#: Operands of operations at edges that drawn ones hardly meet, of a midpoint, a radius, bits and a half width each.
AT_EDGES: Mapping[str, tuple[tuple[tuple[float, float, int, float], ...], ...]] = {
    # Two that compare equal; apart by twice their radii, and by a little more; by three times.
    "taken where it is larger": (
        ((5.0, 0.25, 0, 0.0), (3.0, 0.0, 0, 0.0), (3.0, 0.0, 0, 0.0)),
        ((5.0, 0.0, 0, 0.0), (3.0, 0.25, 0, 0.0), (2.0, 0.25, 0, 0.0)),
        ((5.0, 0.0, 0, 0.0), (3.5, 0.25, 0, 0.0), (2.25, 0.25, 0, 0.0)),
        ((5.0, 0.0, 0, 0.0), (3.5, 0.25, 0, 0.0), (2.25, 0.0, 0, 0.0)),
        ((5.0, 0.0, 0, 0.0), (3.5, 0.0, 0, 0.0), (3.0, 0.0, 1, 0.0)),
    ),
    "taken where it is not larger": (
        ((5.0, 0.25, 0, 0.0), (3.0, 0.0, 0, 0.0), (3.0, 0.0, 0, 0.0)),
        ((5.0, 0.0, 0, 0.0), (2.0, 0.25, 0, 0.0), (3.0, 0.25, 0, 0.0)),
        ((5.0, 0.0, 0, 0.0), (2.25, 0.0, 0, 0.0), (3.5, 0.25, 0, 0.0)),
        ((5.0, 0.0, 0, 0.0), (3.5, 0.0, 0, 0.0), (3.0, 0.0, 0, 0.0)),
    ),
    "taken where it is smaller": (
        ((5.0, 0.25, 0, 0.0), (3.0, 0.0, 0, 0.0), (3.0, 0.0, 0, 0.0)),
        ((5.0, 0.25, 0, 0.0), (2.5, 0.0, 0, 0.0), (3.0, 0.0, 0, 0.0)),
    ),
    # Of the total hardly more is known than its largest term; x is none of its terms.
    "over another total": (
        ((3.0, 0.0, 1, 0.0), (1.0, 0.0, 0, 0.0), (0.5, 0.5, 0, 0.0), (0.25, 0.25, 0, 0.0)),
        ((3.0, 0.0, 0, 0.0), (1.0, 0.0, 0, 0.0), (0.5, 0.5, 0, 0.0), (0.25, 0.25, 0, 0.0)),
    ),
    # An exponential that float64 holds, of a radius of which it does not; its moves where it is lost in −1.
    "exp": (((-60.0, 730.0, 0, 0.0),),),
    "expm1": (((-22.0, 0.5, 0, 0.0),),),
    "no further": (((5.25, 0.0, 0, 0.0),), ((6.25, 1.0, 0, 0.0),), ((-3.875, 1.0, 0, 0.0),), ((-4.5, 1.0, 2, 0.0),)),
    # A ball that begins a little beyond where every program's exponential is infinite; a tail beyond float64.
    "sigmoid": (((-2e5, 99999.5, 0, 0.0),), ((-720.0, 0.25, 0, 0.0),), ((-720.0, 0.5, 0, 0.0),)),
}


def _parts(ops: RoundedBalls, x: Rounded, y: Rounded, z: Rounded) -> tuple[Rounded, Rounded]:
    """A sum of numbers that are not negative, and one of its terms."""
    terms = [_positive(v) for v in (x, y, z)]
    return terms[0], ops.total_of(terms)


def _positive(x: Rounded) -> Rounded:
    return Rounded(x.arithmetic, abs(x.exact), x.radius, x.specials, x.spread)


def _over(name: str) -> Callable[..., Any]:
    def applied(ops: RoundedBalls, x: Rounded, y: Rounded, z: Rounded) -> Rounded:
        part, total = _parts(ops, x, y, z)
        least = ops.least_of([_positive(v) for v in (x, y, z)])
        found: Rounded = getattr(ops, name)(*(() if name == "log_of_total" else (part,)), total, least)
        return found

    return applied


def _over_another_total(ops: RoundedBalls, x: Rounded, *terms: Rounded) -> Rounded:
    of = [_positive(v) for v in terms]
    found: Rounded = ops.over_total(x, ops.total_of(of), ops.least_of(of))
    return found


#: max(x, 0): at 0 the slope is a set, the largest number of which is twice its centre.
_KINK = Slope(lambda ops, z: ops.step(z, 1.0, 0.0), lambda ops, z: z * 0.0, 0.0, ("exp",))


def operations() -> Mapping[str, Operation]:
    """Every operation by its name."""
    one = ("negative", "square", "absolute", "positive_part", "unrounded", *FUNCTIONS)
    found: dict[str, Operation] = {n: (1, lambda ops, x, n=n: getattr(ops, n)(x)) for n in one}
    two, three = ("add", "multiply", "divide", "maximum", "recentred"), ("select", "step")
    found |= {n: (2, lambda ops, x, y, n=n: getattr(ops, n)(x, y)) for n in two}
    found |= {n: (3, lambda ops, x, y, z, n=n: getattr(ops, n)(x, y, z)) for n in three}
    found |= {n: (3, _over(n)) for n in ("log_of_total", "over_total", "part_of")}
    found["over another total"] = (4, _over_another_total)
    found["derivative of a kink"] = (1, lambda ops, x: ops.derivative(x, _KINK))
    for name in ("sigmoid", "elu", "selu", "silu"):
        found[f"derivative of {name}"] = (1, lambda ops, x, rule=ACTIVATIONS[name].rule: ops.derivative(x, rule))
    return found | {
        "half": (1, lambda ops, x: ops.scale(x, 0.5)),
        "minus twice": (1, lambda ops, x: ops.scale(x, -2.0)),
        "exact product": (2, lambda ops, x, y: rules.multiply(ops, x, y, True)),
        "once more": (1, rules.once_more),
        "quotient": (2, rules.quotient),
        "taken where it is larger": (3, lambda ops, x, a, b: rules.taken(ops, 1, 1, x, a, b)),
        "taken where it is not larger": (3, lambda ops, x, a, b: rules.taken(ops, -1, 0, x, a, b)),
        "taken where it is smaller": (3, lambda ops, x, a, b: rules.taken(ops, -1, -1, x, a, b)),
        "bounded": (3, lambda ops, x, y, z: ops.bounded(x, y, ops.add(y, ops.add(ops.absolute(y), ops.absolute(z))))),
        "no further": (1, lambda ops, x: rules.no_further(ops, -2.875, 5.25, x)),
        "converted": (1, rules.converted),
        "computed within": (2, rules.computed_within),
        "reported": (1, lambda ops, x: ops.reported(float(x.exact))),
        "sum of 2": (2, lambda ops, *x: ops.total_of(x)),
        "sum of 4": (4, lambda ops, *x: ops.total_of(x)),
        "inner product of 1": (2, lambda ops, x, y: ops.dot([x], [y])),
        "inner product of 2": (4, lambda ops, x, y, v, w: ops.dot([x, y], [v, w])),
        "inner product in the dtype": (4, lambda ops, x, y, v, w: ops.dot([x, y], [v, w], None, True)),
        "inner product with a bias": (3, lambda ops, x, y, z: ops.dot([x], [y], z)),
    }


def operand(ops: RoundedBalls, draw: Random) -> Rounded:
    """A ball at some edge of the format."""
    f = ops.format

    def one(values: list[float]) -> float:
        return values[int(draw.random() * len(values))]

    least, edge = 2.0**f.emin, math.log(f.largest)
    number = one([0.0, 1.0, 0.5, 3.0, 0.75, 20.0, 0.0625, 5.5, 1e6, edge, edge * 1.02, 2 * edge,
                  least, least * 0.75, least * 1.5, least * 2.0 ** (1 - f.precision),
                  f.largest, f.largest * (1 - 2.0**-7), f.largest**0.5, f.largest**0.5 * 1.5,
                  draw.random(), 10 * draw.random(), 100 * draw.random()])  # fmt: skip
    number = float(f.round(min(number, f.largest) * one([1.0, -1.0])))
    size, ulp = abs(number), 2.0**-f.precision
    radius = one([0.0, 0.0, 0.0, size * ulp, size * ulp * 3, size * ulp / 16, size / 64, size / 2, size, 1.0, 5.0,
                  3 * min(size, 1e300) + least, f.largest - size, f.largest / 2, least / 2, least])  # fmt: skip
    bits = 0 if draw.random() < 0.6 else int(draw.random() * 32)
    width = 0.0 if draw.random() < 0.8 else one([size / 4, size, 1.0, least / 4])
    return Rounded(ops, arb(number), arb(0 if bits & ANYTHING else radius), bits, arb(width))


def cases(name: str) -> Iterator[Callable[[], str]]:
    """Every use of an operation, each a function that says what it gives."""
    arity, operation = operations()[name]
    summed = name.startswith(("sum", "inner", "log_of", "over", "part"))
    for f in FORMATS.values():
        for profile in (OPENCL, STRICT):
            draw = Random(f"{name} {f.name} {profile.name}")
            for case in range(CASES):
                ops = RoundedBalls(f, profile, ("any", "wide", "own")[case % 3] if summed else "any")
                operands = [operand(ops, draw) for _ in range(arity)]
                yield lambda ops=ops, operands=operands, f=f: _text(operation(ops, *operands), f)  # type: ignore[misc]
            ops = RoundedBalls(f, profile)
            for operands in at_edges(ops, name):
                yield lambda ops=ops, operands=operands, f=f: _text(operation(ops, *operands), f)  # type: ignore[misc]


def at_edges(ops: RoundedBalls, name: str) -> list[list[Rounded]]:
    """The operands of `AT_EDGES`."""
    return [
        [Rounded(ops, arb(mid), arb(off), bits, arb(width)) for mid, off, bits, width in operands]
        for operands in AT_EDGES.get(name, ())
    ]


def values(name: str) -> Iterator[str]:
    """What an operation gives, case by case."""
    return (case() for case in cases(name))


def _text(x: Rounded, f: Format) -> str:
    parts = (v.str(DIGITS, radius=False) for v in (x.exact, x.radius, x.spread))
    return f"{f.name} {' '.join(parts)} {x.specials}"


def fingerprint(name: str) -> str:
    with precision(BITS):
        return hashlib.sha256("\n".join(values(name)).encode()).hexdigest()[:16]


def fingerprints() -> dict[str, str]:
    return {name: fingerprint(name) for name in operations()}


def kept() -> dict[str, str]:
    found: dict[str, str] = tomllib.loads(KEPT.read_text(encoding="utf-8"))
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    found = fingerprints()
    if options.write:
        KEPT.write_text("".join(f'"{name}" = "{mark}"\n' for name, mark in found.items()), encoding="utf-8")
        return 0
    changed = [name for name, mark in found.items() if kept().get(name) != mark]
    print(f"{len(found)} operations, {len(changed)} give something else: {', '.join(changed)}")
    return 1 if changed else 0


if __name__ == "__main__":
    sys.exit(main())
