# /// script
# requires-python = ">=3.11"
# dependencies = ["nox>=2025.2.9"]
# ///
"""Sessions. `nox -s report` judges and tabulates, `nox -s tests` tests; `nox -l` lists the others."""

from __future__ import annotations

import os
import re
import tomllib
from datetime import UTC, datetime
from pathlib import Path

import nox

nox.needs_version = ">=2025.2.9"
nox.options.default_venv_backend = "virtualenv"
nox.options.sessions = ["tests", "lint", "typecheck"]

ROOT = Path(__file__).parent
CONSTRAINTS = ("-c", str(ROOT / "constraints.txt"))
#: Framework versions that the built wheel is judged with; each gets an environment of its own.
MATRIX = ("jax-0.7.2", "jax-0.10.2")
#: Framework versions whose accuracy is compared, oldest first; of PyTorch the one that is pinned.
HISTORY = ("jax-0.4.30", "jax-0.5.3", "jax-0.6.2", "jax-0.7.2", "jax-0.8.3", "jax-0.9.2", "jax-0.10.2", "torch")
#: Framework versions whose operators are compared, of each framework the older one first; "torch" is the pinned one.
OPERATORS = ("torch-2.12.1", "torch", "jax-0.9.2", "jax-0.10.2")
#: What they are compared on: the document's network in part, every activation and loss, every activation's whole range.
SWEEPS = "gradconform.conformance.cases.networks:sweeps"
COMPARED = ("document/worked-example", "document/scale-*/00*", "document/[!sw]*", "network/*", SWEEPS)
#: Cases of the committed run that new ones are held against: small, and between them every equation and activation.
BASELINE = ("document/worked-example", "network/[bhls]*", "network/primitives/*")


@nox.session(reuse_venv=True)
def report(session: nox.Session) -> None:
    """Judge every default route on the whole catalogue, write the run file and the tables."""
    session.install(*CONSTRAINTS, "-e", ".[torch,jax,report]")
    run = Path("runs") / f"{datetime.now(UTC):%Y%m%dT%H%M%S}Z.jsonl.zst"
    session.run("gradconform", "run", "-o", str(run), *session.posargs)
    session.run("gradconform", "report", str(run), "-o", "report")


@nox.session(reuse_venv=True)
def tests(session: nox.Session) -> None:
    """The project's own tests, with every framework."""
    session.install(*CONSTRAINTS, "-e", ".[all]")
    # A file's tests in one worker, which makes what they share once; and the many processes that tests start find
    # their modules compiled.
    options = session.posargs or ("-n", "auto", "--dist", "loadfile", "--no-loadscope-reorder")
    session.run("pytest", *options, env={"PYTHONDONTWRITEBYTECODE": ""})


@nox.session(reuse_venv=True)
def lint(session: nox.Session) -> None:
    """ruff: rules and format."""
    session.install(*CONSTRAINTS, "ruff")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session(reuse_venv=True)
def typecheck(session: nox.Session) -> None:
    """mypy, strict, over the package."""
    session.install(*CONSTRAINTS, "-e", ".[all]", "mypy", "pandas-stubs", "scipy-stubs", "nox")
    session.run("mypy")


@nox.session(default=False)
def minimums(session: nox.Session) -> None:
    """The tests that need no framework, with the oldest versions that pyproject.toml admits."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    wanted = [*project["dependencies"], *extras["report"], *extras["test"]]
    session.install(*[re.sub(r">=", "==", requirement) for requirement in wanted])
    session.install("--no-deps", "-e", ".")
    session.run("pytest", *session.posargs)


@nox.session(default=False)
def build(session: nox.Session) -> None:
    """Wheel and sdist; the wheel in an empty environment judges NumPy from an empty directory."""
    session.install(*CONSTRAINTS, "build", "twine", "pytest", "tabulate")
    wheel = _wheel(session)
    session.run("twine", "check", "--strict", *(str(p) for p in wheel.parent.iterdir()))
    session.install(*CONSTRAINTS, str(wheel))
    session.chdir(session.create_tmp())
    session.run("gradconform", "--version")
    _suite(session, "--gradconform-case", "document/worked-example")


@nox.session(default=False, reuse_venv=True)
@nox.parametrize("framework", [nox.param(f, id=f) for f in MATRIX])
def conformance(session: nox.Session, framework: str) -> None:
    """The suite from the built wheel against one version of a framework."""
    name, version = framework.split("-")
    session.install(*CONSTRAINTS, "build")
    wheel = _wheel(session)
    # The version under test is free of the constraints; pip settles what it needs.
    session.install(f"{name}=={version}", *([f"jaxlib=={version}"] if name == "jax" else []), "pytest", "tabulate")
    session.install("--force-reinstall", "--no-deps", str(wheel))
    session.install(f"gradconform[{name}] @ {wheel.as_uri()}", f"{name}=={version}")
    session.chdir(session.create_tmp())
    cases = session.posargs or ["document/worked-example", "document/scale-*/00*", "document/[!s]*"]
    _suite(session, "--gradconform-adapter", name, *(a for c in cases for a in ("--gradconform-case", c)))


@nox.session(default=False, reuse_venv=True)
def bench(session: nox.Session) -> None:
    """This suite, gradcheck and check_grads: what each costs; and how far training drifts."""
    session.install(*CONSTRAINTS, "-e", ".[all]")
    session.run("python", "benchmarks/drift.py")
    session.run("python", "benchmarks/checkers.py", *session.posargs)


@nox.session(default=False, reuse_venv=True)
def faults(session: nox.Session) -> None:
    """Planted faults by the hundred against this suite, gradcheck and check_grads: caught, missed, and why."""
    session.install(*CONSTRAINTS, "-e", ".[all]")
    session.run("python", "benchmarks/detection.py", "-o", "docs/faults", *session.posargs)


@nox.session(default=False, reuse_venv=True)
def mutants(session: nox.Session) -> None:
    """Each operator and operand of the reference's source changed, one at a time: the tests must notice."""
    session.install(*CONSTRAINTS, "-e", ".[all]")
    session.run("python", "benchmarks/mutants.py", "-o", "docs/mutants", *session.posargs)


