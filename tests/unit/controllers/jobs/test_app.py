"""The controllers' process: its start, an API server that comes and goes, its end."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import time
from collections.abc import AsyncIterator, Callable
from typing import cast

import aiohttp
import pytest

from inferstack.api import constants
from inferstack.apimachinery.objects import Object
from inferstack.controllers.app import serve
from inferstack.controllers.jobs import reconciler as reconciler_module
from inferstack.errors import UserError
from inferstack.k8s import KubeClient
from inferstack.k8s import informer as informer_module
from tests.unit.controllers.jobs.api_server import NAMESPACE, ApiServer, running
from tests.unit.until import until

JOBS, DEPLOYMENTS, SERVICES = constants.PLURAL, "deployments", "services"


@pytest.fixture(autouse=True)
def _fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(informer_module, "_FIRST_WAIT", 0.02)
    monkeypatch.setattr(informer_module, "_LONGEST_WAIT", 0.1)
    monkeypatch.setattr(reconciler_module, "_SWEEP_SECONDS", 0.1)


@pytest.fixture
async def server() -> AsyncIterator[ApiServer]:
    async with running() as server:
        yield server


@pytest.fixture
async def process(server: ApiServer) -> AsyncIterator[tuple[asyncio.Task[None], int]]:
    """The controllers, and their health port."""
    with socket.create_server(("", 0)) as free:
        port: int = free.getsockname()[1]
    async with await KubeClient.connect(server.kubeconfig) as kube:
        task = asyncio.create_task(serve(kube, namespace=NAMESPACE, health_port=port, usage_seconds=None))
        yield task, port
        task.cancel()
        await asyncio.wait([task])


def _job(make_job: Callable[..., Object], name: str) -> Object:
    return {**make_job(replicas=1), "metadata": {"name": name}}


def _owner(child: Object | None) -> str | None:
    return child["metadata"]["ownerReferences"][0]["uid"] if child else None


async def _health(port: int) -> tuple[int, str]:
    async with aiohttp.ClientSession() as http, http.get(f"http://127.0.0.1:{port}/healthz") as answer:
        return answer.status, await answer.text()


async def _until_healthy(port: int) -> None:
    async with asyncio.timeout(10):
        while True:
            try:
                if (await _health(port))[0] == 200:
                    return
            except aiohttp.ClientConnectionError:
                pass
            await asyncio.sleep(0.01)


async def test_a_health_port_in_use_is_a_user_error() -> None:
    with socket.create_server(("", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=f"{port}.*INFERSTACK_HEALTH_PORT"):
            # It ends before it needs a client.
            await serve(cast(KubeClient, None), namespace=None, health_port=port, usage_seconds=None)


async def test_a_crd_installed_later_is_waited_for(
    server: ApiServer,
    process: tuple[asyncio.Task[None], int],
    make_job: Callable[..., Object],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    server.served.remove(constants.API_VERSION)
    _, port = process
    await until(lambda: any(constants.KIND in record.message for record in caplog.records))
    status, text = await _health(port)
    assert (status, constants.KIND in text) == (503, True)
    server.served.add(constants.API_VERSION)
    await server.create(JOBS, _job(make_job, "bert"))
    await server.until(DEPLOYMENTS, {"bert"})
    assert await _health(port) == (200, "ok\n")


async def test_jobs_changed_while_the_api_server_was_away_are_reconciled(
    server: ApiServer, process: tuple[asyncio.Task[None], int], make_job: Callable[..., Object]
) -> None:
    task, port = process
    for name in ("kept", "removed"):
        await server.create(JOBS, _job(make_job, name))
    await server.until(SERVICES, {"kept", "removed"})
    before = {name: obj["metadata"]["uid"] for name, obj in server.objects[DEPLOYMENTS].items()}
    await server.stop()
    await server.delete(JOBS, "removed")
    await server.create(JOBS, _job(make_job, "added"))
    await asyncio.sleep(0.3)
    assert not task.done()
    assert (await _health(port))[0] == 200
    await server.start()
    await server.until(SERVICES, {"kept", "added"})
    await server.until(DEPLOYMENTS, {"kept", "added"})
    assert server.objects[DEPLOYMENTS]["kept"]["metadata"]["uid"] == before["kept"]


async def test_a_job_made_again_while_the_watch_was_broken_gets_children_of_its_own(
    server: ApiServer, process: tuple[asyncio.Task[None], int], make_job: Callable[..., Object]
) -> None:
    await server.create(JOBS, _job(make_job, "bert"))
    await server.until(SERVICES, {"bert"})
    await server.stop()
    await server.delete(JOBS, "bert")
    # The store's history is gone too: the watch cannot go on, so the list must show the difference.
    server.forget_history()
    uid = (await server.create(JOBS, _job(make_job, "bert")))["metadata"]["uid"]
    await server.start()
    await until(lambda: _owner(server.objects[DEPLOYMENTS].get("bert")) == uid)


async def test_a_group_that_discovery_leaves_out_for_a_moment_costs_nothing(
    server: ApiServer, process: tuple[asyncio.Task[None], int], make_job: Callable[..., Object]
) -> None:
    """An API server that has just started does not know the groups of CRDs yet."""
    task, _ = process
    await server.create(JOBS, _job(make_job, "bert"))
    await server.until(SERVICES, {"bert"})
    before = dict(server.objects[DEPLOYMENTS])
    await server.stop()
    server.served.remove(constants.API_VERSION)
    await server.start()
    await asyncio.sleep(0.5)
    assert not task.done()
    assert server.objects[DEPLOYMENTS] == before
    server.served.add(constants.API_VERSION)
    await server.create(JOBS, _job(make_job, "next"))
    await server.until(DEPLOYMENTS, {"bert", "next"})


async def test_credentials_refused_for_long_end_the_process_with_a_user_error(
    server: ApiServer, process: tuple[asyncio.Task[None], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(informer_module, "_UNAUTHORIZED_SECONDS", 0.3)
    task, port = process
    await _until_healthy(port)
    server.unauthorized = True
    await server.stop()
    await server.start()
    async with asyncio.timeout(10):
        with pytest.raises(UserError, match="credentials"):
            await task


async def test_credentials_refused_for_a_moment_are_tried_again(
    server: ApiServer,
    process: tuple[asyncio.Task[None], int],
    make_job: Callable[..., Object],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(informer_module, "_UNAUTHORIZED_SECONDS", 5)
    _, port = process
    await _until_healthy(port)
    server.unauthorized = True
    await server.stop()
    await server.start()
    await asyncio.sleep(0.3)
    server.unauthorized = False
    await server.create(JOBS, _job(make_job, "bert"))
    await server.until(DEPLOYMENTS, {"bert"})


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_the_process_within_a_second(
    server: ApiServer, process: tuple[asyncio.Task[None], int], number: signal.Signals
) -> None:
    task, port = process
    await _until_healthy(port)
    began = time.monotonic()
    os.kill(os.getpid(), number)
    async with asyncio.timeout(10):
        await task
    assert time.monotonic() - began < 1
    with pytest.raises(aiohttp.ClientConnectionError):
        await _health(port)


async def test_a_signal_ends_the_process_while_the_api_server_is_away(
    server: ApiServer, process: tuple[asyncio.Task[None], int]
) -> None:
    task, port = process
    await _until_healthy(port)
    await server.stop()
    began = time.monotonic()
    os.kill(os.getpid(), signal.SIGTERM)
    async with asyncio.timeout(10):
        await task
    assert time.monotonic() - began < 1


async def test_children_of_deleted_jobs_are_removed_before_the_process_ends(
    server: ApiServer,
    process: tuple[asyncio.Task[None], int],
    make_job: Callable[..., Object],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(reconciler_module, "_SWEEP_SECONDS", 60)
    task, _ = process
    await server.create(JOBS, _job(make_job, "bert"))
    await server.until(SERVICES, {"bert"})
    await server.delete(JOBS, "bert")
    await asyncio.sleep(0.2)
    assert "bert" in server.objects[DEPLOYMENTS]
    os.kill(os.getpid(), signal.SIGTERM)
    async with asyncio.timeout(10):
        await task
    assert not server.objects[DEPLOYMENTS]
    assert not server.objects[SERVICES]
