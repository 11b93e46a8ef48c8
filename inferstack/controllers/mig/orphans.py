"""Uncordons nodes of rollouts that were deleted before they finished."""

from __future__ import annotations

import asyncio
import logging

from inferstack.api import Phase, Step
from inferstack.api.labels import MANAGER
from inferstack.apimachinery.objects import Object
from inferstack.controllers.mig.cluster_state import OWNER, node_of
from inferstack.k8s import KubeClient
from inferstack.k8s.informer import Informer

_POLL_SECONDS = 2.0
_BUSY_SECONDS = 600.0
"""How long to wait for a MIG manager that does not finish."""

_LOG = logging.getLogger("operator.mig")


def is_orphan(node: str, rollout: Object | None) -> bool:
    """Return whether no rollout works on a node that has the label of one.

    Args:
        node: its name.
        rollout: the one that the label names; None if it does not exist.
    """
    if rollout is None or "deletionTimestamp" in rollout["metadata"]:
        return True
    status = rollout.get("status") or {}
    if Phase(status.get("phase", Phase.PENDING)).final:
        return True
    listed = any(want["name"] == node for want in rollout["spec"]["nodes"])
    ended = any(Step(record["step"]).ended for record in status.get("nodes") or () if record["name"] == node)
    return not listed or ended


class Orphans:
    """Finds orphaned nodes at the start, and when a rollout ends or is deleted.

    Args:
        kube: connected client.
        rollouts: all rollouts.
    """

    def __init__(self, kube: KubeClient, rollouts: Informer) -> None:
        self._kube, self._rollouts = kube, rollouts
        self._due = True
        self._since: dict[str, float] = {}

    def check_soon(self) -> None:
        """Check in the next run."""
        self._due = True

    async def release(self) -> float | None:
        """Uncordon orphans whose MIG manager is idle; return seconds after which to check again, None if not needed."""
        if not self._due:
            return None
        now = asyncio.get_running_loop().time()
        left: set[str] = set()
        for obj in (await self._kube.list("v1", "Node", labels=OWNER))["items"]:
            node = node_of(obj)
            if not is_orphan(node.name, self._rollouts.objects.get(node.owner or "")):
                continue
            since = self._since.setdefault(node.name, now)
            if node.state in ("success", "failed") or now - since > _BUSY_SECONDS:
                _LOG.warning("%s: uncordoned, because its rollout %s no longer exists", node.name, node.owner)
                meta = {"labels": {OWNER: None}, "resourceVersion": obj["metadata"]["resourceVersion"]}
                body = {"metadata": meta, "spec": {"unschedulable": None}}
                await self._kube.patch("v1", "Node", node.name, body, field_manager=MANAGER)
            else:
                left.add(node.name)
        self._since = {name: since for name, since in self._since.items() if name in left}
        self._due = bool(left)
        return _POLL_SECONDS if left else None
