"""The informer, with a client that answers from a script."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from typing import Any, cast

import pytest

from inferstack.apimachinery.objects import Object
from inferstack.k8s import ApiError, KubeClient, UnknownKindError
from inferstack.k8s import informer as informer_module
from inferstack.k8s.informer import Informer, key_of, newer_of, version_of
from tests.unit.until import until

Change = tuple[str, int | None, int | None]
"""Name, and the versions before and after."""

MISSING = [UnknownKindError("nvidia.com/v1", "ClusterPolicy"), ApiError(404, {}, request="l")]


@pytest.fixture(autouse=True)
def _fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(informer_module, "_FIRST_WAIT", 0.001)
    monkeypatch.setattr(informer_module, "_LONGEST_WAIT", 0.01)


class FakeKube:
    """Answers list and watch from a script: each step is one answer or one error, and the last list goes on."""

    def __init__(self, lists: list[Any], watches: list[Any]) -> None:
        self.lists, self.watches = lists, watches
        self.listed = 0
        self.asked: list[str | None] = []
        self.selected: list[tuple[tuple[Any, ...], dict[str, Any]]] = []

    async def list(self, *what: Any, **narrowed: Any) -> Object:
        self.listed += 1
        self.selected.append((what, narrowed))
        step = self.lists.pop(0) if len(self.lists) > 1 else self.lists[0]
        if isinstance(step, Exception):
            raise step
        version, items = step
        return {"metadata": {"resourceVersion": version}, "items": items}

    async def watch(self, *what: Any, since: str, **narrowed: Any) -> AsyncIterator[tuple[str, Object]]:
        self.asked.append(since)
        self.selected.append((what, narrowed))
        if not self.watches:
            await asyncio.Event().wait()
        step = self.watches.pop(0)
        for event in step:
            if isinstance(event, Exception):
                raise event
            yield event


def _obj(name: str, version: int, uid: str = "u") -> Object:
    return {"metadata": {"name": name, "resourceVersion": str(version), "uid": uid + name}}


async def _run(
    kube: FakeKube, done: Callable[[Informer, list[Change]], bool], **options: Any
) -> tuple[Informer, list[Change]]:
    """Run an informer until ``done`` holds; return it and the reported changes."""
    reported: list[Change] = []

    def note(before: Object | None, after: Object | None) -> None:
        versions = [None if side is None else version_of(side) for side in (before, after)]
        reported.append((key_of(newer_of(before, after)), versions[0], versions[1]))

    informer = Informer(cast(KubeClient, kube), "v1", "Node", on_change=note, **options)
    task = asyncio.create_task(informer.run())
    await until(lambda: done(informer, reported))
    task.cancel()
    return informer, reported


async def _informed(kube: FakeKube, count: int, **options: Any) -> tuple[Informer, list[Change]]:
    return await _run(kube, lambda _, reported: len(reported) >= count, **options)


async def test_watch_resumes_at_the_bookmark() -> None:
    bookmark = ("BOOKMARK", {"metadata": {"resourceVersion": "9"}})
    kube = FakeKube(
        [("5", [_obj("a", 3)])],
        [[("ADDED", _obj("b", 6)), ("DELETED", _obj("a", 7)), bookmark], [("MODIFIED", _obj("b", 10))]],
    )
    _, reported = await _informed(kube, 4)
    assert reported == [("a", None, 3), ("b", None, 6), ("a", 3, None), ("b", 6, 10)]
    assert kube.asked[:2] == ["5", "9"]


async def test_an_expired_version_lists_again_and_reports_missed_changes() -> None:
    kube = FakeKube(
        [("5", [_obj("a", 3), _obj("b", 4)]), ("20", [_obj("b", 15), _obj("c", 4)])],
        [[ApiError(410, {}, request="w")]],
    )
    _, reported = await _informed(kube, 5)
    assert reported == [("a", None, 3), ("b", None, 4), ("a", 3, None), ("b", 4, 15), ("c", None, 4)]


async def test_objects_unchanged_in_a_list_are_not_reported_again() -> None:
    kube = FakeKube([("5", [_obj("a", 3)]), ("20", [_obj("a", 3), _obj("b", 15)])], [[ApiError(410, {}, request="w")]])
    _, reported = await _informed(kube, 2)
    assert reported == [("a", None, 3), ("b", None, 15)]


async def test_a_broken_connection_resumes_without_a_list() -> None:
    kube = FakeKube([("5", [])], [[("ADDED", _obj("a", 6)), ConnectionResetError()], [("MODIFIED", _obj("a", 7))]])
    await _informed(kube, 2)
    assert kube.asked[:2] == ["5", "6"]
    assert kube.listed == 1


async def test_list_and_watch_have_the_same_selectors() -> None:
    kube = FakeKube([("5", [])], [])
    await _run(kube, lambda *_: bool(kube.asked), namespace="ml", labels="app=x", fields="spec.nodeName=n")
    expected = (("v1", "Node", "ml"), {"labels": "app=x", "fields": "spec.nodeName=n"})
    assert kube.selected == [expected, expected]


async def test_objects_are_pruned() -> None:
    kube = FakeKube([("5", [{**_obj("a", 3), "spec": 1}])], [[("ADDED", {**_obj("b", 6), "spec": 1})]])
    informer, _ = await _informed(kube, 2, prune=lambda obj: {"metadata": obj["metadata"]})
    informer.remember({**_obj("b", 7), "spec": 1})
    assert informer.objects == {"a": _obj("a", 3), "b": _obj("b", 7)}


async def test_a_problem_and_its_end_are_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="informer.node")
    refused = ApiError(403, {"message": "no"}, request="l")
    kube = FakeKube([refused, refused, refused, ("5", [_obj("a", 3)])], [])
    await _informed(kube, 1)
    assert [(record.levelname, record.message) for record in caplog.records] == [
        ("WARNING", "ApiError: l: no (403 )"),
        ("INFO", "watching again"),
    ]


# --- kinds that are not served


@pytest.mark.parametrize("missing", MISSING)
async def test_an_optional_kind_may_be_served_later(missing: Exception) -> None:
    kube = FakeKube([missing], [])
    informer, reported = await _run(kube, lambda informer, _: informer.synced.is_set(), optional=True)
    assert (informer.objects, reported) == ({}, [])
    kube = FakeKube([missing, missing, ("5", [_obj("a", 3)])], [])
    _, reported = await _informed(kube, 1, optional=True)
    assert reported == [("a", None, 3)]


async def test_a_single_404_does_not_drop_all_objects() -> None:
    missing = ApiError(404, {}, request="l")
    # The second one comes after a list in between, so it is a first one again.
    lists = [("5", [_obj("a", 3)]), missing, ("5", [_obj("a", 3)]), ("5", [_obj("a", 4)])]
    kube = FakeKube(lists, [[ApiError(500, {}, request="w")], [missing]])
    _, reported = await _informed(kube, 2, optional=True)
    assert reported == [("a", None, 3), ("a", 3, 4)]


async def test_an_optional_kind_may_disappear_and_return() -> None:
    missing = ApiError(404, {}, request="w")
    kube = FakeKube([("5", [_obj("a", 3)]), MISSING[0], ("20", [_obj("a", 15)])], [[missing]])
    _, reported = await _informed(kube, 3, optional=True)
    assert reported == [("a", None, 3), ("a", 3, None), ("a", None, 15)]


@pytest.mark.parametrize("missing", MISSING)
async def test_a_required_kind_is_waited_for(missing: Exception) -> None:
    kube = FakeKube([missing], [])
    informer, _ = await _run(kube, lambda *_: kube.listed > 3)
    assert not informer.synced.is_set()
    kube = FakeKube(
        [("5", [_obj("a", 3)]), missing, missing, missing, ("5", [_obj("a", 4)])], [[ApiError(500, {}, request="w")]]
    )
    _, reported = await _informed(kube, 2)
    assert reported == [("a", None, 3), ("a", 3, 4)]


# --- answers of writes


async def _watching(lists: list[Any], events: list[Any]) -> Informer:
    kube = FakeKube(lists, [events])
    # The second watch begins after all events of the first, and stays.
    return (await _run(kube, lambda *_: len(kube.asked) == 2))[0]


async def test_a_late_event_does_not_undo_the_result_of_a_write() -> None:
    kube = FakeKube([("5", [_obj("a", 3)])], [])
    informer, _ = await _informed(kube, 1)
    informer.remember(_obj("a", 8))
    informer._apply_event("MODIFIED", _obj("a", 7))
    assert version_of(informer.objects["a"]) == 8
    informer._apply_event("ADDED", _obj("a", 2, uid="another"))  # deleted and made again in a restored store
    assert version_of(informer.objects["a"]) == 2


async def test_an_outdated_result_of_a_write_is_ignored() -> None:
    informer = await _watching([("5", [_obj("a", 3)])], [("MODIFIED", _obj("a", 9))])
    informer.remember(_obj("a", 8))
    assert version_of(informer.objects["a"]) == 9


@pytest.mark.parametrize(
    ("events", "reached"),
    [
        ([], 5),
        ([("DELETED", _obj("b", 9))], 9),
        ([("BOOKMARK", {"metadata": {"resourceVersion": "12"}})], 12),
    ],
)
async def test_a_result_older_than_the_watch_is_of_a_deleted_object(events: list[Any], reached: int) -> None:
    informer = await _watching([("5", [_obj("b", 3)])], events)
    informer.remember(_obj("a", reached))  # made, and deleted before the answer was read
    assert "a" not in informer.objects
    informer.remember(_obj("a", reached + 1))
    assert version_of(informer.objects["a"]) == reached + 1


async def test_a_late_deletion_does_not_remove_the_next_object_of_that_name() -> None:
    informer = await _watching([("5", [_obj("a", 3)])], [("DELETED", _obj("a", 6))])
    informer.remember(_obj("a", 9, uid="next"))
    informer._apply_event("DELETED", _obj("a", 8))
    assert version_of(informer.objects["a"]) == 9
    informer._apply_event("DELETED", _obj("a", 10, uid="next"))
    assert informer.objects == {}
