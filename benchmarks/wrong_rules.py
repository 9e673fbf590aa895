"""Derivative rules as people write them, right and wrong, as text that means the same in PyTorch and in JAX.

A rule is a function, its right backward and a wrong one: expressions over the operands x, y, … and the adjoint g, which
give the gradient of each operand, in a tuple where there are several. `NAMES` says what they may use beside operators.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any

Shape = tuple[int, ...]
DTYPES = {"float64": 53, "float32": 24, "bfloat16": 8, "float16": 11}


@dataclass(frozen=True)
class Rule:
    """A function with its right backward and a wrong one; `numbers` is what its operands are drawn from.

    A fault of a relative 2^-bits is none in a dtype that does not hold 1 + 2^-bits. `complex` are the operands, and g,
    whose numbers are complex with parts of the dtype; such a rule is written by PyTorch's convention.
    What frameworks have in float64 and float32 alone is `wide`.
    """

    name: str
    fault: str
    shapes: tuple[Shape, ...]
    forward: str
    right: str
    wrong: str
    numbers: str = "normal"
    bits: int = 0
    complex: str = ""
    wide: bool = False

    @property
    def operands(self) -> tuple[str, ...]:
        return tuple("xyzw"[: len(self.shapes)])

    @property
    def dtypes(self) -> tuple[str, ...]:
        least = 24 if self.complex or self.wide else 0
        return tuple(d for d, precision in DTYPES.items() if precision > self.bits and precision >= least)


def expression(text: str, operands: tuple[str, ...], names: Mapping[str, Any], name: str) -> Callable[..., Any]:
    """The function that an expression is, called by the rule's name."""
    function: Callable[..., Any] = eval(
        compile(f"lambda {', '.join(operands)}: {text}", f"<{name}>", "eval"), {**names}
    )
    function.__name__ = function.__qualname__ = name
    return function


