"""Accuracy of the catalogue's operators by framework and version.

    python benchmarks/accuracy.py RUN.jsonl.zst … [-o docs/accuracy]

The runs are those of `gradconform verify 'operator/*'` (`nox -s accuracy` makes them), of each framework the oldest
version first. Writes accuracy.csv, .md and .tex, a figure, and changes.md.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from gradconform.conformance.run.run_file import load_each
from gradconform.reports import operator_versions


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("-o", "--output", type=Path, default=Path("docs/accuracy"))
    options = parser.parse_args()
    headers, measured = load_each(options.runs)
    for path in operator_versions.write(list(zip(headers, measured, strict=True)), options.output):
        print(path)


if __name__ == "__main__":
    main()
