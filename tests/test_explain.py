"""explain, on the command line and in Python: numbers in the equations, chosen quantities, numbers of one's own."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from tests_support import compiled, pdflatex

import gradconform as gc
from gradconform.conformance.cases.catalogue import catalogue
from gradconform.conformance.command_line.commands import main
from gradconform.reference.arithmetic import latex
from gradconform.reference.arithmetic.formats import FORMATS

WORKED = "document/worked-example"


def explained(*arguments: str) -> Result:
    return CliRunner(env={"COLUMNS": None}).invoke(main, ["explain", *arguments])


def network(inputs: int = 2) -> gc.Case:
    weights = np.full((2, inputs), 0.25)
    return gc.network_case(
        "mine/small", layers=[(weights, np.array([0.0, -0.5]), "tanh"), (np.array([[0.4, 0.45]]), None, "identity")],
        loss="half_squared_error", inputs=np.full((1, inputs), 0.5), targets=np.array([[0.5]]), rate=0.1,
    )  # fmt: skip


def test_the_numbers_stand_in_the_equations_as_people_gave_them() -> None:
    lines = explained(WORKED).stdout.splitlines()
    assert lines[1].startswith("w1 = 0.15, w2 = 0.2, w3 = 0.25")
    at = lines.index("h1 = w1·i1 + w2·i2")
    assert lines[at + 1] == "    = 0.15·0.05 + 0.2·0.1 = 0.0275"
    assert "    = ½·(0.01 − 0.606477732)² = 0.177892843" in lines
    assert not any(line.endswith("0.596477732 = 0.596477732") for line in lines)


@pytest.mark.parametrize("dtype", FORMATS)
def test_a_given_number_is_the_shortest_decimal_that_is_it(dtype: str) -> None:
    of = FORMATS[dtype]
    for value in (0.15, -2.0, 1e-5, 3.0, 0.1, 1024.0):
        rounded = float(of.round(value))
        (short,) = of.shortest(rounded)
        assert float(of.round(float(short))) == rounded
        assert float(short) == value
        assert len(short) <= len(repr(rounded))


def test_a_negative_number_stands_in_brackets() -> None:
    assert "    = 0.15·1 + 0.2·(−2) = −0.25" in explained("--inputs", "1 -2", "--only", "h1").stdout


def test_a_small_tensor_is_shown_whole_and_a_large_one_by_its_shape() -> None:
    small, large = str(gc.explain(network())), str(gc.explain(network(9)))
    assert "X = [[0.5 0.5]], W1 = [[0.25 0.25] [0.25 0.25]], b1 = [0 -0.5]" in small
    assert "    = [[0.5 0.5]]·[[0.25 0.25] [0.25 0.25]]ᵀ + [0 -0.5] = [[0.25 -0.25]]" in small
    assert "W1 = 2 × 9" in large
    assert "z1 = X·W1ᵀ + b1\n    truth [[1.125 0.625]]" in large


def test_only_takes_names_symbols_and_globs_and_refuses_what_there_is_not() -> None:
    names = [line.symbol for line in gc.explain(WORKED, only=["dE_total/dw5", "∂E_total/∂w6", "w?_new"]).lines]
    assert names == ["∂E_total/∂w5", "∂E_total/∂w6", *(f"w{i}_new" for i in range(1, 9))]
    refused = explained(WORKED, "--only", "dE/dw5")
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert "unknown quantity 'dE/dw5'; did you mean" in refused.stderr


def test_numbers_on_the_command_line_make_a_case_and_the_others_are_the_worked_examples() -> None:
    given = explained("--weights", "1,2,3,4,5,6,7,8", "--rate", "0.25")
    assert given.exit_code == 0
    assert "w8 = 8, i1 = 0.05, i2 = 0.1, t1 = 0.01, t2 = 0.99, η = 0.25" in given.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--weights", "1,2"], "weights"),
        (["--inputs", "a,b"], "'a,b' are no numbers; expected such as 0.15,0.2"),
        ([WORKED, "--inputs", "1,2"], "numbers make a case of their own: leave one out"),
        ([], "no case was given; expected an id, such as document/worked-example"),
        (["--rate", "nan"], "rate"),
        (["nothing", "--from", "mine:cases"], "importing mine failed"),
    ],
)
def test_numbers_that_make_no_case_are_refused(arguments: list[str], message: str) -> None:
    refused = explained(*arguments)
    assert refused.exit_code == 2
    assert message in refused.stderr


def test_one_of_several_cases_of_a_module_is_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "several_cases.py").write_text(
        "import gradconform as gc\n"
        "numbers = dict(inputs=(1, 1), targets=(0, 1), rate=1)\n"
        "some = [gc.document_case(f'mine/{n}', weights=[n] * 8, **numbers) for n in (1, 2)]",
        encoding="utf-8",
    )
    monkeypatch.chdir(tmp_path)
    assert explained("mine/2", "--from", "several_cases:some").stdout.startswith("mine/2 in float64\nw1 = 2, w2 = 2")
    several = explained("several_cases:some").stderr
    assert "as in: gradconform explain mine/1 --from several_cases:some" in several
    assert "unknown case of several_cases:some 'mine/3'" in explained("mine/3", "--from", "several_cases:some").stderr


def test_an_explanation_in_python_has_what_an_adapter_made_of_each_equation() -> None:
    found = gc.explain(WORKED, "numpy/complex-step", dtype="float32", only="dE_total/dw1")
    (line,) = found.lines
    assert line.measured is not None
    assert line.measured.verdict == "conforms"
    assert "got   0.0001882554" in str(found)
    assert repr(found) == str(found)
    assert found.title == f"{WORKED} in float32, numpy/complex-step"
    html = found._repr_html_()
    assert "<td style='text-align:left'>conforms</td>" in html
    assert html.count("<tr>") == 2


def test_an_explanation_says_why_an_adapter_gave_no_answer() -> None:
    found = gc.explain(WORKED, "numpy/central", dtype="bfloat16")
    assert found.problem is not None
    assert found.problem.startswith("unsupported: dtype: numpy/central runs in float64")
    assert found.problem in str(found)


# LaTeX and Markdown ---------------------------------------------------------------------------------------------------


def wide_network(activation: str, loss: str) -> gc.Case:
    random = np.random.default_rng(0)
    return gc.network_case(
        "mine/wide", layers=[(random.normal(size=(3, 3)), np.array([0.0, -0.5, 1e-5]), activation),
                             (random.normal(size=(2, 3)), None, "identity")],
        loss=loss, inputs=random.normal(size=(2, 3)), targets=np.array([[0.5, 0.25], [1e-7, 1.0]]), rate=0.1,
    )  # fmt: skip


@pdflatex
def test_a_derivation_in_latex_compiles_and_is_no_wider_than_the_text(tmp_path: Path) -> None:
    cases = [wide_network("gelu", "half_squared_error"), wide_network("relu", "huber"), network(9)]
    explanations = [gc.explain(c, format="latex") for c in cases]
    explanations.append(gc.explain(WORKED, "numpy", dtype="float32", format="latex"))
    (tmp_path / "all.txt").write_text("\n".join(map(str, explanations)), encoding="ascii")
    assert "Overfull" not in compiled(tmp_path, r"\input{all.txt}")
    unfitted = str(explanations[0]).replace(r"\fitted{", "{")
    (tmp_path / "all.txt").write_text(unfitted, encoding="ascii")
    assert "Overfull" in compiled(tmp_path, r"\input{all.txt}"), "so it would be said"


def test_every_derivation_of_the_catalogue_has_latex_whose_brackets_match() -> None:
    found = {case.equations.name: case.equations for case in catalogue(0).values()}
    assert len(found) > 10
    for derivation in found.values():
        for equation in derivation.equations:
            text = f"{latex.symbol(equation.name)} = {latex.formula(equation)}"
            assert text.isascii(), text
            assert text.count("{") == text.count("}"), text
            assert text.count(r"\left") == text.count(r"\right"), text
            assert (text.count("("), text.count(r"\begin")) == (text.count(")"), text.count(r"\end")), text


def test_the_numbers_stand_in_latex_as_in_text() -> None:
    lines = explained(WORKED, "--format", "latex").stdout.splitlines()
    at = lines.index(r"h_{1} &= w_{1} \cdot i_{1} + w_{2} \cdot i_{2} \\")
    assert lines[at + 1 : at + 3] == [r" &= 0.15 \cdot 0.05 + 0.2 \cdot 0.1 \\", r" &= 0.0275 \\[5pt]"]
    assert r" &\approx 0.506874567 \\[5pt]" in lines, "a result that was rounded"
    assert r"&= w_{1} - \eta \cdot \frac{\partial E_{\mathrm{total}}}{\partial w_{1}}" in "\n".join(lines)
    case = gc.document_case("mine/n", weights=[0.15, -2e-5] * 4, inputs=(1, 1), targets=(0, 1), rate=0.5)
    negative = str(gc.explain(case, format="markdown"))
    assert r"&= 0.15 \cdot 1 + (-2{\cdot}10^{-5}) \cdot 1" in negative


def test_markdown_has_a_formula_for_each_equation_and_what_an_adapter_gave() -> None:
    text = str(gc.explain(WORKED, "numpy", dtype="float32", only=["h1", "dE_total/dw5"], format="markdown"))
    assert text.startswith("### document/worked-example in float32, numpy/")
    assert text.count("$$\n\\begin{aligned}") == text.count("\\end{aligned}\n$$") == 2
    assert re.search(r"\\text\{numpy/\S+: \} 0\.0721\d+\\text\{, \S+ ulp, conforms\}", text)


def test_a_format_that_there_is_not_is_refused() -> None:
    with pytest.raises(gc.BadInput, match="unknown format 'html'; known: latex, markdown, text"):
        gc.explain(WORKED, format="html")  # type: ignore[arg-type]
