"""The derivation of any layered network, in matrix form.

Layer l = 1 … L holds weights W_l of shape (out, in) and maybe a bias b_l of shape (out,); a batch X of shape (N, in) is
a_0. The document's derivation, for whole layers and batches at once:

    forward    z_l = a_{l−1}·W_lᵀ + b_l        a_l = f_l(z_l)        E = loss(a_L, T)
    backward   ∂E/∂a_L = loss'(a_L, T)         ∂E/∂z_l = ∂E/∂a_l · f_l'(z_l)
               ∂E/∂W_l = (∂E/∂z_l)ᵀ·a_{l−1}    ∂E/∂b_l = Σ_batch ∂E/∂z_l     ∂E/∂a_{l−1} = ∂E/∂z_l·W_l
    update     W_l_new = W_l − η·∂E/∂W_l       b_l_new = b_l − η·∂E/∂b_l

Each of the document's eight gradients is a component of ∂E/∂W_1 or ∂E/∂W_2 of the network (2, 2, 2) without bias, with
sigmoids, half squared error and one row of batch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from gradconform.reference.activations import ACTIVATIONS
from gradconform.reference.document import DOCUMENT
from gradconform.reference.equations import Derivation, Equation, Form, Formula, Part, elementwise
from gradconform.reference.losses import LOSSES, LossForm, LossFormula

MATRIX_FORM = f"{DOCUMENT}, in matrix form"


@dataclass(frozen=True)
class Architecture:
    """A network without its numbers: everything that its derivation depends on; hashable and picklable.

    `sizes` are the widths from the input to the output, `activations` and `biased` one entry a layer.
    """

    sizes: tuple[int, ...]
    activations: tuple[str, ...]
    biased: tuple[bool, ...]
    loss: str
    reduction: str
    batch: int

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
        return self.batch * (1 if LOSSES[self.loss].rowwise else self.sizes[-1])

    @property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """The shape of everything that is given, by name; the learning rate is a number."""
        shapes: dict[str, tuple[int, ...]] = {
            "X": (self.batch, self.sizes[0]), "T": (self.batch, self.sizes[-1]), "eta": (),
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
        return f"{self.sizes[0]} → {' → '.join(layers)}, {self.reduction} of {self.loss}, batch {self.batch}"

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
    forward.append(_loss(architecture))
    for layer in reversed(layers):
        backward += _backward(architecture, layer)
    shapes = architecture.shapes
    for parameter in parameters:
        update.append(_updated(parameter, shapes[parameter]))
    return Derivation(
        name=str(architecture),
        inputs=("X", "T"),
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
    equations.append(
        Equation(
            f"dE/dW{layer}",
            "backward",
            MATRIX_FORM,
            (of_weights,),
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


def _updated(parameter: str, shape: tuple[int, ...]) -> Equation:
    """w − η·∂E/∂w, its accuracy measured by the step η·∂E/∂w."""
    gradient = f"dE/d{parameter}"
    step = Form("step", ("eta", gradient), lambda ops, eta, g: eta * g, MATRIX_FORM)
    form = Form("w-ηg", (parameter, "eta", gradient), lambda ops, w, eta, g: ops.descend(w, eta, g), MATRIX_FORM)
    return Equation(
        f"{parameter}_new", "update", MATRIX_FORM, (form,), step, elementwise, _leading, shape, operator="sgd"
    )
