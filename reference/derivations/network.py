"""The derivation of any layered network, in matrix form.

Layer l = 1 … L holds weights W_l of shape (out, in) and maybe a bias b_l of shape (out,); a batch X of shape (N, in) is
a_0. The document's derivation, for whole layers and batches at once:

    forward    z_l = a_{l−1}·W_lᵀ + b_l        a_l = f_l(z_l)        E = loss(a_L, T)
    backward   ∂E/∂a_L = loss'(a_L, T)         ∂E/∂z_l = ∂E/∂a_l · f_l'(z_l)
               ∂E/∂W_l = (∂E/∂z_l)ᵀ·a_{l−1}    ∂E/∂b_l = Σ_batch ∂E/∂z_l     ∂E/∂a_{l−1} = ∂E/∂z_l·W_l
    update     W_l_new = W_l − η·∂E/∂W_l       b_l_new = b_l − η·∂E/∂b_l

A case may ask for a penalty or for weight decay, of weights and never of biases; λ is a number of the case:

    l2             E = E_data + penalty, E_data = loss(a_L, T), penalty = ½·λ·Σ_l ‖W_l‖²
                   ∂E/∂W_l = (∂E/∂z_l)ᵀ·a_{l−1} + λ·W_l
    weight decay   W_l_new = W_l − η·(∂E/∂W_l + λ·W_l)       coupled
                   W_l_new = W_l·(1 − η·λ) − η·∂E/∂W_l       decoupled: without momentum the same number

Each of the document's eight gradients is a component of ∂E/∂W_1 or ∂E/∂W_2 of the network (2, 2, 2) without bias, with
sigmoids, half squared error and one row of batch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, reduce
from operator import add
from typing import Any, Literal

from gradconform.reference.derivations.activations import ACTIVATIONS
from gradconform.reference.derivations.losses import LOSSES, LossForm, LossFormula
from gradconform.reference.document import DOCUMENT
from gradconform.reference.equations import Derivation, Equation, Form, Formula, Part, elementwise

MATRIX_FORM = f"{DOCUMENT}, in matrix form"


#: The names of a penalty's λ and of a weight decay's, among the values of a case.
L2, DECAY = "l2", "weight_decay"
#: The convention of gradients that are accumulated in the dtype, and not in a wider one.
ACCUMULATED = "accumulated"
MeanOver = Literal["elements", "rows"]
Decay = Literal["coupled", "decoupled"]


def usual_mean(loss: str) -> MeanOver:
    """What a mean of this loss is over, unless a case asks for the other: PyTorch's convention (see `losses`)."""
    return "rows" if LOSSES[loss].rowwise else "elements"


