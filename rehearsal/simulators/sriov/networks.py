"""The networks of the SR-IOV network operator: each becomes a NetworkAttachmentDefinition in its target namespace."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from typing import Any

from inferstack.apimachinery.objects import Object
from inferstack.k8s import ApiError, KubeClient
from inferstack.k8s.informer import Informer, key_of, newer_of
from inferstack.k8s.workqueue import WorkQueue
from rehearsal.simulators import FIELD_MANAGER
from rehearsal.simulators.sriov.controller import CONFIG, offered_prefix
from rehearsal.simulators.sriov.policies import API_VERSION, NAMESPACE

FINALIZER = "netattdef.finalizers.sriovnetwork.openshift.io"
LAST_NAMESPACE = "operator.sriovnetwork.openshift.io/last-network-namespace"
ATTACHMENT = ("k8s.cni.cncf.io/v1", "NetworkAttachmentDefinition")
_KINDS = {"SriovNetwork": "sriov", "SriovIBNetwork": "ib-sriov"}
"""CNI plugin by kind."""
_NAMESPACE_SECONDS = 1.0
"""Seconds between checks for a namespace that does not exist yet."""


def make_attachment(kind: str, network: Mapping[str, Any], prefix: str) -> Object:
    """Return the NetworkAttachmentDefinition of a network.

    Raises:
        ValueError: a field that must contain JSON is not valid JSON.
    """
    spec, name = network["spec"], network["metadata"]["name"]
    plugin: Object = {"type": _KINDS[kind]}
    if kind == "SriovNetwork":
        plugin["vlan"] = spec.get("vlan", 0)
        plugin["vlanQoS"] = spec.get("vlanQoS", 0)
        for key, cni in (("spoofChk", "spoofchk"), ("trust", "trust"), ("vlanProto", "vlanProto"),
                         ("minTxRate", "min_tx_rate"), ("maxTxRate", "max_tx_rate")):  # fmt: skip
            if key in spec:
                plugin[cni] = spec[key]
        for key in ("logLevel", "logFile"):
            if spec.get(key):
                plugin[key] = spec[key]
    if spec.get("linkState"):
        plugin["link_state"] = spec["linkState"]
    if spec.get("capabilities"):
        plugin["capabilities"] = _parsed("capabilities", spec["capabilities"])
    plugin["ipam"] = _parsed("ipam", spec.get("ipam") or "{}")
    config: Object = {"cniVersion": "1.0.0", "name": name}
    if spec.get("metaPlugins"):
        config["plugins"] = [plugin, *_parsed("metaPlugins", f"[{spec['metaPlugins']}]")]
    else:
        config |= plugin
    meta = {
        "name": name,
        "namespace": spec.get("networkNamespace") or network["metadata"]["namespace"],
        "annotations": {"k8s.v1.cni.cncf.io/resourceName": f"{prefix}/{spec['resourceName']}"},
    }
    api_version, attachment = ATTACHMENT
    spec = {"config": json.dumps(config, indent=2)}
    return {"apiVersion": api_version, "kind": attachment, "metadata": meta, "spec": spec}


def _parsed(key: str, text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise ValueError(f"spec.{key}: {error}") from error


class SriovNetworkController:
    """Simulates the part of the operator that creates NetworkAttachmentDefinitions.

    Args:
        kube: connected client.
    """

    def __init__(self, kube: KubeClient) -> None:
        self._kube = kube
        self._queue = WorkQueue(self._reconcile, workers=2, name="sriov-networks")
        self._configs = Informer(
            kube, API_VERSION, "SriovOperatorConfig", namespace=NAMESPACE, on_change=self._config_changed, optional=True
        )
        self._networks = {
            kind: Informer(kube, API_VERSION, kind, namespace=NAMESPACE, on_change=self._changed(kind), optional=True)
            for kind in _KINDS
        }
        self._attachments = Informer(kube, *ATTACHMENT, on_change=self._attachment_changed, optional=True)
        self.informers: Mapping[str, Informer] = {
            "SR-IOV configurations for networks": self._configs,
            **{f"{kind}s": informer for kind, informer in self._networks.items()},
            "network attachments": self._attachments,
        }

    async def run(self) -> None:
        """Run until cancelled."""
        async with asyncio.TaskGroup() as group:
            for informer in self.informers.values():
                group.create_task(informer.run())
            group.create_task(self._queue.run())

    def _changed(self, kind: str) -> Callable[[Object | None, Object | None], None]:
        def changed(before: Object | None, after: Object | None) -> None:
            if after is not None:
                self._queue.add(f"{kind}/{newer_of(before, after)['metadata']['name']}")

        return changed

    def _config_changed(self, _before: Object | None, _after: Object | None) -> None:
        for kind, informer in self._networks.items():
            for network in informer.objects.values():
                self._queue.add(f"{kind}/{network['metadata']['name']}")

    def _attachment_changed(self, before: Object | None, after: Object | None) -> None:
        name = newer_of(before, after)["metadata"]["name"]
        for kind, informer in self._networks.items():
            if f"{NAMESPACE}/{name}" in informer.objects:
                self._queue.add(f"{kind}/{name}")

    async def _reconcile(self, key: str) -> float | None:
        if not all(informer.synced.is_set() for informer in self.informers.values()):
            return 0.2
        kind, _, name = key.partition("/")
        network = self._networks[kind].objects.get(f"{NAMESPACE}/{name}")
        if network is None:
            return None
        try:
            if network["metadata"].get("deletionTimestamp"):
                await self._remove(kind, network)
                return None
            return await self._make(kind, network)
        except ApiError as error:
            if error.not_found:
                return None  # deleted in the meantime; the watch reports it
            raise

    async def _remove(self, kind: str, network: Object) -> None:
        meta, spec = network["metadata"], network["spec"]
        if FINALIZER not in (meta.get("finalizers") or ()):
            return
        namespace = spec.get("networkNamespace") or meta["namespace"]
        if f"{namespace}/{meta['name']}" in self._attachments.objects:
            await self._kube.delete(*ATTACHMENT, meta["name"], namespace, propagation="Background")
        await self._patch(kind, network, finalizers=[each for each in meta["finalizers"] if each != FINALIZER])

    async def _make(self, kind: str, network: Object) -> float | None:
        meta = network["metadata"]
        finalizers = meta.get("finalizers") or []
        if FINALIZER not in finalizers:
            await self._patch(kind, network, finalizers=[*finalizers, FINALIZER])
            return 0.0
        wanted = make_attachment(kind, network, offered_prefix(self._configs.objects.get(f"{NAMESPACE}/{CONFIG}")))
        namespace = wanted["metadata"]["namespace"]
        last = (meta.get("annotations") or {}).get(LAST_NAMESPACE)
        if last not in (None, namespace):
            await self._kube.delete(*ATTACHMENT, meta["name"], last, propagation="Background")
        if await self._kube.find("v1", "Namespace", namespace) is None:
            return _NAMESPACE_SECONDS
        attachment = self._attachments.objects.get(key_of(wanted))
        if attachment is None or not _same(attachment, wanted):
            self._attachments.remember(await self._kube.apply(wanted, field_manager=FIELD_MANAGER))
        if last != namespace:
            await self._patch(kind, network, annotations={LAST_NAMESPACE: namespace})
        return None

    async def _patch(self, kind: str, network: Object, **changes: Any) -> None:
        meta = network["metadata"]
        # With the resourceVersion, the patch does not drop another writer's finalizer.
        body = {"metadata": {"uid": meta["uid"], "resourceVersion": meta["resourceVersion"], **changes}}
        patched = await self._kube.patch(
            API_VERSION, kind, meta["name"], body, meta["namespace"], field_manager=FIELD_MANAGER
        )
        self._networks[kind].remember(patched)


def _same(current: Object, wanted: Object) -> bool:
    there = current["metadata"].get("annotations") or {}
    annotated = all(there.get(key) == value for key, value in wanted["metadata"]["annotations"].items())
    return annotated and current.get("spec") == wanted["spec"]
