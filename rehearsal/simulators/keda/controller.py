"""KEDA's operator: creates the HorizontalPodAutoscaler of each ScaledObject and writes the ScaledObject's status.

The autoscaler is a real one, reconciled by the cluster's own controller. The rehearsal does not serve
external.metrics.k8s.io, so the autoscaler reports that it cannot read its metrics and scales nothing.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Mapping

from inferstack.apimachinery.labels import MANAGED_BY
from inferstack.apimachinery.objects import Object
from inferstack.k8s import ApiError, KubeClient, UnknownKindError
from inferstack.k8s.informer import Informer, key_of, newer_of
from inferstack.k8s.workqueue import WorkQueue
from rehearsal.simulators import FIELD_MANAGER
from rehearsal.simulators.keda.objects import (
    API_VERSION,
    FINALIZER,
    HPA,
    HPA_VERSION,
    KIND,
    NAME_LABEL,
    OPERATOR,
    Target,
    hpa_name,
    is_paused,
    make_hpa,
    make_status,
    paused_replicas,
    problem,
    scaling_active,
    target_reference,
)

_FIRST_LISTS_SECONDS = 0.2
_RETRY_SECONDS = 1.0
"""Seconds until an invalid ScaledObject is reconciled again, because its target may have been created."""

log = logging.getLogger("keda")


class KedaController:
    """Simulates KEDA's operator.

    Args:
        kube: connected client.
    """

    def __init__(self, kube: KubeClient) -> None:
        self._kube = kube
        self._queue = WorkQueue(self._reconcile, workers=2, name="keda")
        # KEDA's chart installs the kind.
        self._scaled = Informer(kube, API_VERSION, KIND, on_change=self._scaled_changed, optional=True)
        self._hpas = Informer(
            kube,
            HPA_VERSION,
            HPA,
            on_change=self._hpa_changed,
            labels=f"{MANAGED_BY}={OPERATOR}",
        )
        self.informers: Mapping[str, Informer] = {"scaled objects": self._scaled, "KEDA's autoscalers": self._hpas}

    async def run(self) -> None:
        """Run until cancelled."""
        async with asyncio.TaskGroup() as group:
            for informer in self.informers.values():
                group.create_task(informer.run())
            group.create_task(self._queue.run())

    def _scaled_changed(self, before: Object | None, after: Object | None) -> None:
        self._queue.add(key_of(newer_of(before, after)))

    def _hpa_changed(self, before: Object | None, after: Object | None) -> None:
        # The cluster's controller writes a status every 15 s; most of these updates are irrelevant here.
        same = before is not None and after is not None and before["spec"] == after["spec"]
        if same and scaling_active(before) == scaling_active(after):
            return
        meta = newer_of(before, after)["metadata"]
        if scaled := (meta.get("labels") or {}).get(NAME_LABEL):
            self._queue.add(f"{meta['namespace']}/{scaled}")

    async def _reconcile(self, key: str) -> float | None:
        if not all(informer.synced.is_set() for informer in self.informers.values()):
            return _FIRST_LISTS_SECONDS
        scaled = self._scaled.objects.get(key)
        if scaled is None:
            return None
        if scaled["metadata"].get("deletionTimestamp"):
            await self._remove_finalizer(scaled)
            return None
        if not await self._ensure_finalizer(scaled):
            return None  # the watch reports the new state
        target = await self._target(scaled)
        invalid = problem(scaled, target)
        if invalid is None and is_paused(scaled):
            await self._remove_hpas(scaled, keep=None)
            if (count := paused_replicas(scaled)) is not None and target and target.replicas != count:
                await self._scale(scaled, count)
        elif invalid is None:
            await self._remove_hpas(scaled, keep=hpa_name(scaled))
            self._hpas.remember(await self._kube.apply(make_hpa(scaled), field_manager=FIELD_MANAGER))
        hpa = self._hpas.objects.get(f"{scaled['metadata']['namespace']}/{hpa_name(scaled)}")
        await self._update_status(scaled, make_status(scaled, target, hpa))
        return _RETRY_SECONDS if invalid else None

    async def _target(self, scaled: Object) -> Target | None:
        api_version, kind, name = target_reference(scaled)
        try:
            resource = await self._kube.resource(api_version, kind)
        except UnknownKindError:
            return None
        target = await self._kube.find(api_version, kind, name, scaled["metadata"]["namespace"])
        group, _, version = api_version.rpartition("/")
        replicas = None if target is None else int(target["spec"].get("replicas", 1))
        return Target(group, version, kind, resource.plural, "scale" in resource.subresources, replicas)

    async def _scale(self, scaled: Object, replicas: int) -> None:
        api_version, kind, name = target_reference(scaled)
        namespace = scaled["metadata"]["namespace"]
        body = {"spec": {"replicas": replicas}}
        await self._kube.patch(
            api_version, kind, name, body, namespace, subresource="scale", field_manager=FIELD_MANAGER
        )

    async def _ensure_finalizer(self, scaled: Object) -> bool:
        """Add finalizer and label to a ScaledObject that lacks them; return False if they were only just added."""
        meta = scaled["metadata"]
        wanted: Object = {}
        if FINALIZER not in (meta.get("finalizers") or []):
            wanted["finalizers"] = [*(meta.get("finalizers") or []), FINALIZER]
        if (meta.get("labels") or {}).get(NAME_LABEL) != meta["name"]:
            wanted["labels"] = {NAME_LABEL: meta["name"]}
        if wanted:
            await self._patch(scaled, wanted)
        return not wanted

    async def _remove_finalizer(self, scaled: Object) -> None:
        """Delete the autoscaler, restore the target's replicas if requested, then remove the finalizer."""
        meta = scaled["metadata"]
        if FINALIZER not in (meta.get("finalizers") or []):
            return
        await self._remove_hpas(scaled, keep=None)
        original = (scaled.get("status") or {}).get("originalReplicaCount")
        if (scaled["spec"].get("advanced") or {}).get("restoreToOriginalReplicaCount") and original is not None:
            target = await self._target(scaled)
            if target and target.scalable and target.replicas is not None:
                await self._scale(scaled, original)
        await self._patch(scaled, {"finalizers": [other for other in meta["finalizers"] if other != FINALIZER]})

    async def _remove_hpas(self, scaled: Object, *, keep: str | None) -> None:
        """Delete the autoscalers of a ScaledObject except the one named ``keep``."""
        namespace, uid = scaled["metadata"]["namespace"], scaled["metadata"]["uid"]
        for hpa in list(self._hpas.objects.values()):
            meta = hpa["metadata"]
            owned = any(owner["uid"] == uid for owner in meta.get("ownerReferences") or [])
            if owned and meta["name"] != keep:
                await self._kube.delete(HPA_VERSION, HPA, meta["name"], namespace, propagation="Background")

    async def _patch(self, scaled: Object, metadata: Object) -> None:
        meta = scaled["metadata"]
        # With uid and resourceVersion, the patch neither drops another writer's finalizer nor changes another object.
        kept = {"uid": meta["uid"], "resourceVersion": meta["resourceVersion"]}
        body = {"metadata": {**kept, **metadata}}
        await self._store_result(
            self._kube.patch(API_VERSION, KIND, meta["name"], body, meta["namespace"], field_manager=FIELD_MANAGER)
        )

    async def _update_status(self, scaled: Object, status: Object) -> None:
        """Replace a status that differs as a whole, so that obsolete fields are removed."""
        if scaled.get("status") == status:
            return
        path = await self._kube.path_of(scaled, "status")
        params = {"fieldManager": FIELD_MANAGER}
        await self._store_result(self._kube.request("PUT", path, params=params, body={**scaled, "status": status}))
        ready = status["conditions"][0]
        log.info("%s: ready %s: %s", key_of(scaled), ready["status"], ready["message"])

    async def _store_result(self, write: Awaitable[Object]) -> None:
        try:
            written = await write
        except ApiError as error:
            if error.not_found:  # deleted in the meantime
                return
            raise
        if not written["metadata"].get("deletionTimestamp") or written["metadata"].get("finalizers"):
            self._scaled.remember(written)
        self._queue.add(key_of(written))
