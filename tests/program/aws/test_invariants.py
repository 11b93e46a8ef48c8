"""Each invariant holds of every stack, and a change that breaks it is seen by it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from tests.program.aws import invariants
from tests.program.aws.invariants import INVARIANTS, Invariant

if TYPE_CHECKING:
    from tests.program.aws.conftest import Graph
    from tests.program.conftest import Registered

Spoil = Callable[["Graph"], None]


def put(kind: str, name: str, path: str, value: Any) -> Spoil:
    """Return a change of one input, by its dotted path; numbers are places in a list."""

    def spoil(graph: Graph) -> None:
        *parts, last = path.split(".")
        at: Any = graph.resource(kind, name).inputs
        for part in parts:
            at = at[int(part)] if part.isdigit() else at[part]
        if isinstance(at, list):
            at[int(last)] = value
        else:
            at[last] = value

    return spoil


def take(kind: str, name: str, path: str) -> Spoil:
    """Return the loss of one input."""

    def spoil(graph: Graph) -> None:
        *parts, last = path.split(".")
        at: Any = graph.resource(kind, name).inputs
        for part in parts:
            at = at[int(part)] if part.isdigit() else at[part]
        del at[last]

    return spoil


def untag(kind: str, name: str, tag: str) -> Spoil:
    """Return the loss of a tag."""

    def spoil(graph: Graph) -> None:
        del graph.resource(kind, name).inputs["tags"][tag]

    return spoil


def lose(kind: str, name: str) -> Spoil:
    """Return the loss of a resource."""

    def spoil(graph: Graph) -> None:
        del graph.recording.resources[graph.resource(kind, name).urn]

    return spoil


def forget(kind: str, name: str, *lost: str) -> Spoil:
    """Return the loss of those dependencies of a resource whose URN has one of ``lost`` in it."""

    def spoil(graph: Graph) -> None:
        resource = graph.resource(kind, name)
        kept = frozenset(urn for urn in resource.dependencies if not any(part in urn for part in lost))
        assert kept != resource.dependencies
        graph.recording.resources[resource.urn] = dataclasses.replace(resource, dependencies=kept)

    return spoil


def policy(kind: str, name: str, change: Callable[[list[dict[str, Any]]], None], key: str = "policy") -> Spoil:
    """Return a change of the statements of a policy."""

    def spoil(graph: Graph) -> None:
        inputs = graph.resource(kind, name).inputs
        document = json.loads(inputs[key])
        change(document["Statement"])
        inputs[key] = json.dumps(document)

    return spoil


def trust(change: Callable[[list[dict[str, Any]]], None], name: str = "models") -> Spoil:
    """Return a change of who may take a role."""
    return policy("Role", name, change, "assumeRolePolicy")


def provider(key: str, value: str) -> Spoil:
    """Return a change of the AWS provider."""

    def spoil(graph: Graph) -> None:
        graph.provider().inputs[key] = value

    return spoil


def elsewhere(graph: Graph) -> None:
    """Register a resource with the default provider."""
    resource = graph.resource("Vpc", "vpc")
    graph.recording.resources[resource.urn] = dataclasses.replace(resource, provider="")


def second_account(statements: list[dict[str, Any]]) -> None:
    """Trust another account."""
    statements.append(
        {"Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::999999999999:root"}, "Action": "sts:AssumeRole"}
    )


def block_without_market(graph: Graph) -> None:
    """Buy a Capacity Block as if it were on demand."""
    graph.resource("NodeGroup", "h100").inputs["capacityType"] = "CAPACITY_BLOCK"


SPOILT: dict[str, dict[str, Spoil]] = {
    "no_public_bucket": {
        "public policies": put("BucketPublicAccessBlock", "models", "blockPublicPolicy", False),
        "no block": lose("BucketPublicAccessBlock", "models"),
        "an ACL": put("Bucket", "models", "acl", "public-read"),
        "ACLs of others": put("BucketOwnershipControls", "models", "rule.objectOwnership", "ObjectWriter"),
    },
    "buckets_want_tls": {
        "no policy": lose("BucketPolicy", "models"),
        "not on objects": policy("BucketPolicy", "models", lambda s: s[0].update(Resource=s[0]["Resource"][:1])),
        "only allows": policy("BucketPolicy", "models", lambda s: s[0].update(Effect="Allow")),
    },
    "buckets_are_encrypted_and_versioned": {
        "AES": put(
            "BucketServerSideEncryptionConfiguration",
            "models",
            "rules.0.applyServerSideEncryptionByDefault.sseAlgorithm",
            "AES256",
        ),
        "no versions": put("BucketVersioning", "models", "versioningConfiguration.status", "Suspended"),
        "for ever": put("BucketLifecycleConfiguration", "models", "rules.0.status", "Disabled"),
    },
    "no_wildcard_action": {
        "all": policy("RolePolicy", "models", lambda s: s[0].update(Action="*")),
        "a service": policy("RolePolicy", "models", lambda s: s[0].update(Action=["s3:*"])),
        "a key": policy("Key", "disks", lambda s: s[0].update(Action=["kms:*"])),
    },
    "only_looking_at_everything": {
        "stops anybody's nodes": policy("RolePolicy", "autoscaler", lambda s: s[1].update(Resource="*", Condition={})),
    },
    "no_stranger_is_trusted": {
        "another account": trust(second_account),
        "any pod": trust(lambda s: s[0]["Condition"]["StringEquals"].pop("aws:RequestTag/eks-cluster-arn")),
        "any namespace": trust(
            lambda s: s[0]["Condition"]["StringEquals"].pop("aws:RequestTag/kubernetes-namespace"), "balancers"
        ),
        "any token": trust(lambda s: s[-1]["Condition"].update(StringEquals={})),
    },
    "keys_are_for_the_account": {
        "anybody": policy("Key", "disks", lambda s: s[1].pop("Condition")),
        "any log": policy("Key", "logs", lambda s: s[1].pop("Condition")),
    },
    "keys_rotate": {"not": put("Key", "models", "enableKeyRotation", False)},
    "metadata_needs_a_session": {
        "version 1": put("LaunchTemplate", "h100", "metadataOptions.httpTokens", "optional"),
        "far": put("LaunchTemplate", "system", "metadataOptions.httpPutResponseHopLimit", 3),
        "the default": take("LaunchTemplate", "a100-mig", "metadataOptions"),
    },
    "volumes_are_encrypted": {
        "not": put("LaunchTemplate", "h100", "blockDeviceMappings.0.ebs.encrypted", "false"),
        "AWS's key": take("LaunchTemplate", "h100", "blockDeviceMappings.0.ebs.kmsKeyId"),
        "old": put("LaunchTemplate", "system", "blockDeviceMappings.0.ebs.volumeType", "gp2"),
        "the image's": take("LaunchTemplate", "system", "blockDeviceMappings"),
    },
    "nodes_are_private": {
        "addresses": put("Subnet", "nodes-us-east-2b", "mapPublicIpOnLaunch", True),
        "public subnets": put("NodeGroup", "system", "subnetIds", ["Subnet-public-us-east-2a-id"]),
        "a way in": put("Route", "nodes-us-east-2b-out", "gatewayId", "igw"),
        "addresses of a template": put(
            "LaunchTemplate", "h100", "networkInterfaces.0.associatePublicIpAddress", "true"
        ),
    },
    "subnets_say_what_they_are_for": {
        "no role": untag("Subnet", "nodes-us-east-2a", "kubernetes.io/role/internal-elb"),
        "both": put("Subnet", "public-us-east-2a", "tags", {"kubernetes.io/role/internal-elb": "1"}),
    },
    "zones_are_apart": {
        "two NATs in one": put("NatGateway", "nat-us-east-2a", "subnetId", "Subnet-public-us-east-2b-id"),
        "two zones": put("Subnet", "nodes-us-east-2a", "availabilityZone", "us-east-2b"),
        "inside": put("NatGateway", "nat-us-east-2a", "subnetId", "Subnet-nodes-us-east-2a-id"),
    },
    "aws_is_reached_from_inside": {
        "no ECR": lose("VpcEndpoint", "ecr-dkr"),
        "other names": put("VpcEndpoint", "sts", "privateDnsEnabled", False),
        "a table without S3": put("VpcEndpoint", "s3", "routeTableIds", []),
    },
    "nobody_comes_in_from_everywhere": {
        "a rule": put("SecurityGroupIngressRule", "endpoints-https", "cidrIpv4", "0.0.0.0/0"),
        "a rule of IPv6": put("SecurityGroupIngressRule", "api-0", "cidrIpv6", "::/0"),
        "inside a group": put("SecurityGroup", "efa", "ingress", [{"cidrBlocks": ["0.0.0.0/0"]}]),
        "the default group": put("DefaultSecurityGroup", "default", "ingress", [{"self": True}]),
    },
    "efa_talks_to_itself": {
        "no way in": lose("SecurityGroupIngressRule", "efa-in"),
        "to others": put("SecurityGroupEgressRule", "efa-out", "cidrIpv4", "10.0.0.0/8"),
        "TCP only": put("SecurityGroupIngressRule", "efa-in", "ipProtocol", "tcp"),
    },
    "interfaces_fit_the_machine": {
        "EFA as primary": put("LaunchTemplate", "h100", "networkInterfaces.0.interfaceType", "efa-only"),
        "a card twice": put("LaunchTemplate", "h100", "networkInterfaces.2.networkCardIndex", 5),
        "device 1": put("LaunchTemplate", "h100", "networkInterfaces.2.deviceIndex", 1),
        "no group": put("LaunchTemplate", "h100", "networkInterfaces.3.securityGroups", ["other"]),
        "too few": put("NodeGroup", "h100", "instanceTypes", ["p5en.48xlarge"]),
        "a subnet": put("LaunchTemplate", "h100", "networkInterfaces.0.subnetId", "s"),
    },
    "nodes_are_in_the_clusters_group": {
        "none": take("LaunchTemplate", "system", "vpcSecurityGroupIds"),
        "EFA's only": put("LaunchTemplate", "h100", "networkInterfaces.0.securityGroups", ["SecurityGroup-efa-id"]),
    },
    "logs_are_kept_and_end": {
        "for ever": take("LogGroup", "control-plane", "retentionInDays"),
        "open": take("LogGroup", "control-plane", "kmsKeyId"),
        "no audit": put("Cluster", "cluster", "enabledClusterLogTypes", ["api"]),
        "too late": forget("Cluster", "cluster", "LogGroup"),
        "another name": put("LogGroup", "control-plane", "name", "/logs"),
    },
    "the_api_server_is_private": {
        "not": put("Cluster", "cluster", "vpcConfig.endpointPrivateAccess", False),
        "everyone": put("Cluster", "cluster", "vpcConfig.endpointPublicAccess", True),
        "the default": take("Cluster", "cluster", "vpcConfig.endpointPublicAccess"),
    },
    "secrets_have_an_envelope": {
        "none": take("Cluster", "cluster", "encryptionConfig"),
        "another key": put("Cluster", "cluster", "encryptionConfig.provider.keyArn", "arn:other"),
    },
    "access_is_by_entries": {
        "a ConfigMap": put("Cluster", "cluster", "accessConfig.authenticationMode", "API_AND_CONFIG_MAP"),
        "the creator": take("Cluster", "cluster", "accessConfig.bootstrapClusterCreatorAdminPermissions"),
        "no administrator": lose("AccessPolicyAssociation", "pulumi"),
        "a right for nothing": lose("AccessPolicyAssociation", "on-call"),
    },
    "everything_is_tagged": {
        "a VPC": take("Vpc", "vpc", "tags"),
        "a role": put("Role", "node", "tags", {"Name": "x"}),
        "another stack's": put("Key", "logs", "tags.inferstack:stack", "dev"),
        "disks": put("LaunchTemplate", "h100", "tagSpecifications.1.resourceType", "elastic-gpu"),
        "cached images": take("RepositoryCreationTemplate", "cache", "resourceTags"),
        "the provider": provider("defaultTags", "{}"),
    },
    "only_our_account": {"any account": provider("allowedAccountIds", "[]"), "the environment's": elsewhere},
    "names_carry_the_stack": {
        "a random one": take("LaunchTemplate", "h100", "name"),
        "the bucket": put("Bucket", "models", "bucket", "models"),
        "the cache": put("PullThroughCacheRule", "k8s", "ecrRepositoryPrefix", "k8s"),
    },
    "gpu_nodes_are_for_gpu_pods": {
        "no taint": take("NodeGroup", "h100", "taints"),
        "no driver": put("NodeGroup", "h100", "amiType", "AL2023_x86_64_STANDARD"),
        "a taint for CoreDNS": put("NodeGroup", "system", "taints", [{"key": "a", "effect": "NO_SCHEDULE"}]),
    },
    "reservations_are_used": {
        "spot": put("NodeGroup", "h100", "capacityType", "SPOT"),
        "two zones": put("NodeGroup", "h100", "subnetIds", ["a", "b"]),
    },
    "a_template_and_its_group_agree": {
        "types twice": put("LaunchTemplate", "h100", "instanceType", "p5.48xlarge"),
        "no types": take("NodeGroup", "h100", "instanceTypes"),
        "a block on demand": block_without_market,
        "a disk of the group": put("NodeGroup", "h100", "diskSize", 20),
        "an image": put("LaunchTemplate", "h100", "imageId", "ami-1"),
    },
    "nodes_go_before_what_they_need": {
        "the CNI": forget("NodeGroup", "h100", "vpc-cni"),
        "a way out": forget("NodeGroup", "system", "nodes-us-east-2a-out"),
        "an endpoint": forget("NodeGroup", "a100-mig", "::sts"),
        "rights": forget("NodeGroup", "h100", "AmazonEKS_CNI_Policy"),
    },
    "addons_with_pods_go_before_nodes": {
        "too early": forget("Addon", "coredns", "NodeGroup"),
        "no disks": lose("Addon", "aws-ebs-csi-driver"),
    },
    "roles_have_their_rights_first": {
        "the cluster": forget("Cluster", "cluster", "AmazonEKSClusterPolicy"),
        "pods": forget("PodIdentityAssociation", "autoscaler", "RolePolicy"),
    },
}


@pytest.mark.parametrize("invariant", INVARIANTS, ids=lambda function: function.__name__)
def test_invariant_holds_for_every_stack(invariant: Invariant, graph: Graph) -> None:
    assert list(invariant(graph)) == []


CASES = [(name, how) for name, changes in SPOILT.items() for how in changes]


@pytest.mark.parametrize(("name", "how"), CASES, ids=[f"{name}: {how}" for name, how in CASES])
def test_change_that_breaks_invariant_is_detected(name: str, how: str, prod: Graph) -> None:
    invariant: Invariant = getattr(invariants, name)
    spoilt = prod.copied()
    SPOILT[name][how](spoilt)
    assert list(invariant(spoilt)) != []


def test_each_invariant_is_proven_by_a_change() -> None:
    assert set(SPOILT) == {invariant.__name__ for invariant in INVARIANTS}


def test_spoiling_a_copy_leaves_the_graph(prod: Graph) -> None:
    spoilt = prod.copied()
    put("Key", "models", "enableKeyRotation", False)(spoilt)
    assert prod.resource("Key", "models").inputs["enableKeyRotation"] is True


def _names(result: list[Registered]) -> set[str]:
    return {resource.name for resource in result}


def test_the_groups_of_each_stack(graphs: dict[str, Graph]) -> None:
    assert _names(graphs["dev"].of("NodeGroup")) == {"system", "l40s"}
    assert _names(graphs["staging"].of("NodeGroup")) == {"system", "a100", "a100-mig"}
    assert _names(graphs["prod"].of("NodeGroup")) == {"system", "h100", "a100-mig"}
