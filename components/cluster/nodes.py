"""Node objects of simulated nodes, which kwok and the node agent operate."""

from __future__ import annotations

import json
from collections.abc import Iterator

from components.cluster.settings import ClusterSettings, NodeGroup
from inferstack.apimachinery.labels import HARDWARE
from inferstack.apimachinery.objects import Object
from inferstack.mig import catalogue
from inferstack.mig.gpu_operator import MIG_CONFIG


def make_nodes(settings: ClusterSettings) -> list[Object]:
    """Return all nodes of the fleet, each group spread round-robin over the zones."""
    return [node for name, group in settings.fleet.items() for node in _group(name, group, settings.zones)]


def _group(name: str, group: NodeGroup, zones: tuple[str, ...]) -> Iterator[Object]:
    for index in range(group.count):
        yield make_node(f"{name}-{index}", group, zones[index % len(zones)])


def make_node(name: str, group: NodeGroup, zone: str) -> Object:
    """Return a node without status: the agent derives capacity from the hardware annotation."""
    labels = {
        "kubernetes.io/arch": "amd64",
        "kubernetes.io/os": "linux",
        "kubernetes.io/hostname": name,
        "node.kubernetes.io/instance-type": group.instance_type,
        "topology.kubernetes.io/zone": zone,
        **make_topology(name, zone),
        **group.labels,
    }
    if group.mig_layout:
        labels[MIG_CONFIG] = group.mig_layout
    annotations = {
        "kwok.x-k8s.io/node": "fake",
        HARDWARE: json.dumps(make_hardware(group), sort_keys=True),
    }
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": labels, "annotations": annotations},
    }


def make_topology(name: str, zone: str) -> dict[str, str]:
    """Return the network topology labels of a node as on EKS; layer 3 is the switch nearest to the node.

    The node's index in its group determines them: 8 nodes share a layer 3 and 64 a layer 2, across groups of a zone.
    """
    number = int(name.rpartition("-")[2])
    layers = {1: f"nn-1-{zone}", 2: f"nn-2-{zone}-{number // 64}", 3: f"nn-3-{zone}-{number // 8}"}
    return {f"topology.k8s.aws/network-node-layer-{layer}": switch for layer, switch in layers.items()}


def make_hardware(group: NodeGroup) -> Object:
    """Return the hardware description for the agent: cpu and memory as quantities, pods and GPUs as numbers."""
    machine = catalogue.instance_type(group.instance_type)
    return {
        "instanceType": group.instance_type,
        "cpu": str(machine.cpu),
        "memory": machine.memory,
        "pods": machine.pods,
        "gpu": machine.gpu,
        "gpus": machine.gpus,
        "nics": [nic.described() for nic in group.nics],
    }
