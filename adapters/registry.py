"""Finding adapters: by the name of an entry point, or as package.module:object, with or without a route."""

from __future__ import annotations

import importlib
import inspect
import os
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from typing import Any

from packaging.requirements import Requirement

from gradconform.adapters.contract import Adapter, Route
from gradconform.reference.cases import BadInput, unknown

GROUP = "gradconform.adapters"
#: Built-in adapters, and what installs the framework of each.
BUILT_IN = {"torch": "gradconform[torch]", "jax": "gradconform[jax]", "numpy": "gradconform"}
#: Names of adapters and of routes.
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9._-]{0,59}")


class NotInstalled(BadInput):
    """An adapter whose framework is not installed."""


@dataclass(frozen=True)
class Chosen:
    """One adapter's route, and the specification that finds it again in another process."""

    spec: str
    adapter: Adapter
    route: Route


@cache
def load(name: str) -> Adapter:
    """The adapter called `name`: an entry point of the group `gradconform.adapters`, or package.module:object.

    Raises BadInput if there is none, NotInstalled if its framework is missing.
    """
    found = _entry_points()
    if ":" in name:
        module, _, attribute = name.partition(":")
        target = _imported(name, module, attribute)
    elif name in found:
        entry = found[name]
        target = _imported(name, entry.module, entry.attr)
    else:
        raise unknown("adapter", name, found, "A plug-in is given as package.module:object.")
    return validated(target, name)


def _entry_points() -> dict[str, metadata.EntryPoint]:
    return {entry.name: entry for entry in metadata.entry_points(group=GROUP)}


def _imported(name: str, module: str, attribute: str) -> Any:
    _check_age(name)
    try:
        return imported(f"adapter {name!r}", module, attribute)
    except ImportError as error:
        if name in BUILT_IN:
            install = f"python -m pip install '{BUILT_IN[name]}'"
            raise NotInstalled(
                f"adapter {name!r} needs a package that is not installed ({error}); {install}"
            ) from error
        raise NotInstalled(f"adapter {name!r}: {unimportable(module, error)}") from error


def imported(what: str, module: str, attribute: str) -> Any:
    """The object that package.module:object names, for an error that begins with `what`.

    Raises ImportError as the import does, and BadInput for anything else that somebody's module raises.
    """
    if not all(part.isidentifier() for part in (*module.split("."), *attribute.split("."))):
        raise BadInput(f"{what}: {module}:{attribute} is no name of an object; expected package.module:object")
    try:
        with working_folder():
            target: Any = importlib.import_module(module)
    except ImportError:
        raise
    except BadInput as error:  # such as a case that the module makes
        raise BadInput(f"{what}: {error}") from error
    except (Exception, SystemExit) as error:  # whatever a module raises as it is imported, leaving included
        raise BadInput(f"{what}: importing {module} raised {type(error).__name__}: {error}") from error
    try:
        for part in attribute.split("."):
            target = getattr(target, part)
    except AttributeError as error:
        raise BadInput(f"{what}: {error}; expected package.module:object") from error
    return target


def unimportable(module: str, error: ImportError) -> str:
    """Why a module cannot be imported and, if it is the module itself that is missing, where it was looked for."""
    failed = f"importing {module} failed: {error}"
    if error.name is None or not f"{module}.".startswith(f"{error.name}."):
        return failed
    return (
        f"{failed}; it was looked for in the working folder {os.getcwd()}, in PYTHONPATH and among the installed "
        "packages; expected package.module:object"
    )


@contextmanager
def working_folder() -> Iterator[None]:
    """While this lasts modules are found in the working folder before all others, as under `python -m`."""
    folder = os.getcwd()
    if folder in sys.path or "" in sys.path:
        yield
        return
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        with suppress(ValueError):  # the module that was imported may have changed the path, too
            sys.path.remove(folder)


def keep_working_folder(specifications: Iterable[str]) -> None:
    """Leave modules to be found in the working folder where one of the specifications is package.module:object.

    For a process of gradconform's own, and the workers that inherit its path: a plug-in may import its neighbours only
    when it is asked. Without a plug-in nothing in the folder hides what is installed.
    """
    if any(":" in s for s in specifications) and not {"", os.getcwd()} & set(sys.path):
        sys.path.insert(0, os.getcwd())


