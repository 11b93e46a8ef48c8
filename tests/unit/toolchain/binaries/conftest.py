"""A tool called hello, made by a Go that only pretends to build."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from inferstack.toolchain.binaries import release
from inferstack.toolchain.binaries.catalogue import Group, make_group

ENTRY: dict[str, Any] = {
    "version": "v1.2.3",
    "binaries": ["hello"],
    "path": {"accept": {"any": ">=1.2.0,<1.3.0"}, "version_args": {"any": ["--version"]}, "pattern": r"version (\S+)"},
    "releases": [],
    "build": {"module": "hello", "packages": ["example.test/hello"], "ldflags": "-X v={version}", "disk_gib": 1},
}

# Waits while the file `gate` is there; FAKE_GO_FAILURE is what a failing build prints.
FAKE_GO = """#!/bin/sh
folder=$(dirname "$0")
if [ "$1" = env ]; then
    case "$2" in
        GOVERSION) echo "${FAKE_GOVERSION-go1.26.0}" ;;
        GOTOOLCHAIN) echo "${FAKE_GOTOOLCHAIN-local}" ;;
    esac
    exit
fi
echo $$ >> "$folder/builds"
echo example.test/hello
while [ -e "$folder/gate" ]; do sleep 0.02; done
if [ -n "$FAKE_GO_FAILURE" ]; then
    echo "$FAKE_GO_FAILURE"
    exit 1
fi
while [ "$1" != -o ]; do shift; done
printf '#!/bin/sh\\necho hello version v1.2.3\\n' > "$2"
"""


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty cache folder; the outer world's PATH, releases and proxies are out of reach."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("INFERSTACK_CACHE", str(folder))
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    monkeypatch.setenv("no_proxy", "*")
    for name in ("INFERSTACK_TOOLS_FROM", "INFERSTACK_KEEP_BUILD_CACHE", "GOCACHE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(release, "_silent_hosts", set())
    return folder


@pytest.fixture
def fake_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put a pretended Go on PATH and return its folder; a build waits while a file `gate` is there."""
    folder = tmp_path / "go"
    folder.mkdir()
    go = folder / "go"
    go.write_text(FAKE_GO)
    go.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    return folder


@pytest.fixture
def builds(fake_go: Path) -> Callable[[], list[int]]:
    """Return a function that tells the process ids of the builds that were begun."""

    def read() -> list[int]:
        log = fake_go / "builds"
        return [int(line) for line in log.read_text().split()] if log.exists() else []

    return read


@pytest.fixture
def modules(tmp_path: Path) -> Path:
    """Return the folder of the Go modules."""
    module = tmp_path / "modules" / "hello"
    module.mkdir(parents=True)
    (module / "go.mod").write_text("module example.test/pins\n\ngo 1.25.0\n")
    return module.parent


@pytest.fixture
def entry() -> dict[str, Any]:
    """Return the entry of hello as versions.yaml would hold it."""
    return copy.deepcopy(ENTRY)


@pytest.fixture
def make_hello(modules: Path) -> Callable[..., Group]:
    """Return a function that makes the group of hello, with some keys of its entry replaced."""

    def make(**changes: object) -> Group:
        return make_group("hello", {**copy.deepcopy(ENTRY), **changes}, ("linux", "amd64"), modules)

    return make


@pytest.fixture
def hello(make_hello: Callable[..., Group]) -> Group:
    """Return the group of hello without releases."""
    return make_hello()
