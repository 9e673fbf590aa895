"""`verify_update`: does this optimizer do to the weights, and to its state, what its rule says?"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from gradconform.conformance.advice import of_update
from gradconform.conformance.answered import WORST, Answered, routes_named, words
from gradconform.conformance.programs.frameworks import framework_of, leaves
from gradconform.conformance.run.run_file import RunWriter
from gradconform.conformance.updates import update_rows
from gradconform.conformance.updates.judging import Finding, Judging, Ran
from gradconform.conformance.verify import ACCEPTED
from gradconform.reference.arithmetic.profiles import PROFILES
from gradconform.reference.arithmetic.profiles import profile as profile_of
from gradconform.reference.cases import BadInput, Dtype, named_format, said, unknown
from gradconform.reference.judge import Judgement, noted

if TYPE_CHECKING:
    import pandas as pd

#: The modules that know a framework's optimizers.
ADAPTERS = {"torch": "gradconform.adapters.updates_torch", "jax": "gradconform.adapters.updates_optax"}


def of_no_rule(judgement: Judgement) -> bool:
    """Whether it says no more than that a step is its own operations, rounded: any rule's are."""
    return judgement.formula == "unknown" and judgement.execution == "within"


@dataclass(frozen=True, repr=False)
class UpdateReport(Answered):
    """What `verify_update` found: true where the weights and the state of every update conform to a rule.

    `formula`, `execution` and `accuracy` are the worst answers to the three questions, `verdict` what they come to.
    `culprits` name the equations that deviate, each where it does so first. `findings` has one entry for each quantity
    of each tensor in each update.
    """

    name: str
    rule: str
    findings: tuple[Finding, ...]
    notes: tuple[str, ...]
    accept: tuple[str, ...]
    #: What ran it, a digest of the weights' shapes by which a run file knows this run again, and the profile's name.
    ran: Ran
    digest: str
    profile: str

    def judgements(self) -> Iterator[Judgement]:
        return (f.judgement for f in self.findings)

    def __bool__(self) -> bool:
        return self.passes(self.accept) and not any(of_no_rule(j) for j in self.judgements())

    @cached_property
    def culprits(self) -> tuple[str, ...]:
        first: dict[str, Finding] = {}
        for f in self.findings:
            if f.judgement.verdict == "deviates":
                first.setdefault(f.quantity, f)
        return tuple(f"{f.equation} ({f.tensor}, update {f.update})" for f in first.values())

    @cached_property
    def table(self) -> pd.DataFrame:
        """One row for each quantity of each tensor in each update."""
        import pandas as pd

        return pd.DataFrame([_row(f) for f in self.findings])

    def explain(self) -> str:
        """The rule in words with the numbers of the last update, and what was found of each equation."""
        last = max(f.update for f in self.findings)
        return "\n".join([str(self).splitlines()[0], *(str(f) for f in self.findings if f.update == last)])

    def save(self, path: str | Path) -> None:
        """Write a run file, for `gradconform report` and `diff`.

        Raises BadInput where the file exists or cannot be made.
        """
        with RunWriter(Path(path), update_rows.header([self.ran], self.profile)) as writer:
            writer.write(update_rows.rows(self))
            writer.finish()

    def __repr__(self) -> str:
        return str(self)

    def __str__(self) -> str:
        head = f"{self.name}: {self.verdict} · formula {self.formula} · execution {self.execution}"
        head += f" · accuracy {self.accuracy}" if self.accuracy else ""
        updates = max(f.update for f in self.findings)
        lines = [head, f"  rule: {self.rule}, {updates} update{'s' if updates > 1 else ''}"]
        lines += ["  " + str(f).replace("\n", "\n  ") for f in self._worst() if f.judgement.verdict != "conforms"]
        lines += [f"  note: {n}" for n in self.notes]
        return "\n".join(lines)

    def _worst(self) -> list[Finding]:
        """Of each quantity of a tensor by each route the worst, and of equals the first."""
        worst: dict[tuple[str, str, str], Finding] = {}
        for f in self.findings:
            key = f.tensor, f.quantity, f.route
            known = worst.get(key)
            if known is None or WORST.index(f.judgement.verdict) < WORST.index(known.judgement.verdict):
                worst[key] = f
        return list(worst.values())


