"""PyTorch: reverse mode by `backward`, the functional transforms, forward mode, and the compiler."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gradconform.adapters.contract import Answer, Point, Route, Trace, Unsupported


class Operations:
    """The named operations, by PyTorch's native ones."""

    linear = staticmethod(F.linear)
    sigmoid = staticmethod(torch.sigmoid)
    tanh = staticmethod(torch.tanh)
    relu = staticmethod(F.relu)
    leaky_relu = staticmethod(F.leaky_relu)
    elu = staticmethod(F.elu)
    selu = staticmethod(F.selu)
    softplus = staticmethod(F.softplus)
    silu = staticmethod(F.silu)
    gelu = staticmethod(F.gelu)
    mish = staticmethod(F.mish)
    hard_tanh = staticmethod(F.hardtanh)

    @staticmethod
    def gelu_tanh(z: Tensor) -> Tensor:
        return F.gelu(z, approximate="tanh")

    @staticmethod
    def softmax(z: Tensor) -> Tensor:
        return F.softmax(z, dim=-1)

    @staticmethod
    def l2_penalty(weights: Sequence[Tensor], l2: Tensor) -> Tensor:
        squares: Any = sum(w.pow(2).sum() for w in weights)
        return 0.5 * l2 * squares  # type: ignore[no-any-return]

    @staticmethod
    def half_squared_error(a: Tensor, t: Tensor, reduction: str) -> Tensor:
        return 0.5 * F.mse_loss(a, t, reduction=reduction)

    @staticmethod
    def squared_error(a: Tensor, t: Tensor, reduction: str) -> Tensor:
        return F.mse_loss(a, t, reduction=reduction)

    @staticmethod
    def l1(a: Tensor, t: Tensor, reduction: str) -> Tensor:
        return F.l1_loss(a, t, reduction=reduction)

    @staticmethod
    def huber(a: Tensor, t: Tensor, reduction: str) -> Tensor:
        return F.huber_loss(a, t, reduction=reduction)

    @staticmethod
    def binary_cross_entropy_with_logits(a: Tensor, t: Tensor, reduction: str) -> Tensor:
        return F.binary_cross_entropy_with_logits(a, t, reduction=reduction)

    @staticmethod
    def softmax_cross_entropy(a: Tensor, t: Tensor, reduction: str) -> Tensor:
        return F.cross_entropy(a, t, reduction=reduction)


#: What users put between `nn.Linear` layers, and at the end.
MODULES: dict[str, Callable[[], nn.Module]] = {
    "identity": nn.Identity, "sigmoid": nn.Sigmoid, "tanh": nn.Tanh, "relu": nn.ReLU, "leaky_relu": nn.LeakyReLU,
    "elu": nn.ELU, "selu": nn.SELU, "softplus": nn.Softplus, "silu": nn.SiLU, "gelu": nn.GELU,
    "gelu_tanh": lambda: nn.GELU(approximate="tanh"), "mish": nn.Mish, "hard_tanh": nn.Hardtanh,
    "softmax": lambda: nn.Softmax(dim=-1),
}  # fmt: skip
LOSS_MODULES: dict[str, Callable[..., nn.Module]] = {
    "half_squared_error": nn.MSELoss, "squared_error": nn.MSELoss, "l1": nn.L1Loss, "huber": nn.HuberLoss,
    "binary_cross_entropy_with_logits": nn.BCEWithLogitsLoss, "softmax_cross_entropy": nn.CrossEntropyLoss,
}  # fmt: skip


class TorchAdapter:
    name = "torch"
    routes = (
        Route("eager", "loss.backward(), torch.optim.SGD"),
        Route("func", "torch.func.grad_and_value"),
        Route("forward", "torch.func.jacfwd (forward mode)"),
        Route("module", "torch.nn.Module, loss module, torch.optim.SGD; layered networks"),
        Route("compile", "torch.compile of grad_and_value; slow to start", default=False),
    )

    def versions(self) -> dict[str, str]:
        return {"torch": torch.__version__}

    def unavailable(self, device: str) -> str | None:
        if device == "cuda" and not torch.cuda.is_available():
            return "torch.cuda.is_available() is False: no CUDA device, or a CPU build of torch"
        try:
            wanted = torch.device(device)
            torch.zeros((), device=wanted).item()
        except (RuntimeError, AssertionError) as error:  # AssertionError: torch was built without that backend
            return f"torch has no such device: {str(error).splitlines()[0]}"
        if wanted.type == "cpu" and wanted.index:  # which PyTorch takes for "cpu"
            return f"torch has one CPU device, cpu; {device} does not exist"
        return None

    def answer(self, point: Point, route: str) -> Answer:
        if point.rate < 0:
            raise Unsupported(f"rate: torch.optim.SGD refuses a negative learning rate, {point.rate!r}")
        with pinned_precision():
            if route == "eager":
                loss, gradient, updated, _ = backward(point, tapped=False)
                return Answer(loss, gradient, updated, trace=trace(point))
            if route == "module":
                return module(point)
            return functional(point, route)