@dataclass(frozen=True)
class Architecture:
    """A network without its numbers: everything that its derivation depends on; hashable and picklable.

    `sizes` are the widths from the input to the output, `activations` and `biased` one entry a layer.

    What a case may ask for beside: `mean_over` "elements" or "rows", where a mean is not over what is usual for its
    loss; `l2`, whether the loss has a penalty; `decay`, which kind of weight decay the update has, if any.
    """

    sizes: tuple[int, ...]
    activations: tuple[str, ...]
    biased: tuple[bool, ...]
    loss: str
    reduction: str
    batch: int
    mean_over: MeanOver | None = None
    l2: bool = False
    decay: Decay | None = None

    @property
    def layers(self) -> int:
        return len(self.activations)

    @property
    def parameters(self) -> int:
        """The number of weights and biases."""
        pairs = zip(self.sizes, self.sizes[1:], self.biased, strict=False)
        return sum(i * o + o * b for i, o, b in pairs)

    @property
    def count(self) -> int:
        """What the loss is divided by: 1 for a sum (see `losses`)."""
        if self.reduction == "sum":
            return 1
        over = self.mean_over or usual_mean(self.loss)
        return self.batch * (1 if over == "rows" else self.sizes[-1])

    @property
    def options(self) -> tuple[str, ...]:
        """The names of the numbers λ that a case gives beside its values."""
        return (*([L2] if self.l2 else []), *([DECAY] if self.decay else []))

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """The shape of everything that is given, by name; the learning rate is a number."""
        shapes: dict[str, tuple[int, ...]] = {
            "X": (self.batch, self.sizes[0]), "T": (self.batch, self.sizes[-1]), "eta": (),
            **dict.fromkeys(self.options, ()),
        }  # fmt: skip
        for layer in range(1, self.layers + 1):
            inputs, outputs = self.sizes[layer - 1], self.sizes[layer]
            shapes[f"W{layer}"] = (outputs, inputs)
            if self.biased[layer - 1]:
                shapes[f"b{layer}"] = (outputs,)
        return shapes

    def __str__(self) -> str:
        """Such as 4-16t-3: widths from the input to the output, each layer's activation by name."""
        layers = [f"{n} {a}{'' if b else ' without bias'}"
                  for n, a, b in zip(self.sizes[1:], self.activations, self.biased, strict=True)]  # fmt: skip
        over = f" over {self.mean_over}" if self.mean_over else ""
        asked = [*(["l2"] if self.l2 else []), *([f"{self.decay} weight decay"] if self.decay else [])]
        return (
            f"{self.sizes[0]} → {' → '.join(layers)}, {self.reduction}{over} of {self.loss}, batch {self.batch}"
            + "".join(f", {what}" for what in asked)
        )

    def working_bytes(self, itemsize: int) -> int:
        """An estimate of the memory that judging this network takes, in bytes, at `itemsize` bytes a number.

        The framework holds weights, gradients and new weights, twice (plain and traced): nine arrays in all. The whole
        level keeps double words and radii of the same three: twenty-two float64 arrays with what a product needs.
        Measured at 12.6 million parameters: 1.8 GiB in float32 and 2.9 GiB in float64, where this says 2.5 and 3.0.
        """
        weights = self.parameters
        rows = self.batch * sum(self.sizes)
        return weights * (9 * itemsize + 22 * 8) + rows * 8 * 40


# Parts: what one component of a result depends on ---------------------------------------------------------------------


def _one(i: int) -> slice:
    return slice(i, i + 1)


def _row(index: tuple[int, ...], operands: Sequence[Any]) -> tuple[list[Any], tuple[int, ...]]:
    return [x[_one(index[0])] for x in operands], (0, index[1])


def _of_linear(index: tuple[int, ...], operands: Sequence[Any]) -> tuple[list[Any], tuple[int, ...]]:
    n, j = index
    x, weight, *bias = operands
    return [x[_one(n)], weight[_one(j)], *[b[_one(j)] for b in bias]], (0, 0)


def _of_weight_gradient(index: tuple[int, ...], operands: Sequence[Any]) -> tuple[list[Any], tuple[int, ...]]:
    j, i = index
    dz, a = operands
    return [dz[:, _one(j)], a[:, _one(i)]], (0, 0)


def _of_input_gradient(index: tuple[int, ...], operands: Sequence[Any]) -> tuple[list[Any], tuple[int, ...]]:
    n, i = index
    dz, weight = operands
    return [dz[_one(n)], weight[:, _one(i)]], (0, 0)


def of_column(index: tuple[int, ...], operands: Sequence[Any]) -> tuple[list[Any], tuple[int, ...]]:
    return [operands[0][:, _one(index[0])]], (0,)


def everything(index: tuple[int, ...], operands: Sequence[Any]) -> tuple[list[Any], tuple[int, ...]]:
    return list(operands), ()


def _leading(block: slice, operands: Sequence[Any]) -> list[Any]:
    return [x[block] if getattr(x, "shape", ()) else x for x in operands]


def _columns_of_first(block: slice, operands: Sequence[Any]) -> list[Any]:
    dz, a = operands
    return [dz[:, block], a]


