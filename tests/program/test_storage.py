"""The storage role in the program: what is registered, after what, and what is exported."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.program.conftest import Machine, Recording, Registered

DATASET = "kubernetes:data.fluid.io/v1alpha1:Dataset"
BERT: dict[str, Any] = {"mounts": [{"mountPoint": "s3://models/bert-base-uncased"}], "tenants": ["nlp"]}


@pytest.fixture(scope="module")
def shared(machine: Machine) -> Recording:
    """A stack whose two tenants have a dataset in common."""
    return machine.run(
        "local",
        tenancy={"tenants": {"nlp": {"gpus": 16}, "vision": {}}},
        inference={"jobs": []},
        mesh={},
        storage={
            "enabled": True,
            "roleArn": "arn:aws:iam::123456789012:role/models",
            "datasets": {"bert": {**BERT, "tenants": ["nlp", "vision"]}, "gpt": {**BERT, "load": None}},
        },
    )


def fluids(recording: Recording) -> list[Registered]:
    return [resource for resource in recording.objects() if ":data.fluid.io/" in resource.type]


def test_dataset_is_created_once_and_referenced_in_each_tenant(shared: Recording) -> None:
    namespaces = {resource.name: resource.inputs["metadata"]["namespace"] for resource in fluids(shared)}
    assert {name: namespaces[name] for name in namespaces if name.startswith(("dataset", "runtime"))} == {
        "dataset-bert": "inferstack-caches",
        "runtime-bert": "inferstack-caches",
        "dataset-nlp-bert": "nlp",
        "dataset-vision-bert": "vision",
        "dataset-gpt": "inferstack-caches",
        "runtime-gpt": "inferstack-caches",
        "dataset-nlp-gpt": "nlp",
    }
    assert [name for name in namespaces if name.startswith("load-gpt")] == []
    assert len(namespaces) == 8


def test_dependents_of_dataset_come_after_it(shared: Recording) -> None:
    data, runtime = shared.get(DATASET, "dataset-bert"), shared.kind("AlluxioRuntime")[0]
    assert data.urn in shared.before(runtime)
    (load,) = shared.kind("DataLoad")
    for follower in (load, shared.get(DATASET, "dataset-nlp-bert"), shared.get(DATASET, "dataset-vision-bert")):
        assert {data.urn, runtime.urn} <= shared.before(follower)


def test_tenants_and_fluid_are_there_before_and_after_all_datasets(shared: Recording) -> None:
    kinds = [
        resource.urn for resource in shared.kind("CustomResourceDefinition") if resource.name.endswith(".data.fluid.io")
    ]
    tenants = [resource.urn for resource in shared.kind("Namespace") if resource.name.startswith("tenant-")]
    assert (len(kinds), len(tenants)) == (3, 2)
    for resource in fluids(shared):
        assert {*kinds, *tenants} <= shared.before(resource)
    for tenant in shared.kind("Namespace"):
        if tenant.urn in tenants:
            # A tenant's namespace ends with its Datasets, so while their controllers run.
            assert set(kinds) <= shared.before(tenant)


def test_the_caches_namespace_is_privileged_and_tenants_are_not(shared: Recording) -> None:
    def level(name: str) -> str:
        meta = shared.get("kubernetes:core/v1:Namespace", name).inputs["metadata"]
        return str(meta["labels"]["pod-security.kubernetes.io/enforce"])

    assert (level("inferstack-caches"), level("tenant-nlp")) == ("privileged", "restricted")


def test_the_caches_pods_get_the_role_before_they_come(shared: Recording) -> None:
    identity = shared.get("kubernetes:core/v1:ServiceAccountPatch", "caches-identity")
    assert identity.inputs["metadata"]["namespace"] == "inferstack-caches"
    for runtime in shared.kind("AlluxioRuntime"):
        assert identity.urn in shared.before(runtime)


def test_an_update_waits_for_what_jobs_mount(shared: Recording) -> None:
    for resource in fluids(shared):
        notes = resource.inputs["metadata"]["annotations"]
        stands = resource.type == DATASET and resource.inputs["metadata"]["namespace"] != "inferstack-caches"
        assert notes.get("pulumi.com/waitFor") == ("jsonpath={.status.phase}=Bound" if stands else None)
        assert notes["pulumi.com/deletionPropagationPolicy"] == "background"


def test_the_outputs(shared: Recording) -> None:
    assert shared.outputs[shared.component("storage", "Storage").urn] == {"enabled": True}
    assert shared.outputs[shared.component("storage", "Caches").urn] == {
        "datasets": {"bert": ["nlp", "vision"], "gpt": ["nlp"]}
    }


def test_jobs_come_after_their_caches(local: Recording) -> None:
    (job,) = local.kind("InferenceJob")
    assert job.inputs["spec"]["cache"] == {"dataset": "bert-base-uncased"}
    assert {resource.urn for resource in fluids(local)} <= local.before(job)
    # GPU nodes are known as such by then.
    gpu = local.component("gpu", "Gpu")
    assert {resource.urn for resource in local.children(gpu) if resource.type.startswith("kubernetes:")} <= {
        urn for resource in fluids(local) for urn in local.before(resource)
    }


def test_disabled_storage_registers_nothing(existing: Recording) -> None:
    for kind in ("Storage", "Caches"):
        assert existing.children(existing.component("storage", kind)) == []
    assert fluids(existing) == []
