"""Istio objects for the traffic of tenants and of the gateway, as pure functions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from components.mesh.envoy import make_filters
from components.mesh.objects import (
    CROSS_NETWORK_PORT,
    GATEWAY,
    GATEWAY_PODS,
    INGRESS,
    SERVICE_PORT,
    Job,
    host_of,
    make,
)
from components.mesh.settings import Host, LoadBalancing, MeshSettings, MtlsMode, PlainPort
from inferstack.apimachinery.labels import JOB
from inferstack.apimachinery.objects import Object

RETRY_ON = "connect-failure,refused-stream,reset-before-request"
"""Failures in which no server has started to process the request."""
_SECURITY = "security.istio.io/v1"
_NETWORKING = "networking.istio.io/v1"


def make_tenant_traffic(settings: MeshSettings, tenant: str, jobs: Sequence[Job]) -> list[Object]:
    """Return all of a tenant's objects.

    Args:
        settings: the role's settings.
        tenant: its namespace.
        jobs: the stack's jobs in it.
    """
    plain = [entry for entry in settings.mtls.exceptions if entry.tenant == tenant]
    manifests = [
        make("security.istio.io/v1", "PeerAuthentication", tenant, "default", _mtls(settings)),
        *_plain(tenant, plain),
    ]
    if settings.mtls.mode is MtlsMode.STRICT:
        # These policies identify callers by certificate and would reject plain text where it is accepted.
        manifests += make_authorization(settings, tenant, plain)
    manifests.append(make_destination_rule(settings, tenant))
    manifests += [make_virtual_service(settings, job) for job in jobs]
    if not settings.ambient:
        manifests += make_filters(settings, tenant, "SIDECAR_OUTBOUND", jobs)
    if settings.failover:
        manifests += [make_standby(name, settings, job) for name in settings.standbys for job in jobs]
    return manifests


def make_gateway_traffic(settings: MeshSettings, tenants: Sequence[str], jobs: Sequence[Job]) -> list[Object]:
    """Return the objects of the gateway; empty if it is off."""
    if not settings.gateway.enabled:
        return []
    manifests = []
    if settings.hosts:
        servers = [server for host in settings.hosts for server in _servers(host)]
        manifests.append(_gateway(GATEWAY, servers))
    if settings.gateway.cross_network and tenants:
        server = {
            "port": {"number": CROSS_NETWORK_PORT, "name": "tls", "protocol": "TLS"},
            # TLS passes through to the pod; the gateway reads only the SNI.
            "tls": {"mode": "AUTO_PASSTHROUGH"},
            "hosts": [f"*.{tenant}.svc.cluster.local" for tenant in tenants],
        }
        manifests.append(_gateway("cross-network", [server]))
    return [*manifests, *make_filters(settings, INGRESS, "GATEWAY", jobs)]


def make_authorization(settings: MeshSettings, tenant: str, plain: Sequence[PlainPort]) -> list[Object]:
    """Return the authorization of calls to a tenant's pods: from the tenant, the gateway, and anyone on plain ports."""

    def allow(name: str, rule: dict[str, Any], selector: dict[str, str] | None = None) -> Object:
        spec: dict[str, Any] = {"action": "ALLOW", "rules": [rule]}
        if selector:
            spec["selector"] = {"matchLabels": selector}
        return make(_SECURITY, "AuthorizationPolicy", tenant, name, spec)

    def from_namespace(name: str) -> dict[str, Any]:
        return {"from": [{"source": {"namespaces": [name]}}]}

    # A policy without rules allows nothing; the other policies add to it.
    policies = [
        make(_SECURITY, "AuthorizationPolicy", tenant, "default-deny", {}),
        allow("allow-same-namespace", from_namespace(tenant)),
    ]
    if settings.gateway.enabled:
        policies.append(allow("allow-gateway", from_namespace(INGRESS)))
    for entry in plain:
        operation: dict[str, Any] = {"ports": [str(entry.port)]}
        if entry.paths:
            operation |= {"methods": ["GET"], "paths": list(entry.paths)}
        policies.append(allow(f"allow-plain-{entry.port}", {"to": [{"operation": operation}]}, entry.labels))
    return policies


