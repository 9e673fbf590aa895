"""Cases and points: a derivation with concrete values, and the same values rounded to a dtype.

The constructors here check what they are given and raise `BadInput`, whose message says what was got, what was expected
and what to do.
"""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Protocol, cast, get_args

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from gradconform.reference.arithmetic.exact import decimal_constant as decimal_constant
from gradconform.reference.arithmetic.exact import ratio as ratio
from gradconform.reference.arithmetic.formats import FORMATS, Format
from gradconform.reference.arithmetic.text import visible
from gradconform.reference.derivations.activations import ACTIVATIONS
from gradconform.reference.derivations.losses import LOSSES, REDUCTIONS
from gradconform.reference.derivations.network import DECAY, L2, Architecture, Decay, MeanOver, network, usual_mean
from gradconform.reference.document import NETWORK
from gradconform.reference.equations import Derivation
from gradconform.reference.equations import Form as Form

#: What an adapter may do with each forward quantity as it is computed: record it, or add a zero to differentiate by.
Tap = Callable[[str, Any], Any]

#: A number, or a read-only float64 array.
Value = float | NDArray[np.float64]


@dataclass(frozen=True)
class Extended:
    """What names a derivation some of whose equations have other accepted forms, given by the equations' names."""

    base: str | Architecture
    forms: tuple[tuple[str, tuple[Form, ...]], ...]


#: What names a derivation: "document", or the architecture of a layered network; or one of them, extended.
Key = str | Architecture | Extended


def derivation(key: Key) -> Derivation:
    """The derivation that a case names."""
    if isinstance(key, Extended):
        return _extended(key)
    return network(key) if isinstance(key, Architecture) else NETWORK


@lru_cache(maxsize=64)
def _extended(key: Extended) -> Derivation:
    of, forms = derivation(key.base), dict(key.forms)
    return replace(of, equations=tuple(replace(e, forms=forms.get(e.name, e.forms)) for e in of.equations))


class BadInput(ValueError):
    """Input that cannot be judged; the message is meant for the person who gave it.

    It may quote what somebody else wrote: control characters are spelled out in it.

    >>> import gradconform as gc
    >>> gc.check("numpy", "document/worked-exampel")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    gradconform.reference.cases.BadInput: unknown case 'document/worked-exampel'; did you mean ...
    """

    def __init__(self, message: str) -> None:
        super().__init__(visible(message))


def said(error: BaseException) -> str:
    """The first line of what an exception says, cut after 200 characters; its text is somebody else's and may raise."""
    try:
        text = str(error).strip()
    except Exception as second:
        return f"no message: its text raised {type(second).__name__}"
    first = text.splitlines()[0] if text else "no message"
    return first if len(first) <= 200 else f"{first[:200]}…"


@dataclass(frozen=True, eq=False)
class Case:
    """A derivation with a float64 value, or array of them, for every name it is given; picklable.

    `document_case` and `network_case` make one, the catalogue has those that `gradconform.cases()` lists.

    >>> case = network_case("mine/line", layers=[([[2.0]], None, "tanh")], inputs=[[1.0]], targets=[[0.5]], rate=0.25)
    >>> case.id, [name for name, _ in case.values]
    ('mine/line', ['X', 'W1', 'T', 'eta'])
    """

    id: str
    derivation: Key
    values: tuple[tuple[str, Any], ...]

    @property
    def equations(self) -> Derivation:
        return derivation(self.derivation)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Case):
            return NotImplemented
        same = (self.id, self.derivation, len(self.values)) == (other.id, other.derivation, len(other.values))
        pairs = zip(self.values, other.values, strict=True) if same else ()
        return same and all(n == m and np.array_equal(v, w) for (n, v), (m, w) in pairs)

    def __hash__(self) -> int:
        return hash((self.id, self.derivation))


