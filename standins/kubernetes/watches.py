"""Shared watches: one list and one watch for each kind and namespace, regardless of the number of awaited objects."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

import aiohttp

from inferstack.apimachinery.objects import Object
from inferstack.k8s import ApiError, KubeClient, UnknownKindError, is_missing

Key = tuple[str, str, str | None]
Condition = Callable[[Object | None], bool]
"""Takes the latest state of the object, None if it does not exist, and returns whether the wait is over."""


class OutageError(aiohttp.ClientConnectionError):
    """The API server has been unreachable for longer than a restart takes."""


# A restart of the API server takes less, also on a busy machine.
_OUTAGE_S = 20.0
# A server that has just started may not serve a known kind for this long.
_MISSING_S = 5.0
# Objects of a kind are often awaited one after another, so a watch is kept for a moment.
_LINGER_S = 1.0


@dataclass
class _Waiter:
    name: str
    condition: Condition
    since: int
    """Older states are ignored: they precede the awaited change."""
    done: asyncio.Future[Object | None]


@dataclass
class _Stream:
    waiters: list[_Waiter] = field(default_factory=list)
    objects: dict[str, Object] = field(default_factory=dict)
    listed: bool = False
    version: int = 0
    """Resource version up to which ``objects`` is current."""
    task: asyncio.Task[None] | None = None


class Watches:
    """All watches, with a separate client. A watch lasts as long as something waits on it."""

    def __init__(self, client: KubeClient) -> None:
        self._client = client
        self._streams: dict[Key, _Stream] = {}

    async def until(
        self,
        api_version: str,
        kind: str,
        namespace: str | None,
        name: str,
        condition: Condition,
        *,
        since: str | None = None,
    ) -> Object | None:
        """Wait until a condition on an object holds and return the object. Cancel the call to stop waiting.

        States with a resource version before ``since`` are ignored.

        Raises:
            ApiError: the server rejects the watch.
            UnknownKindError: the server no longer serves the kind.
            OutageError: the server does not respond.
        """
        stream = self._streams.setdefault((api_version, kind, namespace), _Stream())
        waiter = _Waiter(name, condition, int(since or 0), asyncio.get_running_loop().create_future())
        stream.waiters.append(waiter)
        if stream.task is None:
            stream.task = asyncio.create_task(self._follow((api_version, kind, namespace), stream))
        elif stream.listed:
            _check(stream, name)
        try:
            return await waiter.done
        finally:
            stream.waiters.remove(waiter)
            if not stream.waiters:
                asyncio.get_running_loop().call_later(_LINGER_S, self._end_idle, (api_version, kind, namespace))

    def _end_idle(self, key: Key) -> None:
        stream = self._streams.get(key)
        if stream is not None and not stream.waiters and stream.task is not None:
            stream.task.cancel()
            del self._streams[key]

    async def close(self) -> None:
        """Stop all watches."""
        tasks = [stream.task for stream in self._streams.values() if stream.task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._streams.clear()
        await self._client.close()

    async def _follow(self, key: Key, stream: _Stream) -> None:
        api_version, kind, namespace = key
        clock = asyncio.get_running_loop().time
        outage_start: float | None = None
        try:
            while True:
                try:
                    since = await self._list(key, stream)
                    outage_start = None
                    async for event, obj in self._client.watch(api_version, kind, namespace, since=since):
                        _note(stream, event, obj)
                except (aiohttp.ClientError, TimeoutError, ApiError, UnknownKindError) as error:
                    # 410: the resource version is too old. 429 and 5xx: the server is starting or overloaded.
                    if isinstance(error, ApiError) and error.code not in (404, 410, 429) and error.code < 500:
                        raise
                    outage_start = clock() if outage_start is None else outage_start
                    # A kind is not served if it was deleted, or for a moment after the server's start.
                    if is_missing(error) and clock() - outage_start > _MISSING_S:
                        raise
                    if clock() - outage_start > _OUTAGE_S:
                        raise OutageError(f"no response for {_OUTAGE_S:g} s, last error: {error}") from error
                # The server ended the watch or is unreachable; it may be restarting.
                await asyncio.sleep(0.2)
        except Exception as error:  # noqa: BLE001  # passed to all waiters, which would otherwise never finish
            for waiter in stream.waiters:
                if not waiter.done.done():
                    waiter.done.set_exception(error)
            self._streams.pop(key, None)

    async def _list(self, key: Key, stream: _Stream) -> str:
        listed = await self._client.list(*key)
        stream.objects = {item["metadata"]["name"]: item for item in listed["items"]}
        stream.listed = True
        stream.version = int(listed["metadata"]["resourceVersion"])
        for name in {waiter.name for waiter in stream.waiters}:
            _check(stream, name)
        return str(listed["metadata"]["resourceVersion"])


def _note(stream: _Stream, event: str, obj: Object) -> None:
    stream.version = int(obj["metadata"]["resourceVersion"])
    if event == "BOOKMARK":
        return
    name = obj["metadata"]["name"]
    if event == "DELETED":
        stream.objects.pop(name, None)
    else:
        stream.objects[name] = obj
    _check(stream, name)


def _check(stream: _Stream, name: str) -> None:
    obj = stream.objects.get(name)
    for waiter in stream.waiters:
        if waiter.name == name and not waiter.done.done():
            # An absent object was deleted only if the stream has reached the awaited version.
            if (stream.version if obj is None else int(obj["metadata"]["resourceVersion"])) < waiter.since:
                continue
            try:
                is_done = waiter.condition(obj)
            except Exception as error:  # noqa: BLE001  # passed to the waiter, which handles it
                waiter.done.set_exception(error)
            else:
                if is_done:
                    waiter.done.set_result(obj)
