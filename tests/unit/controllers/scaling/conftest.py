"""A fake Prometheus server, and a client of it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import web

from inferstack.controllers.scaling.prometheus import Prometheus
from tests.unit.controllers.scaling.prometheus_server import Server


@pytest.fixture
def server() -> Server:
    """The answers of the fake server."""
    return Server()


@pytest.fixture
async def prometheus(server: Server) -> AsyncIterator[Prometheus]:
    """A client of the fake server."""
    app = web.Application()
    app.router.add_post("/prefix/api/v1/query", server.answer)
    app.router.add_post("/prefix/api/v1/query_range", server.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    [address] = runner.addresses
    async with aiohttp.ClientSession() as http:
        yield Prometheus(f"http://127.0.0.1:{address[1]}/prefix/", http, timeout=5)
    await runner.cleanup()
