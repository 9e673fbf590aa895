"""Bad input: command lines and Python calls that are wrong are refused, with what was got and what to do."""

from __future__ import annotations

import gzip
import io
import math
import os
import shlex
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

import gradconform as gc
from gradconform.conformance.command_line.commands import main
from gradconform.conformance.command_line.terminal import UNWRITTEN, plain

torch = pytest.importorskip("torch")
F = torch.nn.functional

#: A command line, and a part of what is said of it.
COMMANDS = [
    ("run -a torhc", "unknown adapter 'torhc'; did you mean 'torch'? (a plug-in is given as"),
    ("run -a torch/eagre", "unknown route of torch 'eagre'; did you mean 'eager'?"),
    ("run -a torch/", "unknown route of torch ''; known: compile, eager, forward, func, module"),
    ("run -a /eager", "unknown adapter ''; known: jax, numpy, torch (a plug-in is given as"),
    ("run -a torch/eager/x", "unknown route of torch 'eager/x'; did you mean 'eager'?"),
    ("run -a bad_names.py:adapter", "bad_names.py names a file; expected its module: bad_names"),
    ("run -a numpy -c bad_names.py:one", "bad_names.py names a file; expected its module: bad_names"),
    ("verify bad_names.py:good", "module: bad_names.py names a file; expected its module: bad_names"),
    ("verify ../some/bad_names.py", "names a file; expected its module: bad_names, in the folder ../some"),
    ("run -a :", "adapter ':': : is no name of an object; expected package.module:object"),
    ("run -a bad_names:", "adapter 'bad_names:': bad_names: is no name of an object; expected"),
    ("run -a :adapter", "adapter ':adapter': :adapter is no name of an object; expected"),
    (
        "run -a bad_names:adapter",
        "adapter 'bad_names:adapter': .name is 'x y'; expected at most 60 of A-Z a-z 0-9",
    ),
    (
        "run -a bad_names:empty",
        "adapter 'bad_names:empty' is a object; an adapter is an object that has name,",
    ),
    (
        "run -a bad_names:Adapter",
        "adapter 'bad_names:Adapter' is the class Adapter; expected an instance,",
    ),
    (
        "run -a bad_names:number",
        "adapter 'bad_names:number' is a int; an adapter is an object that has name,",
    ),
    (
        "run -a bad_names:good",
        "adapter 'bad_names:good' is a function; an adapter is an object that has name,",
    ),
    (
        "run -a bad_names:missing",
        "adapter 'bad_names:missing': module 'bad_names' has no attribute 'missing'; expected",
    ),
    ("run -a os.path:join", "adapter 'os.path:join' is a function; an adapter is an object that has"),
    ("run -a 1x:y", "adapter '1x:y': 1x:y is no name of an object; expected"),
    ("run -a 'a b:c'", "adapter 'a b:c': a b:c is no name of an object; expected"),
    ("run -a document/worked-example", "'document/worked-example' is a case and no adapter; give it as -c"),
    ("run -a numpy -c document", "unknown case 'document'; 201 begin so: did you mean 'document/*'?"),
    ("run -a numpy -c nothing/*", "unknown case 'nothing/*'; known: document/all-zeros,"),
    ("run -a numpy -c [", "unknown case '['; known: document/all-zeros,"),
    (
        "run -a numpy -c bad_names:number",
        "case 'bad_names:number' gives int; expected cases made by document_case or",
    ),
    (
        "run -a numpy -c bad_names:good",
        "case 'bad_names:good' raised TypeError: good() missing 1 required positional",
    ),
    (
        "run -a numpy -c bad_names:empty",
        "case 'bad_names:empty' gives object; expected cases made by document_case or",
    ),
    (
        "run -a numpy -c bad_names:missing",
        "case 'bad_names:missing': module 'bad_names' has no attribute 'missing'; expected",
    ),
    ("run -a numpy -c bad_names", "unknown case 'bad_names'; known: document/all-zeros,"),
    ("run -a numpy -d float", "unknown dtype 'float'; did you mean 'float32'?"),
    ("run -a numpy -d float8", "unknown dtype 'float8'; did you mean 'float64' or 'float32' or 'float16'?"),
    ("run -a numpy -d FLOAT32x", "unknown dtype 'FLOAT32x'; known: bfloat16, float16, float32, float64"),
    ("run -a numpy -d float32,float64", "unknown dtype 'float32,float64'; did you mean 'float64' or 'float32' or"),
    ("run -a numpy -d int32", "unknown dtype 'int32'; did you mean 'float32'?"),
    ("run -a numpy --device cuda", "device 'cuda': NumPy runs on the CPU only"),
    ("run -a numpy --device gpu:0", "device 'gpu:0': NumPy runs on the CPU only"),
    ("run -a numpy --profile opencel", "unknown profile 'opencel'; did you mean 'opencl'?"),
    ("run -a numpy --seed x", "Invalid value for '--seed': 'x' is not a valid integer."),
    ("run -a numpy --seed 1.5", "Invalid value for '--seed': '1.5' is not a valid integer."),
    ("run -a numpy --jobs 0", "Invalid value for '--jobs': 0 is not in the range x>=1."),
    ("run -a numpy --jobs -1", "Invalid value for '--jobs': -1 is not in the range x>=1."),
    ("run -a numpy --jobs x", "Invalid value for '--jobs': 'x' is not a valid integer range."),
    ("run -a numpy --timeout 0", "is not in the range x>0"),
    ("run -a numpy --timeout -1", "is not in the range x>0"),
    ("run -a numpy --timeout nan", "--timeout is nan; expected seconds, more than 0"),
    ("run -a numpy --timeout x", "Invalid value for '--timeout': 'x' is not a valid float range."),
    ("run -a numpy --known none.toml", "No such file or directory; expected a TOML file"),
    ("run -a numpy --known folder", "Is a directory; expected a TOML file"),
    ("run -a numpy --known known.toml", "entry 1: expected the strings adapter device"),
    ("run -a numpy --known bad.toml", "Invalid statement (at line 1, column 1)"),
    ("run -a numpy --known text.txt", "Expected '=' after a key in a key/value pair (at line 1, column 6)"),
    ("run -a numpy --fail-on deviates", "Invalid value for '--fail-on': 'deviates' is not one of 'lost', 'vacuous',"),
    ("run -a numpy --fail-on x", "Invalid value for '--fail-on': 'x' is not one of 'lost', 'vacuous',"),
    (
        "run -a numpy -c document/worked-example -o run.jsonl",
        "run.jsonl exists; a run is never written over: give another -o, or remove",
    ),
    (
        "run -a numpy -c document/worked-example -o folder",
        "folder exists; a run is never written over: give another -o, or remove it",
    ),
    (
        "run -a numpy -c document/worked-example -o text.txt/x.jsonl",
        "cannot write text.txt/x.jsonl: text.txt is a file, expected a folder; give",
    ),
    (
        "run -a numpy -c document/worked-example -o /proc/x/y.jsonl",
        "cannot make the folder /proc/x: No such file or directory; give another -o",
    ),
    ("run -a numpy --resume none.jsonl", "cannot read none.jsonl: No such file or directory"),
    ("run -a numpy --resume text.txt", "text.txt, line 1: truncated or not JSON; is this a run file?"),
    ("run -a numpy --resume run.jsonl", "run.jsonl is complete; there is nothing to resume"),
    ("run -a numpy --resume folder", "cannot read folder: Is a directory"),
    ("run -a numpy --resume bin.jsonl", "bin.jsonl is not text; expected a run written by `gradconform run`"),
    ("run -a numpy --resume run.jsonl -o x.jsonl", "run.jsonl is complete; there is nothing to resume"),
    ("run extra", "Got unexpected extra argument (extra)"),
    ("run --nothing", "No such option"),
    ("run -a", "Option '-a' requires an argument."),
    ("report", "Missing argument 'FILES...'."),
    ("report none.jsonl", "cannot read none.jsonl: No such file or directory"),
    ("report folder", "cannot read folder: Is a directory"),
    ("report text.txt", "text.txt, line 1: truncated or not JSON; is this a run file?"),
    ("report bin.jsonl", "bin.jsonl is not text; expected a run written by `gradconform run`"),
    ("report json.jsonl", "json.jsonl, line 1: expected an object; is this a run file?"),
    ("report run.jsonl -o text.txt", "text.txt is a file, expected a folder for the report; give another -o"),
    ("report run.jsonl -o .", "and no earlier report; expected an empty or new folder"),
    ("report run.jsonl -o /proc/x", "cannot write /proc/x: No such file or directory; expected a folder that"),
    ("report run.jsonl run.jsonl -o rep", "run.jsonl was given twice, and runs are told apart by the names of their"),
    ("report run.jsonl --fail-on x", "Invalid value for '--fail-on': 'x' is not one of 'lost', 'vacuous',"),
    ("diff", "Missing argument 'OLD'."),
    ("diff run.jsonl", "Missing argument 'NEW'."),
    ("diff run.jsonl none.jsonl", "cannot read none.jsonl: No such file or directory"),
    ("diff none.jsonl run.jsonl", "cannot read none.jsonl: No such file or directory"),
    ("diff run.jsonl text.txt", "text.txt, line 1: truncated or not JSON; is this a run file?"),
    ("diff run.jsonl folder", "cannot read folder: Is a directory"),
    (
        "diff run.jsonl run.jsonl --format xml",
        "Invalid value for '--format': 'xml' is not one of 'terminal', 'markdown',",
    ),
    ("diff run.jsonl run.jsonl run.jsonl", "Got unexpected extra argument (run.jsonl)"),
    ("explain", "no case was given; expected an id, such as document/worked-example (see"),
    ("explain nothing", "unknown case 'nothing'; did you mean 'network/wine'?"),
    ("explain document/*", "'document/*' matches 201 cases; give one id, such as"),
    (
        "explain bad_names:some",
        "'bad_names:some' matches 2 cases; give one id, such as 'mine/1', as in:",
    ),
    (
        "explain bad_names:number",
        "case 'bad_names:number' gives int; expected cases made by document_case or",
    ),
    ("explain none:x", "case 'none:x': importing none failed: No module named 'none'; it was"),
    ("explain document/worked-example -a x", "unknown adapter 'x'; did you mean 'jax'? (a plug-in is given as"),
    ("explain document/worked-example -d x", "unknown dtype 'x'; known: bfloat16, float16, float32, float64"),
    ("explain document/worked-example --profile x", "unknown profile 'x'; known: opencl, strict, vendor"),
    (
        "explain document/worked-example --only x",
        "unknown quantity 'x'; known: E1, E2, E_total, a_h1, a_h2, a_o1, a_o2,",
    ),
    (
        "explain document/worked-example --weights 1",
        "'document/worked-example' and numbers were both given; numbers make a case",
    ),
    ("explain --weights 1,2", "case 'numbers/given': weights must be 8 numbers (w1 w2 w3 w4 w5 w6 w7 w8),"),
    ("explain --weights a", "Invalid value for '--weights': 'a' are no numbers; expected such as"),
    ("explain --inputs 1,inf", "case 'numbers/given': i2 is inf; every value must be finite"),
    ("explain --inputs 1e400,1", "case 'numbers/given': i1 is inf; every value must be finite"),
    ("explain --inputs 1e300,1 -d float32", "case 'numbers/given': i1 = 1e+300 rounds to infinity in float32, whose"),
    ("explain --rate x", "Invalid value for '--rate': 'x' is not a valid float."),
    ("explain --rate nan", "case 'numbers/given': rate is nan; every value must be finite"),
    (
        "explain mine/9 --from bad_names:some",
        "unknown case of bad_names:some 'mine/9'; did you mean 'mine/2' or 'mine/1'?",
    ),
    ("explain program/f/1", "'program/f/1' is a function that was verified, and has no derivation; its"),
    ("explain document/worked-example --timeout nan", "--timeout is nan; expected seconds, more than 0"),
    ("explain document/worked-example --device mars -a torch", "device 'mars': torch has no such device"),
    ("explain document/worked-example other", "Got unexpected extra argument (other)"),
    ("verify", "Missing argument 'MODULE[:FUNCTION]|operator/GLOB...'."),
    ("verify-update", "Missing argument 'OPTIMIZER...'."),
    ("verify-update torch.optim.SGD --seed -1", "Invalid value for '--seed': -1 is not in the range x>=0."),
    ("verify-update torch.optim.SGD --shape ²", "expected whole numbers above 0 with commas between them, such as 7"),
    ("verify-update torch.optim.SGD --shape 9999999999,9999999999", "; give a smaller one"),
    ("train", "Missing argument 'CASE'."),
    ("train document/worked-example --steps 0", "0 is not in the range x>=1."),
    ("verify nothing", "module 'nothing': importing nothing failed: No module named 'nothing'; it"),
    ("verify nothing:f", "module 'nothing': importing nothing failed: No module named 'nothing'; it"),
    (
        "verify bad_names:",
        "'bad_names:' names no function; expected MODULE:FUNCTION, such as losses:focal,",
    ),
    ("verify :good", "':good' names no function; expected MODULE:FUNCTION, such as losses:focal,"),
    (
        "verify bad_names:missing",
        "unknown function of bad_names 'missing'; did you mean 'failing'? (the function",
    ),
    ("verify bad_names:number", "bad_names:number is a int; expected the function to verify"),
    (
        "verify bad_names:good --cases no_cases",
        "bad_names:no_cases gives no arguments of bad_names:good; expected one or more, a",
    ),
    (
        "verify bad_names:good --cases bad_cases",
        "bad_names:bad_cases gives no sequence of arguments: boo",
    ),
    (
        "verify bad_names:good --cases number_cases",
        "bad_names:number_cases gives no sequence of arguments: 'int' object is not",
    ),
    (
        "verify bad_names:good --cases missing",
        "unknown function of bad_names 'missing'; did you mean 'failing'? (the function",
    ),
    (
        "verify bad_names:good -d float8",
        "unknown dtype 'float8'; did you mean 'float64' or 'float32' or 'float16'?",
    ),
    ("verify bad_names:good -d int32", "unknown dtype 'int32'; did you mean 'float32'?"),
    (
        "verify bad_names:good -r jit",
        "bad_names:good: routes: got 'jit'; expected 'eager', 'compile' or 'func'",
    ),
    ("verify bad_names:good -r x", "bad_names:good: routes: got 'x'; expected 'eager', 'compile' or 'func'"),
    ("verify bad_names:good --mode x", "unknown mode 'x'; known: both, forward, reverse"),
    ("verify bad_names:good --profile x", "unknown profile 'x'; known: opencl, strict, vendor"),
    (
        "verify bad_names:good -o run.jsonl",
        "run.jsonl exists; a run is never written over: give another -o, or remove",
    ),
    (
        "verify bad_names:good --junit none/x.xml",
        "cannot write none/x.xml: there is no folder none; give another --junit",
    ),
    ("verify bad_names:good --known none.toml", "No such file or directory; expected a TOML file"),
    ("verify bad_names:failing", "bad_names:failing: f raised ValueError: no\\x1b[31m"),
    ("verify text.txt", "module 'text.txt': importing text.txt failed: No module named 'text'; it"),
    ("list", "Missing argument '{adapters|routes|cases|operations|operators|sweeps|equations|dtypes}'."),
    ("list x", "Invalid value for '{adapters|routes|cases|operations|operators|sweeps|equations|dtypes}': 'x' is not"),
    ("list cases x", "Got unexpected extra argument (x)"),
    ("doctor x", "Got unexpected extra argument (x)"),
    ("completion", "Missing argument '{bash|zsh|fish}'."),
    ("completion tcsh", "Invalid value for '{bash|zsh|fish}': 'tcsh' is not one of 'bash', 'zsh',"),
    ("runn", "No such command"),
    ("-x", "No such option '-x'."),
    (
        "run -a numpy -c bad_names:some -c bad_names:some",
        "two of the cases are called 'mine/1'; their measurements could not be told",
    ),
    ("report a/run.jsonl run.jsonl", "a/run.jsonl and run.jsonl have the same name, and runs are told apart by"),
    ("report run.jsonl.gz run.jsonl", "run.jsonl.gz and run.jsonl have the same name, and runs are told apart by"),
    (
        "verify bad_names:good --fail-on deviates",
        "Invalid value for '--fail-on': 'deviates' is not one of 'lost', 'vacuous',",
    ),
    (
        "explain document/worked-example --from bad_names:number",
        "case 'bad_names:number' gives int; expected cases made by document_case or",
    ),
    (
        "verify bad_names:good --steps -o folder",
        "folder exists; a run is never written over: give another -o, or remove it",
    ),
]
ENCODINGS = ("utf-8", "cp1252", "ascii")
RIGHT = ["-a", "numpy/complex-step", "-c", "document/worked-example", "-d", "float32", "--jobs", "1"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A working folder with a run and with files that are none."""
    place = tmp_path_factory.mktemp("bad")
    before = Path.cwd()
    os.chdir(place)
    assert CliRunner().invoke(main, ["run", *RIGHT, "-o", "run.jsonl"]).exit_code == 0
    for name, content in (
        ("text.txt", b"hello\n"), ("empty.jsonl", b""), ("bin.jsonl", b"\x00\xff\x80"), ("json.jsonl", b"[1]\n"),
        ("known.toml", b"[[deviation]]\nid=3\n"), ("bad.toml", b"="), ("a/run.jsonl", Path("run.jsonl").read_bytes()),
        ("run.jsonl.gz", gzip.compress(Path("run.jsonl").read_bytes())),
    ):  # fmt: skip
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_bytes(content)
    Path("folder").mkdir()
    yield place
    os.chdir(before)


@pytest.mark.parametrize(("number", "command", "message"), [(n, *c) for n, c in enumerate(COMMANDS)])
def test_a_wrong_command_line_is_told_in_any_encoding_with_exit_status_2(
    folder: Path, number: int, command: str, message: str
) -> None:
    encoding = ENCODINGS[number % len(ENCODINGS)]
    before = sorted(folder.rglob("*"))
    done = CliRunner(charset=encoding, env={"COLUMNS": None}).invoke(main, shlex.split(command))
    assert done.exit_code == 2, done.exception
    assert isinstance(done.exception, SystemExit)
    assert plain(message, encoding) in done.stderr_bytes.decode(encoding)
    assert b"Traceback" not in done.output_bytes
    assert sorted(p for p in folder.rglob("*") if "__pycache__" not in p.parts) == before, "something was written"


W, N = "document/worked-example", "numpy/complex-step"
D: dict[str, Any] = {"weights": [0.1] * 8, "inputs": [1, 2], "targets": [0, 1], "rate": 0.5}
K: dict[str, Any] = {
    "layers": [(np.ones((2, 2)), np.zeros(2), "tanh"), (np.ones((1, 2)), None, "identity")],
    "loss": "half_squared_error", "inputs": np.ones((1, 2)), "targets": np.ones((1, 1)), "rate": 0.1,
}  # fmt: skip
X = torch.tensor([0.5])


class Tripled(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        return 3 * x

    @staticmethod
    def backward(ctx: Any, g: torch.Tensor) -> torch.Tensor:
        return 3 * g


def batch_norm(x: torch.Tensor, mean: torch.Tensor, variance: torch.Tensor) -> torch.Tensor:
    return F.batch_norm(x.expand(2, 1), mean, variance, training=True)


async def waits(x: torch.Tensor) -> torch.Tensor:
    return x * 2


def sgd(parameters: Any) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, lr=0.1)


def document(**changes: Any) -> gc.Case:
    return gc.document_case("m/a", **{**D, **changes})


def network(**changes: Any) -> gc.Case:
    return gc.network_case("m/a", **{**K, **changes})


#: A call, and a part of what is said of it.
CALLS: list[tuple[Callable[[], Any], str]] = [
    (lambda: gc.check(None, W), "is a NoneType; an adapter is an object that has name, routes and answer"),
    (lambda: gc.check(3, W), "is a int; an adapter is an object that has name, routes and answer"),
    (lambda: gc.check(W, N), "is a case, and stands in the adapter's place; expected (adapter, case, …)"),
    (lambda: gc.check(gc.document_case("m/a", **D), N), "'m/a' is a case, and stands in the adapter's place"),
    (lambda: gc.check("torhc", W), "did you mean 'torch'?"),
    (lambda: gc.check("numpy/x", W), "unknown route of numpy 'x'; known: central, complex-step, extrapolated"),
    (lambda: gc.check("numpy/", W), "unknown route of numpy ''"),
    (lambda: gc.check(SimpleNamespace, W), "is the class SimpleNamespace; expected an instance"),
    (lambda: gc.check(SimpleNamespace(name="a"), W), ".routes is None; expected a sequence"),
    (
        lambda: gc.check(lambda point, route: None, W),
        "the gradient of a function is verified by gradconform.verify(f, …)",
    ),
    (lambda: gc.check(torch.tanh, W), "the gradient of a function is verified by gradconform.verify(f, …)"),
    (
        lambda: gc.check(torch.autograd.Function, W),
        "the gradient of a rule is verified by gradconform.verify(Function.apply, …)",
    ),
    (lambda: gc.check(N, None), "case is a NoneType; expected an id or a case"),
    (lambda: gc.check(N, "document/*"), "matches 201 cases; give one id"),
    (lambda: gc.check(N, "documnt/worked-example"), "did you mean 'document/worked-example'"),
    (lambda: gc.check(N, [W]), "case is a list; expected an id or a case"),
    (lambda: gc.check(N, W, dtype=None), "dtype is None (NoneType); expected a name, one of"),
    (lambda: gc.check(N, W, dtype="x"), "unknown dtype 'x'; known: bfloat16"),
    (lambda: gc.check(N, W, dtype=int), "unknown dtype 'int64'; did you mean 'float64'?"),
    (lambda: gc.check(N, W, dtype=object()), "expected a name, one of float64 float32"),
    (lambda: gc.check(N, W, device="cuda"), "NumPy runs on the CPU only"),
    (lambda: gc.check(N, W, device=3), "device is a int; expected a name, such as 'cpu'"),
    (lambda: gc.check(N, W, profile="x"), "unknown profile 'x'; known: opencl, strict, vendor"),
    (lambda: gc.check(N, W, profile=None), "profile is None (NoneType); expected a name"),
    (lambda: gc.check(N, W, known="none.toml"), "none.toml: No such file or directory; expected a TOML file"),
    (lambda: gc.check(N, W, known=3), "known is 3; expected the path of a file"),
    (lambda: gc.assert_conforms(N, W, accept="deviates"), "unknown verdict to accept 'deviates'"),
    (lambda: gc.assert_conforms(N, W, accept=3), "accept is 3; expected verdicts, some of lost, vacuous"),
    (lambda: gc.assert_conforms(N, W, accept=[3]), "verdict to accept is 3 (int); expected a name"),
    (lambda: gc.explain(None), "case is a NoneType; expected an id or a case"),
    (lambda: gc.explain("x"), "unknown case 'x'"),
    (lambda: gc.explain(W, only="x"), "unknown quantity 'x'; known: E1"),
    (lambda: gc.explain(W, only=3), "only is 3; expected the name of a quantity"),
    (lambda: gc.explain(W, only=[3]), "only is 3; expected the name of a quantity"),
    (lambda: gc.explain(W, "x"), "unknown adapter 'x'"),
    (lambda: gc.explain(W, dtype="x"), "unknown dtype 'x'"),
    (lambda: gc.train(N, W, steps=0), "steps is 0; expected 1 or more, a whole number"),
    (lambda: gc.train(N, W, steps="x"), "steps is 'x'; expected 1 or more"),
    (lambda: gc.train(N, W, steps=1.5), "steps is 1.5; expected 1 or more"),
    (lambda: gc.train(N, W, steps=True), "steps is True; expected 1 or more"),
    (lambda: gc.cases("zzz"), "unknown case 'zzz'"),
    (lambda: gc.cases(3), "glob is a int; expected text, such as 'document/*'"),
    (lambda: gc.document_case(3, **D), "expected at most 200 characters of text, such as 'mine/one'"),
    (lambda: gc.document_case("", **D), "expected letters, digits and - _ . /"),
    (lambda: gc.document_case("../a", **D), "expected letters, digits and - _ . /"),
    (lambda: document(weights=[1]), "weights must be 8 numbers (w1 w2 w3 w4 w5 w6 w7 w8), got 1"),
    (lambda: document(weights=None), "weights must be numbers w1"),
    (lambda: document(weights="12345678"), "weights must be numbers w1"),
    (lambda: document(inputs=[math.nan, 1]), "i1 is nan; every value must be finite"),
    (lambda: document(rate="x"), "rate must be a number that float64 holds, got 'x' (str)"),
    (lambda: document(rate=math.inf), "rate is inf; every value must be finite"),
    (lambda: document(rate=1j), "rate must be a number that float64 holds"),
    (lambda: document(rate=np.complex128(0.5 + 1j)), "rate must be a number that float64 holds, got np.complex128"),
    (lambda: document(rate=np.array(True)), "rate must be a number that float64 holds, got array(True)"),
    (lambda: document(rate=torch.tensor(True)), "rate must be a number that float64 holds, got tensor(True)"),
    (lambda: document(rate=np.ma.masked), "rate must be a number that float64 holds, got masked"),
    (lambda: document(weights=np.full(8, 0.5 + 1j)), "weights must be numbers w1"),
    (lambda: network(inputs=np.ma.masked_array([[0.5]], [[True]])), "inputs is a masked array; expected an array of"),
    (lambda: network(layers=[]), "layers are empty; expected (W, b, activation) for at least one layer"),
    (lambda: network(layers=None), "layers are NoneType; expected a list of (W, b, activation)"),
    (
        lambda: network(layers=[(np.ones((1, 2)), None, "reluu")]),
        "unknown activation of layer 1 'reluu'; did you mean 'relu'",
    ),
    (
        lambda: network(layers=[(np.ones((2, 3)), None, "tanh")]),
        "W1 has shape (2, 3) (out, in), but the inputs have 2 components",
    ),
    (lambda: network(loss="mse"), "unknown loss 'mse'; did you mean 'squared_error'?"),
    (lambda: network(loss=None), "loss is None (NoneType); expected a name"),
    (lambda: network(targets=np.ones((3, 3))), "targets have shape (3, 3); expected (batch, out) = (1, 1)"),
    (lambda: network(inputs=np.ones(2)), "inputs has shape (2,); expected (batch, in)"),
    (lambda: network(reduction="avg"), "unknown reduction 'avg'; known: mean, sum"),
    (lambda: network(rate=None), "rate must be a number that float64 holds"),
    (lambda: network(inputs=np.full((1, 2), np.nan)), "inputs[0, 0] is nan; every value must be finite"),
    (lambda: network(inputs="x"), "inputs has dtype <U1; expected real floating-point numbers"),
    (lambda: gc.verify(torch.tanh), "expected at least one PyTorch tensor or JAX array"),
    (lambda: gc.verify(torch.tanh, 3), "expected at least one PyTorch tensor or JAX array"),
    (lambda: gc.verify(3, X), "f is of type int; expected a function"),
    (lambda: gc.verify(torch.autograd.Function, X), "f is the class Function; expected a function"),
    (lambda: gc.verify(torch.tanh, torch.tensor([1])), "no floating-point tensor among them"),
    (lambda: gc.verify(np.tanh, np.ones(2)), "; another framework is judged through an adapter, by gc.check"),
    (lambda: gc.verify(torch.tanh, X, dtype="x"), "unknown dtype 'x'"),
    (lambda: gc.verify(torch.tanh, X, mode="x"), "unknown mode 'x'; known: both, forward, reverse"),
    (lambda: gc.verify(torch.tanh, X, routes=("jit",)), "routes: got 'jit'; expected 'eager', 'compile' or 'func'"),
    (lambda: gc.verify(torch.tanh, X, routes="jit"), "routes: got 'jit'; expected 'eager', 'compile' or 'func'"),
    (lambda: gc.verify(torch.tanh, X, routes="func", mode="both"), "routes: 'func' is of reverse mode, vmap over vjp"),
    (lambda: gc.verify(torch.tanh, X, wrt=["y"]), "wrt: no argument is called 'y'"),
    (lambda: gc.verify(torch.tanh, X, wrt=[9]), "wrt: got 9; expected a number below 1"),
    (lambda: gc.verify(torch.tanh, X, accept="deviates"), "unknown verdict to accept 'deviates'"),
    (lambda: gc.verify(torch.tanh, X, order=3), "order is 3; expected 1 or 2"),
    (
        lambda: gc.verify(torch.tanh, X, cotangent=[torch.ones(3)]),
        "cotangents: got the shape (3,); expected the output's, (1,)",
    ),
    (lambda: gc.verify(torch.tanh, X, rows="some"), "rows is 'some'; expected 'all' or nothing"),
    (lambda: gc.verify(torch.tanh, X, device="mars"), "device: got 'mars', which PyTorch"),
    (lambda: gc.verify(torch.tanh, X, profile="x"), "unknown profile 'x'"),
    (lambda: gc.verify(lambda x: 1 / 0, X), "f raised ZeroDivisionError: division by zero"),
    (
        lambda: gc.verify(lambda x: None, X),
        "f returned no floating-point tensor; expected one or more to differentiate, got None: has it a return?",
    ),
    (lambda: gc.verify(torch.tanh, torch.zeros(0)), "no numbers in it, its shape has a 0"),
    # What comes of gradcheck's habits: a tuple of inputs, tolerances, options under other names.
    (
        lambda: gc.verify(torch.mul, (X, X)),
        "f was given one tuple of 2: give its parts one by one, gc.verify(f, *inputs)",
    ),
    (lambda: gc.verify(torch.tanh, [X]), "f was given one list of 1: give its parts one by one"),
    (lambda: gc.verify(torch.nn.Linear(1, 1), (X,)), "f was given one tuple of 1: give its parts one by one"),
    (lambda: gc.verify(torch.tanh, (X,), eps=1e-6), "verify has no option 'eps'; there is no tolerance to choose"),
    (lambda: gc.verify(torch.tanh, X, atol=1e-5), "there is no tolerance to choose, the allowance is computed"),
    (lambda: gc.verify(torch.tanh, X, raise_exception=False), "a report is true or false: assert gc.verify(f, x)"),
    (lambda: gc.verify(torch.tanh, inputs=(X,)), "arguments stand after f: gc.verify(f, x, w)"),
    (lambda: gc.verify(torch.tanh, X, modes=("fwd", "rev")), "give mode='forward', 'reverse' or 'both'"),
    (lambda: gc.verify(torch.tanh, X, check_batched_grad=True), "give batched=True"),
    (lambda: gc.verify(torch.tanh, X, route="compile"), "verify has no option 'route'; did you mean 'routes'?"),
    (
        lambda: gc.verify(torch.softmax, X, dim=0),
        "what f itself takes by name is given with it: functools.partial(f, dim=…)",
    ),
    (lambda: gc.verify(), "verify: missing a required argument: 'f'; expected verify(f, *args, …)"),
    # Arguments of another kind.
    (
        lambda: gc.verify(torch.tanh, [0.5, 1.0]),
        "arguments of float; expected at least one PyTorch tensor or JAX array",
    ),
    (lambda: gc.verify(torch.tanh, None), "arguments of no kind: none was given"),
    (lambda: gc.verify(np.tanh, X), "NumPy has no gradients: compute with PyTorch's functions, and do not detach"),
    (
        lambda: gc.verify(lambda x: x.to_dense(), X.to_sparse()),
        "x is of layout torch.sparse_coo; expected a dense tensor",
    ),
    (lambda: gc.verify(torch.sin(X), X), "f is of type Tensor; expected a function, and its arguments after it"),
    (lambda: gc.verify(Tripled.__new__(Tripled), X), "of a custom rule give its apply: Tripled.apply"),
    (lambda: gc.verify(Tripled.forward, X), "of a custom rule give its apply: Tripled.apply"),
    (lambda: gc.verify(Tripled.backward, X), "of a custom rule give its apply: Tripled.apply"),
    # Functions that return another kind of thing.
    (lambda: gc.verify(lambda x: (y for y in [x * 2]), X), "got a generator: give what it makes, as a list"),
    (lambda: gc.verify(waits, X), "got a coroutine: give a function that is not async"),
    (lambda: gc.verify(lambda x: x.sum().item(), X), "got a float, of which no derivative is known: give an array"),
    (lambda: gc.verify(lambda x: np.sin(x.detach().numpy()), X), "got a ndarray, of which no derivative is known"),
    (lambda: gc.verify(lambda x: x > 0, X), "got a Tensor of torch.bool: give floating-point numbers"),
    (lambda: gc.verify(lambda x: {"loss": "none"}, X), "got a dict without one"),
    # Functions that do not take what they are given.
    (lambda: gc.verify(lambda x: x.mul_(2), X), "f changes its argument: give lambda x: f(x.clone())"),
    (
        lambda: gc.verify(F.cross_entropy, torch.tensor([0]), X[None]),
        "are the arguments in the order that f takes them?",
    ),
    (lambda: gc.verify(batch_norm, X[None], X, X), "name with wrt= the arguments that a gradient is asked for"),
    # Options.
    (lambda: gc.verify(torch.tanh, X, wrt=X), "wrt is Tensor; expected numbers or names of arguments, such as wrt=0"),
    (lambda: gc.verify(torch.tanh, X, wrt=[]), "wrt is empty; expected numbers or names of arguments"),
    (lambda: gc.verify(torch.tanh, X, accept=True), "accept is True; expected verdicts, some of lost"),
    (lambda: gc.verify(torch.tanh, X, seed="a"), "seed is 'a'; expected a whole number, 0 or more"),
    (
        lambda: gc.verify(torch.tanh, X, forms={"tanh": torch.tanh}),
        "'tanh' is no operation's name; expected one such as",
    ),
    (lambda: gc.verify(torch.tanh, X, forms=5), "forms is a int; expected a function for each name of an operation"),
    (lambda: gc.verify(torch.tanh, X, forms={1: torch.tanh}), "forms: 1 is no operation's name"),
    (lambda: gc.verify(torch.tanh, X, forms={"a::b": 5}), "forms: 'a::b' is a int; expected a function of its"),
    (lambda: gc.verify(torch.tanh, X, routes=5), "routes is 5; expected a name, or several"),
    (lambda: gc.verify(torch.tanh, X, mode=["reverse"]), "mode is ['reverse'] (list); expected a name"),
    (lambda: gc.verify(torch.tanh, X, definition=5), "definition is a int; expected a function of arithmetic and"),
    (lambda: gc.verify(torch.tanh, X, approximated=-1.0), "approximated is -1.0; expected a number of ulps, 0 or more"),
    (lambda: gc.verify(torch.tanh, X, approximated=math.nan), "approximated is nan; expected a number of ulps"),
    (lambda: gc.verify(torch.tanh, X, approximated="1"), "approximated is '1'; expected a number of ulps"),
    (lambda: gc.verify(lambda x: x.tanh(), X.to("meta")), "x is on the device meta, where a tensor holds no numbers"),
    # Optimizers.
    (lambda: gc.verify_update(sgd, X), "verify_update: missing a required argument: 'gradients'"),
    (lambda: gc.verify_update(sgd, X, X), "gradients is one gradient; expected a list, with one for each update: [g]"),
    (lambda: gc.verify_update(sgd, 0.5, [0.1]), "weights of float; expected at least one PyTorch tensor or JAX array"),
    (
        lambda: gc.verify_update(sgd, iter([X]), [[X]]),
        "weights is a list_iterator; expected a tensor, a list or a module",
    ),
    (lambda: gc.verify_update(sgd, {"a": X}, [{"b": X}]), "gradients[0] is of b; the weights are of a"),
    (
        lambda: gc.verify_update(sgd, [X, X], [X, X]),
        "the weights have 2: expected for each update a gradient for each of",
    ),
    (lambda: gc.verify_update(torch.optim.SGD, X, [X], lr=0.1), "lambda p: torch.optim.SGD(p, lr=…)"),
    (
        lambda: gc.verify_update(lambda p: torch.optim.lr_scheduler.StepLR(sgd(p), 1), X, [X]),
        "or (optimizer, scheduler)",
    ),
    (lambda: gc.verify_update(sgd, X, [X], routes=5), "routes is 5; expected a name, or several"),
    (lambda: gc.verify_update(sgd, X.to("meta"), [X]), "weights: w is on the device meta, where a tensor holds no"),
    (lambda: gc.verify_update(sgd, X, [X.to("meta")]), "gradients[0]: w is on the device meta, where a tensor holds"),
    (lambda: gc.verify_update(sgd, X.to_sparse(), [X]), "weights: w is of layout torch.sparse_coo; expected a dense"),
    # What is explained, checked and trained.
    (lambda: gc.explain(torch.tanh), "a function is verified by gradconform.verify(f, …)"),
    (lambda: gc.explain(gc.verify(torch.tanh, X)), "case is a Report, which explains itself: report.explain()"),
    (lambda: gc.explain("numpy/central", W), "'numpy/central' is an adapter, and stands in the case's place"),
    (lambda: gc.assert_conforms(gc.verify(torch.tanh, X)), "a report is asserted itself: assert report"),
    (lambda: gc.check(N), "check: missing a required argument: 'case'; expected check(adapter, case, …)"),
    (lambda: gc.train(N, W, steps=2, rate="12"), "rate is '12'; expected numbers, or a function of the step"),
    (
        lambda: gc.train(N, W, steps=2, rate=[0.1, math.nan]),
        "rate: expected 2 finite numbers, one for each step, got nan",
    ),
    (lambda: gc.train(N, W, epochs=2), "train has no option 'epochs'; give steps=, the number of updates"),
]


@pytest.mark.parametrize(("call", "message"), CALLS)
def test_a_wrong_call_is_refused_with_what_to_do(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(gc.BadInput) as error:
        call()
    assert message in str(error.value)


def test_there_are_as_many_as_were_promised() -> None:
    assert len(COMMANDS) >= 100
    assert len(CALLS) >= 120


class Full(io.StringIO):
    def write(self, text: str) -> int:
        raise OSError(28, "No space left on device")


PRINTING = [
    "--help", "--version", "run -h", "verify -h", "report -h", "diff -h", "explain -h", "list -h", "doctor -h",
    "list cases", "list dtypes", "list equations", "list operations",
    "explain document/worked-example", "explain --inputs 1,2 --only h1",
    "diff run.jsonl a/run.jsonl", "diff run.jsonl a/run.jsonl --format json", "completion bash",
    "diff run.jsonl a/run.jsonl --format markdown", "verify bad_names:good",
]  # fmt: skip


@pytest.mark.parametrize("stream", [None, Full()], ids=["closed", "full"])
@pytest.mark.parametrize("command", PRINTING)
def test_what_nobody_hears_ends_with_exit_status_4(
    folder: Path, command: str, stream: io.StringIO | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    errors = io.StringIO()
    monkeypatch.setattr(sys, "stdout", stream)
    monkeypatch.setattr(sys, "stderr", errors)
    with pytest.raises(SystemExit) as end:
        main(shlex.split(command), prog_name="gradconform")
    assert end.value.code == UNWRITTEN
    assert errors.getvalue().startswith("gradconform: standard output could not be written: ")
