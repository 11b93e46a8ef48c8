"""GPU node groups of a stack, simulated or on EKS."""

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
    """Nodes with the same GPU model."""

    key: str
    """Key path of the group."""
    gpu: str
    """GPU model."""
    labels: Mapping[str, str]
    """Labels of the nodes."""
    image: str | None = None
    """AMI type of EKS; None if unknown."""


def gpu_groups(cluster: ClusterSettings) -> list[GpuGroup]:
    """Return the groups with GPUs; empty for an existing cluster."""
    groups: list[GpuGroup] = []
    for name, group in cluster.fleet.items():
        if gpu_model := catalogue.instance_type(group.instance_type).gpu:
            groups.append(GpuGroup(f"{PROJECT}:cluster.fleet.{name}", gpu_model, group.labels))
    for name, nodes in cluster.aws.gpu.items():
        if gpu_model := aws_catalogue.instance_type(nodes.instance_types[0]).gpu:
            groups.append(GpuGroup(f"{PROJECT}:cluster.aws.gpu.{name}", gpu_model, nodes.labels, GPU_AMI))
    return groups
