"""Write and remove what a job owns.

What is there is written by server-side apply. What is not is created: of a new Deployment that takes half the API
server's time of an apply (``benchmarks/jobs.py``), and no other's object of that name can be overrun.
"""

from __future__ import annotations

from inferstack.api import constants
from inferstack.api.labels import MANAGER, Object
from inferstack.controllers.jobs import compare
from inferstack.controllers.jobs.obstacles import Obstacle
from inferstack.k8s import ApiError, KubeClient
from inferstack.k8s.informer import Informer

KINDS = {
    "Deployment": "apps/v1",
    "Service": "v1",
    "PodDisruptionBudget": "policy/v1",
    "HorizontalPodAutoscaler": "autoscaling/v2",
}
"""API version by kind of what a job may own."""

SERVING = ("Deployment", "Service")
"""What a job cannot serve without."""

_REFUSALS = (400, 403, 404, 409, 413, 422)
"""Answers that asking again at once will not change."""
_NO_PATCH = "failed to create typed patch object"
"""What server-side apply says, with a 500, of an object that it cannot merge."""


class RefusedError(Exception):
    """The API server does not take a child; carries the obstacle for the status."""

    def __init__(self, obstacle: Obstacle) -> None:
        super().__init__(obstacle.message)
        self.obstacle = obstacle


class Children:
    """What jobs own, as it is and as it should be.

    Args:
        kube: connected client.
        informers: the live objects, by kind.
    """

    def __init__(self, kube: KubeClient, informers: dict[str, Informer]) -> None:
        self._kube = kube
        self._informers = informers
        # What an admission webhook changes again on each write would be written for ever: written once is enough.
        self._settled: dict[tuple[str, str], tuple[tuple[str, str], Object]] = {}

    def live(self, kind: str, key: str) -> Object | None:
        """Return a live object of a job, by the job's key."""
        return self._informers[kind].objects.get(key)

    def keys(self) -> set[str]:
        """Return the keys of all jobs that own something, or did."""
        return {key for informer in self._informers.values() for key in informer.objects}

    def forget(self, key: str) -> None:
        """Drop what is remembered of a job that is gone."""
        for kind in KINDS:
            self._settled.pop((kind, key), None)

    def differs(self, key: str, wanted: Object) -> bool:
        """Tell whether a child must be written."""
        live = self.live(wanted["kind"], key)
        if live is None:
            return True
        settled = self._settled.get((wanted["kind"], key))
        if settled == (compare.edition(live), wanted):
            return False
        return not compare.covers(live, wanted)

    async def write(self, key: str, wanted: Object) -> bool:
        """Write a child; False where an object of a former job of that name must go first, and is on its way.

        Raises:
            RefusedError: the API server does not take it, or another's object has the name.
        """
        live = self.live(wanted["kind"], key)
        owner = wanted["metadata"]["ownerReferences"][0]
        if live is not None:
            holder = compare.controller(live)
            if live["metadata"].get("deletionTimestamp"):
                return False
            if holder and holder["uid"] != owner["uid"]:
                await self._remove_former(live, holder, owner)
                return False
            if live["created"]:
                await self._count_as_applied(live)
        try:
            written = await (self._create(wanted) if live is None else self._apply(wanted))
        except ApiError as error:
            if error.code not in _REFUSALS and _NO_PATCH not in error.message:
                raise
            raise RefusedError(_obstacle(wanted, error)) from error
        self._informers[wanted["kind"]].remember(written)
        self._settled[wanted["kind"], key] = (compare.edition(written), wanted)
        return True

    async def remove(self, kind: str, key: str, owner_uid: str) -> None:
        """Delete a child that is wanted no more, if it is there and the job's own."""
        live = self.live(kind, key)
        if live is None or live["metadata"].get("deletionTimestamp"):
            return
        holder = compare.controller(live)
        if holder and holder["uid"] == owner_uid:
            await self.delete(live)

    def left(self, key: str) -> list[Object]:
        """Return the objects that belong to the job of this key, or did, and are not about to go."""
        name = key.rpartition("/")[2]
        found = []
        for kind in KINDS:
            live = self.live(kind, key)
            if live is None or live["metadata"].get("deletionTimestamp"):
                continue
            holder = compare.controller(live)
            if holder and (holder["kind"], holder["name"]) == (constants.KIND, name):
                found.append(live)
        return found

    async def delete(self, live: Object) -> None:
        """Delete a live object."""
        meta = live["metadata"]
        await self._kube.delete(
            live["apiVersion"], live["kind"], meta["name"], meta["namespace"], propagation="Background", uid=meta["uid"]
        )

    async def _create(self, wanted: Object) -> Object:
        try:
            return await self._kube.create(wanted, field_manager=MANAGER)
        except ApiError as error:
            if not error.conflict:
                raise
            found = await self._kube.find(wanted["apiVersion"], wanted["kind"], **_place(wanted))
            holder = compare.controller(found) if found else None
            if found is None or holder is None or holder["uid"] != wanted["metadata"]["ownerReferences"][0]["uid"]:
                raise
            # Ours after all: someone took away the label by which we find it.
            if compare.created(found, MANAGER):
                await self._count_as_applied(found)
            return await self._apply(wanted)

    async def _apply(self, wanted: Object) -> Object:
        return await self._kube.apply(wanted, field_manager=MANAGER)

    async def _count_as_applied(self, live: Object) -> None:
        """Make the fields of the creation those of an apply, once, before the first apply."""
        place = _place(live)
        found = await self._kube.get(live["apiVersion"], live["kind"], **place)
        meta = found["metadata"]
        body = {
            "metadata": {
                "resourceVersion": meta["resourceVersion"],
                "managedFields": compare.as_applied(meta["managedFields"], MANAGER),
            }
        }
        await self._kube.patch(live["apiVersion"], live["kind"], place["name"], body, place["namespace"])

    async def _remove_former(self, live: Object, holder: Object, owner: Object) -> None:
        if (holder["kind"], holder["name"]) != (owner["kind"], owner["name"]):
            raise RefusedError(
                Obstacle("NameTaken", f"{live['kind']} {owner['name']} belongs to {holder['kind']} {holder['name']}")
            )
        await self.delete(live)


def _place(obj: Object) -> dict[str, str]:
    return {"name": obj["metadata"]["name"], "namespace": obj["metadata"]["namespace"]}


def _obstacle(wanted: Object, error: ApiError) -> Obstacle:
    what = f"{wanted['kind']} {wanted['metadata']['name']}"
    if error.conflict:
        return Obstacle("NameTaken", f"{what} is there already and belongs to another: {error.message}")
    if error.code == 403 and "exceeded quota" in error.message:
        return Obstacle("QuotaExceeded", error.message)
    return Obstacle("Refused", f"the API server refused {what}: {error.message}")
