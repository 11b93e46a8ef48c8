"""Kubernetes objects of a tenant. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

from components.objects import LABELS, make_pod_security
from components.tenancy.settings import Tenant
from inferstack.apimachinery.labels import APP_NAME, JOB, TENANT
from inferstack.apimachinery.objects import Object
from inferstack.mig import catalogue
from inferstack.mig.resources import mig_resource

ROLE = "inferstack-tenant"
"""ClusterRole that each tenant's groups are bound to in their namespace."""
EXCEPTION = "inferstack.dev/pod-security-exception"
"""Annotation of a tenant's namespace with privileged pods: the reason from the settings."""


class Peer(NamedTuple):
    """A peer outside a tenant that another role lets its pods communicate with."""

    name: str
    """Suffix of the NetworkPolicy's name, after ``allow-``."""
    direction: Literal["Ingress", "Egress"]
    """Whether the peer connects to the pods, or they to it."""
    namespace: str | None = None
    """Namespace of its pods; None without ``cidr`` means any peer."""
    cidr: str | None = None
    """CIDR of the peer."""
    ports: tuple[int, ...] = ()
    """TCP ports; empty for all."""


def make_tenant(
    name: str,
    tenant: Tenant,
    dns_pods: dict[str, str],
    exception: str | None = None,
    *,
    labels: Mapping[str, str] | None = None,
    peers: Sequence[Peer] = (),
) -> list[Object]:
    """Return all objects of a tenant, the namespace first.

    Args:
        name: name of the tenant and its namespace.
        tenant: the tenant's settings.
        dns_pods: labels of the DNS service's pods.
        exception: reason for privileged pods.
        labels: additional labels of the namespace.
        peers: peers that its NetworkPolicies allow.
    """
    objects = [
        make_namespace(name, tenant, exception, labels),
        make_limit_range(name, tenant),
        make_quota(name, tenant),
        *make_network_policies(name, dns_pods),
        *(make_peer_policy(name, peer) for peer in peers),
    ]
    if tenant.groups:
        objects.append(make_role_binding(name, tenant))
    return objects


def make_namespace(
    name: str, tenant: Tenant, exception: str | None = None, more: Mapping[str, str] | None = None
) -> Object:
    """Return the namespace, with the same level in all three modes of Pod Security, so that users are also warned."""
    labels = make_pod_security(tenant.pod_security, "enforce", "audit", "warn")
    meta: Object = {"name": name, "labels": {**LABELS, TENANT: name, **labels, **(more or {})}}
    if exception:
        meta["annotations"] = {EXCEPTION: exception}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": meta}


def make_limit_range(name: str, tenant: Tenant) -> Object:
    """Return the LimitRange, as a CPU quota rejects pods without requests."""
    container = tenant.container
    limit = {
        "type": "Container",
        "default": {"cpu": container.cpu_limit, "memory": container.memory_limit},
        "defaultRequest": {"cpu": container.cpu_request, "memory": container.memory_request},
    }
    return _object("v1", "LimitRange", name, "containers", spec={"limits": [limit]})


def make_quota(name: str, tenant: Tenant) -> Object:
    """Return the ResourceQuota; it lists forbidden MIG profiles with 0, as unlisted resources are unlimited."""
    resources = {profile: mig_resource(profile) for profile in catalogue.profile_names()}
    hard = {
        "requests.cpu": tenant.cpu,
        "requests.memory": tenant.memory,
        "pods": str(tenant.pods),
        # Not count/inferencejobs.deepseek.ai: the quota controller discovers new kinds every 30 s, and until then
        # the API server rejects every job of a namespace whose quota names one. Each job has one Deployment.
        "count/deployments.apps": str(tenant.jobs),
        "requests.nvidia.com/gpu": str(tenant.gpus),
        **{f"requests.{resource}": str(tenant.mig.get(profile, 0)) for profile, resource in resources.items()},
    }
    return _object("v1", "ResourceQuota", name, "tenant", spec={"hard": hard})


