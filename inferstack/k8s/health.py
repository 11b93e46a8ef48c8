"""``GET /healthz``, as a kubelet asks for it: 200 while all is well, else 503 and why; and ``GET /metrics``."""

from __future__ import annotations

from collections.abc import Callable

from aiohttp import web

_TEXT_FORMAT = "text/plain; version=0.0.4; charset=utf-8"
"""Prometheus refuses a page that does not name its format."""


async def serve(
    host: str | None, port: int, problem: Callable[[], str | None], metrics: Callable[[], str] | None = None
) -> web.AppRunner:
    """Listen until the runner that is returned is cleaned up.

    Args:
        host: address; None for all.
        port: TCP port; 0 takes a free one.
        problem: returns why the program is not healthy, None when it is.
        metrics: returns the program's metrics in Prometheus' text format; without it there is no such page.

    Raises:
        OSError: the port is taken or not allowed.
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
