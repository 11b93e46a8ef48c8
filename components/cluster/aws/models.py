"""The model bucket: private, versioned, encrypted, TLS only."""

from __future__ import annotations

import json

import pulumi
from pulumi_aws import s3

from components.cluster.aws import policies
from components.cluster.aws.build import Build
from components.cluster.aws.keys import Keys

_ABORT_DAYS = 7
"""Days until the parts of an incomplete upload are deleted; they are billed but not listed."""


def make_bucket(build: Build, keys: Keys) -> tuple[s3.Bucket, list[pulumi.Resource]]:
    """Register the bucket; return it and the resources that secure it, which its users depend on."""
    names, settings = build.names, build.settings.models
    bucket = s3.Bucket(
        "models",
        bucket=names.bucket,
        force_destroy=settings.force_destroy,
        tags=names.tags("models"),
        opts=build.kept,
    )
    closed = s3.BucketPublicAccessBlock(
        "models",
        bucket=bucket.bucket,
        block_public_acls=True,
        block_public_policy=True,
        ignore_public_acls=True,
        restrict_public_buckets=True,
        opts=build.child,
    )
    owned = s3.BucketOwnershipControls(
        "models",
        bucket=bucket.bucket,
        rule=s3.BucketOwnershipControlsRuleArgs(object_ownership="BucketOwnerEnforced"),
        opts=build.child,
    )
    versioned = s3.BucketVersioning(
        "models",
        bucket=bucket.bucket,
        versioning_configuration=s3.BucketVersioningVersioningConfigurationArgs(status="Enabled"),
        opts=build.child,
    )
    default = s3.BucketServerSideEncryptionConfigurationRuleApplyServerSideEncryptionByDefaultArgs(
        sse_algorithm="aws:kms", kms_master_key_id=keys.models.arn
    )
    encrypted = s3.BucketServerSideEncryptionConfiguration(
        "models",
        bucket=bucket.bucket,
        rules=[
            s3.BucketServerSideEncryptionConfigurationRuleArgs(
                apply_server_side_encryption_by_default=default,
                # A bucket key saves KMS calls: a model has thousands of parts.
                bucket_key_enabled=True,
            )
        ],
        opts=build.child,
    )
    policy = s3.BucketPolicy(
        "models",
        bucket=bucket.bucket,
        policy=json.dumps(policies.make_bucket_policy(names), sort_keys=True),
        # S3 allows one change of a bucket's access at a time.
        opts=build.after(closed),
    )
    lifecycle = s3.BucketLifecycleConfiguration(
        "models",
        bucket=bucket.bucket,
        rules=[
            s3.BucketLifecycleConfigurationRuleArgs(
                id="leftovers",
                status="Enabled",
                filter=s3.BucketLifecycleConfigurationRuleFilterArgs(prefix=""),
                abort_incomplete_multipart_upload=s3.BucketLifecycleConfigurationRuleAbortIncompleteMultipartUploadArgs(
                    days_after_initiation=_ABORT_DAYS
                ),
                noncurrent_version_expiration=s3.BucketLifecycleConfigurationRuleNoncurrentVersionExpirationArgs(
                    noncurrent_days=settings.noncurrent_days
                ),
            )
        ],
        opts=build.after(versioned),
    )
    return bucket, [closed, owned, versioned, encrypted, policy, lifecycle]
