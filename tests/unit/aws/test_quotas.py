"""Quotas: what a stack needs, and what the account has, asked of moto."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError, NoCredentialsError
from moto import mock_aws
from moto.servicequotas.models import ServiceQuotasBackend

from inferstack.aws import quotas
from inferstack.aws.quotas import Group, QuotaCheck, Requirement, check_quotas, requirements
from inferstack.errors import UserError

REGION = "us-east-2"
ACCOUNT = "123456789012"
"""That of moto."""
LIMITS = {"L-417A185B": 768.0, "L-DB2E81BA": 64.0, "L-1216C47A": 100.0, "L-0263D0A3": 5.0}
H100 = Group("h100", ("p5.48xlarge",), "ON_DEMAND", 4)
SYSTEM = Group("system", ("m6i.2xlarge", "m6i.4xlarge"), "ON_DEMAND", 3)


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch) -> Iterator[boto3.Session]:
    """An account that moto plays, with quotas of EC2, of which moto knows none."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.setenv(name, "testing")
    original = ServiceQuotasBackend.get_service_quota

    def limits(self: ServiceQuotasBackend, service_code: str, quota_code: str) -> dict[str, Any]:
        if quota_code in LIMITS:
            return {"QuotaCode": quota_code, "Value": LIMITS[quota_code]}
        return original(self, service_code, quota_code)

    monkeypatch.setattr(ServiceQuotasBackend, "get_service_quota", limits)
    # moto's other call looks the default up by service alone, and knows VPC only.
    monkeypatch.setattr(quotas, "_limit", _limit_without_defaults)
    with mock_aws():
        yield boto3.Session(region_name=REGION)


def _limit_without_defaults(session: boto3.Session, asked: Requirement) -> int | None:
    client = session.client("service-quotas")
    try:
        return int(client.get_service_quota(ServiceCode=asked.service, QuotaCode=asked.code)["Quota"]["Value"])
    except client.exceptions.NoSuchResourceException:
        return None


def amounts(needs: list[Requirement]) -> dict[str, int]:
    """Return amounts by code."""
    return {need.code: need.amount for need in needs}


def test_vcpus_are_counted_by_family_and_market() -> None:
    groups = [
        H100,
        Group("a100", ("p4d.24xlarge",), "ON_DEMAND", 2),
        Group("l40s", ("g6e.2xlarge", "g6e.4xlarge"), "SPOT", 4),
        SYSTEM,
    ]
    required = amounts(requirements(groups, nat_gateways=3, endpoints=10))
    assert required["L-417A185B"] == 4 * 192 + 2 * 96
    # Of several types the largest counts: any of them may come.
    assert required["L-3819A6DF"] == 4 * 16
    assert required["L-1216C47A"] == 3 * 16
    assert (required["L-0263D0A3"], required["L-F678F1CE"], required["L-29B6F2EB"]) == (3, 1, 10)


def test_capacity_block_needs_no_quota() -> None:
    block = Group("block", ("p5.48xlarge",), "CAPACITY_BLOCK", 8)
    assert "L-417A185B" not in amounts(requirements([block], nat_gateways=1, endpoints=0))


def test_requirement_names_its_node_groups() -> None:
    (requirement,) = [
        need for need in requirements([H100, SYSTEM], nat_gateways=1, endpoints=0) if need.code == "L-417A185B"
    ]
    assert requirement.why == "h100: 4 x p5.48xlarge"


@pytest.mark.parametrize(
    ("instance_type", "family"),
    [
        *(("p5.48xlarge", "P"), ("g6e.xlarge", "G"), ("gr6.4xlarge", "G"), ("vt1.3xlarge", "G")),
        *(("m6i.large", "standard"), ("c7gn.large", "standard"), ("t3.micro", "standard"), ("r7iz.large", "standard")),
        *(("inf2.xlarge", None), ("trn1.2xlarge", None), ("dl1.24xlarge", None), ("hpc7a.96xlarge", None)),
        *(("x2idn.16xlarge", None), ("f1.2xlarge", None), ("u-6tb1.metal", None), ("mac2.metal", None)),
    ],
)
def test_quota_family_of_instance_type(instance_type: str, family: str | None) -> None:
    assert quotas._family(instance_type) == family


