"""The pod template of a replica, as pure functions."""

from __future__ import annotations

from inferstack.api import Cache, EnvVar, InferenceJobSpec, Placement, Prefer, Resources, constants
from inferstack.api.runtimes import Runtime
from inferstack.apimachinery.labels import JOB
from inferstack.apimachinery.objects import Object
from inferstack.mig.resources import GPU_RESOURCE

_USER = 1000
_PROBE_SECONDS = 10
_PULL = 100
"""The largest weight that a preference can have."""
# Server images expect to run as root; these variables redirect what they write to HOME into the cache volume.
_HOME = {"HOME": "/cache", "HF_HOME": "/cache/huggingface"}


def make_pod_spec(name: str, spec: InferenceJobSpec, runtime: Runtime, cache: Cache | None = None) -> Object:
    """Return the pod's spec, which meets the restricted Pod Security Standard.

    Args:
        name: of the job.
        spec: of the job.
        runtime: as chosen for it.
        cache: to mount; None for none.
    """
    volumes: list[Object] = [{"name": "cache", "emptyDir": {}}]
    if cache:
        # Fluid gives the claim of a Dataset its name.
        claim = {"claimName": cache.dataset, "readOnly": True}
        volumes.append({"name": "models", "persistentVolumeClaim": claim})
    if runtime.shared_memory:
        volumes.append({"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": runtime.shared_memory}})
    pod_spec: Object = {
        "automountServiceAccountToken": False,  # a model server does not use the API
        "enableServiceLinks": False,  # in a namespace with many Services they would fill the environment
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": _USER,
            "runAsGroup": _USER,
            "fsGroup": _USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        # GPU nodes are commonly tainted to keep off pods that request no GPU.
        "tolerations": [{"key": GPU_RESOURCE, "operator": "Exists", "effect": "NoSchedule"}],
        "topologySpreadConstraints": [_spread(name, key) for key in ("kubernetes.io/hostname", *_spread_over(spec))],
        "containers": [make_container(spec, runtime, cache)],
        "volumes": volumes,
    }
    if spec.priority_class_name:
        pod_spec["priorityClassName"] = spec.priority_class_name
    if spec.placement and spec.placement.prefer is Prefer.PACK:
        pod_spec["affinity"] = {"podAffinity": make_affinity(name, spec.placement)}
    return pod_spec


def make_affinity(name: str, placement: Placement) -> Object:
    """Return the affinity of a job's replicas to each other; each level has half the weight of the one before."""
    selector = {"matchLabels": {JOB: name}}
    terms = [
        {"weight": max(1, _PULL >> index), "podAffinityTerm": {"topologyKey": level, "labelSelector": selector}}
        for index, level in enumerate(placement.levels)
    ]
    return {"preferredDuringSchedulingIgnoredDuringExecution": terms}


def _spread_over(spec: InferenceJobSpec) -> tuple[str, ...]:
    return spec.placement.levels if spec.placement and spec.placement.prefer is Prefer.SPREAD else ()


def _spread(name: str, key: str) -> Object:
    return {
        "maxSkew": 1,
        "topologyKey": key,
        "whenUnsatisfiable": "ScheduleAnyway",  # a full node must not stop the job
        "labelSelector": {"matchLabels": {JOB: name}},
    }


def make_container(spec: InferenceJobSpec, runtime: Runtime, cache: Cache | None = None) -> Object:
    """Return the container; arguments: see `make_pod_spec`."""
    port = spec.port or runtime.port
    ports: list[Object] = [{"name": "http", "containerPort": port, "protocol": "TCP"}]
    if runtime.metrics_port:
        ports.append({"name": "metrics", "containerPort": runtime.metrics_port, "protocol": "TCP"})
    mounts: list[Object] = [{"name": "cache", "mountPath": "/cache"}]
    if cache:
        mounts.append({"name": "models", "mountPath": constants.CACHE_MOUNT, "readOnly": True})
    if runtime.shared_memory:
        mounts.append({"name": "shm", "mountPath": "/dev/shm"})  # noqa: S108  # the mount point's one name
    named = {variable.name for variable in spec.env}
    ready = {"httpGet": {"path": runtime.ready, "port": "http", "scheme": "HTTP"}, "timeoutSeconds": 5}
    alive = {"httpGet": {"path": runtime.health, "port": "http", "scheme": "HTTP"}, "timeoutSeconds": 5}
    return {
        "name": "server",
        "image": spec.image or runtime.image,
        "args": [*_arguments(spec, runtime, port, cache), *spec.args],
        "env": [
            *({"name": name, "value": value} for name, value in _HOME.items() if name not in named),
            *(_environment(variable) for variable in spec.env),
        ],
        "ports": ports,
        "resources": make_resources(spec.resources, runtime),
        # Loading may take long: the startup probe waits for it, and the other two begin afterwards.
        "startupProbe": {
            **ready,
            "periodSeconds": _PROBE_SECONDS,
            "failureThreshold": -(-runtime.start_seconds // _PROBE_SECONDS),
        },
        "readinessProbe": {**ready, "periodSeconds": 5, "failureThreshold": 3},
        "livenessProbe": {**alive, "periodSeconds": 10, "failureThreshold": 6},
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        "volumeMounts": mounts,
    }


def make_resources(resources: Resources, runtime: Runtime) -> Object:
    """Return the container's resources: the job's, completed by the runtime's defaults."""
    requests = {name: str(amount) for name, amount in resources.requests.items()}
    limits = {name: str(amount) for name, amount in resources.limits.items()}
    for name, amount in runtime.resources.items():
        # Kubernetes sets a missing request to the limit.
        if name not in requests and name not in limits:
            requests[name] = amount
    # Without a limit, a server can exhaust the node's memory, or gets a namespace's default, perhaps below its request.
    if "memory" in requests:
        limits.setdefault("memory", requests["memory"])
    return {"requests": requests, "limits": limits}


def _arguments(spec: InferenceJobSpec, runtime: Runtime, port: int, cache: Cache | None) -> list[str]:
    whole = spec.resources.gpu == GPU_RESOURCE
    values = {
        "model": spec.model,
        "source": (constants.CACHE_MOUNT + cache.path).rstrip("/") if cache else spec.model,
        "port": str(port),
        "gpus": str(spec.resources.gpus if whole else 1),
    }
    return [argument.format_map(values) for argument in (*runtime.args, *(runtime.cached if cache else ()))]


def _environment(variable: EnvVar) -> Object:
    if variable.secret_key_ref:
        reference = {"name": variable.secret_key_ref.name, "key": variable.secret_key_ref.key}
        return {"name": variable.name, "valueFrom": {"secretKeyRef": reference}}
    return {"name": variable.name, "value": variable.value}
