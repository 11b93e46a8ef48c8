"""The rights that the predictive scaler needs, each with its reason; it changes nothing but what it says of jobs."""

from __future__ import annotations

from typing import Any

from inferstack.api import constants
from inferstack.k8s.rbac import PolicyRule

_SEEN = ("list", "watch")

RIGHTS: tuple[PolicyRule, ...] = (
    PolicyRule(constants.GROUP, (constants.PLURAL,), _SEEN, "to see which jobs ask for predictive scaling"),
    PolicyRule(constants.GROUP, (f"{constants.PLURAL}/status",), ("patch",), "to write decisions into status.scaling"),
    PolicyRule("apps", ("deployments",), _SEEN, "how many replicas a job has now"),
    PolicyRule("", ("pods",), _SEEN, "how long replicas take to start, and who holds GPUs besides the jobs"),
    PolicyRule("", ("nodes",), _SEEN, "how many GPUs there are to share"),
    PolicyRule("scheduling.k8s.io", ("priorityclasses",), _SEEN, "whose replicas go first where GPUs are short"),
    PolicyRule("", ("events",), ("create",), "to tell when the reason of a decision turns, for kubectl describe"),
)


def rules() -> list[dict[str, Any]]:
    """Return the PolicyRules of the scaler's ClusterRole."""
    return [right.manifest() for right in RIGHTS]