@dataclass(frozen=True)
class Point:
    """What an adapter sees of a case at a dtype: exactly representable values, and the forward pass.

    `values` maps each input and parameter to a float64 number that the dtype holds exactly, or a read-only array of
    them, and the λ that the case asks for, if any, by the name "l2" or "weight_decay"; `rate` is the learning rate.
    `forward(ops, values)` evaluates the forward equations over the framework's own tensors and named operations (see
    `operations`), and returns every quantity by name, `loss` among them.
    `intermediates` are the quantities whose adjoints are judged if the trace reports them, as `adjoints[name]` =
    ∂loss/∂name. `architecture` is that of a layered network, None for the document's.

    >>> case = network_case("mine/line", layers=[([[2.0]], None, "tanh")], inputs=[[1.0]], targets=[[0.5]], rate=0.25)
    >>> at = point(case, "float32")
    >>> at.parameters, at.intermediates, at.loss, at.operations
    (('W1',), ('z1', 'a1'), 'E', ('linear', 'tanh', 'half_squared_error'))
    >>> at.shapes
    {'z1': (1, 1), 'a1': (1, 1), 'E': ()}
    """

    case: str
    derivation: Key
    dtype: str
    device: str
    values: Mapping[str, Any]
    parameters: tuple[str, ...]
    rate: float
    loss: str
    intermediates: tuple[str, ...]

    @property
    def architecture(self) -> Architecture | None:
        key = self.derivation.base if isinstance(self.derivation, Extended) else self.derivation
        return key if isinstance(key, Architecture) else None

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of every forward quantity; () for a number."""
        return {e.name: e.shape for e in derivation(self.derivation).group("forward")}

    @property
    def operations(self) -> tuple[str, ...]:
        """The named operations that `forward` asks of `ops`.

        For the document `sigmoid(x)`. For a network `linear(x, W, b)` (b may be None), the activations by name, each of
        the pre-activations (batch, out), and the loss by name, of outputs, targets and reduction ("sum" or "mean");
        where the case asks for a penalty `l2_penalty(weights, l2)`, ½·l2·Σ‖W‖² over a sequence of weights.
        """
        if self.architecture is None:
            return ("sigmoid",)
        activations = dict.fromkeys(a for a in self.architecture.activations if a != "identity")
        penalty = ("l2_penalty",) if self.architecture.l2 else ()
        return ("linear", *activations, self.architecture.loss, *penalty)

    def forward(self, ops: Any, values: Mapping[str, Any], tap: Tap | None = None) -> dict[str, Any]:
        """Every given and forward quantity by name; `tap(name, value)` may replace each one as it is computed.

        Raises Unsupported if `ops` lacks one of `operations`.
        """
        missing = [name for name in self.operations if not hasattr(ops, name)]
        if missing:
            raise Unsupported(f"operation: the adapter has no {missing[0]}")
        keep: Tap = tap or (lambda _, value: value)
        computed = dict(values)
        architecture = self.architecture
        if architecture is None:
            for equation in derivation(self.derivation).group("forward"):
                value = equation.forms[0].formula(ops, *[computed[o] for o in equation.operands])
                computed[equation.name] = keep(equation.name, value)
            return computed
        a = computed["X"]
        for layer, activation in enumerate(architecture.activations, 1):
            z = keep(f"z{layer}", ops.linear(a, computed[f"W{layer}"], computed.get(f"b{layer}")))
            a = keep(f"a{layer}", z if activation == "identity" else getattr(ops, activation)(z))
            computed[f"z{layer}"], computed[f"a{layer}"] = z, a
        loss = getattr(ops, architecture.loss)
        if architecture.mean_over is None:
            E = loss(a, computed["T"], architecture.reduction)
        else:
            E = loss(a, computed["T"], "sum") / architecture.count
        if architecture.l2:
            weights = [computed[f"W{layer}"] for layer in range(1, architecture.layers + 1)]
            computed["E_data"] = keep("E_data", E)
            computed["penalty"] = keep("penalty", ops.l2_penalty(weights, computed[L2]))
            E = computed["E_data"] + computed["penalty"]
        computed["E"] = keep("E", E)
        return computed


class Unsupported(Exception):
    """What an adapter raises for a point that it has no way to run; the message says why.

    >>> class Bare:
    ...     linear = tanh = None
    >>> case = network_case("mine/line", layers=[([[2.0]], None, "tanh")], inputs=[[1.0]], targets=[[0.5]], rate=0.25)
    >>> point(case, "float32").forward(Bare, {})
    Traceback (most recent call last):
        ...
    gradconform.reference.cases.Unsupported: operation: the adapter has no half_squared_error
    """


def point(case: Case, dtype: Dtype, device: str = "cpu") -> Point:
    """Round a case's values, the rate included, to nearest in `dtype` (hypothesis 1).

    Raises BadInput if a value overflows there, if judging the case takes more memory than there is, or if the case was
    put together by hand and is none that `document_case` or `network_case` makes.
    """
    target = named_format(dtype)
    check_id(case.id)
    if isinstance(case.derivation, Architecture):
        _check_architecture(case.id, case.derivation)
        _affordable(case.id, case.derivation, {"float64": 8, "float32": 4}.get(target.name, 2))
    elif case.derivation != NETWORK.name:
        raise BadInput(
            f"case {case.id!r}: its derivation is {_short(case.derivation)}; expected a case made by document_case or "
            "network_case"
        )
    _check_values(case)
    values: dict[str, Any] = {}
    for name, value in case.values:
        rounded = target.round(value)
        if np.isinf(rounded).any():
            largest = float(np.abs(value).max())
            raise BadInput(
                f"case {case.id!r}: {name} = {largest!r} rounds to infinity in {target.name}, whose largest number is "
                f"{target.largest!r}; use a smaller value or a wider dtype"
            )
        if rounded.ndim:
            rounded.flags.writeable = False
        values[name] = rounded if rounded.ndim else float(rounded)
    of = derivation(case.derivation)
    rate = values.pop(of.rate)
    return Point(
        case=case.id,
        derivation=case.derivation,
        dtype=target.name,
        device=device,
        values=MappingProxyType(values),
        parameters=of.parameters,
        rate=rate,
        loss=of.loss,
        intermediates=of.intermediates,
    )


#: What helps with a case that was put together by hand.
_MAKE_IT = "make it by document_case or network_case"


def _check_architecture(id: str, architecture: Architecture) -> None:
    """Raise BadInput for an architecture put together by hand that has no derivation."""
    sizes, activations, biased = architecture.sizes, architecture.activations, architecture.biased
    if not all(isinstance(x, tuple) for x in (sizes, activations, biased)):
        raise BadInput(f"case {id!r}: its sizes, activations and biased must be tuples; {_MAKE_IT}")
    if not all(isinstance(n, int) and n > 0 for n in (*sizes, architecture.batch)):
        got = f"sizes {_short(sizes)} and batch {_short(architecture.batch)}"
        raise BadInput(f"case {id!r}: its {got} must be positive whole numbers; {_MAKE_IT}")
    if not activations or not len(activations) == len(biased) == len(sizes) - 1:
        got = f"{len(sizes)} sizes, {len(activations)} activations, {len(biased)} biased"
        raise BadInput(f"case {id!r}: {got}; expected one size more than layers; {_MAKE_IT}")
    for number, activation in enumerate(activations, 1):
        if ACTIVATIONS[_named(f"activation of layer {number}", activation, ACTIVATIONS)].rowwise:
            _check_rowwise(id, activation, number, len(activations))
    _named("loss", architecture.loss, LOSSES)
    _named("reduction", architecture.reduction, REDUCTIONS)


def _check_rowwise(id: str, activation: str, number: int, layers: int) -> None:
    if number < layers:
        raise BadInput(f"case {id!r}: layer {number} is {activation}, which belongs at the output only")


def _check_values(case: Case) -> None:
    """Raise BadInput for values put together by hand that do not fit the derivation, or are no finite numbers."""
    id, pairs = case.id, case.values
    if not isinstance(pairs, tuple | list) or not all(isinstance(p, tuple | list) and len(p) == 2 for p in pairs):
        raise BadInput(f"case {id!r}: its values are {_short(pairs)}; expected pairs of a name and a value; {_MAKE_IT}")
    given, names = derivation(case.derivation).given, [name for name, _ in pairs]
    if not all(isinstance(name, str) for name in names) or sorted(names) != sorted(given):
        got = " ".join(name if isinstance(name, str) else _short(name) for name in names) or "none"
        raise BadInput(f"case {id!r}: its values are {got}, expected {' '.join(given)}; {_MAKE_IT}")
    if not isinstance(case.derivation, Architecture):
        for name, value in pairs:
            _finite_number(id, name, value)
        return
    shapes = case.derivation.shapes
    for name, value in pairs:
        if name == "eta":
            _finite_number(id, name, value)
            continue
        array = _array(id, name, value, len(shapes[name]), whole=name in ("X", "T"))
        if array.shape != shapes[name]:
            raise BadInput(f"case {id!r}: {name} has shape {array.shape}, expected {shapes[name]}; {_MAKE_IT}")
        _check_finite(id, name, array)
        if name == "T":
            _check_domain(id, case.derivation.loss, array)


def available_memory() -> int:
    """Bytes of memory that this process can have without swapping, as far as the system and its own limit say."""
    return min(_free_memory(), _address_space_left())


def _free_memory() -> int:
    """What the system has free; sys.maxsize where it does not say."""
    try:
        with open("/proc/meminfo", encoding="ascii") as lines:
            for line in lines:
                if line.startswith("MemAvailable:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    if sys.platform == "win32":
        return sys.maxsize
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _address_space_left() -> int:
    """What a limit such as `ulimit -v` leaves of what this process may map; sys.maxsize where there is none."""
    if sys.platform == "win32":
        return sys.maxsize
    import resource

    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit == resource.RLIM_INFINITY:
        return sys.maxsize
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            mapped = int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        mapped = 0
    return max(limit - mapped, 0)


def _affordable(case: str, architecture: Architecture, itemsize: int) -> None:
    needed, there = architecture.working_bytes(itemsize), available_memory()
    if needed > there:
        raise BadInput(
            f"case {case!r}: judging {architecture.parameters:,} parameters takes about {needed / 2**30:,.1f} GiB, and "
            f"{there / 2**30:,.1f} GiB of memory are available; use narrower layers or a smaller batch"
        )


class FrameworkDtype(Protocol):
    """A dtype of PyTorch's, which NumPy does not know."""

    @property
    def is_floating_point(self) -> bool: ...


