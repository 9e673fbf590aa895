"""The catalogue: the cases that a run judges, each by a stable id, each drawn by a seeded, named generator."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Iterator, Mapping
from functools import cache, lru_cache
from random import Random
from typing import Any

from gradconform.adapters.registry import imported, unimportable
from gradconform.conformance.cases.datasets import IDS, INSTALL, available, dataset_cases
from gradconform.conformance.cases.networks import batch_networks, covering_networks, primitive_networks
from gradconform.conformance.cases.published import published
from gradconform.reference.cases import BadInput, Case, check_id, document_case, said, unknown

#: The numbers of the worked example.
WORKED: Mapping[str, Any] = {
    "weights": (0.15, 0.20, 0.25, 0.30, 0.40, 0.45, 0.50, 0.55), "inputs": (0.05, 0.10), "targets": (0.01, 0.99),
    "rate": 0.5,
}  # fmt: skip
#: Draws for each weight scale, and the scales.
DRAWS, SCALES = 57, (1, 4, 20)


def catalogue(seed: int = 0) -> dict[str, Case]:
    """Every case by id; `seed` changes the random draws and nothing else.

    The cases of real data are there where scikit-learn is.
    """
    return {case.id: case for case in (*_drawn(seed), *(_of_data() if available() else ()))}


def ids() -> list[str]:
    """The ids of `catalogue`, without the seconds that scikit-learn takes to be imported."""
    return [*(case.id for case in _drawn(0)), *(IDS if available() else ())]


@lru_cache(maxsize=4)
def _drawn(seed: int) -> tuple[Case, ...]:
    return (
        *_document_cases(seed), *(p.case for p in published()), *covering_networks(seed), *batch_networks(),
        *primitive_networks(),
    )  # fmt: skip


@cache
def _of_data() -> tuple[Case, ...]:
    return tuple(dataset_cases())


def select(globs: tuple[str, ...] | list[str], seed: int = 0) -> list[Case]:
    """The cases whose id matches one of the globs, in the catalogue's order; all of them where no glob is given.

    A specification package.module:object names cases of one's own: a case, several, or a function that returns them.
    They stand last. Raises BadInput for a glob that matches no case and for an object that is no case.
    """
    specifications = [g for g in globs if ":" in g]
    globs = [g for g in globs if ":" not in g]
    wanted = {id for glob in globs for id in matching(glob, ids())}
    if not globs and not specifications:
        wanted = set(ids())
    cases = catalogue(seed).values() if wanted & set(IDS) else _drawn(seed)
    chosen = [c for c in cases if c.id in wanted]
    return chosen + [c for specification in specifications for c in _imported(specification)]


def matching(glob: str, known: Iterable[str]) -> list[str]:
    """The ids that match a glob, in their order. Raises BadInput, with the nearest ids, where none does."""
    known = list(known)
    found = [id for id in known if fnmatch.fnmatchcase(id, glob)]
    if found:
        return found
    absent = [id for id in IDS if fnmatch.fnmatchcase(id, glob)]
    if absent and not available():
        raise BadInput(f"case {absent[0]!r} needs scikit-learn, which is not installed: {INSTALL}")
    if inside := [id for id in known if id.startswith(f"{glob.rstrip('/')}/")]:
        raise BadInput(f"unknown case {glob!r}; {len(inside)} begin so: did you mean '{glob.rstrip('/')}/*'?")
    raise unknown("case", glob, known, "(see `gradconform list cases`; your own are given as package.module:object)")


def _imported(specification: str) -> list[Case]:
    module, _, attribute = specification.partition(":")
    try:
        target = imported(f"case {specification!r}", module, attribute)
    except ImportError as error:
        raise BadInput(f"case {specification!r}: {unimportable(module, error)}") from error
    try:
        found = target() if callable(target) else target
        cases = [found] if isinstance(found, Case) else list(found) if isinstance(found, Iterable) else []
    except BadInput as error:
        raise BadInput(f"case {specification!r}: {error}") from error
    except (Exception, SystemExit) as error:  # whatever somebody's function raises, leaving included
        raise BadInput(f"case {specification!r} raised {type(error).__name__}: {said(error)}") from error
    wrong = next((c for c in cases if not isinstance(c, Case)), None)
    if not cases or wrong is not None:
        got = type(found if wrong is None else wrong).__name__
        raise BadInput(f"case {specification!r} gives {got}; expected cases made by document_case or network_case")
    for case in cases:
        check_id(case.id)
    return cases


def _document_cases(seed: int) -> Iterator[Case]:
    yield worked_example()
    for scale in SCALES:
        for index in range(DRAWS):
            yield random_case(scale, index, seed)
    yield from saturated()
    zeros = (0.0,) * 8
    yield document_case("document/all-zeros", weights=zeros, inputs=(0, 0), targets=(0, 0), rate=0.5)
    yield from targets_met()
    yield from subnormal()
    yield from overflow()


def worked_example() -> Case:
    """The numbers that worked examples of this network usually carry; the document itself gives none."""
    return document_case("document/worked-example", **WORKED)


def random_case(scale: float, index: int, seed: int = 0) -> Case:
    """Weights normal with standard deviation `scale`, inputs in ±1, targets and rate in [0, 1]; four decimals."""
    draw = Random(f"gradconform document scale {scale} draw {index} seed {seed}")
    return document_case(
        f"document/scale-{scale}/{index:03}",
        weights=[round(draw.gauss(0, scale), 4) for _ in range(8)],
        inputs=[round(draw.uniform(-1, 1), 4) for _ in range(2)],
        targets=[round(draw.uniform(0, 1), 4) for _ in range(2)],
        rate=round(draw.uniform(0.01, 1), 4),
    )


def saturated() -> Iterator[Case]:
    """Pre-activations of ±x, where σ is within e^−x of 0 or 1 and σ' = a(1−a) loses its digits or vanishes."""
    for x in (8, 12, 17, 37, 89, 120, 710, 750):
        signs = (1, -1, -1, 1, 1, -1, -1, 1)
        yield document_case(
            f"document/saturated/{x}",
            weights=[s * x for s in signs],
            inputs=(1.0, 0.0625),
            targets=(0.25, 0.75),
            rate=0.5,
        )


