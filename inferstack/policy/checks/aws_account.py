"""Checks of what all resources of AWS share: tags, protection and the bill."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from inferstack.aws.cost import of_resources
from inferstack.policy.checks.common import given, stack_of
from inferstack.policy.resource import Resource, Stack, get

BUCKET, KEY = "aws:s3/bucket:Bucket", "aws:kms/key:Key"


def tagged(resource: Resource, config: Mapping[str, Any]) -> Iterator[str]:
    """Yield which tags a resource lacks."""
    tags = get(resource.properties, "tags", default={})
    wanted = [*config["required"], *config["present"]]
    if lacking := [key for key in wanted if not given(tags, key)]:
        yield f"it has no tag {', '.join(lacking)}"


def protected(resource: Resource, config: Mapping[str, Any]) -> Iterator[str]:
    """Yield whether a stack whose state cannot be made again lets Pulumi delete what holds it."""
    if stack_of(resource) in config["stacks"] and not resource.protect:
        yield "a destroy, or a change of its name, deletes it"


def data_kept(resource: Resource, config: Mapping[str, Any]) -> Iterator[str]:
    """Yield how data would go with what holds it, with no time to notice."""
    if stack_of(resource) not in config["stacks"]:
        return
    if resource.type == BUCKET and get(resource.properties, "forceDestroy") is True:
        yield "it is deleted with all that is in it"
    # KMS waits so long where nothing is said.
    days = get(resource.properties, "deletionWindowInDays", default=30)
    if resource.type == KEY and days < config["days"]:
        yield f"it is gone for good {days:g} days after it was deleted, and all that it encrypts with it"


def cost_capped(stack: Stack, config: Mapping[str, Any]) -> Iterator[tuple[Resource | None, str]]:
    """Yield a stack that costs more a month than it may, or that holds something of which no price is known."""
    cap = config["usdOfStacks"].get(stack.name, config["usd"])
    # A number that is not known yet raises by itself as soon as the estimate looks at it.
    found = ((one.type, one.name, one.properties) for one in stack.resources if one.type.startswith("aws:"))
    estimate = of_resources(found)
    if estimate.unknown and not config["unpriced"]:
        yield None, f"there is no price of {', '.join(estimate.unknown)}, so that nobody can tell what the stack costs"
    if estimate.usd > cap:
        dearest = estimate.items[0]
        yield None, f"it costs about {estimate.usd:,.0f} USD a month, more than {cap:,.0f}; most of it {dearest.what}"
