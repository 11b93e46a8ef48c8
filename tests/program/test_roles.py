"""Each role as a component: its token, what lies below it, which provider it uses, what it gives out."""

from __future__ import annotations

import json
import re
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from components.platform.settings import ROLES
from inferstack.api import crds
from inferstack.operator.rbac import rules
from inferstack.versions import load as load_versions

if TYPE_CHECKING:
    from tests.program.conftest import Machine, Recording

# The components in their order, each with its parent.
COMPONENTS = [
    ("inferstack:platform:Platform", "platform", "pulumi:pulumi:Stack"),
    ("inferstack:cluster:Cluster", "cluster", "inferstack:platform:Platform"),
    ("inferstack:gpu:Gpu", "gpu", "inferstack:platform:Platform"),
    ("inferstack:tenancy:Tenancy", "tenancy", "inferstack:platform:Platform"),
    ("inferstack:inference:InferenceOperator", "inference", "inferstack:platform:Platform"),
    ("inferstack:inference:InferenceJobs", "jobs", "inferstack:platform:Platform"),
    ("inferstack:addon:Addon", "gpu-operator", "inferstack:gpu:Gpu"),
]
# Kubernetes objects of each component, by kind.
TENANT = {"Namespace": 1, "LimitRange": 1, "ResourceQuota": 1, "NetworkPolicy": 3, "RoleBinding": 1}
OPERATOR = {
    "CustomResourceDefinition": 1,
    "Namespace": 1,
    "ServiceAccount": 1,
    "ClusterRole": 1,
    "ClusterRoleBinding": 1,
    "PodDisruptionBudget": 1,
    "Deployment": 1,
}
KINDS: dict[str, dict[str, dict[str, int]]] = {
    "local": {
        "platform:Platform": {},
        "cluster:Cluster": {"Node": 9},
        "gpu:Gpu": {"Namespace": 1, "ConfigMap": 1, "ClusterPolicy": 1},
        "addon:Addon": {"CustomResourceDefinition": 1},
        "tenancy:Tenancy": {"PriorityClass": 3, "ClusterRole": 1, **TENANT},
        "inference:InferenceOperator": OPERATOR,
        "inference:InferenceJobs": {"InferenceJob": 1},
    },
    "existing": {
        "platform:Platform": {},
        "cluster:Cluster": {},
        "gpu:Gpu": {"ConfigMap": 1, "ClusterPolicyPatch": 1},
        "addon:Addon": {"CustomResourceDefinition": 1},
        "tenancy:Tenancy": {"PriorityClass": 3, "ClusterRole": 1, **TENANT},
        "inference:InferenceOperator": OPERATOR,
        "inference:InferenceJobs": {},
    },
}


@pytest.fixture(params=["local", "existing"])
def recording(request: pytest.FixtureRequest) -> Any:
    """Each of the stacks."""
    return request.getfixturevalue(request.param)


def test_components_with_their_tokens_and_parents(recording: Recording) -> None:
    components = [one for one in recording.resources.values() if one.type.startswith("inferstack:")]
    found = {(one.type, one.name, recording.resources[one.parent].type) for one in components}
    assert found == set(COMPONENTS)
    assert len(components) == len(COMPONENTS)


def test_every_role_with_settings_has_a_component(recording: Recording) -> None:
    tokens = {one.type.split(":")[1] for one in recording.resources.values() if one.type.startswith("inferstack:")}
    assert tokens == {"platform", *ROLES}


def test_every_resource_lies_below_a_component(recording: Recording) -> None:
    for one in recording.resources.values():
        if not one.type.startswith("inferstack:") and one.type != "pulumi:pulumi:Stack":
            assert recording.resources[one.parent].type.startswith("inferstack:"), one.urn


@pytest.mark.parametrize("stack", KINDS)
def test_the_objects_below_each_component(request: pytest.FixtureRequest, stack: str) -> None:
    recording = request.getfixturevalue(stack)
    for component, kinds in KINDS[stack].items():
        below = recording.children(recording.component(*component.split(":")))
        found = Counter(one.type.rpartition(":")[2] for one in below if one.type.startswith("kubernetes:"))
        assert found == kinds, component


def test_every_component_registers_outputs_and_takes_no_inputs(recording: Recording) -> None:
    for one in recording.resources.values():
        if one.type.startswith("inferstack:"):
            assert one.urn in recording.outputs, one.urn
            assert one.inputs == {}, one.urn


def test_one_provider_and_every_object_names_it(recording: Recording, machine: Machine) -> None:
    (provider,) = [one for one in recording.resources.values() if one.type == "pulumi:providers:kubernetes"]
    assert provider.parent == recording.component("cluster", "Cluster").urn
    assert {one.provider for one in recording.objects()} == {f"{provider.urn}::cluster-id"}
    stack = next(one.name for one in recording.resources.values() if one.type == "pulumi:pulumi:Stack")
    is_local = stack.endswith("-local")
    path, context = (machine.rehearsal, "rehearsal") if is_local else (machine.other, "gpu-cluster")
    assert (provider.inputs["kubeconfig"], provider.inputs["context"]) == (str(path), context)


def test_every_object_asks_for_the_pinned_plugin(recording: Recording) -> None:
    assert {one.version for one in recording.objects()} == {load_versions()["plugins"]["resource-kubernetes"]}


