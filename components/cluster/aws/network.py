"""The VPC: private subnets for nodes, public subnets for load balancers, NAT gateways and VPC endpoints."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pulumi
from pulumi_aws import ec2, vpc

from components.cluster.aws.build import Build
from components.cluster.aws.settings import Nat

EVERYWHERE = "0.0.0.0/0"


@dataclass(frozen=True)
class Network:
    """The parts of the VPC that the cluster and its nodes use."""

    vpc: ec2.Vpc
    nodes: dict[str, ec2.Subnet]
    """Private subnets, by zone."""
    efa_group: ec2.SecurityGroup
    ready: list[pulumi.Resource]
    """Dependencies of nodes, so that draining nodes still reach AWS and the internet."""


def make_network(build: Build) -> Network:
    """Register the VPC and its parts."""
    names, settings = build.names, build.settings.network
    main = ec2.Vpc(
        "vpc",
        cidr_block=settings.cidr,
        enable_dns_support=True,
        # Interface endpoints need DNS to answer to the services' usual names.
        enable_dns_hostnames=True,
        tags=names.tags("vpc"),
        opts=build.child,
    )
    # The default security group has no rules, so that nothing works by accident.
    ec2.DefaultSecurityGroup(
        "default", vpc_id=main.id, ingress=[], egress=[], tags=names.tags("default"), opts=build.child
    )
    gateway = ec2.InternetGateway("internet", vpc_id=main.id, tags=names.tags("internet"), opts=build.child)
    nodes = {
        zone.name: _subnet(build, main, zone.name, "nodes", zone.nodes, "kubernetes.io/role/internal-elb")
        for zone in settings.zones
    }
    public = {
        zone.name: _subnet(build, main, zone.name, "public", zone.public, "kubernetes.io/role/elb")
        for zone in settings.zones
    }
    ready = _routes(build, main, gateway, nodes, public)
    tables = [resource for resource in ready if isinstance(resource, ec2.RouteTable)]
    ready += _endpoints(build, main, nodes, tables)
    efa = _efa_group(build, main)
    return Network(main, nodes, efa, ready)


def _subnet(build: Build, main: ec2.Vpc, zone: str, kind: str, cidr: str, role_tag: str) -> ec2.Subnet:
    name = f"{kind}-{zone}"
    tags = {
        **build.names.tags(name),
        # The load balancer controller finds subnets by the first tag; the second names the cluster.
        role_tag: "1",
        f"kubernetes.io/cluster/{build.names.cluster}": "shared",
    }
    return ec2.Subnet(
        name,
        vpc_id=main.id,
        availability_zone=zone,
        cidr_block=cidr,
        # Load balancers and NAT gateways have their own public addresses.
        map_public_ip_on_launch=False,
        tags=tags,
        opts=build.child,
    )


def _routes(
    build: Build,
    main: ec2.Vpc,
    gateway: ec2.InternetGateway,
    nodes: dict[str, ec2.Subnet],
    public: dict[str, ec2.Subnet],
) -> list[pulumi.Resource]:
    """Register the routes: public subnets use the internet gateway, private subnets a NAT gateway."""
    names = build.names
    table = ec2.RouteTable("public", vpc_id=main.id, tags=names.tags("public"), opts=build.child)
    out = ec2.Route(
        "public-out",
        route_table_id=table.id,
        destination_cidr_block=EVERYWHERE,
        gateway_id=gateway.id,
        opts=build.child,
    )
    resources: list[pulumi.Resource] = [out]
    for zone, subnet in public.items():
        resources.append(
            ec2.RouteTableAssociation(f"public-{zone}", subnet_id=subnet.id, route_table_id=table.id, opts=build.child)
        )
    nats: dict[str, ec2.NatGateway] = {}
    with_nat = list(public)[:1] if build.settings.network.nat is Nat.SINGLE else list(public)
    for zone in with_nat:
        address = ec2.Eip(f"nat-{zone}", domain="vpc", tags=names.tags(f"nat-{zone}"), opts=build.after(gateway))
        nats[zone] = ec2.NatGateway(
            f"nat-{zone}",
            subnet_id=public[zone].id,
            allocation_id=address.id,
            connectivity_type="public",
            tags=names.tags(f"nat-{zone}"),
            opts=build.after(gateway, out),
        )
    for zone, subnet in nodes.items():
        name = f"nodes-{zone}"
        own = ec2.RouteTable(name, vpc_id=main.id, tags=names.tags(name), opts=build.child)
        route = ec2.Route(
            f"{name}-out",
            route_table_id=own.id,
            destination_cidr_block=EVERYWHERE,
            nat_gateway_id=nats.get(zone, nats[with_nat[0]]).id,
            opts=build.child,
        )
        bound = ec2.RouteTableAssociation(name, subnet_id=subnet.id, route_table_id=own.id, opts=build.child)
        resources += [own, route, bound]
    return resources


def _endpoints(
    build: Build, main: ec2.Vpc, nodes: dict[str, ec2.Subnet], tables: list[ec2.RouteTable]
) -> list[pulumi.Resource]:
    """Register the VPC endpoints: a gateway endpoint for S3, interface endpoints in each zone for the rest."""
    names = build.names
    prefix = ("cn." if names.partition == "aws-cn" else "") + f"com.amazonaws.{names.region}"
    group = ec2.SecurityGroup(
        "endpoints",
        name=f"{names.cluster}-endpoints",
        description="HTTPS from the VPC to interface endpoints",
        vpc_id=main.id,
        tags=names.tags("endpoints"),
        opts=build.child,
    )
    rule = vpc.SecurityGroupIngressRule(
        "endpoints-https",
        security_group_id=group.id,
        description="HTTPS from nodes and pods",
        cidr_ipv4=build.settings.network.cidr,
        ip_protocol="tcp",
        from_port=443,
        to_port=443,
        tags=names.tags("endpoints-https"),
        opts=build.child,
    )
    store = ec2.VpcEndpoint(
        "s3",
        vpc_id=main.id,
        service_name=f"{prefix}.s3",
        vpc_endpoint_type="Gateway",
        route_table_ids=[table.id for table in tables],
        tags=names.tags("s3"),
        opts=build.child,
    )
    interfaces = [
        ec2.VpcEndpoint(
            service.replace(".", "-"),
            vpc_id=main.id,
            service_name=f"{prefix}.{service}",
            vpc_endpoint_type="Interface",
            private_dns_enabled=True,
            subnet_ids=[subnet.id for subnet in nodes.values()],
            security_group_ids=[group.id],
            tags=names.tags(service.replace(".", "-")),
            opts=build.child,
        )
        for service in build.settings.network.endpoints
    ]
    return [rule, store, *interfaces]


def _efa_group(build: Build, main: ec2.Vpc) -> ec2.SecurityGroup:
    """Register the group of EFA interfaces: all traffic within the group, which EFA requires, and nothing else."""
    names = build.names
    group = ec2.SecurityGroup(
        "efa",
        name=f"{names.cluster}-efa",
        description="EFA: all traffic between its members",
        vpc_id=main.id,
        tags=names.tags("efa"),
        opts=build.child,
    )
    common: dict[str, Any] = {
        "security_group_id": group.id,
        "referenced_security_group_id": group.id,
        "ip_protocol": "-1",
    }
    vpc.SecurityGroupIngressRule(
        "efa-in", **common, description="EFA from the group", tags=names.tags("efa-in"), opts=build.child
    )
    vpc.SecurityGroupEgressRule(
        "efa-out", **common, description="EFA to the group", tags=names.tags("efa-out"), opts=build.child
    )
    return group
