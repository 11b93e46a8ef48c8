"""``inferstack orphans``: objects and cloud resources of this program that no state contains."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import typer

from components.addon.catalogue import load as load_facts
from components.objects import LABELS
from inferstack import aws
from inferstack.apimachinery.labels import ADDON, JOB
from inferstack.apimachinery.objects import Object
from inferstack.cli import output
from inferstack.cli.cluster import connected
from inferstack.cli.options import StackOption
from inferstack.cli.output import Format, FormatOption
from inferstack.cli.stack.access import kubeconfig_of, region_of
from inferstack.cli.stack.session import Session
from inferstack.errors import UserError
from inferstack.k8s.inventory import walk

Identity = tuple[str, str, str]
"""Kind, namespace (empty for none), name."""
_RELEASE, _RELEASE_NAMESPACE = "meta.helm.sh/release-name", "meta.helm.sh/release-namespace"


@dataclass(frozen=True)
class Orphan:
    """An object or resource that nothing would remove."""

    kind: str
    namespace: str
    name: str
    why: str


def orphans(stack: StackOption = "local", form: FormatOption = Format.TABLE) -> None:
    """Show objects that a stack left behind.

    Finds them by label and, on AWS, by tag. Exits with status 1 if there are any.
    """
    session = Session(stack, output.say)
    exists = session.exists()
    owned, releases = (session.objects(), session.releases()) if exists else ([], set())
    result: list[Orphan] = []
    if region := region_of(session):
        output.say(f"searching tagged resources in {region}")
        names = session.cloud_names() if exists else set()
        result += [
            Orphan(leftover.kind, region, leftover.name, leftover.why)
            for leftover in aws.leftovers.find(region, stack)
            if not is_known(leftover.name, names)
        ]
    try:
        result += asyncio.run(_search(session, owned, releases))
    except UserError as error:
        if not region:
            raise
        # The cluster of a destroyed stack on AWS is gone, and its objects with it.
        output.say(f"no cluster to search: {error}")
    result.sort(key=lambda orphan: (orphan.kind, orphan.namespace, orphan.name))
    output.emit([asdict(orphan) for orphan in result], form)
    output.say(f"{len(result)} orphans")
    if result:
        raise typer.Exit(1)


def is_known(name: str, names: Collection[str]) -> bool:
    """Return whether a state contains an AWS resource, by its ARN or by its id."""
    return name in names or name.rpartition("/")[2] in names


async def _search(session: Session, owned: Iterable[Object], releases: Collection[str]) -> list[Orphan]:
    async with connected(*kubeconfig_of(session)) as kube:
        objects = [obj async for obj in walk(kube)]
    return find(objects, {identity_of(obj) for obj in owned}, releases)


def identity_of(obj: Mapping[str, Any]) -> Identity:
    """Return what identifies an object in its cluster."""
    meta = obj["metadata"]
    return obj["kind"], meta.get("namespace") or "", meta["name"]


def find(objects: Iterable[Object], owned: Collection[Identity], releases: Collection[str]) -> list[Orphan]:
    """Return the orphans among all objects of a cluster.

    Args:
        objects: all objects, with their kinds.
        owned: the objects in the stack's state.
        releases: names of the Helm releases in the stack's state.
    """
    objects = list(objects)
    facts = load_facts()
    # An add-on of the same name without the marker was installed by somebody else.
    addons = {obj["metadata"]["labels"][ADDON] for obj in objects if ADDON in _labels(obj)}
    spaces: dict[str, str] = {name: facts[name].namespace for name in facts if name in addons and name not in releases}
    jobs = {identity_of(obj)[1:] for obj in objects if obj["kind"] == "InferenceJob"}
    result = []
    for obj in objects:
        identity = identity_of(obj)
        why = _reason(obj, identity, owned, spaces, jobs)
        if why:
            result.append(Orphan(*identity, why))
    return result


def _reason(
    obj: Object,
    identity: Identity,
    owned: Collection[Identity],
    releases: Mapping[str, str],
    jobs: Collection[tuple[str, str]],
) -> str | None:
    """Return why an object is an orphan; None if something will remove it."""
    if identity in owned:
        return None
    meta, labels = obj["metadata"], _labels(obj)
    job = labels.get(JOB)
    # Pods, ReplicaSets and the like are removed with their owner, which is reported instead.
    if _is_controlled(meta):
        return None
    if LABELS.items() <= labels.items():
        waiting = ", ".join(meta.get("finalizers") or [])
        stuck = f"; its deletion is blocked by {waiting}" if meta.get("deletionTimestamp") and waiting else ""
        return f"has this program's labels, but is not in the stack's state{stuck}"
    if job and (identity[1], job) not in jobs:
        return f"belongs to the InferenceJob {identity[1]}/{job}, which does not exist"
    notes = meta.get("annotations") or {}
    release = notes.get(_RELEASE, "")
    if releases.get(release, "") and releases[release] == notes.get(_RELEASE_NAMESPACE):
        return f"belongs to the Helm release {release}, which is not in the stack's state"
    return None


def _labels(obj: Mapping[str, Any]) -> Mapping[str, str]:
    return obj["metadata"].get("labels") or {}


def _is_controlled(meta: Mapping[str, Any]) -> bool:
    return any(owner.get("kind") != "InferenceJob" for owner in meta.get("ownerReferences") or [])