def names_of(xp: ModuleType, own: Mapping[str, Any]) -> dict[str, Any]:
    """What rules may use: functions of the framework, what is put together from them, and its `own`."""
    same = "exp log tanh sin cos tan sqrt where maximum clip flip cumsum roll outer stack sign abs zeros_like".split()
    same += "conj real imag angle".split()
    same += "ones_like concatenate expm1 log1p arctan arcsin arctan2 sinh cosh cumprod broadcast_to tril".split()
    of: dict[str, Any] = {n: getattr(xp, n) for n in same} | dict(own)
    of |= {n: getattr(xp.fft, n) for n in ("fft", "ifft", "rfft", "irfft")}

    def sigmoid(x: Any) -> Any:
        return 1 / (1 + xp.exp(-x))

    def softmax(x: Any, axis: int = -1) -> Any:
        e = xp.exp(x)
        return e / e.sum(axis, keepdims=True)

    def total(x: Any, axis: int = -1) -> Any:
        return x.sum(axis, keepdims=True)

    def mean(x: Any, axis: int = -1) -> Any:
        return x.mean(axis, keepdims=True)

    def scale(x: Any, eps: float = 0.1, axis: int = -1) -> Any:
        """1/√(variance + eps)"""
        d = x - mean(x, axis)
        return 1 / xp.sqrt(mean(d * d, axis) + eps)

    def normed(x: Any, eps: float = 0.1, axis: int = -1) -> Any:
        return (x - mean(x, axis)) * scale(x, eps, axis)

    def norm_back(g: Any, x: Any, eps: float = 0.1, axis: int = -1) -> Any:
        n = normed(x, eps, axis)
        return scale(x, eps, axis) * (g - mean(g, axis) - n * mean(g * n, axis))

    def padded(x: Any, before: int, after: int) -> Any:
        return xp.concatenate([xp.zeros_like(x[:1])] * before + [x] + [xp.zeros_like(x[:1])] * after)

    def sliding(x: Any, w: Any, stride: int = 1) -> Any:
        """Σ_k w_k x_(i·stride + k)"""
        last = (x.shape[0] - w.shape[0]) // stride + 1
        return xp.stack([(x[i * stride : i * stride + w.shape[0]] * w).sum() for i in range(last)])

    def unslid(g: Any, x: Any, w: Any, stride: int = 1, flipped: bool = True) -> Any:
        """The adjoint of `sliding` by x, with the kernel as it is, or back to front."""
        kernel = w if flipped else xp.flip(w, (0,))
        taps = [kernel[k] * g[i] for i in range(g.shape[0]) for k in range(w.shape[0])]
        at = [i * stride + k for i in range(g.shape[0]) for k in range(w.shape[0])]
        return xp.stack([sum((t for t, j in zip(taps, at, strict=True) if j == n), 0 * x[n])
                         for n in range(x.shape[0])])  # fmt: skip

    def kernel_gradient(g: Any, x: Any, w: Any, stride: int = 1, shift: int = 0) -> Any:
        def tap(k: int) -> Any:
            return sum((g[i] * x[i * stride + (k + shift) % w.shape[0]] for i in range(g.shape[0])), 0 * g[0])

        return xp.stack([tap(k) for k in range(w.shape[0])])

    def states(x: Any, w: Any) -> list[Any]:
        """h_t = tanh(w·h_(t−1) + x_t), from 0."""
        found = [0 * x[0]]
        for t in range(x.shape[0]):
            found.append(xp.tanh(w * found[-1] + x[t]))
        return found

    def unrolled(g: Any, x: Any, w: Any, backwards: bool = True, truncated: bool = False) -> tuple[Any, Any]:
        """The adjoint of the last state through time: backwards, or in the wrong order; or one step of it."""
        h = states(x, w)
        order = range(x.shape[0])[::-1] if backwards else range(x.shape[0])
        of_x, of_w, d = {t: 0 * x[t] for t in order}, 0 * w, g
        for t in order:
            d = d * (1 - h[t + 1] ** 2)
            of_x[t], of_w = d, of_w + (d * h[t]).sum()
            d = d * w
            if truncated:
                break
        return xp.stack([of_x[t] for t in range(x.shape[0])]), of_w

    def largest(x: Any, i: int) -> Any:
        """Where the largest of two neighbours is the one at i, as numbers."""
        pairs = x.reshape(-1, 2)
        return pairs[:, i] > pairs[:, 1 - i]

    def unpooled(first: Any, second: Any) -> Any:
        return xp.stack([first, second], 1).reshape(-1)

    for function in (sigmoid, softmax, total, mean, scale, normed, norm_back, padded, sliding, unslid, kernel_gradient,
                     states, unrolled, largest, unpooled):  # fmt: skip
        of[function.__name__] = function
    return of


R = Rule
V, M, S = (4,), (2, 3), (3, 3)
ROW = "[1.0, 0.0, 1.0, 1.0]"
GELU = "0.7978845608028654 * (x + 0.044715 * x**3)"


def _gelu_slope(c: str, d: str) -> str:
    u = f"tanh(0.7978845608028654 * (x + {c} * x**3))"
    return f"g * (0.5 * (1 + {u}) + 0.5 * x * (1 - {u} ** 2) * 0.7978845608028654 * (1 + {d} * x**2))"


