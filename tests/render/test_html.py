"""The report as a reader uses it: in Chromium, from the disk, with the mouse, the keyboard, and without any script.

CI installs Debian's Chromium (`.ci/run`); Playwright drives it, and brings no browser of its own.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Literal
from urllib.parse import unquote

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from benchmark.render.curves import log_tail, read_curve

CHROMIUM = shutil.which("chromium")
AXE = resources.files("axe_playwright_python").joinpath("axe.min.js")
share_a_run = pytest.mark.xdist_group("html")
in_a_browser = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
pytestmark = share_a_run

HOSTILE = "</script><script>document.title='taken'</script> & \"q\" 'a' `b` 剪枝 ${x} {{ y }}"
SUITE = """
[suite]
name = "pages"
tasks = ["german-credit"]
backends = ["sklearn"]
architectures = {sklearn = ["logistic", "tree"]}
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
[[recipe]]
passes = [%s]
[[recipe]]
passes = [%s]
"""
PLUGIN = '''
"""A pass whose name, log, curve, claims and files are as bad as they can be."""

import os
import shutil

import onnx
from onnx import numpy_helper

from benchmark import CompressorSpec, Param, hookimpl


@hookimpl
def benchmark_compressors():
    spec = CompressorSpec(
        name="note", target="pocketbench_note:Note", summary="Notes.", stage="artifact", accepts=("onnx",), produces="onnx",
        params=(Param("text", ""), Param("log", "said", choices=("said", "piped"))), requires={"onnx": "onnx"},
    )
    return [spec]


class Note:
    def compress(self, context):
        model = onnx.load(context.input / "model.onnx")
        for one in model.graph.initializer:
            values = numpy_helper.to_array(one)
            if values.dtype == "float32":
                one.CopyFrom(numpy_helper.from_array(values * values.dtype.type(1.01), one.name))
        onnx.save(model, context.output / "model.onnx")
        (context.output / "a #1 %41?&.txt").write_text("with it")
        context.log(1, score=float("inf"))
        context.log(2, score=0.25)
        context.log(3, score=float("nan"))
        context.report(matched=1, changed=1, artifact_bytes=1)
        print("\\x1b[31mred " + context.params["text"], flush=True)
        if context.params["log"] == "piped":
            (context.output.parent / "log.txt").unlink()
            os.mkfifo(context.output.parent / "log.txt")
            (context.output.parent / "curve.csv").unlink()
            os.symlink("/etc/passwd", context.output.parent / "curve.csv")
'''


def run(folder: Path, text: str) -> Path:
    """The report of a run in which ``text`` names whatever can be named."""
    site = folder / "site"
    (info := site / "pocketbench_note-1.0.dist-info").mkdir(parents=True)
    (site / "pocketbench_note.py").write_text(PLUGIN, encoding="utf-8")
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: pocketbench-note\nVersion: 1.0\n", encoding="utf-8")
    (info / "entry_points.txt").write_text("[benchmark]\nnote = pocketbench_note\n", encoding="utf-8")
    inner = json.dumps(text, ensure_ascii=False)
    calls = (f"note(text={inner})", f'note(text={inner}, log="piped")')
    quoted = [json.dumps(one, ensure_ascii=False) for one in (text, *calls)]
    (folder / "suite.toml").write_text(SUITE % tuple(quoted), encoding="utf-8")
    command = [sys.executable, "-m", "benchmark", "--suite", "suite.toml", "--results", "results"]
    path = os.pathsep.join([str(site), *filter(None, [os.environ.get("PYTHONPATH")])])
    subprocess.run(command, cwd=folder, env={**os.environ, "PYTHONPATH": path}, capture_output=True, check=True, timeout=300)
    return folder / "results" / "report"


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run(tmp_path_factory.mktemp("pages"), HOSTILE)


def test_a_curve_is_read_whatever_a_job_has_made_of_it(tmp_path: Path) -> None:
    path = tmp_path / "curve.csv"
    assert read_curve(path) == []
    path.write_text("step,loss,score\r\n1,2.0,0.5\r\n2,1.0,inf\r\n3,nan,0.75\r\n4,1.0,\r\n", encoding="utf-8")
    assert read_curve(path) == [(1.0, 0.5), (3.0, 0.75)]
    for damaged in (b"\xff\xfe", b"step,score\n1,high\n", b"score\n1\n", b"step,score\n1\x00,2\n,1\n"):
        path.write_bytes(damaged)
        assert read_curve(path) == []
    path.write_text("step,score\n" + "".join(f"{i},0.5\n" for i in range(2500)), encoding="utf-8")
    assert [step for step, _ in read_curve(path)] == [*map(float, range(0, 2500, 3)), 2499.0]
    other = path.rename(tmp_path / "other.csv")
    path.symlink_to(other)
    assert read_curve(path) == []
    path.unlink()
    os.mkfifo(path)
    assert read_curve(path) == []


def test_a_log_is_read_whatever_a_job_has_made_of_it(tmp_path: Path) -> None:
    path = tmp_path / "log.txt"
    assert log_tail(path) == ""
    path.write_bytes(b"first\n" * 40 + b"\x1b[31mred\x1b[0m\x00\x07\tand \xff\n" + b"x" * 600)
    assert log_tail(path).splitlines() == [*["first"] * 28, "red??\tand \ufffd", "x" * 500]
    secret = path.rename(tmp_path / "secret")
    path.symlink_to(secret)
    assert log_tail(path) == ""
    path.unlink()
    os.mkfifo(path)
    assert log_tail(path) == ""


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


@in_a_browser
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


@in_a_browser
def test_tables_are_sorted_by_what_was_not_rounded(page: Page, report: Path) -> None:
    written = json.loads((report.parent / "leaderboard.json").read_text(encoding="utf-8"))["tasks"][0]["methods"]
    columns = [("score", "score"), ("val", "val_score"), ("flips", "flips")]
    for title, header, key in [("german-credit", *one) for one in columns] + [("german-credit: cost", "p90", "latency_p90_us")]:
        table = page.get_by_role("region", name=f"Table: {title}", exact=True).locator("table")
        table.locator("thead button", has_text=header).click()
        place = [text.startswith(header) for text in table.locator("thead th").all_inner_texts()].index(True)
        kept = [row.locator("td").nth(place).get_attribute("data-value") for row in table.locator("tbody tr").all()]
        assert [float(one) for one in kept if one is not None] == sorted(one[key] for one in written if one[key] is not None)
        assert len(set(kept)) > 1


@in_a_browser
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


@in_a_browser
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
        r"sklearn (logistic|tree) .*score 0\.\d+ \[0\.\d+, 0\.\d+\], rank \d.*bytes, p90 [\d.]+ µs",
        tooltip.text_content() or "",
        re.DOTALL,
    )
    page.mouse.click(*middle)
    page.wait_for_url(re.compile(r"/cells/\d{5}-"))
    assert "german-credit · fold 0 · sklearn" in page.locator("h1").inner_text()


@in_a_browser
def test_what_to_ship_leads_to_its_file(page: Page, report: Path) -> None:
    page.locator("section:nth-of-type(2) tbody a").first.click()
    page.wait_for_selector("h1")
    rows = json.loads((report.parent / "rows.json").read_text(encoding="utf-8"))
    best = max(row["val_score"] for row in rows if row["tiers"])
    chosen = min((row for row in rows if row["tiers"] and row["val_score"] == best), key=lambda row: row["artifact_bytes"])
    assert chosen["artifact"] in (page.locator("a[download]").first.get_attribute("href") or "")


@in_a_browser
def test_a_cell_has_a_page_with_its_file_and_limits(page: Page, report: Path) -> None:
    page.locator("#all a", has_text="distil").first.click()
    page.wait_for_selector("h1")
    assert "distil" in page.locator("h1").inner_text()
    href = page.locator("a[download]").first.get_attribute("href")
    assert href is not None
    file = (report / "cells" / href).resolve()
    assert file.parent.parent == report.parent / "artifacts"
    assert f"{file.stat().st_size:,} bytes" in page.locator("ul").first.inner_text()
    for heading in ("Steps", "Groups", "Limits", "Metrics on the test rows", "Columns of rows.csv", "Provenance"):
        assert page.get_by_role("heading", name=heading, exact=True).count() == 1
    assert "age" in page.get_by_role("region", name="Groups").inner_text()
    page.get_by_role("link", name="All tables").click()
    page.wait_for_selector("#all")


@in_a_browser
def test_dark_by_the_button(page: Page) -> None:
    def background() -> str:
        return str(page.evaluate("getComputedStyle(document.body).backgroundColor"))

    assert background() == "rgb(255, 255, 255)"
    page.get_by_role("button", name="Dark").click()
    assert background() == "rgb(20, 23, 28)"
    assert page.locator("#theme").get_attribute("aria-pressed") == "true"
    assert page.locator(".plot .main-svg").first.evaluate("one => one.style.background") == "rgb(20, 23, 28)"


@in_a_browser
def test_dark_where_the_system_is(chromium: Browser, report: Path) -> None:
    context = chromium.new_context(color_scheme="dark")
    opened = context.new_page()
    opened.goto((report / "index.html").as_uri())
    assert opened.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(20, 23, 28)"
    context.close()


@in_a_browser
def test_names_are_text_whatever_is_in_them(page: Page, report: Path) -> None:
    assert page.title() == "PocketBench: suite pages"
    assert HOSTILE in column(page, "section:nth-of-type(2) table", "device")
    assert (report / "index.html").read_text(encoding="utf-8").count("<script") == 3 + page.locator("[data-plot]").count()
    recipe = f"note(text={json.dumps(HOSTILE, ensure_ascii=False)})"
    assert recipe in column(page, "#all", "recipe")
    texts = page.locator(".plot").first.evaluate("plot => plot.data.flatMap(trace => trace.text ?? [])")
    assert any("&lt;/script&gt;" in text for text in texts)
    page.locator("#all a", has_text="note(").first.click()
    page.wait_for_selector(".main-svg")
    assert recipe in page.locator("h1").inner_text()
    assert f"red {HOSTILE}" in page.get_by_role("region", name=re.compile("^Log .*note")).inner_text()
    claims = page.get_by_role("region", name="Claims of the passes")
    assert "note: claims: artifact_bytes" in claims.inner_text()
    drawn = page.locator("#curve").evaluate("plot => plot.data.filter(one => one.name === 'note').map(one => [...one.y])")
    assert drawn == [[0.25]]  # what is not finite is no point


@in_a_browser
def test_a_file_is_found_whatever_it_is_called(page: Page, report: Path) -> None:
    page.locator("#all a", has_text="note(").first.click()
    page.wait_for_selector("h1")
    link = page.locator("a[download]", has_text="a #1 %41?&.txt")
    href = link.get_attribute("href") or ""
    assert (report / "cells" / unquote(href)).read_text(encoding="utf-8") == "with it"
    with page.expect_download() as started:
        page.locator("a[download]", has_text="model.onnx").click()
    model = (report / "cells" / unquote(href)).with_name("model.onnx")
    assert started.value.path().read_bytes() == model.read_bytes()
    link.click()
    page.wait_for_url(re.compile("txt$"))  # a browser shows texts from the disk
    assert page.locator("body").inner_text() == "with it"


@in_a_browser
def test_what_a_job_put_in_the_place_of_its_log_is_not_read(page: Page, report: Path) -> None:
    page.locator("#all a", has_text='log="piped"').first.click()
    page.wait_for_selector(".main-svg")
    assert page.get_by_role("region", name=re.compile("^Log .*note")).count() == 0
    assert page.locator("#curve").evaluate("plot => plot.data.map(trace => trace.name)") == ["train"]
    assert "root:" not in page.content()


@in_a_browser
def test_no_button_of_a_plot_sends_it_away(page: Page) -> None:
    """Plotly's own would upload it."""
    plot = page.locator(".plot").first
    buttons = plot.locator(".modebar-btn")
    titles = [button.get_attribute("data-title") for button in buttons.all()]
    assert titles == ["Zoom", "Pan", "Zoom in", "Zoom out", "Autoscale", "Reset axes"]
    plot.hover()
    for button in buttons.all():
        button.click()


