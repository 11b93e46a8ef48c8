"""Monitoring in the whole program: what it makes, in which order, and who is let in."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.program.conftest import Machine, Recording

OFF = {"enabled": False}


def test_objects_of_monitoring_role(local: Recording) -> None:
    component = local.component("monitoring", "Monitoring")
    counts = Counter(
        resource.type.rpartition(":")[2]
        for resource in local.children(component)
        if resource.type.startswith("kubernetes:")
    )
    assert counts == {"Namespace": 1, "PodMonitor": 3, "PrometheusRule": 2, "ConfigMap": 2}
    assert local.outputs[component.urn] == {"prometheus": "http://kube-prometheus-stack-prometheus.monitoring.svc:9090"}


def test_kinds_come_first_and_objects_after_the_stack(local: Recording) -> None:
    kinds = [
        resource for resource in local.kind("CustomResourceDefinition") if "monitoring.coreos.com" in resource.name
    ]
    assert len(kinds) == 4
    children = local.children(local.component("monitoring", "Monitoring"))
    dependants = [
        resource for resource in children if resource.type.rpartition(":")[2] in ("PodMonitor", "PrometheusRule")
    ]
    assert len(dependants) == 5
    for dependant in dependants:
        assert {resource.urn for resource in kinds} <= local.before(dependant)
        (marker,) = [resource for resource in local.objects() if resource.name == "kube-prometheus-stack-marker"]
        assert marker.urn in local.before(dependant)


def test_prometheus_is_let_into_each_tenants_network(local: Recording, machine: Machine) -> None:
    def ways_in(recording: Recording) -> list[str]:
        policies = [policy.inputs for policy in recording.kind("NetworkPolicy")]
        return [
            policy["metadata"]["namespace"] for policy in policies if policy["metadata"]["name"] == "allow-monitoring"
        ]

    assert ways_in(local) == ["nlp"]
    assert ways_in(machine.run("local", monitoring=OFF, autoscaling=OFF)) == []


def test_disabled_role_registers_nothing(machine: Machine) -> None:
    recording = machine.run("local", monitoring=OFF, autoscaling=OFF)
    component = recording.component("monitoring", "Monitoring")
    assert recording.children(component) == []
    for kind in ("PodMonitor", "PrometheusRule", "ServiceMonitor"):
        assert recording.kind(kind) == []
