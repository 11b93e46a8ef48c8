"""Does to the cluster what was decided. Each action may be done twice."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Any

from inferstack.api.labels import MANAGER
from inferstack.controllers.mig.actions import Action, Cordon, Evict, SetLayout, Uncordon
from inferstack.controllers.mig.world import OWNER, pod_of
from inferstack.k8s import ApiError, KubeClient
from inferstack.k8s.informer import Informer
from inferstack.mig.gpu_operator import MIG_CONFIG, MIG_STATE

Object = dict[str, Any]

_AT_ONCE = 8
_AGAIN_SECONDS = 2.0
"""When to ask again to evict a pod. The API server itself says 10 s or nothing; a budget turns much sooner."""

_LOG = logging.getLogger("operator.mig")


class Hand:
    """Carries actions out.

    Args:
        kube: connected client.
    """

    def __init__(self, kube: KubeClient) -> None:
        self._kube = kube
        self._asked: dict[str, float] = {}

    async def carry_out(self, rollout: str, actions: Sequence[Action], nodes: Informer) -> None:
        """Do them, several at a time.

        Args:
            rollout: name of the rollout.
            actions: to be done; their order does not matter.
            nodes: where what was written is remembered, so that the next look sees it.

        Raises:
            ApiError: the first refusal that is neither a conflict nor a budget's.
        """
        limit = asyncio.Semaphore(_AT_ONCE)

        async def one(action: Action) -> None:
            async with limit:
                await self._do(rollout, action, nodes)

        results = await asyncio.gather(*map(one, actions), return_exceptions=True)
        if errors := [result for result in results if isinstance(result, BaseException)]:
            raise errors[0]

    async def _do(self, rollout: str, action: Action, nodes: Informer) -> None:
        match action:
            case Cordon(name):
                await self._patch(name, nodes, {OWNER: rollout}, unschedulable=True)
            case Uncordon(name):
                await self._patch(name, nodes, {OWNER: None}, unschedulable=None)
            case SetLayout(name, layout, empty):
                if empty and await self._is_used(name):
                    return
                await self._patch(name, nodes, {MIG_CONFIG: layout, MIG_STATE: None})
            case Evict():
                await self._evict(action)

    async def _patch(self, name: str, nodes: Informer, labels: dict[str, str | None], **spec: bool | None) -> None:
        known = nodes.objects.get(name)
        if known is None:
            return
        # The version keeps us from writing over what someone else has done since: their cordon, their layout.
        body: Object = {"metadata": {"labels": labels, "resourceVersion": known["metadata"]["resourceVersion"]}}
        if spec:
            body["spec"] = spec
        try:
            nodes.remember(await self._kube.patch("v1", "Node", name, body, field_manager=MANAGER))
        except ApiError as error:
            if not (error.conflict or error.not_found):
                raise

    async def _is_used(self, name: str) -> bool:
        """Ask the API server itself: a pod may have been bound in the moment before the cordon."""
        listing = await self._kube.list("v1", "Pod", fields=f"spec.nodeName={name}")
        return any(pod_of(obj) for obj in listing["items"])

    async def _evict(self, action: Evict) -> None:
        pod, now = action.pod, asyncio.get_running_loop().time()
        if now < self._asked.get(pod.uid, float("-inf")) + _AGAIN_SECONDS:
            return
        self._asked = {uid: when for uid, when in self._asked.items() if now < when + _AGAIN_SECONDS}
        self._asked[pod.uid] = now
        body = {
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"name": pod.name, "namespace": pod.namespace},
            "deleteOptions": {"preconditions": {"uid": pod.uid}},
        }
        try:
            await self._kube.request("POST", f"/api/v1/namespaces/{pod.namespace}/pods/{pod.name}/eviction", body=body)
        except ApiError as error:
            # 429: a budget. 404 and 409: it is gone, or another by its name. 500: it is in two budgets.
            if error.code not in (404, 409, 429, 500):
                raise
            _LOG.debug("%s was not evicted: %s", pod, error)
        else:
            _LOG.info("evicted %s from %s", pod, pod.node)
