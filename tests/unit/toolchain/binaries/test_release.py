"""Official releases, served by a host on loopback."""

from __future__ import annotations

import hashlib
import http.server
import io
import socket
import tarfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from inferstack.errors import UserError
from inferstack.toolchain.binaries import ensure, inspect, release
from inferstack.toolchain.binaries.catalogue import Group

SCRIPT = b"#!/bin/sh\necho hello version v1.2.3\n"


class Host:
    """Files under paths, and what was asked for."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.cut = False  # announce more bytes than are sent
        host = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_HEAD(self) -> None:
                self._answer(with_body=False)

            def do_GET(self) -> None:
                self._answer(with_body=True)

            def _answer(self, *, with_body: bool) -> None:
                host.asked.append(f"{self.command} {self.path}")
                body = host.files.get(self.path)
                self.send_response(200 if body is not None else 404)
                self.send_header("Content-Length", str(len(body or b"") + (100 if host.cut else 0)))
                self.end_headers()
                if with_body and body:
                    self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the name is the base class's
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"


@pytest.fixture
def host() -> Iterator[Host]:
    """Start a host for releases."""
    host = Host()
    thread = threading.Thread(target=host.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield host
    host.server.shutdown()
    host.server.server_close()
    thread.join()


def make_archive(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def make_entry(url: str, content: bytes, **changes: object) -> dict[str, object]:
    digest = hashlib.sha256(content).hexdigest()
    checksums = {"linux/amd64": f"sha256:{digest}"}
    return {"url": f"{url}/hello-{{version}}-{{os}}-{{arch}}", "provides": ["hello"], "checksums": checksums, **changes}


PATH = "/hello-v1.2.3-linux-amd64"


def test_plain_executable(host: Host, make_hello: Callable[..., Group], cache: Path) -> None:
    host.files[PATH] = SCRIPT
    group = make_hello(releases=[make_entry(host.url, SCRIPT)])
    lines: list[str] = []
    path = ensure(["hello"], report=lines.append, available=[group])["hello"]
    assert path == cache / "tools/hello/v1.2.3/hello"
    assert path.read_bytes() == SCRIPT
    assert inspect(available=[group])[0].origin == "release"
    assert lines[1] == f"hello v1.2.3: downloading {host.url}{PATH}"
    assert list((cache / "tools/.work").glob("hello-*")) == []
    host.asked.clear()
    ensure(["hello"], report=lines.append, available=[group])
    assert host.asked == []


def test_wanted_members_of_an_archive_go_to_their_places(
    host: Host, make_hello: Callable[..., Group], cache: Path
) -> None:
    files = {"pack/readme": b"no", "./pack/hello": SCRIPT, "pack/hello-helper": b"help"}
    archive = make_archive(files)
    host.files[PATH] = archive
    members = {"hello": "pack/hello", "hello-helper": "pack/hello-helper"}
    group = make_hello(releases=[make_entry(host.url, archive, members=members)])
    ensure(["hello"], report=print, available=[group])
    there = {path.name: path.read_bytes() for path in (cache / "tools/hello/v1.2.3").iterdir()}
    assert there == {"hello": SCRIPT, "hello-helper": b"help", ".origin": b"release"}


def test_archive_without_the_member_is_an_error(host: Host, make_hello: Callable[..., Group]) -> None:
    archive = make_archive({"other": b""})
    host.files[PATH] = archive
    group = make_hello(releases=[make_entry(host.url, archive, members={"hello": "pack/hello"})])
    with pytest.raises(UserError, match="has no pack/hello: correct its members"):
        ensure(["hello"], report=print, available=[group])


@pytest.mark.usefixtures("fake_go")
def test_wrong_checksum_is_an_error_that_names_the_file_and_nothing_is_used(
    host: Host, make_hello: Callable[..., Group], cache: Path
) -> None:
    host.files[PATH] = b"#!/bin/sh\necho stolen\n"
    group = make_hello(releases=[make_entry(host.url, SCRIPT)])
    digest = hashlib.sha256(SCRIPT).hexdigest()
    with pytest.raises(UserError, match=rf"{host.url}{PATH} has the sha256 \w+, versions.yaml expects {digest}"):
        ensure(["hello"], report=print, available=[group])
    assert [path for path in (cache / "tools").rglob("hello*") if path.name != "hello.lock"] == []


def test_release_of_another_version_than_it_says_is_not_installed(
    host: Host, make_hello: Callable[..., Group], cache: Path
) -> None:
    other = b"#!/bin/sh\necho hello version v1.2.4\n"
    host.files[PATH] = other
    group = make_hello(releases=[make_entry(host.url, other)])
    with pytest.raises(UserError, match=r"hello reports v1\.2\.4 instead of v1\.2\.3"):
        ensure(["hello"], report=print, available=[group])
    assert not (cache / "tools/hello").exists()


@pytest.mark.usefixtures("fake_go")
def test_file_that_is_not_served_is_built(host: Host, make_hello: Callable[..., Group]) -> None:
    group = make_hello(releases=[make_entry(host.url, SCRIPT)])
    ensure(["hello"], report=print, available=[group])
    assert host.asked == [f"HEAD {PATH}"]
    assert inspect(available=[group])[0].origin == "build"


@pytest.mark.usefixtures("fake_go")
def test_connection_that_ends_early_is_no_wrong_checksum(host: Host, make_hello: Callable[..., Group]) -> None:
    host.files[PATH] = SCRIPT
    host.cut = True
    group = make_hello(releases=[make_entry(host.url, SCRIPT)])
    lines: list[str] = []
    ensure(["hello"], report=lines.append, available=[group])
    assert inspect(available=[group])[0].origin == "build"
    assert any("not downloaded" in line for line in lines)


@pytest.mark.usefixtures("fake_go")
def test_silent_host_costs_one_timeout_in_a_session(
    make_hello: Callable[..., Group], monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    timeouts: list[float] = []
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes connections and never answers
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        group = make_hello(releases=[make_entry(url, SCRIPT), make_entry(f"{url}/other", SCRIPT)])
        assert release.reachable(group.releases, timeout_s=0.2) == []
        monkeypatch.setattr(threading, "Thread", lambda **_: timeouts.append(1))
        assert release.reachable(group.releases, timeout_s=0.2) == []
    assert timeouts == []


def test_platform_without_checksum_is_not_downloaded(host: Host, make_hello: Callable[..., Group]) -> None:
    entry = make_entry(host.url, SCRIPT, checksums={"linux/arm64": "sha256:00"})
    assert make_hello(releases=[entry]).releases == ()
