"""The stack's InferenceJobs: which namespace they get, what makes an update wait, what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from components.inference.jobs import make_jobs
from components.inference.settings import InferenceSettings
from components.settings import load_role
from inferstack.apimachinery.objects import Object
from inferstack.errors import UserError

ONE_GPU = {"nvidia.com/gpu": 1}


def job(name: str = "bert", **metadata: Any) -> Object:
    """Return a job as a stack has it."""
    spec = {"model": "bert-base-uncased", "resources": {"requests": ONE_GPU, "limits": ONE_GPU}}
    return {"metadata": {"name": name, **metadata}, "spec": spec}


def settings(*jobs: Object, **given: Any) -> InferenceSettings:
    """Return the role's settings with these jobs."""
    return load_role("inference", InferenceSettings, {"jobs": list(jobs), **given})


def test_a_job_whole() -> None:
    given = job(labels={"team": "nlp"}, annotations={"a": "b"})
    waits = {"pulumi.com/waitFor": "condition=Ready", "pulumi.com/timeoutSeconds": "30"}
    (manifest,) = make_jobs(settings(given, waitSeconds=30), ["nlp"])
    annotations = manifest["metadata"].pop("annotations")
    # Other roles may add annotations of their own; these are the ones that make an update wait.
    assert annotations.items() >= {"a": "b", **waits}.items()
    assert manifest == {
        "apiVersion": "deepseek.ai/v1",
        "kind": "InferenceJob",
        "metadata": {"name": "bert", "namespace": "nlp", "labels": {"team": "nlp"}},
        "spec": given["spec"],
    }


def test_without_waiting_nothing_is_awaited() -> None:
    (manifest,) = make_jobs(settings(job(), waitForReady=False), ["nlp"])
    annotations = manifest["metadata"]["annotations"]
    assert annotations["pulumi.com/skipAwait"] == "true"
    assert "pulumi.com/waitFor" not in annotations


@pytest.mark.parametrize(
    ("given", "job_namespace", "tenants", "namespace"),
    [
        ({}, None, ["nlp"], "nlp"),
        ({}, "ads", ["nlp", "ads"], "ads"),
        ({"namespace": "nlp"}, "ads", ["nlp", "ads"], "nlp"),
    ],
)
def test_the_namespace_of_a_job(given: Object, job_namespace: str | None, tenants: list[str], namespace: str) -> None:
    (manifest,) = make_jobs(settings(job(**given), jobNamespace=job_namespace), tenants)
    assert manifest["metadata"]["namespace"] == namespace


@pytest.mark.parametrize(
    ("jobs", "given", "tenants", "message"),
    [
        ([job()], {}, [], "jobs[0].metadata.namespace: is required"),
        ([job()], {}, ["a", "b"], "jobs[0].metadata.namespace: is required"),
        ([job(namespace="c")], {}, ["b", "a"], 'jobs[0].metadata.namespace: no tenant "c"; there are a, b.'),
        ([job()], {"jobNamespace": "c"}, [], 'jobNamespace: no tenant "c"; there are none.'),
        ([job(), job("x"), job()], {}, ["a"], 'jobs[2].metadata.name: "bert" in namespace a is also inferstack:'),
        # Its Service could not have this name.
        ([job("1st")], {}, ["a"], "jobs[0].metadata: name: '1st'"),
        ([{**job(), "spec": {}}], {}, ["a"], "jobs[0].spec.model: is required."),
        (
            [{**job(), "spec": {**job()["spec"], "replica": 2}}],
            {},
            ["a"],
            "jobs[0].spec.replica: unknown key; did you ",
        ),
    ],
)
def test_what_cannot_be_is_refused_with_its_path(
    jobs: list[Object], given: Object, tenants: list[str], message: str
) -> None:
    with pytest.raises(UserError) as caught:
        make_jobs(settings(*jobs, **given), tenants)
    assert str(caught.value).startswith(f"inferstack:inference.{message}")


def test_the_same_name_in_two_namespaces_is_two_jobs() -> None:
    manifests = make_jobs(settings(job(namespace="a"), job(namespace="b")), ["a", "b"])
    assert [manifest["metadata"]["namespace"] for manifest in manifests] == ["a", "b"]
