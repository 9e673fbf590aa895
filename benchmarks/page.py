"""The README's picture of the page that a report has, by a headless Chromium.

gradconform report RUN -o report
python benchmarks/page.py [report/index.html] [-o docs/page.png]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))
from browser import absent, chromium

#: The part of the page that is shown: the headline, and the verdicts of the first routes.
WIDTH, HEIGHT = 1280, 960


def drawn(page: Path, picture: Path) -> None:
    """Write the picture of the page's beginning."""
    with tempfile.TemporaryDirectory() as profile, chromium(Path(profile)) as driver:
        size = {"width": WIDTH, "height": HEIGHT, "deviceScaleFactor": 1, "mobile": False}
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        driver.get(page.resolve().as_uri())
        driver.save_screenshot(str(picture))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("page", type=Path, nargs="?", default=Path("report/index.html"))
    parser.add_argument("-o", "--output", type=Path, default=Path("docs/page.png"))
    options = parser.parse_args()
    if (why := absent()) is not None:
        print(why, file=sys.stderr)
        return 2
    drawn(options.page, options.output)
    return 0


if __name__ == "__main__":
    sys.exit(main())
