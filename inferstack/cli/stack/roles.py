"""The table of roles: what each has in the cluster, against what the stack's state says."""

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
    """Return the role whose component a resource lies below, the outermost but the platform itself."""
    chain = urn.split("::")[2].split("$")
    roles = [kind.split(":")[1] for kind in chain if kind.startswith("inferstack:")]
    return next((role for role in roles if role != "platform"), None)


def identity_of(inputs: Mapping[str, Any]) -> Identity:
    """Return what names an object."""
    meta = inputs["metadata"]
    return inputs["apiVersion"], inputs["kind"], meta.get("namespace") or "", meta["name"]


def make_rows(
    resources: Iterable[Object], there: Collection[Identity], markers: Mapping[str, Mapping[str, str]]
) -> list[dict[str, Any]]:
    """Return a row for each role: its add-ons, its objects that are there of those that it made, and what lacks.

    Args:
        resources: of the stack's state, in its order.
        there: objects that the API server holds.
        markers: by add-on, what its marker tells: mode and version.
    """
    rows: dict[str, dict[str, Any]] = {}
    for resource in resources:
        role = role_of(resource["urn"])
        if role is None:
            continue
        row = rows.setdefault(role, {"role": role, "addons": [], "made": 0, "there": 0, "missing": []})
        if resource["type"] == "inferstack:addon:Addon":
            name = resource["urn"].rpartition("::")[2]
            told = markers.get(name)
            row["addons"].append(f"{name} {told['version']} ({told['mode']})" if told else f"{name} (present)")
        elif _is_object(resource):
            identity = identity_of(resource["inputs"])
            row["made"] += 1
            row["there"] += identity in there
            if identity not in there:
                row["missing"].append(f"{identity[1]} {'/'.join(part for part in identity[2:] if part)}")
    return [_shown(row) for row in rows.values() if row["made"] or row["addons"]]


def objects_of(resources: Iterable[Object]) -> list[Object]:
    """Return the inputs of the Kubernetes objects among a state's resources, those that are only read included."""
    return [resource["inputs"] for resource in resources if _is_object(resource)]


async def read(
    kubeconfig: Path | None, context: str | None, resources: list[Object]
) -> tuple[set[Identity], dict[str, dict[str, str]]]:
    """Return which of the state's objects the API server holds, and what the markers of the add-ons tell."""
    async with connected(kubeconfig, context) as kube:
        found = await asyncio.gather(*(_find(kube, inputs) for inputs in objects_of(resources)))
        markers = (await kube.list("v1", "ConfigMap", labels=ADDON))["items"]
    told = {marker["metadata"]["labels"][ADDON]: marker["data"] for marker in markers}
    return {identity for identity in found if identity}, told


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
        "ready": f"{row['there']}/{row['made']}",
        "add-ons": ", ".join(row["addons"]),
        "message": f"not there: {', '.join(missing[:3])}{more}" if missing else "",
    }
