"""`gradconform explain`: a derivation with its numbers."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

import click

from gradconform.adapters import registry
from gradconform.conformance.cases.catalogue import WORKED, select
from gradconform.conformance.command_line.explain import FORMATS as FORMATS_OF_DERIVATIONS
from gradconform.conformance.command_line.explain import explain as explained
from gradconform.conformance.command_line.options import (
    CONFORMS,
    INCOMPLETE,
    adapter_names,
    case_ids,
    check_timeout,
    device_option,
    dtype_names,
    numbers,
    profile_option,
    refused,
    timeout_option,
)
from gradconform.conformance.command_line.styles import VERDICT_STYLE
from gradconform.conformance.command_line.terminal import console
from gradconform.conformance.run import runner, supervisor
from gradconform.reference.arithmetic.profiles import PROFILES
from gradconform.reference.cases import BadInput, Case, document_case, named_format, unknown
from gradconform.reference.measurement import PROGRAM, Measurement, is_program


@click.command(short_help="The derivation of CASE, with its numbers.")
@click.argument("case", required=False, shell_complete=case_ids)
@click.option("-a", "--adapter", default=None, metavar="ADAPTER[/ROUTE]", shell_complete=adapter_names,
              help="Whose values to show beside the truth.")  # fmt: skip
@click.option("-d", "--dtype", default="float64", show_default=True, shell_complete=dtype_names)
@click.option("--only", multiple=True, metavar="QUANTITY",
              help="Only equations of this name, such as dE_total/dw5 or 'dE*'. Repeat for more.")  # fmt: skip
@click.option("--weights", callback=numbers, metavar="NUMBERS", help="w1 … w8 of the document's network, 0.15,0.2,…")
@click.option("--inputs", callback=numbers, metavar="NUMBERS", help="Its i1 and i2, 0.05,0.1")
@click.option("--targets", callback=numbers, metavar="NUMBERS", help="Its t1 and t2, 0.01,0.99")
@click.option("--rate", type=float, default=None, help="Its learning rate.")
@click.option(
    "--from", "source", default=None, metavar="MODULE:OBJECT", help="Where CASE is, if it is one of your own."
)
@click.option("--format", "form", type=click.Choice(FORMATS_OF_DERIVATIONS), default="text", show_default=True,
              help="What to print: latex is for an article with amsmath and graphicx.")  # fmt: skip
@device_option
@profile_option
@click.option("--seed", default=0, show_default=True, help="Of the random cases.")
@timeout_option
@refused
def explain(
    case: str | None,
    adapter: str | None,
    dtype: str,
    only: tuple[str, ...],
    weights: tuple[float, ...] | None,
    inputs: tuple[float, ...] | None,
    targets: tuple[float, ...] | None,
    rate: float | None,
    source: str | None,
    form: str,
    device: str,
    profile: str,
    seed: int,
    timeout: float,
) -> NoReturn:
    """The derivation of CASE, equation by equation, with the truth.

    CASE is an id of the catalogue or module:object. Or give numbers for the
    document's network; those that you leave out are the worked example's.

    With an adapter: its value, its error in ulps and its share of the
    allowance, each equation judged on the operands that the framework
    reported, with the truth from those (where it reports none, from the
    case's inputs), and the answers to the three questions: formula, execution
    and accuracy. The adapter runs in a worker process, as under `run`.

    Exit status: 0 explained, 2 bad input, 3 the adapter gave no answer to
    judge: it crashed, or the case is unsupported.
    """
    check_timeout(timeout)
    registry.keep_working_folder((case or "", adapter or "", source or ""))
    numbers = {"weights": weights, "inputs": inputs, "targets": targets, "rate": rate}
    found = _explained_case(case, {k: v for k, v in numbers.items() if v is not None}, source, seed)
    if profile not in PROFILES:
        raise unknown("profile", profile, PROFILES)
    chosen = registry.choose(adapter)[0] if adapter else None
    if chosen:
        runner.check_device([chosen], device)
    title = f"{found.id} in {named_format(dtype).name}" + (f", {chosen.spec}" if chosen else "")
    explained(found, dtype, (), device, only)  # what was asked is refused before anything runs
    measurements: Sequence[Measurement] = ()
    if chosen:
        globs = [s for s in (source, case) if s is not None]
        (task,) = runner.plan([chosen], [found], (named_format(dtype).name,), device, profile, seed, globs, timeout)
        (outcome,) = supervisor.outcomes([task], 1)
        measurements = outcome.measurements
    explanation = explained(found, dtype, measurements, device, only, title, form)
    if form != "text":
        console.print(str(explanation), markup=False, highlight=False, soft_wrap=True, end="")
        sys.exit(INCOMPLETE if explanation.problem else CONFORMS)
    for kind, text in explanation.told():
        console.say(text, _KIND_STYLE.get(kind, "yellow"), indent="      ")
    sys.exit(INCOMPLETE if explanation.problem else CONFORMS)


def _explained_case(case: str | None, numbers: Mapping[str, Any], source: str | None, seed: int) -> Case:
    """The one case that was asked for, by id, as module:object or by numbers."""
    if numbers:
        if case is not None:
            raise BadInput(f"{case!r} and numbers were both given; numbers make a case of their own: leave one out")
        return document_case("numbers/given", **{**WORKED, **numbers})
    if case is None:
        raise BadInput(
            "no case was given; expected an id, such as document/worked-example (see `gradconform list cases`), "
            "module:object, or --weights, --inputs, --targets, --rate"
        )
    if is_program(case):
        function = case.removeprefix(PROGRAM).rpartition("/")[0]
        raise BadInput(
            f"{case!r} is a function that was verified, and has no derivation; its operations: gradconform verify "
            f"{function} --explain"
        )
    if source is not None:
        cases = {c.id: c for c in select((source,), seed)}
        if case not in cases:
            raise unknown(f"case of {source}", case, cases)
        return cases[case]
    found = select((case,), seed)
    if len(found) > 1:
        own = f", as in: gradconform explain {found[0].id} --from {case}" if ":" in case else ""
        raise BadInput(f"{case!r} matches {len(found)} cases; give one id, such as {found[0].id!r}{own}")
    return found[0]


#: Of the lines of an explanation.
_KIND_STYLE: dict[str, str | None] = {
    "title": "bold", "group": "bold", "given": None, "equation": None, "numbers": None, "truth": "cyan",
    "problem": "red", **VERDICT_STYLE,
}  # fmt: skip