@nox.session(default=False, reuse_venv=True)
def networks(session: nox.Session) -> None:
    """A thousand random networks in every dtype: no false alarm, and how much of its allowance each activation uses."""
    session.install(*CONSTRAINTS, "-e", ".[all]")
    session.run("python", "benchmarks/networks.py", "-o", "docs/networks", *session.posargs)


@nox.session(default=False, reuse_venv=True)
def correct(session: nox.Session) -> None:
    """Correct programs that are not ours, and a thousand random ones that the hypotheses permit: none is accused."""
    session.install(*CONSTRAINTS, "-e", ".[all]", "autograd")
    session.run("python", "benchmarks/correct.py", "-o", "docs/correct", *session.posargs)
    session.run("python", "benchmarks/correct.py", "--device", "1000", "-o", "docs/correct")


@nox.session(default=False, reuse_venv=True)
def gross(session: nox.Session) -> None:
    """Gross wrong answers and wrong slopes of every activation and loss, over every binade of every dtype."""
    session.install(*CONSTRAINTS, "-e", ".[all]")
    session.run("python", "benchmarks/gross.py", "-o", "docs/gross", *session.posargs)


@nox.session(default=False, reuse_venv=True)
def radii(session: nox.Session) -> None:
    """Every operation of the rounded arithmetics over balls of every magnitude: what programs hold is inside."""
    session.install(*CONSTRAINTS, "-e", ".[all]")
    session.run("python", "benchmarks/radii.py", *session.posargs)


@nox.session(default=False, reuse_venv=True)
def losing(session: nox.Session) -> None:
    """What each framework loses: operator, dtype, from which argument on, how many bits, and what keeps them."""
    session.install(*CONSTRAINTS, "-e", ".[all]")
    session.run("python", "benchmarks/losing.py", "-o", "docs/lost", *session.posargs)


@nox.session(default=False, reuse_venv=True)
def depth(session: nox.Session) -> None:
    """How much the whole level certifies, by depth, width, activation and dtype."""
    session.install(*CONSTRAINTS, "-e", ".[all]")
    session.run("python", "benchmarks/depth.py", "-o", "docs/depth", *session.posargs)


@nox.session(default=False, reuse_venv=True)
def programs(session: nox.Session) -> None:
    """What verify sees of wrong programs, and that it accuses no correct one: docs/programs (about half an hour)."""
    session.install(*CONSTRAINTS, "-e", ".[all]")
    for benchmark in ("wrong_programs", "verify_correct", "rule_mutants"):
        session.run("python", f"benchmarks/{benchmark}.py", "-o", "docs/programs", *session.posargs)
    for what in ([], ["--models"]):
        session.run("python", "benchmarks/program_costs.py", *what, "-o", "docs/programs")


@nox.session(default=False, reuse_venv=True)
def updates(session: nox.Session) -> None:
    """Every optimizer against its rule, 48 that are wrong in one place, kernels at every size, drift: docs/updates."""
    session.install(*CONSTRAINTS, "-e", ".[all]")
    session.run("python", "benchmarks/updates.py", "-o", "docs/updates", *session.posargs)


@nox.session(default=False, reuse_venv=True)
def compiled(session: nox.Session) -> None:
    """Forty programs through torch.compile against what they do eagerly: docs/programs/compiled.md (half an hour)."""
    session.install(*CONSTRAINTS, "-e", ".[all]")
    session.run("python", "benchmarks/compiled.py", "-o", "docs/programs", *session.posargs)


