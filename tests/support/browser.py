"""A headless Chromium for tests, or the reason why there is none."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update",
         "--disable-sync", "--no-first-run")  # fmt: skip


def absent() -> str | None:
    """What a test in a browser lacks here, or None."""
    missing = [name for name in ("chromium", "chromedriver") if shutil.which(name) is None]
    missing += [] if find_spec("selenium") else ["selenium"]
    return f"no browser to open the page in: {', '.join(missing)} not installed" if missing else None


@contextmanager
def chromium(profile: Path) -> Iterator[Any]:
    """A browser with an empty profile that keeps what the page writes to its console."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = str(shutil.which("chromium"))
    for flag in (*FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(str(shutil.which("chromedriver"))))
    try:
        driver.set_window_size(1280, 1000)
        yield driver
    finally:
        driver.quit()
