"""ECR pull-through caches, which serve nodes even if the upstream registry is down or rate-limited."""

from __future__ import annotations

import json

import pulumi
from pulumi_aws import ecr

from components.cluster.aws import policies
from components.cluster.aws.build import Build
from components.cluster.aws.roles import make_role

_UNTAGGED_DAYS = 14
"""Days until an untagged image is deleted."""


def make_cache(build: Build) -> list[pulumi.Resource]:
    """Register a rule per registry, and the template of the repositories that ECR creates for cached images."""
    names = build.names
    if not build.settings.registries:
        return []
    expire = {
        "rulePriority": 1,
        "selection": {
            "tagStatus": "untagged",
            "countType": "sinceImagePushed",
            "countUnit": "days",
            "countNumber": _UNTAGGED_DAYS,
        },
        "action": {"type": "expire"},
    }
    # ECR tags repositories only with a role. The tags find them after destroy, as Pulumi does not manage them.
    role = make_role(
        build,
        "cache",
        policies.make_trust(f"ecr.{names.suffix}"),
        own=policies.make_template_policy(names),
    )
    template = ecr.RepositoryCreationTemplate(
        "cache",
        prefix=names.cluster,
        description=f"Images that {names.cluster} keeps of other registries",
        applied_fors=["PULL_THROUGH_CACHE"],
        custom_role_arn=role.role.arn,
        image_tag_mutability="MUTABLE",
        encryption_configurations=[ecr.RepositoryCreationTemplateEncryptionConfigurationArgs(encryption_type="AES256")],
        lifecycle_policy=json.dumps({"rules": [expire]}, sort_keys=True),
        resource_tags=names.tags("cache"),
        opts=build.after(role.ready),
    )
    rules = [
        ecr.PullThroughCacheRule(
            name,
            ecr_repository_prefix=f"{names.cluster}/{name}",
            upstream_registry_url=upstream.registry,
            credential_arn=upstream.credential,
            opts=build.after(template),
        )
        for name, upstream in build.settings.registries.items()
    ]
    return [template, *rules]
