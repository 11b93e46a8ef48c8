"""The table of roles: the objects of each in the cluster, compared with the stack's state."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from inferstack.apimachinery.labels import ADDON
from inferstack.apimachinery.objects import Object
from inferstack.cli.cluster import connected
from inferstack.k8s import KubeClient

Identity = tuple[str, str, str, str]
"""apiVersion, kind, namespace (empty for none), name."""

_RELEASE = "kubernetes:helm.sh/v3:Release"


def role_of(urn: str) -> str | None:
    """Return the role that a resource belongs to: the outermost component below the platform."""
    chain = urn.split("::")[2].split("$")
    roles = [kind.split(":")[1] for kind in chain if kind.startswith("inferstack:")]
    return next((role for role in roles if role != "platform"), None)


def identity_of(inputs: Mapping[str, Any]) -> Identity:
    """Return the identity of an object."""
    meta = inputs["metadata"]
    return inputs["apiVersion"], inputs["kind"], meta.get("namespace") or "", meta["name"]


def make_rows(
    resources: Iterable[Object], existing: Collection[Identity], markers: Mapping[str, Mapping[str, str]]
) -> list[dict[str, Any]]:
    """Return a row for each role: its add-ons, its existing objects of all that it manages, and the missing ones.

    Args:
        resources: the resources of the stack's state, in its order.
        existing: objects that the API server holds.
        markers: mode and version of each add-on, from its marker.
    """
    rows: dict[str, dict[str, Any]] = {}
    for resource in resources:
        role = role_of(resource["urn"])
        if role is None:
            continue
        row = rows.setdefault(role, {"role": role, "addons": [], "total": 0, "existing": 0, "missing": []})
        if resource["type"] == "inferstack:addon:Addon":
            name = resource["urn"].rpartition("::")[2]
            marker = markers.get(name)
            row["addons"].append(f"{name} {marker['version']} ({marker['mode']})" if marker else f"{name} (present)")
        elif _is_object(resource):
            identity = identity_of(resource["inputs"])
            row["total"] += 1
            row["existing"] += identity in existing
            if identity not in existing:
                row["missing"].append(f"{identity[1]} {'/'.join(part for part in identity[2:] if part)}")
    return [_shown(row) for row in rows.values() if row["total"] or row["addons"]]


def objects_of(resources: Iterable[Object]) -> list[Object]:
    """Return the inputs of the Kubernetes objects in a state, including those that are only read."""
    return [resource["inputs"] for resource in resources if _is_object(resource)]


async def read(
    kubeconfig: Path | None, context: str | None, resources: list[Object]
) -> tuple[set[Identity], dict[str, dict[str, str]]]:
    """Return the state's objects that the API server holds, and the data of the add-ons' markers."""
    async with connected(kubeconfig, context) as kube:
        identities = await asyncio.gather(*(_find(kube, inputs) for inputs in objects_of(resources)))
        markers = (await kube.list("v1", "ConfigMap", labels=ADDON))["items"]
    data = {marker["metadata"]["labels"][ADDON]: marker["data"] for marker in markers}
    return {identity for identity in identities if identity}, data


async def _find(kube: KubeClient, inputs: Object) -> Identity | None:
    version, kind, namespace, name = identity = identity_of(inputs)
    return identity if await kube.find(version, kind, name, namespace or None) else None


def _is_object(resource: Object) -> bool:
    kind = resource["type"]
    return kind.startswith("kubernetes:") and kind != _RELEASE and "kind" in resource.get("inputs", {})


def _shown(row: Mapping[str, Any]) -> dict[str, Any]:
    missing: list[str] = row["missing"]
    more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
    return {
        "role": row["role"],
        "ready": f"{row['existing']}/{row['total']}",
        "add-ons": ", ".join(row["addons"]),
        "message": f"not there: {', '.join(missing[:3])}{more}" if missing else "",
    }