adapter = TorchAdapter()


@contextmanager
def pinned_precision() -> Iterator[None]:
    """Full precision in matrix products (hypothesis 10), restored afterwards."""
    matmul = torch.backends.cuda.matmul
    saved = (matmul.allow_tf32, matmul.allow_fp16_reduced_precision_reduction,
             matmul.allow_bf16_reduced_precision_reduction)  # fmt: skip
    matmul.allow_tf32 = False
    matmul.allow_fp16_reduced_precision_reduction = False
    matmul.allow_bf16_reduced_precision_reduction = False
    try:
        yield
    finally:
        (matmul.allow_tf32, matmul.allow_fp16_reduced_precision_reduction,
         matmul.allow_bf16_reduced_precision_reduction) = saved  # fmt: skip


def tensors(point: Point) -> dict[str, Tensor]:
    dtype = getattr(torch, point.dtype)
    return {n: torch.tensor(v, dtype=dtype, device=point.device) for n, v in point.values.items()}


def number(value: Tensor) -> Any:
    """A float, or an array that shares the tensor's memory where NumPy has its dtype."""
    value = value.detach().cpu()
    if not value.ndim:
        return float(value.to(torch.float64))
    return np.asarray((value.to(torch.float32) if value.dtype == torch.bfloat16 else value).numpy())


def numbers(values: Mapping[str, Tensor]) -> dict[str, Any]:
    return {n: number(v) for n, v in values.items()}


def backward(point: Point, tapped: bool) -> tuple[float, dict[str, Any], dict[str, Any], dict[str, Tensor]]:
    """One training step as users write it; `tapped`, with the adjoints of the intermediates retained."""
    values = tensors(point)
    weights = {n: values[n].requires_grad_() for n in point.parameters}

    def retain(name: str, value: Tensor) -> Tensor:
        if name in point.intermediates:
            value.retain_grad()
        return value

    computed = point.forward(Operations, values, tap=retain if tapped else None)
    computed[point.loss].backward()
    gradient = numbers({n: present(w.grad) for n, w in weights.items()})
    descend(point, weights)
    return float(computed[point.loss].detach()), gradient, numbers(weights), computed


def descend(point: Point, parameters: Mapping[str, Tensor]) -> None:
    """One step of torch.optim.SGD by the parameters' `.grad`, with the weight decay that the case asks for.

    It is of weights and not of biases, which users say by parameter groups. A decoupled one is what AdamW does before
    its step; SGD has no option for it.
    """
    decay = point.values.get("weight_decay", 0.0)
    decoupled = point.architecture is not None and point.architecture.decay == "decoupled"
    weights = [p for n, p in parameters.items() if n.startswith("W")]
    others = [p for n, p in parameters.items() if not n.startswith("W")]
    groups: list[dict[str, Any]] = [
        {"params": weights, "weight_decay": 0.0 if decoupled else decay},
        {"params": others},
    ]
    optimizer = torch.optim.SGD([g for g in groups if g["params"]], lr=point.rate)
    if decoupled:
        with torch.no_grad():
            for weight in weights:
                weight.mul_(1 - point.rate * decay)
    optimizer.step()


def present(gradient: Tensor | None) -> Tensor:
    if gradient is None:
        raise RuntimeError("PyTorch left .grad empty after backward()")
    return gradient


def trace(point: Point) -> Trace:
    _, gradient, updated, computed = backward(point, tapped=True)
    return Trace(
        values=numbers({n: v for n, v in computed.items() if n not in point.values}),
        adjoints=numbers({n: present(computed[n].grad) for n in point.intermediates}),
        gradient=gradient,
        updated=updated,
    )


