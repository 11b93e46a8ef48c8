"""Which add-ons somebody else has installed in a cluster that is there."""

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
"""A cluster that takes longer for a dozen look-ups does not answer."""


def find_present(access: Access, addons: Collection[AddonName]) -> frozenset[AddonName]:
    """Return those of the add-ons that are in the cluster and not of this program's making.

    Raises:
        UserError: the cluster does not answer.
    """
    # The program itself runs in an event loop: this one needs a thread of its own.
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
            f"What is installed in {access.server} (context {access.context}) cannot be looked up: "
            f"{str(error) or 'no answer'}. Mend the access, or say it with inferstack:addon.modes."
        ) from error
    return frozenset(addon for addon, found in zip(asked, there, strict=True) if found)
