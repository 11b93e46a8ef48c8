"""Autoscaling in the whole program: which add-ons, what KEDA scales, and in which order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.program.conftest import Machine, Recording

ONE = {"nvidia.com/gpu": 1}
JOBS = {
    "jobs": [
        {"metadata": {"name": "chat"}, "spec": {"model": "a/b", "resources": {"requests": ONE, "limits": ONE}}},
        {
            "metadata": {"name": "nlp-model-001"},
            "spec": {"model": "a/b", "resources": {"requests": ONE, "limits": ONE}},
        },
    ]
}
GATEWAY = {"type": "prometheus", "metadata": {"query": "sum(rate(istio_requests_total[1m]))", "threshold": "10"}}
SCALED = {
    "scaledJobs": [
        {
            "job": "nlp/chat",
            "minReplicas": 0,
            "maxReplicas": 4,
            "triggers": [{**GATEWAY, "authentication": "token"}],
        }
    ],
    "authentications": [
        {
            "namespace": "nlp",
            "name": "token",
            "secrets": [{"parameter": "bearerToken", "name": "gateway", "key": "token"}],
        }
    ],
}
SCALED_OBJECT = "kubernetes:keda.sh/v1alpha1:ScaledObject"


@pytest.fixture(scope="module")
def scaled(machine: Machine) -> Recording:
    """The stack local with a job that KEDA scales to zero."""
    return machine.run("local", inference=JOBS, autoscaling=SCALED)


def test_keda_and_the_adapter_are_there_and_scale_nothing_unasked(local: Recording) -> None:
    component = local.component("autoscaling", "Autoscaling")
    assert {resource.name for resource in local.children(component) if resource.type.startswith("inferstack:")} == {
        "keda",
        "prometheus-adapter",
    }
    assert local.outputs[component.urn] == {"keda": True, "adapter": True}
    assert local.outputs[local.component("autoscaling", "ScaledObjects").urn] == {"jobs": []}
    assert local.kind("ScaledObject") == local.kind("TriggerAuthentication") == []


def test_a_scaled_object_comes_after_keda_its_job_and_its_proof(scaled: Recording) -> None:
    # And so goes before them: KEDA must be there to take its finalizer off.
    scaled_object = scaled.get(SCALED_OBJECT, "scaled-nlp-chat")
    before = scaled.before(scaled_object)
    (job,) = [resource for resource in scaled.kind("InferenceJob") if resource.name == "job-nlp-chat"]
    (proof,) = scaled.kind("TriggerAuthentication")
    crd = scaled.get("kubernetes:apiextensions.k8s.io/v1:CustomResourceDefinition", "scaledobjects.keda.sh")
    assert {job.urn, proof.urn, crd.urn} <= before
    keda = [resource.urn for resource in scaled.objects() if resource.parent.endswith("inferstack:addon:Addon::keda")]
    assert keda
    assert set(keda) <= before
    assert scaled.outputs[scaled.component("autoscaling", "ScaledObjects").urn] == {"jobs": ["nlp/chat"]}


def test_scaled_object_queries_prometheus_of_monitoring_role(scaled: Recording) -> None:
    (trigger,) = scaled.get(SCALED_OBJECT, "scaled-nlp-chat").inputs["spec"]["triggers"]
    assert (
        trigger["metadata"]["serverAddress"]
        == scaled.outputs[scaled.component("monitoring", "Monitoring").urn]["prometheus"]
    )


def test_aggregated_apis_go_before_the_namespaces_of_tenants(local: Recording) -> None:
    # No namespace ends while an API that the API server has handed on does not answer.
    tenant = local.get("kubernetes:core/v1:Namespace", "tenant-nlp")
    parts = [
        resource
        for resource in local.objects()
        if resource.inputs["metadata"]["name"] in ("keda", "prometheus-adapter")
    ]
    assert len(parts) == 2
    for resource in parts:
        assert tenant.urn in local.before(resource)


@pytest.mark.parametrize(
    ("over", "message"),
    [
        (
            {"autoscaling": SCALED},
            "inferstack:autoscaling.scaledJobs[0].job: ",
        ),
        (
            {
                "addon": {"values": {"prometheus-adapter": {"rules": {"external": [{"seriesQuery": "up"}]}}}},
            },
            "inferstack:addon.values.prometheus-adapter.rules.external: ",
        ),
        (
            {"monitoring": {"enabled": False}},
            "inferstack:autoscaling.adapter.enabled: no Prometheus",
        ),
    ],
)
def test_conflicting_settings_are_refused_before_registration(
    machine: Machine, over: dict[str, Any], message: str
) -> None:
    assert message in machine.refusal("local", **over)
