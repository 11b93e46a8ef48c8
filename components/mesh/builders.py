"""The charts of the mesh role and the mesh-wide objects, as pure functions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from components.addon.catalogue import AddonName
from components.mesh.metrics import make_stats_matcher
from components.mesh.objects import CROSS_NETWORK_PORT, INGRESS, ROOT, make
from components.mesh.settings import AccessLog, MeshSettings
from components.tenancy.builders import Peer
from inferstack.apimachinery.objects import Object

XDS_PORT = 15012
"""istiod's port for proxies, with TLS."""
ENVOY_METRICS_PORT = 15090
"""Port of the proxies' metrics, in plain text."""
PROBES_FROM = "169.254.7.127/32"
"""Source address of the kubelet's probes in ambient mode, which distinguishes them from other traffic of the node."""


def make_charts(settings: MeshSettings, *, monitored: bool) -> dict[AddonName, dict[str, Any]]:
    """Return the add-ons that these settings enable, with their chart values.

    Args:
        settings: the role's settings.
        monitored: whether the API server serves the Prometheus operator's kinds; Istio's charts bring no monitors.
    """
    del monitored
    if not settings.enabled:
        return {}
    charts: dict[AddonName, dict[str, Any]] = {"istio-base": {}, "istiod": _istiod(settings)}
    if settings.cni.enabled:
        charts["istio-cni"] = {"ambient": {"enabled": True}} if settings.ambient else {}
    if settings.ambient:
        charts["istio-ztunnel"] = {}
    if settings.gateway.enabled:
        charts["istio-gateway"] = _gateway(settings)
    return charts


def namespace_labels(settings: MeshSettings) -> dict[str, str]:
    """Return the labels that add a tenant's namespace to the mesh."""
    if not settings.enabled:
        return {}
    return {"istio.io/dataplane-mode": "ambient"} if settings.ambient else {"istio-injection": "enabled"}


def tenant_peers(settings: MeshSettings, *, monitored_from: str | None) -> tuple[Peer, ...]:
    """Return the network policy rules that the mesh needs in a tenant's namespace.

    Args:
        settings: the role's settings.
        monitored_from: namespace of the Prometheus that scrapes the proxies, or None.
    """
    if not settings.enabled:
        return ()
    peers = []
    if settings.ambient:
        peers.append(Peer("mesh-probes", "Ingress", cidr=PROBES_FROM))
    else:
        peers.append(Peer("istiod", "Egress", namespace=ROOT, ports=(XDS_PORT,)))
        if monitored_from:
            peers.append(Peer("mesh-metrics", "Ingress", namespace=monitored_from, ports=(ENVOY_METRICS_PORT,)))
    if settings.gateway.enabled:
        peers.append(Peer("gateway", "Ingress", namespace=INGRESS))
    if settings.failover:
        ports = tuple(sorted({standby.port for standby in settings.standbys.values()}))
        peers.append(Peer("standby", "Egress", ports=ports))
    return tuple(peers)


def make_mesh(settings: MeshSettings) -> list[Object]:
    """Return the objects that apply to every workload of the mesh, if this platform installs the mesh."""
    mtls = {"mtls": {"mode": settings.mtls.mode.value}}
    return [
        make("security.istio.io/v1", "PeerAuthentication", ROOT, "default", mtls),
        make("telemetry.istio.io/v1", "Telemetry", ROOT, "default", make_telemetry(settings)),
    ]


def make_telemetry(settings: MeshSettings) -> dict[str, Any]:
    """Return the spec of the mesh's Telemetry: metrics for Prometheus, and the access log."""
    logging: dict[str, Any] = {"providers": [{"name": "envoy"}]}
    if settings.telemetry.access_log is AccessLog.NONE:
        logging["disabled"] = True
    elif settings.telemetry.access_log is AccessLog.ERRORS:
        # Code 0: the client disconnected before the response.
        logging["filter"] = {"expression": "response.code >= 500 || response.code == 0"}
    return {"metrics": [{"providers": [{"name": "prometheus"}]}], "accessLogging": [logging]}


