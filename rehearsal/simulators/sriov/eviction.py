"""Pods that a drain for SR-IOV moves away: those with virtual functions, and all before a reboot."""

from __future__ import annotations

from collections.abc import Iterable

from inferstack.apimachinery.objects import Object
from inferstack.k8s import ApiError, KubeClient

_MIRROR = "kubernetes.io/config.mirror"
_TOO_MANY_REQUESTS = 429


async def leaving(kube: KubeClient, node: str, prefix: str, *, everything: bool) -> list[Object]:
    """Return the pods that must leave a node, those on their way out included.

    Args:
        kube: connected client.
        node: its name.
        prefix: domain of the operator's resources.
        everything: whether the node is to reboot.
    """
    pods = (await kube.list("v1", "Pod", fields=f"spec.nodeName={node}"))["items"]
    return [pod for pod in pods if must_leave(pod, prefix, everything=everything)]


def must_leave(pod: Object, prefix: str, *, everything: bool) -> bool:
    """Tell whether a drain moves a pod: not those of DaemonSets, which come back at once, nor static ones."""
    meta = pod["metadata"]
    stays = any(owner["kind"] == "DaemonSet" for owner in meta.get("ownerReferences") or ())
    if stays or _MIRROR in (meta.get("annotations") or {}):
        return False
    return everything or any(
        resource.startswith(prefix)
        for container in pod["spec"]["containers"]
        for resource in (container.get("resources") or {}).get("requests") or ()
    )


async def evict(kube: KubeClient, pods: Iterable[Object]) -> None:
    """Ask for the eviction of pods; what a PodDisruptionBudget keeps is asked for again by the caller."""
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
