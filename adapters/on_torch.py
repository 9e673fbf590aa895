"""PyTorch: reverse mode by `backward`, the functional transforms, forward mode, and the compiler."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch

from gradconform.adapters.contract import Answer, Route, Trace
from gradconform.reference.cases import Point


class Operations:
    """The document's named operations, by PyTorch's native ones."""

    sigmoid = staticmethod(torch.sigmoid)


class TorchAdapter:
    name = "torch"
    routes = (
        Route("eager", "loss.backward(), torch.optim.SGD"),
        Route("func", "torch.func.grad_and_value"),
        Route("forward", "torch.func.jacfwd (forward mode)"),
        Route("compile", "torch.compile of torch.func.grad_and_value; slow to start", default=False),
    )

    def versions(self) -> dict[str, str]:
        return {"torch": torch.__version__}

    def unavailable(self, device: str) -> str | None:
        if device == "cuda" and not torch.cuda.is_available():
            return "torch.cuda.is_available() is False: no CUDA device, or a CPU build of torch"
        return None

    def answer(self, point: Point, route: str) -> Answer:
        with pinned_precision():
            if route == "eager":
                loss, gradient, updated, _ = backward(point, tapped=False)
                return Answer(loss, gradient, updated, trace=trace(point))
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


def tensors(point: Point) -> dict[str, torch.Tensor]:
    dtype = getattr(torch, point.dtype)
    return {n: torch.tensor(v, dtype=dtype, device=point.device) for n, v in point.values.items()}


def numbers(values: Mapping[str, torch.Tensor]) -> dict[str, float]:
    return {n: float(v.detach().to(torch.float64)) for n, v in values.items()}


def backward(point: Point, tapped: bool) -> tuple[float, dict[str, float], dict[str, float], dict[str, torch.Tensor]]:
    """One training step as users write it; `tapped`, with the adjoints of the intermediates retained."""
    values = tensors(point)
    weights = {n: values[n].requires_grad_() for n in point.parameters}
    optimizer = torch.optim.SGD(list(weights.values()), lr=point.rate)

    def retain(name: str, value: torch.Tensor) -> torch.Tensor:
        if name in point.intermediates:
            value.retain_grad()
        return value

    computed = point.forward(Operations, values, tap=retain if tapped else None)
    computed[point.loss].backward()
    gradient = numbers({n: present(w.grad) for n, w in weights.items()})
    optimizer.step()
    return float(computed[point.loss].detach()), gradient, numbers(weights), computed


def present(gradient: torch.Tensor | None) -> torch.Tensor:
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
    values = tensors(point)
    fixed = {n: v for n, v in values.items() if n not in point.parameters}
    weights = tuple(values[n] for n in point.parameters)

    def loss(*weights: torch.Tensor) -> Any:
        given = {**fixed, **dict(zip(point.parameters, weights, strict=True))}
        return point.forward(Operations, given)[point.loss]

    every = tuple(range(len(weights)))
    if route == "forward":
        found, value = torch.func.jacfwd(loss, argnums=every)(*weights), loss(*weights)
    else:
        both: Callable[..., Any] = torch.func.grad_and_value(loss, argnums=every)
        found, value = (torch.compile(both) if route == "compile" else both)(*weights)
    parameters = [w.clone() for w in weights]
    optimizer = torch.optim.SGD(parameters, lr=point.rate)
    for parameter, gradient in zip(parameters, found, strict=True):
        # Forward mode through 0-d tensors and Python floats answers in float64 (pytorch/pytorch#160513). The gradient
        # is reported as it came; an optimizer takes it only in the parameter's own dtype.
        parameter.grad = gradient.to(parameter.dtype)
    optimizer.step()
    return Answer(
        float(value.detach()),
        numbers(dict(zip(point.parameters, found, strict=True))),
        numbers(dict(zip(point.parameters, parameters, strict=True))),
    )
