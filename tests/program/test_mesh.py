"""The mesh in the program: what comes before what, what somebody else's mesh is spared, what is refused."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.program.conftest import Machine, Recording, Registered

ADDONS = ["istio-base", "istiod", "istio-cni", "istio-gateway"]
STANDBYS = {
    "failover": [{"from": "us-east-1", "to": "us-west-2"}],
    "standbys": {"west": {"region": "us-west-2", "gateway": "west.example.com"}},
}


@pytest.fixture(scope="module")
def present(machine: Machine) -> Recording:
    """A cluster in which all add-ons are somebody else's."""
    return machine.run("existing", addon={"mode": "present"})


def istios(recording: Recording) -> list[Registered]:
    """Return the objects of Istio's kinds."""
    return [resource for resource in recording.objects() if ".istio.io/" in resource.inputs.get("apiVersion", "")]


def identity(resource: Registered) -> tuple[str, str, str]:
    """Return kind, namespace and name."""
    meta = resource.inputs["metadata"]
    return resource.inputs["kind"], meta["namespace"], meta["name"]


def below(recording: Recording, addon: str) -> set[str]:
    """Return the URNs of an add-on's resources."""
    return {resource.urn for resource in recording.children(recording.get("inferstack:addon:Addon", addon))}


def test_base_then_istiod_then_the_node_agent_then_the_gateway(local: Recording) -> None:
    mesh = local.component("mesh", "Mesh")
    assert [resource.name for resource in local.children(mesh) if resource.type == "inferstack:addon:Addon"] == ADDONS
    for earlier, later in itertools.pairwise(ADDONS):
        for urn in below(local, later):
            assert below(local, earlier) <= local.before(local.resources[urn]), (earlier, later)


def test_mesh_wide_objects_come_before_first_proxy(local: Recording) -> None:
    rules = {resource.urn for resource in istios(local) if resource.parent == local.component("mesh", "Mesh").urn}
    assert len(rules) == 2
    for urn in below(local, "istio-gateway"):
        assert rules <= local.before(local.resources[urn])


def test_a_tenant_is_in_the_mesh_and_closed_before_its_jobs_come(local: Recording) -> None:
    (namespace,) = [resource for resource in local.kind("Namespace") if resource.inputs["metadata"]["name"] == "nlp"]
    assert namespace.inputs["metadata"]["labels"]["istio-injection"] == "enabled"
    istiod = below(local, "istiod")
    traffic = {resource.urn for resource in local.children(local.component("mesh", "Traffic"))}
    # The injector answers before there is a pod that it would have to look at.
    assert istiod <= local.before(namespace)
    for job in local.kind("InferenceJob"):
        assert traffic <= local.before(job)
    for urn in traffic:
        assert istiod <= local.before(local.resources[urn])
        assert namespace.urn in local.before(local.resources[urn])


def test_the_objects_of_the_stack_local(local: Recording) -> None:
    assert sorted(map(identity, istios(local))) == sorted(
        [
            ("PeerAuthentication", "istio-system", "default"),
            ("Telemetry", "istio-system", "default"),
            ("PeerAuthentication", "nlp", "default"),
            ("PeerAuthentication", "nlp", "plain-ports"),
            *(
                ("AuthorizationPolicy", "nlp", name)
                for name in ("default-deny", "allow-same-namespace", "allow-gateway", "allow-plain-9000")
            ),
            ("DestinationRule", "nlp", "jobs"),
            ("VirtualService", "nlp", "nlp-model-001"),
            ("EnvoyFilter", "nlp", "failure-percentage"),
            ("EnvoyFilter", "nlp", "peak-ewma"),
            ("EnvoyFilter", "istio-ingress", "failure-percentage"),
            ("EnvoyFilter", "istio-ingress", "peak-ewma"),
            ("Gateway", "istio-ingress", "inferstack"),
        ]
    )
    policies = {resource.inputs["metadata"]["name"] for resource in local.kind("NetworkPolicy")}
    assert {"allow-istiod", "allow-gateway", "allow-mesh-metrics"} <= policies


def test_custom_resources_do_not_wait_for_the_garbage_collector(local: Recording) -> None:
    for resource in istios(local):
        notes = resource.inputs["metadata"]["annotations"]
        assert notes["pulumi.com/deletionPropagationPolicy"] == "background", resource.urn


