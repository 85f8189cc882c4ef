"""The pictures in docs/, from a run: ``python bench/screenshots.py RESULTS`` (needs Debian's Chromium and Playwright).

``docs/report.png``: the first task's score against bytes, with the tooltip of its first point.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

_DOCS = Path(__file__).parent.parent / "docs"


def main(folder: str) -> None:
    """Takes the pictures."""
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1100, "height": 620}, color_scheme="light")
        page.goto((Path(folder) / "report" / "index.html").absolute().as_uri())
        page.wait_for_selector(".main-svg")
        plot = page.locator(".plot").first
        plot.evaluate("one => one.closest('section').scrollIntoView()")
        box = plot.locator(".scatterlayer .points path").first.bounding_box()
        assert box is not None
        page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2, steps=3)
        plot.locator(".hoverlayer .hovertext").first.wait_for()
        page.screenshot(path=_DOCS / "report.png")
        browser.close()


if __name__ == "__main__":
    main(sys.argv[1])