#: A dtype by name, or as the object of NumPy, JAX or PyTorch.
Dtype = DTypeLike | FrameworkDtype

#: What else people call things, by the name here.
_ALSO_CALLED = {
    "float64": ("double", "fp64", "f64", "d"),
    "float32": ("single", "float", "fp32", "f32", "f"),
    "float16": ("half", "fp16", "f16", "e"),
    "bfloat16": ("bf16",),
    "squared_error": ("mse", "mse_loss", "mseloss", "mean_squared_error", "l2"),
    "l1": ("mae", "l1_loss", "mean_absolute_error", "absolute_error"),
    "huber": ("smooth_l1", "smooth_l1_loss", "huber_loss"),
    "binary_cross_entropy_with_logits": ("bce", "bce_with_logits", "binary_cross_entropy", "log_loss"),
    "softmax_cross_entropy": ("ce", "cross_entropy", "categorical_cross_entropy", "nll"),
    "sigmoid": ("logistic", "expit"),
    "silu": ("swish",),
    "hard_tanh": ("hardtanh",),
    "leaky_relu": ("leakyrelu",),
    "gelu_tanh": ("gelu_new", "gelu_approximate"),
    "identity": ("linear", "none"),
}


def named_format(dtype: Dtype) -> Format:
    """The format called `dtype`: a name, or the object of NumPy, JAX or PyTorch.

    Raises BadInput, with the nearest names, for another.

    >>> named_format("bfloat16").precision
    8
    """
    name: object = dtype
    if type(dtype).__module__ == "torch" and type(dtype).__name__ == "dtype":
        name = str(dtype).removeprefix("torch.")
    elif dtype is not None and not isinstance(dtype, str):  # to NumPy None is float64
        try:
            name = np.dtype(dtype).name  # type: ignore[arg-type]
        except Exception as error:  # NumPy asks the object itself, which may raise anything
            raise BadInput(f"dtype is {_short(dtype)}; expected a name, one of {' '.join(FORMATS)}") from error
    several = "(one dtype each: -d float64 -d float32)" if isinstance(name, str) and "," in name else ""
    return FORMATS[_named("dtype", name, FORMATS, several)]


