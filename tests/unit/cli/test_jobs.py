"""The table of jobs, and the waits on what the API server holds."""

from __future__ import annotations

import asyncio
import datetime
from collections.abc import AsyncIterator
from typing import Any

import pytest

from inferstack.apimachinery.objects import Object
from inferstack.cli.stack.jobs import age, is_ready, make_table, read_jobs, wait_ready
from inferstack.k8s import UnknownKindError

NOW = datetime.datetime(2031, 5, 1, 12, 0, tzinfo=datetime.UTC)


def make_job(name: str = "bert", *, status: Object | None = None, **spec: Any) -> Object:
    """Return a job of the third generation, made five minutes ago."""
    return {
        "metadata": {"name": name, "namespace": "nlp", "generation": 3, "creationTimestamp": "2031-05-01T11:55:00Z"},
        "spec": {"model": "bert-base-uncased", **spec},
        **({} if status is None else {"status": status}),
    }


def ready(value: str = "True", **more: Any) -> Object:
    """Return a status with the condition Ready."""
    return {"conditions": [{"type": "Progressing", "status": "False"}, {"type": "Ready", "status": value, **more}]}


def make_pod(
    job: str = "bert", node: str = "n0", *, phase: str = "Running", up: bool = True, **requests: str
) -> Object:
    """Return a pod of a job; requests are written with ``_`` for what a name may not have."""
    names = {"gpu": "nvidia.com/gpu", "mig": "nvidia.com/mig-1g.5gb"}
    asked = {names.get(name, name): amount for name, amount in requests.items()}
    return {
        "metadata": {"name": f"{job}-0", "namespace": "nlp", "labels": {"inferstack.dev/job": job}},
        "spec": {"nodeName": node, "containers": [{"resources": {"requests": asked}}, {"name": "sidecar"}]},
        "status": {"phase": phase, "conditions": [{"type": "Ready", "status": str(up)}]},
    }


def row_of(job: Object, *pods: Object) -> Object:
    """Return the only row."""
    (row,) = make_table([job], list(pods), NOW)
    return row


def test_a_row_tells_what_a_job_is_and_holds() -> None:
    job = make_job(replicas=3, status={**ready(), "profile": "whole"})
    pods = [make_pod(gpu="2", cpu="4"), make_pod(node="n1", gpu="2", up=False), make_pod("other", "n2", gpu="1")]

    assert row_of(job, *pods) == {
        "job": "bert",
        "namespace": "nlp",
        "model": "bert-base-uncased",
        "profile": "whole",
        "ready": "1/3",
        "gpus": 4,
        "nodes": 2,
        "age": "5m",
    }


def test_slices_count_as_devices_of_their_own() -> None:
    row = row_of(make_job(status=ready(), replicas=2), make_pod(mig="1"), make_pod(mig="3"))

    assert (row["ready"], row["gpus"], row["nodes"]) == ("2/2", 4, 1)


@pytest.mark.parametrize("phase", ["Pending", "Succeeded", "Failed"])
def test_pods_that_do_not_run_hold_nothing(phase: str) -> None:
    row = row_of(make_job(status=ready()), make_pod(phase=phase, gpu="1"))

    assert (row["ready"], row["gpus"], row["nodes"]) == ("0/1", 0, 0)


def test_a_job_of_the_same_name_elsewhere_is_another() -> None:
    other = make_job()
    other["metadata"]["namespace"] = "vision"
    rows = make_table([other, make_job()], [make_pod(gpu="1")], NOW)

    assert [(row["namespace"], row["ready"]) for row in rows] == [("nlp", "1/1"), ("vision", "0/1")]


