"""Kinds that a test brings to the shared control plane, and takes away again: other tests look what is there."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator, Sequence

from components.addon.catalogue import AddonName, load
from components.addon.plan import rehearsed_crds
from inferstack.apimachinery.objects import Object
from inferstack.k8s import KubeClient
from rehearsal.control_plane import Rehearsal

_CRD = ("apiextensions.k8s.io/v1", "CustomResourceDefinition")


def crds_of(*addons: AddonName) -> list[Object]:
    """Return the CRDs of add-ons, as a stack of the rehearsal brings them."""
    return [crd for addon in addons for crd in rehearsed_crds(addon, load()[addon])]


@contextlib.contextmanager
def served(plane: Rehearsal, crds: Sequence[Object]) -> Iterator[None]:
    """Serve kinds for as long as the context lasts."""
    asyncio.run(_install(plane, crds))
    try:
        yield
    finally:
        asyncio.run(_remove(plane, crds))


async def _install(plane: Rehearsal, crds: Sequence[Object]) -> None:
    async with await KubeClient.connect(plane.kubeconfig) as kube:
        for crd in crds:
            await kube.apply(crd, field_manager="test")
        async with asyncio.timeout(120):
            for crd in crds:
                while not await _established(kube, crd["metadata"]["name"]):  # noqa: ASYNC110
                    await asyncio.sleep(0.05)


async def _remove(plane: Rehearsal, crds: Sequence[Object]) -> None:
    """Delete the kinds and wait until they are gone: whatever is left of them goes first."""
    async with await KubeClient.connect(plane.kubeconfig) as kube:
        for crd in crds:
            await kube.delete(*_CRD, crd["metadata"]["name"])
        async with asyncio.timeout(180):
            for crd in crds:
                while await kube.find(*_CRD, crd["metadata"]["name"]):  # noqa: ASYNC110
                    await asyncio.sleep(0.1)


async def _established(kube: KubeClient, name: str) -> bool:
    crd = await kube.find(*_CRD, name)
    conditions = ((crd or {}).get("status") or {}).get("conditions") or []
    return any(condition["type"] == "Established" and condition["status"] == "True" for condition in conditions)