def targets_met() -> Iterator[Case]:
    """Targets at or next to the outputs, so that a − t cancels: with zero output weights a_o is exactly ½."""
    hidden = (0.5, -1.25, 0.75, 2.0)
    for index, near in enumerate((0.0, 2.0**-53, 2.0**-30, 2.0**-24, 2.0**-11, 2.0**-8)):
        yield document_case(
            f"document/targets-met/{index}",
            weights=(*hidden, 0, 0, 0, 0),
            inputs=(0.3, -0.7),
            targets=(0.5 + near, 0.5 - near),
            rate=0.25,
        )


def subnormal() -> Iterator[Case]:
    """Inputs so small that gradients are subnormal, in each format in turn (2^−1022, 2^−126, 2^−14)."""
    for name, power in (("float64", -1022), ("float32", -126), ("float16", -14)):
        for index, steps in enumerate((0, 4, 9)):
            small = 2.0 ** (power + 2 - steps)
            yield document_case(
                f"document/subnormal/{name}-{index}",
                weights=(0.4, -0.3, 0.2, 0.7, 1.5, -0.6, 0.9, 0.8),
                inputs=(small, -1.375 * small),
                targets=(0.1, 0.9),
                rate=0.5,
            )


def overflow() -> Iterator[Case]:
    """Values that float16 holds and whose sums, squares, exponentials or steps it does not (largest: 65504)."""
    ones = (0.5, -0.25, 0.75, 0.5, 0.4, -0.3, 0.2, 0.6)
    big = (300.0, 200.0, -300.0, 250.0, 0.4, -0.3, 0.2, 0.6)
    yield document_case("document/overflow/sum", weights=big, inputs=(300, 250), targets=(0, 1), rate=0.5)
    yield document_case("document/overflow/loss", weights=ones, inputs=(0.5, 1), targets=(400, -500), rate=0.5)
    yield document_case("document/overflow/step", weights=ones, inputs=(200, -100), targets=(300, -300), rate=60000)
    yield document_case(
        "document/overflow/exponential",
        weights=(-12, 0, 0, -14, 3, 4, -5, 6),
        inputs=(1, 1),
        targets=(0, 1),
        rate=1,
    )
    yield document_case(
        "document/overflow/weights",
        weights=(1, 2, -1, 1, 60000, 60000, -60000, 50000),
        inputs=(1, 1),
        targets=(0, 1),
        rate=0.5,
    )
