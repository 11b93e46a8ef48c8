"""What a stack has left behind: objects that say they are this program's and that no state knows."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import typer

from components.addon.catalogue import load as load_facts
from components.addon.plan import ADDON_LABEL
from components.objects import LABELS
from inferstack import aws
from inferstack.apimachinery.objects import Object
from inferstack.cli import output
from inferstack.cli.cluster import connected
from inferstack.cli.output import Format, FormatOption
from inferstack.cli.stack.commands import StackOption, kubeconfig_of, region_of
from inferstack.cli.stack.session import Session
from inferstack.errors import UserError
from inferstack.k8s.inventory import walk

Identity = tuple[str, str, str]
"""Kind, namespace (empty for none), name."""
_JOB = "inferstack.dev/job"
_RELEASE, _RELEASE_NAMESPACE = "meta.helm.sh/release-name", "meta.helm.sh/release-namespace"


@dataclass(frozen=True)
class Orphan:
    """One thing that nobody would remove."""

    kind: str
    namespace: str
    name: str
    why: str


def register(app: typer.Typer) -> None:
    """Add this module's commands to the application."""
    app.command()(orphans)


def orphans(stack: StackOption = "local", form: FormatOption = Format.TABLE) -> None:
    """Look for what the stack has left behind, by label and by tag; exit code 1 where anything is."""
    session = Session(stack, output.say)
    known = session.exists()
    owned, releases = (session.objects(), session.releases()) if known else ([], set())
    found: list[Orphan] = []
    if region := region_of(session):
        output.say(f"looking for what is tagged in {region}")
        names = session.cloud_names() if known else set()
        found += [
            Orphan(one.kind, region, one.name, one.why)
            for one in aws.leftovers.find(region, stack)
            if not is_known(one.name, names)
        ]
    try:
        found += asyncio.run(_look(session, owned, releases))
    except UserError as error:
        if not region:
            raise
        # A destroyed stack of AWS has no cluster any more: nothing can be in it.
        output.say(f"no cluster to look into: {error}")
    output.emit([asdict(one) for one in sorted(found, key=lambda one: (one.kind, one.namespace, one.name))], form)
    output.say(f"{len(found)} orphans")
    if found:
        raise typer.Exit(1)


def is_known(name: str, names: Collection[str]) -> bool:
    """Tell whether an ARN or id of AWS is among those of a state, which may hold the one or the other."""
    return name in names or name.rpartition("/")[2] in names


async def _look(session: Session, owned: Iterable[Object], releases: Collection[str]) -> list[Orphan]:
    async with connected(*kubeconfig_of(session)) as kube:
        objects = [obj async for obj in walk(kube)]
    return find(objects, {identity_of(obj) for obj in owned}, releases)


def identity_of(obj: Mapping[str, Any]) -> Identity:
    """Return what names an object in its cluster."""
    meta = obj["metadata"]
    return obj["kind"], meta.get("namespace") or "", meta["name"]


def find(objects: Iterable[Object], owned: Collection[Identity], releases: Collection[str]) -> list[Orphan]:
    """Return what is nobody's among all objects of a cluster.

    Args:
        objects: all of them, with kind.
        owned: what the stack's state holds.
        releases: names of the Helm releases in the stack's state.
    """
    objects = list(objects)
    facts = load_facts()
    # An add-on of the same name without our marker is somebody else's.
    ours = {obj["metadata"]["labels"][ADDON_LABEL] for obj in objects if ADDON_LABEL in _labels(obj)}
    spaces: dict[str, str] = {name: facts[name].namespace for name in facts if name in ours and name not in releases}
    jobs = {identity_of(obj)[1:] for obj in objects if obj["kind"] == "InferenceJob"}
    found = []
    for obj in objects:
        identity = identity_of(obj)
        why = _reason(obj, identity, owned, spaces, jobs)
        if why:
            found.append(Orphan(*identity, why))
    return found


def _reason(
    obj: Object,
    identity: Identity,
    owned: Collection[Identity],
    releases: Mapping[str, str],
    jobs: Collection[tuple[str, str]],
) -> str | None:
    """Return why an object is nobody's; None where somebody will remove it."""
    if identity in owned:
        return None
    meta, labels = obj["metadata"], _labels(obj)
    job = labels.get(_JOB)
    # Pods, ReplicaSets and the like go with what made them: it is enough to tell of that.
    if _is_controlled(meta):
        return None
    if LABELS.items() <= labels.items():
        waiting = ", ".join(meta.get("finalizers") or [])
        stuck = f"; its deletion waits for {waiting}" if meta.get("deletionTimestamp") and waiting else ""
        return f"labelled as ours, and not in the stack's state{stuck}"
    if job and (identity[1], job) not in jobs:
        return f"made for the InferenceJob {identity[1]}/{job}, which is gone"
    notes = meta.get("annotations") or {}
    release = notes.get(_RELEASE, "")
    if releases.get(release, "") and releases[release] == notes.get(_RELEASE_NAMESPACE):
        return f"of the Helm release {release}, which is not in the stack's state"
    return None


def _labels(obj: Mapping[str, Any]) -> Mapping[str, str]:
    return obj["metadata"].get("labels") or {}


def _is_controlled(meta: Mapping[str, Any]) -> bool:
    return any(owner.get("kind") != "InferenceJob" for owner in meta.get("ownerReferences") or [])
