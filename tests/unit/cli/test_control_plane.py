"""The control plane of a stack: which one it is, and what an external one does."""

from __future__ import annotations

from pathlib import Path

import pytest

from inferstack.cli.stack.control_plane import (
    ExternalControlPlane,
    LocalControlPlane,
    control_plane_of,
    is_local,
)


@pytest.mark.parametrize("place", ["existing", "aws", None])
def test_stack_elsewhere_has_an_external_control_plane(place: str | None, state: Path) -> None:
    configuration = {"inferstack:place": place}

    assert not is_local(configuration)
    control_plane = control_plane_of(configuration, state)
    assert isinstance(control_plane, ExternalControlPlane)
    assert not control_plane.exists()
    assert not list(control_plane.tools())


def test_external_control_plane_is_neither_started_nor_removed(state: Path) -> None:
    control_plane = ExternalControlPlane()
    reports: list[str] = []

    control_plane.start(reports.append)
    with control_plane.keep_up(reports.append):
        pass
    control_plane.remove(reports.append)

    assert reports == []
    assert not state.exists()


def test_local_control_plane_exists_once_it_has_a_kubeconfig(state: Path) -> None:
    control_plane = control_plane_of({"inferstack:place": "local"}, state)

    assert isinstance(control_plane, LocalControlPlane)
    assert not control_plane.exists()
    state.mkdir()
    (state / "kubeconfig").touch()
    assert control_plane.exists()


def test_local_control_plane_needs_prometheus_only_with_monitoring(state: Path) -> None:
    def tools(monitoring: bool) -> set[str]:
        configuration = {"inferstack:place": "local", "inferstack:monitoring": {"enabled": monitoring}}
        return set(control_plane_of(configuration, state).tools())

    assert {"etcd", "kube-apiserver"} <= tools(monitoring=False)
    assert tools(monitoring=True) - tools(monitoring=False) >= {"prometheus"}
