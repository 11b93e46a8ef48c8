"""The client's handling of answers, against an HTTP server on loopback that speaks just enough of the API."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web

from inferstack.k8s import ApiError, KubeClient, UnknownKindError
from inferstack.k8s.auth import Access
from inferstack.k8s.client import _lines

WIDGETS = {"resources": [{"name": "widgets", "kind": "Widget", "namespaced": True, "verbs": ["get"]}]}


class Server:
    """Answers from a script and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.answers: dict[str, list[tuple[int, dict[str, Any]]]] = {}

    async def handle(self, request: web.Request) -> web.Response:
        key = f"{request.method} {request.path}"
        self.asked.append(f"{request.method} {request.path_qs}")
        queue = self.answers.get(key) or [(404, {"reason": "NotFound", "message": "nothing here"})]
        status, body = queue.pop(0) if len(queue) > 1 else queue[0]
        return web.json_response(body, status=status)


@pytest.fixture
async def server() -> AsyncIterator[tuple[Server, KubeClient]]:
    scripted = Server()
    application = web.Application()
    application.router.add_route("*", "/{tail:.*}", scripted.handle)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    async with KubeClient(Access(server=f"http://127.0.0.1:{port}", tls=None)) as kube:
        yield scripted, kube
    await runner.cleanup()


async def test_discovery_is_asked_once_per_group_version(server: tuple[Server, KubeClient]) -> None:
    scripted, kube = server
    scripted.answers["GET /apis/x.io/v1"] = [(200, WIDGETS)]

    await asyncio.gather(*(kube.resource("x.io/v1", "Widget") for _ in range(10)))

    assert scripted.asked == ["GET /apis/x.io/v1"]


async def test_a_kind_that_came_later_is_found(server: tuple[Server, KubeClient]) -> None:
    scripted, kube = server
    scripted.answers["GET /apis/x.io/v1"] = [(404, {}), (200, WIDGETS)]

    with pytest.raises(UnknownKindError, match=r"Widget in x\.io/v1"):
        await kube.resource("x.io/v1", "Widget")
    assert (await kube.resource("x.io/v1", "Widget")).plural == "widgets"


@pytest.mark.parametrize("verb", ["create", "apply"])
async def test_write_waits_for_discovery_of_a_new_kind(server: tuple[Server, KubeClient], verb: str) -> None:
    scripted, kube = server
    without_widgets = {"resources": [{"name": "gadgets", "kind": "Gadget", "namespaced": True, "verbs": ["get"]}]}
    scripted.answers["GET /apis/x.io/v1"] = [(404, {}), (200, without_widgets), (200, WIDGETS)]
    written = {"apiVersion": "x.io/v1", "kind": "Widget", "metadata": {"name": "a", "namespace": "n"}}
    scripted.answers["POST /apis/x.io/v1/namespaces/n/widgets"] = [(201, written)]
    scripted.answers["PATCH /apis/x.io/v1/namespaces/n/widgets/a"] = [(200, written)]

    assert await getattr(kube, verb)(written, field_manager="test") == written


async def test_write_of_a_missing_kind_fails_in_the_end(
    server: tuple[Server, KubeClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, kube = server
    monkeypatch.setattr("inferstack.k8s.client._NEW_KIND_SECONDS", 0.2)
    with pytest.raises(UnknownKindError):
        await kube.create({"apiVersion": "x.io/v1", "kind": "Widget", "metadata": {"name": "a"}}, field_manager="test")


async def test_a_list_is_read_to_its_last_page(server: tuple[Server, KubeClient]) -> None:
    scripted, kube = server
    scripted.answers["GET /apis/x.io/v1"] = [(200, WIDGETS)]
    first = {"metadata": {"continue": "more"}, "items": [{"metadata": {"name": "a"}}]}
    second = {"metadata": {"resourceVersion": "7"}, "items": [{"metadata": {"name": "b"}}]}
    scripted.answers["GET /apis/x.io/v1/widgets"] = [(200, first), (200, second)]

    listed = await kube.list("x.io/v1", "Widget")

    assert [item["metadata"]["name"] for item in listed["items"]] == ["a", "b"]
    assert all(item["kind"] == "Widget" for item in listed["items"])
    assert listed["metadata"]["resourceVersion"] == "7"
    assert scripted.asked[-1].endswith("limit=500&continue=more")


async def test_a_failure_carries_its_causes(server: tuple[Server, KubeClient]) -> None:
    scripted, kube = server
    cause = {"reason": "FieldValueInvalid", "field": "spec.size", "message": "must be positive"}
    status = {"reason": "Invalid", "message": "Widget is invalid", "details": {"causes": [cause]}}
    scripted.answers["GET /broken"] = [(422, status)]

    with pytest.raises(ApiError, match="Widget is invalid") as caught:
        await kube.request("GET", "/broken")

    assert caught.value.invalid
    assert caught.value.causes[0].field == "spec.size"


async def test_find_tells_absence_from_failure(server: tuple[Server, KubeClient]) -> None:
    scripted, kube = server
    scripted.answers["GET /apis/x.io/v1"] = [(200, WIDGETS)]
    scripted.answers["GET /apis/x.io/v1/namespaces/n/widgets/refused"] = [(403, {"reason": "Forbidden"})]

    assert await kube.find("x.io/v1", "Widget", "absent", "n") is None
    assert await kube.find("x.io/v1", "Gadget", "absent", "n") is None
    with pytest.raises(ApiError, match="Forbidden"):
        await kube.find("x.io/v1", "Widget", "refused", "n")


async def test_lines_of_a_watch_can_be_longer_than_a_chunk() -> None:
    reader = asyncio.StreamReader()
    long = json.dumps({"data": "x" * 300_000}).encode()

    class Content:
        """The one method that `_lines` uses."""

        async def iter_any(self) -> AsyncIterator[bytes]:
            while chunk := await reader.read(65_536):
                yield chunk

    reader.feed_data(b"first\n\n" + long + b"\nlast\n")
    reader.feed_eof()

    assert [line async for line in _lines(Content())] == [b"first", long, b"last"]  # type: ignore[arg-type]  # duck
