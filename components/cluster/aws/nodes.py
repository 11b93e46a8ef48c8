"""Managed node groups, each with a launch template and optionally a placement group."""

from __future__ import annotations

import pulumi
from pulumi_aws import ec2, eks

from components.cluster.aws import launch
from components.cluster.aws.build import Build
from components.cluster.aws.control_plane import ControlPlane
from components.cluster.aws.keys import Keys
from components.cluster.aws.network import Network
from components.cluster.aws.roles import Role
from components.cluster.aws.settings import Capacity, GpuNodes
from inferstack.apimachinery.labels import NODE_GROUP
from inferstack.aws import catalogue

SYSTEM = "system"


def make_node_groups(
    build: Build, plane: ControlPlane, network: Network, keys: Keys, role: Role, before: list[pulumi.Resource]
) -> list[pulumi.Resource]:
    """Register all node groups; ``before`` are resources that nodes need to start and to drain."""
    opts = build.after(role.ready, network.ready, plane.access, before)
    groups = [_system(build, plane, network, keys, role, opts)]
    groups += [_gpu(build, name, nodes, plane, network, keys, role, opts) for name, nodes in build.settings.gpu.items()]
    return list(groups)


def _system(
    build: Build, plane: ControlPlane, network: Network, keys: Keys, role: Role, opts: pulumi.ResourceOptions
) -> eks.NodeGroup:
    names, settings = build.names, build.settings.system
    template = launch.make_launch_template(
        names,
        SYSTEM,
        disk_gib=settings.disk_gib,
        disk_key=keys.disks.arn,
        security_groups=[plane.security_group],
    )
    inputs = launch.make_node_group(
        names,
        SYSTEM,
        ami=launch.SYSTEM_AMI,
        minimum=settings.min_nodes,
        desired=settings.min_nodes,
        maximum=settings.max_nodes,
    )
    inputs |= {
        "capacity_type": Capacity.ON_DEMAND.value,
        "instance_types": list(settings.instance_types),
        "labels": {NODE_GROUP: SYSTEM},
        "update_config": {"max_unavailable": 1},
    }
    return _group(build, SYSTEM, template, inputs, list(network.nodes.values()), plane, role, opts)


def _gpu(
    build: Build,
    name: str,
    nodes: GpuNodes,
    plane: ControlPlane,
    network: Network,
    keys: Keys,
    role: Role,
    opts: pulumi.ResourceOptions,
) -> eks.NodeGroup:
    names = build.names
    machine = catalogue.instance_type(nodes.instance_types[0])
    interfaces = placement = None
    if nodes.efa:
        interfaces = launch.make_interfaces(
            machine,
            node_groups=[plane.security_group, network.efa_group.id],
            efa_groups=[network.efa_group.id],
        )
    if nodes.placement_group:
        placement = ec2.PlacementGroup(
            name,
            name=f"{names.cluster}-{name}",
            strategy="cluster",
            tags=names.tags(f"placement-{name}"),
            opts=build.child,
        )
    template = launch.make_launch_template(
        names,
        name,
        disk_gib=nodes.disk_gib,
        disk_key=keys.disks.arn,
        security_groups=[plane.security_group],
        user_data=launch.make_user_data(local_store=nodes.local_store),
        interfaces=interfaces,
        placement_group=placement.name if placement else None,
        reservation=nodes.reservation,
        block_of=machine.name if nodes.capacity is Capacity.CAPACITY_BLOCK else None,
    )
    subnets = [network.nodes[zone] for zone in nodes.zone_names or network.nodes]
    return _group(build, name, template, launch.make_gpu_group(names, name, nodes), subnets, plane, role, opts)


def _group(
    build: Build,
    name: str,
    template: launch.Inputs,
    inputs: launch.Inputs,
    subnets: list[ec2.Subnet],
    plane: ControlPlane,
    role: Role,
    opts: pulumi.ResourceOptions,
) -> eks.NodeGroup:
    launch_template = ec2.LaunchTemplate(name, **template, opts=build.child)
    # The cluster autoscaler owns the size after creation.
    scaled = pulumi.ResourceOptions(ignore_changes=["scalingConfig.desiredSize"])
    return eks.NodeGroup(
        name,
        **{**inputs, "cluster_name": plane.cluster.name},
        launch_template=eks.NodeGroupLaunchTemplateArgs(
            id=launch_template.id, version=launch_template.latest_version.apply(str)
        ),
        node_role_arn=role.role.arn,
        subnet_ids=[subnet.id for subnet in subnets],
        opts=pulumi.ResourceOptions.merge(opts, scaled),
    )