def _named(kind: str, got: object, known: Iterable[str], hint: str = "") -> str:
    """The name itself. Raises BadInput for one that is not known, and for what is no name."""
    if not isinstance(got, str) or got not in known:
        raise unknown(kind, got, known, hint)
    return got


def unknown(kind: str, got: object, known: Iterable[str], hint: str = "") -> BadInput:
    """The error for a name that is not known, with the nearest ones that are."""
    import difflib

    names = sorted(known)
    listed = ", ".join(names[:8]) + (f", … ({len(names)} in all)" if len(names) > 8 else "")
    if not isinstance(got, str):
        return BadInput(f"{kind} is {_short(got)}; expected a name, one of {listed}{' ' + hint if hint else ''}")
    plain, part = got.lower().replace("-", "_").rpartition(".")[2], got.strip("*?/")
    near = [name for name in names if plain in (name, *_ALSO_CALLED.get(name, ()))]
    near = near or difflib.get_close_matches(got, names, n=3, cutoff=0.4)
    near = near or [name for name in names if len(part) > 2 and part in name][:3]
    suggestion = f"did you mean {' or '.join(repr(n) for n in near)}?" if near else f"known: {listed}"
    return BadInput(f"unknown {kind} {got!r}; {suggestion}{' ' + hint if hint else ''}")


