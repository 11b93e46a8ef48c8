"""The components as data: what is started, in which order, open to whom."""

from __future__ import annotations

from pathlib import Path

import pytest

from rehearsal.control_plane.components import build_enabled
from rehearsal.control_plane.components.etcd import build_etcd
from rehearsal.control_plane.components.kwok import STAGES, build_kwok, release_node_leases
from rehearsal.control_plane.model import Adapter, Component, PlaneConfig, PlaneOptions, Ports
from rehearsal.control_plane.probe import Probe

CONFIG = PlaneConfig(Path("/state"), Ports(*range(20001, 20012)), PlaneOptions(metrics=True, adapter=Adapter()))


def test_kwok_component() -> None:
    assert build_kwok(CONFIG) == Component(
        name="kwok",
        tool="kwok",
        args=(
            "--kubeconfig=/state/pki/kwok.kubeconfig",
            f"--config={STAGES}",
            "--manage-nodes-with-annotation-selector=kwok.x-k8s.io/node=fake",
            "--node-lease-duration-seconds=40",
            "--server-address=127.0.0.1:20007",
        ),
        probe=Probe("http://127.0.0.1:20007/healthz"),
        ports=(20007,),
        depends_on=("etcd", "kube-apiserver"),
        restart_with_dependencies=True,
        pre_start=release_node_leases,
    )


def test_components_start_after_their_dependencies() -> None:
    started: set[str] = set()
    for component in build_enabled(CONFIG):
        assert started.issuperset(component.depends_on)
        started.add(component.name)


def test_ports_are_unique() -> None:
    ports = [port for component in build_enabled(CONFIG) for port in component.ports]
    assert len(ports) == len(set(ports))


@pytest.mark.parametrize("component", build_enabled(CONFIG), ids=lambda component: component.name)
def test_components_listen_on_loopback_only(component: Component) -> None:
    assert component.probe.url.split("//")[1].startswith("127.0.0.1:")
    assert not any("0.0.0.0" in argument for argument in component.args)  # noqa: S104  # looks for it


def test_etcd_requires_client_certificates() -> None:
    args = build_etcd(CONFIG).args
    assert "--client-cert-auth" in args
    assert "--peer-client-cert-auth" in args
    assert "--listen-client-urls=https://127.0.0.1:20001" in args


def test_required_admission_plugins_are_enabled() -> None:
    apiserver = next(component for component in build_enabled(CONFIG) if component.name == "kube-apiserver")
    plugins = next(a for a in apiserver.args if a.startswith("--enable-admission-plugins=")).split("=")[1].split(",")
    assert {"ResourceQuota", "LimitRanger", "ValidatingAdmissionPolicy", "PodSecurity"}.issubset(plugins)
    assert "--authorization-mode=RBAC" in apiserver.args
    assert "--anonymous-auth=false" in apiserver.args
