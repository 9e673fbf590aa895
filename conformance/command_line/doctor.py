"""`gradconform doctor`: what is installed, on what it runs, what is missing and how to get it."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from importlib import metadata
from importlib.util import find_spec

from packaging.requirements import Requirement
from packaging.version import InvalidVersion, Version

import gradconform
from gradconform.adapters import registry
from gradconform.adapters.contract import Adapter
from gradconform.conformance.run.runner import SUITE_VERSION
from gradconform.reference.cases import BadInput, available_memory, said

#: What each extra is for.
EXTRAS = {
    "torch": "PyTorch: routes torch/… and verify of its functions",
    "jax": "JAX: routes jax/… and verify of its functions",
    "report": "the page, the tables and the figures",
    "data": "the cases of real data",
}
#: The newest versions that this one was tested with as a whole: those of constraints.txt, which is in no wheel.
TESTED = {"torch": "2.13.0", "jax": "0.10.2", "jaxlib": "0.10.2", "optax": "0.2.8"}
#: Devices that are asked about.
DEVICES = ("cpu", "cuda", "mps")


def findings() -> Iterator[tuple[str, str]]:
    """Lines of text, each after whether it is "good", "missing", "newer" than what was tested, or just "known"."""
    yield "known", f"gradconform {SUITE_VERSION} in {os.path.dirname(os.path.abspath(gradconform.__file__))}"
    memory = available_memory()
    free = f"{memory / 2**30:.1f} GiB free" if memory < sys.maxsize else "free memory unknown"
    machine = f"{platform.platform()}, {os.cpu_count()} cores, {free}"
    yield "known", f"Python {platform.python_version()} on {machine}"
    yield "known", f"standard output: {_encoding()}"
    yield from _adapters()
    yield from _extras()
    yield compiler()
    yield fast()


def _encoding() -> str:
    encoding = sys.stdout.encoding or "no encoding"
    try:
        "∂≤·".encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return f"{encoding}, which has no ∂: it is printed as d; PYTHONIOENCODING=utf-8 shows it"
    return encoding


def _adapters() -> Iterator[tuple[str, str]]:
    for name in registry.registered():
        try:
            adapter = registry.load(name)
        except BadInput as error:  # such as a framework that is not installed, with the command that installs it
            yield "missing", f"adapter {name}: {error}"
            continue
        versions = ", ".join(f"{k} {v}" for k, v in registry.versions(adapter).items()) or "no version given"
        routes = " ".join(f"{name}/{r.name}" for r in adapter.routes)
        yield "good", f"adapter {name}: {versions}; devices: {', '.join(_devices(adapter)) or 'none'}; routes: {routes}"
        yield from (("newer", line) for line in untested(registry.versions(adapter)))


def untested(versions: Mapping[str, str]) -> Iterator[str]:
    """What it means of each of these that it is newer than what was tested."""
    meaning = "a new kernel may be unknown, a new way to round may deviate, and known deviations may be others"
    for name, version in versions.items():
        with suppress(InvalidVersion):
            if name in TESTED and Version(version).release > Version(TESTED[name]).release:
                yield f"{name} {version} is newer than {TESTED[name]}, with which gradconform was tested: {meaning}"


def _devices(adapter: Adapter) -> list[str]:
    return [device for device in DEVICES if registry.unavailable(adapter, device) is None]


def _extras(there: Callable[[str], bool] | None = None) -> Iterator[tuple[str, str]]:
    """Of each extra which packages are there, and the command that installs it where one is not."""
    for extra, purpose in EXTRAS.items():
        needed = _needed(extra)
        lacking = [r.name for r in needed if not (there or _installed)(r.name)]
        if lacking:
            how = f"python -m pip install 'gradconform[{extra}]'"
            yield "missing", f"extra {extra} ({purpose}): {', '.join(lacking)} not installed; {how}"
        else:
            versions = ", ".join(f"{r.name} {_version(r.name)}" for r in needed)
            yield "good", f"extra {extra} ({purpose}): {versions}"


def _needed(extra: str) -> list[Requirement]:
    """What an extra asks for, as the installed package says."""
    try:
        texts = metadata.requires("gradconform") or []
    except metadata.PackageNotFoundError:  # run from a clone by its path alone
        return []
    found = [Requirement(text) for text in texts]
    return [r for r in found if r.marker is not None and r.marker.evaluate({"extra": extra})]


def _installed(name: str) -> bool:
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError as error:
        return said(error)


def compiler() -> tuple[str, str]:
    """Whether torch/compile has the compiler that it needs."""
    from shutil import which

    names = [n for n in (os.environ.get("CXX"), "c++", "g++", "clang++", "cl") if n]
    there = next((n for n in names if which(n)), None)
    if find_spec("torch") is None:
        return "known", "C++ compiler: not needed without PyTorch"
    if there is None:
        return "missing", "C++ compiler (route torch/compile): none found; install g++, or set CXX"
    return "good", f"C++ compiler (route torch/compile): {there}"


def fast() -> tuple[str, str]:
    """Whether the rules of arrays are compiled; without that they are slower."""
    what = "extra fast (large arrays are judged by compiled rules)"
    try:
        import numba
    except ImportError as error:  # not there, or not for this Python or NumPy
        how = "python -m pip install 'gradconform[fast]'"
        return "known", f"{what}: {how}" if find_spec("numba") is None else f"{what}: numba does not run here: {error}"
    return "good", f"{what}: numba {numba.__version__}"
