"""Registration: what is refused, and how it is said; a third-party package is found."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from gradconform.adapters import registry
from gradconform.adapters.contract import Route
from gradconform.reference.cases import BadInput


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


def test_a_plug_in_of_the_working_folder_is_found_and_the_path_is_left_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "in_the_working_folder.py").write_text("from wrong_adapters import correct")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [p for p in sys.path if p])
    before = list(sys.path)
    (chosen,) = registry.choose("in_the_working_folder:correct")
    assert chosen.adapter.name == "correct"
    assert sys.path == before


def test_default_routes_leave_out_those_by_name_only() -> None:
    pytest.importorskip("torch")
    assert [c.spec for c in registry.choose("torch")] == [
        "torch/eager",
        "torch/func",
        "torch/forward",
        "torch/module",
    ]
    assert registry.choose("torch/compile")[0].route.name == "compile"
