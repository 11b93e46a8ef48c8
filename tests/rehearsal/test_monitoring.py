"""What the monitoring role makes, on a real API server with the Prometheus operator's real kinds."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from components.monitoring.alerts import make_rules
from components.monitoring.builders import make_monitors, make_operator_monitor
from components.monitoring.dashboards import make_dashboards
from components.monitoring.settings import MonitoringSettings
from components.settings import load_role
from components.tenancy.builders import make_monitoring_policy
from inferstack.apimachinery.objects import Object
from inferstack.k8s import ApiError, KubeClient
from rehearsal.control_plane import Rehearsal
from tests.rehearsal.kinds import crds_of, served

pytestmark = pytest.mark.rehearsal

MANAGER = "test"


@pytest.fixture(scope="module")
def kinds(plane: Rehearsal) -> Iterator[None]:
    """The Prometheus operator's kinds, as a stack of the rehearsal brings them."""
    with served(plane, crds_of("kube-prometheus-stack")):
        yield


def _moved(obj: Object, namespace: str) -> Object:
    return {**obj, "metadata": {**obj["metadata"], "namespace": namespace}}


async def test_monitors_and_rules_are_stored_unchanged(kube: KubeClient, kinds: None, namespace: str) -> None:
    settings = load_role("monitoring", MonitoringSettings, {"alerts": {"runbookUrl": "https://runbooks.invalid"}})
    manifests = [*make_monitors(settings), make_operator_monitor(), *make_rules(settings), *make_dashboards()]
    kinds_made = {obj["kind"] for obj in manifests}
    assert kinds_made == {"PodMonitor", "PrometheusRule", "ConfigMap"}
    for obj in manifests:
        wanted = _moved(obj, namespace)
        live = await kube.apply(wanted, field_manager=MANAGER)
        # The server has filled nothing in and dropped nothing of what we said.
        for part in ("spec", "data"):
            assert live.get(part) == wanted.get(part), obj["metadata"]["name"]


async def test_invalid_scrape_interval_is_rejected(kube: KubeClient, kinds: None, namespace: str) -> None:
    settings = load_role("monitoring", MonitoringSettings, None)
    monitor = _moved(make_monitors(settings)[0], namespace)
    monitor["spec"]["podMetricsEndpoints"][0]["interval"] = "5 s"
    with pytest.raises(ApiError, match="interval"):
        await kube.apply(monitor, field_manager=MANAGER)


async def test_network_policy_for_prometheus_is_stored_unchanged(kube: KubeClient, namespace: str) -> None:
    policy = make_monitoring_policy(namespace, "monitoring")
    live = await kube.apply(policy, field_manager=MANAGER)
    assert live["spec"] == policy["spec"]
