"""Registers custom.metrics.k8s.io with the API server while prometheus-adapter serves it.

An APIService with an unavailable server makes discovery fail, and with it the deletion of every namespace. The
APIService therefore exists only while prometheus-adapter answers and has metrics, and while a monitor in the cluster
makes Prometheus scrape.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from pathlib import Path

import aiohttp

from inferstack.apimachinery.labels import MANAGED_BY
from inferstack.apimachinery.objects import Object
from inferstack.k8s import ApiError, KubeClient
from inferstack.k8s.auth import cluster_of
from inferstack.k8s.informer import REQUEST_ERRORS, Informer
from rehearsal.metrics import APISERVICE, METRICS_NAMESPACE, METRICS_SERVICE
from rehearsal.simulators import FIELD_MANAGER

_LABELS = {MANAGED_BY: FIELD_MANAGER}
_PERIOD_SECONDS = 0.5
_FAILURE_THRESHOLD = 2
"""Failed checks after which the adapter counts as unavailable; a single check may fail on a busy machine."""
_API_VERSION = "apiregistration.k8s.io/v1"

log = logging.getLogger("metrics-api")


def make_service(port: int) -> Object:
    """Return the Service of the adapter: an external name for loopback, since no cluster address leads there.

    Args:
        port: port of the adapter.
    """
    meta = {"name": METRICS_SERVICE, "namespace": METRICS_NAMESPACE, "labels": _LABELS}
    ports = [{"name": "https", "port": port, "protocol": "TCP"}]
    spec = {"type": "ExternalName", "externalName": "localhost", "ports": ports}
    return {"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": spec}


def make_api_service(port: int, authority: str) -> Object:
    """Return the APIService.

    Args:
        port: port of the adapter.
        authority: CA that signed the adapter's certificate, as base64-encoded PEM.
    """
    group, version = "custom.metrics.k8s.io", "v1beta1"
    spec = {
        "group": group,
        "version": version,
        "groupPriorityMinimum": 100,
        "versionPriority": 100,
        "caBundle": authority,
        "service": {"name": METRICS_SERVICE, "namespace": METRICS_NAMESPACE, "port": port},
    }
    meta = {"name": APISERVICE, "labels": _LABELS}
    return {"apiVersion": _API_VERSION, "kind": "APIService", "metadata": meta, "spec": spec}


class MetricsApi:
    """Creates and deletes the APIService.

    Args:
        kube: connected client.
        kubeconfig: kubeconfig of the client, for the CA.
        port: port of the adapter, or None if the rehearsal has no adapter; leftovers of an earlier one are deleted.
        monitored: returns whether the cluster has a monitor. The adapter keeps metrics for a while after their pods are
            gone.
    """

    informers: Mapping[str, Informer] = {}

    def __init__(self, kube: KubeClient, *, kubeconfig: Path, port: int | None, monitored: Callable[[], bool]) -> None:
        self._kube = kube
        self._monitored = monitored
        self._authority = str(cluster_of(kubeconfig).get("certificate-authority-data", ""))
        self._port = port

    async def run(self) -> None:
        """Run until cancelled."""
        registered: bool | None = None
        failures = _FAILURE_THRESHOLD
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2)) as http:
            while True:
                failures = 0 if await self._serves(http) else failures + 1
                desired = self._monitored() and (failures == 0 or (failures < _FAILURE_THRESHOLD and bool(registered)))
                if desired != registered:
                    try:
                        await (self._register() if desired else self._unregister())
                        registered = desired
                    except REQUEST_ERRORS as error:
                        log.warning("%s", error)
                await asyncio.sleep(_PERIOD_SECONDS)

    async def _serves(self, http: aiohttp.ClientSession) -> bool:
        """Return whether the adapter answers and offers a metric; discovery fails for a group without metrics."""
        if self._port is None:
            return False
        url = f"https://127.0.0.1:{self._port}/apis/custom.metrics.k8s.io/v1beta1"
        try:
            async with http.get(url, ssl=self._kube.access.tls or True) as answer:
                return answer.status == 200 and bool((await answer.json())["resources"])
        except (aiohttp.ClientError, TimeoutError):
            return False

    async def _register(self) -> None:
        assert self._port is not None  # noqa: S101  # the adapter has just answered on this port
        for obj in (make_service(self._port), make_api_service(self._port, self._authority)):
            await self._kube.apply(obj, field_manager=FIELD_MANAGER)
        log.info("custom.metrics.k8s.io is served")

    async def _unregister(self) -> None:
        """Delete the APIService unless another owner created it."""
        current = await self._kube.find(_API_VERSION, "APIService", APISERVICE)
        if current and (current["metadata"].get("labels") or {}).items() >= _LABELS.items():
            await self._delete(_API_VERSION, "APIService", APISERVICE, None)
            log.info("custom.metrics.k8s.io is no longer served")
        await self._delete("v1", "Service", METRICS_SERVICE, METRICS_NAMESPACE)

    async def _delete(self, api_version: str, kind: str, name: str, namespace: str | None) -> None:
        try:
            await self._kube.delete(api_version, kind, name, namespace, propagation="Background")
        except ApiError as error:
            if not error.not_found:
                raise
