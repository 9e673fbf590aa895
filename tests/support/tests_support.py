"""What several test files share: types, and an adapter whose answers a test scripts."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from gradconform.adapters.contract import Answer, Route
from gradconform.adapters.on_numpy import adapter as numpy_adapter
from gradconform.reference.cases import Point

Cli = Callable[..., "subprocess.CompletedProcess[str]"]
#: An environment in which `wrong_adapters:…` can be imported by a subprocess.
WRONG_ADAPTERS = {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])}


class Scripted:
    """An adapter that answers what a function says; it is given the complex step's answer, which is right."""

    def __init__(self, spoil: Callable[[Point, Answer], Answer] = lambda point, answer: answer) -> None:
        self.name = "scripted"
        self.routes = (Route("only", dtypes=("float64", "float32")),)
        self.spoil = spoil

    def answer(self, point: Point, route: str) -> Answer:
        right = numpy_adapter.answer(point, "complex-step")
        return self.spoil(point, Answer(right.loss, right.gradient, right.updated))


BENCHMARKS = Path(__file__).parent.parent.parent / "benchmarks"


def benchmark(name: str) -> ModuleType:
    """A module of benchmarks/, which is no package."""
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, BENCHMARKS / f"{name}.py")
        assert spec is not None
        assert spec.loader is not None
        sys.modules[name] = module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return sys.modules[name]


pdflatex = pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no pdflatex to compile what is for paper with")


def compiled(folder: Path, inputs: str) -> str:
    """What pdflatex says of these inputs in a plain article; its log has a line for whatever is too wide."""
    (folder / "all.tex").write_text(
        r"\documentclass{article}\usepackage[T1]{fontenc}\usepackage{amsmath,array,booktabs,graphicx,longtable}"
        rf"\begin{{document}}{inputs}\end{{document}}"
    )
    done = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "all.tex"],
        cwd=folder, capture_output=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:]
    return (folder / "all.log").read_text(encoding="utf-8", errors="replace")