RULES: tuple[Rule, ...] = (
    # Factors, signs, constants
    R("Square", "missing factor", (V,), "x * x", "2 * g * x", "g * x"),
    R("Double", "factor twice", (V,), "x * x", "2 * g * x", "4 * g * x"),
    R("Cosine", "sign", (V,), "cos(x)", "-g * sin(x)", "g * sin(x)"),
    R("Difference", "sign", (V, V), "x - y", "(g, -g)", "(g, g)"),
    *(R(f"Tanh{k}", f"factor 1 + 2^-{k}", (V,), "tanh(x)", "g * (1 - tanh(x) ** 2)",
        f"g * (1 - tanh(x) ** 2) * (1 + 2.0**-{k})", bits=k) for k in (5, 7, 10, 16, 20, 23, 35, 45, 50)),
    R("Linear40", "factor 1 + 1e-12", (V,), "3 * x", "3 * g", "3 * (1 + 1e-12) * g", bits=40),
    R("GeluCubic", "constant mistyped", (V,), f"0.5 * x * (1 + tanh({GELU}))", _gelu_slope("0.044715", "0.134145"),
      _gelu_slope("0.044715", "0.133")),
    R("GeluHalf", "missing term", (V,), f"0.5 * x * (1 + tanh({GELU}))", _gelu_slope("0.044715", "0.134145"),
      f"g * 0.5 * (1 + tanh({GELU}))"),
    R("Erf", "constant 1 % off", (V,), "exp(-x * x)", "-2 * g * x * exp(-x * x)", "-2.02 * g * x * exp(-x * x)"),
    R("Cube", "exponent", (V,), "x**3", "3 * g * x**2", "3 * g * x"),
    R("Reciprocal", "exponent", (V,), "1 / x", "-g / x**2", "-g / x", "positive"),
    R("Root", "missing factor", (V,), "sqrt(x)", "g / (2 * sqrt(x))", "g / sqrt(x)", "positive"),
    R("Logarithm", "epsilon added", (V,), "log(x)", "g / x", "g / (x + 1e-3)", "positive"),
    R("LogOnePlus", "missing term", (V,), "log1p(x)", "g / (1 + x)", "g / x", "positive"),
    R("Tangent", "of the operand", (V,), "tan(x)", "g * (1 + tan(x) ** 2)", "g * (1 + x**2)", "inside"),
    R("Arcsine", "sign inside", (V,), "arcsin(x)", "g / sqrt(1 - x * x)", "g / sqrt(1 + x * x)", "inside"),
    R("Arctangent", "root", (V,), "arctan(x)", "g / (1 + x * x)", "g / sqrt(1 + x * x)"),
    R("Expm1", "missing term", (V,), "expm1(x)", "g * exp(x)", "g * expm1(x)"),
    R("HyperbolicSine", "sign of cosh", (V,), "cosh(x)", "g * sinh(x)", "-g * sinh(x)"),
    R("Mse", "missing factor", (V, V), "((x - y) ** 2).mean()", "(g * (x - y) / 2, -g * (x - y) / 2)",
      "(g * (x - y) / 4, -g * (x - y) / 4)"),
    # The adjoint
    R("Sine", "forgets the adjoint", (V,), "sin(x)", "g * cos(x)", "cos(x)"),
    R("Clipped", "clips the adjoint", (V,), "2 * x", "2 * g", "2 * clip(g, -1, 1)"),
    R("Squared", "squares the adjoint", (V,), "3 * x", "3 * g", "3 * g * g"),
    R("Absolute", "takes the adjoint's absolute value", (V,), "x * x", "2 * g * x", "2 * abs(g) * x"),
    R("Scaled", "divides by the adjoint's size", (V,), "2 * x", "2 * g", "2 * g / abs(g)"),
    R("Guided", "masks by the adjoint", (V,), "maximum(x, 0 * x)", "g * (x > 0)", "g * (x > 0) * (g > 0)"),
    R("Averaged", "averages the adjoint", (V,), "2 * x", "2 * g", "2 * g.mean() * ones_like(x)"),
    # Branches and masks
    R("Relu", "mask off", (V,), "maximum(x, 0 * x)", "g * (x > 0)", "g * (x > -0.5)", "spread"),
    R("Leaky", "slope", (V,), "where(x > 0, x, 0.01 * x)", "where(x > 0, g, 0.01 * g)", "where(x > 0, g, 0.1 * g)",
      "spread"),
    R("Elu", "missing scale", (V,), "where(x > 0, x, 1.5 * (exp(x) - 1))", "where(x > 0, g, 1.5 * g * exp(x))",
      "where(x > 0, g, g * exp(x))", "spread"),
    R("Through", "straight through", (V,), "clip(x, -0.5, 0.5)", "g * (abs(x) < 0.5)", "g", "spread"),
    R("Modulus", "one branch", (V,), "abs(x)", "g * sign(x)", "g", "spread"),
    R("Larger", "branches exchanged", (V, V), "maximum(x, y)", "(g * (x > y), g * (x < y))",
      "(g * (x < y), g * (x > y))"),
    R("Huber", "missing delta", (V,), "where(abs(x) < 0.5, 0.5 * x * x, 0.5 * (abs(x) - 0.25))",
      "g * where(abs(x) < 0.5, x, 0.5 * sign(x))", "g * where(abs(x) < 0.5, x, sign(x))", "spread"),
    R("SmoothL1", "branches exchanged", (V,), "where(abs(x) < 1, 0.5 * x * x, abs(x) - 0.5)",
      "g * where(abs(x) < 1, x, sign(x))", "g * where(abs(x) < 1, sign(x), x)", "spread"),
    R("Hinge", "margin", (V,), "maximum(1 - x, 0 * x)", "-g * (x < 1)", "-g * (x < 0)", "spread"),
    R("Prelu", "other side", (V, V), "where(x > 0, x, x * y)", "(where(x > 0, g, g * y), g * x * (x <= 0))",
      "(where(x > 0, g, g * y), g * x * (x > 0))", "spread"),
    R("Dropout", "mask not scaled", (V,), f"x * row({ROW}, x) / 0.75", f"g * row({ROW}, g) / 0.75",
      f"g * row({ROW}, g)"),
    R("MaskOff", "mask off by one", (V,), f"x * row({ROW}, x)", f"g * row({ROW}, g)", f"g * roll(row({ROW}, g), 1, 0)"),
    R("MaskedMean", "padding counted", (V,), f"(x * row({ROW}, x)).sum() / 3", f"g * row({ROW}, x) / 3",
      f"g * row({ROW}, x) / 4"),
    # Operands and outputs exchanged
    R("Product", "outputs exchanged", (V, V), "x * y", "(g * y, g * x)", "(g * x, g * y)"),
    R("Quotient", "sign of the second", (V, V), "x / y", "(g / y, -g * x / y**2)", "(g / y, g * x / y**2)", "positive"),
    R("Ratio", "outputs exchanged", (V, V), "x / y", "(g / y, -g * x / y**2)", "(-g * x / y**2, g / y)", "positive"),
    R("Hypotenuse", "outputs exchanged", (V, V), "sqrt(x * x + y * y)",
      "(g * x / sqrt(x * x + y * y), g * y / sqrt(x * x + y * y))",
      "(g * y / sqrt(x * x + y * y), g * x / sqrt(x * x + y * y))"),
    R("Angle", "outputs exchanged", (V, V), "arctan2(x, y)", "(g * y / (x * x + y * y), -g * x / (x * x + y * y))",
      "(-g * x / (x * x + y * y), g * y / (x * x + y * y))"),
    R("LogAddExp", "weights exchanged", (V, V), "log(exp(x) + exp(y))",
      "(g * exp(x) / (exp(x) + exp(y)), g * exp(y) / (exp(x) + exp(y)))",
      "(g * exp(y) / (exp(x) + exp(y)), g * exp(x) / (exp(x) + exp(y)))"),
    R("Gate", "halves exchanged", (V, V), "x * sigmoid(y)", "(g * sigmoid(y), g * x * sigmoid(y) * (1 - sigmoid(y)))",
      "(g * x * sigmoid(y) * (1 - sigmoid(y)), g * sigmoid(y))"),
    # Activations
    R("Sigmoid", "missing factor", (V,), "sigmoid(x)", "g * sigmoid(x) * (1 - sigmoid(x))", "g * sigmoid(x)"),
    R("Silu", "missing term", (V,), "x * sigmoid(x)", "g * sigmoid(x) * (1 + x * (1 - sigmoid(x)))", "g * sigmoid(x)"),
    R("Softplus", "sign inside", (V,), "log(1 + exp(x))", "g * sigmoid(x)", "g * sigmoid(-x)"),
    R("Swish", "missing slope", (V, V), "x * sigmoid(x * y)",
      "(g * sigmoid(x * y) * (1 + x * y * (1 - sigmoid(x * y))), g * x * x * sigmoid(x * y) * (1 - sigmoid(x * y)))",
      "(g * sigmoid(x * y) * (1 + x * y * (1 - sigmoid(x * y))), g * x * sigmoid(x * y) * (1 - sigmoid(x * y)))"),
    # Reductions and broadcasts
    R("Mean", "sum instead of mean", (V,), "x.mean()", "g * ones_like(x) / 4", "g * ones_like(x)"),
    R("Sum", "mean instead of sum", (V,), "x.sum()", "g * ones_like(x)", "g * ones_like(x) / 4"),
    R("RowMean", "divided by the batch", (M,), "mean(x)", "g * ones_like(x) / 3", "g * ones_like(x) / 2"),
    R("Bias", "averaged over the batch", (M, (3,)), "x + y", "(g, g.sum(0))", "(g, g.mean(0))"),
    R("BiasAxis", "reduced over the wrong axis", (S, (3,)), "x + y", "(g, g.sum(0))", "(g, g.sum(1))"),
    R("Broadcast", "reduction left out", (M, (3,)), "x * y", "(g * y, (g * x).sum(0))", "(g * y, (g * x)[0])"),
    R("BatchedLoss", "not divided by the batch", (M, M), "((x - y) ** 2).sum() / 2",
      "(g * (x - y), -g * (x - y))", "(2 * g * (x - y), -2 * g * (x - y))"),
    R("Variance", "divided by n - 1", (M,), "mean((x - mean(x)) ** 2)", "g * 2 * (x - mean(x)) / 3",
      "g * 2 * (x - mean(x)) / 2"),
    R("Deviation", "missing root", (M,), "sqrt(mean((x - mean(x)) ** 2))",
      "g * (x - mean(x)) / (3 * sqrt(mean((x - mean(x)) ** 2)))", "g * (x - mean(x)) / (3 * mean((x - mean(x)) ** 2))"),
    R("Length", "of one row", (M,), "sqrt(total(x * x))", "g * x / sqrt(total(x * x))", "g * x / sqrt((x * x).sum())"),
    R("Unit", "missing projection", (M,), "x / sqrt(total(x * x))",
      "(g - x * total(g * x) / total(x * x)) / sqrt(total(x * x))", "g / sqrt(total(x * x))"),
    # Softmax and its losses
    R("Softmax", "wrong axis", (S,), "softmax(x)", "softmax(x) * (g - total(g * softmax(x)))",
      "softmax(x) * (g - total(g * softmax(x), 0))"),
    R("SoftmaxDiagonal", "diagonal only", (M,), "softmax(x)", "softmax(x) * (g - total(g * softmax(x)))",
      "g * softmax(x) * (1 - softmax(x))"),
    R("LogSoftmax", "adjoint taken to add up to 1", (M,), "x - log(total(exp(x)))", "g - softmax(x) * total(g)",
      "g - softmax(x)"),
    R("CrossEntropy", "not divided by the batch", (M,),
      "-(table([[0, 1, 0], [1, 0, 0]], x) * (x - log(total(exp(x))))).sum() / 2",
      "g * (softmax(x) - table([[0, 1, 0], [1, 0, 0]], x)) / 2", "g * (softmax(x) - table([[0, 1, 0], [1, 0, 0]], x))"),
    R("Smoothing", "label smoothing left out", (M,),
      "-(table([[0.0625, 0.875, 0.0625], [0.875, 0.0625, 0.0625]], x) * (x - log(total(exp(x))))).sum()",
      "g * (softmax(x) - table([[0.0625, 0.875, 0.0625], [0.875, 0.0625, 0.0625]], x))",
      "g * (softmax(x) - table([[0, 1, 0], [1, 0, 0]], x))"),
    R("Logits", "sign of the target", (V,), f"(log(1 + exp(x)) - x * row({ROW}, x)).sum()",
      f"g * (sigmoid(x) - row({ROW}, x))", f"g * (sigmoid(x) + row({ROW}, x))"),
    R("Divergence", "missing term", (V,), "(x * log(x)).sum()", "g * (log(x) + 1)", "g * log(x)", "positive"),
    # Norms
    R("LayerNorm", "missing mean", (M,), "normed(x)", "norm_back(g, x)",
      "scale(x) * (g - normed(x) * mean(g * normed(x)))"),
    R("LayerNormEps", "epsilon left out", (M,), "normed(x)", "norm_back(g, x)", "norm_back(g, x, 0.0)"),
    R("LayerNormAxis", "wrong axis", (S,), "normed(x)", "norm_back(g, x)", "norm_back(g, x, 0.1, 0)"),
    R("RmsNorm", "missing projection", (M,), "x / sqrt(mean(x * x) + 0.1)",
      "(g - x * mean(g * x) / (mean(x * x) + 0.1)) / sqrt(mean(x * x) + 0.1)", "g / sqrt(mean(x * x) + 0.1)"),
    R("NormWeight", "of the input before the norm", (M, (3,)), "normed(x) * y",
      "(norm_back(g * y, x), (g * normed(x)).sum(0))", "(norm_back(g * y, x), (g * x).sum(0))"),
    R("BatchNorm", "statistics taken as constant", ((4, 2),), "normed(x, 0.1, 0)", "norm_back(g, x, 0.1, 0)",
      "g * scale(x, 0.1, 0)"),
    # Products of matrices
    R("MatrixProduct", "missing transpose", ((2, 2), (2, 2)), "x @ y", "(g @ y.T, x.T @ g)", "(g @ y, x.T @ g)"),
    R("WeightTransposed", "transposed", ((2, 2), (2, 2)), "x @ y", "(g @ y.T, x.T @ g)", "(g @ y.T, g.T @ x)"),
    R("WeightForgotten", "no gradient of the weight", (M, (3, 2)), "x @ y", "(g @ y.T, x.T @ g)", "(g @ y.T, 0 * y)"),
    R("WeightAveraged", "averaged over the batch", (M, (3, 2)), "x @ y", "(g @ y.T, x.T @ g)",
      "(g @ y.T, x.T @ g / 2)"),
    R("Quadratic", "taken as symmetric", ((3,), S), "x @ y @ x", "(g * (y @ x + y.T @ x), g * outer(x, x))",
      "(2 * g * (y @ x), g * outer(x, x))"),
    R("Outer", "outputs exchanged", ((3,), (3,)), "outer(x, y)", "(g @ y, g.T @ x)", "(g.T @ x, g @ y)"),
    R("Gram", "one side", (M,), "x @ x.T", "(g + g.T) @ x", "g @ x"),
    # Order, movement, indices
    R("CumulativeSum", "not reversed", (V,), "cumsum(x, 0)", "flip(cumsum(flip(g, (0,)), 0), (0,))", "cumsum(g, 0)"),
    R("CumulativeProduct", "not reversed", (V,), "cumprod(x, 0)",
      "flip(cumsum(flip(g * cumprod(x, 0), (0,)), 0), (0,)) / x", "cumsum(g * cumprod(x, 0), 0) / x", "positive"),
    R("Roll", "wrong direction", (V,), "roll(x, 1, 0)", "roll(g, -1, 0)", "roll(g, 1, 0)"),
    R("Flip", "not flipped back", (V,), "flip(x, (0,)) * 2", "2 * flip(g, (0,))", "2 * g"),
    R("Transpose", "reshaped instead", (M,), "x.T * 2", "2 * g.T", "2 * g.reshape(2, 3)"),
    R("Slice", "padding off by one", (V,), "2 * x[1:3]", "2 * padded(g, 1, 1)", "2 * padded(g, 2, 0)"),
    R("Differences", "shifted", (V,), "x[1:] - x[:-1]", "padded(g, 1, 0) - padded(g, 0, 1)",
      "padded(g, 0, 1) - padded(g, 1, 0)"),
    R("Gather", "overwrites instead of adding", (V,), "take(x, [2, 0, 2])", "added(x, [2, 0, 2], g)",
      "put(x, [2, 0, 2], g)"),
    R("GatherOff", "index off by one", (V,), "take(x, [2, 0, 1])", "added(x, [2, 0, 1], g)", "added(x, [3, 1, 2], g)"),
    R("Embedding", "padding not left out", ((3, 2),), "take(x, [1, 0, 2]) * row([[0.0], [1.0], [1.0]], x)",
      "added(x, [1, 0, 2], g * row([[0.0], [1.0], [1.0]], x))", "added(x, [1, 0, 2], g)"),
    R("Triangle", "other triangle", (S,), "tril(x)", "tril(g)", "tril(g).T"),
    # Windows
    R("Convolution", "kernel flipped", ((5,), (3,)), "sliding(x, y)", "(unslid(g, x, y), kernel_gradient(g, x, y))",
      "(unslid(g, x, y, 1, False), kernel_gradient(g, x, y))"),
    R("Stride", "stride left out", ((5,), (3,)), "sliding(x, y, 2)",
      "(unslid(g, x, y, 2), kernel_gradient(g, x, y, 2))", "(unslid(g, x, y, 1), kernel_gradient(g, x, y, 2))"),
    R("KernelShift", "kernel's gradient shifted", ((5,), (3,)), "sliding(x, y)",
      "(unslid(g, x, y), kernel_gradient(g, x, y))", "(unslid(g, x, y), kernel_gradient(g, x, y, 1, 1))"),
    R("MaxPool", "to the wrong index", ((8,),), "maximum(x[::2], x[1::2])",
      "unpooled(g * largest(x, 0), g * largest(x, 1))", "unpooled(g * largest(x, 1), g * largest(x, 0))"),
    R("MaxPoolShared", "shared among the window", ((8,),), "maximum(x[::2], x[1::2])",
      "unpooled(g * largest(x, 0), g * largest(x, 1))", "unpooled(g / 2, g / 2)"),
    R("AveragePool", "not divided", (V,), "(x[::2] + x[1::2]) / 2", "unpooled(g / 2, g / 2)", "unpooled(g, g)"),
    # Loops
    R("Recurrence", "adjoint in the wrong order", (V, ()), "states(x, y)[-1]", "unrolled(g, x, y)",
      "unrolled(g, x, y, False)"),
    R("Truncated", "one step only", (V, ()), "states(x, y)[-1]", "unrolled(g, x, y)", "unrolled(g, x, y, True, True)"),
    R("Euler", "missing step", (V,), "x + 0.1 * sin(x)", "g * (1 + 0.1 * cos(x))", "g"),
    R("EulerAt", "slope at the new point", (V,), "x + 0.1 * sin(x)", "g * (1 + 0.1 * cos(x))",
      "g * (1 + 0.1 * cos(x + 0.1 * sin(x)))"),
    R("Horner", "coefficients shifted", (V,), "1 + x * (2 + x * (3 + x * 4))", "g * (2 + x * (6 + x * 12))",
      "g * (2 + x * (3 + x * 4))"),
)  # fmt: skip