def _check_age(name: str) -> None:
    """Raise NotInstalled if a package that a built-in adapter needs is installed and older than this project admits."""
    for text in metadata.requires("gradconform") or () if name in BUILT_IN else ():
        requirement = Requirement(text)
        if requirement.marker is None or not requirement.marker.evaluate({"extra": name}):
            continue
        try:
            there = metadata.version(requirement.name)
        except metadata.PackageNotFoundError:
            continue  # importing it will say so
        if not requirement.specifier.contains(there, prereleases=True):
            install = f"python -m pip install --upgrade '{BUILT_IN[name]}'"
            needed = f"{requirement.name}{requirement.specifier}"
            raise NotInstalled(f"adapter {name!r} needs {needed}, {there} is installed; {install}")


def validated(target: Any, spec: str) -> Adapter:
    """The adapter itself if it keeps the contract. Raises BadInput that quotes what is wrong with it."""
    if inspect.isclass(target):
        raise BadInput(f"adapter {spec!r} is the class {target.__name__}; expected an instance, {target.__name__}()")
    name, routes, answer = (getattr(target, part, None) for part in ("name", "routes", "answer"))
    if not isinstance(name, str) or not name:
        raise BadInput(f"adapter {spec!r}: .name is {name!r}; expected a non-empty string")
    _check_name(spec, ".name", name)
    if not isinstance(routes, Sequence) or not routes or not all(isinstance(r, Route) for r in routes):
        raise BadInput(f"adapter {spec!r}: .routes is {routes!r}; expected a sequence of gradconform.adapters Route")
    for route in routes:
        _check_name(spec, "a route's name", route.name)
    if len({r.name for r in routes}) != len(routes):
        raise BadInput(f"adapter {spec!r}: two routes have the same name; expected each name once")
    if not callable(answer):
        raise BadInput(f"adapter {spec!r} has no method answer(point, route) -> Answer")
    try:
        inspect.signature(answer).bind("point", "route")
    except TypeError as error:
        signature = f"answer{inspect.signature(answer)}"
        raise BadInput(f"adapter {spec!r}: {signature} does not take (point, route): {error}") from error
    if not isinstance(target, Adapter):
        raise BadInput(f"adapter {spec!r}: {type(target).__name__} does not keep the adapter contract")
    return target


def _check_name(spec: str, what: str, name: Any) -> None:
    """Refuse a name that is not safe in a table, a file name or a terminal, all of which it reaches."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        got = ascii(name)[:80]
        raise BadInput(f"adapter {spec!r}: {what} is {got}; expected at most 60 of A-Z a-z 0-9 . _ -, a letter first")


def choose(spec: str | Adapter) -> list[Chosen]:
    """The routes that a specification names: `torch` its default routes, `torch/eager` that one."""
    if not isinstance(spec, str):
        adapter = validated(spec, type(spec).__name__)
        return [Chosen(f"{adapter.name}/{r.name}", adapter, r) for r in adapter.routes if r.default]
    name, _, route_name = spec.partition("/")
    adapter = load(name)
    if not route_name:
        return [Chosen(f"{name}/{r.name}", adapter, r) for r in adapter.routes if r.default]
    routes = {r.name: r for r in adapter.routes}
    if route_name not in routes:
        raise unknown(f"route of {name}", route_name, routes)
    return [Chosen(spec, adapter, routes[route_name])]


def installed() -> tuple[dict[str, Adapter], dict[str, str]]:
    """The built-in adapters whose framework is installed, and why the others are not there, by name."""
    present, absent = {}, {}
    for name in BUILT_IN:
        try:
            present[name] = load(name)
        except NotInstalled as error:
            absent[name] = str(error)
    return present, absent


def registered() -> list[str]:
    """The names of all entry points, built-in and third-party."""
    return sorted(_entry_points())


def versions(adapter: Adapter) -> dict[str, str]:
    report = getattr(adapter, "versions", None)
    return {str(k): str(v) for k, v in report().items()} if callable(report) else {}


def unavailable(adapter: Adapter, device: str) -> str | None:
    """Why the adapter cannot use a device, or None."""
    ask = getattr(adapter, "unavailable", None)
    if callable(ask):
        answer = ask(device)
        return None if answer is None else str(answer)
    return None if device == "cpu" else f"adapter {adapter.name} does not say that it can use {device}"
