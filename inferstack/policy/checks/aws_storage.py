"""Checks of S3 buckets and EBS volumes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from inferstack.policy.checks.common import given, listed, statements
from inferstack.policy.resource import Resource, Stack, get

BUCKET = "aws:s3/bucket:Bucket"
BLOCK = "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock"
ENCRYPTION = "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration"
VERSIONING = "aws:s3/bucketVersioning:BucketVersioning"
POLICY = "aws:s3/bucketPolicy:BucketPolicy"
VOLUME = "aws:ebs/volume:Volume"
SETTINGS = ("blockPublicAcls", "blockPublicPolicy", "ignorePublicAcls", "restrictPublicBuckets")
"""Keys of a public access block; Amazon S3 User Guide, "Blocking public access"."""

Findings = Iterator[tuple[Resource | None, str]]


def public_access_blocked(stack: Stack, _: Mapping[str, Any]) -> Findings:
    """Check that each bucket has a complete public access block."""
    for bucket, block in _paired(stack, BLOCK):
        if block is None:
            yield bucket, "no public access block"
        elif missing := [key for key in SETTINGS if get(block.properties, key) is not True]:
            yield bucket, f"public access block without {', '.join(missing)}"


def encrypted_with_kms(stack: Stack, _: Mapping[str, Any]) -> Findings:
    """Check that each bucket is encrypted with a customer managed KMS key."""
    for bucket, encryption in _paired(stack, ENCRYPTION):
        defaults = [
            get(rule, "applyServerSideEncryptionByDefault", default={})
            for rule in get(encryption.properties if encryption else {}, "rules", default=())
        ]
        if not defaults:
            yield bucket, "no default encryption: S3 uses an AWS managed key"
        for default in defaults:
            if get(default, "sseAlgorithm") not in ("aws:kms", "aws:kms:dsse"):
                yield bucket, f"encrypted with {get(default, 'sseAlgorithm', default='nothing')}"
            elif not given(default, "kmsMasterKeyId"):
                yield bucket, "no kmsMasterKeyId: S3 uses the AWS managed key"


def versioned(stack: Stack, _: Mapping[str, Any]) -> Findings:
    """Check that each bucket has versioning enabled."""
    for bucket, versioning in _paired(stack, VERSIONING):
        status = get(versioning.properties if versioning else {}, "versioningConfiguration", "status")
        if status != "Enabled":
            yield bucket, f"versioning is {status or 'not set'}"


def tls_only(stack: Stack, _: Mapping[str, Any]) -> Findings:
    """Check that each bucket denies requests without TLS to itself and to its objects."""
    for bucket, policy in _paired(stack, POLICY):
        name = get(bucket.properties, "bucket")
        denied: set[str] = set()
        for statement in statements(policy.properties if policy else {}, "policy"):
            if _denies_plain_http(statement):
                denied |= set(listed(statement.get("Resource", ())))
        if not {f"arn:aws:s3:::{name}", f"arn:aws:s3:::{name}/*"} <= denied:
            yield bucket, "bucket policy does not deny requests without TLS"


def disk_encrypted(disk: Resource, _: Mapping[str, Any]) -> Iterator[str]:
    """Check that a volume, or each volume of a launch template, is encrypted with a customer managed key."""
    if disk.type == VOLUME:
        yield from _volume_encrypted("volume", disk.properties, get(disk.properties, "encrypted"))
        return
    mappings = get(disk.properties, "blockDeviceMappings", default=())
    if not mappings:
        yield "no block device mapping: the image decides whether the volume is encrypted"
    for mapping in mappings:
        ebs = get(mapping, "ebs", default={})
        yield from _volume_encrypted(get(mapping, "deviceName", default="volume"), ebs, get(ebs, "encrypted"))


def _volume_encrypted(name: str, settings: Mapping[str, Any], encrypted: Any) -> Iterator[str]:
    # Launch templates have the string "true".
    if encrypted not in (True, "true"):
        yield f"{name} is not encrypted"
    elif not given(settings, "kmsKeyId"):
        yield f"{name} is encrypted with the AWS managed key"


def _paired(stack: Stack, kind: str) -> Iterator[tuple[Resource, Resource | None]]:
    """Yield each bucket with the resource of a type that refers to it."""
    others = {get(other.properties, "bucket"): other for other in stack.of_type(kind)}
    for bucket in stack.of_type(BUCKET):
        yield bucket, others.get(get(bucket.properties, "bucket"))


def _denies_plain_http(statement: Mapping[str, Any]) -> bool:
    everyone = statement.get("Principal") in ("*", {"AWS": "*"}) and "s3:*" in listed(statement.get("Action", ()))
    condition = json.dumps(statement.get("Condition", {})).lower()
    plain = condition == '{"bool": {"aws:securetransport": "false"}}'
    return statement.get("Effect") == "Deny" and everyone and plain
