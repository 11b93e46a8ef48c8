"""The health endpoint, asked over loopback."""

from __future__ import annotations

import aiohttp
import pytest

from inferstack.k8s import health


async def _ask(port: int) -> tuple[int, str]:
    async with aiohttp.ClientSession() as http, http.get(f"http://127.0.0.1:{port}/healthz") as answer:
        return answer.status, await answer.text()


@pytest.mark.parametrize("host", [None, "127.0.0.1"])
async def test_the_problem_is_reported_until_there_is_none(host: str | None) -> None:
    problems: list[str | None] = ["waiting for a list", None]
    runner = await health.serve(host, 0, lambda: problems.pop(0))
    try:
        # For 0, IPv4 and IPv6 get a port each.
        port = next(address[1] for address in runner.addresses if ":" not in address[0])
        assert await _ask(port) == (503, "waiting for a list\n")
        assert await _ask(port) == (200, "ok\n")
    finally:
        await runner.cleanup()


async def test_a_port_in_use_is_an_error() -> None:
    runner = await health.serve("127.0.0.1", 0, lambda: None)
    try:
        with pytest.raises(OSError, match="address already in use"):
            await health.serve("127.0.0.1", runner.addresses[0][1], lambda: None)
    finally:
        await runner.cleanup()


@pytest.mark.parametrize("offered", [True, False])
async def test_metrics_have_their_format_and_are_optional(offered: bool) -> None:
    runner = await health.serve("127.0.0.1", 0, lambda: None, (lambda: "jobs 2\n") if offered else None)
    try:
        url = f"http://127.0.0.1:{runner.addresses[0][1]}/metrics"
        async with aiohttp.ClientSession() as http, http.get(url) as answer:
            if not offered:
                assert answer.status == 404
                return
            assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
            assert await answer.text() == "jobs 2\n"
    finally:
        await runner.cleanup()
