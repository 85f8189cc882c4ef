"""The report as a reader uses it: in Chromium, from the disk, with the mouse, the keyboard, and without any script.

CI installs Debian's Chromium (`.ci/run`); Playwright drives it, and brings no browser of its own.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

CHROMIUM = shutil.which("chromium")
pytestmark = [
    pytest.mark.xdist_group("html"),  # its tests share two runs
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed"),
]

HOSTILE = "</script><script>document.title='taken'</script> & \"q\" 'a' `b` 剪枝 ${x} {{ y }}"
SUITE = """
[suite]
name = "pages"
tasks = ["german-credit"]
backends = ["sklearn"]
architectures = {sklearn = ["logistic", "tree", "forest"]}
[measure]
processes = 1
rounds = 1
[[budget.device]]
name = %s
bytes = "64 KiB"
[[recipe]]
passes = ["int8-static"]
[[recipe]]
passes = ["distil"]
"""


def run(folder: Path, tier: str) -> Path:
    quoted = '"' + tier.replace("\\", "\\\\").replace('"', '\\"') + '"'
    (folder / "suite.toml").write_text(SUITE % quoted, encoding="utf-8")
    command = [sys.executable, "-m", "benchmark", "--suite", "suite.toml", "--results", "results"]
    subprocess.run(command, cwd=folder, capture_output=True, check=True)
    return folder / "results" / "report"


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(tmp_path_factory.mktemp("pages"), HOSTILE)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])  # CI is root
        yield browser
        browser.close()


@dataclass
class Seen:
    """What a browser said while a page was used."""

    complaints: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)


def watched(page: Page) -> Seen:
    seen = Seen()
    page.on("console", lambda message: seen.complaints.append(message.text))
    page.on("pageerror", lambda error: seen.complaints.append(str(error)))
    page.on("request", lambda request: seen.requests.append(request.url))
    return seen


@pytest.fixture
def page(chromium: Browser, report: Path) -> Iterator[Page]:
    """The overview, open; in the end the browser must not have complained or asked for anything but files."""
    context = chromium.new_context(viewport={"width": 1300, "height": 900}, color_scheme="light")
    opened = context.new_page()
    seen = watched(opened)
    opened.goto((report / "index.html").as_uri())
    opened.wait_for_selector(".main-svg")
    yield opened
    context.close()
    assert seen.complaints == []
    assert {url.partition(":")[0] for url in seen.requests} <= {"file", "data", "blob"}


def column(page: Page, table: str, header: str) -> list[str]:
    names = [name.strip() for name in page.locator(f"{table} thead th").all_inner_texts()]
    place = names.index(header)
    return [row.locator("td").nth(place).inner_text() for row in page.locator(f"{table} tbody tr:not([hidden])").all()]


def test_a_click_sorts_and_so_does_the_keyboard(page: Page) -> None:
    before = column(page, "#all", "bytes ↓")
    button = page.locator("#all thead button", has_text="bytes")
    button.click()
    numbers = [int(text.replace(",", "")) for text in before if text != "–"]
    dashes = ["–"] * before.count("–")
    assert dashes  # skipped cells: they stay last whichever way
    assert column(page, "#all", "bytes ↓") == [f"{one:,}" for one in sorted(numbers)] + dashes
    assert page.locator("#all th[aria-sort=ascending]").inner_text().startswith("bytes")
    button.focus()
    page.keyboard.press("Enter")
    assert column(page, "#all", "bytes ↓") == [f"{one:,}" for one in sorted(numbers, reverse=True)] + dashes
    assert page.locator("#all th[aria-sort]").count() == 1


def test_filters_leave_the_rows_that_match(page: Page) -> None:
    whole = len(column(page, "#all", "model"))
    page.get_by_label("Filter").last.fill("tree ref")
    assert column(page, "#all", "model") == ["tree"]
    assert page.locator("[data-count=all]").inner_text() == f"1 of {whole} rows"
    page.get_by_label("Filter").last.fill("")
    page.get_by_label("Outcome").select_option("skipped")
    assert set(column(page, "#all", "outcome")) == {"skipped"}
    page.get_by_label("Outcome").select_option("")
    assert len(column(page, "#all", "model")) == whole


def test_a_point_tells_its_method_and_leads_to_its_page(page: Page) -> None:
    plot = page.locator(".plot").first
    plot.scroll_into_view_if_needed()
    point = plot.locator(".scatterlayer .points path").first
    box = point.bounding_box()
    assert box is not None
    middle = (box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.move(*middle, steps=3)
    tooltip = plot.locator(".hoverlayer .hovertext").first
    tooltip.wait_for()
    assert re.search(
        r"sklearn (logistic|tree|forest) .*score 0\.\d+ \[0\.\d+, 0\.\d+\], rank \d.*bytes, p90 [\d.]+ µs",
        tooltip.text_content() or "",
        re.DOTALL,
    )
    page.mouse.click(*middle)
    page.wait_for_url(re.compile(r"/cells/\d{5}-"))
    assert "german-credit · fold 0 · sklearn" in page.locator("h1").inner_text()


def test_a_cell_has_a_page_with_its_file_and_limits(page: Page, report: Path) -> None:
    page.locator("#all a", has_text="distil").first.click()
    page.wait_for_selector("h1")
    assert "distil" in page.locator("h1").inner_text()
    href = page.locator("a[download]").first.get_attribute("href")
    assert href is not None
    file = (report / "cells" / href).resolve()
    assert file.parent.parent == report.parent / "artifacts"
    assert f"{file.stat().st_size:,} bytes" in page.locator("ul").first.inner_text()
    for heading in ("Steps", "Groups", "Limits", "All that is known"):
        assert page.get_by_role("heading", name=heading, exact=True).count() == 1
    assert "age" in page.get_by_role("region", name="Groups").inner_text()
    page.get_by_role("link", name="All tables").click()
    page.wait_for_selector("#all")


def test_dark_by_the_button(page: Page) -> None:
    def background() -> str:
        return str(page.evaluate("getComputedStyle(document.body).backgroundColor"))

    assert background() == "rgb(255, 255, 255)"
    page.get_by_role("button", name="Dark").click()
    assert background() == "rgb(20, 23, 28)"
    assert page.locator("#theme").get_attribute("aria-pressed") == "true"
    assert page.locator(".plot .main-svg").first.evaluate("one => one.style.background") == "rgb(20, 23, 28)"


def test_dark_where_the_system_is(chromium: Browser, report: Path) -> None:
    context = chromium.new_context(color_scheme="dark")
    opened = context.new_page()
    opened.goto((report / "index.html").as_uri())
    assert opened.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(20, 23, 28)"
    context.close()


def test_names_are_text_whatever_is_in_them(page: Page, report: Path) -> None:
    assert page.title() == "PocketBench: suite pages"
    assert HOSTILE in column(page, "section:nth-of-type(2) table", "device")
    assert (report / "index.html").read_text(encoding="utf-8").count("<script") == 3 + page.locator("[data-plot]").count()


def test_without_scripts_tables_are_complete(chromium: Browser, report: Path) -> None:
    context = chromium.new_context(java_script_enabled=False)
    opened = context.new_page()
    opened.goto((report / "index.html").as_uri())
    assert opened.locator("#all tbody tr").count() == 9
    assert opened.locator(".controls:visible").count() == 0
    context.close()


def test_a_reader_of_screens_finds_names_and_landmarks(page: Page) -> None:
    assert page.locator("main").count() == page.locator("h1").count() == 1
    assert page.locator("table:not(:has(caption))").count() == 0
    assert page.locator("thead th:not([scope=col])").count() == 0
    assert page.evaluate("document.documentElement.lang") == "en"
    for label in page.locator("[role=img]").all():
        assert "The table below has the numbers." in (label.get_attribute("aria-label") or "")
    ids = page.evaluate("[...document.querySelectorAll('[id]')].map(one => one.id)")
    assert len(ids) == len(set(ids))
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"


def test_a_page_is_printed_without_controls_and_whole(page: Page) -> None:
    page.emulate_media(media="print")
    assert page.locator(".controls:visible").count() == 0
    assert page.locator("header:visible").count() == 0
    cut = "[...document.querySelectorAll('.scroll')].some(one => one.scrollHeight > one.clientHeight + 1)"
    assert page.evaluate(cut) is False


def test_it_is_one_folder_that_can_be_moved(chromium: Browser, report: Path, tmp_path: Path) -> None:
    moved = tmp_path / "anywhere"
    shutil.copytree(report, moved)
    opened = chromium.new_page()
    seen = watched(opened)
    opened.goto((moved / "index.html").as_uri())
    opened.wait_for_selector(".main-svg")
    opened.close()
    assert seen.complaints == []
    assert all(url.startswith((moved.as_uri(), "data:", "blob:")) for url in seen.requests)
    assert sum(path.stat().st_size for path in moved.rglob("*") if path.is_file()) < 6_000_000
