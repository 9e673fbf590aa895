"""A dispatch mode that records every operation as it runs, forward and backward."""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch._decomp import decomposition_table
from torch._ops import OpOverload
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from gradconform.adapters.recording import torch_foreach
from gradconform.adapters.recording.torch_call import (
    ByTable,
    Call,
    Program,
    Rules,
    base_of,
    bound,
    is_view,
    name_of,
    pair,
)
from gradconform.adapters.recording.torch_graph import Graph
from gradconform.adapters.recording.torch_lines import Lines, here
from gradconform.adapters.recording.torch_memory import (
    Dependence,
    Memory,
    empty_zero,
    format_of,
    numbers,
    rounded,
    shape_of,
)
from gradconform.adapters.recording.torch_scalars import settle
from gradconform.reference.arithmetic.formats import FLOAT32, FLOAT64
from gradconform.reference.cases import BadInput, said
from gradconform.reference.programs.record import STOPPED, Form, Ids, Numbers, Record, Step
from gradconform.reference.programs.run import NotRecorded


class Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Records into `record` what runs under it; `memory` has the ids of every tensor."""

    def __init__(
        self,
        rules: Rules,
        definitions: Mapping[str, Program] | None = None,
        stops_intended: bool = False,
        tangents: bool = False,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.rules, self.own, self.stops_intended = rules, dict(definitions or {}), stops_intended
        self.record = Record(recalls=True)
        self.memory, self.dependence, self.lines = Memory(self.record), Dependence(self.record), Lines()
        self.foreign: list[str] = []
        self.notes: list[str] = []
        self.depth = 0
        #: What is told of every tensor of the forward pass.
        self.graph: Graph | None = None
        #: Whether also what depends on no argument leaves the record where Python reads it as it was rounded.
        self.strict = False
        #: Whether derivatives are asked for in forward mode.
        self.tangents = tangents
        self._rules_running = 0

    @property
    def backward(self) -> bool:
        """Whether the backward pass runs: what it does again it may round again, and is another step."""
        return not self.record.recalls

    @backward.setter
    def backward(self, runs: bool) -> None:
        self.record.recalls = not runs

    @property
    def in_rule(self) -> bool:
        """Whether the forward part of a custom rule runs: what it detaches is no stop, since its rule is its own."""
        return self._rules_running > 0

    @contextmanager
    def within_rule(self) -> Iterator[None]:
        """While the forward part of a custom rule runs, where PyTorch records no gradient."""
        self._rules_running += 1
        try:
            yield
        finally:
            self._rules_running -= 1

    def literal(self, x: Any) -> int:
        """A number of the program's text: Python has it in float64."""
        return self.record.number(float(x), FLOAT64)

    def leaves_record(self, what: str, ids: Ids | None = None) -> None:
        """Numbers go where the record does not follow them, or come from there."""
        if ids is None or self.dependence.of(ids):
            entry = f"{what} at {self.lines.of(what)}"
            if entry not in self.foreign:
                self.foreign.append(entry)

    def note_stop(self, what: str, ids: Ids) -> None:
        """What ends differentiation of numbers that depend on the arguments, and what is made of it."""
        entry = f"{what} at {here() or 'no line of yours'}"
        if not self.stops_intended:
            entry += ': the derivative is taken through it; with stop_gradient="intended" it is not'
        if entry not in self.notes and self.dependence.of(ids):
            self.notes.append(entry)

    def note_padding(self, ids: Ids) -> None:
        """Rows of an embedding that are held constant."""
        at = f" ({here()})" if here() else ""
        entry = f"the row of padding_idx is a constant, as torch.nn.Embedding has it{at}"
        if entry not in self.notes and self.dependence.of(ids):
            self.notes.append(entry)

    def note_held(self, x: Tensor) -> None:
        """A tensor that the function holds and that requires a gradient: of that one nothing is said."""
        wrapped = torch._C._functorch.is_functorch_wrapped_tensor(x)  # of a transform inside of the function
        if not wrapped and not self.memory.known(x):
            shape = "number" if x.ndim == 0 else "tensor of " + " x ".join(map(str, x.shape))
            self.notes.append(
                f"not judged: the gradient of a {shape} that the function holds ({here()}); verify the module itself, "
                "or give it as an argument"
            )

    # Dispatch ---------------------------------------------------------------------------------------------------------

    def __torch_dispatch__(
        self, func: OpOverload, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        out = self._dispatched(func, args, kwargs or {})
        if self.graph is not None and not self.depth:
            self.graph.seen(tree_leaves(out), self.record.line, constant=self._no_grad(), looks=is_view(func))
        return out

    def _dispatched(self, func: OpOverload, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        name = name_of(func)
        tensors = [x for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
        self._refuse(func, tensors)
        if not self.depth:
            self.record.line = self.lines.of(name)
        for x in tensors:
            if self.memory.reads_otherwise(x):
                self.leaves_record(f"{name} of numbers read as {x.dtype}")
                self.memory.drop(x)
        if name.startswith(("_has_same", "_assert", "_linalg_check", "is_", "sym_")):
            return func(*args, **kwargs)
        if torch.Tag.inplace_view in func.tags and not name.startswith(("resize", "set")):
            return func(*args, **kwargs)  # another view of the same memory
        if name.startswith(torch_foreach.PREFIX):
            with self:  # no kernel either
                return torch_foreach.one_by_one(func, args, kwargs)
        if not self._named(base_of(name)) and func._can_decompose() and not _has_kernel(func, tensors):
            with self:  # a composition of others
                return func.decompose(*args, **kwargs)
        if torch.Tag.inplace_view in func.tags and base_of(name) not in (*self.rules.creations, "set"):
            return func(*args, **kwargs)  # only how the numbers are looked at
        if is_view(func):
            return self._viewed(func, name, args, kwargs, tensors)
        if name in ("_local_scalar_dense", "equal", "is_nonzero"):
            self._settle(self.memory.ids(x) for x in tensors if x.dtype == torch.bool)
            for x in tensors:
                if rounded(x):
                    ids = None if self.strict and not float(x.sum()).is_integer() else self.memory.ids(x)
                    self.leaves_record(".item()" if name != "equal" else "torch.equal", ids)
            return func(*args, **kwargs)
        out = self._computed(func, name, args, kwargs, tensors)
        if self._no_grad():
            for o in tree_leaves(out):
                if rounded(o):
                    self.note_stop("torch.no_grad", self.memory.ids(o))
                    self.stop(o)
        return out

    def _named(self, name: str) -> bool:
        r = self.rules
        return any(name in of for of in (r.moves, r.creations, r.data, r.arithmetic, r.definitions, self.own))

    def _refuse(self, func: OpOverload, tensors: Sequence[Tensor]) -> None:
        for x in tensors:
            if x.is_quantized or x.layout != torch.strided:
                raise NotRecorded(f"{func} on a {x.layout} tensor of {x.dtype}; expected a dense one: use to_dense()")
            if rounded(x):
                format_of(x)

    def _viewed(self, func: OpOverload, name: str, args: Any, kwargs: Any, tensors: Sequence[Tensor]) -> Any:
        """An operation whose result shares memory with its operand, or would if it could."""
        source = tensors[0] if tensors else None
        before = None if source is None else self.memory.ids(source)
        out = func(*args, **kwargs)
        for o in tree_leaves(out):
            if not isinstance(o, Tensor) or empty_zero(o) or source is None:
                continue
            if self.memory.reads_otherwise(o):
                self.leaves_record(f"{name} as {o.dtype}")
                self.memory.drop(o)
            elif not self.memory.known(o) and before is not None and o.dtype == source.dtype:
                self.memory.put(o, before.reshape(shape_of(o)))  # a copy after all
        return out

    def _computed(self, func: OpOverload, name: str, args: Any, kwargs: Any, tensors: Sequence[Tensor]) -> Any:
        mutable = func._schema.is_mutable
        base = base_of(name)
        rules = self.rules
        arithmetic = rules.complex if any(x.is_complex() for x in tensors) else rules.arithmetic
        known = any(base in of for of in (rules.moves, rules.creations, rules.data, arithmetic))
        if base != "copy" and not (base in rules.moves or base in rules.creations):
            for x in tensors:
                self.memory.read_anew(x)
        if not known and any(rounded(x) for x in tensors):
            if not mutable and not any(x.numel() for x in tensors):
                out = func(*args, **kwargs)
                outs = [o for o in tree_leaves(out) if isinstance(o, Tensor)]
                if not any(o.numel() for o in outs):  # nothing is computed, whatever shapes a definition asks for
                    for o in outs:
                        self.memory.put(o, np.zeros(shape_of(o), np.int64))
                    return out
            return self._kernel(func, base, args, kwargs)
        before = {id(x): self.memory.ids(x) for x in tensors}
        values = {id(x): x.clone() if mutable else x for x in tensors}
        call = Call(self, base, bound(func, args, kwargs), before, values)
        out = func(*args, **kwargs)
        call.outs = [o for o in _asked(out, call.given) if o is not None]
        self._refuse(func, call.outs)
        self._follow(func, call, args, kwargs)
        return out

    def _no_grad(self) -> bool:
        """Whether the program itself has switched gradients off."""
        return not (torch.is_grad_enabled() or self.backward or self.depth or self.in_rule)

    def stop(self, x: Tensor) -> None:
        """The program means what this tensor holds now to be a constant of its derivative."""
        ids = self.memory.ids(x)
        if self.stops_intended and self.dependence.of(ids):
            self.memory.put(x, self.record.map(STOPPED, [ids], format_of(x), numbers(x)))

    def _follow(self, func: OpOverload, call: Call, args: Any, kwargs: Any) -> None:
        """Put the ids of the results."""
        rules, name = self.rules, call.name
        tensors = [x for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
        outputs = any(rounded(o) for o in call.outs)
        moved = (name in rules.moves or name in rules.masked) and outputs
        if moved or name in rules.data or not (outputs or name in (*rules.moves, *DECIDING)):
            self._settle(call.before[id(x)] for x in tensors if x.dtype == torch.bool)
        inputs = any(rounded(x) or call.before[id(x)].any() for x in tensors)
        # A number of the text that `vmap` makes a tensor of is rounded there.
        inputs = inputs or (name == "_to_copy" and isinstance(call["self"], float))
        if name in rules.moves and inputs:
            self._moved(func, call, args, kwargs)
        elif name in rules.creations:
            self._created(call)
        elif name in rules.data or not inputs or not (outputs or name in DECIDING):
            if name in rules.places:
                self.record.ordered += [call.before[id(x)] for x in tensors if rounded(x)]
            settle(call)
            self._as_data(call)
        else:
            pairs = any(x.is_complex() for x in (*tensors, *call.outs))
            results = (rules.complex if pairs else rules.arithmetic)[name](call)
            self._put(call.outs, [results] if isinstance(results, np.ndarray) or results is None else results)

    def _settle(self, masks: Iterable[Ids]) -> None:
        """What these conditions were decided by moved data, or took a branch."""
        for decided in masks:
            if decided.any():
                self.record.settle(decided)

    def _put(self, outs: Sequence[Tensor], results: Sequence[Ids | None]) -> None:
        for o, ids in zip(outs, results, strict=False):
            if ids is not None:
                self.memory.put(o, ids)
            elif rounded(o):
                self.memory.put(o, self.record.constants(numbers(o)))
            else:
                self.memory.put(o, np.zeros(tuple(o.shape), np.int64))

    def _as_data(self, call: Call) -> None:
        """Numbers of this run: drawn ones, whole ones, what integers are made into."""
        self._put(call.outs, [None] * len(call.outs))

    def _created(self, call: Call) -> None:
        """A tensor filled with one number, or not filled yet."""
        filled = (
            call["fill_value"] if "fill_value" in call.given else call["value"] if "value" in call.given else call["s"]
        )
        for o in call.outs:
            if not rounded(o):
                self.memory.put(o, np.zeros(tuple(o.shape), np.int64))
            elif call.name.startswith(("empty", "new_empty", "resize")):
                if not self.memory.known(o):
                    self.memory.forget(o, unfilled=True)
            elif filled is not None:
                ids = pair(call, filled) if o.is_complex() else call.ids(filled)
                self.memory.put(o, np.broadcast_to(ids, shape_of(o)))
            else:
                self.memory.put(o, self.record.constants(numbers(o)))

    # Data movement ----------------------------------------------------------------------------------------------------

    def _moved(self, func: OpOverload, call: Call, args: Any, kwargs: Any) -> None:
        """The operation itself, on ids in place of numbers, says where they went."""
        pairs = any(o.is_complex() for o in call.outs)
        parts = [self._moved_part(func, call, args, kwargs, part if pairs else None) for part in range(1 + pairs)]
        results = [np.stack(found, -1) if o.is_complex() else found[0]
                   for o, found in zip(call.outs, zip(*parts, strict=True), strict=True)]  # fmt: skip
        self._put(call.outs, [r if rounded(o) or _carries(call, o) else None
                              for o, r in zip(call.outs, results, strict=True)])  # fmt: skip

    def _moved_part(self, func: OpOverload, call: Call, args: Any, kwargs: Any, part: int | None) -> list[Any]:
        """Where the ids go; of one part, where the numbers are complex."""
        moves_numbers = any(rounded(o) for o in call.outs)

        def ids_of(x: Any) -> Any:
            if isinstance(x, Tensor):
                if rounded(x):
                    return torch.from_numpy((call.before[id(x)] if part is None else pair(call, x)[..., part]).copy())
                if moves_numbers or not call.before[id(x)].any():
                    return call.value(x).cpu()
                return torch.from_numpy(call.before[id(x)].copy())
            if isinstance(x, torch.dtype):
                return torch.int64
            return torch.device("cpu") if isinstance(x, torch.device) else x

        given, named = tree_map(ids_of, args), tree_map(ids_of, kwargs)
        for position, argument in enumerate(func._schema.arguments):
            # Numbers of the text that are moved in: a padding, a filling.
            if (
                argument.name == "value"
                and moves_numbers
                and str(argument.type) in ("number", "float", "Optional[float]")
            ):
                value = args[position] if position < len(args) else kwargs.get("value", 0)
                filled = self.literal(value) if part is None else int(pair(call, value)[part])
                if position < len(args):
                    given = (*given[:position], filled, *given[position + 1 :])
                elif "value" in named:
                    named["value"] = filled
        moved = _run_on_ids(func, given, named)
        return [x.numpy() if isinstance(x, Tensor) and x.dtype == torch.int64 else None for x in moved]

    # Kernels ----------------------------------------------------------------------------------------------------------

    def _kernel(self, func: OpOverload, name: str, args: Any, kwargs: Any) -> Any:
        """An operation with a definition of its own, or with the framework's decomposition."""
        functional = self._functional(func, name)
        mutable = func._schema.is_mutable
        out = None if mutable else self._run(func, args, kwargs)  # first: a dtype that it lacks is its own matter
        key = f"{func.namespace}::{name}"
        definition: Program | ByTable | None = self.own.get(key) or self.own.get(name)
        if not any(isinstance(x, Tensor) and x.is_complex() for x in tree_leaves((args, kwargs))):
            definition = definition or self.rules.definitions.get(name)
        decomposition = decomposition_table.get(functional)
        program = definition or decomposition or functional.decompose
        steps, results = self._inside(program, func, args, kwargs)
        forms = []
        if definition is not None and decomposition is not None and name in self.rules.approximated:
            forms.append(("the framework's decomposition", decomposition))
        precision = _precision(args)
        if precision < FLOAT32.precision:  # a kernel in 16 bits may round what its decomposition keeps in float32
            inner = None if decomposition is None else inspect.unwrap(decomposition)
            if inner is not decomposition and inner is not None:
                forms.append(("each operation rounded", inner))
        forms += [(text, f) for text, f, widest in self.rules.forms.get(name, []) if precision <= widest.precision]
        others = [(text, *self._inside(f, func, args, kwargs)) for text, f in forms]
        given = bound(func, args, kwargs)
        names, written, further = self.rules.written.get(name, ((), None, ()))
        if any(n not in given for n in names):  # an overload without such operands
            written, further = None, ()
        beside = None if written is None else self._inside(written, func, args, kwargs)
        of_written = [(text, *self._inside(f, func, args, kwargs)) for text, f in further]
        out = self._run(func, args, kwargs) if mutable else out
        outs = _asked(out, given)
        self._fuse(key, outs, ("definition", steps, results), others, name in self.rules.approximated)
        if beside is not None:
            into = [given[n] if r is not None else None for n, r in zip(names, beside[1], strict=True)]
            self._fuse(f"{key}, {names[0]}", into, ("definition", *beside), of_written, False)
            for x in into:
                if x is not None and self.dependence.of(ids := self.memory.ids(x)):
                    # A constant, whoever reads it afterwards: that is what the operation is documented to write.
                    self.memory.put(x, self.record.map(STOPPED, [ids], format_of(x), numbers(x)))
        return out

    def _run(self, func: OpOverload, args: Any, kwargs: Any) -> Any:
        """What a kernel gives. Its inside, which may go by NumPy, is not looked at: the definition stands for it."""
        self.depth += 1
        try:
            return func(*args, **kwargs)
        finally:
            self.depth -= 1

    @staticmethod
    def _functional(func: OpOverload, name: str) -> OpOverload:
        """The same operation without writing to its operands."""
        if not func._schema.is_mutable:
            return func
        packet = getattr(getattr(torch.ops, func.namespace), name, None)
        overload = getattr(packet, func._overloadname, None) or getattr(packet, "default", None)
        return func if overload is None else overload

    def _inside(
        self, program: Program | ByTable, func: OpOverload, args: Any, kwargs: Any
    ) -> tuple[list[Step], list[Any]]:
        """The steps of a program that stands for a kernel, on copies of what the kernel is about to write."""
        if isinstance(program, ByTable):
            of = [bound(func, args, kwargs)[name] for name in program.operands]
            with self.record.inside() as steps:
                return steps, list(program.results(self.record, format_of(of[0]), *map(self.memory.ids, of)))
        if func._schema.is_mutable:
            with self:
                args, kwargs = tree_map(lambda x: x.clone() if isinstance(x, Tensor) else x, (args, kwargs))
        self.depth += 1
        try:
            with self.record.inside() as steps, self:
                try:
                    found = program(*args, **kwargs)
                except (NotRecorded, BadInput):
                    raise
                except Exception as error:  # the kernel itself ran: no fault of the function's
                    why = f"has a definition that raised {type(error).__name__} here, {said(error)}: give another"
                    raise NotRecorded(self._lacking(func, why)) from error
            if found is NotImplemented:
                raise NotRecorded(self._lacking(func, "has no definition: give one"))
        finally:
            self.depth -= 1
        asked = _asked(found, bound(func, args, kwargs))
        return steps, [None if x is None or not rounded(x) else self.memory.ids(x) for x in asked]

    def _lacking(self, func: OpOverload, why: str) -> str:
        name = f"{func.namespace}::{base_of(name_of(func))}"
        return (
            f"{func} at {self.record.line} {why} as forms={{'{name}': f}}, "
            "where f computes the same from simpler operations"
        )

    def _fuse(
        self,
        kernel: str,
        found: Sequence[Tensor | None],
        definition: tuple[str, list[Step], list[Any]],
        others: Sequence[tuple[str, list[Step], list[Any]]],
        approximated: bool,
    ) -> None:
        """One step for all results of a kernel."""
        outs = {n: o for n, o in enumerate(found) if o is not None}
        kept = [n for n, o in outs.items() if rounded(o) and n < len(definition[2]) and definition[2][n] is not None
                and definition[2][n].size == math.prod(shape_of(o))]  # fmt: skip
        self._put([o for n, o in outs.items() if n not in kept], [None] * (len(outs) - len(kept)))
        if not kept:
            return
        if not definition[1]:  # nothing but data movement
            self._put([outs[n] for n in kept], [definition[2][n] for n in kept])
            return

        def form(of: tuple[str, list[Step], list[Any]]) -> Form:
            return Form(of[0], tuple(of[1]), np.concatenate([of[2][n].ravel() for n in kept]))

        held = np.concatenate([numbers(outs[n]).ravel() for n in kept])
        widest = max((format_of(outs[n]) for n in kept), key=lambda f: f.precision)
        meant = form(definition)
        accepted = [form(o) for o in others] if approximated else [meant, *(form(o) for o in others)]
        ids = self.record.fused(kernel, meant, accepted, widest, held)
        for n in kept:
            count = math.prod(shape_of(outs[n]))
            self.memory.put(outs[n], ids[:count])
            ids = ids[count:]


class Observed(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Runs what runs under it, and records nothing but what kernels that solve equations found.

    PyTorch's own derivatives, of a product or a determinant, take other ways where somebody observes them: a run that
    is held against a record must take the record's.
    """

    def __init__(self, record: Record) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._kernels = {s.function for s in record.steps if s.implicit}
        self.solved: list[Numbers] = []

    def __torch_dispatch__(
        self, func: OpOverload, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        if f"{func.namespace}::{name_of(func)}" in self._kernels:
            self.solved.append(np.concatenate([numbers(o).ravel() for o in tree_leaves(out) if rounded(o)]))
        return out


#: Operations whose results are decisions.
DECIDING = frozenset("gt ge lt le eq ne logical_and logical_or logical_xor logical_not bitwise_and bitwise_or "
                     "bitwise_xor bitwise_not where masked_fill".split())  # fmt: skip


def _asked(found: Any, given: Mapping[str, Any]) -> list[Tensor | None]:
    """The results of a kernel or of its definition, each in its place; None where it is none, or was not asked for.

    What `output_mask` does not ask for a kernel may leave out and its definition give, or the other way round.
    """
    leaves = tree_leaves(found)
    wanted = given.get("output_mask") or [True] * len(leaves)
    return [x if w and isinstance(x, Tensor) else None for x, w in zip(leaves, wanted, strict=False)]


def _has_kernel(func: OpOverload, tensors: Sequence[Tensor]) -> bool:
    """Whether PyTorch has an operation both as a composition of others and as a kernel where its tensors are.

    Who observes nothing runs the kernel: of `silu_backward` and `mish_backward` in PyTorch 2.13. A composition in
    Python is another kernel's: `native_batch_norm` is `_native_batch_norm_legit`.
    """
    name, keys = func._schema.name, {torch._C._dispatch_key_for_device(x.device.type) for x in tensors}
    name += f".{func._schema.overload_name}" if func._schema.overload_name else ""
    there = torch._C._dispatch_has_kernel_for_dispatch_key
    return there(name, "CompositeImplicitAutograd") and any(there(name, key) for key in keys)


def _precision(args: Any) -> int:
    """Of the narrowest format among the operands of a kernel."""
    return min((format_of(x).precision for x in tree_leaves(args) if rounded(x)), default=FLOAT64.precision)


def _carries(call: Call, out: Tensor) -> bool:
    """Whether a moved tensor of no numbers holds decisions."""
    return out.dtype == torch.bool and any(b.any() for b in call.before.values())


def _run_on_ids(func: OpOverload, args: Any, kwargs: Any) -> list[Any]:
    try:
        return tree_leaves(func(*args, **kwargs))
    except (NotImplementedError, RuntimeError):
        # Kernels that know only floating-point numbers: float64 holds ids too.
        def to(x: Any) -> Any:
            return x.double() if isinstance(x, Tensor) and x.dtype == torch.int64 else x

        found = tree_leaves(func(*tree_map(to, args), **tree_map(to, kwargs)))
        return [x.long() if isinstance(x, Tensor) and x.is_floating_point() else x for x in found]
