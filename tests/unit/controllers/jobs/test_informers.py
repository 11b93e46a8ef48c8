"""Datasets are watched from the first job with a cache on; Fluid need not be installed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest

from inferstack.api import Cache
from inferstack.apimachinery.objects import Object
from inferstack.controllers.jobs import informers
from inferstack.controllers.jobs.datasets import API_VERSION, CacheState
from inferstack.controllers.jobs.informers import DatasetInformers
from inferstack.k8s import ApiError, KubeClient, UnknownKindError
from tests.unit.until import until

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
async def watching(server: Server) -> AsyncIterator[tuple[DatasetInformers, list[str]]]:
    changed: list[str] = []
    watched = DatasetInformers(cast(KubeClient, server), changed.append)
    running = asyncio.create_task(watched.run())
    try:
        yield watched, changed
    finally:
        running.cancel()
        await asyncio.wait([running])


async def known_state(watched: DatasetInformers) -> CacheState:
    await until(lambda: watched.state(CACHE, "nlp") is not None)
    state = watched.state(CACHE, "nlp")
    assert state is not None
    return state


async def test_datasets_are_not_watched_before_a_job_has_a_cache() -> None:
    server = Server()
    async with watching(server) as (watched, _):
        await asyncio.sleep(0.05)
        assert server.asked == 0
        assert watched.state(CACHE, "nlp") is None
        await known_state(watched)
        assert server.asked == 2


async def test_a_cluster_without_fluid_has_no_dataset() -> None:
    async with watching(Server(error=UnknownKindError(API_VERSION, "Dataset"))) as (watched, _):
        state = await known_state(watched)
        assert state.reason.reason == "DatasetMissing"
        assert "Fluid" in state.reason.message


async def test_a_list_that_fails_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(informers, "_DATASET_SECONDS", 0.05)
    forbidden = ApiError(403, {"message": "no"}, request="GET datasets")
    async with watching(Server(error=forbidden)) as (watched, _):
        assert watched.state(CACHE, "nlp") is None
        state = await known_state(watched)
        assert (state.reason.reason, state.ready, state.failed) == ("CacheUnknown", False, False)


async def test_a_change_of_a_dataload_concerns_jobs_of_its_dataset() -> None:
    server = Server({"Dataset": [named("bert", "1")]})
    async with watching(server) as (watched, changed):
        await known_state(watched)
        assert changed == ["nlp/bert"]
        load = named("load", "11", spec={"dataset": {"name": "bert"}})
        load["metadata"]["namespace"] = "caches"
        server.changes.put_nowait(("DataLoad", "ADDED", load))
        await until(lambda: len(changed) == 2)
        assert changed[1] == "caches/bert"
        assert watched.concerns("nlp/bert", "nlp", "bert")
        # It stands for that one.
        assert watched.concerns("caches/bert", "nlp", "bert")
        assert not watched.concerns("caches/bert", "nlp", "gpt")
        assert not watched.concerns("vision/bert", "nlp", "bert")
