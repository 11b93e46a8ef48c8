"""``GET /healthz`` for the kubelet, 200 or 503 with a reason, and ``GET /metrics`` for Prometheus."""

from __future__ import annotations

from collections.abc import Callable

from aiohttp import web

_TEXT_FORMAT = "text/plain; version=0.0.4; charset=utf-8"
"""Content type of the text format; Prometheus rejects a page without it."""


async def serve(
    host: str | None, port: int, problem: Callable[[], str | None], metrics: Callable[[], str] | None = None
) -> web.AppRunner:
    """Serve until the returned runner is cleaned up.

    Args:
        host: address to listen on; None for all.
        port: TCP port; 0 for any free port.
        problem: returns why the program is unhealthy; None if it is healthy.
        metrics: returns the metrics in the Prometheus text format; None to serve no ``/metrics``.

    Raises:
        OSError: the port is in use or not permitted.
    """

    async def healthz(_: web.Request) -> web.Response:
        trouble = problem()
        return web.Response(text=(trouble or "ok") + "\n", status=503 if trouble else 200)

    app = web.Application()
    app.router.add_get("/healthz", healthz)
    if metrics:
        page = metrics

        async def show(_: web.Request) -> web.Response:
            return web.Response(body=page().encode(), headers={"Content-Type": _TEXT_FORMAT})

        app.router.add_get("/metrics", show)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
    except OSError:
        await runner.cleanup()
        raise
    return runner