def _short(value: object) -> str:
    """A value for a message: its type and its repr, cut where it is long; a repr is somebody else's and may raise."""
    try:
        text = ascii(value)
    except Exception as error:
        text = f"something whose repr raised {type(error).__name__}"
    return f"{text if len(text) <= 60 else f'{text[:60]}…'} ({type(value).__name__})"


def document_case(
    id: str,
    *,
    weights: Sequence[float],
    inputs: Sequence[float],
    targets: Sequence[float],
    rate: float,
) -> Case:
    """A case of the document's 2-2-2 sigmoid network.

    `weights` are w1 … w8, `inputs` i1 i2, `targets` t1 t2, `rate` the learning rate η; dimensionless finite numbers,
    kept as float64. Raises BadInput for a wrong number of values or one that is not a finite number.

    >>> case = document_case("mine/one", weights=[0.1] * 8, inputs=(1, 2), targets=(0, 1), rate=0.5)
    >>> dict(case.values)["i2"]
    2.0
    """
    check_id(id)
    groups = {
        "weights": (weights, NETWORK.parameters),
        "inputs": (inputs, ("i1", "i2")),
        "targets": (targets, ("t1", "t2")),
    }
    values: list[tuple[str, float]] = []
    for argument, (given, names) in groups.items():
        if isinstance(given, Set | Mapping):
            raise BadInput(
                f"case {id!r}: {argument} must be numbers {' '.join(names)} in this order, got a "
                f"{type(given).__name__}; give a list or a tuple"
            )
        try:
            numbers = [_number(v) for v in detached(given)]
        except _NOT_A_NUMBER as error:
            raise BadInput(f"case {id!r}: {argument} must be numbers {' '.join(names)}, got {_short(given)}") from error
        if len(numbers) != len(names):
            raise BadInput(
                f"case {id!r}: {argument} must be {len(names)} numbers ({' '.join(names)}), got {len(numbers)}"
            )
        values += zip(names, numbers, strict=True)
    for name, number in values:
        if not math.isfinite(number):
            raise BadInput(f"case {id!r}: {name} is {number!r}; every value must be finite")
    values.append((NETWORK.rate, _finite_number(id, "rate", rate)))
    return Case(id, NETWORK.name, tuple(values))


#: What Python, NumPy and the frameworks raise for what they cannot make a float of.
_NOT_A_NUMBER = (TypeError, ValueError, OverflowError, RuntimeError)


