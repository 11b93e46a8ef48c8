"""The operator as a kopf application.

What kopf does here: it connects, finds the kind (also when its CRD comes late), watches the jobs with their retries and
relists, and ends all on a signal.

What it does not: its change handlers store the last seen spec and their progress in annotations of each job, which is
two or more writes a change and a watch event for each; with 500 jobs at once those would cost more than the work.
So jobs come through the low-level ``on.event``, which writes nothing, into a queue of our own that merges changes. The
children and pods are watched by our informers: kopf keeps a task and a memory for each object, does not say when its
first list is in, and does not tell of what vanished while a watch was broken.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import kopf
from aiohttp import web

from inferstack.api import constants
from inferstack.controllers.jobs.reconciler import Reconciler
from inferstack.controllers.jobs.watching import WATCH_SECONDS, Watching
from inferstack.controllers.mig.controller import MigRollouts
from inferstack.controllers.mig.usage import UsageMetrics
from inferstack.errors import UserError
from inferstack.k8s import KubeClient, health
from inferstack.k8s.auth import Access

_TOKEN_SECONDS = 600
"""How long a token from a file is used; the kubelet renews it well before it ends."""

_LOG = logging.getLogger("operator")


class _Backoffs:
    """Pauses between tries of a request, in seconds, without end: an API server that restarts must not end us."""

    def __iter__(self) -> Iterator[float]:
        return itertools.chain((0.2, 0.5, 1.0), itertools.repeat(2.0))


async def serve(
    kube: KubeClient, *, namespace: str | None, health_port: int | None, usage_seconds: float | None
) -> None:
    """Serve jobs until a signal comes.

    Args:
        kube: connected client.
        namespace: to serve; None for all.
        health_port: of ``GET /healthz`` and ``GET /metrics``; None for neither.
        usage_seconds: between two looks at the use of GPUs, for ``GET /metrics``; None: it is not looked at.

    Raises:
        UserError: the health port is taken or not allowed.
        NotWatchingError: kopf does not see the jobs.
        Exception: a flaw in the operator; it ends rather than live on half dead.
    """
    reconciler = Reconciler(kube, namespace)
    # Nodes and rollouts have no namespace: they are for whoever serves all.
    rollouts = MigRollouts(kube) if namespace is None else None
    shown = namespace is None and health_port is not None
    usage = UsageMetrics(kube, usage_seconds) if shown and usage_seconds else None
    listening = await _listen(health_port, reconciler, usage) if health_port is not None else None
    stop = asyncio.Event()
    working = asyncio.create_task(_work(reconciler, rollouts, usage))
    watching = Watching()
    guarding = asyncio.create_task(watching.guard(reconciler.listed))
    for task in (working, guarding):
        task.add_done_callback(lambda _: stop.set())
    _LOG.info("serving %s", f"namespace {namespace}" if namespace else "all namespaces")

    async def end() -> None:
        working.cancel()
        await asyncio.wait([working])
        if listening:
            await listening.cleanup()
        await reconciler.finish()

    try:
        await kopf.operator(
            registry=make_registry(kube.access, reconciler, watching, on_end=end),
            settings=make_settings(),
            standalone=True,
            clusterwide=namespace is None,
            namespaces=[namespace] if namespace else [],
            stop_flag=stop,
        )
    finally:
        # kopf gets to its end only if it got through its start.
        guarding.cancel()
        working.cancel()
        await asyncio.wait([guarding, working])
        if listening:
            await listening.cleanup()
    for task in (guarding, working):
        if not task.cancelled():
            task.result()
    _LOG.info("stopped")


async def _work(*workers: Reconciler | MigRollouts | UsageMetrics | None) -> None:
    async with asyncio.TaskGroup() as group:
        for worker in workers:
            if worker is not None:
                group.create_task(worker.run())


async def _listen(port: int, reconciler: Reconciler, usage: UsageMetrics | None) -> web.AppRunner:
    def page() -> str:
        return reconciler.metrics() + (usage.page() if usage else "")

    try:
        # The kubelet and Prometheus ask from outside the pod.
        return await health.serve(None, port, reconciler.problem, page)
    except OSError as error:
        raise UserError(f"health port {port}: {error.strerror}; set another INFERSTACK_HEALTH_PORT") from error


def make_registry(
    access: Access, reconciler: Reconciler, watching: Watching, *, on_end: Callable[[], Awaitable[None]]
) -> kopf.OperatorRegistry:
    """Return kopf's handlers: how to log in, what to do with each change of a job, and what at the end.

    At the end kopf waits five seconds for tasks that it did not start, so ``on_end`` must end ours, those that serve
    open connections included.
    """
    registry = kopf.OperatorRegistry()

    @kopf.on.login(registry=registry)
    async def login(**_: Any) -> kopf.AiohttpSession:
        return make_session(access, watching)

    @kopf.on.event(constants.GROUP, constants.VERSION, constants.PLURAL, registry=registry)
    async def changed(event: kopf.RawEvent, **_: Any) -> None:
        reconciler.take(event["type"], dict(event["object"]))

    @kopf.on.cleanup(registry=registry)
    async def ended(**_: Any) -> None:
        await on_end()

    return registry


def make_settings() -> kopf.OperatorSettings:
    """Return kopf's settings where its defaults do not fit."""
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False  # it would post each log line as an Event; ours tell the turns only
    settings.watching.connect_timeout = 10
    settings.watching.chunk_size = 500
    settings.watching.server_timeout = WATCH_SECONDS
    settings.queueing.idle_timeout = 1  # a worker for each job that changed: 500 of them need not linger
    settings.networking.error_backoffs = _Backoffs()
    settings.networking.request_timeout = 60
    return settings


def make_session(access: Access, watching: Watching) -> kopf.AiohttpSession:
    """Return an HTTP session of kopf's own with our credentials."""
    headers = dict(access.headers)
    expiration = None
    if access.token_file:
        headers["Authorization"] = f"Bearer {access.token_file.read_text().strip()}"
        expiration = datetime.now(UTC) + timedelta(seconds=_TOKEN_SECONDS)
    connector = aiohttp.TCPConnector(ssl=access.tls if access.tls else True)
    return kopf.AiohttpSession(
        server=access.server,
        aiohttp_session=aiohttp.ClientSession(connector=connector, headers=headers, trace_configs=[watching.trace()]),
        default_namespace=access.namespace,
        expiration=expiration,
    )
