"""The groups of GPU nodes that a stack describes, wherever it makes them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from components.cluster.aws.launch import GPU_AMI
from components.cluster.settings import ClusterSettings
from components.settings import PROJECT
from inferstack.aws import catalogue as aws_catalogue
from inferstack.mig import catalogue


@dataclass(frozen=True)
class GpuGroup:
    """Nodes with GPUs of one kind."""

    key: str
    """Path of the key that describes them."""
    gpu: str
    """Name of the board."""
    labels: Mapping[str, str]
    """Labels that the stack gives them."""
    image: str | None = None
    """What they start from, by the name of EKS; None where the stack does not say."""


def gpu_groups(cluster: ClusterSettings) -> list[GpuGroup]:
    """Return the groups with GPUs; none where the nodes are somebody else's."""
    groups: list[GpuGroup] = []
    for name, group in cluster.fleet.items():
        if gpu_model := catalogue.instance_type(group.instance_type).gpu:
            groups.append(GpuGroup(f"{PROJECT}:cluster.fleet.{name}", gpu_model, group.labels))
    for name, nodes in cluster.aws.gpu.items():
        if gpu_model := aws_catalogue.instance_type(nodes.instance_types[0]).gpu:
            groups.append(GpuGroup(f"{PROJECT}:cluster.aws.gpu.{name}", gpu_model, nodes.labels, GPU_AMI))
    return groups