@nox.session(default=False, reuse_venv=True)
def functions(session: nox.Session) -> None:
    """How far PyTorch's, JAX's and SciPy's scalar functions are from the table's, over every binade of every dtype."""
    session.install(*CONSTRAINTS, "-e", ".[all]")
    session.run("python", "benchmarks/functions.py", "-o", "docs/functions", *session.posargs)


@nox.session(default=False, reuse_venv=True)
def sweeps(session: nox.Session) -> None:
    """Every operator of one number at every 16-bit number, in both frameworks: docs/operators (some hours; resumes)."""
    session.install(*CONSTRAINTS, "-e", ".[all]")
    session.run("python", "benchmarks/sweeps.py", "-o", "docs/operators", *session.posargs)
    if not session.posargs:  # of float32 one number in 1,027, by PyTorch
        sample = ("-d", "float32", "-a", "torch", "--sample", "4182052")
        six = ("sigmoid", "tanh", "exp", "gelu", "softplus", "erf")
        session.run("python", "benchmarks/sweeps.py", "-o", "docs/operators", *sample, *six)


@nox.session(default=False, reuse_venv=True)
def survey(session: nox.Session) -> None:
    """Beside ulpwise's survey: the same functions at the same numbers, the same largest errors: docs/operators."""
    session.install(*CONSTRAINTS, "-e", ".[all]", "ulpwise[survey]")
    session.run("python", "benchmarks/survey.py", "-o", "docs/operators", *session.posargs)


@nox.session(default=False, reuse_venv=True)
@nox.parametrize("framework", [nox.param(f, id=f) for f in OPERATORS])
def operators_version(session: nox.Session, framework: str) -> None:
    """One version's run of the catalogue of operators for `accuracy`, in float32 or the dtypes given."""
    name, run = _versioned(session, framework, "accuracy")
    dtypes = [option for dtype in session.posargs or ("float32",) for option in ("-d", dtype)]
    # 1 is a finding; 3 an operator that this version's recorder does not know.
    session.run("gradconform", "verify", "operator/*", "-a", name, *dtypes, "-o", str(run), success_codes=[0, 1, 3])


@nox.session(default=False, reuse_venv=True)
def accuracy(session: nox.Session) -> None:
    """Operators by version, compared, and every 16-bit number (some hours; the sweeps resume)."""
    for framework in OPERATORS:
        session.notify(f"operators_version({framework})", posargs=session.posargs)
    session.notify("accuracies")
    session.notify("sweeps", posargs=[])


@nox.session(default=False, reuse_venv=True)
def accuracies(session: nox.Session) -> None:
    """Tables, figure and changes of the runs that `accuracy` left, and their page, in report/accuracy."""
    session.install(*CONSTRAINTS, "-e", ".[report,test]")
    runs = [str(ROOT / "runs" / "accuracy" / f"{framework}.jsonl.zst") for framework in OPERATORS]
    session.run("python", "benchmarks/accuracy.py", *runs, "-o", "docs/accuracy")
    session.run("gradconform", "report", *runs, "-o", "report/accuracy")


@nox.session(default=False, reuse_venv=True)
def cluster(session: nox.Session) -> None:
    """Twenty runs on a cluster of four workers, of which one is killed; what the cluster costs beside local workers."""
    session.install(*CONSTRAINTS, "-e", ".[all]")
    session.run("python", "benchmarks/cluster.py", *session.posargs)


@nox.session(default=False, reuse_venv=True)
def docs(session: nox.Session) -> None:
    """The documentation site, in report/site; a warning is an error."""
    session.install(*CONSTRAINTS, "-e", ".[torch,jax,docs]")
    session.run("python", "-m", "sphinx", "-W", "--keep-going", "-b", "html", "docs/site", "report/site")


@nox.session(default=False, reuse_venv=True)
@nox.parametrize("framework", [nox.param(f, id=f) for f in HISTORY])
def version(session: nox.Session, framework: str) -> None:
    """One version's run for `regress`: the built wheel and the framework in an environment of their own."""
    name, run = _versioned(session, framework, "regress")
    route = "jax/jit" if name == "jax" else "torch/eager"
    cases = [option for glob in session.posargs or COMPARED for option in ("-c", glob)]
    # 1 is a finding, which is what the comparison is for.
    session.run("gradconform", "run", "-a", route, *cases, "-o", str(run), success_codes=[0, 1])


@nox.session(default=False, reuse_venv=True)
def regress(session: nox.Session) -> None:
    """Accuracy by framework version: runs every version, then writes the table, the figure and what changed when."""
    for framework in HISTORY:
        session.notify(f"version({framework})", posargs=session.posargs)
    session.notify("history")


