"""``GET /healthz``: 200 while the operator sees its jobs."""

from __future__ import annotations

from collections.abc import Callable

from aiohttp import web

from inferstack.errors import UserError


async def serve(port: int, problem: Callable[[], str | None]) -> web.AppRunner:
    """Listen on all addresses: the kubelet asks from outside the pod.

    Args:
        port: TCP port; 0 takes a free one.
        problem: returns why the operator is not healthy, None when it is.

    Raises:
        UserError: the port is taken or not allowed.
    """

    async def healthz(_: web.Request) -> web.Response:
        trouble = problem()
        return web.Response(text=(trouble or "ok") + "\n", status=503 if trouble else 200)

    app = web.Application()
    app.router.add_get("/healthz", healthz)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, port=port).start()
    except OSError as error:
        await runner.cleanup()
        raise UserError(f"health port {port}: {error.strerror}; set another INFERSTACK_HEALTH_PORT") from error
    return runner
