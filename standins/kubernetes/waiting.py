"""Await the readiness of an object, or report why it is not ready."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import aiohttp

from inferstack.apimachinery.objects import Object
from inferstack.k8s import ApiError, UnknownKindError
from standins.kubernetes import readiness
from standins.kubernetes.cluster import Cluster
from standins.kubernetes.errors import CONNECTION_ERRORS, PartialError, explain
from standins.kubernetes.objects import SKIP_AWAIT, TIMEOUT, WAIT_FOR, annotation

Reporter = Callable[[str], Awaitable[None]]
"""Shows a status line for the resource while its readiness is awaited."""

_DEFAULT_TIMEOUT_S = 600.0


def await_timeout(inputs: Mapping[str, Any], custom: float) -> float:
    """Return the timeout in seconds: ``customTimeouts``, the annotation, or ten minutes."""
    if custom:
        return custom
    value = annotation(inputs, TIMEOUT)
    try:
        return float(int(value)) if value else _DEFAULT_TIMEOUT_S
    except ValueError:
        return _DEFAULT_TIMEOUT_S


async def await_readiness(cluster: Cluster, inputs: Object, live: Object, custom: float, report: Reporter) -> Object:
    """Wait until an applied object is ready and return its latest state.

    Raises:
        PartialError: the object failed, or is not ready within the timeout.
    """
    try:
        rule = readiness.rule_for(inputs, live)
    except readiness.WaitForError as error:
        raise PartialError(str(error), live=live, reasons=[str(error)]) from error
    if rule is None:
        return live
    seconds = await_timeout(inputs, custom)
    latest = live
    try:
        async with asyncio.timeout(seconds):
            rule = await _effective_rule(cluster, live, rule)
            if not rule(live).ready:
                latest = await _watch(cluster, live, rule, report)
            if _waits_for_endpoints(inputs, live):
                await _await_endpoints(cluster, live, report)
    except TimeoutError:
        reasons = await unready_reasons(cluster, latest if latest is not live else await _reread(cluster, live), rule)
        text = f"timed out after {seconds:g} s waiting for {live['kind']} {live['metadata']['name']!r}: " + "; ".join(
            reasons
        )
        raise PartialError(text, live=latest, reasons=reasons) from None
    except (ApiError, UnknownKindError, aiohttp.ClientError) as error:
        text = f"waiting for {live['kind']} {live['metadata']['name']!r}: {explain(error)}"
        raise PartialError(text, live=latest, reasons=[text]) from error
    await report("")
    return latest


async def _effective_rule(cluster: Cluster, live: Object, rule: readiness.Rule) -> readiness.Rule:
    """Return the rule, which treats a claim that waits for its first consumer as ready."""
    if live["kind"] != "PersistentVolumeClaim" or rule(live).ready:
        return rule
    name = live["spec"].get("storageClassName")
    if not name:
        return rule
    storage_class = await (await cluster.client()).find("storage.k8s.io/v1", "StorageClass", name)
    if storage_class is not None and storage_class.get("volumeBindingMode") == "WaitForFirstConsumer":
        return lambda _: readiness.READY
    return rule


async def _watch(cluster: Cluster, live: Object, rule: readiness.Rule, report: Reporter) -> Object:
    meta = live["metadata"]
    reported = ""

    def is_ready(obj: Object | None) -> bool:
        nonlocal reported
        if obj is None:
            raise PartialError("the object was deleted while awaiting its readiness", live=live, reasons=["deleted"])
        progress = rule(obj)
        if progress.failed:
            raise PartialError(progress.message, live=obj, reasons=[progress.message])
        if progress.message and progress.message != reported:
            reported = progress.message
            pending_reports.add(task := asyncio.ensure_future(report(reported)))
            task.add_done_callback(pending_reports.discard)
        return progress.ready

    pending_reports: set[asyncio.Future[None]] = set()
    watches = await cluster.watches()
    ready = await watches.until(
        live["apiVersion"],
        live["kind"],
        meta.get("namespace"),
        meta["name"],
        is_ready,
        since=meta.get("resourceVersion"),
    )
    return ready or live


def _waits_for_endpoints(inputs: Object, live: Object) -> bool:
    return (
        live["kind"] == "Service"
        and live["apiVersion"] == "v1"
        and not annotation(inputs, WAIT_FOR)
        and annotation(inputs, SKIP_AWAIT) != "true"
        and readiness.selects_pods(live)
    )


async def _await_endpoints(cluster: Cluster, live: Object, report: Reporter) -> None:
    """Wait until the Service's Endpoints exist and none of them is unready."""

    def all_ready(obj: Object | None) -> bool:
        return obj is not None and not any(part.get("notReadyAddresses") for part in obj.get("subsets") or [])

    await report("Finding Pods to direct traffic to")
    meta = live["metadata"]
    await (await cluster.watches()).until("v1", "Endpoints", meta["namespace"], meta["name"], all_ready)


async def _reread(cluster: Cluster, live: Object) -> Object:
    meta = live["metadata"]
    try:
        client = await cluster.client()
        return await client.find(live["apiVersion"], live["kind"], meta["name"], meta.get("namespace")) or live
    except (ApiError, *CONNECTION_ERRORS):
        return live


async def unready_reasons(cluster: Cluster, live: Object, rule: readiness.Rule) -> list[str]:
    """Return the reasons why an object is not ready, including those of the Pods that it selects."""
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
    return reasons or ["the object did not become ready"]


async def _pod_reasons(cluster: Cluster, namespace: str, labels: Mapping[str, str]) -> list[str]:
    try:
        pods = await (await cluster.client()).list(
            "v1", "Pod", namespace, labels=",".join(f"{key}={value}" for key, value in labels.items())
        )
    except (ApiError, *CONNECTION_ERRORS):
        return []
    problems: dict[str, list[str]] = {}
    for pod in pods["items"]:
        problem = readiness.pod_problem(pod)
        if problem:
            problems.setdefault(problem, []).append(pod["metadata"]["name"])
    return [
        f"[Pod {names[0]}{f' and {len(names) - 1} more' if len(names) > 1 else ''}]: {problem}"
        for problem, names in problems.items()
    ]
