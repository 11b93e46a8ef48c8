"""Builds by a Go that only pretends: what is run, what goes wrong, kills and two at once."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from inferstack.errors import UserError
from inferstack.project import project_root
from inferstack.toolchain.binaries import build, ensure, inspect
from inferstack.toolchain.binaries.catalogue import Group
from tests.signals import default_interrupts

Usage = namedtuple("Usage", "total used free")

START = """
import json, sys
from pathlib import Path
from inferstack.toolchain.binaries import ensure
from inferstack.toolchain.binaries.catalogue import make_group
group = make_group("hello", json.loads(sys.argv[1]), ("linux", "amd64"), Path(sys.argv[2]))
ensure(["hello"], report=lambda line: print(line, flush=True), available=[group])
"""


def wait_for(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + 60  # it waits for a Go build, on a machine that may be busy
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.01)


def is_alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.fixture
def start(tmp_path: Path, modules: Path, entry: dict[str, object]) -> Callable[[str], subprocess.Popen[bytes]]:
    """Return a function that starts `ensure` in a process of its own; its lines go to a file of the given name."""

    def run(name: str) -> subprocess.Popen[bytes]:
        with (tmp_path / name).open("wb") as lines, default_interrupts():
            return subprocess.Popen(
                [sys.executable, "-c", START, json.dumps(entry), str(modules)],
                stdout=lines,
                stderr=subprocess.STDOUT,
                cwd=project_root(),
            )

    return run


def test_build_is_installed_and_the_build_cache_dropped(
    builds: Callable[[], list[int]], hello: Group, cache: Path
) -> None:
    lines: list[str] = []
    path = ensure(["hello"], report=lines.append, available=[hello])["hello"]
    assert subprocess.run([path], capture_output=True, check=True, text=True).stdout == "hello version v1.2.3\n"
    assert inspect(available=[hello])[0].origin == "build"
    assert lines[1] == "hello v1.2.3: building with Go"
    assert len(builds()) == 1
    assert not (cache / "build").exists()
    assert [entry.name for entry in (cache / "tools/.work").iterdir() if entry.is_dir()] == []
    ensure(["hello"], report=lines.append, available=[hello])
    assert len(builds()) == 1


@pytest.mark.usefixtures("fake_go")
def test_build_cache_can_be_kept(hello: Group, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INFERSTACK_KEEP_BUILD_CACHE", "1")
    ensure(["hello"], report=print, available=[hello])
    assert (cache / "build").exists()


def test_long_build_reports_progress(fake_go: Path, hello: Group, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("inferstack.toolchain.binaries.store.HEARTBEAT_S", 0.05)
    (fake_go / "gate").touch()

    def report(line: str) -> None:
        if "packages done" in line:
            (fake_go / "gate").unlink(missing_ok=True)
            lines.append(line)

    lines: list[str] = []
    ensure(["hello"], report=report, available=[hello])
    assert lines[0] == "hello: building for 0 s, 1 packages done"


def test_progress_counts_packages_and_modules_and_not_errors() -> None:
    output = "go: downloading a.test/b v1.0.0\na.test/b/c\nruntime/internal\n# a.test/d\nx.go:1:2: bad\n"
    assert build.progress(output) == "2 packages done, 1 modules fetched"
    assert build.progress("") == "0 packages done"


def test_two_starts_at_once_make_one_build(
    fake_go: Path, builds: Callable[[], list[int]], start: Callable[[str], subprocess.Popen[bytes]], tmp_path: Path
) -> None:
    (fake_go / "gate").touch()
    first = start("first")
    wait_for(builds, "the first build")
    second = start("second")
    message = f"hello: waiting for process {first.pid}, which is getting it"
    wait_for(lambda: message in (tmp_path / "second").read_text(), "the second to name the first")
    (fake_go / "gate").unlink()
    assert (first.wait(20), second.wait(20)) == (0, 0)
    assert len(builds()) == 1


def test_next_start_cleans_up_killed_build(
    fake_go: Path,
    builds: Callable[[], list[int]],
    start: Callable[[str], subprocess.Popen[bytes]],
    cache: Path,
    hello: Group,
) -> None:
    (fake_go / "gate").touch()
    first = start("first")
    lock = cache / "tools/.work/hello.lock"
    wait_for(lambda: builds() and b"child" in lock.read_bytes(), "the first build")
    first.send_signal(signal.SIGKILL)
    first.wait(20)
    assert is_alive(builds()[0])
    assert len(list(lock.parent.glob("hello-*"))) == 1
    second = start("second")
    wait_for(lambda: len(builds()) == 2, "the second build")
    wait_for(lambda: not is_alive(builds()[0]), "the end of the first build")
    (fake_go / "gate").unlink()
    assert second.wait(20) == 0
    assert inspect(available=[hello])[0].origin == "build"
    assert list(lock.parent.glob("hello-*")) == []


def test_interrupt_leaves_no_process(
    fake_go: Path, builds: Callable[[], list[int]], start: Callable[[str], subprocess.Popen[bytes]]
) -> None:
    (fake_go / "gate").touch()
    process = start("only")
    wait_for(builds, "the build")
    process.send_signal(signal.SIGINT)
    assert process.wait(20) != 0
    wait_for(lambda: not is_alive(builds()[0]), "the end of the build")


def test_missing_go(hello: Group) -> None:
    with pytest.raises(UserError, match=r"^Go is missing, and hello .* install Go 1\.25\.0 or newer"):
        ensure(["hello"], report=print, available=[hello])


@pytest.mark.parametrize(
    ("version", "toolchain", "good"),
    [
        ("go1.24.9", "local", False),
        ("go1.24.9", "auto", True),
        ("go1.20.1", "", False),
        ("go1.25.0", "local", True),
        ("go1.26.0-custom", "local", True),
        ("devel +a1b2c3", "local", True),
    ],
)
@pytest.mark.usefixtures("fake_go")
def test_go_must_be_new_enough_or_allowed_to_fetch_itself(
    hello: Group, monkeypatch: pytest.MonkeyPatch, version: str, toolchain: str, good: bool
) -> None:
    monkeypatch.setenv("FAKE_GOVERSION", version)
    monkeypatch.setenv("FAKE_GOTOOLCHAIN", toolchain)
    if good:
        build.check_go([hello])
    else:
        with pytest.raises(UserError, match=r"^Go 1\.2.* is too old, hello needs 1\.25\.0: install a newer Go"):
            build.check_go([hello])


def test_full_disk_is_detected_before_build(
    builds: Callable[[], list[int]], hello: Group, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(2**40, 2**40 - 2**30, 2**30))
    with pytest.raises(UserError, match=r"^Only 1\.0 GiB are free on the disk of .*, building hello needs 2 GiB"):
        ensure(["hello"], report=print, available=[hello])
    assert builds() == []


def test_a_cache_that_cannot_be_written_is_named(fake_go: Path, hello: Group, cache: Path) -> None:
    cache.write_text("a file in the way")
    with pytest.raises(UserError, match=rf"^Cannot write below {cache}/tools/\.work \(.*\): "):
        ensure(["hello"], report=print, available=[hello])


@pytest.mark.parametrize(
    ("output", "sentence"),
    [
        ("link: write /x: no space left on device", r"^The disk is full \(building hello in .*what was built is kept"),
        ("go: a@v1: Get https://p: dial tcp: lookup p: no such host", r"^Go modules of hello cannot be downloaded: "),
        ("verifying a@v1: checksum mismatch\n\nSECURITY ERROR", r"^A Go module of hello does not match its pin"),
        (
            "go: download go1.25.0 for linux/amd64: toolchain not available",
            r"^Go could not download Go 1\.25\.0 for hello",
        ),
        ("main.go:3:1: undefined: x", r"^go build of hello failed in .*\nmain.go:3:1: undefined: x$"),
    ],
)
@pytest.mark.usefixtures("fake_go")
def test_failed_build_reports_output_and_keeps_cache(
    hello: Group, monkeypatch: pytest.MonkeyPatch, cache: Path, output: str, sentence: str
) -> None:
    monkeypatch.setenv("FAKE_GO_FAILURE", output)
    with pytest.raises(UserError, match=sentence):
        ensure(["hello"], report=print, available=[hello])
    assert (cache / "build").exists()
    assert inspect(available=[hello])[0].origin == "missing"


def test_command_and_environment_of_a_build(make_hello: Callable[..., Group], cache: Path) -> None:
    build_entry = {"module": "hello", "ldflags": "", "disk_gib": 1}
    single, several = make_hello(), make_hello(build={**build_entry, "packages": ["example.test/a", "example.test/b"]})
    common = ["go", "build", "-v", "-trimpath", "-mod=readonly", "-buildvcs=false", "-gcflags=all=-dwarf=false"]
    assert build.make_command(single, "go", Path("/t")) == [
        *common, "-ldflags", "-s -w -X v=v1.2.3", "-o", "/t/hello", "example.test/hello"
    ]  # fmt: skip
    assert build.make_command(several, "go", Path("/t"))[-3:] == ["/t/", "example.test/a", "example.test/b"]
    environment = build.make_environment({"HOME": "/h", "GOPROXY": "off", "CGO_ENABLED": "1"})
    assert environment == {
        "HOME": "/h",
        "GOPROXY": "off",
        "CGO_ENABLED": "0",
        "GOWORK": "off",
        "GOGC": "400",
        "GOCACHE": f"{cache}/build/gocache",
        "GOTMPDIR": f"{cache}/build/tmp",
    }
    assert build.make_environment({"GOCACHE": "/mine"})["GOCACHE"] == "/mine"
