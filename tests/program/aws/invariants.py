"""What must hold of everything that a stack registers on AWS: each function returns what breaks it, in words."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from inferstack.aws import catalogue
from tests.program.aws.invariants_of_data import (
    buckets_are_encrypted_and_versioned,
    buckets_want_tls,
    keys_are_for_the_account,
    keys_rotate,
    no_public_bucket,
    no_stranger_is_trusted,
    no_wildcard_action,
    only_looking_at_everything,
)

if TYPE_CHECKING:
    from tests.program.aws.conftest import Graph
    from tests.program.conftest import Registered

EVERYONE = ("0.0.0.0/0", "::/0")
UNTAGGED = (
    *("Alias", "AccessPolicyAssociation", "Route", "RouteTableAssociation", "RolePolicy", "RolePolicyAttachment"),
    *("BucketPublicAccessBlock", "BucketOwnershipControls", "BucketVersioning", "BucketPolicy"),
    *("BucketServerSideEncryptionConfiguration", "BucketLifecycleConfiguration", "PullThroughCacheRule"),
    "RepositoryCreationTemplate",
)
"""Kinds that AWS does not tag."""

Invariant = Callable[["Graph"], Iterator[str]]


def metadata_needs_a_session(graph: Graph) -> Iterator[str]:
    """Every launch template wants IMDSv2, and keeps pods away from it."""
    for template in graph.of("LaunchTemplate"):
        options = template.inputs.get("metadataOptions", {})
        if options.get("httpTokens") != "required" or options.get("httpEndpoint") != "enabled":
            yield f"{template.name}: IMDSv1 works"
        if not 1 <= options.get("httpPutResponseHopLimit", 64) <= 2:
            yield f"{template.name}: metadata travels {options.get('httpPutResponseHopLimit')} hops"


def volumes_are_encrypted(graph: Graph) -> Iterator[str]:
    """Every disk of every launch template is gp3, encrypted with our key, and goes with its node."""
    keys = {f"arn:aws:kms:us-test-1:123456789012:key/Key-{key.name}-id" for key in graph.of("Key")}
    for template in graph.of("LaunchTemplate"):
        if not template.inputs.get("blockDeviceMappings"):
            yield f"{template.name}: the image decides about disks"
        for mapping in template.inputs.get("blockDeviceMappings", []):
            ebs = mapping["ebs"]
            if ebs.get("encrypted") != "true" or ebs.get("kmsKeyId") not in keys:
                yield f"{template.name}: {mapping['deviceName']} is not encrypted with our key"
            if (ebs.get("volumeType"), ebs.get("deleteOnTermination")) != ("gp3", "true"):
                yield f"{template.name}: {mapping['deviceName']} is {ebs}"


def nodes_are_private(graph: Graph) -> Iterator[str]:
    """No node has a public address, and none has a way in: their subnets lead out by NAT gateways only."""
    subnets = {f"Subnet-{resource.name}-id": resource for resource in graph.of("Subnet")}
    tables = {
        resource.inputs["subnetId"]: resource.inputs["routeTableId"] for resource in graph.of("RouteTableAssociation")
    }
    used = {subnet for group in graph.of("NodeGroup") for subnet in group.inputs["subnetIds"]}
    used |= set(graph.resource("Cluster", "cluster").inputs["vpcConfig"]["subnetIds"])
    for subnet in used:
        if subnets[subnet].inputs.get("mapPublicIpOnLaunch"):
            yield f"{subnet}: gives public addresses"
        ways = [
            resource.inputs for resource in graph.of("Route") if resource.inputs["routeTableId"] == tables.get(subnet)
        ]
        if not ways or any("gatewayId" in way for way in ways):
            yield f"{subnet}: is open to the internet or has no way out"
    for template in graph.of("LaunchTemplate"):
        for interface in template.inputs.get("networkInterfaces", []):
            if interface.get("associatePublicIpAddress") == "true":
                yield f"{template.name}: gives public addresses"


def subnets_say_what_they_are_for(graph: Graph) -> Iterator[str]:
    """The load balancer controller finds public and private subnets by their tags, and whose they are."""
    cluster = f"kubernetes.io/cluster/{graph.resource('Cluster', 'cluster').inputs['name']}"
    for subnet in graph.of("Subnet"):
        tags = subnet.inputs["tags"]
        kinds = {key: tags.get(f"kubernetes.io/role/{key}") for key in ("elb", "internal-elb")}
        expected = (
            {"elb": None, "internal-elb": "1"}
            if subnet.name.startswith("nodes-")
            else {"elb": "1", "internal-elb": None}
        )
        if kinds != expected or tags.get(cluster) not in ("shared", "owned"):
            yield f"{subnet.name}: {tags}"


def zones_are_apart(graph: Graph) -> Iterator[str]:
    """Each zone has a node subnet and a public one; NAT gateways lie in public subnets, one a zone or one for all."""
    zones = Counter(resource.inputs["availabilityZone"] for resource in graph.of("Subnet"))
    if set(zones.values()) != {2} or len(zones) < 3:
        yield f"zones: {dict(zones)}"
    gateways = [resource.inputs["subnetId"] for resource in graph.of("NatGateway")]
    if len(gateways) not in (1, len(zones)) or len(set(gateways)) != len(gateways):
        yield f"NAT gateways lie in {gateways}"
    for subnet in gateways:
        if "public" not in subnet:
            yield f"a NAT gateway in {subnet} has no way out"


def aws_is_reached_from_inside(graph: Graph) -> Iterator[str]:
    """S3 by a gateway in every node subnet's table; the others by interfaces that answer to the usual names."""
    tables = {
        f"RouteTable-{resource.name}-id" for resource in graph.of("RouteTable") if resource.name.startswith("nodes-")
    }
    named = {
        resource.inputs["serviceName"].partition(".")[2].partition(".")[2].partition(".")[2]: resource
        for resource in graph.of("VpcEndpoint")
    }
    if "s3" not in named or not tables <= set(named["s3"].inputs.get("routeTableIds", [])):
        yield "S3 is not reached from every node subnet"
    for service in (
        "ecr.api",
        "ecr.dkr",
        "ec2",
        "sts",
        "eks",
        "eks-auth",
        "logs",
        "elasticloadbalancing",
        "autoscaling",
    ):
        inputs = named[service].inputs if service in named else {}
        if (inputs.get("vpcEndpointType"), inputs.get("privateDnsEnabled")) != ("Interface", True):
            yield f"{service} is reached over the internet"


