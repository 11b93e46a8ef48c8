"""The process of the job controller and the MIG rollout controller: its parts, its health port and its end."""

from __future__ import annotations

import asyncio
import logging

from inferstack.controllers.entrypoint import listen, run_until_signal
from inferstack.controllers.jobs.reconciler import Reconciler
from inferstack.controllers.mig.controller import RolloutController
from inferstack.controllers.mig.usage_metrics import UsageMetrics
from inferstack.k8s import KubeClient

_LOG = logging.getLogger("operator")


async def serve(
    kube: KubeClient, *, namespace: str | None, health_port: int | None, usage_seconds: float | None
) -> None:
    """Run the controllers until SIGTERM or SIGINT.

    Args:
        kube: connected client.
        namespace: the namespace to watch; None for all. MIG rollouts and GPU metrics concern nodes, so they need all.
        health_port: port of ``GET /healthz`` and ``GET /metrics``; None for neither.
        usage_seconds: interval of the GPU metrics; None for no GPU metrics.

    Raises:
        UserError: the health port is taken or not allowed, or the credentials are no longer accepted.
        Exception: a controller failed.
    """
    jobs = Reconciler(kube, namespace)
    rollouts = RolloutController(kube) if namespace is None else None
    with_usage = namespace is None and health_port is not None
    usage = UsageMetrics(kube, usage_seconds) if with_usage and usage_seconds else None

    def page() -> str:
        return jobs.metrics() + (usage.page() if usage else "")

    listener = await listen(health_port, jobs.problem, page) if health_port is not None else None
    _LOG.info("serving %s", f"namespace {namespace}" if namespace else "all namespaces")
    try:
        await run_until_signal(_work(jobs, rollouts, usage))
        await jobs.finish()
    finally:
        if listener:
            await listener.cleanup()
    _LOG.info("stopped")


async def _work(*workers: Reconciler | RolloutController | UsageMetrics | None) -> None:
    async with asyncio.TaskGroup() as group:
        for worker in workers:
            if worker is not None:
                group.create_task(worker.run())
