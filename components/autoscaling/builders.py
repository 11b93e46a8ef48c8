"""Values of the charts of the autoscaling role. Pure."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from components.addon.catalogue import AddonName
from components.autoscaling.settings import AutoscalingSettings
from inferstack.api import constants
from inferstack.api.runtimes import make_adapter_rules


def make_charts(
    settings: AutoscalingSettings, *, monitored: bool, prometheus_url: str | None
) -> dict[AddonName, dict[str, Any]]:
    """Return the add-ons that the settings enable, with their chart values.

    Args:
        settings: settings of the role.
        monitored: whether the CRDs of the Prometheus operator are installed, so that charts may create monitors.
        prometheus_url: Prometheus of the monitoring role; the role's own setting has precedence.
    """
    charts: dict[AddonName, dict[str, Any]] = {}
    if settings.has_keda:
        charts["keda"] = _keda(settings, monitored=monitored)
    url = settings.prometheus_url or prometheus_url
    if settings.has_adapter and url:
        charts["prometheus-adapter"] = _adapter(settings, url)
    return charts


def _adapter(settings: AutoscalingSettings, url: str) -> dict[str, Any]:
    parts = urlsplit(url)
    return {
        "prometheus": {
            "url": f"{parts.scheme}://{parts.hostname}",
            "port": parts.port or (443 if parts.scheme == "https" else 80),
            "path": parts.path.rstrip("/"),
        },
        "replicas": settings.adapter.replicas,
        "metricsRelistInterval": f"{settings.adapter.relist_seconds}s",
        "rules": {
            # The default rules of the chart discover every series of the cluster at each relist.
            "default": False,
            "custom": make_adapter_rules(),
            # Any rule here would make the adapter claim external.metrics.k8s.io, which KEDA serves.
            "external": [],
        },
    }


def _keda(settings: AutoscalingSettings, *, monitored: bool) -> dict[str, Any]:
    replicas = {"replicaCount": settings.keda.replicas}
    monitors = {"enabled": monitored, "serviceMonitor": {"enabled": monitored}}
    reads_secrets = any(authentication.secrets for authentication in settings.authentications)
    return {
        "operator": replicas,
        "metricsServer": replicas,
        "prometheus": {"operator": monitors, "metricServer": monitors, "webhooks": monitors},
        # The default of the chart allows KEDA to scale and read every kind with a scale subresource.
        "rbac": {"scaledRefKinds": [{"apiGroup": constants.GROUP, "kind": constants.PLURAL}]},
        # KEDA may read the Secrets of all namespaces only if a trigger needs one.
        "permissions": {"operator": {"restrict": {"secret": not reads_secrets}}},
    }
