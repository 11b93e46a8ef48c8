"""The rights that the predictive scaler needs, each with its reason; it changes nothing but what it says of jobs."""

from __future__ import annotations

from typing import Any

from inferstack.api import constants
from inferstack.operator.rbac import Right

_SEEN = ("list", "watch")

RIGHTS: tuple[Right, ...] = (
    Right(constants.GROUP, (constants.PLURAL,), _SEEN, "to see which jobs ask for predictive scaling"),
    Right(constants.GROUP, (f"{constants.PLURAL}/status",), ("patch",), "to write decisions into status.scaling"),
    Right("apps", ("deployments",), _SEEN, "how many replicas a job has now"),
    Right("", ("pods",), _SEEN, "how long replicas take to start, and who holds GPUs besides the jobs"),
    Right("", ("nodes",), _SEEN, "how many GPUs there are to share"),
    Right("scheduling.k8s.io", ("priorityclasses",), _SEEN, "whose replicas go first where GPUs are short"),
    Right("", ("events",), ("create",), "to tell when the reason of a decision turns, for kubectl describe"),
)


def rules() -> list[dict[str, Any]]:
    """Return the PolicyRules of the scaler's ClusterRole."""
    return [right.rule() for right in RIGHTS]
