"""The models take good jobs as they are and refuse malformed ones by the field."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from pydantic import ValidationError

from inferstack.api import InferenceJob, InferenceJobSpec, Resources, constants, crds
from inferstack.apimachinery.objects import Object
from tests.rehearsal.malformed import Case, base, cases, merged, named_by_model
from tests.rehearsal.strategies import edits
from tests.unit.api.structural import defaulted, faults

CASES = cases()
SCHEMA: Object = crds()[0]["spec"]["versions"][0]["schema"]["openAPIV3Schema"]


def job(**spec: Any) -> Object:
    """Return the good job with other values in its spec."""
    return {**base(), "spec": {**base()["spec"], **spec}}


@pytest.mark.parametrize("case", CASES, ids=[case.name.replace(" ", "-") for case in CASES])
def test_a_malformed_job_is_refused_by_the_name_of_its_field(case: Case) -> None:
    with pytest.raises(ValidationError) as wrong:
        InferenceJob.model_validate(case.job)
    assert case.is_named(named_by_model(wrong.value)), wrong.value


@pytest.mark.parametrize(
    ("spec", "field", "values"),
    [
        (
            {"resources": {"requests": {"nvidia.com/gpu": 1}, "limits": {"nvidia.com/gpu": 2}}},
            "requests",
            ["nvidia.com/gpu", "1", "2"],
        ),
        (
            {"resources": {"requests": {"cpu": "1.5", "nvidia.com/gpu": 1}, "limits": {"cpu": 1, "nvidia.com/gpu": 1}}},
            "requests",
            ["cpu", "1.5", "1"],
        ),
        (
            {"resources": {"requests": {"nvidia.com/gpu": "0.5"}, "limits": {"nvidia.com/gpu": "0.5"}}},
            "requests",
            ["nvidia.com/gpu", "0.5", "16"],
        ),
        ({"resources": {"requests": {"cpu": 1}, "limits": {"cpu": 1}}}, "limits", ["0 GPU resources"]),
        ({"replicas": 9}, "replicas", ["9", "autoscale.minReplicas 1", "maxReplicas 4"]),
        ({"env": [{"name": "A", "value": "b"}] * 2}, "env", ["A"]),
        ({"env": [{"name": "A"}]}, "name", ["A", "value", "secretKeyRef"]),
        ({"runtime": "triton"}, "args", ["--model-repository="]),
    ],
)
def test_an_invalid_spec_is_one_error_that_names_the_field_and_the_values(
    spec: Object, field: str, values: list[str]
) -> None:
    with pytest.raises(ValidationError) as wrong:
        InferenceJob.model_validate(job(**spec))
    (error,) = wrong.value.errors()
    message = error["msg"].removeprefix("Value error, ")
    assert message.startswith(f"{field}: ") or error["loc"][-1] == field
    assert [value for value in values if value not in message] == []


def test_defaults() -> None:
    spec = {key: base()["spec"][key] for key in ("model", "resources")}
    parsed = InferenceJobSpec.model_validate(spec)
    empty: Object = {"args": [], "env": [], "networks": []}
    assert parsed.manifest() == {**spec, "replicas": 1, "disruption": {"maxUnavailable": 1}, **empty}
    assert parsed.runtime is None
    assert parsed.autoscale is None


@pytest.mark.parametrize(
    "spec",
    [
        {"replicas": 0},
        {"replicas": 0, "autoscale": {"minReplicas": 2, "metrics": [{"type": "QueueDepth", "target": 1}]}},
        {"replicas": 1000, "autoscale": None},
        {"autoscale": {"metrics": [{"type": "GpuUtilizationPercent", "target": 100}]}},
        {"disruption": {"maxUnavailable": "100%"}},
        {"runtime": "triton", "args": ["--model-repository=/models"]},
        {"env": [{"name": "A", "value": ""}, {"name": "B", "secretKeyRef": {"name": "hub", "key": "token"}}]},
        {"model": "a" * 96 + "/" + "b" * 96},
        {"port": 1024},
    ],
    ids=str,
)
def test_what_lies_just_within_the_bounds(spec: Object) -> None:
    InferenceJob.model_validate(job(**spec))


@pytest.mark.parametrize(
    ("requests", "limits"),
    [
        ({"cpu": "1500m"}, {"cpu": "1.5"}),
        ({"memory": "1Gi"}, {"memory": "1024Mi"}),
        ({"memory": "1G"}, {"memory": "1Gi"}),
        ({"memory": 1024}, {"memory": "1Ki"}),
        ({"cpu": 8}, {}),
        ({}, {"memory": "8Gi"}),
        ({"hugepages-2Mi": "4Mi"}, {"hugepages-2Mi": "4Mi"}),
        ({"example.com/nic": 1}, {"example.com/nic": "1"}),
    ],
)
def test_requests_within_limits(requests: Object, limits: Object) -> None:
    resources = Resources.model_validate(
        {"requests": {**requests, "nvidia.com/gpu": 2}, "limits": {**limits, "nvidia.com/gpu": 2}}
    )
    assert (resources.gpu, resources.gpus) == ("nvidia.com/gpu", 2)


@pytest.mark.parametrize(
    ("requests", "limits"),
    [({"memory": "1Gi"}, {"memory": "1G"}), ({"cpu": "1001m"}, {"cpu": 1}), ({"memory": "1P"}, {"memory": "999T"})],
)
def test_requests_beyond_limits(requests: Object, limits: Object) -> None:
    with pytest.raises(ValidationError, match="more than limits has"):
        Resources.model_validate(
            {"requests": {**requests, "nvidia.com/gpu": 2}, "limits": {**limits, "nvidia.com/gpu": 2}}
        )


@pytest.mark.parametrize("resource", constants.GPU_RESOURCES)
def test_every_gpu_resource_may_be_asked_for(resource: str) -> None:
    resources = Resources.model_validate({"requests": {resource: 1}, "limits": {resource: 1}})
    assert resources.gpu == resource


def test_a_python_name_is_no_key() -> None:
    with pytest.raises(ValidationError, match="priority_class_name"):
        InferenceJob.model_validate(job(priority_class_name="high"))


def test_jobs_do_not_change() -> None:
    resources = InferenceJob.model_validate(base())
    with pytest.raises(ValidationError, match="frozen"):
        resources.spec.replicas = 5  # type: ignore[misc]  # what the test is about


@given(edits())
def test_what_the_model_takes_stays_as_it_is_and_fits_the_schema(spec: Object) -> None:
    given_job = job(**spec)
    try:
        resources = InferenceJob.model_validate(given_job)
    except ValidationError:
        return
    manifest = resources.manifest()
    assert InferenceJob.model_validate(manifest) == resources
    # Nothing is lost or changed, and what is added is what the API server adds (or says nothing).
    filled = defaulted(SCHEMA, given_job)
    assert manifest == {**filled, "spec": {"args": [], "env": [], "networks": [], **filled["spec"]}}
    assert list(faults(SCHEMA, manifest | {"metadata": {}})) == []


@given(edits())
def test_what_the_schema_refuses_the_model_refuses(spec: Object) -> None:
    given_job = job(**spec)
    if list(faults(SCHEMA, defaulted(SCHEMA, given_job) | {"metadata": {}})):
        with pytest.raises(ValidationError):
            InferenceJob.model_validate(given_job)


def test_a_merge_patch_shares_nothing() -> None:
    """The cases of malformed.yaml rest on it."""
    value = {"a": {"b": 1, "c": 2}}
    assert merged(value, {"a": {"b": None, "d": {"e": 3}}}) == {"a": {"c": 2, "d": {"e": 3}}}
    assert merged(value, {"a": [1]}) == {"a": [1]}
    assert value == {"a": {"b": 1, "c": 2}}
