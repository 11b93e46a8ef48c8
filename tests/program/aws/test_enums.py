"""Words that AWS has a list of are on it: botocore carries the lists of each service."""

from __future__ import annotations

import functools
import typing
from typing import TYPE_CHECKING, Any

import botocore.session
import pytest

from components.cluster.aws import settings
from inferstack.aws import catalogue

if TYPE_CHECKING:
    from tests.program.aws.conftest import Graph

# Kind, input (a star stands for every place of a list), service and the shape that lists the words.
WORDS = [
    ("NodeGroup", "amiType", "eks", "AMITypes"),
    ("NodeGroup", "capacityType", "eks", "CapacityTypes"),
    ("NodeGroup", "taints.*.effect", "eks", "TaintEffect"),
    ("NodeGroup", "updateConfig.updateStrategy", "eks", "NodegroupUpdateStrategies"),
    ("NodeGroup", "instanceTypes.*", "ec2", "InstanceType"),
    ("LaunchTemplate", "instanceType", "ec2", "InstanceType"),
    ("LaunchTemplate", "metadataOptions.httpTokens", "ec2", "LaunchTemplateHttpTokensState"),
    ("LaunchTemplate", "metadataOptions.httpEndpoint", "ec2", "LaunchTemplateInstanceMetadataEndpointState"),
    ("LaunchTemplate", "metadataOptions.instanceMetadataTags", "ec2", "LaunchTemplateInstanceMetadataTagsState"),
    ("LaunchTemplate", "blockDeviceMappings.*.ebs.volumeType", "ec2", "VolumeType"),
    ("LaunchTemplate", "tagSpecifications.*.resourceType", "ec2", "ResourceType"),
    ("LaunchTemplate", "instanceMarketOptions.marketType", "ec2", "MarketType"),
    ("PlacementGroup", "strategy", "ec2", "PlacementStrategy"),
    ("VpcEndpoint", "vpcEndpointType", "ec2", "VpcEndpointType"),
    ("NatGateway", "connectivityType", "ec2", "ConnectivityType"),
    ("Eip", "domain", "ec2", "DomainType"),
    ("Cluster", "enabledClusterLogTypes.*", "eks", "LogType"),
    ("Cluster", "accessConfig.authenticationMode", "eks", "AuthenticationMode"),
    ("Cluster", "upgradePolicy.supportType", "eks", "SupportType"),
    ("Cluster", "kubernetesNetworkConfig.ipFamily", "eks", "IpFamily"),
    ("AccessPolicyAssociation", "accessScope.type", "eks", "AccessScopeType"),
    ("Addon", "resolveConflictsOnCreate", "eks", "ResolveConflicts"),
    ("Addon", "resolveConflictsOnUpdate", "eks", "ResolveConflicts"),
    ("BucketOwnershipControls", "rule.objectOwnership", "s3", "ObjectOwnership"),
    ("BucketVersioning", "versioningConfiguration.status", "s3", "BucketVersioningStatus"),
    (
        "BucketServerSideEncryptionConfiguration",
        "rules.*.applyServerSideEncryptionByDefault.sseAlgorithm",
        "s3",
        "ServerSideEncryption",
    ),
    ("RepositoryCreationTemplate", "appliedFors.*", "ecr", "RCTAppliedFor"),
    ("RepositoryCreationTemplate", "imageTagMutability", "ecr", "ImageTagMutability"),
]


@functools.cache
def words(service: str, shape: str) -> frozenset[str]:
    """Return the words of a shape."""
    return frozenset(botocore.session.get_session().get_service_model(service).shape_for(shape).metadata["enum"])


def at(value: Any, path: list[str]) -> list[Any]:
    """Return all values at a path."""
    if not path:
        return [value]
    head, *rest = path
    if head == "*":
        return [result for item in value for result in at(item, rest)]
    return at(value[head], rest) if head in value else []


@pytest.mark.parametrize(
    ("kind", "path", "service", "shape"), WORDS, ids=[f"{kind}.{path}" for kind, path, *_ in WORDS]
)
def test_enum_values_are_known_to_aws(kind: str, path: str, service: str, shape: str, graphs: dict[str, Graph]) -> None:
    result = {
        word
        for graph in graphs.values()
        for resource in graph.of(kind)
        for word in at(resource.inputs, path.split("."))
    }
    assert result <= words(service, shape)
    # Only Capacity Blocks have these, and no stack of ours buys one.
    assert result or path in ("instanceType", "instanceMarketOptions.marketType")


def test_interfaces_are_of_types_that_ec2_has(prod: Graph) -> None:
    # EC2 says so of interfaces in general: a launch template's own field is a plain string.
    result = {
        word
        for resource in prod.of("LaunchTemplate")
        for word in at(resource.inputs, ["networkInterfaces", "*", "interfaceType"])
    }
    assert result == {"interface", "efa-only"}
    assert result <= words("ec2", "NetworkInterfaceType")


def test_choices_of_settings_are_offered_by_aws() -> None:
    assert {member.value for member in settings.Capacity} == words("eks", "CapacityTypes")
    assert set(typing.get_args(settings.LogType)) == words("eks", "LogType")
    assert {"STANDARD", "EXTENDED"} == words("eks", "SupportType")


def test_retention_is_one_that_cloudwatch_takes() -> None:
    # The numbers are in the documentation of the shape alone.
    shape = botocore.session.get_session().get_service_model("logs").shape_for("Days")
    for days in typing.get_args(settings.Days):
        assert f" {days}," in shape.documentation or f" {days}." in shape.documentation


def test_every_instance_type_of_the_catalogue_is_ec2s() -> None:
    assert set(catalogue.load().instance_types) <= words("ec2", "InstanceType")
