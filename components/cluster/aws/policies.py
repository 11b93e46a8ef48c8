"""IAM, KMS and S3 policies with least privilege: single actions, on the stack's resources where possible. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from components.cluster.aws.names import CLUSTER_TAG, Names

Document = dict[str, Any]
Statement = dict[str, Any]

# Actions that the account's IAM policies may allow; a key policy without a principal locks out even its owner.
_KEY_ACTIONS = [
    *("kms:CreateAlias", "kms:CreateGrant", "kms:Decrypt", "kms:DeleteAlias", "kms:DescribeKey", "kms:DisableKey"),
    *("kms:DisableKeyRotation", "kms:EnableKey", "kms:EnableKeyRotation", "kms:Encrypt", "kms:GenerateDataKey"),
    *("kms:GenerateDataKeyWithoutPlaintext", "kms:GetKeyPolicy", "kms:GetKeyRotationStatus", "kms:ListAliases"),
    *(
        "kms:ListGrants",
        "kms:ListKeyPolicies",
        "kms:ListKeyRotations",
        "kms:ListResourceTags",
        "kms:ListRetirableGrants",
    ),
    *("kms:PutKeyPolicy", "kms:ReEncryptFrom", "kms:ReEncryptTo", "kms:RevokeGrant", "kms:RotateKeyOnDemand"),
    *("kms:ScheduleKeyDeletion", "kms:CancelKeyDeletion", "kms:TagResource", "kms:UntagResource", "kms:UpdateAlias"),
    "kms:UpdateKeyDescription",
]
_USE = ["kms:Encrypt", "kms:Decrypt", "kms:ReEncryptFrom", "kms:ReEncryptTo", "kms:GenerateDataKey", "kms:DescribeKey"]
_USE_FOR_DISKS = [*_USE, "kms:GenerateDataKeyWithoutPlaintext"]


def make_document(*statements: Statement) -> Document:
    """Return a policy document."""
    return {"Version": "2012-10-17", "Statement": list(statements)}


def allow(actions: list[str], resources: str | list[str], condition: Document | None = None) -> Statement:
    """Return a statement that allows actions."""
    statement: Statement = {"Effect": "Allow", "Action": actions, "Resource": resources}
    return {**statement, "Condition": condition} if condition else statement


def make_trust(service: str) -> Document:
    """Return a trust policy for an AWS service."""
    return make_document({"Effect": "Allow", "Principal": {"Service": service}, "Action": ["sts:AssumeRole"]})


def make_pod_trust(names: Names, *accounts: str) -> Document:
    """Return a trust policy for pods of the cluster with one of the service accounts (EKS Pod Identity)."""
    return make_document(*_pods(names, accounts))


def make_reader_trust(names: Names, issuer: str, readers: tuple[str, ...]) -> Document:
    """Return the trust policy of model readers: service accounts by Pod Identity and by token (IRSA).

    Both, as programs with an older AWS SDK, such as Alluxio, do not support Pod Identity.

    Args:
        names: the stack's resource names.
        issuer: URL of the cluster's OIDC issuer.
        readers: service accounts as ``namespace/name``.
    """
    host = issuer.removeprefix("https://")
    subjects = [f"system:serviceaccount:{reader.replace('/', ':')}" for reader in readers]
    federated: Statement = {
        "Effect": "Allow",
        "Principal": {"Federated": names.global_arn("iam", f"oidc-provider/{host}")},
        "Action": ["sts:AssumeRoleWithWebIdentity"],
        "Condition": {"StringEquals": {f"{host}:aud": "sts.amazonaws.com", f"{host}:sub": subjects}},
    }
    return make_document(*_pods(names, readers), federated)


def _pods(names: Names, accounts: Iterable[str]) -> Iterator[Statement]:
    """Yield a statement per service account, so that namespace and name are matched together.

    The session tags identify the pod; without them any association of the account could assume the role.
    """
    for account in accounts:
        namespace, _, name = account.partition("/")
        tags = {
            "eks-cluster-arn": names.arn("eks", f"cluster/{names.cluster}"),
            "kubernetes-namespace": namespace,
            "kubernetes-service-account": name,
        }
        yield {
            "Effect": "Allow",
            "Principal": {"Service": "pods.eks.amazonaws.com"},
            "Action": ["sts:AssumeRole", "sts:TagSession"],
            "Condition": {
                "StringEquals": {
                    "aws:SourceAccount": names.account,
                    **{f"aws:RequestTag/{tag}": value for tag, value in tags.items()},
                }
            },
        }


def make_key_policy(names: Names, *more: Statement) -> Document:
    """Return a key policy that delegates to the account's IAM policies, with additional statements."""
    return make_document(
        {"Effect": "Allow", "Principal": {"AWS": names.root}, "Action": _KEY_ACTIONS, "Resource": "*"}, *more
    )


