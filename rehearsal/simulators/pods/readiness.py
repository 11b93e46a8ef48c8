"""Restores the Ready condition of pods when the kubelet of their node is back.

The node controller sets Ready to false on the pods of a node that does not report, in an outage or while the laptop
sleeps. A real kubelet then sets the condition to true again; kwok reports a pod's readiness only once.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from inferstack.apimachinery.objects import Object
from inferstack.k8s import ApiError, KubeClient
from inferstack.k8s.client import STRATEGIC
from inferstack.k8s.conditions import condition_status
from inferstack.k8s.workqueue import WorkQueue
from rehearsal.simulators import FIELD_MANAGER
from rehearsal.simulators.pods.podspec import SELECTOR

_PROCESS_BACKED = dict(part.split("=") for part in SELECTOR.split(","))
"""Labels of process-backed pods."""
_ATTEMPTS = 3
_PAUSE = 3.0
"""Seconds between checks: the node controller may still be updating pods when the node is ready again."""


def lost_ready_condition(pod: Mapping[str, Any]) -> bool:
    """Return whether a pod is not ready although its containers are; process-backed pods report their own readiness."""
    labels = pod["metadata"].get("labels") or {}
    if _PROCESS_BACKED.items() <= labels.items() or pod["metadata"].get("deletionTimestamp"):
        return False
    return condition_status(pod, "ContainersReady") == "True" and condition_status(pod, "Ready") == "False"


class Readiness:
    """Restores the readiness of pods on nodes that are back.

    Args:
        kube: connected client.
    """

    def __init__(self, kube: KubeClient) -> None:
        self._kube = kube
        self._queue = WorkQueue(self._reconcile, workers=4, name="readiness")
        self._attempts: dict[str, int] = {}
        self._silent: set[str] = set()

    async def run(self) -> None:
        """Run until cancelled."""
        await self._queue.run()

    def observe_node(self, name: str, node: Mapping[str, Any] | None) -> None:
        """Record the current state of a node, or None if the node is gone; a new node does not count as back."""
        ready = condition_status(node, "Ready") if node else None
        if ready in ("False", "Unknown"):
            self._silent.add(name)
        elif name in self._silent:
            self._silent.discard(name)
            if ready == "True":
                self._attempts[name] = _ATTEMPTS
                self._queue.add(name)

    async def _reconcile(self, node: str) -> float | None:
        for pod in (await self._kube.list("v1", "Pod", fields=f"spec.nodeName={node}"))["items"]:
            if lost_ready_condition(pod):
                await self._set_ready(pod)
        remaining = self._attempts.pop(node, 1) - 1
        if remaining:
            self._attempts[node] = remaining
        return _PAUSE if remaining else None

    async def _set_ready(self, pod: Object) -> None:
        meta = pod["metadata"]
        patch = {"metadata": {"uid": meta["uid"]}, "status": {"conditions": [{"type": "Ready", "status": "True"}]}}
        try:
            await self._kube.patch(
                "v1",
                "Pod",
                meta["name"],
                patch,
                meta["namespace"],
                field_manager=FIELD_MANAGER,
                content_type=STRATEGIC,
                subresource="status",
            )
        except ApiError as error:
            if not (error.not_found or error.conflict):
                raise
