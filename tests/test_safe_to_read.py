"""What strangers wrote (run files, plug-ins, known deviations) is refused clearly or shown as it is; nothing runs."""

from __future__ import annotations

import contextlib
import io
import sys
from pathlib import Path
from random import Random
from types import ModuleType, SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.table import Table
from tests_support import benchmark

from gradconform.adapters import registry
from gradconform.adapters.contract import Route
from gradconform.conformance.cases.catalogue import select
from gradconform.conformance.command_line.commands import Terminal
from gradconform.conformance.known import FILE, known_deviations
from gradconform.conformance.run import run_file
from gradconform.conformance.run.run_file import RunWriter, load
from gradconform.reference.arithmetic.text import visible
from gradconform.reference.cases import BadInput, document_case
from gradconform.reference.measurement import Measurement

fuzz = benchmark("fuzz")
HOSTILE = ("\x1b]0;title\x07", "\x1b[2J", "\x9b31m", "\u202egnp.exe", "\ud800", "a\rb", "a\0b")


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    content: bytes = fuzz.sound(tmp_path_factory.mktemp("sound"))
    return content


def test_mutated_run_files_are_refused_or_read(sound: bytes, tmp_path: Path) -> None:
    path = tmp_path / "mutated.jsonl"
    outcomes = set()
    for number in range(300):
        path.write_bytes(fuzz.mutated(sound, Random(number)))
        outcomes.add(fuzz.outcome(path))
    assert outcomes == {"read", "refused"}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"elements":1,', f'"elements":{"1" * 400},', "elements is 1{60}…, expected a number below"),
        ('"elements":1,', '"elements":null,', "elements is None, expected a whole number"),
        ('"value":0.5', '"value":NaN', "not JSON"),
        ('"value":0.5', '"value":1e999', "not JSON"),
        ('"value":0.5', '"value":0.5,"value":0.25', "not JSON"),
        ('"value":0.5', f'"value":{"[" * 100000}', "not JSON"),
        ('"profile":"opencl"', '"profile":["opencl"]', r"profile is \['opencl'\], expected text"),
        ('"verdict":"conforms"', '"verdict":"\\u001b[2J"', r"unknown verdict '\\x1b\[2J'"),
        ('"schema":2', '"schema":"\\ud800"', r"has schema '\\ud800'"),
    ],
)
def test_a_hostile_value_is_refused_and_named_in_plain_characters(
    sound: bytes, tmp_path: Path, old: str, new: str, message: str
) -> None:
    text = sound.decode()
    assert old in text
    path = tmp_path / "hostile.jsonl"
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(BadInput, match=message) as error:
        load([path])
    assert str(error.value).isprintable()


def test_a_line_over_the_limit_is_refused_without_being_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "long.jsonl"
    with path.open("wb") as file:
        file.truncate(1 << 40)  # a tebibyte of NULs that takes no room on the disk, all of it one line
    with pytest.raises(BadInput, match="line 1: longer than 16777216 bytes"):
        load([path])
    monkeypatch.setattr(run_file, "LINE_LIMIT", 10)
    path.write_bytes(b"[1,2,3,4]\n")
    with pytest.raises(BadInput, match="expected an object"):
        load([path])


def test_the_longest_arguments_of_a_run_fit_a_line_that_is_read(tmp_path: Path) -> None:
    path = tmp_path / "one.jsonl"
    header = {"suite": "gradconform", "profile": "opencl", "arguments": ["\x01" * 2**21]}
    with RunWriter(path, header) as writer:
        writer.write([Measurement("c", "a", "r", "float32", "whole", "E", 1, verdict="conforms")])
        writer.finish()
    assert len(load([path])[1]) == 1


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=30) | st.tuples(st.sampled_from(["os", "json", ".", ""]), st.text(max_size=9)).map(":".join))
def test_a_specification_of_an_adapter_or_a_case_is_understood_or_refused(spec: str) -> None:
    with contextlib.suppress(BadInput):
        registry.choose(spec)
    if ":" in spec and spec.partition(":")[0] in ("json", ".", ""):  # os has functions that are not to be called
        with contextlib.suppress(BadInput):
            select((spec,))


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_a_known_deviations_file_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("known") / "known.toml"
    content = bytearray(FILE.read_bytes()[:3000])
    start = data.draw(st.integers(0, len(content)))
    content[start : start + data.draw(st.integers(0, 400))] = data.draw(st.binary(max_size=40))
    path.write_bytes(bytes(content))
    with contextlib.suppress(BadInput):
        known_deviations(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("deviation = 3", "expected a list of"),
        ("other = 3", "nothing beside it"),
        ("x = " + "[" * 100000, "nested too deeply"),
        ("x = " + "1" * 5000, "known deviations"),
        ("#" * (2**20 + 1), "larger than 1048576 bytes"),
    ],
)
def test_a_foreign_known_deviations_file_is_refused(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "known.toml"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(BadInput, match=message):
        known_deviations(path)


@pytest.mark.parametrize("name", [*HOSTILE, "=1+1", "<b>", "../up", "a b", "x" * 61])
def test_names_of_adapters_routes_and_cases_keep_to_an_alphabet(name: str) -> None:
    for adapter in (
        SimpleNamespace(name=name, routes=(Route("r"),), answer=lambda point, route: None),
        SimpleNamespace(name="a", routes=(Route(name),), answer=lambda point, route: None),
    ):
        with pytest.raises(BadInput, match=r"name is .* expected at most 60"):
            registry.validated(adapter, "mine:adapter")
    with pytest.raises(BadInput, match="case id"):
        document_case(name * 4, weights=[0.1] * 8, inputs=(1, 2), targets=(0, 1), rate=0.5)


def test_a_module_that_raises_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("raising")
    monkeypatch.setitem(sys.modules, "raising", module)

    def fail() -> None:
        raise RuntimeError("boom")

    monkeypatch.setattr(module, "cases", fail, raising=False)
    with pytest.raises(BadInput, match=r"case 'raising:cases' raised RuntimeError: boom"):
        select(("raising:cases",))


@pytest.mark.parametrize("text", HOSTILE)
def test_the_terminal_shows_control_characters_and_markup_as_text(text: str) -> None:
    table = Table()
    table.add_column("x")
    table.add_row(f"{text}[red]")
    file = io.StringIO()
    terminal = Terminal(file=file, force_terminal=True, width=80, color_system=None)
    terminal.print(f"{text}[red]:smile:")
    terminal.print(table)
    shown = file.getvalue()
    assert all(c.isprintable() for c in shown.replace("\n", ""))
    assert shown.count("[red]") == 2
    assert ":smile:" in shown


@given(st.text())
def test_visible_text_is_what_it_was_where_nothing_is_hidden(text: str) -> None:
    shown = visible(text)
    assert visible(shown) == shown
    assert (shown == text) or not text.isprintable()
