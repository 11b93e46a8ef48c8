"""Fluid: binds and loads Datasets and creates their volumes, as `status` and `volume` compute them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import UTC, datetime

from inferstack.apimachinery.objects import Object
from inferstack.apimachinery.rfc3339 import format_micro_time
from inferstack.k8s import ApiError, KubeClient
from inferstack.k8s.informer import Informer, key_of, newer_of
from inferstack.k8s.workqueue import WorkQueue
from rehearsal.simulators import FIELD_MANAGER
from rehearsal.simulators.fluid import status as fluid_status
from rehearsal.simulators.fluid import volume as fluid_volume
from rehearsal.simulators.fluid.status import API_VERSION, EXECUTING, STARTED, gone, key_of_load, origin

FINALIZERS = {
    "Dataset": "fluid-dataset-controller-finalizer",
    "AlluxioRuntime": "alluxio-runtime-controller-finalizer",
    "DataLoad": "fluid-dataload-controller-finalizer",
}
_FIRST_LISTS_SECONDS = 0.2
_BUSY_SECONDS = 0.5
"""Seconds between checks whether pods still use a Dataset that is being deleted."""
_SHORT_SECONDS = 1.0
"""Seconds between attempts to find nodes for unscheduled workers."""
_VOLUME_SECONDS = 0.1
"""Seconds between checks whether a new volume is available to claims."""
_SYNC_SECONDS = 15.0
"""Seconds between reconciliations of a bound Dataset, as in Fluid."""

log = logging.getLogger("fluid")


class FluidController:
    """Simulates Fluid's controllers. All objects of one Dataset are reconciled together, one after the other.

    Args:
        kube: connected client.
        nodes: returns the known nodes.
        clock: returns the current time.
    """

    def __init__(
        self,
        kube: KubeClient,
        *,
        nodes: Callable[[], Iterable[Object]],
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._kube, self._nodes, self._clock = kube, nodes, clock
        self._queue = WorkQueue(self._reconcile, workers=4, name="fluid")
        # Fluid's chart installs these kinds.
        self._datasets = Informer(kube, API_VERSION, "Dataset", on_change=self._dataset_changed, optional=True)
        self._runtimes = Informer(kube, API_VERSION, "AlluxioRuntime", on_change=self._runtime_changed, optional=True)
        self._loads = Informer(kube, API_VERSION, "DataLoad", on_change=self._load_changed, optional=True)
        self.informers: Mapping[str, Informer] = {
            "datasets": self._datasets,
            "runtimes": self._runtimes,
            "data loads": self._loads,
        }

    async def run(self) -> None:
        """Run until cancelled."""
        async with asyncio.TaskGroup() as group:
            for informer in self.informers.values():
                group.create_task(informer.run())
            group.create_task(self._queue.run())

    def _dataset_changed(self, before: Object | None, after: Object | None) -> None:
        key = key_of(newer_of(before, after))
        for side in (before, after):
            if physical := origin(side):
                self._queue.add(physical)
        for other in self._referrers(key):
            self._queue.add(key_of(other))
        self._queue.add(key)

    def _runtime_changed(self, before: Object | None, after: Object | None) -> None:
        self._queue.add(key_of(newer_of(before, after)))

    def _load_changed(self, before: Object | None, after: Object | None) -> None:
        self._queue.add(key_of_load(newer_of(before, after)))

    def _referrers(self, key: str) -> list[Object]:
        return [dataset for dataset in self._datasets.objects.values() if origin(dataset) == key]

    async def _reconcile(self, key: str) -> float | None:
        if not all(informer.synced.is_set() for informer in self.informers.values()):
            return _FIRST_LISTS_SECONDS
        loads = [load for load in self._loads.objects.values() if key_of_load(load) == key]
        pauses = [await self._load(key, load, loads) for load in loads]
        pauses.append(await self._runtime(key))
        pauses.append(await self._dataset(key))
        return min((pause for pause in pauses if pause is not None), default=None)

    async def _load(self, key: str, load: Object, loads: list[Object]) -> float | None:
        if gone(load):
            await self._remove_finalizer(self._loads, load)
            return None
        dataset = self._datasets.objects.get(key)
        if dataset is None or not await self._ensure_finalizer(self._loads, load, owner=dataset):
            return None
        executing = [other for other in loads if _phase(other) == EXECUTING and not gone(other)]
        if _phase(load) == EXECUTING and STARTED not in load["metadata"].get("annotations", {}):
            await self._patch(self._loads, load, {"annotations": {STARTED: format_micro_time(self._clock())}})
            return None
        status, wait = fluid_status.load_status(load, dataset, busy=bool(executing), now=self._clock())
        if status is not None:
            await self._update_status(self._loads, load, status)
        return wait

    async def _runtime(self, key: str) -> float | None:
        runtime, dataset = self._runtimes.objects.get(key), self._datasets.objects.get(key)
        if runtime is None:
            return None
        if gone(runtime):
            if not await self._remove_volume(key):
                return _BUSY_SECONDS
            await self._remove_finalizer(self._runtimes, runtime)
            return None
        if dataset is None or not await self._ensure_finalizer(self._runtimes, runtime, owner=dataset):
            return None  # Fluid waits for the Dataset
        nodes = sum(fluid_status.selects(dataset, node["metadata"].get("labels") or {}) for node in self._nodes())
        status, wait = fluid_status.runtime_status(runtime, nodes=nodes, now=self._clock())
        await self._update_status(self._runtimes, runtime, status)
        return wait or (_SYNC_SECONDS if status["workerPhase"] == "Ready" else _SHORT_SECONDS)

    async def _dataset(self, key: str) -> float | None:
        dataset = self._datasets.objects.get(key)
        if dataset is None:
            return None
        referrers = self._referrers(key)
        physical = origin(dataset)
        if gone(dataset):
            if await self._in_use(key) or referrers:
                return _BUSY_SECONDS
            if physical and not await self._remove_volume(key):
                return _BUSY_SECONDS
            await self._remove_finalizer(self._datasets, dataset)
            return None
        if not await self._ensure_finalizer(self._datasets, dataset):
            return None
        if physical:
            status = fluid_status.reference_status(dataset, self._datasets.objects.get(physical))
        else:
            bound = [key_of(other) for other in referrers if _phase(other) == "Bound"]
            loads = [load for load in self._loads.objects.values() if key_of_load(load) == key and not gone(load)]
            status = fluid_status.dataset_status(dataset, self._runtimes.objects.get(key), loads, bound, self._clock())
        await self._update_status(self._datasets, dataset, status)
        if status["phase"] == "Bound" and not await self._make_volume(dataset, physical or key):
            return _VOLUME_SECONDS
        return None

    async def _ensure_finalizer(self, informer: Informer, obj: Object, owner: Object | None = None) -> bool:
        """Add finalizer and owner to an object that lacks them; return False if they were only just added."""
        meta, finalizer = obj["metadata"], FINALIZERS[obj["kind"]]
        finalizers, owners = meta.get("finalizers") or [], meta.get("ownerReferences") or []
        wanted: Object = {}
        if finalizer not in finalizers:
            wanted["finalizers"] = [*finalizers, finalizer]
        if owner is not None and not any(entry["uid"] == owner["metadata"]["uid"] for entry in owners):
            head = {"apiVersion": API_VERSION, "kind": "Dataset"}
            reference = {**head, "name": owner["metadata"]["name"], "uid": owner["metadata"]["uid"]}
            wanted["ownerReferences"] = [*owners, reference]
        if wanted:
            await self._patch(informer, obj, {**wanted, "resourceVersion": meta["resourceVersion"]})
        return not wanted

    async def _remove_finalizer(self, informer: Informer, obj: Object) -> None:
        """Remove our finalizer from an object that is being deleted."""
        meta, finalizer = obj["metadata"], FINALIZERS[obj["kind"]]
        if finalizer in (meta.get("finalizers") or []):
            left = [other for other in meta["finalizers"] if other != finalizer]
            await self._patch(informer, obj, {"finalizers": left, "resourceVersion": meta["resourceVersion"]})

    async def _patch(self, informer: Informer, obj: Object, metadata: Object) -> None:
        meta = obj["metadata"]
        # With the uid, the server rejects the patch if another object has taken the name in the meantime.
        body = {"metadata": {"uid": meta["uid"], **metadata}}
        await self._store_result(
            informer,
            obj,
            self._kube.patch(
                API_VERSION, obj["kind"], meta["name"], body, meta["namespace"], field_manager=FIELD_MANAGER
            ),
        )

    async def _update_status(self, informer: Informer, obj: Object, status: Object) -> None:
        """Replace a status that differs as a whole, so that obsolete fields are removed."""
        if obj.get("status") == status:
            return
        if (was := _phase(obj)) != (now := status.get("phase")):
            log.info("%s %s: %s -> %s", obj["kind"], key_of(obj), was or "new", now)
        path = await self._kube.path_of(obj, "status")
        params = {"fieldManager": FIELD_MANAGER}
        await self._store_result(
            informer, obj, self._kube.request("PUT", path, params=params, body={**obj, "status": status})
        )

    async def _store_result(self, informer: Informer, obj: Object, write: Awaitable[Object]) -> None:
        try:
            written = await write
        except ApiError as error:
            if error.not_found:  # deleted in the meantime
                return
            raise
        if not gone(written) or written["metadata"].get("finalizers"):
            informer.remember(written)
        # The next reconciliation handles the consequences.
        self._queue.add(key_of_load(obj) if obj["kind"] == "DataLoad" else key_of(obj))

    async def _make_volume(self, dataset: Object, home: str) -> bool:
        """Ensure the volume and claim of a Dataset; return False if the claim must wait for the volume.

        Fluid does the same: if a claim is created before its volume is visible, the controller manager retries only
        after 15 s.
        """
        volume, claim = fluid_volume.make_volume(dataset, home), fluid_volume.make_claim(dataset)
        current = await self._kube.find("v1", "PersistentVolume", volume["metadata"]["name"])
        if current is None:
            await self._kube.create(volume, field_manager=FIELD_MANAGER)
            return False
        if (current.get("status") or {}).get("phase", "Pending") == "Pending":
            return False
        meta = claim["metadata"]
        if await self._kube.find("v1", "PersistentVolumeClaim", meta["name"], meta["namespace"]) is None:
            await self._kube.create(claim, field_manager=FIELD_MANAGER)
        return True

    async def _remove_volume(self, key: str) -> bool:
        """Delete the claim and volume of a Dataset; return False while they exist, since pods protect the claim."""
        namespace, _, name = key.partition("/")
        for kind, named, where in (
            ("PersistentVolumeClaim", name, namespace),
            ("PersistentVolume", fluid_volume.volume_name(key), None),
        ):
            current = await self._kube.find("v1", kind, named, where)
            if current is not None:
                if "deletionTimestamp" not in current["metadata"]:
                    await self._kube.delete("v1", kind, named, where, propagation="Background")
                return False
        return True

    async def _in_use(self, key: str) -> bool:
        namespace, _, name = key.partition("/")
        pods = (await self._kube.list("v1", "Pod", namespace))["items"]
        return any(fluid_volume.uses(pod, name) for pod in pods)


def _phase(obj: Object) -> str | None:
    phase: str | None = (obj.get("status") or {}).get("phase")
    return phase
