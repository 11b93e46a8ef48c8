"""The use of GPUs, as the operator shows it to Prometheus."""

from __future__ import annotations

import asyncio
import logging
from typing import cast

import pytest

from inferstack.apimachinery.objects import Object
from inferstack.controllers.mig.usage_metrics import UsageMetrics
from inferstack.k8s import ApiError, KubeClient

SLICE = "nvidia.com/mig-3g.20gb"
NODE = {
    "metadata": {
        "name": "n1",
        "labels": {
            "nvidia.com/gpu.product": "NVIDIA-A100-SXM4-40GB",
            "nvidia.com/gpu.count": "1",
            "nvidia.com/mig.strategy": "mixed",
        },
    },
    "status": {"capacity": {SLICE: "2"}, "allocatable": {SLICE: "2"}},
}
POD = {
    "metadata": {"name": "p", "namespace": "ml"},
    "spec": {"nodeName": "n1", "containers": [{"name": "c", "resources": {"limits": {SLICE: "1"}}}]},
    "status": {"phase": "Running"},
}


class Kube:
    """Lists the objects that a test sets."""

    def __init__(self) -> None:
        self.objects: dict[str, list[Object]] = {"Node": [NODE], "Pod": [POD]}
        self.trouble: Exception | None = None
        self.listed: list[str] = []

    async def list(self, _version: str, kind: str, **_: str) -> Object:
        self.listed.append(kind)
        if self.trouble:
            raise self.trouble
        return {"items": self.objects[kind]}


async def looks(kube: Kube, metrics: UsageMetrics, count: int = 1) -> str:
    """Let it look so many times; return the page."""
    kube.listed.clear()
    task = asyncio.create_task(metrics.run())
    async with asyncio.timeout(10):
        # Once the next has begun this one is over.
        while kube.listed.count("Node") <= count:  # noqa: ASYNC110  # nothing tells us
            await asyncio.sleep(0.001)
    task.cancel()
    await asyncio.wait([task])
    return metrics.page()


async def test_series_end_after_a_failure(caplog: pytest.LogCaptureFixture) -> None:
    kube = Kube()
    metrics = UsageMetrics(cast(KubeClient, kube), 0.01)
    assert metrics.page() == ""
    page = await looks(kube, metrics)
    assert 'inferstack_mig_memory_slices{node="n1",gpu="A100-SXM4-40GB",state="used"} 4' in page
    assert 'inferstack_mig_namespace_gpus{namespace="ml"} 0.5' in page
    kube.trouble = ApiError(500, {"message": "no"}, request="GET")
    with caplog.at_level(logging.WARNING):
        assert await looks(kube, metrics, 3) == ""
    assert len([record for record in caplog.records if "GPU usage is unknown" in record.message]) == 1
    kube.trouble = None
    assert await looks(kube, metrics) == page


async def test_without_gpus_no_pods_are_listed() -> None:
    kube = Kube()
    kube.objects["Node"] = []
    assert await looks(kube, UsageMetrics(cast(KubeClient, kube), 0.01)) == ""
    assert "Pod" not in kube.listed
