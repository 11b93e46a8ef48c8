"""Checks of IAM and KMS."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from inferstack.policy.checks.common import listed, statements
from inferstack.policy.resource import Resource, get

ATTACHMENT = "aws:iam/rolePolicyAttachment:RolePolicyAttachment"
_ADMINISTRATOR = "/AdministratorAccess"


def no_wildcards(resource: Resource, config: Mapping[str, Any]) -> Iterator[str]:
    """Check that a policy does not allow all actions, or changes to all resources."""
    if resource.type == ATTACHMENT:
        arn = get(resource.properties, "policyArn", default="")
        if arn.endswith(_ADMINISTRATOR):
            yield f"{arn.rpartition('/')[2]} allows all actions on all resources"
        return
    inline = get(resource.properties, "inlinePolicies", default=())
    all_statements = [*statements(resource.properties, "policy")]
    all_statements += [statement for policy in inline for statement in statements(policy, "policy")]
    for statement in all_statements:
        if statement.get("Effect") == "Allow":
            yield from _unbounded(statement, config)


def _unbounded(statement: Mapping[str, Any], config: Mapping[str, Any]) -> Iterator[str]:
    if "NotAction" in statement or "NotResource" in statement:
        yield "NotAction or NotResource allows everything else"
    actions = [str(action) for action in listed(statement.get("Action", ()))]
    broad = [action for action in actions if action == "*" or action.endswith(":*")]
    if broad:
        yield f"allows {', '.join(broad)}"
    if "*" not in listed(statement.get("Resource", ())) or statement.get("Condition"):
        return
    read_only, allowed = tuple(config["readOnly"]), config["anyResource"]
    changing = [
        action
        for action in actions
        if action not in broad and action not in allowed and not action.partition(":")[2].startswith(read_only)
    ]
    if changing:
        yield f"allows {', '.join(changing)} on all resources"


def trusted_narrowly(role: Resource, config: Mapping[str, Any]) -> Iterator[str]:
    """Check that a role trusts specific principals only."""
    for statement in statements(role.properties, "assumeRolePolicy"):
        if statement.get("Effect") != "Allow":
            continue
        principal, condition = statement.get("Principal"), statement.get("Condition", {})
        keys = {key for tests in condition.values() for key in tests}
        if principal == "*" or (isinstance(principal, Mapping) and "*" in listed(principal.get("AWS", ()))):
            yield "trusts all principals"
        elif isinstance(principal, Mapping) and "Federated" in principal:
            if not any(key.endswith(":sub") for key in keys):
                yield "trusts all identities of the provider: add a condition on :sub"
        elif isinstance(principal, Mapping) and principal.get("Service") in config["shared"] and not keys:
            yield f"trusts {principal['Service']} for all callers: add a condition on the account or the cluster"


def key_rotates(key: Resource, _: Mapping[str, Any]) -> Iterator[str]:
    """Check that an encryption key rotates; signing keys have no automatic rotation."""
    usage = get(key.properties, "keyUsage", default="ENCRYPT_DECRYPT")
    spec = get(key.properties, "customerMasterKeySpec", default="SYMMETRIC_DEFAULT")
    if (usage, spec) == ("ENCRYPT_DECRYPT", "SYMMETRIC_DEFAULT") and get(
        key.properties, "enableKeyRotation"
    ) is not True:
        yield "key rotation is disabled"
