"""Checks of all AWS resources: tags, protection and cost."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from inferstack.aws.cost import of_resources
from inferstack.policy.checks.common import given, stack_of
from inferstack.policy.resource import Resource, Stack, get

BUCKET, KEY = "aws:s3/bucket:Bucket", "aws:kms/key:Key"


def tagged(resource: Resource, config: Mapping[str, Any]) -> Iterator[str]:
    """Check that a resource has the required tags."""
    tags = get(resource.properties, "tags", default={})
    required = [*config["required"], *config["present"]]
    if missing := [key for key in required if not given(tags, key)]:
        yield f"missing tags: {', '.join(missing)}"


def protected(resource: Resource, config: Mapping[str, Any]) -> Iterator[str]:
    """Check that Pulumi cannot delete a stateful resource of a production stack."""
    if stack_of(resource) in config["stacks"] and not resource.protect:
        yield "not protected: a destroy or a change of its name deletes it"


def data_kept(resource: Resource, config: Mapping[str, Any]) -> Iterator[str]:
    """Check that data is not deleted together with its bucket or key at once."""
    if stack_of(resource) not in config["stacks"]:
        return
    if resource.type == BUCKET and get(resource.properties, "forceDestroy") is True:
        yield "forceDestroy deletes the bucket with its objects"
    # The default of KMS is 30 days.
    days = get(resource.properties, "deletionWindowInDays", default=30)
    if resource.type == KEY and days < config["days"]:
        yield f"the key is destroyed {days:g} days after its deletion, fewer than {config['days']:g}"


def cost_capped(stack: Stack, config: Mapping[str, Any]) -> Iterator[tuple[Resource | None, str]]:
    """Check the monthly cost of a stack, and that all prices are known."""
    cap = config["usdOfStacks"].get(stack.name, config["usd"])
    # An unknown number raises UnknownError when the estimate uses it.
    resources = (resource for resource in stack.resources if resource.type.startswith("aws:"))
    estimate = of_resources((resource.type, resource.name, resource.properties) for resource in resources)
    if estimate.unknown and not config["unpriced"]:
        yield None, f"cost unknown: no price for {', '.join(estimate.unknown)}"
    if estimate.usd > cap:
        dearest = estimate.items[0]
        yield None, f"about {estimate.usd:,.0f} USD a month, limit {cap:,.0f}; largest item: {dearest.what}"