def test_the_column_of_messages_is_there_where_a_job_has_one() -> None:
    jobs = [
        make_job("a", status=ready(message="all is well")),
        make_job("b", status=ready("False", message="quota exceeded")),
        make_job("c"),
    ]

    assert [row["message"] for row in make_table(jobs, [], NOW)] == ["", "quota exceeded", "no status yet"]
    assert "message" not in row_of(jobs[0])


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (None, False),
        ({"conditions": None}, False),
        (ready(), True),
        (ready("False"), False),
        (ready("Unknown"), False),
        (ready(observedGeneration=3), True),
        (ready(observedGeneration=2), False),
    ],
    ids=["no status", "no conditions", "ready", "not", "unknown", "of this spec", "of the spec before"],
)
def test_ready_is_said_of_the_present_spec(status: Object | None, expected: bool) -> None:
    assert is_ready(make_job(status=status)) is expected


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-3, "0s"),
        (0, "0s"),
        (119.9, "119s"),
        (120, "2m"),
        (7199, "119m"),
        (7200, "2h"),
        (172799, "47h"),
        (172800, "2d"),
    ],
)
def test_ages(seconds: float, text: str) -> None:
    assert age((NOW - datetime.timedelta(seconds=seconds)).isoformat(), NOW) == text


class FakeKube:
    """Lists jobs and then tells of changes, round by round; the last round's watch never ends."""

    def __init__(self, *rounds: tuple[list[Object], list[tuple[str, Object]]]) -> None:
        self.rounds = list(rounds)
        self.since: list[str | None] = []
        self.told_all = asyncio.Event()

    async def list(self, *_: str, labels: str | None = None) -> Object:
        """Return the jobs of this round."""
        assert labels is None
        return {"items": self.rounds[0][0], "metadata": {"resourceVersion": str(len(self.rounds))}}

    async def watch(self, *_: str, since: str | None = None) -> AsyncIterator[tuple[str, Object]]:
        """Yield the changes of this round."""
        self.since.append(since)
        for change in self.rounds[0][1]:
            yield change
        if len(self.rounds) == 1:
            self.told_all.set()
            await asyncio.Event().wait()
        self.rounds.pop(0)


WELL, NOT_YET = make_job(status=ready()), make_job(status=ready("False"))
OTHER = make_job("other", status=ready("False"))


@pytest.mark.parametrize(
    "rounds",
    [
        [([], [])],
        [([WELL], [])],
        [([NOT_YET], [("MODIFIED", NOT_YET), ("MODIFIED", WELL)])],
        [([NOT_YET], [("DELETED", NOT_YET)])],
        [([NOT_YET, OTHER], [("MODIFIED", WELL), ("DELETED", OTHER)])],
        [([NOT_YET], [("BOOKMARK", {"metadata": {"resourceVersion": "9"}})]), ([WELL], [])],
        [([NOT_YET], []), ([NOT_YET], [("MODIFIED", WELL)])],
    ],
    ids=["no job", "all are ready", "gets ready", "is deleted", "two", "a bookmark, then the watch ends", "watch ends"],
)
async def test_the_wait_ends_when_all_are_ready(rounds: list[tuple[list[Object], list[tuple[str, Object]]]]) -> None:
    async with asyncio.timeout(20):
        await wait_ready(FakeKube(*rounds), 3600)  # type: ignore[arg-type]  # duck


@pytest.mark.parametrize(
    "changes",
    [[], [("ADDED", make_job("new", status=ready()))], [("BOOKMARK", WELL)], [("MODIFIED", NOT_YET)]],
    ids=["nothing", "another is", "bookmark", "still not"],
)
async def test_the_wait_goes_on_while_one_is_not_ready(changes: list[tuple[str, Object]]) -> None:
    kube = FakeKube(([NOT_YET], changes))
    waiting = asyncio.create_task(wait_ready(kube, 3600))  # type: ignore[arg-type]  # duck

    await asyncio.wait({waiting, told_all := asyncio.create_task(kube.told_all.wait())}, return_when="FIRST_COMPLETED")

    assert told_all.done()
    assert not waiting.done()
    waiting.cancel()
    assert kube.since == ["1"], "from the list on, so that no change is missed"


async def test_the_wait_ends_after_its_time() -> None:
    async with asyncio.timeout(20):
        await wait_ready(FakeKube(([NOT_YET], [])), 0.05)  # type: ignore[arg-type]  # duck


async def test_a_kind_that_is_not_served_has_no_jobs() -> None:
    class Bare:
        """Serves no kind."""

        async def list(self, api_version: str, kind: str) -> Object:
            raise UnknownKindError(api_version, kind)

    await wait_ready(Bare(), 3600)  # type: ignore[arg-type]  # duck
    assert await read_jobs(Bare()) == ([], [])  # type: ignore[arg-type]  # duck
