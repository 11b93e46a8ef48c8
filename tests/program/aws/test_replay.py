"""The recorded graph is what AWS's interfaces take, as far as moto plays them, and it goes without leaving anything.

Not played, and only checked against the service models: EKS add-ons, access entries and their policies, Pod Identity
associations, ECR's pull-through rules and templates, placement groups. That a GPU node joins is not shown either.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import boto3
import botocore.session
import pytest
from botocore import xform_name
from botocore.exceptions import ClientError, ParamValidationError
from botocore.model import Shape
from botocore.validate import validate_parameters
from moto import mock_aws

from inferstack.aws import leftovers
from tests.program.aws.replay import NOT_ANSWERED, Replay

if TYPE_CHECKING:
    from tests.program.aws.conftest import Graph

REPLAYED = {
    *("Vpc", "DefaultSecurityGroup", "Subnet", "InternetGateway", "Eip", "NatGateway", "RouteTable", "Route"),
    *("RouteTableAssociation", "VpcEndpoint", "SecurityGroup", "SecurityGroupIngressRule", "SecurityGroupEgressRule"),
    *("LaunchTemplate", "Cluster", "NodeGroup", "LogGroup", "Role", "RolePolicy"),
    *("RolePolicyAttachment", "OpenIdConnectProvider", "Key", "Alias", "Bucket", "BucketPublicAccessBlock"),
    *("BucketOwnershipControls", "BucketVersioning", "BucketServerSideEncryptionConfiguration", "BucketPolicy"),
    "BucketLifecycleConfiguration",
}


@pytest.fixture
def played(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An AWS that is played by moto."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.setenv(name, "testing")
    with mock_aws(config={"iam": {"load_aws_managed_policies": True}}):
        yield


@pytest.fixture
def session(graph: Graph, played: None) -> boto3.Session:
    """A session in the stack's region."""
    return boto3.Session(region_name=graph.provider().inputs["region"])


@pytest.fixture
def replay(graph: Graph, session: boto3.Session) -> Replay:
    """The graph, made."""
    replayed = Replay(session)
    replayed.run(graph.all())
    return replayed


def test_which_kinds_are_replayed_and_which_not(graphs: dict[str, Graph]) -> None:
    kinds = {resource.type.rpartition(":")[2] for graph in graphs.values() for resource in graph.all()}
    assert kinds == REPLAYED | NOT_ANSWERED.keys()


@pytest.mark.parametrize("kind", NOT_ANSWERED)
def test_moto_does_not_know_the_others_yet(kind: str, graphs: dict[str, Graph], played: None) -> None:
    # When this fails, moto has learned it: move it over.
    service, operation, parameters = NOT_ANSWERED[kind]
    client: Any = boto3.Session(region_name="us-east-1").client(service)  # type: ignore[call-overload]
    (resource, *_) = graphs["prod"].of(kind)
    with pytest.raises((NotImplementedError, ClientError)) as caught:
        getattr(client, xform_name(operation))(**parameters(resource.inputs))
    assert "not been implemented" in str(caught.value) or "404" in str(caught.value)


@pytest.mark.parametrize("kind", NOT_ANSWERED)
def test_the_others_are_what_the_service_model_says(kind: str, graph: Graph) -> None:
    service, operation, parameters = NOT_ANSWERED[kind]
    for resource in graph.of(kind):
        validate_parameters(parameters(resource.inputs), _shape(service, operation))


def _shape(service: str, operation: str) -> Shape:
    shape = botocore.session.get_session().get_service_model(service).operation_model(operation).input_shape
    assert shape is not None
    return shape


def test_the_service_model_sees_a_wrong_parameter(prod: Graph) -> None:
    wrong = {**prod.resource("Addon", "coredns").inputs, "addonVersoin": "v1"}
    with pytest.raises(ParamValidationError, match="addonVersoin"):
        validate_parameters(wrong, _shape("eks", "CreateAddon"))


def test_stack_is_created_read_and_deleted(graph: Graph, replay: Replay, session: boto3.Session) -> None:
    _check_what_is_there(graph, replay, session)
    region = graph.provider().inputs["region"]
    kinds = {leftover.kind for leftover in leftovers.find(region, graph.stack)}
    assert {"ec2 vpc", "ec2 subnet", "ec2 natgateway", "iam role", "kms key", "s3 bucket", "logs log-group"} <= kinds
    assert leftovers.find(region, "another") == []
    replay.undo()
    assert leftovers.find(region, graph.stack) == []


def _check_what_is_there(graph: Graph, replay: Replay, session: boto3.Session) -> None:
    eks, name = session.client("eks"), f"inferstack-{graph.stack}"
    groups = eks.list_nodegroups(clusterName=name)["nodegroups"]
    assert set(groups) == {resource.inputs["nodeGroupName"] for resource in graph.of("NodeGroup")}
    for template in graph.of("LaunchTemplate"):
        data = _template(session, template.inputs["name"])
        assert data["MetadataOptions"]["HttpTokens"] == "required"
        assert len(data.get("NetworkInterfaces", [])) == len(template.inputs.get("networkInterfaces", []))
    s3, bucket = session.client("s3"), graph.outputs()["modelBucket"]
    assert s3.get_bucket_versioning(Bucket=bucket)["Status"] == "Enabled"
    assert all(s3.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"].values())
    kms = session.client("kms")
    for key in graph.of("Key"):
        assert kms.get_key_rotation_status(KeyId=replay.real[f"Key-{key.name}-id"])["KeyRotationEnabled"]


def _template(session: boto3.Session, name: str) -> Any:
    versions = session.client("ec2").describe_launch_template_versions(LaunchTemplateName=name)
    return versions["LaunchTemplateVersions"][0]["LaunchTemplateData"]
