"""What a rehearsal looks like from its host: processes, sockets, file modes (testinfra, local backend)."""

from __future__ import annotations

import json
from pathlib import Path

import psutil
import pytest
from testinfra.host import Host, get_host  # type: ignore[import-untyped]  # it ships no types

from inferstack.rehearsal.plane import Rehearsal

pytestmark = pytest.mark.rehearsal


@pytest.fixture(scope="module")
def here() -> Host:
    return get_host("local://")


def test_each_component_is_one_process_of_ours(here: Host, rehearsal: Rehearsal) -> None:
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
def test_modes(here: Host, rehearsal: Rehearsal, name: str, mode: int) -> None:
    assert here.file(str(rehearsal.state / name)).mode == mode


def test_the_users_own_kubeconfig_is_untouched(rehearsal: Rehearsal) -> None:
    server = json.loads(rehearsal.kubeconfig.read_text())["clusters"][0]["cluster"]["server"]
    own = Path.home() / ".kube" / "config"
    assert not own.exists() or server not in own.read_text()
