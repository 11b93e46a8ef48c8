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
    found: list[GpuGroup] = []
    for name, group in cluster.fleet.items():
        if board := catalogue.instance_type(group.instance_type).gpu:
            found.append(GpuGroup(f"{PROJECT}:cluster.fleet.{name}", board, group.labels))
    for name, nodes in cluster.aws.gpu.items():
        if board := aws_catalogue.instance_type(nodes.instance_types[0]).gpu:
            found.append(GpuGroup(f"{PROJECT}:cluster.aws.gpu.{name}", board, nodes.labels, GPU_AMI))
    return found
