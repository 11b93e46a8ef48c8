"""What the operator says of a job."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from inferstack.api import InferenceJobStatus
from inferstack.controllers.jobs.obstacles import Obstacle
from inferstack.controllers.jobs.plan import Plan
from inferstack.controllers.jobs.status import (
    Seen,
    make_refused_status,
    make_status,
    own,
    turns,
    under_way,
    urgent,
)
from inferstack.k8s.events import Transition
from inferstack.mig.resources import mig_resource

Object = dict[str, Any]
Plans = Callable[..., Plan]

EARLY, LATE = "2026-01-01T00:00:00Z", "2026-01-01T00:01:00Z"
CASES = yaml.safe_load((Path(__file__).parent / "data/status.yaml").read_text())
GOOD = {"observedGeneration": 2, "replicas": 8, "updatedReplicas": 8, "readyReplicas": 8}


def make_deployment(status: Object, replicas: int = 8) -> Object:
    """Return a live Deployment."""
    return {"metadata": {"generation": 2}, "spec": {"replicas": replicas}, "status": status}


def seen_in(case: Object) -> Seen:
    """Return what the operator sees in a case of the file."""
    pods = [
        {"status": {key: value for key, value in group.items() if key != "count"}}
        for group in case.get("pods", [])
        for _ in range(group["count"])
    ]
    refusal = Obstacle(*case["refusal"]) if "refusal" in case else None
    deployment = make_deployment(case["deployment"]) if case["deployment"] is not None else None
    return Seen(deployment, pods, refusal is None and deployment is not None, refusal)


def say(plan: Plan, seen: Seen, before: Object | None = None, now: str = EARLY) -> Object:
    """Return the status of a plan's job."""
    return make_status(plan.job, plan.runtime, seen, before=before, now=now)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_cases(plan_of: Plans, case: Object) -> None:
    status = say(plan_of(), seen_in(case))
    conditions = {condition["type"]: condition for condition in status["conditions"]}
    assert {kind: [c["status"], c["reason"]] for kind, c in conditions.items()} == case["says"]
    assert conditions["Ready"]["message"] == case["message"]
    assert status["ready"] == case["ready"]
    InferenceJobStatus.model_validate(status)


@pytest.mark.parametrize(("replicas", "reason"), [(8, "Idle"), (0, "Paused")])
def test_no_replica_is_wanted(plan_of: Plans, replicas: int, reason: str) -> None:
    none = {"observedGeneration": 2}
    status = say(plan_of(replicas=replicas), Seen({**make_deployment(none), "spec": {"replicas": 0}}))
    conditions = {condition["type"]: condition for condition in status["conditions"]}
    # No count is there of an empty Deployment.
    assert (conditions["Ready"]["status"], conditions["Ready"]["reason"]) == ("True", reason)


def test_what_the_scaler_says_is_not_the_operators() -> None:
    assert own({"ready": "1/1", "scaling": {"reason": "Forecast"}}) == {"ready": "1/1"}
    assert own({"scaling": {"reason": "Forecast"}}) is None
    assert own(None) is None


def test_the_whole_status(plan_of: Plans) -> None:
    def condition(kind: str, value: str, reason: str, message: str) -> Object:
        return {
            "type": kind,
            "status": value,
            "reason": reason,
            "message": message,
            "lastTransitionTime": EARLY,
            "observedGeneration": 3,
        }

    serve = "8 of 8 replicas serve bert-base-uncased"
    assert say(plan_of(), Seen(make_deployment(GOOD))) == {
        "observedGeneration": 3,
        "ready": "8/8",
        "replicas": 8,
        "readyReplicas": 8,
        "gpus": 8,
        "profile": "whole",
        "runtime": "text-embeddings-inference",
        "selector": "inferstack.dev/job=bert",
        "conditions": [
            condition("Ready", "True", "AllReplicasReady", serve),
            condition("Progressing", "False", "AllReplicasReady", serve),
            condition("Degraded", "False", "AsExpected", "nothing stands in the way"),
        ],
    }


@pytest.mark.parametrize("profile", ["3g.20gb", "1g.24gb+me.all", "2g.48gb+gfx", "1g.24gb-me"])
def test_slices_are_counted_by_their_profile(plan_of: Plans, profile: str) -> None:
    slices = {mig_resource(profile): 2}
    status = say(plan_of(resources={"requests": slices, "limits": slices}), Seen(make_deployment(GOOD)))
    assert (status["gpus"], status["profile"]) == (16, profile)


def test_a_paused_job_is_well(plan_of: Plans) -> None:
    status = say(plan_of(replicas=0), Seen(make_deployment({"observedGeneration": 2}, replicas=0)))
    assert status["ready"] == "0/0"
    assert [(c["status"], c["reason"]) for c in status["conditions"]] == [
        ("True", "Paused"),
        ("False", "Paused"),
        ("False", "AsExpected"),
    ]


def test_a_condition_that_stays_keeps_its_time(plan_of: Plans) -> None:
    coming = say(plan_of(), Seen(make_deployment({**GOOD, "readyReplicas": 1})))
    more = say(plan_of(), Seen(make_deployment({**GOOD, "readyReplicas": 2})), before=coming, now=LATE)
    ready = say(plan_of(), Seen(make_deployment(GOOD)), before=more, now=LATE)
    assert {c["lastTransitionTime"] for c in more["conditions"]} == {EARLY}
    assert [c["lastTransitionTime"] for c in ready["conditions"]] == [LATE, LATE, EARLY]
    assert say(plan_of(), Seen(make_deployment(GOOD)), before=ready, now="later") == ready


def test_events_tell_the_turns(plan_of: Plans) -> None:
    coming = say(plan_of(), Seen(make_deployment({**GOOD, "readyReplicas": 1})))
    ready = say(plan_of(), Seen(make_deployment(GOOD)), before=coming)
    stuck = say(plan_of(), Seen(refusal=Obstacle("Refused", "no")), before=ready)
    otherwise = say(plan_of(), Seen(refusal=Obstacle("QuotaExceeded", "full")), before=stuck)
    assert turns(None, coming) == []
    assert turns(coming, ready) == [Transition("Normal", "AllReplicasReady", "8 of 8 replicas serve bert-base-uncased")]
    assert turns(ready, ready) == []
    assert turns(ready, stuck) == [Transition("Warning", "Refused", "no")]
    assert turns(stuck, otherwise) == [Transition("Warning", "QuotaExceeded", "full")]


def test_counts_alone_may_wait(plan_of: Plans) -> None:
    one = say(plan_of(), Seen(make_deployment({**GOOD, "readyReplicas": 1})))
    two = say(plan_of(), Seen(make_deployment({**GOOD, "readyReplicas": 2})), before=one)
    ready = say(plan_of(), Seen(make_deployment(GOOD)), before=two)
    assert (urgent(None, one), urgent(one, two), urgent(two, ready)) == (True, False, True)
    assert urgent(two, {**two, "observedGeneration": 4})
    assert (under_way(two), under_way(ready)) == (True, False)


def test_a_job_that_the_models_refuse(make_job: Callable[..., Object]) -> None:
    status = make_refused_status(make_job(), Obstacle("InvalidSpec", "spec.x: no"), before=None, now=EARLY)
    assert [(c["type"], c["status"], c["reason"], c["message"]) for c in status["conditions"]] == [
        ("Ready", "False", "InvalidSpec", "spec.x: no"),
        ("Progressing", "False", "InvalidSpec", "spec.x: no"),
        ("Degraded", "True", "InvalidSpec", "spec.x: no"),
    ]