def _number(given: Any) -> float:
    """A number as float64. Text, truth values and masked ones are refused: `float` would take them, as slips."""
    if isinstance(given, np.ma.MaskedArray) or getattr(given, "ndim", 0) != 0:
        raise TypeError("no number")
    item = getattr(given, "item", None)  # of a NumPy complex number `float` would keep the real part
    plain = item() if callable(item) else given
    if isinstance(plain, str | bytes | bool):
        raise TypeError("no number")
    return float(plain)


def detached(given: Any) -> Any:
    """A tensor without the record of gradients that PyTorch keeps of it; anything else itself."""
    detach = getattr(given, "detach", None)
    return detach() if callable(detach) else given


def _finite_number(id: str, name: str, given: object) -> float:
    try:
        number = _number(given)
    except _NOT_A_NUMBER as error:
        raise BadInput(f"case {id!r}: {name} must be a number that float64 holds, got {_short(given)}") from error
    if not math.isfinite(number):
        raise BadInput(f"case {id!r}: {name} is {number!r}; every value must be finite")
    return number


def check_id(id: str) -> None:
    """Raise BadInput for a case id that is not safe in a table, a file name or a terminal, which it reaches."""
    if not isinstance(id, str) or len(id) > 200:
        raise BadInput(f"case id {ascii(id)[:80]}…: expected at most 200 characters of text, such as 'mine/one'")
    if not id or not all(c.isalnum() or c in "-_./" for c in id) or id.startswith((".", "/")) or ".." in id:
        raise BadInput(
            f"case id {id!r}: expected letters, digits and - _ . / such as 'mine/one'; it names files and rows"
        )


