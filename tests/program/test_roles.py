"""Each role as a component: its token, what lies below it, which provider it uses, what it gives out."""

from __future__ import annotations

import json
import re
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from components.addon.catalogue import load as load_catalogue
from components.platform.settings import ROLES
from inferstack.api import crds
from inferstack.controllers.rbac import rules
from inferstack.versions import load as load_versions

if TYPE_CHECKING:
    from tests.program.conftest import Machine, Recording, Registered

# The components of all stacks, each below which other.
COMPONENTS = {
    "platform:Platform platform": "Stack",
    "cluster:Cluster cluster": "Platform",
    "monitoring:Monitoring monitoring": "Platform",
    "security:Security security": "Platform",
    "kernel:Kernel kernel": "Platform",
    "wasm:Wasm wasm": "Platform",
    "gpu:Gpu gpu": "Platform",
    "network:Network network": "Platform",
    "storage:Storage storage": "Platform",
    "mesh:Mesh mesh": "Platform",
    "tenancy:Tenancy tenancy": "Platform",
    "mesh:Traffic traffic": "Platform",
    "wasm:WasmSample wasm-sample": "Platform",
    "storage:Caches caches": "Platform",
    "network:TenantNetworks networks": "Platform",
    "autoscaling:Autoscaling autoscaling": "Platform",
    "inference:InferenceOperator inference": "Platform",
    "autoscaling:PredictiveScaler scaler": "Platform",
    "inference:InferenceJobs jobs": "Platform",
    "autoscaling:ScaledObjects scaled": "Platform",
    "addon:Addon kube-prometheus-stack": "Monitoring",
    "addon:Addon gpu-operator": "Gpu",
    "addon:Addon istio-base": "Mesh",
    "addon:Addon istiod": "Mesh",
    "addon:Addon istio-cni": "Mesh",
    "addon:Addon istio-gateway": "Mesh",
    "addon:Addon keda": "Autoscaling",
    "addon:Addon prometheus-adapter": "Autoscaling",
}
FURTHER = {
    "local": {
        "addon:Addon sriov-network-operator": "Network",
        "addon:Addon aws-efa-k8s-device-plugin": "Network",
        "addon:Addon fluid": "Storage",
    },
    "existing": {},
}
# Kubernetes objects of each component, by kind.
TENANT = {"Namespace": 1, "LimitRange": 1, "ResourceQuota": 1, "NetworkPolicy": 7, "RoleBinding": 1}
SAME = {
    "platform:Platform": {},
    "monitoring:Monitoring": {"Namespace": 1, "PodMonitor": 3, "PrometheusRule": 2, "ConfigMap": 2},
    "security:Security": {"ValidatingAdmissionPolicy": 4, "ValidatingAdmissionPolicyBinding": 4},
    "mesh:Mesh": {
        "Namespace": 2,
        "PeerAuthentication": 1,
        "Telemetry": 1,
        "PodMonitor": 1,
        "ServiceMonitor": 1,
        "PrometheusRule": 1,
    },
    "tenancy:Tenancy": {"PriorityClass": 3, "ClusterRole": 1, **TENANT},
    "autoscaling:Autoscaling": {"Namespace": 2},
    "autoscaling:PredictiveScaler": {
        "ServiceAccount": 1,
        "ClusterRole": 1,
        "ClusterRoleBinding": 1,
        "PodDisruptionBudget": 1,
        "PodMonitor": 1,
        "Deployment": 1,
    },
    "inference:InferenceOperator": {
        "CustomResourceDefinition": 2,
        "Namespace": 1,
        "ServiceAccount": 1,
        "ClusterRole": 1,
        "ClusterRoleBinding": 1,
        "PodDisruptionBudget": 1,
        "Deployment": 1,
    },
    "wasm:WasmSample": {},
    "autoscaling:ScaledObjects": {},
}
NODE_AGENT = {"Namespace": 1, "ConfigMap": 2, "DaemonSet": 1}
KINDS: dict[str, dict[str, dict[str, int]]] = {
    "local": {
        **SAME,
        "cluster:Cluster": {"Node": 9},
        "kernel:Kernel": NODE_AGENT,
        "wasm:Wasm": {**NODE_AGENT, "RuntimeClass": 1},
        "gpu:Gpu": {"Namespace": 1, "ConfigMap": 2, "ClusterPolicy": 1},
        "network:Network": {
            "Namespace": 1,
            "SriovOperatorConfig": 1,
            "SriovNetworkPoolConfig": 1,
            "SriovNetworkNodePolicy": 1,
        },
        "network:TenantNetworks": {"SriovNetwork": 1},
        "storage:Storage": {"Namespace": 1},
        "storage:Caches": {"Namespace": 1, "Dataset": 2, "AlluxioRuntime": 1, "DataLoad": 1},
        "mesh:Traffic": {
            "PeerAuthentication": 2,
            "AuthorizationPolicy": 4,
            "DestinationRule": 1,
            "VirtualService": 1,
            "EnvoyFilter": 4,
            "Gateway": 1,
        },
        "inference:InferenceJobs": {"InferenceJob": 1},
    },
    "existing": {
        **SAME,
        "cluster:Cluster": {},
        "kernel:Kernel": {},
        "wasm:Wasm": {},
        "gpu:Gpu": {"ConfigMap": 1, "ClusterPolicyPatch": 1},
        "network:Network": {},
        "network:TenantNetworks": {},
        "storage:Storage": {},
        "storage:Caches": {},
        "mesh:Traffic": {"PeerAuthentication": 2, "AuthorizationPolicy": 6, "DestinationRule": 1, "EnvoyFilter": 2},
        "inference:InferenceJobs": {},
    },
}


