"""What a rehearsal looks like from its host: processes, sockets, file modes (testinfra, local backend)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from testinfra.host import Host, get_host  # type: ignore[import-untyped]  # it ships no types

from inferstack.project import cache_dir
from rehearsal.control_plane import Rehearsal

pytestmark = pytest.mark.rehearsal


@pytest.fixture(scope="module")
def here() -> Host:
    return get_host("local://")


def test_each_component_is_one_process(here: Host, rehearsal: Rehearsal) -> None:
    me = here.user().name
    for component in rehearsal.status():
        [process] = here.process.filter(pid=component.pid)
        assert process.user == me


def test_sockets_are_on_loopback_only(rehearsal: Rehearsal) -> None:
    for component in rehearsal.status():
        listening = [
            connection.laddr
            for connection in psutil.Process(component.pid).net_connections("inet")
            if connection.status == psutil.CONN_LISTEN
        ]
        assert listening, f"{component.name} listens nowhere"
        assert {address.ip for address in listening} == {"127.0.0.1"}, component.name


@pytest.mark.parametrize(
    ("name", "mode"),
    [(".", 0o700), ("pki", 0o700), ("etcd", 0o700), ("kubeconfig", 0o600), ("pki/ca.key", 0o600)],
)
def test_file_modes(here: Host, rehearsal: Rehearsal, name: str, mode: int) -> None:
    assert here.file(str(rehearsal.state / name)).mode == mode


def test_user_kubeconfig_is_unchanged(rehearsal: Rehearsal) -> None:
    server = json.loads(rehearsal.kubeconfig.read_text())["clusters"][0]["cluster"]["server"]
    own = Path.home() / ".kube" / "config"
    assert not own.exists() or server not in own.read_text()


SECRETS = (b"PRIVATE KEY", b'"token":', b"client-key-data", b"passphrase")


def files(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


def test_files_with_secrets_are_private(here: Host, rehearsal: Rehearsal) -> None:
    leaking = {path for path in files(rehearsal.state) if any(secret in path.read_bytes() for secret in SECRETS)}
    # The kubeconfig and the keys of the authority are among them, or this looks for the wrong thing.
    assert {rehearsal.kubeconfig, rehearsal.state / "pki" / "ca.key"} <= leaking
    assert {path for path in leaking if here.file(str(path)).mode & 0o077} == set()


def test_state_is_not_writable_by_others(here: Host, rehearsal: Rehearsal) -> None:
    for path in (rehearsal.state, *rehearsal.state.rglob("*")):
        if not path.is_symlink() and (path.is_file() or path.is_dir()):
            assert here.file(str(path)).mode & 0o022 == 0, path


def test_logs_and_command_lines_hold_no_secret(rehearsal: Rehearsal) -> None:
    keys = [path.read_text() for path in (rehearsal.state / "pki").glob("*.key")]
    assert keys
    # Any line of a key but its frame: enough to tell it by.
    lines = {line for key in keys for line in key.splitlines() if line and "PRIVATE KEY" not in line}
    logs = [path.read_text(errors="replace") for path in files(rehearsal.state / "logs")]
    logs += [" ".join(psutil.Process(component.pid).cmdline()) for component in rehearsal.status()]
    assert len(logs) >= len(rehearsal.status())
    assert not [line for line in lines for text in logs if line in text]


@pytest.mark.parametrize("kept", ["crds", "tools"])
def test_shared_cache_is_writable_by_its_owner_only(here: Host, kept: str) -> None:
    folder = cache_dir() / kept
    if not folder.is_dir():
        pytest.skip(f"{folder} is not there: everything was found on this machine")
    for path in (folder, *folder.rglob("*")):
        if not path.is_symlink():
            assert here.file(str(path)).mode & 0o022 == 0, path
