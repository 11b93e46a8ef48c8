"""The status of a job."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from inferstack.api import InferenceJobStatus
from inferstack.apimachinery.objects import Object
from inferstack.controllers.jobs.plan import Plan
from inferstack.controllers.jobs.reasons import ConditionReason, Reason
from inferstack.controllers.jobs.status import (
    Observation,
    make_refused_status,
    make_status,
    own,
    transitions,
    under_way,
    urgent,
)
from inferstack.k8s.events import Transition
from inferstack.mig.resources import mig_resource

Plans = Callable[..., Plan]

EARLY, LATE = "2026-01-01T00:00:00Z", "2026-01-01T00:01:00Z"
CASES = yaml.safe_load((Path(__file__).parent / "data/status.yaml").read_text())
GOOD = {"observedGeneration": 2, "replicas": 8, "updatedReplicas": 8, "readyReplicas": 8}


def make_deployment(status: Object, replicas: int = 8) -> Object:
    """Return a live Deployment."""
    return {"metadata": {"generation": 2}, "spec": {"replicas": replicas}, "status": status}


def observation_of(case: Object) -> Observation:
    """Return the observation of a case of the file."""
    pods = [
        {"status": {key: value for key, value in group.items() if key != "count"}}
        for group in case.get("pods", [])
        for _ in range(group["count"])
    ]
    refusal = ConditionReason(Reason(case["refusal"][0]), case["refusal"][1]) if "refusal" in case else None
    deployment = make_deployment(case["deployment"]) if case["deployment"] is not None else None
    return Observation(deployment, pods, refusal is None and deployment is not None, refusal)


def status_of(plan: Plan, observation: Observation, before: Object | None = None, now: str = EARLY) -> Object:
    """Return the status of a plan's job."""
    return make_status(plan.job, plan.runtime, observation, before=before, now=now)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_conditions_follow_from_the_observation(plan_of: Plans, case: Object) -> None:
    status = status_of(plan_of(), observation_of(case))
    conditions = {condition["type"]: condition for condition in status["conditions"]}
    assert {kind: [c["status"], c["reason"]] for kind, c in conditions.items()} == case["conditions"]
    for part in case["mentions"]:
        assert part in conditions["Ready"]["message"]
    assert status["ready"] == case["ready"]
    InferenceJobStatus.model_validate(status)


@pytest.mark.parametrize(("replicas", "reason"), [(8, "Idle"), (0, "Paused")])
def test_a_job_without_replicas_is_ready(plan_of: Plans, replicas: int, reason: str) -> None:
    none = {"observedGeneration": 2}
    status = status_of(plan_of(replicas=replicas), Observation({**make_deployment(none), "spec": {"replicas": 0}}))
    conditions = {condition["type"]: condition for condition in status["conditions"]}
    # No count is there of an empty Deployment.
    assert (conditions["Ready"]["status"], conditions["Ready"]["reason"]) == ("True", reason)


def test_the_scalers_part_of_the_status_is_left_out() -> None:
    assert own({"ready": "1/1", "scaling": {"reason": "Forecast"}}) == {"ready": "1/1"}
    assert own({"scaling": {"reason": "Forecast"}}) is None
    assert own(None) is None


def test_all_fields_of_the_status(plan_of: Plans) -> None:
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
    assert status_of(plan_of(), Observation(make_deployment(GOOD))) == {
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
            condition("Degraded", "False", "AsExpected", "no problem"),
        ],
    }


@pytest.mark.parametrize("profile", ["3g.20gb", "1g.24gb+me.all", "2g.48gb+gfx", "1g.24gb-me"])
def test_mig_slices_are_counted_with_their_profile(plan_of: Plans, profile: str) -> None:
    slices = {mig_resource(profile): 2}
    status = status_of(plan_of(resources={"requests": slices, "limits": slices}), Observation(make_deployment(GOOD)))
    assert (status["gpus"], status["profile"]) == (16, profile)


def test_a_paused_job_is_ready(plan_of: Plans) -> None:
    status = status_of(plan_of(replicas=0), Observation(make_deployment({"observedGeneration": 2}, replicas=0)))
    assert status["ready"] == "0/0"
    assert [(c["status"], c["reason"]) for c in status["conditions"]] == [
        ("True", "Paused"),
        ("False", "Paused"),
        ("False", "AsExpected"),
    ]


def test_an_unchanged_condition_keeps_its_transition_time(plan_of: Plans) -> None:
    coming = status_of(plan_of(), Observation(make_deployment({**GOOD, "readyReplicas": 1})))
    more = status_of(plan_of(), Observation(make_deployment({**GOOD, "readyReplicas": 2})), before=coming, now=LATE)
    ready = status_of(plan_of(), Observation(make_deployment(GOOD)), before=more, now=LATE)
    assert {c["lastTransitionTime"] for c in more["conditions"]} == {EARLY}
    assert [c["lastTransitionTime"] for c in ready["conditions"]] == [LATE, LATE, EARLY]
    assert status_of(plan_of(), Observation(make_deployment(GOOD)), before=ready, now="later") == ready


def test_transitions_become_events(plan_of: Plans) -> None:
    coming = status_of(plan_of(), Observation(make_deployment({**GOOD, "readyReplicas": 1})))
    ready = status_of(plan_of(), Observation(make_deployment(GOOD)), before=coming)
    stuck = status_of(plan_of(), Observation(refusal=ConditionReason(Reason.REFUSED, "no")), before=ready)
    otherwise = status_of(plan_of(), Observation(refusal=ConditionReason(Reason.QUOTA_EXCEEDED, "full")), before=stuck)
    assert transitions(None, coming) == []
    assert transitions(coming, ready) == [
        Transition("Normal", "AllReplicasReady", "8 of 8 replicas serve bert-base-uncased")
    ]
    assert transitions(ready, ready) == []
    assert transitions(ready, stuck) == [Transition("Warning", "Refused", "no")]
    assert transitions(stuck, otherwise) == [Transition("Warning", "QuotaExceeded", "full")]


def test_changed_counts_are_not_urgent(plan_of: Plans) -> None:
    first = status_of(plan_of(), Observation(make_deployment({**GOOD, "readyReplicas": 1})))
    second = status_of(plan_of(), Observation(make_deployment({**GOOD, "readyReplicas": 2})), before=first)
    ready = status_of(plan_of(), Observation(make_deployment(GOOD)), before=second)
    assert (urgent(None, first), urgent(first, second), urgent(second, ready)) == (True, False, True)
    assert urgent(second, {**second, "observedGeneration": 4})
    assert (under_way(second), under_way(ready)) == (True, False)


def test_an_invalid_job_is_degraded(make_job: Callable[..., Object]) -> None:
    status = make_refused_status(make_job(), ConditionReason(Reason.INVALID_SPEC, "spec.x: no"), before=None, now=EARLY)
    assert [(c["type"], c["status"], c["reason"], c["message"]) for c in status["conditions"]] == [
        ("Ready", "False", "InvalidSpec", "spec.x: no"),
        ("Progressing", "False", "InvalidSpec", "spec.x: no"),
        ("Degraded", "True", "InvalidSpec", "spec.x: no"),
    ]