def network_case(
    id: str,
    *,
    layers: Sequence[tuple[ArrayLike, ArrayLike | None, str]],
    loss: str = "half_squared_error",
    reduction: str = "sum",
    inputs: ArrayLike,
    targets: ArrayLike,
    rate: float,
    mean_over: MeanOver | None = None,
    l2: float = 0.0,
    weight_decay: float = 0.0,
    decoupled_weight_decay: float = 0.0,
) -> Case:
    """A case of a fully connected network of any depth and width.

    `layers` are (W, b, activation) from the input on: W of shape (out, in), b of shape (out,) or None, the activation
    one of `ACTIVATIONS` in `gradconform.reference.derivations.activations`; softmax only at the output. `inputs` X is
    (batch, in), `targets` T (batch, out); for softmax cross-entropy T may be class indices of shape (batch,). All are
    dimensionless finite numbers, kept as float64. `loss` is one of `LOSSES` in
    `gradconform.reference.derivations.losses`, E over the output a_L.

    `reduction` "sum" adds over every component and row. "mean" divides that by batch × outputs, for softmax
    cross-entropy by the batch: PyTorch's convention, kept in every adapter. `mean_over` "elements" or "rows" asks for
    one of the two by name.

    `l2` = λ adds the penalty ½·λ·Σ‖W‖² to the loss and λ·W to the gradients of the weights. `weight_decay` = λ updates
    them by W − η(∂E/∂W + λW), as torch.optim.SGD(weight_decay=λ) does, and `decoupled_weight_decay` = λ by
    W(1 − ηλ) − η·∂E/∂W, as AdamW does to Adam's step: without momentum the same number, by other roundings, each of
    which is accepted for both. All are of weights, never of biases; λ is a number of the case, 0 or more, rounded to
    the dtype as the rate is.

    Raises BadInput for sizes that do not chain, a name that is not known, an empty batch, integer weights, a value that
    is not finite, a target outside the loss's domain, a negative λ, both kinds of weight decay at once, `mean_over`
    with a sum.

    >>> import numpy as np
    >>> W1, W2 = np.full((3, 2), 0.1), np.full((1, 3), -0.2)
    >>> case = network_case("mine/two", layers=[(W1, None, "tanh"), (W2, [0.5], "identity")],
    ...                     inputs=[[1.0, 2.0]], targets=[[0.5]], rate=0.1)
    >>> case.derivation.sizes
    (2, 3, 1)
    """
    check_id(id)
    loss, reduction = _named("loss", loss, LOSSES), _named("reduction", reduction, REDUCTIONS)
    over = _mean_over(id, mean_over, loss, reduction)
    penalty, decay, decaying = _decays(id, l2, weight_decay, decoupled_weight_decay)
    X = _array(id, "inputs", inputs, 2)
    if X.shape[0] == 0 or X.shape[1] == 0:
        raise BadInput(f"case {id!r}: inputs have shape {X.shape}; expected (batch, in) with at least one row")
    if not isinstance(layers, Sequence):
        raise BadInput(f"case {id!r}: layers are {type(layers).__name__}; expected a list of (W, b, activation)")
    if not layers:
        raise BadInput(f"case {id!r}: layers are empty; expected (W, b, activation) for at least one layer")
    values: list[tuple[str, Any]] = [("X", X)]
    sizes, activations, biased = [X.shape[1]], [], []
    for number, layer in enumerate(layers, 1):
        if not isinstance(layer, Sequence) or len(layer) != 3:
            what = f"has {len(layer)} items" if isinstance(layer, tuple | list) else f"is {type(layer).__name__}"
            raise BadInput(f"case {id!r}: layer {number} {what}; expected (W, b, activation)")
        weight, bias, activation = layer
        activation = _named(f"activation of layer {number}", activation, ACTIVATIONS)
        if ACTIVATIONS[activation].rowwise:
            _check_rowwise(id, activation, number, len(layers))
        W = _array(id, f"W{number}", weight, 2, whole=False)
        if W.shape[1] != sizes[-1] or not W.shape[0]:
            before = "the inputs have" if number == 1 else f"layer {number - 1} gives"
            raise BadInput(
                f"case {id!r}: W{number} has shape {W.shape} (out, in), but {before} {sizes[-1]} components; "
                f"expected (out, {sizes[-1]})"
            )
        values.append((f"W{number}", W))
        if bias is not None:
            b = _array(id, f"b{number}", bias, 1, whole=False)
            if b.shape != (W.shape[0],):
                raise BadInput(
                    f"case {id!r}: b{number} has shape {b.shape}, W{number} {W.shape}; expected ({W.shape[0]},)"
                )
            values.append((f"b{number}", b))
        sizes.append(W.shape[0])
        activations.append(str(activation))
        biased.append(bias is not None)
    eta = _finite_number(id, "rate", rate)
    architecture = Architecture(
        tuple(sizes), tuple(activations), tuple(biased), loss, reduction, X.shape[0], over, penalty > 0, decay
    )
    # Before anything is copied, and by the narrowest dtype: what is refused here no dtype could be judged in.
    _affordable(id, architecture, 2)
    T = _targets(id, loss, targets, (X.shape[0], sizes[-1]))
    copied = [(name, _copied(id, "inputs" if name == "X" else name, array)) for name, array in values]
    options = {L2: penalty, DECAY: decaying}
    return Case(id, architecture, (*copied, ("T", T), *((n, options[n]) for n in architecture.options), ("eta", eta)))


def _mean_over(id: str, mean_over: object, loss: str, reduction: str) -> MeanOver | None:
    """What a mean is over, None where that is usual for the loss: the same case, however it is written."""
    if mean_over is None:
        return None
    over = _named("mean_over", mean_over, get_args(MeanOver))
    if reduction != "mean":
        raise BadInput(f"case {id!r}: mean_over is {over!r} and reduction {reduction!r}; expected reduction 'mean'")
    return None if over == usual_mean(loss) else cast(MeanOver, over)


