"""Who may import whom: the reference no framework, adapters no truth, reports only the measurement; floor by floor."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FRAMEWORKS = {"torch", "jax", "jaxlib", "optax", "tensorflow"}

#: Whether a file of a folder may import a module, by the module's full name.
Rule = Callable[[str], bool]


def top(module: str) -> str:
    return module.split(".")[0]


def within(module: str, *packages: str) -> bool:
    return any(module == p or module.startswith(f"{p}.") for p in packages)


def reference_may(module: str) -> bool:
    if top(module) == "gradconform":
        return within(module, "gradconform.reference")
    return top(module) not in FRAMEWORKS | {"pytest", "pandas"}


def adapters_may(module: str) -> bool:
    own = ("gradconform.adapters", "gradconform.reference.cases", "gradconform.reference.arithmetic.formats")
    # The vocabulary of a record: its steps, the equations that a kernel's results solve, what a recorder hands over.
    records = tuple(f"gradconform.reference.programs.{name}" for name in ("record", "implicit", "run"))
    return top(module) != "gradconform" or within(module, *own, *records)


def reports_may(module: str) -> bool:
    if top(module) == "gradconform":
        return within(module, "gradconform.reports", "gradconform.reference.measurement")
    return top(module) not in FRAMEWORKS


def conformance_may(module: str) -> bool:
    return top(module) not in FRAMEWORKS


RULES: dict[str, Rule] = {
    "reference": reference_may,
    "adapters": adapters_may,
    "reports": reports_may,
    "conformance": conformance_may,
}


#: Floors inside a folder, each with the packages that stand above it: it may not import them.
ABOVE = {
    "reference/arithmetic": ("reference.derivations", "reference.programs", "reference.document", "reference.cases"),
    "reference/derivations": ("reference.programs", "reference.cases"),
    # Operators are written over records, and so stand above them.
    "reference/derivations/operators": ("reference.document",),
    "conformance/cases": tuple(
        f"conformance.{floor}" for floor in ("levels", "programs", "updates", "run", "command_line")
    ),
    "conformance/levels": tuple(f"conformance.{floor}" for floor in ("programs", "updates", "run", "command_line")),
    "conformance/programs": ("conformance.updates", "conformance.command_line"),
    "conformance/updates": ("conformance.command_line",),
    "conformance/run": ("conformance.command_line",),
}
#: Every folder with code in it, as a package.
PACKAGES = {"gradconform"} | {
    "gradconform." + ".".join(file.parent.relative_to(ROOT).parts)
    for folder in RULES
    for file in (ROOT / folder).rglob("*.py")
}


def imports(source: str, package: str) -> set[str]:
    """Every module that a source text imports, wherever in it, by full name; `package` is where the source lives.

    `from a import b` may import the module a.b or a name of a. It counts as a.b where a is a package of gradconform's
    own folders, and as a otherwise. A constant name given to `import_module` or `__import__` counts too.
    """
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = package.split(".")
                parents = parents[: len(parents) - node.level + 1]
                base = ".".join([*parents, *([base] if base else [])])
            found |= {f"{base}.{alias.name}" for alias in node.names} if base in PACKAGES else {base}
        elif isinstance(node, ast.Call):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if called in ("import_module", "__import__") and node.args and isinstance(node.args[0], ast.Constant):
                found.add(str(node.args[0].value))
    return found


def offences(folder: str, source: str) -> list[str]:
    """The modules that a source text in `folder` imports against its rule."""
    return sorted(m for m in imports(source, f"gradconform.{folder}") if not RULES[folder](m))


@pytest.mark.parametrize("folder", RULES)
def test_every_file_keeps_its_folders_import_rule(folder: str) -> None:
    files = sorted((ROOT / folder).rglob("*.py"))
    assert files, f"{folder}/ has no files"
    found = {str(f.relative_to(ROOT)): offences(folder, f.read_text(encoding="utf-8")) for f in files}
    assert {name: modules for name, modules in found.items() if modules} == {}


def reaching_up(floor: str, source: str) -> list[str]:
    """The modules on higher floors that a source text on a floor imports."""
    above = tuple(f"gradconform.{package}" for package in ABOVE[floor])
    return sorted(m for m in imports(source, f"gradconform.{floor.replace('/', '.')}") if within(m, *above))


@pytest.mark.parametrize("floor", ABOVE)
def test_no_floor_imports_what_stands_above_it(floor: str) -> None:
    files = sorted((ROOT / floor).glob("*.py"))
    assert len(files) > 1
    assert {f.name: up for f in files if (up := reaching_up(floor, f.read_text(encoding="utf-8")))} == {}


def test_an_import_of_a_higher_floor_is_named() -> None:
    source = "from gradconform.conformance import command_line, known\nfrom ..run import runner"
    assert reaching_up("conformance/levels", source) == [
        "gradconform.conformance.command_line", "gradconform.conformance.run.runner",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("folder", "source", "module"),
    [
        ("reference", "import torch", "torch"),
        ("reference", "import numpy, jax.numpy as jnp", "jax.numpy"),
        ("reference", "def f():\n    from pandas import DataFrame", "pandas"),
        ("reference", "if TYPE_CHECKING:\n    import pytest", "pytest"),
        ("reference", "from gradconform.adapters.contract import Stencil", "gradconform.adapters.contract"),
        ("reference", "from gradconform import conformance", "gradconform.conformance"),
        ("reference", "from ..reports import page", "gradconform.reports.page"),
        ("reference", "import gradconform", "gradconform"),
        ("reference", "from importlib import import_module\nimport_module('torch')", "torch"),
        ("adapters", "from gradconform.reference import judge", "gradconform.reference.judge"),
        ("adapters", "from gradconform.reference.arithmetic import exact", "gradconform.reference.arithmetic.exact"),
        (
            "adapters",
            "from gradconform.reference.arithmetic.exact import EXACT",
            "gradconform.reference.arithmetic.exact",
        ),
        ("adapters", "import gradconform.reference.casesandmore", "gradconform.reference.casesandmore"),
        ("adapters", "from gradconform.conformance.check import check_route", "gradconform.conformance.check"),
        ("adapters", "from .. import reference", "gradconform.reference"),
        (
            "reports",
            "from gradconform.reference.arithmetic.formats import FORMATS",
            "gradconform.reference.arithmetic.formats",
        ),
        ("reports", "from gradconform.conformance import known", "gradconform.conformance.known"),
        ("reports", "import torch", "torch"),
        ("conformance", "def f():\n    import jax", "jax"),
    ],
)
def test_an_import_against_the_rule_is_named(folder: str, source: str, module: str) -> None:
    assert offences(folder, source) == [module]


@pytest.mark.parametrize(
    ("folder", "source"),
    [
        ("reference", "import numpy as np\nfrom flint import arb\nfrom gradconform.reference import exact"),
        ("reference", "from .exact import EXACT\nfrom . import formats"),
        ("reference", "TEXT = 'import torch'  # import pandas"),
        ("adapters", "import torch\nfrom gradconform.adapters.contract import Answer"),
        ("adapters", "from gradconform.reference.cases import Point\nfrom gradconform.reference import cases"),
        ("reports", "import pandas\nfrom gradconform.reference.measurement import COLUMNS\nfrom . import page"),
        ("conformance", "import pandas, pytest\nfrom gradconform.reports.export import export"),
    ],
)
def test_an_import_that_the_rule_allows_is_not_named(folder: str, source: str) -> None:
    assert offences(folder, source) == []


def loaded_after(statements: str) -> set[str]:
    """The top-level modules that a fresh interpreter has loaded after running some statements."""
    code = f"{statements}\nimport sys\nprint(*sorted(m for m in sys.modules if '.' not in m))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    return set(done.stdout.split())


def test_importing_gradconform_loads_nothing_heavy() -> None:
    loaded = loaded_after("import gradconform")
    assert "gradconform" in loaded
    assert not loaded & (FRAMEWORKS | {"pandas", "pytest", "numpy", "scipy", "sympy"})


def test_importing_the_whole_reference_loads_no_framework() -> None:
    files = sorted((ROOT / "reference").rglob("*.py"))
    if find_spec("numba") is None:  # an extra
        files = [f for f in files if f.stem not in ("kernels", "fused", "products", "comparison_kernels")]
    modules = [".".join(["gradconform", *f.relative_to(ROOT).with_suffix("").parts]) for f in files]
    loaded = loaded_after("\n".join(f"import {m}" for m in modules if not m.endswith("__init__")))
    assert {"flint", "numpy", "sympy"} <= loaded
    assert not loaded & (FRAMEWORKS | {"pandas", "pytest"})


def test_what_a_fresh_interpreter_loads_is_seen() -> None:
    assert "pandas" in loaded_after("import pandas")
    assert "numpy" in loaded_after("import gradconform\ngradconform.document_case")
