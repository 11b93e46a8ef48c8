"""Datasets are watched from the first job on that has a cache; Fluid need not be there."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest

from inferstack.api import Cache
from inferstack.controllers.jobs import caches
from inferstack.controllers.jobs.cache import API_VERSION, Warmth
from inferstack.k8s import ApiError, KubeClient, UnknownKindError
from tests.unit.until import until

Object = dict[str, Any]
CACHE = Cache.model_validate({"dataset": "bert"})


class Server:
    """An API server that has these objects, or answers with an error; counts what it is asked."""

    def __init__(self, items: dict[str, list[Object]] | None = None, error: Exception | None = None) -> None:
        self.items, self.error, self.asked = items or {}, error, 0
        self.changes: asyncio.Queue[tuple[str, str, Object]] = asyncio.Queue()

    async def list(self, _version: str, kind: str, *_: Any, **__: Any) -> Object:
        self.asked += 1
        if self.error:
            raise self.error
        return {"metadata": {"resourceVersion": "10"}, "items": self.items.get(kind, [])}

    async def watch(self, _version: str, kind: str, *_: Any, **__: Any) -> AsyncIterator[tuple[str, Object]]:
        while True:
            of, change, obj = await self.changes.get()
            if of != kind:
                self.changes.put_nowait((of, change, obj))
                await asyncio.sleep(0.01)
                continue
            yield change, obj


def named(name: str, version: str, **rest: Any) -> Object:
    meta = {"name": name, "namespace": "nlp", "uid": name, "resourceVersion": version}
    return {"metadata": meta, "spec": {"mounts": [{"mountPoint": "dataset://caches/bert"}]}, **rest}


@asynccontextmanager
async def watching(server: Server) -> AsyncIterator[tuple[caches.Caches, list[str]]]:
    changed: list[str] = []
    made = caches.Caches(cast(KubeClient, server), changed.append)
    running = asyncio.create_task(made.run())
    try:
        yield made, changed
    finally:
        running.cancel()
        await asyncio.wait([running])


async def known(made: caches.Caches) -> Warmth:
    await until(lambda: made.look(CACHE, "nlp") is not None)
    warmth = made.look(CACHE, "nlp")
    assert warmth is not None
    return warmth


async def test_nothing_is_watched_before_a_job_has_a_cache() -> None:
    server = Server()
    async with watching(server) as (made, _):
        await asyncio.sleep(0.05)
        assert server.asked == 0
        assert made.look(CACHE, "nlp") is None
        await known(made)
        assert server.asked == 2


async def test_a_cluster_without_fluid_has_no_dataset() -> None:
    async with watching(Server(error=UnknownKindError(API_VERSION, "Dataset"))) as (made, _):
        assert (
            await known(made)
        ).why.message == "namespace nlp has no Dataset bert; there is none: is Fluid installed?"


async def test_a_list_that_does_not_come_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(caches, "_PATIENCE_SECONDS", 0.05)
    forbidden = ApiError(403, {"message": "no"}, request="GET datasets")
    async with watching(Server(error=forbidden)) as (made, _):
        assert made.look(CACHE, "nlp") is None
        warmth = await known(made)
        assert (warmth.why.reason, warmth.ready, warmth.broken) == ("CacheUnknown", False, False)


async def test_a_change_is_told_by_the_dataset_that_it_concerns() -> None:
    server = Server({"Dataset": [named("bert", "1")]})
    async with watching(server) as (made, changed):
        await known(made)
        assert changed == ["nlp/bert"]
        load = named("load", "11", spec={"dataset": {"name": "bert"}})
        load["metadata"]["namespace"] = "caches"
        server.changes.put_nowait(("DataLoad", "ADDED", load))
        await until(lambda: len(changed) == 2)
        assert changed[1] == "caches/bert"
        assert made.concerns("nlp/bert", "nlp", "bert")
        # It stands for that one.
        assert made.concerns("caches/bert", "nlp", "bert")
        assert not made.concerns("caches/bert", "nlp", "gpt")
        assert not made.concerns("vision/bert", "nlp", "bert")
