"""The marker `gradconform` and the fixture `gradconform_verify`: a function verified at dtypes, shapes and edges.

The pytest plugin imports this, so it imports nothing heavy until a test asks for the fixture.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from gradconform.conformance.programs.report import Report

FIXTURE, MARK = "gradconform_verify", "gradconform"
DESCRIPTION = (
    f"{MARK}(dtypes=[…], shapes=[…], edges=True, accept=[…], framework='torch', seed=0): the test runs once for each "
    f"dtype, shape and kind of values, with the fixture {FIXTURE}"
)
OPTIONS = ("dtypes", "shapes", "edges", "accept", "framework", "seed")
FRAMEWORKS = ("torch", "jax")
#: The kinds of values that `edges` asks for, beside those that are drawn or given.
EDGES = ("zeros", "ones", "ties", "subnormal", "large", "negative")

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Asked:
    """One test of those that the marker makes: in which dtype, at which arguments, what counts as right.

    Without a dtype it is the arguments' own; without shapes the test itself gives the arguments.
    """

    dtype: str | None = None
    shapes: tuple[Shape, ...] | None = None
    values: str = "given"
    accept: tuple[str, ...] | None = None
    framework: str | None = None
    seed: int = 0

    @property
    def id(self) -> str:
        shapes = None if self.shapes is None else ",".join("x".join(map(str, s)) or "scalar" for s in self.shapes)
        return "-".join(part for part in (self.dtype, shapes, self.values) if part)


def asked(options: Mapping[str, Any]) -> list[Asked]:
    """The tests that a marker with these options makes. Raises ValueError or TypeError for options that are none."""
    from gradconform.conformance.answered import words
    from gradconform.conformance.verify import ACCEPTED
    from gradconform.reference.cases import named_format, unknown

    for name in options:
        if name not in OPTIONS:
            raise unknown(f"option of the marker {MARK}", name, OPTIONS)
    dtypes: list[Any] = [named_format(d).name for d in _listed("dtypes", options.get("dtypes"))] or [None]
    shapes: list[Any] = [_shapes(s) for s in _listed("shapes", options.get("shapes"))] or [None]
    accept = options.get("accept")
    accepted = None if accept is None else words(accept, ACCEPTED)
    framework = options.get("framework")
    if framework is not None and framework not in FRAMEWORKS:
        raise unknown("framework", framework, FRAMEWORKS)
    edges = options.get("edges", False)
    kinds = list(EDGES) if edges is True else _listed("edges", edges or None)
    for kind in kinds:
        if kind not in EDGES:
            raise unknown("kind of values in edges", kind, EDGES)
    seed = options.get("seed", 0)
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise ValueError(f"seed is {seed!r}; expected a whole number, 0 or more")
    return [
        Asked(dtype, shape, kind, accepted, framework, seed)
        for dtype, shape in product(dtypes, shapes)
        for kind in ("given" if shape is None else "drawn", *kinds)
    ]


def _listed(name: str, given: Any) -> list[Any]:
    if given is None:
        return []
    if isinstance(given, str) or not isinstance(given, Sequence):
        raise TypeError(f"{name} is {given!r}; expected a list, such as {name}=[{given!r}]")
    if not given:
        raise ValueError(f"{name} is empty; expected one or more, or no {name}")
    return list(given)


def _shapes(given: Any) -> tuple[Shape, ...]:
    """One shape, or one for each argument."""
    parts = [given] if isinstance(given, list | tuple) and all(isinstance(n, int) for n in given) else given
    shapes = isinstance(parts, list | tuple) and all(isinstance(part, list | tuple) for part in parts)
    found = tuple(tuple(part) for part in parts) if shapes else ()
    if not shapes or not all(isinstance(n, int) and n >= 0 for part in found for n in part):
        raise ValueError(
            f"shapes holds {given!r}; expected a shape, such as (2, 3), or a list of one for each argument"
        )
    return found


def numbers_of(values: str, shape: Shape, dtype: str, random: np.random.Generator) -> NDArray[np.float64]:
    """Numbers of a kind, of this shape, for this dtype."""
    import numpy as np

    from gradconform.reference.arithmetic.formats import FORMATS

    of = FORMATS[dtype]
    drawn = random.choice([-1.0, 1.0], shape) * np.exp2(random.uniform(-2.0, 2.0, shape))
    if values in ("zeros", "ones"):
        return np.full(shape, float(values == "ones"))
    if values == "ties":
        return np.resize([0.5, -1.25, 0.5], shape)
    if values == "subnormal":
        return np.asarray(np.sign(drawn) * random.uniform(0.125, 0.875, shape) * 2.0**of.emin)
    if values == "large":
        return np.asarray(np.sign(drawn) * random.uniform(0.25, 0.5, shape) * of.largest)
    return np.asarray(-drawn if values == "negative" else drawn)


@dataclass(frozen=True, repr=False)
class Verifier:
    """What a test calls: `gradconform_verify(f)` where the marker has shapes, else `gradconform_verify(f, x, …)`.

    It takes the options of `gc.verify`, returns its report, and raises AssertionError with that where it is not true.
    At edges every verdict counts as right that is no deviation and not undecided, unless `accept` says otherwise.
    `keep` is given every report, and the verdict that it passed by where that is not conforms.
    """

    asked: Asked
    keep: Callable[[Report, str], None]

    def __repr__(self) -> str:
        return f"verify({self.asked.id})"

    def __call__(self, f: Callable[..., Any], *args: Any, **options: Any) -> Report:
        __tracebackhide__ = True
        from gradconform.conformance.verify import ACCEPTED, verify

        given = tuple(self._arguments(f, args))
        edge = () if self.asked.values in ("given", "drawn") else ACCEPTED
        accept = edge if self.asked.accept is None else self.asked.accept
        report = verify(f, *given, **{"dtype": self.asked.dtype, "accept": accept, **options})
        self.keep(report, report.verdict if report and report.verdict != "conforms" else "")
        if not report:
            _fail(f"{self.asked.id}: {report}")
        return report

    def _arguments(self, f: Any, args: Sequence[Any]) -> Iterator[Any]:
        import numpy as np

        from gradconform.conformance.programs.frameworks import framework_of
        from gradconform.conformance.programs.program_rows import recorder_of
        from gradconform.reference.cases import BadInput

        asked, random = self.asked, np.random.default_rng(self.asked.seed)
        if asked.shapes is not None and args:
            raise BadInput(f"{FIXTURE} got arguments, and the marker has shapes; give one of them")
        if asked.shapes is None and not args and not hasattr(f, "parameters"):
            raise BadInput(f"{FIXTURE} got no arguments: give them after the function, or shapes= in the marker, of "
                           "which they are drawn")  # fmt: skip
        if asked.shapes is None and asked.values != "given" and args:
            recorder = recorder_of(framework_of(f, args))
            yield from recorder.filled(args, lambda s, d: numbers_of(asked.values, s, d, random), asked.dtype)
        elif asked.shapes is None:
            yield from args
        else:
            recorder = recorder_of(asked.framework or _imported(f))
            dtype = asked.dtype or "float32"
            for shape in asked.shapes:
                yield recorder.array(numbers_of(asked.values, shape, dtype, random), dtype)


def _imported(f: Any) -> str:
    """The framework that f is of, or that its module imports, or that alone is imported: none is named."""
    from gradconform.reference.cases import BadInput

    of = [getattr(f, "__module__", None), *(c.__module__ for c in type(f).__mro__)]
    by = [value.__name__ for value in getattr(f, "__globals__", {}).values() if isinstance(value, ModuleType)]
    for modules in (of, by, sys.modules):
        roots = {str(name).partition(".")[0] for name in modules}
        found = [name for name in FRAMEWORKS if name in roots]
        if len(found) == 1:
            return found[0]
    raise BadInput(f"whose arrays are to be drawn is not known: give framework={' or '.join(map(repr, FRAMEWORKS))}")


def _fail(said: str) -> None:
    """Raised here, so that what pytest shows is the text alone."""
    __tracebackhide__ = True
    raise AssertionError(said)


def parametrized(metafunc: pytest.Metafunc) -> None:
    """A test for each dtype, shape and kind of values of the test's marker; without a marker, one."""
    marker = metafunc.definition.get_closest_marker(MARK)
    try:
        if marker is not None and marker.args:
            raise TypeError(f"the marker {MARK} takes its options by name: {DESCRIPTION}")
        tests = [Asked()] if marker is None else asked(marker.kwargs)
    except (TypeError, ValueError) as error:
        raise pytest.fail.Exception(f"{metafunc.definition.nodeid}: {error}", pytrace=False) from None
    metafunc.parametrize(FIXTURE, tests, ids=[t.id for t in tests], indirect=True)
