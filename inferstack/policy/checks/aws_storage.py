"""Checks of buckets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from inferstack.policy.resource import Resource, Stack, get

BUCKET = "aws:s3/bucket:Bucket"
BLOCK = "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock"
SETTINGS = ("blockPublicAcls", "blockPublicPolicy", "ignorePublicAcls", "restrictPublicBuckets")
"""Of a bucket's public access block; Amazon S3 User Guide, "Blocking public access"."""


def public_access_blocked(stack: Stack, _: Mapping[str, Any]) -> Iterator[tuple[Resource | None, str]]:
    """Yield each bucket that public access is not blocked for, and which of the four settings it lacks."""
    blocks = {get(block.properties, "bucket"): block for block in stack.of_type(BLOCK)}
    for bucket in stack.of_type(BUCKET):
        block = blocks.get(get(bucket.properties, "bucket"))
        if block is None:
            yield bucket, "it has no public access block"
        elif lacking := [key for key in SETTINGS if get(block.properties, key) is not True]:
            yield bucket, f"its public access block lacks {', '.join(lacking)}"
