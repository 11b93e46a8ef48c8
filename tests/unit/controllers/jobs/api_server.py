"""An API server in memory: enough of discovery, list, watch and writes for a controller's process."""

from __future__ import annotations

import asyncio
import itertools
import json
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from aiohttp import web
from aiohttp.test_utils import TestServer

from inferstack.api import constants
from inferstack.apimachinery.objects import Object

KINDS = {
    "v1": {"services": "Service", "pods": "Pod", "events": "Event"},
    "apps/v1": {"deployments": "Deployment"},
    "policy/v1": {"poddisruptionbudgets": "PodDisruptionBudget"},
    "autoscaling/v2": {"horizontalpodautoscalers": "HorizontalPodAutoscaler"},
    constants.API_VERSION: {constants.PLURAL: constants.KIND},
}
NAMESPACE = "ml"


class ApiServer:
    """Objects that outlive the process that serves them, as those of etcd do."""

    def __init__(self) -> None:
        self.served = set(KINDS)
        """Group versions of which discovery and the resource handlers know."""
        self.unauthorized = False
        """Whether each request is answered with 401."""
        self.objects: dict[str, dict[str, Object]] = {plural: {} for kinds in KINDS.values() for plural in kinds}
        self.requests: list[str] = []
        self._versions = itertools.count(1)
        self._latest = self._oldest = 0
        self._history: list[tuple[int, str, str, Object]] = []
        self._changed = asyncio.Condition()
        self._stopping = False
        self._server: TestServer | None = None
        self._port: int | None = None

    @property
    def kubeconfig(self) -> Object:
        """A kubeconfig without credentials."""
        return {
            "current-context": "c",
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u", "namespace": NAMESPACE}}],
            "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{self._port}"}}],
            "users": [{"name": "u", "user": {}}],
        }

    async def start(self) -> None:
        """Listen; after a stop, on the same port as before."""
        self._stopping = False
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._answer)
        self._server = TestServer(app, port=self._port)
        await self._server.start_server()
        self._port = self._server.port

    async def stop(self) -> None:
        """Break all watches and stop to listen."""
        self._stopping = True
        async with self._changed:
            self._changed.notify_all()
        if self._server is not None:
            await self._server.close()

    async def create(self, plural: str, obj: Object) -> Object:
        """Store a new object and tell those who watch."""
        meta = {"namespace": NAMESPACE, **obj["metadata"], "uid": str(uuid.uuid4()), "generation": 1}
        await self._store(plural, "ADDED", created := {**obj, "metadata": meta})
        return created

    async def delete(self, plural: str, name: str) -> None:
        """Remove an object and tell those who watch."""
        await self._store(plural, "DELETED", self.objects[plural].pop(name))

    def forget_history(self) -> None:
        """Answer watches that begin before now with 410, as after a compaction."""
        self._history.clear()
        self._oldest = self._latest

    async def until(self, plural: str, names: set[str]) -> None:
        """Wait until exactly these objects of a kind are there."""
        async with asyncio.timeout(10), self._changed:
            await self._changed.wait_for(lambda: set(self.objects[plural]) == names)

    async def _store(self, plural: str, change: str, obj: Object) -> None:
        self._latest = next(self._versions)
        obj["metadata"]["resourceVersion"] = str(self._latest)
        if change != "DELETED":
            self.objects[plural][obj["metadata"]["name"]] = obj
        # A copy: an event shows the object as it was then.
        self._history.append((self._latest, plural, change, json.loads(json.dumps(obj))))
        async with self._changed:
            self._changed.notify_all()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(f"{request.method} {request.path}")
        if self.unauthorized:
            return _failure(401, "Unauthorized")
        parts = request.path.strip("/").split("/")
        version, rest = (parts[1], parts[2:]) if parts[0] == "api" else ("/".join(parts[1:3]), parts[3:])
        if version not in self.served:
            return _failure(404, "NotFound")
        if not rest:
            return web.json_response({"resources": _resources(version)})
        plural, *names = rest[2:] if rest[0] == "namespaces" else rest
        if request.method == "POST":
            return web.json_response(await self.create(plural, await request.json()))
        if not names:
            listing = {"items": list(self.objects[plural].values()), "metadata": {"resourceVersion": str(self._latest)}}
            return await self._watch(request, plural) if request.query.get("watch") else web.json_response(listing)
        obj = self.objects[plural].get(names[0])
        if obj is None:
            return _failure(404, "NotFound")
        if request.method == "DELETE":
            await self.delete(plural, names[0])
        elif request.method == "PATCH":
            body = await request.json()
            await self._store(plural, "MODIFIED", {**obj, **{k: v for k, v in body.items() if k != "metadata"}})
        return web.json_response(self.objects[plural].get(names[0], obj))

    async def _watch(self, request: web.Request, plural: str) -> web.StreamResponse:
        since = int(request.query["resourceVersion"])
        if since < self._oldest:
            return _failure(410, "Expired")
        stream = web.StreamResponse()
        await stream.prepare(request)
        with suppress(ConnectionResetError):
            while not self._stopping:
                events = [event for event in self._history if event[0] > since and event[1] == plural]
                for version, _, change, obj in events:
                    since = version
                    await stream.write(json.dumps({"type": change, "object": obj}).encode() + b"\n")
                async with self._changed:
                    if not self._stopping and not any(e[0] > since and e[1] == plural for e in self._history):
                        await self._changed.wait()
        return stream


def _resources(version: str) -> list[Object]:
    return [
        {"name": plural, "kind": kind, "namespaced": True, "verbs": ["get", "list", "watch"]}
        for plural, kind in KINDS[version].items()
    ]


def _failure(code: int, reason: str) -> web.Response:
    return web.json_response({"kind": "Status", "code": code, "reason": reason, "message": reason}, status=code)


@asynccontextmanager
async def running() -> AsyncIterator[ApiServer]:
    """Serve until the block ends."""
    server = ApiServer()
    await server.start()
    try:
        yield server
    finally:
        await server.stop()