@in_a_browser
def test_without_scripts_tables_are_complete(chromium: Browser, report: Path) -> None:
    context = chromium.new_context(java_script_enabled=False)
    opened = context.new_page()
    opened.goto((report / "index.html").as_uri())
    assert opened.locator("#all tbody tr").count() == 10
    assert opened.locator(".controls:visible").count() == 0
    assert opened.locator("figure:visible").count() == 0  # nothing could be drawn there
    assert opened.locator("tbody tr:visible").count() == opened.locator("tbody tr").count()
    context.close()


@in_a_browser
def test_a_reader_of_screens_finds_names_and_landmarks(page: Page) -> None:
    assert page.locator("main").count() == page.locator("h1").count() == 1
    assert page.locator("table:not(:has(caption))").count() == 0
    assert page.locator("thead th:not([scope=col])").count() == 0
    assert page.evaluate("document.documentElement.lang") == "en"
    assert page.locator(".plot").count() == 2
    for label in page.locator(".plot").all():
        assert "The table below has the numbers." in (label.get_attribute("aria-label") or "")
    ids = page.evaluate("[...document.querySelectorAll('[id]')].map(one => one.id)")
    assert len(ids) == len(set(ids))
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"


@in_a_browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(chromium: Browser, report: Path, scheme: Literal["light", "dark"]) -> None:
    """https://github.com/dequelabs/axe-core, contrast and all; best practices too."""
    context = chromium.new_context(color_scheme=scheme)
    opened = context.new_page()
    for path in (report / "index.html", *sorted((report / "cells").glob("*note*"))[:1]):
        opened.goto(path.as_uri())
        opened.wait_for_selector(".main-svg")
        opened.evaluate(AXE.read_text(encoding="utf-8"))
        found = opened.evaluate("axe.run()")
        assert [(one["id"], one["nodes"][0]["html"]) for one in found["violations"]] == []
        assert "color-contrast" in {one["id"] for one in found["passes"]}
    context.close()


