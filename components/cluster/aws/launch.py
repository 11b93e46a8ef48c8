"""Inputs of launch templates and node groups. Pure."""

from __future__ import annotations

import base64
from typing import Any

import yaml

from components.cluster.aws.names import Names
from components.cluster.aws.settings import Capacity, GpuNodes
from inferstack.apimachinery.labels import NODE_GROUP
from inferstack.aws.catalogue import InstanceType
from inferstack.mig.gpu_operator import MIG_CONFIG
from inferstack.mig.resources import GPU_RESOURCE

Inputs = dict[str, Any]

GPU_AMI = "AL2023_x86_64_NVIDIA"
"""The EKS AMI with NVIDIA driver and container toolkit; the GPU operator must not install them."""
SYSTEM_AMI = "AL2023_x86_64_STANDARD"
_BOUNDARY = "INFERSTACK"


def make_launch_template(
    names: Names,
    group: str,
    *,
    disk_gib: int,
    disk_key: Any,
    security_groups: list[Any],
    user_data: str | None = None,
    interfaces: list[Inputs] | None = None,
    placement_group: Any = None,
    reservation: str | None = None,
    block_of: str | None = None,
) -> Inputs:
    """Return the inputs of a launch template.

    Args:
        names: the stack's resource names.
        group: name of the node group.
        disk_gib: size of the root disk.
        disk_key: ARN of the KMS key of the root disk.
        security_groups: security groups of the single interface; unused with ``interfaces``.
        user_data: user data in base64.
        interfaces: the ordinary and the EFA interfaces.
        placement_group: name of the placement group.
        reservation: capacity reservation of the instances.
        block_of: instance type, if ``reservation`` is a Capacity Block.
    """
    tags = names.tags(f"node-{group}")
    inputs: Inputs = {
        "name": f"{names.cluster}-{group}",
        "description": f"Nodes of the group {group} of {names.cluster}",
        "update_default_version": True,
        "block_device_mappings": [
            {
                "device_name": "/dev/xvda",
                "ebs": {
                    "volume_type": "gp3",
                    "volume_size": disk_gib,
                    "encrypted": "true",
                    "kms_key_id": disk_key,
                    "delete_on_termination": "true",
                },
            }
        ],
        # One hop: pods use Pod Identity and cannot assume the node's role unless they use the host network.
        "metadata_options": {
            "http_endpoint": "enabled",
            "http_tokens": "required",
            "http_put_response_hop_limit": 1,
            "instance_metadata_tags": "disabled",
        },
        "monitoring": {"enabled": True},
        # The provider's default tags do not apply to the volumes and interfaces of instances.
        "tag_specifications": [
            {"resource_type": kind, "tags": tags} for kind in ("instance", "volume", "network-interface")
        ],
        "tags": names.tags(f"template-{group}"),
    }
    if interfaces:
        inputs["network_interfaces"] = interfaces
    else:
        inputs["vpc_security_group_ids"] = security_groups
    if user_data:
        inputs["user_data"] = user_data
    if placement_group is not None:
        inputs["placement"] = {"group_name": placement_group}
    if reservation:
        inputs["capacity_reservation_specification"] = {
            "capacity_reservation_target": {"capacity_reservation_id": reservation}
        }
    if block_of:
        # EKS user guide, "managed node group with Capacity Blocks": market and type belong here, not in the group.
        inputs["instance_market_options"] = {"market_type": "capacity-block"}
        inputs["instance_type"] = block_of
    return inputs


def make_interfaces(machine: InstanceType, *, node_groups: list[Any], efa_groups: list[Any]) -> list[Inputs]:
    """Return the network interfaces of an instance, including all EFA interfaces.

    Card 0 has the ordinary interface (ENA) as device 0 and an EFA-only interface as device 1; every other card has an
    EFA-only interface as device 0. EFA-only interfaces use no address of the subnet. EC2 user guide,
    "Maximize network bandwidth on instances with multiple network cards".

    Args:
        machine: an instance type with EFA.
        node_groups: security groups of the ordinary interface.
        efa_groups: security groups of the EFA interfaces.
    """
    common: Inputs = {"delete_on_termination": "true"}
    # No subnet: EKS rejects one in a template. The node subnets assign no public addresses.
    ordinary = {
        **common,
        "network_card_index": 0,
        "device_index": 0,
        "interface_type": "interface",
        "security_groups": node_groups,
    }
    fast = [
        {
            **common,
            "network_card_index": card,
            "device_index": 1 if card == 0 else 0,
            "interface_type": "efa-only",
            "security_groups": efa_groups,
        }
        for card in range(machine.efa)
    ]
    return [ordinary, *fast]


def make_user_data(*, local_store: bool) -> str | None:
    """Return the user data (base64) that EKS merges with its own, or None if there is none.

    ``RAID0`` mounts all instance-store disks as one at /mnt/k8s-disks/0 for the kubelet and containerd.
    amazon-eks-ami, nodeadm API, ``spec.instance.localStorage``.
    """
    if not local_store:
        return None
    config = {
        "apiVersion": "node.eks.aws/v1alpha1",
        "kind": "NodeConfig",
        "spec": {"instance": {"localStorage": {"strategy": "RAID0"}}},
    }
    parts = [
        "MIME-Version: 1.0",
        f'Content-Type: multipart/mixed; boundary="{_BOUNDARY}"',
        "",
        f"--{_BOUNDARY}",
        "Content-Type: application/node.eks.aws",
        "",
        yaml.safe_dump(config, sort_keys=False).rstrip(),
        f"--{_BOUNDARY}--",
        "",
    ]
    return base64.b64encode("\n".join(parts).encode()).decode()


def make_node_group(names: Names, group: str, *, ami: str, minimum: int, desired: int, maximum: int) -> Inputs:
    """Return the inputs that system and GPU node groups share."""
    return {
        "cluster_name": names.cluster,
        "node_group_name": group,
        "ami_type": ami,
        "scaling_config": {"min_size": minimum, "desired_size": desired, "max_size": maximum},
        # EKS replaces nodes whose kubelet fails; with the agent of the GPU AMI, also nodes with failed GPUs.
        "node_repair_config": {"enabled": True},
        "tags": names.tags(f"node-{group}"),
    }


def make_gpu_group(names: Names, group: str, nodes: GpuNodes) -> Inputs:
    """Return the inputs of a GPU node group, except outputs of other resources."""
    labels = {NODE_GROUP: group, **nodes.labels}
    if nodes.mig_layout:
        labels[MIG_CONFIG] = nodes.mig_layout
    inputs = {
        **make_node_group(
            names, group, ami=GPU_AMI, minimum=nodes.min_nodes, desired=nodes.desired_nodes, maximum=nodes.max_nodes
        ),
        "capacity_type": nodes.capacity.value,
        "labels": labels,
        # Keeps other pods away; the GPU operator's pods and InferenceJobs tolerate the taint.
        "taints": [{"key": GPU_RESOURCE, "value": "present", "effect": "NO_SCHEDULE"}],
        "update_config": {"max_unavailable": nodes.max_unavailable},
    }
    if nodes.reservation:
        # A fully used reservation has no room for a new node until an old one is terminated.
        inputs["update_config"]["update_strategy"] = "MINIMAL"
    if nodes.capacity is not Capacity.CAPACITY_BLOCK:
        inputs["instance_types"] = list(nodes.instance_types)
    return inputs
