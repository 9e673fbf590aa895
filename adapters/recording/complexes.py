"""Complex numbers as steps on real ones, for the recorders of all frameworks.

A complex tensor is an array of ids whose last axis has two entries: the real and the imaginary part. What an operation
stands for is written out over these, with the programs by which it may be rounded, so that a record, its truth and its
allowance know real numbers only. An operation that acts on each part alone needs nothing of this: its rule is applied
to the one part and to the other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from gradconform.reference.arithmetic.formats import Format
from gradconform.reference.programs.record import ONE, ZERO, Form, Ids, Numbers, Record


def joined(re: Ids, im: Ids) -> Ids:
    """Pairs of real and imaginary parts, which are broadcast to one shape."""
    return np.stack(np.broadcast_arrays(re, im), -1)


def parts_of(x: NDArray[np.complexfloating]) -> Numbers:
    """The two parts of complex numbers along a last axis, in float64."""
    wide = np.asarray(x, dtype=np.complex128)
    return np.stack([wide.real, wide.imag], -1)


def complex_of(parts: Numbers) -> NDArray[np.complex128]:
    """The complex numbers of which these are the parts."""
    return np.ascontiguousarray(parts, dtype=np.float64).reshape(-1).view(np.complex128).reshape(np.shape(parts)[:-1])


#: Ways to divide.
PLAINLY, SMITH = "(ac + bd)/(c² + d²)", "Smith's method"


@dataclass(frozen=True)
class Complexes:
    """Complex arithmetic that records, in a format: every method takes and gives pairs of ids.

    `divides` is the way to divide that a framework is held against first, since the first forms of all kernels together
    are one program.
    """

    record: Record
    format: Format
    divides: str = PLAINLY

    # Of real numbers --------------------------------------------------------------------------------------------------

    def map(self, function: str, *operands: Ids) -> Ids:
        return self.record.map(function, operands, self.format)

    def negative(self, x: Ids) -> Ids:
        """−x, exactly; 0 stays the 0 that is no term of a sum."""
        if (x == ZERO).all():
            return x
        found = self.record.map("negative", [x], self.format, -self.record.held[x])
        return np.where(x == ZERO, ZERO, found)

    def sum(self, left: Sequence[Ids], right: Sequence[Ids], held: Numbers | None = None) -> Ids:
        """Σ left·right, term by term: rounded as an inner product may be, with fused multiply-add or without."""
        a, b = (np.stack(np.broadcast_arrays(*x), -1) for x in (left, right))
        return self.record.sop(a, b, self.format, held)

    def number(self, x: float) -> Ids:
        """A number that is meant exactly."""
        return np.asarray(self.record.number(x))

    # Kernels ----------------------------------------------------------------------------------------------------------

    def kernel(self, name: str, held: Numbers, programs: Mapping[str, Callable[[], Ids]], stated: int = 0) -> Ids:
        """One step for what may be computed by any of these programs, of which the first is its definition.

        The first `stated` ones are definitions only, by which nothing is computed.
        """
        forms = []
        for text, program in programs.items():
            with self.record.inside() as steps:
                results = program()
            forms.append(Form(text, tuple(steps), np.broadcast_to(results, held.shape)))
        accepted = sorted(forms[stated:], key=lambda form: self.divides not in form.name)
        return self.record.fused(name, forms[0], accepted, self.format, held)

    # Products and quotients -------------------------------------------------------------------------------------------

    def conjugate(self, z: Ids) -> Ids:
        return joined(z[..., 0], self.negative(z[..., 1]))

    def add(self, z: Ids, w: Ids) -> Ids:
        return joined(self.map("add", z[..., 0], w[..., 0]), self.map("add", z[..., 1], w[..., 1]))

    def multiply(self, z: Ids, w: Ids, held: Numbers | None = None) -> Ids:
        """(ac − bd) + (ad + bc)i, two inner products: each rounding of theirs may be a fused one."""
        z, w = np.broadcast_arrays(z, w)
        (a, b), (c, d) = ((x[..., 0], x[..., 1]) for x in (z, w))
        re, im = (None, None) if held is None else (held[..., 0], held[..., 1])
        return joined(self.sum([a, self.negative(b)], [c, d], re), self.sum([a, b], [d, c], im))

    def scaled(self, z: Ids, factor: Ids) -> Ids:
        """A real number times both parts."""
        return joined(self.map("multiply", z[..., 0], factor), self.map("multiply", z[..., 1], factor))

    def quotients(self, z: Ids, w: Ids, shown: Numbers | None = None) -> Mapping[str, Callable[[], Ids]]:
        """How frameworks divide; each quotient of two real numbers may be a product with a reciprocal.

        `shown` are the divisor's numbers, about, where the framework does not show them.

        By (ac + bd)/(c² + d²); by R. L. Smith's method (Algorithm 116, Comm. ACM 5 (1962); c10/util/complex.h, MLIR's
        ComplexToStandard); or with all parts times about 1/max(|c|, |d|) first (ATen's vectorised kernels). What is
        finite over what is infinite is 0 (C17 G.5.1), or NaN; what is over 0 is a real quotient in each part, or NaN.
        """
        z, w = np.broadcast_arrays(z, w)
        (a, b), (c, d) = ((x[..., 0], x[..., 1]) for x in (z, w))
        size = np.abs(np.broadcast_to(self.record.held[w] if shown is None else shown, w.shape))

        def plainly(a: Ids, b: Ids, c: Ids, d: Ids) -> Ids:
            below = self.sum([c, d], [c, d])
            return joined(
                self.map("divide", self.sum([a, b], [c, d]), below),
                self.map("divide", self.sum([b, self.negative(a)], [c, d]), below),
            )

        def by_ratio() -> Ids:
            larger = size[..., 0] >= size[..., 1]  # which part that is changes the rounding alone
            most, least = np.where(larger, c, d), np.where(larger, d, c)
            ratio = self.map("divide", least, most)
            below = self.sum([most, least], [np.full(most.shape, ONE), ratio])
            first, second = np.where(larger, ONE, ratio), np.where(larger, ratio, ONE)
            return joined(
                self.map("divide", self.sum([a, b], [first, second]), below),
                self.map("divide", self.sum([b, self.negative(a)], [first, second]), below),
            )

        def reduced() -> Ids:
            with np.errstate(all="ignore"):
                most = size.max(axis=-1)
                by = self.format.round(np.where((most > 0) & np.isfinite(most), 1 / most, 1.0))
            factor = self.record.new(by.shape, np.where(np.isfinite(by) & (by > 0), by, 1.0))
            return plainly(*(np.where(x == ZERO, ZERO, self.map("multiply", x, factor)) for x in (a, b, c, d)))

        finite = np.isfinite(self.record.held[z]).all(axis=-1)
        none = np.asarray(np.isinf(size).any(axis=-1) & finite)[..., None]
        pole = np.asarray((size == 0).all(axis=-1))[..., None]

        def of_parts() -> Ids:
            return np.where(pole, joined(self.map("divide", a, c), self.map("divide", b, c)), by_ratio())

        found = {PLAINLY: lambda: plainly(a, b, c, d), SMITH: of_parts if pole.any() else by_ratio, "scaled": reduced}
        over_infinity = {"0 over infinity": lambda: np.where(none, ZERO, by_ratio())} if none.any() else {}
        return {**found, **over_infinity}

    def divide(self, z: Ids, w: Ids, held: Numbers) -> Ids:
        return self.kernel("complex division", held, self.quotients(z, w))

    def whole_power(self, z: Ids, power: int) -> Ids:
        """z·z·…·z."""
        found = z
        for _ in range(power - 1):
            found = self.multiply(found, z)
        return found

    def by_squares(self, z: Ids, power: int) -> Ids:
        """z to a whole power, by repeated squaring."""
        found, square = None, z
        while power:
            if power & 1:
                found = square if found is None else self.multiply(found, square)
            power >>= 1
            square = self.multiply(square, square) if power else square
        assert found is not None
        return found

    def integer_power(self, z: Ids, power: int, held: Numbers) -> Ids:
        if power == 1:
            return z
        if power == 2:
            return self.multiply(z, z, held)
        one, n = self.pair(1.0), abs(power)
        with np.errstate(all="ignore"):
            below = parts_of(complex_of(self.record.held[z]) ** n)

        def below_one(way: Callable[[Ids, int], Ids], how: str) -> Ids:
            return self.quotients(one, way(z, n), below)[how]()

        programs: dict[str, Callable[[], Ids]] = {}
        for text, way in (("products", self.whole_power), ("squares", self.by_squares)):
            if power > 0:
                programs[text] = partial(way, z, n)
            else:
                programs |= {f"{text}, {how}": partial(below_one, way, how) for how in (PLAINLY, SMITH)}
        programs["exp(n·log z)"] = lambda: self._exp(self.scaled(self._log(z), self.number(float(power))))
        return self.kernel("complex power", held, programs)

    def power(self, z: Ids, w: Ids, held: Numbers) -> Ids:
        """exp(w·log z), as the C library's cpow has it."""
        return self.kernel("complex power", held, {
            "exp(w·log z)": lambda: self._exp(self.multiply(w, self._log(z))),
            "exp(w·log|z|) by parts": lambda: self._exp(self.multiply(w, self._log(z, accurate=False))),
        })  # fmt: skip

    def pair(self, x: complex) -> Ids:
        """A number that is meant exactly."""
        x = complex(x)
        return np.array([self.record.number(x.real), self.record.number(x.imag)])

    # Modulus and angle ------------------------------------------------------------------------------------------------

    def modulus(self, z: Ids, held: Numbers | None = None) -> Ids:
        """|z|: a hypot, for which K is more than max·√(1 + (min/max)²) loses (3.25 units)."""
        return self.record.map("hypot", [z[..., 0], z[..., 1]], self.format, held)

    def angle(self, z: Ids, held: Numbers | None = None) -> Ids:
        return self.record.map("atan2", [z[..., 1], z[..., 0]], self.format, held)

    def equal(self, z: Ids, w: Ids) -> Ids:
        """The decisions that two numbers are the same: that the modulus of their difference is 0, one comparison."""
        z, w = np.broadcast_arrays(z, w)
        held, apart = self.record.held, z
        if not (w == ZERO).all():
            apart = self.record.map("subtract", [z, w], self.format, self.format.round(held[z] - held[w]))
        size = self.format.round(np.hypot(self.record.held[apart[..., 0]], self.record.held[apart[..., 1]]))
        return self.record.decide("eq", self.modulus(apart, size), np.asarray(ZERO))

    def sign(self, z: Ids, held: Numbers) -> Ids:
        """z/|z|, and 0 at 0."""
        at_zero = (self.record.held[z] == 0).all(axis=-1)
        decided = self.equal(z, np.asarray(ZERO))

        def chosen() -> Ids:
            size = self.modulus(z)
            unit = joined(*(self.map("divide", z[..., n], size) for n in (0, 1)))
            return self.record.choose(at_zero[..., None], decided[..., None], np.asarray(ZERO), unit, self.format)

        return self.kernel("complex sign", held, {"z/|z|": chosen})

    def polar(self, size: Ids, angle: Ids, held: Numbers) -> Ids:
        def both() -> Ids:
            return joined(*(self.map("multiply", size, self.map(f, angle)) for f in ("cos", "sin")))

        return self.kernel("polar", held, {"r·(cos φ + i·sin φ)": both})

    # Elementary functions ---------------------------------------------------------------------------------------------

    def _exp(self, z: Ids) -> Ids:
        size = self.map("exp", z[..., 0])
        return joined(*(self.map("multiply", size, self.map(f, z[..., 1])) for f in ("cos", "sin")))

    def exp(self, z: Ids, held: Numbers) -> Ids:
        """e^x·(cos y + i·sin y) (C17 G.6.3.1); or with e^(x/2) twice, which overflows later (XLA)."""

        def halves() -> Ids:
            size = self.map("exp", self.map("multiply", z[..., 0], self.number(0.5)))
            parts = (self.map("multiply", size, self.map(f, z[..., 1])) for f in ("cos", "sin"))
            return joined(*(self.map("multiply", size, p) for p in parts))

        return self.kernel(
            "complex exp", held, {"e^x·(cos y + i·sin y)": lambda: self._exp(z), "e^(x/2) twice": halves}
        )

    def _log(self, z: Ids, accurate: bool = True) -> Ids:
        if accurate:
            return joined(self.map("log_hypot", z[..., 0], z[..., 1]), self.angle(z))
        return joined(self.map("log", self.modulus(z)), self.angle(z))

    def log(self, z: Ids, held: Numbers) -> Ids:
        """log|z| + i·φ, in which log|z| is one function (the C library's), or that of a rounded modulus."""
        return self.kernel("complex log", held, {
            "log|z| + iφ": lambda: self._log(z), "log of a rounded |z|": lambda: self._log(z, accurate=False),
        })  # fmt: skip

    def _sqrt(self, z: Ids) -> Ids:
        """√((|z| + |x|)/2) and y over twice that, exchanged where x is negative, as there is no cancellation then."""
        x, y = z[..., 0], z[..., 1]
        held = self.record.held
        left = held[x] < 0
        flips = self.record.decide("ge", y, np.asarray(ZERO))
        size = self.map("absolute", x)
        half = self.map("multiply", self.map("add", self.modulus(z), size), self.number(0.5))
        root = self.map("sqrt", half)
        other = self.map("divide", y, self.map("multiply", root, self.number(2.0)))
        positive = np.broadcast_to(~np.signbit(held[y]), left.shape)
        turned = self.record.choose(positive, flips, root, self.negative(root), self.format)
        return joined(np.where(left, self.record.choose(positive, flips, other, self.negative(other), self.format),
                               root), np.where(left, turned, other))  # fmt: skip

    def sqrt(self, z: Ids, held: Numbers) -> Ids:
        """The principal root: of the C library, or by modulus and half angle."""

        def by_angle() -> Ids:
            size = self.map("sqrt", self.modulus(z))
            half = self.map("multiply", self.angle(z), self.number(0.5))
            found = joined(*(self.map("multiply", size, self.map(f, half)) for f in ("cos", "sin")))
            cut = (self.record.held[z[..., 1]] == 0)[..., None]  # the angle's side of it is the sign of that 0
            return np.where(cut, self._sqrt(z), found) if cut.any() else found

        return self.kernel("complex sqrt", held, {"√((|z| + |x|)/2)": lambda: self._sqrt(z), "√|z|·e^(iφ/2)": by_angle})

    def trigonometric(self, name: str, z: Ids, held: Numbers) -> Ids:
        """sin, cos, sinh or cosh, by the circular functions of one part and the hyperbolic ones of the other."""
        (first, second), negated = _TRIGONOMETRIC[name]

        def product(pair: tuple[str, str]) -> Ids:
            return self.map("multiply", self.map(pair[0], z[..., 0]), self.map(pair[1], z[..., 1]))

        def both() -> Ids:
            im = product(second)
            return joined(product(first), self.negative(im) if negated else im)

        def powers() -> Ids:
            """e^(z + log ½) ± e^(log ½ − z), which cancels near 0 (JAX's cosh)."""
            half, x = np.asarray(self.record.number(float(self.format.round(np.log(0.5))))), z[..., 0]
            up = self._exp(joined(self.map("add", x, half), z[..., 1]))
            down = self._exp(joined(self.map("subtract", half, x), self.negative(z[..., 1])))
            sign = "add" if name == "cosh" else "subtract"
            return joined(*(self.map(sign, up[..., n], down[..., n]) for n in (0, 1)))

        by_powers = {"by exponentials": powers} if name in ("sinh", "cosh") else {}
        return self.kernel(f"complex {name}", held, {"by parts": both, **by_powers})

    def _tanh(self, z: Ids) -> Ids:
        """(sinh x·cosh x + i·sin y·cos y)/(sinh² x + cos² y), as glibc has it."""
        x, y = z[..., 0], z[..., 1]
        sinh, cos = self.map("sinh", x), self.map("cos", y)
        below = self.sum([sinh, cos], [sinh, cos])
        above = (self.map("multiply", sinh, self.map("cosh", x)), self.map("multiply", self.map("sin", y), cos))
        return joined(*(self.map("divide", a, below) for a in above))

    def _tanh_doubled(self, z: Ids) -> Ids:
        """(sinh 2x + i·sin 2y)/(cosh 2x + cos 2y)"""
        x, y = (self.map("multiply", z[..., n], self.number(2.0)) for n in (0, 1))
        below = self.map("add", self.map("cosh", x), self.map("cos", y))
        return joined(*(self.map("divide", self.map(f, v), below) for f, v in (("sinh", x), ("sin", y))))

    def tanh(self, z: Ids, held: Numbers) -> Ids:
        ways = {"of x and y": self._tanh, "of 2x and 2y": self._tanh_doubled}
        return self.kernel("complex tanh", held, {text: partial(way, z) for text, way in ways.items()})

    def tan(self, z: Ids, held: Numbers) -> Ids:
        """−i·tanh(iz)"""

        def turned(way: Callable[[Ids], Ids]) -> Ids:
            found = way(joined(self.negative(z[..., 1]), z[..., 0]))
            return joined(found[..., 1], self.negative(found[..., 0]))

        ways = {"of x and y": self._tanh, "of 2x and 2y": self._tanh_doubled}
        return self.kernel("complex tan", held, {text: partial(turned, way) for text, way in ways.items()})

    def sigmoid(self, z: Ids, held: Numbers) -> Ids:
        """1/(1 + e^−z)."""

        def below() -> Ids:
            power = self._exp(joined(*(self.negative(z[..., n]) for n in (0, 1))))
            return joined(self.map("add", power[..., 0], np.asarray(ONE)), power[..., 1])

        with np.errstate(all="ignore"):
            shown = parts_of(1 + np.exp(-complex_of(self.record.held[z])))
        return self.kernel("complex sigmoid", held, {
            how: partial(lambda how: self.quotients(self.pair(1.0), below(), shown)[how](), how)
            for how in (PLAINLY, SMITH)
        })  # fmt: skip

    # Sums -------------------------------------------------------------------------------------------------------------

    def inner(self, left: Ids, right: Ids, held: Numbers) -> Ids:
        """Σ z·w over the axis before the parts: each part of the result is a sum of twice as many real products."""
        (a, b), (c, d) = ((x[..., 0], x[..., 1]) for x in (left, right))
        re = self.record.sop(np.concatenate([a, self.negative(b)], -1), np.concatenate([c, d], -1), self.format,
                             held[..., 0])  # fmt: skip
        im = self.record.sop(np.concatenate([a, b], -1), np.concatenate([d, c], -1), self.format, held[..., 1])
        return joined(re, im)

    def product(self, row: Ids) -> Ids:
        """The product along the axis before the parts, from the first on."""
        found = row[..., 0, :]
        for n in range(1, row.shape[-2]):
            found = self.multiply(found, row[..., n, :])
        return found


#: The two products of each function, and whether the imaginary one is negated.
_TRIGONOMETRIC: Mapping[str, tuple[tuple[tuple[str, str], tuple[str, str]], bool]] = {
    "sin": ((("sin", "cosh"), ("cos", "sinh")), False),
    "cos": ((("cos", "cosh"), ("sin", "sinh")), True),
    "sinh": ((("sinh", "cos"), ("cosh", "sin")), False),
    "cosh": ((("cosh", "cos"), ("sinh", "sin")), False),
}
