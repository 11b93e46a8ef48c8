"""Monitoring in the whole program: what it makes, in which order, and who is let in."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.program.conftest import Machine, Recording

OFF = {"enabled": False}


def test_what_the_role_makes(local: Recording) -> None:
    component = local.component("monitoring", "Monitoring")
    made = Counter(
        one.type.rpartition(":")[2] for one in local.children(component) if one.type.startswith("kubernetes:")
    )
    assert made == {"Namespace": 1, "PodMonitor": 3, "PrometheusRule": 2, "ConfigMap": 2}
    assert local.outputs[component.urn] == {"prometheus": "http://kube-prometheus-stack-prometheus.monitoring.svc:9090"}


def test_kinds_come_first_and_objects_after_the_stack(local: Recording) -> None:
    kinds = [one for one in local.kind("CustomResourceDefinition") if "monitoring.coreos.com" in one.name]
    assert len(kinds) == 4
    ours = local.children(local.component("monitoring", "Monitoring"))
    made_of_them = [one for one in ours if one.type.rpartition(":")[2] in ("PodMonitor", "PrometheusRule")]
    assert len(made_of_them) == 5
    for made in made_of_them:
        assert {one.urn for one in kinds} <= local.before(made)
        (marker,) = [one for one in local.objects() if one.name == "kube-prometheus-stack-marker"]
        assert marker.urn in local.before(made)


def test_prometheus_is_let_into_each_tenants_network(local: Recording, machine: Machine) -> None:
    def ways_in(recording: Recording) -> list[str]:
        policies = [one.inputs for one in recording.kind("NetworkPolicy")]
        return [one["metadata"]["namespace"] for one in policies if one["metadata"]["name"] == "allow-monitoring"]

    assert ways_in(local) == ["nlp"]
    assert ways_in(machine.run("local", monitoring=OFF, autoscaling=OFF)) == []


def test_nothing_is_left_of_it_where_it_is_off(machine: Machine) -> None:
    recording = machine.run("local", monitoring=OFF, autoscaling=OFF)
    component = recording.component("monitoring", "Monitoring")
    assert recording.children(component) == []
    for kind in ("PodMonitor", "PrometheusRule", "ServiceMonitor"):
        assert recording.kind(kind) == []
