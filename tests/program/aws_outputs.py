"""What AWS would add to what is registered: ids, ARNs and the outputs that the program reads. Made up, but of form."""

from __future__ import annotations

from typing import Any

REGION_ACCOUNT = "us-test-1:123456789012"


def identity(type_: str, name: str) -> str:
    """Return an id that no other resource has: types may share names."""
    return f"{type_.rpartition(':')[2]}-{name}-id"


def outputs(type_: str, name: str, inputs: dict[str, Any]) -> dict[str, Any]:
    """Return the outputs of a resource that are no inputs."""
    kind = type_.rpartition(":")[2]
    own_name = inputs.get("name", name)
    arns = {
        "Role": f"arn:aws:iam::123456789012:role/{own_name}",
        "Bucket": f"arn:aws:s3:::{inputs.get('bucket', name)}",
        "Key": f"arn:aws:kms:{REGION_ACCOUNT}:key/{identity(type_, name)}",
    }
    result: dict[str, Any] = {"arn": arns.get(kind, f"arn:aws:{kind.lower()}:{REGION_ACCOUNT}:{own_name}")}
    if kind == "Key":
        result["keyId"] = identity(type_, name)
    if kind == "LaunchTemplate":
        result["latestVersion"] = 1
    if kind == "Cluster":
        result |= {
            "endpoint": "https://0123456789ABCDEF.gr7.us-test-1.eks.amazonaws.com",
            "certificateAuthority": {"data": "Q0VSVElGSUNBVEU="},
            "identities": [{"oidcs": [{"issuer": "https://oidc.eks.us-test-1.amazonaws.com/id/0123456789ABCDEF"}]}],
            "vpcConfig": {**inputs["vpcConfig"], "clusterSecurityGroupId": "sg-of-the-cluster"},
        }
    return result
