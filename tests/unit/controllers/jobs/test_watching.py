"""That kopf watches the jobs, before an API server that has yet to read its CRDs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from inferstack.api import constants
from inferstack.controllers.app import serve
from inferstack.controllers.jobs import watching as module
from inferstack.controllers.jobs.watching import NotWatchingError
from inferstack.k8s import KubeClient

GROUPS = {
    "apps/v1": ("deployments", "Deployment"),
    "policy/v1": ("poddisruptionbudgets", "PodDisruptionBudget"),
    "autoscaling/v2": ("horizontalpodautoscalers", "HorizontalPodAutoscaler"),
    "apiextensions.k8s.io/v1": ("customresourcedefinitions", "CustomResourceDefinition"),
    constants.API_VERSION: (constants.PLURAL, constants.KIND),
}
CORE = (("services", "Service"), ("pods", "Pod"), ("events", "Event"), ("namespaces", "Namespace"))


class FakeApiServer:
    """Serves no object of any kind; leaves a group out of the list of groups as often as it is told to."""

    def __init__(self, leave_out: int) -> None:
        self._leave_out = leave_out
        self.watched = asyncio.Event()
        self._ending = asyncio.Event()

    def groups(self) -> web.Response:
        self._leave_out -= 1
        named = [name for name in GROUPS if self._leave_out < 0 or name != constants.API_VERSION]
        versions = {name: {"groupVersion": name, "version": name.split("/")[1]} for name in named}
        listed = [
            {"name": name.split("/")[0], "versions": [version], "preferredVersion": version}
            for name, version in versions.items()
        ]
        return web.json_response({"groups": listed})

    async def answer(self, request: web.Request) -> web.StreamResponse:
        path = request.path.strip("/")
        if path == "apis":
            return self.groups()
        if path == "api":
            return web.json_response({"versions": ["v1"]})
        group_version = path.removeprefix("apis/")
        kinds = CORE if path == "api/v1" else (GROUPS[group_version],) if group_version in GROUPS else ()
        if kinds:
            verbs = ["get", "list", "watch", "patch"]
            served = [
                {"name": plural, "kind": kind, "singularName": "", "namespaced": True, "verbs": verbs}
                for plural, kind in kinds
            ]
            return web.json_response({"resources": served})
        if not request.query.get("watch"):
            return web.json_response({"items": [], "metadata": {"resourceVersion": "1"}})
        if path.endswith(constants.PLURAL):
            self.watched.set()
        stream = web.StreamResponse()
        await stream.prepare(request)
        await self._ending.wait()
        return stream

    async def end(self, _: web.Application) -> None:
        self._ending.set()


@pytest.fixture
async def servers() -> AsyncIterator[list[TestServer]]:
    started: list[TestServer] = []
    yield started
    for server in started:
        await server.close()


async def connect(servers: list[TestServer], leave_out: int) -> tuple[FakeApiServer, KubeClient]:
    fake = FakeApiServer(leave_out)
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", fake.answer)
    app.on_shutdown.append(fake.end)
    servers.append(server := TestServer(app))
    await server.start_server()
    address = str(server.make_url("")).rstrip("/")
    config = {
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {"server": address}}],
        "users": [{"name": "u", "user": {}}],
    }
    return fake, await KubeClient.connect(config)


async def test_it_ends_where_kopf_was_told_that_there_is_no_such_kind(
    servers: list[TestServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_FIRST_SECONDS", 0.5)
    fake, kube = await connect(servers, leave_out=1)
    async with kube, asyncio.timeout(20):
        with pytest.raises(NotWatchingError, match=r"inferencejobs\.deepseek\.ai for 0 s, which are served"):
            await serve(kube, namespace=None, health_port=None, usage_seconds=None)
    assert not fake.watched.is_set()


async def test_it_lives_on_where_kopf_watches(servers: list[TestServer], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_FIRST_SECONDS", 0.5)
    fake, kube = await connect(servers, leave_out=0)
    async with kube, asyncio.timeout(20):
        serving = asyncio.create_task(serve(kube, namespace=None, health_port=None, usage_seconds=None))
        await fake.watched.wait()
        done, _ = await asyncio.wait([serving], timeout=2.5)
        assert not done
        serving.cancel()
        await asyncio.wait([serving])


async def test_a_watch_that_is_not_renewed_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WATCH_SECONDS", 0.2)
    monkeypatch.setattr(module, "_SLACK_SECONDS", 0.2)
    seen = module.Watching()
    seen._asked = asyncio.get_running_loop().time()
    served = asyncio.Event()
    served.set()
    async with asyncio.timeout(10):
        with pytest.raises(NotWatchingError):
            await seen.guard(served)


async def test_nothing_is_asked_of_kopf_before_the_kind_is_served() -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            await module.Watching().guard(asyncio.Event())
