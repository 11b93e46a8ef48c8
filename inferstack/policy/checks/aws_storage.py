"""Checks of buckets and disks."""

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
"""Of a bucket's public access block; Amazon S3 User Guide, "Blocking public access"."""

Found = Iterator[tuple[Resource | None, str]]


def public_access_blocked(stack: Stack, _: Mapping[str, Any]) -> Found:
    """Yield each bucket that public access is not blocked for, and which of the four settings it lacks."""
    for bucket, block in _paired(stack, BLOCK):
        if block is None:
            yield bucket, "it has no public access block"
        elif lacking := [key for key in SETTINGS if get(block.properties, key) is not True]:
            yield bucket, f"its public access block lacks {', '.join(lacking)}"


def encrypted_with_kms(stack: Stack, _: Mapping[str, Any]) -> Found:
    """Yield each bucket whose objects are not encrypted with a KMS key of the account's own."""
    for bucket, encryption in _paired(stack, ENCRYPTION):
        defaults = [
            get(rule, "applyServerSideEncryptionByDefault", default={})
            for rule in get(encryption.properties if encryption else {}, "rules", default=())
        ]
        if not defaults:
            yield bucket, "nothing says how its objects are encrypted, so that S3 takes a key that AWS manages"
        for default in defaults:
            if get(default, "sseAlgorithm") not in ("aws:kms", "aws:kms:dsse"):
                yield bucket, f"its objects are encrypted with {get(default, 'sseAlgorithm', default='nothing')}"
            elif not given(default, "kmsMasterKeyId"):
                yield bucket, "it names no key, so that S3 takes the one that AWS manages"


def versioned(stack: Stack, _: Mapping[str, Any]) -> Found:
    """Yield each bucket that does not keep what is overwritten."""
    for bucket, versioning in _paired(stack, VERSIONING):
        status = get(versioning.properties if versioning else {}, "versioningConfiguration", "status")
        if status != "Enabled":
            yield bucket, f"its versioning is {status or 'not set'}"


def tls_only(stack: Stack, _: Mapping[str, Any]) -> Found:
    """Yield each bucket that answers requests without TLS, to itself or to its objects."""
    for bucket, policy in _paired(stack, POLICY):
        name = get(bucket.properties, "bucket")
        shut: set[str] = set()
        for statement in statements(policy.properties if policy else {}, "policy"):
            if _refuses_plain(statement):
                shut |= set(listed(statement.get("Resource", ())))
        if not {f"arn:aws:s3:::{name}", f"arn:aws:s3:::{name}/*"} <= shut:
            yield bucket, "no statement of its policy denies requests without TLS to it and to its objects"


def disk_encrypted(disk: Resource, _: Mapping[str, Any]) -> Iterator[str]:
    """Yield which disks of a launch template, or that a volume, are not encrypted with a key of the account's own."""
    if disk.type == VOLUME:
        yield from _disk("it", disk.properties, get(disk.properties, "encrypted"))
        return
    mappings = get(disk.properties, "blockDeviceMappings", default=())
    if not mappings:
        yield "it names no disk, so that the image decides whether it is encrypted"
    for mapping in mappings:
        ebs = get(mapping, "ebs", default={})
        yield from _disk(get(mapping, "deviceName", default="a disk"), ebs, get(ebs, "encrypted"))


def _disk(name: str, settings: Mapping[str, Any], encrypted: Any) -> Iterator[str]:
    # EC2 takes the word "true" in launch templates.
    if encrypted not in (True, "true"):
        yield f"{name} is not encrypted"
    elif not given(settings, "kmsKeyId"):
        yield f"{name} is encrypted with the key that AWS manages, which no policy of yours guards"


def _paired(stack: Stack, kind: str) -> Iterator[tuple[Resource, Resource | None]]:
    """Yield each bucket with the resource of a kind that speaks of it."""
    others = {get(other.properties, "bucket"): other for other in stack.of_type(kind)}
    for bucket in stack.of_type(BUCKET):
        yield bucket, others.get(get(bucket.properties, "bucket"))


def _refuses_plain(statement: Mapping[str, Any]) -> bool:
    everyone = statement.get("Principal") in ("*", {"AWS": "*"}) and "s3:*" in listed(statement.get("Action", ()))
    condition = json.dumps(statement.get("Condition", {})).lower()
    plain = condition == '{"bool": {"aws:securetransport": "false"}}'
    return statement.get("Effect") == "Deny" and everyone and plain