@pytest.fixture(params=["local", "existing"])
def recording(request: pytest.FixtureRequest) -> Any:
    """Each of the stacks."""
    return request.getfixturevalue(request.param)


@pytest.mark.parametrize("stack", FURTHER)
def test_components_with_their_tokens_and_parents(request: pytest.FixtureRequest, stack: str) -> None:
    recording = request.getfixturevalue(stack)
    components = [resource for resource in recording.resources.values() if resource.type.startswith("inferstack:")]
    result = {
        f"{resource.type.removeprefix('inferstack:')} {resource.name}": recording.resources[
            resource.parent
        ].type.rpartition(":")[2]
        for resource in components
    }
    assert result == {**COMPONENTS, **FURTHER[stack]}
    assert len(components) == len(result)


def crds_of(addon: str) -> tuple[str, ...]:
    """Return the CRDs that the catalogue names for an add-on."""
    (facts,) = [facts for name, facts in load_catalogue().items() if name == addon]
    return facts.crds


def test_an_addon_is_its_crds_a_marker_and_its_chart(local: Recording, existing: Recording) -> None:
    for recording in (local, existing):
        for addon in [
            resource for resource in recording.resources.values() if resource.type == "inferstack:addon:Addon"
        ]:
            below = recording.children(addon)
            kinds = Counter(resource.type.rpartition(":")[2] for resource in below)
            mode = recording.outputs[addon.urn]["mode"]
            assert kinds.pop("CustomResourceDefinition", 0) == len(crds_of(addon.name)), addon.name
            assert (
                kinds
                == {
                    "rehearsed": {"ConfigMap": 1},
                    "chart": {"ConfigMap": 1, "Release": 1},
                    "present": {},
                }[mode]
            ), addon.name


def test_every_role_with_settings_has_a_component(recording: Recording) -> None:
    tokens = {
        resource.type.split(":")[1]
        for resource in recording.resources.values()
        if resource.type.startswith("inferstack:")
    }
    assert tokens == {"platform", *ROLES}


def test_every_resource_lies_below_a_component(recording: Recording) -> None:
    for resource in recording.resources.values():
        if not resource.type.startswith("inferstack:") and resource.type != "pulumi:pulumi:Stack":
            assert recording.resources[resource.parent].type.startswith("inferstack:"), resource.urn


@pytest.mark.parametrize("stack", KINDS)
def test_the_objects_below_each_component(request: pytest.FixtureRequest, stack: str) -> None:
    recording = request.getfixturevalue(stack)
    for component, kinds in KINDS[stack].items():
        below = recording.children(recording.component(*component.split(":")))
        result = Counter(
            resource.type.rpartition(":")[2] for resource in below if resource.type.startswith("kubernetes:")
        )
        assert result == kinds, component