def _decays(id: str, l2: object, coupled: object, decoupled: object) -> tuple[float, Decay | None, float]:
    """The penalty's λ, the kind of weight decay and its λ."""
    given = {"l2": l2, "weight_decay": coupled, "decoupled_weight_decay": decoupled}
    numbers = {}
    for name, value in given.items():
        try:
            numbers[name] = _number(value)
        except _NOT_A_NUMBER as error:
            raise BadInput(f"case {id!r}: {name} must be a number, got {_short(value)}") from error
        if not 0 <= numbers[name] < math.inf:
            raise BadInput(f"case {id!r}: {name} is {numbers[name]!r}; expected a finite number, 0 or more")
    penalty, together, apart = numbers.values()
    if together and apart:
        raise BadInput(
            f"case {id!r}: weight_decay is {together!r} and decoupled_weight_decay {apart!r}; expected one of them"
        )
    kind: Decay | None = "coupled" if together else "decoupled" if apart else None
    return penalty, kind, together or apart


def _array(id: str, name: str, given: Any, dimensions: int, whole: bool = True) -> NDArray[Any]:
    """An array of real numbers, not copied where it is one; `whole` says whether integers are taken."""
    array = _converted(id, name, given)
    if array.dtype.kind in "iub" and not whole:
        raise BadInput(
            f"case {id!r}: {name} has the integer dtype {array.dtype}; weights are trained as floating-point numbers: "
            f"give {name} as floats, such as W.astype(float)"
        )
    if array.dtype.kind not in "iubf" and array.dtype.name not in FORMATS:
        raise BadInput(f"case {id!r}: {name} has dtype {array.dtype}; expected real floating-point numbers")
    if array.ndim != dimensions:
        shape = {1: "(out,)", 2: "(batch, in)" if name == "inputs" else "two dimensions"}[dimensions]
        raise BadInput(f"case {id!r}: {name} has shape {array.shape}; expected {shape}")
    return array


def _converted(id: str, name: str, given: Any) -> NDArray[Any]:
    if isinstance(given, np.ma.MaskedArray):
        raise BadInput(f"case {id!r}: {name} is a masked array; expected an array of numbers: give filled ones")
    try:
        return np.asarray(detached(given))
    except _NOT_A_NUMBER as error:
        raise BadInput(f"case {id!r}: {name} is no rectangular array of numbers: {error}") from error


def _copied(id: str, name: str, array: NDArray[Any]) -> NDArray[np.float64]:
    """A read-only float64 copy of an array of finite numbers."""
    numbers = np.array(array, dtype=np.float64)
    _check_finite(id, name, numbers)
    numbers.flags.writeable = False
    return numbers


def _check_finite(id: str, name: str, numbers: NDArray[Any]) -> None:
    if not np.isfinite(numbers).all():
        where = tuple(int(i) for i in np.argwhere(~np.isfinite(numbers))[0])
        raise BadInput(f"case {id!r}: {name}{list(where)} is {float(numbers[where])!r}; every value must be finite")


def _targets(id: str, loss: str, targets: Any, shape: tuple[int, int]) -> NDArray[np.float64]:
    raw = _converted(id, "targets", targets)
    if loss == "softmax_cross_entropy" and raw.ndim == 1 and raw.dtype.kind in "iu":
        if raw.shape != shape[:1]:
            raise BadInput(f"case {id!r}: targets are class indices of shape {raw.shape}; expected ({shape[0]},)")
        outside = np.flatnonzero((raw < 0) | (raw >= shape[1]))
        if outside.size:
            row = int(outside[0])
            raise BadInput(
                f"case {id!r}: targets[{row}] is the class index {int(raw[row])}; expected 0 to {shape[1] - 1}, for "
                f"{shape[1]} outputs"
            )
        classes, raw = raw, np.zeros(shape)
        raw[np.arange(shape[0]), classes] = 1.0
    T = _array(id, "targets", raw, 2)
    if T.shape != shape:
        raise BadInput(f"case {id!r}: targets have shape {T.shape}; expected (batch, out) = {shape}")
    T = _copied(id, "targets", T)
    _check_domain(id, loss, T)
    return T


def _check_domain(id: str, loss: str, targets: NDArray[np.float64]) -> None:
    for number, row_of in enumerate(targets):
        if not LOSSES[loss].admits(row_of):
            raise BadInput(
                f"case {id!r}: row {number} of the targets, {np.array2string(row_of, threshold=8, precision=6)}, is "
                f"outside the domain of {loss}: {LOSSES[loss].domain}"
            )
