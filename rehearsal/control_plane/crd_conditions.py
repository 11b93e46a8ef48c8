"""Kinds that an API server left half installed when it died.

A CustomResourceDefinition becomes Established by a queue that the API server fills as a definition changes
(``updateCustomResourceDefinition`` in ``pkg/apiserver/customresource_handler.go`` of k8s.io/apiextensions-apiserver).
One whose names were accepted just before the server died is not queued by the next server until its informer tells of
all objects again, which is every five minutes: who waits for the kind waits as long.
"""

from __future__ import annotations

import asyncio
from typing import Any

from inferstack.k8s import ApiError, KubeClient, conditions
from rehearsal.control_plane.model import PlaneConfig

_API = "apiextensions.k8s.io/v1"
_KIND = "CustomResourceDefinition"


def finish_kinds(config: PlaneConfig) -> None:
    """Have the API server finish the kinds that it left half installed: a change of their status queues them."""

    async def run() -> None:
        async with await KubeClient.connect(config.state / "kubeconfig") as kube:
            for found in (await kube.list(_API, _KIND))["items"]:
                if is_half_installed(found):
                    await _touch(kube, found)

    asyncio.run(run())


def is_half_installed(definition: dict[str, Any]) -> bool:
    """Tell whether a kind has its names and is not served."""
    said = [conditions.condition_status(definition, kind) for kind in ("NamesAccepted", "Established")]
    return said[0] == "True" and said[1] != "True"


async def _touch(kube: KubeClient, definition: dict[str, Any]) -> None:
    meta = definition["metadata"]
    kept = [one for one in definition["status"]["conditions"] if one["type"] != "Established"]
    # With its version: who changes it meanwhile has queued it.
    body = {"metadata": {"resourceVersion": meta["resourceVersion"]}, "status": {"conditions": kept}}
    try:
        await kube.patch(_API, _KIND, meta["name"], body, subresource="status", field_manager="inferstack-rehearsal")
    except ApiError as error:
        if not (error.conflict or error.not_found):
            raise
