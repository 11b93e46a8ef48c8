"""Eviction of pods in an SR-IOV drain: pods with virtual functions, or all pods before a reboot."""

from __future__ import annotations

from collections.abc import Iterable

from inferstack.apimachinery.objects import Object
from inferstack.k8s import ApiError, KubeClient

_MIRROR = "kubernetes.io/config.mirror"
_TOO_MANY_REQUESTS = 429


async def pods_to_evict(kube: KubeClient, node: str, prefix: str, *, all_pods: bool) -> list[Object]:
    """Return the pods of a node to evict, including terminating ones.

    Args:
        kube: connected client.
        node: name of the node.
        prefix: prefix of the operator's resources.
        all_pods: whether the node reboots.
    """
    pods = (await kube.list("v1", "Pod", fields=f"spec.nodeName={node}"))["items"]
    return [pod for pod in pods if must_evict(pod, prefix, all_pods=all_pods)]


def must_evict(pod: Object, prefix: str, *, all_pods: bool) -> bool:
    """Return whether a drain evicts a pod; pods of DaemonSets and static pods stay."""
    meta = pod["metadata"]
    is_daemon = any(owner["kind"] == "DaemonSet" for owner in meta.get("ownerReferences") or ())
    if is_daemon or _MIRROR in (meta.get("annotations") or {}):
        return False
    return all_pods or any(
        resource.startswith(prefix)
        for container in pod["spec"]["containers"]
        for resource in (container.get("resources") or {}).get("requests") or ()
    )


async def evict(kube: KubeClient, pods: Iterable[Object]) -> None:
    """Evict pods; the caller retries evictions that a PodDisruptionBudget refuses."""
    for pod in pods:
        meta = pod["metadata"]
        if meta.get("deletionTimestamp"):
            continue
        body = {
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"name": meta["name"], "namespace": meta["namespace"]},
        }
        path = f"/api/v1/namespaces/{meta['namespace']}/pods/{meta['name']}/eviction"
        try:
            await kube.request("POST", path, body=body)
        except ApiError as error:
            if not error.not_found and error.code != _TOO_MANY_REQUESTS:
                raise