@of_update
def verify_update(
    make: Any,
    weights: Any,
    gradients: Sequence[Any],
    *,
    dtype: Dtype | None = None,
    rule: Any = None,
    routes: str | Sequence[str] | None = None,
    master: str = "",
    state: Mapping[str, str] = MappingProxyType({}),
    accept: str | Iterable[str] = (),
    profile: str = "opencl",
) -> UpdateReport:
    """Verify what an optimizer does to weights, and to its state, given the gradients: one update for each of these.

    `make(parameters)` gives a `torch.optim.Optimizer` of a list of parameters; or `make` is an optax transformation, or
    a function without arguments that gives one. `weights` is a tensor or array, a tree of them or a `torch.nn.Module`;
    each of the `gradients` is like them. `dtype` casts the weights first.

    What stands beside an optimizer is asked for in the same way: `make` may be `partial` of `clip_grad_norm_` or
    `clip_grad_value_`; it may give an `AveragedModel`, or with the optimizer, as a tuple, a `GradScaler` (the gradients
    are then those of the scaled loss), an `LRScheduler`, or both; or be `partial(optax.incremental_update,
    step_size=…)`. An average is of the weights that stand in the place of gradients.

    Of the frameworks' own optimizers the rule is that of the paper, with the settings of the optimizer. For one of your
    own, `rule` is what it should be: it makes the framework's optimizer with the same state (`rule=torch.optim.AdamW`),
    and what settings yours has by the same names are yours. Of PyTorch it may be "lion" or "lamb", which have no
    optimizer there: the settings are `lr`, `betas`, `eps` and `weight_decay`, the state `exp_avg` and `exp_avg_sq`.
    Where your state has other names, `state` gives them: `{"exp_avg": "m"}`. Without a rule the formula is unknown, and
    the report is not true.

    `routes` are the ways to run it: of PyTorch's own optimizers "single", "foreach", "fused" or "capturable", by
    default the one that it was made for; of optax "eager" (the default) and "jit". `master` is the name of the state
    that holds master weights, if there are any: the rule is then theirs, and the weights are these, rounded.

    Every equation of the rule is judged on what the framework itself had before the update and has after it, so that a
    fault is named where it happens. Raises BadInput for what cannot be run, and for a state that does not fit.

    >>> import gradconform as gc
    >>> import torch
    >>> w, g = torch.tensor([0.5, -1.25]), torch.tensor([0.25, -0.75])
    >>> report = gc.verify_update(lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9), w, [g, g])
    >>> bool(report), report.rule
    (True, 'sgd')
    """
    accepted = words(accept, ACCEPTED)
    if profile not in PROFILES:
        raise unknown("profile", profile, PROFILES)
    if isinstance(gradients, str | Mapping) or not hasattr(gradients, "__len__") or not len(gradients):
        raise BadInput("gradients: expected a list with one gradient, like the weights, for each update")
    if hasattr(gradients, "shape") and tuple(gradients.shape) == getattr(weights, "shape", None):
        raise BadInput("gradients is one gradient; expected a list, with one for each update: [g]")
    for number, of in enumerate(gradients):
        if isinstance(of, Mapping) and isinstance(weights, Mapping) and set(of) != set(weights):
            raise BadInput(f"gradients[{number}] is of {', '.join(map(str, of))}; the weights are of "
                           + ", ".join(map(str, weights)))  # fmt: skip
    for what, given in (("make", make), ("rule", rule)):
        named = what == "rule" and isinstance(given, str)
        if given is not None and not (callable(given) or hasattr(given, "update") or named):
            raise BadInput(
                f"{what} is a {type(given).__name__}; expected what makes an optimizer of parameters, such as "
                "lambda p: torch.optim.SGD(p, lr=0.1), or an optax transformation"
            )
    if not isinstance(state, Mapping) or not all(isinstance(x, str) for pair in state.items() for x in pair):
        raise BadInput(f"state is {state!r}; expected your names for those of the rule, such as "
                       "{'exp_avg': 'm'}")  # fmt: skip
    if state and rule is None:
        raise BadInput("state names parts of a rule's state: say with rule= which rule")
    framework = _framework_of(make, weights)
    adapter = adapter_of(framework)
    constants = profile_of(profile, framework)
    cast = None if dtype is None else named_format(dtype).name
    ran = Ran(adapter.ADAPTER, adapter.versions(), _device_of(weights))
    judged = Judging(constants, ran, master)
    for route in routes_named(routes, ""):
        for change in adapter.changes(make, weights, gradients, cast, rule, route, named=state):
            judged.add(change)
    if not judged.findings:
        raise BadInput("gradients: there is none for any weight; expected one or more")
    name, notes = getattr(make, "__name__", type(make).__name__), tuple(dict.fromkeys(judged.notes))
    digest = update_rows.digest_of(weights)
    return UpdateReport(name, judged.rule, tuple(judged.findings), notes, accepted, ran, digest, profile)


def adapter_of(framework: str) -> Any:
    """The module that knows the optimizers of a framework, one of ADAPTERS."""
    return import_module(ADAPTERS[framework])


def framework_of_maker(make: Any) -> str:
    """The framework of what makes an optimizer: optax' transformations need no parameters to be made."""
    if hasattr(make, "init") and hasattr(make, "update"):
        return "jax"
    if not callable(make):
        raise BadInput(f"optimizer is a {type(make).__name__}; expected a function that makes one, or a transformation")
    if any(c.__module__.split(".")[0] == "torch" for c in getattr(make, "__mro__", ())):
        return "torch"
    try:
        given = inspect.signature(make).parameters.values()
    except (TypeError, ValueError) as error:
        raise BadInput(f"optimizer: {said(error)}; expected a function that makes one, or a transformation") from error
    return "torch" if any(p.default is p.empty and p.kind < p.VAR_POSITIONAL for p in given) else "jax"


def _device_of(weights: Any) -> str:
    """Where the weights are: "cpu" or another."""
    for x in update_rows.arrays(weights):
        device = getattr(x, "device", "cpu")
        return str(getattr(device, "platform", None) or getattr(device, "type", device))
    return "cpu"


def _framework_of(make: Any, weights: Any) -> str:
    if isinstance(weights, Iterator):
        raise BadInput(f"weights is a {type(weights).__name__}; expected a tensor, a list or a module: give list(…)")
    framework = framework_of(weights, list(leaves(weights)), "weights")
    transforms = hasattr(make, "init") and hasattr(make, "update")
    if transforms and framework == "torch":
        raise BadInput("make is an optax transformation, and the weights are PyTorch's; give jnp.asarray(…)")
    return framework


def _row(f: Finding) -> dict[str, Any]:
    j = f.judgement
    return {
        "tensor": f.tensor, "update": f.update, "quantity": f.quantity, "route": f.route, "dtype": f.dtype,
        "verdict": j.verdict,
        "formula": j.formula, "execution": j.execution, "accuracy": j.accuracy, "value": j.value, "truth": j.truth,
        "max_ulp": j.max_ulp, "share": j.share, "certified_bits": j.certified_bits, "accepted_form": j.accepted_form,
        "worst_index": f.index, "reason": noted(j.reason, f.components),
    }  # fmt: skip
