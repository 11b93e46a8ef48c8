"""What the state of a Dataset means for a job's replicas, and what the job says of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from inferstack.api import Cache, InferenceJobStatus
from inferstack.api.labels import CACHE, COLD
from inferstack.controllers.jobs.cache import Choice, Warmth, choose, identity, look, prune_dataset, prune_load
from inferstack.controllers.jobs.obstacles import Obstacle
from inferstack.controllers.jobs.plan import Plan
from inferstack.controllers.jobs.status import Seen, cold_since, make_status, turns
from inferstack.controllers.rbac import rules
from inferstack.k8s.events import Transition

Object = dict[str, Any]
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


def seen_of(datasets: list[Object], *loads: Object) -> Warmth:
    held = {f"{d['metadata']['namespace']}/{d['metadata']['name']}": prune_dataset(d) for d in datasets}
    return look(make_cache(), "ml", held, [prune_load(one) for one in loads])


@pytest.mark.parametrize(
    ("datasets", "loads", "reason", "message", "flags"),
    [
        ([], [], "DatasetMissing", "namespace ml has no Dataset bert; there is none: is Fluid installed?", "broken"),
        (
            [dataset(name="llama"), dataset(name="gpt"), dataset(namespace="vision")],
            [],
            "DatasetMissing",
            "namespace ml has no Dataset bert; there are gpt, llama",
            "broken",
        ),
        ([dataset("")], [], "DatasetNotBound", "Dataset bert is new: its runtime is not ready", ""),
        ([dataset("NotBound")], [], "DatasetNotBound", "Dataset bert is NotBound: its runtime is not ready", ""),
        ([dataset("Failed")], [], "DatasetNotBound", "Dataset bert is Failed: no worker", "broken"),
        ([dataset(deletionTimestamp=NOW)], [], "DatasetNotBound", "Dataset bert is about to go", ""),
        ([dataset()], [], "CacheWarm", "Dataset bert is Bound; no DataLoad is to be waited for", "bound ready"),
        (
            [dataset()],
            [load("Executing")],
            "CacheLoading",
            "DataLoad load-executing of Dataset bert is Executing, 40.0% cached",
            "bound",
        ),
        ([dataset()], [load("")], "CacheLoading", "DataLoad load- of Dataset bert is new, 40.0% cached", "bound"),
        ([dataset()], [load("Complete")], "CacheWarm", "Dataset bert is Bound and loaded", "bound ready"),
        (
            [dataset()],
            [load("Failed", conditions=[{"type": "Failed", "status": "True", "message": "no such path"}])],
            "CacheLoadFailed",
            "DataLoad load-failed of Dataset bert failed: no such path",
            "bound broken",
        ),
        # A schedule's next run does not make what was loaded cold again.
        (
            [dataset()],
            [load("Executing", lastSuccessfulTime=NOW)],
            "CacheWarm",
            "Dataset bert is Bound and loaded",
            "bound ready",
        ),
        # Only the latest counts.
        (
            [dataset()],
            [load("Complete"), load("Pending", created="2026-01-02T00:00:00Z")],
            "CacheLoading",
            "DataLoad load-pending of Dataset bert is Pending, 40.0% cached",
            "bound",
        ),
        # The same name elsewhere is another Dataset.
        ([dataset()], [load("Executing", namespace="vision")], "CacheWarm", None, "bound ready"),
        # A Dataset that stands for another is as warm as that one.
        (
            [dataset(mount="dataset://caches/bert"), dataset(namespace="caches")],
            [load("Executing", namespace="caches")],
            "CacheLoading",
            "DataLoad load-executing of Dataset bert is Executing, 40.0% cached",
            "bound",
        ),
    ],
)
def test_how_warm_a_cache_is(
    datasets: list[Object], loads: list[Object], reason: str, message: str | None, flags: str
) -> None:
    warmth = seen_of(datasets, *loads)
    assert warmth.why.reason == reason
    assert message in (None, warmth.why.message)
    assert " ".join(flag for flag in ("bound", "ready", "broken") if getattr(warmth, flag)) == flags


WARM = Warmth(Obstacle("CacheWarm", "warm"), bound=True, ready=True)
LOADING = Warmth(Obstacle("CacheLoading", "loading"), bound=True)
UNBOUND = Warmth(Obstacle("DatasetNotBound", "not bound"))
MISSING = Warmth(Obstacle("DatasetMissing", "missing"), broken=True)
FAILED = Warmth(Obstacle("CacheLoadFailed", "failed"), bound=True, broken=True)


def live(replicas: int = 8, /, **annotations: str) -> Object:
    return {"metadata": {"annotations": annotations}, "spec": {"replicas": replicas}}


def decided(warmth: Warmth, deployment: Object | None = None, *, cold: float = 0, **given: Any) -> Choice:
    paused = bool(given.pop("paused", False))
    return choose(make_cache(**given), warmth, deployment, generation=3, paused=paused, cold_seconds=cold)


@pytest.mark.parametrize(
    ("warmth", "given", "mounted", "obstacle", "flaw"),
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
def test_a_job_that_has_no_replicas_yet(
    warmth: Warmth, given: Object, mounted: bool | None, obstacle: str | None, flaw: str | None
) -> None:
    choice = decided(warmth, **given)
    assert choice.mounted is mounted
    assert (choice.obstacle and choice.obstacle.reason) == obstacle
    assert (choice.flaw and choice.flaw.reason) == flaw
    assert choice.ready is warmth.ready


def test_waiting_has_an_end_where_the_job_says_so() -> None:
    early, late = decided(LOADING, timeoutSeconds=60, cold=20), decided(LOADING, timeoutSeconds=60, cold=60)
    assert (early.mounted, early.obstacle, early.wait) == (None, None, 40)
    assert late.mounted is None
    assert late.obstacle == Obstacle("CacheTimeout", "the cache is still cold after 60 s: loading")
    assert late.wait is None
    assert decided(LOADING).wait is None


def test_starting_degraded_may_wait_a_while_first() -> None:
    early = decided(UNBOUND, whenCold="StartDegraded", timeoutSeconds=60, cold=20)
    late = decided(UNBOUND, whenCold="StartDegraded", timeoutSeconds=60, cold=61)
    assert (early.mounted, early.flaw, early.wait) == (None, None, 40)
    assert (late.mounted, late.flaw is not None) == (False, True)


@pytest.mark.parametrize("way", ["Wait", "StartDegraded"])
def test_a_warm_cache_does_not_restart_what_was_started_without_it(way: str) -> None:
    choice = decided(WARM, live(**{COLD: "3"}), whenCold=way)
    assert (choice.mounted, choice.ready) == (False, False)
    assert choice.flaw == Obstacle(
        "StartedWithoutCache",
        "replicas load from the model hub, not from Dataset bert; it is ready now: any change of the job takes it up",
    )
    changed = decided(WARM, live(**{COLD: "2"}), whenCold=way)
    assert (changed.mounted, changed.ready, changed.flaw) == (True, True, None)


@pytest.mark.parametrize("way", ["Wait", "StartDegraded"])
@pytest.mark.parametrize("warmth", [UNBOUND, MISSING])
def test_what_serves_from_a_cache_goes_on_when_the_cache_is_lost(warmth: Warmth, way: str) -> None:
    choice = decided(warmth, live(**{CACHE: identity(make_cache())}), whenCold=way)
    assert (choice.mounted, choice.ready, choice.obstacle, choice.flaw) == (True, False, None, warmth.why)
    assert decided(LOADING, live(**{CACHE: identity(make_cache())}), whenCold=way).flaw is None


def test_another_cache_is_waited_for_while_the_old_one_serves() -> None:
    serving = live(**{CACHE: "gpt:/"})
    assert decided(LOADING, serving).mounted is None
    assert decided(WARM, serving).mounted is True


def test_a_job_that_was_paused_waits_as_a_new_one() -> None:
    assert decided(LOADING, live(0, **{CACHE: identity(make_cache())})).mounted is None


def pod_of(plan: Plan, *, mounted: bool) -> tuple[Object, Object]:
    deployment = plan.children(None, mounted=mounted)[0]
    pod = deployment["spec"]["template"]
    return deployment["metadata"]["annotations"], pod


def test_replicas_have_the_dataset_read_only_and_load_from_it(plan_of: Plans) -> None:
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


def test_replicas_that_start_cold_are_those_of_a_job_without_a_cache(plan_of: Plans) -> None:
    annotations, template = pod_of(plan_of(cache=CACHE_SPEC), mounted=False)
    assert template == pod_of(plan_of(), mounted=False)[1]
    assert annotations[COLD] == "3"
    assert CACHE not in annotations


def test_a_cached_language_model_is_still_asked_for_by_its_name(plan_of: Plans) -> None:
    plan = plan_of(model="meta-llama/Llama-3.1-8B", cache={"dataset": "llama"})
    arguments = pod_of(plan, mounted=True)[1]["spec"]["containers"][0]["args"]
    assert arguments[:2] == ["--model", "/models"]
    assert arguments[-2:] == ["--served-model-name", "meta-llama/Llama-3.1-8B"]
    assert "--served-model-name" not in pod_of(plan, mounted=False)[1]["spec"]["containers"][0]["args"]


def test_triton_finds_its_repository_itself(plan_of: Plans) -> None:
    plan = plan_of(runtime="triton", args=["--model-repository=/models/triton"], cache={"dataset": "bert"})
    arguments = pod_of(plan, mounted=True)[1]["spec"]["containers"][0]["args"]
    assert "--load-model=bert-base-uncased" in arguments
    assert arguments[-1] == "--model-repository=/models/triton"


def say(plan: Plan, choice: Choice, deployment: Object | None, before: Object | None = None) -> Object:
    return make_status(plan.job, plan.runtime, Seen(deployment, cache=choice), before=before, now=NOW)


def sides(status: Object) -> dict[str, tuple[str, str]]:
    InferenceJobStatus.model_validate(status)
    return {c["type"]: (c["status"], c["reason"]) for c in status["conditions"]}


def running(**annotations: str) -> Object:
    return {**live(**annotations), "status": GOOD, "metadata": {"generation": 2, "annotations": annotations}}


def test_a_job_that_waits_says_for_what(plan_of: Plans) -> None:
    status = say(plan_of(cache=CACHE_SPEC), decided(LOADING), None)
    assert status["ready"] == "0/8"
    assert sides(status) == {
        "Ready": ("False", "CacheLoading"),
        "Progressing": ("True", "CacheLoading"),
        "Degraded": ("False", "AsExpected"),
        "CacheReady": ("False", "CacheLoading"),
    }
    assert cold_since(status) == NOW
    assert turns(None, status) == [Transition("Normal", "CacheLoading", "loading")]


def test_a_missing_dataset_is_an_obstacle(plan_of: Plans) -> None:
    status = say(plan_of(cache=CACHE_SPEC), decided(MISSING), None)
    assert sides(status) == {
        "Ready": ("False", "DatasetMissing"),
        "Progressing": ("False", "DatasetMissing"),
        "Degraded": ("True", "DatasetMissing"),
        "CacheReady": ("False", "DatasetMissing"),
    }
    assert turns(None, status) == [Transition("Warning", "DatasetMissing", "missing")]


def test_a_job_that_runs_without_its_cache_is_ready_and_degraded(plan_of: Plans) -> None:
    plan = plan_of(cache={**CACHE_SPEC, "whenCold": "StartDegraded"})
    status = say(plan, decided(UNBOUND, whenCold="StartDegraded"), running(**{COLD: "3"}))
    assert sides(status) == {
        "Ready": ("True", "AllReplicasReady"),
        "Progressing": ("False", "AllReplicasReady"),
        "Degraded": ("True", "StartedWithoutCache"),
        "CacheReady": ("False", "StartedWithoutCache"),
    }
    assert [turn.reason for turn in turns(None, status)] == ["StartedWithoutCache", "AllReplicasReady"]


def test_a_cache_that_turned_warm_is_told(plan_of: Plans) -> None:
    plan = plan_of(cache=CACHE_SPEC)
    cold = say(plan, decided(LOADING), None)
    warm = say(plan, decided(WARM), None, before=cold)
    assert sides(warm)["CacheReady"] == ("True", "CacheWarm")
    assert sides(warm)["Ready"] == ("False", "RolloutInProgress")
    assert turns(cold, warm) == [Transition("Normal", "CacheWarm", "warm")]
    assert cold_since(warm) is None


def test_a_change_that_waits_leaves_the_job_unready_though_all_serve(plan_of: Plans) -> None:
    status = say(plan_of(cache=CACHE_SPEC), decided(LOADING, running(**{CACHE: "gpt:/"})), running())
    assert status["ready"] == "8/8"
    assert sides(status)["Ready"] == ("False", "CacheLoading")


def test_a_paused_job_that_goes_on_says_what_it_waits_for(plan_of: Plans) -> None:
    stopped = {**running(), "spec": {"replicas": 0}, "status": {"observedGeneration": 2}}
    status = say(plan_of(cache=CACHE_SPEC), decided(LOADING, stopped), stopped)
    assert (status["ready"], sides(status)["Ready"]) == ("0/8", ("False", "CacheLoading"))


def test_a_job_without_a_cache_says_nothing_of_one(plan_of: Plans) -> None:
    status = make_status(plan_of().job, plan_of().runtime, Seen(running()), before=None, now=NOW)
    assert "CacheReady" not in sides(status)


def test_the_operator_only_looks_at_caches() -> None:
    assert [rule for rule in rules() if "data.fluid.io" in rule["apiGroups"]] == [
        {"apiGroups": ["data.fluid.io"], "resources": ["datasets", "dataloads"], "verbs": ["list", "watch"]}
    ]