def test_the_kinds_of_prometheus_come_before_monitors_and_rules(local: Recording) -> None:
    kinds = {resource.name: resource.urn for resource in local.kind("CustomResourceDefinition")}
    (mesh,) = [
        resource
        for resource in local.kind("PrometheusRule")
        if resource.inputs["metadata"]["name"] == "mesh-core-metrics"
    ]
    assert kinds["prometheusrules.monitoring.coreos.com"] in local.before(mesh)
    assert mesh.inputs["spec"]["groups"][0]["rules"]
    for name in ("istio-system-podmonitor-istio-proxies", "istio-system-servicemonitor-istiod"):
        assert any(resource.name == name for resource in local.objects())


def test_without_monitoring_no_monitor_and_no_rule_is_made(machine: Machine) -> None:
    recording = machine.run("local", monitoring={"enabled": False}, autoscaling={"enabled": False})
    mesh = recording.children(recording.component("mesh", "Mesh"))
    assert not [resource for resource in mesh if "monitoring.coreos.com" in resource.type]
    assert "allow-mesh-metrics" not in {
        resource.inputs["metadata"]["name"] for resource in recording.kind("NetworkPolicy")
    }


def test_present_mesh_gets_no_mesh_wide_objects(present: Recording) -> None:
    result = set(map(identity, istios(present)))
    assert not [entry for entry in result if entry[1] == "istio-system"]
    assert ("PeerAuthentication", "nlp", "default") in result
    assert ("EnvoyFilter", "nlp", "failure-percentage") in result


def test_a_standby_is_an_endpoint_of_each_job(machine: Machine) -> None:
    recording = machine.run("local", mesh=STANDBYS)
    (entry,) = recording.kind("WorkloadEntry")
    assert identity(entry) == ("WorkloadEntry", "nlp", "nlp-model-001-west")
    assert "allow-standby" in {resource.inputs["metadata"]["name"] for resource in recording.kind("NetworkPolicy")}


def test_disabled_mesh_registers_nothing(machine: Machine) -> None:
    encryption = {"mode": "none", "required": False}
    recording = machine.run("local", mesh={"enabled": False}, security={"encryption": encryption})
    assert istios(recording) == []
    for role in ("Mesh", "Traffic"):
        assert recording.children(recording.component("mesh", role)) == []
    (namespace,) = [
        resource for resource in recording.kind("Namespace") if resource.inputs["metadata"]["name"] == "nlp"
    ]
    assert not [key for key in namespace.inputs["metadata"]["labels"] if "istio" in key]
    assert recording.outputs[recording.component("mesh", "Mesh").urn] == {"dataPlane": "sidecar", "strict": False}


def test_in_ambient_the_nodes_carry_the_traffic(machine: Machine) -> None:
    ambient = {"dataPlane": "ambient", "ejection": {"failurePercentage": {"enabled": False}}}
    recording = machine.run("local", mesh=ambient)
    mesh = recording.component("mesh", "Mesh")
    addons = [resource.name for resource in recording.children(mesh) if resource.type == "inferstack:addon:Addon"]
    assert addons == ["istio-base", "istiod", "istio-cni", "istio-ztunnel", "istio-gateway"]
    (namespace,) = [
        resource for resource in recording.kind("Namespace") if resource.inputs["metadata"]["name"] == "nlp"
    ]
    assert namespace.inputs["metadata"]["labels"]["istio.io/dataplane-mode"] == "ambient"


def test_outputs_of_components(local: Recording) -> None:
    def outputs(kind: str) -> Any:
        return local.outputs[local.component("mesh", kind).urn]

    assert outputs("Mesh") == {"dataPlane": "sidecar", "strict": True}
    assert outputs("Traffic") == {"hosts": {"nlp/nlp-model-001": "https://nlp.inferstack.example"}}


@pytest.mark.parametrize(
    ("mesh", "message"),
    [
        (
            {"hosts": [{"host": "a.example", "job": "nlp/other", "tlsSecret": "a"}]},
            "inferstack:mesh.hosts[0].job: the s",
        ),
        ({"failover": [{"from": "a", "to": "a"}]}, "inferstack:mesh.failover[0].to: a is the same region"),
        (
            {"mtls": {"exceptions": [{"tenant": "npl", "port": 1, "reason": "it has to be so"}]}},
            "inferstack:mesh.mtls.exceptions[0].tenant: there is no such tenant; did you mean nlp?",
        ),
        ({"cni": {"enabled": False}}, "inferstack:tenancy.tenants.nlp.podSecurity restricted"),
    ],
)
def test_invalid_mesh_settings_are_refused_before_registration(
    machine: Machine, mesh: dict[str, Any], message: str
) -> None:
    assert message in machine.refusal("local", mesh=mesh)
