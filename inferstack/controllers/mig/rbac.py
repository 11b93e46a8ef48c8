"""The rights that the controller of MigRollouts needs, each with its reason."""

from __future__ import annotations

from inferstack.api import constants
from inferstack.k8s.rbac import PolicyRule
from inferstack.mig.gpu_operator import DEFAULT_LAYOUTS, OWN_LAYOUTS, POLICY

RIGHTS: tuple[PolicyRule, ...] = (
    PolicyRule(constants.GROUP, (constants.ROLLOUT_PLURAL,), ("list", "watch"), "to see rollouts come, change and go"),
    PolicyRule(
        constants.GROUP, (f"{constants.ROLLOUT_PLURAL}/status",), ("patch",), "to write down how far a rollout is"
    ),
    PolicyRule(
        "", ("nodes",), ("list", "watch", "patch"), "to cordon nodes, ask for MIG layouts and see what comes of it"
    ),
    PolicyRule("", ("pods/eviction",), ("create",), "to empty nodes; the API server refuses what a budget forbids"),
    PolicyRule(
        "nvidia.com", ("clusterpolicies",), ("get",), "how MIG slices are named, and where the layouts are", (POLICY,)
    ),
    PolicyRule("", ("configmaps",), ("get",), "the MIG manager's layouts", (OWN_LAYOUTS, DEFAULT_LAYOUTS)),
)
