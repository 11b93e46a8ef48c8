"""Whether jobs ever had fewer ready pods than their budgets demand: from all events, in their order."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass

from inferstack.apimachinery.objects import Object
from inferstack.k8s import KubeClient

Event = tuple[str, Object]


@dataclass(frozen=True)
class Breach:
    """A moment at which a budget was broken."""

    budget: str
    healthy: int
    desired: int
    version: int
    """The resourceVersion of the change that did it."""


def breaches(known: Iterable[Object], events: Iterable[Event]) -> list[Breach]:
    """Return each change after which a budget had fewer ready pods than it demands.

    Args:
        known: pods and PodDisruptionBudgets that were there before the first event.
        events: type and object of pods and PodDisruptionBudgets, from any number of watches; all of one etcd, so that
            their resourceVersions say what came first.
    """
    pods: dict[str, Object] = {}
    budgets: dict[str, Object] = {}
    breaches: list[Breach] = []
    for obj in known:
        table = budgets if obj["kind"] == "PodDisruptionBudget" else pods
        table[f"{obj['metadata']['namespace']}/{obj['metadata']['name']}"] = obj
    for change, obj in sorted(events, key=lambda event: int(event[1]["metadata"]["resourceVersion"])):
        meta = obj["metadata"]
        table = budgets if obj["kind"] == "PodDisruptionBudget" else pods
        key = f"{meta['namespace']}/{meta['name']}"
        if change == "DELETED":
            table.pop(key, None)
        else:
            table[key] = obj
        for name, budget in budgets.items():
            desired = budget.get("status", {}).get("desiredHealthy", 0)
            healthy = sum(_counts(pod, budget) for pod in pods.values())
            if healthy < desired:
                breaches.append(Breach(name, healthy, desired, int(meta["resourceVersion"])))
    return breaches


def _counts(pod: Object, budget: Object) -> bool:
    meta = pod["metadata"]
    wanted = budget["spec"]["selector"]["matchLabels"]
    if meta["namespace"] != budget["metadata"]["namespace"] or not wanted.items() <= meta.get("labels", {}).items():
        return False
    ready = any(c["type"] == "Ready" and c["status"] == "True" for c in pod.get("status", {}).get("conditions") or [])
    return ready and "deletionTimestamp" not in meta


class Recorder:
    """Writes down what happens to pods and budgets of a namespace, and how many nodes were cordoned at a time.

    Args:
        kube: connected client.
        namespace: to be watched.
    """

    def __init__(self, kube: KubeClient, namespace: str) -> None:
        self.known: list[Object] = []
        self.events: list[Event] = []
        self.most_cordoned = 0
        self._kube, self._namespace = kube, namespace
        self._tasks: list[asyncio.Task[None]] = []
        self._cordoned: set[str] = set()

    async def start(self) -> None:
        """Write down what is there, and from then on each change."""
        for version, kind in (("v1", "Pod"), ("policy/v1", "PodDisruptionBudget")):
            listing = await self._kube.list(version, kind, self._namespace)
            self.known += [{**obj, "kind": kind} for obj in listing["items"]]
            since = listing["metadata"]["resourceVersion"]
            self._tasks.append(asyncio.create_task(self._record(version, kind, since)))
        self._tasks.append(asyncio.create_task(self._count()))

    def breaches(self) -> list[Breach]:
        """Return the breaches until now."""
        return breaches(self.known, self.events)

    async def stop(self) -> None:
        """End, unless a watch broke: then what was seen is not all that happened.

        Raises:
            Exception: what broke it.
        """
        broken = [task for task in self._tasks if task.done()]
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for task in broken:
            task.result()
        assert not broken, "a watch ended"

    async def _record(self, version: str, kind: str, since: str) -> None:
        async for change, obj in self._kube.watch(version, kind, self._namespace, since=since, timeout=900):
            if change != "BOOKMARK":
                self.events.append((change, {**obj, "kind": kind}))

    async def _count(self) -> None:
        async for change, node in self._kube.watch("v1", "Node", timeout=900):
            if change == "BOOKMARK":
                continue
            if change != "DELETED" and node["spec"].get("unschedulable"):
                self._cordoned.add(node["metadata"]["name"])
            else:
                self._cordoned.discard(node["metadata"]["name"])
            self.most_cordoned = max(self.most_cordoned, len(self._cordoned))