def make_network_policies(name: str, dns_pods: dict[str, str]) -> list[Object]:
    """Return the NetworkPolicies that allow only pods of the same namespace and DNS."""
    everyone: dict[str, Any] = {"podSelector": {}}
    dns = {
        "to": [{"namespaceSelector": {}, "podSelector": {"matchLabels": dns_pods}}],
        "ports": [{"protocol": "UDP", "port": 53}, {"protocol": "TCP", "port": 53}],
    }
    both = {"policyTypes": ["Ingress", "Egress"]}
    specs = {
        "default-deny": {**everyone, **both},
        "allow-same-namespace": {
            **everyone,
            **both,
            "ingress": [{"from": [everyone]}],
            "egress": [{"to": [everyone]}],
        },
        "allow-dns": {**everyone, "policyTypes": ["Egress"], "egress": [dns]},
    }
    return [_object("networking.k8s.io/v1", "NetworkPolicy", name, policy, spec=spec) for policy, spec in specs.items()]


def make_peer_policy(name: str, peer: Peer) -> Object:
    """Return the NetworkPolicy for a peer."""
    rule: dict[str, Any] = {}
    side = "from" if peer.direction == "Ingress" else "to"
    if peer.namespace:
        labels = {"kubernetes.io/metadata.name": peer.namespace}
        rule[side] = [{"namespaceSelector": {"matchLabels": labels}}]
    elif peer.cidr:
        rule[side] = [{"ipBlock": {"cidr": peer.cidr}}]
    if peer.ports:
        rule["ports"] = [{"protocol": "TCP", "port": port} for port in peer.ports]
    spec = {"podSelector": {}, "policyTypes": [peer.direction], peer.direction.lower(): [rule]}
    return _object("networking.k8s.io/v1", "NetworkPolicy", name, f"allow-{peer.name}", spec=spec)


def make_monitoring_policy(name: str, namespace: str) -> Object:
    """Return the NetworkPolicy that lets the Prometheus of ``namespace`` scrape inference pods."""
    prometheus = {
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
        "podSelector": {"matchLabels": {APP_NAME: "prometheus"}},
    }
    ports = [{"protocol": "TCP", "port": port} for port in ("http", "metrics")]
    spec = {
        "podSelector": {"matchExpressions": [{"key": JOB, "operator": "Exists"}]},
        "policyTypes": ["Ingress"],
        "ingress": [{"from": [prometheus], "ports": ports}],
    }
    return _object("networking.k8s.io/v1", "NetworkPolicy", name, "allow-monitoring", spec=spec)


def make_role_binding(name: str, tenant: Tenant) -> Object:
    """Return the RoleBinding of the tenant's groups."""
    return _object(
        "rbac.authorization.k8s.io/v1",
        "RoleBinding",
        name,
        "tenant",
        roleRef={"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": ROLE},
        subjects=[{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": group} for group in tenant.groups],
    )


def make_cluster_role() -> Object:
    """Return the ClusterRole of tenants: manage InferenceJobs, read everything else except Secrets."""
    read = ["get", "list", "watch"]
    rules = [
        {
            "apiGroups": ["deepseek.ai"],
            "resources": ["inferencejobs", "inferencejobs/scale"],
            "verbs": [*read, "create", "update", "patch", "delete"],
        },
        {
            "apiGroups": [""],
            "resources": ["pods", "pods/log", "services", "events", "configmaps", "resourcequotas", "limitranges"],
            "verbs": read,
        },
        {"apiGroups": ["apps"], "resources": ["deployments", "replicasets"], "verbs": read},
        {"apiGroups": ["autoscaling"], "resources": ["horizontalpodautoscalers"], "verbs": read},
        {"apiGroups": ["policy"], "resources": ["poddisruptionbudgets"], "verbs": read},
    ]
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": ROLE, "labels": LABELS},
        "rules": rules,
    }


def make_priority_class(name: str, value: int) -> Object:
    """Return a PriorityClass, never the global default."""
    return {
        "apiVersion": "scheduling.k8s.io/v1",
        "kind": "PriorityClass",
        "metadata": {"name": name, "labels": LABELS},
        "value": value,
        "globalDefault": False,
    }


def _object(api_version: str, kind: str, namespace: str, name: str, **rest: Any) -> Object:
    metadata = {"name": name, "namespace": namespace, "labels": LABELS}
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, **rest}
