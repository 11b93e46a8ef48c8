"""Objects of the apply benchmark: typical objects of a platform for many teams."""

from __future__ import annotations

from typing import Any

from inferstack.apimachinery.objects import Object


def make_objects(count: int, prefix: str) -> list[Object]:
    """Return a namespace and ``count - 1`` objects of ten kinds in it; ``count`` is at least 10.

    Deployments have no replicas, so that no tool waits for pods: the benchmark measures only the API requests.
    """
    namespace: Object = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": prefix}}
    makers = (
        _config_map,
        _secret,
        _service_account,
        _service,
        _deployment,
        _role,
        _role_binding,
        _network_policy,
        _limit_range,
        _budget,
    )
    objects = [makers[i % len(makers)](f"o{i:04d}", prefix) for i in range(count - 1)]
    return [namespace, *objects]


def _object(api_version: str, kind: str, name: str, namespace: str, **rest: Any) -> Object:
    labels = {"app.kubernetes.io/name": name, "app.kubernetes.io/part-of": "benchmark"}
    metadata = {"name": name, "namespace": namespace, "labels": labels}
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, **rest}


def _config_map(name: str, namespace: str) -> Object:
    data = {f"key-{i}": f"value-{i}" for i in range(10)}
    return _object("v1", "ConfigMap", name, namespace, data=data)


def _secret(name: str, namespace: str) -> Object:
    return _object("v1", "Secret", name, namespace, type="Opaque", data={"token": "Zm9vYmFy"})


def _service_account(name: str, namespace: str) -> Object:
    return _object("v1", "ServiceAccount", name, namespace, automountServiceAccountToken=False)


def _service(name: str, namespace: str) -> Object:
    # Without a selector, no tool waits for endpoints.
    spec = {"ports": [{"name": "http", "port": 80, "targetPort": 8080, "protocol": "TCP"}]}
    return _object("v1", "Service", name, namespace, spec=spec)


def _deployment(name: str, namespace: str) -> Object:
    labels = {"app": name}
    container = {
        "name": "server",
        "image": "registry.invalid/server:1",
        "ports": [{"containerPort": 8080, "protocol": "TCP"}],
        "resources": {"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"memory": "1Gi"}},
    }
    spec = {
        "replicas": 0,
        "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
    }
    return _object("apps/v1", "Deployment", name, namespace, spec=spec)


def _role(name: str, namespace: str) -> Object:
    rules = [{"apiGroups": [""], "resources": ["pods", "services"], "verbs": ["get", "list", "watch"]}]
    return _object("rbac.authorization.k8s.io/v1", "Role", name, namespace, rules=rules)


def _role_binding(name: str, namespace: str) -> Object:
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"}
    subjects = [{"kind": "ServiceAccount", "name": "default", "namespace": namespace}]
    return _object("rbac.authorization.k8s.io/v1", "RoleBinding", name, namespace, roleRef=reference, subjects=subjects)


def _network_policy(name: str, namespace: str) -> Object:
    spec = {"podSelector": {"matchLabels": {"app": name}}, "policyTypes": ["Ingress"]}
    return _object("networking.k8s.io/v1", "NetworkPolicy", name, namespace, spec=spec)


def _limit_range(name: str, namespace: str) -> Object:
    limit = {"type": "Container", "defaultRequest": {"cpu": "100m", "memory": "64Mi"}}
    return _object("v1", "LimitRange", name, namespace, spec={"limits": [limit]})


def _budget(name: str, namespace: str) -> Object:
    spec = {"maxUnavailable": 1, "selector": {"matchLabels": {"app": name}}}
    return _object("policy/v1", "PodDisruptionBudget", name, namespace, spec=spec)
