"""The rights that the operator needs, each with its reason; nothing reads Secrets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from inferstack.api import constants
from inferstack.operator.mig.names import DEFAULT_LAYOUTS, OWN_LAYOUTS, POLICY


@dataclass(frozen=True)
class Right:
    """One PolicyRule and why it is there."""

    group: str
    resources: tuple[str, ...]
    verbs: tuple[str, ...]
    reason: str
    names: tuple[str, ...] = ()
    """Of these objects only; empty: of all."""

    def rule(self) -> dict[str, Any]:
        """Return the PolicyRule."""
        rule: dict[str, Any] = {
            "apiGroups": [self.group],
            "resources": list(self.resources),
            "verbs": list(self.verbs),
        }
        return {**rule, "resourceNames": list(self.names)} if self.names else rule


# Server-side apply of what is not there yet counts as create as well as patch.
_OWNED = ("get", "list", "watch", "create", "patch", "delete")

RIGHTS: tuple[Right, ...] = (
    Right(constants.GROUP, (constants.PLURAL,), ("get", "list", "watch"), "to see jobs come, change and go"),
    Right(constants.GROUP, (f"{constants.PLURAL}/status",), ("patch",), "to say how a job fares"),
    Right(
        constants.GROUP,
        (f"{constants.PLURAL}/finalizers",),
        ("update",),
        "owner references that block the owner's deletion, where OwnerReferencesPermissionEnforcement is on",
    ),
    Right("apps", ("deployments",), _OWNED, "the replicas of a job"),
    Right("", ("services",), _OWNED, "the address of a job"),
    Right("policy", ("poddisruptionbudgets",), _OWNED, "the replicas that a drain may take"),
    Right("autoscaling", ("horizontalpodautoscalers",), _OWNED, "replicas that follow the load"),
    Right("", ("pods",), ("list", "watch"), "why replicas wait or fail; the operator itself makes no pods"),
    Right("data.fluid.io", ("datasets", "dataloads"), ("list", "watch"), "whether the caches of jobs are warm"),
    Right("", ("events",), ("create",), "the turns in a job's life, for kubectl describe"),
    Right(constants.GROUP, (constants.ROLLOUT_PLURAL,), ("list", "watch"), "to see rollouts come, change and go"),
    Right(constants.GROUP, (f"{constants.ROLLOUT_PLURAL}/status",), ("patch",), "to write down how far a rollout is"),
    Right("", ("nodes",), ("list", "watch", "patch"), "to cordon nodes, ask for MIG layouts and see what comes of it"),
    Right("", ("pods/eviction",), ("create",), "to empty nodes; the API server refuses what a budget forbids"),
    Right(
        "nvidia.com", ("clusterpolicies",), ("get",), "how MIG slices are named, and where the layouts are", (POLICY,)
    ),
    Right("", ("configmaps",), ("get",), "the MIG manager's layouts", (OWN_LAYOUTS, DEFAULT_LAYOUTS)),
    Right(
        "apiextensions.k8s.io",
        ("customresourcedefinitions",),
        ("list", "watch"),
        "kopf starts to watch jobs when their kind is installed, be it after the operator",
    ),
)


def rules() -> list[dict[str, Any]]:
    """Return the PolicyRules of the operator's ClusterRole."""
    return [right.rule() for right in RIGHTS]
