"""Every differentiable function of PyTorch's `op_db` at its sample inputs, for `samples.py`."""

from __future__ import annotations

import fnmatch
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from samples_asked import Asked
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_unflatten

SOURCE = "All that PyTorch's own tests differentiate"
VERSION = f"PyTorch {torch.__version__}"
#: What is not recorded, and why.
LEFT = ()
#: The largest argument that is asked, in numbers.
LARGEST = 600
RANDOM = ("rand", "dropout", "bernoulli", "multinomial", "normal_", "uniform", "exponential", "cauchy", "geometric",
          "log_normal", "rrelu", "empty")  # fmt: skip
#: What is known of a function, by a glob of its name: what is said of it, and why.
EXPLAINED = {
    "as_strided_scatter": ("deviates", "its gradient is that of what was written over, and none of what was kept"),
    "cholesky_inverse": ("deviates", "the triangle that is not read gets a gradient"),
    "cholesky_solve": ("deviates", "the triangle that is not read gets a gradient"),
    "nn.functional.max_unpool*": ("deviates", "of two numbers for one place the one written over gets a gradient, too"),
    "digamma": ("deviates", "its derivative beside the poles"),
    "nn.functional.hardsigmoid": ("deviates", "its slope in float64 is the sixth of float32"),
    "matrix_exp": ("deviates", "in 16 bits it is other numbers and NaN"),
    "special.erfcx": ("undecided", "run again far below 0 its values are off by more than rounding"),
}


def asked(globs: Sequence[str], dtype: str, most: int) -> Iterator[Asked]:
    """Evenly spaced samples of every function, with respect to all of its arguments and to each."""
    from torch.testing._internal.common_methods_invocations import op_db

    torch.set_num_threads(1)
    wanted = getattr(torch, dtype)
    for of in op_db:
        name = f"{of.name}.{of.variant_test_name}" if of.variant_test_name else of.name
        if globs and not any(fnmatch.fnmatchcase(name, g) for g in globs):
            continue
        if wanted not in of.supported_backward_dtypes("cpu") or any(x in name for x in RANDOM):
            continue
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            samples = list(itertools.islice(of.sample_inputs("cpu", wanted, requires_grad=True), 200))
        step = max(1, len(samples) // most)
        for number, sample in list(enumerate(samples))[::step][:most]:
            leaves, tree = tree_flatten(([sample.input, *sample.args], sample.kwargs))
            if any(isinstance(x, Tensor) and x.numel() > LARGEST for x in leaves):
                continue
            places = tuple(n for n, x in enumerate(leaves) if isinstance(x, Tensor) and x.requires_grad and x.numel())
            for some in dict.fromkeys((places, *((n,) for n in places))):
                if some:
                    called = _called(of.op, leaves, tree, some)
                    given = tuple(leaves[n].detach().clone() for n in some)
                    yield Asked(name, str(number), tuple(map(str, some)), called, given)


def _called(op: Any, leaves: Sequence[Any], tree: Any, places: tuple[int, ...]) -> Callable[..., Any]:
    """The function of its arguments at some places, the others as they are."""
    fixed = [x.detach().clone() if isinstance(x, Tensor) else x for x in leaves]

    def f(*given: Tensor) -> Any:
        of = list(fixed)
        for place, x in zip(places, given, strict=True):
            of[place] = x
        args, kwargs = tree_unflatten(of, tree)
        found = [x for x in tree_flatten(op(*args, **kwargs))[0] if isinstance(x, Tensor) and x.requires_grad]
        return found[0] if len(found) == 1 else tuple(found)

    return f
