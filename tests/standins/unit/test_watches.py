"""What a wait does while the API server is away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import cast

import aiohttp
import pytest

from inferstack.apimachinery.objects import Object
from inferstack.k8s import ApiError, KubeClient, UnknownKindError
from standins.kubernetes import watches as module
from standins.kubernetes.watches import OutageError, Watches


class FlakyClient:
    """Answers each list with the next thing given; a watch tells nothing and breaks off."""

    def __init__(self, *answers: Object | Exception) -> None:
        self._answers = list(answers)
        self.lists = 0

    async def list(self, *_: str | None) -> Object:
        self.lists += 1
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def watch(self, *_: str | None, since: str) -> AsyncIterator[tuple[str, Object]]:
        if since == "never":
            yield "ADDED", {}
        raise aiohttp.ServerDisconnectedError

    async def close(self) -> None:
        return


def listing(version: int, **data: str) -> Object:
    item = {"metadata": {"name": "a", "resourceVersion": str(version)}, "data": data}
    return {"metadata": {"resourceVersion": str(version)}, "items": [item]}


async def wait_for(client: FlakyClient) -> Object | None:
    watches = Watches(cast(KubeClient, client))
    try:
        return await watches.until("v1", "ConfigMap", "default", "a", lambda obj: bool(obj and obj["data"]))
    finally:
        await watches.close()


@pytest.mark.parametrize(
    "trouble",
    [
        aiohttp.ClientConnectionError("refused"),
        TimeoutError(),
        ApiError(503, {"message": "starting"}, request="GET"),
        UnknownKindError("v1", "ConfigMap"),
    ],
    ids=["refused", "timeout", "starting", "kind not read yet"],
)
async def test_short_outage_is_tolerated(trouble: Exception) -> None:
    client = FlakyClient(listing(1), trouble, trouble, listing(2, done="yes"))
    result = await wait_for(client)
    assert result is not None
    assert result["data"] == {"done": "yes"}
    assert client.lists == 4


async def test_long_outage_ends_the_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_OUTAGE_S", 0.5)
    client = FlakyClient(listing(1), aiohttp.ClientConnectionError("refused"))
    async with asyncio.timeout(10):
        with pytest.raises(OutageError, match=r"0\.5 s.*refused"):
            await wait_for(client)


async def test_answer_resets_the_failure_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_OUTAGE_S", 0.5)
    refused = aiohttp.ClientConnectionError("refused")
    # Each outage is below the limit, all of them together are not.
    client = FlakyClient(*[answer for _ in range(5) for answer in (listing(1), refused)], listing(2, done="yes"))
    assert await wait_for(client) is not None


async def test_rejection_ends_the_wait_at_once() -> None:
    client = FlakyClient(ApiError(403, {"message": "not you"}, request="GET"))
    with pytest.raises(ApiError, match="not you"):
        await wait_for(client)
    assert client.lists == 1


async def test_missing_kind_ends_the_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MISSING_S", 0.5)
    client = FlakyClient(listing(1), UnknownKindError("v1", "ConfigMap"))
    async with asyncio.timeout(10):
        with pytest.raises(UnknownKindError):
            await wait_for(client)


async def test_each_watch_error_ends_the_wait() -> None:
    client = FlakyClient(RuntimeError("a bug of ours"))
    async with asyncio.timeout(10):
        with pytest.raises(RuntimeError, match="a bug of ours"):
            await wait_for(client)
