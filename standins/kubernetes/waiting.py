"""Wait until an object is ready, or say what it lacks."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import aiohttp

from inferstack.apimachinery.objects import Object
from inferstack.k8s import ApiError, UnknownKindError
from standins.kubernetes import readiness
from standins.kubernetes.cluster import Cluster
from standins.kubernetes.errors import REACHING, PartialError, explain
from standins.kubernetes.objects import SKIP_AWAIT, TIMEOUT, WAIT_FOR, annotation

Tell = Callable[[str], Awaitable[None]]
"""Shows one line beside the resource while it is waited for."""

_DEFAULT_TIMEOUT_S = 600.0


def timeout_of(inputs: Mapping[str, Any], custom: float) -> float:
    """Return how many seconds to wait: ``customTimeouts``, the annotation, else ten minutes."""
    if custom:
        return custom
    given = annotation(inputs, TIMEOUT)
    try:
        return float(int(given)) if given else _DEFAULT_TIMEOUT_S
    except ValueError:
        return _DEFAULT_TIMEOUT_S


async def until_ready(cluster: Cluster, inputs: Object, live: Object, custom: float, tell: Tell) -> Object:
    """Wait until an applied object is ready and return its newest state.

    Raises:
        PartialError: it is not ready in time, or never will be.
    """
    try:
        rule = readiness.rule_for(inputs, live)
    except readiness.WaitForError as error:
        raise PartialError(str(error), live=live, reasons=[str(error)]) from error
    if rule is None:
        return live
    seconds = timeout_of(inputs, custom)
    newest = live
    try:
        async with asyncio.timeout(seconds):
            rule = await _adapted(cluster, live, rule)
            if not rule(live).ready:
                newest = await _watch(cluster, live, rule, tell)
            if _waits_for_endpoints(inputs, live):
                await _endpoints(cluster, live, tell)
    except TimeoutError:
        reasons = await reasons_for(cluster, newest if newest is not live else await _fresh(cluster, live), rule)
        text = f"timed out after {seconds:g} s waiting for {live['kind']} {live['metadata']['name']!r}: " + "; ".join(
            reasons
        )
        raise PartialError(text, live=newest, reasons=reasons) from None
    except (ApiError, UnknownKindError, aiohttp.ClientError) as error:
        text = f"waiting for {live['kind']} {live['metadata']['name']!r}: {explain(error)}"
        raise PartialError(text, live=newest, reasons=[text]) from error
    await tell("")
    return newest


async def _adapted(cluster: Cluster, live: Object, rule: readiness.Rule) -> readiness.Rule:
    """Take a claim for ready that waits for its first consumer."""
    if live["kind"] != "PersistentVolumeClaim" or rule(live).ready:
        return rule
    name = live["spec"].get("storageClassName")
    if not name:
        return rule
    found = await (await cluster.client()).find("storage.k8s.io/v1", "StorageClass", name)
    if found is not None and found.get("volumeBindingMode") == "WaitForFirstConsumer":
        return lambda _: readiness.READY
    return rule


async def _watch(cluster: Cluster, live: Object, rule: readiness.Rule, tell: Tell) -> Object:
    meta = live["metadata"]
    reported = ""

    def over(obj: Object | None) -> bool:
        nonlocal reported
        if obj is None:
            raise PartialError("it was deleted while it was waited for", live=live, reasons=["deleted meanwhile"])
        progress = rule(obj)
        if progress.failed:
            raise PartialError(progress.message, live=obj, reasons=[progress.message])
        if progress.message and progress.message != reported:
            reported = progress.message
            telling.add(task := asyncio.ensure_future(tell(reported)))
            task.add_done_callback(telling.discard)
        return progress.ready

    telling: set[asyncio.Future[None]] = set()
    watches = await cluster.watches()
    found = await watches.until(
        live["apiVersion"], live["kind"], meta.get("namespace"), meta["name"], over, since=meta.get("resourceVersion")
    )
    return found or live


def _waits_for_endpoints(inputs: Object, live: Object) -> bool:
    return (
        live["kind"] == "Service"
        and live["apiVersion"] == "v1"
        and not annotation(inputs, WAIT_FOR)
        and annotation(inputs, SKIP_AWAIT) != "true"
        and readiness.selects_pods(live)
    )


async def _endpoints(cluster: Cluster, live: Object, tell: Tell) -> None:
    """Wait until the Service's endpoints are written and none of them is still starting."""

    def settled(obj: Object | None) -> bool:
        return obj is not None and not any(part.get("notReadyAddresses") for part in obj.get("subsets") or [])

    await tell("Finding Pods to direct traffic to")
    meta = live["metadata"]
    await (await cluster.watches()).until("v1", "Endpoints", meta["namespace"], meta["name"], settled)


async def _fresh(cluster: Cluster, live: Object) -> Object:
    meta = live["metadata"]
    try:
        client = await cluster.client()
        return await client.find(live["apiVersion"], live["kind"], meta["name"], meta.get("namespace")) or live
    except (ApiError, *REACHING):
        return live


async def reasons_for(cluster: Cluster, live: Object, rule: readiness.Rule) -> list[str]:
    """Say what an object lacks, down to the Pods that its selector finds."""
    progress = rule(live)
    reasons = [progress.message] if progress.message else []
    if live["kind"] == "Service" and not reasons:
        reasons.append(
            "Service does not target any Pods. Selected Pods may not be ready, or field '.spec.selector' may not "
            "match labels on any Pods"
        )
    selector = (live.get("spec") or {}).get("selector") or {}
    labels = selector.get("matchLabels") if isinstance(selector.get("matchLabels"), dict) else None
    if live["kind"] in ("Deployment", "StatefulSet", "DaemonSet", "Job") and labels:
        reasons += await _pod_reasons(cluster, live["metadata"]["namespace"], labels)
    return reasons or ["it did not become ready"]


async def _pod_reasons(cluster: Cluster, namespace: str, labels: Mapping[str, str]) -> list[str]:
    try:
        found = await (await cluster.client()).list(
            "v1", "Pod", namespace, labels=",".join(f"{key}={value}" for key, value in labels.items())
        )
    except (ApiError, *REACHING):
        return []
    troubles: dict[str, list[str]] = {}
    for pod in found["items"]:
        trouble = readiness.pod_trouble(pod)
        if trouble:
            troubles.setdefault(trouble, []).append(pod["metadata"]["name"])
    return [
        f"[Pod {names[0]}{f' and {len(names) - 1} more' if len(names) > 1 else ''}]: {trouble}"
        for trouble, names in troubles.items()
    ]