def make_monitors(settings: MeshSettings, tenants: Sequence[str]) -> list[Object]:
    """Return the monitors with which Prometheus scrapes istiod and the proxies."""
    monitoring = "monitoring.coreos.com/v1"
    every = f"{settings.telemetry.interval_seconds}s"
    proxies = {
        "selector": {},
        "namespaceSelector": {"matchNames": [INGRESS] if settings.ambient else [INGRESS, *tenants]},
        "podMetricsEndpoints": [
            {
                "port": "http-envoy-prom",
                "path": "/stats/prometheus",
                "interval": every,
                # A proxy has thousands of series. Keep those that the rules and Istio's dashboards read.
                "metricRelabelings": [
                    {"action": "keep", "sourceLabels": ["__name__"], "regex": "istio_.*|envoy_cluster_.*"}
                ],
            }
        ],
    }
    istiod = {
        "selector": {"matchLabels": {"istio": "pilot"}},
        "endpoints": [{"port": "http-monitoring", "interval": every}],
    }
    monitors = [
        make(monitoring, "PodMonitor", ROOT, "istio-proxies", proxies),
        make(monitoring, "ServiceMonitor", ROOT, "istiod", istiod),
    ]
    if settings.ambient:
        ztunnel = {
            "selector": {"matchLabels": {"app": "ztunnel"}},
            "podMetricsEndpoints": [{"port": "ztunnel-stats", "path": "/stats/prometheus", "interval": every}],
        }
        monitors.append(make(monitoring, "PodMonitor", ROOT, "ztunnel", ztunnel))
    return monitors


def _istiod(settings: MeshSettings) -> dict[str, Any]:
    metadata = {
        # A proxy exits after its last response, not a fixed time after SIGTERM.
        "EXIT_ON_ZERO_ACTIVE_CONNECTIONS": "true",
    }
    values: dict[str, Any] = {
        "autoscaleMin": settings.istiod.replicas,
        "autoscaleMax": max(5, settings.istiod.replicas),
        "cni": {"enabled": settings.cni.enabled},
        # Without it the restricted Pod Security Standard rejects every pod with a proxy.
        "global": {"proxy": {"seccompProfile": {"type": "RuntimeDefault"}}, "logAsJson": True},
    }
    if settings.ambient:
        metadata["ISTIO_META_ENABLE_HBONE"] = "true"
        values["env"] = {"PILOT_ENABLE_AMBIENT": "true"}
    if settings.standbys:
        values["global"]["meshNetworks"] = {
            name: {
                # Required by the API; each endpoint sets its own network.
                "endpoints": [{"fromRegistry": name}],
                "gateways": [{"address": standby.gateway, "port": standby.port}],
            }
            for name, standby in settings.standbys.items()
        }
    values["meshConfig"] = {
        "defaultConfig": {
            # A server that loads its model over the network must not start before its proxy.
            "holdApplicationUntilProxyStarts": True,
            "proxyMetadata": metadata,
            "proxyStatsMatcher": make_stats_matcher(),
        },
        "meshMTLS": {"minProtocolVersion": "TLSV1_3"},
    }
    return values


def _gateway(settings: MeshSettings) -> dict[str, Any]:
    gateway = settings.gateway
    ports = [("status-port", 15021), ("http2", 80), ("https", 443)]
    if gateway.cross_network:
        ports.append(("tls", CROSS_NETWORK_PORT))
    return {
        "service": {
            "type": gateway.service_type,
            "annotations": gateway.annotations,
            "ports": [{"name": name, "port": port, "protocol": "TCP", "targetPort": port} for name, port in ports],
        },
        "autoscaling": {"minReplicas": gateway.min_replicas, "maxReplicas": gateway.max_replicas},
        "podDisruptionBudget": {"maxUnavailable": 1},
        "terminationGracePeriodSeconds": gateway.drain_seconds,
        "topologySpreadConstraints": [
            {
                "maxSkew": 1,
                "topologyKey": "kubernetes.io/hostname",
                "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": {"matchLabels": {"app": "istio-gateway"}},
            }
        ],
    }
