"""The pictures in docs/, from a run: ``python bench/screenshots.py RESULTS`` (needs Debian's Chromium and Playwright).

``docs/report.png``: the first task's score against bytes, with the tooltip of its first point; ``docs/report-overview.png``: what
to ship; ``docs/report-dark.png``: the plots in the dark; ``docs/report-cell.png``: the page of the first file to ship.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

_DOCS = Path(__file__).parent.parent / "docs"


def main(folder: str) -> None:
    """Takes the pictures."""
    index = (Path(folder) / "report" / "index.html").absolute().as_uri()
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        light, dark = _opened(browser, index), _opened(browser, index, dark=True)
        wide = _opened(browser, index, width=1300)
        wide.locator("section:nth-of-type(2)").evaluate("one => one.scrollIntoView()")
        wide.screenshot(path=_DOCS / "report-overview.png")
        for page, name in ((light, "report.png"), (dark, "report-dark.png")):
            _hover(page)
            page.screenshot(path=_DOCS / name)
        light.locator("section:nth-of-type(2) tbody a").first.click()
        light.wait_for_selector(".main-svg")
        light.set_viewport_size({"width": 1100, "height": 1240})  # with its curve
        light.screenshot(path=_DOCS / "report-cell.png")
        browser.close()


def _opened(browser: Browser, index: str, width: int = 1100, dark: bool = False) -> Page:
    page = browser.new_page(viewport={"width": width, "height": 620}, color_scheme="dark" if dark else "light")
    page.goto(index)
    page.wait_for_selector(".main-svg")
    return page


def _hover(page: Page) -> None:
    """Shows the tooltip of the first point of the first plot."""
    plot = page.locator(".plot").first
    plot.evaluate("one => one.closest('section').scrollIntoView()")
    box = plot.locator(".scatterlayer .points path").first.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2, steps=3)
    plot.locator(".hoverlayer .hovertext").first.wait_for()


if __name__ == "__main__":
    main(sys.argv[1])