def make_disk_key_policy(names: Names) -> Document:
    """Return the policy of the disk key, which the service-linked roles that start instances use by grants.

    The roles are matched by condition, not as principals: KMS rejects a principal that does not exist, and AWS creates
    them with the account's first Auto Scaling group and first spot request.
    """
    roles = [
        names.global_arn("iam", f"role/aws-service-role/{service}.amazonaws.com/{role}")
        for service, role in (
            ("autoscaling", "AWSServiceRoleForAutoScaling"),
            ("spot", "AWSServiceRoleForEC2Spot"),
        )
    ]
    whom = {"kms:CallerAccount": names.account}
    return make_key_policy(
        names,
        {
            "Effect": "Allow",
            "Principal": {"AWS": "*"},
            "Action": _USE_FOR_DISKS,
            "Resource": "*",
            "Condition": {"StringEquals": whom, "ArnEquals": {"aws:PrincipalArn": roles}},
        },
        {
            "Effect": "Allow",
            "Principal": {"AWS": "*"},
            "Action": ["kms:CreateGrant"],
            "Resource": "*",
            "Condition": {
                "StringEquals": whom,
                "ArnEquals": {"aws:PrincipalArn": roles},
                "Bool": {"kms:GrantIsForAWSResource": "true"},
            },
        },
    )


def make_log_key_policy(names: Names) -> Document:
    """Return the policy of the log key, which CloudWatch Logs uses for the stack's log group."""
    return make_key_policy(
        names,
        {
            "Effect": "Allow",
            "Principal": {"Service": f"logs.{names.region}.{names.suffix}"},
            "Action": _USE,
            "Resource": "*",
            "Condition": {
                "ArnEquals": {"kms:EncryptionContext:aws:logs:arn": names.arn("logs", f"log-group:{names.log_group}")}
            },
        },
    )


def make_bucket_policy(names: Names) -> Document:
    """Return the bucket policy, which denies every request without TLS 1.2."""
    arn = f"arn:{names.partition}:s3:::{names.bucket}"
    deny: Statement = {"Effect": "Deny", "Principal": "*", "Action": ["s3:*"], "Resource": [arn, f"{arn}/*"]}
    return make_document(
        {**deny, "Sid": "OnlyTls", "Condition": {"Bool": {"aws:SecureTransport": "false"}}},
        {**deny, "Sid": "OnlyNewTls", "Condition": {"NumericLessThan": {"s3:TlsVersion": "1.2"}}},
    )


def make_reader_policy(names: Names, key_arn: str) -> Document:
    """Return the permissions of model readers."""
    arn = f"arn:{names.partition}:s3:::{names.bucket}"
    return make_document(
        allow(["s3:ListBucket", "s3:GetBucketLocation"], arn),
        allow(["s3:GetObject", "s3:GetObjectVersion"], f"{arn}/*"),
        allow(["kms:Decrypt"], key_arn, {"StringEquals": {"kms:ViaService": f"s3.{names.region}.{names.suffix}"}}),
    )


def make_disk_policy(key_arn: str) -> Document:
    """Return the permissions of the EBS driver on the disk key, in addition to the AWS managed policy."""
    return make_document(
        allow(_USE_FOR_DISKS, key_arn),
        allow(["kms:CreateGrant"], key_arn, {"Bool": {"kms:GrantIsForAWSResource": "true"}}),
    )


def make_cache_policy(names: Names) -> Document:
    """Return the permissions of nodes to fill the image cache, below the stack's prefix only."""
    repositories = names.arn("ecr", f"repository/{names.cluster}/*")
    return make_document(allow(["ecr:BatchImportUpstreamImage", "ecr:CreateRepository"], repositories))


def make_template_policy(names: Names) -> Document:
    """Return the permissions of ECR when it creates a repository for a cached image."""
    repositories = names.arn("ecr", f"repository/{names.cluster}/*")
    return make_document(allow(["ecr:CreateRepository", "ecr:ReplicateImage", "ecr:TagResource"], repositories))


def make_autoscaler_policy(names: Names) -> Document:
    """Return the permissions of the cluster autoscaler: read all groups, change those of the cluster."""
    read = [
        *("autoscaling:DescribeAutoScalingGroups", "autoscaling:DescribeAutoScalingInstances"),
        *("autoscaling:DescribeLaunchConfigurations", "autoscaling:DescribeScalingActivities"),
        *("autoscaling:DescribeTags", "ec2:DescribeImages", "ec2:DescribeInstanceTypes"),
        *("ec2:DescribeLaunchTemplateVersions", "ec2:GetInstanceTypesFromInstanceRequirements"),
    ]
    owned = {"StringEquals": {f"aws:ResourceTag/k8s.io/cluster-autoscaler/{names.cluster}": "owned"}}
    groups = names.arn("autoscaling", "autoScalingGroup:*:autoScalingGroupName/*")
    return make_document(
        allow(read, "*"),
        allow(["autoscaling:SetDesiredCapacity", "autoscaling:TerminateInstanceInAutoScalingGroup"], groups, owned),
        allow(["eks:DescribeNodegroup"], names.arn("eks", f"nodegroup/{names.cluster}/*")),
    )


