"""What the job controller observes: local copies of jobs, their children, pods and Datasets.

Each change puts the key of the job that it concerns into the work queue.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from inferstack.api import Cache, constants, labels
from inferstack.apimachinery.labels import JOB
from inferstack.apimachinery.objects import Object
from inferstack.controllers.jobs import datasets, pruning
from inferstack.controllers.jobs.children import KINDS
from inferstack.controllers.jobs.datasets import CacheState
from inferstack.controllers.jobs.reasons import ConditionReason, Reason
from inferstack.k8s import KubeClient
from inferstack.k8s.informer import Informer, key_of, newer_of
from inferstack.k8s.workqueue import WorkQueue

_SETTLE_SECONDS = 0.05
"""Changes of children and pods come in bursts; one run answers a burst."""
_DATASET_SECONDS = 5.0
"""How long the first lists of Datasets and DataLoads may take before jobs report that they are missing."""


class JobInformers:
    """Jobs and what belongs to them.

    Args:
        kube: connected client.
        namespace: the namespace to watch; None for all.
        queue: receives the keys of jobs that changed, or whose children, pods or Datasets did.
    """

    def __init__(self, kube: KubeClient, namespace: str | None, queue: WorkQueue) -> None:
        self._queue = queue
        self._pods: dict[str, dict[str, Object]] = {}
        self.lost_children: set[str] = set()
        """Keys of jobs of which a child has vanished."""
        self.jobs = Informer(
            kube,
            constants.API_VERSION,
            constants.KIND,
            on_change=self._job_changed,
            namespace=namespace,
            prune=pruning.prune_job,
        )
        self.children = {
            kind: Informer(
                kube,
                version,
                kind,
                on_change=self._child_changed,
                namespace=namespace,
                labels=labels.CHILDREN,
                prune=pruning.prune_child,
            )
            for kind, version in KINDS.items()
        }
        pods = Informer(
            kube,
            "v1",
            "Pod",
            on_change=self._pod_changed,
            namespace=namespace,
            labels=labels.CHILDREN,
            prune=pruning.prune_pod,
        )
        self._needed = [self.jobs, *self.children.values(), pods]
        self._datasets = DatasetInformers(kube, self._dataset_changed)

    async def run(self) -> None:
        """Watch until cancelled."""
        async with asyncio.TaskGroup() as group:
            for informer in self._needed:
                group.create_task(informer.run())
            group.create_task(self._datasets.run())

    async def wait_synced(self) -> None:
        """Return when the first lists are in; those of Datasets are not waited for."""
        for informer in self._needed:
            await informer.synced.wait()

    @property
    def trouble(self) -> str:
        """Why first lists are missing, as far as that is known."""
        missing = [informer for informer in self._needed if not informer.synced.is_set()]
        return "; ".join(sorted({informer.trouble for informer in missing if informer.trouble}))

    def job(self, key: str) -> Object | None:
        """Return a job by key."""
        return self.jobs.objects.get(key)

    def running_pods(self, key: str) -> list[Object]:
        """Return the pods of a job that have not ended and are not being deleted."""
        return [
            pod
            for pod in self._pods.get(key, {}).values()
            if not pod["metadata"].get("deletionTimestamp") and pod["status"]["phase"] not in ("Failed", "Succeeded")
        ]

    def cache_state(self, cache: Cache, namespace: str) -> CacheState | None:
        """Return the state of a job's cache; None while the first lists are on their way."""
        return self._datasets.state(cache, namespace)

    def _job_changed(self, before: Object | None, after: Object | None) -> None:
        if before is None or after is None or _relevant(before) != _relevant(after):
            self._queue.add(key_of(newer_of(before, after)))

    def _child_changed(self, before: Object | None, after: Object | None) -> None:
        key = key_of(newer_of(before, after))
        if after is None:
            self.lost_children.add(key)
        self._queue.add_after(key, _SETTLE_SECONDS)

    def _pod_changed(self, before: Object | None, after: Object | None) -> None:
        meta = newer_of(before, after)["metadata"]
        key = f"{meta['namespace']}/{meta['labels'][JOB]}"
        pods = self._pods.setdefault(key, {})
        if after is None:
            pods.pop(meta["name"], None)
            if not pods:
                del self._pods[key]
        else:
            pods[meta["name"]] = after
        # A healthy pod adds nothing to the counts in its Deployment's status.
        if any(side and len(side["status"]) > 1 for side in (before, after)):
            self._queue.add_after(key, _SETTLE_SECONDS)

    def _dataset_changed(self, dataset: str) -> None:
        for key, job in self.jobs.objects.items():
            name = (job["spec"].get("cache") or {}).get("dataset")
            if name and self._datasets.concerns(dataset, job["metadata"]["namespace"], name):
                self._queue.add_after(key, _SETTLE_SECONDS)


def _relevant(job: Object) -> tuple[object, ...]:
    """Return what a reconciliation depends on; labels, for example, are not part of it."""
    meta = job["metadata"]
    return meta["uid"], meta["generation"], meta.get("deletionTimestamp"), job.get("status")


class DatasetInformers:
    """Fluid's Datasets and DataLoads.

    Fluid need not be installed: a kind that is not served has no objects. Nothing is watched until a job has a cache,
    so that a cluster without Fluid is not asked for its kinds again and again. The namespace is not narrowed: a Dataset
    may refer to one in another namespace.

    Args:
        kube: connected client.
        on_change: called with the key of a Dataset when it, or a DataLoad of it, changed.
    """

    def __init__(self, kube: KubeClient, on_change: Callable[[str], None]) -> None:
        self._on_change = on_change
        self._needed = asyncio.Event()
        self._since = 0.0
        self._datasets = Informer(
            kube,
            datasets.API_VERSION,
            "Dataset",
            on_change=self._dataset_changed,
            prune=pruning.prune_dataset,
            optional=True,
        )
        self._loads = Informer(
            kube,
            datasets.API_VERSION,
            "DataLoad",
            on_change=self._load_changed,
            prune=pruning.prune_load,
            optional=True,
        )

    async def run(self) -> None:
        """Watch until cancelled, from the first job with a cache on."""
        await self._needed.wait()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._datasets.run())
            group.create_task(self._loads.run())

    def state(self, cache: Cache, namespace: str) -> CacheState | None:
        """Return the state of a job's cache; None while the first lists are on their way."""
        now = asyncio.get_running_loop().time()
        if not self._needed.is_set():
            self._needed.set()
            self._since = now
        if self._datasets.synced.is_set() and self._loads.synced.is_set():
            return datasets.cache_state(cache, namespace, self._datasets.objects, self._loads.objects.values())
        if now < self._since + _DATASET_SECONDS:
            return None
        reason = self._datasets.trouble or self._loads.trouble or "the API server has not answered yet"
        return CacheState(ConditionReason(Reason.CACHE_UNKNOWN, f"Datasets and DataLoads cannot be listed: {reason}"))

    def concerns(self, changed: str, namespace: str, dataset: str) -> bool:
        """Return whether a changed Dataset, by its key, matters to a job that names a Dataset."""
        return changed in (f"{namespace}/{dataset}", datasets.origin(namespace, dataset, self._datasets.objects))

    def _dataset_changed(self, before: Object | None, after: Object | None) -> None:
        meta = newer_of(before, after)["metadata"]
        self._on_change(f"{meta['namespace']}/{meta['name']}")

    def _load_changed(self, before: Object | None, after: Object | None) -> None:
        load = newer_of(before, after)
        self._on_change(f"{load['metadata']['namespace']}/{load['dataset']}")
