"""PyTorch programs to record: correct ones of many kinds, and custom rules that are wrong."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

DTYPES = ("float64", "float32", "bfloat16", "float16")


@dataclass(frozen=True)
class Program:
    """A function, the shapes of its arguments, and what their numbers are like.

    `numbers` makes an argument from standard normal numbers. `only` names the dtypes in which PyTorch has the program.
    Arguments that are `complex` have parts of that dtype.
    """

    name: str
    f: Callable[..., Any]
    shapes: tuple[tuple[int, ...], ...]
    numbers: Callable[[np.ndarray], np.ndarray] = lambda x: x  # type: ignore[type-arg]
    only: tuple[str, ...] = DTYPES
    complex: bool = False

    def arguments(self, dtype: str, seed: int = 0) -> list[Tensor]:
        drawn = np.random.default_rng([seed, len(self.name)])
        return self.tensors(dtype, lambda s: drawn.normal(size=s))

    def tensors(
        self,
        dtype: str,
        draw: Callable[[tuple[int, ...]], np.ndarray],
        shapes: tuple[tuple[int, ...], ...] = (),  # type: ignore[type-arg]
    ) -> list[Tensor]:
        """Arguments of what is drawn, of other shapes where these are given."""
        to, found = getattr(torch, dtype), []
        for shape in shapes or self.shapes:
            x = torch.from_numpy(np.asarray(self.numbers(draw(shape))))
            if self.complex:
                x = torch.complex(x, torch.from_numpy(np.asarray(self.numbers(draw(shape)))))
            found.append(x.to(to.to_complex() if self.complex else to))
        return found


def positive(x: np.ndarray) -> np.ndarray:  # type: ignore[type-arg]
    return np.abs(x) + 0.5


def inside(x: np.ndarray) -> np.ndarray:  # type: ignore[type-arg]
    """Between −0.9 and 0.9."""
    return 0.9 * np.tanh(x)


# Layers ---------------------------------------------------------------------------------------------------------------


def mlp(x: Tensor, w: Tensor, b: Tensor, v: Tensor) -> Tensor:
    return torch.tanh(x @ w + b) @ v


def layer_norm_by_hand(x: Tensor, g: Tensor, b: Tensor) -> Tensor:
    centred = x - x.mean(-1, keepdim=True)
    return centred / torch.sqrt((centred**2).mean(-1, keepdim=True) + 1e-5) * g + b


def softmax_by_hand(x: Tensor) -> Tensor:
    e = torch.exp(x - x.max(-1, keepdim=True).values)
    return e / e.sum(-1, keepdim=True)


def attention_by_hand(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    scores = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])
    seen = torch.tril(torch.ones(scores.shape[-2:], dtype=torch.bool))
    return torch.softmax(scores.masked_fill(~seen, float("-inf")), -1) @ v


def cell(kind: type[nn.Module]) -> Callable[..., Tensor]:
    def f(x: Tensor, h: Tensor, wi: Tensor, wh: Tensor, bi: Tensor, bh: Tensor) -> Tensor:
        if kind is nn.GRUCell:
            return torch.gru_cell(x, h, wi, wh, bi, bh)
        if kind is nn.RNNCell:
            return torch.rnn_tanh_cell(x, h, wi, wh, bi, bh)
        out, c = torch.lstm_cell(x, (h, h), wi, wh, bi, bh)
        return out + c

    return f


def lstm(x: Tensor, *weights: Tensor) -> Tensor:
    h = torch.zeros(1, x.shape[1], 2, dtype=x.dtype)
    return torch.lstm(x, (h, h), weights, True, 1, 0.0, False, False, False)[0]


def batch_norm(x: Tensor, w: Tensor, b: Tensor) -> Tensor:
    return F.batch_norm(x, torch.zeros(3, dtype=x.dtype), torch.ones(3, dtype=x.dtype), w, b, training=True)


def batch_norm_in_use(x: Tensor, w: Tensor, b: Tensor) -> Tensor:
    mean, var = (torch.tensor(t, dtype=x.dtype) for t in ([0.5, -0.25, 0.125], [1.5, 0.75, 2.0]))
    return F.batch_norm(x, mean, var, w, b, training=False)


def transformer_block(x: Tensor, wq: Tensor, wo: Tensor, w1: Tensor, w2: Tensor, g: Tensor, b: Tensor) -> Tensor:
    h = F.layer_norm(x, x.shape[-1:], g, b)
    q, k, v = (h @ wq).chunk(3, -1)
    x = x + torch.softmax(q @ k.mT / math.sqrt(q.shape[-1]), -1) @ v @ wo
    return x + F.gelu(F.layer_norm(x, x.shape[-1:]) @ w1) @ w2


# In place, views, branches --------------------------------------------------------------------------------------------


def in_place(x: Tensor) -> Tensor:
    y = x * 2
    y[0] += x[1] * x[2]
    y[1:].mul_(3).sub_(x[:2])
    y.relu_()
    return y * x


def built_in_place(x: Tensor) -> Tensor:
    y = torch.zeros_like(x)
    for i in range(x.shape[0]):
        y[i] = (y[i - 1].clone() if i else x[0]) * x[i] + 1
    return y


def branch(x: Tensor) -> Tensor:
    return torch.sin(x) if x.sum() > 0 else x**3


def loop(x: Tensor) -> Tensor:
    y = x
    for _ in range(6):
        y = 0.5 * (y + x / y)
    return y


class Cube(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x * x * x

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Tensor:  # type: ignore[override]
        (x,) = ctx.saved_tensors
        return g * 3 * x * x


def checkpointed(x: Tensor, w: Tensor) -> Tensor:
    return checkpoint(lambda x: torch.tanh(x @ w), x, use_reentrant=False) * 2


def gradient_penalty(x: Tensor, w: Tensor) -> Tensor:
    y = torch.tanh(x @ w).sum()
    (g,) = torch.autograd.grad(y, x, create_graph=True)
    return (g**2).sum() + y


def functional_gradient(x: Tensor) -> Tensor:
    return torch.func.grad(lambda z: (torch.sin(z) * z).sum())(x) * x


def mapped(x: Tensor, w: Tensor) -> Tensor:
    return torch.func.vmap(lambda row: torch.tanh(row @ w).sum())(x)


def per_sample_gradients(x: Tensor, w: Tensor) -> Tensor:
    return torch.func.vmap(torch.func.grad(lambda w, row: torch.tanh(row @ w).sum()), (None, 0))(w, x)


def differentiated_forward(x: Tensor) -> Tensor:
    return torch.func.jvp(lambda z: torch.tanh(z) * z, (x,), (torch.full_like(x, 0.5),))[1]


def hessian_vector(x: Tensor) -> Tensor:
    (g,) = torch.autograd.grad((x**4).sum() + torch.sin(x).prod(), x, create_graph=True)
    return torch.autograd.grad((g * x.detach().sign()).sum(), x, create_graph=True)[0]


# Indexing -------------------------------------------------------------------------------------------------------------

INDEX = torch.tensor([[0, 2, 1, 2], [1, 1, 0, 2], [2, 0, 0, 1]])


def scatter_add(x: Tensor) -> Tensor:
    return torch.zeros(3, 4, dtype=x.dtype).scatter_add(0, INDEX, x) ** 2


def index_add(x: Tensor) -> Tensor:
    return torch.zeros(2, 4, dtype=x.dtype).index_add(0, torch.tensor([1, 0, 1]), x) ** 2


def index_put(x: Tensor) -> Tensor:
    return (x**2).index_put((torch.tensor([0, 2, 0]),), x, accumulate=True)


def fancy(x: Tensor) -> Tensor:
    return x[[0, 2, 0], [1, 1, 3]] * x[:, ::2].flip(0).reshape(-1)[:3]


def masked(x: Tensor) -> Tensor:
    return torch.masked_select(x**2, x > 0).sum() + x.masked_fill(x < -0.5, 0.3).sum()


LABELS = torch.tensor([1, 3])
ANSWERS = torch.tensor([0.0, 1.0, 1.0, 0.0])

CORRECT: tuple[Program, ...] = (
    Program("mlp", mlp, ((2, 3), (3, 4), (4,), (4, 2))),
    Program("linear relu", lambda x, w, b: F.linear(x, w, b).relu().sum(), ((2, 3), (4, 3), (4,))),
    Program("bilinear", lambda x, y, w, b: F.bilinear(x, y, w, b), ((2, 3), (2, 2), (2, 3, 2), (2,))),
    Program("layer norm by hand", layer_norm_by_hand, ((2, 4), (4,), (4,))),
    Program("layer norm", lambda x, g, b: F.layer_norm(x, (4,), g, b), ((2, 4), (4,), (4,))),
    Program("group norm", lambda x, g, b: F.group_norm(x, 2, g, b), ((2, 4, 3), (4,), (4,))),
    Program("instance norm", lambda x: F.instance_norm(x), ((2, 2, 5),)),
    Program("rms norm", lambda x, g: F.rms_norm(x, (4,), g, 1e-6), ((2, 4), (4,))),
    Program("batch norm", batch_norm, ((4, 3), (3,), (3,))),
    Program("batch norm in use", batch_norm_in_use, ((4, 3), (3,), (3,))),
    Program("softmax", lambda x: F.softmax(x, -1), ((2, 4),)),
    Program("softmax by hand", softmax_by_hand, ((2, 4),)),
    Program("log softmax", lambda x: F.log_softmax(x, 0), ((3, 2),)),
    Program("cross entropy", lambda x: F.cross_entropy(x, LABELS), ((2, 4),)),
    Program("smoothed cross entropy", lambda x: F.cross_entropy(x, LABELS, label_smoothing=0.1), ((2, 4),)),
    Program("nll of weights", lambda x: F.nll_loss(x, LABELS, weight=torch.tensor([1, 2, 3, 4.0]).to(x)), ((2, 4),)),
    Program("attention", F.scaled_dot_product_attention, ((1, 1, 3, 4),) * 3),
    Program("causal attention", lambda q, k, v: F.scaled_dot_product_attention(q, k, v, is_causal=True),
            ((1, 1, 3, 4),) * 3),
    Program("attention by hand", attention_by_hand, ((3, 4),) * 3),
    Program("transformer block", transformer_block, ((3, 4), (4, 12), (4, 4), (4, 6), (6, 4), (4,), (4,)),
            only=DTYPES[:1]),
    Program("conv1d", lambda x, w, b: F.conv1d(x, w, b, padding=1), ((2, 2, 5), (3, 2, 3), (3,))),
    Program("conv2d", lambda x, w, b: F.conv2d(x, w, b, stride=2, padding=1), ((1, 2, 4, 5), (2, 2, 3, 3), (2,))),
    Program("dilated groups", lambda x, w: F.conv2d(x, w, dilation=2, groups=2), ((2, 2, 5, 5), (4, 1, 2, 2))),
    Program("transposed conv", lambda x, w, b: F.conv_transpose2d(x, w, b, stride=2, padding=1, output_padding=1),
            ((1, 2, 3, 2), (2, 3, 3, 3), (3,))),
    Program("max pool", lambda x: F.max_pool2d(x, 2, 1), ((1, 2, 4, 3),)),
    Program("average pool", lambda x: F.avg_pool2d(x, 2, 1, padding=1, count_include_pad=False), ((1, 2, 3, 4),)),
    Program("adaptive pool", lambda x: F.adaptive_avg_pool1d(x, 3), ((2, 5),)),
    Program("gru cell", cell(nn.GRUCell), ((2, 3), (2, 2), (6, 3), (6, 2), (6,), (6,))),
    Program("lstm cell", cell(nn.LSTMCell), ((2, 3), (2, 2), (8, 3), (8, 2), (8,), (8,))),
    Program("rnn cell", cell(nn.RNNCell), ((2, 3), (2, 2), (2, 3), (2, 2), (2,), (2,))),
    Program("lstm layer", lstm, ((3, 2, 2), (8, 2), (8, 2), (8,), (8,)), only=DTYPES[:2]),
    Program("embedding", lambda w: F.embedding(torch.tensor([0, 2, 2, 1]), w) ** 2, ((3, 2),)),
    Program("gather", lambda x: x.gather(1, torch.tensor([[0, 0], [3, 1], [2, 2]])) ** 2, ((3, 4),)),
    Program("scatter add", scatter_add, ((3, 4),)),
    Program("index add", index_add, ((3, 4),)),
    Program("index put", index_put, ((3, 4),)),
    Program("fancy indexing", fancy, ((3, 4),)),
    Program("masked", masked, ((3, 4),)),
    Program("einsum", lambda a, b, c: torch.einsum("ij,jk,kl->il", a, b, c), ((2, 3), (3, 2), (2, 2))),
    Program("batched product", lambda a, b: torch.bmm(a, b) + torch.baddbmm(a @ b, a, b, beta=0.5, alpha=2),
            ((2, 2, 3), (2, 3, 2))),
    Program("outer and dot", lambda a, b: torch.outer(a, b) @ b * torch.dot(a, b), ((3,), (3,))),
    Program("cumsum", lambda x: torch.cumsum(x, 0) ** 2, ((4,),)),
    Program("cumprod", lambda x: torch.cumprod(x, 0), ((4,),)),
    Program("prod", lambda x: x.prod(0), ((3, 2),)),
    Program("cummax", lambda x: torch.cummax(x, 0).values * x, ((4,),)),
    Program("sort", lambda x: torch.sort(x, descending=True).values * torch.arange(1.0, 5.0).to(x), ((4,),)),
    Program("top k", lambda x: torch.topk(x, 2).values ** 2, ((5,),)),
    Program("logsumexp", lambda x: torch.logsumexp(x, -1), ((2, 4),)),
    Program("logcumsumexp", lambda x: torch.logcumsumexp(x, -1), ((4,),)),
    Program("norm", lambda x: x.norm() + torch.linalg.vector_norm(x, 3) + x.norm(1), ((4,),)),
    Program("normalize", lambda x: F.normalize(x, dim=-1), ((2, 3),)),
    Program("cosine", lambda a, b: F.cosine_similarity(a, b, dim=-1), ((2, 3), (2, 3))),
    Program("variance", lambda x: x.var(0) + x.std(0), ((4, 2),)),
    Program("where", lambda x: torch.where(x > 0.1, x * 2.5, torch.exp(x)), ((6,),)),
    Program("clamp", lambda x: x.clamp(-0.5, 0.7) * x, ((6,),)),
    Program("absolute", lambda x, y: (x - y).abs().sum() + F.l1_loss(x, y), ((4,), (4,))),
    Program("silu", F.silu, ((6,),)),
    Program("gelu", F.gelu, ((6,),)),
    Program("gelu by tanh", lambda x: F.gelu(x, approximate="tanh"), ((6,),)),
    Program("softplus", F.softplus, ((6,),), lambda x: 12 * x),
    Program("mish", F.mish, ((6,),)),
    Program("elu", lambda x: F.elu(x) + F.selu(x) + F.celu(x, 1.5), ((6,),)),
    Program("leaky", lambda x: F.leaky_relu(x, 0.1) + F.hardtanh(x) + F.relu6(3 * x), ((6,),)),
    # In float64 PyTorch's derivative of these multiplies by 1.0f/6.0f.
    Program("hard", lambda x: F.hardswish(3 * x) + F.hardsigmoid(3 * x), ((6,),), only=DTYPES[1:]),
    Program("sigmoid", lambda x: torch.sigmoid(x) + F.logsigmoid(x), ((6,),)),
    Program("glu", lambda x: F.glu(x), ((2, 4),)),
    Program("prelu", lambda x, a: F.prelu(x, a), ((2, 3), (3,))),
    Program("trigonometry", lambda x: torch.sin(x) * torch.cos(x) + torch.tan(x / 2) + torch.atan(x), ((5,),)),
    Program("inverse trigonometry", lambda x: torch.asin(x) + torch.acos(x) * torch.atanh(x), ((5,),), inside),
    Program("hyperbolic", lambda x: torch.sinh(x) / torch.cosh(x) + torch.asinh(x), ((5,),)),
    Program("logarithms", lambda x: torch.log(x) + torch.log2(x) * torch.log1p(x) + torch.log10(x), ((5,),), positive),
    Program("powers", lambda x: x**2.5 + x**-2 + x.sqrt() + x.rsqrt() + x**3 + 2**x, ((5,),), positive),
    Program("power of tensors", lambda x, y: x**y, ((4,), (4,)), positive),
    Program("exponentials", lambda x: torch.exp2(x) + torch.expm1(x) + torch.erf(x) + torch.erfc(x), ((5,),)),
    Program("two arguments", lambda x, y: torch.atan2(x, y) + torch.hypot(x, y) + torch.maximum(x, y), ((4,), (4,))),
    Program("binary cross entropy", lambda x, t: F.binary_cross_entropy(torch.sigmoid(x), t.sigmoid()), ((4,), (4,))),
    Program("with logits", lambda x: F.binary_cross_entropy_with_logits(x, ANSWERS.to(x)), ((4,),)),
    Program("mse", lambda x, y: F.mse_loss(x, y) + F.smooth_l1_loss(x, y), ((2, 3), (2, 3))),
    Program("huber", lambda x, y: F.huber_loss(x, y, delta=0.7), ((2, 3), (2, 3))),
    Program("divergence", lambda x, y: F.kl_div(F.log_softmax(x, -1), F.softmax(y, -1), reduction="batchmean"),
            ((2, 3), (2, 3))),
    Program("dropout", lambda x: F.dropout(x, 0.3) * x, ((8,),)),
    Program("interpolate", lambda x: F.interpolate(x, scale_factor=2, mode="bilinear") ** 2, ((1, 1, 2, 3),)),
    Program("nearest", lambda x: F.interpolate(x, scale_factor=2) ** 2, ((1, 1, 2, 3),)),
    Program("padding", lambda x: F.pad(x, (1, 2), mode="reflect") * F.pad(x, (2, 1), value=0.3), ((1, 2, 4),)),
    Program("data movement", lambda x: torch.cat([x.T.flip(0), x.roll(1, 1).mT], 0).unfold(0, 3, 2).sum(-1) ** 2,
            ((2, 3),)),
    Program("repeated and expanded", lambda x: (x.repeat(2, 1) * x.sum(0)).expand(2, 4, 3).sum(0), ((2, 3),)),
    Program("in place", in_place, ((3, 2),)),
    Program("built in place", built_in_place, ((3, 2),)),
    Program("branch", branch, ((4,),)),
    Program("newton", loop, ((4,),), positive),
    Program("custom function", lambda x: Cube.apply(x) * x, ((4,),)),
    Program("checkpoint", checkpointed, ((2, 3), (3, 2))),
    Program("gradient penalty", gradient_penalty, ((2, 3), (3, 2))),
    Program("functional gradient", functional_gradient, ((4,),)),
    Program("vmap", mapped, ((2, 3), (3, 2))),
    Program("per-sample gradients", per_sample_gradients, ((2, 3), (3, 2))),
    Program("forward mode", differentiated_forward, ((4,),)),
    Program("second backward", hessian_vector, ((3,),)),
    Program("mixed precision", lambda x, w: (x.half() @ w.half()).float().tanh(), ((2, 3), (3, 2)), only=("float32",)),
    Program("linear systems", lambda x, b: torch.linalg.solve(x @ x.T + torch.eye(3).to(x), b) @ b.T @ x.inverse(),
            ((3, 3), (3, 2)), only=DTYPES[:2]),
    Program("determinants", lambda x: torch.linalg.det(x) + torch.linalg.slogdet(x)[1], ((3, 3),), only=DTYPES[:2]),
    Program("cholesky", lambda x, b: torch.cholesky_solve(b, torch.linalg.cholesky(x @ x.T + torch.eye(3).to(x))),
            ((3, 3), (3, 2)), only=DTYPES[:2]),
    Program("distances", lambda x, y: torch.cdist(x, y) * torch.cdist(x, y, 3.0), ((3, 2), (2, 2)),
            only=DTYPES[:2]),
    Program("max and min", lambda x: x.max() * x.min() + x.amax(0).sum() + x.amin(1).sum(), ((2, 3),)),
)  # fmt: skip


# Wrong programs -------------------------------------------------------------------------------------------------------


def ruled(name: str, forward: Callable[..., Any], backward: Callable[..., Any]) -> Callable[..., Any]:
    """A custom Function: `forward(*args)`, and `backward(g, *args)` which gives a gradient for each."""

    def forward_(ctx: Any, *args: Tensor) -> Tensor:
        ctx.save_for_backward(*args)
        return forward(*args)  # type: ignore[no-any-return]

    def backward_(ctx: Any, g: Tensor) -> Any:
        return backward(g, *ctx.saved_tensors)

    of = {"forward": staticmethod(forward_), "backward": staticmethod(backward_)}
    return type(name, (torch.autograd.Function,), of).apply  # type: ignore[no-any-return, attr-defined]


def with_gradients_of(f: Callable[..., Any], other: Callable[..., Any], first: float = 1.0) -> Callable[..., Any]:
    """f with the gradients of another function, of which the first is multiplied by a number."""

    def backward(g: Tensor, *given: Tensor) -> tuple[Tensor, ...]:
        with torch.enable_grad():
            asked = [x.detach().requires_grad_() for x in given]
            of_first, *rest = torch.autograd.grad(other(*asked), asked, g, allow_unused=True)
        found = [None if of_first is None else of_first * first, *rest]
        return tuple(torch.zeros_like(x) if y is None else y for x, y in zip(given, found, strict=True))

    return ruled("Other", f, backward)


def off_by(k: int) -> Callable[..., Any]:
    """tanh, whose slope is wrong by a factor 1 + 2^-k."""
    return ruled("OffBy", torch.tanh, lambda g, x: g * (1 - torch.tanh(x) ** 2) * (1 + 2.0**-k))


def changed_behind(x: Tensor) -> Tensor:
    """What was saved for the backward pass is changed through `.data`, which nothing notices."""
    y = x * 2
    z = y**2
    y.data.mul_(1.5)
    return z


def through_numpy(x: Tensor) -> Tensor:
    return x * torch.from_numpy(np.tanh(x.detach().numpy()))


WRONG: tuple[Program, ...] = (
    Program("off by 2^-10", lambda x: off_by(10)(x) * x, ((4,),), only=("float64", "float32")),
    Program("off by 2^-20", lambda x: off_by(20)(x) * x, ((4,),), only=("float64", "float32")),
    Program("off by 2^-45", lambda x: off_by(45)(x) * x, ((4,),), only=("float64",)),
    Program("off by 2^-5", lambda x: off_by(5)(x) * x, ((4,),)),
    Program("missing factor", ruled("Square", lambda x: x * x, lambda g, x: g * x), ((4,),)),
    Program("sum instead of mean", ruled("Mean", lambda x: x.mean(), lambda g, x: g * torch.ones_like(x)), ((4,),)),
    Program("averaged bias", ruled("Bias", lambda x, b: x + b, lambda g, x, b: (g, g.mean(0))), ((4, 2), (2,))),
    Program("wrong mask", ruled("Relu", lambda x: x.relu(), lambda g, x: g * (x > -0.5)), ((8,),)),
    Program("wrong sign", ruled("Cos", torch.cos, lambda g, x: g * torch.sin(x)), ((4,),)),
    Program("transposed", ruled("Product", lambda x, w: x @ w, lambda g, x, w: (g @ w, x.T @ g)), ((2, 2), (2, 2))),
    Program("forgets the adjoint", ruled("Sine", torch.sin, lambda g, x: torch.cos(x)), ((4,),)),
    Program("conjugate order", ruled("Quotient", lambda x, y: x / y, lambda g, x, y: (g / y, g * x / y**2)),
            ((4,), (4,)), positive),
    Program("changed behind", changed_behind, ((4,),)),
    Program("detached", lambda x: x * torch.tanh(x).detach(), ((4,),)),
    Program("no gradient", lambda x: x * _without(x), ((4,),)),
)  # fmt: skip


def _without(x: Tensor) -> Tensor:
    with torch.no_grad():
        return torch.exp(x)


#: Programs whose numbers leave the record: nothing is said of their formula.
FOREIGN: tuple[Program, ...] = (
    Program("item", lambda x: x * x.detach().sum().item(), ((4,),)),
    Program("numpy", through_numpy, ((4,),), only=("float64", "float32", "float16")),
    Program("bits", lambda x: x * (x.detach().view(torch.int16) & -2).view(x.dtype), ((4,),),
            only=("bfloat16", "float16")),
    Program("list", lambda x: x * torch.tensor(x.tolist(), dtype=x.dtype), ((4,),)),
)  # fmt: skip
