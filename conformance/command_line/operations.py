"""What an adapter's operations may be asked for: names, shapes, what each is; for `list operations` and the docs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

#: What an activation is, its constants included.
ACTIVATION: Mapping[str, str] = {
    "leaky_relu": "z or 0.01·z",
    "elu": "z or eᶻ − 1",
    "selu": "1.0507009873554804934 times z or 1.6732632423543772848·(eᶻ − 1)",
    "softplus": "log(1 + eᶻ)",
    "silu": "z·σ(z)",
    "gelu": "½·z·(1 + erf(z/√2))",
    "gelu_tanh": "½·z·(1 + tanh(√(2/π)·(z + 0.044715·z³)))",
    "mish": "z·tanh(log(1 + eᶻ))",
    "hard_tanh": "z, no less than −1 and no more than 1",
    "relu": "max(z, 0)",
    "sigmoid": "1/(1 + e⁻ᶻ)",
    "tanh": "tanh(z)",
    "softmax": "eᶻ/Σeᶻ of each row, at the output only",
}
#: What a loss adds up over its components, or takes the mean of.
TERM: Mapping[str, str] = {
    "half_squared_error": "½(t − a)²",
    "squared_error": "(t − a)²",
    "l1": "|t − a|",
    "huber": "½d² where |d| ≤ 1, else |d| − ½, with d = a − t",
    "binary_cross_entropy_with_logits": "log(1 + eᵃ) − a·t",
    "softmax_cross_entropy": "−Σt·log softmax(a), one number a row",
}


def asked() -> Iterator[tuple[str, str, str]]:
    """Each operation as it is called, the shapes that it takes and gives, and what it is."""
    yield "linear(x, W, b)", "(batch, in), (out, in), (out,) or None → (batch, out)", "x·Wᵀ + b"
    for name, formula in ACTIVATION.items():
        yield f"{name}(z)", "(batch, out) → (batch, out)", formula
    for name, term in TERM.items():
        yield f"{name}(a, t, reduction)", "twice (batch, out) → ()", term
    yield "l2_penalty(weights, l2)", "a sequence of (out, in), () → ()", "½·l2·Σ‖W‖²"


def listed() -> list[str]:
    """The same as lines, after the one that the document's network asks for."""
    document = ("sigmoid(x)", "a number → a number", "the document's network asks for nothing else")
    return [f"{call}: {shapes}; {what}" for call, shapes, what in (document, *asked())]