def nobody_comes_in_from_everywhere(graph: Graph) -> Iterator[str]:
    """No ingress rule takes everyone, and the VPC's default group has no rule at all."""
    for rule in graph.of("SecurityGroupIngressRule"):
        if rule.inputs.get("cidrIpv4") in EVERYONE or rule.inputs.get("cidrIpv6") in EVERYONE:
            yield f"{rule.name}: takes everyone"
    for group in graph.of("SecurityGroup"):
        for rule in group.inputs.get("ingress", []):
            if set(EVERYONE) & {*rule.get("cidrBlocks", []), *rule.get("ipv6CidrBlocks", [])}:
                yield f"{group.name}: takes everyone"
    defaults = graph.of("DefaultSecurityGroup")
    if len(defaults) != len(graph.of("Vpc")) or any(
        resource.inputs.get("ingress") or resource.inputs.get("egress") for resource in defaults
    ):
        yield "the default security group has rules"


def efa_talks_to_itself(graph: Graph) -> Iterator[str]:
    """The EFA group takes all from and gives all to itself, and to nobody else."""
    group = "SecurityGroup-efa-id"
    for kind in ("SecurityGroupIngressRule", "SecurityGroupEgressRule"):
        rules = [resource.inputs for resource in graph.of(kind) if resource.inputs["securityGroupId"] == group]
        sources = [(rule.get("referencedSecurityGroupId"), rule["ipProtocol"], rule.get("cidrIpv4")) for rule in rules]
        if sources != [(group, "-1", None)]:
            yield f"{kind}: {sources}"


