"""Wait for what has no event of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


async def until(condition: Callable[[], bool]) -> None:
    """Return as soon as a condition holds.

    Raises:
        TimeoutError: it does not within ten seconds.
    """
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110  # the objects under test have no event for it
            await asyncio.sleep(0.005)
