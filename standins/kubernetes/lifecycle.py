"""Create, update, read and delete objects, each with one request where one will do."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from inferstack.apimachinery.objects import Object
from inferstack.k8s import ApiError, UnknownKindError, is_missing
from inferstack.k8s.client import APPLY, JSON_PATCH
from standins.kubernetes import diff, fields, readiness, waiting
from standins.kubernetes.cluster import Cluster
from standins.kubernetes.errors import REACHING, OperationError, PartialError, explain, is_uncertain
from standins.kubernetes.objects import DELETION_PROPAGATION, PATCH_FORCE, annotation

# A namespace or a CRD made in the same update may come a moment later: the vendor's provider tries for some seconds.
_RETRY_DELAYS_S = (0.1, 0.2, 0.3, 0.5, 1.0, 2.0, 4.0)

# How long a look at an object waits for its deletion, which somebody has asked for already.
_LEAVING_S = 30.0


@dataclass(frozen=True)
class Target:
    """One resource of the program, as an operation needs it."""

    urn: str
    inputs: Object
    manager: str
    is_patch: bool
    preview: bool = False
    timeout: float = 0.0
    ignored: tuple[str, ...] = ()


class NoPreviewError(Exception):
    """The server cannot try this out yet, because something it needs is not there before the update."""


async def create(cluster: Cluster, target: Target, tell: waiting.Tell) -> Object:
    """Create an object (or try it out, in a preview) and wait until it is ready.

    Raises:
        NoPreviewError: a preview needs something that the update will make first.
        OperationError: the server refused it.
        PartialError: it exists and is not ready.
    """
    try:
        if target.preview:
            return await _create(cluster, target)
        interrupted = cluster.in_flight.interrupted(target.urn)
        cluster.in_flight.begin(target.urn)
        live = await (_create_or_take_up(cluster, target) if interrupted else _create(cluster, target))
        live = await waiting.until_ready(cluster, target.inputs, live, target.timeout, tell)
    except (ApiError, UnknownKindError, *REACHING) as error:
        if target.preview and _hides_preview(error):
            raise NoPreviewError from error
        if not is_uncertain(error):
            cluster.in_flight.end(target.urn)
        raise OperationError(
            f"resource {target.urn!r} was not successfully created by the Kubernetes API server: "
            f"{explain(error, target.manager)}"
        ) from error
    except PartialError:
        cluster.in_flight.end(target.urn)
        raise
    cluster.in_flight.end(target.urn)
    return live


async def _create_or_take_up(cluster: Cluster, target: Target) -> Object:
    """Create an object whose earlier creation got no answer: if it is there and made by Pulumi, it is this one."""
    try:
        return await _create(cluster, target)
    except ApiError as error:
        if error.reason != "AlreadyExists":
            raise
        client = await cluster.client()
        live = await client.request("GET", await client.path_of(await _placed(cluster, target.inputs)))
        if not fields.created_by_us(live):
            raise
        return await _update(cluster, target, live)


def _hides_preview(error: Exception) -> bool:
    return isinstance(error, UnknownKindError) or (
        isinstance(error, ApiError) and (error.code in (403, 404) or error.reason == "AlreadyExists")
    )


async def _create(cluster: Cluster, target: Target) -> Object:
    upsert = target.is_patch or cluster.settings.upsert
    client = await cluster.client()
    for delay in (*_RETRY_DELAYS_S, None):
        try:
            if upsert:
                force = target.preview or cluster.settings.patch_force or _forced(target.inputs)
                return await client.apply(
                    await _placed(cluster, target.inputs),
                    field_manager=target.manager,
                    force=force,
                    dry_run=target.preview,
                )
            return await client.create(
                await _placed(cluster, target.inputs), field_manager=fields.CREATOR, dry_run=target.preview
            )
        except (ApiError, UnknownKindError) as error:
            if not is_missing(error) or delay is None or target.preview:
                raise
            await asyncio.sleep(delay)
    raise AssertionError("the loop ends with a return or a raise")


async def _placed(cluster: Cluster, inputs: Object) -> Object:
    """Take the namespace off an object whose kind turns out to have none."""
    resource = await (await cluster.client()).resource(inputs["apiVersion"], inputs["kind"])
    if resource.namespaced or "namespace" not in inputs["metadata"]:
        return inputs
    return {**inputs, "metadata": {k: v for k, v in inputs["metadata"].items() if k != "namespace"}}


def _forced(inputs: Object) -> bool:
    return annotation(inputs, PATCH_FORCE) == "true"


async def update(cluster: Cluster, target: Target, old_live: Object, tell: waiting.Tell) -> Object:
    """Apply new inputs to an object (or try that out) and wait until it is ready.

    Raises:
        NoPreviewError: a preview is not possible.
        OperationError: the server refused it; nothing has changed.
        PartialError: it is applied and not ready.
    """
    try:
        live = await _update(cluster, target, old_live)
        cluster.in_flight.end(target.urn)
    except (ApiError, UnknownKindError, *REACHING) as error:
        if target.preview and isinstance(error, ApiError) and error.code == 403:
            raise NoPreviewError from error
        text = f"update of resource {target.urn!r} failed: {explain(error, target.manager)}"
        if isinstance(error, ApiError) and error.invalid and "immutable" in error.message:
            text += "\nThe field cannot change in place: the resource option replaceOnChanges makes a new object."
        raise OperationError(text) from error
    if target.preview:
        return live
    return await waiting.until_ready(cluster, target.inputs, live, target.timeout, tell)


async def _update(cluster: Cluster, target: Target, old_live: Object) -> Object:
    client = await cluster.client()
    path = await client.path_of({**target.inputs, "metadata": old_live["metadata"]})
    live = await client.request("GET", path)
    inputs = await _placed(cluster, target.inputs)
    dry = {"dryRun": "All"} if target.preview else {}
    if inputs["kind"] == "CustomResourceDefinition":
        # A CRD is replaced as a whole, so that versions and schemas never mix; its objects stay.
        meta = {**inputs["metadata"], "resourceVersion": live["metadata"]["resourceVersion"]}
        params = {"fieldManager": target.manager, "fieldValidation": "Strict", **dry}
        return await client.request("PUT", path, params=params, body={**inputs, "metadata": meta})
    if not target.is_patch and not target.preview:
        live = await _take_over(cluster, path, live, target.manager)
    inputs = respect_ignored(inputs, live, target)
    force = (
        _forced(inputs)
        or cluster.settings.patch_force
        or not live["metadata"].get("managedFields")
        # Only a real update takes over the fields of the creation first; its preview forces instead.
        or (target.preview and fields.created_by_us(live))
    )
    params = {"fieldManager": target.manager, "force": str(force).lower(), "fieldValidation": "Strict", **dry}
    return await client.request("PATCH", path, params=params, body=inputs, content_type=APPLY)


async def _take_over(cluster: Cluster, path: str, live: Object, manager: str) -> Object:
    """Make ``manager`` the one that applies what was created or applied by our predecessors."""
    managed = fields.taken_over(live, manager)
    if managed is None:
        return live
    operations = [
        {"op": "replace", "path": "/metadata/managedFields", "value": managed},
        {"op": "replace", "path": "/metadata/resourceVersion", "value": live["metadata"]["resourceVersion"]},
    ]
    return await (await cluster.client()).request("PATCH", path, body=operations, content_type=JSON_PATCH)


def respect_ignored(inputs: Object, live: Object, target: Target) -> Object:
    """Return inputs in which ignored fields are left to their managers, or keep their live value if they are ours."""
    result = copy.deepcopy(inputs) if target.ignored else inputs
    for text in target.ignored:
        path = diff.parse(text)
        if "*" in path:
            continue
        managers = fields.owners(live, path)
        parent, key = _dig(result, path[:-1]), path[-1]
        if not isinstance(parent, dict) or key not in parent:
            continue
        if managers and target.manager not in managers:
            del parent[key]
            continue
        live_parent = _dig(live, path[:-1])
        if isinstance(live_parent, dict) and key in live_parent:
            parent[key] = live_parent[key]
    return result


def _dig(value: Any, path: tuple[str | int, ...]) -> Any:
    for part in path:
        if isinstance(part, int):
            value = value[part] if isinstance(value, list) and part < len(value) else None
        else:
            value = value.get(part) if isinstance(value, dict) else None
    return value


async def read(cluster: Cluster, api_version: str, kind: str, namespace: str | None, name: str) -> Object | None:
    """Return the live object, or None where it (or its kind) does not exist; one on its way out is waited for.

    Raises:
        OperationError: the server did not tell.
    """
    try:
        live = await (await cluster.client()).find(api_version, kind, name, namespace)
        if live is None or not live["metadata"].get("deletionTimestamp"):
            return live
        uid = live["metadata"]["uid"]
        try:
            async with asyncio.timeout(_LEAVING_S):
                return await (await cluster.watches()).until(
                    api_version, kind, namespace, name, lambda obj: obj is None or obj["metadata"]["uid"] != uid
                )
        except TimeoutError:
            return live
    except (ApiError, *REACHING) as error:
        raise OperationError(f"could not read {kind} {name!r}: {explain(error)}") from error


async def unreadiness(cluster: Cluster, inputs: Mapping[str, Any], live: Object) -> list[str]:
    """Return why a live object is not ready at this moment, empty where it is."""
    if f"{live.get('apiVersion')}/{live.get('kind')}" not in _READ_KINDS:
        return []
    try:
        rule = readiness.rule_for({**inputs, "metadata": _without_wait_for(inputs)}, live)
    except readiness.WaitForError:
        return []
    if rule is None or rule(live).ready:
        return []
    return await waiting.reasons_for(cluster, live, rule)


# The kinds whose readiness the vendor's provider looks at when it reads them.
_READ_KINDS = frozenset(
    {
        "apps/v1/DaemonSet",
        "apps/v1/Deployment",
        "apps/v1/StatefulSet",
        "batch/v1/Job",
        "networking.k8s.io/v1/Ingress",
        "v1/Pod",
        "v1/Service",
    }
)


def _without_wait_for(inputs: Mapping[str, Any]) -> dict[str, Any]:
    meta = dict(inputs.get("metadata") or {})
    meta["annotations"] = {k: v for k, v in (meta.get("annotations") or {}).items() if k != "pulumi.com/waitFor"}
    return meta


async def delete(cluster: Cluster, target: Target, live: Object, tell: waiting.Tell) -> None:
    """Delete an object and wait until it is gone; a Patch only gives up its fields.

    Raises:
        OperationError: the server refused.
        PartialError: it is still there when the time is up; the message names the finalizers it waits for.
    """
    cluster.in_flight.end(target.urn)
    try:
        client = await cluster.client()
        resource = await client.resource(live["apiVersion"], live["kind"])
        if target.is_patch:
            await _relinquish(cluster, live, target.manager)
            return
        answer = await client.delete(
            live["apiVersion"],
            live["kind"],
            live["metadata"]["name"],
            live["metadata"].get("namespace"),
            propagation=_propagation(target.inputs),
        )
        if answer is None or answer.get("kind") == "Status":
            return
        await _gone(cluster, target, answer, resource.namespaced, tell)
    except UnknownKindError:
        return  # with the kind, all its objects went
    except (ApiError, *REACHING) as error:
        if isinstance(error, ApiError) and error.not_found:
            return
        if target.is_patch and isinstance(error, ApiError) and error.invalid:
            required = next((cause.field for cause in error.causes if cause.reason == "FieldValueRequired"), "")
            if required:
                raise OperationError(
                    "this Patch resource is currently managing a required field, so it can't be deleted directly. "
                    "Either set the `retainOnDelete` resource option, or transfer ownership of the field before "
                    f"deleting: {required}"
                ) from error
        raise OperationError(f"deletion of {target.urn!r} failed: {explain(error, target.manager)}") from error


async def _relinquish(cluster: Cluster, live: Object, manager: str) -> None:
    meta = {key: live["metadata"][key] for key in ("name", "namespace") if live["metadata"].get(key)}
    bare = {"apiVersion": live["apiVersion"], "kind": live["kind"], "metadata": meta}
    client = await cluster.client()
    if await client.find(live["apiVersion"], live["kind"], meta["name"], meta.get("namespace")) is not None:
        await client.apply(bare, field_manager=manager, force=False)


def _propagation(inputs: Object) -> str:
    policy = (annotation(inputs, DELETION_PROPAGATION) or "").capitalize()
    return policy if policy in ("Orphan", "Background") else "Foreground"


# The vendor's provider heeds skipAwait on deletion for these kinds only.
_SKIPPABLE = frozenset({"Namespace", "Pod", "ReplicationController", "DaemonSet", "Deployment", "StatefulSet", "Job"})


async def _gone(cluster: Cluster, target: Target, answer: Object, namespaced: bool, tell: waiting.Tell) -> None:
    if annotation(target.inputs, "pulumi.com/skipAwait") == "true" and answer["kind"] in _SKIPPABLE:
        return
    meta = answer["metadata"]
    newest = answer

    def gone(obj: Object | None) -> bool:
        nonlocal newest
        newest = obj or newest
        return obj is None or obj["metadata"]["uid"] != meta["uid"]

    seconds = waiting.timeout_of(target.inputs, target.timeout)
    watches = await cluster.watches()
    try:
        async with asyncio.timeout(seconds):
            await watches.until(
                answer["apiVersion"], answer["kind"], meta.get("namespace") if namespaced else None, meta["name"], gone
            )
    except TimeoutError:
        finalizers = ", ".join(newest["metadata"].get("finalizers") or []) or "none"
        text = (
            f"{answer['kind']} {meta['name']!r} is still being deleted after {seconds:g} s; "
            f"finalizers it waits for: {finalizers}"
        )
        raise PartialError(text, live=newest, reasons=[text]) from None
    await tell("")
