"""The ClusterRole of the operator, the process of the job and MIG rollout controllers: each rule with its reason.

No rule reads Secrets.
"""

from __future__ import annotations

from typing import Any

from inferstack.api import constants
from inferstack.k8s.rbac import PolicyRule
from inferstack.mig.gpu_operator import DEFAULT_LAYOUTS, OWN_LAYOUTS, POLICY

# Server-side apply of an object that does not exist needs create as well as patch.
_OWNED = ("get", "list", "watch", "create", "patch", "delete")

_JOBS: tuple[PolicyRule, ...] = (
    PolicyRule(constants.GROUP, (constants.PLURAL,), ("get", "list", "watch"), "watch jobs"),
    PolicyRule(constants.GROUP, (f"{constants.PLURAL}/status",), ("patch",), "write the status of jobs"),
    PolicyRule(
        constants.GROUP,
        (f"{constants.PLURAL}/finalizers",),
        ("update",),
        "owner references that block the owner's deletion, where OwnerReferencesPermissionEnforcement is enabled",
    ),
    PolicyRule("apps", ("deployments",), _OWNED, "the replicas of a job"),
    PolicyRule("", ("services",), _OWNED, "the address of a job"),
    PolicyRule("policy", ("poddisruptionbudgets",), _OWNED, "the replicas that a drain may evict"),
    PolicyRule("autoscaling", ("horizontalpodautoscalers",), _OWNED, "replicas that follow the load"),
    PolicyRule("", ("pods",), ("list", "watch"), "see why replicas are pending or fail; the operator creates no pods"),
    PolicyRule(
        "data.fluid.io", ("datasets", "dataloads"), ("list", "watch"), "see whether the caches of jobs are warm"
    ),
    PolicyRule("", ("events",), ("create",), "Events about jobs and rollouts"),
)

_ROLLOUTS: tuple[PolicyRule, ...] = (
    PolicyRule(constants.GROUP, (constants.ROLLOUT_PLURAL,), ("list", "watch"), "watch rollouts"),
    PolicyRule(constants.GROUP, (f"{constants.ROLLOUT_PLURAL}/status",), ("patch",), "write the status of rollouts"),
    PolicyRule("", ("nodes",), ("list", "watch", "patch"), "cordon nodes, request MIG layouts and see the result"),
    PolicyRule("", ("pods/eviction",), ("create",), "drain nodes; the API server refuses what a budget forbids"),
    PolicyRule(
        "nvidia.com", ("clusterpolicies",), ("get",), "read the MIG strategy and the name of the layouts", (POLICY,)
    ),
    PolicyRule("", ("configmaps",), ("get",), "read the MIG manager's layouts", (OWN_LAYOUTS, DEFAULT_LAYOUTS)),
)

RIGHTS: tuple[PolicyRule, ...] = (*_JOBS, *_ROLLOUTS)


def rules() -> list[dict[str, Any]]:
    """Return the PolicyRules of the ClusterRole ``inferstack-operator``."""
    return [right.manifest() for right in RIGHTS]
