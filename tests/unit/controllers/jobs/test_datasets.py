"""The state of a Dataset, and what follows for a job's replicas and status."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from inferstack.api import Cache, InferenceJobStatus
from inferstack.api.labels import CACHE, COLD
from inferstack.apimachinery.objects import Object
from inferstack.controllers.jobs.datasets import CacheDecision, CacheState, cache_state, decide_cache, identity
from inferstack.controllers.jobs.plan import Plan
from inferstack.controllers.jobs.pruning import prune_dataset, prune_load
from inferstack.controllers.jobs.reasons import ConditionReason, Reason
from inferstack.controllers.jobs.status import Observation, cold_since, make_status, transitions
from inferstack.controllers.rbac import rules
from inferstack.k8s.events import Transition

Plans = Callable[..., Plan]

NOW = "2026-01-01T00:00:00Z"
CACHE_SPEC = {"dataset": "bert", "path": "/bert-base-uncased"}
GOOD = {"observedGeneration": 2, "replicas": 8, "updatedReplicas": 8, "readyReplicas": 8}


def make_cache(**given: Any) -> Cache:
    return Cache.model_validate({**CACHE_SPEC, **given})


def dataset(
    phase: str = "Bound", *, name: str = "bert", namespace: str = "ml", mount: str = "s3://b/m", **more: Any
) -> Object:
    return {
        "metadata": {"name": name, "namespace": namespace, "uid": "u", "resourceVersion": "1", **more},
        "spec": {"mounts": [{"mountPoint": mount}]},
        "status": {
            "phase": phase,
            "cacheStates": {"cachedPercentage": "40.0%"},
            "conditions": [{"type": "NotReady", "status": "True", "message": "no worker"}] if phase == "Failed" else [],
        },
    }


def load(phase: str, *, namespace: str = "ml", created: str = "2026-01-01T00:00:00Z", **status: Any) -> Object:
    return {
        "metadata": {
            "name": f"load-{phase.lower()}",
            "namespace": namespace,
            "uid": "u",
            "resourceVersion": "1",
            "creationTimestamp": created,
        },
        "spec": {"dataset": {"name": "bert", "namespace": namespace}},
        "status": {"phase": phase, "conditions": [], "duration": "-", **status},
    }


def state_of(datasets: list[Object], *loads: Object) -> CacheState:
    by_key = {f"{d['metadata']['namespace']}/{d['metadata']['name']}": prune_dataset(d) for d in datasets}
    return cache_state(make_cache(), "ml", by_key, [prune_load(obj) for obj in loads])


@pytest.mark.parametrize(
    ("datasets", "loads", "reason", "mentions", "flags"),
    [
        ([], [], "DatasetMissing", ["Fluid"], "failed"),
        (
            [dataset(name="llama"), dataset(name="gpt"), dataset(namespace="vision")],
            [],
            "DatasetMissing",
            ["gpt, llama"],
            "failed",
        ),
        ([dataset("")], [], "DatasetNotBound", ["bert is new"], ""),
        ([dataset("NotBound")], [], "DatasetNotBound", ["bert is NotBound"], ""),
        ([dataset("Failed")], [], "DatasetNotBound", ["bert is Failed", "no worker"], "failed"),
        ([dataset(deletionTimestamp=NOW)], [], "DatasetNotBound", ["bert is being deleted"], ""),
        ([dataset()], [], "CacheWarm", ["no DataLoad"], "bound ready"),
        (
            [dataset()],
            [load("Executing")],
            "CacheLoading",
            ["load-executing", "bert", "Executing", "40.0% cached"],
            "bound",
        ),
        ([dataset()], [load("")], "CacheLoading", ["load-", "is new", "40.0% cached"], "bound"),
        ([dataset()], [load("Complete")], "CacheWarm", ["bert is Bound and loaded"], "bound ready"),
        (
            [dataset()],
            [load("Failed", conditions=[{"type": "Failed", "status": "True", "message": "no such path"}])],
            "CacheLoadFailed",
            ["load-failed", "no such path"],
            "bound failed",
        ),
        # A schedule's next run does not make what was loaded cold again.
        (
            [dataset()],
            [load("Executing", lastSuccessfulTime=NOW)],
            "CacheWarm",
            ["bert is Bound and loaded"],
            "bound ready",
        ),
        # Only the latest counts.
        (
            [dataset()],
            [load("Complete"), load("Pending", created="2026-01-02T00:00:00Z")],
            "CacheLoading",
            ["load-pending", "Pending"],
            "bound",
        ),
        # The same name elsewhere is another Dataset.
        ([dataset()], [load("Executing", namespace="vision")], "CacheWarm", [], "bound ready"),
        # A Dataset that stands for another is as warm as that one.
        (
            [dataset(mount="dataset://caches/bert"), dataset(namespace="caches")],
            [load("Executing", namespace="caches")],
            "CacheLoading",
            ["load-executing", "bert", "Executing", "40.0% cached"],
            "bound",
        ),
    ],
)
def test_cache_state(datasets: list[Object], loads: list[Object], reason: str, mentions: list[str], flags: str) -> None:
    state = state_of(datasets, *loads)
    assert state.reason.reason == reason
    assert [part for part in mentions if part not in state.reason.message] == []
    assert " ".join(flag for flag in ("bound", "ready", "failed") if getattr(state, flag)) == flags


WARM = CacheState(ConditionReason(Reason.CACHE_WARM, "warm"), bound=True, ready=True)
LOADING = CacheState(ConditionReason(Reason.CACHE_LOADING, "loading"), bound=True)
UNBOUND = CacheState(ConditionReason(Reason.DATASET_NOT_BOUND, "not bound"))
MISSING = CacheState(ConditionReason(Reason.DATASET_MISSING, "missing"), failed=True)
FAILED = CacheState(ConditionReason(Reason.CACHE_LOAD_FAILED, "failed"), bound=True, failed=True)


def live(replicas: int = 8, /, **annotations: str) -> Object:
    return {"metadata": {"annotations": annotations}, "spec": {"replicas": replicas}}


def decided(state: CacheState, deployment: Object | None = None, *, cold: float = 0, **given: Any) -> CacheDecision:
    paused = bool(given.pop("paused", False))
    return decide_cache(make_cache(**given), state, deployment, generation=3, paused=paused, cold_seconds=cold)


@pytest.mark.parametrize(
    ("state", "given", "mounted", "blocking", "degraded"),
    [
        (WARM, {}, True, None, None),
        (LOADING, {}, None, None, None),
        (UNBOUND, {}, None, None, None),
        (MISSING, {}, None, "DatasetMissing", None),
        (FAILED, {}, None, "CacheLoadFailed", None),
        (WARM, {"whenCold": "StartDegraded"}, True, None, None),
        (LOADING, {"whenCold": "StartDegraded"}, True, None, None),
        (FAILED, {"whenCold": "StartDegraded"}, True, None, None),
        (UNBOUND, {"whenCold": "StartDegraded"}, False, None, "StartedWithoutCache"),
        (MISSING, {"whenCold": "StartDegraded"}, False, None, "StartedWithoutCache"),
        (UNBOUND, {"paused": True}, True, None, None),
    ],
)
def test_decision_for_a_job_without_replicas(
    state: CacheState, given: Object, mounted: bool | None, blocking: str | None, degraded: str | None
) -> None:
    decision = decided(state, **given)
    assert decision.mounted is mounted
    assert (decision.blocking and decision.blocking.reason) == blocking
    assert (decision.degraded and decision.degraded.reason) == degraded
    assert decision.ready is state.ready


def test_timeout_ends_the_wait_for_a_cold_cache() -> None:
    early, late = decided(LOADING, timeoutSeconds=60, cold=20), decided(LOADING, timeoutSeconds=60, cold=60)
    assert (early.mounted, early.blocking, early.requeue_after) == (None, None, 40)
    assert late.mounted is None
    assert late.blocking is not None
    assert late.blocking.reason == "CacheTimeout"
    assert "60 s: loading" in late.blocking.message
    assert late.requeue_after is None
    assert decided(LOADING).requeue_after is None


def test_start_degraded_waits_for_the_timeout_first() -> None:
    early = decided(UNBOUND, whenCold="StartDegraded", timeoutSeconds=60, cold=20)
    late = decided(UNBOUND, whenCold="StartDegraded", timeoutSeconds=60, cold=61)
    assert (early.mounted, early.degraded, early.requeue_after) == (None, None, 40)
    assert (late.mounted, late.degraded is not None) == (False, True)


@pytest.mark.parametrize("way", ["Wait", "StartDegraded"])
def test_a_warm_cache_does_not_restart_replicas_started_without_it(way: str) -> None:
    decision = decided(WARM, live(**{COLD: "3"}), whenCold=way)
    assert (decision.mounted, decision.ready) == (False, False)
    assert decision.degraded is not None
    assert decision.degraded.reason == "StartedWithoutCache"
    assert "bert; it is ready now" in decision.degraded.message
    changed = decided(WARM, live(**{COLD: "2"}), whenCold=way)
    assert (changed.mounted, changed.ready, changed.degraded) == (True, True, None)


@pytest.mark.parametrize("way", ["Wait", "StartDegraded"])
@pytest.mark.parametrize("state", [UNBOUND, MISSING])
def test_replicas_keep_running_when_their_cache_is_lost(state: CacheState, way: str) -> None:
    decision = decided(state, live(**{CACHE: identity(make_cache())}), whenCold=way)
    assert (decision.mounted, decision.ready, decision.blocking, decision.degraded) == (True, False, None, state.reason)
    assert decided(LOADING, live(**{CACHE: identity(make_cache())}), whenCold=way).degraded is None


def test_replicas_run_on_while_another_cache_is_loaded() -> None:
    serving = live(**{CACHE: "gpt:/"})
    assert decided(LOADING, serving).mounted is None
    assert decided(WARM, serving).mounted is True


def test_a_resumed_job_waits_for_a_cold_cache() -> None:
    assert decided(LOADING, live(0, **{CACHE: identity(make_cache())})).mounted is None


def pod_of(plan: Plan, *, mounted: bool) -> tuple[Object, Object]:
    deployment = plan.children(None, mounted=mounted)[0]
    pod = deployment["spec"]["template"]
    return deployment["metadata"]["annotations"], pod


def test_the_dataset_is_mounted_read_only_and_models_load_from_it(plan_of: Plans) -> None:
    annotations, template = pod_of(plan_of(cache=CACHE_SPEC), mounted=True)
    pod, container = template["spec"], template["spec"]["containers"][0]
    assert pod["volumes"][1] == {
        "name": "models",
        "persistentVolumeClaim": {"claimName": "bert", "readOnly": True},
    }
    assert container["volumeMounts"][1] == {"name": "models", "mountPath": "/models", "readOnly": True}
    assert container["args"][:2] == ["--model-id", "/models/bert-base-uncased"]
    assert annotations[CACHE] == "bert:/bert-base-uncased"
    assert COLD not in annotations
    assert template["metadata"]["labels"]["fuse.serverful.fluid.io/inject"] == "true"


def test_replicas_started_cold_have_the_template_of_a_job_without_cache(plan_of: Plans) -> None:
    annotations, template = pod_of(plan_of(cache=CACHE_SPEC), mounted=False)
    assert template == pod_of(plan_of(), mounted=False)[1]
    assert annotations[COLD] == "3"
    assert CACHE not in annotations


def test_a_cached_language_model_keeps_its_served_name(plan_of: Plans) -> None:
    plan = plan_of(model="meta-llama/Llama-3.1-8B", cache={"dataset": "llama"})
    arguments = pod_of(plan, mounted=True)[1]["spec"]["containers"][0]["args"]
    assert arguments[:2] == ["--model", "/models"]
    assert arguments[-2:] == ["--served-model-name", "meta-llama/Llama-3.1-8B"]
    assert "--served-model-name" not in pod_of(plan, mounted=False)[1]["spec"]["containers"][0]["args"]


def test_triton_gets_its_model_repository_from_args(plan_of: Plans) -> None:
    plan = plan_of(runtime="triton", args=["--model-repository=/models/triton"], cache={"dataset": "bert"})
    arguments = pod_of(plan, mounted=True)[1]["spec"]["containers"][0]["args"]
    assert "--load-model=bert-base-uncased" in arguments
    assert arguments[-1] == "--model-repository=/models/triton"


def status_of(plan: Plan, decision: CacheDecision, deployment: Object | None, before: Object | None = None) -> Object:
    return make_status(plan.job, plan.runtime, Observation(deployment, cache=decision), before=before, now=NOW)


def sides(status: Object) -> dict[str, tuple[str, str]]:
    InferenceJobStatus.model_validate(status)
    return {c["type"]: (c["status"], c["reason"]) for c in status["conditions"]}


def running(**annotations: str) -> Object:
    return {**live(**annotations), "status": GOOD, "metadata": {"generation": 2, "annotations": annotations}}


def test_a_held_job_reports_its_cache(plan_of: Plans) -> None:
    status = status_of(plan_of(cache=CACHE_SPEC), decided(LOADING), None)
    assert status["ready"] == "0/8"
    assert sides(status) == {
        "Ready": ("False", "CacheLoading"),
        "Progressing": ("True", "CacheLoading"),
        "Degraded": ("False", "AsExpected"),
        "CacheReady": ("False", "CacheLoading"),
    }
    assert cold_since(status) == NOW
    assert transitions(None, status) == [Transition("Normal", "CacheLoading", "loading")]


def test_a_missing_dataset_degrades_the_job(plan_of: Plans) -> None:
    status = status_of(plan_of(cache=CACHE_SPEC), decided(MISSING), None)
    assert sides(status) == {
        "Ready": ("False", "DatasetMissing"),
        "Progressing": ("False", "DatasetMissing"),
        "Degraded": ("True", "DatasetMissing"),
        "CacheReady": ("False", "DatasetMissing"),
    }
    assert transitions(None, status) == [Transition("Warning", "DatasetMissing", "missing")]


def test_a_job_that_runs_without_its_cache_is_ready_and_degraded(plan_of: Plans) -> None:
    plan = plan_of(cache={**CACHE_SPEC, "whenCold": "StartDegraded"})
    status = status_of(plan, decided(UNBOUND, whenCold="StartDegraded"), running(**{COLD: "3"}))
    assert sides(status) == {
        "Ready": ("True", "AllReplicasReady"),
        "Progressing": ("False", "AllReplicasReady"),
        "Degraded": ("True", "StartedWithoutCache"),
        "CacheReady": ("False", "StartedWithoutCache"),
    }
    assert [transition.reason for transition in transitions(None, status)] == [
        "StartedWithoutCache",
        "AllReplicasReady",
    ]


def test_a_cache_that_became_warm_is_an_event(plan_of: Plans) -> None:
    plan = plan_of(cache=CACHE_SPEC)
    cold = status_of(plan, decided(LOADING), None)
    warm = status_of(plan, decided(WARM), None, before=cold)
    assert sides(warm)["CacheReady"] == ("True", "CacheWarm")
    assert sides(warm)["Ready"] == ("False", "RolloutInProgress")
    assert transitions(cold, warm) == [Transition("Normal", "CacheWarm", "warm")]
    assert cold_since(warm) is None


def test_a_held_change_leaves_the_job_unready(plan_of: Plans) -> None:
    status = status_of(plan_of(cache=CACHE_SPEC), decided(LOADING, running(**{CACHE: "gpt:/"})), running())
    assert status["ready"] == "8/8"
    assert sides(status)["Ready"] == ("False", "CacheLoading")


def test_a_resumed_job_reports_what_it_waits_for(plan_of: Plans) -> None:
    stopped = {**running(), "spec": {"replicas": 0}, "status": {"observedGeneration": 2}}
    status = status_of(plan_of(cache=CACHE_SPEC), decided(LOADING, stopped), stopped)
    assert (status["ready"], sides(status)["Ready"]) == ("0/8", ("False", "CacheLoading"))


def test_a_job_without_a_cache_has_no_cache_condition(plan_of: Plans) -> None:
    status = make_status(plan_of().job, plan_of().runtime, Observation(running()), before=None, now=NOW)
    assert "CacheReady" not in sides(status)


def test_rights_on_caches_are_read_only() -> None:
    assert [rule for rule in rules() if "data.fluid.io" in rule["apiGroups"]] == [
        {"apiGroups": ["data.fluid.io"], "resources": ["datasets", "dataloads"], "verbs": ["list", "watch"]}
    ]
