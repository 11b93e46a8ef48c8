"""The scaler as a process."""

from __future__ import annotations

import asyncio
import logging
import signal

import aiohttp
from aiohttp import web

from inferstack.controllers.scaling.loop import Pace, Scaler
from inferstack.controllers.scaling.prometheus import Prometheus
from inferstack.errors import UserError
from inferstack.k8s import KubeClient, health

_LOG = logging.getLogger("scaler")


async def serve(
    kube: KubeClient, *, prometheus_url: str, pace: Pace, namespace: str | None, health_port: int | None
) -> None:
    """Scale jobs until a signal comes.

    Args:
        kube: connected client.
        prometheus_url: address of Prometheus.
        pace: how often what is done.
        namespace: to serve; None for all.
        health_port: of ``GET /healthz`` and ``GET /metrics``; None for none.

    Raises:
        UserError: the health port is taken or not allowed.
        Exception: a flaw in the scaler; it ends rather than live on half dead.
    """
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    # As many connections as a round has questions, and some for the past.
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=16)) as http:
        scaler = Scaler(kube, Prometheus(prometheus_url, http), pace, namespace)
        listening = await _listen(health_port, scaler) if health_port is not None else None
        _LOG.info("scaling %s by %s", f"namespace {namespace}" if namespace else "all namespaces", prometheus_url)
        working, stopping = asyncio.create_task(scaler.run()), asyncio.create_task(stop.wait())
        try:
            await asyncio.wait((working, stopping), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (working, stopping):
                task.cancel()
            await asyncio.wait((working, stopping))
            if listening:
                await listening.cleanup()
        if not working.cancelled():
            working.result()
    _LOG.info("stopped")


async def _listen(port: int, scaler: Scaler) -> web.AppRunner:
    try:
        # The kubelet and Prometheus ask from outside the pod.
        return await health.serve(None, port, scaler.problem, scaler.counts.render)
    except OSError as error:
        raise UserError(f"health port {port}: {error.strerror}; set another INFERSTACK_HEALTH_PORT") from error