def make_load_balancer_policy(names: Names) -> Document:
    """Return the permissions of the AWS Load Balancer Controller: create and change resources with the cluster's tag.

    The actions are the controller's documented permissions without WAF, Shield and Cognito.
    """
    read = [
        *("ec2:DescribeAccountAttributes", "ec2:DescribeAddresses", "ec2:DescribeAvailabilityZones"),
        *("ec2:DescribeInstances", "ec2:DescribeInternetGateways", "ec2:DescribeNetworkInterfaces"),
        *("ec2:DescribeRouteTables", "ec2:DescribeSecurityGroups", "ec2:DescribeSecurityGroupRules"),
        *("ec2:DescribeSubnets", "ec2:DescribeTags", "ec2:DescribeVpcs", "ec2:DescribeVpcPeeringConnections"),
        *("ec2:GetCoipPoolUsage", "ec2:DescribeCoipPools", "ec2:GetSecurityGroupsForVpc"),
        *("elasticloadbalancing:DescribeLoadBalancers", "elasticloadbalancing:DescribeLoadBalancerAttributes"),
        *("elasticloadbalancing:DescribeListeners", "elasticloadbalancing:DescribeListenerAttributes"),
        *("elasticloadbalancing:DescribeListenerCertificates", "elasticloadbalancing:DescribeSSLPolicies"),
        *("elasticloadbalancing:DescribeRules", "elasticloadbalancing:DescribeTargetGroups"),
        *("elasticloadbalancing:DescribeTargetGroupAttributes", "elasticloadbalancing:DescribeTargetHealth"),
        *("elasticloadbalancing:DescribeTags", "elasticloadbalancing:DescribeTrustStores"),
        *("elasticloadbalancing:DescribeCapacityReservation", "acm:ListCertificates", "acm:DescribeCertificate"),
    ]
    requested = {"StringEquals": {f"aws:RequestTag/{CLUSTER_TAG}": names.cluster}}
    owned = {"StringEquals": {f"aws:ResourceTag/{CLUSTER_TAG}": names.cluster}}
    groups, vpcs = names.arn("ec2", "security-group/*"), names.arn("ec2", "vpc/*")
    balancers = [
        names.arn("elasticloadbalancing", f"{kind}/*")
        for kind in ("loadbalancer", "targetgroup", "listener", "listener-rule")
    ]
    rules = ["ec2:AuthorizeSecurityGroupIngress", "ec2:RevokeSecurityGroupIngress", "ec2:DeleteSecurityGroup"]
    create = [
        *("elasticloadbalancing:CreateLoadBalancer", "elasticloadbalancing:CreateTargetGroup"),
        *("elasticloadbalancing:CreateListener", "elasticloadbalancing:CreateRule"),
    ]
    change = [
        *("elasticloadbalancing:DeleteListener", "elasticloadbalancing:DeleteLoadBalancer"),
        *("elasticloadbalancing:DeleteRule", "elasticloadbalancing:DeleteTargetGroup"),
        *("elasticloadbalancing:DeregisterTargets", "elasticloadbalancing:ModifyListener"),
        *("elasticloadbalancing:ModifyListenerAttributes", "elasticloadbalancing:ModifyLoadBalancerAttributes"),
        *("elasticloadbalancing:ModifyRule", "elasticloadbalancing:ModifyTargetGroup"),
        *("elasticloadbalancing:ModifyTargetGroupAttributes", "elasticloadbalancing:RegisterTargets"),
        *("elasticloadbalancing:RemoveTags", "elasticloadbalancing:SetIpAddressType"),
        *("elasticloadbalancing:SetSecurityGroups", "elasticloadbalancing:SetSubnets"),
        *("elasticloadbalancing:AddListenerCertificates", "elasticloadbalancing:RemoveListenerCertificates"),
    ]
    service = {"iam:AWSServiceName": "elasticloadbalancing.amazonaws.com"}
    linked = names.global_arn("iam", "role/aws-service-role/elasticloadbalancing.amazonaws.com/*")
    cluster_group = {"StringEquals": {"aws:ResourceTag/aws:eks:cluster-name": names.cluster}}
    return make_document(
        allow(read, "*"),
        allow(["iam:CreateServiceLinkedRole"], linked, {"StringEquals": service}),
        allow(["ec2:CreateSecurityGroup"], groups, requested),
        allow(["ec2:CreateSecurityGroup"], vpcs),
        allow(["ec2:CreateTags"], groups, {"StringEquals": {"ec2:CreateAction": "CreateSecurityGroup"}}),
        allow(["ec2:CreateTags", "ec2:DeleteTags"], groups, owned),
        allow(rules, groups, owned),
        # Rules of the cluster security group that let load balancers reach the nodes.
        allow(rules[:2], groups, cluster_group),
        allow([*create, "elasticloadbalancing:AddTags"], balancers, requested),
        allow([*create[2:], *change, "elasticloadbalancing:AddTags"], balancers, owned),
    )