# The derivation -------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=256)
def network(architecture: Architecture) -> Derivation:
    """The derivation of a network of this architecture."""
    layers = range(1, architecture.layers + 1)
    forward: list[Equation] = []
    backward: list[Equation] = []
    update: list[Equation] = []
    parameters: list[str] = []
    for layer in layers:
        forward += _forward(architecture, layer)
        parameters += [f"W{layer}"] + [f"b{layer}"] * architecture.biased[layer - 1]
    forward += _with_penalty(architecture, _loss(architecture))
    for layer in reversed(layers):
        backward += _with_penalty_gradient(architecture, _backward(architecture, layer))
    shapes = architecture.shapes
    for parameter in parameters:
        decay = architecture.decay if parameter.startswith("W") else None
        update.append(_updated(parameter, shapes[parameter], decay))
    return Derivation(
        name=str(architecture),
        inputs=("X", "T", *architecture.options),
        parameters=tuple(parameters),
        rate="eta",
        loss="E",
        equations=(*forward, *backward, *update),
        gradient={p: f"dE/d{p}" for p in parameters},
        updated={p: f"{p}_new" for p in parameters},
    )


def _before(layer: int) -> str:
    """The name of a layer's input."""
    return "X" if layer == 1 else f"a{layer - 1}"


def _renamed(forms: Sequence[Form], names: Mapping[str, str]) -> tuple[Form, ...]:
    return tuple(f.renamed(names) for f in forms)


def _forward(architecture: Architecture, layer: int) -> list[Equation]:
    activation = ACTIVATIONS[architecture.activations[layer - 1]]
    shape = (architecture.batch, architecture.sizes[layer])
    operands = (_before(layer), f"W{layer}")
    product = Form("a·Wᵀ", operands, lambda ops, a, w: ops.linear(a, w, None), MATRIX_FORM)
    forms: tuple[Form, ...] = (product,)
    if architecture.biased[layer - 1]:
        biased = (*operands, f"b{layer}")
        forms = (
            Form("a·Wᵀ+b", biased, lambda ops, a, w, b: ops.linear(a, w, b), MATRIX_FORM),
            # In a 16-bit format the product is rounded once before the bias is added, and once after.
            Form(
                "(a·Wᵀ)+b", biased, lambda ops, a, w, b: a @ w.T + b, "JAX: x @ W.T + b as it is written", narrow=True
            ),
        )
    part: Part = _row if activation.rowwise else elementwise
    names = {"z": f"z{layer}"}
    return [
        Equation(
            f"z{layer}", "forward", MATRIX_FORM, forms, part=_of_linear, shape=shape, operator="linear", factors=2
        ),
        Equation(
            f"a{layer}",
            "forward",
            MATRIX_FORM,
            _renamed(activation.forward, names),
            part=part,
            rows=_leading,
            shape=shape,
            definition=_defined(activation.definition[0], names),
            operator=activation.name,
            rowwise=activation.rowwise,
        ),
    ]


def _loss(architecture: Architecture) -> Equation:
    loss, count = LOSSES[architecture.loss], architecture.count
    operands = (f"a{architecture.layers}", "T")
    return Equation(
        "E",
        "forward",
        MATRIX_FORM,
        _of_loss(loss.value, operands, count),
        part=everything,
        definition=_true_to(loss.true_value, operands, count),
        operator=loss.name,
    )


def _of_loss(forms: Sequence[LossForm], operands: tuple[str, ...], count: int) -> tuple[Form, ...]:
    return tuple(Form(f.name, operands, _counted(f.formula, count), f.source, instead=f.instead) for f in forms)


def _true_to(formula: LossFormula | None, operands: tuple[str, ...], count: int) -> Form | None:
    return None if formula is None else Form("definition", operands, _counted(formula, count), "definition")


def _defined(definition: Form | None, names: Mapping[str, str]) -> Form | None:
    return None if definition is None else _renamed((definition,), names)[0]


def _counted(formula: LossFormula, count: int) -> Formula:
    return lambda ops, a, t: formula(ops, a, t, count)


