"""Requests to an API server and errors of an unreachable one; the server is a script on loopback."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp import web

from inferstack.cli.cluster import connected
from inferstack.cli.stack import jobs
from inferstack.errors import UserError

RESOURCES = {
    "/api/v1": [
        {"name": "pods", "kind": "Pod", "namespaced": True},
        {"name": "nodes", "kind": "Node", "namespaced": False},
    ],
    "/apis/deepseek.ai/v1": [{"name": "inferencejobs", "kind": "InferenceJob", "namespaced": True}],
}
JOB: dict[str, Any] = {
    "metadata": {"name": "bert", "namespace": "nlp", "creationTimestamp": "2031-05-01T11:55:00Z"},
    "spec": {"model": "bert"},
}


def write_kubeconfig(file: Path, server: str) -> Path:
    """Write a kubeconfig with the one context c."""
    content = {
        "contexts": [{"name": "c", "context": {"cluster": "c"}}],
        "clusters": [{"name": "c", "cluster": {"server": server}}],
        "current-context": "c",
    }
    file.write_text(yaml.safe_dump(content))
    return file


@pytest.fixture
async def answers(tmp_path: Path) -> AsyncIterator[dict[str, Any]]:
    """Serve these answers by path under the kubeconfig ``up``; a path without one is not found."""
    content: dict[str, Any] = {path: {"resources": listed} for path, listed in RESOURCES.items()}

    async def answer(request: web.Request) -> web.Response:
        body = content.get(request.path)
        if isinstance(body, int):
            return web.json_response({"message": "not for you", "reason": "Forbidden"}, status=body)
        return web.json_response(body or {"reason": "NotFound"}, status=200 if body else 404)

    application = web.Application()
    application.router.add_route("GET", "/{tail:.*}", answer)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    write_kubeconfig(tmp_path / "up", f"http://127.0.0.1:{runner.addresses[0][1]}")
    yield content
    await runner.cleanup()


async def test_what_is_left_of_a_stack_is_named(answers: dict[str, Any], tmp_path: Path) -> None:
    wanted = [
        ("v1", "Pod", "a", "nlp"),
        ("v1", "Pod", "b", "nlp"),
        ("v1", "Node", "n", None),
        ("x.io/v1", "X", "x", None),
    ]
    objects = [
        {"apiVersion": version, "kind": kind, "metadata": {"name": name} | ({"namespace": space} if space else {})}
        for version, kind, name, space in wanted
    ]
    assert await jobs.still_there(tmp_path / "up", objects=objects) == []

    answers["/api/v1/namespaces/nlp/pods/b"] = answers["/api/v1/nodes/n"] = {"metadata": {}}
    assert await jobs.still_there(tmp_path / "up", objects=objects) == ["Pod nlp/b", "Node n"]


async def test_the_table_tells_whether_all_are_ready(answers: dict[str, Any], tmp_path: Path) -> None:
    answers["/apis/deepseek.ai/v1/inferencejobs"] = {"metadata": {"resourceVersion": "1"}, "items": [JOB]}
    answers["/api/v1/pods"] = {"items": []}
    rows, ready = await jobs.table(tmp_path / "up")
    assert ([(row["job"], row["ready"]) for row in rows], ready) == ([("bert", "0/1")], False)

    status = {"conditions": [{"type": "Ready", "status": "True"}]}
    answers["/apis/deepseek.ai/v1/inferencejobs"]["items"] = [{**JOB, "status": status}]
    _, ready = await jobs.table(tmp_path / "up", "c", wait=3600)
    assert ready


async def test_a_refusal_is_told_in_the_servers_words(answers: dict[str, Any], tmp_path: Path) -> None:
    answers["/api/v1/pods"] = answers["/apis/deepseek.ai/v1/inferencejobs"] = 403

    with pytest.raises(UserError, match=r"^The API server refused .*: not for you$"):
        await jobs.table(tmp_path / "up")


async def test_a_server_that_does_not_answer_is_named(tmp_path: Path) -> None:
    with socket.socket() as taken:  # bound, but nobody listens
        taken.bind(("127.0.0.1", 0))
        server = f"http://127.0.0.1:{taken.getsockname()[1]}"
        kubeconfig = write_kubeconfig(tmp_path / "config", server)
        with pytest.raises(UserError, match=rf"^The API server at {server} does not answer \(.*\); `inferstack "):
            await jobs.table(kubeconfig, wait=3600)


async def test_a_kubeconfig_that_is_no_use_is_named(tmp_path: Path) -> None:
    absent, empty = tmp_path / "absent", tmp_path / "empty"
    empty.touch()
    good = write_kubeconfig(tmp_path / "good", "http://127.0.0.1:1")
    for file, context, message in (
        (absent, None, f"There is no kubeconfig {absent}: "),
        (empty, None, f"kubeconfig {empty}: not a mapping"),
        (good, "other", "kubeconfig: contexts has no entry named 'other'"),
    ):
        with pytest.raises(UserError) as caught:
            async with connected(file, context):
                pytest.fail("there is nothing to connect to")
        assert str(caught.value).startswith(message)


async def test_errors_of_the_work_itself_stay_what_they_are(answers: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(KeyError):
        async with connected(tmp_path / "up"):
            raise KeyError
