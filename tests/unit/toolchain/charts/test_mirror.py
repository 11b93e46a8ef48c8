"""A mirror folder, with a registry on loopback."""

from __future__ import annotations

import functools
import hashlib
import http.server
import socket
import subprocess
import tarfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from inferstack.errors import UserError
from inferstack.toolchain import binaries
from inferstack.toolchain.charts import Archive, Pin, find, mirror
from tests.charts import make_chart

PIN = Pin("some", "v1", "https://charts.invalid")


def crane(*arguments: str) -> str:
    """Run crane and return what it printed."""
    binary = binaries.locate("crane")
    assert binary, "inferstack tools ensure crane"
    return subprocess.run([binary, *arguments], check=True, capture_output=True, text=True, timeout=60).stdout


def answers(address: str) -> bool:
    """Return whether something listens."""
    host, _, port = address.partition(":")
    with socket.socket() as tried:
        return tried.connect_ex((host, int(port))) == 0


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An empty registry; ends with the tests."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    binary = binaries.locate("crane")
    assert binary, "inferstack tools ensure crane"
    folder = tmp_path_factory.mktemp("registry")
    log = (folder / "log").open("w")
    process = subprocess.Popen(
        [binary, "registry", "serve", "--address", address, "--disk", str(folder)], stdout=log, stderr=log
    )
    try:
        deadline = time.monotonic() + 20
        while not answers(address):
            assert time.monotonic() < deadline, "the registry does not answer"
            time.sleep(0.05)
        yield address
    finally:
        process.terminate()
        process.wait(10)
        log.close()


def test_image_goes_through_a_folder_into_another_registry(registry: str, tmp_path: Path) -> None:
    content = tmp_path / "layer.tar"
    with tarfile.open(content, "w") as layer:
        layer.add(__file__, "content")
    image = f"{registry}/team/server:v1"
    crane("append", "--new_layer", str(content), "--new_tag", image)
    messages: list[str] = []

    place = mirror.pull_image(image, tmp_path / "m", messages.append)
    again = mirror.pull_image(image, tmp_path / "m", messages.append)
    target = mirror.push_image(image, tmp_path / "m", f"{registry}/copy", messages.append)

    assert place == again == mirror.layout_of(tmp_path / "m", image)
    assert (place / "oci-layout").is_file()
    assert target == f"{registry}/copy/team/server:v1"
    assert messages == [f"{image}: pulled", f"{image}: present", f"{image}: pushed as {target}"]
    config = crane("config", target)
    assert config == crane("config", image)
    assert [path.name for path in (tmp_path / "m" / "images").iterdir()] == [place.name]


def test_image_that_the_registry_does_not_have_leaves_nothing(registry: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"crane pull .*NAME_UNKNOWN|MANIFEST_UNKNOWN|not found"):
        mirror.pull_image(f"{registry}/no/such:v1", tmp_path, lambda _: None)
    assert list((tmp_path / "images").iterdir()) == []


def test_pushing_unpacked_image_raises_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"does not contain a/b:1: "):
        mirror.push_image("a/b:1", tmp_path, "registry:5000", lambda _: None)


@pytest.mark.parametrize(
    ("image", "target"),
    [
        ("quay.io/a/b:v1", "r:5000/x/a/b:v1"),
        ("docker.io/istio/pilot:1", "r:5000/x/istio/pilot:1"),
        ("fluidcloudnative/csi:v1", "r:5000/x/fluidcloudnative/csi:v1"),
        ("busybox:1", "r:5000/x/library/busybox:1"),
        ("localhost/mine:1", "r:5000/x/mine:1"),
        (f"quay.io/a/b:v1@sha256:{'a' * 64}", "r:5000/x/a/b:v1"),
        (f"quay.io/a/b@sha256:{'a' * 64}", f"r:5000/x/a/b:sha256-{'a' * 64}"),
    ],
)
def test_image_keeps_its_path_in_another_registry(image: str, target: str) -> None:
    assert mirror.retarget(image, "r:5000/x/") == target


def test_list_of_images(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"has no images\.txt"):
        mirror.read_list(tmp_path)
    mirror.write_list(tmp_path, ["a:1", "b:2"])
    assert mirror.read_list(tmp_path) == ["a:1", "b:2"]


def test_chart_is_taken_from_the_mirror_and_a_relative_one_begins_at_the_project(tmp_path: Path) -> None:
    packed = make_chart(tmp_path, PIN, {})
    assert find(PIN, str(tmp_path)) == packed
    with pytest.raises(UserError, match=r"^inferstack:addon\.mirror: .*/charts has no some-v1\.tgz"):
        find(PIN, "charts")


def test_repository_that_cannot_be_reached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INFERSTACK_CACHE", str(tmp_path))
    nowhere = Pin("some", "v1", "https://127.0.0.1:1")
    helm = binaries.locate("helm")
    monkeypatch.setattr("inferstack.toolchain.charts.source.binaries.locate", lambda _: helm or Path("/usr/bin/false"))
    with pytest.raises(UserError, match=r"^The chart some v1 cannot be pulled from https://127\.0\.0\.1:1: .*mirror"):
        find(nowhere, None)
    assert list((tmp_path / "charts").iterdir()) == []


@pytest.fixture
def repository(tmp_path: Path) -> Iterator[Pin]:
    """A chart repository on loopback with one chart in it."""
    folder = tmp_path / "repository"
    packed = make_chart(folder, PIN, {"a": 1})
    digest = hashlib.sha256(packed.read_bytes()).hexdigest()
    entry = {"apiVersion": "v2", "name": "some", "version": "v1", "urls": [packed.name], "digest": digest}
    (folder / "index.yaml").write_text(yaml.safe_dump({"apiVersion": "v1", "entries": {"some": [entry]}}))
    handler = functools.partial(QuietHandler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield Pin("some", "v1", f"http://127.0.0.1:{server.server_address[1]}")
        finally:
            server.shutdown()
            thread.join()


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    """Serves files and says nothing."""

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def test_chart_is_pulled_once_and_then_kept(repository: Pin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    helm = binaries.locate("helm")
    assert helm, "inferstack tools ensure helm"
    monkeypatch.setattr("inferstack.toolchain.charts.source.binaries.locate", lambda _: helm)
    monkeypatch.setenv("INFERSTACK_CACHE", str(tmp_path / "cache"))

    packed = find(repository, None)
    monkeypatch.setattr("inferstack.toolchain.charts.source.binaries.locate", lambda _: None)

    assert Archive(packed).values == {"a": 1, "global": {}}
    assert find(repository, None) == packed
    assert [path.name for path in packed.parent.iterdir()] == [packed.name]
