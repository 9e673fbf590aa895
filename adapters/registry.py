"""Finding adapters: by the name of an entry point, or as package.module:object, with or without a route."""

from __future__ import annotations

import importlib
import inspect
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import cache
from importlib import metadata
from pathlib import PurePath
from typing import Any, cast

from packaging.requirements import Requirement

from gradconform.adapters.contract import CONVENTIONS, FOUR_DTYPES, Adapter, Form, Route
from gradconform.reference.cases import BadInput, said, unknown

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

    An entry point may have another name than its adapter, whose own the rows carry: either finds it.
    Raises BadInput if there is none, NotInstalled if its framework is missing.
    """
    found = _entry_points()
    if ":" in name:
        module, _, attribute = name.partition(":")
        return validated(_imported(name, module, attribute), name)
    if name in found:
        return validated(_imported(name, found[name].module, found[name].attr), name)
    for other in sorted(found.keys() - BUILT_IN.keys()):
        with suppress(BadInput):  # one that does not load has no name of its own
            if (adapter := load(other)).name == name:
                return adapter
    raise unknown("adapter", name, found, "(a plug-in is given as package.module:object)")


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
    no_file(what, module)
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
        raise BadInput(f"{what}: importing {module} raised {type(error).__name__}: {said(error)}") from error
    try:
        for part in attribute.split("."):
            target = getattr(target, part)
    except AttributeError as error:
        raise BadInput(f"{what}: {error}; expected package.module:object") from error
    return target


def no_file(what: str, name: str) -> None:
    """Raise BadInput where a module is named as its file is, as pytest has it: mine.py, tests/mine.py."""
    path = PurePath(name)
    if path.suffix == ".py" or len(path.parts) > 1:
        given = path.stem if path.suffix == ".py" else path.name
        where = f", in the folder {path.parent}" if len(path.parts) > 1 else ""
        raise BadInput(f"{what}: {name} names a file; expected its module: {given}{where}")


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


#: What an adapter has, and where that is said.
_PARTS = ("name", "routes", "answer")
_CONTRACT = "name, routes and answer(point, route); see gradconform.adapters.contract, and docs/template to start from"


def validated(target: Any, spec: str) -> Adapter:
    """The adapter itself if it keeps the contract. Raises BadInput that quotes what is wrong with it."""
    kind = type(target).__name__
    try:
        parts = {part: getattr(target, part) for part in _PARTS if hasattr(target, part)}
    except Exception as error:  # a property of somebody else's
        raise BadInput(f"adapter {spec!r}: asking it for its parts raised {_named(error)}") from error
    if inspect.isclass(target):
        whole = len(parts) == len(_PARTS)
        instance = f"an instance, {target.__name__}()" if whole else f"an instance of a class that has {_CONTRACT}"
        if not whole and callable(getattr(target, "apply", None)):  # an autograd.Function
            instance += f"; the gradient of a rule is verified by gradconform.verify({target.__name__}.apply, …)"
        raise BadInput(f"adapter {spec!r} is the class {target.__name__}; expected {instance}")
    if not parts or (callable(target) and len(parts) == 1):
        hint = "; the gradient of a function is verified by gradconform.verify(f, …)" if callable(target) else ""
        raise BadInput(f"adapter {spec!r} is a {kind}; an adapter is an object that has {_CONTRACT}{hint}")
    name, routes, answer = (parts.get(part) for part in _PARTS)
    if not isinstance(name, str) or not name:
        raise BadInput(f"adapter {spec!r}: .name is {name!r}; expected a non-empty string")
    _check_name(spec, ".name", name)
    if not isinstance(routes, Sequence) or not routes or not all(isinstance(r, Route) for r in routes):
        raise BadInput(f"adapter {spec!r}: .routes is {routes!r}; expected a sequence of gradconform.adapters Route")
    for route in routes:
        _check_name(spec, "a route's name", route.name)
        _check_route(spec, route)
    if len({r.name for r in routes}) != len(routes):
        raise BadInput(f"adapter {spec!r}: two routes have the same name; expected each name once")
    forms_of(target, spec)
    if not callable(answer):
        raise BadInput(f"adapter {spec!r} has no method answer(point, route) -> Answer")
    try:
        signature = inspect.signature(answer)
    except (TypeError, ValueError):  # of code in C that has none to show
        return cast(Adapter, target)
    try:
        signature.bind("point", "route")
    except TypeError as error:
        raise BadInput(f"adapter {spec!r}: answer{signature} does not take (point, route): {error}") from error
    return cast(Adapter, target)


def forms_of(adapter: Any, spec: str) -> dict[str, tuple[Form, ...]]:
    """The forms that an adapter brings itself, by what they are programs of; what they say is proved elsewhere.

    Raises BadInput for an attribute `forms` that is no mapping from names to sequences of `Form`.
    """
    try:
        own = getattr(adapter, "forms", None)
        if own is None:
            return {}
        found = {name: tuple(forms) for name, forms in own.items()} if isinstance(own, Mapping) else None
    except Exception as error:
        raise BadInput(f"adapter {spec!r}: asking it for its forms raised {_named(error)}") from error
    expected = 'expected a mapping from names, such as "tanh\'", to sequences of gradconform.adapters Form'
    if found is None:
        raise BadInput(f"adapter {spec!r}: .forms is a {type(own).__name__}; {expected}")
    for name, forms in found.items():
        odd = [f for f in forms if not isinstance(f, Form)]
        if not isinstance(name, str) or odd:
            got = f"has {odd[0]!r}" if odd else f"has the name {name!r}"
            raise BadInput(f"adapter {spec!r}: .forms {got}; {expected}")
        for form in forms:
            texts = (form.name, form.source, form.instead, form.approximates)
            if not callable(form.formula) or not all(isinstance(t, str) for t in texts) or not form.name:
                raise BadInput(
                    f"adapter {spec!r}: a form of {name!r} is {form!r}; expected a name, text, and a formula"
                )
            if isinstance(form.operands, str) or not all(isinstance(o, str) for o in form.operands):
                raise BadInput(
                    f"adapter {spec!r}: the form {form.name!r} of {name!r} has the operands {form.operands!r}; "
                    "expected a tuple of names, such as ('g', 'z')"
                )
    return {name: tuple(replace(f, operands=tuple(f.operands)) for f in forms) for name, forms in found.items()}


def _check_route(spec: str, route: Route) -> None:
    """Refuse a route whose fields are none that a check understands."""
    what = f"adapter {spec!r}: route {route.name}"
    if not isinstance(route.dtypes, tuple | list) or not route.dtypes:
        got = f"dtypes is {route.dtypes!r}"
        raise BadInput(f"{what}: {got}; expected some of {', '.join(FOUR_DTYPES)}, as a tuple")
    for dtype in route.dtypes:
        if dtype not in FOUR_DTYPES:
            raise unknown(f"dtype of {what}", dtype, FOUR_DTYPES)
    if route.operands not in ("exact", "half-ulp"):
        raise BadInput(f"{what}: operands is {route.operands!r}; expected 'exact' or 'half-ulp'")
    if not isinstance(route.conventions, tuple | list):
        got = f"conventions is {route.conventions!r}"
        raise BadInput(f"{what}: {got}; expected some of {', '.join(CONVENTIONS)}, as a tuple")
    for convention in route.conventions:
        if convention not in CONVENTIONS:
            raise unknown(f"convention of {what}", convention, CONVENTIONS)
    if not isinstance(route.default, bool) or not isinstance(route.summary, str):
        got = f"default is {route.default!r}, summary {route.summary!r}"
        raise BadInput(f"{what}: {got}; expected True or False, and text")


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
    name, slash, route_name = spec.partition("/")
    adapter = load(name)
    if not slash:
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


def specification(adapter: Adapter) -> str | None:
    """What finds this very adapter again: its name, or package.module:object; None for one that no module holds."""
    if adapter.name in _entry_points():
        with suppress(BadInput):
            if load(adapter.name) is adapter:
                return adapter.name
    module = type(adapter).__module__
    found = None if module == "__main__" else sys.modules.get(module)
    held = {} if found is None else vars(found)
    return next((f"{module}:{name}" for name, value in held.items() if value is adapter), None)


def versions(adapter: Adapter) -> dict[str, str]:
    """What an adapter says of its framework's versions; where it fails, that they are unknown, and why."""
    try:
        report = getattr(adapter, "versions", None)
        if not callable(report):
            return {}
        return {str(k): str(v) for k, v in report().items()}
    except (Exception, SystemExit) as error:  # it is somebody else's, and no reason to judge nothing
        return {adapter.name: f"unknown ({_named(error)})"}


def unavailable(adapter: Adapter, device: str) -> str | None:
    """Why the adapter cannot use a device, or None."""
    try:
        ask = getattr(adapter, "unavailable", None)
        if not callable(ask):
            return None if device == "cpu" else f"adapter {adapter.name} does not say that it can use {device}"
        answer = ask(device)
        return None if answer is None else str(answer)
    except (Exception, SystemExit) as error:  # as above; a device of which that is all that is known is none to run on
        return f"adapter {adapter.name} raised {_named(error)} when asked whether it can use {device}"


def _named(error: BaseException) -> str:
    return f"{type(error).__name__}: {said(error)}"
