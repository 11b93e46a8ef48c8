"""The RBAC rules of the predictive scaler, each with its reason; it writes only status.scaling and Events."""

from __future__ import annotations

from typing import Any

from inferstack.api import constants
from inferstack.k8s.rbac import PolicyRule

_WATCHED = ("list", "watch")

RIGHTS: tuple[PolicyRule, ...] = (
    PolicyRule(constants.GROUP, (constants.PLURAL,), _WATCHED, "find the jobs that request predictive scaling"),
    PolicyRule(constants.GROUP, (f"{constants.PLURAL}/status",), ("patch",), "write decisions to status.scaling"),
    PolicyRule("apps", ("deployments",), _WATCHED, "current replicas of a job"),
    PolicyRule("", ("pods",), _WATCHED, "cold starts of replicas, and GPUs held by other pods"),
    PolicyRule("", ("nodes",), _WATCHED, "GPUs to share"),
    PolicyRule("scheduling.k8s.io", ("priorityclasses",), _WATCHED, "priorities when GPUs are short"),
    PolicyRule("", ("events",), ("create",), "post an Event when the reason of a decision changes"),
)


def rules() -> list[dict[str, Any]]:
    """Return the PolicyRules of the scaler's ClusterRole."""
    return [right.manifest() for right in RIGHTS]