def _backward(architecture: Architecture, layer: int) -> list[Equation]:
    activation = ACTIVATIONS[architecture.activations[layer - 1]]
    batch, inputs, outputs = architecture.batch, architecture.sizes[layer - 1], architecture.sizes[layer]
    equations: list[Equation] = []
    if layer == architecture.layers:
        loss, count = LOSSES[architecture.loss], architecture.count
        operands = (f"a{layer}", "T")
        part: Part = _row if loss.rowwise else elementwise
        equations.append(
            Equation(
                f"dE/da{layer}",
                "backward",
                MATRIX_FORM,
                _of_loss(loss.slope, operands, count),
                part=part,
                rows=_leading,
                shape=(batch, outputs),
                definition=_true_to(loss.true_slope, operands, count),
                operator=loss.name,
                rowwise=loss.rowwise,
            )
        )
    names = {"g": f"dE/da{layer}", "z": f"z{layer}", "a": f"a{layer}"}
    part = _row if activation.rowwise else elementwise
    dz, before = f"dE/dz{layer}", _before(layer)
    equations.append(
        Equation(
            dz,
            "backward",
            MATRIX_FORM,
            _renamed(activation.forms, names),
            part=part,
            rows=_leading,
            shape=(batch, outputs),
            definition=_defined(activation.definition[1], names),
            operator=activation.name,
            rowwise=activation.rowwise,
        )
    )
    of_weights = Form("(dE/dz)ᵀ·a", (dz, before), lambda ops, dz, a: dz.T @ a, MATRIX_FORM)
    accumulated = Form(
        f"(dE/dz)ᵀ·a, {ACCUMULATED} in the dtype",
        (dz, before),
        lambda ops, dz, a: ops.product_in_the_dtype(dz.T, a),
        "PyTorch: .grad, which further calls of backward() add to, in the dtype of the weight",
        narrow=True,
        asked=ACCUMULATED,
    )
    equations.append(
        Equation(
            f"dE/dW{layer}",
            "backward",
            MATRIX_FORM,
            (of_weights, accumulated),
            part=_of_weight_gradient,
            rows=_columns_of_first,
            shape=(outputs, inputs),
            operator="linear",
            factors=2,
        )
    )
    if architecture.biased[layer - 1]:
        of_bias = Form("Σ dE/dz", (dz,), lambda ops, dz: ops.column_sum(dz), MATRIX_FORM)
        equations.append(
            Equation(
                f"dE/db{layer}",
                "backward",
                MATRIX_FORM,
                (of_bias,),
                part=of_column,
                shape=(outputs,),
                operator="linear",
                factors=1,
            )
        )
    if layer > 1:
        of_inputs = Form("dE/dz·W", (dz, f"W{layer}"), lambda ops, dz, w: dz @ w, MATRIX_FORM)
        equations.append(
            Equation(
                f"dE/d{before}",
                "backward",
                MATRIX_FORM,
                (of_inputs,),
                part=_of_input_gradient,
                shape=(batch, inputs),
                operator="linear",
                factors=2,
            )
        )
    return equations


# What a case may ask for beside ---------------------------------------------------------------------------------------

KERAS = "Keras keras/src"


def _with_penalty(architecture: Architecture, loss: Equation) -> list[Equation]:
    """The loss alone, or the loss of the data, the penalty, and their sum, which is what is reported as E."""
    if not architecture.l2:
        return [loss]
    weights = tuple(f"W{layer}" for layer in range(1, architecture.layers + 1))
    penalty = (
        Form(
            "½λΣW²",
            (L2, *weights),
            lambda ops, l2, *w: 0.5 * (l2 * reduce(add, [ops.total(x**2) for x in w])),
            "flax examples/imagenet/train.py: weight_decay * 0.5 * sum(jnp.sum(x ** 2) for x in …)",
        ),
        Form(
            "Σ½λΣW²",
            (L2, *weights),
            lambda ops, l2, *w: reduce(add, [0.5 * (l2 * ops.total(x**2)) for x in w]),
            f"{KERAS}/regularizers/regularizers.py, L2: self.l2 * ops.sum(ops.square(x)), layer by layer",
        ),
    )
    total = Form("E_data+penalty", ("E_data", "penalty"), lambda ops, data, penalty: data + penalty, MATRIX_FORM)
    return [
        replace(loss, name="E_data"),
        Equation("penalty", "forward", MATRIX_FORM, penalty, part=everything, operator="l2"),
        Equation("E", "forward", MATRIX_FORM, (total,), part=elementwise, operator="l2"),
    ]


