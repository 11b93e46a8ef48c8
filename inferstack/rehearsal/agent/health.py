"""``GET /healthz``: 200 when the first lists are in and the event loop turns."""

from __future__ import annotations

from collections.abc import Callable

from aiohttp import web


async def serve(port: int, problem: Callable[[], str | None]) -> web.AppRunner:
    """Listen on loopback.

    Args:
        port: TCP port; 0 takes a free one.
        problem: returns why the agent is not healthy, None when it is.
    """

    async def healthz(_: web.Request) -> web.Response:
        trouble = problem()
        return web.Response(text=(trouble or "ok") + "\n", status=503 if trouble else 200)

    app = web.Application()
    app.router.add_get("/healthz", healthz)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    return runner
