"""The table of InferenceJobs, read from the API server, and the wait until they are ready."""

from __future__ import annotations

import asyncio
import datetime
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from inferstack.apimachinery.labels import JOB
from inferstack.apimachinery.objects import Object
from inferstack.apimachinery.rfc3339 import parse_time
from inferstack.cli.cluster import connected
from inferstack.k8s import KubeClient, UnknownKindError
from inferstack.k8s.conditions import condition_status, find_condition
from inferstack.mig.pods import pod_requests
from inferstack.mig.resources import is_nvidia

API_VERSION, KIND = "deepseek.ai/v1", "InferenceJob"


async def read_jobs(kube: KubeClient) -> tuple[list[Object], list[Object]]:
    """Return all InferenceJobs and their pods; empty lists if the API server does not serve the kind."""
    try:
        jobs = (await kube.list(API_VERSION, KIND))["items"]
    except UnknownKindError:
        return [], []
    pods = (await kube.list("v1", "Pod", labels=JOB))["items"]
    return jobs, pods


async def wait_ready(kube: KubeClient, seconds: float) -> None:
    """Wait until all InferenceJobs are Ready, at most ``seconds``."""
    try:
        async with asyncio.timeout(seconds):
            while True:
                listed = await kube.list(API_VERSION, KIND)
                waiting = {_key(job) for job in listed["items"] if not is_ready(job)}
                if not waiting:
                    return
                async for kind, job in kube.watch(API_VERSION, KIND, since=listed["metadata"]["resourceVersion"]):
                    if kind == "DELETED" or (kind != "BOOKMARK" and is_ready(job)):
                        waiting.discard(_key(job))
                    if not waiting:
                        return
    except (TimeoutError, UnknownKindError):
        return


def is_ready(job: Mapping[str, Any]) -> bool:
    """Return whether a job is Ready and its condition is about the current generation."""
    condition = find_condition(job, "Ready")
    observed = condition.get("observedGeneration", job["metadata"].get("generation"))
    return condition.get("status") == "True" and observed == job["metadata"].get("generation")


def make_table(jobs: list[Object], pods: list[Object], now: datetime.datetime) -> list[dict[str, Any]]:
    """Return one row per job: its model, ready replicas, GPUs, nodes and, if it is not Ready, the message."""
    rows: list[dict[str, Any]] = []
    for job in sorted(jobs, key=_key):
        namespace, name = _key(job)
        own = [
            pod
            for pod in pods
            if pod["metadata"]["namespace"] == namespace
            and pod["metadata"]["labels"].get(JOB) == name
            and pod.get("status", {}).get("phase") == "Running"
        ]
        ready = [pod for pod in own if condition_status(pod, "Ready") == "True"]
        message = "" if is_ready(job) else find_condition(job, "Ready").get("message", "no status yet")
        rows.append(
            {
                "job": name,
                "namespace": namespace,
                "model": job["spec"].get("model", ""),
                "profile": job.get("status", {}).get("profile", ""),
                "ready": f"{len(ready)}/{job['spec'].get('replicas', 1)}",
                "gpus": sum(_devices(pod) for pod in own),
                "nodes": len({pod["spec"].get("nodeName") for pod in own}),
                "age": age(job["metadata"]["creationTimestamp"], now),
                "message": message,
            }
        )
    if not any(row["message"] for row in rows):
        for row in rows:
            del row["message"]
    return rows


async def table(
    kubeconfig: Path | None, context: str | None = None, *, wait: float = 0
) -> tuple[list[dict[str, Any]], bool]:
    """Wait up to ``wait`` seconds until all jobs are Ready; return the rows and whether all are."""
    async with connected(kubeconfig, context) as kube:
        if wait:
            await wait_ready(kube, wait)
        jobs, pods = await read_jobs(kube)
    return make_table(jobs, pods, datetime.datetime.now(datetime.UTC)), all(is_ready(job) for job in jobs)


async def still_there(kubeconfig: Path | None, context: str | None = None, *, objects: list[Object]) -> list[str]:
    """Return ``Kind namespace/name`` of each of a stack's objects that still exists in the API server."""
    async with connected(kubeconfig, context) as kube:

        async def look(obj: Object) -> str | None:
            meta = obj["metadata"]
            current = await kube.find(obj["apiVersion"], obj["kind"], meta["name"], meta.get("namespace"))
            where = f"{meta['namespace']}/{meta['name']}" if meta.get("namespace") else meta["name"]
            return f"{obj['kind']} {where}" if current else None

        return [left for left in await asyncio.gather(*(look(obj) for obj in objects)) if left]


def age(created: str, now: datetime.datetime) -> str:
    """Return the time since ``created`` (RFC 3339) in kubectl's format: 45s, 12m, 3h, 9d."""
    seconds = max(0, int((now - parse_time(created)).total_seconds()))
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds >= 2 * size:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


def _key(job: Mapping[str, Any]) -> tuple[str, str]:
    return job["metadata"]["namespace"], job["metadata"]["name"]


def _devices(pod: Mapping[str, Any]) -> int:
    return pod_requests(pod, is_nvidia).total()
