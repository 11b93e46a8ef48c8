"""Leftovers: what controllers and AWS itself leave, asked of moto. tests/program/aws has those of the stack's own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from moto import mock_aws

from inferstack.aws import leftovers
from inferstack.aws.leftovers import Leftover, kind_of

REGION = "us-east-2"


@pytest.fixture
def session(monkeypatch: pytest.MonkeyPatch) -> Iterator[boto3.Session]:
    """An account that moto plays."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.setenv(name, "testing")
    with mock_aws():
        yield boto3.Session(region_name=REGION)


def tags(kind: str, key: str, value: str) -> Any:
    """Return one tag as EC2 takes it."""
    return [{"ResourceType": kind, "Tags": [{"Key": key, "Value": value}]}]


def kinds() -> list[str]:
    """Return the kinds of what prod left."""
    return [leftover.kind for leftover in leftovers.find(REGION, "prod")]


def test_empty_account_has_no_leftovers(session: boto3.Session) -> None:
    assert leftovers.find(REGION, "prod") == []


def test_leftover_cni_interface_is_reported(session: boto3.Session) -> None:
    ec2 = session.client("ec2")
    subnet = ec2.describe_subnets()["Subnets"][0]["SubnetId"]
    given = tags("network-interface", "cluster.k8s.amazonaws.com/name", "inferstack-prod")
    interface = ec2.create_network_interface(SubnetId=subnet, TagSpecifications=given)["NetworkInterface"]
    other = tags("network-interface", "cluster.k8s.amazonaws.com/name", "inferstack-dev")
    ec2.create_network_interface(SubnetId=subnet, TagSpecifications=other)
    why = "tag cluster.k8s.amazonaws.com/name=inferstack-prod"
    assert leftovers.find(REGION, "prod") == [Leftover("ec2 network-interface", interface["NetworkInterfaceId"], why)]


def test_leftover_volume_is_reported_once(session: boto3.Session) -> None:
    given = tags("volume", "kubernetes.io/cluster/inferstack-prod", "owned")
    session.client("ec2").create_volume(AvailabilityZone=f"{REGION}a", Size=10, TagSpecifications=given)
    assert kinds() == ["ec2 volume"]


def test_leftover_load_balancer_is_reported(session: boto3.Session) -> None:
    subnets = [subnet["SubnetId"] for subnet in session.client("ec2").describe_subnets()["Subnets"][:2]]
    given: Any = [{"Key": "elbv2.k8s.aws/cluster", "Value": "inferstack-prod"}]
    session.client("elbv2").create_load_balancer(Name="x", Subnets=subnets, Type="network", Tags=given)
    assert kinds() == ["elasticloadbalancing loadbalancer"]


def test_untagged_images_and_logs_are_reported(session: boto3.Session) -> None:
    session.client("ecr").create_repository(repositoryName="inferstack-prod/k8s/pause")
    session.client("ecr").create_repository(repositoryName="inferstack-prod/quay/pause")
    session.client("ecr").create_repository(repositoryName="inferstack-production")
    session.client("logs").create_log_group(logGroupName="/aws/eks/inferstack-prod/cluster")
    assert kinds() == ["ecr repository", "ecr repository", "logs log-group"]


def test_leftover_roles_belong_to_region(session: boto3.Session) -> None:
    trust = '{"Version": "2012-10-17", "Statement": []}'
    for name in ("inferstack-prod-us-east-2-node", "inferstack-prod-eu-west-1-node", "inferstack-production"):
        session.client("iam").create_role(RoleName=name, AssumeRolePolicyDocument=trust)
    (leftover,) = leftovers.find(REGION, "prod")
    assert leftover.name.endswith(":role/inferstack-prod-us-east-2-node")


def test_resource_being_deleted_is_no_leftover(session: boto3.Session) -> None:
    kms, ec2 = session.client("kms"), session.client("ec2")
    key = kms.create_key(Tags=[{"TagKey": "inferstack:stack", "TagValue": "prod"}])["KeyMetadata"]["KeyId"]
    image = ec2.describe_images()["Images"][0]["ImageId"]
    given = tags("instance", "inferstack:stack", "prod")
    run = ec2.run_instances(ImageId=image, InstanceType="m6i.large", MinCount=1, MaxCount=1, TagSpecifications=given)
    assert kinds() == ["ec2 instance", "kms key"]
    kms.schedule_key_deletion(KeyId=key)
    ec2.terminate_instances(InstanceIds=[run["Instances"][0]["InstanceId"]])
    assert kinds() == []


@pytest.mark.parametrize(
    ("arn", "kind"),
    [
        ("arn:aws:ec2:us-east-2:1:natgateway/nat-1", "ec2 natgateway"),
        ("arn:aws:s3:::inferstack-prod-models-1", "s3 bucket"),
        ("arn:aws:kms:us-east-2:1:key/k", "kms key"),
        ("arn:aws:logs:us-east-2:1:log-group:/aws/eks/x/cluster", "logs log-group"),
        ("arn:aws:elasticloadbalancing:us-east-2:1:loadbalancer/net/x/1", "elasticloadbalancing loadbalancer"),
        ("arn:aws:autoscaling:us-east-2:1:autoScalingGroup:u:autoScalingGroupName/x", "autoscaling autoScalingGroup"),
    ],
)
def test_arn_is_mapped_to_kind(arn: str, kind: str) -> None:
    assert kind_of(arn) == kind
