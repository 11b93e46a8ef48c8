"""``GET /healthz``, as a kubelet asks for it: 200 while all is well, else 503 and why."""

from __future__ import annotations

from collections.abc import Callable

from aiohttp import web


async def serve(host: str | None, port: int, problem: Callable[[], str | None]) -> web.AppRunner:
    """Listen until the runner that is returned is cleaned up.

    Args:
        host: address; None for all.
        port: TCP port; 0 takes a free one.
        problem: returns why the program is not healthy, None when it is.

    Raises:
        OSError: the port is taken or not allowed.
    """

    async def healthz(_: web.Request) -> web.Response:
        trouble = problem()
        return web.Response(text=(trouble or "ok") + "\n", status=503 if trouble else 200)

    app = web.Application()
    app.router.add_get("/healthz", healthz)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
    except OSError:
        await runner.cleanup()
        raise
    return runner
