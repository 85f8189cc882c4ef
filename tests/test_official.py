"""Official data files (case D-06): whatever a server sends, a file has its final name only when it is the very file, every
process says what is wrong, nothing is left behind, and the next try gets it. With real processes and a real server."""

from __future__ import annotations

import argparse
import dataclasses
import gzip
import hashlib
import importlib
import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from benchmark import DataFile, TaskSpec, UserError, data_command, official
from benchmark.registry import Provider, Registry

CONTENT = random.Random(6).randbytes(1_000_000)
CHECKSUM = f"sha256:{hashlib.sha256(CONTENT).hexdigest()}"
NAME = "digits/train.bin"
CUT = CONTENT[:600_000]
NOTICE = b"<!DOCTYPE html>\n<html><body>We have moved.</body></html>\n"
FLIPPED = CONTENT[:777_777] + bytes([CONTENT[777_777] ^ 1]) + CONTENT[777_778:]
BODIES: dict[str, tuple[int | None, bytes]] = {  # what is announced, and what is sent
    "good": (len(CONTENT), CONTENT),
    "good, not announced": (None, CONTENT),
    "notice": (len(NOTICE), NOTICE),
    "empty": (0, b""),
    "cut": (len(CONTENT), CUT),
    "cut, not announced": (None, CUT),
    "flipped": (len(CONTENT), FLIPPED),
}
PIECE = 25_000
WAIT = 60


