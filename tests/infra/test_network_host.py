"""A real node's network cards: virtual functions as the SR-IOV operator wants them, EFA devices as the machine has."""

from __future__ import annotations

from typing import Any

import pytest
from testinfra.host import Host  # type: ignore[import-untyped]  # it ships no types

from inferstack.aws import catalogue
from tests.infra import cluster

_NAMESPACE = "sriov-network-operator"


def functions(host: Host) -> dict[str, tuple[int, int]]:
    """Return the virtual functions of each port that can have some: those there are, and those it can have."""
    counts = {}
    for path in host.run("ls -d /sys/class/net/*/device/sriov_numvfs").stdout.split():
        port = path.split("/")[4]
        total = host.file(path.replace("sriov_numvfs", "sriov_totalvfs")).content_string
        counts[port] = (int(host.file(path).content_string), int(total))
    return counts


def test_virtual_functions_match_the_node_state(real: Host, node: dict[str, Any]) -> None:
    state = cluster.get("sriovnetworknodestates.sriovnetwork.openshift.io", node["metadata"]["name"], _NAMESPACE)
    desired = {
        interface["name"]: interface["numVfs"] for interface in (state or {}).get("spec", {}).get("interfaces", [])
    }
    if not desired:
        pytest.skip("the SR-IOV operator wants no virtual functions of this node")
    there = functions(real)
    assert {port: there.get(port, (0, 0))[0] for port in desired} == desired


def test_virtual_functions_are_within_the_limit_of_the_port(real: Host) -> None:
    there = functions(real)
    if not there:
        pytest.skip("this node has no port with virtual functions")
    assert {port: counts for port, counts in there.items() if counts[0] > counts[1]} == {}


def test_efa_interfaces_have_devices(real: Host, labels: dict[str, str]) -> None:
    machine = catalogue.load().instance_types.get(labels.get("node.kubernetes.io/instance-type", ""))
    if machine is None or not machine.efa:
        pytest.skip("this node is no EC2 machine with EFA")
    drivers = real.run("readlink -f /sys/class/infiniband/*/device/driver").stdout.split()
    efa = [path for path in drivers if path.endswith("/efa")]
    if not efa:
        pytest.skip("this node was started without EFA interfaces")
    assert len(efa) == machine.efa
    assert real.run("ls /dev/infiniband/uverbs0").rc == 0
