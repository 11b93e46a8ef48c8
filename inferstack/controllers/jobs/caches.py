"""Datasets and DataLoads in view, from the first job on that has a cache."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from inferstack.api import Cache
from inferstack.api.labels import Object
from inferstack.controllers.jobs import cache as caching
from inferstack.controllers.jobs.cache import API_VERSION, Warmth
from inferstack.controllers.jobs.obstacles import Obstacle
from inferstack.k8s import KubeClient
from inferstack.k8s.informer import Informer, newer_of

_PATIENCE_SECONDS = 5.0
"""How long the first lists may take before jobs are told that they are missing."""


class Caches:
    """What is cached where.

    Fluid need not be installed: a kind that is not served is one without objects. Until a job asks for a cache nothing
    is watched, so that a cluster without Fluid is not asked for its kinds for ever.

    Args:
        kube: connected client.
        on_change: called with the key of a Dataset when something of it changed.
    """

    def __init__(self, kube: KubeClient, on_change: Callable[[str], None]) -> None:
        self._on_change = on_change
        self._wanted = asyncio.Event()
        self._since = 0.0
        self._datasets = Informer(
            kube,
            API_VERSION,
            "Dataset",
            on_change=self._dataset_changed,
            prune=caching.prune_dataset,
            optional=True,
        )
        self._loads = Informer(
            kube, API_VERSION, "DataLoad", on_change=self._load_changed, prune=caching.prune_load, optional=True
        )

    async def run(self) -> None:
        """Watch until cancelled, once a job asks for it."""
        await self._wanted.wait()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._datasets.run())
            group.create_task(self._loads.run())

    def look(self, cache: Cache, namespace: str) -> Warmth | None:
        """Tell how warm a job's cache is; None where the first lists are about to come."""
        now = asyncio.get_running_loop().time()
        if not self._wanted.is_set():
            self._wanted.set()
            self._since = now
        if self._datasets.synced.is_set() and self._loads.synced.is_set():
            return caching.look(cache, namespace, self._datasets.objects, self._loads.objects.values())
        if now < self._since + _PATIENCE_SECONDS:
            return None
        return Warmth(Obstacle("CacheUnknown", "the operator cannot list Datasets and DataLoads: may it?"))

    def concerns(self, changed: str, namespace: str, dataset: str) -> bool:
        """Tell whether a changed Dataset, by its key, matters to a job that names one."""
        return changed in (f"{namespace}/{dataset}", caching.origin(namespace, dataset, self._datasets.objects))

    def _dataset_changed(self, before: Object | None, after: Object | None) -> None:
        meta = newer_of(before, after)["metadata"]
        self._on_change(f"{meta['namespace']}/{meta['name']}")

    def _load_changed(self, before: Object | None, after: Object | None) -> None:
        load = newer_of(before, after)
        self._on_change(f"{load['metadata']['namespace']}/{load['dataset']}")
