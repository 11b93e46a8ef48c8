"""The extended resources of a pod, counted as kube-scheduler counts them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from inferstack.apimachinery.quantity import parse_count
from inferstack.mig.errors import LayoutError
from inferstack.mig.resources import is_gpu


def count_resources(owner: str, resources: Mapping[str, Any], counts: Callable[[str], bool] = is_gpu) -> Counter[str]:
    """Return the whole numbers of a resource list, such as ``status.allocatable`` of a Node.

    Args:
        owner: the object, for error messages.
        resources: quantities by resource.
        counts: returns whether a resource counts; by default GPUs and MIG profiles.

    Raises:
        LayoutError: the quantity of a resource is not a whole number.
    """
    counted: Counter[str] = Counter()
    for resource, quantity in resources.items():
        if counts(resource):
            try:
                counted[resource] = parse_count(quantity)
            except ValueError as error:
                raise LayoutError(f"{owner}: {resource}: {error}") from None
    return counted


def pod_requests(pod: Mapping[str, Any], counts: Callable[[str], bool] = is_gpu) -> Counter[str]:
    """Return what a pod requests of extended resources, by resource, zeros left out.

    The formula is that of ``PodRequests`` (kubernetes/component-helpers ``resource/helpers.go``), which kube-scheduler
    and kubelet use::

        max(sum of the containers and sidecars,
            for each init container: its own + sum of the sidecars before it) + overhead

    A sidecar is an init container with ``restartPolicy: Always``. It starts in the order of the init containers and
    keeps running, so it counts toward the init containers after it. Pod-level resources are left out: they do not cover
    extended resources.

    Args:
        pod: the pod as the API server returns it. A request that is left out is the limit, as the API server defaults
            it.
        counts: returns whether a resource counts; by default GPUs and MIG profiles.

    Raises:
        LayoutError: the quantity of a resource is not a whole number.
    """
    name = f"{pod['metadata'].get('namespace', '')}/{pod['metadata']['name']}"
    spec = pod.get("spec") or {}
    running: Counter[str] = Counter()
    for container in spec.get("containers") or []:
        running += _requests(name, container, counts)
    sidecars: Counter[str] = Counter()
    initializing: Counter[str] = Counter()
    for container in spec.get("initContainers") or []:
        requests = _requests(name, container, counts)
        if container.get("restartPolicy") == "Always":
            running += requests
            sidecars += requests
            initializing |= sidecars
        else:
            initializing |= sidecars + requests
    return (running | initializing) + count_resources(name, spec.get("overhead") or {}, counts)


def _requests(name: str, container: Mapping[str, Any], counts: Callable[[str], bool]) -> Counter[str]:
    resources = container.get("resources") or {}
    return count_resources(name, {**(resources.get("limits") or {}), **(resources.get("requests") or {})}, counts)