def make_destination_rule(settings: MeshSettings, tenant: str) -> Object:
    """Return the traffic policy of all Services of a tenant, including jobs created with kubectl."""
    traffic = settings.traffic
    # With PEAK_EWMA: for Services that its EnvoyFilter does not name.
    simple = LoadBalancing.LEAST_REQUEST if settings.peak_ewma else traffic.load_balancing
    balancer: dict[str, Any] = {"simple": simple.value}
    if traffic.warmup_seconds:
        balancer["warmup"] = {"duration": f"{traffic.warmup_seconds}s"}
    if settings.failover:
        regions = [{"from": step.from_, "to": step.to} for step in settings.failover]
        balancer["localityLbSetting"] = {"enabled": True, "failover": regions}
    policy: dict[str, Any] = {
        "loadBalancer": balancer,
        "connectionPool": {
            "tcp": {
                "maxConnections": traffic.max_connections,
                "connectTimeout": f"{traffic.connect_timeout_seconds}s",
            },
            "http": {
                "http1MaxPendingRequests": traffic.max_pending_requests,
                "http2MaxRequests": traffic.max_requests,
                "idleTimeout": f"{traffic.idle_timeout_seconds}s",
            },
        },
    }
    if settings.ejection.enabled:
        policy["outlierDetection"] = {
            "consecutive5xxErrors": settings.ejection.consecutive_5xx,
            "interval": f"{settings.ejection.interval_seconds}s",
            "baseEjectionTime": f"{settings.ejection.base_seconds}s",
            "maxEjectionPercent": settings.ejection.max_percent,
        }
    # No tls: Istio itself uses mutual TLS with every endpoint that has a proxy, and a tenant may have others.
    spec = {"host": f"*.{tenant}.svc.cluster.local", "trafficPolicy": policy}
    return make(_NETWORKING, "DestinationRule", tenant, "jobs", spec)


def make_virtual_service(settings: MeshSettings, job: Job) -> Object:
    """Return the routes to a job, from the mesh and from the gateway."""
    namespace, name = job
    outside = [host.host for host in settings.hosts if host.job == f"{namespace}/{name}"]
    route: dict[str, Any] = {
        "route": [{"destination": {"host": host_of(job), "port": {"number": SERVICE_PORT}}}],
        "retries": {"attempts": settings.traffic.retries},
    }
    if settings.traffic.retries:
        route["retries"]["retryOn"] = RETRY_ON
    if settings.traffic.timeout_seconds:
        route["timeout"] = f"{settings.traffic.timeout_seconds}s"
    gateways = ["mesh", f"{INGRESS}/{GATEWAY}"] if outside else ["mesh"]
    spec = {"hosts": [host_of(job), *outside], "gateways": gateways, "http": [route]}
    return make(_NETWORKING, "VirtualService", namespace, name, spec)


def make_standby(network: str, settings: MeshSettings, job: Job) -> Object:
    """Return a standby cluster's replicas as one endpoint of a job's Service.

    It has no address: istiod puts that of the network's gateway, which sends the request on by the name in its TLS. The
    Service selects it by the job's label, as it does pods; to Kubernetes it is not there.
    """
    namespace, name = job
    spec = {
        "network": network,
        "locality": settings.standbys[network].region,
        "labels": {JOB: name, "security.istio.io/tlsMode": "istio"},
    }
    return make(_NETWORKING, "WorkloadEntry", namespace, f"{name}-{network}", spec)


def _mtls(settings: MeshSettings) -> dict[str, Any]:
    return {"mtls": {"mode": settings.mtls.mode.value}}


def _plain(tenant: str, entries: Sequence[PlainPort]) -> list[Object]:
    if not entries:
        return []
    # `checks` ensures that their labels are the same.
    spec = {
        "selector": {"matchLabels": entries[0].labels},
        "mtls": {"mode": "STRICT"},
        "portLevelMtls": {str(entry.port): {"mode": "PERMISSIVE"} for entry in entries},
    }
    reasons = {f"inferstack.dev/plain-port-{entry.port}": entry.reason for entry in entries}
    return [make(_SECURITY, "PeerAuthentication", tenant, "plain-ports", spec, reasons)]


def _gateway(name: str, servers: list[dict[str, Any]]) -> Object:
    return make(_NETWORKING, "Gateway", INGRESS, name, {"selector": GATEWAY_PODS, "servers": servers})


def _servers(host: Host) -> list[dict[str, Any]]:
    name = host.host.replace(".", "-")
    http: dict[str, Any] = {
        "port": {"number": 80, "name": f"http-{name}", "protocol": "HTTP"},
        "hosts": [host.host],
    }
    if host.plaintext:
        return [http]
    https = {
        "port": {"number": 443, "name": f"https-{name}", "protocol": "HTTPS"},
        "hosts": [host.host],
        "tls": {"mode": "SIMPLE", "credentialName": host.tls_secret, "minProtocolVersion": "TLSV1_2"},
    }
    return [{**http, "tls": {"httpsRedirect": True}}, https]
