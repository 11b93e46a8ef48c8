"""Waiting for objects: one list and one watch for each kind and namespace, however many objects are waited for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

import aiohttp

from inferstack.apimachinery.objects import Object
from inferstack.k8s import ApiError, KubeClient, UnknownKindError, is_missing

Key = tuple[str, str, str | None]
Condition = Callable[[Object | None], bool]
"""Takes the newest state of the object (None: it does not exist) and tells whether the wait is over."""


class OutageError(aiohttp.ClientConnectionError):
    """The API server has been away for longer than one that restarts."""


# An API server that restarts is back by then, also on a busy machine.
_OUTAGE_S = 20.0
# So long a server that has just started may not serve a kind that it knows.
_MISSING_S = 5.0
# Objects of one kind come one after another: a watch is kept a moment for the next.
_LINGER_S = 1.0


@dataclass
class _Waiter:
    name: str
    condition: Condition
    since: int
    """Older states are passed over: they are from before the change that is waited for."""
    done: asyncio.Future[Object | None]


@dataclass
class _Stream:
    waiters: list[_Waiter] = field(default_factory=list)
    objects: dict[str, Object] = field(default_factory=dict)
    listed: bool = False
    version: int = 0
    """Resource version up to which we know what exists."""
    task: asyncio.Task[None] | None = None


class Watches:
    """All watches, with a client of their own; each lives while something waits on it."""

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
        """Wait until a condition on one object holds and return the object; cancel to stop waiting.

        States with a resource version before ``since`` are passed over.

        Raises:
            ApiError: the server refuses the watch.
            UnknownKindError: the kind is gone.
            OutageError: it does not answer any more.
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
        away: float | None = None
        try:
            while True:
                try:
                    since = await self._list(key, stream)
                    away = None
                    async for event, obj in self._client.watch(api_version, kind, namespace, since=since):
                        _note(stream, event, obj)
                except (aiohttp.ClientError, TimeoutError, ApiError, UnknownKindError) as error:
                    # 410: the server has forgotten where we were. 429 and 5xx: it is starting, or has too much to do.
                    if isinstance(error, ApiError) and error.code not in (404, 410, 429) and error.code < 500:
                        raise
                    away = clock() if away is None else away
                    # A kind that is not served: one that went, or a server that is starting and has yet to read it.
                    if is_missing(error) and clock() - away > _MISSING_S:
                        raise
                    if clock() - away > _OUTAGE_S:
                        raise OutageError(f"no answer for {_OUTAGE_S:g} s, last: {error}") from error
                # Only after the server ended the watch or went away; it may be starting again.
                await asyncio.sleep(0.2)
        except Exception as error:  # noqa: BLE001  # handed to all who wait: without it they would wait for ever
            for waiter in stream.waiters:
                if not waiter.done.done():
                    waiter.done.set_exception(error)
            self._streams.pop(key, None)

    async def _list(self, key: Key, stream: _Stream) -> str:
        found = await self._client.list(*key)
        stream.objects = {item["metadata"]["name"]: item for item in found["items"]}
        stream.listed = True
        stream.version = int(found["metadata"]["resourceVersion"])
        for name in {waiter.name for waiter in stream.waiters}:
            _check(stream, name)
        return str(found["metadata"]["resourceVersion"])


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
            # Without the object, what counts is how far we have read: it may be newer than that, not deleted.
            if (stream.version if obj is None else int(obj["metadata"]["resourceVersion"])) < waiter.since:
                continue
            try:
                over = waiter.condition(obj)
            except Exception as error:  # noqa: BLE001  # handed to the one who waits, who knows what it means
                waiter.done.set_exception(error)
            else:
                if over:
                    waiter.done.set_result(obj)