def test_quota_check_counts_use_of_other_stacks(account: boto3.Session) -> None:
    ec2 = account.client("ec2")
    image = ec2.describe_images()["Images"][0]["ImageId"]
    # Two of somebody else and one of ours, which does not count.
    ec2.run_instances(ImageId=image, InstanceType="p4d.24xlarge", MinCount=2, MaxCount=2)
    tags: Any = [{"ResourceType": "instance", "Tags": [{"Key": "inferstack:stack", "Value": "prod"}]}]
    ec2.run_instances(ImageId=image, InstanceType="p4d.24xlarge", MinCount=1, MaxCount=1, TagSpecifications=tags)
    ec2.allocate_address(Domain="vpc")
    needs = requirements([H100, SYSTEM], nat_gateways=5, endpoints=0)
    answers = {check.requirement.code: check for check in check_quotas(REGION, ACCOUNT, "prod", needs)}
    gpus = answers["L-417A185B"]
    assert gpus.others == 2 * 96
    assert (gpus.limit, gpus.requirement.amount, gpus.enough) == (768, 768, False)
    assert answers["L-1216C47A"].enough
    assert (answers["L-0263D0A3"].others, answers["L-0263D0A3"].enough) == (1, False)
    # moto knows VPC's quotas by itself, and gives every account one VPC.
    assert (answers["L-F678F1CE"].limit, answers["L-F678F1CE"].others) == (5, 1)
    # Neither of us knows EKS's: that is no reason to stop.
    assert (answers["L-1194D53C"].limit, answers["L-1194D53C"].enough) == (None, True)


def test_quota_check_ignores_terminated_instances(account: boto3.Session) -> None:
    ec2 = account.client("ec2")
    image = ec2.describe_images()["Images"][0]["ImageId"]
    (gone,) = ec2.run_instances(ImageId=image, InstanceType="p4d.24xlarge", MinCount=1, MaxCount=1)["Instances"]
    ec2.terminate_instances(InstanceIds=[gone["InstanceId"]])
    role = "arn:aws:iam::123456789012:role/x"
    for name in ("inferstack-prod", "somebodys"):
        account.client("eks").create_cluster(name=name, roleArn=role, resourcesVpcConfig={"subnetIds": ["s"]})
    answers = {
        check.requirement.code: check
        for check in check_quotas(REGION, ACCOUNT, "prod", requirements([H100], nat_gateways=1, endpoints=0))
    }
    assert answers["L-417A185B"].others == 0
    assert answers["L-1194D53C"].others == 1


def test_credentials_of_another_account_raise_error(account: boto3.Session) -> None:
    with pytest.raises(UserError, match=r"^inferstack:cluster\.aws\.accountId: .*123456789012"):
        check_quotas(REGION, "999999999999", "prod", [])


def test_missing_credentials_raise_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(*_: Any, **__: Any) -> Any:
        raise NoCredentialsError

    monkeypatch.setattr("botocore.client.BaseClient._make_api_call", nobody)
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    with pytest.raises(UserError, match=r"There are no credentials for AWS .*set AWS_PROFILE"):
        check_quotas(REGION, "1", "prod", [])


def test_unknown_profile_raises_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "nobody-has-this-profile")
    with pytest.raises(UserError, match="nobody-has-this-profile"):
        check_quotas(REGION, "1", "prod", [])


def test_access_denied_error_names_the_call(account: boto3.Session, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: Any, operation: str, __: Any) -> Any:
        raise ClientError({"Error": {"Code": "AccessDenied", "Message": "You may not"}}, operation)

    monkeypatch.setattr("botocore.client.BaseClient._make_api_call", refuse)
    with pytest.raises(UserError, match=r"AWS refuses GetCallerIdentity: You may not\."):
        check_quotas(REGION, ACCOUNT, "prod", [])


def test_quota_is_enough_up_to_limit() -> None:
    requirement = Requirement("ec2", "L-1", "x", 3, "")
    assert QuotaCheck(requirement, 5, 2).enough
    assert not QuotaCheck(requirement, 5, 3).enough