def interfaces_fit_the_machine(graph: Graph) -> Iterator[str]:
    """Card 0 has the ordinary interface as device 0; every card has one EFA-only interface, at the place AWS wants."""
    groups = {interface.inputs["launchTemplate"]["id"]: interface for interface in graph.of("NodeGroup")}
    for template in graph.of("LaunchTemplate"):
        interfaces = template.inputs.get("networkInterfaces", [])
        if not interfaces:
            continue
        group = groups[f"LaunchTemplate-{template.name}-id"]
        machine = catalogue.instance_type(
            (group.inputs.get("instanceTypes") or [template.inputs.get("instanceType")])[0]
        )
        places = {
            (interface["networkCardIndex"], interface["deviceIndex"]): interface["interfaceType"]
            for interface in interfaces
        }
        expected = {(0, 0): "interface", (0, 1): "efa-only"} | {(card, 0): "efa-only" for card in range(1, machine.efa)}
        if places != expected or len(places) != len(interfaces):
            yield f"{template.name}: {places}"
        for interface in interfaces:
            if "SecurityGroup-efa-id" not in interface["securityGroups"] or "subnetId" in interface:
                card = interface["networkCardIndex"]
                yield f"{template.name}: card {card} is not in the EFA group, or names a subnet"
        if "vpcSecurityGroupIds" in template.inputs:
            yield f"{template.name}: has security groups beside its interfaces, which EC2 refuses"


def nodes_are_in_the_clusters_group(graph: Graph) -> Iterator[str]:
    """The ordinary interface of every node is in EKS's own group, without which it never becomes a node."""
    for template in graph.of("LaunchTemplate"):
        first = next(
            (interface for interface in template.inputs.get("networkInterfaces", []) if interface["deviceIndex"] == 0),
            None,
        )
        groups = first["securityGroups"] if first else template.inputs.get("vpcSecurityGroupIds", [])
        if "sg-of-the-cluster" not in groups:
            yield f"{template.name}: is in {groups}"


def logs_are_kept_and_end(graph: Graph) -> Iterator[str]:
    """The control plane logs who did what, into a group of ours that is encrypted and forgets."""
    cluster = graph.resource("Cluster", "cluster")
    if not {"audit", "authenticator"} <= set(cluster.inputs.get("enabledClusterLogTypes", [])):
        yield "nobody writes down who did what"
    groups = [
        resource
        for resource in graph.of("LogGroup")
        if resource.inputs["name"] == f"/aws/eks/{cluster.inputs['name']}/cluster"
    ]
    if not groups or groups[0].urn not in cluster.dependencies:
        yield "EKS makes the log group by itself"
    for group in graph.of("LogGroup"):
        if not group.inputs.get("retentionInDays") or not group.inputs.get("kmsKeyId"):
            yield f"{group.name}: {group.inputs}"


def the_api_server_is_private(graph: Graph) -> Iterator[str]:
    """The API server has a private address; a public one only for networks that are named."""
    for cluster in graph.of("Cluster"):
        config = cluster.inputs["vpcConfig"]
        if config.get("endpointPrivateAccess") is not True:
            yield f"{cluster.name}: has no private address"
        networks = config.get("publicAccessCidrs", [])
        if config.get("endpointPublicAccess") is not False and (not networks or set(EVERYONE) & set(networks)):
            yield f"{cluster.name}: answers everyone"


def secrets_have_an_envelope(graph: Graph) -> Iterator[str]:
    """Kubernetes Secrets are encrypted with a key of ours."""
    for cluster in graph.of("Cluster"):
        config = cluster.inputs.get("encryptionConfig", {})
        if config.get("resources") != ["secrets"] or "Key-secrets-id" not in config.get("provider", {}).get(
            "keyArn", ""
        ):
            yield f"{cluster.name}: {config}"


def access_is_by_entries(graph: Graph) -> Iterator[str]:
    """Access entries only; whoever creates the cluster is nobody; somebody is its administrator."""
    for cluster in graph.of("Cluster"):
        config = cluster.inputs.get("accessConfig", {})
        if (
            config.get("authenticationMode") != "API"
            or config.get("bootstrapClusterCreatorAdminPermissions") is not False
        ):
            yield f"{cluster.name}: {config}"
    scopes = [
        resource.inputs["accessScope"]["type"]
        for resource in graph.of("AccessPolicyAssociation")
        if resource.inputs["policyArn"].endswith("/AmazonEKSClusterAdminPolicy")
    ]
    if "cluster" not in scopes:
        yield "nobody is administrator"
    entries = {resource.inputs["principalArn"] for resource in graph.of("AccessEntry")}
    if entries != {resource.inputs["principalArn"] for resource in graph.of("AccessPolicyAssociation")}:
        yield "an entry without a policy"


