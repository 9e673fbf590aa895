"""The run file: JSON Lines, one flat object a line: a header, the measurements (only they have `quantity`), a footer.

Missing is null, non-finite numbers are "nan", "inf" and "-inf". A task's rows are one write, in a packed file a frame
(see `run.frames`); a file without its footer is incomplete. Reading executes nothing and refuses what is not a whole
run of this schema or, for `read` and `load`, of the one before it.
"""

from __future__ import annotations

import json
import math
import os
import shlex
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from io import FileIO
from itertools import groupby
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from gradconform.conformance.run import older_runs
from gradconform.conformance.run.frames import ENDINGS, LINE_LIMIT, Line, Lines, packed, run_name
from gradconform.reference.cases import BadInput
from gradconform.reference.judge import VERDICTS
from gradconform.reference.measurement import COLUMNS, QUESTIONS, Measurement

if TYPE_CHECKING:
    import pandas as pd

SCHEMA = 2
_TEXT = {
    "case",
    "adapter",
    "route",
    "dtype",
    "level",
    "quantity",
    "truth",
    "accepted_form",
    "worst_index",
    "operator",
    "formula",
    "execution",
    "accuracy",
    "verdict",
    "cause",
    "reason",
}
_REQUIRED = {"case", "adapter", "route", "dtype", "quantity", "verdict"}
_NUMBERS = tuple(c for c in COLUMNS if c not in _TEXT)
#: The columns of few words; a measurement of which a question was not asked has no answer to it.
_WORDS: Mapping[str, Sequence[str | None]] = {
    "verdict": VERDICTS,
    **{question: (*answers, None) for question, answers in QUESTIONS.items()},
}
_NON_FINITE = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}
_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def _encoded(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return "nan" if math.isnan(value) else "inf" if value > 0 else "-inf"
    return value


def line(values: Mapping[str, Any]) -> str:
    """One flat object as a line of the file."""
    try:
        return _ENCODER.encode(dict(values)) + "\n"
    except ValueError:  # a number of it is not finite
        return _ENCODER.encode({k: _encoded(v) for k, v in values.items()}) + "\n"


def decoded(text: str) -> dict[str, Any]:
    """The object of a line that `line` wrote."""
    values: dict[str, Any] = json.loads(text)
    if not any(f'"{word}"' in text for word in _NON_FINITE):
        return values
    return {k: _NON_FINITE.get(v, v) if k in _NUMBERS and isinstance(v, str) else v for k, v in values.items()}


#: The path that stands for standard output.
STDOUT = Path("-")


class Unwritable(Exception):
    """Measurements cannot be written any more, such as on a full disk; the message says what to do."""


class RunWriter:
    """Writes a run file; the footer is written by `finish`, and only then is the run complete.

    A new file is created, never written over, and kept for this writer alone until it is closed; it is packed where its
    name ends as in ENDINGS. With `begun` an incomplete file goes on after what is in it, packed as it is. The path
    STDOUT is standard output, which lines are written to as they are. Raises BadInput if the file exists, cannot be
    made, or is somebody else's, and Unwritable where writing fails later.
    """

    def __init__(self, path: Path, header: Mapping[str, Any], begun: Begun | None = None) -> None:
        self.path = path
        self.counts: Counter[str] = Counter()
        self.rows = 0
        self._packing = ENDINGS.get(path.suffix) if begun is None else begun.packing
        if path == STDOUT:
            self._file = FileIO(sys.stdout.fileno(), "w", closefd=False)
            self._write(line({"kind": "header", "schema": SCHEMA, **header}))
            return
        self._file = opened(path, "a run", begun is None)
        try:
            if begun is None:
                self._write(line({"kind": "header", "schema": SCHEMA, **header}))
                return
            if begun.size != path.stat().st_size:
                raise BadInput(f"{path} was written to meanwhile; another run has gone on with it")
            self._file.seek(begun.end)
            self._count(begun.measurements)
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> RunWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def _write(self, *lines: str) -> None:
        data = packed([text.encode() for text in lines], self._packing)
        put(self._file, data, self.path, last=self.path != STDOUT)

    def _count(self, rows: Sequence[Measurement]) -> None:
        self.counts.update(m.verdict for m in rows)
        self.rows += len(rows)

    def write(self, measurements: Iterable[Measurement]) -> None:
        rows = list(measurements)
        self._write(*(line(m.row()) for m in rows))
        self._count(rows)

    def finish(self, **totals: Any) -> None:
        counts = {v: self.counts[v] for v in VERDICTS}
        self._write(line({"kind": "footer", "measurements": self.rows, "verdicts": counts, **totals}))
        if self.path == STDOUT:
            return
        try:
            os.fsync(self._file.fileno())
        except OSError as error:
            raise Unwritable(f"cannot write {self.path}: {error.strerror}") from error


def opened(path: Path, what: str, new: bool) -> FileIO:
    """A file to be written from its beginning or to go on with, kept for this process. Raises BadInput if it cannot be.

    Unbuffered: a write is one call to the system, and what is written is no longer this process's to lose.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise BadInput(f"cannot write {path}: {path.parent} is a file, expected a folder; give another -o") from None
    except OSError as error:
        raise BadInput(f"cannot make the folder {path.parent}: {error.strerror}; give another -o") from error
    try:
        file = FileIO(path, "x" if new else "r+")
    except FileExistsError:
        raise BadInput(f"{path} exists; {what} is never written over: give another -o, or remove it") from None
    except OSError as error:
        raise BadInput(f"cannot write {path}: {error.strerror}; give another -o") from error
    try:
        _lock(file, path)
    except BaseException:
        file.close()
        raise
    return file


def put(file: FileIO, data: bytes, path: Path, last: bool = True) -> None:
    """Write all of it, the `last` of the file. Raises Unwritable where the system does not take it.

    What stands after it goes only now that something takes its place: who is ended before that loses nothing.
    """
    rest = memoryview(data)
    try:
        if last:
            file.truncate()
        while rest:
            rest = rest[file.write(rest) :]
    except OSError as error:
        raise Unwritable(f"cannot write {path}: {error.strerror}") from error


def _lock(file: IO[bytes] | FileIO, path: Path) -> None:
    """Keep the file for this process until it is closed or dead. Raises BadInput if another has it."""
    try:
        if sys.platform == "win32":
            import msvcrt

            # The first byte past 2^62: locked bytes cannot be read by others, and a run under way may be read.
            file.seek(1 << 62)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
            file.seek(0)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        raise BadInput(f"{path} is being written by another run; wait for it, or give another -o") from error


@dataclass(frozen=True)
class Begun:
    """An incomplete run file: its header, its whole tasks' measurements, where they end, and the file's size in bytes.

    Of the last task nobody knows whether it is whole, so it is not among them; nor is what is cut off after it.
    `packing` is how the file is packed, `cut` whether it was cut inside a frame.
    """

    header: Mapping[str, Any]
    measurements: tuple[Measurement, ...]
    end: int
    size: int
    packing: str | None = None
    cut: bool = False

    @property
    def tasks(self) -> list[tuple[str, str]]:
        """Case and dtype of every task that is done, in order."""
        return [key for key, _ in groupby(self.measurements, key=_task)]


def begun(path: Path) -> Begun | None:
    """What there is of an incomplete run; None for a file that is empty or ends within its header.

    Raises BadInput for a file that cannot be read, is complete, or is no run of this schema.
    """
    header: dict[str, Any] | None = None
    measurements: list[Measurement] = []
    #: Where each line starts, and at last where the next one would.
    starts: list[int] = []
    opening = b'{"kind":"header"'
    lines = Lines(path)
    for at in lines:
        cut = not at.text.endswith(b"\n")
        if header is None:
            if cut and at.text[: len(opening)] == opening[: len(at.text)]:
                return None
            header = _object(at, path)
            if _schema(header, path) != SCHEMA:
                raise BadInput(
                    f"{path} has schema {older_runs.SCHEMA}, which can be read and not gone on with; run it again into "
                    "another file, with -o"
                )
            starts.append(at.end)
        elif not cut:
            values = _object(at, path)
            where = f"{path}, line {at.number}"
            if values.get("kind") == "footer":
                raise BadInput(f"{path} is complete; there is nothing to resume")
            if "quantity" not in values:
                raise BadInput(f"{where}: neither a measurement nor a footer")
            measurements.append(Measurement(**_row(values, where)))
            starts[-1:] = [at.start, at.end]
        else:
            break
    if header is None:
        if lines.cut:
            raise BadInput(f"{path} was cut off inside its first frame, so that it holds nothing; remove it")
        return None
    whole = len(measurements)
    while whole and _task(measurements[whole - 1]) == _task(measurements[-1]):
        whole -= 1
    end = starts[whole]
    if measurements and end in (0, *starts[:whole]):
        raise BadInput(
            f"{path} was packed as a whole, so that nothing can be added to it; unpack it and go on with that"
        )
    return Begun(header, tuple(measurements[:whole]), end, lines.size, lines.packing, lines.cut)


def _task(m: Measurement) -> tuple[str, str]:
    return m.case, m.dtype


def _object(at: Line, path: Path) -> dict[str, Any]:
    """The object of one line of a run file. Raises BadInput for what is none."""
    text, number = at.text, at.number
    if len(text) > LINE_LIMIT:
        raise BadInput(f"{path}, line {number}: longer than {LINE_LIMIT} bytes; is this a run file?")
    try:
        values = parsed(text.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        # Of a run that was written, only the last line has no end. The first is its header, or it is no run at all.
        if number > 1 and not text.endswith(b"\n"):
            raise BadInput(
                f"{path} is incomplete: it was cut off in line {number}, the last; go on with it: {_resumes(path)}"
            ) from None
        if isinstance(error, UnicodeDecodeError):
            raise BadInput(f"{path} is not text; expected a run written by `gradconform run`") from None
        raise BadInput(f"{path}, line {number}: truncated or not JSON; is this a run file?") from None
    if not isinstance(values, dict):
        raise BadInput(f"{path}, line {number}: expected an object; is this a run file?")
    return values


def _resumes(path: Path) -> str:
    return f"gradconform run --resume {shlex.quote(str(path))}"


def _schema(values: Mapping[str, Any], path: Path) -> int:
    """The schema of the run whose header this is. Raises BadInput for what is no header, or one of another schema."""
    if values.get("kind") != "header" or values.get("suite") != "gradconform":
        raise BadInput(f"{path} is not a gradconform run: its first line is no header of one")
    if "sweep" in values:
        raise BadInput(
            f"{path} is a sweep's file, and no run; gradconform diff compares two of them, and report tabulates them"
        )
    schema = values.get("schema")
    if isinstance(schema, bool) or schema not in (SCHEMA, older_runs.SCHEMA):
        raise BadInput(
            f"{path} has schema {_quoted(schema)}; this gradconform reads schema {SCHEMA} and {older_runs.SCHEMA}: run "
            "it again, or read it with the gradconform that wrote it"
        )
    if not isinstance(values.get("profile"), str):
        raise BadInput(f"{path}: its header's profile is {_quoted(values.get('profile'))}, expected text")
    return int(schema)


def read(path: Path) -> tuple[dict[str, Any], list[dict[str, Any]], dict[str, Any]]:
    """Header, measurement rows and footer of a run file; of schema 1, its rows as those of today (see `older_runs`).

    Raises BadInput for a file that is missing, empty, foreign, of another schema, incomplete, cut off or inconsistent.
    """
    header: dict[str, Any] | None = None
    footer: dict[str, Any] | None = None
    rows: list[dict[str, Any]] = []
    schema = SCHEMA
    lines = Lines(path)
    for at in lines:
        values = _object(at, path)
        where = f"{path}, line {at.number}"
        if footer is not None:
            raise BadInput(f"{where}: there is more after the footer; the file was written twice or joined")
        if header is None:
            schema, header = _schema(values, path), values
        elif "quantity" in values:
            rows.append(_row(values, where, schema))
        elif values.get("kind") == "footer":
            footer = values
        else:
            raise BadInput(f"{where}: neither a measurement nor a footer")
    if lines.cut:
        raise BadInput(
            f"{path} is incomplete: it was cut off inside a frame; the whole ones hold {len(rows)} measurements; go on "
            f"with it: {_resumes(path)}"
        )
    if header is None:
        raise BadInput(f"{path} is empty; expected a run written by `gradconform run`")
    if footer is None:
        raise BadInput(
            f"{path} is incomplete: it has no footer, so the run did not finish; go on with it: {_resumes(path)}"
        )
    counts = Counter(str(r["verdict"]) for r in rows)
    words = VERDICTS if schema == SCHEMA else older_runs.VERDICTS_OF_1
    if footer.get("measurements") != len(rows) or footer.get("verdicts") != {v: counts[v] for v in words}:
        raise BadInput(
            f"{path}: its footer counts {_quoted(footer.get('measurements'))} measurements, it holds {len(rows)}"
        )
    if not rows:
        raise BadInput(f"{path} holds no measurement; nothing was judged")
    return header, rows, footer


def parsed(text: str) -> Any:
    """Strict JSON: ValueError for NaN and Infinity, for numbers that float64 has not, for a key given twice."""

    def refuse(constant: str) -> float:
        raise ValueError(f"{constant} is no JSON")

    def number(digits: str) -> float:
        value = float(digits)
        return value if math.isfinite(value) else refuse(digits[:20])

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        values = dict(pairs)
        if len(values) != len(pairs):
            raise ValueError("a key is given twice")
        return values

    return json.loads(text, parse_constant=refuse, parse_float=number, object_pairs_hook=once)


def _quoted(value: Any) -> str:
    """A value for a message: its repr, which has no control characters, cut where it is long."""
    text = ascii(value)
    return text if len(text) <= 60 else f"{text[:60]}…"


def _row(values: dict[str, Any], where: str, schema: int = SCHEMA) -> dict[str, Any]:
    expected = COLUMNS if schema == SCHEMA else older_runs.COLUMNS_OF_1
    if tuple(values) != expected:
        raise BadInput(
            f"{where}: the columns are not those of schema {schema}: expected {' '.join(expected)}; run it again"
        )
    if schema != SCHEMA:
        if values["verdict"] not in older_runs.VERDICTS_OF_1:
            raise BadInput(f"{where}: unknown verdict {_quoted(values['verdict'])}")
        values = older_runs.upgraded(values)
    for name in _TEXT:
        if not isinstance(values[name], str) and (name in _REQUIRED or values[name] is not None):
            raise BadInput(f"{where}: {name} is {_quoted(values[name])}, expected text")
    for name, words in _WORDS.items():
        if values[name] not in words:
            raise BadInput(f"{where}: unknown {name} {_quoted(values[name])}")
    for name in _NUMBERS:
        value = values[name]
        value = _NON_FINITE.get(value, value) if isinstance(value, str) else value
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
            raise BadInput(f"{where}: {name} is {_quoted(value)}, expected a number")
        if isinstance(value, int) and abs(value) >= 2**63:
            raise BadInput(f"{where}: {name} is {_quoted(value)}, expected a number below 2^63 or with a point")
        if name == "elements" and not (isinstance(value, int) and value >= 0):
            raise BadInput(f"{where}: elements is {_quoted(value)}, expected a whole number, 0 or more")
        values[name] = value
    return values


def frame(rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    """Measurement rows as a DataFrame: text columns of objects with None for missing, numbers as float64."""
    import pandas as pd

    def column(name: str) -> Any:
        values = [row[name] for row in rows]
        if name not in _NUMBERS:
            return pd.Series(values, dtype=object)
        return np.array(values, dtype=object).astype("int64" if name == "elements" else "float64")

    # Column by column: a table of objects whose columns change their type one after the other takes twice as long.
    return pd.DataFrame({name: column(name) for name in COLUMNS})


def load(paths: Sequence[Path]) -> tuple[list[dict[str, Any]], pd.DataFrame]:
    """The headers and one DataFrame of several runs, which must have the same profile.

    With more than one file the DataFrame has a first column `run`, the file's name without its endings.
    """
    import pandas as pd

    for number, path in enumerate(paths):
        for other in paths[:number]:
            if run_name(path) == run_name(other):
                what = f"{path} was given twice" if path == other else f"{other} and {path} have the same name"
                raise BadInput(f"{what}, and runs are told apart by the names of their files; expected each name once")
    headers, tables = load_each(paths)
    if len(paths) > 1:
        for path, table in zip(paths, tables, strict=True):
            table.insert(0, "run", run_name(path))
    return headers, pd.concat(tables, ignore_index=True)


def load_each(paths: Sequence[Path]) -> tuple[list[dict[str, Any]], list[pd.DataFrame]]:
    """The header and the measurements of each of several runs, which must have the same profile."""
    runs = [read(path) for path in paths]
    profiles = {header.get("profile") for header, _, _ in runs}
    if len(profiles) > 1:
        raise BadInput(f"these runs have different profiles ({', '.join(map(str, sorted(map(str, profiles))))})")
    return [header for header, _, _ in runs], [frame(rows) for _, rows, _ in runs]
