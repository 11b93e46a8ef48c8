"""Writes and removes the objects that a job owns.

An existing object is written by server-side apply. A new one is created: for a Deployment this takes half the API
server's time of an apply (``benchmarks/jobs.py``), and it cannot overwrite an object of someone else with that name.
"""

from __future__ import annotations

from inferstack.api import constants
from inferstack.api.labels import MANAGER
from inferstack.apimachinery.objects import Object
from inferstack.controllers.jobs import drift
from inferstack.controllers.jobs.reasons import ConditionReason, Reason
from inferstack.k8s import ApiError, KubeClient
from inferstack.k8s.informer import Informer

KINDS = {
    "Deployment": "apps/v1",
    "Service": "v1",
    "PodDisruptionBudget": "policy/v1",
    "HorizontalPodAutoscaler": "autoscaling/v2",
}
"""API version of each kind that a job may own."""

SERVING = ("Deployment", "Service")
"""The kinds that a job needs in order to serve."""

_REFUSALS = (400, 403, 404, 409, 413, 422)
"""Status codes that an immediate retry will not change."""
_NO_PATCH = "failed to create typed patch object"
"""The message, with status 500, of a server-side apply that cannot be merged."""


class RefusedError(Exception):
    """The API server refused a child, for the `reason`."""

    def __init__(self, reason: ConditionReason) -> None:
        super().__init__(reason.message)
        self.reason = reason


class Children:
    """The objects that jobs own.

    Args:
        kube: connected client.
        informers: the live objects, by kind.
    """

    def __init__(self, kube: KubeClient, informers: dict[str, Informer]) -> None:
        self._kube = kube
        self._informers = informers
        # An object that an admission webhook changes on each write would differ for ever: one write is enough.
        self._settled: dict[tuple[str, str], tuple[tuple[str, str], Object]] = {}

    def live(self, kind: str, key: str) -> Object | None:
        """Return the live object of a kind, by the key of its job."""
        return self._informers[kind].objects.get(key)

    def keys(self) -> set[str]:
        """Return the keys of all jobs that own an object, deleted jobs included."""
        return {key for informer in self._informers.values() for key in informer.objects}

    def forget(self, key: str) -> None:
        """Drop what is remembered of a deleted job."""
        for kind in KINDS:
            self._settled.pop((kind, key), None)

    def differs(self, key: str, desired: Object) -> bool:
        """Return whether a child must be written."""
        live = self.live(desired["kind"], key)
        if live is None:
            return True
        settled = self._settled.get((desired["kind"], key))
        if settled == (drift.edition(live), desired):
            return False
        return not drift.covers(live, desired)

    async def write(self, key: str, desired: Object) -> bool:
        """Write a child; return False if an object of a former job of that name is being deleted first.

        Raises:
            RefusedError: the API server refused it, or the name belongs to an object of someone else.
        """
        live = self.live(desired["kind"], key)
        owner = desired["metadata"]["ownerReferences"][0]
        if live is not None:
            current_owner = drift.controller(live)
            if live["metadata"].get("deletionTimestamp"):
                return False
            if current_owner and current_owner["uid"] != owner["uid"]:
                await self._remove_former(live, current_owner, owner)
                return False
            if live["created"]:
                await self._count_as_applied(live)
        try:
            written = await (self._create(desired) if live is None else self._apply(desired))
        except ApiError as error:
            if error.code not in _REFUSALS and _NO_PATCH not in error.message:
                raise
            raise RefusedError(_refusal(desired, error)) from error
        self._informers[desired["kind"]].remember(written)
        self._settled[desired["kind"], key] = (drift.edition(written), desired)
        return True

    async def remove(self, kind: str, key: str, owner_uid: str) -> None:
        """Delete a child that is no longer desired, if it exists and belongs to the job."""
        live = self.live(kind, key)
        if live is None or live["metadata"].get("deletionTimestamp"):
            return
        current_owner = drift.controller(live)
        if current_owner and current_owner["uid"] == owner_uid:
            await self.delete(live)

    def left(self, key: str) -> list[Object]:
        """Return the objects that a job of this key owns or owned, those being deleted left out."""
        name = key.rpartition("/")[2]
        left = []
        for kind in KINDS:
            live = self.live(kind, key)
            if live is None or live["metadata"].get("deletionTimestamp"):
                continue
            owner = drift.controller(live)
            if owner and (owner["kind"], owner["name"]) == (constants.KIND, name):
                left.append(live)
        return left

    async def delete(self, live: Object) -> None:
        """Delete a live object."""
        meta = live["metadata"]
        await self._kube.delete(
            live["apiVersion"], live["kind"], meta["name"], meta["namespace"], propagation="Background", uid=meta["uid"]
        )

    async def _create(self, desired: Object) -> Object:
        try:
            return await self._kube.create(desired, field_manager=MANAGER)
        except ApiError as error:
            if not error.conflict:
                raise
            current = await self._kube.find(desired["apiVersion"], desired["kind"], **_location(desired))
            owner = drift.controller(current) if current else None
            if current is None or owner is None or owner["uid"] != desired["metadata"]["ownerReferences"][0]["uid"]:
                raise
            # It is the job's: someone removed the label by which the informer selects it.
            if drift.created(current, MANAGER):
                await self._count_as_applied(current)
            return await self._apply(desired)

    async def _apply(self, desired: Object) -> Object:
        return await self._kube.apply(desired, field_manager=MANAGER)

    async def _count_as_applied(self, live: Object) -> None:
        """Turn field ownership by creation into ownership by apply, once, before the first apply."""
        location = _location(live)
        current = await self._kube.get(live["apiVersion"], live["kind"], **location)
        meta = current["metadata"]
        body = {
            "metadata": {
                "resourceVersion": meta["resourceVersion"],
                "managedFields": drift.as_applied(meta["managedFields"], MANAGER),
            }
        }
        await self._kube.patch(live["apiVersion"], live["kind"], location["name"], body, location["namespace"])

    async def _remove_former(self, live: Object, current_owner: Object, owner: Object) -> None:
        if (current_owner["kind"], current_owner["name"]) != (owner["kind"], owner["name"]):
            raise RefusedError(
                ConditionReason(
                    Reason.NAME_TAKEN,
                    f"{live['kind']} {owner['name']} belongs to {current_owner['kind']} {current_owner['name']}",
                )
            )
        await self.delete(live)


def _location(obj: Object) -> dict[str, str]:
    return {"name": obj["metadata"]["name"], "namespace": obj["metadata"]["namespace"]}


def _refusal(desired: Object, error: ApiError) -> ConditionReason:
    subject = f"{desired['kind']} {desired['metadata']['name']}"
    if error.conflict:
        return ConditionReason(Reason.NAME_TAKEN, f"{subject} already exists and has another owner: {error.message}")
    if error.code == 403 and "exceeded quota" in error.message:
        return ConditionReason(Reason.QUOTA_EXCEEDED, error.message)
    return ConditionReason(Reason.REFUSED, f"the API server refused {subject}: {error.message}")
