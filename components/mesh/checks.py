"""Checks of the mesh role's settings, against each other and against other roles, before anything is registered."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from components.mesh import proxies
from components.mesh.objects import Job
from components.mesh.settings import Host, MeshSettings, MtlsMode
from components.settings import PROJECT, key_path
from components.tenancy.settings import Tenant
from inferstack.errors import UserError, hint

_KEY = f"{PROJECT}:mesh"
_ISTIOS_PORTS = range(15000, 15100)
"""Ports of the proxies themselves; their traffic does not pass through the proxy."""


def check_mesh(
    settings: MeshSettings, tenants: Mapping[str, Tenant], jobs: Sequence[Job], *, version: str | None = None
) -> None:
    """Check the role's settings against the rest of the stack.

    Args:
        settings: the role's settings.
        tenants: the stack's tenants, by name.
        jobs: the stack's InferenceJobs.
        version: of Istio; default: the pinned one.

    Raises:
        UserError: one line for each invalid key.
    """
    if settings.enabled:
        problems = [
            *_data_plane(settings, tenants),
            *_exceptions(settings, tenants),
            *_gateway(settings),
            *_hosts(settings, jobs),
            *_peak_ewma(settings, version or proxies.pinned_version()),
            *_ejection(settings),
            *_failover(settings),
        ]
    else:
        problems = list(_off(settings))
    if problems:
        raise UserError("\n".join(problems))


def _off(settings: MeshSettings) -> Iterator[str]:
    given = {"hosts": settings.hosts, "failover": settings.failover, "mtls.exceptions": settings.mtls.exceptions}
    for key, value in given.items():
        if value:
            yield f"{_KEY}.{key}: has no effect without the mesh; remove the key, or set {_KEY}.enabled to true."


def _data_plane(settings: MeshSettings, tenants: Mapping[str, Tenant]) -> Iterator[str]:
    if settings.ambient:
        if not settings.cni.enabled:
            yield f"{_KEY}.cni.enabled: ambient requires the node agent; set it to true."
        if settings.by_failures:
            yield (
                f"{_KEY}.ejection.failurePercentage.enabled: is an EnvoyFilter, and the ztunnel of "
                f"{_KEY}.dataPlane ambient is not Envoy: it would apply only at the gateway; "
                "set it to false, or use sidecar."
            )
        return
    if settings.cni.enabled:
        return
    for name, tenant in tenants.items():
        if tenant.pod_security != "privileged":
            yield (
                f"{_KEY}.cni.enabled: without the node agent each pod needs an init container with NET_ADMIN, which "
                f"{key_path(f'{PROJECT}:tenancy', ('tenants', name, 'podSecurity'))} {tenant.pod_security} refuses; "
                "set it to true."
            )


def _exceptions(settings: MeshSettings, tenants: Mapping[str, Tenant]) -> Iterator[str]:
    labels: dict[str, dict[str, str]] = {}
    first_index: dict[tuple[str, int], int] = {}
    for index, entry in enumerate(settings.mtls.exceptions):
        key = f"{_KEY}.mtls.exceptions[{index}]"
        if settings.mtls.mode is not MtlsMode.STRICT:
            yield f"{key}: with {_KEY}.mtls.mode {settings.mtls.mode} every port accepts plain text; remove it."
        if entry.tenant not in tenants:
            yield f"{key}.tenant: there is no such tenant; {hint(entry.tenant, tenants)}"
        if entry.port in _ISTIOS_PORTS:
            yield f"{key}.port: {entry.port} is a port of the proxy itself, which needs no exception; remove it."
        if (earlier := first_index.setdefault((entry.tenant, entry.port), index)) != index:
            yield f"{key}.port: {entry.port} of {entry.tenant} is also {_KEY}.mtls.exceptions[{earlier}]; remove one."
        if labels.setdefault(entry.tenant, entry.labels) != entry.labels:
            yield (
                f"{key}.labels: only the oldest PeerAuthentication applies to a pod; give all exceptions of "
                f"{entry.tenant} the same labels."
            )
        if settings.ambient and entry.paths:
            yield f"{key}.paths: ztunnel does not see HTTP paths; remove the key to open the whole port."


def _gateway(settings: MeshSettings) -> Iterator[str]:
    gateway = settings.gateway
    if gateway.max_replicas < gateway.min_replicas:
        yield f"{_KEY}.gateway.maxReplicas: {gateway.max_replicas} is less than minReplicas, {gateway.min_replicas}."
    if gateway.cross_network and not gateway.enabled:
        yield f"{_KEY}.gateway.crossNetwork: requires the gateway; set {_KEY}.gateway.enabled to true."
    if gateway.cross_network and settings.mtls.mode is not MtlsMode.STRICT:
        yield (
            f"{_KEY}.gateway.crossNetwork: identifies the job by the SNI of mutual TLS, which {_KEY}.mtls.mode "
            f"{settings.mtls.mode} does not require; use STRICT."
        )
    limit = settings.traffic.timeout_seconds
    if gateway.enabled and limit and gateway.drain_seconds < limit:
        yield (
            f"{_KEY}.gateway.drainSeconds: a response may take {limit} s ({_KEY}.traffic.timeoutSeconds), and each new "
            f"version of the gateway would abort responses of more than {gateway.drain_seconds} s; use {limit}."
        )


def _hosts(settings: MeshSettings, jobs: Sequence[Job]) -> Iterator[str]:
    names = [f"{namespace}/{name}" for namespace, name in jobs]
    first_index: dict[str, int] = {}
    for index, host in enumerate(settings.hosts):
        key = f"{_KEY}.hosts[{index}]"
        if not settings.gateway.enabled:
            yield f"{key}: requires the gateway; set {_KEY}.gateway.enabled to true."
        if host.job not in names:
            yield f'{key}.job: the stack has no job "{host.job}"; {hint(host.job, names) if names else "it has none."}'
        if (earlier := first_index.setdefault(host.host, index)) != index:
            yield f"{key}.host: {host.host} is also {_KEY}.hosts[{earlier}]; remove one."
        yield from _tls(key, host)


def _tls(key: str, host: Host) -> Iterator[str]:
    if host.plaintext and host.tls_secret:
        yield f"{key}.plaintext: {host.host} has a certificate ({key}.tlsSecret); remove one of the two keys."
    if not host.plaintext and not host.tls_secret:
        yield (
            f"{key}.tlsSecret: is required: requests would cross the network in plain text; name a Secret, or "
            f"set {key}.plaintext to true if a load balancer in front of the gateway terminates TLS."
        )


def _peak_ewma(settings: MeshSettings, version: str) -> Iterator[str]:
    if not settings.peak_ewma:
        return
    key = f"{_KEY}.traffic.loadBalancing"
    if not proxies.has_peak_ewma(version):
        yield (
            f"{key}: the proxy of Istio {version} is not known to have PEAK_EWMA (known: {proxies.PEAK_EWMA.pattern}); "
            f"use LEAST_REQUEST, with {_KEY}.traffic.warmupSeconds for new replicas."
        )
    if settings.ambient:
        yield f"{key}: PEAK_EWMA requires sidecars, and {_KEY}.dataPlane is ambient; use LEAST_REQUEST."
    if settings.failover:
        yield (
            f"{key}: Envoy refuses PEAK_EWMA together with priorities of localities ({_KEY}.failover); "
            "use LEAST_REQUEST, or remove failover."
        )
    if settings.traffic.warmup_seconds:
        yield f"{_KEY}.traffic.warmupSeconds: is not used by PEAK_EWMA; set it to null."
    if not settings.ejection.enabled:
        yield (
            f"{key}: a replica that fails at once is the fastest, and PEAK_EWMA would send it everything; "
            f"set {_KEY}.ejection.enabled to true, or use LEAST_REQUEST."
        )


def _ejection(settings: MeshSettings) -> Iterator[str]:
    if not settings.by_failures:
        return
    share = settings.ejection.failure_percentage
    # Envoy ejects at the threshold, so the share of a single failure must be below it.
    least = 100 // share.threshold + 1
    if share.request_volume < least:
        yield (
            f"{_KEY}.ejection.failurePercentage.requestVolume: of {share.request_volume} requests a single failure is "
            f"{share.threshold}% or more, so each failure would eject a replica; use {least} or more."
        )


def _failover(settings: MeshSettings) -> Iterator[str]:
    regions = {standby.region: name for name, standby in settings.standbys.items()}
    first_index: dict[str, int] = {}
    for index, step in enumerate(settings.failover):
        key = f"{_KEY}.failover[{index}]"
        if step.from_ == step.to:
            yield f"{key}.to: {step.to} is the same region as from; use another."
        elif step.to not in regions:
            there = hint(step.to, regions) if regions else "there is none."
            yield f"{key}.to: no standby of {_KEY}.standbys is in {step.to}; {there}"
        if (earlier := first_index.setdefault(step.from_, index)) != index:
            yield f"{key}.from: {step.from_} is also {_KEY}.failover[{earlier}]; Istio supports one target per region."
    if settings.failover:
        if not settings.ejection.enabled:
            yield (
                f"{_KEY}.failover: requests move when replicas are ejected, and {_KEY}.ejection.enabled is false; "
                "set it to true."
            )
        if settings.ambient:
            yield f"{_KEY}.failover: ztunnel ejects nothing, and {_KEY}.dataPlane is ambient; use sidecar."
        if settings.mtls.mode is not MtlsMode.STRICT:
            yield (
                f"{_KEY}.failover: standbys are reached by the name in mutual TLS, which {_KEY}.mtls.mode "
                f"{settings.mtls.mode} does not require; use STRICT."
            )
    for name, standby in settings.standbys.items():
        if standby.region not in {step.to for step in settings.failover}:
            yield f"{_KEY}.standbys.{name}: no failover to {standby.region}; add it to {_KEY}.failover."
