"""What people mean by a call that is wrong: by an option that is not there, and by a function that does not take what
it was given."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from types import MappingProxyType
from typing import Any, ParamSpec, TypeVar

from gradconform.conformance.answered import Answered
from gradconform.reference.cases import BadInput

P = ParamSpec("P")
R = TypeVar("R")

_TOLERANCE = "there is no tolerance to choose, the allowance is computed: leave it out"
_ALWAYS = "it is always so: leave it out"
#: What stands in the place of the options of `torch.autograd.gradcheck` and `jax.test_util.check_grads`.
OF_VERIFY: Mapping[str, str] = {
    **dict.fromkeys(("eps", "atol", "rtol", "tol", "tolerance", "nondet_tol"), _TOLERANCE),
    **dict.fromkeys(("check_undefined_grad", "check_grad_dtypes", "masked"), _ALWAYS),
    **dict.fromkeys(("args", "inputs", "primals", "tupled_inputs"), "arguments stand after f: gc.verify(f, x, w)"),
    "raise_exception": "a report is true or false: assert gc.verify(f, x)",
    "check_forward_ad": "give mode='both'",
    "check_backward_ad": "give mode='forward'",
    "modes": "give mode='forward', 'reverse' or 'both'",
    "check_batched_grad": "give batched=True",
    "fast_mode": "there is one mode: leave it out",
}
_OF_F = "what f itself takes by name is given with it: functools.partial(f, {}=…)"
_OF_MAKER = "an optimizer's own settings are given where it is made: lambda p: torch.optim.SGD(p, {}=…)"


def advised(
    instead: Mapping[str, str] = MappingProxyType({}), otherwise: str = ""
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """A public function that says what to do of an option that it does not have, and of an argument that is missing.

    `instead` is what to do in the place of an option of that name, `otherwise` of any other.
    """

    def decorated(function: Callable[P, R]) -> Callable[P, R]:
        signature = inspect.signature(function)
        named = [p.name for p in signature.parameters.values() if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
        name = getattr(function, "__name__", "")

        @wraps(function)
        def told(*args: P.args, **options: P.kwargs) -> R:
            for odd in (o for o in options if o not in named):
                near = difflib.get_close_matches(odd, named, 1, cutoff=0.75)
                meant = instead.get(odd) or (f"did you mean {near[0]!r}?" if near else otherwise.format(odd))
                raise BadInput(f"{name} has no option {odd!r}; {meant or 'it has ' + ', '.join(named)}")
            try:
                signature.bind(*args, **options)
            except TypeError as error:
                report = any(isinstance(x, Answered) for x in args)
                own = "; a report is asserted itself: assert report" if report else ""
                raise BadInput(f"{name}: {error}; expected {name}({_short(signature)}){own}") from error
            return function(*args, **options)

        return told

    return decorated


of_verify = advised(OF_VERIFY, _OF_F)
of_update = advised(otherwise=_OF_MAKER)


def _short(signature: inspect.Signature) -> str:
    """The parameters that have to be given."""
    given = [f"*{p.name}" if p.kind == p.VAR_POSITIONAL else p.name for p in signature.parameters.values()
             if p.default is p.empty]  # fmt: skip
    return ", ".join([*given, *(["…"] if len(given) < len(signature.parameters) else [])])


#: A part of what a framework says, and what to do about it, by the framework.
_SAID: Mapping[str, tuple[tuple[str, str], ...]] = {
    "torch": (
        ("Can't call numpy()", "NumPy has no gradients: compute with PyTorch's functions, and do not detach"),
        ("being used in an in-place operation", "f changes its argument: give lambda x: f(x.clone())"),
        ("cannot have requires_grad True", "name with wrt= the arguments that a gradient is asked for"),
        (
            "can't be used with Jitted modules",
            "give the module that it was made of, or a function: lambda x: module(x)",
        ),
        ("not implemented for 'Long'", "are the arguments in the order that f takes them?"),
        ("abstract array", "f is of JAX and its arguments are PyTorch's: give jnp.asarray(…)"),
    ),
    "jax": (
        ("must be Tensor", "f is of PyTorch and its arguments are JAX': give torch.tensor(…)"),
        ("__array__()", "NumPy has no gradients: compute with jax.numpy"),
        (
            "Array has been deleted",
            "f donates its arguments, which is run several times: give it without donate_argnums, f.__wrapped__",
        ),
    ),
}


def raised(error: BadInput, f: Any, args: Sequence[Any], framework: str) -> BadInput:
    """The same error, with what to do where that is known: f raised it, or could not be traced."""
    hint = _hint(str(error), f, args, framework)
    return BadInput(f"{str(error).rstrip('.')}; {hint}") if hint else error


def _hint(message: str, f: Any, args: Sequence[Any], framework: str) -> str:
    rule = _rule_of(f)
    if " raised " in message and rule:
        return f"of a custom rule give its apply: {rule}.apply"
    for text, what in _SAID[framework]:
        if text in message:
            return what
    if " raised TypeError" in message and len(args) == 1 and isinstance(args[0], list | tuple):
        kind = type(args[0]).__name__
        return f"f was given one {kind} of {len(args[0])}: give its parts one by one, gc.verify(f, *inputs)"
    return ""


def _rule_of(f: Any) -> str:
    """The class of a `torch.autograd.Function` of which f is an instance, or `forward` or `backward`; or nothing."""
    owners = [c.__name__ for c in type(f).__mro__ if c.__module__ == "torch.autograd.function"]
    if "Function" in owners:
        return type(f).__name__
    owner, _, name = getattr(f, "__qualname__", "").rpartition(".")
    parameters = getattr(getattr(f, "__code__", None), "co_varnames", ())
    is_rule = name in ("forward", "backward") and parameters[:1] == ("ctx",)
    return owner.rpartition(".")[2] if is_rule else ""
