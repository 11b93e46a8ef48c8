"""What comes before what; a destroy goes the same way back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.program.conftest import Machine, Recording

CRD = "kubernetes:apiextensions.k8s.io/v1:CustomResourceDefinition"
NAMESPACE = "kubernetes:core/v1:Namespace"
RBAC = "kubernetes:rbac.authorization.k8s.io/v1"
DEPLOYMENT = "kubernetes:apps/v1:Deployment"
ONE_GPU = {"nvidia.com/gpu": 1}
SPEC = {"model": "bert-base-uncased", "resources": {"requests": ONE_GPU, "limits": ONE_GPU}}
JOBS = {"jobs": [{"metadata": {"name": "a"}, "spec": SPEC}]}


@pytest.fixture(scope="module", params=["rehearsed", "present", "chart"])
def recording(request: pytest.FixtureRequest, machine: Machine) -> Any:
    """A platform with a job, with the GPU operator in each of the three ways."""
    if request.param == "rehearsed":
        return request.getfixturevalue("local")
    return machine.run("existing", addon={"mode": request.param}, inference=JOBS)


def test_kind_then_operator_then_job(recording: Recording) -> None:
    crd = recording.get(CRD, "inferencejobs.deepseek.ai")
    operator = recording.get(DEPLOYMENT, "operator")
    (job,) = recording.kind("InferenceJob")
    assert crd.urn in recording.before(operator)
    assert operator.urn in job.dependencies
    assert recording.before(job) >= {crd.urn, operator.urn}


def test_the_operator_starts_with_all_its_rights(recording: Recording) -> None:
    operator = recording.get(DEPLOYMENT, "operator")
    rights = {
        resource.urn
        for resource in recording.objects()
        if resource.name.startswith(("operator-clusterrole", "operator-servic"))
    }
    assert len(rights) == 3
    assert rights <= operator.dependencies


def test_a_role_comes_before_what_binds_it(recording: Recording) -> None:
    for kind in ("RoleBinding", "ClusterRoleBinding"):
        assert recording.kind(kind)
        for binding in recording.kind(kind):
            (role,) = [
                resource
                for resource in recording.kind("ClusterRole")
                if resource.inputs["metadata"]["name"] == binding.inputs["roleRef"]["name"]
            ]
            assert role.urn in recording.before(binding), binding.name


def test_a_namespace_comes_before_what_lives_in_it(recording: Recording) -> None:
    namespaces = {resource.inputs["metadata"]["name"]: resource for resource in recording.kind("Namespace")}
    assert {"nlp", "inferstack-system"} <= namespaces.keys()
    for resource in recording.objects():
        place = (
            resource.inputs["metadata"].get("namespace")
            if "metadata" in resource.inputs
            else resource.inputs["namespace"]
        )
        if place in namespaces:
            assert namespaces[place].urn in recording.before(resource), resource.urn


def test_a_kind_comes_before_its_objects(recording: Recording) -> None:
    served = {resource.inputs["metadata"]["name"]: resource for resource in recording.kind("CustomResourceDefinition")}
    checked = []
    for resource in recording.objects():
        version = resource.inputs.get("apiVersion", "")
        for plural, crd in served.items():
            if version.startswith(f"{plural.partition('.')[2]}/"):
                assert crd.urn in recording.before(resource), resource.urn
                checked.append(resource.name)
    assert "job-nlp-a" in checked or "job-nlp-nlp-model-001" in checked


def test_a_job_comes_after_gpus_and_quotas(recording: Recording) -> None:
    (job,) = recording.kind("InferenceJob")
    needed = [*recording.kind("ResourceQuota"), *recording.kind("LimitRange"), *recording.kind("PriorityClass")]
    needed += [*recording.kind("ClusterPolicy"), *recording.kind("ClusterPolicyPatch"), *recording.kind("ConfigMap")]
    needed += [
        below
        for resource in recording.resources.values()
        if resource.type == "inferstack:addon:Addon"
        for below in recording.children(resource)
    ]
    assert {resource.urn for resource in needed} <= recording.before(job)


def test_the_policy_comes_after_the_layouts_that_it_names(recording: Recording) -> None:
    layouts = recording.get("kubernetes:core/v1:ConfigMap", "mig-layouts")
    for policy in [*recording.kind("ClusterPolicy"), *recording.kind("ClusterPolicyPatch")]:
        assert policy.inputs["spec"]["migManager"]["config"]["name"] == layouts.inputs["metadata"]["name"]
        assert layouts.urn in policy.dependencies


def test_nodes_go_last(local: Recording) -> None:
    nodes = {resource.urn for resource in local.kind("Node")}
    assert nodes
    for resource in local.objects():
        if resource.urn in nodes:
            assert local.before(resource) == set()
        else:
            # Pods end in good order only while their nodes are there.
            assert nodes <= local.before(resource), resource.urn


def test_nothing_depends_on_a_job(recording: Recording) -> None:
    jobs = {resource.urn for resource in recording.kind("InferenceJob")}
    assert jobs
    assert [resource.urn for resource in recording.resources.values() if recording.before(resource) & jobs] == []


def test_tenants_do_not_wait_for_one_another(machine: Machine) -> None:
    tenants = {"tenants": {"a": {"groups": ["g"]}, "b": {"groups": ["g"]}}}
    recording = machine.run("existing", tenancy=tenants, mesh={})
    children = recording.children(recording.component("tenancy", "Tenancy"))
    of_a = {resource.urn for resource in children if resource.inputs["metadata"].get("namespace") == "a"}
    of_b = [resource for resource in children if resource.inputs["metadata"].get("namespace") == "b"]
    assert len(of_a) == len(of_b) > 0
    assert not [resource.urn for resource in of_b if recording.before(resource) & of_a]
