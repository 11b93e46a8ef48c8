"""What must hold of data and rights: buckets, keys and policies."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tests.program.aws.conftest import Graph


def documents(graph: Graph) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield where a policy is, its kind, and each of its statements."""
    for kind, key in (
        ("Role", "assumeRolePolicy"),
        ("RolePolicy", "policy"),
        ("Key", "policy"),
        ("BucketPolicy", "policy"),
    ):
        for resource in graph.of(kind):
            for statement in json.loads(resource.inputs[key])["Statement"]:
                yield resource.urn, kind, statement


def listed(value: Any) -> list[Any]:
    """Return a policy's value, which may be one or many, as a list."""
    return value if isinstance(value, list) else [value]


def no_public_bucket(graph: Graph) -> Iterator[str]:
    """Every bucket blocks public access in all four ways and has no ACL."""
    blocked = {resource.inputs["bucket"]: resource.inputs for resource in graph.of("BucketPublicAccessBlock")}
    owned = {
        resource.inputs["bucket"]: resource.inputs["rule"]["objectOwnership"]
        for resource in graph.of("BucketOwnershipControls")
    }
    for bucket in graph.of("Bucket"):
        name = bucket.inputs["bucket"]
        block = blocked.get(name, {})
        for key in ("blockPublicAcls", "blockPublicPolicy", "ignorePublicAcls", "restrictPublicBuckets"):
            if block.get(key) is not True:
                yield f"{name}: {key} is not on"
        if owned.get(name) != "BucketOwnerEnforced" or "acl" in bucket.inputs:
            yield f"{name}: takes ACLs"


def buckets_want_tls(graph: Graph) -> Iterator[str]:
    """Every bucket refuses requests without TLS, on itself and on its objects."""
    for bucket in graph.of("Bucket"):
        name, arn = bucket.inputs["bucket"], f"arn:aws:s3:::{bucket.inputs['bucket']}"
        refusals = [
            statement
            for policy in graph.of("BucketPolicy")
            if policy.inputs["bucket"] == name
            for statement in json.loads(policy.inputs["policy"])["Statement"]
            if (statement["Effect"], statement["Principal"], listed(statement["Action"])) == ("Deny", "*", ["s3:*"])
            and statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
        ]
        if not any({arn, f"{arn}/*"} <= set(listed(policy["Resource"])) for policy in refusals):
            yield f"{name}: answers without TLS"


def buckets_are_encrypted_and_versioned(graph: Graph) -> Iterator[str]:
    """Every bucket encrypts with a key of ours, keeps old versions, and not for ever."""
    for bucket in graph.of("Bucket"):
        name = bucket.inputs["bucket"]
        (rule,) = [
            rule
            for resource in graph.of("BucketServerSideEncryptionConfiguration")
            if resource.inputs["bucket"] == name
            for rule in resource.inputs["rules"]
        ] or [{}]
        default = rule.get("applyServerSideEncryptionByDefault", {})
        if default.get("sseAlgorithm") != "aws:kms" or not default.get("kmsMasterKeyId"):
            yield f"{name}: is not encrypted with KMS"
        status = [
            resource.inputs["versioningConfiguration"]["status"]
            for resource in graph.of("BucketVersioning")
            if resource.inputs["bucket"] == name
        ]
        if status != ["Enabled"]:
            yield f"{name}: keeps no versions"
        if not any(
            rule["status"] == "Enabled" and rule.get("noncurrentVersionExpiration")
            for resource in graph.of("BucketLifecycleConfiguration")
            if resource.inputs["bucket"] == name
            for rule in resource.inputs["rules"]
        ):
            yield f"{name}: keeps old versions for ever"


def no_wildcard_action(graph: Graph) -> Iterator[str]:
    """No statement allows all actions, or all of a service, without a condition."""
    for where, _, statement in documents(graph):
        for action in listed(statement["Action"]):
            broad = action == "*" or action.endswith(":*")
            if broad and statement["Effect"] == "Allow" and not statement.get("Condition"):
                yield f"{where}: allows {action}"


def only_looking_at_everything(graph: Graph) -> Iterator[str]:
    """What a role may do to any resource whatever, without a condition, changes nothing."""
    for where, kind, statement in documents(graph):
        if kind != "RolePolicy" or statement.get("Condition") or "*" not in listed(statement["Resource"]):
            continue
        for action in listed(statement["Action"]):
            if not action.partition(":")[2].startswith(("Describe", "List", "Get")):
                yield f"{where}: allows {action} on everything"


def no_stranger_is_trusted(graph: Graph) -> Iterator[str]:
    """Roles are for services and for our pods; pods are named by cluster, account, namespace and service account."""
    for where, kind, statement in documents(graph):
        if kind != "Role":
            continue
        principal, tests = statement["Principal"], statement.get("Condition", {}).get("StringEquals", {})
        if principal == {"Service": "pods.eks.amazonaws.com"}:
            needed = {"aws:SourceAccount", "aws:RequestTag/eks-cluster-arn"}
            needed |= {"aws:RequestTag/kubernetes-namespace", "aws:RequestTag/kubernetes-service-account"}
            if not needed <= tests.keys():
                yield f"{where}: any pod of the account may take it"
        elif "Federated" in principal:
            if {key.rpartition(":")[2] for key in tests} != {"aud", "sub"}:
                yield f"{where}: any service account may take it"
        elif principal.keys() != {"Service"}:
            yield f"{where}: trusts {principal}"


def keys_are_for_the_account(graph: Graph) -> Iterator[str]:
    """A key is used by the account, by a service of AWS for what it names, or by whom conditions tell."""
    for where, kind, statement in documents(graph):
        if kind != "Key":
            continue
        principal, condition = statement["Principal"], statement.get("Condition", {})
        if principal == {"AWS": "*"} and "kms:CallerAccount" not in condition.get("StringEquals", {}):
            yield f"{where}: anybody may use it"
        if "Service" in principal and not condition:
            yield f"{where}: the service may use it for anybody"


def keys_rotate(graph: Graph) -> Iterator[str]:
    """Every key gets new material."""
    for key in graph.of("Key"):
        if key.inputs.get("enableKeyRotation") is not True:
            yield f"{key.name}: does not rotate"
