"""Checks of rights and keys."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from inferstack.policy.checks.common import listed, statements
from inferstack.policy.resource import Resource, get

ATTACHMENT = "aws:iam/rolePolicyAttachment:RolePolicyAttachment"
_ADMINISTRATOR = "/AdministratorAccess"


def no_wildcards(resource: Resource, config: Mapping[str, Any]) -> Iterator[str]:
    """Yield what a policy allows without bounds: every action, or changes to any resource whatever."""
    if resource.type == ATTACHMENT:
        arn = get(resource.properties, "policyArn", default="")
        if arn.endswith(_ADMINISTRATOR):
            yield f"{arn.rpartition('/')[2]} allows every action on everything"
        return
    inline = get(resource.properties, "inlinePolicies", default=())
    found = [*statements(resource.properties, "policy")]
    found += [statement for policy in inline for statement in statements(policy, "policy")]
    for statement in found:
        if statement.get("Effect") == "Allow":
            yield from _unbounded(statement, config)


def _unbounded(statement: Mapping[str, Any], config: Mapping[str, Any]) -> Iterator[str]:
    if "NotAction" in statement or "NotResource" in statement:
        yield "it allows all but what it names"
    actions = [str(action) for action in listed(statement.get("Action", ()))]
    broad = [action for action in actions if action == "*" or action.endswith(":*")]
    if broad:
        yield f"it allows {', '.join(broad)}"
    if "*" not in listed(statement.get("Resource", ())) or statement.get("Condition"):
        return
    reading, known = tuple(config["readOnly"]), config["anyResource"]
    changing = [
        action
        for action in actions
        if action not in broad and action not in known and not action.partition(":")[2].startswith(reading)
    ]
    if changing:
        yield f"it allows {', '.join(changing)} on every resource"


def trusted_narrowly(role: Resource, config: Mapping[str, Any]) -> Iterator[str]:
    """Yield whom a role trusts that it does not name."""
    for statement in statements(role.properties, "assumeRolePolicy"):
        if statement.get("Effect") != "Allow":
            continue
        principal, condition = statement.get("Principal"), statement.get("Condition", {})
        keys = {key for tests in condition.values() for key in tests}
        if principal == "*" or (isinstance(principal, Mapping) and "*" in listed(principal.get("AWS", ()))):
            yield "it trusts everybody"
        elif isinstance(principal, Mapping) and "Federated" in principal:
            if not any(key.endswith(":sub") for key in keys):
                yield "it trusts every identity of the provider that it names; say which by a condition on :sub"
        elif isinstance(principal, Mapping) and principal.get("Service") in config["shared"] and not keys:
            yield f"it trusts {principal['Service']} for anybody; name the account or the cluster in a condition"


def key_rotates(key: Resource, _: Mapping[str, Any]) -> Iterator[str]:
    """Yield whether a key that encrypts keeps its material for ever; signing keys cannot rotate by themselves."""
    usage = get(key.properties, "keyUsage", default="ENCRYPT_DECRYPT")
    spec = get(key.properties, "customerMasterKeySpec", default="SYMMETRIC_DEFAULT")
    if (usage, spec) == ("ENCRYPT_DECRYPT", "SYMMETRIC_DEFAULT") and get(
        key.properties, "enableKeyRotation"
    ) is not True:
        yield "its material stays the same for ever"
