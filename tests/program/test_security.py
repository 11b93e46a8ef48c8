"""The security, kernel and wasm roles in the program: what is registered, after what, and what is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from components.addon import catalogue
from components.security.settings import SecuritySettings
from components.settings import load_role
from components.storage.settings import StorageSettings

if TYPE_CHECKING:
    from tests.program.conftest import Machine, Recording, Registered

WIREGUARD: dict[str, Any] = {"security": {"encryption": {"mode": "wireguard"}}, "mesh": {"enabled": False}}
SHIM = {"image": "registry.example.org/shim:1", "sha256": "a" * 64}
SAMPLE = {"tenant": "nlp", "image": "registry.example.org/chat:1"}
REASON = "its profiler reads the counters of the CPU"
ENDED = {
    "rule": "pods-not-privileged",
    "resource": "Pod nlp/profiler",
    "owner": "nlp-engineers",
    "reason": REASON,
    "expires": "2020-01-01",
}


@pytest.fixture(scope="module")
def full(machine: Machine) -> Recording:
    """A stack that has all that the three roles can make."""
    addon = {"mode": "present"}
    wasm = {"enabled": True, "shim": SHIM, "sample": SAMPLE}
    return machine.run("existing", addon=addon, kernel={"enabled": True, "mode": "apply"}, wasm=wasm, **WIREGUARD)


def tenants(recording: Recording) -> list[Registered]:
    """Return the namespaces of tenants."""
    return [namespace for namespace in recording.kind("Namespace") if namespace.name.startswith("tenant-")]


def admission(recording: Recording) -> list[tuple[Registered, Registered]]:
    """Return the policies at the API server, each with its binding."""
    policies = {
        resource.inputs["metadata"]["name"]: resource for resource in recording.kind("ValidatingAdmissionPolicy")
    }
    bindings = {
        resource.inputs["spec"]["policyName"]: resource
        for resource in recording.kind("ValidatingAdmissionPolicyBinding")
    }
    assert policies.keys() == bindings.keys()
    return [(policies[name], bindings[name]) for name in policies]


def test_rules_guard_and_encryption_come_before_the_tenants(full: Recording) -> None:
    rules = [resource for pair in admission(full) for resource in pair]
    cilium = full.children(full.get("inferstack:addon:Addon", "cilium"))
    assert len(rules) >= 6
    assert len(cilium) == 1
    assert tenants(full)
    for tenant in tenants(full):
        assert {resource.urn for resource in (*rules, *cilium)} <= full.before(tenant)


def test_a_binding_comes_after_its_policy(full: Recording) -> None:
    for policy, binding in admission(full):
        assert policy.urn in binding.dependencies
        assert policy.inputs["metadata"]["name"] == binding.inputs["metadata"]["name"]


def test_rule_violation_in_rehearsal_is_a_warning(local: Recording) -> None:
    held = [binding.inputs["spec"] for policy, binding in admission(local) if policy.name.startswith("rules-")]
    assert len(held) >= 2
    assert all(spec["validationActions"] == ["Warn", "Audit"] for spec in held)


def test_what_comes_from_others_is_not_held_to_rules_and_what_is_ours_is(local: Recording) -> None:
    exempt = set(load_role("security", SecuritySettings, None).policies.exempt_namespaces)
    charts = {facts.namespace for facts in catalogue.load().values()}
    caches = load_role("storage", StorageSettings, None).namespace
    assert charts <= exempt
    assert exempt <= {*charts, caches, "kube-system", "kube-public", "kube-node-lease"}
    created = {resource.inputs["metadata"]["name"] for resource in local.kind("Namespace")}
    assert created - exempt == {"inferstack-kernel", "inferstack-system", "inferstack-wasm", "nlp"}


def test_existing_cluster_is_enforced_in_tenant_namespaces_only(existing: Recording) -> None:
    for policy, binding in admission(existing):
        if policy.name.startswith("rules-"):
            (expression,) = binding.inputs["spec"]["matchResources"]["namespaceSelector"]["matchExpressions"]
            assert expression == {"key": "inferstack.dev/tenant", "operator": "Exists"}
            for rule in policy.inputs["spec"]["matchConstraints"]["resourceRules"]:
                assert (rule["scope"] == "Namespaced") is (rule["resources"] != ["namespaces"])


def test_no_admission_policy_when_enforcement_is_off(machine: Machine) -> None:
    security = {"policies": {"admission": "none"}, "podSecurity": {"guard": False}}
    recording = machine.run("existing", security=security)
    assert recording.kind("ValidatingAdmissionPolicy") == []
    assert recording.kind("ValidatingAdmissionPolicyBinding") == []


def test_ciliums_chart_is_a_release_in_kube_system(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    recording = machine.run("local", **WIREGUARD)
    assert (
        recording.get("kubernetes:core/v1:ConfigMap", "cilium-marker").inputs["metadata"]["namespace"] == "kube-system"
    )
    security = recording.component("security", "Security")
    assert recording.get("inferstack:addon:Addon", "cilium").parent == security.urn
    assert recording.outputs[security.urn] == {"enabled": True, "encryption": "wireguard"}


def test_an_agent_goes_before_its_program_and_its_namespace(full: Recording) -> None:
    for role in ("kernel", "wasm"):
        (daemon_set,) = [
            resource
            for resource in full.kind("DaemonSet")
            if resource.name == f"{role}-daemonset" and not resource.read
        ]
        needed = [
            resource
            for resource in full.objects()
            if resource.name in (f"{role}-namespace", f"{role}-agent", f"{role}-config")
        ]
        assert len(needed) == 3
        assert {resource.urn for resource in needed} <= full.before(daemon_set)


def test_no_pod_is_sent_to_a_node_before_the_shim_is_there(full: Recording) -> None:
    (runtime,), sample = full.kind("RuntimeClass"), full.get("kubernetes:apps/v1:Deployment", "wasm-sample")
    installer = full.get("kubernetes:apps/v1:DaemonSet", "wasm-daemonset")
    assert installer.urn in runtime.dependencies
    assert runtime.urn in full.before(sample)
    assert {resource.urn for resource in tenants(full)} <= full.before(sample)
    assert sample.inputs["spec"]["template"]["spec"]["runtimeClassName"] == runtime.inputs["metadata"]["name"]


def test_roles_that_are_off_register_nothing(machine: Machine) -> None:
    off = {"enabled": False}
    recording = machine.run("existing", security=off, kernel=off, wasm=off)
    for role, kind in (("security", "Security"), ("kernel", "Kernel"), ("wasm", "Wasm"), ("wasm", "WasmSample")):
        assert recording.children(recording.component(role, kind)) == []
    outputs = recording.outputs
    assert outputs[recording.component("security", "Security").urn]["encryption"] == "off"
    assert outputs[recording.component("kernel", "Kernel").urn]["mode"] == "off"


def test_the_reason_of_a_privileged_tenant_reaches_its_namespace(machine: Machine) -> None:
    tenancy = {"tenants": {"nlp": {"podSecurity": "privileged"}, "cv": {}}}
    recording = machine.run("existing", tenancy=tenancy, security={"podSecurity": {"exceptions": {"nlp": REASON}}})
    result = {
        resource.inputs["metadata"]["name"]: resource.inputs["metadata"].get("annotations")
        for resource in tenants(recording)
    }
    assert result == {"nlp": {"inferstack.dev/pod-security-exception": REASON}, "cv": None}


@pytest.mark.parametrize(
    ("over", "message"),
    [
        (
            {"security": {"encryption": {"mode": "wireguard"}}},
            "inferstack:security.encryption.mode: wireguard and mutual TLS",
        ),
        ({"mesh": {"enabled": False}}, "inferstack:security.encryption.mode: mtls requires a mesh"),
        (
            {"tenancy": {"tenants": {"nlp": {"podSecurity": "privileged"}}}},
            "inferstack:tenancy.tenants.nlp.podSecurity: ",
        ),
        (
            {"kernel": {"enabled": True}, "security": {"nodes": {"kernel": "3.10.0"}}},
            'inferstack:kernel.settings["net.core.busy_read"]: came with Linux 3.11',
        ),
        (
            {"kernel": {"enabled": True, "settings": {"net.core.busypoll": 50}}},
            'inferstack:kernel.settings["net.core.bu',
        ),
        (
            {"security": {"policies": {"exceptions": [ENDED]}}},
            "inferstack:security.policies.exceptions[0]: the exception of nlp-engineers from pods-not-privileged for "
            "Pod nlp/profiler ended on 2020-01-01",
        ),
        (
            {"security": {"policies": {"exemptNamespaces": ["kube-system", "nlp"]}}},
            "inferstack:security.policies.exemptNamespaces[1]: nlp is a tenant",
        ),
        ({"wasm": {"enabled": True}}, "inferstack:wasm.shim.image: is required"),
        (
            {"wasm": {"enabled": True, "shim": SHIM, "sample": {**SAMPLE, "tenant": "x"}}},
            "inferstack:wasm.sample.tenant: ",
        ),
    ],
)
def test_conflicting_settings_are_refused_before_registration(
    machine: Machine, over: dict[str, Any], message: str
) -> None:
    assert message in machine.refusal("existing", **over)