def test_every_component_registers_outputs_and_takes_no_inputs(recording: Recording) -> None:
    for resource in recording.resources.values():
        if resource.type.startswith("inferstack:"):
            assert resource.urn in recording.outputs, resource.urn
            assert resource.inputs == {}, resource.urn


def kubernetes_provider(recording: Recording) -> Registered:
    """Return the one provider of Kubernetes objects."""
    (provider,) = [
        resource for resource in recording.resources.values() if resource.type == "pulumi:providers:kubernetes"
    ]
    return provider


def test_one_provider_and_every_object_names_it(recording: Recording, machine: Machine) -> None:
    provider = kubernetes_provider(recording)
    assert provider.parent == recording.component("cluster", "Cluster").urn
    assert {resource.provider for resource in recording.objects()} == {f"{provider.urn}::cluster-id"}
    stack = next(resource.name for resource in recording.resources.values() if resource.type == "pulumi:pulumi:Stack")
    is_local = stack.endswith("-local")
    path, context = (machine.rehearsal, "rehearsal") if is_local else (machine.other, "gpu-cluster")
    assert (provider.inputs["kubeconfig"], provider.inputs["context"]) == (str(path), context)


def test_config_maps_and_secrets_are_updated_in_place(recording: Recording) -> None:
    provider = kubernetes_provider(recording)
    assert {provider.inputs[key] for key in ("enableConfigMapMutable", "enableSecretMutable")} <= {True, "true"}


def test_every_object_asks_for_the_pinned_plugin(recording: Recording) -> None:
    assert {resource.version for resource in recording.objects()} == {load_versions()["plugins"]["resource-kubernetes"]}


def test_the_token_of_an_object_says_what_the_manifest_says(recording: Recording) -> None:
    for resource in recording.manifests():
        version, kind = resource.inputs["apiVersion"], resource.inputs["kind"]
        group = version if "/" in version else f"core/{version}"
        assert resource.type in (f"kubernetes:{group}:{kind}", f"kubernetes:{group}:{kind}Patch")


def test_no_two_resources_are_the_same_object(recording: Recording) -> None:
    identities = [
        (resource.inputs["apiVersion"], resource.inputs["kind"], meta.get("namespace"), meta["name"])
        for resource in recording.manifests()
        for meta in [resource.inputs["metadata"]]
    ]
    assert len(identities) == len(set(identities))


def test_names_in_the_state_are_not_left_to_the_engine(recording: Recording) -> None:
    # No name is made up at random, so the second run of an interrupted first finds what is there.
    assert all(resource.inputs["metadata"]["name"] for resource in recording.manifests())


def test_nothing_is_protected_renamed_or_kept_back(recording: Recording) -> None:
    # `make down` leaves nothing; whoever wants protection has `pulumi state protect`.
    assert {resource.urn: resource.options for resource in recording.resources.values() if resource.options} == {}


def test_present_addons_are_read_and_others_created(local: Recording, existing: Recording) -> None:
    assert [resource.name for resource in local.resources.values() if resource.read] == []
    assert [(resource.name, resource.read) for resource in existing.resources.values() if resource.read] == [
        ("clusterpolicies.nvidia.com", "clusterpolicies.nvidia.com")
    ]


def test_the_nodes_of_the_stack_are_its_fleet(local: Recording) -> None:
    names = {resource.inputs["metadata"]["name"] for resource in local.kind("Node")}
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


def test_the_operators_kinds_rights_and_image(local: Recording) -> None:
    crd = local.get("kubernetes:apiextensions.k8s.io/v1:CustomResourceDefinition", "inferencejobs.deepseek.ai")
    assert crd.inputs == crds()[0]
    rollouts = local.get("kubernetes:apiextensions.k8s.io/v1:CustomResourceDefinition", "migrollouts.deepseek.ai")
    assert rollouts.inputs == crds()[1]
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
    addon = local.get("inferstack:addon:Addon", "gpu-operator")
    assert local.outputs[addon.urn] == {"mode": "rehearsed"}
    addon = existing.get("inferstack:addon:Addon", "gpu-operator")
    assert existing.outputs[addon.urn] == {"mode": "present"}


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