def sha256(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


class Server(ThreadingHTTPServer):
    """Serves one file in small pieces, or what ``kind`` says instead; with ``goes_on`` cleared, the half of it."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.kind = "good"
        self.requests = 0
        self.goes_on = threading.Event()
        self.goes_on.set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/train.bin"

    def handle_error(self, *_: Any) -> None:
        """A client that is killed is no fault of the server."""


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.requests += 1
        if self.server.kind.isdecimal():
            self.send_error(int(self.server.kind))  # with an HTML page
            return
        chunked = self.server.kind.startswith("chunked")
        if chunked:
            self.protocol_version = "HTTP/1.1"
            self.close_connection = True
        announced, body = (None, CUT if "cut" in self.server.kind else CONTENT) if chunked else BODIES[self.server.kind]
        self.send_response(200)
        if announced is not None:
            self.send_header("Content-Length", str(announced))
        if chunked:
            self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for start in range(0, len(body), PIECE):
            piece = body[start : start + PIECE]
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece) if chunked else piece)
            time.sleep(0.002)
            if start >= len(body) // 2:
                self.server.goes_on.wait(WAIT)
        if chunked and "cut" not in self.server.kind:
            self.wfile.write(b"0\r\n\r\n")

    def log_message(self, *_: Any) -> None:
        """Says nothing."""


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as made:
        thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield made
        finally:
            made.goes_on.set()
            made.shutdown()
            thread.join()


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cache folder, which is not there yet; no mirror is named, and no proxy stands before the server."""
    monkeypatch.delenv(official.MIRROR, raising=False)
    monkeypatch.setenv(official.CACHE, str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "*")
    return tmp_path / "cache"


@pytest.fixture
def nowhere() -> Iterator[str]:
    """An address where nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}/train.bin"


def data_file(url: str = "", **changes: Any) -> DataFile:
    return dataclasses.replace(DataFile(name=NAME, checksum=CHECKSUM, url=url), **changes)


def put(folder: Path, content: bytes = CONTENT, name: str = NAME) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir()}


# A process that fetches, when it is told to. It says whenever it gives an unverified file its final name.
FETCHING = """
import hashlib, json, os, sys
import pooch, requests
from benchmark import DataFile, UserError, fetch, official

file = DataFile(**json.loads(sys.argv[1]))
final = str(official.cache() / file.name)

def watch(event, arguments):
    if event == "open" and str(arguments[0]) == final and set(arguments[1] or "") & set("wax+"):
        print("UNVERIFIED: opened to write")
    if event == "os.rename" and str(arguments[1]) == final:
        with open(arguments[0], "rb") as content:
            if "sha256:" + hashlib.sha256(content.read()).hexdigest() != file.checksum:
                print("UNVERIFIED: renamed")

sys.addaudithook(watch)
print("ready", flush=True)
sys.stdin.readline()
try:
    print(fetch([[file]])[file.name])
except UserError as error:
    print(f"error: {error}")
"""
Process = subprocess.Popen[str]


def ready(file: DataFile, count: int = 1) -> list[Process]:
    """Processes that wait to fetch the file."""
    command = [sys.executable, "-c", FETCHING, json.dumps(dataclasses.asdict(file))]
    pipe = subprocess.PIPE
    made = [subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True) for _ in range(count)]
    for one in made:
        assert one.stdout is not None
        assert one.stdout.readline() == "ready\n"
    return made


def go(*processes: Process) -> None:
    for one in processes:
        assert one.stdin is not None
        one.stdin.write("\n")
        one.stdin.flush()


def said(process: Process) -> str:
    out, err = process.communicate(timeout=WAIT)
    assert err == ""
    assert process.returncode == 0
    return out.removesuffix("\n")


def until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + WAIT
    while not condition():
        assert time.monotonic() < end, "it never came to that"
        time.sleep(0.005)


def has_open(process: Process, part: Path) -> bool:
    with suppress(FileNotFoundError):  # it has just closed one
        return any(Path(f"/proc/{process.pid}/fd/{one}").readlink() == part for one in os.listdir(f"/proc/{process.pid}/fd"))
    return False


@contextmanager
def watched(path: Path) -> Iterator[list[str]]:
    """Reads a file again and again; gives what was wrong with it whenever it was there."""
    wrong: list[str] = []
    done = threading.Event()

    def look() -> None:
        while not done.wait(0.001):
            with suppress(OSError):
                if (content := path.read_bytes()) != CONTENT:
                    wrong.append(f"{len(content)} bytes")

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield wrong
    finally:
        done.set()
        thread.join()


# Four processes at once


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("notice", rf"expected {CHECKSUM}, found {sha256(NOTICE)} \({len(NOTICE)} bytes, looks like an HTML page\)"),
        ("empty", rf"expected {CHECKSUM}, found {sha256(b'')} \(0 bytes\)"),
        ("cut", "it was cut: expected 1000000 bytes, found 600000 bytes"),
        ("cut, not announced", rf"expected {CHECKSUM}, found {sha256(CUT)} \(600000 bytes\)"),
        ("chunked, cut", rf"it was cut: expected {CHECKSUM}, found 600000 bytes"),
        ("flipped", rf"expected {CHECKSUM}, found {sha256(FLIPPED)} \(1000000 bytes\)"),
        ("404", rf"expected {CHECKSUM}, found HTTP status 404 Client Error: Not Found"),
        ("500", rf"expected {CHECKSUM}, found HTTP status 500 Server Error: Internal Server Error"),
    ],
    ids=lambda value: "" if " found " in value else value,
)
def test_what_is_damaged_is_said_by_each_process_and_the_next_try_gets_it(
    server: Server, cache: Path, kind: str, message: str
) -> None:
    server.kind = kind
    processes = ready(data_file(server.url), 4)
    with watched(cache / NAME) as wrong:
        go(*processes)
        for one in processes:
            assert re.fullmatch(rf"error: {NAME}: {re.escape(server.url)}: {message}", said(one))
    assert (wrong, files(cache), server.requests) == ([], set(), 4)
    server.kind = "good"
    (again,) = ready(data_file(server.url))
    go(again)
    assert said(again) == str(cache / NAME)
    assert (cache / NAME).read_bytes() == CONTENT
    assert files(cache) == {NAME}


@pytest.mark.parametrize("kind", ["good", "good, not announced", "chunked"])
def test_one_of_four_processes_fetches_and_all_have_the_file(server: Server, cache: Path, kind: str) -> None:
    server.kind = kind
    processes = ready(data_file(server.url), 4)
    with watched(cache / NAME) as wrong:
        go(*processes)
        assert [said(one) for one in processes] == [str(cache / NAME)] * 4
    assert (wrong, files(cache), server.requests) == ([], {NAME}, 1)
    assert (cache / NAME).read_bytes() == CONTENT


def test_without_a_network_each_process_says_what_to_do(server: Server, cache: Path, nowhere: str) -> None:
    processes = ready(data_file(nowhere), 4)
    go(*processes)
    advice = f"put it into the folder that {official.MIRROR} names, or fetch it where there is a network"
    assert {said(one) for one in processes} == {f"error: {NAME}: {nowhere} cannot be reached: Connection refused; {advice}"}
    assert files(cache) == set()
    assert official.fetch([[data_file(server.url)]]) == {NAME: cache / NAME}


def test_a_name_that_nobody_knows_cannot_be_reached(cache: Path) -> None:
    with pytest.raises(UserError, match=rf"^{NAME}: http://nobody\.invalid/x cannot be reached: .*{official.MIRROR}"):
        official.fetch([[data_file("http://nobody.invalid/x")]])


def test_a_server_that_says_no_more_is_given_up(server: Server, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pooch.downloaders.DEFAULT_TIMEOUT", 0.2)
    server.goes_on.clear()
    with pytest.raises(UserError, match=rf"^{NAME}: {server.url} cannot be reached: TimeoutError: timed out; put it"):
        official.fetch([[data_file(server.url)]])
    assert files(cache) == set()


# Processes that end in the midst of it


def test_what_a_killed_process_leaves_is_taken_over_by_the_one_that_waits_for_it(server: Server, cache: Path) -> None:
    part = cache / "digits" / ".train.bin.part"
    server.goes_on.clear()
    first, second = ready(data_file(server.url), 2)
    go(first)
    until(lambda: part.exists() and part.stat().st_size > 0)
    go(second)
    until(lambda: has_open(second, part))
    first.kill()
    first.communicate()
    server.goes_on.set()
    assert said(second) == str(cache / NAME)
    assert (files(cache), server.requests) == ({NAME}, 2)


def test_what_a_killed_process_has_left_is_gone_after_the_next_try_even_if_that_fails(server: Server, cache: Path) -> None:
    server.goes_on.clear()
    (process,) = ready(data_file(server.url))
    go(process)
    until(lambda: any(path.stat().st_size for path in cache.rglob("*.part")))
    process.kill()
    process.communicate()
    assert files(cache) == {"digits/.train.bin.part"}
    server.goes_on.set()
    server.kind = "notice"
    with pytest.raises(UserError, match="looks like an HTML page"):
        official.fetch([[data_file(server.url)]])
    assert files(cache) == set()


def test_ctrl_c_leaves_nothing_and_disturbs_nobody(server: Server, cache: Path) -> None:
    part = cache / "digits" / ".train.bin.part"
    server.goes_on.clear()
    first, second, third = ready(data_file(server.url), 3)
    go(first)
    until(lambda: part.exists() and part.stat().st_size > 0)
    go(second)
    until(lambda: has_open(second, part))
    second.send_signal(signal.SIGINT)  # it waits for the first
    assert "KeyboardInterrupt" in second.communicate(timeout=WAIT)[1]
    assert files(cache) == {"digits/.train.bin.part"}
    first.send_signal(signal.SIGINT)
    assert "KeyboardInterrupt" in first.communicate(timeout=WAIT)[1]
    assert files(cache) == set()
    server.goes_on.set()
    go(third)
    assert said(third) == str(cache / NAME)


# The cache


def test_a_good_file_in_the_cache_needs_no_network(cache: Path, nowhere: str) -> None:
    put(cache)
    assert official.fetch([[data_file(nowhere)]]) == {NAME: cache / NAME}
    assert official.fetch([[data_file()]]) == {NAME: cache / NAME}


@pytest.mark.parametrize("damage", [CUT, FLIPPED, b"", NOTICE], ids=["cut", "flipped", "empty", "notice"])
def test_a_damaged_file_in_the_cache_is_fetched_again(server: Server, cache: Path, nowhere: str, damage: bytes) -> None:
    path = put(cache, damage)
    with pytest.raises(UserError) as caught:
        official.fetch([[data_file(nowhere)]])
    for part in (f"{nowhere} cannot be reached", f"{path} is damaged: expected {CHECKSUM}, found {sha256(damage)}"):
        assert part in str(caught.value)
    server.kind = "404"
    with pytest.raises(UserError, match=rf"HTTP status 404.*; {path} is damaged: expected"):
        official.fetch([[data_file(server.url)]])
    assert files(cache) == {NAME}
    server.kind = "good"
    with path.open("rb") as opened:  # somebody reads the old one
        assert official.fetch([[data_file(server.url)]]) == {NAME: path}
        assert opened.read() == damage
    assert path.read_bytes() == CONTENT
    assert files(cache) == {NAME}


def test_of_a_set_only_what_is_missing_is_fetched(server: Server, cache: Path) -> None:
    put(cache)
    both = [data_file(server.url), data_file(server.url, name="digits/test.bin")]
    assert list(official.fetch([both])) == [NAME, "digits/test.bin"]
    assert (server.requests, files(cache)) == (1, {NAME, "digits/test.bin"})


def test_what_has_no_address_and_is_not_here_is_named(cache: Path) -> None:
    with pytest.raises(
        UserError, match=rf"^{NAME}: it is not in {cache} and has no official address; put it .*{official.MIRROR}"
    ):
        official.fetch([[data_file()]])


def test_a_cache_that_is_a_file_and_a_folder_in_the_place_of_a_file_are_named(server: Server, cache: Path) -> None:
    cache.write_bytes(b"mine")
    with pytest.raises(UserError, match=rf"^{NAME}: data folder {cache}: (Not a directory|File exists)$"):
        official.fetch([[data_file(server.url)]])
    assert cache.read_bytes() == b"mine"
    cache.unlink()
    (cache / NAME).mkdir(parents=True)
    with pytest.raises(UserError, match=rf"^{NAME}: data folder {cache}: Is a directory; .*it cannot be read: Is a directory$"):
        official.fetch([[data_file(server.url)]])
    assert files(cache) == set()


def test_the_cache_is_where_jobs_look_for_it_too(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))  # jobs are not given it
    monkeypatch.delenv(official.CACHE)
    assert official.cache() == tmp_path / ".cache" / "pocketbench"


# A mirror


@pytest.fixture
def mirror(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "mirror").mkdir()
    monkeypatch.setenv(official.MIRROR, str(tmp_path / "mirror"))
    return tmp_path / "mirror"


def test_a_mirror_comes_first_and_the_cache_second_whatever_the_order_of_the_sets(
    server: Server, cache: Path, mirror: Path
) -> None:
    first, second = data_file(server.url), data_file(name="other/joined.bin")
    assert official.chosen([[first], [second]]) == official.chosen([[second], [first]]) == (first,)
    put(cache, name=second.name)
    assert official.chosen([[first], [second]]) == (second,)
    assert official.fetch([[first], [second]]) == {second.name: cache / second.name}
    put(cache)
    assert official.chosen([[first], [second]]) == (first,)
    put(mirror, name=second.name)
    assert official.chosen([[first], [second]]) == (second,)
    assert official.fetch([[first], [second]]) == {second.name: mirror / second.name}
    put(mirror)
    assert official.fetch([[first], [second]]) == {NAME: mirror / NAME}
    assert server.requests == 0
    assert official.places() == [mirror, cache]


def test_a_mirror_without_one_file_of_a_set_is_not_used_for_it(server: Server, cache: Path, mirror: Path) -> None:
    put(mirror)
    both = [data_file(server.url), data_file(server.url, name="digits/test.bin")]
    assert official.fetch([both]) == {one.name: cache / one.name for one in both}
    assert files(mirror) == {NAME}


@pytest.mark.parametrize("damage", [CUT, FLIPPED, b"", NOTICE], ids=["cut", "flipped", "empty", "notice"])
def test_a_damaged_file_in_a_mirror_is_an_error_and_nothing_else_is_used(
    server: Server, cache: Path, mirror: Path, damage: bytes
) -> None:
    path = put(mirror, damage)
    put(cache)
    with pytest.raises(UserError) as caught:
        official.fetch([[data_file(server.url)]])
    expected = f"{path}: damaged data file in {official.MIRROR}: expected {CHECKSUM}, found {sha256(damage)} ({len(damage)} bytes"
    assert str(caught.value).startswith(expected)
    assert server.requests == 0
    assert path.read_bytes() == damage


def test_a_mirror_that_is_no_folder_is_named(mirror: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for path in (mirror / "absent", put(mirror)):
        monkeypatch.setenv(official.MIRROR, str(path))
        for use in (official.fetch, official.chosen):
            with pytest.raises(UserError, match=rf"^{official.MIRROR}: {path} is not a folder$"):
                use([[data_file()]])
        assert official.fetch([]) == {}  # a task without such files needs none
        assert official.places() == []


def test_the_mirror_of_this_machine_has_what_tasks_ask_for(monkeypatch: pytest.MonkeyPatch) -> None:
    if not os.environ.get(official.MIRROR):
        pytest.skip(f"{official.MIRROR} is not set")
    sources = importlib.import_module("benchmark_mnist").SOURCES
    paths = official.fetch(sources)
    assert [path.name for path in paths.values()] == [Path(file.name).name for file in sources[0]]
    wrong = [dataclasses.replace(file, unpacked=False) for file in sources[0]]  # compressed by others, these are other bytes
    with pytest.raises(UserError, match=r"damaged data file in .*: expected md5:6bbc9ace898e44ae57da46a324031adb, found md5:"):
        official.fetch([wrong])


# Checksums of what is unpacked


def test_the_same_data_compressed_in_another_way_is_the_same(mirror: Path) -> None:
    file = data_file(unpacked=True)
    first, second = (gzip.compress(CONTENT, level, mtime=level) for level in (1, 9))
    assert first != second
    for content in (first, second):
        put(mirror, content)
        assert official.fetch([[file]]) == {NAME: mirror / NAME}
        with pytest.raises(UserError, match=f"expected {CHECKSUM}, found {sha256(content)}"):
            official.fetch([[data_file()]])
    md5 = f"md5:{hashlib.md5(CONTENT).hexdigest()}"
    assert official.fetch([[data_file(unpacked=True, checksum=md5)]]) == {NAME: mirror / NAME}


PACKED = gzip.compress(CONTENT)


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (CONTENT, "no whole gzip file"),
        (NOTICE, "no whole gzip file"),
        (b"", sha256(b"")),
        (PACKED[: len(PACKED) * 6 // 10], "no whole gzip file"),
        (PACKED[:-8], "no whole gzip file"),
        (PACKED[:5000] + bytes([PACKED[5000] ^ 1]) + PACKED[5001:], "no whole gzip file"),
        (PACKED[:10] + b"\7" + PACKED[11:], "no whole gzip file"),  # a kind of block that there is none of
        (gzip.compress(FLIPPED), sha256(FLIPPED)),
    ],
    ids=["not packed", "notice", "empty", "cut", "without its end", "one bit", "odd block", "other data"],
)
def test_what_does_not_unpack_to_the_data_is_damaged(server: Server, mirror: Path, content: bytes, found: str) -> None:
    put(mirror, content)
    with pytest.raises(UserError) as caught:
        official.fetch([[data_file(unpacked=True)]])
    assert f"expected {CHECKSUM} (unpacked), found {found} ({len(content)} bytes" in str(caught.value)


# Disks


@pytest.fixture
def on_a_disk(tmp_path: Path, cache: Path) -> Callable[[str, str], list[str]]:
    """``on_a_disk("64m", script)``: runs a shell script where the cache is a file system of that size that nobody else sees and
    that ends with the script, and where ``fetch URL`` fetches; gives the lines that were printed."""
    own_mounts = ["unshare", "--mount", *([] if os.geteuid() == 0 else ["--map-root-user"]), "sh", "-euc"]
    cache.mkdir()

    def run(size: str, script: str) -> list[str]:
        mount = f"mount -t tmpfs -o size={size} none cache\n"
        try:
            subprocess.run([*own_mounts, mount], cwd=tmp_path, check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError) as error:
            pytest.skip(f"no file system can be mounted here: {error}")
        (tmp_path / "fetching.py").write_text(FETCHING, encoding="utf-8")
        (tmp_path / "good").write_bytes(CONTENT)
        asked = json.dumps(dataclasses.asdict(data_file("URL")))
        fetch = (
            f"""fetch() {{ echo | "{sys.executable}" fetching.py "$(echo '{asked}' | sed "s|URL|$1|")" | grep -v ready; }}\n"""
        )
        ended = subprocess.run([*own_mounts, mount + fetch + script], cwd=tmp_path, check=True, capture_output=True, text=True)
        assert ended.stderr == ""
        return ended.stdout.splitlines()

    return run


OnADisk = Callable[[str, str], list[str]]


@pytest.mark.parametrize("place", ["CACHE", "MIRROR"])
def test_a_good_file_on_a_read_only_disk_works(on_a_disk: OnADisk, cache: Path, nowhere: str, place: str) -> None:
    script = f"""
    mkdir cache/digits && cp good cache/{NAME} && mount -o remount,bind,ro cache
    ! touch cache/new 2> touched
    export BENCHMARK_DATA_CACHE=/nowhere BENCHMARK_DATA_{place}={cache}
    fetch {nowhere}
    """
    assert on_a_disk("4m", script) == [f"{cache}/{NAME}"]


def test_a_read_only_cache_without_the_file_is_named(on_a_disk: OnADisk, server: Server, cache: Path) -> None:
    script = f"mkdir cache/digits && mount -o remount,bind,ro cache && fetch {server.url}; ls -A cache/digits"
    assert on_a_disk("4m", script) == [f"error: {NAME}: data folder {cache}: Read-only file system"]
    assert server.requests == 0


def test_a_full_disk_is_named_left_empty_and_used_when_there_is_space(on_a_disk: OnADisk, server: Server, cache: Path) -> None:
    script = f"""
    ! cat /dev/zero > cache/fill 2> filled
    fetch {server.url}; ls -A cache/digits
    head -c 500000 good > cache/fill
    fetch {server.url}; ls -A cache/digits
    rm cache/fill
    fetch {server.url}; ls -A cache/digits
    """
    full = f"error: {NAME}: data folder {cache}: No space left on device"
    assert on_a_disk("1200k", script) == [full, full, f"{cache}/{NAME}", "train.bin"]


# What it costs, and what it tells


def test_it_is_cheap_until_something_is_fetched(mirror: Path) -> None:
    put(mirror)
    code = (
        "import sys; from benchmark import DataFile, fetch; from benchmark import data_command\n"
        f"fetch([[DataFile(name={NAME!r}, checksum={CHECKSUM!r}, url='http://nobody.invalid')]])\n"
        "assert not {'pooch', 'requests', 'numpy', 'rich'} & set(sys.modules), sorted(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(("kind", "total"), [("good", len(CONTENT)), ("good, not announced", 0)])
def test_a_transfer_is_told(server: Server, cache: Path, kind: str, total: int) -> None:
    server.kind = kind
    told: list[tuple[str, int, int]] = []
    official.fetch([[data_file(server.url)]], lambda *what: told.append(what))
    assert {(name, announced) for name, _, announced in told} == {(NAME, total)}
    received = [done for _, done, _ in told]
    assert len(received) > 10
    if total:
        assert received == sorted(received)
        assert received[-1] == total
    told.clear()
    official.fetch([[data_file(server.url)]], lambda *what: told.append(what))
    assert told == []


# python -m benchmark data

Data = Callable[..., int]


@pytest.fixture
def data(server: Server, cache: Path) -> Data:
    """``data("fetch", "digits")``: the exit code of ``python -m benchmark data fetch digits``, where there are tasks ``digits``,
    which is fetched, ``joined``, which only a mirror has, and ``shipped``."""
    common: dict[str, Any] = {"modality": "image", "metrics": ("accuracy",), "margin": 0.1, "unit": "row", "folds": 1}
    common |= {"summary": "S.", "target": "m:X", "version": "1", "licence": "CC0", "citation": "C."}
    specs = [
        TaskSpec(name="digits", sources=((data_file(server.url),), (data_file(name="other/digits.bin"),)), **common),
        TaskSpec(name="joined", sources=((data_file(name="joined/all.bin"),),), **common),
        TaskSpec(name="shipped", **common),
    ]
    registry = Registry(tasks={spec.name: Provider("task", spec, "d", "1") for spec in specs})
    parser = argparse.ArgumentParser()
    data_command.add_parser(parser.add_subparsers())
    return lambda *arguments: data_command.run(parser.parse_args(["data", *arguments]), registry)


def test_list_says_where_the_files_of_each_task_are(
    data: Data, cache: Path, mirror: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert data("list") == 0
    assert [re.split(" {2,}", line) for line in capsys.readouterr().out.splitlines()] == [
        ["digits", "not here", "127.0.0.1", "CC0"],
        ["joined", "not here", "no official address", "CC0"],
    ]
    put(cache)
    put(mirror, FLIPPED, "joined/all.bin")  # it is not read
    assert data("list") == 0
    assert [line.split()[:2] for line in capsys.readouterr().out.splitlines()] == [["digits", "cache"], ["joined", "mirror"]]


def test_fetch_prints_the_paths(data: Data, server: Server, cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for requests in (1, 1):
        assert data("fetch", "digits", "shipped") == 0
        assert capsys.readouterr() == (f"{cache / NAME}\n", "task shipped ships with its package\n")
        assert server.requests == requests


def test_a_wrong_name_is_said_before_anything_is_fetched(data: Data, server: Server) -> None:
    for action in ("fetch", "verify", "path"):
        with pytest.raises(UserError, match=r"^unknown task 'digts'; did you mean 'digits'\?$"):
            data(action, "digits", "digts")
    assert server.requests == 0


def test_fetch_shows_a_bar_on_a_terminal(
    data: Data, cache: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert data("fetch", "digits") == 0
    out, err = capsys.readouterr()
    assert out == f"{cache / NAME}\n"
    assert NAME in err
    assert "1.0/1.0 MB" in err


def test_verify_looks_at_all_that_is_here(data: Data, cache: Path, mirror: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert data("verify") == 0
    assert capsys.readouterr().out == f"digits: {NAME}: not here\njoined: joined/all.bin: not here\n"
    put(mirror)
    put(cache)
    assert data("verify", "digits", "shipped") == 0
    lines = f"digits: {mirror / NAME}: ok\ndigits: {cache / NAME}: ok\n"
    assert capsys.readouterr() == (lines, "task shipped ships with its package\n")
    put(cache, FLIPPED)
    assert data("verify") == 1
    assert capsys.readouterr().out.splitlines() == [
        f"digits: {mirror / NAME}: ok",
        f"digits: {cache / NAME}: damaged: expected {CHECKSUM}, found {sha256(FLIPPED)} ({len(FLIPPED)} bytes)",
        "joined: joined/all.bin: not here",
    ]
    assert data("verify", "joined") == 0


def test_path_prints_where_things_are(data: Data, cache: Path, mirror: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert data("path") == 0
    with pytest.raises(UserError, match=r"^task digits: its files are not here: python -m benchmark data fetch digits$"):
        data("path", "digits")
    put(mirror, name="other/digits.bin")
    assert data("path", "digits") == 0
    assert capsys.readouterr().out == f"{cache}\n{mirror}/other/digits.bin\n"


def test_the_command_line_has_it(command: Callable[..., subprocess.CompletedProcess[str]], cache: Path) -> None:
    run = command("data", "path")
    assert (run.returncode, run.stdout) == (0, f"{cache}\n")
    run = command("data", "fetch", "german-credi")
    assert run.returncode == 2
    assert "error: unknown task 'german-credi'; did you mean 'german-credit'?" in run.stderr.splitlines()