@nox.session(default=False, reuse_venv=True)
def baseline(session: nox.Session) -> None:
    """Judge the pinned versions anew on the cases that new runs are held against, and say what is different."""
    session.install(*CONSTRAINTS, "-e", ".[all]")
    old, new = ROOT / "tests" / "baseline.jsonl", ROOT / "runs" / "baseline.jsonl"
    new.unlink(missing_ok=True)
    cases = [option for glob in BASELINE for option in ("-c", glob)]
    session.run("gradconform", "run", "-a", "torch/eager", "-a", "jax/jit", *cases, "-o", str(new))
    if old.exists():
        session.run("gradconform", "diff", str(old), str(new), success_codes=[0, 1])
    new.replace(old)


@nox.session(default=False, reuse_venv=True)
def history(session: nox.Session) -> None:
    """The table, figure and changes of the runs that `regress` left, and their page, in report/history."""
    session.install(*CONSTRAINTS, "-e", ".[report,test]")
    runs = [str(ROOT / "runs" / "regress" / f"{framework}.jsonl.zst") for framework in HISTORY]
    session.run("python", "benchmarks/history.py", *runs, "-o", "docs/history")
    session.run("gradconform", "report", *runs, "-o", "report/history")


@nox.session(default=False, reuse_venv=True)
def isolation(session: nox.Session) -> None:
    """Fifty runs killed at random moments and resumed; what worker processes cost on the default run."""
    session.install(*CONSTRAINTS, "-e", ".[all]")
    session.run("python", "benchmarks/isolation.py", "rounds", *session.posargs)
    session.run("python", "benchmarks/isolation.py", "cost")


@nox.session(default=False, reuse_venv=True)
def soak(session: nox.Session) -> None:
    """A million judged quantities: 0 false alarms, or a minimal case. Resumes from runs/soak.jsonl."""
    session.install(*CONSTRAINTS, "-e", ".[all]")
    session.run("python", "benchmarks/soak.py", *session.posargs)


@nox.session(default=False, reuse_venv=True)
def fuzz(session: nox.Session) -> None:
    """A hundred thousand mutated run files: each is refused with a clear error, or read."""
    session.install(*CONSTRAINTS, "-e", ".[all]")
    session.run("python", "benchmarks/fuzz.py", *session.posargs)


def _versioned(session: nox.Session, framework: str, folder: str) -> tuple[str, Path]:
    """Install one version of a framework and the built wheel; the framework's name, and where its run goes."""
    name, _, number = framework.partition("-")
    session.install(*CONSTRAINTS, "build")
    wheel = _wheel(session)
    # The version under test is free of the constraints; pip settles what it needs.
    pins = [f"{name}=={number}", *([f"jaxlib=={number}"] if name == "jax" else [])] if number else [*CONSTRAINTS, name]
    session.install(f"gradconform[{name}] @ {wheel.as_uri()}", *pins)
    session.install("--force-reinstall", "--no-deps", str(wheel))
    run = ROOT / "runs" / folder / f"{framework}.jsonl.zst"
    run.unlink(missing_ok=True)
    session.chdir(session.create_tmp())
    return name, run


def _wheel(session: nox.Session) -> Path:
    """Build into this session's own folder and return the wheel."""
    folder = Path(session.create_tmp()).resolve() / f"dist-{os.getpid()}-{datetime.now(UTC):%H%M%S}"
    session.run("python", "-m", "build", "--outdir", str(folder), str(ROOT))
    (wheel,) = folder.glob("*.whl")
    return wheel


def _suite(session: nox.Session, *options: str) -> None:
    session.run("python", "-m", "pytest", "-p", "no:cacheprovider", "--pyargs", "gradconform.conformance", *options)


@nox.session(default=False, reuse_venv=True)
def operators(session: nox.Session) -> None:
    """The catalogue of operators in both frameworks and every dtype, and the atlas of conventions: docs/operators."""
    session.install(*CONSTRAINTS, "-e", ".[all]")
    files = []
    for adapter in ("torch", "jax"):
        for dtype in ("float64", "float32", "bfloat16", "float16"):
            files.append(str(Path(session.create_tmp()) / f"{adapter}-{dtype}.csv"))
            session.run("python", "benchmarks/operators.py", "measure", "-a", adapter, "-d", dtype, "-o", files[-1],
                        success_codes=[0, 1])  # fmt: skip
    session.run("python", "benchmarks/operators.py", "write", *files, success_codes=[0, 1])
    session.run("python", "benchmarks/conventions_atlas.py")
    session.install(*CONSTRAINTS, "expecttest")
    for adapter in ("torch", "jax"):
        session.run("python", "benchmarks/samples.py", "-a", adapter, "-o", "docs/operators")