def test_the_token_of_an_object_says_what_the_manifest_says(recording: Recording) -> None:
    for one in recording.objects():
        version, kind = one.inputs["apiVersion"], one.inputs["kind"]
        group = version if "/" in version else f"core/{version}"
        assert one.type in (f"kubernetes:{group}:{kind}", f"kubernetes:{group}:{kind}Patch")


def test_no_two_resources_are_the_same_object(recording: Recording) -> None:
    identities = [
        (one.inputs["apiVersion"], one.inputs["kind"], meta.get("namespace"), meta["name"])
        for one in recording.objects()
        for meta in [one.inputs["metadata"]]
    ]
    assert len(identities) == len(set(identities))


def test_names_in_the_state_are_not_left_to_the_engine(recording: Recording) -> None:
    # No name is made up at random, so the second run of an interrupted first finds what is there.
    assert all(one.inputs["metadata"]["name"] for one in recording.objects())


def test_nothing_is_protected_renamed_or_kept_back(recording: Recording) -> None:
    # `make down` leaves nothing; whoever wants protection has `pulumi state protect`.
    assert {one.urn: one.options for one in recording.resources.values() if one.options} == {}


def test_what_is_present_is_read_and_everything_else_made(local: Recording, existing: Recording) -> None:
    assert [one.name for one in local.resources.values() if one.read] == []
    assert [(one.name, one.read) for one in existing.resources.values() if one.read] == [
        ("clusterpolicies.nvidia.com", "clusterpolicies.nvidia.com")
    ]


def test_the_nodes_of_the_stack_are_its_fleet(local: Recording) -> None:
    names = {one.inputs["metadata"]["name"] for one in local.kind("Node")}
    assert {re.sub(r"-\d+$", "", name) for name in names} == {
        *("system", "a100-40", "a100-40-mig", "a100-80", "h100", "h200"),
    }
    hardware = json.loads(
        local.get("kubernetes:core/v1:Node", "h100-1").inputs["metadata"]["annotations"][
            "rehearsal.inferstack.dev/hardware"
        ]
    )
    assert (hardware["instanceType"], hardware["gpus"], hardware["nics"][0]["maxVfs"]) == ("p5.48xlarge", 8, 16)


def test_the_stacks_own_layouts_reach_the_mig_manager(local: Recording) -> None:
    config = yaml.safe_load(local.get("kubernetes:core/v1:ConfigMap", "mig-layouts").inputs["data"]["config.yaml"])
    assert {"all-disabled", "mostly-serving"} <= config["mig-configs"].keys()


def test_the_operators_kind_rights_and_image(local: Recording) -> None:
    crd = local.get("kubernetes:apiextensions.k8s.io/v1:CustomResourceDefinition", "inferencejobs.deepseek.ai")
    assert crd.inputs == crds()[0]
    role = local.get("kubernetes:rbac.authorization.k8s.io/v1:ClusterRole", "operator-clusterrole")
    assert role.inputs["rules"] == rules()
    pod = local.get("kubernetes:apps/v1:Deployment", "operator").inputs["spec"]["template"]["spec"]
    assert [container["image"] for container in pod["containers"]] == [load_versions()["images"]["operator"]]


def test_the_outputs_of_the_components(local: Recording, existing: Recording, machine: Machine) -> None:
    def outputs(recording: Recording, role: str, kind: str) -> Any:
        return recording.outputs[recording.component(role, kind).urn]

    endpoints = {"nlp/nlp-model-001": "http://nlp-model-001.nlp.svc"}
    table = [{"job": "nlp/nlp-model-001", "model": "bert-base-uncased", "replicas": "8"}]
    kubeconfig = str(machine.rehearsal)
    assert outputs(local, "cluster", "Cluster") == {"kubeconfig": kubeconfig}
    assert outputs(local, "gpu", "Gpu") == {"strategy": "mixed"}
    assert outputs(local, "tenancy", "Tenancy") == {"namespaces": ["nlp"]}
    assert outputs(local, "inference", "InferenceOperator") == {"deployment": "inferstack-operator"}
    assert outputs(local, "inference", "InferenceJobs") == {"endpoints": endpoints, "table": table}
    assert outputs(local, "platform", "Platform") == {"kubeconfig": kubeconfig, "endpoints": endpoints, "jobs": table}
    assert outputs(local, "addon", "Addon") == {"mode": "rehearsed"}
    assert outputs(existing, "addon", "Addon") == {"mode": "present"}


def test_the_chart_of_an_addon(machine: Machine) -> None:
    recording = machine.run("existing", addon={"mode": "chart", "timeoutSeconds": 60})
    release = recording.get("kubernetes:helm.sh/v3:Release", "gpu-operator")
    pin = load_versions()["charts"]["gpu-operator"]
    assert recording.resources[release.parent].type == "inferstack:addon:Addon"
    assert (release.inputs["chart"], release.inputs["version"]) == (pin["chart"], pin["version"])
    assert release.inputs["namespace"] == "gpu-operator"
    assert release.inputs["timeout"] == 60
    assert release.inputs["values"]["mig"] == {"strategy": "mixed"}
    # The chart makes the policy; a second one would be ignored by the operator.
    assert recording.kind("ClusterPolicy") == recording.kind("ClusterPolicyPatch") == []