def _with_penalty_gradient(architecture: Architecture, equations: Sequence[Equation]) -> list[Equation]:
    """A layer's backward equations, those of weights with the penalty's λ·W added."""
    return [_penalised(e) if architecture.l2 and e.name.startswith("dE/dW") else e for e in equations]


def _penalised(equation: Equation) -> Equation:
    weight = equation.name.removeprefix("dE/d")
    data, part, rows = equation.forms, equation.part, equation.rows
    assert part is not None
    assert rows is not None

    def with_term(form: Form) -> Form:
        def formula(ops: Any, l2: Any, w: Any, *operands: Any) -> Any:
            return form.formula(ops, *operands) + l2 * w

        return replace(form, name=f"{form.name}+λW", operands=(L2, weight, *form.operands), formula=formula)

    def of_component(index: tuple[int, ...], operands: Sequence[Any]) -> tuple[list[Any], tuple[int, ...]]:
        l2, w, *rest = operands
        parts, local = part(index, rest)
        return [l2, w[tuple(_one(i) for i in index)], *parts], local

    def of_rows(block: slice, operands: Sequence[Any]) -> list[Any]:
        l2, w, *rest = operands
        return [l2, w[block], *rows(block, rest)]

    return replace(equation, forms=tuple(map(with_term, data)), part=of_component, rows=of_rows)


def _updated(parameter: str, shape: tuple[int, ...], decay: Decay | None = None) -> Equation:
    """w − η·∂E/∂w, or what weight decay makes of it; its accuracy is measured by the step, η·∂E/∂w or η(∂E/∂w + λw)."""
    gradient = f"dE/d{parameter}"
    if decay is None:
        step = Form("step", ("eta", gradient), lambda ops, eta, g: eta * g, MATRIX_FORM)
        plain = Form("w-ηg", (parameter, "eta", gradient), lambda ops, w, eta, g: ops.descend(w, eta, g), MATRIX_FORM)
        forms: tuple[Form, ...] = (plain,)
    else:
        operands = (parameter, "eta", gradient, DECAY)
        step = Form("step", operands, lambda ops, w, eta, g, decay: eta * (g + decay * w), MATRIX_FORM)
        forms = tuple(Form(name, operands, formula, source) for name, formula, source in _DECAYED)
        # The same number, and each program is right for both: what a case asks for is how the reference writes it.
        forms = forms if decay == "coupled" else (*forms[1:], forms[0])
    return Equation(
        f"{parameter}_new", "update", MATRIX_FORM, forms, step, elementwise, _leading, shape, operator="sgd"
    )


#: Programs for an update with weight decay: name, formula of w, η, g and λ, and who runs it.
_DECAYED: tuple[tuple[str, Formula, str], ...] = (
    (
        "w-η(g+λw)",
        lambda ops, w, eta, g, decay: ops.descend(w, eta, g + decay * w),
        "PyTorch torch/optim/sgd.py: grad.add(param, alpha=weight_decay); optax/transforms/_adding.py, "
        "add_decayed_weights, before the learning rate, as in optax.adamw too",
    ),
    (
        "w(1-ηλ)-ηg",
        lambda ops, w, eta, g, decay: ops.descend(w * (1 - eta * decay), eta, g),
        "PyTorch torch/optim/adam.py, decoupled_weight_decay: param.mul_(1 - lr * weight_decay)",
    ),
    (
        "(w-wλη)-ηg",
        lambda ops, w, eta, g, decay: ops.descend(ops.descend(w, eta, w * decay), eta, g),
        f"{KERAS}/optimizers/base_optimizer.py, _apply_weight_decay: variable - variable * wd * lr",
    ),
)
