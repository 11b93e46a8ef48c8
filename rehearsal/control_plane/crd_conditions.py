"""CustomResourceDefinitions that an API server left unestablished when it ended.

The API server sets the condition Established from a queue, to which it adds a definition when the definition changes
(``updateCustomResourceDefinition`` in ``pkg/apiserver/customresource_handler.go`` of k8s.io/apiextensions-apiserver).
If the server ends just after it accepted the names, the next server adds the definition only at its informer's resync,
up to five minutes later. Clients that wait for the kind wait as long.
"""

from __future__ import annotations

import asyncio
from typing import Any

from inferstack.k8s import ApiError, KubeClient, conditions
from rehearsal.control_plane.model import PlaneConfig

_API = "apiextensions.k8s.io/v1"
_KIND = "CustomResourceDefinition"


def requeue_unestablished(config: PlaneConfig) -> None:
    """Change the status of unestablished definitions, so that the API server adds them to its queue."""

    async def run() -> None:
        async with await KubeClient.connect(config.state / "kubeconfig") as kube:
            for definition in (await kube.list(_API, _KIND))["items"]:
                if is_unestablished(definition):
                    await _touch(kube, definition)

    asyncio.run(run())


def is_unestablished(definition: dict[str, Any]) -> bool:
    """Return whether a definition's names are accepted but the kind is not served."""
    accepted, established = (conditions.condition_status(definition, kind) for kind in ("NamesAccepted", "Established"))
    return accepted == "True" and established != "True"


async def _touch(kube: KubeClient, definition: dict[str, Any]) -> None:
    meta = definition["metadata"]
    kept = [condition for condition in definition["status"]["conditions"] if condition["type"] != "Established"]
    # With the resourceVersion: a concurrent change has queued the definition, and the conflict is ignored below.
    body = {"metadata": {"resourceVersion": meta["resourceVersion"]}, "status": {"conditions": kept}}
    try:
        await kube.patch(_API, _KIND, meta["name"], body, subresource="status", field_manager="inferstack-rehearsal")
    except ApiError as error:
        if not (error.conflict or error.not_found):
            raise
