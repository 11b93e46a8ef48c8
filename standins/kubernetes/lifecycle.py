"""Create, update, read and delete objects, with one request each where possible."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from inferstack.apimachinery.objects import Object
from inferstack.k8s import ApiError, UnknownKindError, is_missing
from inferstack.k8s.client import APPLY, JSON_PATCH
from standins.kubernetes import diff, managed_fields, readiness, waiting
from standins.kubernetes.cluster import Cluster
from standins.kubernetes.errors import CONNECTION_ERRORS, OperationError, PartialError, explain, is_outcome_unknown
from standins.kubernetes.objects import DELETION_PROPAGATION, PATCH_FORCE, annotation

# A namespace or CRD of the same update may appear a moment later. The vendor's provider retries for some seconds.
_RETRY_DELAYS_S = (0.1, 0.2, 0.3, 0.5, 1.0, 2.0, 4.0)

# How long a read waits for an object that is being deleted.
_READ_DELETION_TIMEOUT_S = 30.0


@dataclass(frozen=True)
class Target:
    """The resource that an operation works on."""

    urn: str
    inputs: Object
    manager: str
    is_patch: bool
    preview: bool = False
    timeout: float = 0.0
    ignored: tuple[str, ...] = ()


class PreviewUnavailableError(Exception):
    """The server cannot dry-run the request, because something it needs does not exist before the update."""


async def create(cluster: Cluster, target: Target, report: waiting.Reporter) -> Object:
    """Create an object and await its readiness; in a preview, send a dry run.

    Raises:
        PreviewUnavailableError: a preview needs something that the update creates.
        OperationError: the server rejected the request.
        PartialError: the object exists but is not ready.
    """
    try:
        if target.preview:
            return await _create(cluster, target)
        interrupted = cluster.in_flight.interrupted(target.urn)
        cluster.in_flight.begin(target.urn)
        live = await (_create_or_adopt(cluster, target) if interrupted else _create(cluster, target))
        live = await waiting.await_readiness(cluster, target.inputs, live, target.timeout, report)
    except (ApiError, UnknownKindError, *CONNECTION_ERRORS) as error:
        if target.preview and _prevents_preview(error):
            raise PreviewUnavailableError from error
        if not is_outcome_unknown(error):
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


async def _create_or_adopt(cluster: Cluster, target: Target) -> Object:
    """Create an object after an earlier attempt without a response; adopt the object if that attempt created it."""
    try:
        return await _create(cluster, target)
    except ApiError as error:
        if error.reason != "AlreadyExists":
            raise
        client = await cluster.client()
        live = await client.request("GET", await client.path_of(await _with_valid_namespace(cluster, target.inputs)))
        if not managed_fields.created_by_pulumi(live):
            raise
        return await _update(cluster, target, live)


def _prevents_preview(error: Exception) -> bool:
    return isinstance(error, UnknownKindError) or (
        isinstance(error, ApiError) and (error.code in (403, 404) or error.reason == "AlreadyExists")
    )


async def _create(cluster: Cluster, target: Target) -> Object:
    upsert = target.is_patch or cluster.settings.upsert
    client = await cluster.client()
    for delay in (*_RETRY_DELAYS_S, None):
        try:
            if upsert:
                force = target.preview or cluster.settings.patch_force or _forces_conflicts(target.inputs)
                return await client.apply(
                    await _with_valid_namespace(cluster, target.inputs),
                    field_manager=target.manager,
                    force=force,
                    dry_run=target.preview,
                )
            return await client.create(
                await _with_valid_namespace(cluster, target.inputs),
                field_manager=managed_fields.CREATOR,
                dry_run=target.preview,
            )
        except (ApiError, UnknownKindError) as error:
            if not is_missing(error) or delay is None or target.preview:
                raise
            await asyncio.sleep(delay)
    raise AssertionError("the loop ends with a return or a raise")


async def _with_valid_namespace(cluster: Cluster, inputs: Object) -> Object:
    """Remove the namespace from an object whose kind is cluster-scoped."""
    resource = await (await cluster.client()).resource(inputs["apiVersion"], inputs["kind"])
    if resource.namespaced or "namespace" not in inputs["metadata"]:
        return inputs
    return {**inputs, "metadata": {k: v for k, v in inputs["metadata"].items() if k != "namespace"}}


def _forces_conflicts(inputs: Object) -> bool:
    return annotation(inputs, PATCH_FORCE) == "true"


async def update(cluster: Cluster, target: Target, old_live: Object, report: waiting.Reporter) -> Object:
    """Apply new inputs to an object and await its readiness; in a preview, send a dry run.

    Raises:
        PreviewUnavailableError: the user may not dry-run the update.
        OperationError: the server rejected the request; nothing has changed.
        PartialError: the inputs are applied but the object is not ready.
    """
    try:
        live = await _update(cluster, target, old_live)
        cluster.in_flight.end(target.urn)
    except (ApiError, UnknownKindError, *CONNECTION_ERRORS) as error:
        if target.preview and isinstance(error, ApiError) and error.code == 403:
            raise PreviewUnavailableError from error
        text = f"update of resource {target.urn!r} failed: {explain(error, target.manager)}"
        if isinstance(error, ApiError) and error.invalid and "immutable" in error.message:
            text += "\nThe field is immutable: to replace the object, set the resource option replaceOnChanges."
        raise OperationError(text) from error
    if target.preview:
        return live
    return await waiting.await_readiness(cluster, target.inputs, live, target.timeout, report)


async def _update(cluster: Cluster, target: Target, old_live: Object) -> Object:
    client = await cluster.client()
    path = await client.path_of({**target.inputs, "metadata": old_live["metadata"]})
    live = await client.request("GET", path)
    inputs = await _with_valid_namespace(cluster, target.inputs)
    dry_run = {"dryRun": "All"} if target.preview else {}
    if inputs["kind"] == "CustomResourceDefinition":
        # A PUT replaces the whole CRD, so that versions and schemas are never merged. The custom resources remain.
        meta = {**inputs["metadata"], "resourceVersion": live["metadata"]["resourceVersion"]}
        params = {"fieldManager": target.manager, "fieldValidation": "Strict", **dry_run}
        return await client.request("PUT", path, params=params, body={**inputs, "metadata": meta})
    if not target.is_patch and not target.preview:
        live = await _upgrade_managed_fields(cluster, path, live, target.manager)
    inputs = apply_ignore_changes(inputs, live, target)
    force = (
        _forces_conflicts(inputs)
        or cluster.settings.patch_force
        or not live["metadata"].get("managedFields")
        # An update takes over the fields of the creation before it applies; a preview forces conflicts instead.
        or (target.preview and managed_fields.created_by_pulumi(live))
    )
    params = {"fieldManager": target.manager, "force": str(force).lower(), "fieldValidation": "Strict", **dry_run}
    return await client.request("PATCH", path, params=params, body=inputs, content_type=APPLY)


async def _upgrade_managed_fields(cluster: Cluster, path: str, live: Object, manager: str) -> Object:
    """Transfer the fields of earlier managers to ``manager`` and return the updated object."""
    managed = managed_fields.upgrade_managed_fields(live, manager)
    if managed is None:
        return live
    operations = [
        {"op": "replace", "path": "/metadata/managedFields", "value": managed},
        {"op": "replace", "path": "/metadata/resourceVersion", "value": live["metadata"]["resourceVersion"]},
    ]
    return await (await cluster.client()).request("PATCH", path, body=operations, content_type=JSON_PATCH)


def apply_ignore_changes(inputs: Object, live: Object, target: Target) -> Object:
    """Return inputs for ``ignoreChanges``: fields of other managers are omitted, own fields keep their live value."""
    result = copy.deepcopy(inputs) if target.ignored else inputs
    for text in target.ignored:
        path = diff.parse(text)
        if "*" in path:
            continue
        managers = managed_fields.field_managers(live, path)
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
    """Return the live object, or None if it or its kind does not exist. Wait for an object that is being deleted.

    Raises:
        OperationError: the request failed.
    """
    try:
        live = await (await cluster.client()).find(api_version, kind, name, namespace)
        if live is None or not live["metadata"].get("deletionTimestamp"):
            return live
        uid = live["metadata"]["uid"]
        try:
            async with asyncio.timeout(_READ_DELETION_TIMEOUT_S):
                return await (await cluster.watches()).until(
                    api_version, kind, namespace, name, lambda obj: obj is None or obj["metadata"]["uid"] != uid
                )
        except TimeoutError:
            return live
    except (ApiError, *CONNECTION_ERRORS) as error:
        raise OperationError(f"could not read {kind} {name!r}: {explain(error)}") from error


async def unready_reasons(cluster: Cluster, inputs: Mapping[str, Any], live: Object) -> list[str]:
    """Return the reasons why a live object is not ready, or an empty list."""
    if f"{live.get('apiVersion')}/{live.get('kind')}" not in _READ_KINDS:
        return []
    try:
        rule = readiness.rule_for({**inputs, "metadata": _without_wait_for(inputs)}, live)
    except readiness.WaitForError:
        return []
    if rule is None or rule(live).ready:
        return []
    return await waiting.unready_reasons(cluster, live, rule)


# The kinds whose readiness the vendor's provider checks on read.
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


async def delete(cluster: Cluster, target: Target, live: Object, report: waiting.Reporter) -> None:
    """Delete an object and await its deletion. For a Patch, only release its fields.

    Raises:
        OperationError: the server rejected the request.
        PartialError: the object still exists after the timeout; the message names its finalizers.
    """
    cluster.in_flight.end(target.urn)
    try:
        client = await cluster.client()
        resource = await client.resource(live["apiVersion"], live["kind"])
        if target.is_patch:
            await _relinquish(cluster, live, target.manager)
            return
        response = await client.delete(
            live["apiVersion"],
            live["kind"],
            live["metadata"]["name"],
            live["metadata"].get("namespace"),
            propagation=_propagation(target.inputs),
        )
        if response is None or response.get("kind") == "Status":
            return
        await _await_deletion(cluster, target, response, resource.namespaced, report)
    except UnknownKindError:
        return  # the deletion of a kind deletes its objects
    except (ApiError, *CONNECTION_ERRORS) as error:
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


# The vendor's provider supports skipAwait on deletion for these kinds only.
_SKIPPABLE = frozenset({"Namespace", "Pod", "ReplicationController", "DaemonSet", "Deployment", "StatefulSet", "Job"})


async def _await_deletion(
    cluster: Cluster, target: Target, response: Object, namespaced: bool, report: waiting.Reporter
) -> None:
    if annotation(target.inputs, "pulumi.com/skipAwait") == "true" and response["kind"] in _SKIPPABLE:
        return
    meta = response["metadata"]
    newest = response

    def is_deleted(obj: Object | None) -> bool:
        nonlocal newest
        newest = obj or newest
        return obj is None or obj["metadata"]["uid"] != meta["uid"]

    seconds = waiting.await_timeout(target.inputs, target.timeout)
    watches = await cluster.watches()
    try:
        async with asyncio.timeout(seconds):
            await watches.until(
                response["apiVersion"],
                response["kind"],
                meta.get("namespace") if namespaced else None,
                meta["name"],
                is_deleted,
            )
    except TimeoutError:
        finalizers = ", ".join(newest["metadata"].get("finalizers") or []) or "none"
        text = (
            f"{response['kind']} {meta['name']!r} is still being deleted after {seconds:g} s; "
            f"remaining finalizers: {finalizers}"
        )
        raise PartialError(text, live=newest, reasons=[text]) from None
    await report("")
