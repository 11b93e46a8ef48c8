"""The rights that the job controller needs, each with its reason; nothing reads Secrets."""

from __future__ import annotations

from inferstack.api import constants
from inferstack.k8s.rbac import PolicyRule

# Server-side apply of what is not there yet counts as create as well as patch.
_OWNED = ("get", "list", "watch", "create", "patch", "delete")

RIGHTS: tuple[PolicyRule, ...] = (
    PolicyRule(constants.GROUP, (constants.PLURAL,), ("get", "list", "watch"), "to see jobs come, change and go"),
    PolicyRule(constants.GROUP, (f"{constants.PLURAL}/status",), ("patch",), "to say how a job fares"),
    PolicyRule(
        constants.GROUP,
        (f"{constants.PLURAL}/finalizers",),
        ("update",),
        "owner references that block the owner's deletion, where OwnerReferencesPermissionEnforcement is on",
    ),
    PolicyRule("apps", ("deployments",), _OWNED, "the replicas of a job"),
    PolicyRule("", ("services",), _OWNED, "the address of a job"),
    PolicyRule("policy", ("poddisruptionbudgets",), _OWNED, "the replicas that a drain may take"),
    PolicyRule("autoscaling", ("horizontalpodautoscalers",), _OWNED, "replicas that follow the load"),
    PolicyRule("", ("pods",), ("list", "watch"), "why replicas wait or fail; the operator itself makes no pods"),
    PolicyRule("data.fluid.io", ("datasets", "dataloads"), ("list", "watch"), "whether the caches of jobs are warm"),
    PolicyRule("", ("events",), ("create",), "the turns in a job's life, for kubectl describe"),
)
