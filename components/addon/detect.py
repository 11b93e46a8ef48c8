"""Detection of add-ons that an existing cluster already runs."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor

from components.addon.catalogue import AddonName, load
from components.cluster.access import Access
from inferstack.apimachinery.labels import ADDON
from inferstack.errors import UserError
from inferstack.k8s import KubeClient, KubeconfigError
from inferstack.k8s.informer import REQUEST_ERRORS

_SECONDS = 20.0
"""Timeout of all look-ups together."""


def find_present(access: Access, addons: Collection[AddonName]) -> frozenset[AddonName]:
    """Return the add-ons that are installed in the cluster but not by this program.

    Raises:
        UserError: the cluster is unreachable.
    """
    # The program already runs in an event loop; a second loop needs another thread.
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(lambda: asyncio.run(_look(access, addons))).result()


async def _look(access: Access, addons: Collection[AddonName]) -> frozenset[AddonName]:
    facts = load()
    try:
        async with (
            asyncio.timeout(_SECONDS),
            await KubeClient.connect(access.kubeconfig, context=access.context) as kube,
        ):
            markers = (await kube.list("v1", "ConfigMap", labels=ADDON))["items"]
            managed = {marker["metadata"]["labels"][ADDON] for marker in markers}

            async def is_there(addon: AddonName) -> bool:
                exists = [
                    await kube.find(sign["apiVersion"], sign["kind"], meta["name"], meta.get("namespace"))
                    for sign in facts[addon].signs
                    for meta in [sign["metadata"]]
                ]
                return all(exists)

            asked = [addon for addon in addons if addon not in managed]
            there = await asyncio.gather(*map(is_there, asked))
    except (KubeconfigError, *REQUEST_ERRORS) as error:
        raise UserError(
            f"Cannot detect add-ons in {access.server} (context {access.context}): "
            f"{str(error) or 'timeout'}. Fix the access, or set inferstack:addon.modes."
        ) from error
    return frozenset(addon for addon, present in zip(asked, there, strict=True) if present)