@in_a_browser
def test_a_narrow_screen_scrolls_tables_alone(chromium: Browser, report: Path) -> None:
    context = chromium.new_context(viewport={"width": 390, "height": 844})
    opened = context.new_page()
    for path in (report / "index.html", *sorted((report / "cells").glob("*note*"))[:1]):
        opened.goto(path.as_uri())
        opened.wait_for_selector(".main-svg")
        assert opened.evaluate("document.documentElement.scrollWidth") == 390
    context.close()


@in_a_browser
def test_a_page_is_printed_without_controls_and_whole(page: Page) -> None:
    page.emulate_media(media="print")
    assert page.locator(".controls:visible").count() == 0
    assert page.locator("header:visible").count() == 0
    cut = "[...document.querySelectorAll('.scroll')].some(one => one.scrollHeight > one.clientHeight + 1)"
    assert page.evaluate(cut) is False
    page.set_viewport_size({"width": 703, "height": 1000})  # A4 less its margins
    wide = "[...document.querySelectorAll('.scroll, .plot')].some(one => one.scrollWidth > one.clientWidth + 1)"
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.evaluate(wide) is False


@in_a_browser
def test_what_is_dark_is_printed_light(page: Page) -> None:
    page.get_by_role("button", name="Dark").click()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(20, 23, 28)"
    page.emulate_media(media="print", color_scheme="dark")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.locator(".plot .main-svg").first.evaluate("one => one.style.background") == "rgb(255, 255, 255)"
    page.emulate_media(media="screen", color_scheme="dark")
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.locator(".plot .main-svg").first.evaluate("one => one.style.background") == "rgb(20, 23, 28)"


@in_a_browser
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
