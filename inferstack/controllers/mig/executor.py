"""Carries out actions on the cluster. Each action may be repeated."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from inferstack.api.labels import MANAGER
from inferstack.apimachinery.objects import Object
from inferstack.controllers.mig.actions import Action, Cordon, Evict, SetLayout, Uncordon
from inferstack.controllers.mig.cluster_state import OWNER, pod_of
from inferstack.k8s import ApiError, KubeClient
from inferstack.k8s.informer import Informer
from inferstack.mig.gpu_operator import MIG_CONFIG, MIG_STATE

_AT_ONCE = 8
_AGAIN_SECONDS = 2.0
"""Interval of eviction attempts. The API server suggests 10 s or nothing; a budget changes much sooner."""

_LOG = logging.getLogger("operator.mig")


class ActionExecutor:
    """Carries out actions.

    Args:
        kube: connected client.
    """

    def __init__(self, kube: KubeClient) -> None:
        self._kube = kube
        self._attempts: dict[str, float] = {}

    async def execute(self, rollout: str, actions: Sequence[Action], nodes: Informer) -> None:
        """Carry out actions, several at a time.

        Args:
            rollout: name of the rollout.
            actions: in any order.
            nodes: receives the nodes that were written, ahead of its watch.

        Raises:
            ApiError: the first refusal other than a conflict or a budget's.
        """
        limit = asyncio.Semaphore(_AT_ONCE)

        async def run(action: Action) -> None:
            async with limit:
                await self._execute(rollout, action, nodes)

        results = await asyncio.gather(*map(run, actions), return_exceptions=True)
        if errors := [result for result in results if isinstance(result, BaseException)]:
            raise errors[0]

    async def _execute(self, rollout: str, action: Action, nodes: Informer) -> None:
        match action:
            case Cordon(name):
                await self._patch(name, nodes, {OWNER: rollout}, unschedulable=True)
            case Uncordon(name):
                await self._patch(name, nodes, {OWNER: None}, unschedulable=None)
            case SetLayout(name, layout, empty):
                if empty and await self._has_gpu_pods(name):
                    return
                await self._patch(name, nodes, {MIG_CONFIG: layout, MIG_STATE: None})
            case Evict():
                await self._evict(action)

    async def _patch(self, name: str, nodes: Informer, labels: dict[str, str | None], **spec: bool | None) -> None:
        node = nodes.objects.get(name)
        if node is None:
            return
        # The resourceVersion prevents overwriting a cordon or a layout that someone else has set meanwhile.
        body: Object = {"metadata": {"labels": labels, "resourceVersion": node["metadata"]["resourceVersion"]}}
        if spec:
            body["spec"] = spec
        try:
            nodes.remember(await self._kube.patch("v1", "Node", name, body, field_manager=MANAGER))
        except ApiError as error:
            if not (error.conflict or error.not_found):
                raise

    async def _has_gpu_pods(self, name: str) -> bool:
        """Return whether a pod holds GPUs, by the API server: one may have been bound just before the cordon."""
        listing = await self._kube.list("v1", "Pod", fields=f"spec.nodeName={name}")
        return any(pod_of(obj) for obj in listing["items"])

    async def _evict(self, action: Evict) -> None:
        pod, now = action.pod, asyncio.get_running_loop().time()
        if now < self._attempts.get(pod.uid, float("-inf")) + _AGAIN_SECONDS:
            return
        self._attempts = {uid: when for uid, when in self._attempts.items() if now < when + _AGAIN_SECONDS}
        self._attempts[pod.uid] = now
        body = {
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"name": pod.name, "namespace": pod.namespace},
            "deleteOptions": {"preconditions": {"uid": pod.uid}},
        }
        try:
            await self._kube.request("POST", f"/api/v1/namespaces/{pod.namespace}/pods/{pod.name}/eviction", body=body)
        except ApiError as error:
            # 429: a budget. 404 and 409: the pod is gone, or has been replaced. 500: it matches two budgets.
            if error.code not in (404, 409, 429, 500):
                raise
            _LOG.debug("%s was not evicted: %s", pod, error)
        else:
            _LOG.info("evicted %s from %s", pod, pod.node)