def everything_is_tagged(graph: Graph) -> Iterator[str]:
    """Everything that takes tags says whose it is and who pays; also what instances are made of, and cached images."""
    required = {"inferstack:stack": graph.stack}
    for resource in graph.all():
        kind = resource.type.rpartition(":")[2]
        tags = resource.inputs.get("resourceTags" if kind == "RepositoryCreationTemplate" else "tags", {})
        if kind not in UNTAGGED or kind == "RepositoryCreationTemplate":
            yield from _missing(resource, tags, required)
        if kind == "LaunchTemplate":
            kinds = {spec["resourceType"]: spec["tags"] for spec in resource.inputs.get("tagSpecifications", [])}
            for created in ("instance", "volume", "network-interface"):
                yield from _missing(resource, kinds.get(created, {}), required)
    # The engine sends a provider's nested inputs as JSON.
    defaults = json.loads(graph.provider().inputs.get("defaultTags", "{}")).get("tags", {})
    if defaults.get("inferstack:stack") != graph.stack:
        yield "the provider has no default tags"


def _missing(resource: Registered, tags: dict[str, str], required: dict[str, str]) -> Iterator[str]:
    needed = {"inferstack:component", "cost-center", "Name"}
    if not needed <= tags.keys() or any(tags.get(key) != value for key, value in required.items()):
        yield f"{resource.urn}: {tags}"


def only_our_account(graph: Graph) -> Iterator[str]:
    """The provider works in the stack's account and region only, and everything goes through it."""
    provider = graph.provider()
    if len(json.loads(provider.inputs.get("allowedAccountIds", "[]"))) != 1 or not provider.inputs.get("region"):
        yield "credentials of any account will do"
    for resource in graph.all():
        if not resource.provider.startswith(f"{provider.urn}::"):
            yield f"{resource.urn}: goes to {resource.provider or 'whatever the environment says'}"


def names_carry_the_stack(graph: Graph) -> Iterator[str]:
    """What AWS knows by a name has one of ours, so that a second run finds it and two stacks do not meet."""
    keys = {
        **dict.fromkeys(
            ("Role", "LaunchTemplate", "PlacementGroup", "SecurityGroup", "LogGroup", "Alias", "Cluster"), "name"
        ),
        "Bucket": "bucket",
        "PullThroughCacheRule": "ecrRepositoryPrefix",
        "RepositoryCreationTemplate": "prefix",
    }
    for resource in graph.all():
        kind = resource.type.rpartition(":")[2]
        if kind in keys and f"inferstack-{graph.stack}" not in resource.inputs.get(keys[kind], ""):
            yield f"{resource.urn}: is called {resource.inputs.get(keys[kind])}"


def gpu_nodes_are_for_gpu_pods(graph: Graph) -> Iterator[str]:
    """GPU nodes have the image with the driver, and a taint that keeps others away; system nodes have neither."""
    for group in graph.of("NodeGroup"):
        gpus = group.name != "system"
        taints = [(taint["key"], taint["effect"]) for taint in group.inputs.get("taints", [])]
        if group.inputs["amiType"] != ("AL2023_x86_64_NVIDIA" if gpus else "AL2023_x86_64_STANDARD"):
            yield f"{group.name}: {group.inputs['amiType']}"
        if taints != ([("nvidia.com/gpu", "NO_SCHEDULE")] if gpus else []):
            yield f"{group.name}: {taints}"


def reservations_are_used(graph: Graph) -> Iterator[str]:
    """What is reserved is in one zone, not spot; what is close together or has EFA is in one zone too."""
    groups = {resource.inputs["launchTemplate"]["id"]: resource for resource in graph.of("NodeGroup")}
    for template in graph.of("LaunchTemplate"):
        group = groups[f"LaunchTemplate-{template.name}-id"]
        reserved = "capacityReservationSpecification" in template.inputs
        if reserved and group.inputs["capacityType"] == "SPOT":
            yield f"{template.name}: spot nodes are never taken from a reservation"
        bound = reserved or "placement" in template.inputs or "networkInterfaces" in template.inputs
        if bound and len(group.inputs["subnetIds"]) != 1:
            yield f"{template.name}: lies in {group.inputs['subnetIds']}"


