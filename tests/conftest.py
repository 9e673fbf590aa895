"""Fixtures that several test files use."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests_support import Cli


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    """Run the command line in an empty directory, in a terminal of 80 columns."""

    def run(*arguments: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "gradconform", *arguments]
        environment = {**os.environ, "COLUMNS": "80", **(env or {})}
        return subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=300
        )

    return run
