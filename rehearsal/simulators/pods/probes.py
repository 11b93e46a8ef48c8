"""httpGet probes of process-backed pods."""

from __future__ import annotations

import asyncio

import aiohttp

from rehearsal.simulators.pods.podspec import Probe

EAGER_PERIOD = 0.25
"""Seconds between probes before the first success, so that a rehearsal does not wait a whole period."""


async def answers(http: aiohttp.ClientSession, probe: Probe) -> bool:
    """Return whether one probe succeeds, with a status from 200 to 399."""
    try:
        timeout = aiohttp.ClientTimeout(total=probe.timeout)
        url = f"http://127.0.0.1:{probe.port}{probe.path}"
        async with http.get(url, timeout=timeout, allow_redirects=False) as answer:
            return 200 <= answer.status < 400
    except (aiohttp.ClientError, TimeoutError, OSError):
        return False


async def starts(http: aiohttp.ClientSession, probe: Probe) -> bool:
    """Probe until the first success; return False if the failure threshold is exceeded."""
    await asyncio.sleep(probe.initial_delay)
    deadline = asyncio.get_running_loop().time() + probe.period * probe.failures
    while not await answers(http, probe):
        if asyncio.get_running_loop().time() > deadline:
            return False
        await asyncio.sleep(EAGER_PERIOD)
    return True


async def fails(http: aiohttp.ClientSession, probe: Probe) -> None:
    """Probe until the failure threshold is reached."""
    await asyncio.sleep(probe.initial_delay)
    failures = 0
    while True:
        failures = 0 if await answers(http, probe) else failures + 1
        if failures >= probe.failures:
            return
        await asyncio.sleep(probe.period)
