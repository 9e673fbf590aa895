"""Registration: what is refused, and how it is said; a third-party package is found."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from gradconform.adapters import registry
from gradconform.adapters.contract import Route
from gradconform.reference.cases import BadInput

DUALS = Path(__file__).parent / "third_party" / "duals"


def test_a_wrong_signature_is_refused_and_quoted() -> None:
    import wrong_adapters

    with pytest.raises(BadInput, match=r"answer\(point: .*\) -> .* does not take \(point, route\)"):
        registry.validated(wrong_adapters.wrong_signature, "mine:adapter")


@pytest.mark.parametrize(
    ("adapter", "message"),
    [
        (registry.Chosen, "is the class Chosen; expected an instance"),
        (SimpleNamespace(routes=(), answer=print), r"\.name is None; expected a non-empty string"),
        (SimpleNamespace(name="x", routes=("eager",), answer=print), r"\.routes is \('eager',\); expected a sequence"),
        (SimpleNamespace(name="x", routes=(Route("r"),)), r"has no method answer\(point, route\)"),
    ],
)
def test_what_does_not_keep_the_contract_is_refused(adapter: object, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        registry.validated(adapter, "mine:adapter")


def test_a_plug_in_is_found_by_module_and_object() -> None:
    (chosen,) = registry.choose("wrong_adapters:correct")
    assert (chosen.spec, chosen.route.name) == ("wrong_adapters:correct/only", "only")
    assert registry.choose(chosen.spec)[0].adapter is chosen.adapter


def test_default_routes_leave_out_those_by_name_only() -> None:
    pytest.importorskip("torch")
    assert [c.spec for c in registry.choose("torch")] == [
        "torch/eager",
        "torch/func",
        "torch/forward",
        "torch/module",
    ]
    assert registry.choose("torch/compile")[0].route.name == "compile"


def test_a_third_party_package_with_an_entry_point_is_run_by_the_suite(tmp_path: Path) -> None:
    """Forty lines in a directory of its own, installed as its own package, judged by the command line and by pytest."""
    source = (DUALS / "duals.py").read_text()
    assert len(source.splitlines()) <= 40
    install = ["pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--target", str(tmp_path), str(DUALS)]
    subprocess.run([sys.executable, "-m", *install], check=True, capture_output=True)
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    case = ("document/worked-example", "document/scale-4/00*")
    run = ["gradconform", "run", "-a", "duals", "-c", case[0], "-c", case[1], "-o", "one.jsonl"]
    done = subprocess.run(
        [sys.executable, "-m", *run], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "duals/forward" in done.stdout
    suite = ["pytest", "-q", "-p", "no:cacheprovider", "--pyargs", "gradconform.conformance"]
    options = ["--gradconform-adapter", "duals", "--gradconform-case", case[0]]
    done = subprocess.run(
        [sys.executable, "-m", *suite, *options],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "2 passed, 2 skipped" in done.stdout, done.stdout + done.stderr
