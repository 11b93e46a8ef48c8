"""Work queue, informer, credentials and processes, without an API server."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, cast

import psutil
import pytest
import yaml

from inferstack.kube import ApiError, KubeClient, UnknownKindError
from inferstack.rehearsal.agent import informer as informer_module
from inferstack.rehearsal.agent import process
from inferstack.rehearsal.agent.credentials import cluster_of, make_kubeconfig
from inferstack.rehearsal.agent.informer import Informer
from inferstack.rehearsal.agent.workqueue import WorkQueue

Object = dict[str, Any]


@pytest.fixture(autouse=True)
def _fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(informer_module, "_FIRST_WAIT", 0.001)


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110  # the objects under test have no event for it
            await asyncio.sleep(0.005)


# --- work queue


async def test_a_key_never_runs_twice_at_once_and_changes_coalesce() -> None:
    running, most, runs = 0, 0, 0
    release = asyncio.Event()

    async def work(_key: str) -> None:
        nonlocal running, most, runs
        running += 1
        runs += 1
        most = max(most, running)
        await release.wait()
        running -= 1

    queue = WorkQueue(work, workers=4, name="test")
    task = asyncio.create_task(queue.run())
    queue.add("a")
    await _until(lambda: running == 1)
    for _ in range(10):
        queue.add("a")
    release.set()
    await _until(lambda: runs == 2 and running == 0)
    await asyncio.sleep(0.02)
    assert (runs, most) == (2, 1)
    task.cancel()


async def test_failures_are_tried_again_and_bugs_are_not() -> None:
    tries = 0

    async def work(key: str) -> None:
        nonlocal tries
        tries += 1
        if key == "bug":
            raise KeyError(key)
        if tries == 1:
            raise ApiError(500, {}, request="x")

    queue = WorkQueue(work, workers=1, name="test")
    task = asyncio.create_task(queue.run())
    queue.add("a")
    await _until(lambda: tries == 2)
    queue.add("bug")
    with pytest.raises(ExceptionGroup) as raised:
        await task
    assert raised.group_contains(KeyError)


# --- informer


class FakeKube:
    """Answers list and watch from a script: each step is one answer or one error."""

    def __init__(self, lists: list[Any], watches: list[Any]) -> None:
        self.lists, self.watches = lists, watches
        self.asked: list[str | None] = []

    async def list(self, *_: Any, **__: Any) -> Object:
        step = self.lists.pop(0) if len(self.lists) > 1 else self.lists[0]
        if isinstance(step, Exception):
            raise step
        version, items = step
        return {"metadata": {"resourceVersion": version}, "items": items}

    async def watch(self, *_: Any, since: str, **__: Any) -> AsyncIterator[tuple[str, Object]]:
        self.asked.append(since)
        if not self.watches:
            await asyncio.Event().wait()
        step = self.watches.pop(0)
        for event in step:
            if isinstance(event, Exception):
                raise event
            yield event


def _obj(name: str, version: int, uid: str = "u") -> Object:
    return {"metadata": {"name": name, "resourceVersion": str(version), "uid": uid + name}}


async def _informed(kube: FakeKube, changes: int) -> tuple[Informer, list[tuple[str, int | None]]]:
    seen: list[tuple[str, int | None]] = []

    def note(key: str, obj: Object | None) -> None:
        seen.append((key, None if obj is None else informer_module.version_of(obj)))

    informer = Informer(cast(KubeClient, kube), "v1", "Node", on_change=note)
    task = asyncio.create_task(informer.run())
    await _until(lambda: len(seen) >= changes)
    task.cancel()
    return informer, seen


async def test_list_then_watch_and_resume_at_the_bookmark() -> None:
    bookmark = ("BOOKMARK", {"metadata": {"resourceVersion": "9"}})
    kube = FakeKube(
        [("5", [_obj("a", 3)])],
        [[("ADDED", _obj("b", 6)), ("DELETED", _obj("a", 7)), bookmark], [("MODIFIED", _obj("b", 10))]],
    )
    _, seen = await _informed(kube, 4)
    assert seen == [("a", 3), ("b", 6), ("a", None), ("b", 10)]
    assert kube.asked[:2] == ["5", "9"]


async def test_a_version_too_old_lists_again_and_tells_what_was_missed() -> None:
    kube = FakeKube(
        [("5", [_obj("a", 3), _obj("b", 4)]), ("20", [_obj("b", 15), _obj("c", 4)])],
        [[ApiError(410, {}, request="w")]],
    )
    _, seen = await _informed(kube, 5)
    assert seen == [("a", 3), ("b", 4), ("a", None), ("b", 15), ("c", 4)]


async def test_a_broken_connection_resumes_without_a_list() -> None:
    kube = FakeKube([("5", [])], [[("ADDED", _obj("a", 6)), ConnectionResetError()], [("MODIFIED", _obj("a", 7))]])
    await _informed(kube, 2)
    assert kube.asked[:2] == ["5", "6"]


async def test_a_kind_that_comes_later() -> None:
    missing = UnknownKindError("nvidia.com/v1", "ClusterPolicy")
    kube = FakeKube([missing, missing, ("5", [_obj("a", 3)])], [])
    informer, seen = await _informed(kube, 1)
    assert informer.synced.is_set()
    assert seen == [("a", 3)]


async def test_one_missing_answer_does_not_empty_what_is_known() -> None:
    missing = ApiError(404, {}, request="l")
    kube = FakeKube([("5", [_obj("a", 3)]), missing, ("5", [_obj("a", 4)])], [[ApiError(500, {}, request="w")]])
    _, seen = await _informed(kube, 2)
    assert seen == [("a", 3), ("a", 4)]


async def test_an_answer_of_a_write_is_not_undone_by_a_late_event() -> None:
    kube = FakeKube([("5", [_obj("a", 3)])], [])
    informer, _ = await _informed(kube, 1)
    informer.remember(_obj("a", 8))
    informer._take("MODIFIED", _obj("a", 7))
    assert informer_module.version_of(informer.objects["a"]) == 8
    informer._take("ADDED", _obj("a", 2, uid="another"))  # deleted and made again in a restored store
    assert informer_module.version_of(informer.objects["a"]) == 2


# --- credentials


def test_kubeconfig_of_a_pod(tmp_path: Path) -> None:
    path = tmp_path / "kubeconfig"
    cluster = {"server": "https://127.0.0.1:1", "certificate-authority": "pki/ca.crt"}
    content = make_kubeconfig(cluster, token="t", token_file="/f", namespace="ns")
    path.write_text(yaml.safe_dump(content))
    assert cluster_of(path) == {**cluster, "certificate-authority": str(tmp_path / "pki" / "ca.crt")}
    assert content["users"] == [{"name": "pod", "user": {"token": "t", "tokenFile": "/f"}}]


# --- processes

SLEEP = (sys.executable, "-c", "import time; print('up'); time.sleep(600)")
STUBBORN = (
    sys.executable,
    "-c",
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up'); time.sleep(600)",
)


async def _started(state_dir: Path, argv: tuple[str, ...], uid: str = "u1") -> process.Process:
    running = await process.start(state_dir, uid=uid, pod="ns/p", name="p", argv=argv, env={}, port=1)
    if argv in (SLEEP, STUBBORN):
        await _until(lambda: "up" in (state_dir / "logs" / "p.log").read_text())
    return running


async def test_exit_codes(tmp_path: Path) -> None:
    ended = await _started(tmp_path, (sys.executable, "-c", "raise SystemExit(7)"))
    assert await ended.wait() == 7
    killed = await _started(tmp_path, SLEEP)
    os.kill(killed.pid, signal.SIGKILL)
    assert await killed.wait() == 137


async def test_stop_is_gentle_first(tmp_path: Path) -> None:
    gentle = await _started(tmp_path, SLEEP)
    await gentle.stop(30)
    assert gentle.child is not None
    assert gentle.child.returncode == -signal.SIGTERM


async def test_stop_ends_what_ignores_it(tmp_path: Path) -> None:
    stubborn = await _started(tmp_path, STUBBORN)
    await stubborn.stop(0.1)
    assert stubborn.child is not None
    assert stubborn.child.returncode == -signal.SIGKILL


async def test_a_restarted_agent_finds_what_runs(tmp_path: Path) -> None:
    running = await _started(tmp_path, SLEEP)
    lost = await _started(tmp_path, SLEEP, uid="u2")
    process.folder_of(tmp_path, "u2").joinpath("run.json").unlink()  # killed before it was written
    process.folder_of(tmp_path, "u3").mkdir(parents=True)
    process.folder_of(tmp_path, "u3").joinpath("run.json").write_text('{"pid": ')  # killed while it was written
    try:
        found = process.find_leftovers(tmp_path)
        assert {uid: each.pid for uid, each in found.items()} == {"u1": running.pid, "u2": lost.pid}
        assert found["u1"].child is None
        await found["u1"].stop(5)
        await found["u2"].stop(5)
    finally:
        for each in (running, lost):
            await each.stop(5)
    assert process.find_leftovers(tmp_path) == {}


async def test_another_process_under_an_old_pid_is_not_ours(tmp_path: Path) -> None:
    run_file = process.folder_of(tmp_path, "u1") / "run.json"
    run_file.parent.mkdir(parents=True)
    ours = psutil.Process()
    run_file.write_text(json.dumps({"pod": "ns/p", "pid": ours.pid, "created": ours.create_time() - 5, "port": 1}))
    assert process.find_leftovers(tmp_path) == {}


async def test_a_duplicate_without_a_run_file_is_ended(tmp_path: Path) -> None:
    first = await _started(tmp_path, SLEEP)
    second = await _started(tmp_path, SLEEP)  # its run file replaces the first's
    try:
        assert process.find_leftovers(tmp_path)["u1"].pid == second.pid
        assert await first.wait() == 137
    finally:
        await second.stop(5)
