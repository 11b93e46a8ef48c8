"""The charts' values of the autoscaling role, as pure functions."""

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
    """Return the add-ons that these settings ask for, with the values of their charts.

    Args:
        settings: of the role.
        monitored: whether the kinds of the Prometheus operator are served, so that charts may bring monitors.
        prometheus_url: of the monitoring role's Prometheus; the role's own setting goes before it.
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
            # The chart's own rules offer every series of the cluster, and ask Prometheus for all of them at each look.
            "default": False,
            "custom": make_adapter_rules(),
            # With one entry here the adapter would claim external.metrics.k8s.io, which is KEDA's.
            "external": [],
        },
    }


def _keda(settings: AutoscalingSettings, *, monitored: bool) -> dict[str, Any]:
    servers = {"replicaCount": settings.keda.replicas}
    shown = {"enabled": monitored, "serviceMonitor": {"enabled": monitored}}
    reads_secrets = any(authentication.secrets for authentication in settings.authentications)
    return {
        "operator": servers,
        "metricsServer": servers,
        "prometheus": {"operator": shown, "metricServer": shown, "webhooks": shown},
        # The chart's default lets KEDA scale, and read, whatever has a scale.
        "rbac": {"scaledRefKinds": [{"apiGroup": constants.GROUP, "kind": constants.PLURAL}]},
        # Secrets of all namespaces are KEDA's to read only where a trigger needs one.
        "permissions": {"operator": {"restrict": {"secret": not reads_secrets}}},
    }