def a_template_and_its_group_agree(graph: Graph) -> Iterator[str]:
    """Instance types are in the group, for Capacity Blocks in the template, never in both; disks in the template."""
    groups = {resource.inputs["launchTemplate"]["id"]: resource for resource in graph.of("NodeGroup")}
    for template in graph.of("LaunchTemplate"):
        group = groups[f"LaunchTemplate-{template.name}-id"]
        block = group.inputs["capacityType"] == "CAPACITY_BLOCK"
        market = template.inputs.get("instanceMarketOptions", {}).get("marketType")
        if block != ("instanceType" in template.inputs) or block == ("instanceTypes" in group.inputs):
            yield f"{template.name}: types are in both or in neither"
        if block != (market == "capacity-block"):
            yield f"{template.name}: the market is {market}"
        if "diskSize" in group.inputs or "imageId" in template.inputs:
            yield f"{template.name}: what EKS decides is set"


def nodes_go_before_what_they_need(graph: Graph) -> Iterator[str]:
    """A destroy takes nodes before the CNI that owns their interfaces, before their rights and their ways out."""
    addons = {resource.inputs["addonName"]: resource.urn for resource in graph.of("Addon")}
    needed = {addons.get(name, name) for name in ("vpc-cni", "kube-proxy", "eks-pod-identity-agent")}
    needed |= {resource.urn for resource in graph.of("RolePolicyAttachment") if resource.name.startswith("node-")}
    needed |= {
        resource.urn
        for kind in ("VpcEndpoint", "NatGateway", "Route", "RouteTableAssociation")
        for resource in graph.of(kind)
    }
    needed |= {resource.urn for resource in graph.of("AccessPolicyAssociation")}
    for group in graph.of("NodeGroup"):
        for urn in sorted(needed - graph.recording.before(group)):
            yield f"{group.name}: may outlive {urn}"


def addons_with_pods_go_before_nodes(graph: Graph) -> Iterator[str]:
    """CoreDNS and the EBS driver need nodes to run on: they come after all groups, and go before."""
    addons = {resource.inputs["addonName"]: resource for resource in graph.of("Addon")}
    groups = {resource.urn for resource in graph.of("NodeGroup")}
    for name in ("coredns", "aws-ebs-csi-driver"):
        if name not in addons or not groups <= graph.recording.before(addons[name]):
            yield f"{name}: is not there, or waits for no node"


def roles_have_their_rights_first(graph: Graph) -> Iterator[str]:
    """Whoever takes a role comes after its policies: on the way down nobody is left without rights."""
    for cluster in graph.of("Cluster"):
        rights = {resource.urn for resource in graph.of("RolePolicyAttachment") if resource.name.startswith("cluster-")}
        if not rights or not rights <= graph.recording.before(cluster):
            yield f"{cluster.name}: its role loses its rights before it goes"
    for pods in graph.of("PodIdentityAssociation"):
        role = pods.inputs["roleArn"].rpartition("/")[2]
        rights = {resource.urn for resource in graph.of("RolePolicy") if resource.inputs["role"] == role}
        if not rights or not rights <= graph.recording.before(pods):
            yield f"{pods.name}: its role has no rights yet"


INVARIANTS: tuple[Invariant, ...] = (
    no_public_bucket,
    buckets_want_tls,
    buckets_are_encrypted_and_versioned,
    no_wildcard_action,
    only_looking_at_everything,
    no_stranger_is_trusted,
    keys_are_for_the_account,
    keys_rotate,
    metadata_needs_a_session,
    volumes_are_encrypted,
    nodes_are_private,
    subnets_say_what_they_are_for,
    zones_are_apart,
    aws_is_reached_from_inside,
    nobody_comes_in_from_everywhere,
    efa_talks_to_itself,
    interfaces_fit_the_machine,
    nodes_are_in_the_clusters_group,
    logs_are_kept_and_end,
    the_api_server_is_private,
    secrets_have_an_envelope,
    access_is_by_entries,
    everything_is_tagged,
    only_our_account,
    names_carry_the_stack,
    gpu_nodes_are_for_gpu_pods,
    reservations_are_used,
    a_template_and_its_group_agree,
    nodes_go_before_what_they_need,
    addons_with_pods_go_before_nodes,
    roles_have_their_rights_first,
)