def functional(point: Point, route: str) -> Answer:
    if route == "forward" and point.architecture is not None:
        raise Unsupported("derivation: forward mode's own order of operations is derived for the cases document/* only")
    values = tensors(point)
    fixed = {n: v for n, v in values.items() if n not in point.parameters}
    weights = tuple(values[n] for n in point.parameters)

    def loss(*weights: Tensor) -> Any:
        given = {**fixed, **dict(zip(point.parameters, weights, strict=True))}
        return point.forward(Operations, given)[point.loss]

    every = tuple(range(len(weights)))
    if route == "forward":
        found, value = torch.func.jacfwd(loss, argnums=every)(*weights), loss(*weights)
    else:
        both: Callable[..., Any] = torch.func.grad_and_value(loss, argnums=every)
        found, value = (torch.compile(both) if route == "compile" else both)(*weights)
    parameters = {n: w.clone() for n, w in zip(point.parameters, weights, strict=True)}
    for parameter, gradient in zip(parameters.values(), found, strict=True):
        # Forward mode through 0-d tensors and Python floats answers in float64 (pytorch/pytorch#160513). The gradient
        # is reported as it came; an optimizer takes it only in the parameter's own dtype.
        parameter.grad = gradient.to(parameter.dtype)
    descend(point, parameters)
    return Answer(
        float(value.detach()),
        numbers(dict(zip(point.parameters, found, strict=True))),
        numbers(parameters),
    )


def module(point: Point) -> Answer:
    """The training step that users write: a Sequential of modules, a loss module, an optimizer."""
    loss, gradient, updated, _ = module_step(point, tapped=False)
    traced, traced_gradient, traced_updated, kept = module_step(point, tapped=True)
    trace = Trace(
        values={**numbers(kept), point.loss: traced},
        adjoints=numbers({n: present(kept[n].grad) for n in point.intermediates}),
        gradient=traced_gradient,
        updated=traced_updated,
    )
    return Answer(loss, gradient, updated, trace)


def module_step(point: Point, tapped: bool) -> tuple[float, dict[str, Any], dict[str, Any], dict[str, Tensor]]:
    architecture = point.architecture
    if architecture is None:
        raise Unsupported("derivation: in the cases document/* weights stand one by one; torch.nn.Linear has matrices")
    values = tensors(point)
    kept: dict[str, Tensor] = {}
    parameters: dict[str, nn.Parameter] = {}
    layers: list[nn.Module] = []

    def keep(name: str) -> Callable[[nn.Module, Any, Tensor], None]:
        def hook(_: nn.Module, __: Any, output: Tensor) -> None:
            output.retain_grad()
            kept[name] = output

        return hook

    for layer, activation in enumerate(architecture.activations, 1):
        inputs, outputs = architecture.sizes[layer - 1 : layer + 1]
        biased = architecture.biased[layer - 1]
        options = {"bias": biased, "device": point.device, "dtype": getattr(torch, point.dtype)}
        # Weights that are drawn only to be replaced would move the caller's random state.
        linear = nn.utils.skip_init(nn.Linear, inputs, outputs, **options)  # type: ignore[no-untyped-call]
        linear.weight = parameters[f"W{layer}"] = nn.Parameter(values[f"W{layer}"])
        if biased:
            linear.bias = parameters[f"b{layer}"] = nn.Parameter(values[f"b{layer}"])
        nonlinear = MODULES[activation]()
        if tapped:
            linear.register_forward_hook(keep(f"z{layer}"))
            nonlinear.register_forward_hook(keep(f"a{layer}"))
        layers += [linear, nonlinear]
    model = nn.Sequential(*layers)
    usual = architecture.mean_over is None
    criterion = LOSS_MODULES[architecture.loss](reduction=architecture.reduction if usual else "sum")
    loss = criterion(model(values["X"]), values["T"])
    if architecture.loss == "half_squared_error":
        loss = 0.5 * loss
    if not usual:
        loss = loss / architecture.count
    if architecture.l2:
        weights = [p for n, p in parameters.items() if n.startswith("W")]
        kept |= {"E_data": loss, "penalty": Operations.l2_penalty(weights, values["l2"])}
        loss = kept["E_data"] + kept["penalty"]
    loss.backward()
    gradient = numbers({n: present(p.grad) for n, p in parameters.items()})
    descend(point, parameters)
    return float(loss.detach().to(torch.float64)), gradient, numbers(dict(parameters)), kept
