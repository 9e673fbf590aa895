"""The documentation site: built with warnings as errors, its tutorial run, its reference the code's own."""

from __future__ import annotations

import contextlib
import io
import math
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from browser import absent, chromium
from tests_support import Cli

import gradconform as gc
from gradconform.conformance.levels import step_level
from gradconform.conformance.programs import array_answers, array_truths, check_program_arrays, iterated, size, truth
from gradconform.reference import judge, outcomes
from gradconform.reference.arithmetic import midpoints, profiles
from gradconform.reference.arithmetic.profiles import OPENCL
from gradconform.reference.measurement import QUESTIONS, Measurement
from gradconform.reference.programs import allowance, implicit, words

SITE = Path(__file__).parents[1] / "docs" / "site"


def blocks(page: str, language: str) -> list[str]:
    text = (SITE / page).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)


def built(source: Path, target: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html", str(source), str(target)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site as it is built, without a warning."""
    pytest.importorskip("sphinx_click")
    pytest.importorskip("myst_parser")
    target = tmp_path_factory.mktemp("site")
    done = built(SITE, target)
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    return target


def test_the_reference_has_what_the_code_has(site: Path) -> None:
    reference = (site / "reference.html").read_text(encoding="utf-8")
    for name in (f.name for f in fields(Measurement)):
        assert f">{name}<" in reference, name
    for answer in (a for answers in QUESTIONS.values() for a in answers):
        assert f">{answer}<" in reference, answer
    for option in ("--resume", "--timeout", "--profile", "--format", "--fail-on"):
        assert option in reference


def test_the_tables_in_the_pages_are_what_the_code_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("torch", "jax"):
        pytest.importorskip(name)  # whose routes are listed
    monkeypatch.syspath_prepend(str(SITE))
    import generated  # type: ignore[import-not-found, unused-ignore]

    assert generated.stale(SITE) == [], "python docs/site/generated.py"
    pages = "".join(page.read_text(encoding="utf-8") for page in SITE.glob("*.md"))
    assert all(f"<!-- {name}, by docs/site/generated.py -->" in pages for name in generated.PARTS)
    old = (SITE / "reference.md").read_text(encoding="utf-8").replace("| 2^−11 |", "| 2^−10 |")
    (tmp_path / "reference.md").write_text(old, encoding="utf-8")
    assert generated.stale(tmp_path) == [tmp_path / "reference.md"]
    assert "| 2^−11 |" in generated.filled(old)


def test_every_page_is_reached_from_the_front_page(site: Path) -> None:
    front = (site / "index.html").read_text(encoding="utf-8")
    for page in SITE.glob("*.md"):
        assert page.stem == "index" or f'href="{page.stem}.html' in front, page.name
    for caption in ("Tutorials", "How to", "Explanation", "Reference"):
        assert f">{caption}</span>" in front


@pytest.mark.parametrize(("module", "page"), [(gc, "api"), (gc.adapters, "contract")])
def test_every_public_name_is_documented_with_an_example(site: Path, module: Any, page: str) -> None:
    """That the examples of docstrings are true is tested where the Python interface is."""
    text = (site / f"{page}.html").read_text(encoding="utf-8")
    for name in set(module.__all__) - {"adapters", "__version__", "FOUR_DTYPES"}:
        assert f'id="{module.__name__}.{name}"' in text, name
        assert ">>> " in (getattr(module, name).__doc__ or ""), name
    for name in set(module.__all__) & {"adapters", "__version__", "FOUR_DTYPES"}:
        assert name in text


def test_the_contract_names_every_operation_and_every_option_of_pytest(site: Path) -> None:
    from gradconform.reference.derivations.activations import ACTIVATIONS
    from gradconform.reference.derivations.losses import LOSSES

    contract = (site / "contract.html").read_text(encoding="utf-8")
    for name in ({*ACTIVATIONS} - {"identity"}) | {*LOSSES, "linear", "l2_penalty"}:
        assert re.search(rf">{name}\(", contract), name
    for option in ("adapter", "case", "dtype", "known", "export"):
        assert f"--gradconform-{option}" in contract


in_a_browser = pytest.mark.skipif(absent() is not None, reason=str(absent()))


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with chromium(tmp_path_factory.mktemp("profile")) as started:
        started.set_window_size(1280, 900)
        yield started


#: What reaches beyond the window or scrolls in itself, and headings with a word in two.
SIDEWAYS = r"""
const width = document.documentElement.clientWidth, found = [];
if (document.documentElement.scrollWidth > width) found.push("page");
for (const e of document.querySelectorAll("div.body *, div.sphinxsidebar *")) {
    const scrolls = getComputedStyle(e).overflowX != "visible" && e.scrollWidth > e.clientWidth + 1 && e.clientWidth;
    const beyond = e.getBoundingClientRect().right > width + 1;
    if (beyond || scrolls) found.push(e.tagName + " " + e.textContent.slice(0, 40));
}
for (const e of document.querySelectorAll("h1, h2, h3")) {
    for (const text of [...e.childNodes].filter(n => n.nodeType == 3)) {
        for (const word of text.data.matchAll(/\S+/g)) {
            const range = document.createRange();
            range.setStart(text, word.index);
            range.setEnd(text, word.index + word[0].length);
            if (range.getClientRects().length > 1) found.push("heading " + word[0]);
        }
    }
}
return found;
"""


@in_a_browser
def test_nothing_scrolls_sideways_and_headings_are_whole(site: Path, driver: Any) -> None:
    for page in sorted(site.glob("*.html")):
        driver.get(page.as_uri())
        assert driver.execute_script(SIDEWAYS) == [], page.name


@in_a_browser
def test_on_a_telephone_the_page_comes_first_and_does_not_scroll_sideways(site: Path, driver: Any) -> None:
    narrow = {"width": 400, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", narrow)
    try:
        for page in sorted(site.glob("*.html")):
            driver.get(page.as_uri())
            assert "page" not in driver.execute_script(SIDEWAYS), page.name
            top = "return document.querySelector(arguments[0]).getBoundingClientRect().top"
            assert driver.execute_script(top, "div.body") < driver.execute_script(top, "div.sphinxsidebar"), page.name
    finally:
        driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


@in_a_browser
@pytest.mark.parametrize(
    ("body", "found"),
    [
        ("<pre style='overflow: auto; width: 9em'>" + "x" * 200 + "</pre>", "PRE"),
        ("<div style='width: 2000px'>wide</div>", "page"),
        ("<h1 style='width: 2em; overflow-wrap: anywhere'>gradconform</h1>", "heading gradconform"),
    ],
)
def test_what_scrolls_sideways_or_breaks_a_heading_is_seen(tmp_path: Path, driver: Any, body: str, found: str) -> None:
    (tmp_path / "wide.html").write_text(f"<div class='body'>{body}</div>", encoding="utf-8")
    driver.get((tmp_path / "wide.html").as_uri())
    assert [f for f in driver.execute_script(SIDEWAYS) if f.startswith(found)]


@in_a_browser
def test_search_finds_a_page(site: Path, driver: Any) -> None:
    from selenium.webdriver.support.ui import WebDriverWait

    driver.get((site / "search.html").as_uri() + "?q=allowance")
    hits = "return [...document.querySelectorAll('#search-results li a')].map(a => a.textContent)"
    assert WebDriverWait(driver, 20).until(lambda d: "The claim" in d.execute_script(hits))


def test_a_link_that_leads_nowhere_fails_the_build(tmp_path: Path) -> None:
    pytest.importorskip("myst_parser")
    source = tmp_path / "source"
    source.mkdir()
    (source / "conf.py").write_text("extensions = ['myst_parser']\n", encoding="utf-8")
    (source / "index.md").write_text("# A\n\n[b](nowhere.md)\n", encoding="utf-8")
    assert built(source, tmp_path / "out").returncode == 1


def test_the_tutorial_runs(cli: Cli) -> None:
    """Its Python in one process, in the order of the page; then its commands."""
    for name in ("torch", "jax"):
        pytest.importorskip(name)
    program = "\n".join(blocks("tutorial.md", "python"))
    assert program.count("gc.check(") == 2
    assert program.count("gc.assert_conforms(") == 2
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    commands = [line for block in blocks("tutorial.md", "sh") for line in block.splitlines()]
    assert len(commands) == 5
    for command in commands:
        ended = cli(*shlex.split(command.removeprefix("gradconform ")))
        assert ended.returncode == 0, (command, ended.stdout, ended.stderr)


def test_the_tutorials_first_table_is_what_is_shown_beside_it() -> None:
    """To three digits: the last ones of a float32 logistic function are the platform's."""
    pytest.importorskip("torch")
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(blocks("tutorial.md", "python")[0], {})
    shown, got = (text.split() for text in (blocks("tutorial.md", "text")[0], printed.getvalue()))
    assert len(shown) == len(got)
    truths = [i for i, word in enumerate(shown) if len(word) > 20]
    assert [got[i] for i in truths] == [shown[i] for i in truths]
    assert got.count("conforms") == shown.count("conforms") == 8


def test_the_page_for_a_class_prints_what_it_says(cli: Cli, tmp_path: Path) -> None:
    """Its Python in the order of the page, its commands beside its file; numbers to three digits, the platform's."""
    programs, texts, namespace = blocks("teaching.md", "python"), blocks("teaching.md", "text"), {"__name__": "student"}
    printed = []
    for program in programs:
        with contextlib.redirect_stdout(io.StringIO()) as out:
            exec(program, namespace)
        printed += [out.getvalue()] if out.getvalue() else []
    assert list(map(to_three_digits, printed)) == list(map(to_three_digits, texts))
    (tmp_path / "student.py").write_text(programs[0], encoding="utf-8")
    *judged, explained = [line for block in blocks("teaching.md", "sh") for line in block.splitlines()]
    for command in judged:
        ended = cli(*shlex.split(command.removeprefix("gradconform ")))
        assert ended.returncode == 0, (command, ended.stdout, ended.stderr)
    assert [cli(*shlex.split(explained.removeprefix("gradconform "))).stdout] == blocks("teaching.md", "latex")


def to_three_digits(text: str) -> list[str]:
    return re.sub(r"-?\d+\.\d+(e[+-]\d+)?", lambda found: f"{float(found[0]):.3g}", text).split()


def test_the_commands_of_the_page_on_operators_run(cli: Cli) -> None:
    pytest.importorskip("torch")
    commands = [line for block in blocks("operators.md", "sh") for line in block.splitlines()]
    assert len(commands) == 2
    listed, judged = (cli(*shlex.split(command.removeprefix("gradconform "))) for command in commands)
    assert len(listed.stdout.splitlines()) > 300
    assert judged.returncode == 0, judged.stdout + judged.stderr
    assert judged.stdout.splitlines()[-1].endswith("conforms 18")


def test_the_commands_of_the_page_on_sweeps_run(cli: Cli) -> None:
    pytest.importorskip("torch")
    *commands, report = [line for block in blocks("sweeps.md", "sh") for line in block.splitlines()]
    assert len(commands) == 2
    for command in commands:
        ended = cli(*shlex.split(command.removeprefix("gradconform ")))
        assert ended.returncode == 0, (command, ended.stdout, ended.stderr)
        assert ended.stdout.splitlines()[-1].startswith("asked ")
    ended = cli(*shlex.split(report.removeprefix("gradconform ")))
    assert "1 sweep, 7 files in sigmoid" in ended.stdout, ended.stderr


@pytest.mark.parametrize(
    ("page", "count"),
    [("index.md", 1), ("install.md", 1), ("gradcheck.md", 2), ("check_grads.md", 2), ("networks.md", 3),
     ("explain.md", 1), ("contract.md", 2)],
)  # fmt: skip
def test_the_examples_of_a_page_run(page: str, count: int) -> None:
    for name in ("torch", "jax"):
        pytest.importorskip(name)
    programs = blocks(page, "python")
    assert len(programs) == count
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile("\n".join(programs), page, "exec"), {"__name__": "example"})
    assert "crashed" not in printed.getvalue()
    if page == "networks.md":
        assert "dE/dW1" in printed.getvalue()
        assert "deviates" not in printed.getvalue()


def test_the_rule_of_the_tutorial_is_that_of_the_readme_which_is_run() -> None:
    readme = (SITE.parents[1] / "README.md").read_text(encoding="utf-8")
    assert blocks("function.md", "python")[0] in readme
    assert blocks("function.md", "text")[0] in readme


def test_every_command_of_the_pages_runs(cli: Cli) -> None:
    """Of run and report a part of the cases; the run that they make is compared with itself."""
    for name in ("torch", "jax", "jinja2"):
        pytest.importorskip(name)
    shown = "\n".join(text for page in ("report.md", "versions.md", "explain.md") for text in blocks(page, "sh"))
    commands = re.findall(r"^gradconform (.*?)(?:\s+#.*)?$", shown, re.MULTILINE)
    assert len(commands) == 5
    for command in commands:
        part = command.replace("document/scale-4/*", "document/scale-4/00*")
        arguments = shlex.split(part.replace("old.jsonl.zst new.jsonl.zst", "mine.jsonl.zst mine.jsonl.zst"))
        done = cli(*arguments)
        assert done.returncode == 0, (command, done.stdout, done.stderr)


def test_the_derivation_shown_is_what_explain_prints(cli: Cli) -> None:
    pytest.importorskip("torch")
    (shown,) = blocks("explain.md", "console")
    command, *lines = shown.splitlines()
    printed = cli(*shlex.split(command.removeprefix("$ gradconform "))).stdout.splitlines()
    expected = [line for line in lines if line != "…"]
    assert len(expected) == 10
    # The framework's own digits may differ from platform to platform; equations and truths may not.
    for line in expected:
        if "got" not in line and "own operands" not in line:
            assert line in printed
    assert sum("truth from its own operands" in line for line in expected) == 2


def test_the_adapter_shown_is_the_one_that_is_tested() -> None:
    template = SITE.parent / "template"
    assert ":pyobject: answer" in (SITE / "frameworks.md").read_text(encoding="utf-8")
    assert "def answer(" in (template / "duals.py").read_text(encoding="utf-8")
    (entry,) = blocks("frameworks.md", "toml")
    assert entry.strip() in (template / "pyproject.toml").read_text(encoding="utf-8")


def test_the_sessions_of_the_page_compare_two_versions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run as nox would run them, but that both versions are the one that is installed."""
    pytest.importorskip("torch")
    monkeypatch.chdir(tmp_path)
    source = "import torch\ndef loss(x): return x.tanh().sum()\ndef cases(): return [torch.tensor([0.5, -1.25])]\n"
    (tmp_path / "losses.py").write_text(source, encoding="utf-8")
    codes = []

    class Session:
        def install(self, *requirements: str) -> None:
            assert requirements[0].startswith("gradconform")

        def run(self, command: str, *arguments: str, success_codes: tuple[int, ...] = (0,)) -> None:
            done = subprocess.run([sys.executable, "-m", "gradconform", *arguments], check=False, capture_output=True)
            codes.append(done.returncode)
            assert done.returncode in success_codes, done.stderr

    nox = ModuleType("nox")
    nox.session = lambda f=None, **options: f or (lambda g: g)  # type: ignore[attr-defined]
    nox.parametrize = lambda name, values: lambda f: f  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "nox", nox)
    sessions: dict[str, Any] = {}
    exec(blocks("versions.md", "python")[0], sessions)
    for version in sessions["VERSIONS"]:
        sessions["gradients"](Session(), version)
    sessions["upgrade"](Session())
    assert codes == [0, 0, 0]


@pytest.mark.parametrize("page", ["docs/site/claim.md", "docs/site/generated.py", "reports/web/page.html.jinja"])
def test_wherever_vacuous_is_defined_so_is_what_the_allowance_is_measured_against(page: str) -> None:
    """Of an updated weight the step and not the weight, of a tensor 2-norms."""
    text = (SITE.parents[1] / page).read_text(encoding="utf-8")
    assert [word for word in ("vacuous", "updated weight", " step", "2-norm") if word not in text] == []


def test_the_claims_numbers_are_those_of_the_code() -> None:
    claim = " ".join((SITE / "claim.md").read_text(encoding="utf-8").split())
    for said in (
        f"begin at {truth.FIRST} bits",
        f"up to {judge.PRECISION_CAP:,}, until",
        f"decided in {judge.FIRST_PRECISION} bits or, where these do not, in more, up to {judge.PRECISION_CAP:,}",
        f"of {judge.FIRST_PRECISION} to {step_level.BALL_PRECISION} bits",
        f"fewer than $P + 3$ bits, {truth.DECIDED} are enough",
        f"From {size.FASTER} operations on",
        f"balls up to {size.AFFORDABLE:,} operations",
        f"the formula alone, up to {check_program_arrays.MOST} bits, up to {size.FORMULA_AFFORDABLE:,}",
        f"with up to {iterated.TIMES[-1]} times as many rounds",
        f"$|p - t| > {iterated.FURTHER}\\,(",
        f"to {truth.DECIDED} bits or more",
        f"ask for {array_truths.VANISHING} bits",
        f"to {truth.VANISHED} bits beside the tensor's largest",
        f"(arrays: {array_truths.CONTINUOUS} bits)",
        f"to {truth.INDISTINGUISHABLE} bits of its own",
        f"up to {size.IN_ARRAYS:,} operations",
        f"up to {array_answers.CONDITIONED // 10**6} million operations",
        f"with {allowance.MOST_WAYS} runs in the place of {outcomes.MOST_RUNS}",
        f"double words, {-round(math.log2(words.UNIT))} bits",
        f"to {midpoints.HOST_ULPS:.0f} ulp",
        f"${implicit.LAPACK_THRESHOLD}\\,n$ ulp",
        f"fewer than {judge.FEW_BITS} bits where another form keeps {judge.LOST_BITS} more",
        f"\\le {judge.ILL_CONDITIONED}\\,u",
    ):
        assert said in claim, said
    assert profiles.lenient(OPENCL).ulps["float32"]["exp"] == 2 * OPENCL.ulps["float32"]["exp"]
    assert "with twice the K of the profile, and of a measured K sixteen times more" in claim
    assert profiles.LENIENT == 16


@pytest.mark.parametrize(("texts", "name"), [("VERDICT", "lost"), ("QUESTION", "accuracy")])
def test_a_verdict_or_a_question_without_a_description_is_an_error(
    monkeypatch: pytest.MonkeyPatch, texts: str, name: str
) -> None:
    monkeypatch.syspath_prepend(str(SITE))
    import generated  # type: ignore[import-not-found, unused-ignore]

    monkeypatch.delitem(getattr(generated, texts), name)
    with pytest.raises(ValueError, match=name):
        generated.verdicts()


def test_an_answer_without_a_description_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(SITE))
    import generated  # type: ignore[import-not-found, unused-ignore]

    monkeypatch.delitem(generated.ANSWER["formula"], "kink")
    with pytest.raises(ValueError, match="kink"):
        generated.verdicts()


def test_a_column_without_a_description_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(SITE))
    import generated  # type: ignore[import-not-found, unused-ignore]

    monkeypatch.delitem(generated.COLUMN, "share")
    with pytest.raises(ValueError, match="share"):
        generated.columns()
