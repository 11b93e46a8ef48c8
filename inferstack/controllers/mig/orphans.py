"""Nodes that were cordoned for a rollout that is no more: it was deleted half-way. They are given back."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from inferstack.api import Phase, Step
from inferstack.api.labels import MANAGER
from inferstack.controllers.mig.world import OWNER, node_of
from inferstack.k8s import KubeClient
from inferstack.k8s.informer import Informer

Object = dict[str, Any]

_AGAIN_SECONDS = 2.0
_PATIENCE_SECONDS = 600.0
"""How long a MIG manager that does not end is waited for."""

_LOG = logging.getLogger("operator.mig")


def is_orphan(node: str, rollout: Object | None) -> bool:
    """Tell whether nobody works on a node any more that carries the mark of a rollout.

    Args:
        node: its name.
        rollout: the one that it names; None where there is none.
    """
    if rollout is None or "deletionTimestamp" in rollout["metadata"]:
        return True
    status = rollout.get("status") or {}
    if Phase(status.get("phase", Phase.PENDING)).final:
        return True
    named = any(want["name"] == node for want in rollout["spec"]["nodes"])
    ended = any(Step(one["step"]).ended for one in status.get("nodes") or () if one["name"] == node)
    return not named or ended


class Orphans:
    """Looks for them at the start and when a rollout ends or goes.

    Args:
        kube: connected client.
        rollouts: all rollouts.
    """

    def __init__(self, kube: KubeClient, rollouts: Informer) -> None:
        self._kube, self._rollouts = kube, rollouts
        self._due = True
        self._seen: dict[str, float] = {}

    def look_again(self) -> None:
        """Look at the next turn."""
        self._due = True

    async def release(self) -> float | None:
        """Uncordon orphans whose GPUs nobody cuts; return the seconds after which to come again, None: not needed."""
        if not self._due:
            return None
        now = asyncio.get_running_loop().time()
        left: set[str] = set()
        for obj in (await self._kube.list("v1", "Node", labels=OWNER))["items"]:
            node = node_of(obj)
            if not is_orphan(node.name, self._rollouts.objects.get(node.owner or "")):
                continue
            since = self._seen.setdefault(node.name, now)
            if node.state in ("success", "failed") or now - since > _PATIENCE_SECONDS:
                _LOG.warning("%s: uncordoned, its rollout %s is no more", node.name, node.owner)
                meta = {"labels": {OWNER: None}, "resourceVersion": obj["metadata"]["resourceVersion"]}
                body = {"metadata": meta, "spec": {"unschedulable": None}}
                await self._kube.patch("v1", "Node", node.name, body, field_manager=MANAGER)
            else:
                left.add(node.name)
        self._seen = {name: since for name, since in self._seen.items() if name in left}
        self._due = bool(left)
        return _AGAIN_SECONDS if left else None
